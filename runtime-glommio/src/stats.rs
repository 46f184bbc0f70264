//! Numbers of a running seeder. Each core counts for itself; whoever asks adds up.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use zest_core::endpoint::Scope;

/// As far as somebody can come from, in the order of what is counted for it.
const SCOPES: [Scope; 3] = [Scope::Loopback, Scope::Local, Scope::Global];

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
    /// Small files outside Xet given.
    pub small_files_given: u64,
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
    /// As far as somebody has come from, if anybody has.
    pub came_from: Option<Scope>,
}

/// What one core counts.
#[derive(Debug, Default)]
pub(crate) struct CoreStats {
    pub(crate) links: AtomicU64,
    pub(crate) peers: AtomicU64,
    pub(crate) uploaded: AtomicU64,
    pub(crate) chunks_served: AtomicU64,
    pub(crate) small_files_given: AtomicU64,
    pub(crate) disk_bytes: AtomicU64,
    pub(crate) disk_reads: AtomicU64,
    pub(crate) cache_bytes: AtomicU64,
    pub(crate) banned: AtomicU64,
    pub(crate) alive: AtomicBool,
    /// How many of [`SCOPES`] it takes to have the farthest from which somebody came.
    came_from: AtomicU8,
}

/// Adds to a number that only this thread writes.
pub(crate) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Relaxed) + more, Relaxed);
}

impl CoreStats {
    /// Somebody from as far as this has shaken hands.
    pub(crate) fn came_in(&self, from: Scope) {
        let rank = SCOPES.iter().position(|scope| *scope == from).map_or(0, |at| at as u8 + 1);
        self.came_from.fetch_max(rank, Relaxed);
    }

    pub(crate) fn add_to(&self, sum: &mut SeederStats) {
        sum.links += self.links.load(Relaxed);
        sum.peers += self.peers.load(Relaxed);
        sum.uploaded += self.uploaded.load(Relaxed);
        sum.chunks_served += self.chunks_served.load(Relaxed);
        sum.small_files_given += self.small_files_given.load(Relaxed);
        sum.disk_bytes += self.disk_bytes.load(Relaxed);
        sum.disk_reads += self.disk_reads.load(Relaxed);
        sum.cache_bytes += self.cache_bytes.load(Relaxed);
        sum.banned += self.banned.load(Relaxed);
        sum.cores += u64::from(self.alive.load(Relaxed));
        let rank = usize::from(self.came_from.load(Relaxed));
        sum.came_from = sum.came_from.max(rank.checked_sub(1).and_then(|at| SCOPES.get(at).copied()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_visitor_of_any_core_counts() {
        let cores = [CoreStats::default(), CoreStats::default()];
        let farthest = || {
            let mut sum = SeederStats::default();
            cores.iter().for_each(|core| core.add_to(&mut sum));
            sum.came_from
        };
        assert_eq!(farthest(), None);
        cores[0].came_in(Scope::Loopback);
        assert_eq!(farthest(), Some(Scope::Loopback));
        cores[1].came_in(Scope::Global);
        cores[1].came_in(Scope::Local);
        assert_eq!(farthest(), Some(Scope::Global));
    }
}
