//! What belongs to one engine, room by room. Nothing here knows what the rooms do: a file takes the room it needs, and all of them
//! only where it has to raise an event.

use crate::clock::Clock;
use crate::discovery::Finder;
use crate::disk::Disk;
use crate::giving::Giving;
use crate::held::Held;
use crate::jobs::Jobs;
use crate::machine::Machine;
use crate::origin::Origin;
use crate::outages::{Out, Outages, Service};
use crate::pulls::Pulls;
use crate::small::Small;
use crate::transport::Transport;
use crate::vicinity::Vicinity;
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use zest_core::node::{Action, Event, Found, Part, Policy};
use zest_core::{JobId, LinkId};
use zest_store::Access;

pub(crate) struct Context {
    pub(crate) clock: Clock,
    /// The node, which decides.
    pub(crate) machine: Machine,
    /// The connections to peers.
    pub(crate) transport: Rc<Transport>,
    /// Who is near, and who is given to.
    pub(crate) vicinity: Vicinity,
    /// Finds peers, if that is asked for.
    pub(crate) finder: OnceCell<Rc<Finder>>,
    pub(crate) origin: Rc<Origin>,
    pub(crate) disk: Disk,
    /// Bytes in memory that the node has a name for.
    pub(crate) held: Held,
    /// Small files that come whole, from peers and to them.
    pub(crate) small: Small,
    pub(crate) jobs: Jobs,
    pub(crate) pulls: Rc<Pulls>,
    /// Does what the node says.
    pub(crate) perform: fn(&Rc<Self>, Action),
}

impl Context {
    /// Takes an event in and performs what follows, in order. Performing may raise further events; they queue up.
    pub(crate) fn event(self: &Rc<Self>, event: Event) {
        self.machine.handle(event, |action| (self.perform)(self, action));
    }

    /// The user named a peer.
    pub(crate) fn name_peer(self: &Rc<Self>, addr: SocketAddr) {
        self.vicinity.name(addr);
        match self.finder.get() {
            Some(finder) => finder.named(addr),
            None => self.event(Event::PeerFound { addr, how: Found::Named }),
        }
    }

    /// Whether this is an address of this site, or of a network that this machine is on.
    pub(crate) fn is_near_by(self: &Rc<Self>, addr: SocketAddr) -> bool {
        self.vicinity.is_near_by(addr.ip(), |news| self.event(news))
    }

    /// What a linked peer may have.
    pub(crate) fn access_of(&self, link: LinkId) -> Access {
        if self.machine.node().is_near(link) { Access::Near } else { Access::Share }
    }

    /// A job that shares the origin's work with others waits so long for them: somebody is looking for them.
    pub(crate) fn job_waits(self: &Rc<Self>, job: JobId, pause: Duration) {
        let until = self.machine.now() + pause;
        self.event(Event::JobLooking { job, until });
    }

    /// Other caps in bytes/s, another use of the origin and of the line, from now on.
    pub(crate) fn set_limits(
        self: &Rc<Self>,
        policy: Policy,
        upload_bytes_s: Option<u64>,
        download_bytes_s: Option<u64>,
        nice: bool,
    ) {
        self.transport.traffic.set_cap(download_bytes_s);
        self.transport.traffic.set_nice(nice);
        self.event(Event::Settings { policy, upload_bytes_s, download_bytes_s });
    }

    /// Gives to these from now on.
    pub(crate) fn give(&self, giving: Giving) {
        self.vicinity.give_to(giving);
        if let Some(finder) = self.finder.get() {
            finder.shelf_changed();
        }
    }

    /// What does not answer, the Hub first.
    pub(crate) fn out(&self, hub: &Outages) -> Vec<Out> {
        let node = self.machine.node();
        let of_node = node.outages().map(|(part, since, why, heard)| Out {
            service: match part {
                Part::Layouts => Service::Cas,
                Part::Blocks => Service::Cdn,
            },
            for_: self.machine.seems() - since,
            why: why.to_owned(),
            heard,
        });
        let mut out: Vec<Out> = hub.out().into_iter().chain(of_node).collect();
        // Silence on lines that stand is no fault yet to the node.
        if out.iter().all(|out| out.service != Service::Cdn) && self.jobs.any_fetched() {
            out.extend(self.origin.silence());
        }
        out
    }
}
