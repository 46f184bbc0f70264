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
