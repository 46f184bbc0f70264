//! Small files outside Xet: a thread of its own finds and proves them, for all cores, and remembers those that were asked for last.

use crate::inbox::{Inbox, Mail};
use crate::kept::{Kept, Small};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use zest_core::link::PlainKey;
use zest_core::{BufId, LinkId, ReqId};
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

/// What is known of a file that was found: what it was asked for by, as part of what it is given, and where it lay.
struct Found {
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
            let (mut kept, mut number) = (Kept::default(), 0);
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
    kept: &mut Kept<Found>,
    number: &mut u64,
    ask: &Ask,
) -> Option<Small> {
    let same = |small: &Small, of: &Found| of.key == ask.key && small.bytes.len() == ask.size as usize;
    if let Some((small, of)) = kept.take(same)
        // Another commit may have it, too; that is found out by reading it again.
        && catalog.gives_small(&of.of, Some(&of.path), ask.access)
    {
        kept.put(small.clone(), of);
        return Some(small);
    }
    let etag = ask.key.etag()?;
    let SmallFile { of, path, bytes } = catalog.small_file(cache, &etag, ask.size.into(), ask.access)?;
    *number += 1;
    let small = Small { id: BufId(*number), bytes: bytes.into() };
    kept.put(small.clone(), Found { key: ask.key, of, path });
    Some(small)
}
