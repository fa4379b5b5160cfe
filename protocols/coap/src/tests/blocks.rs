//! Bodies in blocks, both ways.

use tokio::time::sleep;

use super::*;
use crate::resources::MOST_BYTES;
use crate::uploads::{EXCHANGE_LIFETIME, MOST};

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * at / 7) as u8).collect()
}

/// A block of a body: of 2^(exponent) bytes.
fn put(path: &str, body: &[u8], number: usize, exponent: u32) -> Packet {
    let size = 1 << exponent;
    let end = body.len().min((number + 1) * size);
    let more = u32::from(end < body.len());
    let value = (number as u32) << 4 | more << 3 | (exponent - 4);
    request(PUT, path, number as u16)
        .with(CoapOption::Block1, value)
        .with_body(&body[number * size..end])
}

async fn upload(peer: &Peer, path: &str, body: &[u8], exponent: u32) -> Tested {
    let blocks = body.len().div_ceil(1 << exponent);
    for number in 0..blocks {
        let answer = peer.ask(&put(path, body, number, exponent)).await?;
        let last = number + 1 == blocks;
        let code = if last {
            ResponseType::Created
        } else {
            ResponseType::Continue
        };
        assert_code(&answer, code);
        let echo = (number as u32, !last, 1 << exponent);
        assert_eq!(block(&answer, CoapOption::Block1), Some(echo));
    }
    Ok(())
}

async fn download(peer: &Peer, path: &str, exponent: Option<u32>) -> Result<Vec<u8>, BoxError> {
    let mut body = Vec::new();
    let size = exponent.map_or(1024, |exponent| 1 << exponent);
    let mut etag = None;
    for number in 0.. {
        let mut get = request(GET, path, number as u16);
        if number > 0 || exponent.is_some() {
            get = get.with(
                CoapOption::Block2,
                number << 4 | (exponent.unwrap_or(10) - 4),
            );
        }
        let answer = peer.ask(&get).await?;
        assert_code(&answer, ResponseType::Content);
        let (of, more, of_size) = block(&answer, CoapOption::Block2).ok_or("no block")?;
        assert_eq!((of, of_size), (number, size));
        let this = answer.get_first_option(CoapOption::ETag).cloned();
        assert_eq!(*etag.get_or_insert_with(|| this.clone()), this);
        let tells_size = answer.get_option(CoapOption::Size2).is_some();
        assert_eq!(tells_size, more && number == 0);
        body.extend_from_slice(&answer.payload);
        if !more {
            break;
        }
        assert_eq!(answer.payload.len(), size);
    }
    Ok(body)
}

#[tokio::test(start_paused = true)]
async fn a_long_body_comes_and_goes_in_blocks_of_any_size() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            for (exponent, len) in [
                (4, 1000),
                (6, 20_000),
                (6, 640),
                (10, 20_000),
                (10, MOST_BYTES),
            ] {
                let (path, body) = (format!("/{exponent}-{len}"), body(len));
                upload(&peer, &path, &body, exponent).await?;
                assert_eq!(download(&peer, &path, Some(exponent)).await?, body);
                assert_eq!(download(&peer, &path, Some(7)).await?, body);
                if len > 1024 {
                    assert_eq!(download(&peer, &path, None).await?, body);
                }
            }
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn there_is_no_block_after_the_last() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            peer.put("/64", &"a".repeat(64)).await?;
            for (value, code) in [
                (3 << 4, ResponseType::Content),
                (4 << 4, ResponseType::BadRequest),
                (0xffffff & !7, ResponseType::BadRequest),
                (7, ResponseType::BadRequest), // a size that there is not
            ] {
                let get = request(GET, "/64", 1).with(CoapOption::Block2, value);
                assert_code(&peer.ask(&get).await?, code);
            }
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn blocks_that_are_repeated_do_no_harm_and_those_that_miss_are_told() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let (peer, other) = (world.peer(2)?, world.peer(2)?);
            let body = body(200);
            let sent = [
                (&peer, 1, ResponseType::RequestEntityIncomplete), // before the first
                (&peer, 0, ResponseType::Continue),
                (&peer, 0, ResponseType::Continue),
                (&peer, 1, ResponseType::Continue),
                (&peer, 1, ResponseType::Continue),
                (&peer, 3, ResponseType::RequestEntityIncomplete), // the third is missing
                (&other, 2, ResponseType::RequestEntityIncomplete), // another client's
                (&peer, 2, ResponseType::Continue),
                (&peer, 3, ResponseType::Created),
                (&peer, 3, ResponseType::Changed), // begun again
            ];
            for (id, (peer, number, code)) in (1..).zip(sent) {
                let mut block = put("/a", &body, number, 6);
                block.header.message_id = id;
                assert_code(&peer.ask(&block).await?, code);
                // Its acknowledgement was lost.
                assert_code(&peer.ask(&block).await?, code);
            }
            assert_eq!(download(&other, "/a", Some(6)).await?, body);
            let size = |value, len: usize| {
                request(PUT, "/a", 9)
                    .with(CoapOption::Block1, value)
                    .with_body(vec![0; len])
            };
            for (request, code) in [
                (size(8 | 2, 63), ResponseType::BadRequest), // a short one, with more to follow
                (size(2, 65), ResponseType::BadRequest),
                (size(8 | 7, 1024), ResponseType::BadRequest),
            ] {
                assert_code(&peer.ask(&request).await?, code);
            }
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_is_refused_as_soon_as_it_is_known() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            let body = body(MOST_BYTES + 1);
            for number in 0..64 {
                let answer = peer.ask(&put("/a", &body, number, 10)).await?;
                assert_code(&answer, ResponseType::Continue);
            }
            let answer = peer.ask(&put("/a", &body, 64, 10)).await?;
            assert_code(&answer, ResponseType::RequestEntityTooLarge);
            assert_eq!(number(&answer, CoapOption::Size1), Some(MOST_BYTES as u32));
            let told = put("/a", &body, 0, 10).with(CoapOption::Size1, body.len() as u32);
            assert_code(&peer.ask(&told).await?, ResponseType::RequestEntityTooLarge);
            let far = request(PUT, "/a", 1).with(CoapOption::Block1, 0xfffff0 | 8 | 6);
            let answer = peer.ask(&far.with_body([0; 1024])).await?;
            assert_code(&answer, ResponseType::RequestEntityTooLarge);
            // Nor is one that can go nowhere collected.
            let answer = peer.ask(&put("/time", &body, 0, 10)).await?;
            assert_code(&answer, ResponseType::MethodNotAllowed);
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_forgotten_after_a_while_or_for_others() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            let body = body(200);
            let next = async |path: &str, number| peer.ask(&put(path, &body, number, 6)).await;
            let gone = ResponseType::RequestEntityIncomplete;
            next("/a", 0).await?;
            sleep(EXCHANGE_LIFETIME - Duration::from_secs(1)).await;
            assert_code(&next("/a", 1).await?, ResponseType::Continue);
            sleep(EXCHANGE_LIFETIME).await;
            assert_code(&next("/a", 2).await?, gone);

            for number in 0..MOST {
                next(&format!("/{number}"), 0).await?;
                sleep(Duration::from_millis(1)).await;
            }
            next("/0", 1).await?; // so that the second waits longest
            sleep(Duration::from_millis(1)).await;
            next("/one-more", 0).await?;
            // What fits one block needs no room.
            peer.ask(&put("/short", &body[..64], 0, 6)).await?;
            assert_code(&next("/1", 1).await?, gone);
            for path in ["/2", "/3", "/63", "/one-more"] {
                assert_code(&next(path, 1).await?, ResponseType::Continue);
            }
            assert_code(&next("/0", 2).await?, ResponseType::Continue);
            Ok(())
        })
        .await?;
    Ok(())
}
