//! Listings over several pages, and listings that do not end, lead elsewhere or hold what no listing should.

use zest_hub::{ErrorKind, HubError};

use super::support::*;

fn row(path: &str) -> String {
    format!(r#"{{"type":"file","path":"{path}","oid":"{OID}","size":3}}"#)
}

fn page(paths: &[&str]) -> Reply {
    Reply::ok(format!("[{}]", paths.iter().map(|path| row(path)).collect::<Vec<_>>().join(",")))
}

#[tokio::test]
async fn pages_are_followed_with_the_token_and_put_together_in_order() {
    let hub = Server::start(|seen, number| match number {
        0 => page(&["b", "a"])
            .header("link", format!("<http://{}/next?c=2>; rel=\"next\"", seen.headers["host"])),
        // A mirror passes the public Hub's own link on.
        1 => page(&["d/c"]).header("link", "<https://huggingface.co/next?c=3>; rel=\"next\""),
        _ => page(&["é #.bin"]),
    })
    .await;
    let tree = hub.hub(Some(HUB_TOKEN)).tree(&repo(), COMMIT).await.unwrap();
    let paths: Vec<_> = tree.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["b", "a", "d/c", "é #.bin"]);
    let first = format!("/api/models/lab/tiny/tree/{COMMIT}?recursive=true&expand=false");
    assert_eq!(hub.paths(), [first.as_str(), "/next?c=2", "/next?c=3"]);
    assert!(hub.seen().iter().all(|seen| seen.header("authorization").is_some()));
}

#[tokio::test]
async fn an_entry_keeps_its_hashes_and_sizes() {
    let sha = "b".repeat(64);
    let body = format!(
        r#"[{{"type":"file","path":"m.safetensors","oid":"{OID}","size":12,"lfs":{{"oid":"{sha}","size":12,"pointerSize":133}},"xetHash":"{}"}}]"#,
        hash(3)
    );
    let hub = Server::start(move |_, _| Reply::ok(body.clone())).await;
    let tree = hub.hub(None).tree(&repo(), COMMIT).await.unwrap();
    assert_eq!((tree[0].size, tree[0].blob_id.as_str(), tree[0].lfs_size), (12, OID, Some(12)));
    assert_eq!((tree[0].lfs_sha256.as_deref(), tree[0].xet_hash), (Some(sha.as_str()), Some(hash(3))));
}

#[tokio::test]
async fn a_listing_does_not_continue_at_another_origin() {
    let stranger = Server::start(|_, _| page(&["x"])).await;
    let link = format!("<{}/next>; rel=\"next\"", stranger.origin);
    let hub = Server::start(move |_, _| page(&["a"]).header("link", &link)).await;
    let error = hub.hub(Some(HUB_TOKEN)).tree(&repo(), COMMIT).await.unwrap_err();
    assert!(matches!(error, HubError::Redirect { .. }), "{error:?}");
    assert_eq!(stranger.seen().len(), 0);
}

#[tokio::test]
async fn a_listing_that_goes_in_circles_ends() {
    let hub = Server::start(|_, _| page(&["a"]).header("link", "</same>; rel=\"next\"")).await;
    let error = hub.hub(None).tree(&repo(), COMMIT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(hub.seen().len(), 2);
}

#[tokio::test]
async fn a_page_is_bounded_before_it_is_read() {
    let hub = Server::start(|_, _| Reply::ok("[").promising(1 << 40).then_hang_up()).await;
    let error = hub.hub(None).tree(&repo(), COMMIT).await.unwrap_err();
    assert!(matches!(error, HubError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn an_unsafe_name_refuses_the_listing_and_is_shown() {
    let hub = Server::start(|_, _| page(&["good", "../../.bashrc"])).await;
    let error = hub.hub(None).tree(&repo(), COMMIT).await.unwrap_err();
    assert!(matches!(error, HubError::UnsafeName { .. }), "{error:?}");
    assert!(error.to_string().contains("../../.bashrc"), "{error}");
}
