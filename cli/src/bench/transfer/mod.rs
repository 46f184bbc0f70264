//! `zest bench --transfer`: real processes on loopback, and baselines that run in turn with them.

mod pulling;
mod report;
mod seeding;

use super::BenchArgs;
use crate::failure::{Failure, Kind};
use crate::ui::Ui;
use report::Report;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use zest_benches::transfer::{DISCOVERY_OFF, Error, congestion, direct, pool, sendfile};

/// Runs everything; three to five minutes.
pub(super) fn run(args: &BenchArgs, ui: &Ui) -> Result<(), Failure> {
    let failed = |error: Error| Failure::new(Kind::Other, error);
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let place = Place::make(&dir).map_err(failed)?;
    let report = measure(args.rounds, &place, ui).map_err(failed)?;
    if ui.json() { ui.data(&report.json().to_string()) } else { ui.data(&report.table()) }
}

fn measure(rounds: u32, place: &Place, ui: &Ui) -> Result<Report, Error> {
    let start = Instant::now();
    let programs = Programs::find()?;
    let mut report = Report::default();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    report.fact("version", env!("CARGO_PKG_VERSION"));
    report.fact("cores", std::thread::available_parallelism().map_or(0, usize::from));
    report.fact("memory_gib", memory_gib());
    report.fact("kernel", read("/proc/sys/kernel/osrelease"));
    report.fact("congestion_control_of_pulls", congestion::of_the_system());
    report.fact("rounds", rounds);
    if cfg!(debug_assertions) {
        ui.say("this is a debug build: its figures say nothing about a release build");
        report.fact("debug_build", true);
    }
    let tell = |what: &str| ui.say(format!("{:>4.0} s  {what}", start.elapsed().as_secs_f64()));
    pulling::run(place, &programs, rounds, &mut report, &tell)?;
    seeding::run(place, &programs, rounds, &mut report, &tell)?;
    report.fact("seconds", start.elapsed().as_secs());
    Ok(report)
}

/// `--baseline NAME …`: this process is one of the baselines.
pub(super) fn baseline(words: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [how @ ("sendfile" | "pool"), file, list, ref named @ ..] if named.len() <= 1 => {
            let run = if how == "pool" { pool::run } else { sendfile::run };
            run(Path::new(file), Path::new(list), named.first().copied())
        }
        ["direct", file, list, order, depth, bytes] => match (depth.parse(), bytes.parse()) {
            (Ok(depth), Ok(bytes)) => direct::run(Path::new(file), Path::new(list), order, depth, bytes),
            _ => Err("depth and bytes are numbers".into()),
        },
        _ => {
            return Err(Failure::new(
                Kind::Usage,
                "baselines: sendfile FILE LIST [CONGESTION_CONTROL], pool FILE LIST [CONGESTION_CONTROL], \
                 direct FILE LIST ORDER DEPTH BYTES",
            ));
        }
    };
    outcome.map_err(|error| Failure::new(Kind::Other, error))
}

fn memory_gib() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0).div_ceil(1 << 20)
}

/// The programs that are measured.
struct Programs {
    zest: PathBuf,
    /// Or why there is none.
    zest_seed: Result<PathBuf, String>,
}

impl Programs {
    /// This one, and what lies beside it.
    fn find() -> Result<Self, Error> {
        let zest = std::env::current_exe()?;
        let beside = zest.with_file_name("zest-seed");
        let zest_seed = match beside.is_file() {
            true => Ok(beside),
            false => Err(format!("not built: there is no {}", beside.display())),
        };
        Ok(Self { zest, zest_seed })
    }
}

/// A folder that vanishes at the end, and the environment of the processes measured.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn make(parent: &Path) -> Result<Self, Error> {
        let dir = tempfile::Builder::new().prefix("zest-bench-").tempdir_in(parent);
        let dir = dir.map_err(|error| format!("{}: {error}", parent.display()))?;
        Ok(Self { dir })
    }

    /// A folder for one purpose, made if it is not there.
    fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.dir.path().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Takes a folder away. Writes what is still only in memory first, so that it is not written during the next run.
    fn clear(&self, folder: &Path) -> Result<(), Error> {
        fs::remove_dir_all(folder)?;
        rustix::fs::sync();
        Ok(())
    }

    /// A command that sees nothing of this machine's own caches, tokens and settings.
    fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", home)
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .envs(DISCOVERY_OFF)
            .current_dir(self.dir.path());
        command
    }
}
