//! The flags of commands: one definition for each, from which parsing, `--help` and errors come. `commands.rs` lists the commands.

mod config;
mod daemon;
mod pull;

pub(crate) use config::*;
pub(crate) use daemon::*;
pub(crate) use pull::*;

use crate::address::{parse_listen, parse_peer};
use crate::amount;
use crate::discovery::DiscoveryArgs;
use clap::Args;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Smallest and largest sample model of the demo in MB: below, the model has no room for one layer; above, the
/// three copies it makes fill disks for no new insight.
const DEMO_MB: std::ops::RangeInclusive<u64> = 4..=100_000;

/// Below the flags of `-h`, which is one screen.
const MORE: &str = "All flags, examples and what they mean: --help";

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

    /// Address under which others reach it: by a name, or behind a reverse proxy, whose address then stands in all of the hub's answers
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

/// Peers a process may have at once: 1 to 512, the most that are linked (`LINKS_MAX` of the runtime).
pub(crate) fn max_peers(text: &str) -> Result<usize, String> {
    let most = zest_runtime_tokio::LINKS_MAX;
    match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("1 to {most} peers")),
    }
}

/// What is given to peers, at most, and to how many.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct UploadArgs {
    /// Be linked with at most this many peers at once
    #[arg(hide_short_help = true, help_heading = "Limits", long, value_name = "N", value_parser = max_peers)]
    pub(crate) max_peers: Option<usize>,

    /// Upload to peers at most this many bytes per second
    #[arg(help_heading = "Limits", long, value_name = "RATE", value_parser = amount::upload_rate)]
    pub(crate) max_upload: Option<u64>,

    /// Upload to peers at most this many bytes per day (UTC), all commands together
    #[arg(hide_short_help = true, help_heading = "Limits", long, value_name = "SIZE", value_parser = amount::upload_budget)]
    pub(crate) upload_budget: Option<u64>,
}

fn parse_demo_mb(text: &str) -> Result<u64, String> {
    let mb = text.parse().map_err(|_| "not a number".to_owned())?;
    if DEMO_MB.contains(&mb) {
        return Ok(mb);
    }
    Err(format!("{} to {} MB", DEMO_MB.start(), DEMO_MB.end()))
}
