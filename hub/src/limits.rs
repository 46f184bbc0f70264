//! Every limit of the HTTP servers and of the client of Hubs that a stranger can press on, in one place: whoever connects, and a
//! Hub, CAS or CDN that means ill. `SECURITY.md` shows them as a table, and a test compares the two.

use std::time::Duration;

/// Connections of a listener at a time: 1,024, fewer with few descriptors.
pub const CONNECTIONS_MAX: u64 = 1024;
/// Bodies on their way at a time: 256.
pub const BODIES_MAX: usize = 256;
/// Bytes of requests' bodies held at a time, over all connections: 16 MiB.
pub const FORMS_BYTES_MAX: usize = 16 << 20;
/// Time for a request's head, the wait for it included: 20 s.
pub const HEAD_WAIT: Duration = Duration::from_secs(20);
/// Time for a request's body: 20 s.
pub const FORM_WAIT: Duration = Duration::from_secs(20);
/// Time in which a reader must take something: a minute. One that keeps a low cap leaves what came in the system's buffers for long.
pub const WRITE_WAIT: Duration = Duration::from_secs(60);
/// Read buffer of a connection, and what it takes of a body before the socket takes it: 64 KiB. The longest head is as long.
pub const BUFFER_BYTES: usize = 64 << 10;
/// Silence of a reader after which others may have its place: 2 s.
pub const STALLED: Duration = Duration::from_secs(2);
/// Longest body of `paths-info`: 1 MiB, thousands of paths. Longer ones are answered 413.
pub const FORM_BYTES_MAX: usize = 1 << 20;
/// Longest body of any other call, which nobody reads: 64 KiB. Clients send small reports.
pub const IGNORED_BYTES_MAX: usize = 64 << 10;
/// Longest path and query in bytes: 16 KiB, several times the longest file name. Longer ones are answered 414.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Longest `Host` value that is taken over into URLs: 255 bytes, the longest DNS name, plus a port.
pub const HOST_BYTES_MAX: usize = 262;
/// Most ranges in one `Range` header: 256.
pub const ASKED_RANGES_MAX: usize = 256;
/// Hops of one request: 10 (reqwest's and curl-like clients' usual bound; the Hub needs 2).
pub const REDIRECTS_MAX: usize = 10;
/// Bytes of an error answer or redirect body that are read: 8 KiB.
pub const ERROR_BODY_BYTES_MAX: u64 = 8 << 10;
/// Origins that are remembered to have answered: 256. A pull meets three.
pub const ORIGINS_MAX: usize = 256;
/// One field that is wanted, with its name: 4 KiB. A commit has 42 bytes.
pub const FIELD_BYTES_MAX: usize = 4 << 10;
/// Pages of one listing: 100,000; the Hub gives 1,000 entries on each.
pub const PAGES_MAX: usize = 100_000;
/// One page of JSON: 16 MiB, about 25 times what 1,000 long entries take.
pub const PAGE_BYTES_MAX: u64 = 16 << 20;
/// Files of one commit: 5,000,000, some 2 GB of memory; the Hub advises against more than 100,000.
pub const ENTRIES_MAX: usize = 5_000_000;
/// Size of one file: 16 TiB, so that the sum over all entries fits 63 bits; the Hub allows 500 GB.
pub const FILE_BYTES_MAX: u64 = 16 << 40;
/// Tokens kept: 256 repositories and commits; beyond that, idle ones are forgotten.
pub const TOKENS_MAX: usize = 256;
/// Answer of a token call: 64 KiB; about 1 KB in practice.
pub const TOKEN_BYTES_MAX: u64 = 64 << 10;
/// Largest reconstruction we read: 128 MiB. 486 MB of weights need 4.6 KB; a 500 GB file with 41 ranges per xorb (xet#692)
/// about 70 MB.
pub const RECONSTRUCTION_BYTES_MAX: u64 = 128 << 20;
/// Least rate of a body that has to keep a pace: 4 KiB/s. Ours; a telephone line had more.
pub const TRICKLE_BYTES_S: u64 = 4 << 10;
/// Window of a zstd frame: 8 MiB, the most that a sender may use in HTTP (RFC 9659).
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;
/// Header of a gzip member with its names and comments: 64 KiB. Ours; servers send 10 bytes.
pub const GZIP_HEADER_BYTES_MAX: usize = 64 << 10;
