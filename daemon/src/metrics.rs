//! `GET /metrics`, in the text format of Prometheus (version 0.0.4): base units, counters end with `_total`.

use crate::app::App;
use crate::totals::SERVICES;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use zest_core::endpoint::{Scope, canonical, scope};
use zest_runtime_tokio::{PeerStatus, PullState, PullStatus};

/// The format's name.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How pulls end, as [`PullState`] names it.
const ENDS: [&str; 3] = ["done", "failed", "cancelled"];

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
            "zest_given_small_files_total",
            "Files outside Xet uploaded to peers.",
            &[("", stats.small_files_given as f64)],
        );
        page.counter(
            "zest_received_small_files_total",
            "Files outside Xet that came from peers and were right.",
            &[("", stats.small_files_got as f64)],
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
    fn a_page_has_help_and_type_before_its_samples() {
        let mut page = Page::default();
        page.counter("zest_x_total", "What it is.", &[("a=\"b\"", 3.0), ("a=\"c\"", 1e12)]);
        page.gauge("zest_y", "Another.", &[("", 0.5)]);
        let want = "# HELP zest_x_total What it is.\n# TYPE zest_x_total counter\nzest_x_total{a=\"b\"} 3\n\
                    zest_x_total{a=\"c\"} 1000000000000\n# HELP zest_y Another.\n# TYPE zest_y gauge\nzest_y 0.5\n";
        assert_eq!(page.0, want);
    }
}
