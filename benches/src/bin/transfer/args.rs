//! The command line.

use std::path::PathBuf;

/// Size of the sample unless told otherwise, in MB: that of the models the official client was measured with.
const SIZE_MB: u64 = 486;

/// Rounds unless told otherwise: enough for a median on a machine that others use, too.
const RUNS: usize = 5;

pub(crate) const HELP: &str = "\
Measures zest with real processes.

  --size-mb N      size of the sample model [486]
  --runs N         rounds; every figure is shown as minimum, median, maximum [5]
  --zest PATH      the program to measure [next to this one]
  --hf PATH        also measure the official client, turn by turn with zest
  --dir PATH       folder for caches and sample, e.g. on tmpfs [the system's temporary folder]
  --endpoint URL   measure against this Hub instead of one of our own
  --repo NAME      repository to fetch there, ORG/NAME
  --micro          only what needs no other process
  --json           one JSON object instead of the table";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) size_mb: u64,
    pub(crate) runs: usize,
    pub(crate) zest: Option<PathBuf>,
    pub(crate) hf: Option<PathBuf>,
    pub(crate) dir: PathBuf,
    /// Endpoint and repository of a Hub that runs already.
    pub(crate) elsewhere: Option<(String, String)>,
    pub(crate) micro: bool,
    pub(crate) json: bool,
}

impl Args {
    /// `None` if help was asked for.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self {
            size_mb: SIZE_MB,
            runs: RUNS,
            zest: None,
            hf: None,
            dir: std::env::temp_dir(),
            elsewhere: None,
            micro: false,
            json: false,
        };
        let (mut endpoint, mut repo) = (None, None);
        while let Some(flag) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--size-mb" => args.size_mb = number(&flag, &value()?)?,
                "--runs" => args.runs = number(&flag, &value()?)? as usize,
                "--zest" => args.zest = Some(value()?.into()),
                "--hf" => args.hf = Some(value()?.into()),
                "--dir" => args.dir = value()?.into(),
                "--endpoint" => endpoint = Some(value()?.trim_end_matches('/').to_owned()),
                "--repo" => repo = Some(value()?),
                "--micro" => args.micro = true,
                "--json" => args.json = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("{other:?} is no flag")),
            }
        }
        args.elsewhere = match (endpoint, repo) {
            (None, None) => None,
            (Some(endpoint), Some(repo)) => Some((endpoint, repo)),
            _ => return Err("--endpoint and --repo go together".to_owned()),
        };
        Ok(Some(args))
    }
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("{flag} takes a number above 0, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read_and_mistakes_named() {
        let args = parse("--runs 3 --endpoint http://h/ --repo a/b --json").unwrap().unwrap();
        assert_eq!((args.runs, args.size_mb, args.json), (3, 486, true));
        assert_eq!(args.elsewhere, Some(("http://h".to_owned(), "a/b".to_owned())));
        assert_eq!(parse("--help"), Ok(None));
        for line in ["--runs", "--runs 0", "--frob", "--repo a/b"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
