//! Slow, silent and many connections give way to those that want something, and the hub answers to its own names only.

mod server_support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use server_support::{Lab, noise, root, start, start_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use zest_hub_server::ServeConfig;
use zest_hub_server::guard::Limits;

const FILE: &str = "models/org/name/main/config.json";
const SMALL: &str = "/org/name/resolve/main/config.json";

async fn limited(root: &Path, limits: Limits) -> Lab {
    let mut config = ServeConfig::new(root, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.limits = limits;
    start_with(config).await
}

fn limits() -> Limits {
    Limits { connections: 8, places: 2, ..Limits::for_this_process() }
}

/// A connection on which `bytes` were sent, whose reader takes next to nothing.
async fn link(lab: &Lab, bytes: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(lab.hub.addr()).await.expect("connected");
    // It may be cut before it has spoken.
    let _ = stream.write_all(bytes.as_bytes()).await;
    stream
}

/// Waits until the other side has closed.
async fn closed(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_its_connection() {
    let root = root(&[(FILE, b"{}")]);
    let lab = limited(root.path(), Limits { head: Duration::from_millis(100), ..limits() }).await;
    closed(link(&lab, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await).await;
    closed(link(&lab, "").await).await;
}

#[tokio::test]
async fn a_form_that_does_not_come_or_does_not_end_is_refused() {
    let root = root(&[(FILE, b"{}")]);
    let lab = limited(root.path(), Limits { form: Duration::from_millis(100), ..limits() }).await;
    let call = "POST /api/models/org/name/paths-info/main HTTP/1.1\r\nHost: localhost\r\n";
    let mut slow = link(&lab, &format!("{call}Content-Length: 9\r\n\r\n{{\"paths")).await;
    let mut answer = vec![0; 12];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 408");
    let long = lab.request(Method::POST, "/api/models/org/name/paths-info/main").body(vec![b'x'; 2 << 20]);
    assert_eq!(long.send().await.map(|answer| answer.status()).ok(), Some(StatusCode::PAYLOAD_TOO_LARGE));
}

#[tokio::test]
async fn forms_beyond_what_is_held_of_all_are_turned_away() {
    let root = root(&[(FILE, b"{}")]);
    let lab = limited(root.path(), Limits { form_bytes: 100, ..limits() }).await;
    let call = |bytes: usize| {
        lab.request(Method::POST, "/api/models/org/name/paths-info/main").body(vec![b'x'; bytes])
    };
    let answered = async |bytes| call(bytes).send().await.map(|answer| answer.status()).ok();
    assert_eq!(answered(1000).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_ne!(answered(50).await, Some(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn idle_connections_give_way_to_whoever_wants_something() {
    let root = root(&[(FILE, b"{}")]);
    let lab = limited(root.path(), limits()).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(link(&lab, "").await);
    }
    assert_eq!(lab.get(SMALL).await.status(), StatusCode::TEMPORARY_REDIRECT);
    closed(idle.swap_remove(0)).await;
}

#[tokio::test]
async fn readers_that_take_nothing_do_not_hold_up_a_download() {
    let model = noise(1, 16 << 20);
    let root = root(&[(FILE, b"{}"), ("models/org/name/main/notes.txt", &model)]);
    let lab = limited(root.path(), limits()).await;
    let path = lab.get("/org/name/resolve/main/notes.txt").await;
    let path = server_support::header(&path, "location").to_owned();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let mut stream = link(&lab, &ask).await;
        // It has its place.
        stream.read_exact(&mut [0; 12]).await.expect("an answer");
        stalled.push(stream);
    }
    let body = lab.get(&path).await.bytes().await.expect("the whole of it");
    assert!(body == model);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_too_long_is_cut() {
    let model = noise(1, 16 << 20);
    let root = root(&[(FILE, b"{}"), ("models/org/name/main/notes.txt", &model)]);
    let patience = Duration::from_millis(100);
    let lab = limited(root.path(), Limits { places: 1, write: patience, ..limits() }).await;
    let path = lab.get("/org/name/resolve/main/notes.txt").await;
    let path = server_support::header(&path, "location").to_owned();
    let mut stalled = link(&lab, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    stalled.read_exact(&mut [0; 12]).await.expect("an answer");
    // The only place is free again when the reader is cut.
    let other = lab.get("/api/resolve-cache/models/org/name/main/config.json").await;
    assert_eq!(other.bytes().await.expect("a body"), &b"{}"[..]);
    let (mut bytes, mut got) = (vec![0; 1 << 16], 0);
    while let Ok(read @ 1..) = stalled.read(&mut bytes).await {
        got += read;
    }
    assert!(got < model.len(), "{got}");
}

#[tokio::test]
async fn and_so_it_is_where_nobody_waits_for_its_place() {
    let root = root(&[("models/org/name/main/notes.txt", &noise(1, 16 << 20))]);
    let lab = limited(root.path(), Limits { write: Duration::from_millis(100), ..limits() }).await;
    let path = lab.get("/org/name/resolve/main/notes.txt").await;
    let path = server_support::header(&path, "location").to_owned();
    let mut stalled = link(&lab, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    stalled.read_exact(&mut [0; 12]).await.expect("an answer");
    // Whoever is still there takes what is said to it.
    while stalled.write_all(b"G").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn strange_names_are_refused_and_stand_in_no_answer() {
    let root = root(&[(FILE, b"{}"), ("models/org/name/main/m.safetensors", &noise(3, 200_000))]);
    let lab = start(root.path()).await;
    let port = lab.hub.addr().port();
    for path in [SMALL, "/api/models/org/name/xet-read-token/main", "/api/cas/v1/telemetry"] {
        let request = lab.request(Method::GET, path).header("host", "evil.example");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(!format!("{:?}", answer.headers()).contains("evil.example"));
    }
    for name in [format!("localhost:{port}"), "localhost".to_owned(), "[::1]:80".to_owned()] {
        let request = lab.request(Method::GET, "/org/name/resolve/main/m.safetensors").header("host", &name);
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::FOUND, "{name}");
    }
}

#[tokio::test]
async fn a_public_url_is_believed_and_stands_in_answers() {
    let root = root(&[("models/org/name/main/m.safetensors", &noise(3, 200_000))]);
    let mut config = ServeConfig::new(root.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.public_url = Some("https://hub.example/zest/".to_owned());
    let lab = start_with(config).await;
    let path = format!("http://{}/org/name/resolve/main/m.safetensors", lab.hub.addr());
    for host in ["hub.example", "HUB.example:443", "127.0.0.1"] {
        let answer = lab.request(Method::GET, &path).header("host", host).send().await.expect("an answer");
        let location = server_support::header(&answer, "location");
        assert!(location.starts_with("https://hub.example/zest/api/cdn/"), "{location}");
    }
    let answer = lab.request(Method::GET, &path).header("host", "other.example").send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::MISDIRECTED_REQUEST);
    let mut config = ServeConfig::new(root.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.public_url = Some("hub.example".to_owned());
    assert!(zest_hub_server::serve(config).await.is_err());
}

#[tokio::test]
async fn who_came_by_another_name_of_the_listener_itself_gets_links_of_that_name() {
    let root = root(&[("models/org/name/main/m.safetensors", &noise(3, 200_000))]);
    // A port that is free now; whoever took it meanwhile makes this test begin anew.
    let (lab, port) = loop {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = free.local_addr().expect("bound");
        drop(free);
        let mut config = ServeConfig::new(root.path(), addr);
        config.public_url = Some(format!("http://Hub.lan:{}/", addr.port()));
        if let Ok(hub) = zest_hub_server::serve(config).await {
            let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
            let http = http.build().expect("client made");
            break (Lab { hub, http, root: root.path().to_path_buf() }, addr.port());
        }
    };
    assert_eq!(lab.hub.endpoint(), format!("http://Hub.lan:{port}"));
    let path = format!("http://127.0.0.1:{port}/org/name/resolve/main/m.safetensors");
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("hub.lan:{port}"),
        "[::1]:4".into(),
    ] {
        let answer = lab.request(Method::GET, &path).header("host", &host).send().await.expect("an answer");
        let location = server_support::header(&answer, "location");
        assert!(location.starts_with(&format!("http://{host}/api/cdn/")), "{host}: {location}");
    }
    for host in ["evil.example", "hub.lan.evil.example", "192.0.2.1"] {
        let answer = lab.request(Method::GET, &path).header("host", host).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!format!("{:?}", answer.headers()).contains(host), "{host}");
    }
}
