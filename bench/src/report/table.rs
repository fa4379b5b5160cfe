//! Tables in Markdown, aligned so that they can be read as they are.

/// A table, its first column to the left and the others to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self {
            rows: vec![columns.map(String::from).to_vec()],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn markdown(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        };
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                text += &match column {
                    0 => format!("| {cell:<width$} |"),
                    _ => format!(" {cell:>width$} |"),
                };
            }
            text.push('\n');
            if number == 0 {
                for column in 0..columns {
                    let dashes = "-".repeat(width(column));
                    text += &match column {
                        0 => format!("| {dashes} |"),
                        _ => format!(" {}: |", &dashes[1..]),
                    };
                }
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["server", "n"]);
        table.row(vec!["bare".into(), "12345".into()]);
        let lines = "| server |     n |\n| ------ | ----: |\n| bare   | 12345 |\n";
        assert_eq!(table.markdown(), lines);
    }
}
