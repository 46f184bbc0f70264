//! Vectors of all layouts of `ut_xet` in the wild, as messages after the extension id.

mod common;

use common::*;
use zest_core::ReqId;
use zest_core::link::*;
use zest_xet::Hash;

const HASH: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn h() -> Hash {
    Hash::from_bytes(hex(HASH).try_into().unwrap())
}

/// What a link that asked for `h()` as request 7 makes of this message.
fn read_after_asking(message: &str) -> Vec<Step> {
    let mut us = Driver::plain();
    us.ask_chunk(7, h(), 100);
    us.receive(&ext(1, &hex(message)));
    us.take_steps()
}

#[test]
fn requests_are_known_by_their_length() {
    let mut us = Driver::plain();
    let i = hex(&format!("01 00000007 {HASH}"));
    let r = hex(&format!("01 00000007 {HASH} 00000003 00000009"));
    let d = hex(&format!("01 {HASH}"));
    us.receive(&[ext(1, &i), ext(2, &i), ext(2, &r), ext(1, &d), ext(200, &r)].concat());
    let chunk = |req, dialect| Step::Message(Message::ChunkRequest { req, hash: h(), dialect });
    let xorb = Step::Message(Message::XorbRequest { req: 7, xorb: h(), start: 3, end: 9 });
    assert_eq!(
        us.take_steps(),
        [chunk(7, Dialect::Chunk), chunk(7, Dialect::Chunk), xorb.clone(), chunk(0, Dialect::Doc), xorb]
    );
    // Any other length, the literal reading without a type byte, and a 37-byte one on a foreign id mean nothing.
    us.receive(&[ext(1, &i[..36]), ext(1, &hex(HASH)), ext(200, &i)].concat());
    assert_eq!(us.take_steps(), vec![Step::Message(Message::Ignored); 3]);
}

#[test]
fn answers_are_read_in_every_layout() {
    let hello = b"hello";
    let i = read_after_asking("02 00000007 00000005 68656c6c6f");
    assert_eq!(i, payload_steps(7, PayloadKind::Chunk, hello));
    let r = read_after_asking("02 00000007 00000003 00000005 68656c6c6f");
    assert_eq!(r, payload_steps(7, PayloadKind::XorbRange { start: 3 }, hello));
    let d = read_after_asking(&format!("02 {HASH} 00000005 68656c6c6f"));
    assert_eq!(d, payload_steps(7, PayloadKind::Chunk, hello));
    let naked = read_after_asking(&format!("{HASH} 00000005 68656c6c6f"));
    assert_eq!(naked, payload_steps(7, PayloadKind::Chunk, hello));
}

#[test]
fn the_crafted_answer_is_read_as_asked_and_can_be_read_again() {
    let crafted = "02 00000007 00000009 00000005 68656c6c6f";
    let steps = read_after_asking(crafted);
    let payload = hex("00000005 68656c6c6f");
    assert_eq!(steps, payload_steps(7, PayloadKind::Chunk, &payload));
    assert_eq!(zest_core::wire::xet::other_reading(&payload), Some(&b"hello"[..]));

    let mut us = Driver::plain();
    us.ask_xorb(7, h(), 9, 10, 100);
    us.receive(&ext(1, &hex(crafted)));
    assert_eq!(us.take_steps(), payload_steps(7, PayloadKind::XorbRange { start: 9 }, b"hello"));
}

#[test]
fn refusals_are_read_in_every_layout() {
    let not_found = [Step::Message(Message::NotFound { req: ReqId(7) })];
    for message in ["03 00000007", &format!("03 00000007 {HASH}"), &format!("03 {HASH}"), HASH] {
        assert_eq!(read_after_asking(message), not_found, "{message}");
    }
    let error = |text: &str| [Step::Message(Message::Error { req: ReqId(7), code: 1, text: text.into() })];
    assert_eq!(read_after_asking("04 00000007 00000001"), error(""));
    assert_eq!(read_after_asking("04 00000007 00000001 626f6f6d"), error("boom"));
    assert_eq!(read_after_asking(&format!("04 {HASH} 00000001 626f6f6d")), error("boom"));
    assert_eq!(read_after_asking(&format!("{HASH} 00000001 626f6f6d")), error(""));
}

#[test]
fn a_refusal_for_something_else_means_nothing() {
    let other = "ff".repeat(32);
    for message in [
        "03 00000008",
        &format!("03 00000007 {other}"),
        &format!("03 {other}"),
        "04 00000008 00000001",
        "03 0000000700",
        "04 00000007",
        "",
    ] {
        assert_eq!(read_after_asking(message), [Step::Message(Message::Ignored)], "{message}");
    }
}

#[test]
fn a_long_error_text_is_cut_and_the_stream_goes_on() {
    let mut us = Driver::plain();
    us.ask_chunk(7, h(), 100);
    us.ask_chunk(8, h(), 100);
    let text = "é\n".repeat(5000);
    us.receive(&ext(1, &[&hex("04 00000007 00000002")[..], text.as_bytes()].concat()));
    us.receive(&chunk_answer(8, b"x"));
    let [Step::Message(Message::Error { req: ReqId(7), code: 2, text }), rest @ ..] = &us.steps[..] else {
        panic!("{:?}", us.steps)
    };
    assert_eq!(*text, "é\u{fffd}".repeat(128));
    assert_eq!(rest, payload_steps(8, PayloadKind::Chunk, b"x"));
}

#[test]
fn we_ask_and_answer_strictly_on_the_remotes_id() {
    let mut us = Driver::plain();
    us.ask_chunk(7, h(), 100);
    assert_eq!(us.take_sent(), ext(3, &hex(&format!("01 00000007 {HASH}"))));
    us.ask_xorb(8, h(), 3, 9, 100);
    assert_eq!(us.take_sent(), ext(3, &hex(&format!("01 00000008 {HASH} 00000003 00000009"))));
    let cases = [
        (Dialect::Chunk, "02 00000007 00000005 68656c6c6f".into(), "03 00000007".into()),
        (Dialect::Range, "02 00000007 00000000 00000005 68656c6c6f".into(), format!("03 00000007 {HASH}")),
        (Dialect::Doc, format!("02 {HASH} 00000005 68656c6c6f"), format!("03 {HASH}")),
    ];
    for (dialect, answer, not_found) in cases {
        let body = us.body(b"hello");
        us.send(Outgoing::Chunk { req: 7, dialect, hash: h(), body, len: 5 });
        assert_eq!(us.take_sent(), ext(3, &hex(&answer)));
        us.send(Outgoing::NotFound { req: 7, hash: h(), dialect });
        assert_eq!(us.take_sent(), ext(3, &hex(&not_found)));
    }
    let long = "é".repeat(200);
    us.send(Outgoing::ErrorReply {
        req: 7,
        hash: h(),
        dialect: Dialect::Doc,
        code: 5,
        text: format!("x{long}"),
    });
    let sent = us.take_sent();
    assert_eq!(sent[..6 + 37], ext(3, &[&hex(&format!("04 {HASH} 00000005"))[..], &[0; 255]].concat())[..43]);
    assert_eq!(sent.len(), 43 + 255, "cut between characters, not past 256 bytes");
}

#[test]
fn a_remote_known_only_as_xet_is_asked_on_that_id() {
    let mut us = Driver::accepted(THEIR_ID, b"d1:md3:xeti5eee");
    us.ask_chunk(7, h(), 100);
    assert_eq!(us.take_sent(), ext(5, &hex(&format!("01 00000007 {HASH}"))));
}

#[test]
fn a_remote_without_the_extension_is_not_asked_but_answered() {
    let mut us = Driver::accepted(THEIR_ID, b"de");
    us.ask_chunk(7, h(), 100);
    us.ask_xorb(8, h(), 0, 1, 100);
    us.ask_manifest(9, 0, 1);
    assert_eq!(
        us.take_steps(),
        [
            Step::Message(Message::NotFound { req: ReqId(7) }),
            Step::Message(Message::NotFound { req: ReqId(8) }),
            Step::Message(Message::Zest(ZestMessage::ManifestNone { req: 9 })),
        ]
    );
    assert_eq!((us.take_sent(), us.link.outstanding()), (vec![], 0));
    us.send(Outgoing::NotFound { req: 1, hash: h(), dialect: Dialect::Chunk });
    assert_eq!(us.take_sent(), ext(1, &hex("03 00000001")));
}

#[test]
fn a_remote_that_asks_in_the_documented_layout_is_asked_in_it() {
    let mut us = Driver::plain();
    us.receive(&ext(1, &hex(&format!("01 {HASH}"))));
    assert_eq!(us.link.dialect(), Dialect::Doc);
    us.ask_chunk(7, h(), 100);
    assert_eq!(us.take_sent(), ext(3, &hex(&format!("01 {HASH}"))));
    assert_eq!(us.link.expect().head, 43);
    us.take_steps();
    us.receive(&ext(1, &hex(&format!("02 {HASH} 00000005 68656c6c6f"))));
    assert_eq!(us.take_steps(), payload_steps(7, PayloadKind::Chunk, b"hello"));

    // A remote with our extension reads every layout, so its requests pin nothing.
    let mut us = Driver::with_zest();
    us.receive(&ext(1, &hex(&format!("01 00000007 {HASH} 00000003 00000009"))));
    assert_eq!(us.link.dialect(), Dialect::Chunk);
}
