//! `zest doctor`: whether everything that a pull and a seeder need is there, and what to do where it is not.

use crate::address::PORT_DEFAULT;
use crate::discovery::{DiscoveryArgs, Purpose};
use crate::engine::{self, Folders};
use crate::failure::{Failure, Kind};
use crate::pull;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use clap::Args;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zest_daemon::{Places, Running};
use zest_hub::{ErrorKind, Hub, HubConfig, HubError, RetryPolicy};
use zest_runtime_tokio::{DiscoveryStatus, Reachability};
use zest_store::{Env, FileLock, RepoId, RepoType, free_space};

/// Room below which a model of today hardly fits: 10 GB.
const ROOM_BYTES: u64 = 10_000_000_000;
/// Descriptors below which a seeder soon turns peers away: 1,024.
const DESCRIPTORS: u64 = 1_024;
/// A repository that nobody has: any answer about it is an answer.
const NOBODY: &str = "zest-doctor/asks-whether-you-answer";

const HELP: &str = "\
Nothing is fetched or announced but what finding peers takes; --no-dht, --no-lan and --lan-only leave that out. What is asked: the \
Hub, about a repository that does not exist; DHT routers and trackers for their existence; the router for our address.
Exit code 0: nothing is wrong, whatever could be better. 1: something is wrong, each line says what helps.";

/// Fewer free inodes than a large data set has files are worth a word: 10,000. Ours.
const FILES_FREE: u64 = 10_000;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DoctorArgs {
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
    fn document(&self) -> Value {
        let state = match self.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        json!({"name": self.name, "state": state, "text": self.text, "fix": self.fix})
    }

    fn ok(name: &'static str, text: impl Into<String>) -> Check {
        Check { name, state: State::Ok, text: text.into(), fix: None }
    }

    fn warn(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, state: State::Warn, text: text.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, state: State::Fail, text: text.into(), fix: Some(fix.into()) }
    }
}

pub(crate) async fn run(args: DoctorArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let mut env = engine::environment(ui);
    if let Some(dir) = args.cache_dir.clone() {
        env.hub_cache = dir;
    }
    let mut checks = Vec::new();
    let mut add = |check: Check| -> Result<(), Failure> {
        if !ui.json() {
            ui.data(&line(&check, ui))?;
            if let Some(fix) = &check.fix {
                ui.data(&format!("                  {fix}"))?;
            }
        }
        checks.push(check);
        Ok(())
    };
    add(hub(&env).await)?;
    if let Some(check) = proxies() {
        add(check)?;
    }
    add(folder("cache", &env.hub_cache))?;
    add(folder("zest's cache", &env.zest_cache))?;
    if let Some(check) = inodes(&env.hub_cache) {
        add(check)?;
    }
    add(links(&env.hub_cache))?;
    add(descriptors())?;
    add(ring())?;
    add(daemon(&env))?;
    add(port())?;
    let mut status = ui.status();
    status.show("looking for ways to find peers …", false);
    let found = tokio::select! {
        found = discovery(&args, &env) => found?,
        () = signals.first() => return Err(Failure::new(Kind::Interrupted, "interrupted")),
    };
    drop(status);
    for check in found {
        add(check)?;
    }
    let wrong = checks.iter().filter(|check| check.state == State::Fail).count();
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

/// Whether the Hub answers, and takes the token.
async fn hub(env: &Env) -> Check {
    let shown = zest_hub::endpoint_name(&env.endpoint);
    if env.offline {
        return Check::warn(
            "Hub",
            "HF_HUB_OFFLINE is set: the Hub is not asked",
            "unset it to fetch what is not here",
        );
    }
    let config = HubConfig { retry: RetryPolicy::once(), ..HubConfig::from_env(env) };
    let (Ok(hub), Ok(repo)) = (Hub::new(config), RepoId::new(RepoType::Model, NOBODY)) else {
        let fix = "HF_ENDPOINT must be an address such as https://huggingface.co";
        return Check::fail("Hub", format!("{shown} is no address of a Hub"), fix);
    };
    let began = Instant::now();
    let outcome = hub.revision(&repo, "main").await;
    let took = units::duration(began.elapsed());
    let token =
        if env.token.is_some() { "with a token" } else { "without a token: public repositories only" };
    match outcome {
        Err(error @ (HubError::TokenRefused { .. } | HubError::Forbidden { .. })) => {
            Check::fail("Hub", error.to_string(), "log in anew with `hf auth login`, or unset HF_TOKEN")
        }
        Err(error) if error.is_transient() => {
            let fix = match error.kind() {
                ErrorKind::RateLimited { .. } => "wait, or use a token: it has a limit of its own",
                _ => {
                    "look at HF_ENDPOINT, HTTPS_PROXY, SSL_CERT_FILE and the line; with all in the cache it goes without"
                }
            };
            Check::fail("Hub", error.to_string(), fix)
        }
        // Whatever it says of a repository that is not there, it speaks.
        Ok(_) | Err(_) => Check::ok("Hub", format!("{shown} answers in {took}, {token}")),
    }
}

/// What stands between us and the Hub, by the environment's word.
fn proxies() -> Option<Check> {
    let named = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let set: Vec<&str> = named.into_iter().filter(|name| std::env::var_os(name).is_some()).collect();
    // Their values may hold a password.
    (!set.is_empty()).then(|| {
        Check::ok(
            "proxy",
            format!("{} used for the Hub, the CAS and the CDN; peers are dialled without", set.join(", ")),
        )
    })
}

/// Whether a folder can be written to, and has room.
fn folder(name: &'static str, dir: &Path) -> Check {
    let shown = dir.display();
    if let Err(error) = std::fs::create_dir_all(dir) {
        return Check::fail(
            name,
            format!("{shown} cannot be made: {error}"),
            "name another with HF_HOME or ZEST_CACHE_DIR",
        );
    }
    if let Err(error) = probe(dir) {
        return Check::fail(
            name,
            format!("{shown} cannot be written to: {error}"),
            "what is in it can be used; to pull, name another",
        );
    }
    match free_space(dir) {
        Ok(free) if free < ROOM_BYTES => Check::warn(
            name,
            format!("{shown}: {} free", units::bytes(free)),
            "`zest cache ls` shows what takes room, `zest cache prune` makes some",
        ),
        Ok(free) => Check::ok(name, format!("{shown}: {} free", units::bytes(free))),
        Err(error) => Check::warn(name, format!("{shown}: {error}"), "nobody can say how much room there is"),
    }
}

/// Whether the cache's file system has names left, where it counts them: a disk can be full of small files.
fn inodes(dir: &Path) -> Option<Check> {
    let stat = rustix::fs::statvfs(dir).ok().filter(|stat| stat.f_files > 0)?;
    let text = format!("{} more files fit into {}", units::count(stat.f_favail), dir.display());
    Some(match stat.f_favail < FILES_FREE {
        true => Check::warn("inodes", text, "remove small files, or name another file system with HF_HOME"),
        false => Check::ok("inodes", text),
    })
}

fn probe(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".zest-doctor.{}", std::process::id()));
    std::fs::write(&path, b"")?;
    std::fs::remove_file(path)
}

/// What the cache's file system can do.
fn links(dir: &Path) -> Check {
    let link = dir.join(format!(".zest-doctor-link.{}", std::process::id()));
    let linked = symlink(&link);
    let _ = std::fs::remove_file(&link);
    let lock = dir.join(format!(".zest-doctor-lock.{}", std::process::id()));
    let locked =
        FileLock::try_acquire(&lock, 0o600).is_ok_and(|lock| lock.is_some_and(|lock| lock.is_real()));
    let _ = std::fs::remove_file(&lock);
    match (linked, locked) {
        (true, true) => Check::ok("file system", "symbolic links and locks work"),
        (false, _) => Check::warn(
            "file system",
            "no symbolic links",
            "files of equal content are kept once for each name",
        ),
        (true, false) => {
            Check::warn("file system", "no locks", "an interrupted pull begins anew; do not run two at once")
        }
    }
}

#[cfg(unix)]
fn symlink(link: &Path) -> bool {
    std::os::unix::fs::symlink("nowhere", link).is_ok()
}

#[cfg(not(unix))]
fn symlink(_link: &Path) -> bool {
    false
}

fn descriptors() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(most) if most < DESCRIPTORS => Check::warn(
            "open files",
            format!("{most} at most"),
            "a seeder turns peers away then: raise `ulimit -Hn`",
        ),
        Some(most) => Check::ok("open files", format!("{} at most", units::count(most))),
        None => Check::ok("open files", "no limit"),
    }
}

#[cfg(all(feature = "glommio", target_os = "linux"))]
fn ring() -> Check {
    match zest_runtime_glommio::probe() {
        Ok(_) => Check::ok("io_uring", "zest-seed can use it"),
        Err(why) => {
            Check::warn("io_uring", why.to_string(), "zest-seed takes tokio instead, as `zest serve` does")
        }
    }
}

#[cfg(not(all(feature = "glommio", target_os = "linux")))]
fn ring() -> Check {
    Check::ok("io_uring", "not part of this build: zest-seed uses tokio")
}

fn daemon(env: &Env) -> Check {
    match Running::find(&Places::new(&env.zest_cache)) {
        Ok(None) => Check::ok("daemon", "none runs; `zest start` begins one"),
        Ok(Some(running)) => {
            let pid = running.pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
            Check::ok("daemon", format!("one runs for this cache{pid}: pulls are handed to it"))
        }
        Err(error) => Check::warn("daemon", error.to_string(), "`zest stop --now`, then `zest start`"),
    }
}

/// Whether the port that peers expect is free.
fn port() -> Check {
    let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT_DEFAULT));
    match TcpListener::bind(at) {
        Ok(_) => Check::ok("port", format!("{PORT_DEFAULT} is free")),
        Err(error) => Check::warn(
            "port",
            format!("{PORT_DEFAULT}: {error}"),
            "another program has it, perhaps zest itself: one of the next is taken, or the one of --listen-port",
        ),
    }
}

/// Which ways of finding peers work.
async fn discovery(args: &DoctorArgs, env: &Env) -> Result<Vec<Check>, Failure> {
    let mut wanted = args.discovery.config(Purpose::Seed, env);
    // Nothing of what lies here is told to anybody.
    wanted.announce_all = false;
    if !wanted.finds_any() {
        return Ok(vec![Check::ok(
            "peers",
            "every way of finding them is switched off: only those of --peer",
        )]);
    }
    let (dht, trackers, mapping) = (wanted.dht.is_some(), wanted.trackers.len(), wanted.port_mapping);
    let config = engine::config(env, Folders::default())?.engine(|engine| engine.discovery = Some(wanted));
    let session = pull::start(config, None, true).await?;
    let until = Instant::now() + Duration::from_secs(args.wait);
    let mut seen = DiscoveryStatus::default();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
        seen = session.discovery().await.unwrap_or_default();
        let nodes = seen.dht_nodes.is_none_or(|[v4, v6]| v4 + v6 > 0);
        let mapped = !mapping || matches!(seen.reachable, Reachability::Mapped | Reachability::Open);
        if nodes && mapped && seen.trackers.len() >= trackers {
            break;
        }
    }
    session.shutdown().await;
    Ok(ways(&seen, dht, args.wait))
}

fn ways(seen: &DiscoveryStatus, dht: bool, wait: u64) -> Vec<Check> {
    let mut checks = Vec::new();
    match seen.dht_nodes {
        Some([0, 0]) => checks.push(Check::warn(
            "DHT",
            format!("no node answered within {wait} s"),
            "UDP may be closed here; peers of this network and of --peer, trackers and the CDN do without",
        )),
        Some([v4, v6]) => {
            checks.push(Check::ok("DHT", format!("{} known", units::counted(u64::from(v4 + v6), "node"))))
        }
        None if dht => checks.push(Check::warn(
            "DHT",
            "no UDP port could be had",
            "another program has it: see --dht-port",
        )),
        None => {}
    }
    for tracker in &seen.trackers {
        checks.push(match tracker.works {
            true => Check::ok("tracker", format!("{}: {}", tracker.name, tracker.standing)),
            false => Check::warn(
                "tracker",
                format!("{}: {}", tracker.name, tracker.standing),
                "leave it out, or wait",
            ),
        });
    }
    checks.push(match seen.lan {
        [false, false] => Check::warn(
            "network",
            "no multicast",
            "machines here do not find each other: name them with --peer",
        ),
        _ => Check::ok("network", "multicast works: machines of this network find each other"),
    });
    let address = seen.external.map_or_else(String::new, |ip| format!(", as {ip}"));
    checks.push(match seen.reachable {
        Reachability::Open | Reachability::Mapped => Check::ok("reachable", format!("others can connect{address}")),
        Reachability::Closed => Check::warn("reachable", "no port is open", "nothing is uploaded to others then"),
        Reachability::Local | Reachability::Unknown => Check::warn(
            "reachable",
            format!("nobody has connected from outside yet{address}"),
            "whoever is behind a router lets others in by forwarding the port, or by `zest seed` with UPnP or NAT-PMP on",
        ),
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_work_says_what_helps() {
        let nothing = DiscoveryStatus { dht_nodes: Some([0, 0]), ..DiscoveryStatus::default() };
        let checks = ways(&nothing, true, 5);
        assert!(checks.iter().all(|check| check.state == State::Warn && check.fix.is_some()), "{checks:?}");
        let all = DiscoveryStatus {
            dht_nodes: Some([7, 1]),
            lan: [true, false],
            reachable: Reachability::Open,
            ..DiscoveryStatus::default()
        };
        let checks = ways(&all, true, 5);
        assert!(checks.iter().all(|check| check.state == State::Ok), "{checks:?}");
        assert_eq!(checks[0].text, "8 nodes known");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("written");
        let check = folder("cache", &file.join("below"));
        assert_eq!(check.state, State::Fail);
        assert!(check.text.contains("file/below"), "{check:?}");
        assert_ne!(folder("cache", dir.path()).state, State::Fail);
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left behind");
    }
}
