//! Where those stand whose requests wait.

use crate::Instant;
use crate::endpoint::Party;
use alloc::collections::BTreeSet;

/// Where a peer stands whose requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Nothing is under way to it: it needs one of the few places.
    Fresh,
    /// It is being sent to and may be given more.
    Going,
    /// It is being sent to, and that is enough for now.
    Full,
}

/// Those with requests that wait.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Parties that stand in line with a peer to which nothing is under way.
    pub(super) fresh: BTreeSet<(u64, Party)>,
    /// Those with a peer that is being sent to and may be given more. Peers that may not stand nowhere: so whoever is next is
    /// found without looking at them.
    pub(super) going: BTreeSet<(u64, Party)>,
    /// Peers with requests that wait, wherever they stand.
    pub(super) waiting: usize,
    /// Parties of theirs.
    pub(super) waiting_parties: usize,
    /// Turns so far.
    pub(super) turns: u64,
    /// Requests that wait.
    pub(super) queued: u32,
    /// Time from one turn to the next while somebody waits, µs: the average, the last ones weigh most.
    pub(super) pace_us: u64,
    /// When the last turn was.
    pub(super) turn_at: Instant,
}
