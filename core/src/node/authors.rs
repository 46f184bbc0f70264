//! Authors of what nothing proves yet: who told something that was not so is not followed any more.

use super::Node;
use crate::endpoint::Party;
use crate::{Duration, Instant, LinkId, PeerId};
use alloc::collections::BTreeMap;

/// Lies after which an author is shut out: 2. Ours; with the first it is not followed any more. An honest one may sit behind a
/// proxy that corrupts what the origin gives.
pub const TENTATIVE_LIES_MAX: u32 = 2;
/// Blocks of an author that came to nothing, without a lie, after which it is not followed any more: 3. Ours.
pub const LET_DOWNS_MAX: u32 = 3;
/// Chunks that an author denied after it had told of them, after which what it says of whose work something is counts for nothing: 2. Ours;
/// who stops a stream says so first.
pub(super) const DENIALS_MAX: u32 = 2;
/// What was learnt of an author is forgotten after this: 1 h, as a ban is.
pub const AUTHOR_AGE: Duration = Duration::from_secs(3600);
/// Who lied once is not followed for so long: 10 min. Ours; then it is again, and a second lie is one too many.
pub const SUSPECT: Duration = Duration::from_secs(600);
/// Authors remembered at most: 1,024. Ours; the one that is forgotten next makes room.
pub const AUTHORS_MAX: usize = 1024;

/// Who told something: everybody at one address; on this machine, where unrelated processes live, everybody with one id.
pub(super) type Author = (Party, Option<PeerId>);

/// What is known of one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Record {
    lies: u32,
    let_downs: u32,
    denials: u32,
    until: Instant,
}

/// Those who told what was not so.
#[derive(Debug, Default)]
pub(crate) struct Authors(pub(super) BTreeMap<Author, Record>);

impl Authors {
    pub(super) fn note(&mut self, now: Instant, author: Author, lie: bool) -> u32 {
        let record = self.record(now, author);
        record.lies += u32::from(lie);
        record.let_downs += u32::from(!lie);
        record.lies
    }

    fn record(&mut self, now: Instant, author: Author) -> &mut Record {
        if self.0.len() >= AUTHORS_MAX
            && !self.0.contains_key(&author)
            && let Some(first) = self.0.iter().min_by_key(|(_, r)| r.until).map(|(author, _)| *author)
        {
            self.0.remove(&first);
        }
        let record = self.0.entry(author).or_default();
        if record.until <= now {
            *record = Record::default();
        }
        record.until = now + AUTHOR_AGE;
        record
    }

    /// An author denied what it had told of, so many times.
    pub(super) fn denied(&mut self, now: Instant, author: Author, times: u32) {
        let record = self.record(now, author);
        record.denials = record.denials.saturating_add(times);
    }

    pub(super) fn denies(&self, now: Instant, author: &Author) -> bool {
        self.0.get(author).is_some_and(|record| record.denials >= DENIALS_MAX && record.until > now)
    }

    pub(super) fn is_trusted(&self, now: Instant, author: &Author) -> bool {
        self.0.get(author).is_none_or(|record| {
            let clean = record.lies == 0 && record.let_downs < LET_DOWNS_MAX;
            clean || record.until <= now || record.until <= now + (AUTHOR_AGE - SUSPECT)
        })
    }
}

impl Node {
    /// Whose word it is what is said on a link.
    pub(super) fn author(&self, link: LinkId) -> Option<Author> {
        let peer = self.peers.get(&link)?;
        Some((
            peer.wants.upload.party,
            peer.who.addr.ip().to_canonical().is_loopback().then_some(peer.who.id),
        ))
    }
}
