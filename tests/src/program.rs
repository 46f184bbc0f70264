//! The real `zest` program, run as separate processes on loopback addresses of their own.

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;
use tempfile::TempDir;

/// The program. `cargo test --workspace` has made it beside these tests; where only this package is tested it is made
/// here, if it is not there or older than its sources.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn zest() -> &'static Path {
    &programs()[0]
}

/// `zest-seed`, made together with it.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn zest_seed() -> &'static Path {
    &programs()[1]
}

fn programs() -> &'static [PathBuf; 2] {
    static PROGRAMS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        // …/<profile>/deps/<this test> or …/<profile>/<this program> → …/<profile>/zest
        let test = std::env::current_exe().expect("a test has a path");
        let folder = test.parent().expect("a program lies in a folder");
        let folder = if folder.ends_with("deps") { folder.parent().expect("<profile>") } else { folder };
        let programs = ["zest", "zest-seed"].map(|name| folder.join(name));
        if programs.iter().all(|program| is_up_to_date(program)) {
            return programs;
        }
        let mut build = Command::new(env!("CARGO"));
        // Together with this package, so that what both stand on is not made twice.
        build.args(["build", "--quiet", "--package", "zest", "--package", "zest-tests"]);
        build.arg("--target-dir").arg(folder.parent().expect("a profile lies in the target folder"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
        assert!(built.success(), "zest is built");
        programs
    })
}

/// Whether the program is there and no source of it is newer.
fn is_up_to_date(program: &Path) -> bool {
    let Ok(made) = std::fs::metadata(program).and_then(|meta| meta.modified()) else { return false };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let rooms = [
        "xet",
        "core",
        "store",
        "hub/client",
        "hub/server",
        "runtime-send",
        "runtime-tokio",
        "runtime-glommio",
        "daemon",
        "cli",
    ];
    rooms.iter().all(|room| !is_newer(&root.join(room).join("src"), made))
}

fn is_newer(folder: &Path, than: SystemTime) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    entries.flatten().any(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => is_newer(&entry.path(), than),
        Ok(meta) => meta.modified().is_ok_and(|changed| changed > than),
        Err(_) => false,
    })
}

/// A machine that is switched off: an empty home and a loopback address of its own, as in a network.
pub struct Host {
    home: TempDir,
    address: SocketAddr,
}

impl Default for Host {
    fn default() -> Self {
        static HOSTS: AtomicU8 = AtomicU8::new(0);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        // 127.0.x.x is left to others; the hosts of one test process differ in the second number, test processes in the rest.
        let second = 16 + HOSTS.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, second, high, low.max(1))), free_port());
        Self { home: TempDir::new().expect("a temporary folder"), address }
    }
}

/// A port that nobody here has on all addresses: a zest of the person who runs the tests has 6881, or one after it.
fn free_port() -> u16 {
    let is_free = |port: &u16| {
        TcpListener::bind(("0.0.0.0", *port)).is_ok() && UdpSocket::bind(("0.0.0.0", *port)).is_ok()
    };
    (6981..7181).find(is_free).expect("one of two hundred ports is free")
}

impl Host {
    /// Where it will listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The same, where peers may be looked for: in the DHT, and on this network if `lan`. It listens on its loopback address,
    /// so nothing leaves this machine.
    #[must_use]
    pub fn finder(&self, endpoint: &str, words: &[&str], lan: bool) -> Command {
        self.looking(zest(), endpoint, words, lan)
    }

    /// `zest-seed` in the same way.
    #[must_use]
    pub fn seed_box(&self, endpoint: &str, words: &[&str], lan: bool) -> Command {
        self.looking(zest_seed(), endpoint, words, lan)
    }

    fn looking(&self, program: &Path, endpoint: &str, words: &[&str], lan: bool) -> Command {
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--json".to_owned(), "--listen".to_owned(), self.address.to_string()]);
        let mut command = self.clean(program, endpoint, &words);
        command.env_remove("ZEST_NO_DHT");
        if lan {
            command.env_remove("ZEST_NO_LAN");
        }
        command
    }

    /// `zest` with these words, this home and nothing of the caller's environment.
    #[must_use]
    pub fn command(&self, endpoint: &str, words: &[String]) -> Command {
        self.clean(zest(), endpoint, words)
    }

    fn clean(&self, program: &Path, endpoint: &str, words: &[String]) -> Command {
        let mut command = Command::new(program);
        command.args(words).env_clear().env("HOME", self.home()).env("HF_ENDPOINT", endpoint);
        // A test's Hub stands for the one that everybody knows, unless the test says otherwise.
        command.env("ZEST_PUBLIC_MIRRORS", endpoint);
        // A test that looks for peers takes these away again; listening on loopback, it stays on this machine all the same.
        command.envs([("ZEST_NO_DHT", "1"), ("ZEST_NO_LAN", "1"), ("ZEST_NO_PORT_MAPPING", "1")]);
        if let Ok(log) = std::env::var("ZEST_TEST_LOG") {
            command.env("ZEST_LOG", log).arg("-v");
            // Each machine's in a file of its own, where there is a folder for them.
            if let Some(folder) = std::env::var_os("ZEST_TEST_LOG_DIR") {
                let name = Path::new(&folder).join(self.address.ip().to_string());
                let file = std::fs::File::options().create(true).append(true).open(name);
                command.stderr(file.expect("the folder for logs is there"));
            }
        } else {
            command.arg("-q");
        }
        command.stdin(Stdio::null());
        command
    }
}

/// A program that runs until it is told to stop and writes one JSON object per line. Killed when dropped.
pub struct Running {
    child: Child,
    /// Names of events that were read while another was waited for.
    passed: BTreeSet<String>,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(mut command: Command) -> Self {
        use std::io::BufRead as _;
        let mut child = command.stdout(Stdio::piped()).spawn().expect("zest starts");
        let out = child.stdout.take().expect("a pipe was asked for");
        Self { child, passed: BTreeSet::new(), lines: std::io::BufReader::new(out).lines() }
    }

    /// Reads on to the next event of this name.
    ///
    /// # Panics
    /// If the program ends before.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.lines.next().expect("it is still running").expect("text");
            let value: Value = serde_json::from_str(&line).expect("one JSON object per line");
            if value["event"] == name {
                return value;
            }
            self.passed.extend(value["event"].as_str().map(str::to_owned));
        }
    }

    /// Reads on until an event of this name has come, which may have been before another that was waited for.
    ///
    /// # Panics
    /// If the program ends before.
    pub fn has_said(&mut self, name: &str) {
        if !self.passed.contains(name) {
            self.event(name);
        }
    }

    /// Sends SIGTERM and waits for a good end.
    ///
    /// # Panics
    /// If it ends badly.
    pub fn stop(mut self) -> Value {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
        let stopped = self.event("stopped");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "zest ended with {status}");
        stopped
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A pull under way. Killed when dropped.
pub struct Pulling(Child);

impl Pulling {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).spawn().expect("zest starts"))
    }

    /// Kills it without a warning.
    pub fn kill(mut self) {
        self.0.kill().expect("it lives");
        self.0.wait().expect("it ends");
    }

    /// Waits for its end, which must be a good one, and gives its report.
    #[must_use]
    pub fn report(mut self) -> Value {
        let mut text = String::new();
        let mut out = self.0.stdout.take().expect("a pipe was asked for");
        out.read_to_string(&mut text).expect("text");
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "zest ended with {status}: {text}");
        serde_json::from_str(&text).expect("one JSON document")
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
