//! Every limit of the client of Hubs that a stranger can press on, in one place: a Hub, CAS or CDN that means ill. `SECURITY.md`
//! shows them as a table, and a test compares the two.

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
