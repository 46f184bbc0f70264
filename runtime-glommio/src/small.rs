//! Small files outside Xet: a thread of its own finds and proves them, for all cores, and remembers those that were asked for last.

use crate::inbox::{Inbox, Mail};
use crate::kept::Small;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use zest_core::link::PlainKey;
use zest_core::{BufId, LinkId, ReqId};
use zest_send::SmallFiles;
use zest_store::{Access, Catalog, Commit, HfCache, SmallFile};

/// A peer asks for a part of a small file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) link: LinkId,
    pub(crate) req: ReqId,
    pub(crate) key: PlainKey,
    pub(crate) size: u32,
    pub(crate) offset: u32,
    pub(crate) access: Access,
}

/// A file that was found: what it was asked for by, as part of what it is given, and where it lay.
struct Found {
    small: Small,
    key: PlainKey,
    of: Commit,
    path: PathBuf,
}

/// The way to the thread. It ends when all of these are gone.
#[derive(Debug, Clone)]
pub(crate) struct SmallClerk(mpsc::Sender<(Inbox, Ask)>);

impl SmallClerk {
    pub(crate) fn start(catalog: Arc<Catalog>, cache: Arc<HfCache>) -> std::io::Result<Self> {
        let (sender, asks) = mpsc::channel::<(Inbox, Ask)>();
        std::thread::Builder::new().name("zest-small".into()).spawn(move || {
            let (mut kept, mut number) = (SmallFiles::default(), 0);
            for (from, ask) in asks {
                let found = find(&catalog, &cache, &mut kept, &mut number, &ask);
                let Ask { link, req, size, offset, .. } = ask;
                from.post(Mail::Small { link, req, size, offset, found });
            }
        })?;
        Ok(Self(sender))
    }

    /// Asks; the answer comes as mail.
    pub(crate) fn ask(&self, answer_to: &Inbox, ask: Ask) {
        let _gone = self.0.send((answer_to.clone(), ask));
    }
}

fn find(
    catalog: &Catalog,
    cache: &HfCache,
    kept: &mut SmallFiles<Found>,
    number: &mut u64,
    ask: &Ask,
) -> Option<Small> {
    let same = |found: &Found| found.key == ask.key && found.small.bytes.len() == ask.size as usize;
    let gives = |found: &Found| catalog.gives_small(&found.of, Some(&found.path), ask.access);
    // Of one that may be given no more another commit may have the bytes, too; that is found out by reading it again.
    if let Some(Ok(found)) = kept.asked(same, gives) {
        return Some(found.small.clone());
    }
    let etag = ask.key.etag()?;
    let SmallFile { of, path, bytes } = catalog.small_file(cache, &etag, ask.size.into(), ask.access)?;
    *number += 1;
    let small = Small { id: BufId(*number), bytes: bytes.into() };
    kept.keep(small.bytes.len(), Found { small: small.clone(), key: ask.key, of, path });
    Some(small)
}
