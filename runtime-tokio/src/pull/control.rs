//! What its user tells a pull while it runs, and what it tells back.

use crate::api::{Priority, Progress, PulledFile};
use crate::cancel::CancelToken;
use crate::jobs::JobFile;
use crate::session::ContentHead;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::watch;
use zest_hub::Hub;
use zest_store::TreeEntry;

/// What its user wants of a pull.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) paused: bool,
    pub(crate) priority: Priority,
}

/// The files of a pull that are in their places, in the order in which they came there.
pub(crate) type Arrivals = Arc<Mutex<Vec<PulledFile>>>;

/// What is known of the one file of a pull that is read while it comes.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) head: ContentHead,
    pub(crate) source: Option<Source>,
}

/// Where its bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// What is proven of it lies in its partial file.
    UnderWay(Arc<JobFile>),
    /// It is whole, under this name.
    InPlace(PathBuf),
}

/// The pull's end of the line to who reads its one file while it comes.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) known: watch::Sender<Option<Known>>,
    /// Who is asked for it, and the bytes of answers that had come before.
    pub(crate) asked: Arc<OnceLock<(Hub, u64)>>,
}

/// The pull's end of the lines to its user.
#[derive(Debug)]
pub(crate) struct Control {
    /// See [`zest_core::node::JobSpec::pull`]; 0 before it runs.
    pub(crate) number: u32,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) cancel: CancelToken,
    pub(crate) wish: watch::Receiver<Wish>,
    pub(crate) arrivals: Arrivals,
    /// Of a pull of one file that somebody reads.
    pub(crate) reader: Option<Reader>,
}

impl Control {
    /// One that is told of progress and may cancel.
    pub(crate) fn simple(progress: watch::Sender<Progress>, cancel: CancelToken) -> Self {
        let wish = watch::channel(Wish::default()).1;
        Self { number: 0, progress, cancel, wish, arrivals: Arrivals::default(), reader: None }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.wish.borrow().paused
    }

    pub(crate) fn priority(&self) -> Priority {
        self.wish.borrow().priority
    }

    /// Waits as long as the pull is to rest.
    pub(crate) async fn unpaused(&self) {
        let mut wish = self.wish.clone();
        // If nobody is left to say more, it goes on.
        let _gone = wish.wait_for(|wish| !wish.paused).await;
    }

    /// Waits until the pull is to rest.
    pub(crate) async fn paused(&self) {
        let mut wish = self.wish.clone();
        if wish.wait_for(|wish| wish.paused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until its user wants something else than before.
    pub(crate) async fn changed(wish: &mut watch::Receiver<Wish>) {
        if wish.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells who reads the file who is asked for it.
    pub(crate) fn asks(&self, hub: &Hub) {
        if let Some(reader) = &self.reader {
            reader.asked.get_or_init(|| (hub.clone(), hub.answers_bytes()));
        }
    }

    /// Tells who reads the file what is known of it.
    pub(crate) fn reads(&self, entry: &TreeEntry, source: impl FnOnce() -> Option<Source>) {
        if let Some(reader) = &self.reader {
            let head = ContentHead {
                size: entry.content_size(),
                etag: entry.etag().to_owned(),
                xet_hash: entry.xet_hash.map(|hash| hash.to_string()),
            };
            reader.known.send_replace(Some(Known { head, source: source() }));
        }
    }

    /// Tells who reads the file that it is under way.
    pub(crate) fn under_way(&self, job: &Arc<JobFile>) {
        self.lies(Source::UnderWay(job.clone()));
    }

    /// Tells who reads the file where it lies now.
    pub(crate) fn lies(&self, source: Source) {
        if let Some(reader) = &self.reader {
            reader.known.send_modify(|known| {
                if let Some(known) = known {
                    known.source = Some(source);
                }
            });
        }
    }

    pub(crate) fn arrived(&self, file: PulledFile) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }
}
