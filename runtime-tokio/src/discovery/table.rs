//! The DHT's routing table on disk, so that the next start needs no bootstrap node.
//!
//! Several processes may share a cache. The one that has the lock goes on with the saved ids and writes the file; the others
//! only make use of the addresses, since two nodes with one id would each take the other's place in everybody's table.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zest_core::dht::Saved;
use zest_store::{FileLock, write_atomically};

/// Longest file that is read: 64 KiB. The longest that is written has 51 KiB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What a former run left.
#[derive(Debug, Default)]
pub(super) struct Table {
    path: Option<PathBuf>,
    /// Ours to write.
    lock: Option<FileLock>,
    /// What was saved.
    pub(super) saved: Option<Saved>,
}

impl Table {
    /// Reads what is there; a damaged file counts as none.
    pub(super) async fn open(path: Option<PathBuf>) -> Self {
        let Some(path) = path else { return Self::default() };
        tokio::task::spawn_blocking(move || {
            let lock = FileLock::try_acquire(&path.with_extension("lock"), 0o600).unwrap_or_else(|error| {
                tracing::debug!(%error, "the routing table of the DHT cannot be kept");
                None
            });
            let saved = read(&path).unwrap_or_else(|error| {
                tracing::debug!(%error, path = %path.display(), "no saved routing table");
                None
            });
            Self { path: Some(path), lock, saved }
        })
        .await
        .unwrap_or_default()
    }

    /// Whether the saved ids are ours.
    pub(super) fn is_ours(&self) -> bool {
        self.lock.is_some()
    }

    /// Writes what the DHT knows now.
    pub(super) async fn save(self: Rc<Self>, saved: Saved) {
        let Some(path) = self.path.clone().filter(|_| self.lock.is_some()) else { return };
        let written =
            tokio::task::spawn_blocking(move || write_atomically(&path, ".tmp", 0o600, &saved.to_bytes()));
        if let Ok(Err(error)) = written.await {
            tracing::debug!(%error, "the routing table of the DHT cannot be saved");
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Saved>> {
    use io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Saved::parse(&bytes).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_core::Instant;
    use zest_core::dht::{Config, Dht};

    #[tokio::test]
    async fn one_process_writes_and_the_other_only_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep").join("dht");
        let first = Rc::new(Table::open(Some(path.clone())).await);
        assert!(first.is_ours() && first.saved.is_none());
        let mut dht = Dht::new(Config::new([7; 32]));
        dht.handle(Instant::ZERO, zest_core::dht::Event::Timer);
        first.clone().save(dht.saved()).await;
        let second = Rc::new(Table::open(Some(path.clone())).await);
        assert!(!second.is_ours());
        assert_eq!(second.saved, Some(dht.saved()));
        second.save(Dht::new(Config::new([8; 32])).saved()).await;
        drop(first);
        let third = Table::open(Some(path.clone())).await;
        assert!(third.is_ours(), "the lock went with its holder");
        assert_eq!(third.saved, Some(dht.saved()));
        std::fs::write(&path, b"garbage").unwrap();
        assert_eq!(Table::open(Some(path)).await.saved, None);
    }
}
