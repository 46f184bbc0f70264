//! Every limit of this runtime that a stranger can press on, in one place. `SECURITY.md` shows them as a table, and a test compares the
//! two. What one link and all of them may have the node remember: [`zest_core::limits`].

use std::time::Duration;
use zest_xet::CHUNK_BYTES_MAX;

/// Peers linked at once, at most, whatever an engine is told: 512. Connections that have not shaken hands have a bound of
/// their own, [`zest_core::lobby::HALF_OPEN_MAX`].
pub const LINKED_MAX: usize = 512;
/// Connections waiting to be accepted, at most.
pub const BACKLOG: i32 = 256;
/// How long a dial may take.
pub const DIAL: Duration = Duration::from_secs(5);
/// Packed chunks on their way to the workers, at most: 64 × 128 KiB.
pub const DECODES_MAX: usize = 64;
/// Bytes read at once where no payload can be foreseen. All links read into the same place: what is read there is taken in before
/// anything else happens, and a stranger's link that says nothing costs none of it.
pub const HEAD_BYTES: usize = 16 << 10;
/// Items a writer may have queued before its reader stops taking in more requests: 256, half of what a remote may ask for at once.
/// The node gives at most sixteen chunks ahead; what more there is are short answers, 80 bytes each.
pub const QUEUE_MAX: usize = 256;
/// Time in which a peer that is being answered must take at least one byte; after that it is cut off. As long as BEP 3
/// allows a peer to be silent.
pub const SEND_STALL: Duration = Duration::from_secs(120);
/// Bytes of a buffer: the longest chunk.
pub const BUFFER_BYTES: usize = CHUNK_BYTES_MAX;
/// Buffers alive at once, at most: 32 MiB. When none is free, links stop reading until one comes back.
pub const BUFFERS_MAX: usize = 256;
/// Chunks being read to be kept, at most: 64, that is 8 MiB at most. Ours; what comes beyond that is asked for again.
pub const READING_MAX: usize = 64;
/// Unproven xorb ranges of peers that a job remembers until its list is known; each has at most 8,192 chunks.
pub const DOUBTS_MAX: usize = zest_core::doubts::Doubts::MAX;
/// Redirects of one request that are followed: 3. Ours; trackers that moved need one.
pub const REDIRECTS_MAX: usize = 3;
