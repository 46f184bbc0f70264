//! `zest serve` and `zest seed`: give what the caches hold to peers until they are told to stop. They differ in who hears
//! of it ([`Purpose`]).

use crate::address::{ListenHost, PORT_DEFAULT};
use crate::args::ServeArgs;
use crate::discovery::{self, Purpose};
use crate::engine::{self, DiscoveryStatus, EngineStats, IndexProgress, Session, Settings};
use crate::failure::Failure;
use crate::sharing::{Board, Folders, Told, anonymous_hub};
use crate::signals::Signals;
use crate::ui::{Ui, units};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use zest_runtime_tokio::DiscoveryConfig;
use zest_store::Env;

/// Time between two looks at the counters for the status line: 1 s.
pub(crate) const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Off a terminal, least time between two status lines: 30 s.
pub(crate) const LINE_EVERY: Duration = Duration::from_secs(30);

/// Least time between two status events for programs: 5 s.
const EVENT_EVERY: Duration = Duration::from_secs(5);

/// Time between two looks at the cache for files that other programs have put there: 2 min. A look costs a walk
/// over its folders, no file is read twice.
pub(crate) const INDEX_EVERY: Duration = Duration::from_secs(120);

pub(crate) async fn run(args: ServeArgs, purpose: Purpose, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let mut env = engine::environment(ui);
    let named = args.cache_dir.is_some();
    if let Some(dir) = args.cache_dir {
        env.hub_cache = dir;
    }
    let settings = Settings {
        folders: Folders::of_cache(&env, named)
            .with_mirrors(&args.discovery.public_mirror)
            .and(&args.local_dir)?,
        upload: args.upload,
        give_from: Some(args.cache_mem),
        discovery: Some(args.discovery.config(purpose, &env)),
        // A port that was asked for is used or refused.
        next_port: args.listen_port.is_none() && args.listen.iter().all(|host| host.port.is_none()),
        congestion_control: args.congestion_control,
        ..Settings::default()
    };
    let port = args.listen_port.unwrap_or(PORT_DEFAULT);
    let session = start(&env, &args.listen, port, &settings).await?;
    session.name_peers(args.peer).await;
    let addrs: Vec<String> = session.local_addrs().iter().map(SocketAddr::to_string).collect();
    if ui.json() {
        let folders = settings.folders.document();
        ui.data(&json!({"event": "listening", "addrs": addrs, "folders": folders}).to_string())?;
    }
    ui.say(format!("listening on {}; Ctrl-C ends it", addrs.join(", ")));
    ui.say(settings.folders.words());
    ui.say("others can fetch the public models in there; private and gated ones stay here");
    settings.folders.reach(&env).into_iter().for_each(|line| ui.say(line));
    ui.say(who_hears(settings.discovery.as_ref()));

    let board = Board::default();
    tokio::select! {
        () = signals.first() => {}
        outcome = index(&session, &env, &board, ui) => outcome?,
        () = show(&session, &board, ui) => {}
    }
    let stats = session.stats().await;
    session.shutdown().await;
    if ui.json() {
        let counts = json!({
            "event": "stopped",
            "bytes_given": stats.uploaded,
            "chunks_given": stats.chunks_served,
        });
        ui.data(&counts.to_string())?;
    }
    ui.say(format!("stopped: {} given", given(&stats)));
    Ok(())
}

/// Listens where it is told; without a word on all addresses of this machine, IPv6 and IPv4 if it has both.
async fn start(env: &Env, hosts: &[ListenHost], port: u16, settings: &Settings) -> Result<Session, Failure> {
    let asked: Vec<_> =
        hosts.iter().map(|host| SocketAddr::new(host.ip, host.port.unwrap_or(port))).collect();
    if !asked.is_empty() {
        return Session::start(env, &asked, settings).await;
    }
    Session::start_everywhere(env, port, settings).await
}

/// Who learns of it, in one sentence.
pub(crate) fn who_hears(discovery: Option<&DiscoveryConfig>) -> String {
    let Some(discovery) = discovery else { return "announced nowhere".to_owned() };
    let mut ways = Vec::new();
    if discovery.lan {
        ways.push("on this network".to_owned());
    }
    if discovery.dht.is_some() {
        ways.push("in the DHT".to_owned());
    }
    if !discovery.trackers.is_empty() {
        ways.push(format!("at {}", units::counted(discovery.trackers.len() as u64, "tracker")));
    }
    match ways.is_empty() {
        true => "announced nowhere: others have to know this address".to_owned(),
        false => format!("announced {}", ways.join(", ")),
    }
}

/// Indexes the cache now and then. Ends only if standard output is gone.
async fn index(session: &Session, env: &Env, board: &Board, ui: &Ui) -> Result<(), Failure> {
    let hub = anonymous_hub(env, ui);
    let catalog = &session.store.catalog;
    let mut told = Told::default();
    told.sharing(catalog).into_iter().for_each(|line| ui.say(line));
    loop {
        let report = |progress: &IndexProgress| {
            board.progress.replace(progress.clone());
        };
        let progress = engine::keep_index(session.store.clone(), hub.clone(), report).await;
        session.catalog_changed().await;
        told.round(catalog, progress, board, ui)?;
        tokio::time::sleep(INDEX_EVERY).await;
    }
}

/// Keeps the status line. Never ends.
async fn show(session: &Session, board: &Board, ui: &Ui) {
    let mut status = ui.status();
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut last, mut printed, mut indexed) = (String::new(), None::<Instant>, false);
    let mut told = None::<Instant>;
    loop {
        tick.tick().await;
        let (stats, found) = (session.stats().await, session.discovery().await.unwrap_or_default());
        let line = line(&stats, &found, &board.progress.borrow(), board.shared.get());
        if line == last {
            continue;
        }
        if ui.json() && board.indexed.get() && told.is_none_or(|at| at.elapsed() >= EVENT_EVERY) {
            told = Some(Instant::now());
            // Whoever reads it is gone: the command ends with the next event that matters.
            let _ = ui.data(&event(&stats, &found, board.shared.get()).to_string());
        }
        let due = printed.is_none_or(|at| at.elapsed() >= LINE_EVERY) || board.indexed.get() != indexed;
        status.show(&line, due);
        if due {
            printed = Some(Instant::now());
            indexed = board.indexed.get();
        }
        last = line;
    }
}

/// The state of things, for programs.
fn event(stats: &EngineStats, found: &DiscoveryStatus, (files, bytes): (u64, u64)) -> Value {
    json!({
        "event": "status",
        "files_shared": files,
        "bytes_shared": bytes,
        "peers": stats.peers,
        "bytes_given": stats.uploaded,
        "chunks_given": stats.chunks_served,
        "discovery": discovery::document(found),
    })
}

fn line(
    stats: &EngineStats,
    found: &DiscoveryStatus,
    progress: &IndexProgress,
    (files, bytes): (u64, u64),
) -> String {
    let mut parts = vec![
        format!("sharing {} ({})", units::counted(files, "file"), units::bytes(bytes)),
        units::counted(u64::from(stats.peers), "peer"),
        format!("{} given", given(stats)),
    ];
    parts.extend(discovery::words(found));
    if progress.files_done < progress.files_total {
        parts.push(format!("indexing {} of {}", progress.files_done + 1, progress.files_total));
    }
    if progress.not_public > 0 {
        parts.push(format!("{} not public", units::counted(progress.not_public as u64, "revision")));
    }
    if progress.unasked > 0 {
        parts.push(format!("{} of them still to be asked about", progress.unasked));
    }
    parts.join(" · ")
}

fn given(stats: &EngineStats) -> String {
    format!("{} in {}", units::bytes(stats.uploaded), units::counted(stats.chunks_served, "chunk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_tells_what_is_shared_given_and_indexed() {
        let stats = EngineStats {
            peers: 2,
            uploaded: 1_200_000_000,
            chunks_served: 18_400,
            ..EngineStats::default()
        };
        let busy = IndexProgress { files_done: 2, files_total: 10, ..IndexProgress::default() };
        assert_eq!(
            line(&stats, &DiscoveryStatus::default(), &busy, (12, 3_200_000_000)),
            "sharing 12 files (3.20 GB) · 2 peers · 1.20 GB in 18,400 chunks given · indexing 3 of 10"
        );
        let found = DiscoveryStatus { dht_nodes: Some([12, 0]), ..DiscoveryStatus::default() };
        let idle = IndexProgress { not_public: 1, ..IndexProgress::default() };
        assert_eq!(
            line(&EngineStats::default(), &found, &idle, (0, 0)),
            "sharing 0 files (0 B) · 0 peers · 0 B in 0 chunks given · 12 DHT nodes · 1 revision not public"
        );
    }
}
