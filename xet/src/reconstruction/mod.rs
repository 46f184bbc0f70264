//! What the CAS answers about a file: in which xorbs its chunks lie and where to get them.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::hash::Hash;

#[cfg(feature = "std")]
mod json;
#[cfg(feature = "std")]
pub use json::ReconstructionError;

/// How to rebuild a file, or a range of it, from xorbs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconstruction {
    /// Bytes of the first term to leave out; 0 when the whole file was asked for.
    pub offset_into_first_range: u64,
    /// Runs of chunks in file order.
    pub terms: Vec<Term>,
    /// Where the bytes of each xorb can be had. The key is the only trustworthy name: hosts and paths vary.
    pub fetches: BTreeMap<Hash, Vec<Fetch>>,
}

/// A run of neighbouring chunks of one xorb that is also a run of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The xorb.
    pub xorb: Hash,
    /// Chunk numbers in the xorb, end excluded.
    pub chunks: Range<u32>,
    /// Bytes of the run, uncompressed.
    pub unpacked_len: u64,
}

/// One URL and what it may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Signed, valid for exactly these ranges and for about an hour.
    pub url: String,
    /// Ranges the signature covers.
    pub ranges: Vec<FetchRange>,
}

/// A run of chunks and its place in the serialised xorb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRange {
    /// Chunk numbers in the xorb, end excluded.
    pub chunks: Range<u32>,
    /// Bytes of the serialised xorb, end excluded here (on the wire the end is included).
    pub bytes: Range<u64>,
}
