//! Who has dialled us a moment ago may want what we have just fetched, once the Hub has told it what there is: a pull that ends does not leave
//! it to the Hub. That is a moment, and for who comes to us: nobody stays for a server that it dialled itself.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::link::{Message, ZestMessage};

/// A peer that has nothing and says nothing.
fn silent() -> Script {
    Script { has: Some((Some(0), vec![])), ..Script::fast() }
}

#[test]
fn whoever_comes_has_half_a_second_to_say_what_it_fetches() {
    let mut world = World::new();
    assert!(!world.node.has_newcomer(world.now));
    world.visitor(1, silent());
    world.run(ms(20), |_| false);
    assert!(world.node.has_newcomer(world.now));
    assert!(!world.node.has_newcomer(world.now + Duration::from_secs(1)), "a moment, not for ever");
}

#[test]
fn who_says_what_it_fetches_is_no_newcomer_any_more() {
    let mut world = World::new();
    let link = world.visitor(1, silent());
    world.run(ms(20), |_| false);
    let file = File::new(1, 10).hash();
    world.says(link, Message::Zest(ZestMessage::Interest { file }));
    world.run(ms(20), |_| false);
    assert!(!world.node.has_newcomer(world.now));
    assert!(world.node.is_wanted(&[file].into()), "it counts for the file that it wants");
}

#[test]
fn nobody_stays_for_whom_it_dialled_itself_or_who_does_not_speak_our_language() {
    let mut world = World::new();
    world.peer(1, silent());
    world.visitor(2, Script::plain());
    world.run(ms(20), |_| false);
    assert!(!world.remotes.is_empty() && !world.node.has_newcomer(world.now));
}
