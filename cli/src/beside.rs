//! `zest pull` beside a daemon of the same user and cache: the work is the daemon's, the screen is ours.

use crate::args::PullArgs;
use crate::discovery::Purpose;
use crate::engine::{Progress, PullReport, PullRequest};
use crate::failure::{self, Failure, Kind};
use crate::signals::Signals;
use crate::ui::{Landed, Ui, units};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use zest_daemon::{Client, Environment, Places, Ways};
use zest_runtime_tokio::{PullEvent, PullFailure};
use zest_store::Env;

/// Pause before a broken stream of events is opened again: 200 ms.
const AGAIN: Duration = Duration::from_millis(200);

/// Tries to open it again before the daemon counts as gone: 5.
const TRIES: u32 = 5;

/// What became of a pull.
pub(crate) enum Handed {
    /// Nobody is there to take it, or to finish it.
    Alone,
    /// It was left with the daemon.
    Left,
    /// It is done.
    Done(Box<PullReport>),
}

/// How the daemon's pull ended.
enum End {
    Done(Box<PullReport>),
    Failed(PullFailure),
    /// The daemon is gone, or going.
    Gone(String),
}

/// Hands a pull over, if there is a daemon that does the same as this process would.
///
/// # Errors
/// The pull failed, or was ended; `--detach` without a daemon.
pub(crate) async fn hand_over(
    args: &mut PullArgs,
    env: &Env,
    request: &PullRequest,
    label: &str,
    signals: &Signals,
    ui: &Ui,
) -> Result<Handed, Failure> {
    if args.no_daemon {
        return Ok(Handed::Alone);
    }
    let client = match Client::find(&Places::new(&env.zest_cache)).await {
        Ok(Some(client)) => client,
        Ok(None) => return alone(args, None, ui),
        Err(error) => return alone(args, Some(error.to_string()), ui),
    };
    let status = match client.ask(Method::GET, "/v1/status", None, &[]).await {
        Ok(answer) if answer.is_good() => answer.body,
        Ok(answer) => return alone(args, Some(format!("it answers with status {}", answer.status)), ui),
        Err(error) => return alone(args, Some(error.to_string()), ui),
    };
    if let Some(why) = why_alone(args, env, &status) {
        return alone(args, Some(why), ui);
    }
    let (body, token) = match document(request, env) {
        Ok(document) => document,
        Err(why) => return alone(args, Some(why), ui),
    };
    let begun = client.ask(Method::POST, "/v1/pull", Some(&body), &[("x-hf-token", &token)]).await;
    let pull = match begun {
        Ok(answer) if answer.status == 202 => answer.body,
        // It is about to end, or has all that it can do.
        Ok(answer) if answer.status >= 500 => {
            return alone(args, Some(format!("it answers with status {}", answer.status)), ui);
        }
        Ok(answer) => return Err(refused(&answer.body)),
        Err(error) => return alone(args, Some(error.to_string()), ui),
    };
    let id = pull["id"].as_u64().unwrap_or_default();
    if args.detach {
        if ui.json() {
            ui.data(&json!({"event": "handed-over", "id": id}).to_string())?;
        } else {
            ui.say(format!("pull {id} goes on in the background; `zest status` shows it"));
        }
        return Ok(Handed::Left);
    }
    ui.say(format!("pulling through the zest in the background (pull {id} at http://{})", client.addr()));
    let patience = status["give_up_after_s"].as_f64().and_then(|it| Duration::try_from_secs_f64(it).ok());
    let patience = patience.unwrap_or(args.give_up_after);
    match follow(&client, id, label, patience, signals, ui).await {
        End::Done(report) => Ok(Handed::Done(report)),
        End::Failed(failure) if signals.seen() => Err(failure::interrupted(failure_of(failure))),
        End::Failed(failure) => Err(failure_of(failure)),
        End::Gone(_) if signals.seen() => {
            Err(failure::interrupted(Failure::new(Kind::Interrupted, "interrupted")))
        }
        End::Gone(why) => {
            let kept = keep_limits(args, &status);
            let kept = if kept.is_empty() { kept } else { format!(", as it did with {kept}") };
            tracing::warn!(target: zest_store::SAID, kind = "daemon-gone", "going on alone{kept}: {why}");
            Ok(Handed::Alone)
        }
    }
}

/// Without the daemon. Why is said if there is one.
fn alone(args: &PullArgs, why: Option<String>, ui: &Ui) -> Result<Handed, Failure> {
    if args.detach {
        let (why, hint) = match why {
            None => (
                "zest does not run in the background".to_owned(),
                "`zest start` runs it there; without --detach the pull is done here",
            ),
            Some(why) => (why, "without --detach the pull is done here"),
        };
        return Err(
            Failure::new(Kind::Usage, format_args!("the pull cannot be handed over: {why}")).hint(hint)
        );
    }
    if let Some(why) = why {
        ui.say(format!("pulling without the zest in the background: {why}"));
    }
    Ok(Handed::Alone)
}

/// Whoever set a daemon limits means them for what goes on without it, too. Gives those that are kept, in words.
fn keep_limits(args: &mut PullArgs, status: &Value) -> String {
    let mut kept = Vec::new();
    let caps = [("max_download", &mut args.max_download), ("max_upload", &mut args.upload.max_upload)];
    for (name, ours) in caps {
        if let Some(theirs) = status[name].as_u64().filter(|_| ours.is_none()) {
            *ours = Some(theirs);
            kept.push(format!("--{} {}/s", name.replace('_', "-"), units::bytes(theirs)));
        }
    }
    if status["nice"] == true && !std::mem::replace(&mut args.nice, true) {
        kept.push("--nice".to_owned());
    }
    let ways: Option<Ways> = serde_json::from_value(status["ways"].clone()).ok();
    kept.extend(ways.iter().flat_map(|ways| args.discovery.narrow(ways)).map(str::to_owned));
    kept.join(", ")
}

/// Why a daemon would do something else than this process.
fn why_alone(args: &PullArgs, env: &Env, status: &Value) -> Option<String> {
    if status["stopping"] == true {
        return Some("it is stopping".to_owned());
    }
    let theirs: Option<Environment> = serde_json::from_value(status["environment"].clone()).ok();
    let ways: Option<Ways> = serde_json::from_value(status["ways"].clone()).ok();
    let (Some(theirs), Some(ways)) = (theirs, ways) else {
        return Some("it is of another version".to_owned());
    };
    let ours = Environment::of(env);
    let switches = [
        ("HF_HUB_OFFLINE", ours.offline, theirs.offline),
        ("HF_HUB_DISABLE_SYMLINKS", ours.disable_symlinks, theirs.disable_symlinks),
        ("HF_HUB_DISABLE_SHARED_BLOBS", ours.disable_shared_blobs, theirs.disable_shared_blobs),
        ("HF_HUB_DISABLE_XET", ours.disable_xet, theirs.disable_xet),
    ];
    if let Some((name, ..)) = switches.iter().find(|(_, ours, theirs)| ours != theirs) {
        return Some(format!("{name} is another one there"));
    }
    let differs = |cap: Option<u64>, name: &str| cap.is_some() && cap != status[name].as_u64();
    let flags = [
        ("--listen", args.listen.is_some()),
        ("--no-listen", args.no_listen),
        ("--tracker", !args.discovery.tracker.is_empty()),
        ("--bootstrap", !args.discovery.bootstrap.is_empty()),
        ("--dht-port", args.discovery.dht_port.is_some()),
        ("--public-mirror", !args.discovery.public_mirror.is_empty() && theirs.endpoint != ours.endpoint),
        ("--max-upload", differs(args.upload.max_upload, "max_upload")),
        ("--max-download", differs(args.max_download, "max_download")),
        ("--nice", args.nice && status["nice"] != true),
        ("--upload-budget", args.upload.upload_budget.is_some()),
        ("--max-peers", args.upload.max_peers.is_some()),
        ("--events", args.events),
    ];
    if let Some((flag, _)) = flags.iter().find(|(_, is_set)| *is_set) {
        return Some(format!(
            "{flag} is for a process of its own: what runs there keeps what it was started with"
        ));
    }
    // What is kept from a way of finding peers here is kept from it there.
    let wanted = Ways::of(&args.discovery.config(Purpose::Pull, env));
    let kept = [
        ("DHT", ways.dht && !wanted.dht),
        ("local network", ways.lan && !wanted.lan),
        ("trackers", ways.trackers > 0 && (wanted.local_only || args.no_p2p)),
        ("world", wanted.local_only && !ways.local_only),
    ];
    let way = kept.iter().find(|(_, differs)| *differs && !args.no_p2p)?;
    Some(format!("it finds peers in the {}, and this pull is not to", way.0))
}

/// The request for the daemon, with everything that depends on where and as whom this process runs, and the token, empty for
/// none; or why it cannot be said to it.
fn document(request: &PullRequest, env: &Env) -> Result<(Value, String), String> {
    let mut request = request.clone();
    // A folder is kept as bytes here, and told as text there.
    let as_text = |path: &std::path::Path| {
        let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if path.to_str().is_some() { Ok(path) } else { Err(format!("{} is no text", path.display())) }
    };
    request.cache_dir = Some(as_text(&env.hub_cache)?);
    request.local_dir = request.local_dir.as_deref().map(as_text).transpose()?;
    request.endpoint = Some(env.endpoint.clone());
    let body = serde_json::to_value(&request).map_err(|error| error.to_string())?;
    let token = env.token.as_ref().map(|token| token.as_str().to_owned()).unwrap_or_default();
    Ok((body, token))
}

/// Shows the daemon's pull as if it were ours. The first signal ends it.
async fn follow(
    client: &Client,
    id: u64,
    label: &str,
    patience: Duration,
    signals: &Signals,
    ui: &Ui,
) -> End {
    let (tell, progress) = watch::channel(Progress::default());
    let (over, ended) = oneshot::channel::<()>();
    let landed = Landed::default();
    let following = ui.follow(label, patience, progress, &landed, async {
        let _either_way = ended.await;
    });
    let listening = async {
        let end = listen(client, id, &tell, &landed, signals, ui).await;
        drop(over);
        end
    };
    tokio::join!(listening, following).0
}

async fn listen(
    client: &Client,
    id: u64,
    tell: &watch::Sender<Progress>,
    landed: &Landed,
    signals: &Signals,
    ui: &Ui,
) -> End {
    let path = format!("/v1/pulls/{id}");
    let (mut after, mut tries, mut cancelled) = (None::<String>, 0, false);
    loop {
        match client.events(&format!("{path}/events"), after.as_deref()).await {
            Ok(mut events) => loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = signals.first(), if !cancelled => {
                        cancelled = true;
                        ui.say("stopping; press Ctrl-C again to stop at once");
                        let _gone = client.ask(Method::POST, &format!("{path}/cancel"), None, &[]).await;
                        continue;
                    }
                };
                let Some((number, data)) = event else { break };
                tries = 0;
                after = number.or(after);
                match serde_json::from_str(&data) {
                    Ok(PullEvent::Progress(now)) => drop(tell.send_replace(now)),
                    Ok(PullEvent::File(file)) => landed.push(file),
                    Ok(PullEvent::Done(report)) => return End::Done(report),
                    Ok(PullEvent::Failed(failure)) => return failed(client, failure, cancelled).await,
                    // The others stand in the pictures, too; what a newer daemon says besides is not for us.
                    _ => {}
                }
            },
            // An end that was told already, or nobody there.
            Err(error) => {
                let status = client.ask(Method::GET, &path, None, &[]).await;
                match status.map(|status| end_of(&status.body)) {
                    Ok(Some(End::Failed(failure))) => return failed(client, failure, cancelled).await,
                    Ok(Some(end)) => return end,
                    _ if tries >= TRIES => return End::Gone(error.to_string()),
                    _ => {}
                }
            }
        }
        tries += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

/// How a pull ended, by its status.
fn end_of(status: &Value) -> Option<End> {
    let report = || serde_json::from_value(status["report"].clone()).ok().map(|it| End::Done(Box::new(it)));
    let failure = || serde_json::from_value(status["failure"].clone()).ok().map(End::Failed);
    report().or_else(failure)
}

/// A pull that ended with its daemon did not fail.
async fn failed(client: &Client, failure: PullFailure, cancelled: bool) -> End {
    if cancelled || !matches!(failure.kind.as_str(), "interrupted" | "other") {
        return End::Failed(failure);
    }
    match client.ask(Method::GET, "/readyz", None, &[]).await {
        Ok(answer) if answer.is_good() => End::Failed(failure),
        _ => End::Gone("the zest in the background is ending".to_owned()),
    }
}

/// What the API objects to.
fn refused(body: &Value) -> Failure {
    let text = |name: &str| body["error"][name].as_str();
    let failure =
        Failure::new(Kind::of_word(text("kind").unwrap_or_default()), text("message").unwrap_or("refused"));
    match text("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The daemon's failure as ours.
fn failure_of(failure: PullFailure) -> Failure {
    Failure {
        kind: Kind::of_word(&failure.kind),
        message: failure.message,
        hint: failure.hint,
        retry_after: failure.retry_after_s.and_then(|wait| Duration::try_from_secs_f64(wait).ok()),
        files: failure.files,
        no_repo: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Cli, Command};
    use clap::Parser as _;

    fn args(line: &str) -> PullArgs {
        let words = std::iter::once("zest").chain(["pull", "a/b"]).chain(line.split_whitespace());
        match Cli::try_parse_from(words).expect("valid").command {
            Command::Pull(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn env() -> Env {
        Env::from_map(&[("HOME".to_owned(), "/h".to_owned())].into())
    }

    fn status() -> Value {
        let ways = Ways { lan: true, ..Ways::default() };
        json!({
            "environment": Environment::of(&env()), "ways": ways,
            "policy": "fastest", "max_upload": 1_000_000, "max_download": null, "stopping": false,
        })
    }

    #[test]
    fn a_daemon_that_would_do_the_same_gets_the_pull_and_another_does_not() {
        let why = |line: &str| why_alone(&args(line), &env(), &status());
        for line in
            ["", "--force-download", "--peer a", "--max-upload 1M", "--no-p2p", "--policy spare-origin"]
        {
            assert_eq!(why(line), None, "{line}");
        }
        for line in [
            "--listen 127.0.0.1",
            "--no-listen",
            "--max-upload 2M",
            "--max-download 1M",
            "--nice",
            "--no-lan",
            "--lan-only",
        ] {
            assert!(why(line).is_some(), "{line}");
        }
        let mut offline = env();
        offline.offline = true;
        assert!(why_alone(&args(""), &offline, &status()).is_some_and(|why| why.contains("HF_HUB_OFFLINE")));
        assert!(why_alone(&args(""), &env(), &json!({})).is_some(), "another version");
    }

    #[test]
    fn a_pull_that_outlives_its_daemon_keeps_what_limited_it() {
        let mut status = status();
        status["max_download"] = json!(2_000_000);
        status["nice"] = json!(true);
        let mut alone = args("--max-upload 3M");
        assert_eq!(keep_limits(&mut alone, &status), "--max-download 2.0 MB/s, --nice, --no-dht");
        assert_eq!((alone.max_download, alone.upload.max_upload), (Some(2_000_000), Some(3_000_000)));
        let ways = Ways::of(&alone.discovery.config(Purpose::Pull, &env()));
        assert!(alone.nice && ways.lan && !ways.dht);
        // Nothing limits it: nothing is said of it.
        let ways = Ways::of(&args("").discovery.config(Purpose::Pull, &env()));
        let status = json!({"ways": ways, "max_upload": null, "max_download": null, "nice": null});
        assert_eq!(keep_limits(&mut args(""), &status), "");
    }

    #[test]
    fn a_request_says_everything_that_depends_on_this_process() {
        let request = PullRequest::model("a/b").expect("a name").local_dir(Some("x".into()));
        let mut env = env();
        env.token = zest_store::Token::new("hf_of_this_shell");
        let (body, token) = document(&request, &env).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(token, "hf_of_this_shell");
        assert!(!body.to_string().contains("hf_of_this_shell"), "{body}");
        assert!(body["local_dir"].as_str().is_some_and(|dir| dir.starts_with('/') && dir.ends_with("/x")));
        assert_eq!((&body["cache_dir"], &body["endpoint"]), (&json!(env.hub_cache), &json!(env.endpoint)));
    }

    #[test]
    fn a_failure_of_the_daemon_has_the_exit_code_of_our_own() {
        let answer = json!({"error": {"kind": "not-found", "message": "no such thing", "hint": null}});
        let failure: PullFailure = serde_json::from_value(answer["error"].clone()).expect("plain data");
        assert_eq!(failure_of(failure).kind, Kind::NotFound);
        assert_eq!(refused(&answer).kind, Kind::NotFound);
        assert_eq!(refused(&Value::Null).kind, Kind::Other);
    }
}
