//! Random events and answers, sound and broken: the machine stays within its limits and its budget, and is deterministic.

#[path = "common/announcing.rs"]
mod announcing;

use announcing::*;
use zest_core::Duration;
use zest_core::tracker::*;

/// A stream of numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn run(seed: u64, steps: usize) -> World {
    let tiers: &[&[&str]] =
        &[&["http://a.example", "udp://192.0.2.1:1"], &["udp://b.example:2", "http://127.0.0.1:3"]];
    let every_tier = seed.is_multiple_of(2);
    let mut world = World::new(Config { seed: [seed as u8; 32], every_tier, ..config(tiers) });
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let bodies: [&[u8]; 6] = [
        EMPTY,
        ONE_PEER,
        b"",
        b"d14:failure reason1:xe",
        b"d8:intervali1e5:peersld2:ip1:x4:porti1eeee",
        b"d10:tracker id3:abce",
    ];
    for _ in 0..steps {
        let hash = swarm(dice.roll(12) as u16);
        match dice.roll(16) {
            0 | 1 => world.handle(Event::Add {
                swarm: hash,
                rank: [Rank::Wanted, Rank::Rest][dice.roll(2) as usize],
                left: dice.roll(2),
            }),
            2 => world.handle(Event::Remove { swarm: hash }),
            3 => world.handle(Event::Completed { swarm: hash }),
            4 => world.handle(Event::Hungry { swarm: hash }),
            5 => world.handle(Event::Forget { swarm: hash }),
            6 => world.handle(Event::Scrape { swarms: &[hash, swarm(1)] }),
            7 | 8 if !world.gets.is_empty() => {
                let (id, _) = world.gets.remove(dice.roll(world.gets.len() as u64) as usize);
                let status = [200, 200, 503][dice.roll(3) as usize];
                world.handle(Event::HttpReply { id, status, body: bodies[dice.roll(6) as usize] });
            }
            9 if !world.gets.is_empty() => {
                let (id, _) = world.gets.remove(0);
                world.handle(Event::HttpFailed { id, why: "no" });
            }
            10 if !world.resolves.is_empty() => {
                let (tracker, ..) = world.resolves.remove(0);
                let addrs = [addr("192.0.2.2:2"), addr("[2001:db8::2]:2")];
                world.handle(Event::Resolved { tracker, addrs: &addrs[..dice.roll(3) as usize] });
            }
            11..=13 if !world.sent.is_empty() => {
                let (to, bytes) = world.sent.remove(0);
                let action = if bytes.len() == 16 { 0 } else { u32::from(bytes[11]) };
                let action = if dice.roll(5) == 0 { dice.roll(5) as u32 } else { action };
                let from = if dice.roll(8) == 0 { addr("192.0.2.77:7") } else { to };
                let rest = vec![dice.roll(256) as u8; dice.roll(60) as usize];
                world.reply_udp(from, action, &bytes[12..16], &rest);
            }
            14 if dice.roll(200) == 0 => world.pass(secs(dice.roll(1 << 20))),
            _ => {
                world.pass(Duration::from_millis(dice.roll(40_000)));
            }
        }
        world.sent.truncate(20);
    }
    world
}

#[test]
fn random_lives_keep_every_promise() {
    for seed in 1..=30 {
        run(seed, 600);
    }
}

#[test]
fn the_same_seed_and_events_give_the_same_actions() {
    for seed in [3, 4] {
        assert_eq!(run(seed, 500).log, run(seed, 500).log);
    }
}

#[test]
fn announces_stay_within_the_budget_whatever_trackers_say() {
    let tight = Config { milli_packets_per_s: 500, burst_packets: 10, ..config(&[&["http://t.example"]]) };
    let mut world = World::new(tight);
    for n in 0..1000 {
        world.handle(Event::Add {
            swarm: swarm(n),
            rank: if n == 999 { Rank::Wanted } else { Rank::Rest },
            left: 0,
        });
    }
    let began = world.now;
    let mut order = vec![];
    while world.now.since(began) < secs(4 * 3600) {
        while !world.gets.is_empty() {
            // It wants to hear of us every second.
            order.push(world.answer(b"d8:intervali1e12:min intervali1e5:peers0:e"));
        }
        if !world.pass_until(secs(60), |w| !w.gets.is_empty()) {
            world.pass(secs(1));
        }
    }
    let packets = order.len() as u64 * u64::from(HTTP_PACKETS);
    let allowed = 4 * 3600 / 2 + 10;
    assert!(packets <= allowed, "{packets} packets, {allowed} allowed");
    assert!(packets > allowed * 9 / 10, "{packets} packets: the budget is used");
    let wanted = param(&order[1], "info_hash").unwrap();
    assert!(
        wanted.starts_with("%03%E7"),
        "what is wanted goes first as soon as the tracker has answered: {wanted}"
    );
}

#[test]
fn a_list_without_end_and_a_flood_of_swarms_meet_their_limits() {
    let urls: Vec<String> = (0..100).map(|n| format!("http://t{n}.example")).collect();
    let tiers: Vec<Vec<TrackerUrl>> = urls.iter().map(|url| vec![url.parse().unwrap()]).collect();
    let mut world = World::new(Config { tiers, ..config(&[]) });
    world.add(1);
    assert_eq!(world.gets.len(), TRACKERS_MAX);
    let mut none = World::new(config(&[]));
    none.add(1);
    assert!(none.trackers.is_empty() && none.trackers.poll_timeout().is_none(), "no tracker, no work");
}
