//! Those who are no honest nodes: some play a script, some are a real node whose output is twisted.

use crate::file::{ChunkId, Files};
use crate::host::Life;
use crate::link::{Content, End, Item, What, other};
use crate::scenario::{MS, SEC};
use crate::world::{Happening, World};
use std::net::{Ipv4Addr, SocketAddr};
use zest_core::link::{Body, Claim, Dialect, Outgoing, ZestMessage};
use zest_core::node::claim_score;
use zest_core::node::{Event, Found, limits};
use zest_core::{FileId, FileKey, InfoHash, Location};
use zest_xet::ChunkRef;

/// Who plays at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A real node that does as it is told.
    Honest,
    /// Says it has everything, and sends wrong bytes.
    Liar,
    /// Says it has everything, and never answers.
    Mute,
    /// Has everything, and an uplink of 4 KB/s.
    Trickler,
    /// Asks, shows interest and boasts without end.
    Flooder,
    /// Says it has everything, and answers NOT_FOUND.
    HaveLiar,
    /// Claims every part of the origin's work, again and again, and does none of it.
    ClaimLiar,
    /// A real node that gives nothing to anyone.
    Leecher,
    /// A real node that answers every other request with NOT_FOUND.
    NotFoundLiar,
    /// A real node that sends one chunk in eight with a wrong byte.
    Twister,
    /// An address where nobody answers.
    Dead,
    /// Takes a link and says nothing, for ever.
    Idle,
    /// Names addresses of a victim by peer exchange, without end.
    Namer,
    /// A liar that says the peer id of an honest machine: of a seed, if there are any.
    Forger,
    /// Comes to everybody and asks for the same few chunks without end. All of them have one address.
    Hog,
    /// Comes to everybody, says nothing, and comes again when it is sent away. All of them have one address.
    Squatter,
    /// Comes to everybody and names files without end that it wants to hear of, so that they are remembered. All of them have one
    /// address.
    Gatherer,
    /// Comes to everybody and claims every part of the origin's work for itself, as its own id allows, and does none of it. All of them
    /// have one address, so that many ids draw lots for it.
    SelfClaimer,
    /// A neighbour that comes to everybody and asks for all that they fetch, but speaks of another Hub, or of none.
    Spy,
    /// Says it streams everything from the origin: tells a list that is not the xorb's, and gives what hashes to that.
    ListLiar,
    /// The same: tells the right list, and gives wrong bytes.
    ByteLiar,
    /// The same: tells more than there can be.
    EndlessTeller,
    /// The same: tells again, otherwise, what it told before.
    MindChanger,
}

impl Actor {
    /// Those that make room for nobody, knock elsewhere by the hands of others, lie under another's id, press on one machine
    /// from one address, or ask for what is not theirs. They are in no small world drawn by lot.
    pub const STRANGERS: [Self; 8] = [
        Self::Idle,
        Self::Namer,
        Self::Forger,
        Self::Hog,
        Self::Squatter,
        Self::Gatherer,
        Self::SelfClaimer,
        Self::Spy,
    ];

    /// Those that lie of what they stream. They are in no small world drawn by lot.
    pub const TELLERS: [Self; 4] = [Self::ListLiar, Self::ByteLiar, Self::EndlessTeller, Self::MindChanger];

    /// Everyone else but the honest.
    pub const ALL: [Self; 10] = [
        Self::Liar,
        Self::Mute,
        Self::Trickler,
        Self::Flooder,
        Self::HaveLiar,
        Self::ClaimLiar,
        Self::Leecher,
        Self::NotFoundLiar,
        Self::Twister,
        Self::Dead,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Liar => "liars",
            Self::Mute => "mute",
            Self::Trickler => "tricklers",
            Self::Flooder => "flooders",
            Self::HaveLiar => "have-liars",
            Self::ClaimLiar => "claim-liars",
            Self::Leecher => "leechers",
            Self::NotFoundLiar => "not-found-liars",
            Self::Twister => "twisters",
            Self::Dead => "dead",
            Self::Idle => "idle",
            Self::Namer => "namers",
            Self::Forger => "forgers",
            Self::Hog => "hogs",
            Self::Squatter => "squatters",
            Self::Gatherer => "gatherers",
            Self::SelfClaimer => "self-claimers",
            Self::Spy => "spies",
            Self::ListLiar => "list-liars",
            Self::ByteLiar => "byte-liars",
            Self::EndlessTeller => "endless-tellers",
            Self::MindChanger => "mind-changers",
        }
    }

    /// Whether it is a real node inside.
    #[must_use]
    pub fn has_node(self) -> bool {
        matches!(self, Self::Honest | Self::Leecher | Self::NotFoundLiar | Self::Twister)
    }

    /// Whether it dials by itself, and nobody dials it.
    #[must_use]
    pub fn comes(self) -> bool {
        matches!(self, Self::Hog | Self::Squatter | Self::Gatherer | Self::SelfClaimer | Self::Spy)
    }

    /// Whether wrong bytes may come from it.
    #[must_use]
    pub fn lies(self) -> bool {
        matches!(self, Self::Liar | Self::Twister | Self::Forger) || Self::TELLERS.contains(&self)
    }
}

/// Between two bursts of a flooder or claim liar.
const TICK: u64 = 200 * MS;
/// Messages of a flooder's burst on each link.
const BURST: u32 = 24;
/// Requests that a hog has open on each link, and different chunks among them.
const HOG_OPEN: u32 = 32;
const HOG_CHUNKS: u64 = 8;
/// Files that a gatherer names at a time, on each link.
const GATHERED: u32 = 64;
/// Chunks that a spy asks for at a time, on each link.
const SPIED: u32 = 16;
/// Where no machine of any world is, and nobody wants to be knocked at.
pub(crate) const VICTIM: Ipv4Addr = Ipv4Addr::new(45, 7, 7, 7);
/// A flooder gets tired in the end, so that a world can come to rest.
const FLOOD_UNTIL: u64 = 30 * SEC;

impl World {
    /// Changes what a twisted node says; `None` swallows it.
    pub(crate) fn twist(
        &mut self,
        actor: Actor,
        message: Outgoing,
        content: &mut Content,
    ) -> Option<Outgoing> {
        Some(match (actor, message) {
            (Actor::Leecher, Outgoing::Zest(ZestMessage::Have { file, .. })) => {
                Outgoing::Zest(ZestMessage::Have { file, total: 0, runs: vec![] })
            }
            (Actor::Leecher, Outgoing::Zest(ZestMessage::HaveMore { .. })) => return None,
            (Actor::Leecher, Outgoing::Chunk { req, hash, dialect, .. }) => {
                Outgoing::NotFound { req, hash, dialect }
            }
            (Actor::NotFoundLiar, Outgoing::Chunk { req, hash, dialect, .. })
                if self.dice.actors.one_in(2) =>
            {
                Outgoing::NotFound { req, hash, dialect }
            }
            (Actor::Twister, message @ Outgoing::Chunk { .. }) => {
                if let Content::Chunk { good, .. } = content
                    && self.dice.actors.one_in(8)
                {
                    *good = false;
                }
                message
            }
            (Actor::Leecher, Outgoing::Plain { req, .. }) => Outgoing::Zest(ZestMessage::PlainNone { req }),
            (Actor::NotFoundLiar, Outgoing::Plain { req, .. }) if self.dice.actors.one_in(2) => {
                Outgoing::Zest(ZestMessage::PlainNone { req })
            }
            (Actor::Twister, message @ Outgoing::Plain { .. }) => {
                if let Content::Plain { good, .. } = content
                    && self.dice.actors.one_in(8)
                {
                    *good = false;
                }
                message
            }
            (_, message) => message,
        })
    }

    /// A scripted actor's link is up: it greets, and boasts unasked.
    pub(crate) fn scripted_up(&mut self, end: u32) {
        let actor = self.hosts[self.ends[end as usize].host as usize].actor;
        if matches!(actor, Actor::Flooder | Actor::ClaimLiar | Actor::Namer) {
            let host = self.ends[end as usize].host;
            if !std::mem::replace(&mut self.hosts[host as usize].ticking, true) {
                self.later(TICK, Happening::Tick { host });
            }
        }
        if actor == Actor::Hog {
            (0..HOG_OPEN).for_each(|_| self.hog_asks(end));
        }
    }

    fn hog_asks(&mut self, end: u32) {
        let index = self.dice.actors.below(HOG_CHUNKS.min(u64::from(self.files.all[0].len()))) as u32;
        let chunk = self.files.chunk(ChunkId::new(0, index));
        let req = zest_core::ReqId(self.dice.actors.u64() as u32);
        self.say(end, Outgoing::ChunkRequest { req, hash: chunk.hash, len_max: chunk.len });
    }

    /// Dials every honest machine that it has no link to.
    fn come(&mut self, host: u32) {
        for to in 0..self.scenario.nodes + self.scenario.seeds {
            let linked =
                |end: &u32| self.ends[other(*end) as usize].host == to && !self.ends[*end as usize].over;
            if self.hosts[to as usize].life == Life::Up && !self.hosts[host as usize].links.iter().any(linked)
            {
                self.dial(host, Self::address(to), InfoHash::of_file(&self.files.all[0].hash));
            }
        }
    }

    /// A scripted actor is told something.
    pub(crate) fn scripted(&mut self, end: u32, item: Item) {
        let What::Message(message) = item.what else { return };
        let host = self.ends[end as usize].host;
        let actor = match self.hosts[host as usize].actor {
            Actor::Forger => Actor::Liar,
            actor => actor,
        };
        if matches!(actor, Actor::Idle | Actor::Namer | Actor::Squatter | Actor::Gatherer) {
            return;
        }
        if actor == Actor::Spy {
            let nothing = match &message {
                Outgoing::Zest(ZestMessage::Have { total, runs, .. }) => *total == 0 && runs.is_empty(),
                Outgoing::NotFound { .. }
                | Outgoing::Zest(ZestMessage::ManifestNone { .. } | ZestMessage::PlainNone { .. })
                | Outgoing::ErrorReply { .. } => true,
                Outgoing::Zest(ZestMessage::Slot { .. }) | Outgoing::KeepAlive => true,
                _ => false,
            };
            if !nothing {
                let from = self.ends[other(end) as usize].host;
                self.fail(format!("host {from} tells a stranger to its Hub what it fetches: {message:?}"));
            }
            return;
        }
        if actor == Actor::Hog {
            if matches!(message, Outgoing::Chunk { .. }) && self.unfinished > 0 {
                self.hog_asks(end);
            }
            return;
        }
        if Actor::TELLERS.contains(&actor) {
            return self.tells(end, actor, message);
        }
        match message {
            Outgoing::Zest(ZestMessage::Interest { file }) => {
                let total = self.files.by_hash(&file).map_or(0, |at| self.files.all[at as usize].len());
                self.say(end, Outgoing::Zest(ZestMessage::Have { file, total, runs: vec![(0, total)] }));
                self.say(end, Outgoing::Zest(ZestMessage::Slot { open: true, wait_ms: 0 }));
                if matches!(actor, Actor::ClaimLiar | Actor::SelfClaimer) {
                    self.claim_all(end);
                }
            }
            Outgoing::Zest(ZestMessage::ManifestRequest { req, file, first, count }) => {
                let list = self.list_of(&file);
                match (actor, list) {
                    (Actor::Mute, _) => {}
                    (Actor::Trickler | Actor::Liar, Some(list)) if first < self.list_len(list) => {
                        let count = count.min(self.list_len(list) - first);
                        // Half the liars lie about chunk lists too.
                        let good = actor == Actor::Trickler || host.is_multiple_of(2);
                        let content = Content::Records { list, first, count, good };
                        let message = self.part(req, list, first, count);
                        self.say_with(end, message, content);
                    }
                    _ => self.say(end, Outgoing::Zest(ZestMessage::ManifestNone { req })),
                }
            }
            Outgoing::Zest(ZestMessage::PlainRequest { req, key, size, offset, .. }) => {
                if let Some((message, content)) = self.scripted_plain(actor, (req, key, size, offset)) {
                    self.say_with(end, message, content);
                }
            }
            Outgoing::ChunkRequest { req, hash, .. } => {
                let id = self.files.by_chunk(&hash);
                match (actor, id) {
                    (Actor::Mute | Actor::ClaimLiar | Actor::SelfClaimer, _) => {}
                    (Actor::Liar | Actor::Trickler, Some(id)) => {
                        self.say_chunk(end, req.0, hash, id, actor == Actor::Trickler);
                    }
                    _ => {
                        let dialect = Dialect::Chunk;
                        self.say(end, Outgoing::NotFound { req: req.0, hash, dialect });
                    }
                }
            }
            _ => {}
        }
    }

    /// One who says that it streams everything is told something.
    fn tells(&mut self, end: u32, actor: Actor, message: Outgoing) {
        match message {
            Outgoing::Zest(ZestMessage::Interest { file }) => {
                self.say(end, Outgoing::Zest(ZestMessage::Have { file, total: 0, runs: vec![] }));
                let Some(at) = self.files.by_hash(&file) else { return };
                let blocks = self.files.all[at as usize].blocks.len();
                for block in 0..blocks {
                    let first = self.files.all[at as usize].blocks[block].runs[0].first;
                    self.say(end, Outgoing::Zest(ZestMessage::Streams { file: FileKey::of(&file), first }));
                }
            }
            Outgoing::Zest(ZestMessage::Follow { file, first, on: true }) => {
                let Some(at) = self.files.all.iter().position(|of| FileKey::of(&of.hash) == file) else {
                    return;
                };
                let at = at as u32;
                // All but the last record.
                let list = self.told_list(actor, at, first);
                let records = list[..(list.len() - 1).max(1)].to_vec();
                self.say(end, Outgoing::Zest(ZestMessage::Told { file, first, at: 0, records }));
            }
            Outgoing::ChunkRequest { req, hash, .. } => {
                let twisted = Files::twisted(&hash);
                let (true_id, other_id) = (self.files.by_chunk(&hash), self.files.by_chunk(&twisted));
                let Some(id) = true_id.or(other_id) else { return };
                // What a wrong byte makes of the chunk hashes to the other one.
                let good = true_id.is_some() && actor != Actor::ByteLiar;
                self.say_chunk(end, req.0, hash, id, good);
                self.tells_more(end, actor, id);
            }
            Outgoing::Zest(ZestMessage::ManifestRequest { req, .. }) => {
                self.say(end, Outgoing::Zest(ZestMessage::ManifestNone { req }))
            }
            _ => {}
        }
    }

    fn told_list(&self, actor: Actor, file: u32, first: u32) -> Vec<ChunkRef> {
        let file = &self.files.all[file as usize];
        let mut list = file.lists[file.block_of(first) as usize].to_vec();
        if actor == Actor::ListLiar {
            list.iter_mut().for_each(|chunk| chunk.hash = Files::twisted(&chunk.hash));
        }
        list
    }

    /// It was asked for the last chunk it told of: now comes what gives it away.
    fn tells_more(&mut self, end: u32, actor: Actor, id: ChunkId) {
        let file = &self.files.all[id.file() as usize];
        let (hash, block) = (file.hash, &file.blocks[file.block_of(id.index()) as usize]);
        let run = block.runs[0];
        if id.index() + 2 != run.indices().end {
            return;
        }
        let list = self.told_list(actor, id.file(), run.first);
        let last = list[list.len() - 1];
        let told = list.len() as u32 - 1;
        let (at, records) = match actor {
            Actor::ListLiar => (told, vec![last]),
            Actor::EndlessTeller => (told, vec![last; 9]),
            Actor::MindChanger => (0, vec![last]),
            _ => return,
        };
        self.say(
            end,
            Outgoing::Zest(ZestMessage::Told { file: FileKey::of(&hash), first: run.first, at, records }),
        );
    }

    fn say_chunk(&mut self, end: u32, req: u32, hash: zest_xet::Hash, id: ChunkId, good: bool) {
        let len = self.files.chunk(id).len;
        let body = Body::File(Location { file: FileId(u32::MAX), offset: 0, len });
        let message = Outgoing::Chunk { req, dialect: Dialect::Chunk, hash, body, len };
        self.say_with(end, message, Content::Chunk { id, good });
    }

    /// Every file's every block, by nobody's leave.
    fn claim_all(&mut self, end: u32) {
        let host = &self.hosts[self.ends[end as usize].host as usize];
        let (own, peer_id) = (host.actor == Actor::SelfClaimer, host.peer_id);
        for file in 0..self.files.all.len() {
            let hash = self.files.all[file].hash;
            let firsts: Vec<u32> = self.files.all[file].blocks.iter().map(|b| b.runs[0].first).collect();
            for part in firsts.chunks(zest_core::wire::zest::CLAIMS_MAX) {
                // Never the same twice: what is not believed any more is said in another way.
                let (beat, any) = ((self.now / TICK) as u16, u64::MAX - 1 - self.now / TICK);
                let claim = |&first: &u32| {
                    let of = &self.files.all[file];
                    let xorb = &of.blocks[of.block_of(first) as usize].xorb;
                    let score = if own { claim_score(xorb, &peer_id) } else { any };
                    Claim { first, score, beat }
                };
                let claims = part.iter().map(claim).collect();
                self.say(end, Outgoing::Zest(ZestMessage::Claim { file: FileKey::of(&hash), claims }));
            }
        }
    }

    /// A flooder or claim liar has its turn.
    pub(crate) fn tick(&mut self, host: u32) {
        if self.hosts[host as usize].actor.comes() {
            if self.unfinished == 0 {
                return;
            }
            self.come(host);
        }
        let up = |end: &End| end.host == host && end.up && end.known;
        let ends: Vec<u32> =
            self.hosts[host as usize].links.iter().copied().filter(|e| up(&self.ends[*e as usize])).collect();
        for end in ends {
            match self.hosts[host as usize].actor {
                Actor::ClaimLiar | Actor::SelfClaimer => self.claim_all(end),
                Actor::Namer => self.name_victims(end),
                Actor::Hog => self.hog_asks(end),
                Actor::Squatter => {}
                Actor::Gatherer => self.gather(end),
                Actor::Spy => self.spy(end),
                _ => self.flood(end),
            }
        }
        if self.now < FLOOD_UNTIL || self.hosts[host as usize].actor.comes() {
            self.later(TICK, Happening::Tick { host });
        }
    }

    /// Names files that there are none of. What the other remembers of that is little, however many links come.
    fn gather(&mut self, end: u32) {
        for _ in 0..GATHERED {
            let hash = zest_xet::Hash::from_bytes(self.dice.actors.bytes32());
            self.say(end, Outgoing::Zest(ZestMessage::Interest { file: hash }));
        }
        let (host, at) = (self.ends[end as usize].host, self.ends[other(end) as usize].host);
        let Some(node) = &self.hosts[at as usize].node else { return };
        let links = node.stats().peers;
        let files = self.files.all.len() as u32;
        let most = limits::INTERESTS_PARTY_MAX + links * (limits::INTERESTS_LINK_MIN as u32 + files);
        let kept = node.stats().interests;
        if kept > most {
            self.fail(format!(
                "host {at} remembers {kept} files for {links} links, host {host} among them; {most} are allowed"
            ));
        }
    }

    /// Asks for everything by its name.
    fn spy(&mut self, end: u32) {
        let file = self.dice.actors.below(self.files.all.len() as u64) as u32;
        let (hash, chunks) = (self.files.all[file as usize].hash, self.files.all[file as usize].len());
        self.say(end, Outgoing::Zest(ZestMessage::Interest { file: hash }));
        let req = self.dice.actors.u64() as u32;
        self.say(
            end,
            Outgoing::Zest(ZestMessage::ManifestRequest { req, file: hash, first: 0, count: chunks }),
        );
        if self.scenario.plain > 0 {
            let (file, req) =
                (self.dice.actors.below(self.scenario.plain.into()) as u32, self.dice.actors.u64() as u32);
            let (key, size) = (crate::plain::key(file), crate::plain::size(file));
            let ask = ZestMessage::PlainRequest { req, key, size, offset: 0, wait: true };
            self.say(end, Outgoing::Zest(ask));
        }
        for _ in 0..SPIED {
            let index = self.dice.actors.below(u64::from(chunks)) as u32;
            let chunk = self.files.chunk(ChunkId::new(file, index));
            let req = zest_core::ReqId(self.dice.actors.u64() as u32);
            self.say(end, Outgoing::ChunkRequest { req, hash: chunk.hash, len_max: chunk.len });
        }
    }

    fn flood(&mut self, end: u32) {
        for _ in 0..BURST {
            let file = self.dice.actors.below(self.files.all.len() as u64) as u32;
            let chunks = self.files.all[file as usize].len();
            let hash = self.files.all[file as usize].hash;
            let index = self.dice.actors.below(u64::from(chunks)) as u32;
            let chunk = self.files.chunk(ChunkId::new(file, index));
            let req = self.dice.actors.u64() as u32;
            let message = match self.dice.actors.below(6) {
                0 => Outgoing::Zest(ZestMessage::Interest { file: hash }),
                1 => {
                    Outgoing::Zest(ZestMessage::HaveMore { file: FileKey::of(&hash), runs: vec![(index, 1)] })
                }
                2 => Outgoing::Zest(ZestMessage::Cancel { req }),
                3 => Outgoing::Zest(ZestMessage::ManifestRequest { req, file: hash, first: index, count: 9 }),
                _ => Outgoing::ChunkRequest {
                    req: zest_core::ReqId(req),
                    hash: chunk.hash,
                    len_max: chunk.len,
                },
            };
            self.say(end, message);
        }
    }

    /// As many addresses as one exchange holds, all of machines that did nothing to deserve it.
    fn name_victims(&mut self, end: u32) {
        let told = self.ends[other(end) as usize].host;
        if self.hosts[told as usize].node.is_none() {
            return;
        }
        for _ in 0..zest_core::wire::pex::PEX_PEERS_MAX {
            let port = 1024 + self.dice.actors.below(60_000) as u16;
            let addr = SocketAddr::new(VICTIM.into(), port);
            self.feed(told, Event::PeerFound { addr, how: Found::Pex });
        }
    }

    fn say(&mut self, end: u32, message: Outgoing) {
        self.say_with(end, message, Content::Junk);
    }

    /// Says something without asking the rules.
    fn say_with(&mut self, end: u32, message: Outgoing, content: Content) {
        debug_assert!(self.ends[other(end) as usize].host != self.ends[end as usize].host, "two machines");
        self.put(end, message, content);
    }
}
