//! Small files outside Xet that are in memory.

use crate::limits::{SMALL_KEPT_BYTES_MAX, SMALL_KEPT_MAX};
use std::collections::VecDeque;
use std::sync::Arc;
use zest_core::BufId;

/// A small file in memory.
#[derive(Debug, Clone)]
pub(crate) struct Small {
    pub(crate) id: BufId,
    pub(crate) bytes: Arc<[u8]>,
}

/// Small files in memory, up to a bound; the one that was asked for last is last.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    files: VecDeque<(Small, T)>,
    bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { files: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Kept<T> {
    /// Takes one out.
    pub(crate) fn take(&mut self, is_it: impl Fn(&Small, &T) -> bool) -> Option<(Small, T)> {
        let at = self.files.iter().position(|(small, of)| is_it(small, of))?;
        let found = self.files.remove(at)?;
        self.bytes -= found.0.bytes.len();
        Some(found)
    }

    /// Puts one in its place, the last; others make room.
    pub(crate) fn put(&mut self, small: Small, of: T) {
        self.take(|known, _| known.id == small.id);
        while self.files.len() >= SMALL_KEPT_MAX
            || !self.files.is_empty() && self.bytes + small.bytes.len() > SMALL_KEPT_BYTES_MAX
        {
            self.bytes -= self.files.pop_front().map_or(0, |(old, _)| old.bytes.len());
        }
        self.bytes += small.bytes.len();
        self.files.push_back((small, of));
    }

    pub(crate) fn get(&self, id: BufId) -> Option<Arc<[u8]>> {
        self.files.iter().find(|(small, _)| small.id == id).map(|(small, _)| small.bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_by_number_and_bytes_and_the_oldest_goes() {
        let small = |id: u64, len: usize| Small { id: BufId(id), bytes: vec![0; len].into() };
        let mut kept: Kept<()> = Kept::default();
        for id in 0..20 {
            kept.put(small(id, 1 << 20), ());
            kept.put(small(0, 1 << 20), ());
        }
        assert_eq!((kept.bytes, kept.files.len()), (SMALL_KEPT_BYTES_MAX, 16));
        assert!(
            kept.get(BufId(0)).is_some() && kept.get(BufId(19)).is_some() && kept.get(BufId(1)).is_none()
        );
        for id in 100..3000 {
            kept.put(small(id, 1), ());
        }
        assert_eq!((kept.bytes, kept.files.len()), (SMALL_KEPT_MAX, SMALL_KEPT_MAX));
    }
}
