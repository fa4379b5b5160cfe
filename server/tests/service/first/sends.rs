//! It sends like any other client.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use postbox_server::{BlockingServer, FlushError, Limits, SendError, Stats};
use tokio::sync::Notify;

use super::{Kept, keeps_clients};
use crate::common::service::*;
use crate::common::*;
use crate::contract;

/// The smallest outbox.
const ROOM: usize = 66 * 1024;

contract! {
    async fn h17_service_init_sends_first_and_what_comes_back_starts_a_handler(world: World) {
        let peer = world.peer("127.0.0.1:9".parse().unwrap()).await;
        let to = peer.addr();
        let builder = server_with_init(
            move |service| {
                let client = service.clients::<Bytes>().unwrap().to(to).unwrap();
                Box::pin(async move { Ok(client.send("restarted".into()).await?) })
            },
            |client, mut requests| async move {
                let request = requests.recv().await?;
                client.send(request).await?;
                let request = requests.recv().await?;
                client.send(request).await?;
                Ok(())
            },
        );
        let server = world.serve(builder).await;
        assert_eq!(peer.recv_from().await, (b"restarted".to_vec(), server.addr));
        for text in ["good morning", "good night"] {
            peer.send_to(text, server.addr).await;
            assert_eq!(peer.recv_from().await, (text.into(), server.addr));
        }
        let both = |stats: &Stats| (stats.handlers_returned, stats.sent) == (1, 3);
        assert_eq!(server.stats_where(both).await.handed_out, 2);
        server.stop().await.unwrap();
    }

    async fn h17_what_service_init_sends_leaves_while_it_runs(world: World) {
        let peer = world.peer("127.0.0.1:9".parse().unwrap()).await;
        let to = peer.addr();
        let (go, journal) = (Arc::new(Notify::new()), Journal::default());
        let (goes, told) = (Arc::clone(&go), journal.clone());
        let builder = echo_with_init(move |service| {
            let client = service.clients::<Bytes>().unwrap().to(to).unwrap();
            let (goes, told) = (Arc::clone(&goes), told.clone());
            Box::pin(async move {
                // More than the outbox has room for.
                for number in 0..10 {
                    client.send(vec![number; 30_000].into()).await?;
                    goes.notified().await;
                }
                client.try_send("last".into())?;
                client.flush().await?;
                told.add("flushed");
                goes.notified().await;
                Ok(())
            })
        });
        let limits = Limits::default().outbox_bytes(ROOM);
        let server = world.bind(builder.limits(limits).workers(1)).await;
        let (handle, addr) = (server.handle(), server.handle().addresses()[0]);
        let serving = tokio::spawn(server.serve_forever());
        for number in 0..10 {
            assert_eq!(peer.recv_from().await, (vec![number; 30_000], addr));
            go.notify_one();
        }
        assert_eq!(peer.recv_from().await, (b"last".to_vec(), addr));
        journal.wait_for("flushed").await;
        assert!(!handle.is_serving());
        // It is not handled yet.
        peer.send_to("early", addr).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(handle.stats().received, 0);
        go.notify_one();
        assert_eq!(peer.recv_from().await, (b"early".to_vec(), addr));
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }

    on memory;
    async fn h17_service_init_waits_for_room_in_the_outbox(world: World) {
        let peer = world.peer("127.0.0.1:9".parse().unwrap()).await;
        let to = peer.addr();
        let builder = echo_with_init(move |service| {
            let client = service.clients::<Bytes>().unwrap().to(to).unwrap();
            Box::pin(async move {
                for number in 0..10 {
                    client.send(vec![number; 60_000].into()).await?;
                }
                Ok(())
            })
        });
        let limits = Limits::default().outbox_bytes(ROOM);
        let server = world.serve(builder.limits(limits)).await;
        for number in 0..10 {
            assert_eq!(peer.recv_from().await, (vec![number; 60_000], server.addr));
        }
        server.stop().await.unwrap();
    }

    async fn h17_it_can_be_kept_and_used_from_any_task_and_thread(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        let client = kept.clients().to(peer.addr()).unwrap();
        client.send("from a task".into()).await.unwrap();
        assert_eq!(peer.recv_text().await, "from a task");
        let elsewhere = client.clone();
        tokio::task::spawn_blocking(move || {
            block_on(elsewhere.send("from a thread".into())).unwrap();
            block_on(elsewhere.flush()).unwrap();
        })
        .await
        .unwrap();
        assert_eq!(peer.recv_text().await, "from a thread");
        client.send_datagram(b"encoded").await.unwrap();
        assert_eq!(peer.recv_text().await, "encoded");
        server.stop().await.unwrap();
    }

    async fn h17_a_background_task_sends_by_it(world: World) {
        let peer = world.peer("127.0.0.1:9".parse().unwrap()).await;
        let (to, go) = (peer.addr(), Arc::new(Notify::new()));
        let goes = Arc::clone(&go);
        let server = world
            .serve(echo_with_init(move |service| {
                let client = service.clients::<Bytes>().unwrap().to(to).unwrap();
                let goes = Arc::clone(&goes);
                service.spawn(async move {
                    while !client.is_closing() {
                        goes.notified().await;
                        client.send("tick".into()).await?;
                    }
                    Ok::<(), SendError>(())
                });
                Box::pin(async { Ok(()) })
            }))
            .await;
        for _ in 0..3 {
            go.notify_one();
            assert_eq!(peer.recv_from().await, (b"tick".to_vec(), server.addr));
        }
        server.stop().await.unwrap();
    }

    async fn h17_a_handler_sends_by_it_in_the_order_of_all_it_sends(world: World) {
        let kept = Kept::default();
        let (keep, clients) = (kept.clone(), kept.clone());
        let server = world
            .serve(server_with_init(
                move |service| {
                    keep.keep(service.clients().unwrap());
                    Box::pin(async { Ok(()) })
                },
                move |client, mut requests| {
                    let first = clients.clients().to(client.remote_addr()).unwrap();
                    async move {
                        requests.recv().await?;
                        for number in 0..10 {
                            let by = [&client, &first][number % 2];
                            by.send(number.to_string().into()).await?;
                        }
                        Ok(())
                    }
                },
            ))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("go").await;
        for number in 0..10 {
            assert_eq!(peer.recv_text().await, number.to_string());
        }
        server.stop().await.unwrap();
    }

    on memory;
    async fn h17_a_full_outbox_holds_it_like_others(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let limits = Limits::default().outbox_bytes(ROOM);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        let client = kept.clients().to(peer.addr()).unwrap();
        world.network.block_sends(server.addr, true);
        client.send(vec![1; 60_000].into()).await.unwrap();
        let full = client.try_send(vec![2; 60_000].into());
        assert!(matches!(full, Err(SendError::Full)), "{full:?}");
        let mut waits = pin!(client.send(vec![3; 60_000].into()));
        begin(&mut waits).await;
        world.network.block_sends(server.addr, false);
        waits.await.unwrap();
        assert_eq!(peer.recv().await, [1; 60_000]);
        assert_eq!(peer.recv().await, [3; 60_000]);
        server.stop().await.unwrap();
    }

    on memory;
    async fn h17_it_is_told_what_the_system_refused_and_nobody_else_is(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let server = world.serve(builder).await;
        let (bad, good) = (world.peer(server.addr).await, world.peer(server.addr).await);
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        world.network.fail_sends(bad.addr(), Some(refused));
        let (to_bad, to_good) = (kept.clients().to(bad.addr()), kept.clients().to(good.addr()));
        let (to_bad, to_good) = (to_bad.unwrap(), to_good.unwrap());
        to_bad.send("lost".into()).await.unwrap();
        to_good.send("kept".into()).await.unwrap();
        to_good.flush().await.unwrap();
        let told = to_bad.flush().await;
        assert!(matches!(told, Err(FlushError::Io(_))), "{told:?}");
        assert_eq!(good.recv_text().await, "kept");
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
        world.logs.take();
    }

    on memory;
    async fn h17_what_the_system_refused_is_told_to_a_run_for_one_datagram_of_the_same_address(world: World) {
        let kept = Kept::default();
        let keep = kept.clone();
        let builder = server_with_init(
            move |service| {
                keep.keep(service.clients::<Bytes>().unwrap());
                Box::pin(async { Ok(()) })
            },
            |client, mut requests| async move {
                let request = requests.recv().await?;
                client.send(format!("{:?}", client.flush().await.is_ok()).into()).await?;
                drop(request);
                Ok(())
            },
        );
        let server = world.serve(builder.concurrency(2)).await;
        let peer = world.peer(server.addr).await;
        let first = kept.clients().to(peer.addr()).unwrap();
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        world.network.fail_sends(peer.addr(), Some(refused));
        first.send("lost".into()).await.unwrap();
        server.stats_where(|stats| stats.send_errors == 1).await;
        world.network.fail_sends(peer.addr(), None);
        assert_eq!(peer.ask("what was refused?").await, "false");
        assert_eq!(peer.ask("and now?").await, "true");
        assert!(first.flush().await.is_ok());
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
    }

    async fn h17_a_packet_that_fits_no_datagram_is_its_own_error(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        let client = kept.clients().to(peer.addr()).unwrap();
        let error = client.send(vec![0; 65_508].into()).await.unwrap_err();
        assert!(matches!(error, SendError::TooLarge { limit: 65_507, .. }), "{error:?}");
        client.send("fits".into()).await.unwrap();
        assert_eq!(peer.recv_text().await, "fits");
        server.stop().await.unwrap();
    }

    async fn h17_its_tasks_are_waited_for_by_a_shutdown(world: World) {
        let (builder, kept, _given) = keeps_clients();
        let limits = Limits::default().grace(HANG);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        let client = kept.clients().to(peer.addr()).unwrap();
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let by = client.clone();
        client.spawner().spawn(async move {
            goes.notified().await;
            by.send("done".into()).await
        }).unwrap();
        assert!(!client.is_closing() && !client.is_draining());
        let stopping = tokio::spawn({
            let handle = server.handle.clone();
            async move { handle.shutdown().await }
        });
        while !client.is_closing() {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        assert_eq!(peer.recv_text().await, "done");
        stopping.await.unwrap();
        server.stop().await.unwrap();
    }
}

#[test]
fn h17_a_blocking_server_sends_first_too() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(HANG)).unwrap();
    let to = peer.local_addr().unwrap();
    let builder = echo_with_init(move |service| {
        let client = service.clients::<Bytes>().unwrap().to(to).unwrap();
        Box::pin(async move {
            client.send("restarted".into()).await?;
            Ok(client.flush().await?)
        })
    });
    let server = BlockingServer::bind(builder, "127.0.0.1:0").unwrap();
    let handle = server.handle();
    let serving = std::thread::spawn(move || server.serve_forever());
    let mut buffer = [0; 100];
    let (len, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"restarted");
    peer.send_to(b"hello", from).unwrap();
    assert_eq!(peer.recv_from(&mut buffer).unwrap(), (5, from));
    handle.blocking_shutdown();
    serving.join().unwrap().unwrap();
}
