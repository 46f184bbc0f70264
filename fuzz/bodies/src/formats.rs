//! Formats of the Xet storage: manifests, serialised xorbs, reconstructions.

use zest_xet::{
    ChunkHeader, ChunkRef, Decoder, Encoder, Footer, Hash, MANIFEST_RECORD_BYTES, Manifest, ManifestError,
    Plan, Reconstruction, Scheme, SchemeChoice, TreeHasher, XorbChunks, file_hash, verify, xorb_hash,
};

use crate::cursor::Cursor;

/// Records of a manifest that one input may have: enough for three levels of the tree.
const RECORDS_MAX: usize = 512;

/// Input: u8 form, u16 which bit to flip later, the records. Form bit 0: force lengths into the lawful range; bit 1:
/// a size is given (u64, before the records) instead of computed; bit 2: a file hash is given (32 bytes) as well.
///
/// A list proves itself against its own hash exactly if its lengths are lawful; proven, it is written again byte for
/// byte; and no flipped bit gets through.
pub fn manifest(input: &[u8]) {
    let mut input = Cursor::new(input);
    let (form, flip) = (input.u8(), input.u16());
    let given_size = (form & 2 != 0).then(|| input.number::<8>());
    let given_file = (form & 4 != 0).then(|| input.bytes(32));
    let raw = input.rest();
    let mut records = raw[..raw.len().min(RECORDS_MAX * MANIFEST_RECORD_BYTES)].to_vec();
    if form & 1 != 0 {
        records.as_chunks_mut::<MANIFEST_RECORD_BYTES>().0.iter_mut().for_each(force_lawful);
    }
    let (whole, rest) = records.as_chunks::<MANIFEST_RECORD_BYTES>();
    let list: Vec<ChunkRef> = whole.iter().map(read_record).collect();
    let sum: u64 = list.iter().map(|chunk| u64::from(chunk.len)).sum();
    let lawful = rest.is_empty() && list.iter().all(|chunk| (1..=131_072).contains(&chunk.len));

    let mut tree = TreeHasher::new();
    list.iter().for_each(|&chunk| tree.push(chunk));
    let root = file_hash(&list);
    assert_eq!(tree.finish_file(), root, "the tree can be built as chunks come");
    let given_file = given_file.map(|bytes| bytes.try_into().map_or(Hash::ZERO, Hash::from_bytes));
    let (file, size) = (given_file.unwrap_or(root), given_size.unwrap_or(sum));

    let parsed = Manifest::parse(file, size, &records);
    let expected = lawful && size == sum && file == root;
    match parsed {
        Ok(manifest) => {
            assert!(expected, "a list with a wrong hash, size or length was proven");
            check_manifest(&manifest, &list, &records);
            refuses_any_flip(file, size, records, flip.into());
        }
        Err(error) => assert!(!expected, "a good list was refused: {error}"),
    }
}

fn read_record(record: &[u8; MANIFEST_RECORD_BYTES]) -> ChunkRef {
    let (hash, len) = record.split_first_chunk().expect("a record has 36 bytes");
    ChunkRef {
        hash: Hash::from_bytes(*hash),
        len: u32::from_be_bytes(len.try_into().expect("four bytes are left")),
    }
}

fn force_lawful(record: &mut [u8; MANIFEST_RECORD_BYTES]) {
    let len = read_record(record).len % 131_072 + 1;
    record[32..].copy_from_slice(&len.to_be_bytes());
}

fn check_manifest(manifest: &Manifest, list: &[ChunkRef], records: &[u8]) {
    assert_eq!(manifest.chunks(), list);
    let mut written = Vec::new();
    manifest.write_records(0..manifest.len(), &mut written);
    assert_eq!(written, records, "a manifest has one form");
    let mut offset = 0;
    for (index, chunk) in (0..).zip(list) {
        assert_eq!((manifest.offset(index), manifest.chunk(index)), (offset, *chunk));
        assert_eq!(manifest.chunk_at(offset), Some(index), "its first byte lies in the chunk");
        offset += u64::from(chunk.len);
        assert_eq!(manifest.chunk_at(offset - 1), Some(index), "its last byte lies in the chunk");
    }
    assert_eq!((manifest.offset(manifest.len()), manifest.chunk_at(offset)), (offset, None));
}

fn refuses_any_flip(file: Hash, size: u64, mut records: Vec<u8>, flip: usize) {
    if records.is_empty() {
        return;
    }
    let bit = flip % (8 * records.len());
    records[bit / 8] ^= 1 << (bit % 8);
    let refused = Manifest::parse(file, size, &records);
    assert!(
        matches!(
            refused,
            Err(ManifestError::Root { .. } | ManifestError::Size { .. } | ManifestError::ChunkLength { .. })
        ),
        "a flipped bit was not noticed"
    );
}

/// Input: a serialised xorb or a range of one, with or without a footer.
///
/// The walk stays inside, unpacking writes nowhere but into its output, gives the same twice and, for grouped bytes,
/// what the plain definition of the grouping gives; what was unpacked can be packed again by every scheme.
pub fn xorb_chunk(input: &[u8]) {
    let chunks = match Footer::split(input) {
        Ok((chunks, footer)) => {
            let list: Vec<ChunkRef> = footer.chunks().collect();
            assert_eq!(xorb_hash(&list), footer.xorb, "a footer proves its list");
            let written = footer.encode();
            assert_eq!(Footer::parse(&written).as_ref(), Ok(&footer), "a footer reads back");
            chunks
        }
        Err(_) => input,
    };
    let (mut decoder, mut encoder) = (Decoder::new(), Encoder::new());
    let mut walked = 0;
    // Each chunk may take 128 KiB, however short its data.
    for (header, packed) in XorbChunks::new(chunks).take(16).map_while(Result::ok) {
        assert_eq!(ChunkHeader::parse(&header.encode()), Ok(header), "a lawful header reads back");
        assert_eq!(packed.len(), header.packed_len as usize);
        walked += ChunkHeader::BYTES + packed.len();
        assert!(walked <= chunks.len(), "the walk stays inside");
        let Some(data) = decode_guarded(&mut decoder, header, packed) else { continue };
        if header.scheme == Scheme::Bg4Lz4 {
            let grouped = decode_guarded(&mut decoder, ChunkHeader { scheme: Scheme::Lz4, ..header }, packed);
            assert!(regroup(&grouped.expect("the frame decodes")) == data, "wide and plain regrouping agree");
        }
        for choice in [SchemeChoice::None, SchemeChoice::Lz4, SchemeChoice::Bg4Lz4, SchemeChoice::Auto] {
            packs_and_unpacks(&mut encoder, &mut decoder, &data, choice);
        }
    }
}

/// Bytes around the output that must not change.
const GUARD: [u8; 64] = [0xc5; 64];

/// Unpacks between two guards, twice, from different old contents.
pub(crate) fn decode_guarded(decoder: &mut Decoder, header: ChunkHeader, packed: &[u8]) -> Option<Vec<u8>> {
    let len = header.len as usize;
    let mut run = |old: u8| {
        let mut room = [&GUARD[..], &vec![old; len], &GUARD[..]].concat();
        let outcome = decoder.decode(header, packed, &mut room[GUARD.len()..][..len]);
        assert!(room.starts_with(&GUARD) && room.ends_with(&GUARD), "wrote outside of its output");
        room.truncate(GUARD.len() + len);
        outcome.map(|()| room.split_off(GUARD.len()))
    };
    let (one, two) = (run(0), run(0xff));
    assert!(one == two, "the outcome depends on what lay in the output");
    one.ok()
}

/// The definition of the grouping, undone byte by byte.
fn regroup(grouped: &[u8]) -> Vec<u8> {
    let mut data = vec![0; grouped.len()];
    let places = (0..4).flat_map(|group| (group..grouped.len()).step_by(4));
    for (place, byte) in places.zip(grouped) {
        data[place] = *byte;
    }
    data
}

fn packs_and_unpacks(encoder: &mut Encoder, decoder: &mut Decoder, data: &[u8], choice: SchemeChoice) {
    let mut xorb = Vec::new();
    let header = encoder.encode(data, choice, &mut xorb);
    assert_eq!(header.len as usize, data.len());
    assert!(header.packed_len <= header.len, "packing never grows a chunk");
    let mut walk = XorbChunks::new(&xorb);
    let (read, packed) = walk.next().expect("one chunk").expect("our own chunk");
    assert!(read == header && walk.next().is_none());
    let mut out = vec![0; data.len()];
    decoder.decode(read, packed, &mut out).expect("our own chunk unpacks");
    assert!(out == data, "packing with {choice:?} loses nothing");
    let chunk = ChunkRef { hash: zest_xet::chunk_hash(data), len: header.len };
    assert!(verify(out, chunk).is_ok(), "and proves");
}

/// Terms of one input: bounds the quadratic checks below.
const TERMS_MAX: usize = 64;

/// Input: the JSON of a reconstruction. What is read is written again in both forms with the same meaning, and makes a
/// plan in which every chunk of the file has its place.
pub fn reconstruction(input: &[u8]) {
    let (v1, v2) = (Reconstruction::parse_v1(input), Reconstruction::parse_v2(input));
    for (read, form) in [(v1, 1), (v2, 2)] {
        let Ok(read) = read else { continue };
        let as_v1 = Reconstruction::parse_v1(read.to_json_v1().as_bytes()).expect("our own v1");
        let as_v2 = Reconstruction::parse_v2(read.to_json_v2().as_bytes()).expect("our own v2");
        assert_eq!(as_v2, read, "v2 keeps everything");
        assert!(form != 1 || as_v1 == read, "what came as v1 fits v1");
        let size = read.terms.iter().map(|term| term.unpacked_len).sum();
        let plan = Plan::new(&read, size);
        // v1 joins URLs and forgets those without ranges: no plan cares.
        assert_eq!(Plan::new(&as_v1, size), plan, "both forms mean the same");
        assert!(Plan::new(&read, size + 1).is_err(), "a plan adds up to the file");
        if let Ok(plan) = plan {
            check_plan(&plan);
        }
    }
}

fn check_plan(plan: &Plan) {
    plan.check_invariants();
    for (at, term) in (0..).zip(&plan.terms).take(TERMS_MAX) {
        let count = term.chunks.end - term.chunks.start;
        for within in [0, count / 2, count - 1] {
            let (index, chunk) = (term.first_index + within, term.chunks.start + within);
            assert_eq!(plan.term_of_index(index), at, "an index belongs to one term");
            let places: Vec<_> = plan.places(term.block, chunk).collect();
            assert!(places.contains(&(at, index)), "a chunk of a term has its place");
            for (other, index) in places {
                assert_eq!(plan.term_of_index(index), other, "every place is in its term");
            }
        }
    }
}
