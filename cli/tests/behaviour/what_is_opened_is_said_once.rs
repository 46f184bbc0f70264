//! A machine's first pull says what it opens and who learns what; the next one does not.

use crate::common::{Server, command, folder, hello, run, seed_command, text};
use crate::scripted_hub::{Answer, ListedFile, ScriptedHub, usual};

#[test]
fn the_first_run_says_what_is_opened_who_learns_what_and_how_to_switch_it_off_and_no_other_does() {
    let home = folder();
    let hub = ScriptedHub::start(|asked| {
        let files = [ListedFile::new("config.json", 3)];
        usual(asked, &files).unwrap_or_else(|| Answer::ok("{}\n"))
    });
    let pull = |words: &[&str]| {
        let all = [&["pull", "org/name"], words].concat();
        let output = run(command(home.path(), &all).env("HF_ENDPOINT", hub.endpoint()));
        text(&output.stderr).to_owned()
    };
    let peer = ["--peer", "127.0.0.1:9", "--listen", "127.0.0.1:0"];
    assert!(!pull(&["--no-p2p"]).contains("first run"), "nothing is opened");
    assert!(!pull(&[&peer[..], &["-q"]].concat()).contains("first run"), "nothing is said");
    let said = pull(&peer);
    assert!(said.contains("first run: while a pull runs, peers may connect to 127.0.0.1:"), "{said}");
    for switch in ["--no-p2p", "zest config edit", "this is said once"] {
        assert!(said.contains(switch), "{switch} in {said}");
    }
    assert!(!pull(&peer).contains("first run"), "once");
}

#[test]
fn a_daemon_that_does_not_begin_says_nothing_of_what_it_opens() {
    let home = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let refused = run(&mut command(home.path(), &["start", "--http-port", &port]));
    assert_ne!(refused.status.code(), Some(0));
    assert!(!text(&refused.stderr).contains("first run"), "{}", text(&refused.stderr));
    assert!(!home.path().join(".cache/zest/introduced").exists(), "who begins one next is told");
}

/// A peer that says hello, whatever is answered.
fn greet(addr: &str, number: usize) -> std::net::TcpStream {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(addr).expect("it listens");
    // Who finds no room is turned away, perhaps before this is said.
    let _turned_away = stream.write_all(&hello(number));
    stream
}

/// Peers of a server once so many have said hello.
fn peers_of(server: &mut Server, addr: &str, of: usize) -> u64 {
    let _streams: Vec<_> = (0..of).map(|number| greet(addr, number)).collect();
    loop {
        let peers = server.event_status()["peers"].as_u64().expect("a number");
        if peers > 0 {
            return peers;
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_more_peers_are_linked_than_the_variable_of_the_original_says() {
    let home = folder();
    std::fs::create_dir_all(home.path().join(".cache/huggingface/hub")).expect("an empty cache");
    for words in [&["serve", "--no-http"][..], &[]] {
        let rest = ["--listen", "127.0.0.1:0", "--json", "-q"];
        let mut command = match words.is_empty() {
            true => seed_command(home.path(), &[&rest[..], &["--runtime", "tokio"]].concat()),
            false => command(home.path(), &[words, &rest].concat()),
        };
        let mut server = Server::start(command.env("ZEST_MAX_PEERS", "2"));
        let addr = server.event("listening")["addrs"][0].as_str().expect("an address").to_owned();
        assert!(peers_of(&mut server, &addr, 6) <= 2);
        assert_eq!(server.stop(), Some(0));
    }
}
