//! Where credentials go on redirects, and that no message or debug output repeats them.

use zest_hub::{ErrorKind, Hub, HubConfig};
use zest_store::Token;

use super::support::*;

#[tokio::test]
async fn a_redirect_to_another_origin_loses_the_token() {
    let elsewhere = Server::start(|_, _| Reply::ok("content")).await;
    let target = elsewhere.origin.clone();
    let hub = Server::start(move |seen, _| match seen.path.as_str() {
        "/api/resolve-cache/x" => Reply::new(302).header("location", format!("{target}/leave")),
        _ => Reply::new(307).header("location", "/api/resolve-cache/x").body("moved"),
    })
    .await;
    let body = hub.hub(Some(HUB_TOKEN)).small_file(&repo(), COMMIT, "a b#1").await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"content");

    let at_home = hub.seen();
    assert_eq!(at_home.len(), 2, "one GET and its redirect, no HEAD");
    assert_eq!(at_home[0].path, format!("/lab/tiny/resolve/{COMMIT}/a%20b%231"));
    for seen in &at_home {
        assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {HUB_TOKEN}")));
        assert_eq!(seen.header("x-hf-download-counter"), Some("1"));
        assert!(seen.header("user-agent").unwrap().starts_with("zest/"));
        assert!(seen.header("user-agent").unwrap().contains("hf_hub/2.4.0"));
    }
    let away = elsewhere.seen();
    assert_eq!(away.len(), 1);
    assert!(!format!("{away:?}").contains(HUB_TOKEN));
    assert_eq!((away[0].header("authorization"), away[0].header("x-hf-download-counter")), (None, None));
}

#[tokio::test]
async fn a_redirect_through_a_stranger_and_back_carries_no_token() {
    let hub = Server::start(|seen, _| match seen.path.as_str() {
        "/back" => Reply::ok("content"),
        // This test's file name is the stranger's port.
        path => {
            let port = path.rsplit('/').next().unwrap();
            Reply::new(302).header("location", format!("http://127.0.0.1:{port}/"))
        }
    })
    .await;
    let home = hub.origin.clone();
    let stranger =
        Server::start(move |_, _| Reply::new(302).header("location", format!("{home}/back"))).await;
    let port = stranger.origin.rsplit(':').next().unwrap().to_owned();
    let body = hub.hub(Some(HUB_TOKEN)).small_file(&repo(), COMMIT, &port).await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"content");
    assert!(hub.seen()[0].header("authorization").is_some());
    assert!(hub.seen()[1].header("authorization").is_none(), "a stranger chose this address");
}

#[tokio::test]
async fn links_to_the_public_hub_stay_at_the_configured_endpoint() {
    let hub = Server::start(|seen, _| match seen.path.as_str() {
        "/api/resolve-cache/x?a=1" => Reply::ok("content"),
        _ => Reply::new(307).header("location", "https://huggingface.co/api/resolve-cache/x?a=1"),
    })
    .await;
    let body = hub.hub(Some(HUB_TOKEN)).small_file(&repo(), COMMIT, "f").await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"content");
    assert!(hub.seen().iter().all(|seen| seen.header("authorization").is_some()));
}

#[tokio::test]
async fn each_token_reaches_its_own_server_only() {
    let cdn =
        Server::start(|_, _| Reply::new(206).header("content-range", "bytes 0-17/99").body([7; 18])).await;
    let signed = format!("{}/xorb?Signature=s1gned", cdn.origin);
    let cas = Server::start(move |_, _| Reply::ok(reconstruction_json(2, &signed))).await;
    let cas_origin = cas.origin.clone();
    let hub = Server::start(move |_, _| token_json(&cas_origin, CAS_TOKEN)).await;

    let cas_client = hub.hub(Some(HUB_TOKEN)).cas(&repo(), COMMIT).await.unwrap();
    let plan = cas_client.reconstruction(&hash(1)).await.unwrap();
    let fetch = &plan.fetches[&hash(9)][0];
    let body = cas_client.range(&fetch.url, fetch.ranges[0].bytes.clone()).await.unwrap();
    assert_eq!(body.len(), Some(18));
    assert_eq!(read(body).await.unwrap(), [7; 18]);

    assert_eq!(hub.seen()[0].header("authorization"), Some(&*format!("Bearer {HUB_TOKEN}")));
    assert_eq!(cas.seen()[0].header("authorization"), Some(&*format!("Bearer {CAS_TOKEN}")));
    assert_eq!(cdn.seen()[0].header("authorization"), None);
    assert_eq!(cdn.seen()[0].header("range"), Some("bytes=0-17"));
    assert!(!format!("{:?}{:?}", cas.seen(), cdn.seen()).contains(HUB_TOKEN));
    assert!(!format!("{cas_client:?}").contains("secret"));
}

#[tokio::test]
async fn a_cas_that_redirects_elsewhere_does_not_pass_its_token_on() {
    let elsewhere = Server::start(|_, _| Reply::ok(reconstruction_json(2, "http://127.0.0.1:9/x"))).await;
    let target = elsewhere.origin.clone();
    let cas = Server::start(move |_, _| Reply::new(307).header("location", &target)).await;
    let cas_origin = cas.origin.clone();
    let hub = Server::start(move |_, _| token_json(&cas_origin, CAS_TOKEN)).await;
    let cas_client = hub.hub(None).cas(&repo(), COMMIT).await.unwrap();
    cas_client.reconstruction(&hash(1)).await.unwrap();
    assert!(cas.seen()[0].header("authorization").is_some());
    assert!(elsewhere.seen()[0].header("authorization").is_none());
}

#[tokio::test]
async fn a_server_that_echoes_our_headers_does_not_get_them_into_messages() {
    for status in [400, 401, 403, 404, 429, 503] {
        let hub = Server::start(move |seen, _| {
            let echo = format!("you sent {:?}", seen.headers);
            Reply::new(status).header("x-error-message", &echo).body(echo)
        })
        .await;
        let client = hub.hub(Some(HUB_TOKEN));
        let error = client.revision(&repo(), "main").await.unwrap_err();
        let all = format!("{error} {error:?} {client:?}");
        assert!(!all.contains(HUB_TOKEN), "{status}: {all}");

        let cas_origin = hub.origin.clone();
        let tokens = Server::start(move |_, _| token_json(&cas_origin, CAS_TOKEN)).await;
        let cas_client = tokens.hub(Some(HUB_TOKEN)).cas(&repo(), COMMIT).await.unwrap();
        let error = cas_client.reconstruction(&hash(1)).await.unwrap_err();
        let all = format!("{error} {error:?} {cas_client:?}");
        assert!(!all.contains(CAS_TOKEN) && !all.contains(HUB_TOKEN), "{status}: {all}");
    }
}

#[tokio::test]
async fn signatures_of_addresses_are_not_shown() {
    let cdn = Server::start(|_, _| Reply::new(403).body("Auth failed: expired")).await;
    let hub = Server::start({
        let cas = cdn.origin.clone();
        move |_, _| token_json(&cas, CAS_TOKEN)
    })
    .await;
    let cas_client = hub.hub(None).cas(&repo(), COMMIT).await.unwrap();
    let error = cas_client.range(&format!("{}/x?Signature=s1gned", cdn.origin), 0..5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UrlExpired);
    assert!(error.to_string().contains("Auth failed: expired"), "{error}");
    assert!(!format!("{error:?}").contains("s1gned"), "{error:?}");
}

#[test]
fn a_token_that_cannot_be_sent_is_refused_without_being_shown() {
    let config = HubConfig::new("https://huggingface.co", Token::new("hf_broken \u{1} token"));
    let error = Hub::new(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let all = format!("{error} {error:?}");
    assert!(all.contains("HF_TOKEN") && !all.contains("hf_broken"), "{all}");
}
