//! Waiting for a lock that another process holds: said at once, with its holder, and not for ever.

use super::Pull;
use super::errand::Errand;
use crate::PullError;
use crate::api::FileWait;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use zest_store::TreeEntry;

/// While another process has a file's lock, it is looked at this often.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// A lock is passed over when nothing of the file has moved for so long: 10 s. Names by content make that safe; at worst the file
/// is fetched twice.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether something moves: 1 s.
const LOOK: Duration = Duration::from_secs(1);

/// What was not waited for in so long is waited for no longer: 1 s.
const FRESH: Duration = Duration::from_secs(1);

/// Files that are waited for, by path: who has the lock, since when it is waited for, and when it was last.
pub(super) type Waits = BTreeMap<String, (String, Instant, Instant)>;

/// Those that are waited for at present.
pub(super) fn now(waits: &Waits) -> Vec<FileWait> {
    let fresh = waits.iter().filter(|(_, (_, _, last))| last.elapsed() < FRESH);
    let mut files: Vec<FileWait> = fresh
        .map(|(path, (who, since, _))| FileWait {
            path: path.clone(),
            who: who.clone(),
            seconds: since.elapsed().as_secs(),
        })
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.seconds));
    files
}

/// How the waiting for one file goes.
#[derive(Default)]
pub(super) struct Waiting {
    waited: Duration,
    /// Since something of the file moved.
    still: Duration,
    signs: u64,
    said: bool,
    /// Who has the lock.
    who: String,
}

impl Waiting {
    /// Whether there was any.
    pub(super) fn has_waited(&self) -> bool {
        !self.waited.is_zero()
    }
}

impl Pull {
    /// Whether the lock of a file is to be waited for no longer. Says so once.
    pub(super) fn passes_over(
        &self,
        entry: &TreeEntry,
        waiting: &mut Waiting,
        errand: Option<&Errand>,
    ) -> bool {
        if self.options.lock_held {
            return true;
        }
        let over = waiting.still >= LOCK_PATIENCE;
        if over && !std::mem::replace(&mut waiting.said, true) {
            let secs = LOCK_PATIENCE.as_secs();
            let text = format!("{}: nothing moved for {secs} s: fetching it all the same", entry.path);
            self.say(errand, "passed-over", entry, text);
        }
        over || waiting.said
    }

    /// Waits a little, and looks whether whoever has the lock is getting on.
    pub(super) async fn wait_a_little(
        &self,
        entry: &TreeEntry,
        waiting: &mut Waiting,
        errand: Option<&Errand>,
    ) -> Result<(), PullError> {
        let repo = &self.options.repo;
        let is_due = waiting.waited.as_millis().is_multiple_of(LOOK.as_millis());
        if is_due {
            // Again and again: another one may have it by now, and how long it has run is part of its name.
            let holder = self.destination.lock_holder(repo, entry);
            waiting.who = holder.unwrap_or_else(|| "another process".to_owned());
        }
        if !waiting.has_waited() {
            let text =
                format!("{}: waiting for {}, which has the lock of this file", entry.path, waiting.who);
            self.say(errand, "waiting", entry, text);
        }
        let at = Instant::now();
        let mark = |user: &Self| {
            let mut waits = user.said.waiting.borrow_mut();
            let wait = waits.entry(entry.path.clone()).or_insert_with(|| (String::new(), at, at));
            // It may have been waited for before.
            let since = if at.duration_since(wait.2) < FRESH { wait.1 } else { at };
            *wait = (waiting.who.clone(), since, at);
        };
        match errand {
            None => mark(self),
            Some(errand) => errand.users().iter().for_each(|user| mark(user)),
        }
        if is_due {
            let now = self.destination.signs_of_life(repo, entry).await?;
            if now != waiting.signs {
                (waiting.signs, waiting.still) = (now, Duration::ZERO);
            }
        }
        tokio::time::sleep(LOCK_POLL).await;
        waiting.waited += LOCK_POLL;
        waiting.still += LOCK_POLL;
        Ok(())
    }

    /// Says something of a file to all who wait for it.
    fn say(&self, errand: Option<&Errand>, kind: &'static str, entry: &TreeEntry, text: String) {
        match errand {
            None => self.notice(kind, Some(&entry.path), text),
            Some(errand) => {
                for user in errand.users() {
                    user.notice(kind, Some(&entry.path), text.clone());
                }
            }
        }
    }
}
