//! Every bound of a link, in one place. A stranger can make one link hold or skip only what these say.

use crate::time::Duration;
use crate::wire::zest::MANIFEST_PART_RECORDS_MAX;

/// Time the remote has for its 68-byte handshake: 10 s. Ours; several round trips on the slowest path.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

/// Time the remote has for its extension handshake, counted from the opening of the link: 20 s. Ours.
pub const EXT_HANDSHAKE_WAIT: Duration = Duration::from_secs(20);

/// Silence of ours after which a keep-alive goes out: 90 s. BEP 3 says "generally once every two minutes"; earlier
/// than [`IDLE_LIMIT`], so that a slow network does not cost the link.
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(90);

/// Silence of the remote after which the link is closed: 120 s (BEP 3's keep-alive period).
pub const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// Requests one link may have outstanding: 512. Ours; at 64 KiB a chunk that is 32 MiB in flight, the bandwidth × delay
/// product of 10 Gbit/s at 27 ms. Also sent as `reqq` (BEP 10).
pub const OUTSTANDING_MAX: usize = 512;

/// Forgotten (timed out or cancelled) requests one link remembers, so that a late answer is skipped and not taken for
/// an attack: 512. The oldest is dropped first.
pub const FORGOTTEN_MAX: usize = 512;

/// Largest frame that carries no payload we asked for: 65,536 bytes after the length prefix. Ours; a bitfield of half a
/// million pieces still passes and is skipped unread.
pub const CONTROL_FRAME_BYTES_MAX: u32 = 64 << 10;

/// Largest frame of all: 67,109,888 bytes after the length prefix, the limit of zest 0.4 (a full xorb and its heads).
pub const FRAME_BYTES_MAX: u32 = (64 << 20) + 1024;

/// Bytes of frames without use for us (keep-alives, `have`, bitfields, unknown ids) that a remote may send within one
/// [`IDLE_LIMIT`]: 1 MiB. Ours.
pub const CHATTER_BYTES_MAX: u64 = 1 << 20;

/// Bytes of late payloads skipped since the last answer in time: 128 MiB, two full xorbs. Ours; beyond that the link
/// only burns bandwidth.
pub const LATE_BYTES_MAX: u64 = 128 << 20;

/// Extension handshakes a remote may send on one link: 16. BEP 10 allows repeats and sets no limit; nobody needs three.
pub const EXT_HANDSHAKES_MAX: u32 = 16;

/// Characters of a remote's error text that are kept: 256. Ours.
pub const ERROR_TEXT_CHARS_MAX: usize = 256;

/// Actions whose room a link keeps between two slices: 48 (5.6 KiB), as many as sixteen answers make. Ours; a slice of tiny frames
/// makes one action per 6 bytes, and that room goes back at once: any stranger can send one over each of its links.
pub const ACTIONS_KEEP: usize = 48;

/// Bytes of room for actions and partial heads that an idle link may keep: 4 KiB. Ours; with the struct itself a link
/// stays under 8 KiB.
pub const IDLE_BYTES_MAX: usize = 4 << 10;

const _: () = assert!(MANIFEST_PART_RECORDS_MAX * 36 < 512 << 10, "a manifest part fits into 512 KiB");
