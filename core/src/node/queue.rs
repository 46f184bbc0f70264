//! The requests of one peer that wait for us, and where it stands in line.

use super::ask::Ask;
use super::lanes::Lane;
use crate::endpoint::Party;
use crate::{Instant, ReqId};
use alloc::collections::VecDeque;
use zest_xet::CHUNK_BYTES_MAX;

/// Requests of one peer that wait at most: 512, what our `reqq` says. More are refused by name.
pub(crate) const QUEUE_MAX: usize = crate::link::OUTSTANDING_MAX;
/// Chunks of one peer that are being looked up or wait for its socket, at most: 16. Ours; a megabyte keeps a socket busy
/// between two looks at it.
pub(super) const AHEAD_CHUNKS: u32 = 16;

/// What one peer asks of us.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Whose link it is.
    pub(super) party: Party,
    pub(super) queue: VecDeque<Ask>,
    /// What is being looked up: requests, the bytes that they may come to, and their marks.
    pub(super) looking: VecDeque<(u32, u64, u64)>,
    /// Bytes that its link was given and its socket has not taken.
    pub(super) ahead: u64,
    /// When its socket last took something, or got something to take.
    pub(super) moved_at: Instant,
    /// Its place in line: the number of its last turn; 0 for a newcomer.
    pub(super) turn: u64,
    /// Times it stood in front and another went first.
    pub(super) passed: u32,
    /// When it was last told that its requests wait.
    pub(super) told_at: Option<Instant>,
    /// Where it stands in [`Uploads`]: its lane with its turn, and when its socket moved if it is busy.
    pub(super) lane: Option<(Lane, u64)>,
    pub(super) busy_at: Option<Instant>,
}

impl Upload {
    pub(super) fn new(party: Party) -> Self {
        Self {
            party,
            queue: VecDeque::new(),
            looking: VecDeque::new(),
            ahead: 0,
            moved_at: Instant::ZERO,
            turn: 0,
            passed: 0,
            told_at: None,
            lane: None,
            busy_at: None,
        }
    }

    /// Puts a request where it belongs: what lists and small files it asks for come before its chunks, which it cannot begin
    /// without.
    pub(super) fn push(&mut self, ask: Ask) {
        if ask.is_first() {
            let first = self.queue.iter().take_while(|ask| ask.is_first()).count();
            self.queue.insert(first, ask);
        } else {
            self.queue.push_back(ask);
        }
    }

    /// The outcome of a look-up is here: the bytes that were kept free for it and its mark; `None` if nobody waits for it any
    /// more.
    pub(super) fn looked_up(&mut self, req: ReqId) -> Option<(u64, u64)> {
        let at = self.looking.iter().position(|(other, ..)| *other == req.0)?;
        self.looking.remove(at).map(|(_, bytes, mark)| (bytes, mark))
    }

    pub(super) fn has_room(&self, chunks: u32) -> bool {
        let ahead = (self.ahead / CHUNK_BYTES_MAX as u64) as u32 + u32::from(self.ahead > 0);
        self.looking.len() as u32 + ahead <= chunks
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.looking.is_empty() || self.ahead > 0
    }

    pub(super) fn should_stand(&self) -> Option<(Lane, u64)> {
        let lane = match self.is_busy() {
            false => Lane::Fresh,
            true if self.has_room(AHEAD_CHUNKS) => Lane::Going,
            true => Lane::Full,
        };
        (!self.queue.is_empty()).then_some((lane, self.turn))
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.queue.len() <= QUEUE_MAX, "requests that wait are bounded");
        assert!(self.looking.len() <= AHEAD_CHUNKS as usize + 1, "chunks that are looked up are bounded");
    }
}
