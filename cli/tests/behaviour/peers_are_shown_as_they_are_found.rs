//! `zest peers` names a peer when it has something, and programs that watch a server hear of its peers.

use crate::common::{Server, command, folder, hub, run, text};
use crate::serve_gives_a_neighbour_what_hub_gave_us::{make_repository, pull};

#[test]
fn a_peer_is_named_before_the_table_and_a_server_that_is_watched_names_its_peers() {
    let (root, home, other) = (folder(), folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let words = ["serve", "--no-http", "--listen", "127.0.0.1:0", "--json", "-q", "--watch"];
    let mut serve = Server::start(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let addr = serve.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    while serve.event_status()["files_shared"] == 0 {}
    let words = ["peers", "org/name", "--peer", &addr, "--listen", "127.0.0.1:0"];
    let output = run(command(other.path(), &words).env("HF_ENDPOINT", &endpoint));
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("found {addr} (named)")), "{said}");
    assert!(table.contains(&addr), "{table}");
    let peers = loop {
        let status = serve.event_status();
        if let Some(peers) = status["linked"].as_array() {
            break peers.clone();
        }
    };
    assert!(peers.iter().all(|peer| peer["took"].is_u64()), "{peers:?}");
    assert_eq!(serve.stop(), Some(0));
}

#[test]
fn who_comes_by_itself_is_known_by_its_id_where_it_listens() {
    let (root, home, other) = (folder(), folder(), folder());
    make_repository(root.path());
    let (_hub, endpoint) = hub(home.path(), root.path());
    pull(home.path(), &endpoint, &[]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let asker = free.local_addr().expect("bound").to_string();
    drop(free);
    let words = ["serve", "--no-http", "--listen", "127.0.0.1:0", "--peer", &asker, "--json", "-q"];
    let mut serve = Server::start(command(home.path(), &words).env("HF_ENDPOINT", &endpoint));
    let addr = serve.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
    // It names nobody: the server, which tries now and then, comes to it.
    let words = ["peers", "org/name", "--listen", &asker, "--json"];
    let found = loop {
        let output = run(command(other.path(), &words).env("HF_ENDPOINT", &endpoint));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        if found["peers"].as_array().is_some_and(|peers| !peers.is_empty()) {
            break found;
        }
    };
    let peer = &found["peers"][0];
    assert_eq!((peer["addr"].as_str(), peer["how"].as_str()), (Some(&*addr), Some("incoming")), "{found}");
    assert_eq!(peer["peer_id"].as_str().map(str::len), Some(40), "{found}");
    assert_eq!(serve.stop(), Some(0));
}
