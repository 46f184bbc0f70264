//! One copy on the disk. A client that has the daemon's own cache, as most have, is given a file and puts its own copy where ours is: it is
//! made one again once the client has done so.

use super::answers::blocking;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zest_runtime_tokio::{PullHandle, Session};
use zest_store::{Identity, RepoId, TreeEntry};

/// Time between two looks while a client is still at a file: 100 ms, and twice as long each time.
const LOOK: Duration = Duration::from_millis(100);
/// And at most: 5 s.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Files that are watched at once, at most. Ours; of others two copies may stay.
const WATCHED_MAX: usize = 1024;

/// Files that are watched, by repository and name of the blob.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched(Arc<Mutex<BTreeSet<(RepoId, String)>>>);

/// A file that somebody is given.
#[derive(Debug, Clone)]
struct Given {
    session: Session,
    repo: RepoId,
    commit: String,
    entry: TreeEntry,
}

impl Watched {
    /// Watches a file that is given to a client, once it is here: as long as somebody has its lock, as that client does if it has this cache.
    pub(super) fn watch(
        &self,
        session: &Session,
        (repo, commit, entry): (&RepoId, &str, &TreeEntry),
        comes: Option<PullHandle>,
    ) {
        if entry.xet_hash.is_none() {
            return;
        }
        let of = (repo.clone(), entry.etag().to_owned());
        {
            let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if watched.len() >= WATCHED_MAX || !watched.insert(of.clone()) {
                return;
            }
        }
        let (session, commit, entry) = (session.clone(), commit.to_owned(), entry.clone());
        let (watched, given) = (self.clone(), Given { session, repo: repo.clone(), commit, entry });
        tokio::spawn(async move {
            let is_here = match comes {
                Some(pull) => pull.wait().await.is_ok(),
                None => true,
            };
            let mut pause = LOOK;
            while is_here && given.is_somebody_at_it().await {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LOOK_MAX);
            }
            watched.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&of);
        });
    }
}

impl Given {
    /// Makes one of two copies, unless somebody has the file's lock.
    async fn is_somebody_at_it(&self) -> bool {
        let given = self.clone();
        let united = blocking(move || {
            let store = given.session.store();
            let is_proven = |shared: &Identity| store.catalog.is_proven(shared, &given.entry);
            store.cache.unite(&given.repo, &given.commit, &given.entry, is_proven)
        });
        let path = &self.entry.path;
        match united.await {
            Ok(None) => return true,
            Ok(Some(true)) => {
                tracing::info!(target: "zest::endpoint", path, "a client's own copy is another name of ours now");
            }
            Ok(Some(false)) => {}
            Err(why) => tracing::warn!(
                target: zest_store::SAID,
                kind = "two-copies",
                "{path} lies there twice, as the program that asked for it has a copy of its own: {why}"
            ),
        }
        false
    }
}
