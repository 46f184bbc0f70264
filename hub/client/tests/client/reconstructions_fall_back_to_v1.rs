//! v2 first; a CAS without it is asked for v1 from then on.

use zest_hub::{ErrorKind, Hub};

use super::support::*;

/// A CAS whose v2 answers `status`, and a client of it.
async fn cas_with_v2(status: u16, knows_file: bool) -> (Server, Server, Hub) {
    let cas = Server::start(move |seen, _| {
        if seen.path.starts_with("/v2") {
            Reply::new(status).body(reconstruction_json(2, "http://127.0.0.1:9/x"))
        } else if knows_file {
            Reply::ok(reconstruction_json(1, "http://127.0.0.1:9/x"))
        } else {
            Reply::new(404).body("no such file")
        }
    })
    .await;
    let origin = cas.origin.clone();
    let tokens = Server::start(move |_, _| token_json(&origin, CAS_TOKEN)).await;
    let hub = tokens.hub(None);
    (cas, tokens, hub)
}

#[tokio::test]
async fn v2_is_used_where_it_exists() {
    let (cas, _tokens, hub) = cas_with_v2(200, true).await;
    let plan = hub.cas(&repo(), COMMIT).await.unwrap().reconstruction(&hash(1)).await.unwrap();
    assert_eq!(plan.fetches[&hash(9)][0].ranges[0].bytes, 0..18, "end exclusive in memory");
    assert_eq!(cas.paths(), [format!("/v2/reconstructions/{}", hash(1))]);
}

#[tokio::test]
async fn a_cas_without_v2_is_remembered() {
    for status in [404, 501] {
        let (cas, _tokens, hub) = cas_with_v2(status, true).await;
        let cas_client = hub.cas(&repo(), COMMIT).await.unwrap();
        for file in 1..=3 {
            cas_client.reconstruction(&hash(file)).await.unwrap();
        }
        let versions: Vec<_> = cas.paths().iter().map(|path| path[1..3].to_owned()).collect();
        assert_eq!(versions, ["v2", "v1", "v1", "v1"], "{status}");
    }
}

#[tokio::test]
async fn an_unknown_file_says_nothing_about_the_version() {
    let (cas, _tokens, hub) = cas_with_v2(404, false).await;
    let cas_client = hub.cas(&repo(), COMMIT).await.unwrap();
    for _ in 0..2 {
        let error = cas_client.reconstruction(&hash(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EntryNotFound);
        assert!(error.to_string().contains(&hash(1).to_string()), "{error}");
    }
    assert_eq!(cas.seen().len(), 4, "v2 is tried again");
}

#[tokio::test]
async fn a_reconstruction_that_is_none_is_malformed() {
    let cas = Server::start(|_, _| Reply::ok("{\"terms\": 7}")).await;
    let origin = cas.origin.clone();
    let tokens = Server::start(move |_, _| token_json(&origin, CAS_TOKEN)).await;
    let cas_client = tokens.hub(None).cas(&repo(), COMMIT).await.unwrap();
    let error = cas_client.reconstruction(&hash(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(cas.seen().len(), 1);
}
