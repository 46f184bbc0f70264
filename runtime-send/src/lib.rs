#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! What both runtimes send with: chunks in memory, what a connection has still to send, and memory lent to sockets.
//!
//! | module | owns |
//! |---|---|
//! | [`BlockCache`] | chunks in memory, never written over |
//! | [`SendQueue`] | what one connection has to send, and what is to be read for it |
//! | [`Lender`] | chunks on their way from memory into a socket, without a copy (Linux) |
//! | [`SmallFiles`] | small files outside Xet in memory: which of them, and how many |
//! | [`memory`] | giving back what a crowd of links needed |
//!
//! Nothing here opens a file or a socket, or waits: a runtime hands in what it has.

mod block_cache;
mod lend;
pub mod limits;
pub mod memory;
mod send_queue;
mod small_files;

pub use block_cache::{BlockCache, SEGMENT_BYTES};
pub use lend::{Lender, Lent, Piece, Socket};
pub use send_queue::{AHEAD_MAX, GATHER_MAX, PIECES_MAX, Part, READ_BYTES_MAX, Read, SendQueue, Span};
pub use small_files::SmallFiles;
