//! A file that a Hub shows which not everybody knows: peers on this network and named ones that speak of the same Hub are
//! asked for it and given it. To all others it is a file that we never heard of.

#[path = "common/swarm.rs"]
mod swarm;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use swarm::File;
use zest_core::link::{Dialect, ExtHandshake, Extension, Message, Outgoing, ZestMessage, hub_key};
use zest_core::networks::of_linux;
use zest_core::node::*;
use zest_core::{FileId, InfoHash, Instant, JobId, LinkId, PeerId};

const NOW: Instant = Instant(1_000_000);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn take(node: &mut Node, event: Event) -> Vec<Action> {
    node.handle(NOW, event);
    node.check_invariants();
    std::iter::from_fn(|| node.poll_action()).collect()
}

/// Links to peers of every kind, and the numbers of those that are near.
fn linked(node: &mut Node) -> (Vec<LinkId>, BTreeSet<LinkId>) {
    let key = hub_key("http://hub.lab");
    let other = hub_key("https://other.example");
    let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
    let peers = [
        ("203.0.113.1:1", inbound, None, false),
        ("203.0.113.2:1", inbound, Some(key), false),
        ("192.168.1.3:1", inbound, None, false),
        ("192.168.1.4:1", inbound, Some(other), false),
        ("192.168.1.5:1", inbound, Some(key), true),
        ("127.0.0.6:1", inbound, None, true),
        ("203.0.113.7:1", outbound, Some(key), true),
        ("203.0.113.8:1", outbound, Some(other), false),
        ("203.0.113.7:9", inbound, Some(key), true),
        ("203.0.113.7:10", inbound, None, false),
    ];
    let (mut links, mut near) = (Vec::new(), BTreeSet::new());
    for (number, (at, direction, hub, is_near)) in (1..).zip(peers) {
        let link = LinkId(number);
        if direction == outbound {
            let dialled = take(node, Event::PeerFound { addr: addr(at), how: Found::Named });
            assert!(matches!(dialled[..], [Action::Dial { .. }]), "{dialled:?}");
        }
        let peer_id = PeerId([number as u8; 20]);
        take(node, Event::LinkUp { link, addr: addr(at), direction, peer_id });
        let hello = ExtHandshake { hub, ..ExtHandshake::empty(Dialect::Chunk) }
            .with(Extension::UtXet, Some(1))
            .with(Extension::Zest, Some(3));
        take(node, Event::Message { link, message: Message::ExtHandshake(hello) });
        assert_eq!(node.is_near(link), is_near, "{at}");
        links.push(link);
        near.extend(is_near.then_some(link));
    }
    (links, near)
}

fn spec(file: &File, near: bool) -> JobSpec {
    let spec = JobSpec::new(file.hash(), file.manifest.size(), FileId(7));
    JobSpec { near, origin: false, ..spec }
}

fn node() -> Node {
    let config = Config::new([5; 32], PeerId(*b"-ZT0500-we-ourselves"));
    Node::new(Config { hub: Some(hub_key("http://hub.lab")), ..config })
}

/// To whom this file is named.
fn told(actions: &[Action], file: &File) -> BTreeSet<LinkId> {
    let names = |action: &Action| match action {
        Action::Send { link, message } => match message {
            Outgoing::Zest(ZestMessage::Interest { file: named })
            | Outgoing::Zest(ZestMessage::ManifestRequest { file: named, .. })
                if *named == file.hash() =>
            {
                Some(*link)
            }
            Outgoing::ChunkRequest { .. }
            | Outgoing::Zest(ZestMessage::HaveMore { .. })
            | Outgoing::Zest(ZestMessage::Claim { .. }) => Some(*link),
            _ => None,
        },
        _ => None,
    };
    actions.iter().filter_map(names).collect()
}

#[test]
fn it_is_asked_of_neighbours_alone_and_given_to_them_alone() {
    let mut node = node();
    let (links, near) = linked(&mut node);
    let file = File::new(1, 6);
    // Some have asked for it before there was anything to tell.
    for link in &links {
        let asked = take(
            &mut node,
            Event::Message {
                link: *link,
                message: Message::Zest(ZestMessage::Interest { file: file.hash() }),
            },
        );
        assert!(matches!(asked[..], [Action::LookupFile { .. }]), "{asked:?}");
    }
    let job = JobId(1);
    let mut said = take(&mut node, Event::JobAdded { job, spec: spec(&file, true) });
    let (manifest, held) = (file.manifest.clone(), BitSet::full(6));
    said.extend(take(&mut node, Event::JobManifest { job, manifest, held, local: Vec::new() }));
    assert_eq!(told(&said, &file), near);
    said.clear();
    let later = Instant(NOW.0 + 10_000_000);
    while let Some((at, _)) = node.poll_timeout().filter(|(at, _)| *at <= later) {
        node.handle(at, Event::Timer);
        said.extend(std::iter::from_fn(|| node.poll_action()));
    }
    assert!(told(&said, &file).is_subset(&near), "{said:?}");
    for link in links {
        let interest =
            Event::Message { link, message: Message::Zest(ZestMessage::Interest { file: file.hash() }) };
        let asked = take(&mut node, interest);
        let from_job = |action: &Action| {
            matches!(action, Action::Send { message: Outgoing::Zest(ZestMessage::Have { .. }), .. })
        };
        let outside = |action: &Action| matches!(action, Action::LookupFile { .. });
        assert_eq!(asked.iter().any(from_job), near.contains(&link), "{link:?}: {asked:?}");
        assert_eq!(asked.iter().any(outside), !near.contains(&link), "{link:?}: {asked:?}");
        let hash = file.manifest.chunk(2).hash;
        let request = Message::ChunkRequest { req: 9, hash, dialect: Dialect::Chunk };
        let asked = take(&mut node, Event::Message { link, message: request });
        let given = |action: &Action| matches!(action, Action::Send { message: Outgoing::Chunk { .. }, .. });
        assert_eq!(asked.iter().any(given), near.contains(&link), "{link:?}: {asked:?}");
        if asked.iter().any(given) {
            // Its socket has taken it: a party is sent to over one link at a time.
            take(&mut node, Event::Sent { link, bytes: file.manifest.chunk(2).len.into() });
        }
        for action in asked {
            if let Action::LookupChunk { link, req, hash, dialect } = action {
                take(&mut node, Event::ChunkLocated { link, req, hash, dialect, place: None });
            }
        }
    }
}

#[test]
fn strangers_that_are_dialled_do_not_hear_its_name() {
    for near in [true, false] {
        let mut node = node();
        let file = File::new(1, 6);
        take(&mut node, Event::JobAdded { job: JobId(1), spec: spec(&file, near) });
        for (at, how, is_told) in [
            ("203.0.113.1:6881", Found::Dht, !near),
            ("203.0.113.65:6881", Found::Named, true),
            ("192.168.1.3:6881", Found::Tracker, !near),
            ("192.168.1.4:6881", Found::Lan, true),
        ] {
            let actions = take(&mut node, Event::PeerFound { addr: addr(at), how });
            let [Action::Dial { info_hash, .. }] = actions[..] else { panic!("{actions:?}") };
            assert_eq!(info_hash == InfoHash::of_file(&file.hash()), is_told, "{at}");
        }
    }
}

#[test]
fn an_address_that_reaches_everywhere_is_a_neighbours_on_a_network_of_ours() {
    let key = hub_key("http://hub.lab");
    let mut node = node();
    let ours = of_linux(
        "",
        "20010db9000000010000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0",
    );
    assert_eq!(ours.len(), 1);
    let mut number = 0;
    let mut is_near = |node: &mut Node, at: &str, hub: Option<[u8; 20]>| {
        number += 1;
        let (link, peer_id) = (LinkId(number), PeerId([number as u8; 20]));
        take(node, Event::LinkUp { link, addr: addr(at), direction: Direction::Inbound, peer_id });
        let hello = ExtHandshake { hub, ..ExtHandshake::empty(Dialect::Chunk) }
            .with(Extension::UtXet, Some(1))
            .with(Extension::Zest, Some(3));
        take(node, Event::Message { link, message: Message::ExtHandshake(hello) });
        node.is_near(link)
    };
    assert!(!is_near(&mut node, "[2001:db9:0:1::7]:1", Some(key)), "nobody has said what our networks are");
    take(&mut node, Event::Networks { ours });
    assert!(is_near(&mut node, "[2001:db9:0:1::8]:1", Some(key)));
    assert!(!is_near(&mut node, "[2001:db9:0:1::9]:1", None), "it speaks of no Hub");
    assert!(!is_near(&mut node, "[2001:db9:0:2::7]:1", Some(key)), "that is another network");
    take(&mut node, Event::Networks { ours: Vec::new() });
    assert!(!is_near(&mut node, "[2001:db9:0:1::a]:1", Some(key)), "we have left it");
}

#[test]
fn of_a_hub_on_this_machine_only_named_peers_speak() {
    let key = hub_key("http://127.0.0.1:8080");
    let config = Config::new([5; 32], PeerId(*b"-ZT0500-we-ourselves"));
    let mut node = Node::new(Config { hub: Some(key), hub_here: true, ..config });
    let file = File::new(1, 6);
    take(&mut node, Event::JobAdded { job: JobId(1), spec: spec(&file, true) });
    let named = |actions: &[Action]| match actions {
        [Action::Dial { info_hash, .. }] => *info_hash == InfoHash::of_file(&file.hash()),
        other => panic!("{other:?}"),
    };
    let found = |node: &mut Node, at: &str, how| named(&take(node, Event::PeerFound { addr: addr(at), how }));
    assert!(found(&mut node, "192.168.1.7:6881", Found::Named));
    assert!(!found(&mut node, "192.168.1.8:6881", Found::Lan), "it has another Hub at that address");
    let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
    for (number, (at, direction, is_near)) in (1..).zip([
        ("192.168.1.7:6881", outbound, true),
        ("192.168.1.8:6881", outbound, false),
        ("192.168.1.9:1", inbound, false),
        ("192.168.1.7:1", inbound, true),
        ("127.0.0.1:1", inbound, true),
    ]) {
        let (link, peer_id) = (LinkId(number), PeerId([number as u8; 20]));
        take(&mut node, Event::LinkUp { link, addr: addr(at), direction, peer_id });
        let hello = ExtHandshake { hub: Some(key), ..ExtHandshake::empty(Dialect::Chunk) }
            .with(Extension::UtXet, Some(1))
            .with(Extension::Zest, Some(3));
        take(&mut node, Event::Message { link, message: Message::ExtHandshake(hello) });
        assert_eq!(node.is_near(link), is_near, "{at}");
    }
}
