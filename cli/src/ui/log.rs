//! The log that `-v` and `ZEST_LOG` show on standard error.

use super::Ui;
use std::io::{self, Write};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use zest_store::SAID;

/// Environment variable with levels by target (`zest_core=debug,warn`).
const FILTER_VARIABLE: &str = "ZEST_LOG";

/// Sends log lines through the screen, so that they neither tear the bars nor show a token; and has what changes the outcome said
/// whatever the log shows.
pub(super) fn install(ui: &Ui, verbose: u8) {
    let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let filter = match (wanted.as_str(), verbose) {
        ("", 0) => "off".to_owned(),
        ("", 1) => of_ours("warn", "info"),
        ("", 2) => of_ours("info", "debug"),
        ("", _) => "trace".to_owned(),
        (given, _) => given.to_owned(),
    };
    let filter: Targets = filter.parse().unwrap_or_else(|error| {
        ui.warn(format!("{FILTER_VARIABLE} is {filter:?}, not levels as in zest_core=debug,warn: {error}"));
        Targets::new()
    });
    let is_said = filter_fn(|about| about.target() == SAID).with_max_level_hint(LevelFilter::WARN);
    let log = tracing_subscriber::fmt::layer().with_ansi(ui.colour).with_writer(Lines(ui.clone()));
    let log = log.with_filter(filter.and(is_said.clone().not()));
    // A second screen in one process is a test's.
    let _first_counts = Registry::default().with(log).with(Said(ui.clone()).with_filter(is_said)).try_init();
}

/// Says what changes the outcome.
struct Said(Ui);

impl<S: Subscriber> Layer<S> for Said {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        self.0.said(&words.kind, &words.text);
    }
}

/// What such an event says.
#[derive(Default)]
struct Words {
    kind: String,
    text: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "kind" {
            value.clone_into(&mut self.kind);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        }
    }
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
            self.ui.put(text);
        }
    }
}
