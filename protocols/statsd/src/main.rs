//! A statsd server, which prints what it has summed up.
//!
//! ```text
//! statsd SECONDS ADDRESS...
//! ```

use std::convert::Infallible;
use std::env;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postbox::{
    BoxError, Client, DatagramProtocol, Handler, Requests, Server, ServerBuilder, ServiceScope,
    stop_signal,
};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

mod metrics;
mod wire;

#[cfg(test)]
mod tests;

use metrics::Metrics;
use wire::Datagram;

struct Statsd {
    state: Arc<State>,
    every: Duration,
}

struct State {
    metrics: Mutex<Metrics>,
    output: Mutex<Box<dyn Write + Send>>,
}

impl Handler for Statsd {
    type Request = Datagram;
    type Response = Infallible;

    async fn service_init(&self, service: &mut ServiceScope) -> Result<(), BoxError> {
        // It runs when the last handler has ended, and the task below.
        let state = Arc::clone(&self.state);
        service.on_exit_async(|| flush(state));
        let (state, every) = (Arc::clone(&self.state), self.every);
        service.spawn(flush_each(every, state)); // if it fails, serving ends with its error
        Ok(())
    }

    async fn handle(
        &self,
        _: Client<Infallible>,
        mut datagrams: Requests<Datagram>,
    ) -> Result<(), BoxError> {
        let datagram = datagrams.recv().await?;
        lock(&self.state.metrics).add(datagram);
        Ok(())
    }
}

async fn flush_each(every: Duration, state: Arc<State>) -> Result<(), BoxError> {
    loop {
        sleep(every).await;
        flush(Arc::clone(&state)).await?;
    }
}

/// Writes what is known. A thread does, so that no handler waits for whoever reads it; and once it
/// has begun it ends, also where the task that waits for it is stopped.
async fn flush(state: Arc<State>) -> Result<(), BoxError> {
    let write = move || {
        let mut output = lock(&state.output);
        let metrics = lock(&state.metrics).take();
        output.write_all(metrics.to_string().as_bytes())?;
        output.flush()
    };
    Ok(spawn_blocking(write).await??)
}

/// Nobody panics with it.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn statsd(every: Duration, output: impl Write + Send + 'static) -> ServerBuilder {
    let state = Arc::new(State {
        metrics: Mutex::default(),
        output: Mutex::new(Box::new(output)),
    });
    Server::builder(DatagramProtocol::new(wire::Statsd), Statsd { state, every })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let seconds = arguments.next().ok_or("usage: statsd SECONDS ADDRESS...")?;
    let every = Duration::try_from_secs_f64(seconds.parse()?)?;
    let server = statsd(every, io::stdout())
        .bind(arguments.collect::<Vec<_>>())
        .await?;
    let handle = server.handle();

    let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
    println!("serving on {}", addresses.join(" "));
    server
        .serve_until_drained(stop_signal(), Duration::from_secs(5))
        .await?;

    let stats = handle.stats();
    println!(
        "received {}, malformed {}, dropped {}, kernel_drops {}",
        stats.received,
        stats.malformed,
        stats.dropped(),
        stats.kernel_drops.unwrap_or(0),
    );
    Ok(())
}
