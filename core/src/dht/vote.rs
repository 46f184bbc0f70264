//! Where others see us: the `ip` of their replies (BEP 42), one vote per site.

use super::addr::{Subnet, is_local, is_usable, site};
use super::limits::{Limits, VOTES_NEEDED};
use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

#[derive(Debug, Default)]
pub(crate) struct Vote {
    votes: VecDeque<(Subnet, SocketAddr)>,
    decided: Option<IpAddr>,
}

impl Vote {
    /// The address that was decided on.
    pub(crate) fn decided(&self) -> Option<IpAddr> {
        self.decided
    }

    /// Takes a vote; gives the new address, and its port if the votes agree on one, when the decision changes.
    /// Nodes of our own network see a local address and have no vote, nor has any address of such kind.
    pub(crate) fn cast(
        &mut self,
        voter: SocketAddr,
        told: SocketAddr,
        limits: &Limits,
    ) -> Option<(IpAddr, Option<u16>)> {
        let voter = site(voter.ip())?;
        if !is_usable(told) || is_local(told.ip()) {
            return None;
        }
        let agrees = self.votes.len() >= limits.votes as usize && self.decided == Some(told.ip());
        if agrees {
            // The usual case: nothing new. It takes the place of the oldest, so that old lies do not pile up; that
            // one site may be in twice then, for what is decided anyway, does no harm.
            self.votes.pop_front();
        } else {
            self.votes.retain(|(who, _)| *who != voter);
            if self.votes.len() >= limits.votes as usize {
                self.votes.pop_front();
            }
        }
        self.votes.push_back((voter, told));
        if agrees {
            return None;
        }
        let of = |ip: IpAddr| self.votes.iter().filter(move |(_, addr)| addr.ip() == ip);
        let count = of(told.ip()).count();
        if count < VOTES_NEEDED || count * 2 <= self.votes.len() || self.decided == Some(told.ip()) {
            return None;
        }
        let one_port = of(told.ip()).all(|(_, addr)| addr.port() == told.port());
        self.decided = Some(told.ip());
        Some((told.ip(), one_port.then_some(told.port())))
    }

    /// Forgets who voted, not what was decided.
    pub(crate) fn clear(&mut self) {
        self.votes.clear();
    }

    pub(crate) fn check_invariants(&self, limits: &Limits) {
        assert!(self.votes.len() <= limits.votes as usize, "votes stay within their limit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(n: u8) -> SocketAddr {
        SocketAddr::new([20, n, 1, 1].into(), 6881)
    }

    #[test]
    fn one_site_has_one_vote_and_a_majority_of_sites_decides() {
        let (mut vote, limits) = (Vote::default(), Limits::default());
        let (true_addr, lie) = ("8.8.8.8:1000".parse().unwrap(), "6.6.6.6:1000".parse().unwrap());
        for host in 0..200 {
            assert_eq!(vote.cast(SocketAddr::new([66, 6, 6, host].into(), 1), lie, &limits), None);
        }
        for n in 0..3 {
            assert_eq!(vote.cast(voter(n), true_addr, &limits), None);
        }
        assert_eq!(vote.cast(voter(3), true_addr, &limits), Some((true_addr.ip(), Some(1000))));
        assert_eq!(vote.cast(voter(4), true_addr, &limits), None, "nothing new");
        for n in 10..14 {
            assert_eq!(vote.cast(voter(n), lie, &limits), None, "no majority");
        }
        vote.check_invariants(&limits);
        assert_eq!(vote.decided(), Some(true_addr.ip()));
    }

    #[test]
    fn a_new_address_wins_once_most_have_seen_it_and_ports_that_differ_are_no_port() {
        let (mut vote, limits) = (Vote::default(), Limits::default());
        for n in 0..10 {
            vote.cast(voter(n), "8.8.8.8:1000".parse().unwrap(), &limits);
        }
        let changes = (0..10).filter_map(|n| {
            vote.cast(voter(n), SocketAddr::new([9, 9, 9, 9].into(), 1000 + u16::from(n)), &limits)
        });
        assert_eq!(changes.collect::<std::vec::Vec<_>>(), [([9, 9, 9, 9].into(), None)]);
    }

    #[test]
    fn local_voters_and_local_addresses_decide_nothing() {
        let (mut vote, limits) = (Vote::default(), Limits::default());
        for n in 1..50u8 {
            vote.cast(SocketAddr::new([10, 0, n, 1].into(), 1), "8.8.8.8:1".parse().unwrap(), &limits);
            vote.cast(voter(n), "192.168.1.2:1".parse().unwrap(), &limits);
            vote.cast(voter(n), "0.0.0.0:1".parse().unwrap(), &limits);
        }
        assert_eq!(vote.decided(), None);
    }
}
