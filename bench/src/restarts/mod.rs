//! What restarts of a server lose: docs/running.md.

mod load;
mod server;
mod supervisor;

pub use server::{Target, serve};

use std::time::Duration;

use clap::ValueEnum;
use postbox_server::BoxError;
use tabled::builder::Builder;

use self::load::{Load, Pace};
use self::supervisor::Supervisor;
use crate::{machine, report};

/// How the next server follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// The supervisor owns the socket. The one hands over and ends, then the next one starts:
    /// `systemctl restart` with a socket unit.
    HandOver,
    /// The supervisor owns the socket. The next one starts, then the one before hands over.
    Overlap,
    /// Each has a socket of its own on the port (`SO_REUSEPORT`). The next one starts, then the one
    /// before drains.
    ReusePort,
    /// Each has a socket of its own. The one drains and ends, then the next one starts.
    Plain,
}

impl Way {
    /// Whether nothing may be lost.
    fn keeps_all(self) -> bool {
        matches!(self, Self::HandOver | Self::Overlap)
    }
}

/// How much to try.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How often the server is restarted.
    #[arg(long, default_value_t = 200)]
    restarts: usize,
    /// Questions a second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// The most questions that may be open at once; then none is asked.
    #[arg(long, default_value_t = 1_000_000)]
    window: u64,
    /// How long each server serves, in milliseconds.
    #[arg(long, default_value_t = 100)]
    pause: u64,
    /// How many questions each server has answered at least before the next restart.
    #[arg(long, default_value_t = 100)]
    answers: u64,
    /// How long each answer takes, in milliseconds: then handlers run when a stop begins.
    #[arg(long, default_value_t = 0)]
    look_up: u64,
    /// Only this way; can be repeated.
    #[arg(long)]
    way: Vec<Way>,
}

/// Restarts in all ways, and prints what was lost.
///
/// # Errors
///
/// If a server does not start or end, or something was lost that must not be.
pub fn run(args: &Args) -> Result<(), BoxError> {
    println!(
        "On {}; load average at the start {:.2}.\nCommand: `{}`\n",
        machine::describe()?,
        machine::load_average()?,
        machine::command(Some("restarts")),
    );
    let mut table = Builder::default();
    table.push_record([
        "way",
        "restarts",
        "asked",
        "lost",
        "answered twice",
        "longest restart, ms",
        "longest wait for an answer, ms",
    ]);
    let mut broken = Vec::new();
    for way in Way::value_variants() {
        if !args.way.is_empty() && !args.way.contains(way) {
            continue;
        }
        let outcome = restart(*way, args)?;
        let name = way.to_possible_value();
        let name = name.map_or_else(String::new, |name| name.get_name().to_owned());
        let millis = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
        if way.keeps_all() && (outcome.heard.lost > 0 || outcome.heard.twice > 0) {
            broken.push(format!("{name}: {:?}", outcome.heard));
        }
        table.push_record([
            name,
            args.restarts.to_string(),
            outcome.heard.asked.to_string(),
            outcome.heard.lost.to_string(),
            outcome.heard.twice.to_string(),
            millis(outcome.longest),
            millis(outcome.heard.longest),
        ]);
    }
    println!("{}", report::markdown(table));
    if broken.is_empty() {
        println!("ok");
        return Ok(());
    }
    Err(broken.join("\n").into())
}

#[derive(Debug)]
struct Outcome {
    heard: load::Heard,
    /// From the beginning of a restart to its end.
    longest: Duration,
}

fn restart(way: Way, args: &Args) -> Result<Outcome, BoxError> {
    let supervisor = Supervisor::new(way, args.look_up)?;
    let mut server = supervisor.start()?;
    let load = Load::start(
        supervisor.addr(),
        Pace {
            rate: args.rate,
            window: args.window,
        },
    )?;
    let mut longest = Duration::ZERO;
    for _ in 0..args.restarts {
        load.wait_for_answers(args.answers, Duration::from_millis(args.pause))?;
        let begin = std::time::Instant::now();
        let next = match way {
            Way::HandOver | Way::Plain => {
                server.stop()?;
                supervisor.start()?
            }
            Way::Overlap | Way::ReusePort => {
                let next = supervisor.start()?;
                server.stop()?;
                next
            }
        };
        server = next;
        longest = longest.max(begin.elapsed());
    }
    load.wait_for_answers(args.answers, Duration::from_millis(args.pause))?;
    let heard = load.end()?;
    server.stop()?;
    Ok(Outcome { heard, longest })
}
