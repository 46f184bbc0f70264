//! What is said once on a machine: what zest opens, who learns what, and how to switch that off.

use crate::ui::{Ui, units};
use axum::http::Method;
use serde_json::Value;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::Path;
use zest_daemon::{Client, Places, Ways};
use zest_runtime_tokio::DiscoveryConfig;
use zest_store::Env;

/// The note, in zest's cache, that it was said.
const NOTE: &str = "introduced";

/// How a pull, and a daemon that its user began, are kept from others.
const BY_FLAGS: &str = "--no-p2p (pull), --no-dht, --no-lan, for good in `zest config edit`";

/// The same for a daemon that a program began, which has no command line.
const BY_VARIABLES: &str =
    "ZEST_SHARE=0 (uploads nothing) and ZEST_NO_LAN=1 (asks nobody), or for good in `zest config edit`";

/// Says it for a pull that others can reach or hear of.
pub(crate) fn of_pull(env: &Env, listens: Option<&SocketAddr>, discovery: Option<&DiscoveryConfig>, ui: &Ui) {
    let ways = discovery.map(Ways::of).unwrap_or_default();
    let listens = listens.map(SocketAddr::to_string);
    let lines =
        lines("while a pull runs", "the public models it fetches", listens.as_deref(), &ways, BY_FLAGS);
    say(&env.zest_cache, lines, ui);
}

/// The same for what runs in the background.
pub(crate) fn of_daemon(env: &Env, discovery: &DiscoveryConfig, ui: &Ui) {
    let port = Some("port 6881 or one of the next");
    let lines =
        lines("while zest runs", "the public models in your cache", port, &Ways::of(discovery), BY_FLAGS);
    say(&env.zest_cache, lines, ui);
}

/// The same for a daemon that was begun for a program, as it says of itself. One that cannot be asked is not spoken of.
pub(crate) async fn of_on_demand(places: &Places, ui: &Ui) {
    if ui.quiet() || places.dir().join(NOTE).exists() {
        return;
    }
    let Ok(Some(client)) = Client::find(places).await else { return };
    let Ok(answer) = client.ask(Method::GET, "/v1/status", None, &[]).await else { return };
    if answer.is_good() && answer.body["on_demand"] == true {
        say(places.dir(), of_status(&answer.body), ui);
    }
}

fn of_status(status: &Value) -> Vec<String> {
    let ways = serde_json::from_value(status["ways"].clone()).unwrap_or_default();
    let listens = status["listen"][0].as_str();
    lines("while zest runs in the background", "the public models it fetches", listens, &ways, BY_VARIABLES)
}

fn say(zest_cache: &Path, lines: Vec<String>, ui: &Ui) {
    if lines.is_empty() || ui.quiet() || !is_new(zest_cache) {
        return;
    }
    lines.into_iter().for_each(|line| ui.say(line));
}

/// Whether nobody has been told here yet. Where that cannot be noted it is said again.
fn is_new(zest_cache: &Path) -> bool {
    let path = zest_cache.join(NOTE);
    if path.exists() {
        return false;
    }
    let made = std::fs::create_dir_all(zest_cache);
    let noted = made.and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path));
    noted.is_ok() || !path.exists()
}

fn hearers(ways: &Ways) -> Vec<String> {
    let mut who = Vec::new();
    if ways.lan {
        who.push("this network".to_owned());
    }
    if ways.dht {
        who.push("nodes of the DHT".to_owned());
    }
    if ways.trackers > 0 {
        who.push(units::counted(ways.trackers as u64, "tracker"));
    }
    who
}

fn lines(when: &str, what: &str, opened: Option<&str>, ways: &Ways, switches: &str) -> Vec<String> {
    let opens = opened.map(|at| format!("{when}, peers may connect to {at}"));
    let hear = match hearers(ways).as_slice() {
        [] => None,
        [one] => Some(format!("{one} can learn of {what}")),
        [rest @ .., last] => Some(format!("{} and {last} can learn of {what}", rest.join(", "))),
    };
    let first = match (opens, hear) {
        (Some(opens), Some(hear)) => format!("first run: {opens}; {hear}"),
        (Some(opens), None) => format!("first run: {opens}"),
        (None, Some(hear)) => format!("first run: {hear}"),
        (None, None) => return Vec::new(),
    };
    vec![first, format!("private and gated models are never named; off with {switches}; this is said once")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_opened_and_who_hears_and_nothing_where_neither_is() {
        let ways = Ways { lan: true, dht: true, ..Ways::default() };
        let said = lines("while a pull runs", "the models it fetches", Some("[::]:6881"), &ways, BY_FLAGS);
        assert_eq!(
            said[0],
            "first run: while a pull runs, peers may connect to [::]:6881; this network and nodes of the DHT can learn of the \
             models it fetches"
        );
        assert_eq!(said.len(), 2);
        let near = Ways { lan: true, ..Ways::default() };
        assert!(lines("w", "m", None, &near, "s")[0].starts_with("first run: this network can learn"));
        assert!(lines("w", "m", None, &Ways::default(), "s").is_empty());
    }

    #[test]
    fn of_a_daemon_that_a_program_began_it_says_what_that_says_of_itself() {
        let status = serde_json::json!({
            "listen": ["[::]:6882"],
            "ways": {"lan": true, "dht": false, "trackers": 0, "local_only": true},
        });
        let said = of_status(&status);
        assert!(
            said[0].contains("[::]:6882; this network can learn of the public models it fetches"),
            "{said:?}"
        );
        assert!(said[1].contains("ZEST_SHARE=0"), "{said:?}");
        assert!(of_status(&Value::Null).is_empty(), "nothing that comes panics");
    }
}
