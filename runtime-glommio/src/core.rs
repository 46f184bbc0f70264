//! Everything one executor owns, and its three tasks beside the connections: clock, mail, and the way to an end.

use crate::budget::{Budget, STAGED_BYTES_MAX};
use crate::clerk::{Clerk, Question};
use crate::files::{Files, Found, OpenFile};
use crate::inbox::{Inbox, Mail};
use crate::kept::Small;
use crate::limits::INPUT_BYTES;
use crate::link::LinkIo;
use crate::small::SmallClerk;
use crate::stats::CoreStats;
use glommio::timer::Timer;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use zest_core::endpoint::{Scope, scope};
use zest_core::link::{self, Link, Role};
use zest_core::lived::{LATE, Lived};
use zest_core::lobby::Lobby;
use zest_core::networks::Networks;
use zest_core::node::{Config, Event, Node};
use zest_core::pex::{self, Pex};
use zest_core::{Duration, Instant, LinkId, PeerId};
use zest_send::memory::{self, Ebb};
use zest_send::{BlockCache, Lender, SmallFiles};
use zest_store::{FileId, Shelf};

/// Time between two looks at every connection's deadlines: 250 ms.
const TICK: Duration = Duration::from_millis(250);
/// The same while somebody waits for room to read into: 20 ms.
const TICK_SHORT: Duration = Duration::from_millis(20);
/// How long a full socket may keep what was read for it while others wait for room: 100 ms.
const HOARD: Duration = Duration::from_millis(100);
/// How long connections may go on being answered once the end was asked for: 5 s.
const DRAIN: Duration = Duration::from_secs(5);

/// The upper bits of a link's number are its core's: no two links of a seeder have the same.
const CORE_SHIFT: u32 = 48;

/// What a core is given when it starts.
#[derive(Debug, Clone)]
pub(crate) struct CoreConfig {
    pub(crate) seed: [u8; 32],
    pub(crate) pex_seed: [u8; 32],
    pub(crate) peer_id: PeerId,
    pub(crate) listen_port: u16,
    pub(crate) cache_bytes: usize,
    pub(crate) upload_bytes_s: Option<u64>,
    pub(crate) links_max: usize,
    pub(crate) local_only: bool,
    /// The Hub that is named on this network.
    pub(crate) hub: Option<[u8; 20]>,
    pub(crate) shelf: Arc<Shelf>,
    /// Who finds small files, if they are given.
    pub(crate) small: Option<SmallClerk>,
    /// Which of the cores it is, and the letter boxes of all.
    pub(crate) index: usize,
    pub(crate) inboxes: Vec<Inbox>,
}

pub(crate) struct Core {
    started: std::time::Instant,
    /// The node's clock, which stands still while this core is not run.
    pub(crate) lived: Cell<Lived>,
    peer_id: PeerId,
    listen_port: u16,
    local_only: bool,
    hub: Option<[u8; 20]>,
    /// Where this machine's neighbours are.
    networks: RefCell<Networks>,
    pub(crate) node: RefCell<Node>,
    pub(crate) pex: RefCell<Pex>,
    pub(crate) events: RefCell<VecDeque<Event>>,
    pub(crate) busy: Cell<bool>,
    pub(crate) links: RefCell<BTreeMap<LinkId, Rc<LinkIo>>>,
    /// Whether many have left.
    ebb: RefCell<Ebb>,
    /// Who came and has not shaken hands.
    pub(crate) lobby: RefCell<Lobby>,
    pub(crate) shelf: RefCell<Arc<Shelf>>,
    pub(crate) cache: RefCell<BlockCache>,
    pub(crate) lender: RefCell<Lender>,
    pub(crate) files: RefCell<Files>,
    pub(crate) budget: Rc<Budget>,
    pub(crate) input: RefCell<Vec<u8>>,
    pub(crate) clerk: Clerk,
    /// Who finds small files outside Xet, if they are given.
    pub(crate) small_clerk: Option<SmallClerk>,
    /// Those that are being sent.
    pub(crate) small: RefCell<SmallFiles<Small>>,
    pub(crate) inbox: Inbox,
    /// Those of the other cores.
    pub(crate) others: Vec<Inbox>,
    pub(crate) stats: Arc<CoreStats>,
    /// Reads under way.
    pub(crate) reads: Cell<usize>,
    /// No new connections and requests; what was asked is answered.
    pub(crate) stopping: Cell<bool>,
    /// Listeners that are open.
    pub(crate) listeners: Cell<usize>,
    pub(crate) acceptors: RefCell<Vec<Waker>>,
    next_link: Cell<u64>,
    /// When the clock looks again, and how to make it look sooner.
    alarm: Cell<Instant>,
    clock: RefCell<Option<Waker>>,
}

impl Core {
    pub(crate) fn new(config: CoreConfig, clerk: Clerk, stats: Arc<CoreStats>) -> Rc<Self> {
        let mut others = config.inboxes;
        let inbox = others.swap_remove(config.index);
        let mut node = Config::new(config.seed, config.peer_id);
        (node.peers_max, node.inbound_max) = (config.links_max, config.links_max);
        (node.upload_bytes_s, node.hub) = (config.upload_bytes_s, config.hub);
        Rc::new(Self {
            started: std::time::Instant::now(),
            lived: Cell::default(),
            peer_id: config.peer_id,
            listen_port: config.listen_port,
            local_only: config.local_only,
            hub: config.hub,
            networks: RefCell::default(),
            node: RefCell::new(Node::new(node)),
            pex: RefCell::new(Pex::new(config.pex_seed)),
            events: RefCell::default(),
            busy: Cell::new(false),
            links: RefCell::default(),
            ebb: RefCell::default(),
            lobby: RefCell::default(),
            shelf: RefCell::new(config.shelf),
            cache: RefCell::new(BlockCache::new(config.cache_bytes)),
            lender: RefCell::default(),
            files: RefCell::default(),
            budget: Budget::new(STAGED_BYTES_MAX),
            input: RefCell::new(vec![0; INPUT_BYTES]),
            clerk,
            small_clerk: config.small,
            small: RefCell::default(),
            inbox,
            others,
            stats,
            reads: Cell::new(0),
            stopping: Cell::new(false),
            listeners: Cell::new(0),
            acceptors: RefCell::default(),
            next_link: Cell::new((config.index as u64) << CORE_SHIFT | 1),
            alarm: Cell::new(Instant(u64::MAX)),
            clock: RefCell::default(),
        })
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(self.started.elapsed().as_micros() as u64)
    }

    /// The time of the node's clock.
    pub(crate) fn node_now(&self) -> Instant {
        let due = self.node.borrow().poll_timeout().map(|(at, _)| at);
        let mut lived = self.lived.get();
        let now = lived.at(self.now(), due);
        self.lived.set(lived);
        now
    }

    /// When the node wants to be woken, by our own clock.
    fn node_due(&self) -> Option<Instant> {
        self.node.borrow().poll_timeout().map(|(at, _)| self.lived.get().wall(at))
    }

    /// Whether a connection from there is let in.
    pub(crate) fn lets_in(self: &Rc<Self>, addr: std::net::SocketAddr) -> bool {
        !self.local_only || self.is_near_by(addr.ip())
    }

    /// Whether this is an address of this site, or of a network that this machine is on.
    fn is_near_by(self: &Rc<Self>, ip: std::net::IpAddr) -> bool {
        let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let (near, news) = self.networks.borrow_mut().near(self.now(), ip, read);
        if let Some(ours) = news {
            self.event(Event::Networks { ours });
        }
        near
    }

    /// Registers a connection that came.
    pub(crate) fn add_link(self: &Rc<Self>, addr: std::net::SocketAddr) -> Rc<LinkIo> {
        let id = LinkId(self.next_link.replace(self.next_link.get() + 1));
        let config = link::Config { role: Role::Accept, our_id: self.peer_id, listen_port: self.listen_port };
        let mut link = Link::new(self.now(), config);
        if self.small_clerk.is_some() {
            link.give_plain();
        }
        let is_near = || scope(addr.ip()) != Scope::Loopback && self.is_near_by(addr.ip());
        if let Some(hub) = self.hub.filter(|_| is_near()) {
            link.name_hub(hub);
        }
        let io = LinkIo::new(id, addr, link);
        let one_too_many = self.lobby.borrow_mut().came(id, addr.ip());
        let mut links = self.links.borrow_mut();
        links.insert(id, io.clone());
        if let Some(io) = one_too_many.and_then(|id| links.get(&id)) {
            io.close();
        }
        drop(links);
        self.count_links();
        io
    }

    /// Links came or left. When many have left, what they needed goes back to the system, beside this core.
    pub(crate) fn count_links(self: &Rc<Self>) {
        let links = self.links.borrow().len();
        self.stats.links.store(links as u64, std::sync::atomic::Ordering::Relaxed);
        if !self.ebb.borrow_mut().links(links) {
            return;
        }
        let core = self.clone();
        glommio::spawn_local(async move {
            Timer::new(memory::CALM).await;
            let links = core.links.borrow().len();
            core.ebb.borrow_mut().over(links);
            glommio::executor().spawn_blocking(memory::give_back).await;
        })
        .detach();
    }

    /// Makes room for one more connection by closing the oldest that has not even shaken hands; false if there is none.
    pub(crate) fn evict_a_stranger(&self) -> bool {
        let links = self.links.borrow();
        let stranger = links.values().find(|io| io.is_stranger());
        stranger.inspect(|io| io.close()).is_some()
    }

    /// Has a file opened, unless that is under way.
    pub(crate) fn open(&self, file: FileId) {
        let mut files = self.files.borrow_mut();
        if files.waiting(file).is_none() {
            files.opening(file);
            self.clerk.ask(&self.inbox, Question::Open(file));
        }
    }

    /// A file is not what was proven: no core gives anything of it from now on, and the catalog looks at it again when it
    /// is asked for the next shelf.
    pub(crate) fn forget(&self, file: FileId) {
        tracing::warn!(
            target: zest_store::SAID,
            kind = "changed",
            "a shared file changed since it was proven: it is not uploaded any more, `zest verify` names it"
        );
        tracing::debug!(file = file.0, "changed");
        self.shelf.borrow().forget(file);
        self.files.borrow_mut().fail(file, self.now());
    }

    async fn opened(self: Rc<Self>, id: FileId, found: Option<Found>) {
        let file = match found {
            Some(found) => OpenFile::open(found).await.map(Rc::new).inspect_err(|error| {
                tracing::warn!(target: zest_store::SAID, kind = "unreadable", "a shared file cannot be opened: {error}");
                tracing::debug!(file = id.0, "cannot open");
            }),
            None => Err(std::io::ErrorKind::NotFound.into()),
        };
        if let Ok(file) = &file {
            tracing::debug!(file = id.0, direct = file.is_direct(), "opened");
        }
        let waiting = self.files.borrow_mut().opened(id, file.ok(), self.now());
        self.resume(waiting.lookups);
        for link in waiting.links {
            if let Some(io) = self.links.borrow().get(&link) {
                io.wake();
            }
        }
    }

    /// Makes the clock look again if the node's next deadline is nearer than it knows.
    pub(crate) fn node_timer_moved(&self) {
        let sooner = self.node_due().is_some_and(|at| at < self.alarm.get());
        if sooner {
            self.wake_clock();
        }
    }

    fn wake_clock(&self) {
        let waker = self.clock.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits for the next deadline or for a nearer one to be set.
    async fn pause(&self) {
        let tick = self.now() + if self.budget.is_waited_for() { TICK_SHORT } else { TICK };
        let node = self.node_due();
        let at = node.map_or(tick, |node| node.min(tick));
        self.alarm.set(at);
        let mut timer = pin!(Timer::new(at - self.now()));
        let mut first = true;
        poll_fn(|cx| {
            if std::mem::take(&mut first) {
                self.clock.replace(Some(cx.waker().clone()));
            } else if self.clock.borrow().is_none() {
                return Poll::Ready(());
            }
            timer.as_mut().poll(cx).map(|_| ())
        })
        .await;
        self.clock.replace(None);
    }

    /// The clock of a core: the node's timer, every connection's deadlines, what peers are told of each other, those who wait for room.
    pub(crate) async fn tick(self: Rc<Self>) {
        let (mut looked, mut put_off) = (Instant::ZERO, false);
        loop {
            self.pause().await;
            let now = self.now();
            // Where this core was not run in time, what came lies in the sockets: it is read before anybody counts as silent.
            put_off = now.since(self.alarm.get()) > LATE && !put_off;
            let due = self.node_due().is_some_and(|at| at <= now);
            if due {
                self.event(Event::Timer);
            }
            if self.budget.is_waited_for() {
                self.take_from_hoarders(now);
                self.budget.wake_next();
            }
            if now.since(looked) >= TICK && !put_off {
                looked = now;
                let links: Vec<Rc<LinkIo>> = self.links.borrow().values().cloned().collect();
                links.iter().for_each(|io| io.tick(&self, now));
                self.tell_pex(pex::Event::Timer);
                self.note_stats();
            }
            if self.stopping.get() && self.links.borrow().is_empty() {
                return;
            }
        }
    }

    /// Frees what was read for those who cannot send it now, until there is room again.
    fn take_from_hoarders(&self, now: Instant) {
        for io in self.links.borrow().values() {
            if self.budget.has_room() {
                return;
            }
            io.unstage(now, HOARD);
        }
    }

    /// Reads the mail until it says stop; then answers what was asked, and closes.
    pub(crate) async fn run(self: Rc<Self>) {
        while !self.stopping.get() {
            let mail = self.inbox.collect().await;
            self.read(mail);
        }
        self.acceptors.take().into_iter().for_each(Waker::wake);
        self.each_link(LinkIo::wake);
        let end = self.now() + DRAIN;
        let mut closed = false;
        while !self.links.borrow().is_empty() || self.listeners.get() > 0 || self.reads.get() > 0 {
            // Those who are being answered may still wait for the clerk.
            let nothing = async {
                Timer::new(TICK_SHORT).await;
                VecDeque::new()
            };
            let mail = futures_lite::future::or(self.inbox.collect(), nothing).await;
            self.read(mail);
            if self.now() >= end && !std::mem::replace(&mut closed, true) {
                self.each_link(LinkIo::close);
            }
        }
        self.wake_clock();
    }

    fn read(self: &Rc<Self>, letters: VecDeque<Mail>) {
        for mail in letters {
            match mail {
                Mail::Opened { file, found } => {
                    glommio::spawn_local(self.clone().opened(file, found)).detach();
                }
                Mail::Event(event) => self.answered(event),
                Mail::Small { link, req, size, offset, found } => {
                    self.small_found(link, req, (size, offset), found);
                }
                Mail::Shelf(shelf) => {
                    self.shelf.replace(shelf);
                }
                Mail::PeerUp { link, listens } => self.introduced_elsewhere(link, listens),
                Mail::PeerDown { link } => self.tell_pex(pex::Event::LinkDown { link }),
                Mail::Stop => self.stopping.set(true),
            }
        }
    }

    fn each_link(&self, what: impl Fn(&LinkIo)) {
        self.links.borrow().values().for_each(|io| what(io));
    }
}
