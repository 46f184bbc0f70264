//! However a byte stream is cut, and whichever payload bytes go straight into a buffer: the same reports, the same
//! bytes sent, the same fault at the end.

mod common;

use common::*;
use proptest::prelude::*;
use zest_core::ReqId;
use zest_core::link::*;

/// One thing a remote may say.
#[derive(Debug, Clone)]
enum Saying {
    ChunkAnswer { req: u32, len: usize },
    RangeAnswer { req: u32, start: u32, len: usize },
    DocAnswer { hash: u8, len: usize },
    ManifestPart { req: u32, count: u32 },
    Refusal { req: u32, error: bool },
    Request { len: usize, ext_id: u8 },
    Zest { kind: u8, body: Vec<u8> },
    ExtHandshake(Vec<u8>),
    Plain { id: u8, body: Vec<u8> },
    KeepAlive,
    Raw(Vec<u8>),
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

fn saying() -> impl Strategy<Value = Saying> {
    let req = || 0u32..10;
    prop_oneof![
        6 => (req(), 0usize..300).prop_map(|(req, len)| Saying::ChunkAnswer { req, len }),
        4 => (req(), 0u32..300, 0usize..300).prop_map(|(req, start, len)| Saying::RangeAnswer { req, start, len }),
        1 => (0u8..10, 0usize..300).prop_map(|(hash, len)| Saying::DocAnswer { hash, len }),
        3 => (8u32..12, 0u32..4).prop_map(|(req, count)| Saying::ManifestPart { req, count }),
        3 => (req(), any::<bool>()).prop_map(|(req, error)| Saying::Refusal { req, error }),
        3 => (prop_oneof![Just(33), Just(37), Just(45), 0usize..60], 1u8..6)
            .prop_map(|(len, ext_id)| Saying::Request { len, ext_id }),
        2 => (0u8..12, bytes(60)).prop_map(|(kind, body)| Saying::Zest { kind, body }),
        1 => bytes(40).prop_map(Saying::ExtHandshake),
        2 => (any::<u8>(), bytes(60)).prop_map(|(id, body)| Saying::Plain { id, body }),
        1 => Just(Saying::KeepAlive),
        1 => bytes(20).prop_map(Saying::Raw),
    ]
}

fn spell(saying: &Saying) -> Vec<u8> {
    match saying {
        Saying::ChunkAnswer { req, len } => chunk_answer(*req, &vec![0xcc; *len]),
        Saying::RangeAnswer { req, start, len } => range_answer(*req, *start, &vec![0xdd; *len]),
        Saying::DocAnswer { hash, len } => {
            let n = u32::try_from(*len).unwrap();
            ext(1, &[&[2][..], &[*hash; 32], &n.to_be_bytes(), &vec![0xee; *len]].concat())
        }
        Saying::ManifestPart { req, count } => {
            manifest_part(*req, 100, 10, *count, &vec![0xab; *count as usize * 36])
        }
        Saying::Refusal { req, error: false } => ext(1, &[&[3][..], &req.to_be_bytes()].concat()),
        Saying::Refusal { req, error: true } => {
            ext(1, &[&[4][..], &req.to_be_bytes(), b"\0\0\0\x01oops"].concat())
        }
        Saying::Request { len, ext_id } => {
            let mut body = vec![0x77; *len];
            if let Some(kind) = body.first_mut() {
                *kind = 1;
            }
            ext(*ext_id, &body)
        }
        Saying::Zest { kind, body } => ext(3, &[&[*kind][..], body].concat()),
        Saying::ExtHandshake(body) => ext(0, &[&b"d1:md6:ut_xeti4ee1:v"[..], body].concat()),
        Saying::Plain { id, body } => frame(*id, body),
        Saying::KeepAlive => vec![0; 4],
        Saying::Raw(bytes) => bytes.clone(),
    }
}

/// How the stream is cut, one byte per event: its size (0 is the lot), and whether payload goes directly.
fn play(stream: &[u8], cuts: &[u8]) -> (Vec<Step>, Vec<u8>, usize) {
    let mut us = Driver::new(Role::Accept);
    let mut cuts = cuts.iter().cycle();
    let greeting = [handshake(SWARM, THEIR_ID), ext(0, WITH_ZEST)].concat();
    feed(&mut us, &greeting, &mut cuts);
    for req in 0..8 {
        us.ask_chunk(req, hash(u8::try_from(req).unwrap()), 250);
    }
    us.ask_manifest(8, 10, 3);
    us.ask_xorb(9, hash(9), 0, 4, 250);
    us.send(Outgoing::Forget { req: ReqId(3) });
    feed(&mut us, stream, &mut cuts);
    let outstanding = us.link.outstanding();
    (us.steps, us.sent, outstanding)
}

fn feed<'a>(us: &mut Driver, mut rest: &[u8], cuts: &mut impl Iterator<Item = &'a u8>) {
    while !rest.is_empty() {
        let cut = *cuts.next().unwrap();
        let size = if cut < 2 { rest.len() } else { rest.len().min(usize::from(cut / 2)) };
        let (now, later) = match us.link.expect().payload {
            Some((_, left)) if cut % 2 == 1 => {
                let (now, later) = rest.split_at(size.min(left as usize));
                us.read_directly(now);
                rest = later;
                continue;
            }
            _ => rest.split_at(size),
        };
        us.receive(now);
        rest = later;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn well_formed_and_broken_messages_in_any_cut(
        sayings in proptest::collection::vec(saying(), 0..25),
        cuts in proptest::collection::vec(any::<u8>(), 1..40),
        flip in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut stream: Vec<u8> = sayings.iter().flat_map(spell).collect();
        if let (Some((at, xor)), false) = (flip, stream.is_empty()) {
            let at = at.index(stream.len());
            stream[at] ^= xor;
        }
        let whole = play(&stream, &[0]);
        prop_assert_eq!(&play(&stream, &cuts), &whole);
        prop_assert_eq!(&play(&stream, &[2]), &whole, "byte by byte");
        prop_assert_eq!(&play(&stream, &[3]), &whole, "byte by byte, payload directly");
    }

    #[test]
    fn noise_from_the_first_byte_in_any_cut(noise in bytes(300), keep in 0usize..70, cuts in bytes(20)) {
        let stream = [&handshake(SWARM, THEIR_ID)[..keep.min(68)], &noise].concat();
        let run = |cuts: &[u8]| {
            let mut us = Driver::new(Role::Dial { info_hash: SWARM });
            feed(&mut us, &stream, &mut cuts.iter().cycle());
            (us.steps, us.sent)
        };
        let whole = run(&[0]);
        prop_assert_eq!(run(&[2]), whole.clone());
        if !cuts.is_empty() {
            prop_assert_eq!(run(&cuts), whole);
        }
    }
}

#[test]
fn a_pipelined_stream_can_be_placed_by_prediction() {
    // What a runtime does with readv: [rest of the payload][head][next buffer].
    let mut us = Driver::plain();
    let chunks: Vec<Vec<u8>> = (0u32..50).map(|i| vec![i as u8; 1500 + 37 * i as usize]).collect();
    let mut stream = vec![];
    let mut expected = vec![];
    for (req, chunk) in (0u32..).zip(&chunks) {
        us.ask_chunk(req, hash(req as u8), 131_072);
        stream.extend(chunk_answer(req, chunk));
        expected.extend(payload_steps(req, PayloadKind::Chunk, chunk));
    }
    let mut rest = &stream[..];
    let mut copied = 0;
    while !rest.is_empty() {
        let Expect { payload, head } = us.link.expect();
        // The kernel gives at most this much at once.
        let (mut read, later) = rest.split_at(rest.len().min(1460));
        rest = later;
        if let Some((_, left)) = payload {
            let (direct, more) = read.split_at(read.len().min(left as usize));
            us.read_directly(direct);
            read = more;
        }
        let (head, next) = read.split_at(read.len().min(head as usize));
        copied += head.len();
        us.receive(head);
        if next.is_empty() {
            continue;
        }
        match us.link.expect().payload {
            Some((_, left)) if left as usize >= next.len() => us.read_directly(next),
            _ => us.receive(next),
        }
    }
    assert_eq!(us.steps, expected);
    assert_eq!(copied, 50 * 15, "only heads went through the small buffer");
}
