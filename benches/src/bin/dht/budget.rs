//! Nodes that seed a file, a model, and 1 TB in the network of [`network`](crate::network): datagrams planned and sent.
//!
//! Each has a [`Discovery`] that decides, and the node of the DHT that carries it out; both run in the same virtual time. A
//! tracker answers over UDP, the local network hears and says nothing.

use crate::dht_net::{Net, quantile};
use std::collections::BTreeMap;
use zest_core::dht::{Event as DhtEvent, Family, LookupId};
use zest_core::discovery::plan::{self, LOADS, Load, Plan};
use zest_core::discovery::{Action, Config, Discovery, Event, GroupId, OpId, Shareable, SharedFile};
use zest_core::lsd::Group;
use zest_core::{Duration, InfoHash, Instant, PeerId, tracker};
use zest_xet::Hash;

/// A tracker at an address for documents (RFC 5737).
const TRACKER: &str = "udp://192.0.2.9:6969";
/// The seeders know the network before they begin: 10 min.
const JOINING: Duration = Duration::from_secs(600);

/// What a node sent, and what of it we know the reason of.
#[derive(Default)]
struct Sent {
    tracker: u64,
    lan: u64,
    /// Of the DHT, as the socket sees it: all, questions and announcements of keys, our other questions.
    dht: u64,
    keys: u64,
    upkeep: u64,
    announces: u64,
    /// Of all announces that are over: nodes that took them, and packets that the budget was charged with.
    took: u64,
    charged: u64,
}

struct Seeder {
    name: &'static str,
    load: Load,
    host: usize,
    discovery: Discovery,
    /// Open announces, by the number of their wish.
    open: BTreeMap<LookupId, OpId>,
    sent: Sent,
    /// Times between two announces of a lead, and of another file, in seconds.
    pauses: [Vec<u64>; 2],
    last: BTreeMap<InfoHash, Instant>,
    /// What the DHT's counters stood at when it began.
    before: [u64; 3],
}

/// File `n` of a load: files of a group have descending sizes, so the first of it is its lead.
fn file(load: Load, n: u32) -> SharedFile {
    let mut hash = [0x77; 32];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    hash[4..8].copy_from_slice(&load.files.to_be_bytes());
    let proof = Shareable::anonymously_readable(Instant(u64::MAX));
    let group = GroupId(u64::from(n % load.groups));
    let rank = n / load.groups;
    SharedFile { hash: Hash::from_bytes(hash), bytes: (4 << 30) / u64::from(rank + 1), group, proof }
}

impl Seeder {
    fn begin(net: &mut Net, host: usize, name: &'static str, load: Load) -> Self {
        let tracker = TRACKER.parse().expect("a tracker's URL");
        let config = Config::new(net.dice.bytes(), PeerId(*b"-ZT0500-abcdefghijkl"), 6881);
        let discovery = Discovery::new(net.now, Config { tiers: vec![vec![tracker]], ..config });
        let before = counters(net, host);
        let (pauses, last) = Default::default();
        let mut seeder = Self {
            name,
            load,
            host,
            discovery,
            open: BTreeMap::new(),
            sent: Sent::default(),
            pauses,
            last,
            before,
        };
        for group in Group::ALL {
            seeder.handle(net, Event::LanGroup { group, up: true });
        }
        for n in 0..load.files {
            seeder.handle(net, Event::Seed { file: file(load, n) });
        }
        seeder.handle(net, Event::Dht { up: true });
        seeder
    }

    fn handle(&mut self, net: &mut Net, event: Event<'_>) {
        self.discovery.handle(net.now, event);
        while let Some(action) = self.discovery.poll_action() {
            match action {
                Action::DhtAnnounce { op, swarm, port } => {
                    self.note(net.now, swarm);
                    self.open.insert(net.announce(self.host, swarm, port), op);
                }
                Action::DhtStop { op } => self.open.retain(|_, open| *open != op),
                Action::Tracker(tracker::Action::SendTo { to, bytes }) => {
                    self.sent.tracker += 1;
                    // "Connected" to the 16 bytes that ask for it; else no peers, and the usual interval of 1,800 s.
                    let action = if bytes.len() == 16 { [0, 0, 0, 0] } else { [0, 0, 0, 1] };
                    let rest = [0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 1];
                    let reply = [&action, &bytes[12..16], &rest].concat();
                    self.discovery.handle(net.now, Event::Datagram { from: to, bytes: &reply });
                }
                Action::LanSend { .. } => self.sent.lan += 1,
                Action::DhtGet { .. } => unreachable!("who seeds looks for nobody"),
                Action::Tracker(_) | Action::Found { .. } | Action::Searched { .. } => {}
            }
        }
    }

    fn note(&mut self, now: Instant, swarm: InfoHash) {
        self.sent.announces += 1;
        if let Some(last) = self.last.insert(swarm, now) {
            let lead = (0..self.load.groups).any(|n| InfoHash::of_file(&file(self.load, n).hash) == swarm);
            self.pauses[usize::from(!lead)].push(now.since(last).as_secs());
        }
    }

    /// Hands over what the DHT has done.
    fn harvest(&mut self, net: &mut Net) {
        let over = |(id, op): (&LookupId, &OpId)| Some((*id, *op, net.result(self.host, *id).done?.1));
        let over: Vec<_> = self.open.iter().filter_map(over).collect();
        for (id, op, outcome) in over {
            self.open.remove(&id);
            net.found.remove(&(self.host, id));
            self.sent.took += u64::from(outcome.announced_to);
            let packets = outcome.asked + outcome.announces;
            self.sent.charged += u64::from(packets);
            self.handle(net, Event::DhtDone { op, packets });
        }
    }

    fn end(&mut self, net: &Net) {
        let [sent, keys, queries] = counters(net, self.host);
        self.sent.dht = sent - self.before[0];
        self.sent.keys = keys - self.before[1];
        self.sent.upkeep = queries - self.before[2] - self.sent.keys;
    }
}

/// Datagrams of a host: all, those about keys, and all its questions.
fn counters(net: &Net, host: usize) -> [u64; 3] {
    let host = &net.hosts[host];
    [host.sent, host.sent_for_keys, host.dht.stats().queries_out]
}

pub(crate) fn run(net: &mut Net, hours: u64) {
    let hosts = LOADS.map(|_| {
        let addr = net.public_addr();
        let host = net.add(addr, false);
        net.handle(host, DhtEvent::Reachable { family: Family::V4, known: Some(true) });
        net.handle(host, DhtEvent::Bootstrap { addr: net.hosts[0].addr });
        host
    });
    net.run(JOINING);
    let mut seeders: Vec<Seeder> =
        LOADS.iter().zip(hosts).map(|((name, load), host)| Seeder::begin(net, host, name, *load)).collect();
    let end = net.now + Duration::from_secs(hours * 3600);
    loop {
        let due = seeders.iter().filter_map(|seeder| seeder.discovery.poll_timeout());
        let due = due.map(|(at, _)| at).min().map_or(end, |at| at.clamp(net.now, end));
        if net.step(due) {
            seeders.iter_mut().for_each(|seeder| seeder.harvest(net));
            continue;
        }
        net.now = due;
        if due >= end {
            break;
        }
        for seeder in &mut seeders {
            if seeder.discovery.poll_timeout().is_some_and(|(at, _)| at <= due) {
                seeder.handle(net, Event::Timer);
            }
        }
    }
    println!("\nseeding for {hours} virtual hours, packets/s that a node sends: planned / measured");
    for seeder in &mut seeders {
        seeder.end(net);
        seeder.discovery.check_invariants();
        report(seeder, (hours * 3600) as f64);
    }
}

fn report(seeder: &Seeder, seconds: f64) {
    let config = Config::new([0; 32], PeerId([0; 20]), 0);
    let plan = plan::plan(seeder.load, config.dht_milli_packets_per_s, config.tracker_milli_packets_per_s);
    let Plan { dht_milli, udp_tracker_milli, lan_milli, lead_every_s, rest_every_s, .. } = plan;
    let sent = &seeder.sent;
    let rate = |packets: u64| packets as f64 / seconds;
    let both = |milli: u64, packets: u64| format!("{:.3} / {:.3}", milli as f64 / 1000.0, rate(packets));
    let all = sent.keys + sent.tracker + sent.lan;
    println!(
        "{}: DHT {}, UDP tracker {}, LAN {}, all {}",
        seeder.name,
        both(dht_milli, sent.keys),
        both(udp_tracker_milli, sent.tracker),
        both(lan_milli, sent.lan),
        both(plan.total_milli(), all),
    );
    println!(
        "  {} announces of {} files, {:.1} packets each (planned {}, charged {:.1}), taken by {:.1} nodes; beside them \
         {:.3}/s for the table and {:.3}/s in answers",
        sent.announces,
        seeder.last.len(),
        sent.keys as f64 / sent.announces as f64,
        plan::ANNOUNCE_PACKETS,
        sent.charged as f64 / sent.announces as f64,
        sent.took as f64 / sent.announces as f64,
        rate(sent.upkeep),
        rate(sent.dht - sent.keys - sent.upkeep),
    );
    for (name, pauses, planned) in
        [("lead", &seeder.pauses[0], lead_every_s), ("other file", &seeder.pauses[1], rest_every_s)]
    {
        if let (Some(half), Some(most)) = (quantile(pauses, 500), quantile(pauses, 1000)) {
            println!("  {name}: every {half} s, {most} s at most (planned {planned} s)");
        }
    }
}
