//! The expiry heap: a binary heap over the addresses of a database's cells that have a TTL, soonest first. Each such
//! cell knows its place, so a TTL can be changed or dropped in O(log n), and a pointer a key is all that it costs.
//!
//! A second one, of the same code, has the hashes some of whose fields have a TTL, by when the soonest of those expires:
//! whatever is asked about keys with a TTL need not know of it.
//!
//! Invariant: `heap[i]` is the address of a live cell with an expiry whose slot is `i`. `Db` keeps it: a cell that
//! moves, dies or changes its TTL is told here before the shard's lock is released.
#![allow(unsafe_code)]

use crate::value::cell::{Cell, CellAddress};

#[derive(Default)]
pub(super) struct ExpiryHeap<const OF_FIELDS: bool>(Vec<CellAddress>);

impl<const OF_FIELDS: bool> ExpiryHeap<OF_FIELDS> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn mem_bytes(&self) -> usize {
        self.0.capacity() * size_of::<CellAddress>()
    }

    /// When the soonest expires, and its key.
    pub(super) fn first(&self) -> Option<(u64, &[u8])> {
        // SAFETY: the invariant: every address in the heap is a live cell with an expiry; the key is borrowed no
        // longer than `self`, and cells are dropped only with the database borrowed mutably.
        self.0.first().map(|a| unsafe { (a.expire_ms::<OF_FIELDS>(), a.key()) })
    }

    /// The key at place `i`, for random sampling.
    pub(super) fn key_at(&self, i: usize) -> Option<&[u8]> {
        // SAFETY: as `first`.
        self.0.get(i).map(|a| unsafe { a.key() })
    }

    fn push(&mut self, cell: CellAddress) {
        if self.0.len() == self.0.capacity() {
            // An eighth more, not double: a byte a key is worth more here than the rare copy.
            self.0.reserve_exact((self.0.len() / 8).max(4));
        }
        self.0.push(cell);
        self.up(self.0.len() - 1);
    }

    /// Takes out place `i` without looking at its cell, which may be gone.
    fn remove(&mut self, i: usize) {
        self.0.swap_remove(i);
        if i < self.0.len() {
            self.changed(i);
        }
        if self.0.capacity() > 16 && self.0.len() * 2 < self.0.capacity() {
            self.0.shrink_to(self.0.len() + self.0.len() / 8);
        }
    }

    /// The cell at place `i` now lives at `cell`, and its expiry may have changed.
    fn moved(&mut self, i: usize, cell: CellAddress) {
        self.0[i] = cell;
        self.changed(i);
    }

    fn changed(&mut self, i: usize) {
        if i > 0 && self.at(i) < self.at((i - 1) / 2) {
            self.up(i);
        } else {
            self.down(i);
        }
    }

    fn at(&self, i: usize) -> u64 {
        // SAFETY: the invariant.
        unsafe { self.0[i].expire_ms::<OF_FIELDS>() }
    }

    fn place(&mut self, i: usize) {
        // SAFETY: the invariant.
        unsafe { self.0[i].set_slot::<OF_FIELDS>(i as u32) }
    }

    fn up(&mut self, mut i: usize) {
        while i > 0 {
            let parent = (i - 1) / 2;
            if self.at(parent) <= self.at(i) {
                break;
            }
            self.0.swap(i, parent);
            self.place(i);
            i = parent;
        }
        self.place(i);
    }

    fn down(&mut self, mut i: usize) {
        loop {
            let mut child = 2 * i + 1;
            if child >= self.0.len() {
                break;
            }
            if child + 1 < self.0.len() && self.at(child + 1) < self.at(child) {
                child += 1;
            }
            if self.at(i) <= self.at(child) {
                break;
            }
            self.0.swap(i, child);
            self.place(i);
            i = child;
        }
        self.place(i);
    }

    /// After a cell was borrowed for writing: puts right what has changed about it. `was` and `at` are what its slot and
    /// address were before.
    #[inline]
    pub(super) fn mend(&mut self, cell: &mut Cell, was: Option<(u64, u32)>, at: CellAddress) {
        match (was, cell.slot::<OF_FIELDS>()) {
            (None, None) => {}
            (Some((ms, slot)), Some((now, _))) => {
                if ms != now || cell.address() != at {
                    cell.set_expire_slot::<OF_FIELDS>(slot);
                    self.moved(slot as usize, cell.address());
                }
            }
            (Some((_, slot)), None) => self.remove(slot as usize),
            (None, Some(_)) => self.push(cell.address()),
        }
    }

    /// A cell has come.
    #[inline]
    pub(super) fn enter(&mut self, cell: &Cell) {
        if cell.slot::<OF_FIELDS>().is_some() {
            self.push(cell.address());
        }
    }

    /// A cell has been taken out.
    #[inline]
    pub(super) fn leave(&mut self, cell: &mut Cell) {
        if let Some((_, slot)) = cell.slot::<OF_FIELDS>() {
            self.remove(slot as usize);
            // Whatever becomes of the cell, its slot no longer means anything.
            cell.set_expire_slot::<OF_FIELDS>(0);
        }
    }
}
