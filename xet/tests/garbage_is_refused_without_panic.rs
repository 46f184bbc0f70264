//! Bytes from strangers: every parser answers with a value or an error, never with a panic, and writes nowhere else.

use proptest::prelude::*;
use zest_xet::{ChunkHeader, Decoder, Encoder, Footer, Hash, Manifest, Scheme, SchemeChoice, XorbChunks};
#[cfg(feature = "std")]
use zest_xet::{Plan, Reconstruction};

/// The usual frame header around anything, so that the block decoder is reached.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(any::<u8>(), 0..400), any::<bool>()).prop_map(|(body, end)| {
        let mut bytes = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        if end {
            bytes.extend_from_slice(&[0; 4]);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn decoder(
        packed in prop_oneof![frame_like(), prop::collection::vec(any::<u8>(), 1..300)],
        len in prop_oneof![1u32..600, 131_000u32..131_073],
        scheme in prop_oneof![Just(Scheme::None), Just(Scheme::Lz4), Just(Scheme::Bg4Lz4)],
    ) {
        let header = ChunkHeader { packed_len: packed.len() as u32, scheme, len };
        let mut out = vec![0; len as usize];
        let _ = Decoder::new().decode(header, &packed, &mut out);
    }

    #[test]
    fn decoder_on_damaged_chunks(
        seed in any::<u32>(),
        len in 20usize..3000,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        scheme in prop_oneof![Just(SchemeChoice::Lz4), Just(SchemeChoice::Bg4Lz4)],
    ) {
        let data: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(seed) >> 28) as u8).collect();
        let mut packed = Vec::new();
        Encoder::new().encode(&data, scheme, &mut packed);
        for (at, value) in damage {
            let at = at.index(packed.len());
            packed[at] = value;
        }
        let mut decoder = Decoder::new();
        for (header, data) in XorbChunks::new(&packed).flatten() {
            let mut out = vec![0; header.len as usize];
            let _ = decoder.decode(header, data, &mut out);
        }
    }

    #[test]
    fn walk_headers_footer_and_manifest(bytes in prop::collection::vec(any::<u8>(), 0..500), size in any::<u64>()) {
        let walked: usize = XorbChunks::new(&bytes).flatten().map(|(_, data)| ChunkHeader::BYTES + data.len()).sum();
        prop_assert!(walked <= bytes.len());
        let _ = Footer::split(&bytes);
        let _ = Footer::parse(&bytes);
        prop_assert!(Manifest::parse(Hash::ZERO, size, &bytes).is_err() || (bytes.is_empty() && size == 0));
    }

    #[test]
    fn footer_with_a_lawful_length(mut bytes in prop::collection::vec(any::<u8>(), 96 + 3 * 40), tags in any::<bool>()) {
        let len = bytes.len() as u32 - 4;
        bytes.splice(len as usize.., len.to_le_bytes());
        if tags {
            bytes.splice(..8, *b"XETBLOB\x01");
            bytes.splice(40..48, *b"XBLBHSH\x00");
            bytes.splice(48..52, 3u32.to_le_bytes());
        }
        prop_assert!(Footer::parse(&bytes).is_err());
    }

    #[test]
    fn hash_strings(text in "\\PC{0,70}") {
        prop_assert!(text.parse::<Hash>().is_err() || text.len() == 64);
    }
}

#[cfg(feature = "std")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Numbers at every border, in both forms; what is read can be planned or refused, and written again.
    #[test]
    fn reconstructions(numbers in prop::collection::vec(prop_oneof![
        0u64..20, Just(8192), Just(8193), Just(131_072), Just(u64::from(u32::MAX)), Just(u64::MAX), any::<u64>()
    ], 8), size in 0u64..40) {
        let [offset, length, a, b, c, d, e, f] = numbers[..] else { unreachable!() };
        let hash = Hash::ZERO;
        let terms = format!(
            r#""offset_into_first_range":{offset},"terms":[{{"hash":"{hash}","unpacked_length":{length},"range":{{"start":{a},"end":{b}}}}}]"#
        );
        let v1 = format!(
            r#"{{{terms},"fetch_info":{{"{hash}":[{{"range":{{"start":{c},"end":{d}}},"url":"u","url_range":{{"start":{e},"end":{f}}}}}]}}}}"#
        );
        let v2 = format!(
            r#"{{{terms},"xorbs":{{"{hash}":[{{"url":"u","ranges":[{{"chunks":{{"start":{c},"end":{d}}},"bytes":{{"start":{e},"end":{f}}}}}]}}]}}}}"#
        );
        let (v1, v2) = (Reconstruction::parse_v1(v1.as_bytes()), Reconstruction::parse_v2(v2.as_bytes()));
        prop_assert_eq!(v1.is_ok(), v2.is_ok());
        if let (Ok(v1), Ok(v2)) = (v1, v2) {
            prop_assert_eq!(&v1, &v2);
            prop_assert_eq!(&Reconstruction::parse_v1(v1.to_json_v1().as_bytes()).unwrap(), &v1);
            prop_assert_eq!(&Reconstruction::parse_v2(v1.to_json_v2().as_bytes()).unwrap(), &v1);
            if let Ok(plan) = Plan::new(&v1, size) {
                plan.check_invariants();
            }
        }
    }
}
