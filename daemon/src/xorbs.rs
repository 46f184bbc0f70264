//! Xorbs in the original's cache, counted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a count of the original's xorbs is used: 30 s. It is a walk over up to 256 folders.
const XORBS_FOR: Duration = Duration::from_secs(30);

/// The count of xorbs, and when it was made.
#[derive(Debug, Default)]
pub(crate) struct Xorbs(tokio::sync::Mutex<Option<(Instant, u64)>>);

impl Xorbs {
    pub(crate) async fn count(&self, zest_cache: &Path) -> u64 {
        // One walk at a time; who comes meanwhile waits for its outcome.
        let mut last = self.0.lock().await;
        if let Some((at, count)) = *last
            && at.elapsed() < XORBS_FOR
        {
            return count;
        }
        let root = zest_cache.join("xorbs");
        let count = tokio::task::spawn_blocking(move || count_xorbs(&root)).await.unwrap_or(0);
        *last = Some((Instant::now(), count));
        count
    }
}

/// Whole xorbs: `xorbs/<2 hex>/<64 hex>`; parts of one have a number behind a dot.
fn count_xorbs(root: &Path) -> u64 {
    let is_hash = |name: &std::ffi::OsStr| {
        name.to_str()
            .is_some_and(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries(root).filter(|entry| entry.file_name().len() == 2);
    let whole = |dir: PathBuf| entries(&dir).filter(|entry| is_hash(&entry.file_name())).count() as u64;
    folders.map(|folder| whole(folder.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_xorbs_of_the_original_are_counted_and_parts_are_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("xorbs");
        assert_eq!(count_xorbs(&root), 0);
        let hash = "c8".repeat(32);
        std::fs::create_dir_all(root.join("c8")).expect("a folder");
        std::fs::write(root.join("c8").join(&hash), "x").expect("written");
        std::fs::write(root.join("c8").join(format!("{hash}.3")), "x").expect("written");
        std::fs::write(root.join("stray"), "x").expect("written");
        assert_eq!(count_xorbs(&root), 1);
    }
}
