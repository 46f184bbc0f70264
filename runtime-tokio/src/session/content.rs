//! One file, read while it comes: what is proven of it, in order, wherever it lies by then.

use super::{PullHandle, Session};
use crate::PullError;
use crate::jobs::{JobFile, Spot};
use crate::os::FileExt as _;
use crate::pull::{Known, Source};
use bytes::Bytes;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use zest_core::JobId;
use zest_hub::Hub;
use zest_store::Identity;

/// Most that one read gives: 256 KiB, two of the longest chunks.
const READ_BYTES_MAX: usize = 256 << 10;

/// Most that one extent names: 64 MiB, a whole xorb.
const EXTENT_BYTES_MAX: usize = 64 << 20;

/// Bytes that are fetched before the rest from where a reader waits on: 8 MiB.
const AHEAD_BYTES: u64 = 8 << 20;

/// What is known of a file before its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentHead {
    /// Bytes.
    pub size: u64,
    /// What the Hub calls its content: SHA-256, or git's number of it.
    pub etag: String,
    /// Its hash in Xet, if it is there.
    pub xet_hash: Option<String>,
}

/// The content of a pull's one file, from [`Session::read`](crate::Session::read). The pull goes on when this is dropped:
/// [`PullHandle::cancel`] ends it.
#[derive(Debug)]
pub struct Content {
    pull: PullHandle,
    known: watch::Receiver<Option<Known>>,
    signs: Signs,
    spot: Spot,
    open: Option<(PathBuf, Arc<File>)>,
    session: Session,
    /// What it was said last that we wait for.
    awaited: Option<(JobId, u64)>,
}

/// Proven bytes of a file, and the file of this machine in which they lie at the same place. They stay what they are in that file,
/// though it may get another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Its name, absolute and no link.
    pub path: PathBuf,
    /// Device and number of the file that had this name.
    pub file: (u64, u64),
    /// Which bytes.
    pub bytes: Range<u64>,
}

/// What has come for a file that is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Came {
    /// Bytes of the file that came, as they came over the line: those that cannot be proven yet are among them.
    pub bytes: u64,
    /// Grows whenever anything comes for it: also what the Hub answers before the first byte, and what is found on this disk.
    pub signs: u64,
}

/// Tells what has come for a file that is read, while none of it can be given yet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signs {
    known: watch::Receiver<Option<Known>>,
    asked: Arc<OnceLock<(Hub, u64)>>,
    /// Bytes of answers until the file's layout was known: those that come later are about other files.
    answers: Arc<OnceLock<u64>>,
    pull: PullHandle,
}

impl Signs {
    /// What has come by now.
    #[must_use]
    pub fn now(&self) -> Came {
        let job = match &*self.known.borrow() {
            Some(Known { source: Some(Source::UnderWay(job)), .. }) => Some(job.clone()),
            _ => None,
        };
        let answers = || self.asked.get().map_or(0, |(hub, before)| hub.answers_bytes() - before);
        let answers = match job.as_ref().is_some_and(|job| job.has_layout()) {
            true => *self.answers.get_or_init(answers),
            false => answers(),
        };
        let bytes = job.map_or(0, |job| job.came());
        let in_place = self.pull.snapshots().borrow().bytes_done;
        Came { bytes, signs: bytes + answers + in_place }
    }
}

/// Where the next bytes are.
enum Look {
    Bytes(Bytes),
    /// Nowhere yet.
    Wait,
}

impl Content {
    pub(super) fn new(
        session: Session,
        pull: PullHandle,
        known: watch::Receiver<Option<Known>>,
        asked: Arc<OnceLock<(Hub, u64)>>,
    ) -> Self {
        let signs = Signs { known: known.clone(), asked, answers: Arc::default(), pull: pull.clone() };
        Self { pull, known, signs, spot: Spot::default(), open: None, session, awaited: None }
    }

    /// What tells whether anything comes for it.
    #[must_use]
    pub fn signs(&self) -> Signs {
        self.signs.clone()
    }

    /// The pull that fetches it.
    #[must_use]
    pub fn pull(&self) -> &PullHandle {
        &self.pull
    }

    /// Waits until it is known what there is to read.
    ///
    /// # Errors
    /// What ended the pull.
    pub async fn head(&mut self) -> Result<ContentHead, Arc<PullError>> {
        loop {
            if let Some(known) = &*self.known.borrow_and_update() {
                return Ok(known.head.clone());
            }
            self.news(None).await?;
        }
    }

    /// Where it lies, if it is whole: a name in its snapshot or local folder.
    #[must_use]
    pub fn place(&self) -> Option<PathBuf> {
        match &self.known.borrow().as_ref()?.source {
            Some(Source::InPlace(path)) => Some(path.clone()),
            _ => None,
        }
    }

    /// The next bytes from `at` on: one at least and `max` at most, as soon as they are proven; none at the end.
    ///
    /// # Errors
    /// What ended the pull; [`PullError::EngineGone`] for a file that was changed or taken away while it was read.
    pub async fn read(&mut self, at: u64, max: usize) -> Result<Bytes, Arc<PullError>> {
        let size = self.head().await?.size;
        let max = max.min(READ_BYTES_MAX).min(usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX));
        if max == 0 {
            return Ok(Bytes::new());
        }
        loop {
            let source = self.known.borrow_and_update().as_ref().and_then(|known| known.source.clone());
            let changes = match source {
                Some(Source::InPlace(path)) => return self.read_file(&path, at, max).await,
                Some(Source::UnderWay(job)) => {
                    let changes = job.changes();
                    if let Look::Bytes(bytes) = self.look(job, at, max).await? {
                        return Ok(bytes);
                    }
                    Some(changes)
                }
                None => None,
            };
            self.news(changes).await?;
        }
    }

    /// Where the next bytes from `at` on lie, one at least, as soon as they are proven.
    ///
    /// # Errors
    /// As [`Content::read`].
    ///
    /// # Panics
    /// At the end.
    pub async fn extent(&mut self, at: u64) -> Result<Extent, Arc<PullError>> {
        let size = self.head().await?.size;
        assert!(at < size, "there is something to read");
        loop {
            let source = self.known.borrow_and_update().as_ref().and_then(|known| known.source.clone());
            let changes = match source {
                Some(Source::InPlace(path)) => {
                    let whole = tokio::task::spawn_blocking(move || whole(&path, at..size)).await;
                    return whole.map_err(|_| gone())?.ok_or_else(gone);
                }
                Some(Source::UnderWay(job)) => {
                    let changes = job.changes();
                    let len = self.proven(&job, at, EXTENT_BYTES_MAX);
                    // Once it is sealed it has another name, of which there will be word.
                    if let Some((len, (path, file))) = len.zip(job.place()) {
                        return Ok(Extent { path, file, bytes: at..at + len as u64 });
                    }
                    Some(changes)
                }
                None => None,
            };
            self.news(changes).await?;
        }
    }

    /// Waits until it is whole and has its name; gives that.
    ///
    /// # Errors
    /// What ended the pull.
    pub async fn landed(&mut self) -> Result<PathBuf, Arc<PullError>> {
        loop {
            self.known.borrow_and_update();
            if let Some(path) = self.place() {
                return Ok(path);
            }
            self.news(None).await?;
        }
    }

    /// How many bytes from `at` on are proven. If none are, they are wanted before others.
    fn proven(&mut self, job: &JobFile, at: u64, max: usize) -> Option<usize> {
        let len = job.proven_at(&mut self.spot, at, max);
        if len.is_none() && self.awaited.replace((job.id, at)) != Some((job.id, at)) {
            self.session.await_bytes(job.id, at..at.saturating_add(AHEAD_BYTES));
        }
        len
    }

    async fn look(&mut self, job: Arc<JobFile>, at: u64, max: usize) -> Result<Look, Arc<PullError>> {
        let Some(len) = self.proven(&job, at, max) else { return Ok(Look::Wait) };
        let read = move || {
            let mut bytes = vec![0; len];
            // Once it is sealed it has another name, of which there will be word.
            job.read_at(at, &mut bytes).then(|| Bytes::from(bytes))
        };
        let read = tokio::task::spawn_blocking(read).await;
        Ok(read.map_err(|_| gone())?.map_or(Look::Wait, Look::Bytes))
    }

    async fn read_file(&mut self, path: &Path, at: u64, max: usize) -> Result<Bytes, Arc<PullError>> {
        let open = self.open.take().filter(|(of, _)| of == path).map(|(_, file)| file);
        let own = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let file = match open {
                Some(file) => file,
                None => Arc::new(File::open(&own)?),
            };
            let mut bytes = vec![0; max];
            file.read_exact_at(&mut bytes, at)?;
            Ok::<_, std::io::Error>((file, Bytes::from(bytes)))
        });
        let (file, bytes) = read.await.map_err(|_| gone())?.map_err(|error| {
            tracing::warn!(%error, path = %path.display(), "a file that was whole cannot be read");
            gone()
        })?;
        self.open = Some((path.to_owned(), file));
        Ok(bytes)
    }

    /// Waits until more may be known.
    async fn news(&mut self, changes: Option<watch::Receiver<()>>) -> Result<(), Arc<PullError>> {
        let more = async {
            match changes {
                Some(mut changes) => drop(changes.changed().await),
                None => std::future::pending::<()>().await,
            }
        };
        tokio::select! {
            biased;
            told = self.known.changed() => if told.is_ok() { return Ok(()) },
            () = more => return Ok(()),
        }
        // Who would tell is gone: the pull's end says why.
        self.pull.wait().await?;
        // Its last word was there before its end.
        if self.place().is_some() { Ok(()) } else { Err(gone()) }
    }
}

/// The bytes of a file that is whole.
fn whole(path: &Path, bytes: Range<u64>) -> Option<Extent> {
    let path = std::fs::canonicalize(path).ok()?;
    let meta = std::fs::metadata(&path).ok()?;
    (meta.is_file() && meta.len() == bytes.end).then(|| Extent {
        path,
        file: Identity::of(&meta).file(),
        bytes,
    })
}

fn gone() -> Arc<PullError> {
    Arc::new(PullError::EngineGone)
}
