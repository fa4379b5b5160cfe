//! Whatever code of a handler holds its worker, the log names it.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use postbox_server::{BoxError, ServerBuilder};

use crate::common::*;
use crate::contract;

/// Blocks a thread until it is let go.
struct Hold {
    entered: mpsc::Sender<()>,
    goes: Mutex<mpsc::Receiver<()>>,
}

impl Hold {
    fn block(&self) {
        self.entered.send(()).unwrap();
        let _ = self.goes.lock().unwrap().recv(); // the thread itself waits
    }
}

/// Blocks when it is dropped.
struct BlocksAtItsEnd(Arc<Hold>);

impl Drop for BlocksAtItsEnd {
    fn drop(&mut self) {
        self.0.block();
    }
}

/// Returns at once, and blocks when it is dropped.
struct Returns(#[allow(dead_code)] BlocksAtItsEnd);

impl Future for Returns {
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

/// Blocks when it is told.
struct Failure(Arc<Hold>);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failure")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.block();
        f.write_str("told")
    }
}

impl std::error::Error for Failure {}

/// Runs a server whose handler blocks by what `builder` is given, and checks that it is named while
/// it does. `cancelled`: only when it is dropped by a shutdown.
async fn is_named(
    world: &World,
    builder: impl FnOnce(Arc<Hold>) -> ServerBuilder,
    cancelled: bool,
) {
    is_named_on(world, builder, cancelled, &["127.0.0.1:0"]).await;
}

/// The same, on the last of several addresses, of which each has its worker.
async fn is_named_on(
    world: &World,
    builder: impl FnOnce(Arc<Hold>) -> ServerBuilder,
    cancelled: bool,
    hosts: &[&str],
) {
    let ((entered, has_entered), (go, goes)) = (mpsc::channel(), mpsc::channel());
    let hold = Hold {
        entered,
        goes: Mutex::new(goes),
    };
    let builder = builder(Arc::new(hold)).grace(Duration::ZERO);
    let server = match hosts {
        [_] => world.serve(builder).await,
        _ => {
            let builder = builder.plain_transport(world.kind == Kind::Plain);
            TestServer::start(builder.bind(hosts).await.unwrap()).await
        }
    };
    let addr = *server.handle.addresses().last().unwrap();
    let peer = world.peer(addr).await;
    if cancelled {
        assert_eq!(peer.ask("x").await, "x");
    }
    // Watches from a thread of its own: on one thread, this task waits as well.
    let (logs, handle) = (world.logs.clone(), server.handle.clone());
    let watching = std::thread::spawn(move || {
        let shutdown = cancelled.then(|| std::thread::spawn(move || handle.blocking_shutdown()));
        has_entered.recv().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let records = runtime.unwrap().block_on(logs.wait_for_held());
        go.send(()).unwrap();
        if let Some(shutdown) = shutdown {
            shutdown.join().unwrap();
        }
        records
    });
    if !cancelled {
        peer.send("x").await;
    }
    let watched = tokio::task::spawn_blocking(|| watching.join().unwrap());
    let records = watched.await.unwrap();
    // Where the machine does much else, a moment before may have seemed long, too.
    let named = format!("client={}", peer.addr());
    for record in records {
        assert_eq!(record.level, tracing::Level::WARN);
        assert!(record.fields.contains(&named), "{record:?}");
    }
    server.stop().await.unwrap();
}

contract! {
    async fn v4_a_handle_that_blocks_before_its_future_exists_is_named(world: World) {
        is_named(&world, |hold| raw_server(move |_, _| {
            hold.block();
            async { Ok(()) }
        }), false).await;
    }

    async fn v4_a_handler_that_blocks_as_it_is_dropped_is_named(world: World) {
        is_named(&world, |hold| raw_server(move |_, _| {
            Returns(BlocksAtItsEnd(Arc::clone(&hold)))
        }), false).await;
    }

    async fn v4_a_handler_that_blocks_as_it_is_cancelled_is_named(world: World) {
        is_named(&world, |hold| raw_server(move |client, mut requests| {
            let blocks = BlocksAtItsEnd(Arc::clone(&hold));
            async move {
                let _blocks = blocks;
                client.send(requests.recv().await?).await?;
                pending().await
            }
        }), true).await;
    }

    async fn v4_a_handler_whose_error_blocks_as_it_is_told_is_named(world: World) {
        is_named(&world, |hold| raw_server(move |_, _| {
            let failure = Failure(Arc::clone(&hold));
            async move { Err(failure.into()) }
        }), false).await;
        let logged = world.logs.take();
        assert_eq!((logged.len(), logged[0].message.as_str()), (1, "handler failed: told"));
    }
}

#[cfg(target_os = "linux")] // elsewhere loopback is one address
contract! {
    on udp, plain;
    async fn v4_a_handler_that_blocks_is_named_whichever_worker_it_holds(world: World) {
        let hosts = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"];
        is_named_on(&world, |hold| raw_server(move |_, _| {
            hold.block();
            async { Ok(()) }
        }), false, &hosts).await;
    }
}
