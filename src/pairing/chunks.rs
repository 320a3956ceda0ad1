//! An ordered map whose copies share almost everything: changing one entry of a copy costs one small
//! chunk, however large the map is.
//!
//! Every operation of this room works on a copy of the state, so that a refusal leaves the state as it was;
//! with thousands of devices that copy must not be a copy of thousands of entries.

use std::{borrow::Borrow, fmt, sync::Arc};

/// Entries of one chunk. A change copies one chunk and one pointer per chunk: with 64 that is about
/// 150 copies for 5,000 entries.
const CHUNK: usize = 64;

/// Keys in ascending order, each with its value.
#[derive(Clone)]
pub(super) struct Chunks<K, V> {
    /// None of them empty.
    chunks: Arc<Vec<Chunk<K, V>>>,
}

type Chunk<K, V> = Arc<Vec<(K, V)>>;

impl<K, V> Default for Chunks<K, V> {
    fn default() -> Self {
        Chunks {
            chunks: Arc::default(),
        }
    }
}

impl<K, V> Chunks<K, V> {
    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter());
        entries.map(|(key, value)| (key, value))
    }
}

impl<K: Ord + Clone + Borrow<str>, V: Clone> Chunks<K, V> {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&V> {
        let (chunk, found) = self.place(key);
        let place = found.ok()?;
        self.chunks.get(chunk)?.get(place).map(|(_, value)| value)
    }

    /// The value under `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let (chunk, found) = self.place(key);
        let place = found.ok()?;
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(chunk)?;
        Arc::make_mut(chunk).get_mut(place).map(|(_, value)| value)
    }

    /// Puts a value under `key` in the place of the one that was there.
    pub fn insert(&mut self, key: K, value: V) {
        let (at, found) = self.place(key.borrow());
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![(key, value)]));
            return;
        };
        let entries = Arc::make_mut(chunk);
        match found {
            Ok(place) => entries[place] = (key, value),
            Err(place) => entries.insert(place, (key, value)),
        }
        if entries.len() > CHUNK {
            let upper = entries.split_off(CHUNK / 2);
            chunks.insert(at + 1, Arc::new(upper));
        }
    }

    /// Takes the entry under `key` out; whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let (at, Ok(place)) = self.place(key) else {
            return false;
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(at) else {
            return false;
        };
        let entries = Arc::make_mut(chunk);
        entries.remove(place);
        if entries.is_empty() {
            chunks.remove(at);
        } else if at > 0 && chunks[at - 1].len() + chunks[at].len() <= CHUNK / 2 {
            // Else many removals would leave many chunks of one entry.
            let rest = chunks.remove(at);
            Arc::make_mut(&mut chunks[at - 1]).extend(rest.iter().cloned());
        }
        true
    }

    /// The chunk that holds `key` or would hold it, and the place inside.
    fn place(&self, key: &str) -> (usize, Result<usize, usize>) {
        let begins_before = |chunk: &Chunk<K, V>| {
            chunk
                .first()
                .is_some_and(|(first, _)| first.borrow() <= key)
        };
        let at = self.chunks.partition_point(begins_before).saturating_sub(1);
        let found = match self.chunks.get(at) {
            Some(chunk) => chunk.binary_search_by(|(other, _)| other.borrow().cmp(key)),
            None => Err(0),
        };
        (at, found)
    }
}

impl<K: Ord + Clone + Borrow<str>, V: Clone> FromIterator<(K, V)> for Chunks<K, V> {
    /// A later entry takes the place of an earlier one with the same key.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut all = Chunks::default();
        for (key, value) in entries {
            all.insert(key, value);
        }
        all
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Chunks<K, V> {
    /// Equal entries are equal maps, however they are cut.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Chunks<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn compare(ours: &Chunks<String, u32>, theirs: &BTreeMap<String, u32>) {
        assert!(ours.iter().eq(theirs.iter()));
        assert!(
            ours.chunks
                .iter()
                .all(|chunk| (1..=CHUNK).contains(&chunk.len()))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_an_ordered_map_and_copies_do_not_see_each_other(
            operations in prop::collection::vec((0..4u8, 0..300u32, any::<u32>()), 0..1_200)
        ) {
            let (mut ours, mut theirs) = (Chunks::default(), BTreeMap::new());
            let mut kept = (ours.clone(), theirs.clone());
            for (operation, key, value) in operations {
                let key = format!("{key:x}");
                match operation {
                    0 | 1 => {
                        ours.insert(key.clone(), value);
                        theirs.insert(key.clone(), value);
                    }
                    2 => prop_assert_eq!(ours.remove(&key), theirs.remove(&key).is_some()),
                    _ => {
                        if let Some(found) = ours.get_mut(&key) {
                            *found = value;
                        }
                        if let Some(found) = theirs.get_mut(&key) {
                            *found = value;
                        }
                    }
                }
                prop_assert_eq!(ours.get(&key), theirs.get(&key));
                if value % 97 == 0 {
                    compare(&kept.0, &kept.1);
                    kept = (ours.clone(), theirs.clone());
                }
            }
            compare(&ours, &theirs);
            compare(&kept.0, &kept.1);
            prop_assert_eq!(ours, theirs.into_iter().collect());
        }
    }

    #[test]
    fn a_change_of_a_copy_shares_all_other_chunks() {
        let all: Chunks<String, u32> = (0..5_000).map(|n| (format!("{n:05}"), n)).collect();
        let mut copy = all.clone();
        copy.insert("02500".to_owned(), 0);
        copy.remove("00007");
        let shared =
            |chunk: &&Chunk<String, u32>| all.chunks.iter().any(|other| Arc::ptr_eq(chunk, other));
        assert_eq!(
            copy.chunks.iter().filter(shared).count(),
            all.chunks.len() - 2
        );
    }
}
