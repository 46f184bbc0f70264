//! The original asks with 45 bytes for chunks of a xorb. Its recorded conversation, with our seeder in the place of its own.

use std::path::Path;
use std::time::SystemTime;
use zest_store::{Endpoint, Place, RepoId, RepoType};
use zest_tests::caller::Caller;
use zest_tests::known::{Known, xorbs_of};
use zest_tests::{Kind, Machine, Site, noise, speak};
use zest_xet::{ChunkRef, Decoder, Manifest, XorbChunks, chunk_hash, file_hash};

const FULL: &str = "6371ce0a80f064c8f53404ba89a446f3a289d0cabad0a897e9137fe7b6b68479";
const FULL_PATH: &str = "xorbs/c8/c864f0800ace7163f346a489ba0434f597a8d0bacad089a27984b6b6e77f13e9";
const FULL_FILE: &str = "
    00150000001500007a65737420696e7465726f70206368756e6b20300a
    00170000001700007a65737420696e7465726f70206368756e6b206f6e650a
    001e0000001e00007a65737420696e7465726f70206368756e6b206e756d6265722074776f0a";
const PARTIAL: &str = "2beedc4a71169ea2583e1b39163043f3243016ebbb22a7990e59256c277b35b6";
const PARTIAL_PATH: &str = "xorbs/a2/a29e16714adcee2bf3433016391b3e5899a722bbeb163024b6357b276c25590e.3";
const PARTIAL_FILE: &str = "
    000f0000000f0000 7061727469616c206368756e6b2033
    000f0000000f0000 7061727469616c206368756e6b2034
    000f0000000f0000 7061727469616c206368756e6b2035";
const CHUNK: &str = "960feb440db21f08ae0e36f30976bcd387432927bb00e494e893dfdde1930dc0";
const CHUNK_PATH: &str = "chunks/96/960feb440db21f08ae0e36f30976bcd387432927bb00e494e893dfdde1930dc0";
const NOBODYS: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

const PROBE: &[u8] = b"d1:md6:ut_xeti3ee1:pi0e1:v5:probee";
const PROBE_ID: &[u8; 20] = b"-XX0001-000000000000";

/// Bytes from hex; blanks are ignored.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| (b as char).to_digit(16).expect("a hex digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("make a folder");
    std::fs::write(path, bytes).expect("write a file");
}

/// A machine with the original's caches, and a file in its catalog that has all their chunks.
async fn machine(kind: Kind, endpoint: &str, public: bool) -> Machine {
    let machine = Machine::new(endpoint).await;
    let cache = machine.env.zest_cache.clone();
    write(&cache.join(FULL_PATH), &hex(FULL_FILE));
    write(&cache.join(PARTIAL_PATH), &hex(PARTIAL_FILE));
    write(&cache.join(CHUNK_PATH), b"chunk-cache chunk");
    let machine = machine.restarted().await;
    let chunks: Vec<Vec<u8>> = [hex(FULL_FILE), hex(PARTIAL_FILE)]
        .iter()
        .flat_map(|file| {
            XorbChunks::new(file).map(|c| c.expect("a good vector").1.to_vec()).collect::<Vec<_>>()
        })
        .chain([b"chunk-cache chunk".to_vec()])
        .collect();
    let refs: Vec<ChunkRef> =
        chunks.iter().map(|c| ChunkRef { hash: chunk_hash(c), len: c.len() as u32 }).collect();
    let content = chunks.concat();
    let path = machine.dir().join("all of them.bin");
    write(&path, &content);
    let manifest = Manifest::prove(file_hash(&refs), content.len() as u64, refs).expect("a good list");
    let repo = RepoId::new(RepoType::Model, "org/old").expect("a good name");
    let commit = "0123456789012345678901234567890123456789";
    let place = Place { hub: Some(Endpoint::public()), path, repo: repo.clone(), commit: commit.into() };
    let catalog = &machine.store().catalog;
    catalog.publish(&manifest, &place, None, None).expect("the catalog takes it");
    if public {
        catalog
            .prove_public(&Endpoint::public(), &repo, commit, SystemTime::now())
            .expect("the catalog takes it");
    }
    machine.seed_on(kind).await
}

async fn answer(caller: &mut Caller) -> Vec<u8> {
    let frame = caller.frame().await.expect("the link stays");
    [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
}

async fn opened(machine: &Machine) -> Caller {
    let mut caller = Caller::dial(&machine.address(), PROBE_ID, PROBE).await;
    assert_eq!(caller.handshake[..28], hex("13426974546f7272656e742070726f746f636f6c 0000000000100000"));
    assert_eq!(caller.handshake[28..48], [7; 20], "the info-hash is echoed");
    // Its client gives up unless the extension handshake is the very first message.
    assert_eq!(answer(&mut caller).await[4..6], [20, 0]);
    assert_eq!(answer(&mut caller).await, hex("00000001 01"));
    assert_eq!(answer(&mut caller).await, hex("00000001 02"));
    caller
}

async fn its_recorded_conversation_goes_the_same_way(kind: Kind) {
    let mut site = Site::new();
    let machine = machine(kind, &site.open().await, true).await;
    let mut caller = opened(&machine).await;
    // We answer on the id that was negotiated (3), where the original says 1.
    let exchanges = [
        (
            format!("0000002f 14 01 01 00000001 {FULL} 00000000 00000003"),
            format!("00000071 14 03 02 00000001 00000000 00000062 {FULL_FILE}"),
        ),
        // Where the original sends everything, we send what was asked for and say where it begins.
        (
            format!("0000002f 14 01 01 00000002 {FULL} 00000001 00000002"),
            "0000002e 14 03 02 00000002 00000001 0000001f
             00170000001700007a65737420696e7465726f70206368756e6b206f6e650a"
                .to_owned(),
        ),
        (
            format!("0000002f 14 01 01 00000004 {PARTIAL} 00000003 00000006"),
            format!("00000054 14 03 02 00000004 00000003 00000045 {PARTIAL_FILE}"),
        ),
        (
            format!("0000002f 14 01 01 00000005 {PARTIAL} 00000004 00000005"),
            format!("00000027 14 03 03 00000005 {PARTIAL}"),
        ),
        (
            format!("0000002f 14 01 01 00000006 {PARTIAL} 00000000 00000007"),
            format!("00000027 14 03 03 00000006 {PARTIAL}"),
        ),
        (
            format!("0000002f 14 01 01 00000008 {NOBODYS} 00000000 00000001"),
            format!("00000027 14 03 03 00000008 {NOBODYS}"),
        ),
        // An id that was never negotiated.
        (
            format!("0000002f 14 07 01 0000000a {FULL} 00000000 00000003"),
            format!("00000071 14 03 02 0000000a 00000000 00000062 {FULL_FILE}"),
        ),
    ];
    for (question, want) in exchanges {
        caller.send(&hex(&question)).await;
        assert_eq!(answer(&mut caller).await, hex(&want), "{question}");
    }
    // No answer to these, and the link stays.
    for quiet in ["00000000", "00000001 02", "00000005 04 00000001"] {
        caller.send(&hex(quiet)).await;
    }
    caller.send(&speak::ext(0, PROBE)).await;
    // Five requests in one write are answered in their order.
    let five: Vec<String> =
        (100..105).map(|id| format!("0000002f 14 01 01 {id:08x} {FULL} 00000000 00000003")).collect();
    caller.send(&hex(&five.concat())).await;
    for id in 100..105 {
        let want = format!("00000071 14 03 02 {id:08x} 00000000 00000062 {FULL_FILE}");
        assert_eq!(answer(&mut caller).await, hex(&want));
    }
}

async fn its_chunk_cache_is_served_if_the_name_is_the_chunks_hash(kind: Kind) {
    let mut site = Site::new();
    let machine = machine(kind, &site.open().await, true).await;
    let mut caller = opened(&machine).await;
    caller.send(&hex(&format!("0000002f 14 01 01 00000007 {CHUNK} 00000000 00000001"))).await;
    let got = answer(&mut caller).await;
    if *chunk_hash(b"chunk-cache chunk").as_bytes() == hex(CHUNK)[..] {
        assert_eq!(
            got,
            hex("00000020 14 03 02 00000007 00000000 00000011 6368756e6b2d6361636865206368756e6b")
        );
    } else {
        assert_eq!(
            got,
            hex(&format!("00000027 14 03 03 00000007 {CHUNK}")),
            "under a wrong name nothing is served"
        );
    }
    // By its own hash it is found in any case, in both layouts.
    let hash = chunk_hash(b"chunk-cache chunk");
    caller
        .send(&speak::ext(1, &[&[1, 0, 0, 0, 9][..], hash.as_bytes(), &[0; 3], &[0], &[0; 3], &[1]].concat()))
        .await;
    let got = answer(&mut caller).await;
    assert_eq!(got, hex("00000020 14 03 02 00000009 00000000 00000011 6368756e6b2d6361636865206368756e6b"));
    caller.send(&speak::ext(1, &[&[1, 0, 0, 0, 10][..], hash.as_bytes()].concat())).await;
    assert_eq!(
        answer(&mut caller).await,
        hex("0000001c 14 03 02 0000000a 00000011 6368756e6b2d6361636865206368756e6b")
    );
}

async fn its_caches_are_not_served_while_nothing_shows_that_they_are_public(kind: Kind) {
    let mut site = Site::new();
    let machine = machine(kind, &site.open().await, false).await;
    let mut caller = opened(&machine).await;
    for hash in [FULL, PARTIAL, CHUNK] {
        caller.send(&hex(&format!("0000002f 14 01 01 00000001 {hash} 00000003 00000006"))).await;
        assert_eq!(answer(&mut caller).await, hex(&format!("00000027 14 03 03 00000001 {hash}")));
    }
}

async fn a_poisoned_xorb_of_its_cache_is_not_served(kind: Kind) {
    let mut site = Site::new();
    let machine = machine(kind, &site.open().await, true).await;
    let path = machine.env.zest_cache.join(FULL_PATH);
    let mut bytes = hex(FULL_FILE);
    bytes[20] ^= 1;
    write(&path, &bytes);
    let mut caller = opened(&machine).await;
    let question = hex(&format!("0000002f 14 01 01 00000001 {FULL} 00000000 00000003"));
    caller.send(&question).await;
    assert_eq!(answer(&mut caller).await, hex(&format!("00000027 14 03 03 00000001 {FULL}")));
    // Mended, it is; poisoned after it was looked at, it is not.
    write(&path, &hex(FULL_FILE));
    caller.send(&question).await;
    assert_eq!(answer(&mut caller).await.len(), 0x71 + 4);
    std::fs::remove_file(&path).expect("it is there");
    write(&path, &bytes);
    caller.send(&question).await;
    assert_eq!(answer(&mut caller).await, hex(&format!("00000027 14 03 03 00000001 {FULL}")));
}

async fn xorb_ranges_are_made_of_files_in_the_hf_cache(kind: Kind) {
    let mut site = Site::new();
    let known = Known::new(noise(57, 1_200_000));
    site.add("org/model", "model.safetensors", &known.bytes);
    let endpoint = site.open().await;
    let (xorbs, _) = xorbs_of(&site, "org/model", &known).await;
    let machine = Machine::new(&endpoint).await;
    machine.pull_from("org/model", &[]).await.expect("the pull");
    let machine = machine.seed_on(kind).await;

    let mut caller = opened(&machine).await;
    let xorb = &xorbs[0];
    let all = xorb.chunks.len() as u32;
    for (req, start, end) in [(1u32, 0, all), (2, 2, 5), (3, all - 1, all)] {
        let name: String = xorb.hash.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        caller.send(&hex(&format!("0000002f 14 01 01 {req:08x} {name} {start:08x} {end:08x}"))).await;
        let got = answer(&mut caller).await;
        let len = got.len() as u32;
        let head =
            [&[20, 3, 2][..], &req.to_be_bytes(), &start.to_be_bytes(), &(len - 19).to_be_bytes()].concat();
        assert_eq!(got[4..19], head, "13 bytes of head, the range begins where it was asked to");
        let mut decoder = Decoder::new();
        let chunks: Vec<ChunkRef> = XorbChunks::new(&got[19..])
            .map(|chunk| {
                let (header, packed) = chunk.expect("a serialised xorb range");
                let mut plain = vec![0; header.len as usize];
                decoder.decode(header, packed, &mut plain).expect("a chunk that decodes");
                ChunkRef { hash: chunk_hash(&plain), len: header.len }
            })
            .collect();
        let want: Vec<ChunkRef> =
            xorb.chunks[start as usize..end as usize].iter().map(|(chunk, _)| *chunk).collect();
        assert_eq!(chunks, want);
    }
    // Ranges that make no sense are answered, not feared.
    let name: String = xorb.hash.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    for (start, end) in [(5u32, 2u32), (0, 0), (all, all + 1), (0, u32::MAX), (u32::MAX, u32::MAX)] {
        caller.send(&hex(&format!("0000002f 14 01 01 00000009 {name} {start:08x} {end:08x}"))).await;
        assert_eq!(answer(&mut caller).await, hex(&format!("00000027 14 03 03 00000009 {name}")));
    }
}

zest_tests::on_every_runtime!(
    its_recorded_conversation_goes_the_same_way,
    its_chunk_cache_is_served_if_the_name_is_the_chunks_hash,
    its_caches_are_not_served_while_nothing_shows_that_they_are_public,
    a_poisoned_xorb_of_its_cache_is_not_served,
    xorb_ranges_are_made_of_files_in_the_hf_cache,
);
