//! The four deadlines of a link.

mod common;

use common::*;
use std::time::Duration;
use zest_core::Instant;
use zest_core::link::*;

const START: Instant = Instant(1_000_000);

fn due_in(us: &Driver) -> (Duration, Timer) {
    let (due, what) = us.link.poll_timeout().unwrap();
    (due - START, what)
}

#[test]
fn each_stage_has_its_deadline() {
    let mut us = Driver::new(Role::Accept);
    assert_eq!(due_in(&us), (Duration::from_secs(10), Timer::Handshake));
    us.receive(&handshake(SWARM, THEIR_ID));
    assert_eq!(due_in(&us), (Duration::from_secs(20), Timer::ExtHandshake));
    us.receive(&ext(0, PLAIN));
    assert_eq!(due_in(&us), (Duration::from_secs(90), Timer::KeepAlive));
    us.handle(Event::Closed);
    assert_eq!(us.link.poll_timeout(), None);
    assert!(!us.steps.iter().any(|step| matches!(step, Step::Close(_))), "nobody is to blame");
}

#[test]
fn an_early_timer_does_nothing() {
    let mut us = Driver::new(Role::Accept);
    us.handle(Event::Timer);
    assert!(us.steps.is_empty());
    let mut us = Driver::plain();
    us.now = START + Duration::from_secs(89);
    us.handle(Event::Timer);
    assert!(us.steps.is_empty() && us.sent.is_empty());
}

#[test]
fn whoever_sends_needs_no_keep_alive_and_whoever_hears_stays() {
    let mut us = Driver::plain();
    for round in 1..100 {
        us.now = START + Duration::from_secs(60 * round);
        us.receive(&[0; 4]);
        us.send(Outgoing::NotFound { req: 1, hash: hash(1), dialect: Dialect::Chunk });
        us.take_sent();
        us.handle(Event::Timer);
        assert!(us.sent.is_empty() && us.steps.is_empty());
    }
    // Payload that is read directly is a sign of life as well.
    us.ask_chunk(1, hash(1), 1000);
    us.take_sent();
    us.receive(&chunk_answer(1, &[0; 1000])[..15]);
    for _ in 0..9 {
        us.now = us.now + Duration::from_secs(80);
        us.read_directly(&[0; 100]);
        us.handle(Event::Timer);
    }
    assert!(us.steps.iter().all(|step| !matches!(step, Step::Close(_))));
    assert!(us.sent.len() >= 16 && us.sent.iter().all(|&byte| byte == 0), "keep-alives went out meanwhile");
}

#[test]
fn a_very_late_timer_finds_both_deadlines() {
    let mut us = Driver::plain();
    us.now = START + Duration::from_secs(500);
    us.handle(Event::Timer);
    assert_eq!(us.sent, [0; 4]);
    assert_eq!(
        us.steps,
        [Step::Close(PeerFault::Idle { silent: Duration::from_secs(500), limit: IDLE_LIMIT })]
    );
}

#[test]
fn the_first_message_is_never_a_keep_alive() {
    let mut us = Driver::new(Role::Dial { info_hash: SWARM });
    us.take_sent();
    us.send(Outgoing::KeepAlive);
    assert!(us.sent.is_empty());
}
