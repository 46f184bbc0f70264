//! One machine has the model; the CDN gives a tenth of what the line of the second carries. It gets nearly everything from
//! the first.

use std::time::Instant;
use zest_runtime_tokio::EngineConfig;
use zest_tests::{Machine, Site, assert_same_files, noise};

/// What the line of a machine carries, in bytes/s.
const LINE_BYTES_S: u64 = 20_000_000;
/// What the CDN gives, in bytes/s.
const CDN_BYTES_S: u64 = LINE_BYTES_S / 10;
/// Bytes of the model.
const MODEL: usize = 10_000_000;

#[tokio::test]
async fn nearly_everything_comes_from_the_peer() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(7, MODEL));
    site.open().await;
    let line = |config: &mut EngineConfig| config.download_bytes_s = Some(LINE_BYTES_S);
    let warm = Machine::new(&site.endpoint()).await;
    warm.pull_from("org/model", &[]).await.expect("the hub gives it");

    site.faults().set_cdn_rate(Some(CDN_BYTES_S));
    let alone = Machine::with(&site.endpoint(), line).await;
    let start = Instant::now();
    alone.pull_from("org/model", &[]).await.expect("the hub gives it, slowly");
    let alone_s = start.elapsed().as_secs_f64();

    let second = Machine::with(&site.endpoint(), line).await;
    let start = Instant::now();
    let report = second.pull_from("org/model", &[warm.address()]).await.expect("the peer gives it");
    let with_peer_s = start.elapsed().as_secs_f64();
    assert_same_files(&report.path, &site.folder("org/model"));
    println!(
        "CDN alone {alone_s:.2} s, with a warm peer {with_peer_s:.2} s: {:.1} times faster; {} bytes from it, {} from the CDN",
        alone_s / with_peer_s,
        report.from_peers,
        report.from_cdn,
    );
    // Five times faster than the CDN alone means: in that time the CDN can have sent a fifth at most.
    assert!(report.cdn_wire_bytes <= MODEL as u64 / 5, "{} bytes from the CDN", report.cdn_wire_bytes);
    assert!(report.from_peers >= MODEL as u64 * 4 / 5, "{} bytes from the peer", report.from_peers);
}
