//! A limit on what a core sends per second: a bucket that fills with time.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use zest_core::{Duration, Instant};

/// What may go out at once after a pause: what the rate gives in this time, 100 ms.
const BURST: Duration = Duration::from_millis(100);

/// The bucket of one core.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_s: Option<u64>,
    tokens: Cell<u64>,
    filled: Cell<Instant>,
    waiters: RefCell<Vec<Waker>>,
}

impl Throttle {
    pub(crate) fn new(bytes_s: Option<u64>) -> Throttle {
        Throttle {
            bytes_s,
            tokens: Cell::new(0),
            filled: Cell::new(Instant::ZERO),
            waiters: RefCell::default(),
        }
    }

    /// Bytes that may go out now.
    pub(crate) fn allows(&self, now: Instant) -> usize {
        let Some(rate) = self.bytes_s else { return usize::MAX };
        let burst = (u128::from(rate) * BURST.as_micros() / 1_000_000).max(1) as u64;
        let gained = (u128::from(rate) * now.since(self.filled.get()).as_micros() / 1_000_000) as u64;
        if gained > 0 {
            self.filled.set(now);
            self.tokens.set(self.tokens.get().saturating_add(gained).min(burst));
        }
        self.tokens.get() as usize
    }

    /// These went out.
    pub(crate) fn spend(&self, bytes: usize) {
        if self.bytes_s.is_some() {
            self.tokens.set(self.tokens.get().saturating_sub(bytes as u64));
        }
    }

    /// Is woken when more may go out.
    pub(crate) fn wait(&self, waker: &Waker) {
        self.waiters.borrow_mut().push(waker.clone());
    }

    /// Whether anybody waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiters.borrow().is_empty()
    }

    /// Wakes those who wait.
    pub(crate) fn wake(&self) {
        self.waiters.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_over_time_and_a_pause_gives_no_more_than_a_burst() {
        let throttle = Throttle::new(Some(1_000_000));
        let mut sent = 0;
        for ms in 0..10_000 {
            let now = Instant(ms * 1_000);
            let bytes = throttle.allows(now).min(30_000);
            throttle.spend(bytes);
            sent += bytes;
        }
        assert!((9_900_000..=10_100_000).contains(&sent), "{sent}");
        assert_eq!(throttle.allows(Instant(3_600_000_000)), 100_000);
        assert_eq!(Throttle::new(None).allows(Instant::ZERO), usize::MAX);
    }
}
