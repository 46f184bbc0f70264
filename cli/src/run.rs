//! `zest run`: a command whose downloads go through zest, and which runs all the same where that cannot be.

use crate::args::RunArgs;
use crate::background;
use crate::endpoint;
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::ui::{Ui, units};
use axum::http::Method;
use std::process::{Command, ExitStatus};
use zest_daemon::{Client, Places, Secret};

/// What shortens the tries of Xet's client at a zest that has died; variables that are set stay as they are.
const XET: [(&str, &str); 2] =
    [("HF_XET_CLIENT_RETRY_MAX_DURATION", "5s"), ("HF_XET_CLIENT_RETRY_BASE_DELAY", "200ms")];

/// Exit codes of shells for a command that is not there, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// A signal's number is added to this, as shells do.
const BY_SIGNAL: i32 = 128;

/// Runs the command and ends with its exit code.
pub(crate) async fn run(args: RunArgs, ui: &Ui) -> Result<(), Failure> {
    let Some((program, words)) = args.command.split_first() else {
        return Err(
            Failure::new(Kind::Usage, "a command is missing").hint("zest run -- hf download ORG/NAME")
        );
    };
    let env = engine::environment(ui);
    let places = Places::new(&env.zest_cache);
    let reached = reach(&places, ui).await.and_then(|client| {
        let key = Secret::endpoint_key(&places).map_err(|error| error.to_string())?;
        Ok((endpoint::address(client.addr(), &key), client))
    });
    let (url, client) = match reached {
        Ok((url, client)) => (Some(url), Some(client)),
        Err(why) => {
            ui.say(format!("running without zest: {why}"));
            (None, None)
        }
    };
    let before = match &client {
        Some(client) => figures(client).await,
        None => Figures::default(),
    };
    let mut command = Command::new(program);
    command.args(words);
    if let Some(url) = url {
        command.env("HF_ENDPOINT", url);
        for (name, value) in XET {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
    }
    let mut signals = Passed::listen()?;
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            ui.failure(&Failure::new(Kind::Other, format_args!("cannot run {}: {error}", program.display())));
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            std::process::exit(if missing { NOT_FOUND } else { NOT_RUN });
        }
    };
    let status = wait(child, &mut signals).await;
    let status = status.map_err(|error| Failure::new(Kind::Other, format_args!("cannot wait: {error}")))?;
    if let Some(client) = &client {
        let after = figures(client).await;
        ui.say(closing(&before, &after));
    }
    std::process::exit(code(status));
}

/// The daemon that runs, or one that is begun for this.
async fn reach(places: &Places, ui: &Ui) -> Result<Client, String> {
    match Client::find(places).await {
        Ok(Some(client)) => return Ok(client),
        Ok(None) => {}
        Err(error) => return Err(error.to_string()),
    }
    background::begin_on_demand(places).await.map_err(|failure| failure.to_string())?;
    let client = Client::find(places).await.map_err(|error| error.to_string())?;
    let client = client.ok_or("it ended as soon as it had begun")?;
    ui.say("zest was begun in the background; it ends when nobody has needed it for 30 minutes");
    Ok(client)
}

async fn wait(mut child: std::process::Child, signals: &mut Passed) -> std::io::Result<ExitStatus> {
    let pid = rustix::process::Pid::from_child(&child);
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    loop {
        tokio::select! {
            status = &mut waiting => return status.unwrap_or_else(|error| Err(std::io::Error::other(error))),
            signal = signals.next() => {
                if let Some(signal) = signal {
                    let _it_has_ended = rustix::process::kill_process(pid, signal);
                }
            }
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| BY_SIGNAL + status.signal().unwrap_or(0))
}

/// Signals that are the command's. A terminal's Ctrl-C reaches it by itself; whoever signals us alone means it, too.
struct Passed {
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    usr1: tokio::signal::unix::Signal,
    usr2: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Passed {
    fn listen() -> Result<Passed, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let cannot = |error| Failure::new(Kind::Other, format_args!("cannot listen for signals: {error}"));
        let of = |kind| signal(kind).map_err(cannot);
        Ok(Passed {
            terminate: of(SignalKind::terminate())?,
            hangup: of(SignalKind::hangup())?,
            usr1: of(SignalKind::user_defined1())?,
            usr2: of(SignalKind::user_defined2())?,
            quit: of(SignalKind::quit())?,
            interrupt: of(SignalKind::interrupt())?,
        })
    }

    /// The next that is to be passed on; `None` for one that has reached the command already.
    async fn next(&mut self) -> Option<rustix::process::Signal> {
        use rustix::process::Signal;
        use std::io::IsTerminal as _;
        // The terminal tells all of its foreground.
        let by_terminal = std::io::stdin().is_terminal();
        tokio::select! {
            _ = self.terminate.recv() => Some(Signal::TERM),
            _ = self.hangup.recv() => Some(Signal::HUP),
            _ = self.usr1.recv() => Some(Signal::USR1),
            _ = self.usr2.recv() => Some(Signal::USR2),
            _ = self.quit.recv() => Some(Signal::QUIT).filter(|_| !by_terminal),
            _ = self.interrupt.recv() => Some(Signal::INT).filter(|_| !by_terminal),
        }
    }
}

/// Bytes by where they came from, of all pulls of a daemon.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    peers: u64,
    cdn: u64,
    disk: u64,
}

/// As the daemon counts them.
async fn figures(client: &Client) -> Figures {
    let Ok(answer) = client.ask(Method::GET, "/v1/pulls", None, &[]).await else { return Figures::default() };
    let pulls = answer.body.as_array().cloned().unwrap_or_default();
    let sum = |name: &str| pulls.iter().filter_map(|pull| pull["progress"][name].as_u64()).sum();
    Figures { peers: sum("from_peers"), cdn: sum("from_cdn"), disk: sum("from_disk") }
}

fn closing(before: &Figures, after: &Figures) -> String {
    let of = |now: u64, then: u64| units::bytes(now.saturating_sub(then));
    format!(
        "zest: {} from peers, {} from the CDN and the Hub, {} from this disk",
        of(after.peers, before.peers),
        of(after.cdn, before.cdn),
        of(after.disk, before.disk)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_counts_what_came_meanwhile() {
        let before = Figures { peers: 1_000_000, cdn: 5, disk: 0 };
        let after = Figures { peers: 3_000_000, cdn: 5, disk: 1_500_000 };
        assert_eq!(
            closing(&before, &after),
            "zest: 2.0 MB from peers, 0 B from the CDN and the Hub, 1.5 MB from this disk"
        );
    }
}
