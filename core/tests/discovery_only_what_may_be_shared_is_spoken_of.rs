//! Default deny: without a [`Shareable`] no packet, and none after it has ended or was withdrawn.

#[path = "common/finding.rs"]
mod finding;

use finding::*;
use zest_core::discovery::*;
use zest_core::lsd::Group;
use zest_core::{InfoHash, Instant, JobId, tracker};

/// A world in which everything can be asked: DHT, an HTTP and a UDP tracker, both groups.
fn open_world() -> World {
    let tiers =
        vec![vec!["http://t.example".parse().unwrap()], vec!["udp://192.0.2.9:6969".parse().unwrap()]];
    let mut world = World::new(Config { tiers, ..config() });
    world.handle(Event::Dht { up: true });
    for group in Group::ALL {
        world.handle(Event::LanGroup { group, up: true });
    }
    world
}

/// Answers whatever trackers were asked.
fn answer_trackers(world: &mut World) {
    for action in std::mem::take(&mut world.trackers) {
        match action {
            tracker::Action::HttpGet { id, .. } => {
                world.handle(Event::HttpReply { id, status: 200, body: b"d8:intervali60e5:peers0:e" });
            }
            tracker::Action::SendTo { to, bytes } => {
                let action: &[u8] = if bytes.len() == 16 { &[0; 4] } else { &[0, 0, 0, 1] };
                let reply = [action, &bytes[12..16], &[0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0, 1]].concat();
                world.handle(Event::Datagram { from: to, bytes: &reply });
            }
            _ => {}
        }
    }
}

fn live(world: &mut World, s: u64) {
    let end = world.now + secs(s);
    loop {
        answer_trackers(world);
        while !world.gets.is_empty() {
            world.answer([]);
        }
        for (op, _) in std::mem::take(&mut world.announces) {
            world.handle(Event::DhtDone { op, packets: 28 });
        }
        let left = end.since(world.now);
        let busy = |w: &World| !(w.trackers.is_empty() && w.gets.is_empty() && w.announces.is_empty());
        if !world.pass_until(left, busy) {
            world.now = end;
            return;
        }
    }
}

#[test]
fn what_is_shared_goes_out_on_every_way() {
    let mut world = open_world();
    world.handle(Event::Seed { file: file(1, 1) });
    world.want(1, file(2, 2));
    live(&mut world, 100);
    for n in [1, 2] {
        let hex = format!("{:?}", key(n));
        let mut url = String::new();
        tracker::http::push_percent(&mut url, &key(n).0);
        let words = world.on_the_wire();
        assert!(words.contains(&hex), "{n}: DHT");
        assert!(words.iter().any(|w| w.starts_with("http") && w.contains(&url)), "{n}: HTTP");
        assert!(words.iter().any(|w| w.len() > 100 && w.starts_with("0") && w.contains(&hex)), "{n}: UDP");
        assert!(
            words.iter().filter(|w| w.starts_with("BT-SEARCH") && w.contains(&hex)).count() >= 2,
            "{n}: both groups"
        );
    }
}

#[test]
fn a_leave_that_is_over_or_never_was_leaves_no_packet() {
    let mut world = open_world();
    let over = Shareable::anonymously_readable(world.now);
    world.handle(Event::Seed { file: SharedFile { proof: over, ..file(1, 1) } });
    world.want(1, SharedFile { proof: over, ..file(2, 1) });
    world.handle(Event::Asked { file: hash(3) });
    world.handle(Event::Starved { job: JobId(1) });
    live(&mut world, 5000);
    assert_eq!((world.discovery.swarms(), world.on_the_wire()), (0, vec![]));
}

#[test]
fn a_leave_ends_by_itself_and_can_be_renewed() {
    let mut world = open_world();
    let until = world.now + secs(600);
    for n in [1, 2] {
        world.handle(Event::Seed {
            file: SharedFile { proof: Shareable::anonymously_readable(until), ..file(n, 1) },
        });
    }
    let xorb = InfoHash::of_xorb(&hash(9));
    let wanted = SharedFile { proof: Shareable::anonymously_readable(until), ..file(3, 2) };
    world.handle(Event::Want { job: JobId(1), file: wanted, xorbs: &[hash(9)] });
    live(&mut world, 500);
    assert!(
        world.spoke_of(key(1)) && world.spoke_of(key(2)) && world.spoke_of(key(3)) && world.spoke_of(xorb)
    );
    world.handle(Event::Seed { file: file(2, 1) });
    live(&mut world, 99);
    world.now = until;
    world.handle(Event::Timer);
    world.log.clear();
    live(&mut world, 20_000);
    assert!(!world.spoke_of(key(1)) && !world.spoke_of(key(3)) && !world.spoke_of(xorb));
    assert!(world.spoke_of(key(2)), "the renewed one goes on");
}

#[test]
fn what_is_withdrawn_is_silent_at_once_even_with_answers_under_way() {
    let mut world = open_world();
    world.handle(Event::Seed { file: file(1, 1) });
    world.handle(Event::Want { job: JobId(1), file: file(2, 1), xorbs: &[hash(9)] });
    world.handle(Event::Starved { job: JobId(1) });
    world.pass(secs(1));
    assert!(!world.gets.is_empty() && !world.trackers.is_empty());
    let (open, words) = (world.gets.clone(), world.on_the_wire().len());
    assert!(words > 0);
    world.handle(Event::Withdraw { file: hash(1) });
    world.handle(Event::Withdraw { file: hash(2) });
    assert!(open.iter().all(|(op, _)| world.stopped.contains(op)), "questions are called off");
    world.log.clear();
    for (op, _) in open {
        world.handle(Event::DhtPeers { op, peers: &[peer(1)] });
        world.handle(Event::DhtDone { op, packets: 20 });
    }
    live(&mut world, 20_000);
    let connects = |w: &String| w.starts_with("0000041727101980");
    let words: Vec<String> = world.on_the_wire().into_iter().filter(|w| !connects(w)).collect();
    assert_eq!((words, world.found.clone()), (vec![], vec![]), "not even a farewell");
    // A neighbour who asks for it hears nothing either.
    let text = zest_core::lsd::message::write(Group::V4, 7000, &[key(1), key(2)], "x");
    world.handle(Event::LanDatagram {
        group: Group::V4,
        from: "192.168.1.9:6771".parse().unwrap(),
        bytes: &text,
    });
    live(&mut world, 1000);
    assert_eq!((world.found.len(), world.lan.iter().filter(|_| world.spoke_of(key(1))).count()), (0, 0));
}

#[test]
fn a_file_of_two_commits_is_spoken_of_as_long_as_either_allows() {
    let mut world = open_world();
    let short = Shareable::anonymously_readable(world.now + secs(100));
    let long = Shareable::anonymously_readable(world.now + secs(10_000));
    world.handle(Event::Seed { file: SharedFile { proof: long, ..file(1, 1) } });
    world.handle(Event::Seed { file: SharedFile { proof: short, group: GroupId(2), ..file(1, 1) } });
    world.pass(secs(200));
    assert_eq!(world.discovery.swarms(), 1);
    world.pass(secs(10_000));
    assert_eq!(world.discovery.swarms(), 0);
}

#[test]
fn after_the_end_of_the_process_nothing_is_begun() {
    let mut world = open_world();
    world.handle(Event::Seed { file: file(1, 1) });
    live(&mut world, 100);
    world.log.clear();
    world.handle(Event::Shutdown);
    let farewells = world.on_the_wire();
    assert!(farewells.iter().any(|w| w.contains("event=stopped")), "{farewells:?}");
    // Over UDP a farewell is said until it is heard, and that takes a connection here.
    (0..2).for_each(|_| answer_trackers(&mut world));
    assert_eq!(world.discovery.poll_timeout(), None);
    world.log.clear();
    world.handle(Event::Seed { file: file(2, 1) });
    world.now = Instant(u64::MAX / 2);
    world.handle(Event::Timer);
    assert!(world.log.is_empty());
}

#[test]
fn what_is_for_this_network_goes_to_no_tracker_and_not_into_the_dht() {
    let mut world = open_world();
    let near = |n| SharedFile { proof: Shareable::readable_near(Instant(u64::MAX)), ..file(n, u64::from(n)) };
    world.handle(Event::Seed { file: near(1) });
    world.handle(Event::Want { job: JobId(1), file: near(2), xorbs: &[hash(9)] });
    world.handle(Event::Starved { job: JobId(1) });
    live(&mut world, 5000);
    let hexes: Vec<String> =
        [key(1), key(2), InfoHash::of_xorb(&hash(9))].iter().map(|key| format!("{key:?}")).collect();
    let words = world.on_the_wire();
    for word in words.iter().filter(|word| !word.starts_with("BT-SEARCH")) {
        assert!(!hexes.iter().any(|hex| word.contains(hex)) && !word.starts_with("http"), "{word}");
    }
    for hex in &hexes[..2] {
        assert!(words.iter().any(|w| w.starts_with("BT-SEARCH") && w.contains(hex)), "neighbours hear of it");
    }
    // Everybody may know of it by now.
    world.handle(Event::Seed { file: file(1, 1) });
    live(&mut world, 5000);
    assert!(world.on_the_wire().contains(&hexes[0]), "the DHT hears of it");
}
