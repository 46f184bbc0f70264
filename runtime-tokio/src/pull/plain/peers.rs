//! Which small files are asked of peers, and of whom.

use crate::context::Context;
use crate::pull::Pull;
use crate::small::{Came, key_of};
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
use zest_core::node::{Event, PlainSpec};
use zest_core::wire::zest::PLAIN_BYTES_MAX;
use zest_core::{LinkId, PlainId};
use zest_store::{Access, TreeEntry};
use zest_xet::Hash;

/// Files in Xet by which peers are told that have to do with a commit: 64, the largest. Ours; a large file is what somebody fetches for
/// long, and each is looked for at every peer.
const FILES_MAX: usize = 64;

/// A small file that a pull wants of peers, for as long as it does.
pub(super) struct Want {
    context: Rc<Context>,
    plain: PlainId,
    from: mpsc::UnboundedReceiver<Came>,
}

impl Want {
    fn new(context: &Rc<Context>, spec: PlainSpec) -> Self {
        let (plain, from) = context.small.want();
        context.event(Event::PlainWanted { plain, spec });
        Self { context: context.clone(), plain, from }
    }

    /// What a peer gave; none if the Hub is to be asked.
    pub(super) async fn came(&mut self) -> Option<(Bytes, LinkId)> {
        match self.from.recv().await? {
            Came::Bytes(bytes, link) => Some((bytes, link)),
            Came::Alone => None,
        }
    }

    /// What this peer gave is another file. Others are asked.
    pub(super) fn was_wrong(&self, link: LinkId) {
        self.context.event(Event::PlainBad { plain: self.plain, link });
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        self.context.small.over(self.plain);
        self.context.event(Event::PlainOver { plain: self.plain });
    }
}

impl Pull {
    /// Has peers asked for a small file, if they may hear of it.
    pub(super) fn want_of_peers(&self, entry: &TreeEntry) -> Option<Want> {
        let size =
            u32::try_from(entry.content_size()).ok().filter(|size| (1..=PLAIN_BYTES_MAX).contains(size))?;
        let catalog = &self.context.disk.store.catalog;
        let asks = self.options.p2p && self.commit.public_until.is_some() && entry.xet_hash.is_none();
        let of = &self.commit.whose;
        if !asks || !catalog.gives_small(of, None, Access::Near) {
            return None;
        }
        let near = !of.hub.as_ref().is_some_and(|hub| catalog.is_public_hub(hub));
        let spec = PlainSpec {
            key: key_of(entry)?,
            size,
            near,
            policy: self.options.policy,
            files: self.commit.xet.clone(),
            jobs_begin: self.jobs_begin.get(),
        };
        self.figures.has_small(spec.key);
        Some(Want::new(&self.context, spec))
    }
}

/// The files in Xet of a commit by whose swarms its peers are known.
pub(in crate::pull) fn swarm_of(entries: &[TreeEntry]) -> Arc<[Hash]> {
    let mut files: Vec<(u64, Hash)> =
        entries.iter().filter_map(|entry| Some((entry.content_size(), entry.xet_hash?))).collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    files.dedup();
    files.into_iter().take(FILES_MAX).map(|(_, hash)| hash).collect()
}
