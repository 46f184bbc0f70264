//! A hub on a temporary root, and a client that knows just enough to take files out of it.
#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use zest_hub_server::{ServeConfig, Served, serve};
use zest_xet::{Decoder, Hash, Reconstruction, XorbChunks, chunk_hash};

/// The token that the hubs of these tests know.
pub(crate) const TOKEN: &str = "hf_test_member";

/// A running hub and a client for it.
pub(crate) struct Lab {
    pub(crate) hub: Served,
    pub(crate) http: reqwest::Client,
    pub(crate) root: PathBuf,
}

/// A root with these files; paths are `models/org/name/revision/...`.
pub(crate) fn root(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (path, content) in files {
        write(dir.path(), path, content);
    }
    dir
}

pub(crate) fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("folder made");
    std::fs::write(path, content).expect("file written");
}

/// Bytes without repetition, different for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    })
    .take(len)
    .collect()
}

/// A hub on `root` that knows [`TOKEN`].
pub(crate) async fn start(root: &Path) -> Lab {
    let mut config = ServeConfig::new(root, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.tokens = vec![TOKEN.to_owned()];
    start_with(config).await
}

pub(crate) async fn start_with(config: ServeConfig) -> Lab {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = config.root.clone();
    let hub = serve(config).await.expect("hub started");
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    Lab { hub, http: http.build().expect("client made"), root }
}

impl Lab {
    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.hub.endpoint()) }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    pub(crate) async fn get_as(&self, path: &str, token: &str) -> Response {
        self.request(Method::GET, path).bearer_auth(token).send().await.expect("an answer")
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "GET {path}");
        serde_json::from_str(&response.text().await.expect("a body")).expect("JSON")
    }

    pub(crate) async fn commit(&self, repo: &str, revision: &str) -> String {
        let info = self.json(&format!("/api/models/{repo}/revision/{revision}")).await;
        info["sha"].as_str().expect("a commit").to_owned()
    }

    /// The Xet hash of a file, from the tree listing.
    pub(crate) async fn xet_hash(&self, repo: &str, path: &str) -> Hash {
        let tree = self.json(&format!("/api/models/{repo}/tree/main?recursive=true")).await;
        let rows = tree.as_array().expect("rows");
        let row = rows.iter().find(|row| row["path"] == path).expect("the file is listed");
        row["xetHash"].as_str().expect("a Xet file").parse().expect("a hash")
    }

    pub(crate) async fn xet_token(&self, repo: &str) -> String {
        let answer = self.json(&format!("/api/models/{repo}/xet-read-token/main")).await;
        assert_eq!(answer["casUrl"].as_str(), Some(self.url("/api/cas").as_str()));
        answer["accessToken"].as_str().expect("a token").to_owned()
    }

    pub(crate) async fn reconstruction(&self, repo: &str, file: Hash) -> Reconstruction {
        let token = self.xet_token(repo).await;
        let response = self.get_as(&format!("/api/cas/v2/reconstructions/{file}"), &token).await;
        assert_eq!(response.status(), StatusCode::OK);
        Reconstruction::parse_v2(&response.bytes().await.expect("a body")).expect("a reconstruction")
    }

    pub(crate) async fn range(&self, url: &str, first: u64, last: u64) -> Response {
        let range = format!("bytes={first}-{last}");
        self.request(Method::GET, url).header("range", range).send().await.expect("an answer")
    }

    /// Rebuilds what a reconstruction describes, range by range.
    pub(crate) async fn rebuild(&self, plan: &Reconstruction) -> Vec<u8> {
        let mut out = Vec::new();
        for term in &plan.terms {
            let all = plan.fetches[&term.xorb]
                .iter()
                .flat_map(|fetch| fetch.ranges.iter().map(|r| (&fetch.url, r)));
            let (url, range) = all
                .into_iter()
                .find(|(_, range)| {
                    range.chunks.start <= term.chunks.start && term.chunks.end <= range.chunks.end
                })
                .expect("a range that covers the term");
            let response = self.range(url, range.bytes.start, range.bytes.end - 1).await;
            assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
            let packed = response.bytes().await.expect("a body");
            assert_eq!(packed.len() as u64, range.bytes.end - range.bytes.start);
            let mut decoder = Decoder::new();
            let begin = out.len();
            for (number, item) in (range.chunks.start..).zip(XorbChunks::new(&packed)) {
                let (header, data) = item.expect("a chunk");
                if term.chunks.contains(&number) {
                    let mut chunk = vec![0; header.len as usize];
                    decoder.decode(header, data, &mut chunk).expect("decoded");
                    out.append(&mut chunk);
                }
            }
            assert_eq!((out.len() - begin) as u64, term.unpacked_len);
        }
        out.split_off(usize::try_from(plan.offset_into_first_range).expect("small"))
    }
}

/// Bytes of the reconstruction's ranges whose xorb is not among `known`.
pub(crate) fn foreign_bytes(plan: &Reconstruction, known: &Reconstruction) -> u64 {
    let news = plan.fetches.iter().filter(|(xorb, _)| !known.fetches.contains_key(xorb));
    let ranges = news.flat_map(|(_, fetches)| fetches.iter().flat_map(|fetch| &fetch.ranges));
    ranges.map(|range| range.bytes.end - range.bytes.start).sum()
}

/// The hash of a file that is one chunk.
pub(crate) fn one_chunk_file(data: &[u8]) -> Hash {
    zest_xet::file_hash(&[zest_xet::ChunkRef {
        hash: chunk_hash(data),
        len: u32::try_from(data.len()).expect("small"),
    }])
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name} in {response:?}"));
    value.to_str().expect("text")
}
