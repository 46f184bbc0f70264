//! Every limit of the API and of the local endpoint that a stranger can press on, in one place: other programs and users of this machine,
//! pages in a browser, whoever has the secret. `SECURITY.md` shows them as a table, and a test compares the two. Those of the listener
//! itself: [`zest_hub_server::guard`].

use std::time::Duration;

/// Connections at a time, at most: 512. All of them come from this machine, so they cannot be told apart by address.
pub const CONNECTIONS_MAX: usize = 512;
/// Longest path and query: 4 KiB. Ours have less than 100 bytes.
pub const TARGET_BYTES_MAX: usize = 4 << 10;
/// Longest body: 1 MiB, thousands of file names.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Pulls under way, at most: 256.
pub const PULLS_MAX: usize = 256;
/// Listeners to events, at most: 128.
pub const LISTENERS_MAX: usize = 128;
/// Events that are kept, progress aside: 4,096.
pub const EVENTS_KEPT_MAX: usize = 4096;
/// How long a code works: 60 s, time for a browser to start.
pub const CODE_FOR: Duration = Duration::from_secs(60);
/// Codes that are out, and pages that were let in, at most: 16 of each. The oldest go.
pub const CODES_MAX: usize = 16;
/// Characters of an address that are looked at, at most: 32 KiB. The URL of a xorb names up to 256 ranges.
pub const ENDPOINT_TARGET_BYTES_MAX: usize = 32 << 10;
/// Longest form that is looked at: 1 MiB. Longer ones are passed on as they are.
pub const FORM_BYTES_MAX: usize = 1 << 20;
/// Questions to the Hub whose answers are remembered for a moment, so that each is asked once, at most: 1,024.
pub const TURNS_MAX: usize = 1_024;
/// Longest answer that is kept: 32 MiB, a listing of some 50,000 files.
pub const KEPT_BYTES_MAX: usize = 32 << 20;
/// All answers that are kept together: 256 MiB.
pub const ALL_BYTES_MAX: u64 = 256 << 20;
/// And so many of them: 8,192.
pub const ALL_MAX: usize = 8_192;
/// Words of the Hub on who may read what that are remembered, of each kind: 16,384. The oldest go.
pub const REMEMBERED_MAX: usize = 16_384;
/// Tokens that are good at a time: 4,096. The oldest go.
pub const GRANTS_MAX: usize = 4_096;
/// Files whose xorbs are laid out at a time: 64, some 10 MB for each of 100 GB.
pub const FRAMED_MAX: usize = 64;
/// Ranges of a xorb in one URL, and in one request: 256.
pub const RANGES_MAX: usize = 256;
/// How long a file goes on coming when nobody reads it any more: 30 s. Clients read a file in several requests.
pub const UNREAD_FOR: Duration = Duration::from_secs(30);
/// Bytes that are asked for ahead of a reader: 8 MiB.
pub const AHEAD_BYTES: u64 = 8 << 20;
/// Lists of files that are kept in memory: 32.
pub const LISTS_MAX: usize = 32;
/// Pages of a list that are asked for: 1,000, a million files.
pub const PAGES_MAX: usize = 1_000;
/// Longest page that is read: 32 MiB.
pub const PAGE_BYTES_MAX: usize = 32 << 20;
/// Commands below `zest run` whose figures are remembered: 64. Those that began first go.
pub const RUNS_MAX: usize = 64;
/// Pulls of one of them that are remembered: 16,384. Of more the first go on counting, later ones do not.
pub const RUN_PULLS_MAX: usize = 16_384;
/// Blobs and manifests of images that can be told by their hash: 4,096. The oldest go; who asks for the manifest again has them again.
pub const IMAGES_MAX: usize = 4_096;
/// Longest template, system prompt or set of parameters of an image: 1 MiB.
pub const EXTRA_BYTES_MAX: u64 = 1 << 20;
/// Files that this machine could not keep and that are remembered: 1,024.
pub const UNKEPT_MAX: usize = 1_024;
