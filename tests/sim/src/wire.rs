//! What a message weighs on the wire, in bytes after TCP (`docs/protocol.md` §1.3, §3.1, §4.1).

use zest_core::link::{ERROR_TEXT_CHARS_MAX, Outgoing};
use zest_core::wire::pex;
use zest_core::wire::xet::Dialect;
use zest_core::wire::zest::{
    AVAILABILITY_BYTES_MAX, CLAIM_BYTES, CLAIMS_MAX, MANIFEST_RECORD_BYTES, TOLD_RECORDS_MAX,
};

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
        ManifestRequest { .. } => (FRAME + 45, 0),
        ManifestPart { body, .. } => (FRAME + 25, body.len()),
        ManifestNone { .. } => (FRAME + 5, 0),
        Interest { .. } | Uninterest { .. } => (FRAME + 33, 0),
        Have { runs, .. } => (FRAME + 39 + runs_bytes(runs).min(AVAILABILITY_BYTES_MAX as u32 - 39), 0),
        HaveMore { runs, .. } => {
            let bytes = runs_bytes(runs);
            (bytes.div_ceil(AVAILABILITY_BYTES_MAX as u32 - 11) * (FRAME + 11) + bytes, 0)
        }
        Claim { claims, .. } => {
            let frames = claims.len().div_ceil(CLAIMS_MAX) as u32;
            (frames * (FRAME + 11) + (CLAIM_BYTES * claims.len()) as u32, 0)
        }
        Streams { .. } => (FRAME + 13, 0),
        Follow { .. } => (FRAME + 14, 0),
        Told { records, .. } => {
            let frames = records.len().div_ceil(TOLD_RECORDS_MAX).max(1) as u32;
            (frames * (FRAME + 19) + MANIFEST_RECORD_BYTES * records.len() as u32, 0)
        }
        Pex { added, dropped } => {
            let pex = pex::Pex { added: added.clone(), dropped: dropped.clone() };
            (FRAME + pex::write(&pex).len() as u32, 0)
        }
        Slot { .. } => (FRAME + 4, 0),
        Cancel { .. } => (FRAME + 5, 0),
        KeepAlive => (4, 0),
        Forget { .. } => (0, 0),
    }
}

/// Kinds of messages, as [`kind`] numbers them.
pub(crate) const KINDS: [&str; 14] = [
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
];

/// Which of [`KINDS`] a message is.
pub(crate) fn kind(message: &Outgoing) -> Option<usize> {
    use Outgoing::*;
    Some(match message {
        ChunkRequest { .. } | XorbRequest { .. } => 0,
        Chunk { .. } | XorbRange { .. } | XorbBytes { .. } => 1,
        NotFound { .. } | ManifestNone { .. } => 2,
        ErrorReply { .. } => 3,
        ManifestRequest { .. } => 4,
        ManifestPart { .. } => 5,
        Interest { .. } | Uninterest { .. } => 6,
        Have { .. } => 7,
        HaveMore { .. } => 8,
        Claim { .. } => 9,
        Slot { .. } => 10,
        Cancel { .. } => 11,
        Pex { .. } => 12,
        Streams { .. } | Follow { .. } | Told { .. } => 13,
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

/// Availability runs: two numbers in LEB128 each.
fn runs_bytes(runs: &[(u32, u32)]) -> u32 {
    let leb = |value: u32| (32 - value.leading_zeros()).div_ceil(7).max(1);
    let (mut end, mut bytes) = (0, 0);
    for &(first, count) in runs {
        bytes += leb(first.wrapping_sub(end)) + leb(count);
        end = first.wrapping_add(count);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_core::link::{Body, Claim, Link, LinkAction, LinkConfig, LinkEvent, Role};
    use zest_core::{BufId, InfoHash, Instant, PeerId, ReqId};
    use zest_xet::{ChunkRef, Hash};

    /// Takes what a link wants to send; gives its bytes, and counts those of bodies.
    fn sent(link: &mut Link) -> (Vec<u8>, u32, u32) {
        let (mut bytes, mut heads, mut bodies) = (Vec::new(), 0, 0);
        while let Some(action) = link.poll_action() {
            if let LinkAction::Transmit { head, body } = action {
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
            link.handle(Instant::ZERO, LinkEvent::Received(bytes));
        }
    }

    #[test]
    fn weights_are_those_of_the_real_link() {
        let config = |role, id| LinkConfig { role, our_id: PeerId([id; 20]), listen_port: 6881 };
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
        let dialect = Dialect::Chunk;
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
            Outgoing::ManifestRequest { req: ReqId(3), file: hash, first: 0, count: 9 },
            Outgoing::ManifestPart { req: 1, file_size: 9, total: 2, first: 0, count: 2, body: body(72) },
            Outgoing::ManifestNone { req: 1 },
            Outgoing::Interest { file: hash },
            Outgoing::Uninterest { file: hash },
            Outgoing::Have { file: hash, total: 9, runs: vec![(0, 9)] },
            Outgoing::Have { file: hash, total, runs: scattered[..40].to_vec() },
            Outgoing::HaveMore { file: hash, runs: vec![(7, 2), (500, 1)] },
            Outgoing::HaveMore { file: hash, runs: scattered[..900].to_vec() },
            Outgoing::Claim { file: hash, claims: claims(3) },
            Outgoing::Claim { file: hash, claims: claims(300) },
            Outgoing::Streams { file: hash, first: 7 },
            Outgoing::Follow { file: hash, first: 7, on: true },
            Outgoing::Told { file: hash, first: 7, at: 0, records: vec![] },
            Outgoing::Told { file: hash, first: 7, at: 3, records: records(2) },
            Outgoing::Told { file: hash, first: 7, at: 0, records: records(600) },
            Outgoing::Slot { open: false, wait_ms: 40 },
            Outgoing::Cancel { req },
            Outgoing::Forget { req: ReqId(2) },
            Outgoing::KeepAlive,
        ] {
            let expected = weight(&message);
            let words = format!("{message:?}");
            a.handle(Instant::ZERO, LinkEvent::Send(message));
            let (_, heads, bodies) = sent(&mut a);
            assert_eq!((heads, bodies), expected, "{:.60}", words);
        }
        // Availability beyond 16 KiB goes in several messages, or is cut.
        for message in [
            Outgoing::Have { file: hash, total, runs: scattered.clone() },
            Outgoing::HaveMore { file: hash, runs: scattered },
        ] {
            let (expected, _) = weight(&message);
            a.handle(Instant::ZERO, LinkEvent::Send(message));
            let (_, heads, _) = sent(&mut a);
            assert!(heads.abs_diff(expected) <= 64, "{heads} bytes, {expected} expected");
        }
    }
}
