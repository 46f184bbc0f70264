//! `zest-seed`: a seed box. Indexes caches, then gives what they hold until it is told to stop.

mod args;
mod memory;
mod running;
mod uring;
mod wanted;

pub(crate) use args::SeedArgs;
pub(crate) use uring::{Refusal, Uring};

use crate::discovery::{self, Purpose};
use crate::engine::{self, DiscoveryStatus, Folders, GivingStatus, IndexProgress};
use crate::failure::{Failure, Kind};
use crate::giving;
use crate::serve::{STATUS_EVERY, Said, listen};
use crate::sharing;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use running::Running;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wanted::{Numbers, Wanted};
use zest_runtime_tokio::{StoreHandles, hub_that_says_what_is_public, index_once, keep_giving};
use zest_store::{Catalog, Endpoint, Env, HfCache};

/// Time between two `status` events on standard output: 5 s.
const JSON_EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: SeedArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    ui.warnings_are_events();
    let env = engine::environment(ui);
    let folders = folders(&env, &args)?;
    let stores = open(&env, &folders)?;
    let hub = hub_that_says_what_is_public(&env).unwrap_or_else(|error| {
        ui.say(format!("cannot ask the Hub what is public: {error}"));
        None
    });
    let status = watch::Sender::<GivingStatus>::default();
    if args.index_only {
        let indexed = tokio::select! {
            () = signals.first() => {
                Err(Failure::new(Kind::Interrupted, "stopped; the same command goes on where it was"))
            }
            progress = index_once(&stores, hub.as_ref(), |progress| {
                status.send_modify(|status| status.index.clone_from(progress));
            }) => Ok(progress),
            never = show_index(&status, ui) => match never {},
        };
        return tell_indexed(indexed?, &stores[0].catalog, ui);
    }
    let cache_bytes = args.cache_mem.unwrap_or_else(memory::cache_default);
    let wanted = Wanted {
        runtime: args.runtime,
        listen: listen(&args.listen, args::PORT),
        cache_bytes,
        upload_bytes_s: args.max_upload,
        congestion_control: args.congestion_control,
        links_max: args.max_peers,
        discovery: args.discovery.config(Purpose::Seed, &env),
        store: stores[0].clone(),
        hub: Endpoint::new(&env.endpoint),
    };
    let heard = giving::who_hears(Some(&wanted.discovery));
    let cores = args.cores.map(|list| list.0).unwrap_or_default();
    let running = Running::start(wanted, cores, |text| ui.say(text)).await?;
    let addrs: Vec<String> = running.local_addrs().iter().map(SocketAddr::to_string).collect();
    if ui.json() {
        let event = json!({
            "event": "listening",
            "addrs": addrs,
            "runtime": running.name(),
            "cache_bytes": cache_bytes,
            "folders": sharing::document(&folders),
        });
        ui.data(&event.to_string())?;
    }
    ui.say(format!("listening on {}; Ctrl-C ends it", addrs.join(", ")));
    ui.say(running.describe(cache_bytes));
    ui.say(sharing::words(&folders));
    sharing::reach(&folders, &env).into_iter().for_each(|line| ui.say(line));
    ui.say(heard);

    let outcome = tokio::select! {
        () = signals.first() => Ok(()),
        () = keep_giving(&stores, hub.as_ref(), &status, async || running.refresh().await) => Ok(()),
        outcome = giving::tell(status.subscribe(), ui) => outcome,
        outcome = show(&running, &status, ui) => outcome,
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
    ui.say(format!("stopped: {} uploaded", given(&numbers)));
    Ok(())
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
    sharing::with_local_dirs(folders.with_mirrors(&args.discovery.public_mirror), &args.local_dir)
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

/// Shows how far `--index-only` is. Never ends.
async fn show_index(giving: &watch::Sender<GivingStatus>, ui: &Ui) -> std::convert::Infallible {
    let mut status = ui.status();
    loop {
        tokio::time::sleep(STATUS_EVERY).await;
        let line = {
            let progress = &giving.borrow().index;
            format!(
                "indexed {} of {}",
                progress.files_done,
                units::counted(progress.files_total as u64, "file")
            )
        };
        status.show(&line, false);
    }
}

fn tell_indexed(progress: IndexProgress, catalog: &Catalog, ui: &Ui) -> Result<(), Failure> {
    let files_indexed = progress.files_done;
    let now = GivingStatus::of(catalog, progress);
    giving::Told::default().all(&now).iter().for_each(|line| ui.say(line));
    if ui.json() {
        let event = json!({
            "event": "indexed",
            "files_indexed": files_indexed,
            "files_shared": now.files,
            "bytes_shared": now.bytes,
            "shared": now.shared,
        });
        ui.data(&event.to_string())?;
    }
    let count = units::counted(now.files, "file");
    ui.say(format!("{files_indexed} indexed; {count} ({}) can be shared", units::bytes(now.bytes)));
    Ok(())
}

/// Keeps the status line, and the `status` events. Ends only if an executor has, or standard output.
async fn show(running: &Running, giving: &watch::Sender<GivingStatus>, ui: &Ui) -> Result<(), Failure> {
    let mut status = ui.status();
    let mut tick = tokio::time::interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut told, mut said) = (None::<Instant>, Said::default());
    let (mut before, mut at) = (Numbers::default(), Instant::now());
    loop {
        tick.tick().await;
        let numbers = running.numbers().await?;
        let found = running.discovery().await;
        let seconds = at.elapsed().as_secs_f64().max(1e-3);
        let rate = (numbers.uploaded - before.uploaded) as f64 / seconds;
        let disk_rate = (numbers.disk_bytes - before.disk_bytes) as f64 / seconds;
        (before, at) = (numbers, Instant::now());
        let now = giving.borrow().clone();
        if ui.json() && told.is_none_or(|at| at.elapsed() >= JSON_EVERY) {
            told = Some(Instant::now());
            ui.data(&event(&numbers, &found, &now, rate, disk_rate).to_string())?;
        }
        let line = line(&numbers, &found, &now, rate, disk_rate);
        said.say(&mut status, line, now.looks > 0);
    }
}

fn event(
    numbers: &Numbers,
    found: &DiscoveryStatus,
    giving: &GivingStatus,
    rate: f64,
    disk_rate: f64,
) -> serde_json::Value {
    json!({
        "event": "status",
        "peers": numbers.peers,
        "bytes_given": numbers.uploaded,
        "chunks_given": numbers.chunks,
        "small_files_given": numbers.small_files,
        "bytes_s": rate as u64,
        "disk_bytes_s": disk_rate as u64,
        "files_shared": giving.files,
        "bytes_shared": giving.bytes,
        "files_near": giving.near,
        "files_indexed": giving.index.files_done,
        "files_to_index": giving.index.files_total,
        "discovery": found,
    })
}

fn line(
    numbers: &Numbers,
    found: &DiscoveryStatus,
    giving: &GivingStatus,
    rate: f64,
    disk_rate: f64,
) -> String {
    let mut parts = vec![
        format!("sharing {} ({})", units::counted(giving.files, "file"), units::bytes(giving.bytes)),
        units::counted(numbers.peers, "peer"),
        format!("{} uploaded", given(numbers)),
    ];
    if rate > 0.0 {
        parts.push(units::rate(rate));
    }
    if disk_rate > 0.0 {
        parts.push(format!("{} from disk", units::rate(disk_rate)));
    }
    parts.extend(discovery::words(found));
    parts.extend(giving::index_words(&giving.index));
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
        let mut giving = GivingStatus::default();
        (giving.files, giving.bytes) = (3, 5_000_000_000);
        let numbers =
            Numbers { peers: 1, uploaded: 2_000_000, chunks: 31, small_files: 0, disk_bytes: 1_000_000 };
        let nobody = DiscoveryStatus::default();
        assert_eq!(
            line(&numbers, &nobody, &giving, 0.0, 0.0),
            "sharing 3 files (5.00 GB) · 1 peer · 2.0 MB in 31 chunks uploaded"
        );
        giving.index.files_total = 2;
        assert_eq!(
            line(&numbers, &DiscoveryStatus { dht_nodes: Some([9, 0]), ..nobody }, &giving, 2e9, 5e8),
            "sharing 3 files (5.00 GB) · 1 peer · 2.0 MB in 31 chunks uploaded · 2.00 GB/s · 500 MB/s from disk · 9 DHT nodes · indexing 1 of 2"
        );
    }
}
