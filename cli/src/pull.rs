//! `zest pull`: one repository into the cache, with progress, statistics and the folder's path.

use crate::address::PORT_DEFAULT;
use crate::args::{OriginPolicy, PullArgs};
use crate::discovery::Purpose;
use crate::engine::{self, Progress, PullOptions, PullReport, Session, Settings};
use crate::failure::{Failure, Kind};
use crate::hidden_token;
use crate::sharing::Folders;
use crate::signals::Signals;
use crate::ui::{self, Ui, units};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use zest_store::{Env, Token};

/// With the policy `spare-origin` a pull that is done goes on giving to the machines that fetch the same, until nothing was
/// given for this long: 5 s. Ours; whoever has not asked by then gets it elsewhere.
const GIVE_ON_IDLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: PullArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let repo = engine::repo_id(&args.of.repo, args.of.kind)?;
    let mut env = engine::environment(ui);
    let named = args.cache_dir.is_some();
    if let Some(dir) = args.cache_dir {
        env.hub_cache = dir;
    }
    if let Some(token) = hidden_token::tokens(args.token.as_slice()).first() {
        ui.hide(token);
        env.token = Token::new(token);
    }
    let label = repo.to_string();
    let options = PullOptions {
        repo,
        revision: args.of.revision.clone(),
        files: args.of.files,
        include: args.include,
        exclude: args.exclude,
        local_dir: args.local_dir,
        env: env.clone(),
        force: args.force_download,
        dry_run: args.dry_run,
        peers: args.peer,
        p2p: !args.no_p2p,
        keep_xorbs: args.keep_xorbs,
    };
    let p2p = !args.no_p2p && !args.dry_run;
    let discovery = args.discovery.config(Purpose::Pull, &env);
    // Without peers, and without a way to find any, nobody would know of the port: none is opened.
    let listens = p2p && !args.no_listen && (!options.peers.is_empty() || discovery.finds_any());
    let settings = Settings {
        policy: args.policy.into(),
        max_download: args.max_download,
        upload: args.upload,
        give_up_after: Some(args.give_up_after),
        discovery: Some(discovery).filter(|_| p2p),
        next_port: args.listen.is_none(),
        // What is landed meanwhile is given too, wherever it lies.
        folders: Folders::of_cache(&env, named).with_mirrors(&args.discovery.public_mirror),
        ..Settings::default()
    };
    let session = start(&env, args.listen, listens, &settings).await?;
    if let Some(addr) = session.local_addrs().first() {
        ui.say(format!("giving to peers on {addr} while fetching"));
    }
    let outcome = pull(&session, options, &label, &signals, ui).await;
    if outcome.is_ok() && args.policy == OriginPolicy::SpareOrigin {
        tokio::select! {
            () = session.give_on(GIVE_ON_IDLE) => {}
            () = signals.first() => {}
        }
    }
    session.shutdown().await;
    let pulled = outcome?;

    if ui.json() {
        return ui.data(&document(&label, &args.of.revision, args.dry_run, &pulled).to_string());
    }
    let report = pulled.report;
    if args.dry_run {
        for line in listing(&report) {
            ui.data(&line)?;
        }
        ui.say(wanted_sentence(&report));
        return Ok(());
    }
    for line in ui::closing_statistics(&report) {
        ui.say(line);
    }
    ui.path(&report.path)
}

/// Listens where it is told; else, if it `listens` at all, on the usual port or, if that is taken, on another one. A machine
/// that lets no port be opened pulls all the same.
pub(crate) async fn start(
    env: &Env,
    listen: Option<SocketAddr>,
    listens: bool,
    settings: &Settings,
) -> Result<Session, Failure> {
    if listen.is_some() || !listens {
        return Session::start(env, listen.as_slice(), settings).await;
    }
    let fixed = settings.discovery.as_ref().and_then(|discovery| discovery.dht.as_ref()?.port);
    match Session::start_everywhere(env, PORT_DEFAULT, settings).await {
        Err(failure) if failure.kind == Kind::Network && fixed.is_none() => {
            Session::start(env, &[], settings).await
        }
        outcome => outcome,
    }
}

/// A pull that ended well.
pub(crate) struct Pulled {
    pub(crate) report: PullReport,
    /// What did not answer for a while.
    pub(crate) outages: Vec<Value>,
    /// The largest number of peers linked at once.
    pub(crate) peers_max: u32,
}

/// Pulls with progress on the screen; the first signal ends it cleanly.
pub(crate) async fn pull(
    session: &Session,
    options: PullOptions,
    label: &str,
    signals: &Signals,
    ui: &Ui,
) -> Result<Pulled, Failure> {
    let (sender, progress) = watch::channel(Progress::default());
    let cancel = engine::CancelToken::new();
    let pulling = async {
        let pulling = session.pull(options, sender, cancel.clone());
        tokio::pin!(pulling);
        tokio::select! {
            outcome = &mut pulling => return outcome,
            () = signals.first() => {}
        }
        ui.say("stopping; press Ctrl-C again to stop at once");
        cancel.cancel();
        pulling.await
    };
    let (outcome, seen) = tokio::join!(pulling, ui.follow(label, session.give_up_after(), progress));
    match outcome {
        Ok(report) => Ok(Pulled { report, outages: seen.outages, peers_max: seen.peers_max }),
        Err(failure) if signals.seen() => Err(interrupted(failure)),
        Err(failure) => Err(failure),
    }
}

/// Whatever a pull runs into while it stops, the user stopped it.
fn interrupted(failure: Failure) -> Failure {
    let hint = "run the same command again to go on where it stopped: what is proven is kept";
    match failure.kind {
        Kind::Interrupted => Failure::new(Kind::Interrupted, "interrupted").hint(hint),
        _ => Failure::new(Kind::Interrupted, format_args!("interrupted ({failure})")).hint(hint),
    }
}

/// The report as one JSON object.
fn document(label: &str, revision: &str, dry_run: bool, pulled: &Pulled) -> Value {
    let report = &pulled.report;
    let files: Vec<Value> = report
        .files
        .iter()
        .map(|file| json!({"path": file.path, "size": file.size, "how": file.how.as_str()}))
        .collect();
    json!({
        "repo": label,
        "revision": revision,
        "commit": report.commit,
        "path": report.path.to_string_lossy(),
        "dry_run": dry_run,
        "files": files,
        "bytes": {
            "total": report.files.iter().map(|file| file.size).sum::<u64>(),
            "from_peers": report.from_peers,
            "from_cdn": report.from_cdn,
            "from_disk": report.from_disk,
            "given": report.given,
        },
        "chunks": {
            "from_peers": report.chunks_from_peers,
            "from_cdn": report.chunks_from_cdn,
            "from_disk": report.chunks_from_disk,
            "bad": report.bad_chunks,
            "rotten": report.rotten_chunks,
        },
        "p2p_ratio": ui::p2p_ratio(report),
        "cdn_wire_bytes": report.cdn_wire_bytes,
        "peers": pulled.peers_max,
        "peers_banned": report.peers_banned,
        "shareable": report.shareable,
        "outages": pulled.outages,
        "notices": report.notices.iter().map(notice).collect::<Vec<_>>(),
        "elapsed_s": report.elapsed.as_secs_f64(),
    })
}

fn notice(notice: &engine::Notice) -> Value {
    json!({"kind": notice.kind, "path": notice.path, "text": notice.text})
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
    use crate::engine::{How, PulledFile};

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
        let value =
            document("a/b", "main", false, &Pulled { report: report(), outages: Vec::new(), peers_max: 2 });
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
