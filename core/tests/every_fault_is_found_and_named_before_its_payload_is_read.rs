//! One conversation per way of breaking the protocol; each ends the link with exactly that fault.

mod common;

use common::*;
use std::time::Duration;
use zest_core::link::*;
use zest_core::{InfoHash, PeerId, ReqId};

/// The link must end with this fault, close only once and do nothing afterwards.
#[track_caller]
fn ends(mut us: Driver, why: PeerFault, severity: Severity) {
    assert_eq!(us.fault(), why);
    assert_eq!(why.severity(), severity, "{why}");
    assert!(!why.to_string().is_empty());
    us.take_steps();
    us.take_sent();
    us.receive(&chunk_answer(7, b"more"));
    us.send(Outgoing::KeepAlive);
    us.handle(Event::Timer);
    assert!(us.steps.is_empty() && us.sent.is_empty(), "a closed link does nothing");
    assert_eq!((us.link.poll_timeout(), us.link.outstanding()), (None, 0));
}

#[test]
fn bytes_that_are_no_handshake() {
    let mut us = Driver::new(Role::Accept);
    us.receive(b"GET / HTTP/1.1\r\n");
    assert!(us.sent.is_empty(), "nothing is sent to something else");
    ends(us, PeerFault::NotBitTorrent { at: 0, got: b'G', want: 19 }, Severity::Fatal);
    let mut us = Driver::new(Role::Accept);
    us.receive(b"\x13BitTorrent pro");
    us.receive(b"Tocol");
    let why = PeerFault::NotBitTorrent { at: 15, got: b'T', want: b't' };
    assert_eq!(why.to_string(), "not a BitTorrent handshake: byte 15 is 0x54, not 0x74");
    ends(us, why, Severity::Fatal);
}

#[test]
fn another_swarm_than_dialled() {
    let mut us = Driver::new(Role::Dial { info_hash: SWARM });
    let got = InfoHash([9; 20]);
    us.receive(&handshake(got, THEIR_ID));
    ends(us, PeerFault::WrongInfoHash { got, want: SWARM }, Severity::Strike);
}

#[test]
fn a_connection_to_self_on_either_side() {
    let mut us = Driver::new(Role::Dial { info_hash: SWARM });
    us.receive(&handshake(SWARM, OUR_ID));
    ends(us, PeerFault::SelfConnection, Severity::Strike);
    let mut us = Driver::new(Role::Accept);
    us.receive(&handshake(SWARM, OUR_ID));
    assert_eq!(us.sent, handshake(SWARM, OUR_ID), "the dialling end learns it too");
    ends(us, PeerFault::SelfConnection, Severity::Strike);
}

#[test]
fn a_peer_without_bep_10() {
    let mut us = Driver::new(Role::Accept);
    let mut theirs = handshake(SWARM, THEIR_ID);
    theirs[25] = 0;
    us.receive(&theirs);
    assert_eq!(us.sent, handshake(SWARM, OUR_ID), "it gets the handshake and nothing it cannot read");
    assert_eq!(us.steps[0], Step::Established { peer_id: THEIR_ID, info_hash: SWARM, bep10: false });
    ends(us, PeerFault::NoExtensionProtocol, Severity::Strike);
}

#[test]
fn no_handshake_in_time() {
    let mut us = Driver::new(Role::Accept);
    us.receive(b"\x13Bit");
    assert_eq!(us.next_timer(), Timer::Handshake);
    let limit = Duration::from_secs(10);
    ends(us, PeerFault::HandshakeTimeout { waited: limit, limit }, Severity::Strike);
}

#[test]
fn no_extension_handshake_in_time() {
    let mut us = Driver::new(Role::Dial { info_hash: SWARM });
    us.receive(&handshake(SWARM, THEIR_ID));
    us.receive(&frame(5, &[0xff; 100]));
    assert_eq!(us.next_timer(), Timer::ExtHandshake);
    let limit = Duration::from_secs(20);
    ends(us, PeerFault::ExtHandshakeTimeout { waited: limit, limit }, Severity::Strike);
}

#[test]
fn silence() {
    let mut us = Driver::plain();
    assert_eq!(us.next_timer(), Timer::KeepAlive);
    assert_eq!(us.take_sent(), [0; 4]);
    assert_eq!(us.next_timer(), Timer::Idle);
    let limit = Duration::from_secs(120);
    ends(us, PeerFault::Idle { silent: limit, limit }, Severity::Strike);
}

#[test]
fn frames_that_are_too_long() {
    let cases: [(&[u8], &str, u32, u32); 8] = [
        (&(FRAME_BYTES_MAX + 1).to_be_bytes(), "a frame", FRAME_BYTES_MAX + 1, FRAME_BYTES_MAX),
        (&[0xff; 4], "a frame", u32::MAX, FRAME_BYTES_MAX),
        (&[0, 1, 0, 1, 5], "a message", 65_537, 65_536),
        (&[0, 0, 0x40, 3, 20, 0], "an extension handshake", 16_385, 16_384),
        (&[0, 1, 0, 1, 20, 99], "an unknown extended message", 65_537, 65_536),
        (&[0, 1, 0, 3, 20, 1, 77], "an unknown Xet message", 65_537, 65_536),
        (&[0, 1, 0, 3, 20, 3, 77], "an unknown zest message", 65_537, 65_536),
        (&[0, 0, 0x40, 3, 20, 3, 6], "have", 16_385, 16_384),
    ];
    for (head, what, len, max) in cases {
        let mut us = Driver::with_zest();
        us.receive(head);
        // An unknown Xet message could still be an answer without a type byte.
        if us.steps.is_empty() {
            us.receive(&[0; 40]);
        }
        ends(us, PeerFault::FrameTooLong { what, len, max }, Severity::Fatal);
    }
    let mut us = Driver::plain();
    us.ask_chunk(7, hash(1), 100);
    us.receive(&[&[0, 1, 0, 3, 20, 1, 4, 0, 0, 0, 7][..], &[0; 2000]].concat());
    ends(us, PeerFault::FrameTooLong { what: "an error", len: 65_537, max: 65_536 }, Severity::Fatal);
}

#[test]
fn messages_of_impossible_length() {
    let cases: [(&[u8], &str, u32); 8] = [
        (&[0, 0, 0, 1, 20], "extended message", 0),
        (&[0, 0, 0, 2, 20, 3], "zest message", 0),
        (&[0, 0, 0, 5, 20, 3, 1], "manifest request", 3),
        (&[0, 0, 0, 28, 20, 3, 2], "manifest part", 26),
        (&[0, 0, 0, 5, 20, 3, 3], "manifest none", 3),
        (&[0, 0, 0, 5, 20, 3, 4], "interest", 3),
        (&[0, 0, 0, 5, 20, 3, 8], "slot", 3),
        (&[0, 0, 0, 5, 20, 3, 9], "cancel", 3),
    ];
    for (head, what, len) in cases {
        let mut us = Driver::with_zest();
        us.receive(head);
        ends(us, PeerFault::WrongLength { what, len }, Severity::Fatal);
    }
}

#[test]
fn extension_handshakes_that_are_none_or_never_end() {
    let mut us = Driver::plain();
    us.receive(&ext(0, b"le"));
    ends(us, PeerFault::BadExtHandshake, Severity::Fatal);
    let mut us = Driver::plain();
    for _ in 1..EXT_HANDSHAKES_MAX {
        us.receive(&ext(0, b"de"));
    }
    assert_eq!(us.steps.len(), 15);
    us.receive(&ext(0, b"de"));
    ends(us, PeerFault::TooManyExtHandshakes { count: 17, max: 16 }, Severity::Fatal);
}

#[test]
fn an_answer_to_nothing() {
    let mut us = Driver::plain();
    us.ask_chunk(7, hash(1), 100);
    us.receive(&chunk_answer(8, &[0; 50])[..50]);
    ends(us, PeerFault::Unsolicited { req: 8, len: 59 }, Severity::Strike);
    let mut us = Driver::with_zest();
    us.ask_chunk(7, hash(1), 100);
    us.receive(&manifest_part(7, 1, 0, 1, &[0; 36])[..31]);
    ends(us, PeerFault::Unsolicited { req: 7, len: 61 }, Severity::Strike);
    let mut us = Driver::with_zest();
    us.ask_manifest(7, 0, 1);
    us.receive(&chunk_answer(7, b"x"));
    ends(us, PeerFault::Unsolicited { req: 7, len: 10 }, Severity::Strike);
}

#[test]
fn an_answer_that_comes_twice() {
    let mut us = Driver::plain();
    us.ask_chunk(7, hash(1), 100);
    us.receive(&[chunk_answer(7, b"once"), chunk_answer(7, b"twice")].concat());
    assert_eq!(us.steps[..3], payload_steps(7, PayloadKind::Chunk, b"once"));
    ends(us, PeerFault::Unsolicited { req: 7, len: 14 }, Severity::Strike);
}

#[test]
fn an_answer_longer_than_asked_for() {
    let mut us = Driver::plain();
    us.ask_chunk(7, hash(1), 131_072);
    us.receive(&hex("00040010 14 01 02 00000007 00040005"));
    let why = PeerFault::AnswerTooLong { req: ReqId(7), len: 262_149, max: 131_072 };
    assert_eq!(why.to_string(), "peer sent 262149-byte answer for request 00000007, limit 131072");
    ends(us, why, Severity::Fatal);
    let mut us = Driver::plain();
    us.ask_xorb(7, hash(1), 0, 1, 9);
    us.receive(&range_answer(7, 0, &[0; 10])[..19]);
    ends(us, PeerFault::AnswerTooLong { req: ReqId(7), len: 10, max: 9 }, Severity::Fatal);
    // A late one is held to the same limit.
    let mut us = Driver::plain();
    us.ask_chunk(7, hash(1), 9);
    us.send(Outgoing::Forget { req: ReqId(7) });
    us.receive(&chunk_answer(7, &[0; 10])[..15]);
    ends(us, PeerFault::AnswerTooLong { req: ReqId(7), len: 10, max: 9 }, Severity::Fatal);
}

#[test]
fn an_empty_answer() {
    let mut us = Driver::plain();
    us.ask_chunk(7, hash(1), 100);
    us.receive(&chunk_answer(7, b""));
    ends(us, PeerFault::EmptyAnswer { req: ReqId(7) }, Severity::Strike);
    let mut us = Driver::with_zest();
    us.ask_manifest(7, 0, 1);
    us.receive(&manifest_part(7, 1, 0, 0, b""));
    ends(us, PeerFault::EmptyAnswer { req: ReqId(7) }, Severity::Strike);
}

#[test]
fn length_fields_that_agree_in_no_layout() {
    for (wanted, said) in [("chunk", 4u32), ("xorb", 6)] {
        let mut us = Driver::plain();
        match wanted {
            "chunk" => us.ask_chunk(7, hash(1), 100),
            _ => us.ask_xorb(7, hash(1), 0, 1, 100),
        }
        us.receive(&ext(1, &[&hex("02 00000007")[..], &said.to_be_bytes(), b"hello hello"].concat()));
        let why = PeerFault::AnswerLengthMismatch { req: ReqId(7), len: 20 };
        ends(us, why, Severity::Fatal);
    }
    let mut us = Driver::with_zest();
    us.ask_manifest(7, 0, 9);
    us.receive(&manifest_part(7, 9, 0, 2, &[0; 36]));
    ends(us, PeerFault::AnswerLengthMismatch { req: ReqId(7), len: 61 }, Severity::Fatal);
    let mut us = Driver::with_zest();
    us.ask_manifest(7, 0, u32::MAX);
    us.receive(&manifest_part(7, u32::MAX, 0, u32::MAX, &[0; 36]));
    ends(us, PeerFault::AnswerLengthMismatch { req: ReqId(7), len: 61 }, Severity::Fatal);
}

#[test]
fn a_part_of_a_small_file_that_is_not_what_was_asked() {
    let part = |req: u32, bytes: &[u8]| ext(3, &[&[15][..], &req.to_be_bytes(), bytes].concat());
    let asked = || {
        let mut us = Driver::with_zest();
        let key = PlainKey::git_blob(&[7; 20]);
        us.send(Outgoing::Zest(ZestMessage::PlainRequest { req: 7, key, size: 12, offset: 0, wait: true }));
        us
    };
    // Longer, shorter and empty: no byte of it is read.
    for len in [13, 11, 0] {
        let mut us = asked();
        us.receive(&part(7, &vec![0; len])[..11]);
        let len = 5 + len as u32;
        ends(us, PeerFault::AnswerLengthMismatch { req: ReqId(7), len }, Severity::Fatal);
    }
    let mut us = asked();
    us.receive(&part(8, &[0; 12])[..11]);
    ends(us, PeerFault::Unsolicited { req: 8, len: 17 }, Severity::Strike);
    // Another kind of answer to it is none.
    let mut us = asked();
    us.receive(&chunk_answer(7, b"x"));
    ends(us, PeerFault::Unsolicited { req: 7, len: 10 }, Severity::Strike);
    let mut us = Driver::with_zest();
    us.receive(&ext(3, &[&[14][..], &[0; 45], &[2]].concat()));
    ends(us, PeerFault::BadSlotState { state: 2 }, Severity::Fatal);
}

#[test]
fn a_manifest_part_outside_of_what_was_asked() {
    for (total, first, count) in [(100, 11, 1), (100, 10, 3), (11, 10, 2), (0, 10, 1)] {
        let mut us = Driver::with_zest();
        us.ask_manifest(7, 10, 2);
        us.receive(&manifest_part(7, total, first, count, &vec![0; count as usize * 36]));
        let why = PeerFault::ManifestOutOfRange { req: ReqId(7), first, count, total };
        // Three records are also more than the two that were asked for.
        ends(us, why, Severity::Fatal);
    }
}

#[test]
fn runs_and_slot_states_that_mean_nothing() {
    let mut us = Driver::with_zest();
    us.receive(&ext(3, &[&[6][..], &[1; 32], &[0, 0, 0, 9, 0, 2, 0, 1, 3, 6]].concat()));
    ends(us, PeerFault::BadRuns { index: 1 }, Severity::Fatal);
    let mut us = Driver::with_zest();
    us.receive(&ext(3, &[8, 7, 0, 0]));
    ends(us, PeerFault::BadSlotState { state: 7 }, Severity::Fatal);
}

#[test]
fn chatter_without_end() {
    let mut us = Driver::plain();
    let have = frame(4, &[0; 4]).repeat(1000);
    let per_round = have.len() as u64;
    for _ in 0..CHATTER_BYTES_MAX / per_round {
        us.receive(&have);
    }
    assert!(us.steps.is_empty(), "a known message of no use is not even reported");
    // A new window forgives.
    us.now = us.now + IDLE_LIMIT;
    us.receive(&have);
    assert!(us.steps.is_empty());
    for _ in 0..CHATTER_BYTES_MAX / per_round - 1 {
        us.receive(&have);
    }
    us.receive(&have);
    let bytes = CHATTER_BYTES_MAX / 9 * 9 + 9;
    ends(us, PeerFault::Chatter { bytes, max: CHATTER_BYTES_MAX }, Severity::Strike);
}

#[test]
fn late_answers_without_end() {
    let mut us = Driver::accepted(PeerId(*b"-ZE0200-abcdefghijkl"), ORIGINAL);
    let xorb = 64 << 20;
    for req in 0..3 {
        us.ask_xorb(req, hash(1), 0, 1, xorb);
        us.send(Outgoing::Forget { req: ReqId(req) });
    }
    let head = |req: u32| {
        let mut head = range_answer(req, 0, b"");
        head[..4].copy_from_slice(&(xorb + 15).to_be_bytes());
        head[15..].copy_from_slice(&xorb.to_be_bytes());
        head
    };
    for req in 0..2 {
        us.receive(&head(req));
        assert_eq!(us.link.expect().payload, None, "late bytes belong into no buffer");
        let block = vec![0; 1 << 20];
        for _ in 0..64 {
            us.receive(&block);
        }
    }
    assert!(us.steps.is_empty());
    us.receive(&head(2));
    ends(us, PeerFault::TooLate { bytes: 192 << 20, max: 128 << 20 }, Severity::Strike);
}
