//! `zest hub`: the embedded hub in the foreground.

use crate::address;
use crate::args::HubArgs;
use crate::failure::{Failure, Kind};
use crate::hidden_token;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use serde_json::json;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zest_hub_server::{ServeConfig, Stats};
use zest_store::{RepoId, RepoType};

/// Time between two looks at the counters for the status line: 1 s.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Names in a folder that are looked at for one that was meant: 1,000. Ours.
const BELOW_MAX: usize = 1000;

/// Addresses of this machine that are named: 4. Those of containers' networks come after the usual one.
const OTHERS_MAX: usize = 4;

pub(crate) async fn run(args: HubArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    ui.warnings_are_events();
    let tokens = hidden_token::tokens(&args.token);
    for token in &tokens {
        ui.hide(token);
    }
    let locked = !tokens.is_empty();
    let mut config = ServeConfig::new(&args.root, SocketAddr::new(args.host, args.port));
    config.tokens = tokens;
    config.public_url = args.public_url;
    let named = config.public_url.is_some();
    let served = zest_hub_server::serve(config).await.map_err(|error| failure(&error))?;

    let repos = served.repos().await;
    let others = if named { Vec::new() } else { for_others(served.addr()) };
    if ui.json() {
        let event = json!({
            "event": "listening",
            "endpoint": served.endpoint(),
            "endpoints": others,
            "repositories": repos.len(),
        });
        ui.data(&event.to_string())?;
    }
    let count = match repos.len() {
        1 => "1 repository".to_owned(),
        many => format!("{} repositories", units::count(many as u64)),
    };
    ui.say(format!("serving {count} of {}", args.root.display()));
    warn_of_shape(&args.root, &repos, ui);
    match &others[..] {
        [] => ui.say(format!("use it with HF_ENDPOINT={}", served.endpoint())),
        [first, more @ ..] => {
            ui.say(format!("on other machines: HF_ENDPOINT={first}"));
            more.iter().for_each(|other| ui.say(format!("or HF_ENDPOINT={other}")));
            if served.addr().ip().is_unspecified() {
                ui.say(format!("on this one: HF_ENDPOINT={}", served.endpoint()));
            }
        }
    }
    if !locked {
        ui.say("no --token given: private and gated repositories stay closed");
    }
    if !args.host.is_loopback() {
        ui.say(format!("everybody who reaches {} can read the public ones", served.addr()));
    }

    let mut status = ui.status();
    let mut tick = tokio::time::interval(STATUS_EVERY);
    let mut last = None;
    loop {
        tokio::select! {
            () = signals.first() => break,
            _ = tick.tick() => {
                let line = line(&served.stats());
                if last.as_ref() != Some(&line) {
                    status.show(&line, false);
                    last = Some(line);
                }
            }
        }
    }
    drop(status);
    let stats = served.stats();
    served.shutdown().await;
    if ui.json() {
        let counts = json!({
            "event": "stopped",
            "hub_requests": stats.hub_requests,
            "cas_requests": stats.cas_requests,
            "cdn_requests": stats.cdn_requests,
            "cdn_bytes": stats.cdn_bytes,
        });
        ui.data(&counts.to_string())?;
    }
    ui.say(format!("stopped: {}", line(&stats)));
    Ok(())
}

/// Addresses that others use to reach a listener, by this machine's own ones where it listens on all of them.
fn for_others(addr: SocketAddr) -> Vec<String> {
    let ips = match addr.ip() {
        ip if ip.to_canonical().is_loopback() => Vec::new(),
        ip if ip.is_unspecified() => address::own(ip.is_ipv6()),
        ip => vec![ip],
    };
    ips.into_iter()
        .take(OTHERS_MAX)
        .map(|ip| format!("http://{}", SocketAddr::new(ip, addr.port())))
        .collect()
}

/// What does not look like repositories is probably another folder than was meant.
fn warn_of_shape(root: &Path, repos: &[(RepoId, bool)], ui: &Ui) {
    let shape = "models/ORG/NAME/main/config.json";
    if repos.is_empty() {
        let meant = match meant(root) {
            Some(other) => format!("it looks as if --root {} were meant", other.display()),
            None => format!("files belong in {}/{shape}, also while it runs", root.display()),
        };
        ui.warn(format!("nothing is in {} that can be served: {meant}", root.display()));
    }
    let unfilled: Vec<String> =
        repos.iter().filter(|(_, is_filled)| !is_filled).map(|(repo, _)| repo.to_string()).collect();
    if let [first, more @ ..] = &unfilled[..] {
        let more = if more.is_empty() { String::new() } else { format!(" and {} others", more.len()) };
        ui.warn(format!("{first}{more} has no revision, so nothing of it can be had: its files belong in a folder main, as {shape}"));
    }
}

/// The folder that was probably meant, where there is nothing in this one: it is one of a Hub's own, or holds a Hub.
fn meant(root: &Path) -> Option<PathBuf> {
    let is_kind = |name: &OsStr| RepoType::ALL.iter().any(|kind| name == kind.plural());
    let whole = std::fs::canonicalize(root).ok()?;
    // DIR/models, DIR/models/ORG and DIR/models/ORG/NAME.
    let inside = whole.ancestors().take(3).find(|dir| dir.file_name().is_some_and(is_kind));
    if let Some(above) = inside.filter(|kind| holds_revisions(kind)).and_then(Path::parent) {
        return Some(above.to_owned());
    }
    let is_hub = |dir: &PathBuf| RepoType::ALL.iter().any(|kind| holds_revisions(&dir.join(kind.plural())));
    folders_in(&whole).filter(is_hub).min()
}

/// Whether there is any ORG/NAME/REVISION in a folder.
fn holds_revisions(dir: &Path) -> bool {
    folders_in(dir).flat_map(|org| folders_in(&org)).any(|name| folders_in(&name).next().is_some())
}

fn folders_in(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().take(BELOW_MAX).flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

fn line(stats: &Stats) -> String {
    format!(
        "{} to the Hub, {} to the CAS, {} to the CDN ({})",
        units::counted(stats.hub_requests, "request"),
        units::count(stats.cas_requests),
        units::count(stats.cdn_requests),
        units::bytes(stats.cdn_bytes)
    )
}

fn failure(error: &zest_hub_server::ServeError) -> Failure {
    match error {
        zest_hub_server::ServeError::Root { .. } => {
            Failure::new(Kind::Disk, error).hint("--root is the folder that holds models/ORG/NAME/REVISION/…")
        }
        zest_hub_server::ServeError::Bind { source, .. } => {
            let hint = match source.kind() {
                ErrorKind::AddrNotAvailable => {
                    "name an address of this machine with --host; 0.0.0.0 is all of them"
                }
                ErrorKind::PermissionDenied => "choose a --port above 1023; 0 takes any free one",
                _ => "choose another --port; 0 takes any free one",
            };
            Failure::new(Kind::Network, error).hint(hint)
        }
        zest_hub_server::ServeError::PublicUrl(_) => Failure::new(Kind::Usage, error),
        _ => Failure::new(Kind::Other, error),
    }
}
