//! What is installed here, and how to start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use zest_tests::netns::is_installed;

/// Names a folder `node_modules`; else the one beside this package's `Cargo.toml` counts.
const NODE_MODULES: &str = "ZEST_INTEROP_NODE_MODULES";
/// This package.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// What the players are started from.
#[derive(Debug)]
pub(crate) struct Workshop {
    dir: TempDir,
}

impl Workshop {
    /// Copies the scripts to where the npm packages are found from: JavaScript modules look beside themselves.
    pub(crate) fn open() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        for entry in fs::read_dir(Path::new(PACKAGE).join("players")).expect("the players").flatten() {
            fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("a copy");
        }
        if let Some(modules) = node_modules() {
            std::os::unix::fs::symlink(modules, dir.path().join("node_modules")).expect("a link");
        }
        Self { dir }
    }

    /// A folder for whatever is needed.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// This program in another part.
    pub(crate) fn ours(&self, words: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
        command.args(words);
        command
    }

    /// A script for Python.
    pub(crate) fn python(&self, script: &str, words: &[&str]) -> Command {
        self.script("python3", script, words)
    }

    /// A script for Node.
    pub(crate) fn node(&self, script: &str, words: &[&str]) -> Command {
        self.script("node", script, words)
    }

    fn script(&self, interpreter: &str, script: &str, words: &[&str]) -> Command {
        let mut command = Command::new(interpreter);
        command.arg(self.dir.path().join(script)).args(words).current_dir(self.dir.path());
        command
    }

    /// The mainline crate's nodes.
    pub(crate) fn mainline(&self, words: &[&str]) -> Command {
        let mut command = Command::new(mainline_program());
        command.args(words);
        command
    }
}

/// Why libtorrent's Python binding cannot be used; nothing if it can.
pub(crate) fn lacks_libtorrent() -> Option<String> {
    let import = Command::new("python3").args(["-c", "import libtorrent"]).output();
    let works = import.is_ok_and(|output| output.status.success());
    (!works)
        .then(|| "python3 cannot import libtorrent (pip: libtorrent, Debian: python3-libtorrent)".to_owned())
}

/// Why this npm package cannot be used; nothing if it can.
pub(crate) fn lacks_npm(package: &str) -> Option<String> {
    if !is_installed("node") {
        return Some("node is not in the path (Debian: nodejs)".to_owned());
    }
    let there = node_modules().is_some_and(|modules| modules.join(package).join("package.json").is_file());
    (!there).then(|| {
        format!("{package} is in no node_modules here (npm: {package}; {NODE_MODULES} may name the folder)")
    })
}

/// Why opentracker cannot be used; nothing if it can.
pub(crate) fn lacks_opentracker() -> Option<String> {
    (!is_installed("opentracker")).then(|| "opentracker is not in the path (Debian: opentracker)".to_owned())
}

/// Why the mainline crate cannot be used; nothing if it can.
pub(crate) fn lacks_mainline() -> Option<String> {
    (!mainline_program().is_file())
        .then(|| "tests/interop/mainline could not be built (cargo: mainline)".to_owned())
}

/// Builds what is wanted: the player of the mainline crate, the `zest` program.
pub(crate) fn build(mainline: bool, zest: bool) {
    if zest {
        let _made = zest_tests::program::zest();
    }
    if mainline {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--locked", "--manifest-path"]);
        cargo.arg(Path::new(PACKAGE).join("mainline/Cargo.toml")).arg("--target-dir").arg(mainline_target());
        // If it fails, cargo has said why, and the matrix will say that mainline is missing.
        drop(cargo.status());
    }
}

fn mainline_program() -> PathBuf {
    mainline_target().join("debug/mainline-player")
}

/// Beside this program, so that it goes with the rest of what was built.
fn mainline_target() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a path");
    program.parent().expect("a program lies in a folder").join("interop-mainline")
}

fn node_modules() -> Option<PathBuf> {
    let named = std::env::var_os(NODE_MODULES).map(PathBuf::from);
    let modules = named.unwrap_or_else(|| Path::new(PACKAGE).join("node_modules"));
    fs::canonicalize(modules).ok().filter(|modules| modules.is_dir())
}
