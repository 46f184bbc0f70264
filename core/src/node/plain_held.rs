//! Questions of peers for small files that we are getting ourselves: they wait until the file is here, or nobody gets it any more.

use crate::{LinkId, PlainId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Questions of one link that wait until we have a small file, at most: 64. Ours; more are answered with no.
pub const PLAIN_HELD_MAX: u32 = 64;
/// The same of all links: 4,096, 64 KiB of memory. Ours.
pub const PLAIN_HELD_ALL_MAX: usize = 4096;

/// A part that a peer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) link: LinkId,
    pub(super) req: u32,
    /// Where the part begins.
    pub(super) offset: u32,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    of: BTreeMap<PlainId, Vec<Question>>,
    /// How many are each link's.
    links: BTreeMap<LinkId, u32>,
    all: usize,
}

impl Held {
    /// Whether one more of this link may wait.
    pub(super) fn has_room(&self, link: LinkId) -> bool {
        self.links.get(&link).is_none_or(|held| *held < PLAIN_HELD_MAX) && self.all < PLAIN_HELD_ALL_MAX
    }

    pub(super) fn hold(&mut self, id: PlainId, question: Question) {
        debug_assert!(self.has_room(question.link), "who asks looks first");
        self.of.entry(id).or_default().push(question);
        *self.links.entry(question.link).or_default() += 1;
        self.all += 1;
    }

    /// Nobody waits for this file any more: who did.
    pub(super) fn take(&mut self, id: PlainId) -> Vec<Question> {
        let questions = self.of.remove(&id).unwrap_or_default();
        questions.iter().for_each(|question| self.uncount(question.link));
        questions
    }

    /// Links like this do not wait for the file any more: what they waited for.
    pub(super) fn take_of(&mut self, id: PlainId, like: impl Fn(LinkId) -> bool) -> Vec<Question> {
        let Some(questions) = self.of.get_mut(&id) else { return Vec::new() };
        let taken: Vec<Question> = questions.extract_if(.., |question| like(question.link)).collect();
        if questions.is_empty() {
            self.of.remove(&id);
        }
        taken.iter().for_each(|question| self.uncount(question.link));
        taken
    }

    /// The link is gone.
    pub(super) fn gone(&mut self, link: LinkId) {
        self.drop_where(link, |_| true);
    }

    /// It takes this question back.
    pub(super) fn taken_back(&mut self, link: LinkId, req: u32) {
        self.drop_where(link, |question| question.req == req);
    }

    fn drop_where(&mut self, link: LinkId, is_it: impl Fn(&Question) -> bool) {
        if !self.links.contains_key(&link) {
            return;
        }
        let mut dropped = 0;
        self.of.retain(|_, questions| {
            let before = questions.len();
            questions.retain(|question| question.link != link || !is_it(question));
            dropped += before - questions.len();
            !questions.is_empty()
        });
        (0..dropped).for_each(|_| self.uncount(link));
    }

    fn uncount(&mut self, link: LinkId) {
        self.all -= 1;
        if let Some(held) = self.links.get_mut(&link) {
            *held -= 1;
            if *held == 0 {
                self.links.remove(&link);
            }
        }
    }

    pub(super) fn check(&self, is_wanted: impl Fn(PlainId) -> bool, is_linked: impl Fn(LinkId) -> bool) {
        let held: usize = self.of.values().map(Vec::len).sum();
        assert_eq!((held, held), (self.all, self.links.values().map(|held| *held as usize).sum()));
        assert!(held <= PLAIN_HELD_ALL_MAX, "questions are bounded");
        assert!(self.links.values().all(|held| (1..=PLAIN_HELD_MAX).contains(held)), "those of a link, too");
        assert!(self.links.keys().all(|link| is_linked(*link)), "nobody gone is waited for");
        assert!(self.of.keys().all(|id| is_wanted(*id)), "what is waited for is wanted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_bounded_by_link_and_in_all_and_go_with_who_asked() {
        let mut held = Held::default();
        let question = |link: u64, req: u32| Question { link: LinkId(link), req, offset: 0 };
        for req in 0..PLAIN_HELD_MAX {
            assert!(held.has_room(LinkId(1)));
            held.hold(PlainId(req % 2), question(1, req));
        }
        assert!(!held.has_room(LinkId(1)) && held.has_room(LinkId(2)));
        held.taken_back(LinkId(1), 0);
        assert!(held.has_room(LinkId(1)));
        held.hold(PlainId(0), question(2, 9));
        assert_eq!(held.take_of(PlainId(0), |link| link == LinkId(2)), [question(2, 9)]);
        held.gone(LinkId(1));
        held.check(|_| false, |_| false);
        let mut link = 0;
        while held.has_room(LinkId(link)) {
            (0..PLAIN_HELD_MAX).for_each(|req| held.hold(PlainId(0), question(link, req)));
            link += 1;
        }
        assert_eq!(held.take(PlainId(0)).len(), PLAIN_HELD_ALL_MAX);
        held.check(|_| false, |_| false);
    }
}
