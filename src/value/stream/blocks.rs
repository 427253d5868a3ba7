//! A stream's blocks in the order of their ids. The last one grows and stands apart; the others are of exactly their
//! size, in leaves of some dozens.
//!
//! Invariants: no leaf is empty; masters ascend; a live entry's id is at least its block's master and below the next
//! one's; there is a tail unless there is no block at all. Everything is counted, so `clone` is a pin: a writer copies
//! the leaf and the block that it touches, and the list of leaves once.
use triomphe::Arc;

use super::block::Block;
use super::id::StreamId;
use crate::base::alloc::size_class;

/// Blocks in a leaf.
const LEAF: usize = 64;

type Sealed = (StreamId, Arc<[u8]>);
type Leaf = Vec<Sealed>;

#[derive(Clone, Default)]
pub(super) struct Blocks {
    leaves: Arc<Vec<Arc<Leaf>>>,
    tail: Option<(StreamId, Arc<Vec<u8>>)>,
    /// Sealed blocks.
    sealed: usize,
    mem: usize,
}

/// Where a block is; past the last leaf stands the tail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    leaf: usize,
    i: usize,
}

impl Place {
    pub(super) const FIRST: Place = Place { leaf: 0, i: 0 };
}

fn sealed_mem(bytes: &[u8]) -> usize {
    size_class(bytes.len() + 8) + size_of::<Sealed>()
}

impl Blocks {
    /// Blocks in all.
    pub(super) fn len(&self) -> usize {
        self.sealed + usize::from(self.tail.is_some())
    }

    pub(super) fn mem_bytes(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, |(_, bytes)| 32 + size_class(bytes.capacity()));
        self.mem + tail + self.leaves.capacity() * 8
    }

    pub(super) fn get(&self, place: Place) -> Option<Block<'_>> {
        match self.leaves.get(place.leaf) {
            Some(leaf) => leaf.get(place.i).map(|(master, bytes)| Block::new(*master, bytes)),
            None if place.leaf == self.leaves.len() && place.i == 0 => self.last(),
            None => None,
        }
    }

    pub(super) fn last(&self) -> Option<Block<'_>> {
        self.tail.as_ref().map(|(master, bytes)| Block::new(*master, bytes))
    }

    /// The place of the last block.
    pub(super) fn last_place(&self) -> Place {
        Place { leaf: self.leaves.len(), i: 0 }
    }

    pub(super) fn after(&self, place: Place) -> Place {
        match self.leaves.get(place.leaf) {
            Some(leaf) if place.i + 1 < leaf.len() => Place { i: place.i + 1, ..place },
            _ => Place { leaf: place.leaf + 1, i: 0 },
        }
    }

    pub(super) fn before(&self, place: Place) -> Option<Place> {
        if let Some(i) = place.i.checked_sub(1) {
            return Some(Place { i, ..place });
        }
        let leaf = place.leaf.checked_sub(1)?;
        Some(Place { leaf, i: self.leaves.get(leaf)?.len().checked_sub(1)? })
    }

    /// The block that would hold the id: the last one whose master is not above it, or else the first.
    pub(super) fn seek(&self, id: StreamId) -> Place {
        if self.tail.as_ref().is_none_or(|(master, _)| *master <= id) {
            return self.last_place();
        }
        let above = self.leaves.partition_point(|leaf| leaf.first().is_some_and(|(master, _)| *master <= id));
        let Some(leaf) = above.checked_sub(1) else { return Place::FIRST };
        let i = self.leaves[leaf].partition_point(|(master, _)| *master <= id);
        Place { leaf, i: i.saturating_sub(1) }
    }

    /// Blocks from one place to a later one, or somewhat more.
    pub(super) fn distance(&self, from: Place, to: Place) -> usize {
        if from.leaf == to.leaf {
            to.i.saturating_sub(from.i)
        } else {
            to.leaf.saturating_sub(from.leaf) * LEAF + to.i
        }
    }

    /// The growing block.
    pub(super) fn tail_mut(&mut self) -> Option<(StreamId, &mut Vec<u8>)> {
        self.tail.as_mut().map(|(master, bytes)| (*master, Arc::make_mut(bytes)))
    }

    /// Makes this the growing block; the one before is sealed.
    pub(super) fn push(&mut self, master: StreamId, bytes: Vec<u8>) {
        let Some((old, sealed)) = self.tail.replace((master, Arc::new(bytes))) else { return };
        self.mem += sealed_mem(&sealed);
        self.sealed += 1;
        let sealed = (old, Arc::from(&sealed[..]));
        let leaves = Arc::make_mut(&mut self.leaves);
        match leaves.last_mut().filter(|leaf| leaf.len() < LEAF) {
            Some(leaf) => Arc::make_mut(leaf).push(sealed),
            None => {
                let mut leaf = Vec::with_capacity(if leaves.is_empty() { 1 } else { LEAF });
                leaf.push(sealed);
                leaves.push(Arc::new(leaf));
            }
        }
    }

    /// Takes a block out.
    pub(super) fn remove(&mut self, place: Place) {
        if place.leaf < self.leaves.len() {
            self.take_sealed(place);
            return;
        }
        self.tail = None;
        // The one before it grows from now on.
        if let Some(before) = self.before(self.last_place()) {
            let taken = self.take_sealed(before);
            self.tail = taken.map(|(master, bytes)| (master, Arc::new(bytes.to_vec())));
        }
    }

    fn take_sealed(&mut self, place: Place) -> Option<Sealed> {
        let leaves = Arc::make_mut(&mut self.leaves);
        let leaf = Arc::make_mut(leaves.get_mut(place.leaf)?);
        if place.i >= leaf.len() {
            return None;
        }
        let taken = leaf.remove(place.i);
        if leaf.is_empty() {
            leaves.remove(place.leaf);
        } else if let Some([left, right]) = leaves.get_mut(place.leaf..place.leaf + 2)
            && left.len() + right.len() <= LEAF / 2
        {
            Arc::make_mut(left).extend_from_slice(right);
            leaves.remove(place.leaf + 1);
        }
        self.mem -= sealed_mem(&taken.1);
        self.sealed -= 1;
        Some(taken)
    }

    /// Edits a block in place.
    pub(super) fn edit<R>(&mut self, place: Place, f: impl FnOnce(StreamId, &mut Vec<u8>) -> R) -> Option<R> {
        if place.leaf >= self.leaves.len() {
            return self.tail_mut().map(|(master, bytes)| f(master, bytes));
        }
        let leaf = Arc::make_mut(Arc::make_mut(&mut self.leaves).get_mut(place.leaf)?);
        let (master, sealed) = leaf.get_mut(place.i)?;
        let mut bytes = sealed.to_vec();
        let result = f(*master, &mut bytes);
        match Arc::get_mut(sealed).filter(|own| own.len() == bytes.len()) {
            Some(own) => own.copy_from_slice(&bytes),
            None => {
                self.mem = self.mem - sealed_mem(sealed) + sealed_mem(&bytes);
                *sealed = Arc::from(&bytes[..]);
            }
        }
        Some(result)
    }

    /// Gives back the growing block's spare room.
    pub(super) fn shrink(&mut self) {
        if let Some((_, bytes)) = self.tail_mut() {
            bytes.shrink_to_fit();
        }
    }
}
