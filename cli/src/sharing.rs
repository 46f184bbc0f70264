//! What is shared, in words: the folders, and the repositories in them that anyone may read.

use crate::failure::{Failure, Kind};
use crate::ui::units;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use zest_runtime_tokio::{Folders, Shared};
use zest_store::{Endpoint, Env, RepoId};

/// Repositories named on the screen at once: 20. `--json` names all.
const NAMES_SHOWN: usize = 20;

/// These folders, and the local ones.
///
/// # Errors
/// One of them is no folder.
pub(crate) fn with_local_dirs(mut folders: Folders, local_dirs: &[PathBuf]) -> Result<Folders, Failure> {
    if let Some(dir) = local_dirs.iter().find(|dir| !dir.is_dir()) {
        return Err(Failure::new(Kind::Disk, format_args!("{} is not a folder", dir.display()))
            .hint("name a folder that `zest pull --local-dir` has filled"));
    }
    folders.local_dirs.extend_from_slice(local_dirs);
    Ok(folders)
}

/// With whom they are shared, if not with everybody.
pub(crate) fn reach(folders: &Folders, env: &Env) -> Option<String> {
    let hub = Endpoint::new(&env.endpoint);
    let everybody = hub == Endpoint::public() || folders.mirrors.contains(&hub);
    (!everybody).then(|| {
        format!("what {hub} shows goes to this network and named peers that use it too; --public-mirror widens that")
    })
}

/// The folders for people.
pub(crate) fn words(folders: &Folders) -> String {
    let names: Vec<String> = folders.all().map(|folder| folder.display().to_string()).collect();
    if names.is_empty() {
        return "sharing what it fetches itself, and nothing else".to_owned();
    }
    format!("sharing what lies in {}, and nothing else", names.join(", "))
}

/// The folders for programs.
pub(crate) fn document(folders: &Folders) -> Value {
    json!(folders.all().map(|folder| folder.display().to_string()).collect::<Vec<_>>())
}

/// What is new since `before`, and what is shared no longer, a line each.
pub(crate) fn news(shared: &Shared, before: &Shared) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let new: Vec<_> =
        shared.iter().filter(|(repo, commit, amount)| before.get(repo, commit) != Some(*amount)).collect();
    for (repo, commit, amount) in new.iter().take(NAMES_SHOWN) {
        let files = units::counted(amount.files, "file");
        let short = commit.get(..8).unwrap_or(commit);
        lines.push(format!("sharing {repo} at {short}: {files} ({})", units::bytes(amount.bytes)));
    }
    if let Some(more) = new.len().checked_sub(NAMES_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("and {} more; --json names all", units::counted(more as u64, "revision")));
    }
    let names = |shared: &Shared| shared.iter().map(|(repo, ..)| repo.clone()).collect::<BTreeSet<RepoId>>();
    for repo in names(before).difference(&names(shared)) {
        lines.push(format!("not shared any more: {repo}"));
    }
    lines
}
