//! 429 with and without a wish, 5xx, no connection: waits as asked, gives up in the end, and says after how many tries.

use std::time::{Duration, SystemTime};

use zest_hub::{ErrorKind, Hub, HubConfig, HubError, RetryPolicy};

use super::support::*;

fn info() -> Reply {
    Reply::ok(format!(r#"{{"sha":"{COMMIT}","private":false,"gated":false}}"#))
}

fn once(server: &Server) -> Hub {
    let retry = RetryPolicy { tries: 1, ..RetryPolicy::default() };
    Hub::new(HubConfig { retry, ..server.config(None) }).unwrap()
}

#[tokio::test]
async fn failures_that_pass_are_sat_out() {
    let now = httpdate::fmt_http_date(SystemTime::now());
    for reply in [
        Reply::new(429),
        Reply::new(429).header("retry-after", "0"),
        Reply::new(429).header("retry-after", &now).header("date", &now),
        Reply::new(429).header("retry-after", "86400"), // beyond the cap, which is 5 ms in these tests
        Reply::new(500),
        Reply::new(503).body("injected"),
        Reply::new(408),
        Reply::nothing().then_hang_up(),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::start(move |_, number| if number < 2 { reply.clone() } else { info() }).await;
        let result = server.hub(None).revision(&repo(), "main").await;
        assert!(result.is_ok(), "{shown}: {result:?}");
        assert_eq!(server.seen().len(), 3, "{shown}");
    }
}

#[tokio::test]
async fn tries_run_out_with_the_last_error_and_their_number() {
    let server = Server::start(|_, _| Reply::new(503).body("injected CDN error")).await;
    let error = server.hub(None).revision(&repo(), "main").await.unwrap_err();
    let HubError::Server { status: 503, tries: 3, message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(message, "injected CDN error");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_rate_limit_that_does_not_end_carries_the_servers_wish() {
    let at = |seconds| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    for (reply, wish) in [
        (Reply::new(429).header("retry-after", "77"), Some(77)),
        // By the server's clock, however wrong it is.
        (Reply::new(429).header("retry-after", at(1_000_077)).header("date", at(1_000_000)), Some(77)),
        (Reply::new(429).header("ratelimit", "\"api\";r=0;t=77"), Some(77)),
        (Reply::new(429), None),
    ] {
        let server = Server::start(move |_, _| reply.clone()).await;
        let error = once(&server).revision(&repo(), "main").await.unwrap_err();
        let retry_after = wish.map(Duration::from_secs);
        assert_eq!(error.kind(), ErrorKind::RateLimited { retry_after });
        assert_eq!(error.to_string().contains("77 s"), wish.is_some(), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_pass_is_not_repeated() {
    for status in [400, 404, 410, 416, 501] {
        let server = Server::start(move |_, _| Reply::new(status)).await;
        assert!(server.hub(None).revision(&repo(), "main").await.is_err());
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_offline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let retry = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    let hub = Hub::new(HubConfig { retry, ..HubConfig::new(&origin, None) }).unwrap();
    let error = hub.revision(&repo(), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Offline);
    assert!(matches!(&error, HubError::Unreachable { tries: 3, .. }), "{error:?}");
    assert!(error.to_string().contains(&origin), "{error}");
}

#[tokio::test]
async fn xorb_ranges_are_tried_again_too() {
    let cdn = Server::start(|_, number| match number {
        0 => Reply::new(503),
        1 => Reply::new(429).header("retry-after", "0"),
        _ => Reply::new(206).body("01234").header("content-range", "bytes 0-4/9"),
    })
    .await;
    let origin = cdn.origin.clone();
    let hub = Server::start(move |_, _| token_json(&origin, CAS_TOKEN)).await;
    let cas = hub.hub(None).cas(&repo(), COMMIT).await.unwrap();
    let body = cas.range(&format!("{}/x", cdn.origin), 0..5).await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"01234");
    assert_eq!(cdn.seen().len(), 3);
}
