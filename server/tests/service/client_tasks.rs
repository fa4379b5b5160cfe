//! H18: tasks of clients, which outlive the handler that began them.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Client, ContextVar, Limits, ServeError, SpawnError};
use tokio::sync::{Notify, mpsc};

use super::destructors::panics_twice;
use crate::common::service::*;
use crate::common::*;
use crate::{contract, paused};
use tracing::Level;

static WHO: ContextVar<SocketAddr> = ContextVar::new("who");

/// Every client object of a server, one for each datagram.
type Clients = mpsc::UnboundedReceiver<Client<Bytes>>;

/// A server whose handlers answer at once, and give their client object away.
fn gives_clients() -> (postbox_server::ServerBuilder, Clients) {
    let (give, given) = mpsc::unbounded_channel();
    let builder = raw_server(move |client, mut requests| {
        let give = give.clone();
        async move {
            client.send(requests.recv().await?).await?;
            give.send(client)?;
            Ok(())
        }
    });
    (builder, given)
}

contract! {
    async fn h18_a_task_outlives_its_handler_and_answers_later(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    let request = requests.recv().await?;
                    client.send("accepted".into()).await?;
                    client.clone().spawner().spawn(async move {
                        go.notified().await;
                        client.send(request).await
                    })?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("work").await, "accepted");
        let stats = server.stats_where(|stats| stats.handlers_returned == 1).await;
        assert_eq!((stats.client_tasks, stats.waiting_clients), (1, 0));
        go.notify_one();
        assert_eq!(peer.recv_text().await, "work");
        server.stats_where(|stats| stats.client_tasks == 0).await;
        server.stop().await.unwrap();
    }

    async fn h18_it_sees_the_context_of_the_handler_that_spawned_it(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                WHO.set(client.remote_addr());
                client.clone().spawner().spawn(async move {
                    let who = WHO.get().map_or_else(|| "nobody".into(), |who| who.to_string());
                    client.send(who.into()).await
                })?;
                Ok(())
            }))
            .await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for peer in [one, two] {
            assert_eq!(peer.ask("who?").await, peer.addr().to_string());
        }
        server.stop().await.unwrap();
    }

    async fn h18_its_errors_and_panics_are_logged_with_the_client_and_end_nothing(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let client = clients.recv().await.unwrap();
        client.spawner().spawn(async { Err::<(), _>("lost the database") }).unwrap();
        let logged = world.logs.wait_for(1).await;
        assert_eq!(logged[0].level, Level::ERROR);
        assert_eq!(logged[0].message, "a client's task failed: lost the database");
        let fields = format!("client={} suppressed=0 ", peer.addr());
        assert_eq!(logged[0].fields, fields);
        assert_eq!(peer.ask("again").await, "again");
        // What panics when it is polled, and again when it is dropped, ends nothing either.
        client.spawner().spawn(panics_twice()).unwrap();
        server.stats_where(|stats| stats.client_tasks == 0).await;
        assert_eq!(peer.ask("again").await, "again");
        server.stop().await.unwrap();
        world.logs.take(); // what was left out
    }

    async fn h18_over_their_bound_spawning_fails(world: World) {
        let (builder, mut clients) = gives_clients();
        let limits = Limits::default().client_tasks(2);
        let server = world.serve(builder.limits(limits.grace(Duration::ZERO))).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let spawner = clients.recv().await.unwrap().spawner();
        let go = Arc::new(Notify::new());
        for _ in 0..2 {
            let go = Arc::clone(&go);
            spawner.spawn(async move { go.notified().await }).unwrap();
        }
        let refused = spawner.spawn(async {});
        assert_eq!(refused, Err(SpawnError::Full { limit: 2 }));
        go.notify_one();
        server.stats_where(|stats| stats.client_tasks == 1).await;
        spawner.spawn(pending::<()>()).unwrap();
        assert_eq!(spawner.spawn(async {}), Err(SpawnError::Full { limit: 2 }));
        go.notify_one();
        server.stats_where(|stats| stats.client_tasks == 1).await;
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        assert_eq!(handle.stats().client_tasks, 0);
        assert_eq!(world.logs.take_cut()[0].fields, "handlers=0 tasks=1 ");
    }

    async fn h18_it_can_be_spawned_from_a_thread_without_a_runtime(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let client = clients.recv().await.unwrap();
        let spawned = std::thread::spawn(move || {
            client.clone().spawner().spawn(async move { client.send("from a thread".into()).await })
        });
        spawned.join().unwrap().unwrap();
        assert_eq!(peer.recv_text().await, "from a thread");
        server.stop().await.unwrap();
    }

    async fn h18_a_shutdown_waits_for_it_and_it_can_still_answer(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder.grace(HANG)).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let client = clients.recv().await.unwrap();
        let closing = client.clone();
        let spawner = client.spawner();
        let second = spawner.clone();
        spawner
            .spawn(async move {
                while !closing.is_closing() {
                    tokio::task::yield_now().await;
                }
                closing.send("done".into()).await.unwrap();
                // It may itself leave work behind.
                second.spawn(async move { closing.send("all done".into()).await }).unwrap();
            })
            .unwrap();
        server.handle.shutdown().await;
        assert_eq!(peer.recv_text().await, "done");
        assert_eq!(peer.recv_text().await, "all done");
        assert_eq!(server.handle.stats().tasks_cancelled, 0);
        // The serving has ended: nobody would wait for another.
        assert_eq!(client.spawner().spawn(async {}), Err(SpawnError::Closed));
        server.stop().await.unwrap();
    }

    async fn v4_what_is_cut_after_the_grace_is_counted_and_told_in_one_line(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                client.spawner().spawn(pending::<()>())?;
                client.spawner().spawn(pending::<()>())?;
                pending().await
            }).grace(Duration::ZERO))
            .await;
        let peers = [world.peer(server.addr).await, world.peer(server.addr).await];
        for peer in &peers {
            assert_eq!(peer.ask("waits").await, "waits");
        }
        let handle = server.handle.clone();
        server.stop().await.unwrap();
        let stats = handle.stats();
        assert_eq!((stats.handlers_cancelled, stats.tasks_cancelled), (2, 4));
        let logged = world.logs.take_cut();
        assert_eq!(logged.len(), 1, "{logged:?}");
        assert_eq!(logged[0].level, Level::WARN);
        assert_eq!(logged[0].message, "cut by the shutdown, after a grace of 0ns");
        assert_eq!(logged[0].fields, "handlers=2 tasks=4 ");
    }

    async fn s2_exit_actions_run_after_the_last_task_of_a_client(world: World) {
        let journal = Journal::default();
        let (at_exit, in_task) = (journal.clone(), journal.clone());
        let builder = server_with_init(
            move |service| {
                let journal = at_exit.clone();
                service.on_exit(move || journal.add("exit action"));
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let journal = in_task.clone();
                async move {
                    requests.recv().await?;
                    let dropped = journal.on_drop("task dropped");
                    client.spawner().spawn(async move {
                        pending::<()>().await;
                        drop(dropped);
                    })?;
                    client.send("spawned".into()).await?;
                    Ok(())
                }
            },
        );
        let server = world.serve(builder.grace(Duration::ZERO)).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "spawned");
        server.stop().await.unwrap();
        assert_eq!(journal.entries(), ["task dropped", "exit action"]);
    }

    async fn v4_a_task_of_a_client_that_awaits_it_does_not_hold_the_grace(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder.grace(Duration::from_secs(3600))).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let spawner = clients.recv().await.unwrap().spawner();
        let handle = server.handle.clone();
        spawner.spawn(async move { handle.shutdown().await }).unwrap();
        server.serving.await.unwrap().unwrap();
        assert_eq!(server.handle.stats().client_tasks, 0);
    }

    async fn v10_s2_it_is_dropped_with_the_serving_future_and_before_the_exit_actions(world: World) {
        let journal = Journal::default();
        let (entries, at_exit) = (journal.clone(), journal.clone());
        let builder = server_with_init(
            move |service| {
                let journal = at_exit.clone();
                service.on_exit(move || journal.add("exit action"));
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let dropped = entries.on_drop("task dropped");
                async move {
                    client.send(requests.recv().await?).await?;
                    client.spawner().spawn(async move {
                        pending::<()>().await;
                        drop(dropped);
                    })?;
                    Ok(())
                }
            },
        );
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("x").await, "x");
        server.serving.abort();
        journal.wait_for("task dropped").await;
        server.handle.shutdown().await; // until what it leaves is cleaned up
        assert_eq!(journal.entries(), ["task dropped", "exit action"]);
        assert_eq!(server.handle.stats().tasks_cancelled, 1);
    }
}

paused! {
    async fn h11_tasks_of_clients_that_fail_are_one_line_a_second(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let spawner = clients.recv().await.unwrap().spawner();
        for _ in 0..100 {
            spawner.spawn(async { panic!("in a task") }).unwrap();
        }
        server.stats_where(|stats| stats.client_tasks == 0).await;
        let logged = world.logs.take();
        assert_eq!(logged.len(), 1, "{logged:?}");
        assert_eq!(logged[0].message, "a client's task failed: panicked: in a task");
        server.stop().await.unwrap();
        let rest = world.logs.take();
        assert_eq!(rest.len(), 1, "{rest:?}");
        assert_eq!(rest[0].message, "a client's task failed: 99 more");
    }

    async fn h11_what_was_left_out_of_failing_tasks_is_told_within_two_seconds(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let spawner = clients.recv().await.unwrap().spawner();
        for _ in 0..100 {
            spawner.spawn(async { panic!("in a task") }).unwrap();
        }
        server.stats_where(|stats| stats.client_tasks == 0).await;
        assert_eq!(world.logs.take().len(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let rest = world.logs.wait_for(1).await;
        assert_eq!(rest[0].message, "a client's task failed: 99 more");
        server.stop().await.unwrap();
    }

    async fn h18_the_grace_is_its_own_also_where_its_worker_has_died(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let journal = Journal::default();
        let entries = journal.clone();
        let spawner = clients.recv().await.unwrap().spawner();
        spawner
            .spawn(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                entries.add("done");
            })
            .unwrap();
        world.network.panic_at_receive(server.addr);
        peer.send("ends it").await;
        let ended = server.serving.await.unwrap();
        assert!(matches!(ended, Err(ServeError::WorkerDied { .. })), "{ended:?}");
        assert_eq!(journal.entries(), ["done"]);
        assert_eq!(server.handle.stats().tasks_cancelled, 0);
    }

    /// When its server has gone before it, that is no fault of its own.
    async fn h18_that_the_shutdown_has_closed_its_client_is_no_error(world: World) {
        let (builder, mut clients) = gives_clients();
        let limits = Limits::default().outbox_bytes(0).grace(Duration::ZERO);
        let server = world.serve(builder.limits(limits)).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        let client = clients.recv().await.unwrap();
        // It waits for room in the outbox, and is told before anybody cuts it.
        world.network.block_sends(server.addr, true);
        let spawner = client.spawner();
        let large = Bytes::from(vec![0; 60_000]);
        spawner
            .spawn(async move {
                client.send(large.clone()).await?;
                client.send(large).await
            })
            .unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        server.stop().await.unwrap();
        let debug = world.logs.take_debug();
        let told = |record: &&Record| record.message.starts_with("a client's task ended");
        assert_eq!(debug.iter().filter(told).count(), 1, "{debug:?}");
    }

    /// The grace is one for handlers and tasks: a task gets what the handlers have left of it.
    async fn h18_the_grace_ends_for_tasks_as_for_handlers(world: World) {
        let (builder, mut clients) = gives_clients();
        let server = world.serve(builder.grace(HANG)).await;
        let peer = world.peer(server.addr).await;
        peer.ask("hello").await;
        clients.recv().await.unwrap().spawner().spawn(pending::<()>()).unwrap();
        let begin = tokio::time::Instant::now();
        server.handle.shutdown().await;
        assert_eq!(begin.elapsed(), HANG);
        assert_eq!(server.handle.stats().tasks_cancelled, 1);
        assert_eq!(world.logs.take_cut()[0].fields, "handlers=0 tasks=1 ");
    }
}
