//! Progress as bars on a terminal: what is under way, the total, and where the bytes come from.

use super::outages::Outages;
use super::rate::Pace;
use super::{lines, units};
use crate::engine::{FileProgress, Phase, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Files shown at once: 4. More would push away what was on the screen before.
const FILES_MAX: usize = 4;

/// Columns of a file's name; the rest of the line is for its bar and figures.
const NAME_COLUMNS: usize = 32;

/// Lines drawn per second at most. A picture has up to 7 lines, there are 10 pictures a second, and a line that
/// indicatif drops for drawing too often would show old figures beside a new bar.
const LINES_PER_SECOND: u8 = 100;

/// Where bars are drawn.
pub(super) fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr_with_hz(LINES_PER_SECOND)
}

/// The bars of one pull. Taken off the screen when dropped.
pub(super) struct Bars {
    label: String,
    multi: MultiProgress,
    /// One per file shown at once so far: a slot that is free is blank, so that the screen does not jump.
    files: Vec<Line>,
    total: Line,
    sources: Line,
    headline: Option<Line>,
    file_paint: &'static str,
    pace: Pace,
}

impl Bars {
    pub(super) fn new(multi: &MultiProgress, colour: bool, label: &str) -> Bars {
        let (file_paint, total_paint) =
            if colour { (".cyan/black.bright", ".green/black.bright") } else { ("", "") };
        Bars {
            label: label.to_owned(),
            multi: multi.clone(),
            files: Vec::new(),
            total: Line::new(|bar| multi.add(bar), total_paint),
            sources: Line::new(|bar| multi.add(bar), ""),
            headline: None,
            file_paint,
            pace: Pace::default(),
        }
    }

    /// Shows `progress`, seen `now` after the start.
    pub(super) fn show(&mut self, now: Duration, progress: &Progress) {
        self.pace.note(now, progress);
        if progress.files_total == 0 {
            let words = Outages::present(progress);
            let words = words.as_deref().unwrap_or_else(|| lines::phase_words(progress));
            self.sources.text(format!("  {}: {words} …", self.label));
            return;
        }
        if self.headline.is_none() {
            let line = Line::new(|bar| self.multi.insert(0, bar), "");
            line.text(lines::headline(&self.label, progress));
            self.headline = Some(line);
        }
        self.show_files(progress);
        let name = format!(
            "{} of {}, {} %",
            progress.files_done,
            units::counted(u64::from(progress.files_total), "file"),
            units::percent(progress.bytes_done, progress.bytes_total)
        );
        self.total.bar(name, progress.bytes_done, progress.bytes_total);
        self.sources.text(self.sources_line(progress));
    }

    fn show_files(&mut self, progress: &Progress) {
        let under_way = |file: &&FileProgress| file.done < file.size;
        let open: Vec<_> = progress.current.iter().filter(under_way).take(FILES_MAX).collect();
        while self.files.len() < open.len() {
            let above_total = |bar| self.multi.insert_before(&self.total.bar, bar);
            self.files.push(Line::new(above_total, self.file_paint));
        }
        for (i, line) in self.files.iter().enumerate() {
            match open.get(i) {
                Some(file) => line.bar(units::path_tail(&file.path, NAME_COLUMNS), file.done, file.size),
                None => line.text(String::new()),
            }
        }
    }

    fn sources_line(&self, progress: &Progress) -> String {
        let left = progress.bytes_total.saturating_sub(progress.bytes_done);
        let mut parts = Vec::new();
        if progress.phase == Phase::Fetching {
            parts.extend(self.pace.done.rate().map(units::rate));
            let time = self.pace.done.time_left(left).filter(|_| left > 0);
            parts.extend(time.map(|time| format!("{} left", units::time_left(time))));
            parts.extend(self.pace.up());
        } else {
            parts.push(lines::phase_words(progress).to_owned());
        }
        parts.push(lines::split(progress));
        parts.extend(Outages::present(progress));
        format!("  {}", parts.join(" · "))
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let rest = [&self.total, &self.sources];
        for line in self.files.iter().chain(rest).chain(self.headline.as_ref()) {
            line.bar.finish_and_clear();
        }
    }
}

/// A line of text at the bottom of the screen.
pub(super) fn text_line(multi: &MultiProgress) -> ProgressBar {
    multi.add(ProgressBar::new(0).with_style(style("{msg}")))
}

/// One line of the picture: text, or a bar between name and figures. It is drawn once per picture, because the
/// texts are not properties of indicatif's bar, each of which would draw it again.
struct Line {
    bar: ProgressBar,
    texts: Arc<Mutex<Texts>>,
    with_bar: ProgressStyle,
}

#[derive(Default)]
struct Texts {
    name: String,
    figures: String,
}

impl Line {
    /// A blank line. `add` puts it on the screen; `paint` is the bar's colour in indicatif's words.
    fn new(add: impl FnOnce(ProgressBar) -> ProgressBar, paint: &str) -> Line {
        let texts = Arc::new(Mutex::new(Texts::default()));
        let template = format!("  {{name:{NAME_COLUMNS}!}} {{wide_bar:{paint}}} {{figures:>21}}");
        let with_bar = style(&template)
            .with_key("name", key(&texts, |texts| &texts.name))
            .with_key("figures", key(&texts, |texts| &texts.figures));
        Line { bar: add(ProgressBar::new(0).with_style(style(" "))), texts, with_bar }
    }

    fn text(&self, text: String) {
        let texts = Arc::new(Mutex::new(Texts { name: text, figures: String::new() }));
        self.bar.set_style(style("{name}").with_key("name", key(&texts, |texts| &texts.name)));
        self.bar.tick();
    }

    fn bar(&self, name: String, done: u64, total: u64) {
        let figures = format!("{} of {}", units::bytes(done), units::bytes(total));
        *self.texts.lock().unwrap_or_else(PoisonError::into_inner) = Texts { name, figures };
        self.bar.set_style(self.with_bar.clone());
        self.bar.update(|state| {
            state.set_len(total);
            state.set_pos(done);
        });
    }
}

/// A template key that shows one of the texts.
fn key(
    texts: &Arc<Mutex<Texts>>,
    pick: fn(&Texts) -> &String,
) -> impl Fn(&ProgressState, &mut dyn fmt::Write) + Clone + Send + Sync + 'static {
    let texts = Arc::clone(texts);
    move |_, out| {
        let texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into indicatif's string cannot fail.
        let _infallible = out.write_str(pick(&texts));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("our templates are valid").progress_chars("━━─")
}
