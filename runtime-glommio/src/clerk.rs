//! The thread that may wait for the disk: it opens files and searches the original's caches, for all cores.

use crate::files::Found;
use crate::inbox::{Inbox, Mail};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc;
use zest_core::link::{Body, Dialect, Outgoing};
use zest_core::node::Event;
use zest_core::{LinkId, Location, ReqId};
use zest_store::{Access, Catalog, FileId, Located};
use zest_xet::{ChunkHeader, Hash, Scheme};

/// Longest xorb range that is answered: what zest 0.4 accepts, less its heads (64 MiB + 1024 is its frame limit).
const XORB_RANGE_BYTES_MAX: u64 = (64 << 20) + 1009;

/// Something that takes time.
#[derive(Debug)]
pub(crate) enum Question {
    /// Open a file.
    Open(FileId),
    /// Look for a chunk that is on no shelf.
    Chunk { link: LinkId, req: ReqId, hash: Hash, dialect: Dialect, access: Access },
    /// Look for chunks of a xorb.
    Xorb { link: LinkId, req: ReqId, xorb: Hash, start: u32, end: u32, access: Access },
}

/// The way to the clerk. It ends when all of these are gone.
#[derive(Debug, Clone)]
pub(crate) struct Clerk(mpsc::Sender<(Inbox, Question)>);

impl Clerk {
    pub(crate) fn start(catalog: Arc<Catalog>) -> std::io::Result<Self> {
        let (sender, asks) = mpsc::channel::<(Inbox, Question)>();
        std::thread::Builder::new().name("zest-clerk".into()).spawn(move || {
            for (from, ask) in asks {
                from.post(answer(&catalog, ask));
            }
        })?;
        Ok(Self(sender))
    }

    /// Asks; the answer comes as mail.
    pub(crate) fn ask(&self, answer_to: &Inbox, ask: Question) {
        // It ends after all executors; if it ended early, links run into their own deadlines.
        let _gone = self.0.send((answer_to.clone(), ask));
    }
}

fn answer(catalog: &Catalog, ask: Question) -> Mail {
    match ask {
        Question::Open(file) => Mail::Opened { file, found: Found::look(catalog, file) },
        Question::Chunk { link, req, hash, dialect, access } => {
            let place = catalog.locate(&hash, access).map(|found| location(&found));
            Mail::Event(Event::ChunkLocated { link, req, hash, dialect, place })
        }
        Question::Xorb { link, req, xorb, start, end, access } => {
            let answer = xorb_answer(catalog, req.0, xorb, start..end, access);
            Mail::Event(Event::XorbLocated { link, answer })
        }
    }
}

pub(crate) fn location(found: &Located) -> Location {
    Location { file: zest_core::FileId(found.file.0), offset: found.offset, len: found.len }
}

/// Chunks of a xorb, serialised, for a zest 0.4 peer: from a file of the original as it lies there; else our files, which
/// hold them uncompressed, each with a header of scheme "none"; else, as the original does, a single chunk of that name.
fn xorb_answer(catalog: &Catalog, req: u32, xorb: Hash, range: Range<u32>, access: Access) -> Outgoing {
    let Range { start, end } = range;
    let open = |file: FileId| catalog.open_file(file).is_some();
    if let Some(found) = catalog.original_xorb(&xorb, start..end, access)
        && found.len <= XORB_RANGE_BYTES_MAX
        && open(found.file)
    {
        let len = found.len as u32;
        let file = zest_core::FileId(found.file.0);
        let body = Body::File(Location { file, offset: found.offset, len });
        return Outgoing::XorbBytes { req, xorb, start: found.first, body, len };
    }
    let chunks = if start < end { catalog.xorb_range(&xorb, start..end, access) } else { None };
    let Some(chunks) = chunks else {
        return match catalog.locate(&xorb, access) {
            Some(found) => {
                let body = Body::File(location(&found));
                Outgoing::XorbBytes { req, xorb, start: 0, body, len: found.len }
            }
            None => Outgoing::NotFound { req, hash: xorb, dialect: Dialect::Range },
        };
    };
    let bytes: u64 = chunks.iter().map(|chunk| u64::from(chunk.len) + ChunkHeader::BYTES as u64).sum();
    if bytes > XORB_RANGE_BYTES_MAX {
        return Outgoing::NotFound { req, hash: xorb, dialect: Dialect::Range };
    }
    let parts = chunks.iter().map(|chunk| {
        let header = ChunkHeader { packed_len: chunk.len, scheme: Scheme::None, len: chunk.len };
        (header.encode(), Body::File(location(chunk)))
    });
    Outgoing::XorbRange { req, xorb, start, parts: parts.collect() }
}
