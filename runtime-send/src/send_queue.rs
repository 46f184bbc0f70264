//! What one connection has still to send: heads in memory and ranges of files, gathered into few system calls.
//!
//! The queue decides which ranges are read next, merges neighbours into one read, and lays out heads, chunks of the
//! [`BlockCache`] and what was read for one gathered send. It does no I/O itself: a runtime performs the [`Read`]s, or sends
//! the [range in front](SendQueue::front_range) from its file, and sends the slices. A range that lies in the cache is looked up when it is sent, so that a peer that does not read
//! pins nothing; what was read for it can be [dropped](SendQueue::unstage) and read again.

use crate::limits::QUEUE_KEEP;
pub use crate::limits::{GATHER_MAX, READ_BYTES_MAX};
use std::collections::VecDeque;
use std::convert::Infallible;

use zest_xet::Hash;

use crate::block_cache::BlockCache;
use crate::lend::Piece;
use zest_store::FileId;

/// Bodies from the front that are read ahead: twice [`GATHER_MAX`], so that the disk works while the network does.
pub const AHEAD_MAX: usize = 2 * GATHER_MAX;

/// Heads and bodies gathered into one send: 64. So many short answers go out at once.
pub const PIECES_MAX: usize = 64;

/// Bytes kept of what comes next when the rest is let go of: 4 KiB. A runtime needs something to offer to a full socket, and
/// gets the rest again when that was taken.
const LEAD_BYTES: usize = 4096;

/// A range of a file that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub offset: u64,
    /// Bytes, at least one.
    pub len: u32,
    /// The chunk that lies there, if it is one.
    pub hash: Option<Hash>,
}

/// A read that the queue wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub offset: u64,
    /// Bytes; at most [`READ_BYTES_MAX`] unless one span alone is longer.
    pub len: u32,
    /// The spans it covers.
    pub parts: Vec<Part>,
}

/// One span of a [`Read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of the body that waits for it.
    pub item: u64,
    /// Its first byte in the read.
    pub at: u32,
    /// What it is.
    pub span: Span,
}

/// See the top of this file: what one connection has still to send. `H` is a head; `B` bytes in memory, be they a body of their own or what
/// a read gave: its clones share them; `F` is an open file, of a range that only this keeps open.
///
/// Heads and bodies lie apart: a short answer needs no more room than its head.
#[derive(Debug)]
pub struct SendQueue<H, B, F = Infallible> {
    /// Each with whether a body follows it.
    heads: VecDeque<(H, bool)>,
    bodies: VecDeque<Body<B, F>>,
    /// Number of the front body.
    first: u64,
    /// Bytes that were sent of the front head and its body.
    sent: usize,
    /// Bodies among the first [`AHEAD_MAX`] that are known to need nothing: looked at no more.
    planned: usize,
    /// The next bytes, when the read they are from was let go of.
    lead: Vec<u8>,
}

#[derive(Debug)]
enum Body<B, F> {
    Range { span: Span, open: Option<F>, stage: Stage<B> },
    Bytes(B),
}

#[derive(Debug)]
enum Stage<B> {
    Waiting,
    Reading,
    Ready { bytes: B, start: usize },
}

impl<H, B, F> Default for SendQueue<H, B, F> {
    fn default() -> Self {
        Self {
            heads: VecDeque::new(),
            bodies: VecDeque::new(),
            first: 0,
            sent: 0,
            planned: 0,
            lead: Vec::new(),
        }
    }
}

impl<H: AsRef<[u8]>, B: AsRef<[u8]>, F> SendQueue<H, B, F> {
    /// Appends a head that nothing follows.
    pub fn push(&mut self, head: H) {
        self.heads.push_back((head, false));
    }

    /// Appends a head and a range. One that can only be opened now comes with the open file.
    pub fn push_range(&mut self, head: H, span: Span, open: Option<F>) {
        self.heads.push_back((head, true));
        self.bodies.push_back(Body::Range { span, open, stage: Stage::Waiting });
    }

    /// Appends a head and a body that is in memory.
    pub fn push_bytes(&mut self, head: H, bytes: B) {
        self.heads.push_back((head, true));
        self.bodies.push_back(Body::Bytes(bytes));
    }

    /// Answers, a head with its body each, that are not sent completely.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Heads and bodies that are not sent completely.
    #[must_use]
    pub fn parts(&self) -> usize {
        let begun = matches!(self.heads.front(), Some((head, true)) if self.sent >= head.as_ref().len());
        self.heads.len() + self.bodies.len() - usize::from(begun)
    }

    /// Whether nothing is left to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Drops everything, and the memory for it.
    pub fn clear(&mut self) {
        self.first += self.bodies.len() as u64;
        self.heads = VecDeque::new();
        self.bodies = VecDeque::new();
        self.sent = 0;
        self.planned = 0;
        self.lead = Vec::new();
    }

    /// The next read for the front of the queue: neighbours in one. None if nothing has to be read for now.
    pub fn next_read(&mut self, cache: &BlockCache) -> Option<Read> {
        let mut read: Option<Read> = None;
        let mut at = self.planned;
        while at < self.bodies.len().min(AHEAD_MAX) {
            let item = self.first + at as u64;
            match &mut self.bodies[at] {
                Body::Range { span, stage: stage @ Stage::Waiting, .. } if !cached(cache, span) => {
                    match &mut read {
                        None => {
                            let parts = vec![Part { item, at: 0, span: *span }];
                            read = Some(Read { file: span.file, offset: span.offset, len: span.len, parts });
                        }
                        Some(read) if read.takes(span) => {
                            read.parts.push(Part { item, at: read.len, span: *span });
                            read.len += span.len;
                        }
                        Some(_) => break,
                    }
                    *stage = Stage::Reading;
                }
                // Whatever lies between two neighbours ends the run, but for heads.
                _ if read.is_some() => break,
                _ => {}
            }
            at += 1;
        }
        self.planned = at;
        read
    }

    /// What a [`Read`] gave for one of its parts: the bytes from `start` on. Ignored if it is not waited for any more.
    pub fn arrived(&mut self, part: &Part, bytes: B, start: usize) {
        if let Some(stage @ Stage::Reading) = self.stage(part.item) {
            *stage = Stage::Ready { bytes, start };
        }
    }

    /// A read was not begun after all: its parts wait again.
    pub fn put_off(&mut self, read: &Read) {
        for part in &read.parts {
            if let Some(stage @ Stage::Reading) = self.stage(part.item) {
                *stage = Stage::Waiting;
            }
        }
        self.planned = 0;
    }

    /// Drops what was read and not sent, but for the next few bytes; it is read again when its turn comes. True if there
    /// was something.
    pub fn unstage(&mut self) -> bool {
        if self.lead.is_empty()
            && let Some((head, true)) = self.heads.front()
            && let Some(Body::Range { span, stage: Stage::Ready { bytes, start }, .. }) = self.bodies.front()
            && let Some(into) = self.sent.checked_sub(head.as_ref().len())
            && let Some(bytes) = bytes.as_ref().get(*start..*start + span.len as usize)
        {
            self.lead = bytes[into..bytes.len().min(into + LEAD_BYTES)].to_vec();
        }
        let mut any = false;
        for body in self.bodies.iter_mut().take(AHEAD_MAX) {
            if let Body::Range { stage: stage @ Stage::Ready { .. }, .. } = body {
                *stage = Stage::Waiting;
                any = true;
            }
        }
        self.planned = 0;
        any
    }

    /// Lays out what can be sent now, in order, as at most [`PIECES_MAX`] pieces with at most [`GATHER_MAX`] ranges; chunks of the cache
    /// may be lent. Nothing, if the front is a range that is not there yet. True if there is more than that.
    pub fn gather<'a>(&'a self, cache: &'a BlockCache, pieces: &mut Vec<Piece<'a>>) -> bool {
        if !self.lead.is_empty() {
            pieces.push(Piece::Copied(&self.lead));
            return true;
        }
        let mut skip = self.sent;
        let mut bodies = self.bodies.iter();
        let mut ranges = 0;
        for (head, has_body) in &self.heads {
            if pieces.len() + 2 > PIECES_MAX {
                return true;
            }
            let head = head.as_ref();
            if skip < head.len() {
                pieces.push(Piece::Copied(&head[skip..]));
            }
            skip = skip.saturating_sub(head.len());
            if !has_body {
                continue;
            }
            let body = match bodies.next() {
                Some(Body::Bytes(bytes)) => Some(Piece::Copied(&bytes.as_ref()[skip..])),
                Some(Body::Range { span, stage, .. }) if ranges < GATHER_MAX => {
                    ranges += 1;
                    there(span, stage, cache, skip)
                }
                _ => None,
            };
            let Some(body) = body else { return true };
            pieces.push(body);
            skip = 0;
        }
        false
    }

    /// What is left of the range in front, if its head was sent and nothing was read for it: a runtime may send it from its file.
    #[must_use]
    pub fn front_range(&self) -> Option<(Span, Option<&F>)> {
        let (head, true) = self.heads.front()? else { return None };
        let Some(Body::Range { span, open, stage: Stage::Waiting }) = self.bodies.front() else {
            return None;
        };
        let into = self.sent.checked_sub(head.as_ref().len())?;
        let left = Span { offset: span.offset + into as u64, len: span.len - into as u32, ..*span };
        Some((left, open.as_ref()))
    }

    /// This many of the gathered bytes were taken, or of the range in front. Returns how many of them were of bodies.
    pub fn sent(&mut self, bytes: usize) -> u64 {
        if bytes < self.lead.len() {
            self.lead.drain(..bytes);
        } else {
            self.lead = Vec::new();
        }
        let mut bodies = 0;
        let mut left = self.sent + bytes;
        let mut before = self.sent;
        while let Some((head, has_body)) = self.heads.front() {
            let (head, has_body) = (head.as_ref().len(), *has_body);
            let body = if has_body { self.bodies.front().map_or(0, Body::len) } else { 0 };
            let len = head + body;
            let now = left.min(len);
            bodies += (now.max(head) - before.clamp(head, len)) as u64;
            if left < len {
                break;
            }
            left -= len;
            before = 0;
            self.heads.pop_front();
            if has_body {
                self.bodies.pop_front();
                self.first += 1;
                self.planned = self.planned.saturating_sub(1);
            }
        }
        assert!(left == 0 || !self.heads.is_empty(), "no more is sent than was gathered");
        self.sent = left;
        if self.heads.is_empty() {
            trim(&mut self.heads);
            trim(&mut self.bodies);
        }
        bodies
    }

    /// The cache let go of chunks that were counted on: look again.
    pub fn look_again(&mut self) {
        self.planned = 0;
    }

    fn stage(&mut self, item: u64) -> Option<&mut Stage<B>> {
        let at = usize::try_from(item.checked_sub(self.first)?).ok()?;
        match self.bodies.get_mut(at)? {
            Body::Range { stage, .. } => Some(stage),
            Body::Bytes(_) => None,
        }
    }
}

impl<B: AsRef<[u8]>, F> Body<B, F> {
    fn len(&self) -> usize {
        match self {
            Self::Range { span, .. } => span.len as usize,
            Self::Bytes(bytes) => bytes.as_ref().len(),
        }
    }
}

/// A range's bytes from `skip` on, if they are in memory.
fn there<'a, B: AsRef<[u8]>>(
    span: &Span,
    stage: &'a Stage<B>,
    cache: &'a BlockCache,
    skip: usize,
) -> Option<Piece<'a>> {
    let len = span.len as usize;
    match stage {
        Stage::Ready { bytes, start } => {
            let bytes = bytes.as_ref().get(*start..*start + len);
            bytes.map(|bytes| Piece::Copied(&bytes[skip..]))
        }
        Stage::Waiting | Stage::Reading => {
            let found = span.hash.as_ref().and_then(|hash| cache.get(hash));
            found.filter(|bytes| bytes.len() == len).map(|bytes| Piece::Lent(bytes.from(skip)))
        }
    }
}

/// What room a longer queue needed goes back: any stranger can have one over each of their links.
fn trim<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > 2 * QUEUE_KEEP {
        queue.shrink_to(QUEUE_KEEP);
    }
}

impl Read {
    fn takes(&self, span: &Span) -> bool {
        self.file == span.file
            && self.offset + u64::from(self.len) == span.offset
            && self.len.saturating_add(span.len) <= READ_BYTES_MAX
    }
}

fn cached(cache: &BlockCache, span: &Span) -> bool {
    span.hash.as_ref().is_some_and(|hash| cache.contains(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use zest_xet::{ChunkRef, chunk_hash, verify};

    type Queue = SendQueue<Vec<u8>, Rc<[u8]>>;

    fn byte(offset: u64) -> u8 {
        (offset % 251) as u8
    }

    fn span(offset: u64, len: u32) -> Span {
        Span { file: FileId(2), offset, len, hash: None }
    }

    fn done(queue: &mut Queue, read: &Read) {
        let lead = read.offset.min(3);
        let from = read.offset - lead;
        let bytes: Rc<[u8]> = (from..read.offset + u64::from(read.len)).map(byte).collect();
        for part in &read.parts {
            queue.arrived(part, bytes.clone(), lead as usize + part.at as usize);
        }
    }

    fn bytes_of(pieces: &[Piece<'_>]) -> Vec<u8> {
        pieces.iter().flat_map(|piece| piece.as_slice().to_vec()).collect()
    }

    /// Sends all that can be sent, `step` bytes at a time; returns the bytes and how many of them were of ranges.
    fn send(queue: &mut Queue, cache: &BlockCache, step: usize) -> (Vec<u8>, u64) {
        let (mut out, mut bodies) = (Vec::new(), 0);
        loop {
            let mut pieces = Vec::new();
            queue.gather(cache, &mut pieces);
            assert!(pieces.len() <= PIECES_MAX);
            let mut all = bytes_of(&pieces);
            all.truncate(step);
            drop(pieces);
            if all.is_empty() {
                return (out, bodies);
            }
            out.extend_from_slice(&all);
            bodies += queue.sent(all.len());
        }
    }

    #[test]
    fn neighbours_are_read_at_once_and_everything_goes_out_in_order() {
        for step in [1, 7, 1000, usize::MAX] {
            let cache = BlockCache::new(0);
            let mut queue = Queue::default();
            queue.push(b"hello".to_vec());
            let spans = [(100, 50), (150, 60), (210, 1), (500, 20), (90, 10), (100, 50)];
            let mut want = b"hello".to_vec();
            for (n, &(offset, len)) in spans.iter().enumerate() {
                queue.push_range(vec![n as u8; 4], span(offset, len), None);
                want.extend([n as u8; 4]);
                want.extend((offset..offset + u64::from(len)).map(byte));
            }
            let mut reads = Vec::new();
            while let Some(read) = queue.next_read(&cache) {
                reads.push(read);
            }
            let ranges: Vec<_> = reads.iter().map(|r| (r.offset, r.len, r.parts.len())).collect();
            assert_eq!(ranges, [(100, 111, 3), (500, 20, 1), (90, 60, 2)]);
            // The last one comes first: nothing of it goes before its turn.
            done(&mut queue, &reads[2]);
            let (mut out, mut bodies) = send(&mut queue, &cache, step);
            assert_eq!(out, b"hello\0\0\0\0");
            done(&mut queue, &reads[0]);
            done(&mut queue, &reads[1]);
            let (rest, more) = send(&mut queue, &cache, step);
            out.extend(rest);
            bodies += more;
            assert_eq!((out, bodies), (want, 191), "step {step}");
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn what_was_dropped_is_read_again_even_in_the_middle_of_it() {
        let cache = BlockCache::new(0);
        let mut queue = Queue::default();
        queue.push_range(b"h".to_vec(), span(10, 100), None);
        let read = queue.next_read(&cache).expect("it is not there");
        assert_eq!(queue.next_read(&cache), None, "once");
        done(&mut queue, &read);
        assert_eq!(queue.sent(31), 30);
        assert!(queue.unstage() && !queue.unstage());
        // What comes next is still there, as little as it is here.
        let mut pieces = Vec::new();
        queue.gather(&cache, &mut pieces);
        assert_eq!(bytes_of(&pieces), (40..110).map(byte).collect::<Vec<u8>>());
        drop(pieces);
        assert_eq!(queue.sent(7), 7);
        let again = queue.next_read(&cache).expect("it is needed again");
        assert_eq!(again, read);
        done(&mut queue, &again);
        let (out, bodies) = send(&mut queue, &cache, 10);
        assert_eq!((out, bodies), ((47..110).map(byte).collect(), 63));
        // What comes for an item that went is not taken for another.
        queue.push_range(b"h".to_vec(), span(0, 5), None);
        done(&mut queue, &read);
        let mut pieces = Vec::new();
        queue.gather(&cache, &mut pieces);
        assert_eq!(pieces.len(), 1, "its head alone");
    }

    #[test]
    fn chunks_in_the_cache_are_not_read_and_not_pinned() {
        let mut cache = BlockCache::new(8 << 20);
        let bytes: Vec<u8> = (0..9_000).map(|n| byte(n * 31)).collect();
        let chunk = ChunkRef { hash: chunk_hash(&bytes), len: 9_000 };
        cache.admit(&verify(&bytes, chunk).expect("its own hash"));
        let mut queue = Queue::default();
        let hot = Span { hash: Some(chunk.hash), ..span(1 << 20, 9_000) };
        queue.push_range(b"h".to_vec(), hot, None);
        queue.push_range(b"i".to_vec(), span((1 << 20) + 9_000, 10), None);
        let read = queue.next_read(&cache).expect("the second only");
        assert_eq!((read.offset, read.len), ((1 << 20) + 9_000, 10));
        let (out, _) = send(&mut queue, &cache, 4_000);
        assert_eq!(out, [&b"h"[..], &bytes, b"i"].concat());
        // Without the cache, the rest of a chunk comes from its file.
        queue.push_range(b"h".to_vec(), hot, None);
        assert_eq!(queue.next_read(&cache), None);
        let empty = BlockCache::new(0);
        queue.look_again();
        assert!(queue.next_read(&empty).is_some());
    }

    #[test]
    fn only_the_front_is_read_ahead() {
        let cache = BlockCache::new(0);
        let mut queue = Queue::default();
        for n in 0..1000 {
            queue.push_range(b"h".to_vec(), span(n * 1_000_000, 65_536), None);
        }
        let mut reads = Vec::new();
        while let Some(read) = queue.next_read(&cache) {
            reads.push(read);
        }
        assert_eq!(reads.len(), AHEAD_MAX);
        done(&mut queue, &reads[0]);
        assert_eq!(queue.sent(65_537), 65_536);
        assert_eq!(queue.next_read(&cache).map(|read| read.offset), Some(AHEAD_MAX as u64 * 1_000_000));
        queue.put_off(&reads[1]);
        assert_eq!(queue.next_read(&cache), Some(reads[1].clone()));
        queue.clear();
        assert!(queue.is_empty() && queue.next_read(&cache).is_none());
    }

    #[test]
    fn a_range_that_is_not_in_memory_is_sent_from_its_file_in_its_turn() {
        let cache = BlockCache::new(0);
        let mut queue: SendQueue<&[u8], &[u8], &str> = SendQueue::default();
        queue.push_bytes(b"one", b"in memory");
        queue.push_range(b"two", span(100, 50), Some("open"));
        queue.push(b"three");
        assert_eq!((queue.len(), queue.parts(), queue.front_range()), (3, 5, None));
        let mut pieces = Vec::new();
        assert!(queue.gather(&cache, &mut pieces), "there is more");
        assert_eq!(bytes_of(&pieces), b"onein memorytwo");
        drop(pieces);
        assert_eq!(queue.sent(5), 2, "of the body");
        assert_eq!((queue.parts(), queue.front_range()), (4, None));
        assert_eq!(queue.sent(10), 7);
        assert_eq!((queue.len(), queue.parts()), (2, 2), "a head went");
        assert_eq!(queue.front_range(), Some((span(100, 50), Some(&"open"))));
        assert_eq!(queue.sent(20), 20);
        assert_eq!(queue.front_range(), Some((span(120, 30), Some(&"open"))));
        let mut pieces = Vec::new();
        assert!(queue.gather(&cache, &mut pieces) && pieces.is_empty(), "nothing goes before it");
        drop(pieces);
        assert_eq!(queue.sent(30), 30);
        let mut pieces = Vec::new();
        assert!(!queue.gather(&cache, &mut pieces));
        assert_eq!(bytes_of(&pieces), b"three");
        drop(pieces);
        assert_eq!((queue.sent(5), queue.parts()), (0, 0));
    }

    #[test]
    fn short_answers_go_out_by_the_dozen_and_leave_no_room_behind() {
        let cache = BlockCache::new(0);
        let mut queue = Queue::default();
        (0..200).for_each(|n| queue.push(vec![n; 3]));
        let mut sends = 0;
        while !queue.is_empty() {
            let mut pieces = Vec::new();
            let more = queue.gather(&cache, &mut pieces);
            assert!(pieces.len() <= PIECES_MAX);
            assert_eq!(more, pieces.len() < queue.len());
            let bytes = bytes_of(&pieces).len();
            drop(pieces);
            assert_eq!(queue.sent(bytes), 0);
            sends += 1;
        }
        assert!(sends <= 4, "{sends}");
        assert!(queue.heads.capacity() <= 2 * QUEUE_KEEP);
    }
}
