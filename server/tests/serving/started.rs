//! V3: when a server says that it has started, and what it handles first.

use std::sync::{Arc, mpsc};

use postbox_server::{ServeError, StartError};
use tokio::sync::Notify;

use crate::common::service::{Journal, echo_with_init};
use crate::common::*;
use crate::contract;

contract! {
    async fn v3_started_is_true_only_once_datagrams_are_handled(world: World) {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (init_begun, init_goes) = (Arc::clone(&begun), Arc::clone(&go));
        let server = world
            .bind(echo_with_init(move |_| {
                let (begun, goes) = (Arc::clone(&init_begun), Arc::clone(&init_goes));
                Box::pin(async move {
                    begun.notify_one();
                    goes.notified().await;
                    Ok(())
                })
            }))
            .await;
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        begun.notified().await;
        let waiting = handle.clone();
        let mut started = Box::pin(async move { waiting.started().await });
        assert!(poll_once(&mut started).await.is_pending(), "not during service_init");
        assert!(!handle.is_serving());
        go.notify_one();
        started.await.unwrap();
        assert!(handle.is_serving());
        let peer = world.peer(handle.addresses()[0]).await;
        assert_eq!(peer.ask("x").await, "x");
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }

    async fn v3_it_is_not_serving_while_the_workers_have_not_begun(world: World) {
        if world.rt == Rt::Multi {
            return; // there they begin at any time
        }
        let ends = Arc::new(Notify::new());
        let ended = Arc::clone(&ends);
        let server = world.bind(echo_with_init(move |_| {
            let ends = Arc::clone(&ends);
            Box::pin(async move {
                tokio::task::yield_now().await; // the workers only send meanwhile
                ends.notify_one();
                Ok(())
            })
        })).await;
        let handle = server.handle();
        // Between the end of `service_init` and the next turn of the workers.
        let looks = handle.clone();
        let looked = tokio::spawn(async move {
            ended.notified().await;
            looks.is_serving()
        });
        tokio::task::yield_now().await;
        let serving = tokio::spawn(server.serve_forever());
        assert!(!looked.await.unwrap());
        handle.started().await.unwrap();
        assert!(handle.is_serving());
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }

    async fn v3_started_waits_for_the_first_serving_to_be_called(world: World) {
        let server = world.bind(echo()).await;
        let handle = server.handle();
        let waiting = handle.clone();
        let mut started = Box::pin(async move { waiting.started().await });
        assert!(poll_once(&mut started).await.is_pending());
        let serving = tokio::spawn(server.serve_forever());
        started.await.unwrap();
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }

    async fn v3_started_answers_an_error_if_serving_ended_before_it_was_ready(world: World) {
        let server = world
            .bind(echo_with_init(|_| {
                Box::pin(async { Err("no database".into()) })
            }))
            .await;
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        assert_eq!(handle.started().await, Err(StartError::Ended));
        assert!(matches!(serving.await.unwrap(), Err(ServeError::ServiceInit(_))));
        assert_eq!(handle.started().await, Err(StartError::Ended), "asked later");
        server.close().await;
        assert_eq!(handle.started().await, Err(StartError::Closed));
    }

    async fn v3_who_waits_for_the_start_of_a_server_that_closes_instead_is_told(world: World) {
        for dropped in [false, true] {
            let server = world.bind(echo()).await;
            let handle = server.handle();
            let mut waiting = tokio::task::JoinSet::new();
            for _ in 0..3 {
                let (waits, has_begun) = (handle.clone(), Arc::new(Notify::new()));
                let begins = Arc::clone(&has_begun);
                waiting.spawn(async move {
                    let mut started = std::pin::pin!(waits.started());
                    begin(&mut started).await;
                    begins.notify_one();
                    started.await
                });
                has_begun.notified().await;
            }
            if dropped {
                drop(server);
            } else {
                server.close().await;
            }
            while let Some(started) = waiting.join_next().await {
                assert_eq!(started.unwrap(), Err(StartError::Closed));
            }
        }
    }

    async fn v3_what_arrived_between_bind_and_serving_is_handled_first_and_in_order(world: World) {
        let server = world.bind(echo()).await;
        let peer = world.peer(server.handle().addresses()[0]).await;
        for datagram in ["one", "two", "three"] {
            peer.send(datagram).await;
        }
        let server = TestServer::start(server).await;
        peer.send("four").await;
        for datagram in ["one", "two", "three", "four"] {
            assert_eq!(peer.recv_text().await, datagram);
        }
        server.stop().await.unwrap();
    }

    async fn v3_started_is_told_to_all_who_wait_and_to_who_asks_later(world: World) {
        let server = world.bind(echo()).await;
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..5 {
            let handle = server.handle();
            waiting.spawn(async move { handle.started().await });
        }
        let server = TestServer::start(server).await;
        while let Some(started) = waiting.join_next().await {
            assert_eq!(started.unwrap(), Ok(()));
        }
        assert_eq!(server.handle.started().await, Ok(()));
        server.handle.shutdown().await;
        assert_eq!(server.handle.started().await, Err(StartError::Ended));
        server.stop().await.unwrap();
    }

    async fn v3_what_arrived_first_of_several_clients_is_handled_first(world: World) {
        let journal = Journal::default();
        let handled = journal.clone();
        let server = world.bind(raw_server(move |client, mut requests| {
            let handled = handled.clone();
            async move {
                let request = requests.recv().await?;
                handled.add(String::from_utf8(request.to_vec())?);
                client.send(request).await?;
                Ok(())
            }
        })).await;
        let addr = server.handle().addresses()[0];
        let mut peers = Vec::new();
        for name in ["one", "two", "three"] {
            let peer = world.peer(addr).await;
            peer.send(name).await;
            peers.push((peer, name));
        }
        assert_eq!(journal.entries(), [""; 0], "nobody serves");
        let server = TestServer::start(server).await;
        assert_eq!(world.peer(addr).await.ask("four").await, "four");
        for (peer, name) in &peers {
            assert_eq!(peer.recv_text().await, *name);
        }
        assert_eq!(journal.entries(), ["one", "two", "three", "four"]);
        server.stop().await.unwrap();
    }
}

contract! {
    on memory;
    async fn v3_started_waits_for_the_first_turn_of_every_worker(world: World) {
        let (entered, has_entered) = mpsc::channel::<()>();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let builder = raw_server(move |client, mut requests| {
            let (entered, released) = (entered.clone(), Arc::clone(&released));
            async move {
                client.send(requests.recv().await?).await?;
                entered.send(())?;
                let _ = released.lock().unwrap().recv(); // its worker's thread itself waits
                Ok(())
            }
        });
        let server = world.bind(builder.workers(3)).await;
        let handle = server.handle();
        let peer = world.peer(handle.addresses()[0]).await;
        peer.send("for one of them, and there before its first turn").await;
        // Looks from a thread of its own: where there is but one, this task waits as well.
        let watched = server.handle();
        let watching = std::thread::spawn(move || {
            has_entered.recv().unwrap();
            let serving = watched.is_serving();
            let started = poll_now(&mut Box::pin(watched.started())).is_ready();
            release.send(()).unwrap();
            (serving, started)
        });
        let serving = tokio::spawn(server.serve_forever());
        handle.started().await.unwrap();
        let watched = tokio::task::spawn_blocking(|| watching.join().unwrap()).await.unwrap();
        assert_eq!(watched, (false, false), "in the middle of a first turn");
        assert!(handle.is_serving());
        assert_eq!(handle.stats().handlers_returned, 1, "it was handled in that turn");
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }
}
