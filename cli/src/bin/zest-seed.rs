//! The zest-seed command.

fn main() -> std::process::ExitCode {
    zest_cli::zest_seed()
}
