//! `zest serve --watch`: a line for each model that is shared and for each peer, with rates. Pure: the caller tells the time.

use crate::engine::{EngineStats, GivingStatus};
use crate::ui::units;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use zest_runtime_tokio::PeerStatus;

/// Models shown, and peers: 8 of each; of more it is said how many.
const SHOWN: usize = 8;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    at: Option<Duration>,
    /// Bytes that each peer has taken.
    took: BTreeMap<SocketAddr, u64>,
    uploaded: u64,
}

/// A peer with its rate, in bytes per second.
struct Row {
    peer: PeerStatus,
    rate: f64,
}

impl Watch {
    /// The lines for what is so `now`, counted from any one moment.
    pub(crate) fn lines(
        &mut self,
        now: Duration,
        giving: &GivingStatus,
        peers: &[PeerStatus],
        stats: &EngineStats,
    ) -> Vec<String> {
        let span = self.at.map_or(0.0, |at| now.saturating_sub(at).as_secs_f64());
        let rate = |bytes: u64, before: u64| match span > 0.0 {
            true => bytes.saturating_sub(before) as f64 / span,
            false => 0.0,
        };
        let uploading = rate(stats.uploaded, self.uploaded);
        let mut rows: Vec<Row> = peers
            .iter()
            .map(|peer| {
                // Who was not there before has taken all of it since.
                let before = self.took.get(&peer.addr).copied().unwrap_or(0);
                Row { peer: peer.clone(), rate: rate(peer.took, before) }
            })
            .collect();
        self.at = Some(now);
        self.uploaded = stats.uploaded;
        self.took = peers.iter().map(|peer| (peer.addr, peer.took)).collect();
        rows.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.peer.took.cmp(&a.peer.took)));

        let models: Vec<String> = giving
            .shared
            .iter()
            .map(|(repo, commit, amount)| {
                let short = commit.get(..8).unwrap_or(commit);
                let files = units::counted(amount.files, "file");
                format!("  {repo} at {short}  {files}, {}", units::bytes(amount.bytes))
            })
            .collect();
        let mut lines = cut(models, "model");
        lines.extend(cut(rows.iter().map(line).collect(), "peer"));
        lines.push(format!("  uploading {}", units::rate(uploading)));
        lines
    }
}

fn line(row: &Row) -> String {
    let way = if row.peer.inbound { "from" } else { "to" };
    let mut text = format!("  {way} {}", row.peer.addr);
    if row.rate >= 1.0 {
        text += &format!("  {}", units::rate(row.rate));
    }
    text += &format!("  uploaded {}", units::bytes(row.peer.took));
    if row.peer.gave > 0 {
        text += &format!("  downloaded {}", units::bytes(row.peer.gave));
    }
    text
}

/// The first of them, and how many more there are.
fn cut(mut lines: Vec<String>, what: &str) -> Vec<String> {
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("  and {} more", units::counted(more as u64, what)));
    }
    lines
}

/// The peers for programs.
pub(crate) fn document(peers: &[PeerStatus]) -> Value {
    let one = |peer: &PeerStatus| json!({"addr": peer.addr, "inbound": peer.inbound, "took": peer.took, "gave": peer.gave});
    Value::Array(peers.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16, took: u64) -> PeerStatus {
        let addr = SocketAddr::from(([10, 0, 0, 7], port));
        serde_json::from_value(json!({"addr": addr, "inbound": true, "gave": 0, "took": took}))
            .expect("a peer")
    }

    #[test]
    fn each_peer_has_its_rate_the_quickest_first_and_what_is_too_much_is_counted() {
        let (mut watch, giving) = (Watch::default(), GivingStatus::default());
        let stats = |uploaded| EngineStats { uploaded, ..EngineStats::default() };
        let seconds = Duration::from_secs;
        watch.lines(seconds(1), &giving, &[peer(1, 0), peer(2, 0)], &stats(0));
        let now = [peer(1, 2_000_000), peer(2, 60_000_000)];
        let lines = watch.lines(seconds(3), &giving, &now, &stats(62_000_000));
        assert_eq!(
            lines,
            [
                "  from 10.0.0.7:2  30 MB/s  uploaded 60.0 MB",
                "  from 10.0.0.7:1  1.0 MB/s  uploaded 2.0 MB",
                "  uploading 31 MB/s",
            ]
        );
        let crowd: Vec<PeerStatus> = (1..=20).map(|port| peer(port, 9)).collect();
        let lines = watch.lines(seconds(4), &giving, &crowd, &stats(62_000_000));
        assert_eq!(lines.len(), SHOWN + 2, "{lines:?}");
        assert_eq!(lines[SHOWN], "  and 12 peers more");
    }
}
