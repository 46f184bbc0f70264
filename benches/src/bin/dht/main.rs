//! What the DHT and announcing cost: queries, time, memory, packets. Beside every figure stands its goal.
//!
//! ```text
//! cargo run --release -p zest-benches --no-default-features --bin dht -- [--lookups 200] [--nodes 60] [--settle-s 30]
//!     [--network 1000] [--hours 8] [--only loopback|simulated]
//! ```
//! `--nodes` UDP sockets of this machine with a node each; then `--network` nodes in virtual time, idle for two hours, and
//! then for `--hours` beside nodes that seed a file, a model, and 1 TB. What is simulated follows from the seed; only
//! its memory and the times on loopback are of this machine.

mod budget;
#[path = "../../../../core/tests/common/dht_net.rs"]
mod dht_net;
mod loopback;
mod network;

use std::process::ExitCode;

pub(crate) struct Args {
    /// Nodes on loopback.
    pub(crate) nodes: usize,
    /// Lookups there.
    pub(crate) lookups: usize,
    /// Seconds until they begin.
    pub(crate) settle_s: u64,
    /// Nodes in virtual time.
    pub(crate) network: usize,
    /// Virtual hours of seeding.
    pub(crate) hours: u64,
    only: Option<String>,
}

fn main() -> ExitCode {
    let args = match parse() {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("error: {wrong}");
            return 2.into();
        }
    };
    let only = args.only.as_deref();
    // First, so that memory which others gave back is not taken for its own.
    if only != Some("loopback") {
        network::run(&args);
    }
    if only != Some("simulated")
        && let Err(error) = loopback::run(&args)
    {
        eprintln!("error: {error}");
        return 1.into();
    }
    ExitCode::SUCCESS
}

fn parse() -> Result<Args, String> {
    let mut args = Args { nodes: 60, lookups: 200, settle_s: 30, network: 1000, hours: 8, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = value.parse::<u64>().ok().filter(|n| *n > 0);
        let number = || number.ok_or(format!("{word}: {value} is no number above 0"));
        match word.as_str() {
            "--nodes" => args.nodes = number()?.max(2) as usize,
            "--lookups" => args.lookups = number()? as usize,
            "--settle-s" => args.settle_s = number()?,
            "--network" => args.network = number()?.max(2) as usize,
            "--hours" => args.hours = number()?,
            "--only" if ["loopback", "simulated"].contains(&value.as_str()) => args.only = Some(value),
            _ => return Err(format!("unknown: {word} {value}")),
        }
    }
    Ok(args)
}

/// A line of the report: what, how much of it, the goal, and whether it is met.
pub(crate) fn judge(what: &str, figure: f64, unit: &str, goal: f64) {
    let met = if figure <= goal { "met" } else { "MISSED" };
    println!("{what:<44} {figure:>8.2} {unit:<10} goal {goal} {met}");
}

/// A line without a goal.
pub(crate) fn tell(what: &str, figure: &str) {
    println!("{what:<44} {figure}");
}
