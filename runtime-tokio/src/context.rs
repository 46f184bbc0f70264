//! Everything the engine's thread owns: the node, the links, the jobs. Events go in here, actions are performed here.

use crate::buffers::{BUFFER_BYTES, Buffer, Pool};
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::discovery::Finder;
use crate::engine::StoreHandles;
use crate::figures::Figures;
use crate::giving::Giving;
use crate::hot::Hot;
use crate::hubs::Hubs;
use crate::jobs::{JobState, add, is_partial};
pub(crate) use crate::limits::LINKED_MAX;
use crate::limits::{DECODES_MAX, DIAL};
use crate::linkio::{self, LinkIo};
use crate::peer_range::PeerRange;
use crate::pull::{Errand, ErrandKey};
use crate::session::Limits;
use crate::tentative;
use crate::throttle::Throttle;
use crate::workers::{Done, Mailbox, Place, Work, Workers};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::rc::Weak as RcWeak;
use std::sync::{Arc, Weak};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use zest_core::link::{self, Dialect, Link, Outgoing, PeerFault, Role, Severity, ZestMessage};
use zest_core::lived::Lived;
use zest_core::lobby::Lobby;
use zest_core::networks::Networks;
use zest_core::node::{Action, Direction, Event, Found, Node, Source};
use zest_core::{BufId, FileId, InfoHash, JobId, LinkId, Location, PeerId};
use zest_store::memory::{self, Ebb};
use zest_xet::Hash;

/// Silence of a dial after which another one begins beside it: 2 s.
const DIAL_BESIDE: std::time::Duration = std::time::Duration::from_secs(2);

pub(crate) struct Context {
    pub(crate) clock: Clock,
    /// The node's clock, which stands still while this thread is not run.
    pub(crate) lived: Cell<Lived>,
    /// How Hubs are asked, and how they do.
    pub(crate) hubs: Hubs,
    pub(crate) pool: Pool,
    /// What is left of today's budget of uploads, where there is one.
    pub(crate) budget_left: Cell<Option<u64>>,
    /// Where all links read what cannot be foreseen.
    pub(crate) heads: RefCell<Vec<u8>>,
    pub(crate) store: Arc<StoreHandles>,
    /// Chunks in memory.
    pub(crate) hot: Hot,
    pub(crate) decodes: Arc<Semaphore>,
    pub(crate) workers: RefCell<Workers>,
    pub(crate) mailbox: Mailbox,
    pub(crate) jobs: RefCell<BTreeMap<JobId, Rc<JobState>>>,
    pub(crate) links: RefCell<BTreeMap<LinkId, Rc<LinkIo>>>,
    pub(crate) peer_id: PeerId,
    pub(crate) listen_port: Cell<u16>,
    /// The Hub that is named to those who may speak of it, if not everybody knows it.
    pub(crate) hub: Cell<Option<[u8; 20]>>,
    /// That Hub is on this machine alone.
    pub(crate) hub_here: Cell<bool>,
    /// Whether peers that are found are dialled.
    pub(crate) dials: Cell<bool>,
    /// Who came and has not shaken hands.
    pub(crate) lobby: RefCell<Lobby>,
    /// Whether many have left.
    ebb: RefCell<Ebb>,
    /// Finds peers, if that is asked for.
    pub(crate) finder: OnceCell<Rc<Finder>>,
    pub(crate) node: RefCell<Node>,
    events: RefCell<VecDeque<Event>>,
    busy: Cell<bool>,
    buffers: RefCell<BTreeMap<BufId, Buffer>>,
    /// Chunk lists of jobs under way, for whoever asks.
    pub(crate) records: RefCell<BTreeMap<BufId, Bytes>>,
    /// Partial files by their number. They stay open for what is queued when their job is over.
    pub(crate) partials: RefCell<BTreeMap<FileId, Weak<File>>>,
    next: Cell<u64>,
    pub(crate) next_job: Cell<u32>,
    /// Files that were landed since the engine started, of those that peers may ask for.
    pub(crate) landed: RefCell<BTreeSet<Hash>>,
    uploaded: Cell<u64>,
    /// Payload bytes that links were told to send: what the upload budget counts.
    given: Cell<u64>,
    /// Cancelled when the engine ends.
    pub(crate) ending: CancelToken,
    /// Pulls that run.
    pub(crate) pulls: Cell<usize>,
    pull_over: Notify,
    /// Files that pulls wait for.
    pub(crate) errands: RefCell<BTreeMap<ErrandKey, Rc<Errand>>>,
    /// Whose turn it is with a plain file.
    plain_turns: RefCell<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    /// The counters of the pulls that run.
    pub(crate) figures: RefCell<Vec<RcWeak<Figures>>>,
    /// The job that the event in hand is about, if it tells of wrong bytes.
    blamed: Cell<Option<JobId>>,
    /// The cap on what is received, if there is one.
    throttle: Throttle,
    /// Who is given to.
    giving: Cell<Giving>,
    pub(crate) origin_moved_at: Cell<zest_core::Instant>,
    /// When the origin was last asked for a block while it was asked for no other.
    pub(crate) asked_at: Cell<zest_core::Instant>,
    /// When a connection was last opened beside one that is silent.
    pub(crate) beside_at: Cell<zest_core::Instant>,
    pub(crate) downloaded_past: Cell<u64>,
    /// Where this machine's neighbours are.
    pub(crate) networks: RefCell<Networks>,
    /// Addresses that the user named.
    pub(crate) named: RefCell<BTreeSet<SocketAddr>>,
    /// Told whenever the workers were given something.
    pub(crate) pushed: Notify,
    /// Told whenever the node's next deadline may have moved.
    pub(crate) timer_moved: Notify,
}

impl Context {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of an engine, each made once and handed over here"
    )]
    pub(crate) fn new(
        clock: Clock,
        node: Node,
        store: Arc<StoreHandles>,
        workers: Workers,
        mailbox: Mailbox,
        peer_id: PeerId,
        throttle: Throttle,
        hot: Hot,
        hubs: Hubs,
    ) -> Rc<Self> {
        Rc::new(Self {
            clock,
            lived: Cell::default(),
            hubs,
            pool: Pool::default(),
            budget_left: Cell::default(),
            heads: RefCell::new(vec![0; linkio::HEAD_BYTES]),
            store,
            hot,
            decodes: Arc::new(Semaphore::new(DECODES_MAX)),
            workers: RefCell::new(workers),
            mailbox,
            jobs: RefCell::default(),
            links: RefCell::default(),
            peer_id,
            listen_port: Cell::new(0),
            hub: Cell::new(None),
            hub_here: Cell::new(false),
            dials: Cell::new(true),
            lobby: RefCell::default(),
            ebb: RefCell::default(),
            finder: OnceCell::new(),
            node: RefCell::new(node),
            events: RefCell::default(),
            busy: Cell::new(false),
            buffers: RefCell::default(),
            records: RefCell::default(),
            partials: RefCell::default(),
            next: Cell::new(1),
            next_job: Cell::new(1),
            landed: RefCell::default(),
            uploaded: Cell::new(0),
            given: Cell::new(0),
            ending: CancelToken::new(),
            pulls: Cell::new(0),
            pull_over: Notify::new(),
            errands: RefCell::default(),
            plain_turns: RefCell::default(),
            figures: RefCell::default(),
            blamed: Cell::new(None),
            throttle,
            giving: Cell::default(),
            origin_moved_at: Cell::default(),
            asked_at: Cell::default(),
            beside_at: Cell::default(),
            downloaded_past: Cell::new(0),
            networks: RefCell::default(),
            named: RefCell::default(),
            pushed: Notify::new(),
            timer_moved: Notify::new(),
        })
    }

    /// Takes an event in and performs what follows, in order. Performing may raise further events; they queue up.
    pub(crate) fn event(self: &Rc<Self>, event: Event) {
        self.events.borrow_mut().push_back(event);
        if self.busy.replace(true) {
            return;
        }
        loop {
            let Some(event) = self.events.borrow_mut().pop_front() else { break };
            tracing::trace!(?event);
            let now = self.node_now();
            self.blamed.set(blamed(&event));
            self.node.borrow_mut().handle(now, event);
            loop {
                let Some(action) = self.node.borrow_mut().poll_action() else { break };
                tracing::trace!(?action);
                self.perform(action);
            }
            #[cfg(debug_assertions)]
            self.node.borrow().check_invariants();
        }
        self.busy.set(false);
        self.timer_moved.notify_one();
    }

    pub(crate) fn needs(&self, job: JobId, index: u32) -> bool {
        self.node.borrow().needs(job, index)
    }

    /// Whether a chunk neither is there nor waits on this machine.
    pub(crate) fn lacks(&self, job: JobId, index: u32) -> bool {
        let node = self.node.borrow();
        node.needs(job, index) && !node.is_set_aside(job, index)
    }

    /// See [`Node::is_near`].
    pub(crate) fn is_near(&self, link: LinkId) -> bool {
        self.node.borrow().is_near(link)
    }

    /// Linked peers that have something of a job's file.
    pub(crate) fn job_sources(&self, job: JobId) -> usize {
        self.node.borrow().sources(job)
    }

    /// The user named a peer.
    pub(crate) fn name_peer(self: &Rc<Self>, addr: SocketAddr) {
        self.named.borrow_mut().insert(addr);
        match self.finder.get() {
            Some(finder) => finder.named(addr),
            None => self.event(Event::PeerFound { addr, how: Found::Named }),
        }
    }

    /// When the node wants to be woken, by our own clock.
    pub(crate) fn next_timer(&self) -> Option<zest_core::Instant> {
        self.node.borrow().poll_timeout().map(|(at, _)| self.lived.get().wall(at))
    }

    /// The time of the node's clock.
    fn node_now(&self) -> zest_core::Instant {
        let due = self.node.borrow().poll_timeout().map(|(at, _)| at);
        let mut lived = self.lived.get();
        let now = lived.at(self.clock.now(), due);
        self.lived.set(lived);
        now
    }

    /// A job that shares the origin's work with others waits so long for them: somebody is looking for them.
    pub(crate) fn job_waits(self: &Rc<Self>, job: JobId, pause: std::time::Duration) {
        let until = self.node_now() + pause;
        self.event(Event::JobLooking { job, until });
    }

    pub(crate) fn node_stats(&self) -> zest_core::node::Stats {
        self.node.borrow().stats()
    }

    /// Gives the workers something to do. They are woken when this thread's present task pauses, once for all of it.
    pub(crate) fn push(&self, work: Work) {
        self.workers.borrow().push(work);
        self.pushed.notify_one();
    }

    pub(crate) fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    fn perform(self: &Rc<Self>, action: Action) {
        match action {
            Action::Dial { addr, info_hash } => {
                tokio::task::spawn_local(dial(self.clone(), addr, info_hash));
            }
            Action::Send { link, message } => {
                let io = self.links.borrow().get(&link).cloned();
                if let Some(io) = io {
                    let payload = message.payload_bytes();
                    if payload > 0 && !self.giving.get().covers(io.addr) {
                        // Nothing of it goes out: the node's account is settled at once.
                        io.send(self, withheld(message));
                        return self.event(Event::Sent { link, bytes: payload });
                    }
                    self.count_given(&message);
                    io.send(self, message);
                }
            }
            Action::Close { link, why } => {
                tracing::debug!(link = link.0, why, "closing a link");
                if let Some(io) = self.links.borrow().get(&link) {
                    io.close();
                }
            }
            Action::Hold { link, until } => {
                if let Some(io) = self.links.borrow().get(&link) {
                    io.hold(self.lived.get().wall(until));
                }
            }
            Action::Prove { job, index, chunk, offset, buf, link } => {
                let buf = self.buffers.borrow_mut().remove(&buf);
                let job = self.jobs.borrow().get(&job).map(|j| j.file.clone());
                if let (Some(job), Some(buf)) = (job, buf) {
                    let place = Place { index, offset };
                    self.push(Work::Prove { job, place, chunk, buf, source: Source::Peer(link) });
                }
            }
            Action::Free { buf } => {
                self.buffers.borrow_mut().remove(&buf);
            }
            Action::KeepManifestPart { job, link, buf, first, last } => {
                self.keep_manifest_part(job, link, buf, first, last);
            }
            Action::ProveBlockList { job, block, link, buf } => {
                let buf = self.buffers.borrow_mut().remove(&buf);
                if let Some(buf) = buf {
                    let context = self.clone();
                    tokio::task::spawn_local(crate::lists::prove_records(context, job, block, link, buf));
                }
            }
            Action::ProveTentative { job, block, nth, chunk, buf, link } => {
                let buf = self.buffers.borrow_mut().remove(&buf);
                if let Some(buf) = buf {
                    tentative::compare(self, (job, block, nth), chunk, buf, link);
                }
            }
            Action::DropTentative { job, block } => tentative::drop_block(self, job, block),
            Action::AdoptBlockList { job, block, list } => tentative::adopt_told(self, job, block, &list),
            Action::CopyLocal { job, index, from } => self.copy_local(job, index, from),
            Action::OriginPlan { job } => {
                tokio::task::spawn_local(crate::origin::ask_layout(self.clone(), job));
            }
            Action::OriginFetch { job, block } => crate::origin::start_fetch(self, job, block),
            Action::OriginStop { job, block } => {
                if let Some(stop) = self.job(job).and_then(|j| j.fetches.borrow().get(&block).cloned()) {
                    stop.notify_one();
                }
            }
            Action::LookupChunk { link, req, hash, dialect } => {
                let access = self.access_of(link);
                let place = self.locate_hot(&hash, access).or_else(|| self.locate_chunk(&hash, access));
                self.event(Event::ChunkLocated { link, req, hash, dialect, place });
            }
            Action::LookupXorb { link, req, xorb, start, end } => {
                let io = self.links.borrow().get(&link).cloned();
                let answer = match io {
                    // One answer can be thousands of parts: a peer that asks faster than it reads gets no more of them.
                    Some(io) if io.is_behind() => {
                        Outgoing::NotFound { req: req.0, hash: xorb, dialect: Dialect::Range }
                    }
                    _ => self.locate_xorb(req.0, xorb, self.access_of(link), start, end),
                };
                self.event(Event::XorbLocated { link, answer });
            }
            Action::LookupManifest { link, req, file, first, count } => {
                let io = self.links.borrow().get(&link).cloned();
                // A part may be half a megabyte: who does not read what it was sent gets no more of them.
                let behind = io.is_some_and(|io| io.is_behind());
                let access = self.access_of(link);
                let place = if behind { None } else { self.locate_manifest(&file, access, first, count) };
                self.event(Event::ManifestLocated { link, req, place });
            }
            Action::LookupFile { link, file } => {
                let (total, runs) = self.locate_file(&file, self.access_of(link));
                self.event(Event::FileLocated { link, file, total, runs });
            }
            Action::Complete { job } => {
                tokio::task::spawn_local(crate::seal::seal(self.clone(), job));
            }
            Action::Failed { job, why } => {
                if let Some(job) = self.job(job) {
                    let path = job.path.clone();
                    let origin = job.origin.as_ref().and_then(|origin| origin.last_fault()).map(Box::new);
                    job.finish(Err(crate::PullError::NoSource { path, why, origin }));
                }
            }
            Action::Banned { addr, peer_id, until, jobs } => {
                // Wrong bytes are about one job, a broken protocol about all that the peer had to do with.
                let jobs = self.blamed.get().map_or(jobs, |job| vec![job]);
                self.count_banned(addr, &jobs);
                let secs = (until - self.lived.get().seems(self.clock.now())).as_secs();
                tracing::warn!(%addr, ?peer_id, secs, "peer shut out: it sent wrong bytes or broke the protocol");
            }
        }
    }

    /// What the workers report.
    pub(crate) fn done(self: &Rc<Self>, done: Done) {
        match done {
            Done::Chunk { job: id, index, len, source } => {
                if let Some(job) = self.job(id) {
                    // It was written before the proven list came, and the list names another.
                    if !job.file.fits(index) {
                        add(&job.counts.bad_chunks, 1);
                        self.event(Event::ChunkBad { job: id, index, source });
                        return;
                    }
                    let of_peer = source == Source::Disk && job.tentative.borrow_mut().was_copied(index);
                    // A chunk that came twice is not twice there. What a peer gave is counted here or nowhere: the file's list may have
                    // found it in the partial file since it was copied there.
                    let counts = source != Source::Disk || of_peer || self.needs(id, index);
                    let (bytes, chunks) = match source {
                        _ if of_peer => (&job.counts.peer_bytes, &job.counts.peer_chunks),
                        Source::Peer(_) => (&job.counts.peer_bytes, &job.counts.peer_chunks),
                        Source::Origin => (&job.counts.cdn_bytes, &job.counts.cdn_chunks),
                        Source::Disk => (&job.counts.disk_bytes, &job.counts.disk_chunks),
                    };
                    if counts {
                        add(bytes, u64::from(len));
                        add(chunks, 1);
                    }
                    self.hubs.moved();
                    crate::origin::sync_now_and_then(self, &job);
                    if index == 0 {
                        crate::header::first_chunk_came(self, id, &job, len);
                    }
                    job.news.notify_waiters();
                    if source == Source::Origin {
                        tentative::hashed(self, id, &job, index);
                    }
                }
                self.event(Event::ChunkDone { job: id, index, source });
            }
            Done::Bad { job: id, index, source, why } => {
                tracing::warn!(index, ?source, why, "a chunk failed its proof");
                if let Some(job) = self.job(id) {
                    add(&job.counts.bad_chunks, 1);
                    if let (Source::Origin, Some(origin)) = (source, &job.origin) {
                        origin.gave_wrong_bytes();
                    }
                }
                self.event(Event::ChunkBad { job: id, index, source });
            }
            Done::Gone { job: id, index, rotten } => {
                if let Some(job) = self.job(id).filter(|_| rotten) {
                    let (path, file) = (&job.path, job.file.file);
                    tracing::warn!(path, %file, index, "a chunk of an earlier run has rotted on disk; it is fetched again");
                    add(&job.counts.rotten_chunks, 1);
                }
                self.event(Event::ChunkBad { job: id, index, source: Source::Disk });
            }
            Done::Compared { job, block, nth, link, kept } => {
                tentative::compared(self, (job, block, nth), link, kept);
            }
            Done::BlockProven { job, block, list } => crate::lists::block_proven(self, job, block, list),
            Done::FetchEnded { job, block, fault } => self.event(Event::OriginEnded { job, block, fault }),
            Done::Read { place, chunk } => self.was_read(place, chunk.as_ref()),
            Done::Disk { job: id, error } => {
                if let Some(job) = self.job(id) {
                    let path = job.path.clone();
                    job.finish(Err(crate::PullError::Io { path, source: error }));
                }
            }
        }
    }

    pub(crate) fn hold(&self, buf: Buffer) -> BufId {
        let id = BufId(self.number());
        self.buffers.borrow_mut().insert(id, buf);
        id
    }

    /// A buffer of the pool, or one of its own size where that is too small or empty.
    pub(crate) fn buffer(&self, len: usize) -> Buffer {
        let pooled = if len <= BUFFER_BYTES { self.pool.try_take() } else { None };
        pooled.unwrap_or_else(|| Buffer::large(len))
    }

    pub(crate) fn bytes_of(&self, id: BufId, offset: u32, len: u32) -> Option<Bytes> {
        let range = offset as usize..offset as usize + len as usize;
        if let Some(records) = self.records.borrow().get(&id) {
            return (range.end <= records.len()).then(|| records.slice(range));
        }
        let buffers = self.buffers.borrow();
        buffers.get(&id)?.as_ref().get(range).map(Bytes::copy_from_slice)
    }

    /// Makes bytes known under a name that a body can have.
    pub(crate) fn hold_records(&self, records: Bytes) -> BufId {
        let id = BufId(self.number());
        self.records.borrow_mut().insert(id, records);
        id
    }

    /// Bytes came from the origin.
    pub(crate) fn origin_moved(&self) {
        self.origin_moved_at.set(self.clock.now());
        self.hubs.moved();
    }

    /// Whether one of the silent transfers may try another connection: one in so much time, however many they are.
    pub(crate) fn may_try_beside(&self, every: std::time::Duration) -> bool {
        let now = self.clock.now();
        let may = now.since(self.beside_at.get()) >= every;
        if may {
            self.beside_at.set(now);
        }
        may
    }

    /// Whether any transfer from the origin moved within this time.
    pub(crate) fn origin_moved_since(&self, within: std::time::Duration) -> bool {
        self.clock.now().since(self.origin_moved_at.get()) < within
    }

    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploaded.set(self.uploaded.get() + bytes);
    }

    /// Bytes came in, from whomever.
    pub(crate) fn took(&self, bytes: usize) {
        if let Some(throttle) = self.throttle() {
            throttle.took(bytes);
        }
    }

    /// The cap on what is received, if there is one.
    pub(crate) fn throttle(&self) -> Option<&Throttle> {
        Some(&self.throttle).filter(|throttle| throttle.is_set())
    }

    /// Other caps, and another use of the origin, from now on.
    pub(crate) fn set_limits(self: &Rc<Self>, limits: &Limits) {
        self.throttle.set(limits.max_download);
        let (policy, upload_bytes_s) = (limits.policy, limits.max_upload);
        self.event(Event::Settings { policy, upload_bytes_s });
    }

    /// Gives to these from now on.
    pub(crate) fn give(&self, giving: Giving) {
        self.giving.set(giving);
        if let Some(finder) = self.finder.get() {
            finder.shelf_changed();
        }
    }

    /// Counts a pull for as long as it runs.
    pub(crate) fn count_pull(self: &Rc<Self>) -> RunningPull {
        self.pulls.set(self.pulls.get() + 1);
        RunningPull(self.clone())
    }

    /// Waits until no pull runs.
    pub(crate) async fn pulls_over(&self) {
        while self.pulls.get() > 0 {
            self.pull_over.notified().await;
        }
    }

    /// Waits until no other pull is at a plain file.
    pub(crate) async fn plain_turn(&self, place: &Path) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.plain_turns.borrow_mut();
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(place.to_path_buf()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// So many payload bytes more are given.
    pub(crate) fn given_more(&self, bytes: u64) {
        self.given.set(self.given.get() + bytes);
    }

    pub(crate) fn given_bytes(&self) -> u64 {
        self.given.get()
    }

    pub(crate) fn uploaded_bytes(&self) -> u64 {
        self.uploaded.get()
    }

    pub(crate) fn downloaded_bytes(&self) -> u64 {
        self.downloaded_past.get() + self.links.borrow().values().map(|l| l.downloaded.get()).sum::<u64>()
    }

    fn copy_local(self: &Rc<Self>, id: JobId, index: u32, from: Location) {
        if self.job(id).is_some_and(|job| tentative::copy(self, id, &job, index, from)) {
            return;
        }
        if let Some(job) = self.job(id).filter(|_| is_partial(from.file)) {
            let place = Place { index, offset: from.offset };
            return self.push(Work::Check { job: job.file.clone(), place, len: from.len });
        }
        let (Some(job), Some(file)) = (self.job(id), self.open(from.file)) else {
            self.event(Event::ChunkBad { job: id, index, source: Source::Disk });
            return;
        };
        let expected = job.file.expected(index);
        let told = job.local_offsets.borrow().get(&index).copied();
        let Some(offset) = job.file.manifest.get().map(|m| m.offset(index)).or(told) else {
            self.event(Event::ChunkBad { job: id, index, source: Source::Disk });
            return;
        };
        let place = Place { index, offset };
        let job = job.file.clone();
        self.push(Work::Copy { job, place, len: from.len, expected, file, from: from.offset });
    }

    fn keep_manifest_part(self: &Rc<Self>, id: JobId, link: LinkId, buf: BufId, first: u32, last: bool) {
        let (Some(buf), Some(job)) = (self.buffers.borrow_mut().remove(&buf), self.job(id)) else { return };
        let mut records = job.manifest_records.borrow_mut();
        if first == 0 {
            records.clear();
        }
        records.extend_from_slice(buf.as_ref());
        if !last {
            return;
        }
        let records = std::mem::take(&mut *records);
        tokio::task::spawn_local(crate::lookup::prove_manifest(self.clone(), id, link, records));
    }

    /// Registers a connection and runs it.
    pub(crate) async fn run_link(
        self: &Rc<Self>,
        stream: TcpStream,
        addr: SocketAddr,
        direction: Direction,
        role: Role,
    ) {
        let id = LinkId(self.number());
        let config = link::Config { role, our_id: self.peer_id, listen_port: self.listen_port.get() };
        let mut link = Link::new(self.clock.now(), config);
        if let Some(hub) = self.hub.get().filter(|_| self.may_name_hub(addr, direction)) {
            link.name_hub(hub);
        }
        let io = LinkIo::new(id, addr, direction, link);
        self.links.borrow_mut().insert(id, io.clone());
        self.count_links();
        if direction == Direction::Inbound {
            let one_too_many = self.lobby.borrow_mut().came(id, addr.ip());
            if let Some(io) = one_too_many.and_then(|id| self.links.borrow().get(&id).cloned()) {
                io.close();
            }
        }
        linkio::run(self.clone(), stream, io).await;
    }

    /// Links came or left. When many have left, what they needed goes back to the system, beside this thread.
    fn count_links(self: &Rc<Self>) {
        let count = |context: &Self| context.links.borrow().len();
        if !self.ebb.borrow_mut().links(count(self)) {
            return;
        }
        let context = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(memory::CALM).await;
            context.ebb.borrow_mut().over(count(&context));
            let _done = tokio::task::spawn_blocking(memory::give_back).await;
        });
    }

    pub(crate) fn link_ended(self: &Rc<Self>, io: &LinkIo, established: bool, fault: Option<PeerFault>) {
        if let Some(fault) = &fault {
            if fault.severity() == Severity::Fatal {
                tracing::warn!(%fault, link = io.id.0, "peer broke the protocol");
            } else {
                tracing::debug!(%fault, link = io.id.0, "link closed");
            }
        }
        self.links.borrow_mut().remove(&io.id);
        self.count_links();
        self.lobby.borrow_mut().left(io.id);
        if let Some(finder) = self.finder.get() {
            finder.parted(io.id);
        }
        self.downloaded_past.set(self.downloaded_past.get() + io.downloaded.get());
        if established {
            self.event(Event::LinkDown { link: io.id, fault });
        } else if let Some(addr) = io.dialled() {
            if let Some(PeerFault::SelfConnection) = fault {
                if let Some(finder) = self.finder.get() {
                    finder.own(addr);
                }
                self.event(Event::OwnAddress { addr });
            } else {
                self.count_unreachable(addr, "what answers there does not speak as a peer");
                self.event(Event::DialFailed { addr });
            }
        }
    }

    /// The stream for a xorb range that a peer begins to send, if we asked for it.
    pub(crate) fn begin_block(self: &Rc<Self>, peer: PeerRange) -> Option<mpsc::Sender<Bytes>> {
        let (job, block) = self.node.borrow().block_request(peer.link, peer.req)?;
        let (to, from) = mpsc::channel(64);
        tokio::task::spawn_local(crate::peer_range::block_from_peer(self.clone(), job, block, peer, from));
        Some(to)
    }
}

/// See [`Context::count_pull`].
pub(crate) struct RunningPull(Rc<Context>);

impl Drop for RunningPull {
    fn drop(&mut self) {
        self.0.pulls.set(self.0.pulls.get() - 1);
        self.0.pull_over.notify_one();
    }
}

/// The answer where something is not given.
fn withheld(message: Outgoing) -> Outgoing {
    match message {
        Outgoing::Chunk { req, hash, dialect, .. } => Outgoing::NotFound { req, hash, dialect },
        Outgoing::XorbBytes { req, xorb, .. } | Outgoing::XorbRange { req, xorb, .. } => {
            Outgoing::NotFound { req, hash: xorb, dialect: Dialect::Range }
        }
        Outgoing::ManifestPart { req, .. } => Outgoing::Zest(ZestMessage::ManifestNone { req }),
        other => other,
    }
}

/// The job about which an event says that a peer sent wrong bytes.
fn blamed(event: &Event) -> Option<JobId> {
    match event {
        Event::ChunkBad { job, source: Source::Peer(_), .. }
        | Event::ManifestBad { job, .. }
        | Event::TentativeBad { job, .. }
        | Event::BlockListBad { job, .. } => Some(*job),
        _ => None,
    }
}

/// A connection that hears nothing for a while is let run, and another one tried beside it: one that was begun while the line
/// was out may hear of its return much later than a new one.
async fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let mut tries = FuturesUnordered::new();
    tries.push(TcpStream::connect(addr));
    loop {
        tokio::select! {
            Some(outcome) = tries.next() => match outcome {
                Err(_) if !tries.is_empty() => {}
                outcome => return outcome,
            },
            () = tokio::time::sleep(DIAL_BESIDE) => tries.push(TcpStream::connect(addr)),
        }
    }
}

async fn dial(context: Rc<Context>, addr: SocketAddr, info_hash: InfoHash) {
    match zest_hub::lived::within(DIAL, connect(addr)).await {
        Some(Ok(stream)) => {
            context.run_link(stream, addr, Direction::Outbound, Role::Dial { info_hash }).await;
        }
        Some(Err(error)) => {
            tracing::debug!(%addr, %error, "cannot dial");
            context.count_unreachable(addr, &error.to_string());
            context.event(Event::DialFailed { addr });
        }
        None => {
            tracing::debug!(%addr, "dial timed out");
            context.count_unreachable(addr, "it does not answer");
            context.event(Event::DialFailed { addr });
        }
    }
}
