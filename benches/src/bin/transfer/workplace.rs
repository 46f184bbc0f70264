//! Where a run takes place: folders that vanish afterwards, a Hub, and the environment of the processes measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Error;
use crate::args::Args;
use zest_benches::transfer::model;
use zest_benches::transfer::process::Service;

/// Repository of the sample.
const REPO: &str = "bench/sample";

/// File system type of tmpfs (`statfs(2)`).
const TMPFS: u64 = 0x0102_1994;

pub(crate) struct Workplace {
    pub(crate) zest: PathBuf,
    pub(crate) endpoint: String,
    pub(crate) repo: String,
    /// Our own Hub and its root, unless there is one elsewhere.
    own: Option<(Service, PathBuf)>,
    // Last: what runs is ended before its folders go.
    dir: tempfile::TempDir,
}

impl Workplace {
    pub(crate) fn set_up(args: &Args) -> Result<Self, Error> {
        let zest = match &args.zest {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("zest"),
        };
        if !zest.is_file() {
            return Err(
                format!("{} is missing: cargo build --release, or --zest PATH", zest.display()).into()
            );
        }
        let dir = tempfile::Builder::new().prefix("zest-transfer-").tempdir_in(&args.dir)?;
        let mut place = Self { zest, endpoint: String::new(), repo: REPO.to_owned(), own: None, dir };
        if let Some((endpoint, repo)) = &args.elsewhere {
            (place.endpoint, place.repo) = (endpoint.clone(), repo.clone());
            return Ok(place);
        }
        let root = place.dir.path().join("hub");
        model::write(&sample_in(&root), args.size_mb * 1_000_000)?;
        let mut command = place.command(&place.zest, &place.dir.path().join("hub-home"));
        let hub = Service::start(command.args(["hub", "--json", "--port", "0", "--root"]).arg(&root))?;
        let listening = hub.event("listening")?;
        place.endpoint =
            listening["endpoint"].as_str().ok_or("the hub does not say where it listens")?.to_owned();
        place.own = Some((hub, root));
        Ok(place)
    }

    /// The folder our own Hub serves.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.own.as_ref().map(|(_, root)| root.as_path())
    }

    /// The sample as it was made.
    pub(crate) fn sample(&self) -> Option<PathBuf> {
        self.root().map(sample_in)
    }

    /// A new, empty home for one run.
    pub(crate) fn home(&self, name: &str) -> Result<PathBuf, Error> {
        let home = self.dir.path().join(name);
        fs::create_dir_all(&home)?;
        Ok(home)
    }

    /// Takes a home away. Writes what is still only in memory first, so that it is not written during the next run.
    pub(crate) fn clear(&self, home: &Path) -> Result<(), Error> {
        fs::remove_dir_all(home)?;
        rustix::fs::sync();
        Ok(())
    }

    /// A command that sees nothing of this machine's own caches, tokens and settings.
    pub(crate) fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let foreign =
                ["HF_", "HUGGINGFACE_", "ZEST_", "XDG_"].iter().any(|prefix| text.starts_with(prefix));
            if foreign {
                command.env_remove(&name);
            }
        }
        command
            .env("HOME", home)
            .env("HF_HOME", home.join("hf"))
            .env("HF_HUB_CACHE", home.join("hf/hub"))
            .env("ZEST_CACHE_DIR", home.join("zest"))
            // What is measured is the transfer, and nothing leaves this machine.
            .envs(zest_benches::transfer::DISCOVERY_OFF)
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .env("HF_HUB_DISABLE_TELEMETRY", "1")
            .current_dir(home.parent().unwrap_or(home));
        command
    }

    /// What a reader of the figures should know about the place.
    pub(crate) fn describe(&self) -> Value {
        let tmpfs = rustix::fs::statfs(self.dir.path()).is_ok_and(|stat| stat.f_type as u64 == TMPFS);
        json!({
            "endpoint": if self.own.is_some() { "zest hub" } else { self.endpoint.as_str() },
            "repo": self.repo,
            "disk": if tmpfs { "tmpfs" } else { "disk" },
        })
    }
}

fn sample_in(root: &Path) -> PathBuf {
    root.join("models").join(REPO).join("main")
}
