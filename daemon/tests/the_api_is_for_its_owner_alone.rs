//! The API over a real session, spoken to as a stranger, a browser and its owner would.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use zest_daemon::{
    About, Api, Client, ClientError, Doors, Environment, Instance, Places, Record, Secret, Socket, Stop, Ways,
};
use zest_runtime_tokio::{PullEvent, Session, SessionConfig};
use zest_store::Env;

/// Longest wait for anything. A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Discard (RFC 863): a connection is refused at once.
const NOBODY: &str = "http://127.0.0.1:9";

struct Daemon {
    _dir: tempfile::TempDir,
    places: Places,
    instance: Option<Instance>,
    session: Session,
    secret: Secret,
    api: Api,
    stop: Stop,
    figures: std::net::SocketAddr,
}

impl Daemon {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let home = dir.path().to_str().expect("UTF-8").to_owned();
        let vars = [("HOME".to_owned(), home), ("HF_ENDPOINT".to_owned(), NOBODY.to_owned())];
        let env = Env::from_map(&vars.into());
        let places = Places::new(&env.zest_cache);
        let instance = Instance::claim(&places).expect("nobody has it");
        let secret = Secret::read_or_make(&places).expect("made");
        let opened = Doors::Port(0).open().await.expect("a free port");
        let opened = opened.with_figures(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let figures = opened.figures().expect("asked for");
        let socket = Socket::open(&places, Some(dir.path())).expect("a folder of ours");
        // Whoever pulls from nobody gives up at once.
        let config = SessionConfig::new(env.clone()).expect("caches");
        let config = config.engine(|engine| engine.give_up_after = Duration::from_secs(1));
        let session = Session::start(config).await.expect("it starts");
        let http = opened.addrs().to_vec();
        instance.announce(&Record::of_this_process(http.clone(), Vec::new(), None)).expect("written");
        let about = About {
            http,
            socket: Some(socket.path().to_owned()),
            zest_cache: env.zest_cache.clone(),
            environment: Environment::of(&env),
            ways: Ways::default(),
            started: 1,
            on_demand: true,
        };
        let stop = Stop::default();
        let api = Api::start(opened, Some(socket), session.clone(), secret.clone(), about, stop.clone())
            .expect("it starts");
        Self { _dir: dir, places, instance: Some(instance), session, secret, api, stop, figures }
    }

    async fn client(&self) -> Client {
        Client::find(&self.places).await.expect("it answers").expect("it runs")
    }

    /// Sends a request as it stands, and reads the answer: status and body.
    async fn raw(&self, request: &str) -> (u16, String) {
        speak(TcpStream::connect(self.api.addrs()[0]).await.expect("it accepts"), request).await
    }

    fn socket(&self) -> PathBuf {
        self._dir.path().join("zest/api.sock")
    }

    /// The same over the socket.
    async fn whispered(&self, request: &str) -> (u16, String) {
        speak(UnixStream::connect(self.socket()).await.expect("it accepts"), request).await
    }

    async fn get(&self, path: &str, headers: &str) -> (u16, String) {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
            .await
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.secret.as_str())
    }

    async fn end(self) {
        self.session.shutdown().await;
        self.api.shutdown().await;
    }
}

async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (status, body)
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

#[tokio::test]
async fn without_the_secret_there_is_life_and_the_originals_seven_keys() {
    let daemon = Daemon::start().await;
    for path in ["/v1/health", "/livez", "/readyz"] {
        assert_eq!(daemon.get(path, "").await, (200, r#"{"status":"ok"}"#.to_owned()), "{path}");
    }
    let (status, body) = daemon.get("/v1/status", "").await;
    assert_eq!(status, 200);
    let value = parsed(&body);
    let keys: Vec<&String> = value.as_object().expect("an object").keys().collect();
    let original =
        ["bt_peers", "bt_port", "chunks_served", "http_port", "http_requests", "version", "xorbs_cached"];
    assert_eq!(keys, original);
    assert_eq!(value["http_port"], daemon.api.addrs()[0].port());
    for path in [
        "/metrics",
        "/v1/pulls",
        "/v1/pulls/1",
        "/v1/pulls/1/events",
        "/v1/events",
        "/v1/models",
        "/v1/settings",
        "/v1/peers",
        "/v1/nothing",
        "/v1/codes",
        "/v1/status/",
        "/v1/stop",
    ] {
        let (status, body) = daemon.get(path, "").await;
        assert_eq!(status, 401, "{path}: {body}");
        assert_eq!(parsed(&body)["error"]["kind"], "auth", "{path}");
        assert!(!body.contains(daemon.secret.as_str()));
    }
    let (status, page) = daemon.get("/", "").await;
    assert!(status == 200 && page.starts_with("<!doctype html>") && !page.contains(daemon.secret.as_str()));
    for path in ["/v1/stop", "/v1/pull", "/v1/files", "/v1/codes"] {
        let head = "Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let (status, _) = daemon.raw(&format!("POST {path} HTTP/1.1\r\n{head}")).await;
        assert_eq!(status, 401, "{path}");
    }
    assert!(!daemon.stop.is_stopping(), "an image on a web page stops nothing");
    daemon.end().await;
}

#[tokio::test]
async fn other_names_and_other_origins_get_nothing_on_any_route() {
    let daemon = Daemon::start().await;
    let own = daemon.bearer();
    for path in ["/v1/health", "/livez", "/readyz", "/v1/status", "/metrics", "/v1/pulls", "/v1/stop", "/x"] {
        let ask = |host: &str, more: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{own}{more}\r\n")
        };
        let (status, _) = daemon.raw(&ask("rebound.example", "")).await;
        assert_eq!(status, 421, "{path}");
        let (status, _) = daemon.raw(&ask("localhost", "Origin: https://evil.example\r\n")).await;
        assert_eq!(status, 403, "{path}");
        let (status, _) = daemon.raw(&ask("localhost", "Sec-Fetch-Site: cross-site\r\n")).await;
        assert_eq!(status, 403, "{path}");
    }
    // No answer to a preflight allows anything.
    let preflight = "OPTIONS /v1/pull HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
                     Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n";
    assert_eq!(daemon.raw(preflight).await.0, 403);
    daemon.end().await;
}

#[tokio::test]
async fn its_owner_gets_everything_and_nonsense_is_refused() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let get = async |path: &str| {
        client.ask("GET".parse().expect("a method"), path, None, &[]).await.expect("an answer")
    };
    for path in ["/v1/status", "/v1/pulls", "/v1/models", "/v1/settings", "/v1/peers"] {
        assert_eq!(get(path).await.status, 200, "{path}");
    }
    let status = get("/v1/status").await.body;
    for key in [
        "bt_port",
        "pid",
        "uptime_s",
        "environment",
        "ways",
        "stats",
        "policy",
        "pulls",
        "giving",
        "stopping",
    ] {
        assert!(status.get(key).is_some(), "{key} in {status}");
    }
    let (code, page) = daemon.get("/metrics", &daemon.bearer()).await;
    assert!(code == 200 && page.contains("zest_pulls{state=\"running\"} 0"), "{page}");
    for (path, code) in [
        ("/v1/nothing", 404),
        ("/v1/pulls/7", 404),
        ("/v1/pulls/+1", 404),
        ("/v1/stop", 405),
        ("/v1/pull", 405),
    ] {
        assert_eq!(get(path).await.status, code, "{path}");
    }
    let patch = async |body: Value| {
        client
            .ask("PATCH".parse().expect("a method"), "/v1/settings", Some(&body), &[])
            .await
            .expect("an answer")
    };
    let changed =
        patch(json!({"max_upload": 1_000_000, "policy": "spare-origin", "giving": "network"})).await;
    assert_eq!((changed.status, &changed.body["max_upload"]), (200, &json!(1_000_000)), "{changed:?}");
    assert_eq!(daemon.session.limits().max_upload, Some(1_000_000));
    let lifted = patch(json!({"max_upload": null})).await.body;
    assert_eq!((&lifted["max_upload"], &lifted["policy"]), (&Value::Null, &json!("spare-origin")));
    for wrong in [json!({"max_upload": 1}), json!({"max_uplaod": 1}), json!([]), json!({"giving": "friends"})]
    {
        assert_eq!(patch(wrong.clone()).await.status, 400, "{wrong}");
    }
    let post = async |body: Value| {
        client.ask("POST".parse().expect("a method"), "/v1/pull", Some(&body), &[]).await.expect("an answer")
    };
    for (wrong, code) in [
        (json!({}), 400),
        (json!({"repo": "../x"}), 400),
        (json!({"repo": "a/b", "local_dir": "relative"}), 400),
        (json!({"repo": "a/b", "token": "hf_x"}), 400),
        (json!({"repo": "a/b", "policy": "slow"}), 400),
        (json!({"repo": "a/b", "files": ["x".repeat(2 << 20)]}), 413),
    ] {
        let answer = post(wrong).await;
        assert_eq!((answer.status, &answer.body["error"]["kind"]), (code, &json!("usage")), "{answer:?}");
    }
    // Each has its own, whatever the daemon's is.
    for own in [json!("fastest"), json!("spare-origin"), Value::Null] {
        let begun = post(json!({"repo": "org/model", "dry_run": true, "policy": own})).await;
        assert_eq!((begun.status, &begun.body["policy"]), (202, &own), "{begun:?}");
    }
    assert_eq!(get("/v1/settings").await.body["policy"], "spare-origin");
    daemon.end().await;
}

#[tokio::test]
async fn a_pull_is_told_from_its_beginning_to_its_end_and_again_from_where_a_listener_was() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let body = json!({"repo": "org/model"});
    let begun = client.ask(
        "POST".parse().expect("a method"),
        "/v1/pull",
        Some(&body),
        &[("x-hf-token", "hf_secret_of_a_test")],
    );
    let begun = begun.await.expect("an answer");
    assert_eq!(begun.status, 202);
    let id = begun.body["id"].as_u64().expect("a number");
    let path = format!("/v1/pulls/{id}/events");
    let listen = async |after: Option<&str>| {
        let mut all: Vec<(Option<String>, Value)> = Vec::new();
        let mut events = client.events(&path, after).await.expect("events");
        let read = async {
            while let Some((id, data)) = events.next().await {
                let _good: PullEvent = serde_json::from_str(&data).expect("an event");
                assert!(!data.contains("hf_secret_of_a_test"));
                all.push((id, parsed(&data)));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("it ends");
        all
    };
    let all = listen(None).await;
    let last = &all.last().expect("an end").1;
    assert_eq!(
        (&last["event"], &last["kind"], &last["pull"]),
        (&json!("failed"), &json!("network"), &json!(id))
    );
    let first = all[0].0.clone().expect("an id");
    let rest = listen(Some(&first)).await;
    assert_eq!(rest.last(), all.last());
    assert!(rest.iter().all(|(id, _)| id.as_ref() != Some(&first)));
    let end = all.last().and_then(|(id, _)| id.clone()).expect("an id");
    assert!(client.events(&path, Some(&end)).await.is_err(), "nothing is left: 204");
    let status = client
        .ask("GET".parse().expect("a method"), &format!("/v1/pulls/{id}"), None, &[])
        .await
        .expect("an answer");
    assert_eq!(
        (&status.body["state"], &status.body["failure"]["kind"]),
        (&json!("failed"), &json!("network"))
    );
    let waited = client
        .ask("POST".parse().expect("a method"), "/v1/pull?wait=true", Some(&body), &[])
        .await
        .expect("an answer");
    assert_eq!((waited.status, &waited.body["error"]["kind"]), (502, &json!("network")), "{waited:?}");
    let gone = client
        .ask("DELETE".parse().expect("a method"), &format!("/v1/pulls/{id}"), None, &[])
        .await
        .expect("an answer");
    assert_eq!(gone.status, 204);
    let gone = client
        .ask("GET".parse().expect("a method"), &format!("/v1/pulls/{id}"), None, &[])
        .await
        .expect("an answer");
    assert_eq!(gone.status, 404);
    daemon.end().await;
}

#[tokio::test]
async fn a_pull_can_be_paused_and_cancelled_and_stop_is_asked_for_once_it_is_said() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let post = async |path: &str, body: Option<&Value>| {
        client.ask("POST".parse().expect("a method"), path, body, &[]).await.expect("an answer")
    };
    let begun = post("/v1/pull", Some(&json!({"repo": "org/model"}))).await;
    let id = begun.body["id"].as_u64().expect("a number");
    for verb in ["pause", "resume"] {
        assert_eq!(post(&format!("/v1/pulls/{id}/{verb}"), None).await.status, 200, "{verb}");
    }
    let ended = post(&format!("/v1/pulls/{id}/cancel"), None).await;
    // It may have found nobody before it was told to end.
    assert!(["cancelled", "failed"].contains(&ended.body["state"].as_str().unwrap_or_default()), "{ended:?}");
    assert_eq!(post("/v1/stop", None).await.status, 202);
    tokio::time::timeout(PATIENCE, daemon.stop.asked()).await.expect("it is asked for");
    assert_eq!(daemon.get("/readyz", "").await.0, 503);
    assert_eq!(daemon.get("/livez", "").await.0, 200);
    assert_eq!(post("/v1/pull", Some(&json!({"repo": "org/model"}))).await.status, 503);
    daemon.end().await;
}

#[tokio::test]
async fn who_has_the_port_and_not_the_secret_hears_no_secret() {
    let mut daemon = Daemon::start().await;
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let thief = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = thief.local_addr().expect("bound");
    let (real, all) = (daemon.api.addrs()[0], heard.clone());
    // Relays the question for the proof to the real daemon, and listens to what comes then.
    tokio::spawn(async move {
        while let Ok((mut client, _)) = thief.accept().await {
            let mut daemon = TcpStream::connect(real).await.expect("it accepts");
            let (mut from, mut to) = ([0; 4096], [0; 4096]);
            loop {
                tokio::select! {
                    Ok(len) = client.read(&mut from) => {
                        if len == 0 { break }
                        all.lock().expect("sound").extend_from_slice(&from[..len]);
                        daemon.write_all(&from[..len]).await.expect("it reads");
                    }
                    Ok(len) = daemon.read(&mut to) => {
                        if len == 0 { break }
                        client.write_all(&to[..len]).await.expect("it reads");
                    }
                    else => break,
                }
            }
        }
    });
    let instance = daemon.instance.take().expect("claimed");
    instance.announce(&Record::of_this_process(vec![addr], Vec::new(), None)).expect("written");
    let error = Client::find(&daemon.places).await.expect_err("that is not the daemon");
    assert!(matches!(error, ClientError::Foreign { .. }), "{error}");
    let text = String::from_utf8_lossy(&heard.lock().expect("sound")).into_owned();
    assert!(text.contains("nonce=") && !text.contains(daemon.secret.as_str()), "{text}");
    drop(instance);
    daemon.end().await;
}

#[tokio::test]
async fn a_nonce_is_answered_with_the_proof_and_only_if_it_is_one() {
    let daemon = Daemon::start().await;
    let nonce = "0123456789abcdef";
    let (status, body) = daemon.get(&format!("/v1/health?nonce={nonce}"), "").await;
    let value = parsed(&body);
    assert_eq!((status, value["proof"].as_str()), (200, Some(daemon.secret.proof(nonce).as_str())));
    for wrong in ["", "0123", "xyz-456789abcdef", &"0".repeat(200)] {
        assert_eq!(daemon.get(&format!("/v1/health?nonce={wrong}"), "").await.0, 400, "{wrong}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_silent_connection_holds_up_nobody() {
    let daemon = Daemon::start().await;
    let silent = TcpStream::connect(daemon.api.addrs()[0]).await.expect("it accepts");
    let mut half = TcpStream::connect(daemon.api.addrs()[0]).await.expect("it accepts");
    half.write_all(b"POST /v1/pull HTTP/1.1\r\nHost: localhost\r\nContent-Le").await.expect("it reads");
    assert_eq!(daemon.get("/v1/health", "").await.0, 200);
    drop((silent, half));
    daemon.end().await;
}

#[tokio::test]
async fn its_files_are_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let daemon = Daemon::start().await;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for path in [daemon.places.secret(), daemon.places.record(), daemon.places.pid()] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    daemon.end().await;
}

#[tokio::test]
async fn over_the_socket_the_system_says_who_asks_and_no_secret_is_needed() {
    let daemon = Daemon::start().await;
    let ask = |host: &str, more: &str| {
        format!("GET /v1/pulls HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
    };
    assert_eq!(daemon.whispered(&ask("localhost", "")).await, (200, "[]".to_owned()));
    // Everything else is looked at as on the ports.
    assert_eq!(daemon.whispered(&ask("evil.example", "")).await.0, 421);
    assert_eq!(daemon.whispered(&ask("localhost", "Origin: https://evil.example\r\n")).await.0, 403);
    assert_eq!(daemon.whispered(&ask("localhost", "Authorization: Bearer wrong\r\n")).await.0, 401);
    assert_eq!(daemon.raw(&ask("localhost", "")).await.0, 401, "and the ports stay closed");
    // Clients go that way where they can, and by the port where they cannot.
    let instance = daemon.instance.as_ref().expect("claimed");
    let record = Record::of_this_process(daemon.api.addrs().to_vec(), Vec::new(), None);
    for socket in [daemon.socket(), PathBuf::from("/nowhere/api.sock")] {
        let record = Record { socket: Some(socket), ..record.clone() };
        instance.announce(&record).expect("written");
        let asked = daemon.client().await.ask("GET".parse().expect("a method"), "/v1/pulls", None, &[]).await;
        assert_eq!(asked.expect("an answer").status, 200, "{record:?}");
    }
    let path = daemon.socket();
    daemon.end().await;
    assert!(!path.exists(), "it goes with its daemon");
}

/// Set for this program where it runs as somebody else: the socket to try.
const TRIED: &str = "ZEST_TEST_SOCKET";

#[test]
fn somebody_else_tries() {
    use std::io::{Read as _, Write as _};
    let Some(path) = std::env::var_os(TRIED) else { return };
    let mut stream = std::os::unix::net::UnixStream::connect(path).expect("the folder was opened for this");
    let asked = stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{asked:?} {read:?} {}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn another_user_of_this_machine_gets_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    /// `nobody` of Debian; any number that is not ours would do.
    const NOBODY: u32 = 65_534;
    let daemon = Daemon::start().await;
    let places = &daemon.places;
    instance_files_are_private(places);
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    if std::fs::metadata(daemon.socket()).is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0) {
        // As if the folder did not keep them out: the system's word does.
        let own = daemon._dir.path().join("program");
        std::fs::copy(std::env::current_exe().expect("it runs"), &own).expect("copied");
        for (path, mode) in
            [(daemon._dir.path(), 0o755), (&own, 0o755), (&daemon._dir.path().join("zest"), 0o755)]
        {
            open(path, mode);
        }
        open(&daemon.socket(), 0o666);
        let mut other = std::process::Command::new(&own);
        other.args(["somebody_else_tries", "--exact"]).env(TRIED, daemon.socket()).current_dir("/");
        let ended = tokio::task::spawn_blocking(move || other.uid(NOBODY).gid(NOBODY).output());
        let ended = ended.await.expect("it does not panic").expect("it runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "it did try");
        // And its owner is still let in.
        let ask = "GET /v1/pulls HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert_eq!(daemon.whispered(ask).await.0, 200);
    }
    daemon.end().await;
}

fn instance_files_are_private(places: &Places) {
    use std::os::unix::fs::PermissionsExt as _;
    for path in [places.pid(), places.record(), places.secret()] {
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
}

#[tokio::test]
async fn what_asks_for_figures_alone_does_not_keep_a_daemon_that_nobody_needs() {
    let daemon = Daemon::start().await;
    let watching = async {
        loop {
            let (_, status) = daemon.get("/v1/status", &daemon.bearer()).await;
            assert_eq!(parsed(&status)["on_demand"], true);
            assert_eq!(daemon.get("/metrics", &daemon.bearer()).await.0, 200);
        }
    };
    let idle = tokio::time::timeout(PATIENCE, daemon.api.idle(Duration::from_millis(300)));
    tokio::select! {
        outcome = idle => outcome.expect("it ends although it is watched"),
        () = watching => {}
    }
    // While a pull is under way it is needed, whoever asks.
    let client = daemon.client().await;
    let body = serde_json::json!({"repo": "a/b"});
    let pull = client.ask(axum::http::Method::POST, "/v1/pull", Some(&body), &[]).await.expect("it answers");
    let path = format!("/v1/pulls/{}", pull.body["id"]);
    daemon.api.idle(Duration::ZERO).await;
    let pull = client.ask(axum::http::Method::GET, &path, None, &[]).await.expect("it answers").body;
    assert!(!pull["failure"].is_null(), "it ended before the wait did: {pull}");
    daemon.end().await;
}

#[tokio::test]
async fn figures_and_signs_of_life_are_all_there_is_where_they_are_given_alone() {
    let daemon = Daemon::start().await;
    let get = async |method: &str, path: &str, host: &str| {
        let stream = TcpStream::connect(daemon.figures).await.expect("it accepts");
        let own = daemon.bearer();
        speak(stream, &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{own}\r\n"))
            .await
    };
    let (status, page) = get("GET", "/metrics", "127.0.0.1").await;
    assert!(status == 200 && page.contains("zest_build_info") && !page.contains(daemon.secret.as_str()));
    for path in ["/livez", "/readyz"] {
        assert_eq!(get("GET", path, "localhost").await.0, 200, "{path}");
    }
    for path in ["/", "/v1/health", "/v1/status", "/v1/pulls", "/v1/stop", "/v1/login"] {
        assert_eq!(get("GET", path, "localhost").await.0, 404, "also for who has the secret: {path}");
    }
    assert_eq!(get("POST", "/metrics", "localhost").await.0, 405);
    assert_eq!(get("GET", "/metrics", "evil.example").await.0, 421);
    daemon.stop.ask();
    assert_eq!(get("GET", "/readyz", "localhost").await.0, 503);
    daemon.end().await;
}
