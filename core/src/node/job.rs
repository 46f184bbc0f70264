//! One file being fetched: who has been asked for which chunk, what is held, and when the job is over.

use super::chunk_lists::ChunkLists;
use super::course::Course;
use super::event::{FaultKind, OriginFault};
use super::from_origin::{FromOrigin, OriginState};
use super::front::{Awaited, Front};
use super::sets::Sets;
use super::supply::Supply;
use super::tell::Shown;
use super::unit_claims::Claims;
use super::unproven::Unproven;
use super::{BitSet, Policy};
use crate::{FileId, Instant, LinkId, Location, ReqId};
use alloc::vec::Vec;
use zest_xet::{ChunkRef, Hash};

/// What is known of a file when its job begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// The file hash (`xetHash`), from the Hub.
    pub file: Hash,
    /// Bytes, from the Hub.
    pub size: u64,
    /// Whether peers may be asked for it (only what an anonymous request could read).
    pub peers: bool,
    /// Whether only those are told of it, ask and are asked who speak of our Hub ([`super::Config::hub`]) on this network or by
    /// name: that Hub shows it to everyone, but the world does not know that Hub.
    pub near: bool,
    /// Whether the origin may be asked for it.
    pub origin: bool,
    /// Whether the origin is asked for the file's layout only once the node wants it ([`super::Action::OriginPlan`]). Else whoever adds
    /// the job asks at once.
    pub layout_later: bool,
    /// How the origin is used beside peers; `None`: as the process does ([`super::Config::policy`]).
    /// [`super::Event::JobPolicy`] changes it.
    pub policy: Option<Policy>,
    /// What [`Location::file`] says of the partial file, so that proven chunks are served while others are still missing.
    pub place: FileId,
    /// Of which pull it is. Pulls that are equally urgent get equal shares, so that a big one holds up no small and no later one; the
    /// files of one pull come one after the other.
    pub pull: u32,
    /// Of one pull's jobs those of higher priority are filled first: small files.
    pub priority: u8,
    /// So many bytes at the beginning of the file come first, before anything else of any job: safetensors headers. 0 if it
    /// is all one. [`super::Event::JobFront`] changes it.
    pub front: u64,
}

impl JobSpec {
    /// A file that peers and the origin may be asked for, and of which nothing comes first.
    #[must_use]
    pub fn new(file: Hash, size: u64, place: FileId) -> Self {
        Self {
            file,
            size,
            peers: true,
            near: false,
            origin: true,
            layout_later: false,
            policy: None,
            place,
            pull: 0,
            priority: 0,
            front: 0,
        }
    }

    /// Whether this peer may be spoken with of the file.
    pub(crate) fn is_open_to(&self, peer: &super::peer::Peer) -> bool {
        self.peers && (!self.near || peer.who.near)
    }
}

/// A job: what it is about, and rooms for what is known of it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) spec: JobSpec,
    /// Where each chunk is.
    pub(crate) sets: Sets,
    /// Which chunks the file has.
    pub(crate) lists: ChunkLists,
    /// What the linked peers say they have, together.
    pub(crate) supply: Supply,
    /// What is held and proven, and whom that was told.
    pub(crate) shown: Shown,
    /// What is wanted before the rest.
    pub(crate) front: Front,
    /// What of it somebody waits for.
    pub(crate) awaited: Awaited,
    /// What the origin is at.
    pub(crate) origin: FromOrigin,
    /// Who of the swarm fetches what (policy `spare-origin`).
    pub(crate) claims: Claims,
    /// What is streamed from the origin, by us or by peers, and not proven yet.
    pub(crate) unproven: Unproven,
    /// How it goes.
    pub(crate) course: Course,
}

impl Job {
    /// One for which the process has this policy, unless it has its own.
    pub(crate) fn new(now: Instant, spec: JobSpec, usual: Policy) -> Self {
        let policy = spec.policy.unwrap_or(usual);
        let origin = match spec.origin {
            true if spec.layout_later => OriginState::Unasked,
            true => OriginState::Waiting,
            false => OriginState::Gone(permanent("the origin is not used")),
        };
        Self {
            spec,
            sets: Sets::default(),
            lists: ChunkLists::default(),
            supply: Supply::new(0),
            shown: Shown::new(0),
            front: Front::default(),
            awaited: Awaited::default(),
            origin: FromOrigin::new(now, origin, policy),
            claims: Claims::default(),
            unproven: Unproven::default(),
            course: Course::new(now),
        }
    }

    pub(crate) fn set_len(&mut self, chunks: u32) {
        self.sets = Sets::all_missing(chunks);
        self.supply = Supply::new(chunks);
        self.shown = Shown::new(chunks);
        self.open_all();
    }

    /// Whether it asks the origin whenever the peers alone are slower.
    pub(crate) fn is_fast(&self) -> bool {
        self.origin.policy == Policy::Fastest
    }

    /// Whether sources may be asked for more of it.
    pub(crate) fn wants(&self) -> bool {
        !self.course.ended && !self.course.paused && !self.sets.missing.is_empty()
    }

    /// A chunk that the proven list names, and where it begins in the file.
    pub(crate) fn chunk(&self, index: u32) -> Option<(ChunkRef, u64)> {
        match &self.lists.manifest {
            Some(manifest) if index < manifest.len() => Some((manifest.chunk(index), manifest.offset(index))),
            Some(_) => None,
            None => self.lists.layout.chunk(index),
        }
    }

    /// Whether the hash of a chunk is known.
    pub(crate) fn is_listed(&self, index: u32) -> bool {
        self.lists.manifest.is_some() || self.lists.layout.chunk(index).is_some()
    }

    /// The chunk is nobody's again.
    pub(crate) fn give_back(&mut self, index: u32) {
        self.sets.missing.insert(index);
        if self.is_listed(index) {
            self.sets.open.insert(index);
        }
    }

    /// Somebody sees to the chunk; false if it was not nobody's.
    pub(crate) fn take(&mut self, index: u32) -> bool {
        self.sets.open.remove(index);
        self.sets.missing.remove(index)
    }

    /// Finds out anew which missing chunks can be asked for.
    pub(crate) fn open_all(&mut self) {
        self.sets.open = match self.lists.manifest.is_some() {
            true => self.sets.missing.clone(),
            false => {
                let mut open = BitSet::empty(self.sets.missing.len());
                for index in
                    self.sets.missing.iter().filter(|index| self.lists.layout.chunk(*index).is_some())
                {
                    open.insert(index);
                }
                open
            }
        };
    }

    /// Notes that a held chunk is what a proven list says: from now on it is served.
    pub(crate) fn show(&mut self, index: u32) {
        if let Some((chunk, _)) = self.chunk(index).filter(|_| self.sets.held.contains(index)) {
            self.shown.add(index, &chunk.hash);
        }
    }

    /// Chunks of the file; 0 until that is known.
    pub(crate) fn len(&self) -> u32 {
        self.sets.held.len()
    }

    /// Notes that a chunk is in the partial file, whoever was at it. Gives the request that nobody waits for any more.
    pub(crate) fn hold(&mut self, index: u32) -> Option<(LinkId, ReqId)> {
        self.take(index);
        self.sets.proving.remove(index);
        self.sets.copying.remove(index);
        self.sets.twice.remove(&index);
        self.sets.held.insert(index);
        self.front.advance(index, &self.sets.held);
        self.sets.asked.remove(&index)
    }

    /// Sets chunks aside that lie elsewhere on this machine: neither peers nor the origin are asked for them.
    pub(crate) fn set_aside(&mut self, local: Vec<(u32, Location)>) {
        for (index, from) in local {
            if self.take(index) {
                self.sets.copying.insert(index);
                self.sets.local.push_back((index, from));
            }
        }
    }

    pub(crate) fn blocks_active(&self) -> u32 {
        self.active_blocks().count() as u32
    }

    /// Blocks that the origin streams.
    pub(crate) fn active_blocks(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.origin.blocks).filter(|(_, state)| state.active).map(|(at, _)| at)
    }

    pub(crate) fn check_invariants(&self) {
        let sets = [&self.sets.held, &self.sets.missing, &self.sets.proving, &self.sets.copying];
        for (at, set) in sets.iter().enumerate() {
            assert_eq!(set.len(), self.len(), "the sets of one job have one length");
            assert!(
                sets[at + 1..].iter().all(|other| set.is_disjoint(other)),
                "a chunk is in one place only"
            );
            assert!(self.sets.asked.keys().all(|i| !set.contains(*i)), "a chunk asked for is nowhere else");
        }
        let placed = sets.iter().map(|s| s.count()).sum::<u32>() + self.sets.asked.len() as u32;
        assert_eq!(placed, self.len(), "no chunk is lost");
        assert!(
            self.sets.asked.keys().all(|index| self.is_listed(*index)),
            "chunks are asked for by a proven list only"
        );
        assert!(
            self.sets.open.iter().all(|index| self.sets.missing.contains(index) && self.is_listed(index)),
            "what can be asked for is missing and listed"
        );
        let open = self.sets.missing.iter().filter(|index| self.is_listed(*index)).count();
        assert_eq!(open, self.sets.open.count() as usize, "what is missing and listed can be asked for");
        self.front.check_invariants(&self.sets.held);
        self.shown.check_invariants(&self.sets.held);
        assert!(self.shown.iter().all(|index| self.is_listed(index)), "only proven chunks are shown");
        let waits =
            |i: u32| self.sets.copies.contains(&i) || self.sets.local.iter().any(|(local, _)| *local == i);
        if self.sets.copying.count() <= 64 {
            assert!(self.sets.copying.iter().all(waits), "a chunk set aside is copied some time");
        }
        let mut covered = BitSet::empty(self.len());
        for state in self.origin.blocks.iter().filter(|b| b.active || b.peer.is_some() || b.followed) {
            state.block.runs.iter().for_each(|run| covered.insert_run(run.first, run.count));
        }
        assert!(self.sets.covered == covered, "covered is what blocks under way will give");
        assert!(
            !self.course.ended
                || (self.sets.asked.is_empty() && !self.origin.blocks.iter().any(|block| block.goes_on())),
            "nothing is asked for a job that is over"
        );
    }
}

/// A fault that asking again cannot mend.
pub(crate) fn permanent(text: &str) -> OriginFault {
    OriginFault::new(FaultKind::Permanent, text)
}
