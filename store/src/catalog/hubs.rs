//! Whose word reaches how far. What a Hub that everybody knows shows to everybody may be given to everybody. What another one
//! shows stays among those who speak of it: peers that the user named, and this network. No Hub lifts the restriction of
//! another: bytes that came from one may be given only while that one's own last word about them is yes.

use std::collections::BTreeSet;

use super::places::Member;
use super::proofs::Proofs;
use crate::endpoint::Endpoint;

/// The Hubs that this process speaks of.
#[derive(Debug)]
pub(super) struct Hubs {
    /// The one it is configured for; `None`: any.
    own: Option<Endpoint>,
    /// The public one, and mirrors of it that the user vouches for.
    public: BTreeSet<Endpoint>,
}

impl Default for Hubs {
    fn default() -> Self {
        Self { own: None, public: BTreeSet::from([Endpoint::public()]) }
    }
}

/// Until when a file may be given, in seconds since 1970; 0: not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GivenUntil {
    /// To everybody.
    pub(super) all: u64,
    /// To those who speak of the same Hub.
    pub(super) near: u64,
}

impl Hubs {
    pub(super) fn new(own: Endpoint, mirrors: &[Endpoint]) -> Self {
        let mut hubs = Self { own: Some(own), ..Self::default() };
        hubs.public.extend(mirrors.iter().cloned());
        hubs
    }

    pub(super) fn is_public(&self, hub: &Endpoint) -> bool {
        self.public.contains(hub)
    }

    fn is_own(&self, hub: &Endpoint) -> bool {
        self.own.as_ref().is_none_or(|own| own == hub)
    }

    /// Whether bytes of a file that belongs to these may become part of one that this Hub lists.
    pub(super) fn may_lend(&self, members: &[Member], proofs: &Proofs, to: &Endpoint) -> bool {
        let open = |hub: &Endpoint| members.iter().any(|m| m.hub.as_ref() == Some(hub) && proofs.is_open(m));
        let same = |repo: &str| members.iter().any(|m| m.hub.as_ref() == Some(to) && m.repo == repo);
        members.iter().all(|member| match &member.hub {
            Some(hub) => hub == to || open(hub),
            // As where a file itself is to be given.
            None => self.is_public(to) || same(&member.repo),
        })
    }

    /// Until when a file that belongs to these may be given.
    pub(super) fn given_until(&self, members: &[Member], proofs: &Proofs) -> GivenUntil {
        let open = |hub: &Endpoint| members.iter().any(|m| m.hub.as_ref() == Some(hub) && proofs.is_open(m));
        let mut given = GivenUntil::default();
        let mut near_repos = BTreeSet::new();
        for member in members {
            let Some(hub) = &member.hub else { continue };
            if !open(hub) {
                return GivenUntil::default();
            }
            let until = proofs.until(member);
            if self.is_public(hub) {
                given.all = given.all.max(until);
            } else if self.is_own(hub) {
                near_repos.insert(&member.repo);
                given.near = given.near.max(until);
            }
        }
        // What nobody knows the origin of may have been another Hub's secret. Where everybody can have the same bytes from
        // the public one that makes no difference; elsewhere it does.
        if members.iter().any(|member| member.hub.is_none() && !near_repos.contains(&member.repo)) {
            given.near = 0;
        }
        given.near = given.near.max(given.all);
        given
    }
}
