//! The message plane: one [`Node`] decides what this process asks of whom, and answers its peers.
//!
//! Where to look: `dials.rs` says whom we dial, `picker.rs` chooses peers and chunks, `front.rs` knows what comes first,
//! `upload.rs` answers peers,
//! `tell.rs` and `have.rs` say and hear who has what, `manifest.rs` and `lists.rs` get chunk lists from peers, `ban.rs`
//! shuts out. `plain.rs` gets and gives small files that are not in Xet. `streams.rs` gives, `offers.rs` chooses and `tentative.rs` takes what somebody streams from the origin before it can be proven. `origin.rs` says when the origin is asked, `outages.rs` what becomes of it while it does not answer; `claims.rs` shares it among peers (policy `spare-origin`), and
//! `sparing.rs` does so under `fastest` where it is the bottleneck; `breadth.rs` finds how many streams it is worth.
//!
//! The node sees typed events and gives typed actions; bulk data is named by [`BufId`](crate::BufId) (in memory) or
//! [`Location`](crate::Location) (on disk), never held. Three kinds of [`Source`] can give a chunk: a peer, the
//! origin, the local disk.
//!
//! A chunk that is asked of a peer belongs to that request until the peer falls silent (about half a second); from then
//! on other sources may take it, and whoever is first is welcome. So no peer can hold a job up for long, and none is
//! given up for a hiccup.
//!
//! # Driving it
//! ```
//! use zest_core::node::{Config, Event, Found, Node};
//! use zest_core::{Instant, PeerId};
//!
//! let mut node = Node::new(Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl")));
//! let addr = "127.0.0.1:6881".parse().unwrap();
//! node.handle(Instant(0), Event::PeerFound { addr, how: Found::Named });
//! while let Some(action) = node.poll_action() {
//!     // perform it; its outcome comes back as another event
//!     println!("{action:?}");
//! }
//! if let Some((at, _why)) = node.poll_timeout() {
//!     // call handle(now, Event::Timer) when `at` has come
//!     assert!(at >= Instant(0));
//! }
//! ```
//! After every `handle`, poll actions until `None`, then look at `poll_timeout` again.

mod action;
mod active;
mod answers;
mod ask;
mod asking;
mod authors;
mod ban;
mod bitset;
mod block;
mod block_state;
mod breadth;
mod cap;
mod chunk_lists;
mod claims;
mod config;
mod contacts;
mod course;
mod dials;
mod event;
mod fair;
mod few;
mod from_origin;
mod front;
mod gossip;
mod have;
mod heard;
mod in_order;
mod job;
mod jobs;
mod lag;
mod lanes;
mod late;
mod layout;
mod left;
mod lessons;
pub mod limits;
mod line;
mod links;
mod lists;
mod manifest;
mod measured;
mod mouth;
mod offers;
mod origin;
mod origin_use;
mod outages;
mod party;
mod peer;
mod pick;
mod picker;
mod plain;
mod plain_asked;
mod plain_held;
mod queue;
mod repeats;
pub(crate) mod rng;
mod sets;
mod sparing;
mod spent;
mod standing;
mod stream;
mod streams;
mod supply;
mod taking;
mod tell;
mod tellers;
mod tentative;
mod timers;
mod turns;
mod unit_claims;
mod units;
mod unproven;
mod upload;

pub use crate::endpoint::Found;
pub use action::Action;
pub use ban::{BAN, BANS_MAX, BANS_PER_IP_MAX};
pub use bitset::BitSet;
pub use breadth::STREAMS_MAX;
pub use config::{
    CANDIDATES_MAX, Config, DIALS_TARGET, INBOUND_MAX, PEERS_MAX, Policy, UPLOAD_BYTES_S_MIN, UPLOAD_SLOTS,
};
pub use course::Priority;
pub use dials::{DHT_DIALS_PER_S, TOLD_AGAIN, TOLD_DIALS_PER_S};
pub use event::{Block, Direction, Event, FaultKind, JobFailure, ManifestPlace, OriginFault, Run, Source};
pub use job::JobSpec;
pub use outages::Part;
pub use plain::PlainSpec;
pub use timers::Timer;
pub use units::score as claim_score;
pub use upload::BUDGET_SPENT;

use crate::{Duration, Instant, JobId, LinkId, ReqId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use asking::Asking;
use contacts::Contacts;
use job::Job;
use line::Uploads;
use links::DEPARTED_MAX;
use measured::Measured;
use origin_use::OriginUse;
use peer::Peer;
use repeats::Marker;
use rng::Rng;
use timers::Timers;

/// Rates are measured and pipelines resized this often.
pub const MEASURE: Duration = Duration::from_millis(250);
/// Who dialled us may take so long until it says what it fetches: 500 ms. Ours; it asks the Hub for commit and list first.
const NEWCOMER: Duration = Duration::from_millis(500);

/// Numbers for a status line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Links that are up.
    pub peers: u32,
    /// Peers banned so far.
    pub banned: u32,
    /// Chunks that failed their proof.
    pub chunks_bad: u64,
    /// Chunks asked of peers.
    pub chunks_asked: u64,
    /// Answers that came after the chunk was already held.
    pub chunks_duplicate: u64,
    /// Requests answered with a chunk.
    pub chunks_served: u64,
    /// Small files that came from peers and were others.
    pub plain_bad: u64,
    /// Small files that peers gave whole, the [`Stats::plain_bad`] among them.
    pub plain_came: u64,
    /// Requests answered with a part of a small file.
    pub plain_served: u64,
    /// Those of them that were for the first part: how often small files were given.
    pub plain_files_served: u64,
    /// Files that peers want to hear of, over all of them: what is remembered of that.
    pub interests: u32,
}

/// The one decision-making machine of a process. See the module's documentation for how to drive it.
#[derive(Debug)]
pub struct Node {
    config: Config,
    rng: Rng,
    /// Time of the event being handled.
    now: Instant,
    peers: BTreeMap<LinkId, Peer>,
    jobs: BTreeMap<JobId, Job>,
    /// Whom we know of, and how much we think of them.
    contacts: Contacts,
    /// Which job asks which peer next.
    asking: Asking,
    /// What is given.
    uploads: Uploads,
    /// How the origin is used.
    origin: OriginUse,
    /// What was measured of all peers together.
    measured: Measured,
    timers: Timers,
    actions: VecDeque<Action>,
}

impl Node {
    /// A node without peers and jobs.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            rng: Rng::new(config.seed),
            now: Instant::ZERO,
            peers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            contacts: Contacts::default(),
            asking: Asking::default(),
            uploads: Uploads::new(config.began, Marker::new(config.seed)),
            origin: OriginUse::new(&config),
            measured: Measured::default(),
            timers: Timers::new(),
            actions: VecDeque::new(),
            config,
        }
    }

    /// Takes one event in. Infallible: a peer's fault becomes [`Action::Close`], a job's end [`Action::Failed`].
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.slept(now);
        self.now = now;
        match event {
            Event::PeerFound { addr, how } => self.peer_found(now, addr, how),
            Event::Seeking { on } => self.seeking(now, on),
            Event::Networks { ours } => self.contacts.networks = ours,
            Event::DialFailed { addr } => self.dial_failed(now, addr),
            Event::OwnAddress { addr } => self.own_address(now, addr),
            Event::LinkUp { link, addr, direction, peer_id } => {
                self.link_up(now, link, addr, direction, peer_id)
            }
            Event::LinkDown { link, fault } => self.link_down(now, link, fault),
            Event::Message { link, message } => self.message(now, link, message),
            Event::Payload { link, req, kind, buf, len } => self.payload(now, link, req, kind, buf, len),
            Event::BlockFromPeer { link, req, good } => self.block_from_peer(now, link, req, good),
            Event::ChunkLocated { link, req, hash, dialect, place } => {
                self.chunk_located(now, link, req, hash, dialect, place);
            }
            Event::Sent { link, bytes } => self.sent(now, link, bytes),
            Event::UploadBudget { bytes } => self.upload_budget(now, bytes),
            Event::BlockListed { job, block, list, wrong } => {
                self.block_listed(now, job, block, list, &wrong);
            }
            Event::ChunkHashed { job, block, nth, chunk } => self.chunk_hashed(now, job, block, nth, chunk),
            Event::TentativeKept { job, block, nth, link, from } => {
                self.tentative_kept(now, job, block, nth, link, from);
            }
            Event::TentativeBad { job, block, link, .. } => self.tentative_bad(now, job, block, link),
            Event::TentativeLost { job, block, link } => self.tentative_lost(job, block, link),
            Event::BlockListBad { job, block, link } => self.block_list_bad(now, job, block, link),
            Event::JobLooking { job, until } => self.job_looking(job, until),
            Event::JobFront { job, bytes } => self.job_front(job, bytes),
            Event::JobAwaited { job, bytes } => self.job_awaited(now, job, bytes),
            Event::JobPaused { job, paused } => self.job_paused(now, job, paused),
            Event::JobPriority { job, priority } => self.job_priority(job, priority),
            Event::JobPolicy { job, policy } => self.job_policy(now, job, policy),
            Event::Settings { policy, upload_bytes_s, download_bytes_s } => {
                self.settings(now, policy, upload_bytes_s, download_bytes_s);
            }
            Event::ManifestLocated { link, req, place } => self.manifest_located(now, link, req, place),
            Event::FileLocated { link, file, total, runs } => self.file_located(link, file, total, runs),
            Event::XorbLocated { link, answer } => self.xorb_located(now, link, answer),
            Event::JobAdded { job, spec } => self.job_added(now, job, spec),
            Event::JobPlanned { job, chunks, blocks, held, local } => {
                self.job_planned(now, job, chunks, blocks, &held, local);
            }
            Event::JobManifest { job, manifest, held, local } => {
                self.job_manifest(now, job, manifest, &held, local)
            }
            Event::ManifestBad { job, link } => self.manifest_bad(now, job, link),
            Event::OriginGone { job, why } => self.origin_gone(now, job, why),
            Event::OriginHeard { job, block } => self.block_heard(job, block),
            Event::OriginEnded { job, block, fault } => self.origin_ended(now, job, block, fault),
            Event::ChunkDone { job, index, source } => self.chunk_done(now, job, index, source),
            Event::ChunkBad { job, index, source } => self.chunk_bad(now, job, index, source),
            Event::JobReopened { job, missing } => self.job_reopened(now, job, &missing),
            Event::JobRemoved { job } => self.job_removed(job),
            Event::Intake { link, open } => self.intake(now, link, open),
            Event::PlainWanted { plain, spec } => self.plain_wanted(now, plain, spec),
            Event::PlainLocated { link, req, body } => self.plain_located(now, link, req, body),
            Event::PlainBad { plain, link } => self.plain_bad(now, plain, link),
            Event::PlainOver { plain } => self.plain_over(now, plain),
            Event::Timer => self.timer(now),
        }
        self.settle(now);
    }

    /// Does what the event in hand has made due.
    fn settle(&mut self, now: Instant) {
        self.reorder_moved(now);
        let peers_due = core::mem::take(&mut self.asking.peers_due);
        if core::mem::take(&mut self.asking.due) {
            self.refill(now);
        } else if peers_due {
            self.fill_peers(now);
        }
    }

    /// The next thing to do, in order. Poll until `None` after every [`Node::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // The next ones go where these were, in memory that is at hand, and not round the whole ring.
            self.actions.clear();
        }
        action
    }

    /// When to call `handle(now, Event::Timer)`, and why. Ask again after every [`Node::handle`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    /// Numbers for a status line.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let interests = self.uploads.parties.interested();
        Stats { peers: self.peers.len() as u32, interests, ..self.measured.stats }
    }

    /// Whose block request `req` on `link` is: the runtime needs it to decode a xorb range as it arrives.
    #[must_use]
    pub fn block_request(&self, link: LinkId, req: ReqId) -> Option<(JobId, u32)> {
        match self.peers.get(&link)?.asked.requests.get(&req)?.what {
            peer::Pending::Block { job, block } => Some((job, block)),
            peer::Pending::Chunk { .. }
            | peer::Pending::Manifest { .. }
            | peer::Pending::List { .. }
            | peer::Pending::Tentative { .. } => None,
        }
    }

    /// Linked peers that say they have something of a job's file.
    #[must_use]
    pub fn sources(&self, job: JobId) -> usize {
        self.peers.values().filter(|peer| peer.jobs.get(&job).is_some_and(|with| with.counted)).count()
    }

    /// Linked machines that have something of one of these jobs' files, as far as is known, or fetch one of them. One that is linked
    /// over IPv4 and IPv6, or in both directions, is one.
    #[must_use]
    pub fn linked_for(&self, jobs: &BTreeSet<JobId>) -> usize {
        let file = |id: &JobId| self.jobs.get(id).map(|job| job.spec.file);
        let takes_part = |peer: &&Peer| {
            !peer.closing
                && jobs.iter().any(|id| {
                    peer.gives(*id) || file(id).is_some_and(|file| peer.wants.interests.contains_key(&file))
                })
        };
        sparing::machines(self.peers.values().filter(takes_part))
    }

    /// Linked machines, counted in the same way.
    #[must_use]
    pub fn machines(&self) -> usize {
        sparing::machines(self.peers.values().filter(|peer| !peer.closing))
    }

    /// Whether a linked peer fetches one of these files, as it says.
    #[must_use]
    pub fn is_wanted(&self, files: &BTreeSet<zest_xet::Hash>) -> bool {
        self.peers
            .values()
            .any(|peer| !peer.closing && peer.wants.interests.keys().any(|file| files.contains(file)))
    }

    /// Whether somebody dialled us a moment ago and has not said yet what it fetches: it may still be asking the Hub for its list.
    #[must_use]
    pub fn has_newcomer(&self, now: Instant) -> bool {
        self.peers.values().any(|peer| {
            let is_new = now.since(peer.gave_at()) < NEWCOMER && peer.who.direction == Direction::Inbound;
            is_new && peer.who.zest && !peer.closing && peer.wants.interests.is_empty()
        })
    }

    /// Whether a peer may have what only those get who speak of our Hub: see [`JobSpec::near`].
    #[must_use]
    pub fn is_near(&self, link: LinkId) -> bool {
        self.peers.get(&link).is_some_and(|peer| peer.who.near)
    }

    /// Whether chunk `index` of `job` still has to come from somewhere.
    #[must_use]
    pub fn needs(&self, job: JobId, index: u32) -> bool {
        self.jobs.get(&job).is_some_and(|j| index < j.sets.held.len() && !j.sets.held.contains(index))
    }

    /// Whether chunk `index` of `job` is to come from this machine: a copy of it is under way or waits its turn.
    #[must_use]
    pub fn is_set_aside(&self, job: JobId, index: u32) -> bool {
        self.jobs.get(&job).is_some_and(|j| index < j.sets.copying.len() && j.sets.copying.contains(index))
    }

    /// Panics if a promise of the node to itself is broken. Simulation and fuzzing call it after every event.
    pub fn check_invariants(&self) {
        let closing = self.peers.values().filter(|peer| peer.closing).count();
        assert!(self.peers.len() - closing <= self.config.peers_max, "peers stay within their limit");
        assert!(self.contacts.candidates.len() <= CANDIDATES_MAX, "addresses stay within their limit");
        self.contacts.told.check_invariants();
        assert!(self.contacts.bans.len() <= BANS_MAX, "bans stay within their limit");
        self.contacts.lessons.check_invariants();
        assert!(self.contacts.departed.len() <= DEPARTED_MAX, "past links stay within their limit");
        let active: u32 = self.jobs.values().map(Job::blocks_active).sum();
        assert_eq!(active, self.origin.active.all(), "the count of origin fetches is the sum over jobs");
        let most = self.config.origin_fetches_max.max(self.config.origin_fetches_limit);
        assert!(active <= most, "origin fetches stay within their limit");
        let copies: usize = self.jobs.values().map(|j| j.sets.copies.len()).sum();
        assert_eq!(copies, self.asking.copies_active as usize, "the count of copies is the sum over jobs");
        assert!(self.asking.copies_active <= self.config.copies_max, "copies stay within their limit");
        self.check_requests();
        for (id, job) in &self.jobs {
            job.check_invariants();
            assert!(job.supply.agrees(&self.supply_of(*id)), "what peers have is up to date");
        }
        self.check_streams();
        self.check_tentative();
        self.contacts.tellers.check_invariants();
        self.check_uploads();
        self.check_plain();
        self.check_order();
        self.check_turns();
        self.check_timers();
    }

    /// Every request has its other half in its job, and the other way round.
    fn check_requests(&self) {
        let (mut asked, mut blocks) = (0, 0);
        for (link, peer) in &self.peers {
            peer.check_invariants();
            assert!(peer.jobs.keys().all(|id| self.jobs.contains_key(id)), "peers know living jobs only");
            for (req, request) in peer.asked.requests.iter() {
                let Some(job) = self.jobs.get(&request.what.job()) else {
                    panic!("{link:?} is asked for a job that is gone")
                };
                match request.what {
                    peer::Pending::Chunk { index, .. } if request.owned => {
                        assert_eq!(job.sets.asked.get(&index), Some(&(*link, *req)), "a request that counts");
                        asked += 1;
                    }
                    peer::Pending::Chunk { .. } => {}
                    peer::Pending::Block { block, .. } => {
                        let by = job.origin.blocks[block as usize].peer.map(|(link, _)| link);
                        assert_eq!(by, Some(*link), "a block has one peer");
                        blocks += 1;
                    }
                    // Once it is proven, or dropped, its answer is still welcome.
                    peer::Pending::Tentative { .. } => assert!(!request.owned),
                    peer::Pending::List { block, .. } => {
                        let ask = job.lists.list_asks.get(&block);
                        assert_eq!(ask, Some(&(*link, *req)), "a block's list is asked of one peer");
                    }
                    peer::Pending::Manifest { .. } => {
                        let ask = job.lists.ask.map(|ask| (ask.link, ask.req));
                        assert_eq!(ask, Some((*link, Some(*req))), "a manifest is asked of one peer");
                    }
                }
            }
        }
        assert_eq!(asked, self.jobs.values().map(|j| j.sets.asked.len()).sum::<usize>(), "chunks asked for");
        let with_peers = |job: &Job| job.origin.blocks.iter().filter(|b| b.peer.is_some()).count();
        assert_eq!(blocks, self.jobs.values().map(with_peers).sum::<usize>(), "blocks asked for");
        for job in self.jobs.values() {
            if let Some((link, req)) = job.lists.ask.and_then(|ask| Some((ask.link, ask.req?))) {
                let out = self.peers.get(&link).is_some_and(|p| p.asked.requests.contains_key(&req));
                assert!(out, "a manifest is waited for only while its request is out");
            }
        }
    }

    /// The order holds the peers that may be asked, and nobody else.
    fn check_order(&self) {
        for (link, peer) in &self.peers {
            let listed = peer.asked.load.is_some_and(|load| self.asking.peers.contains(&(load, *link)));
            assert_eq!(listed, peer.asked.load.is_some(), "a peer's place in the order is where it says");
            for (id, with) in peer.jobs.iter() {
                let should =
                    peer.counts() && self.jobs[id].sets.sized && with.has.ranges_over(self.jobs[id].len());
                assert_eq!(with.counted, should, "whose word counts is counted");
            }
        }
        assert_eq!(self.asking.peers.len(), self.peers.values().filter(|p| p.asked.load.is_some()).count());
        assert_eq!(self.asking.jobs.len(), self.jobs.len(), "every job has its turn");
    }

    /// Every timer has a living cause, and every cause its timer.
    fn check_timers(&self) {
        self.timers.check_invariants();
        for timer in self.timers.iter() {
            let alive = match timer {
                Timer::Stall(link) => self.peers.get(&link).is_some_and(|p| p.deadline().is_some()),
                Timer::OriginGrace(job) | Timer::Layout(job) | Timer::Patience(job) => {
                    self.jobs.get(&job).is_some_and(|j| !j.course.ended)
                }
                Timer::BlockRetry(job, block) => {
                    self.jobs.get(&job).is_some_and(|j| (block as usize) < j.origin.blocks.len())
                }
                Timer::Redial(addr) => self.contacts.candidates.contains_key(&addr),
                Timer::Claims(job) => self.jobs.contains_key(&job),
                Timer::Dial | Timer::Measure | Timer::Plain | Timer::Tell | Timer::Upload | Timer::Probe => {
                    true
                }
            };
            assert!(alive, "{timer:?} has a living cause");
        }
        assert!(self.jobs.is_empty() || self.timers.is_set(Timer::Measure), "jobs are measured");
        for (link, peer) in &self.peers {
            let Some((due, _)) = peer.deadline() else { continue };
            let looked_at = self.timers.get(Timer::Stall(*link));
            assert!(looked_at.is_some_and(|at| at <= due.max(self.now)), "silence is noticed in time");
        }
        for (id, job) in &self.jobs {
            let gone = matches!(job.origin.state, from_origin::OriginState::Gone(_)) && !job.course.ended;
            assert!(!gone || self.timers.is_set(Timer::Patience(*id)), "a job that only peers can help ends");
        }
        for (addr, candidate) in &self.contacts.candidates {
            let waits = candidate.state == dials::Dial::Waiting;
            assert_eq!(
                waits,
                self.timers.is_set(Timer::Redial(*addr)),
                "an address that waits is looked at again"
            );
        }
    }

    fn timer(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Stall(link) => self.silent(now, link),
                Timer::OriginGrace(job) => self.grace_over(now, job),
                Timer::Layout(job) => self.layout_due(now, job),
                Timer::BlockRetry(job, block) => self.block_retry(job, block),
                Timer::Patience(job) => self.patience_over(now, job),
                Timer::Redial(addr) => self.redial(now, addr),
                Timer::Dial => self.dial_timer(now),
                Timer::Measure => self.measure(now),
                Timer::Probe => self.probe(now),
                Timer::Tell => self.tell_all(),
                Timer::Upload => self.pump(now),
                Timer::Claims(job) => self.claims_timer(now, job),
                Timer::Plain => self.plain_timer(now),
            }
            self.settle(now);
        }
    }

    fn send(&mut self, link: LinkId, message: crate::link::Outgoing) {
        if self.peers.get(&link).is_some_and(|peer| !peer.closing) {
            self.actions.push_back(Action::Send { link, message });
        }
    }
}
