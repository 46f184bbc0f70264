//! Two programs on one machine do not fight for a port: one that was not asked for gives way, one that was asked for and is
//! taken is an error that says so.

use crate::common::{Server, command, folder, run, seed_command, text};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

/// Where it listens.
fn address(server: &mut Server) -> SocketAddr {
    let listening = server.event("listening");
    listening["addrs"][0].as_str().expect("an address").parse().expect("a good one")
}

/// A loopback address that other tests leave alone.
const HOST: &str = "127.77.1.9";

#[test]
fn a_port_that_was_not_asked_for_gives_way() {
    let home = folder();
    // Whoever else has it, on all addresses, does as well.
    let first = TcpListener::bind((HOST, 6881));
    let next =
        (6882..6982).find(|port| TcpListener::bind((HOST, *port)).is_ok()).expect("one of them is free");
    let mut second = Server::start(&mut command(home.path(), &["serve", "--listen", HOST, "--json", "-q"]));
    let addr = address(&mut second);
    assert_eq!((addr.ip().to_string().as_str(), addr.port()), (HOST, next), "the next one");
    drop(first);
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn a_port_that_was_asked_for_is_used_or_refused() {
    let home = folder();
    let taken = TcpListener::bind((HOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let refused = run(&mut command(home.path(), &["serve", "--listen", HOST, "--listen-port", &port]));
    assert_eq!(refused.status.code(), Some(5));
    let said = text(&refused.stderr);
    assert!(said.contains(&format!("cannot listen on {HOST}:{port}")) && said.contains("hint:"), "{said}");
}

#[test]
fn and_so_is_the_port_of_the_dht() {
    let home = folder();
    let taken = UdpSocket::bind((HOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    // A node to start from that is nobody: the port comes first.
    let flags =
        ["seed", "--listen", HOST, "--listen-port", "0", "--bootstrap", "127.0.0.1:9", "--dht-port", &port];
    let refused = run(command(home.path(), &flags).env_remove("ZEST_NO_DHT"));
    assert_eq!(refused.status.code(), Some(5));
    let said = text(&refused.stderr);
    assert!(said.contains(&format!("cannot use UDP port {port} for the DHT")), "{said}");
    assert!(said.contains("--dht-port"), "it says what can be done: {said}");
}

/// The first thing it says, on standard output. It may go on; it is ended.
fn first_word(command: &mut Command) -> Value {
    let mut child =
        command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
    out.read_line(&mut line).expect("a line");
    let _already_gone = child.kill();
    child.wait().expect("it ends");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
}

#[test]
fn an_address_with_its_port_is_used_or_refused_whatever_the_command() {
    let home = folder();
    std::fs::create_dir(home.path().join("hub")).expect("a cache");
    let root = home.path().join("hub").to_str().expect("UTF-8").to_owned();
    let taken = TcpListener::bind((HOST, 0)).expect("a free port");
    let addr = taken.local_addr().expect("it is bound").to_string();
    let free = format!("{HOST}:0");
    let zest = |words: &[&str]| command(home.path(), words);
    let seed = |words: &[&str]| seed_command(home.path(), words);
    for mut command in [
        zest(&["serve", "--listen", &addr]),
        zest(&["seed", "--listen", &addr]),
        // One of them is free; what was asked for is both.
        zest(&["serve", "--listen", &free, "--listen", &addr]),
        zest(&["pull", "org/name", "--listen", &addr, "--peer", "127.0.0.1:9"]),
        zest(&["peers", "org/name", "--listen", &addr]),
        seed(&["--root", &root, "--listen", &addr]),
        seed(&["--root", &root, "--listen", &addr, "--runtime", "tokio"]),
    ] {
        let said = first_word(&mut command);
        assert_eq!(said["error"]["exit_code"], 5, "{command:?}: {said}");
        assert!(said.to_string().contains(&format!("cannot listen on {addr}")), "{command:?}: {said}");
    }
    drop(taken);
    let mut server = Server::start(&mut command(home.path(), &["serve", "--listen", &addr, "--json", "-q"]));
    assert_eq!(address(&mut server).to_string(), addr, "it is used where it is free");
    assert_eq!(server.stop(), Some(0));
}
