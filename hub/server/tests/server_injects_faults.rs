//! Each fault does what it says, to its service only, and stops when cleared.

mod server_support;

use reqwest::{Response, StatusCode};
use server_support::{Lab, noise, root, start};
use zest_hub_server::Service;

const SIZE: usize = 600_000;

async fn lab() -> (tempfile::TempDir, Lab, String, Vec<u8>) {
    let dir = root(&[("models/org/name/main/model.bin", &noise(1, SIZE))]);
    let lab = start(dir.path()).await;
    let plan = lab.reconstruction("org/name", lab.xet_hash("org/name", "model.bin").await).await;
    let fetch = &plan.fetches.values().next().expect("a xorb")[0];
    let whole = lab.range(&fetch.url, 0, SIZE as u64 - 1).await.bytes().await.expect("a body").to_vec();
    (dir, lab, fetch.url.clone(), whole)
}

/// Reads until the body ends or breaks; tells which.
async fn drain(mut response: Response) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => return (got, true),
            Err(_) => return (got, false),
        }
    }
}

#[tokio::test]
async fn a_service_that_is_off_leaves_the_others_alone() {
    let (_dir, lab, url, _) = lab().await;
    let status = async || {
        let hub = lab.get("/api/models/org/name/revision/main").await.status().as_u16();
        let cas = lab.get("/api/cas/v1/telemetry").await.status().as_u16();
        let cdn = lab.range(&url, 0, 9).await.status().as_u16();
        (hub, cas, cdn)
    };
    assert_eq!(status().await, (200, 200, 206));
    lab.hub.faults().set_cdn_off(true);
    assert_eq!(status().await, (200, 200, 503));
    lab.hub.faults().set_cas_off(true);
    lab.hub.faults().set_cdn_off(false);
    assert_eq!(status().await, (200, 503, 206));
    lab.hub.faults().set_hub_off(true);
    assert_eq!(status().await, (503, 503, 206));
    lab.hub.faults().clear();
    lab.hub.faults().set_fail(Service::Cdn, 1.0);
    assert_eq!(status().await, (200, 200, 503));
    lab.hub.faults().clear();
    assert_eq!(status().await, (200, 200, 206));
}

#[tokio::test]
async fn limited_requests_carry_retry_after_if_asked_for() {
    let (_dir, lab, url, _) = lab().await;
    lab.hub.faults().set_limited(Service::Cdn, 2, Some(7));
    for _ in 0..2 {
        let limited = lab.range(&url, 0, 9).await;
        assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(server_support::header(&limited, "retry-after"), "7");
    }
    assert_eq!(lab.range(&url, 0, 9).await.status(), StatusCode::PARTIAL_CONTENT);
    lab.hub.faults().set_limited(Service::Hub, 1, None);
    let limited = lab.get("/api/models/org/name/revision/main").await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(!limited.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_cut_body_breaks_in_the_middle() {
    let (_dir, lab, url, whole) = lab().await;
    lab.hub.faults().set_cdn_cut(1.0);
    for len in [SIZE, 1000, 1] {
        let (got, complete) = drain(lab.range(&url, 0, len as u64 - 1).await).await;
        assert!(!complete);
        assert!(got == whole[..len / 2], "{} of {len} bytes", got.len());
    }
}

#[tokio::test]
async fn a_corrupt_body_differs_in_one_bit() {
    let (_dir, lab, url, whole) = lab().await;
    lab.hub.faults().set_cdn_corrupt(1.0);
    let (got, complete) = drain(lab.range(&url, 0, SIZE as u64 - 1).await).await;
    assert!(complete);
    let bits: u32 = got.iter().zip(&whole).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((got.len(), bits), (whole.len(), 1));
}

#[tokio::test]
async fn a_stalled_body_waits_until_the_hub_stops() {
    let (_dir, lab, url, _) = lab().await;
    lab.hub.faults().set_cdn_stall(1.0);
    let mut response = lab.range(&url, 0, SIZE as u64 - 1).await;
    let mut got = 0;
    while got < SIZE / 2 {
        got += response.chunk().await.expect("no break yet").expect("not the end").len();
    }
    assert_eq!(got, SIZE / 2);
    lab.hub.shutdown().await;
    assert!(response.chunk().await.is_err());
}

#[tokio::test]
async fn a_paced_body_arrives_whole_and_counted() {
    let (_dir, lab, url, whole) = lab().await;
    lab.hub.faults().set_cdn_rate(Some(1_000_000_000));
    let before = lab.hub.stats();
    let (got, complete) = drain(lab.range(&url, 0, SIZE as u64 - 1).await).await;
    assert!(complete && got == whole);
    let counted = lab.hub.stats().since(&before);
    assert_eq!((counted.cdn_bytes, counted.xorb_ranges, counted.cdn_requests), (SIZE as u64, 1, 1));
    assert_eq!(counted.hub_requests, 0);
}

#[tokio::test]
async fn an_old_cas_has_no_version_two() {
    let (_dir, lab, _, _) = lab().await;
    let file = lab.xet_hash("org/name", "model.bin").await;
    let token = lab.xet_token("org/name").await;
    lab.hub.faults().set_no_v2(true);
    let v2 = lab.get_as(&format!("/api/cas/v2/reconstructions/{file}"), &token).await;
    let v1 = lab.get_as(&format!("/api/cas/v1/reconstructions/{file}"), &token).await;
    assert_eq!((v2.status(), v1.status()), (StatusCode::NOT_FOUND, StatusCode::OK));
}
