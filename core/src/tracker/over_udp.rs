//! The talk with UDP trackers: name, connection, request, and which answers count.

use super::answers::id_of;
use super::event::{Action, Event};
use super::machine::Trackers;
use super::server::{Sent, Server, Step, Task};
use super::{FAREWELL_AGAIN, UDP_PACKETS, udp};
use crate::Instant;
use crate::endpoint::canonical;
use alloc::string::{String, ToString as _};
use core::net::SocketAddr;

/// How often a farewell is sent: 2. Ours; one datagram may get lost.
const FAREWELL_TRIES: u32 = 2;
/// Requests on their way with which a farewell is noted, to be said again: 1,024. Ours.
const PARTING_MAX: usize = 1024;

/// Whether a tracker says that it does not know the connection id: `Connection ID missmatch.` (opentracker) and its like.
fn is_about_connection(reason: &str) -> bool {
    reason.to_ascii_lowercase().contains("connection")
}

impl Trackers {
    /// Takes the next step towards sending what waits at a UDP tracker.
    pub(super) fn pump_udp(&mut self, now: Instant, server: usize) {
        while !self.servers[server].udp.waiting.is_empty() {
            match self.servers[server].udp.step(now) {
                Step::Wait => return,
                Step::Resolve => {
                    let at = &mut self.servers[server];
                    at.udp.resolving = Some(now);
                    let (host, port) = (at.url.host().to_string(), at.url.port());
                    let tracker = id_of(server);
                    return self.actions.push_back(Action::Resolve { tracker, host, port });
                }
                Step::Connect(to) => {
                    let transaction = self.transaction();
                    self.servers[server].udp.connecting = Some((transaction, to, now));
                    self.bucket.correct(0, UDP_PACKETS);
                    return self.actions.push_back(Action::SendTo { to, bytes: udp::connect(transaction) });
                }
                Step::Ready(to, connection) => {
                    let transaction = self.transaction();
                    let udp = &mut self.servers[server].udp;
                    let Some(mut task) = udp.waiting.pop_front() else { return };
                    if let Some(connection) = &mut udp.connection {
                        connection.uses += 1;
                    }
                    let bytes = match &task {
                        Task::Scrape { swarms } => udp::scrape(connection, transaction, swarms),
                        Task::Announce { .. } | Task::Stop { .. } => {
                            let url_data = self.servers[server].url.url_data();
                            let announce = self.announce(server, &task);
                            udp::announce(connection, transaction, &announce, url_data.as_deref())
                        }
                    };
                    self.actions.push_back(Action::SendTo { to, bytes });
                    if let Task::Stop { tries, .. } = &mut task {
                        *tries += 1;
                        // Those beyond are said once.
                        if self.over_udp.len() >= PARTING_MAX {
                            continue;
                        }
                    }
                    self.over_udp.insert(transaction, Sent { server, task, at: now, to: Some(to) });
                }
            }
        }
    }

    /// A number that no open request has, and nobody can guess.
    pub(super) fn transaction(&mut self) -> u32 {
        loop {
            let number = self.rng.u32();
            let connecting = |s: &Server| s.udp.connecting.is_some_and(|(open, _, _)| open == number);
            if !self.over_udp.contains_key(&number) && !self.servers.iter().any(connecting) {
                return number;
            }
        }
    }

    pub(super) fn resolved(&mut self, now: Instant, server: usize, addrs: &[SocketAddr]) {
        let Some(at) = self.servers.get_mut(server) else { return };
        let Some(since) = at.udp.resolving else { return };
        at.udp.resolved(now, addrs);
        if !at.udp.has_addrs() {
            let why = alloc::format!("{} has no address", at.url.host());
            self.give_up_waiting(now, server, since, why);
        }
    }

    /// The process ends: what UDP trackers answer may let a farewell out, and silence has it sent again.
    pub(super) fn part_over_udp(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Datagram { from, bytes } => self.datagram(now, canonical(from), bytes),
            Event::Resolved { tracker, addrs } => self.resolved(now, usize::from(tracker.0), addrs),
            Event::Forget { swarm } => self.forget(swarm),
            Event::Timer => {
                self.farewells_again(now);
                self.connect_again(now);
                if self.hold_until.is_some_and(|at| at <= now) {
                    let held = core::mem::take(&mut self.partings);
                    for parting in held.into_values() {
                        // Who has not answered anything yet is not told either.
                        if self.servers[parting.server].answers() {
                            self.bid_farewell(now, parting.server, parting.task);
                        }
                    }
                }
            }
            Event::Add { .. }
            | Event::Progress { .. }
            | Event::Completed { .. }
            | Event::Hungry { .. }
            | Event::Remove { .. }
            | Event::Scrape { .. }
            | Event::HttpFrom { .. }
            | Event::HttpReply { .. }
            | Event::HttpFailed { .. }
            | Event::Shutdown => return,
        }
        for server in 0..self.servers.len() {
            self.pump_udp(now, server);
        }
    }

    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Ok((transaction, reply)) = udp::reply(bytes, from.is_ipv6()) else { return };
        let connecting =
            |s: &Server| s.udp.connecting.is_some_and(|(open, to, _)| (open, to) == (transaction, from));
        if let Some(server) = self.servers.iter().position(connecting) {
            match reply {
                udp::Reply::Connected { connection } => {
                    self.servers[server].udp.connected(now, connection);
                    self.pump_udp(now, server);
                }
                udp::Reply::Error { reason } => {
                    let since = self.servers[server].udp.connecting.map_or(now, |(_, _, at)| at);
                    self.give_up_waiting(now, server, since, reason);
                }
                // Not what was asked: as if nothing had come.
                udp::Reply::Announced(_) | udp::Reply::Scraped(_) => {}
            }
            return;
        }
        let fits = |sent: &Sent| {
            sent.to == Some(from)
                && match (&reply, &sent.task) {
                    (udp::Reply::Error { .. }, _) => true,
                    (udp::Reply::Announced(_), task) => !matches!(task, Task::Scrape { .. }),
                    (udp::Reply::Scraped(_), task) => matches!(task, Task::Scrape { .. }),
                    (udp::Reply::Connected { .. }, _) => false,
                }
        };
        if !self.over_udp.get(&transaction).is_some_and(fits) {
            return;
        }
        let Some(sent) = self.over_udp.remove(&transaction) else { return };
        match (reply, &sent.task) {
            // What a farewell is answered with counts for nothing but that it was heard.
            (udp::Reply::Announced(_), Task::Stop { .. }) => self.servers[sent.server].works(),
            (udp::Reply::Announced(reply), _) => self.answered(now, sent, reply),
            (udp::Reply::Scraped(counts), Task::Scrape { swarms }) => {
                let swarms = swarms.iter().copied().zip(counts).collect();
                self.scraped(sent.server, swarms);
            }
            (udp::Reply::Error { reason }, _) => self.udp_error(now, sent, reason),
            _ => {}
        }
    }

    pub(super) fn udp_error(&mut self, now: Instant, mut sent: Sent, reason: String) {
        let udp = &mut self.servers[sent.server].udp;
        let used = udp.connection.as_ref().is_some_and(|connection| connection.uses > 1);
        let unknown = is_about_connection(&reason);
        let again = match &mut sent.task {
            Task::Announce { swarm, retried, .. } => {
                let again = !*retried && (used || unknown) && self.swarms.contains_key(swarm);
                *retried = true;
                again
            }
            Task::Stop { tries, .. } => *tries < FAREWELL_TRIES,
            Task::Scrape { .. } => false,
        };
        if again {
            // It has forgotten the connection, or never knew it: that is no word about the swarm.
            udp.connection = None;
            udp.wait(sent.task);
            return self.pump_udp(now, sent.server);
        }
        match unknown && !sent.task.is_stop() {
            true => self.no_answer(now, sent, reason),
            false => self.refused(now, sent, reason, None),
        }
    }

    /// Farewells that were not answered are said once more, then given up.
    pub(super) fn farewells_again(&mut self, now: Instant) {
        let late = |sent: &Sent| sent.task.is_stop() && sent.deadline() <= now;
        while let Some(id) = self.over_udp.iter().find(|(_, sent)| late(sent)).map(|(id, _)| *id) {
            let Some(sent) = self.over_udp.remove(&id) else { return };
            if let Task::Stop { tries, .. } = sent.task
                && tries < FAREWELL_TRIES
            {
                self.servers[sent.server].udp.wait(sent.task);
                self.pump_udp(now, sent.server);
            }
        }
    }

    /// The process ends: a connect request on which farewells wait is sent again, with the transaction it had.
    pub(super) fn connect_again(&mut self, now: Instant) {
        for server in self.servers.iter_mut().filter(|server| server.is_parting()) {
            let Some((transaction, to, at)) = server.udp.connecting else { continue };
            if at + FAREWELL_AGAIN <= now {
                server.udp.connecting = Some((transaction, to, now));
                self.actions.push_back(Action::SendTo { to, bytes: udp::connect(transaction) });
            }
        }
    }

    /// No connection, no address: what waited for it goes elsewhere.
    pub(super) fn give_up_waiting(&mut self, now: Instant, server: usize, since: Instant, why: String) {
        (self.servers[server].udp.connecting, self.servers[server].udp.resolving) = (None, None);
        self.fails(now, server, since, why);
        for task in core::mem::take(&mut self.servers[server].udp.waiting) {
            if let Task::Announce { swarm, lane, .. } = task {
                self.servers[server].open -= 1;
                self.set_due(lane, swarm, now);
            }
        }
    }
}
