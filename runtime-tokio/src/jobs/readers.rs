//! Who waits for bytes of a file while it comes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;

/// Those who wait, by the place at which their bytes begin: the first of them is waited for most, as who reads a file in several parts at
/// once needs its beginning first.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    all: RefCell<BTreeMap<ReaderPlace, u64>>,
    next: Cell<u64>,
}

/// A name for one who waits: where its bytes begin, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReaderPlace(u64, u64);

impl Readers {
    /// Somebody waits for these bytes; gives the name, and what is waited for most if that is something else now.
    pub(crate) fn add(&self, bytes: &Range<u64>) -> (ReaderPlace, Option<Range<u64>>) {
        let before = self.first();
        let place = ReaderPlace(bytes.start, self.next.replace(self.next.get() + 1));
        self.all.borrow_mut().insert(place, bytes.end);
        (place, self.first().filter(|first| before.as_ref() != Some(first)))
    }

    /// One waits no more; gives what is waited for most if that is something else now.
    pub(crate) fn remove(&self, place: ReaderPlace) -> Option<Range<u64>> {
        let before = self.first();
        self.all.borrow_mut().remove(&place);
        self.first().filter(|first| before.as_ref() != Some(first))
    }

    fn first(&self) -> Option<Range<u64>> {
        self.all.borrow().first_key_value().map(|(place, end)| place.0..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_waited_for_most_whoever_came_first() {
        let readers = Readers::default();
        let (middle, told) = readers.add(&(500..600));
        assert_eq!(told, Some(500..600));
        let (late, told) = readers.add(&(900..1000));
        assert_eq!(told, None, "the first is still waited for");
        let (front, told) = readers.add(&(0..100));
        assert_eq!(told, Some(0..100));
        let (again, told) = readers.add(&(0..100));
        assert_eq!(told, None);
        assert_eq!(readers.remove(front), None, "another waits for the same");
        assert_eq!(readers.remove(again), Some(500..600));
        assert_eq!(readers.remove(late), None);
        assert_eq!(readers.remove(middle), None, "nobody waits");
        assert_eq!(readers.add(&(500..600)).1, Some(500..600));
    }
}
