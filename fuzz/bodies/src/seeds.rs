//! The inputs a fuzzing run starts from: real messages, real files and the vectors of the formats, made by our encoders.

use crate::wire::rising_hash;
use zest_core::FileKey;
use zest_core::dht::{Config, Dht, NodeId, krpc};
use zest_core::wire::xet::{self, Dialect};
use zest_core::wire::{ext_handshake, zest};
use zest_xet::{
    ChunkRef, Encoder, Fetch, FetchRange, Footer, Hash, Manifest, Reconstruction, SchemeChoice, Term,
    chunk_hash, file_hash,
};

/// What zest 0.4, ccbt 0.1.0 and zest itself send as extension handshake, and what hostile ones might.
const HANDSHAKES: [&[u8]; 8] = [
    b"d1:md6:ut_xeti1ee1:pi6881e1:v8:zest/0.3e",
    b"d1:md6:ut_pexi4e6:ut_xeti1e3:xeti2e4:zesti3ee1:pi6881e4:reqqi512e1:v10:zest/0.5.0e",
    b"d1:md6:ut_xeti3ee1:pi0e1:v5:probee",
    b"d1:e8:disabled1:md11:ut_metadatai1eee",
    b"d1:e8:disabled1:md3:ssli1e11:ut_metadatai3e3:xeti2ee3:xetd14:hash_algorithm18:xet-hash:v1:blake322:\
supports_bloom_filtersiTrueee",
    b"d1:ei0e1:md11:LT_metadatai3e6:ut_pexi1ee1:pi6881e4:reqqi500e1:v17:libtorrent/2.1.1.6:yourip4:\x7f\0\0\x01e",
    b"d1:md6:ut_xeti0e3:xeti256e4:zest1:xe1:pi65536e4:reqqi-1e1:vi1ee",
    b"d1:v8:\xc3\xa9\x00\x1b[2J\xff1:xe",
];

/// Three uncompressed chunks, as zest 0.4 serves them.
const INTEROP_CHUNKS: [&[u8]; 3] =
    [b"zest interop chunk 0\n", b"zest interop chunk one\n", b"zest interop chunk number two\n"];

/// All inputs by target.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut all = vec![
        ("bencode", bencode()),
        ("dht", dhts()),
        ("ext_handshake", ext_handshakes()),
        ("krpc", krpcs()),
        ("link", links()),
        ("lsd", searches()),
        ("lz4_frame", lz4_frames()),
        ("manifest", manifests()),
        ("node", swarms()),
        ("pex", exchanges()),
        ("reconstruction", reconstructions()),
        ("tracker_http", tracker_bodies()),
        ("tracker_udp", tracker_datagrams()),
        ("xet_message", xet_messages()),
        ("xorb_chunk", xorb_chunks()),
        ("zest_message", zest_messages()),
    ];
    all.extend(crate::local_seeds::seeds());
    all
}

/// A peer, then a job with it; two that claim; one that lies; a pull from the origin alone.
fn swarms() -> Vec<Vec<u8>> {
    // A link that greets and has all of file 1; the job of that file, its list and its layout.
    let begin = [0, 33, 2, 0, 48, 9, 1, 0, 3, 0, 1, 4, 0, 1, 0, 0, 40, 10, 0, 3, 10, 0, 0, 13, 3];
    let served = [8, 0, 2, 11, 0, 1, 8, 0, 3, 11, 0, 1, 7, 0, 0, 1, 3, 13, 9];
    let lied = [8, 0, 2, 11, 0, 0, 8, 0, 131, 8, 0, 1, 0, 33, 13, 9];
    let claimed = [
        0, 65, 2, 1, 48, 3, 1, 1, 6, 0, 1, 2, 0, 0, 0, 4, 1, 5, 6, 1, 1, 1, 0, 1, 255, 14, 1, 44, 6, 0, 1, 1,
        0, 0, 100,
    ];
    let fetched =
        [9, 2, 2, 10, 0, 0, 13, 9, 12, 0, 1, 12, 0, 1, 12, 0, 1, 12, 0, 1, 12, 0, 0, 12, 0, 32, 14, 0, 99];
    let mut all = Vec::new();
    for flags in [0, 1, 2, 5] {
        for rest in [&served[..], &lied, &claimed, &[claimed.as_slice(), &fetched, &served].concat()] {
            all.push([&[flags], &begin[..], rest].concat());
        }
        all.push([&[flags], &fetched[..], &[1, 0, 9, 0, 1, 15, 0, 7, 13, 99]].concat());
    }
    all
}

fn bencode() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = HANDSHAKES.iter().map(|text| text.to_vec()).collect();
    all.extend([
        // A DHT answer (BEP 5), and the borders of what is read.
        b"d1:rd2:id20:mnopqrstuvwxyz1234565:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re"
            .to_vec(),
        b"d4:dictd1:xi0ee3:inti-42e4:listl0:i7ee3:str3:abce".to_vec(),
        b"i-9223372036854775808e".to_vec(),
        [vec![b'l'; 8], vec![b'e'; 8]].concat(),
        [vec![b'l'; 9], vec![b'e'; 9]].concat(),
        [&b"l"[..], &b"0:".repeat(1022), b"e"].concat(),
        b"d1:bi2e1:ai1ee".to_vec(),
        b"18446744073709551616:".to_vec(),
        b"li01ei-0ei7ee".to_vec(),
        b"l00:e".to_vec(),
        b"i01e".to_vec(),
    ]);
    all
}

fn ext_handshakes() -> Vec<Vec<u8>> {
    let pairs = HANDSHAKES.iter().zip(HANDSHAKES.iter().cycle().skip(1));
    let mut all: Vec<Vec<u8>> = pairs
        .map(|(first, second)| [&[0][..], &(first.len() as u16).to_be_bytes(), first, second].concat())
        .collect();
    all.push([&[1, 0, 0][..], &ext_handshake::ours(6881, 512)].concat());
    all
}

/// Replies of trackers over HTTP: compact, in dictionaries, with everything, refused, broken, a scrape.
fn tracker_bodies() -> Vec<Vec<u8>> {
    let list: Vec<u8> = (0..220u8).flat_map(|n| [192, 0, 2, n, 0x1a, n]).collect();
    [
        &b"d8:completei3e11:external ip4:\xc0\x00\x02\x0910:incompletei4e8:intervali1800e12:min intervali60e\
5:peers12:\xc0\x00\x02\x01\x1a\xe1\xc0\x00\x02\x02\x00\x006:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb\
10:tracker id3:abc15:warning message5:b\x1b[1me"[..],
        b"d8:intervali900e5:peersld2:ip9:192.0.2.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eed2:ip11:2001:db8::14:porti443eee\
ed2:ip9:localhost4:porti1eeee",
        b"d14:failure reason12:unregistered8:retry ini5ee",
        b"d14:failure reason4:gone8:retry in5:nevere",
        b"d8:intervali-1e12:min intervali4294967296e5:peersi1e6:peers6le10:tracker idi1ee",
        b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10ee3:xyzdeee",
        b"d8:intervali1800e5:peers0:e\r\n",
        b"<html>503</html>",
        b"le",
        &[&b"d5:peers1320:"[..], &list, b"e"].concat(),
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Replies of trackers over UDP, without their transaction.
fn tracker_datagrams() -> Vec<Vec<u8>> {
    let head = [0, 0, 0, 1, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 1];
    [
        &[0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8][..],
        &head,
        &[&head[..], &[192, 0, 2, 1, 0x1a, 0xe1, 127, 0, 0, 1, 0, 9]].concat(),
        &[&head[..], &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9]].concat(),
        &[&[0, 0, 0, 2][..], &[1; 25]].concat(),
        b"\0\0\0\x03connection id mismatch\n",
        &[0, 0, 0, 4],
        &[0, 0],
        &[0, 0, 0, 1, 0, 0],
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Messages of BEP 14: ours, other hands, broken ones.
fn searches() -> Vec<Vec<u8>> {
    use zest_core::InfoHash;
    use zest_core::lsd::{Group, message};
    let many: Vec<InfoHash> = (0x60..0x80).map(|n| InfoHash([n; 20])).collect();
    let ours = "6161616161616161616161616161616161616161";
    vec![
        message::write(Group::V4, 6881, &many[1..2], "1a2b3c4d"),
        message::write(Group::V6, 1, &many, "x"),
        format!("BT-SEARCH * HTTP/1.1\nINFOHASH:{ours}\n\nX: y\n port : 80 \nInfohash: zz\ninfohash:{ours}")
            .into_bytes(),
        format!("BT-SEARCH * HTTP/1.1\r\nPort: 70000\r\nInfohash: {ours}\r\n\r\n\r\n").into_bytes(),
        format!("BT-SEARCH * HTTP/1.1\r\nPort: 7\r\nInfohash: {}\r\n", "q".repeat(40)).into_bytes(),
        b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n".to_vec(),
    ]
}

/// Peer exchanges: ours, libtorrent's, broken ones.
fn exchanges() -> Vec<Vec<u8>> {
    use zest_core::wire::pex::{Pex, write};
    let peer = |n: u8| ([198, 51, 100, n], 6881).into();
    let near = ([10, 0, 0, 9], 6881).into();
    let v6 = "[2001:db8::1]:443".parse().expect("an address");
    let ours =
        Pex { added: vec![(peer(1), 0x10), (peer(2), 2), (near, 0), (v6, 0)], dropped: vec![peer(3), v6] };
    let many = Pex { added: (0..60).map(|n| (peer(n), n)).collect(), dropped: (60..120).map(peer).collect() };
    let messages: [&[u8]; 7] = [
        &write(&ours),
        &write(&many),
        b"d5:added6:\xc0\x00\x02\x01\x1a\xe17:added.f1:\x026:added60:8:added6.f0:7:dropped0:8:dropped60:e",
        b"d5:added12:\xc0\x00\x02\x01\x1a\xe1\x7f\x00\x00\x01\x00\x09e",
        b"d5:added5:12345e",
        b"d7:added.flee",
        b"de",
    ];
    messages.iter().enumerate().map(|(n, message)| [&[n as u8][..], message].concat()).collect()
}

fn hash_of(byte: u8) -> Hash {
    Hash::from_bytes([byte; 32])
}

/// Every message of every layout, with a table in which request 7 for hash 0x07… is pending in each layout.
fn xet_messages() -> Vec<Vec<u8>> {
    let hash = rising_hash(7);
    let mut messages = Vec::new();
    for dialect in [Dialect::Chunk, Dialect::Range, Dialect::Doc] {
        messages.push(xet::chunk_request(1, dialect, 7, &hash).as_bytes()[6..].to_vec());
        let head = xet::answer_head(1, dialect, 7, &hash, 3, 5, b"hello");
        messages.push(head.as_bytes()[6..].to_vec());
        messages.push(xet::not_found(1, dialect, 7, &hash).as_bytes()[6..].to_vec());
        messages.push(xet::error(1, dialect, 7, &hash, 1, b"boom").as_bytes()[6..].to_vec());
    }
    messages.push(xet::xorb_request(1, 7, &hash, 3, 9).as_bytes()[6..].to_vec());
    // Reads as an answer in two layouts.
    messages.push(xet::answer_head(1, Dialect::Range, 7, &hash, 9, 5, b"hello").as_bytes()[6..].to_vec());
    // The documentation without a type byte.
    messages.push([&hash.as_bytes()[..], &5u32.to_be_bytes(), b"hello"].concat());
    messages.push(hash.as_bytes().to_vec());
    messages.push([&hash.as_bytes()[..], &1u32.to_be_bytes(), b"boom"].concat());
    // Folder and gossip types of ccbt.
    messages.push(vec![10, 0, 0, 0, 7]);
    messages.push(b"\x28{}".to_vec());
    let mut all = Vec::new();
    for dialect in 0..3 {
        all.extend(messages.iter().map(|message| [&[1, dialect, 7, 7, 0, 0][..], message].concat()));
        // Without a type byte, and a hash that begins like one.
        for kind in 1..5 {
            for payload in [&b"h"[..], b"hello"] {
                let len = (payload.len() as u32).to_be_bytes();
                all.push(
                    [&[1, dialect, 7, kind, 0, 0][..], rising_hash(kind).as_bytes(), &len, payload].concat(),
                );
            }
        }
    }
    all
}

fn claim(first: u32, beat: u16) -> zest::Claim {
    zest::Claim { first, score: 0x0123_4567_89ab_cdef, beat }
}

fn zest_messages() -> Vec<Vec<u8>> {
    let file = hash_of(9);
    let claims = [claim(0, 1), claim(u32::MAX, zest::Claim::RELEASED)];
    let scattered: Vec<(u32, u32)> = (0..40).map(|n| (n * n * 3, 1 + n)).collect();
    let mut all: Vec<Vec<u8>> = [
        zest::manifest_request(3, 1, &file, 0, 14_336),
        zest::manifest_none(3, 1),
        zest::interest(3, &file),
        zest::uninterest(3, &file),
        zest::have(3, &file, 100_000, &[(0, 100_000)]),
        zest::have(3, &file, 10_000, &scattered),
        zest::have(3, &file, 5, &[]),
        zest::slot(3, true, 0),
        zest::slot(3, false, 300),
        zest::cancel(3, u32::MAX),
        zest::plain_request(3, 1, &zest::PlainKey::git_blob(&[7; 20]), 1 << 20, 128 << 10, true),
        zest::plain_request(3, 1, &zest::PlainKey::sha256([7; 32]), 9, 0, false),
        zest::plain_none(3, 1),
    ]
    .iter()
    .chain(&zest::have_more(3, FileKey::of(&file), &scattered).collect::<Vec<_>>())
    .chain(&zest::claim(3, FileKey::of(&file), &claims).collect::<Vec<_>>())
    .map(|head| [&[0, 0][..], &head.as_bytes()[6..]].concat())
    .collect();
    // Runs that touch, are empty, exceed the file, or are not in the shortest form.
    for runs in [&[0, 2, 0, 1, 0, 1][..], &[0, 1, 0, 0], &[0, 1, 5, 5], &[0, 1, 0x80, 0, 1]] {
        let count = 2u16.to_be_bytes();
        all.push([&[0, 0, 6][..], file.as_bytes(), &9u32.to_be_bytes(), &count, runs].concat());
        all.push([&[0, 0, 7][..], &FileKey::of(&file).0, &count, runs].concat());
    }
    // Runs up to the last number and past it.
    for last in [0x0e, 0x0f, 0x1f] {
        let runs = [0, 1, 0xff, 0xff, 0xff, 0xff, last, 1];
        all.push([&[0, 0, 7][..], &FileKey::of(&file).0, &2u16.to_be_bytes(), &runs].concat());
    }
    let part = zest::manifest_part_head(
        3,
        1,
        zest::ManifestPart { file_size: 1 << 40, total: 20_000, first: 14_336, count: 2 },
    );
    all.push([&72u16.to_be_bytes()[..], &part.as_bytes()[6..]].concat());
    all.push([&9u16.to_be_bytes()[..], &zest::plain_part_head(3, 1, 9).as_bytes()[6..]].concat());
    all
}

/// The examples of BEP 5, our own forms of them, forms that are wrong, and a saved table.
fn krpcs() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        &b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"[..],
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e\
5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
        b"d1:rd2:id20:0123456789abcdefghij5:nodes28:mnopqrstuvwxyz123456axje.uXXe1:t2:aa1:y1:re",
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
        b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe",
        b"d1:y1:q1:t1:x3:zzzli1ei2ee1:q4:ping1:ad4:junkde2:id20:abcdefghij0123456789ee",
    ]
    .map(<[u8]>::to_vec)
    .into();
    let id = NodeId([7; 20]);
    let v4 = [(id, "1.2.3.4:5".parse().expect("an address"))];
    let v6 = [(id, "[2001:db8::1]:5".parse().expect("an address"))];
    let values = [v4[0].1, v6[0].1];
    let want = Some(krpc::Want { v4: true, v6: true });
    all.push(krpc::query(b"abcd", &id, &krpc::Query::FindNode { target: id }, want, true));
    let answer = krpc::Answer { nodes: Some(&v4), nodes6: Some(&v6), token: Some(b"token"), values: &values };
    all.push(krpc::reply(b"abcd", &id, v6[0].1, &answer));
    all.push(krpc::error(b"abcd", 203, "bad token"));
    all.push(Dht::new(Config::new([1; 32])).saved().to_bytes());
    all
}

/// Scripts of `dht`; see its documentation for the steps.
fn dhts() -> Vec<Vec<u8>> {
    let script = |flags: u8, steps: &[&[u8]]| [&[flags][..], &steps.concat()].concat();
    let mut all = Vec::new();
    for flags in [0, 1, 2, 4, 5] {
        // Join, be answered, look a key up, announce it.
        all.push(script(
            flags,
            &[
                &[11, 2, 11, 3],
                &[6, 3, 2, 0, 50, 12, 0],
                &[2, 0, 51, 9, 0, 2, 0, 52, 9, 0, 2, 0, 53, 9, 0, 8, 5],
                &[5, 9, 0, 5, 9, 1],
                &[2, 0, 60, 8, 3, 2, 1, 61, 0, 4, 2, 0, 62, 8, 70, 2, 0, 63, 8, 130, 8, 20, 8, 20],
                &[2, 0, 64, 8, 3, 4, 0, 2, 0, 65, 0, 0, 3, 0, 9, 8, 60, 8, 60, 9, 1, 0],
            ],
        ));
        // Be asked, stored in, asked for it; errors.
        let asks: Vec<[u8; 5]> = (0..40).map(|n| [1, n * 3, (n % 5) | (16 * (n % 7)), n, n % 4]).collect();
        let asks: Vec<&[u8]> = asks.iter().map(|ask| &ask[..]).collect();
        all.push([script(flags, &[&[11, 2, 11, 3]]), asks.concat(), asks.concat()].concat());
        // Meet many, sleep, wake, be restored; clocks that leap.
        let meets: Vec<[u8; 9]> = (0..20).map(|n| [7, n * 11, 2, 0, n * 13, 3, 64 * (n % 4), 8, 9]).collect();
        let meets: Vec<&[u8]> = meets.iter().map(|meet| &meet[..]).collect();
        let after: &[&[u8]] = &[
            &[5, 1, 0, 9, 200, 0, 8, 10, 8, 10, 8, 10, 11, 0],
            &[10, 200, 8, 255, 8, 255, 5, 2, 1, 9, 0, 1, 5, 3, 2, 5, 3, 5],
        ];
        all.push([script(flags, &meets), after.concat()].concat());
    }
    // Bytes as they come.
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    all.push([&[0, 0, 3, ping.len() as u8][..], ping, &[0, 3, 4], b"junk"].concat());
    all
}

/// Scripts of `link`; see its documentation for the steps.
fn links() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let cuts: &[u8] = &[5, 40, 3, 31, 2, 129];
    let script =
        |flags: u8, steps: &[&[u8]]| [&[flags, cuts.len() as u8][..], cuts, &steps.concat()].concat();
    let step = |kind: u8, first: u8, body: &[u8]| [&[kind, first, body.len() as u8][..], body].concat();
    for remote in [0, 4, 8, 12] {
        for layout in 0..8 {
            // Ask twice, forget the second, get both answers and one nobody asked for.
            all.push(script(
                remote,
                &[
                    &[3, 0, 1, 0],
                    &[3, layout, 1, 0],
                    &[4, 1, 1],
                    &[2, layout, 0, 0, 200],
                    &[2, layout, 1, 0, 90],
                    &[2, layout, 9, 0, 5],
                ],
            ));
        }
        // Everything the remote may ask or tell, and our words.
        let heads = [
            xet::chunk_request(1, Dialect::Chunk, 7, &hash_of(7)),
            xet::chunk_request(1, Dialect::Doc, 7, &hash_of(7)),
            xet::xorb_request(7, 7, &hash_of(7), 0, 3),
            zest::manifest_request(3, 1, &hash_of(9), 0, 100),
            zest::have(3, &hash_of(9), 300, &[(1, 5), (30, 200)]),
            zest::slot(3, false, 3),
            zest::cancel(3, 1),
        ];
        let file = hash_of(9);
        let more = zest::have_more(3, FileKey::of(&file), &[(6, 2), (300, 1)]);
        let claims = [claim(0, 1), claim(64, 2)];
        let heads: Vec<_> =
            heads.into_iter().chain(more).chain(zest::claim(3, FileKey::of(&file), &claims)).collect();
        let frames: Vec<Vec<u8>> =
            heads.iter().map(|head| step(1, head.as_bytes()[5], &head.as_bytes()[6..])).collect();
        let mut steps: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let words: Vec<[u8; 3]> = (0..14).map(|kind| [6, kind, 5]).collect();
        steps.extend(words.iter().map(|word| &word[..]));
        all.push(script(remote, &steps));
        // A remote that exchanges peers: with us, too much, and nonsense.
        let exchange = exchanges();
        let frames: Vec<Vec<u8>> =
            exchange.iter().filter(|m| m.len() < 200).map(|m| step(1, 4, &m[1..])).collect();
        let mut steps: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let offer = step(1, 0, b"d1:md6:ut_pexi7eee");
        steps.splice(0..0, [&offer[..], &[6, 13, 60]]);
        all.push(script(remote, &steps));
        // Ordinary BitTorrent chatter, keep-alives, silence until a deadline.
        all.push(script(
            remote,
            &[
                &step(7, 4, &[0, 0, 0, 1]),
                &step(7, 5, &[0xff; 30]),
                &[0, 4, 0, 0, 0, 0],
                &step(7, 200, b"?"),
                &[5, 95],
                &[5, 30],
            ],
        ));
        all.push(script(
            remote,
            &[&step(1, 0, HANDSHAKES[1]), &step(1, 0, HANDSHAKES[0]), &step(1, 0, b"le")],
        ));
    }
    // Without a greeting of the script's own: a web browser, silence, half a handshake, a dialled link.
    all.push(script(2, &[&[&[0, 18][..], b"GET / HTTP/1.1\r\n\r\n"].concat()]));
    all.push(script(2, &[&[5, 11]]));
    all.push(script(
        3,
        &[&[&[0, 30][..], b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0ZZ"].concat(), &[5, 5], &[5, 5]],
    ));
    all.push(script(1, &[&[3, 0, 255, 255], &[2, 0, 0, 3, 0]]));
    all
}

fn sample(len: u32) -> Vec<u8> {
    (0..len)
        .map(|at| {
            if at % 2 == 1 {
                0x3c + (at / 700) as u8 % 3
            } else {
                (at.wrapping_mul(2_654_435_761) >> 13) as u8
            }
        })
        .collect()
}

fn xorb_chunks() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new();
    let mut xorb = Vec::new();
    let mut list = Vec::new();
    let texts = INTEROP_CHUNKS.map(<[u8]>::to_vec);
    let parts =
        [(sample(900), SchemeChoice::Bg4Lz4), (b"the quick brown fox ".repeat(20), SchemeChoice::Lz4)];
    let none = texts.iter().map(|text| (text.clone(), SchemeChoice::None));
    for (data, choice) in none.chain(parts) {
        let start = xorb.len();
        let header = encoder.encode(&data, choice, &mut xorb);
        list.push((ChunkRef { hash: chunk_hash(&data), len: header.len }, (xorb.len() - start) as u32));
    }
    let with_footer = [&xorb[..], &Footer::of(&list).encode()].concat();
    let mut all = vec![xorb, with_footer];
    // Chunks as the official client stores them.
    all.push(include_bytes!("../../../xet/tests/vectors/bg4_lz4.chunk").to_vec());
    all.push(include_bytes!("../../../xet/tests/vectors/lz4.chunk").to_vec());
    for (len, choice) in [(1, SchemeChoice::None), (131, SchemeChoice::Bg4Lz4), (2_050, SchemeChoice::Auto)] {
        let mut one = Vec::new();
        encoder.encode(&sample(len), choice, &mut one);
        all.push(one);
    }
    // Long from few bytes.
    let mut long = Vec::new();
    encoder.encode(&vec![7; 131_072], SchemeChoice::Bg4Lz4, &mut long);
    all.push(long);
    all
}

fn lz4_frames() -> Vec<Vec<u8>> {
    let size = |len: u32| len.to_be_bytes()[1..].to_vec();
    let mut all = Vec::new();
    // As they are: frames of the reference program.
    for (frame, len) in [
        (&include_bytes!("../../../xet/tests/vectors/linked_all_checks.lz4")[..], 70_000),
        (include_bytes!("../../../xet/tests/vectors/independent_two_blocks.lz4"), 70_000),
        (include_bytes!("../../../xet/tests/vectors/stored_block.lz4"), 200),
    ] {
        all.push([&[1, 0, 0][..], &size(len), frame].concat());
    }
    // Built: one literal run of 5, a match 5 back of 9, a last run of 5; alone, twice, with a stored block between.
    let block: &[u8] = b"\x55hello\x05\x00\x50world";
    let packed = [&(block.len() as u16).to_be_bytes()[..], block].concat();
    let stored = [&(0x8000u16 | 5).to_be_bytes()[..], b"plain"].concat();
    for flg in [0x60, 0x40, 0x7c, 0x5c, 0x68] {
        for (blocks, len) in [
            (packed.clone(), 19),
            ([packed.clone(), packed.clone()].concat(), 38),
            ([packed.clone(), stored.clone(), packed.clone()].concat(), 43),
            (stored.clone(), 5),
        ] {
            all.push([&[0, flg, 0x40][..], &size(len), &blocks].concat());
            all.push([&[2, flg, 0x70][..], &size(len), &blocks].concat());
        }
    }
    // A match that reaches into the block before, lawful only when blocks are linked.
    let back: &[u8] = b"\x12x\x08\x00\x50after";
    let back = [&(back.len() as u16).to_be_bytes()[..], back].concat();
    all.push([&[0, 0x5c, 0x50][..], &size(31), &packed, &back].concat());
    all
}

fn manifests() -> Vec<Vec<u8>> {
    let records = |count: u32| {
        let list: Vec<ChunkRef> = (0..count)
            .map(|n| ChunkRef { hash: chunk_hash(&n.to_be_bytes()), len: 1 + n * 40_503 % 131_072 })
            .collect();
        let size = list.iter().map(|chunk| u64::from(chunk.len)).sum();
        let manifest = Manifest::prove(file_hash(&list), size, list).expect("our own list");
        let mut out = Vec::new();
        manifest.write_records(0..count, &mut out);
        (out, size, manifest.file())
    };
    let mut all = Vec::new();
    for count in [0, 1, 2, 3, 9, 20, 100] {
        let (records, size, file) = records(count);
        all.push([&[0, 1, 77][..], &records].concat());
        all.push([&[6, 0, 9][..], &size.to_be_bytes(), file.as_bytes(), &records].concat());
    }
    all.push([&[1, 0, 0][..], &[0xee; 75]].concat());
    all.push([&[2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0xff; 72]].concat());
    all
}

fn reconstructions() -> Vec<Vec<u8>> {
    let (one, two) = (hash_of(1), hash_of(2));
    let range = |chunks, bytes| FetchRange { chunks, bytes };
    let url = |url: &str| url.to_owned();
    let simple = Reconstruction {
        offset_into_first_range: 0,
        terms: vec![Term { xorb: one, chunks: 0..346, unpacked_len: 22_982_960 }],
        fetches: [(
            one,
            vec![Fetch { url: url("http://h/x?y"), ranges: vec![range(0..346, 0..19_781_049)] }],
        )]
        .into(),
    };
    // Repeated data, ranges that overlap, one URL for two ranges, a URL for none.
    let tangled = Reconstruction {
        offset_into_first_range: 0,
        terms: vec![
            Term { xorb: one, chunks: 0..10, unpacked_len: 10_000 },
            Term { xorb: two, chunks: 100..110, unpacked_len: 10_000 },
            Term { xorb: one, chunks: 5..7, unpacked_len: 2_000 },
            Term { xorb: one, chunks: 5..6, unpacked_len: 1_000 },
        ],
        fetches: [
            (
                one,
                vec![
                    Fetch {
                        url: url("a"),
                        ranges: vec![range(0..10, 0..9_000), range(20..21, 18_000..18_900)],
                    },
                    Fetch { url: url("b"), ranges: vec![] },
                ],
            ),
            (
                two,
                vec![
                    Fetch { url: url("c"), ranges: vec![range(0..300, 0..270_000)] },
                    Fetch { url: url("c"), ranges: vec![range(90..120, 81_000..108_000)] },
                ],
            ),
        ]
        .into(),
    };
    let partial = Reconstruction { offset_into_first_range: 17, ..simple.clone() };
    let mut all: Vec<Vec<u8>> = [&simple, &tangled, &partial]
        .into_iter()
        .flat_map(|from| [from.to_json_v1().into_bytes(), from.to_json_v2().into_bytes()])
        .collect();
    all.push(br#"{"terms":[],"xorbs":{}}"#.to_vec());
    all.push(br#"{"terms":[],"fetch_info":{},"new":[{"a":null}]}"#.to_vec());
    all
}
