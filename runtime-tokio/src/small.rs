//! Small files that are not in Xet: those that peers ask for, and those that pulls want of peers.

use crate::held::Held;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use zest_core::link::PlainKey;
use zest_core::{BufId, LinkId, PlainId, ReqId};
use zest_send::SmallFiles;
use zest_store::{Access, Catalog, Commit, SmallFile, TreeEntry};

/// A file in memory, proven when it was read.
struct Kept {
    key: PlainKey,
    of: Commit,
    /// Where it lay.
    path: PathBuf,
    id: BufId,
    size: usize,
}

/// A question that waits until a file is read.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) link: LinkId,
    pub(crate) req: ReqId,
    /// On whose behalf.
    pub(crate) access: Access,
    pub(crate) size: u32,
    pub(crate) offset: u32,
}

/// What becomes of a small file that is wanted.
pub(crate) enum Came {
    /// A peer gave this.
    Bytes(Bytes, LinkId),
    /// No peer gives it.
    Alone,
}

/// What is looked for: the file, its size, and whether for somebody near.
type What = (PlainKey, u32, bool);

#[derive(Default)]
pub(crate) struct Small {
    kept: RefCell<SmallFiles<Kept>>,
    /// Files that are looked for, and who waits for them.
    reading: RefCell<BTreeMap<What, Vec<Asked>>>,
    turn: Mutex<()>,
    /// Files that pulls want.
    wanted: RefCell<BTreeMap<PlainId, mpsc::UnboundedSender<Came>>>,
    /// The number of the last of them.
    number: Cell<u32>,
}

/// What proves a file, for the wire.
pub(crate) fn key_of(entry: &TreeEntry) -> Option<PlainKey> {
    match &entry.lfs_sha256 {
        Some(sha256) => digits(sha256).map(PlainKey::sha256),
        None => digits(&entry.blob_id).map(|id| PlainKey::git_blob(&id)),
    }
}

fn digits<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if hex.len() != 2 * N || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(out)
}

impl Small {
    /// A file that is in memory and may still be given.
    pub(crate) fn find(
        &self,
        catalog: &Catalog,
        held: &Held,
        key: &PlainKey,
        asked: &Asked,
    ) -> Option<BufId> {
        let is_it = |file: &Kept| file.key == *key && file.size == asked.size as usize;
        let gives = |file: &Kept| catalog.gives_small(&file.of, Some(&file.path), asked.access);
        match self.kept.borrow_mut().asked(is_it, gives)? {
            Ok(file) => Some(file.id),
            // Another commit may have it, too; that is found out by reading it again.
            Err(file) => {
                held.drop_records([file.id]);
                None
            }
        }
    }

    pub(crate) fn keep(&self, held: &Held, key: PlainKey, SmallFile { of, path, bytes }: SmallFile) {
        let size = bytes.len();
        let file = Kept { key, of, path, id: held.keep_records(bytes.into()), size };
        let gone = self.kept.borrow_mut().keep(size, file);
        held.drop_records(gone.into_iter().map(|old| old.id));
    }

    /// Which file lies in memory under this name.
    pub(crate) fn named(&self, id: BufId) -> Option<PlainKey> {
        self.kept.borrow().get(|file| file.id == id).map(|file| file.key)
    }

    /// All parts of a file came from one peer.
    pub(crate) fn came(&self, held: &Held, plain: PlainId, link: LinkId, bufs: Vec<BufId>) {
        let mut bytes = Vec::new();
        for buf in bufs {
            if let Some(buf) = held.take(buf) {
                bytes.extend_from_slice(buf.as_ref());
            }
        }
        self.tell(plain, Came::Bytes(bytes.into(), link));
    }

    /// Peers do not give a file.
    pub(crate) fn alone(&self, plain: PlainId) {
        self.tell(plain, Came::Alone);
    }

    /// Somebody asks for a file that has to be looked for. Says whether nobody looks for it yet.
    pub(crate) fn waits(&self, what: What, asked: Asked) -> bool {
        let mut reading = self.reading.borrow_mut();
        let first = !reading.contains_key(&what);
        reading.entry(what).or_default().push(asked);
        first
    }

    /// It was looked for: who waits.
    pub(crate) fn waited(&self, what: What) -> Vec<Asked> {
        self.reading.borrow_mut().remove(&what).unwrap_or_default()
    }

    /// One is looked for at a time: whatever strangers ask for, it takes one thread.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// A pull wants a file: its number, and what becomes of it.
    pub(crate) fn want(&self) -> (PlainId, mpsc::UnboundedReceiver<Came>) {
        self.number.set(self.number.get() + 1);
        let plain = PlainId(self.number.get());
        let (to, from) = mpsc::unbounded_channel();
        self.wanted.borrow_mut().insert(plain, to);
        (plain, from)
    }

    /// It wants it no more.
    pub(crate) fn over(&self, plain: PlainId) {
        self.wanted.borrow_mut().remove(&plain);
    }

    fn tell(&self, plain: PlainId, came: Came) {
        if let Some(to) = self.wanted.borrow().get(&plain) {
            let _ = to.send(came);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_cache_is_the_key_on_the_wire() {
        let entry = |lfs_sha256| TreeEntry {
            path: "a".into(),
            size: 1,
            blob_id: "0123456789abcdef0123456789abcdef01234567".into(),
            lfs_sha256,
            lfs_size: None,
            xet_hash: None,
        };
        for entry in [entry(None), entry(Some("0f".repeat(32)))] {
            let key = key_of(&entry).expect("it has a name");
            assert_eq!(key.etag().as_deref(), Some(entry.etag()));
        }
        assert!(key_of(&entry(Some("0g".repeat(32)))).is_none());
        let odd = PlainKey { kind: PlainKey::GIT_BLOB, ..PlainKey::sha256([1; 32]) };
        assert!(odd.etag().is_none() && PlainKey { kind: 9, ..odd }.etag().is_none());
    }
}
