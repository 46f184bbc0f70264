use super::*;

// `0123456789`, 20,000 times, as gzip -9n, zlib (with its frame, then without), brotli -q 11 and zstd -19 pack it.
const GZIP: &str = concat!(
    "1f8b0800000000000203edc6490100200800b04a7820dabf981508b0bd1663ae9da7ee0b3333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "33333333333333333333333333333333333333333333336bee035ea5eb8d400d0300",
);
const ZLIB: &str = concat!(
    "78daedc6490100200800b04a7820dabf981508b0bd1663ae9da7ee0b33333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333336bee036f324101",
);
const RAW: &str = concat!(
    "edc6490100200800b04a7820dabf981508b0bd1663ae9da7ee0b333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
    "333333333333333333333333336bee03",
);
const BROTLI: &str = "5b3f0d835fdc606c5ed288034301e0090640399dbd07";
const ZSTD: &str = "28b52ffd046894000050303132333435363738390100f3ffcd0b124500000001003d0dcd0b107ffc87cf";
const ROWS: [(Coding, &str); 5] = [
    (Coding::Gzip, GZIP),
    (Coding::Deflate, ZLIB),
    (Coding::Deflate, RAW),
    (Coding::Brotli, BROTLI),
    (Coding::Zstd, ZSTD),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn content() -> Vec<u8> {
    b"0123456789".repeat(20_000)
}

fn all(coding: Coding, packed: &[u8], step: usize) -> Result<Vec<u8>, Damaged> {
    let (mut unpacker, mut content) = (Unpacker::new(coding), Vec::new());
    for part in packed.chunks(step) {
        unpacker.push(part);
        while let Some(bytes) = unpacker.next()? {
            assert!(!bytes.is_empty() && bytes.len() <= PIECE_BYTES);
            content.extend_from_slice(&bytes);
        }
    }
    match unpacker.is_complete() {
        true => Ok(content),
        false => damaged("cut off"),
    }
}

#[test]
fn each_coding_is_unpacked_however_it_is_cut() {
    for (coding, packed) in ROWS {
        let packed = bytes(packed);
        for step in [1, 7, packed.len()] {
            assert!(all(coding, &packed, step).unwrap() == content(), "{coding:?}, {step} at a time");
        }
    }
}

#[test]
fn what_is_cut_off_is_not_complete_and_what_is_empty_is() {
    for (coding, packed) in ROWS {
        let packed = bytes(packed);
        for len in 1..packed.len() {
            assert!(all(coding, &packed[..len], 64).is_err(), "{coding:?}, {len} of {}", packed.len());
        }
        assert_eq!(all(coding, &[], 1), Ok(Vec::new()));
    }
}

#[test]
fn members_and_frames_follow_each_other_and_garbage_behind_them_is_passed_over() {
    for (coding, packed) in [(Coding::Gzip, GZIP), (Coding::Zstd, ZSTD)] {
        let twice = bytes(packed).repeat(2);
        assert_eq!(all(coding, &twice, 50).unwrap().len(), 2 * content().len());
        let trailed = [bytes(packed), vec![0; 20]].concat();
        assert_eq!(all(coding, &trailed, 50).unwrap().len(), content().len());
    }
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &bytes(ZSTD)].concat();
    assert_eq!(all(Coding::Zstd, &skipped, 5).unwrap().len(), content().len());
    // Extra field, name, comment and a checksum of the header.
    let mut named = bytes(GZIP);
    named[3] = 2 | 4 | 8 | 16;
    named.splice(10..10, *b"\x02\0xxa name\0a comment\0cc");
    assert_eq!(all(Coding::Gzip, &named, 3).unwrap().len(), content().len());
}

#[test]
fn damage_is_noticed_and_never_a_panic() {
    for (coding, packed) in ROWS {
        let packed = bytes(packed);
        assert!(all(coding, b"<html>this is not packed at all</html>", 9).is_err(), "{coding:?}");
        for at in 0..packed.len() {
            let mut wrong = packed.clone();
            wrong[at] ^= 0x55;
            // Without a checksum the content may differ; it is proven or parsed elsewhere.
            let _ = all(coding, &wrong, 11);
        }
    }
    let mut wrong = bytes(GZIP);
    *wrong.last_mut().unwrap() ^= 1;
    assert!(all(Coding::Gzip, &wrong, 64).is_err(), "the length is part of the trailer");
}

#[test]
fn a_bomb_is_unpacked_no_further_than_its_reader_goes() {
    // A frame of blocks that each repeat one byte 128 KiB times: 1 MB of them hold 32 GB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x50];
    bomb.extend([2, 0, 16, 0].repeat(1 << 18));
    let mut unpacker = Unpacker::new(Coding::Zstd);
    unpacker.push(&bomb);
    let mut taken = 0;
    while taken < 4 << 20 {
        taken += unpacker.next().unwrap().expect("there is more").len();
    }
    let read = bomb.len() - unpacker.input.len();
    assert!(read < 1_000, "{read} bytes were read for {taken} of content");
    // A window of 1 GiB would be memory before a byte of content.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 2, 0, 16, 0];
    assert!(all(Coding::Zstd, &wide, 64).is_err());
}

#[test]
fn the_header_is_read_as_servers_write_it() {
    let of = |values: &[&str]| {
        let values = values.iter().map(|value| (CONTENT_ENCODING, value.parse().unwrap()));
        Coding::of(&values.collect())
    };
    assert_eq!((of(&[]), of(&["identity"]), of(&[""])), (Ok(None), Ok(None), Ok(None)));
    assert_eq!(of(&["X-GZip"]), Ok(Some(Coding::Gzip)));
    assert_eq!(of(&["identity, br"]), Ok(Some(Coding::Brotli)));
    assert_eq!(of(&["zstd"]), Ok(Some(Coding::Zstd)));
    for odd in [&["gzip, gzip"][..], &["gzip", "br"], &["compress"], &["aws-chunked"]] {
        assert!(of(odd).is_err(), "{odd:?}");
    }
}
