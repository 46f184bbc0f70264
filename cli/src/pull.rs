//! `zest pull`: one repository into the cache, with progress, statistics and the folder's path.

use crate::address::PORT_DEFAULT;
use crate::args::{OriginPolicy, PullArgs};
use crate::beside::{self, Handed};
use crate::discovery::Purpose;
use crate::engine::{self, Folders, PullReport, PullRequest, Session, SessionConfig};
use crate::failure::{Failure, Kind};
use crate::hidden_token;
use crate::signals::Signals;
use crate::ui::{self, Ui, units};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use zest_store::Token;

/// With the policy `spare-origin` a pull that is done goes on giving to the machines that fetch the same, until nothing was
/// given for this long: 5 s. Ours; whoever has not asked by then gets it elsewhere.
const GIVE_ON_IDLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(mut args: PullArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let repo = engine::repo_id(&args.of.repo, args.of.kind)?;
    let mut env = engine::environment(ui);
    let named = args.cache_dir.is_some();
    if let Some(dir) = args.cache_dir.take() {
        env.hub_cache = dir;
    }
    if let Some(token) = hidden_token::tokens(args.token.as_slice()).first() {
        ui.hide(token);
        env.token = Token::new(token);
    }
    let label = repo.to_string();
    let request = PullRequest::new(repo)
        .revision(args.of.revision.clone())
        .files(args.of.files.clone())
        .include(args.include.clone())
        .exclude(args.exclude.clone())
        .local_dir(args.local_dir.clone())
        .force(args.force_download)
        .dry_run(args.dry_run)
        .peers(args.peer.clone())
        .p2p(!args.no_p2p)
        .keep_xorbs(args.keep_xorbs);
    match beside::hand_over(&args, &env, &request, &label, &signals, ui).await? {
        Handed::Alone => {}
        Handed::Left => return Ok(()),
        Handed::Done(report) => return show(&report, args.dry_run, ui),
    }
    let p2p = !args.no_p2p && !args.dry_run;
    let discovery = args.discovery.config(Purpose::Pull, &env);
    // Without peers, and without a way to find any, nobody would know of the port: none is opened.
    let listens = p2p && !args.no_listen && (!args.peer.is_empty() || discovery.finds_any());
    let folders = Folders::of_cache(&env, named).with_mirrors(&args.discovery.public_mirror);
    // What is landed meanwhile is given too, wherever it lies.
    let config = engine::config(&env, folders)?.engine(|engine| {
        engine.policy = args.policy.into();
        engine.download_bytes_s = args.max_download;
        engine.upload_bytes_s = args.upload.max_upload;
        engine.upload_budget = engine::upload_budget(&env, &args.upload);
        engine.give_up_after = args.give_up_after;
        engine.discovery = Some(discovery).filter(|_| p2p);
    });
    let session = start(config, args.listen, listens).await?;
    if let Some(addr) = session.local_addrs().first() {
        ui.say(format!("giving to peers on {addr} while fetching"));
    }
    let outcome = pull(&session, request, &label, &signals, ui).await;
    if outcome.is_ok() && args.policy == OriginPolicy::SpareOrigin {
        tokio::select! {
            () = session.give_on(GIVE_ON_IDLE) => {}
            () = signals.first() => {}
        }
    }
    session.shutdown().await;
    show(&outcome?, args.dry_run, ui)
}

/// What a pull did.
fn show(report: &PullReport, dry_run: bool, ui: &Ui) -> Result<(), Failure> {
    if ui.json() {
        return ui.data(&document(report).to_string());
    }
    if dry_run {
        for line in listing(report) {
            ui.data(&line)?;
        }
        ui.say(wanted_sentence(report));
        return Ok(());
    }
    for line in ui::closing_statistics(report) {
        ui.say(line);
    }
    ui.path(&report.path)
}

/// Listens where it is told; else, if it `listens` at all, on the usual port or, if that is taken, on another one. A machine
/// that lets no port be opened pulls all the same.
pub(crate) async fn start(
    mut config: SessionConfig,
    listen: Option<SocketAddr>,
    listens: bool,
) -> Result<Session, Failure> {
    let usual = listens.then(|| engine::everywhere(PORT_DEFAULT));
    config.engine.listen = listen.or(usual).into_iter().collect();
    config.engine.next_port = listen.is_none();
    config.listens_if_it_can = listen.is_none() && listens;
    engine::start(config).await
}

/// Pulls with progress on the screen; the first signal ends it cleanly.
pub(crate) async fn pull(
    session: &Session,
    request: PullRequest,
    label: &str,
    signals: &Signals,
    ui: &Ui,
) -> Result<PullReport, Failure> {
    let pull = session.pull(request);
    let pulling = async {
        tokio::select! {
            outcome = pull.wait() => return outcome,
            () = signals.first() => {}
        }
        ui.say("stopping; press Ctrl-C again to stop at once");
        pull.cancel();
        pull.wait().await
    };
    let following = ui.follow(label, session.give_up_after(), pull.snapshots(), async {
        drop(pull.wait().await);
    });
    let (outcome, ()) = tokio::join!(pulling, following);
    match outcome.map_err(|error| engine::pull_failure(&error)) {
        Err(failure) if signals.seen() => Err(interrupted(failure)),
        outcome => outcome,
    }
}

/// Whatever a pull runs into while it stops, the user stopped it.
pub(crate) fn interrupted(failure: Failure) -> Failure {
    let hint = "run the same command again to go on where it stopped: what is proven is kept";
    match failure.kind {
        Kind::Interrupted => Failure::new(Kind::Interrupted, "interrupted").hint(hint),
        _ => Failure::new(Kind::Interrupted, format_args!("interrupted ({failure})")).hint(hint),
    }
}

/// The report as one JSON object.
fn document(report: &PullReport) -> Value {
    serde_json::to_value(report).expect("a report is plain data")
}

/// What `--dry-run` found: size, how, path.
fn listing(report: &PullReport) -> Vec<String> {
    report
        .files
        .iter()
        .map(|file| format!("{:>10}  {:<7} {}", units::bytes(file.size), file.how.as_str(), file.path))
        .collect()
}

fn wanted_sentence(report: &PullReport) -> String {
    let wanted: Vec<_> = report.files.iter().filter(|file| file.how == engine::How::Wanted).collect();
    let bytes = wanted.iter().map(|file| file.size).sum();
    format!(
        "would fetch {} of {}, {}",
        units::count(wanted.len() as u64),
        units::counted(report.files.len() as u64, "file"),
        units::bytes(bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::How;
    use zest_runtime_tokio::PulledFile;

    fn report() -> PullReport {
        let file = |path: &str, size, how| PulledFile { path: path.to_owned(), size, how };
        PullReport {
            commit: "0123".to_owned(),
            files: vec![file("a.bin", 3_000_000, How::Wanted), file("b \"#.json", 12, How::Cached)],
            from_peers: 3,
            from_cdn: 1,
            given: 7,
            rotten_chunks: 2,
            ..PullReport::default()
        }
    }

    #[test]
    fn the_json_document_has_the_split_and_every_file() {
        let value = document(&PullReport { peers: 2, ..report() });
        assert_eq!(value["peers"], 2);
        assert_eq!(value["bytes"]["total"], 3_000_012);
        assert_eq!(value["bytes"]["from_peers"], 3);
        assert_eq!(value["bytes"]["given"], 7);
        assert_eq!(value["chunks"]["rotten"], 2);
        assert_eq!(value["p2p_ratio"], 0.75);
        assert_eq!(value["files"][1]["path"], "b \"#.json");
        assert_eq!(value["files"][1]["how"], "cached");
        assert!(!value.to_string().contains('\n'), "one line");
    }

    #[test]
    fn a_dry_run_lists_sizes_and_counts_what_is_wanted() {
        assert_eq!(listing(&report())[0], "    3.0 MB  wanted  a.bin");
        assert_eq!(wanted_sentence(&report()), "would fetch 1 of 2 files, 3.0 MB");
    }

    #[test]
    fn a_failure_while_stopping_is_still_an_interruption() {
        let failure = interrupted(Failure::new(Kind::Network, "no route"));
        assert_eq!((failure.kind, failure.message.as_str()), (Kind::Interrupted, "interrupted (no route)"));
    }
}
