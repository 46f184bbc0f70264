//! zest beside other projects' DHT nodes and trackers, on loopback: who announces is found by everybody.
//!
//! ```sh
//! cargo run -p zest-interop            # everything that is installed
//! cargo run -p zest-interop -- dht     # or: trackers, programs, lan
//! ```
//! Prints tables, and exits with 1 if a counterpart that is there did not understand us or was not understood. What is not
//! installed is skipped, and named.

mod announcer;
mod dht;
mod lan;
mod node;
mod player;
mod programs;
mod table;
mod trackers;
mod workshop;

use std::process::ExitCode;
use workshop::Workshop;
use zest_tests::netns;

const USAGE: &str = "usage: zest-interop [dht] [trackers] [programs] [lan]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["node", count, boot] => return node::play(count, boot),
        ["announcer", url, key, port, left] => return announcer::play(url, key, port, left),
        _ if words.iter().all(|word| ["dht", "trackers", "programs", "lan"].contains(word)) => {}
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    let wanted = |section: &str| words.is_empty() || words.contains(&section);
    if !netns::is_inside() {
        // Before anything is shut in: a build may have to fetch what it depends on.
        workshop::build(wanted("dht") || wanted("programs"), wanted("programs") || wanted("lan"));
        match netns::permitted() {
            Ok(()) => {
                let status = netns::inside().args(&args).status().expect("unshare was there a moment ago");
                return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            Err(why) => println!("note: all this runs on this machine's own loopback device: {why}"),
        }
    } else {
        netns::settle();
    }
    let workshop = Workshop::open();
    let mut good = true;
    if wanted("dht") {
        good &= dht::run(&workshop);
    }
    if wanted("trackers") {
        good &= trackers::run(&workshop);
    }
    if wanted("programs") {
        good &= programs::run(&workshop);
    }
    if wanted("lan") {
        good &= lan::run(&workshop);
    }
    println!("\n{}", if good { "all that is installed understands each other" } else { "FAILED" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
