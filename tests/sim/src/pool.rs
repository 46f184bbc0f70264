//! Many queues in one store. Tens of thousands of pipes are empty nearly always; what travels lies close together, in slots
//! that were used a moment ago.

/// A queue in a [`Pool`]: its first and its last slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    first: u32,
    last: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

impl Default for Line {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Line {
    pub(crate) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// The store.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    /// What is there, and the slot behind it in its line, or in the line of free ones.
    slots: Vec<(Option<T>, u32)>,
    free: u32,
}

impl<T> Pool<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: NONE }
    }

    pub(crate) fn push(&mut self, line: &mut Line, what: T) {
        let at = match self.free {
            NONE => {
                self.slots.push((Some(what), NONE));
                self.slots.len() as u32 - 1
            }
            at => {
                let slot = &mut self.slots[at as usize];
                self.free = std::mem::replace(slot, (Some(what), NONE)).1;
                at
            }
        };
        match line.last {
            NONE => line.first = at,
            last => self.slots[last as usize].1 = at,
        }
        line.last = at;
    }

    pub(crate) fn pop(&mut self, line: &mut Line) -> Option<T> {
        let at = line.first;
        let slot = self.slots.get_mut(at as usize)?;
        line.first = std::mem::replace(&mut slot.1, self.free);
        self.free = at;
        if line.first == NONE {
            line.last = NONE;
        }
        slot.0.take()
    }

    pub(crate) fn clear(&mut self, line: &mut Line) {
        while self.pop(line).is_some() {}
    }

    pub(crate) fn iter(&self, line: Line) -> impl Iterator<Item = &T> {
        let mut at = line.first;
        std::iter::from_fn(move || {
            let (what, next) = self.slots.get(at as usize)?;
            at = *next;
            what.as_ref()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::VecDeque;

    #[test]
    fn lines_keep_their_order_and_slots_are_used_again() {
        let mut rng = Rng::of(5, "pool");
        let mut pool = Pool::new();
        let (mut lines, mut twins) = ([Line::default(); 4], [const { VecDeque::new() }; 4]);
        for step in 0..5000u64 {
            let at = rng.below(4) as usize;
            match rng.below(9) {
                0 => {
                    pool.clear(&mut lines[at]);
                    twins[at].clear();
                }
                1..5 => {
                    pool.push(&mut lines[at], step);
                    twins[at].push_back(step);
                }
                _ => assert_eq!(pool.pop(&mut lines[at]), twins[at].pop_front()),
            }
            assert!(pool.iter(lines[at]).eq(&twins[at]) && lines[at].is_empty() == twins[at].is_empty());
        }
        assert!(pool.slots.len() < 200, "{} slots", pool.slots.len());
    }
}
