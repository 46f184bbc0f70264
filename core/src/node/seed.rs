//! Answering peers. Every answer is looked up outside (the catalog is not core's), so each request is an action and its
//! outcome an event; only what the catalog may share ever has a place.

use super::event::ManifestPlace;
use super::{Action, Node};
use crate::link::{Body, Dialect, Message, Outgoing};
use crate::{Instant, LinkId, Location, ReqId};
use alloc::vec::Vec;
use zest_xet::Hash;

impl Node {
    pub(super) fn message(&mut self, now: Instant, link: LinkId, message: Message) {
        // What a peer that we let go had still on the wire means nothing any more.
        if self.peers.get(&link).is_none_or(|peer| peer.closing) {
            return;
        }
        match message {
            Message::ExtHandshake(remote) => self.introduced(now, link, &remote),
            Message::ChunkRequest { req, hash, dialect } => {
                self.actions.push_back(Action::LookupChunk { link, req: ReqId(req), hash, dialect });
            }
            Message::XorbRequest { req, xorb, start, end } => {
                self.actions.push_back(Action::LookupXorb { link, req: ReqId(req), xorb, start, end });
            }
            Message::ManifestRequest { req, file, first, count } => {
                self.actions.push_back(Action::LookupManifest { link, req: ReqId(req), file, first, count });
            }
            Message::Interest { file } => self.actions.push_back(Action::LookupFile { link, file }),
            Message::NotFound { req } => self.not_found(now, link, req),
            Message::Error { req, .. } => self.not_found(now, link, req),
            Message::ManifestNone { req } => self.manifest_none(now, link, req),
            Message::Have { file, total, runs } => self.have(now, link, &file, Some(total), &runs),
            Message::HaveMore { file, runs } => self.have(now, link, &file, None, &runs),
            Message::Uninterest { .. } | Message::Slot { .. } | Message::Cancel { .. } | Message::Ignored => {
            }
        }
    }

    pub(super) fn chunk_located(
        &mut self,
        link: LinkId,
        req: ReqId,
        hash: Hash,
        dialect: Dialect,
        place: Option<Location>,
    ) {
        let message = match place {
            Some(place) => {
                self.stats.chunks_served += 1;
                Outgoing::Chunk { req: req.0, dialect, hash, body: Body::File(place), len: place.len }
            }
            None => Outgoing::NotFound { req: req.0, hash, dialect },
        };
        self.send(link, message);
    }

    pub(super) fn manifest_located(&mut self, link: LinkId, req: ReqId, place: Option<ManifestPlace>) {
        let message = match place {
            Some(place) => Outgoing::ManifestPart {
                req: req.0,
                file_size: place.file_size,
                total: place.total,
                first: place.first,
                count: place.count,
                body: Body::File(place.records),
            },
            None => Outgoing::ManifestNone { req: req.0 },
        };
        self.send(link, message);
    }

    pub(super) fn file_located(&mut self, link: LinkId, file: Hash, total: u32, runs: Vec<(u32, u32)>) {
        self.send(link, Outgoing::Have { file, total, runs });
    }
}
