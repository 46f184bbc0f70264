//! Progress as bars on a terminal: what is under way, the total, and where the bytes come from.

use super::fold::{BETWEEN, cut, fit, width};
use super::outages::Outages;
use super::rate::Pace;
use super::{lines, units};
use std::time::Duration;
use zest_runtime_tokio::{FileProgress, Phase, Progress};

/// Files shown at once: 4. More would push away what was on the screen before.
const FILES_MAX: usize = 4;

/// Files whose names others have to differ from: 64. Ours.
const SEEN_MAX: usize = 64;

/// Columns of a file's name at most; the rest of the line is for its bar and figures.
const NAME_COLUMNS: usize = 32;
/// And at least, where there is a bar beside it: 12. Ours.
const NAME_COLUMNS_MIN: usize = 12;
/// Columns of the figures, `123.4 MB of 567.8 MB`.
const FIGURES_COLUMNS: usize = 21;
/// A bar is worth drawing from so many columns on: 8. Ours.
const BAR_COLUMNS_MIN: usize = 8;
/// Below so many columns where bytes come from has a line of its own: 79, as one of 80 stays free. Ours.
const ONE_LINE_COLUMNS: usize = 79;
/// A line that a file has left stays blank for so long, as the next one comes soon: 1 s. Ours.
const BLANK: Duration = Duration::from_secs(1);
/// Colours of bars (SGR codes): of a file, of all, of what is not there yet.
const CYAN: u8 = 36;
const GREEN: u8 = 32;
const GREY: u8 = 90;
/// Where nobody knows how wide the terminal is.
const COLUMNS: usize = 80;

/// How wide the terminal is now: it may be resized at any time.
pub(super) fn columns() -> usize {
    crate::os::terminal_columns().filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Columns of the name in a line of so many, and whether a bar has room beside it: no line may be broken by the terminal.
fn layout(columns: usize) -> (usize, bool) {
    let rest = columns.saturating_sub(2 + 1 + FIGURES_COLUMNS);
    match rest.checked_sub(1 + BAR_COLUMNS_MIN).filter(|name| *name >= NAME_COLUMNS_MIN) {
        Some(name) => (name.min(NAME_COLUMNS), true),
        None => (rest.clamp(1, NAME_COLUMNS), false),
    }
}

/// The bars of one pull.
pub(super) struct Bars {
    label: String,
    colour: bool,
    /// Lines of files: one that is free is blank for [`BLANK`], so that the screen does not jump.
    slots: usize,
    /// When the last of them was taken.
    filled: Duration,
    pace: Pace,
    /// Files that were shown: a name stays as it is when those that it must differ from are done.
    seen: Vec<String>,
}

impl Bars {
    pub(super) fn new(colour: bool, label: &str) -> Self {
        Self {
            label: label.to_owned(),
            colour,
            slots: 0,
            filled: Duration::ZERO,
            pace: Pace::default(),
            seen: Vec::new(),
        }
    }

    /// The picture of `progress`, seen `now` after the start, in lines of so many columns at most.
    pub(super) fn lines(&mut self, now: Duration, progress: &Progress, columns: usize) -> Vec<String> {
        self.pace.note(now, progress);
        if progress.files_total == 0 {
            let words = Outages::present(progress);
            let words = words.as_deref().unwrap_or_else(|| lines::phase_words(progress));
            return vec![cut(format!("  {}: {words} …", self.label), columns)];
        }
        let mut lines = vec![cut(lines::headline(&self.label, progress), columns)];
        let under_way = |file: &&FileProgress| file.done < file.size;
        let (name, _) = layout(columns);
        let open: Vec<&FileProgress> = progress.current.iter().filter(under_way).take(FILES_MAX).collect();
        for file in &open {
            if self.seen.len() < SEEN_MAX && !self.seen.contains(&file.path) {
                self.seen.push(file.path.clone());
            }
        }
        let others = self.seen.iter().filter(|path| open.iter().all(|file| file.path != **path));
        let paths: Vec<&str> = open.iter().map(|file| &file.path).chain(others).map(String::as_str).collect();
        let names = units::path_names(&paths, name);
        lines.extend(
            std::iter::zip(open, names)
                .map(|(file, name)| self.bar(name, file.done, file.size, columns, CYAN)),
        );
        let taken = lines.len() - 1;
        if taken >= self.slots || now.saturating_sub(self.filled) >= BLANK {
            (self.slots, self.filled) = (taken, now);
        }
        lines.resize(1 + self.slots, String::new());
        let (done, total) = (progress.bytes_done, progress.bytes_total);
        let percent = units::percent(done, total);
        let files = units::counted(u64::from(progress.files_total), "file");
        let mut words = format!("{} of {files}, {percent} %", progress.files_done);
        if words.chars().count() > name {
            words = format!("{percent} %, {} of {}", progress.files_done, progress.files_total);
        }
        lines.push(self.bar(words, done, total, columns, GREEN));
        let (room, figures) = (columns.saturating_sub(2), self.figures(progress));
        let rows = match columns < ONE_LINE_COLUMNS {
            true => vec![fit(&figures, room), sources(&[], progress, room)],
            false => {
                let least = sources(&[], progress, 0);
                let head = fit(&figures, room.saturating_sub(width(BETWEEN) + width(&least)));
                vec![sources(&[head], progress, room)]
            }
        };
        lines.extend(rows.into_iter().map(|row| format!("  {row}")));
        lines
    }

    /// A bar between a name and figures.
    fn bar(&self, name: String, done: u64, total: u64, columns: usize, paint: u8) -> String {
        let figures = format!("{} of {}", units::bytes(done), units::bytes(total));
        let (name_columns, has_bar) = layout(columns);
        let name = cut(name, name_columns);
        let mut line = format!("  {name:name_columns$} ");
        if has_bar {
            let width = columns.saturating_sub(2 + name_columns + 1 + 1 + FIGURES_COLUMNS);
            let share = if total == 0 { 1.0 } else { done as f64 / total as f64 };
            let filled = ((width as f64 * share) as usize).min(width);
            let (filled, rest) = ("━".repeat(filled), "─".repeat(width - filled));
            line += &match self.colour {
                true => format!("\u{1b}[{paint}m{filled}\u{1b}[{GREY}m{rest}\u{1b}[0m "),
                false => format!("{filled}{rest} "),
            };
        }
        line + &format!("{figures:>FIGURES_COLUMNS$}")
    }

    /// How fast and how long, what matters most first.
    fn figures(&self, progress: &Progress) -> Vec<String> {
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
        parts.extend(Outages::present(progress));
        parts
    }
}

/// Where bytes come from, behind what stands before it, in the most words that have room.
fn sources(before: &[String], progress: &Progress, room: usize) -> String {
    let ways = std::iter::once(lines::split(progress)).chain(lines::shorter_splits(progress));
    let whole = |words| before.iter().cloned().chain([words]).collect::<Vec<_>>().join(BETWEEN);
    let mut shortest = String::new();
    for line in ways.map(whole) {
        if width(&line) <= room {
            return line;
        }
        shortest = line;
    }
    shortest
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
        let cuts = ["abc", "abcd", "abcdef"].map(|text| cut(text.to_owned(), 4));
        assert_eq!(cuts, ["abc", "abcd", "abc…"]);
    }

    #[test]
    fn each_shard_has_a_name_of_its_own_also_once_it_is_the_last() {
        let file =
            |i: u32| FileProgress { path: format!("model-0000{i}-of-00003.safetensors"), done: 1, size: 9 };
        let mut now =
            Progress { files_total: 3, bytes_total: 27, phase: Phase::Fetching, ..Progress::default() };
        let mut bars = Bars::new(false, "org/name");
        now.current = vec![file(1), file(2), file(3)];
        let lines = bars.lines(Duration::from_secs(1), &now, 40);
        assert!(lines[1].starts_with("  model-00001… "), "{lines:#?}");
        assert!(lines[3].starts_with("  model-00003… "), "{lines:#?}");
        now.current = vec![file(3)];
        let lines = bars.lines(Duration::from_secs(2), &now, 40);
        assert!(lines[1].starts_with("  model-00003… "), "{lines:#?}");
    }

    #[test]
    fn a_picture_fits_and_keeps_its_height() {
        let file =
            |done| FileProgress { path: "a/rather/long/name.safetensors".to_owned(), done, size: 1_000_000 };
        let mut now = Progress { files_total: 3, bytes_total: 3_000_000, ..Progress::default() };
        now.phase = Phase::Fetching;
        let mut bars = Bars::new(false, "org/name");
        let heights = [vec![file(1), file(500_000)], vec![file(999_999)], vec![]].map(|current| {
            now.bytes_done += 400_000;
            now.current = current;
            [39, 59, 79, 199].map(|columns| {
                let lines = bars.lines(Duration::from_secs(1), &now, columns);
                let widest = lines.iter().map(|line| line.chars().count()).max();
                assert!(widest.is_some_and(|widest| widest <= columns), "{columns}: {lines:#?}");
                lines.len()
            })
        });
        assert_eq!(heights, [[6, 6, 5, 5]; 3]);
        let total = |columns| bars.lines(Duration::from_millis(1500), &now, columns)[3].clone();
        let mut total = total;
        assert!(total(40).contains("40 %, 0 of 3"), "{}", total(40));
        assert!(total(80).contains("0 of 3 files, 40 %") && total(80).contains("━─"), "{}", total(80));
    }

    #[test]
    fn a_line_that_no_file_takes_any_more_goes() {
        let file = |path: &str| FileProgress { path: path.to_owned(), done: 1, size: 9 };
        let mut now = Progress { files_total: 3, bytes_total: 27, ..Progress::default() };
        now.phase = Phase::Fetching;
        let mut bars = Bars::new(false, "org/name");
        let mut rows = |millis, files: &[&str]| {
            now.current = files.iter().map(|path| file(path)).collect();
            let lines = bars.lines(Duration::from_millis(millis), &now, 79);
            (lines.len(), lines.iter().filter(|line| line.is_empty()).count())
        };
        assert_eq!(rows(0, &["a", "b"]), (5, 0));
        assert_eq!(rows(5000, &["a", "b"]), (5, 0));
        assert_eq!(rows(5100, &["b"]), (5, 1), "another one may come soon");
        assert_eq!(rows(5500, &["b", "c"]), (5, 0));
        assert_eq!(rows(6400, &["c"]), (5, 1));
        assert_eq!(rows(6500, &["c"]), (4, 0));
        assert_eq!(rows(6600, &["c", "d"]), (5, 0));
    }

    #[test]
    fn every_width_says_what_came_from_each_source() {
        let mut now = Progress { files_total: 12, bytes_total: 4_000_000_000, ..Progress::default() };
        now.phase = Phase::Fetching;
        let mut bars = Bars::new(false, "org/name");
        bars.lines(Duration::from_secs(1), &now, 79);
        (now.bytes_done, now.from_peers, now.from_cdn) = (600_000_000, 450_000_000, 150_000_000);
        (now.peers, now.given) = (12, 40_000_000);
        let mut said = |columns, from_disk| {
            now.from_disk = from_disk;
            let lines = bars.lines(Duration::from_secs(2), &now, columns);
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            lines[2..].to_vec()
        };
        assert_eq!(
            said(199, 0),
            ["  300 MB/s · 12 s left · 40 MB/s up · peers 450.0 MB, CDN 150.0 MB; 12 peers linked"]
        );
        assert_eq!(said(79, 0), ["  300 MB/s · 12 s left · 40 MB/s up · peers 450.0 MB, CDN 150.0 MB"]);
        assert_eq!(
            said(59, 0),
            ["  300 MB/s · 12 s left · 40 MB/s up", "  peers 450.0 MB, CDN 150.0 MB; 12 peers linked"]
        );
        assert_eq!(said(39, 0), ["  300 MB/s · 12 s left · 40 MB/s up", "  peers 450.0 MB, CDN 150.0 MB"]);
        assert_eq!(
            said(39, 200_000_000),
            ["  300 MB/s · 12 s left · 40 MB/s up", "  peers 56 %, CDN 18 %, disk 25 %"]
        );
        assert_eq!(said(30, 200_000_000)[1], "  peers 56% CDN 18% disk 25%");
        assert_eq!(
            said(79, 200_000_000)[0],
            "  300 MB/s · 12 s left · 40 MB/s up · peers 56 %, CDN 18 %, disk 25 %"
        );
    }
}
