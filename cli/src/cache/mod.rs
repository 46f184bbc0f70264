//! `zest cache`: what lies in the Hugging Face cache, taking some of it away, and mending what is wrong.

mod ls;
mod repair;
mod rm;

use crate::args::{PullArgs, RepoKind, VerifyArgs};
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::ui::Ui;
use crate::verify;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use zest_store::HfCache;

const HELP: &str = "\
The cache is that of huggingface_hub; `hf cache` sees and removes the same. What another process is fetching at the moment \
stays. What interrupted pulls left is gone on with by the next pull, unless `prune` takes it away.
Exit codes: 4 nothing of that name is there, 6 something is wrong, 7 the disk refused. Others: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    action: Action,

    /// Cache to look at instead of HF_HUB_CACHE
    #[arg(long, value_name = "DIR", global = true)]
    cache_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List repositories: size, when last used, branches
    #[command(visible_alias = "list")]
    Ls {
        /// A line for each revision
        #[arg(long)]
        revisions: bool,
    },
    /// Remove repositories, or revisions by the first digits of their commit
    Rm(RmArgs),
    /// Remove what no branch or tag leads to, and what interrupted pulls left
    Prune(RemoveArgs),
    /// Re-hash files and say what is wrong; with --repair, mend it
    Verify(RepairArgs),
}

/// What to remove.
#[derive(Debug, Args)]
struct RmArgs {
    /// ORG/NAME, datasets/ORG/NAME, spaces/ORG/NAME, ORG/NAME@BRANCH, or a commit's first seven digits or more
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,

    #[command(flatten)]
    how: RemoveArgs,
}

/// How to remove.
#[derive(Debug, Args)]
struct RemoveArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// What to look at.
#[derive(Debug, Args)]
struct RepairArgs {
    /// Only this repository, as ORG/NAME (or datasets/ORG/NAME, spaces/ORG/NAME)
    #[arg(value_name = "ORG/NAME")]
    repo: Option<String>,

    /// What kind of repository it is [default: model]
    #[arg(long = "type", visible_alias = "repo-type", value_name = "TYPE", requires = "repo")]
    kind: Option<RepoKind>,

    /// Fetch what is wrong again, from peers, too: the wrong chunks alone of a file in Xet whose chunk list is known, else all of it
    #[arg(long)]
    repair: bool,

    /// Ask this peer first when repairing: HOST[:PORT] (repeatable)
    #[arg(short, long, value_name = "HOST[:PORT]", requires = "repair")]
    peer: Vec<String>,
}

/// `settled` reads what would be typed behind `zest`, with what the configuration says beside it.
///
/// # Errors
/// What is named is not there; the cache cannot be read or written; files are wrong and stay so.
pub(crate) fn run(
    args: CacheArgs,
    settled: impl Fn(&[OsString]) -> Result<PullArgs, clap::Error>,
    ui: &Ui,
) -> Result<(), Failure> {
    let CacheArgs { action, cache_dir } = args;
    match action {
        Action::Ls { revisions } => ls::run(&open(cache_dir, ui)?, revisions, ui),
        Action::Rm(args) => rm::run(&open(cache_dir, ui)?, &args.what, &args.how, ui),
        Action::Prune(how) => rm::prune(&open(cache_dir, ui)?, &how, ui),
        Action::Verify(RepairArgs { repo, kind, repair: false, .. }) => {
            verify::run(VerifyArgs { repo, kind, cache_dir }, ui)
        }
        Action::Verify(args) => repair::run(args, cache_dir, settled, ui),
    }
}

/// The cache that is meant.
fn open(dir: Option<PathBuf>, ui: &Ui) -> Result<HfCache, Failure> {
    let env = engine::environment(ui);
    let dir = dir.unwrap_or_else(|| env.hub_cache.clone());
    if !dir.is_dir() {
        return Err(Failure::new(Kind::NotFound, format_args!("no cache at {}", dir.display()))
            .hint("set HF_HUB_CACHE, or name it with --cache-dir; `zest pull ORG/NAME` makes one"));
    }
    HfCache::open(&dir, env.cache_options()).map_err(|error| engine::store_failure(&error))
}
