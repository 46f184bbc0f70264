//! `zest-seed`: a seed box. Indexes caches, then gives what they hold until it is told to stop.

mod args;
mod memory;
mod running;

pub(crate) use args::SeedArgs;

use crate::address::{self, ListenHost};
use crate::discovery::{self, Purpose};
use crate::engine::{self, DiscoveryStatus, IndexProgress};
use crate::failure::{Failure, Kind};
use crate::serve::{INDEX_EVERY, LINE_EVERY, STATUS_EVERY, who_hears};
use crate::sharing::{Board, Folders, Told, anonymous_hub, shared};
use crate::signals::Signals;
use crate::ui::{Ui, units};
use running::{Numbers, Running, Wanted};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zest_hub::Hub;
use zest_runtime_tokio::StoreHandles;
use zest_store::{Catalog, Endpoint, Env, HfCache};

/// Time between two `status` events on standard output: 5 s.
const JSON_EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: SeedArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let env = engine::environment(ui);
    let folders = folders(&env, &args)?;
    let stores = open(&env, &folders)?;
    let hub = anonymous_hub(&env, ui);
    let board = Board::default();
    if args.index_only {
        let indexed = tokio::select! {
            () = signals.first() => {
                Err(Failure::new(Kind::Interrupted, "stopped; the same command goes on where it was"))
            }
            progress = index(&stores, hub.as_ref(), &board) => Ok(progress),
            never = show_index(&board, ui) => match never {},
        };
        return tell_indexed(&indexed?, &stores[0].catalog, ui);
    }
    let cache_bytes = args.cache_mem.unwrap_or_else(memory::cache_default);
    let wanted = Wanted {
        runtime: args.runtime,
        listen: listen(&args.listen),
        cores: args.cores.map(|list| list.0).unwrap_or_default(),
        cache_bytes,
        upload_bytes_s: args.max_upload,
        congestion_control: args.congestion_control,
        discovery: args.discovery.config(Purpose::Seed, &env),
        store: stores[0].clone(),
        hub: Endpoint::new(&env.endpoint),
    };
    let heard = who_hears(Some(&wanted.discovery));
    let running = Running::start(wanted, |text| ui.say(text)).await?;
    let addrs: Vec<String> = running.local_addrs().iter().map(SocketAddr::to_string).collect();
    if ui.json() {
        let event = json!({
            "event": "listening",
            "addrs": addrs,
            "runtime": running.name(),
            "cache_bytes": cache_bytes,
            "folders": folders.document(),
        });
        ui.data(&event.to_string())?;
    }
    ui.say(format!("listening on {}; Ctrl-C ends it", addrs.join(", ")));
    ui.say(running.describe(cache_bytes));
    ui.say(folders.words());
    folders.reach(&env).into_iter().for_each(|line| ui.say(line));
    ui.say(heard);

    let outcome = tokio::select! {
        () = signals.first() => Ok(()),
        outcome = keep(&running, &stores, hub.as_ref(), &board, ui) => outcome,
        outcome = show(&running, &board, ui) => outcome,
    };
    let numbers = running.numbers().await.unwrap_or_default();
    if outcome.is_ok() {
        ui.say("stopping: those being answered get their answers");
    }
    running.shutdown().await;
    outcome?;
    if ui.json() {
        let event =
            json!({"event": "stopped", "bytes_given": numbers.uploaded, "chunks_given": numbers.chunks});
        ui.data(&event.to_string())?;
    }
    ui.say(format!("stopped: {} given", given(&numbers)));
    Ok(())
}

/// Where it is told; without a word all addresses of this machine.
fn listen(hosts: &[ListenHost]) -> Vec<SocketAddr> {
    if hosts.is_empty() {
        return vec![SocketAddr::new(address::everywhere(), args::PORT)];
    }
    hosts.iter().map(|host| SocketAddr::new(host.ip, host.port.unwrap_or(args::PORT))).collect()
}

/// The caches that were named, or the usual one.
fn folders(env: &Env, args: &SeedArgs) -> Result<Folders, Failure> {
    let mut folders = Folders::of_cache(env, !args.root.is_empty());
    if !args.root.is_empty() {
        folders.caches.clone_from(&args.root);
    }
    if let Some(root) = folders.caches.iter().find(|root| !root.is_dir()) {
        return Err(Failure::new(Kind::Disk, format_args!("{} is not a folder", root.display()))
            .hint("name a Hugging Face cache with --root; it holds folders like models--ORG--NAME"));
    }
    folders.with_mirrors(&args.discovery.public_mirror).and(&args.local_dir)
}

/// One store per cache, all with one catalog.
fn open(env: &Env, folders: &Folders) -> Result<Vec<Arc<StoreHandles>>, Failure> {
    let failed = |error| engine::store_failure(&error);
    let catalog = Arc::new(Catalog::open(&env.zest_cache).map_err(failed)?);
    folders.apply(env, &catalog);
    let mut stores = Vec::new();
    for root in &folders.caches {
        let cache = HfCache::open(root, env.cache_options()).map_err(failed)?;
        stores.push(Arc::new(StoreHandles { catalog: catalog.clone(), cache }));
    }
    Ok(stores)
}

/// Indexes every cache once.
async fn index(stores: &[Arc<StoreHandles>], hub: Option<&Hub>, board: &Board) -> IndexProgress {
    let mut sum = IndexProgress::default();
    for store in stores {
        let before = sum.clone();
        let report = |progress: &IndexProgress| {
            board.progress.replace(added(&before, progress));
        };
        let progress = engine::keep_index(store.clone(), hub.cloned(), report).await;
        sum = added(&before, &progress);
    }
    sum
}

/// Progress in one cache on top of that in others. What is public is counted over the whole catalog each time.
fn added(before: &IndexProgress, now: &IndexProgress) -> IndexProgress {
    IndexProgress {
        files_done: before.files_done + now.files_done,
        files_total: before.files_total + now.files_total,
        mismatches: before.mismatches.iter().chain(&now.mismatches).cloned().collect(),
        public: now.public,
        not_public: now.not_public,
        unasked: now.unasked,
        hub_error: now.hub_error.clone(),
    }
}

/// Indexes the caches now and then, and has the runtime look again. Ends only if standard output is gone.
async fn keep(
    running: &Running,
    stores: &[Arc<StoreHandles>],
    hub: Option<&Hub>,
    board: &Board,
    ui: &Ui,
) -> Result<(), Failure> {
    let mut told = Told::default();
    told.sharing(&stores[0].catalog).into_iter().for_each(|line| ui.say(line));
    loop {
        let progress = index(stores, hub, board).await;
        running.refresh().await;
        told.round(&stores[0].catalog, progress, board, ui)?;
        tokio::time::sleep(INDEX_EVERY).await;
    }
}

/// Shows how far `--index-only` is. Never ends.
async fn show_index(board: &Board, ui: &Ui) -> std::convert::Infallible {
    let mut status = ui.status();
    loop {
        tokio::time::sleep(STATUS_EVERY).await;
        let line = {
            let progress = board.progress.borrow();
            format!(
                "indexed {} of {}",
                progress.files_done,
                units::counted(progress.files_total as u64, "file")
            )
        };
        status.show(&line, false);
    }
}

fn tell_indexed(progress: &IndexProgress, catalog: &Catalog, ui: &Ui) -> Result<(), Failure> {
    let (mut told, (files, bytes)) = (Told::default(), shared(catalog));
    told.sharing(catalog).iter().chain(&told.news(progress)).for_each(|line| ui.say(line));
    if ui.json() {
        let event = json!({
            "event": "indexed",
            "files_indexed": progress.files_done,
            "files_shared": files,
            "bytes_shared": bytes,
            "shared": told.shared.document(),
        });
        ui.data(&event.to_string())?;
    }
    let count = units::counted(files, "file");
    ui.say(format!("{} indexed; {count} ({}) can be given", progress.files_done, units::bytes(bytes)));
    Ok(())
}

/// Keeps the status line, and the `status` events. Ends only if an executor has, or standard output.
async fn show(running: &Running, board: &Board, ui: &Ui) -> Result<(), Failure> {
    let mut status = ui.status();
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut printed, mut told, mut indexed) = (None::<Instant>, None::<Instant>, false);
    let (mut before, mut at, mut last) = (Numbers::default(), Instant::now(), String::new());
    loop {
        tick.tick().await;
        let numbers = running.numbers().await?;
        let found = running.discovery().await;
        let seconds = at.elapsed().as_secs_f64().max(1e-3);
        let rate = (numbers.uploaded - before.uploaded) as f64 / seconds;
        let disk_rate = (numbers.disk_bytes - before.disk_bytes) as f64 / seconds;
        (before, at) = (numbers, Instant::now());
        if ui.json() && told.is_none_or(|at| at.elapsed() >= JSON_EVERY) {
            told = Some(Instant::now());
            ui.data(&event(&numbers, &found, board, rate, disk_rate).to_string())?;
        }
        let line = line(&numbers, &found, board, rate, disk_rate);
        if line == last {
            continue;
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

fn event(
    numbers: &Numbers,
    found: &DiscoveryStatus,
    board: &Board,
    rate: f64,
    disk_rate: f64,
) -> serde_json::Value {
    let progress = board.progress.borrow();
    let (files, bytes) = board.shared.get();
    json!({
        "event": "status",
        "peers": numbers.peers,
        "bytes_given": numbers.uploaded,
        "chunks_given": numbers.chunks,
        "bytes_s": rate as u64,
        "disk_bytes_s": disk_rate as u64,
        "files_shared": files,
        "bytes_shared": bytes,
        "files_indexed": progress.files_done,
        "files_to_index": progress.files_total,
        "discovery": discovery::document(found),
    })
}

fn line(numbers: &Numbers, found: &DiscoveryStatus, board: &Board, rate: f64, disk_rate: f64) -> String {
    let progress = board.progress.borrow();
    let (files, bytes) = board.shared.get();
    let mut parts = vec![
        format!("sharing {} ({})", units::counted(files, "file"), units::bytes(bytes)),
        units::counted(numbers.peers, "peer"),
        format!("{} given", given(numbers)),
    ];
    if rate > 0.0 {
        parts.push(units::rate(rate));
    }
    if disk_rate > 0.0 {
        parts.push(format!("{} from disk", units::rate(disk_rate)));
    }
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

fn given(numbers: &Numbers) -> String {
    format!("{} in {}", units::bytes(numbers.uploaded), units::counted(numbers.chunks, "chunk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_tells_rates_only_while_something_moves() {
        let board = Board::default();
        board.shared.set((3, 5_000_000_000));
        let numbers = Numbers { peers: 1, uploaded: 2_000_000, chunks: 31, disk_bytes: 1_000_000 };
        let nobody = DiscoveryStatus::default();
        assert_eq!(
            line(&numbers, &nobody, &board, 0.0, 0.0),
            "sharing 3 files (5.00 GB) · 1 peer · 2.0 MB in 31 chunks given"
        );
        board.progress.borrow_mut().files_total = 2;
        assert_eq!(
            line(&numbers, &DiscoveryStatus { dht_nodes: Some([9, 0]), ..nobody }, &board, 2e9, 5e8),
            "sharing 3 files (5.00 GB) · 1 peer · 2.0 MB in 31 chunks given · 2.00 GB/s · 500 MB/s from disk · 9 DHT nodes · indexing 1 of 2"
        );
    }

    #[test]
    fn progress_of_several_caches_adds_up() {
        let one = IndexProgress { files_done: 2, files_total: 2, public: 1, ..IndexProgress::default() };
        let two = IndexProgress { files_done: 1, files_total: 5, public: 3, ..IndexProgress::default() };
        let sum = added(&one, &two);
        assert_eq!((sum.files_done, sum.files_total, sum.public), (3, 7, 3));
    }
}
