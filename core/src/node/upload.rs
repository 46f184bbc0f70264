//! Answering peers: who is sent chunks now, in which order, and how much.
//!
//! A peer's requests wait in its own queue, chunks and parts of chunk lists alike, and parties (everybody at one address) stand
//! in line by when they were served last; newcomers stand in front. Only a few peers are being sent something at a time, so that what is asked for waits here, where it can be called
//! off and overtaken, and not in sockets; a peer that reads slowly does not count among the few, and holds up nobody but
//! itself. No party alone takes all of those places, nor more than its share of a day's budget. Of the peers that are about to be served, the one goes first that asks for what was given least often: so new
//! chunks spread before old ones are repeated.
//!
//! Where a chunk lies is known here for files under way; finished files are looked up outside (the catalog is not core's),
//! so such a request is an action and its outcome an event. Only what may be shared ever has a place.

use super::ask::{Ask, Wanted};
use super::event::ManifestPlace;
use super::lanes::Lane;
use super::limits::XORBS_AHEAD_BYTES;
use super::line::{LISTS_AHEAD_BYTES, Places, QUIET};
use super::peer::Peer;
use super::queue::{AHEAD_CHUNKS, QUEUE_MAX, Upload};
use super::timers::Timer;
use super::{Action, Node};
use crate::endpoint::Party;
use crate::link::{Body, Dialect, Outgoing, PlainKey, ZestMessage};
use crate::{Duration, Instant, LinkId, Location, ReqId};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use zest_xet::{CHUNK_BYTES_MAX, Hash};

/// The same while as many peers as can be served at a time wait in line: 2.
const AHEAD_CHUNKS_CROWDED: u32 = 2;
/// With turns closer together than this, a line that waits is no reason to give less ahead: 250 µs, about 250 MB/s. Ours;
/// what the few are given is gone before anybody could overtake it, and many chunks at a time cost less.
const PACE_FAST_US: u64 = 250;
/// Turns before the pace is known: 64.
const PACE_TURNS: u64 = 64;
/// A socket that took nothing for this long is slow: 50 ms. Ours.
const SLOW: Duration = Duration::from_millis(50);
/// Peers in line that are looked at for who asks for the rarest thing: 8. Ours.
const LOOKED_AT: usize = 8;
/// A peer that was passed over so often goes next: 8. Ours.
const PASSED_MAX: u32 = 8;
/// A peer whose requests wait at least this long is told so: 100 ms. Ours.
const WAIT_TOLD: Duration = Duration::from_millis(100);
/// But not more often than this: 1 s. Ours.
const WAIT_TOLD_EVERY: Duration = Duration::from_secs(1);

/// Our code in an error reply to a peer that asks for too much at once.
const TOO_MANY: u32 = 1;
/// Our code in an error reply once the upload budget is used up.
pub const BUDGET_SPENT: u32 = 2;

/// We do not answer this, and say why.
fn refusal(ask: Ask, code: u32, text: &str) -> Outgoing {
    let (req, hash) = (ask.req, ask.hash);
    match ask.what {
        Wanted::Chunk(dialect) => Outgoing::ErrorReply { req, hash, dialect, code, text: String::from(text) },
        Wanted::Part { .. } if code == BUDGET_SPENT => no_list_today(req, text),
        Wanted::Part { .. } => Outgoing::Zest(ZestMessage::ManifestNone { req }),
        Wanted::Plain { .. } => Outgoing::Zest(ZestMessage::PlainNone { req }),
    }
}

/// We have the list, and may not send it: MANIFEST_NONE would say that we have none.
fn no_list_today(req: u32, text: &str) -> Outgoing {
    // By its id alone: in this layout no hash is sent.
    let (hash, dialect) = (Hash::from_bytes([0; 32]), Dialect::Chunk);
    Outgoing::ErrorReply { req, hash, dialect, code: BUDGET_SPENT, text: String::from(text) }
}

/// What is said of a budget.
const SPENT_ALL: &str = "the upload budget is used up";
const SPENT_SHARE: &str = "your share of the upload budget is used up";

impl Node {
    /// The peer says how long requests wait there.
    pub(super) fn told_wait(&mut self, now: Instant, link: LinkId, wait_ms: u16) {
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.told_wait = Some((now, u64::from(wait_ms) * 1000));
        }
        self.asking.moved(link);
    }

    pub(super) fn asked_for(&mut self, now: Instant, link: LinkId, ask: Ask) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.wants.asked_at = now;
        let spent = match self.uploads.is_spent() {
            true => Some(SPENT_ALL),
            false => self.uploads.has_had_its_share(peer.wants.upload.party).then_some(SPENT_SHARE),
        };
        if let Some(why) = spent {
            self.send(link, refusal(ask, BUDGET_SPENT, why));
            return;
        }
        if peer.wants.upload.queue.len() >= QUEUE_MAX {
            self.send(link, refusal(ask, TOO_MANY, "more than 512 requests wait for an answer"));
            return;
        }
        // Without a list a peer can neither ask nor give: where no cap holds it up it goes out at once, and costs its turns
        // afterwards. But only so much lies ahead of many links of a party: what is in many sockets keeps whoever comes next
        // waiting.
        let party = peer.wants.upload.party;
        let another = self.uploads.busy_links(party) > u32::from(peer.wants.upload.is_busy());
        let at_once = ask.is_part()
            && peer.wants.upload.looking.len() < AHEAD_CHUNKS as usize
            && !(another && self.uploads.has_ahead(party, LISTS_AHEAD_BYTES))
            && !self.uploads.repeats(party)
            && !self.uploads.is_far_behind(party);
        if at_once && self.config.upload_bytes_s.is_none() {
            self.uploads.charge(party, ask.bytes_max());
            self.answer(link, ask);
            return;
        }
        peer.wants.upload.push(ask);
        self.uploads.line.queued += 1;
        self.uploads.refile(link, &mut peer.wants.upload);
        // Behind others nothing new can be given.
        if peer.wants.upload.queue.len() == 1 {
            self.pump(now);
        }
        self.tell_wait(now, link);
    }

    pub(super) fn upload_cap(&self) -> Option<u64> {
        self.config.upload_bytes_s.map(|cap| cap.max(super::UPLOAD_BYTES_S_MIN))
    }

    /// Tells a peer that its requests wait, and for how long a new one would.
    fn tell_wait(&mut self, now: Instant, link: LinkId) {
        let (queued, parties) =
            (u64::from(self.uploads.line.queued), self.uploads.line.waiting_parties as u64);
        let pace_us = self.uploads.line.pace_us;
        let Some(peer) =
            self.peers.get_mut(&link).filter(|peer| peer.who.zest && !peer.wants.upload.queue.is_empty())
        else {
            return;
        };
        // Others go before each of its own, not all that they ask for.
        let wait_us = queued.min(peer.wants.upload.queue.len() as u64 * parties) * pace_us;
        let told = peer.wants.upload.told_at.is_some_and(|at| now.since(at) < WAIT_TOLD_EVERY);
        if u128::from(wait_us) >= WAIT_TOLD.as_micros() && !told {
            peer.wants.upload.told_at = Some(now);
            let wait_ms = u16::try_from(wait_us / 1000).unwrap_or(u16::MAX);
            self.send(link, Outgoing::Zest(ZestMessage::Slot { open: false, wait_ms }));
        }
    }

    pub(super) fn called_off(&mut self, now: Instant, link: LinkId, req: u32) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let before = peer.wants.upload.queue.len();
        let parts = peer.wants.upload.queue.iter().filter(|ask| ask.req == req && ask.is_part()).count();
        peer.wants.upload.queue.retain(|ask| ask.req != req);
        self.uploads.line.queued -= (before - peer.wants.upload.queue.len()) as u32;
        self.uploads.refile(link, &mut peer.wants.upload);
        self.plain_taken_back(link, req);
        // Whoever asks for a list is told in any case.
        (0..parts).for_each(|_| self.send(link, Outgoing::Zest(ZestMessage::ManifestNone { req })));
        self.pump(now);
    }

    /// The link's socket took bytes.
    pub(super) fn sent(&mut self, now: Instant, link: LinkId, bytes: u64) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let taken = bytes.min(peer.wants.upload.ahead);
        peer.wants.upload.ahead -= taken;
        peer.wants.served |= taken > 0;
        if taken > 0 {
            self.uploads.is_served(now, peer.wants.upload.party);
        }
        if let Some(record) = self.uploads.parties.get_mut(peer.wants.upload.party) {
            record.took(taken);
            record.ahead = record.ahead.saturating_sub(taken);
        }
        peer.wants.upload.moved_at = now;
        self.uploads.spent.ahead -= taken;
        self.uploads.spent.cap.left(now, taken);
        self.uploads.lag.left(taken);
        self.uploads.refile(link, &mut peer.wants.upload);
        self.pump(now);
    }

    pub(super) fn upload_budget(&mut self, now: Instant, bytes: Option<u64>) {
        self.uploads.allot(bytes);
        self.pump(now);
    }

    /// Gives chunks as long as sockets, cap and budget allow.
    pub(super) fn pump(&mut self, now: Instant) {
        self.refuse_what_the_budget_lacks();
        while self.uploads.line.waiting > 0 {
            if self.uploads.is_spent() {
                self.refuse_what_the_budget_lacks();
                return;
            }
            if let Some(cap) = self.upload_cap() {
                let chunk = CHUNK_BYTES_MAX as u64;
                let paced = self.uploads.spent.cap.paced_at(now, chunk, cap);
                let Some(at) = self.uploads.allowed_at(now, chunk, cap) else { return };
                let at = at.max(paced);
                if at > now {
                    self.timers.set_no_later(Timer::Upload, at);
                    return;
                }
            }
            let Some(link) = self.next_in_line(now) else { return };
            let Some(peer) = self.peers.get_mut(&link) else { return };
            let upload = &mut peer.wants.upload;
            let Some(ask) = upload.queue.pop_front() else { continue };
            self.uploads.line.queued -= 1;
            self.uploads.serve(upload, &ask);
            if self.uploads.has_had_its_share(upload.party) {
                self.uploads.refile(link, upload);
                self.send(link, refusal(ask, BUDGET_SPENT, SPENT_SHARE));
                continue;
            }
            let mut serves_again = false;
            if upload.queue.is_empty() {
                serves_again = upload.told_at.take().is_some();
            }
            self.uploads.refile(link, upload);
            if self.uploads.line.waiting > 0 {
                let gap = now.since(self.uploads.line.turn_at).as_micros().min(1_000_000) as u64;
                self.uploads.line.pace_us = (7 * self.uploads.line.pace_us + gap) / 8;
            }
            self.uploads.line.turn_at = now;
            if !upload.is_busy() {
                upload.moved_at = now;
            }
            self.answer(link, ask);
            if serves_again {
                self.send(link, Outgoing::Zest(ZestMessage::Slot { open: true, wait_ms: 0 }));
            }
        }
    }

    /// With a budget that the next chunk might break, whoever waits is told to go elsewhere.
    fn refuse_what_the_budget_lacks(&mut self) {
        if !self.uploads.is_spent() {
            return;
        }
        let mut line: Vec<(u64, LinkId)> = Vec::new();
        if self.uploads.line.waiting > 0 {
            line.extend(
                self.peers.iter().filter_map(|(l, p)| p.wants.upload.lane.map(|(_, turn)| (turn, *l))),
            );
            line.sort_unstable();
        }
        for (_, link) in line {
            let Some(peer) = self.peers.get_mut(&link) else { continue };
            let asks = core::mem::take(&mut peer.wants.upload.queue);
            peer.wants.upload.told_at = None;
            self.uploads.line.queued -= asks.len() as u32;
            self.uploads.refile(link, &mut peer.wants.upload);
            for ask in asks {
                self.send(link, refusal(ask, BUDGET_SPENT, SPENT_ALL));
            }
        }
    }

    /// The peer that is served now, if one can be.
    fn next_in_line(&mut self, now: Instant) -> Option<LinkId> {
        let slots = self.config.upload_slots.max(1);
        // Sockets that took something within the last moment.
        let slow = Instant(now.0.saturating_sub(SLOW.as_micros() as u64));
        let first = (slow, LinkId(0), Party::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let moving = || self.uploads.busy.range(first..).filter(|(at, ..)| *at + SLOW > now);
        let places = if self.uploads.busy.len() < slots || moving().take(slots).count() < slots {
            Places::All
        } else {
            let mut taken: Vec<Party> = Vec::new();
            for (.., party) in moving() {
                if taken.len() < slots && !taken.contains(party) {
                    taken.push(*party);
                }
            }
            if taken.len() < slots { Places::Others(taken) } else { Places::None }
        };
        let fast = self.uploads.line.turns >= PACE_TURNS && self.uploads.line.pace_us < PACE_FAST_US;
        let crowded = self.uploads.is_crowded(slots) && !fast;
        let cap = self.upload_cap();
        // Those that took something within a longer moment: where many links share a line, the turn of each comes rarely.
        let lately = Instant(now.0.saturating_sub(QUIET.as_micros() as u64));
        let lately = (lately, LinkId(0), Party::of(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let active = || self.uploads.busy.range(lately..).filter(|(at, ..)| *at + QUIET > now);
        let another_moves = |party: Party, link: LinkId| {
            self.uploads.busy_links(party) > 0 && active().any(|(_, l, of)| *of == party && *l != link)
        };
        let mut best: Option<(u32, LinkId)> = None;
        let mut held_back = false;
        let mut passed: Vec<LinkId> = Vec::new();
        for link in self.uploads.in_line(&places) {
            let Some(peer) = self.peers.get(&link) else { continue };
            let upload = &peer.wants.upload;
            let party = upload.party;
            let others = self.uploads.others_are_served(now, party);
            let gives_way = others && self.uploads.gives_way(now, party);
            let little = crowded || gives_way;
            let ahead = if little { AHEAD_CHUNKS_CROWDED } else { AHEAD_CHUNKS };
            let can = (!upload.is_busy() || upload.has_room(ahead))
                && !self.uploads.has_its_fill(upload.party, cap);
            let Some(ask) = upload.queue.front().filter(|_| can) else { continue };
            let given = match upload.passed >= PASSED_MAX {
                true => 0,
                false => self.given(&ask.hash),
            };
            // Lines are shared by link, whatever we do: while others are sent to, one link of a party is at a time, and none of one
            // that has had its turn.
            if others && (gives_way && self.uploads.has_had_its_turn(party) || another_moves(party, link)) {
                held_back = true;
                continue;
            }
            if best.is_none_or(|(least, _)| given < least) {
                passed.extend(best.map(|(_, link)| link));
                best = Some((given, link));
            }
            if given == 0 || passed.len() >= LOOKED_AT {
                break;
            }
        }
        let slow_at = moving().next().map(|(at, ..)| *at + SLOW);
        let slow_at = slow_at.or(held_back.then_some(now + SLOW));
        for link in passed {
            if let Some(peer) = self.peers.get_mut(&link) {
                peer.wants.upload.passed += 1;
            }
        }
        if best.is_none()
            && let Some(at) = slow_at
        {
            self.timers.set_no_later(Timer::Upload, at);
        }
        best.map(|(_, link)| link)
    }

    /// How often this chunk of a file under way was given to peers; 0 for others.
    fn given(&self, hash: &Hash) -> u32 {
        self.jobs
            .values()
            .filter(|job| job.spec.peers)
            .find_map(|job| job.shown.find(hash).map(|index| job.shown.given(index)))
            .unwrap_or(0)
    }

    /// Answers from a job under way, or looks outside.
    fn answer(&mut self, link: LinkId, ask: Ask) {
        if let Wanted::Chunk(_) = ask.what
            && let Some(place) = self.place_of(link, &ask)
        {
            let mark = self.uploads.marker.mark(&ask.hash, 0);
            self.give(link, ask, place, mark);
            return;
        }
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let bytes = ask.bytes_max();
        let first = match ask.what {
            Wanted::Part { first, .. } | Wanted::Plain { offset: first, .. } => first,
            Wanted::Chunk(_) => 0,
        };
        let mark = self.uploads.marker.mark(&ask.hash, first);
        peer.wants.upload.looking.push_back((ask.req, bytes, mark));
        self.uploads.spent.looking_bytes += bytes;
        self.uploads.ahead_of(peer.wants.upload.party, bytes, 0);
        self.uploads.refile(link, &mut peer.wants.upload);
        let (req, hash) = (ReqId(ask.req), ask.hash);
        self.actions.push_back(match ask.what {
            Wanted::Chunk(dialect) => Action::LookupChunk { link, req, hash, dialect },
            Wanted::Part { first, count } => Action::LookupManifest { link, req, file: hash, first, count },
            Wanted::Plain { kind, size, offset } => {
                let key = PlainKey { kind, id: hash };
                Action::LookupPlain { link, req, key, size, offset }
            }
        });
    }

    /// Where a chunk lies, if a job under way has it.
    fn place_of(&mut self, link: LinkId, ask: &Ask) -> Option<Location> {
        let peer = self.peers.get(&link)?;
        for job in self.jobs.values_mut().filter(|job| job.spec.is_open_to(peer)) {
            let Some(index) = job.shown.find(&ask.hash) else {
                match job.streamed(link, &ask.hash) {
                    Some(place) => return Some(place),
                    None => continue,
                }
            };
            let Some((chunk, offset)) = job.chunk(index).filter(|(chunk, _)| chunk.hash == ask.hash) else {
                continue;
            };
            job.shown.gave(index);
            return Some(Location { file: job.spec.place, offset, len: chunk.len });
        }
        None
    }

    /// The outcome of a look-up is here: the mark of what was asked for; `None` if nobody waits for it any more.
    pub(super) fn looked_up(&mut self, link: LinkId, req: ReqId) -> Option<u64> {
        let peer = self.peers.get_mut(&link)?;
        let (bytes, mark) = peer.wants.upload.looked_up(req)?;
        self.uploads.spent.looking_bytes -= bytes;
        self.uploads.ahead_of(peer.wants.upload.party, 0, bytes);
        self.uploads.refile(link, &mut peer.wants.upload);
        Some(mark)
    }

    fn give(&mut self, link: LinkId, ask: Ask, place: Location, mark: u64) {
        let Wanted::Chunk(dialect) = ask.what else { return };
        let (req, hash) = (ask.req, ask.hash);
        let message = Outgoing::Chunk { req, dialect, hash, body: Body::File(place), len: place.len };
        if self.give_bytes(link, message, place.len, mark) {
            self.measured.stats.chunks_served += 1;
        }
    }

    /// Gives a part of a small file, as a chunk is given.
    pub(super) fn give_plain(&mut self, link: LinkId, req: u32, body: Body, mark: u64) {
        if self.give_bytes(link, Outgoing::Plain { req, body }, body.len(), mark) {
            self.measured.stats.plain_served += 1;
            let first = matches!(body, Body::Buf { offset: 0, .. });
            self.measured.stats.plain_files_served += u64::from(first);
        }
    }

    fn give_bytes(&mut self, link: LinkId, message: Outgoing, bytes: u32, mark: u64) -> bool {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&link) else { return false };
        let len = u64::from(bytes);
        self.uploads.spent.cap.gave(now, len);
        peer.wants.upload.ahead += len;
        self.uploads.spent.ahead += len;
        self.uploads.ahead_of(peer.wants.upload.party, len, 0);
        self.uploads.spend(peer.wants.upload.party, len);
        self.uploads.refile(link, &mut peer.wants.upload);
        self.uploads.gives(now, peer.wants.upload.party, mark, Some(bytes));
        self.send(link, message);
        true
    }

    pub(super) fn chunk_located(
        &mut self,
        now: Instant,
        link: LinkId,
        req: ReqId,
        hash: Hash,
        dialect: Dialect,
        place: Option<Location>,
    ) {
        let Some(mark) = self.looked_up(link, req) else { return };
        match place {
            Some(place) => {
                self.give(link, Ask { req: req.0, hash, what: Wanted::Chunk(dialect) }, place, mark)
            }
            None => self.send(link, Outgoing::NotFound { req: req.0, hash, dialect }),
        }
        self.pump(now);
    }

    /// The peer is gone: what it asked for, too.
    pub(super) fn drop_uploads(&mut self, now: Instant, link: LinkId) {
        if let Some(peer) = self.peers.get_mut(&link) {
            self.uploads.spent.ahead -= peer.wants.upload.ahead;
            let looking = peer.wants.upload.looking.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
            self.uploads.spent.looking_bytes -= looking;
            self.uploads.ahead_of(peer.wants.upload.party, 0, peer.wants.upload.ahead + looking);
            self.uploads.line.queued -= peer.wants.upload.queue.len() as u32;
            let Upload { party, lane, busy_at, .. } = peer.wants.upload;
            peer.wants.upload = Upload { lane, busy_at, ..Upload::new(party) };
            self.uploads.refile(link, &mut peer.wants.upload);
        }
        self.pump(now);
    }

    pub(super) fn check_uploads(&self) {
        let uploads = &self.uploads;
        let interests = self.peers.values().map(|peer| peer.wants.interests.len()).sum();
        uploads.parties.check_invariants(self.peers.len(), interests);
        let ahead: u64 = self.peers.values().map(|peer| peer.wants.upload.ahead).sum();
        assert_eq!(ahead, uploads.spent.ahead, "what sockets have not taken is the sum over peers");
        let looking = |peer: &Peer| peer.wants.upload.looking.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        let looking: u64 = self.peers.values().map(looking).sum();
        assert_eq!(looking, uploads.spent.looking_bytes, "what is looked up is the sum over peers");
        assert_eq!(uploads.parties.ahead(), ahead + looking, "what parties have before them is the same");
        let queued: usize = self.peers.values().map(|peer| peer.wants.upload.queue.len()).sum();
        assert_eq!(queued, uploads.line.queued as usize, "requests that wait are counted");
        let mut stand = [0; 3];
        for (link, peer) in &self.peers {
            let upload = &peer.wants.upload;
            assert_eq!(upload.lane, upload.should_stand(), "whoever waits stands where it belongs");
            assert_eq!(upload.busy_at, upload.is_busy().then_some(upload.moved_at), "when its socket moved");
            let party = upload.party;
            let listed = uploads.parties.get(party).is_some_and(|record| {
                upload.lane.is_none_or(|(lane, turn)| match lane {
                    Lane::Fresh => {
                        record.fresh.contains(&(turn, *link))
                            && uploads.line.fresh.contains(&(record.turn, party))
                    }
                    Lane::Going => {
                        record.going.contains(&(turn, *link))
                            && uploads.line.going.contains(&(record.turn, party))
                    }
                    Lane::Full => true,
                })
            });
            let busy = upload.busy_at.is_none_or(|at| uploads.busy.contains(&(at, *link, party)));
            assert!(listed && busy, "a peer's place is where it says");
            stand[2] += usize::from(upload.busy_at.is_some());
            stand[0] += usize::from(upload.lane.is_some_and(|(lane, _)| lane != Lane::Full));
            stand[1] += usize::from(upload.lane.is_some());
        }
        assert_eq!(stand, [uploads.parties.standing(), uploads.line.waiting, uploads.busy.len()]);
    }

    pub(super) fn manifest_located(
        &mut self,
        now: Instant,
        link: LinkId,
        req: ReqId,
        place: Option<ManifestPlace>,
    ) {
        let Some(mark) = self.looked_up(link, req) else { return };
        if let Some(peer) = self.peers.get(&link).filter(|_| place.is_some()) {
            self.uploads.gives(now, peer.wants.upload.party, mark, None);
        }
        let message = match place {
            Some(place) => Outgoing::ManifestPart { req: req.0, part: place.part, body: place.records },
            None => Outgoing::Zest(ZestMessage::ManifestNone { req: req.0 }),
        };
        let spent = self.uploads.spent.budget.is_some_and(|left| left < message.payload_bytes());
        let message = if spent { no_list_today(req.0, SPENT_ALL) } else { message };
        self.send_counted(link, message);
        self.pump(now);
    }

    pub(super) fn file_located(&mut self, link: LinkId, file: Hash, total: u32, runs: Vec<(u32, u32)>) {
        self.send(link, Outgoing::Zest(ZestMessage::Have { file, total, runs }));
    }

    /// A serialised range for a zest 0.4 peer. It is one answer, however long: where it would break the cap it is refused.
    pub(super) fn xorb_located(&mut self, now: Instant, link: LinkId, answer: Outgoing) {
        let bytes = answer.payload_bytes();
        let capped = self.upload_cap().is_some_and(|cap| {
            bytes > cap || self.uploads.allowed_at(now, bytes, cap).is_none_or(|at| at > now)
        });
        let Some(upload) = self.peers.get(&link).map(|peer| &peer.wants.upload) else { return };
        let party = upload.party;
        let another = self.uploads.busy_links(party) > u32::from(upload.is_busy());
        let spent = self.uploads.spent.budget.is_some_and(|left| left < bytes)
            || bytes > 0 && self.uploads.has_had_its_share(party)
            || bytes > 0 && self.uploads.is_far_behind(party)
            || bytes > 0 && another && self.uploads.has_ahead(party, XORBS_AHEAD_BYTES);
        let mut answer = answer;
        if let Outgoing::XorbRange { req, xorb, .. } | Outgoing::XorbBytes { req, xorb, .. } = answer
            && (capped || spent)
        {
            answer = Outgoing::NotFound { req, hash: xorb, dialect: Dialect::Range };
        }
        if let Outgoing::XorbRange { xorb, start, .. } | Outgoing::XorbBytes { xorb, start, .. } = &answer {
            let mark = self.uploads.marker.mark(xorb, *start);
            self.uploads.gives(now, party, mark, None);
        }
        self.uploads.charge(party, answer.payload_bytes());
        self.send_counted(link, answer);
    }

    /// Sends an answer whose bytes the socket has to take before the peer gets more chunks.
    fn send_counted(&mut self, link: LinkId, message: Outgoing) {
        let bytes = message.payload_bytes();
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&link).filter(|peer| !peer.closing) {
            if bytes > 0 {
                if !peer.wants.upload.is_busy() {
                    peer.wants.upload.moved_at = now;
                }
                self.uploads.spent.cap.gave(now, bytes);
                peer.wants.upload.ahead += bytes;
                self.uploads.spent.ahead += bytes;
                self.uploads.ahead_of(peer.wants.upload.party, bytes, 0);
                self.uploads.spend(peer.wants.upload.party, bytes);
                self.uploads.refile(link, &mut peer.wants.upload);
            }
            self.send(link, message);
        }
    }
}
