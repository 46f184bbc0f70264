//! Time that a process was there to live through.
//!
//! A machine of this crate takes silence for a sign: of a peer that is gone, of an owner that does nothing. It can only
//! judge by what it was told, and nobody tells it anything while its host is frozen, starved or asleep: the answers lie in
//! the sockets meanwhile. So a runtime gives the message plane a clock that stands still for as long as the process was
//! not run, and a moment longer, in which what has come is looked at before anything counts as overdue.
//!
//! That a process was not run shows in its own timers: one that rings late was not heard.

use crate::{Duration, Instant};

/// A timer that rings so much late was not heard because the process was not run: 20 ms. Ours; ten times as late as
/// timers of a process that has a processor are.
pub const LATE: Duration = Duration::from_millis(20);
/// The clock stands still for as long again as the process was not run, at most this long: 100 ms. Ours; by then every
/// socket was read once, also on a busy machine.
pub const CATCH_UP_MAX: Duration = Duration::from_millis(100);

/// The clock of a process that may not be run for a while. See the module's documentation.
///
/// It never goes back, and no faster than the clock it is made from: what a cap allows in any of its seconds is kept in
/// any second of that one.
///
/// ```
/// use zest_core::lived::Lived;
/// use zest_core::{Duration, Instant};
///
/// let mut clock = Lived::default();
/// let due = Some(Instant(400_000));
/// assert_eq!(clock.at(Instant(0), due), Instant(0));
/// // Nothing was heard of the timer for two seconds: it is not due yet, but it will be in a moment.
/// assert_eq!(clock.at(Instant(2_400_000), due), Instant(399_999));
/// assert_eq!(clock.wall(Instant(400_000)), Instant(2_500_001));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Lived {
    /// What the wall clock is ahead of this one.
    missed: Duration,
    /// The latest time this clock has shown.
    shown: Instant,
}

impl Lived {
    /// What it is at `wall`, if the next timer was to ring at `due` of this clock. To be asked before every event that is
    /// handled, with what the machine's `poll_timeout` said before.
    pub fn at(&mut self, wall: Instant, due: Option<Instant>) -> Instant {
        let seems = self.seems(wall);
        let Some(due) = due else { return self.show(seems) };
        // Since then it was to be run, at the latest; an event that was handled since shows that it was.
        let unheard = seems.since(due.max(self.shown));
        if unheard <= LATE {
            return self.show(seems);
        }
        let stands = Instant(due.0.saturating_sub(1)).max(self.shown);
        self.missed += seems.since(stands) + unheard.min(CATCH_UP_MAX);
        self.show(stands)
    }

    /// What it shows at `wall`, if nothing was missed since it was last asked.
    #[must_use]
    pub fn seems(&self, wall: Instant) -> Instant {
        Instant(wall.0.saturating_sub(micros(self.missed))).max(self.shown)
    }

    /// When the wall clock will show that this one has come to `at`.
    #[must_use]
    pub fn wall(&self, at: Instant) -> Instant {
        at + self.missed
    }

    /// How much of the wall clock's time was not lived through so far.
    #[must_use]
    pub fn missed(&self) -> Duration {
        self.missed
    }

    fn show(&mut self, now: Instant) -> Instant {
        self.shown = now;
        now
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn at(ms: u64) -> Instant {
        Instant(ms * MS)
    }

    #[test]
    fn timers_that_ring_in_time_change_nothing() {
        let mut clock = Lived::default();
        for ms in (0..10_000).step_by(250) {
            assert_eq!(clock.at(at(ms + 20), Some(at(ms))), at(ms + 20), "some lateness is usual");
        }
        assert_eq!(clock.missed(), Duration::ZERO);
    }

    #[test]
    fn a_process_that_waits_for_nothing_lives_through_all_of_it() {
        let mut clock = Lived::default();
        clock.at(at(0), None);
        assert_eq!(clock.at(at(5000), None), at(5000));
        assert_eq!(clock.at(at(9000), Some(at(10_000))), at(9000), "no timer was missed");
    }

    #[test]
    fn whatever_is_due_waits_until_what_has_come_meanwhile_was_looked_at() {
        let mut clock = Lived::default();
        clock.at(at(100), Some(at(400)));
        let thawed = clock.at(at(10_000), Some(at(400)));
        assert!(thawed < at(400) && thawed + Duration::from_micros(1) == at(400));
        for ms in 0..100 {
            assert_eq!(clock.at(at(10_000 + ms), Some(at(400))), thawed, "it stands still for {ms} ms");
        }
        assert_eq!(clock.wall(at(400)), Instant(10_100 * MS + 1));
        assert_eq!(clock.at(Instant(10_100 * MS + 1), Some(at(400))), at(400));
        assert_eq!(clock.at(at(10_350), Some(at(650))), Instant(650 * MS - 1), "then it goes on as before");
    }

    #[test]
    fn one_that_gets_a_processor_now_and_then_counts_what_it_got() {
        let mut clock = Lived::default();
        let (mut wall, mut due) = (at(0), at(250));
        // Each timer is heard half a second late.
        for _ in 0..20 {
            if clock.at(wall, Some(due)) >= due {
                due = due + Duration::from_millis(250);
                wall = clock.wall(due) + Duration::from_millis(500);
            } else {
                wall = clock.wall(due);
            }
        }
        assert_eq!(due, at(250 + 10 * 250), "no timer is lost");
        assert_eq!(clock.missed(), Duration::from_micros((500 + 100) * MS + 1) * 9, "after the first");
    }

    #[test]
    fn a_timer_that_others_have_kept_from_its_turn_was_not_missed() {
        let mut clock = Lived::default();
        // Events come all the time, and the timer is handled when they are through.
        for ms in 0..500 {
            assert_eq!(clock.at(at(ms), Some(at(100))), at(ms));
        }
    }

    #[test]
    fn it_never_goes_back() {
        let mut clock = Lived::default();
        let mut before = Instant::ZERO;
        let mut wall = 0;
        for step in [0, 3, 50, 4000, 1, 90, 20, 700, 0, 100_000, 5] {
            wall += step;
            for due in [None, Some(at(wall / 2)), Some(at(wall)), Some(at(0))] {
                let now = clock.at(at(wall), due);
                assert!(now >= before && now <= at(wall));
                before = now;
            }
        }
        assert_eq!(clock.at(Instant(u64::MAX), Some(Instant(u64::MAX))), clock.seems(Instant(u64::MAX)));
    }
}
