//! The three ways in which a server's task can grow.

use std::time::Duration;

use postbox_protocol::BoxError;

use super::Args;
use crate::echo::{Codec, Style};
use crate::load::Load;
use crate::measure::{self, Sample, Times};
use crate::peers::{Order, Peer};
use crate::process::Process;
use crate::report;

/// One of them, measured.
pub(super) struct Growth {
    pub(super) title: &'static str,
    pub(super) file: &'static str,
    /// What grows.
    pub(super) across: &'static str,
    pub(super) series: Vec<Series>,
}

/// One server along the way.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) points: Vec<Point>,
}

/// So much of what grows, and what was found there.
pub(super) struct Point {
    pub(super) at: usize,
    pub(super) samples: Vec<Sample>,
    /// The server's memory for each waiting client, in each round.
    pub(super) memory: Vec<f64>,
}

const SERVERS: [(&str, Peer, Style); 3] = [
    ("one answer each", Peer::Postbox, Style::Oneshot),
    ("conversations", Peer::Postbox, Style::Session),
    ("recvmmsg/sendmmsg", Peer::Mmsg, Style::Oneshot),
];

/// More and more clients, each with a datagram of 64 bytes.
pub(super) fn clients(args: &Args, times: Times) -> Result<Growth, BoxError> {
    let one = |order: &Order, clients: usize| {
        let load = measure::load(clients, 1, args.in_flight, vec![b'x'; 64]);
        one_sample(order, &load, times)
    };
    Ok(Growth {
        title: "Clients",
        file: "growth-clients",
        across: "clients",
        series: all(args, &SERVERS, &args.clients, one)?,
    })
}

/// 64 clients with larger and larger datagrams.
pub(super) fn payload(args: &Args, times: Times) -> Result<Growth, BoxError> {
    let one = |order: &Order, bytes: usize| {
        let order = &Order {
            largest: bytes.max(order.largest),
            ..order.clone()
        };
        let load = measure::load(64, 1, args.in_flight, vec![b'x'; bytes]);
        one_sample(order, &load, times)
    };
    Ok(Growth {
        title: "Payload",
        file: "growth-payload",
        across: "bytes of a datagram",
        series: all(args, &SERVERS, &args.payload, one)?,
    })
}

/// 1,000 clients who go on asking, beside more and more whose handlers wait.
pub(super) fn waiting(args: &Args, times: Times) -> Result<Growth, BoxError> {
    let one = |order: &Order, waiting: usize| {
        let server = Process::start(order, None)?;
        let active = measure::load(1_000, 1, args.in_flight, vec![b'x'; 64]);
        let mut active = measure::generator(&server, &active)?;
        active.start();
        active.run(times.warm_up)?;
        let before = server.memory()?;
        // Few at a time: what a burst of them takes is not what each of them takes.
        let others = measure::load(waiting, 1, 256, vec![b'x'; 64]);
        let mut others = measure::generator(&server, &others)?;
        // The handlers wait for 30 seconds: all must still wait at the end.
        let asked = others.ask_all_once(Duration::from_secs(25))?;
        if (asked.answers as usize) < waiting {
            return Err(format!("only {} of {waiting} began in time", asked.answers).into());
        }
        let grown = server.memory()?.saturating_sub(before) as f64;
        active.run(times.warm_up)?; // what it missed meanwhile is not counted
        let sample = measure::sample(&server, times.measured, |time| active.run(time))?;
        Ok((sample, (waiting > 0).then(|| grown / waiting as f64)))
    };
    Ok(Growth {
        title: "Waiting conversations",
        file: "growth-waiting",
        across: "waiting conversations",
        series: all(args, &SERVERS[1..2], &args.waiting, one)?,
    })
}

fn all(
    args: &Args,
    servers: &[(&'static str, Peer, Style)],
    places: &[usize],
    one: impl Fn(&Order, usize) -> Result<(Sample, Option<f64>), BoxError>,
) -> Result<Vec<Series>, BoxError> {
    let empty = |at: &usize| Point {
        at: *at,
        samples: Vec::new(),
        memory: Vec::new(),
    };
    let mut series: Vec<Series> = servers
        .iter()
        .map(|(name, ..)| Series {
            name,
            points: places.iter().map(empty).collect(),
        })
        .collect();
    let most = places.iter().max().copied().unwrap_or(0);
    for round in 1..=args.rounds {
        for (number, &at) in places.iter().enumerate() {
            for (series, &(name, peer, style)) in series.iter_mut().zip(servers) {
                let order = Order {
                    peer,
                    codec: Codec::Raw,
                    style,
                    multi: false,
                    clients: most + 65_536,
                    largest: 2_048,
                    offloads: false,
                    no_offloads: false,
                };
                let (sample, memory) = match one(&order, at) {
                    Ok(found) => found,
                    Err(error) => {
                        eprintln!(
                            "round {round}/{}, {at}: {name} is left out: {error}",
                            args.rounds
                        );
                        continue;
                    }
                };
                eprintln!(
                    "round {round}/{}, {at}: {name:<20} {:>8}/s",
                    args.rounds,
                    report::short(sample.answers_per_second)
                );
                series.points[number].samples.push(sample);
                series.points[number].memory.extend(memory);
            }
        }
    }
    for series in &mut series {
        series.points.retain(|point| !point.samples.is_empty());
    }
    Ok(series)
}

/// Every client is known to the server before it is measured.
fn one_sample(order: &Order, load: &Load, times: Times) -> Result<(Sample, Option<f64>), BoxError> {
    let server = Process::start(order, None)?;
    let mut generator = measure::generator(&server, load)?;
    generator.ask_all_once(Duration::from_secs(20))?;
    generator.start();
    generator.run(times.warm_up)?;
    let sample = measure::sample(&server, times.measured, |time| generator.run(time))?;
    Ok((sample, None))
}
