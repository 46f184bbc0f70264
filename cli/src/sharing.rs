//! What is shared, by name: the folders, and the repositories in them that anyone may read; and what is told of it after each
//! look at them.

use crate::engine::IndexProgress;
use crate::failure::{Failure, Kind};
use crate::ui::{Ui, units};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zest_hub::{Hub, HubConfig};
use zest_store::{Catalog, Commit, Endpoint, Env, RepoId};

/// Repositories named on the screen at once: 20. `--json` names all.
const NAMES_SHOWN: usize = 20;

/// The folders whose files are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folders {
    /// Caches.
    pub(crate) caches: Vec<PathBuf>,
    /// What `pull --local-dir` filled.
    pub(crate) local_dirs: Vec<PathBuf>,
    /// Nobody named a cache: it is the usual one, and the original's caches belong to it.
    pub(crate) usual: bool,
    /// Hubs that are as good as the public one.
    pub(crate) mirrors: Vec<Endpoint>,
}

impl Folders {
    /// The cache that was named, or the usual one of the environment.
    pub(crate) fn of_cache(env: &Env, named: bool) -> Folders {
        Folders { caches: vec![env.hub_cache.clone()], usual: !named, ..Folders::default() }
    }

    /// What these Hubs show to everyone may be given to everyone.
    pub(crate) fn with_mirrors(mut self, mirrors: &[Endpoint]) -> Folders {
        self.mirrors.extend_from_slice(mirrors);
        self
    }

    /// The same, and these folders.
    ///
    /// # Errors
    /// One of them is no folder.
    pub(crate) fn and(mut self, local_dirs: &[PathBuf]) -> Result<Folders, Failure> {
        if let Some(dir) = local_dirs.iter().find(|dir| !dir.is_dir()) {
            return Err(Failure::new(Kind::Disk, format_args!("{} is not a folder", dir.display()))
                .hint("name a folder that `zest pull --local-dir` has filled"));
        }
        self.local_dirs.extend_from_slice(local_dirs);
        Ok(self)
    }

    /// Nothing outside of them is shared from now on, and nothing on the word of a Hub that this environment does not speak of.
    pub(crate) fn apply(&self, env: &Env, catalog: &Catalog) {
        catalog.speak_for(&Endpoint::new(&env.endpoint), &self.mirrors);
        catalog.share_below(&self.all().map(Path::to_path_buf).collect::<Vec<_>>(), self.usual);
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        self.caches.iter().chain(&self.local_dirs).map(PathBuf::as_path)
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        let names: Vec<String> = self.all().map(|folder| folder.display().to_string()).collect();
        format!("sharing what lies in {}, and nothing else", names.join(", "))
    }

    /// With whom, if not with everybody.
    pub(crate) fn reach(&self, env: &Env) -> Option<String> {
        let hub = Endpoint::new(&env.endpoint);
        let everybody = hub == Endpoint::public() || self.mirrors.contains(&hub);
        (!everybody).then(|| {
            format!("what {hub} shows goes to this network and named peers that use it too; --public-mirror widens that")
        })
    }

    /// For programs.
    pub(crate) fn document(&self) -> Value {
        json!(self.all().map(|folder| folder.display().to_string()).collect::<Vec<_>>())
    }
}

/// Files and bytes of a commit that are shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    files: u64,
    bytes: u64,
}

/// Commits that are shared, with what of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shared(BTreeMap<(RepoId, String), Amount>);

impl Shared {
    pub(crate) fn of(catalog: &Catalog) -> Shared {
        let mut commits: BTreeMap<(RepoId, String), Amount> = BTreeMap::new();
        let mut open: BTreeMap<Commit, bool> = BTreeMap::new();
        for file in catalog.files().into_iter().filter(|file| file.near_until.is_some()) {
            for of in file.commits {
                // A file may be in a closed repository, too; that one is not what is shared.
                let is_open = || {
                    let hub = of.hub.as_ref();
                    hub.is_some_and(|hub| catalog.public_until(hub, &of.repo, &of.commit).is_some())
                };
                if *open.entry(of.clone()).or_insert_with(is_open) {
                    let amount = commits.entry((of.repo, of.commit)).or_default();
                    amount.files += 1;
                    amount.bytes += file.size;
                }
            }
        }
        Shared(commits)
    }

    /// For programs.
    pub(crate) fn document(&self) -> Value {
        let commits = self.0.iter().map(|((repo, commit), amount)| {
            json!({
                "repo": repo.name,
                "type": repo.kind.as_str(),
                "commit": commit,
                "files": amount.files,
                "bytes": amount.bytes,
            })
        });
        Value::Array(commits.collect())
    }

    /// What is new since `before`, and what is shared no longer, a line each.
    pub(crate) fn news(&self, before: &Shared) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let new: Vec<_> =
            self.0.iter().filter(|(owner, amount)| before.0.get(owner) != Some(amount)).collect();
        for ((repo, commit), amount) in new.iter().take(NAMES_SHOWN) {
            let files = units::counted(amount.files, "file");
            let short = commit.get(..8).unwrap_or(commit);
            lines.push(format!("sharing {repo} at {short}: {files} ({})", units::bytes(amount.bytes)));
        }
        if let Some(more) = new.len().checked_sub(NAMES_SHOWN).filter(|more| *more > 0) {
            lines.push(format!("and {} more; --json names all", units::counted(more as u64, "revision")));
        }
        let names =
            |shared: &Shared| shared.0.keys().map(|(repo, _)| repo.clone()).collect::<BTreeSet<RepoId>>();
        for repo in names(before).difference(&names(self)) {
            lines.push(format!("not shared any more: {repo}"));
        }
        lines
    }
}

/// What the indexer tells the status line.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) progress: RefCell<IndexProgress>,
    /// Files and bytes that are given to whoever asks.
    pub(crate) shared: Cell<(u64, u64)>,
    /// Whether the first look at the caches is over.
    pub(crate) indexed: Cell<bool>,
}

/// What was said already: a file that stays wrong is named once.
#[derive(Default)]
pub(crate) struct Told {
    mismatches: BTreeSet<PathBuf>,
    hub_error: Option<String>,
    /// What is shared.
    pub(crate) shared: Shared,
}

impl Told {
    /// Tells what a look at the caches has come to: people what is new, programs `indexed` after the first look and `shared`
    /// after others that changed something.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(crate) fn round(
        &mut self,
        catalog: &Catalog,
        progress: IndexProgress,
        board: &Board,
        ui: &Ui,
    ) -> Result<(), Failure> {
        board.shared.set(shared(catalog));
        let lines = self.sharing(catalog);
        lines.iter().chain(&self.news(&progress)).for_each(|line| ui.say(line));
        board.progress.replace(progress);
        if !board.indexed.replace(true) && ui.json() {
            let (files, bytes) = board.shared.get();
            let event = json!({
                "event": "indexed",
                "files_shared": files,
                "bytes_shared": bytes,
                "shared": self.shared.document(),
            });
            ui.data(&event.to_string())?;
        } else if !lines.is_empty() && ui.json() {
            ui.data(&json!({"event": "shared", "shared": self.shared.document()}).to_string())?;
        }
        Ok(())
    }

    /// What has changed about what is shared, by name.
    pub(crate) fn sharing(&mut self, catalog: &Catalog) -> Vec<String> {
        let before = std::mem::replace(&mut self.shared, Shared::of(catalog));
        self.shared.news(&before)
    }

    pub(crate) fn news(&mut self, progress: &IndexProgress) -> Vec<String> {
        let mut lines = Vec::new();
        for path in &progress.mismatches {
            if self.mismatches.insert(path.clone()) {
                lines.push(format!(
                    "not shared: {} is not what its name says (see `zest verify`)",
                    path.display()
                ));
            }
        }
        if progress.hub_error != self.hub_error {
            if let Some(error) = &progress.hub_error {
                lines.push(format!("not shared until the Hub says what is public: {error}"));
            }
            self.hub_error.clone_from(&progress.hub_error);
        }
        lines
    }
}

/// Files and bytes with an unexpired public proof.
pub(crate) fn shared(catalog: &Catalog) -> (u64, u64) {
    let now = SystemTime::now();
    let files = catalog.files();
    let public = files.iter().filter(|file| file.near_until.is_some_and(|until| until > now));
    public.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.size))
}

/// A Hub without a token: the question is what anybody may read. `None` if it is not to be asked, or cannot.
pub(crate) fn anonymous_hub(env: &Env, ui: &Ui) -> Option<Hub> {
    if env.offline {
        return None;
    }
    Hub::new(HubConfig::new(env.endpoint.as_str(), None))
        .inspect_err(|error| ui.say(format!("cannot ask the Hub what is public: {error}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_and_a_silent_hub_are_mentioned_once() {
        let mut told = Told::default();
        let progress = IndexProgress {
            mismatches: vec![PathBuf::from("/cache/x")],
            hub_error: Some("no route".to_owned()),
            ..IndexProgress::default()
        };
        assert_eq!(told.news(&progress).len(), 2);
        assert_eq!(told.news(&progress).len(), 0);
        let healed = IndexProgress::default();
        assert_eq!(told.news(&healed).len(), 0);
        assert_eq!(told.news(&progress).len(), 1, "the Hub went silent again");
    }
}
