//! A token bucket: so many packets a second on average, so many at once.

use crate::node::rng::Rng;
use crate::{Duration, Instant};

/// What a thousandth of a packet is worth here: levels are kept in millipackets, so that slow rates lose nothing.
const MILLI: i64 = 1000;

/// A budget of packets. Never more than `rate × t + burst` in any time t; what turned out dearer than estimated
/// ([`Bucket::correct`]) is paid back before anything else is granted.
#[derive(Debug, Clone)]
pub struct Bucket {
    milli_per_s: i64,
    burst_milli: i64,
    level_milli: i64,
    at: Instant,
    /// Microseconds × millipackets that did not make a whole millipacket yet.
    rest: i64,
}

impl Bucket {
    /// A full bucket.
    ///
    /// # Panics
    /// If rate or burst is 0: nothing would ever pass.
    #[must_use]
    pub fn new(now: Instant, milli_per_s: u32, burst: u32) -> Self {
        assert!(milli_per_s > 0 && burst > 0, "a budget lets something pass");
        let burst_milli = i64::from(burst) * MILLI;
        Self { milli_per_s: milli_per_s.into(), burst_milli, level_milli: burst_milli, at: now, rest: 0 }
    }

    /// Takes `packets` out if they are there.
    #[must_use]
    pub fn take(&mut self, now: Instant, packets: u32) -> bool {
        self.fill(now);
        let cost = self.cost(packets);
        if self.level_milli < cost {
            return false;
        }
        self.level_milli -= cost;
        true
    }

    /// When [`Bucket::take`] of so many will succeed, if nothing else is taken before.
    #[must_use]
    pub fn ready_at(&mut self, now: Instant, packets: u32) -> Instant {
        self.fill(now);
        let lacking = self.cost(packets) - self.level_milli;
        if lacking <= 0 {
            return now;
        }
        let micros = (lacking * 1_000_000 - self.rest).div_euclid(self.milli_per_s) + 1;
        self.at + Duration::from_micros(micros.max(1).unsigned_abs())
    }

    /// Something cost `actual` packets, not `estimate`. The debt is bounded by one burst.
    pub fn correct(&mut self, estimate: u32, actual: u32) {
        let off = (i64::from(actual) - i64::from(estimate)) * MILLI;
        self.level_milli = (self.level_milli - off).clamp(-self.burst_milli, self.burst_milli);
    }

    /// What so many packets cost: never more than a burst, or they would wait for ever.
    fn cost(&self, packets: u32) -> i64 {
        (i64::from(packets) * MILLI).min(self.burst_milli)
    }

    fn fill(&mut self, now: Instant) {
        // A clock that jumped back gives nothing; one that jumped ahead fills the bucket and no more.
        let micros = now.since(self.at).as_micros().min(1 << 40) as i64;
        self.at = self.at.max(now);
        let grown = micros * self.milli_per_s + self.rest;
        self.level_milli = (self.level_milli + grown / 1_000_000).min(self.burst_milli);
        self.rest = if self.level_milli == self.burst_milli { 0 } else { grown % 1_000_000 };
    }
}

/// A random time below `span`, so that what began together does not go on together.
pub(crate) fn jitter(rng: &mut Rng, span: Duration) -> Duration {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(((u128::from(micros) * u128::from(rng.u32())) >> 32) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(Instant(0), 2_000, 4);
        assert!((0..4).all(|_| bucket.take(Instant(0), 1)));
        assert!(!bucket.take(Instant(0), 1));
        let ready = bucket.ready_at(Instant(0), 1);
        assert!(!bucket.clone().take(Instant(ready.0 - 2), 1), "not before it said");
        assert!(bucket.take(ready, 1));
        assert!((500_000..500_003).contains(&ready.0), "{ready:?}");
    }

    #[test]
    fn slow_rates_lose_nothing_however_often_they_are_asked() {
        let mut bucket = Bucket::new(Instant(0), 7, 1);
        assert!(bucket.take(Instant(0), 1));
        let passed =
            (1..=1_000 * 1_000u64).step_by(13).filter(|ms| bucket.take(Instant(ms * 1000), 1)).count();
        assert_eq!(passed, 6, "1,000 s at 7 in 1,000 s, the last one just not there");
    }

    #[test]
    fn a_jump_of_the_clock_gives_one_burst_at_most() {
        let mut bucket = Bucket::new(Instant(100 * S), 1_000, 3);
        assert!(bucket.take(Instant(100 * S), 3));
        assert!(!bucket.take(Instant(0), 1), "back: nothing");
        assert!(bucket.take(Instant(u64::MAX), 3));
        assert!(!bucket.take(Instant(u64::MAX), 1));
    }

    #[test]
    fn debts_are_paid_and_bounded_and_the_dearest_thing_still_passes() {
        let mut bucket = Bucket::new(Instant(0), 1_000, 10);
        assert!(bucket.take(Instant(0), 5));
        bucket.correct(5, 1_000_000);
        assert_eq!(bucket.ready_at(Instant(0), 1).0.div_ceil(S), 12, "ten of debt, one to take");
        assert!(bucket.take(Instant(40 * S), 1_000), "more than a burst costs a burst");
    }
}
