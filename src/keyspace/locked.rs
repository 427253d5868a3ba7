//! `Locked`: shards held by one command, and the only way to the stored data.
//!
//! Hot path: no allocation for up to four shards, no logging.
use std::time::Duration;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::{Db, Keyspace, Shard, Slot};
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

/// The guards. A slice either way; one shard, the common case, costs no allocation.
enum Guards<'k> {
    None,
    One(MutexGuard<'k, Shard>),
    Many(Many<'k>),
}

/// Several shards: ascending, or at most [`KEYS_MAX`] in the order in which they came to be needed.
struct Many<'k> {
    guards: Vec<MutexGuard<'k, Shard>>,
    ascending: bool,
    /// Guesses a shard's place from the low bits of its number.
    hint: [u8; HINTS],
}

const HINTS: usize = 64;

impl<'k> Many<'k> {
    fn with_capacity(n: usize) -> Self {
        Self { guards: Vec::with_capacity(n), ascending: true, hint: [0; HINTS] }
    }

    /// Adds a shard behind those that are there.
    #[inline]
    fn push(&mut self, guard: MutexGuard<'k, Shard>) {
        self.ascending &= self.guards.last().is_none_or(|last| last.id < guard.id);
        self.hint[guard.id as usize % HINTS] = self.guards.len() as u8;
        self.guards.push(guard);
    }

    #[inline]
    fn position(&self, shard: u32) -> Option<usize> {
        let guess = usize::from(self.hint[shard as usize % HINTS]);
        if self.guards.get(guess).is_some_and(|g| g.id == shard) {
            return Some(guess);
        }
        if self.ascending {
            return self.guards.binary_search_by_key(&shard, |g| g.id).ok();
        }
        self.guards.iter().position(|g| g.id == shard)
    }
}

impl<'k> Guards<'k> {
    #[inline]
    fn as_slice(&self) -> &[MutexGuard<'k, Shard>] {
        match self {
            Guards::None => &[],
            Guards::One(g) => std::slice::from_ref(g),
            Guards::Many(m) => &m.guards,
        }
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [MutexGuard<'k, Shard>] {
        match self {
            Guards::None => &mut [],
            Guards::One(g) => std::slice::from_mut(g),
            Guards::Many(m) => &mut m.guards,
        }
    }

    fn insert(&mut self, guard: MutexGuard<'k, Shard>) {
        let mut all = match std::mem::replace(self, Guards::None) {
            Guards::None => return *self = Guards::One(guard),
            Guards::One(g) => vec![g],
            Guards::Many(m) => m.guards,
        };
        all.push(guard);
        all.sort_unstable_by_key(|g| g.id);
        let mut many = Many::with_capacity(all.len());
        all.into_iter().for_each(|guard| many.push(guard));
        *self = Guards::Many(many);
    }
}

/// A shard's place among those held, as far as known: shards that are added shift those behind them.
#[derive(Clone, Copy)]
pub struct Seat(u32);

impl Seat {
    pub const FIRST: Seat = Seat(0);
}

/// Where a key is: its hash, and where its shard stands among those held, as far as known.
#[derive(Clone, Copy)]
pub struct KeyPlace {
    pub hash: u64,
    pub seat: Seat,
}

impl KeyPlace {
    #[inline]
    pub const fn new(hash: u64) -> Self {
        Self { hash, seat: Seat::FIRST }
    }
}

/// As many keys' shards are locked as one group at most, so that it holds them for some microseconds only.
pub const KEYS_MAX: usize = 64;

/// Shards held by one command.
pub struct Locked<'k> {
    ks: &'k Keyspace,
    guards: Guards<'k>,
}

impl Slot {
    #[inline]
    fn try_lock(&self) -> Option<MutexGuard<'_, Shard>> {
        self.shard.try_lock().or_else(|| self.shard.try_lock_for(WORKER_WAIT))
    }
}

impl Keyspace {
    /// Locks the shards, waiting as long as it takes: for threads that own their time.
    pub fn lock<'k>(&'k self, set: &ShardSet) -> Locked<'k> {
        let lock = |slot: &'k Slot| Some(slot.shard.lock());
        self.take(set, lock).expect("who waits as long as it takes gets them all")
    }

    /// Locks the shards, or nothing when one is held for long: for workers, which must go on serving others.
    pub fn try_lock(&self, set: &ShardSet) -> Option<Locked<'_>> {
        self.take(set, Slot::try_lock)
    }

    #[inline]
    fn take<'k>(
        &'k self,
        set: &ShardSet,
        lock: impl Fn(&'k Slot) -> Option<MutexGuard<'k, Shard>>,
    ) -> Option<Locked<'k>> {
        let many = |slots: &mut dyn ExactSizeIterator<Item = &'k Slot>| {
            let mut many = Many::with_capacity(slots.len());
            for slot in slots {
                many.push(lock(slot)?);
            }
            Some(Guards::Many(many))
        };
        let guards = match set {
            ShardSet::None => Guards::None,
            ShardSet::Some(v) => match v.as_slice() {
                [one] => Guards::One(lock(&self.slots[*one as usize])?),
                v => many(&mut v.iter().map(|&s| &self.slots[s as usize]))?,
            },
            ShardSet::All => many(&mut self.slots.iter())?,
        };
        Some(Locked { ks: self, guards })
    }

    /// Locks the shards of these keys' hashes, or nothing when one is held for long; asks for the memory that looking
    /// them up in the database will read, so that the cache misses overlap. `prefetch` came before. The keys learn their
    /// seats. At most [`KEYS_MAX`] keys.
    pub fn try_lock_keys(&self, db: usize, keys: &mut [KeyPlace]) -> Option<Locked<'_>> {
        let locked = match self.take_free(db, keys) {
            Some(many) => Locked { ks: self, guards: Guards::Many(many) },
            None => self.try_lock_in_order(keys)?,
        };
        for key in &*keys {
            if let Some(db) = locked.db_at(key.seat, db) {
                db.table.prefetch_entry_hashed(key.hash);
            }
        }
        Some(locked)
    }

    /// The shards of the keys as they come, without waiting for any: so no order is needed.
    #[inline]
    fn take_free(&self, db: usize, keys: &mut [KeyPlace]) -> Option<Many<'_>> {
        let mut many = Many::with_capacity(keys.len());
        for key in keys {
            let shard = self.shard_of(key.hash);
            let at = match self.slots[shard as usize].shard.try_lock() {
                Some(guard) => {
                    many.push(guard);
                    many.guards.len() - 1
                }
                // Held by others, or for a key before this one.
                None => many.position(shard)?,
            };
            key.seat = Seat(at as u32);
            if let Some(db) = many.guards[at].db(db) {
                db.table.prefetch_hashed(key.hash);
            }
        }
        Some(many)
    }

    /// The shards of the keys, waiting for those that are held; for that, in ascending order.
    #[cold]
    fn try_lock_in_order(&self, keys: &mut [KeyPlace]) -> Option<Locked<'_>> {
        let mut set = ShardSet::None;
        keys.iter().for_each(|key| set.add(self.shard_of(key.hash)));
        set.seal();
        let locked = self.try_lock(&set)?;
        keys.iter_mut().for_each(|key| key.seat = locked.seat(key.hash, Seat::FIRST));
        Some(locked)
    }

    /// Asks for the memory of the shard of a hash: before it is locked.
    #[inline]
    pub fn prefetch(&self, hash: u64, write: bool) {
        let slot = &self.slots[self.shard_of(hash) as usize];
        table::prefetch(slot);
        if write {
            table::prefetch(std::ptr::from_ref(slot).cast::<u8>().wrapping_add(64));
        }
    }

    /// Whether something in a shard has expired by `now` (Unix ms); `None` when the shard is held for long.
    pub fn is_due(&self, shard: u32, now: u64) -> Option<bool> {
        let shard = self.slots[shard as usize].try_lock()?;
        Some(shard.parts().any(|db| db.is_due(now)))
    }

    /// Locks one shard by number: for walkers that visit the keyspace a shard at a time.
    pub fn lock_shard(&self, shard: u32) -> Locked<'_> {
        Locked { ks: self, guards: Guards::One(self.slots[shard as usize].shard.lock()) }
    }

    /// As `lock_shard`, but gives up when it is held for long.
    pub fn try_lock_shard(&self, shard: u32) -> Option<Locked<'_>> {
        let guard = self.slots[shard as usize].try_lock()?;
        Some(Locked { ks: self, guards: Guards::One(guard) })
    }
}

impl<'k> Locked<'k> {
    pub fn keyspace(&self) -> &'k Keyspace {
        self.ks
    }

    #[inline]
    fn position(&self, shard: u32) -> Option<usize> {
        match &self.guards {
            Guards::None => None,
            Guards::One(g) => (g.id == shard).then_some(0),
            Guards::Many(m) if m.ascending && m.guards.len() == self.ks.slots.len() => Some(shard as usize),
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
        self.guards.insert(guard);
        true
    }

    /// Gives all shards back before the command's end: it goes on with pinned values.
    pub fn release(&mut self) {
        self.guards = Guards::None;
    }

    fn shard(&self, hash: u64) -> &Shard {
        &self.guards.as_slice()[self.seat(hash, Seat::FIRST).0 as usize]
    }

    /// Where the shard of this hash stands among those held, for several look-ups of one key; a guess spares the search.
    #[inline]
    pub fn seat(&self, hash: u64, guess: Seat) -> Seat {
        let shard = self.ks.shard_of(hash);
        if self.guards.as_slice().get(guess.0 as usize).is_some_and(|g| g.id == shard) {
            return guess;
        }
        Seat(self.position(shard).expect("a command's keys are locked before it runs") as u32)
    }

    /// As `db`, of a hash whose seat is known.
    #[inline]
    pub fn db_at(&self, seat: Seat, db: usize) -> Option<&Db> {
        match &self.guards {
            Guards::One(shard) => shard.db(db),
            guards => guards.as_slice()[seat.0 as usize].db(db),
        }
    }

    #[inline]
    pub fn db_mut_at(&mut self, seat: Seat, db: usize) -> &mut Db {
        self.guards.as_mut_slice()[seat.0 as usize].db_mut(db, self.ks.seed, self.ks.bits)
    }

    /// The part of a database that holds this hash; `None` while that part was never written.
    pub fn db(&self, db: usize, hash: u64) -> Option<&Db> {
        self.shard(hash).db(db)
    }

    pub fn db_mut(&mut self, db: usize, hash: u64) -> &mut Db {
        self.db_mut_at(self.seat(hash, Seat::FIRST), db)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::base::rng::Rng;

    fn places(hashes: &[u64]) -> Vec<KeyPlace> {
        hashes.iter().map(|&hash| KeyPlace::new(hash)).collect()
    }

    /// Every key's seat is its shard's, and so is what a search finds, whatever came in between.
    fn check(ks: &Keyspace, locked: &Locked<'_>, keys: &[KeyPlace]) {
        for key in keys {
            let shard = ks.shard_of(key.hash);
            let ids: Vec<u32> = locked.shard_ids().collect();
            assert_eq!(ids[key.seat.0 as usize], shard);
            assert_eq!(locked.position(shard), Some(key.seat.0 as usize));
            assert!(locked.holds(key.hash));
        }
    }

    #[test]
    fn a_group_finds_its_shards_in_any_order() {
        let seed = 20_261_122;
        println!("seed {seed}");
        let mut rng = Rng::from_seed(seed);
        // Few shards, for many repeats, and many, whose places in the hint collide.
        for shards in [1, 4, 64, 4096] {
            let ks = Keyspace::new(shards, 1, 1);
            for n in [1, 2, 16, KEYS_MAX] {
                let mut keys = places(&(0..n).map(|_| rng.next_u64()).collect::<Vec<_>>());
                let mut locked = ks.try_lock_keys(0, &mut keys).expect("nobody else is there");
                check(&ks, &locked, &keys);
                let absent =
                    (0..ks.shards() as u32).find(|s| !keys.iter().any(|k| ks.shard_of(k.hash) == *s));
                assert!(absent.is_none_or(|shard| !locked.holds_shard(shard)));
                // One more shard puts them into order; a seat is then no more than a guess.
                let more = rng.next_u64();
                assert!(locked.try_extend(more) && locked.holds(more));
                for key in &keys {
                    let seat = locked.seat(key.hash, key.seat);
                    assert_eq!(locked.shard_ids().nth(seat.0 as usize), Some(ks.shard_of(key.hash)));
                }
            }
        }
    }

    #[test]
    fn a_group_that_meets_a_held_shard_waits_in_order_or_gives_all_back() {
        let ks = Keyspace::new(16, 1, 1);
        let of_shard = |shard: u64| shard << 60;
        let hashes = [of_shard(9), of_shard(3), of_shard(12), of_shard(3)];
        assert_eq!(hashes.map(|hash| ks.shard_of(hash)), [9, 3, 12, 3]);
        let held = ks.lock_shard(12);
        assert!(ks.try_lock_keys(0, &mut places(&hashes)).is_none());
        // Nothing is left locked.
        drop((ks.try_lock_shard(9).expect("free"), ks.try_lock_shard(3).expect("free")));
        let mut keys = places(&hashes);
        let ascending = std::thread::scope(|scope| {
            let (begun, begin) = mpsc::channel();
            let (ks, keys) = (&ks, &mut keys);
            let waiting = scope.spawn(move || {
                begun.send(()).expect("it is waited for");
                // As long as it takes, as a wait is bounded.
                let locked = loop {
                    if let Some(locked) = ks.try_lock_keys(0, keys) {
                        break locked;
                    }
                };
                check(ks, &locked, keys);
                locked.shard_ids().is_sorted()
            });
            begin.recv().expect("it begins");
            drop(held);
            waiting.join().expect("no panic")
        });
        // In order if it had to wait, else as they came.
        assert_eq!(ascending, keys[0].seat.0 == 1);
        let locked = ks.try_lock_in_order(&mut keys).expect("all are free");
        check(&ks, &locked, &keys);
        assert_eq!(locked.shard_ids().collect::<Vec<_>>(), [3, 9, 12]);
    }
}
