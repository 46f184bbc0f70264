//! Links that give nothing do not keep from us those who would: they make room within seconds, and each way of finding peers has
//! places that no other can fill.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::node::Found;

const LIMIT: Duration = Duration::from_secs(120);

/// Takes a link, and that is all.
fn idle() -> Script {
    Script { has: None, manifests: Manifests::Silent, chunks: Chunks::Mute, zest: false, ..Script::fast() }
}

/// Says that it fetches what we fetch, or has it all, and gives nothing.
fn fellow() -> Script {
    Script { manifests: Manifests::Silent, chunks: Chunks::Mute, ..Script::fast() }
}

/// What a job takes that only the honest one can give, who is found last.
fn took(bad: usize, script: &Script, how: Found, honest: Found) -> Duration {
    let mut world = World::new();
    let job = world.job(&File::new(1, 640), None);
    for port in 0..bad as u16 {
        world.found(8000 + port, script.clone(), how);
    }
    world.run(Duration::from_secs(10), |w| w.dialled.len() >= bad);
    world.found(7000, Script::fast(), honest);
    world.finish(job, LIMIT)
}

#[test]
fn twelve_idle_links_make_room_within_seconds() {
    let alone = took(0, &idle(), Found::Lan, Found::Lan);
    for script in [idle(), fellow(), Script { greets: None, ..idle() }] {
        for how in [Found::Lan, Found::Tracker, Found::Pex, Found::Dht] {
            let took = took(12, &script, how, how);
            println!("{how:?}: {took:?}, alone {alone:?}");
            assert!(took <= alone + Duration::from_secs(8), "{how:?}: {took:?}, alone {alone:?}");
        }
    }
}

#[test]
fn another_way_of_finding_has_places_of_its_own() {
    let ways = [Found::Lan, Found::Tracker, Found::Pex, Found::Dht];
    for bad in ways {
        for honest in ways.into_iter().filter(|honest| *honest != bad) {
            let took = took(12, &idle(), bad, honest);
            assert!(took <= Duration::from_secs(2), "{bad:?} keeps {honest:?} out: {took:?}");
        }
    }
}

#[test]
fn who_gives_keeps_its_place() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 4000), None);
    for port in 0..12 {
        world.found(8000 + port, Script::fast().at(1.0), Found::Lan);
    }
    for port in 0..40 {
        world.found(9100 + port, idle(), Found::Lan);
    }
    world.finish(job, LIMIT);
    let lost = world.remotes.values().filter(|remote| remote.addr.port() < 9000 && !remote.open).count();
    assert_eq!(lost, 0, "of twelve who gave all the time");
}

#[test]
fn addresses_that_swallow_dials_hold_no_place_for_long() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 640), None);
    for port in 0..12 {
        world.found(8000 + port, Script { dials: Dials::Swallowed, ..idle() }, Found::Lan);
    }
    world.found(7000, Script::fast(), Found::Lan);
    let took = world.finish(job, LIMIT);
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_neighbour_that_says_it_is_back_is_dialled_at_once() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 640), None);
    let gone = Script { dials: Dials::Refused, ..Script::fast() };
    world.found(7000, gone, Found::Lan);
    // Each pause is twice the one before: the next one is 8 s.
    world.run(Duration::from_secs(20), |w| w.dialled.len() >= 4);
    world.run(Duration::from_secs(2), |_| false);
    world.found(7000, Script::fast(), Found::Lan);
    let took = world.finish(job, LIMIT);
    assert!(took <= Duration::from_secs(2), "{took:?}");
}
