//! Single requests, and what is none.

use bytes::BytesMut;
use postbox::Serializer;

use super::*;
use crate::resources::MOST_RESOURCES;
use crate::wire::{CoapSerializer, Received, reset, token};

#[tokio::test(start_paused = true)]
async fn a_resource_is_put_got_and_deleted() -> Tested {
    let world = World::new()?;
    let stats = world.serve(async {
        let peer = world.peer(2)?;
        let answer = peer.ask(&request(GET, "/door", 1)).await?;
        assert_code(&answer, ResponseType::NotFound);
        let put = request(PUT, "/door", 2).with(CoapOption::ContentFormat, 50);
        let answer = peer.ask(&put.clone().with_body("open")).await?;
        assert_code(&answer, ResponseType::Created);
        let answer = peer.ask(&put.with_body("shut")).await?;
        assert_code(&answer, ResponseType::Changed);

        let get = request(GET, "/door", 3);
        let answer = peer.ask(&get).await?;
        assert_code(&answer, ResponseType::Content);
        assert_eq!(answer.header.get_type(), MessageType::Acknowledgement);
        assert_eq!(answer.header.message_id, 3);
        assert_eq!(answer.get_token(), get.get_token());
        assert_eq!(text(&answer), "shut");
        assert_eq!(number(&answer, CoapOption::ContentFormat), Some(50));
        assert_eq!(answer.get_option(CoapOption::Block2), None);

        let etag = answer.get_first_option(CoapOption::ETag).unwrap();
        let again = request(GET, "/door", 4).with_bytes(CoapOption::ETag, etag);
        let answer = peer.ask(&again).await?;
        assert_code(&answer, ResponseType::Valid);
        assert_eq!(text(&answer), "");
        peer.put("/door", "open").await?;
        assert_code(&peer.ask(&again).await?, ResponseType::Content);

        for id in [5, 6] {
            let answer = peer.ask(&request(DELETE, "/door", id)).await?;
            assert_code(&answer, ResponseType::Deleted);
        }
        assert_code(&peer.ask(&get).await?, ResponseType::NotFound);
        Ok(())
    });
    let stats = stats.await?;
    assert_eq!((stats.received, stats.sent), (10, 10));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_repeated_is_made_once() -> Tested {
    let world = World::new()?;
    let stats = world.serve(async {
        let (peer, other) = (world.peer(2)?, world.peer(3)?);
        let put = request(PUT, "/door", 1).with_body("open");
        let created = peer.ask(&put).await?;
        assert_code(&created, ResponseType::Created);
        other.put("/door", "shut").await?;
        assert_eq!(peer.ask(&put).await?, created); // its acknowledgement was lost
        let delete = request(DELETE, "/door", 2);
        for id in [3, 4] {
            let door = peer.ask(&request(GET, "/door", id)).await?;
            assert_eq!(text(&door), "shut");
            assert_code(&peer.ask(&delete).await?, ResponseType::Deleted);
            other.put("/door", "shut").await?;
        }
        Ok(())
    });
    assert_eq!(stats.await?.answered_again, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_wants_no_acknowledgement_gets_none() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            let get = request(GET, "/time", 1).with_type(MessageType::NonConfirmable);
            let first = peer.ask(&get).await?;
            let second = peer.ask(&get).await?;
            for answer in [&first, &second] {
                assert_code(answer, ResponseType::Content);
                assert_eq!(answer.header.get_type(), MessageType::NonConfirmable);
                assert_eq!(answer.get_token(), get.get_token());
                assert_eq!(number(answer, CoapOption::MaxAge), Some(1));
            }
            assert_ne!(first.header.message_id, second.header.message_id);
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_reset_and_nothing_else_happens() -> Tested {
    let world = World::new()?;
    let stats = world.serve(async {
        let peer = world.peer(2)?;
        let answer = peer.ask(&empty(MessageType::Confirmable, 7)).await?;
        assert_eq!(answer, reset(7));
        // Nor are these answered, as if two servers talked with each other.
        peer.send(&empty(MessageType::Reset, 7))?;
        peer.send(&empty(MessageType::Acknowledgement, 7))?;
        peer.send(&answer)?;
        peer.hears_nothing(Duration::from_secs(300)).await;
        Ok(())
    });
    assert_eq!(stats.await?.sent, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_do_is_told() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            let get = || request(GET, "/time", 1);
            let unknown = CoapOption::Unknown(65001);
            for (request, code) in [
                (get().with(unknown, 1), ResponseType::BadOption),
                (get().with(CoapOption::IfMatch, 1), ResponseType::BadOption),
                (
                    get().with(CoapOption::Accept, 0x10000),
                    ResponseType::BadOption,
                ),
                (
                    get().with_bytes(CoapOption::Block2, &[0; 4]),
                    ResponseType::BadOption,
                ),
                (
                    get()
                        .with(CoapOption::Accept, 1)
                        .with(CoapOption::Accept, 2),
                    ResponseType::BadOption,
                ),
                (
                    get().with_bytes(CoapOption::UriPath, &[b'a'; 256]),
                    ResponseType::BadOption,
                ),
                (
                    get().with(CoapOption::Unknown(65000), 1),
                    ResponseType::Content,
                ),
                (
                    get().with_bytes(CoapOption::Observe, &[0; 9]),
                    ResponseType::Content,
                ),
                (get().with(CoapOption::UriPort, 5683), ResponseType::Content),
                (get().with(CoapOption::Accept, 0), ResponseType::Content),
                (
                    get().with(CoapOption::Accept, 50),
                    ResponseType::NotAcceptable,
                ),
                (
                    get().with_bytes(CoapOption::ProxyUri, b"coap://a/"),
                    ResponseType::ProxyingNotSupported,
                ),
                (request(PUT, "/time", 2), ResponseType::MethodNotAllowed),
                (request(DELETE, "/time", 2), ResponseType::MethodNotAllowed),
                (
                    request(PUT, "/.well-known/core", 2),
                    ResponseType::MethodNotAllowed,
                ),
                (
                    request(RequestType::Post, "/time", 2),
                    ResponseType::MethodNotAllowed,
                ),
                (
                    request(RequestType::Fetch, "/time", 2),
                    ResponseType::MethodNotAllowed,
                ),
                (request(GET, "", 2), ResponseType::NotFound),
                (
                    request(PUT, &format!("/{}", ["a"; 128].join("/")), 2),
                    ResponseType::Forbidden,
                ),
            ] {
                assert_code(&peer.ask(&request).await?, code);
            }
            // A method that nobody knows.
            let mut bytes = get().to_bytes().unwrap();
            bytes[1] = 0x1f;
            peer.send_bytes(&bytes)?;
            assert_code(&peer.recv().await?, ResponseType::MethodNotAllowed);
            // What wants no acknowledgement is rejected.
            let request = get()
                .with(unknown, 1)
                .with_type(MessageType::NonConfirmable);
            assert_eq!(peer.ask(&request).await?, reset(1));
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn garbage_is_reset_if_it_has_a_header_else_dropped() -> Tested {
    let reserved: &[u8] = &[0x40, 0x20, 1, 2]; // class 1
    let response = &[0x50, 0x45, 1, 2][..];
    let long_token = &[0x49, 0x01, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let cut_token = &[0x44, 0x01, 1, 2, 3];
    let cut_option = &[0x40, 0x01, 1, 2, 0xb4, b't'];
    let bad_delta = &[0x40, 0x01, 1, 2, 0xf0];
    let no_payload = &[0x40, 0x01, 1, 2, 0xff];
    let ping_with_more = &[0x40, 0x00, 1, 2, 3];
    let long = &[&[0x40, 0x01, 1, 2, 0xff][..], &[0; 2048]].concat();
    let rejected = [
        reserved,
        response,
        long_token,
        cut_token,
        cut_option,
        bad_delta,
        no_payload,
        ping_with_more,
        long,
    ];
    let dropped: [&[u8]; 7] = [
        &[],
        &[0x40, 0x01, 1],
        &[0x00, 0x01, 1, 2], // version 0
        &[0x80, 0x01, 1, 2],
        &[0x60, 0x45, 1, 2],    // a response in an acknowledgement
        &[0x70, 0x00, 1, 2, 3], // a reset with more
        &[0x62, 0x00, 1, 2, 3, 4],
    ];
    let world = World::new()?;
    let stats = world.serve(async {
        let peer = world.peer(2)?;
        for datagram in rejected {
            peer.send_bytes(datagram)?;
            assert_eq!(peer.recv().await?, reset(0x0102), "{datagram:?}");
        }
        for datagram in dropped {
            peer.send_bytes(datagram)?;
        }
        peer.hears_nothing(Duration::from_secs(300)).await;
        Ok(())
    });
    let stats = stats.await?;
    assert_eq!(stats.malformed, dropped.len() as u64);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn all_resources_are_listed() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            let get = request(GET, "/.well-known/core", 1);
            let before = peer.ask(&get).await?;
            assert_eq!(text(&before), "</.well-known/core>;ct=40,</time>;ct=0;obs");
            assert_eq!(number(&before, CoapOption::ContentFormat), Some(40));
            peer.put("/a/b>c", "1").await?;
            peer.put("/é", "1").await?;
            let list = "</.well-known/core>;ct=40,</%C3%A9>;obs,</a/b%3Ec>;obs,</time>;ct=0;obs";
            assert_eq!(text(&peer.ask(&get).await?), list);
            peer.ask(&request(DELETE, "/é", 2)).await?;
            assert!(!text(&peer.ask(&get).await?).contains("%C3"));
            // It changes in no way that anybody is told of.
            let answer = peer.ask(&get.with(CoapOption::Observe, 0)).await?;
            assert_code(&answer, ResponseType::Content);
            assert_eq!(answer.get_option(CoapOption::Observe), None);
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_resources() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            let put = |number, id| request(PUT, &format!("/{number}"), id);
            for number in 0..MOST_RESOURCES {
                assert_code(&peer.ask(&put(number, 1)).await?, ResponseType::Created);
            }
            let one_more = put(MOST_RESOURCES, 1);
            assert_code(
                &peer.ask(&one_more).await?,
                ResponseType::ServiceUnavailable,
            );
            assert_code(&peer.ask(&put(0, 2)).await?, ResponseType::Changed);
            peer.ask(&request(DELETE, "/0", 1)).await?;
            let one_more = put(MOST_RESOURCES, 2);
            assert_code(&peer.ask(&one_more).await?, ResponseType::Created);
            Ok(())
        })
        .await?;
    Ok(())
}

#[test]
fn no_datagram_makes_it_panic() {
    let request = request(PUT, "/a/long/path/of/several/segments", 0x1234)
        .with(CoapOption::ContentFormat, 50)
        .with(CoapOption::Block1, 0xfffff)
        .with(CoapOption::Unknown(65001), u32::MAX)
        .with_bytes(CoapOption::UriQuery, &[b'q'; 300])
        .with_body("body");
    let good = request.to_bytes().unwrap();
    let site = crate::Site::new();
    let read = |datagram: &[u8]| {
        let received = CoapSerializer.deserialize(datagram);
        if let Ok(Received::Request(request)) = &received {
            let mut written = BytesMut::new();
            CoapSerializer.serialize(request, &mut written).unwrap();
            assert_eq!(written, datagram);
            assert_eq!(Some(request.get_token()), token(datagram));
            site.answer(address(), request);
        }
        received
    };
    assert_eq!(read(&good).unwrap(), Received::Request(request));
    for end in 0..good.len() {
        let _ = read(&good[..end]);
        for value in 0..=255 {
            let mut changed = good.clone();
            changed[end] = value;
            let _ = read(&changed);
            let _ = token(&changed[..end]);
        }
    }
}
