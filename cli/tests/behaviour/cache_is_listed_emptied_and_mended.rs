//! The cache is looked at and emptied as with `hf cache`; what has rotted is fetched again, and only that.

use crate::common::{Server, command, folder, hub, run, text};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{MODEL_BYTES, make_repository, pull};
use serde_json::Value;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

struct Here {
    home: tempfile::TempDir,
    hub: Server,
    endpoint: String,
    _root: tempfile::TempDir,
}

impl Here {
    /// A home with a pulled repository, and its Hub.
    fn new() -> Self {
        let (root, home) = (folder(), folder());
        make_repository(root.path());
        let (hub, endpoint) = hub(home.path(), root.path());
        pull(home.path(), &endpoint, &[]);
        Self { home, hub, endpoint, _root: root }
    }

    fn cache(&self, arguments: &[&str], code: i32) -> Value {
        let output = run(command(self.home.path(), &["cache", "--json"])
            .args(arguments)
            .env("HF_ENDPOINT", &self.endpoint));
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    fn model(&self) -> std::path::PathBuf {
        let found = pull(self.home.path(), &self.endpoint, &[]);
        Path::new(found["path"].as_str().expect("a path")).join("model.safetensors")
    }
}

#[test]
fn what_is_pulled_is_listed_and_removed() {
    let here = Here::new();
    let list = here.cache(&["ls"], 0);
    assert_eq!(list["repos"][0]["repo"], "org/name");
    assert_eq!(list["bytes"].as_u64(), Some(MODEL_BYTES as u64 + 3), "{list}");
    let commit = list["repos"][0]["revisions"][0]["commit"].as_str().expect("a commit").to_owned();
    assert_eq!(list["repos"][0]["revisions"][0]["refs"][0], "main");

    // Nobody can be asked, and nothing goes.
    let refused = here.cache(&["rm", "org/name"], 2);
    assert!(
        refused["error"]["message"].as_str().expect("a text").contains("would remove 1 revision"),
        "{refused}"
    );
    assert_eq!(here.cache(&["rm", "org/other", "--yes"], 4)["error"]["kind"], "not-found");
    assert_eq!(here.cache(&["rm", &commit[..7], "--dry-run"], 0)["revisions"], 1);
    let removed = here.cache(&["rm", &commit[..7], "--yes"], 0);
    assert_eq!(removed["bytes"].as_u64(), Some(MODEL_BYTES as u64 + 3), "{removed}");
    assert_eq!(here.cache(&["ls"], 0)["repos"].as_array().map(Vec::len), Some(0));
    assert_eq!(here.hub.stop(), Some(0));
}

#[test]
fn only_the_chunks_that_are_wrong_are_fetched_again() {
    let here = Here::new();
    let model = here.model();
    let blob = std::fs::canonicalize(&model).expect("a link to it");
    std::fs::set_permissions(&blob, std::fs::Permissions::from_mode(0o644)).expect("ours");
    let before = std::fs::read(&blob).expect("read");
    let file = std::fs::File::options().write(true).open(&blob).expect("opened");
    file.write_all_at(b"rot", MODEL_BYTES as u64 / 2).expect("written");
    drop(file);
    let output = run(command(here.home.path(), &["cache", "verify", "org/name", "--repair", "--json"])
        .env("HF_ENDPOINT", &here.endpoint));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let fetched = report["bytes"]["from_cdn"].as_u64().expect("a number");
    // One chunk, of at most 128 KiB, and no more than its head beside it.
    assert!((1..=128 << 10).contains(&fetched), "{report}");
    assert_eq!(report["cdn_wire_bytes"].as_u64(), Some(fetched + 8), "{report}");
    // What variables say holds for this pull, too: no way of finding peers is left.
    assert_eq!(report["no_peers"]["kind"], "switched-off", "{report}");
    assert!(std::fs::read(&model).expect("read") == before, "the file is what it was");
    assert_eq!(here.cache(&["verify"], 0)["wrong"], 0);
    assert_eq!(here.hub.stop(), Some(0));
}

#[test]
fn what_is_here_and_what_peers_have_is_shown_before_anything_is_fetched() {
    let here = Here::new();
    let mut serve = Server::start(
        command(here.home.path(), &["serve", "--listen", "127.0.0.1", "--listen-port", "0", "--json", "-q"])
            .env("HF_ENDPOINT", &here.endpoint),
    );
    let listening = serve.event("listening");
    let peer = listening["addrs"][0].as_str().expect("an address");
    assert_eq!(serve.event("indexed")["files_shared"], 1);
    let elsewhere = folder();
    let show = |home: &Path, arguments: &[&str]| -> Value {
        let output = run(command(home, &["info", "org/name", "--json"])
            .args(arguments)
            .env("HF_ENDPOINT", &here.endpoint));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    };
    let of = |shown: &Value| {
        let files = shown["files"].as_array().expect("files");
        files.iter().find(|file| file["path"] == "model.safetensors").expect("it is listed").clone()
    };
    let there = of(&show(elsewhere.path(), &["--peer", peer]));
    assert_eq!(
        (&there["here"], &there["xet"], &there["peers_whole"]),
        (&false.into(), &true.into(), &1.into())
    );
    let named = run(command(elsewhere.path(), &["peers", "org/name", "--json", "--peer", peer])
        .env("HF_ENDPOINT", &here.endpoint));
    let named: Value = serde_json::from_slice(&named.stdout).expect("one JSON document");
    assert_eq!(named["peers"][0]["bytes"].as_u64(), Some(MODEL_BYTES as u64), "{named}");
    let own = of(&show(here.home.path(), &["--wait", "0"]));
    assert_eq!((&own["here"], &own["size"]), (&true.into(), &MODEL_BYTES.into()));
    assert_eq!(serve.stop(), Some(0));
    assert_eq!(here.hub.stop(), Some(0));
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_helps() {
    let here = Here::new();
    let home = here.home.path();
    let examine = |endpoint: &str, code: i32| -> Value {
        let output = run(command(home, &["doctor", "--json", "--wait", "0"]).env("HF_ENDPOINT", endpoint));
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        let first = text(&output.stdout).lines().next().expect("a document").to_owned();
        serde_json::from_str(&first).expect("JSON")
    };
    let find = |report: &Value| report["checks"].as_array().expect("checks")[0].clone();
    let well = find(&examine(&here.endpoint, 0));
    assert_eq!((&well["name"], &well["state"]), (&"Hub".into(), &"ok".into()), "{well}");
    let alone = find(&examine(crate::common::NOBODY, 1));
    assert_eq!(alone["state"], "fail");
    assert!(alone["fix"].as_str().expect("what helps").contains("HF_ENDPOINT"), "{alone}");
    assert_eq!(here.hub.stop(), Some(0));
}
