//! Who said something of a claim.

use super::authors::Author;
use crate::LinkId;

/// Whose word a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mouth {
    pub(super) author: Author,
    pub(super) link: LinkId,
    /// It claims the part for itself: the score is its own.
    pub(super) own: bool,
    /// It has given something useful, so that it is part of the swarm.
    pub(super) useful: bool,
    /// The job has only begun: nobody can have given anything yet.
    pub(super) early: bool,
    /// It would offer us what it streams.
    pub(super) offers: bool,
    /// We gave way to it: those whom we had told that it is ours have to hear whose it is.
    pub(super) instead_of_ours: bool,
}

impl Mouth {
    /// Whether it is passed on by one who has given nothing.
    pub(super) fn is_strange(&self) -> bool {
        !self.own && !self.useful
    }

    /// Whether it speaks of itself and has given something before.
    pub(super) fn is_known(&self) -> bool {
        self.own && self.useful
    }

    /// Whether others are told of it, too: what its owner says, and what somebody passes on who gives. Anything else is heard by those
    /// alone whom it is told, so that it is found out where it comes from; but for the first seconds of a job, as news have to cross
    /// a swarm in which nobody knows anybody.
    pub(super) fn is_passed_on(&self) -> bool {
        !self.is_strange() || self.early || self.instead_of_ours
    }
}
