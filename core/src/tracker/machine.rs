//! The machine: which swarm is announced where and when.

use super::announce::{Announce, AnnounceEvent, NUMWANT};
use super::event::{Action, Config, Event, Rank, RequestId, Timer};
use super::http;
use super::server::{Sent, Server, Task};
use super::swarm::Swarm;
use super::{
    ANSWER_WAIT, FAREWELL_AGAIN, FAREWELL_HOLD, FAREWELLS_MAX, HTTP_PACKETS, OPEN_MAX, SWARMS_MAX,
    TRACKERS_MAX, UDP_PACKETS, udp,
};
use crate::bucket::Bucket;
use crate::endpoint::canonical;
use crate::node::rng::Rng;
use crate::{InfoHash, Instant};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Trackers of which one is asked, best first, and the swarms to be announced there.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) tiers: Vec<Vec<usize>>,
    /// By [`Rank`].
    due: [BTreeSet<(Instant, InfoHash)>; 3],
    /// When to look again; `None` if an answer or an event comes first.
    wake: Option<Instant>,
}

/// What to do with a swarm that is due.
enum Choice {
    Ask(usize),
    /// No tracker before then.
    Later(Instant),
    /// An answer has to come first.
    Busy,
}

/// A farewell to be sent behind a request.
#[derive(Debug)]
pub(super) struct Parting {
    pub(super) server: usize,
    swarm: InfoHash,
    pub(super) task: Task,
    /// The tracker knows of us, whatever comes of the request.
    joined: bool,
}

/// All announcing at trackers of a process. See the [module](super) for its contract.
#[derive(Debug)]
pub struct Trackers {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) key: u32,
    pub(super) servers: Vec<Server>,
    pub(super) lanes: Vec<Lane>,
    pub(super) swarms: BTreeMap<InfoHash, Swarm>,
    pub(super) over_http: BTreeMap<u64, Sent>,
    pub(super) over_udp: BTreeMap<u32, Sent>,
    /// Farewells that wait for the end of a request over HTTP, by that request: it might be overtaken.
    pub(super) partings: BTreeMap<u64, Parting>,
    /// The process ends, and they wait no longer than this.
    pub(super) hold_until: Option<Instant>,
    request_next: u64,
    pub(super) bucket: Bucket,
    pub(super) actions: VecDeque<Action>,
    pub(super) closing: bool,
}

impl Trackers {
    /// A machine that announces nothing yet.
    #[must_use]
    pub fn new(now: Instant, mut config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        let mut servers = Vec::new();
        let mut tiers = Vec::new();
        for urls in core::mem::take(&mut config.tiers) {
            let first = servers.len();
            servers.extend(urls.into_iter().take(TRACKERS_MAX - first).map(Server::new));
            let mut tier: Vec<usize> = (first..servers.len()).collect();
            for left in (1..tier.len()).rev() {
                #[expect(clippy::cast_possible_truncation, reason = "at most 64 trackers")]
                tier.swap(left, rng.below(left as u32 + 1) as usize);
            }
            if !tier.is_empty() {
                tiers.push(tier);
            }
        }
        let groups: Vec<Vec<Vec<usize>>> = match (config.every_tier, tiers.is_empty()) {
            (_, true) => Vec::new(),
            (true, _) => tiers.into_iter().map(|tier| alloc::vec![tier]).collect(),
            (false, _) => alloc::vec![tiers],
        };
        let lane = |tiers| Lane { tiers, due: Default::default(), wake: None };
        Self {
            key: rng.u32(),
            bucket: Bucket::new(now, config.milli_packets_per_s, config.burst_packets),
            lanes: groups.into_iter().map(lane).collect(),
            config,
            rng,
            servers,
            swarms: BTreeMap::new(),
            over_http: BTreeMap::new(),
            over_udp: BTreeMap::new(),
            partings: BTreeMap::new(),
            hold_until: None,
            request_next: 0,
            actions: VecDeque::new(),
            closing: false,
        }
    }

    /// Takes one event in. Infallible: what a tracker does wrong becomes its [`Standing`](super::Standing).
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        let ended = match event {
            Event::HttpReply { id, status, body } => {
                Some((id, status == 200 && http::announce_reply(body).is_ok()))
            }
            Event::HttpFailed { id, .. } => Some((id, false)),
            Event::Add { .. }
            | Event::Progress { .. }
            | Event::Completed { .. }
            | Event::Hungry { .. }
            | Event::Remove { .. }
            | Event::Forget { .. }
            | Event::Scrape { .. }
            | Event::HttpFrom { .. }
            | Event::Resolved { .. }
            | Event::Datagram { .. }
            | Event::Shutdown
            | Event::Timer => None,
        };
        if let Some((id, heard)) = ended {
            self.part(now, id.0, heard);
        }
        if self.closing {
            return self.part_over_udp(now, event);
        }
        match event {
            Event::Add { swarm, rank, left } => self.add(now, swarm, rank, left),
            Event::Progress { swarm, uploaded, downloaded, left } => {
                if let Some(swarm) = self.swarms.get_mut(&swarm) {
                    (swarm.uploaded, swarm.downloaded, swarm.left) = (uploaded, downloaded, left);
                }
            }
            Event::Completed { swarm } => {
                if let Some(known) = self.swarms.get_mut(&swarm) {
                    known.left = 0;
                    self.hurry(now, swarm, |_| now);
                }
            }
            Event::Hungry { swarm } => {
                self.hurry(now, swarm, |lane| lane.last.map_or(now, |last| last + lane.pause_min));
            }
            Event::Remove { swarm } => self.remove(now, swarm),
            Event::Forget { swarm } => self.forget(swarm),
            Event::Scrape { swarms } => self.scrape(now, swarms),
            Event::HttpFrom { id, addr } => {
                if let Some(sent) = self.over_http.get_mut(&id.0) {
                    sent.to = Some(canonical(addr));
                }
            }
            Event::HttpReply { id, status, body } => self.http_reply(now, id, status, body),
            Event::HttpFailed { id, why } => {
                if let Some(sent) = self.over_http.remove(&id.0) {
                    self.no_answer(
                        now,
                        sent,
                        crate::wire::text(why.as_bytes(), super::announce::REASON_CHARS_MAX),
                    );
                }
            }
            Event::Resolved { tracker, addrs } => self.resolved(now, usize::from(tracker.0), addrs),
            Event::Datagram { from, bytes } => self.datagram(now, canonical(from), bytes),
            Event::Shutdown => return self.shutdown(now),
            Event::Timer => self.timer(now),
        }
        self.pump(now);
    }

    /// The next thing to do, in order. Poll until `None` after every [`Trackers::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call `handle(now, Event::Timer)`, and why. Ask again after every [`Trackers::handle`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        if self.closing {
            let farewells = self.over_udp.values().map(Sent::deadline);
            let connecting = self.servers.iter().filter(|server| server.is_parting());
            let connecting = connecting.filter_map(|server| server.udp.connecting);
            let again = farewells.chain(connecting.map(|(.., at)| at + FAREWELL_AGAIN));
            let held = self.partings.values().any(|parting| self.servers[parting.server].answers());
            let again = again.chain(self.hold_until.filter(|_| held)).min();
            return again.map(|at| (at, Timer::Answer));
        }
        let lanes = self.lanes.iter().filter_map(|lane| lane.wake).map(|at| (at, Timer::Announce));
        let open = self.over_http.values().chain(self.over_udp.values()).map(Sent::deadline);
        let steps = self.servers.iter().flat_map(|server| {
            let connecting = server.udp.connecting.map(|(_, _, at)| at + ANSWER_WAIT);
            [server.udp.resolving.map(|at| at + ANSWER_WAIT), connecting].into_iter().flatten()
        });
        lanes.chain(open.chain(steps).map(|at| (at, Timer::Answer))).min()
    }

    /// Swarms that are announced.
    #[must_use]
    pub fn len(&self) -> usize {
        self.swarms.len()
    }

    /// Farewells that trackers which answer have not heard yet, as far as is known. A process that ends may wait for them a
    /// little.
    #[must_use]
    pub fn farewells(&self) -> usize {
        let waiting = self.servers.iter().filter(|server| server.answers());
        let waiting = waiting.flat_map(|server| &server.udp.waiting).filter(|task| task.is_stop());
        let sent = self.over_udp.values();
        let sent = sent.filter(|sent| sent.task.is_stop() && self.servers[sent.server].answers());
        let held = self.partings.values().filter(|parting| self.servers[parting.server].answers());
        held.count() + waiting.count() + sent.count()
    }

    /// Whether nothing is announced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.swarms.is_empty()
    }

    /// Panics if a promise of the machine to itself is broken. For tests, simulation and fuzzing, after every event.
    pub fn check_invariants(&self) {
        assert!(self.swarms.len() <= SWARMS_MAX, "swarms stay within their limit");
        assert!(self.servers.len() <= TRACKERS_MAX, "trackers stay within their limit");
        self.servers.iter().for_each(Server::check_invariants);
        let waited_for = |id: &u64| self.closing || self.over_http.contains_key(id);
        assert!(self.partings.keys().all(waited_for), "a farewell waits for a request that is open");
        let mut open = alloc::vec![0; self.servers.len()];
        let sent = self.over_http.values().chain(self.over_udp.values());
        let waiting = self.servers.iter().enumerate();
        let waiting =
            waiting.flat_map(|(index, server)| server.udp.waiting.iter().map(move |task| (index, task)));
        for (server, task) in sent.map(|sent| (sent.server, &sent.task)).chain(waiting) {
            open[server] += usize::from(matches!(task, Task::Announce { .. }));
        }
        for (server, open) in self.servers.iter().zip(open) {
            assert_eq!(server.open, open, "announces at a tracker are counted");
        }
        let due: usize = self.lanes.iter().flat_map(|lane| &lane.due).map(BTreeSet::len).sum();
        let waiting =
            self.swarms.values().flat_map(|swarm| &swarm.lanes).filter(|lane| lane.due.is_some()).count();
        assert_eq!(due, waiting, "a swarm that waits is in its lane once");
        for (hash, swarm) in &self.swarms {
            for (lane, state) in self.lanes.iter().zip(&swarm.lanes) {
                if let Some(at) = state.due {
                    assert!(lane.due[swarm.rank as usize].contains(&(at, *hash)), "under its time and rank");
                }
            }
        }
    }

    fn add(&mut self, now: Instant, hash: InfoHash, rank: Rank, left: u64) {
        if let Some(swarm) = self.swarms.get_mut(&hash) {
            let was = core::mem::replace(&mut swarm.rank, rank);
            for (lane, state) in self.lanes.iter_mut().zip(&swarm.lanes) {
                if let Some(at) = state.due {
                    lane.due[was as usize].remove(&(at, hash));
                    lane.due[rank as usize].insert((at, hash));
                }
            }
            return;
        }
        if self.swarms.len() >= SWARMS_MAX || self.lanes.is_empty() {
            return;
        }
        // We are back before the farewell went out.
        self.partings.retain(|_, parting| parting.swarm != hash);
        self.swarms.insert(hash, Swarm::new(rank, left, self.lanes.len()));
        for lane in 0..self.lanes.len() {
            self.set_due(lane, hash, now);
        }
    }

    /// Puts a swarm's next announce in `lane` at `at`.
    pub(super) fn set_due(&mut self, lane: usize, hash: InfoHash, at: Instant) {
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        let due = &mut self.lanes[lane].due[swarm.rank as usize];
        if let Some(was) = swarm.lanes[lane].due.replace(at) {
            due.remove(&(was, hash));
        }
        due.insert((at, hash));
    }

    /// Brings a swarm's announces forward.
    fn hurry(&mut self, now: Instant, hash: InfoHash, at: impl Fn(&super::swarm::LaneState) -> Instant) {
        for lane in 0..self.lanes.len() {
            let Some(swarm) = self.swarms.get_mut(&hash) else { return };
            let state = &mut swarm.lanes[lane];
            let at = at(state).max(now);
            match state.due {
                None => state.again |= at <= now,
                Some(due) if due > at => self.set_due(lane, hash, at),
                Some(_) => {}
            }
        }
    }

    fn drop_swarm(&mut self, hash: InfoHash) -> Option<Swarm> {
        let swarm = self.swarms.remove(&hash)?;
        for (lane, state) in self.lanes.iter_mut().zip(&swarm.lanes) {
            if let Some(at) = state.due {
                lane.due[swarm.rank as usize].remove(&(at, hash));
            }
        }
        Some(swarm)
    }

    fn remove(&mut self, now: Instant, hash: InfoHash) {
        let Some(swarm) = self.drop_swarm(hash) else { return };
        // What was not said yet is not said any more: nobody would take it back.
        self.keep_waiting(|task| task.is_stop() || !task.is_about(hash));
        for server in self.told(hash, &swarm) {
            self.farewell(now, server, hash, &swarm);
        }
    }

    /// Drops what waits for a connection and is of no use any more.
    fn keep_waiting(&mut self, keep: impl Fn(&Task) -> bool) {
        for server in &mut self.servers {
            let open = &mut server.open;
            server.udp.waiting.retain(|task| {
                let keep = keep(task);
                *open -= usize::from(!keep && matches!(task, Task::Announce { .. }));
                keep
            });
        }
    }

    /// The trackers that know of us in this swarm, or may as soon as they answer.
    fn told(&self, hash: InfoHash, swarm: &Swarm) -> BTreeSet<usize> {
        let open = self.over_http.values().chain(self.over_udp.values());
        let open = open.filter(|sent| is_announce(&sent.task, hash)).map(|sent| sent.server);
        swarm.joined.keys().copied().chain(open).collect()
    }

    fn farewell(&mut self, now: Instant, server: usize, hash: InfoHash, swarm: &Swarm) {
        // A tracker that does not answer is not told either.
        if self.servers[server].failures > 0 {
            return;
        }
        let Swarm { uploaded, downloaded, left, .. } = *swarm;
        let task = Task::Stop { swarm: hash, uploaded, downloaded, left, tries: 0 };
        let open = |sent: &Sent| sent.server == server && is_announce(&sent.task, hash);
        if let Some(id) = self.over_http.iter().find(|(_, sent)| open(sent)).map(|(id, _)| *id) {
            let joined = swarm.joined.contains_key(&server);
            self.partings.insert(id, Parting { server, swarm: hash, task, joined });
            return;
        }
        self.bid_farewell(now, server, task);
    }

    pub(super) fn bid_farewell(&mut self, now: Instant, server: usize, task: Task) {
        self.bucket.correct(0, self.price(server));
        self.send(now, server, task);
    }

    /// A request over HTTP has ended: the farewell that waited for it goes out, if the tracker knows of us.
    fn part(&mut self, now: Instant, id: u64, heard: bool) {
        let Some(parting) = self.partings.remove(&id) else { return };
        if parting.joined || heard {
            self.bid_farewell(now, parting.server, parting.task);
        }
    }

    pub(super) fn forget(&mut self, hash: InfoHash) {
        let _ = self.drop_swarm(hash);
        self.partings.retain(|_, parting| parting.swarm != hash);
        self.keep_waiting(|task| !task.is_about(hash));
        // It is not said again, whatever comes of it.
        self.over_udp.retain(|_, sent| !(sent.task.is_stop() && sent.task.is_about(hash)));
        while let Some(id) =
            self.over_http.iter().find(|(_, sent)| sent.task.is_about(hash)).map(|(id, _)| *id)
        {
            let Some(sent) = self.over_http.remove(&id) else { return };
            self.servers[sent.server].open -= usize::from(matches!(sent.task, Task::Announce { .. }));
            self.actions.push_back(Action::HttpCancel { id: RequestId(id) });
        }
    }

    fn shutdown(&mut self, now: Instant) {
        self.keep_waiting(Task::is_stop);
        let mut left = FAREWELLS_MAX;
        for rank in [Rank::Wanted, Rank::Lead, Rank::Rest] {
            let hashes: Vec<InfoHash> =
                self.swarms.iter().filter(|(_, swarm)| swarm.rank == rank).map(|(hash, _)| *hash).collect();
            for hash in hashes {
                let Some(swarm) = self.drop_swarm(hash) else { continue };
                for server in self.told(hash, &swarm) {
                    if left > 0 {
                        left -= 1;
                        self.farewell(now, server, hash, &swarm);
                    }
                }
            }
        }
        self.pump(now);
        self.closing = true;
        self.hold_until = Some(now + FAREWELL_HOLD);
        // Nobody waits for the answers to anything else.
        self.over_udp.retain(|_, sent| sent.task.is_stop());
        self.servers.iter_mut().for_each(|server| server.open = 0);
        self.over_http.clear();
    }

    fn price(&self, server: usize) -> u32 {
        if self.servers[server].is_udp() { UDP_PACKETS } else { HTTP_PACKETS }
    }

    /// Sends whatever may be sent now.
    fn pump(&mut self, now: Instant) {
        for lane in 0..self.lanes.len() {
            self.lanes[lane].wake = self.pump_lane(now, lane);
        }
        for server in 0..self.servers.len() {
            self.pump_udp(now, server);
        }
    }

    /// Announces what is due in `lane`. Tells when to look again.
    fn pump_lane(&mut self, now: Instant, lane: usize) -> Option<Instant> {
        loop {
            let due =
                self.lanes[lane].due.iter().find_map(|due| due.first().filter(|(at, _)| *at <= now).copied());
            let Some((_, hash)) = due else {
                return self.lanes[lane].due.iter().filter_map(|due| due.first().map(|(at, _)| *at)).min();
            };
            match self.choose(now, lane, hash) {
                Choice::Busy => return None,
                Choice::Later(at) => self.set_due(lane, hash, at),
                Choice::Ask(server) => {
                    let price = self.price(server);
                    if !self.bucket.take(now, price) {
                        return Some(self.bucket.ready_at(now, price));
                    }
                    let swarm = self.swarms.get_mut(&hash).expect("a swarm that is due is known");
                    let state = &mut swarm.lanes[lane];
                    let due = state.due.take().expect("it was due");
                    if !state.tried.contains(&server) {
                        state.tried.push(server);
                    }
                    self.lanes[lane].due[swarm.rank as usize].remove(&(due, hash));
                    let event = match swarm.joined.get(&server) {
                        None => AnnounceEvent::Started,
                        Some(joined) if swarm.left == 0 && !joined.completed => AnnounceEvent::Completed,
                        Some(_) => AnnounceEvent::None,
                    };
                    let seed = swarm.left == 0;
                    self.send(now, server, Task::Announce { swarm: hash, lane, event, seed, retried: false });
                }
            }
        }
    }

    /// The first tracker in the lane's order that may be asked about this swarm. One that was asked in vain this time
    /// comes last.
    fn choose(&self, now: Instant, lane: usize, hash: InfoHash) -> Choice {
        let swarm = &self.swarms[&hash];
        let tried = &swarm.lanes[lane].tried;
        let order = || self.lanes[lane].tiers.iter().flatten().copied();
        let mut later: Option<Instant> = None;
        for again in [false, true] {
            for index in order().filter(|index| tried.contains(index) == again) {
                let server = &self.servers[index];
                let not_before = if let Some(until) = swarm.refused_until(now, index) {
                    until
                } else if server.retry_at > now {
                    server.retry_at
                } else if !server.is_busy() {
                    return Choice::Ask(index);
                } else if server.failures == 0 {
                    return Choice::Busy;
                } else {
                    // Another swarm finds out whether it is back.
                    now + ANSWER_WAIT
                };
                later = Some(later.map_or(not_before, |at| at.min(not_before)));
            }
        }
        Choice::Later(later.unwrap_or(now + ANSWER_WAIT))
    }

    pub(super) fn send(&mut self, now: Instant, server: usize, task: Task) {
        self.servers[server].open += usize::from(matches!(task, Task::Announce { .. }));
        if self.servers[server].is_udp() {
            self.servers[server].udp.wait(task);
            return self.pump_udp(now, server);
        }
        let at = &self.servers[server];
        let url = match &task {
            Task::Scrape { swarms } => http::scrape_url(&at.url, swarms),
            Task::Announce { .. } | Task::Stop { .. } => {
                Some(http::announce_url(&at.url, &self.announce(server, &task)))
            }
        };
        let Some(url) = url else { return };
        let id = self.request_next;
        self.request_next += 1;
        self.actions.push_back(Action::HttpGet { id: RequestId(id), url });
        // Nobody waits for the answer to a farewell.
        if !matches!(task, Task::Stop { .. }) {
            self.over_http.insert(id, Sent { server, task, at: now, to: None });
        }
    }

    pub(super) fn announce(&self, server: usize, task: &Task) -> Announce<'_> {
        let (swarm, uploaded, downloaded, left, event) = match *task {
            Task::Announce { swarm, event, .. } => {
                let known = self.swarms.get(&swarm);
                let (up, down, left) = known.map_or((0, 0, 0), |s| (s.uploaded, s.downloaded, s.left));
                (swarm, up, down, left, event)
            }
            Task::Stop { swarm, uploaded, downloaded, left, .. } => {
                (swarm, uploaded, downloaded, left, AnnounceEvent::Stopped)
            }
            Task::Scrape { .. } => unreachable!("a scrape is no announce"),
        };
        Announce {
            swarm,
            peer_id: self.config.peer_id,
            port: self.config.port,
            uploaded,
            downloaded,
            left,
            event,
            numwant: if event == AnnounceEvent::Stopped { 0 } else { NUMWANT },
            key: self.key,
            tracker_id: self.servers[server].tracker_id.as_deref(),
            ipv4: None,
            ipv6: None,
        }
    }

    fn scrape(&mut self, now: Instant, swarms: &[InfoHash]) {
        let able = |server: &Server| {
            let able = server.is_udp() || server.url.scrape_base().is_some();
            able && server.failures == 0 && server.open < OPEN_MAX
        };
        let Some(server) = self.servers.iter().position(able) else { return };
        let max =
            if self.servers[server].is_udp() { udp::SCRAPE_HASHES_MAX } else { http::SCRAPE_HASHES_MAX };
        let swarms: Vec<InfoHash> =
            swarms.iter().copied().filter(|hash| self.swarms.contains_key(hash)).take(max).collect();
        if !swarms.is_empty() && self.bucket.take(now, self.price(server)) {
            self.send(now, server, Task::Scrape { swarms });
        }
    }

    fn timer(&mut self, now: Instant) {
        self.farewells_again(now);
        let late = |sent: &Sent| sent.deadline() <= now;
        while let Some(id) = self.over_http.iter().find(|(_, sent)| late(sent)).map(|(id, _)| *id) {
            let Some(sent) = self.over_http.remove(&id) else { return };
            self.actions.push_back(Action::HttpCancel { id: RequestId(id) });
            self.partings.remove(&id);
            self.no_answer(now, sent, silence());
        }
        while let Some(id) = self.over_udp.iter().find(|(_, sent)| late(sent)).map(|(id, _)| *id) {
            let Some(sent) = self.over_udp.remove(&id) else { return };
            self.no_answer(now, sent, silence());
        }
        for server in 0..self.servers.len() {
            let udp = &self.servers[server].udp;
            let since = udp.resolving.or(udp.connecting.map(|(_, _, at)| at));
            if let Some(since) = since.filter(|at| *at + ANSWER_WAIT <= now) {
                self.give_up_waiting(now, server, since, silence());
            }
        }
    }
}

fn silence() -> alloc::string::String {
    alloc::format!("tracker gave no answer within {} s", ANSWER_WAIT.as_secs())
}

fn is_announce(task: &Task, hash: InfoHash) -> bool {
    matches!(task, Task::Announce { swarm, .. } if *swarm == hash)
}
