//! A mirror in front of the public Hub: it may lead there, or want a login of its own.

use crate::common::{command, folder, run, text};
use crate::scripted_hub::{Answer, ListedFile, ScriptedHub, usual};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

#[test]
fn a_mirror_that_leads_to_the_public_hub_is_followed_there_and_not_asked_in_circles() {
    let home = folder();
    // The way out of this machine is a proxy that only listens to where it would go.
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mirror = ScriptedHub::start(|asked| {
        Answer::new(308, "").header("Location", format!("https://huggingface.co{}", asked.target))
    });
    let mut child = command(home.path(), &["pull", "org/name", "--no-p2p"])
        .env("HF_ENDPOINT", mirror.endpoint())
        .env("HF_TOKEN", "hf_onlyForTheMirror")
        .env("HTTPS_PROXY", format!("http://{}", proxy.local_addr().expect("bound")))
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("zest starts");
    let (stream, _) = proxy.accept().expect("it asks the proxy");
    let head: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(head[0].starts_with("CONNECT huggingface.co:443 "), "{head:?}");
    assert!(!head.iter().any(|line| line.contains("hf_onlyForTheMirror")), "{head:?}");
    assert_eq!(mirror.asked().len(), 1, "once is enough");
}

#[test]
fn a_login_in_the_endpoint_is_used_and_shown_nowhere() {
    // "key:tok/en-secret"
    const HEADER: &str = "Basic a2V5OnRvay9lbi1zZWNyZXQ=";
    let home = folder();
    let mut empty = ListedFile::new("sub/empty.txt", 0);
    // Git's id of an empty file.
    empty.oid = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".to_owned();
    let mirror = ScriptedHub::start(move |asked| match asked.header("authorization") {
        Some(HEADER) => usual(asked, std::slice::from_ref(&empty)).unwrap_or_else(|| Answer::new(404, "")),
        _ => Answer::new(401, format!("{:?}", asked.head)),
    });
    let endpoint = |login: &str| format!("http://{login}@{}", mirror.addr);
    let right = endpoint("key:tok%2Fen-secret");
    for (arguments, code) in [
        (&["pull", "org/name", "-vv", "--json"][..], Some(0)),
        (&["pull", "org/other", "--revision", "v9", "-vv"], Some(0)),
    ] {
        let output = run(command(home.path(), arguments).env("HF_ENDPOINT", &right));
        assert_eq!(output.status.code(), code, "{}", text(&output.stderr));
        not_shown(&output);
    }
    let wrong = endpoint("key:wrong-secret");
    let output = run(command(home.path(), &["pull", "org/new", "-vv"]).env("HF_ENDPOINT", &wrong));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    not_shown(&output);
    for needle in ["tok/en", "tok%2Fen", "a2V5O", "wrong-secret"] {
        assert!(!crate::command_line_keeps_its_promises::anything_below(home.path(), needle.as_bytes()));
    }
}

fn not_shown(output: &std::process::Output) {
    for shown in [&output.stdout, &output.stderr] {
        for needle in ["tok/en", "tok%2Fen", "a2V5O", "wrong-secret"] {
            assert!(!text(shown).contains(needle), "{}", text(shown));
        }
    }
}
