//! A tracker of the simulated world (BEP 3 and 23, over HTTP): who announced to which swarm, and answers that take a round trip.

use crate::scenario::SEC;
use crate::world::{Happening, World};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use zest_core::bencode::Encoder;
use zest_core::endpoint::push_compact;
use zest_core::tracker::RequestId;

/// Where it is; every machine is told.
pub(crate) const TRACKER: &str = "http://tracker.here/announce";
/// Seconds between two announces that it asks for: 60, so that short worlds see a second one.
const INTERVAL_S: u32 = 60;
/// Bytes of an announce over HTTP and of its answer, apart from peers: some 600, with the heads of both.
const REQUEST_BYTES: u64 = 600;

/// What it knows.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// By the swarm as it stands in the URL: who is there, in the order of coming.
    swarms: BTreeMap<String, Vec<SocketAddr>>,
    /// Answers under way.
    answers: BTreeMap<u32, (RequestId, Vec<u8>)>,
    next: u32,
}

impl Tracker {
    /// Takes an announce from there in, and gives the answer.
    fn announced(&mut self, from: SocketAddr, url: &str) -> Option<Vec<u8>> {
        let (_, query) = url.split_once('?')?;
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let at = SocketAddr::new(from.ip(), value("port")?.parse().ok()?);
        let wanted: usize = value("numwant")?.parse().ok()?;
        let swarm = self.swarms.entry(value("info_hash")?.to_owned()).or_default();
        swarm.retain(|other| *other != at);
        let mut peers = Vec::new();
        // Who came last is there still.
        swarm.iter().rev().take(wanted).for_each(|peer| push_compact(&mut peers, *peer));
        if value("event") != Some("stopped") {
            swarm.push(at);
        }
        let mut answer = Vec::new();
        let mut enc = Encoder::new(&mut answer);
        enc.dict();
        enc.key(b"interval").int(INTERVAL_S.into());
        enc.key(b"peers").bytes(&peers);
        enc.end();
        enc.finish();
        Some(answer)
    }
}

impl World {
    /// A machine asks the tracker.
    pub(crate) fn ask_tracker(&mut self, host: u32, id: RequestId, url: &str) {
        let machine = &self.hosts[host as usize];
        let (from, epoch) = (machine.addr, machine.epoch);
        if !url.starts_with(TRACKER) {
            return self.fail(format!("host {host} asks {url}, of which nobody told"));
        }
        let Some(answer) = self.tracker.announced(from, url) else {
            return self.fail(format!("host {host} asks the tracker what it does not understand: {url}"));
        };
        let bytes = REQUEST_BYTES + answer.len() as u64;
        self.totals.control += bytes;
        self.totals.datagrams += 1;
        // A round trip to connect, and one to ask. What is lost is sent again below HTTP.
        let trip = self.datagram().unwrap_or(SEC);
        let number = self.tracker.next;
        self.tracker.next += 1;
        self.tracker.answers.insert(number, (id, answer));
        self.later(2 * trip, Happening::Tracked { host, epoch, number });
    }

    /// Takes the answer that has arrived.
    pub(crate) fn tracked_answer(&mut self, number: u32) -> Option<(RequestId, Vec<u8>)> {
        self.tracker.answers.remove(&number)
    }
}
