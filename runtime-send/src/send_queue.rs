//! What one connection has still to send: heads in memory and ranges of files, gathered into few system calls.
//!
//! The queue decides which ranges are read next, merges neighbours into one read, and lays out heads, chunks of the
//! [`BlockCache`] and what was read for one gathered send. It does no I/O itself: a runtime performs the [`Read`]s and
//! sends the slices. A range that lies in the cache is looked up when it is sent, so that a peer that does not read
//! pins nothing; what was read for it can be [dropped](SendQueue::unstage) and read again.

pub use crate::limits::{GATHER_MAX, READ_BYTES_MAX};
use std::collections::VecDeque;

use zest_xet::Hash;

use crate::block_cache::BlockCache;
use crate::lend::Piece;
use zest_store::FileId;

/// Items from the front whose ranges are read ahead: twice [`GATHER_MAX`], so that the disk works while the network does.
pub const AHEAD_MAX: usize = 2 * GATHER_MAX;

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
    /// Number of the item that waits for it.
    pub item: u64,
    /// Its first byte in the read.
    pub at: u32,
    /// What it is.
    pub span: Span,
}

/// See the top of this file: what one connection has still to send. `H` is a head, `B` what a read gives; the clones of a `B` share its memory.
#[derive(Debug)]
pub struct SendQueue<H, B> {
    items: VecDeque<Item<H, B>>,
    /// Number of the front item.
    first: u64,
    /// Bytes of the front item that were sent.
    sent: usize,
    /// Items among the first [`AHEAD_MAX`] that are known to need nothing: looked at no more.
    planned: usize,
    /// The next bytes, when the read they are from was let go of.
    lead: Vec<u8>,
}

#[derive(Debug)]
struct Item<H, B> {
    head: H,
    body: Option<(Span, Stage<B>)>,
}

#[derive(Debug)]
enum Stage<B> {
    Waiting,
    Reading,
    Ready { bytes: B, start: usize },
}

impl<H, B> Default for SendQueue<H, B> {
    fn default() -> Self {
        Self { items: VecDeque::new(), first: 0, sent: 0, planned: 0, lead: Vec::new() }
    }
}

impl<H: AsRef<[u8]>, B: AsRef<[u8]>> SendQueue<H, B> {
    /// Appends a head and the range that follows it.
    pub fn push(&mut self, head: H, body: Option<Span>) {
        let body = body.map(|span| (span, Stage::Waiting));
        self.items.push_back(Item { head, body });
    }

    /// Items that are not sent completely.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is left to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Drops everything, and the memory for it.
    pub fn clear(&mut self) {
        self.first += self.items.len() as u64;
        self.items = VecDeque::new();
        self.sent = 0;
        self.planned = 0;
        self.lead = Vec::new();
    }

    /// The next read for the front of the queue: neighbours in one. None if nothing has to be read for now.
    pub fn next_read(&mut self, cache: &BlockCache) -> Option<Read> {
        let mut read: Option<Read> = None;
        let mut at = self.planned;
        while at < self.items.len().min(AHEAD_MAX) {
            let item = self.first + at as u64;
            match &mut self.items[at].body {
                Some((span, stage @ Stage::Waiting)) if !cached(cache, span) => {
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
                Some(_) if read.is_some() => break,
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
            && let Some(Item { head, body: Some((span, Stage::Ready { bytes, start })) }) = self.items.front()
            && let Some(into) = self.sent.checked_sub(head.as_ref().len())
            && let Some(bytes) = bytes.as_ref().get(*start..*start + span.len as usize)
        {
            self.lead = bytes[into..bytes.len().min(into + LEAD_BYTES)].to_vec();
        }
        let mut any = false;
        for item in self.items.iter_mut().take(AHEAD_MAX) {
            if let Some((_, stage @ Stage::Ready { .. })) = &mut item.body {
                *stage = Stage::Waiting;
                any = true;
            }
        }
        self.planned = 0;
        any
    }

    /// Lays out what can be sent now, in order, as at most `2 × GATHER_MAX` pieces; chunks of the cache may be lent.
    /// Nothing, if the front is not there yet.
    pub fn gather<'a>(&'a self, cache: &'a BlockCache, pieces: &mut Vec<Piece<'a>>) {
        if !self.lead.is_empty() {
            pieces.push(Piece::Copied(&self.lead));
            return;
        }
        let mut skip = self.sent;
        for item in self.items.iter().take(GATHER_MAX) {
            let head = item.head.as_ref();
            if skip < head.len() {
                pieces.push(Piece::Copied(&head[skip..]));
            }
            skip = skip.saturating_sub(head.len());
            let Some((span, stage)) = &item.body else { continue };
            let len = span.len as usize;
            let body = match stage {
                Stage::Ready { bytes, start } => {
                    let bytes = bytes.as_ref().get(*start..*start + len);
                    bytes.map(|bytes| Piece::Copied(&bytes[skip..]))
                }
                Stage::Waiting | Stage::Reading => {
                    let found = span.hash.as_ref().and_then(|hash| cache.get(hash));
                    found.filter(|bytes| bytes.len() == len).map(|bytes| Piece::Lent(bytes.from(skip)))
                }
            };
            let Some(body) = body else { return };
            pieces.push(body);
            skip = 0;
        }
    }

    /// This many of the gathered bytes were taken. Returns how many of them were of ranges.
    pub fn sent(&mut self, bytes: usize) -> u64 {
        if bytes < self.lead.len() {
            self.lead.drain(..bytes);
        } else {
            self.lead = Vec::new();
        }
        let mut bodies = 0;
        let mut left = self.sent + bytes;
        let mut before = self.sent;
        while let Some(item) = self.items.front() {
            let head = item.head.as_ref().len();
            let len = head + item.body.as_ref().map_or(0, |(span, _)| span.len as usize);
            let now = left.min(len);
            bodies += (now.max(head) - before.clamp(head, len)) as u64;
            if left < len {
                break;
            }
            left -= len;
            before = 0;
            self.items.pop_front();
            self.first += 1;
            self.planned = self.planned.saturating_sub(1);
        }
        assert!(left == 0 || !self.items.is_empty(), "no more is sent than was gathered");
        self.sent = left;
        if self.items.is_empty() && self.items.capacity() > 2 * AHEAD_MAX {
            self.items = VecDeque::new();
        }
        bodies
    }

    /// The cache let go of chunks that were counted on: look again.
    pub fn look_again(&mut self) {
        self.planned = 0;
    }

    fn stage(&mut self, item: u64) -> Option<&mut Stage<B>> {
        let at = usize::try_from(item.checked_sub(self.first)?).ok()?;
        self.items.get_mut(at)?.body.as_mut().map(|(_, stage)| stage)
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
            assert!(pieces.len() <= 2 * GATHER_MAX);
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
            queue.push(b"hello".to_vec(), None);
            let spans = [(100, 50), (150, 60), (210, 1), (500, 20), (90, 10), (100, 50)];
            let mut want = b"hello".to_vec();
            for (n, &(offset, len)) in spans.iter().enumerate() {
                queue.push(vec![n as u8; 4], Some(span(offset, len)));
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
        queue.push(b"h".to_vec(), Some(span(10, 100)));
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
        queue.push(b"h".to_vec(), Some(span(0, 5)));
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
        queue.push(b"h".to_vec(), Some(hot));
        queue.push(b"i".to_vec(), Some(span((1 << 20) + 9_000, 10)));
        let read = queue.next_read(&cache).expect("the second only");
        assert_eq!((read.offset, read.len), ((1 << 20) + 9_000, 10));
        let (out, _) = send(&mut queue, &cache, 4_000);
        assert_eq!(out, [&b"h"[..], &bytes, b"i"].concat());
        // Without the cache, the rest of a chunk comes from its file.
        queue.push(b"h".to_vec(), Some(hot));
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
            queue.push(b"h".to_vec(), Some(span(n * 1_000_000, 65_536)));
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
}
