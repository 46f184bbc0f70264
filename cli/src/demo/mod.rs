//! `zest demo`: a model travels Hub → node A → node B on this machine, every byte is checked, nothing stays behind.

mod account;
mod check;
mod play;
mod sample;
mod weights;

use crate::args::DemoArgs;
use crate::engine;
use crate::failure::{self, Failure, Kind};
use crate::signals::Signals;
use crate::ui::{Ui, units};
use std::path::Path;

/// Copies of the model the demo needs at its height: the source, node A's and node B's, and a quarter for indexes and
/// what is in flight.
const COPIES_QUARTERS: u64 = 13;

/// Runs the demo in a temporary folder. The folder goes when the engines, whose threads write into it, are gone.
pub(crate) fn run(args: DemoArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    let temporary = std::env::temp_dir();
    let place = |error: std::io::Error| {
        failure::disk(format_args!("temporary folder {}", temporary.display()), &error)
            .hint("set TMPDIR to a folder that can be written")
    };
    enough_space(&temporary, args.size_mb)?;
    let room = tempfile::Builder::new().prefix("zest-demo-").tempdir().map_err(place)?;
    if !args.keep {
        signals.remove_on_exit(room.path());
    }
    let outcome = engine::block_on(play::play(args.size_mb, room.path(), &signals, ui));
    if args.keep {
        ui.say(format!("kept: {}", room.keep().display()));
    } else {
        room.close().map_err(place)?;
    }
    let account = outcome?;
    if ui.json() { ui.data(&account.to_json()) } else { ui.account(&account.closing_line(args.keep)) }
}

fn enough_space(temporary: &Path, size_mb: u64) -> Result<(), Failure> {
    let needed = size_mb * 1_000_000 / 4 * COPIES_QUARTERS;
    match zest_store::free_space(temporary) {
        Ok(free) if free < needed => Err(Failure::new(
            Kind::Disk,
            format_args!(
                "{} has {} free, the demo needs {}",
                temporary.display(),
                units::bytes(free),
                units::bytes(needed)
            ),
        )
        .hint("set TMPDIR to a larger place, or take a smaller model with --size-mb")),
        // A system that does not tell will complain when the time comes.
        _ => Ok(()),
    }
}

/// The user does not want to see the end.
fn interrupted() -> Failure {
    Failure::new(Kind::Interrupted, "interrupted")
}
