//! What is known of the claims to each unit of a job, and how long a claim is believed.
//!
//! A claim ends when nothing is heard of it any more, or when nothing is seen of it: an owner whose unit does not turn up
//! anywhere near, however loudly it claims to be at it, has to make room for the next one.

use super::mouth::Mouth;
use crate::{Duration, Instant, LinkId};

/// An owner says that its claims stand this often: 4 s. Ours.
pub(super) const BEAT: Duration = Duration::from_secs(4);
/// A claim of which nothing was heard and seen for this long is dead: 10 s, two beats and a half. Ours; that an owner's
/// link broke is heard sooner.
pub(super) const DEAD: Duration = Duration::from_secs(10);
/// Beats from here on belong to units that are complete.
pub(super) const DONE: u16 = 0x8000;
/// No claim lives longer than this without the unit turning up: 10 min. Ours.
const CLAIM_MAX: Duration = Duration::from_secs(600);

/// Claims to a unit that died and are remembered: 4. Ours; where two are passed around, each would come back while the other is believed.
const DEAD_MAX: usize = 4;

/// The claim that died last, by score, and up to which beat; and some before it that were hearsay of which nothing came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dead([Option<Grave>; DEAD_MAX]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grave {
    score: u64,
    beat: u16,
    hearsay: bool,
}

impl Dead {
    /// A claim died. As `hearsay` it is remembered when another dies, too.
    pub(super) fn put(&mut self, score: u64, beat: u16, hearsay: bool) {
        let mut before = self.0.into_iter().flatten().filter(|grave| grave.hearsay && grave.score != score);
        let mut dead = [None; DEAD_MAX];
        dead[0] = Some(Grave { score, beat, hearsay });
        dead[1..].fill_with(|| before.next());
        self.0 = dead;
    }

    /// The last beat of the claim with this score, if it died.
    pub(super) fn beat(&self, score: u64) -> Option<u16> {
        self.0.iter().flatten().find(|grave| grave.score == score).map(|grave| grave.beat)
    }

    /// The one that died last.
    pub(super) fn last(&self) -> Self {
        let mut last = Self::default();
        last.0[0] = self.0[0];
        last
    }
}

/// Who says that it is at a part, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival {
    link: LinkId,
    done: bool,
}

impl Rival {
    /// The first one who says so, or the first who says that it has all of it now; `None`: there was one.
    pub(super) fn first(before: Option<Self>, link: LinkId, done: bool) -> Option<Self> {
        before.is_none_or(|rival| done && !rival.done).then_some(Self { link, done })
    }

    pub(super) fn link(self) -> LinkId {
        self.link
    }
}

/// What is known of a unit's claims.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// The claim that stands: score and beat.
    pub(super) claim: Option<(u64, u16)>,
    pub(super) mine: bool,
    /// Whose word it is; `None`: ours.
    pub(super) told_by: Option<Mouth>,
    /// It is ours though somebody else claims it, of whom nothing was seen: whose word that was.
    pub(super) contested: Option<Mouth>,
    /// A peer that says it is at it, too, though the claim that stands is above its own.
    pub(super) rival: Option<Rival>,
    /// When the claim came up.
    pub(super) since: Instant,
    /// When it was last heard of.
    pub(super) heard: Instant,
    /// Claims that died: what is still passed around of them is no news.
    pub(super) dead: Dead,
    /// When the unit was first found to be in need of somebody.
    pub(super) wanted: Option<Instant>,
    /// How long our turn is away from then.
    pub(super) turn: Duration,
    /// Chunks of the unit that were nearby when it was last looked at.
    pub(super) near: u32,
    /// When they had become more, or the unit's time came; `None`: it has not come.
    pub(super) moved: Option<Instant>,
}

impl Standing {
    /// Whether others are told of the claim.
    pub(super) fn is_passed_on(&self) -> bool {
        self.told_by.is_none_or(|by| by.is_passed_on())
    }

    pub(super) fn is_done(&self) -> bool {
        self.claim.is_some_and(|(_, beat)| beat >= DONE)
    }

    /// Until when the claim stands if nothing more is heard or seen of it.
    pub(super) fn until(&self, idle: Duration) -> Instant {
        let moved = self.moved.map(|at| at + idle);
        let quiet = (!self.is_done()).then(|| self.moved.map_or(self.heard, |at| at.max(self.heard)) + DEAD);
        let ends = moved.into_iter().chain(quiet).chain([self.since + CLAIM_MAX]);
        ends.min().unwrap_or(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_dead_claims_hearsay_is_remembered_and_else_the_last() {
        let mut dead = Dead::default();
        (0..4).for_each(|score| dead.put(score, 3, true));
        dead.put(0, 9, true);
        assert_eq!(dead.beat(0), Some(9), "a later beat takes no other's place");
        assert!((1..4).all(|score| dead.beat(score) == Some(3)));
        dead.put(99, 1, false);
        assert_eq!((dead.beat(99), dead.beat(1)), (Some(1), None), "the oldest makes room");
        dead.put(98, 1, false);
        assert_eq!((dead.beat(98), dead.beat(99), dead.beat(0)), (Some(1), None, Some(9)));
    }
}
