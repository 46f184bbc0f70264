//! Message formats of the wire: bencode, the extension handshake, `ut_xet` in every layout, our own extension.

use zest_core::bencode::{self, Encoder, Value};
use zest_core::wire::client_name::CLIENT_BYTES_MAX;
use zest_core::wire::ext_handshake::{ExtHandshake, Extension};
use zest_core::wire::xet::{self, Dialect, Incoming, Pending, PendingTable, Step};
use zest_core::wire::zest::{self, ZestMessage};
use zest_xet::Hash;

use crate::cursor::Cursor;

/// Input: the document. What is read can be walked and, if its keys are sorted, written again byte for byte.
pub fn bencode(input: &[u8]) {
    let lenient = bencode::lenient_dict(input).map(|dict| dict.iter().count());
    let Ok(value) = bencode::parse(input) else { return };
    if let Value::Dict(dict) = value {
        assert_eq!(
            lenient,
            Ok(dict.iter().count()),
            "a sound dictionary is read whole by the lenient reader"
        );
        for (key, _) in dict.iter() {
            assert!(dict.get(key).is_some(), "a key that is listed is found");
        }
    }
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    if rewrite(value, &mut encoder) {
        encoder.finish();
        assert_eq!(out, input, "one document has one form");
    }
}

/// Writes `value` again; false if its keys are out of order. The reader bounds the depth.
fn rewrite(value: Value<'_>, encoder: &mut Encoder<'_>) -> bool {
    match value {
        Value::Int(int) => drop(encoder.int(int)),
        Value::Bytes(bytes) => drop(encoder.bytes(bytes)),
        Value::List(list) => {
            encoder.list();
            if !list.iter().all(|value| rewrite(value, encoder)) {
                return false;
            }
            encoder.end();
        }
        Value::Dict(dict) => {
            encoder.dict();
            let mut last: Option<&[u8]> = None;
            for (key, value) in dict.iter() {
                if last.is_some_and(|last| last >= key) {
                    return false;
                }
                last = Some(key);
                encoder.key(key);
                if !rewrite(value, encoder) {
                    return false;
                }
            }
            encoder.end();
        }
    }
    true
}

/// Input: u8 guess, u16 length of the first handshake, the first, the second. What is kept stays within its bounds, and
/// hearing the same again changes nothing.
pub fn ext_handshake(input: &[u8]) {
    let mut input = Cursor::new(input);
    let guess = if input.u8() & 1 == 0 { Dialect::Chunk } else { Dialect::Range };
    let len = input.u16();
    let first = input.bytes(len.into());
    let second = input.rest();

    let mut heard = ExtHandshake::empty(guess);
    for message in [first, second] {
        let before = heard.clone();
        if !heard.update(message) {
            assert_eq!(heard, before, "a refused handshake changes nothing");
            continue;
        }
        assert!(heard.client.len() <= CLIENT_BYTES_MAX, "a name is bounded");
        assert!(!heard.client.chars().any(char::is_control), "a name can be shown on a terminal");
        assert_ne!(heard.listen_port, Some(0), "port 0 is no port");
        for id in Extension::ALL.map(|extension| heard.id(extension)).into_iter().chain([heard.xet_id()]) {
            assert_ne!(id, Some(0), "0 is the handshake's own id");
        }
        let once = heard.clone();
        assert!(heard.update(message), "what was taken once is taken again");
        assert_eq!(heard, once, "hearing the same again changes nothing");
    }
}

/// What is pending, as the input says.
struct Table(Vec<Pending>);

impl PendingTable for Table {
    fn by_id(&self, req: u32) -> Option<Pending> {
        self.0.iter().find(|pending| pending.req == req).copied()
    }

    fn by_hash(&self, hash: &Hash) -> Option<Pending> {
        self.0.iter().find(|pending| pending.hash == *hash).copied()
    }
}

/// The hash of a pending request, from its first byte: every byte is one more than the one before, so that the hash is
/// found at one place of a message only.
pub(crate) fn rising_hash(first: u8) -> Hash {
    Hash::from_bytes(std::array::from_fn(|at| first.wrapping_add(at as u8)))
}

/// Input: u8 number of pending requests (mod 4), each u8 dialect, u8 id, u8 first byte of its hash; u16 bytes of the
/// message that are not there; the message after the extension id.
///
/// Reading in stages, as bytes come, gives what reading all at once gives, asks only for bytes within the message and
/// never for a byte of a payload. What was read is written again byte for byte.
pub fn xet_message(input: &[u8]) {
    let mut input = Cursor::new(input);
    let mut table = Table(Vec::new());
    for _ in 0..input.u8() % 4 {
        let dialect = [Dialect::Chunk, Dialect::Range, Dialect::Doc][usize::from(input.u8() % 3)];
        let (req, hash) = (u32::from(input.u8()), rising_hash(input.u8()));
        if table.by_id(req).is_none() {
            table.0.push(Pending { req, dialect, hash });
        }
    }
    let missing = u32::from(input.u16());
    let message = input.rest();
    let Ok(len) = u32::try_from(message.len()) else { return };
    let len = len + missing;

    let mut seen = 0;
    let found = loop {
        match xet::classify(&message[..seen], len, &table) {
            Step::Need(need) => {
                assert!(need as usize > seen && need <= len, "{need} bytes of {len}, {seen} there");
                seen = need as usize;
                if seen > message.len() {
                    return;
                }
            }
            Step::Is(found) => break found,
        }
    };
    for more in [seen + (message.len() - seen) / 2, message.len()] {
        let again = xet::classify(&message[..more], len, &table);
        assert_eq!(again, Step::Is(found.clone()), "more bytes do not change the reading");
    }
    check_xet(&found, message, len, seen, &table);
}

fn check_xet(found: &Incoming<'_>, message: &[u8], len: u32, seen: usize, table: &Table) {
    let written = match *found {
        Incoming::ChunkRequest { req, hash, dialect } => xet::chunk_request(1, dialect, req, &hash),
        Incoming::XorbRequest { req, xorb, start, end } => xet::xorb_request(1, req, &xorb, start, end),
        Incoming::Answer { req, dialect, head, start, len: payload } => {
            assert_eq!(head as usize, seen, "no byte of the payload was looked at");
            assert_eq!(head + payload, len, "head and payload are the whole message");
            let hash = table.by_id(req).expect("an answer answers a pending request").hash;
            if let Some(rest) = message.get(head as usize..).and_then(xet::other_reading) {
                assert_eq!(rest.len() as u32 + 4 + head, message.len() as u32, "the rest of the payload");
            }
            if head == 36 {
                // The literal reading of the documentation has no type byte; it is never written.
                return;
            }
            xet::answer_head(1, dialect, req, &hash, start, payload, &[])
        }
        Incoming::NotFound { req, dialect } => {
            let hash = table.by_id(req).expect("a refusal answers a pending request").hash;
            // 37 bytes with the hash are read for every dialect, and written only for one; naked ones never are.
            let dialect = if len == 37 { Dialect::Range } else { dialect };
            if len == 32 {
                return;
            }
            xet::not_found(1, dialect, req, &hash)
        }
        Incoming::Error { req, code, text } => {
            let hash = table.by_id(req).expect("an error answers a pending request").hash;
            assert!(text.len() <= xet::ERROR_TEXT_BYTES_MAX as usize, "a text is bounded");
            let by_id = message.get(..5).is_some_and(|head| head[0] == 4 && head[1..] == req.to_be_bytes());
            let by_hash = len >= 37 && message[0] == 4 && message.get(1..33) == Some(&hash.as_bytes()[..]);
            let dialect = match (by_id, by_hash) {
                (true, _) => Dialect::Chunk,
                (false, true) => Dialect::Doc,
                // Without a type byte: never written.
                (false, false) => return,
            };
            let head = xet::error(1, dialect, req, &hash, code, text);
            let written = &head.as_bytes()[6..];
            assert_eq!(written, &message[..written.len()], "an error is written as it was read");
            return;
        }
        Incoming::Unsolicited { .. } | Incoming::BadLength { .. } | Incoming::Unknown => return,
    };
    let written = written.as_bytes();
    assert_eq!(written[..4], (len + 2).to_be_bytes(), "the frame has the length of the message");
    let written = &written[6..];
    assert_eq!(written, &message[..written.len()], "a message is written as it was read");
}

/// Input: u16 bytes of the message that are not there, the message after the extension id. What is read is within the
/// limits of its kind and written again byte for byte.
pub fn zest_message(input: &[u8]) {
    let mut input = Cursor::new(input);
    let missing = u32::from(input.u16());
    let message = input.rest();
    let (Ok(len), Some(&kind)) = (u32::try_from(message.len()), message.first()) else { return };
    let len = len + missing;
    let needed = zest::bytes_needed(kind, len);
    let parsed = zest::parse(message, len);
    let needed = match needed {
        Ok(needed) => needed,
        Err(error) => return assert_eq!(parsed, Err(error), "what is refused by its length stays refused"),
    };
    assert!((1..=len).contains(&needed), "needs some of the message and no more");
    let Ok(parsed) = parsed else { return };
    if let Some(enough) = message.get(..needed as usize) {
        assert_eq!(zest::parse(enough, len), Ok(parsed.clone()), "the needed bytes suffice");
    }
    let mut written = Vec::new();
    match parsed {
        zest::Incoming::Unknown => return,
        zest::Incoming::ManifestPart { req, part } => {
            let promised = part.count.checked_mul(zest::MANIFEST_RECORD_BYTES);
            let room = len - zest::MANIFEST_PART_HEAD_BYTES;
            if promised != Some(room) || !(1..=zest::MANIFEST_PART_RECORDS_MAX).contains(&part.count) {
                return;
            }
            written.push(zest::manifest_part_head(3, req, part));
        }
        zest::Incoming::PlainPart { req } => {
            written.push(zest::plain_part_head(3, req, len - zest::PLAIN_PART_HEAD_BYTES));
        }
        zest::Incoming::Message(message) => {
            check_lists(&message);
            zest::write(3, &message, |head| written.push(head));
        }
    }
    // An empty list is never written.
    let [written] = &written[..] else {
        return assert!(written.is_empty(), "what came in one message fits one");
    };
    let written = written.as_bytes();
    assert_eq!(written[..4], (len + 2).to_be_bytes(), "the frame has the length of the message");
    let written = &written[6..];
    assert_eq!(written, &message[..written.len()], "a message is written as it was read");
}

/// Lists are as long and as orderly as the table says.
fn check_lists(message: &ZestMessage) {
    match message {
        ZestMessage::Have { total, runs, .. } => check_runs(runs, *total),
        ZestMessage::HaveMore { runs, .. } => check_runs(runs, u32::MAX),
        ZestMessage::Claim { claims, .. } => assert!(claims.len() <= zest::CLAIMS_MAX, "claims are bounded"),
        ZestMessage::Told { records, .. } => {
            assert!(records.len() <= zest::TOLD_RECORDS_MAX, "records are bounded");
        }
        _ => {}
    }
}

/// Runs are in order, apart from one another, and within the total.
fn check_runs(runs: &[(u32, u32)], total: u32) {
    let mut end = None;
    for &(first, count) in runs {
        assert!(count > 0, "a run is not empty");
        assert!(end.is_none_or(|end| first > end), "runs are in order and do not touch");
        end = Some(first.checked_add(count).expect("a run does not overflow"));
    }
    assert!(end.is_none_or(|end| end <= total), "runs lie within the file");
}
