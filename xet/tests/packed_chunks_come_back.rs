//! Whatever is packed, by any scheme, is unpacked to the same bytes; and a walk finds every chunk again.

use proptest::prelude::*;
use zest_xet::{ChunkRef, Decoder, Encoder, Footer, SchemeChoice, XorbChunks, chunk_hash, verify, xorb_hash};

fn choice() -> impl Strategy<Value = SchemeChoice> {
    prop_oneof![
        Just(SchemeChoice::None),
        Just(SchemeChoice::Lz4),
        Just(SchemeChoice::Bg4Lz4),
        Just(SchemeChoice::Auto)
    ]
}

/// Noise, runs, text-like repetition and words whose upper bytes repeat, at lengths around the interesting ones.
fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![1usize..40, 1usize..5000, 65_530usize..65_545, 131_060usize..=131_072];
    (len, any::<u64>(), 0u8..4).prop_map(|(len, seed, kind)| {
        let mut state = seed | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let byte = |at: usize, noise: u64| match kind {
            0 => noise as u8,
            1 => (seed >> (at / 1000 % 8)) as u8,
            2 => b"the quick brown fox "[(noise as usize % 2 + at) % 20],
            _ if at % 2 == 1 => 0x3c + (noise % 3) as u8,
            _ => noise as u8,
        };
        (0..len).map(|at| byte(at, next())).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn xorbs_round_trip(parts in prop::collection::vec((chunk(), choice()), 1..8)) {
        let (mut encoder, mut decoder, mut xorb) = (Encoder::new(), Decoder::new(), Vec::new());
        let mut list = Vec::new();
        for (data, choice) in &parts {
            let start = xorb.len();
            let header = encoder.encode(data, *choice, &mut xorb);
            prop_assert_eq!(header.len as usize, data.len());
            prop_assert!(header.packed_len <= header.len, "packing never grows a chunk");
            let chunk = ChunkRef { hash: chunk_hash(data), len: header.len };
            list.push((chunk, (xorb.len() - start) as u32));
        }
        let footer = Footer::of(&list);
        prop_assert_eq!(footer.xorb, xorb_hash(&footer.chunks().collect::<Vec<_>>()));
        xorb.extend_from_slice(&footer.encode());

        let (chunks, read) = Footer::split(&xorb).unwrap();
        prop_assert_eq!(&read, &footer);
        let mut walk = XorbChunks::new(chunks);
        for ((data, _), want) in parts.iter().zip(read.chunks()) {
            let (header, packed) = walk.next().unwrap().unwrap();
            let mut out = vec![0; header.len as usize];
            decoder.decode(header, packed, &mut out).unwrap();
            prop_assert!(&out == data);
            prop_assert!(verify(out, want).is_ok());
        }
        prop_assert!(walk.next().is_none());
    }
}
