//! One iterative lookup: ever closer nodes are asked until the eight closest that are known have all answered.
//!
//! A lookup sends nothing itself. [`Lookup::step`] says whom to ask next; the owner reports what became of it. A query
//! that is slow leaves its place to another node at once, its answer still counts if it comes.

use super::NodeId;
use super::addr::{source, subnet};
use super::limits::{K, Limits, TOKEN_BYTES_MAX};
use crate::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// How far a node has been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Asked,
    Slow,
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate {
    distance: [u8; 20],
    id: NodeId,
    addr: SocketAddr,
    state: State,
    token: Option<Box<[u8]>>,
}

/// What a lookup wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask this node; its id is unknown if it is a bootstrap node.
    Ask(Option<NodeId>, SocketAddr),
    /// It would ask somebody now, but may not.
    Hold,
    /// Nothing until an answer or a time-out.
    Wait,
    /// It is over.
    Done(End),
}

/// Why a lookup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The eight closest nodes that are known have answered.
    Proven,
    /// Fewer than eight nodes could be found, and all of them have answered or failed.
    Exhausted,
    /// The limit of queries was reached.
    Capped,
    /// The limit of time was reached.
    TimedOut,
    /// There was no node to ask.
    NoNodes,
    /// Too many lookups wait already.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) target: NodeId,
    pub(crate) started: Instant,
    /// Queries sent.
    pub(crate) asked: u32,
    /// Answers received.
    pub(crate) answered: u32,
    /// By distance, closest first.
    candidates: Vec<Candidate>,
    /// Bootstrap nodes: all of them, and those still to ask.
    all_routers: Vec<SocketAddr>,
    routers: Vec<SocketAddr>,
    routers_asked: u32,
}

impl Lookup {
    pub(crate) fn new(target: NodeId, started: Instant) -> Self {
        Self {
            target,
            started,
            asked: 0,
            answered: 0,
            candidates: Vec::new(),
            all_routers: Vec::new(),
            routers: Vec::new(),
            routers_asked: 0,
        }
    }

    /// Bootstrap nodes are asked first, and beside the others.
    pub(crate) fn add_router(&mut self, addr: SocketAddr, limits: &Limits) {
        if self.all_routers.len() < limits.routers as usize && !self.all_routers.contains(&addr) {
            self.all_routers.push(addr);
            self.routers.push(addr);
        }
    }

    /// A node was named. Returns whether it is worth remembering.
    pub(crate) fn offer(&mut self, id: NodeId, addr: SocketAddr, limits: &Limits) -> bool {
        let distance = id.distance(&self.target);
        let at = self.candidates.partition_point(|c| c.distance < distance);
        if self.candidates.get(at).is_some_and(|c| c.id == id) {
            return false;
        }
        if self.candidates.len() >= limits.lookup_nodes as usize && at == self.candidates.len() {
            return false;
        }
        let (net, mut in_net) = (subnet(addr.ip()), 0);
        for other in &self.candidates {
            if source(other.addr) == source(addr) {
                return false;
            }
            let same = net.is_some() && other.state != State::Failed && subnet(other.addr.ip()) == net;
            in_net += u32::from(same);
        }
        if in_net >= limits.lookup_subnet {
            return false;
        }
        if self.candidates.len() >= limits.lookup_nodes as usize {
            // The farthest that has no answer under way makes room.
            let waits = |c: &Candidate| matches!(c.state, State::Fresh | State::Failed);
            match self.candidates.iter().rposition(waits) {
                Some(last) if last >= at => drop(self.candidates.remove(last)),
                _ => return false,
            }
        }
        self.candidates.insert(at, Candidate { distance, id, addr, state: State::Fresh, token: None });
        true
    }

    /// What to do next. [`Step::Ask`] is counted as asked.
    pub(crate) fn step(&mut self, may_ask: bool, limits: &Limits) -> Step {
        let in_flight =
            self.candidates.iter().filter(|c| c.state == State::Asked).count() as u32 + self.routers_asked;
        let capped = self.asked >= limits.lookup_queries;
        let free = in_flight < limits.lookup_parallel;
        if free && !capped && !may_ask && !self.routers.is_empty() {
            return Step::Hold;
        }
        if free
            && !capped
            && let Some(router) = self.routers.pop()
        {
            self.routers_asked += 1;
            self.asked += 1;
            return Step::Ask(None, router);
        }
        // Only the closest that may still answer in time count; a slow one is passed over.
        let mut rank = 0;
        let mut proven = true;
        for candidate in &mut self.candidates {
            match candidate.state {
                State::Failed | State::Slow => continue,
                State::Answered => {}
                State::Asked => proven = false,
                State::Fresh => {
                    proven = false;
                    if free && !capped {
                        if !may_ask {
                            return Step::Hold;
                        }
                        candidate.state = State::Asked;
                        self.asked += 1;
                        return Step::Ask(Some(candidate.id), candidate.addr);
                    }
                }
            }
            rank += 1;
            if rank == K {
                break;
            }
        }
        if proven && rank == K {
            Step::Done(End::Proven)
        } else if in_flight > 0 || self.candidates.iter().any(|c| c.state == State::Slow) {
            Step::Wait
        } else if capped {
            Step::Done(End::Capped)
        } else if self.asked == 0 {
            Step::Done(End::NoNodes)
        } else {
            Step::Done(End::Exhausted)
        }
    }

    fn find(&mut self, addr: SocketAddr) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|c| c.addr == addr)
    }

    /// A bootstrap node's query is no longer waited for.
    pub(crate) fn router_free(&mut self) {
        self.routers_asked = self.routers_asked.saturating_sub(1);
    }

    /// A bootstrap node answered, and is a node like any other for this lookup.
    pub(crate) fn router_answered(
        &mut self,
        id: NodeId,
        addr: SocketAddr,
        token: Option<&[u8]>,
        limits: &Limits,
    ) {
        if self.offer(id, addr, limits) || self.find(addr).is_some_and(|c| c.id == id) {
            self.answered(addr, token);
        } else {
            self.answered += 1;
        }
    }

    /// A bootstrap node is asked without being known by id; whoever names it tells nothing new.
    pub(crate) fn asks_router(&self, addr: SocketAddr) -> bool {
        self.all_routers.contains(&addr)
    }

    /// The node answered; tokens longer than ours may be are as good as none.
    pub(crate) fn answered(&mut self, addr: SocketAddr, token: Option<&[u8]>) {
        if let Some(candidate) = self.find(addr) {
            candidate.state = State::Answered;
            candidate.token = token.filter(|token| token.len() <= TOKEN_BYTES_MAX).map(Box::from);
            self.answered += 1;
        }
    }

    /// Its answer takes long.
    pub(crate) fn slow(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.find(addr).filter(|c| c.state == State::Asked) {
            candidate.state = State::Slow;
        }
    }

    /// It did not answer, or not with what was asked.
    pub(crate) fn failed(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.find(addr).filter(|c| c.state != State::Answered) {
            candidate.state = State::Failed;
        }
    }

    /// The query to this node went down with our own line: it is asked again, and the time counts anew.
    pub(crate) fn again(&mut self, now: Instant, router: bool, was_slow: bool, addr: SocketAddr) {
        self.started = now;
        if router {
            if !was_slow {
                self.router_free();
            }
            self.routers.push(addr);
        } else if let Some(candidate) = self.find(addr).filter(|c| c.state != State::Answered) {
            candidate.state = State::Fresh;
        }
    }

    /// The eight closest that answered, those of them that gave a token.
    pub(crate) fn winners(&self) -> Vec<(NodeId, SocketAddr, Box<[u8]>)> {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered).take(K);
        answered.filter_map(|c| Some((c.id, c.addr, c.token.clone()?))).collect()
    }

    pub(crate) fn check_invariants(&self, limits: &Limits) {
        assert!(self.candidates.len() <= limits.lookup_nodes as usize, "a lookup remembers few nodes");
        assert!(self.asked <= limits.lookup_queries, "a lookup sends few queries");
        let in_flight = self.candidates.iter().filter(|c| c.state == State::Asked).count() as u32;
        assert!(in_flight + self.routers_asked <= limits.lookup_parallel, "few queries are under way");
        assert!(
            self.candidates.is_sorted_by(|a, b| a.distance < b.distance),
            "nodes are ordered by distance"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn node(n: u8) -> (NodeId, SocketAddr) {
        let mut id = [0; 20];
        id[0] = n;
        (NodeId(id), SocketAddr::new([20, n, 1, 1].into(), 7))
    }

    fn lookup(nodes: impl IntoIterator<Item = u8>) -> Lookup {
        let mut lookup = Lookup::new(NodeId([0; 20]), Instant::ZERO);
        nodes.into_iter().for_each(|n| assert!(lookup.offer(node(n).0, node(n).1, &Limits::default())));
        lookup
    }

    fn asks(lookup: &mut Lookup) -> Vec<u8> {
        let mut asked = vec![];
        while let Step::Ask(Some(id), _) = lookup.step(true, &Limits::default()) {
            asked.push(id.0[0]);
        }
        asked
    }

    #[test]
    fn the_closest_are_asked_first_and_never_one_behind_the_eighth() {
        let mut lookup = lookup([9, 3, 7, 1, 5, 2, 8, 4, 6, 200]);
        assert_eq!(asks(&mut lookup), [1, 2, 3, 4]);
        for n in 1..=4 {
            lookup.answered(node(n).1, Some(b"t"));
        }
        assert_eq!(asks(&mut lookup), [5, 6, 7, 8]);
        for n in 5..=8 {
            lookup.answered(node(n).1, Some(b"t"));
        }
        assert_eq!(lookup.step(true, &Limits::default()), Step::Done(End::Proven));
        assert_eq!(lookup.asked, 8);
        assert_eq!(lookup.winners().len(), 8);
    }

    #[test]
    fn a_slow_node_holds_nobody_up_and_may_still_answer() {
        let mut lookup = lookup(1..=9);
        asks(&mut lookup);
        lookup.slow(node(2).1);
        assert_eq!(asks(&mut lookup), [5]);
        for n in [1, 3, 4, 5] {
            lookup.answered(node(n).1, None);
        }
        assert_eq!(asks(&mut lookup), [6, 7, 8, 9]);
        lookup.answered(node(2).1, None);
        for n in 6..=8 {
            lookup.answered(node(n).1, None);
        }
        assert_eq!(
            lookup.step(true, &Limits::default()),
            Step::Done(End::Proven),
            "the ninth is not waited for"
        );
    }

    #[test]
    fn a_lookup_without_anybody_left_ends_with_what_it_has() {
        let mut lookup = lookup([1, 2]);
        asks(&mut lookup);
        lookup.failed(node(1).1);
        assert_eq!(lookup.step(true, &Limits::default()), Step::Wait);
        lookup.answered(node(2).1, Some(b"token"));
        assert_eq!(lookup.step(true, &Limits::default()), Step::Done(End::Exhausted));
        assert_eq!(lookup.winners().len(), 1);
        assert_eq!(
            Lookup::new(NodeId([0; 20]), Instant::ZERO).step(true, &Limits::default()),
            Step::Done(End::NoNodes)
        );
    }

    #[test]
    fn one_subnet_gets_few_places_however_close_its_ids_are() {
        let mut lookup = lookup(100..120);
        let limits = Limits::default();
        let taken =
            (1..=50).filter(|n| lookup.offer(node(*n).0, SocketAddr::new([66, 6, 6, *n].into(), 7), &limits));
        assert_eq!(taken.count(), limits.lookup_subnet as usize);
        lookup.check_invariants(&limits);
    }
}
