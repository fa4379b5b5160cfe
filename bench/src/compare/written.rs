//! How a comparison is told.

use procfs::ProcResult;
use tabled::builder::Builder;

use super::{Args, Row};
use crate::machine;
use crate::measure::{Sample, median, range, user_and_system};
use crate::peers::Peer;
use crate::report::{self, Bar, bars, short};

/// What one has to know to judge the tables.
pub(super) fn preface(args: &Args, load_average: f32) -> ProcResult<String> {
    Ok(format!(
        "On {}; load average at the start {load_average:.2}.\n\
         Command: `{}`\n\n\
         Over loopback, the server on one processor and the generator on another, which never\n\
         sleeps. Each server in turn, {} rounds of {} s after {} s of warming up; medians.\n\
         *Ratio*: to the bare batched loop in the same round, as the machine drifts; the median of\n\
         all rounds. *User* and *system*: nanoseconds of the server per answer, divided by the\n\
         kernel's clock ticks in all rounds. *Generator*: the share of its time in which it had\n\
         something to do; near 100 % it is what limits. *Lost*: not answered within a second, or\n\
         with something else, in all rounds.\n",
        machine::describe()?,
        machine::command(None),
        args.rounds,
        args.seconds,
        args.warm_up,
    ))
}

pub(super) fn table(title: &str, rows: &[Row]) -> String {
    let bare = rows
        .iter()
        .find(|row| row.contender.order.peer == Peer::Mmsg);
    let rate = |row: &Row| median(&row.samples, |sample| sample.answers_per_second);
    let mut table = Builder::default();
    table.push_record([
        "server",
        "answers/s",
        "min..max",
        "ratio",
        "min..max",
        "p50 µs",
        "p99 µs",
        "user ns",
        "system ns",
        "server",
        "generator",
        "lost",
        "B/waiting client",
    ]);
    for row in rows {
        let of = |take: fn(&Sample) -> f64| median(&row.samples, take);
        let (user, system) = user_and_system(&row.samples);
        let (least, most) = range(&row.samples, |sample| sample.answers_per_second);
        let lost: u64 = row
            .samples
            .iter()
            .map(|sample| sample.lost + sample.wrong)
            .sum();
        let ratios = bare.map_or_else(Vec::new, |bare| ratios(row, bare));
        table.push_record([
            row.contender.name.clone(),
            short(rate(row)),
            format!("{}..{}", short(least), short(most)),
            ratio(&ratios),
            spread(&ratios),
            short(of(|sample| sample.p50)),
            short(of(|sample| sample.p99)),
            format!("{user:.0}"),
            format!("{system:.0}"),
            format!("{:.0} %", of(|sample| 100.0 * sample.server_share)),
            format!("{:.0} %", of(|sample| 100.0 * sample.generator_share)),
            lost.to_string(),
            row.memory
                .map_or_else(|| String::from("-"), |bytes| format!("{bytes:.0}")),
        ]);
    }
    format!("\n### {title}\n\n{}", report::markdown(table))
}

/// To another server, round by round.
fn ratios(row: &Row, to: &Row) -> Vec<f64> {
    let rounds = row.samples.iter().zip(&to.samples);
    rounds
        .map(|(one, other)| one.answers_per_second / other.answers_per_second)
        .collect()
}

fn ratio(ratios: &[f64]) -> String {
    match ratios {
        [] => String::from("-"),
        ratios => format!("{:.3}", median(ratios, |ratio| *ratio)),
    }
}

fn spread(ratios: &[f64]) -> String {
    match ratios {
        [] => String::from("-"),
        ratios => {
            let (least, most) = range(ratios, |ratio| *ratio);
            format!("{least:.2}..{most:.2}")
        }
    }
}

pub(super) fn plot(title: &str, rows: &[Row]) -> String {
    let bar = |row: &Row| Bar {
        name: row.contender.name.clone(),
        value: median(&row.samples, |sample| sample.answers_per_second),
        range: range(&row.samples, |sample| sample.answers_per_second),
        ours: row.contender.order.peer == Peer::Postbox,
    };
    let all: Vec<Bar> = rows.iter().map(bar).collect();
    bars(
        title,
        "answers per second on one core; the line is min..max",
        &all,
    )
}
