//! `GET /metrics`, in the text format of Prometheus (version 0.0.4): base units, counters end with `_total`.

use crate::app::App;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zest_core::endpoint::{Scope, canonical, scope};
use zest_runtime_tokio::{PeerStatus, Progress, PullState, PullStatus, Service};

/// The format's name.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted of pulls over the daemon's life.
#[derive(Debug, Default)]
pub(crate) struct Totals(Mutex<Counts>);

#[derive(Debug, Default, Clone)]
struct Counts {
    /// Of pulls that are over.
    over: Sources,
    /// Of pulls under way, by their number.
    running: BTreeMap<u64, Sources>,
    ended: [u64; 3],
    outages: [u64; 3],
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sources {
    peers: u64,
    cdn: u64,
    disk: u64,
}

/// How pulls end, as [`PullState`] names it.
const ENDS: [&str; 3] = ["done", "failed", "cancelled"];

const SERVICES: [Service; 3] = [Service::Hub, Service::Cas, Service::Cdn];

impl Sources {
    fn and(self, other: Self) -> Self {
        Self { peers: self.peers + other.peers, cdn: self.cdn + other.cdn, disk: self.disk + other.disk }
    }

    /// What counts never goes down, whatever a pull that begins anew says.
    fn at_least(self, other: Self) -> Self {
        Self {
            peers: self.peers.max(other.peers),
            cdn: self.cdn.max(other.cdn),
            disk: self.disk.max(other.disk),
        }
    }
}

impl Totals {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a pull is.
    pub(crate) fn progress(&self, pull: u64, now: &Progress) {
        let now = Sources { peers: now.from_peers, cdn: now.from_cdn, disk: now.from_disk };
        let mut counts = self.counts();
        let so_far = counts.running.entry(pull).or_default();
        *so_far = so_far.at_least(now);
    }

    /// Something does not answer.
    pub(crate) fn out(&self, service: Service) {
        if let Some(at) = SERVICES.iter().position(|of| *of == service) {
            self.counts().outages[at] += 1;
        }
    }

    /// A pull is over.
    pub(crate) fn ended(&self, pull: u64, state: PullState) {
        let mut counts = self.counts();
        let last = counts.running.remove(&pull).unwrap_or_default();
        counts.over = counts.over.and(last);
        let at = match state {
            PullState::Done => 0,
            PullState::Cancelled => 2,
            _ => 1,
        };
        counts.ended[at] += 1;
    }
}

/// Text under way.
#[derive(Default)]
struct Page(String);

impl Page {
    /// A name with its help and type; then its samples.
    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: &[(&str, f64)]) {
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _infallible = match labels.is_empty() {
                true => writeln!(self.0, "{name} {value}"),
                false => writeln!(self.0, "{name}{{{labels}}} {value}"),
            };
        }
    }

    fn counter(&mut self, name: &str, help: &str, samples: &[(&str, f64)]) {
        self.metric(name, "counter", help, samples);
    }

    fn gauge(&mut self, name: &str, help: &str, samples: &[(&str, f64)]) {
        self.metric(name, "gauge", help, samples);
    }
}

impl App {
    pub(crate) async fn metrics(&self) -> String {
        let (stats, peers) = (self.session.stats().await, self.session.peers().await);
        let shared = self.session.giving().borrow().clone();
        let chunks = self.session.store().catalog.chunks();
        let counts = self.totals.counts().clone();
        let pulls = self.session.pulls();
        let mut page = Page::default();
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        page.gauge("zest_build_info", "The program that runs.", &[(&version, 1.0)]);
        page.gauge(
            "zest_start_time_seconds",
            "When the daemon began, in Unix time.",
            &[("", self.about.started as f64)],
        );
        let sources = counts.running.values().fold(counts.over, |sum, now| sum.and(*now));
        page.counter(
            "zest_pulled_bytes_total",
            "Bytes of content that pulls have put in place, by where they came from.",
            &[
                ("source=\"peers\"", sources.peers as f64),
                ("source=\"cdn\"", sources.cdn as f64),
                ("source=\"disk\"", sources.disk as f64),
            ],
        );
        page.counter(
            "zest_received_bytes_total",
            "Payload bytes received from peers.",
            &[("", stats.downloaded as f64)],
        );
        page.counter("zest_given_bytes_total", "Bytes sent to peers.", &[("", stats.uploaded as f64)]);
        page.counter(
            "zest_given_chunks_total",
            "Chunks uploaded to peers.",
            &[("", stats.chunks_served as f64)],
        );
        page.counter(
            "zest_chunk_proofs_failed_total",
            "Chunks that failed their proof, whoever sent them.",
            &[("", stats.chunks_bad as f64)],
        );
        page.gauge("zest_peers_banned", "Peers that are shut out.", &[("", f64::from(stats.banned))]);
        let classes = classes(&peers);
        let labels: Vec<(String, f64)> = classes
            .iter()
            .map(|((scope, way), count)| (format!("scope=\"{scope}\",direction=\"{way}\""), *count as f64))
            .collect();
        let samples: Vec<(&str, f64)> =
            labels.iter().map(|(label, value)| (label.as_str(), *value)).collect();
        page.gauge("zest_peers", "Peers that are linked, by where they are and who connected.", &samples);
        let under_way = |state: PullState| count(&pulls, state) as f64;
        page.gauge(
            "zest_pulls",
            "Pulls under way.",
            &[
                ("state=\"running\"", under_way(PullState::Running)),
                ("state=\"paused\"", under_way(PullState::Paused)),
            ],
        );
        let ended: Vec<(String, f64)> = ENDS
            .iter()
            .zip(counts.ended)
            .map(|(end, count)| (format!("state=\"{end}\""), count as f64))
            .collect();
        let samples: Vec<(&str, f64)> = ended.iter().map(|(label, value)| (label.as_str(), *value)).collect();
        page.counter("zest_pulls_ended_total", "Pulls that are over, by how they ended.", &samples);
        let outages: Vec<(String, f64)> = SERVICES
            .iter()
            .zip(counts.outages)
            .map(|(service, count)| (format!("service=\"{}\"", service.word()), count as f64))
            .collect();
        let samples: Vec<(&str, f64)> =
            outages.iter().map(|(label, value)| (label.as_str(), *value)).collect();
        page.counter(
            "zest_origin_outages_total",
            "Times that pulls found a service not answering.",
            &samples,
        );
        page.gauge("zest_index_chunks", "Chunks in the index.", &[("", chunks as f64)]);
        page.gauge("zest_shared_files", "Files that are shared.", &[("", shared.files as f64)]);
        page.gauge("zest_shared_bytes", "Their bytes.", &[("", shared.bytes as f64)]);
        page.counter("zest_http_requests_total", "Requests to the API.", &[("", self.requests() as f64)]);
        page.gauge("zest_http_event_streams", "Listeners to events.", &[("", self.listeners() as f64)]);
        page.0
    }
}

fn count(pulls: &[PullStatus], state: PullState) -> usize {
    pulls.iter().filter(|pull| pull.state == state).count()
}

/// Peers by class; every class is there, so that none comes and goes.
fn classes(peers: &[PeerStatus]) -> BTreeMap<(&'static str, &'static str), u64> {
    let mut classes = BTreeMap::new();
    for scope in ["machine", "network", "global"] {
        for way in ["in", "out"] {
            classes.insert((scope, way), 0);
        }
    }
    for peer in peers {
        let scope = match scope(canonical(peer.addr).ip()) {
            Scope::Loopback => "machine",
            Scope::Local => "network",
            Scope::Global => "global",
        };
        *classes.entry((scope, if peer.inbound { "in" } else { "out" })).or_default() += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pulls_have_moved_never_goes_down() {
        let totals = Totals::default();
        let at = |peers, cdn| Progress { from_peers: peers, from_cdn: cdn, ..Progress::default() };
        let sum = |totals: &Totals| {
            let counts = totals.counts();
            counts.running.values().fold(counts.over, |sum, now| sum.and(*now))
        };
        totals.progress(1, &at(10, 5));
        totals.progress(2, &at(1, 1));
        totals.progress(1, &at(8, 6));
        assert_eq!(sum(&totals), Sources { peers: 11, cdn: 7, disk: 0 });
        totals.ended(1, PullState::Done);
        assert_eq!(sum(&totals), Sources { peers: 11, cdn: 7, disk: 0 });
        totals.ended(2, PullState::Cancelled);
        assert_eq!(totals.counts().ended, [1, 0, 1]);
        assert!(totals.counts().running.is_empty());
    }

    #[test]
    fn a_page_has_help_and_type_before_its_samples() {
        let mut page = Page::default();
        page.counter("zest_x_total", "What it is.", &[("a=\"b\"", 3.0), ("a=\"c\"", 1e12)]);
        page.gauge("zest_y", "Another.", &[("", 0.5)]);
        let want = "# HELP zest_x_total What it is.\n# TYPE zest_x_total counter\nzest_x_total{a=\"b\"} 3\n\
                    zest_x_total{a=\"c\"} 1000000000000\n# HELP zest_y Another.\n# TYPE zest_y gauge\nzest_y 0.5\n";
        assert_eq!(page.0, want);
    }
}
