//! Keeps tokens out of the process list.
//!
//! `--token VALUE` is accepted because hf accepts it, but the arguments of a process can be read by every user
//! of the machine for as long as it runs. So on Unix the program starts itself anew, at once, with the value in
//! an environment variable, which only its owner can read. Elsewhere the arguments stay as they are.

/// Environment variable that says the same as `--token`. Several values, for `zest hub`, are separated by
/// commas.
pub(crate) const TOKEN_VARIABLE: &str = "ZEST_TOKEN";

/// The tokens given by argument or by [`TOKEN_VARIABLE`]: arguments win.
pub(crate) fn tokens(arguments: &[String]) -> Vec<String> {
    if !arguments.is_empty() {
        return arguments.to_vec();
    }
    let value = std::env::var(TOKEN_VARIABLE).unwrap_or_default();
    value.split(',').map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

/// Starts this program again without `--token` among its arguments, if it is there. Returns if there was
/// nothing to do or the new start failed (the binary was removed meanwhile): then the arguments still say it.
#[cfg(unix)]
pub(crate) fn move_to_environment() {
    use std::os::unix::process::CommandExt;
    let Ok(arguments) = std::env::args_os().map(|arg| arg.into_string()).collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    let Some((rest, tokens)) = split_tokens(&arguments) else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = std::process::Command::new(program);
    command.arg0(&rest[0]).args(&rest[1..]).env(TOKEN_VARIABLE, tokens.join(","));
    // Comes back only when it failed.
    let _error = command.exec();
}

/// See the Unix version: other systems cannot replace a running program.
#[cfg(not(unix))]
pub(crate) fn move_to_environment() {}

/// Takes the tokens out of a command line. `None` if there is none, or if the command line is unusual enough
/// (a missing or empty value, a comma in it) to be left to the argument parser.
#[cfg(any(unix, test))]
fn split_tokens(arguments: &[String]) -> Option<(Vec<String>, Vec<String>)> {
    let (mut rest, mut tokens) = (Vec::new(), Vec::new());
    let mut iter = arguments.iter();
    while let Some(argument) = iter.next() {
        if argument == "--" {
            rest.push(argument.clone());
            rest.extend(iter.by_ref().cloned());
        } else if argument == "--token" {
            tokens.push(iter.next()?.clone());
        } else if let Some(value) = argument.strip_prefix("--token=") {
            tokens.push(value.to_owned());
        } else {
            rest.push(argument.clone());
        }
    }
    let usual = |token: &String| !token.is_empty() && !token.contains(',') && !token.starts_with('-');
    (!tokens.is_empty() && tokens.iter().all(usual)).then_some((rest, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<(String, String)> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        split_tokens(&arguments).map(|(rest, tokens)| (rest.join(" "), tokens.join(",")))
    }

    #[test]
    fn both_spellings_are_taken_out() {
        let want = Some(("zest pull a/b -q".to_owned(), "hf_x".to_owned()));
        assert_eq!(split("zest pull --token hf_x a/b -q"), want);
        assert_eq!(split("zest pull a/b --token=hf_x -q"), want);
    }

    #[test]
    fn several_tokens_keep_their_order() {
        let want = Some(("zest hub --root d".to_owned(), "a,b".to_owned()));
        assert_eq!(split("zest hub --token a --root d --token b"), want);
    }

    #[test]
    fn unusual_lines_are_left_to_the_parser() {
        assert_eq!(split("zest pull a/b"), None);
        assert_eq!(split("zest pull a/b --token"), None);
        assert_eq!(split("zest pull a/b --token="), None);
        assert_eq!(split("zest pull a/b --token -q"), None);
        assert_eq!(split("zest pull a/b -- --token x"), None);
    }
}
