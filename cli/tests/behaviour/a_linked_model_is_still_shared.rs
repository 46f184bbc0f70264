//! `zest link` gives a file a second name, which changes what the system says of it and none of its bytes: a server that shares the
//! file goes on doing so, and `zest share ls` says what the server does.

use crate::common::{Server, command, each_file, folder, hub, run, text};
use crate::serve_gives_a_neighbour_what_hub_gave_us::pull;
use serde_json::Value;
use std::path::Path;

/// Quantised models are known by their names.
const FILE: &str = "model-Q4_K_M.gguf";

/// What `zest share ls` calls the state of the only repository.
fn state(home: &Path, endpoint: &str) -> String {
    let output = run(command(home, &["share", "ls", "--json"]).env("HF_ENDPOINT", endpoint));
    let value: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    value["repositories"][0]["state"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

#[test]
fn a_model_that_was_linked_for_another_program_is_given_and_said_to_be() {
    let (root, home) = (folder(), folder());
    let place = root.path().join("models/org/name/main");
    std::fs::create_dir_all(&place).expect("made");
    // Numbers of a linear congruential generator: chunk boundaries need content that does not repeat.
    let numbers =
        std::iter::successors(Some(3_u32), |n| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    let model: Vec<u8> = numbers.map(|n| (n >> 24) as u8).take(2_000_000).collect();
    std::fs::write(place.join(FILE), model).expect("written");
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let words = ["serve", "--no-http", "--listen", "127.0.0.1:0", "--json", "-q"];
    let mut server = Server::start(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let address = server.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    // Of the first it has the file open.
    let given = |home: &Path| pull(home, &endpoint, &["--peer", &address])["bytes"]["from_peers"].as_u64();
    assert!(given(folder().path()).is_some_and(|bytes| bytes > 0));

    let mut link = command(home.path(), &["link", "ollama", "org/name", "--json"]);
    let linked = run(link.env("HF_ENDPOINT", &endpoint).env("ZEST_NO_LISTEN", "1"));
    assert!(linked.status.success(), "{}", text(&linked.stderr));
    let mut names = 0;
    each_file(home.path(), &mut |path| {
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::symlink_metadata(path).expect("a file");
        names += u64::from(meta.is_file() && meta.len() == 2_000_000 && meta.nlink() == 2);
    });
    // Where the file system shares bytes otherwise, nothing changes and there is less to see.
    assert!(names == 2 || !text(&linked.stdout).contains("hard-link"), "{}", text(&linked.stdout));
    assert!(given(folder().path()).is_some_and(|bytes| bytes > 0));
    assert!(state(home.path(), &endpoint).starts_with("shared"));

    // Another program's name, of which nobody knows that the bytes are the same: it is given to nobody, and that is said.
    each_file(&home.path().join(".cache/huggingface/hub"), &mut |path| {
        let meta = std::fs::symlink_metadata(path).expect("a file");
        if meta.is_file() && meta.len() == 2_000_000 {
            std::fs::hard_link(path, root.path().join("another name")).expect("one file system");
        }
    });
    assert_eq!(state(home.path(), &endpoint), "not-indexed");
    assert_eq!(given(folder().path()), Some(0));
    assert_eq!(server.event_among("warning")["kind"], "changed");
    assert_eq!(server.stop(), Some(0));
}
