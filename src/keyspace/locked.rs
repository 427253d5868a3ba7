//! `Locked`: shards held by one command, and the only way to the stored data.
//!
//! Hot path: no allocation for up to four shards, no logging.
use std::time::Duration;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::{Db, Keyspace, Shard};
use crate::value::table;

/// The shards that a command needs, ascending and without repeats.
#[derive(Clone, Default, Debug)]
pub enum ShardSet {
    #[default]
    None,
    Some(SmallVec<[u32; 16]>),
    All,
}

impl ShardSet {
    pub fn add(&mut self, shard: u32) {
        match self {
            ShardSet::None => *self = ShardSet::Some(SmallVec::from_slice(&[shard])),
            ShardSet::Some(v) => v.push(shard),
            ShardSet::All => {}
        }
    }

    pub fn add_all(&mut self, other: &ShardSet) {
        match other {
            ShardSet::None => {}
            ShardSet::Some(v) => v.iter().for_each(|&s| self.add(s)),
            ShardSet::All => *self = ShardSet::All,
        }
    }

    /// Sorts and drops repeats; to be called once all are added.
    pub fn seal(&mut self) {
        if let ShardSet::Some(v) = self
            && v.len() > 1
        {
            v.sort_unstable();
            v.dedup();
        }
    }
}

/// How long a worker waits for a shard that is held: a few times what a short command holds one.
const WORKER_WAIT: Duration = Duration::from_micros(50);

/// The guards, ascending by shard. A slice either way; one shard, the common case, costs no allocation.
enum Guards<'k> {
    None,
    One(MutexGuard<'k, Shard>),
    Many(Many<'k>),
}

/// Several shards. `hint` guesses a shard's place from the low bits of its number.
struct Many<'k> {
    guards: Vec<MutexGuard<'k, Shard>>,
    hint: [u8; HINTS],
}

const HINTS: usize = 64;

impl<'k> Many<'k> {
    fn new(guards: Vec<MutexGuard<'k, Shard>>) -> Self {
        let mut hint = [0; HINTS];
        for (i, g) in guards.iter().enumerate().take(HINTS) {
            hint[g.id as usize % HINTS] = i as u8;
        }
        Self { guards, hint }
    }

    fn position(&self, shard: u32) -> Option<usize> {
        let guess = usize::from(self.hint[shard as usize % HINTS]);
        if self.guards.get(guess).is_some_and(|g| g.id == shard) {
            return Some(guess);
        }
        self.guards.binary_search_by_key(&shard, |g| g.id).ok()
    }
}

impl<'k> Guards<'k> {
    fn as_slice(&self) -> &[MutexGuard<'k, Shard>] {
        match self {
            Guards::None => &[],
            Guards::One(g) => std::slice::from_ref(g),
            Guards::Many(m) => &m.guards,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [MutexGuard<'k, Shard>] {
        match self {
            Guards::None => &mut [],
            Guards::One(g) => std::slice::from_mut(g),
            Guards::Many(m) => &mut m.guards,
        }
    }

    fn insert(&mut self, at: usize, guard: MutexGuard<'k, Shard>) {
        let mut all = match std::mem::replace(self, Guards::None) {
            Guards::None => return *self = Guards::One(guard),
            Guards::One(g) => vec![g],
            Guards::Many(m) => m.guards,
        };
        all.insert(at, guard);
        *self = Guards::Many(Many::new(all));
    }
}

/// Shards held by one command.
pub struct Locked<'k> {
    ks: &'k Keyspace,
    guards: Guards<'k>,
}

impl Keyspace {
    /// Locks the shards, waiting as long as it takes: for threads that own their time.
    pub fn lock(&self, set: &ShardSet) -> Locked<'_> {
        let guards = match set {
            ShardSet::None => Guards::None,
            ShardSet::Some(v) => match v.as_slice() {
                [one] => Guards::One(self.slots[*one as usize].shard.lock()),
                v => {
                    Guards::Many(Many::new(v.iter().map(|&s| self.slots[s as usize].shard.lock()).collect()))
                }
            },
            ShardSet::All => Guards::Many(Many::new(self.slots.iter().map(|s| s.shard.lock()).collect())),
        };
        Locked { ks: self, guards }
    }

    /// Locks the shards, or nothing when one is held for long: for workers, which must go on serving others.
    pub fn try_lock(&self, set: &ShardSet) -> Option<Locked<'_>> {
        let take = |s: usize| {
            let m = &self.slots[s].shard;
            m.try_lock().or_else(|| m.try_lock_for(WORKER_WAIT))
        };
        let guards = match set {
            ShardSet::None => Guards::None,
            ShardSet::Some(v) => match v.as_slice() {
                [one] => Guards::One(take(*one as usize)?),
                v => {
                    let mut guards = Vec::with_capacity(v.len());
                    for &s in v {
                        guards.push(take(s as usize)?);
                    }
                    Guards::Many(Many::new(guards))
                }
            },
            ShardSet::All => Guards::Many(Many::new((0..self.slots.len()).map(take).collect::<Option<_>>()?)),
        };
        Some(Locked { ks: self, guards })
    }

    /// Asks for the memory of the shard of a hash: before it is locked.
    pub fn prefetch(&self, hash: u64) {
        let slot = &self.slots[self.shard_of(hash) as usize];
        table::prefetch(slot);
        // A slot is two cache lines.
        table::prefetch(std::ptr::from_ref(slot).cast::<u8>().wrapping_add(64));
    }

    /// Locks one shard by number: for walkers that visit the keyspace a shard at a time.
    pub fn lock_shard(&self, shard: u32) -> Locked<'_> {
        Locked { ks: self, guards: Guards::One(self.slots[shard as usize].shard.lock()) }
    }

    /// As `lock_shard`, but gives up when it is held for long.
    pub fn try_lock_shard(&self, shard: u32) -> Option<Locked<'_>> {
        let m = &self.slots[shard as usize].shard;
        let guard = m.try_lock().or_else(|| m.try_lock_for(WORKER_WAIT))?;
        Some(Locked { ks: self, guards: Guards::One(guard) })
    }
}

impl<'k> Locked<'k> {
    pub fn keyspace(&self) -> &'k Keyspace {
        self.ks
    }

    fn position(&self, shard: u32) -> Option<usize> {
        match &self.guards {
            Guards::None => None,
            Guards::One(g) => (g.id == shard).then_some(0),
            Guards::Many(m) if m.guards.len() == self.ks.slots.len() => Some(shard as usize),
            Guards::Many(m) => m.position(shard),
        }
    }

    pub fn holds(&self, hash: u64) -> bool {
        self.position(self.ks.shard_of(hash)).is_some()
    }

    /// Asks for the table memory that a look-up of the hash will read first.
    pub fn prefetch(&self, db: usize, hash: u64) {
        if let Some(db) = self.db(db, hash) {
            db.table().prefetch_hashed(hash);
        }
    }

    /// Asks for the entry that a look-up of the hash will find; `prefetch` came before.
    pub fn prefetch_entry(&self, db: usize, hash: u64) {
        if let Some(db) = self.db(db, hash) {
            db.table().prefetch_entry_hashed(hash);
        }
    }

    pub fn holds_shard(&self, shard: u32) -> bool {
        self.position(shard).is_some()
    }

    /// Takes one more shard if it is free. Does not wait, so no order can be violated.
    pub fn try_extend(&mut self, hash: u64) -> bool {
        let shard = self.ks.shard_of(hash);
        if self.position(shard).is_some() {
            return true;
        }
        let Some(guard) = self.ks.slots[shard as usize].shard.try_lock() else { return false };
        let at = self.guards.as_slice().partition_point(|g| g.id < shard);
        self.guards.insert(at, guard);
        true
    }

    /// Gives all shards back before the command's end: it goes on with pinned values.
    pub fn release(&mut self) {
        self.guards = Guards::None;
    }

    fn shard(&self, hash: u64) -> &Shard {
        let at = self.position(self.ks.shard_of(hash));
        &self.guards.as_slice()[at.expect("a command's keys are locked before it runs")]
    }

    /// The part of a database that holds this hash; `None` while that part was never written.
    pub fn db(&self, db: usize, hash: u64) -> Option<&Db> {
        self.shard(hash).db(db)
    }

    pub fn db_mut(&mut self, db: usize, hash: u64) -> &mut Db {
        let at = self.position(self.ks.shard_of(hash)).expect("a command's keys are locked before it runs");
        self.guards.as_mut_slice()[at].db_mut(db, self.ks.seed, self.ks.bits)
    }

    /// The database's parts in all shards held.
    pub fn parts(&self, db: usize) -> impl Iterator<Item = &Db> {
        self.guards.as_slice().iter().filter_map(move |g| g.db(db))
    }

    pub fn parts_mut(&mut self, db: usize) -> impl Iterator<Item = &mut Db> {
        let (seed, bits) = (self.ks.seed, self.ks.bits);
        self.guards.as_mut_slice().iter_mut().map(move |g| g.db_mut(db, seed, bits))
    }

    pub(super) fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.guards.as_mut_slice().iter_mut().map(|g| &mut **g)
    }

    /// Shards held, as numbers.
    pub fn shard_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.guards.as_slice().iter().map(|g| g.id)
    }

    pub fn part_of(&self, db: usize, shard: u32) -> Option<&Db> {
        self.guards.as_slice()[self.position(shard).expect("the shard is held")].db(db)
    }

    pub fn part_of_mut(&mut self, db: usize, shard: u32) -> &mut Db {
        let at = self.position(shard).expect("the shard is held");
        self.guards.as_mut_slice()[at].db_mut(db, self.ks.seed, self.ks.bits)
    }

    /// Exchanges two databases; all shards must be held.
    pub fn swap_dbs(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        let (a, b) = (a.min(b), a.max(b));
        for g in self.guards.as_mut_slice() {
            if g.db(a).is_none() && g.db(b).is_none() {
                continue;
            }
            let era = g.era;
            let mut taken = std::mem::replace(
                g.db_mut(b, self.ks.seed, self.ks.bits),
                Db::new(self.ks.seed, self.ks.bits, era),
            );
            taken.swap_contents(g.db_mut(a, self.ks.seed, self.ks.bits));
            std::mem::swap(g.db_mut(b, self.ks.seed, self.ks.bits), &mut taken);
        }
    }
}
