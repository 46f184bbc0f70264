//! What a node wants done.

use super::event::JobFailure;
use crate::link::{Dialect, Outgoing, PlainKey};
use crate::{BufId, InfoHash, Instant, JobId, LinkId, Location, PeerId, PlainId, ReqId};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use zest_xet::{ChunkRef, Hash};

/// Something to do. The runtime performs actions in order.
#[derive(Debug)]
pub enum Action {
    /// Open a connection; the outcome is [`super::Event::LinkUp`] or [`super::Event::DialFailed`].
    Dial {
        /// Where to.
        addr: SocketAddr,
        /// The swarm to name in the handshake.
        info_hash: InfoHash,
    },
    /// Hand a message to a link.
    Send {
        /// Which.
        link: LinkId,
        /// What.
        message: Outgoing,
    },
    /// Close a link; [`super::Event::LinkDown`] follows.
    Close {
        /// Which.
        link: LinkId,
        /// For the log.
        why: &'static str,
    },
    /// Prove a chunk in a buffer and write it; the outcome is [`super::Event::ChunkDone`] or [`super::Event::ChunkBad`].
    Prove {
        /// Which job.
        job: JobId,
        /// Its index in the file.
        index: u32,
        /// What it must be.
        chunk: ChunkRef,
        /// Where it goes in the file.
        offset: u64,
        /// Where it lies.
        buf: BufId,
        /// Who sent it.
        link: LinkId,
    },
    /// Give a buffer back.
    Free {
        /// Which.
        buf: BufId,
    },
    /// Keep a part of a manifest and free its buffer. After the `last`, prove the whole: [`super::Event::JobManifest`] or
    /// [`super::Event::ManifestBad`].
    KeepManifestPart {
        /// Which job.
        job: JobId,
        /// Who sent it.
        link: LinkId,
        /// Its records.
        buf: BufId,
        /// First chunk in it; 0 begins a new list.
        first: u32,
        /// Whether the list is complete with it.
        last: bool,
    },
    /// Prove these records against the hash of the block's xorb and free the buffer: [`super::Event::BlockListed`] or
    /// [`super::Event::BlockListBad`].
    ProveBlockList {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Who sent it.
        link: LinkId,
        /// All its records, from chunk 0 of the xorb.
        buf: BufId,
    },
    /// Compare a chunk in a buffer with what its author told, keep it where it lands on nothing that counts, in no
    /// journal, and free the buffer: [`super::Event::TentativeKept`] or [`super::Event::TentativeBad`]. Nothing proves it yet.
    ProveTentative {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// Its place in the block.
        nth: u32,
        /// Bytes of the run of the file it lies in that come before it, if the list is what its author told. Nothing proves that either.
        before: u64,
        /// What its author says that it is.
        chunk: ChunkRef,
        /// Where it lies.
        buf: BufId,
        /// Its author.
        link: LinkId,
    },
    /// What was kept of this block is of no use: remove it. What is still being compared is told of all the same.
    DropTentative {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
    },
    /// This list proved itself against the hash of the block's xorb: keep it as one that a peer sent, and answer with
    /// [`super::Event::BlockListed`]. What was kept of the block is asked for with [`Action::CopyLocal`].
    AdoptBlockList {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
        /// The xorb's chunks.
        list: Arc<[ChunkRef]>,
    },
    /// Copy a chunk from a file on this machine, or look whether it still lies in the partial file, proving it; the outcome is [`super::Event::ChunkDone`] or
    /// [`super::Event::ChunkBad`].
    CopyLocal {
        /// Which job.
        job: JobId,
        /// Its index in the file.
        index: u32,
        /// Where it lies.
        from: Location,
    },
    /// Ask the origin how the file is laid out; the outcome is [`super::Event::JobPlanned`] or [`super::Event::OriginGone`]. The first
    /// time the runtime asks by itself, but for [`super::JobSpec::layout_later`].
    OriginPlan {
        /// Which job.
        job: JobId,
    },
    /// Stream a block from the origin, decoding; [`super::Event::ChunkDone`] per chunk, [`super::Event::BlockListed`] if it turned out to
    /// be a whole xorb and its list is new, [`super::Event::OriginEnded`] at the end.
    OriginFetch {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
    },
    /// Others gave the rest of the block: end the fetch; [`super::Event::OriginEnded`] follows.
    OriginStop {
        /// Which job.
        job: JobId,
        /// Which block.
        block: u32,
    },
    /// The peer says much that leads to nothing: take nothing in from this link before `until`. What is read already is told.
    Hold {
        /// Which.
        link: LinkId,
        /// Until when.
        until: Instant,
    },
    /// Where is this chunk, and may it be shared? [`super::Event::ChunkLocated`].
    LookupChunk {
        /// Who asks.
        link: LinkId,
        /// The remote's request id.
        req: ReqId,
        /// The chunk.
        hash: Hash,
        /// The dialect it asked in.
        dialect: Dialect,
    },
    /// Where are these chunks of a xorb, and may they be shared? [`super::Event::XorbLocated`].
    LookupXorb {
        /// Who asks.
        link: LinkId,
        /// The remote's request id.
        req: ReqId,
        /// The xorb.
        xorb: Hash,
        /// First chunk.
        start: u32,
        /// One past the last.
        end: u32,
    },
    /// Where is this part of a chunk list, and may it be shared? [`super::Event::ManifestLocated`].
    LookupManifest {
        /// Who asks.
        link: LinkId,
        /// The remote's request id.
        req: ReqId,
        /// The file, or a xorb whose list a job under way has proven.
        file: Hash,
        /// First chunk wanted.
        first: u32,
        /// How many at most.
        count: u32,
    },
    /// Where is this part of a small file, and may it be shared? [`super::Event::PlainLocated`].
    LookupPlain {
        /// Who asks.
        link: LinkId,
        /// The remote's request id.
        req: ReqId,
        /// The file.
        key: PlainKey,
        /// Bytes of it, as the remote says.
        size: u32,
        /// First byte of the part; how long it is follows from both ([`crate::wire::zest::plain_part_len`]).
        offset: u32,
    },
    /// All parts of a small file came from one peer: free the buffers and prove the whole; [`super::Event::PlainBad`] if it is
    /// another file.
    PlainCame {
        /// Which.
        plain: PlainId,
        /// Who sent it.
        link: LinkId,
        /// Its parts, in order.
        bufs: Vec<BufId>,
    },
    /// Peers do not give a small file: ask the Hub.
    PlainAlone {
        /// Which.
        plain: PlainId,
    },
    /// What do we hold of this file that may be shared? [`super::Event::FileLocated`].
    LookupFile {
        /// Who asks.
        link: LinkId,
        /// The file.
        file: Hash,
    },
    /// Every chunk is in the partial file. Seal and land it, then [`super::Event::JobRemoved`], or [`super::Event::JobReopened`].
    Complete {
        /// Which job.
        job: JobId,
    },
    /// The job cannot go on. Keep what is proven, then [`super::Event::JobRemoved`].
    Failed {
        /// Which job.
        job: JobId,
        /// Why.
        why: Box<JobFailure>,
    },
    /// A peer was shut out. For the log and the statistics; its link is closed by its own action.
    Banned {
        /// Its address.
        addr: SocketAddr,
        /// Its peer id.
        peer_id: PeerId,
        /// Until when.
        until: Instant,
        /// The jobs that it had something for, or was asked for. None is named if its link had ended before.
        jobs: Vec<JobId>,
    },
}
