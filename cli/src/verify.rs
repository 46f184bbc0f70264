//! `zest verify`: re-hashes a cache and says what is wrong.

use crate::args::VerifyArgs;
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::ui::{Ui, units};
use serde_json::{Value, json};
use zest_store::{Catalog, HfCache, VerifyEvent, VerifyOutcome, VerifySummary, verify_and_note};

/// Bytes between two updates of the status line: 64 MB, a few per second.
const STATUS_BYTES: u64 = 64_000_000;

pub(crate) fn run(args: VerifyArgs, ui: &Ui) -> Result<(), Failure> {
    let mut env = engine::environment(ui);
    if let Some(dir) = args.cache_dir {
        env.hub_cache = dir;
    }
    let filter = args.repo.as_deref().map(|name| engine::repo_id(name, args.kind)).transpose()?;
    if !env.hub_cache.is_dir() {
        return Err(Failure::new(Kind::NotFound, format_args!("no cache at {}", env.hub_cache.display()))
            .hint("set HF_HUB_CACHE, or name it with --cache-dir"));
    }
    let cache = HfCache::open(&env.hub_cache, env.cache_options()).map_err(|e| engine::store_failure(&e))?;

    // What is found right here need not be read again by a pull or a seeder.
    let catalog = Catalog::open(&env.zest_cache).map_err(|e| engine::store_failure(&e))?;
    let mut report = Report::default();
    let mut status = ui.status();
    let mut next_status = 0;
    let summary = verify_and_note(&cache, filter.as_ref(), &catalog, &mut |event| {
        report.bytes += event.size;
        if let Some(line) = report.take(&event) {
            ui.say(line);
        }
        if report.bytes >= next_status {
            next_status = report.bytes + STATUS_BYTES;
            status.show(&format!("{} hashed, last {}", units::bytes(report.bytes), event.path), false);
        }
    });
    drop(status);
    if ui.json() {
        ui.data(&report.to_json(&summary))?;
    } else if summary.files > 0 {
        ui.say(sentence(&summary));
    }
    outcome(&summary, args.repo.as_deref())
}

/// What went by, for the screen and for JSON.
#[derive(Default)]
struct Report {
    bytes: u64,
    objections: Vec<Value>,
}

impl Report {
    /// Notes an event; returns the line to show if there is something to say.
    fn take(&mut self, event: &VerifyEvent) -> Option<String> {
        let (kind, text) = match &event.outcome {
            VerifyOutcome::Ok => return None,
            // A pull of some files only leaves the others out: worth knowing, not wrong.
            VerifyOutcome::Missing => ("missing", "is not here".to_owned()),
            VerifyOutcome::Wrong { algorithm, expected, actual } => {
                ("wrong", format!("{algorithm} is {actual}, should be {expected}"))
            }
            VerifyOutcome::Unreadable { why } => ("unreadable", why.to_string()),
        };
        self.objections.push(json!({
            "kind": kind,
            "repo": event.repo.to_string(),
            "commit": event.commit,
            "path": event.path,
            "file": event.file.to_string_lossy(),
            "what": text,
        }));
        (kind != "missing")
            .then(|| format!("{kind}: {} {}: {text}\n  {}", event.repo, event.path, event.file.display()))
    }

    fn to_json(&self, summary: &VerifySummary) -> String {
        json!({
            "files": summary.files,
            "ok": summary.ok,
            "wrong": summary.wrong,
            "missing": summary.missing,
            "unreadable": summary.unreadable,
            "bytes": summary.bytes,
            "objections": self.objections,
        })
        .to_string()
    }
}

fn sentence(summary: &VerifySummary) -> String {
    let mut text = format!(
        "{} of {} right, {} hashed",
        units::count(summary.ok),
        units::counted(summary.files - summary.missing, "file"),
        units::bytes(summary.bytes)
    );
    for (count, word) in
        [(summary.wrong, "wrong"), (summary.unreadable, "unreadable"), (summary.missing, "not here")]
    {
        if count > 0 {
            text += &format!(", {} {word}", units::count(count));
        }
    }
    text
}

fn outcome(summary: &VerifySummary, repo: Option<&str>) -> Result<(), Failure> {
    if summary.wrong + summary.unreadable > 0 {
        let bad = units::counted(summary.wrong + summary.unreadable, "file");
        return Err(Failure::new(Kind::Verify, format_args!("{bad} in the cache cannot be trusted"))
            .hint("`zest cache verify --repair` fetches again what is wrong of them"));
    }
    match repo {
        Some(repo) if summary.files == summary.missing => {
            Err(Failure::new(Kind::NotFound, format_args!("nothing of {repo} is in the cache"))
                .hint(format_args!("check --type and --cache-dir, or run `zest pull {repo}`")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(ok: u64, wrong: u64, missing: u64) -> VerifySummary {
        VerifySummary { files: ok + wrong + missing, ok, wrong, missing, ..VerifySummary::default() }
    }

    #[test]
    fn wrong_files_decide_the_exit_code_and_missing_ones_do_not() {
        assert_eq!(outcome(&summary(3, 1, 0), None).expect_err("wrong").kind, Kind::Verify);
        assert_eq!(outcome(&summary(3, 0, 2), Some("a/b")), Ok(()));
        assert_eq!(outcome(&summary(0, 0, 0), None), Ok(()));
        assert_eq!(outcome(&summary(0, 0, 0), Some("a/b")).expect_err("nothing").kind, Kind::NotFound);
    }

    #[test]
    fn the_sentence_counts_what_is_here() {
        assert_eq!(sentence(&summary(3, 0, 2)), "3 of 3 files right, 0 B hashed, 2 not here");
        assert_eq!(sentence(&summary(3, 1, 0)), "3 of 4 files right, 0 B hashed, 1 wrong");
    }
}
