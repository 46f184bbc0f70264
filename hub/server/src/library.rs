//! What a hub serves: a library gives it repositories, their revisions, and the bytes of their files. A folder tree is one
//! (`folder.rs`); whatever knows files of repositories on disk can be another.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sha1::{Digest as _, Sha1};
use zest_store::RepoId;
use zest_xet::{Hash, Manifest};

use super::digest::{Digest, digest, goes_to_xet};
use super::disk::DiskFile;
use super::layout::{PlacedTerm, Xorb};
use super::sign::hex;

/// A source of repositories. Nothing of the server's own knows where they come from: names in requests reach a library as a
/// checked [`RepoId`], the name of a revision and the hash of a content, and who may see what it gives is the server's business.
pub trait Library: Send + Sync + fmt::Debug + 'static {
    /// All repositories and who may read them.
    fn repos(&self) -> BoxFuture<'_, Vec<(RepoId, Access)>>;

    /// Who may read a repository, asked with each request; `None` if there is none of that name.
    fn access<'a>(&'a self, repo: &'a RepoId) -> BoxFuture<'a, Option<Access>>;

    /// The names of a repository's revisions.
    fn revisions<'a>(&'a self, repo: &'a RepoId) -> BoxFuture<'a, Vec<String>>;

    /// The files of a branch, tag or commit.
    fn snapshot<'a>(
        &'a self,
        repo: &'a RepoId,
        revision: &'a str,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Arc<Snapshot>, Missing>>;

    /// The chunk list of a content and where its chunks stand in xorbs that can be read now; `None` if no file holds the content.
    /// It may read files, and is called where that holds up nobody.
    fn terms(&self, content: &Hash) -> Option<(Arc<Manifest>, Vec<PlacedTerm>)>;

    /// A xorb and the open file its bytes come from; `None` if there is no such xorb any more. Called as [`terms`](Self::terms).
    fn open_xorb(&self, hash: &Hash) -> Option<(Arc<Xorb>, std::fs::File)>;

    /// What a library does before everything is at hand, such as looking at every revision once. `laid_out` is to be called as
    /// soon as what an earlier run laid out stands as it was: until then nobody is told of xorbs.
    fn warm_up<'a>(&'a self, laid_out: Box<dyn FnOnce() + Send + 'a>) -> BoxFuture<'a, ()>;
}

/// Who may read a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Public,
    /// Everyone may see the file list, holders of a token may read the files.
    Gated,
    /// Holders of a token; others are not told that it exists.
    Private,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path in the repository.
    pub path: String,
    /// Where its bytes lie.
    pub disk: DiskFile,
    /// What names them.
    pub digest: Digest,
}

impl Entry {
    /// Reads a file that stands at `path` in its repository once, to its digest and, if it goes to Xet, its chunk list. It blocks.
    ///
    /// # Errors
    /// What the system says, or that the file changed meanwhile.
    pub fn read(path: String, disk: DiskFile) -> io::Result<(Self, Option<Arc<Manifest>>)> {
        let (digest, manifest) = digest(&disk, goes_to_xet(&path, disk.identity.size))?;
        Ok((Self { path, disk, digest }, manifest))
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.disk.identity.size
    }
}

/// A revision at one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// 40 hex digits, from the content alone.
    pub commit: String,
    /// By path.
    pub files: Vec<Entry>,
}

impl Snapshot {
    /// These files, in the order of their paths. Its commit comes from their content alone.
    #[must_use]
    pub fn new(mut files: Vec<Entry>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut sha1 = Sha1::new_with_prefix("zest-hub-commit-v1\n");
        for file in &files {
            sha1.update(format!("{} {} {}\0", file.digest.etag(), file.size(), file.path));
        }
        Self { commit: hex(&sha1.finalize()), files }
    }

    /// The file of that path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Entry> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(at)
    }

    /// Whether a file of that Xet hash belongs to the snapshot.
    #[must_use]
    pub fn holds(&self, content: &Hash) -> bool {
        self.files.iter().any(|file| file.digest.xet() == Some(*content))
    }
}

/// Whether a snapshot must be up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Look at the folder now.
    Now,
    /// A look within the last seconds is enough.
    Recent,
}

/// There is no such revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// Runs file work off the async threads. A panic in it is ours and goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and nobody waits for the answer any more.
            Err(_) => std::future::pending().await,
        },
    }
}
