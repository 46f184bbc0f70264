//! The command line: all commands of `zest`, and the flags that each of them has.

use crate::args::{
    ConfigArgs, DaemonArgs, DashboardArgs, DemoArgs, EndpointArgs, HubArgs, LogsArgs, PeersArgs, PullArgs,
    RunArgs, ServeArgs, StatusArgs, StopArgs, VerifyArgs,
};
use crate::cache::CacheArgs;
use crate::doctor::DoctorArgs;
use crate::info::InfoArgs;
use crate::link::LinkArgs;
use crate::share::ShareArgs;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const FIRST_HELP: &str = "\
Examples:
  zest demo                           see it work: no network, no set-up
  zest pull Qwen/Qwen3-0.6B           a model, into the usual cache
Exit codes, environment, more examples: zest --help. Flags of a command: zest COMMAND --help";

const AFTER_HELP: &str = "\
Examples:
  zest demo                                  see it work: no network, no set-up
  zest pull Qwen/Qwen3-0.6B                  a model, into the usual cache
  zest pull ORG/NAME config.json -r v1.0     one file of one revision
  zest pull ORG/NAME -p 10.0.0.5             from a colleague's machine first
  zest pull ORG/NAME -p a -p b -p c --policy spare-origin
                                             on a, b and c at once: about one download for all
  zest serve                                 share what this machine has with its network
  zest seed                                  share it with everyone
  zest start                                 `serve` in the background; `zest status`, `zest stop`
  zest peers ORG/NAME                        who has it
  zest link ollama ORG/NAME:Q4_K_M           a GGUF model for Ollama, without a second copy

Exit codes:
  0 done                        4 no such repository, revision or file      8 a file cannot have its name
  1 failed                      5 offline or unreachable                    130 interrupted
  2 usage                       6 wrong bytes found                         141 nobody reads standard output
  3 no valid token or access    7 disk full, read-only or failing

Environment:
  HF_TOKEN, HF_TOKEN_PATH, HF_HUB_DISABLE_IMPLICIT_TOKEN    access to private and gated repositories
  HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME, ZEST_CACHE_DIR     where things are kept
  HF_ENDPOINT, HF_HUB_OFFLINE, HF_HUB_DISABLE_XET           which Hub, and how it is used
  HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT              timeouts, in seconds
  HF_HUB_DISABLE_SYMLINKS, HF_HUB_DISABLE_SHARED_BLOBS      layout of the cache
  HF_HUB_DISABLE_PROGRESS_BARS, NO_COLOR, TERM=dumb         what is shown
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE          the way to the network
  ZEST_MAX_UPLOAD, ZEST_NO_DHT, ZEST_PEER, ZEST_…           as the flag of that name, see `zest config --help`
  ZEST_CONFIG                                               the configuration file, if it is not in its usual place
  ZEST_LOG                                                  what -v shows, as `target=level,…`";

const COMPLETIONS_HELP: &str = "\
Examples:
  zest completions bash > ~/.local/share/bash-completion/completions/zest
  zest completions zsh > ~/.zfunc/_zest             (a folder of $fpath)
  zest completions fish > ~/.config/fish/completions/zest.fish";

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
    /// Share what this machine's caches hold with peers, and answer programs over HTTP
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
    Info(Box<InfoArgs>),
    /// Show who has what of a repository, and how they were found
    Peers(Box<PeersArgs>),
    /// Put a model where another program looks for it, without a second copy: Ollama
    Link(LinkArgs),
    /// Show what is shared with others and why not, and say no to it
    Share(ShareArgs),
    /// List what the cache holds, remove some of it, mend what is wrong
    Cache(CacheArgs),
    /// Re-hash what the cache holds and say what is wrong
    Verify(VerifyArgs),
    /// Look whether all that zest needs is there, and say what helps where it is not
    Doctor(Box<DoctorArgs>),
    /// Run a small Hub that serves a folder (air-gapped sites, tests)
    Hub(HubArgs),
    /// See a model travel Hub → node A → node B, all on this machine
    Demo(DemoArgs),
    /// Measure this build on this machine, beside baselines
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
            Self::Serve(args) => args.http.log_file.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{parse_listen, parse_peer};
    use crate::args::{OriginPolicy, RepoKind, split_repo};
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
        assert_eq!((args.max_download, args.policy), (Some(10_000_000), Some(OriginPolicy::SpareOrigin)));
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
