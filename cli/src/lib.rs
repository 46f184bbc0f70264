#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! The zest commands: [`zest`] and [`zest_seed`], each behind a binary of a few lines.
//!
//! Each reads its command line, hands over to the command's module and turns its outcome into an exit code.
//! What is data goes to standard output, everything said to people goes to standard error (see [`ui`]).

mod address;
mod amount;
mod args;
mod background;
#[cfg(feature = "bench")]
mod bench;
mod beside;
mod cache;
mod commands;
mod daemon;
mod dashboard;
mod definition;
mod demo;
mod discovery;
mod doctor;
mod duration;
mod endpoint;
mod engine;
mod failure;
mod first_run;
mod giving;
mod held;
mod hidden_token;
mod hub;
mod info;
mod keeper;
mod link;
mod notify;
mod os;
mod own_endpoint;
mod peers;
mod place;
mod pull;
mod run;
mod seed;
mod serve;
mod settings;
mod share;
mod sharing;
mod signals;
mod ui;
mod verify;
mod watch;

use args::PullArgs;
use commands::{Cli, Command};
use failure::{Failure, Kind};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// The `zest` binary.
#[must_use]
pub fn zest() -> ExitCode {
    // Before anything else: a token among the arguments can be read by every user of this machine.
    hidden_token::move_to_environment();

    let (mut cli, passed_over): (Cli, _) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    if let Command::Pull(args) = &cli.command {
        cli.json |= args.events || args.format == Some(args::Format::Json);
        cli.quiet |= args.format == Some(args::Format::Quiet);
    }
    let ui = match cli.command.log_file() {
        Some(path) => match ui::Ui::logging(path, cli.verbose) {
            Ok(ui) => ui,
            Err(failure) => return end(Err(failure), &ui::Ui::new(false, 0, false)),
        },
        None => ui::Ui::new(cli.quiet, cli.verbose, cli.json),
    };
    if let Some(wrong) = passed_over {
        ui.warn(wrong);
    }
    end(run(cli, &ui), &ui)
}

/// The `zest-seed` binary.
#[must_use]
pub fn zest_seed() -> ExitCode {
    let args: seed::SeedArgs = match parse() {
        Ok((args, _)) => args,
        Err(error) => return usage(&error),
    };
    let ui = ui::Ui::new(args.quiet, args.verbose, args.json);
    end(engine::block_on(seed::run(args, &ui)), &ui)
}

/// What was typed, and what variables and the configuration file say beside it.
fn parse<P: clap::CommandFactory + clap::FromArgMatches>() -> Result<(P, Option<String>), clap::Error> {
    let arguments: Vec<_> = std::env::args_os().collect();
    settings::parse(&arguments, &settings::variables(), settings::File::read())
}

/// What would be typed to pull, with what variables and the configuration file say beside it.
fn pull_line(words: &[OsString]) -> Result<PullArgs, clap::Error> {
    let (line, _): (Cli, _) = settings::parse(words, &settings::variables(), settings::File::read())?;
    match line.command {
        Command::Pull(args) => Ok(*args),
        _ => Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand)),
    }
}

fn end(outcome: Result<(), Failure>, ui: &ui::Ui) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

fn run(cli: Cli, ui: &ui::Ui) -> Result<(), Failure> {
    match cli.command {
        Command::Pull(args) => engine::block_on(pull::run(*args, ui)),
        Command::Serve(args) => {
            let args::DaemonArgs { serve, http } = *args;
            // Without an API nobody can hand anything over.
            let purpose = match http.no_http {
                true => discovery::Purpose::Serve,
                false => discovery::Purpose::Daemon,
            };
            engine::block_on(serve::run(serve, purpose, Some(http), ui))
        }
        Command::Seed(args) => engine::block_on(serve::run(*args, discovery::Purpose::Seed, None, ui)),
        Command::Start(args) => engine::block_on(background::start(*args, ui)),
        Command::Stop(args) => engine::block_on(background::stop(args, ui)),
        Command::Status(args) => engine::block_on(background::status(args, ui)),
        Command::Logs(args) => background::logs(&args, ui),
        Command::Info(args) => engine::block_on(info::run(*args, ui)),
        Command::Dashboard(args) => engine::block_on(dashboard::run(args, ui)),
        Command::Endpoint(args) => engine::block_on(endpoint::run(args, ui)),
        Command::Run(args) => engine::block_on(run::run(args, ui)),
        Command::Peers(args) => engine::block_on(peers::run(*args, ui)),
        Command::Hub(args) => engine::block_on(hub::run(args, ui)),
        Command::Doctor(args) => engine::block_on(doctor::run(*args, ui)),
        Command::Link(args) => engine::block_on(link::run(args, pull_line, ui)),
        Command::Share(args) => engine::block_on(share::run(args, ui)),
        Command::Cache(args) => cache::run(args, pull_line, ui),
        Command::Verify(args) => verify::run(args, ui),
        Command::Demo(args) => demo::run(args, ui),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::run(&args, ui),
        Command::Config(args) => settings::run(args, ui),
        Command::Completions { shell } => definition::completions(shell, ui),
        Command::Man { dir } => definition::manual(&dir),
        Command::Version => version(ui),
    }
}

/// The version, and the commit where the builder named one (`ZEST_COMMIT`).
fn version(ui: &ui::Ui) -> Result<(), Failure> {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), option_env!("ZEST_COMMIT"));
    if ui.json() {
        let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        return ui
            .data(&serde_json::json!({"version": version, "commit": commit, "target": target}).to_string());
    }
    let of = commit.map(|commit| format!(" ({})", commit.get(..12).unwrap_or(commit))).unwrap_or_default();
    ui.data(&format!("zest {version}{of}"))
}

/// Help and version texts count as success and go to standard output; mistakes go to standard error, and to
/// standard output as JSON for a caller that asked for it.
fn usage(error: &clap::Error) -> ExitCode {
    let mistake = error.use_stderr();
    let printed = error.print();
    if !mistake {
        return match printed {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ExitCode::from(failure::output(&error).kind.exit_code()),
        };
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let failure = Failure::new(Kind::Usage, first.strip_prefix("error: ").unwrap_or(first));
        // Nobody is left to hear that standard output is gone.
        let _closed = writeln!(std::io::stdout(), "{}", failure.to_json());
    }
    ExitCode::from(Kind::Usage.exit_code())
}
