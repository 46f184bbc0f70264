//! KRPC, the messages of the DHT (BEP 5, 32, 42, 43): one bencoded dictionary per datagram.
//!
//! | key | in | what |
//! |---|---|---|
//! | `t` | all | transaction id, echoed |
//! | `y` | all | `q` query, `r` reply, `e` error |
//! | `q`, `a` | query | method (`ping`, `find_node`, `get_peers`, `announce_peer`) and its arguments |
//! | `r` | reply | `id`; `nodes`, `nodes6`, `token`, `values` as asked |
//! | `e` | error | list of code and text |
//! | `ro` | query | 1: the sender cannot be queried (BEP 43) |
//! | `ip` | reply | the address the query came from: 4 or 16 bytes and a port (BEP 42) |
//! | `v` | all | client, 4 bytes; optional |
//!
//! | item | bytes |
//! |---|---|
//! | node in `nodes` / `nodes6` | 20 id, 4 / 16 address, 2 port |
//! | peer in `values` | 4 / 16 address, 2 port |
//!
//! Reading is tolerant: any order of keys, unknown keys, no `v`. What it gives borrows from the datagram. Writing is
//! strict and needs no allocation but the datagram.

use super::NodeId;
use super::limits::{DATAGRAM_BYTES_MAX, NODES_READ_MAX, TID_BYTES_MAX};
use crate::InfoHash;
use crate::bencode::{self, BencodeError, Dict, List, Value};
use crate::endpoint::{endpoint_v4, endpoint_v6};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use nom::Parser as _;
use nom::branch::alt;
use nom::combinator::all_consuming;
use thiserror::Error;
use zest_xet::fields::{Parsed, array, each, whole};

/// Our client id in `v`: `ZT` and the version, 0.5.
pub const VERSION: [u8; 4] = *b"ZT\x00\x05";

/// A message as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Transaction id, 1..=32 bytes.
    pub tid: &'a [u8],
    /// What it says.
    pub body: Body<'a>,
}

/// The three kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// Somebody asks.
    Query {
        /// Who.
        id: NodeId,
        /// What.
        query: Query<'a>,
        /// Which families of nodes the answer should have, if the asker says.
        want: Option<Want>,
        /// The asker does not answer queries itself (BEP 43).
        read_only: bool,
    },
    /// Somebody answers.
    Reply(Reply<'a>),
    /// Somebody refuses.
    Error {
        /// 201 generic, 202 server, 203 protocol, 204 method; 0 if none was given.
        code: i64,
    },
}

/// The queries of BEP 5, and what comes close to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are closest to this id?
    FindNode {
        /// The id.
        target: NodeId,
    },
    /// Who has this, or which nodes are closest to it?
    GetPeers {
        /// The key.
        info_hash: InfoHash,
    },
    /// A query we do not know that names a target, such as `get` of BEP 44: the nodes closest to it help the asker on, as
    /// they do where we store nothing. Written as `get`.
    Get {
        /// The id or key.
        target: NodeId,
    },
    /// I have this.
    AnnouncePeer {
        /// The key.
        info_hash: InfoHash,
        /// Where I can be reached.
        port: u16,
        /// Use the port this datagram came from instead.
        implied_port: bool,
        /// What the answer to `get_peers` gave.
        token: &'a [u8],
    },
}

/// Families of nodes an asker wants (BEP 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Who answers.
    pub id: NodeId,
    /// What an announcement must show.
    pub token: Option<&'a [u8]>,
    /// Where the query came from, as the answering node saw it.
    pub told: Option<SocketAddr>,
    nodes: &'a [u8],
    nodes6: &'a [u8],
    values: Option<List<'a>>,
}

impl<'a> Reply<'a> {
    /// The nodes of both families, 32 of each at most.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> + 'a {
        let v4 = each(node_v4, self.nodes).take(NODES_READ_MAX);
        v4.chain(each(node_v6, self.nodes6).take(NODES_READ_MAX))
    }

    /// The peers; entries of other lengths are skipped.
    pub fn values(&self) -> impl Iterator<Item = SocketAddr> + 'a {
        self.values.into_iter().flat_map(List::iter).filter_map(|value| compact_addr(value.bytes()?))
    }
}

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KrpcFault<'a> {
    /// Longer than anything we read.
    #[error("datagram of {0} bytes, limit {DATAGRAM_BYTES_MAX}")]
    TooLong(usize),
    /// No bencode.
    #[error("{0}")]
    Bencode(BencodeError),
    /// Not a dictionary with a usable `t` and `y`, or a reply without an id.
    #[error("no krpc message: {0}")]
    Shape(&'static str),
    /// A query that lacks an argument, or has a wrong one. Deserves error 203.
    #[error("query is wrong: {what}")]
    BadQuery {
        /// To answer with.
        tid: &'a [u8],
        /// For the asker.
        what: &'static str,
    },
    /// A query of a kind we do not know. Deserves error 204.
    #[error("unknown method")]
    UnknownMethod {
        /// To answer with.
        tid: &'a [u8],
    },
}

/// Reads a datagram.
///
/// # Errors
/// [`KrpcFault`]; two kinds of it carry the transaction id, because their sender is owed an error.
pub fn parse(datagram: &[u8]) -> Result<Message<'_>, KrpcFault<'_>> {
    if datagram.len() > DATAGRAM_BYTES_MAX {
        return Err(KrpcFault::TooLong(datagram.len()));
    }
    let value = bencode::parse(datagram).map_err(KrpcFault::Bencode)?;
    let dict = value.dict().ok_or(KrpcFault::Shape("not a dictionary"))?;
    let top = Top::read(dict);
    let tid = top.t.ok_or(KrpcFault::Shape("no transaction id"))?;
    if tid.is_empty() || tid.len() > TID_BYTES_MAX {
        return Err(KrpcFault::Shape("transaction id of unusable length"));
    }
    let body = match top.y {
        Some(b"q") => parse_query(tid, &top)?,
        Some(b"r") => Body::Reply(parse_reply(&top).ok_or(KrpcFault::Shape("reply without an id"))?),
        Some(b"e") => {
            let code = top.e.and_then(|list| list.iter().next()).and_then(Value::int);
            Body::Error { code: code.unwrap_or(0) }
        }
        _ => return Err(KrpcFault::Shape("neither query, reply nor error")),
    };
    Ok(Message { tid, body })
}

/// The top level, gathered in one walk.
#[derive(Default)]
struct Top<'a> {
    a: Option<Dict<'a>>,
    e: Option<List<'a>>,
    ip: Option<&'a [u8]>,
    q: Option<&'a [u8]>,
    r: Option<Dict<'a>>,
    ro: bool,
    t: Option<&'a [u8]>,
    y: Option<&'a [u8]>,
}

impl<'a> Top<'a> {
    fn read(dict: Dict<'a>) -> Self {
        let mut top = Top::default();
        for (key, value) in dict.iter() {
            match key {
                b"a" => top.a = top.a.or(value.dict()),
                b"e" => top.e = top.e.or(value.list()),
                b"ip" => top.ip = top.ip.or(value.bytes()),
                b"q" => top.q = top.q.or(value.bytes()),
                b"r" => top.r = top.r.or(value.dict()),
                b"ro" => top.ro |= value.int() == Some(1),
                b"t" => top.t = top.t.or(value.bytes()),
                b"y" => top.y = top.y.or(value.bytes()),
                _ => {}
            }
        }
        top
    }
}

fn key_of(value: Option<&[u8]>) -> Option<[u8; 20]> {
    value?.try_into().ok()
}

fn parse_query<'a>(tid: &'a [u8], top: &Top<'a>) -> Result<Body<'a>, KrpcFault<'a>> {
    let bad = |what| KrpcFault::BadQuery { tid, what };
    let args = top.a.ok_or(bad("no arguments"))?;
    let (mut id, mut target, mut info_hash, mut token) = (None, None, None, None);
    let (mut port, mut implied_port, mut want) = (None, false, None);
    for (key, value) in args.iter() {
        match key {
            b"id" => id = id.or(value.bytes()),
            b"implied_port" => implied_port |= value.int().is_some_and(|int| int != 0),
            b"info_hash" => info_hash = info_hash.or(value.bytes()),
            b"port" => port = port.or(value.int()),
            b"target" => target = target.or(value.bytes()),
            b"token" => token = token.or(value.bytes()),
            b"want" => want = want.or(value.list().map(parse_want)),
            _ => {}
        }
    }
    let id = NodeId(key_of(id).ok_or(bad("id is not 20 bytes"))?);
    let hash = || key_of(info_hash).map(InfoHash).ok_or(bad("info_hash is not 20 bytes"));
    let query = match top.q.ok_or(bad("no method"))? {
        b"ping" => Query::Ping,
        b"find_node" => {
            Query::FindNode { target: NodeId(key_of(target).ok_or(bad("target is not 20 bytes"))?) }
        }
        b"get_peers" => Query::GetPeers { info_hash: hash()? },
        b"announce_peer" => Query::AnnouncePeer {
            info_hash: hash()?,
            port: match port.and_then(|port| u16::try_from(port).ok()) {
                Some(port) if port != 0 || implied_port => port,
                None if implied_port => 0,
                _ => return Err(bad("port is not 1 to 65535")),
            },
            implied_port,
            token: token.ok_or(bad("no token"))?,
        },
        _ => match key_of(target.or(info_hash)) {
            Some(target) => Query::Get { target: NodeId(target) },
            None => return Err(KrpcFault::UnknownMethod { tid }),
        },
    };
    Ok(Body::Query { id, query, want, read_only: top.ro })
}

fn parse_want(list: List<'_>) -> Want {
    list.iter().fold(Want::default(), |want, value| Want {
        v4: want.v4 || value.bytes() == Some(b"n4"),
        v6: want.v6 || value.bytes() == Some(b"n6"),
    })
}

fn parse_reply<'a>(top: &Top<'a>) -> Option<Reply<'a>> {
    let (mut id, mut token, mut values) = (None, None, None);
    let (mut nodes, mut nodes6) = (None, None);
    for (key, value) in top.r?.iter() {
        match key {
            b"id" => id = id.or(value.bytes()),
            b"nodes" => nodes = nodes.or(value.bytes()),
            b"nodes6" => nodes6 = nodes6.or(value.bytes()),
            b"token" => token = token.or(value.bytes()),
            b"values" => values = values.or(value.list()),
            _ => {}
        }
    }
    Some(Reply {
        id: NodeId(key_of(id)?),
        token,
        told: top.ip.and_then(compact_addr),
        nodes: nodes.unwrap_or_default(),
        nodes6: nodes6.unwrap_or_default(),
        values,
    })
}

/// 20 id, 4 address, 2 port
pub(super) fn node_v4(input: &[u8]) -> Parsed<'_, (NodeId, SocketAddr)> {
    (array.map(NodeId), endpoint_v4).parse(input)
}

/// 20 id, 16 address, 2 port
pub(super) fn node_v6(input: &[u8]) -> Parsed<'_, (NodeId, SocketAddr)> {
    (array.map(NodeId), endpoint_v6).parse(input)
}

/// 4 or 16 address, 2 port
fn compact_addr(bytes: &[u8]) -> Option<SocketAddr> {
    whole(alt((all_consuming(endpoint_v4), endpoint_v6)), bytes)
}

/// Writes a query.
#[must_use]
pub fn query(tid: &[u8], id: &NodeId, query: &Query<'_>, want: Option<Want>, read_only: bool) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(160));
    out.raw(b"d1:ad2:id").bytes(&id.0);
    let method: &[u8] = match query {
        Query::Ping => b"ping",
        Query::FindNode { target } => {
            out.raw(b"6:target").bytes(&target.0);
            b"find_node"
        }
        Query::Get { target } => {
            out.raw(b"6:target").bytes(&target.0);
            b"get"
        }
        Query::GetPeers { info_hash } => {
            out.raw(b"9:info_hash").bytes(&info_hash.0);
            b"get_peers"
        }
        Query::AnnouncePeer { info_hash, port, implied_port, token } => {
            if *implied_port {
                out.raw(b"12:implied_porti1e");
            }
            out.raw(b"9:info_hash").bytes(&info_hash.0);
            out.raw(b"4:porti").decimal((*port).into()).raw(b"e5:token").bytes(token);
            b"announce_peer"
        }
    };
    if let Some(want) = want {
        out.raw(b"4:wantl");
        if want.v4 {
            out.raw(b"2:n4");
        }
        if want.v6 {
            out.raw(b"2:n6");
        }
        out.raw(b"e");
    }
    out.raw(b"e1:q").bytes(method);
    if read_only {
        out.raw(b"2:roi1e");
    }
    out.tail(tid, b'q')
}

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer<'a> {
    /// Nodes of the IPv4 DHT; the key is written if there is a slice, even an empty one.
    pub nodes: Option<&'a [(NodeId, SocketAddr)]>,
    /// Nodes of the IPv6 DHT.
    pub nodes6: Option<&'a [(NodeId, SocketAddr)]>,
    /// Token for announcements.
    pub token: Option<&'a [u8]>,
    /// Peers, if there are any.
    pub values: &'a [SocketAddr],
}

/// Writes a reply to a query that came from `told`.
#[must_use]
pub fn reply(tid: &[u8], id: &NodeId, told: SocketAddr, answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(512));
    out.raw(b"d2:ip").addr(told).raw(b"1:rd2:id").bytes(&id.0);
    for (key, nodes, bytes) in [(&b"5:nodes"[..], answer.nodes, 26), (b"6:nodes6", answer.nodes6, 38)] {
        if let Some(nodes) = nodes {
            out.raw(key).decimal((nodes.len() * bytes) as u64).raw(b":");
            for (id, addr) in nodes {
                out.raw(&id.0).addr_raw(*addr);
            }
        }
    }
    if let Some(token) = answer.token {
        out.raw(b"5:token").bytes(token);
    }
    if !answer.values.is_empty() {
        out.raw(b"6:valuesl");
        for peer in answer.values {
            out.addr(*peer);
        }
        out.raw(b"e");
    }
    out.raw(b"e");
    out.tail(tid, b'r')
}

/// Bytes that one peer takes in `values`.
#[must_use]
pub fn value_bytes(peer: SocketAddr) -> usize {
    if peer.is_ipv4() { 2 + 6 } else { 3 + 18 }
}

/// Bytes of `values` around its peers.
pub const VALUES_FRAME_BYTES: usize = b"6:valuesle".len();

/// Writes an error.
#[must_use]
pub fn error(tid: &[u8], code: u16, text: &str) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(96));
    out.raw(b"d1:eli").decimal(code.into()).raw(b"e").bytes(text.as_bytes()).raw(b"e");
    out.tail(tid, b'e')
}

struct Writer(Vec<u8>);

impl Writer {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.decimal(bytes.len() as u64).raw(b":").raw(bytes)
    }

    fn decimal(&mut self, value: u64) -> &mut Self {
        if value >= 10 {
            self.decimal(value / 10);
        }
        self.0.push(b'0' + (value % 10) as u8);
        self
    }

    /// An address as a byte string.
    fn addr(&mut self, addr: SocketAddr) -> &mut Self {
        self.decimal(if addr.is_ipv4() { 6 } else { 18 }).raw(b":").addr_raw(addr)
    }

    fn addr_raw(&mut self, addr: SocketAddr) -> &mut Self {
        match addr.ip() {
            IpAddr::V4(ip) => self.raw(&ip.octets()),
            IpAddr::V6(ip) => self.raw(&ip.octets()),
        };
        self.raw(&addr.port().to_be_bytes())
    }

    /// The keys every message ends with.
    fn tail(mut self, tid: &[u8], kind: u8) -> Vec<u8> {
        self.raw(b"1:t").bytes(tid).raw(b"1:v").bytes(&VERSION).raw(b"1:y1:");
        self.0.push(kind);
        self.0.push(b'e');
        self.0
    }
}
