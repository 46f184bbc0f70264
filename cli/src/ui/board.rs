//! Lines at the bottom of a terminal that are drawn anew as a whole. What was drawn when the terminal was wider is broken into
//! several rows by it when it gets narrower; all of them are taken off, so that nothing stays behind.

use super::bars;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Vec<usize>>);

impl Board {
    /// Draws these lines where the last ones were.
    pub(super) fn show(&self, lines: &[impl AsRef<str>], to: &mut impl Write) -> io::Result<()> {
        self.draw(lines, bars::columns(), to)
    }

    /// Takes the lines off.
    pub(super) fn clear(&self, to: &mut impl Write) -> io::Result<()> {
        if !self.is_shown() {
            return Ok(());
        }
        self.draw(&[] as &[&str], bars::columns(), to)
    }

    pub(super) fn is_shown(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn draw(&self, lines: &[impl AsRef<str>], columns: usize, to: &mut impl Write) -> io::Result<()> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        // The cursor stands below the last row.
        let rows: usize = drawn.iter().map(|length| length.div_ceil(columns).max(1)).sum();
        if rows > 0 {
            out += &format!("\r\x1b[{rows}A\x1b[J");
        }
        drawn.clear();
        for line in lines {
            // A row that is full to its last column would be counted as two by some terminals.
            let line = bars::cut(line.as_ref().to_owned(), columns.saturating_sub(1).max(1));
            drawn.push(line.chars().count());
            out += &line;
            out += "\n";
        }
        to.write_all(out.as_bytes())?;
        to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_narrower_terminal_has_broken_is_taken_off_whole() {
        let board = Board::default();
        let draw = |lines: &[&str], columns| {
            let mut out = Vec::new();
            board.draw(lines, columns, &mut out).expect("memory takes it");
            String::from_utf8(out).expect("text")
        };
        let long = "x".repeat(60);
        assert_eq!(draw(&[&long, "b"], 80), format!("{long}\nb\n"));
        // The first of them is two rows now.
        let cut = format!("{}…", "x".repeat(38));
        assert_eq!(draw(&[&long], 40), format!("\r\x1b[3A\x1b[J{cut}\n"));
        assert_eq!(draw(&["c"], 200), "\r\x1b[1A\x1b[Jc\n");
        assert!(board.is_shown());
        assert_eq!(draw(&[], 200), "\r\x1b[1A\x1b[J");
        assert!(!board.is_shown());
    }
}
