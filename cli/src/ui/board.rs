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
        // Who closed standard error does not want to see it.
        let _closed = to.write_all("\n".repeat(lines.len()).as_bytes()).and_then(|()| to.flush());
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
    use super::*;

    /// A row of a terminal, and whether the next one goes on with the same line.
    #[derive(Debug, Default, Clone)]
    struct Row {
        text: Vec<char>,
        goes_on: bool,
    }

    /// A terminal that breaks its lines anew when its width changes, with the cursor on the character where it was, as tmux does: rows
    /// that have no room any more go out at the top, blank ones below or not, and the cursor never leaves the screen.
    struct Terminal {
        columns: usize,
        height: usize,
        /// Those that went out at the top, too.
        rows: Vec<Row>,
        /// Row and column.
        cursor: (usize, usize),
        breaks: bool,
    }

    impl Terminal {
        fn new(columns: usize, height: usize) -> Self {
            Self { columns, height, rows: vec![Row::default(); height], cursor: (0, 0), breaks: true }
        }

        /// The first row on the screen.
        fn top(&self) -> usize {
            self.rows.len() - self.height
        }

        fn put(&mut self, char: char) {
            if self.cursor.1 >= self.columns && self.breaks {
                self.rows[self.cursor.0].goes_on = true;
                self.down();
                self.cursor.1 = 0;
            }
            let at = self.cursor.1.min(self.columns - 1);
            let text = &mut self.rows[self.cursor.0].text;
            text.resize(text.len().max(at + 1), ' ');
            text[at] = char;
            self.cursor.1 = at + 1;
        }

        fn down(&mut self) {
            self.cursor.0 += 1;
            if self.cursor.0 == self.rows.len() {
                self.rows.push(Row::default());
            }
        }

        /// Empties a row from a column on.
        fn empty(&mut self, row: usize, from: usize) {
            self.rows[row].text.truncate(from);
            if from == 0 {
                self.rows[row].goes_on = false;
                self.rows[row.saturating_sub(1)].goes_on = false;
            }
        }

        fn take(&mut self, bytes: &[u8]) {
            let mut chars = std::str::from_utf8(bytes).expect("text").chars();
            while let Some(char) = chars.next() {
                match char {
                    '\r' => self.cursor.1 = 0,
                    // The system's terminal makes it CR LF.
                    '\n' => {
                        self.down();
                        self.cursor.1 = 0;
                    }
                    '\x1b' => {
                        let mut code: String =
                            chars.by_ref().take_while_inclusive(|char| !char.is_ascii_alphabetic());
                        match code.pop() {
                            Some('A') => {
                                let up: usize = code[1..].parse().expect("a number");
                                self.cursor.0 = self.cursor.0.saturating_sub(up).max(self.top());
                            }
                            Some('K') => self.empty(self.cursor.0, self.cursor.1),
                            Some('J') => {
                                self.empty(self.cursor.0, self.cursor.1);
                                (self.cursor.0 + 1..self.rows.len()).for_each(|row| self.empty(row, 0));
                            }
                            Some(mode @ ('h' | 'l')) if code == "[?7" => self.breaks = mode == 'h',
                            other => panic!("{code}{other:?}"),
                        }
                    }
                    char => self.put(char),
                }
            }
        }

        /// Gets another width.
        fn resize(&mut self, columns: usize) {
            let mut rows: Vec<Row> = Vec::new();
            let mut cursor = (0, 0);
            let mut line: Vec<char> = Vec::new();
            let mut on = None;
            for (at, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
                if at == self.cursor.0 {
                    on = Some(line.len() + self.cursor.1);
                }
                line.extend(&row.text);
                if row.goes_on {
                    continue;
                }
                if let Some(on) = on.take() {
                    cursor = (rows.len() + on / columns, on % columns);
                }
                let parts: Vec<&[char]> =
                    if line.is_empty() { vec![&[]] } else { line.chunks(columns).collect() };
                let last = parts.len() - 1;
                rows.extend(
                    parts
                        .iter()
                        .enumerate()
                        .map(|(at, part)| Row { text: part.to_vec(), goes_on: at < last }),
                );
                line.clear();
            }
            rows.resize(rows.len().max(self.height), Row::default());
            (self.rows, self.columns, self.cursor) = (rows, columns, cursor);
            if self.cursor.0 < self.top() {
                self.cursor = (self.top(), 0);
            }
        }

        /// Lines that are not empty, as a person sees them.
        fn seen(&self) -> Vec<String> {
            let rows = self.rows[self.top()..]
                .iter()
                .map(|row| row.text.iter().collect::<String>().trim_end().to_owned());
            rows.filter(|row| !row.is_empty()).collect()
        }
    }

    trait TakeWhileInclusive: Iterator<Item = char> + Sized {
        /// Up to the first that does not fit, and that one.
        fn take_while_inclusive(self, fits: impl Fn(&char) -> bool) -> String {
            let mut text = String::new();
            for char in self {
                text.push(char);
                if !fits(&char) {
                    break;
                }
            }
            text
        }
    }

    impl<I: Iterator<Item = char>> TakeWhileInclusive for I {}

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
