//! One file, every way to get it.

mod server_support;

use reqwest::{Method, StatusCode};
use server_support::{header, noise, one_chunk_file, root, start};
use zest_xet::Reconstruction;

const ODD: &str = "sub dir/deeper/café #1 100%.txt";

fn files(weights: &[u8]) -> tempfile::TempDir {
    root(&[
        ("models/org/name/main/model.safetensors", weights),
        ("models/org/name/main/tiny.bin", b"Hello World!"),
        ("models/org/name/main/config.json", b"{}\n"),
        ("models/org/name/main/empty.bin", b""),
        ("models/org/name/main/sub dir/deeper/caf\u{e9} #1 100%.txt", b"odd name"),
        ("datasets/org/table/v1/rows.csv", b"a,b\n1,2\n"),
    ])
}

#[tokio::test]
async fn a_file_comes_whole_through_both_versions_of_the_reconstruction() {
    let weights = noise(1, 3_000_000);
    let dir = files(&weights);
    let lab = start(dir.path()).await;
    let file = lab.xet_hash("org/name", "model.safetensors").await;
    let plan = lab.reconstruction("org/name", file).await;
    assert!(lab.rebuild(&plan).await == weights);

    let token = lab.xet_token("org/name").await;
    let v1 = lab.get_as(&format!("/api/cas/v1/reconstructions/{file}"), &token).await;
    let v1 = Reconstruction::parse_v1(&v1.bytes().await.expect("a body")).expect("version one");
    assert!(lab.rebuild(&v1).await == weights);
    assert_eq!(v1.terms, plan.terms);

    let tiny = lab.xet_hash("org/name", "tiny.bin").await;
    assert_eq!(tiny, one_chunk_file(b"Hello World!"));
    assert_eq!(lab.rebuild(&lab.reconstruction("org/name", tiny).await).await, b"Hello World!");
}

#[tokio::test]
async fn a_range_of_a_file_comes_through_its_own_reconstruction() {
    let weights = noise(2, 2_000_000);
    let dir = files(&weights);
    let lab = start(dir.path()).await;
    let file = lab.xet_hash("org/name", "model.safetensors").await;
    let token = lab.xet_token("org/name").await;
    let ask = async |range: &str| {
        let url = format!("/api/cas/v2/reconstructions/{file}");
        let request = lab.request(Method::GET, &url).bearer_auth(&token).header("range", range);
        request.send().await.expect("an answer")
    };
    for (first, last) in [(0, 0), (0, 1_999_999), (700_001, 1_300_002), (1_999_999, 5_000_000)] {
        let answer = ask(&format!("bytes={first}-{last}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let plan =
            Reconstruction::parse_v2(&answer.bytes().await.expect("a body")).expect("a reconstruction");
        let got = lab.rebuild(&plan).await;
        let end = (last + 1).min(weights.len());
        assert!(got[..end - first] == weights[first..end], "bytes {first}-{last}");
        assert!(got.len() - (end - first) < 131_072, "no more than the rest of the last chunk");
    }
    assert_eq!(ask("bytes=2000000-2000001").await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(ask("bytes=-5").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_tree_tells_everything_about_each_file() {
    let weights = noise(3, 200_000);
    let dir = files(&weights);
    let lab = start(dir.path()).await;
    let commit = lab.commit("org/name", "main").await;
    let tree = lab.json(&format!("/api/models/org/name/tree/{commit}?recursive=true&expand=false")).await;
    let paths: Vec<&str> =
        tree.as_array().expect("rows").iter().filter_map(|row| row["path"].as_str()).collect();
    assert_eq!(
        paths,
        ["config.json", "empty.bin", "model.safetensors", "sub dir", "sub dir/deeper", ODD, "tiny.bin"]
    );
    // `printf '{}\n' | git hash-object --stdin`, and git's id of nothing.
    assert_eq!(tree[0]["oid"], "0967ef424bce6791893e9a57bb952f80fd536e93");
    assert_eq!(tree[1]["oid"], "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_eq!(tree[1]["xetHash"], serde_json::Value::Null, "an empty file is not in Xet");
    assert_eq!(tree[2]["lfs"]["size"], 200_000);
    // `printf 'Hello World!' | sha256sum`
    assert_eq!(tree[6]["lfs"]["oid"], "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069");
    let flat = lab.json("/api/models/org/name/tree/main/sub%20dir").await;
    assert_eq!(flat.as_array().map(Vec::len), Some(1));
    assert_eq!(flat[0]["type"], "directory");

    lab.hub.faults().set_tree_page(Some(3));
    let mut next = Some("/api/models/org/name/tree/main?recursive=true".to_owned());
    let mut paged = Vec::new();
    while let Some(url) = next.take() {
        let page = lab.get(&url).await;
        next = page.headers().get("link").map(|link| {
            let link = link.to_str().expect("text");
            link.strip_prefix('<')
                .and_then(|l| l.strip_suffix(">; rel=\"next\""))
                .expect("a next link")
                .to_owned()
        });
        let rows: serde_json::Value =
            serde_json::from_slice(&page.bytes().await.expect("a body")).expect("JSON");
        assert!(rows.as_array().expect("rows").len() <= 3);
        paged.extend(rows.as_array().expect("rows").clone());
    }
    assert_eq!(serde_json::Value::Array(paged), tree);
}

#[tokio::test]
async fn resolve_redirects_to_bytes_and_describes_them() {
    let weights = noise(4, 300_000);
    let dir = files(&weights);
    let lab = start(dir.path()).await;
    let commit = lab.commit("org/name", "main").await;
    let file = lab.xet_hash("org/name", "model.safetensors").await;

    let xet = lab
        .request(Method::HEAD, "/org/name/resolve/main/model.safetensors")
        .send()
        .await
        .expect("an answer");
    assert_eq!(xet.status(), StatusCode::FOUND);
    assert_eq!(header(&xet, "x-repo-commit"), commit);
    assert_eq!(header(&xet, "x-xet-hash"), file.to_string());
    assert_eq!(header(&xet, "x-linked-size"), "300000");
    assert_eq!(header(&xet, "x-linked-etag").len(), 66);
    let auth =
        format!("<{}>; rel=\"xet-auth\"", lab.url(&format!("/api/models/org/name/xet-read-token/{commit}")));
    assert!(header(&xet, "link").starts_with(&auth));
    let location = header(&xet, "location").to_owned();
    assert!(lab.get(&location).await.bytes().await.expect("a body") == weights);
    let part = lab.range(&location, 1000, 1999).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&part, "content-range"), "bytes 1000-1999/300000");
    assert!(part.bytes().await.expect("a body") == weights[1000..2000]);

    let odd = format!("/org/name/resolve/{commit}/sub%20dir/deeper/caf%C3%A9%20%231%20100%25.txt");
    let plain = lab.get(&odd).await;
    assert_eq!(plain.status(), StatusCode::TEMPORARY_REDIRECT);
    let direct = header(&plain, "location").to_owned();
    let body = lab.get(&direct).await;
    assert_eq!(header(&body, "x-repo-commit"), commit);
    assert_eq!(header(&body, "etag"), header(&plain, "x-linked-etag"));
    assert_eq!(body.bytes().await.expect("a body"), "odd name");
    assert_eq!(lab.range(&direct, 4, 99).await.bytes().await.expect("a body"), "name");
    assert_eq!(lab.range(&direct, 8, 9).await.status(), StatusCode::RANGE_NOT_SATISFIABLE);

    let empty = lab.get(&format!("/api/resolve-cache/models/org/name/{commit}/empty.bin")).await;
    assert_eq!((empty.status(), empty.content_length()), (StatusCode::OK, Some(0)));
    let dataset = lab.get("/datasets/org/table/resolve/v1/rows.csv").await;
    assert_eq!(dataset.status(), StatusCode::FOUND, "csv goes to Xet");
}

#[tokio::test]
async fn what_is_missing_is_named_as_the_hub_names_it() {
    let dir = files(b"weights");
    let lab = start(dir.path()).await;
    let code = async |path: &str| {
        let answer = lab.get(path).await;
        (answer.status().as_u16(), header(&answer, "x-error-code").to_owned())
    };
    assert_eq!(code("/api/models/org/nope/revision/main").await, (401, "RepoNotFound".into()));
    assert_eq!(code("/api/models/org/name/revision/nope").await, (404, "RevisionNotFound".into()));
    let unknown = format!("/api/models/org/name/tree/{}", "0".repeat(40));
    assert_eq!(code(&unknown).await, (404, "RevisionNotFound".into()));
    assert_eq!(code("/org/name/resolve/main/nope.txt").await, (404, "EntryNotFound".into()));
    assert_eq!(code("/api/spaces/org/name/revision/main").await, (401, "RepoNotFound".into()));
    let with_token = lab.get_as("/api/models/org/nope/revision/main", "hf_some_user").await;
    assert_eq!(with_token.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn listings_refs_and_path_infos_are_answered() {
    let dir = root(&[
        ("models/org/name/main/a.txt", b"1"),
        ("models/org/name/v1.0/a.txt", b"1"),
        ("models/org/name/refs%2Fpr%2F1/a.txt", b"2"),
        ("models/other/thing/main/x", b""),
    ]);
    let lab = start(dir.path()).await;
    let refs = lab.json("/api/models/org/name/refs?include_prs=1").await;
    assert_eq!(refs["branches"][0]["name"], "main");
    assert_eq!(refs["tags"][0]["ref"], "refs/tags/v1.0");
    assert_eq!(refs["pullRequests"][0]["ref"], "refs/pr/1");
    assert_eq!(
        refs["branches"][0]["targetCommit"], refs["tags"][0]["targetCommit"],
        "equal content, equal commit"
    );
    assert_ne!(refs["branches"][0]["targetCommit"], refs["pullRequests"][0]["targetCommit"]);
    assert_eq!(lab.commit("org/name", "refs%2Fpr%2F1").await, refs["pullRequests"][0]["targetCommit"]);
    let found = lab.json("/api/models?author=org").await;
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    let ask = lab
        .request(Method::POST, "/api/models/org/name/paths-info/main")
        .body("paths=a.txt&paths=b&expand=True");
    let infos: serde_json::Value =
        serde_json::from_slice(&ask.send().await.expect("an answer").bytes().await.expect("a body"))
            .expect("JSON");
    assert_eq!(infos.as_array().map(Vec::len), Some(1));
    assert_eq!(infos[0]["lastCommit"]["id"], refs["branches"][0]["targetCommit"]);
}
