//! What is made of the one definition of the command line: completions, manual pages, `docs/cli.md`.

use crate::commands::Cli;
use crate::failure::{Failure, Kind};
use crate::seed::SeedArgs;
use crate::ui::Ui;
use clap::CommandFactory;
use std::path::Path;

/// `zest completions`.
///
/// # Errors
/// If nobody reads.
pub(crate) fn completions(shell: clap_complete::Shell, ui: &Ui) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "zest", &mut text);
    clap_complete::generate(shell, &mut SeedArgs::command(), "zest-seed", &mut text);
    let text = String::from_utf8(text).map_err(|error| Failure::new(Kind::Other, error))?;
    ui.data(text.trim_end())
}

/// `zest man`.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn manual(dir: &Path) -> Result<(), Failure> {
    let disk = |error: std::io::Error| crate::failure::disk(dir.display(), &error);
    std::fs::create_dir_all(dir).map_err(disk)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(disk)?;
    // `zest seed` and the program zest-seed have one name as pages; the program's stays, as `zest serve` has all flags of `seed`.
    clap_mangen::generate_to(SeedArgs::command(), dir).map_err(disk)
}

/// `docs/cli.md`: every command and flag, as `--help` has them.
#[cfg(test)]
fn reference() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# The command line\n\nMade from the program's own definition by a test; `ZEST_SNAPSHOT=write cargo test -p zest` writes it anew.\n\
         What each flag means is what `--help` says. Variables and the keys of the configuration file are those of `zest config --help`.\n",
    );
    let (mut zest, mut seed) = (Cli::command(), SeedArgs::command());
    zest.build();
    seed.build();
    text.push_str("\n## Contents\n\n");
    let commands: Vec<(String, clap::Command)> = zest
        .get_subcommands()
        .filter(|command| command.get_name() != "help" && !command.is_hide_set())
        .map(|command| (format!("zest {}", command.get_name()), command.clone()))
        .chain([("zest-seed".to_owned(), seed.clone())])
        .collect();
    for (name, command) in &commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _infallible = writeln!(text, "- [`{name}`](#{}): {about}", name.replace(' ', "-"));
    }
    section(&mut text, "zest", &zest, true);
    for (name, command) in &commands {
        section(&mut text, name, command, false);
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            section(&mut text, &format!("{name} {}", sub.get_name()), sub, false);
        }
    }
    text
}

#[cfg(test)]
fn section(text: &mut String, name: &str, command: &clap::Command, program: bool) {
    use clap::ArgAction;
    use std::fmt::Write as _;
    /// Breaks nothing in a table.
    fn cell(text: &str) -> String {
        text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
    }
    let _infallible = write!(text, "\n## {name}\n\n");
    if let Some(about) = command.get_about() {
        let _infallible = write!(text, "{about}.\n\n");
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim().to_owned();
    let _infallible = write!(text, "```text\n{usage}\n```\n");
    let shown =
        |arg: &&clap::Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    // Flags that all commands share stand once, with the program.
    let args: Vec<_> =
        command.get_arguments().filter(shown).filter(|arg| program || !arg.is_global_set()).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &args {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        let _infallible = match heading {
            Some(heading) => write!(text, "\n### {heading}\n"),
            None => Ok(()),
        };
        text.push_str("\n| | | Default | Variable |\n|---|---|---|---|\n");
        for arg in args.iter().filter(|arg| arg.get_help_heading() == heading) {
            let values = arg
                .get_value_names()
                .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            let value = match arg.get_action() {
                ArgAction::SetTrue | ArgAction::Count => String::new(),
                _ => values.unwrap_or_default(),
            };
            let mut spelled: Vec<String> =
                arg.get_short().map(|short| format!("`-{short}`")).into_iter().collect();
            for long in arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default()) {
                let value = if value.is_empty() { String::new() } else { format!(" {value}") };
                spelled.push(format!("`--{long}{value}`"));
            }
            if spelled.is_empty() {
                spelled.push(format!("`{value}`"));
            }
            let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let possible: Vec<_> = arg
                .get_possible_values()
                .iter()
                .filter(|value| !value.is_hide_set())
                .map(|value| format!("`{}`", value.get_name()))
                .collect();
            if !possible.is_empty() && arg.get_action().takes_values() {
                let _infallible = write!(help, ": {}", possible.join(", "));
            }
            let default: Vec<String> = match arg.get_action().takes_values() {
                true => arg
                    .get_default_values()
                    .iter()
                    .map(|value| format!("`{}`", value.to_string_lossy()))
                    .collect(),
                false => Vec::new(),
            };
            let variable = crate::settings::variable(arg).map(|name| format!("`{name}`")).unwrap_or_default();
            let _infallible = writeln!(
                text,
                "| {} | {} | {} | {variable} |",
                cell(&spelled.join(", ")),
                cell(&help),
                cell(&default.join(", "))
            );
        }
    }
    let after = command.get_after_long_help().or(command.get_after_help());
    if let Some(after) = after {
        let _infallible = write!(text, "\n```text\n{}\n```\n", after.to_string().trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_says_what_the_program_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
        let want = reference();
        if std::env::var_os("ZEST_SNAPSHOT").is_some_and(|value| value == "write") {
            std::fs::write(&path, &want).expect("docs/cli.md can be written");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = there.lines().zip(want.lines()).find(|(there, want)| there != want);
        assert!(
            there == want,
            "docs/cli.md is not of this program; ZEST_SNAPSHOT=write mends it. First: {differs:?}"
        );
    }

    #[test]
    fn every_flag_has_a_page_and_completes() {
        let dir = tempfile::tempdir().expect("a folder");
        manual(dir.path()).unwrap_or_else(|error| panic!("{error:?}"));
        let page = std::fs::read_to_string(dir.path().join("zest-pull.1")).expect("a page for pull");
        assert!(page.contains("max\\-upload"), "{page}");
        assert!(dir.path().join("zest-seed.1").exists() && dir.path().join("zest.1").exists());
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "zest", &mut text);
            assert!(String::from_utf8_lossy(&text).contains("upload-budget"), "{shell}");
        }
    }
}
