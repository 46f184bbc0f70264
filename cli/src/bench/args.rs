//! The flags of `zest bench`.

use clap::Args;
use std::path::PathBuf;

const BENCH_HELP: &str = "\
--synthetic times functions, about ten seconds. --transfer lets real processes move data over loopback \
beside a bare sendfile loop and a reader of the disk, in less than five minutes; both take turns, and \
ratios are of neighbours. With --json, one document on standard output; docs/benchmarks.md has its schema.
Figures of a machine that does other work are worth little; the ratios are worth more.";

#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["synthetic", "transfer", "baseline"])))]
pub(crate) struct BenchArgs {
    /// Time hashing, unpacking, parsing and deciding, one function at a time
    #[arg(long)]
    pub(crate) synthetic: bool,

    /// Move data between real processes: pulls, and seeders with 1, 8 and 256 peers, hot and cold
    #[arg(long)]
    pub(crate) transfer: bool,

    /// Rounds of --transfer: every program is measured once in each [default: 5]
    #[arg(long, value_name = "N", default_value_t = 5, hide_default_value = true, requires = "transfer",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// Folder for the data of --transfer, on the disk that is measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR", requires = "transfer")]
    pub(crate) dir: Option<PathBuf>,

    /// Be one of the baselines; `zest bench` starts itself so
    #[arg(long, hide = true, num_args = 1..)]
    pub(crate) baseline: Vec<String>,
}
