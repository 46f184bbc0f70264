//! A node that waits for others is woken by what changes something, not by how often it is said.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::link::{Claim, Message, ZestMessage};
use zest_core::node::{Config, Policy};
use zest_core::{FileKey, LinkId, PeerId};

/// Says that it has a chunk, and never gives one.
fn idle() -> Script {
    Script { has: Some((None, vec![(0, 1)])), ..Script::fast().with(Chunks::Mute) }
}

/// How often a node is woken within four seconds in which two peers say this every 50 ms, and messages it sent meanwhile.
fn woken(say: impl Fn(&File, u16) -> Option<Message>) -> (u64, usize) {
    let config = Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl"));
    let mut world = World::with(Config { policy: Policy::SpareOrigin, ..config });
    (1..=2).for_each(|port| world.peer(port, idle()));
    let file = File::new(1, 640);
    // The origin gives nothing for as long as this lasts.
    world.streams = false;
    world.job(&file, Some(Origin::healthy()));
    world.run(ms(100), |_| false);
    let links: Vec<LinkId> = (1..=2).map(|port| world.link_of(port)).collect();
    for link in &links {
        world.says(*link, Message::Zest(ZestMessage::Interest { file: file.hash() }));
    }
    let (timers, sent) = (world.timers, world.sent.len());
    for beat in 0..80 {
        for link in &links {
            say(&file, beat).into_iter().for_each(|message| world.says(*link, message));
        }
        world.run(ms(50), |_| false);
    }
    (world.timers - timers, world.sent.len() - sent)
}

fn claims(file: &File, beat: u16) -> Message {
    let claims = (0..10).map(|unit| Claim { first: unit * BLOCK, score: u64::MAX - 1, beat }).collect();
    Message::Zest(ZestMessage::Claim { file: FileKey::of(&file.hash()), claims })
}

#[test]
fn claims_that_are_renewed_all_the_time_are_heard_once_in_a_while() {
    let (once, _) = woken(|file, beat| (beat == 0).then(|| claims(file, beat)));
    let (often, sent) = woken(|file, beat| Some(claims(file, beat)));
    println!("woken {often} times, {once} by a claim that is made once; {sent} messages sent");
    assert!(often <= once + 16, "woken {often} times, {once} by a claim that is made once");
    assert!(sent <= 32, "{sent} messages to two peers in four seconds");
}

#[test]
fn what_is_said_again_of_chunks_is_no_news() {
    let say = |file: &File| {
        Message::Zest(ZestMessage::Have { file: file.hash(), total: file.len(), runs: vec![(0, 1)] })
    };
    let more = |file: &File| {
        Message::Zest(ZestMessage::HaveMore { file: FileKey::of(&file.hash()), runs: vec![(0, 1)] })
    };
    let (once, _) = woken(|file, at| (at == 0).then(|| say(file)));
    for (what, (often, _)) in
        [("HAVE", woken(|file, _| Some(say(file)))), ("HAVE_MORE", woken(|file, _| Some(more(file))))]
    {
        println!("{what}: woken {often} times, {once} if it is said once");
        assert!(often <= once + 16, "{what}: woken {often} times, {once} if it is said once");
    }
}
