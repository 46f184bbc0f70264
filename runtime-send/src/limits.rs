//! Every limit of what is kept for peers and sent to them, in one place. `SECURITY.md` shows them as a table, and a test compares the two.

/// Bytes of a segment: 8 MiB. Ours: small against any cache worth having.
pub const SEGMENT_BYTES: usize = 8 << 20;
/// Ranges gathered into one send, at most: 16, 1 MiB at 64 KiB each. More gained nothing when it was measured.
pub const GATHER_MAX: usize = 16;
/// Longest merged read: 512 KiB less two pages, so that it still is one with the edges that O_DIRECT adds. Longer ones gained
/// nothing on a disk, and fit badly into little memory.
pub const READ_BYTES_MAX: u32 = (512 << 10) - (8 << 10);
/// Answers whose room a queue keeps when it is empty: 16, as many chunks as are gathered.
pub const QUEUE_KEEP: usize = 16;
/// Bytes of small files outside Xet that are kept in memory once somebody asked for them: 16 MiB, sixteen of the greatest size. Ours; a
/// repository has a few megabytes of them, and whoever pulls it asks for all. On a seed box once for all cores, and once more for each, that
/// sends them.
pub const SMALL_KEPT_BYTES_MAX: usize = 16 << 20;
/// Small files that are kept so: 1,024. Ours.
pub const SMALL_KEPT_MAX: usize = 1024;
