//! What came of it, as a table for people.

use std::time::Duration;

/// What came of one meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// It worked, after this time.
    Found(Duration),
    /// It worked, and this is to be said of it.
    Good(String),
    /// It did not work.
    Bad(String),
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Found(after) => format!("{} ms", after.as_millis()),
            Self::Good(text) => text.clone(),
            Self::Bad(why) => format!("FAILED: {why}"),
        }
    }
}

/// Named rows of cells below a head.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<(String, Vec<Cell>)>,
}

impl Table {
    /// An empty table; `corner` stands above the names of the rows.
    pub(crate) fn new<'a>(corner: &'a str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        let head = std::iter::once(corner).chain(columns).map(str::to_owned).collect();
        Self { head, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, name: impl Into<String>, cells: Vec<Cell>) {
        self.rows.push((name.into(), cells));
    }

    /// Whether nothing failed, and there is something at all.
    pub(crate) fn is_good(&self) -> bool {
        let mut cells = self.rows.iter().flat_map(|(_, cells)| cells).peekable();
        cells.peek().is_some() && cells.all(|cell| !matches!(cell, Cell::Bad(_)))
    }

    /// The table as text.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.head.clone()];
        for (name, cells) in &self.rows {
            lines.push(std::iter::once(name.clone()).chain(cells.iter().map(Cell::text)).collect());
        }
        let widths: Vec<usize> = (0..self.head.len())
            .map(|at| {
                lines
                    .iter()
                    .filter_map(|line| line.get(at))
                    .map(|text| text.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for line in lines {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(text, &width)| format!("{text:<width$}")).collect();
            out.push_str(cells.join("  ").trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_good_if_nothing_failed_and_it_is_not_empty() {
        let mut table = Table::new("announced by", ["zest", "other"]);
        assert!(!table.is_good(), "nothing was tried");
        table.row("zest", vec![Cell::Found(Duration::from_millis(12)), Cell::Good("2 seeds".to_owned())]);
        assert!(table.is_good());
        assert_eq!(table.text(), "announced by  zest   other\nzest          12 ms  2 seeds\n");
        table.row("other", vec![Cell::Bad("not found".to_owned())]);
        assert!(!table.is_good());
        assert!(table.text().ends_with("FAILED: not found\n"));
    }
}
