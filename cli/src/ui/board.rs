//! Lines at the bottom of a terminal that are drawn anew as a whole, so that nothing of them stays behind when its width changes.
//!
//! A terminal that gets narrower breaks what it shows at once, and may tell us of its new width much later (tmux: a quarter of a
//! second). So nothing here is counted in rows of the terminal as it was. Between two pictures the cursor stands where the first line
//! begins: terminals keep it there whatever they break, and all below is ours. While lines are drawn the terminal breaks none
//! (DECAWM), whatever its width, so that the way back up is known.

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

    /// Leaves the lines where they are, and the cursor below them, while others write; what is drawn next is drawn below that.
    pub(super) fn leave_while(&self, to: &mut impl Write, others: impl FnOnce()) {
        // Nothing is drawn meanwhile.
        let mut drawn = self.lock();
        let lines = std::mem::take(&mut *drawn);
        // The terminal has written ^C or ^Z where the cursor stands, over the first line.
        let first = lines.first().map(|line| format!("\r\x1b[?7l\x1b[K{line}\x1b[?7h")).unwrap_or_default();
        let left = format!("{first}{}", "\n".repeat(lines.len()));
        // Who closed standard error does not want to see it.
        let _closed = to.write_all(left.as_bytes()).and_then(|()| to.flush());
        others();
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
        // Each row is emptied before it is written: a terminal forgets then that the row, or the one above it, went on in the next, which
        // it would join again when it gets wider. Not all at once: a screen that is cleared from its first row on is kept by some
        // terminals in what can be scrolled back to.
        let (begin, row, rest) = if drawn.is_empty() { ("", "", "") } else { ("\r", "\x1b[K", "\x1b[J") };
        out += begin;
        if let Some(above) = above {
            // It may be broken, and is more than one row then.
            out += &format!("{row}{above}{row}\n");
        }
        if let Some(lines) = lines {
            *drawn = lines.iter().map(|line| line.as_ref().to_owned()).collect();
        }
        if drawn.is_empty() {
            out += rest;
        } else {
            // A row that is full to its last column would be counted as two by some terminals.
            let room = columns.saturating_sub(1).max(1);
            for line in drawn.iter_mut().filter(|line| width(line) > room) {
                *line = cut(std::mem::take(line), room);
            }
            let rows: Vec<String> = drawn.iter().map(|line| format!("{row}{line}")).collect();
            let up = match drawn.len() - 1 {
                0 => String::new(),
                up => format!("\x1b[{up}A"),
            };
            out += &format!("\x1b[?7l{}{rest}\x1b[?7h\r{up}", rows.join("\n"));
        }
        to.write_all(out.as_bytes())?;
        to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::terminal::Terminal;
    use super::*;

    /// The fourth of pictures, each of a headline, two bars and figures, for a terminal of so many columns.
    fn picture(columns: usize, of: usize) -> Vec<String> {
        let name = (b'a' + u8::try_from(of % 26).expect("a letter")) as char;
        [20, columns - 1, columns - 1, 46.min(columns - 1)]
            .map(|length| name.to_string().repeat(length))
            .to_vec()
    }

    fn drawn(board: &Board, above: Option<&str>, lines: Option<&[String]>, columns: usize) -> Vec<u8> {
        let mut out = Vec::new();
        board.draw(above, lines, columns, &mut out).expect("memory takes it");
        out
    }

    #[test]
    fn no_width_leaves_anything_behind_whenever_it_is_heard_of() {
        const PROMPT: &str = "$ zest pull";
        let widths = [200, 80, 60, 40, 60, 200, 40, 80, 41, 40, 200];
        // Drawn at the top of an empty screen, and at the bottom of a full one.
        for (late, before) in (0..4).flat_map(|late| [(late, 0), (late, 60)]) {
            let (board, mut terminal) = (Board::default(), Terminal::new(widths[0], 40));
            terminal.take("\n".repeat(before).as_bytes());
            terminal.take(format!("{PROMPT}\n").as_bytes());
            let (mut believed, mut of) = (widths[0], 0);
            for columns in widths {
                terminal.resize(columns);
                for draw in 0..=late {
                    if draw == late {
                        believed = columns;
                    }
                    of += 1;
                    terminal.take(&drawn(&board, None, Some(&picture(believed, of)), believed));
                    let seen = terminal.seen();
                    let own = seen.iter().filter(|row| *row != PROMPT).count();
                    assert_eq!(own, 4, "{columns} after {late}, {before} before: {seen:#?}");
                }
                let seen = terminal.seen();
                assert!(seen.ends_with(&picture(columns, of)), "{columns} after {late}: {seen:#?}");
            }
            terminal.resize(50);
            terminal.take(&drawn(&board, None, Some(&[]), believed));
            terminal.take(b"done\n");
            let seen = terminal.seen();
            assert!(seen.iter().all(|row| row == PROMPT || row == "done"), "{seen:#?}");
            assert!(before == 0 || seen.len() == 2, "what stood there stays: {seen:#?}");
        }
    }

    #[test]
    fn what_is_said_stands_above_whole_also_where_it_is_broken() {
        let (board, mut terminal) = (Board::default(), Terminal::new(80, 40));
        let path = format!("/{}", "p".repeat(99));
        terminal.take(&drawn(&board, None, Some(&picture(80, 0)), 80));
        terminal.resize(40);
        terminal.take(&drawn(&board, Some(&path), None, 80));
        terminal.take(&drawn(&board, Some("note"), Some(&picture(40, 1)), 40));
        let mut expected = [&path[..40], &path[40..80], &path[80..], "note"].map(str::to_owned).to_vec();
        expected.extend(picture(40, 1));
        assert_eq!(terminal.seen(), expected);
    }

    #[test]
    fn what_others_write_stands_below_what_is_left_to_them() {
        let (board, mut terminal) = (Board::default(), Terminal::new(80, 40));
        terminal.take(&drawn(&board, None, Some(&picture(80, 0)), 80));
        // What the terminal says of the key that was pressed.
        terminal.take(b"^Z");
        let mut out = Vec::new();
        board.leave_while(&mut out, || {});
        board.leave_while(&mut out, || {});
        terminal.take(&out);
        terminal.take(b"stopped\n$ fg\n");
        terminal.take(&drawn(&board, None, Some(&picture(80, 1)), 80));
        let mut expected = picture(80, 0);
        expected.extend(["stopped", "$ fg"].map(str::to_owned));
        expected.extend(picture(80, 1));
        assert_eq!(terminal.seen(), expected);
    }

    #[test]
    fn lines_are_cut_where_the_terminal_ends_and_drawn_in_one_write() {
        let board = Board::default();
        let draw = |above: Option<&str>, lines: &[&str], columns| {
            let mut out = Vec::new();
            board.draw(above, Some(lines), columns, &mut out).expect("memory takes it");
            String::from_utf8(out).expect("text")
        };
        let long = "x".repeat(60);
        assert_eq!(draw(None, &[&long, "b"], 80), format!("\x1b[?7l{long}\nb\x1b[?7h\r\x1b[1A"));
        let cut = format!("{}…", "x".repeat(38));
        assert_eq!(
            draw(Some("note"), &[&long], 40),
            format!("\r\x1b[Knote\x1b[K\n\x1b[?7l\x1b[K{cut}\x1b[J\x1b[?7h\r")
        );
        assert_eq!(draw(None, &[], 200), "\r\x1b[J");
        assert_eq!(draw(Some("note"), &[], 200), "note\n");
    }
}
