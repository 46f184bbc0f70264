//! The log that `-v` and `ZEST_LOG` show on standard error.

use super::Ui;
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Environment variable with a filter in the syntax of `tracing_subscriber` (`zest_core=debug,warn`).
const FILTER_VARIABLE: &str = "ZEST_LOG";

/// Sends log lines through the screen, so that they neither tear the bars nor show a token.
pub(super) fn install(ui: &Ui, verbose: u8) {
    let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let filter = match (wanted.as_str(), verbose) {
        ("", 0) => return,
        ("", 1) => of_ours("warn", "info"),
        ("", 2) => of_ours("info", "debug"),
        ("", _) => "trace".to_owned(),
        (given, _) => given.to_owned(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(ui.colour)
        .with_writer(Lines(ui.clone()))
        .init();
}

/// A filter with one level for everything, and one for what is zest's own.
fn of_ours(all: &str, ours: &str) -> String {
    let crates = ["cli", "core", "daemon", "hub", "store", "runtime_tokio", "runtime_glommio"];
    crates.iter().fold(all.to_owned(), |filter, name| format!("{filter},zest_{name}={ours}"))
}

struct Lines(Ui);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { ui: self.0.clone(), bytes: Vec::new() }
    }
}

/// Collects one event; shows it when the event is written.
struct Line {
    ui: Ui,
    bytes: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.trim_end_matches('\n');
        if !text.is_empty() {
            self.ui.put_beside_bars(text);
        }
    }
}
