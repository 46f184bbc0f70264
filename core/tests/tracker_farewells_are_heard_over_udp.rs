//! Over UDP a farewell may need more than one datagram: a connection, another try. A process that ends waits for that a little.

#[path = "common/announcing.rs"]
mod announcing;

use announcing::*;
use zest_core::tracker::*;

const TRACKER: &str = "192.0.2.9:6969";
/// Interval 1,800, nobody else.
const ANSWER: &[u8] = b"\0\0\x07\x08\0\0\0\0\0\0\0\x01";
/// As opentracker writes it.
const MISMATCH: &[u8] = b"Connection ID missmatch.\0";
/// Where an announce says what happened, and its word for a farewell.
const EVENT: std::ops::Range<usize> = 80..84;
const STOPPED: [u8; 4] = [0, 0, 0, 3];
const STARTED: [u8; 4] = [0, 0, 0, 2];

fn world() -> World {
    World::new(config(&[&["udp://192.0.2.9:6969"]]))
}

/// Swarm `n` is known to the tracker.
fn announced(world: &mut World, n: u16) {
    world.add(n);
    if n == 1 {
        world.connect(7);
    }
    let (to, bytes) = world.datagram();
    assert_eq!(bytes[EVENT], STARTED);
    world.reply_udp(to, 1, &bytes[12..16], ANSWER);
}

/// The swarm of a farewell that was just sent.
fn farewell(world: &mut World) -> (u16, Vec<u8>) {
    let (_, bytes) = world.datagram();
    assert_eq!(bytes[EVENT], STOPPED);
    (u16::from_be_bytes([bytes[16], bytes[17]]), bytes)
}

#[test]
fn a_process_that_ends_waits_until_a_new_connection_has_carried_its_farewell() {
    let mut world = world();
    announced(&mut world, 1);
    world.pass(secs(90));
    world.handle(Event::Shutdown);
    assert_eq!(world.trackers.farewells(), 1, "the connection is too old, the farewell waits");
    world.connect(8);
    let (_, bytes) = farewell(&mut world);
    assert_eq!((&bytes[..8], world.trackers.farewells()), (&[0, 0, 0, 0, 0, 0, 0, 8][..], 1));
    world.reply_udp(addr(TRACKER), 1, &bytes[12..16], ANSWER);
    assert_eq!((world.trackers.farewells(), world.trackers.poll_timeout()), (0, None));
}

#[test]
fn what_gets_lost_at_the_end_is_sent_once_more() {
    let mut world = world();
    announced(&mut world, 1);
    world.pass(secs(90));
    world.handle(Event::Shutdown);
    let (_, connect) = world.datagram();
    world.pass(FAREWELL_AGAIN);
    assert_eq!(world.sent[0].1, connect, "with the same transaction: the answer to either will do");
    world.connect(8);
    let (_, first) = farewell(&mut world);
    world.pass(FAREWELL_AGAIN);
    let (_, second) = farewell(&mut world);
    assert_eq!(first[16..], second[16..]);
    world.pass(secs(60));
    assert!(world.sent.is_empty(), "twice is enough: {:?}", world.sent);
    assert_eq!((world.trackers.farewells(), world.trackers.poll_timeout()), (0, None));
}

#[test]
fn a_farewell_that_meets_a_forgotten_connection_is_said_on_a_new_one() {
    let mut world = world();
    announced(&mut world, 1);
    world.handle(Event::Remove { swarm: swarm(1) });
    let (_, bytes) = farewell(&mut world);
    world.reply_udp(addr(TRACKER), 3, &bytes[12..16], MISMATCH);
    world.connect(8);
    assert_eq!(farewell(&mut world).1[..8], [0, 0, 0, 0, 0, 0, 0, 8]);
}

#[test]
fn a_farewell_asks_no_name_server_again() {
    let mut world = World::new(config(&[&["udp://t.example:6969"]]));
    world.add(1);
    let (tracker, ..) = world.resolves.remove(0);
    world.handle(Event::Resolved { tracker, addrs: &[addr(TRACKER)] });
    world.connect(7);
    let (to, bytes) = world.datagram();
    // An interval of 2 h, longer than a name counts.
    world.reply_udp(to, 1, &bytes[12..16], b"\0\0\x1c\x20\0\0\0\0\0\0\0\x01");
    world.pass(secs(3600));
    world.handle(Event::Shutdown);
    assert!(world.resolves.is_empty(), "{:?}", world.resolves);
    world.connect(8);
    assert_eq!(farewell(&mut world).0, 1);
}

#[test]
fn all_farewells_wait_for_the_connection_as_many_as_there_may_be() {
    let mut world = world();
    for n in 1..=150 {
        announced(&mut world, n);
    }
    world.pass(secs(90));
    world.handle(Event::Shutdown);
    assert_eq!(world.trackers.farewells(), 150);
    world.connect(8);
    assert_eq!(world.sent.len(), 150);
    assert!(world.sent.iter().all(|(_, bytes)| bytes[EVENT] == STOPPED));
}

#[test]
fn a_tracker_that_was_told_and_has_not_answered_is_told_that_we_left() {
    let mut world = world();
    world.add(1);
    world.connect(7);
    assert_eq!(world.datagram().1[EVENT], STARTED);
    world.handle(Event::Remove { swarm: swarm(1) });
    assert_eq!(farewell(&mut world).0, 1);
}

#[test]
fn what_was_not_said_before_we_left_is_not_said_afterwards() {
    for by_shutdown in [false, true] {
        let mut world = world();
        world.add(1);
        let (to, connect) = world.datagram();
        world.handle(if by_shutdown { Event::Shutdown } else { Event::Remove { swarm: swarm(1) } });
        world.reply_udp(to, 0, &connect[12..16], &7u64.to_be_bytes());
        assert!(world.sent.is_empty(), "an announce of a swarm that is gone: {:?}", world.sent);
    }
}

#[test]
fn a_swarm_that_may_not_be_spoken_of_is_not_named_again_on_a_new_connection() {
    for farewell_first in [false, true] {
        let mut world = world();
        announced(&mut world, 1);
        match farewell_first {
            true => world.handle(Event::Remove { swarm: swarm(1) }),
            false => {
                world.pass(secs(30));
                world.handle(Event::Completed { swarm: swarm(1) });
            }
        }
        let (to, bytes) = world.datagram();
        world.handle(Event::Forget { swarm: swarm(1) });
        world.reply_udp(to, 3, &bytes[12..16], MISMATCH);
        world.pass(secs(10));
        assert!(world.sent.is_empty(), "{:?}", world.sent);
    }
}

#[test]
fn a_mismatch_at_the_first_announce_is_no_refusal() {
    let mut world = world();
    world.add(1);
    world.connect(7);
    let (to, bytes) = world.datagram();
    world.reply_udp(to, 3, &bytes[12..16], MISMATCH);
    world.connect(8);
    let (to, bytes) = world.datagram();
    assert_eq!((&bytes[..8], &bytes[EVENT]), (&[0, 0, 0, 0, 0, 0, 0, 8][..], &STARTED[..]), "at once");
    // Once more: it does not work, and is tried again as one that does not.
    world.reply_udp(to, 3, &bytes[12..16], MISMATCH);
    assert!(world.sent.is_empty());
    assert!(world.pass_until(secs(20), |w| !w.sent.is_empty()), "not after 300 s: {:?}", world.status);
}

#[test]
fn over_http_a_farewell_waits_a_second_for_what_was_said_before() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    world.answer(EMPTY);
    world.handle(Event::Completed { swarm: swarm(1) });
    let (id, _) = world.gets.remove(0);
    world.handle(Event::Shutdown);
    assert_eq!((world.gets.len(), world.trackers.farewells()), (0, 1));
    assert!(world.pass_until(FAREWELL_HOLD, |w| !w.gets.is_empty()), "a slow tracker hears of it, too");
    assert_eq!(param(&world.gets[0].1, "event"), Some("stopped"));
    world.handle(Event::HttpReply { id, status: 200, body: EMPTY });
    assert_eq!((world.gets.len(), world.trackers.farewells()), (1, 0), "once");
}

#[test]
fn a_tracker_that_has_not_answered_yet_is_neither_told_nor_waited_for() {
    for url in ["http://t.example", "udp://192.0.2.9:6969"] {
        let mut world = World::new(config(&[&[url]]));
        world.add(1);
        let before = (world.gets.len(), world.sent.len());
        world.handle(Event::Shutdown);
        assert_eq!((world.trackers.farewells(), world.trackers.poll_timeout()), (0, None), "{url}");
        world.now = world.now + secs(5);
        world.handle(Event::Timer);
        assert_eq!((world.gets.len(), world.sent.len()), before, "{url}");
    }
}
