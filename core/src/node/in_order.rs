//! How many blocks of a file are fetched at once while somebody reads it as it comes.
//!
//! As long as a file's chunks are known to nobody, a block is proven once it is whole: where several share a line, all of them are late.
//! So they come one after the other. An origin that gives each connection so much and no more brings more by several at once: that is tried
//! as soon as what comes does not rise by itself any more, and stays where it brings two fifths more of what they brought.

use crate::{Duration, Instant};

/// From so many at once on their order is of no use, and there are as many as usual: 8. Ours; as [`super::Config::origin_fetches_max`].
const IN_ORDER_MAX: u32 = 8;
/// What comes is still rising if a measurement is a quarter more than the one before. Ours; TCP begins with doubling.
const RISING: (u64, u64) = (5, 4);
/// Twice as many are worth it if two fifths more comes. Ours; as where nobody reads.
const WORTH: (u64, u64) = (7, 5);
/// Where more brought nothing that is tried again after 15 s. Ours; it costs the reader half a second.
const HOLD: Duration = Duration::from_secs(15);

/// The number, and what is known of it.
#[derive(Debug)]
pub(crate) struct InOrder {
    at_once: u32,
    /// While more are tried: how many there were, and bytes/s that have to come for more to be worth it.
    fewer: Option<(u32, u64)>,
    /// Bytes since then.
    bytes: u64,
    since: Instant,
    /// Bytes/s of the measurement before, of as many.
    before: Option<u64>,
    hold: Instant,
}

impl InOrder {
    pub(crate) fn new() -> Self {
        let zero = Instant::ZERO;
        Self { at_once: 1, fewer: None, bytes: 0, since: zero, before: None, hold: zero }
    }

    /// Blocks of one file that may be under way at once; none: as many as usual.
    pub(crate) fn at_once(&self) -> Option<u32> {
        (self.at_once < IN_ORDER_MAX).then_some(self.at_once)
    }

    /// So many bytes came from the origin.
    pub(crate) fn came(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Takes in a measurement: so many blocks of the one file are under way, and there are more of them. Says whether some are too many.
    pub(crate) fn measure(&mut self, now: Instant, active: u32, more: bool) -> bool {
        let (bytes, since) = (core::mem::take(&mut self.bytes), core::mem::replace(&mut self.since, now));
        if active < self.at_once || !more {
            // What they bring says nothing of what more would.
            self.before = None;
            if let Some((fewer, _)) = self.fewer.take() {
                self.at_once = fewer;
            }
            return false;
        }
        let rate = bytes.saturating_mul(1_000_000) / (now.since(since).as_micros() as u64).max(1);
        let rises = |before: u64| rate.saturating_mul(RISING.1) > before.saturating_mul(RISING.0);
        if self.before.replace(rate).is_none_or(rises) || rate == 0 {
            return false;
        }
        match self.fewer.take() {
            Some((fewer, wanted)) if rate < wanted => {
                (self.at_once, self.hold, self.before) = (fewer, now + HOLD, None);
                true
            }
            _ if now >= self.hold && self.at_once < IN_ORDER_MAX => {
                self.fewer = Some((self.at_once, rate.saturating_mul(WORTH.0) / WORTH.1));
                (self.at_once, self.before) = (2 * self.at_once, None);
                false
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an origin gives: bytes/s by the number of streams and the time. Says how often there were too many.
    fn play(in_order: &mut InOrder, from_ms: u64, ms: u64, gives: impl Fn(u32, u64) -> u64) -> u32 {
        let mut too_many = 0;
        for now in (from_ms..from_ms + ms).step_by(250) {
            let active = in_order.at_once().unwrap_or(IN_ORDER_MAX);
            in_order.came(gives(active, now) / 4);
            too_many += u32::from(in_order.measure(Instant(now * 1000), active, true));
        }
        too_many
    }

    #[test]
    fn what_shares_a_line_comes_one_after_the_other() {
        let mut in_order = InOrder::new();
        assert_eq!(play(&mut in_order, 1000, 10_000, |_, _| 50_000_000), 1, "one try");
        assert_eq!(in_order.at_once(), Some(1));
        assert_eq!(play(&mut in_order, 11_000, 60_000, |_, _| 50_000_000), 4, "one in a quarter of a minute");
    }

    #[test]
    fn where_each_connection_is_given_little_there_are_soon_as_many_as_usual() {
        let mut in_order = InOrder::new();
        assert_eq!(play(&mut in_order, 1000, 2500, |streams, _| u64::from(streams) * 10_000_000), 0);
        assert_eq!(in_order.at_once(), None);
        let mut in_order = InOrder::new();
        play(&mut in_order, 1000, 5000, |streams, _| u64::from(streams.min(2)) * 10_000_000);
        assert_eq!(in_order.at_once(), Some(2), "a line that two fill");
    }

    #[test]
    fn a_stream_that_gets_going_is_not_taken_for_a_gain() {
        let mut in_order = InOrder::new();
        let slow_start = |_, ms: u64| 50_000_000.min(1_000_000 << ((ms - 1000) / 250));
        play(&mut in_order, 1000, 6000, slow_start);
        assert_eq!(in_order.at_once(), Some(1));
    }

    #[test]
    fn what_does_not_come_says_nothing() {
        let mut in_order = InOrder::new();
        assert_eq!(play(&mut in_order, 1000, 10_000, |_, _| 0), 0);
        assert_eq!(in_order.at_once(), Some(1));
        in_order.came(10_000_000);
        assert!(
            !in_order.measure(Instant(20_000_000), 0, true)
                && !in_order.measure(Instant(20_250_000), 1, false)
        );
        assert_eq!(in_order.at_once(), Some(1));
    }
}
