//! A network in virtual time, at rest: memory and packets of its nodes. Then the seeders come.

use crate::dht_net::{Latency, Net, quantile};
use crate::{Args, budget, judge, tell};
use std::time::Instant as Clock;
use zest_core::Duration;
use zest_core::dht::{Event, Family};

/// Hosts behind a NAT, of 1,000: as many as the snapshot of the large network has.
const UNREACHABLE: u64 = 300;
/// Datagrams lost, of 1,000.
const LOSS: u64 = 10;
/// Hosts that the others start from.
const ROUTERS: usize = 4;
/// Time until the tables are full, and time that is then counted: 1 h, 2 h.
const SETTLE: Duration = Duration::from_secs(3600);
const QUIET: Duration = Duration::from_secs(7200);

pub(crate) fn run(args: &Args) {
    let began = Clock::now();
    alone_on_loopback(args.nodes);

    let before_kib = resident_kib();
    let mut net = internet(args.network);
    net.run(SETTLE);
    println!(
        "\n{} nodes in virtual time, {} % behind NAT, {} % of the datagrams lost",
        args.network,
        UNREACHABLE / 10,
        LOSS / 10
    );
    let sizes: Vec<u32> = net.hosts.iter().map(|host| host.dht.stats().nodes[0]).collect();
    let [half, most] = [500, 1000].map(|q| quantile(&sizes, q).unwrap_or(0));
    tell("nodes in a table", &format!("median {half}, most {most}"));
    quiet(&mut net, "idle, mean of all nodes", "idle, busiest node");
    memory(&net, before_kib, "resident per node, the simulator included");
    budget::run(&mut net, args.hours);
    memory(&net, before_kib, "resident per node after seeding");
    tell("real time of what was simulated", &format!("{:.0} s", began.elapsed().as_secs_f64()));
}

/// Hosts of the internet, joined one after the other within ten minutes.
fn internet(count: usize) -> Net {
    let mut net = Net::new(1, Latency::Square);
    net.loss_of_1000 = LOSS;
    net.check_every = 0;
    let join = Duration::from_secs(600) / count as u32;
    for n in 0..count {
        let addr = net.public_addr();
        let nat = n >= ROUTERS && net.dice.chance(UNREACHABLE);
        let host = net.add(addr, nat);
        if n < ROUTERS {
            net.handle(host, Event::Reachable { family: Family::V4, known: Some(true) });
        }
        let router = net.dice.below(ROUTERS.min(n) as u64) as usize;
        if n > 0 {
            net.handle(host, Event::Bootstrap { addr: net.hosts[router].addr });
        }
        net.run(join);
    }
    net
}

fn alone_on_loopback(count: usize) {
    let mut net = Net::loopback(1, count);
    net.check_every = 0;
    net.run(SETTLE);
    println!("{count} nodes on one address in virtual time");
    quiet(&mut net, "idle, mean of all nodes", "idle, busiest node");
}

/// Packets in and out of a node that has no wish, while nobody has one.
fn quiet(net: &mut Net, mean: &str, worst: &str) {
    let count = |net: &Net| net.hosts.iter().map(|host| host.sent + host.received).collect::<Vec<u64>>();
    let before = count(net);
    net.run(QUIET);
    let packets: Vec<u64> = count(net).iter().zip(before).map(|(now, was)| now - was).collect();
    let per_s = |packets: f64| packets / QUIET.as_secs_f64();
    judge(mean, per_s(packets.iter().sum::<u64>() as f64 / packets.len() as f64), "packets/s", 1.0);
    let busiest = packets.iter().enumerate().max_by_key(|(_, packets)| **packets);
    let (at, most) = busiest.map_or((0, 0), |(at, packets)| (at, *packets));
    tell(worst, &format!("{:.2} packets/s (number {at} of those that joined)", per_s(most as f64)));
}

fn memory(net: &Net, before_kib: Option<u64>, what: &str) {
    let grown = before_kib.and_then(|before| resident_kib()?.checked_sub(before));
    match grown {
        Some(kib) => judge(what, kib as f64 / net.hosts.len() as f64, "KiB", 100.0),
        None => tell(what, "unknown: this system does not tell"),
    }
    let stored: Vec<u32> = net.hosts.iter().map(|host| host.dht.stats().stored.1).collect();
    let [half, most] = [500, 1000].map(|q| quantile(&stored, q).unwrap_or(0));
    tell("  peers stored for others", &format!("median {half}, most {most}"));
}

/// Memory of this process, where the system tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}
