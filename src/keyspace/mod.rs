//! Level 2: databases, shards, expiry, watches, waiters, locking. Only this folder exposes stored data.
//! Must not know commands or I/O.
//!
//! The keyspace is 2^k shards, each behind its own mutex on its own cache line. One seeded hash of the key gives the
//! shard (its top k bits) and the place in the shard's tables (the rest). A shard holds, for every database, the
//! table, the expiry heap, the watches and the waiters of its keys, so one lock covers all that a command on a key must
//! touch.
//!
//! **Lock order.** Whoever waits for a shard holds only shards of lower numbers, everyone, always; without waiting one may
//! be taken in any order. A thread that must not block (a worker) uses `try_lock_keys`, which waits a bounded time and
//! then gives everything back. No other lock of the server is held while waiting for a shard.
mod db;
mod expiry;
mod locked;
mod snapshot;
mod waiter;

pub use db::{CellMut, Db, Watch};
pub use locked::{KEYS_MAX, KeyPlace, Locked, Seat, ShardSet};
pub use snapshot::Capture;
pub use waiter::{Waiter, WaiterState};

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::value::table;

/// Two cache lines a shard: what every command reads is in the first, what writes read besides in the second.
#[repr(align(128))]
struct Slot {
    shard: Mutex<Shard>,
}

const _: () = assert!(size_of::<Slot>() == 128);

/// The databases' parts that fall into one shard. In this order: what every command reads is in its first cache lines.
#[repr(C)]
pub struct Shard {
    id: u32,
    era: u8,
    /// Database 0 in place, as nearly everyone uses only that one.
    first: Db,
    rest: Option<Box<Rest>>,
}

/// Those from database 1 on.
#[derive(Default)]
struct Rest(Vec<Option<Box<Db>>>);

impl Shard {
    #[inline]
    fn db(&self, db: usize) -> Option<&Db> {
        if db == 0 { Some(&self.first) } else { self.rest.as_ref()?.0.get(db - 1)?.as_deref() }
    }

    #[inline]
    fn db_mut(&mut self, db: usize, seed: u64, bits: u32) -> &mut Db {
        if db == 0 {
            return &mut self.first;
        }
        let (era, rest) = (self.era, &mut self.rest.get_or_insert_default().0);
        if rest.len() < db {
            rest.reserve_exact(db - rest.len());
            rest.resize_with(db, || None);
        }
        rest[db - 1].get_or_insert_with(|| Box::new(Db::new(seed, bits, era)))
    }

    fn parts(&self) -> impl Iterator<Item = &Db> {
        let rest = self.rest.iter().flat_map(|rest| rest.0.iter().flatten().map(|db| &**db));
        std::iter::once(&self.first).chain(rest)
    }

    /// All databases' parts that exist, with their numbers.
    fn parts_mut(&mut self) -> impl Iterator<Item = (usize, &mut Db)> {
        let rest = self.rest.iter_mut().flat_map(|rest| rest.0.iter_mut().enumerate());
        let rest = rest.filter_map(|(i, db)| Some((i + 1, &mut **db.as_mut()?)));
        std::iter::once((0, &mut self.first)).chain(rest)
    }
}

/// A shard that is to hold fewer keys grows as they come.
const RESERVE_MIN: usize = 16;

/// All databases of one server.
pub struct Keyspace {
    slots: Box<[Slot]>,
    bits: u32,
    seed: u64,
    hasher: table::Hasher,
    databases: usize,
    opened: Box<[AtomicBool]>,
}

impl Keyspace {
    /// `shards` is rounded up to a power of two; `seed` keys the hash.
    pub fn new(shards: usize, databases: usize, seed: u64) -> Self {
        let bits = shards.max(1).next_power_of_two().trailing_zeros();
        let slots = (0..1u32 << bits)
            .map(|id| Slot {
                shard: Mutex::new(Shard { first: Db::new(seed, bits, 0), rest: None, id, era: 0 }),
            })
            .collect();
        let opened = (0..databases).map(|_| AtomicBool::new(false)).collect();
        Self { slots, bits, seed, hasher: table::Hasher::new(seed), databases, opened }
    }

    pub fn databases(&self) -> usize {
        self.databases
    }

    pub fn shards(&self) -> usize {
        self.slots.len()
    }

    /// Makes all parts of a database that is about to be used: what its keys take is then theirs alone. The caller holds
    /// no shard.
    pub fn open(&self, db: usize) {
        if db > 0 && !self.opened[db].swap(true, Ordering::Relaxed) {
            for slot in &self.slots {
                slot.shard.lock().db_mut(db, self.seed, self.bits);
            }
        }
    }

    /// Makes room for about so many keys of a database: before it is filled.
    pub fn reserve(&self, db: usize, keys: usize) {
        let share = keys / self.slots.len();
        if share > RESERVE_MIN {
            for slot in &self.slots {
                slot.shard.lock().db_mut(db, self.seed, self.bits).table.reserve(share);
            }
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    #[inline]
    pub fn shard_of(&self, hash: u64) -> u32 {
        // In two steps, as one of 64 bits there is none.
        (hash >> 1 >> (63 - self.bits)) as u32
    }
}
