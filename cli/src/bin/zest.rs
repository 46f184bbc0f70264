//! The zest command.

fn main() -> std::process::ExitCode {
    zest_cli::zest()
}
