//! The flags of `config`.

use clap::{Args, Subcommand};

const HELP: &str = "\
A flag beats a variable, a variable beats the file, the file beats the default. Every flag --some-flag has a variable \
ZEST_SOME_FLAG (commas between several values) and a key some-flag, but for --token, which has neither, and --cache-dir, \
whose variable is HF_HUB_CACHE. Keys at the top of the file are for all commands, those below [pull], [serve] … for one.
Exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Show what is set, and where: by variables and by the file
    Show {
        /// Show all flags of this command, defaults too
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Show where the file is, or would be
    Path,
    /// Open the file in $VISUAL or $EDITOR, and check it afterwards
    Edit,
}
