//! The executors: started one per core, trusted when each has reported up, ended together.

use crate::accept;
use crate::clerk::Clerk;
use crate::core::{Core, CoreConfig};
use crate::error::SeederError;
use crate::inbox::{Inbox, Mail};
use crate::limits::{BACKLOG, LINKS_MAX};
use crate::probe::{Ring, probe};
use crate::small::SmallClerk;
use crate::stats::{CoreStats, SeederStats};
use glommio::net::TcpListener;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use rustix::net::sockopt::set_tcp_congestion;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd as _, IntoRawFd as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use zest_core::PeerId;
use zest_core::link::hub_key;
use zest_store::{Catalog, Endpoint, HfCache, Shelf};

/// Azureus-style client prefix of our peer ids: ZT, version 0.5.0.
const PEER_ID_PREFIX: &[u8; 8] = b"-ZT0500-";
/// With a cap on what is sent, one core for this much of it: 1 GB/s, about a third of what a core can send. A cap is split
/// evenly, connections are not: the fewer cores share it, the nearer to it they come.
const CAPPED_BYTES_S: u64 = 1_000_000_000;

/// How a seeder is to run.
#[derive(Debug, Clone)]
pub struct SeederConfig {
    /// Addresses to accept peers on.
    pub listen: Vec<SocketAddr>,
    /// Processors to run on, by number; empty: one of each physical core this process may use.
    pub cores: Vec<usize>,
    /// Bytes of all block caches together.
    pub cache_bytes: u64,
    /// Payload bytes sent in any second, over all cores, at least [`zest_core::node::UPLOAD_BYTES_S_MIN`].
    pub upload_bytes_s: Option<u64>,
    /// Connections of one core, at most.
    pub links_max: usize,
    /// Connections of all cores together, one for each at least; `None`: as many as they may have.
    pub links_in_all: Option<usize>,
    /// Nobody from outside this site is let in.
    pub local_only: bool,
    /// The Hub we are configured for, as `zest_runtime_tokio::EngineConfig::hub`.
    pub hub: Option<Endpoint>,
    /// TCP congestion control of the connections; `None`: the system's.
    pub congestion_control: Option<String>,
    /// What may be given.
    pub catalog: Arc<Catalog>,
    /// The cache whose small files outside Xet are given; `None`: none are.
    pub cache: Option<Arc<HfCache>>,
}

impl SeederConfig {
    /// A seeder that listens nowhere and caches nothing.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            listen: Vec::new(),
            cores: Vec::new(),
            cache_bytes: 0,
            upload_bytes_s: None,
            links_max: LINKS_MAX,
            links_in_all: None,
            local_only: false,
            hub: None,
            congestion_control: None,
            catalog,
            cache: None,
        }
    }
}

/// Running executors. [`Seeder::shutdown`] ends them; when a seeder is dropped they end by themselves.
#[derive(Debug)]
pub struct Seeder {
    addrs: Vec<SocketAddr>,
    cores: Vec<Running>,
    catalog: Arc<Catalog>,
    shelf: Mutex<Arc<Shelf>>,
    registered: bool,
}

#[derive(Debug)]
struct Running {
    inbox: Inbox,
    stats: Arc<CoreStats>,
    thread: Option<ExecutorJoinHandle<()>>,
}

impl Seeder {
    /// Probes, opens listeners and starts an executor for each core, and waits until all are up.
    ///
    /// # Errors
    /// [`SeederError::Refused`] where io_uring cannot be used; a port that is taken; a core or a congestion control that is
    /// not there.
    pub fn start(config: SeederConfig) -> Result<Self, SeederError> {
        let ring = probe()?;
        let mut cores = choose(&config.cores)?;
        if let Some(cap) = config.upload_bytes_s {
            cores.truncate(usize::try_from(cap.div_ceil(CAPPED_BYTES_S)).unwrap_or(usize::MAX).max(1));
        }
        let mut addrs = Vec::new();
        let mut listeners: Vec<Vec<Socket>> = cores.iter().map(|_| Vec::new()).collect();
        for &asked in &config.listen {
            let failed = |source| SeederError::Listen { addr: asked, source };
            check_free(asked).map_err(failed)?;
            // Any port: the one that the first core got.
            let mut addr = asked;
            for listeners in &mut listeners {
                let listener = listen(addr, config.congestion_control.as_deref())?;
                let bound = listener.local_addr().map_err(failed)?.as_socket();
                addr = bound.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
                listeners.push(listener);
            }
            addrs.push(addr);
        }
        let shelf = Arc::new(config.catalog.shelf(None).unwrap_or_default());
        let clerk = Clerk::start(config.catalog.clone()).map_err(SeederError::Thread)?;
        let small = |cache: &Arc<HfCache>| SmallClerk::start(config.catalog.clone(), cache.clone());
        let small = config.cache.as_ref().map(small).transpose().map_err(SeederError::Thread)?;
        let mut seeder = Self {
            addrs,
            cores: Vec::new(),
            catalog: config.catalog.clone(),
            shelf: Mutex::new(shelf.clone()),
            registered: false,
        };
        let hub = config.hub.as_ref().filter(|hub| !config.catalog.is_public_hub(hub) && !hub.is_loopback());
        let hub = hub.map(|hub| hub_key(hub.as_str()));
        let (report, reports) = mpsc::channel();
        let share = cores.len();
        let inboxes: Vec<Inbox> = cores.iter().map(|_| Inbox::default()).collect();
        for (index, (&core, listeners)) in cores.iter().zip(listeners).enumerate() {
            let mut random = [0; 76];
            getrandom::fill(&mut random).map_err(|error| SeederError::Random(error.to_string()))?;
            let (seed, tail) = random.split_at(32);
            let (pex_seed, tail) = tail.split_at(32);
            let mut id = [0; 20];
            id[..8].copy_from_slice(PEER_ID_PREFIX);
            id[8..].copy_from_slice(tail);
            let core_config = CoreConfig {
                seed: seed.try_into().expect("32 bytes were split off"),
                pex_seed: pex_seed.try_into().expect("32 bytes were split off"),
                peer_id: PeerId(id),
                listen_port: seeder.addrs.first().map_or(0, SocketAddr::port),
                cache_bytes: (config.cache_bytes / share as u64) as usize,
                upload_bytes_s: config.upload_bytes_s.map(|cap| cap / share as u64),
                links_max: config
                    .links_in_all
                    .map_or(config.links_max, |all| (all / share).clamp(1, config.links_max)),
                local_only: config.local_only,
                hub,
                shelf: shelf.clone(),
                small: small.clone(),
                index,
                inboxes: inboxes.clone(),
            };
            seeder.spawn(core, core_config, listeners, ring, clerk.clone(), report.clone())?;
        }
        drop(report);
        // An executor that fails says so only when it is joined: nothing is believed until all have reported.
        for _ in &cores {
            if reports.recv().is_err() {
                return Err(seeder.why_dead(&cores));
            }
        }
        Ok(seeder)
    }

    fn spawn(
        &mut self,
        core: usize,
        config: CoreConfig,
        listeners: Vec<Socket>,
        ring: Ring,
        clerk: Clerk,
        report: mpsc::Sender<()>,
    ) -> Result<(), SeederError> {
        let (io_memory, registered) = ring.io_memory(config.inboxes.len());
        self.registered = registered;
        let (inbox, stats) = (config.inboxes[config.index].clone(), Arc::new(CoreStats::default()));
        let numbers = stats.clone();
        let thread = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name("zest-seed")
            .io_memory(io_memory)
            .spawn(move || async move {
                let _alive = Alive::new(numbers.clone());
                let core = Core::new(config, clerk, numbers);
                for listener in listeners {
                    glommio::spawn_local(accept::run(core.clone(), give_to_glommio(listener))).detach();
                }
                let clock = glommio::spawn_local(core.clone().tick()).detach();
                let _nobody_waits = report.send(());
                drop(report);
                core.run().await;
                clock.await;
            })
            .map_err(|error| SeederError::Executor { core, why: error.to_string() })?;
        self.cores.push(Running { inbox, stats, thread: Some(thread) });
        Ok(())
    }

    /// Why an executor ended without a word.
    fn why_dead(&mut self, numbers: &[usize]) -> SeederError {
        for running in &self.cores {
            running.inbox.post(Mail::Stop);
        }
        let mut found = None;
        for (running, &core) in self.cores.iter_mut().zip(numbers) {
            if let Some(Err(error)) = running.thread.take().map(ExecutorJoinHandle::join) {
                found = Some(SeederError::Executor { core, why: error.to_string() });
            }
        }
        found.unwrap_or(SeederError::Executor { core: 0, why: "it ended at once".to_owned() })
    }

    /// Where peers can connect to, as bound.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Executors.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Whether the memory that is read into is registered with the kernel, which saves a fifth of the work per read.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registered
    }

    /// Numbers of now, at most a quarter of a second old.
    #[must_use]
    pub fn stats(&self) -> SeederStats {
        let mut sum = SeederStats::default();
        self.cores.iter().for_each(|core| core.stats.add_to(&mut sum));
        sum
    }

    /// Files that are given, and their bytes.
    #[must_use]
    pub fn shared(&self) -> (u64, u64) {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).totals()
    }

    /// Takes in what changed in the catalog: all cores get a new shelf, if there is anything new. Blocks while it is made.
    pub fn refresh(&self) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(new) = self.catalog.shelf(Some(&shelf)) else { return };
        *shelf = Arc::new(new);
        for core in &self.cores {
            core.inbox.post(Mail::Shelf(shelf.clone()));
        }
    }

    /// Answers what was asked, for five seconds at most, closes every link and waits for the executors.
    pub fn shutdown(mut self) {
        self.stop();
        for core in &mut self.cores {
            if let Some(Err(error)) = core.thread.take().map(ExecutorJoinHandle::join) {
                tracing::warn!(%error, "an executor ended badly");
            }
        }
    }

    fn stop(&self) {
        self.cores.iter().for_each(|core| core.inbox.post(Mail::Stop));
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Says that its executor runs, and that it does not when it unwinds.
struct Alive(Arc<CoreStats>);

impl Alive {
    fn new(stats: Arc<CoreStats>) -> Self {
        stats.alive.store(true, Relaxed);
        Self(stats)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.store(false, Relaxed);
    }
}

/// Makes sure that nobody else listens on an address. The cores share it (`SO_REUSEPORT`), which alone would also let a
/// second seeder in.
fn check_free(addr: SocketAddr) -> io::Result<()> {
    if addr.port() != 0 {
        let alone = socket(addr)?;
        alone.set_reuse_address(true)?;
        alone.bind(&addr.into())?;
        alone.listen(1)?;
    }
    Ok(())
}

/// One core's share of the connections that come to an address. Its congestion control is theirs: chosen only when one is
/// there it would come too late, since what bbr has begun to pace stays paced.
fn listen(addr: SocketAddr, congestion_control: Option<&str>) -> Result<Socket, SeederError> {
    let failed = |source| SeederError::Listen { addr, source };
    let socket = socket(addr).map_err(failed)?;
    if let Some(name) = congestion_control {
        set_tcp_congestion(&socket, name).map_err(|error| SeederError::CongestionControl {
            name: name.to_owned(),
            source: error.into(),
        })?;
    }
    // Connections of a process that has just ended keep the port for a minute, unless they and who comes after allow it.
    let opened = socket
        .set_reuse_port(true)
        .and_then(|()| socket.set_reuse_address(true))
        .and_then(|()| socket.bind(&addr.into()))
        .and_then(|()| socket.listen(BACKLOG));
    opened.map_err(failed)?;
    Ok(socket)
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// On an executor. glommio makes its own listeners without asking for anything else, and takes others by their number.
#[allow(unsafe_code)]
fn give_to_glommio(listener: Socket) -> TcpListener {
    // SAFETY: the number is that of an open listener, and nobody else has it from here on.
    unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) }
}

/// The processors to run on: those asked for, or the first of each physical core that this process may use.
fn choose(asked: &[usize]) -> Result<Vec<usize>, SeederError> {
    let usable = rustix::thread::sched_getaffinity(None);
    let usable: Vec<usize> = match usable {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    };
    if let Some(&core) = asked.iter().find(|core| !usable.contains(core)) {
        let usable = usable.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        return Err(SeederError::Core { core, usable });
    }
    let mut cores = match asked.is_empty() {
        false => asked.to_vec(),
        true => usable.iter().copied().filter(|&cpu| is_first_thread(cpu, &usable)).collect(),
    };
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

/// Whether a processor is the first usable one of its physical core.
fn is_first_thread(cpu: usize, usable: &[usize]) -> bool {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let siblings = std::fs::read_to_string(path).unwrap_or_default();
    // "0,64" or "0-1".
    let first =
        siblings.trim().split(['-', ',']).find_map(|cpu| cpu.parse().ok().filter(|cpu| usable.contains(cpu)));
    first.is_none_or(|first: usize| first >= cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{Shutdown, TcpStream};

    /// A listener on a port of loopback, as each core has one.
    fn listening(port: u16) -> Result<(std::net::TcpListener, SocketAddr), SeederError> {
        let addr = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), port);
        check_free(addr).map_err(|source| SeederError::Listen { addr, source })?;
        let listener: std::net::TcpListener = listen(addr, None)?.into();
        let addr = listener.local_addr().expect("it is bound");
        Ok((listener, addr))
    }

    #[test]
    fn who_starts_again_at_once_gets_the_port_though_connections_were_open() {
        let (listener, addr) = listening(0).expect("a free port");
        let mut peers: Vec<TcpStream> = Vec::new();
        let mut ours: Vec<TcpStream> = Vec::new();
        for _ in 0..2 {
            peers.push(TcpStream::connect(addr).expect("it listens"));
            ours.push(listener.accept().expect("somebody came").0);
        }
        // One peer hears of the end and answers it, the other never looks.
        ours[0].shutdown(Shutdown::Both).expect("it was open");
        assert_eq!(peers[0].read(&mut [0]).expect("the end"), 0);
        drop(peers.remove(0));
        drop((ours, listener));
        let (again, addr) = listening(addr.port()).expect("the port is ours again");
        // Nobody else gets it meanwhile.
        let taken = check_free(addr).expect_err("somebody listens");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(again);
    }
}
