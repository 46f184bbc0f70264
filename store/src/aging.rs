//! The calendar's time for what ages: it goes on in every case, and never back.
//!
//! A permission that counts for ten minutes must not count for an hour longer because somebody put the clock back, and the clock that
//! only goes forward does not know how long the machine slept. So time passes as either of them says, whichever says more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A clock that shows less than it must by so little was not put back: 1 s. Ours; the two are not read in the same moment, and clocks
/// are adjusted by less all the time.
const UNEVEN: Duration = Duration::from_secs(1);

/// Where it stands.
#[derive(Debug, Clone, Copy)]
struct Aging {
    /// What the calendar showed when it was last put back, and what is shown for that.
    from: (SystemTime, SystemTime),
    shown: SystemTime,
    steady: Instant,
}

impl Aging {
    fn from(wall: SystemTime, steady: Instant) -> Self {
        Self { from: (wall, wall), shown: wall, steady }
    }

    /// What it is when the two clocks show this.
    fn at(&mut self, wall: SystemTime, steady: Instant) -> SystemTime {
        let (from, shown) = self.from;
        let by_calendar = shown + wall.duration_since(from).unwrap_or_default();
        let at_least = self.shown + steady.saturating_duration_since(self.steady);
        if by_calendar + UNEVEN < at_least {
            self.from = (wall, at_least);
            self.shown = at_least;
        } else {
            self.shown = self.shown.max(by_calendar);
        }
        self.steady = steady;
        self.shown
    }
}

/// Now, for what ages in this process: see the module's documentation. After a clock was put back it is ahead of the calendar.
#[must_use]
pub fn aging_now() -> SystemTime {
    static AGING: Mutex<Option<Aging>> = Mutex::new(None);
    let mut aging = AGING.lock().unwrap_or_else(PoisonError::into_inner);
    // Read under the lock: two threads must not pass each other.
    let (wall, steady) = (SystemTime::now(), Instant::now());
    aging.get_or_insert_with(|| Aging::from(wall, steady)).at(wall, steady)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn time_passes_whatever_is_done_to_the_clock() {
        let (wall, steady) = (SystemTime::UNIX_EPOCH + 100_000 * MINUTE, Instant::now());
        let mut aging = Aging::from(wall, steady);
        let mut shows = |calendar: i32, run: u32, want: u32| {
            let wall = if calendar < 0 {
                wall - MINUTE * calendar.unsigned_abs()
            } else {
                wall + MINUTE * calendar as u32
            };
            let passed = aging
                .at(wall, steady + MINUTE * run)
                .duration_since(SystemTime::UNIX_EPOCH + 100_000 * MINUTE);
            assert_eq!(passed.ok(), Some(MINUTE * want), "{calendar} {run}");
        };
        shows(0, 0, 0);
        shows(5, 5, 5);
        // Put back by an hour: five minutes later it is five minutes later.
        shows(-55, 5, 5);
        shows(-50, 10, 10);
        // The machine slept for eight hours, which the other clock does not know of.
        shows(430, 11, 490);
        // Put forward, and back again: what was thought to have passed stays so.
        shows(1430, 12, 1490);
        shows(432, 13, 1491);
        shows(433, 14, 1492);
    }

    #[test]
    fn clocks_that_are_read_one_after_the_other_add_nothing() {
        let (wall, steady) = (SystemTime::UNIX_EPOCH + 100_000 * MINUTE, Instant::now() + MINUTE);
        let mut aging = Aging::from(wall, steady);
        let ms = Duration::from_millis;
        for turn in 1..1000 {
            let wall = wall + ms(10) * turn;
            // This process was not run between the two, every other time.
            let steady = steady + ms(10) * turn + ms(9) * (turn % 2);
            assert_eq!(aging.at(wall, steady), wall);
        }
    }

    #[test]
    fn it_never_goes_back() {
        let mut last = aging_now();
        for _ in 0..1000 {
            let now = aging_now();
            assert!(now >= last);
            last = now;
        }
    }
}
