//! What is kept when a server stops, and in a burst: docs/reliability.md.

mod child;
mod clients;
mod lines;
mod one_port;
mod question;
mod server;
mod stop;

pub use server::{Target, serve};

use std::time::Duration;

use postbox_server::BoxError;
use tabled::builder::Builder;

use self::server::{Kind, Way};
use crate::{machine, report};

/// How much to try.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How often each case is tried.
    #[arg(long, default_value_t = 50)]
    times: usize,
    /// Only the cases of this name; can be repeated.
    #[arg(long)]
    case: Vec<String>,
    /// Seconds of the flood beside a modest client.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
}

/// What a case came to: figures of each trial, and what did not hold.
#[derive(Debug, Default)]
struct Outcome {
    figures: Vec<(&'static str, Vec<f64>)>,
    broken: Vec<String>,
}

impl Outcome {
    fn add(&mut self, name: &'static str, figure: f64) {
        match self.figures.iter_mut().find(|(known, _)| *known == name) {
            Some((_, figures)) => figures.push(figure),
            None => self.figures.push((name, vec![figure])),
        }
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// The median of each figure, and its most.
    fn rows(&self, case: &str, table: &mut Builder) {
        for (name, figures) in &self.figures {
            let mut sorted = figures.clone();
            sorted.sort_by(f64::total_cmp);
            let figure = |at: Option<&f64>| at.map_or_else(String::new, |one| format!("{one:.1}"));
            table.push_record([
                String::from(case),
                String::from(*name),
                figure(sorted.get(sorted.len() / 2)),
                figure(sorted.last()),
                format!("{:.0}", figures.iter().sum::<f64>()),
            ]);
        }
    }
}

type Trial = Box<dyn Fn(&mut Outcome) -> Result<(), BoxError>>;

/// The cases: their names, how often each is tried at most, and a trial.
fn cases(args: &Args) -> Vec<(&'static str, usize, Trial)> {
    let flood = Duration::from_secs_f64(args.seconds);
    let trial = |kind| -> Trial { Box::new(move |outcome| stop::stop(kind, outcome)) };
    let one_port = |way| -> Trial { Box::new(move |outcome| one_port::ask(way, outcome)) };
    vec![
        ("one-port-answer-fn", 10, one_port(Way::AnswerFn)),
        ("one-port-concurrency", 10, one_port(Way::Concurrency)),
        ("one-port-key", 10, one_port(Way::Key)),
        ("answer", usize::MAX, trial(Kind::Answer)),
        ("lookup", usize::MAX, trial(Kind::Lookup)),
        ("talk", usize::MAX, trial(Kind::Talk)),
        ("deadline", usize::MAX, Box::new(stop::deadline)),
        ("hand-over", usize::MAX, Box::new(stop::hand_over)),
        ("burst", 10, Box::new(|outcome| lines::burst(2000, outcome))),
        (
            "beside-greedy",
            1,
            Box::new(move |outcome| lines::beside_greedy(flood, outcome)),
        ),
        (
            "behind-greedy",
            1,
            Box::new(|outcome| lines::behind_greedy(100, outcome)),
        ),
    ]
}

/// Tries all cases, and prints what they came to.
///
/// # Errors
///
/// If a server does not start, or something does not hold.
pub fn run(args: &Args) -> Result<(), BoxError> {
    println!(
        "On {}; load average at the start {:.2}.\nCommand: `{}`\n",
        machine::describe()?,
        machine::load_average()?,
        machine::command(Some("kept")),
    );
    let mut table = Builder::default();
    table.push_record(["case", "figure", "median", "most", "sum"]);
    let mut broken = Vec::new();
    for (name, most, trial) in cases(args) {
        if !args.case.is_empty() && !args.case.iter().any(|case| case == name) {
            continue;
        }
        let mut outcome = Outcome::default();
        let times = args.times.min(most);
        for _ in 0..times {
            trial(&mut outcome)?;
        }
        println!("{name}: {times} times, {} broken", outcome.broken.len());
        for what in &outcome.broken {
            println!("  {what}");
        }
        outcome.rows(name, &mut table);
        broken.extend(outcome.broken.iter().map(|what| format!("{name}: {what}")));
    }
    println!("\n{}", report::markdown(table));
    if broken.is_empty() {
        println!("ok");
        return Ok(());
    }
    Err(broken.join("\n").into())
}
