//! A terminal in memory, for tests: what a person would see of what was written.

/// A row of a terminal, and whether the next one goes on with the same line.
#[derive(Debug, Default, Clone)]
struct Row {
    text: Vec<char>,
    goes_on: bool,
}

/// A terminal that breaks its lines anew when its width changes, with the cursor on the character where it was, as tmux does: rows
/// that have no room any more go out at the top, blank ones below or not, and the cursor never leaves the screen.
pub(crate) struct Terminal {
    columns: usize,
    height: usize,
    /// Those that went out at the top, too.
    rows: Vec<Row>,
    /// Row and column.
    cursor: (usize, usize),
    breaks: bool,
}

impl Terminal {
    pub(crate) fn new(columns: usize, height: usize) -> Self {
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

    pub(crate) fn take(&mut self, bytes: &[u8]) {
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
    #[allow(dead_code, reason = "tests of the program resize nothing")]
    pub(crate) fn resize(&mut self, columns: usize) {
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
                parts.iter().enumerate().map(|(at, part)| Row { text: part.to_vec(), goes_on: at < last }),
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
    pub(crate) fn seen(&self) -> Vec<String> {
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
