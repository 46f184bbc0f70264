//! What is wanted of which repository, and the flags of `pull`.

use super::{MORE, UploadArgs};
use crate::address::{parse_listen, parse_peer};
use crate::amount;
use crate::discovery::DiscoveryArgs;
use crate::duration;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use zest_runtime_tokio::EngineConfig;

/// The revision where none is named.
pub(crate) const REVISION: &str = "main";

/// What of which repository.
#[derive(Debug, Args)]
pub(crate) struct RepoArgs {
    /// Repository: ORG/NAME, datasets/ORG/NAME, hf://ORG/NAME@REV/FILE, or a page
    #[arg(value_name = "ORG/NAME")]
    pub(crate) repo: String,

    /// Only these files of it; one that ends with / is a folder
    #[arg(value_name = "FILE", value_parser = file_name)]
    pub(crate) files: Vec<String>,

    /// Branch, tag, refs/pr/N or commit
    #[arg(help_heading = "What", short, long, value_name = "REV", default_value = REVISION, value_parser = revision_name)]
    pub(crate) revision: String,

    /// What kind of repository it is [default: model]
    #[arg(help_heading = "What", long = "type", visible_alias = "repo-type", value_name = "TYPE")]
    pub(crate) kind: Option<RepoKind>,
}

// What is empty is mostly a variable of the shell that was never set.

fn file_name(text: &str) -> Result<String, String> {
    not_empty(text, "it is empty; without a FILE all are meant")
}

fn revision_name(text: &str) -> Result<String, String> {
    not_empty(text, "it is empty; without --revision it is main")
}

fn pattern(text: &str) -> Result<String, String> {
    not_empty(text, "it is empty, and no file has an empty name")
}

fn not_empty(text: &str, otherwise: &str) -> Result<String, String> {
    if text.is_empty() { Err(otherwise.to_owned()) } else { Ok(text.to_owned()) }
}

impl RepoArgs {
    /// The files that are named, and patterns for the folders among them.
    pub(crate) fn files_and_folders(&mut self) -> (Vec<String>, Vec<String>) {
        std::mem::take(&mut self.files).into_iter().partition(|file| !file.ends_with('/'))
    }
}

const PULL_HELP: &str = "\
Examples:
  zest pull Qwen/Qwen3-0.6B
  zest pull ORG/NAME --revision refs/pr/3 --include '*.safetensors' --include 'tokenizer*'
  zest pull datasets/ORG/NAME --local-dir ./data
  zest pull ORG/NAME --peer 10.0.0.5 --peer '[fe80::1]:7000' --peer seedbox.lan
  path=$(zest pull -q ORG/NAME)

The last line on standard output is the folder that holds the files; the rest goes to standard error.
Ctrl-C keeps what is proven: the same command again goes on where it stopped.
Peers are looked for on this network, in the DHT and at trackers, for files that anybody may read and no others. Meanwhile \
the machine uploads what it has of public models: to the peers it is linked with, and to whoever connects to its port, \
6881 or, if that is taken, one of the next or any free one.
Amounts are bytes: 10M, 1.5MiB, 800k; a rate may end with /s.
Patterns are those of hf: `*` also matches `/`; one that ends with `/` means everything below.
Exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = PULL_HELP)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(crate) of: RepoArgs,

    /// Only files that match (repeatable)
    #[arg(help_heading = "What", long, value_name = "PATTERN", value_parser = pattern)]
    pub(crate) include: Vec<String>,

    /// No files that match (repeatable)
    #[arg(help_heading = "What", long, value_name = "PATTERN", value_parser = pattern)]
    pub(crate) exclude: Vec<String>,

    /// Put plain files into this folder instead of the cache
    #[arg(help_heading = "Where", long, value_name = "DIR")]
    pub(crate) local_dir: Option<PathBuf>,

    /// Cache to use instead of HF_HUB_CACHE
    #[arg(hide_short_help = true, help_heading = "Where", long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Access token. HF_TOKEN or `hf auth login` is better: arguments end up in shell histories
    #[arg(help_heading = "Where", hide_short_help = true, long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    /// Fetch again what is already there
    #[arg(help_heading = "What", hide_short_help = true, long)]
    pub(crate) force_download: bool,

    /// Say what would be fetched, and fetch nothing
    #[arg(help_heading = "What", long)]
    pub(crate) dry_run: bool,

    /// Ask this peer first: name, IPv4 or IPv6 in brackets, port 6881 unless given (repeatable)
    #[arg(help_heading = "Peers", short, long, value_name = "HOST[:PORT]", value_parser = parse_peer)]
    pub(crate) peer: Vec<String>,

    /// Fetch from the Hub only
    #[arg(help_heading = "Peers", long, conflicts_with_all = ["peer", "listen", "tracker", "bootstrap"])]
    pub(crate) no_p2p: bool,

    /// Let peers connect to this address while fetching [default: all addresses, port 6881 or one of the next]
    #[arg(help_heading = "Peers", hide_short_help = true, short, long, value_name = "ADDR[:PORT]", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,

    /// Let nobody connect, and be announced nowhere; peers may still be asked
    #[arg(help_heading = "Peers", hide_short_help = true, long, conflicts_with_all = ["listen", "tracker"])]
    pub(crate) no_listen: bool,

    /// How the Hub's CDN is used beside peers [default: fastest, or as the zest in the background does]
    #[arg(help_heading = "Peers", long, value_name = "POLICY", value_enum)]
    pub(crate) policy: Option<OriginPolicy>,

    /// Receive at most this many bytes per second, from peers and the CDN together
    #[arg(help_heading = "Limits", long, value_name = "RATE", value_parser = amount::download_rate)]
    pub(crate) max_download: Option<u64>,

    /// Keep the line free for others: receive only as fast as its queue stays short (60 ms), peers and the CDN together; what comes from this machine or this network is not held up
    #[arg(help_heading = "Limits", hide_short_help = true, long)]
    pub(crate) nice: bool,

    /// Give up when nothing at all has come from anywhere for this long (30s, 10m, 2h)
    #[arg(help_heading = "Limits", hide_short_help = true, long, value_name = "DURATION", default_value = "10m",
          value_parser = duration::give_up_after)]
    pub(crate) give_up_after: Duration,

    #[command(flatten)]
    pub(crate) upload: UploadArgs,

    /// Work alone, also where zest runs in the background
    #[arg(hide_short_help = true, long, conflicts_with = "detach")]
    pub(crate) no_daemon: bool,

    /// Hand it over to the zest in the background, and do not wait
    #[arg(hide_short_help = true, long)]
    pub(crate) detach: bool,

    /// As hf has it, and without effect: how much goes on at once is found out
    #[arg(help_heading = "Limits", hide_short_help = true, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_workers: Option<u16>,

    /// As hf has it: `json` is --json, `quiet` is -q
    #[arg(hide_short_help = true, long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,

    /// One line of JSON for each thing that happens, the report last
    #[arg(hide_short_help = true, long, conflicts_with_all = ["detach", "dry_run"])]
    pub(crate) events: bool,

    /// Also keep xorbs the way zest 0.4 does (takes the space a second time)
    #[arg(help_heading = "Where", hide_short_help = true, long)]
    pub(crate) keep_xorbs: bool,

    #[command(flatten)]
    pub(crate) discovery: DiscoveryArgs,
}

impl PullArgs {
    /// Tells an engine what the user wishes. A new wish of this kind needs no other file of the command line.
    pub(crate) fn tell(&self, engine: &mut EngineConfig) {
        engine.policy = self.policy.map(Into::into).unwrap_or_default();
        engine.download_bytes_s = self.max_download;
        engine.nice = self.nice;
        engine.upload_bytes_s = self.upload.max_upload;
        engine.give_up_after = self.give_up_after;
        engine.links_max = self.upload.max_peers.unwrap_or(engine.links_max);
    }
}

/// `--policy`. (Documented variants would make clap print every flag on several lines.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OriginPolicy {
    Fastest,
    SpareOrigin,
}

/// `--format` in hf's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Auto,
    Human,
    Agent,
    Json,
    Quiet,
}

/// `--type` in hf's words. (Documented variants would make clap print every flag on several lines.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RepoKind {
    Model,
    Dataset,
    Space,
}

/// Splits `datasets/ORG/NAME` into kind and name. `--type` wins over nothing, and must agree with a prefix.
pub(crate) fn split_repo(text: &str, kind: Option<RepoKind>) -> Result<(RepoKind, &str), String> {
    let (prefix, name) = match text.split_once('/') {
        Some(("models", name)) if name.contains('/') => (Some(RepoKind::Model), name),
        Some(("datasets", name)) if name.contains('/') => (Some(RepoKind::Dataset), name),
        Some(("spaces", name)) if name.contains('/') => (Some(RepoKind::Space), name),
        _ => (None, text),
    };
    match (prefix, kind) {
        (Some(prefix), Some(kind)) if prefix != kind => {
            Err(format!("{text:?} and --type name two different kinds of repository"))
        }
        (prefix, kind) => Ok((prefix.or(kind).unwrap_or(RepoKind::Model), name)),
    }
}
