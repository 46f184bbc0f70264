//! The network at large: strangers behind NATs, nodes that leave without a word, lost datagrams.
//!
//! The small run is part of every test run. The large one compares its table with `tests/snapshots/dht.txt`, and writes it
//! there if `ZEST_SNAPSHOT=write` is set:
//! `ZEST_SNAPSHOT=write cargo test --release -p zest-core --test dht_churn_and_nat_hide_nothing_that_was_announced -- --ignored --nocapture`

#[path = "common/dht_net.rs"]
mod dht_net;

use dht_net::*;
use zest_core::dht::{Event, Family, LookupId};
use zest_core::{Duration, Instant};

struct Plan {
    nodes: usize,
    keys: u64,
    /// Everybody joins within this time.
    join: Duration,
    /// Then the network runs for so long before the first key is announced; two thirds of it are taken for idle.
    settle: Duration,
    /// Keys are announced within this time.
    announce: Duration,
    /// And looked up once each within this.
    lookups: Duration,
    check_every: u64,
}

#[derive(Debug, Default)]
struct Report {
    found: usize,
    /// Lookups that never ended though their host lived.
    hung: usize,
    first_ms: Vec<u64>,
    done_ms: Vec<u64>,
    asked: Vec<u32>,
    lost: u64,
    queries: u64,
    nodes: Vec<u32>,
    idle_packets_per_1000_s: u64,
    reachable_open: (usize, usize),
    nat_open: (usize, usize),
    dead_in_tables_of_1000: usize,
    most_stored: u32,
}

const ROUTERS: usize = 4;
/// Hosts behind a NAT, of 1,000.
const UNREACHABLE: u64 = 300;
/// Hosts that leave in an hour, of 1,000; as many come.
const CHURN: u64 = 200;
const LOSS: u64 = 10;

struct World {
    net: Net,
    alive: Vec<usize>,
    routers: Vec<usize>,
    next_death: Instant,
}

impl World {
    fn join(&mut self) {
        let addr = self.net.public_addr();
        let nat = self.net.dice.chance(UNREACHABLE);
        let host = self.net.add(addr, nat);
        for _ in 0..2 {
            let router = self.routers[self.net.dice.below(ROUTERS as u64) as usize];
            let addr = self.net.hosts[router].addr;
            self.net.handle(host, Event::Bootstrap { addr });
        }
        self.alive.push(host);
    }

    /// Runs with churn.
    fn run(&mut self, time: Duration) {
        let end = self.net.now + time;
        while self.next_death < end {
            let wait = self.next_death.since(self.net.now);
            self.net.run(wait);
            let at = self.net.dice.below(self.alive.len() as u64) as usize;
            let gone = self.alive.swap_remove(at);
            self.net.kill(gone);
            self.join();
            let mean_us = 3_600_000_000 * 1000 / (CHURN * self.alive.len() as u64);
            let pause = Duration::from_micros(self.net.dice.below(2 * mean_us));
            self.next_death = self.net.now + pause;
        }
        let wait = end.since(self.net.now);
        self.net.run(wait);
    }

    fn any(&mut self) -> usize {
        self.alive[self.net.dice.below(self.alive.len() as u64) as usize]
    }
}

fn simulate(plan: &Plan, seed: u64) -> Report {
    let mut net = Net::new(seed, Latency::Square);
    net.loss_of_1000 = LOSS;
    net.check_every = plan.check_every;
    let mut world = World { net, alive: Vec::new(), routers: Vec::new(), next_death: Instant(u64::MAX) };
    for _ in 0..ROUTERS {
        let addr = world.net.public_addr();
        let router = world.net.add(addr, false);
        world.net.handle(router, Event::Reachable { family: Family::V4, known: Some(true) });
        world.routers.push(router);
    }
    for _ in 0..plan.nodes {
        world.join();
        world.net.run(plan.join / plan.nodes as u32);
    }
    world.next_death = world.net.now;
    world.run(plan.settle / 3);
    // Nobody asks anything of anybody now; who was there all the time is counted.
    let packets = |world: &World, host: usize| world.net.hosts[host].sent + world.net.hosts[host].received;
    let before: Vec<(usize, u64)> = world.alive.iter().map(|host| (*host, packets(&world, *host))).collect();
    world.run(plan.settle * 2 / 3);
    let there = before.iter().filter(|(host, _)| world.net.hosts[*host].alive);
    let counts: Vec<u64> = there.map(|(host, was)| packets(&world, *host) - was).collect();
    let quiet_s = plan.settle.as_secs() * 2 / 3;
    let idle = counts.iter().sum::<u64>() * 1000 / quiet_s / counts.len() as u64;

    for n in 0..plan.keys {
        let host = world.any();
        world.net.announce(host, key(n), 7000);
        world.run(plan.announce / plan.keys as u32);
    }
    world.run(Duration::from_secs(60));
    let mut wishes: Vec<(usize, LookupId)> = Vec::new();
    let mut report = Report { idle_packets_per_1000_s: idle, ..Report::default() };
    for n in 0..plan.keys {
        let host = world.any();
        wishes.push((host, world.net.get(host, key(n))));
        world.run(plan.lookups / plan.keys as u32);
    }
    world.run(Duration::from_secs(60));
    for (host, id) in wishes {
        let found = world.net.result(host, id);
        if !found.peers.is_empty() {
            report.found += 1;
        }
        if let Some(first) = found.first {
            report.first_ms.push(first.since(found.started).as_millis() as u64);
        }
        if let Some((at, outcome)) = found.done {
            report.done_ms.push(at.since(found.started).as_millis() as u64);
            report.asked.push(outcome.asked);
        } else if world.net.hosts[host].alive {
            report.hung += 1;
        }
    }
    let (mut dead, mut all) = (0, 0);
    for host in world.alive.iter().map(|h| &world.net.hosts[*h]) {
        host.dht.check_invariants();
        let stats = host.dht.stats();
        report.nodes.push(stats.nodes[0]);
        report.queries += stats.queries_out;
        report.lost += stats.lost;
        report.most_stored = report.most_stored.max(stats.stored.1);
        let open = if host.behind_nat() { &mut report.nat_open } else { &mut report.reachable_open };
        open.0 += usize::from(stats.open[0]);
        open.1 += 1;
        for (_, addr) in host.dht.nodes(Family::V4) {
            all += 1;
            dead += usize::from(!world.net.is_reachable(addr));
        }
    }
    report.dead_in_tables_of_1000 = dead * 1000 / all;
    println!("{:?} of virtual time, {} datagrams", world.net.now.since(Instant::ZERO), world.net.datagrams);
    if let Some(kib) = resident_kib() {
        println!("resident: {} KiB per node, the world around it included", kib / plan.nodes);
    }
    report
}

/// Memory of this process, where the system tells it.
fn resident_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// The table: whatever is in it follows from the seed.
fn table(plan: &Plan, report: &Report) -> String {
    let rtt_ms = 100.0;
    let mut lines = vec![format!(
        "nodes {}, unreachable {} %, churn {} %/h, loss {} %, one round trip {rtt_ms} ms",
        plan.nodes,
        UNREACHABLE / 10,
        CHURN / 10,
        LOSS / 10
    )];
    let mut line = |name: &str, text: String| lines.push(format!("{name:<23} {text}"));
    line("keys found", format!("{} of {}", report.found, plan.keys));
    for (name, values) in [("first peer", &report.first_ms), ("lookup done", &report.done_ms)] {
        let [p50, p90, p99] =
            [500, 900, 990].map(|q| quantile(values, q).map_or(f64::NAN, |ms| ms as f64 / rtt_ms));
        line(name, format!("p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1} round trips"));
    }
    let [p50, p99] = [500, 990].map(|q| quantile(&report.asked, q).unwrap_or(0));
    line("queries per lookup", format!("p50 {p50}  p99 {p99}"));
    line("queries lost", format!("{:.1} %", 100.0 * report.lost as f64 / report.queries as f64));
    let idle = report.idle_packets_per_1000_s as f64 / 1000.0;
    line("idle, per node", format!("{idle:.2} packets/s in and out"));
    let [p50, max] = [500, 1000].map(|q| quantile(&report.nodes, q).unwrap_or(0));
    let dead = report.dead_in_tables_of_1000 as f64 / 10.0;
    line("table", format!("p50 {p50}  max {max} nodes, {dead:.1} % gone or out of reach"));
    let ((open, reachable), (wrong, nat)) = (report.reachable_open, report.nat_open);
    line(
        "take themselves for",
        format!("reachable: {open} of {reachable} that are, {wrong} of {nat} that are not"),
    );
    line("most peers stored", format!("{} at one node", report.most_stored));
    lines.join("\n") + "\n"
}

fn judge(plan: &Plan, report: &Report) -> String {
    let table = table(plan, report);
    print!("{table}");
    assert!(report.found as u64 * 100 >= plan.keys * 99, "{} of {} keys were found", report.found, plan.keys);
    assert_eq!(report.hung, 0, "every lookup ends");
    let half = quantile(&report.done_ms, 500).expect("there were lookups");
    assert!(half < 800, "half of the lookups take {half} ms, less than 8 round trips");
    assert!(report.idle_packets_per_1000_s <= 1000, "an idle node is quiet");
    assert_eq!(report.nat_open.0, 0, "nobody believes to be reachable who is not");
    table
}

#[test]
fn a_few_hundred_nodes() {
    let secs = Duration::from_secs;
    let plan = Plan {
        nodes: 300,
        keys: 60,
        join: secs(120),
        settle: secs(1800),
        announce: secs(60),
        lookups: secs(600),
        check_every: 50,
    };
    judge(&plan, &simulate(&plan, 1));
}

#[test]
#[ignore = "a minute of work in release mode"]
fn ten_thousand_nodes() {
    let secs = Duration::from_secs;
    let plan = Plan {
        nodes: 10_000,
        keys: 1000,
        join: secs(300),
        settle: secs(1200),
        announce: secs(120),
        lookups: secs(900),
        check_every: 0,
    };
    let table = judge(&plan, &simulate(&plan, 1));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/snapshots/dht.txt");
    if std::env::var_os("ZEST_SNAPSHOT").is_some_and(|what| what == "write") {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/snapshots"))
            .expect("a folder");
        std::fs::write(path, &table).expect("room for a table");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        kept, table,
        "the network behaves as it did; if it is meant to differ, write the snapshot anew"
    );
}
