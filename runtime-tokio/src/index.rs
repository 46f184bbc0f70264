//! Making what lies in the HF cache ready to be shared: chunk lists of files that came by other ways, and the proof
//! that anyone may read them.

use crate::StoreHandles;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use zest_hub::Hub;
use zest_store::{Indexed, RepoId};

/// How long an answer "anyone may read this commit" is believed: 7 days.
pub(crate) const PUBLIC_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Renewed this long before it runs out, while the Hub answers: what turns private is noticed within a day.
const RENEW_BEFORE: Duration = Duration::from_secs(6 * 24 * 3600);

/// How far the index has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexProgress {
    /// Files looked at.
    pub files_done: usize,
    /// Files to look at.
    pub files_total: usize,
    /// Files whose content is not what their name says; they are not shared.
    pub mismatches: Vec<std::path::PathBuf>,
    /// Repositories and commits that anyone may read.
    pub public: usize,
    /// Those that are private or gated, or for which the Hub could not be asked: not shared.
    pub not_public: usize,
    /// Why the Hub could not be asked, if so.
    pub hub_error: Option<String>,
}

/// Indexes every file of the cache that is not indexed yet, and asks the Hub *anonymously* which commits anyone may read.
/// Without an answer nothing is shared. `report` is told after each step.
///
/// # Errors
/// None: a file that cannot be read is logged and left out.
pub async fn keep_index(
    store: Arc<StoreHandles>,
    hub: Option<Hub>,
    mut report: impl FnMut(&IndexProgress),
) -> IndexProgress {
    let mut progress = IndexProgress::default();
    let tasks = {
        let store = store.clone();
        tokio::task::spawn_blocking(move || {
            // What other processes fetched since is in their notes.
            store.catalog.refresh();
            store.catalog.unindexed(&store.cache)
        })
        .await
        .unwrap_or_default()
    };
    progress.files_total = tasks.len();
    report(&progress);
    // Cutting and hashing is one processor's work for one file, so as many files at once as there are processors.
    let width = std::thread::available_parallelism().map_or(2, usize::from);
    let mut tasks = tasks.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < width
            && let Some(task) = tasks.next()
        {
            let store = store.clone();
            running.spawn_blocking(move || (store.catalog.index(&task), task.path));
        }
        let Some(outcome) = running.join_next().await else { break };
        progress.files_done += 1;
        match outcome {
            Ok((Ok(Indexed::Mismatch { .. }), path)) => {
                tracing::warn!(path = %path.display(), "not what its name says; it will not be shared (see `zest verify`)");
                progress.mismatches.push(path);
            }
            Ok((Ok(_), _)) => {}
            Ok((Err(error), path)) => tracing::warn!(%error, path = %path.display(), "cannot index"),
            Err(error) => tracing::warn!(%error, "indexing ended early"),
        }
        report(&progress);
    }
    prove_public(&store, hub.as_ref(), &mut progress).await;
    report(&progress);
    progress
}

/// Asks for every catalogued commit whose proof is missing or about to run out.
async fn prove_public(store: &Arc<StoreHandles>, hub: Option<&Hub>, progress: &mut IndexProgress) {
    let commits: BTreeSet<(RepoId, String)> =
        store.catalog.files().into_iter().flat_map(|file| file.repos).collect();
    let soon = SystemTime::now() + RENEW_BEFORE;
    for (repo, commit) in commits {
        if store.catalog.public_until(&repo, &commit).is_some_and(|until| until > soon) {
            progress.public += 1;
            continue;
        }
        let answer = match hub {
            Some(hub) => hub.is_public(&repo, &commit).await.map_err(|error| error.to_string()),
            None => Err("offline".to_string()),
        };
        match answer {
            Ok(true) => match store.catalog.prove_public(&repo, &commit, SystemTime::now() + PUBLIC_FOR) {
                Ok(()) => progress.public += 1,
                Err(error) => progress.hub_error = Some(error.to_string()),
            },
            Ok(false) => {
                // What was public once and is no more is not shared any longer.
                if let Err(error) = store.catalog.prove_public(&repo, &commit, SystemTime::UNIX_EPOCH) {
                    tracing::debug!(%error, "cannot withdraw a public proof");
                }
                progress.not_public += 1;
            }
            Err(error) => {
                progress.not_public += 1;
                progress.hub_error = Some(error);
            }
        }
    }
}
