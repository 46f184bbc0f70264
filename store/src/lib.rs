#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! Disk: the HF cache as huggingface_hub 2.4 lays it out, partial files with a journal, and the catalog of
//! chunks.
//!
//! Everything here is plain blocking file I/O; a runtime calls it from threads that may block. The crate
//! knows the disk and nothing else: no network, no clock except for expiry dates, no async.
//!
//! | module | owns |
//! |---|---|
//! | [`Env`] | what the environment says: places, endpoint, token, switches |
//! | [`HfCache`], [`LocalDir`] | where finished files go, and what is there already |
//! | [`Partial`] | the bytes and the journal of an interrupted pull |
//! | [`PlainPartial`] | the same of a download without chunks |
//! | [`Catalog`] | chunk → place on disk; what may be shared with strangers |
//! | [`Shelf`] | the catalog as a seeder's cores read it |
//! | [`verify_cache`] | re-hashing what is in the cache |
//!
//! Trust: a name from the Hub becomes a path only after [`check_storable`]; content is taken for what it says
//! only after it was hashed; a file is served only while [`Identity`] says that it is the one that was
//! hashed.

//!
//! ```
//! use zest_store::{Entry, Partial, PartialSpec};
//! use zest_xet::{ChunkRef, chunk_hash, file_hash};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let chunk = ChunkRef { hash: chunk_hash(b"Hello World!"), len: 12 };
//! let spec = PartialSpec { file: file_hash(&[chunk]), size: 12 };
//! {
//!     let partial = Partial::open(dir.path(), spec)?;
//!     partial.write_at(0, b"Hello World!")?;
//!     partial.record(&Entry { index: 0, offset: 0, chunk, packed_len: 0 })?;
//!     // The process is killed here.
//! }
//! let partial = Partial::open(dir.path(), spec)?;
//! assert_eq!(partial.entries()[0].chunk, chunk);
//! let finished = partial.finish()?; // to be given to `HfCache::land_xet`
//! # drop(finished);
//! # Ok(())
//! # }
//! ```

mod aging;
mod cache;
mod catalog;
mod digest;
mod endpoint;
mod env;
mod error;
pub mod limits;
mod local_dir;
mod lock;
mod names;
mod os;
mod partial;
mod plain;
mod proven;
mod repair;
mod tree;

/// Target of events that change what the user gets. Programs show them whatever their log shows, so each is a whole sentence with
/// its values, and has a `kind` for programs.
pub const SAID: &str = "zest::said";
mod verify;

pub use aging::aging_now;
pub use cache::{
    CacheOptions, HfCache, PartialFile, Presence, Removed, RepoUsage, RevisionUsage, SnapshotFile,
    StoredBlob, Unfinished,
};
pub use catalog::{
    Access, Catalog, Commit, FileId, FileStatus, IndexTask, Indexed, Located, ManifestOnDisk, OriginalXorb,
    PROOF_LASTS, PROOF_LASTS_AT_MOST, Place, PublicProof, Shelf, SmallFile,
};
pub use endpoint::{Endpoint, is_loopback_name};
pub use env::{ENDPOINT_DEFAULT, Env, Token};
pub use error::{StoreError, StoreErrorKind, bytes_in_words, io_kind};
pub use local_dir::LocalDir;
pub use lock::FileLock;
pub use names::{NameError, RepoId, RepoType, check_name, check_revision, check_storable, is_commit};
pub use os::{FileExt, Identity, free_space, write_atomically};
pub use partial::{Entry, FinishedFile, Partial, PartialError, PartialSpec};
pub use plain::{Filling, Leftovers, Looked, PlainPartial, WINDOW_BYTES};
pub use repair::{Salvage, keep_what_is_right, salvage};
pub use tree::{TreeEntry, format_tree, parse_tree};
pub use verify::{VerifyEvent, VerifyOutcome, VerifySummary, verify_and_note, verify_cache};
