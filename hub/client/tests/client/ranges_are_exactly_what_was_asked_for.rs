//! A ranged GET yields those bytes or an error, never others.

use zest_hub::{Cas, ErrorKind, HubError};

use super::support::*;

async fn cas_of(server: &Server) -> Cas {
    let cas = server.origin.clone();
    let hub = Server::start(move |_, _| token_json(&cas, CAS_TOKEN)).await;
    hub.hub(None).cas(&repo(), COMMIT).await.unwrap()
}

async fn ask(reply: Reply, bytes: std::ops::Range<u64>) -> Result<Vec<u8>, HubError> {
    let cdn = Server::start(move |_, _| reply.clone()).await;
    let cas = cas_of(&cdn).await;
    read(cas.range(&format!("{}/xorb", cdn.origin), bytes).await?).await
}

#[tokio::test]
async fn the_part_asked_for_is_accepted_with_any_total() {
    for total in ["100", "*"] {
        let reply = Reply::new(206).body([5; 10]).header("content-range", format!("bytes 20-29/{total}"));
        assert_eq!(ask(reply, 20..30).await.unwrap(), [5; 10]);
    }
}

#[tokio::test]
async fn other_parts_are_refused_with_what_came_instead() {
    for content_range in
        ["bytes 0-9/100", "bytes 20-28/100", "bytes 20-30/100", "bytes */100", "", "items 20-29/100"]
    {
        let reply = Reply::new(206).body([5; 10]).header("content-range", content_range);
        let error = ask(reply, 20..30).await.unwrap_err();
        assert!(matches!(error, HubError::WrongRange { want_start: 20, want_last: 29, .. }), "{error:?}");
        assert!(error.to_string().contains(content_range), "{error}");
    }
    let error = ask(Reply::new(206).body([5; 10]), 20..30).await.unwrap_err();
    assert!(error.to_string().contains("without Content-Range"), "{error}");
    let lying = Reply::new(206).body([5; 9]).header("content-range", "bytes 20-29/100");
    assert!(matches!(ask(lying, 20..30).await, Err(HubError::WrongRange { .. })));
}

#[tokio::test]
async fn a_whole_body_is_accepted_only_where_it_is_what_was_asked_for() {
    assert_eq!(ask(Reply::ok([1; 10]), 0..10).await.unwrap(), [1; 10]);
    for range in [0..9, 0..11, 5..10, 1..11] {
        let error = ask(Reply::ok([1; 10]), range).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    assert!(ask(Reply::ok([1; 10]).without_length(), 0..10).await.is_err());
}

#[tokio::test]
async fn a_refused_address_tells_why_and_is_not_repeated() {
    let cdn =
        Server::start(|_, _| Reply::new(403).body("Auth failed: invalid range\u{7}\n".repeat(2000))).await;
    let cas = cas_of(&cdn).await;
    let error = cas.range(&format!("{}/xorb", cdn.origin), 0..10).await.unwrap_err();
    let HubError::UrlExpired { body, .. } = &error else { panic!("{error:?}") };
    assert!(body.starts_with("Auth failed: invalid range Auth failed") && body.len() < 600, "{body}");
    assert_eq!(cdn.seen().len(), 1);
}

#[tokio::test]
async fn a_range_without_bytes_and_an_address_that_is_none_send_nothing() {
    let cdn = Server::start(|_, _| Reply::ok("")).await;
    let cas = cas_of(&cdn).await;
    for (url, bytes) in [(format!("{}/x", cdn.origin), 5..5), ("/x".into(), 0..5), ("file:///x".into(), 0..5)]
    {
        assert_eq!(cas.range(&url, bytes).await.unwrap_err().kind(), ErrorKind::Protocol, "{url}");
    }
    assert_eq!(cdn.seen().len(), 0);
}

#[tokio::test]
async fn a_file_can_be_read_in_parts_through_the_plain_address() {
    let cdn = Server::start(|seen, _| {
        assert_eq!(seen.header("range"), Some("bytes=4-7"));
        Reply::new(206).body("4567").header("content-range", "bytes 4-7/10")
    })
    .await;
    let target = cdn.origin.clone();
    let hub = Server::start(move |_, _| Reply::new(302).header("location", format!("{target}/f?s=1"))).await;
    let body = hub.hub(Some(HUB_TOKEN)).whole_file(&repo(), COMMIT, "f", 4..8).await.unwrap();
    assert_eq!(read(body).await.unwrap(), b"4567");
}
