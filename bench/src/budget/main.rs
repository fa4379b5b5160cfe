//! Counts the user-space instructions that a datagram takes, by callgrind, and holds them to a
//! budget.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin budget
//! cargo run --release -p postbox-bench --bin budget -- --case raw-oneshot --keep /tmp/callgrind
//! ```
//!
//! The server runs as it is, on a real socket and tokio's own runtime. What the kernel does is not
//! counted. Each case is run twice, the second time with twice the datagrams: the difference is
//! what they take, without what starting takes. Needs valgrind, and Linux.

mod callgrind;
mod cases;
mod round;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use postbox_server::BoxError;

use cases::Case;

/// Datagrams of the shorter run.
const DATAGRAMS: u64 = 24 * round::CLIENTS;

#[derive(Debug, Parser)]
struct Args {
    /// Only this case. May be given several times.
    #[arg(long, value_enum)]
    case: Vec<Case>,
    /// Keeps callgrind's output in this folder, for callgrind_annotate.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Runs the one case without valgrind: what the other process does.
    #[arg(long, hide = true)]
    rounds: Option<u64>,
}

fn main() -> Result<ExitCode, BoxError> {
    let args = Args::parse();
    let cases = if args.case.is_empty() {
        Case::value_variants()
    } else {
        &args.case
    };
    if let Some(rounds) = args.rounds {
        for &case in cases {
            round::run(case, rounds)?;
        }
        return Ok(ExitCode::SUCCESS);
    }

    println!(
        "{:<24} {:>9} {:>8}",
        "user-space instructions", "counted", "budget"
    );
    let mut passed = true;
    for &case in cases {
        let rounds = DATAGRAMS / case.in_a_round();
        let short = callgrind::count(case, rounds, args.keep.as_deref())?;
        let long = callgrind::count(case, 2 * rounds, args.keep.as_deref())?;
        let each = long.saturating_sub(short) as f64 / DATAGRAMS as f64;
        let within = each > 0.0 && each <= case.budget() as f64;
        passed &= within;
        println!(
            "{:<24} {each:>9.1} {:>8}  {}",
            callgrind::name(case),
            case.budget(),
            if within { "ok" } else { "over the budget" },
        );
    }
    if !passed {
        eprintln!("the budgets are in bench/src/budget/cases.rs");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
