//! A file the tests know inside out: its chunks, its chunk list and the xorbs the hub keeps it in.

use crate::Site;
use std::collections::BTreeMap;
use zest_hub::{Hub, HubConfig};
use zest_store::{RepoId, RepoType};
use zest_xet::{
    ChunkRef, Chunker, Decoder, Hash, Manifest, Reconstruction, Rule, XorbChunks, chunk_hash, file_hash,
};

/// A file and all that can be said of it.
#[derive(Debug)]
pub struct Known {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its proven chunk list.
    pub manifest: Manifest,
    by_hash: BTreeMap<Hash, u32>,
}

/// A xorb as the hub serves it.
#[derive(Debug, Clone)]
pub struct Xorb {
    /// Its hash.
    pub hash: Hash,
    /// Serialised chunks, without a footer.
    pub bytes: Vec<u8>,
    /// The chunks, with the offset of each one's end in `bytes`.
    pub chunks: Vec<(ChunkRef, usize)>,
}

impl Known {
    /// What the official chunker makes of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut chunks = Vec::new();
        let mut chunker = Chunker::new(Rule::Current);
        chunker.push(&bytes, &mut |chunk| chunks.push(chunk));
        chunker.finish(&mut |chunk| chunks.push(chunk));
        let by_hash = (0..).zip(&chunks).map(|(index, chunk)| (chunk.hash, index)).collect();
        let file = file_hash(&chunks);
        let manifest = Manifest::prove(file, bytes.len() as u64, chunks).expect("our own list proves");
        Self { bytes, manifest, by_hash }
    }

    /// Its name.
    #[must_use]
    pub fn file(&self) -> Hash {
        self.manifest.file()
    }

    /// The bytes of a chunk of it.
    #[must_use]
    pub fn chunk(&self, hash: &Hash) -> Option<&[u8]> {
        let index = *self.by_hash.get(hash)?;
        let at = self.manifest.offset(index) as usize;
        Some(&self.bytes[at..at + self.manifest.chunk(index).len as usize])
    }

    /// Its chunk list in the wire's form.
    #[must_use]
    pub fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        self.manifest.write_records(0..self.manifest.len(), &mut records);
        records
    }
}

impl Xorb {
    /// The serialised chunks `start..end`.
    #[must_use]
    pub fn range(&self, start: u32, end: u32) -> &[u8] {
        let edge = |index: u32| (index as usize).checked_sub(1).map_or(0, |before| self.chunks[before].1);
        &self.bytes[edge(start)..edge(end)]
    }
}

/// The site's xorbs for one file, and how the file is made of them.
pub async fn xorbs_of(site: &Site, repo: &str, known: &Known) -> (Vec<Xorb>, Reconstruction) {
    let hub = Hub::new(HubConfig::new(site.endpoint(), None)).expect("a good endpoint");
    let repo = RepoId::new(RepoType::Model, repo).expect("a good name");
    let commit = hub.revision(&repo, "main").await.expect("a revision").commit;
    let cas = hub.cas(&repo, &commit).await.expect("a token");
    let layout = cas.reconstruction(&known.file()).await.expect("the hub chunks as we do");
    let mut xorbs = Vec::new();
    for (hash, fetches) in &layout.fetches {
        let mut bytes = Vec::new();
        for (url, range) in fetches.iter().flat_map(|f| f.ranges.iter().map(|range| (&f.url, range))) {
            let mut body = cas.range(url, range.bytes.clone()).await.expect("a range of a xorb");
            while let Some(piece) = body.chunk().await.expect("the bytes of a xorb") {
                bytes.extend_from_slice(&piece);
            }
        }
        let mut chunks = Vec::new();
        let (mut decoder, mut end) = (Decoder::new(), 0);
        for chunk in XorbChunks::new(&bytes) {
            let (header, packed) = chunk.expect("a chunk of a good xorb");
            let mut plain = vec![0; header.len as usize];
            decoder.decode(header, packed, &mut plain).expect("a chunk that decodes");
            end += 8 + packed.len();
            chunks.push((ChunkRef { hash: chunk_hash(&plain), len: header.len }, end));
        }
        xorbs.push(Xorb { hash: *hash, bytes, chunks });
    }
    (xorbs, layout)
}
