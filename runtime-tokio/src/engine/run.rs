//! The engine's thread: it makes the rooms, drives the node, and ends in order.

use super::config::EngineConfig;
use super::{FAREWELL_SHORT, LocalTask};
use crate::budget::Budget;
use crate::clock::{Clock, sleep_until};
use crate::context::Context;
use crate::discovery::Finder;
use crate::disk::Disk;
use crate::done::report;
use crate::error::EngineError;
use crate::held::Held;
use crate::hot::Hot;
use crate::hubs::Hubs;
use crate::jobs::Jobs;
use crate::link;
use crate::machine::Machine;
use crate::origin::Origin;
use crate::perform::perform;
use crate::pulls::Pulls;
use crate::small::Small;
use crate::transport::Transport;
use crate::vicinity::Vicinity;
use crate::workers::{Mailbox, Workers};
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};
use zest_core::PeerId;
use zest_core::link::{Role, hub_key};
use zest_core::node::{Direction, Event, Node};
use zest_core::wire::handshake::PEER_ID_PREFIX;
use zest_store::{Endpoint, SAID};

/// Pause after `accept` failed (out of descriptors): the listener must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long pulls may take to make durable what they have when the engine ends: 400 ms. Ours; what is not durable by then is
/// looked at again by the next run.
const END: Duration = Duration::from_millis(400);

pub(super) async fn run(
    config: EngineConfig,
    listeners: Vec<std::net::TcpListener>,
    listen: Vec<SocketAddr>,
    random: [u8; 76],
    mut inbox: mpsc::UnboundedReceiver<LocalTask>,
    started: oneshot::Sender<Result<(), EngineError>>,
    hurry: Arc<AtomicBool>,
) {
    let mailbox = Mailbox::default();
    let count = match config.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        count => count,
    };
    let workers = match Workers::start(count, &mailbox) {
        Ok(workers) => workers,
        Err(error) => {
            let _ = started.send(Err(EngineError::Thread(error)));
            return;
        }
    };
    let (seed, tail) = random.split_at(32);
    let (finder_seed, tail) = tail.split_at(32);
    let mut id = [0; 20];
    id[..8].copy_from_slice(&PEER_ID_PREFIX);
    id[8..].copy_from_slice(tail);
    let seed = seed.try_into().expect("32 bytes were split off");
    let hub = config.hub.as_ref().filter(|hub| !config.store.catalog.is_public_hub(hub));
    let hub_here = hub.is_some_and(Endpoint::is_loopback);
    let hub = hub.map(|hub| hub_key(hub.as_str()));
    let node = Node::new(config.node(seed, PeerId(id), hub, hub_here));
    let hot = Hot::new(config.cache_bytes);
    let clock = Clock::start();
    let hubs = Hubs::new(clock, config.give_up_after, config.store.catalog.clone());
    let dials = config.announced.is_empty();
    let reached_at = if dials { listen } else { config.announced };
    let port = reached_at.first().map_or(0, SocketAddr::port);
    let context = Rc::new(Context {
        clock,
        machine: Machine::new(clock, node),
        transport: Rc::new(Transport::new(PeerId(id), port, clock, config.download_bytes_s)),
        vicinity: Vicinity::new(clock, hub, hub_here),
        finder: OnceCell::new(),
        origin: Rc::new(Origin::new(clock, hubs)),
        disk: Disk::new(config.store, hot, workers, mailbox.clone()),
        held: Held::new(),
        small: Small::default(),
        jobs: Jobs::new(),
        pulls: Pulls::new(),
        perform,
    });
    if let Some(settings) = config.discovery.filter(|settings| settings.is_needed() || config.surveys) {
        let seed = finder_seed.try_into().expect("32 bytes were split off");
        match Finder::start(&context, settings, &reached_at, PeerId(id), seed, dials).await {
            Ok(finder) => drop(context.finder.set(finder)),
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        }
    }
    // Nobody is served before it is known what may be given today.
    let budget = match config.upload_budget {
        None => None,
        Some(limits) => {
            let path = limits.account.clone();
            let mut budget = Budget::new(limits);
            if let Err(source) = budget.settle(&context).await {
                let _ = started.send(Err(EngineError::Budget { path, source }));
                return;
            }
            Some(Rc::new(Mutex::new(budget)))
        }
    };
    if let Some(budget) = &budget {
        tokio::task::spawn_local(Budget::keep(budget.clone(), context.clone()));
    }
    for listener in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::task::spawn_local(accept(context.clone(), listener));
            }
            Err(error) => {
                let _ = started.send(Err(EngineError::Thread(error)));
                return;
            }
        }
    }
    context.transport.traffic.set_nice(config.nice);
    tokio::task::spawn_local(crate::nice::keep(clock, context.transport.clone()));
    tokio::task::spawn_local(crate::giving::keep_denials(context.disk.store.catalog.clone()));
    tokio::task::spawn_local({
        let context = context.clone();
        async move { context.disk.keep_workers_awake().await }
    });
    let _ = started.send(Ok(()));
    let mut batch = Vec::new();
    loop {
        let timer = context.machine.next_timer().map(|at| context.clock.to_tokio(at));
        tokio::select! {
            biased;
            task = inbox.recv() => match task {
                Some(task) => {
                    tokio::task::spawn_local(task(context.clone()));
                }
                None => break,
            },
            () = mailbox.take(&mut batch) => {
                for one in batch.drain(..) {
                    report(&context, one);
                }
            }
            () = sleep_until(timer) => context.event(Event::Timer),
            () = context.machine.timer_moved() => {}
        }
    }
    let hurry = hurry.load(Ordering::Relaxed);
    // Pulls that run end and leave what they have; the workers' reports are taken in meanwhile.
    context.pulls.ending.cancel();
    let kept = async {
        while context.pulls.run() {
            mailbox.take(&mut batch).await;
            for one in batch.drain(..) {
                report(&context, one);
            }
        }
    };
    let _at_last = tokio::time::timeout(END, async {
        tokio::select! {
            () = kept => {}
            () = context.pulls.all_over() => {}
        }
    })
    .await;
    if let Some(finder) = context.finder.get() {
        let farewell = finder.end();
        match hurry {
            true => drop(tokio::time::timeout(FAREWELL_SHORT, farewell).await),
            false => farewell.await,
        }
    }
    for io in context.transport.all() {
        io.close();
    }
    // One turn for the writers to see it.
    tokio::task::yield_now().await;
    if let Some(budget) = budget
        && let Err(error) = budget.lock().await.settle(&context).await
    {
        tracing::warn!(target: SAID, kind = "budget-account", "what was uploaded today cannot be noted: {error}");
    }
    context.disk.stop();
}

async fn accept(context: Rc<Context>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                if context.finder.get().is_some_and(|finder| !finder.lets_in(addr)) {
                    continue;
                }
                let context = context.clone();
                tokio::task::spawn_local(async move {
                    link::dial::run(context, stream, addr, Direction::Inbound, Role::Accept).await;
                });
            }
            Err(error) => {
                tracing::warn!(target: SAID, kind = "no-connections", "peers cannot connect at present: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
