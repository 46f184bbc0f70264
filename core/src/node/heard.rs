//! What peers say: each message goes to the file that decides on it.

use super::ask::{Ask, Wanted};
use super::{Action, Node};
use crate::link::{Message, ZestMessage};
use crate::wire::zest::{MANIFEST_PART_RECORDS_MAX, MANIFEST_RECORD_BYTES};
use crate::{FileKey, Instant, LinkId, ReqId};
use zest_xet::CHUNK_BYTES_MAX;

/// Records of a part under a cap, at most: 3,640, as many bytes as the longest chunk has. More than the 1,024 that a node takes
/// for a part that is not the last.
const PART_RECORDS_CAPPED: u32 = CHUNK_BYTES_MAX as u32 / MANIFEST_RECORD_BYTES;

impl Node {
    pub(super) fn message(&mut self, now: Instant, link: LinkId, message: Message) {
        // What a peer that we let go had still on the wire means nothing any more.
        if self.peers.get(&link).is_none_or(|peer| peer.closing) {
            return;
        }
        self.price(now, link, &message);
        match message {
            Message::ExtHandshake(remote) => self.introduced(now, link, &remote),
            Message::ChunkRequest { req, hash, dialect } => {
                self.asked_for(now, link, Ask { req, hash, what: Wanted::Chunk(dialect) })
            }
            Message::XorbRequest { req, xorb, start, end } => {
                if let Some(peer) = self.peers.get_mut(&link) {
                    peer.wants.asked_at = now;
                }
                self.actions.push_back(Action::LookupXorb { link, req: ReqId(req), xorb, start, end });
            }
            Message::NotFound { req } | Message::Error { req, .. } => self.not_found(now, link, req),
            Message::Zest(message) => self.zest_message(now, link, message),
            // Peers that peers tell of are the business of discovery.
            Message::Pex(_) | Message::Ignored => {}
        }
    }

    fn zest_message(&mut self, now: Instant, link: LinkId, message: ZestMessage) {
        match message {
            ZestMessage::ManifestRequest { req, file, first, count } => {
                let capped = self.upload_cap().is_some();
                let count = if capped { count.min(PART_RECORDS_CAPPED) } else { count };
                let count = count.min(MANIFEST_PART_RECORDS_MAX);
                self.asked_for(now, link, Ask { req, hash: file, what: Wanted::Part { first, count } });
            }
            ZestMessage::ManifestNone { req } => self.manifest_none(now, link, ReqId(req)),
            ZestMessage::Interest { file } => self.interested(now, link, file),
            ZestMessage::Uninterest { file } => self.uninterested(link, &file),
            ZestMessage::Have { file, total, runs } => {
                self.have(now, link, &|hash| *hash == file, Some(total), &runs);
            }
            ZestMessage::HaveMore { file, runs } => {
                self.have(now, link, &|hash| FileKey::of(hash) == file, None, &runs);
            }
            ZestMessage::Slot { wait_ms, .. } => self.told_wait(now, link, wait_ms),
            ZestMessage::Cancel { req } => self.called_off(now, link, req),
            ZestMessage::Claim { file, claims } => self.claims_heard(now, link, file, &claims),
            ZestMessage::Streams { file, first } => self.offered(now, link, file, first),
            ZestMessage::Follow { file, first, on } => self.followed(link, file, first, on),
            ZestMessage::Told { file, first, at, records } => {
                self.told(now, link, file, first, at, &records);
            }
            ZestMessage::PlainRequest { req, key, size, offset, wait } => {
                self.plain_asked(now, link, req, key, (size, offset), wait);
            }
            ZestMessage::PlainNone { req } => drop(self.plain_none(now, link, ReqId(req))),
        }
    }

    /// What a peer says has its price, which what it fetches pays for. A party that says much and fetches nothing is no longer
    /// listened to for a while.
    fn price(&mut self, now: Instant, link: LinkId, message: &Message) {
        let free = match message {
            // These have bounds of their own.
            Message::Pex(_)
            | Message::Zest(
                ZestMessage::Have { .. } | ZestMessage::HaveMore { .. } | ZestMessage::Claim { .. },
            ) => true,
            // These are answers to what we asked.
            Message::NotFound { .. }
            | Message::Error { .. }
            | Message::Zest(ZestMessage::ManifestNone { .. } | ZestMessage::PlainNone { .. }) => true,
            // Whatever else is said costs what it costs to hear.
            Message::Zest(_)
            | Message::ExtHandshake(_)
            | Message::ChunkRequest { .. }
            | Message::XorbRequest { .. }
            | Message::Ignored => false,
        };
        let Some(party) = self.peers.get(&link).map(|peer| peer.wants.upload.party).filter(|_| !free) else {
            return;
        };
        if let Some(until) = self.uploads.parties.get_mut(party).and_then(|record| record.said(now)) {
            self.actions.push_back(Action::Hold { link, until });
        }
    }
}
