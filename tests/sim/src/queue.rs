//! What is to happen, by time. Things of the same time happen in the order they were put in.

use std::collections::VecDeque;

/// A radix heap: time never goes back, so an entry moves at most once per bit of its distance. Entries of one time lie in
/// one bucket at every moment and are moved in order, which makes the tie-break by sequence free.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// Entries of time `last`.
    now: VecDeque<T>,
    /// Bucket b: entries whose time differs from `last` first in bit b.
    buckets: [Vec<(u64, T)>; 64],
    /// Bit b is set if bucket b is not empty.
    full: u64,
    last: u64,
    len: usize,
    spare: Vec<(u64, T)>,
}

impl<T: Copy> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            now: VecDeque::new(),
            buckets: [const { Vec::new() }; 64],
            full: 0,
            last: 0,
            len: 0,
            spare: Vec::new(),
        }
    }

    /// Adds an entry; a time that has passed means now.
    pub(crate) fn push(&mut self, at: u64, what: T) {
        self.len += 1;
        self.place(at.max(self.last), what);
    }

    fn place(&mut self, at: u64, what: T) {
        match at ^ self.last {
            0 => self.now.push_back(what),
            far => {
                let bucket = far.ilog2() as usize;
                self.buckets[bucket].push((at, what));
                self.full |= 1 << bucket;
            }
        }
    }

    /// The next entry and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        if self.now.is_empty() {
            if self.full == 0 {
                return None;
            }
            let bucket = self.full.trailing_zeros() as usize;
            self.full &= !(1 << bucket);
            let mut entries = std::mem::replace(&mut self.buckets[bucket], std::mem::take(&mut self.spare));
            self.last = entries.iter().map(|(at, _)| *at).min().expect("a full bucket has entries");
            entries.drain(..).for_each(|(at, what)| self.place(at, what));
            self.spare = entries;
        }
        self.len -= 1;
        self.now.pop_front().map(|what| (self.last, what))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn it_agrees_with_a_sorted_map_by_time_and_sequence() {
        let mut rng = Rng::of(3, "queue");
        for spread in [1, 3, 1000, 1 << 40] {
            let (mut queue, mut twin) = (Queue::new(), BTreeMap::new());
            let (mut now, mut sequence) = (0, 0u64);
            for _ in 0..5000 {
                if rng.below(100) < 55 {
                    let at = now + rng.below(spread);
                    queue.push(at, sequence);
                    twin.insert((at, sequence), ());
                    sequence += 1;
                } else {
                    let want = twin.pop_first().map(|((at, number), ())| (at, number));
                    assert_eq!(queue.pop(), want);
                    now = want.map_or(now, |(at, _)| at);
                }
                assert_eq!(queue.len(), twin.len());
            }
            while let Some(((at, number), ())) = twin.pop_first() {
                assert_eq!(queue.pop(), Some((at, number)));
            }
            assert_eq!(queue.pop(), None);
        }
    }
}
