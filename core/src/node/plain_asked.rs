//! Small files that peers ask for: what we have is given in its turn, what we are getting ourselves later.

use super::Node;
use super::ask::{Ask, Wanted};
use super::plain::Before;
use super::plain_held::Question;
use crate::link::{Body, Outgoing, PlainKey, ZestMessage};
use crate::wire::zest::plain_part_len;
use crate::{Instant, LinkId, ReqId};

impl Node {
    /// A peer asks for a part of a small file.
    pub(super) fn plain_asked(
        &mut self,
        now: Instant,
        link: LinkId,
        req: u32,
        key: PlainKey,
        (size, offset): (u32, u32),
        wait: bool,
    ) {
        let Some(peer) = self.peers.get(&link) else { return };
        if plain_part_len(size, offset).is_none() {
            return self.send(link, Outgoing::Zest(ZestMessage::PlainNone { req }));
        }
        let Some(id) = self.asking.plains.wanted(&key, size, peer) else {
            return self.plain_in_line(now, link, req, key, (size, offset));
        };
        let who = peer.who.id;
        let first = self.before_it(now, id, &who);
        let Some(first) = first.filter(|_| wait && self.asking.plains.held.has_room(link)) else {
            return self.send(link, Outgoing::Zest(ZestMessage::PlainNone { req }));
        };
        self.asking.plains.held.hold(id, Question { link, req, offset });
        if let Before::Them(first) = first {
            self.plain_first_only(now, id, first);
        }
    }

    /// A question that can be answered now stands in line with all others.
    pub(super) fn plain_in_line(
        &mut self,
        now: Instant,
        link: LinkId,
        req: u32,
        key: PlainKey,
        (size, offset): (u32, u32),
    ) {
        let what = Wanted::Plain { kind: key.kind, size, offset };
        self.asked_for(now, link, Ask { req, hash: key.id, what });
    }

    /// A question that waits is taken back.
    pub(super) fn plain_taken_back(&mut self, link: LinkId, req: u32) {
        self.asking.plains.held.taken_back(link, req);
    }

    /// Where it lies was looked up: none, if it is not here or not for this peer.
    pub(super) fn plain_located(&mut self, now: Instant, link: LinkId, req: ReqId, body: Option<Body>) {
        let Some(mark) = self.looked_up(link, req) else { return };
        match body {
            Some(body) => self.give_plain(link, req.0, body, mark),
            None => self.send(link, Outgoing::Zest(ZestMessage::PlainNone { req: req.0 })),
        }
        self.pump(now);
    }
}
