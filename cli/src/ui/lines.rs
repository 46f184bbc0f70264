//! Progress as plain lines, for logs and pipes: few enough to read, often enough to see that it lives.

use super::rate::Pace;
use super::units;
use std::collections::BTreeSet;
use std::time::Duration;
use zest_runtime_tokio::PulledFile;
use zest_runtime_tokio::{Phase, Progress};

/// Longest silence while bytes are fetched: 5 s.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Step of the total that is worth a line: 10 %.
const STEP_PERCENT: u64 = 10;

/// Turns pictures of a pull into the lines worth printing. Pure: the caller tells the time.
#[derive(Debug)]
pub(super) struct Lines {
    label: String,
    headline: bool,
    resumed: bool,
    last_line: Duration,
    last_step: u64,
    /// Files that were seen under way and have not landed.
    open: BTreeSet<String>,
    pace: Pace,
}

impl Lines {
    pub(super) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            headline: false,
            resumed: false,
            last_line: Duration::ZERO,
            last_step: 0,
            open: BTreeSet::new(),
            pace: Pace::default(),
        }
    }

    /// The lines to print for `progress`, seen `now` after the start, with the files that have `landed` since the last look.
    pub(super) fn show(&mut self, now: Duration, progress: &Progress, landed: &[PulledFile]) -> Vec<String> {
        let mut lines = Vec::new();
        self.pace.note(now, progress);
        if !self.headline && progress.files_total > 0 {
            self.headline = true;
            self.last_line = now;
            lines.push(headline(&self.label, progress));
        }
        let is_known = progress.bytes_done > 0 || progress.left_over > 0;
        if !self.resumed && progress.phase == Phase::Fetching && is_known {
            self.resumed = true;
            lines.extend(already_here(progress));
        }
        self.finished_files(progress, landed, &mut lines);

        let step = match progress.bytes_total {
            0 => 0,
            total => units::percent(progress.bytes_done, total) / STEP_PERCENT,
        };
        let late = now.saturating_sub(self.last_line) >= SILENCE_MAX;
        if progress.phase == Phase::Fetching && progress.bytes_total > 0 && (step > self.last_step || late) {
            lines.push(self.progress_line(progress));
        } else if late && progress.phase != Phase::Done {
            lines.push(format!("{}: {}", self.label, phase_words(progress)));
        }
        self.last_step = self.last_step.max(step);
        if !lines.is_empty() {
            self.last_line = now;
        }
        lines
    }

    /// Names the files that have landed, of those that took long enough to be seen under way.
    fn finished_files(&mut self, progress: &Progress, landed: &[PulledFile], lines: &mut Vec<String>) {
        self.open.extend(
            progress.current.iter().filter(|file| file.done < file.size).map(|file| file.path.clone()),
        );
        for file in landed.iter().filter(|file| self.open.remove(&file.path)) {
            let (name, size) = (units::path_tail(&file.path, 200), units::bytes(file.size));
            lines.push(format!("  done  {name} ({size})"));
        }
    }

    fn progress_line(&self, progress: &Progress) -> String {
        let left = progress.bytes_total.saturating_sub(progress.bytes_done);
        let mut line = format!(
            "{:>4} %  {} of {}",
            units::percent(progress.bytes_done, progress.bytes_total),
            units::bytes(progress.bytes_done),
            units::bytes(progress.bytes_total)
        );
        if let Some(rate) = self.pace.down() {
            line += &format!("  {rate}");
        }
        if let Some(time) = self.pace.done.time_left(left).filter(|_| left > 0) {
            line += &format!("  {} left", units::time_left(time));
        }
        if let Some(up) = self.pace.up() {
            line += &format!("  {up}");
        }
        line += &format!("  ({})", split(progress));
        line += &super::outages::waiting(progress).map(|words| format!("  {words}")).unwrap_or_default();
        line
    }
}

/// `lab/base: 8 files, 486.0 MB`.
pub(super) fn headline(label: &str, progress: &Progress) -> String {
    let files = units::counted(u64::from(progress.files_total), "file");
    format!("{label}: {files}, {}", units::bytes(progress.bytes_total))
}

/// What an earlier run or another program has left here, if anything.
pub(super) fn already_here(progress: &Progress) -> Option<String> {
    if progress.left_over > 0 {
        // Of what is here already a part may be of this, so both are not added up.
        let left = units::bytes(progress.left_over);
        return Some(format!("{left} of it lie here from an earlier run, and count once they are proven"));
    }
    let here = units::bytes(progress.from_disk);
    (progress.from_disk > 0).then(|| format!("{here} of it are here already"))
}

/// Where the bytes came from so far. Peers that are linked are not those that gave: some may have nothing that is missing.
pub(super) fn split(progress: &Progress) -> String {
    let mut text =
        format!("peers {}, CDN {}", units::bytes(progress.from_peers), units::bytes(progress.from_cdn));
    if progress.from_disk > 0 {
        text += &format!(", disk {}", units::bytes(progress.from_disk));
    }
    if progress.peers > 0 {
        text += &format!("; {} linked", units::counted(u64::from(progress.peers), "peer"));
    }
    text
}

/// The same in fewer and fewer words.
pub(super) fn shorter_splits(progress: &Progress) -> [String; 3] {
    let from = [("peers", progress.from_peers), ("CDN", progress.from_cdn), ("disk", progress.from_disk)];
    // Nothing from the disk is the usual case, and no word is lost on it.
    let from: Vec<_> = from.into_iter().filter(|(name, bytes)| *name != "disk" || *bytes > 0).collect();
    let total = from.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let percent = |bytes: u64| if bytes == 0 { 0 } else { units::percent(bytes, total) };
    let all = |words: &dyn Fn(&(&str, u64)) -> String, between: &str| {
        from.iter().map(words).collect::<Vec<_>>().join(between)
    };
    [
        all(&|(name, bytes)| format!("{name} {}", units::bytes(*bytes)), ", "),
        all(&|(name, bytes)| format!("{name} {} %", percent(*bytes)), ", "),
        all(&|(name, bytes)| format!("{name} {}%", percent(*bytes)), " "),
    ]
}

/// What goes on when no bytes do.
pub(super) fn phase_words(progress: &Progress) -> &'static str {
    match progress.phase {
        Phase::Listing => "asking the Hub for the file list",
        Phase::Checking => "looking at what is already on disk",
        Phase::Fetching => "fetching",
        Phase::Finishing => "finishing",
        Phase::Done => "done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_runtime_tokio::{FileProgress, How};

    const MB: u64 = 1_000_000;

    fn file(path: &str, done: u64) -> FileProgress {
        FileProgress { path: path.to_owned(), size: 50 * MB, done }
    }

    fn fetching(done: u64, files_done: u32, current: Vec<FileProgress>) -> Progress {
        Progress {
            phase: Phase::Fetching,
            files_total: 2,
            files_done,
            bytes_total: 100 * MB,
            bytes_done: done,
            from_peers: done,
            peers: 1,
            current,
            ..Progress::default()
        }
    }

    #[test]
    fn the_total_is_said_once_as_soon_as_it_is_known() {
        let mut lines = Lines::new("a/b");
        assert!(lines.show(Duration::ZERO, &Progress::default(), &[]).is_empty());
        assert_eq!(lines.show(Duration::ZERO, &fetching(0, 0, vec![]), &[]), ["a/b: 2 files, 100.0 MB"]);
        assert!(lines.show(Duration::ZERO, &fetching(0, 0, vec![]), &[]).is_empty());
    }

    #[test]
    fn every_tenth_part_gets_one_line_and_no_more() {
        let mut lines = Lines::new("a/b");
        let mut printed = 0;
        for i in 0..=1000 {
            printed += lines.show(Duration::from_millis(i), &fetching(i * MB / 10, 0, vec![]), &[]).len();
        }
        assert_eq!(printed, 1 + 10, "the headline and ten steps");
    }

    #[test]
    fn a_slow_pull_speaks_every_five_seconds() {
        let mut lines = Lines::new("a/b");
        lines.show(Duration::ZERO, &fetching(0, 0, vec![]), &[]);
        let count = (1..=60)
            .map(|s| lines.show(Duration::from_secs(s), &fetching(s * 1000, 0, vec![]), &[]).len())
            .sum::<usize>();
        assert_eq!(count, 12);
    }

    #[test]
    fn each_finished_file_is_named_once() {
        let mut lines = Lines::new("a/b");
        lines.show(Duration::ZERO, &fetching(0, 0, vec![file("one.bin", 0), file("two.bin", 0)]), &[]);
        let landed = |path: &str| PulledFile { path: path.to_owned(), size: 50 * MB, how: How::Chunks };
        let now = fetching(5, 1, vec![file("one.bin", 50 * MB), file("two.bin", 5)]);
        let second = lines.show(Duration::ZERO, &now, &[landed("one.bin"), landed("small.json")]);
        assert_eq!(second, ["  done  one.bin (50.0 MB)"]);
        assert!(lines.show(Duration::ZERO, &fetching(5, 1, vec![file("two.bin", 5)]), &[]).is_empty());
    }

    #[test]
    fn a_file_that_leaves_the_list_without_having_landed_is_not_called_done() {
        let mut lines = Lines::new("a/b");
        lines.show(Duration::ZERO, &fetching(0, 1, vec![file("one.bin", 7)]), &[]);
        // Ctrl-C: what was under way is so no longer.
        assert!(lines.show(Duration::ZERO, &fetching(7, 1, vec![]), &[]).is_empty());
    }

    #[test]
    fn what_is_here_already_is_said_once() {
        let mut lines = Lines::new("a/b");
        let mut now = fetching(40 * MB, 0, vec![]);
        now.from_disk = 40 * MB;
        let said = lines.show(Duration::ZERO, &now, &[]);
        assert!(said.contains(&"40.0 MB of it are here already".to_owned()), "{said:?}");
        assert!(lines.show(Duration::ZERO, &now, &[]).is_empty());
    }

    #[test]
    fn what_an_earlier_run_left_is_said_as_a_whole_before_it_is_proven() {
        let mut lines = Lines::new("a/b");
        let mut now = fetching(600_000, 0, vec![]);
        (now.from_disk, now.left_over) = (600_000, 80 * MB);
        let said = lines.show(Duration::ZERO, &now, &[]);
        let words = "80.0 MB of it lie here from an earlier run, and count once they are proven";
        assert!(said.contains(&words.to_owned()), "{said:?}");
        assert!(!said.iter().any(|line| line.contains("600.0 kB of it")), "{said:?}");
        assert!(lines.show(Duration::ZERO, &now, &[]).is_empty());
    }

    #[test]
    fn a_progress_line_has_rate_time_left_and_sources() {
        let mut lines = Lines::new("a/b");
        lines.show(Duration::ZERO, &fetching(0, 0, vec![]), &[]);
        let line = lines.show(Duration::from_secs(1), &fetching(25 * MB, 0, vec![]), &[]).remove(0);
        assert_eq!(
            line,
            "  25 %  25.0 MB of 100.0 MB  25 MB/s  3 s left  (peers 25.0 MB, CDN 0 B; 1 peer linked)"
        );
    }

    #[test]
    fn who_is_waited_for_and_how_long_stands_where_nothing_moves() {
        let mut lines = Lines::new("a/b");
        let mut now = fetching(0, 0, vec![]);
        lines.show(Duration::ZERO, &now, &[]);
        let who = "process 42 (hf) of alice (uid 1001), running for 3 min".to_owned();
        now.waiting = vec![zest_runtime_tokio::FileWait { path: "one.bin".to_owned(), who, seconds: 14 }];
        let line = lines.show(Duration::from_secs(5), &now, &[]).remove(0);
        assert!(
            line.ends_with("waiting for 14 s for process 42 (hf) of alice (uid 1001), running for 3 min"),
            "{line}"
        );
    }

    #[test]
    fn a_hub_that_takes_its_time_is_mentioned() {
        let mut lines = Lines::new("a/b");
        assert!(lines.show(Duration::from_secs(4), &Progress::default(), &[]).is_empty());
        let late = lines.show(Duration::from_secs(5), &Progress::default(), &[]);
        assert_eq!(late, ["a/b: asking the Hub for the file list"]);
    }
}
