//! Requests given up, cancelled or asked again on one link.

mod common;

use common::*;
use zest_core::ReqId;
use zest_core::link::*;

#[test]
fn a_late_chunk_and_a_late_refusal_are_swallowed() {
    let mut us = Driver::plain();
    for req in [1, 2, 3, 4] {
        us.ask_chunk(req, hash(1), 100);
    }
    us.send(Outgoing::Forget { req: ReqId(1) });
    us.send(Outgoing::Forget { req: ReqId(2) });
    us.send(Outgoing::Forget { req: ReqId(9) });
    assert_eq!(us.link.outstanding(), 2);
    us.receive(&chunk_answer(1, b"late")[..17]);
    us.receive(&chunk_answer(1, b"late")[17..]);
    us.receive(&ext(1, &hex("03 00000002")));
    us.receive(&chunk_answer(3, b"in time"));
    assert_eq!(us.take_steps(), payload_steps(3, PayloadKind::Chunk, b"in time"));
    assert_eq!(us.link.outstanding(), 1);
    // Once is enough.
    us.receive(&chunk_answer(1, b"late"));
    assert!(matches!(us.fault(), PeerFault::Unsolicited { req: 1, len: 13 }));
}

#[test]
fn a_request_forgotten_while_its_payload_comes_is_still_delivered() {
    let mut us = Driver::plain();
    us.ask_chunk(1, hash(1), 100);
    let answer = chunk_answer(1, b"on its way");
    us.receive(&answer[..18]);
    us.send(Outgoing::Forget { req: ReqId(1) });
    assert_eq!(us.link.expect().payload, Some((ReqId(1), 7)));
    us.receive(&answer[18..]);
    assert_eq!(us.take_steps(), payload_steps(1, PayloadKind::Chunk, b"on its way"));
}

#[test]
fn a_cancel_is_told_to_those_who_understand_it() {
    let mut us = Driver::with_zest();
    us.ask_chunk(1, hash(1), 100);
    us.take_sent();
    us.send(Outgoing::Zest(ZestMessage::Cancel { req: 1 }));
    assert_eq!(us.take_sent(), ext(9, &hex("09 00000001")));
    us.send(Outgoing::Zest(ZestMessage::Cancel { req: 1 }));
    assert!(us.take_sent().is_empty(), "it is outstanding no more");
    us.receive(&chunk_answer(1, b"too late"));
    assert!(us.steps.is_empty());

    let mut us = Driver::plain();
    us.ask_chunk(1, hash(1), 100);
    us.take_sent();
    us.send(Outgoing::Zest(ZestMessage::Cancel { req: 1 }));
    assert_eq!((us.take_sent(), us.link.outstanding()), (vec![], 0));
}

#[test]
fn answers_may_come_in_any_order() {
    let mut us = Driver::plain();
    let mut expected = vec![];
    let mut stream = vec![];
    for req in 0..OUTSTANDING_MAX as u32 {
        us.ask_chunk(req, hash(1), 100);
    }
    for req in (0..OUTSTANDING_MAX as u32).rev() {
        let payload = vec![req as u8; 1 + req as usize % 50];
        stream.extend(chunk_answer(req, &payload));
        expected.extend(payload_steps(req, PayloadKind::Chunk, &payload));
    }
    us.receive(&stream);
    assert_eq!(us.take_steps(), expected);
}

#[test]
#[should_panic(expected = "at most 512 requests on one link")]
fn more_requests_than_the_limit_are_our_bug() {
    let mut us = Driver::plain();
    for req in 0..=OUTSTANDING_MAX as u32 {
        us.link.handle(
            us.now,
            Event::Send(Outgoing::ChunkRequest { req: ReqId(req), hash: hash(1), len_max: 1 }),
        );
    }
}

#[test]
#[should_panic(expected = "is outstanding already")]
fn a_request_id_used_twice_is_our_bug() {
    let mut us = Driver::plain();
    us.ask_chunk(1, hash(1), 100);
    us.ask_chunk(1, hash(2), 100);
}

/// What `us` foresees: bytes of the head and of the payload at most.
fn foreseen(us: &Driver) -> Vec<(u32, u32)> {
    us.link.expect_chunks().collect()
}

#[test]
fn chunks_are_foreseen_in_the_order_in_which_they_were_asked_for() {
    let mut us = Driver::with_zest();
    for (req, len) in [(1, 100), (2, 200), (3, 300), (4, 400)] {
        us.ask_chunk(req, hash(req as u8), len);
    }
    assert_eq!(foreseen(&us), [(15, 100), (15, 200), (15, 300), (15, 400)]);
    us.send(Outgoing::Forget { req: ReqId(2) });
    us.send(Outgoing::Zest(ZestMessage::Cancel { req: 3 }));
    assert_eq!(foreseen(&us), [(15, 100), (15, 400)], "nothing comes of what was given up");
    // Of the first head a part is there; the payload that has begun is no longer ahead.
    let answer = chunk_answer(1, b"seven b");
    us.receive(&answer[..9]);
    assert_eq!(foreseen(&us), [(6, 100), (15, 400)]);
    us.receive(&answer[9..18]);
    assert_eq!((us.link.expect().payload, foreseen(&us)), (Some((ReqId(1), 4)), vec![(15, 400)]));
    us.receive(&answer[18..]);
    // What stands behind something else cannot be foreseen.
    us.ask_manifest(5, 0, 1);
    us.ask_chunk(6, hash(6), 600);
    assert_eq!(foreseen(&us), [(15, 400)]);
    us.receive(&ext(1, &hex("03 00000004")));
    assert_eq!(foreseen(&us), []);
    us.receive(&ext(3, &hex("03 00000005")));
    assert_eq!(foreseen(&us), [(15, 600)]);

    let mut us = Driver::plain();
    us.ask_xorb(1, hash(1), 0, 3, 1000);
    assert_eq!(foreseen(&us), [], "a xorb range is handed on as it comes");
}

#[test]
fn a_send_says_which_chunk_it_carries_and_counts_until_it_is_polled() {
    let mut us = Driver::plain();
    let body = us.body(b"seven b");
    let dialect = Dialect::Chunk;
    let answer = Outgoing::Chunk { req: 1, dialect, hash: hash(7), body, len: 7 };
    us.link.handle(us.now, Event::Send(answer));
    us.link.handle(us.now, Event::Send(Outgoing::NotFound { req: 2, hash: hash(8), dialect }));
    let parts = vec![([0; 8], body), ([0; 8], body)];
    us.link.handle(us.now, Event::Send(Outgoing::XorbRange { req: 3, xorb: hash(9), start: 0, parts }));
    let mut chunks = Vec::new();
    for left in (0..4).rev() {
        let Some(Action::Transmit { chunk, .. }) = us.link.poll_action() else { panic!("four sends") };
        assert_eq!(us.link.unsent(), left);
        chunks.push(chunk);
    }
    assert_eq!(chunks, [Some(hash(7)), None, None, None]);
}
