//! Moves a model between real processes and says what it cost: time, CPU, memory, next to the official client.
//!
//! ```text
//! cargo build --release && cargo run --release -p zest-benches --bin transfer -- [flags]
//! ```
//!
//! What is measured, how, and what to watch out for is in `docs/benchmarks.md`. Linux only: the figures of a process come
//! from `/proc`.

mod args;
mod inside;
mod report;
mod rounds;
mod workplace;

use args::Args;
use report::Report;
use workplace::Workplace;
use zest_benches::transfer::Error;

fn main() -> std::process::ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::HELP);
            return 0.into();
        }
        Err(message) => {
            eprintln!("error: {message}\n\n{}", args::HELP);
            return 2.into();
        }
    };
    match run(&args) {
        Ok(report) => {
            print!("{}", if args.json { report.json() } else { report.table() });
            0.into()
        }
        Err(error) => {
            eprintln!("error: {error}");
            1.into()
        }
    }
}

fn run(args: &Args) -> Result<Report, Error> {
    let mut report = Report::new(args);
    inside::decode_and_prove(args.runs, &mut report);
    inside::open_catalog(args.runs, &mut report)?;
    if args.micro {
        return Ok(report);
    }
    let place = Workplace::set_up(args)?;
    report.describe(place.describe());
    rounds::origin(&place, args, &mut report)?;
    rounds::peer(&place, args, &mut report)?;
    Ok(report)
}
