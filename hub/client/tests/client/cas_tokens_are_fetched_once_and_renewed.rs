//! One token per repository and commit, however many want it; renewed in time; a proof of publicness is always fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zest_hub::ErrorKind;

use super::support::*;

#[tokio::test]
async fn many_tasks_share_one_request() {
    let server = Server::start(|_, _| token_json("http://127.0.0.1:9", CAS_TOKEN)).await;
    let hub = server.hub(None);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.cas(&repo(), COMMIT).await.map(|_| ()) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(server.paths(), [format!("/api/models/lab/tiny/xet-read-token/{COMMIT}")]);
    hub.cas(&repo(), &COMMIT.replace('4', "5")).await.unwrap();
    assert_eq!(server.seen().len(), 2, "another commit needs its own");
}

#[tokio::test]
async fn tasks_that_waited_for_a_failing_request_get_its_error() {
    let server = Server::start(|_, _| Reply::new(403).header("x-error-code", "GatedRepo")).await;
    let hub = server.hub(Some(HUB_TOKEN));
    let waiting = (0..20).map(|_| async { hub.cas(&repo(), COMMIT).await.unwrap_err().kind() });
    for kind in futures_util::future::join_all(waiting).await {
        assert_eq!(kind, ErrorKind::Gated);
    }
    assert_eq!(server.seen().len(), 1);
    assert!(hub.cas(&repo(), COMMIT).await.is_err());
    assert_eq!(server.seen().len(), 2, "who comes later asks again");
}

#[tokio::test]
async fn a_dropped_request_does_not_block_the_next() {
    let server = Server::start(|_, number| match number {
        0 => Reply::nothing(),
        _ => token_json("http://127.0.0.1:9", CAS_TOKEN),
    })
    .await;
    let hub = server.hub(None);
    let first = tokio::spawn({
        let hub = hub.clone();
        async move { hub.cas(&repo(), COMMIT).await.map(|_| ()) }
    });
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    first.abort();
    hub.cas(&repo(), COMMIT).await.unwrap();
}

#[tokio::test]
async fn a_token_near_its_end_is_renewed_before_use() {
    let cas = Server::start(|_, _| Reply::ok(reconstruction_json(2, "http://127.0.0.1:9/x"))).await;
    let origin = cas.origin.clone();
    // Lives for no second at first, then for an hour.
    let hub = Server::start(move |_, number| match number {
        0 => Reply::ok(format!(r#"{{"casUrl":"{origin}","accessToken":"old","exp":{}}}"#, unix_now())),
        _ => token_json(&origin, "new"),
    })
    .await;
    let cas_client = hub.hub(None).cas(&repo(), COMMIT).await.unwrap();
    for _ in 0..3 {
        cas_client.reconstruction(&hash(1)).await.unwrap();
    }
    assert_eq!(hub.seen().len(), 2);
    assert!(cas.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer new")));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_only_once() {
    let cas = Server::start(|seen, _| match seen.header("authorization") {
        Some("Bearer t1") => Reply::ok(reconstruction_json(2, "http://127.0.0.1:9/x")),
        _ => Reply::new(401).body("expired"),
    })
    .await;
    let tokens = |cas: &Server, first: usize| {
        let (origin, count) = (cas.origin.clone(), Arc::new(AtomicUsize::new(first)));
        Server::start(move |_, _| token_json(&origin, &format!("t{}", count.fetch_add(1, Ordering::Relaxed))))
    };
    let hub = tokens(&cas, 0).await;
    let cas_client = hub.hub(None).cas(&repo(), COMMIT).await.unwrap();
    cas_client.reconstruction(&hash(1)).await.unwrap();
    assert_eq!((hub.seen().len(), cas.seen().len()), (2, 2));

    let hub = tokens(&cas, 5).await;
    let cas_client = hub.hub(None).cas(&repo(), COMMIT).await.unwrap();
    let error = cas_client.reconstruction(&hash(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!((hub.seen().len(), cas.seen().len()), (2, 4));
}

#[tokio::test]
async fn publicness_is_asked_without_a_token_and_denied_by_default() {
    let hub = Server::start(|_, number| match number {
        0 => token_json("http://127.0.0.1:9", CAS_TOKEN),
        1 => Reply::new(401).header("x-error-code", "GatedRepo"),
        2 => Reply::new(401).header("x-error-code", "RepoNotFound"),
        3 => Reply::new(404),
        4 => Reply::new(403),
        // Three tries.
        5..=7 => Reply::ok("<html>please log in to this network</html>"),
        _ => Reply::new(500),
    })
    .await;
    let client = hub.hub(Some(HUB_TOKEN));
    assert!(client.is_public(&repo(), COMMIT).await.unwrap());
    for _ in 1..=4 {
        assert!(!client.is_public(&repo(), COMMIT).await.unwrap());
    }
    assert_eq!(client.is_public(&repo(), COMMIT).await.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(client.is_public(&repo(), COMMIT).await.unwrap_err().kind(), ErrorKind::Server);
    assert!(hub.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn an_anonymous_client_uses_the_proof_of_publicness_as_its_token() {
    let hub = Server::start(|_, _| token_json("http://127.0.0.1:9", CAS_TOKEN)).await;
    let client = hub.hub(None);
    assert!(client.is_public(&repo(), COMMIT).await.unwrap());
    client.cas(&repo(), COMMIT).await.unwrap();
    assert_eq!(hub.seen().len(), 1);
    assert!(client.is_public(&repo(), COMMIT).await.unwrap());
    assert_eq!(hub.seen().len(), 2, "a proof is never taken from memory");
}
