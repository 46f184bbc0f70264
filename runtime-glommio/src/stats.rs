//! Numbers of a running seeder. Each core counts for itself; whoever asks adds up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Numbers of all cores together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeederStats {
    /// Connections, those that have not shaken hands included.
    pub links: u64,
    /// Peers linked.
    pub peers: u64,
    /// Bytes sent, with heads.
    pub uploaded: u64,
    /// Chunks given.
    pub chunks_served: u64,
    /// Payload bytes that were read from a disk.
    pub disk_bytes: u64,
    /// Reads that gave them.
    pub disk_reads: u64,
    /// Bytes of memory that the block caches have taken.
    pub cache_bytes: u64,
    /// Peers shut out.
    pub banned: u64,
    /// Executors that run.
    pub cores: u64,
}

/// What one core counts.
#[derive(Debug, Default)]
pub(crate) struct CoreStats {
    pub(crate) links: AtomicU64,
    pub(crate) peers: AtomicU64,
    pub(crate) uploaded: AtomicU64,
    pub(crate) chunks_served: AtomicU64,
    pub(crate) disk_bytes: AtomicU64,
    pub(crate) disk_reads: AtomicU64,
    pub(crate) cache_bytes: AtomicU64,
    pub(crate) banned: AtomicU64,
    pub(crate) alive: AtomicBool,
}

/// Adds to a number that only this thread writes.
pub(crate) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Relaxed) + more, Relaxed);
}

impl CoreStats {
    pub(crate) fn add_to(&self, sum: &mut SeederStats) {
        sum.links += self.links.load(Relaxed);
        sum.peers += self.peers.load(Relaxed);
        sum.uploaded += self.uploaded.load(Relaxed);
        sum.chunks_served += self.chunks_served.load(Relaxed);
        sum.disk_bytes += self.disk_bytes.load(Relaxed);
        sum.disk_reads += self.disk_reads.load(Relaxed);
        sum.cache_bytes += self.cache_bytes.load(Relaxed);
        sum.banned += self.banned.load(Relaxed);
        sum.cores += u64::from(self.alive.load(Relaxed));
    }
}
