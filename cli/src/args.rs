//! The command line: one definition per command and flag, from which parsing, `--help` and errors come.

use crate::address::{ListenHost, parse_listen, parse_listen_host, parse_peer};
use crate::amount;
use crate::discovery::DiscoveryArgs;
use crate::duration;
use crate::settings::ConfigArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Smallest and largest sample model of the demo in MB: below, the model has no room for one layer; above, the
/// three copies it makes fill disks for no new insight.
const DEMO_MB: std::ops::RangeInclusive<u64> = 4..=100_000;

/// Below the flags of `-h`, which is one screen.
const MORE: &str = "All flags, examples and what they mean: --help";

const FIRST_HELP: &str = "\
Examples:
  zest demo                           see it work: no network, no set-up
  zest pull Qwen/Qwen3-0.6B           a model, into the usual cache
  zest pull ORG/NAME -p 10.0.0.5      from a colleague's machine first

Exit codes, environment, more examples: zest --help. Flags of a command: zest COMMAND --help";

const AFTER_HELP: &str = "\
Examples:
  zest demo                                  see it work: no network, no set-up
  zest pull Qwen/Qwen3-0.6B                  a model, into the usual cache
  zest pull ORG/NAME config.json -r v1.0     one file of one revision
  zest pull ORG/NAME -p 10.0.0.5             from a colleague's machine first
  zest pull ORG/NAME -p a -p b -p c --policy spare-origin
                                             on a, b and c at once: about one download for all
  zest serve                                 give what this machine has, to its network
  zest seed                                  give it to everyone
  zest start                                 `serve` in the background; `zest status`, `zest stop`
  zest peers ORG/NAME                        who has it

Exit codes:
  0 done                        3 no valid token or no access               6 wrong bytes found
  1 failed                      4 no such repository, revision or file      7 disk
  2 usage                       5 offline or unreachable                    130 interrupted

Environment:
  HF_TOKEN, HF_TOKEN_PATH, HF_HUB_DISABLE_IMPLICIT_TOKEN    access to private and gated repositories
  HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME, ZEST_CACHE_DIR     where things are kept
  HF_ENDPOINT, HF_HUB_OFFLINE, HF_HUB_DISABLE_XET           which Hub, and how it is used
  HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT              patience, in seconds
  HF_HUB_DISABLE_SYMLINKS, HF_HUB_DISABLE_SHARED_BLOBS      layout of the cache
  HF_HUB_DISABLE_PROGRESS_BARS, NO_COLOR, TERM=dumb         what is shown
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE          the way to the network
  ZEST_MAX_UPLOAD, ZEST_NO_DHT, ZEST_PEER, ZEST_…           as the flag of that name, see `zest config --help`
  ZEST_CONFIG                                               the configuration file, if it is not in its usual place
  ZEST_LOG                                                  what -v shows, as `target=level,…`";

/// zest: Hugging Face models from peers first, every chunk proven.
#[derive(Debug, Parser)]
#[command(name = "zest", version, max_term_width = 110, after_help = FIRST_HELP, after_long_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Show nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 100)]
    pub(crate) quiet: bool,

    /// Show what happens inside (-vv: more)
    #[arg(hide_short_help = true, short, long, global = true, action = clap::ArgAction::Count, display_order = 101)]
    pub(crate) verbose: u8,

    /// Put JSON on standard output, errors included
    #[arg(long, global = true, display_order = 102)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch a model, dataset or space into the Hugging Face cache
    Pull(Box<PullArgs>),
    /// Run a command whose downloads from the Hub go through zest
    Run(RunArgs),
    /// Show the address that makes any program use zest as its Hub: HF_ENDPOINT
    Endpoint(EndpointArgs),
    /// Give what this machine's caches hold to peers, and answer programs over HTTP
    Serve(Box<DaemonArgs>),
    /// The same, and announce it to everyone (DHT, trackers)
    Seed(Box<ServeArgs>),
    /// Do what `serve` does in the background
    Start(Box<DaemonArgs>),
    /// End what runs in the background
    Stop(StopArgs),
    /// Show what runs in the background, and how it does
    Status(StatusArgs),
    /// Open its page in the browser
    Dashboard(DashboardArgs),
    /// Show what it has said
    Logs(LogsArgs),
    /// Show a repository's files: which are here, and what peers have
    Info(Box<crate::info::InfoArgs>),
    /// Show who has what of a repository, and how they were found
    Peers(Box<PeersArgs>),
    /// List what the cache holds, remove some of it, mend what is wrong
    Cache(crate::cache::CacheArgs),
    /// Re-hash what the cache holds and say what is wrong
    Verify(VerifyArgs),
    /// Look whether all that zest needs is there, and say what helps where it is not
    Doctor(Box<crate::doctor::DoctorArgs>),
    /// Run a small Hub that serves a folder (air-gapped sites, tests)
    Hub(HubArgs),
    /// See a model travel Hub → node A → node B, all on this machine
    Demo(DemoArgs),
    /// Measure this build on this machine, beside yardsticks
    #[cfg(feature = "bench")]
    Bench(crate::bench::BenchArgs),
    /// Show and edit the configuration file: flags that are always meant
    Config(ConfigArgs),
    /// Print what makes a shell complete commands and flags
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Which shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command, into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Show the version
    Version,
}

impl Command {
    /// The log that is written instead of speaking to a terminal.
    pub(crate) fn log_file(&self) -> Option<&std::path::Path> {
        match self {
            Command::Serve(args) => args.http.log_file.as_deref(),
            _ => None,
        }
    }
}

/// What of which repository.
#[derive(Debug, Args)]
pub(crate) struct RepoArgs {
    /// Repository, as ORG/NAME (or datasets/ORG/NAME, spaces/ORG/NAME)
    #[arg(value_name = "ORG/NAME")]
    pub(crate) repo: String,

    /// Only these files of it
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,

    /// Branch, tag, refs/pr/N or commit
    #[arg(help_heading = "What", short, long, value_name = "REV", default_value = "main")]
    pub(crate) revision: String,

    /// What kind of repository it is [default: model]
    #[arg(help_heading = "What", long = "type", visible_alias = "repo-type", value_name = "TYPE")]
    pub(crate) kind: Option<RepoKind>,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  zest completions bash > ~/.local/share/bash-completion/completions/zest
  zest completions zsh > ~/.zfunc/_zest             (a folder of $fpath)
  zest completions fish > ~/.config/fish/completions/zest.fish";

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
the machine gives what it has of public models: to the peers it is linked with, and to whoever connects to its port, \
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
    #[arg(help_heading = "What", long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,

    /// No files that match (repeatable)
    #[arg(help_heading = "What", long, value_name = "PATTERN")]
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

    /// How the Hub's CDN is used beside peers
    #[arg(help_heading = "Peers", long, value_name = "POLICY", value_enum, default_value_t = OriginPolicy::Fastest)]
    pub(crate) policy: OriginPolicy,

    /// Receive at most this many bytes per second, from peers and the CDN together
    #[arg(help_heading = "Limits", long, value_name = "RATE", value_parser = amount::download_rate)]
    pub(crate) max_download: Option<u64>,

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

    /// Also keep xorbs the way zest 0.4 does (takes the space a second time)
    #[arg(help_heading = "Where", hide_short_help = true, long)]
    pub(crate) keep_xorbs: bool,

    #[command(flatten)]
    pub(crate) discovery: DiscoveryArgs,
}

const SERVE_HELP: &str = "\
Serves only files of repositories that anybody may read: the Hub was asked without a token. Private \
and gated repositories stay here. Only what lies in the cache is served, the usual one or that of --cache-dir, and in folders \
of --local-dir; what it is is shown by name. Ctrl-C or SIGTERM ends it, with exit code 0.
`serve` and `seed` do the same and differ in who hears of it. `serve` tells this network (multicast), and trackers and the \
DHT where --tracker, --bootstrap or --dht-port name them. `seed` also announces in the public DHT, and asks the router to \
let others connect.
What is handed over to `serve` is looked for in the DHT as by a pull alone.
`serve` also answers programs of this machine over HTTP, on loopback (docs/api.md): what they may see without the secret of \
~/.cache/zest/api-secret is whether it lives and how many peers it has. There is one `serve` per user and cache; `zest start` \
runs it in the background, and `zest pull` beside it hands its work over.
Exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = SERVE_HELP)]
pub(crate) struct DaemonArgs {
    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    #[command(flatten)]
    pub(crate) http: HttpArgs,
}

/// The API of `serve`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "API")]
pub(crate) struct HttpArgs {
    /// Address of the API. One that is not loopback needs --public-url, --secret-file, and TLS in front of it or --insecure-http
    #[arg(hide_short_help = true, long, value_name = "ADDR:PORT")]
    pub(crate) http: Option<SocketAddr>,

    /// TCP port of the API on 127.0.0.1 and ::1 (0: any free one) [default: 9847 or one of the next]
    #[arg(hide_short_help = true, long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,

    /// Where others know it: https://HOST of what does TLS in front of it, or http://HOST:PORT
    #[arg(hide_short_help = true, long, value_name = "URL")]
    pub(crate) public_url: Option<String>,

    /// Let the API's secret cross the network where everybody on the way can read it
    #[arg(hide_short_help = true, long, requires = "public_url")]
    pub(crate) insecure_http: bool,

    /// A secret that opens the API, too: 32 to 256 characters in a file that not everybody can read
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,

    /// Also give figures (/metrics) and signs of life (/livez, /readyz), and nothing else, to whoever asks here
    #[arg(hide_short_help = true, long, value_name = "ADDR:PORT", conflicts_with = "no_http")]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// Without the API
    #[arg(hide_short_help = true, long, conflicts_with_all = ["http", "http_port"])]
    pub(crate) no_http: bool,

    /// Be in the background and write this log; `zest start` says so
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// For a program that needs a daemon: give what it fetches to this network only (ZEST_SHARE=0: to nobody), and end when
    /// nobody has needed it for that long
    #[arg(long, hide = true, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          default_missing_value = "30m", value_parser = duration::give_up_after)]
    pub(crate) on_demand: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Kill it: what is proven is kept, peers do not hear of it
    #[arg(long)]
    pub(crate) now: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<EndpointVerb>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum EndpointVerb {
    /// Make another key: the old address opens nothing any more
    Rotate,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = RUN_HELP)]
pub(crate) struct RunArgs {
    /// The command and its words
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

const RUN_HELP: &str = "\
The command finds HF_ENDPOINT set to this machine's own endpoint (see `zest endpoint`), and nothing else has it. If zest runs in the \
background it does the work; else it is begun, for this network and for what it fetches itself, and ends when nobody has needed it for \
30 minutes (ZEST_SHARE=0: it gives nothing to anybody). If it cannot be begun the command runs without it. Signals are \
passed on, and the exit code is the command's.";

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Go on showing it, every second
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// Open no browser; show which file leads there
    #[arg(long)]
    pub(crate) no_open: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on showing what it says
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// So many lines from the end
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(crate) lines: usize,
}

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// TCP port peers connect to (0: any free one) [default: 6881 or one of the next]
    #[arg(help_heading = "Peers", long, value_name = "PORT")]
    pub(crate) listen_port: Option<u16>,

    /// Address to listen on, instead of all (repeatable)
    #[arg(help_heading = "Peers", short, long, value_name = "ADDR[:PORT]", value_parser = parse_listen_host)]
    pub(crate) listen: Vec<ListenHost>,

    /// Connect to this peer, and give it also what a Hub of your own shows (repeatable)
    #[arg(short, long, value_name = "HOST[:PORT]", value_parser = parse_peer)]
    pub(crate) peer: Vec<String>,

    /// Cache to serve instead of HF_HUB_CACHE
    #[arg(help_heading = "What", long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Also give from this folder that `zest pull --local-dir` has filled (repeatable)
    #[arg(help_heading = "What", long, value_name = "DIR")]
    pub(crate) local_dir: Vec<PathBuf>,

    /// Memory for chunks that are asked for again and again; taken as they come
    #[arg(help_heading = "Limits", hide_short_help = true, long, value_name = "SIZE", default_value = "64MiB", value_parser = amount::bytes)]
    pub(crate) cache_mem: u64,

    /// Receive at most this many bytes per second, from peers and the CDN together
    #[arg(help_heading = "Limits", hide_short_help = true, long, value_name = "RATE", value_parser = amount::download_rate)]
    pub(crate) max_download: Option<u64>,

    /// How the Hub's CDN is used beside peers, by pulls that are handed over
    #[arg(help_heading = "Peers", hide_short_help = true, long, value_name = "POLICY", value_enum, default_value_t = OriginPolicy::Fastest)]
    pub(crate) policy: OriginPolicy,

    #[command(flatten)]
    pub(crate) upload: UploadArgs,

    /// TCP congestion control of connections that come in, as cubic or bbr [default: the system's]
    #[arg(help_heading = "Limits", hide_short_help = true, long, value_name = "NAME")]
    pub(crate) congestion_control: Option<String>,

    #[command(flatten)]
    pub(crate) discovery: DiscoveryArgs,
}

const PEERS_HELP: &str = "\
Nothing is fetched, and nobody is asked about a repository that is not readable by everyone. Peers that listen nowhere are \
shown by the address of their connection.
Exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = MORE, after_long_help = PEERS_HELP)]
pub(crate) struct PeersArgs {
    #[command(flatten)]
    pub(crate) of: RepoArgs,

    /// Also ask this peer (repeatable)
    #[arg(help_heading = "Peers", short, long, value_name = "HOST[:PORT]", value_parser = parse_peer)]
    pub(crate) peer: Vec<String>,

    /// Look for at most this many seconds
    #[arg(help_heading = "Peers", long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) wait: u64,

    /// Let peers connect to this address meanwhile [default: all addresses, port 6881 or one of the next]
    #[arg(help_heading = "Peers", short, long, value_name = "ADDR[:PORT]", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) discovery: DiscoveryArgs,
}

const HUB_HELP: &str = "\
DIR/{models,datasets,spaces}/ORG/NAME/REVISION/… is served as repository ORG/NAME at that revision. \
Clients use it with HF_ENDPOINT=http://HOST:PORT; `hf download` and `zest pull` both work. Ctrl-C or \
SIGTERM ends it, with exit code 0.
Exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = HUB_HELP)]
pub(crate) struct HubArgs {
    /// Folder to serve
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// TCP port (0: any free one)
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,

    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,

    /// Address under which others reach it: behind a reverse proxy, or by a name. It stands in the hub's answers
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,

    /// Token that opens private and gated repositories (repeatable; or ZEST_TOKEN, comma-separated)
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Vec<String>,
}

const VERIFY_HELP: &str = "\
Every complete file is read and hashed again. Nothing is changed or removed.
Exit code 0: all right. 6: something is wrong, each file is named. 4: nothing of that repository is there.
Other exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub(crate) struct VerifyArgs {
    /// Only this repository, as ORG/NAME (or datasets/ORG/NAME, spaces/ORG/NAME)
    #[arg(value_name = "ORG/NAME")]
    pub(crate) repo: Option<String>,

    /// What kind of repository it is [default: model]
    #[arg(long = "type", visible_alias = "repo-type", value_name = "TYPE", requires = "repo")]
    pub(crate) kind: Option<RepoKind>,

    /// Cache to verify instead of HF_HUB_CACHE
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

const DEMO_HELP: &str = "\
Makes a sample model in a temporary folder, serves it from a built-in Hub on loopback, pulls it with \
node A, switches the Hub's storage off, pulls it again with node B from node A alone, and checks every \
byte. Your own cache and token are not touched, and nothing is left behind. Needs about four times the \
model's size on disk.";

#[derive(Debug, Args)]
#[command(after_help = DEMO_HELP)]
pub(crate) struct DemoArgs {
    /// Size of the sample model in MB
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = parse_demo_mb)]
    pub(crate) size_mb: u64,

    /// Keep the temporary folder and say where it is
    #[arg(long)]
    pub(crate) keep: bool,
}

/// What is given to peers, at most.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct UploadArgs {
    /// Give peers at most this many bytes per second
    #[arg(help_heading = "Limits", long, value_name = "RATE", value_parser = amount::upload_rate)]
    pub(crate) max_upload: Option<u64>,

    /// Give peers at most this many bytes per day (UTC), all commands together
    #[arg(hide_short_help = true, help_heading = "Limits", long, value_name = "SIZE", value_parser = amount::upload_budget)]
    pub(crate) upload_budget: Option<u64>,
}

/// `--policy`. (Documented variants would make clap print every flag on several lines.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OriginPolicy {
    Fastest,
    SpareOrigin,
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

fn parse_demo_mb(text: &str) -> Result<u64, String> {
    let mb = text.parse().map_err(|_| "not a number".to_owned())?;
    if DEMO_MB.contains(&mb) {
        return Ok(mb);
    }
    Err(format!("{} to {} MB", DEMO_MB.start(), DEMO_MB.end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("zest").chain(line.split_whitespace()))
    }

    fn pull(line: &str) -> PullArgs {
        match parse(&format!("pull {line}")).expect("a valid command line").command {
            Command::Pull(args) => *args,
            other => panic!("parsed as {other:?}"),
        }
    }

    /// Rows of a terminal that is not tall.
    const SCREEN_LINES: usize = 40;

    #[test]
    fn short_help_is_one_screen_and_the_long_one_has_every_flag() {
        let mut root = Cli::command().term_width(100);
        root.build();
        for name in ["pull", "serve", "seed", "start", "peers", "hub", "verify"] {
            let command = root.find_subcommand_mut(name).expect("a command");
            let (short, long) = (command.render_help().to_string(), command.render_long_help().to_string());
            assert!(
                short.lines().count() <= SCREEN_LINES,
                "{name}: {} lines\n{short}",
                short.lines().count()
            );
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(flag) = arg.get_long() else { continue };
                assert!(long.contains(&format!("--{flag}")), "{name} --{flag}");
            }
        }
        let short = root.render_help().to_string();
        assert!(short.lines().count() <= SCREEN_LINES, "{} lines\n{short}", short.lines().count());
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn pull_takes_repository_and_files() {
        let args = pull("a/b config.json model.bin -r v1 --type dataset");
        assert_eq!(args.of.repo, "a/b");
        assert_eq!(args.of.files, ["config.json", "model.bin"]);
        assert_eq!((args.of.revision.as_str(), args.of.kind), ("v1", Some(RepoKind::Dataset)));
        assert_eq!(pull("gpt2").of.revision, "main");
    }

    #[test]
    fn each_pattern_has_its_own_flag_as_in_hf() {
        let args = pull("--include *.json --include *.txt a/b --exclude x/");
        assert_eq!((args.include, args.exclude), (vec!["*.json".into(), "*.txt".into()], vec!["x/".into()]));
        assert_eq!(args.of.repo, "a/b");
    }

    #[test]
    fn global_flags_work_before_and_after_the_command() {
        assert!(parse("-q pull a/b").expect("valid").quiet);
        assert!(parse("pull a/b --json").expect("valid").json);
        assert_eq!(parse("pull a/b -vv").expect("valid").verbose, 2);
        assert!(parse("pull a/b -q -v").is_err());
    }

    #[test]
    fn unknown_commands_flags_and_missing_values_are_mistakes() {
        for line in [
            "frobnicate",
            "pull",
            "pull a/b --frob",
            "pull a/b --revision",
            "serve --listen-port 99999",
            "serve --no-http --http-port 1",
            "serve --http localhost:1",
            "pull a/b --detach --no-daemon",
            "hub",
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.use_stderr(), "{line} is a mistake");
        }
        for line in ["help", "--help", "--version", "pull --help"] {
            assert!(!parse(line).expect_err(line).use_stderr(), "{line} is not");
        }
    }

    #[test]
    fn peers_may_be_names_ipv4_and_ipv6_and_get_the_usual_port() {
        let peers = [
            ("10.0.0.5", "10.0.0.5:6881"),
            ("10.0.0.5:7000", "10.0.0.5:7000"),
            ("seedbox.lan", "seedbox.lan:6881"),
            ("localhost:6881", "localhost:6881"),
            ("[::1]", "[::1]:6881"),
            ("[fe80::1%eth0]:7000", "[fe80::1%eth0]:7000"),
            ("::1", "[::1]:6881"),
        ];
        for (given, want) in peers {
            assert_eq!(parse_peer(given).as_deref(), Ok(want), "{given}");
        }
    }

    #[test]
    fn nonsense_peers_are_refused_before_anything_is_fetched() {
        for given in [
            "",
            "127.0.0.1:99999",
            "127.0.0.1:abc",
            "h:",
            "h:0",
            "h:+1",
            "[::1",
            "[::1]x",
            "[zz]",
            "a b",
            "1:2:3",
            "a..b",
            ":6881",
        ] {
            assert!(parse_peer(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn addresses_to_listen_on_take_a_port_or_the_default() {
        assert_eq!(parse_listen("127.0.0.1"), Ok("127.0.0.1:6881".parse().expect("an address")));
        assert_eq!(parse_listen("[::]:0"), Ok("[::]:0".parse().expect("an address")));
        assert!(parse_listen("localhost").is_err());
    }

    #[test]
    fn a_prefix_names_the_kind_and_must_agree_with_the_flag() {
        assert_eq!(split_repo("datasets/a/b", None), Ok((RepoKind::Dataset, "a/b")));
        assert_eq!(split_repo("spaces/a/b", Some(RepoKind::Space)), Ok((RepoKind::Space, "a/b")));
        assert_eq!(split_repo("datasets/b", None), Ok((RepoKind::Model, "datasets/b")));
        assert_eq!(split_repo("a/b", Some(RepoKind::Dataset)), Ok((RepoKind::Dataset, "a/b")));
        assert!(split_repo("datasets/a/b", Some(RepoKind::Model)).is_err());
    }

    #[test]
    fn limits_are_amounts_of_bytes_and_not_below_what_can_be_kept() {
        let args =
            pull("a/b --max-download 10M --max-upload 1.5MiB/s --upload-budget 20G --policy spare-origin");
        assert_eq!((args.max_download, args.policy), (Some(10_000_000), OriginPolicy::SpareOrigin));
        assert_eq!(
            (args.upload.max_upload, args.upload.upload_budget),
            (Some(1_572_864), Some(20_000_000_000))
        );
        let line = "serve --max-upload 1M --peer 192.0.2.7";
        let Command::Serve(serve) = parse(line).expect("valid").command else { panic!() };
        let serve = serve.serve;
        assert_eq!(serve.peer, ["192.0.2.7:6881"]);
        assert_eq!(serve.upload.max_upload, Some(1_000_000));
        for line in ["--max-upload 10k", "--max-download 0", "--upload-budget 5", "--policy slow"] {
            assert!(parse(&format!("pull a/b {line}")).is_err(), "{line}");
        }
        let error = parse("pull a/b --max-upload 10k").expect_err("too low").to_string();
        assert!(error.contains("262144 bytes"), "{error}");
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(parse("pull a/b --no-listen --listen 127.0.0.1").is_err());
        assert!(parse("pull a/b --no-p2p --peer 10.0.0.5").is_err());
        assert!(parse("demo --size-mb 1").is_err());
        assert!(parse("demo --size-mb 10").is_ok());
    }
}
