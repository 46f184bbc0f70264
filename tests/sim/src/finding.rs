//! Machines that are told of nobody: each runs the real finder beside its node, and knows one node of the DHT or a tracker to start from.
//! Datagrams travel with the network's delay, and get lost as others do.

use crate::actors::Actor;
use crate::host::Life;
use crate::scenario::US;
use crate::trackers::TRACKER;
use crate::world::{Happening, World};
use zest_core::discovery::{self, GroupId, Shareable, SharedFile};
use zest_core::finder::{self, Action, Event, Finder, JOBS_EVERY};
use zest_core::lsd::Group;
use zest_core::node;
use zest_core::{Instant, JobId, dht};

/// How machines find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Machines whose multicast reaches each other; 0: nobody hears it.
    pub lan: u32,
    /// They ask the DHT; all know the first machine alone.
    pub dht: bool,
    /// Linked peers tell each other of peers.
    pub pex: bool,
    /// They announce to a tracker, and ask it.
    pub tracker: bool,
}

/// A machine's finder.
#[derive(Debug)]
pub(crate) struct Seeker {
    finder: Finder,
    /// When it is to be woken; `u64::MAX`: never.
    armed: u64,
}

/// A datagram under way.
#[derive(Debug)]
pub(crate) struct Datagram {
    from: u32,
    to: u32,
    /// The multicast group it was sent to.
    group: Option<Group>,
    bytes: Vec<u8>,
}

impl World {
    /// The process of a machine begins to look for others.
    pub(crate) fn seek(&mut self, host: u32) {
        let Some(finding) = self.scenario.finding else { return };
        let now = self.wall(host);
        let machine = &mut self.hosts[host as usize];
        if machine.node.is_none() {
            return;
        }
        let (addr, seed) = (machine.addr, machine.config.seed);
        let part = |which: u8| {
            let mut part = seed;
            part[0] ^= which;
            part
        };
        let mut swarms = discovery::Config::new(part(1), machine.peer_id, addr.port());
        if finding.tracker {
            swarms.tiers = vec![vec![TRACKER.parse().expect("an address of a tracker")]];
        }
        let dht = finding.dht.then(|| dht::Config { v6: false, ..dht::Config::new(part(2)) });
        let config =
            finder::Config { dht, udp_port: Some(addr.port()), ..finder::Config::new(part(3), swarms) };
        let finder = Finder::new(now, config);
        machine.seeker = Some(Box::new(Seeker { finder, armed: u64::MAX }));
        self.seeks(host, Event::Own { addr });
        if host > 0 {
            self.seeks(host, Event::Bootstrap { addr: Self::address(0) });
        }
        if finding.lan > 0 {
            let event = discovery::Event::LanGroup { group: Group::V4, up: true };
            self.seeks(host, Event::Swarms(event));
        }
        for at in 0..self.hosts[host as usize].tasks.len() {
            let task = &self.hosts[host as usize].tasks[at];
            if task.is_complete() {
                let file = self.shared(task.file);
                self.seeks(host, Event::Swarms(discovery::Event::Seed { file }));
            }
        }
        self.watch_seeker(host);
    }

    fn shared(&self, file: u32) -> SharedFile {
        let of = &self.files.all[file as usize];
        let proof = Shareable::anonymously_readable(Instant(u64::MAX));
        SharedFile { hash: of.hash, bytes: of.size(), group: GroupId(1), proof }
    }

    fn wall(&self, host: u32) -> Instant {
        Instant(self.now / US + self.hosts[host as usize].ahead_us)
    }

    /// A machine begins a job.
    pub(crate) fn wants(&mut self, host: u32, at: usize) {
        let task = &self.hosts[host as usize].tasks[at];
        let (job, file) = (task.job, self.shared(task.file));
        self.seeks(host, Event::Swarms(discovery::Event::Want { job, file, xorbs: &[] }));
    }

    /// A job of a machine is over.
    pub(crate) fn sought(&mut self, host: u32, at: usize) {
        let task = &self.hosts[host as usize].tasks[at];
        let (job, file, landed) = (task.job, self.shared(task.file), task.is_complete());
        if landed {
            self.seeks(host, Event::Swarms(discovery::Event::Got { job }));
        }
        self.seeks(host, Event::Swarms(discovery::Event::Dropped { job }));
        if landed {
            self.seeks(host, Event::Swarms(discovery::Event::Seed { file }));
        }
    }

    /// Says how its jobs do, every few seconds.
    pub(crate) fn watch_seeker(&mut self, host: u32) {
        let machine = &self.hosts[host as usize];
        if machine.seeker.is_none() || machine.life != Life::Up || self.unfinished == 0 {
            return;
        }
        let running: Vec<(JobId, u32, u64)> = machine
            .tasks
            .iter()
            .filter(|task| task.running)
            .map(|task| {
                (task.job, task.file, u64::from(task.held(&self.files.all[task.file as usize]).count()))
            })
            .collect();
        let sources = machine.links.len();
        for (job, file, held) in running {
            let of = &self.files.all[file as usize];
            let done = of.size() * held / u64::from(of.len());
            self.seeks(host, Event::Job { job, done, from_peers: 0, sources });
        }
        let epoch = self.hosts[host as usize].epoch;
        self.later(JOBS_EVERY.as_nanos() as u64, Happening::WatchJobs { host, epoch });
    }

    /// What a node hears of its links concerns the finder, too.
    pub(crate) fn overheard(&mut self, host: u32, event: &node::Event) {
        match event {
            node::Event::LinkUp { link, addr, direction, .. } => {
                self.seeks(host, Event::LinkUp { link: *link, addr: *addr, direction: *direction });
            }
            node::Event::LinkDown { link, .. } => self.seeks(host, Event::LinkDown { link: *link }),
            node::Event::Message { link, message } if finder::concerns(message) => {
                self.seeks(host, Event::Heard { link: *link, message });
            }
            _ => {}
        }
    }

    /// A machine's finder hears of something.
    fn seeks(&mut self, host: u32, event: Event<'_>) {
        let now = self.wall(host);
        let Some(seeker) = &mut self.hosts[host as usize].seeker else { return };
        seeker.finder.handle(now, event);
        let actions: Vec<Action> = std::iter::from_fn(|| seeker.finder.poll_action()).collect();
        if self.scenario.check_every > 0 {
            seeker.finder.check_invariants();
        }
        for action in actions {
            self.seek_on(host, action);
        }
        self.rearm_seeker(host);
    }

    fn seek_on(&mut self, host: u32, action: Action) {
        match action {
            Action::SendTo { to, bytes } => {
                if let Some(to) = self.host_at(to) {
                    self.post(Datagram { from: host, to, group: None, bytes });
                }
            }
            Action::LanSend { group, bytes } => {
                let lan = self.scenario.finding.map_or(0, |finding| finding.lan).max(1);
                let first = host / lan * lan;
                let hosts = self.hosts.len() as u32;
                for to in (first..(first + lan).min(hosts)).filter(|to| *to != host) {
                    self.post(Datagram { from: host, to, group: Some(group), bytes: bytes.clone() });
                }
            }
            Action::Found { addr, how } => {
                if self.host_at(addr).is_none() {
                    return self.fail(format!("host {host} found {addr}, where nobody is"));
                }
                self.totals.found += 1;
                self.feed(host, node::Event::PeerFound { addr, how });
                self.seeks(host, Event::Met);
            }
            Action::Wait { job, pause } => {
                let until = self.wall(host) + pause;
                self.feed(host, node::Event::JobLooking { job, until });
            }
            Action::Tell { link, peers } => {
                if self.scenario.finding.is_some_and(|finding| finding.pex) {
                    self.send(link.0 as u32, zest_core::link::Outgoing::Pex(peers));
                }
            }
            Action::Searched { .. }
            | Action::SeenAt { .. }
            | Action::Introduced { .. }
            | Action::Has { .. }
            | Action::Save => {}
            Action::HttpGet { id, url } => self.ask_tracker(host, id, &url),
            // What is not waited for any longer comes all the same.
            Action::HttpCancel { .. } | Action::Tracker { .. } => {}
            Action::Resolve { .. } => {
                self.fail(format!("host {host} looks for a tracker, of which nobody told: {action:?}"));
            }
        }
    }

    /// The tracker's answer arrives.
    pub(crate) fn tracker_answers(&mut self, host: u32, epoch: u32, number: u32) {
        let Some((id, body)) = self.tracked_answer(number) else { return };
        if self.lives(host, epoch) {
            self.seeks(host, Event::Swarms(discovery::Event::HttpReply { id, status: 200, body: &body }));
        }
    }

    fn post(&mut self, datagram: Datagram) {
        let bytes = datagram.bytes.len() as u64;
        self.totals.control += bytes;
        self.totals.datagrams += 1;
        let (from, to) = (datagram.from, datagram.to);
        if let Some(after) = self.datagram().filter(|_| self.apart(from, to).is_none()) {
            let number = self.totals.datagrams;
            self.datagrams.insert(number, datagram);
            self.later(after / 2, Happening::Datagram { number });
        }
    }

    /// A datagram arrives.
    pub(crate) fn posted(&mut self, number: u32) {
        let Some(datagram) = self.datagrams.remove(&number) else { return };
        let Datagram { from, to, group, bytes } = datagram;
        let (sender, machine) = (&self.hosts[from as usize], &self.hosts[to as usize]);
        if machine.life != Life::Up || machine.actor != Actor::Honest {
            return;
        }
        let from = sender.addr;
        match group {
            Some(group) => {
                let event = discovery::Event::LanDatagram { group, from, bytes: &bytes };
                self.seeks(to, Event::Swarms(event));
            }
            None => self.seeks(to, Event::Datagram { from, bytes: &bytes }),
        }
    }

    fn rearm_seeker(&mut self, host: u32) {
        let now = self.now;
        let machine = &mut self.hosts[host as usize];
        let (ahead, epoch) = (machine.ahead_us, machine.epoch);
        let Some(seeker) = &mut machine.seeker else { return };
        let Some(at) = seeker.finder.poll_timeout() else { return };
        let at = at.0.saturating_sub(ahead).saturating_mul(US).max(now);
        if at < seeker.armed {
            seeker.armed = at;
            self.queue.push(at, Happening::Seek { host, epoch });
        }
    }

    /// The finder's time has come.
    pub(crate) fn wake_seeker(&mut self, host: u32) {
        let (now, wall) = (self.now, self.wall(host));
        let Some(seeker) = &mut self.hosts[host as usize].seeker else { return };
        if seeker.armed != now {
            return;
        }
        seeker.armed = u64::MAX;
        match seeker.finder.poll_timeout() {
            Some(at) if at <= wall => self.seeks(host, Event::Timer),
            Some(_) => self.rearm_seeker(host),
            None => {}
        }
    }
}
