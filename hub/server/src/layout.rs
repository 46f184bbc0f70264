//! Virtual xorbs: which chunk of which file stands where in which xorb.
//!
//! Pure bookkeeping over manifests: no file is opened here. The layout only grows, so a URL that was given out stays good, until a
//! content is forgotten because its last file on disk is gone; then its xorbs go and the contents that used them are laid out again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use zest_xet::{ChunkHeader, ChunkRef, Hash, Manifest, XORB_BYTES_MAX, XORB_CHUNKS_MAX, xorb_hash};

/// Shortest run of chunks that is taken from an existing xorb: 8, about half a megabyte. Shorter runs would save little and cost
/// every client a request of their own. A file that is one run altogether is shared at any length.
pub(crate) const SHARED_RUN_CHUNKS_MIN: u32 = 8;

/// Bytes of the header before each chunk, as a position.
const HEADER_BYTES: u64 = ChunkHeader::BYTES as u64;

/// Number of a xorb slot in the layout.
type XorbId = u32;

/// A stretch of neighbouring chunks of the home file that are neighbours in the xorb, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// Number in the xorb of the run's first chunk.
    chunk: u32,
    /// Number in the home file of the run's first chunk.
    index: u32,
    /// Byte in the serialised xorb at which the run begins.
    start: u64,
}

/// A xorb that exists only as a list of file ranges. All its chunks come from one content, its home.
#[derive(Debug)]
pub struct Xorb {
    hash: Hash,
    home: Arc<Manifest>,
    runs: Vec<Run>,
    chunks: u32,
    bytes: u64,
}

impl Xorb {
    fn empty(home: Arc<Manifest>) -> Self {
        Self { hash: Hash::ZERO, home, runs: Vec::new(), chunks: 0, bytes: 0 }
    }

    /// Its name.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The content whose bytes make up the xorb.
    #[must_use]
    pub fn home(&self) -> Hash {
        self.home.file()
    }

    /// Serialised length in bytes, without a footer.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(test)]
    pub(crate) fn chunk_count(&self) -> u32 {
        self.chunks
    }

    /// Number in the home file of xorb chunk `chunk`.
    fn index_of(&self, chunk: u32) -> u32 {
        assert!(chunk < self.chunks, "chunk {chunk} of a xorb of {} chunks", self.chunks);
        let run = self.runs[self.runs.partition_point(|run| run.chunk <= chunk) - 1];
        run.index + (chunk - run.chunk)
    }

    fn chunk(&self, chunk: u32) -> ChunkRef {
        self.home.chunk(self.index_of(chunk))
    }

    /// Where xorb chunk `chunk` (header first) begins in the serialised xorb; for the chunk count, the end of the xorb.
    ///
    /// # Panics
    /// If the xorb has no such chunk.
    #[must_use]
    pub fn start_of(&self, chunk: u32) -> u64 {
        if chunk == self.chunks {
            return self.bytes;
        }
        let run = self.runs[self.runs.partition_point(|run| run.chunk <= chunk) - 1];
        let index = run.index + (chunk - run.chunk);
        run.start
            + u64::from(chunk - run.chunk) * HEADER_BYTES
            + (self.home.offset(index) - self.home.offset(run.index))
    }

    /// The chunk whose header or data holds byte `byte` of the serialised xorb.
    ///
    /// # Panics
    /// If the xorb has no such byte.
    #[must_use]
    pub fn chunk_at(&self, byte: u64) -> u32 {
        assert!(byte < self.bytes, "byte {byte} of a xorb of {} bytes", self.bytes);
        // First the run, then the chunk in it; both searches keep `start_of(low) <= byte < start_of(high)`.
        let at = self.runs.partition_point(|run| run.start <= byte) - 1;
        let mut low = self.runs[at].chunk;
        let mut high = self.runs.get(at + 1).map_or(self.chunks, |next| next.chunk);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.start_of(middle) <= byte { low = middle } else { high = middle }
        }
        low
    }

    /// Where the data of xorb chunk `chunk` lies in the home file, and its length.
    ///
    /// # Panics
    /// If the xorb has no such chunk.
    #[must_use]
    pub fn place(&self, chunk: u32) -> (u64, u32) {
        let index = self.index_of(chunk);
        (self.home.offset(index), self.home.chunk(index).len)
    }

    /// The parts of the home file of which these bytes of the serialised xorb are made, in order; neighbours are one.
    ///
    /// # Panics
    /// If the xorb does not have these bytes.
    #[must_use]
    pub fn sources(&self, bytes: Range<u64>) -> Vec<Range<u64>> {
        let mut parts: Vec<Range<u64>> = Vec::new();
        let mut chunk = if bytes.is_empty() { self.chunks } else { self.chunk_at(bytes.start) };
        while chunk < self.chunks && self.start_of(chunk) < bytes.end {
            let (offset, len) = self.place(chunk);
            let data = self.start_of(chunk) + HEADER_BYTES;
            let from = bytes.start.saturating_sub(data).min(u64::from(len));
            let to = bytes.end.saturating_sub(data).min(u64::from(len));
            let part = offset + from..offset + to;
            match parts.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ if part.is_empty() => {}
                _ => parts.push(part),
            }
            chunk += 1;
        }
        parts
    }

    fn has_room(&self, len: u32) -> bool {
        (self.chunks as usize) < XORB_CHUNKS_MAX
            && self.bytes + HEADER_BYTES + u64::from(len) <= XORB_BYTES_MAX as u64
    }

    /// Appends chunk `index` of the home file and gives its number here.
    fn push(&mut self, index: u32) -> u32 {
        let number = self.chunks;
        let continues = self.runs.last().is_some_and(|run| run.index + (number - run.chunk) == index);
        if !continues {
            self.runs.push(Run { chunk: number, index, start: self.bytes });
        }
        self.chunks += 1;
        self.bytes += HEADER_BYTES + u64::from(self.home.chunk(index).len);
        number
    }

    fn root(&self) -> Hash {
        let list: Vec<ChunkRef> = (0..self.chunks).map(|chunk| self.chunk(chunk)).collect();
        xorb_hash(&list)
    }
}

/// A run of chunks of a content, as it lies in a xorb.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LaidTerm {
    xorb: XorbId,
    chunks: Range<u32>,
    /// Number in the content of the run's first chunk.
    index: u32,
}

#[derive(Debug)]
struct Laid {
    manifest: Arc<Manifest>,
    terms: Vec<LaidTerm>,
}

/// One term of a content, ready for a reconstruction.
#[derive(Clone, Debug)]
pub struct PlacedTerm {
    /// The xorb.
    pub xorb: Arc<Xorb>,
    /// Chunk numbers in the xorb.
    pub chunks: Range<u32>,
    /// Number in the content of the run's first chunk.
    pub index: u32,
}

/// All virtual xorbs of a hub. About 60 bytes per chunk, manifests included: 1 MB per GB of files.
#[derive(Debug, Default)]
pub struct Layout {
    contents: BTreeMap<Hash, Laid>,
    xorbs: Vec<Option<Arc<Xorb>>>,
    by_hash: HashMap<Hash, XorbId>,
    /// First eight hash bytes of a chunk → a place of it. Full hashes are compared before a place is used.
    places: HashMap<u64, (XorbId, u32)>,
}

impl Layout {
    /// Whether `content` is laid out.
    #[must_use]
    pub fn contains(&self, content: &Hash) -> bool {
        self.contents.contains_key(content)
    }

    /// The xorb of that hash.
    #[must_use]
    pub fn xorb(&self, hash: &Hash) -> Option<Arc<Xorb>> {
        self.by_hash.get(hash).and_then(|&id| self.xorbs[id as usize].clone())
    }

    /// Manifest and terms of a content, in file order.
    #[must_use]
    pub fn terms(&self, content: &Hash) -> Option<(Arc<Manifest>, Vec<PlacedTerm>)> {
        let laid = self.contents.get(content)?;
        let place = |term: &LaidTerm| PlacedTerm {
            xorb: self.slot(term.xorb).clone(),
            chunks: term.chunks.clone(),
            index: term.index,
        };
        Some((laid.manifest.clone(), laid.terms.iter().map(place).collect()))
    }

    /// Lays a content out: runs that stand in a xorb already are shared, the rest goes into new xorbs.
    ///
    /// # Panics
    /// Past 2^32 xorbs.
    pub fn add(&mut self, manifest: &Arc<Manifest>) {
        if self.contains(&manifest.file()) {
            return;
        }
        let count = manifest.len();
        let mut terms: Vec<LaidTerm> = Vec::new();
        let mut open: Option<(XorbId, Xorb)> = None;
        let mut index = 0;
        while index < count {
            if let Some((xorb, chunk, run)) = self.shared_run(manifest, index, open.as_ref())
                && (run >= SHARED_RUN_CHUNKS_MIN || run == count)
            {
                extend(&mut terms, xorb, chunk..chunk + run, index);
                index += run;
                continue;
            }
            let ChunkRef { hash, len } = manifest.chunk(index);
            if let Some((id, full)) = open.take_if(|(_, xorb)| !xorb.has_room(len)) {
                self.close(id, full, &mut terms);
            }
            let (id, xorb) = open.get_or_insert_with(|| {
                let id = XorbId::try_from(self.xorbs.len()).expect("fewer than 2^32 xorbs of 64 MiB");
                self.xorbs.push(None);
                (id, Xorb::empty(manifest.clone()))
            });
            let chunk = xorb.push(index);
            self.places.entry(prefix(&hash)).or_insert((*id, chunk));
            extend(&mut terms, *id, chunk..chunk + 1, index);
            index += 1;
        }
        if let Some((id, last)) = open {
            self.close(id, last, &mut terms);
        }
        self.contents.insert(manifest.file(), Laid { manifest: manifest.clone(), terms });
    }

    /// Drops a content and its xorbs; contents that used them are laid out again from their own chunks.
    pub(crate) fn forget(&mut self, content: &Hash) {
        self.contents.remove(content);
        let mut gone = BTreeSet::new();
        for (id, slot) in (0..).zip(&mut self.xorbs) {
            let Some(xorb) = slot.take_if(|xorb| xorb.home() == *content) else { continue };
            gone.insert(id);
            self.by_hash.remove(&xorb.hash);
            for chunk in 0..xorb.chunks {
                let key = prefix(&xorb.chunk(chunk).hash);
                if self.places.get(&key).is_some_and(|place| place.0 == id) {
                    self.places.remove(&key);
                }
            }
        }
        let orphans: Vec<Arc<Manifest>> = self
            .contents
            .values()
            .filter(|laid| laid.terms.iter().any(|term| gone.contains(&term.xorb)))
            .map(|laid| laid.manifest.clone())
            .collect();
        for manifest in &orphans {
            self.contents.remove(&manifest.file());
        }
        for manifest in &orphans {
            self.add(manifest);
        }
    }

    fn slot(&self, id: XorbId) -> &Arc<Xorb> {
        self.xorbs[id as usize].as_ref().expect("a term names a xorb that exists")
    }

    /// A place in a xorb where chunk `index` and its successors stand in the same order: xorb, chunk, length of the run.
    fn shared_run(
        &self,
        manifest: &Manifest,
        index: u32,
        open: Option<&(XorbId, Xorb)>,
    ) -> Option<(XorbId, u32, u32)> {
        let &(id, chunk) = self.places.get(&prefix(&manifest.chunk(index).hash))?;
        let xorb = match open {
            Some((open_id, xorb)) if *open_id == id => xorb,
            _ => self.slot(id),
        };
        let longest = (manifest.len() - index).min(xorb.chunks - chunk);
        let run = (0..longest).take_while(|&i| manifest.chunk(index + i) == xorb.chunk(chunk + i)).count();
        Some((id, chunk, run as u32))
    }

    /// Names a finished xorb. If one with the same chunks exists (its runs were too short to share), that one serves for both.
    fn close(&mut self, id: XorbId, mut xorb: Xorb, terms: &mut [LaidTerm]) {
        xorb.hash = xorb.root();
        let Some(&twin) = self.by_hash.get(&xorb.hash) else {
            self.by_hash.insert(xorb.hash, id);
            self.xorbs[id as usize] = Some(Arc::new(xorb));
            return;
        };
        for chunk in 0..xorb.chunks {
            if let Some(place) = self.places.get_mut(&prefix(&xorb.chunk(chunk).hash))
                && place.0 == id
            {
                place.0 = twin;
            }
        }
        for term in terms.iter_mut().filter(|term| term.xorb == id) {
            term.xorb = twin;
        }
    }

    /// Checks what must hold between calls; for tests.
    #[cfg(test)]
    fn check_invariants(&self) {
        for (content, laid) in &self.contents {
            let mut next = 0;
            for term in &laid.terms {
                assert_eq!(term.index, next, "terms of {content} follow one another");
                let xorb = self.slot(term.xorb);
                for (i, chunk) in (0..).zip(term.chunks.clone()) {
                    assert_eq!(xorb.chunk(chunk), laid.manifest.chunk(term.index + i), "chunk of a term");
                }
                next += term.chunks.end - term.chunks.start;
            }
            assert_eq!(next, laid.manifest.len(), "terms of {content} cover it");
        }
        for xorb in self.xorbs.iter().flatten() {
            assert!(xorb.bytes <= XORB_BYTES_MAX as u64 && xorb.chunks as usize <= XORB_CHUNKS_MAX);
            assert_eq!(xorb.hash, xorb.root());
            assert!(self.contents.contains_key(&xorb.home()), "home of a xorb");
        }
    }
}

/// Appends a run to the terms, joining it to the last term if it continues that one.
fn extend(terms: &mut Vec<LaidTerm>, xorb: XorbId, chunks: Range<u32>, index: u32) {
    match terms.last_mut() {
        Some(last) if last.xorb == xorb && last.chunks.end == chunks.start => last.chunks.end = chunks.end,
        _ => terms.push(LaidTerm { xorb, chunks, index }),
    }
}

fn prefix(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::{chunk_hash, file_hash};

    /// A manifest whose chunks are named by numbers; equal numbers are equal chunks.
    fn manifest(numbers: impl IntoIterator<Item = u32>) -> Arc<Manifest> {
        let chunks: Vec<ChunkRef> = numbers
            .into_iter()
            .map(|n| ChunkRef { hash: chunk_hash(&n.to_be_bytes()), len: 60_000 + n % 10_000 })
            .collect();
        let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        Arc::new(Manifest::prove(file_hash(&chunks), size, chunks).expect("a sound list"))
    }

    fn ranges(layout: &Layout, manifest: &Manifest) -> Vec<(Hash, Range<u32>)> {
        let (_, terms) = layout.terms(&manifest.file()).expect("laid out");
        terms.into_iter().map(|term| (term.xorb.hash(), term.chunks)).collect()
    }

    #[test]
    fn a_long_file_fills_xorbs_up_to_their_limit() {
        let mut layout = Layout::default();
        let file = manifest(0..3000);
        layout.add(&file);
        layout.check_invariants();
        let terms = ranges(&layout, &file);
        assert_eq!(terms.len(), 3, "195 MB in xorbs of 64 MiB");
        let first = layout.xorb(&terms[0].0).expect("a xorb");
        assert!(first.bytes() > XORB_BYTES_MAX as u64 - 200_000);
    }

    #[test]
    fn positions_in_a_xorb_are_those_of_its_serialised_form() {
        let mut layout = Layout::default();
        layout.add(&manifest(0..100));
        let patched = manifest((0..40).chain(500..520).chain(60..100));
        layout.add(&patched);
        layout.check_invariants();
        let terms = ranges(&layout, &patched);
        assert_eq!(terms.iter().map(|term| term.1.clone()).collect::<Vec<_>>(), [0..40, 0..20, 60..100]);
        assert_eq!(terms[0].0, terms[2].0);
        let xorb = layout.xorb(&terms[1].0).expect("a xorb");
        let mut start = 0;
        for chunk in 0..xorb.chunk_count() {
            let (offset, len) = xorb.place(chunk);
            assert_eq!(offset, patched.offset(40 + chunk));
            assert_eq!(xorb.start_of(chunk), start);
            let next = start + HEADER_BYTES + u64::from(len);
            for byte in [start, start + 7, start + 8, next - 1] {
                assert_eq!(xorb.chunk_at(byte), chunk);
            }
            start = next;
        }
        assert_eq!(xorb.bytes(), start);
        assert_eq!(xorb.start_of(xorb.chunk_count()), start);
    }

    #[test]
    fn short_common_runs_are_not_shared_but_equal_small_files_are() {
        let mut layout = Layout::default();
        layout.add(&manifest(0..20));
        let near = manifest((0..4).chain(900..910));
        layout.add(&near);
        assert_eq!(ranges(&layout, &near).len(), 1);
        let small = manifest(0..3);
        layout.add(&small);
        assert_eq!(ranges(&layout, &small)[0].1, 0..3);
        assert_eq!(layout.xorbs.len(), 2);
        layout.check_invariants();
    }

    #[test]
    fn a_file_that_repeats_itself_stores_the_repeated_part_once() {
        let mut layout = Layout::default();
        let file = manifest((0..50).chain(0..50).chain(50..60));
        layout.add(&file);
        layout.check_invariants();
        assert_eq!(ranges(&layout, &file).iter().map(|t| t.1.clone()).collect::<Vec<_>>(), [0..50, 0..60]);
        let same = manifest(std::iter::repeat_n(7, 100));
        layout.add(&same);
        layout.check_invariants();
    }

    #[test]
    fn twins_of_short_runs_become_one_xorb() {
        let mut layout = Layout::default();
        let long = manifest(100..200);
        layout.add(&long);
        layout.add(&manifest(0..5));
        let both = manifest((0..5).chain(100..200));
        layout.add(&both);
        layout.check_invariants();
        let terms = ranges(&layout, &both);
        assert_eq!(terms[0], ranges(&layout, &manifest(0..5))[0]);
        let again = manifest((0..5).chain(100..199));
        layout.add(&again);
        layout.check_invariants();
    }

    #[test]
    fn forgetting_a_home_lays_its_users_out_again() {
        let mut layout = Layout::default();
        let (base, tuned) = (manifest(0..100), manifest((0..50).chain(700..750)));
        layout.add(&base);
        layout.add(&tuned);
        let old = ranges(&layout, &tuned)[0].0;
        layout.forget(&base.file());
        layout.check_invariants();
        assert!(!layout.contains(&base.file()));
        assert!(layout.xorb(&old).is_none());
        let terms = ranges(&layout, &tuned);
        assert_eq!(
            terms.iter().map(|term| term.1.clone()).collect::<Vec<_>>(),
            [0..50, 0..50],
            "half is new"
        );
        layout.add(&base);
        layout.check_invariants();
        assert_eq!(ranges(&layout, &base).len(), 2, "now the base shares the tuned file's first half");
    }
}
