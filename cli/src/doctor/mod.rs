//! `zest doctor`: whether everything that a pull and a seeder need is there, and what to do where it is not.

mod machine;
mod origin;
mod ways;

use crate::args::RepoKind;
use crate::discovery::DiscoveryArgs;
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::signals::Signals;
use crate::ui::Ui;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

const HELP: &str = "\
Nothing is fetched or announced but what finding peers takes; --no-dht, --no-lan and --lan-only leave that out. What is asked: the \
Hub, about a repository that does not exist, and its CAS and CDN for a few bytes of one that it gave or that is named; DHT routers and \
trackers for their existence; the router for our address.
Exit code 0: nothing is wrong, whatever could be better. 1: something is wrong, each line says what helps.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DoctorArgs {
    /// Try the CAS and the CDN with this repository [default: one that the Hub gave, else an example of the public one]
    #[arg(value_name = "ORG/NAME")]
    repo: Option<String>,

    /// What kind of repository it is [default: model]
    #[arg(long = "type", visible_alias = "repo-type", value_name = "TYPE", requires = "repo")]
    kind: Option<RepoKind>,

    /// Give the DHT, trackers and the router this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=600))]
    wait: u64,

    /// Cache to look at instead of HF_HUB_CACHE
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    #[command(flatten)]
    discovery: DiscoveryArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// It works, and something could be better.
    Warn,
    Fail,
}

/// One thing looked at.
#[derive(Debug)]
struct Check {
    name: &'static str,
    state: State,
    text: String,
    /// What helps.
    fix: Option<String>,
}

impl Check {
    fn is_wrong(&self) -> bool {
        self.state == State::Fail
    }

    fn document(&self) -> Value {
        let state = match self.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        json!({"name": self.name, "state": state, "text": self.text, "fix": self.fix})
    }

    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, state: State::Ok, text: text.into(), fix: None }
    }

    fn warn(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Warn, text: text.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Fail, text: text.into(), fix: Some(fix.into()) }
    }
}

pub(crate) async fn run(args: DoctorArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    let mut env = engine::environment(ui);
    if let Some(dir) = args.cache_dir.clone() {
        env.hub_cache = dir;
    }
    let mut checks = Vec::new();
    let mut add = |check: Check| -> Result<(), Failure> {
        if !ui.json() {
            ui.text(&line(&check, ui))?;
            if let Some(fix) = &check.fix {
                ui.text(&format!("                  {fix}"))?;
            }
        }
        checks.push(check);
        Ok(())
    };
    let with = args.repo.as_deref().map(|name| engine::repo_id(name, args.kind)).transpose()?;
    let asked = tokio::select! {
        asked = origin::look(&env, with.as_ref()) => asked,
        () = signals.first() => return Err(Failure::new(Kind::Interrupted, "interrupted")),
    };
    for check in asked.into_iter().chain(machine::look(&env)) {
        add(check)?;
    }
    let mut status = ui.status();
    status.show("looking for ways to find peers …", false);
    let found = tokio::select! {
        found = ways::look(&args, &env) => found?,
        () = signals.first() => return Err(Failure::new(Kind::Interrupted, "interrupted")),
    };
    drop(status);
    for check in found {
        add(check)?;
    }
    let wrong = checks.iter().filter(|check| check.is_wrong()).count();
    if ui.json() {
        let checks: Vec<Value> = checks.iter().map(Check::document).collect();
        ui.data(&json!({"checks": checks, "wrong": wrong}).to_string())?;
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::new(Kind::Other, "one thing is wrong")),
        some => Err(Failure::new(Kind::Other, format_args!("{some} things are wrong"))),
    }
}

fn line(check: &Check, ui: &Ui) -> String {
    let (word, colour) = match check.state {
        State::Ok => ("ok  ", "32"),
        State::Warn => ("warn", "33"),
        State::Fail => ("FAIL", "31"),
    };
    format!("{} {:<12} {}", ui.paint(word, colour), check.name, check.text)
}
