//! What we answer others, and what we do not.

use super::addr::{Family, is_local, is_usable};
use super::krpc::{self, Answer, Query, VALUES_FRAME_BYTES, Want};
use super::limits::{K, REPLY_BYTES_MAX, REPLY_FACTOR};
use super::{Dht, NodeId};
use crate::InfoHash;
use alloc::vec::Vec;
use core::net::SocketAddr;

impl Dht {
    /// Somebody asks. `request_bytes` bounds what the answer may be.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn query(
        &mut self,
        from: SocketAddr,
        request_bytes: usize,
        tid: &[u8],
        id: NodeId,
        query: &Query<'_>,
        want: Option<Want>,
        read_only: bool,
    ) {
        let (now, family) = (self.now, Family::of(from));
        let side = &mut self.sides[family as usize];
        if id == *side.table.own() {
            return; // Our own echo, or somebody in our clothes.
        }
        if !is_local(from.ip()) {
            side.reach.queried(now, from);
            if !side.reach.answers() {
                return; // BEP 43: read-only nodes do not answer.
            }
        }
        let room = reply_room(request_bytes);
        match query {
            Query::Ping => self.answer(from, tid, &Answer::default(), room),
            Query::FindNode { target } => self.answer_nodes(from, tid, target, want, false, room),
            Query::Get { target } => self.answer_nodes(from, tid, target, want, true, room),
            Query::GetPeers { info_hash } => {
                self.answer_nodes(from, tid, &NodeId(info_hash.0), want, true, room);
            }
            Query::AnnouncePeer { info_hash, port, implied_port, token } => {
                let port = if *implied_port { from.port() } else { *port };
                self.announced(from, tid, *info_hash, SocketAddr::new(from.ip(), port), token, request_bytes);
            }
        }
        let side = &mut self.sides[family as usize];
        // An asker that answers queries itself may be worth a place; whether it does is asked first.
        if !read_only && !side.routers.contains(&from) && !side.table.queried(now, &id, from) {
            self.meet(Some(id), from);
        }
    }

    fn announced(
        &mut self,
        from: SocketAddr,
        tid: &[u8],
        key: InfoHash,
        peer: SocketAddr,
        token: &[u8],
        request_bytes: usize,
    ) {
        if !self.tokens.check(self.now, from.ip(), token, &mut self.rng) {
            self.complain(from, request_bytes, tid, 203, "bad token");
            return;
        }
        if !is_usable(peer) {
            self.complain(from, request_bytes, tid, 203, "port is not 1 to 65535");
            return;
        }
        let own = self.id(Family::of(from));
        match self.storage.announce(self.now, key, peer, from, &own, &self.limits) {
            Ok(()) => {
                self.sweep_later();
                self.answer(from, tid, &Answer::default(), reply_room(request_bytes));
            }
            Err(_) => self.complain(from, request_bytes, tid, 202, "no room for this announcement"),
        }
    }

    /// The closest nodes, and for a key its token and as many of its peers as there is room for.
    fn answer_nodes(
        &mut self,
        from: SocketAddr,
        tid: &[u8],
        target: &NodeId,
        want: Option<Want>,
        key: bool,
        room: usize,
    ) {
        let family = Family::of(from);
        let want = want.filter(|want| want.v4 || want.v6);
        let want = want.unwrap_or(Want { v4: family == Family::V4, v6: family == Family::V6 });
        let token = key.then(|| self.tokens.make(self.now, from.ip(), &mut self.rng));
        let closest = |family: Family, wanted: bool| {
            wanted.then(|| {
                let nodes = self.sides[family as usize].table.closest(target, K + 1, true);
                // Not the asker itself, and nothing of our own network to a stranger.
                let tell = |addr: SocketAddr| addr != from && (!is_local(addr.ip()) || is_local(from.ip()));
                nodes.into_iter().filter(|(_, addr)| tell(*addr)).take(K).collect::<Vec<_>>()
            })
        };
        let mut nodes = [closest(Family::V4, want.v4), closest(Family::V6, want.v6)];
        // What was not asked by its own family goes first, then the farthest.
        let mut bytes = loop {
            let answer = Answer {
                nodes: nodes[0].as_deref(),
                nodes6: nodes[1].as_deref(),
                token: token.as_ref().map(|token| &token[..]),
                values: &[],
            };
            let bytes = krpc::reply(tid, &self.id(family), from, &answer);
            if bytes.len() <= room {
                break bytes;
            }
            let [mine, other] = if family == Family::V4 { [0, 1] } else { [1, 0] };
            let spare = |list: &mut Option<Vec<_>>| list.as_mut().and_then(Vec::pop).is_some();
            if !spare(&mut nodes[other]) && !spare(&mut nodes[mine]) {
                self.stats.limited += 1;
                return;
            }
        };
        if key {
            let one = krpc::value_bytes(from);
            let count = (room - bytes.len()).saturating_sub(VALUES_FRAME_BYTES) / one;
            let peers = self.storage.sample(self.now, &InfoHash(target.0), family, count, &mut self.rng);
            if !peers.is_empty() {
                let answer = Answer {
                    nodes: nodes[0].as_deref(),
                    nodes6: nodes[1].as_deref(),
                    token: token.as_ref().map(|token| &token[..]),
                    values: &peers,
                };
                bytes = krpc::reply(tid, &self.id(family), from, &answer);
            }
        }
        assert!(bytes.len() <= room, "a reply is no longer than its request allows");
        self.respond(from, bytes);
    }

    fn answer(&mut self, from: SocketAddr, tid: &[u8], answer: &Answer<'_>, room: usize) {
        let bytes = krpc::reply(tid, &self.id(Family::of(from)), from, answer);
        assert!(bytes.len() <= room, "a short reply fits the factor");
        self.respond(from, bytes);
    }

    /// Answers with an error. Nobody is sent one who was not to be answered anyway.
    pub(super) fn complain(
        &mut self,
        from: SocketAddr,
        request_bytes: usize,
        tid: &[u8],
        code: u16,
        what: &str,
    ) {
        if !is_local(from.ip()) && !self.side(Family::of(from)).reach.answers() {
            return;
        }
        let bytes = krpc::error(tid, code, what);
        if bytes.len() <= reply_room(request_bytes) {
            self.respond(from, bytes);
        }
    }

    fn respond(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let (per_s, burst) = (self.limits.reply_bytes_per_s, self.limits.reply_bytes_burst);
        if self.reply_bytes.take(self.now, bytes.len() as u32, per_s, burst) {
            self.stats.served += 1;
            self.send(to, bytes);
        } else {
            self.stats.limited += 1;
        }
    }
}

/// Bytes an answer may have.
fn reply_room(request_bytes: usize) -> usize {
    (request_bytes * REPLY_FACTOR).min(REPLY_BYTES_MAX)
}
