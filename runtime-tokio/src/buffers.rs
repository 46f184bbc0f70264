//! Pooled, page-aligned buffers for received payloads.

pub(crate) use crate::limits::BUFFER_BYTES;
use crate::limits::BUFFERS_MAX;
use std::sync::{Arc, Mutex};

/// Alignment of a buffer's first byte: a page, so that the kernel's copy and ours run at full width.
const ALIGN: usize = 4096;
/// Free buffers kept for reuse; more are given back to the system.
const KEEP_MAX: usize = 128;

/// One buffer. Its memory goes back to the pool when it is dropped.
pub(crate) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
    pool: Option<Pool>,
}

impl Buffer {
    /// All room there is.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let end = self.start + self.memory.len().saturating_sub(ALIGN);
        &mut self.memory[self.start..end]
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.memory.len().saturating_sub(ALIGN), "a payload fits its buffer");
        self.len = len;
    }

    /// A buffer of any size outside the pool, for the rare payload that is longer than a chunk.
    pub(crate) fn large(bytes: usize) -> Self {
        Self::with_capacity(bytes, None)
    }

    fn with_capacity(bytes: usize, pool: Option<Pool>) -> Self {
        let memory = vec![0; bytes + ALIGN];
        let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { memory, start, len: 0, pool }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.give_back(std::mem::take(&mut self.memory));
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    free: Vec<Vec<u8>>,
    out: usize,
}

/// The pool. Cheap to clone; shared with the workers, which drop what they are done with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<(Mutex<Inner>, tokio::sync::Notify)>);

impl Pool {
    /// A buffer, unless too many are out.
    pub(crate) fn try_take(&self) -> Option<Buffer> {
        let mut inner = self.0.0.lock().expect("no holder panics");
        if inner.out >= BUFFERS_MAX {
            return None;
        }
        inner.out += 1;
        let reused = inner.free.pop();
        drop(inner);
        Some(match reused {
            Some(memory) => {
                let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
                Buffer { memory, start, len: 0, pool: Some(self.clone()) }
            }
            None => Buffer::with_capacity(BUFFER_BYTES, Some(self.clone())),
        })
    }

    /// Waits for one.
    pub(crate) async fn take(&self) -> Buffer {
        loop {
            let notified = self.0.1.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(buffer) = self.try_take() {
                return buffer;
            }
            notified.await;
        }
    }

    fn give_back(&self, memory: Vec<u8>) {
        let mut inner = self.0.0.lock().expect("no holder panics");
        inner.out -= 1;
        if inner.free.len() < KEEP_MAX {
            inner.free.push(memory);
        }
        drop(inner);
        self.0.1.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_page_aligned_and_comes_back() {
        let pool = Pool::default();
        let mut buffers: Vec<Buffer> = std::iter::from_fn(|| pool.try_take()).collect();
        assert_eq!(buffers.len(), BUFFERS_MAX);
        for buffer in &mut buffers {
            assert_eq!(buffer.room().as_ptr().align_offset(ALIGN), 0);
            assert_eq!(buffer.room().len(), BUFFER_BYTES);
        }
        buffers.pop();
        assert!(pool.try_take().is_some());
    }
}
