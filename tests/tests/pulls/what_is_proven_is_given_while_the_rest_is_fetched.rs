//! A machine gives what it has proven of a file while it still fetches the rest, chunk lists included, and there is no gap
//! when the file gets its name. What not everybody may read is not given even then.

use std::cell::Cell;
use std::sync::Arc;
use tokio::sync::watch;
use zest_runtime_tokio::{CancelToken, Progress, PullOptions, pull};
use zest_store::Token;
use zest_tests::caller::Caller;
use zest_tests::known::{Known, xorbs_of};
use zest_tests::peer::{Reply, Script, honest, in_time};
use zest_tests::speak::{self, Ask, DICT_ZEST, THEIR_XET, THEIR_ZEST, UT_XET, ZEST};
use zest_tests::{Machine, Site, TOKEN, assert_same_files, noise};
use zest_xet::Hash;

fn ask_chunk(hash: &Hash) -> Vec<u8> {
    speak::ext(UT_XET, &[&[1, 0, 0, 0, 7][..], hash.as_bytes()].concat())
}

fn ask_list(of: &Hash) -> Vec<u8> {
    let range = [&0u32.to_be_bytes()[..], &10_000u32.to_be_bytes()].concat();
    speak::ext(ZEST, &[&[1, 0, 0, 0, 8][..], of.as_bytes(), &range].concat())
}

fn interest(file: &Hash) -> Vec<u8> {
    speak::ext(ZEST, &[&[4][..], file.as_bytes()].concat())
}

/// The next answer to a chunk request: its data, or `None` for NOT_FOUND.
async fn chunk(caller: &mut Caller, hash: &Hash) -> Option<Vec<u8>> {
    caller.send(&ask_chunk(hash)).await;
    loop {
        match in_time(caller.message()).await.expect("the link stays open") {
            (THEIR_XET, body) if body[0] == 2 => return Some(body[9..].to_vec()),
            (THEIR_XET, body) if body[0] == 3 => return None,
            _ => {}
        }
    }
}

/// The next answer to a request for a list: its records, or `None`.
async fn list(caller: &mut Caller, of: &Hash) -> Option<Vec<u8>> {
    caller.send(&ask_list(of)).await;
    loop {
        match in_time(caller.message()).await.expect("the link stays open") {
            (THEIR_ZEST, body) if body[0] == 2 => return Some(body[25..].to_vec()),
            (THEIR_ZEST, body) if body[0] == 3 => return None,
            _ => {}
        }
    }
}

/// Waits until the machine says that it has something of the file.
async fn until_it_has_some(caller: &mut Caller, file: &Hash) {
    caller.send(&interest(file)).await;
    loop {
        match in_time(caller.message()).await.expect("the link stays open") {
            // HAVE with a total above 0, or HAVE_MORE.
            (THEIR_ZEST, body) if body[0] == 6 && body[33..37] != [0; 4] => return,
            (THEIR_ZEST, body) if body[0] == 7 => return,
            _ => {}
        }
    }
}

async fn curious(machine: &Machine) -> Caller {
    Caller::dial(&machine.address(), b"-SC0100-curious00000", DICT_ZEST).await
}

#[tokio::test]
async fn chunks_and_the_list_and_no_gap_when_it_lands() {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(31, 2_000_000)));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    site.faults().set_cdn_rate(Some(1_000_000));
    // A peer with the list and the first half; the CDN gives the other half, slowly.
    let half = known.manifest.len() / 2;
    let first_half: Vec<Hash> = known.manifest.chunks()[..half as usize].iter().map(|c| c.hash).collect();
    let giver = {
        let known = known.clone();
        Script::zest(move |ask| match ask {
            Ask::Interest { file } => Reply::Bytes(speak::have(file, known.manifest.len(), &[(0, half)])),
            Ask::Chunk { req, hash } if !first_half.contains(hash) => {
                Reply::Bytes(speak::not_found(*req, hash))
            }
            other => honest(&known, other),
        })
    };
    let giver = giver.start().await;
    let machine = Machine::new(&site.endpoint()).await;
    let landed = Cell::new(false);
    let pulling = async {
        let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&giver.address))).await;
        landed.set(true);
        report.expect("both together have it")
    };
    let asking = async {
        let mut caller = curious(&machine).await;
        until_it_has_some(&mut caller, &known.file()).await;
        assert!(!landed.get(), "it is still being fetched");
        assert_eq!(list(&mut caller, &known.file()).await, Some(known.records()));
        let first = known.manifest.chunk(0).hash;
        let mut after = 0;
        while after < 20 {
            let given = chunk(&mut caller, &first).await;
            // It is told what it may ask for; the first chunk may come a moment after others.
            if given.is_none() {
                assert!(!landed.get() && after == 0, "no gap");
                continue;
            }
            assert!(given.as_deref() == known.chunk(&first), "its bytes");
            after += u32::from(landed.get());
        }
    };
    let (report, ()) = tokio::join!(pulling, asking);
    assert_same_files(&report.path, &site.folder("org/model"));
    assert!(report.given > 0);
}

/// A file of two xorbs, the first of which holds another file, and is small.
async fn two_xorbs() -> (Site, Arc<Known>, Arc<Known>, Hash) {
    let mut site = Site::new();
    let small = noise(41, 1_500_000);
    // Cut where the first file's last chunk ends: the second file has the first one's chunks, all of them.
    let known_small = Known::new(small.clone());
    let both = Arc::new(Known::new([small, noise(42, 6_000_000)].concat()));
    let shared = known_small.manifest.len() - 1;
    let end = known_small.manifest.offset(shared) as usize;
    let first = Arc::new(Known::new(both.bytes[..end].to_vec()));
    assert_eq!(first.manifest.chunks(), &both.manifest.chunks()[..shared as usize]);
    site.add("org/a", "first.bin", &first.bytes);
    site.add("org/b", "both.bin", &both.bytes);
    site.open().await;
    let (xorbs, _) = xorbs_of(&site, "org/a", &first).await;
    assert_eq!(xorbs.len(), 1);
    let (of_both, _) = xorbs_of(&site, "org/b", &both).await;
    assert!(of_both.len() == 2 && of_both.iter().any(|xorb| xorb.hash == xorbs[0].hash));
    site.faults().set_cdn_rate(Some(2_000_000));
    (site, first, both, xorbs[0].hash)
}

#[tokio::test]
async fn a_whole_xorb_before_anybody_has_the_files_list() {
    let (site, first, both, xorb) = two_xorbs().await;
    let machine = Machine::new(&site.endpoint()).await;
    let asking = async {
        let mut caller = curious(&machine).await;
        // The job may begin a moment after the caller.
        until_it_has_some(&mut caller, &both.file()).await;
        assert_eq!(list(&mut caller, &both.file()).await, None, "not proven yet");
        assert_eq!(list(&mut caller, &xorb).await, Some(first.records()));
        for index in 0..first.manifest.len() {
            let hash = first.manifest.chunk(index).hash;
            assert!(chunk(&mut caller, &hash).await.as_deref() == first.chunk(&hash), "chunk {index}");
        }
        let last = both.manifest.chunk(both.manifest.len() - 1).hash;
        assert_eq!(chunk(&mut caller, &last).await, None, "what is not proven is not given");
    };
    tokio::select! {
        outcome = machine.pull_from("org/b", &[]) => panic!("the CDN takes seconds: {outcome:?}"),
        () = in_time(asking) => {}
    }
}

#[tokio::test]
async fn nothing_of_a_private_model() {
    let (site, first, both, xorb) = two_xorbs().await;
    site.restrict("org/b", "private");
    let machine = Machine::new(&site.endpoint()).await;
    let mut options: PullOptions = machine.options("org/b");
    options.env.token = Token::new(TOKEN);
    let (progress, mut seen) = watch::channel(Progress::default());
    let asking = async {
        let enough = first.bytes.len() as u64 * 5 / 2;
        seen.wait_for(|now| now.bytes_done >= enough).await.expect("the pull goes on");
        let mut caller = curious(&machine).await;
        assert_eq!(list(&mut caller, &both.file()).await, None);
        assert_eq!(list(&mut caller, &xorb).await, None);
        assert_eq!(chunk(&mut caller, &first.manifest.chunk(0).hash).await, None);
        caller.send(&interest(&both.file())).await;
        let none = [&[6][..], both.file().as_bytes(), &[0; 6]].concat();
        assert_eq!(caller.message().await, Some((THEIR_ZEST, none)), "nothing of it is here");
    };
    tokio::select! {
        outcome = pull(machine.engine(), options, progress, CancelToken::new()) => {
            panic!("the CDN takes seconds: {outcome:?}")
        }
        () = in_time(asking) => {}
    }
}
