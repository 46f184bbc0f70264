//! Every limit of the HTTP servers that a stranger can press on, in one place: whoever connects. `SECURITY.md` shows them as a
//! table, and a test compares the two.

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
