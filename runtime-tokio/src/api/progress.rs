//! What a pull tells while it runs.

use crate::outages::Out;
use crate::steering::NiceStats;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Where a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Asking the Hub what there is.
    #[default]
    Listing,
    /// Looking at what is on disk.
    Checking,
    /// Moving bytes.
    Fetching,
    /// Making the last files durable and giving them their names.
    Finishing,
    /// Done.
    Done,
}

/// One file of a pull under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileProgress {
    /// Its path in the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Bytes that are in place.
    pub done: u64,
}

/// A file whose lock another process has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileWait {
    /// Its path in the repository.
    pub path: String,
    /// Who has it, as far as the system tells: `process 42 (hf) of alice (uid 1001), running for 3 min`.
    pub who: String,
    /// For how long it has been waited for.
    pub seconds: u64,
}

/// A snapshot of a running pull. Byte counts are of file content (uncompressed).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// It rests by its user's wish.
    pub paused: bool,
    /// Files to fetch or find.
    pub files_total: u32,
    /// Files in their final place.
    pub files_done: u32,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Bytes in place, whatever gave them.
    pub bytes_done: u64,
    /// Of these: from peers.
    pub from_peers: u64,
    /// Of these: from the Hub and its CDN.
    pub from_cdn: u64,
    /// Of these: already on this machine (whole files, resumed chunks, chunks of other files).
    pub from_disk: u64,
    /// Bytes that an earlier run left in files it did not finish: each part counts once it is proven.
    pub left_over: u64,
    /// Everyone may read it, so peers are asked for it and given it.
    pub shareable: bool,
    /// Bytes received from peers, the Hub and its CDN as they were sent, which may be fewer than they are unpacked. A cap on
    /// downloads is one on these.
    pub received: u64,
    /// Bytes of its files given to peers since the pull began.
    pub given: u64,
    /// Peers linked now that have something of its files or fetch them.
    pub peers: u32,
    /// How the line is, while its queue is to stay short.
    pub nice: Option<NiceStats>,
    /// Files under way, the ones that began first come first.
    pub current: Vec<FileProgress>,
    /// What does not answer at present, though it may again.
    pub outages: Vec<Out>,
    /// Files whose lock another process has, the one that is waited for the longest first.
    pub waiting: Vec<FileWait>,
    /// What changes the outcome, so far.
    pub notices: Vec<Notice>,
}

/// Something that changes what the user gets, or how long that takes: said as it happens, and in the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Notice {
    /// A word for programs: `wrong-on-disk`, `proving`, `waiting`, …
    pub kind: Cow<'static, str>,
    /// The file concerned, by its path in the repository.
    pub path: Option<String>,
    /// A sentence for people: lower case, with values.
    pub text: String,
}

/// How a file of a pull came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It was in the cache.
    Cached,
    /// Its content was in the cache under another name.
    Linked,
    /// It was fetched whole from the Hub (small files, files outside Xet).
    Hub,
    /// Its chunks were fetched.
    Chunks,
    /// Peers gave it whole (small files outside Xet).
    Peers,
    /// Nothing was done (`--dry-run`): it would be fetched.
    Wanted,
}

impl How {
    /// A word for tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Linked => "linked",
            Self::Hub => "hub",
            Self::Chunks => "chunks",
            Self::Peers => "peers",
            Self::Wanted => "wanted",
        }
    }
}

/// One file of a finished pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PulledFile {
    /// Its path in the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// How it came.
    pub how: How,
}
