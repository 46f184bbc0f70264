//! `zest-seed` is where those who fetch the same meet: on each runtime it tells its peers of each other (BEP 11). Peers on
//! loopback are nobody's business, so this needs a network.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use zest_core::wire::pex::read;
use zest_tests::Kind;
use zest_tests::caller::Caller;
use zest_tests::netns::{self, Switch};
use zest_tests::peer::in_time;
use zest_tests::program::Running;

/// Ours for `ut_pex`.
const UT_PEX: u8 = 8;
/// Where the peers listen. Whichever core lets them in, each is told of all others.
const PORTS: [u16; 6] = [1001, 1002, 1003, 1004, 1005, 1006];

/// Reads on to an exchange.
async fn exchange(caller: &mut Caller) -> zest_core::wire::pex::Pex {
    loop {
        let (id, body) = in_time(caller.message()).await.expect("the link stays");
        if id == UT_PEX {
            return read(&body).expect("what BEP 11 says");
        }
    }
}

#[tokio::test]
async fn on_both_runtimes() {
    if !netns::enter("on_both_runtimes") {
        return;
    }
    let switch = Switch::new(Ipv4Addr::new(10, 7, 0, 1), 24);
    for (kind, name, host) in [(Kind::Tokio, "tokio", 2), (Kind::Glommio, "glommio", 3)] {
        if !kind.is_here() {
            continue;
        }
        let machine = switch.machine(name, Ipv4Addr::new(10, 7, 0, host));
        // It has nothing to give, and is a place to meet all the same.
        std::fs::create_dir_all(machine.home().join(".cache/huggingface/hub")).expect("a folder");
        let words = format!(
            "--runtime {name} --cache-mem 16Mi --no-dht --no-lan -t http://10.7.0.1:9/announce --listen {} --json",
            machine.at(6881)
        );
        let command = machine.seed_box("http://10.7.0.1:9", &words);
        let mut seeding = Running::start(command);
        assert_eq!(seeding.event("listening")["runtime"], name);

        let address = machine.at(6881).to_string();
        let mut callers = Vec::new();
        for port in PORTS {
            let id = format!("-SC0100-{port:012}").into_bytes().try_into().expect("20 bytes");
            callers.push(Caller::dial(&address, &id, &says(port)).await);
        }
        for (caller, own) in callers.iter_mut().zip(PORTS) {
            let told: BTreeSet<SocketAddr> =
                exchange(caller).await.added.into_iter().map(|(at, _)| at).collect();
            let others = PORTS.into_iter().filter(|port| *port != own);
            assert_eq!(told, others.map(|port| (switch.address(), port).into()).collect());
        }
        tokio::task::spawn_blocking(move || seeding.stop()).await.expect("it stops");
    }
}

/// The extension handshake of a peer that exchanges peers and listens on this port.
fn says(port: u16) -> Vec<u8> {
    format!("d1:md6:ut_pexi{UT_PEX}e6:ut_xeti7ee1:pi{port}e1:v12:scripted/1.0e").into_bytes()
}
