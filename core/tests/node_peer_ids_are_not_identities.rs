//! Whoever has read a peer id can say it. So it keeps nobody out: not its owner where somebody said it first, and not its owner
//! where somebody lied under it.

#[path = "common/swarm.rs"]
mod swarm;

use std::net::SocketAddr;
use swarm::*;
use zest_core::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Another machine.
fn elsewhere(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 7000))
}

#[test]
fn a_liar_under_the_id_of_an_honest_peer_is_banned_alone() {
    let mut world = World::new();
    world.names.insert(addr(1), 2);
    world.peer(1, Script::fast().with(Chunks::WrongEvery(1)));
    world.peer(2, Script { latency: ms(5), ..Script::fast() });
    let job = world.job(&File::new(1, 1000), None);
    world.finish(job, LIMIT);
    assert_eq!(world.banned.iter().map(|(_, a)| *a).collect::<Vec<_>>(), [addr(1)]);
    assert!(world.remote(2).open && !world.remote(1).open);
    assert_eq!(world.task(job).from_peers, 1000);
}

#[test]
fn ten_liars_under_one_id_do_not_shut_its_owner_out() {
    let mut world = World::new();
    for port in 10..20 {
        world.names.insert(addr(port), 2);
        world.peer(port, Script::fast().with(Chunks::WrongEvery(1)));
    }
    world.peer(2, Script { latency: ms(5), ..Script::fast() });
    let job = world.job(&File::new(1, 1000), None);
    world.finish(job, LIMIT);
    assert_eq!(world.banned.len(), 10);
    assert!(world.remote(2).open, "it did nothing wrong");
}

#[test]
fn who_says_an_id_first_keeps_its_owner_out_neither_here_nor_elsewhere() {
    let mut world = World::new();
    world.names.insert(addr(9), 1);
    world.names.insert(elsewhere(9), 2);
    world.names.insert(elsewhere(1), 2);
    let (near, far) = (world.visitor(9, Script::fast()), world.visitor_from(elsewhere(9), Script::fast()));
    let owners = [world.visitor(1, Script::fast()), world.visitor_from(elsewhere(1), Script::fast())];
    for link in [near, far].into_iter().chain(owners) {
        assert!(world.remotes[&link].open, "{:?}", world.remotes[&link].addr);
    }
    let from_another_port = SocketAddr::new(elsewhere(1).ip(), 7001);
    world.names.insert(from_another_port, 2);
    let again = world.visitor_from(from_another_port, Script::fast());
    assert!(!world.remotes[&again].open, "the same id from the same machine is the same peer");
}

#[test]
fn a_machine_with_several_links_counts_as_one() {
    let mut world = World::new();
    for at in [addr(9), elsewhere(9)] {
        world.names.insert(at, 2);
    }
    world.visitor(9, Script::fast());
    world.visitor_from(elsewhere(9), Script::fast());
    assert_eq!(world.node.machines(), 1, "over two networks");
    world.visitor(1, Script::fast());
    assert_eq!(world.node.machines(), 2);
}

#[test]
fn a_visitor_that_lied_is_kept_out_by_its_id_at_its_address() {
    let mut world = World::new();
    world.names.insert(elsewhere(1), 2);
    let link = world.visitor_from(elsewhere(1), Script::fast().with(Chunks::WrongEvery(1)));
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert!(!world.remotes[&link].open);
    let from_another_port = SocketAddr::new(elsewhere(1).ip(), 7001);
    world.names.insert(from_another_port, 2);
    let again = world.visitor_from(from_another_port, Script::fast());
    assert!(!world.remotes[&again].open);
}
