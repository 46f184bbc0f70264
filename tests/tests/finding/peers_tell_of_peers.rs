//! A peer that connects tells of another one (BEP 11), and the machine connects to that one too, unless it is itself.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use zest_core::wire::ext_handshake::Extension;
use zest_core::wire::pex::{FLAG_SEED, Pex, write};
use zest_runtime_tokio::DiscoveryConfig;
use zest_tests::caller::Caller;
use zest_tests::peer::in_time;
use zest_tests::{Machine, Site, noise, speak};

/// Nobody is asked anything: what peers tell is all there is. (A tracker that refuses every connection.)
fn nothing_but_peers() -> DiscoveryConfig {
    let nobody = "http://127.0.0.1:9/announce".parse().expect("a URL");
    DiscoveryConfig { trackers: vec![nobody], ..DiscoveryConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_of_is_dialled_while_something_is_fetched() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(31, 3_000_000));
    site.open().await;
    // The fetch lasts as long as this test needs it.
    site.faults().set_cdn_rate(Some(20_000));
    let machine =
        Machine::with(&site.endpoint(), |config| config.discovery = Some(nothing_but_peers())).await;
    let third = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let told = third.local_addr().expect("it is bound");
    let itself = machine.address().parse().expect("an address");
    let meeting = async {
        let (mut stream, _) = in_time(third.accept()).await.expect("the machine connects");
        let mut hello = [0; 20];
        in_time(stream.read_exact(&mut hello)).await.expect("its handshake");
        assert_eq!(&hello, b"\x13BitTorrent protocol");
        let status = machine.engine().discovery().await.expect("it is on");
        assert_eq!(status.found.get("pex"), Some(&1), "the machine itself is not a find: {status:?}");
    };
    let telling = async {
        while site.stats().cdn_requests == 0 {
            tokio::task::yield_now().await;
        }
        let mut caller =
            Caller::dial(&machine.address(), b"-XX0000-tells-of-one", b"d1:md6:ut_pexi7e6:ut_xeti1eee").await;
        let message = write(&Pex { added: vec![(itself, 0), (told, FLAG_SEED)], dropped: Vec::new() });
        caller.send(&speak::ext(Extension::UtPex.id(), &message)).await;
        meeting.await;
    };
    tokio::select! {
        () = telling => {}
        report = machine.pull(machine.options("org/model")) => panic!("it was to last: {report:?}"),
    }
}

/// A question behind what it was told: once that is answered, the message was read.
async fn is_left_alone(machine: &Machine) {
    let third = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let told = third.local_addr().expect("it is bound");
    let mut caller =
        Caller::dial(&machine.address(), b"-XX0000-tells-of-one", b"d1:md6:ut_pexi7e6:ut_xeti1eee").await;
    let message = write(&Pex { added: vec![(told, 0)], dropped: Vec::new() });
    caller.send(&speak::ext(Extension::UtPex.id(), &message)).await;
    let question = [&[1][..], &7u32.to_be_bytes(), &[9; 32]].concat();
    caller.send(&speak::ext(Extension::UtXet.id(), &question)).await;
    in_time(caller.message()).await.expect("an answer");
    let knock = tokio::time::timeout(std::time::Duration::ZERO, third.accept()).await;
    assert!(knock.is_err(), "nobody was dialled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_fetches_nothing_dials_nobody_on_such_a_word() {
    let machine =
        Machine::with("http://127.0.0.1:9", |config| config.discovery = Some(nothing_but_peers())).await;
    is_left_alone(&machine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_looks_for_nobody_does_not_listen_to_that() {
    let machine = Machine::new("http://127.0.0.1:9").await;
    assert_eq!(machine.engine().discovery().await, None);
    is_left_alone(&machine).await;
}
