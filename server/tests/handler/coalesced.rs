//! Datagrams that the kernel has coalesced arrive in one buffer, and are one after the other all
//! the same.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::*;
use crate::contract;
use bytes::Bytes;
use futures_core::Stream;
use postbox_server::{Limits, RecvError, Requests, ServerHandle};
use tokio::sync::Notify;

contract! {
    on memory;
    async fn h3_a_conversation_receives_coalesced_datagrams_in_order(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                loop {
                    let request = requests.recv().await?;
                    client.send(request.clone()).await?;
                    if request == "end" {
                        return Ok(());
                    }
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("begin").await, "begin");
        // More than a poll of a handler may receive and send otherwise, and one after its end.
        let texts: Vec<String> = (100..400).map(|number| number.to_string()).collect();
        let all = texts.concat() + "end" + "new";
        world.network.send_coalesced(peer.addr(), all.as_bytes(), 3, server.addr);
        for text in texts.iter().map(String::as_str).chain(["end", "new"]) {
            assert_eq!(peer.recv_text().await, text);
        }
        peer.send("end").await;
        let stats = server.stats_where(|stats| stats.sent == 304).await;
        assert_eq!((stats.received, stats.handed_out, stats.handlers_returned), (304, 304, 2));
        server.stop().await.unwrap();
    }

    on memory;
    async fn h3_coalesced_datagrams_wait_for_a_handler_that_does_something_else(world: World) {
        let gate = Arc::new(Notify::new());
        let open = Arc::clone(&gate);
        let limits = Limits::default().client_datagrams(2);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let gate = Arc::clone(&gate);
                async move {
                    for _ in 0..2 {
                        client.send(requests.recv().await?).await?;
                    }
                    gate.notified().await;
                    loop {
                        client.send(requests.recv().await?).await?;
                    }
                }
            }).limits(limits))
            .await;
        let peer = world.peer(server.addr).await;
        // Two are received at once, two wait, the last is one too many.
        world.network.send_coalesced(peer.addr(), b"abcde", 1, server.addr);
        let stats = server.settled(5).await;
        assert_eq!((stats.handed_out, stats.queued, stats.dropped_client_bound), (2, 2, 1));
        open.notify_one();
        for text in ["a", "b", "c", "d"] {
            assert_eq!(peer.recv_text().await, text);
        }
        server.stop().await.unwrap();
    }

    on memory;
    async fn h3_coalesced_datagrams_do_not_overtake_one_that_is_queued(world: World) {
        // A conversation, and handlers that answer once.
        for goes_on in [true, false] {
            let server = world
                .serve(raw_server(move |client, mut requests| async move {
                    loop {
                        let request = requests.recv().await?;
                        // The next one is queued, and wakes it where others are still behind.
                        tokio::task::yield_now().await;
                        client.send(request).await?;
                        if !goes_on {
                            return Ok(());
                        }
                    }
                }))
                .await;
            let peer = world.peer(server.addr).await;
            world.network.send_coalesced(peer.addr(), b"abcdef", 1, server.addr);
            for text in ["a", "b", "c", "d", "e", "f"] {
                assert_eq!(peer.recv_text().await, text);
            }
            let stats = server.settled(6).await;
            assert_eq!((stats.handed_out, stats.discarded, stats.dropped()), (6, 0, 0));
            server.stop().await.unwrap();
        }
    }

    on memory;
    async fn h4_of_coalesced_datagrams_a_handler_that_refuses_discards_one(world: World) {
        let runs = Arc::new(AtomicUsize::new(0));
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    if run.is_multiple_of(2) {
                        client.send(requests.recv().await?).await?;
                    }
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"abcde", 1, server.addr);
        for text in ["a", "c", "e"] {
            assert_eq!(peer.recv_text().await, text);
        }
        let stats = server.settled(5).await;
        assert_eq!((stats.handed_out, stats.discarded), (3, 2));
        server.stop().await.unwrap();
    }

    on memory;
    async fn h5_the_next_of_coalesced_datagrams_is_not_for_requests_that_somebody_keeps(world: World) {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&kept);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let keep = Arc::clone(&keep);
                async move {
                    client.send(requests.recv().await?).await?;
                    keep.lock().unwrap().push((client, requests));
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"abc", 1, server.addr);
        for text in ["a", "b", "c"] {
            assert_eq!(peer.recv_text().await, text);
        }
        server.stats_where(|stats| stats.handlers_returned == 3).await;
        let kept = std::mem::take(&mut *kept.lock().unwrap());
        assert_eq!(kept.len(), 3);
        for (client, mut requests) in kept {
            assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
            assert_eq!(client.remote_addr(), peer.addr());
        }
        server.stop().await.unwrap();
    }

    on memory;
    async fn h7_zero_delivers_what_came_coalesced_with_the_datagram_before(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let mut got = requests.recv().await?.to_vec();
                while let Ok(next) = requests.recv_timeout(Duration::ZERO).await {
                    got.extend(next);
                }
                client.send(got.into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"abc", 1, server.addr);
        assert_eq!(peer.recv_text().await, "abc");
        server.stop().await.unwrap();
    }

    on memory;
    async fn h12_a_panic_takes_none_of_the_coalesced_datagrams_behind_along(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                loop {
                    let request = requests.recv().await?;
                    assert_ne!(request, "b", "told to panic");
                    client.send(request).await?;
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"abcd", 1, server.addr);
        for text in ["a", "c", "d"] {
            assert_eq!(peer.recv_text().await, text);
        }
        let stats = server.settled(4).await;
        assert_eq!((stats.handed_out, stats.handlers_panicked), (4, 1));
        assert_eq!(world.logs.wait_for(1).await.len(), 1);
        server.stop().await.unwrap();
    }

    on memory;
    async fn l6_the_admission_check_is_asked_for_each_of_coalesced_datagrams(world: World) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = world
            .serve(echo().admit(move |_| count.fetch_add(1, Ordering::SeqCst) != 1))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"abcd", 1, server.addr);
        for text in ["a", "c", "d"] {
            assert_eq!(peer.recv_text().await, text);
        }
        let stats = server.settled(4).await;
        assert_eq!((stats.handed_out, stats.dropped_refused), (3, 1));
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        server.stop().await.unwrap();
    }

    on memory;
    async fn l6_each_of_coalesced_datagrams_is_asked_about_in_a_conversation_too(world: World) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let builder = raw_server(|client, mut requests| async move {
            loop {
                client.send(requests.recv().await?).await?;
            }
        });
        let builder = builder.admit(move |incoming| {
            let mut seen = seen.lock().unwrap();
            seen.push((incoming.len(), incoming.has_handler()));
            seen.len() % 3 != 0
        });
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        world.network.send_coalesced(peer.addr(), b"aabbccd", 2, server.addr);
        for text in ["aa", "bb", "d"] {
            assert_eq!(peer.recv_text().await, text);
        }
        let told = [(2, false), (2, true), (2, true), (1, true)];
        assert_eq!(*asked.lock().unwrap(), told);
        let stats = server.settled(4).await;
        assert_eq!((stats.handed_out, stats.dropped_refused), (3, 1));
        server.handle.shutdown().await;
    }

    on memory;
    async fn v4_from_its_start_coalesced_datagrams_are_neither_received_nor_start_a_handler(world: World) {
        // The first handler ends in the shutdown that it began, the second goes on receiving.
        for goes_on in [false, true] {
            let handle = Arc::new(Mutex::new(None::<ServerHandle>));
            let to = Arc::clone(&handle);
            let server = world
                .bind(raw_server(move |client, mut requests| {
                    let handle = to.lock().unwrap().clone().unwrap();
                    async move {
                        client.send(requests.recv().await?).await?;
                        tokio::select! {
                            biased;
                            () = handle.shutdown() => {}
                            () = std::future::ready(()) => {}
                        }
                        if goes_on {
                            assert!(matches!(requests.recv().await, Err(RecvError::Closed)));
                        }
                        Ok(())
                    }
                }))
                .await;
            *handle.lock().unwrap() = Some(server.handle());
            let peer = world.peer(server.handle().addresses()[0]).await;
            world.network.send_coalesced(peer.addr(), b"abc", 1, server.handle().addresses()[0]);
            server.serve_forever().await.unwrap();
            assert_eq!(peer.recv_text().await, "a");
            let stats = server.handle().stats();
            assert_eq!((stats.received, stats.handed_out, stats.dropped_shutdown), (3, 1, 2));
            assert_eq!((stats.handlers_returned, stats.handlers_failed), (1, 0), "one began");
            assert_eq!(stats.handlers_panicked, 0);
            assert!(peer.is_quiet());
        }
    }

    on memory;
    async fn h3_coalesced_datagrams_come_in_order_in_whatever_way_they_are_received(world: World) {
        // Each way alone, and from each on one way after the other.
        for (first, turns) in (0..WAYS).flat_map(|way| [(way, false), (way, true)]) {
            let server = world
                .serve(raw_server(move |client, mut requests| async move {
                    for number in 0..3 {
                        let way = first + if turns { number } else { 0 };
                        let (request, back) = receive(way % WAYS, requests).await;
                        requests = back;
                        client.send(request?).await?;
                    }
                    Ok(())
                }))
                .await;
            let peer = world.peer(server.addr).await;
            for all in ["abcdef", "ghijkl"] {
                world.network.send_coalesced(peer.addr(), all.as_bytes(), 1, server.addr);
            }
            for text in b'a'..=b'l' {
                assert_eq!(peer.recv().await, [text]);
            }
            let stats = server.stats_where(|stats| stats.handlers_returned == 4).await;
            assert_eq!((stats.received, stats.handed_out, stats.accounted()), (12, 12, 12));
            server.stop().await.unwrap();
        }
    }
}

const WAYS: usize = 7;

/// Receives in one of so many ways.
async fn receive(
    way: usize,
    mut requests: Requests<Bytes>,
) -> (Result<Bytes, RecvError>, Requests<Bytes>) {
    let received = match way {
        0 => requests.recv().await,
        1 => poll_fn(|cx| Pin::new(&mut requests).poll_next(cx))
            .await
            .unwrap_or(Err(RecvError::Closed)),
        2 => loop {
            tokio::select! {
                biased;
                received = requests.recv() => break received,
                () = tokio::task::yield_now() => {}
            }
        },
        3 => Member::new(requests.recv()).ready().await,
        4 => block_on(requests.recv()),
        5 => tokio::time::timeout(Duration::MAX, requests.recv())
            .await
            .unwrap(),
        _ => {
            let task = async move { (requests.recv().await, requests) };
            return tokio::spawn(task).await.unwrap();
        }
    };
    (received, requests)
}
