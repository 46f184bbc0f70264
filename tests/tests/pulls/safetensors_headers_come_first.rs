//! The header of a safetensors file is asked for before the rest of it, of peers and of the origin, also in a pull that goes
//! on where another one stopped. Whoever reads a file while it comes knows early what is in it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use zest_runtime_tokio::{CancelToken, Progress, PullOptions, PullReport, pull};
use zest_tests::known::{Known, xorbs_of};
use zest_tests::peer::{Peer, Reply, Script, honest, in_time};
use zest_tests::speak::{self, Ask, THEIR_ZEST, ZEST};
use zest_tests::{Machine, Site, assert_same_files, noise};

/// Bytes of the weights.
const WEIGHTS: usize = 10_000_000;
/// Tensors of the file: its header has about 100 bytes for each.
const TENSORS: usize = 8_000;

/// A safetensors file: how long its header is, the header, weights.
fn safetensors(seed: u64) -> Vec<u8> {
    let mut header = String::from("{\"__metadata__\":{\"format\":\"pt\"}");
    let each = WEIGHTS / TENSORS;
    for tensor in 0..TENSORS {
        let (begin, end) = (tensor * each, (tensor + 1) * each);
        let _ = write!(
            header,
            ",\"layers.{tensor}.mlp.weight\":{{\"dtype\":\"U8\",\"shape\":[{each}],\"data_offsets\":[{begin},{end}]}}"
        );
    }
    header.push('}');
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &noise(seed, WEIGHTS)].concat()
}

/// The chunks of its header.
fn header_of(known: &Known) -> BTreeSet<u32> {
    let len = u64::from_le_bytes(known.bytes[..8].try_into().expect("eight bytes"));
    let last = known.manifest.chunk_at(8 + len - 1).expect("a header within the file");
    assert!(last >= 5 && last * 4 < known.manifest.len(), "several chunks, and not most of the file: {last}");
    (0..=last).collect()
}

async fn site() -> (Site, Arc<Known>) {
    let mut site = Site::new();
    let known = Arc::new(Known::new(safetensors(51)));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    site.faults().set_cdn_off(true);
    site.faults().set_cas_off(true);
    (site, known)
}

/// Has a part of the file and its list.
fn with_part(known: &Arc<Known>, first: u32, count: u32) -> Script {
    let known = known.clone();
    Script::zest(move |ask| match ask {
        Ask::Interest { file } => Reply::Bytes(speak::have(file, known.manifest.len(), &[(first, count)])),
        Ask::Chunk { req, hash }
            if index_of(&known, hash).is_none_or(|at| at < first || at - first >= count) =>
        {
            Reply::Bytes(speak::not_found(*req, hash))
        }
        other => honest(&known, other),
    })
}

/// Has all but the first chunk, and gives nothing before it is told that the other side has something.
fn with_the_rest_and_patience(known: &Arc<Known>) -> Script {
    let rest = with_part(known, 1, known.manifest.len() - 1);
    let held_back: Mutex<Option<Vec<u8>>> = Mutex::new(Some(Vec::new()));
    Script::zest(move |ask| {
        let mut held_back = held_back.lock().expect("no holder panics");
        match (ask, (rest.answer)(ask)) {
            (Ask::Interest { file }, Reply::Bytes(have)) => {
                // It fetches the same: it wants to be told.
                let interest = speak::ext(ZEST, &[&[4][..], file.as_bytes()].concat());
                Reply::Bytes([have, interest].concat())
            }
            (Ask::Chunk { .. }, Reply::Bytes(chunk)) => match &mut *held_back {
                Some(waiting) => {
                    waiting.extend(chunk);
                    Reply::Nothing
                }
                None => Reply::Bytes(chunk),
            },
            (ask, _) if tells_of_a_chunk(ask) => held_back.take().map_or(Reply::Nothing, Reply::Bytes),
            (_, reply) => reply,
        }
    })
}

/// HAVE with a run, or HAVE_MORE.
fn tells_of_a_chunk(ask: &Ask) -> bool {
    match ask {
        Ask::Other(20, body) => match body.split_first() {
            Some((&THEIR_ZEST, [6, body @ ..])) => body.get(36..38).is_some_and(|runs| runs != [0; 2]),
            Some((&THEIR_ZEST, [7, ..])) => true,
            _ => false,
        },
        _ => false,
    }
}

fn index_of(known: &Known, hash: &zest_xet::Hash) -> Option<u32> {
    (0..known.manifest.len()).find(|index| known.manifest.chunk(*index).hash == *hash)
}

fn chunks_in(known: &Known, asks: &[Ask]) -> Vec<u32> {
    let chunk = |ask: &Ask| match ask {
        Ask::Chunk { hash, .. } => index_of(known, hash),
        _ => None,
    };
    asks.iter().filter_map(chunk).collect()
}

async fn pull_from(machine: &Machine, peers: &[&Peer]) -> PullReport {
    let addresses: Vec<String> = peers.iter().map(|peer| peer.address.clone()).collect();
    in_time(machine.pull_from("org/model", &addresses)).await.expect("together they have everything")
}

#[tokio::test]
async fn it_is_asked_of_a_peer_before_the_rest_as_soon_as_its_length_is_known() {
    let (site, known) = site().await;
    let header = header_of(&known);
    let (first, rest) =
        (with_part(&known, 0, 1).start().await, with_the_rest_and_patience(&known).start().await);
    let machine = Machine::new(&site.endpoint()).await;
    let report = pull_from(&machine, &[&first, &rest]).await;
    assert_same_files(&report.path, &site.folder("org/model"));

    let asks = rest.asks();
    let told = asks.iter().position(tells_of_a_chunk).expect("it was told of the first chunk");
    let before: BTreeSet<u32> = chunks_in(&known, &asks[..told]).into_iter().collect();
    let after = chunks_in(&known, &asks[told..]);
    let still: BTreeSet<u32> = header.iter().filter(|at| **at > 0 && !before.contains(at)).copied().collect();
    assert!(!before.is_empty() && !still.is_empty(), "{before:?}, then {after:?}");
    assert_eq!(after[..still.len()].iter().copied().collect::<BTreeSet<u32>>(), still, "{after:?}");
}

#[tokio::test]
async fn it_comes_first_in_a_pull_that_goes_on_with_the_first_chunk_on_disk() {
    let (site, known) = site().await;
    let header = header_of(&known);
    let machine = Machine::new(&site.endpoint()).await;
    {
        // The first one ends when it has the first chunk, which is all there is.
        let first = with_part(&known, 0, 1).start().await;
        let (progress, mut seen) = watch::channel(Progress::default());
        let cancel = CancelToken::new();
        let options = PullOptions { peers: vec![first.address.clone()], ..machine.options("org/model") };
        let pulling = pull(machine.engine(), options, progress, cancel.clone());
        let ending = async {
            seen.wait_for(|now| now.bytes_done > 0).await.expect("the pull goes on");
            cancel.cancel();
        };
        let (outcome, ()) = in_time(async { tokio::join!(pulling, ending) }).await;
        assert!(outcome.is_err(), "most of it is missing");
    }
    let machine = machine.restarted().await;
    let rest = with_part(&known, 1, known.manifest.len() - 1).start().await;
    let report = pull_from(&machine, &[&rest]).await;
    assert_same_files(&report.path, &site.folder("org/model"));
    let asked = chunks_in(&known, &rest.asks());
    let first: BTreeSet<u32> = asked[..header.len() - 1].iter().copied().collect();
    assert_eq!(first, header.into_iter().skip(1).collect(), "{asked:?}");
}

#[tokio::test]
async fn the_origin_is_asked_for_it_first_where_a_crowd_begins_anywhere() {
    // A file whose parts are files of their own besides, so that the hub keeps it in twelve xorbs.
    const PARTS: u32 = 12;
    let mut site = Site::new();
    let known = Arc::new(Known::new(safetensors(52)));
    let chunks = known.manifest.len();
    let edge = |part: u32| known.manifest.offset(part * chunks / PARTS) as usize;
    let parts: Vec<&[u8]> = (0..PARTS).map(|part| &known.bytes[edge(part)..edge(part + 1)]).collect();
    for (number, part) in parts.iter().enumerate() {
        site.add("org/a", &format!("{number:02}.bin"), part);
    }
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    // It lays out what it is asked for first.
    xorbs_of(&site, "org/a", &Known::new(parts[0].to_vec())).await;
    let (xorbs, layout) = xorbs_of(&site, "org/model", &known).await;
    assert_eq!(xorbs.len() as u32, PARTS);
    let first = layout.terms[0].xorb.to_string();
    site.faults().set_cdn_rate(Some(4_000_000));
    site.log_requests(1000);
    // By chance it might be first: not so often.
    for _ in 0..4 {
        // Three that have a little and fetch the rest themselves are a crowd: two streams at once, no more.
        let crowd = [
            with_part(&known, chunks - 1, 1).start().await,
            with_part(&known, chunks - 2, 1).start().await,
            with_part(&known, chunks - 3, 1).start().await,
        ];
        let machine = Machine::new(&site.endpoint()).await;
        let peers = crowd.iter().map(|peer| peer.address.clone()).collect();
        let options = PullOptions { peers, ..machine.options("org/model") };
        let (progress, mut seen) = watch::channel(Progress::default());
        drop(site.take_requests());
        tokio::select! {
            outcome = pull(machine.engine(), options, progress, CancelToken::new()) => {
                panic!("the CDN takes seconds: {outcome:?}")
            }
            seen = in_time(seen.wait_for(|now| now.from_cdn > 0)) => drop(seen.expect("the pull goes on")),
        }
        let of_xorb = |path: &String| xorbs.iter().any(|xorb| path.contains(&xorb.hash.to_string()));
        let asked: Vec<String> =
            site.take_requests().into_iter().map(|request| request.path).filter(of_xorb).collect();
        assert!(asked.iter().take(2).any(|path| path.contains(&first)), "{first}: {asked:?}");
    }
}
