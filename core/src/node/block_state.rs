//! One fetch range of the origin: whether somebody is at it, and how it goes.

use super::BitSet;
use super::event::{Block, Run};
use crate::outage::Outage;
use crate::{Instant, LinkId};

/// One fetch range of the origin.
#[derive(Debug)]
pub(crate) struct BlockState {
    pub(crate) block: Block,
    /// The origin streams it.
    pub(crate) active: bool,
    /// It was told to end that.
    pub(crate) stopping: bool,
    /// A zest 0.4 peer was asked for it, and when.
    pub(crate) peer: Option<(LinkId, Instant)>,
    /// Times in a row that it gave something else than was asked for.
    faults: u32,
    /// What failed otherwise.
    pub(crate) outage: Outage,
    /// When it last gave something.
    moved_at: Instant,
    pub(crate) resting: bool,
    /// A peer streams it and gives what it has of it.
    pub(crate) followed: bool,
    /// So many times somebody was followed in it.
    pub(crate) follows: u8,
    /// And so many more times for a moment.
    pub(crate) briefs: u8,
    /// It was begun for the front of the file.
    pub(crate) for_front: bool,
    /// Last chunk that came, to look only behind it.
    at: u32,
}

impl BlockState {
    pub(crate) fn new(block: Block) -> Self {
        Self {
            block,
            active: false,
            stopping: false,
            peer: None,
            faults: 0,
            outage: Outage::default(),
            moved_at: Instant::ZERO,
            resting: false,
            followed: false,
            follows: 0,
            briefs: 0,
            for_front: false,
            at: 0,
        }
    }

    /// Whether nobody is at it, and the origin may be asked for it.
    pub(crate) fn is_idle(&self) -> bool {
        !self.active && !self.resting && !self.followed && self.peer.is_none()
    }

    /// Whether the origin streams it, and is not told to end that.
    pub(crate) fn goes_on(&self) -> bool {
        self.active && !self.stopping
    }

    /// Whether a chunk of it is in `set` and not in `but_not`.
    pub(crate) fn any_in(&self, set: &BitSet, but_not: Option<&BitSet>) -> bool {
        self.block.runs.iter().any(|run| set.next_in(run.first, run.indices().end, None, but_not).is_some())
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.block.runs.iter().any(|run| run.contains(index))
    }

    /// Its chunks, by index in the file.
    pub(crate) fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.block.runs.iter().flat_map(Run::indices)
    }

    /// Whether a chunk of it, at or after `from` in its first run that reaches so far, still has to come.
    pub(crate) fn any_not_held(&self, held: &BitSet, proving: &BitSet) -> bool {
        self.indices().any(|index| index < held.len() && !held.contains(index) && !proving.contains(index))
    }

    /// It is asked for from its first chunk on.
    pub(crate) fn begin(&mut self) {
        self.active = true;
        self.stopping = false;
        self.for_front = false;
        self.at = self.block.runs.first().map_or(0, |run| run.first);
    }

    /// The origin gave a chunk of it. A block that moves on is not failing: only faults in a row count.
    pub(crate) fn advanced(&mut self, now: Instant, index: u32) {
        self.at = index;
        self.faults = 0;
        self.outage = Outage::default();
        self.moved_at = now;
    }

    /// The chunk behind the last one that came.
    pub(crate) fn next(&self) -> u32 {
        self.at + 1
    }

    /// Chunks up to the last one that came.
    pub(crate) fn passed(&self) -> usize {
        self.indices().filter(|index| *index <= self.at).count()
    }

    /// When the origin last gave something of it.
    pub(crate) fn moved_at(&self) -> Instant {
        self.moved_at
    }

    /// It gave something else than was asked for; so many times in a row by now.
    pub(crate) fn went_wrong(&mut self) -> u32 {
        self.faults += 1;
        self.faults
    }
}
