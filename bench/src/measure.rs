//! One server under one load.

use std::io;
use std::path::Path;
use std::time::Duration;

use postbox_protocol::BoxError;

use crate::load::{Bursts, Figures, Generator, Load};
use crate::peers::Order;
use crate::process::Process;

/// What one run has shown of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) answers_per_second: f64,
    /// Microseconds from request to answer.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The server's nanoseconds per answer.
    pub(crate) cpu: f64,
    /// Ticks of the kernel's clock that found it running, and how many of them in user space.
    pub(crate) ticks: u64,
    pub(crate) user_ticks: u64,
    /// How much of its processor the server used.
    pub(crate) server_share: f64,
    /// How much of its time the generator had something to do.
    pub(crate) generator_share: f64,
    pub(crate) lost: u64,
    pub(crate) wrong: u64,
}

/// How long to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// A load for a server that is not there yet.
pub(crate) fn load(clients: usize, window: usize, in_flight: usize, payload: Vec<u8>) -> Load {
    Load {
        server: std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0),
        clients,
        window,
        in_flight,
        payload,
        timeout: Duration::from_secs(1),
    }
}

/// Starts a server, warms it up, and measures.
pub(crate) fn under_load(
    order: &Order,
    python: Option<&Path>,
    load: &Load,
    times: Times,
) -> Result<Sample, BoxError> {
    let server = Process::start(order, python)?;
    let mut generator = generator(&server, load)?;
    generator.start();
    generator.run(times.warm_up)?;
    sample(&server, times.measured, |time| generator.run(time))
}

/// The same with one client, whose requests come in bursts.
pub(crate) fn under_bursts(order: &Order, load: &Load, times: Times) -> Result<Sample, BoxError> {
    let server = Process::start(order, None)?;
    let load = Load {
        server: server.addr,
        ..load.clone()
    };
    let mut bursts = Bursts::new(&load)?;
    bursts.run(times.warm_up)?;
    sample(&server, times.measured, |time| bursts.run(time))
}

/// Makes a generator for this server.
pub(crate) fn generator(server: &Process, load: &Load) -> Result<Generator, BoxError> {
    let load = Load {
        server: server.addr,
        ..load.clone()
    };
    Ok(Generator::new(&load)?)
}

/// Measures for a while.
pub(crate) fn sample(
    server: &Process,
    time: Duration,
    generate: impl FnOnce(Duration) -> io::Result<Figures>,
) -> Result<Sample, BoxError> {
    let before = server.cpu()?;
    let figures = generate(time)?;
    let after = server.cpu()?;
    let Figures {
        elapsed,
        busy,
        answers,
        lost,
        wrong,
        times,
    } = figures;
    if answers == 0 {
        return Err("not one answer".into());
    }
    let ran = after.ran.saturating_sub(before.ran).as_nanos() as f64;
    Ok(Sample {
        answers_per_second: answers as f64 / elapsed.as_secs_f64(),
        p50: times.quantile(0.5) / 1e3,
        p99: times.quantile(0.99) / 1e3,
        cpu: ran / answers as f64,
        ticks: after.ticks - before.ticks,
        user_ticks: after.user_ticks - before.user_ticks,
        server_share: ran / elapsed.as_nanos() as f64,
        generator_share: busy.as_secs_f64() / elapsed.as_secs_f64(),
        lost,
        wrong,
    })
}

/// The resident memory that each of so many clients takes whose handler waits for more.
pub(crate) fn memory_per_waiting_client(
    order: &Order,
    python: Option<&Path>,
    load: &Load,
) -> Result<f64, BoxError> {
    let server = Process::start(order, python)?;
    // What all of them share is there before: buffers, and what a first client needs.
    let few = Load {
        clients: 256,
        ..load.clone()
    };
    let mut first = generator(&server, &few)?;
    first.start();
    first.run(Duration::from_millis(200))?;
    let before = server.memory()?;
    let asked = generator(&server, load)?.ask_all_once(Duration::from_secs(120))?;
    if (asked.answers as usize) < load.clients {
        return Err(format!("only {} of {} were answered", asked.answers, load.clients).into());
    }
    let after = server.memory()?;
    Ok(after.saturating_sub(before) as f64 / load.clients.max(1) as f64)
}

/// The median of the server's nanoseconds per answer, divided into user space and kernel by the
/// ticks of all samples: in a single one they are too few.
pub(crate) fn user_and_system(samples: &[Sample]) -> (f64, f64) {
    let cpu = median(samples, |sample| sample.cpu);
    let ticks: u64 = samples.iter().map(|sample| sample.ticks).sum();
    let user: u64 = samples.iter().map(|sample| sample.user_ticks).sum();
    let user = cpu * user as f64 / ticks.max(1) as f64;
    (user, cpu - user)
}

/// The median of what `of` takes from each sample.
pub(crate) fn median<T>(samples: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

/// The least and the most of what `of` takes from each sample.
pub(crate) fn range<T>(samples: &[T], of: impl Fn(&T) -> f64) -> (f64, f64) {
    let values = samples.iter().map(of);
    values.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    )
}
