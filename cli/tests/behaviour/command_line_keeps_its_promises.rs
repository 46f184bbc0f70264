//! What scripts rely on: exit codes, what goes to standard output and what to standard error, and that a token is
//! shown nowhere. No test here needs a network: the Hub named is a closed port of this machine.

use crate::common::{command, folder, run, text};
use std::path::Path;
use std::process::Output;

fn zest(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    run(command(home, arguments).envs(variables.iter().copied()))
}

#[test]
fn help_and_version_go_to_standard_output_with_exit_code_0() {
    let home = folder();
    for arguments in [&["help"][..], &["--help"], &["pull", "--help"], &["version"], &["--version"]] {
        let output = zest(home.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    let version = zest(home.path(), &["version"], &[]);
    assert_eq!(text(&version.stdout), concat!("zest ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn nobody_who_stops_reading_is_told_so() {
    use std::process::Stdio;
    let home = folder();
    std::fs::create_dir_all(home.path().join(".cache/huggingface/hub")).expect("made");
    let lines: [&[&str]; 9] = [
        &["completions", "bash"],
        &["--help"],
        &["help", "pull"],
        &["version"],
        &["version", "--json"],
        &["config", "show", "pull"],
        &["config", "path"],
        &["share", "ls", "--json"],
        &["cache", "ls", "--json"],
    ];
    for arguments in lines {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = command(home.path(), arguments);
        let zest = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().expect("zest starts");
        let output = zest.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(141), ""), "{arguments:?}");
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut mistake = command(home.path(), &["pull", "--json", "--frob"]);
    let mistake = mistake.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().expect("zest starts");
    let mistake = mistake.wait_with_output().expect("it ends");
    assert_eq!(mistake.status.code(), Some(2), "{}", text(&mistake.stderr));
    let full = std::fs::File::options().write(true).open("/dev/full").map(Stdio::from);
    if let Ok(full) = full {
        let output = run(command(home.path(), &["version"]).stdout(full));
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("standard output: "), "{}", text(&output.stderr));
    }
}

#[test]
fn every_exit_code_stands_in_the_help_and_in_the_documentation() {
    let home = folder();
    let help = zest(home.path(), &["--help"], &[]);
    let (_, codes) = text(&help.stdout).split_once("Exit codes:").expect("a section");
    let (codes, _) = codes.split_once("Environment:").expect("another after it");
    let page = include_str!("../../../docs/using.md");
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "130", "141"] {
        assert!(codes.split_whitespace().any(|word| word == code), "{code}: {codes}");
        assert!(page.contains(&format!("\n| {code} | ")), "{code}");
    }
}

#[test]
fn mistakes_on_the_command_line_exit_with_2_and_leave_standard_output_empty() {
    let home = folder();
    let lines: [&[&str]; 7] = [
        &[],
        &["frobnicate"],
        &["pull"],
        &["pull", "a/b", "--frob"],
        &["pull", "a/b", "--peer", "127.0.0.1:99999"],
        &["pull", "a/b/c"],
        &["pull", "../etc"],
    ];
    for arguments in lines {
        let output = zest(home.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn errors_are_json_for_those_who_want_json() {
    let home = folder();
    for arguments in [&["pull", "--json", "--frob"][..], &["pull", "--json", "a/b/c"]] {
        let output = zest(home.path(), arguments, &[]);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(value["error"]["kind"], "usage", "{arguments:?}");
        assert_eq!(value["error"]["exit_code"], 2);
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_missing_cache_is_not_found_and_the_hint_says_what_to_do() {
    let home = folder();
    let output = zest(home.path(), &["verify"], &[]);
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    assert!(said.starts_with("error: no cache at ") && said.contains("\nhint: "), "{said}");
}

#[test]
fn offline_without_a_cached_copy_exits_with_5() {
    let home = folder();
    let output = zest(home.path(), &["pull", "a/b"], &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("hint: "), "{}", text(&output.stderr));
}

#[test]
fn quiet_says_nothing_but_the_error() {
    let home = folder();
    let output = zest(home.path(), &["pull", "-q", "a/b"], &[("HF_HUB_OFFLINE", "1")]);
    let said = text(&output.stderr);
    assert_eq!(said.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "{said}");
    assert!(said.starts_with("error: "), "{said}");
}

#[test]
fn a_token_is_shown_nowhere() {
    const TOKEN: &str = "hf_thisIsASecretToken";
    let home = folder();
    let by_argument: &[&str] = &["pull", "a/b", "--token", TOKEN, "-vvv", "--json"];
    let by_variable: &[&str] = &["pull", "a/b", "-vvv", "--json"];
    let offline = ("HF_HUB_OFFLINE", "1");
    for (arguments, variables) in
        [(by_argument, vec![offline]), (by_variable, vec![offline, ("HF_TOKEN", TOKEN)])]
    {
        let output = zest(home.path(), arguments, &variables);
        for shown in [&output.stdout, &output.stderr] {
            assert!(!text(shown).contains(TOKEN), "{}", text(shown));
        }
    }
    assert!(!anything_below(home.path(), TOKEN.as_bytes()), "no file holds it");
}

pub(crate) fn anything_below(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return anything_below(&path, needle);
        }
        std::fs::read(&path).expect("a file").windows(needle.len()).any(|window| window == needle)
    })
}
