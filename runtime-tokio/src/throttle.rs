//! A cap on what is received, from peers and from the origin together. Whoever wants to read waits for its turn; what
//! is not read stays in the socket, so that the sender is slowed down by TCP itself.

use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// Least download cap: 256 KiB/s, two of the longest chunks a second. Ours; below that a chunk takes so long that a source
/// looks dead.
pub const DOWNLOAD_BYTES_S_MIN: u64 = 256 << 10;
/// Time without reading that may be caught up: 50 ms. Ours; timers fire late, and the rate should be met all the same.
const SLACK: Duration = Duration::from_millis(50);
/// Turns per second: 64. Ours; with a low cap many take short turns, so that none of them looks dead.
const TURNS_S: u64 = 64;
/// Least bytes of a turn: 16 KiB, a socket's usual piece.
const TURN_BYTES_MIN: u64 = 16 << 10;
/// Most bytes of a turn: 512 KiB, as much as one read takes without a cap.
const TURN_BYTES_MAX: u64 = 512 << 10;

/// Bytes of a turn under this cap.
fn turn_bytes(bytes_s: u64) -> usize {
    (bytes_s / TURNS_S).clamp(TURN_BYTES_MIN, TURN_BYTES_MAX) as usize
}

/// When what was received is paid for.
#[derive(Debug, Clone, Copy)]
struct Debt {
    bytes_s: u64,
    /// The time from which more may be received.
    paid_at: Instant,
}

impl Debt {
    fn add(&mut self, now: Instant, bytes: usize) {
        let from = now.checked_sub(SLACK).map_or(now, |earliest| self.paid_at.max(earliest));
        let cost_us = (bytes as u64).saturating_mul(1_000_000) / self.bytes_s;
        self.paid_at = from + Duration::from_micros(cost_us);
    }
}

/// Somebody's turn.
pub(crate) struct Turn<'a> {
    throttle: &'a Throttle,
    _turn: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// How many bytes may be read in it.
    pub(crate) fn bytes(&self) -> usize {
        match self.throttle.turn_bytes.get() {
            // It was lifted meanwhile.
            0 => usize::MAX,
            bytes => bytes,
        }
    }
}

/// The cap. Turns are given in the order in which they are asked for.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// 0 while there is no cap.
    turn_bytes: Cell<usize>,
    /// Whoever holds it is next.
    turn: Mutex<()>,
    debt: Cell<Debt>,
}

impl Throttle {
    pub(crate) fn new(bytes_s: Option<u64>) -> Self {
        let debt = Debt { bytes_s: u64::MAX, paid_at: Instant::now() };
        let throttle = Self { turn_bytes: Cell::new(0), turn: Mutex::new(()), debt: Cell::new(debt) };
        throttle.set(bytes_s);
        throttle
    }

    /// Another cap from now on, or none.
    pub(crate) fn set(&self, bytes_s: Option<u64>) {
        let bytes_s = bytes_s.map(|bytes_s| bytes_s.max(DOWNLOAD_BYTES_S_MIN));
        self.turn_bytes.set(bytes_s.map_or(0, turn_bytes));
        self.debt.set(Debt { bytes_s: bytes_s.unwrap_or(u64::MAX), paid_at: Instant::now() });
    }

    /// Another cap from now on, by somebody who changes it ten times a second: what was received before is still to be paid for.
    pub(crate) fn steer(&self, bytes_s: u64) {
        let bytes_s = bytes_s.max(DOWNLOAD_BYTES_S_MIN);
        self.turn_bytes.set(turn_bytes(bytes_s));
        self.debt.set(Debt { bytes_s, ..self.debt.get() });
    }

    /// Whether there is a cap.
    pub(crate) fn is_set(&self) -> bool {
        self.turn_bytes.get() > 0
    }

    /// Waits for a turn; gives how many bytes to read in it. [`Throttle::took`] has to follow without a pause where the
    /// bytes are there already.
    pub(crate) async fn turn(&self) -> usize {
        self.hold().await.bytes()
    }

    /// Waits for a turn, and keeps the others waiting until it is dropped.
    pub(crate) async fn hold(&self) -> Turn<'_> {
        let turn = self.turn.lock().await;
        let at = self.debt.get().paid_at;
        if at > Instant::now() {
            tokio::time::sleep_until(at.into()).await;
        }
        Turn { throttle: self, _turn: turn }
    }

    /// Bytes have been read.
    pub(crate) fn took(&self, bytes: usize) {
        let mut debt = self.debt.get();
        debt.add(Instant::now(), bytes);
        self.debt.set(debt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_received_in_the_long_run_is_the_cap() {
        let start = Instant::now();
        let mut debt = Debt { bytes_s: 1 << 20, paid_at: start };
        let (mut now, mut bytes) = (start, 0);
        while now < start + Duration::from_secs(10) {
            // A timer that is always late by up to a third of a turn.
            now = debt.paid_at.max(now) + Duration::from_millis(5);
            debt.add(now, 16 << 10);
            bytes += 16 << 10;
        }
        let ten_seconds = 10 << 20;
        assert!(bytes <= ten_seconds + (1 << 20) / 20 + (16 << 10), "{bytes} bytes in 10 s");
        assert!(bytes >= ten_seconds, "{bytes} bytes in 10 s");
    }

    #[test]
    fn a_long_read_is_paid_for_and_a_rest_is_not_saved_up() {
        let start = Instant::now();
        let mut debt = Debt { bytes_s: 1 << 20, paid_at: start };
        let now = start + Duration::from_secs(60);
        debt.add(now, 3 << 20);
        assert_eq!(debt.paid_at, now + Duration::from_secs(3) - SLACK);
    }

    #[test]
    fn a_cap_that_moves_forgets_no_debt() {
        let throttle = Throttle::new(Some(1 << 20));
        throttle.took(10 << 20);
        let paid_at = throttle.debt.get().paid_at;
        throttle.steer(2 << 20);
        assert_eq!((throttle.debt.get().paid_at, throttle.turn_bytes.get()), (paid_at, 32 << 10));
        throttle.steer(1);
        assert_eq!(throttle.debt.get().bytes_s, DOWNLOAD_BYTES_S_MIN);
    }

    #[test]
    fn turns_are_short_under_a_low_cap() {
        assert_eq!(Throttle::new(Some(1)).turn_bytes.get(), TURN_BYTES_MIN as usize);
        assert_eq!(Throttle::new(Some(64 << 20)).turn_bytes.get(), 512 << 10);
        assert_eq!(Throttle::new(Some(u64::MAX)).turn_bytes.get(), TURN_BYTES_MAX as usize);
    }
}
