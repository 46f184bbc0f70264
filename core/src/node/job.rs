//! One file being fetched: who has been asked for which chunk, what is held, and when the job is over.

use super::BitSet;
use super::event::{FaultKind, OriginFault};
use super::front::Front;
use super::layout::Layout;
use super::manifest::ManifestAsk;
use super::origin::BlockState;
use super::sparing::Left;
use super::standing::Claims;
use super::supply::Supply;
use super::tell::Shown;
use crate::{FileId, Instant, LinkId, Location, ReqId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use zest_xet::{ChunkRef, Hash, Manifest};

/// How soon the user wants a job, compared with others of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// After all others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before all others.
    High,
}

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
    /// What [`Location::file`] says of the partial file, so that proven chunks are served while others are still missing.
    pub place: FileId,
    /// Jobs of higher priority are filled first: small files.
    pub priority: u8,
    /// So many bytes at the beginning of the file come first, before anything else of any job: safetensors headers. 0 if it
    /// is all one. [`super::Event::JobFront`] changes it.
    pub front: u64,
}

impl JobSpec {
    /// Whether this peer may be spoken with of the file.
    pub(crate) fn is_open_to(&self, peer: &super::peer::Peer) -> bool {
        self.peers && (!self.near || peer.near)
    }
}

/// What the origin can do for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OriginState {
    /// It was asked for its layout.
    Waiting,
    /// It did not tell its layout, and will be asked again.
    Out,
    /// It gives blocks.
    Ready,
    /// It cannot give this file.
    Gone(OriginFault),
}

/// A job. Each chunk is in exactly one of `held`, `missing`, `asked`, `proving` and `copying`, so none can be lost;
/// [`Job::check_invariants`] proves it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) spec: JobSpec,
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) ask: Option<ManifestAsk>,
    /// Whether the number of chunks is known; until then the sets have length 0.
    pub(crate) sized: bool,
    /// In the partial file.
    pub(crate) held: BitSet,
    /// Nobody's yet. Blocks under way are in `covered` besides: others may overtake them.
    pub(crate) missing: BitSet,
    /// Missing chunks whose hash is known: what peers can be asked for.
    pub(crate) open: BitSet,
    /// Asked of a peer: the one request that counts. Older requests that were given up may still be answered.
    pub(crate) asked: BTreeMap<u32, (LinkId, ReqId)>,
    /// A peer's answer is being proven.
    pub(crate) proving: BitSet,
    /// On this machine: a copy is under way, or waits in `local`.
    pub(crate) copying: BitSet,
    /// In a block that the origin or a zest 0.4 peer is at.
    pub(crate) covered: BitSet,
    /// What the linked peers say they have, together.
    pub(crate) supply: Supply,
    /// What is held and proven, and whom that was told.
    pub(crate) shown: Shown,
    /// What is wanted before the rest.
    pub(crate) front: Front,
    /// Bytes for which a reader waits.
    pub(crate) awaited: Range<u64>,
    /// Since when.
    pub(crate) awaited_at: Instant,
    /// Which block gives which chunk, and the lists of blocks that are proven.
    pub(crate) layout: Layout,
    /// Who of the swarm fetches what (policy `spare-origin`).
    pub(crate) claims: Claims,
    /// Blocks that the origin streams to us and nothing proves yet.
    pub(crate) streams: BTreeMap<u32, super::streams::Stream>,
    /// Who offers such blocks.
    pub(crate) offers: BTreeMap<u32, Vec<LinkId>>,
    /// The same by the block's first chunk, before it is known what the file is made of.
    pub(crate) early_offers: BTreeSet<(LinkId, u32)>,
    /// Those that are had from one who streams them.
    pub(crate) takings: BTreeMap<u32, super::tentative::Taking>,
    /// Such blocks cannot be kept beside the file.
    pub(crate) no_room: bool,
    /// Block lists that are asked for.
    pub(crate) list_asks: BTreeMap<u32, (LinkId, ReqId)>,
    /// Chunks that were taken from a slow peer and asked for again: once is enough.
    pub(crate) twice: BTreeSet<u32>,
    /// Chunks of which more than the request that counts may be out.
    pub(crate) raced: BTreeSet<u32>,
    pub(crate) local: VecDeque<(u32, Location)>,
    /// Copies whose outcome has not come yet.
    pub(crate) copies: BTreeSet<u32>,
    pub(crate) blocks: Vec<BlockState>,
    pub(crate) origin: OriginState,
    /// The block at which the origin begins, once that is drawn.
    pub(crate) origin_first: Option<usize>,
    /// Blocks that others are first in line for, and until when they are left to them: where few fetch the same.
    pub(crate) left: Option<Left>,
    /// Peers alone are too slow: the origin gives whatever is missing, not only what no peer has.
    pub(crate) joined: bool,
    /// Many peers fetch it, too.
    pub(crate) many: bool,
    /// Measurements in a row that found chunks waiting behind full pipelines.
    pub(crate) waiting: u32,
    /// When something useful last happened.
    pub(crate) progress_at: Instant,
    /// When the origin last gave something, or was asked anew.
    pub(crate) origin_moved_at: Instant,
    /// The origin's head start for peers ends here at the latest.
    pub(crate) grace_end: Instant,
    /// Complete or failed: nothing more is asked for.
    pub(crate) ended: bool,
    /// Resting by the user's wish.
    pub(crate) paused: bool,
    /// How soon the user wants it.
    pub(crate) wish: Priority,
}

impl Job {
    pub(crate) fn new(now: Instant, spec: JobSpec) -> Self {
        let origin = match spec.origin {
            true => OriginState::Waiting,
            false => OriginState::Gone(permanent("the origin is not used")),
        };
        Self {
            spec,
            manifest: None,
            ask: None,
            sized: false,
            held: BitSet::empty(0),
            missing: BitSet::empty(0),
            open: BitSet::empty(0),
            asked: BTreeMap::new(),
            proving: BitSet::empty(0),
            copying: BitSet::empty(0),
            covered: BitSet::empty(0),
            supply: Supply::new(0),
            shown: Shown::new(0),
            front: Front::default(),
            awaited: 0..0,
            awaited_at: Instant::ZERO,
            layout: Layout::default(),
            claims: Claims::default(),
            streams: BTreeMap::new(),
            offers: BTreeMap::new(),
            early_offers: BTreeSet::new(),
            takings: BTreeMap::new(),
            no_room: false,
            list_asks: BTreeMap::new(),
            twice: BTreeSet::new(),
            raced: BTreeSet::new(),
            local: VecDeque::new(),
            copies: BTreeSet::new(),
            blocks: Vec::new(),
            origin,
            origin_first: None,
            left: None,
            joined: false,
            many: false,
            waiting: 0,
            progress_at: now,
            origin_moved_at: now,
            grace_end: now,
            ended: false,
            paused: false,
            wish: Priority::default(),
        }
    }

    pub(crate) fn set_len(&mut self, chunks: u32) {
        self.sized = true;
        self.held = BitSet::empty(chunks);
        self.missing = BitSet::full(chunks);
        self.proving = BitSet::empty(chunks);
        self.copying = BitSet::empty(chunks);
        self.covered = BitSet::empty(chunks);
        self.open = BitSet::empty(chunks);
        self.supply = Supply::new(chunks);
        self.shown = Shown::new(chunks);
        self.open_all();
    }

    /// Whether sources may be asked for more of it.
    pub(crate) fn wants(&self) -> bool {
        !self.ended && !self.paused && !self.missing.is_empty()
    }

    /// A chunk that the proven list names, and where it begins in the file.
    pub(crate) fn chunk(&self, index: u32) -> Option<(ChunkRef, u64)> {
        match &self.manifest {
            Some(manifest) if index < manifest.len() => Some((manifest.chunk(index), manifest.offset(index))),
            Some(_) => None,
            None => self.layout.chunk(index),
        }
    }

    /// Whether the hash of a chunk is known.
    pub(crate) fn is_listed(&self, index: u32) -> bool {
        self.manifest.is_some() || self.layout.chunk(index).is_some()
    }

    /// The chunk is nobody's again.
    pub(crate) fn give_back(&mut self, index: u32) {
        self.missing.insert(index);
        if self.is_listed(index) {
            self.open.insert(index);
        }
    }

    /// Somebody sees to the chunk; false if it was not nobody's.
    pub(crate) fn take(&mut self, index: u32) -> bool {
        self.open.remove(index);
        self.missing.remove(index)
    }

    /// Finds out anew which missing chunks can be asked for.
    pub(crate) fn open_all(&mut self) {
        self.open = match self.manifest.is_some() {
            true => self.missing.clone(),
            false => {
                let mut open = BitSet::empty(self.missing.len());
                for index in self.missing.iter().filter(|index| self.layout.chunk(*index).is_some()) {
                    open.insert(index);
                }
                open
            }
        };
    }

    /// Notes that a held chunk is what a proven list says: from now on it is served.
    pub(crate) fn show(&mut self, index: u32) {
        if let Some((chunk, _)) = self.chunk(index).filter(|_| self.held.contains(index)) {
            self.shown.add(index, &chunk.hash);
        }
    }

    /// Chunks of the file; 0 until that is known.
    pub(crate) fn len(&self) -> u32 {
        self.held.len()
    }

    /// Notes that a chunk is in the partial file, whoever was at it. Gives the request that nobody waits for any more.
    pub(crate) fn hold(&mut self, index: u32) -> Option<(LinkId, ReqId)> {
        self.take(index);
        self.proving.remove(index);
        self.copying.remove(index);
        self.twice.remove(&index);
        self.held.insert(index);
        self.front.advance(index, &self.held);
        self.asked.remove(&index)
    }

    /// Sets chunks aside that lie elsewhere on this machine: neither peers nor the origin are asked for them.
    pub(crate) fn set_aside(&mut self, local: Vec<(u32, Location)>) {
        for (index, from) in local {
            if self.take(index) {
                self.copying.insert(index);
                self.local.push_back((index, from));
            }
        }
    }

    pub(crate) fn blocks_active(&self) -> u32 {
        self.blocks.iter().filter(|b| b.active).count() as u32
    }

    pub(crate) fn check_invariants(&self) {
        let sets = [&self.held, &self.missing, &self.proving, &self.copying];
        for (at, set) in sets.iter().enumerate() {
            assert_eq!(set.len(), self.len(), "the sets of one job have one length");
            assert!(
                sets[at + 1..].iter().all(|other| set.is_disjoint(other)),
                "a chunk is in one place only"
            );
            assert!(self.asked.keys().all(|i| !set.contains(*i)), "a chunk asked for is nowhere else");
        }
        let placed = sets.iter().map(|s| s.count()).sum::<u32>() + self.asked.len() as u32;
        assert_eq!(placed, self.len(), "no chunk is lost");
        assert!(
            self.asked.keys().all(|index| self.is_listed(*index)),
            "chunks are asked for by a proven list only"
        );
        assert!(
            self.open.iter().all(|index| self.missing.contains(index) && self.is_listed(index)),
            "what can be asked for is missing and listed"
        );
        let open = self.missing.iter().filter(|index| self.is_listed(*index)).count();
        assert_eq!(open, self.open.count() as usize, "what is missing and listed can be asked for");
        self.check_front();
        self.shown.check_invariants(&self.held);
        assert!(self.shown.iter().all(|index| self.is_listed(index)), "only proven chunks are shown");
        let waits = |i: u32| self.copies.contains(&i) || self.local.iter().any(|(local, _)| *local == i);
        if self.copying.count() <= 64 {
            assert!(self.copying.iter().all(waits), "a chunk set aside is copied some time");
        }
        let mut covered = BitSet::empty(self.len());
        for state in self.blocks.iter().filter(|b| b.active || b.peer.is_some() || b.followed) {
            state.block.runs.iter().for_each(|run| covered.insert_run(run.first, run.count));
        }
        assert!(self.covered == covered, "covered is what blocks under way will give");
        assert!(
            !self.ended || (self.asked.is_empty() && self.blocks.iter().all(|b| !b.active || b.stopping)),
            "nothing is asked for a job that is over"
        );
    }
}

/// A fault that asking again cannot mend.
pub(crate) fn permanent(text: &str) -> OriginFault {
    OriginFault::new(FaultKind::Permanent, text)
}
