//! How growth is told.

use tabled::builder::Builder;

use super::series::{Growth, Point};
use crate::measure::{Sample, median, user_and_system};
use crate::report::{self, Line, Lines, short};

pub(super) fn table(growth: &Growth) -> String {
    let mut table = Builder::default();
    table.push_record([
        growth.across,
        "server",
        "answers/s",
        "CPU ns",
        "user ns",
        "p50 µs",
        "p99 µs",
        "lost",
        "B/waiting client",
    ]);
    for series in &growth.series {
        for point in &series.points {
            let of = |take: fn(&Sample) -> f64| median(&point.samples, take);
            let lost: u64 = point
                .samples
                .iter()
                .map(|sample| sample.lost + sample.wrong)
                .sum();
            table.push_record([
                point.at.to_string(),
                series.name.into(),
                short(of(|sample| sample.answers_per_second)),
                format!("{:.0}", of(|sample| sample.cpu)),
                format!("{:.0}", user_and_system(&point.samples).0),
                short(of(|sample| sample.p50)),
                short(of(|sample| sample.p99)),
                lost.to_string(),
                memory(point).map_or_else(|| String::from("-"), |bytes| format!("{bytes:.0}")),
            ]);
        }
    }
    format!("\n### {}\n\n{}", growth.title, report::markdown(table))
}

/// Plots with the names of their files.
pub(super) fn plots(growth: &Growth) -> Vec<(String, String)> {
    let lines = |of: &dyn Fn(&Point) -> Option<f64>| -> Vec<Line> {
        let line = |series: &super::series::Series| Line {
            name: series.name.into(),
            points: series
                .points
                .iter()
                .filter_map(|point| Some((point.at as f64, of(point)?)))
                .collect(),
        };
        growth.series.iter().map(line).collect()
    };
    let plot = |up: &str, lines: &[Line], powers_up| {
        Lines {
            title: &format!("{}: {up}", growth.title),
            across: growth.across,
            up,
            lines,
            powers_up,
        }
        .svg()
    };
    let costs = lines(&|point| Some(median(&point.samples, |sample| sample.cpu)));
    let times = lines(&|point| Some(median(&point.samples, |sample| sample.p99)));
    let mut plots = vec![
        (
            format!("{}-cpu.svg", growth.file),
            plot("CPU ns per datagram", &costs, false),
        ),
        (
            format!("{}-p99.svg", growth.file),
            plot("p99 in µs", &times, true),
        ),
    ];
    let memories = lines(&memory);
    if memories.iter().any(|line| !line.points.is_empty()) {
        plots.push((
            format!("{}-memory.svg", growth.file),
            plot("bytes per waiting client", &memories, false),
        ));
    }
    plots
}

/// The median over the rounds.
fn memory(point: &Point) -> Option<f64> {
    (!point.memory.is_empty()).then(|| median(&point.memory, |bytes| *bytes))
}
