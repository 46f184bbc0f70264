//! How many streams the origin is asked for at once.
//!
//! An origin that gives each connection so much gives more to more of them; one whose line is full, or ours, does not. So their number
//! is doubled while that raises the total, and goes back where it did not. The total is what comes from everywhere: a stream more that
//! only takes away what a peer would have brought from the same origin is worth nothing. Beside others who fetch the same it begins
//! with few: their streams are ours as well, if the line has room for them.

use crate::{Duration, Instant};

/// Streams of the origin at once, at most: 64. Ours; with 10 MB/s a connection that is 640 MB/s.
pub const STREAMS_MAX: u32 = 64;
/// And to begin with, beside others who fetch the same: 2. Ours; as in a crowd.
const STREAMS_SHARED: u32 = 2;
/// A number of streams is measured for so long: 1 s. Ours; four measurements.
const WINDOW: Duration = Duration::from_secs(1);
/// New streams have so long to get going before they are measured: 500 ms. Ours; the first byte of a CDN takes 50 to 300 ms.
const SETTLE: Duration = Duration::from_millis(500);
/// Twice as many streams are worth it if all that comes rises by two fifths of what they brought. Ours; less is the noise of a line, or
/// a line that is nearly full.
const WORTH: (u64, u64) = (2, 5);
/// Where more brought nothing, or the origin asked for less, that is tried again after 30 s. Ours; it costs a second of streams too many.
const HOLD: Duration = Duration::from_secs(30);

/// The number, and what is known of it.
#[derive(Debug)]
pub(crate) struct Breadth {
    /// The usual number, which it never falls below alone.
    usual: u32,
    /// Others fetch the same.
    shared: bool,
    most: u32,
    /// Which it never goes beyond.
    limit: u32,
    /// While more are tried: how many there were, and bytes/s that had to come for more to be worth it.
    fewer: Option<(u32, u64)>,
    /// Bytes of the window, those of peers besides, and its begin.
    bytes: u64,
    theirs: u64,
    since: Instant,
    /// What comes before that is not measured.
    settled: Instant,
    hold: Instant,
    /// Refusals until then are one and the same.
    again: Instant,
}

impl Breadth {
    pub(crate) fn new(usual: u32, limit: u32) -> Self {
        let zero = Instant::ZERO;
        Self {
            usual,
            shared: false,
            most: usual,
            limit: limit.max(usual),
            fewer: None,
            bytes: 0,
            theirs: 0,
            since: zero,
            settled: zero,
            hold: zero,
            again: zero,
        }
    }

    /// Streams that may be under way at once.
    pub(crate) fn most(&self) -> u32 {
        self.most
    }

    /// Others fetch the same, or do not any more.
    pub(crate) fn share(&mut self, now: Instant, shared: bool) {
        if self.shared == shared {
            return;
        }
        self.shared = shared;
        self.most = if shared { self.least() } else { self.most.max(self.usual) };
        self.fewer = None;
        self.settled = now + SETTLE;
        self.hold = now;
        self.begin(now);
    }

    fn least(&self) -> u32 {
        if self.shared { self.usual.min(STREAMS_SHARED) } else { self.usual }
    }

    /// So many bytes came from the origin.
    pub(crate) fn came(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// And so many from peers.
    pub(crate) fn came_of_peers(&mut self, bytes: u64) {
        self.theirs += bytes;
    }

    /// The origin refuses some because they are too many, or it is too busy.
    pub(crate) fn refused(&mut self, now: Instant) {
        if now < self.again {
            return;
        }
        self.again = now + WINDOW;
        self.most = (self.most / 2).max(self.least());
        self.fewer = None;
        self.hold = now + HOLD;
        self.begin(now);
    }

    /// Takes in a measurement: so many streams are under way, and there is work for more of them.
    pub(crate) fn measure(&mut self, now: Instant, active: u32, more: bool) {
        if active > self.most || self.since == Instant::ZERO {
            // Some are left of a time of more, or nothing was measured before.
            self.settled = now + SETTLE;
            return self.begin(now);
        }
        if active < self.most || !more {
            // What they bring says nothing of what more would.
            if let Some((fewer, _)) = self.fewer.take() {
                self.most = fewer.max(self.least());
            }
            self.settled = now + SETTLE;
            return self.begin(now);
        }
        if now < self.settled {
            return self.begin(now);
        }
        let elapsed = now.since(self.since);
        if elapsed < WINDOW {
            return;
        }
        if elapsed >= WINDOW * 2 {
            // Nobody measured for a while: the machine was busy, or asleep.
            return self.begin(now);
        }
        let per_s = |bytes: u64| bytes.saturating_mul(1_000_000) / (elapsed.as_micros() as u64).max(1);
        let (ours, all) = (per_s(self.bytes), per_s(self.bytes + self.theirs));
        match self.fewer.take() {
            Some((fewer, wanted)) if all < wanted => {
                self.most = fewer;
                self.hold = now + HOLD;
                self.begin(now);
            }
            _ if now >= self.hold && self.most < self.limit => {
                self.fewer = Some((self.most, all + ours * WORTH.0 / WORTH.1));
                self.most = (2 * self.most).min(self.limit);
                self.settled = now + SETTLE;
                self.begin(now);
            }
            _ => self.begin(now),
        }
    }

    fn begin(&mut self, at: Instant) {
        (self.bytes, self.theirs, self.since) = (0, 0, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an origin gives: bytes/s by the number of streams. Played for so many seconds, four measurements each.
    fn play(breadth: &mut Breadth, from: u64, secs: u64, gives: impl Fn(u32) -> u64) -> u32 {
        for quarter in 0..4 * secs {
            let now = Instant(from * 1_000_000 + quarter * 250_000);
            breadth.came(gives(breadth.most()) / 4);
            breadth.measure(now, breadth.most(), true);
        }
        breadth.most()
    }

    #[test]
    fn what_each_stream_is_given_is_asked_for_by_as_many_as_there_may_be() {
        let mut breadth = Breadth::new(8, STREAMS_MAX);
        assert_eq!(play(&mut breadth, 3, 10, |streams| u64::from(streams) * 10_000_000), STREAMS_MAX);
    }

    #[test]
    fn where_more_bring_nothing_the_usual_number_stands_but_for_a_try_now_and_then() {
        let mut breadth = Breadth::new(8, STREAMS_MAX);
        let mut tries = 0;
        for quarter in 0..4 * 120 {
            breadth.came(5_000_000);
            let before = breadth.most();
            breadth.measure(Instant(3_000_000 + quarter * 250_000), breadth.most(), true);
            tries += u32::from(breadth.most() > before);
        }
        assert_eq!((play(&mut breadth, 200, 5, |_| 20_000_000), tries), (8, 4));
    }

    #[test]
    fn what_is_enough_is_found_and_what_is_refused_given_up() {
        let mut breadth = Breadth::new(8, STREAMS_MAX);
        assert_eq!(play(&mut breadth, 3, 10, |streams| u64::from(streams.min(16)) * 10_000_000), 16);
        for _ in 0..16 {
            breadth.refused(Instant(14_000_000));
        }
        assert_eq!(breadth.most(), 8, "one burst of refusals is one");
        breadth.refused(Instant(16_000_000));
        assert_eq!(breadth.most(), 8, "the usual number is for outages to mend");
        assert_eq!(play(&mut breadth, 17, 20, |streams| u64::from(streams) * 10_000_000), 8);
        assert_eq!(play(&mut breadth, 47, 20, |streams| u64::from(streams) * 10_000_000), STREAMS_MAX);
    }

    #[test]
    fn beside_others_it_begins_with_two_and_goes_on_where_that_raises_the_total() {
        let mut breadth = Breadth::new(8, STREAMS_MAX);
        breadth.share(Instant(3_000_000), true);
        assert_eq!(play(&mut breadth, 3, 10, |_| 50_000_000), 2);
        assert_eq!(play(&mut breadth, 40, 20, |streams| u64::from(streams) * 10_000_000), STREAMS_MAX);
        breadth.share(Instant(60_000_000), false);
        assert_eq!(play(&mut breadth, 60, 10, |_| 50_000_000), STREAMS_MAX, "alone nothing is taken back");
    }

    #[test]
    fn what_a_peer_brings_besides_hides_nothing_and_what_it_loses_is_no_gain() {
        let play = |of_peers: &dyn Fn(u32) -> u64| {
            let mut breadth = Breadth::new(8, STREAMS_MAX);
            for quarter in 0..40 {
                breadth.came(u64::from(breadth.most()) * 2_500_000);
                breadth.came_of_peers(of_peers(breadth.most()));
                breadth.measure(Instant(3_000_000 + quarter * 250_000), breadth.most(), true);
            }
            breadth.most()
        };
        assert_eq!(play(&|_| 100_000_000), STREAMS_MAX);
        assert_eq!(play(&|streams| 200_000_000 - u64::from(streams) * 2_500_000), 8);
    }

    #[test]
    fn streams_of_a_time_of_more_are_not_taken_for_those_of_fewer() {
        let mut breadth = Breadth::new(8, STREAMS_MAX);
        breadth.share(Instant(3_000_000), true);
        for quarter in 0..20 {
            breadth.came(20_000_000);
            breadth.measure(Instant(3_000_000 + quarter * 250_000), 8, true);
        }
        assert_eq!(play(&mut breadth, 8, 10, |streams| u64::from(streams) * 10_000_000), STREAMS_MAX);
    }

    #[test]
    fn streams_that_are_not_there_say_nothing() {
        let mut breadth = Breadth::new(8, STREAMS_MAX);
        for quarter in 0..40 {
            breadth.came(5_000_000 * (1 + quarter));
            breadth.measure(Instant(3_000_000 + quarter * 250_000), 5, true);
        }
        assert_eq!(breadth.most(), 8);
    }
}
