//! What goes into the node and what comes out of it.

use super::{BitSet, JobSpec, PlainSpec, Policy, Priority};
use crate::endpoint::Found;
use crate::link::{Body, Dialect, ManifestPart, Message, Outgoing, PayloadKind, PeerFault};
use crate::networks::Network;
use crate::outage::Trouble;
use crate::{BufId, Duration, Instant, JobId, LinkId, Location, PeerId, PlainId, ReqId};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use zest_xet::{ChunkRef, Hash, Manifest};

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We did.
    Outbound,
    /// The remote did.
    Inbound,
}

/// Anything that can give a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file that is already on this machine.
    Disk,
    /// A peer.
    Peer(LinkId),
    /// The Hub's CAS and CDN.
    Origin,
}

/// A run of chunks of a file that lie one after another in a xorb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Index in the file of the first chunk.
    pub first: u32,
    /// Chunks.
    pub count: u32,
    /// Index in the xorb of the first chunk.
    pub xorb_chunk: u32,
    /// Where the first chunk begins in the file, in bytes.
    pub offset: u64,
}

impl Run {
    /// The run's chunks, by index in the file.
    #[must_use]
    pub fn indices(&self) -> Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }

    /// Index in the file of a chunk of the xorb, if it is in the run.
    #[must_use]
    pub fn index_of(&self, xorb_chunk: u32) -> Option<u32> {
        xorb_chunk.checked_sub(self.xorb_chunk).filter(|nth| *nth < self.count).map(|nth| self.first + nth)
    }

    /// Whether the chunk with this index in the file is in the run.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        index >= self.first && index - self.first < self.count
    }
}

/// A part of the file that the origin gives in one ranged request (one fetch range of a xorb).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The xorb it lies in.
    pub xorb: Hash,
    /// First chunk of the xorb in this block, and one past the last.
    pub chunks: Range<u32>,
    /// The chunks of the file it gives, in the order the bytes arrive.
    pub runs: Vec<Run>,
    /// Serialised bytes.
    pub wire_bytes: u64,
    /// It is very likely the whole xorb, so that its chunk list can be proven by the xorb hash before the file's is
    /// known. Every node of a swarm has to come to the same answer: it follows from the reconstruction alone.
    pub whole: bool,
}

/// Why the origin did not give a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginFault {
    /// For people: "CDN answered 503 five times".
    pub text: String,
    /// The origin asked for this pause ([`FaultKind::Busy`]).
    pub retry_after: Option<Duration>,
    /// What follows from it.
    pub kind: FaultKind,
    /// Whoever failed has answered before, whatever it was asked: there is a line, or was.
    pub known: bool,
}

/// What follows from a fault of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It was not reached, or fell silent, or broke off: it is asked again soon, for as long as the user waits.
    Unreachable,
    /// It answered that it cannot at present (429, 5xx): it is asked again less and less often, for as long as the user waits.
    Busy,
    /// What it gave was not what was asked for: tried again a few times.
    Broken,
    /// Asking again cannot help.
    Permanent,
}

impl OriginFault {
    /// A fault of this kind.
    #[must_use]
    pub fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { text: text.into(), retry_after: None, kind, known: false }
    }

    /// What it means for the service that gave it; `None` if the service itself is well.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self.kind {
            FaultKind::Unreachable => Some(Trouble::Unreachable),
            FaultKind::Busy => Some(Trouble::Busy { retry_after: self.retry_after }),
            FaultKind::Broken | FaultKind::Permanent => None,
        }
    }
}

/// Where the records of a chunk list lie, in wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPlace {
    /// The part that was asked for.
    pub part: ManifestPart,
    /// The part's records.
    pub records: Body,
}

/// Why a job ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobFailure {
    /// Neither a peer nor the origin can give what is missing.
    NoSource {
        /// Chunks still missing.
        missing: u32,
        /// What the origin said last, if it was asked.
        origin: Option<OriginFault>,
    },
}

/// Something happened. Everything the node learns, it learns here.
#[derive(Debug)]
pub enum Event {
    /// An address that may be a peer.
    PeerFound {
        /// Where it listens.
        addr: SocketAddr,
        /// Who says so.
        how: Found,
    },
    /// Somebody wants to meet peers although nothing is fetched, or no longer does: addresses that strangers tell of are dialled
    /// only then, and while there is a job that peers may be asked for.
    Seeking {
        /// From now on.
        on: bool,
    },
    /// The networks that this machine is on: who is there is a neighbour, whatever kind of address it has. Counts for whoever says
    /// from now on what it understands.
    Networks {
        /// All of them, at most [`crate::networks::NETWORKS_MAX`].
        ours: Vec<Network>,
    },
    /// [`super::Action::Dial`] came to nothing.
    DialFailed {
        /// As it was asked.
        addr: SocketAddr,
    },
    /// [`super::Action::Dial`] led to ourselves. The address is forgotten.
    OwnAddress {
        /// As it was asked.
        addr: SocketAddr,
    },
    /// The BitTorrent handshake with a peer is done.
    LinkUp {
        /// Its link.
        link: LinkId,
        /// Its address: the dialled one, or the source of an inbound connection.
        addr: SocketAddr,
        /// Who opened it.
        direction: Direction,
        /// Its peer id.
        peer_id: PeerId,
    },
    /// The link is gone, whoever closed it. Not sent for links that never were up.
    LinkDown {
        /// Which.
        link: LinkId,
        /// What the remote did wrong, if that was the reason.
        fault: Option<PeerFault>,
    },
    /// A small message of a peer.
    Message {
        /// Its link.
        link: LinkId,
        /// The message.
        message: Message,
    },
    /// A whole payload of a peer lies in a buffer, unproven.
    Payload {
        /// Its link.
        link: LinkId,
        /// The request it answers.
        req: ReqId,
        /// What the peer says it is.
        kind: PayloadKind,
        /// Where it lies.
        buf: BufId,
        /// Bytes.
        len: u32,
    },
    /// A xorb range that was decoded while it arrived has ended; its chunks came as [`Event::ChunkDone`].
    BlockFromPeer {
        /// Its link.
        link: LinkId,
        /// The request it answers.
        req: ReqId,
        /// False if a byte of it was wrong.
        good: bool,
    },
    /// The system took payload bytes of answers from the link's queue ([`Outgoing::payload_bytes`] of what was sent).
    Sent {
        /// Its link.
        link: LinkId,
        /// Bytes since the last such event.
        bytes: u64,
    },
    /// Bytes that may still be uploaded until this is said again (a budget per day); `None` if there is no such limit.
    UploadBudget {
        /// Bytes left.
        bytes: Option<u64>,
    },
    /// Somebody wants a small file that peers may give: [`super::Action::PlainCame`] or [`super::Action::PlainAlone`], and in the end
    /// [`Event::PlainOver`].
    PlainWanted {
        /// Its number.
        plain: PlainId,
        /// What is known of it.
        spec: PlainSpec,
    },
    /// [`super::Action::PlainCame`] was another file.
    PlainBad {
        /// Which was wanted.
        plain: PlainId,
        /// Who gave it.
        link: LinkId,
    },
    /// A small file is in its place and can be looked up, or nobody wants it any more.
    PlainOver {
        /// Which.
        plain: PlainId,
    },
    /// Answer to [`super::Action::LookupPlain`].
    PlainLocated {
        /// Who asked.
        link: LinkId,
        /// The remote's request id.
        req: ReqId,
        /// Where the part is; `None`: it is not here, or not for this peer.
        body: Option<Body>,
    },
    /// Answer to [`super::Action::LookupChunk`].
    ChunkLocated {
        /// Who asked.
        link: LinkId,
        /// The remote's request id.
        req: ReqId,
        /// The chunk.
        hash: Hash,
        /// The dialect it asked in.
        dialect: Dialect,
        /// Where it lies, if we may share it.
        place: Option<Location>,
    },
    /// Answer to [`super::Action::LookupManifest`].
    ManifestLocated {
        /// Who asked.
        link: LinkId,
        /// The remote's request id.
        req: ReqId,
        /// Where its records lie, if we may share it.
        place: Option<ManifestPlace>,
    },
    /// Answer to [`super::Action::LookupFile`], also sent when what we hold of the file has grown.
    FileLocated {
        /// Who asked.
        link: LinkId,
        /// The file.
        file: Hash,
        /// Chunks of the whole file; 0 if we hold nothing that we may share.
        total: u32,
        /// What we hold.
        runs: Vec<(u32, u32)>,
    },
    /// Answer to [`super::Action::LookupXorb`], ready to be sent.
    XorbLocated {
        /// Who asked.
        link: LinkId,
        /// Chunk data or NOT_FOUND.
        answer: Outgoing,
    },
    /// A file is to be fetched.
    JobAdded {
        /// Its number.
        job: JobId,
        /// What is known of it.
        spec: JobSpec,
    },
    /// The origin told how the file is laid out, and is ready to give it. Only the first one of a job counts.
    JobPlanned {
        /// Which job.
        job: JobId,
        /// Chunks of the file.
        chunks: u32,
        /// What one ranged request gives.
        blocks: Vec<Block>,
        /// Chunks that already are in the partial file, proven by this process.
        held: Vec<u32>,
        /// Missing chunks that lie somewhere on this machine, index and place: in other files, or in the partial file since
        /// an earlier process.
        local: Vec<(u32, Location)>,
    },
    /// The file's manifest is known and proven against the file hash. Only the first one of a job counts.
    JobManifest {
        /// Which job.
        job: JobId,
        /// The proven list.
        manifest: Arc<Manifest>,
        /// Chunks that lie proven in the partial file. Anything the node thought held and is not here is missing again.
        held: BitSet,
        /// As in [`Event::JobPlanned`].
        local: Vec<(u32, Location)>,
    },
    /// The chunk list of a block's xorb is known and proven against the xorb hash.
    BlockListed {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// The xorb's chunks `block.chunks`, in order.
        list: Arc<[ChunkRef]>,
        /// Indices in the file of chunks of this block that the node may think held and that are not what the list
        /// says.
        wrong: Vec<u32>,
    },
    /// A chunk of a block of the origin was hashed whose list nothing proves yet. Told for each chunk of a block that
    /// [`Block::whole`] speaks of, before its [`Event::ChunkDone`].
    ChunkHashed {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Its place in the block, from 0.
        nth: u32,
        /// What it is.
        chunk: ChunkRef,
    },
    /// Outcome of [`super::Action::ProveTentative`]: it is what was told, and lies there until [`super::Action::DropTentative`] or the job's end.
    TentativeKept {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Its place in the block.
        nth: u32,
        /// Who gave it.
        link: LinkId,
        /// Where it lies.
        from: Location,
    },
    /// Outcome of [`super::Action::ProveTentative`]: it is not what was told.
    TentativeBad {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Its place in the block.
        nth: u32,
        /// Who gave it.
        link: LinkId,
    },
    /// Outcome of [`super::Action::ProveTentative`]: it could not be kept, which is nobody's fault. Nobody is followed for this job any more.
    TentativeLost {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Who gave it.
        link: LinkId,
    },
    /// The chunk list that a peer sent for a block's xorb did not prove.
    BlockListBad {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Who sent it.
        link: LinkId,
    },
    /// Peers are being looked for: under [`super::Policy::SpareOrigin`] a job that still waits for others does so until
    /// then.
    JobLooking {
        /// Which job.
        job: JobId,
        /// When the wait ends.
        until: Instant,
    },
    /// More is known of what a job wants first, such as how long the file's header is: see [`JobSpec::front`]. Told before
    /// the [`Event::ChunkDone`] of the chunk that says so, for the front is then not taken to be complete in between. Whatever
    /// it says does no harm: it is an order of fetching.
    JobFront {
        /// Which job.
        job: JobId,
        /// Bytes at the beginning of the file.
        bytes: u64,
    },
    /// Somebody who reads a job's file while it comes waits for these bytes: they are its front until all of them are held.
    /// Whatever it says does no harm: it is an order of fetching.
    JobAwaited {
        /// Which job.
        job: JobId,
        /// Bytes of the file, end excluded.
        bytes: Range<u64>,
    },
    /// A job is to rest, or to go on: nothing new is asked for while it rests.
    JobPaused {
        /// Which job.
        job: JobId,
        /// Rest or go on.
        paused: bool,
    },
    /// The user wants a job sooner or later than others.
    JobPriority {
        /// Which job.
        job: JobId,
        /// How soon.
        priority: Priority,
    },
    /// The user wants the origin used otherwise for a job: see [`JobSpec::policy`].
    JobPolicy {
        /// Which job.
        job: JobId,
        /// How it is used beside the peers; `None`: as the process does.
        policy: Option<Policy>,
    },
    /// The user has other wishes for the whole process from now on, see [`super::Config`].
    Settings {
        /// How the origin is used beside the peers by jobs that say nothing of it.
        policy: Policy,
        /// Upload cap in bytes/s over any second, if there is one.
        upload_bytes_s: Option<u64>,
        /// Download cap in bytes/s, peers and origin together, if there is one.
        download_bytes_s: Option<u64>,
    },
    /// The manifest gathered from a peer did not prove.
    ManifestBad {
        /// Which job.
        job: JobId,
        /// Who sent it.
        link: LinkId,
    },
    /// The origin did not tell how the file is laid out. If that may be mended it is asked again ([`super::Action::OriginPlan`]);
    /// else the origin cannot give this file at all (forbidden, gone).
    OriginGone {
        /// Which job.
        job: JobId,
        /// Why.
        why: OriginFault,
    },
    /// A fetch of a block is being answered; no chunk need be whole yet. While the origin is out: it is slow, not away.
    OriginHeard {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
    },
    /// A fetch of a block has ended.
    OriginEnded {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Why, if it did not give everything.
        fault: Option<OriginFault>,
    },
    /// A chunk lies in the partial file, checked as far as it can be. Those of an origin's block come before its
    /// [`Event::OriginEnded`].
    ChunkDone {
        /// Which job.
        job: JobId,
        /// Its index in the file.
        index: u32,
        /// Who gave it.
        source: Source,
    },
    /// A chunk failed its proof.
    ChunkBad {
        /// Which job.
        job: JobId,
        /// Its index in the file.
        index: u32,
        /// Who gave it.
        source: Source,
    },
    /// After [`super::Action::Complete`]: the whole did not prove; these chunks are to be fetched again.
    JobReopened {
        /// Which job.
        job: JobId,
        /// Their indices.
        missing: Vec<u32>,
    },
    /// The job is over (landed, failed or cancelled): forget it.
    JobRemoved {
        /// Which job.
        job: JobId,
    },
    /// We do not read from a link for now, or do again: a peer whose answers we leave lying is not silent.
    Intake {
        /// Which link.
        link: LinkId,
        /// Whether we read what comes.
        open: bool,
    },
    /// The time that [`super::Node::poll_timeout`] named has come.
    Timer,
}
