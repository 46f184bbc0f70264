//! The recorded conversations of the original zest 0.4.2: its `serve` as our seeder, its `pull` as our leech.

mod common;

use common::*;
use zest_core::link::*;
use zest_core::{InfoHash, PeerId, ReqId};
use zest_xet::Hash;

const FULL: &str = "6371ce0a80f064c8f53404ba89a446f3a289d0cabad0a897e9137fe7b6b68479";
const PARTIAL: &str = "2beedc4a71169ea2583e1b39163043f3243016ebbb22a7990e59256c277b35b6";
const FULL_FILE: &str = "
    00150000001500007a65737420696e7465726f70206368756e6b20300a
    00170000001700007a65737420696e7465726f70206368756e6b206f6e650a
    001e0000001e00007a65737420696e7465726f70206368756e6b206e756d6265722074776f0a";
const PARTIAL_DATA: &str = "
    000f0000000f0000 7061727469616c206368756e6b2033
    000f0000000f0000 7061727469616c206368756e6b2034
    000f0000000f0000 7061727469616c206368756e6b2035";

fn hash_of(text: &str) -> Hash {
    Hash::from_bytes(hex(text).try_into().unwrap())
}

#[test]
fn the_swarm_keys_are_those_of_the_original() {
    let key = |text| format!("{:?}", InfoHash::of_xorb(&hash_of(text)));
    assert_eq!(key(FULL), "a4576467674ee5bec27c791f1f4cc54471440480");
    assert_eq!(key(PARTIAL), "4279d8b8ffe2df74d790e446eefc75cebf20ce1c");
}

#[test]
fn we_fetch_from_its_serve() {
    let info_hash = InfoHash::of_xorb(&hash_of(FULL));
    let mut us = Driver::new(Role::Dial { info_hash });
    let ours = [
        &hex("13426974546f7272656e742070726f746f636f6c 0000000000100000
                      a4576467674ee5bec27c791f1f4cc54471440480")[..],
        &OUR_ID.0,
    ]
    .concat();
    assert_eq!(us.take_sent(), ours, "only the handshake goes before its answer");

    us.receive(&hex("13426974546f7272656e742070726f746f636f6c 0000000000100000
                     a4576467674ee5bec27c791f1f4cc54471440480
                     2d5a45303230302d 1bb3422b355f532731f68d0b"));
    // Extension handshake first and no keep-alive, or it gives up; then unchoke and interested.
    let dict = format!(
        "d1:md6:ut_pexi4e6:ut_xeti1e3:xeti2e4:zesti3ee1:pi6881e4:reqqi512e1:v10:zest/{}e",
        env!("CARGO_PKG_VERSION")
    );
    let sent = [ext(0, dict.as_bytes()), hex("00000001 01  00000001 02")].concat();
    assert_eq!(us.take_sent(), sent);
    let peer_id = PeerId(*b"-ZE0200-\x1b\xb3\x42\x2b\x35\x5f\x53\x27\x31\xf6\x8d\x0b");
    assert_eq!(us.take_steps(), [Step::Established { peer_id, info_hash, bep10: true }]);

    us.receive(&hex("0000002a 14 00
        64313a6d64363a75745f78657469316565313a70693638383165313a76383a7a6573742f302e3365
        00000001 01 00000001 02"));
    let expected = ExtHandshake {
        client: "zest/0.3".into(),
        listen_port: Some(6881),
        reqq: None,
        hub: None,
        plain: false,
        ..ExtHandshake::empty(Dialect::Range)
    }
    .with(Extension::UtXet, Some(1));
    assert_eq!(us.take_steps(), [Step::Message(Message::ExtHandshake(expected))]);

    // Full xorb, any range: the whole xorb comes, offset 0.
    let (full, partial) = (hash_of(FULL), hash_of(PARTIAL));
    us.ask_xorb(1, full, 0, 3, 64 << 20);
    us.ask_xorb(2, full, 1, 2, 64 << 20);
    us.ask_xorb(4, partial, 3, 6, 64 << 20);
    us.ask_xorb(5, partial, 4, 5, 64 << 20);
    let requests = [
        hex(&format!("0000002f 14 01 01 00000001 {FULL} 00000000 00000003")),
        hex(&format!("0000002f 14 01 01 00000002 {FULL} 00000001 00000002")),
        hex(&format!("0000002f 14 01 01 00000004 {PARTIAL} 00000003 00000006")),
        hex(&format!("0000002f 14 01 01 00000005 {PARTIAL} 00000004 00000005")),
    ];
    assert_eq!(us.take_sent(), requests.concat());
    assert_eq!(us.link.expect(), Expect { payload: None, head: 19 });

    us.receive(&hex(&format!("00000071 14 01 02 00000001 00000000 00000062 {FULL_FILE}")));
    assert_eq!(us.take_steps(), payload_steps(1, PayloadKind::XorbRange { start: 0 }, &hex(FULL_FILE)));
    us.receive(&hex(&format!("00000071 14 01 02 00000002 00000000 00000062 {FULL_FILE}")));
    assert_eq!(us.take_steps(), payload_steps(2, PayloadKind::XorbRange { start: 0 }, &hex(FULL_FILE)));
    us.receive(&hex(&format!("00000054 14 01 02 00000004 00000003 00000045 {PARTIAL_DATA}")));
    assert_eq!(us.take_steps(), payload_steps(4, PayloadKind::XorbRange { start: 3 }, &hex(PARTIAL_DATA)));
    us.receive(&hex(&format!("00000027 14 01 03 00000005 {PARTIAL}")));
    assert_eq!(us.take_steps(), [Step::Message(Message::NotFound { req: ReqId(5) })]);
    assert_eq!(us.link.outstanding(), 0);

    // Its chunk cache answers with a bare chunk in the same layout.
    let cached = "960feb440db21f08ae0e36f30976bcd387432927bb00e494e893dfdde1930dc0";
    us.ask_xorb(7, hash_of(cached), 0, 1, 64 << 20);
    us.receive(&hex("00000020 14 01 02 00000007 00000000 00000011 6368756e6b2d6361636865206368756e6b"));
    assert_eq!(us.take_steps(), payload_steps(7, PayloadKind::XorbRange { start: 0 }, b"chunk-cache chunk"));
    assert_eq!(us.link.dialect(), Dialect::Range);
}

#[test]
fn its_pull_is_served_by_us() {
    let mut us = Driver::new(Role::Accept);
    assert!(us.sent.is_empty(), "the dialling side speaks first");
    let info_hash = InfoHash([0xab; 20]);
    let its_id = PeerId(*b"-ZE0200-abcdefghijkl");
    us.receive(&handshake(info_hash, its_id));
    let sent = us.take_sent();
    assert_eq!(sent[..68], handshake(info_hash, OUR_ID), "any info-hash is echoed");
    assert_eq!(sent[72..74], [20, 0], "the extension handshake is our first message");
    assert_eq!(sent[sent.len() - 10..], hex("00000001 01 00000001 02"));

    us.receive(&[ext(0, ORIGINAL), hex("00000001 01 00000001 02")].concat());
    us.take_steps();
    // It asks on the id it was offered; some other id than ours is taken as well.
    let xorb = "033358cb4295db73ce03b87b8d78e3929d1512aa8219206e43df37734019e345";
    us.receive(&hex(&format!("0000002f 14 01 01 00000001 {xorb} 00000004 00000008")));
    us.receive(&hex(&format!("0000002f 14 09 01 00000002 {xorb} 00000008 0000000c")));
    let asked =
        |req, start, end| Step::Message(Message::XorbRequest { req, xorb: hash_of(xorb), start, end });
    assert_eq!(us.take_steps(), [asked(1, 4, 8), asked(2, 8, 12)]);

    // Headers made by us and bytes that were serialised before give the same frame.
    let xorb_hash = hash_of(xorb);
    let data = hex(PARTIAL_DATA);
    let parts: Vec<([u8; 8], Body)> = data
        .chunks(23)
        .map(|chunk| {
            let (header, packed) = chunk.split_first_chunk::<8>().unwrap();
            (*header, us.body(packed))
        })
        .collect();
    us.send(Outgoing::XorbRange { req: 1, xorb: xorb_hash, start: 4, parts });
    let answer = hex(&format!("00000054 14 01 02 00000001 00000004 00000045 {PARTIAL_DATA}"));
    assert_eq!(us.take_sent(), answer);
    let body = us.body(&data);
    us.send(Outgoing::XorbBytes { req: 1, xorb: xorb_hash, start: 4, body, len: 69 });
    assert_eq!(us.take_sent(), answer);

    us.send(Outgoing::NotFound { req: 2, hash: xorb_hash, dialect: Dialect::Range });
    assert_eq!(us.take_sent(), hex(&format!("00000027 14 01 03 00000002 {xorb}")));
    let text = "gone".into();
    us.send(Outgoing::ErrorReply { req: 2, hash: xorb_hash, dialect: Dialect::Range, code: 1, text });
    assert_eq!(us.take_sent(), hex("0000000f 14 01 04 00000002 00000001 676f6e65"));
    // Nothing but types 1 to 4 ever goes to it: other bytes kill it.
    us.send(Outgoing::Zest(ZestMessage::Slot { open: true, wait_ms: 0 }));
    us.send(Outgoing::Zest(ZestMessage::Interest { file: xorb_hash }));
    us.send(Outgoing::Zest(ZestMessage::Have { file: xorb_hash, total: 1, runs: vec![(0, 1)] }));
    assert!(us.take_sent().is_empty());
}

#[test]
fn an_answer_longer_than_it_takes_becomes_a_not_found() {
    let mut us = Driver::accepted(PeerId(*b"-ZE0200-abcdefghijkl"), ORIGINAL);
    let body = Body::Buf { id: zest_core::BufId(0), offset: 0, len: 67_109_874 };
    let not_found = [&hex("00000027 14 01 03 00000001")[..], &[7; 32]].concat();
    us.send(Outgoing::XorbBytes { req: 1, xorb: hash(7), start: 0, body, len: 67_109_874 });
    assert_eq!(us.take_sent(), not_found);
    us.send(Outgoing::XorbRange { req: 1, xorb: hash(7), start: 0, parts: vec![([0; 8], body)] });
    assert_eq!(us.take_sent(), not_found);
    us.send(Outgoing::XorbRange { req: 1, xorb: hash(7), start: 0, parts: vec![] });
    assert_eq!(us.take_sent(), not_found);
}

#[test]
fn its_constant_answer_id_is_taken_whatever_was_negotiated() {
    for id in [1, 2, 7, 255] {
        let mut us = Driver::accepted(PeerId(*b"-ZE0200-abcdefghijkl"), ORIGINAL);
        us.ask_xorb(1, hash(7), 0, 1, 100);
        let mut answer = range_answer(1, 0, b"data");
        answer[5] = id;
        us.receive(&answer);
        assert_eq!(us.steps, payload_steps(1, PayloadKind::XorbRange { start: 0 }, b"data"), "id {id}");
    }
}
