//! What does not answer is asked again: how soon, and for how long.
//!
//! An [`Outage`] is kept for each service that fails as a whole (the Hub, its CAS, its CDN, a peer's address): it says when
//! the next try is due, so that a service that is back is noticed within two seconds and one that is overloaded is left
//! alone. [`Patience`] is the user's: how long nothing at all may come before a pull gives up.
//!
//! Neither owns a clock or a timer: the caller tells the time and looks again. All users of one service share one `Outage`:
//! while it is out, whoever finds that [`Outage::due`] has come says [`Outage::trying`] and tries, and the others wait. So a
//! service that is out gets one probe at a time and not one from each of them; a probe that hears nothing for two seconds
//! (a line that swallows everything) is let run, and the next one begins beside it.
//!
//! ```
//! use zest_core::outage::{Outage, Patience, Trouble};
//! use zest_core::{Duration, Instant};
//!
//! let mut cdn = Outage::default();
//! let mut patience = Patience::new(Duration::from_secs(600));
//! let now = Instant(1_000_000);
//! let pause = cdn.failed(now, Trouble::Unreachable, 0);
//! assert!(pause <= Duration::from_millis(250));
//! assert_eq!(cdn.due(), now + pause);
//! cdn.trying(now + pause);
//! assert!(patience.left(now, cdn.has_answered()).is_some());
//! assert_eq!(cdn.answered(now + pause), Some(pause), "it was out for so long");
//! ```

use crate::{Duration, Instant};

/// Pause after the first failure of a connection: 250 ms, doubles with each further one. Ours.
const PROBE_FIRST: Duration = Duration::from_millis(250);
/// The longest pause after failures of the connection: 2 s. Ours; a line that is back is to be noticed while the user still
/// looks at the screen, and a connection that fails costs a few packets.
pub const PROBE_MAX: Duration = Duration::from_secs(2);
/// Pause after the first 429 or 5xx: 500 ms, doubles with each further one. Ours.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The longest pause after 429 and 5xx that we choose ourselves: 15 s. Ours.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// The longest pause that a service can ask for: 5 min, the Hub's rate-limit window.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How long nothing at all may come from anywhere, unless the user says otherwise: 10 min. Ours; a router that restarts
/// takes three.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// The same for an address that never answered: 30 s. Ours; it is wrong, or there is no line to begin with.
pub const PATIENCE_UNHEARD: Duration = Duration::from_secs(30);
/// Time between two looks counts for so much of the patience at most: 5 s. Ours; a machine that slept had no chance to hear
/// anything meanwhile. Whoever waits looks more often than that.
pub const LOOK_MAX: Duration = Duration::from_secs(5);

/// How a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody answered, or not to the end: name not found, refused, unreachable, reset, cut, TLS failed, silence.
    Unreachable,
    /// It answered that it cannot at present: 429, 5xx.
    Busy {
        /// It asked for this pause.
        retry_after: Option<Duration>,
    },
}

/// One service, and since when it fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outage {
    since: Option<Instant>,
    /// Failures of one kind in a row.
    faults: u32,
    busy: bool,
    next: Instant,
    /// It asked to be left alone until then.
    asked: Instant,
    /// When the last try began whose outcome is not known.
    tried: Option<Instant>,
    heard: bool,
}

impl Outage {
    /// A try failed. Gives the pause until the next one, which [`Outage::due`] remembers.
    ///
    /// `jitter` is uniform in 0..=65535: those that failed together must not come back together. What the service asked for
    /// is never undercut. Tries that were under way together count as one.
    pub fn failed(&mut self, now: Instant, trouble: Trouble, jitter: u16) -> Duration {
        let busy = matches!(trouble, Trouble::Busy { .. });
        self.heard |= busy;
        self.tried = None;
        if let Trouble::Busy { retry_after: Some(asked) } = trouble {
            let spread = BACKOFF_FIRST * u32::from(jitter) / 65_536;
            self.asked = self.asked.max(now + asked.min(RETRY_AFTER_MAX) + spread);
        }
        let again = self.since.is_some() && self.busy == busy;
        if !again || now >= self.next {
            // What was learnt of a line that was down says nothing about a server that is full.
            self.faults = if again { self.faults.saturating_add(1) } else { 1 };
            let (first, most) = if busy { (BACKOFF_FIRST, BACKOFF_MAX) } else { (PROBE_FIRST, PROBE_MAX) };
            let full = first.saturating_mul(1 << (self.faults - 1).min(16)).min(most);
            self.next = now + full / 2 + full / 2 * u32::from(jitter) / 65_536;
        }
        self.busy = busy;
        self.since.get_or_insert(now);
        self.due() - now
    }

    /// It answered well. Gives how long it had been out, if it was. What it asked for stands: an answer that was under way
    /// before says nothing about the next one.
    pub fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.heard = true;
        if self.asked > now {
            return None;
        }
        self.faults = 0;
        (self.next, self.tried) = (Instant::ZERO, None);
        self.since.take().map(|since| now - since)
    }

    /// It is known to have answered before, though not here.
    pub fn heard(&mut self) {
        self.heard = true;
    }

    /// Since when it fails, if it does.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// When it may be tried again; in the past if it may be tried at once.
    #[must_use]
    pub fn due(&self) -> Instant {
        let next = self.next.max(self.asked);
        self.tried.filter(|_| self.since.is_some()).map_or(next, |tried| next.max(tried + PROBE_MAX))
    }

    /// Until when it asked to be left alone; in the past if it did not.
    #[must_use]
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// Somebody is about to give up: the next try is due now, unless it asked for more.
    pub fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// A try begins: while it fails, nobody else tries before this one is known to have failed, or has heard nothing for
    /// [`PROBE_MAX`].
    pub fn trying(&mut self, now: Instant) {
        self.tried = Some(now);
    }

    /// Failures of one kind in a row.
    #[must_use]
    pub fn faults(&self) -> u32 {
        self.faults
    }

    /// Whether it was ever heard of, if only to say that it cannot at present.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.heard
    }
}

/// How long nothing came, against how long that may be. Time that the machine slept does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    limit: Duration,
    waited: Duration,
    looked_at: Option<Instant>,
}

impl Patience {
    /// Waits for `limit`; begins with the first look.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, looked_at: None }
    }

    /// Something came, from wherever: the wait begins anew.
    pub fn moved(&mut self, now: Instant) {
        self.waited = Duration::ZERO;
        self.looked_at = Some(now);
    }

    /// What is left of it; `None`: it is over. `heard`: whether what is waited for has ever answered; if not, it is waited
    /// for [`PATIENCE_UNHEARD`] at most. Look every few seconds: of a longer pause only [`LOOK_MAX`] counts.
    pub fn left(&mut self, now: Instant, heard: bool) -> Option<Duration> {
        let before = self.looked_at.replace(now).unwrap_or(now);
        self.waited = self.waited.saturating_add(now.since(before).min(LOOK_MAX));
        let limit = if heard { self.limit } else { self.limit.min(PATIENCE_UNHEARD) };
        limit.checked_sub(self.waited).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_line_that_is_down_is_probed_at_most_two_seconds_apart_however_long() {
        for jitter in [0, u16::MAX] {
            let (mut outage, mut now) = (Outage::default(), Instant(SECOND));
            for _ in 0..100_000 {
                let pause = outage.failed(now, Trouble::Unreachable, jitter);
                assert!(pause >= Duration::from_millis(125) && pause <= PROBE_MAX, "{pause:?}");
                now = now + pause;
            }
            assert!(!outage.has_answered());
            assert_eq!(outage.since(), Some(Instant(SECOND)));
        }
    }

    #[test]
    fn a_server_that_is_full_is_left_alone_for_up_to_15_seconds_and_spread() {
        let busy = Trouble::Busy { retry_after: None };
        let after = |faults: u32, jitter| {
            let mut outage = Outage::default();
            let mut now = Instant(0);
            let pauses = (0..faults).map(|_| {
                let pause = outage.failed(now, busy, jitter);
                now = now + pause;
                pause
            });
            pauses.last().unwrap()
        };
        assert_eq!(after(1, 0), Duration::from_millis(250));
        assert_eq!(after(3, 0), secs(1));
        assert_eq!(after(50, 0), BACKOFF_MAX / 2);
        assert!(after(50, u16::MAX) > BACKOFF_MAX - Duration::from_millis(1));
    }

    #[test]
    fn what_a_server_asks_for_is_never_undercut_and_bounded() {
        let mut outage = Outage::default();
        let asked = |s| Trouble::Busy { retry_after: Some(secs(s)) };
        assert_eq!(outage.failed(Instant(0), asked(7), 0), secs(7));
        // Another one that failed at the same time does not shorten it.
        assert_eq!(outage.failed(Instant(SECOND), asked(1), 0), secs(6));
        assert_eq!(outage.failed(Instant(2 * SECOND), Trouble::Unreachable, 0), secs(5));
        assert!(Outage::default().failed(Instant(0), asked(1 << 40), u16::MAX) <= RETRY_AFTER_MAX + secs(1));
    }

    #[test]
    fn a_long_outage_does_not_make_the_first_503_after_it_a_long_wait() {
        let mut outage = Outage::default();
        for second in 0..100 {
            outage.failed(Instant(3 * second * SECOND), Trouble::Unreachable, 0);
        }
        let busy = Trouble::Busy { retry_after: None };
        assert!(outage.failed(Instant(300 * SECOND), busy, u16::MAX) <= BACKOFF_FIRST);
        assert!(outage.has_answered());
    }

    #[test]
    fn eight_that_fail_together_count_as_one() {
        let mut outage = Outage::default();
        let first = outage.failed(Instant(0), Trouble::Unreachable, 0);
        for _ in 0..7 {
            assert_eq!(outage.failed(Instant(0), Trouble::Unreachable, 9), first);
        }
        assert!(outage.failed(Instant(SECOND), Trouble::Unreachable, u16::MAX) < Duration::from_millis(500));
    }

    #[test]
    fn one_tries_at_a_time_and_a_mute_try_holds_up_nobody_for_longer_than_two_seconds() {
        let mut outage = Outage::default();
        outage.trying(Instant(5));
        assert_eq!(outage.due(), Instant::ZERO, "it is not out");
        let due = Instant(0) + outage.failed(Instant(0), Trouble::Unreachable, 0);
        outage.trying(due);
        assert_eq!(outage.due(), due + PROBE_MAX);
        let pause = outage.failed(due + Duration::from_millis(1), Trouble::Unreachable, 0);
        assert!(pause < secs(1), "its outcome is known");
    }

    #[test]
    fn an_answer_ends_it_at_once() {
        let mut outage = Outage::default();
        outage.failed(Instant(SECOND), Trouble::Unreachable, 0);
        assert_eq!(outage.answered(Instant(4 * SECOND)), Some(secs(3)));
        assert_eq!((outage.since(), outage.due()), (None, Instant::ZERO));
        assert_eq!(outage.answered(Instant(5 * SECOND)), None);
        outage.failed(Instant(6 * SECOND), Trouble::Busy { retry_after: Some(secs(4)) }, 0);
        assert_eq!(outage.answered(Instant(7 * SECOND)), None, "it was asked for before");
        assert_eq!(outage.due(), Instant(10 * SECOND));
        assert_eq!(outage.answered(Instant(10 * SECOND)), Some(secs(4)));
    }

    #[test]
    fn patience_counts_from_what_came_last_and_is_short_with_strangers() {
        let mut patience = Patience::new(secs(600));
        let mut look = |s: u64, heard| patience.left(Instant(s * SECOND), heard);
        for s in 0..30 {
            assert_eq!(look(s, false), Some(secs(30 - s)));
        }
        assert_eq!(look(30, false), None);
        assert_eq!(look(30, true), Some(secs(570)));
        patience.moved(Instant(50 * SECOND));
        assert_eq!(patience.left(Instant(52 * SECOND), false), Some(secs(28)));
    }

    #[test]
    fn a_night_asleep_does_not_use_it_up() {
        let mut patience = Patience::new(secs(600));
        assert_eq!(patience.left(Instant(0), true), Some(secs(600)));
        assert_eq!(patience.left(Instant(9 * 3600 * SECOND), true), Some(secs(595)));
        // A clock that jumps back costs nothing.
        assert_eq!(patience.left(Instant(0), true), Some(secs(595)));
    }
}
