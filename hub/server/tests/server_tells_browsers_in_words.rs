//! A person who opens an address gets a page; a program gets what the public Hub gives.

mod server_support;

use reqwest::{Method, StatusCode};
use server_support::{root, start};

/// What browsers say they take.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[tokio::test]
async fn a_mistyped_name_is_a_page_for_a_browser_and_json_for_a_program() {
    let dir = root(&[
        ("models/org/name/main/config.json", b"{}\n"),
        ("models/org/closed/main/config.json", b"{}\n"),
        ("models/org/closed/access", b"private"),
        ("datasets/org/table/main/rows.csv", b"a\n"),
    ]);
    let lab = start(dir.path()).await;
    let open = async |path: &str, accept: &str| {
        let answer = lab.request(Method::GET, path).header("accept", accept).send().await.expect("an answer");
        let word = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().expect("text").to_owned())
                .unwrap_or_default()
        };
        let (status, kind, code) = (answer.status(), word("content-type"), word("x-error-code"));
        (status, kind, code, answer.text().await.expect("text"))
    };
    let (status, kind, _, text) = open("/org/nmae", BROWSER).await;
    assert_eq!((status, &*kind), (StatusCode::NOT_FOUND, "text/html; charset=utf-8"));
    assert!(text.contains("<h1>org/nmae</h1>") && text.contains("Is it typed right?"), "{text}");
    let (status, kind, _, text) = open("/org/nmae", "*/*").await;
    assert_eq!((status, &*kind), (StatusCode::NOT_FOUND, "application/json; charset=utf-8"));
    assert!(text.starts_with('{'), "{text}");

    for (path, line) in
        [("/org/name", "zest pull org/name"), ("/datasets/org/table/", "zest pull datasets/org/table")]
    {
        let (status, _, _, text) = open(path, BROWSER).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        assert!(text.contains(&format!("HF_ENDPOINT={} {line}", lab.hub.endpoint())), "{text}");
    }
    // What is closed looks like what is not there.
    let (closed, ..) = open("/org/closed", BROWSER).await;
    assert_eq!(closed, StatusCode::NOT_FOUND);

    let (status, kind, code, _) = open("/org/name/resolve/main/none.json", BROWSER).await;
    assert_eq!(
        (status, &*kind, &*code),
        (StatusCode::NOT_FOUND, "text/html; charset=utf-8", "EntryNotFound")
    );
    let (status, ..) = open("/org/name/resolve/main/config.json", BROWSER).await;
    assert_eq!(status, StatusCode::TEMPORARY_REDIRECT, "files are what they are");
    let (_, kind, ..) = open("/api/models/org/nmae", BROWSER).await;
    assert_eq!(kind, "application/json; charset=utf-8", "the API is for programs");
    let (_, _, _, text) = open("/%3Cscript%3Ealert(1)%3C/script%3E", BROWSER).await;
    assert!(!text.contains("<script"), "{text}");
}
