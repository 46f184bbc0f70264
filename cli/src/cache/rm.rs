//! `zest cache rm` and `prune`: what would go is said first, and asked about.

use super::RemoveArgs;
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::ui::{Ui, units};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use zest_store::{HfCache, Removed, RepoId, StoreError};

pub(super) fn run(cache: &HfCache, what: &[String], how: &RemoveArgs, ui: &Ui) -> Result<(), Failure> {
    let mut targets: BTreeMap<RepoId, BTreeSet<String>> = BTreeMap::new();
    for text in what {
        for (repo, commits) in resolve(cache, text)? {
            targets.entry(repo).or_default().extend(commits);
        }
    }
    let remove = |dry| {
        let mut removed = Removed::default();
        for (repo, commits) in &targets {
            removed.add(cache.remove(repo, commits, dry)?);
        }
        Ok(removed)
    };
    carry_out(&remove, how, ui)
}

pub(super) fn prune(cache: &HfCache, how: &RemoveArgs, ui: &Ui) -> Result<(), Failure> {
    carry_out(&|dry| cache.prune(dry), how, ui)
}

/// Repositories and commits that a word of the command line means.
fn resolve(cache: &HfCache, text: &str) -> Result<BTreeMap<RepoId, BTreeSet<String>>, Failure> {
    let mut found: BTreeMap<RepoId, BTreeSet<String>> = BTreeMap::new();
    let by_commit = cache.find_commits(text);
    if !text.contains('/') && !by_commit.is_empty() {
        let commits: BTreeSet<&String> = by_commit.iter().map(|(_, commit)| commit).collect();
        if commits.len() > 1 {
            return Err(Failure::new(
                Kind::Usage,
                format_args!("{text} is how {} commits begin", units::count(commits.len() as u64)),
            )
            .hint("give more digits; `zest cache ls --revisions --json` shows them all"));
        }
        for (repo, commit) in by_commit {
            found.entry(repo).or_default().insert(commit);
        }
        return Ok(found);
    }
    let plain = text.strip_prefix("hf://").unwrap_or(text);
    let plain = plain.strip_prefix("model/").filter(|rest| rest.contains('/')).unwrap_or(plain);
    let (name, revision) = match plain.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (plain, None),
    };
    let repo = engine::repo_id(name, None)?;
    let here: BTreeSet<String> = cache.commits(&repo).into_iter().collect();
    let known = cache.repos().contains(&repo);
    let commits = match revision {
        None => here,
        Some(revision) => {
            let commit = cache.resolve_ref(&repo, revision).filter(|commit| here.contains(commit));
            commit.into_iter().collect()
        }
    };
    if !known || revision.is_some() && commits.is_empty() {
        return Err(Failure::new(
            Kind::NotFound,
            format_args!("nothing of {text} is in {}", cache.root().display()),
        )
        .hint("`zest cache ls` shows what is; datasets/ORG/NAME and spaces/ORG/NAME name the other kinds"));
    }
    found.insert(repo, commits);
    Ok(found)
}

fn carry_out(
    remove: &dyn Fn(bool) -> Result<Removed, StoreError>,
    how: &RemoveArgs,
    ui: &Ui,
) -> Result<(), Failure> {
    let failed = |error: StoreError| engine::store_failure(&error);
    let told = remove(true).map_err(failed)?;
    let nothing = told.files == 0 && told.revisions == 0;
    if !how.dry_run && !nothing && !how.yes && !confirmed(&told, ui)? {
        ui.say("nothing was removed");
        return Ok(());
    }
    let removed = if how.dry_run || nothing { told } else { remove(false).map_err(failed)? };
    if ui.json() {
        let document = json!({
            "dry_run": how.dry_run,
            "revisions": removed.revisions,
            "files": removed.files,
            "bytes": removed.bytes,
            "kept": removed.kept,
        });
        return ui.data(&document.to_string());
    }
    for kept in &removed.kept {
        ui.say(format!("stays: {kept}"));
    }
    let verb = if how.dry_run { "would remove" } else { "removed" };
    ui.say(if nothing { "nothing to remove".to_owned() } else { format!("{verb} {}", sentence(&removed)) });
    Ok(())
}

fn sentence(removed: &Removed) -> String {
    let files = units::counted(removed.files, "file");
    match removed.revisions {
        0 => format!("{files}, {}", units::bytes(removed.bytes)),
        some => format!("{}, {files}, {}", units::counted(some, "revision"), units::bytes(removed.bytes)),
    }
}

fn confirmed(told: &Removed, ui: &Ui) -> Result<bool, Failure> {
    if ui.json() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(Kind::Usage, format_args!("would remove {}", sentence(told)))
            .hint("say --yes to do it, or --dry-run to see it only"));
    }
    let mut terminal = std::io::stderr();
    let _ = write!(terminal, "remove {}? [y/N] ", sentence(told)).and_then(|()| terminal.flush());
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
