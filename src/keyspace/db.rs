//! One database's part in one shard.
use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::expiry::ExpiryHeap;
use super::snapshot::Cut;
use super::waiter::Waiter;
use crate::value::cell::{Cell, CellAddress};
use crate::value::table::Table;

/// A client's watch over its WATCHed keys: set when one of them is changed.
#[derive(Default, Debug)]
pub struct Watch(AtomicBool);

impl Watch {
    pub fn broken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub fn break_it(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Something about a few keys; boxed because nearly every shard has none.
type ByKey<T> = Option<Box<HashMap<Box<[u8]>, T>>>;

/// What expires, soonest first.
#[derive(Default)]
struct Expiry {
    keys: ExpiryHeap<false>,
    /// Hashes, by their fields.
    fields: ExpiryHeap<true>,
}

/// The keys of one database that fall into one shard. In this order: what every command reads comes first.
#[repr(C)]
pub struct Db {
    /// None until the first key, or field, with a TTL.
    expiry: Option<Box<Expiry>>,
    pub(super) table: Table<Cell>,
    /// That of every cell which was changed since the last cut.
    pub(super) era: u8,
    /// While cells of the last cut may be left.
    pub(super) cut: Option<Box<Cut>>,
    watches: ByKey<Vec<Arc<Watch>>>,
    waiters: ByKey<VecDeque<Arc<Waiter>>>,
}

impl Db {
    pub(super) fn new(seed: u64, bits: u32, era: u8) -> Self {
        Self {
            expiry: None,
            table: Table::with_prefix_bits(seed, bits),
            era,
            cut: None,
            watches: None,
            waiters: None,
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys with a TTL.
    pub fn volatile_len(&self) -> usize {
        self.expiry.as_ref().map_or(0, |e| e.keys.len())
    }

    /// Hashes of which a field has a TTL.
    pub fn field_volatile_len(&self) -> usize {
        self.expiry.as_ref().map_or(0, |e| e.fields.len())
    }

    /// Whether anything here may have a TTL.
    #[inline]
    pub fn may_expire(&self) -> bool {
        self.expiry.is_some()
    }

    pub fn table(&self) -> &Table<Cell> {
        &self.table
    }

    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&Cell> {
        self.table.get_hashed(hash, key)
    }

    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<CellMut<'_>> {
        let cell = self.table.get_mut_hashed(hash, key)?;
        Self::capture(&self.cut, self.era, cell);
        Some(CellMut {
            before: (cell.address(), cell.expiry(), cell.field_expiry()),
            cell,
            expiry: &mut self.expiry,
            era: self.era,
        })
    }

    /// Adds a cell whose key is absent.
    pub fn insert(&mut self, hash: u64, cell: Cell) {
        cell.set_era(self.era);
        if cell.is_volatile() {
            let expiry = self.expiry.get_or_insert_default();
            expiry.keys.enter(&cell);
            expiry.fields.enter(&cell);
        }
        self.table.insert_new_hashed(hash, cell);
    }

    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Cell> {
        let mut cell = self.table.remove_hashed(hash, key)?;
        Self::capture(&self.cut, self.era, &cell);
        if cell.is_volatile()
            && let Some(expiry) = &mut self.expiry
        {
            expiry.keys.leave(&mut cell);
            expiry.fields.leave(&mut cell);
        }
        Some(cell)
    }

    /// The key that expires first, and when (Unix ms).
    pub fn soonest(&self) -> Option<(u64, &[u8])> {
        self.expiry.as_ref()?.keys.first()
    }

    /// The hash of which a field expires first, and when.
    pub fn soonest_fields(&self) -> Option<(u64, &[u8])> {
        self.expiry.as_ref()?.fields.first()
    }

    /// Whether a key, or a field of a hash, has expired by `now` (Unix ms).
    #[inline]
    pub fn is_due(&self, now: u64) -> bool {
        let Some(expiry) = &self.expiry else { return false };
        let due = |soonest: Option<(u64, &[u8])>| soonest.is_some_and(|(at, _)| at <= now);
        due(expiry.keys.first()) || due(expiry.fields.first())
    }

    /// The `i`th key with a TTL, in no particular order.
    pub fn volatile_key(&self, i: usize) -> Option<&[u8]> {
        self.expiry.as_ref()?.keys.key_at(i)
    }

    /// Empties the database; the caller drops the table where it likes. A snapshot under way keeps it for itself.
    /// Watches and waiters stay.
    pub fn take_all(&mut self) -> Table<Cell> {
        self.expiry = None;
        let (seed, bits) = (self.table.seed(), self.table.prefix_bits());
        let empty = || Table::with_prefix_bits(seed, bits);
        let table = std::mem::replace(&mut self.table, empty());
        self.offer(table).unwrap_or_else(empty)
    }

    /// Exchanges the contents with `other` (SWAPDB); watches and waiters stay with the index.
    pub fn swap_contents(&mut self, other: &mut Db) {
        std::mem::swap(&mut self.table, &mut other.table);
        std::mem::swap(&mut self.expiry, &mut other.expiry);
        std::mem::swap(&mut self.cut, &mut other.cut);
    }

    /// Table and index bytes, without the cells.
    pub fn overhead_bytes(&self) -> usize {
        let expiry = self
            .expiry
            .as_ref()
            .map_or(0, |e| size_of::<Expiry>() + e.keys.mem_bytes() + e.fields.mem_bytes());
        self.table.mem_bytes() + expiry
    }

    pub fn watch(&mut self, key: &[u8], watch: &Arc<Watch>) {
        self.watches.get_or_insert_default().entry(key.into()).or_default().push(watch.clone());
    }

    pub fn unwatch(&mut self, key: &[u8], watch: &Arc<Watch>) {
        let Some(all) = &mut self.watches else { return };
        if let Some(list) = all.get_mut(key) {
            list.retain(|w| !Arc::ptr_eq(w, watch));
            if list.is_empty() {
                all.remove(key);
            }
        }
        if all.is_empty() {
            self.watches = None;
        }
    }

    /// Breaks the watches on a changed key.
    pub fn touch(&self, key: &[u8]) {
        if let Some(all) = &self.watches
            && let Some(list) = all.get(key)
        {
            list.iter().for_each(|w| w.break_it());
        }
    }

    pub fn watched_keys(&self) -> impl Iterator<Item = (&[u8], &[Arc<Watch>])> {
        self.watches.iter().flat_map(|m| m.iter()).map(|(k, w)| (&**k, w.as_slice()))
    }

    pub fn add_waiter(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let queue = self.waiters.get_or_insert_default().entry(key.into()).or_default();
        if !queue.iter().any(|w| Arc::ptr_eq(w, waiter)) {
            queue.push_back(waiter.clone());
        }
    }

    pub fn remove_waiter(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let Some(all) = &mut self.waiters else { return };
        if let Some(queue) = all.get_mut(key) {
            queue.retain(|w| !Arc::ptr_eq(w, waiter));
            if queue.is_empty() {
                all.remove(key);
            }
        }
        if all.is_empty() {
            self.waiters = None;
        }
    }

    pub fn has_waiters(&self, key: &[u8]) -> bool {
        self.waiters.as_ref().is_some_and(|m| m.contains_key(key))
    }

    /// The `i`th waiter of a key, oldest first.
    pub fn waiter(&self, key: &[u8], i: usize) -> Option<&Arc<Waiter>> {
        self.waiters.as_ref()?.get(key)?.get(i)
    }

    /// All keys that someone waits for.
    pub fn awaited_keys(&self) -> Vec<Box<[u8]>> {
        self.waiters.as_ref().map(|m| m.keys().cloned().collect()).unwrap_or_default()
    }
}

/// What a cell has of an expiry heap: when, and its place there.
type Slot = Option<(u64, u32)>;

/// A cell borrowed for writing. Whatever is done to the cell, the expiry heap is put right when this is dropped.
pub struct CellMut<'a> {
    cell: &'a mut Cell,
    expiry: &'a mut Option<Box<Expiry>>,
    era: u8,
    before: (CellAddress, Slot, Slot),
}

impl CellMut<'_> {
    /// Sets or clears the TTL, Unix milliseconds.
    pub fn set_expire_ms(&mut self, at: Option<u64>) {
        let slot = self.cell.expiry().map_or(0, |(_, slot)| slot);
        self.cell.set_expiry(at.map(|ms| (ms, slot)));
    }
}

impl Deref for CellMut<'_> {
    type Target = Cell;

    fn deref(&self) -> &Cell {
        self.cell
    }
}

impl DerefMut for CellMut<'_> {
    fn deref_mut(&mut self) -> &mut Cell {
        self.cell
    }
}

impl Drop for CellMut<'_> {
    fn drop(&mut self) {
        // The cell may have been replaced by a new one.
        self.cell.set_era(self.era);
        let (address, expiry, field_expiry) = self.before;
        if self.cell.is_volatile() || expiry.is_some() || field_expiry.is_some() {
            let heaps = self.expiry.get_or_insert_default();
            heaps.keys.mend(self.cell, expiry, address);
            heaps.fields.mend(self.cell, field_expiry, address);
        }
    }
}
