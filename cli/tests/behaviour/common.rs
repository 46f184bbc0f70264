//! What the tests of the command line share: running zest in an environment of its own.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// Discard (RFC 863): no test machine serves HTTP there, and a connection is refused at once.
pub(crate) const NOBODY: &str = "http://127.0.0.1:9";

/// A command with an empty home and nothing of the caller's environment.
pub(crate) fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zest"));
    clean(&mut command, home, arguments);
    command
}

/// The same for zest-seed.
pub(crate) fn seed_command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zest-seed"));
    clean(&mut command, home, arguments);
    command
}

fn clean(command: &mut Command, home: &Path, arguments: &[&str]) {
    command.args(arguments).env_clear().env("HOME", home).env("HF_ENDPOINT", NOBODY).stdin(Stdio::null());
    // Nothing may leave this machine; what is found in which way is tested elsewhere, on loopback.
    command.envs([("ZEST_NO_DHT", "1"), ("ZEST_NO_LAN", "1"), ("ZEST_NO_PORT_MAPPING", "1")]);
}

/// A Hub that serves a folder, and its address.
pub(crate) fn hub(home: &Path, root: &Path) -> (Server, String) {
    let root = root.to_str().expect("UTF-8");
    let mut hub = Server::start(&mut command(home, &["hub", "--root", root, "--port", "0", "--json", "-q"]));
    let endpoint = hub.event("listening")["endpoint"].as_str().expect("a URL").to_owned();
    (hub, endpoint)
}

/// Every file below a folder.
pub(crate) fn each_file(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("an entry").is_dir() {
            true => each_file(&entry.path(), each),
            false => each(&entry.path()),
        }
    }
}

/// Changes a byte of every 100,000 of the model of a home as a disk does that rots: what the catalog knows of the file still holds.
pub(crate) fn rot_unseen(home: &Path) {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
    let mut notes = Vec::new();
    each_file(&home.join(".cache/zest/places"), &mut |path| notes.push(path.to_owned()));
    let [note] = &notes[..] else { panic!("one file: {notes:?}") };
    let mut known: Value = serde_json::from_slice(&std::fs::read(note).expect("a note")).expect("JSON");
    let mut blobs = Vec::new();
    each_file(&home.join(".cache/huggingface/hub"), &mut |path| {
        let meta = std::fs::symlink_metadata(path).expect("a file");
        if meta.is_file() && meta.len() > 1_000_000 {
            blobs.push(path.to_owned());
        }
    });
    let [blob] = &blobs[..] else { panic!("one file: {blobs:?}") };
    std::fs::set_permissions(blob, std::fs::Permissions::from_mode(0o644)).expect("ours");
    let file = std::fs::File::options().write(true).read(true).open(blob).expect("ours");
    for at in (0..file.metadata().expect("a file").len()).step_by(100_000) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("inside");
        file.write_all_at(&[!byte[0]], at).expect("ours");
    }
    file.sync_all().expect("written");
    let meta = file.metadata().expect("a file");
    let ns = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
    let identity = &mut known["copies"][0]["identity"];
    assert_eq!(identity["ino"].as_u64(), Some(meta.ino()), "{identity}");
    identity["mtime_ns"] = ns(meta.mtime(), meta.mtime_nsec()).into();
    identity["ctime_ns"] = ns(meta.ctime(), meta.ctime_nsec()).into();
    std::fs::write(note, known.to_string()).expect("ours");
}

/// A new empty folder that goes at the end of the test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// What a program wrote, which must be text.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// A program that runs until it is told to stop, and writes one JSON object per line.
pub(crate) struct Server {
    child: Child,
    events: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_as_told(command.stderr(Stdio::inherit()))
    }

    /// The same, its standard error where the command says.
    pub(crate) fn start_as_told(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("zest starts");
        let events = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
        Self { child, events }
    }

    /// Waits for the next event, which must have this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        loop {
            let mut line = String::new();
            self.events.read_line(&mut line).expect("a line");
            let value: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
            // The state of things comes now and then.
            if value["event"] != "status" && value["event"] != "warning" {
                assert_eq!(value["event"], name, "{line}");
                return value;
            }
        }
    }

    /// Waits for the next event of this name, passing over others.
    pub(crate) fn event_among(&mut self, name: &str) -> Value {
        loop {
            let mut line = String::new();
            self.events.read_line(&mut line).expect("a line");
            assert!(!line.is_empty(), "it ended before {name}");
            let value: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
            if value["event"] == name {
                return value;
            }
        }
    }

    /// Waits for the next state of things.
    pub(crate) fn event_status(&mut self) -> Value {
        self.event_among("status")
    }

    /// Its process id.
    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits. Returns the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        signal(&self.child, rustix::process::Signal::TERM);
        self.event_among("stopped");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test must not leave programs behind.
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a peer says first: its handshake, and what it speaks.
pub(crate) fn hello(number: usize) -> Vec<u8> {
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    hello.extend_from_slice(&[7; 20]);
    hello.extend_from_slice(format!("-SC0100-{number:012}").as_bytes());
    let dict = b"d1:md6:ut_xeti7ee1:pi0e1:v4:teste";
    hello.extend_from_slice(&(dict.len() as u32 + 2).to_be_bytes());
    hello.extend_from_slice(&[20, 0]);
    hello.extend_from_slice(dict);
    hello
}

/// A peer that has shaken hands with a seeder and said what it speaks; what the seeder says then is not read.
#[cfg(target_os = "linux")]
pub(crate) fn shake_hands(addr: impl std::net::ToSocketAddrs, number: usize) -> std::net::TcpStream {
    use std::io::{Read as _, Write as _};
    /// Longest wait for an answer; a test that waits this long has failed.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
    let mut stream = std::net::TcpStream::connect(addr).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP option");
    stream.write_all(&hello(number)).expect("open");
    let mut theirs = [0; 68];
    stream.read_exact(&mut theirs).expect("a handshake");
    stream
}

/// Sends a signal to a program that was started here.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it lives");
}

/// Runs to the end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().expect("zest starts")
}
