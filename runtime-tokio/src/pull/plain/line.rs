//! The line to where plain files come from, shared by all of a pull: when it may be tried again after a failure, and for how
//! long it is.

use crate::PullError;
use crate::clock::Clock;
use crate::outages::{Outages, trouble};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use zest_core::Instant;
use zest_core::outage::{Outage, Patience, Trouble};
use zest_hub::HubError;
use zest_store::Leftovers;

/// While the line is out, it is looked whether it may be tried at least this often: 500 ms.
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct Line {
    outage: RefCell<Outage>,
    patience: RefCell<Patience>,
    /// Why it is out.
    why: RefCell<Option<HubError>>,
    /// What the user is told of it, and how long that takes.
    outages: Arc<Outages>,
    /// What downloads that died left where this pull writes.
    pub(super) leftovers: RefCell<Leftovers>,
    /// Places for files that the Hub is asked for.
    pub(super) places: Semaphore,
}

impl Line {
    /// A line that has answered: whoever fetches files has asked for their list.
    pub(super) fn new(now: Instant, leftovers: Leftovers, outages: Arc<Outages>, places: usize) -> Self {
        let mut outage = Outage::default();
        outage.answered(now);
        Self {
            outage: RefCell::new(outage),
            patience: RefCell::new(Patience::new(outages.give_up_after())),
            why: RefCell::new(None),
            outages,
            leftovers: RefCell::new(leftovers),
            places: Semaphore::new(places),
        }
    }

    /// Waits until a request may be made.
    ///
    /// # Errors
    /// Why the line is out, when patience is over.
    pub(super) async fn turn(&self, clock: &Clock) -> Result<(), PullError> {
        loop {
            let now = clock.now();
            let (due, heard) = {
                let outage = self.outage.borrow();
                if outage.since().is_none() {
                    return Ok(());
                }
                (outage.due(), outage.has_answered())
            };
            if self.patience.borrow_mut().left(now, heard).is_none()
                && let Some(why) = self.why.borrow_mut().take()
            {
                return Err(why.into());
            }
            if due <= now {
                self.outage.borrow_mut().trying(now);
                return Ok(());
            }
            tokio::time::sleep((due - now).min(LOOK)).await;
        }
    }

    /// A request came to nothing, or its answer broke.
    pub(super) fn failed(&self, now: Instant, error: HubError) {
        let trouble = trouble(&error).unwrap_or(Trouble::Unreachable);
        self.outage.borrow_mut().failed(now, trouble, jitter());
        self.outages.failed(&error);
        *self.why.borrow_mut() = Some(error);
    }

    /// It answered, and is to be left alone for a moment all the same.
    pub(super) fn pause(&self, now: Instant) {
        self.outage.borrow_mut().failed(now, Trouble::Unreachable, jitter());
    }

    /// Bytes that were wanted came.
    pub(super) fn moved(&self, now: Instant) {
        if self.outage.borrow_mut().answered(now).is_some() {
            self.why.borrow_mut().take();
            self.outages.answered();
        }
        self.outages.moved();
        self.patience.borrow_mut().moved(now);
    }

    /// Whether downloads that died left anything.
    pub(super) fn has_leftovers(&self) -> bool {
        !self.leftovers.borrow().is_empty()
    }
}

fn jitter() -> u16 {
    // Without system randomness the pauses are merely less spread.
    getrandom::u32().map_or(0, |random| random as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_core::outage::PROBE_MAX;

    #[test]
    fn a_line_that_breaks_again_and_again_is_tried_every_two_seconds_at_least() {
        let clock = Clock::start();
        let outages = Outages::new(clock, Duration::from_secs(600));
        let mut now = Instant(1_000_000);
        let line = Line::new(now, Leftovers::default(), outages, 8);
        for _ in 0..20 {
            let url = String::new();
            line.failed(now, HubError::ShortBody { url, got: 0, want: None, reason: "closed".into() });
            let due = line.outage.borrow().due();
            assert!(due - now <= PROBE_MAX, "{:?}: it is the line, not a server that is full", due - now);
            now = due;
        }
    }
}
