//! Small files outside Xet that are in memory to be given.

use crate::limits::{SMALL_KEPT_BYTES_MAX, SMALL_KEPT_MAX};
use std::collections::VecDeque;

/// Small files in memory, up to a bound; the one that was asked for last is last. What a file is, and where its bytes lie, the
/// runtime knows.
#[derive(Debug)]
pub struct SmallFiles<T> {
    files: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Default for SmallFiles<T> {
    fn default() -> Self {
        Self { files: VecDeque::new(), bytes: 0 }
    }
}

impl<T> SmallFiles<T> {
    /// One that is asked for, if it may still be given: `Err` with it, if not, and it is kept no more.
    pub fn asked(
        &mut self,
        is_it: impl Fn(&T) -> bool,
        gives: impl FnOnce(&T) -> bool,
    ) -> Option<Result<&T, T>> {
        let at = self.files.iter().position(|(_, file)| is_it(file))?;
        let (len, file) = self.files.remove(at)?;
        if !gives(&file) {
            self.bytes -= len;
            return Some(Err(file));
        }
        self.files.push_back((len, file));
        self.files.back().map(|(_, file)| Ok(file))
    }

    /// Keeps one of so many bytes, the last, and gives back those that make room for it.
    pub fn keep(&mut self, len: usize, file: T) -> Vec<T> {
        let mut gone = Vec::new();
        while self.files.len() >= SMALL_KEPT_MAX || self.bytes + len > SMALL_KEPT_BYTES_MAX {
            let Some((len, old)) = self.files.pop_front() else { break };
            self.bytes -= len;
            gone.push(old);
        }
        self.bytes += len;
        self.files.push_back((len, file));
        gone
    }

    /// One that is kept; that it is looked at changes nothing.
    pub fn get(&self, is_it: impl Fn(&T) -> bool) -> Option<&T> {
        self.files.iter().map(|(_, file)| file).find(|file| is_it(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_by_number_and_bytes_and_the_oldest_goes() {
        let (mut kept, mut gone) = (SmallFiles::default(), Vec::new());
        kept.keep(1 << 20, 0);
        for id in 1..20 {
            gone.extend(kept.keep(1 << 20, id));
            assert!(matches!(kept.asked(|file| *file == 0, |_| true), Some(Ok(0))), "asked for last is last");
        }
        assert_eq!((kept.bytes, kept.files.len()), (SMALL_KEPT_BYTES_MAX, 16));
        assert_eq!(gone, [1, 2, 3, 4]);
        assert!(kept.get(|file| *file == 19).is_some() && kept.get(|file| *file == 1).is_none());
        for id in 100..3000 {
            kept.keep(1, id);
        }
        assert_eq!((kept.bytes, kept.files.len()), (SMALL_KEPT_MAX, SMALL_KEPT_MAX));
        // One that is larger than all there may be is kept alone.
        kept.keep(2 * SMALL_KEPT_BYTES_MAX, 0);
        assert_eq!(kept.files.len(), 1);
    }

    #[test]
    fn what_may_be_given_no_more_is_kept_no_more() {
        let mut kept = SmallFiles::default();
        kept.keep(5, 'a');
        assert!(kept.asked(|file| *file == 'b', |_| true).is_none());
        assert!(matches!(kept.asked(|file| *file == 'a', |_| false), Some(Err('a'))));
        assert_eq!((kept.bytes, kept.get(|_| true)), (0, None));
    }
}
