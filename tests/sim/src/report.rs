//! What came out of a run, in numbers.

use crate::actors::Actor;
use crate::file::File;
use crate::host::Life;
use crate::wire::KINDS;
use crate::world::World;
use std::fmt;

/// Figures of one run. Times in nanoseconds, from a node's own start to its last byte; bytes of all nodes together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Honest nodes that stayed to the end.
    pub nodes: u32,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Chunks of all files.
    pub chunks: u32,
    /// Finish times of those nodes, ascending. Only complete ones.
    pub finish_ns: Vec<u64>,
    /// The same for nodes with a full uplink only.
    pub fast_ns: Vec<u64>,
    /// When each node that did so first asked the origin for data, in time of the world, ascending.
    pub first_fetch_ns: Vec<u64>,
    /// The least possible time.
    pub bound_ns: u64,
    /// Jobs that ended without success.
    pub failed: u32,
    /// Bytes the origin sent.
    pub origin_bytes: u64,
    /// The same of each file, in copies of it.
    pub copies_of_files: Vec<f64>,
    /// Chunk bytes from peers whose request had been given up.
    pub late_bytes: u64,
    /// Chunk bytes from peers of chunks that were there already.
    pub double_bytes: u64,
    /// Chunk bytes from peers that were wrong.
    pub wrong_bytes: u64,
    /// Chunk bytes from the origin that were not needed, or wrong.
    pub origin_waste_bytes: u64,
    /// Chunk bytes that were needed.
    pub payload_bytes: u64,
    /// All other bytes between nodes.
    pub control_bytes: u64,
    /// Messages by kind: name, how many, bytes (message mode).
    pub kinds: Vec<(&'static str, u64, u64)>,
    /// What each second brought.
    pub seconds: Vec<Second>,
    /// Events that nodes handled.
    pub events: u64,
    /// Of which timers.
    pub timers: u64,
    /// Peers shut out.
    pub bans: u64,
    /// Links to honest nodes that a node gave up as silent when it had just not been run itself.
    pub let_go: u64,
    /// Times that nodes were not run for a while.
    pub freezes: u64,
    /// Dials of an address that namers named, by all nodes together.
    pub knocks: u64,
    /// Datagrams that nodes sent to find each other, and addresses they found, where nobody told them.
    pub datagrams: u64,
    /// See [`Report::datagrams`].
    pub found: u64,
    /// Times that each small file left the Hub.
    pub plain_of_hub: Vec<u32>,
    /// Small files that nodes got of each other.
    pub plain_of_peers: u64,
    /// When nodes had all small files, from their start, ascending.
    pub plain_ns: Vec<u64>,
    /// Virtual time at the end.
    pub ended_ns: u64,
    /// Hash of everything that nodes were told.
    pub trace_hash: u64,
}

/// What one second of a run brought, over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Second {
    /// Needed chunk bytes, from anywhere.
    pub payload_bytes: u64,
    /// Bytes the origin sent.
    pub origin_bytes: u64,
    /// Chunk bytes from peers that came in vain.
    pub waste_bytes: u64,
    /// Requests for chunks.
    pub asked: u64,
    /// Requests called off.
    pub cancelled: u64,
    /// Jobs that are not over at its end.
    pub unfinished: u32,
}

impl World {
    /// Notes what the last second brought.
    pub(crate) fn second_over(&mut self) {
        let traffic =
            |f: fn(&crate::host::Traffic) -> u64| self.hosts.iter().map(|host| f(&host.traffic)).sum::<u64>();
        let sums = Second {
            payload_bytes: self.totals.payload,
            origin_bytes: self.origin.bytes,
            waste_bytes: traffic(|t| t.peer_late + t.peer_double + t.peer_wrong),
            asked: self.totals.kinds[0].0,
            cancelled: self.totals.kinds[11].0,
            unfinished: self.unfinished,
        };
        let before = self.second_sums;
        self.second_sums = sums;
        self.seconds.push(Second {
            payload_bytes: sums.payload_bytes - before.payload_bytes,
            origin_bytes: sums.origin_bytes - before.origin_bytes,
            waste_bytes: sums.waste_bytes - before.waste_bytes,
            asked: sums.asked - before.asked,
            cancelled: sums.cancelled - before.cancelled,
            unfinished: sums.unfinished,
        });
    }

    pub(crate) fn report(&self) -> Report {
        let copies = |(file, bytes): (&File, &u64)| *bytes as f64 / file.size().max(1) as f64;
        let mut report = Report {
            file_bytes: self.files.all.iter().map(|file| file.size()).sum(),
            chunks: self.files.all.iter().map(|file| file.len()).sum(),
            origin_bytes: self.origin.bytes,
            copies_of_files: self.files.all.iter().zip(&self.origin.of_files).map(copies).collect(),
            payload_bytes: self.totals.payload,
            control_bytes: self.totals.control,
            events: self.trace.events(),
            timers: self.totals.timers,
            bans: self.totals.bans,
            let_go: self.totals.let_go,
            freezes: self.totals.freezes,
            knocks: self.totals.knocks,
            datagrams: u64::from(self.totals.datagrams),
            found: self.totals.found,
            plain_of_hub: self.plain_of_hub.clone(),
            plain_of_peers: self.totals.plain_of_peers,
            ended_ns: self.now,
            trace_hash: self.trace.hash(),
            kinds: KINDS.iter().zip(self.totals.kinds).map(|(name, (n, bytes))| (*name, n, bytes)).collect(),
            seconds: self.seconds.clone(),
            ..Report::default()
        };
        report.bound_ns = self.scenario.bound_ns(report.file_bytes);
        let fast = self.scenario.nodes - self.scenario.slow_nodes();
        for (at, host) in self.hosts.iter().enumerate() {
            report.late_bytes += host.traffic.peer_late;
            report.double_bytes += host.traffic.peer_double;
            report.wrong_bytes += host.traffic.peer_wrong;
            report.origin_waste_bytes += host.traffic.origin_waste;
            // Who is done and has gone, as all do, counts.
            let through =
                self.scenario.churn.stays_ns.is_some() && host.tasks.iter().all(|task| task.is_complete());
            let counts = host.actor == Actor::Honest && (host.life != Life::Gone || through);
            if !counts || at as u32 >= self.scenario.nodes {
                continue;
            }
            report.nodes += 1;
            report.first_fetch_ns.extend(host.first_fetch_at);
            report.plain_ns.extend(host.plain_at.map(|at| at.saturating_sub(host.started_at)));
            if host.tasks.iter().all(|task| task.is_complete()) {
                let end = host.tasks.iter().map(|task| task.over_at).max().unwrap_or(0);
                let time = end.saturating_sub(host.started_at);
                report.finish_ns.push(time);
                if (at as u32) < fast {
                    report.fast_ns.push(time);
                }
            } else {
                report.failed += 1;
            }
        }
        report.finish_ns.sort_unstable();
        report.fast_ns.sort_unstable();
        report.first_fetch_ns.sort_unstable();
        report.plain_ns.sort_unstable();
        report
    }
}

/// The value below which `permille` / 1,000 of the sorted values lie; 0 for none.
#[must_use]
pub fn quantile(sorted: &[u64], permille: usize) -> u64 {
    let at = (sorted.len() * permille).div_ceil(1000).max(1) - 1;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

impl Report {
    /// A finish time over the bound.
    #[must_use]
    pub fn over_bound(&self, time_ns: u64) -> f64 {
        time_ns as f64 / self.bound_ns.max(1) as f64
    }

    /// Median, 99th percentile and last, over the bound.
    #[must_use]
    pub fn finish(&self) -> [f64; 3] {
        [500, 990, 1000].map(|permille| self.over_bound(quantile(&self.finish_ns, permille)))
    }

    /// Bytes of the origin in copies of the files.
    #[must_use]
    pub fn origin_copies(&self) -> f64 {
        self.origin_bytes as f64 / self.file_bytes.max(1) as f64
    }

    /// Chunk bytes that came in vain.
    #[must_use]
    pub fn waste_bytes(&self) -> u64 {
        self.late_bytes + self.double_bytes + self.wrong_bytes + self.origin_waste_bytes
    }

    /// These bytes over needed ones.
    #[must_use]
    pub fn share(&self, bytes: u64) -> f64 {
        bytes as f64 / self.payload_bytes.max(1) as f64
    }

    /// Events that a node handled per chunk it got.
    #[must_use]
    pub fn events_per_chunk(&self) -> f64 {
        let chunks = u64::from(self.chunks) * u64::from(self.nodes.max(1));
        self.events as f64 / chunks.max(1) as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = self.finish();
        let percent = |bytes| 100.0 * self.share(bytes);
        write!(
            f,
            "p50 {p50:.3}  p99 {p99:.3}  max {max:.3}  origin {:.3} F  waste {:.2} % (late {:.2} double {:.2} wrong \
             {:.2} origin {:.2})  control {:.3} %  events/chunk {:.1}  bans {}  failed {}  bound {:.2} s",
            self.origin_copies(),
            percent(self.waste_bytes()),
            percent(self.late_bytes),
            percent(self.double_bytes),
            percent(self.wrong_bytes),
            percent(self.origin_waste_bytes),
            percent(self.control_bytes),
            self.events_per_chunk(),
            self.bans,
            self.failed,
            self.bound_ns as f64 / 1e9
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_list() {
        let list: Vec<u64> = (1..=100).collect();
        assert_eq!((quantile(&list, 500), quantile(&list, 990), quantile(&list, 1000)), (50, 99, 100));
        assert_eq!((quantile(&[7], 500), quantile(&[], 990)), (7, 0));
    }
}
