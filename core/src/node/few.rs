//! A map that nearly always has one entry, or none: its first one lies in the map itself.
//!
//! Each peer has several such maps, and a node looks at many peers for each thing it is told. With the entry in the peer
//! that costs no allocation and no further place in memory; with many entries it is as good as the tree behind it.

use alloc::collections::BTreeMap;

/// An ordered map. Entries come in the order of their keys, as in a [`BTreeMap`].
#[derive(Debug)]
pub(crate) struct Few<K, V> {
    /// The entry with the least key; `None`: there are none.
    first: Option<(K, V)>,
    rest: BTreeMap<K, V>,
}

impl<K: Ord, V> Few<K, V> {
    pub(crate) const fn new() -> Self {
        Self { first: None, rest: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match &self.first {
            Some((first, value)) if first == key => Some(value),
            _ => self.rest.get(key),
        }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match &mut self.first {
            Some((first, value)) if first == key => Some(value),
            _ => self.rest.get_mut(key),
        }
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts an entry in; gives the value that the key had before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match &mut self.first {
            Some((first, old)) if *first == key => Some(core::mem::replace(old, value)),
            Some((first, _)) if *first < key => self.rest.insert(key, value),
            place => {
                let later = place.replace((key, value));
                self.rest.extend(later);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        if self.first.as_ref().is_none_or(|(first, _)| first != key) {
            return self.rest.remove(key);
        }
        let next = self.rest.pop_first();
        core::mem::replace(&mut self.first, next).map(|(_, value)| value)
    }

    pub(crate) fn clear(&mut self) {
        self.first = None;
        self.rest.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.first.iter().map(|(key, value)| (key, value)).chain(&self.rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.first.iter_mut().map(|(key, value)| (&*key, value)).chain(&mut self.rest)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rng::Rng;
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn it_agrees_with_a_tree() {
        let mut rng = Rng::new([5; 32]);
        let (mut few, mut tree) = (Few::new(), BTreeMap::new());
        for step in 0..5000u32 {
            // Now and then there are many.
            let key = rng.below(if step % 1000 < 900 { 3 } else { 50 });
            match rng.below(4) {
                0 | 1 => assert_eq!(few.insert(key, step), tree.insert(key, step)),
                2 => assert_eq!(few.remove(&key), tree.remove(&key)),
                _ => {
                    if let Some(value) = few.get_mut(&key) {
                        *value += 1;
                    }
                    tree.entry(key).and_modify(|value| *value += 1);
                }
            }
            assert_eq!((few.get(&key), few.contains_key(&key)), (tree.get(&key), tree.contains_key(&key)));
            assert_eq!((few.len(), few.is_empty()), (tree.len(), tree.is_empty()));
            assert!(few.iter().eq(&tree) && few.keys().eq(tree.keys()) && few.values().eq(tree.values()));
        }
        assert_eq!(
            few.iter_mut().map(|(key, _)| *key).collect::<Vec<_>>(),
            few.keys().copied().collect::<Vec<_>>()
        );
        few.clear();
        assert!(few.is_empty() && few.iter().next().is_none());
    }
}
