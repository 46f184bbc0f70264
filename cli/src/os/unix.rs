//! Unix, with what Linux alone has.

use rustix::process::{Pid, Signal as Number};
use std::ffi::{OsStr, OsString};
use std::fs::{Metadata, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

// Words of a command line.

/// What follows `prefix`, whatever bytes it has.
pub(crate) fn after(word: &OsStr, prefix: &str) -> Option<OsString> {
    word.as_bytes().strip_prefix(prefix.as_bytes()).map(|rest| OsStr::from_bytes(rest).to_owned())
}

// Files.

/// What is made is for its owner alone.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Whether both are of one file.
pub(crate) fn is_one_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Makes a symbolic link.
pub(crate) fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// A new file that shares the bytes of another.
#[cfg(target_os = "linux")]
pub(crate) fn reflink(from: &Path, to: &Path) -> io::Result<()> {
    use std::fs::File;
    let (from, to) = (File::open(from)?, File::create(to)?);
    Ok(rustix::fs::ioctl_ficlone(&to, &from)?)
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reflink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many more files fit into the file system of a folder, where it counts them.
pub(crate) fn files_left(dir: &Path) -> Option<u64> {
    rustix::fs::statvfs(dir).ok().filter(|stat| stat.f_files > 0).map(|stat| stat.f_favail)
}

/// Files that this process may have open at most; `None` is no limit.
pub(crate) fn descriptors_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}

// The terminal.

/// Columns of the terminal on standard error.
pub(crate) fn terminal_columns() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col))
}

/// Stays when the terminal goes. Whoever has none stays anyway.
pub(crate) fn leave_terminal() {
    let _has_left = rustix::process::setsid();
}

// Processes.

/// Becomes this program, under that name. Comes back only when it failed.
pub(crate) fn become_program(command: &mut Command, name: &OsStr) {
    let _error = command.arg0(name).exec();
}

/// Tells a process to end, or ends it. One that is gone has ended.
pub(crate) fn end_process(pid: u32, now: bool) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match rustix::process::kill_process(pid, if now { Number::KILL } else { Number::TERM }) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        ended => Ok(ended?),
    }
}

/// A program's exit code, as shells have it: one that a signal has ended has 128 and the signal's number.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    const BY_SIGNAL: i32 = 128;
    status.code().unwrap_or_else(|| BY_SIGNAL + status.signal().unwrap_or(0))
}

/// The processes of this machine, by number and name.
pub(crate) fn processes() -> impl Iterator<Item = (u32, String)> {
    // Where there is no such folder, nobody is told of.
    std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some((pid, name.trim_end().to_owned()))
    })
}

/// What a process was started with, where it may be seen: its name first.
pub(crate) fn words_of(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The process that listens on a TCP port, where it may be seen.
pub(crate) fn listener(port: u16) -> Option<(u32, String)> {
    // Columns 1, 3 and 9: ADDRESS:PORT in hex, state (0A listens), number of the socket.
    let listens = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, at) = columns.get(1)?.rsplit_once(':')?;
        let is_it = columns.get(3) == Some(&"0A") && u16::from_str_radix(at, 16) == Ok(port);
        is_it.then(|| format!("socket:[{}]", columns.get(9).unwrap_or(&"")))
    };
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables.iter().flat_map(|table| table.lines().filter_map(listens)).collect();
    let has = |pid: u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    processes().find(|(pid, _)| has(*pid))
}

// Signals.

/// Those that ask this process to end.
pub(crate) struct Endings {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Endings {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Ctrl-Z asks this process to stop until it is told to go on.
pub(crate) struct Stops(Signal);

impl Stops {
    pub(crate) fn listen() -> io::Result<Self> {
        // POSIX names the signal, and rustix has its number of this system.
        Ok(Self(signal(SignalKind::from_raw(Number::TSTP.as_raw()))?))
    }

    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }

    /// Stops this process, as that signal would have. SIGTTOU, since the system drops it, unlike SIGSTOP, where no shell is there that
    /// could let the process go on.
    pub(crate) fn stop() {
        // Whoever cannot be stopped goes on.
        let _goes_on = rustix::process::kill_process(rustix::process::getpid(), Number::TTOU);
    }
}

/// Those that are meant for a command that runs below this process. A terminal's Ctrl-C reaches it by itself; whoever signals us alone
/// means it, too.
pub(crate) struct Passed {
    terminate: Signal,
    hangup: Signal,
    usr1: Signal,
    usr2: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Passed {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and passes it on, unless it has reached the command already.
    pub(crate) async fn pass_on(&mut self, to: &Below) {
        // The terminal tells all of its foreground.
        let by_terminal = io::stdin().is_terminal();
        let number = tokio::select! {
            _ = self.terminate.recv() => Some(Number::TERM),
            _ = self.hangup.recv() => Some(Number::HUP),
            _ = self.usr1.recv() => Some(Number::USR1),
            _ = self.usr2.recv() => Some(Number::USR2),
            _ = self.quit.recv() => Some(Number::QUIT).filter(|_| !by_terminal),
            _ = self.interrupt.recv() => Some(Number::INT).filter(|_| !by_terminal),
        };
        if let Some(number) = number {
            let _it_has_ended = rustix::process::kill_process(to.0, number);
        }
    }
}

/// A command that runs below this process.
pub(crate) struct Below(Pid);

impl Below {
    pub(crate) fn of(child: &Child) -> Self {
        Self(Pid::from_child(child))
    }
}

// Sockets of this machine.

/// Where a service manager listens (sd_notify(3)).
#[derive(Debug)]
pub(crate) struct Notified {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Notified {
    /// A path, or behind an `@` a name of Linux's own.
    pub(crate) fn at(name: &OsStr) -> Option<Self> {
        Some(Self { to: address(name)?, socket: UnixDatagram::unbound().ok()? })
    }

    /// One that does not listen is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        let _best_effort = self.socket.send_to_addr(text.as_bytes(), &self.to);
    }
}

fn address(name: &OsStr) -> Option<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.to_str().and_then(|name| name.strip_prefix('@')) {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name).ok();
    }
    SocketAddr::from_pathname(name).ok()
}

/// Copies of sockets for a program that is begun, to be kept until it has begun.
#[derive(Debug)]
pub(crate) struct Handed(Vec<OwnedFd>);

impl Handed {
    /// As many as can be numbered in a row.
    pub(crate) fn copies_of(listeners: &[TcpListener]) -> io::Result<Self> {
        /// They are numbered from here on: 100, beyond what a process has at its start.
        const FROM: i32 = 100;
        let copies: io::Result<Vec<OwnedFd>> =
            listeners.iter().map(|listener| Ok(rustix::io::fcntl_dupfd_cloexec(listener, FROM)?)).collect();
        let mut copies = copies?;
        let first = copies.first().map_or(FROM, |fd| fd.as_raw_fd());
        let in_a_row =
            copies.iter().zip(first..).take_while(|(fd, number)| fd.as_raw_fd() == *number).count();
        copies.truncate(in_a_row);
        for copy in &copies {
            rustix::io::fcntl_setfd(copy, rustix::io::FdFlags::empty())?;
        }
        Ok(Self(copies))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The first one's number.
    pub(crate) fn first(&self) -> i32 {
        self.0.first().map_or(0, |fd| fd.as_raw_fd())
    }
}

/// Waits until somebody connects, and leaves the connection to whoever accepts.
#[expect(
    deprecated,
    reason = "it is unsound for types that give their descriptor away, and this one is owned"
)]
pub(crate) async fn is_called(listener: &TcpListener) -> io::Result<()> {
    let copy: OwnedFd = rustix::io::fcntl_dupfd_cloexec(listener, 0)?;
    AsyncFd::with_interest(copy, Interest::READABLE)?.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_numbered_in_a_row_and_outlives_the_start_of_a_program() {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let handed = Handed::copies_of(&[bind(), bind()]).expect("copied");
        assert!(handed.count() >= 1 && handed.first() >= 100);
        let numbers: Vec<i32> = handed.0.iter().map(|fd| fd.as_raw_fd()).collect();
        assert_eq!(numbers, (handed.first()..).take(handed.count()).collect::<Vec<_>>());
        assert!(handed.0.iter().all(|fd| rustix::io::fcntl_getfd(fd).is_ok_and(|flags| flags.is_empty())));
    }

    #[test]
    fn a_manager_hears_what_is_said_and_one_that_does_not_listen_is_no_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let ears = UnixDatagram::bind(&path).expect("a socket");
        let manager = Notified::at(path.as_os_str()).expect("a path");
        manager.say("READY=1");
        let mut heard = [0; 64];
        let len = ears.recv(&mut heard).expect("it was sent");
        assert_eq!(&heard[..len], b"READY=1");
        drop(ears);
        manager.say("STOPPING=1");
    }
}
