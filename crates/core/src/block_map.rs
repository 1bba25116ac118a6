//! A map for many millions of small rows: ordered, packed, and never slow at
//! one call.
//!
//! Rows lie in blocks of up to `BLOCK_ROWS_MAX`, sorted, one allocation a
//! block; a B-tree finds the block. Where keys rise, as numbers that are
//! handed out do, every block gets full, while the nodes of a B-tree stay half
//! empty. No call moves more than a block, however many rows there are.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::Bound;

/// The most rows in one block.
const BLOCK_ROWS_MAX: usize = 32;
/// A block with fewer rows than this joins the one before it, if they fit.
const BLOCK_ROWS_MIN: usize = 8;

/// An ordered map; see the module's text.
#[derive(Clone)]
pub struct BlockMap<K, V> {
    /// Blocks by a key that none of their own is below, and all of the block
    /// before are. None is empty.
    blocks: BTreeMap<K, Vec<(K, V)>>,
    len: usize,
}

impl<K: Ord + Clone, V> BlockMap<K, V> {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row of `key`.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The row of `key`, and the key that is kept for it.
    #[must_use]
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let (_, block) = self.blocks.range((Bound::Unbounded, Bound::Included(key))).next_back()?;
        let place = place_of(block, key).ok()?;
        block.get(place).map(|(key, value)| (key, value))
    }

    /// Whether there is a row of `key`.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The row of the highest key that is not above `key`.
    #[must_use]
    pub fn at_or_below<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let mut below = self.blocks.range((Bound::Unbounded, Bound::Included(key)));
        let (_, block) = below.next_back()?;
        let above = block.partition_point(|(own, _)| own.borrow() <= key);
        // The first row of the block may be gone: then it is the one before.
        let row = match above.checked_sub(1) {
            Some(place) => block.get(place),
            None => below.next_back().and_then(|(_, block)| block.last()),
        };
        row.map(|(key, value)| (key, value))
    }

    /// Rows from `from` on, in order of key.
    pub fn iter_from<'m, Q: Ord + ?Sized>(
        &'m self,
        from: Bound<&Q>,
    ) -> impl Iterator<Item = (&'m K, &'m V)> + use<'m, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let is_before = |own: &K| match from {
            Bound::Included(key) => own.borrow() < key,
            Bound::Excluded(key) => own.borrow() <= key,
            Bound::Unbounded => false,
        };
        let first = match from {
            Bound::Included(key) | Bound::Excluded(key) => {
                self.blocks.range((Bound::Unbounded, Bound::Included(key))).next_back()
            }
            Bound::Unbounded => None,
        };
        let begun = first.map_or(&[][..], |(_, block)| {
            block.get(block.partition_point(|(own, _)| is_before(own))..).unwrap_or_default()
        });
        let behind = match from {
            Bound::Included(key) | Bound::Excluded(key) => Bound::Excluded(key),
            Bound::Unbounded => Bound::Unbounded,
        };
        let rest = self.blocks.range::<Q, _>((behind, Bound::Unbounded));
        (begun.iter()).chain(rest.flat_map(|(_, block)| block)).map(|(key, value)| (key, value))
    }

    /// All rows, in order of key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.blocks.values().flatten().map(|(key, value)| (key, value))
    }

    /// Puts a row, and returns the one that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let found = self.blocks.range_mut(..=&key).next_back();
        let Some((fence, block)) = found else {
            self.insert_first(key, value);
            return None;
        };
        let place = match place_of(block, &key) {
            Ok(place) => {
                return block.get_mut(place).map(|(_, old)| mem::replace(old, value));
            }
            Err(place) => place,
        };
        self.len += 1;
        if block.len() < BLOCK_ROWS_MAX {
            block.insert(place, (key, value));
            return None;
        }
        if place == block.len() {
            // Where keys rise, the block behind is that of the next keys.
            self.blocks.insert(key.clone(), vec![(key, value)]);
            return None;
        }
        let fence = fence.clone();
        self.split(&fence, place, (key, value));
        None
    }

    /// Takes a row out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = (Bound::Unbounded, Bound::Included(key));
        let (fence, block) = self.blocks.range_mut(at).next_back()?;
        let place = place_of(block, key).ok()?;
        let (_, value) = block.remove(place);
        self.len -= 1;
        if block.is_empty() {
            let fence = fence.clone();
            self.blocks.remove::<K>(&fence);
        } else if block.len() < BLOCK_ROWS_MIN {
            let fence = fence.clone();
            self.join(&fence);
        }
        Some(value)
    }

    /// What the blocks take, room for rows that are not there included.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let rooms: usize = self.blocks.values().map(Vec::capacity).sum();
        rooms * size_of::<(K, V)>() + self.blocks.len() * 2 * size_of::<(K, Vec<(K, V)>)>()
    }

    /// Puts a row before all others.
    fn insert_first(&mut self, key: K, value: V) {
        self.len += 1;
        let has_room = |block: &Vec<(K, V)>| block.len() < BLOCK_ROWS_MAX;
        let mut block = match self.blocks.first_entry() {
            Some(first) if has_room(first.get()) => first.remove(),
            _ => Vec::new(),
        };
        block.insert(0, (key.clone(), value));
        self.blocks.insert(key, block);
    }

    /// Parts a full block in two, and puts a row at `place` of it.
    fn split(&mut self, fence: &K, place: usize, row: (K, V)) {
        let Some(block) = self.blocks.get_mut::<K>(fence) else { return };
        let half = block.len() / 2;
        let mut upper = block.split_off(half);
        match place.checked_sub(half) {
            Some(place) if place > 0 => upper.insert(place, row),
            _ => block.insert(place, row),
        }
        block.shrink_to_fit();
        if let Some((first, _)) = upper.first() {
            self.blocks.insert(first.clone(), upper);
        }
    }

    /// Appends a small block to the one before it, if both fit into one.
    fn join(&mut self, fence: &K) {
        let Some(small) = self.blocks.remove::<K>(fence) else { return };
        let before = self.blocks.range_mut(..fence).next_back();
        match before.filter(|(_, before)| before.len() + small.len() <= BLOCK_ROWS_MAX / 2) {
            Some((_, before)) => before.extend(small),
            None => drop(self.blocks.insert(fence.clone(), small)),
        }
    }
}

/// Where `key` is in a block, or would be.
fn place_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(block: &[(K, V)], key: &Q) -> Result<usize, usize> {
    block.binary_search_by(|(own, _)| own.borrow().cmp(key))
}

impl<K, V> Default for BlockMap<K, V> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), len: 0 }
    }
}

/// Maps of the same rows are equal, however they lie in blocks.
impl<K: Ord + Clone, V: PartialEq> PartialEq for BlockMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Eq> Eq for BlockMap<K, V> {}

impl<K: Ord + Clone + fmt::Debug, V: fmt::Debug> fmt::Debug for BlockMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, V)> for BlockMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        let mut map = Self::default();
        for (key, value) in rows {
            map.insert(key, value);
        }
        map
    }
}

/// All rows, in order of key.
impl<K: Ord + Clone, V> IntoIterator for BlockMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<std::collections::btree_map::IntoValues<K, Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.blocks.into_values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the module's text promises of the blocks.
    fn check_blocks(map: &BlockMap<u16, u32>) {
        let mut last = None;
        for (fence, block) in &map.blocks {
            assert!(!block.is_empty() && block.len() <= BLOCK_ROWS_MAX);
            assert!(last < Some(*fence), "{last:?} is not below the fence {fence}");
            for (key, _) in block {
                assert!(key >= fence && last < Some(*key));
                last = Some(*key);
            }
        }
        assert_eq!(map.len(), map.blocks.values().map(Vec::len).sum::<usize>());
    }

    proptest! {
        #[test]
        fn it_is_what_a_b_tree_of_the_same_rows_is(
            steps in prop::collection::vec((0_u16..700, 0_u8..8), 0..2_000),
            asked in prop::collection::vec(0_u16..720, 1..20),
        ) {
            let (mut map, mut model) = (BlockMap::default(), BTreeMap::new());
            for (value, (key, kind)) in (0..).zip(steps) {
                // Phases that mostly add and phases that mostly take away.
                let adds = if (value / 500) % 2 == 0 { 6 } else { 2 };
                if kind < adds {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
            }
            check_blocks(&map);
            prop_assert!(map.iter().eq(model.iter()));
            for key in asked {
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.at_or_below(&key), model.range(..=key).next_back());
                for from in [Bound::Included(&key), Bound::Excluded(&key), Bound::Unbounded] {
                    let expected = model.range((from, Bound::Unbounded));
                    prop_assert!(map.iter_from(from).eq(expected));
                }
            }
            let again: BlockMap<u16, u32> = map.clone().into_iter().collect();
            prop_assert_eq!(&again, &map);
        }
    }

    #[test]
    fn blocks_of_rising_keys_are_full() {
        let map: BlockMap<u16, u32> = (0..640).map(|key| (key, 0)).collect();
        assert_eq!(map.blocks.len(), 640 / BLOCK_ROWS_MAX);
        assert!(map.blocks.values().all(|block| block.capacity() == BLOCK_ROWS_MAX));
    }

    #[test]
    fn what_goes_gives_its_memory_back() {
        let mut map: BlockMap<u16, u32> = (0..3_200).map(|key| (key, 0)).collect();
        for key in (0..3_200).filter(|key| key % 32 != 0) {
            assert_eq!(map.remove(&key), Some(0));
        }
        assert_eq!(map.len(), 100);
        assert!(map.blocks.len() <= 40, "{} blocks for 100 rows", map.blocks.len());
    }
}
