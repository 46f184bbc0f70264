//! What we asked for on this link and may still get an answer to.

use super::{FORGOTTEN_MAX, OUTSTANDING_MAX};
use crate::ids::ReqId;
use crate::wire::xet::{Dialect, Pending, PendingTable};
use alloc::collections::VecDeque;
use zest_xet::Hash;

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Chunk or xorb range, in the layout it was sent in.
    Xet { dialect: Dialect, hash: Hash },
    /// Records of a manifest.
    Manifest { first: u32, count: u32 },
    /// A part of a small file, exactly as long as the longest payload to accept.
    Plain,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) req: ReqId,
    /// Longest payload to accept, in bytes.
    pub(super) len_max: u32,
    pub(super) wanted: Wanted,
}

impl Asked {
    fn pending(&self) -> Option<Pending> {
        match self.wanted {
            Wanted::Xet { dialect, hash } => Some(Pending { req: self.req.0, dialect, hash }),
            Wanted::Manifest { .. } | Wanted::Plain => None,
        }
    }
}

/// Requests in the order they were sent. Peers answer in that order, so a search from the front ends at once; the worst
/// case is [`OUTSTANDING_MAX`] comparisons of 4 bytes.
#[derive(Debug, Default)]
pub(super) struct Requests {
    live: VecDeque<Asked>,
    /// Given up; a late answer to these is skipped.
    forgotten: VecDeque<Asked>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// The one whose answer is likely to come next.
    pub(super) fn oldest(&self) -> Option<&Asked> {
        self.live.front()
    }

    /// Oldest first: as answers are likely to come.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Asked> {
        self.live.iter()
    }

    pub(super) fn add(&mut self, asked: Asked) {
        assert!(self.live.len() < OUTSTANDING_MAX, "at most {OUTSTANDING_MAX} requests on one link");
        assert!(self.live(asked.req).is_none(), "request id {:08x} is outstanding already", asked.req.0);
        // An old late answer under this id would now be taken for the new one; its hash check settles that.
        self.forgotten.retain(|old| old.req != asked.req);
        self.live.push_back(asked);
    }

    pub(super) fn live(&self, req: ReqId) -> Option<&Asked> {
        self.live.iter().find(|asked| asked.req == req)
    }

    /// Takes the request that was answered; tells whether the answer is late.
    pub(super) fn take(&mut self, req: ReqId) -> Option<(Asked, bool)> {
        if let Some(at) = self.live.iter().position(|asked| asked.req == req) {
            return self.live.remove(at).map(|asked| (asked, false));
        }
        let at = self.forgotten.iter().position(|asked| asked.req == req)?;
        self.forgotten.remove(at).map(|asked| (asked, true))
    }

    /// Gives a request up; false if it is not outstanding.
    pub(super) fn forget(&mut self, req: ReqId) -> bool {
        let Some(at) = self.live.iter().position(|asked| asked.req == req) else { return false };
        if self.forgotten.len() == FORGOTTEN_MAX {
            self.forgotten.pop_front();
        }
        self.forgotten.extend(self.live.remove(at));
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives unused room back.
    pub(super) fn shrink(&mut self) {
        self.live.shrink_to_fit();
        self.forgotten.shrink_to_fit();
    }

    /// Bytes of room held.
    pub(super) fn capacity_bytes(&self) -> usize {
        (self.live.capacity() + self.forgotten.capacity()) * size_of::<Asked>()
    }

    /// By id, late ones included.
    pub(super) fn any(&self, req: ReqId) -> Option<&Asked> {
        self.live(req).or_else(|| self.forgotten.iter().find(|asked| asked.req == req))
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.live.len() <= OUTSTANDING_MAX, "outstanding requests are bounded");
        assert!(self.forgotten.len() <= FORGOTTEN_MAX, "forgotten requests are bounded");
        for (at, asked) in self.live.iter().enumerate() {
            assert!(asked.len_max > 0, "a request accepts at least one byte");
            let again =
                self.live.iter().skip(at + 1).chain(&self.forgotten).any(|other| other.req == asked.req);
            assert!(!again, "request id {:08x} is in the table twice", asked.req.0);
        }
    }
}

impl PendingTable for Requests {
    fn by_id(&self, req: u32) -> Option<Pending> {
        self.any(ReqId(req)).and_then(Asked::pending)
    }

    fn by_hash(&self, hash: &Hash) -> Option<Pending> {
        self.live
            .iter()
            .chain(&self.forgotten)
            .filter_map(Asked::pending)
            .find(|pending| pending.hash == *hash)
    }

    fn knows(&self, req: u32) -> bool {
        self.any(ReqId(req)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(req: u32) -> Asked {
        Asked { req: ReqId(req), len_max: 1, wanted: Wanted::Manifest { first: 0, count: 1 } }
    }

    #[test]
    fn a_forgotten_request_is_found_once_and_as_late() {
        let mut requests = Requests::default();
        requests.add(asked(1));
        requests.add(asked(2));
        assert!(requests.forget(ReqId(1)) && !requests.forget(ReqId(1)));
        assert_eq!(requests.len(), 1);
        assert_eq!(requests.take(ReqId(1)), Some((asked(1), true)));
        assert_eq!(requests.take(ReqId(1)), None);
        assert_eq!(requests.take(ReqId(2)), Some((asked(2), false)));
    }

    #[test]
    fn the_oldest_forgotten_request_makes_room() {
        let mut requests = Requests::default();
        for req in 0..=FORGOTTEN_MAX as u32 {
            requests.add(asked(req));
            requests.forget(ReqId(req));
            requests.check_invariants();
        }
        assert!(requests.any(ReqId(0)).is_none() && requests.any(ReqId(1)).is_some());
    }
}
