//! Files outside Xet that may be given to others: no chunk list knows them, they are found in a cache by what a public commit's list
//! calls them. Nothing is noted of them: a file is looked for when somebody asks, and proven whenever it is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::places::{Member, now_seconds, subdirs};
use super::{Access, Catalog, Commit, proofs};
use crate::cache::HfCache;
use crate::digest::is_blob;
use crate::endpoint::Endpoint;
use crate::error::{Context as _, StoreError};
use crate::limits::{LIST_ROWS_KEPT_MAX, LISTS_KEPT_MAX};

/// A file outside Xet that was just read and proven.
#[derive(Debug)]
pub struct SmallFile {
    /// The commit as part of which it is given.
    pub of: Commit,
    /// Where it lies, links followed.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What the lists of commits call their files outside Xet, and how long each is. A commit never changes, nor does what its Hub named.
#[derive(Debug, Default)]
pub(super) struct SmallLists(VecDeque<(Commit, Arc<BTreeMap<String, u64>>)>);

impl Catalog {
    /// A file outside Xet that may be given to whoever asks with this access. `etag` is its git blob id or SHA-256, as hex.
    #[must_use]
    pub fn small_file(&self, cache: &HfCache, etag: &str, size: u64, access: Access) -> Option<SmallFile> {
        crate::names::check_etag(etag).ok()?;
        // Most commits are of the same few repositories.
        let mut lacking = BTreeSet::new();
        self.open_commits(access).into_iter().find_map(|of| {
            if lacking.contains(&of.repo.folder()) {
                return None;
            }
            let blob = cache.repo_dir(&of.repo).join("blobs").join(etag);
            if !fs::metadata(&blob).is_ok_and(|meta| meta.is_file() && meta.len() == size) {
                lacking.insert(of.repo.folder());
                return None;
            }
            let path = blob.canonicalize().ok()?;
            if !self.lists_small(cache, &of, etag, size) || !self.gives_small(&of, Some(&path), access) {
                return None;
            }
            let mut bytes = Vec::with_capacity(size as usize);
            File::open(&path).ok()?.take(size + 1).read_to_end(&mut bytes).ok()?;
            (bytes.len() as u64 == size && is_blob(etag, &bytes)).then_some(SmallFile { of, path, bytes })
        })
    }

    /// Whether files outside Xet of this commit may be spoken of now with whoever asks with this access, and the one that lies there given.
    #[must_use]
    pub fn gives_small(&self, of: &Commit, at: Option<&Path>, access: Access) -> bool {
        let Some(hub) = &of.hub else { return false };
        let member = Member::new(Some(hub), &of.repo, &of.commit);
        self.is_open(&member, access)
            && at.is_none_or(|path| self.shares_path(path))
            && !self.is_closed_elsewhere(hub, &member.repo)
    }

    /// A file outside Xet of this repository comes from its Hub: what lies in the repository's folder is given to others no more
    /// unless that Hub shows the repository to everyone.
    ///
    /// # Errors
    /// The system's.
    pub fn note_small_owner(&self, of: &Commit) -> Result<(), StoreError> {
        let Some(hub) = &of.hub else { return Ok(()) };
        let dir = proofs::folder_of(&self.root, hub).join(of.repo.folder());
        fs::create_dir_all(&dir).at("create directory", &dir)
    }

    /// Commits that may be given from at this time.
    fn open_commits(&self, access: Access) -> Vec<Commit> {
        let inner = self.read();
        let members = inner.public.members();
        let open = members.filter(|member| is_open(&inner, member, access));
        open.filter_map(Member::commit).collect()
    }

    fn is_open(&self, member: &Member, access: Access) -> bool {
        is_open(&self.read(), member, access)
    }

    /// Whether another Hub has files of a repository of this name, which it does not show to everyone: what lies in the
    /// folder that both have in a cache may be that one's.
    fn is_closed_elsewhere(&self, hub: &Endpoint, repo: &str) -> bool {
        let own = proofs::folder_of(&self.root, hub);
        let root = self.root.join("proofs");
        let others = subdirs(&root).into_iter().map(|name| root.join(name)).filter(|folder| *folder != own);
        let mut here = others.filter(|folder| folder.join(repo).is_dir());
        let inner = self.read();
        let is_shown = |folder: &Path| {
            let of_it = |member: &&Member| {
                let hub = member.hub.as_ref().map(|hub| proofs::folder_of(&self.root, hub));
                member.repo == repo && hub.is_some_and(|of| of == folder)
            };
            inner.public.members().any(|member| of_it(&member))
        };
        here.any(|folder| !is_shown(&folder))
    }

    /// Whether this Hub's own list of the commit has such a file outside Xet.
    fn lists_small(&self, cache: &HfCache, of: &Commit, etag: &str, size: u64) -> bool {
        let kept = self.small_lists().get(of);
        let Some(list) = kept.or_else(|| self.read_small_list(cache, of)) else { return false };
        list.get(etag) == Some(&size)
    }

    fn read_small_list(&self, cache: &HfCache, of: &Commit) -> Option<Arc<BTreeMap<String, u64>>> {
        let entries = cache.read_tree(&of.repo, &of.commit)?;
        if !self.knows_list(of, &entries) {
            return None;
        }
        let small = entries.iter().filter(|entry| entry.xet_hash.is_none());
        let list: Arc<BTreeMap<String, u64>> =
            Arc::new(small.map(|entry| (entry.etag().to_owned(), entry.content_size())).collect());
        if list.len() <= LIST_ROWS_KEPT_MAX {
            self.small_lists().keep(of.clone(), list.clone());
        }
        Some(list)
    }

    fn small_lists(&self) -> MutexGuard<'_, SmallLists> {
        self.small.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SmallLists {
    fn get(&self, of: &Commit) -> Option<Arc<BTreeMap<String, u64>>> {
        self.0.iter().find(|(commit, _)| commit == of).map(|(_, list)| list.clone())
    }

    fn keep(&mut self, of: Commit, list: Arc<BTreeMap<String, u64>>) {
        self.0.retain(|(commit, _)| *commit != of);
        if self.0.len() >= LISTS_KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((of, list));
    }
}

fn is_open(inner: &super::Inner, member: &Member, access: Access) -> bool {
    let given = inner.given_until(std::slice::from_ref(member));
    let until = match access {
        Access::Share => given.all,
        Access::Near => given.near,
        Access::Own => return true,
    };
    proofs::is_current(until, now_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CacheOptions, RepoId, RepoType, TreeEntry};
    use std::time::SystemTime;

    const COMMIT: &str = "0123456789012345678901234567890123456789";
    const CONTENT: &[u8] = b"{}\n";
    /// What git calls that content.
    const BLOB: &str = "0967ef424bce6791893e9a57bb952f80fd536e93";

    struct World {
        _dir: tempfile::TempDir,
        cache: HfCache,
        catalog: Catalog,
        of: Commit,
    }

    /// A cache with one small file of a commit that the public Hub has listed.
    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        let cache = HfCache::open(&dir.path().join("hub"), CacheOptions::default()).unwrap();
        let catalog = Catalog::open(&dir.path().join("zest")).unwrap();
        let repo = RepoId::new(RepoType::Model, "org/name").unwrap();
        let of = Commit { hub: Some(Endpoint::public()), repo, commit: COMMIT.into() };
        let entry = TreeEntry {
            path: "config.json".into(),
            size: CONTENT.len() as u64,
            blob_id: BLOB.into(),
            lfs_sha256: None,
            lfs_size: None,
            xet_hash: None,
        };
        let blobs = cache.plain_dir(&of.repo, &entry).unwrap();
        fs::write(blobs.join(BLOB), CONTENT).unwrap();
        cache.write_tree(&of.repo, COMMIT, std::slice::from_ref(&entry)).unwrap();
        catalog.note_list(&of, &[entry]).unwrap();
        World { _dir: dir, cache, catalog, of }
    }

    impl World {
        fn prove(&self) {
            let hub = self.of.hub.as_ref().unwrap();
            self.catalog.prove_public(hub, &self.of.repo, COMMIT, SystemTime::now()).unwrap();
        }

        fn given(&self, access: Access) -> bool {
            let found = self.catalog.small_file(&self.cache, BLOB, CONTENT.len() as u64, access);
            found.is_some_and(|found| found.of == self.of && found.bytes == CONTENT)
        }
    }

    #[test]
    fn a_small_file_is_given_as_long_as_its_commit_is_public() {
        let world = world();
        assert!(!world.given(Access::Share) && !world.given(Access::Near), "without a proof nothing is");
        world.prove();
        assert!(world.given(Access::Share) && world.given(Access::Near));
        assert!(world.catalog.small_file(&world.cache, BLOB, 4, Access::Share).is_none(), "another size");
        world.catalog.deny(&world.of.repo).unwrap();
        assert!(!world.given(Access::Share), "the user said no");
        world.catalog.allow(&world.of.repo).unwrap();
        assert!(world.given(Access::Share));
        world.catalog.revoke_repo(world.of.hub.as_ref().unwrap(), &world.of.repo).unwrap();
        assert!(!world.given(Access::Share), "the Hub took it back");
    }

    #[test]
    fn what_changed_on_disk_is_not_given() {
        let world = world();
        world.prove();
        let blob = world.cache.root().join(world.of.repo.folder()).join("blobs").join(BLOB);
        fs::write(&blob, b"[]\n").unwrap();
        assert!(!world.given(Access::Share));
    }

    #[test]
    fn a_file_that_the_commit_does_not_list_is_not_given() {
        let world = world();
        world.prove();
        // Another commit's, or somebody's own.
        world.cache.write_tree(&world.of.repo, COMMIT, &[]).unwrap();
        assert!(!world.given(Access::Share), "the list is not that of this Hub");
        world.catalog.note_list(&world.of, &[]).unwrap();
        assert!(!world.given(Access::Share), "and that Hub's list lacks it");
    }

    #[test]
    fn what_another_hub_keeps_closed_is_not_given() {
        let world = world();
        world.prove();
        let other = Commit { hub: Some(Endpoint::new("http://hub.lan")), ..world.of.clone() };
        world.catalog.note_small_owner(&other).unwrap();
        assert!(!world.given(Access::Share) && !world.given(Access::Near));
        let hub = other.hub.as_ref().unwrap();
        world.catalog.prove_public(hub, &other.repo, COMMIT, SystemTime::now()).unwrap();
        assert!(world.given(Access::Share), "it shows the same to everyone");
    }

    #[test]
    fn what_lies_elsewhere_is_not_given() {
        let world = world();
        world.prove();
        world.catalog.share_below(&[], false);
        assert!(!world.given(Access::Share));
        world.catalog.share_below(&[world.cache.root().to_path_buf()], false);
        assert!(world.given(Access::Share));
        world.catalog.share_nothing();
        assert!(!world.given(Access::Share) && !world.given(Access::Near));
    }

    #[test]
    fn lists_that_are_kept_are_few_and_short() {
        let mut lists = SmallLists::default();
        let of = |n: usize| Commit {
            hub: Some(Endpoint::public()),
            repo: RepoId::new(RepoType::Model, "org/name").unwrap(),
            commit: format!("{n:040}"),
        };
        (0..3 * LISTS_KEPT_MAX).for_each(|n| lists.keep(of(n), Arc::default()));
        lists.keep(of(3 * LISTS_KEPT_MAX - 1), Arc::default());
        assert_eq!(lists.0.len(), LISTS_KEPT_MAX);
        assert!(lists.get(&of(0)).is_none() && lists.get(&of(3 * LISTS_KEPT_MAX - 1)).is_some());
    }

    #[test]
    fn another_hubs_word_stays_near() {
        let mut world = world();
        world.of.hub = Some(Endpoint::new("http://hub.lan"));
        let entries = world.cache.read_tree(&world.of.repo, COMMIT).unwrap();
        world.catalog.note_list(&world.of, &entries).unwrap();
        world.prove();
        // The folder of the public Hub is there since its list was noted, and it said nothing of everyone.
        assert!(!world.given(Access::Near));
        world.catalog.prove_public(&Endpoint::public(), &world.of.repo, COMMIT, SystemTime::now()).unwrap();
        world.catalog.revoke_repo(&Endpoint::public(), &world.of.repo).unwrap();
        assert!(!world.given(Access::Near), "it took its word back");
    }
}
