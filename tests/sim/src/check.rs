//! What must hold of every run, beside what the nodes check of themselves.

use crate::actors::Actor;
use crate::host::{End, Life};
use crate::link::Content;
use crate::scenario::{SEC, Scenario};
use crate::world::World;
use zest_core::node::JobFailure::NoSource;
use zest_core::node::UPLOAD_BYTES_S_MIN;

/// A bug on purpose, to see whether the suite notices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Canary {
    /// None.
    #[default]
    None,
    /// One wrong chunk in eight is taken for a proven one.
    #[cfg(any(test, feature = "canary"))]
    WrongChunk(u32),
    /// One chunk in thirty-two gets lost on its way to the disk.
    #[cfg(any(test, feature = "canary"))]
    LostChunk(u32),
    /// What lies on disk is taken for what was noted of it.
    #[cfg(any(test, feature = "canary"))]
    OldChunk,
}

impl Canary {
    /// Whether the next wrong chunk passes.
    pub(crate) fn lets_through(&mut self) -> bool {
        match self {
            Self::None => false,
            #[cfg(any(test, feature = "canary"))]
            Self::WrongChunk(seen) => {
                *seen += 1;
                *seen % 8 == 1
            }
            #[cfg(any(test, feature = "canary"))]
            Self::LostChunk(_) | Self::OldChunk => false,
        }
    }

    /// Whether what was noted of a chunk on disk is taken for what is there.
    pub(crate) fn believes(self) -> bool {
        match self {
            #[cfg(any(test, feature = "canary"))]
            Self::OldChunk => true,
            _ => false,
        }
    }

    /// Whether the next chunk on its way to the disk gets lost.
    pub(crate) fn loses(&mut self) -> bool {
        match self {
            #[cfg(any(test, feature = "canary"))]
            Self::LostChunk(seen) => {
                *seen += 1;
                *seen % 32 == 0
            }
            _ => false,
        }
    }
}

/// After its end a small world is watched for so long: it has to come to rest.
const REST: u64 = 30 * SEC;
/// A job that lost the origin to its faults may end so much later: the user's patience with peers, and a minute.
const PATIENCE: u64 = 660 * SEC;
/// A job with sources that never answered may end so long after an outage began: half a minute, of which a clock that jumps takes 5 s.
const UNHEARD: u64 = 24 * SEC;
/// Wake-ups of one node in that time that are too many: 5 a second.
const WAKES_MAX: u64 = 150;

impl World {
    /// Chunk bytes came that nobody needed.
    pub(crate) fn count_waste(&mut self, end: u32, payload: u32) {
        let host = self.ends[end as usize].host;
        self.hosts[host as usize].traffic.peer_late += u64::from(payload);
    }

    /// A node gave a buffer back unproven.
    pub(crate) fn freed(&mut self, host: u32, content: Content) {
        if let Content::Chunk { id, .. } = content {
            let bytes = self.files.chunk(id).len;
            self.hosts[host as usize].traffic.peer_double += u64::from(bytes);
        }
    }

    /// A machine's sockets took payload, part of it chunks: never more in a second than its cap, never more chunks than
    /// its budget.
    pub(crate) fn uploaded(&mut self, host: u32, bytes: u64, chunks: u64) {
        // By the machine's own clock: a second that it was set ahead is a second to it.
        let now = self.now + self.hosts[host as usize].ahead_us * crate::scenario::US;
        let machine = &mut self.hosts[host as usize];
        if machine.node.is_none() {
            return;
        }
        if let Some(cap) = machine.config.upload_bytes_s {
            let cap = cap.max(UPLOAD_BYTES_S_MIN);
            machine.uploads.push_back((now, bytes));
            machine.uploads_bytes += bytes;
            while let Some(&(_, old)) = machine.uploads.front().filter(|(at, _)| at + SEC <= now) {
                machine.uploads_bytes -= old;
                machine.uploads.pop_front();
            }
            if machine.uploads_bytes > cap {
                let sum = machine.uploads_bytes;
                self.fail(format!("host {host} uploads {sum} bytes within a second, its cap is {cap}"));
                return;
            }
        }
        let machine = &mut self.hosts[host as usize];
        if chunks == 0 {
            return;
        }
        if let Some(left) = &mut machine.budget {
            // A chunk that is longer than what is left may still go out whole.
            if *left == 0 {
                self.fail(format!("host {host} uploads {chunks} bytes beyond its budget"));
                return;
            }
            *left = left.saturating_sub(chunks);
        }
    }

    /// A node does not read a link for a while: whoever fetches and does what honest nodes do never hears of that.
    pub(crate) fn hold(&mut self, host: u32, link: zest_core::LinkId, until: zest_core::Instant) {
        let remote = self.ends[crate::link::other(link.0 as u32) as usize].host;
        if self.hosts[remote as usize].actor == Actor::Honest {
            self.fail(format!("host {host} does not listen to host {remote} until {until:?}"));
        }
    }

    /// Plays the run to its end and looks at what came out.
    pub(crate) fn run_checked(&mut self) {
        let limit = self.scenario.limit_ns;
        let done = self.play(limit, |world| world.unfinished == 0);
        if self.failure.is_some() {
            return;
        }
        if !done {
            return self.fail(self.who_hangs());
        }
        self.check_ends();
        self.check_now();
        if self.scenario.check_every > 0 && self.failure.is_none() {
            self.check_rest();
        }
    }

    fn who_hangs(&self) -> String {
        let seconds = self.now / SEC;
        let busy = |host: &crate::host::Host| host.actor == Actor::Honest && host.is_busy();
        let count = self.hosts.iter().filter(|host| busy(host)).count();
        let first = self.hosts.iter().position(busy);
        let detail = first.map_or_else(String::new, |at| {
            let host = &self.hosts[at];
            let task = host.tasks.iter().find(|task| task.end.is_none());
            task.map_or_else(String::new, |task| {
                format!(
                    ": host {at} ({:?}, {} links) has {} of {} chunks of file {} (manifest {}, running {})",
                    host.life,
                    host.links.len(),
                    task.held(&self.files.all[task.file as usize]).count(),
                    task.chunks,
                    task.file,
                    task.manifest,
                    task.running
                )
            })
        });
        let lacks = |host: &crate::host::Host| host.plain.iter().filter(|file| !file.have).count();
        let honest = |host: &&crate::host::Host| host.actor == Actor::Honest && host.life != Life::Gone;
        let small: usize = self.hosts.iter().filter(honest).map(lacks).sum();
        format!("{count} machines hang after {seconds} s{detail}; {small} small files lack")
    }

    /// Every job ended well, or for a reason.
    fn check_ends(&mut self) {
        let reachable = self.scenario.origin.gone_ns.is_none();
        let faults_end = match self.scenario.origin.faults_end_ns {
            0 => 0,
            end => end + PATIENCE,
        };
        let outage = self.scenario.origin.outage;
        let mut why = None;
        for (at, host) in self.hosts.iter().enumerate() {
            if host.actor != Actor::Honest || host.life == Life::Gone {
                continue;
            }
            for task in &host.tasks {
                let file = task.file;
                match &task.end {
                    Some(End::Complete) if task.good.count() < task.chunks => {
                        why = Some(format!("host {at}: file {file} is complete and wrong"));
                    }
                    Some(End::Complete) => {
                        let took = task.over_at.saturating_sub(host.started_at);
                        if self.scenario.within_ns.is_some_and(|limit| took > limit) {
                            why = Some(format!("host {at}: file {file} took {} s", took / SEC));
                        }
                    }
                    // Too many faults in a row, while they lasted.
                    Some(End::Failed(NoSource { origin: Some(_), .. })) if task.over_at < faults_end => {}
                    // Whoever began in a long outage does not know that there ever was a line.
                    Some(End::Failed(NoSource { origin: Some(_), .. }))
                        if outage.is_some_and(|outage| {
                            (outage.from_ns + UNHEARD..outage.until_ns + SEC).contains(&task.over_at)
                        }) => {}
                    Some(End::Failed(fault)) if reachable => {
                        why = Some(format!(
                            "host {at}: file {file} failed though the origin has it: {fault:?}"
                        ));
                    }
                    Some(End::Failed(NoSource { origin: None, .. })) => {
                        why = Some(format!("host {at}: file {file} failed without a reason"));
                    }
                    Some(End::Failed(_)) => {}
                    None => why = Some(format!("host {at}: file {file} has no end")),
                }
            }
        }
        if let Some(why) = why {
            self.fail(why);
        }
    }

    /// Every node and every pipe, now.
    pub(crate) fn check_now(&self) {
        for host in &self.hosts {
            if let Some(node) = &host.node {
                node.check_invariants();
            }
        }
        for end in self.ends.iter().filter(|end| !end.over) {
            end.out.check_invariants(&self.items);
        }
        self.check_origin();
    }

    /// With nothing left to do a world comes to rest: nodes sleep, buffers are back.
    fn check_rest(&mut self) {
        let timers = self.totals.timers;
        let nodes = self.hosts.iter().filter(|host| host.node.is_some()).count() as u64;
        let until = self.now + REST;
        self.play(until, |_| false);
        if self.failure.is_some() {
            return;
        }
        let woken = self.totals.timers - timers;
        let flooded = self.scenario.actors.iter().any(|(actor, _)| *actor == Actor::Flooder);
        if !flooded && woken > WAKES_MAX * nodes.max(1) {
            self.fail(format!("{nodes} idle nodes woke up {woken} times within {} s", REST / SEC));
        }
        let out = self.buffers.out();
        if out > 0 && self.totals.cut_short == 0 && !self.has_busy_actors() {
            self.fail(format!("{out} buffers never came back"));
        }
        self.check_now();
    }

    fn has_busy_actors(&self) -> bool {
        self.hosts.iter().any(|host| host.actor != Actor::Honest && host.is_busy())
    }
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// The promise that a scenario can be played at all.
pub(crate) fn check_scenario(scenario: &Scenario) {
    assert!(scenario.nodes > 0, "somebody has to be there");
    assert!(scenario.chunks > 0 && scenario.block > 0, "a file has chunks, a xorb too");
}
