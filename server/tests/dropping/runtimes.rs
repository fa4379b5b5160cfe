//! The runtime that a server is served on goes away.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::ShutdownToken;
use postbox_server::{
    Client, FlushError, RecvError, Requests, SendError, ServeError, ServerBuilder, Spawner,
    StartError,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::common::service::*;
use crate::common::*;
use crate::contract;

/// A runtime of the world's kind, beside the one that the test runs on.
fn another_runtime(world: &World) -> Runtime {
    let mut builder = match world.rt {
        Rt::Current => Builder::new_current_thread(),
        Rt::Multi => Builder::new_multi_thread(),
    };
    let logs = tracing::Dispatch::new(world.logs.clone());
    builder
        .enable_all()
        .worker_threads(2)
        .on_thread_start(move || {
            std::mem::forget(tracing::dispatcher::set_default(&logs));
        });
    builder.build().unwrap()
}

/// Serves on another runtime until told to end, and lets `end` do that.
pub(crate) fn serve_elsewhere(
    world: &World,
    server: &postbox_server::Server,
    end: impl FnOnce(Runtime) + Send + 'static,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let runtime = another_runtime(world);
    let serving = server.serve_forever();
    let (tell, told) = oneshot::channel();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.spawn(serving);
        let _ = runtime.block_on(told);
        end(runtime);
    });
    (tell, thread)
}

/// What a service can be left with, for use after its runtime has gone.
#[derive(Clone, Default)]
struct Left {
    journal: Journal,
    client: Arc<Mutex<Option<Client<Bytes>>>>,
    spawner: Arc<Mutex<Option<(Spawner, ShutdownToken)>>>,
}

const NOT_RUN: &str = "an exit action was not run: no runtime is left to run it";

impl Left {
    /// A server whose handler answers and then waits, with a background task and exit actions.
    fn server(&self) -> ServerBuilder {
        let (init, handler) = (self.clone(), self.clone());
        server_with_init(
            move |service| {
                let (closed, sync, late) =
                    (init.clone(), init.journal.clone(), init.journal.clone());
                service.on_exit(move || sync.add("sync"));
                service.on_exit(move || {
                    let client = closed.client.lock().unwrap().clone().unwrap();
                    let sent = client.try_send("late".into());
                    assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
                    closed.journal.add("client closed");
                });
                service.spawn(std::future::pending::<()>());
                service.on_exit_async(move || async move { late.add("async") });
                *init.spawner.lock().unwrap() = Some((service.spawner(), service.shutdown_token()));
                Box::pin(async { Ok(()) })
            },
            move |client, mut requests| {
                let dropped = handler.journal.on_drop("handler dropped");
                *handler.client.lock().unwrap() = Some(client.clone());
                async move {
                    let _dropped = dropped;
                    client.send(requests.recv().await?).await?;
                    requests.recv().await?;
                    Ok(())
                }
            },
        )
    }

    /// Everything was ended, the handler first. The asynchronous exit action is logged as not run:
    /// a multi-thread runtime that goes away may still have got to it, though.
    fn check_end(&self, world: &World) {
        let mut expected = vec!["handler dropped", "client closed", "sync"];
        let logs = world.logs.take();
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        if texts.is_empty() && world.rt == Rt::Multi {
            expected.insert(1, "async");
        } else {
            assert_eq!(texts, [NOT_RUN], "stopping the tasks needs no word");
        }
        assert_eq!(self.journal.entries(), expected);
    }

    /// Nothing of it panics or hangs, it only does nothing any more.
    async fn use_all(&self) {
        let client = self.client.lock().unwrap().take().unwrap();
        let sent = client.send("late".into()).await;
        assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
        let flushed = client.flush().await;
        assert!(matches!(flushed, Err(FlushError::Closed)), "{flushed:?}");
        assert!(client.is_closing());
        let (spawner, token) = self.spawner.lock().unwrap().take().unwrap();
        token.begun().await;
        let dropped = self.journal.on_drop("never run");
        spawner.spawn(async move {
            let _dropped = dropped;
            unreachable!("its runtime is gone");
        });
        self.journal.wait_for("never run").await;
    }
}

contract! {
    async fn v10_a_runtime_that_goes_away_ends_serving(world: World) {
        let ends: [fn(Runtime); 3] = [
            drop,
            Runtime::shutdown_background,
            |runtime| runtime.shutdown_timeout(HANG),
        ];
        for end in ends {
            let left = Left::default();
            let server = world.bind(left.server().workers(2)).await;
            let handle = server.handle();
            let (tell, thread) = serve_elsewhere(&world, &server, end);
            handle.started().await.unwrap();
            let peer = world.peer(handle.addresses()[0]).await;
            assert_eq!(peer.ask("hello").await, "hello");
            tell.send(()).unwrap();
            thread.await.unwrap();
            handle.shutdown().await;
            left.check_end(&world);
            assert!(!handle.is_serving() && handle.is_listening());
            assert_eq!(handle.started().await, Err(StartError::Ended));
            left.use_all().await;

            // What arrives meanwhile waits, as after every shutdown.
            peer.send("meanwhile").await;
            let server = TestServer::start(server).await;
            assert_eq!(peer.recv_text().await, "meanwhile");
            server.stop().await.unwrap();
        }
    }

    async fn v10_a_runtime_that_goes_away_right_after_the_drop(world: World) {
        let left = Left::default();
        let server = world.bind(left.server()).await;
        let peer = world.peer(server.handle().addresses()[0]).await;
        let runtime = another_runtime(&world);
        let serving = server.serve_forever();
        // As in a `main` that ends with `select!` and Ctrl-C.
        let (tell, told) = oneshot::channel::<()>();
        let thread = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serving => panic!("nobody stops it"),
                    _ = told => {}
                }
            });
        });
        assert_eq!(peer.ask("hello").await, "hello");
        tell.send(()).unwrap();
        thread.await.unwrap();
        server.handle().shutdown().await;
        left.check_end(&world);
        left.use_all().await;
    }

    async fn v10_an_exit_action_cut_off_by_its_runtimes_end_is_logged(world: World) {
        let journal = Journal::default();
        let registered = journal.clone();
        let server = world.bind(echo_with_init(move |service| {
            let (last, begins) = (registered.clone(), registered.clone());
            let dropped = registered.on_drop("cut off");
            service.on_exit(move || last.add("last"));
            service.on_exit_async(move || async move {
                let _dropped = dropped;
                begins.add("begins");
                std::future::pending::<()>().await;
            });
            Box::pin(async { Ok(()) })
        })).await;
        let handle = server.handle();
        let (tell, thread) = serve_elsewhere(&world, &server, drop);
        handle.started().await.unwrap();
        let stopping = tokio::spawn(async move { handle.shutdown().await });
        journal.wait_for("begins").await;
        tell.send(()).unwrap();
        thread.await.unwrap();
        stopping.await.unwrap();
        assert_eq!(journal.entries(), ["begins", "cut off", "last"]);
        let cut = "an exit action was not run to its end: no runtime is left to run it";
        assert_eq!(world.logs.wait_for(1).await[0].message, cut);
    }

    async fn v10_what_waits_elsewhere_is_woken_when_the_runtime_goes_away(world: World) {
        let (give, mut given) = tokio::sync::mpsc::unbounded_channel::<Requests<Bytes>>();
        let server = world.bind(raw_server(move |client, mut requests| {
            let give = give.clone();
            async move {
                client.send(requests.recv().await?).await?;
                give.send(requests)?;
                std::future::pending().await
            }
        })).await;
        let handle = server.handle();
        let (tell, thread) = serve_elsewhere(&world, &server, drop);
        handle.started().await.unwrap();
        let peer = world.peer(handle.addresses()[0]).await;
        assert_eq!(peer.ask("hello").await, "hello");
        let mut requests = given.recv().await.unwrap();
        let receive = tokio::spawn(async move { requests.recv_timeout(Duration::MAX).await });
        let shutdown = tokio::spawn(async move { handle.shutdown().await });
        tell.send(()).unwrap();
        thread.await.unwrap();
        let received = receive.await.unwrap();
        assert!(matches!(received, Err(RecvError::Closed)), "{received:?}");
        shutdown.await.unwrap();
    }

    async fn v10_a_serving_polled_on_after_its_runtime_has_gone_answers_an_error(world: World) {
        for elsewhere in [true, false] {
            let left = Left::default();
            let server = world.bind(left.server()).await;
            let handle = server.handle();
            let peer = world.peer(handle.addresses()[0]).await;
            let (runtime, mut serving) = (another_runtime(&world), server.serve_forever());
            let (tell, mut told) = oneshot::channel::<()>();
            let thread = tokio::task::spawn_blocking(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = &mut serving => panic!("nobody stops it"),
                        _ = &mut told => {}
                    }
                });
                drop(runtime);
                serving
            });
            assert_eq!(peer.ask("hello").await, "hello");
            tell.send(()).unwrap();
            let mut serving = thread.await.unwrap();
            let ended = if elsewhere {
                serving.await
            } else {
                let logs = tracing::Dispatch::new(world.logs.clone());
                let without_runtime = std::thread::spawn(move || {
                    tracing::dispatcher::with_default(&logs, || {
                        let mut cx = Context::from_waker(Waker::noop());
                        match Pin::new(&mut serving).poll(&mut cx) {
                            Poll::Ready(ended) => ended,
                            Poll::Pending => panic!("there is nothing to wait for"),
                        }
                    })
                });
                without_runtime.join().unwrap()
            };
            assert!(matches!(ended, Err(ServeError::RuntimeGone)), "{ended:?}");
            let mut expected = vec!["handler dropped", "async", "client closed", "sync"];
            if !elsewhere {
                expected.remove(1);
                assert_eq!(world.logs.take()[0].message, NOT_RUN);
            }
            assert_eq!(left.journal.entries(), expected);
            TestServer::start(server).await.stop().await.unwrap();
        }
    }

    async fn v10_a_runtime_can_be_dropped_with_its_thread(world: World) {
        thread_local! {
            // Before the server's own thread-local, and so dropped after it.
            static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
        }
        let left = Left::default();
        let server = world.bind(left.server()).await;
        let handle = server.handle();
        let peer = world.peer(handle.addresses()[0]).await;
        let (runtime, serving) = (another_runtime(&world), server.serve_forever());
        let (tell, told) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            RUNTIME.set(Some(runtime));
            RUNTIME.with_borrow(|runtime| {
                let runtime = runtime.as_ref().unwrap();
                runtime.spawn(serving);
                let _ = runtime.block_on(told);
            });
        });
        assert_eq!(peer.ask("hello").await, "hello");
        tell.send(()).unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        handle.shutdown().await;
        // Its thread has no log any more.
        let mut entries = left.journal.entries();
        entries.retain(|entry| world.rt == Rt::Current || entry != "async");
        assert_eq!(entries, ["handler dropped", "client closed", "sync"]);
        world.logs.take();
        left.use_all().await;
    }
}

contract! {
    on memory;
    async fn v10_senders_that_wait_elsewhere_are_woken_when_the_runtime_goes_away(world: World) {
        let left = Left::default();
        let server = world.bind(left.server()).await;
        let (handle, addr) = (server.handle(), server.handle().addresses()[0]);
        let (tell, thread) = serve_elsewhere(&world, &server, drop);
        let peer = world.peer(addr).await;
        assert_eq!(peer.ask("hello").await, "hello");
        world.network.block_sends(addr, true);
        let client = left.client.lock().unwrap().clone().unwrap();
        while client.try_send(vec![0; 60_000].into()).is_ok() {}
        let mut send = Box::pin(client.send(vec![0; 60_000].into()));
        let mut flush = Box::pin(client.flush());
        assert!(poll_once(&mut send).await.is_pending());
        assert!(poll_once(&mut flush).await.is_pending());
        let both = async { (send.await, flush.await) };
        tell.send(()).unwrap();
        let (sent, flushed) = both.await;
        assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
        assert!(matches!(flushed, Err(FlushError::Closed)), "{flushed:?}");
        thread.await.unwrap();
        handle.shutdown().await;
        left.check_end(&world);
    }
}
