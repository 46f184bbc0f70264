//! Blocks that the origin gives now, pull by pull: each may have its share of them, whoever came first.

use alloc::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Active {
    all: u32,
    pulls: BTreeMap<u32, u32>,
}

/// How many a pull may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Of all pulls together, as a rule.
    pub(super) usual: u32,
    /// What each pull may have whatever the others have.
    pub(super) share: u32,
    /// Of all together in any case.
    pub(super) limit: u32,
}

impl Active {
    pub(crate) fn begin(&mut self, pull: u32) {
        self.all += 1;
        *self.pulls.entry(pull).or_default() += 1;
    }

    /// So many of a pull have ended.
    pub(crate) fn end(&mut self, pull: u32, blocks: u32) {
        self.all -= blocks;
        let left = self.of(pull) - blocks;
        if left == 0 {
            self.pulls.remove(&pull);
        } else {
            self.pulls.insert(pull, left);
        }
    }

    pub(crate) fn all(&self) -> u32 {
        self.all
    }

    pub(crate) fn of(&self, pull: u32) -> u32 {
        self.pulls.get(&pull).copied().unwrap_or(0)
    }

    /// Whether a pull may have no more.
    pub(super) fn is_full(&self, pull: u32, room: Room) -> bool {
        self.all >= room.usual && (self.of(pull) >= room.share || self.all >= room.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_gets_its_share_beside_one_that_has_all() {
        let mut active = Active::default();
        let room = Room { usual: 8, share: 4, limit: 10 };
        let mut fill = |pull| {
            while !active.is_full(pull, room) {
                active.begin(pull);
            }
            (active.of(pull), active.all())
        };
        assert_eq!(fill(1), (8, 8));
        assert_eq!(fill(2), (2, 10), "within the limit of all");
        active.end(1, 5);
        assert!(!active.is_full(2, room));
        active.end(1, 3);
        assert_eq!((active.of(1), active.all()), (0, 2));
    }
}
