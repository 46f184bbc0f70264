//! `zest serve --watch`: a line for each model that is shared and for each peer, with rates. Pure: the caller tells the time.

use crate::engine::{EngineStats, GivingStatus};
use crate::ui::units;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use zest_runtime_tokio::PeerStatus;

/// Models shown, and peers: 8 of each; of more it is said how many.
const SHOWN: usize = 8;

/// Columns from which on addresses are shown whole: 100. Ours; in fewer those of IPv6 would leave no room for figures.
const WHOLE_COLUMNS: usize = 100;

/// Columns of an address in fewer: 24. The longest of IPv4 has 21.
const ADDR_COLUMNS: usize = 24;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    at: Option<Duration>,
    /// Bytes that each peer has taken.
    took: BTreeMap<SocketAddr, u64>,
    uploaded: u64,
}

/// A machine, over all links to it, with its rate in bytes per second.
struct Row<'a> {
    /// The link whose address is shown.
    shown: &'a PeerStatus,
    links: usize,
    rate: f64,
    took: u64,
    gave: u64,
}

impl Watch {
    /// The lines for what is so `now`, counted from any one moment, on a terminal of so many columns.
    pub(crate) fn lines(
        &mut self,
        now: Duration,
        columns: usize,
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
        let mut rows: Vec<Row<'_>> = Vec::new();
        for peer in peers {
            // Who was not there before has taken all of it since.
            let before = self.took.get(&peer.addr).copied().unwrap_or(0);
            let rate = rate(peer.took, before);
            let same = |row: &&mut Row<'_>| !peer.peer_id.is_empty() && row.shown.peer_id == peer.peer_id;
            match rows.iter_mut().find(same) {
                None => rows.push(Row { shown: peer, links: 1, rate, took: peer.took, gave: peer.gave }),
                Some(row) => {
                    row.links += 1;
                    row.rate += rate;
                    row.took += peer.took;
                    row.gave += peer.gave;
                    if tells_more(peer) > tells_more(row.shown) {
                        row.shown = peer;
                    }
                }
            }
        }
        self.at = Some(now);
        self.uploaded = stats.uploaded;
        self.took = peers.iter().map(|peer| (peer.addr, peer.took)).collect();
        rows.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.took.cmp(&a.took)));

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
        let width = if columns < WHOLE_COLUMNS { ADDR_COLUMNS } else { usize::MAX };
        let addrs: Vec<String> = rows.iter().map(|row| addr_in(&row.shown.addr, width)).collect();
        let width = addrs.iter().take(SHOWN).map(|addr| addr.chars().count()).max().unwrap_or(0);
        let peers = std::iter::zip(&rows, addrs).map(|(row, addr)| line(row, &format!("{addr:width$}")));
        lines.extend(cut(peers.collect(), "peer"));
        lines.push(format!("  uploading {}", units::rate(uploading)));
        lines
    }
}

/// Of two addresses of one machine the one is shown that says more: where it was dialled, and no address of one cable alone.
fn tells_more(peer: &PeerStatus) -> (bool, bool) {
    let of_a_cable = matches!(peer.addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    (!of_a_cable, !peer.inbound)
}

/// An address in so many columns: of a long one the middle is left out, as its end and its port tell it from others.
fn addr_in(addr: &SocketAddr, columns: usize) -> String {
    let text: Vec<char> = addr.to_string().chars().collect();
    if text.len() <= columns {
        return text.into_iter().collect();
    }
    // `[fe80::` and as much of the end as there is room for.
    const BEGIN: usize = 7;
    let end = text.len() - columns.saturating_sub(BEGIN + 1);
    text[..BEGIN].iter().chain(&['…']).chain(&text[end..]).collect()
}

fn line(row: &Row<'_>, addr: &str) -> String {
    let way = if row.shown.inbound { "from" } else { "to  " };
    let rate = if row.rate >= 1.0 { units::rate(row.rate) } else { String::new() };
    let mut text = format!("  {way} {addr} {rate:>9}  {:>8} uploaded", units::bytes(row.took));
    if row.gave > 0 {
        text += &format!(", {} downloaded", units::bytes(row.gave));
    }
    if row.links > 1 {
        text += &format!(" ({} links)", row.links);
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
    let one = |peer: &PeerStatus| json!({"addr": peer.addr, "peer_id": peer.peer_id, "inbound": peer.inbound, "took": peer.took, "gave": peer.gave});
    Value::Array(peers.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addr: &str, id: &str, took: u64) -> PeerStatus {
        let addr: SocketAddr = addr.parse().expect("an address");
        serde_json::from_value(json!({"addr": addr, "peer_id": id, "inbound": true, "gave": 0, "took": took}))
            .expect("a peer")
    }

    fn stats(uploaded: u64) -> EngineStats {
        EngineStats { uploaded, ..EngineStats::default() }
    }

    #[test]
    fn each_peer_has_its_rate_the_quickest_first_and_what_is_too_much_is_counted() {
        let (mut watch, giving) = (Watch::default(), GivingStatus::default());
        let seconds = Duration::from_secs;
        let both = |one, two| [peer("10.0.0.7:1", "a", one), peer("10.0.0.17:2", "b", two)];
        watch.lines(seconds(1), 80, &giving, &both(0, 0), &stats(0));
        let lines = watch.lines(seconds(3), 80, &giving, &both(2_000_000, 60_000_000), &stats(62_000_000));
        assert_eq!(
            lines,
            [
                "  from 10.0.0.17:2   30 MB/s   60.0 MB uploaded",
                "  from 10.0.0.7:1   1.0 MB/s    2.0 MB uploaded",
                "  uploading 31 MB/s",
            ]
        );
        let crowd: Vec<PeerStatus> =
            (1..=20).map(|port| peer(&format!("10.0.0.7:{port}"), &port.to_string(), 9)).collect();
        let lines = watch.lines(seconds(4), 80, &giving, &crowd, &stats(62_000_000));
        assert_eq!(lines.len(), SHOWN + 2, "{lines:?}");
        assert_eq!(lines[SHOWN], "  and 12 peers more");
    }

    #[test]
    fn a_machine_with_several_links_is_one_row_and_one_peer() {
        let (mut watch, giving) = (Watch::default(), GivingStatus::default());
        let mut named = peer("10.0.0.7:6881", "a", 1_000_000);
        named.inbound = false;
        let links = [
            peer("[fe80::1ff:fe23:4567:890a%2]:41234", "a", 2_000_000),
            named,
            peer("10.0.0.7:51000", "a", 3_000_000),
            peer("10.0.0.8:51000", "b", 0),
        ];
        let lines = watch.lines(Duration::from_secs(1), 80, &giving, &links, &stats(0));
        assert_eq!(
            lines,
            [
                "  to   10.0.0.7:6881               6.0 MB uploaded (3 links)",
                "  from 10.0.0.8:51000                 0 B uploaded",
                "  uploading 0 B/s",
            ]
        );
        // One that has not said who it is stands for itself.
        let nobody = [peer("10.0.0.7:1", "", 0), peer("10.0.0.7:2", "", 0)];
        assert_eq!(watch.lines(Duration::from_secs(2), 80, &giving, &nobody, &stats(0)).len(), 3);
    }

    #[test]
    fn long_addresses_leave_the_columns_where_they_are() {
        let (mut watch, giving) = (Watch::default(), GivingStatus::default());
        let links = [
            peer("[fe80::1ff:fe23:4567:890a%12]:41234", "a", 2_000_000),
            peer("192.168.100.100:41234", "b", 1_000),
        ];
        let mut lines = |columns| watch.lines(Duration::from_secs(1), columns, &giving, &links, &stats(0));
        let narrow = lines(80);
        assert_eq!(narrow[0], "  from [fe80::…7:890a%12]:41234              2.0 MB uploaded");
        assert_eq!(narrow[1], "  from 192.168.100.100:41234                 1.0 kB uploaded");
        assert!(lines(200)[0].starts_with("  from [fe80::1ff:fe23:4567:890a%12]:41234 "));
    }
}
