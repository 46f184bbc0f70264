//! The world: machines, connections, the origin, and the queue that moves them. One thread, virtual time, nothing random
//! that is not from the seed.

use crate::actors::{Actor, VICTIM};
use crate::check::Canary;
use crate::file::{File, Files};
use crate::finding::Datagram;
use crate::host::{Buffers, End as JobEnd, Host, Life};
use crate::link::{End, Item};
use crate::origin::Origin;
use crate::pool::Pool;
use crate::queue::Queue;
use crate::report::Second;
use crate::rng::Rng;
use crate::scenario::{SEC, Scenario, US};
use crate::trace::Trace;
use crate::trackers::Tracker;
use crate::wire::KINDS;
use std::collections::{BTreeMap, VecDeque};
use zest_core::node::{Action, Event, OriginFault};
use zest_core::{Instant, JobId, LinkId};

/// Something that is to happen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happening {
    Wake { host: u32, epoch: u32 },
    Start { host: u32 },
    Deliver { end: u32 },
    Uplink { host: u32 },
    Socket { end: u32 },
    Connected { end: u32 },
    Accepted { end: u32 },
    DialFailed { host: u32, epoch: u32, to: u32 },
    Refused { host: u32, epoch: u32, port: u16 },
    Down { end: u32 },
    Reset { end: u32 },
    Clog { end: u32 },
    LinkTimer { end: u32 },
    Segment { end: u32 },
    Disk { host: u32, epoch: u32 },
    Manifest { host: u32, epoch: u32, task: u32 },
    Listed { host: u32, epoch: u32, task: u32, block: u32 },
    Plan { host: u32, epoch: u32, task: u32 },
    Seal { host: u32, epoch: u32, task: u32, job: JobId },
    Again { host: u32, epoch: u32, task: u32 },
    Announce { host: u32, epoch: u32 },
    Told { host: u32, epoch: u32, about: u32 },
    Seek { host: u32, epoch: u32 },
    WatchJobs { host: u32, epoch: u32 },
    Datagram { number: u32 },
    Tracked { host: u32, epoch: u32, number: u32 },
    OriginBegins { conn: u32 },
    OriginNext,
    OriginChunk { conn: u32 },
    OriginEnds { conn: u32 },
    OriginCut,
    Leave { host: u32 },
    Crash { host: u32 },
    Jump { host: u32 },
    Freeze { host: u32 },
    Thaw { host: u32, epoch: u32 },
    Pause { host: u32, epoch: u32, paused: bool },
    Tick { host: u32 },
    PlainListed { host: u32, epoch: u32 },
    PlainOfHub { host: u32, epoch: u32, file: u32 },
    Second,
}

/// Kept small: queues are full of them.
const _: () = assert!(size_of::<Happening>() <= 20);

/// One stream of dice per subsystem.
pub(crate) struct Dice {
    pub(crate) net: Rng,
    pub(crate) disk: Rng,
    pub(crate) origin: Rng,
    pub(crate) churn: Rng,
    pub(crate) rot: Rng,
    pub(crate) freeze: Rng,
    pub(crate) actors: Rng,
    pub(crate) limits: Rng,
    pub(crate) local: Rng,
    pub(crate) tracker: Rng,
    pub(crate) segments: Rng,
}

/// Sums over the whole world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Chunk bytes that were needed and good, from peers and origin.
    pub(crate) payload: u64,
    /// All other bytes between machines but wasted chunks.
    pub(crate) control: u64,
    pub(crate) bad: u64,
    pub(crate) faults: u64,
    pub(crate) timers: u64,
    pub(crate) proved_twice: u64,
    pub(crate) bans: u64,
    /// Links to honest machines that one gave up as silent when it had just not been run itself.
    pub(crate) let_go: u64,
    /// Datagrams that finders sent, and peers they found.
    pub(crate) datagrams: u32,
    pub(crate) found: u64,
    /// Dials of an address that namers named.
    pub(crate) knocks: u64,
    /// Bans of honest machines.
    pub(crate) bans_wrong: u64,
    pub(crate) left: u64,
    /// Times that machines were not run for a while.
    pub(crate) freezes: u64,
    /// Messages of each kind, and their bytes, bulk data included (message mode).
    pub(crate) kinds: [(u64, u64); KINDS.len()],
    /// Processes that ended with buffers in their hands.
    pub(crate) cut_short: u64,
    /// Small files that machines got of each other.
    pub(crate) plain_of_peers: u64,
}

/// A world that runs. [`crate::run`] is the way in.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) files: Files,
    pub(crate) now: u64,
    pub(crate) queue: Queue<Happening>,
    pub(crate) hosts: Vec<Host>,
    /// Connection c has the ends 2c and 2c + 1; [`LinkId`]s are numbers of ends.
    pub(crate) ends: Vec<End>,
    /// What is under way between them.
    pub(crate) items: Pool<Item>,
    pub(crate) buffers: Buffers,
    pub(crate) origin: Origin,
    pub(crate) refusals: BTreeMap<u32, OriginFault>,
    pub(crate) dice: Dice,
    pub(crate) totals: Totals,
    pub(crate) trace: Trace,
    pub(crate) failure: Option<String>,
    pub(crate) canary: Canary,
    /// Times that each small file left the Hub.
    pub(crate) plain_of_hub: Vec<u32>,
    /// Tasks of honest machines that are not over, and small files that they lack.
    pub(crate) unfinished: u32,
    pub(crate) seconds: Vec<Second>,
    pub(crate) second_sums: Second,
    pending: VecDeque<(u32, Event)>,
    actions: Vec<Action>,
    /// Under way between finders.
    pub(crate) datagrams: BTreeMap<u32, Datagram>,
    /// The tracker that finders ask.
    pub(crate) tracker: Tracker,
    /// Machines the tracker knows.
    pub(crate) tracked: Vec<u32>,
    /// Jobs numbered so far.
    pub(crate) jobs: u32,
    same_time: u64,
    unchecked: u32,
}

/// Seconds that a report tells of.
const SECONDS_MAX: usize = 300;

/// A machine has just been woken for so long: 2 s.
const JUST_WOKEN: u64 = 2 * SEC;

/// Events of one instant after which the world counts as spinning.
const SAME_TIME_MAX: u64 = 20_000_000;

impl World {
    pub(crate) fn new(scenario: Scenario, trace: Trace, canary: Canary) -> Self {
        let seed = scenario.seed;
        let mut rng = Rng::of(seed, "files");
        let files = (0..scenario.files)
            .map(|number| {
                // Later files are smaller: configuration beside weights.
                let chunks = (scenario.chunks >> (2 * number)).max(1);
                File::new(&mut rng, chunks, scenario.block, scenario.chunk_bytes)
            })
            .collect::<Vec<_>>();
        let origin = Origin::of(files.len());
        let dice = Dice {
            net: Rng::of(seed, "net"),
            disk: Rng::of(seed, "disk"),
            origin: Rng::of(seed, "origin"),
            churn: Rng::of(seed, "churn"),
            rot: Rng::of(seed, "rot"),
            freeze: Rng::of(seed, "freeze"),
            actors: Rng::of(seed, "actors"),
            limits: Rng::of(seed, "limits"),
            local: Rng::of(seed, "local"),
            tracker: Rng::of(seed, "tracker"),
            segments: Rng::of(seed, "segments"),
        };
        let plain_of_hub = vec![0; scenario.plain as usize];
        let mut world = Self {
            scenario,
            plain_of_hub,
            files: Files::new(files),
            now: 0,
            queue: Queue::new(),
            hosts: Vec::new(),
            ends: Vec::new(),
            items: Pool::new(),
            buffers: Buffers::default(),
            origin,
            refusals: BTreeMap::new(),
            dice,
            totals: Totals::default(),
            trace,
            failure: None,
            canary,
            unfinished: 0,
            seconds: Vec::new(),
            second_sums: Second::default(),
            pending: VecDeque::new(),
            actions: Vec::new(),
            datagrams: BTreeMap::new(),
            tracker: Tracker::default(),
            tracked: Vec::new(),
            jobs: 0,
            same_time: 0,
            unchecked: 0,
        };
        world.populate();
        world.later(SEC, Happening::Second);
        world
    }

    // Time.

    pub(crate) fn later(&mut self, pause: u64, what: Happening) {
        self.queue.push(self.now.saturating_add(pause), what);
    }

    /// A promise was broken. The first one counts.
    pub(crate) fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    /// Plays until `done`, until nothing is left to happen, until `limit` or until a promise is broken. Tells whether it is
    /// `done`.
    pub(crate) fn play(&mut self, limit: u64, done: impl Fn(&Self) -> bool) -> bool {
        while self.failure.is_none() && !done(self) {
            let Some((at, what)) = self.queue.pop() else { return false };
            if at > limit {
                self.queue.push(at, what);
                self.now = limit;
                return false;
            }
            self.same_time = if at == self.now { self.same_time + 1 } else { 0 };
            if self.same_time > SAME_TIME_MAX {
                self.fail(format!("the world spins at {at} ns: {what:?}"));
            }
            self.now = at;
            self.happen(what);
            self.drain();
        }
        self.failure.is_none() && done(self)
    }

    pub(crate) fn lives(&self, host: u32, epoch: u32) -> bool {
        let machine = &self.hosts[host as usize];
        machine.life == Life::Up && machine.epoch == epoch
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake { host, epoch } if self.lives(host, epoch) => self.wake(host),
            Happening::Deliver { end } => self.deliver(end),
            Happening::Uplink { host } => self.uplink(host),
            Happening::Socket { end } => self.socket(end),
            Happening::Disk { host, epoch } if self.lives(host, epoch) => self.worked(host),
            Happening::OriginNext => self.origin_next(),
            Happening::OriginChunk { conn } => self.origin_chunk(conn),
            Happening::OriginBegins { conn } => self.origin_begins(conn),
            Happening::OriginEnds { conn } => self.origin_ends(conn),
            Happening::OriginCut => self.origin_cut(),
            Happening::Start { host } => self.start(host),
            Happening::Connected { end } => self.bytes_connected(end),
            Happening::Accepted { end } => self.accepted(end),
            Happening::DialFailed { host, epoch, to } if self.lives(host, epoch) => {
                let addr = self.hosts[to as usize].addr;
                self.feed(host, Event::DialFailed { addr });
            }
            Happening::Refused { host, epoch, port } if self.lives(host, epoch) => {
                self.feed(host, Event::DialFailed { addr: (VICTIM, port).into() });
            }
            Happening::Down { end } => self.down(end),
            Happening::Reset { end } => self.reset(end),
            Happening::Clog { end } => self.clog(end),
            Happening::LinkTimer { end } => self.bytes_timer(end),
            Happening::Segment { end } => self.bytes_rest(end),
            Happening::Manifest { host, epoch, task } if self.lives(host, epoch) => {
                self.adopt_manifest(host, task as usize);
            }
            Happening::Listed { host, epoch, task, block } if self.lives(host, epoch) => {
                self.adopt_list(host, task as usize, block);
            }
            Happening::Plan { host, epoch, task } if self.lives(host, epoch) => {
                self.planned(host, task as usize);
            }
            Happening::Seal { host, epoch, task, job } if self.lives(host, epoch) => {
                self.seal(host, task as usize, job);
            }
            Happening::Again { host, epoch, task } if self.lives(host, epoch) => {
                self.add_job(host, task as usize);
            }
            Happening::Announce { host, epoch } if self.lives(host, epoch) => self.announce(host),
            Happening::Told { host, epoch, about } if self.lives(host, epoch) => self.told(host, about),
            Happening::Seek { host, epoch } if self.lives(host, epoch) => self.wake_seeker(host),
            Happening::WatchJobs { host, epoch } if self.lives(host, epoch) => self.watch_seeker(host),
            Happening::Datagram { number } => self.posted(number),
            Happening::Tracked { host, epoch, number } => self.tracker_answers(host, epoch, number),
            Happening::Leave { host } => self.leave(host),
            Happening::Crash { host } => self.crash(host),
            Happening::Jump { host } => {
                let jump = self.dice.churn.within(1, 3600) * 1_000_000;
                self.hosts[host as usize].ahead_us += jump;
                self.rearm(host);
            }
            Happening::Freeze { host } => self.freeze(host),
            Happening::Thaw { host, epoch } if self.lives(host, epoch) => self.thaw(host),
            Happening::Pause { host, epoch, paused } if self.lives(host, epoch) => {
                let jobs: Vec<JobId> =
                    self.hosts[host as usize].tasks.iter().filter(|t| t.running).map(|t| t.job).collect();
                jobs.into_iter().for_each(|job| self.feed(host, Event::JobPaused { job, paused }));
            }
            Happening::Tick { host } => self.tick(host),
            Happening::PlainListed { host, epoch } if self.lives(host, epoch) => self.plain_begins(host),
            Happening::PlainOfHub { host, epoch, file } if self.lives(host, epoch) => {
                self.plain_landed(host, file);
            }
            Happening::Second => {
                self.second_over();
                // A run of many minutes is told in its first ones.
                if self.unfinished > 0 && self.seconds.len() < SECONDS_MAX {
                    self.later(SEC, Happening::Second);
                }
            }
            // Its process is gone.
            _ => {}
        }
    }

    // Nodes.

    /// Hands an event to a machine's node; it is handled when what happens now is through.
    pub(crate) fn feed(&mut self, host: u32, event: Event) {
        self.pending.push_back((host, event));
    }

    fn drain(&mut self) {
        while let Some((host, event)) = self.pending.pop_front() {
            if self.failure.is_some() {
                self.pending.clear();
                return;
            }
            self.handle(host, event);
        }
    }

    fn handle(&mut self, host: u32, event: Event) {
        let machine = &mut self.hosts[host as usize];
        let wall = Instant(self.now / US + machine.ahead_us);
        if machine.node.is_none() {
            return;
        }
        if machine.frozen_until > self.now {
            machine.unheard.push(event);
            return;
        }
        self.trace.event(self.now, host, &event);
        self.overheard(host, &event);
        let machine = &mut self.hosts[host as usize];
        let Some(node) = machine.node.as_mut() else { return };
        let is_timer = matches!(event, Event::Timer);
        let now = machine.lived.at(wall, node.poll_timeout().map(|(at, _)| at));
        node.handle(now, event);
        let mut actions = std::mem::take(&mut self.actions);
        while let Some(action) = node.poll_action() {
            actions.push(action);
        }
        if is_timer {
            self.totals.timers += 1;
            if let Some((at, timer)) = node.poll_timeout().filter(|(at, _)| *at <= now) {
                self.fail(format!("host {host}: timer {timer:?} spins: due at {at:?}, handled at {now:?}"));
            }
        }
        for action in actions.drain(..) {
            self.trace.action(self.now, host, &action);
            self.perform(host, action);
        }
        self.actions = actions;
        self.rearm(host);
        if self.scenario.check_every > 0 {
            self.unchecked += 1;
            if self.unchecked >= self.scenario.check_every {
                self.unchecked = 0;
                if let Some(node) = &self.hosts[host as usize].node {
                    node.check_invariants();
                }
            }
        }
    }

    /// Sees to it that the node is woken in time.
    fn rearm(&mut self, host: u32) {
        let machine = &mut self.hosts[host as usize];
        let Some((at, _)) = machine.node.as_ref().and_then(|node| node.poll_timeout()) else { return };
        let at = machine.lived.wall(at);
        let at = at.0.saturating_sub(machine.ahead_us).saturating_mul(US).max(self.now);
        if at < machine.armed {
            machine.armed = at;
            let epoch = machine.epoch;
            self.queue.push(at, Happening::Wake { host, epoch });
        }
    }

    fn wake(&mut self, host: u32) {
        let machine = &mut self.hosts[host as usize];
        if machine.armed != self.now {
            // It was to be woken earlier meanwhile, and was.
            return;
        }
        machine.armed = u64::MAX;
        let now = Instant(self.now / US + machine.ahead_us);
        let due = machine.node.as_ref().and_then(|node| node.poll_timeout());
        match due {
            Some((at, _)) if machine.lived.wall(at) <= now => self.feed(host, Event::Timer),
            Some(_) => self.rearm(host),
            None => {}
        }
    }

    fn perform(&mut self, host: u32, action: Action) {
        match action {
            Action::Send { link, message } => {
                if self.owns(host, link) {
                    self.send(link.0 as u32, message);
                }
            }
            Action::Hold { link, until } => self.hold(host, link, until),
            Action::Dial { addr, info_hash } => self.dial(host, addr, info_hash),
            Action::Close { link, why } => {
                if self.owns(host, link) && !self.ends[link.0 as usize].over {
                    let other = self.ends[link.0 as usize ^ 1].host;
                    let was_asleep =
                        self.hosts[host as usize].thawed_at.is_some_and(|at| self.now < at + JUST_WOKEN);
                    let honest = self.hosts[other as usize].actor == Actor::Honest;
                    self.totals.let_go += u64::from(why.contains("answered nothing") && honest && was_asleep);
                    self.close(link.0 as u32, None);
                }
            }
            Action::Prove { job, index, chunk, offset, buf, link } => {
                self.prove(host, (job, index), chunk, offset, buf, link);
            }
            Action::Free { buf } => match self.buffers.take(buf) {
                Some(content) => self.freed(host, content),
                None => self.fail(format!("host {host} frees {buf:?}, which it does not have")),
            },
            Action::KeepManifestPart { job, link, buf, first, last } => {
                self.keep_part(host, job, link, buf, (first, last));
            }
            Action::ProveBlockList { job, block, link, buf } => {
                self.prove_list(host, job, block, link, buf);
            }
            Action::ProveTentative { job, block, nth, chunk, buf, link, .. } => {
                self.prove_tentative(host, (job, block, nth), chunk, buf, link);
            }
            Action::DropTentative { job, block } => self.drop_tentative(host, job, block),
            Action::AdoptBlockList { job, block, list } => self.adopt_told(host, job, block, &list),
            Action::CopyLocal { job, index, from } => self.copy_local(host, job, index, from),
            Action::OriginPlan { job } => self.plan_again(host, job),
            Action::OriginFetch { job, block } => self.origin_fetch(host, job, block),
            Action::OriginStop { job, block } => self.origin_stop(host, job, block),
            Action::LookupChunk { link, req, hash, dialect } => {
                let place = self.lookup_chunk(host, &hash).filter(|_| self.may_hear(host, link));
                self.feed(host, Event::ChunkLocated { link, req, hash, dialect, place });
            }
            Action::LookupXorb { link, req, xorb, .. } => {
                let dialect = zest_core::link::Dialect::Range;
                let answer = zest_core::link::Outgoing::NotFound { req: req.0, hash: xorb, dialect };
                self.feed(host, Event::XorbLocated { link, answer });
            }
            Action::LookupManifest { link, req, file, first, count } => {
                let place =
                    self.lookup_records(host, &file, first, count).filter(|_| self.may_hear(host, link));
                self.feed(host, Event::ManifestLocated { link, req, place });
            }
            Action::LookupPlain { link, req, key, size, offset } => {
                self.plain_looked_up(host, link, req, &key, (size, offset));
            }
            Action::PlainCame { plain, link, bufs } => self.plain_came(host, plain, link, &bufs),
            Action::PlainAlone { plain } => self.plain_alone(host, plain),
            Action::LookupFile { link, file } => {
                let found = self.may_hear(host, link).then(|| self.lookup_file(host, &file));
                let (total, runs) = found.unwrap_or_default();
                self.feed(host, Event::FileLocated { link, file, total, runs });
            }
            Action::Complete { job } => {
                let Some(at) = self.hosts[host as usize].task_of(job) else { return };
                let task = &self.hosts[host as usize].tasks[at];
                let (held, all) = (task.held(&self.files.all[task.file as usize]), task.chunks);
                if held.count() < all && !self.is_to_hear_of_wrong(host, job) {
                    let lacks: Vec<u32> = (0..all).filter(|index| !held.contains(*index)).collect();
                    return self
                        .fail(format!("host {host} calls {job:?} complete, which lacks {lacks:?} of {all}"));
                }
                let (epoch, wait) = (self.hosts[host as usize].epoch, self.scenario.disk.write_ns);
                self.later(wait, Happening::Seal { host, epoch, task: at as u32, job });
            }
            Action::Failed { job, why } => {
                let Some(at) = self.hosts[host as usize].task_of(job) else { return };
                let task = &mut self.hosts[host as usize].tasks[at];
                if task.end.is_some() {
                    return self.fail(format!("host {host}: {job:?} fails after its end"));
                }
                task.over_at = self.now;
                self.stop_job(host, at, Some(JobEnd::Failed(*why)));
                self.job_over(host, at);
            }
            Action::Banned { addr, .. } => self.banned(host, addr),
        }
    }

    /// Whether a machine's node is still to hear that a job was taken from it: a process that was not run hears late, and acts
    /// on what it knows.
    pub(crate) fn is_to_lose(&self, host: u32, job: JobId) -> bool {
        let removed = |event: &Event| matches!(event, Event::JobRemoved { job: of } if *of == job);
        self.pending.iter().any(|(to, event)| *to == host && removed(event))
    }

    /// The same of the end of a fetch.
    pub(crate) fn is_to_hear_of_the_end(&self, host: u32, job: JobId, block: u32) -> bool {
        let ended = |event: &Event| matches!(event, Event::OriginEnded { job: of, block: at, .. } if *of == job && *at == block);
        self.pending.iter().any(|(to, event)| *to == host && ended(event))
    }

    /// The same of a list by which chunks that the origin brought before it were found wrong: the seal finds them missing.
    fn is_to_hear_of_wrong(&self, host: u32, job: JobId) -> bool {
        let found = |event: &Event| matches!(event, Event::BlockListed { job: of, wrong, .. } if *of == job && !wrong.is_empty());
        self.pending.iter().any(|(to, event)| *to == host && found(event))
    }

    fn owns(&mut self, host: u32, link: LinkId) -> bool {
        let owned = self.ends.get(link.0 as usize).is_some_and(|end| end.host == host);
        if !owned {
            self.fail(format!("host {host} acts on {link:?}, which is not its"));
        }
        owned
    }

    fn banned(&mut self, host: u32, addr: std::net::SocketAddr) {
        self.totals.bans += 1;
        let whom = self.hosts.iter().position(|h| h.addr.ip() == addr.ip());
        let deserved = whom.is_some_and(|at| {
            let machine = &self.hosts[at];
            machine.actor != Actor::Honest || machine.disk.rotten
        });
        if !deserved {
            self.totals.bans_wrong += 1;
            self.fail(format!("host {host} bans {addr}, which did nothing wrong"));
        }
    }
}
