//! What a message weighs on the wire, in bytes after TCP (`docs/protocol.md` §1.3, §3.1, §4.1).

use zest_core::link::{ERROR_TEXT_CHARS_MAX, Extension, Outgoing, ZestMessage};
use zest_core::wire::xet::Dialect;
use zest_core::wire::{pex, zest};

/// Length, message id and extension id: 6.
const FRAME: u32 = 6;
/// BEP 3 handshake, one side: 68.
pub(crate) const HANDSHAKE: u32 = 68;
/// Extension handshake of ours, unchoke and interested: 6 + 71 + 10.
pub(crate) const EXT_HANDSHAKE: u32 = FRAME + 71 + 10 + 11;

/// Bytes of a message apart from bulk data, and bytes of bulk data. (0, 0) is never sent.
pub(crate) fn weight(message: &Outgoing) -> (u32, u32) {
    use Outgoing::*;
    match message {
        ChunkRequest { .. } => (FRAME + 37, 0),
        XorbRequest { .. } => (FRAME + 45, 0),
        Chunk { dialect, len, .. } => (FRAME + answer_head(*dialect), *len),
        XorbRange { parts, .. } => {
            (FRAME + 13 + 8 * parts.len() as u32, parts.iter().map(|(_, body)| body.len()).sum())
        }
        XorbBytes { len, .. } => (FRAME + 13, *len),
        NotFound { dialect, .. } => (FRAME + if *dialect == Dialect::Chunk { 5 } else { 37 }, 0),
        ErrorReply { text, .. } => (FRAME + 9 + text.len().min(ERROR_TEXT_CHARS_MAX) as u32, 0),
        ManifestPart { body, .. } => (FRAME + 25, body.len()),
        Plain { body, .. } => (FRAME + 5, body.len()),
        Zest(message) => {
            let mut bytes = 0;
            zest::write(Extension::Zest.id(), message, |head| bytes += head.as_bytes().len() as u32);
            (bytes, 0)
        }
        Pex(pex) => (FRAME + pex::write(pex).len() as u32, 0),
        KeepAlive => (4, 0),
        Forget { .. } => (0, 0),
    }
}

/// Kinds of messages, as [`kind`] numbers them.
pub(crate) const KINDS: [&str; 15] = [
    "ask chunk",
    "chunk",
    "not found",
    "error",
    "ask list",
    "list",
    "interest",
    "have",
    "have more",
    "claim",
    "slot",
    "cancel",
    "pex",
    "stream",
    "small file",
];

/// Which of [`KINDS`] a message is.
pub(crate) fn kind(message: &Outgoing) -> Option<usize> {
    use Outgoing::*;
    use ZestMessage::{
        Cancel, Claim, Follow, Have, HaveMore, Interest, ManifestNone, ManifestRequest, PlainNone,
        PlainRequest, Slot, Streams, Told, Uninterest,
    };
    Some(match message {
        ChunkRequest { .. } | XorbRequest { .. } => 0,
        Chunk { .. } | XorbRange { .. } | XorbBytes { .. } => 1,
        NotFound { .. } | Zest(ManifestNone { .. }) => 2,
        ErrorReply { .. } => 3,
        Zest(ManifestRequest { .. }) => 4,
        ManifestPart { .. } => 5,
        Zest(Interest { .. } | Uninterest { .. }) => 6,
        Zest(Have { .. }) => 7,
        Zest(HaveMore { .. }) => 8,
        Zest(Claim { .. }) => 9,
        Zest(Slot { .. }) => 10,
        Zest(Cancel { .. }) => 11,
        Pex(_) => 12,
        Zest(Streams { .. } | Follow { .. } | Told { .. }) => 13,
        Zest(PlainRequest { .. } | PlainNone { .. }) | Plain { .. } => 14,
        KeepAlive | Forget { .. } => return None,
    })
}

fn answer_head(dialect: Dialect) -> u32 {
    match dialect {
        Dialect::Chunk => 9,
        Dialect::Range => 13,
        Dialect::Doc => 37,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_core::link::{self, Body, Claim, Link, ManifestPart, Role};
    use zest_core::{BufId, FileKey, InfoHash, Instant, PeerId, ReqId};
    use zest_xet::{ChunkRef, Hash};

    /// Takes what a link wants to send; gives its bytes, and counts those of bodies.
    fn sent(link: &mut Link) -> (Vec<u8>, u32, u32) {
        let (mut bytes, mut heads, mut bodies) = (Vec::new(), 0, 0);
        while let Some(action) = link.poll_action() {
            if let link::Action::Transmit { head, body, .. } = action {
                bytes.extend_from_slice(head.as_bytes());
                heads += head.as_bytes().len() as u32;
                let body = body.map_or(0, |body| body.len());
                bodies += body;
                bytes.resize(bytes.len() + body as usize, 0);
            }
        }
        (bytes, heads, bodies)
    }

    fn received(link: &mut Link, bytes: &[u8]) {
        if !bytes.is_empty() {
            link.handle(Instant::ZERO, link::Event::Received(bytes));
        }
    }

    #[test]
    fn weights_are_those_of_the_real_link() {
        let config = |role, id| link::Config { role, our_id: PeerId([id; 20]), listen_port: 6881 };
        let mut a = Link::new(Instant::ZERO, config(Role::Dial { info_hash: InfoHash([1; 20]) }, b'a'));
        let mut b = Link::new(Instant::ZERO, config(Role::Accept, b'b'));
        let (bytes, heads, _) = sent(&mut a);
        assert_eq!(heads, HANDSHAKE);
        received(&mut b, &bytes);
        let (bytes, heads, _) = sent(&mut b);
        assert_eq!(heads, HANDSHAKE + EXT_HANDSHAKE);
        received(&mut a, &bytes);
        let (bytes, heads, _) = sent(&mut a);
        assert_eq!(heads, EXT_HANDSHAKE);
        received(&mut b, &bytes);

        let (hash, req, body) =
            (Hash::from_bytes([7; 32]), ReqId(9), |len| Body::Buf { id: BufId(0), offset: 0, len });
        let scattered: Vec<(u32, u32)> = (0..5000).map(|n| (n * 300, 1 + n % 200)).collect();
        let total = 5000 * 300;
        let claims = |n: u32| (0..n).map(|first| Claim { first, score: 5, beat: 1 }).collect();
        let records = |n: u32| (0..n).map(|_| ChunkRef { hash, len: 9 }).collect();
        let part = ManifestPart { file_size: 9, total: 2, first: 0, count: 2 };
        let (dialect, file) = (Dialect::Chunk, FileKey::of(&hash));
        for message in [
            Outgoing::ChunkRequest { req, hash, len_max: 5 },
            Outgoing::XorbRequest { req: ReqId(2), xorb: hash, start: 0, end: 3, len_max: 5 },
            Outgoing::Chunk { req: 1, dialect, hash, body: body(700), len: 700 },
            Outgoing::Chunk { req: 1, dialect: Dialect::Doc, hash, body: body(700), len: 700 },
            Outgoing::XorbRange {
                req: 1,
                xorb: hash,
                start: 0,
                parts: vec![([0; 8], body(9)), ([0; 8], body(8))],
            },
            Outgoing::XorbBytes { req: 1, xorb: hash, start: 0, body: body(77), len: 77 },
            Outgoing::NotFound { req: 1, hash, dialect },
            Outgoing::NotFound { req: 1, hash, dialect: Dialect::Range },
            Outgoing::ErrorReply { req: 1, hash, dialect, code: 1, text: "no".into() },
            Outgoing::ManifestPart { req: 1, part, body: body(72) },
            Outgoing::Zest(ZestMessage::ManifestRequest { req: 3, file: hash, first: 0, count: 9 }),
            Outgoing::Zest(ZestMessage::ManifestNone { req: 1 }),
            Outgoing::Zest(ZestMessage::Interest { file: hash }),
            Outgoing::Zest(ZestMessage::Uninterest { file: hash }),
            Outgoing::Zest(ZestMessage::Have { file: hash, total: 9, runs: vec![(0, 9)] }),
            Outgoing::Zest(ZestMessage::Have { file: hash, total, runs: scattered.clone() }),
            Outgoing::Zest(ZestMessage::HaveMore { file, runs: vec![(7, 2), (500, 1)] }),
            Outgoing::Zest(ZestMessage::HaveMore { file, runs: scattered }),
            Outgoing::Zest(ZestMessage::Claim { file, claims: claims(300) }),
            Outgoing::Zest(ZestMessage::Streams { file, first: 7 }),
            Outgoing::Zest(ZestMessage::Follow { file, first: 7, on: true }),
            Outgoing::Zest(ZestMessage::Told { file, first: 7, at: 0, records: vec![] }),
            Outgoing::Zest(ZestMessage::Told { file, first: 7, at: 0, records: records(600) }),
            Outgoing::Zest(ZestMessage::PlainRequest {
                req: 4,
                key: link::PlainKey::git_blob(&[7; 20]),
                size: 9,
                offset: 0,
                wait: true,
            }),
            Outgoing::Zest(ZestMessage::PlainNone { req: 1 }),
            Outgoing::Plain { req: 1, body: body(9) },
            Outgoing::Zest(ZestMessage::Slot { open: false, wait_ms: 40 }),
            Outgoing::Zest(ZestMessage::Cancel { req: req.0 }),
            Outgoing::Forget { req: ReqId(2) },
            Outgoing::KeepAlive,
        ] {
            let expected = weight(&message);
            let words = format!("{message:?}");
            a.handle(Instant::ZERO, link::Event::Send(message));
            let (_, heads, bodies) = sent(&mut a);
            assert_eq!((heads, bodies), expected, "{:.60}", words);
        }
    }
}
