//! Progress as bars on a terminal: what is under way, the total, and where the bytes come from.

use super::outages::Outages;
use super::rate::Pace;
use super::{lines, units};
use crate::engine::{FileProgress, Phase, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Files shown at once: 4. More would push away what was on the screen before.
const FILES_MAX: usize = 4;

/// Columns of a file's name at most; the rest of the line is for its bar and figures.
const NAME_COLUMNS: usize = 32;
/// And at least, where there is a bar beside it: 12. Ours.
const NAME_COLUMNS_MIN: usize = 12;
/// Columns of the figures, `123.4 MB of 567.8 MB`.
const FIGURES_COLUMNS: usize = 21;
/// A bar is worth drawing from so many columns on: 8. Ours.
const BAR_COLUMNS_MIN: usize = 8;
/// Where nobody knows how wide the terminal is.
const COLUMNS: usize = 80;

/// Lines drawn per second at most. A picture has up to 7 lines, there are 10 pictures a second, and a line that
/// indicatif drops for drawing too often would show old figures beside a new bar.
const LINES_PER_SECOND: u8 = 100;

/// How wide the terminal is now: it may be resized at any time.
pub(super) fn columns() -> usize {
    console::Term::stderr().size_checked().map_or(COLUMNS, |(_, columns)| usize::from(columns).max(1))
}

/// Columns of the name in a line of so many, and whether a bar has room beside it: no line may be broken by the terminal, or what is
/// drawn next does not cover it.
fn layout(columns: usize) -> (usize, bool) {
    let rest = columns.saturating_sub(2 + 1 + FIGURES_COLUMNS);
    match rest.checked_sub(1 + BAR_COLUMNS_MIN).filter(|name| *name >= NAME_COLUMNS_MIN) {
        Some(name) => (name.min(NAME_COLUMNS), true),
        None => (rest.clamp(1, NAME_COLUMNS), false),
    }
}

/// As much of a text as fits into a line.
pub(super) fn cut(text: String, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text;
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

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
    columns: usize,
    /// Columns of each line as it was drawn last.
    drawn: Vec<usize>,
}

impl Bars {
    pub(super) fn new(multi: &MultiProgress, colour: bool, label: &str) -> Self {
        let (file_paint, total_paint) =
            if colour { (".cyan/black.bright", ".green/black.bright") } else { ("", "") };
        Self {
            label: label.to_owned(),
            multi: multi.clone(),
            files: Vec::new(),
            total: Line::new(|bar| multi.add(bar), total_paint),
            sources: Line::new(|bar| multi.add(bar), ""),
            headline: None,
            file_paint,
            pace: Pace::default(),
            columns: columns(),
            drawn: Vec::new(),
        }
    }

    /// Takes off what a narrower terminal has made of the last picture: indicatif knows only of the rows that it has drawn.
    fn settle(&mut self) {
        let columns = columns();
        let surplus = surplus(&self.drawn, columns);
        if columns < self.columns && surplus > 0 {
            let cleared = self.multi.clear();
            let _closed = cleared.and_then(|()| write!(io::stderr().lock(), "\r\x1b[{surplus}A\x1b[J"));
        }
        self.columns = columns;
    }

    /// Shows `progress`, seen `now` after the start.
    pub(super) fn show(&mut self, now: Duration, progress: &Progress) {
        self.pace.note(now, progress);
        self.settle();
        if progress.files_total == 0 {
            let words = Outages::present(progress);
            let words = words.as_deref().unwrap_or_else(|| lines::phase_words(progress));
            self.sources.text(cut(format!("  {}: {words} …", self.label), self.columns));
            self.drawn = vec![0, self.sources.columns];
            return;
        }
        let columns = self.columns;
        let headline = self.headline.get_or_insert_with(|| Line::new(|bar| self.multi.insert(0, bar), ""));
        headline.text(cut(lines::headline(&self.label, progress), columns));
        self.show_files(progress);
        let name = format!(
            "{} of {}, {} %",
            progress.files_done,
            units::counted(u64::from(progress.files_total), "file"),
            units::percent(progress.bytes_done, progress.bytes_total)
        );
        self.total.bar(name, progress.bytes_done, progress.bytes_total, columns);
        self.sources.text(cut(self.sources_line(progress), columns));
        let below = [&self.total, &self.sources];
        let lines = self.headline.iter().chain(&self.files).chain(below);
        self.drawn = lines.map(|line| line.columns).collect();
    }

    fn show_files(&mut self, progress: &Progress) {
        let under_way = |file: &&FileProgress| file.done < file.size;
        let open: Vec<_> = progress.current.iter().filter(under_way).take(FILES_MAX).collect();
        while self.files.len() < open.len() {
            let above_total = |bar| self.multi.insert_before(&self.total.bar, bar);
            self.files.push(Line::new(above_total, self.file_paint));
        }
        let (name, _) = layout(self.columns);
        for (i, line) in self.files.iter_mut().enumerate() {
            match open.get(i) {
                Some(file) => {
                    line.bar(units::path_tail(&file.path, name), file.done, file.size, self.columns)
                }
                None => line.text(String::new()),
            }
        }
    }

    fn sources_line(&self, progress: &Progress) -> String {
        let left = progress.bytes_total.saturating_sub(progress.bytes_done);
        let mut parts = Vec::new();
        if progress.phase == Phase::Fetching {
            let rate = self.pace.done.rate();
            // Nothing comes because another process is at it.
            let waiting = super::outages::waiting(progress).filter(|_| rate.is_none_or(|rate| rate < 1.0));
            match waiting {
                Some(waiting) => parts.push(waiting),
                None => parts.extend(self.pace.down()),
            }
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

/// Rows that lines of so many columns take beyond one each, where the terminal has become so narrow that it broke them.
fn surplus(drawn: &[usize], columns: usize) -> usize {
    drawn.iter().map(|length| length.div_ceil(columns).max(1) - 1).sum()
}

/// One line of the picture: text, or a bar between name and figures. It is drawn once per picture, because the
/// texts are not properties of indicatif's bar, each of which would draw it again.
struct Line {
    bar: ProgressBar,
    texts: Arc<Mutex<Texts>>,
    paint: String,
    /// The style of a line with a bar, and of how many columns it is.
    with_bar: Option<(usize, ProgressStyle)>,
    /// Of how many columns it is now.
    columns: usize,
}

#[derive(Default)]
struct Texts {
    name: String,
    figures: String,
}

impl Line {
    /// A blank line. `add` puts it on the screen; `paint` is the bar's colour in indicatif's words.
    fn new(add: impl FnOnce(ProgressBar) -> ProgressBar, paint: &str) -> Self {
        let texts = Arc::new(Mutex::new(Texts::default()));
        let bar = add(ProgressBar::new(0).with_style(style(" ")));
        Self { bar, texts, paint: paint.to_owned(), with_bar: None, columns: 0 }
    }

    fn text(&mut self, text: String) {
        self.columns = text.chars().count();
        let texts = Arc::new(Mutex::new(Texts { name: text, figures: String::new() }));
        self.bar.set_style(style("{name}").with_key("name", key(&texts, |texts| &texts.name)));
        self.bar.tick();
    }

    fn bar(&mut self, name: String, done: u64, total: u64, columns: usize) {
        let figures = format!("{} of {}", units::bytes(done), units::bytes(total));
        *self.texts.lock().unwrap_or_else(PoisonError::into_inner) = Texts { name, figures };
        let (name_columns, has_bar) = layout(columns);
        self.columns = if has_bar { columns } else { 2 + name_columns + 1 + FIGURES_COLUMNS };
        if self.with_bar.as_ref().is_none_or(|(of, _)| *of != columns) {
            let bar = if has_bar { format!(" {{wide_bar:{}}}", self.paint) } else { String::new() };
            let style = style(&format!("  {{name:{name_columns}!}}{bar} {{figures:>{FIGURES_COLUMNS}}}"))
                .with_key("name", key(&self.texts, |texts| &texts.name))
                .with_key("figures", key(&self.texts, |texts| &texts.figures));
            self.with_bar = Some((columns, style));
        }
        let style = self.with_bar.as_ref().map(|(_, style)| style.clone());
        style.into_iter().for_each(|style| self.bar.set_style(style));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_the_terminal_is_wide() {
        for columns in 26..=300 {
            let (name, bar) = layout(columns);
            let least = 2 + name + 1 + FIGURES_COLUMNS + if bar { 1 + BAR_COLUMNS_MIN } else { 0 };
            assert!(least <= columns, "{columns}: {name} and {bar}");
        }
        assert_eq!([40, 60, 80, 200].map(layout), [(16, false), (27, true), (32, true), (32, true)]);
        // What was drawn at 200 columns, seen at 80: headline, two bars, figures.
        assert_eq!([200, 80, 60].map(|columns| surplus(&[26, 200, 200, 46], columns)), [0, 4, 6]);
        let cuts = ["abc", "abcd", "abcdef"].map(|text| cut(text.to_owned(), 4));
        assert_eq!(cuts, ["abc", "abcd", "abc…"]);
    }
}
