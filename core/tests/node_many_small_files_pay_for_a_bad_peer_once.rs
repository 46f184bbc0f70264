//! What was learnt of a peer holds for all files: beside peers that give nothing, many small files take little longer than from
//! the origin alone.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::{Duration, JobId};

/// Files of a repository, and those that are fetched at a time.
const FILES: u32 = 200;
const AT_ONCE: usize = 8;
const LIMIT: Duration = Duration::from_secs(120);

/// An origin that takes a while to say what it has, as over a real line.
fn origin() -> Origin {
    Origin { plan: Some(ms(40)), first_byte: ms(60), ..Origin::healthy() }
}

/// How long it takes to fetch them all beside these.
fn took(scripts: &[Script]) -> (Duration, World) {
    let mut world = World::new();
    for (port, script) in (1..).zip(scripts) {
        world.peer(port, script.clone());
    }
    // The links are there when the first file is begun.
    world.run(ms(30), |_| false);
    let began = world.now;
    let mut under_way: Vec<JobId> = Vec::new();
    let mut next = 0;
    loop {
        while under_way.len() < AT_ONCE && next < FILES {
            under_way.push(world.job(&File::of_many(next, 4), Some(origin())));
            next += 1;
        }
        if under_way.is_empty() {
            return (world.now - began, world);
        }
        let jobs = under_way.clone();
        assert!(world.run(LIMIT, |w| jobs.iter().any(|job| w.task(*job).complete.is_some())));
        let (done, rest) = under_way.into_iter().partition(|job| world.task(*job).complete.is_some());
        under_way = rest;
        let done: Vec<JobId> = done;
        done.into_iter().for_each(|job| world.remove(job));
    }
}

fn beside(what: &str, script: &Script, most: Duration) {
    let (alone, _) = took(&[]);
    let (took, world) = took(&vec![script.clone(); 3]);
    println!("{what}: {took:?}, alone {alone:?}, {} dials", world.dialled.len());
    assert!(took <= alone + alone / 10 + most, "{what}: {took:?}, alone {alone:?}");
}

#[test]
fn three_that_refuse_what_they_say_they_have_cost_a_moment() {
    beside("NOT_FOUND", &Script::fast().with(Chunks::NotFound), ms(500));
    let far = Script { latency: ms(25), ..Script::fast().with(Chunks::NotFound) };
    beside("NOT_FOUND far away", &far, ms(700));
}

#[test]
fn three_that_are_mute_cost_one_stall() {
    beside("mute", &Script::fast().with(Chunks::Mute), ms(600));
    let silent = Script { manifests: Manifests::Silent, ..Script::fast().with(Chunks::Mute) };
    beside("mute of lists as well", &silent, ms(1000));
}

#[test]
fn three_that_have_nothing_of_it_cost_a_moment() {
    let empty = Script { has: Some((Some(0), vec![])), manifests: Manifests::Refused, ..Script::fast() };
    beside("nothing", &empty, ms(200));
    beside("nothing, far away", &Script { latency: ms(50), ..empty.clone() }, ms(500));
    beside("nothing, silent", &Script { manifests: Manifests::Silent, ..empty }, ms(500));
}

#[test]
fn three_that_are_slow_cost_a_moment() {
    beside("slow", &Script::fast().at(0.1), ms(600));
}

#[test]
fn one_that_gives_is_used_beside_three_that_do_not() {
    let (all, world) = {
        let bad = Script::fast().with(Chunks::Mute);
        took(&[bad.clone(), bad.clone(), bad, Script::fast()])
    };
    let from_peers: u32 = world.tasks.values().map(|task| task.from_peers).sum();
    println!("{all:?}, {from_peers} chunks from peers");
    assert!(from_peers >= FILES * 4 / 2, "{from_peers} chunks from peers");
}

/// How long some files take one by one, where a visitor from each of these ports comes for each of them and leaves.
fn took_beside_visitors(ports: &[u16], script: &Script) -> Duration {
    let mut world = World::new();
    let began = world.now;
    for number in 0..20 {
        let links: Vec<_> = ports.iter().map(|port| world.visitor(*port, script.clone())).collect();
        // They say what they have before the file is begun.
        let said = world.now + ms(30);
        world.run(ms(30), |world| world.now >= said);
        let job = world.job(&File::of_many(number, 4), Some(origin()));
        assert!(world.run(LIMIT, |world| world.task(job).complete.is_some()));
        world.remove(job);
        links.into_iter().for_each(|link| world.cut(link, None));
    }
    world.now - began
}

#[test]
fn who_hangs_up_and_comes_back_is_no_better_known_for_that() {
    let alone = took_beside_visitors(&[], &Script::fast());
    let took = took_beside_visitors(&[1, 2, 3], &Script::fast().with(Chunks::Mute));
    println!("{took:?}, alone {alone:?}");
    assert!(took <= alone + alone / 10 + ms(1000), "{took:?}, alone {alone:?}");
}
