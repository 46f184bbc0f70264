//! What is known of the claims to each unit of a job, and how long a claim is believed.
//!
//! A claim ends when nothing is heard of it any more, or when nothing is seen of it: an owner whose unit does not turn up
//! anywhere near, however loudly it claims to be at it, has to make room for the next one.

use super::mouth::Mouth;
use crate::{Duration, Instant};

/// An owner says that its claims stand this often: 4 s. Ours.
pub(super) const BEAT: Duration = Duration::from_secs(4);
/// A claim of which nothing was heard and seen for this long is dead: 10 s, two beats and a half. Ours; that an owner's
/// link broke is heard sooner.
pub(super) const DEAD: Duration = Duration::from_secs(10);
/// Beats from here on belong to units that are complete.
pub(super) const DONE: u16 = 0x8000;
/// No claim lives longer than this without the unit turning up: 10 min. Ours.
const CLAIM_MAX: Duration = Duration::from_secs(600);

/// What is known of a unit's claims.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// The claim that stands: score and beat.
    pub(super) claim: Option<(u64, u16)>,
    pub(super) mine: bool,
    /// Whose word it is; `None`: ours.
    pub(super) told_by: Option<Mouth>,
    /// When the claim came up.
    pub(super) since: Instant,
    /// When it was last heard of.
    pub(super) heard: Instant,
    /// A claim that died: what is still passed around of it, up to this beat, is no news.
    pub(super) dead: Option<(u64, u16)>,
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
