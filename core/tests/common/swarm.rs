//! A real [`Node`] in a small scripted world: virtual time that jumps to the next happening, remotes that play a
//! script, an origin, a disk. No I/O, no clock, nothing random.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use zest_core::link::{Dialect, ExtHandshake, Extension, Message, Outgoing, PayloadKind, PeerFault};
use zest_core::lived::Lived;
use zest_core::node::*;
use zest_core::{BufId, Duration, FileId, Instant, JobId, LinkId, Location, PeerId, ReqId};
use zest_xet::Hash;

#[path = "origin.rs"]
mod origin;
#[path = "remote.rs"]
mod remote;
#[path = "script.rs"]
mod script;
pub use script::*;

/// Time the workers take for a proof or a copy.
const WORK: Duration = Duration::from_micros(200);

pub struct Remote {
    pub script: Script,
    pub addr: SocketAddr,
    pub open: bool,
    free_at: Instant,
    /// Request → when its answer begins to come.
    due: BTreeMap<ReqId, Instant>,
    pub asked: u32,
    pub given: u32,
    manifests_asked: u32,
    pub interested: BTreeSet<Hash>,
}

pub struct Task {
    pub file: Arc<File>,
    pub origin: Option<Origin>,
    pub disk: BTreeSet<u32>,
    /// What lies elsewhere on this machine, told with the plan or the manifest; false if it is rotten.
    pub local: BTreeMap<u32, bool>,
    pub fetches: BTreeMap<u32, u32>,
    /// How often the origin was asked for its layout.
    pub layouts_asked: u32,
    fetches_begun: u32,
    parts: Vec<(LinkId, u32, bool)>,
    pub from_origin: u32,
    pub streamed: u32,
    pub from_peers: u32,
    pub copied: u32,
    pub complete: Option<Instant>,
    pub failed: Option<(Instant, JobFailure)>,
    pub removed: bool,
}

enum Buf {
    Chunk { good: bool },
    Part { good: bool },
}

enum Happening {
    Event(Event),
    Dialled(SocketAddr),
    Link(LinkId, Event),
    Answer { link: LinkId, req: ReqId, answer: Answer },
    Fetch { job: JobId, block: u32, number: u32, at: u32 },
    Disk { job: JobId, event: Event },
}

enum Answer {
    Message(Message),
    Payload { kind: PayloadKind, len: u32, buf: Buf },
    Block { job: JobId, block: u32, good: bool },
}

pub struct World {
    pub node: Node,
    pub now: Instant,
    pub trace: Vec<String>,
    pub tracing: bool,
    pub remotes: BTreeMap<LinkId, Remote>,
    pub tasks: BTreeMap<JobId, Task>,
    pub dialled: Vec<(Instant, SocketAddr)>,
    pub banned: Vec<(Instant, SocketAddr)>,
    pub sent: Vec<(LinkId, Outgoing)>,
    /// Links that are not to be read for a while, and when that was said.
    pub held: Vec<(Instant, LinkId)>,
    pub timers: u64,
    /// Time a copy on our own disk takes.
    pub disk_time: Duration,
    /// Whether origins give anything at all.
    pub streams: bool,
    /// Bytes that jobs to come want first.
    pub front: u64,
    /// The node's own clock, if it has one that stands still while it is not run.
    pub lived: Option<Lived>,
    /// What came over links that are not read from.
    unread: BTreeMap<LinkId, Vec<Happening>>,
    /// Whether jobs to come are for those near alone.
    pub near: bool,
    /// The policy of jobs to come, if not the node's.
    pub policy: Option<Policy>,
    /// Of which pull jobs to come are.
    pub pull: u32,
    /// And how urgent they are in it.
    pub priority: u8,
    /// Blocks that the origin was asked for, in order, and when.
    /// Blocks are whole xorbs.
    pub whole: bool,
    pub fetched: Vec<(JobId, u32)>,
    pub fetched_at: Vec<Instant>,
    /// Layouts that were asked for.
    pub plans: Vec<(Instant, JobId)>,
    scripts: BTreeMap<SocketAddr, Script>,
    /// Whose id those say who have not their own: by port.
    pub names: BTreeMap<SocketAddr, u16>,
    bufs: BTreeMap<BufId, Buf>,
    queue: BTreeMap<(Instant, u64), Happening>,
    number: u64,
}

pub fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl World {
    pub fn new() -> Self {
        Self::with(Config::new([5; 32], PeerId(*b"-ZT0500-we-ourselves")))
    }

    pub fn with(config: Config) -> Self {
        Self {
            node: Node::new(config),
            now: Instant(1_000_000),
            trace: vec![],
            tracing: false,
            remotes: BTreeMap::new(),
            tasks: BTreeMap::new(),
            dialled: vec![],
            banned: vec![],
            sent: vec![],
            held: vec![],
            timers: 0,
            disk_time: WORK,
            streams: true,
            front: 0,
            near: false,
            policy: None,
            pull: 0,
            priority: 0,
            whole: false,
            fetched: vec![],
            lived: None,
            unread: BTreeMap::new(),
            fetched_at: vec![],
            plans: vec![],
            scripts: BTreeMap::new(),
            names: BTreeMap::new(),
            bufs: BTreeMap::new(),
            queue: BTreeMap::new(),
            number: 0,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn later(&mut self, pause: Duration, what: Happening) {
        let number = self.next_number();
        self.queue.insert((self.now + pause, number), what);
    }

    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now - Instant(1_000_000)
    }

    /// A remote that the node is told of.
    pub fn peer(&mut self, port: u16, script: Script) {
        self.scripts.insert(addr(port), script);
        self.handle(Event::PeerFound { addr: addr(port), how: Found::Named });
    }

    /// The same, where somebody else tells of it.
    pub fn found(&mut self, port: u16, script: Script, how: Found) {
        self.scripts.insert(addr(port), script);
        self.handle(Event::PeerFound { addr: addr(port), how });
    }

    /// The remote at this port plays another script on its next link.
    pub fn rewrite(&mut self, port: u16, script: Script) {
        self.scripts.insert(addr(port), script);
    }

    /// A remote that comes to us, from a port of its own.
    pub fn visitor(&mut self, port: u16, script: Script) -> LinkId {
        self.link_up(addr(port), script, Direction::Inbound)
    }

    /// The same from any address.
    pub fn visitor_from(&mut self, addr: SocketAddr, script: Script) -> LinkId {
        self.link_up(addr, script, Direction::Inbound)
    }

    pub fn job(&mut self, file: &Arc<File>, origin: Option<Origin>) -> JobId {
        self.add_job(file, origin, true)
    }

    /// A job of a file that only its origin may know of.
    pub fn job_without_peers(&mut self, file: &Arc<File>, origin: Origin) -> JobId {
        self.add_job(file, Some(origin), false)
    }

    fn add_job(&mut self, file: &Arc<File>, origin: Option<Origin>, peers: bool) -> JobId {
        let job = JobId(self.next_number() as u32);
        let spec = JobSpec {
            peers,
            near: self.near,
            policy: self.policy,
            pull: self.pull,
            priority: self.priority,
            origin: origin.is_some(),
            layout_later: true,
            front: self.front,
            ..JobSpec::new(file.hash(), file.manifest.size(), FileId(7))
        };
        self.tasks.insert(
            job,
            Task {
                file: file.clone(),
                origin,
                disk: BTreeSet::new(),
                local: BTreeMap::new(),
                fetches: BTreeMap::new(),
                layouts_asked: 0,
                fetches_begun: 0,
                parts: vec![],
                from_origin: 0,
                streamed: 0,
                from_peers: 0,
                copied: 0,
                complete: None,
                failed: None,
                removed: false,
            },
        );
        self.handle(Event::JobAdded { job, spec });
        job
    }

    pub fn remove(&mut self, job: JobId) {
        self.tasks.get_mut(&job).unwrap().removed = true;
        self.handle(Event::JobRemoved { job });
    }

    pub fn task(&self, job: JobId) -> &Task {
        &self.tasks[&job]
    }

    pub fn link_of(&self, port: u16) -> LinkId {
        *self.remotes.iter().rev().find(|(_, r)| r.addr == addr(port)).expect("it was linked").0
    }

    pub fn remote(&self, port: u16) -> &Remote {
        &self.remotes[&self.link_of(port)]
    }

    /// Runs until `done` or until so much virtual time has passed; tells whether it was `done`.
    pub fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            let timer = self.node.poll_timeout().map(|(at, _)| self.wall(at));
            let next = self.queue.keys().next().map(|(at, _)| *at);
            let at = match (timer, next) {
                (Some(timer), Some(next)) => timer.min(next),
                (one, other) => match one.or(other) {
                    Some(at) => at,
                    None => return false,
                },
            };
            if at > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(at);
            match next {
                Some(next) if timer.is_none_or(|timer| next <= timer) => {
                    let (_, what) = self.queue.pop_first().unwrap();
                    self.happen(what);
                }
                _ => {
                    self.timers += 1;
                    self.handle(Event::Timer);
                    let next = self.node.poll_timeout();
                    assert!(
                        next.is_none_or(|(at, _)| self.wall(at) > self.now),
                        "timer spins: {next:?} at {:?}",
                        self.now
                    );
                }
            }
        }
        true
    }

    /// Runs until the job is complete and gives the time that took.
    pub fn finish(&mut self, job: JobId, limit: Duration) -> Duration {
        let began = self.now;
        let done = self.run(limit, |w| w.task(job).complete.is_some() || w.task(job).failed.is_some());
        assert!(done, "{job:?} is not over after {limit:?}: {:#?}", self.node);
        assert_eq!(self.task(job).failed, None);
        self.task(job).complete.unwrap() - began
    }

    pub fn handle(&mut self, event: Event) {
        if self.tracing {
            self.trace.push(format!("{:?} <- {event:?}", self.now));
        }
        let due = self.node.poll_timeout().map(|(at, _)| at);
        let now = self.lived.as_mut().map_or(self.now, |lived| lived.at(self.now, due));
        self.node.handle(now, event);
        while let Some(action) = self.node.poll_action() {
            if self.tracing {
                self.trace.push(format!("{:?} -> {action:?}", self.now));
            }
            self.perform(action);
        }
        self.node.check_invariants();
    }

    /// When our clock will show a time of the node's.
    fn wall(&self, at: Instant) -> Instant {
        self.lived.map_or(at, |lived| lived.wall(at))
    }

    /// The node is not run for so long. Its timers ring first when it is again; what came meanwhile is looked at after that.
    pub fn freeze(&mut self, pause: Duration) {
        self.now = self.now + pause;
        self.handle(Event::Timer);
    }

    /// What comes over a link is left lying from now on.
    pub fn stop_reading(&mut self, link: LinkId) {
        self.unread.insert(link, vec![]);
        self.handle(Event::Intake { link, open: false });
    }

    pub fn read_again(&mut self, link: LinkId) {
        let came = self.unread.remove(&link).expect("it was not read from");
        self.handle(Event::Intake { link, open: true });
        came.into_iter().for_each(|what| self.happen(what));
    }

    fn happen(&mut self, what: Happening) {
        if let Happening::Answer { link, .. } | Happening::Link(link, _) = &what
            && let Some(left) = self.unread.get_mut(link)
        {
            left.push(what);
            return;
        }
        match what {
            Happening::Event(Event::JobPlanned { job, chunks, blocks, .. }) => {
                let task = &self.tasks[&job];
                if task.removed {
                    return;
                }
                self.plans.push((self.now, job));
                if let Some(why) = self.outage(job) {
                    return self.handle(Event::OriginGone { job, why });
                }
                let task = &self.tasks[&job];
                let held = task.disk.iter().copied().collect();
                let local = self.local(job);
                self.handle(Event::JobPlanned { job, chunks, blocks, held, local });
            }
            Happening::Event(Event::JobManifest { job, manifest, .. }) => {
                let mut held = BitSet::empty(manifest.len());
                self.tasks[&job].disk.iter().for_each(|index| {
                    held.insert(*index);
                });
                let local = self.local(job);
                self.handle(Event::JobManifest { job, manifest, held, local });
            }
            Happening::Event(event) => self.handle(event),
            Happening::Dialled(addr) => {
                let script = self.scripts[&addr].clone();
                self.link_up(addr, script, Direction::Outbound);
            }
            Happening::Link(link, event) => {
                let open = self.remotes.get(&link).is_some_and(|r| r.open);
                if open || matches!(event, Event::LinkDown { .. }) {
                    self.handle(event);
                }
            }
            Happening::Answer { link, req, answer } => self.answer(link, req, answer),
            Happening::Disk { job, event } => {
                let task = self.tasks.get_mut(&job).unwrap();
                if let Event::ChunkDone { index, source, .. } = &event {
                    task.disk.insert(*index);
                    match source {
                        Source::Disk => task.copied += 1,
                        Source::Peer(_) => task.from_peers += 1,
                        Source::Origin => task.from_origin += 1,
                    }
                }
                self.handle(event);
            }
            Happening::Fetch { job, block, number, at } => self.stream(job, block, number, at),
        }
    }

    fn local(&self, job: JobId) -> Vec<(u32, Location)> {
        let task = &self.tasks[&job];
        let place = |index: &u32| Location { file: FileId(1), offset: u64::from(*index), len: CHUNK };
        task.local.keys().filter(|i| !task.disk.contains(i)).map(|i| (*i, place(i))).collect()
    }

    fn link_up(&mut self, addr: SocketAddr, script: Script, direction: Direction) -> LinkId {
        let link = LinkId(self.next_number());
        let mut id = [b'p'; 20];
        let name = self.names.get(&addr).copied().unwrap_or(addr.port());
        id[..2].copy_from_slice(&name.to_be_bytes());
        let remote = Remote {
            script: script.clone(),
            addr,
            open: true,
            free_at: self.now,
            due: BTreeMap::new(),
            asked: 0,
            given: 0,
            manifests_asked: 0,
            interested: BTreeSet::new(),
        };
        self.remotes.insert(link, remote);
        self.handle(Event::LinkUp { link, addr, direction, peer_id: PeerId(id) });
        if let Some(pause) = script.greets {
            let guess = if script.ranges_only { Dialect::Range } else { Dialect::Chunk };
            let hello = ExtHandshake::empty(guess)
                .with(Extension::UtXet, Some(1))
                .with(Extension::Zest, script.zest.then_some(3));
            let message = Message::ExtHandshake(hello);
            self.later(pause, Happening::Link(link, Event::Message { link, message }));
        }
        link
    }

    /// The connection breaks, or ends for a fault of the remote.
    pub fn cut(&mut self, link: LinkId, fault: Option<PeerFault>) {
        let Some(remote) = self.remotes.get_mut(&link) else { return };
        if std::mem::replace(&mut remote.open, false) {
            self.handle(Event::LinkDown { link, fault });
        }
    }

    /// The remote says something out of its script.
    pub fn says(&mut self, link: LinkId, message: Message) {
        if self.remotes.get(&link).is_some_and(|r| r.open) {
            self.handle(Event::Message { link, message });
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Dial { addr, .. } => {
                self.dialled.push((self.now, addr));
                let script = self.scripts[&addr].clone();
                let failed = Event::DialFailed { addr };
                match script.dials {
                    Dials::Answered => self.later(script.latency * 2, Happening::Dialled(addr)),
                    Dials::Refused => self.later(script.latency * 2, Happening::Event(failed)),
                    Dials::Swallowed => self.later(ms(5000), Happening::Event(failed)),
                }
            }
            Action::Send { link, message } => self.received(link, message),
            Action::Close { link, .. } => {
                if let Some(remote) = self.remotes.get_mut(&link)
                    && std::mem::replace(&mut remote.open, false)
                {
                    let down = Event::LinkDown { link, fault: None };
                    self.later(Duration::from_micros(50), Happening::Link(link, down));
                }
            }
            Action::Prove { job, index, buf, link, chunk, offset } => {
                let task = &self.tasks[&job];
                assert_eq!(task.file.manifest.chunk(index), chunk);
                assert_eq!(task.file.manifest.offset(index), offset);
                let source = Source::Peer(link);
                let event = match self.bufs.remove(&buf).expect("a buffer is used once") {
                    Buf::Chunk { good: true } => Event::ChunkDone { job, index, source },
                    _ => Event::ChunkBad { job, index, source },
                };
                self.later(WORK, Happening::Disk { job, event });
            }
            Action::Free { buf } => {
                self.bufs.remove(&buf).expect("a buffer is freed once");
            }
            Action::KeepManifestPart { job, link, buf, first, last } => {
                let Some(Buf::Part { good }) = self.bufs.remove(&buf) else {
                    panic!("a part lies in {buf:?}")
                };
                let task = self.tasks.get_mut(&job).unwrap();
                if first == 0 {
                    task.parts.clear();
                }
                task.parts.push((link, first, good));
                if last {
                    let good = task.parts.iter().all(|(from, _, good)| *from == link && *good);
                    let manifest = task.file.manifest.clone();
                    let (held, local) = (BitSet::empty(0), vec![]);
                    let event = match good {
                        true => Event::JobManifest { job, manifest, held, local },
                        false => Event::ManifestBad { job, link },
                    };
                    self.later(WORK, Happening::Event(event));
                }
            }
            Action::ProveBlockList { .. }
            | Action::ProveTentative { .. }
            | Action::DropTentative { .. }
            | Action::AdoptBlockList { .. } => panic!("nobody has lists of blocks here"),
            Action::CopyLocal { job, index, .. } => {
                let source = Source::Disk;
                let event = match self.tasks[&job].local[&index] {
                    true => Event::ChunkDone { job, index, source },
                    false => Event::ChunkBad { job, index, source },
                };
                self.later(self.disk_time, Happening::Disk { job, event });
            }
            Action::OriginPlan { job } => {
                let task = self.tasks.get_mut(&job).unwrap();
                task.layouts_asked += 1;
                let (chunks, mut blocks) = (task.file.len(), task.file.blocks());
                blocks.iter_mut().for_each(|block| block.whole = self.whole);
                // What is held is filled in when it happens: the disk may have grown.
                let event = Event::JobPlanned { job, chunks, blocks, held: vec![], local: vec![] };
                if let Some(pause) = self.tasks[&job].origin.as_ref().and_then(|origin| origin.plan) {
                    self.later(pause, Happening::Event(event));
                }
            }
            Action::OriginFetch { job, block } => {
                let now = self.now;
                let task = self.tasks.get_mut(&job).unwrap();
                self.fetched.push((job, block));
                self.fetched_at.push(now);
                let number = task.fetches_begun;
                task.fetches_begun += 1;
                let before = task.fetches.insert(block, number);
                assert_eq!(before, None, "a block is fetched once at a time");
                let pause = task.origin.as_ref().expect("the origin is used").first_byte;
                self.later(pause, Happening::Fetch { job, block, number, at: 0 });
            }
            Action::OriginStop { job, block } => {
                let number = self.tasks.get_mut(&job).unwrap().fetches.remove(&block);
                assert!(number.is_some(), "only a fetch under way is stopped");
                let ended = Event::OriginEnded { job, block, fault: None };
                self.later(WORK, Happening::Event(ended));
            }
            Action::Complete { job } => {
                let task = self.tasks.get_mut(&job).unwrap();
                assert_eq!(task.disk.len() as u32, task.file.len(), "complete means complete");
                task.complete = Some(self.now);
            }
            Action::Failed { job, why } => {
                let task = self.tasks.get_mut(&job).unwrap();
                assert!(task.failed.is_none() && task.complete.is_none(), "a job ends once");
                task.failed = Some((self.now, *why));
            }
            Action::Banned { addr, .. } => self.banned.push((self.now, addr)),
            Action::LookupChunk { link, req, hash, dialect } => {
                self.handle_later(Event::ChunkLocated { link, req, hash, dialect, place: None });
            }
            Action::LookupManifest { link, req, .. } => {
                self.handle_later(Event::ManifestLocated { link, req, place: None });
            }
            Action::LookupFile { link, file } => {
                self.handle_later(Event::FileLocated { link, file, total: 0, runs: vec![] });
            }
            Action::LookupPlain { link, req, .. } => {
                self.handle_later(Event::PlainLocated { link, req, body: None });
            }
            Action::PlainCame { .. } | Action::PlainAlone { .. } => panic!("nobody wants small files here"),
            Action::LookupXorb { .. } => {}
            Action::Hold { link, .. } => self.held.push((self.now, link)),
        }
    }

    fn handle_later(&mut self, event: Event) {
        self.later(Duration::ZERO, Happening::Event(event));
    }

    /// A buffer of wrong bytes, to be given to the node out of any script.
    pub fn buffer(&mut self) -> BufId {
        let id = BufId(self.next_number());
        self.bufs.insert(id, Buf::Chunk { good: false });
        id
    }

    /// Buffers that were given to the node and have not come back.
    pub fn buffers_out(&self) -> usize {
        self.bufs.len()
    }
}
