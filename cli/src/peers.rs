//! `zest peers`: who has what of a repository, and how they were found.

use crate::args::PeersArgs;
use crate::discovery::Purpose;
use crate::engine::{self, Folders, PullRequest, Survey};
use crate::failure::{Failure, Kind};
use crate::pull;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use zest_runtime_tokio::{PeerId, SurveyPeer};

pub(crate) async fn run(mut args: PeersArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    let env = engine::environment(ui);
    let repo = engine::repo_of(&mut args.of, &env)?;
    let (files, folders) = args.of.files_and_folders();
    let label = repo.to_string();
    let discovery = args.discovery.config(Purpose::Pull, &env);
    // Nothing is written, the list of files included.
    let request = PullRequest::new(repo)
        .revision(args.of.revision)
        .files(files)
        .include(folders)
        .dry_run(true)
        .peers(args.peer);
    let config =
        engine::config(&env, Folders::of_cache(&env, false).with_mirrors(&args.discovery.public_mirror))?
            .engine(|engine| (engine.discovery, engine.surveys) = (Some(discovery), true));
    let session = pull::start(config, args.listen, true).await?;
    let mut status = ui.status();
    status.show(&format!("looking for peers of {label} …"), false);
    let (tell, mut told) = watch::channel(Survey::default());
    let mut shown = Shown::default();
    let showing = async {
        let mut told = told.clone();
        while told.changed().await.is_ok() {
            let now = told.borrow_and_update().clone().without_doubles();
            shown.news(&now).into_iter().for_each(|line| ui.say(line));
            if !now.peers.is_empty() {
                status.show(&format!("looking for peers of {label} … {}", sentence(&now)), false);
            }
        }
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = session.survey_as_found(request.clone(), Duration::from_secs(args.wait), tell) => match outcome {
            Ok(survey) => Ok(survey),
            Err(error) => {
                let failure = engine::pull_failure(&error);
                Err(pull::with_hint_of_no_repo(failure, &session, &env, &request).await)
            }
        },
        // What was found so far is shown.
        () = signals.first() => Ok(told.borrow_and_update().clone()),
        () = showing => unreachable!("it never ends"),
    };
    drop(status);
    let found = session.discovery().await.unwrap_or_default();
    session.shutdown().await;
    let survey = outcome?.without_doubles();
    // On a busy machine the last news may be the outcome.
    shown.news(&survey).into_iter().for_each(|line| ui.say(line));
    if survey.commit.is_empty() {
        return Err(Failure::new(Kind::Interrupted, "interrupted"));
    }

    if ui.json() {
        let mut value = document(&label, &survey);
        value["discovery"] = json!(found);
        return ui.data(&value.to_string());
    }
    if !survey.shareable {
        ui.say(match survey.denied {
            true => format!("you denied sharing {label} (`zest share allow` undoes it): nobody was asked"),
            false => format!("{label} is not readable by everyone: nobody was asked"),
        });
        return Ok(());
    }
    for line in table(&survey) {
        ui.text(&line)?;
    }
    ui.say(sentence(&survey));
    Ok(())
}

/// Peers that were spoken of, by address and by id.
#[derive(Default)]
struct Shown(BTreeSet<SocketAddr>, BTreeSet<PeerId>);

impl Shown {
    /// A line for each peer that has something and was not spoken of.
    fn news(&mut self, survey: &Survey) -> Vec<String> {
        let has = survey.peers.iter().filter(|peer| !peer.files.is_empty());
        // A machine at two addresses is spoken of once.
        let new = has.filter(|peer| {
            let is_new = self.0.insert(peer.addr);
            peer.peer_id.is_none_or(|id| self.1.insert(id)) && is_new
        });
        new.map(|peer| format!("found {} ({})", peer.addr, how(peer))).collect()
    }
}

/// Bytes of the survey's files that a peer has, as far as it says so: chunks are taken as equally long.
fn bytes(survey: &Survey, files: &BTreeMap<usize, (u32, u32)>) -> u64 {
    let part = |(index, (count, total)): (&usize, &(u32, u32))| {
        let size = survey.files.get(*index).map_or(0, |file| file.size);
        let share = u128::from(size) * u128::from(*count) / u128::from((*total).max(1));
        u64::try_from(share).unwrap_or(u64::MAX).min(size)
    };
    files.iter().map(part).sum()
}

fn how(peer: &SurveyPeer) -> &'static str {
    peer.found.map_or("incoming", zest_runtime_tokio::Found::as_str)
}

/// One line per machine: an address, how it was found, what it has, who it is, and where else it is reached.
fn table(survey: &Survey) -> Vec<String> {
    let mut machines: Vec<Vec<&SurveyPeer>> = Vec::new();
    for peer in &survey.peers {
        let same = |known: &&mut Vec<&SurveyPeer>| peer.peer_id.is_some() && known[0].peer_id == peer.peer_id;
        match machines.iter_mut().find(same) {
            Some(machine) => machine.push(peer),
            None => machines.push(vec![peer]),
        }
    }
    let line = |(peers, files): (Vec<&SurveyPeer>, BTreeMap<usize, (u32, u32)>)| {
        let whole = files.values().filter(|(count, total)| count >= total).count();
        let has = match peers.iter().find_map(|peer| peer.client.as_ref()) {
            None => "no connection".to_owned(),
            Some(client) => format!(
                "{whole} of {}, {}  {client}",
                units::counted(survey.files.len() as u64, "file"),
                units::bytes(bytes(survey, &files))
            ),
        };
        let others: Vec<String> = peers.iter().skip(1).map(|peer| peer.addr.to_string()).collect();
        let also = if others.is_empty() { String::new() } else { format!("  also {}", others.join(", ")) };
        format!("{:<28} {:<8} {has}{also}", peers[0].addr.to_string(), how(peers[0]))
    };
    // Both are in the order in which machines come first.
    machines.into_iter().zip(survey.machines()).map(line).collect()
}

fn sentence(survey: &Survey) -> String {
    let machines = survey.machines();
    let with = machines.iter().filter(|files| !files.is_empty()).count();
    let total = survey.files.iter().map(|file| file.size).sum();
    // Whose address it is shows once there is a connection: it may well be another one of a peer that is known.
    let unmet = survey.peers.iter().filter(|peer| peer.peer_id.is_none() && peer.client.is_none()).count();
    let met = machines.len() - unmet;
    let addresses = match survey.peers.len() - unmet {
        one_each if one_each == met => String::new(),
        more => format!(" at {more} addresses"),
    };
    let unmet = match unmet {
        0 => String::new(),
        1 => "; no connection to 1 more address".to_owned(),
        more => format!("; no connection to {more} more addresses"),
    };
    format!(
        "{} found{addresses}, {with} with something of {} ({}){unmet}",
        units::counted(met as u64, "peer"),
        units::counted(survey.files.len() as u64, "file"),
        units::bytes(total)
    )
}

fn document(label: &str, survey: &Survey) -> Value {
    let files: Vec<Value> =
        survey.files.iter().map(|file| json!({"path": file.path, "size": file.size})).collect();
    let peers: Vec<Value> = survey
        .peers
        .iter()
        .map(|peer| {
            let has: Vec<Value> = peer
                .files
                .iter()
                .map(|(index, (count, total))| {
                    json!({"path": survey.files[*index].path, "chunks": count, "of": total})
                })
                .collect();
            json!({
                "addr": peer.addr,
                "how": how(peer),
                "peer_id": peer.peer_id.map(|id| units::hex(&id.0)),
                "client": peer.client,
                "bytes": bytes(survey, &peer.files),
                "files": has,
            })
        })
        .collect();
    json!({
        "repo": label,
        "commit": survey.commit,
        "shareable": survey.shareable,
        "denied": survey.denied,
        "files": files,
        "peers": peers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_runtime_tokio::{Found, SurveyFile};

    fn survey() -> Survey {
        let file = |path: &str, size| SurveyFile { path: path.to_owned(), size };
        let peer = |addr: &str, found, client: Option<&str>, files: &[(usize, (u32, u32))]| SurveyPeer {
            addr: addr.parse().expect("an address"),
            found,
            peer_id: None,
            client: client.map(str::to_owned),
            files: files.iter().copied().collect::<BTreeMap<_, _>>(),
        };
        Survey {
            commit: "0123".to_owned(),
            shareable: true,
            denied: false,
            files: vec![file("a.bin", 1000), file("b.bin", 200)],
            peers: vec![
                peer("192.0.2.1:6881", Some(Found::Dht), Some("zest/0.5.0"), &[(0, (5, 10)), (1, (1, 1))]),
                peer("192.0.2.2:6881", None, None, &[]),
            ],
        }
    }

    #[test]
    fn the_table_says_who_has_how_much_and_how_it_was_found() {
        let lines = table(&survey());
        assert_eq!(lines[0], "192.0.2.1:6881               dht      1 of 2 files, 700 B  zest/0.5.0");
        assert_eq!(lines[1], "192.0.2.2:6881               incoming no connection");
        let words = "1 peer found, 1 with something of 2 files (1.2 kB); no connection to 1 more address";
        assert_eq!(sentence(&survey()), words);
    }

    #[test]
    fn a_machine_at_two_addresses_is_one_peer() {
        let mut survey = survey();
        let mut other = survey.peers[0].clone();
        other.addr = "[2001:db8::1]:6881".parse().expect("an address");
        // Not every connection has told all when it is counted.
        other.files.remove(&0);
        survey.peers.push(other);
        let unmet = "no connection to 1 more address";
        let words = format!("2 peers found, 2 with something of 2 files (1.2 kB); {unmet}");
        assert_eq!(sentence(&survey), words);
        for at in [0, 2] {
            survey.peers[at].peer_id = Some(PeerId([7; 20]));
        }
        let words = format!("1 peer found at 2 addresses, 1 with something of 2 files (1.2 kB); {unmet}");
        assert_eq!(sentence(&survey), words);
        assert_eq!(survey.machines()[0], survey.peers[0].files);
        let lines = table(&survey);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("zest/0.5.0  also [2001:db8::1]:6881"), "{lines:?}");
        assert_eq!(Shown::default().news(&survey).len(), 1);
        let value = document("org/name", &survey);
        assert_eq!(value["peers"][2]["peer_id"], "07".repeat(20));
        assert_eq!(value["peers"][1]["peer_id"], Value::Null);
    }

    #[test]
    fn a_peer_is_spoken_of_once_as_soon_as_it_has_something() {
        let mut shown = Shown::default();
        let mut now = survey();
        assert_eq!(shown.news(&now), ["found 192.0.2.1:6881 (dht)"]);
        assert!(shown.news(&now).is_empty());
        now.peers[1].files.insert(0, (1, 10));
        assert_eq!(shown.news(&now), ["found 192.0.2.2:6881 (incoming)"]);
    }

    #[test]
    fn the_json_document_names_every_file_a_peer_has() {
        let value = document("org/name", &survey());
        assert_eq!(value["peers"][0]["files"][0]["chunks"], 5);
        assert_eq!(value["peers"][0]["how"], "dht");
        assert_eq!(value["peers"][1]["client"], Value::Null);
    }
}
