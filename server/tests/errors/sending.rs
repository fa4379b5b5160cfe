//! Datagrams that the system refuses to send, and who is told.

use std::pin::pin;
use std::time::Duration;

use postbox_server::FlushError;

use super::{pushed, pushing, refused};
use crate::common::*;
use crate::{contract, paused};

fn is_refused(result: &Result<(), FlushError>) -> bool {
    matches!(result, Err(FlushError::Io(error)) if error.kind() == refused().kind())
}

contract! {
    on memory;
    async fn v7_send_reports_only_its_own_packet(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        let (good, to_good) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        for _ in 0..3 {
            to_bad.send("lost".into()).await.unwrap();
            to_bad.try_send("lost".into()).unwrap();
            to_good.send("kept".into()).await.unwrap();
            assert_eq!(good.recv_text().await, "kept");
        }
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
        world.logs.take();
    }

    on memory;
    async fn v7_what_the_system_refuses_is_counted(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        for _ in 0..3 {
            to_bad.send("lost".into()).await.unwrap();
        }
        to_bad.flush().await.unwrap_err();
        let stats = server.handle.stats();
        assert_eq!((stats.sent, stats.send_errors), (0, 3));
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
        world.logs.take();
    }

    on memory;
    async fn v7_a_refusal_is_told_by_that_clients_next_flush_and_nobody_elses(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        let (_good, to_good) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        to_bad.send("lost".into()).await.unwrap();
        to_good.send("kept".into()).await.unwrap();
        to_good.flush().await.unwrap();
        assert!(is_refused(&to_bad.flush().await));
        to_bad.flush().await.unwrap(); // told once

        // That client's: by whichever object of it.
        to_bad.send("lost".into()).await.unwrap();
        bad.send("hello again").await;
        let same = taken.recv().await.unwrap();
        assert!(same == to_bad);
        assert!(is_refused(&same.flush().await));
        to_bad.flush().await.unwrap();

        // It works again, and that is told as well.
        world.network.fail_sends(bad.addr(), None);
        to_bad.send("kept".into()).await.unwrap();
        to_bad.flush().await.unwrap();
        assert_eq!(bad.recv_text().await, "kept");
        server.stop().await.unwrap();
        world.logs.take();
    }

    on memory;
    async fn v7_a_flush_does_not_tell_what_was_sent_after_it(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (good, to_good) = pushed(&world, &server, &mut taken).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        world.network.block_sends(server.addr, true);
        to_good.send("first".into()).await.unwrap();
        let mut before = pin!(to_bad.flush());
        begin(&mut before).await;
        to_bad.send("lost".into()).await.unwrap();
        let mut after = pin!(to_bad.flush());
        begin(&mut after).await;
        world.network.block_sends(server.addr, false);
        before.await.unwrap();
        assert!(is_refused(&after.await));
        assert_eq!(good.recv_text().await, "first");
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_a_failing_datagram_keeps_no_other_from_leaving(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        let (good, to_good) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        world.network.block_sends(server.addr, true); // so that all of them leave in one batch
        for number in 0..100 {
            to_bad.send("lost".into()).await.unwrap();
            to_good.send(format!("{number}").into()).await.unwrap();
            to_bad.send("lost".into()).await.unwrap();
        }
        world.network.block_sends(server.addr, false);
        to_good.flush().await.unwrap();
        for number in 0..100 {
            assert_eq!(good.recv_text().await, number.to_string());
        }
        let stats = server.handle.stats();
        assert_eq!((stats.sent, stats.send_errors), (100, 200));
        server.stop().await.unwrap();
        world.logs.take();
    }

    on memory;
    async fn v7_flush_waits_until_what_was_sent_before_has_left(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        client.flush().await.unwrap(); // nothing to wait for
        world.network.block_sends(server.addr, true);
        for text in ["one", "two"] {
            client.send(text.into()).await.unwrap();
        }
        let mut flush = pin!(client.flush());
        begin(&mut flush).await;
        // A turn of the worker later, it still waits.
        peer.send("hello").await;
        taken.recv().await.unwrap();
        begin(&mut flush).await;
        assert!(peer.is_quiet());
        world.network.block_sends(server.addr, false);
        flush.await.unwrap();
        assert_eq!(server.handle.stats().sent, 2);
        assert_eq!(peer.recv_text().await, "one");
        assert_eq!(peer.recv_text().await, "two");
        server.stop().await.unwrap();
    }

    on memory;
    async fn v7_a_flush_that_the_end_of_serving_overtakes_is_told_closed(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (_peer, client) = pushed(&world, &server, &mut taken).await;
        world.network.block_sends(server.addr, true);
        client.send("never".into()).await.unwrap();
        let mut flush = pin!(client.flush());
        begin(&mut flush).await;
        server.serving.abort(); // no grace, no second for the socket
        assert!(matches!(flush.await, Err(FlushError::Closed)));
        assert!(matches!(client.flush().await, Err(FlushError::Closed)));
        server.handle.shutdown().await;
    }
}

contract! {
    async fn v7_flush_works_within_a_handler_and_from_a_thread(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                client.flush().await?;
                let elsewhere = client.clone();
                tokio::spawn(async move { elsewhere.flush().await }).await??;
                client.send("flushed".into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        assert_eq!(peer.recv_text().await, "flushed");
        server.stop().await.unwrap();
    }

    async fn v7_icmp_errors_are_off_unless_asked_for(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (gone, to_gone) = pushed(&world, &server, &mut taken).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        drop(gone);
        for _ in 0..3 {
            to_gone.send("to nobody".into()).await.unwrap();
            to_gone.flush().await.unwrap();
            client.send("goes on".into()).await.unwrap();
            assert_eq!(peer.recv_text().await, "goes on");
        }
        let stats = server.handle.stats();
        assert_eq!((stats.receive_errors, stats.send_errors), (0, 0));
        server.stop().await.unwrap();
    }
}

#[cfg(target_os = "linux")]
contract! {
    on udp, plain;
    async fn v7_a_refusal_of_the_real_socket_is_counted_logged_and_told_by_flush(world: World) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let same = socket.try_clone().unwrap();
        let (builder, mut taken) = pushing();
        let builder = builder.plain_transport(world.kind == Kind::Plain);
        let server = TestServer::start(builder.from_sockets([socket]).unwrap()).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        client.send("works".into()).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(peer.recv_text().await, "works");
        // It cannot send any more. That it is not connected is an error, told after the deed.
        let _ = socket2::SockRef::from(&same).shutdown(std::net::Shutdown::Write);
        client.send("lost".into()).await.unwrap();
        assert!(matches!(
            client.flush().await,
            Err(FlushError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe
        ));
        client.flush().await.unwrap();
        // It still receives.
        peer.send("hello").await;
        taken.recv().await.unwrap();
        let stats = server.handle.stats();
        assert_eq!((stats.sent, stats.send_errors, stats.received), (1, 1, 2));
        let records = world.logs.wait_for(1).await;
        assert!(records[0].fields.contains(&peer.addr().to_string()), "{records:?}");
        server.stop().await.unwrap();
    }
}

#[cfg(target_os = "linux")]
contract! {
    on udp;
    async fn v7_a_client_that_has_gone_is_told_by_its_next_flush_if_asked_for(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.icmp_errors(true)).await;
        let (gone, to_gone) = pushed(&world, &server, &mut taken).await;
        let (peer, client) = pushed(&world, &server, &mut taken).await;
        drop(gone);
        // The answer that nobody is there may be under way for a moment.
        let error = loop {
            to_gone.send("to nobody".into()).await.unwrap();
            client.send("goes on".into()).await.unwrap();
            client.flush().await.unwrap(); // it is nobody else's
            assert_eq!(peer.recv_text().await, "goes on");
            if let Err(error) = to_gone.flush().await {
                break error;
            }
        };
        let FlushError::Io(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        let stats = server.stats_where(|stats| stats.send_errors > 0).await;
        assert_eq!(stats.receive_errors, 0);
        // Others arrive as ever, and are not held up by it.
        peer.send("hello").await;
        taken.recv().await.unwrap();
        world.logs.take();
        server.stop().await.unwrap();
        world.logs.take();
    }

    on udp;
    async fn v7_what_icmp_says_is_told_while_nothing_else_happens(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder.icmp_errors(true)).await;
        let (gone, to_gone) = pushed(&world, &server, &mut taken).await;
        let addr = gone.addr().to_string();
        drop(gone);
        // Nothing is sent after this one, and nothing is received.
        to_gone.send("to nobody".into()).await.unwrap();
        let records = world.logs.wait_for(1).await;
        assert!(records[0].fields.contains(&addr), "{records:?}");
        let stats = server.handle.stats();
        assert_eq!((stats.send_errors, stats.receive_errors, stats.sent), (1, 0, 1));
        server.stop().await.unwrap();
    }

    on udp;
    /// The worker meets the error while it looks for more, and has nothing else to do.
    async fn v7_what_a_logger_sends_about_a_client_that_has_gone_leaves_at_once(world: World) {
        for attempt in 0.. {
            let hook = world.logs.clone();
            let builder = raw_server(move |client, mut requests| {
                let hook = hook.clone();
                async move {
                    let request = requests.recv().await?;
                    match &request[..] {
                        b"operator" => {
                            // Both are there when the worker receives next, and their sender is not.
                            let gone = std::net::UdpSocket::bind("127.0.0.1:0")?;
                            let server = client.local_addr().ok_or("bound to one address")?;
                            gone.send_to(b"question", server)?;
                            gone.send_to(b"no question", server)?;
                            hook.hook(move || client.try_send("one has gone".into()).unwrap());
                        }
                        b"question" => client.send("to nobody".into()).await?,
                        _ => {}
                    }
                    Ok(())
                }
            });
            let server = world.serve(builder.icmp_errors(true)).await;
            let operator = world.peer(server.addr).await;
            operator.send("operator").await;
            let logged = tokio::time::timeout(Duration::from_secs(1), world.logs.wait_for(1)).await;
            if logged.is_ok() {
                assert_eq!(operator.recv_text().await, "one has gone");
                server.stop().await.unwrap();
                break;
            }
            // A busy kernel may have told of it only after the worker had looked.
            assert!(attempt < 5, "the worker does not look");
            world.logs.hook(|| {});
            server.stop().await.unwrap();
            world.logs.take();
        }
    }
}

paused! {
    async fn v7_refusals_are_logged_once_a_second_with_the_number_of_others(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        for round in 0..2 {
            for _ in 0..100 {
                to_bad.send("lost".into()).await.unwrap();
            }
            to_bad.flush().await.unwrap_err();
            let records = world.logs.take();
            assert_eq!(records.len(), 1, "{records:#?}");
            assert_eq!(records[0].level, tracing::Level::WARN);
            let suppressed = round * 99;
            assert!(records[0].fields.contains(&format!("suppressed={suppressed}")), "{records:?}");
            assert!(records[0].fields.contains(&bad.addr().to_string()), "{records:?}");
            assert!(records[0].message.contains("permission denied"), "{records:?}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        server.stop().await.unwrap();
        assert_eq!(world.logs.take()[0].message, "send failed: 99 more");
    }
}
