//! What was measured of all peers together.

use super::Stats;
use crate::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Measured {
    /// Payload bytes that peers gave since the last measurement, and when that was.
    pub(super) income: (u64, Instant),
    /// What that came to, in bytes/s.
    pub(super) income_bytes_s: u64,
    /// What answers of peers usually take, µs.
    pub(super) answer_us: u64,
    /// News of what is proven wait this long for more.
    pub(super) tell_wait: Duration,
    pub(super) stats: Stats,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            income: (0, Instant::ZERO),
            income_bytes_s: 0,
            answer_us: 0,
            tell_wait: Duration::from_millis(50),
            stats: Stats::default(),
        }
    }
}
