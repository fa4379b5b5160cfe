//! How it is told.

use std::fs;
use std::path::Path;

use postbox_protocol::BoxError;
use tabled::builder::Builder;

use super::Row;
use super::cases::Case;
use super::trial::Outcome;
use super::waiting::Waiting;
use crate::report::{self, short};

/// One case, as soon as it is known.
pub(super) fn line(case: &Case, outcome: &Outcome, broken: &[String]) -> String {
    let mut line = format!(
        "{} {}: {}/s, finished {}",
        case.letter,
        case.name,
        short(outcome.attack_rate),
        share(outcome.finished()),
    );
    for what in broken {
        line += &format!("\n  not met: {what}");
    }
    line
}

/// All attacks.
pub(super) fn table(rows: &[Row]) -> String {
    let mut table = Builder::default();
    table.push_record([
        "attack",
        "sent/s",
        "received/s",
        "kernel dropped",
        "conversations",
        "finished",
        "of the bare loop: finished, exchanges",
        "p99 ms",
        "MiB before, most",
        "log lines/s",
        "recovered ms",
        "bounds",
    ]);
    for row in rows {
        let Row {
            outcome, of_bare, ..
        } = row;
        let memory = outcome.memory;
        table.push_record([
            format!("{}: {}", row.letter, row.name),
            short(outcome.attack_rate.round()),
            short(outcome.received_rate.round()),
            share(outcome.dropped),
            outcome.tally.begun.to_string(),
            share(outcome.finished()),
            of_bare.map_or_else(
                || String::from("-"),
                |of| format!("{:.2}, {:.2}", of.finished, of.exchanges),
            ),
            format!("{:.1}", outcome.tally.times.quantile(0.99) / 1e6),
            format!(
                "{}, {}",
                mib(memory.before),
                mib(memory.first.max(memory.second))
            ),
            outcome.lines.to_string(),
            outcome.recovered.map_or_else(
                || String::from("never"),
                |after| after.as_millis().to_string(),
            ),
            met(row.holds),
        ]);
    }
    report::markdown(table)
}

/// The waiting conversations.
pub(super) fn waiting(waiting: &Waiting, holds: bool) -> String {
    let mut table = Builder::default();
    table.push_record([
        "h: waiting at once",
        "MiB before",
        "MiB",
        "bytes each",
        "idle limit s",
        "all gone s",
        "MiB after",
        "trimmed",
        "finished",
        "log lines/s",
        "bounds",
    ]);
    let grown = waiting.memory.saturating_sub(waiting.before) as f64;
    let tally = &waiting.tally;
    table.push_record([
        waiting.most.to_string(),
        mib(waiting.before),
        mib(waiting.memory),
        format!("{:.0}", grown / waiting.most.max(1) as f64),
        format!("{:.1}", waiting.idle.as_secs_f64()),
        waiting.gone.map_or_else(
            || String::from("never"),
            |gone| format!("{:.1}", gone.as_secs_f64()),
        ),
        mib(waiting.after),
        mib(waiting.trimmed),
        share(tally.finished as f64 / tally.begun.max(1) as f64),
        waiting.lines.to_string(),
        met(holds),
    ]);
    report::markdown(table)
}

/// Where the tables stand in the page.
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

/// Puts the text in its place.
pub(super) fn write(page: &Path, text: &str) -> Result<(), BoxError> {
    let written = fs::read_to_string(page)?;
    let replaced = replaced(&written, text).ok_or("the page has no place for it")?;
    Ok(fs::write(page, replaced)?)
}

fn replaced(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
}

fn share(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn mib(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / f64::from(1 << 20))
}

fn met(holds: bool) -> String {
    String::from(if holds { "met" } else { "not met" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_before_is_replaced() {
        let page = format!("title\n{BEGIN}old\n{END}rest\n");
        let new = replaced(&page, "new").unwrap();
        assert_eq!(new, format!("title\n{BEGIN}\nnew\n{END}rest\n"));
        assert_eq!(replaced(&new, "new"), Some(new.clone()));
        assert_eq!(replaced("no place", "new"), None);
    }
}
