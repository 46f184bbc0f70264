//! `zest bench`: measures this build on this machine, beside baselines that run in the same minute.

mod args;
mod sampler;
mod synthetic;
#[cfg(target_os = "linux")]
mod transfer;

use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) use args::BenchArgs;

pub(crate) fn run(args: &BenchArgs, ui: &Ui) -> Result<(), Failure> {
    if args.synthetic {
        let report = synthetic::run();
        return if ui.json() { ui.data(&report.json()) } else { ui.data(&report.table()) };
    }
    processes(args, ui)
}

#[cfg(target_os = "linux")]
fn processes(args: &BenchArgs, ui: &Ui) -> Result<(), Failure> {
    if args.transfer { transfer::run(args, ui) } else { transfer::baseline(&args.baseline) }
}

#[cfg(not(target_os = "linux"))]
fn processes(_args: &BenchArgs, _ui: &Ui) -> Result<(), Failure> {
    let message = "--transfer needs Linux: what a process costs is read from /proc";
    Err(Failure::new(crate::failure::Kind::Usage, message))
}
