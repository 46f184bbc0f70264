//! `zest serve` and `zest seed`: give what the caches hold to peers until they are told to stop. They differ in who hears
//! of it ([`Purpose`]).

use crate::address::{ListenHost, PORT_DEFAULT};
use crate::args::{HttpArgs, ServeArgs};
use crate::daemon::Claim;
use crate::discovery::{self, Purpose};
use crate::engine::{self, DiscoveryStatus, EngineConfig, EngineStats, Folders, GivingStatus, Session};
use crate::failure::{Failure, Kind};
use crate::giving;
use crate::notify::Manager;
use crate::sharing;
use crate::signals::Signals;
use crate::ui::{Status, Ui, units};
use crate::watch::Watch;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use zest_runtime_tokio::Giving;

/// Time between two looks at the counters for the status line: 1 s.
pub(crate) const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Off a terminal, least time between two status lines: 30 s.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Least time between two status events for programs: 5 s.
const EVENT_EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    mut args: ServeArgs,
    purpose: Purpose,
    http: Option<HttpArgs>,
    ui: &Ui,
) -> Result<(), Failure> {
    check_ports(&args)?;
    ui.warnings_are_events();
    let signals = Signals::listen(ui)?;
    let on_demand = http.as_ref().and_then(|http| http.on_demand);
    let mut env = engine::environment(ui);
    let named = args.cache_dir.is_some();
    if let Some(dir) = args.cache_dir {
        env.hub_cache = dir;
    }
    let folders = match on_demand {
        // What lies in the cache is not what it was started for.
        Some(_) => Folders::none(),
        None => Folders::of_cache(&env, named),
    };
    let folders = folders.with_mirrors(&args.discovery.public_mirror);
    let folders = sharing::with_local_dirs(folders, &args.local_dir)?;
    // Nobody asked for a daemon by name: it keeps to this network.
    args.discovery.lan_only |= on_demand.is_some();
    let silent = on_demand.is_some() && std::env::var_os("ZEST_SHARE").is_some_and(|share| share == "0");
    let discovery = args.discovery.config(purpose, &env);
    let heard = giving::who_hears(Some(&discovery));
    let ways = zest_daemon::Ways::of(&discovery);
    let claim = match &http {
        Some(http) => Claim::new(&env, http, ui).await?,
        None => None,
    };
    let port = args.listen_port.unwrap_or(PORT_DEFAULT);
    let config = engine::config(&env, folders)?.engine(|engine| {
        *engine = EngineConfig {
            // Who listens nowhere is announced nowhere.
            listen: if silent { Vec::new() } else { listen(&args.listen, port) },
            // A port that was asked for is used or refused.
            next_port: args.listen_port.is_none() && args.listen.iter().all(|host| host.port.is_none()),
            policy: args.policy.into(),
            download_bytes_s: args.max_download,
            nice: args.nice,
            upload_bytes_s: args.upload.max_upload,
            upload_budget: engine::upload_budget(&env, &args.upload),
            discovery: Some(discovery),
            congestion_control: args.congestion_control,
            hub: engine.hub.clone(),
            ..EngineConfig::to_give(engine.store.clone(), args.cache_mem)
        };
        engine.links_max = args.upload.max_peers.unwrap_or(engine.links_max);
    });
    let session = engine::start(config).await?;
    session.name_peers(args.peer).await;
    if silent {
        session.give(Giving::Nobody);
    }
    let daemon = match claim {
        Some(claim) => Some(claim.open(&session, &env, ways, on_demand.is_some())?),
        None => None,
    };
    let addrs: Vec<String> = session.local_addrs().iter().map(SocketAddr::to_string).collect();
    if ui.json() {
        let folders = sharing::document(session.folders());
        let http = daemon.as_ref().map(|daemon| daemon.urls()).unwrap_or_default();
        let event = json!({"event": "listening", "addrs": addrs, "folders": folders, "http": http});
        ui.data(&event.to_string())?;
    }
    ui.say(format!("listening on {}; Ctrl-C ends it", addrs.join(", ")));
    ui.say(sharing::words(session.folders()));
    ui.say("others can fetch the public models of it; private and gated ones stay here");
    sharing::reach(session.folders(), &env).into_iter().for_each(|line| ui.say(line));
    ui.say(heard);
    if let Some(daemon) = &daemon {
        daemon.words().into_iter().for_each(|line| ui.say(line));
    }

    let manager = Manager::from_environment();
    manager.say("READY=1");
    match on_demand {
        Some(idle) => {
            let span = crate::duration::words(idle);
            ui.say(format!("started on demand: it ends when nobody has needed it for {span}"));
            session.keep_count();
        }
        None => {
            if let Err(error) = session.keep_index() {
                ui.say(format!("cannot ask the Hub what is public: {error}"));
            }
        }
    }
    tokio::select! {
        () = signals.first() => {}
        () = asked_to_stop(daemon.as_ref()) => {}
        () = idle(daemon.as_ref(), on_demand) => ui.say("nobody has needed it: it ends"),
        outcome = giving::tell(session.giving(), ui) => outcome?,
        () = show(&session, args.watch, ui) => {}
        () = manager.keep_alive(&session) => {}
    }
    manager.say("STOPPING=1");
    if let Some(daemon) = &daemon {
        daemon.stopping();
    }
    let stats = session.stats().await;
    session.shutdown().await;
    if let Some(daemon) = daemon {
        daemon.end().await;
    }
    if ui.json() {
        let counts = json!({
            "event": "stopped",
            "bytes_given": stats.uploaded,
            "chunks_given": stats.chunks_served,
        });
        ui.data(&counts.to_string())?;
    }
    ui.say(format!("stopped: {} uploaded", given(&stats)));
    Ok(())
}

/// `--listen-port` and the ports of `--listen` are two names of one thing.
pub(crate) fn check_ports(args: &ServeArgs) -> Result<(), Failure> {
    let Some(port) = args.listen_port else { return Ok(()) };
    match args.listen.iter().filter_map(|host| host.port).find(|other| *other != port) {
        Some(other) => {
            let text = format!("--listen says port {other} and --listen-port says {port}");
            Err(Failure::new(Kind::Usage, text).hint("say it once"))
        }
        None => Ok(()),
    }
}

async fn asked_to_stop(daemon: Option<&crate::daemon::Daemon>) {
    match daemon {
        Some(daemon) => daemon.asked_to_stop().await,
        None => std::future::pending().await,
    }
}

/// Waits until a daemon that was started on demand is needed no more.
async fn idle(daemon: Option<&crate::daemon::Daemon>, after: Option<Duration>) {
    match (daemon, after) {
        (Some(daemon), Some(after)) => daemon.idle(after).await,
        _ => std::future::pending().await,
    }
}

/// Where it is told; without a word all addresses of this machine, IPv6 and IPv4 if it has both.
pub(crate) fn listen(hosts: &[ListenHost], port: u16) -> Vec<SocketAddr> {
    if hosts.is_empty() {
        return vec![engine::everywhere(port)];
    }
    hosts.iter().map(|host| SocketAddr::new(host.ip, host.port.unwrap_or(port))).collect()
}

/// What a status line said last.
#[derive(Debug, Default)]
pub(crate) struct Said {
    last: String,
    printed: Option<Instant>,
    looked: bool,
    /// The last line was held back, for it came right behind another one.
    pending: bool,
}

impl Said {
    /// Says a line that is new, or is said at last: at most every [`LINE_EVERY`] where there is no terminal, but at once when the
    /// index has looked for the first time.
    pub(crate) fn say(&mut self, status: &mut Status, line: String, looked: bool) {
        if line == self.last && !self.pending {
            return;
        }
        let due = self.printed.is_none_or(|at| at.elapsed() >= LINE_EVERY) || looked != self.looked;
        status.show(&line, due);
        self.pending = !due;
        if due {
            (self.printed, self.looked) = (Some(Instant::now()), looked);
        }
        self.last = line;
    }
}

/// Keeps the status line. Never ends.
async fn show(session: &Session, watch: bool, ui: &Ui) {
    let giving = session.giving();
    let mut board = watch.then(Watch::default);
    let began = Instant::now();
    let mut status = ui.status();
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut said = Said::default();
    // The last state may come right behind another one: what is not said yet is said when its time has come.
    let (mut told, mut told_of) = (None::<Instant>, None::<String>);
    let mut troubles = Troubles::default();
    loop {
        tick.tick().await;
        let (stats, found) = (session.stats().await, session.discovery().await.unwrap_or_default());
        let now = giving.borrow().clone();
        troubles.news(&stats, &found, &now).into_iter().for_each(|text| ui.warn(text));
        let line = line(&stats, &found, &now);
        let peers = if watch { session.peers().await } else { Vec::new() };
        let on_board = board.as_mut().is_some_and(|board| {
            let rest = board.lines(began.elapsed(), ui.columns(), &now, &peers, &stats);
            status.board(&std::iter::once(line.clone()).chain(rest).collect::<Vec<_>>())
        });
        let looked = now.looks > 0;
        let news = looked && told_of.as_ref() != Some(&line);
        if ui.json() && news && told.is_none_or(|at| at.elapsed() >= EVENT_EVERY) {
            (told, told_of) = (Some(Instant::now()), Some(line.clone()));
            // Whoever reads it is gone: the command ends with the next event that matters.
            let mut event = event(&stats, &found, &now);
            if watch {
                event["linked"] = crate::watch::document(&peers);
            }
            let _ = ui.data(&event.to_string());
        }
        if !on_board {
            said.say(&mut status, line, looked);
        }
    }
}

/// What keeps things from being given, as far as it was said.
#[derive(Debug, Default)]
struct Troubles {
    trackers: BTreeSet<String>,
    spent: bool,
    empty: bool,
}

impl Troubles {
    /// What is worth a word since the last look.
    fn news(&mut self, stats: &EngineStats, found: &DiscoveryStatus, giving: &GivingStatus) -> Vec<String> {
        let mut lines = Vec::new();
        for tracker in &found.trackers {
            if !tracker.works && self.trackers.insert(tracker.name.clone()) {
                lines.push(format!("tracker {} does not know of us: {}", tracker.name, tracker.standing));
            } else if tracker.works && self.trackers.remove(&tracker.name) {
                lines.push(format!("tracker {} {}", tracker.name, tracker.standing));
            }
        }
        let spent = stats.budget_spent;
        if spent != std::mem::replace(&mut self.spent, spent) {
            lines.push(match spent {
                true => "today's --upload-budget is spent: nothing is uploaded until midnight UTC".to_owned(),
                false => "a new day: there is a budget for uploads again".to_owned(),
            });
        }
        let index = &giving.index;
        let empty =
            giving.looks > 0 && giving.files == 0 && index.not_public == 0 && index.hub_error.is_none();
        if empty && !std::mem::replace(&mut self.empty, true) {
            let text = "nothing is here that can be shared: `zest pull ORG/NAME` fetches something, --cache-dir names another cache";
            lines.push(text.to_owned());
        }
        lines
    }
}

/// The state of things, for programs.
fn event(stats: &EngineStats, found: &DiscoveryStatus, giving: &GivingStatus) -> Value {
    json!({
        "event": "status",
        "files_shared": giving.files,
        "bytes_shared": giving.bytes,
        "files_near": giving.near,
        "peers": stats.peers,
        "bytes_given": stats.uploaded,
        "chunks_given": stats.chunks_served,
        "budget_left": stats.budget_left,
        "budget_spent": stats.budget_spent,
        "nice": stats.nice,
        "discovery": found,
    })
}

fn line(stats: &EngineStats, found: &DiscoveryStatus, giving: &GivingStatus) -> String {
    let mut parts = vec![
        format!("sharing {} ({})", units::counted(giving.files, "file"), units::bytes(giving.bytes)),
        units::counted(u64::from(stats.peers), "peer"),
        format!("{} uploaded", given(stats)),
    ];
    parts.extend(stats.budget_left.map(|left| format!("{} of today's budget left", units::bytes(left))));
    parts.extend(stats.nice.and_then(|nice| {
        let queueing_us = nice.queueing_us?;
        Some(format!("line: {} ms of queue, {}/s at most", queueing_us / 1000, units::bytes(nice.rate)))
    }));
    parts.extend(discovery::words(found));
    parts.extend(giving::index_words(&giving.index));
    parts.join(" · ")
}

fn given(stats: &EngineStats) -> String {
    format!("{} in {}", units::bytes(stats.uploaded), units::counted(stats.chunks_served, "chunk"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::IndexProgress;

    fn status(files: u64, bytes: u64, index: IndexProgress) -> GivingStatus {
        let mut status = GivingStatus::default();
        (status.files, status.bytes, status.index) = (files, bytes, index);
        status
    }

    #[test]
    fn a_dead_tracker_a_spent_budget_and_an_empty_cache_are_said_once_and_so_is_their_end() {
        let mut troubles = Troubles::default();
        let mut found = DiscoveryStatus::default();
        found.trackers.push(zest_runtime_tokio::TrackerStatus {
            name: "http://t.example:80".to_owned(),
            standing: "connection refused; next try in 15 s".to_owned(),
            works: false,
        });
        // Less than the next chunk may have is as good as nothing.
        let spent = EngineStats { budget_left: Some(5_000), budget_spent: true, ..EngineStats::default() };
        let mut giving = status(0, 0, IndexProgress::default());
        giving.looks = 1;
        let said = troubles.news(&spent, &found, &giving);
        assert_eq!(said.len(), 3, "{said:?}");
        let tracker = "tracker http://t.example:80 does not know of us: connection refused; next try in 15 s";
        assert_eq!(said[0], tracker);
        assert!(said[1].contains("--upload-budget is spent") && said[2].contains("zest pull"), "{said:?}");
        assert!(troubles.news(&spent, &found, &giving).is_empty());
        found.trackers[0] = zest_runtime_tokio::TrackerStatus {
            name: "http://t.example:80".to_owned(),
            standing: "works".to_owned(),
            works: true,
        };
        let said = troubles.news(
            &EngineStats { budget_left: Some(9 << 20), budget_spent: false, ..spent },
            &found,
            &giving,
        );
        assert_eq!(said[0], "tracker http://t.example:80 works");
        assert_eq!(said.len(), 2);
    }

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
            line(&stats, &DiscoveryStatus::default(), &status(12, 3_200_000_000, busy)),
            "sharing 12 files (3.20 GB) · 2 peers · 1.20 GB in 18,400 chunks uploaded · indexing 3 of 10"
        );
        let found = DiscoveryStatus { dht_nodes: Some([12, 0]), ..DiscoveryStatus::default() };
        let idle = IndexProgress { not_public: 1, ..IndexProgress::default() };
        assert_eq!(
            line(&EngineStats::default(), &found, &status(0, 0, idle)),
            "sharing 0 files (0 B) · 0 peers · 0 B in 0 chunks uploaded · 12 DHT nodes · 1 revision not public"
        );
    }
}
