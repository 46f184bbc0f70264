//! `zest share`: what of this machine is given to others and what is not, why, and saying no to it.

use crate::args::RepoKind;
use crate::engine::{self, Folders};
use crate::failure::{Failure, Kind};
use crate::sharing;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use zest_daemon::{Places, Running};
use zest_hub::Hub;
use zest_runtime_tokio::hub_that_says_what_is_public;
use zest_store::{Catalog, Commit, Endpoint, FileStatus, HfCache, RepoId};

/// Repositories of which the Hub is asked for one list: 50. Ours; it lets an address without a token ask 500 times in five minutes.
const QUESTIONS_MAX: usize = 50;

const HELP: &str = "\
A repository is shared if the Hub shows it to everyone; what you deny is treated like a private one by every zest that uses this \
cache folder, also those that run now: not uploaded, not announced, not asked of peers. `allow` undoes `deny`, and nothing else: what is \
private or gated stays here. A file that a denied repository has in common with another is kept back, too.
Exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ShareArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List repositories: what is shared, and why others are not
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        of: OneRepo,

        /// Cache to look at instead of HF_HUB_CACHE
        #[arg(long, value_name = "DIR")]
        cache_dir: Option<PathBuf>,

        /// Also what a pull into this folder filled (repeatable)
        #[arg(long, value_name = "DIR")]
        local_dir: Vec<PathBuf>,
    },
    /// Undo `deny`: it is shared again if everyone may read it
    Allow(NamedRepo),
    /// Share nothing of a repository, whoever may read it
    Deny(NamedRepo),
}

#[derive(Debug, Args)]
struct OneRepo {
    /// Only this repository, as ORG/NAME (or datasets/ORG/NAME, spaces/ORG/NAME)
    #[arg(value_name = "ORG/NAME")]
    repo: Option<String>,

    /// What kind of repository it is [default: model]
    #[arg(long = "type", visible_alias = "repo-type", value_name = "TYPE", requires = "repo")]
    kind: Option<RepoKind>,
}

#[derive(Debug, Args)]
struct NamedRepo {
    /// Repository, as ORG/NAME (or datasets/ORG/NAME, spaces/ORG/NAME)
    #[arg(value_name = "ORG/NAME")]
    repo: String,

    /// What kind of repository it is [default: model]
    #[arg(long = "type", visible_alias = "repo-type", value_name = "TYPE")]
    kind: Option<RepoKind>,
}

/// # Errors
/// The cache cannot be read, or the word not be noted.
pub(crate) async fn run(args: ShareArgs, ui: &Ui) -> Result<(), Failure> {
    match args.action {
        Action::Allow(named) => decide(&named, true, ui),
        Action::Deny(named) => decide(&named, false, ui),
        Action::Ls { of, cache_dir, local_dir } => {
            let repo = of.repo.map(|name| engine::repo_id(&name, of.kind)).transpose()?;
            list(repo, cache_dir, &local_dir, ui).await
        }
    }
}

fn decide(named: &NamedRepo, allow: bool, ui: &Ui) -> Result<(), Failure> {
    let repo = engine::repo_id(&named.repo, named.kind)?;
    let env = engine::environment(ui);
    let catalog = Catalog::open(&env.zest_cache).map_err(|error| engine::store_failure(&error))?;
    let changed = if allow { catalog.allow(&repo) } else { catalog.deny(&repo) };
    let changed = changed.map_err(|error| engine::store_failure(&error))?;
    if ui.json() {
        let value = json!({
            "repo": repo.name,
            "type": repo.kind.as_str(),
            "denied": !allow,
            "changed": changed,
        });
        return ui.data(&value.to_string());
    }
    ui.say(match (allow, changed) {
        (false, true) => format!("nothing of {repo} is shared from now on; `zest share allow {repo}` undoes it"),
        (false, false) => format!("{repo} was denied already"),
        (true, true) => format!("{repo} is shared again if everyone may read it: `zest share ls {repo}` says whether"),
        (true, false) => format!(
            "{repo} was not denied, so nothing changes; `zest share ls {repo}` says why it is or is not shared"
        ),
    });
    Ok(())
}

/// Whether a repository is shared, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// With everyone who asks.
    Shared,
    /// With those who use the same Hub, on this network or by name.
    Near,
    Denied,
    /// Private, gated or gone: the Hub does not show it to everyone.
    Closed,
    /// Another Hub's, which is not the configured one.
    OtherHub,
    /// Everyone may read it, and a file of it came from where not everyone may, or is in a denied repository.
    KeptBack,
    /// Its files were not read yet.
    NotIndexed,
    /// Everyone may read it, which is not noted yet, or no longer.
    NotProven,
    /// The Hub cannot be asked.
    Unknown,
    /// It lies outside of what is shared.
    Elsewhere,
    /// No file that peers could have.
    NoChunks,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Near => "shared-near",
            Self::Denied => "denied",
            Self::Closed => "not-public",
            Self::OtherHub => "other-hub",
            Self::KeptBack => "kept-back",
            Self::NotIndexed => "not-indexed",
            Self::NotProven => "not-proven",
            Self::Unknown => "unknown",
            Self::Elsewhere => "elsewhere",
            Self::NoChunks => "no-chunks",
        }
    }
}

/// One repository.
#[derive(Debug)]
struct Row {
    repo: RepoId,
    state: State,
    files: u64,
    bytes: u64,
    why: String,
}

/// What is known here, before the Hub is asked.
struct Here {
    catalog: std::sync::Arc<Catalog>,
    /// The Hub that is configured.
    own: Endpoint,
    files: BTreeMap<RepoId, Vec<FileStatus>>,
    /// Files of the cache that were not read yet.
    unread: BTreeMap<RepoId, u64>,
}

impl Here {
    fn of(catalog: std::sync::Arc<Catalog>, cache: &HfCache, own: Endpoint) -> (Self, BTreeSet<RepoId>) {
        let mut files: BTreeMap<RepoId, Vec<FileStatus>> = BTreeMap::new();
        let mut unread: BTreeMap<RepoId, u64> = BTreeMap::new();
        for task in catalog.unindexed(cache) {
            let repos: BTreeSet<RepoId> = task.repos.into_iter().map(|(repo, _)| repo).collect();
            repos.into_iter().for_each(|repo| *unread.entry(repo).or_default() += 1);
        }
        for mut file in catalog.files() {
            // As whoever gives it looks at it.
            if !catalog.is_unchanged(&file.file) {
                file.paths.clear();
            }
            let repos: BTreeSet<RepoId> = file.commits.iter().map(|of| of.repo.clone()).collect();
            repos.into_iter().for_each(|repo| files.entry(repo).or_default().push(file.clone()));
        }
        let mut repos: BTreeSet<RepoId> = cache.repos().into_iter().collect();
        repos.extend(unread.keys().cloned());
        let lies_right = files.iter().filter(|(_, files)| files.iter().any(|file| file.lies_right));
        repos.extend(lies_right.map(|(repo, _)| repo.clone()));
        repos.extend(catalog.denied().unwrap_or_default());
        (Self { catalog, own, files, unread }, repos)
    }

    /// What can be said without the Hub; else the commit about which it is to be asked.
    fn look(&self, repo: &RepoId) -> Result<Row, Option<Commit>> {
        let none = Vec::new();
        let files = self.files.get(repo).unwrap_or(&none);
        let row = |state, files: u64, bytes: u64, why: String| {
            Ok(Row { repo: repo.clone(), state, files, bytes, why })
        };
        let no = |state, why: &str| row(state, 0, 0, why.to_owned());
        if self.catalog.is_denied(repo) {
            return no(State::Denied, "you said no; `zest share allow` undoes it");
        }
        let commits: BTreeSet<Commit> = files
            .iter()
            .flat_map(|file| file.commits.iter().filter(|of| of.repo == *repo).cloned())
            .collect();
        let open = |of: &Commit| {
            let until = |hub| self.catalog.public_until(hub, &of.repo, &of.commit);
            of.hub.as_ref().and_then(until).is_some()
        };
        let shared = files.iter().filter(|file| {
            let here = file.near_until.is_some() && !file.paths.is_empty();
            here && file.commits.iter().any(|of| of.repo == *repo && open(of))
        });
        let (count, bytes) = shared.clone().fold((0, 0), |(n, sum), file| (n + 1, sum + file.size));
        let unread = self.unread.get(repo).copied().unwrap_or(0);
        if count > 0 {
            let everyone = shared.clone().any(|file| file.public_until.is_some());
            let (state, with) = match everyone {
                true => (State::Shared, "with everyone who asks".to_owned()),
                false => {
                    (State::Near, format!("with those of this network or named who use {}, too", self.own))
                }
            };
            let more =
                (unread > 0).then(|| format!("; {} not looked at yet", units::counted(unread, "file")));
            return row(state, count, bytes, with + &more.unwrap_or_default());
        }
        if files.iter().any(|file| file.lies_right && !file.paths.is_empty()) && commits.iter().any(open) {
            return no(
                State::KeptBack,
                "everyone may read it, and its files are also in a repository that is denied or not for everyone",
            );
        }
        if !files.is_empty() && files.iter().all(|file| !file.lies_right) {
            return no(
                State::Elsewhere,
                "what was fetched of it lies outside of the cache that is looked at",
            );
        }
        let others: BTreeSet<&Endpoint> = commits.iter().filter_map(|of| of.hub.as_ref()).collect();
        if !others.is_empty() && !others.contains(&self.own) {
            let names: Vec<String> = others.iter().map(ToString::to_string).collect();
            return row(
                State::OtherHub,
                0,
                0,
                format!("it is of {}, and HF_ENDPOINT is {}", names.join(", "), self.own),
            );
        }
        if unread > 0 {
            let text = format!("{} not looked at yet: `zest serve` does", units::counted(unread, "file"));
            return row(State::NotIndexed, 0, 0, text);
        }
        match commits.into_iter().find(|of| of.hub.as_ref().is_none_or(|hub| *hub == self.own)) {
            Some(commit) => Err(Some(commit)),
            None => no(State::NoChunks, "no file of it is whole here that peers could have (files in Xet)"),
        }
    }

    async fn ask(&self, hub: Option<&Hub>, of: &Commit) -> Row {
        let row = |state, why: String| Row { repo: of.repo.clone(), state, files: 0, bytes: 0, why };
        let Some(hub) = hub else {
            return row(State::Unknown, "the Hub says who may read it, and HF_HUB_OFFLINE is set".to_owned());
        };
        match hub.is_public(&of.repo, &of.commit).await {
            Ok(true) => {
                let text = "everyone may read it: it is shared as soon as `zest serve` has asked, too";
                row(State::NotProven, text.to_owned())
            }
            Ok(false) => {
                row(State::Closed, "private, gated or gone: the Hub does not show it to everyone".to_owned())
            }
            Err(error) => row(State::Unknown, format!("the Hub cannot be asked who may read it: {error}")),
        }
    }
}

async fn list(
    only: Option<RepoId>,
    cache_dir: Option<PathBuf>,
    local_dirs: &[PathBuf],
    ui: &Ui,
) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    let mut env = engine::environment(ui);
    let named = cache_dir.is_some();
    if let Some(dir) = cache_dir {
        env.hub_cache = dir;
    }
    let folders = sharing::with_local_dirs(Folders::of_cache(&env, named), local_dirs)?;
    let catalog = Catalog::open(&env.zest_cache).map_err(|error| engine::store_failure(&error))?;
    let cache =
        HfCache::open(&env.hub_cache, env.cache_options()).map_err(|error| engine::store_failure(&error))?;
    folders.apply(&env, &catalog);
    let readable = catalog.denied().is_some();
    let (here, repos) = Here::of(std::sync::Arc::new(catalog), &cache, Endpoint::new(&env.endpoint));
    let hub = match hub_that_says_what_is_public(&env) {
        Ok(hub) => hub.and_then(|hub| hub.anonymous().ok()),
        Err(error) => {
            ui.warn(format!("cannot ask the Hub what is public: {error}"));
            None
        }
    };
    let repos: Vec<RepoId> = match only {
        Some(repo) => vec![repo],
        None => repos.into_iter().collect(),
    };
    let looking = async {
        let (mut rows, mut asked) = (Vec::new(), 0);
        for repo in &repos {
            let row = match here.look(repo) {
                Ok(row) => row,
                Err(Some(commit)) if asked < QUESTIONS_MAX => {
                    asked += 1;
                    here.ask(hub.as_ref(), &commit).await
                }
                Err(_) => Row {
                    repo: repo.clone(),
                    state: State::Unknown,
                    files: 0,
                    bytes: 0,
                    why: format!("not asked about; `zest share ls {repo}` asks the Hub"),
                },
            };
            rows.push(row);
        }
        rows
    };
    let rows = tokio::select! {
        rows = looking => rows,
        () = signals.first() => return Err(Failure::new(Kind::Interrupted, "interrupted")),
    };
    let running = matches!(Running::find(&Places::new(&env.zest_cache)), Ok(Some(_)));
    if ui.json() {
        let rows: Vec<Value> = rows.iter().map(document).collect();
        return ui
            .data(&json!({"repositories": rows, "daemon": running, "notes_readable": readable}).to_string());
    }
    for line in table(&rows) {
        ui.text(&line)?;
    }
    if !readable {
        let dir = env.zest_cache.join("denied");
        ui.warn(format!("{} cannot be read, and it says what you denied: nothing is shared", dir.display()));
    }
    ui.say(sentence(&rows, running));
    Ok(())
}

fn document(row: &Row) -> Value {
    json!({
        "repo": row.repo.name,
        "type": row.repo.kind.as_str(),
        "state": row.state.word(),
        "files_shared": row.files,
        "bytes_shared": row.bytes,
        "why": row.why,
    })
}

fn is_shared(row: &Row) -> bool {
    matches!(row.state, State::Shared | State::Near)
}

/// Columns beside each other: name, yes or no, how much, why.
fn table(rows: &[Row]) -> Vec<String> {
    let name = rows.iter().map(|row| row.repo.to_string().chars().count()).max().unwrap_or(0);
    let line = |row: &Row| {
        let (word, what) = match is_shared(row) {
            true => {
                let files = units::counted(row.files, "file");
                ("shared", format!("{files} ({}), {}", units::bytes(row.bytes), row.why))
            }
            false => ("not shared", row.why.clone()),
        };
        format!("{:<name$}  {word:<10}  {what}", row.repo.to_string())
    };
    rows.iter().map(line).collect()
}

fn sentence(rows: &[Row], running: bool) -> String {
    if rows.is_empty() {
        return "nothing is here that could be shared: `zest pull ORG/NAME` fetches something".to_owned();
    }
    let shared: Vec<&Row> = rows.iter().filter(|row| is_shared(row)).collect();
    let bytes = shared.iter().map(|row| row.bytes).sum();
    let when = match (shared.is_empty(), running) {
        (true, _) => "",
        (false, true) => "; zest runs in the background and uploads it",
        (false, false) => "; it is uploaded while `zest serve`, `zest start`, `zest seed` or a pull runs",
    };
    format!("{} of {} shared ({}){when}", shared.len(), rows.len(), units::bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_store::RepoType;

    #[test]
    fn a_row_says_how_much_is_shared_or_why_nothing_is() {
        let repo = |name: &str| RepoId::new(RepoType::Model, name).expect("a name");
        let rows = [
            Row {
                repo: repo("a/b"),
                state: State::Shared,
                files: 2,
                bytes: 3_000_000,
                why: "with everyone who asks".into(),
            },
            Row {
                repo: repo("long/name"),
                state: State::Denied,
                files: 0,
                bytes: 0,
                why: "you said no".into(),
            },
        ];
        assert_eq!(
            table(&rows),
            [
                "a/b        shared      2 files (3.0 MB), with everyone who asks",
                "long/name  not shared  you said no",
            ]
        );
        assert_eq!(
            sentence(&rows, true),
            "1 of 2 shared (3.0 MB); zest runs in the background and uploads it"
        );
        assert_eq!(document(&rows[1])["state"], "denied");
    }
}
