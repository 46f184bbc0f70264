//! This machine: room, what its file system can do, descriptors, io_uring, and what of zest runs here already.

use super::Check;
use crate::address::PORT_DEFAULT;
use crate::os;
use crate::seed::{Refusal, Uring};
use crate::ui::units;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};
use zest_daemon::{Places, Running};
use zest_store::{Env, FileLock, free_space};

/// Room below which a model of today hardly fits: 10 GB.
const ROOM_BYTES: u64 = 10_000_000_000;
/// Descriptors below which a seeder soon turns peers away: 1,024.
const DESCRIPTORS: u64 = 1_024;
/// Fewer free inodes than a large data set has files are worth a word: 10,000. Ours.
const FILES_FREE: u64 = 10_000;
/// A file that takes so long to become durable holds up every landing: 1 s. Ours; a disk takes milliseconds.
const SYNC_SLOW: Duration = Duration::from_secs(1);
/// Bytes that are made durable to see how long it takes: 1 MiB.
const SYNC_BYTES: usize = 1 << 20;
/// Processes of zest that are named: 8.
const OTHERS_SHOWN: usize = 8;

/// All of it.
pub(super) fn look(env: &Env) -> Vec<Check> {
    let mut checks = vec![folder("cache", &env.hub_cache), folder("zest's cache", &env.zest_cache)];
    checks.extend(inodes(&env.hub_cache));
    checks.push(file_system(&env.hub_cache));
    checks.extend(durable(&env.hub_cache));
    checks.extend([descriptors(), ring(), daemon(env)]);
    checks.extend(others());
    checks.push(port(env, PORT_DEFAULT));
    checks
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
    let left = os::files_left(dir)?;
    let text = format!("{} more files fit into {}", units::count(left), dir.display());
    Some(match left < FILES_FREE {
        true => Check::warn("inodes", text, "remove small files, or name another file system with HF_HOME"),
        false => Check::ok("inodes", text),
    })
}

fn probe(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".zest-doctor.{}", std::process::id()));
    std::fs::write(&path, b"")?;
    std::fs::remove_file(path)
}

/// A name in a folder that is nobody's.
fn name_in(dir: &Path, what: &str) -> std::path::PathBuf {
    dir.join(format!(".zest-doctor-{what}.{}", std::process::id()))
}

/// What the cache's file system can do.
fn file_system(dir: &Path) -> Check {
    let [link, lock, one, two] = ["link", "lock", "one", "two"].map(|what| name_in(dir, what));
    let linked = os::symlink("nowhere", &link).is_ok();
    let locked =
        FileLock::try_acquire(&lock, 0o600).is_ok_and(|lock| lock.is_some_and(|lock| lock.is_real()));
    let written = std::fs::write(&one, b"zest").is_ok();
    let hard = written && std::fs::hard_link(&one, &two).is_ok();
    let _ = std::fs::remove_file(&two);
    let shares = written && os::reflink(&one, &two).is_ok();
    [&link, &lock, &one, &two].into_iter().for_each(|path| drop(std::fs::remove_file(path)));
    judge(linked, locked, hard, shares)
}

fn judge(linked: bool, locked: bool, hard: bool, shares: bool) -> Check {
    let name = "file system";
    let works = |word, works: bool| works.then_some(word);
    let all = [
        works("symbolic links", linked),
        works("hard links", hard),
        works("reflinks", shares),
        works("locks", locked),
    ];
    let all: Vec<&str> = all.into_iter().flatten().collect();
    match (linked, locked, hard) {
        (true, true, true) => Check::ok(name, format!("{} work", all.join(", "))),
        (false, ..) => Check::warn(
            name,
            "no symbolic links",
            "files of equal content are kept once for each name; on Windows switch on developer mode",
        ),
        (true, false, _) => Check::warn(
            name,
            "no locks",
            "an interrupted pull begins anew; do not run two at once. On NFS: mount it with locks, or name a local folder with HF_HOME",
        ),
        (true, true, false) => Check::warn(
            name,
            "no hard links",
            "equal files of a local folder and the cache are copied, which takes their room twice",
        ),
    }
}

/// How long a file takes to become durable; nothing where none can be written, which is said elsewhere.
fn durable(dir: &Path) -> Option<Check> {
    let path = name_in(dir, "sync");
    let took = write_durably(&path);
    let _ = std::fs::remove_file(&path);
    Some(sync_words(took.ok()?))
}

fn write_durably(path: &Path) -> std::io::Result<Duration> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    file.write_all(&vec![0x5a; SYNC_BYTES])?;
    let began = Instant::now();
    file.sync_data()?;
    Ok(began.elapsed())
}

fn sync_words(took: Duration) -> Check {
    let text = format!("1 MiB is durable after {}", units::duration(took));
    match took > SYNC_SLOW {
        true => Check::warn(
            "sync",
            text,
            "every file that lands waits for it: something else keeps the disk busy, or it fails (`dmesg`)",
        ),
        false => Check::ok("sync", text),
    }
}

fn descriptors() -> Check {
    match os::descriptors_max() {
        Some(most) if most < DESCRIPTORS => Check::warn(
            "open files",
            format!("{most} at most"),
            "a seeder turns peers away then: raise `ulimit -Hn`",
        ),
        Some(most) => Check::ok("open files", format!("{} at most", units::count(most))),
        None => Check::ok("open files", "no limit"),
    }
}

fn ring() -> Check {
    match Uring::refusal() {
        None => Check::ok("io_uring", "zest-seed can use it"),
        Some(Refusal::System(why)) => {
            Check::warn("io_uring", why, "zest-seed takes tokio instead, as `zest serve` does")
        }
        Some(Refusal::Build) => Check::ok("io_uring", "not part of this build: zest-seed uses tokio"),
    }
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

/// Whether the port that peers expect is free, and who has it.
fn port(env: &Env, port: u16) -> Check {
    let Err(error) = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))) else {
        return Check::ok("port", format!("{port} is free"));
    };
    let running = Running::find(&Places::new(&env.zest_cache)).ok().flatten();
    let listen = running.and_then(|running| running.record).map(|record| record.listen).unwrap_or_default();
    if listen.iter().any(|at| at.port() == port) {
        return Check::ok("port", format!("{port}: the daemon of this cache has it"));
    }
    let else_ = "one of the next ports is taken instead, or the one of --listen-port";
    match os::listener(port) {
        Some((pid, name)) if is_ours(&name) => {
            Check::ok("port", format!("{port}: {name} (pid {pid}) has it; {else_}"))
        }
        Some((pid, name)) => {
            Check::warn("port", format!("{port}: {error}"), format!("{name} (pid {pid}) has it: {else_}"))
        }
        None => {
            Check::warn("port", format!("{port}: {error}"), format!("another user's program has it: {else_}"))
        }
    }
}

fn is_ours(name: &str) -> bool {
    matches!(name, "zest" | "zest-seed")
}

/// What else of zest runs on this machine, whoever runs it.
fn others() -> Option<Check> {
    let own = std::process::id();
    let ours = os::processes().filter(|(pid, name)| *pid != own && is_ours(name));
    let mut found: Vec<(u32, String)> =
        ours.filter_map(|(pid, name)| Some((pid, sharer(&name, &os::words_of(pid))?))).collect();
    found.sort_unstable();
    (!found.is_empty()).then(|| Check::ok("others", others_words(&found)))
}

/// Commands that may upload or download.
const SHARE: [&str; 5] = ["pull", "serve", "seed", "start", "link"];
/// All others: a test holds both beside the definition.
const DO_NOT: [&str; 19] = [
    "run",
    "endpoint",
    "stop",
    "status",
    "dashboard",
    "peers",
    "info",
    "logs",
    "share",
    "cache",
    "verify",
    "doctor",
    "hub",
    "demo",
    "bench",
    "man",
    "config",
    "completions",
    "version",
];

/// What a process of ours is called, if it may upload or download: a Hub, a log that is read or a status that is watched do neither.
fn sharer(name: &str, words: &[String]) -> Option<String> {
    // What was typed is known by its first word that is a command; values of flags before it are none of these.
    let command = words.iter().skip(1).find(|word| SHARE.iter().chain(&DO_NOT).any(|known| known == word));
    match command {
        Some(word) if DO_NOT.contains(&word.as_str()) => None,
        Some(word) => Some(format!("{name} {word}")),
        None => Some(name.to_owned()),
    }
}

fn others_words(found: &[(u32, String)]) -> String {
    let named: Vec<String> =
        found.iter().take(OTHERS_SHOWN).map(|(pid, name)| format!("{name} (pid {pid})")).collect();
    let more = found.len().saturating_sub(OTHERS_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more} run on this machine, too: each keeps caps of its own", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("written");
        let check = folder("cache", &file.join("below"));
        assert_eq!(check.state, State::Fail);
        assert!(check.text.contains("file/below"), "{check:?}");
        assert_ne!(folder("cache", dir.path()).state, State::Fail);
        assert_ne!(file_system(dir.path()).state, State::Fail);
        assert!(durable(dir.path()).is_some() && durable(&file).is_none());
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_a_file_system_lacks_is_said_with_what_follows() {
        assert_eq!(judge(true, true, true, false).text, "symbolic links, hard links, locks work");
        for (linked, locked, hard) in [(false, true, true), (true, false, true), (true, true, false)] {
            let check = judge(linked, locked, hard, false);
            assert!(check.state == State::Warn && check.fix.is_some(), "{check:?}");
        }
        assert_eq!(sync_words(Duration::from_secs(3)).state, State::Warn);
        assert_eq!(sync_words(Duration::from_millis(3)).state, State::Ok);
    }

    #[test]
    fn a_port_that_our_own_daemon_has_is_nobody_elses() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().to_str().expect("UTF-8").to_owned();
        let env = Env::from_map(&[("ZEST_CACHE_DIR".to_owned(), folder)].into());
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let at = taken.local_addr().expect("bound");
        let before = port(&env, at.port());
        assert_eq!(before.state, State::Warn, "{before:?}");
        if cfg!(target_os = "linux") {
            let own = format!("(pid {}) has it", std::process::id());
            assert!(before.fix.expect("what helps").contains(&own));
        }
        let instance = zest_daemon::Instance::claim(&Places::new(dir.path())).expect("nobody has it");
        let record = zest_daemon::Record::of_this_process(Vec::new(), vec![at], None);
        instance.announce(&record).expect("written");
        let check = port(&env, at.port());
        assert_eq!(check.state, State::Ok, "{check:?}");
        assert!(check.text.contains("the daemon of this cache has it"), "{check:?}");
    }

    #[test]
    fn every_command_is_known_for_one_that_shares_or_not() {
        use clap::CommandFactory;
        let cli = crate::commands::Cli::command();
        for command in cli.get_subcommands().map(clap::Command::get_name) {
            assert!(SHARE.contains(&command) != DO_NOT.contains(&command), "{command}");
        }
    }

    #[test]
    fn a_hub_and_what_only_looks_are_no_sharers() {
        let of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            sharer("zest", &words)
        };
        assert_eq!(of("zest hub --root /srv/seed --port 0"), None);
        assert_eq!(of("zest logs -f"), None);
        assert_eq!(of("zest peers pull/of"), None);
        assert_eq!(of("zest run -- zest pull a/b"), None);
        assert_eq!(of("zest -q serve --watch").as_deref(), Some("zest serve"));
        assert_eq!(of("").as_deref(), Some("zest"), "of one that cannot be looked at nobody knows");
        let me = os::words_of(std::process::id());
        assert!(!cfg!(target_os = "linux") || me.len() > 1, "{me:?}");
    }

    #[test]
    fn other_processes_of_zest_are_named_up_to_a_bound() {
        let found: Vec<(u32, String)> = (1..=10).map(|pid| (pid, "zest".to_owned())).collect();
        let words = others_words(&found);
        assert!(words.starts_with("zest (pid 1), zest (pid 2)") && words.contains("and 2 more"), "{words}");
    }
}
