//! `--congestion-control` holds for connections that come in, whichever program and runtime takes them; a name that the system
//! does not have is refused with those that it has.

use crate::common::{Server, command, folder, run, seed_command, shake_hands, text};
use crate::seed_box_takes_another_runtime_where_io_uring_is_refused::uring_is_here;
use std::net::SocketAddr;
use std::process::Command;

/// The programs, by the words that start them.
fn programs() -> Vec<Vec<&'static str>> {
    let mut programs = vec![vec!["zest", "serve"], vec!["zest-seed", "--runtime", "tokio"]];
    if uring_is_here() {
        programs.push(vec!["zest-seed", "--runtime", "glommio"]);
    }
    programs
}

fn started(home: &std::path::Path, words: &[&str], congestion_control: &str) -> Command {
    std::fs::create_dir_all(home.join(".cache/huggingface/hub")).expect("made");
    let flags =
        ["--listen", "127.0.0.1:0", "--cache-mem", "16Mi", "--congestion-control", congestion_control];
    let words = [&words[1..], &flags, &["--json", "-q"]].concat();
    if words[0] == "serve" { command(home, &words) } else { seed_command(home, &words) }
}

#[test]
fn of_every_connection_that_comes_in() {
    // Whoever may open a socket may have reno.
    for words in programs() {
        let home = folder();
        let mut server = Server::start(&mut started(home.path(), &words, "reno"));
        let addrs = server.event_among("listening");
        let addr: SocketAddr = addrs["addrs"][0].as_str().expect("an address").parse().expect("a good one");
        let _peer = shake_hands(addr, 1);
        let port = addr.port().to_string();
        let ss = Command::new("ss").args(["-tinOH", "state", "established", "sport", "=", &port]).output();
        let Ok(ss) = ss else {
            println!("skipped: there is no ss (iproute2) to ask");
            return;
        };
        let ends = text(&ss.stdout);
        assert!(ends.contains(" reno "), "{words:?}: {ends}");
        assert_eq!(ends.lines().count(), 1, "{words:?}: {ends}");
        assert_eq!(server.stop(), Some(0));
    }
}

#[test]
fn or_the_name_is_refused() {
    for words in programs() {
        let home = folder();
        let refused = run(&mut started(home.path(), &words, "magic"));
        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        let said = text(&refused.stdout).to_owned() + text(&refused.stderr);
        assert!(said.contains("TCP congestion control magic cannot be used"), "{said}");
        assert!(said.contains("this system allows: ") && said.contains("reno"), "{said}");
    }
}
