//! Chunks in memory: what was asked for twice is kept, so that it is sent from here and not from the disk.
//!
//! The cache owns its memory in segments, each filled from front to back. When there is no room, the oldest segment goes
//! back to the system and a new one takes its place, to whose front the chunks move that were sent since they came in. So
//! nothing is ever fragmented, memory stays at what was configured (and half a segment more for that moment), and nothing
//! is ever written where a chunk was: it may be [lent](crate::Lender) to a socket and still be on its way.
//!
//! Only a [`Proven`] chunk gets in, and its hash is its key: a file that changes later cannot make a wrong answer of it.
//! No clock, no file, no thread; a runtime keeps one cache per core.

pub use crate::limits::SEGMENT_BYTES;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;

use memmap2::MmapMut;
use zest_xet::{CHUNK_BYTES_MAX, CHUNK_BYTES_TARGET, Hash, Proven};

use crate::lend::Lent;

/// Alignment of a chunk: 4 KiB, a page. The kernel copies from there at full width.
const CHUNK_ALIGN: usize = 4096;

/// Memory taken from the system at once: 512 KiB. Ours: some 50 µs.
const TAKE_BYTES: usize = 512 << 10;
/// Questions remembered as long as there is room: 65,536, the names of 4 GiB, or of twice what there is room for. Ours.
const NAMES_MIN: usize = 1 << 16;

const _: () = assert!(SEGMENT_BYTES >= 4 * CHUNK_BYTES_MAX, "a segment has room for survivors and newcomers");

/// Chunks in memory, by hash. What they are kept for and for how long stands at the top of this file.
pub struct BlockCache {
    segments: Vec<Segment>,
    segments_max: usize,
    /// The segment that is being filled.
    current: usize,
    places: HashMap<Hash, Place, BuildHasherDefault<OwnHash>>,
    ghosts: Ghosts,
    used_bytes: usize,
}

/// A chunk's name is a hash already: its last 8 bytes will do. Who wanted names that agree there would have to find chunks
/// whose hashes do.
#[derive(Debug, Default)]
struct OwnHash(u64);

impl Hasher for OwnHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_ne_bytes(*last);
        }
    }
}

struct Segment {
    memory: MmapMut,
    /// Bytes that the system has handed out already.
    taken: usize,
    filled: usize,
    chunks: Vec<Hash>,
}

struct Place {
    segment: u32,
    start: u32,
    len: u32,
    /// Sent since it came in, or since its segment was last made new.
    sent: Cell<bool>,
}

impl BlockCache {
    /// A cache of at most this many bytes, rounded down to whole segments; with less than one segment nothing is kept.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            segments: Vec::new(),
            segments_max: bytes_max / SEGMENT_BYTES,
            current: 0,
            places: HashMap::default(),
            ghosts: Ghosts::default(),
            used_bytes: 0,
        }
    }

    /// A chunk's bytes, if they are here.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<Lent<'_>> {
        let place = self.places.get(hash)?;
        place.sent.set(true);
        let memory = &self.segments[place.segment as usize].memory;
        let start = place.start as usize;
        Some(Lent::new(&memory[start..start + place.len as usize]))
    }

    /// Whether a chunk is here. Does not count as a use.
    #[must_use]
    pub fn contains(&self, hash: &Hash) -> bool {
        self.places.contains_key(hash)
    }

    /// Notes that a chunk was asked for and had to be read. True if that happened before within living memory: then it
    /// is worth proving and [admitting](BlockCache::admit).
    pub fn missed(&mut self, hash: &Hash) -> bool {
        if self.segments_max == 0 {
            return false;
        }
        let chunks = self.segments_max * (SEGMENT_BYTES / CHUNK_BYTES_TARGET);
        // While there is room, anything that comes back is welcome. When there is none, only what comes back soon: a
        // data set far larger than the cache must not wear it out.
        let full = self.segments.len() == self.segments_max;
        let memory = if full { chunks / 2 } else { (2 * chunks).max(NAMES_MIN) };
        self.ghosts.again(hash, memory)
    }

    /// Takes a chunk in. What is here already stays as it is.
    pub fn admit<B: AsRef<[u8]>>(&mut self, chunk: &Proven<B>) {
        let (hash, bytes) = (chunk.chunk().hash, chunk.bytes());
        assert!(bytes.len() <= CHUNK_BYTES_MAX, "a proven chunk is at most {CHUNK_BYTES_MAX} bytes long");
        if self.segments_max == 0 || self.contains(&hash) {
            return;
        }
        let full = self.segments.get(self.current).is_none_or(|segment| segment.room() < bytes.len());
        if full && let Err(error) = self.advance() {
            tracing::debug!(%error, "no memory for another segment: the cache stays as it is");
            return;
        }
        let start = self.segments[self.current].put(hash, bytes);
        self.used_bytes += bytes.len();
        let segment = self.current as u32;
        let place = Place { segment, start, len: bytes.len() as u32, sent: Cell::new(false) };
        self.places.insert(hash, place);
    }

    /// Bytes of chunks that are here.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes of memory taken for chunks so far. It never shrinks and never exceeds what was configured.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.segments.len() * SEGMENT_BYTES
    }

    /// Panics if the tables disagree. For tests.
    pub fn check_invariants(&self) {
        assert!(self.segments.len() <= self.segments_max, "memory stays within its limit");
        let mut bytes = 0;
        for (number, segment) in self.segments.iter().enumerate() {
            let mut end = 0;
            for hash in &segment.chunks {
                let place = &self.places[hash];
                assert_eq!(place.segment as usize, number, "a chunk is in the segment that lists it");
                assert!(place.start as usize >= end, "chunks of a segment do not overlap");
                end = (place.start + place.len) as usize;
                bytes += place.len as usize;
            }
            assert!(end <= segment.filled, "chunks lie in the filled part");
        }
        assert_eq!(bytes, self.used_bytes, "every byte is counted once");
        let listed: usize = self.segments.iter().map(|segment| segment.chunks.len()).sum();
        assert_eq!(listed, self.places.len(), "every chunk is in one segment");
    }

    /// Makes a segment with room the current one.
    fn advance(&mut self) -> io::Result<()> {
        let fresh = Segment::new()?;
        if self.segments.len() < self.segments_max {
            self.segments.push(fresh);
            self.current = self.segments.len() - 1;
        } else {
            self.current = (self.current + 1) % self.segments_max;
            self.replace(fresh);
        }
        Ok(())
    }

    /// Puts a new segment in the place of the current one. Chunks that were sent move there, as far as they fill no more
    /// than half of it; the others go with the old one.
    fn replace(&mut self, mut fresh: Segment) {
        let old = &mut self.segments[self.current];
        for hash in std::mem::take(&mut old.chunks) {
            let place = self.places.get_mut(&hash).expect("a listed chunk has a place");
            let len = place.len as usize;
            if place.sent.replace(false) && fresh.filled + len <= SEGMENT_BYTES / 2 {
                let from = place.start as usize;
                place.start = fresh.put(hash, &old.memory[from..from + len]);
            } else {
                self.places.remove(&hash);
                self.used_bytes -= len;
            }
        }
        *old = fresh;
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockCache")
            .field("chunks", &self.places.len())
            .field("used_bytes", &self.used_bytes)
            .field("segments", &self.segments.len())
            .field("segments_max", &self.segments_max)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// Zeroed memory that the system hands out when it is first written to, and gets back when this is dropped.
    ///
    /// In small pages: what is lent keeps its whole page from being freed, so with huge ones a peer that asks and does not
    /// read could hold 2 MiB with every chunk. Lending from huge pages costs a fifth less.
    fn new() -> io::Result<Self> {
        let memory = MmapMut::map_anon(SEGMENT_BYTES)?;
        #[cfg(target_os = "linux")]
        if let Err(error) = memory.advise(memmap2::Advice::NoHugePage) {
            tracing::debug!(%error, "the cache may get huge pages");
        }
        Ok(Self { memory, taken: 0, filled: 0, chunks: Vec::new() })
    }

    /// Writes a chunk behind the others; there is room. Returns where it begins.
    fn put(&mut self, hash: Hash, bytes: &[u8]) -> u32 {
        let start = self.filled;
        self.take(start + bytes.len());
        self.memory[start..start + bytes.len()].copy_from_slice(bytes);
        self.filled = (start + bytes.len()).next_multiple_of(CHUNK_ALIGN);
        self.chunks.push(hash);
        start as u32
    }

    /// Has the system hand out memory up to `end` and some more at once: a fault for every page costs three times as much.
    fn take(&mut self, end: usize) {
        if end <= self.taken {
            return;
        }
        let to = end.next_multiple_of(TAKE_BYTES).min(SEGMENT_BYTES);
        #[cfg(target_os = "linux")]
        if let Err(error) =
            self.memory.advise_range(memmap2::Advice::PopulateWrite, self.taken, to - self.taken)
        {
            tracing::trace!(%error, "memory comes page by page");
        }
        self.taken = to;
    }

    fn room(&self) -> usize {
        SEGMENT_BYTES - self.filled
    }
}

/// What was asked for lately and is not here: two generations of names.
#[derive(Debug, Default)]
struct Ghosts {
    young: HashSet<u64>,
    old: HashSet<u64>,
    /// Questions since the young ones began.
    asked: usize,
}

impl Ghosts {
    /// Notes a name; true, and forgotten, if it was noted before. Names of the last `memory` to twice `memory` questions are
    /// remembered, whatever the answers were: what comes back later than that would not have stayed in the cache either.
    fn again(&mut self, hash: &Hash, memory: usize) -> bool {
        let (name, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        let name = u64::from_ne_bytes(*name);
        if self.asked >= memory.max(1) {
            self.old = std::mem::take(&mut self.young);
            self.asked = 0;
        }
        self.asked += 1;
        let known = self.young.remove(&name) || self.old.remove(&name);
        if !known {
            self.young.insert(name);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::{ChunkRef, chunk_hash, verify};

    fn chunk(number: u32, len: usize) -> Proven<Vec<u8>> {
        let mut bytes = vec![number as u8; len];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let chunk = ChunkRef { hash: chunk_hash(&bytes), len: len as u32 };
        verify(bytes, chunk).expect("its own hash")
    }

    #[test]
    fn a_chunk_is_worth_keeping_when_it_is_asked_for_again() {
        let mut cache = BlockCache::new(2 * SEGMENT_BYTES);
        let one = chunk(1, 50_000);
        assert!(!cache.missed(&one.chunk().hash) && cache.missed(&one.chunk().hash));
        cache.admit(&one);
        assert_eq!(cache.get(&one.chunk().hash).as_deref(), Some(one.bytes()));
        cache.check_invariants();
    }

    /// Asks for each of `numbers` once; returns how many were here and how many were admitted.
    fn ask_for(cache: &mut BlockCache, numbers: impl Iterator<Item = u32>) -> (u32, u32) {
        let (mut here, mut admitted) = (0, 0);
        for number in numbers {
            let chunk = chunk(number, 65_000);
            if cache.get(&chunk.chunk().hash).is_some() {
                here += 1;
            } else if cache.missed(&chunk.chunk().hash) {
                cache.admit(&chunk);
                admitted += 1;
            }
        }
        (here, admitted)
    }

    #[test]
    fn a_data_set_far_larger_than_the_cache_does_not_wear_it_out() {
        let mut cache = BlockCache::new(2 * SEGMENT_BYTES);
        let room = 2 * SEGMENT_BYTES as u32 / 65_536;
        for _ in 0..3 {
            ask_for(&mut cache, 0..4 * room);
        }
        for _ in 0..3 {
            let (here, admitted) = ask_for(&mut cache, 0..4 * room);
            assert!(here > room / 2 && admitted < room / 8, "{here} here, {admitted} admitted");
        }
        cache.check_invariants();
    }

    #[test]
    fn what_becomes_hot_takes_the_place_of_what_was() {
        let mut cache = BlockCache::new(2 * SEGMENT_BYTES);
        let room = 2 * SEGMENT_BYTES as u32 / 65_536;
        for _ in 0..4 {
            ask_for(&mut cache, 0..room);
        }
        let hot = 1_000_000..1_000_000 + room / 2;
        for _ in 0..6 {
            ask_for(&mut cache, hot.clone());
        }
        let (here, _) = ask_for(&mut cache, hot);
        assert!(here >= room * 2 / 5, "{here} of {} are here", room / 2);
        cache.check_invariants();
    }

    #[test]
    fn memory_stays_within_its_limit_and_what_is_used_survives() {
        let mut cache = BlockCache::new(2 * SEGMENT_BYTES + 1);
        let favourite = chunk(0, 70_001);
        cache.admit(&favourite);
        for number in 1..1_000 {
            let len = 8_192 + (number as usize * 7_919) % 122_880;
            cache.admit(&chunk(number, len));
            assert_eq!(
                cache.get(&favourite.chunk().hash).as_deref(),
                Some(favourite.bytes()),
                "after {number}"
            );
            if number % 50 == 0 {
                cache.check_invariants();
            }
        }
        cache.check_invariants();
        assert_eq!(cache.memory_bytes(), 2 * SEGMENT_BYTES);
        assert!(cache.used_bytes() > SEGMENT_BYTES);
        assert!(cache.get(&chunk(1, 8_192 + 7_919).chunk().hash).is_none(), "nobody used it");
    }

    #[test]
    fn a_segment_full_of_favourites_still_takes_newcomers() {
        let mut cache = BlockCache::new(SEGMENT_BYTES);
        for number in 0..300 {
            let chunk = chunk(number, 131_072);
            cache.admit(&chunk);
            (0..=number).for_each(|n| {
                let _used = cache.get(&self::chunk(n, 131_072).chunk().hash);
            });
            assert_eq!(cache.get(&chunk.chunk().hash).as_deref(), Some(chunk.bytes()));
            if number > 100 {
                break;
            }
        }
        cache.check_invariants();
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut cache = BlockCache::new(SEGMENT_BYTES - 1);
        let one = chunk(1, 10_000);
        assert!(!cache.missed(&one.chunk().hash) && !cache.missed(&one.chunk().hash));
        cache.admit(&one);
        assert!(!cache.contains(&one.chunk().hash));
        assert_eq!(cache.memory_bytes(), 0);
    }

    #[test]
    fn names_of_long_ago_are_forgotten() {
        let mut ghosts = Ghosts::default();
        let name = |n: u32| chunk_hash(&n.to_be_bytes());
        for n in 0..1_000 {
            assert!(!ghosts.again(&name(n), 100));
        }
        assert!(ghosts.young.len() + ghosts.old.len() <= 200);
        assert!(!ghosts.again(&name(0), 100) && ghosts.again(&name(999), 100));
        assert!(!ghosts.again(&name(999), 100), "it is not needed any more");
    }
}
