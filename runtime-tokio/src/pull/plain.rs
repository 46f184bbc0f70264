//! Files fetched whole from the Hub: small ones, and those outside Xet. Checked by git blob id or sha256 as they land.

use super::Pull;
use crate::PullError;
use crate::progress::How;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::io::Write as _;
use std::rc::Rc;
use zest_hub::HubError;
use zest_store::{StoreError, TreeEntry};

/// Files fetched at once.
const AT_ONCE: usize = 8;
/// Times a file is fetched again when its bytes do not prove or its stream breaks.
const TRIES: u32 = 4;

impl Pull {
    pub(super) async fn fetch_plain(self: Rc<Pull>, entries: Vec<TreeEntry>) -> Result<(), PullError> {
        let mut waiting = entries.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < AT_ONCE {
                let Some(entry) = waiting.next() else { break };
                running.push(self.clone().fetch_one(entry));
            }
            match running.next().await {
                Some(done) => done?,
                None => return Ok(()),
            }
        }
    }

    async fn fetch_one(self: Rc<Pull>, entry: TreeEntry) -> Result<(), PullError> {
        if self.destination.copy_from_cache(&self.options.repo, &self.commit, &entry).await? {
            self.tally.file_done(&entry, How::Linked);
            return Ok(());
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.fetch_try(&entry).await {
                Ok(()) => break,
                Err(error) if tries < TRIES && worth_another_try(&error) => {
                    tracing::info!(path = entry.path, %error, "fetching again");
                }
                Err(error) => return Err(error),
            }
        }
        self.tally.file_done(&entry, How::Hub);
        Ok(())
    }

    async fn fetch_try(&self, entry: &TreeEntry) -> Result<(), PullError> {
        let (repo, commit) = (&self.options.repo, &self.commit);
        let (mut file, temp) = self.destination.temp_file(repo, entry)?;
        let mut guard = RemoveOnDrop(Some(temp.clone()));
        let before = self.tally.whole_hub.get();
        let io = |source: std::io::Error| {
            PullError::Store(StoreError::from_io("write", &temp, source, entry.content_size()))
        };
        if entry.content_size() > 0 {
            let hub = self.hub.as_ref().ok_or_else(|| PullError::Offline {
                repo: repo.name.clone(),
                missing: 1,
                total: 1,
                names: entry.path.clone(),
            })?;
            let mut body = hub.small_file(repo, commit, &entry.path).await?.at_most(entry.content_size());
            loop {
                if let Some(throttle) = &self.context.throttle {
                    throttle.turn().await;
                }
                let Some(bytes) = body.chunk().await.map_err(|error| of_body(error, entry))? else { break };
                self.context.took(bytes.len());
                file.write_all(&bytes).map_err(io)?;
                self.tally.whole_hub.set(self.tally.whole_hub.get() + bytes.len() as u64);
            }
        }
        drop(file);
        match self.destination.land_small(repo, commit, entry, temp).await? {
            Ok(_) => {
                guard.0 = None;
                Ok(())
            }
            Err(error) => {
                self.tally.whole_hub.set(before);
                Err(error.into())
            }
        }
    }
}

/// More bytes than the file has are wrong bytes, not a server that breaks the interface.
fn of_body(error: HubError, entry: &TreeEntry) -> PullError {
    match error {
        HubError::TooLarge { .. } => {
            PullError::TooLong { path: entry.path.clone(), want: entry.content_size() }
        }
        error => error.into(),
    }
}

fn worth_another_try(error: &PullError) -> bool {
    match error {
        PullError::TooLong { .. } => true,
        PullError::Store(StoreError::WrongSize { .. } | StoreError::WrongContent { .. }) => true,
        PullError::Hub(error) => error.is_transient(),
        _ => false,
    }
}

/// A temporary file that nobody will finish goes away with its task.
struct RemoveOnDrop(Option<std::path::PathBuf>);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}
