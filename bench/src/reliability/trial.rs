//! One server under one attack, beside good clients.

use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postbox_protocol::BoxError;

use super::attack::{Attack, Flood, Rate};
use super::client::Manner;
use super::clients::{CLIENTS, GoodClients, Tally};
use super::server::{Target, Told};
use crate::process::Process;

/// What is tried.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) attack: Attack,
    pub(super) rate: Rate,
    pub(super) target: Target,
    pub(super) manner: Manner,
    /// How many are sent before, at 40,000 a second.
    pub(super) before: u64,
    /// For how long.
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// What the attacker has sent each second.
    pub(super) attack_rate: f64,
    /// What the server has received each second.
    pub(super) received_rate: f64,
    /// What the kernel has dropped of all that was sent, as a share.
    pub(super) dropped: f64,
    /// What the good clients have seen during the attack.
    pub(super) tally: Tally,
    /// Their exchanges each second, while they began conversations.
    pub(super) exchange_rate: f64,
    pub(super) memory: Memory,
    /// Most lines of the log in a second.
    pub(super) lines: u64,
    /// When every good client had finished a conversation after the attack's end.
    pub(super) recovered: Option<Duration>,
    /// All datagrams that were sent to the server.
    pub(super) sent: u64,
    /// What the server said in the end.
    pub(super) told: Told,
}

/// The server's resident memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) before: u64,
    /// The most in the first half of the attack, and in the second.
    pub(super) first: u64,
    pub(super) second: u64,
}

/// Before anything is attacked.
const WARM_UP: Duration = Duration::from_millis(500);

/// Until when good clients must have recovered, to be told of it at all.
const RECOVERY: Duration = Duration::from_secs(10);

impl Trial {
    pub(super) fn run(&self) -> Result<Outcome, BoxError> {
        let mut server = start(&self.target)?;
        let mut good = GoodClients::new(server.addr, Manner::QUICK)?;
        let mut flood = Flood::new(self.attack, server.addr, good.port()?)?;
        run_for(&mut good, None, WARM_UP)?;
        drain(&mut good, None)?;
        let before = server.memory()?;
        if self.before > 0 {
            flood.set_rate(Rate::PerSecond(40_000.0));
            while flood.sent < self.before {
                flood.turn()?;
            }
        }

        // The attack, which goes on until every conversation that has begun in its time has ended.
        good.tally = Tally::default();
        good.set_manner(self.manner.clone());
        flood.set_rate(self.rate);
        let sent_before = flood.sent;
        let told_before = told(&mut server)?;
        let begin = Instant::now();
        let is_over = AtomicBool::new(false);
        let (exchanges, elapsed, samples) = thread::scope(|scope| -> Result<_, BoxError> {
            let sampler = scope.spawn(|| sample(&mut server, begin, &is_over));
            let mut attack = || -> io::Result<_> {
                run_for(&mut good, Some(&mut flood), self.time)?;
                let exchanges = good.tally.exchanges;
                let elapsed = begin.elapsed();
                drain(&mut good, Some(&mut flood))?;
                Ok((exchanges, elapsed))
            };
            let attacked = attack();
            is_over.store(true, Ordering::Relaxed);
            let samples = sampler.join().map_err(|_| "the sampler panicked")?;
            let (exchanges, elapsed) = attacked?;
            Ok((
                exchanges,
                elapsed,
                samples.map_err(|error| error.to_string())?,
            ))
        })?;
        let in_all = begin.elapsed().as_secs_f64();
        let attack_rate = (flood.sent - sent_before) as f64 / in_all;
        let tally = std::mem::take(&mut good.tally);

        let recovered = recover(&mut good)?;
        drain(&mut good, None)?;
        let sent = good.sent + datagrams(self.attack, flood.sent);
        // The bare loop counts nothing.
        let told = if self.target.bare {
            Told::default()
        } else {
            settle(&mut server, sent)?
        };
        let received = told.received - told_before.received;
        Ok(Outcome {
            attack_rate,
            received_rate: received as f64 / in_all,
            dropped: told.kernel_drops as f64 / sent.max(1) as f64,
            tally,
            exchange_rate: exchanges as f64 / elapsed.as_secs_f64(),
            memory: memory(before, &samples),
            lines: most_lines(&samples),
            recovered,
            sent,
            told,
        })
    }
}

/// What a worker can receive of an attack, in datagrams a second, and what the kernel drops of them
/// as a share.
pub(super) fn capacity(
    attack: Attack,
    target: &Target,
    time: Duration,
) -> Result<(f64, f64), BoxError> {
    let mut server = start(target)?;
    let mut flood = Flood::new(attack, server.addr, 9)?;
    let mut attack_for = |time| -> io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            flood.turn()?;
        }
        Ok(())
    };
    // Until as many conversations wait as may.
    attack_for(time)?;
    let (before, begin) = (told(&mut server)?, Instant::now());
    attack_for(time)?;
    let (after, elapsed) = (told(&mut server)?, begin.elapsed());
    let received = (after.received - before.received) as f64;
    let dropped = (after.kernel_drops - before.kernel_drops) as f64;
    Ok((
        received / elapsed.as_secs_f64(),
        dropped / (received + dropped).max(1.0),
    ))
}

pub(super) fn start(target: &Target) -> Result<Process, BoxError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").args(target.arguments());
    Process::spawn(command)
}

pub(super) fn told(server: &mut Process) -> Result<Told, BoxError> {
    Ok(serde_json::from_str(&server.ask("")?)?)
}

/// What reaches the server's socket as a datagram.
fn datagrams(attack: Attack, sent: u64) -> u64 {
    if attack == Attack::ForgedErrors {
        0
    } else {
        sent
    }
}

/// Good clients, and an attack perhaps, for a while.
pub(super) fn run_for(
    good: &mut GoodClients,
    mut flood: Option<&mut Flood>,
    time: Duration,
) -> io::Result<()> {
    good.may_begin = true;
    let begin = Instant::now();
    while begin.elapsed() < time {
        good.turn()?;
        if let Some(flood) = &mut flood {
            flood.turn()?;
        }
    }
    Ok(())
}

/// The same until all conversations have ended, and none begins.
pub(super) fn drain(good: &mut GoodClients, mut flood: Option<&mut Flood>) -> io::Result<()> {
    good.may_begin = false;
    while !good.are_resting() {
        good.turn()?;
        if let Some(flood) = &mut flood {
            flood.turn()?;
        }
    }
    Ok(())
}

/// When every client has begun and finished a conversation, from now on.
fn recover(good: &mut GoodClients) -> io::Result<Option<Duration>> {
    good.set_manner(Manner::QUICK);
    good.may_begin = true;
    let begin = Instant::now();
    let mut finished = 0;
    while begin.elapsed() < RECOVERY {
        finished |= good.turn()?;
        if finished == u64::MAX >> (64 - CLIENTS) {
            return Ok(Some(begin.elapsed()));
        }
    }
    Ok(None)
}

/// What the server says once it has handled all that was sent.
pub(super) fn settle(server: &mut Process, sent: u64) -> Result<Told, BoxError> {
    let begin = Instant::now();
    loop {
        let last = told(server)?;
        let is_all = last.received + last.kernel_drops == sent;
        if is_all || begin.elapsed() > Duration::from_secs(2) {
            return Ok(last);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is looked at while the attack goes on.
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) memory: u64,
    pub(super) told: Told,
}

/// Looks ten times a second.
pub(super) fn sample(
    server: &mut Process,
    begin: Instant,
    is_over: &AtomicBool,
) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut look = || -> Result<_, BoxError> {
            Ok(Sample {
                at: begin.elapsed(),
                memory: server.memory()?,
                told: told(server)?,
            })
        };
        samples.push(look().map_err(|error| io::Error::other(error.to_string()))?);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(samples)
}

fn memory(before: u64, samples: &[Sample]) -> Memory {
    let most = |samples: &[Sample]| samples.iter().map(|sample| sample.memory).max();
    let (first, second) = samples.split_at(samples.len() / 2);
    Memory {
        before,
        first: most(first).unwrap_or(before),
        second: most(second).unwrap_or(before),
    }
}

/// The most that were written within a second.
pub(super) fn most_lines(samples: &[Sample]) -> u64 {
    let second = Duration::from_secs(1);
    let within = |(place, last): (usize, &Sample)| {
        let before = samples[..=place].iter().rev();
        let first = before
            .take_while(|first| last.at - first.at <= second)
            .last();
        first.map_or(0, |first| last.told.lines - first.told.lines)
    };
    samples.iter().enumerate().map(within).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: u64, memory: u64, lines: u64) -> Sample {
        Sample {
            at: Duration::from_millis(millis),
            memory,
            told: Told {
                lines,
                ..Told::default()
            },
        }
    }

    #[test]
    fn the_busiest_second_of_the_log_is_found() {
        let all = [(0, 0), (500, 3), (1_100, 4), (1_400, 15), (2_600, 20)];
        let samples: Vec<_> = all.map(|(at, lines)| sample(at, 0, lines)).into();
        assert_eq!(most_lines(&samples), 12); // from 500 to 1,400 ms
        assert_eq!(most_lines(&[]), 0);
    }

    #[test]
    fn memory_that_grows_is_seen() {
        let samples: Vec<_> = (0..10).map(|at| sample(at, 100 + at, 0)).collect();
        let memory = memory(50, &samples);
        assert_eq!((memory.before, memory.first, memory.second), (50, 104, 109));
    }
}
