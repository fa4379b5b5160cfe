//! What good clients notice of attacks: docs/reliability.md.

mod allocator;
mod attack;
mod cases;
mod client;
mod clients;
mod exchange;
mod icmp;
mod server;
mod trial;
mod waiting;
mod written;

pub use server::{Target, serve};

use std::path::PathBuf;
use std::time::Duration;

use postbox_protocol::BoxError;
use rustix::process::geteuid;

use self::attack::{Attack, Rate};
use self::cases::{Case, OfBare, Promise};
use self::trial::Outcome;
use self::waiting::Waiting;
use crate::machine;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Seconds of one attack. Pauses and numbers that belong to 30 seconds become fewer with it.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Only the cases of this letter; can be repeated.
    #[arg(long)]
    case: Vec<String>,
    /// Microseconds that an answer takes to compute. Without it: as many as are needed so that one
    /// processor can send more than the worker receives.
    #[arg(long)]
    compute: Option<u64>,
    /// Shows the server's log, and its counters.
    #[arg(long)]
    log: bool,
    /// Writes the tables into this page.
    #[arg(long)]
    page: Option<PathBuf>,
}

/// The most microseconds that an answer is made to take.
const MOST_COMPUTED: u64 = 20;

/// A worker that has so many dropped by the kernel, as a share, is at its limit.
const FULL: f64 = 0.1;

/// Attacks, prints tables, and writes them.
///
/// # Errors
///
/// If a server does not start, a bound is not met, or the page cannot be written.
pub fn run(args: &Args) -> Result<(), BoxError> {
    let load = machine::load_average()?; // before it is our own
    let mut bench = Bench::new(args)?;
    let mut text = bench.head(load)?;
    println!("{text}");
    let mut rows = Vec::new();
    for case in cases::all(&bench.target, bench.time) {
        if bench.wants(case.letter) {
            rows.extend(bench.attack(&case)?);
        }
    }
    let table = written::table(&rows);
    println!("\n{table}");
    text += &format!("\n{table}");
    if bench.wants("h") {
        let table = bench.wait()?;
        println!("{table}");
        text += &format!("\n{table}");
    }
    if let Some(page) = &args.page {
        written::write(page, &text)?;
    }
    if bench.broken.is_empty() {
        println!("ok");
        return Ok(());
    }
    Err(bench.broken.join("\n").into())
}

/// What is told of a case.
struct Row {
    letter: &'static str,
    name: &'static str,
    outcome: Outcome,
    of_bare: Option<OfBare>,
    holds: bool,
}

/// The measurements so far.
struct Bench<'a> {
    args: &'a Args,
    time: Duration,
    /// What all servers are told.
    target: Target,
    /// What the worker can receive, in datagrams a second, of each attack on each target so far.
    capacities: Vec<(Attack, Target, f64)>,
    broken: Vec<String>,
}

impl<'a> Bench<'a> {
    /// Finds out how long the handler has to compute.
    fn new(args: &'a Args) -> Result<Self, BoxError> {
        let mut bench = Self {
            args,
            time: Duration::from_secs_f64(args.seconds),
            target: Target {
                compute: args.compute.unwrap_or(0),
                log: args.log,
                ..Target::default()
            },
            capacities: Vec::new(),
            broken: Vec::new(),
        };
        for attack in [Attack::FirstPackets, Attack::OneClient] {
            while args.compute.is_none() && bench.target.compute < MOST_COMPUTED {
                let (_, dropped) = bench.flood(attack, &bench.target)?;
                if dropped >= FULL {
                    break;
                }
                bench.target.compute += 1;
            }
        }
        Ok(bench)
    }

    fn wants(&self, letter: &str) -> bool {
        self.args.case.is_empty() || self.args.case.iter().any(|case| case == letter)
    }

    fn head(&mut self, load: f32) -> Result<String, BoxError> {
        let capacity = self.capacity(Attack::FirstPackets, &self.target.clone())?;
        let mut text = format!(
            "On {}; load average at the start {:.2}.\nCommand: `{}`\n\n\
             {} s of attack each. The worker can receive {:.0} first packets a second.",
            machine::describe()?,
            load,
            machine::command(Some("reliability")),
            self.args.seconds,
            capacity,
        );
        if self.target.compute > 0 {
            text += &format!(
                " An answer takes {} µs to\ncompute, so that one processor can send more than that.",
                self.target.compute
            );
        }
        Ok(text + "\n")
    }

    /// What the worker can receive of an attack, in datagrams a second.
    fn capacity(&mut self, attack: Attack, target: &Target) -> Result<f64, BoxError> {
        let is_it = |one: &&(Attack, Target, f64)| one.0 == attack && one.1 == *target;
        if let Some((.., capacity)) = self.capacities.iter().find(is_it) {
            return Ok(*capacity);
        }
        let (capacity, _) = self.flood(attack, target)?;
        self.capacities.push((attack, target.clone(), capacity));
        Ok(capacity)
    }

    /// The same, always anew, and which share the kernel drops then.
    fn flood(&self, attack: Attack, target: &Target) -> Result<(f64, f64), BoxError> {
        let time = Duration::from_secs(2).min(self.time / 2);
        trial::capacity(attack, target, time)
    }

    /// Runs a case.
    fn attack(&mut self, case: &Case) -> Result<Option<Row>, BoxError> {
        if case.trial.attack == Attack::ForgedErrors && !geteuid().is_root() {
            println!("{} {}: not root, left out", case.letter, case.name);
            return Ok(None);
        }
        let mut trial = case.trial.clone();
        if let Rate::OfCapacity(share) = trial.rate {
            let capacity = self.capacity(trial.attack, &trial.target)?;
            trial.rate = Rate::PerSecond(share * capacity);
        }
        // The bare loop before and after, as machines drift.
        let mut bare = trial.clone();
        bare.target.bare = true;
        bare.time /= 2;
        let compares = case.promise == Promise::AsTheBareLoop;
        let before = if compares { Some(bare.run()?) } else { None };
        let outcome = trial.run()?;
        let of_bare = match before {
            Some(before) => Some(OfBare::new(&outcome, &[before, bare.run()?])),
            None => None,
        };
        let broken = cases::broken(case.promise, &outcome, of_bare);
        println!("{}", written::line(case, &outcome, &broken));
        if self.args.log {
            println!("  {}", outcome.told.all);
        }
        let holds = broken.is_empty();
        let told = broken
            .iter()
            .map(|what| format!("{} {}: {what}", case.letter, case.name));
        self.broken.extend(told);
        Ok(Some(Row {
            letter: case.letter,
            name: case.name,
            outcome,
            of_bare,
            holds,
        }))
    }

    /// Runs the million waiting conversations: fewer in less time.
    fn wait(&mut self) -> Result<String, BoxError> {
        let share = (self.args.seconds / 30.0).min(1.0);
        let conversations = (1_000_000.0 * share) as u64;
        let waiting = Waiting::run(&self.target, conversations)?;
        let broken = waiting.broken(conversations);
        let holds = broken.is_empty();
        for what in &broken {
            println!("h: {what}");
        }
        if self.args.log {
            println!("  {}", waiting.told.all);
        }
        self.broken
            .extend(broken.iter().map(|what| format!("h: {what}")));
        Ok(written::waiting(&waiting, holds))
    }
}
