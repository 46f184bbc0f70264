//! A catalog knows the files of every cache that zest ever used on a machine. Shared is what lies in the caches and folders
//! that a command names, or in the usual cache; it is shown by name.

use crate::common::{Server, command, folder, hub, run, seed_command, text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Large enough to be in Xet.
const MODEL_BYTES: usize = 3 << 20;

/// A hub with two models, and a machine that has one of them in its usual cache and one in a folder.
struct World {
    home: TempDir,
    /// Somebody who knows both models, and what they are made of.
    neighbour: TempDir,
    _root: TempDir,
    hub: Server,
    endpoint: String,
    folder: PathBuf,
}

fn world() -> World {
    let (root, home) = (folder(), folder());
    for (name, seed) in [("first", 1_u32), ("second", 2)] {
        let dir = root.path().join("models/org").join(name).join("main");
        std::fs::create_dir_all(&dir).expect("a folder");
        let mut state = seed;
        let noise = (0..MODEL_BYTES).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        std::fs::write(dir.join("model.safetensors"), noise.collect::<Vec<u8>>()).expect("a file");
    }
    let (hub, endpoint) = hub(home.path(), root.path());
    let folder = home.path().join("mine");
    let world = World { folder, home, neighbour: crate::common::folder(), _root: root, hub, endpoint };
    world.pull(world.neighbour.path(), &["org/first"]);
    world.pull(world.neighbour.path(), &["org/second"]);
    world.pull(world.home.path(), &["org/first"]);
    world.pull(world.home.path(), &["org/second", "--local-dir", world.folder.to_str().expect("UTF-8")]);
    std::fs::create_dir(world.home.path().join("empty")).expect("a folder");
    world
}

impl World {
    fn pull(&self, home: &Path, words: &[&str]) -> Value {
        let words = [&["pull"], words, &["--json", "-q"]].concat();
        let output = run(command(home, &words).env("HF_ENDPOINT", &self.endpoint));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn serve(&self, words: &[&str]) -> Command {
        let words = [&["serve", "--listen", "127.0.0.1:0", "--json", "-q"], words].concat();
        let mut command = command(self.home.path(), &words);
        command.env("HF_ENDPOINT", &self.endpoint);
        command
    }

    fn seed_box(&self, words: &[&str]) -> Command {
        let words = [&["--listen", "127.0.0.1:0", "--cores", "0", "--json", "-q"], words].concat();
        let mut command = seed_command(self.home.path(), &words);
        command.env("HF_ENDPOINT", &self.endpoint);
        command
    }

    /// What the neighbour gets of a model that it has lost and that it can have from nowhere else.
    fn fetched_from_this_peer_alone(&self, repo: &str, peer: &str) -> u64 {
        let hub = self.neighbour.path().join(".cache/huggingface/hub");
        std::fs::remove_dir_all(hub.join("blobs")).expect("the files can be removed");
        let words = ["pull", repo, "--peer", peer, "--no-listen", "--json", "-q"];
        let mut pull = command(self.neighbour.path(), &words);
        let output = run(pull.env("HF_ENDPOINT", &self.endpoint).env("HF_HUB_OFFLINE", "1"));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        let pulled: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        pulled["bytes"]["from_peers"].as_u64().expect("a number")
    }

    /// What it says that it shares, and how much of both models a neighbour gets of it.
    fn given_by(&self, command: &mut Command) -> (Vec<String>, [u64; 2]) {
        let mut server = Server::start(command);
        let listening = server.event("listening");
        let peer = listening["addrs"][0].as_str().expect("an address").to_owned();
        let indexed = server.event("indexed");
        let names = indexed["shared"].as_array().expect("names").iter();
        let names: Vec<String> =
            names.map(|repo| repo["repo"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(indexed["files_shared"], names.len(), "one file each: {indexed}");
        let given = ["org/first", "org/second"].map(|repo| {
            if names.iter().any(|name| name == repo) {
                return self.fetched_from_this_peer_alone(repo, &peer);
            }
            let pulled = self.pull(folder().path(), &[repo, "--peer", &peer, "--no-listen"]);
            pulled["bytes"]["from_peers"].as_u64().expect("a number")
        });
        assert_eq!(server.stop(), Some(0));
        (names, given)
    }
}

#[test]
fn an_empty_cache_gives_nothing_of_others() {
    let world = world();
    let empty = world.path("empty");
    let nothing = (Vec::new(), [0, 0]);
    assert_eq!(world.given_by(&mut world.serve(&["--cache-dir", &empty])), nothing);
    assert_eq!(world.given_by(&mut world.seed_box(&["--root", &empty])), nothing);
    assert_eq!(world.given_by(&mut world.seed_box(&["--root", &empty, "--runtime", "tokio"])), nothing);
    assert_eq!(world.hub.stop(), Some(0));
}

#[test]
fn the_usual_cache_is_shared_and_a_local_folder_when_it_is_named() {
    let world = world();
    let (empty, mine) = (world.path("empty"), world.path("mine"));
    let bytes = MODEL_BYTES as u64;
    let first = (vec!["org/first".to_owned()], [bytes, 0]);
    let second = (vec!["org/second".to_owned()], [0, bytes]);
    let both = (vec!["org/first".to_owned(), "org/second".to_owned()], [bytes, bytes]);
    assert_eq!(world.given_by(&mut world.serve(&[])), first);
    assert_eq!(world.given_by(&mut world.seed_box(&[])), first);
    assert_eq!(world.given_by(&mut world.serve(&["--local-dir", &mine])), both);
    assert_eq!(world.given_by(&mut world.seed_box(&["--root", &empty, "--local-dir", &mine])), second);
    let usual = world.path(".cache/huggingface/hub");
    assert_eq!(world.given_by(&mut world.serve(&["--cache-dir", &usual])), first);
    // What a link in the cache leads to belongs to it, wherever it lies.
    let blobs = world.home.path().join(".cache/huggingface/hub/blobs");
    std::fs::rename(&blobs, world.home.path().join("big disk")).expect("moved");
    std::os::unix::fs::symlink(world.home.path().join("big disk"), &blobs).expect("a link");
    assert_eq!(world.given_by(&mut world.serve(&[])), first);
    let refused = run(&mut world.serve(&["--local-dir", &world.path("nowhere")]));
    assert_eq!(refused.status.code(), Some(7), "{}", text(&refused.stdout));
    assert_eq!(world.hub.stop(), Some(0));
}

#[test]
fn what_is_shared_is_said_at_the_start() {
    let world = world();
    let mine = world.path("mine");
    let mut server = Server::start(&mut world.serve(&["--local-dir", &mine]));
    let usual = world.path(".cache/huggingface/hub");
    assert_eq!(server.event("listening")["folders"], json!([usual, mine]));
    assert_eq!(server.stop(), Some(0));
    let words = ["--local-dir", &mine, "--index-only"];
    let output = run(seed_command(world.home.path(), &words).env("HF_ENDPOINT", &world.endpoint));
    let said = text(&output.stderr);
    assert!(said.contains("sharing org/first at ") && said.contains("sharing org/second at "), "{said}");
    assert_eq!(world.hub.stop(), Some(0));
}
