//! Lines over an axis of powers.

use super::{COLOURS, escaped, head, short};

/// One line: a name, and its points from left to right.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot of lines. The horizontal axis is logarithmic, but begins at 0 where a point does.
pub(crate) struct Lines<'a> {
    pub(crate) title: &'a str,
    pub(crate) across: &'a str,
    pub(crate) up: &'a str,
    pub(crate) lines: &'a [Line],
    /// Whether the vertical axis is logarithmic too.
    pub(crate) powers_up: bool,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 50.0;

impl Lines<'_> {
    /// Draws them.
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let place_of = |x: f64| (x + 1.0).log10();
        let level_of = |y: f64| if self.powers_up { (y + 1.0).log10() } else { y };
        let most_across = points().map(|point| place_of(point.0)).fold(1.0, f64::max);
        let most_up = points().map(|point| level_of(point.1)).fold(0.0, f64::max) * 1.05;
        let across = |x: f64| LEFT + place_of(x) / most_across * (WIDTH - LEFT - RIGHT);
        let up =
            |y: f64| HEIGHT - BOTTOM - level_of(y) / most_up.max(1e-9) * (HEIGHT - TOP - BOTTOM);

        let mut svg = head(WIDTH, HEIGHT, self.title);
        for y in self.levels(points().map(|point| point.1).fold(0.0, f64::max)) {
            svg += &format!(
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{2:.1}\" y2=\"{2:.1}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{1}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>\n",
                WIDTH - RIGHT,
                LEFT - 6.0,
                up(y),
                up(y) + 4.0,
                short(y)
            );
        }
        let mut marks: Vec<f64> = points().map(|point| point.0).collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        let mut free = 0.0;
        for x in marks.into_iter().filter(|x| {
            let apart = across(*x) >= free;
            free = if apart { across(*x) + 40.0 } else { free };
            apart
        }) {
            svg += &format!(
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                across(x),
                HEIGHT - BOTTOM + 18.0,
                short(x)
            );
        }
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let path: Vec<String> = line
                .points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y)))
                .collect();
            svg += &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                path.join(" ")
            );
            for point in &path {
                let (x, y) = point.split_once(',').unwrap_or_default();
                svg += &format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>\n");
            }
            svg += &format!(
                "<text x=\"{}\" y=\"46\" fill=\"{colour}\">{}</text>\n",
                LEFT + 220.0 * number as f64,
                escaped(&line.name)
            );
        }
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>\n\
             <text x=\"14\" y=\"{3}\" text-anchor=\"middle\" fill=\"#555\" \
             transform=\"rotate(-90 14 {3})\">{4}</text>\n</svg>\n",
            (WIDTH + LEFT) / 2.0,
            HEIGHT - 10.0,
            escaped(self.across),
            HEIGHT / 2.0,
            escaped(self.up)
        );
        svg
    }

    /// Where to draw levels: powers of ten, or a few round figures.
    fn levels(&self, most: f64) -> Vec<f64> {
        if self.powers_up {
            return (0..9)
                .map(|power| 10_f64.powi(power))
                .filter(|y| *y <= most * 1.05)
                .collect();
        }
        let power = 10_f64.powf((most.max(1e-9) / 5.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps
            .into_iter()
            .find(|step| most / step <= 6.0)
            .unwrap_or(most);
        (0..=6)
            .map(|n| f64::from(n) * step)
            .filter(|y| *y <= most * 1.05)
            .collect()
    }
}
