//! A Hub, a daemon before it, and clients that ask as those of others do.

use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zest_daemon::{About, Api, Doors, Environment, Places, Secret, Stop, Ways};
use zest_hub_server::{ServeConfig, Served, serve};
use zest_runtime_tokio::{Session, SessionConfig};
use zest_store::Env;
use zest_xet::XorbChunks;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// May read what is private.
pub(crate) const TOKEN: &str = "hf_test_token_that_must_not_leak";

/// Bytes of the weights: several chunks, one xorb.
pub(crate) const WEIGHTS: usize = 3_000_000;

/// Bytes without a pattern.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed | 1;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    })
    .take(len)
    .collect()
}

/// A Hub with an open, a private and a gated model.
pub(crate) struct Hub {
    pub(crate) dir: tempfile::TempDir,
    served: Option<Served>,
    pub(crate) endpoint: String,
}

impl Hub {
    pub(crate) async fn open() -> Self {
        Self::with(&[]).await
    }

    /// One whose models have these files, too.
    pub(crate) async fn with(more: &[(&str, Vec<u8>)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for (repo, access) in
            [("org/open", None), ("org/closed", Some("private")), ("org/gated", Some("gated"))]
        {
            let folder = dir.path().join("models").join(repo).join("main");
            std::fs::create_dir_all(folder.join("sub dir")).expect("made");
            std::fs::write(folder.join("config.json"), "{\"a\": 1}").expect("written");
            std::fs::write(folder.join("sub dir/weights.safetensors"), weights(repo)).expect("written");
            for (name, content) in more {
                std::fs::write(folder.join(name), content).expect("written");
            }
            if let Some(access) = access {
                std::fs::write(dir.path().join("models").join(repo).join("access"), access).expect("written");
            }
        }
        let mut config = ServeConfig::new(dir.path(), ([127, 0, 0, 1], 0).into());
        config.tokens = vec![TOKEN.to_owned()];
        let served = serve(config).await.expect("it starts");
        served.indexed().await;
        served.log_requests(10_000);
        let endpoint = served.endpoint();
        Self { dir, served: Some(served), endpoint }
    }

    pub(crate) fn served(&self) -> &Served {
        self.served.as_ref().expect("it is open")
    }

    /// The same, with whether a token came with each.
    pub(crate) fn asked_by_whom(&self) -> Vec<(bool, String)> {
        let all = self.served().take_requests().into_iter();
        let all = all.filter(|request| {
            !request.path.starts_with("/api/cas/") && !request.path.starts_with("/api/cdn/")
        });
        all.map(|request| (request.had_authorization, request.path)).collect()
    }

    /// Requests at the Hub itself since the last look, without those of CAS and CDN.
    pub(crate) fn asked(&self) -> Vec<String> {
        let all = self.served().take_requests().into_iter().map(|request| request.path);
        all.filter(|path| !path.starts_with("/api/cas/") && !path.starts_with("/api/cdn/")).collect()
    }

    pub(crate) async fn close(&mut self) {
        if let Some(served) = self.served.take() {
            served.shutdown().await;
        }
    }
}

pub(crate) fn weights(repo: &str) -> Vec<u8> {
    // A file of its own for each: what one may read tells nothing of another.
    let header = b"{\"t\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}";
    [&(header.len() as u64).to_le_bytes()[..], header, &noise(repo.len() as u64, WEIGHTS)].concat()
}

pub(crate) struct Daemon {
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) places: Places,
    pub(crate) session: Session,
    pub(crate) secret: Secret,
    pub(crate) api: Api,
    pub(crate) base: String,
}

impl Daemon {
    pub(crate) async fn start(hub: &str) -> Self {
        Self::on(Arc::new(tempfile::tempdir().expect("a folder")), hub, &[]).await
    }

    pub(crate) async fn on(dir: Arc<tempfile::TempDir>, hub: &str, peers: &[String]) -> Self {
        Self::with(dir, hub, peers, false).await
    }

    /// One that is a registry, too, if `oci`.
    pub(crate) async fn with(dir: Arc<tempfile::TempDir>, hub: &str, peers: &[String], oci: bool) -> Self {
        let home = dir.path().to_str().expect("UTF-8").to_owned();
        let vars = [("HOME".to_owned(), home), ("HF_ENDPOINT".to_owned(), hub.to_owned())];
        let env = Env::from_map(&vars.into());
        let places = Places::new(&env.zest_cache);
        std::fs::create_dir_all(places.dir()).expect("made");
        let secret = Secret::read_or_make(&places).expect("made");
        let opened = Doors::Port(0).open().await.expect("a free port").with_images(oci);
        let mut config = SessionConfig::new(env.clone()).expect("caches");
        config.folders = config.folders.with_mirrors(&[zest_store::Endpoint::new(hub)]);
        let config = config.engine(|engine| {
            engine.give_up_after = Duration::from_secs(2);
            engine.listen = vec![([127, 0, 0, 1], 0).into()];
        });
        let session = Session::start(config).await.expect("it starts");
        session.name_peers(peers.to_vec()).await;
        let about = About {
            http: opened.addrs().to_vec(),
            socket: None,
            zest_cache: env.zest_cache.clone(),
            environment: Environment::of(&env),
            ways: Ways::default(),
            started: 1,
            on_demand: false,
        };
        let base = format!("/hf/{}", Secret::endpoint_key(&places).expect("made").as_str());
        let api = Api::start(opened, None, session.clone(), secret.clone(), about, Stop::default())
            .expect("it starts");
        Self { dir, places, session, secret, api, base }
    }

    pub(crate) async fn end(self) -> Arc<tempfile::TempDir> {
        self.api.shutdown().await;
        self.session.shutdown().await;
        self.dir
    }

    /// Asks the endpoint.
    pub(crate) async fn ask(&self, what: &str, headers: &[(&str, &str)]) -> Answer {
        let (method, path) = what.split_once(' ').expect("METHOD /path");
        self.raw(&format!("{method} {}{path}", self.base), headers).await
    }

    /// Asks for an address as it stands.
    pub(crate) async fn raw(&self, what: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(what, headers, &[]).await
    }

    /// The same with a body.
    pub(crate) async fn send(&self, what: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let addr = self.api.addrs()[0];
        let mut text = format!("{what} HTTP/1.0\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += &format!("Host: {addr}\r\n");
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let exchange = async {
            let mut stream = TcpStream::connect(addr).await.expect("it accepts");
            stream.write_all((text + "\r\n").as_bytes()).await.expect("it reads");
            stream.write_all(body).await.expect("it reads");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.expect("it answers");
            Answer::read(&bytes)
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("in time")
    }

    /// What is at an address of this daemon that was in an answer.
    pub(crate) async fn follow(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
        let path = url.strip_prefix(&format!("http://{}", self.api.addrs()[0])).expect("it leads here");
        self.raw(&format!("{method} {path}"), headers).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub(crate) const FILE: &str = "sub%20dir/weights.safetensors";

/// The commit that a model's main branch is, as the endpoint says.
pub(crate) async fn commit(daemon: &Daemon, repo: &str, headers: &[(&str, &str)]) -> String {
    let answer = daemon.ask(&format!("GET /api/models/{repo}/revision/main"), headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["sha"].as_str().expect("a commit").to_owned()
}

/// A file as hf_xet fetches it: token, reconstruction, xorbs.
pub(crate) async fn by_xet(
    daemon: &Daemon,
    repo: &str,
    commit: &str,
    version: &str,
    headers: &[(&str, &str)],
) -> Vec<u8> {
    let head = daemon.ask(&format!("HEAD /{repo}/resolve/{commit}/{FILE}"), headers).await;
    assert_eq!(head.status, 200, "{head:?}");
    let link = head.header("link").split('<').nth(1).and_then(|link| link.split('>').next()).expect("a link");
    let token = daemon.follow("GET", link, headers).await;
    assert_eq!(token.status, 200, "{token:?}");
    let (cas, bearer) = (token.json()["casUrl"].clone(), token.json()["accessToken"].clone());
    assert_eq!(
        (token.header("x-xet-cas-url"), token.header("x-xet-access-token")),
        (cas.as_str().unwrap(), bearer.as_str().unwrap())
    );
    let bearer = format!("Bearer {}", bearer.as_str().expect("a token"));
    let url = format!(
        "{}/{version}/reconstructions/{}",
        cas.as_str().expect("an address"),
        head.header("x-xet-hash")
    );
    let size: u64 = head.header("content-length").parse().expect("a size");
    let range = format!("bytes=0-{}", size - 1);
    let answer = daemon.follow("GET", &url, &[("Authorization", &bearer), ("Range", &range)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let mut out = Vec::new();
    for term in answer["terms"].as_array().expect("terms") {
        let hash = term["hash"].as_str().expect("a name");
        let (first, end) = (&term["range"]["start"], &term["range"]["end"]);
        let (url, bytes) = match version {
            "v1" => {
                let fetch = &answer["fetch_info"][hash][0];
                (fetch["url"].clone(), fetch["url_range"].clone())
            }
            _ => {
                let fetch = &answer["xorbs"][hash][0];
                (fetch["url"].clone(), fetch["ranges"][0]["bytes"].clone())
            }
        };
        let range = format!("bytes={}-{}", bytes["start"], bytes["end"]);
        let xorb = daemon.follow("GET", url.as_str().expect("an address"), &[("Range", &range)]).await;
        assert_eq!(xorb.status, 206, "{:?}", xorb.headers);
        let chunks: Vec<_> = XorbChunks::new(&xorb.body).collect::<Result<_, _>>().expect("a xorb");
        assert_eq!(chunks.len() as u64, end.as_u64().unwrap() - first.as_u64().unwrap());
        chunks.iter().for_each(|(_, data)| out.extend_from_slice(data));
    }
    out
}
