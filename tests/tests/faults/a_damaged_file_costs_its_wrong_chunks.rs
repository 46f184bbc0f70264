//! A file of the cache in which a few chunks have rotted is mended with these few: neither the CDN nor a peer gives the rest once
//! more, though the chunks lie in xorbs of real size.

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use zest_runtime_tokio::PullReport;
use zest_store::{Access, RepoId, RepoType, salvage};
use zest_tests::peer::in_time;
use zest_tests::{Machine, Site, assert_same_files, noise};
use zest_xet::ChunkHeader;

/// Nearly as much as a xorb may have.
const MODEL: usize = 60_000_000;
/// A chunk has 64 KiB on average, and its line in a list 36 bytes.
const LIST_BYTES_MAX: u64 = 2 * 36 * MODEL as u64 / (64 << 10);

async fn site() -> Site {
    let mut site = Site::new();
    site.add("org/model", "model.bin", &noise(91, MODEL));
    site.open().await;
    site
}

/// Has the file rot at these places.
fn rot(report: &PullReport, places: &[usize]) {
    let blob = std::fs::canonicalize(report.path.join("model.bin")).expect("it was pulled");
    std::fs::set_permissions(&blob, Permissions::from_mode(0o644)).expect("ours");
    let file = File::options().write(true).open(&blob).expect("ours");
    for at in places {
        file.write_all_at(b"rot", *at as u64).expect("written");
    }
}

/// Has the file rot at these places and takes it out, as `zest cache verify --repair` does; gives the bytes of the chunks that
/// are wrong, and the machine after a restart.
async fn damaged(machine: Machine, report: &PullReport, places: &[usize]) -> (Machine, u64) {
    rot(report, places);
    let store = machine.store();
    let repo = RepoId::new(RepoType::Model, "org/model").expect("a good name");
    let commit = report.path.file_name().expect("a commit").to_string_lossy();
    let files = store.cache.snapshot(&repo, &commit);
    let of = files.iter().find(|file| file.entry.path == "model.bin").expect("it is listed");
    let hash = of.entry.xet_hash.expect("it is in Xet");
    let list = store.catalog.load_manifest(&hash, Access::Own).expect("its list is known");
    let chunks = places.iter().map(|at| list.chunk(list.chunk_at(*at as u64).expect("inside")).len);
    let wrong = chunks.map(u64::from).sum();
    let kept = salvage(&store.cache, &store.catalog, of).expect("nobody else is at it");
    assert_eq!((kept.bad_bytes, kept.good_bytes), (wrong, MODEL as u64 - wrong));
    (machine.restarted().await, wrong)
}

#[tokio::test]
async fn the_cdn_gives_these_chunks_alone() {
    let site = site().await;
    let machine = Machine::new(&site.endpoint()).await;
    let first = in_time(machine.pull_from("org/model", &[])).await.expect("it is there");
    // In the middle; at both ends; three that are far apart.
    for places in [&[MODEL / 2][..], &[0, MODEL - 9], &[MODEL / 5, MODEL / 2, MODEL / 5 * 4]] {
        let fresh = Machine::new(&site.endpoint()).await;
        let report = in_time(fresh.pull_from("org/model", &[])).await.expect("it is there");
        let (fresh, wrong) = damaged(fresh, &report, places).await;
        let before = site.stats();
        let mended = in_time(fresh.pull_from("org/model", &[])).await.expect("the rest comes");
        let given = site.stats().since(&before);
        let heads = (places.len() * ChunkHeader::BYTES) as u64;
        println!(
            "{} chunks of {wrong} bytes: {} from the CDN, {} lists",
            places.len(),
            given.cdn_bytes,
            given.reconstructions
        );
        assert_eq!(given.cdn_bytes, wrong + heads, "the chunks and their heads");
        assert!(given.reconstructions <= 1 + places.len() as u64, "{given:?}");
        assert_eq!((mended.from_cdn, mended.from_disk), (wrong, MODEL as u64 - wrong));
        assert_same_files(&mended.path, &first.path);
    }
}

#[tokio::test]
async fn a_pull_that_meets_it_mends_it_so() {
    let site = site().await;
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("it is there");
    rot(&report, &[MODEL / 2]);
    let (machine, before) = (machine.restarted().await, site.stats());
    let mended = in_time(machine.pull_from("org/model", &[])).await.expect("the rest comes");
    let given = site.stats().since(&before).cdn_bytes;
    assert!((1..=128 << 10).contains(&given), "{given} bytes for one chunk");
    assert_eq!(mended.from_cdn + mended.from_disk, MODEL as u64);
    assert_same_files(&mended.path, &site.folder("org/model"));
}

#[tokio::test]
async fn so_does_a_peer() {
    let site = site().await;
    let (warm, machine) = (Machine::new(&site.endpoint()).await, Machine::new(&site.endpoint()).await);
    in_time(warm.pull_from("org/model", &[])).await.expect("it is there");
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("it is there");
    let (machine, wrong) = damaged(machine, &report, &[MODEL / 2]).await;
    site.faults().set_cdn_off(true);
    let before = warm.uploaded().await;
    let mended = in_time(machine.pull_from("org/model", &[warm.address()])).await.expect("the peer has it");
    assert_eq!((mended.from_peers, mended.from_cdn), (wrong, 0));
    assert_same_files(&mended.path, &site.folder("org/model"));
    // The chunk; and the list, if it was asked for while our own was still read.
    let given = warm.uploaded().await - before;
    assert!(given <= wrong + LIST_BYTES_MAX, "{given} for {wrong}");
}
