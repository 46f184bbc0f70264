//! The command line of `zest-seed`.

use crate::args::{ListenHost, PORT_DEFAULT, parse_listen_host};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  zest-seed                                      give what HF_HUB_CACHE holds, on every core
  zest-seed --root /data/a --root /data/b        two caches
  zest-seed --cores 0-3 --cache-mem 16G          four cores, 16 GB of memory for what is asked for often
  zest-seed --index-only                         get ready now, give later

Gives only files of repositories that anybody may read: the Hub is asked without a token. Private and gated \
repositories stay here. Ctrl-C or SIGTERM ends it with exit code 0, once those being answered have their answers.

Which runtime: io_uring reads past the page cache and is the better choice when more is asked for than fits in memory, \
or by hundreds of peers at once. With few peers, or data that fits in memory, --runtime tokio needs less of the \
processor. auto takes io_uring where the kernel allows it.

Sizes are numbers with K, M, G or T (powers of 1000), or Ki, Mi, Gi, Ti (powers of 1024).
Exit codes and environment: see `zest --help`.";

/// zest-seed: gives Hugging Face models to peers, at the rate of the disk.
#[derive(Debug, Parser)]
#[command(name = "zest-seed", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct SeedArgs {
    /// Hugging Face cache to give from, instead of HF_HUB_CACHE (repeatable)
    #[arg(long, value_name = "HF_CACHE")]
    pub(crate) root: Vec<PathBuf>,

    /// Address to listen on, instead of all; port 6881 unless given (repeatable)
    #[arg(short, long, value_name = "ADDR[:PORT]", value_parser = parse_listen_host)]
    pub(crate) listen: Vec<ListenHost>,

    /// Processors to run on, as 0,2-3 [default: one of each physical core]
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub(crate) cores: Option<CoreList>,

    /// Memory for chunks that are asked for often [default: a quarter of what is available]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) cache_mem: Option<u64>,

    /// What drives it
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) runtime: RuntimeChoice,

    /// Send at most this many bytes per second
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) max_upload: Option<u64>,

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

fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| "a number and a unit, as 512M or 16Gi".to_owned())?;
    let unit = unit.trim().trim_end_matches(['b', 'B']);
    let scale: f64 = match unit.to_ascii_lowercase().as_str() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "ki" => 1024.0,
        "mi" => 1_048_576.0,
        "gi" => 1_073_741_824.0,
        "ti" => 1_099_511_627_776.0,
        _ => return Err(format!("{unit:?} is not a unit: K, M, G, T, Ki, Mi, Gi or Ti")),
    };
    Ok((number * scale) as u64)
}

fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_size(text.trim_end_matches("/s"))? {
        0 => Err("at this rate nothing is sent; leave it out for no limit".to_owned()),
        rate => Ok(rate),
    }
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
    fn sizes_take_both_kinds_of_units() {
        let sizes =
            [("0", 0), ("512M", 512_000_000), ("16Gi", 16 << 30), ("1.5GB", 1_500_000_000), ("2 KiB", 2048)];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "1X", "-1", "1..2"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_rate("10MB/s"), Ok(10_000_000));
        assert!(parse_rate("0").is_err());
    }

    #[test]
    fn cores_are_numbers_and_ranges() {
        assert_eq!(parse_cores("0,2-4"), Ok(CoreList(vec![0, 2, 3, 4])));
        for text in ["", "a", "3-1", "1-", "0-99999"] {
            assert!(parse_cores(text).is_err(), "{text}");
        }
    }
}
