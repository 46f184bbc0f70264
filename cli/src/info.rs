//! `zest info`: the files of a repository, what is here already, and what peers have of it.

use crate::address::parse_peer;
use crate::args::RepoArgs;
use crate::discovery::{DiscoveryArgs, Purpose};
use crate::engine::{self, Folders, PullReport, PullRequest, Survey};
use crate::failure::{Failure, Kind};
use crate::pull;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use zest_runtime_tokio::How;

const HELP: &str = "\
Nothing is fetched. A file that is in Xet says so, and how many peers have it; others come from the Hub alone. Nobody is asked \
about a repository that is not readable by everyone.
Exit codes and environment: see `zest --help`.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    of: RepoArgs,

    /// Also ask this peer (repeatable)
    #[arg(help_heading = "Peers", short, long, value_name = "HOST[:PORT]", value_parser = parse_peer)]
    peer: Vec<String>,

    /// Look for peers for at most this many seconds; 0: not at all
    #[arg(help_heading = "Peers", long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(..=3600))]
    wait: u64,

    #[command(flatten)]
    discovery: DiscoveryArgs,
}

/// Files that are shown while peers are looked for: 15, so that it fits a screen.
const KNOWN_MAX: usize = 15;

pub(crate) async fn run(mut args: InfoArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    let env = engine::environment(ui);
    let repo = engine::repo_of(&mut args.of, &env)?;
    let (files, folders) = args.of.files_and_folders();
    let label = repo.to_string();
    let named = repo.clone();
    let discovery = args.discovery.config(Purpose::Pull, &env);
    let request =
        PullRequest::new(repo).revision(args.of.revision).files(files).include(folders).dry_run(true);
    let config =
        engine::config(&env, Folders::of_cache(&env, false).with_mirrors(&args.discovery.public_mirror))?
            .engine(|engine| (engine.discovery, engine.surveys) = (Some(discovery), true));
    let session = pull::start(config, None, args.wait > 0).await?;
    let mut status = ui.status();
    status.show(&format!("asking the Hub about {label} …"), false);
    let asked = async {
        let report = match session.pull(request.clone()).wait().await {
            Ok(report) => report,
            Err(error) => {
                let failure = engine::pull_failure(&error);
                return Err(pull::with_hint_of_no_repo(failure, &session, &env, &request).await);
            }
        };
        if args.wait == 0 {
            return Ok((report, Survey::default()));
        }
        // What is known is shown at once where it can be drawn anew; with the peers of each it is data.
        let looking = format!("looking for peers of {label} …");
        status.show(&looking, false);
        let known = table(&report, &Survey::default()).into_iter().take(KNOWN_MAX);
        let here = sentence(&label, &report, &Survey::default(), false);
        status.board(&known.chain([here, looking]).collect::<Vec<_>>());
        // Links that come up before are not heard of: peers are named here only.
        let survey = session.survey(request.peers(args.peer), Duration::from_secs(args.wait)).await;
        // The files are known; who else has them is beside the point.
        Ok((report, survey.unwrap_or_default().without_doubles()))
    };
    let outcome = tokio::select! {
        outcome = asked => outcome.map(Some),
        () = signals.first() => Ok(None),
    };
    drop(status);
    let denied = session.store().catalog.is_denied(&named);
    session.shutdown().await;
    let Some((report, survey)) = outcome? else { return Err(Failure::new(Kind::Interrupted, "interrupted")) };
    if ui.json() {
        return ui.data(&document(&report, &survey, denied).to_string());
    }
    for line in table(&report, &survey) {
        ui.text(&line)?;
    }
    for notice in &report.notices {
        ui.say(&notice.text);
    }
    ui.say(sentence(&label, &report, &survey, denied));
    Ok(())
}

/// By path of a file in Xet: peers that have all of it, and peers that have some.
fn holders(survey: &Survey) -> BTreeMap<&str, (usize, usize)> {
    let machines = survey.machines();
    let mut holders = BTreeMap::new();
    for (index, file) in survey.files.iter().enumerate() {
        let parts = machines.iter().filter_map(|files| files.get(&index));
        let whole = parts.clone().filter(|(count, total)| count >= total).count();
        holders.insert(file.path.as_str(), (whole, parts.count() - whole));
    }
    holders
}

fn is_here(how: How) -> bool {
    matches!(how, How::Cached | How::Linked)
}

fn table(report: &PullReport, survey: &Survey) -> Vec<String> {
    let holders = holders(survey);
    let line = |file: &zest_runtime_tokio::PulledFile| {
        let here = if is_here(file.how) { "here" } else { "" };
        let peers = match holders.get(file.path.as_str()) {
            None => String::new(),
            Some((0, 0)) => "xet".to_owned(),
            Some((whole, 0)) => format!("xet, {}", units::counted(*whole as u64, "peer")),
            Some((whole, some)) => {
                format!("xet, {} and {some} with a part", units::counted(*whole as u64, "peer"))
            }
        };
        format!("{:>9}  {here:<4}  {}  {peers}", units::bytes(file.size), file.path).trim_end().to_owned()
    };
    report.files.iter().map(line).collect()
}

fn sentence(label: &str, report: &PullReport, survey: &Survey, denied: bool) -> String {
    let sum =
        |here: bool| report.files.iter().filter(|f| is_here(f.how) == here).map(|f| f.size).sum::<u64>();
    let short = report.commit.get(..8).unwrap_or(&report.commit);
    let files = units::counted(report.files.len() as u64, "file");
    let mut text = format!(
        "{label} at {short}: {files}, {} here, {} to fetch",
        units::bytes(sum(true)),
        units::bytes(sum(false))
    );
    let with = survey.machines().iter().filter(|files| !files.is_empty()).count();
    text += &match report.shareable {
        false if denied => "; you denied sharing it: peers were not asked".to_owned(),
        false => "; not readable by everyone: peers were not asked".to_owned(),
        true if survey.commit.is_empty() => String::new(),
        true => format!("; {} with something of it", units::counted(with as u64, "peer")),
    };
    text
}

fn document(report: &PullReport, survey: &Survey, denied: bool) -> Value {
    let holders = holders(survey);
    let files: Vec<Value> = report
        .files
        .iter()
        .map(|file| {
            let peers = holders.get(file.path.as_str());
            json!({
                "path": file.path,
                "size": file.size,
                "here": is_here(file.how),
                "xet": if survey.shareable { Some(peers.is_some()) } else { None },
                "peers": peers.map_or(0, |(whole, some)| whole + some),
                "peers_whole": peers.map_or(0, |(whole, _)| *whole),
            })
        })
        .collect();
    json!({
        "repo": report.repo,
        "revision": report.revision,
        "commit": report.commit,
        "shareable": report.shareable,
        "denied": denied,
        "files": files,
        "notices": report.notices,
    })
}
