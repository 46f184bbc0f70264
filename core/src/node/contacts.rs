//! Whom we know of: linked or not, and what they did.

use super::authors::Authors;
use super::ban::Bans;
use super::dials::{Candidate, Told};
use super::event::Direction;
use super::lessons::Lessons;
use super::tellers::Tellers;
use crate::networks::Network;
use crate::{LinkId, PeerId};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// Addresses that may be dialled.
    pub(super) candidates: BTreeMap<SocketAddr, Candidate>,
    /// Who told us of which.
    pub(super) told: Told,
    /// Links that went down lately.
    pub(super) departed: VecDeque<(LinkId, SocketAddr, Direction, PeerId)>,
    pub(super) bans: Bans,
    /// What was learnt of addresses that are not linked any more.
    pub(super) lessons: Lessons,
    /// Who streamed what did not prove.
    pub(super) authors: Authors,
    /// Who told of claims of which nothing came.
    pub(super) tellers: Tellers,
    /// The networks that this machine is on.
    pub(super) networks: Vec<Network>,
}
