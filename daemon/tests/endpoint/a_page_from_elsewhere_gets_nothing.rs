//! A real browser: pages of other origins, and names that lead to this machine, read and change nothing.

use crate::common::*;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Names of the browser, the usual ones.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome-headless-shell"];

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|dir| BROWSERS.map(|name| dir.join(name)))
        .find(|program| program.is_file())
}

/// What a page has become once its script has run.
async fn visit(browser: &PathBuf, url: &str, more: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let profile = format!("--user-data-dir={}", home.path().display());
    let mut command = Command::new(browser);
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-extensions",
    ]);
    command.args(["--disable-background-networking", "--disable-dev-shm-usage", "--dump-dom", &profile]);
    command.args(["--virtual-time-budget=40000", "--timeout=60000"]).args(more).arg(url);
    command.env("HOME", home.path()).stdin(Stdio::null()).stderr(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic");
    drop(home);
    String::from_utf8_lossy(&ran.expect("it starts").stdout).into_owned()
}

/// A site of somebody else's: one page, whatever is asked.
async fn site(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let page = page.clone();
            tokio::spawn(async move {
                let _request = stream.read(&mut [0; 4096]).await;
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length";
                let _gone =
                    stream.write_all(format!("{head}: {}\r\n\r\n{page}", page.len()).as_bytes()).await;
            });
        }
    });
    addr
}

/// Tries all that a page can, and writes down what it could read.
fn hostile(api: &str, key: &str) -> String {
    let script = r#"
const said = [];
const look = async (name, what) => {
  const late = new Promise((yes) => setTimeout(() => yes("nothing"), 1500));
  try { said.push(name + "=" + (await Promise.race([what(), late]))); } catch (error) { said.push(name + "=refused"); }
};
const read = (path, init) => async () => { const r = await fetch(API + path, init); return "READ " + r.status + " " + (await r.text()).length; };
(async () => {
  await look("status", read("/v1/status"));
  await look("health", read("/v1/health"));
  await look("endpoint", read("/hf/KEY/api/models/org/open/revision/main"));
  await look("images", read("/v2/"));
  await look("bearer", read("/v1/pulls", {headers: {Authorization: "Bearer x"}}));
  await look("stop", async () => { await fetch(API + "/v1/stop", {method: "POST", mode: "no-cors", body: "x"}); return "sent"; });
  await look("pull", async () => { await fetch(API + "/v1/pull", {method: "POST", mode: "no-cors", body: '{"repo":"org/open"}'}); return "sent"; });
  await look("events", () => new Promise((yes, no) => { const s = new EventSource(API + "/v1/events"); s.onopen = () => yes("READ"); s.onerror = no; }));
  await look("frame", () => new Promise((yes, no) => {
    const f = document.createElement("iframe"); f.src = API + "/"; document.body.append(f);
    f.onload = () => { try { yes("READ " + f.contentDocument.body.innerHTML.length); } catch (error) { no(error); } };
  }));
  await look("script", () => new Promise((yes, no) => {
    const s = document.createElement("script"); s.src = API + "/v1/status"; s.onload = () => yes("READ"); s.onerror = no; document.body.append(s);
  }));
  document.getElementById("said").textContent = said.join("; ") + "; end";
})();
"#;
    let script = script.replace("API", &format!("\"{api}\"")).replace("KEY", key);
    format!("<!doctype html><body><p id=said>nothing</p><script>{script}</script></body>")
}

#[tokio::test]
async fn pages_of_other_origins_and_names_that_lead_here_read_and_change_nothing() {
    let Some(browser) = browser() else { return println!("skipped: there is no Chromium") };
    let hub = Hub::open().await;
    let dir = std::sync::Arc::new(tempfile::tempdir().expect("a folder"));
    let daemon = Daemon::with(dir, &hub.endpoint, &[], true).await;
    let addr = daemon.api.addrs()[0];
    let key = daemon.base.trim_start_matches("/hf/").to_owned();
    let foreign = site(hostile(&format!("http://{addr}"), &key)).await;
    let page = visit(&browser, &format!("http://localhost:{}/", foreign.port()), &[]).await;
    let said =
        page.split("<p id=\"said\">").nth(1).and_then(|rest| rest.split("</p>").next()).unwrap_or_default();
    assert!(said.ends_with("; end"), "the page has tried everything: {page}");
    assert!(!said.contains("READ") && said.contains("status=refused"), "{said}");
    assert!(daemon.session.pulls().is_empty(), "nothing was begun");
    assert_eq!(daemon.raw("GET /livez", &[]).await.status, 200);
    assert_eq!(daemon.raw("GET /readyz", &[]).await.status, 200, "nothing was stopped");
    // A name of the attacker's that was made to lead here: to the browser it is the attacker's own origin.
    let rules = format!("--host-resolver-rules=MAP rebound.example 127.0.0.1:{}", addr.port());
    for path in ["/v1/status", "/", "/v2/", &format!("/hf/{key}/api/models/org/open/revision/main")] {
        let page = visit(&browser, &format!("http://rebound.example{path}"), &[&rules]).await;
        let says_something =
            ["chunks_served", "<script", "sha", "registry"].iter().find(|word| page.contains(**word));
        assert_eq!(says_something, None, "{path}: {page}");
        assert!(
            page.contains("loopback") || page.contains("name"),
            "it was asked, and refused: {path}: {page}"
        );
    }
}
