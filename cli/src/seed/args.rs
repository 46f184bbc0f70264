//! The command line of `zest-seed`.

use crate::address::{ListenHost, PORT_DEFAULT, parse_listen_host};
use crate::amount;
use crate::discovery::DiscoveryArgs;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  zest-seed                                      give what HF_HUB_CACHE holds, on every core
  zest-seed --root /data/a --root /data/b        two caches
  zest-seed --cores 0-3 --cache-mem 16G          four cores, 16 GB of memory for what is asked for often
  zest-seed --tracker udp://tracker.example:6969 announce it there, too
  zest-seed --lan-only                           for this network only
  zest-seed --index-only                         get ready now, give later

Gives only files of repositories that anybody may read: the Hub is asked without a token. Only what lies in the caches \
and folders named is given; what it is is shown by name. Private and gated repositories stay here, and no packet names them. The others are announced in the DHT, on this network and at the \
trackers named, and the router is asked to let peers in; listening on loopback addresses alone, it speaks to this \
machine alone. Ctrl-C or SIGTERM ends it with exit code 0, once those being answered have their answers.

Which runtime: io_uring reads past the page cache and is the better choice when more is asked for than fits in memory, \
or by hundreds of peers at once. With few peers, or data that fits in memory, --runtime tokio needs less of the \
processor. auto takes io_uring where the kernel allows it.

Sizes are numbers with k, M, G or T (powers of 1000), or Ki, Mi, Gi, Ti (powers of 1024).
Exit codes and environment: see `zest --help`.";

/// zest-seed: shares Hugging Face models with peers, at the rate of the disk.
#[derive(Debug, Parser)]
#[command(name = "zest-seed", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct SeedArgs {
    /// Hugging Face cache to share, instead of HF_HUB_CACHE (repeatable)
    #[arg(long, value_name = "HF_CACHE")]
    pub(crate) root: Vec<PathBuf>,

    /// Also share this folder that `zest pull --local-dir` has filled (repeatable)
    #[arg(long, value_name = "DIR")]
    pub(crate) local_dir: Vec<PathBuf>,

    /// Address to listen on, instead of all; port 6881 unless given (repeatable)
    #[arg(short, long, value_name = "ADDR[:PORT]", value_parser = parse_listen_host)]
    pub(crate) listen: Vec<ListenHost>,

    /// Processors to run on, as 0,2-3 [default: one of each physical core]
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub(crate) cores: Option<CoreList>,

    /// Memory for chunks that are asked for often [default: a quarter of what is available]
    #[arg(long, value_name = "SIZE", value_parser = amount::bytes)]
    pub(crate) cache_mem: Option<u64>,

    /// What drives it
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) runtime: RuntimeChoice,

    /// Upload to peers at most this many bytes per second
    #[arg(long, value_name = "RATE", value_parser = amount::upload_rate)]
    pub(crate) max_upload: Option<u64>,

    /// Be linked with at most this many peers at once
    #[arg(long, value_name = "N", value_parser = crate::args::max_peers)]
    pub(crate) max_peers: Option<usize>,

    /// TCP congestion control of connections that come in, as cubic or bbr [default: the system's]
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion_control: Option<String>,

    /// Index the caches, ask the Hub what is public, and stop
    #[arg(long)]
    pub(crate) index_only: bool,

    /// Put JSON on standard output: one line per event, and the state every few seconds
    #[arg(long)]
    pub(crate) json: bool,

    /// Show nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Show what happens inside (-vv: more)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(flatten)]
    pub(crate) discovery: DiscoveryArgs,
}

/// `--runtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeChoice {
    Auto,
    Glommio,
    Tokio,
}

/// `--cores`. (A bare `Vec` would make clap take every number for one use of the flag.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoreList(pub(crate) Vec<usize>);

/// The port peers find it on unless told otherwise.
pub(crate) const PORT: u16 = PORT_DEFAULT;

fn parse_cores(text: &str) -> Result<CoreList, String> {
    let number = |text: &str| {
        text.trim().parse::<usize>().map_err(|_| format!("{text:?} is not a processor's number"))
    };
    let mut cores = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last || last - first > 4096 {
                    return Err(format!("{part:?} is not a range"));
                }
                cores.extend(first..=last);
            }
            None => cores.push(number(part)?),
        }
    }
    Ok(CoreList(cores))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        SeedArgs::command().debug_assert();
    }

    #[test]
    fn cores_are_numbers_and_ranges() {
        assert_eq!(parse_cores("0,2-4"), Ok(CoreList(vec![0, 2, 3, 4])));
        for text in ["", "a", "3-1", "1-", "0-99999"] {
            assert!(parse_cores(text).is_err(), "{text}");
        }
    }
}
