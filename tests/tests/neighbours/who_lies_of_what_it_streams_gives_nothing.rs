//! A peer says that it streams a xorb which nobody has whole yet. What it gives is used once all of it proves, and not before; a lie
//! costs what it gave and nobody's file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use zest_hub_server::Service;
use zest_runtime_tokio::PullReport;
use zest_tests::known::Known;
use zest_tests::peer::{Reply, Script, in_time};
use zest_tests::speak::{self, Ask};
use zest_tests::{Machine, Site, assert_same_files, noise};
use zest_xet::{ChunkRef, Hash, chunk_hash};

const BYTES: usize = 3_000_000;

/// How a peer answers who follows it: what it tells, in turn, and what it gives for a hash it told.
struct Author {
    known: Arc<Known>,
    told: Vec<(u32, Vec<ChunkRef>)>,
    /// Told once so many chunks were given, with what comes before it.
    after: usize,
    twist: fn(&[u8]) -> Vec<u8>,
}

fn true_list(known: &Known) -> Vec<ChunkRef> {
    (0..known.manifest.len()).map(|index| known.manifest.chunk(index)).collect()
}

fn as_it_is(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[0] ^= 1;
    bytes
}

impl Author {
    fn script(self) -> Script {
        let given = AtomicUsize::new(0);
        let file = self.known.file();
        // By the hash that it told: what it gives is that, whatever it is.
        let hashed = |index: u32| chunk_hash(&(self.twist)(chunk_at(&self.known, index)));
        let twisted: Vec<Hash> = (0..self.known.manifest.len()).map(hashed).collect();
        Script::zest(move |ask| match ask {
            Ask::Interest { .. } => {
                Reply::Bytes([speak::have(&file, 0, &[]), speak::streams(&file, 0)].concat())
            }
            Ask::Manifest { req, .. } => Reply::Bytes(speak::manifest_none(*req)),
            Ask::Follow { first: 0, on: true } => {
                let (at, records) = &self.told[0];
                Reply::Bytes(speak::told(&file, 0, *at, records))
            }
            Ask::Chunk { req, hash } => {
                let index = (0..self.known.manifest.len()).find(|index| {
                    self.known.manifest.chunk(*index).hash == *hash || twisted[*index as usize] == *hash
                });
                let Some(index) = index else { return Reply::Bytes(speak::not_found(*req, hash)) };
                let mut said = speak::chunk(*req, &(self.twist)(chunk_at(&self.known, index)));
                if given.fetch_add(1, Ordering::Relaxed) + 1 == self.after {
                    for (at, records) in &self.told[1..] {
                        said.extend(speak::told(&file, 0, *at, records));
                    }
                }
                Reply::Bytes(said)
            }
            _ => Reply::Nothing,
        })
    }
}

fn chunk_at(known: &Known, index: u32) -> &[u8] {
    let at = known.manifest.offset(index) as usize;
    &known.bytes[at..at + known.manifest.chunk(index).len as usize]
}

/// Pulls beside an author made of this file; the right bytes must land.
async fn pull_beside(author: impl FnOnce(Arc<Known>) -> Author, cdn: bool) -> PullReport {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(41, BYTES)));
    site.add("org/model", "model.safetensors", &known.bytes);
    site.open().await;
    site.faults().set_latency(Service::Cdn, Duration::from_millis(300));
    site.faults().set_cdn_off(!cdn);
    let peer = author(known).script().start().await;
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&peer.address))).await;
    let report = report.expect("what lacks is at the CDN");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert!(peer.data_asks() > 0, "it was followed");
    assert_eq!(report.from_peers + report.from_cdn, BYTES as u64, "each byte once");
    report
}

/// A liar costs its bytes; it is not shut out for one lie, as a proxy may have changed what the origin gave it.
async fn gives_nothing(author: impl FnOnce(Arc<Known>) -> Author) {
    let report = pull_beside(author, true).await;
    assert_eq!((report.from_peers, report.peers_banned), (0, 0));
}

#[tokio::test]
async fn what_it_streams_is_had_from_it_alone_and_proven_in_the_end() {
    let honest = |known: Arc<Known>| {
        let list = true_list(&known);
        let most = list.len() - 1;
        let told = vec![(0, list[..most].to_vec()), (most as u32, list[most..].to_vec())];
        Author { known, told, after: most, twist: as_it_is }
    };
    // The CDN gives nothing: not a byte came from elsewhere.
    let report = pull_beside(honest, false).await;
    assert_eq!((report.from_peers, report.from_cdn), (BYTES as u64, 0));
}

#[tokio::test]
async fn a_list_that_is_not_the_xorbs() {
    gives_nothing(|known| {
        let hashed = |index| chunk_hash(&flipped(chunk_at(&known, index)));
        let of = |index| ChunkRef { hash: hashed(index), ..known.manifest.chunk(index) };
        let list: Vec<ChunkRef> = (0..known.manifest.len()).map(of).collect();
        let most = list.len() - 1;
        let told = vec![(0, list[..most].to_vec()), (most as u32, list[most..].to_vec())];
        Author { known, told, after: most, twist: flipped }
    })
    .await;
}

#[tokio::test]
async fn a_chunk_that_is_not_what_was_told() {
    gives_nothing(|known| {
        let mut list = true_list(&known);
        list.pop();
        Author { known, told: vec![(0, list)], after: 0, twist: flipped }
    })
    .await;
}

/// Its chunks are the xorb's, and lie where others belong.
#[tokio::test]
async fn a_list_in_another_order() {
    gives_nothing(|known| {
        let mut list = true_list(&known);
        list.reverse();
        let most = list.len() - 1;
        let told = vec![(0, list[..most].to_vec()), (most as u32, list[most..].to_vec())];
        Author { known, told, after: most, twist: as_it_is }
    })
    .await;
}

#[tokio::test]
async fn a_list_that_does_not_end() {
    gives_nothing(|known| {
        let list = true_list(&known);
        let most = list.len() - 1;
        let told = vec![(0, list[..most].to_vec()), (most as u32, vec![list[0]; 200])];
        Author { known, told, after: 3, twist: as_it_is }
    })
    .await;
}

#[tokio::test]
async fn a_change_of_mind() {
    gives_nothing(|known| {
        let list = true_list(&known);
        let most = list.len() - 1;
        let told = vec![(0, list[..most].to_vec()), (0, list[1..3].to_vec())];
        Author { known, told, after: 3, twist: as_it_is }
    })
    .await;
}
