//! The node's words, put on the wire in the layouts the remote understands.

use super::requests::{Asked, Wanted};
use super::{Action, Body, ERROR_TEXT_CHARS_MAX, Head, Link, Message, Outgoing, ZestMessage};
use crate::ids::ReqId;
use crate::time::Instant;
use crate::wire::ext_handshake::Extension;
use crate::wire::frame::{self, EXTENDED_HEAD_BYTES, KEEP_ALIVE};
use crate::wire::pex;
use crate::wire::xet::{self, Dialect, RANGE_DATA_BYTES_MAX};
use crate::wire::zest::{self, MANIFEST_PART_RECORDS_MAX, MANIFEST_RECORD_BYTES};
use alloc::vec::Vec;
use zest_xet::Hash;

impl Link {
    pub(super) fn send(&mut self, now: Instant, outgoing: Outgoing) {
        // zest 0.4 takes any id but 0, so its constant 1 stands in until the remote has said which it wants.
        let answer_id = self.remote.xet_id().unwrap_or(Extension::UtXet.id());
        match outgoing {
            Outgoing::ChunkRequest { req, hash, len_max } => {
                let dialect = if self.dialect == Dialect::Doc { Dialect::Doc } else { Dialect::Chunk };
                let Some(id) = self.remote.xet_id() else { return self.refuse(Message::NotFound { req }) };
                self.ask(req, len_max, Wanted::Xet { dialect, hash });
                self.transmit(now, xet::chunk_request(id, dialect, req.0, &hash), None);
            }
            Outgoing::XorbRequest { req, xorb, start, end, len_max } => {
                let Some(id) = self.remote.xet_id() else { return self.refuse(Message::NotFound { req }) };
                self.ask(req, len_max, Wanted::Xet { dialect: Dialect::Range, hash: xorb });
                self.transmit(now, xet::xorb_request(id, req.0, &xorb, start, end), None);
            }
            Outgoing::Chunk { req, dialect, hash, body, len } => {
                assert_eq!(len, body.len(), "a chunk is as long as its body");
                let head = xet::answer_head(answer_id, dialect, req, &hash, 0, len, &[]);
                self.transmit_chunk(now, head, Some(body), Some(hash));
            }
            Outgoing::XorbBytes { req, xorb, start, body, len } => {
                assert_eq!(len, body.len(), "a xorb range is as long as its body");
                if u64::from(len) > RANGE_DATA_BYTES_MAX {
                    return self.transmit(now, xet::not_found(answer_id, Dialect::Range, req, &xorb), None);
                }
                let head = xet::answer_head(answer_id, Dialect::Range, req, &xorb, start, len, &[]);
                self.transmit(now, head, Some(body));
            }
            Outgoing::XorbRange { req, xorb, start, parts } => {
                self.send_xorb_range(now, answer_id, req, &xorb, start, parts);
            }
            Outgoing::NotFound { req, hash, dialect } => {
                self.transmit(now, xet::not_found(answer_id, dialect, req, &hash), None);
            }
            Outgoing::ErrorReply { req, hash, dialect, code, text } => {
                let mut end = text.len().min(ERROR_TEXT_CHARS_MAX);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                let head = xet::error(answer_id, dialect, req, &hash, code, &text.as_bytes()[..end]);
                self.transmit(now, head, None);
            }
            Outgoing::KeepAlive => {
                if self.is_talking() {
                    self.transmit(now, Head::new(&KEEP_ALIVE), None);
                }
            }
            Outgoing::Pex(pex) => {
                if let Some(id) = self.remote.id(Extension::UtPex) {
                    let message = pex::write(&pex);
                    let mut out = Vec::with_capacity(EXTENDED_HEAD_BYTES + message.len());
                    frame::extended(&mut out, id, &message);
                    self.transmit(now, Head::new(&out), None);
                }
            }
            Outgoing::Forget { req } => {
                self.requests.forget(req);
            }
            Outgoing::ManifestPart { req, part, body } => {
                assert_eq!(
                    u64::from(body.len()),
                    u64::from(part.count) * u64::from(MANIFEST_RECORD_BYTES),
                    "a part's body has 36 bytes a record"
                );
                if let Some(id) = self.remote.id(Extension::Zest) {
                    self.transmit(now, zest::manifest_part_head(id, req, part), Some(body));
                }
            }
            Outgoing::Plain { req, body } => {
                if let Some(id) = self.remote.id(Extension::Zest) {
                    self.transmit(now, zest::plain_part_head(id, req, body.len()), Some(body));
                }
            }
            Outgoing::Zest(message) => self.send_zest(now, &message),
        }
    }

    /// What only a remote with our extension understands.
    fn send_zest(&mut self, now: Instant, message: &ZestMessage) {
        if let ZestMessage::Cancel { req } = *message {
            if !self.requests.forget(ReqId(req)) {
                return;
            }
        } else if let ZestMessage::ManifestRequest { req, first, count, .. } = *message {
            if self.remote.id(Extension::Zest).is_none() {
                return self.refuse(Message::Zest(ZestMessage::ManifestNone { req }));
            }
            assert!(count > 0, "a manifest request asks for at least one record");
            let len_max = count.min(MANIFEST_PART_RECORDS_MAX) * MANIFEST_RECORD_BYTES;
            self.ask(ReqId(req), len_max, Wanted::Manifest { first, count });
        } else if let ZestMessage::PlainRequest { req, size, offset, .. } = *message {
            if self.remote.id(Extension::Zest).is_none() {
                return self.refuse(Message::Zest(ZestMessage::PlainNone { req }));
            }
            let len = zest::plain_part_len(size, offset).expect("a part that there is is asked for");
            self.ask(ReqId(req), len, Wanted::Plain);
        }
        let Some(id) = self.remote.id(Extension::Zest) else { return };
        zest::write(id, message, |head| self.transmit(now, head, None));
    }

    /// One answer, one body per chunk: each chunk header travels with the head that goes before its body.
    fn send_xorb_range(
        &mut self,
        now: Instant,
        ext_id: u8,
        req: u32,
        xorb: &Hash,
        start: u32,
        parts: Vec<([u8; 8], Body)>,
    ) {
        let total: u64 = parts.iter().map(|(header, body)| header.len() as u64 + u64::from(body.len())).sum();
        let len = u32::try_from(total).ok().filter(|_| (1..=RANGE_DATA_BYTES_MAX).contains(&total));
        let Some(len) = len else {
            return self.transmit(now, xet::not_found(ext_id, Dialect::Range, req, xorb), None);
        };
        for (index, (header, body)) in parts.into_iter().enumerate() {
            let head = match index {
                0 => xet::answer_head(ext_id, Dialect::Range, req, xorb, start, len, &header),
                _ => Head::new(&header),
            };
            self.transmit(now, head, Some(body));
        }
    }

    pub(super) fn transmit(&mut self, now: Instant, head: Head, body: Option<Body>) {
        self.transmit_chunk(now, head, body, None);
    }

    fn transmit_chunk(&mut self, now: Instant, head: Head, body: Option<Body>, chunk: Option<Hash>) {
        self.last_sent = now;
        self.actions.push_back(Action::Transmit { head, body, chunk });
    }

    fn ask(&mut self, req: ReqId, len_max: u32, wanted: Wanted) {
        self.requests.add(Asked { req, len_max, wanted });
    }

    /// Answers for a remote that could not understand the question.
    fn refuse(&mut self, message: Message) {
        self.actions.push_back(Action::Message(message));
    }
}
