//! What does not answer is named without being asked for, and waited for as long as the user says.

use crate::common::{command, folder, run, text};

#[test]
fn what_is_out_is_named_and_the_user_says_when_it_is_enough() {
    let home = folder();
    let output = run(&mut command(home.path(), &["pull", "org/name", "--no-p2p", "--give-up-after", "4s"]));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let line = "the Hub is out: cannot reach http://127.0.0.1:9/";
    assert!(said.contains(line) && said.contains("giving up after 4 s in which nothing comes"), "{said}");
}

#[test]
fn the_environment_says_so_as_well_and_nonsense_is_refused() {
    let home = folder();
    let mut short = command(home.path(), &["pull", "org/name", "--no-p2p", "-q"]);
    let output = run(short.env("ZEST_GIVE_UP_AFTER", "1s"));
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let output = run(command(home.path(), &["pull", "org/name"]).env("ZEST_GIVE_UP_AFTER", "never"));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
