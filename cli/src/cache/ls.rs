//! `zest cache ls`.

use crate::failure::Failure;
use crate::ui::{Ui, units};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use zest_store::{HfCache, RepoUsage, RevisionUsage, Unfinished};

/// Digits of a commit that are shown: 8.
const SHORT: usize = 8;

pub(super) fn run(cache: &HfCache, revisions: bool, ui: &Ui) -> Result<(), Failure> {
    let all = cache.usage();
    let bytes: u64 = all.iter().map(|repo| repo.bytes).sum();
    let unfinished: Unfinished =
        all.iter().map(|repo| repo.unfinished).chain([cache.unfinished_shared()]).sum();
    if ui.json() {
        let repos: Vec<Value> = all.iter().map(document).collect();
        return ui.data(
            &json!({
                "cache": cache.root(),
                "bytes": bytes,
                "unfinished_bytes": unfinished.came,
                "unfinished_on_disk": unfinished.on_disk,
                "repos": repos,
            })
            .to_string(),
        );
    }
    let now = SystemTime::now();
    let rows = match revisions {
        true => {
            all.iter().flat_map(|of| of.revisions.iter().map(move |r| revision_row(of, r, now))).collect()
        }
        false => all.iter().map(|of| repo_row(of, now)).collect::<Vec<_>>(),
    };
    for line in table(&rows) {
        ui.text(&line)?;
    }
    ui.say(sentence(cache, &all, bytes, unfinished));
    Ok(())
}

fn repo_row(of: &RepoUsage, now: SystemTime) -> [String; 4] {
    let refs: Vec<&str> = of.revisions.iter().flat_map(|r| r.refs.iter().map(String::as_str)).collect();
    [of.repo.to_string(), units::bytes(of.bytes), ago(of.accessed, now), refs.join(", ")]
}

fn revision_row(of: &RepoUsage, revision: &RevisionUsage, now: SystemTime) -> [String; 4] {
    let short = revision.commit.get(..SHORT).unwrap_or(&revision.commit);
    let refs = match revision.refs.is_empty() {
        true => "(detached)".to_owned(),
        false => revision.refs.join(", "),
    };
    [format!("{} {short}", of.repo), units::bytes(revision.bytes), ago(revision.modified, now), refs]
}

/// "3 h ago"; nothing where the time is not known.
fn ago(then: SystemTime, now: SystemTime) -> String {
    if then == SystemTime::UNIX_EPOCH {
        return String::new();
    }
    let since = now.duration_since(then).unwrap_or(Duration::ZERO);
    let days = since.as_secs() / 86_400;
    match days {
        0 => format!("{} ago", units::duration(since)),
        _ => format!("{} ago", units::counted(days, "day")),
    }
}

/// Columns beside each other, sizes to the right.
fn table(rows: &[[String; 4]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (name, size, time) = (width(0), width(1), width(2));
    let line =
        |[a, b, c, d]: &[String; 4]| format!("{a:<name$}  {b:>size$}  {c:<time$}  {d}").trim_end().to_owned();
    rows.iter().map(line).collect()
}

fn sentence(cache: &HfCache, all: &[RepoUsage], bytes: u64, unfinished: Unfinished) -> String {
    let root = cache.root().display();
    if all.is_empty() && unfinished == Unfinished::default() {
        return format!("nothing in {root}: pull something first, `zest pull ORG/NAME`");
    }
    let repos = match all.len() {
        1 => "1 repository".to_owned(),
        many => format!("{} repositories", units::count(many as u64)),
    };
    let mut text = format!("{repos}, {} in {root}", units::bytes(bytes));
    if unfinished.on_disk > 0 {
        let (came, on_disk) = (units::bytes(unfinished.came), units::bytes(unfinished.on_disk));
        text += &format!(
            "; {came} more of pulls that are not finished, which the next pull goes on with; `zest cache prune` removes \
             that and frees {on_disk}"
        );
    }
    text
}

fn seconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (!since.is_zero()).then_some(since.as_secs())
}

fn document(of: &RepoUsage) -> Value {
    let revisions: Vec<Value> = of
        .revisions
        .iter()
        .map(|r| json!({"commit": r.commit, "refs": r.refs, "files": r.files, "bytes": r.bytes, "modified": seconds(r.modified)}))
        .collect();
    json!({
        "repo": of.repo.name,
        "type": of.repo.kind.as_str(),
        "bytes": of.bytes,
        "unfinished_bytes": of.unfinished.came,
        "unfinished_on_disk": of.unfinished.on_disk,
        "accessed": seconds(of.accessed),
        "revisions": revisions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_beside_each_other() {
        let row =
            |a: &str, b: &str, c: &str, d: &str| [a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()];
        let rows = [row("lab/a", "1 B", "2 s ago", "main"), row("lab/longer", "30.0 MB", "", "")];
        assert_eq!(table(&rows), ["lab/a           1 B  2 s ago  main", "lab/longer  30.0 MB"]);
    }
}
