//! One machine of the world: its node, its place in the network, its files.

use crate::actors::Actor;
use crate::disk::Disk;
use crate::file::File;
use crate::link::Content;
use crate::net::Uplink;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use zest_core::lived::Lived;
use zest_core::node::{BitSet, Config, Event, JobFailure, Node};
use zest_core::{JobId, LinkId, PeerId};
use zest_xet::{Ballot, ChunkTable};

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its start is still to come.
    Waiting,
    /// It runs.
    Up,
    /// It crashed and comes back.
    Down,
    /// It is gone for good, or never was.
    Gone,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Failed(JobFailure),
}

/// One file on one machine.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) file: u32,
    pub(crate) job: JobId,
    pub(crate) chunks: u32,
    /// What the program takes the chunks in the partial file for, and who may write there: the real table, in which a chunk is
    /// either the right one or another.
    pub(crate) table: ChunkTable<bool>,
    /// Chunks whose bytes are right: the truth, which only the world knows.
    pub(crate) good: BitSet,
    /// Chunks whose bytes are not what the program takes them for.
    pub(crate) rotten: BTreeSet<u32>,
    /// Whether the chunk list of the file is proven.
    pub(crate) manifest: bool,
    /// Blocks whose chunk list is proven.
    pub(crate) listed: BitSet,
    /// A chunk list that comes in parts: who sends it, records so far, all good so far.
    pub(crate) parts: Option<(LinkId, u32, bool)>,
    /// Blocks the origin streams, by connection.
    pub(crate) fetches: BTreeMap<u32, u32>,
    /// Chunks that lie in other files of the machine; false if they are rotten there.
    pub(crate) local: BTreeMap<u32, bool>,
    /// Chunks that lie beside the file because somebody told that they are its: false if they are not.
    pub(crate) tentative: BTreeMap<u32, bool>,
    /// Votes for chunks, where the file did not prove.
    pub(crate) ballot: Ballot,
    /// Whether the node works on it.
    pub(crate) running: bool,
    pub(crate) end: Option<End>,
    /// When it was over, in nanoseconds.
    pub(crate) over_at: u64,
}

impl Task {
    pub(crate) fn new(file: u32, job: JobId, chunks: u32, blocks: u32) -> Self {
        Self {
            file,
            job,
            chunks,
            table: ChunkTable::default(),
            good: BitSet::empty(chunks),
            rotten: BTreeSet::new(),
            manifest: false,
            listed: BitSet::empty(blocks),
            parts: None,
            fetches: BTreeMap::new(),
            local: BTreeMap::new(),
            tentative: BTreeMap::new(),
            ballot: Ballot::default(),
            running: false,
            end: None,
            over_at: 0,
        }
    }

    /// Puts a chunk on the disk that is, or was taken for, the right one or not.
    pub(crate) fn keep(&mut self, index: u32, good: bool, taken_for: bool) {
        self.table.settle(index);
        self.table.wrote(index, taken_for, 0);
        if good {
            self.good.insert(index);
        } else {
            self.good.remove(index);
        }
        if good == taken_for {
            self.rotten.remove(&index);
        } else {
            self.rotten.insert(index);
        }
    }

    /// Takes a chunk off the disk again, and out of the journal.
    pub(crate) fn lose(&mut self, index: u32) {
        self.table.lose(index);
        self.good.remove(index);
        self.rotten.remove(&index);
    }

    /// What a proven list names for a chunk of a block, if there is one: the right chunk.
    pub(crate) fn named(&self, block: u32) -> Option<bool> {
        (self.manifest || self.listed.contains(block)).then_some(true)
    }

    /// Whether a chunk of a block counts as there.
    pub(crate) fn holds(&self, index: u32, block: u32) -> bool {
        self.table.holds(index, self.named(block))
    }

    /// Whether it does, and a proven list names it.
    pub(crate) fn is_proven(&self, index: u32, block: u32) -> bool {
        self.named(block).is_some() && self.holds(index, block)
    }

    /// All that counts as there.
    pub(crate) fn held(&self, file: &File) -> BitSet {
        let mut held = BitSet::empty(self.chunks);
        for index in 0..self.chunks {
            if self.holds(index, file.block_of(index)) {
                held.insert(index);
            }
        }
        held
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.end == Some(End::Complete)
    }
}

/// What a machine moved, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) up_payload: u64,
    pub(crate) up_control: u64,
    /// Chunks from peers that were needed and good.
    pub(crate) peer_new: u64,
    /// Chunks from peers whose request had been given up, or whose link was gone.
    pub(crate) peer_late: u64,
    /// Chunks from peers that were there already.
    pub(crate) peer_double: u64,
    /// Chunks from peers that were wrong.
    pub(crate) peer_wrong: u64,
    pub(crate) origin_new: u64,
    pub(crate) origin_waste: u64,
}

/// One machine.
pub(crate) struct Host {
    pub(crate) actor: Actor,
    pub(crate) life: Life,
    /// Counts its processes.
    pub(crate) epoch: u32,
    pub(crate) config: Config,
    pub(crate) node: Option<Box<Node>>,
    /// What finds peers, where nobody tells of them.
    pub(crate) seeker: Option<Box<crate::finding::Seeker>>,
    pub(crate) addr: SocketAddr,
    pub(crate) peer_id: PeerId,
    pub(crate) up: Uplink,
    pub(crate) down_bytes_s: u64,
    pub(crate) down_free_at: u64,
    /// Nobody can dial it.
    pub(crate) nat: bool,
    /// Which side of a partition it is on.
    pub(crate) side: bool,
    pub(crate) disk: Disk,
    /// Open ends of connections.
    pub(crate) links: Vec<u32>,
    pub(crate) tasks: Vec<Task>,
    /// When its node is to be woken; `u64::MAX`: never.
    pub(crate) armed: u64,
    /// Its clock runs so many microseconds ahead of the world's.
    pub(crate) ahead_us: u64,
    /// Its node's clock.
    pub(crate) lived: Lived,
    /// Its process is not run before then, and what came for it meanwhile.
    pub(crate) frozen_until: u64,
    pub(crate) unheard: Vec<Event>,
    /// When it was last run again.
    pub(crate) thawed_at: Option<u64>,
    pub(crate) ticking: bool,
    /// Start of its first process.
    pub(crate) started_at: u64,
    pub(crate) traffic: Traffic,
    /// When it first asked the origin for a block.
    pub(crate) first_fetch_at: Option<u64>,
    /// When the origin may send it the next chunk (its own share).
    pub(crate) origin_free_at: u64,
    /// Payload that its sockets took lately, to check its cap: time, bytes.
    pub(crate) uploads: std::collections::VecDeque<(u64, u64)>,
    pub(crate) uploads_bytes: u64,
    /// Small files, and when it had the last of them.
    pub(crate) plain: Vec<crate::plain::Plain>,
    pub(crate) plain_at: Option<u64>,
    pub(crate) plain_begun: bool,
    /// Payload it may still upload.
    pub(crate) budget: Option<u64>,
}

impl Host {
    pub(crate) fn task_of(&self, job: JobId) -> Option<usize> {
        self.tasks.iter().position(|task| task.job == job)
    }

    /// Whether it wants files and has not got all of them.
    pub(crate) fn is_busy(&self) -> bool {
        self.life != Life::Gone && self.tasks.iter().any(|task| task.end.is_none())
    }
}

/// Received bytes that the nodes hold by their number.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    slots: Vec<(u32, Option<Content>)>,
    free: Vec<u32>,
}

impl Buffers {
    pub(crate) fn put(&mut self, content: Content) -> zest_core::BufId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[at as usize];
        slot.1 = Some(content);
        zest_core::BufId(u64::from(slot.0) << 32 | u64::from(at))
    }

    /// Takes a buffer back; `None` if it was given back before.
    pub(crate) fn take(&mut self, id: zest_core::BufId) -> Option<Content> {
        let at = id.0 as u32;
        let slot = self.slots.get_mut(at as usize).filter(|slot| u64::from(slot.0) == id.0 >> 32)?;
        let content = slot.1.take()?;
        slot.0 += 1;
        self.free.push(at);
        Some(content)
    }

    pub(crate) fn out(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
