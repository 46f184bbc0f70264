//! Making what lies in the HF cache ready to be shared: chunk lists of files that came by other ways, and the proof
//! that anyone may read them.

use crate::StoreHandles;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use zest_hub::{ErrorKind, Hub, HubError};
use zest_store::{Catalog, Commit, Endpoint, FileStatus, IndexTask, Indexed, RepoId, SAID, is_commit};
use zest_xet::Hash;

/// An answer is asked for anew once it is this old: 6 h, half its life.
const RENEW_FROM: Duration = Duration::from_secs(6 * 3600);
/// Up to so much later, each commit at a time of its own: 5 h. What was learnt at once is not asked for at once.
const RENEW_SPREAD: Duration = Duration::from_secs(5 * 3600);
/// Questions of one look: 100. Ours; with a look every two minutes that is half of what the Hub allows an address without a
/// token (500 requests in five minutes).
const QUESTIONS_MAX: usize = 100;
/// Longest wait for one answer, tries and pauses together: 30 s. Later looks ask again.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Answers that are none, after which the rest is left to the next look: 3.
const FAILURES_MAX: u32 = 3;

/// How far the index has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IndexProgress {
    /// Files looked at.
    pub files_done: usize,
    /// Files to look at.
    pub files_total: usize,
    /// Files whose content is not what their name says; they are not shared.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub mismatches: Vec<std::path::PathBuf>,
    /// Repositories and commits that anyone may read.
    pub public: usize,
    /// Those that are private or gated, or for which the Hub could not be asked: not shared.
    pub not_public: usize,
    /// Those of them that are to be asked about next time, because this look has asked enough.
    pub unasked: usize,
    /// Those that the user does not want shared: the Hub is not asked about them, and they are not counted above.
    pub denied: usize,
    /// Why the Hub could not be asked, if so.
    pub hub_error: Option<String>,
}

fn as_text<S: serde::Serializer>(paths: &[std::path::PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

impl IndexProgress {
    /// Progress in one cache on top of that in others. What is public is counted over the whole catalog each time.
    pub(crate) fn and(&self, now: &Self) -> Self {
        Self {
            files_done: self.files_done + now.files_done,
            files_total: self.files_total + now.files_total,
            mismatches: self.mismatches.iter().chain(&now.mismatches).cloned().collect(),
            public: now.public,
            not_public: now.not_public,
            unasked: now.unasked,
            denied: now.denied,
            hub_error: now.hub_error.clone(),
        }
    }
}

/// Indexes every file of the cache that is not indexed yet, and asks the Hub *anonymously* which commits anyone may read.
/// Without an answer nothing is shared. `report` is told after each step.
///
/// What is known is asked about before new files are read: reading takes hours where much is new.
///
/// # Errors
/// None: a file that cannot be read is logged and left out.
pub async fn keep_index(
    store: Arc<StoreHandles>,
    hub: Option<Hub>,
    mut report: impl FnMut(&IndexProgress),
) -> IndexProgress {
    let mut progress = IndexProgress::default();
    let mut questions = Questions::new(&store, hub);
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
    questions.ask(&mut progress).await;
    report(&progress);
    index(&store, tasks, &mut progress, &mut report).await;
    questions.ask(&mut progress).await;
    report(&progress);
    progress
}

async fn index(
    store: &Arc<StoreHandles>,
    tasks: Vec<IndexTask>,
    progress: &mut IndexProgress,
    report: &mut impl FnMut(&IndexProgress),
) {
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
            Ok((Err(error), path)) => {
                let path = path.display();
                tracing::warn!(target: SAID, kind = "unreadable", "not shared: {path} cannot be looked at: {error}");
            }
            // Our own fault: it has panicked, which says more.
            Err(error) => tracing::error!(%error, "looking at a file ended badly"),
        }
        report(progress);
    }
}

/// What is asked of the Hub in one look.
struct Questions {
    catalog: Arc<Catalog>,
    /// Without a token: the question is what anybody may read.
    hub: Option<Hub>,
    asked: BTreeSet<Commit>,
    failures: u32,
}

impl Questions {
    fn new(store: &Arc<StoreHandles>, hub: Option<Hub>) -> Self {
        let catalog = store.catalog.clone();
        let hub = hub.and_then(|hub| hub.anonymous().ok());
        if let Some(hub) = &hub {
            withdraw_what_is_refused(hub, &catalog, |_, _| {});
        }
        Self { catalog, hub, asked: BTreeSet::new(), failures: 0 }
    }

    /// Asks for every catalogued commit whose proof is missing or old, oldest first, and counts. Nothing is asked about a
    /// commit that came from another Hub: its name is none of this one's business.
    async fn ask(&mut self, progress: &mut IndexProgress) {
        // Of what is not to be shared nobody is told the name, nor asked.
        let files: Vec<FileStatus> =
            self.catalog.files().into_iter().filter(|file| file.lies_right).collect();
        let own = self.hub.as_ref().map(Hub::endpoint);
        let commits: BTreeSet<Commit> = files.iter().flat_map(|file| file.commits.iter().cloned()).collect();
        let commits: BTreeSet<Commit> =
            commits.into_iter().filter(|of| !self.catalog.is_denied(&of.repo)).collect();
        let asked_here = |commit: &&Commit| own.is_none() || commit.hub.is_none() || commit.hub == own;
        let mut due: Vec<(Option<SystemTime>, Commit)> = Vec::new();
        for commit in commits.iter().filter(asked_here).filter(|commit| !self.asked.contains(*commit)) {
            let hub = commit.hub.as_ref();
            let proof = hub.and_then(|hub| self.catalog.public_proof(hub, &commit.repo, &commit.commit));
            let asked = proof.map(|proof| proof.asked);
            if asked.is_none_or(|asked| is_due(asked, &commit.commit)) {
                due.push((asked, commit.clone()));
            }
        }
        due.sort();
        let mut unasked = BTreeSet::new();
        for (_, commit) in due {
            if self.asked.len() >= QUESTIONS_MAX || self.failures >= FAILURES_MAX {
                unasked.insert(commit);
                continue;
            }
            self.asked.insert(commit.clone());
            if let Err(error) = self.ask_one(&commit, &files).await {
                self.stretch(&commit);
                progress.hub_error = Some(error);
            }
        }
        if self.failures >= FAILURES_MAX {
            // These would have failed too.
            unasked.iter().for_each(|commit| self.stretch(commit));
        }
        // What was nobody's may have been found to be this Hub's.
        let files = self.catalog.files().into_iter().filter(|file| file.lies_right);
        let commits: BTreeSet<Commit> = files.flat_map(|file| file.commits).collect();
        let (denied, commits): (BTreeSet<Commit>, BTreeSet<Commit>) =
            commits.into_iter().partition(|of| self.catalog.is_denied(&of.repo));
        progress.denied = denied.len();
        let public = |commit: &&Commit| {
            let hub = commit.hub.as_ref();
            hub.is_some_and(|hub| self.catalog.public_until(hub, &commit.repo, &commit.commit).is_some())
        };
        progress.public = commits.iter().filter(public).count();
        progress.not_public = commits.len() - progress.public;
        progress.unasked = unasked.iter().filter(|commit| !public(commit)).count();
    }

    fn stretch(&self, commit: &Commit) {
        if let Some(hub) = &commit.hub {
            self.catalog.stretch_public(hub, &commit.repo, &commit.commit);
        }
    }

    async fn ask_one(&mut self, of: &Commit, files: &[FileStatus]) -> Result<(), String> {
        let Some(hub) = self.hub.clone() else {
            self.failures = FAILURES_MAX;
            return Err("offline".to_owned());
        };
        let (endpoint, Commit { repo, commit, .. }) = (hub.endpoint(), of);
        let asked = zest_store::aging_now();
        let answer = match tokio::time::timeout(ANSWER_WAIT, hub.is_public(repo, commit)).await {
            Ok(answer) => answer.map_err(|error| self.failed(&error))?,
            Err(_) => {
                self.failures = FAILURES_MAX;
                return Err(format!("the Hub gave no answer within {} s", ANSWER_WAIT.as_secs()));
            }
        };
        let known = of.hub.is_some();
        let here: BTreeSet<Hash> = match known {
            true => BTreeSet::new(),
            // Its files are the Hub's if its own list names them.
            false => files.iter().filter(|file| file.commits.contains(of)).map(|file| file.file).collect(),
        };
        if !answer {
            // What was public once and is no more is not shared any longer.
            withdraw(&self.catalog, &endpoint, repo, Some(commit));
            if !known && self.catalog.is_public_hub(&endpoint) {
                self.attribute(&endpoint, of, here);
            }
            return Ok(());
        }
        if !known {
            let listed = hub.tree(repo, commit).await.map_err(|error| self.failed(&error))?;
            let listed: BTreeSet<Hash> = listed.iter().filter_map(|entry| entry.xet_hash).collect();
            self.attribute(&endpoint, of, &here & &listed);
        }
        if let Err(error) = self.catalog.prove_public(&endpoint, repo, commit, asked) {
            let name = &repo.name;
            tracing::warn!(target: SAID, kind = "not-noted", "that everyone may read {name} cannot be noted, so others ask again: {error}");
        }
        Ok(())
    }

    fn attribute(&self, hub: &Endpoint, of: &Commit, files: BTreeSet<Hash>) {
        let files: Vec<Hash> = files.into_iter().collect();
        if let Err(error) = self.catalog.attribute(hub, &of.repo, &of.commit, &files) {
            tracing::warn!(target: SAID, kind = "not-noted", "where files came from cannot be noted, so it is asked again: {error}");
        }
    }

    /// Notes a failure, and says it.
    fn failed(&mut self, error: &HubError) -> String {
        let all_fail = matches!(error.kind(), ErrorKind::Offline | ErrorKind::RateLimited { .. });
        self.failures += if all_fail { FAILURES_MAX } else { 1 };
        error.to_string()
    }
}

/// Whether an answer of then is to be asked for anew. The time between the two ends is the commit's own: its first digits.
fn is_due(asked: SystemTime, commit: &str) -> bool {
    let lot = commit.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let wait = RENEW_FROM + Duration::from_secs(lot % RENEW_SPREAD.as_secs());
    zest_store::aging_now().duration_since(asked).unwrap_or_default() >= wait
}

fn withdraw(catalog: &Catalog, hub: &Endpoint, repo: &RepoId, commit: Option<&str>) {
    let written = match commit {
        Some(commit) => catalog.revoke_public(hub, repo, commit),
        None => catalog.revoke_repo(hub, repo),
    };
    if let Err(error) = written {
        let name = &repo.name;
        tracing::warn!(target: SAID, kind = "not-noted", "{name} is not shared any more, and other processes cannot be told: {error}");
    }
}

/// From now on what the Hub refuses to a request of this client, whatever it was for, is shared no longer. `tell` hears of
/// those refusals after which it is no use to go on with the repository.
pub(crate) fn withdraw_what_is_refused(
    hub: &Hub,
    catalog: &Arc<Catalog>,
    tell: impl Fn(&RepoId, &HubError) + Send + Sync + 'static,
) {
    let (catalog, endpoint) = (catalog.clone(), hub.endpoint());
    hub.watch_refusals(move |refusal| {
        let of_commit = match refusal.error.kind() {
            // A name that is not in a commit says nothing of the others in it, and a branch that is not there nothing of a commit.
            ErrorKind::EntryNotFound => return,
            ErrorKind::RevisionNotFound if !is_commit(refusal.revision) => return,
            ErrorKind::RevisionNotFound => Some(refusal.revision),
            _ => None,
        };
        withdraw(&catalog, &endpoint, refusal.repo, of_commit);
        if !refusal.as_stranger {
            tell(refusal.repo, refusal.error);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_spread_over_hours_and_none_is_late() {
        let ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600 + 60);
        let commits: Vec<String> =
            (0..200_u32).map(|i| format!("{:08x}{:032}", i.wrapping_mul(2_654_435_761), 0)).collect();
        let due = |hours| commits.iter().filter(|commit| is_due(ago(hours), commit)).count();
        assert_eq!((due(5), due(11)), (0, 200));
        assert!((20..=60).contains(&due(7)) && (140..=180).contains(&due(10)), "{} and {}", due(7), due(10));
    }
}
