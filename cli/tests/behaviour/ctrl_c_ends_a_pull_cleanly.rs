//! A pull in front of a Hub that accepts and never answers: what it shows meanwhile, and how it ends.

use crate::common::{command, folder, signal, text};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

/// Looks like a token and opens nothing.
const TOKEN: &str = "hf_thisIsASecretToken";

/// Starts a pull with a token and waits until it has asked a Hub that tells strangers nothing, and then is silent. Returns the heads of what
/// it asked as a stranger and with the token.
fn pull_from_a_silent_hub(home: &std::path::Path) -> (Child, TcpStream, [String; 2]) {
    let hub = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", hub.local_addr().expect("bound"));
    let child = command(home, &["pull", "org/name", "--token", TOKEN, "-vv"])
        .env("HF_ENDPOINT", endpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zest starts");
    let mut stranger = hub.accept().expect("it asks").0;
    let first = head_of(&mut stranger);
    stranger
        .write_all(b"HTTP/1.1 404 Not Found\r\nx-error-code: RepoNotFound\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .expect("it listens");
    drop(stranger);
    let mut stream = hub.accept().expect("it asks again").0;
    let second = head_of(&mut stream);
    (child, stream, [first, second])
}

fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

#[test]
fn ctrl_c_exits_with_130_and_says_how_to_go_on() {
    let home = folder();
    let (child, _stream, _heads) = pull_from_a_silent_hub(home.path());
    signal(&child, rustix::process::Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(
        said.contains("error: interrupted") && said.contains("hint: run the same command again"),
        "{said}"
    );
}

#[test]
fn a_token_reaches_the_hub_and_nothing_else() {
    let home = folder();
    let (child, _stream, [stranger, head]) = pull_from_a_silent_hub(home.path());
    assert!(!stranger.contains(TOKEN), "{stranger}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer"), "{head}");
    assert!(head.contains(TOKEN), "the Hub gets it, where a stranger is told nothing");
    #[cfg(target_os = "linux")]
    {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("it lives");
        let arguments = String::from_utf8_lossy(&arguments);
        assert!(arguments.contains("org/name") && !arguments.contains(TOKEN), "{arguments}");
    }
    signal(&child, rustix::process::Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    assert!(!text(&output.stderr).contains(TOKEN), "{}", text(&output.stderr));
}
