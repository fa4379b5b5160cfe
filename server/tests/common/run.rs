//! Running a test body on a runtime.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use postbox_server::MemoryNetwork;

use super::{HANG, Kind, Logs, Ports, Rt, World};

/// One type for the bodies of all tests: else the runtime is compiled for each of hundreds.
type Body = Box<dyn FnOnce(World) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

fn boxed<F, Fut>(body: F) -> Body
where
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Box::new(|world| Box::pin(body(world)))
}

/// Runs a test body, then checks that it left no unexpected log record.
pub fn run<F, Fut>(kind: Kind, rt: Rt, body: F)
where
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    run_boxed(kind, rt, boxed(body));
}

fn run_boxed(kind: Kind, rt: Rt, body: Body) {
    let mut builder = match rt {
        Rt::Current => tokio::runtime::Builder::new_current_thread(),
        Rt::Multi => tokio::runtime::Builder::new_multi_thread(),
    };
    let logs = Logs::default();
    let on_threads = tracing::Dispatch::new(logs.clone());
    builder
        .enable_all()
        .worker_threads(2)
        .on_thread_start(move || {
            std::mem::forget(tracing::dispatcher::set_default(&on_threads));
        });
    run_on(builder.build().unwrap(), kind, rt, HANG, &logs, body);
}

fn run_on(
    runtime: tokio::runtime::Runtime,
    kind: Kind,
    rt: Rt,
    hang: Duration,
    logs: &Logs,
    body: Body,
) {
    // Without a backtrace: the first one takes half a second, and the log would name its handler.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let dispatch = tracing::Dispatch::new(logs.clone());
    let world = World {
        kind,
        rt,
        network: MemoryNetwork::new(),
        logs: logs.clone(),
        ports: Ports::default(),
    };
    tracing::dispatcher::with_default(&dispatch, || {
        let body = body(world);
        runtime.block_on(async {
            // Spawned, so that it runs where a server's user's code would.
            let ended = tokio::time::timeout(hang, tokio::spawn(body)).await;
            match ended.expect("the test hangs") {
                Ok(()) => {}
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    let left = logs.take();
    assert!(left.is_empty(), "unexpected log records: {left:#?}");
}

/// Runs a test body on the memory transport with tokio's clock paused: time passes only when
/// everybody waits, at once, and to the next deadline.
pub fn run_paused<F, Fut>(body: F)
where
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    run_boxed_paused(boxed(body));
}

fn run_boxed_paused(body: Body) {
    // In a thread: a server that is busy for ever lets no time pass, and has to be given up.
    let (ended, has_ended) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_clockless(body)));
        ended.send(()).unwrap();
        caught
    });
    assert!(
        has_ended.recv_timeout(HANG).is_ok(),
        "the test hangs, busily"
    );
    if let Err(panic) = test.join().unwrap() {
        std::panic::resume_unwind(panic);
    }
}

fn run_clockless(body: Body) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let logs = Logs::default();
    run_on(
        runtime.unwrap(),
        Kind::Memory,
        Rt::Current,
        PAUSED_HANG,
        &logs,
        body,
    );
}

/// How far a paused clock goes before a test counts as hanging.
const PAUSED_HANG: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
