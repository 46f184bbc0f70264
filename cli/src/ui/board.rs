//! Lines at the bottom of a terminal that are drawn anew as a whole. What was drawn when the terminal was wider is broken into
//! several rows by it when it gets narrower; all of them are taken off, so that nothing stays behind.

use super::bars;
use super::fold::{cut, width};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// No line.
const NOTHING: [&str; 0] = [];

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Vec<String>>);

impl Board {
    /// Draws these lines where the last ones were.
    pub(super) fn show(&self, lines: &[impl AsRef<str>], to: &mut impl Write) -> io::Result<()> {
        self.draw(None, Some(lines), bars::columns(), to)
    }

    /// Takes the lines off.
    pub(super) fn clear(&self, to: &mut impl Write) -> io::Result<()> {
        if self.lock().is_empty() {
            return Ok(());
        }
        self.draw(None, Some(&NOTHING), bars::columns(), to)
    }

    /// Puts a line above them, which stays.
    pub(super) fn put_above(&self, line: &str, to: &mut impl Write) -> io::Result<()> {
        self.draw(Some(line), None::<&[&str]>, bars::columns(), to)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws these lines, or those that are shown, below what stays.
    fn draw(
        &self,
        above: Option<&str>,
        lines: Option<&[impl AsRef<str>]>,
        columns: usize,
        to: &mut impl Write,
    ) -> io::Result<()> {
        let mut drawn = self.lock();
        let mut out = String::new();
        // The cursor stands below the last row. What was drawn is written over, and what is left of it is taken off: a screen that is
        // cleared from its first row on is kept by some terminals in what can be scrolled back to.
        let rows = rows(&drawn, columns);
        let (rest_of_row, rest) = if rows > 0 { ("\x1b[K", "\x1b[J") } else { ("", "") };
        if rows > 0 {
            out += &format!("\r\x1b[{rows}A");
        }
        if let Some(above) = above {
            out += above;
            out += rest_of_row;
            out += "\n";
        }
        if let Some(lines) = lines {
            *drawn = lines.iter().map(|line| line.as_ref().to_owned()).collect();
        }
        // A row that is full to its last column would be counted as two by some terminals.
        let room = columns.saturating_sub(1).max(1);
        for line in drawn.iter_mut() {
            if width(line) > room {
                *line = cut(std::mem::take(line), room);
            }
            out += line;
            out += rest_of_row;
            out += "\n";
        }
        out += rest;
        to.write_all(out.as_bytes())?;
        to.flush()
    }
}

/// Rows that lines take on a terminal of so many columns, which breaks those that are longer.
fn rows(lines: &[String], columns: usize) -> usize {
    lines.iter().map(|line| width(line).div_ceil(columns).max(1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_narrower_terminal_has_broken_is_taken_off_whole() {
        let board = Board::default();
        let draw = |lines: &[&str], columns| {
            let mut out = Vec::new();
            board.draw(None, Some(lines), columns, &mut out).expect("memory takes it");
            String::from_utf8(out).expect("text")
        };
        let long = "x".repeat(60);
        assert_eq!(draw(&[&long, "b"], 80), format!("{long}\nb\n"));
        // The first of them is two rows now.
        let cut = format!("{}…", "x".repeat(38));
        assert_eq!(draw(&[&long], 40), format!("\r\x1b[3A{cut}\x1b[K\n\x1b[J"));
        assert_eq!(draw(&["c"], 200), "\r\x1b[1Ac\x1b[K\n\x1b[J");
        assert_eq!(board.lock().len(), 1);
        assert_eq!(draw(&[], 200), "\r\x1b[1A\x1b[J");
        assert!(board.lock().is_empty());
    }

    #[test]
    fn rows_are_counted_as_the_terminal_breaks_them() {
        // What was drawn at 200 columns, seen at 80 and 60: headline, two bars, figures.
        let drawn = [26, 200, 200, 46].map(|length| "x".repeat(length));
        assert_eq!([200, 80, 60].map(|columns| rows(&drawn, columns)), [4, 8, 10]);
    }

    #[test]
    fn a_line_that_stays_is_put_above_what_is_drawn_anew() {
        let board = Board::default();
        let mut out = Vec::new();
        board.show(&["bar"], &mut out).expect("memory takes it");
        board.put_above("note", &mut out).expect("memory takes it");
        assert_eq!(String::from_utf8(out).expect("text"), "bar\n\r\x1b[1Anote\x1b[K\nbar\x1b[K\n\x1b[J");
    }
}
