//! Progress as bars on a terminal: what is under way, the total, and where the bytes come from.

use super::rate::RateMeter;
use super::{lines, units};
use crate::engine::{Phase, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::time::Duration;

/// Files shown at once: 4. More would push away what was on the screen before.
const FILES_MAX: usize = 4;

/// Columns of a file's name; the rest of the line is for its bar and figures.
const NAME_COLUMNS: usize = 32;

/// The bars of one pull. Taken off the screen when dropped.
pub(super) struct Bars {
    label: String,
    files: Vec<ProgressBar>,
    total: ProgressBar,
    sources: ProgressBar,
    headline: Option<ProgressBar>,
    multi: MultiProgress,
    meter: RateMeter,
}

impl Bars {
    pub(super) fn new(multi: &MultiProgress, colour: bool, label: &str) -> Bars {
        let (thin, thick) = if colour { (".cyan/black.bright", ".green/black.bright") } else { ("", "") };
        let file = format!("  {{prefix:{NAME_COLUMNS}!}} {{wide_bar:{thin}}} {{msg:>21}}");
        let files = (0..FILES_MAX).map(|_| multi.add(bar(&file))).collect();
        let total = multi.add(bar(&format!("  {{prefix:{NAME_COLUMNS}!}} {{wide_bar:{thick}}} {{msg:>21}}")));
        let sources = multi.add(bar("  {msg}"));
        Bars {
            label: label.to_owned(),
            files,
            total,
            sources,
            headline: None,
            multi: multi.clone(),
            meter: RateMeter::default(),
        }
    }

    /// Shows `progress`, seen `now` after the start.
    pub(super) fn show(&mut self, now: Duration, progress: &Progress) {
        self.meter.note(now, progress);
        if progress.files_total == 0 {
            self.sources.set_message(format!("{}: {} …", self.label, lines::phase_words(progress)));
            return;
        }
        if self.headline.is_none() {
            let line = self.multi.insert(0, bar("{msg}"));
            line.set_message(lines::headline(&self.label, progress));
            self.headline = Some(line);
        }
        let open: Vec<_> = progress.current.iter().filter(|file| file.done < file.size).collect();
        for (i, bar) in self.files.iter().enumerate() {
            match open.get(i) {
                Some(file) => {
                    bar.set_length(file.size);
                    bar.set_position(file.done);
                    bar.set_prefix(units::path_tail(&file.path, NAME_COLUMNS));
                    bar.set_message(of(file.done, file.size));
                }
                None => bar.set_length(0),
            }
        }
        self.show_slots(open.len());
        self.total.set_length(progress.bytes_total);
        self.total.set_position(progress.bytes_done);
        self.total.set_prefix(format!(
            "{} of {}, {} %",
            progress.files_done,
            units::counted(u64::from(progress.files_total), "file"),
            units::percent(progress.bytes_done, progress.bytes_total)
        ));
        self.total.set_message(of(progress.bytes_done, progress.bytes_total));
        self.sources.set_message(self.sources_line(progress));
    }

    /// Unused slots are blank styles rather than removed bars: the screen does not jump when a file ends.
    fn show_slots(&self, used: usize) {
        for bar in self.files.iter().skip(used) {
            bar.set_prefix("");
            bar.set_message("");
        }
    }

    fn sources_line(&self, progress: &Progress) -> String {
        let left = progress.bytes_total.saturating_sub(progress.bytes_done);
        let mut parts = vec![lines::split(progress)];
        match progress.phase {
            Phase::Fetching => {
                if let Some(rate) = self.meter.rate() {
                    parts.insert(0, units::rate(rate));
                }
                if let Some(time) = self.meter.time_left(left).filter(|_| left > 0) {
                    parts.insert(1, format!("{} left", units::duration(time)));
                }
            }
            _ => parts.insert(0, lines::phase_words(progress).to_owned()),
        }
        parts.join(" · ")
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let rest = [&self.total, &self.sources];
        for bar in self.files.iter().chain(rest).chain(self.headline.as_ref()) {
            bar.finish_and_clear();
        }
    }
}

/// A line of text at the bottom of the screen.
pub(super) fn text_line(multi: &MultiProgress) -> ProgressBar {
    multi.add(bar("{msg}"))
}

fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("our templates are valid");
    ProgressBar::new(0).with_style(style.progress_chars("━━─"))
}

/// `88.1 MB of 160.0 MB`.
fn of(done: u64, total: u64) -> String {
    format!("{} of {}", units::bytes(done), units::bytes(total))
}
