//! The flags of what runs on: `serve`, `seed`, `start` and their API, and of the commands that speak with it.

use super::{MORE, OriginPolicy, UploadArgs};
use crate::address::{ListenHost, parse_listen_host, parse_peer};
use crate::amount;
use crate::discovery::DiscoveryArgs;
use crate::duration;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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

    /// Also answer with figures (/metrics) and signs of life (/livez, /readyz), and nothing else, to whoever asks here
    #[arg(hide_short_help = true, long, value_name = "ADDR:PORT", conflicts_with = "no_http")]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// Be a registry, too: `ollama pull --insecure 127.0.0.1:9847/ORG/NAME:QUANT`. For what everybody may read; no key is asked for
    #[arg(hide_short_help = true, long, conflicts_with = "no_http")]
    pub(crate) oci: bool,

    /// Without the API
    #[arg(hide_short_help = true, long, conflicts_with_all = ["http", "http_port"])]
    pub(crate) no_http: bool,

    /// Be in the background and write this log; `zest start` says so
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// For a program that needs a daemon: give what it fetches itself to this network only (ZEST_SHARE=0: to nobody), and end when
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

    /// Connect to this peer, and share with it also what a Hub of your own shows (repeatable)
    #[arg(short, long, value_name = "HOST[:PORT]", value_parser = parse_peer)]
    pub(crate) peer: Vec<String>,

    /// Show a line for each model and each peer, with rates
    #[arg(hide_short_help = true, long)]
    pub(crate) watch: bool,

    /// Cache to serve instead of HF_HUB_CACHE
    #[arg(help_heading = "What", long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Also share this folder that `zest pull --local-dir` has filled (repeatable)
    #[arg(help_heading = "What", long, value_name = "DIR")]
    pub(crate) local_dir: Vec<PathBuf>,

    /// Memory for chunks that are asked for again and again; taken as they come
    #[arg(help_heading = "Limits", hide_short_help = true, long, value_name = "SIZE", default_value = "64MiB", value_parser = amount::bytes)]
    pub(crate) cache_mem: u64,

    /// Receive at most this many bytes per second, from peers and the CDN together
    #[arg(help_heading = "Limits", hide_short_help = true, long, value_name = "RATE", value_parser = amount::download_rate)]
    pub(crate) max_download: Option<u64>,

    /// Keep the line free for others: receive only as fast as its queue stays short (60 ms), peers and the CDN together; what comes from this machine or this network is not held up
    #[arg(help_heading = "Limits", hide_short_help = true, long)]
    pub(crate) nice: bool,

    /// How the Hub's CDN is used beside peers, by pulls that say nothing of it
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
