//! The origin: one sender for all connections, in turn, a chunk at a time; limits per connection and per node; refusals,
//! stalls, cuts. What the hub's driver below the node does (first byte, time-outs) is part of it.

use crate::actors::Actor;
use crate::host::Life;
use crate::net::time_of;
use crate::scenario::{Line, Outage, SEC};
use crate::world::{Happening, World};
use std::collections::VecDeque;
use zest_core::node::{Event, FaultKind, OriginFault, Source};
use zest_core::{Duration, JobId};
use zest_xet::may_land;

/// A transfer that stands still is given up after this, as the runtime does.
const STALL: u64 = 10 * SEC;
/// Bytes of a connection on their way to a node, at most: its receive window.
const WINDOW: u64 = 256 << 10;
/// Bytes of a chunk header in a xorb.
const HEADER: u64 = 8;

/// Why a connection ends otherwise than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Stalls,
    /// Cut after so many chunks.
    Cut(u32),
}

/// One fetch of a block.
#[derive(Debug)]
pub(crate) struct Conn {
    host: u32,
    epoch: u32,
    task: u32,
    block: u32,
    /// Next chunk of the block to send, and the one to arrive.
    at: u32,
    arrived: u32,
    count: u32,
    fate: Fate,
    open: bool,
    in_flight: u64,
    in_round: bool,
    free_at: u64,
    /// Whether each chunk on the wire is wrong.
    wrong: VecDeque<bool>,
    saw_wrong: bool,
}

/// The sending side of the origin.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    conns: Vec<Conn>,
    round: VecDeque<u32>,
    free_at: u64,
    waking: bool,
    /// Bytes it sent in all.
    pub(crate) bytes: u64,
    /// And of each file.
    pub(crate) of_files: Vec<u64>,
    pub(crate) fetches: u64,
}

/// Silence on a connection after which the line is known to be out: 2 s, as the runtime does.
const SILENCE: u64 = 2 * SEC;

fn fault(text: &str, retry_after: Option<Duration>) -> OriginFault {
    let kind = if retry_after.is_some() { FaultKind::Busy } else { FaultKind::Unreachable };
    OriginFault { retry_after, ..OriginFault::new(kind, text) }
}

impl Origin {
    /// One of so many files.
    pub(crate) fn of(files: usize) -> Self {
        Self { of_files: vec![0; files], ..Self::default() }
    }
}

impl World {
    fn origin_gone(&self) -> bool {
        self.scenario.origin.gone_ns.is_some_and(|(from, until)| (from..until).contains(&self.now))
    }

    /// Until when the whole line is out, if it is.
    pub(crate) fn line_is_out(&self) -> Option<u64> {
        let outage = self.scenario.origin.outage.filter(|outage| outage.what == Line::Whole)?;
        (outage.from_ns..outage.until_ns).contains(&self.now).then_some(outage.until_ns)
    }

    /// What a part of the origin has to say if it is out.
    fn outage(&self, part: Line) -> Option<OriginFault> {
        let outage = self.scenario.origin.outage?;
        let concerns = outage.what == part || outage.what == Line::Whole;
        let out = concerns && (outage.from_ns..outage.until_ns).contains(&self.now);
        let (kind, text) = match outage.busy {
            true => (FaultKind::Busy, "it answers 503"),
            false => (FaultKind::Unreachable, "no route to host"),
        };
        out.then(|| OriginFault::new(kind, text))
    }

    /// Connections of a node that were not refused.
    fn connections_of(&self, host: u32) -> u32 {
        let open = |number: &u32| {
            let conn = &self.origin.conns[*number as usize];
            conn.open && !self.refusals.contains_key(number)
        };
        self.hosts[host as usize]
            .tasks
            .iter()
            .flat_map(|task| task.fetches.values())
            .filter(|n| open(n))
            .count() as u32
    }

    /// When an outage is noticed on connections under way.
    pub(crate) fn noticed(&self, outage: Outage) -> u64 {
        outage.from_ns + if outage.what == Line::Whole { SILENCE } else { 0 }
    }

    /// An outage begins: what is under way breaks off.
    pub(crate) fn origin_cut(&mut self) {
        if self.outage(Line::Cdn).is_none() {
            return;
        }
        for conn in 0..self.origin.conns.len() as u32 {
            let state = &mut self.origin.conns[conn as usize];
            if state.open && state.arrived < state.count {
                state.fate = Fate::Cut(state.arrived);
                self.later(0, Happening::OriginEnds { conn });
            }
        }
    }

    /// A node asks again how a file is laid out.
    pub(crate) fn plan_again(&mut self, host: u32, job: JobId) {
        let Some(at) = self.hosts[host as usize].task_of(job) else { return };
        let epoch = self.hosts[host as usize].epoch;
        self.later(self.scenario.origin.plan_ns, Happening::Plan { host, epoch, task: at as u32 });
    }

    /// The layout of a job is asked for.
    pub(crate) fn planned(&mut self, host: u32, at: usize) {
        let task = &self.hosts[host as usize].tasks[at];
        if !task.running {
            return;
        }
        let (job, number) = (task.job, task.file as usize);
        if self.origin_gone() {
            let why = OriginFault::new(FaultKind::Permanent, "the Hub cannot be reached");
            return self.feed(host, Event::OriginGone { job, why });
        }
        if let Some(why) = self.outage(Line::Cas) {
            return self.feed(host, Event::OriginGone { job, why });
        }
        let task = &self.hosts[host as usize].tasks[at];
        let held: Vec<u32> = task.held(&self.files.all[number]).iter().collect();
        let local = self.local_places(host, at);
        let (chunks, blocks) = (self.files.all[number].len(), self.files.all[number].blocks.clone());
        self.feed(host, Event::JobPlanned { job, chunks, blocks, held, local });
    }

    pub(crate) fn origin_fetch(&mut self, host: u32, job: JobId, block: u32) {
        if self.is_to_lose(host, job) {
            return;
        }
        let Some(at) = self.hosts[host as usize].task_of(job) else {
            return self.fail(format!("host {host} fetches for {job:?}, which is not its"));
        };
        let (epoch, task) = (self.hosts[host as usize].epoch, &self.hosts[host as usize].tasks[at]);
        if task.fetches.contains_key(&block) {
            return self.fail(format!("host {host} fetches block {block} of {job:?} twice at once"));
        }
        let file = &self.files.all[task.file as usize];
        let count = file.blocks[block as usize].runs[0].count;
        self.origin.fetches += 1;
        self.hosts[host as usize].first_fetch_at.get_or_insert(self.now);
        let options = self.scenario.origin.clone();
        let pause = options.first_byte_ns;
        let dice = &mut self.dice.origin;
        // Thrown for every fetch, so that one kind of fault switched off leaves the others as they are.
        let throws = [dice.below(1000), dice.below(1000), dice.below(1000), dice.below(1000)];
        let below = |throw: u64, permille: u32| throw < u64::from(permille);
        let cut = dice.below(u64::from(count)) as u32;
        let faulty = self.now < options.faults_end_ns;
        let refusal = if self.origin_gone() {
            Some(fault("the CDN cannot be reached", None))
        } else if let Some(fault) = self.outage(Line::Cdn) {
            Some(fault)
        } else if options.conns_max.is_some_and(|most| self.connections_of(host) >= most) {
            Some(OriginFault::new(FaultKind::Busy, "CDN answered 503"))
        } else if faulty && below(throws[0], options.busy_permille) {
            Some(fault("CDN answered 429", Some(Duration::from_secs(1 + throws[0] % 3))))
        } else if faulty && below(throws[1], options.error_permille) {
            Some(OriginFault::new(FaultKind::Busy, "CDN answered 503"))
        } else if faulty && options.expires_ns.is_some_and(|at| self.now >= at) && throws[1].is_multiple_of(4)
        {
            Some(OriginFault::new(FaultKind::Broken, "signed address has expired"))
        } else {
            None
        };
        let number = self.origin.conns.len() as u32;
        self.hosts[host as usize].tasks[at].fetches.insert(block, number);
        let fate = match refusal {
            None if faulty && below(throws[2], options.stall_permille) => Fate::Stalls,
            None if faulty && below(throws[3], options.cut_permille) => Fate::Cut(cut),
            _ => Fate::Well,
        };
        self.origin.conns.push(Conn {
            host,
            epoch,
            task: at as u32,
            block,
            at: 0,
            arrived: 0,
            count,
            fate,
            open: true,
            in_flight: 0,
            in_round: false,
            free_at: 0,
            wrong: VecDeque::new(),
            saw_wrong: false,
        });
        match refusal {
            Some(fault) => {
                self.refusals.insert(number, fault);
                self.later(pause, Happening::OriginEnds { conn: number });
            }
            None => self.later(pause, Happening::OriginBegins { conn: number }),
        }
    }

    pub(crate) fn origin_stop(&mut self, host: u32, job: JobId, block: u32) {
        let Some(at) = self.hosts[host as usize].task_of(job) else { return };
        let task = &self.hosts[host as usize].tasks[at];
        if !task.running {
            // The world ended the job, and its fetches with it.
            return;
        }
        let Some(&conn) = task.fetches.get(&block) else {
            if self.is_to_hear_of_the_end(host, job, block) {
                return;
            }
            return self.fail(format!("host {host} stops block {block} of {job:?}, which nobody fetches"));
        };
        let state = &mut self.origin.conns[conn as usize];
        if state.arrived == state.count {
            // Its last chunk is here; what follows from the whole of it is on its way.
            return;
        }
        state.open = false;
        self.later(0, Happening::OriginEnds { conn });
    }

    /// All fetches of a task break off, and nobody is told.
    pub(crate) fn origin_forget(&mut self, host: u32, at: usize) {
        for (_, conn) in std::mem::take(&mut self.hosts[host as usize].tasks[at].fetches) {
            self.origin.conns[conn as usize].open = false;
        }
    }

    /// The first byte could be sent.
    pub(crate) fn origin_begins(&mut self, conn: u32) {
        match self.origin.conns[conn as usize].fate {
            Fate::Stalls => self.later(STALL, Happening::OriginEnds { conn }),
            Fate::Cut(0) => self.origin_ends(conn),
            Fate::Cut(_) | Fate::Well => {
                self.origin_heard(conn);
                self.origin_enlist(conn);
            }
        }
    }

    /// A node hears that its fetch is answered.
    fn origin_heard(&mut self, number: u32) {
        let conn = &self.origin.conns[number as usize];
        let machine = &self.hosts[conn.host as usize];
        let lives = conn.open && machine.life == Life::Up && machine.epoch == conn.epoch;
        let task = &machine.tasks[conn.task as usize];
        if lives && task.running {
            self.feed(conn.host, Event::OriginHeard { job: task.job, block: conn.block });
        }
    }

    fn origin_enlist(&mut self, conn: u32) {
        let state = &mut self.origin.conns[conn as usize];
        let end = if let Fate::Cut(after) = state.fate { after } else { state.count };
        if !state.open || state.in_round || state.in_flight >= WINDOW || state.at >= end {
            return;
        }
        state.in_round = true;
        self.origin.round.push_back(conn);
        self.origin_kick(self.now);
    }

    fn origin_kick(&mut self, not_before: u64) {
        if !self.origin.waking && !self.origin.round.is_empty() {
            self.origin.waking = true;
            let at = self.origin.free_at.max(not_before);
            self.queue.push(at, Happening::OriginNext);
        }
    }

    /// The origin is free to send the next chunk.
    pub(crate) fn origin_next(&mut self) {
        self.origin.waking = false;
        let (per_node, per_conn) = (self.scenario.origin.node_bytes_s, self.scenario.origin.conn_bytes_s);
        let mut earliest = u64::MAX;
        let mut looked = 0;
        while looked < self.origin.round.len() && self.origin.free_at <= self.now {
            let Some(number) = self.origin.round.pop_front() else { break };
            let conn = &self.origin.conns[number as usize];
            let host = conn.host;
            let allowed = conn.free_at.max(self.hosts[host as usize].origin_free_at);
            if !conn.open {
                self.origin.conns[number as usize].in_round = false;
                continue;
            }
            if allowed > self.now {
                // Its share is used up for now; others may have theirs left.
                earliest = earliest.min(allowed);
                self.origin.round.push_back(number);
                looked += 1;
                continue;
            }
            looked = 0;
            let file = self.hosts[host as usize].tasks[conn.task as usize].file as usize;
            let first = self.files.all[file].blocks[conn.block as usize].runs[0].first;
            let bytes = u64::from(self.files.all[file].chunk_bytes(first + conn.at)) + HEADER;
            let share = |rate: Option<u64>| rate.map_or(0, |rate| time_of(bytes, rate));
            let time = share(self.scenario.origin.total_bytes_s);
            // Whom everybody bans has the model from the origin alone, and who gives nothing takes what it takes. That they take it is no harm
            // of what they say, nor anything that others could prevent: they have a line of their own.
            let apart = matches!(self.hosts[host as usize].actor, Actor::Twister | Actor::Leecher);
            if !apart {
                self.origin.free_at = self.origin.free_at.max(self.now) + time;
                self.origin.bytes += bytes;
                self.origin.of_files[file] += bytes;
            }
            let node_free = &mut self.hosts[host as usize].origin_free_at;
            *node_free = (*node_free).max(self.now) + share(per_node);
            let wrong = self.now < self.scenario.origin.faults_end_ns
                && self.dice.origin.permille(self.scenario.origin.wrong_permille);
            let (now, latency) = (self.now, self.scenario.net.latency_ns);
            let conn = &mut self.origin.conns[number as usize];
            conn.free_at = conn.free_at.max(now) + if apart { time } else { share(per_conn) };
            conn.at += 1;
            conn.in_flight += bytes;
            conn.in_round = false;
            conn.wrong.push_back(wrong);
            let at = self.through_downlink(host, bytes, true, now + latency, now + time + latency);
            self.queue.push(at, Happening::OriginChunk { conn: number });
            self.origin_enlist(number);
        }
        self.origin_kick(if earliest == u64::MAX { self.now } else { earliest });
    }

    /// A chunk of the origin has arrived.
    pub(crate) fn origin_chunk(&mut self, number: u32) {
        let conn = &mut self.origin.conns[number as usize];
        let (host, at, block) = (conn.host, conn.task as usize, conn.block);
        let nth = conn.arrived;
        conn.arrived += 1;
        let wrong = conn.wrong.pop_front().unwrap_or(false);
        conn.saw_wrong |= wrong;
        let machine = &self.hosts[host as usize];
        let lives = machine.life == Life::Up && machine.epoch == conn.epoch;
        let file = machine.tasks[at].file;
        let first = self.files.all[file as usize].blocks[block as usize].runs[0].first;
        let index = first + nth;
        let bytes = u64::from(self.files.all[file as usize].chunk_bytes(index));
        conn.in_flight = conn.in_flight.saturating_sub(bytes + HEADER);
        let open = conn.open && lives;
        if !open {
            self.hosts[host as usize].traffic.origin_waste += bytes;
            return;
        }
        self.origin_gives(host, at, index, wrong);
        let conn = &self.origin.conns[number as usize];
        let cut = matches!(conn.fate, Fate::Cut(after) if conn.arrived >= after);
        if conn.open && (conn.arrived == conn.count || cut) {
            // The workers may still be at its chunks; the end is told after them.
            self.later(self.scenario.disk.write_ns, Happening::OriginEnds { conn: number });
        }
        self.origin_enlist(number);
    }

    /// A chunk is decoded, checked as far as it can be, and written.
    fn origin_gives(&mut self, host: u32, at: usize, index: u32, wrong: bool) {
        let now = self.now;
        let machine = &mut self.hosts[host as usize];
        let task = &mut machine.tasks[at];
        let bytes = u64::from(self.files.all[task.file as usize].chunk_bytes(index));
        let (job, block) = (task.job, self.files.all[task.file as usize].block_of(index));
        let named = task.named(block);
        let needs = task.running
            && machine.node.as_ref().is_some_and(|node| node.needs(job, index))
            && !task.is_proven(index, block);
        if !needs {
            machine.traffic.origin_waste += bytes;
            return;
        }
        if let Some((_, until)) = machine.disk.full_ns.filter(|(from, until)| (*from..*until).contains(&now))
        {
            machine.traffic.origin_waste += bytes;
            return self.disk_full(host, at, until);
        }
        let blind = self.canary.lets_through();
        if !blind && !may_land(!wrong, named) {
            machine.traffic.origin_waste += bytes;
            self.totals.bad += 1;
            return self.feed(host, Event::ChunkBad { job, index, source: Source::Origin });
        }
        machine.traffic.origin_new += bytes;
        task.keep(index, !wrong, !wrong || named.is_some());
        self.totals.payload += bytes;
        if named.is_none() {
            let file = &self.files.all[self.hosts[host as usize].tasks[at].file as usize];
            let (nth, mut chunk) =
                (index - file.blocks[block as usize].runs[0].first, file.manifest.chunk(index));
            if wrong {
                chunk.hash = crate::file::Files::twisted(&chunk.hash);
            }
            if file.blocks[block as usize].whole {
                self.feed(host, Event::ChunkHashed { job, block, nth, chunk });
            }
        }
        self.chunk_done(host, job, index, Source::Origin);
    }

    /// A fetch is over, one way or the other.
    pub(crate) fn origin_ends(&mut self, number: u32) {
        let refusal = self.refusals.remove(&number);
        let conn = &mut self.origin.conns[number as usize];
        let (host, at, block) = (conn.host, conn.task as usize, conn.block);
        let machine = &mut self.hosts[host as usize];
        if machine.life != Life::Up || machine.epoch != conn.epoch {
            return;
        }
        let task = &mut machine.tasks[at];
        if task.fetches.get(&block) != Some(&number) {
            return;
        }
        task.fetches.remove(&block);
        let stopped = !std::mem::replace(&mut conn.open, false);
        let fault = refusal.or_else(|| match conn.fate {
            _ if stopped => None,
            Fate::Well => None,
            Fate::Stalls => Some(fault("no byte for 10s", None)),
            Fate::Cut(_) => Some(fault("the connection broke off", None)),
        });
        let whole = fault.is_none() && !stopped && conn.arrived == conn.count;
        let job = task.job;
        let saw_wrong = conn.saw_wrong;
        let fault = if whole { self.whole_block(host, at, block, saw_wrong) } else { fault };
        self.feed(host, Event::OriginEnded { job, block, fault });
    }

    /// A whole block has come: with all of its chunks hashed, the list proves itself against the xorb's hash.
    fn whole_block(&mut self, host: u32, at: usize, block: u32, saw_wrong: bool) -> Option<OriginFault> {
        let task = &self.hosts[host as usize].tasks[at];
        if task.named(block).is_some() {
            return None;
        }
        if saw_wrong {
            let text = "the xorb's hash is not that of its chunks";
            return Some(OriginFault::new(FaultKind::Broken, text));
        }
        self.adopt_list(host, at, block);
        None
    }

    /// Panics if the books of the origin are wrong.
    pub(crate) fn check_origin(&self) {
        for (at, conn) in self.origin.conns.iter().enumerate() {
            assert!(conn.arrived <= conn.at && conn.at <= conn.count, "connection {at} is in order");
        }
    }
}
