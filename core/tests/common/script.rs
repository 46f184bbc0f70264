//! What the files, remotes and origins of [`super`] are made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use zest_core::Duration;
use zest_core::node::{Block, FaultKind, OriginFault, Run};
use zest_xet::{ChunkRef, Hash, Manifest, file_hash};

/// Bytes of every chunk here.
pub const CHUNK: u32 = 64 << 10;
/// Chunks of a block of the origin.
pub const BLOCK: u32 = 64;
pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A file, known to the world from the start and to the node only as its hash.
pub struct File {
    pub manifest: Arc<Manifest>,
    pub index: BTreeMap<Hash, u32>,
}

impl File {
    pub fn new(number: u8, chunks: u32) -> Arc<Self> {
        let list: Vec<ChunkRef> = (0..chunks)
            .map(|at| {
                let mut bytes = [number; 32];
                bytes[..4].copy_from_slice(&at.to_be_bytes());
                ChunkRef { hash: Hash::from_bytes(bytes), len: CHUNK }
            })
            .collect();
        Self::of(list)
    }

    fn of(list: Vec<ChunkRef>) -> Arc<Self> {
        let index = list.iter().enumerate().map(|(at, chunk)| (chunk.hash, at as u32)).collect();
        let size = list.len() as u64 * u64::from(CHUNK);
        let manifest = Manifest::prove(file_hash(&list), size, list).expect("the list makes its own hash");
        Arc::new(Self { manifest: Arc::new(manifest), index })
    }

    /// One of many files.
    pub fn of_many(number: u32, chunks: u32) -> Arc<Self> {
        let chunk = |at: u32| {
            let mut bytes = [0xcc; 32];
            bytes[..4].copy_from_slice(&at.to_be_bytes());
            bytes[4..8].copy_from_slice(&number.to_be_bytes());
            ChunkRef { hash: Hash::from_bytes(bytes), len: CHUNK }
        };
        Self::of((0..chunks).map(chunk).collect())
    }

    pub fn len(&self) -> u32 {
        self.manifest.len()
    }

    pub fn hash(&self) -> Hash {
        self.manifest.file()
    }

    pub fn blocks(&self) -> Vec<Block> {
        (0..self.len().div_ceil(BLOCK))
            .map(|at| {
                let count = BLOCK.min(self.len() - at * BLOCK);
                let mut bytes = [0xbb; 32];
                bytes[..4].copy_from_slice(&at.to_be_bytes());
                Block {
                    xorb: Hash::from_bytes(bytes),
                    chunks: 0..count,
                    runs: vec![Run {
                        first: at * BLOCK,
                        count,
                        xorb_chunk: 0,
                        offset: u64::from(at * BLOCK * CHUNK),
                    }],
                    wire_bytes: u64::from(count * CHUNK),
                    whole: false,
                }
            })
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Dials {
    Answered,
    Refused,
    /// Nothing comes back for 5 s.
    Swallowed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Manifests {
    Given,
    /// In parts of so many records.
    InParts(u32),
    Refused,
    Silent,
    Wrong,
    /// Part numbers that cannot be.
    Nonsense,
    /// The first so many requests are answered, then no more.
    SilentAfter(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Chunks {
    Good,
    Mute,
    NotFound,
    /// Every so many-th chunk is wrong.
    WrongEvery(u32),
    /// Nothing after so many.
    SilentAfter(u32),
    /// NOT_FOUND outside of these.
    Only(Vec<(u32, u32)>),
}

/// Chunks of a file (its real number if `None`), and runs of (first, count).
pub type Claim = (Option<u32>, Vec<(u32, u32)>);

/// What a remote is and does.
#[derive(Clone, Debug)]
pub struct Script {
    pub dials: Dials,
    /// Time to the extension handshake; never if `None`.
    pub greets: Option<Duration>,
    pub zest: bool,
    pub ranges_only: bool,
    /// One way.
    pub latency: Duration,
    /// Time one chunk takes on its line.
    pub chunk_time: Duration,
    /// Answer to INTEREST: (total, runs); `None` stays silent, an empty total means "the file's".
    pub has: Option<Claim>,
    pub manifests: Manifests,
    pub chunks: Chunks,
    /// For xorb ranges.
    pub blocks: Chunks,
}

impl Script {
    /// A peer on the LAN that has everything.
    pub fn fast() -> Self {
        Self {
            dials: Dials::Answered,
            greets: Some(ms(1)),
            zest: true,
            ranges_only: false,
            latency: Duration::from_micros(300),
            chunk_time: Duration::from_micros(650),
            has: Some((None, vec![(0, u32::MAX)])),
            manifests: Manifests::Given,
            chunks: Chunks::Good,
            blocks: Chunks::Good,
        }
    }

    /// A plain BEP XET peer: no availability, no manifests.
    pub fn plain() -> Self {
        Self { zest: false, ..Self::fast() }
    }

    /// zest 0.4.
    pub fn original() -> Self {
        Self { ranges_only: true, ..Self::plain() }
    }

    pub fn at(self, rate_mb_s: f64) -> Self {
        Self { chunk_time: Duration::from_secs_f64(f64::from(CHUNK) / 1e6 / rate_mb_s), ..self }
    }

    pub fn with(self, chunks: Chunks) -> Self {
        Self { chunks, ..self }
    }
}

/// The origin of one job.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Time to the layout; none ever if `None`.
    pub plan: Option<Duration>,
    pub first_byte: Duration,
    pub chunk_time: Duration,
    /// All fetches, of whatever job, share what one would be given alone.
    pub one_line: bool,
    /// Number of the fetch (over all blocks, from 0) → after so many chunks it ends with this fault.
    pub faults: BTreeMap<u32, (u32, OriginFault)>,
    /// The same for every fetch from this one on.
    pub faults_from: Option<(u32, OriginFault)>,
    /// It is out between these times since the world began: whatever is asked then, and what is under way when it begins,
    /// ends with this fault.
    pub out: Option<(Duration, Duration, OriginFault)>,
    /// Chunks that are wrong the first so many times.
    pub wrong: BTreeMap<u32, u32>,
}

impl Origin {
    pub fn healthy() -> Self {
        Self {
            plan: Some(ms(20)),
            first_byte: ms(20),
            chunk_time: ms(1),
            one_line: false,
            faults: BTreeMap::new(),
            faults_from: None,
            out: None,
            wrong: BTreeMap::new(),
        }
    }
}

pub fn fault(text: &str) -> OriginFault {
    OriginFault::new(FaultKind::Unreachable, text)
}
