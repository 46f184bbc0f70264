//! `zest start`, `stop`, `status` and `logs`: the daemon as people handle it.

use crate::args::{DaemonArgs, LogsArgs, StatusArgs, StopArgs};
use crate::daemon::{doors, failure, url};
use crate::engine;
use crate::failure::{Failure, Kind, disk};
use crate::held::Held;
use crate::os;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zest_daemon::{Client, Places, Running};

/// Time between two looks at a daemon that begins or ends: 20 ms.
const LOOK: Duration = Duration::from_millis(20);

/// How long a daemon may take until it answers: 30 s. One with a large catalog on a cold disk needs seconds.
const START_WAIT: Duration = Duration::from_secs(30);

/// After so long it is said what is still waited for: 5 s.
const STOP_SAY: Duration = Duration::from_secs(5);

/// How long an end may take: 60 s.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// Time between two pictures of `status --watch`: 1 s.
const WATCH: Duration = Duration::from_secs(1);

/// Time between two looks at a log: 200 ms.
const FOLLOW: Duration = Duration::from_millis(200);

/// What of a log is read to find its last lines, at most: 1 MiB.
const TAIL_BYTES: u64 = 1 << 20;

fn places(ui: &Ui) -> Places {
    Places::new(&engine::environment(ui).zest_cache)
}

fn find(places: &Places) -> Result<Option<Running>, Failure> {
    Running::find(places).map_err(|error| failure(&error))
}

/// `zest start`.
pub(crate) async fn start(args: DaemonArgs, ui: &Ui) -> Result<(), Failure> {
    // What makes no sense is said here, not in a log.
    doors(&args.http)?;
    crate::serve::check_ports(&args.serve)?;
    if args.serve.watch {
        let failure =
            Failure::new(Kind::Usage, "--watch shows on a terminal, and in the background there is none");
        return Err(failure.hint("`zest status --watch` shows how it does"));
    }
    let places = places(ui);
    if let Some(running) = find(&places)? {
        return say_running(&running, "zest server is already running", ui);
    }
    let env = engine::environment(ui);
    let on_demand = args.http.on_demand.is_some();
    let words = words_of_serve(std::env::args_os().skip(1));
    let running = begin(&places, words, args.http.no_http, None).await?;
    // Of one that did not begin nothing is said, as it is said once.
    if on_demand {
        crate::first_run::of_on_demand(&places, ui).await;
    } else {
        let discovery = args.serve.discovery.config(crate::discovery::Purpose::Daemon, &env);
        crate::first_run::of_daemon(&env, &discovery, ui);
    }
    ui.say(format!("log: {}", places.log().display()));
    say_running(&running, "zest server started", ui)
}

/// Begins a daemon for who needs one now: at the port that is held, and only for as long as somebody needs it.
///
/// # Errors
/// It does not begin, or does not answer.
pub(crate) async fn begin_on_demand(places: &Places, held: &Held) -> Result<(), Failure> {
    let words = ["serve", "--on-demand"].map(OsString::from);
    match begin(places, words.to_vec(), false, Some(held)).await {
        // Somebody else was quicker.
        Err(failure) if !matches!(Client::find(places).await, Ok(Some(_))) => Err(failure),
        _ => Ok(()),
    }
}

/// Runs `zest` with these words in the background, until it answers.
async fn begin(
    places: &Places,
    words: Vec<OsString>,
    no_http: bool,
    held: Option<&Held>,
) -> Result<Running, Failure> {
    std::fs::create_dir_all(places.dir()).map_err(|error| disk(places.dir().display(), &error))?;
    let log = places.log();
    let from = std::fs::metadata(&log).map_or(0, |meta| meta.len());
    let mut child = spawn(&log, words, held)?;
    let until = Instant::now() + START_WAIT;
    loop {
        if let Some(running) = answers(places, child.id(), no_http).await {
            // Where it ends before us, its number is free.
            std::thread::spawn(move || child.wait());
            return Ok(running);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(not_started(&log, from, &format!("it ended with {status}")));
        }
        if Instant::now() >= until {
            let why = format!("process {} does not answer after {} s", child.id(), START_WAIT.as_secs());
            return Err(Failure::new(Kind::Other, why).hint("`zest logs` shows what it says"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The child's daemon, once it can be asked, or without an API has said that it is there.
async fn answers(places: &Places, pid: u32, no_http: bool) -> Option<Running> {
    let running = Running::find(places).ok()??;
    let is_there = running.record.as_ref().is_some_and(|record| record.pid == pid);
    let answers = is_there && (no_http || matches!(Client::find(places).await, Ok(Some(_))));
    answers.then_some(running)
}

/// Runs `zest` with these words, and its log there.
fn spawn(log: &Path, words: Vec<OsString>, held: Option<&Held>) -> Result<Child, Failure> {
    let cannot = |error| Failure::new(Kind::Other, format_args!("cannot start zest: {error}"));
    let program = std::env::current_exe().map_err(cannot)?;
    let mut options = OpenOptions::new();
    // What is said before it has its log, and what a panic says.
    let stderr = os::for_owner(options.append(true).create(true)).open(log);
    let stderr = stderr.map_err(|error| disk(log.display(), &error))?;
    let mut command = Command::new(program);
    command.args(words).arg("--log-file").arg(log);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    // What a service manager said was for this process.
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    let handed = held.map(Held::hand_over).transpose().map_err(cannot)?;
    if let Some((_, words)) = &handed {
        command.envs(words.iter().map(|(name, value)| (name, value)));
    }
    command.spawn().map_err(cannot)
}

/// The words of `zest start …` as those of `zest serve …`, without what is for this terminal.
fn words_of_serve(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut replaced = false;
    let mut out = Vec::new();
    for word in words {
        match word.to_str() {
            Some("start") if !replaced => {
                replaced = true;
                out.push("serve".into());
            }
            Some("-q" | "--quiet" | "--json") => {}
            _ => out.push(word),
        }
    }
    out
}

/// The error that stands last in the log behind `from`, with its hint.
fn not_started(log: &Path, from: u64, otherwise: &str) -> Failure {
    let said = read_from(log, from).unwrap_or_default();
    let after = |line: &str, word: &str| line.split_once(word).map(|(_, text)| text.trim().to_owned());
    let error = said.lines().rev().find_map(|line| after(line, "error: "));
    let hint = said.lines().rev().find_map(|line| after(line, "hint: "));
    let message = error.unwrap_or_else(|| otherwise.to_owned());
    let failure = Failure::new(Kind::Other, format_args!("zest did not start: {message}"));
    failure.hint(hint.unwrap_or_else(|| format!("its log is {}", log.display())))
}

fn read_from(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    // A log that was set aside meanwhile begins anew.
    let from = if file.metadata()?.len() < from { 0 } else { from };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn say_running(running: &Running, what: &str, ui: &Ui) -> Result<(), Failure> {
    let record = running.record.as_ref();
    let http = record.and_then(|record| url(&record.http));
    if ui.json() {
        let event = json!({"event": what, "pid": running.pid, "http": http});
        return ui.data(&event.to_string());
    }
    let at = http.map(|url| format!(" on {url}")).unwrap_or_default();
    let pid = running.pid.map(|pid| format!(" (PID {pid})")).unwrap_or_default();
    ui.text(&format!("{what}{at}{pid}."))
}

/// `zest stop`.
pub(crate) async fn stop(args: StopArgs, ui: &Ui) -> Result<(), Failure> {
    let places = places(ui);
    let Some(running) = find(&places)? else {
        return say_stopped(None, ui);
    };
    ask_to_end(&places, &running, args.now, ui).await?;
    let began = Instant::now();
    let mut said = false;
    while let Some(now) = find(&places)? {
        if now.pid.is_some() && now.pid != running.pid {
            break;
        }
        if !said && began.elapsed() >= STOP_SAY {
            said = true;
            let still = still(&places).await;
            ui.say(format!("{running} has not ended after {} s: {still}", STOP_SAY.as_secs()));
        }
        if began.elapsed() >= STOP_WAIT {
            let text = format!("{running} has not ended after {} s", STOP_WAIT.as_secs());
            return Err(Failure::new(Kind::Other, text).hint("`zest stop --now` kills it"));
        }
        tokio::time::sleep(LOOK).await;
    }
    say_stopped(running.pid, ui)
}

/// Asks for a clean end over the API, else by a signal; kills where that is wanted.
async fn ask_to_end(places: &Places, running: &Running, now: bool, ui: &Ui) -> Result<(), Failure> {
    let why = match Client::find(places).await {
        _ if now => String::new(),
        // It ended by itself.
        Ok(None) => return Ok(()),
        Ok(Some(client)) => match client.ask(Method::POST, "/v1/stop", None, &[]).await {
            Ok(answer) if answer.is_good() => return Ok(()),
            Ok(answer) => format!("its API answers with status {}", answer.status),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let Some(pid) = running.process() else {
        let text = format!("{running} cannot be told to end from here");
        return Err(Failure::new(Kind::Other, text).hint("end it on its own machine"));
    };
    if !why.is_empty() {
        ui.say(format!("sending process {pid} a signal instead: {why}"));
    }
    os::end_process(pid, now).map_err(|error| {
        Failure::new(Kind::Other, format_args!("{running} cannot be sent a signal: {error}"))
    })
}

/// What a daemon that ends is still doing.
async fn still(places: &Places) -> String {
    let pulls = match Client::find(places).await {
        Ok(Some(client)) => client.ask(Method::GET, "/v1/pulls", None, &[]).await.ok(),
        _ => None,
    };
    let under_way = pulls.and_then(|pulls| {
        let pulls = pulls.body.as_array()?.clone();
        Some(pulls.iter().filter(|pull| pull["report"].is_null() && pull["failure"].is_null()).count())
    });
    match under_way {
        Some(count) if count > 0 => {
            format!("it makes durable what {} have", units::counted(count as u64, "pull"))
        }
        Some(_) => "it takes its leave of trackers and peers".to_owned(),
        None => "its API is closed; the disk has not taken everything yet".to_owned(),
    }
}

fn say_stopped(pid: Option<u32>, ui: &Ui) -> Result<(), Failure> {
    if ui.json() {
        return ui.data(&json!({"event": "stopped", "pid": pid}).to_string());
    }
    match pid {
        Some(pid) => ui.data(&format!("zest server stopped (was PID {pid}).")),
        None => ui.data("No running zest server found."),
    }
}

/// `zest status`.
pub(crate) async fn status(args: StatusArgs, ui: &Ui) -> Result<(), Failure> {
    let places = places(ui);
    if !args.watch {
        let status = ask_status(&places).await?;
        return match ui.json() {
            true => ui.data(&status.to_string()),
            false => lines(&status).iter().try_for_each(|line| ui.text(line)),
        };
    }
    let signals = Signals::listen(ui)?;
    let watching = async {
        loop {
            let status = ask_status(&places).await?;
            match ui.json() {
                true => ui.data(&status.to_string())?,
                false => ui.picture(&lines(&status))?,
            }
            tokio::time::sleep(WATCH).await;
        }
    };
    let outcome = tokio::select! {
        outcome = watching => outcome,
        () = signals.first() => Ok(()),
    };
    // The last picture stays: it is what was asked for.
    ui.leave();
    outcome
}

async fn ask_status(places: &Places) -> Result<Value, Failure> {
    let client = match Client::find(places).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            return Err(Failure::new(Kind::Other, "zest does not run in the background")
                .hint("`zest start` begins it"));
        }
        Err(error) => return Err(Failure::new(Kind::Other, error).hint("`zest logs` shows what it says")),
    };
    let answer = client.ask(Method::GET, "/v1/status", None, &[]).await;
    match answer {
        Ok(answer) if answer.is_good() => Ok(answer.body),
        Ok(answer) => {
            Err(Failure::new(Kind::Other, format_args!("the API answers with status {}", answer.status)))
        }
        Err(error) => Err(Failure::new(Kind::Other, error)),
    }
}

/// With whom files are shared, of which `near` are another Hub's than the public one. `local`: nobody outside this network is let in.
fn sharers(giving: &str, local: bool, files: u64, near: u64) -> String {
    const NEAR: &str = "this network and named peers that use the same Hub";
    match giving {
        "everyone" if local && near == 0 => "this network only".to_owned(),
        "everyone" if near == 0 => "everyone who asks".to_owned(),
        "everyone" if near >= files => NEAR.to_owned(),
        "everyone" if local => {
            format!("this network only, {near} of them with those that use the same Hub")
        }
        "everyone" => format!("everyone who asks, {near} of them only with {NEAR}"),
        "network" => "this network".to_owned(),
        other => other.to_owned(),
    }
}

/// A status for people.
fn lines(status: &Value) -> Vec<String> {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let up = Duration::from_secs_f64(status["uptime_s"].as_f64().filter(|up| *up >= 0.0).unwrap_or(0.0));
    let state = if status["stopping"] == true { ", stopping" } else { "" };
    let mut lines = vec![format!(
        "zest {}, process {}, up {}{state}, API http://{}",
        text(&status["version"]),
        number(&status["pid"]),
        units::duration(up),
        text(&status["http"][0]),
    )];
    let listen: Vec<String> = status["listen"].as_array().into_iter().flatten().map(text).collect();
    let listen = if listen.is_empty() { "nowhere".to_owned() } else { listen.join(", ") };
    lines.push(format!(
        "peers: {} linked, listening on {listen}; {} uploaded, {} received",
        number(&status["stats"]["peers"]),
        units::bytes(number(&status["stats"]["uploaded"])),
        units::bytes(number(&status["stats"]["downloaded"])),
    ));
    let shared = &status["shared"];
    lines.push(format!(
        "sharing {} ({}) with {}",
        units::counted(number(&shared["files_shared"]), "file"),
        units::bytes(number(&shared["bytes_shared"])),
        sharers(
            &text(&status["giving"]),
            status["ways"]["local_only"] == true,
            number(&shared["files_shared"]),
            number(&shared["files_near"])
        ),
    ));
    for pull in status["pulls"].as_array().into_iter().flatten() {
        let progress = &pull["progress"];
        let (done, total) = (number(&progress["bytes_done"]), number(&progress["bytes_total"]));
        let mut line = format!(
            "pull {}: {} {}, {} of {} ({} from peers, {} from the CDN)",
            number(&pull["id"]),
            text(&pull["repo"]),
            text(&pull["state"]),
            units::bytes(done),
            units::bytes(total),
            units::bytes(number(&progress["from_peers"])),
            units::bytes(number(&progress["from_cdn"])),
        );
        if status["resumed"].as_array().is_some_and(|resumed| resumed.contains(&pull["id"])) {
            line.push_str(", of an earlier run");
        }
        if let Some(why) = pull["failure"]["message"].as_str() {
            line.push_str(": ");
            line.push_str(why);
        }
        lines.push(line);
    }
    for pull in status["waiting_for_token"].as_array().into_iter().flatten() {
        let repo = text(&pull["repo"]);
        lines.push(format!("{repo}, of an earlier run, waits for a token: ask for it again with one"));
    }
    lines
}

/// `zest logs`.
pub(crate) fn logs(args: &LogsArgs, ui: &Ui) -> Result<(), Failure> {
    let path = places(ui).log();
    let no_log = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let text = format!("there is no log: {} is not there", path.display());
            Failure::new(Kind::Other, text).hint("`zest start` writes one")
        }
        _ => disk(path.display(), &error),
    };
    let mut file = File::open(&path).map_err(no_log)?;
    for line in tail(&mut file, args.lines).map_err(no_log)? {
        ui.data(&line)?;
    }
    if !args.follow {
        return Ok(());
    }
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        reader.read_until(b'\n', &mut line).map_err(no_log)?;
        if line.last() == Some(&b'\n') {
            ui.data(String::from_utf8_lossy(&line).trim_end())?;
            line.clear();
            continue;
        }
        // It was set aside, and another one begun: what stands in this one was all read.
        if was_set_aside(reader.get_ref(), &path)
            && let Ok(fresh) = File::open(&path)
        {
            reader = BufReader::new(fresh);
            continue;
        }
        std::thread::sleep(FOLLOW);
    }
}

fn was_set_aside(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => !os::is_one_file(&ours, &there),
        _ => false,
    }
}

/// The last lines; the file is left at its end.
fn tail(file: &mut File, count: usize) -> std::io::Result<VecDeque<String>> {
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    // A line that is being written is left for whoever follows.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let rest = i64::try_from(bytes.len() - whole).unwrap_or(0);
    file.seek(SeekFrom::Current(-rest))?;
    let text = String::from_utf8_lossy(&bytes[..whole]);
    let mut lines = VecDeque::new();
    for line in text.lines() {
        lines.push_back(line.to_owned());
        if lines.len() > count {
            lines.pop_front();
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_for_start_is_said_to_serve() {
        let words = |line: &str| {
            let words = words_of_serve(line.split_whitespace().map(OsString::from));
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("start"), "serve");
        assert_eq!(
            words("-q start --http-port 0 --peer start --json -vv"),
            "serve --http-port 0 --peer start -vv"
        );
    }

    #[test]
    fn a_log_is_shown_from_its_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("zest.log");
        std::fs::write(&path, "a\nb\nc\nhal").expect("written");
        let mut file = File::open(&path).expect("there");
        assert_eq!(tail(&mut file, 2).expect("readable"), ["b", "c"]);
        let mut rest = String::new();
        file.read_to_string(&mut rest).expect("readable");
        assert_eq!(rest, "hal", "what is not whole is left");
    }

    #[test]
    fn why_it_did_not_start_is_found_in_the_log() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("zest.log");
        std::fs::write(
            &path,
            "T error: old\nT hint: old\nT error: port 5 is taken\nT hint: choose another\n",
        )
        .expect("written");
        let failure = not_started(&path, 26, "it ended");
        assert_eq!(failure.message, "zest did not start: port 5 is taken");
        assert_eq!(failure.hint.as_deref(), Some("choose another"));
        assert!(not_started(&dir.path().join("none"), 0, "it ended").message.ends_with("it ended"));
    }

    #[test]
    fn a_status_has_a_line_for_each_thing() {
        let pull = json!({
            "id": 3, "repo": "org/name", "state": "running",
            "progress": {"bytes_done": 1_000_000, "bytes_total": 3_000_000, "from_peers": 800_000, "from_cdn": 200_000},
        });
        let status = json!({
            "version": "0.5.0", "pid": 7, "uptime_s": 61.5, "http": ["127.0.0.1:9847"], "listen": ["[::]:6881"],
            "stats": {"peers": 2, "uploaded": 5_000_000, "downloaded": 800_000},
            "shared": {"files_shared": 12, "bytes_shared": 3_200_000_000_u64}, "giving": "everyone", "pulls": [pull],
            "resumed": [], "waiting_for_token": [{"repo": "org/gated"}],
        });
        let lines = lines(&status);
        assert!(
            lines[0].contains("process 7") && lines[0].ends_with("API http://127.0.0.1:9847"),
            "{lines:?}"
        );
        assert_eq!(lines[2], "sharing 12 files (3.20 GB) with everyone who asks");
        let near = |files: u64| sharers("everyone", false, 12, files);
        assert!(near(12).starts_with("this network and named peers"), "{}", near(12));
        assert!(near(5).contains("5 of them only with this network"), "{}", near(5));
        assert_eq!(sharers("nobody", false, 12, 0), "nobody");
        assert_eq!(sharers("everyone", true, 12, 0), "this network only");
        assert!(sharers("everyone", true, 12, 5).starts_with("this network only, 5 of them with those"));
        assert!(sharers("everyone", true, 12, 12).contains("that use the same Hub"));
        assert_eq!(
            lines[3],
            "pull 3: org/name running, 1.0 MB of 3.0 MB (800.0 kB from peers, 200.0 kB from the CDN)"
        );
        assert!(lines[4].starts_with("org/gated, of an earlier run, waits for a token"), "{lines:?}");
        let mut status = status;
        status["resumed"] = json!([3]);
        assert!(super::lines(&status)[3].ends_with("from the CDN), of an earlier run"));
        assert!(super::lines(&Value::Null).len() >= 3, "nothing that comes panics");
    }
}
