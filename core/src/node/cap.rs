//! What left within the last second, so that a cap holds over any second and not only on average.

use crate::{Duration, Instant};
use alloc::vec::Vec;

/// The window over which the upload cap holds: 1 s, in this many steps.
const STEPS: usize = 20;
const STEP_US: u64 = 1_000_000 / STEPS as u64;
/// So much of the cap is given in one step at most, or one chunk: a sixteenth, a little more than a step's part. Ours; given all
/// at once, a second's bytes would go to those who are nearest, whoever's turn it is.
const STEP_SHARE: u64 = 16;

/// Bytes that left in each of the last steps, by number of the step.
#[derive(Debug, Default)]
pub(crate) struct Cap {
    steps: [(u64, u64); STEPS + 1],
    /// What left within the second before this is not known.
    since: Instant,
    /// What was given to sockets in the last step in which something was.
    given: (u64, u64),
}

impl Cap {
    pub(crate) fn since(since: Instant) -> Self {
        Self { since, ..Self::default() }
    }

    /// When `len` bytes may go so that no second sees more than `bytes_s`; `now` if at once, `None` if they never may together.
    pub(crate) fn allowed_at(&self, now: Instant, len: u64, bytes_s: u64) -> Option<Instant> {
        let known_at = self.since + Duration::from_secs(1);
        if now < known_at {
            return Some(known_at);
        }
        let step = now.0 / STEP_US;
        // A step that began more than a second ago lies outside every second that ends now. The one that is cut by the
        // beginning of the second counts in full.
        let mut within: Vec<(u64, u64)> = self
            .steps
            .iter()
            .copied()
            .filter(|(at, bytes)| *bytes > 0 && at + STEPS as u64 >= step)
            .collect();
        within.sort_unstable();
        let mut sum: u64 = within.iter().map(|(_, bytes)| *bytes).sum();
        if sum + len <= bytes_s {
            return Some(now);
        }
        for (at, bytes) in within {
            sum -= bytes;
            if sum + len <= bytes_s {
                return Some(Instant((at + STEPS as u64 + 1) * STEP_US).max(now));
            }
        }
        None
    }

    /// When a chunk or less of `len` bytes may be given, so that a second's bytes go out over the second.
    pub(crate) fn paced_at(&self, now: Instant, len: u64, bytes_s: u64) -> Instant {
        let step = now.0 / STEP_US;
        let most = (bytes_s / STEP_SHARE).max(zest_xet::CHUNK_BYTES_MAX as u64);
        if self.given.0 != step || self.given.1 + len <= most { now } else { Instant((step + 1) * STEP_US) }
    }

    /// These were given to a socket now.
    pub(crate) fn gave(&mut self, now: Instant, len: u64) {
        let step = now.0 / STEP_US;
        if self.given.0 != step {
            self.given = (step, 0);
        }
        self.given.1 += len;
    }

    /// These left now.
    pub(crate) fn left(&mut self, now: Instant, len: u64) {
        let step = now.0 / STEP_US;
        let place = &mut self.steps[(step % (STEPS as u64 + 1)) as usize];
        if place.0 != step {
            *place = (step, 0);
        }
        place.1 += len;
    }
}
