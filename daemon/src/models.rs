//! `GET /v1/models`: what lies in the cache, and whether it is shared.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zest_runtime_tokio::{Giving, Session};
use zest_store::RepoId;

/// How long a list is used: 2 s. It is a walk over all snapshots.
const LIST_FOR: Duration = Duration::from_secs(2);

/// One commit of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Model {
    /// `ORG/NAME`.
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    commit: String,
    /// Files that are here.
    files: u64,
    /// Their bytes.
    bytes: u64,
    /// Files that the repository has, as far as its listing is here.
    files_total: u64,
    /// Files that are given to those who may have them.
    files_shared: u64,
    bytes_shared: u64,
    /// Why not all of it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_shared: Option<&'static str>,
}

/// The list, and when it was made.
#[derive(Debug, Default)]
pub(crate) struct Models(tokio::sync::Mutex<Option<(Instant, Arc<Vec<Model>>)>>);

impl Models {
    pub(crate) async fn of(&self, session: &Session) -> Arc<Vec<Model>> {
        // One walk at a time.
        let mut last = self.0.lock().await;
        if let Some((at, list)) = &*last
            && at.elapsed() < LIST_FOR
        {
            return list.clone();
        }
        let session = session.clone();
        let list = tokio::task::spawn_blocking(move || list(&session)).await.unwrap_or_default();
        let list = Arc::new(list);
        *last = Some((Instant::now(), list.clone()));
        list
    }
}

/// Files of a commit in the catalog, and those of them that lie outside the shared folders.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    files: u64,
    astray: u64,
}

/// Blocking.
fn list(session: &Session) -> Vec<Model> {
    let store = session.store();
    let giving = session.given_to();
    let shared = session.giving().borrow().clone();
    let mut known: BTreeMap<(RepoId, String), Known> = BTreeMap::new();
    for file in store.catalog.files() {
        // Several Hubs may have shown the same commit.
        let commits: BTreeSet<(RepoId, String)> =
            file.commits.into_iter().map(|of| (of.repo, of.commit)).collect();
        for of in commits {
            let known = known.entry(of).or_default();
            known.files += 1;
            known.astray += u64::from(!file.lies_right);
        }
    }
    let mut models = Vec::new();
    for repo in store.cache.repos() {
        for commit in store.cache.commits(&repo) {
            let all = store.cache.snapshot(&repo, &commit);
            let here: Vec<u64> = all
                .iter()
                .filter(|file| file.path.metadata().is_ok_and(|meta| meta.is_file()))
                .map(|file| file.entry.content_size())
                .collect();
            let amount = shared.shared.get(&repo, &commit).unwrap_or_default();
            let known = known.get(&(repo.clone(), commit.clone())).copied().unwrap_or_default();
            let not_shared = why_not(giving, known, amount.files, shared.looks > 0, here.len() == all.len());
            models.push(Model {
                name: repo.name.clone(),
                kind: repo.kind.as_str(),
                commit,
                files: here.len() as u64,
                bytes: here.iter().sum(),
                files_total: all.len() as u64,
                files_shared: amount.files,
                bytes_shared: amount.bytes,
                not_shared,
            });
        }
    }
    models
}

/// Why what could be shared of a commit is not, in the order of what comes first.
fn why_not(giving: Giving, known: Known, shared: u64, looked: bool, is_whole: bool) -> Option<&'static str> {
    match known {
        _ if giving == Giving::Nobody => Some("what is here is uploaded to nobody"),
        Known { files: 0, .. } if !is_whole => Some("it is not whole yet"),
        Known { files: 0, .. } if !looked => Some("not indexed yet"),
        Known { files: 0, .. } => Some("none of its files is in Xet storage"),
        Known { files, .. } if shared >= files => None,
        Known { files, astray } if astray == files => Some("it lies in no folder that is shared"),
        _ => Some("its Hub has not said that anybody may read it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_why_something_is_not_shared() {
        let why =
            |files, astray, shared| why_not(Giving::Everyone, Known { files, astray }, shared, true, true);
        assert_eq!(why(2, 0, 2), None);
        assert!(why(2, 0, 0).is_some_and(|why| why.contains("Hub")));
        assert!(why(2, 2, 0).is_some_and(|why| why.contains("folder")));
        assert!(why(0, 0, 0).is_some_and(|why| why.contains("Xet")));
        let known = Known { files: 2, astray: 0 };
        assert!(why_not(Giving::Nobody, known, 2, true, true).is_some_and(|why| why.contains("nobody")));
        let part = why_not(Giving::Network, Known::default(), 0, true, false);
        assert!(part.is_some_and(|why| why.contains("whole")), "{part:?}");
        assert!(
            why_not(Giving::Network, Known::default(), 0, false, true).is_some_and(|why| why.contains("yet"))
        );
    }
}
