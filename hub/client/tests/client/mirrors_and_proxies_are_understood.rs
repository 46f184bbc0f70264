//! What stands between us and the public Hub: it packs bodies, wants a login of its own, names pages by other addresses.

use zest_hub::{ErrorKind, HubError};

use super::support::*;

/// `[{"type":"file","path":"config.json","oid":"aaaa…","size":3}]` as a stored block in a gzip member.
fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut sum = u32::MAX;
    for byte in content {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 != 0 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
        }
    }
    let len = content.len() as u16;
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    packed.extend(len.to_le_bytes().into_iter().chain((!len).to_le_bytes()));
    packed.extend_from_slice(content);
    packed.extend((!sum).to_le_bytes().into_iter().chain(u32::from(len).to_le_bytes()));
    packed
}

fn listing(path: &str) -> String {
    format!(r#"[{{"type":"file","path":"{path}","oid":"{OID}","size":3}}]"#)
}

#[tokio::test]
async fn what_comes_packed_is_unpacked() {
    let server = Server::start(|seen, _| {
        let content = if seen.path.contains("/tree/") { listing("config.json") } else { "{}\n".to_owned() };
        Reply::ok(gzipped(content.as_bytes())).header("content-encoding", "gzip")
    })
    .await;
    let hub = server.hub(None);
    assert_eq!(hub.tree(&repo(), COMMIT).await.unwrap()[0].path, "config.json");
    let body = hub.small_file(&repo(), COMMIT, "config.json").await.unwrap();
    assert_eq!(body.len(), None, "the length on the wire is not that of the content");
    assert_eq!(read(body).await.unwrap(), b"{}\n");
    let body = hub.small_file(&repo(), COMMIT, "config.json").await.unwrap().at_most(2);
    assert!(matches!(read(body).await, Err(HubError::TooLarge { limit: 2, .. })), "bound by its content");
}

#[tokio::test]
async fn a_bomb_is_unpacked_to_its_bound_and_no_further() {
    // A zstd frame of blocks that repeat one byte 128 KiB times each: 8 GB in 256 KiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x50];
    bomb.extend([2, 0, 16, 0].repeat(1 << 16));
    let server = Server::start(move |_, _| Reply::ok(bomb.clone()).header("content-encoding", "zstd")).await;
    let error = server.hub(None).tree(&repo(), COMMIT).await.unwrap_err();
    assert!(matches!(error, HubError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn packed_bodies_that_are_cut_or_none_are_told_from_content() {
    let whole = gzipped(b"0123456789");
    for (packed, promised) in [(b"not packed at all".to_vec(), 17), (whole[..20].to_vec(), 20)] {
        let server = Server::start(move |_, _| {
            Reply::ok(packed.clone()).promising(promised).header("content-encoding", "gzip")
        })
        .await;
        let body = server.hub(None).small_file(&repo(), COMMIT, "f").await;
        let error = match body {
            Ok(body) => read(body).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, HubError::Malformed { .. }), "{error:?}");
    }
    let server = Server::start(move |_, _| {
        Reply::ok(&whole[..20]).without_length().header("content-encoding", "gzip")
    })
    .await;
    let body = server.hub(None).small_file(&repo(), COMMIT, "f").await.unwrap();
    assert!(matches!(body.bytes(100).await, Err(HubError::ShortBody { .. })), "the line broke");
}

#[tokio::test]
async fn a_packed_range_is_refused() {
    let server = Server::start(|_, _| {
        Reply::new(206).header("content-range", "bytes 0-2/3").header("content-encoding", "gzip").body("xyz")
    })
    .await;
    let result = server.hub(None).whole_file(&repo(), COMMIT, "f", 0..3).await;
    assert!(matches!(result, Err(HubError::Malformed { .. })), "{result:?}");
}

#[tokio::test]
async fn a_login_in_the_endpoint_opens_it_and_is_shown_to_nobody_else() {
    let elsewhere = Server::start(|_, _| Reply::ok("content")).await;
    let target = elsewhere.origin.clone();
    let hub = Server::start(move |seen, _| {
        // "key:tok/en"
        if seen.header("authorization") != Some("Basic a2V5OnRvay9lbg==") {
            return Reply::new(401).body(format!("you sent {:?}", seen.headers));
        }
        match seen.path.as_str() {
            path if path.contains("/tree/") => Reply::ok(listing("f")),
            path if path.contains("/revision/") => Reply::new(400).body("tok/en a2V5OnRvay9lbg=="),
            _ => Reply::new(302).header("location", format!("{target}/away")),
        }
    })
    .await;
    let mut config = hub.config(Some(HUB_TOKEN));
    config.endpoint = hub.origin.replace("http://", "http://key:tok%2Fen@");
    let client = zest_hub::Hub::new(config).unwrap();
    assert_eq!(client.tree(&repo(), COMMIT).await.unwrap()[0].path, "f");
    assert_eq!(read(client.small_file(&repo(), COMMIT, "f").await.unwrap()).await.unwrap(), b"content");
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
    // Whoever lacks the login cannot read it: that is not public.
    assert!(!client.is_public(&repo(), COMMIT).await.unwrap());
    assert_eq!(hub.seen().last().unwrap().header("authorization"), None);
    let error = client.revision(&repo(), "main").await.unwrap_err();
    for shown in [format!("{error} {error:?}"), format!("{client:?}")] {
        for secret in ["tok/en", "tok%2Fen", "a2V5"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    let mut config = hub.config(None);
    config.endpoint = hub.origin.replace("http://", "http://key:wrong@");
    let error = zest_hub::Hub::new(config).unwrap().tree(&repo(), COMMIT).await.unwrap_err();
    assert!(matches!(error, HubError::LoginRefused { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn a_page_named_by_an_inner_address_is_asked_for_here_with_the_token() {
    let inner = Server::start(|_, _| Reply::new(500)).await;
    let origin = inner.origin.clone();
    let hub = Server::start(move |seen, number| {
        let path = seen.path.split('?').next().unwrap();
        match number {
            0 => Reply::ok(listing("a")).header("link", format!("<{origin}{path}?c=2>; rel=\"next\"")),
            _ => Reply::ok(listing("b")),
        }
    })
    .await;
    let tree = hub.hub(Some(HUB_TOKEN)).tree(&repo(), COMMIT).await.unwrap();
    assert_eq!(tree.len(), 2);
    assert_eq!(inner.seen().len(), 0);
    assert!(hub.seen().iter().all(|seen| seen.header("authorization").is_some()));
}

#[tokio::test]
async fn a_page_that_only_another_origin_has_is_read_there_without_the_token() {
    let pages = Server::start(|_, _| Reply::ok(listing("b"))).await;
    let origin = pages.origin.clone();
    let hub = Server::start(move |seen, number| {
        let path = seen.path.split('?').next().unwrap();
        match number {
            0 => Reply::ok(listing("a")).header("link", format!("<{origin}{path}?c=2>; rel=\"next\"")),
            _ => Reply::new(404),
        }
    })
    .await;
    let tree = hub.hub(Some(HUB_TOKEN)).tree(&repo(), COMMIT).await.unwrap();
    assert_eq!(tree.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(pages.seen().len(), 1);
    assert_eq!(pages.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_server_that_is_down_says_when_it_is_back() {
    let server = Server::start(|_, _| Reply::new(503).header("retry-after", "0.002")).await;
    let error = server.hub(None).revision(&repo(), "main").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_millis(2)));
    assert_eq!(error.kind(), ErrorKind::Server);
}

#[tokio::test]
async fn a_page_that_is_not_under_a_proxys_link_is_no_refusal_of_the_repository() {
    // Behind this proxy links have the endpoint's path twice.
    let hub = Server::start(|seen, number| {
        let page = |name: &str| Reply::ok(listing(name));
        match number {
            0 => page("a").header(
                "link",
                format!("<http://{}/m{}&c=2>; rel=\"next\"", seen.headers["host"], seen.path),
            ),
            _ if seen.path.starts_with("/m/m/") => Reply::new(404).body("no such page"),
            _ => page("b"),
        }
    })
    .await;
    let mut config = hub.config(Some(HUB_TOKEN));
    config.endpoint += "/m";
    let client = zest_hub::Hub::new(config).unwrap();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = told.clone();
    client.watch_refusals(move |refusal| heard.lock().unwrap().push(refusal.error.clone()));
    assert_eq!(client.tree(&repo(), COMMIT).await.unwrap().len(), 2);
    assert_eq!(*told.lock().unwrap(), [], "sharing would end with it");
}

fn page() -> Reply {
    Reply::ok("<!DOCTYPE html><p>Log in to this network</p>")
        .header("content-type", "text/html; charset=utf-8")
}

#[tokio::test]
async fn a_log_in_page_is_a_line_that_is_out_and_no_broken_answer() {
    // It does not always say what it is.
    for bare in [false, true] {
        let portal = move || if bare { Reply::ok("\r\n<html>Log in</html>") } else { page() };
        let hub = Server::start(move |seen, number| match number {
            0 | 1 => portal(),
            _ if seen.path.contains("/tree/") => Reply::ok(listing("a")),
            _ => Reply::ok(format!(r#"{{"sha":"{COMMIT}","private":false,"gated":false}}"#)),
        })
        .await;
        let client = hub.hub(None);
        assert_eq!(client.revision(&repo(), "main").await.unwrap().commit, COMMIT, "bare: {bare}");
        assert!(client.has_answered(&format!("{}/whatever", hub.origin)));
        assert_eq!(hub.seen().len(), 3);
        let hub =
            Server::start(move |_, number| if number < 2 { portal() } else { Reply::ok(listing("a")) }).await;
        assert_eq!(hub.hub(None).tree(&repo(), COMMIT).await.unwrap().len(), 1, "bare: {bare}");
        let hub = Server::start(move |_, _| portal()).await;
        let client = hub.hub(None);
        let error = client.is_public(&repo(), COMMIT).await.unwrap_err();
        assert!(matches!(error, HubError::Page { .. }) && error.is_transient(), "{error:?}");
    }
}

#[tokio::test]
async fn a_log_in_page_is_no_range_of_a_xorb_and_no_word_of_its_server() {
    let cdn = Server::start(|_, _| page()).await;
    let origin = cdn.origin.clone();
    let hub = Server::start(move |_, _| token_json(&origin, CAS_TOKEN)).await;
    let client = hub.hub(None);
    let cas = client.cas(&repo(), COMMIT).await.unwrap();
    let error = cas.range(&format!("{}/x", cdn.origin), 0..5).await.unwrap_err();
    assert!(matches!(error, HubError::Page { .. }), "{error:?}");
    assert!(matches!(cas.reconstruction(&hash(1)).await.unwrap_err(), HubError::Page { .. }));
    assert!(client.has_answered(&hub.origin) && !client.has_answered(&cdn.origin));
}

#[tokio::test]
async fn a_file_may_be_a_web_page() {
    let hub = Server::start(|_, _| page().header("etag", "\"v1\"")).await;
    let client = hub.hub(None);
    let body = client.plain_file(&repo(), COMMIT, "index.html", None).await.unwrap();
    assert!(body.is_page);
    assert_eq!(body.version.as_deref(), Some("\"v1\""));
}
