//! DHT nodes of the `mainline` crate, told by lines on standard input what to do; see the README one folder up.
//!
//! `mainline-player COUNT HOST:PORT|-`

use mainline::{Dht, Id};
use std::io::BufRead as _;
use std::net::Ipv4Addr;
use std::str::FromStr as _;

fn node(bootstrap: &[String]) -> Dht {
    let mut builder = Dht::builder();
    builder.server_mode().bind_address(Ipv4Addr::LOCALHOST).bootstrap(bootstrap);
    builder.build().expect("a UDP socket on loopback")
}

#[allow(deprecated)] // The asynchronous twin does the same and needs an executor.
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let count: usize = args[1].parse().expect("a number of nodes");
    let mut bootstrap: Vec<String> = args[2..].iter().filter(|word| *word != "-").cloned().collect();
    let mut nodes = Vec::new();
    for _ in 0..count {
        let node = node(&bootstrap);
        if bootstrap.is_empty() {
            bootstrap.push(format!("127.0.0.1:{}", node.info().local_addr().port()));
        } else {
            node.bootstrapped();
        }
        nodes.push(node);
    }
    println!("ready 127.0.0.1:{}", nodes[0].info().local_addr().port());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        let (key, port) =
            (Id::from_str(words[1]).expect("40 hex digits"), words[2].parse::<u16>().expect("a port"));
        match words[0] {
            "announce" => match nodes[0].announce_peer(key, Some(port)) {
                Ok(_) => println!("ok"),
                Err(error) => println!("failed {error}"),
            },
            "find" => {
                let found = nodes[count - 1].get_peers(key).flatten().any(|peer| peer.port() == port);
                println!("{}", if found { "found" } else { "none" });
            }
            other => println!("failed: {other} is no command"),
        }
    }
}
