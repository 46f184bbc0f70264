//! `docs/protocol.md` is true: its hex is what we write and what we read, its limits are those of the code.

mod common;

use common::*;
use zest_core::link::*;
use zest_core::tracker::{Announce, AnnounceEvent, TrackerUrl, udp};
use zest_core::wire::client_name::CLIENT_BYTES_MAX;
use zest_core::wire::ext_handshake::{self, CLIENT, EXT_HANDSHAKE_BYTES_MAX};
use zest_core::wire::handshake::{HANDSHAKE_BYTES, Handshake};
use zest_core::wire::pex::{FLAG_REACHABLE, PEX_BYTES_MAX, PEX_PEERS_MAX, PEX_READ_MAX};
use zest_core::wire::xet::{self, ERROR_TEXT_BYTES_MAX, RANGE_DATA_BYTES_MAX};
use zest_core::wire::zest::{
    AVAILABILITY_BYTES_MAX, CLAIMS_MAX, MANIFEST_PART_RECORDS_MAX, MANIFEST_RECORD_BYTES, PLAIN_BYTES_MAX,
    PLAIN_PART_BYTES, TOLD_RECORDS_MAX,
};
use zest_core::{
    Duration, FileKey, InfoHash, PeerId, ReqId, bencode, discovery, lsd, node, pex, tracker, wire,
};
use zest_xet::{ChunkRef, Hash, Manifest, XorbChunks, chunk_hash, file_hash};

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

const CONTENT: &[u8] = b"Hello World!";
const CHUNK: &str = "a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8";
const FILE: &str = "bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b";
const XORB: &str = "2beedc4a71169ea2583e1b39163043f3243016ebbb22a7990e59256c277b35b6";
/// The extension handshake of a peer with our own ids, so that vectors need no translation.
const LIKE_US: &[u8] = b"d1:md6:ut_pexi4e6:ut_xeti1e3:xeti2e4:zesti3eee";

/// The bytes of a vector that must stand in the document as it stands here.
#[track_caller]
fn vector(text: &str) -> Vec<u8> {
    assert!(DOCUMENT.contains(text), "the document lacks {text}");
    hex(text)
}

fn hash_of(text: &str) -> Hash {
    Hash::from_bytes(hex(text).try_into().expect("32 bytes"))
}

fn us() -> Driver {
    Driver::accepted(THEIR_ID, LIKE_US)
}

/// We write `outgoing` as the vector, and read the vector as `message`.
#[track_caller]
fn holds(outgoing: Outgoing, text: &str, message: Message) {
    let bytes = vector(text);
    let mut writer = us();
    writer.send(outgoing);
    assert_eq!(writer.take_sent(), bytes, "written");
    let mut reader = us();
    reader.receive(&bytes);
    assert_eq!(reader.take_steps(), [Step::Message(message)], "read");
}

/// We write `outgoing` as the vector; `asker`, who has asked, reads it as `steps` and waits for nothing more.
#[track_caller]
fn answers(mut asker: Driver, answer: impl FnOnce(&mut Driver) -> Outgoing, text: &str, steps: &[Step]) {
    let bytes = vector(text);
    let mut writer = us();
    let outgoing = answer(&mut writer);
    writer.send(outgoing);
    assert_eq!(writer.take_sent(), bytes, "written");
    asker.receive(&bytes);
    assert_eq!(asker.take_steps(), steps, "read");
    assert_eq!(asker.link.outstanding(), 0, "answered");
}

fn asked_for_a_chunk() -> Driver {
    let mut us = us();
    us.ask_chunk(7, hash_of(CHUNK), 12);
    us
}

fn asked_for_a_range() -> Driver {
    let mut us = us();
    us.ask_xorb(4, hash_of(XORB), 3, 6, 1 << 20);
    us
}

fn not_found(req: u32) -> [Step; 1] {
    [Step::Message(Message::NotFound { req: ReqId(req) })]
}

#[test]
fn the_names_of_the_example_file() {
    let chunk = chunk_hash(CONTENT);
    let file = file_hash(&[ChunkRef { hash: chunk, len: 12 }]);
    assert_eq!((chunk, file), (hash_of(CHUNK), hash_of(FILE)));
    for (hash, raw) in [(chunk, CHUNK), (file, FILE)] {
        let row = format!("| `{hash}` | `{raw}` |");
        assert!(DOCUMENT.contains(&row), "the document lacks {row}");
    }
}

#[test]
fn info_hashes() {
    let xorb = "6371ce0a80f064c8f53404ba89a446f3a289d0cabad0a897e9137fe7b6b68479";
    assert_eq!(hash_of(xorb).as_bytes()[..], vector(xorb));
    let key = vector("a4576467674ee5bec27c791f1f4cc54471440480");
    assert_eq!(InfoHash::of_xorb(&hash_of(xorb)).0[..], key);
    let key = vector("882fa46e705d2fe80f6b5f18c701656f3dbbcdd1");
    assert_eq!(InfoHash::of_file(&hash_of(FILE)).0[..], key);
}

#[test]
fn handshakes() {
    let bytes = vector(
        "13 426974546f7272656e742070726f746f636f6c 0000000000100000 882fa46e705d2fe80f6b5f18c701656f3dbbcdd1 2d5a54303530302d6162636465666768696a6b6c",
    );
    let ours = Handshake::ours(InfoHash::of_file(&hash_of(FILE)), PeerId(*b"-ZT0500-abcdefghijkl"));
    assert_eq!(ours.encode()[..], bytes);
    assert_eq!(Handshake::parse(bytes[..].try_into().unwrap()), Ok(ours));

    // All but the version, which changes with every release.
    let dict = "d1:md6:ut_pexi4e6:ut_xeti1e3:xeti2e4:zesti3ee1:pi6881e4:reqqi512e1:v";
    assert!(DOCUMENT.contains(dict));
    let whole = format!("{dict}{}:{CLIENT}e", CLIENT.len());
    assert_eq!(ext_handshake::ours(6881, 512), whole.as_bytes());
    let hub = hub_key("http://hub.example");
    assert_eq!(
        hub.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "1b0b3b5953d570113aef77bff73cdda15353202a"
    );

    let mut us = Driver::new(Role::Accept);
    us.receive(&handshake(SWARM, THEIR_ID));
    let expected =
        [handshake(SWARM, OUR_ID), ext(0, whole.as_bytes()), vector("00000001 01 00000001 02")].concat();
    assert_eq!(us.take_sent(), expected, "order of first messages");
}

#[test]
fn chunk_dialect() {
    let (hash, dialect) = (hash_of(CHUNK), Dialect::Chunk);
    holds(
        Outgoing::ChunkRequest { req: ReqId(7), hash, len_max: 12 },
        "00000027 14 01 01 00000007 a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8",
        Message::ChunkRequest { req: 7, hash, dialect },
    );
    answers(
        asked_for_a_chunk(),
        |us| Outgoing::Chunk { req: 7, dialect, hash, body: us.body(CONTENT), len: 12 },
        "00000017 14 01 02 00000007 0000000c 48656c6c6f20576f726c6421",
        &payload_steps(7, PayloadKind::Chunk, CONTENT),
    );
    answers(
        asked_for_a_chunk(),
        |_| Outgoing::NotFound { req: 7, hash, dialect },
        "00000007 14 01 03 00000007",
        &not_found(7),
    );
    answers(
        asked_for_a_chunk(),
        |_| Outgoing::ErrorReply { req: 7, hash, dialect, code: 1, text: "gone".into() },
        "0000000f 14 01 04 00000007 00000001 676f6e65",
        &[Step::Message(Message::Error { req: ReqId(7), code: 1, text: "gone".into() })],
    );
}

#[test]
fn range_dialect() {
    let (xorb, dialect) = (hash_of(XORB), Dialect::Range);
    holds(
        Outgoing::XorbRequest { req: ReqId(4), xorb, start: 3, end: 6, len_max: 1 << 20 },
        "0000002f 14 01 01 00000004 2beedc4a71169ea2583e1b39163043f3243016ebbb22a7990e59256c277b35b6 00000003 00000006",
        Message::XorbRequest { req: 4, xorb, start: 3, end: 6 },
    );
    let text = "00000054 14 01 02 00000004 00000003 00000045 000f0000000f0000 7061727469616c206368756e6b2033 000f0000000f0000 7061727469616c206368756e6b2034 000f0000000f0000 7061727469616c206368756e6b2035";
    let data = hex(text)[19..].to_vec();
    let chunks: Vec<&[u8]> = XorbChunks::new(&data).map(|chunk| chunk.expect("a lawful chunk").1).collect();
    assert_eq!(chunks, [b"partial chunk 3", b"partial chunk 4", b"partial chunk 5"]);
    answers(
        asked_for_a_range(),
        |us| Outgoing::XorbBytes { req: 4, xorb, start: 3, body: us.body(&data), len: 69 },
        text,
        &payload_steps(4, PayloadKind::XorbRange { start: 3 }, &data),
    );
    answers(
        asked_for_a_range(),
        |_| Outgoing::NotFound { req: 4, hash: xorb, dialect },
        "00000027 14 01 03 00000004 2beedc4a71169ea2583e1b39163043f3243016ebbb22a7990e59256c277b35b6",
        &not_found(4),
    );
}

#[test]
fn doc_dialect() {
    let (hash, dialect) = (hash_of(CHUNK), Dialect::Doc);
    let request =
        vector("00000023 14 01 01 a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8");
    assert_eq!(xet::chunk_request(1, dialect, 7, &hash).as_bytes(), request);
    let mut seeder = us();
    seeder.receive(&request);
    assert_eq!(seeder.take_steps(), [Step::Message(Message::ChunkRequest { req: 0, hash, dialect })]);
    answers(
        asked_for_a_chunk(),
        |us| Outgoing::Chunk { req: 0, dialect, hash, body: us.body(CONTENT), len: 12 },
        "00000033 14 01 02 a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8 0000000c 48656c6c6f20576f726c6421",
        &payload_steps(7, PayloadKind::Chunk, CONTENT),
    );
    answers(
        asked_for_a_chunk(),
        |_| Outgoing::NotFound { req: 0, hash, dialect },
        "00000023 14 01 03 a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8",
        &not_found(7),
    );
    answers(
        asked_for_a_chunk(),
        |_| Outgoing::ErrorReply { req: 0, hash, dialect, code: 1, text: "gone".into() },
        "0000002b 14 01 04 a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8 00000001 676f6e65",
        &[Step::Message(Message::Error { req: ReqId(7), code: 1, text: "gone".into() })],
    );
}

#[test]
fn manifest_messages() {
    let file = hash_of(FILE);
    let asked = || {
        let mut us = us();
        us.send(Outgoing::Zest(ZestMessage::ManifestRequest { req: 7, file, first: 0, count: 4096 }));
        us
    };
    let request = "0000002f 14 03 01 00000007 bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b 00000000 00001000";
    assert_eq!(hex(request).len() - 6, 45, "with its type byte");
    holds(
        Outgoing::Zest(ZestMessage::ManifestRequest { req: 7, file, first: 0, count: 4096 }),
        request,
        Message::Zest(ZestMessage::ManifestRequest { req: 7, file, first: 0, count: 4096 }),
    );
    let part = "0000003f 14 03 02 00000007 000000000000000c 00000001 00000000 00000001 a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8 0000000c";
    let records = hex(part)[31..].to_vec();
    let head = ManifestPart { file_size: 12, total: 1, first: 0, count: 1 };
    answers(
        asked(),
        |us| {
            let body = us.body(&records);
            Outgoing::ManifestPart { req: 7, part: head, body }
        },
        part,
        &payload_steps(7, PayloadKind::ManifestPart(head), &records),
    );
    assert_eq!(Manifest::parse(file, 12, &records).expect("it proves").chunk(0).hash, hash_of(CHUNK));
    answers(
        asked(),
        |_| Outgoing::Zest(ZestMessage::ManifestNone { req: 7 }),
        "00000007 14 03 03 00000007",
        &[Step::Message(Message::Zest(ZestMessage::ManifestNone { req: 7 }))],
    );
}

#[test]
fn small_files() {
    let ask = |req, key, size, offset, wait, text: &str| {
        let message = ZestMessage::PlainRequest { req, key, size, offset, wait };
        assert_eq!(hex(text).len() - 6, 47, "with its type byte");
        holds(Outgoing::Zest(message.clone()), text, Message::Zest(message));
    };
    let blob = PlainKey::git_blob(&[7; 20]);
    ask(
        7,
        blob,
        200_000,
        131_072,
        false,
        "00000031 14 03 0e 00000007 01 0707070707070707070707070707070707070707000000000000000000000000 00030d40 00020000 00",
    );
    let request = "00000031 14 03 0e 00000008 02 7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069 0000000c 00000000 01";
    let id: [u8; 32] = hex(request)[12..44].try_into().expect("32 bytes");
    ask(8, PlainKey::sha256(id), 12, 0, true, request);
    let asked = || {
        let (mut us, key) = (us(), PlainKey::sha256(id));
        us.send(Outgoing::Zest(ZestMessage::PlainRequest { req: 8, key, size: 12, offset: 0, wait: true }));
        us
    };
    answers(
        asked(),
        |us| Outgoing::Plain { req: 8, body: us.body(CONTENT) },
        "00000013 14 03 0f 00000008 48656c6c6f20576f726c6421",
        &payload_steps(8, PayloadKind::Plain, CONTENT),
    );
    answers(
        asked(),
        |_| Outgoing::Zest(ZestMessage::PlainNone { req: 8 }),
        "00000007 14 03 10 00000008",
        &[Step::Message(Message::Zest(ZestMessage::PlainNone { req: 8 }))],
    );
}

#[test]
fn interest_and_slots() {
    let file = hash_of(FILE);
    holds(
        Outgoing::Zest(ZestMessage::Interest { file }),
        "00000023 14 03 04 bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b",
        Message::Zest(ZestMessage::Interest { file }),
    );
    holds(
        Outgoing::Zest(ZestMessage::Uninterest { file }),
        "00000023 14 03 05 bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b",
        Message::Zest(ZestMessage::Uninterest { file }),
    );
    holds(
        Outgoing::Zest(ZestMessage::Slot { open: true, wait_ms: 0 }),
        "00000006 14 03 08 01 0000",
        Message::Zest(ZestMessage::Slot { open: true, wait_ms: 0 }),
    );
    holds(
        Outgoing::Zest(ZestMessage::Slot { open: false, wait_ms: 1500 }),
        "00000006 14 03 08 00 05dc",
        Message::Zest(ZestMessage::Slot { open: false, wait_ms: 1500 }),
    );
    let cancel = vector("00000007 14 03 09 00000007");
    let mut leech = asked_for_a_chunk();
    leech.take_sent();
    leech.send(Outgoing::Zest(ZestMessage::Cancel { req: 7 }));
    assert_eq!(leech.take_sent(), cancel);
    let mut seeder = us();
    seeder.receive(&cancel);
    assert_eq!(seeder.take_steps(), [Step::Message(Message::Zest(ZestMessage::Cancel { req: 7 }))]);
}

#[test]
fn availability() {
    let file = hash_of(FILE);
    let have = |total, runs: &[(u32, u32)], text: &str| {
        holds(
            Outgoing::Zest(ZestMessage::Have { file, total, runs: runs.to_vec() }),
            text,
            Message::Zest(ZestMessage::Have { file, total, runs: runs.to_vec() }),
        );
    };
    have(
        1,
        &[(0, 1)],
        "0000002b 14 03 06 bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b 00000001 0001 0001",
    );
    have(
        100_000,
        &[(0, 100_000)],
        "0000002d 14 03 06 bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b 000186a0 0001 00a08d06",
    );
    have(
        1500,
        &[(0, 3), (10, 1), (500, 1000)],
        "00000031 14 03 06 bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b 000005dc 0003 0003 0701 e903e807",
    );
    have(
        0,
        &[],
        "00000029 14 03 06 bd60b088ade0daa9b195cfbd7ac8e7d74f6db014045ac9326571b887d268eb6b 00000000 0000",
    );
    let runs = vec![(4, 2), (300, 1)];
    holds(
        Outgoing::Zest(ZestMessage::HaveMore { file: FileKey::of(&file), runs: runs.clone() }),
        "00000012 14 03 07 bd60b088ade0daa9 0002 0402 a60201",
        Message::Zest(ZestMessage::HaveMore { file: FileKey::of(&file), runs }),
    );
}

#[test]
fn claims() {
    let file = hash_of(FILE);
    let claims = vec![
        Claim { first: 0, score: 0xfedc_ba98_7654_3210, beat: 3 },
        Claim { first: 300, score: 0x0123_4567_89ab_cdef, beat: Claim::RELEASED },
    ];
    holds(
        Outgoing::Zest(ZestMessage::Claim { file: FileKey::of(&file), claims: claims.clone() }),
        "00000029 14 03 0a bd60b088ade0daa9 0002 00000000 fedcba9876543210 0003 0000012c 0123456789abcdef ffff",
        Message::Zest(ZestMessage::Claim { file: FileKey::of(&file), claims }),
    );
}

#[test]
fn what_nothing_proves_yet() {
    let (file, first) = (hash_of(FILE), 300);
    let key = FileKey::of(&file);
    holds(
        Outgoing::Zest(ZestMessage::Streams { file: key, first }),
        "0000000f 14 03 0b bd60b088ade0daa9 0000012c",
        Message::Zest(ZestMessage::Streams { file: key, first }),
    );
    holds(
        Outgoing::Zest(ZestMessage::Follow { file: key, first, on: true }),
        "00000010 14 03 0c bd60b088ade0daa9 0000012c 01",
        Message::Zest(ZestMessage::Follow { file: key, first, on: true }),
    );
    let records = vec![ChunkRef { hash: hash_of(CHUNK), len: 12 }];
    holds(
        Outgoing::Zest(ZestMessage::Told { file: key, first, at: 0, records: records.clone() }),
        "00000039 14 03 0d bd60b088ade0daa9 0000012c 00000000 0001 a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8 0000000c",
        Message::Zest(ZestMessage::Told { file: key, first, at: 0, records }),
    );
    holds(
        Outgoing::Zest(ZestMessage::Told { file: key, first, at: 0, records: Vec::new() }),
        "00000015 14 03 0d bd60b088ade0daa9 0000012c 00000000 0000",
        Message::Zest(ZestMessage::Told { file: key, first, at: 0, records: Vec::new() }),
    );
}

#[test]
fn announces_of_the_example_file() {
    let announce = Announce {
        swarm: InfoHash::of_file(&hash_of(FILE)),
        peer_id: PeerId(*b"-ZT0500-abcdefghijkl"),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 12,
        event: AnnounceEvent::Started,
        numwant: tracker::announce::NUMWANT,
        key: 0x0102_0304,
        tracker_id: None,
        ipv4: None,
        ipv6: None,
    };
    let url = tracker::http::announce_url(&"http://tracker.example:6969".parse().unwrap(), &announce);
    assert!(DOCUMENT.contains(&format!("`{url}`")), "the document lacks {url}");

    assert_eq!(udp::connect(7), vector("0000041727101980 00000000 00000007"));
    let url: TrackerUrl = "udp://tracker.example:6969/announce".parse().unwrap();
    assert_eq!(
        udp::announce(0x1122_3344_5566_7788, 8, &announce, url.url_data().as_deref()),
        vector(
            "1122334455667788 00000001 00000008 882fa46e705d2fe80f6b5f18c701656f3dbbcdd1 2d5a54303530302d6162636465666768696a6b6c 0000000000000000 000000000000000c 0000000000000000 00000002 00000000 01020304 00000032 1ae1 02092f616e6e6f756e6365"
        )
    );
    let connected = vector("00000000 00000007 1122334455667788");
    let connection = udp::Reply::Connected { connection: 0x1122_3344_5566_7788 };
    assert_eq!(udp::reply(&connected, false), Ok((7, connection)));
    let announced = vector("00000001 00000008 00000708 00000000 00000001 c63364011ae1");
    let Ok((8, udp::Reply::Announced(reply))) = udp::reply(&announced, false) else { panic!("an announce") };
    assert_eq!((reply.interval_s, reply.seeds, reply.leeches), (Some(1800), Some(1), Some(0)));
    assert_eq!(reply.peers, ["198.51.100.1:6881".parse().unwrap()]);
}

#[test]
fn local_search_and_peer_exchange() {
    let swarm = InfoHash::of_file(&hash_of(FILE));
    let message = lsd::message::write(lsd::Group::V4, 6881, &[swarm], "1a2b3c4d");
    let lines = std::str::from_utf8(&message).unwrap().trim_end().split("\r\n");
    for line in lines {
        assert!(DOCUMENT.contains(&format!("| `{line}` |")), "the document lacks {line}");
    }
    let (added, dropped) = (
        vec![("198.51.100.1:6881".parse().unwrap(), FLAG_REACHABLE)],
        vec!["[2001:db8::2]:443".parse().unwrap()],
    );
    holds(
        Outgoing::Pex(wire::pex::Pex { added: added.clone(), dropped: dropped.clone() }),
        "0000005f 14 04 64353a6164646564363ac63364011ae1373a61646465642e66313a10363a616464656436303a383a6164646564362e66303a373a64726f70706564303a383a64726f707065643631383a20010db800000000000000000000000201bb65",
        Message::Pex(wire::pex::Pex { added, dropped }),
    );
}

#[test]
fn the_cost_of_announcing_is_the_computed_one() {
    let table = discovery::plan::table();
    assert!(DOCUMENT.contains(&table), "the document lacks\n{table}");
}

#[test]
fn limits_of_discovery_are_those_of_the_table() {
    let limits: [(&str, u64); 24] = [
        ("URL_BYTES_MAX", tracker::url::URL_BYTES_MAX as u64),
        ("TRACKERS_MAX", tracker::TRACKERS_MAX as u64),
        ("OPEN_MAX", tracker::OPEN_MAX as u64),
        ("FAREWELLS_MAX", tracker::FAREWELLS_MAX as u64),
        ("REPLY_PEERS_MAX", tracker::announce::REPLY_PEERS_MAX as u64),
        ("REASON_CHARS_MAX", tracker::announce::REASON_CHARS_MAX as u64),
        ("REPLY_BYTES_MAX` (HTTP)", tracker::http::REPLY_BYTES_MAX as u64),
        ("REPLY_BYTES_MAX` (UDP)", udp::REPLY_BYTES_MAX as u64),
        ("MESSAGE_BYTES_MAX", lsd::message::MESSAGE_BYTES_MAX as u64),
        ("READ_BYTES_MAX", lsd::message::READ_BYTES_MAX as u64),
        ("SOURCE_MESSAGES_MAX", lsd::SOURCE_MESSAGES_MAX.into()),
        ("MESSAGES_MAX", lsd::MESSAGES_MAX.into()),
        ("SOURCES_MAX", lsd::SOURCES_MAX as u64),
        ("SWARMS_MAX", discovery::SWARMS_MAX as u64),
        ("JOBS_MAX", discovery::JOBS_MAX as u64),
        ("OPS_MAX", discovery::OPS_MAX as u64),
        ("KNOWN_MAX` (swarms)", discovery::KNOWN_MAX as u64),
        ("KNOWN_PEERS_MAX", discovery::KNOWN_PEERS_MAX as u64),
        ("XORBS_MAX", discovery::XORBS_MAX as u64),
        ("KNOWN_MAX` (exchange)", pex::KNOWN_MAX as u64),
        ("LINKS_MAX", pex::LINKS_MAX as u64),
        ("SPEAKERS_MAX", pex::SPEAKERS_MAX as u64),
        ("TOLD_DIALS_PER_S", node::TOLD_DIALS_PER_S as u64),
        ("DHT_DIALS_PER_S", node::DHT_DIALS_PER_S as u64),
    ];
    for (name, value) in limits {
        let tick = if name.contains('`') { "" } else { "`" };
        let row = format!("| `{name}{tick} | {} |", grouped(value));
        assert!(DOCUMENT.contains(&row), "the document lacks {row}");
    }
    let waits: [(&str, Duration); 16] = [
        ("INTERVAL_MIN", tracker::INTERVAL_MIN),
        ("INTERVAL_MAX", tracker::INTERVAL_MAX),
        ("INTERVAL_DEFAULT", tracker::INTERVAL_DEFAULT),
        ("ANSWER_WAIT", tracker::ANSWER_WAIT),
        ("RETRY_MAX", tracker::RETRY_MAX),
        ("CONNECTION_LIFE", tracker::CONNECTION_LIFE),
        ("ANNOUNCE_EVERY", lsd::ANNOUNCE_EVERY),
        ("MESSAGE_EVERY", lsd::MESSAGE_EVERY),
        ("PEX_EVERY", pex::PEX_EVERY),
        ("HEARD_EVERY", pex::HEARD_EVERY),
        ("TOLD_AGAIN", node::TOLD_AGAIN),
        ("JOIN_PAUSE_WANTED", zest_core::dht::limits::JOIN_PAUSE_WANTED),
        ("CACHE", discovery::CACHE),
        ("ROUND_MAX", discovery::ROUND_MAX),
        ("LOOK_AGAIN_MAX", discovery::LOOK_AGAIN_MAX),
        ("DHT_PERIOD", discovery::plan::DHT_PERIOD),
    ];
    for (name, wait) in waits {
        let row = format!("| `{name}` | {} s |", grouped(wait.as_secs()));
        assert!(DOCUMENT.contains(&row), "the document lacks {row}");
    }
    assert_eq!((tracker::SWARMS_MAX, lsd::SWARMS_MAX), (discovery::SWARMS_MAX, discovery::SWARMS_MAX));
}

/// Every line of hex in the document is a vector of this file: none goes unchecked.
#[test]
fn no_line_of_hex_is_left_out() {
    let tests = include_str!("protocol_vectors_of_the_document_hold.rs");
    let mut fenced = false;
    let mut checked = 0;
    for line in DOCUMENT.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            assert!(tests.contains(&format!("\"{line}\"")), "no test has {line}");
            checked += 1;
        }
    }
    assert_eq!((fenced, checked), (false, 39));
}

/// A number as the document writes it: 67,109,888.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn public_limits_are_those_of_the_table() {
    let limits: [(&str, u64); 29] = [
        ("EXT_HANDSHAKE_BYTES_MAX", EXT_HANDSHAKE_BYTES_MAX.into()),
        ("CLIENT_BYTES_MAX", CLIENT_BYTES_MAX as u64),
        ("DEPTH_MAX", bencode::DEPTH_MAX as u64),
        ("TOKENS_MAX", bencode::TOKENS_MAX as u64),
        ("RANGE_DATA_BYTES_MAX", RANGE_DATA_BYTES_MAX),
        ("ERROR_TEXT_BYTES_MAX", ERROR_TEXT_BYTES_MAX.into()),
        ("MANIFEST_PART_RECORDS_MAX", MANIFEST_PART_RECORDS_MAX.into()),
        ("AVAILABILITY_BYTES_MAX", AVAILABILITY_BYTES_MAX as u64),
        ("CLAIMS_MAX", CLAIMS_MAX as u64),
        ("TOLD_RECORDS_MAX", TOLD_RECORDS_MAX as u64),
        ("PLAIN_BYTES_MAX", PLAIN_BYTES_MAX.into()),
        ("PLAIN_PART_BYTES", PLAIN_PART_BYTES.into()),
        ("PLAIN_HELD_MAX", node::limits::PLAIN_HELD_MAX.into()),
        ("OUTSTANDING_MAX", OUTSTANDING_MAX as u64),
        ("FORGOTTEN_MAX", FORGOTTEN_MAX as u64),
        ("CONTROL_FRAME_BYTES_MAX", CONTROL_FRAME_BYTES_MAX.into()),
        ("FRAME_BYTES_MAX", FRAME_BYTES_MAX.into()),
        ("CHATTER_BYTES_MAX", CHATTER_BYTES_MAX),
        ("LATE_BYTES_MAX", LATE_BYTES_MAX),
        ("EXT_HANDSHAKES_MAX", EXT_HANDSHAKES_MAX.into()),
        ("ERROR_TEXT_CHARS_MAX", ERROR_TEXT_CHARS_MAX as u64),
        ("PEX_BYTES_MAX", PEX_BYTES_MAX.into()),
        ("PEX_PEERS_MAX", PEX_PEERS_MAX as u64),
        ("PEX_READ_MAX", PEX_READ_MAX as u64),
        ("PEERS_MAX", node::PEERS_MAX as u64),
        ("INBOUND_MAX", node::INBOUND_MAX as u64),
        ("CANDIDATES_MAX", node::CANDIDATES_MAX as u64),
        ("BANS_MAX", node::BANS_MAX as u64),
        ("BANS_PER_IP_MAX", node::BANS_PER_IP_MAX.into()),
    ];
    for (name, value) in limits {
        let row = format!("| `{name}` | {} |", grouped(value));
        assert!(DOCUMENT.contains(&row), "the document lacks {row}");
    }
    let waits: [(&str, Duration); 5] = [
        ("HANDSHAKE_WAIT", HANDSHAKE_WAIT),
        ("EXT_HANDSHAKE_WAIT", EXT_HANDSHAKE_WAIT),
        ("KEEP_ALIVE_AFTER", KEEP_ALIVE_AFTER),
        ("IDLE_LIMIT", IDLE_LIMIT),
        ("BAN", node::BAN),
    ];
    for (name, wait) in waits {
        let row = format!("| `{name}` | {} s |", grouped(wait.as_secs()));
        assert!(DOCUMENT.contains(&row), "the document lacks {row}");
    }
    assert_eq!((HANDSHAKE_BYTES, MANIFEST_RECORD_BYTES), (68, 36), "as the text says");
}
