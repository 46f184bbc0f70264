//! What is known of one swarm, one group of files, one job.

use super::event::{GroupId, OpId};
use crate::endpoint::Found;
use crate::{InfoHash, Instant, JobId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::SocketAddr;

/// A swarm is a file, or a xorb that some wanted file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File { bytes: u64, group: GroupId },
    Xorb,
}

/// One look for peers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) began: Instant,
    /// When it ends at the latest.
    pub(super) ends: Instant,
    pub(super) op: Option<OpId>,
}

/// How peers of a wanted swarm are looked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Search {
    /// When the next round begins; `None` while one is under way.
    pub(super) due: Option<Instant>,
    pub(super) round: Option<Round>,
    /// Rounds that have ended.
    pub(super) rounds: u32,
    /// Rounds in a row that found nobody.
    pub(super) empty: u32,
    /// The DHT was asked last when nobody there answered.
    pub(super) vain: bool,
    /// Looked for although another file of its group stands for it.
    pub(super) alone: bool,
}

/// How a seeded swarm is announced in the DHT.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeding {
    pub(super) since: Instant,
    pub(super) last: Option<Instant>,
    pub(super) next: Instant,
    /// When a peer asked for it last.
    pub(super) asked: Option<Instant>,
    /// Nobody heard the last announcement.
    pub(super) vain: bool,
    /// It stands for its group.
    pub(super) lead: bool,
    pub(super) op: Option<OpId>,
}

#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) kind: Kind,
    /// Not spoken of from then on.
    pub(super) until: Instant,
    /// Spoken of on this network alone.
    pub(super) near: bool,
    pub(super) jobs: BTreeSet<JobId>,
    pub(super) search: Search,
    pub(super) seeding: Option<Seeding>,
}

impl Swarm {
    pub(super) fn new(kind: Kind, until: Instant, near: bool) -> Self {
        Self { kind, until, near, jobs: BTreeSet::new(), search: Search::default(), seeding: None }
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub(super) fn group(&self) -> Option<GroupId> {
        match self.kind {
            Kind::File { group, .. } => Some(group),
            Kind::Xorb => None,
        }
    }
}

/// Files that are usually held together. The largest stands for the others: it is announced most often and looked up first,
/// and every node that has the whole group comes to the same one.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) seeded: BTreeSet<(Reverse<u64>, InfoHash)>,
    pub(super) wanted: BTreeSet<(Reverse<u64>, InfoHash)>,
}

impl Group {
    pub(super) fn lead_seeded(&self) -> Option<InfoHash> {
        self.seeded.first().map(|(_, swarm)| *swarm)
    }

    pub(super) fn lead_wanted(&self) -> Option<InfoHash> {
        self.wanted.first().map(|(_, swarm)| *swarm)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seeded.is_empty() && self.wanted.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct JobSwarms {
    pub(super) file: InfoHash,
    /// Those that may be looked up.
    pub(super) xorbs: Vec<InfoHash>,
    /// They are.
    pub(super) by_xorb: bool,
}

/// A question to the DHT.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op {
    pub(super) swarm: InfoHash,
    pub(super) began: Instant,
    /// What it was thought to cost.
    pub(super) packets: u32,
}

/// What was found in a swarm lately, whoever asked.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) touched: Instant,
    /// When the last round began.
    pub(super) looked: Option<Instant>,
    pub(super) peers: BTreeMap<SocketAddr, (Found, Instant)>,
}
