//! Memory for the pieces of bodies, used again and again.

use std::sync::{Arc, Mutex, PoisonError};

/// Bytes per read and per write to the connection: 64 KiB. Two of them wait with each reader that takes nothing.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Free buffers kept for reuse: 32, 2 MiB. Without reuse the allocator would map and clear fresh pages for every piece.
const FREE_BUFFERS_MAX: usize = 32;

/// Buffers of [`PIECE_BYTES`] for reuse.
#[derive(Debug, Default)]
pub struct BufferPool {
    free: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer that goes back to its pool when the connection has sent it.
#[derive(Debug)]
pub struct Piece {
    buf: Option<Box<[u8]>>,
    len: usize,
    pool: Arc<BufferPool>,
}

impl BufferPool {
    /// Room for `len` bytes, in which anything may stand.
    ///
    /// # Panics
    /// There are more than [`PIECE_BYTES`].
    #[must_use]
    pub fn take(self: &Arc<Self>, len: usize) -> Piece {
        assert!(len <= PIECE_BYTES, "a piece of {len} bytes");
        let buf = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Piece {
            buf: Some(buf.unwrap_or_else(|| vec![0; PIECE_BYTES].into_boxed_slice())),
            len,
            pool: self.clone(),
        }
    }
}

impl Piece {
    /// Its bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buf.as_mut().expect("a piece has its buffer until it is dropped")[..self.len]
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buf.as_ref().expect("a piece has its buffer until it is dropped")[..self.len]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < FREE_BUFFERS_MAX {
            free.extend(self.buf.take());
        }
    }
}
