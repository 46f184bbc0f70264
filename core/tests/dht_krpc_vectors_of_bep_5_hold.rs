//! The example messages of BEP 5, byte for byte, and what other clients make of them.

use std::net::SocketAddr;

use zest_core::InfoHash;
use zest_core::bencode;
use zest_core::dht::NodeId;
use zest_core::dht::krpc::{self, Answer, Body, KrpcFault, Query, Want};

const ASKER: NodeId = NodeId(*b"abcdefghij0123456789");
const OTHER: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

fn query(bytes: &[u8]) -> Query<'_> {
    let message = krpc::parse(bytes).expect("a message");
    assert_eq!(message.tid, b"aa");
    match message.body {
        Body::Query { id, query, want: None, read_only: false } if id == ASKER => query,
        other => panic!("{other:?}"),
    }
}

#[test]
fn queries() {
    assert_eq!(query(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"), Query::Ping);
    assert_eq!(
        query(
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe"
        ),
        Query::FindNode { target: OTHER }
    );
    assert_eq!(
        query(b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe"),
        Query::GetPeers { info_hash: InfoHash(OTHER.0) }
    );
    assert_eq!(
        query(
            b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e\
5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
        ),
        Query::AnnouncePeer {
            info_hash: InfoHash(OTHER.0),
            port: 6881,
            implied_port: true,
            token: b"aoeusnth"
        }
    );
}

#[test]
fn replies() {
    let bytes = b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re";
    let Body::Reply(reply) = krpc::parse(bytes).expect("a message").body else { panic!("a reply") };
    assert_eq!((reply.id, reply.token), (ASKER, Some(&b"aoeusnth"[..])));
    let values: Vec<SocketAddr> = reply.values().collect();
    assert_eq!(values, ["97.120.106.101:11893".parse().unwrap(), "105.100.104.116:28269".parse().unwrap()]);
    assert_eq!(reply.nodes().count(), 0);

    let nodes = b"d1:rd2:id20:0123456789abcdefghij5:nodes26:mnopqrstuvwxyz123456axje.ue1:t2:aa1:y1:re";
    let Body::Reply(reply) = krpc::parse(nodes).expect("a message").body else { panic!("a reply") };
    let nodes: Vec<_> = reply.nodes().collect();
    assert_eq!(nodes, [(OTHER, "97.120.106.101:11893".parse().unwrap())]);

    let error = krpc::parse(b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee").expect("a message");
    assert_eq!(error.body, Body::Error { code: 201 });
}

#[test]
fn what_we_write_is_sorted_bencode_and_reads_back() {
    let hash = InfoHash(OTHER.0);
    let queries = [
        Query::Ping,
        Query::FindNode { target: OTHER },
        Query::GetPeers { info_hash: hash },
        Query::AnnouncePeer { info_hash: hash, port: 65535, implied_port: true, token: &[7; 20] },
        Query::AnnouncePeer { info_hash: hash, port: 1, implied_port: false, token: b"" },
    ];
    for wanted in queries {
        for want in [None, Some(Want { v4: true, v6: true }), Some(Want { v4: false, v6: true })] {
            for read_only in [false, true] {
                let bytes = krpc::query(b"\0\xff", &ASKER, &wanted, want, read_only);
                sorted(&bytes);
                let message = krpc::parse(&bytes).expect("our own");
                assert_eq!(message.tid, b"\0\xff");
                assert_eq!(message.body, Body::Query { id: ASKER, query: wanted, want, read_only });
            }
        }
    }
    let v4 = [(OTHER, "1.2.3.4:5".parse().unwrap()), (ASKER, "5.6.7.8:65535".parse().unwrap())];
    let v6 = [(OTHER, "[2001:db8::1]:5".parse().unwrap())];
    let told = "[2001:db8::9]:6881".parse().unwrap();
    let values = ["9.9.9.9:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap()];
    let answer = Answer { nodes: Some(&v4), nodes6: Some(&v6), token: Some(b"tok"), values: &values };
    let bytes = krpc::reply(b"t", &ASKER, told, &answer);
    sorted(&bytes);
    let Body::Reply(reply) = krpc::parse(&bytes).expect("our own").body else { panic!("a reply") };
    assert_eq!((reply.id, reply.told, reply.token), (ASKER, Some(told), Some(&b"tok"[..])));
    assert_eq!(reply.nodes().collect::<Vec<_>>(), [&v4[..], &v6].concat());
    assert_eq!(reply.values().collect::<Vec<_>>(), values);
    let error = krpc::error(b"tt", 203, "bad token");
    assert_eq!(error, b"d1:eli203e9:bad tokene1:t2:tt1:v4:ZT\x00\x051:y1:ee");
    sorted(&error);
}

/// Every dictionary has its keys in order.
fn sorted(bytes: &[u8]) {
    fn walk(value: bencode::Value<'_>) {
        if let Some(dict) = value.dict() {
            let keys: Vec<_> = dict.iter().map(|(key, _)| key).collect();
            assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
            dict.iter().for_each(|(_, value)| walk(value));
        }
        value.list().into_iter().flat_map(bencode::List::iter).for_each(walk);
    }
    walk(bencode::parse(bytes).expect("bencode"));
}

#[test]
fn strange_but_harmless_forms_are_read() {
    // Unsorted, unknown keys, a list of what we do not know, no version.
    let odd = b"d1:y1:q1:t1:x3:zzzli1ei2ee1:q4:ping1:ad4:junkde2:id20:abcdefghij0123456789ee";
    assert!(matches!(krpc::parse(odd).expect("a message").body, Body::Query { query: Query::Ping, .. }));
    // With an implied port the port may be missing, or zero.
    for port in ["", "4:porti0e"] {
        let text = format!(
            "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz123456{port}5:token1:xe\
1:q13:announce_peer1:t2:aa1:y1:qe"
        );
        assert!(matches!(query(text.as_bytes()), Query::AnnouncePeer { port: 0, implied_port: true, .. }));
    }
    // Nodes and values of odd length lose what is not whole.
    let odd = b"d1:rd2:id20:abcdefghij01234567895:nodes28:mnopqrstuvwxyz123456axje.uXX6:valuesl3:abci7e6:axje.uee1:t2:aa1:y1:re";
    let Body::Reply(reply) = krpc::parse(odd).expect("a message").body else { panic!("a reply") };
    assert_eq!((reply.nodes().count(), reply.values().count()), (1, 1));
}

#[test]
fn faults_are_told_apart() {
    let fault = |bytes: &[u8]| match krpc::parse(bytes) {
        Ok(message) => format!("{message:?}"),
        Err(KrpcFault::BadQuery { tid: b"aa", what }) => what.to_owned(),
        Err(KrpcFault::UnknownMethod { tid: b"aa" }) => "unknown".to_owned(),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(fault(b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe"), "id is not 20 bytes");
    assert_eq!(fault(b"d1:q4:ping1:t2:aa1:y1:qe"), "no arguments");
    assert_eq!(fault(b"d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe"), "no method");
    assert_eq!(
        fault(b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe"),
        "target is not 20 bytes"
    );
    assert_eq!(fault(b"d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:aa1:y1:qe"), "unknown");
    assert_eq!(fault(b"d1:rd2:id2:abe1:t2:aa1:y1:re"), "no krpc message: reply without an id");
    assert_eq!(fault(b"d1:y1:qe"), "no krpc message: no transaction id");
    assert_eq!(fault(b"d1:t0:1:y1:qe"), "no krpc message: transaction id of unusable length");
    assert_eq!(fault(b"d1:t2:aa1:y1:ze"), "no krpc message: neither query, reply nor error");
    assert_eq!(fault(b"le"), "no krpc message: not a dictionary");
    assert_eq!(fault(&[b'd'; 1501]), "datagram of 1501 bytes, limit 1500");
    assert_eq!(fault(b"d1:"), "bencode byte 1: string length is not canonical or exceeds the document");
}

/// `get` of BEP 44, and whatever else may come: with a target it is a question we can help with.
#[test]
fn unknown_queries_with_a_target_are_answered_with_nodes() {
    for text in [
        &b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe"[..],
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q4:vote1:t2:aa1:y1:qe",
    ] {
        assert_eq!(query(text), Query::Get { target: OTHER });
        let mut dht = zest_core::dht::Dht::new(zest_core::dht::Config::new([1; 32]));
        let from = "20.1.1.1:6881".parse().unwrap();
        dht.handle(zest_core::Instant(0), zest_core::dht::Event::Datagram { from, bytes: text.to_vec() });
        let Some(zest_core::dht::Action::SendTo { bytes, .. }) = dht.poll_action() else {
            panic!("an answer")
        };
        let Body::Reply(reply) = krpc::parse(&bytes).expect("ours").body else { panic!("a reply") };
        assert!(reply.token.is_some());
    }
}
