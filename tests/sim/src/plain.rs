//! Small files that are not in Xet: every machine wants all of them, and the Hub gives each whole.

use crate::actors::Actor;
use crate::link::Content;
use crate::scenario::{MS, SEC};
use crate::world::{Happening, World};
use std::sync::Arc;
use zest_core::link::{Body, Outgoing, PlainKey};
use zest_core::node::{Event, PlainSpec};
use zest_core::wire::zest::{PLAIN_PART_BYTES, plain_part_len};
use zest_core::{BufId, FileId, LinkId, Location, PlainId, ReqId};

/// [`FileId`]s from here on are small files.
const PLAINS: u32 = 1 << 27;
/// Small files of a world, at most: 2⁸.
const PLAIN_BITS: u32 = 8;
/// Their sizes, in turn: a config, a tokenizer's map, a vocabulary, and what has more than one part.
const SIZES: [u32; 5] = [600, 5_000, 70_000, 300_000, 1 << 20];
/// A machine wants them as soon as it was told of somebody, as one that has listed the files and names its peers; after this it does not wait for
/// that any more.
const LISTED: u64 = 100 * MS;
/// From a question to the Hub to the file, less than the time that its bytes take.
const HUB: u64 = 100 * MS;
/// What the Hub gives one machine, in bytes/s.
const HUB_BYTES_S: u64 = 5_000_000;

/// One small file on one machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plain {
    pub(crate) have: bool,
}

pub(crate) fn size(file: u32) -> u32 {
    SIZES[file as usize % SIZES.len()]
}

pub(crate) fn key(file: u32) -> PlainKey {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&file.to_be_bytes());
    PlainKey::sha256(id)
}

fn file_of(key: &PlainKey) -> u32 {
    let [a, b, c, d, ..] = *key.id.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// A part of a file, as a body.
pub(crate) fn body(file: u32, size: u32, offset: u32) -> Option<Body> {
    let len = plain_part_len(size, offset)?;
    Some(Body::File(Location { file: FileId(PLAINS + file), offset: offset.into(), len }))
}

impl World {
    /// The machine has listed the files.
    pub(crate) fn plain_listed(&mut self, host: u32) {
        if self.scenario.plain > 0 {
            self.hosts[host as usize].plain_begun = false;
            let epoch = self.hosts[host as usize].epoch;
            self.later(LISTED, Happening::PlainListed { host, epoch });
        }
    }

    fn plain_id(&self, host: u32, file: u32) -> PlainId {
        PlainId(self.hosts[host as usize].epoch << PLAIN_BITS | file)
    }

    /// The machine wants what it lacks.
    pub(crate) fn plain_begins(&mut self, host: u32) {
        let machine = &mut self.hosts[host as usize];
        if machine.node.is_none() || std::mem::replace(&mut machine.plain_begun, true) {
            return;
        }
        let files: Arc<[_]> = self.files.all.iter().map(|file| file.hash).collect();
        for file in 0..self.scenario.plain {
            if self.hosts[host as usize].plain[file as usize].have {
                continue;
            }
            let spec = PlainSpec {
                key: key(file),
                size: size(file),
                near: self.scenario.near,
                policy: None,
                files: files.clone(),
                jobs_begin: true,
            };
            let plain = self.plain_id(host, file);
            self.feed(host, Event::PlainWanted { plain, spec });
        }
    }

    /// Peers do not give a file.
    pub(crate) fn plain_alone(&mut self, host: u32, plain: PlainId) {
        let file = plain.0 & ((1 << PLAIN_BITS) - 1);
        self.plain_of_hub[file as usize] += 1;
        let epoch = self.hosts[host as usize].epoch;
        let takes = HUB + u64::from(size(file)) * SEC / HUB_BYTES_S;
        self.later(takes, Happening::PlainOfHub { host, epoch, file });
    }

    /// A file is in its place.
    pub(crate) fn plain_landed(&mut self, host: u32, file: u32) {
        let machine = &mut self.hosts[host as usize];
        let state = &mut machine.plain[file as usize];
        if std::mem::replace(&mut state.have, true) {
            return;
        }
        if machine.actor == Actor::Honest {
            self.unfinished -= 1;
        }
        if machine.plain.iter().all(|file| file.have) {
            machine.plain_at = Some(self.now);
        }
        let plain = self.plain_id(host, file);
        self.feed(host, Event::PlainOver { plain });
    }

    /// A peer gave all parts of a file.
    pub(crate) fn plain_came(&mut self, host: u32, plain: PlainId, link: LinkId, bufs: &[BufId]) {
        let file = plain.0 & ((1 << PLAIN_BITS) - 1);
        let mut right = plain == self.plain_id(host, file)
            && bufs.len() == size(file).div_ceil(PLAIN_PART_BYTES) as usize;
        for (nth, buf) in (0..).zip(bufs) {
            let Some(content) = self.buffers.take(*buf) else {
                return self.fail(format!("host {host} takes {buf:?}, which it does not have"));
            };
            right &= content == Content::Plain { file, nth, good: true };
        }
        if right {
            self.totals.plain_of_peers += 1;
            self.plain_landed(host, file);
        } else {
            self.feed(host, Event::PlainBad { plain, link });
        }
    }

    /// What a machine has of a file that a peer asks for.
    pub(crate) fn plain_looked_up(
        &mut self,
        host: u32,
        link: LinkId,
        req: ReqId,
        key: &PlainKey,
        (len, offset): (u32, u32),
    ) {
        let file = file_of(key);
        let has = self.hosts[host as usize].plain.get(file as usize).is_some_and(|state| state.have);
        let body = if has && len == size(file) && self.may_hear(host, link) {
            body(file, len, offset)
        } else {
            None
        };
        self.feed(host, Event::PlainLocated { link, req, body });
    }

    /// What a part holds that a machine sends; it has to have the file.
    pub(crate) fn plain_content(&mut self, end: u32, body: Body) -> Option<Content> {
        let host = self.ends[end as usize].host;
        let Body::File(place) = body else {
            self.fail(format!("link {end}: a small file from {body:?}, which the world never gave"));
            return None;
        };
        let file = place.file.0.wrapping_sub(PLAINS);
        let has = self.hosts[host as usize].plain.get(file as usize).is_some_and(|state| state.have);
        if !has || plain_part_len(size(file), place.offset as u32) != Some(place.len) {
            self.fail(format!("host {host} gives {place:?}, which it lacks"));
            return None;
        }
        Some(Content::Plain { file, nth: place.offset as u32 / PLAIN_PART_BYTES, good: true })
    }

    /// One with a script is asked for a small file.
    pub(crate) fn scripted_plain(
        &self,
        actor: Actor,
        ask: (u32, PlainKey, u32, u32),
    ) -> Option<(Outgoing, Content)> {
        use zest_core::link::ZestMessage::PlainNone;
        let (req, key, len, offset) = ask;
        let (file, nth) = (file_of(&key), offset / PLAIN_PART_BYTES);
        match actor {
            Actor::Mute | Actor::ClaimLiar | Actor::SelfClaimer => None,
            Actor::Liar | Actor::Trickler => {
                let good = actor == Actor::Trickler;
                let body = body(file, len, offset)?;
                Some((Outgoing::Plain { req, body }, Content::Plain { file, nth, good }))
            }
            _ => Some((Outgoing::Zest(PlainNone { req }), Content::Junk)),
        }
    }
}
