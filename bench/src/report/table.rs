//! Tables in Markdown, aligned so that they can be read as they are.

use tabled::builder::Builder;
use tabled::grid::config::Offset;
use tabled::settings::Alignment;
use tabled::settings::object::{Columns, Object, Rows};
use tabled::settings::style::{LineChar, Style};

/// Writes a table, its first column to the left and the others to the right.
pub(crate) fn markdown(table: Builder) -> String {
    let under_titles = Rows::one(1);
    let space = |offset| LineChar::horizontal(' ', offset);
    let mut table = table.build();
    table
        .with(Style::markdown())
        .modify(Columns::new(1..), Alignment::right())
        .modify(
            under_titles,
            (space(Offset::Start(0)), space(Offset::End(0))),
        )
        .modify(
            under_titles.intersect(Columns::new(1..)),
            LineChar::horizontal(':', Offset::End(1)),
        );
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Builder::default();
        table.push_record(["server", "n", "p50 µs"]);
        table.push_record(["bare", "12345", "1"]);
        let lines = "| server |     n | p50 µs |\n\
                     | ------ | ----: | -----: |\n\
                     | bare   | 12345 |      1 |\n";
        assert_eq!(markdown(table), lines);
    }
}
