//! How fast it goes, measured over the last few seconds.

use super::units;
use std::collections::VecDeque;
use std::time::Duration;
use zest_runtime_tokio::{Phase, Progress};

/// Span the rate is averaged over: 5 s, calm enough to read and quick enough to show a stall.
const WINDOW: Duration = Duration::from_secs(5);

/// At the beginning the time before the first bytes counts, as it does at the end, but no more of it than this: 1 s.
const BEFORE: Duration = Duration::from_secs(1);

/// What came over the line is said beside what it is unpacked where they differ by more than this part: 3 %.
const DIFFERS: f64 = 0.03;

/// While nothing came for so long nobody knows how long the rest takes: 3 s.
const STILL: Duration = Duration::from_secs(3);

/// Longest time that is promised: 48 h. What is said to take longer stands still.
const PROMISED_MAX: Duration = Duration::from_secs(48 * 3600);

/// Bound of the sample list: with one look per 100 ms the window holds 51.
const SAMPLES_MAX: usize = 128;

/// Averages the bytes a pull has in place over [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    samples: VecDeque<(Duration, u64)>,
}

/// What a pull shows of its pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes that come into place.
    pub(super) done: RateMeter,
    /// Bytes given to peers.
    pub(super) given: RateMeter,
    /// Bytes that were fetched, unpacked, and the same as they came over the line.
    fetched: RateMeter,
    received: RateMeter,
}

impl Pace {
    /// Takes a sample `now` after the start, once bytes move: what was found on disk before is no speed.
    pub(super) fn note(&mut self, now: Duration, progress: &Progress) {
        if matches!(progress.phase, Phase::Fetching | Phase::Finishing) {
            if self.done.samples.is_empty() {
                let fetched = progress.from_peers + progress.from_cdn;
                let before = now.saturating_sub(BEFORE);
                self.done.add(before, progress.bytes_done.saturating_sub(fetched));
                self.fetched.add(before, 0);
                self.received.add(before, 0);
            }
            self.done.add(now, progress.bytes_done);
            self.fetched.add(now, progress.from_peers + progress.from_cdn);
            self.received.add(now, progress.received);
            self.given.add(now, progress.given);
        }
    }

    /// `112 MB/s`; where what came was compressed `112 MB/s (100 MB/s received)`, which is what a cap is on.
    pub(super) fn down(&self) -> Option<String> {
        let rate = self.done.rate()?;
        // What comes from this disk is no part of it.
        let fetched = self.fetched.rate().unwrap_or(0.0);
        let received = self.received.rate().filter(|received| *received >= 1.0);
        let differs = received.filter(|received| (fetched - received).abs() > DIFFERS * fetched);
        Some(match differs {
            Some(received) => format!("{} ({} received)", units::rate(rate), units::rate(received)),
            None => units::rate(rate),
        })
    }

    /// `4.2 MB/s up`, while something is given.
    pub(super) fn up(&self) -> Option<String> {
        let rate = self.given.rate().filter(|rate| *rate >= 1.0)?;
        Some(format!("{} up", units::rate(rate)))
    }
}

impl RateMeter {
    /// `now` must not go back.
    fn add(&mut self, now: Duration, bytes: u64) {
        self.samples.push_back((now, bytes));
        while self.samples.len() > SAMPLES_MAX
            || self.samples.get(1).is_some_and(|&(second, _)| now.saturating_sub(second) >= WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// Bytes per second over the window; `None` before there is a span to measure.
    pub(super) fn rate(&self) -> Option<f64> {
        let (&(from, before), &(to, after)) = (self.samples.front()?, self.samples.back()?);
        let span = to.saturating_sub(from).as_secs_f64();
        (span > 0.0).then(|| after.saturating_sub(before) as f64 / span)
    }

    /// Time until `left` more bytes are done; `None` while nothing moves, or next to nothing.
    pub(super) fn time_left(&self, left: u64) -> Option<Duration> {
        let (&(_, before), &(now, after)) = (self.samples.front()?, self.samples.back()?);
        let came = self.samples.iter().find(|&&(_, bytes)| bytes == after).filter(|_| after > before)?;
        if now.saturating_sub(came.0) >= STILL {
            return None;
        }
        let rate = self.rate().filter(|&rate| rate >= 1.0)?;
        Duration::try_from_secs_f64(left as f64 / rate).ok().filter(|left| *left <= PROMISED_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn the_rate_forgets_what_is_older_than_the_window() {
        let mut meter = RateMeter::default();
        meter.add(seconds(0), 0);
        assert_eq!(meter.rate(), None);
        meter.add(seconds(1), 1000);
        assert_eq!(meter.rate(), Some(1000.0));
        for s in 2..=20 {
            meter.add(seconds(s), 1000);
        }
        assert_eq!(meter.rate(), Some(0.0));
        assert_eq!(meter.time_left(5), None, "a stall has no end in sight");
    }

    #[test]
    fn time_left_follows_the_rate() {
        let mut meter = RateMeter::default();
        meter.add(seconds(0), 0);
        meter.add(seconds(2), 200);
        assert_eq!(meter.time_left(1000), Some(seconds(10)));
    }

    #[test]
    fn a_pull_that_stands_still_promises_no_time() {
        let mut meter = RateMeter::default();
        meter.add(seconds(0), 0);
        meter.add(seconds(1), 700_000);
        assert_eq!(meter.time_left(2_100_000), Some(seconds(3)));
        meter.add(seconds(3), 700_000);
        assert_eq!(meter.time_left(2_100_000), Some(seconds(9)), "a moment is no stall");
        meter.add(seconds(4), 700_000);
        assert_eq!(meter.time_left(2_100_000), None, "nothing came for three seconds");
        // A small file now and then, of a model of 2 GB: 4,000 hours.
        for second in 5..=20 {
            meter.add(seconds(second), 700_000 + second * 140);
        }
        assert_eq!(meter.rate(), Some(140.0));
        assert_eq!(meter.time_left(2_000_000_000), None);
        assert_eq!(meter.time_left(14_000), Some(seconds(100)));
    }

    #[test]
    fn what_is_found_on_disk_before_fetching_is_no_speed() {
        let mut meter = Pace::default();
        meter.note(seconds(0), &Progress { phase: Phase::Checking, ..Progress::default() });
        let fetching = Progress { phase: Phase::Fetching, bytes_done: 1_000_000, ..Progress::default() };
        meter.note(seconds(1), &fetching);
        meter.note(seconds(2), &fetching);
        assert_eq!(meter.done.rate(), Some(0.0));
        assert_eq!(meter.up(), None);
        meter.note(seconds(3), &Progress { given: 6_000_000, ..fetching });
        assert_eq!(meter.up().as_deref(), Some("3.0 MB/s up"));
    }

    #[test]
    fn the_rate_while_a_short_pull_runs_is_the_one_that_it_ends_with() {
        let mut meter = Pace::default();
        let at = |from_cdn| Progress {
            phase: Phase::Fetching,
            bytes_done: from_cdn,
            from_cdn,
            ..Progress::default()
        };
        // Much has come by the first look; then it takes its time.
        meter.note(Duration::from_millis(200), &at(100_000_000));
        meter.note(Duration::from_millis(400), &at(160_000_000));
        meter.note(seconds(1), &at(176_000_000));
        assert_eq!(meter.down().as_deref(), Some("176 MB/s"));
    }

    #[test]
    fn under_a_cap_it_is_said_what_came_over_the_line() {
        let mut meter = Pace::default();
        for second in 0..=4 {
            let from_cdn = second * 112_000_000;
            let received = second * 100_000_000;
            let progress = Progress {
                phase: Phase::Fetching,
                bytes_done: from_cdn,
                from_cdn,
                received,
                ..Progress::default()
            };
            meter.note(seconds(second), &progress);
        }
        assert_eq!(meter.down().as_deref(), Some("112 MB/s (100 MB/s received)"));
    }

    #[test]
    fn what_comes_from_this_disk_is_not_compared_with_what_was_received() {
        let mut meter = Pace::default();
        for second in 0..=4 {
            let progress = Progress {
                phase: Phase::Fetching,
                bytes_done: second * 200_000_000 + 11,
                from_disk: second * 200_000_000,
                from_cdn: 11,
                received: 11,
                ..Progress::default()
            };
            meter.note(seconds(second), &progress);
        }
        assert_eq!(meter.down().as_deref(), Some("200 MB/s"));
    }

    #[test]
    fn samples_are_bounded() {
        let mut meter = RateMeter::default();
        for i in 0..10_000 {
            meter.add(Duration::from_micros(i), i);
        }
        assert!(meter.samples.len() <= SAMPLES_MAX);
    }
}
