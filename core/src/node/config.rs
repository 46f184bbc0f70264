//! What a node is told once.

use super::breadth::STREAMS_MAX;
use crate::{Duration, Instant, PeerId};

/// Peers linked at once, at most, unless [`Config`] says otherwise.
pub const PEERS_MAX: usize = 256;
/// Those of them that came to us, at most: strangers cannot take the places of the peers we dial. [`Config`]
/// may say otherwise.
pub const INBOUND_MAX: usize = 192;
/// Addresses remembered for dialling, at most.
pub const CANDIDATES_MAX: usize = 1024;
/// Links opened to addresses that nobody named: 12. Ours; with as many that come to us a swarm of thousands is a few hops
/// wide, and what each has to be told stays small.
pub const DIALS_TARGET: usize = 12;
/// Peers that are served at a time, those left out whose sockets take nothing: 4. Ours; a few fill any line, and each more
/// only makes all of them slower.
pub const UPLOAD_SLOTS: usize = 4;
/// Least upload cap: 256 KiB/s, two of the longest chunks a second. Ours; below that a chunk would not fit a second.
pub const UPLOAD_BYTES_S_MIN: u64 = 256 << 10;
/// How the origin is used beside the peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// It joins whenever the peers alone are slower: never slower than the origin alone.
    #[default]
    Fastest,
    /// The nodes of a swarm split its work among themselves and wait for each other, so that the origin sends about one
    /// copy to all of them together.
    SpareOrigin,
}

/// What a node is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Seed of all the node's randomness (request ids, tie-breaks).
    pub seed: [u8; 32],
    /// Our peer id: with it the nodes of a swarm agree on who asks the origin.
    pub peer_id: PeerId,
    /// How the origin is used by jobs that say nothing of it ([`super::JobSpec::policy`]).
    pub policy: Policy,
    /// Blocks fetched from the origin at once, over all jobs, to begin with. Under [`Policy::SpareOrigin`] also the blocks that a swarm
    /// as a whole fetches at once of one file.
    pub origin_fetches_max: u32,
    /// And at most, where each doubling raises what comes by two fifths.
    pub origin_fetches_limit: u32,
    /// Chunks copied from the local disk at once, over all jobs.
    pub copies_max: u32,
    /// How long peers alone may work on a new job before the origin is asked too.
    pub origin_grace: Duration,
    /// Peers together below this rate get the origin's help (policy `fastest`), bytes/s.
    pub origin_joins_below_bytes_s: u64,
    /// How long nothing at all may come from anywhere before jobs are given up: what the user says
    /// ([`crate::outage::PATIENCE`] unless the user does). With sources that never gave anything it is
    /// [`crate::outage::PATIENCE_UNHEARD`] at most. Time that the machine slept does not count.
    pub patience: Duration,
    /// How long finding a peer may take: a job that the origin refuses for good fails after this if nobody is in sight.
    pub finding: Duration,
    /// Peers linked at once, at most.
    pub peers_max: usize,
    /// Those of them that came to us, at most.
    pub inbound_max: usize,
    /// Links that are opened to addresses nobody named, at most.
    pub dials_max: usize,
    /// Peers that are served at a time, those left out whose sockets take nothing. While more wait in line, each is given
    /// little ahead.
    pub upload_slots: usize,
    /// Whether what nothing proves yet can be kept apart ([`super::Action::ProveTentative`]): only then is anybody followed who
    /// streams a xorb.
    pub tentative: bool,
    /// The Hub we speak of, if not everybody knows it: see [`crate::link::hub_key`].
    pub hub: Option<[u8; 20]>,
    /// That Hub is on this machine alone: others mean another one by that name, so only peers that the user named speak of the same.
    pub hub_here: bool,
    /// Upload cap in bytes/s over any second; `None`: none. Not below [`UPLOAD_BYTES_S_MIN`].
    pub upload_bytes_s: Option<u64>,
    /// Download cap in bytes/s, peers and origin together, which the runtime keeps; peers that fill it need no help.
    pub download_bytes_s: Option<u64>,
    /// When this process began, by the clock of its events. Another one may have used the cap up a moment before (a restart):
    /// within a second from then nothing goes out that counts.
    pub began: Instant,
}

impl Config {
    /// The defaults, with this seed and peer id.
    #[must_use]
    pub fn new(seed: [u8; 32], peer_id: PeerId) -> Self {
        Self {
            seed,
            peer_id,
            policy: Policy::Fastest,
            origin_fetches_max: 8,
            origin_fetches_limit: STREAMS_MAX,
            copies_max: 32,
            origin_grace: Duration::from_millis(150),
            origin_joins_below_bytes_s: 60_000_000,
            patience: Duration::from_secs(20),
            finding: Duration::from_secs(20),
            peers_max: PEERS_MAX,
            inbound_max: INBOUND_MAX,
            dials_max: DIALS_TARGET,
            upload_slots: UPLOAD_SLOTS,
            upload_bytes_s: None,
            download_bytes_s: None,
            tentative: false,
            began: Instant::ZERO,
            hub: None,
            hub_here: false,
        }
    }

    /// Peers that together give less than this are slow, in bytes/s: beside a cap no more is asked of them than nearly all of it.
    pub(crate) fn joins_below(&self) -> u64 {
        let capped = self.download_bytes_s.map_or(u64::MAX, |cap| cap / 4 * 3);
        self.origin_joins_below_bytes_s.min(capped)
    }
}
