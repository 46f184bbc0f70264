//! What the user denies is shared by nobody here, whether it ran before or begins afterwards; allowing it proves nothing.

use crate::common::{Server, command, folder, hub, run, seed_command, text};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

/// A hub's folder with two public models and a private one.
fn models(root: &Path) {
    for (name, access) in [("org/open", "public"), ("org/closed", "private"), ("org/unloved", "public")] {
        let dir = root.join("models").join(name);
        std::fs::create_dir_all(dir.join("main")).expect("a folder");
        std::fs::write(dir.join("access"), access).expect("a mark");
        let seed = name.len() as u32;
        let bytes: Vec<u8> =
            (0..300_000_u32).flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(dir.join("main/model.safetensors"), bytes).expect("a file");
    }
}

struct World {
    home: tempfile::TempDir,
    endpoint: String,
    _root: tempfile::TempDir,
    _hub: Server,
}

impl World {
    fn new() -> Self {
        let (home, root) = (folder(), folder());
        models(root.path());
        let words = ["hub", "--root", root.path().to_str().expect("UTF-8"), "--port", "0", "--json", "-q"];
        let mut hub = Server::start(&mut command(home.path(), &[&words[..], &["--token", TOKEN]].concat()));
        let endpoint = hub.event("listening")["endpoint"].as_str().expect("a URL").to_owned();
        Self { home, endpoint, _root: root, _hub: hub }
    }

    fn json(&self, words: &[&str]) -> Value {
        let mut command = command(self.home.path(), &[words, &["--json", "-q"]].concat());
        let output = run(command.env("HF_ENDPOINT", &self.endpoint).env("HF_TOKEN", TOKEN));
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    fn state(&self, repo: &str) -> Value {
        let value = self.json(&["share", "ls", repo]);
        value["repositories"][0]["state"].clone()
    }

    fn serve(&self) -> Server {
        let words = ["serve", "--no-http", "--listen", "127.0.0.1:0", "--json", "-q"];
        Server::start(command(self.home.path(), &words).env("HF_ENDPOINT", &self.endpoint))
    }

    fn seed(&self) -> Server {
        let words = ["--listen", "127.0.0.1:0", "--json", "-q", "--runtime", "tokio"];
        Server::start(seed_command(self.home.path(), &words).env("HF_ENDPOINT", &self.endpoint))
    }
}

const TOKEN: &str = "hf_opensTheClosedOne";

#[test]
fn a_pull_that_shares_what_is_denied_meanwhile_stops_and_goes_on_alone() {
    let world = World::new();
    let words = ["pull", "org/open", "--events", "-q", "--max-download", "256KiB", "--peer", "127.0.0.1:9"];
    let words = [&words[..], &["--listen", "127.0.0.1:0", "--no-daemon"]].concat();
    let mut command = command(world.home.path(), &words);
    command.env("HF_ENDPOINT", &world.endpoint).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut pull = command.spawn().expect("zest starts");
    let mut events = BufReader::new(pull.stdout.take().expect("a pipe")).lines();
    // It is listed, and has begun to fetch.
    let begun = |line: String| line.contains("\"phase\":\"fetching\"");
    assert!(events.any(|line| begun(line.expect("text"))), "it fetches");
    world.json(&["share", "deny", "org/open"]);
    let rest: Vec<String> = events.map(|line| line.expect("text")).collect();
    let output = pull.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    let said = text(&output.stderr);
    assert!(said.contains("org/open is not to be shared any more"), "{said}");
    assert!(said.contains("it goes on from the Hub alone"), "{said}");
    let pulled = world.json(&["pull", "org/open"]);
    assert_eq!(pulled["shareable"], false, "{pulled}");
}

/// Waits until a state of things has so many files.
fn shares(server: &mut Server, files: u64) {
    // A Hub on loopback speaks for this machine alone.
    let of = |status: Value| ["files_shared", "files_near"].map(|field| status[field].as_u64());
    while of(server.event_status()) != [Some(files); 2] {}
}

#[test]
fn a_denied_repository_is_shared_by_nobody_and_an_allowed_one_only_if_everyone_may_read_it() {
    let world = World::new();
    for repo in ["org/open", "org/closed"] {
        world.json(&["pull", repo]);
    }
    assert_eq!(world.state("org/open"), "shared-near");
    assert_eq!(world.state("org/closed"), "not-public");
    let (mut serve, mut seed) = (world.serve(), world.seed());
    shares(&mut serve, 1);
    shares(&mut seed, 1);

    let said = world.json(&["share", "deny", "org/open"]);
    assert_eq!((&said["denied"], &said["changed"]), (&Value::from(true), &Value::from(true)), "{said}");
    shares(&mut serve, 0);
    shares(&mut seed, 0);
    assert_eq!(world.state("org/open"), "denied");

    // Nor by a pull that begins afterwards, nor are peers asked by it.
    world.json(&["share", "deny", "org/unloved"]);
    let pulled = world.json(&["pull", "org/unloved", "--peer", "127.0.0.1:9"]);
    assert_eq!(pulled["shareable"], false, "{pulled}");
    assert_eq!(pulled["no_peers"]["kind"], "denied", "{pulled}");
    assert!(pulled["notices"].to_string().contains("zest share allow org/unloved"), "{pulled}");

    let said = world.json(&["share", "allow", "org/open"]);
    assert_eq!(said["changed"], true, "{said}");
    shares(&mut serve, 1);
    shares(&mut seed, 1);
    world.json(&["share", "allow", "org/closed"]);
    assert_eq!(world.state("org/closed"), "not-public", "the Hub's word is not the user's");
    let value = world.json(&["share", "ls"]);
    assert_eq!(value["repositories"].as_array().expect("rows").len(), 3, "{value}");
    assert_eq!((serve.stop(), seed.stop()), (Some(0), Some(0)));
}

#[test]
fn the_lines_say_why_and_what_undoes_it() {
    let (home, root) = (folder(), folder());
    models(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    let say = |words: &[&str]| {
        let output = run(command(home.path(), words).env("HF_ENDPOINT", &endpoint));
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    assert!(say(&["share", "ls"]).contains("nothing is here that could be shared: `zest pull ORG/NAME`"));
    say(&["pull", "org/open"]);
    assert!(
        say(&["share", "ls"]).contains("org/open  shared      1 file (1.2 MB), with those of this network")
    );
    assert!(say(&["share", "deny", "org/open"]).contains("`zest share allow org/open` undoes it"));
    assert!(say(&["share", "deny", "org/open"]).contains("was denied already"));
    let list = say(&["share", "ls"]);
    assert!(list.contains("org/open  not shared  you said no; `zest share allow` undoes it"), "{list}");
    let peers = say(&["peers", "org/open", "--wait", "1", "--listen", "127.0.0.1:0"]);
    assert!(peers.contains("you denied sharing org/open"), "{peers}");
    assert!(say(&["share", "allow", "org/other"]).contains("was not denied, so nothing changes"));
}
