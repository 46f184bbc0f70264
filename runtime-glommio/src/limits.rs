//! Every limit of this runtime that a stranger can press on, in one place. `SECURITY.md` shows them as a table, and a test compares the
//! two. What one link and all of them may have the node remember: [`zest_core::limits`].

use std::time::Duration;

/// Connections of one core unless told otherwise: 4,096.
pub const LINKS_MAX: usize = 4096;
/// Connections that wait for a core to accept them: 1,024, as many as glommio's own listeners hold.
pub const BACKLOG: i32 = 1024;
/// Bytes read from a socket at once: 16 KiB, some 300 requests. One buffer serves all connections of a core.
pub const INPUT_BYTES: usize = 16 << 10;
/// Answers queued or being looked up past which a link takes in no more requests: 128. What a peer asks beyond that
/// waits in its socket.
pub const INTAKE_MAX: usize = 128;
/// Answers queued up to which the next xorb range is looked up: 64. One range can be thousands of parts.
pub const XORBS_BELOW: usize = 64;
/// Time in which a peer that is being answered must take at least one byte: 120 s, as long as BEP 3 lets it be silent.
pub const SEND_STALL: Duration = Duration::from_secs(120);
/// Bytes handed to glommio when the socket is full: it waits for room and then sends them itself.
pub const PARK_BYTES: usize = 64 << 10;
/// Bytes read ahead or under way on one core, at most: 4 MiB (and one read that begins while there is room). At 128 KiB
/// for a chunk with its edges that is 32 reads at once, where a disk is at its best; more of them only took memory.
pub const STAGED_BYTES_MAX: usize = 4 << 20;
/// Files one core keeps open, two descriptors each: 128.
pub const OPEN_FILES_MAX: usize = 128;
