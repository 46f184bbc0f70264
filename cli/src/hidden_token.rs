//! Keeps tokens out of the process list.
//!
//! `--token VALUE` is accepted because hf accepts it, but the arguments of a process can be read by every user
//! of the machine for as long as it runs. So on Unix the program starts itself anew, at once, with the value in
//! an environment variable, which only its owner can read. Elsewhere the arguments stay as they are.

use crate::os;
use std::ffi::{OsStr, OsString};

/// Environment variable that says the same as `--token`. Several values, for `zest hub`, are separated by
/// commas.
pub(crate) const TOKEN_VARIABLE: &str = "ZEST_TOKEN";

/// The tokens given by argument or by [`TOKEN_VARIABLE`]: arguments win.
pub(crate) fn tokens(arguments: &[String]) -> Vec<String> {
    if !arguments.is_empty() {
        return arguments.to_vec();
    }
    // What is no text is no token either, and is refused as such: not passed over.
    let value = std::env::var_os(TOKEN_VARIABLE).unwrap_or_default();
    value
        .to_string_lossy()
        .split(',')
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Starts this program again without `--token` among its arguments, if it is there. Returns if there was
/// nothing to do or the new start failed (the binary was removed meanwhile): then the arguments still say it.
pub(crate) fn move_to_environment() {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Some((rest, tokens)) = split_tokens(&arguments) else { return };
    let Some((name, rest)) = rest.split_first() else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = std::process::Command::new(program);
    command.args(rest).env(TOKEN_VARIABLE, tokens.join(OsStr::new(",")));
    os::become_program(&mut command, name);
}

/// Takes the tokens out of a command line, whatever bytes its other arguments have. `None` if there is none, or if the command
/// line is unusual enough (a missing or empty value, a comma in it) to be left to the argument parser.
fn split_tokens(arguments: &[OsString]) -> Option<(Vec<OsString>, Vec<OsString>)> {
    let (mut rest, mut tokens) = (Vec::new(), Vec::new());
    let mut iter = arguments.iter();
    while let Some(argument) = iter.next() {
        if argument == "--" {
            rest.push(argument.clone());
            rest.extend(iter.by_ref().cloned());
        } else if argument == "--token" {
            tokens.push(iter.next()?.clone());
        } else if let Some(value) = os::after(argument, "--token=") {
            tokens.push(value);
        } else {
            rest.push(argument.clone());
        }
    }
    let usual = |token: &OsString| {
        let token = token.as_encoded_bytes();
        !token.is_empty() && !token.contains(&b',') && !token.starts_with(b"-")
    };
    (!tokens.is_empty() && tokens.iter().all(usual)).then_some((rest, tokens))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    fn split(line: &str) -> Option<(String, String)> {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let text =
            |words: Vec<OsString>, by: &str| words.join(OsStr::new(by)).into_string().expect("Unicode");
        split_tokens(&arguments).map(|(rest, tokens)| (text(rest, " "), text(tokens, ",")))
    }

    #[test]
    fn arguments_that_are_no_text_do_not_keep_a_token_where_it_is() {
        let odd = OsString::from_vec(b"/caf\xe9/hub".to_vec());
        let odd_token = OsString::from_vec(b"--token=hf_\xff".to_vec());
        let line = |token: &OsString| {
            vec!["zest".into(), "pull".into(), "--cache-dir".into(), odd.clone(), token.clone(), "a/b".into()]
        };
        let rest: Vec<OsString> =
            vec!["zest".into(), "pull".into(), "--cache-dir".into(), odd.clone(), "a/b".into()];
        let split = |token: &OsString| split_tokens(&line(token)).expect("there is a token");
        assert_eq!(split(&"--token=hf_x".into()), (rest.clone(), vec!["hf_x".into()]));
        assert_eq!(split(&odd_token), (rest, vec![OsString::from_vec(b"hf_\xff".to_vec())]));
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
