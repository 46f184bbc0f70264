//! `zest cache verify --repair`: what is wrong is taken out and fetched again, of large files the wrong chunks alone.

use super::RepairArgs;
use crate::args::PullArgs;
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::pull;
use crate::ui::{Ui, units};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use zest_store::{
    Catalog, HfCache, PartialError, RepoId, SnapshotFile, VerifyOutcome, salvage, verify_and_note,
};

pub(super) fn run(
    args: RepairArgs,
    cache_dir: Option<PathBuf>,
    settled: impl Fn(&[OsString]) -> Result<PullArgs, clap::Error>,
    ui: &Ui,
) -> Result<(), Failure> {
    let env = engine::environment(ui);
    let cache = super::open(cache_dir, ui)?;
    let filter = args.repo.as_deref().map(|name| engine::repo_id(name, args.kind)).transpose()?;
    let catalog = Catalog::open(&env.zest_cache).map_err(|error| engine::store_failure(&error))?;
    let mut wrong: BTreeMap<(RepoId, String), Vec<String>> = BTreeMap::new();
    let mut unreadable = 0;
    let mut status = ui.status();
    status.show("hashing …", false);
    let summary = verify_and_note(&cache, filter.as_ref(), &catalog, &mut |event| {
        if let VerifyOutcome::Wrong { .. } = event.outcome {
            wrong.entry((event.repo.clone(), event.commit.clone())).or_default().push(event.path.clone());
        }
        unreadable += u64::from(matches!(event.outcome, VerifyOutcome::Unreadable { .. }));
    });
    drop(status);
    for ((repo, commit), paths) in &wrong {
        let files: Vec<SnapshotFile> = cache.snapshot(repo, commit);
        for file in files.iter().filter(|file| paths.contains(&file.entry.path)) {
            // Two snapshots may lead to one wrong file, which is gone by now.
            if !file.path.exists() {
                continue;
            }
            let kept = salvage(&cache, &catalog, file).map_err(|error| failure(file, error))?;
            ui.say(format!(
                "{repo} {}: {} to fetch again, {} are right",
                file.entry.path,
                units::bytes(kept.bad_bytes),
                units::bytes(kept.good_bytes)
            ));
        }
    }
    for ((repo, commit), paths) in wrong {
        let line = line(&repo, &commit, &paths, &cache, &args.peer);
        let args = settled(&line).map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
        engine::block_on(pull::run(args, ui))?;
    }
    if unreadable > 0 {
        let files = units::counted(unreadable, "file");
        return Err(Failure::new(Kind::Disk, format_args!("{files} cannot be read, and stay as they are"))
            .hint("`zest cache verify` names them"));
    }
    if summary.wrong == 0 {
        ui.say(format!("nothing is wrong: {} right", units::counted(summary.ok, "file")));
    }
    Ok(())
}

fn failure(file: &SnapshotFile, error: PartialError) -> Failure {
    match error {
        PartialError::Store(error) => engine::store_failure(&error),
        busy @ PartialError::Busy { .. } => {
            Failure::new(Kind::Disk, format_args!("{}: {busy}", file.entry.path))
                .hint("another zest is fetching it; wait for it")
        }
    }
}

/// What one would type.
fn line(repo: &RepoId, commit: &str, paths: &[String], cache: &HfCache, peers: &[String]) -> Vec<OsString> {
    let kind = repo.kind.as_str();
    let mut line: Vec<OsString> = ["zest", "pull", "--no-daemon", "--type", kind].map(Into::into).to_vec();
    line.extend(["--revision", commit, "--cache-dir"].map(Into::into));
    line.push(cache.root().into());
    for peer in peers {
        line.extend(["--peer".into(), peer.into()]);
    }
    line.extend(["--".into(), repo.name.clone().into()]);
    line.extend(paths.iter().map(Into::into));
    line
}
