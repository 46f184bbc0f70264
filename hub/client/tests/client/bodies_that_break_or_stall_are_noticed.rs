//! Silence, early ends and wrong lengths, at every place of an answer.

use std::time::Duration;

use zest_hub::{ErrorKind, Hub, HubConfig, HubError, RetryPolicy};

use super::support::*;

/// Short silence limits and one try.
fn impatient(server: &Server) -> Hub {
    let short = Duration::from_millis(90);
    let retry = RetryPolicy { tries: 1, ..RetryPolicy::default() };
    Hub::new(HubConfig {
        stall: short,
        api_stall: short,
        cas_stall: short,
        connect_timeout: short,
        retry,
        range_retry: retry,
        ..server.config(None)
    })
    .unwrap()
}

#[tokio::test]
async fn silence_in_the_middle_of_a_body_is_a_stall_with_counts() {
    let server = Server::start(|_, _| Reply::ok("0123456789").promising(100).then_silence()).await;
    let mut body = impatient(&server).small_file(&repo(), COMMIT, "f").await.unwrap();
    assert_eq!(body.len(), Some(100));
    assert_eq!(&body.chunk().await.unwrap().unwrap()[..], b"0123456789");
    let error = body.chunk().await.unwrap_err();
    assert!(matches!(&error, HubError::Stalled { got: 10, want: Some(100), .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Stalled);
    assert!(matches!(body.chunk().await, Ok(None)), "a failed body stays ended");
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_though_it_is_never_silent() {
    let server = Server::start(|_, _| Reply::ok("0123456789").promising(100_000).then_drops()).await;
    let body = server.hub(None).small_file(&repo(), COMMIT, "f").await.unwrap();
    let error = read(body.at_pace(Duration::from_secs(1))).await.unwrap_err();
    assert!(matches!(&error, HubError::Trickles { got: 1..4096, .. }), "{error:?}");
    assert!(error.is_transient(), "another connection may do better");
}

#[tokio::test]
async fn silence_before_the_first_byte_is_a_stall() {
    let server = Server::start(|_, _| Reply::nothing()).await;
    let hub = impatient(&server);
    assert_eq!(hub.revision(&repo(), "main").await.unwrap_err().kind(), ErrorKind::Stalled);
    assert_eq!(hub.small_file(&repo(), COMMIT, "f").await.unwrap_err().kind(), ErrorKind::Stalled);
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_with_counts() {
    let server = Server::start(|_, _| Reply::ok("0123456789").promising(100).then_hang_up()).await;
    let body = server.hub(None).small_file(&repo(), COMMIT, "f").await.unwrap();
    let error = read(body).await.unwrap_err();
    assert!(matches!(&error, HubError::ShortBody { got: 10, want: Some(100), .. }), "{error:?}");
    assert!(error.to_string().contains("10 of 100 bytes"), "{error}");
}

#[tokio::test]
async fn a_range_without_a_length_still_has_to_be_complete() {
    let server = Server::start(|_, _| {
        Reply::new(206).body("01234").header("content-range", "bytes 10-19/50").without_length()
    })
    .await;
    let body = server.hub(None).whole_file(&repo(), COMMIT, "f", 10..20).await.unwrap();
    let error = read(body).await.unwrap_err();
    assert!(matches!(&error, HubError::ShortBody { got: 5, want: Some(10), .. }), "{error:?}");
}

#[tokio::test]
async fn a_range_without_a_length_cannot_be_too_long() {
    let server = Server::start(|_, _| {
        Reply::new(206).body([0; 30]).header("content-range", "bytes 10-19/50").without_length()
    })
    .await;
    let body = server.hub(None).whole_file(&repo(), COMMIT, "f", 10..20).await.unwrap();
    assert!(matches!(read(body).await, Err(HubError::Malformed { .. })));
}

#[tokio::test]
async fn a_body_is_cut_off_at_the_callers_limit() {
    let server = Server::start(|_, number| match number {
        0 => Reply::ok([0; 30]),
        _ => Reply::ok([0; 30]).without_length(),
    })
    .await;
    let hub = server.hub(None);
    for _ in 0..2 {
        let body = hub.small_file(&repo(), COMMIT, "f").await.unwrap().at_most(29);
        assert!(matches!(read(body).await, Err(HubError::TooLarge { limit: 29, .. })));
    }
    let body = hub.small_file(&repo(), COMMIT, "f").await.unwrap();
    assert_eq!(body.bytes(30).await.unwrap(), [0; 30]);
}

#[tokio::test]
async fn a_metadata_answer_that_breaks_off_is_asked_for_again() {
    let server = Server::start(|_, number| match number {
        0 => Reply::ok("{\"sha\":").promising(500).then_hang_up(),
        1 => Reply::nothing().then_hang_up(),
        _ => Reply::ok(format!(r#"{{"sha":"{COMMIT}","private":false,"gated":"auto"}}"#)),
    })
    .await;
    let info = server.hub(None).revision(&repo(), "refs/pr/1").await.unwrap();
    assert_eq!((info.commit.as_str(), info.private, info.gated), (COMMIT, false, true));
    assert_eq!(server.paths(), ["/api/models/lab/tiny/revision/refs%2Fpr%2F1"; 3]);
}

#[tokio::test]
async fn a_compressed_body_that_nobody_asked_for_is_refused() {
    let server = Server::start(|_, _| Reply::ok("x").header("content-encoding", "gzip")).await;
    let result = server.hub(None).small_file(&repo(), COMMIT, "f").await;
    assert!(matches!(result, Err(HubError::Malformed { .. })), "{result:?}");
    assert_eq!(server.seen()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn transfers_beyond_the_limit_wait_for_one_to_be_dropped() {
    let server = Server::start(|seen, _| match seen.path.contains("/revision/") {
        true => Reply::new(400),
        false => Reply::ok("0123456789").promising(100).then_silence(),
    })
    .await;
    let hub = Hub::new(HubConfig { transfers_max: 1, ..server.config(None) }).unwrap();
    let first = hub.small_file(&repo(), COMMIT, "f").await.unwrap();
    let other = hub.clone();
    let second = tokio::spawn(async move { hub.small_file(&repo(), COMMIT, "g").await });
    // A whole round trip later (metadata does not count as a transfer) the second has still not been sent.
    assert!(other.revision(&repo(), "main").await.is_err());
    assert_eq!(server.seen().len(), 2);
    drop(first);
    assert!(second.await.unwrap().is_ok());
}
