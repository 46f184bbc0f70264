//! Machines: how they are made, start, leave, crash and come back, and how they hear of each other.

use crate::actors::Actor;
use crate::disk::Disk;
use crate::host::{End as JobEnd, Host, Life, Task, Traffic};
use crate::net::Uplink;
use crate::plain::Plain;
use crate::rng::Rng;
use crate::scenario::{MS, SEC, Start, US};
use crate::world::{Happening, World};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use zest_core::lived::Lived;
use zest_core::node::{BitSet, Config, Event, JobSpec, Node, UPLOAD_BYTES_S_MIN};
use zest_core::{FileId, InfoHash, Instant, JobId, PeerId};
use zest_xet::ChunkTable;
use zest_xet::safetensors::LEN_BYTES;

/// Where those come from that all have one address: no machine's.
const ONE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 255, 255, 1);

impl World {
    pub(crate) fn populate(&mut self) {
        let (nodes, seeds, slow) = (self.scenario.nodes, self.scenario.seeds, self.scenario.slow_nodes());
        let others: Vec<Actor> = self
            .scenario
            .actors
            .iter()
            .flat_map(|(actor, count)| std::iter::repeat_n(*actor, *count as usize))
            .collect();
        if let Some(outage) = self.scenario.origin.outage {
            self.queue.push(self.noticed(outage), Happening::OriginCut);
        }
        let mut rng = Rng::of(self.scenario.seed, "machines");
        for host in 0..nodes + seeds + others.len() as u32 {
            let actor = match host.checked_sub(nodes + seeds) {
                Some(at) => others[at as usize],
                None => Actor::Honest,
            };
            let is_slow = (nodes - slow..nodes).contains(&host);
            let is_seed = (nodes..nodes + seeds).contains(&host);
            self.add_host(host, actor, is_slow, is_seed, &mut rng);
            let at = if is_seed || matches!(actor, Actor::Dead | Actor::Idle) || host == 0 {
                0
            } else {
                rng.below(self.scenario.spread_ns + 1)
            };
            if actor == Actor::Dead {
                self.tracked.push(host);
            } else if actor == Actor::Idle {
                // They have been there for long: whoever looks for peers hears of them first.
                self.tracked.insert(0, host);
                self.queue.push(at, Happening::Start { host });
            } else {
                self.queue.push(at, Happening::Start { host });
            }
            if actor == Actor::Honest {
                self.fate(host, is_seed);
            }
        }
        let honest = |host: &&Host| host.actor == Actor::Honest;
        self.unfinished = self.hosts.iter().filter(honest).map(|h| h.tasks.len() as u32).sum();
        let seeded = seeds * self.files.all.len() as u32;
        self.unfinished -= seeded;
        self.unfinished += nodes * self.scenario.plain;
    }

    fn add_host(&mut self, host: u32, actor: Actor, slow: bool, seed: bool, rng: &mut Rng) {
        let scenario = &self.scenario;
        let mut peer_id = peer_id(rng);
        if actor == Actor::Forger {
            let (nodes, seeds) = (scenario.nodes, scenario.seeds);
            let whose = if seeds > 0 { nodes + host % seeds } else { host % nodes };
            peer_id = self.hosts[whose as usize].peer_id;
        }
        let mut config = Config::new(rng.bytes32(), peer_id);
        config.tentative = true;
        config.policy = scenario.policy;
        config.patience = zest_core::outage::PATIENCE;
        config.hub = scenario.near.then(|| zest_core::link::hub_key(crate::net::HUB));
        let mut budget = None;
        let limits = &mut self.dice.limits;
        if limits.permille(scenario.limits_permille) {
            match limits.below(4) {
                0 => config.upload_bytes_s = Some(UPLOAD_BYTES_S_MIN + limits.below(1 << 20)),
                1 => budget = Some(limits.below(4 << 20)),
                2 => {
                    (config.origin_fetches_max, config.origin_fetches_limit) = (1, 1);
                    config.copies_max = 1;
                    config.upload_slots = 1;
                }
                _ => {
                    config.peers_max = 2;
                    config.inbound_max = 1;
                    config.dials_max = 1;
                }
            }
        }
        let net = &scenario.net;
        let up = match (actor, slow) {
            (Actor::Trickler, _) => 4000,
            (_, true) => net.up_bytes_s / 10,
            (_, false) => net.up_bytes_s,
        };
        let options = &scenario.disk;
        let dice = &mut self.dice.disk;
        let mut disk = Disk::default();
        disk.write_ns = options.write_ns;
        let from = dice.below(5 * SEC);
        let full = (from, from + dice.within(SEC, 8 * SEC));
        let throws = [dice.permille(options.slow_permille), dice.permille(options.full_permille)];
        if throws[0] {
            disk.write_ns = (options.write_ns * 100).max(10 * MS);
        }
        disk.full_ns = throws[1].then_some(full);
        disk.rotten = dice.permille(options.rotten_permille);
        disk.short = dice.permille(options.short_permille);
        let mut tasks = Vec::new();
        if actor.has_node() {
            for file in 0..self.files.all.len() as u32 {
                self.jobs += 1;
                let of = &self.files.all[file as usize];
                let mut task = Task::new(file, JobId(self.jobs), of.len(), of.blocks.len() as u32);
                task.manifest = seed || (host == 0 && self.scenario.start == Start::Warm);
                if seed {
                    (0..of.len()).for_each(|index| task.keep(index, true, true));
                    task.end = Some(JobEnd::Complete);
                } else if self.dice.local.permille(self.scenario.local_permille) {
                    lay_out(&mut task, &mut self.dice.local);
                }
                tasks.push(task);
            }
        }
        let plain = Plain { have: seed };
        self.hosts.push(Host {
            actor,
            life: if actor == Actor::Dead { Life::Gone } else { Life::Waiting },
            epoch: 0,
            config,
            node: None,
            seeker: None,
            // Where nobody can be dialled.
            addr: if actor.comes() { (ONE_ADDRESS, 7000 + host as u16).into() } else { Self::address(host) },
            peer_id,
            up: Uplink::new(up),
            down_bytes_s: net.down_bytes_s,
            down_free_at: 0,
            // Who only waits to be dialled can be.
            nat: !seed && self.dice.net.permille(net.nat_permille) && actor != Actor::Idle,
            side: self.dice.net.one_in(2),
            disk,
            links: Vec::new(),
            tasks,
            armed: u64::MAX,
            ahead_us: 0,
            lived: Lived::default(),
            frozen_until: 0,
            unheard: Vec::new(),
            thawed_at: None,
            ticking: false,
            started_at: 0,
            traffic: Traffic::default(),
            first_fetch_at: None,
            origin_free_at: 0,
            uploads: VecDeque::new(),
            uploads_bytes: 0,
            plain: vec![plain; self.scenario.plain as usize],
            plain_at: None,
            plain_begun: false,
            budget,
        });
    }

    /// What is to befall an honest machine.
    fn fate(&mut self, host: u32, seed: bool) {
        let churn = self.scenario.churn.clone();
        let (from, until) = churn.between_ns;
        let dice = &mut self.dice.churn;
        let (leaves, crashes) = (dice.permille(churn.leave_permille), dice.permille(churn.crash_permille));
        let (at, crash_at, jump_at) =
            (dice.within(from, until), dice.within(from, until), dice.below(until.max(1)));
        let jumps = dice.permille(churn.jump_permille);
        if churn.freeze_permille > 0 {
            let dice = &mut self.dice.freeze;
            if dice.permille(churn.freeze_permille) {
                for _ in 0..dice.within(1, 3) {
                    let at = dice.below(until.max(1));
                    self.queue.push(at, Happening::Freeze { host });
                }
            }
        }
        if seed {
            if let Some(at) = self.scenario.seeds_leave_ns {
                self.queue.push(at, Happening::Leave { host });
            }
            return;
        }
        // The one that holds the only manifest stays until others have it.
        if leaves && host > 0 {
            self.queue.push(at, Happening::Leave { host });
        }
        if crashes {
            self.queue.push(crash_at, Happening::Crash { host });
        }
        if jumps {
            self.queue.push(jump_at, Happening::Jump { host });
        }
    }

    pub(crate) fn start(&mut self, host: u32) {
        let machine = &mut self.hosts[host as usize];
        if machine.life == Life::Gone {
            return;
        }
        machine.life = Life::Up;
        machine.epoch += 1;
        machine.armed = u64::MAX;
        if machine.epoch == 1 {
            machine.started_at = self.now;
        }
        if machine.actor.has_node() {
            let began = Instant(self.now / US + machine.ahead_us);
            machine.node = Some(Box::new(Node::new(Config { began, ..machine.config.clone() })));
            machine.lived = Lived::default();
            if let Some(bytes) = machine.budget {
                self.feed(host, Event::UploadBudget { bytes: Some(bytes) });
            }
            self.seek(host);
            for at in 0..self.hosts[host as usize].tasks.len() {
                if self.hosts[host as usize].tasks[at].end.is_none() {
                    self.add_job(host, at);
                }
            }
            self.plain_listed(host);
            let dice = &mut self.dice.limits;
            if dice.permille(self.scenario.limits_permille / 4) {
                let (from, pause) = (dice.below(2 * SEC), dice.below(5 * SEC));
                let epoch = self.hosts[host as usize].epoch;
                self.later(from, Happening::Pause { host, epoch, paused: true });
                self.later(from + pause, Happening::Pause { host, epoch, paused: false });
            }
        }
        if self.hosts[host as usize].actor.comes() {
            self.later(MS, Happening::Tick { host });
            return;
        }
        if self.scenario.known > 0 {
            let epoch = self.hosts[host as usize].epoch;
            let wait = self.dice.tracker.within(5 * MS, 30 * MS);
            self.later(wait, Happening::Announce { host, epoch });
            // Most of a flash crowd is not there yet.
            self.later(SEC + wait, Happening::Announce { host, epoch });
        }
    }

    /// The machine's process is not run for a while; its sockets are there.
    pub(crate) fn freeze(&mut self, host: u32) {
        let (least, most) = self.scenario.churn.frozen_ns;
        let until = self.now + self.dice.freeze.within(least, most);
        let machine = &mut self.hosts[host as usize];
        if machine.life != Life::Up || machine.node.is_none() || machine.frozen_until > self.now {
            return;
        }
        machine.frozen_until = until;
        let epoch = machine.epoch;
        self.totals.freezes += 1;
        self.queue.push(until, Happening::Thaw { host, epoch });
    }

    /// It runs again. Its timers ring before it has looked at what came meanwhile: so it is with a real one.
    pub(crate) fn thaw(&mut self, host: u32) {
        let machine = &mut self.hosts[host as usize];
        machine.frozen_until = 0;
        machine.thawed_at = Some(self.now);
        let unheard = std::mem::take(&mut machine.unheard);
        self.feed(host, Event::Timer);
        unheard.into_iter().for_each(|event| self.feed(host, event));
    }

    /// Gives a task to the node, for the first time or again.
    pub(crate) fn add_job(&mut self, host: u32, at: usize) {
        let machine = &mut self.hosts[host as usize];
        let task = &mut machine.tasks[at];
        if task.running || task.end.is_some() {
            return;
        }
        self.jobs += 1;
        task.job = JobId(self.jobs);
        task.running = true;
        task.parts = None;
        let (job, file) = (task.job, task.file);
        let of = &self.files.all[file as usize];
        let spec = JobSpec {
            near: self.scenario.near,
            policy: self.scenario.policy_of(file),
            pull: file % self.scenario.pulls.max(1),
            priority: u8::from(of.len() < 4),
            layout_later: true,
            front: self.scenario.header_bytes.min(LEN_BYTES as u64),
            ..JobSpec::new(of.hash, of.size(), FileId(file))
        };
        let (epoch, task, manifest) = (machine.epoch, at as u32, task.manifest);
        self.feed(host, Event::JobAdded { job, spec });
        self.wants(host, at);
        if manifest {
            self.later(MS, Happening::Manifest { host, epoch, task });
        }
    }

    /// Ends a job from outside: its partial file stays.
    pub(crate) fn stop_job(&mut self, host: u32, at: usize, end: Option<JobEnd>) {
        let task = &mut self.hosts[host as usize].tasks[at];
        if !std::mem::replace(&mut task.running, false) {
            return;
        }
        let job = task.job;
        task.end = end;
        task.tentative.clear();
        self.origin_forget(host, at);
        self.sought(host, at);
        self.feed(host, Event::JobRemoved { job });
    }

    /// A task came to its end.
    pub(crate) fn job_over(&mut self, host: u32, at: usize) {
        self.origin_forget(host, at);
        if self.hosts[host as usize].tasks[at].is_complete() {
            self.sought(host, at);
        }
        let machine = &self.hosts[host as usize];
        if machine.actor == Actor::Honest {
            self.unfinished -= 1;
            if let Some(stays) = self.scenario.churn.stays_ns.filter(|_| !machine.is_busy()) {
                self.later(stays, Happening::Leave { host });
            }
        }
    }

    pub(crate) fn leave(&mut self, host: u32) {
        let machine = &mut self.hosts[host as usize];
        if machine.life == Life::Gone {
            return;
        }
        let open = machine.tasks.iter().filter(|task| task.end.is_none()).count() as u32;
        let open = open + machine.plain.iter().filter(|file| !file.have).count() as u32;
        machine.life = Life::Gone;
        if machine.actor == Actor::Honest {
            self.unfinished -= open;
        }
        self.totals.left += 1;
        let silently = self.dice.churn.one_in(2);
        self.stop_process(host, silently);
    }

    pub(crate) fn crash(&mut self, host: u32) {
        if self.hosts[host as usize].life != Life::Up {
            return;
        }
        self.hosts[host as usize].life = Life::Down;
        let silently = self.dice.churn.one_in(2);
        self.stop_process(host, silently);
        // What the journal had not made durable is torn off.
        let rot = self.scenario.churn.rot_permille;
        let dice = &mut self.dice.churn;
        for task in &mut self.hosts[host as usize].tasks {
            let held: Vec<u32> = task.held(&self.files.all[task.file as usize]).iter().collect();
            if task.end.is_none() && !held.is_empty() {
                for _ in 0..dice.below(5) {
                    task.lose(held[dice.below(held.len() as u64) as usize]);
                }
            }
            // Lists of single xorbs are not kept: what they proved has to be proven again.
            task.listed = BitSet::empty(task.listed.len());
            // What nothing proved is in no journal.
            task.tentative.clear();
            if task.end.is_some() {
                continue;
            }
            // What is left may rot until somebody looks at it again: until then nothing of it counts.
            for index in held {
                if task.good.contains(index) && self.dice.rot.permille(rot) {
                    task.good.remove(index);
                    task.rotten.insert(index);
                }
            }
            let noted = (0..task.chunks).filter_map(|index| task.table.get(index).map(|seen| (index, seen)));
            task.table = ChunkTable::of_earlier(noted.collect::<Vec<_>>());
        }
        let pause = dice.within(10 * MS, 5 * SEC);
        self.hosts[host as usize].config.seed = dice.bytes32();
        let id = peer_id(dice);
        self.hosts[host as usize].peer_id = id;
        self.hosts[host as usize].config.peer_id = id;
        self.later(pause, Happening::Start { host });
    }

    fn stop_process(&mut self, host: u32, silently: bool) {
        self.totals.cut_short += 1;
        self.cut_off(host, silently);
        for at in 0..self.hosts[host as usize].tasks.len() {
            self.origin_forget(host, at);
            self.hosts[host as usize].tasks[at].running = false;
        }
        let machine = &mut self.hosts[host as usize];
        (machine.node, machine.seeker) = (None, None);
        machine.frozen_until = 0;
        machine.unheard.clear();
        machine.disk.clear();
        machine.armed = u64::MAX;
        if self.trace.is_on() {
            self.trace.note(self.now, host, if silently { "vanishes" } else { "stops" });
        }
    }

    // The tracker.

    pub(crate) fn announce(&mut self, host: u32) {
        let epoch = self.hosts[host as usize].epoch;
        let Some(wait) = self.datagram() else {
            // BEP 15: asked again after 15 s.
            return self.later(15 * SEC, Happening::Announce { host, epoch });
        };
        if !self.tracked.contains(&host) {
            self.tracked.push(host);
        }
        let (known, others) = (self.scenario.known as usize, self.tracked.len());
        let dice = &mut self.dice.tracker;
        if others <= known {
            for at in 0..others {
                let about = self.tracked[at];
                self.later(wait, Happening::Told { host, epoch, about });
            }
        } else {
            let mut told: Vec<u32> = Vec::with_capacity(known);
            while told.len() < known {
                let about = self.tracked[dice.below(others as u64) as usize];
                if !told.contains(&about) {
                    told.push(about);
                }
            }
            told.into_iter().for_each(|about| self.later(wait, Happening::Told { host, epoch, about }));
        }
        let again = self.scenario.announce_ns;
        if self.unfinished > 0 && again > 0 && self.now > self.hosts[host as usize].started_at + SEC {
            self.later(again, Happening::Announce { host, epoch });
        }
    }

    pub(crate) fn told(&mut self, host: u32, about: u32) {
        if about == host {
            return;
        }
        let addr = self.hosts[about as usize].addr;
        let actor = self.hosts[host as usize].actor;
        if self.hosts[host as usize].node.is_some() {
            self.feed(host, Event::PeerFound { addr, how: self.scenario.told });
            self.plain_begins(host);
        } else if !matches!(actor, Actor::Dead | Actor::Idle | Actor::Namer)
            && self.hosts[host as usize].links.len() < 12
        {
            // Those with a script come by, too.
            self.dial(host, addr, InfoHash([0; 20]));
        }
    }
}

fn peer_id(rng: &mut Rng) -> PeerId {
    let mut id = *b"-ZT0500-............";
    id[8..].copy_from_slice(&rng.bytes32()[..12]);
    PeerId(id)
}

/// Part of the file lies on the machine already: in the partial file of an earlier run, or in other files.
fn lay_out(task: &mut Task, rng: &mut Rng) {
    let chunks = u64::from(task.chunks);
    for _ in 0..rng.below(3) {
        let (first, count, good) = (rng.below(chunks), rng.below(chunks / 2 + 1), !rng.one_in(4));
        for index in first..(first + count).min(chunks) {
            task.local.insert(index as u32, good);
        }
    }
    if rng.one_in(2) {
        for index in 0..chunks as u32 {
            if rng.one_in(4) {
                task.local.insert(index, true);
            }
        }
    }
}
