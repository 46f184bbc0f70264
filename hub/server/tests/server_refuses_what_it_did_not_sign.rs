//! Signed URLs, and requests made to break out or to cost too much.

mod server_support;

use reqwest::{Method, StatusCode};
use server_support::{Lab, header, noise, root, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn lab() -> (tempfile::TempDir, Lab, Vec<u8>) {
    let data = noise(1, 500_000);
    let dir = root(&[
        ("models/org/name/main/model.bin", &data),
        ("models/org/name/main/a.txt", b"a"),
        ("outside.txt", b"outside"),
    ]);
    let lab = start(dir.path()).await;
    (dir, lab, data)
}

/// The URL of the file's only xorb range, and the range's end.
async fn signed_url(lab: &Lab) -> (String, u64) {
    let file = lab.xet_hash("org/name", "model.bin").await;
    let plan = lab.reconstruction("org/name", file).await;
    let fetch = &plan.fetches.values().next().expect("a xorb")[0];
    (fetch.url.clone(), fetch.ranges[0].bytes.end)
}

#[tokio::test]
async fn any_part_of_a_signed_range_is_given_and_nothing_else() {
    let (_dir, lab, _) = lab().await;
    let (url, end) = signed_url(&lab).await;
    let whole = lab.range(&url, 0, end - 1).await.bytes().await.expect("a body");
    for (first, last) in [(0, 0), (1, 9), (7, 300_000), (end - 1, end - 1)] {
        let part = lab.range(&url, first, last).await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(header(&part, "content-range"), format!("bytes {first}-{last}/{end}"));
        let (first, last) = (usize::try_from(first).expect("small"), usize::try_from(last).expect("small"));
        assert!(part.bytes().await.expect("a body") == whole[first..=last]);
    }
    assert_eq!(lab.get(&url).await.status(), StatusCode::FORBIDDEN, "no Range");
    assert_eq!(lab.range(&url, 0, end).await.status(), StatusCode::FORBIDDEN, "one byte too many");
    for open in ["bytes=0-", "bytes=-1", "bytes=9-3", "chunks=0-1"] {
        let answer = lab.request(Method::GET, &url).header("range", open).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{open}");
    }
    let two =
        lab.request(Method::GET, &url).header("range", "bytes=0-7,100-109").send().await.expect("an answer");
    assert!(header(&two, "content-type").starts_with("multipart/byteranges; boundary="));
    let two = two.bytes().await.expect("a body");
    let holds = |part: &[u8]| two.windows(part.len()).any(|window| window == part);
    assert!(holds(&whole[0..8]) && holds(&whole[100..110]));
}

#[tokio::test]
async fn changed_foreign_and_expired_urls_are_refused() {
    let (_dir, lab, _) = lab().await;
    let (url, end) = signed_url(&lab).await;
    let wider = url.replace(&format!("bytes%3D0-{}", end - 1), &format!("bytes%3D0-{end}"));
    assert_ne!(wider, url);
    let (head, signature) = url.split_once("&Signature=").expect("signed");
    let later = head.replace("Expires=1", "Expires=9") + "&Signature=" + signature;
    let flipped =
        format!("{head}&Signature={}{}", if signature.starts_with('0') { '1' } else { '0' }, &signature[1..]);
    for bad in [wider, later, flipped, head.to_owned(), url.split_once('?').expect("a query").0.to_owned()] {
        assert_eq!(lab.range(&bad, 0, 7).await.status(), StatusCode::FORBIDDEN, "{bad}");
    }
    let redirect = lab.get("/org/name/resolve/main/model.bin").await;
    let file_url = header(&redirect, "location").to_owned();
    assert_eq!(lab.get(&file_url).await.status(), StatusCode::OK);
    assert_eq!(lab.get(&file_url.replace("model.bin", "a.txt")).await.status(), StatusCode::FORBIDDEN);

    lab.hub.faults().set_url_ttl(Some(0));
    let (expired, _) = signed_url(&lab).await;
    assert_eq!(lab.range(&expired, 0, 7).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(lab.range(&url, 0, 7).await.status(), StatusCode::PARTIAL_CONTENT, "the old URL still lives");

    // Another process has another key.
    let other = start(&lab.root).await;
    let foreign = url.replace(&lab.hub.endpoint(), &other.hub.endpoint());
    assert_eq!(other.range(&foreign, 0, 7).await.status(), StatusCode::FORBIDDEN);
}

/// Sends a request line as it is, which no HTTP library would, and gives the status.
async fn raw(lab: &Lab, request: &str) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(lab.hub.addr()).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("received");
    let text = String::from_utf8_lossy(&answer);
    assert!(!text.contains("outside"), "a file outside the revision was sent");
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test]
async fn no_path_leads_out_of_a_revision() {
    let (_dir, lab, _) = lab().await;
    for path in [
        "/org/name/resolve/main/../../../../../outside.txt",
        "/org/name/resolve/main/..%2f..%2f..%2f..%2foutside.txt",
        "/org/name/resolve/..%2f..%2f..%2f..%2f/outside.txt",
        "/org/name/resolve/%2e%2e/outside.txt",
        "/api/resolve-cache/models/..%2f..%2f/x/main/outside.txt",
        "/api/models/../../outside.txt",
        "/api/models/..%2f../name/tree/main",
        "/api/models/org/name/tree/main/..%2f..",
        "/api/models/org%2Fname/x/tree/main",
        "/org/name/resolve/main/a.txt%00",
        "/org/name/resolve/main//a.txt",
        "/org/.zest-hub/resolve/main/order",
        "/api/cdn/file/models/org/name/main/../../outside.txt",
        "//",
        "/%ff%fe",
    ] {
        let status = raw(&lab, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert!((400..500).contains(&status) || path == "//", "{path} gave {status}");
    }
}

#[tokio::test]
async fn requests_that_are_too_long_or_not_reading_are_refused() {
    let (_dir, lab, _) = lab().await;
    let long = format!("/{}", "a/".repeat(20_000));
    assert_eq!(lab.get(&long).await.status(), StatusCode::URI_TOO_LONG);
    let post = lab.request(Method::POST, "/api/models/org/name/paths-info/main").body(vec![b'a'; 2 << 20]);
    // A server that answers before it has read everything may reset the connection instead.
    if let Ok(answer) = post.send().await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = lab.request(method, "/api/models/org/name").send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    let commit =
        lab.request(Method::POST, "/api/models/org/name/commit/main").send().await.expect("an answer");
    assert_eq!(commit.status(), StatusCode::METHOD_NOT_ALLOWED);
    let telemetry =
        lab.request(Method::POST, "/api/cas/v1/telemetry").body("{}").send().await.expect("an answer");
    assert_eq!(telemetry.status(), StatusCode::OK);
}
