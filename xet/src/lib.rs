#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! The formats of Hugging Face's Xet storage, as pure functions: hashes and their strings, the hash tree, the file
//! manifest, the content-defined chunker (both rules in use), the xorb chunk codec and the reconstruction JSON.
//!
//! The crate does no I/O, starts no thread and reads no clock. Bytes from strangers never panic it: every parser
//! returns an error that names the offending value. With `default-features = false` it is `no_std` + `alloc`; the
//! `std` feature adds the chunker, JSON, serde for [`struct@Hash`] and run-time detection of wide SIMD.
//!
//! # Trust
//! A file is named by its [`file_hash`]. A [`Manifest`] lists the file's chunks and proves itself against that name;
//! from then on [`verify`] turns bytes from anywhere into [`Proven`] bytes, chunk by chunk. It is the only door.
//!
//! ```
//! use zest_xet::{ChunkRef, Manifest, chunk_hash, file_hash, verify};
//!
//! let data = b"Hello World!";
//! let list = vec![ChunkRef { hash: chunk_hash(data), len: 12 }];
//! // The name comes from the Hub, the list from anyone.
//! let name = file_hash(&list);
//! assert_eq!(name.to_string(), "a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165");
//! let manifest = Manifest::prove(name, 12, list).unwrap();
//! let proven = verify(&data[..], manifest.chunk(0)).unwrap();
//! assert_eq!(proven.bytes(), data);
//! assert!(verify(&b"Hello World?"[..], manifest.chunk(0)).is_err());
//! ```
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod ballot;
#[cfg(feature = "std")]
mod chunker;
pub mod fields;
mod hash;
mod manifest;
mod plan;
mod proof;
mod reconstruction;
pub mod safetensors;
mod table;
mod tree;
mod whole;
mod xorb;

pub use ballot::{Ballot, Verdict};
#[cfg(feature = "std")]
pub use chunker::{Chunker, Rule};
pub use hash::{ChunkRef, Hash, ParseHashError, chunk_hash, term_verification_hash};
pub use manifest::{MANIFEST_RECORD_BYTES, Manifest, ManifestError};
pub use plan::{Plan, PlanBlock, PlanError, PlanTerm};
pub use proof::{Mismatch, MismatchReason, Proven, verify};
#[cfg(feature = "std")]
pub use reconstruction::ReconstructionError;
pub use reconstruction::{Fetch, FetchRange, Reconstruction, Term};
pub use table::{Checked, ChunkTable, Seen, may_land};
pub use tree::{TreeHasher, file_hash, xorb_hash};
pub use whole::xorbs_if_uploaded;
pub use xorb::{
    ChunkHeader, Decoder, Encoder, Footer, FooterError, FrameError, Scheme, SchemeChoice, XorbChunks,
    XorbError,
};

/// Shortest chunk the current rule cuts, except the last of a file: 8 KiB (Xet draft, chunking).
pub const CHUNK_BYTES_MIN: usize = 8 * 1024;
/// Shortest chunk the old rule cuts: 64 bytes less.
const OLD_CHUNK_BYTES_MIN: usize = CHUNK_BYTES_MIN - 64;
/// Mean distance of two cuts in random data: 64 KiB (Xet draft, chunking).
pub const CHUNK_BYTES_TARGET: usize = 64 * 1024;
/// Longest chunk: 128 KiB (Xet draft, chunking).
pub const CHUNK_BYTES_MAX: usize = 128 * 1024;
/// Longest serialised xorb, without its footer: 64 MiB (Xet draft, xorbs).
pub const XORB_BYTES_MAX: usize = 64 << 20;
/// Most chunks in one xorb: 8,192 (Xet draft, xorbs).
pub const XORB_CHUNKS_MAX: usize = 8192;

/// Most chunks the chunker can cut from `size` bytes by either rule. A bound for buffers: lists made by other means
/// can be longer and still prove themselves.
#[must_use]
pub const fn chunk_count_max(size: u64) -> u64 {
    size.div_ceil(OLD_CHUNK_BYTES_MIN as u64)
}
