//! How much of what was read may lie in memory unsent, over all connections of a core.

pub(crate) use crate::limits::STAGED_BYTES_MAX;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

/// The budget of one core.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: Cell<usize>,
    waiters: RefCell<VecDeque<Waker>>,
}

/// A part of it; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self { limit, used: Cell::new(0), waiters: RefCell::default() })
    }

    /// Whether a read may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.used.get() < self.limit
    }

    /// Takes what a read of `bytes` occupies: glommio's memory is dealt out in powers of two.
    pub(crate) fn take(self: &Rc<Self>, bytes: usize) -> Permit {
        let bytes = bytes.next_power_of_two();
        self.used.set(self.used.get() + bytes);
        Permit { budget: self.clone(), bytes }
    }

    /// Is woken when there is room, first come, first served.
    pub(crate) fn wait(&self, waker: &Waker) {
        self.waiters.borrow_mut().push_back(waker.clone());
    }

    /// Wakes the next one who waits, if there is room. Called now and then, because one that was woken may have ended
    /// without taking or giving back anything.
    pub(crate) fn wake_next(&self) {
        if self.has_room() {
            let next = self.waiters.borrow_mut().pop_front();
            if let Some(waker) = next {
                waker.wake();
            }
        }
    }

    /// Whether anybody waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiters.borrow().is_empty()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let budget = &self.budget;
        budget.used.set(budget.used.get() - self.bytes);
        budget.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_makes_room() {
        let budget = Budget::new(1 << 20);
        let permits: Vec<Permit> = (0..8).map(|_| budget.take(70_000)).collect();
        assert!(!budget.has_room() && budget.used.get() == 1 << 20);
        drop(permits);
        assert!(budget.has_room() && budget.used.get() == 0);
    }
}
