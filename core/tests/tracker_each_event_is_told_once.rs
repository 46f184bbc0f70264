//! Started, completed and stopped are told each tracker once, when it can hear it.

#[path = "common/announcing.rs"]
mod announcing;

use announcing::*;
use zest_core::tracker::*;

fn event(url: &str) -> Option<&str> {
    param(url, "event")
}

#[test]
fn started_then_nothing_then_completed_then_stopped() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    assert_eq!(event(&world.answer(EMPTY)), Some("started"));
    world.pass(secs(2000));
    assert_eq!(event(&world.answer(EMPTY)), None);
    world.handle(Event::Progress { swarm: swarm(1), uploaded: 5, downloaded: 900, left: 100 });
    world.handle(Event::Completed { swarm: swarm(1) });
    let url = world.answer(EMPTY);
    assert_eq!((event(&url), param(&url, "left")), (Some("completed"), Some("0")), "at once");
    assert_eq!((param(&url, "uploaded"), param(&url, "downloaded")), (Some("5"), Some("900")));
    world.handle(Event::Completed { swarm: swarm(1) });
    assert_eq!(event(&world.answer(EMPTY)), None, "no second time");
    world.handle(Event::Remove { swarm: swarm(1) });
    assert_eq!(event(&world.answer(EMPTY)), Some("stopped"));
    world.pass(secs(100_000));
    assert!(world.gets.is_empty(), "nothing after the farewell: {:?}", world.gets);
}

#[test]
fn an_event_that_was_not_heard_is_told_again() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    assert_eq!(event(&world.answer_status(503, b"busy")), Some("started"));
    assert!(world.pass_until(secs(60), |w| !w.gets.is_empty()));
    assert_eq!(event(&world.answer(EMPTY)), Some("started"));
    world.handle(Event::Completed { swarm: swarm(1) });
    assert_eq!(event(&world.answer(b"<html>")), Some("completed"));
    assert!(world.pass_until(secs(60), |w| !w.gets.is_empty()));
    assert_eq!(event(&world.answer(EMPTY)), Some("completed"));
    assert!(world.pass_until(secs(3600), |w| !w.gets.is_empty()));
    assert_eq!(event(&world.answer(EMPTY)), None);
}

#[test]
fn a_download_that_ends_while_it_is_announced_is_told_right_after() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    let (id, _) = world.gets.remove(0);
    world.handle(Event::Completed { swarm: swarm(1) });
    assert!(world.gets.is_empty(), "one request at a time");
    world.handle(Event::HttpReply { id, status: 200, body: EMPTY });
    let (_, url) = world.gets.remove(0);
    assert_eq!((event(&url), param(&url, "left")), (Some("completed"), Some("0")));
}

#[test]
fn a_seed_never_completes() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.handle(Event::Add { swarm: swarm(1), rank: Rank::Lead, left: 0 });
    assert_eq!(event(&world.answer(EMPTY)), Some("started"));
    world.handle(Event::Completed { swarm: swarm(1) });
    assert_eq!(event(&world.answer(EMPTY)), None);
}

#[test]
fn who_was_never_told_that_we_came_is_not_told_that_we_went() {
    let mut world = World::new(config(&[&["http://a.example"], &["http://b.example"]]));
    world.add(1);
    let (id, _) =
        world.gets.remove(world.gets.iter().position(|(_, url)| url.contains("a.example")).unwrap());
    world.handle(Event::HttpReply { id, status: 200, body: EMPTY });
    world.gets.clear();
    world.handle(Event::Remove { swarm: swarm(1) });
    assert_eq!(world.gets.len(), 1, "{:?}", world.gets);
    assert!(world.gets[0].1.contains("a.example") && event(&world.gets[0].1) == Some("stopped"));
}

#[test]
fn farewells_of_a_process_go_out_at_once_and_are_bounded() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    for n in 0..300 {
        world.handle(Event::Add { swarm: swarm(n), rank: Rank::Rest, left: 0 });
    }
    for _ in 0..3000 {
        if world.gets.is_empty() && !world.pass_until(secs(3600), |w| !w.gets.is_empty()) {
            break;
        }
        world.answer(b"d8:intervali7200e5:peers0:e");
        if world.peers.len() == 300 {
            break;
        }
    }
    assert_eq!(world.peers.len(), 300, "all are announced within the budget");
    world.gets.clear();
    world.handle(Event::Shutdown);
    assert_eq!(world.gets.len(), FAREWELLS_MAX);
    assert!(world.gets.iter().all(|(_, url)| event(url) == Some("stopped")));
    assert_eq!(world.trackers.poll_timeout(), None, "nothing is waited for");
    world.gets.clear();
    world.handle(Event::Add { swarm: swarm(999), rank: Rank::Wanted, left: 1 });
    assert!(world.gets.is_empty(), "it is over");
}

#[test]
fn a_swarm_that_may_not_be_spoken_of_leaves_without_a_word() {
    let mut world = World::new(config(&[&["http://t.example"], &["udp://192.0.2.9:1"]]));
    world.add(1);
    world.answer(EMPTY);
    let before = world.log.len();
    world.add(2);
    let open = world.gets.len();
    assert_eq!(open, 1, "an announce is under way");
    for n in [1, 2] {
        world.handle(Event::Forget { swarm: swarm(n) });
    }
    assert_eq!(world.cancelled.len(), 1, "what is under way is called off");
    // The UDP tracker connects only now: nothing is left to be asked there.
    world.sent.truncate(1);
    world.connect(7);
    world.pass(secs(100_000));
    assert!(world.sent.is_empty(), "{:?}", world.sent);
    let words =
        world.log[before..].iter().filter(|(_, action)| matches!(action, Action::HttpGet { .. })).count();
    assert_eq!(words, 1, "the announce of swarm 2, before it was forgotten");
}
