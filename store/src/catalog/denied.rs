//! What the user does not want shared, whoever may read it: an empty file for each repository, named like its folder in a cache.
//! Names count whatever their case, as on the Hub. While the notes cannot be read nothing is shared at all.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Catalog;
use super::places::Member;
use crate::error::{Context as _, StoreError};
use crate::limits::DENIED_MAX;
use crate::names::RepoId;

/// What is noted, as last read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Denied {
    /// Folder names in lower case; `None`: nobody knows.
    folders: Option<BTreeSet<String>>,
    /// How often it was found changed.
    changes: u64,
}

fn folder_of(root: &Path) -> PathBuf {
    root.join("denied")
}

/// Names as they were noted; `None` if they cannot be read.
fn names(root: &Path) -> Option<Vec<String>> {
    let entries = match fs::read_dir(folder_of(root)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Vec::new()),
        Err(_) => return None,
    };
    let names: Vec<String> = entries
        .take(DENIED_MAX + 1)
        .map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect::<Option<_>>()?;
    (names.len() <= DENIED_MAX).then_some(names)
}

impl Denied {
    pub(super) fn has(&self, folder: &str) -> bool {
        self.folders
            .as_ref()
            .is_none_or(|folders| !folders.is_empty() && folders.contains(&folder.to_ascii_lowercase()))
    }

    /// Whether a file that belongs to these is kept back: one word is enough.
    pub(super) fn has_any(&self, members: &[Member]) -> bool {
        members.iter().any(|member| self.has(&member.repo))
    }
}

impl Catalog {
    /// From now on nothing of this repository is shared by any process of this cache: its files are neither given nor announced,
    /// also where another repository has the same. Says whether that is new.
    ///
    /// # Errors
    /// The system's: then it is not noted.
    pub fn deny(&self, repo: &RepoId) -> Result<bool, StoreError> {
        let new = !self.is_denied(repo);
        let dir = folder_of(&self.root);
        fs::create_dir_all(&dir).at("create directory", &dir)?;
        if new && names(&self.root).is_some_and(|names| names.len() >= DENIED_MAX) {
            let why = format!("{DENIED_MAX} repositories are noted, which is the most");
            return Err(StoreError::Malformed { path: dir, what: "list of what is not shared", why });
        }
        let path = dir.join(repo.folder());
        fs::write(&path, b"").at("write", &path)?;
        self.look_at_denials();
        Ok(new)
    }

    /// Takes [`Catalog::deny`] back. Whether it is shared then is a Hub's word as before. Says whether it was denied.
    ///
    /// # Errors
    /// The system's: then it is not shared still.
    pub fn allow(&self, repo: &RepoId) -> Result<bool, StoreError> {
        let (dir, folder) = (folder_of(&self.root), repo.folder());
        let noted = names(&self.root).unwrap_or_else(|| vec![folder.clone()]);
        let mut was = false;
        for name in noted.iter().filter(|name| name.eq_ignore_ascii_case(&folder)) {
            let path = dir.join(name);
            match fs::remove_file(&path) {
                Ok(()) => was = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("remove", &path),
            }
        }
        self.look_at_denials();
        Ok(was)
    }

    /// Whether nothing of this repository is to be shared.
    #[must_use]
    pub fn is_denied(&self, repo: &RepoId) -> bool {
        self.read().denied.has(&repo.folder())
    }

    /// What is denied, by name; `None`: it cannot be read, so everything is.
    #[must_use]
    pub fn denied(&self) -> Option<Vec<RepoId>> {
        let mut repos: Vec<RepoId> =
            names(&self.root)?.iter().filter_map(|name| RepoId::from_folder(name)).collect();
        repos.sort();
        Some(repos)
    }

    /// Reads the notes, which another process may have changed. It costs little: call it every second where something is given.
    /// Says how often they were found changed.
    pub fn look_at_denials(&self) -> u64 {
        let lower = |names: Vec<String>| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let folders: Option<BTreeSet<String>> = names(&self.root).map(lower);
        let known = self.read().denied.clone();
        if known.changes > 0 && known.folders == folders {
            return known.changes;
        }
        let changes = known.changes + 1;
        let mut inner = self.write();
        inner.denied = Denied { folders, changes };
        inner.judge_all();
        drop(inner);
        if known.changes > 0 {
            // What is announced ends with it.
            self.watches.tell();
        }
        changes
    }
}
