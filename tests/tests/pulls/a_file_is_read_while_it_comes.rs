//! A program reads a file of a pull in order while the rest of it is still on its way: proven bytes, and nothing else.

use std::path::Path;
use zest_runtime_tokio::{Content, Limits, PullErrorKind, PullRequest, PullState, Session, SessionConfig};
use zest_tests::peer::in_time;
use zest_tests::{Machine, Site, environment, noise};

const BYTES: usize = 4_000_000;

async fn session(dir: &Path, endpoint: &str) -> Session {
    let config = SessionConfig::new(environment(dir, endpoint)).expect("the caches open");
    Session::start(config).await.expect("the session starts")
}

fn request() -> PullRequest {
    PullRequest::model("org/model").expect("a good name")
}

/// Reads from `at` to the end.
async fn rest(content: &mut Content, mut at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let piece = in_time(content.read(at, usize::MAX)).await.expect("it comes");
        if piece.is_empty() {
            return bytes;
        }
        at += piece.len() as u64;
        bytes.extend_from_slice(&piece);
    }
}

#[tokio::test]
async fn what_a_peer_gave_is_read_before_the_rest_is_there() {
    let bytes = noise(31, BYTES);
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &bytes);
    site.add("org/model", "config.json", b"{}");
    site.open().await;
    let peer = Machine::new(&site.endpoint()).await;
    in_time(peer.pull(peer.options("org/model"))).await.expect("the CDN has it");
    site.faults().set_cdn_off(true);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    // So slow that all of it cannot have come when the first bytes are here, and then as it likes.
    session.set_limits(Limits { max_download: Some(256 << 10), ..session.limits() }).expect("high enough");

    let mut content = session.read(request().peers(vec![peer.address()]), "model.safetensors");
    let head = in_time(content.head()).await.expect("the Hub lists it");
    assert_eq!(
        (head.size, head.etag.len(), head.xet_hash.map(|hash| hash.len())),
        (BYTES as u64, 64, Some(64))
    );
    let first = in_time(content.read(0, usize::MAX)).await.expect("it comes");
    assert!(!first.is_empty() && bytes.starts_with(&first));
    assert_eq!((content.place(), content.pull().status().state), (None, PullState::Running));
    session.set_limits(Limits { max_download: None, ..session.limits() }).expect("none is fine");
    let all = [first.to_vec(), rest(&mut content, first.len() as u64).await].concat();
    assert!(all == bytes, "{} bytes", all.len());
    let report = in_time(content.pull().wait()).await.expect("it ends well");
    assert_eq!((report.files.len(), report.from_peers), (1, BYTES as u64), "of the other file nobody spoke");

    // Whole by now, from wherever one likes.
    let mut again = session.read(request(), "model.safetensors");
    assert!(rest(&mut again, 3_999_990).await == bytes[3_999_990..]);
    assert!(again.place().is_some_and(|path| path.ends_with("model.safetensors")));
    session.shutdown().await;
}

#[tokio::test]
async fn a_part_in_the_middle_is_right_from_whoever_it_comes_and_a_small_file_too() {
    let bytes = noise(32, BYTES);
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &bytes);
    site.add("org/model", "config.json", b"{\"a\":1}");
    site.open().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    let mut content = session.read(request(), "model.safetensors");
    let at = 2_345_678;
    assert!(rest(&mut content, at).await == bytes[at as usize..]);
    let mut small = session.read(request(), "config.json");
    assert_eq!(rest(&mut small, 0).await, b"{\"a\":1}");
    let mut none = session.read(request(), "none.bin");
    let error = in_time(none.read(0, 1)).await.expect_err("there is no such file");
    assert_eq!(error.kind(), PullErrorKind::NotFound);
    session.shutdown().await;
}

#[tokio::test]
async fn two_readers_of_one_file_cost_one_transfer_and_the_end_of_one_is_not_the_other_s() {
    let bytes = noise(33, BYTES);
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &bytes);
    site.open().await;
    site.faults().set_cdn_rate(Some(400_000));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    let mut one = session.read(request(), "model.safetensors");
    let mut two = session.read(request(), "model.safetensors");
    in_time(one.head()).await.expect("the Hub lists it");
    in_time(two.head()).await.expect("the Hub lists it");
    one.pull().cancel();
    let error = in_time(rest_or_error(&mut one)).await.expect_err("it was cancelled");
    assert_eq!(error, PullErrorKind::Interrupted);
    site.faults().clear();
    assert!(rest(&mut two, 0).await == bytes);
    let report = in_time(two.pull().wait()).await.expect("it ends well");
    assert_eq!(report.from_cdn + report.from_disk, BYTES as u64, "each byte once");
    session.shutdown().await;
}

async fn rest_or_error(content: &mut Content) -> Result<u64, PullErrorKind> {
    let mut at = 0;
    loop {
        match content.read(at, usize::MAX).await {
            Ok(piece) if piece.is_empty() => return Ok(at),
            Ok(piece) => at += piece.len() as u64,
            Err(error) => return Err(error.kind()),
        }
    }
}
