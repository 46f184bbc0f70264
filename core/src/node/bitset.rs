//! A fixed-size set of chunk indices: one bit each.

use alloc::{vec, vec::Vec};

/// A set of `u32` below a fixed length. `count` is kept, so asking for it costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BitSet {
    words: Vec<u64>,
    len: u32,
    count: u32,
}

impl BitSet {
    /// The empty set over `0..len`.
    #[must_use]
    pub fn empty(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len, count: 0 }
    }

    /// The full set over `0..len`.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut set = Self { words: vec![u64::MAX; len.div_ceil(64) as usize], len, count: len };
        if let (Some(last), tail @ 1..) = (set.words.last_mut(), len % 64) {
            *last = (1 << tail) - 1;
        }
        set
    }

    /// Number of indices the set ranges over.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many indices are in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether `index` is in the set; false beyond the end.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        index < self.len && self.words[(index / 64) as usize] >> (index % 64) & 1 == 1
    }

    /// Adds `index`; true if it was not there. Indices beyond the end are ignored.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= self.len || self.contains(index) {
            return false;
        }
        self.words[(index / 64) as usize] |= 1 << (index % 64);
        self.count += 1;
        true
    }

    /// Removes `index`; true if it was there.
    pub fn remove(&mut self, index: u32) -> bool {
        if !self.contains(index) {
            return false;
        }
        self.words[(index / 64) as usize] &= !(1 << (index % 64));
        self.count -= 1;
        true
    }

    /// Adds every index of the run `first..first + count`, clipped to the end, a word at a time.
    pub fn insert_run(&mut self, first: u32, count: u32) {
        self.change_run(first, count, |word, mask| *word |= mask);
    }

    /// Removes every index of the run `first..first + count`, clipped to the end, a word at a time.
    pub fn remove_run(&mut self, first: u32, count: u32) {
        self.change_run(first, count, |word, mask| *word &= !mask);
    }

    fn change_run(&mut self, first: u32, count: u32, change: impl Fn(&mut u64, u64)) {
        let end = first.saturating_add(count).min(self.len);
        if first >= end {
            return;
        }
        for at in first / 64..=(end - 1) / 64 {
            let low = if at == first / 64 { u64::MAX << (first % 64) } else { u64::MAX };
            let high = if at == (end - 1) / 64 { u64::MAX >> (63 - (end - 1) % 64) } else { u64::MAX };
            let word = &mut self.words[at as usize];
            let before = word.count_ones();
            change(word, low & high);
            self.count = self.count + word.count_ones() - before;
        }
    }

    /// First index at or after `from` that is in `self`, in `and` (if given) and not in `but_not` (if given).
    #[must_use]
    pub fn next(&self, from: u32, and: Option<&Self>, but_not: Option<&Self>) -> Option<u32> {
        self.next_in(from, self.len, and, but_not)
    }

    /// The same, looking no further than `end`.
    #[must_use]
    pub fn next_in(&self, from: u32, end: u32, and: Option<&Self>, but_not: Option<&Self>) -> Option<u32> {
        let end = end.min(self.len);
        if from >= end {
            return None;
        }
        let mut at = (from / 64) as usize;
        let mut keep = u64::MAX << (from % 64);
        while at < end.div_ceil(64) as usize {
            let and_word = and.map_or(u64::MAX, |s| s.words.get(at).copied().unwrap_or(0));
            let not_word = but_not.map_or(0, |s| s.words.get(at).copied().unwrap_or(0));
            let word = self.words[at] & and_word & !not_word & keep;
            if word != 0 {
                let found = at as u32 * 64 + word.trailing_zeros();
                return (found < end).then_some(found);
            }
            keep = u64::MAX;
            at += 1;
        }
        None
    }

    /// How many indices of `first..end` are in `self` or in `or` (if given), which must range over the same indices.
    #[must_use]
    pub fn count_in(&self, first: u32, end: u32, or: Option<&Self>) -> u32 {
        let end = end.min(self.len);
        if first >= end {
            return 0;
        }
        let (from, to) = (first / 64, (end - 1) / 64);
        (from..=to)
            .map(|at| {
                let low = if at == from { u64::MAX << (first % 64) } else { u64::MAX };
                let high = if at == to { u64::MAX >> (63 - (end - 1) % 64) } else { u64::MAX };
                let more = or.map_or(0, |s| s.words.get(at as usize).copied().unwrap_or(0));
                ((self.words[at as usize] | more) & low & high).count_ones()
            })
            .sum()
    }

    /// Whether no index is in both.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & b == 0)
    }

    /// Last index below `before` that is in `self` and in `and` (if given).
    #[must_use]
    pub fn prev(&self, before: u32, and: Option<&Self>) -> Option<u32> {
        let before = before.min(self.len);
        let mut at = before.div_ceil(64) as usize;
        let mut keep = if before.is_multiple_of(64) { u64::MAX } else { (1 << (before % 64)) - 1 };
        while at > 0 {
            at -= 1;
            let word =
                self.words[at] & keep & and.map_or(u64::MAX, |s| s.words.get(at).copied().unwrap_or(0));
            if word != 0 {
                return Some(at as u32 * 64 + 63 - word.leading_zeros());
            }
            keep = u64::MAX;
        }
        None
    }

    /// The set as ascending runs of (first, count).
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let first = self.next(at, None, None)?;
            let mut end = first + 1;
            while end < self.len && self.contains(end) {
                end += 1;
            }
            at = end;
            Some((first, end - first))
        })
    }

    /// The indices in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let index = self.next(at, None, None)?;
            at = index + 1;
            Some(index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_has_no_bit_beyond_its_end() {
        for len in [0, 1, 63, 64, 65, 200] {
            let set = BitSet::full(len);
            assert_eq!(set.count(), len);
            assert_eq!(set.iter().count() as u32, len);
            assert!(!set.contains(len));
        }
    }

    #[test]
    fn runs_are_added_and_removed_word_by_word_and_clipped() {
        for (first, count) in
            [(0, 0), (0, 1), (3, 61), (63, 2), (0, 64), (64, 64), (5, 190), (199, 9), (250, 3), (1, u32::MAX)]
        {
            let (mut run, mut single) = (BitSet::empty(200), BitSet::empty(200));
            run.insert_run(first, count);
            (first..first.saturating_add(count).min(200)).for_each(|index| {
                single.insert(index);
            });
            assert_eq!(run, single, "{first}+{count}");
            let mut rest = BitSet::full(200);
            rest.remove_run(first, count);
            assert!(rest.is_disjoint(&run));
            assert_eq!(rest.count() + run.count(), 200);
        }
    }

    #[test]
    fn a_search_ends_where_it_is_told() {
        let mut set = BitSet::empty(200);
        set.insert(130);
        assert_eq!(set.next_in(0, 130, None, None), None);
        assert_eq!(set.next_in(0, 131, None, None), Some(130));
        assert_eq!(set.next_in(130, u32::MAX, None, None), Some(130));
        assert_eq!(set.next_in(131, 200, None, None), None);
    }

    #[test]
    fn next_honours_both_masks_across_words() {
        let mut set = BitSet::full(200);
        let mut have = BitSet::empty(200);
        have.insert_run(70, 100);
        let mut taken = BitSet::empty(200);
        taken.insert_run(0, 130);
        assert_eq!(set.next(0, Some(&have), Some(&taken)), Some(130));
        set.remove(130);
        assert_eq!(set.next(0, Some(&have), Some(&taken)), Some(131));
        assert_eq!(set.next(170, Some(&have), None), None);
        assert_eq!(set.prev(200, Some(&taken)), Some(129));
        assert_eq!(set.prev(64, None), Some(63));
        assert_eq!(have.prev(70, None), None);
        assert_eq!(have.runs().collect::<Vec<_>>(), [(70, 100)]);
    }
}
