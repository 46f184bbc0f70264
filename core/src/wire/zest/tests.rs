use super::*;
use alloc::vec;
use proptest::prelude::*;

const H: Hash = Hash::from_bytes([0xaa; 32]);
const KEY: FileKey = FileKey([0xaa; 8]);

fn read(head: &Head) -> Result<ZestMessage, ZestError> {
    read_bytes(&head.as_bytes()[6..])
}

fn read_bytes(message: &[u8]) -> Result<ZestMessage, ZestError> {
    match parse(message, u32::try_from(message.len()).unwrap())? {
        Incoming::Message(message) => Ok(message),
        other @ (Incoming::ManifestPart { .. } | Incoming::PlainPart { .. } | Incoming::Unknown) => {
            panic!("{other:?} is no whole message")
        }
    }
}

#[test]
fn every_fixed_message_reads_back() {
    let cases = [
        (
            manifest_request(3, 1, &H, 2, 9),
            ZestMessage::ManifestRequest { req: 1, file: H, first: 2, count: 9 },
        ),
        (manifest_none(3, 7), ZestMessage::ManifestNone { req: 7 }),
        (interest(3, &H), ZestMessage::Interest { file: H }),
        (uninterest(3, &H), ZestMessage::Uninterest { file: H }),
        (slot(3, true, 0), ZestMessage::Slot { open: true, wait_ms: 0 }),
        (slot(3, false, 300), ZestMessage::Slot { open: false, wait_ms: 300 }),
        (cancel(3, u32::MAX), ZestMessage::Cancel { req: u32::MAX }),
        (streams(3, KEY, 9), ZestMessage::Streams { file: KEY, first: 9 }),
        (follow(3, KEY, 9, true), ZestMessage::Follow { file: KEY, first: 9, on: true }),
        (
            plain_request(3, 1, &PlainKey::git_blob(&[5; 20]), 200_000, PLAIN_PART_BYTES, true),
            ZestMessage::PlainRequest {
                req: 1,
                key: PlainKey::git_blob(&[5; 20]),
                size: 200_000,
                offset: PLAIN_PART_BYTES,
                wait: true,
            },
        ),
        (plain_none(3, 7), ZestMessage::PlainNone { req: 7 }),
        (follow(3, KEY, 0, false), ZestMessage::Follow { file: KEY, first: 0, on: false }),
    ];
    for (head, message) in cases {
        let mut written = vec![];
        write(3, &message, |head| written.push(head));
        assert_eq!((&written[..], read(&head)), (&[head][..], Ok(message)));
    }
    let part = ManifestPart { file_size: 1 << 40, total: 20_000, first: 14_336, count: 5_664 };
    let head = manifest_part_head(3, 1, part);
    let read = parse(&head.as_bytes()[6..], 25 + 5_664 * 36);
    assert_eq!(read, Ok(Incoming::ManifestPart { req: 1, part }));
    assert_eq!(head.as_bytes().len(), 31);
    let head = plain_part_head(3, 1, PLAIN_PART_BYTES);
    let read = parse(&head.as_bytes()[6..], 5 + PLAIN_PART_BYTES);
    assert_eq!(read, Ok(Incoming::PlainPart { req: 1 }));
    assert_eq!(head.as_bytes().len(), 11);
}

#[test]
fn parts_of_a_small_file_cover_it_once() {
    for size in [1, PLAIN_PART_BYTES, PLAIN_PART_BYTES + 1, PLAIN_BYTES_MAX] {
        let parts =
            (0..size.div_ceil(PLAIN_PART_BYTES)).map(|nth| plain_part_len(size, nth * PLAIN_PART_BYTES));
        assert_eq!(parts.map(|len| len.expect("there is one")).sum::<u32>(), size);
        assert_eq!(plain_part_len(size, size.next_multiple_of(PLAIN_PART_BYTES)), None);
    }
    for (size, offset) in [(0, 0), (5, 1), (PLAIN_BYTES_MAX + 1, 0), (u32::MAX, 0)] {
        assert_eq!(plain_part_len(size, offset), None, "{size} from {offset}");
    }
}

#[test]
fn a_node_that_has_all_sends_one_run_in_43_bytes() {
    let head = have(3, &H, 100_000, &[(0, 60_000), (60_000, 40_000)]);
    assert_eq!(&head.as_bytes()[6 + 37..], &[0, 1, 0, 0xa0, 0x8d, 0x06]);
    assert_eq!(read(&head), Ok(ZestMessage::Have { file: H, total: 100_000, runs: vec![(0, 100_000)] }));
    assert_eq!(read(&have(3, &H, 5, &[])), Ok(ZestMessage::Have { file: H, total: 5, runs: vec![] }));
}

#[test]
fn too_many_runs_are_understated_and_increments_are_split() {
    let runs: Vec<_> = (0..20_000).map(|i| (2 * i, 1)).collect();
    let head = have(3, &H, 40_000, &runs);
    assert!(head.as_bytes().len() <= 6 + AVAILABILITY_BYTES_MAX);
    let Ok(ZestMessage::Have { runs: read_runs, .. }) = read(&head) else { panic!() };
    assert!(read_runs.len() > 8_000 && runs.starts_with(&read_runs));
    assert_eq!(added(&runs), (runs, 3));
}

/// What all messages of `have more` say together, and how many there are.
fn added(runs: &[(u32, u32)]) -> (Vec<(u32, u32)>, usize) {
    let mut all = vec![];
    let mut messages = 0;
    for head in have_more(3, FileKey::of(&H), runs) {
        assert!(head.as_bytes().len() <= 6 + AVAILABILITY_BYTES_MAX);
        let Ok(ZestMessage::HaveMore { file: KEY, runs }) = read(&head) else { panic!() };
        all.extend(runs);
        messages += 1;
    }
    (all, messages)
}

#[test]
fn an_increment_joins_what_touches_and_reaches_the_last_chunk() {
    assert_eq!(added(&[]), (vec![], 0));
    assert_eq!(added(&[(4, 2), (6, 1), (300, 1)]), (vec![(4, 3), (300, 1)], 1));
    assert_eq!(added(&[(0, u32::MAX)]), (vec![(0, u32::MAX)], 1));
    assert_eq!(added(&[(u32::MAX - 1, 1)]), (vec![(u32::MAX - 1, 1)], 1));
    // 8,186 runs of two bytes fill a message to its last byte but one.
    let runs: Vec<_> = (0..8_186).map(|i| (2 * i, 1)).collect();
    assert_eq!(added(&runs), (runs.clone(), 1));
    assert_eq!(added(&[&runs[..], &[(16_372, 1)]].concat()).1, 2);
}

#[test]
fn claims_read_back_and_long_lists_are_split() {
    let claims: Vec<_> =
        (0..600).map(|n| Claim { first: 7 * n, score: u64::MAX - u64::from(n), beat: n as u16 }).collect();
    let mut all = vec![];
    let mut counts = vec![];
    for head in claim(3, FileKey::of(&H), &claims) {
        let Ok(ZestMessage::Claim { file: KEY, claims }) = read(&head) else { panic!() };
        counts.push(claims.len());
        all.extend(claims);
    }
    assert_eq!((all, counts), (claims, vec![256, 256, 88]));
    assert_eq!(claim(3, KEY, &[]).count(), 0);
    assert_eq!(
        read_bytes(&[&[10][..], &KEY.0, &[0, 0]].concat()),
        Ok(ZestMessage::Claim { file: KEY, claims: vec![] })
    );
}

#[test]
fn told_records_read_back_and_long_lists_are_split() {
    let records: Vec<_> = (0..600).map(|n| ChunkRef { hash: H, len: n + 1 }).collect();
    let (mut all, mut places) = (vec![], vec![]);
    for head in told(3, KEY, 4, 100, &records) {
        let Ok(ZestMessage::Told { file: KEY, first: 4, at, records }) = read(&head) else { panic!() };
        places.push((at, records.len()));
        all.extend(records);
    }
    assert_eq!((all, places), (records, vec![(100, 256), (356, 256), (612, 88)]));
    let none: Vec<_> = told(3, KEY, 4, 0, &[]).map(|head| read(&head)).collect();
    assert_eq!(none, [Ok(ZestMessage::Told { file: KEY, first: 4, at: 0, records: vec![] })]);
    let more = [&[13][..], &KEY.0, &[0; 8], &[0, 2], &[0; 36]].concat();
    assert_eq!(read_bytes(&more), Err(ZestError::Length("told")), "fewer than it says");
    assert_eq!(read_bytes(&[&[12][..], &KEY.0, &[0, 0, 0, 0, 2]].concat()), Err(ZestError::FollowState(2)));
}

#[test]
fn wrong_lengths_runs_and_states_are_refused() {
    for (kind, n) in [
        (1, 44),
        (2, 24),
        (2, 26),
        (3, 4),
        (4, 34),
        (5, 1),
        (6, 38),
        (7, 10),
        (8, 3),
        (9, 6),
        (10, 10),
        (10, 24),
        (10, 26),
        (11, 12),
        (12, 15),
        (13, 18),
        (13, 54),
    ] {
        assert!(matches!(bytes_needed(kind, n), Err(ZestError::Length(_))), "{kind} {n}");
    }
    let longest = [
        (6, "have", 16_384, 1),
        (7, "have more", 16_384, 1),
        (10, "claim", 3_595, 14),
        (13, "told", 9_235, 36),
    ];
    for (kind, what, max, step) in longest {
        assert_eq!(bytes_needed(kind, max), Ok(max));
        let past = max + step;
        assert_eq!(bytes_needed(kind, past), Err(ZestError::TooLong { what, max }));
    }
    assert_eq!(read_bytes(&[8, 2, 0, 0]), Err(ZestError::SlotState(2)));
    assert_eq!(parse(&[200, 1, 2], 3), Ok(Incoming::Unknown));
    let have = |total: u32, count: u16, runs: &[u8]| {
        read_bytes(&[&[6][..], H.as_bytes(), &total.to_be_bytes(), &count.to_be_bytes(), runs].concat())
    };
    assert_eq!(have(9, 1, &[0, 0]), Err(ZestError::Run(0)), "empty");
    assert_eq!(have(9, 2, &[0, 1, 0, 1]), Err(ZestError::Run(1)), "touches");
    assert_eq!(have(9, 1, &[5, 5]), Err(ZestError::Run(0)), "exceeds the total");
    assert_eq!(have(9, 2, &[0, 1]), Err(ZestError::Run(1)), "cut");
    assert_eq!(have(9, 1, &[0x80, 0x00, 1]), Err(ZestError::Run(0)), "not the shortest form");
    assert_eq!(have(u32::MAX, 1, &[0xff, 0xff, 0xff, 0xff, 0x1f, 1]), Err(ZestError::Run(0)), "33 bits");
    assert_eq!(have(u32::MAX, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f, 1]), Err(ZestError::Run(0)), "overflow");
    assert_eq!(have(9, 1, &[0, 1, 0]), Err(ZestError::Length("have")), "trailing");
    assert_eq!(have(9, u16::MAX, &[]), Err(ZestError::Run(0)));
    let more = |count: u16, runs: &[u8]| read_bytes(&[&[7][..], &KEY.0, &count.to_be_bytes(), runs].concat());
    let last = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(more(1, &[4, 0]), Err(ZestError::Run(0)), "empty");
    assert_eq!(more(2, &[0, 1, 0, 1]), Err(ZestError::Run(1)), "touches");
    assert_eq!(more(1, &[&[1][..], &last].concat()), Err(ZestError::Run(0)), "overflow");
    assert_eq!(more(2, &[&[0, 1][..], &last, &[1]].concat()), Err(ZestError::Run(1)), "overflow of the sum");
    assert_eq!(more(2, &[0, 1]), Err(ZestError::Run(1)), "cut");
    assert_eq!(more(1, &[0, 1, 9]), Err(ZestError::Length("have more")), "trailing");
    let claims =
        |count: u16, claims: &[u8]| read_bytes(&[&[10][..], &KEY.0, &count.to_be_bytes(), claims].concat());
    assert_eq!(claims(0, &[0; 14]), Err(ZestError::Length("claim")));
    assert_eq!(claims(2, &[0; 14]), Err(ZestError::Length("claim")));
    assert_eq!(claims(1, &[0; 13]), Err(ZestError::Length("claim")));
}

proptest! {
    #[test]
    fn availability_reads_back(steps in proptest::collection::vec((1u32..1000, 1u32..1000), 0..200), slack: u16) {
        let mut end = 0;
        let runs: Vec<_> = steps.iter().map(|&(skip, take)| { let first = end + skip; end = first + take; (first, take) }).collect();
        let total = end + u32::from(slack);
        let expected = ZestMessage::Have { file: H, total, runs: runs.clone() };
        prop_assert_eq!(read(&have(3, &H, total, &runs)), Ok(expected));
        prop_assert_eq!(added(&runs), (runs.clone(), usize::from(!runs.is_empty())));
        // Each run cut into its first chunk and the rest.
        let cut: Vec<_> = runs.iter().flat_map(|&(first, take)| [(first, 1), (first + 1, take - 1)]).filter(|run| run.1 > 0).collect();
        prop_assert_eq!(added(&cut).0, runs);
    }

    #[test]
    fn claims_read_back(claims in proptest::collection::vec(any::<(u32, u64, u16)>(), 1..CLAIMS_MAX)) {
        let claims: Vec<_> = claims.into_iter().map(|(first, score, beat)| Claim { first, score, beat }).collect();
        let heads: Vec<_> = claim(3, KEY, &claims).collect();
        prop_assert_eq!(heads.len(), 1);
        prop_assert_eq!(read(&heads[0]), Ok(ZestMessage::Claim { file: KEY, claims }));
    }

    #[test]
    fn any_bytes_are_read_or_refused(kind in 0u8..16, message in proptest::collection::vec(any::<u8>(), 0..100)) {
        let message = [&[kind][..], &message].concat();
        let n = u32::try_from(message.len()).unwrap();
        if let Ok(needed) = bytes_needed(kind, n) {
            prop_assert!(needed >= 1 && needed <= n);
        }
        let _ = parse(&message, n);
    }
}
