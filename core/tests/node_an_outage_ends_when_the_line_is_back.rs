//! The origin, its layouts or a named peer is out for a while. The job waits as long as its user does, asks little meanwhile, and
//! goes on as soon as there is an answer.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::link::{Claim, Message, ZestMessage};
use zest_core::node::{Config, Event, FaultKind, OriginFault, Policy};
use zest_core::outage::{PATIENCE, PATIENCE_UNHEARD};
use zest_core::{Duration, FileKey, Instant, JobId, PeerId};

/// Beyond this a test has failed.
const LIMIT: Duration = Duration::from_secs(3600);
/// What an outage may cost beside its own length.
const LATE: Duration = Duration::from_secs(3);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A world whose user is as patient as users are.
fn world() -> World {
    World::with(Config { patience: PATIENCE, ..Config::new([5; 32], PeerId(*b"-ZT0500-we-ourselves")) })
}

fn refused() -> OriginFault {
    OriginFault::new(FaultKind::Unreachable, "connection refused")
}

fn busy() -> OriginFault {
    OriginFault::new(FaultKind::Busy, "the CDN answered 503")
}

/// Fetches, or layouts asked for, within an outage.
fn tries(world: &World, from: Duration, until: Duration) -> usize {
    let within = |at: &&Instant| (from..until).contains(&(**at - Instant(1_000_000)));
    world.fetched_at.iter().filter(within).count() + world.plans.iter().filter(|(at, _)| within(&at)).count()
}

/// A file of 640 chunks that takes 0.64 s from one block after the other, and about 0.1 s from eight at once.
fn origin(from: Duration, out: u64, fault: OriginFault) -> Origin {
    Origin { out: Some((from, from + secs(out), fault)), ..Origin::healthy() }
}

#[test]
fn however_long_the_cdn_is_out_the_rest_comes_within_three_seconds_of_its_return() {
    for out in [2, 8, 30, 120, 500] {
        let mut world = world();
        let from = ms(60);
        let job = world.job(&File::new(1, 640), Some(origin(from, out, refused())));
        let took = world.finish(job, LIMIT);
        let late = took.saturating_sub(from + secs(out));
        assert!(took > from + secs(out) && late < LATE, "{out} s out: {late:?} late");
        // One probe in a second at the most, once the first moment is over.
        let tries = tries(&world, from + ms(1), from + secs(out));
        assert!((1..=6 + out as usize).contains(&tries), "{out} s out: {tries} tries");
        // Whatever was held before is not fetched again.
        assert_eq!(world.task(job).from_origin, 640);
    }
}

#[test]
fn a_server_that_is_full_is_asked_less_and_less() {
    let mut world = world();
    let job = world.job(&File::new(1, 640), Some(origin(ms(60), 120, busy())));
    let took = world.finish(job, LIMIT);
    assert!(took < secs(120 + 16), "{took:?}");
    let tries = tries(&world, ms(61), secs(120));
    assert!(tries < 24, "{tries} tries");
}

#[test]
fn what_a_server_asks_for_is_obeyed_by_all_blocks_and_jobs() {
    let mut world = world();
    let fault = OriginFault { retry_after: Some(secs(7)), ..busy() };
    let jobs: Vec<JobId> =
        (1..=4).map(|n| world.job(&File::new(n, 320), Some(origin(ms(60), 1, fault.clone())))).collect();
    for job in jobs {
        world.finish(job, LIMIT);
    }
    assert_eq!(tries(&world, ms(100), secs(7)), 0, "nobody asks before the time is over");
}

#[test]
fn beside_a_slow_peer_the_cdn_is_asked_again() {
    let mut world = world();
    // Alone it would take 200 s for the file.
    world.peer(1, Script::fast().at(0.2));
    let job = world.job(&File::new(1, 640), Some(origin(ms(60), 8, refused())));
    let took = world.finish(job, LIMIT);
    assert!(took < secs(8) + LATE, "{took:?}");
    assert!(world.task(job).from_peers > 5, "the peer gives meanwhile");
}

#[test]
fn a_cas_that_is_out_is_asked_for_one_job_at_a_time_and_then_for_all() {
    for out in [2, 8, 30, 120] {
        let mut world = world();
        // It was heard of before.
        let first = world.job(&File::new(9, 64), Some(Origin::healthy()));
        world.finish(first, LIMIT);
        let from = world.elapsed();
        let jobs: Vec<JobId> =
            (1..=8).map(|n| world.job(&File::new(n, 64), Some(origin(from, out, refused())))).collect();
        for job in jobs {
            world.finish(job, LIMIT);
        }
        let took = world.elapsed() - from;
        assert!(took < secs(out) + LATE, "{out} s out: {took:?}");
        let tries = tries(&world, from, from + secs(out));
        assert!(tries <= 8 + 6 + out as usize, "{out} s out: {tries} tries");
    }
}

#[test]
fn the_user_waits_half_a_minute_for_an_address_that_never_answered_and_ten_for_one_that_did() {
    let fails = |out: Duration| {
        let mut world = world();
        let origin = Origin { out: Some((out, LIMIT * 2, refused())), ..Origin::healthy() };
        let job = world.job(&File::new(1, 640), Some(origin));
        assert!(world.run(LIMIT, |w| w.task(job).failed.is_some()), "it never failed");
        let (at, why) = world.task(job).failed.clone().unwrap();
        let zest_core::node::JobFailure::NoSource { origin, .. } = why;
        assert_eq!(origin.expect("a reason").text, "connection refused");
        at - Instant(1_000_000) - out
    };
    let took = fails(ms(0));
    assert!(took >= PATIENCE_UNHEARD - secs(1) && took < PATIENCE_UNHEARD + secs(2), "{took:?}");
    let took = fails(ms(60));
    assert!(took >= PATIENCE - secs(1) && took < PATIENCE + secs(2), "{took:?}");
}

#[test]
fn nobody_gives_up_in_the_pause_between_two_tries() {
    for out in 0..12 {
        let mut world = world();
        // The last pauses lie elsewhere each time.
        let origin = Origin { out: Some((ms(0), LIMIT * 2, refused())), ..Origin::healthy() };
        world.run(ms(130 * out), |_| false);
        let job = world.job(&File::new(1, 640), Some(origin));
        assert!(world.run(LIMIT, |w| w.task(job).failed.is_some()), "it never failed");
        let end = world.task(job).failed.clone().unwrap().0 - Instant(1_000_000);
        assert!(tries(&world, end - ms(400), end + ms(1)) > 0, "{out}: the last try was long before {end:?}");
    }
}

#[test]
fn nobody_gives_up_because_others_claim_all_that_could_be_tried() {
    for policy in [Policy::SpareOrigin, Policy::Fastest] {
        let mut world = World::with(Config {
            policy,
            patience: PATIENCE,
            ..Config::new([5; 32], PeerId(*b"-ZT0500-we-ourselves"))
        });
        let file = File::new(1, 640);
        world.peer(
            1,
            Script { has: Some((None, Vec::new())), manifests: Manifests::Refused, ..Script::fast() },
        );
        // The layout is known, and nothing else.
        let job = world.job(&file, Some(origin(ms(25), 29, refused())));
        world.run(secs(27), |_| false);
        let link = world.link_of(1);
        world.says(link, Message::Zest(ZestMessage::Interest { file: file.hash() }));
        // From now on somebody else is first in line for each part, and says so as long as it takes.
        for beat in 0..12 {
            let claims = (0..10).map(|unit| Claim { first: unit * BLOCK, score: u64::MAX, beat }).collect();
            world.says(link, Message::Zest(ZestMessage::Claim { file: FileKey::of(&file.hash()), claims }));
            world.run(ms(1000), |w| w.task(job).failed.is_some());
        }
        assert_eq!(world.task(job).failed, None, "{policy:?}: the line is back since 29 s");
        world.finish(job, LIMIT);
    }
}

#[test]
fn a_peer_that_gives_keeps_a_job_alive_whatever_the_origin_does() {
    let mut world = world();
    // 640 chunks, one in 4 s: three quarters of an hour.
    world.peer(1, Script { chunk_time: ms(4000), ..Script::fast() });
    let origin = Origin { out: Some((ms(0), LIMIT * 2, refused())), ..Origin::healthy() };
    let job = world.job(&File::new(1, 640), Some(origin));
    world.finish(job, LIMIT);
}

#[test]
fn a_night_asleep_in_the_middle_of_an_outage_ends_nothing() {
    for origin in [Some(origin(ms(60), 9 * 3600 + 60, refused())), None] {
        let mut world = world();
        let file = File::new(1, 640);
        world.peer(1, Script::fast().at(1.0));
        let with_origin = origin.is_some();
        let job = world.job(&file, origin);
        assert!(world.run(LIMIT, |w| w.task(job).from_peers > 20));
        world.rewrite(1, Script { dials: Dials::Refused, ..Script::fast() });
        world.cut(world.link_of(1), None);
        world.run(secs(20), |_| false);
        // The lid is closed and opened.
        world.now = world.now + secs(9 * 3600);
        world.handle(Event::Timer);
        world.run(secs(30), |_| false);
        assert_eq!(world.task(job).failed, None);
        if !with_origin {
            world.rewrite(1, Script::fast());
        }
        world.finish(job, LIMIT);
    }
}

#[test]
fn a_peer_that_the_user_named_is_dialled_until_it_is_there() {
    for away in [8, 30, 120, 500] {
        let mut world = world();
        world.peer(1, Script::fast());
        let job = world.job(&File::new(1, 4000), None);
        assert!(world.run(LIMIT, |w| w.task(job).from_peers > 20));
        world.rewrite(1, Script { dials: Dials::Refused, ..Script::fast() });
        world.cut(world.link_of(1), None);
        let (gone_at, dials) = (world.now, world.dialled.len());
        world.run(secs(away), |_| false);
        assert!(world.dialled.len() - dials <= 4 + away as usize, "{} dials", world.dialled.len() - dials);
        world.rewrite(1, Script::fast());
        let linked = world.run(LATE, |w| w.remotes.values().filter(|r| r.open).count() == 1);
        assert!(linked, "away for {away} s, not found {:?} later", world.now - gone_at - secs(away));
        world.finish(job, LIMIT);
    }
}

#[test]
fn what_the_origin_refuses_for_good_is_waited_for_only_where_somebody_may_be_found() {
    let config =
        Config { patience: PATIENCE, finding: Duration::ZERO, ..Config::new([5; 32], PeerId([7; 20])) };
    let mut world = World::with(config);
    let job = world.job(&File::new(1, 100), Some(Origin { plan: None, ..Origin::healthy() }));
    world.run(ms(300), |_| false);
    let why = OriginFault::new(FaultKind::Permanent, "403 from the CAS");
    world.handle(Event::OriginGone { job, why: why.clone() });
    assert!(world.run(secs(1), |w| w.task(job).failed.is_some()), "it waits for nobody");
    // A peer that the user named may still come.
    let mut world = World::with(Config { finding: Duration::ZERO, ..Config::new([5; 32], PeerId([7; 20])) });
    world.peer(1, Script { dials: Dials::Refused, ..Script::fast() });
    let job = world.job(&File::new(1, 100), Some(Origin { plan: None, ..Origin::healthy() }));
    world.handle(Event::OriginGone { job, why });
    world.run(secs(5), |_| false);
    world.rewrite(1, Script::fast());
    world.finish(job, LIMIT);
}

#[test]
fn one_block_that_its_server_lacks_does_not_keep_the_others() {
    let mut world = world();
    // Every fetch of the first block fails, whatever becomes of the others.
    let origin = Origin { faults: [(0, (0, busy()))].into(), ..Origin::healthy() };
    let job = world.job(&File::new(1, 640), Some(origin));
    let took = world.finish(job, LIMIT);
    assert!(took < secs(2), "{took:?}");
}
