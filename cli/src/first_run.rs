//! What is said once on a machine: what zest opens, who learns what, and how to switch that off.

use crate::ui::{Ui, units};
use std::fs::OpenOptions;
use std::net::SocketAddr;
use zest_runtime_tokio::DiscoveryConfig;
use zest_store::Env;

/// The note, in zest's cache, that it was said.
const NOTE: &str = "introduced";

/// Says it for a pull that others can reach or hear of.
pub(crate) fn of_pull(env: &Env, listens: Option<&SocketAddr>, discovery: Option<&DiscoveryConfig>, ui: &Ui) {
    say(
        env,
        "while a pull runs",
        "the public models it fetches",
        listens.map(SocketAddr::to_string),
        discovery,
        ui,
    );
}

/// The same for what runs in the background.
pub(crate) fn of_daemon(env: &Env, discovery: &DiscoveryConfig, ui: &Ui) {
    let port = "port 6881 or one of the next".to_owned();
    say(env, "while zest runs", "the public models in your cache", Some(port), Some(discovery), ui);
}

fn say(
    env: &Env,
    when: &str,
    what: &str,
    opened: Option<String>,
    discovery: Option<&DiscoveryConfig>,
    ui: &Ui,
) {
    let lines = lines(when, what, opened.as_deref(), &hearers(discovery));
    if lines.is_empty() || ui.quiet() || !is_new(env) {
        return;
    }
    lines.into_iter().for_each(|line| ui.say(line));
}

/// Whether nobody has been told here yet. Where that cannot be noted it is said again.
fn is_new(env: &Env) -> bool {
    let path = env.zest_cache.join(NOTE);
    if path.exists() {
        return false;
    }
    let made = std::fs::create_dir_all(&env.zest_cache);
    let noted = made.and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path));
    noted.is_ok() || !path.exists()
}

fn hearers(discovery: Option<&DiscoveryConfig>) -> Vec<String> {
    let Some(discovery) = discovery else { return Vec::new() };
    let mut who = Vec::new();
    if discovery.lan {
        who.push("this network".to_owned());
    }
    if discovery.dht.is_some() {
        who.push("nodes of the DHT".to_owned());
    }
    if !discovery.trackers.is_empty() {
        who.push(units::counted(discovery.trackers.len() as u64, "tracker"));
    }
    who
}

fn lines(when: &str, what: &str, opened: Option<&str>, who: &[String]) -> Vec<String> {
    let opens = opened.map(|at| format!("{when}, peers may connect to {at}"));
    let hear = match who {
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
    let second = "private and gated models are never named; off with --no-p2p (pull), --no-dht, --no-lan, for good in `zest config edit`; \
                  this is said once";
    vec![first, second.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_opened_and_who_hears_and_nothing_where_neither_is() {
        let who = ["this network".to_owned(), "nodes of the DHT".to_owned()];
        let said = lines("while a pull runs", "the models it fetches", Some("[::]:6881"), &who);
        assert_eq!(
            said[0],
            "first run: while a pull runs, peers may connect to [::]:6881; this network and nodes of the DHT can learn of the \
             models it fetches"
        );
        assert_eq!(said.len(), 2);
        assert!(lines("w", "m", None, &who[..1])[0].starts_with("first run: this network can learn"));
        assert!(lines("w", "m", None, &[]).is_empty());
    }
}
