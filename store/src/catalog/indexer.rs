//! Taking in files that were in the HF cache before zest came: cut into chunks, compared with the xet hash,
//! published if equal.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use zest_xet::{Hash, Manifest, Rule, file_hash};

use super::places::{Copy, Member, Places, add_member};
use super::{Access, Catalog, FileId};
use crate::cache::HfCache;
use crate::digest;
use crate::error::{Context as _, StoreError};
use crate::names::RepoId;
use crate::os::Identity;

/// A file that the catalog does not know, or not as belonging to one of these commits.
#[derive(Debug, Clone)]
pub struct IndexTask {
    /// The file itself, links followed.
    pub path: PathBuf,
    /// What it should be.
    pub file: Hash,
    /// Bytes; to be read, unless only a repository has to be noted.
    pub size: u64,
    /// Repositories and commits it belongs to. None: it is there, but nobody says whose it is, so it will not
    /// be shared.
    pub repos: Vec<(RepoId, String)>,
    /// Whether the bytes are known already and only the repositories are new.
    pub known: bool,
}

/// A repository and a commit.
type Owner = (RepoId, String);

/// What came of an [`IndexTask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexed {
    /// The bytes are right; cut by this rule.
    Published(FileId, Rule),
    /// The bytes were known; repositories noted.
    Adopted(FileId),
    /// Neither rule gives the xet hash: damaged, or cut in a way we do not know. Noted, and not tried again
    /// until the file changes.
    Mismatch {
        /// What the current rule gives.
        got: Hash,
    },
}

impl Catalog {
    /// Files in Xet storage that are complete in the cache and that the catalog lacks. Looks at names, sizes
    /// and times only.
    #[must_use]
    pub fn unindexed(&self, cache: &HfCache) -> Vec<IndexTask> {
        let mut found: BTreeMap<(Hash, PathBuf), (Identity, Vec<Owner>)> = BTreeMap::new();
        let mut add = |file: Hash, size: u64, path: &PathBuf, member: Option<Owner>| {
            let Ok(path) = fs::canonicalize(path) else { return };
            let Ok(meta) = fs::metadata(&path) else { return };
            if meta.is_file() && meta.len() == size && size > 0 {
                let entry = found.entry((file, path)).or_insert_with(|| (Identity::of(&meta), Vec::new()));
                entry.1.extend(member);
            }
        };
        for file in cache.snapshot_files() {
            if let Some(hash) = file.entry.xet_hash {
                add(hash, file.entry.content_size(), &file.path, Some((file.repo, file.commit)));
            }
        }
        for blob in cache.stored_blobs() {
            add(blob.hash, blob.size, &blob.path, None);
        }
        self.note_reached(cache.root(), found.keys().map(|(_, path)| path));
        let tasks = found.into_iter().filter_map(|((file, path), (identity, repos))| {
            let known = self.lacks(&file, &Copy { path: path.clone(), identity }, &repos)?;
            Some(IndexTask { path, file, size: identity.size, repos, known })
        });
        tasks.collect()
    }

    /// `None`: nothing to do. Otherwise whether the bytes are known.
    fn lacks(&self, file: &Hash, copy: &Copy, repos: &[Owner]) -> Option<bool> {
        let inner = self.read();
        if let Some(&number) = inner.by_hash.get(file)
            && let entry = &inner.files[number as usize]
            && entry.copies.iter().any(|known| known == copy)
        {
            let listed = |(repo, commit): &Owner| {
                let member = Member::new(None, repo, commit);
                entry.members.iter().any(|known| known.is_like(&member))
            };
            return (!repos.iter().all(listed)).then_some(true);
        }
        drop(inner);
        (!Places::read(&self.root, file).rejected.contains(copy)).then_some(false)
    }

    /// Does one task. Reads the whole file, once or twice, unless its bytes are known.
    ///
    /// # Errors
    /// [`StoreError::ChangedMeanwhile`]; the system's.
    pub fn index(&self, task: &IndexTask) -> Result<Indexed, StoreError> {
        let members: Vec<Member> =
            task.repos.iter().map(|(repo, commit)| Member::new(None, repo, commit)).collect();
        if task.known
            && let Some(id) = self.adopt(&task.file, &members)?
        {
            return Ok(Indexed::Adopted(id));
        }
        let open = || File::open(&task.path).at("open", &task.path);
        let identity = Identity::of(&open()?.metadata().at("examine", &task.path)?);
        let copy = Copy { path: task.path.clone(), identity };
        let mut got = None;
        for rule in [Rule::Current, Rule::Old] {
            let file = open()?;
            let chunks = digest::chunk_file(&file, rule).at("read", &task.path)?;
            if Identity::of(&file.metadata().at("examine", &task.path)?) != identity {
                return Err(StoreError::ChangedMeanwhile { path: task.path.clone() });
            }
            let root = file_hash(&chunks);
            if let Ok(manifest) = Manifest::prove(task.file, identity.size, chunks) {
                return Ok(Indexed::Published(self.enter(&manifest, copy, members, None, None)?, rule));
            }
            got.get_or_insert(root);
        }
        tracing::warn!(path = %task.path.display(), expected = %task.file, "content does not have the xet hash that names it");
        let _lock = self.lock_files()?;
        self.update_places(&task.file, |places| {
            places.copies.retain(|known| known.path != copy.path);
            places.rejected.retain(|known| known.path != copy.path);
            places.rejected.push(copy);
            true
        })?;
        Ok(Indexed::Mismatch { got: got.unwrap_or(Hash::ZERO) })
    }

    fn adopt(&self, file: &Hash, members: &[Member]) -> Result<Option<FileId>, StoreError> {
        let Some(number) = self.read().by_hash.get(file).copied() else { return Ok(None) };
        let _lock = self.lock_files()?;
        self.update_places(file, |places| places.add_members(members.iter().cloned()))?;
        let mut inner = self.write();
        let entry = &mut inner.files[number as usize];
        for member in members {
            add_member(&mut entry.members, member.clone());
        }
        inner.judge(number as usize);
        Ok(Some(FileId::data(number, Access::Own)))
    }
}
