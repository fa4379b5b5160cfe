//! A bar for each server, with the least and the most that was measured.

use super::{COLOURS, escaped, head, short};

/// One bar.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) range: (f64, f64),
    /// Whether it is the one that the plot is about.
    pub(crate) ours: bool,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 210.0;
const ROW: f64 = 30.0;

/// Draws bars from the top down.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = 60.0 + ROW * bars.len() as f64;
    let most = bars
        .iter()
        .map(|bar| bar.range.1.max(bar.value))
        .fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 90.0) / most;
    let mut svg = head(WIDTH, height, title);
    for (row, bar) in bars.iter().enumerate() {
        let top = 40.0 + ROW * row as f64;
        let middle = top + ROW / 2.0 - 2.0;
        let end = LEFT + bar.value * scale;
        let colour = if bar.ours { COLOURS[0] } else { "#9aa5b1" };
        let (least, most) = (LEFT + bar.range.0 * scale, LEFT + bar.range.1 * scale);
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
             <line x1=\"{least:.1}\" x2=\"{most:.1}\" y1=\"{middle}\" y2=\"{middle}\" \
             stroke=\"#000\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{}</text>\n",
            LEFT - 8.0,
            middle + 5.0,
            escaped(&bar.name),
            end - LEFT,
            ROW - 6.0,
            end.max(most) + 8.0,
            middle + 5.0,
            short(bar.value),
        );
    }
    svg += &format!(
        "<text x=\"{LEFT}\" y=\"{}\" fill=\"#555\">{}</text>\n</svg>\n",
        height - 6.0,
        escaped(unit)
    );
    svg
}
