//! `zest pull`: one repository into the cache, with progress, statistics and the folder's path.

use crate::address::PORT_DEFAULT;
use crate::args::{OriginPolicy, PullArgs};
use crate::beside::{self, Handed};
use crate::discovery::Purpose;
use crate::engine::{self, Folders, Phase, PullReport, PullRequest, Session, SessionConfig};
use crate::failure::{self, Failure};
use crate::first_run;
use crate::hidden_token;
use crate::signals::Signals;
use crate::ui::{self, Landed, Ui, units};
use futures_util::StreamExt as _;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use zest_runtime_tokio::{Notice, PullError, PullEvent};
use zest_store::{Env, RepoId, RepoType, Token};

/// A pull that is done goes on giving to the machines that fetch the same, until nothing was given for this long: 5 s. Ours;
/// whoever has not asked by then gets it elsewhere.
const GIVE_ON_IDLE: Duration = Duration::from_secs(5);
/// With the policy `fastest` nobody waits for others longer than this part of what the pull took: a tenth. Ours. Who follows what
/// this machine streams is behind it by a moment, and would have to fetch the rest from the CDN.
const GIVE_ON_PART: u32 = 10;
/// But at least, and at the most, so long: 1 s and 15 s. Ours.
const GIVE_ON_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// From when on it is said: 300 ms. Ours.
const GIVE_ON_SAID: Duration = Duration::from_millis(300);

pub(crate) async fn run(args: PullArgs, ui: &Ui) -> Result<(), Failure> {
    match fetch(args, ui).await? {
        Some((report, only)) => show(&report, only.as_deref(), ui),
        None => Ok(()),
    }
}

/// Pulls, here or by the daemon; with the one file that was named, if one was. Nothing where that was left with the daemon, or is shown.
pub(crate) async fn fetch(args: PullArgs, ui: &Ui) -> Result<Option<(PullReport, Option<String>)>, Failure> {
    let in_local_dir = args.local_dir.is_some();
    fetch_there(args, ui).await.map_err(|mut failure| {
        if in_local_dir {
            // Another cache would change nothing.
            failure.hint = failure.hint.map(|hint| hint.replace("--cache-dir", "--local-dir"));
        }
        failure
    })
}

async fn fetch_there(mut args: PullArgs, ui: &Ui) -> Result<Option<(PullReport, Option<String>)>, Failure> {
    let signals = Signals::listen(ui)?;
    let mut env = engine::environment(ui);
    let repo = engine::repo_of(&mut args.of, &env)?;
    let guessed = args.of.kind.is_none() && repo_names_no_kind(&args.of.repo);
    let (files, folders) = args.of.files_and_folders();
    let only = match (&files[..], args.dry_run) {
        ([file], false) if folders.is_empty() => Some(file.clone()),
        _ => None,
    };
    let patterns = args.include.len() + args.exclude.len();
    if !files.is_empty() && patterns > 0 {
        ui.warn("--include and --exclude are ignored, as files are named one by one (hf does the same)");
        args.include.clear();
        args.exclude.clear();
    }
    args.include.extend(folders);
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
        .files(files)
        .include(args.include.clone())
        .exclude(args.exclude.clone())
        .local_dir(args.local_dir.clone())
        .force(args.force_download)
        .dry_run(args.dry_run)
        .peers(args.peer.clone())
        .p2p(!args.no_p2p)
        .policy(args.policy.map(Into::into))
        .keep_xorbs(args.keep_xorbs);
    match beside::hand_over(&mut args, &env, &request, &label, &signals, ui).await? {
        Handed::Alone => {}
        Handed::Left => return Ok(None),
        Handed::Done(report) => return Ok(Some((*report, only))),
    }
    let p2p = !args.no_p2p && !args.dry_run;
    let discovery = args.discovery.config(Purpose::Pull, &env);
    // Without peers, and without a way to find any, nobody would know of the port: none is opened.
    let listens = p2p && !args.no_listen && (!args.peer.is_empty() || discovery.finds_any());
    let folders = Folders::of_cache(&env, named).with_mirrors(&args.discovery.public_mirror);
    // What is landed meanwhile is given too, wherever it lies.
    let config = engine::config(&env, folders)?.engine(|engine| {
        args.tell(engine);
        engine.upload_budget = engine::upload_budget(&env, &args.upload);
        engine.discovery = Some(discovery).filter(|_| p2p);
    });
    let heard_of = config.engine.discovery.clone();
    let session = start(config, args.listen, listens).await?;
    if p2p {
        first_run::of_pull(&env, session.local_addrs().first(), heard_of.as_ref(), ui);
    }
    let mut outcome = pull(&session, request.clone(), &label, &signals, ui, args.events).await;
    if let Err(failure) = &mut outcome
        && failure.no_repo
    {
        outcome = match other_kind(&session, &request).await {
            Some(repo) if guessed => {
                ui.warn(format!("there is no model {label}, but {repo}: fetching that (--type says it)"));
                let label = repo.to_string();
                let mut request = request.clone();
                request.repo = repo;
                pull(&session, request, &label, &signals, ui, args.events).await
            }
            other => {
                failure.hint = Some(no_repo_hint(other.as_ref(), &env, &request.repo));
                outcome
            }
        };
    }
    if let Ok(report) = &outcome {
        give_on(&session, report, args.policy, &signals, ui).await;
    }
    session.shutdown().await;
    let report = outcome?;
    // The last event was the report.
    Ok((!args.events).then_some((report, only)))
}

/// How long a pull that took so long gives on at most.
fn gives_on_for(policy: Option<OriginPolicy>, took: Duration) -> Duration {
    match policy {
        Some(OriginPolicy::SpareOrigin) => Duration::MAX,
        _ => (took / GIVE_ON_PART).clamp(GIVE_ON_FOR.0, GIVE_ON_FOR.1),
    }
}

/// Gives on to machines that fetch the same, for as long as the policy allows.
async fn give_on(
    session: &Session,
    report: &PullReport,
    policy: Option<OriginPolicy>,
    signals: &Signals,
    ui: &Ui,
) {
    let at_most = gives_on_for(policy, report.elapsed);
    let says = async {
        // Nobody wants to read of a moment.
        tokio::time::sleep(GIVE_ON_SAID).await;
        ui.say("all is here; uploading on to machines that fetch the same (Ctrl-C ends that)");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = session.give_on(GIVE_ON_IDLE.min(at_most / 2)) => {}
        () = tokio::time::sleep(at_most) => {}
        () = signals.first() => {}
        () = says => {}
    }
}

/// What is said to who names a repository that is not there, or not shown.
fn no_repo_hint(other: Option<&RepoId>, env: &Env, repo: &RepoId) -> String {
    let page = engine::page(env, repo);
    match other {
        Some(other) => format!("there is {other}: name that; this one would be at {page}"),
        None => format!(
            "look whether the name is right at {page}; is it a model, a dataset or a space? --type says which; \
             private and gated ones need HF_TOKEN or `hf auth login`"
        ),
    }
}

/// The same for who only asks about it.
pub(crate) async fn with_hint_of_no_repo(
    mut failure: Failure,
    session: &Session,
    env: &Env,
    request: &PullRequest,
) -> Failure {
    if failure.no_repo {
        let other = other_kind(session, request).await;
        failure.hint = Some(no_repo_hint(other.as_ref(), env, &request.repo));
    }
    failure
}

/// Whether the name leaves open what kind of repository it is.
fn repo_names_no_kind(text: &str) -> bool {
    !["models/", "datasets/", "spaces/"].iter().any(|prefix| text.contains(prefix))
}

/// The only repository of another kind with the name of one that is not there, if the Hub shows one.
async fn other_kind(session: &Session, request: &PullRequest) -> Option<RepoId> {
    let mut found = Vec::new();
    for kind in RepoType::ALL.into_iter().filter(|kind| *kind != request.repo.kind) {
        let repo = RepoId { kind, ..request.repo.clone() };
        // It is listed, and nothing else: what is named of it may be missing.
        let mut look = request.clone();
        look.repo = repo.clone();
        let look = look.files(Vec::new()).include(vec!["no file/".to_owned()]).dry_run(true).p2p(false);
        match session.pull(look).wait().await {
            Ok(_) => found.push(repo),
            Err(error) if matches!(&*error, PullError::NothingSelected { .. }) => found.push(repo),
            Err(_) => {}
        }
    }
    found.pop().filter(|_| found.is_empty())
}

/// What a pull did, and where it is: the one file that was named, or the folder.
fn show(report: &PullReport, only: Option<&str>, ui: &Ui) -> Result<(), Failure> {
    if ui.json() {
        let mut report = report.clone();
        let said = ui.warnings().into_iter();
        report.notices.extend(said.map(|(kind, text)| Notice { kind: kind.into(), path: None, text }));
        return ui.data(&document(&report).to_string());
    }
    if report.dry_run {
        for line in listing(report) {
            ui.data(&line)?;
        }
        ui.say(wanted_sentence(report));
        return Ok(());
    }
    for line in ui::closing_statistics(report) {
        ui.say(line);
    }
    match only.filter(|_| ui.quiet()) {
        Some(file) => ui.path(&report.path.join(file)),
        None => ui.path(&report.path),
    }
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
    events: bool,
) -> Result<PullReport, Failure> {
    let pull = session.pull(request);
    let landed = Landed::default();
    let pulling = async {
        tokio::select! {
            outcome = pull.wait() => return outcome,
            () = signals.first() => {}
        }
        ui.say("stopping; press Ctrl-C again to stop at once");
        pull.cancel();
        pull.wait().await
    };
    let (over, ended) = tokio::sync::oneshot::channel::<()>();
    let hearing = async {
        let mut all = pull.progress();
        while let Some(event) = all.next().await {
            if events {
                let line = serde_json::to_string(&event).expect("an event is plain data");
                // Nobody is left to hear that standard output is gone.
                let _closed = ui.data(&line);
            }
            if let PullEvent::File(file) = event {
                landed.push(file);
            }
        }
        drop(over);
    };
    let following = ui.follow(label, session.give_up_after(), pull.snapshots(), &landed, async {
        let _either_way = ended.await;
    });
    let giving = async {
        // What did nothing gave nothing: it is said once something is fetched.
        let mut progress = pull.snapshots();
        let shareable = progress.wait_for(|now| now.phase == Phase::Fetching).await.map(|now| now.shareable);
        if let (Some(addr), Ok(shareable)) = (session.local_addrs().first(), shareable) {
            let but = if shareable { String::new() } else { format!(", and nothing of {label}") };
            ui.say(format!("uploading to peers from {addr} while fetching{but}"));
        }
        std::future::pending::<()>().await;
    };
    let all = async { tokio::join!(pulling, following, hearing).0 };
    let outcome = tokio::select! {
        outcome = all => outcome,
        () = giving => unreachable!("it never ends"),
    };
    match outcome.map_err(|error| engine::pull_failure(&error)) {
        Err(failure) if signals.seen() => Err(failure::interrupted(failure)),
        outcome => outcome,
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

    #[test]
    fn who_does_not_spare_the_origin_gives_on_for_a_tenth_of_what_the_pull_took() {
        let seconds = Duration::from_secs;
        for (took, at_most) in [(0, 1), (9, 1), (40, 4), (150, 15), (7200, 15)] {
            assert_eq!(gives_on_for(None, seconds(took)), seconds(at_most));
            assert_eq!(gives_on_for(Some(OriginPolicy::Fastest), seconds(took)), seconds(at_most));
        }
        assert_eq!(gives_on_for(Some(OriginPolicy::SpareOrigin), seconds(1)), Duration::MAX);
    }

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
}
