//! Bytes given away per day (UTC), over all processes that use the same zest cache: a small file keeps the account.

use crate::context::Context;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use zest_core::node::Event;

/// Least budget: 1 MiB a day, a few chunks. Ours; who wants to give nothing says so with `--no-p2p`.
pub const UPLOAD_BUDGET_MIN: u64 = 1 << 20;
/// The account is brought up to date this often: 2 s. Ours; a killed process forgets what it gave since.
const TICK: Duration = Duration::from_secs(2);
/// Seconds of a day.
const DAY_S: u64 = 24 * 3600;

/// How many bytes may be given away per day, and where that is kept count of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadBudget {
    /// Bytes per day.
    pub bytes: u64,
    /// The file of the account. Its folder is made if need be.
    pub account: PathBuf,
}

/// What the file says.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Account {
    /// Days since 1970-01-01, UTC.
    day: u64,
    /// Given away on that day.
    bytes: u64,
}

/// Days since 1970-01-01, UTC.
fn today() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY_S)
}

/// Adds to a day's account; gives what it says then. Another day's account is closed with that.
fn add(path: &Path, day: u64, bytes: u64) -> io::Result<u64> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let lock = File::options().create(true).append(true).open(path.with_extension("lock"))?;
    lock.lock()?;
    let mut account = match std::fs::read(path) {
        // An account that cannot be read begins anew: it is ours alone, and written whole.
        Ok(text) => serde_json::from_slice::<Account>(&text).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Account::default(),
        Err(error) => return Err(error),
    };
    let before = (account.day, account.bytes);
    if account.day != day {
        account = Account { day, bytes: 0 };
    }
    account.bytes = account.bytes.saturating_add(bytes);
    if (account.day, account.bytes) != before {
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&account)?)?;
        std::fs::rename(&new, path)?;
    }
    Ok(account.bytes)
}

/// The budget of a running engine.
pub(crate) struct Budget {
    limits: UploadBudget,
    /// What the account knows of what this process gave.
    noted: u64,
}

impl Budget {
    pub(crate) fn new(limits: UploadBudget) -> Self {
        Self { limits, noted: 0 }
    }

    /// Notes what was given since the last time, and tells the node what is left today.
    pub(crate) async fn settle(&mut self, context: &Rc<Context>) -> io::Result<()> {
        let given = context.transport.traffic.given();
        let (path, more) = (self.limits.account.clone(), given - self.noted);
        let noted = tokio::task::spawn_blocking(move || add(&path, today(), more)).await;
        let all = noted.map_err(io::Error::other)??;
        self.noted = given;
        // Given while the account was written: not in it yet.
        let since = context.transport.traffic.given() - given;
        let left = self.limits.bytes.saturating_sub(all.saturating_add(since));
        context.transport.traffic.set_budget_left(left);
        context.event(Event::UploadBudget { bytes: Some(left) });
        Ok(())
    }

    /// Keeps the account while the engine runs. Never ends.
    pub(crate) async fn keep(budget: Rc<tokio::sync::Mutex<Self>>, context: Rc<Context>) {
        loop {
            tokio::time::sleep(TICK).await;
            // Without the account the node goes on counting by itself.
            if let Err(error) = budget.lock().await.settle(&context).await {
                tracing::warn!(target: zest_store::SAID, kind = "budget-account", "what was uploaded today cannot be noted: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_adds_up_and_begins_anew_with_the_day() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zest/uploads.json");
        assert_eq!(add(&path, 20_000, 0).unwrap(), 0);
        assert_eq!(add(&path, 20_000, 7).unwrap(), 7);
        assert_eq!(add(&path, 20_000, 5).unwrap(), 12, "another process adds to it");
        assert_eq!(add(&path, 20_001, 3).unwrap(), 3);
        std::fs::write(&path, b"{").unwrap();
        assert_eq!(add(&path, 20_001, 1).unwrap(), 1, "a damaged account begins anew");
    }
}
