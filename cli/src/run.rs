//! `zest run`: a command whose downloads go through zest, and which runs all the same where that cannot be.

use crate::args::RunArgs;
use crate::endpoint;
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::keeper::Keeper;
use crate::os::{self, Below, Passed};
use crate::ui::{Ui, units};
use axum::http::Method;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use zest_daemon::{Client, Places, Secret};

/// What shortens the tries of Xet's client at a zest that has died and cannot be begun again; one that can is there within seconds.
/// Variables that are set stay as they are.
const XET: [(&str, &str); 2] =
    [("HF_XET_CLIENT_RETRY_MAX_DURATION", "5s"), ("HF_XET_CLIENT_RETRY_BASE_DELAY", "200ms")];

/// Time between two looks at what the command has had: 1 s. A daemon that dies takes what it has counted since with it.
const COUNT: Duration = Duration::from_secs(1);

/// Random bytes of a run's name.
const NAME_BYTES: usize = 8;

/// Exit codes of shells for a command that is not there, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// Runs the command and ends with its exit code.
pub(crate) async fn run(args: RunArgs, ui: &Ui) -> Result<(), Failure> {
    let Some((program, words)) = args.command.split_first() else {
        return Err(
            Failure::new(Kind::Usage, "a command is missing").hint("zest run -- hf download ORG/NAME")
        );
    };
    let env = engine::environment(ui);
    let places = Places::new(&env.zest_cache);
    let reached = Keeper::reach(&places, ui).await.and_then(|keeper| {
        let key = Secret::endpoint_key(&places).map_err(|error| error.to_string())?;
        let name = zest_daemon::random_hex(NAME_BYTES).map_err(|error| error.to_string())?;
        Ok((endpoint::address(keeper.addr(), &key), name, keeper))
    });
    let reached = match reached {
        Ok(reached) => Some(reached),
        Err(why) => {
            ui.say(format!("running without zest: {why}"));
            None
        }
    };
    let mut command = Command::new(program);
    command.args(words);
    if let Some((url, name, _)) = &reached {
        command.env("HF_ENDPOINT", format!("{url}.{name}"));
        for (name, value) in XET {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
    }
    let cannot = |error| Failure::new(Kind::Other, format_args!("cannot listen for signals: {error}"));
    let mut signals = Passed::listen().map_err(cannot)?;
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            ui.failure(&Failure::new(Kind::Other, format_args!("cannot run {}: {error}", program.display())));
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            std::process::exit(if missing { NOT_FOUND } else { NOT_RUN });
        }
    };
    let status = match reached {
        Some((_, name, keeper)) => {
            let account = Account::new(&places, name);
            let status = tokio::select! {
                status = wait(child, &mut signals) => status,
                () = async { tokio::join!(keeper.keep(ui), account.keep()); } => unreachable!("an account is kept for ever"),
            };
            account.look().await;
            ui.say(closing(&account.sum()));
            status
        }
        None => wait(child, &mut signals).await,
    };
    let status = status.map_err(|error| Failure::new(Kind::Other, format_args!("cannot wait: {error}")))?;
    std::process::exit(os::exit_code(status));
}

async fn wait(mut child: std::process::Child, signals: &mut Passed) -> std::io::Result<ExitStatus> {
    let below = Below::of(&child);
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    loop {
        tokio::select! {
            status = &mut waiting => return status.unwrap_or_else(|error| Err(std::io::Error::other(error))),
            () = signals.pass_on(&below) => {}
        }
    }
}

/// Bytes by where they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Figures {
    peers: u64,
    cdn: u64,
    disk: u64,
}

impl Figures {
    fn plus(self, other: Self) -> Self {
        Self { peers: self.peers + other.peers, cdn: self.cdn + other.cdn, disk: self.disk + other.disk }
    }

    fn is_less_than(self, other: Self) -> bool {
        self.peers < other.peers || self.cdn < other.cdn || self.disk < other.disk
    }
}

/// What the command has had, over all daemons that it has used.
struct Account {
    places: Places,
    name: String,
    /// Of daemons that are gone, and of the one that was asked last.
    counted: Mutex<(Figures, Figures)>,
}

impl Account {
    fn new(places: &Places, name: String) -> Self {
        Self { places: places.clone(), name, counted: Mutex::default() }
    }

    /// Counts now and then, for ever.
    async fn keep(&self) {
        loop {
            tokio::time::sleep(COUNT).await;
            self.look().await;
        }
    }

    async fn look(&self) {
        let Ok(Some(client)) = Client::find(&self.places).await else { return };
        let path = format!("/v1/runs/{}", self.name);
        let Ok(answer) = client.ask(Method::GET, &path, None, &[]).await else { return };
        let of = |name: &str| answer.body[name].as_u64();
        if let (Some(peers), Some(cdn), Some(disk)) = (of("from_peers"), of("from_cdn"), of("from_disk")) {
            self.note(Figures { peers, cdn, disk });
        }
    }

    /// What a daemon says. Who says less than was said before is another one.
    fn note(&self, now: Figures) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_less_than(counted.1) {
            counted.0 = counted.0.plus(counted.1);
        }
        counted.1 = now;
    }

    fn sum(&self) -> Figures {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.0.plus(counted.1)
    }
}

fn closing(had: &Figures) -> String {
    format!(
        "zest: {} from peers, {} from the CDN and the Hub, {} from this disk",
        units::bytes(had.peers),
        units::bytes(had.cdn),
        units::bytes(had.disk)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_says_where_bytes_came_from() {
        let had = Figures { peers: 2_000_000, cdn: 0, disk: 1_500_000 };
        assert_eq!(
            closing(&had),
            "zest: 2.0 MB from peers, 0 B from the CDN and the Hub, 1.5 MB from this disk"
        );
    }

    #[test]
    fn what_a_daemon_gave_that_died_counts() {
        let account = Account::new(&Places::new(std::path::Path::new("/none")), "name".into());
        let of = |peers, cdn, disk| Figures { peers, cdn, disk };
        account.note(of(0, 5, 0));
        account.note(of(1, 9, 0));
        assert_eq!(account.sum(), of(1, 9, 0));
        // The next one goes on with what is there.
        account.note(of(0, 3, 2));
        account.note(of(0, 4, 2));
        assert_eq!(account.sum(), of(1, 13, 2));
    }
}
