//! Garbage, deep bencode, floods and unknown types: the link stays small and the stream stays in step.

mod common;

use common::*;
use zest_core::ReqId;
use zest_core::link::*;

#[test]
fn deep_bencode_is_refused_without_recursion() {
    let mut us = Driver::new(Role::Accept);
    us.receive(&handshake(SWARM, THEIR_ID));
    // Deep behind the keys that matter: those still count.
    us.receive(&ext(0, &[&b"d1:md6:ut_xeti3ee1:z"[..], &b"l".repeat(16_000)].concat()));
    let Some(Step::Message(Message::ExtHandshake(seen))) = us.steps.last() else { panic!("{:?}", us.steps) };
    assert_eq!(seen.id(Extension::UtXet), Some(3));
    assert!(us.link.memory_bytes() < 8 << 10);
}

#[test]
fn unknown_messages_are_stepped_over() {
    let mut us = Driver::with_zest();
    us.ask_chunk(1, hash(1), 100);
    let known = [vec![0; 4], frame(0, b""), frame(5, &[0xff; 300]), frame(9, &[0, 0])].concat();
    us.receive(&known);
    assert!(us.steps.is_empty());
    let unknown = [
        frame(13, b""),
        frame(21, &[1; 3000]),
        frame(255, b"x"),
        ext(5, b"pex"),
        ext(255, b""),
        ext(1, &[40; 500]),
        ext(2, &[0; 31]),
        ext(3, &[99; 500]),
    ];
    for message in &unknown {
        us.receive(message);
        assert_eq!(us.take_steps(), [Step::Message(Message::Ignored)]);
    }
    us.receive(&chunk_answer(1, b"still in step"));
    assert_eq!(us.take_steps(), payload_steps(1, PayloadKind::Chunk, b"still in step"));
}

#[test]
fn an_idle_link_is_small_again_after_work() {
    let mut us = Driver::with_zest();
    assert!(us.link.memory_bytes() < 2 << 10, "{}", us.link.memory_bytes());
    for req in 0..OUTSTANDING_MAX as u32 {
        us.ask_chunk(req, hash(1), 100);
    }
    for req in 0..OUTSTANDING_MAX as u32 {
        us.send(Outgoing::Forget { req: ReqId(req) });
    }
    let requests = ext(1, &[1; 37]).repeat(3000);
    us.receive(&requests);
    assert_eq!(us.take_steps().len(), 3000);
    // A large message that comes in pieces.
    let runs: Vec<u8> = [1, 1].repeat(8000);
    let have = [&[6][..], &[1; 32], &u32::MAX.to_be_bytes(), &8000u16.to_be_bytes(), &runs].concat();
    let have = ext(3, &have);
    us.receive(&have[..16_000]);
    assert!(us.link.memory_bytes() > 16_000);
    us.receive(&have[16_000..]);
    assert!(
        matches!(&us.take_steps()[..], [Step::Message(Message::Zest(ZestMessage::Have { runs, .. }))] if runs.len() == 8000)
    );
    for req in 0..OUTSTANDING_MAX as u32 {
        us.receive(&ext(1, &[&[3][..], &req.to_be_bytes()].concat()));
    }
    assert_eq!(us.next_timer(), Timer::KeepAlive);
    assert!(us.link.memory_bytes() < 8 << 10, "{}", us.link.memory_bytes());
}

#[test]
fn a_stream_of_requests_needs_no_more_room_than_its_first_slice() {
    let mut us = Driver::plain();
    let requests = ext(1, &[1; 37]).repeat(100);
    us.receive(&requests);
    let room = us.link.memory_bytes();
    for _ in 0..100 {
        us.receive(&requests);
        us.take_steps();
        assert_eq!(us.link.memory_bytes(), room);
    }
}

#[test]
fn room_for_a_flood_of_tiny_frames_goes_back_at_once() {
    let mut us = Driver::plain();
    us.receive(&ext(5, b"").repeat(100_000));
    assert_eq!(us.take_steps().len(), 100_000);
    assert!(us.link.memory_bytes() < 128 << 10, "{}", us.link.memory_bytes());
}

#[test]
fn who_says_much_at_once_leaves_a_small_link() {
    let mut us = Driver::with_zest();
    // As many files as fit into what is read at once, and our answer to each.
    us.receive(&ext(3, &[&[4][..], &[1; 32]].concat()).repeat(420));
    assert_eq!(us.take_steps().len(), 420);
    for _ in 0..420 {
        us.send(Outgoing::Zest(ZestMessage::Have { file: hash(1), total: 0, runs: vec![] }));
    }
    assert!(us.link.memory_bytes() < 8 << 10, "{}", us.link.memory_bytes());
}

#[test]
fn a_cut_head_is_all_that_is_ever_kept() {
    let mut us = Driver::plain();
    us.ask_chunk(1, hash(1), 131_072);
    let room = us.link.memory_bytes();
    let answer = chunk_answer(1, &vec![7; 131_072]);
    for byte in &answer[..15] {
        us.receive(&[*byte]);
    }
    for piece in answer[15..].chunks(999) {
        us.receive(piece);
    }
    assert_eq!(us.take_steps().len(), 3);
    assert!(us.link.memory_bytes() <= room + 1024);
}
