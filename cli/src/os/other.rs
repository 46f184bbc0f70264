//! Systems that are no Unix: Windows. Nothing here has run on one.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::{Metadata, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

// Words of a command line.

/// What follows `prefix`, of a word that is text.
pub(crate) fn after(word: &OsStr, prefix: &str) -> Option<OsString> {
    word.to_str()?.strip_prefix(prefix).map(OsString::from)
}

// Files.

/// Files keep what their folder gives them.
pub(crate) fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Not told: the name says it.
pub(crate) fn is_one_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Only who may is let make one: not tried.
pub(crate) fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not known here.
pub(crate) fn reflink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// They are not counted.
pub(crate) fn files_left(_: &Path) -> Option<u64> {
    None
}

/// There is no such limit.
pub(crate) fn descriptors_max() -> Option<u64> {
    None
}

// The terminal.

/// Not told.
pub(crate) fn terminal_columns() -> Option<usize> {
    None
}

/// There is no such call.
pub(crate) fn leave_terminal() {}

// Processes.

/// A running program cannot be replaced: nothing is done.
pub(crate) fn become_program(_: &mut Command, _: &OsStr) {}

/// Nobody can be told from here.
pub(crate) fn end_process(_: u32, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A program's exit code.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(1)
}

/// Not told.
pub(crate) fn processes() -> impl Iterator<Item = (u32, String)> {
    std::iter::empty()
}

/// Not told.
pub(crate) fn words_of(_: u32) -> Vec<String> {
    Vec::new()
}

/// Not told.
pub(crate) fn listener(_: u16) -> Option<(u32, String)> {
    None
}

// Signals.

/// Ctrl-C asks this process to end.
pub(crate) struct Endings;

impl Endings {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// No process is stopped from its terminal here.
pub(crate) struct Stops;

impl Stops {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }

    pub(crate) fn stop() {}
}

/// Ctrl-C reaches a command that runs below this process by itself; here it only must not end this one.
pub(crate) struct Passed;

impl Passed {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn pass_on(&mut self, _: &Below) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A command that runs below this process.
pub(crate) struct Below;

impl Below {
    pub(crate) fn of(_: &Child) -> Self {
        Self
    }
}

// Sockets of this machine.

/// No service manager listens.
#[derive(Debug)]
pub(crate) struct Notified(Infallible);

impl Notified {
    pub(crate) fn at(_: &OsStr) -> Option<Self> {
        None
    }

    pub(crate) fn say(&self, _: &str) {
        match self.0 {}
    }
}

/// Sockets are not handed over.
#[derive(Debug)]
pub(crate) struct Handed(Infallible);

impl Handed {
    pub(crate) fn copies_of(_: &[TcpListener]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn count(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn first(&self) -> i32 {
        match self.0 {}
    }
}

/// Not told without accepting.
pub(crate) async fn is_called(_: &TcpListener) -> io::Result<()> {
    std::future::pending().await
}
