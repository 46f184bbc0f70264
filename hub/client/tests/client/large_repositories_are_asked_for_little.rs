//! Half a million files cost what is wanted of them, not what they are.

use zest_hub::ErrorKind;

use super::support::*;

fn row(path: &str) -> String {
    format!(r#"{{"type":"file","path":"{path}","oid":"{OID}","size":3}}"#)
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_revision_may_list_more_names_than_would_fit() {
    // 40 MB of names that nobody reads, before what is asked for.
    let siblings = vec![r#"{"rfilename":"data/train-000000-of-510000.parquet"}"#; 800_000].join(",");
    let answer = format!(r#"{{"siblings":[{siblings}],"sha":"{COMMIT}","private":false,"gated":"auto"}}"#);
    assert!(answer.len() > 32 << 20);
    let hub = Server::start(move |_, _| Reply::ok(answer.clone())).await;
    let info = hub.hub(None).revision(&repo(), "main").await.unwrap();
    assert_eq!((info.commit.as_str(), info.private, info.gated), (COMMIT, false, true));
}

#[tokio::test]
async fn named_files_are_asked_for_by_name() {
    let hub = Server::start(|seen, _| {
        assert_eq!(seen.header("content-type"), Some("application/json"));
        Reply::ok(format!(r#"[{},{{"type":"directory","path":"d","oid":"x","size":0}}]"#, row("d/a.bin")))
    })
    .await;
    let client = hub.hub(Some(HUB_TOKEN));
    let found = client.part(&repo(), COMMIT, &strings(&["d/a.bin", "gone", "d"]), &[]).await.unwrap();
    assert_eq!(found.entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["d/a.bin"]);
    assert_eq!(hub.paths(), [format!("/api/models/lab/tiny/paths-info/{COMMIT}")]);
    assert!(hub.seen()[0].header("authorization").is_some());
}

#[tokio::test]
async fn a_folder_is_listed_alone_with_its_pages() {
    let tree = format!("/api/models/lab/tiny/tree/{COMMIT}");
    let folder = format!("{tree}/data/a%20b?recursive=true&expand=false");
    let hub = Server::start(move |seen, _| match seen.path.as_str() {
        path if path == folder => Reply::ok(format!("[{}]", row("data/a b/1")))
            .header("link", format!("<http://{}{path}&cursor=2>; rel=\"next\"", seen.headers["host"])),
        path if path.ends_with("&cursor=2") => Reply::ok(format!("[{}]", row("data/a b/2"))),
        _ => Reply::new(404).header("x-error-code", "EntryNotFound"),
    })
    .await;
    let found = hub.hub(None).part(&repo(), COMMIT, &[], &strings(&["data/a b", "gone"])).await.unwrap();
    assert_eq!(found.entries.len(), 2);
    assert_eq!(hub.seen().len(), 3);
}

#[tokio::test]
async fn a_mirror_that_does_not_know_the_call_is_asked_for_the_whole_list() {
    for status in [404, 405, 501] {
        let hub = Server::start(move |seen, _| match seen.path.contains("/paths-info/") {
            true => Reply::new(status),
            false => Reply::ok(format!("[{},{}]", row("a"), row("b"))),
        })
        .await;
        let found = hub.hub(None).part(&repo(), COMMIT, &strings(&["a"]), &[]).await.unwrap();
        assert_eq!(found.entries.len(), 2, "{status}: the caller picks");
    }
    let hub = Server::start(|_, _| Reply::new(401)).await;
    let error = hub.hub(None).part(&repo(), COMMIT, &strings(&["a"]), &[]).await.unwrap_err();
    assert_eq!((error.kind(), hub.seen().len()), (ErrorKind::Auth, 1), "a refusal is one");
}
