//! The folder tree that is served: repositories, access marks, revisions, files.
//!
//! Names from requests reach the file system only as a checked [`RepoId`]; revisions and files are found by listing folders, so a
//! request cannot name a path at all. Links are followed as long as they stay inside the root.

use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use zest_store::{RepoId, RepoType, SAID, check_name, check_storable};

use super::disk::DiskFile;
use super::library::Access;

/// Name of the access mark, and of nothing else next to the revisions.
const ACCESS_FILE: &str = "access";

/// Bytes of an access mark that are read: it holds one word.
const ACCESS_BYTES_MAX: u64 = 64;

/// Deepest folder nesting inside a revision: 64, far above real repositories; ends runaway trees.
const DEPTH_MAX: usize = 64;

/// Most files in one revision: 1,000,000, ten times what the Hub recommends; ends runaway trees.
const FILES_MAX: usize = 1_000_000;

/// A file of a revision, not yet looked into.
#[derive(Clone, Debug)]
pub(crate) struct FoundFile {
    /// Path in the repository, `/`-separated.
    pub(crate) path: String,
    pub(crate) disk: DiskFile,
}

/// The folder being served.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
}

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        // Listing it now turns an unreadable root into an error at the start instead of an empty hub.
        std::fs::read_dir(&path)?;
        Ok(Self { path })
    }

    /// The root's canonical path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All repositories, by kind and name.
    pub(crate) fn repos(&self) -> Vec<RepoId> {
        let mut repos = Vec::new();
        for kind in RepoType::ALL {
            for (org, folder) in self.folders(&self.path.join(kind.plural())) {
                for (name, _) in self.folders(&folder) {
                    repos.extend(RepoId::new(kind, &format!("{org}/{name}")));
                }
            }
        }
        repos.sort();
        repos
    }

    /// The folder of a repository, if it exists.
    pub(crate) fn repo(&self, repo: &RepoId) -> Option<PathBuf> {
        // One part alone would be the folder of an organisation.
        let (org, name) = repo.name.split_once('/')?;
        self.folder(&self.path.join(repo.kind.plural()).join(org).join(name))
    }

    /// Reads the access mark in the repository's folder, each time anew, so that closing a repository works at once.
    pub(crate) fn access(&self, repo_folder: &Path) -> Access {
        use std::io::Read as _;
        let mut mark = String::new();
        let read = std::fs::File::open(repo_folder.join(ACCESS_FILE))
            .and_then(|file| file.take(ACCESS_BYTES_MAX).read_to_string(&mut mark));
        match (read, mark.trim()) {
            (Ok(_), "public") => Access::Public,
            (Ok(_), "gated") => Access::Gated,
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Access::Public,
            // An unreadable or misspelt mark was meant to close something.
            _ => Access::Private,
        }
    }

    /// The revisions in a repository's folder: name and folder, by name.
    pub(crate) fn revisions(&self, repo_folder: &Path) -> Vec<(String, PathBuf)> {
        let decode = |name: &str| percent_decode_str(name).decode_utf8().map(|name| name.into_owned());
        let mut revisions: Vec<(String, PathBuf)> = self
            .folders(repo_folder)
            .into_iter()
            .filter_map(|(name, folder)| Some((decode(&name).ok()?, folder)))
            .filter(|(name, _)| check_name(name).is_ok())
            .collect();
        revisions.sort();
        revisions
    }

    /// When the newest of a revision's files was written, as far as those at its top tell.
    pub(crate) fn written(&self, revision_folder: &Path) -> Option<std::time::SystemTime> {
        let entries = std::fs::read_dir(self.folder(revision_folder)?).ok()?;
        // Links are followed: what counts is when the bytes came.
        let written = |entry: std::fs::DirEntry| {
            let meta = std::fs::metadata(entry.path()).ok().filter(std::fs::Metadata::is_file)?;
            meta.modified().ok()
        };
        entries.flatten().filter_map(written).max()
    }

    /// All files of a revision, by path. Leaves out, with a warning, what cannot be served under its name.
    pub(crate) fn files(&self, revision_folder: &Path) -> io::Result<Vec<FoundFile>> {
        let folder = self.folder(revision_folder).ok_or(io::ErrorKind::NotFound)?;
        let mut files = Vec::new();
        self.walk(&mut vec![folder], "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Lists the last folder of `stack`, which holds the canonical folders from the revision down to it.
    fn walk(&self, stack: &mut Vec<PathBuf>, prefix: &str, files: &mut Vec<FoundFile>) -> io::Result<()> {
        let folder = stack.last().expect("the revision's folder is in the stack").clone();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                let folder = folder.display();
                tracing::warn!(target: SAID, kind = "left-out", "left out a name in {folder} that is not UTF-8");
                continue;
            };
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            // What Hub clients keep in a folder they downloaded to is no part of the repository.
            if path == ".cache/huggingface" {
                continue;
            }
            if let Err(error) = check_storable(&path) {
                tracing::warn!(target: SAID, kind = "left-out", "left out a file: {error}");
                continue;
            }
            let on_disk = folder.join(&name);
            if let Some(inner) = self.folder(&on_disk) {
                if stack.contains(&inner) || stack.len() >= DEPTH_MAX {
                    tracing::warn!(target: SAID, kind = "left-out", "left out {path}: it contains itself or is too deep");
                    continue;
                }
                stack.push(inner);
                self.walk(stack, &path, files)?;
                stack.pop();
                continue;
            }
            match DiskFile::look(&self.path, &on_disk) {
                Ok(disk) => files.push(FoundFile { path, disk }),
                Err(error) => tracing::warn!(target: SAID, kind = "left-out", "left out {path}: {error}"),
            }
            if files.len() > FILES_MAX {
                return Err(io::Error::other(format!("a revision of more than {FILES_MAX} files")));
            }
        }
        Ok(())
    }

    /// The canonical form of `path` if it is a folder inside the root.
    fn folder(&self, path: &Path) -> Option<PathBuf> {
        let path = path.canonicalize().ok()?;
        (path.starts_with(&self.path) && path.is_dir()).then_some(path)
    }

    /// Visible folders in `path`, or none if it cannot be listed.
    fn folders(&self, path: &Path) -> Vec<(String, PathBuf)> {
        let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
            .filter(|(name, _)| !name.starts_with('.'))
            .filter_map(|(name, path)| Some((name, self.folder(&path)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("temporary folder");
        for (path, content) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, content).expect("file");
        }
        let root = Root::open(dir.path()).expect("root");
        (dir, root)
    }

    fn repo(kind: RepoType, name: &str) -> RepoId {
        RepoId::new(kind, name).expect("a name")
    }

    #[test]
    fn lists_repositories_revisions_and_files() {
        let (_dir, root) = tree(&[
            ("models/a/b/main/x.txt", ""),
            ("models/a/b/main/sub dir/é #1.txt", "1"),
            ("models/a/b/main/.cache/huggingface/trees/x.json", "{}"),
            ("models/a/b/refs%2Fpr%2F1/y.txt", ""),
            ("datasets/c/d/v1/z.csv", "z"),
            (".zest-hub/models/no/no/main/x", ""),
        ]);
        assert_eq!(root.repos(), [repo(RepoType::Model, "a/b"), repo(RepoType::Dataset, "c/d")]);
        let folder = root.repo(&repo(RepoType::Model, "a/b")).expect("exists");
        let revisions = root.revisions(&folder);
        assert_eq!(revisions.iter().map(|r| r.0.as_str()).collect::<Vec<_>>(), ["main", "refs/pr/1"]);
        let files = root.files(&revisions[0].1).expect("files");
        assert_eq!(files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["sub dir/é #1.txt", "x.txt"]);
        assert!(root.repo(&repo(RepoType::Model, "a")).is_none());
        assert!(root.repo(&repo(RepoType::Space, "a/b")).is_none());
    }

    #[test]
    fn access_is_closed_by_anything_that_does_not_open_it() {
        let (_dir, root) = tree(&[
            ("models/a/open/main/x", ""),
            ("models/a/said/access", "public\n"),
            ("models/a/gated/access", "gated"),
            ("models/a/private/access", "private\n"),
            ("models/a/typo/access", "privat"),
        ]);
        let access = |name: &str| root.access(&root.path().join("models/a").join(name));
        assert_eq!(access("open"), Access::Public);
        assert_eq!(access("said"), Access::Public);
        assert_eq!(access("gated"), Access::Gated);
        assert_eq!(access("private"), Access::Private);
        assert_eq!(access("typo"), Access::Private);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_the_root_only() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().expect("temporary folder");
        std::fs::write(outside.path().join("secret"), "s").expect("file");
        let (_dir, root) = tree(&[("models/a/b/main/real.txt", "1"), ("models/a/b/main/sub/x", "2")]);
        let main = root.path().join("models/a/b/main");
        symlink("real.txt", main.join("linked.txt")).expect("link");
        symlink(outside.path().join("secret"), main.join("leak.txt")).expect("link");
        symlink(outside.path(), main.join("leak")).expect("link");
        symlink(&main, main.join("sub/loop")).expect("link");
        symlink("nowhere", main.join("dangling")).expect("link");
        symlink("main", root.path().join("models/a/b/v1")).expect("link");
        symlink(outside.path(), root.path().join("models/a/c")).expect("link");
        let folder = root.repo(&repo(RepoType::Model, "a/b")).expect("exists");
        for (_, revision) in root.revisions(&folder) {
            let files = root.files(&revision).expect("files");
            assert_eq!(
                files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(),
                ["linked.txt", "real.txt", "sub/x"]
            );
        }
        assert!(root.repo(&repo(RepoType::Model, "a/c")).is_none());
    }
}
