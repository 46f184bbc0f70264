//! Small files that are not in Xet, from peers. Each is named by what proves it, its git blob id or SHA-256, which the Hub told.
//!
//! Of those that begin together one shall ask the Hub, and the others one another. Every file orders the nodes by lot
//! ([`claim_score`]). Of those that it is linked to a node asks one that comes before it, so that the first has four to give to, each of
//! these four, and so on; who is asked keeps the question until it has the file itself. Who is the first of all that it knows asks a few
//! others before it asks the Hub: one of them may know of somebody before it, keeps the question then, and asks the first of all *it* knows.
//! So questions go to ever earlier nodes, never in a circle, and a swarm in which not all are linked to all still
//! finds the one. Who has all of a file of the same commit is asked before anybody, and answers at once.
//!
//! Nobody relies on anybody for long: what is not answered in time is asked of another, and after a few seconds of the Hub.

use super::peer::{Has, Peer};
use super::plain_held::{Held, Question};
use super::timers::Timer;
use super::{Action, Node, Policy, claim_score};
use crate::link::{Outgoing, PlainKey, ZestMessage};
use crate::wire::zest::{PLAIN_PART_BYTES, plain_part_len};
use crate::{BufId, Duration, Instant, JobId, LinkId, PeerId, PlainId, ReqId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use zest_xet::Hash;

/// Who was asked for a small file and gave nothing of it for so long is asked for none any more, and another one is: 2 s. Ours.
const WAIT: Duration = Duration::from_secs(2);
/// The same where the origin is to be spared: 8 s. Ours; whoever is at it may have a slow line.
const WAIT_SPARING: Duration = Duration::from_secs(8);
/// What peers did not give after this is asked of the Hub: 5 s. Ours.
const WAIT_ALL: Duration = Duration::from_secs(5);
/// The same where the origin is to be spared: 20 s. Ours.
const WAIT_ALL_SPARING: Duration = Duration::from_secs(20);
/// So long somebody is waited for who is being dialled, or is linked and has not said yet what it fetches: 300 ms. Ours.
const GRACE: Duration = Duration::from_millis(300);
/// Between two looks at who is there meanwhile: 50 ms. Ours.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Peers with all of a file of the commit that are asked at first: 2. Ours.
const COMPLETE_ASKED_MAX: u32 = 2;
/// Others that the first of all it knows asks before the Hub: 10. Ours; of a hundred nodes with two dozen links each one is the first of
/// all it knows, and not the first of all, in three of four files.
const LATER_ASKED_MAX: u32 = 10;
/// So many ask the same peer, where all are linked to all: 4. Ours; a megabyte each is nothing to a line, a hundred are.
const FANOUT: usize = 4;
/// Peers that are asked for a file before the Hub is, at most: 16. Ours.
const ASKED_MAX: u32 = 16;
/// Requests for small files that are open on a link, at most: 64, eight files of the greatest size. Ours.
const OPEN_MAX: usize = 64;
/// Who gave nothing in time is asked for no small file for so long: 60 s. Ours.
const SHUNNED: Duration = Duration::from_secs(60);
/// Links that are remembered for having had something of a file, over all files: 4,096. Ours.
pub const PARTNERS_MAX: usize = 4096;
/// What is known of a small file when somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainSpec {
    /// What the Hub calls it.
    pub key: PlainKey,
    /// Bytes of it, from the Hub; 1 to [`crate::wire::zest::PLAIN_BYTES_MAX`].
    pub size: u32,
    /// As [`super::JobSpec::near`].
    pub near: bool,
    /// How the origin is used beside peers; `None`: as the process does.
    pub policy: Option<Policy>,
    /// Xet hashes of files of the same commit: who has to do with one of them is asked. No more than are worth looking for.
    pub files: Arc<[Hash]>,
    /// Jobs of some of them begin now.
    pub jobs_begin: bool,
}

impl PlainSpec {
    fn is_open_to(&self, peer: &Peer) -> bool {
        !self.near || peer.who.near
    }

    fn parts(&self) -> u32 {
        self.size.div_ceil(PLAIN_PART_BYTES)
    }
}

/// Where a small file is to come from.
#[derive(Debug)]
enum State {
    /// Nobody is asked.
    Looking,
    /// This peer is.
    Asked {
        link: LinkId,
        who: PeerId,
        /// When it was, or gave the last part.
        at: Instant,
        parts: Vec<Option<BufId>>,
    },
    /// All of it came, and is being proven.
    Proving,
    /// The Hub is asked.
    Alone,
}

#[derive(Debug)]
struct Want {
    spec: PlainSpec,
    begun: Instant,
    state: State,
    /// Those that do not give it.
    said_no: BTreeSet<PeerId>,
    asked: u32,
    complete_asked: u32,
    later_asked: u32,
    /// Somebody who comes before us waits for what we know of those before it: we ask the first of them.
    first_only: bool,
}

/// All small files that are wanted.
#[derive(Debug, Default)]
pub(super) struct Plains {
    wants: BTreeMap<PlainId, Want>,
    by_key: BTreeMap<PlainKey, PlainId>,
    /// Our requests, and which part of which file they are for.
    asks: BTreeMap<(LinkId, ReqId), (PlainId, u32)>,
    /// Questions that wait until a file is here.
    pub(super) held: Held,
    /// Links whose peers said that they have something of a file that we fetched, and whether it was all: a job may end before a small file
    /// of its commit is looked for.
    partners: BTreeMap<(Hash, LinkId), bool>,
    /// Links whose peers gave nothing in time, and until when they are not asked.
    shunned: BTreeMap<LinkId, Instant>,
}

impl Plains {
    /// Which of the files that are wanted a peer asks for, if it may hear that it is.
    pub(super) fn wanted(&self, key: &PlainKey, size: u32, peer: &Peer) -> Option<PlainId> {
        let id = self.by_key.get(key)?;
        self.wants.get(id).filter(|want| want.spec.is_open_to(peer) && want.spec.size == size).map(|_| *id)
    }

    fn open_on(&self, link: LinkId) -> usize {
        self.asks.range((link, ReqId(0))..=(link, ReqId(u32::MAX))).count()
    }
}

/// What comes next for a file.
enum Next {
    Ask { link: LinkId, wait: bool, complete: bool, later: bool },
    LookAgain,
    Alone,
}

/// A peer that may be asked.
struct Able {
    score: u64,
    link: LinkId,
    who: PeerId,
    complete: bool,
}

/// Who comes before a peer that asks us.
pub(super) enum Before {
    /// We do, or we have the file nearly.
    Us,
    /// This one, the first of all that we know.
    Them(PeerId),
}

impl Node {
    /// Somebody wants a small file. Ends with [`super::Event::PlainOver`].
    pub(super) fn plain_wanted(&mut self, now: Instant, id: PlainId, spec: PlainSpec) {
        assert!(plain_part_len(spec.size, 0).is_some(), "a small file is small");
        let key = spec.key;
        let want = Want {
            spec,
            begun: now,
            state: State::Looking,
            said_no: BTreeSet::new(),
            asked: 0,
            complete_asked: 0,
            later_asked: 0,
            first_only: false,
        };
        self.asking.plains.wants.insert(id, want);
        self.asking.plains.by_key.entry(key).or_insert(id);
        self.plain_look(now, id);
    }

    /// It is there, or nobody wants it any more.
    pub(super) fn plain_over(&mut self, now: Instant, id: PlainId) {
        self.plain_call_off(id);
        let Some(want) = self.asking.plains.wants.remove(&id) else { return };
        if self.asking.plains.by_key.get(&want.spec.key) == Some(&id) {
            self.asking.plains.by_key.remove(&want.spec.key);
            let same = |(_, other): &(&PlainId, &Want)| other.spec.key == want.spec.key;
            let other = self.asking.plains.wants.iter().find(same).map(|(other, _)| *other);
            self.asking.plains.by_key.extend(other.map(|other| (want.spec.key, other)));
        }
        let (key, size) = (want.spec.key, want.spec.size);
        for Question { link, req, offset } in self.asking.plains.held.take(id) {
            self.plain_in_line(now, link, req, key, (size, offset));
        }
        if self.asking.plains.wants.is_empty() {
            self.asking.plains.shunned.retain(|_, until| *until > now);
        }
    }

    /// What a peer gave is another file.
    pub(super) fn plain_bad(&mut self, now: Instant, id: PlainId, link: LinkId) {
        self.measured.stats.plain_bad += 1;
        self.ban(now, link, "it sent a small file that is another");
        if let Some(want) = self.asking.plains.wants.get_mut(&id)
            && matches!(want.state, State::Proving)
        {
            want.state = State::Looking;
        }
        self.plain_look_all(now);
    }

    // Asking.

    /// Links have come, gone or said something.
    pub(super) fn plain_look_all(&mut self, now: Instant) {
        if self.asking.plains.wants.is_empty() {
            return;
        }
        let looking = |(id, want): (&PlainId, &Want)| matches!(want.state, State::Looking).then_some(*id);
        let ids: Vec<PlainId> = self.asking.plains.wants.iter().filter_map(looking).collect();
        ids.into_iter().for_each(|id| self.plain_look(now, id));
    }

    /// A peer has something of a file that we fetch, or all of it: it is one to ask for what else its commit has.
    pub(super) fn plain_partner(&mut self, now: Instant, link: LinkId, file: Hash, all: bool) {
        let partners = &mut self.asking.plains.partners;
        if partners.get(&(file, link)).is_some_and(|known| *known || !all) {
            return;
        }
        if partners.len() >= PARTNERS_MAX {
            partners.clear();
        }
        partners.insert((file, link), all);
        self.plain_look_all(now);
    }

    fn plain_look(&mut self, now: Instant, id: PlainId) {
        match self.plain_next(now, id) {
            None => {}
            Some(Next::Ask { link, wait, complete, later }) => {
                if let Some(want) = self.asking.plains.wants.get_mut(&id) {
                    want.asked += 1;
                    want.complete_asked += u32::from(complete);
                    want.later_asked += u32::from(later);
                }
                self.plain_ask(now, id, link, wait);
            }
            Some(Next::LookAgain) => self.timers.set_no_later(Timer::Plain, now + LOOK_AGAIN),
            Some(Next::Alone) => {
                if let Some(want) = self.asking.plains.wants.get_mut(&id) {
                    want.state = State::Alone;
                }
                self.actions.push_back(Action::PlainAlone { plain: id });
            }
        }
    }

    /// What to do for a file of which nobody is asked.
    fn plain_next(&mut self, now: Instant, id: PlainId) -> Option<Next> {
        let want = self.asking.plains.wants.get(&id).filter(|want| matches!(want.state, State::Looking))?;
        let all = if self.is_sparing(&want.spec) { WAIT_ALL_SPARING } else { WAIT_ALL };
        if want.asked >= ASKED_MAX || now.since(want.begun) >= all {
            return Some(Next::Alone);
        }
        let jobs = self.jobs_of(&want.spec);
        let mut able = self.plain_able(now, want, &jobs);
        let complete: Vec<LinkId> = able.iter().filter(|peer| peer.complete).map(|peer| peer.link).collect();
        if !complete.is_empty() && want.complete_asked < COMPLETE_ASKED_MAX {
            // Any of them, so that all have a share of the work.
            let link = complete[self.rng.below(complete.len() as u32) as usize];
            return Some(Next::Ask { link, wait: false, complete: true, later: false });
        }
        let ours = claim_score(&want.spec.key.id, &self.config.peer_id);
        let before = able.iter().filter(|peer| peer.score > ours).count();
        let nth = if want.first_only { 0 } else { before.saturating_sub(1) / FANOUT };
        able.sort_unstable_by_key(|peer| (core::cmp::Reverse(peer.score), peer.link));
        if let Some(peer) = able.get(nth) {
            let later = before == 0;
            if !later || want.later_asked < LATER_ASKED_MAX {
                return Some(Next::Ask { link: peer.link, wait: true, complete: false, later });
            }
        }
        let soon = now.since(want.begun) < GRACE && self.somebody_may_come(now, &want.spec, &jobs);
        Some(if soon { Next::LookAgain } else { Next::Alone })
    }

    /// Peers that may be asked for a file; one that is linked twice is there once.
    fn plain_able(&self, now: Instant, want: &Want, jobs: &[JobId]) -> Vec<Able> {
        let mut seen: BTreeSet<PeerId> = BTreeSet::new();
        let mut able = Vec::new();
        for (link, peer) in &self.peers {
            let who = peer.who.id;
            let shunned = self.asking.plains.shunned.get(link).is_some_and(|until| *until > now);
            if shunned
                || want.said_no.contains(&who)
                || !self.takes_part(&want.spec, jobs, *link, peer)
                || self.asking.plains.open_on(*link) + want.spec.parts() as usize > OPEN_MAX
                || !seen.insert(who)
            {
                continue;
            }
            let has_all = |job: &JobId| peer.jobs.get(job).is_some_and(|with| with.has == Has::All);
            let had_all = |file: &Hash| self.asking.plains.partners.get(&(*file, *link)) == Some(&true);
            let complete = jobs.iter().any(has_all) || want.spec.files.iter().any(had_all);
            able.push(Able { score: claim_score(&want.spec.key.id, &who), link: *link, who, complete });
        }
        able
    }

    /// Whether somebody who can be asked may turn up soon.
    fn somebody_may_come(&self, now: Instant, spec: &PlainSpec, jobs: &[JobId]) -> bool {
        let unknown = |link: LinkId, peer: &Peer| {
            let silent = spec.jobs_begin && peer.who.plain && spec.is_open_to(peer);
            !peer.closing && (!peer.who.introduced || silent && !self.takes_part(spec, jobs, link, peer))
        };
        self.dialling_somebody_new(now) || self.peers.iter().any(|(link, peer)| unknown(*link, peer))
    }

    fn plain_ask(&mut self, now: Instant, id: PlainId, link: LinkId, wait: bool) {
        let Some(want) = self.asking.plains.wants.get_mut(&id) else { return };
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let (key, size, parts) = (want.spec.key, want.spec.size, want.spec.parts());
        want.state =
            State::Asked { link, who: peer.who.id, at: now, parts: alloc::vec![None; parts as usize] };
        for nth in 0..parts {
            let req = loop {
                let req = ReqId(self.rng.u32());
                if !peer.asked.requests.contains_key(&req) && peer.asked.plain.insert(req) {
                    break req;
                }
            };
            self.asking.plains.asks.insert((link, req), (id, nth));
            let offset = nth * PLAIN_PART_BYTES;
            let message = ZestMessage::PlainRequest { req: req.0, key, size, offset, wait };
            self.actions.push_back(Action::Send { link, message: Outgoing::Zest(message) });
        }
        self.timers.set_no_later(Timer::Plain, now + self.plain_wait(id));
        self.plain_let_go(id, link);
    }

    /// Whoever is asked and comes before us does not wait for us any longer: each would wait for the other.
    fn plain_let_go(&mut self, id: PlainId, link: LinkId) {
        let who_of = |link: &LinkId| self.peers.get(link).map(|peer| peer.who.id);
        let Some(who) = who_of(&link) else { return };
        let Some(want) = self.asking.plains.wants.get(&id) else { return };
        let score = |who: &PeerId| claim_score(&want.spec.key.id, who);
        if score(&who) <= score(&self.config.peer_id) {
            return;
        }
        let let_go = self.asking.plains.held.take_of(id, |of| who_of(&of) == Some(who));
        for Question { link: of, req, .. } in let_go {
            self.send(of, Outgoing::Zest(ZestMessage::PlainNone { req }));
        }
    }

    fn plain_wait(&self, id: PlainId) -> Duration {
        let sparing = self.asking.plains.wants.get(&id).is_some_and(|want| self.is_sparing(&want.spec));
        if sparing { WAIT_SPARING } else { WAIT }
    }

    /// Takes a request of ours off the list: which part of which file it was for.
    fn plain_take(&mut self, link: LinkId, req: ReqId) -> Option<(PlainId, u32)> {
        let asked = self.asking.plains.asks.remove(&(link, req))?;
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.asked.plain.remove(&req);
        }
        Some(asked)
    }

    /// Ends what a peer was asked for a file, and forgets what came of it.
    fn plain_call_off(&mut self, id: PlainId) {
        let Some(want) = self.asking.plains.wants.get_mut(&id) else { return };
        let State::Asked { link, ref mut parts, .. } = want.state else { return };
        let bufs: Vec<BufId> = parts.iter_mut().filter_map(Option::take).collect();
        want.state = State::Looking;
        self.actions.extend(bufs.into_iter().map(|buf| Action::Free { buf }));
        let ours = self.asking.plains.asks.range((link, ReqId(0))..=(link, ReqId(u32::MAX)));
        let ours = ours.filter(|(_, (of, _))| *of == id);
        let reqs: Vec<ReqId> = ours.map(|((_, req), _)| *req).collect();
        for req in reqs {
            self.plain_take(link, req);
            self.send(link, Outgoing::Zest(ZestMessage::Cancel { req: req.0 }));
        }
    }

    /// A part has come, if that was one; false if it answers something else.
    pub(super) fn plain_part(&mut self, now: Instant, link: LinkId, req: ReqId, buf: BufId) -> bool {
        let Some((id, nth)) = self.plain_take(link, req) else { return false };
        let place = self.asking.plains.wants.get_mut(&id).and_then(|want| match &mut want.state {
            State::Asked { at, parts, .. } => {
                *at = now;
                parts.get_mut(nth as usize)
            }
            State::Looking | State::Proving | State::Alone => None,
        });
        let Some(place) = place else {
            self.actions.push_back(Action::Free { buf });
            return true;
        };
        *place = Some(buf);
        let Some(want) = self.asking.plains.wants.get_mut(&id) else { return true };
        let State::Asked { parts, .. } = &want.state else { return true };
        if let Some(bufs) = parts.iter().copied().collect::<Option<Vec<BufId>>>() {
            want.state = State::Proving;
            self.measured.stats.plain_came += 1;
            self.actions.push_back(Action::PlainCame { plain: id, link, bufs });
        }
        true
    }

    /// The peer does not give it.
    pub(super) fn plain_none(&mut self, now: Instant, link: LinkId, req: ReqId) -> bool {
        let Some((id, _)) = self.plain_take(link, req) else { return false };
        self.plain_given_up(id);
        self.plain_look(now, id);
        true
    }

    /// Whoever is asked for it is not relied on any more.
    fn plain_given_up(&mut self, id: PlainId) {
        if let Some(want) = self.asking.plains.wants.get_mut(&id)
            && let State::Asked { who, .. } = want.state
        {
            want.said_no.insert(who);
        }
        self.plain_call_off(id);
    }

    /// A link is gone, or is being closed.
    pub(super) fn plain_gone(&mut self, link: LinkId) {
        self.asking.plains.held.gone(link);
        self.asking.plains.shunned.remove(&link);
        self.asking.plains.partners.retain(|(_, of), _| *of != link);
        let ours = self.asking.plains.asks.range((link, ReqId(0))..=(link, ReqId(u32::MAX)));
        let ids: BTreeSet<PlainId> = ours.map(|(_, (id, _))| *id).collect();
        ids.into_iter().for_each(|id| self.plain_given_up(id));
        // Others are asked once what happens now is through.
        if !self.asking.plains.wants.is_empty() {
            self.timers.set_no_later(Timer::Plain, self.now);
        }
    }

    /// Looks after those that were asked and those that may come.
    pub(super) fn plain_timer(&mut self, now: Instant) {
        let mut late: Vec<(PlainId, LinkId, bool)> = Vec::new();
        let mut next: Option<Instant> = None;
        for (id, want) in &self.asking.plains.wants {
            let State::Asked { link, at, .. } = want.state else { continue };
            let sparing = self.is_sparing(&want.spec);
            let (wait, all) = if sparing { (WAIT_SPARING, WAIT_ALL_SPARING) } else { (WAIT, WAIT_ALL) };
            let (silent, over) = (at + wait, want.begun + all);
            let due = silent.min(over);
            if due <= now {
                late.push((*id, link, silent <= now));
            } else {
                next = Some(next.map_or(due, |before| before.min(due)));
            }
        }
        for (id, link, silent) in late {
            if silent {
                self.asking.plains.shunned.insert(link, now + SHUNNED);
            }
            self.plain_given_up(id);
        }
        if let Some(at) = next {
            self.timers.set_no_later(Timer::Plain, at);
        }
        self.plain_look_all(now);
    }

    /// Who comes before this peer, so that it may wait for us; none if nobody does that we know: then the file is its own to get.
    pub(super) fn before_it(&self, now: Instant, id: PlainId, who: &PeerId) -> Option<Before> {
        let want = self.asking.plains.wants.get(&id)?;
        let score = |who: &PeerId| claim_score(&want.spec.key.id, who);
        let theirs = score(who);
        if theirs <= score(&self.config.peer_id) || matches!(want.state, State::Proving | State::Alone) {
            return Some(Before::Us);
        }
        let able = self.plain_able(now, want, &self.jobs_of(&want.spec));
        let first = able.into_iter().max_by_key(|peer| (peer.score, peer.link))?;
        (first.score > theirs).then_some(Before::Them(first.who))
    }

    pub(super) fn check_plain(&self) {
        let plains = &self.asking.plains;
        for ((link, req), (id, nth)) in &plains.asks {
            let peer = self.peers.get(link);
            assert!(
                peer.is_some_and(|peer| peer.asked.plain.contains(req)),
                "what is asked is known of the peer"
            );
            let want = plains.wants.get(id).map(|want| &want.state);
            let Some(State::Asked { link: of, parts, .. }) = want else {
                panic!("{id:?} is asked for in vain")
            };
            assert!(
                of == link && parts[*nth as usize].is_none(),
                "a part is asked of one peer, until it comes"
            );
        }
        let known: usize = self.peers.values().map(|peer| peer.asked.plain.len()).sum();
        assert_eq!(known, plains.asks.len(), "what peers are asked for has a file");
        for want in plains.wants.values() {
            if let State::Asked { parts, .. } = &want.state {
                assert!(parts.iter().any(Option::is_none), "what is whole is proven");
                assert!(self.timers.is_set(Timer::Plain), "who was asked is looked after");
            }
            assert!(
                !matches!(want.state, State::Looking) || self.timers.is_set(Timer::Plain),
                "a file that nobody is asked for is looked after"
            );
        }
        assert!(plains.partners.len() <= PARTNERS_MAX, "who is remembered is bounded");
        plains.held.check(|id| plains.wants.contains_key(&id), |link| self.peers.contains_key(&link));
    }

    /// Somebody who waits for this file comes after the first of all that we know: that one is asked, and nobody else.
    pub(super) fn plain_first_only(&mut self, now: Instant, id: PlainId, first: PeerId) {
        let Some(want) = self.asking.plains.wants.get_mut(&id) else { return };
        want.first_only = true;
        let asked = match &want.state {
            State::Asked { who, parts, .. } => parts.iter().all(Option::is_none).then_some(*who),
            State::Looking | State::Proving | State::Alone => None,
        };
        if asked.is_some_and(|asked| asked != first) {
            self.plain_call_off(id);
            self.plain_look(now, id);
        }
    }

    fn is_sparing(&self, spec: &PlainSpec) -> bool {
        spec.policy.unwrap_or(self.config.policy) == Policy::SpareOrigin
    }

    fn jobs_of(&self, spec: &PlainSpec) -> Vec<JobId> {
        let of_commit =
            |(id, job): (&JobId, &super::job::Job)| spec.files.contains(&job.spec.file).then_some(*id);
        self.jobs.iter().filter_map(of_commit).collect()
    }

    /// Whether a peer has to do with the commit, and may be told that we fetch it.
    fn takes_part(&self, spec: &PlainSpec, jobs: &[JobId], link: LinkId, peer: &Peer) -> bool {
        let known = |file: &Hash| self.asking.plains.partners.contains_key(&(*file, link));
        peer.ready()
            && peer.who.plain
            && spec.is_open_to(peer)
            && (jobs.iter().any(|job| peer.jobs.get(job).is_some_and(|with| with.has != Has::None))
                || spec.files.iter().any(|file| peer.wants.interests.contains_key(file))
                || spec.files.iter().any(known)
                || jobs.is_empty() && self.is_expected(peer))
    }
}
