//! The main job: A pulls from the hub, B pulls the same from A while the hub's CAS and CDN are off.

use zest_tests::{Machine, Site, assert_same_files, noise};

#[tokio::test]
async fn b_gets_every_weight_byte_from_a_when_the_cdn_is_off() {
    let mut site = Site::new();
    site.add("org/model", "config.json", br#"{"a": 1}"#)
        .add("org/model", "model-1.safetensors", &noise(1, 9_000_000))
        .add("org/model", "sub dir/model #2 é.safetensors", &noise(2, 3_000_001))
        .add("org/model", "empty.txt", b"");
    let endpoint = site.open().await;

    let a = Machine::new(&endpoint).await;
    let report = a.pull_from("org/model", &[]).await.expect("A pulls from the hub");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!((report.from_peers, report.bad_chunks), (0, 0));
    assert!(report.shareable);

    site.faults().set_cdn_off(true);
    site.faults().set_cas_off(true);
    let b = Machine::new(&endpoint).await;
    let before = site.stats();
    let report = b.pull_from("org/model", &[a.address()]).await.expect("B pulls from A");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!(report.from_peers, 12_000_009, "all of both weight files, and the configuration");
    assert_eq!(site.stats().since(&before).cdn_bytes, 0);
    assert_eq!((report.bad_chunks, report.peers_banned), (0, 0));

    // C gets it from B, who never saw the CDN.
    let c = Machine::new(&endpoint).await;
    let report = c.pull_from("org/model", &[b.address()]).await.expect("C pulls from B");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!(report.from_peers, 12_000_009);
}

#[tokio::test]
async fn a_second_pull_fetches_nothing() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(3, 2_000_000));
    let endpoint = site.open().await;
    let a = Machine::new(&endpoint).await;
    a.pull_from("org/model", &[]).await.expect("the first pull");
    let before = site.stats();
    let report = a.pull_from("org/model", &[]).await.expect("the second pull");
    assert_eq!(report.from_disk, 2_000_000);
    let asked = site.stats().since(&before);
    assert_eq!(
        (asked.cdn_requests, asked.cas_requests, asked.hub_requests),
        (0, 0, 1),
        "only the revision is asked"
    );
}
