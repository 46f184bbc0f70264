//! Every limit of what is read from disk that somebody else may have written, in one place. `SECURITY.md`
//! shows them as a table, and a test compares the two.

use std::time::Duration;

/// Places that are tried for one chunk: a chunk that stands in more files than this is found in the first of
/// them.
pub const CANDIDATES_MAX: usize = 64;
/// Descriptors kept open: well below the usual limit of 1,024 per process, of which connections need the rest.
pub const OPEN_FILES_MAX: usize = 256;
/// How long the lock of a blob is waited for: 5 s. Who holds it properly publishes a file or notes a user.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a list of users that are looked at: 100,000 repositories.
pub const REFS_BYTES_MAX: u64 = 16 << 20;
/// Bytes of the largest tree file that is read: about a million files.
pub const TREE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of a ref file that are looked at; a commit has 40.
pub const REF_BYTES_MAX: u64 = 256;
/// Remarks that are kept until somebody asks.
pub const REMARKS_MAX: usize = 100;
/// Folders inside folders that a snapshot is followed into.
pub const DEPTH_MAX: usize = 64;
/// Bytes of a places file that are read: far more than any number of copies needs.
pub const PLACES_BYTES_MAX: u64 = 16 << 20;
/// Lists of commits whose files outside Xet are known without reading the list again: 16, about 20 MB at most. Ours.
pub const LISTS_KEPT_MAX: usize = 16;
/// Files outside Xet of a list that is kept so: 10,000. Ours; a longer one is read whenever one of them is asked for.
pub const LIST_ROWS_KEPT_MAX: usize = 10_000;
/// Repositories that are noted as not to be shared: read every second where something is given.
pub const DENIED_MAX: usize = 10_000;
/// How long an answer "anyone may read this commit" counts: 12 h. Ours; what turns private is given for half a day at most
/// by whoever does not hear of it.
pub const PROOF_LASTS: Duration = Duration::from_secs(12 * 3600);
/// The same while the Hub cannot be asked again: 24 h. Ours.
pub const PROOF_LASTS_AT_MOST: Duration = Duration::from_secs(24 * 3600);
/// How far ahead of this machine's clock an answer may be dated: 5 min. Ours; clocks that are set by the network differ by
/// seconds.
pub const CLOCK_SLACK: Duration = Duration::from_secs(300);
/// Bytes of a metadata file that are looked at; it has about 130, and a path where its name was too long for its own.
pub const METADATA_BYTES_MAX: u64 = 4_096;
/// Folders inside folders that are followed.
pub const FOLDERS_MAX: usize = 64;
