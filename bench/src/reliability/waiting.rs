//! A million conversations that wait for what never comes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postbox_protocol::BoxError;

use super::attack::{Attack, Flood, Rate};
use super::client::Manner;
use super::clients::{GoodClients, Tally};
use super::server::{TRIM, Target, Told};
use super::trial::{self, Sample};

/// What came of them.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How many waited at once.
    pub(super) most: u64,
    /// Resident memory before, at most, after they had all timed out, and when the allocator had
    /// given back what is free.
    pub(super) before: u64,
    pub(super) memory: u64,
    pub(super) after: u64,
    pub(super) trimmed: u64,
    /// How long after the last of them had begun none waited any more.
    pub(super) gone: Option<Duration>,
    /// How long they were to wait.
    pub(super) idle: Duration,
    pub(super) tally: Tally,
    pub(super) lines: u64,
    pub(super) sent: u64,
    pub(super) told: Told,
}

/// What a million of them may take.
pub(super) const MEMORY: u64 = 400 << 20;

/// How much of it may be left when they are gone: the table of clients keeps its size.
const LEFT: u64 = 100 << 20;

/// How many begin in a second.
const RATE: f64 = 50_000.0;

/// As many handlers of good clients may wait at the same time, most of them for a repeated question.
const GOOD: u64 = 4_000;

/// How much later than the idle limit the last may be gone.
const LATE: Duration = Duration::from_secs(3);

impl Waiting {
    /// Begins so many conversations, and waits until they have all timed out.
    pub(super) fn run(target: &Target, conversations: u64) -> Result<Self, BoxError> {
        // The first must still wait when the last begins.
        let idle = Duration::from_secs_f64(conversations as f64 / RATE * 1.25 + 1.0);
        let target = Target {
            clients: Some(conversations as usize + (1 << 16)),
            idle: Some(idle.as_millis() as u64),
            ..target.clone()
        };
        let mut server = trial::start(&target)?;
        let mut good = GoodClients::new(server.addr, Manner::QUICK)?;
        let mut flood = Flood::new(Attack::FirstPackets, server.addr, good.port()?)?;
        trial::run_for(&mut good, None, Duration::from_millis(500))?;
        trial::drain(&mut good, None)?;
        good.tally = Tally::default();
        let before = server.memory()?;

        let begin = Instant::now();
        let is_over = AtomicBool::new(false);
        let (begun, samples) = thread::scope(|scope| -> Result<_, BoxError> {
            let sampler = scope.spawn(|| trial::sample(&mut server, begin, &is_over));
            let mut attack = || -> io::Result<_> {
                flood.set_rate(Rate::PerSecond(RATE));
                good.may_begin = true;
                // Some more, in case that some are lost.
                while flood.sent < conversations * 104 / 100 {
                    good.turn()?;
                    flood.turn()?;
                }
                let begun = begin.elapsed();
                trial::run_for(&mut good, None, idle + LATE)?;
                trial::drain(&mut good, None)?;
                // The good clients' last handlers wait for a repeated question.
                thread::sleep(LATE);
                Ok(begun)
            };
            let attacked = attack();
            is_over.store(true, Ordering::Relaxed);
            let samples = sampler.join().map_err(|_| "the sampler panicked")?;
            Ok((attacked?, samples.map_err(|error| error.to_string())?))
        })?;
        let sent = good.sent + flood.sent;
        let told = trial::settle(&mut server, sent)?;
        let after = server.memory()?;
        server.ask(TRIM)?;
        let most = |of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);
        let gone = samples
            .iter()
            .find(|sample| sample.at > begun && sample.told.waiting <= GOOD);
        Ok(Self {
            most: most(|sample| sample.told.waiting),
            before,
            memory: most(|sample| sample.memory),
            after,
            trimmed: server.memory()?,
            gone: gone.map(|sample| sample.at - begun),
            idle,
            lines: trial::most_lines(&samples),
            tally: good.tally,
            sent,
            told,
        })
    }

    /// What did not hold.
    pub(super) fn broken(&self, conversations: u64) -> Vec<String> {
        let checks = [
            (self.most >= conversations, "not all of them waited at once"),
            (self.memory <= MEMORY, "more memory than that"),
            (self.trimmed <= self.before + LEFT, "the memory is not back"),
            (
                self.gone.is_some_and(|gone| gone <= self.idle + LATE),
                "they did not time out in time",
            ),
            (self.told.waiting == 0, "some wait for ever"),
            (
                self.tally.finished as f64 >= 0.95 * self.tally.begun as f64,
                "good clients were not served",
            ),
            (
                self.told.received + self.told.kernel_drops == self.sent,
                "not all datagrams are counted",
            ),
            (
                self.told.received == self.told.accounted,
                "not all datagrams are accounted for",
            ),
            (self.lines < 20, "too many lines in the log"),
        ];
        let broken = checks.iter().filter(|(holds, _)| !holds);
        broken.map(|(_, what)| String::from(*what)).collect()
    }
}
