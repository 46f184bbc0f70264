//! What the user sees. Data goes to standard output and nothing else does; everything said goes to standard
//! error, in the manner the terminal allows, with every known token blanked.

mod bars;
mod board;
mod fold;
mod lines;
mod log;
mod outages;
mod rate;
mod redact;
mod summary;
#[cfg(test)]
mod terminal;
pub(crate) mod units;

pub(crate) use summary::closing_statistics;

use crate::failure::{self, Failure, Kind};
use redact::Secrets;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zest_runtime_tokio::Progress;
use zest_runtime_tokio::PulledFile;

/// Time between two looks at a pull's progress: 100 ms, ten pictures a second.
const TICK: Duration = Duration::from_millis(100);

/// How much is said, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Bars that are redrawn: standard error is a terminal.
    Bars,
    /// A line now and then: logs, pipes, dumb terminals.
    Lines,
    /// No progress, only what is said at the beginning and the end (`HF_HUB_DISABLE_PROGRESS_BARS`).
    Still,
    /// Errors only (`--quiet`).
    Quiet,
}

/// What decides about [`Mode`] and colours, apart from the command line.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings {
    terminal: bool,
    dumb: bool,
    no_colour: bool,
    no_progress: bool,
}

impl Surroundings {
    fn of_process() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        // The values huggingface_hub takes for true.
        let truth = |name: &str| {
            let value = std::env::var(name).unwrap_or_default().to_ascii_uppercase();
            matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
        };
        Self {
            terminal: std::io::stderr().is_terminal(),
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
            no_colour: set("NO_COLOR"),
            no_progress: truth("HF_HUB_DISABLE_PROGRESS_BARS"),
        }
    }

    fn mode(self, quiet: bool) -> Mode {
        match self {
            _ if quiet => Mode::Quiet,
            Self { no_progress: true, .. } => Mode::Still,
            Self { terminal: true, dumb: false, .. } => Mode::Bars,
            _ => Mode::Lines,
        }
    }

    fn colour(self) -> bool {
        self.terminal && !self.dumb && !self.no_colour
    }
}

/// Files of a pull that are in their places, in the order in which they came there.
#[derive(Default)]
pub(crate) struct Landed(Mutex<Vec<PulledFile>>);

impl Landed {
    pub(crate) fn push(&self, file: PulledFile) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    fn take(&self) -> Vec<PulledFile> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Warnings that are kept, so that each is said once: 200. Of more only the first are said.
const WARNINGS_MAX: usize = 200;

/// What was said of things that change the outcome, by kind.
#[derive(Default)]
struct Warnings {
    said: Mutex<Vec<(String, String)>>,
    /// Each is an event on standard output, too.
    are_events: AtomicBool,
}

/// The user's screen. Cheap to clone; all clones share the screen.
#[derive(Clone)]
pub(crate) struct Ui {
    mode: Mode,
    json: bool,
    colour: bool,
    secrets: Secrets,
    /// What is said goes there, and to no terminal.
    log: Option<Arc<zest_daemon::LogFile>>,
    warnings: Arc<Warnings>,
    board: Arc<board::Board>,
}

impl Ui {
    /// Looks at terminal and environment, and sets up the log that `-v` shows.
    pub(crate) fn new(quiet: bool, verbose: u8, json: bool) -> Self {
        let around = Surroundings::of_process();
        let mode = around.mode(quiet);
        let ui = Self {
            mode,
            json,
            colour: around.colour(),
            secrets: Secrets::default(),
            log: None,
            warnings: Arc::default(),
            board: Arc::default(),
        };
        log::install(&ui, verbose);
        ui
    }

    /// In the background: everything that is said goes to a log.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn logging(path: &std::path::Path, verbose: u8) -> Result<Self, Failure> {
        let log = zest_daemon::LogFile::open(path).map_err(|error| Failure::new(Kind::Disk, error))?;
        let ui = Self {
            mode: Mode::Lines,
            json: false,
            colour: false,
            secrets: Secrets::default(),
            log: Some(Arc::new(log)),
            warnings: Arc::default(),
            board: Arc::default(),
        };
        log::install(&ui, verbose);
        Ok(ui)
    }

    /// Whether standard output gets JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Blanks `secret` from now on wherever it would be shown.
    pub(crate) fn hide(&self, secret: &str) {
        self.secrets.add(secret);
    }

    /// Says something unless `--quiet`.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if self.mode != Mode::Quiet {
            self.put(text.as_ref());
        }
    }

    /// Says what the user would want to know, unless `--quiet`.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        self.say(format!("{} {}", self.paint("note:", "1;33"), text.as_ref()));
    }

    /// Says once what changes the outcome and is found out deep inside, on whatever thread.
    fn said(&self, kind: &str, text: &str) {
        let mut said = self.warnings.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= WARNINGS_MAX || said.iter().any(|(_, known)| known == text) {
            return;
        }
        said.push((kind.to_owned(), text.to_owned()));
        drop(said);
        if self.mode != Mode::Quiet {
            self.put(&format!("{} {text}", self.paint("note:", "1;33")));
        }
        if self.json && self.warnings.are_events.load(Ordering::Relaxed) {
            // Whoever reads it is gone: the command ends with the next event that matters.
            let _closed = self.data(&json!({"event": "warning", "kind": kind, "text": text}).to_string());
        }
    }

    /// From now on what is warned of is an event on standard output, where that is JSON.
    pub(crate) fn warnings_are_events(&self) {
        self.warnings.are_events.store(true, Ordering::Relaxed);
    }

    /// What was warned of so far, by kind.
    pub(crate) fn warnings(&self) -> Vec<(String, String)> {
        self.warnings.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing but errors is said.
    pub(crate) fn quiet(&self) -> bool {
        self.mode == Mode::Quiet
    }

    /// Says what went wrong and what to do, always; as JSON on standard output too if that was asked for.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.kind == Kind::Unread {
            return;
        }
        let error = self.paint("error:", "1;31");
        self.put(&format!("{error} {}", failure.message));
        if let Some(hint) = &failure.hint {
            let label = self.paint("hint:", "1;36");
            self.put(&format!("{label} {hint}"));
        }
        if self.json {
            // Nobody is left to hear that standard output is gone.
            let _closed = self.data(&failure.to_json());
        }
    }

    /// Writes one line of data to standard output.
    pub(crate) fn data(&self, line: &str) -> Result<(), Failure> {
        if self.draws() && std::io::stdout().is_terminal() {
            let _closed = self.clear_board();
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", self.secrets.blank(line))
            .and_then(|()| out.flush())
            .map_err(|error| failure::output(&error))
    }

    /// Writes lines that people read to standard output: on a terminal broken between words where it ends.
    pub(crate) fn text(&self, line: &str) -> Result<(), Failure> {
        match std::io::stdout().is_terminal() {
            true => fold::fold(&self.secrets.blank(line), room()).iter().try_for_each(|row| self.data(row)),
            false => self.data(line),
        }
    }

    /// Writes a path as a line of data: its own bytes, whether or not they are text.
    pub(crate) fn path(&self, path: &std::path::Path) -> Result<(), Failure> {
        if let Some(text) = path.to_str() {
            return self.data(text);
        }
        if self.draws() && std::io::stdout().is_terminal() {
            let _closed = self.clear_board();
        }
        let mut out = std::io::stdout().lock();
        out.write_all(path.as_os_str().as_encoded_bytes())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(|error| failure::output(&error))
    }

    /// Writes one line of an account that is itself what the user asked for: to standard output, above the bars,
    /// unless `--quiet`.
    pub(crate) fn account(&self, line: &str) -> Result<(), Failure> {
        if self.mode == Mode::Quiet {
            return Ok(());
        }
        let _closed = self.clear_board();
        self.text(line)
    }

    /// Shows data that replaces what was shown last, where somebody looks at it; else it is written, and a line between two.
    pub(crate) fn picture(&self, lines: &[String]) -> Result<(), Failure> {
        if std::io::stdout().is_terminal() && self.board(lines) {
            return Ok(());
        }
        lines.iter().try_for_each(|line| self.data(line))?;
        self.data("")
    }

    /// Shows a pull's progress until it has `ended`. Run it beside the pull.
    pub(crate) async fn follow(
        &self,
        label: &str,
        give_up_after: Duration,
        mut progress: watch::Receiver<Progress>,
        landed: &Landed,
        ended: impl Future<Output = ()>,
    ) {
        let start = Instant::now();
        let mut outages = outages::Outages::new(give_up_after);
        let mut screen = match self.mode {
            Mode::Bars => Screen::Bars(bars::Bars::new(self.colour, label)),
            Mode::Lines => Screen::Lines(Box::new(lines::Lines::new(label))),
            Mode::Still | Mode::Quiet => Screen::None,
        };
        let _taken_off = TakenOff(self.clone());
        let (mut said, mut told) = (0, start);
        let mut ended = std::pin::pin!(ended);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            // The end is shown at once, everything else at the pace of the tick.
            let closed = tokio::select! {
                _ = tick.tick() => false,
                () = &mut ended => true,
            };
            if progress.has_changed().unwrap_or(false) {
                told = Instant::now();
            }
            let now = outages::since_then(progress.borrow_and_update().clone(), told.elapsed());
            for line in outages.show(start.elapsed(), &now) {
                self.say(line);
            }
            for notice in now.notices.get(said..).unwrap_or_default() {
                self.warn(&notice.text);
            }
            said = now.notices.len();
            match &mut screen {
                Screen::Bars(bars) => {
                    self.board(&bars.lines(start.elapsed(), &now, room()));
                }
                Screen::Lines(lines) => {
                    for line in lines.show(start.elapsed(), &now, &landed.take()) {
                        self.put(&line);
                    }
                }
                Screen::None => {}
            }
            if closed {
                return;
            }
        }
    }

    /// A status line that replaces the last one on a terminal, and is printed only if `worth_a_line` elsewhere.
    pub(crate) fn status(&self) -> Status {
        Status { ui: self.clone(), shown: false }
    }

    /// Shows lines that replace those shown last, broken where the terminal ends. Gives whether there is one. Somebody has to take
    /// them off, or leave them.
    fn board(&self, lines: &[String]) -> bool {
        if self.mode != Mode::Bars {
            return false;
        }
        let lines: Vec<_> =
            lines.iter().flat_map(|line| fold::fold(&self.secrets.blank(line), room())).collect();
        let _closed = self.board.show(&lines, &mut std::io::stderr().lock());
        true
    }

    /// How wide the terminal is now.
    pub(crate) fn columns(&self) -> usize {
        bars::columns()
    }

    /// Whether anything is drawn anew.
    pub(crate) fn draws(&self) -> bool {
        self.mode == Mode::Bars
    }

    /// Stops this process, and leaves the terminal to the shell.
    pub(crate) fn stop(&self) {
        self.board.leave_while(&mut std::io::stderr().lock(), crate::os::Stops::stop);
    }

    /// Leaves what is drawn where it stands, and the cursor below it, for what comes after this process.
    pub(crate) fn leave(&self) {
        self.board.leave_while(&mut std::io::stderr().lock(), || ());
    }

    /// `text` in a colour (SGR code), where colours are shown.
    pub(crate) fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Puts a line on standard error, above the bars if there are any.
    fn put(&self, line: &str) {
        let line = self.secrets.blank(line);
        if let Some(log) = &self.log {
            log.line(&line);
            return;
        }
        let rows = if self.mode == Mode::Bars { fold::fold(&line, room()) } else { vec![line.into_owned()] };
        for row in rows {
            // Somebody who closed standard error does not want to hear about it.
            let _closed = self.board.put_above(&row, &mut std::io::stderr().lock());
        }
    }

    /// Takes what is drawn anew off the screen until it is drawn next.
    fn clear_board(&self) -> std::io::Result<()> {
        self.board.clear(&mut std::io::stderr().lock())
    }
}

/// Columns that are written into: one stays free, see the board.
fn room() -> usize {
    bars::columns().saturating_sub(1).max(1)
}

enum Screen {
    Bars(bars::Bars),
    Lines(Box<lines::Lines>),
    None,
}

/// Takes the bars off when the pull is over, however that ends.
struct TakenOff(Ui);

impl Drop for TakenOff {
    fn drop(&mut self) {
        let _closed = self.0.clear_board();
    }
}

/// See [`Ui::status`].
pub(crate) struct Status {
    ui: Ui,
    shown: bool,
}

impl Status {
    /// Shows the line. Off a terminal it is printed only if `worth_a_line`.
    pub(crate) fn show(&mut self, line: &str, worth_a_line: bool) {
        let line = self.ui.secrets.blank(line);
        match self.ui.mode {
            Mode::Bars => self.shown = self.ui.board(&[line.into_owned()]),
            Mode::Lines | Mode::Still if worth_a_line => self.ui.put(&line),
            _ => {}
        }
    }

    /// Shows lines in place of it, where there is a terminal. Gives whether there is one.
    pub(crate) fn board(&mut self, lines: &[String]) -> bool {
        let drawn = self.ui.board(lines);
        self.shown |= drawn;
        drawn
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        if self.shown {
            let _closed = self.ui.clear_board();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Surroundings =
        Surroundings { terminal: true, dumb: false, no_colour: false, no_progress: false };

    #[test]
    fn a_terminal_gets_bars_and_a_log_gets_lines() {
        assert_eq!(TERMINAL.mode(false), Mode::Bars);
        assert_eq!(Surroundings { terminal: false, ..TERMINAL }.mode(false), Mode::Lines);
        assert_eq!(Surroundings { dumb: true, ..TERMINAL }.mode(false), Mode::Lines);
    }

    #[test]
    fn hf_hub_disable_progress_bars_leaves_words_and_quiet_leaves_errors() {
        assert_eq!(Surroundings { no_progress: true, ..TERMINAL }.mode(false), Mode::Still);
        assert_eq!(Surroundings { no_progress: true, ..TERMINAL }.mode(true), Mode::Quiet);
    }

    #[test]
    fn colours_need_a_terminal_that_wants_them() {
        assert!(TERMINAL.colour());
        assert!(!Surroundings { no_colour: true, ..TERMINAL }.colour());
        assert!(!Surroundings { dumb: true, ..TERMINAL }.colour());
        assert!(!Surroundings::default().colour());
    }
}
