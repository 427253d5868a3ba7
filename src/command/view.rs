//! `View`: a command's locked view of its keys, with Redis's semantics on top of the bare keyspace: lazy expiry,
//! access clocks, hit counts, watches, notifications, waiters.
//!
//! Hot path: no allocation on a read, no logging.
use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::base::limits::MaxmemoryPolicy;
use crate::base::rng::Rng;
use crate::command::env::Env;
use crate::command::notify::{self, Event};
use crate::command::stats::WorkerStats;
use crate::command::{Command, CommandError, Flags, Lane, SLOW_LANE_COST};
use crate::journal::Batch;
use crate::keyspace::{CellMut, Db, KeyPlace, Locked, Seat};
use crate::resp::args::{Args, OwnedArgs};
use crate::value::cell::{Cell, Type};
use crate::value::hash::{self, Expired, HashRef};

/// Values whose freeing costs more than this many deallocations are freed in the background.
const FREE_EFFORT_MAX: usize = 64;

/// Shards looked at to guess how many keys there are.
const LEN_SAMPLE: usize = 64;

/// What a command owes at its end.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) dirty: u64,
    pub(super) events: Vec<Event>,
    /// Keys that came into being, were extended or went while someone waits for them.
    pub(super) ready: Vec<(usize, Box<[u8]>)>,
    /// The command has stated its effects in its own words: the journal gets these in place of the command itself.
    pub(super) stated: bool,
}

/// An argument that was looked up, by where it lies.
#[derive(Clone, Copy)]
struct Located {
    at: *const u8,
    len: usize,
    key: KeyPlace,
}

impl Located {
    const NONE: Located = Located { at: std::ptr::null(), len: 0, key: KeyPlace::new(0) };
}

/// The locked keys of one command, in its database.
pub struct View<'a> {
    pub(super) locked: Locked<'a>,
    pub(super) env: &'a Env,
    pub(super) stats: &'a WorkerStats,
    pub(super) effects: Effects,
    /// What the journal gets before the locks go; only filled while someone reads it.
    pub(super) batch: &'a mut Batch,
    pub(super) lane: Lane,
    pub(super) nested: bool,
    /// Other commands run under the same locks after this one.
    pub(super) grouped: bool,
    /// The selected database.
    pub db: usize,
    /// Now, Unix milliseconds: one instant for the whole command.
    pub now: u64,
    /// Keys whose time is this or earlier are gone. `now`, but the beginning of time while the data set is loaded: what
    /// an effect found alive must be found alive again, and what went is told.
    pub horizon: u64,
    /// CLIENT NO-TOUCH and OBJECT: reads leave the access clock alone.
    pub no_touch: bool,
    notify_flags: u32,
    lfu: bool,
    last: Located,
    /// Where the running request's arguments lie: only there does an address stand for one key.
    request: Range<usize>,
    pub rng: &'a mut Rng,
}

impl<'a> View<'a> {
    pub(super) fn new(
        locked: Locked<'a>,
        env: &'a Env,
        (stats, rng, batch): (&'a WorkerStats, &'a mut Rng, &'a mut Batch),
        lane: Lane,
        db: usize,
        now: u64,
    ) -> Self {
        // What a command left that panicked is nobody's.
        batch.clear();
        Self {
            locked,
            env,
            stats,
            effects: Effects::default(),
            batch,
            lane,
            nested: false,
            grouped: false,
            db,
            now,
            horizon: now,
            no_touch: false,
            notify_flags: env.limits.notify_flags.get(),
            lfu: matches!(env.limits.policy(), MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu),
            last: Located::NONE,
            request: 0..0,
            rng,
        }
    }

    /// The command has waited: it is later now.
    pub(super) fn set_now(&mut self, now: u64) {
        if self.horizon == self.now {
            self.horizon = now;
        }
        self.now = now;
    }

    pub fn env(&self) -> &'a Env {
        self.env
    }

    /// The figures of the thread that runs the command.
    pub fn stats(&self) -> &'a WorkerStats {
        self.stats
    }

    /// From here on handlers work for this request; `known` is an argument that was already looked up.
    #[inline]
    pub(super) fn set_request(&mut self, args: Args<'_>, known: Option<(usize, KeyPlace)>) {
        self.last = match known {
            Some((i, key)) => {
                let arg = args.at(i);
                Located { at: arg.as_ptr(), len: arg.len(), key }
            }
            None => Located::NONE,
        };
        let bytes = args.buffer().as_ptr_range();
        self.request = bytes.start as usize..bytes.end as usize;
    }

    /// The request's bytes may go: another key could come to lie where one of its arguments lay.
    pub(super) fn forget_request(&mut self) {
        self.last = Located::NONE;
        self.request = 0..0;
    }

    /// The key's hash; the last one is remembered, as handlers look a key up and then store it. Only for arguments of
    /// the request: elsewhere another key may come to lie at the same address.
    fn hash(&mut self, key: &[u8]) -> u64 {
        self.locate(key).hash
    }

    #[inline]
    fn locate(&mut self, key: &[u8]) -> KeyPlace {
        if self.last.at == key.as_ptr() && self.last.len == key.len() {
            return self.last.key;
        }
        self.locate_anew(key)
    }

    #[inline(never)]
    fn locate_anew(&mut self, key: &[u8]) -> KeyPlace {
        let place = KeyPlace::new(self.env.keyspace.hash(key));
        if self.request.contains(&(key.as_ptr() as usize)) {
            self.last = Located { at: key.as_ptr(), len: key.len(), key: place };
        }
        place
    }

    /// The key's hash, and where its shard stands, for several looks at the key.
    #[inline]
    fn seat(&mut self, key: &[u8]) -> (u64, Seat) {
        let KeyPlace { hash, seat } = self.locate(key);
        (hash, self.locked.seat(hash, seat))
    }

    /// Removes the key if its time has come.
    #[inline]
    fn expire_if_due(&mut self, hash: u64, seat: Seat, key: &[u8]) {
        let Some(db) = self.locked.db_at(seat, self.db) else { return };
        if db.may_expire() {
            self.expire_volatile_if_due(hash, seat, key);
        }
    }

    #[inline(never)]
    fn expire_volatile_if_due(&mut self, hash: u64, seat: Seat, key: &[u8]) {
        let Some(db) = self.locked.db_at(seat, self.db) else { return };
        let Some(cell) = db.get(hash, key).filter(|cell| cell.is_volatile()) else { return };
        let due = |at: Option<u64>| at.is_some_and(|at| at <= self.horizon);
        let (key_due, fields_due) = (due(cell.expire_ms()), due(cell.field_expire_ms()));
        if (key_due || fields_due) && !self.env.expiry_paused() {
            if key_due {
                self.expire(key);
            } else {
                let most = if self.is_hurried() { SLOW_LANE_COST } else { usize::MAX };
                self.expire_fields(key, most);
            }
        }
    }

    /// On a worker, and free to go to the slow lane.
    fn is_hurried(&self) -> bool {
        self.lane == Lane::Worker && !self.nested
    }

    /// Removes up to `most` fields of a hash whose time has come, and the key with the last one; tells how many.
    pub fn expire_fields(&mut self, key: &[u8], most: usize) -> usize {
        let (hash, horizon, tell) = (self.hash(key), self.horizon, self.env.journal.is_on());
        let mut fields = Vec::new();
        let Some(mut cell) = self.locked.db_mut(self.db, hash).get_mut(hash, key) else { return 0 };
        let all = HashRef::of(&cell).len();
        let expired = hash::expire(&mut cell, horizon, most, &mut |field| {
            if tell {
                fields.push(field.to_vec());
            }
        });
        drop(cell);
        if expired == Expired::Some(0) {
            return 0;
        }
        let db = self.locked.db_mut(self.db, hash);
        db.touch(key);
        let emptied = if expired == Expired::All { db.remove(hash, key) } else { None };
        self.notify(notify::HASH, "hexpired", key);
        if let Some(cell) = emptied {
            self.discard(cell);
            self.notify(notify::GENERIC, "del", key);
            self.went(key);
        } else if tell {
            let words = [&b"HDEL"[..], key].into_iter().chain(fields.iter().map(Vec::as_slice));
            self.batch.push(self.db, words.collect::<Vec<_>>().into_iter());
        }
        match expired {
            Expired::All => all,
            Expired::Some(n) => n,
        }
    }

    /// Removes a key whose time has come, with the effects that an expiry has.
    pub fn expire(&mut self, key: &[u8]) {
        if let Some(cell) = self.take_out(key, notify::EXPIRED, "expired") {
            self.discard(cell);
            self.stats.expired.add(1);
        }
    }

    /// Takes out a key that must go because memory is full, with the effects that an eviction has.
    pub fn evict(&mut self, key: &[u8]) -> Option<Cell> {
        let cell = self.take_out(key, notify::EVICTED, "evicted")?;
        self.stats.evicted.add(1);
        Some(cell)
    }

    /// Takes out a key that goes by itself, not by the command's doing.
    fn take_out(&mut self, key: &[u8], class: u32, event: &'static str) -> Option<Cell> {
        let hash = self.hash(key);
        let db = self.locked.db_mut(self.db, hash);
        let cell = db.remove(hash, key)?;
        db.touch(key);
        if db.has_waiters(key) {
            self.effects.ready.push((self.db, key.into()));
        }
        self.notify(class, event, key);
        self.went(key);
        Some(cell)
    }

    /// The key's cell for reading. Counts a hit or a miss and notes the access.
    #[inline]
    pub fn get(&mut self, key: &[u8]) -> Option<&Cell> {
        self.read(key, !self.no_touch)
    }

    /// As `get`, but leaves the access clock alone: for looking at a key, not at its value.
    pub fn get_untouched(&mut self, key: &[u8]) -> Option<&Cell> {
        self.read(key, false)
    }

    /// Whether the key exists, for a writer: an expired one is removed first; counts neither hit nor miss.
    pub fn present(&mut self, key: &[u8]) -> bool {
        let (hash, seat) = self.seat(key);
        self.expire_if_due(hash, seat, key);
        self.locked.db_at(seat, self.db).is_some_and(|db| db.get(hash, key).is_some())
    }

    #[inline]
    fn read(&mut self, key: &[u8], touch: bool) -> Option<&Cell> {
        let (hash, seat) = self.seat(key);
        self.expire_if_due(hash, seat, key);
        let horizon = self.horizon;
        // What is due but may not be removed at present counts as absent.
        let live = |cell: &&Cell| cell.expire_ms().is_none_or(|at| at > horizon);
        let Some(cell) = self.locked.db_at(seat, self.db).and_then(|db| db.get(hash, key)).filter(live)
        else {
            self.stats.misses.add(1);
            if self.notify_flags & notify::KEY_MISS != 0 {
                self.effects.events.push(Event {
                    class: notify::KEY_MISS,
                    name: "keymiss",
                    key: key.into(),
                    db: self.db,
                });
            }
            return None;
        };
        self.stats.hits.add(1);
        if touch {
            touch_access(cell, self.env, self.now, self.lfu, self.rng);
        }
        Some(cell)
    }

    /// As `get`, and refuses a value of another type.
    #[inline]
    pub fn get_type(&mut self, key: &[u8], ty: Type) -> Result<Option<&Cell>, CommandError> {
        match self.get(key) {
            Some(cell) if cell.ty() != ty => Err(CommandError::WRONG_TYPE),
            other => Ok(other),
        }
    }

    /// The key's cell, without side effects; expired keys count as absent. Many can be held at once.
    pub fn peek(&self, key: &[u8]) -> Option<&Cell> {
        let hash = self.env.keyspace.hash(key);
        let cell = self.locked.db(self.db, hash)?.get(hash, key)?;
        if cell.expire_ms().is_some_and(|at| at <= self.horizon) { None } else { Some(cell) }
    }

    pub fn exists(&self, key: &[u8]) -> bool {
        self.peek(key).is_some()
    }

    /// The key's cell for writing. Whoever changes it calls `signal` (or `changed`) afterwards.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<CellMut<'_>> {
        let (hash, seat) = self.seat(key);
        self.expire_if_due(hash, seat, key);
        let (env, now, lfu, no_touch) = (self.env, self.now, self.lfu, self.no_touch);
        let cell = self.locked.db_mut_at(seat, self.db).get_mut(hash, key)?;
        if !no_touch {
            touch_access(&cell, env, now, lfu, self.rng);
        }
        Some(cell)
    }

    /// As `get_mut`, and refuses a value of another type.
    pub fn get_mut_type(&mut self, key: &[u8], ty: Type) -> Result<Option<CellMut<'_>>, CommandError> {
        let (horizon, hurried) = (self.horizon, self.is_hurried());
        match self.get_mut(key) {
            Some(cell) if cell.ty() != ty => Err(CommandError::WRONG_TYPE),
            // More fields are due than a worker removes at once, and writers do not look past them.
            Some(cell) if hurried && cell.field_expire_ms().is_some_and(|at| at <= horizon) => {
                Err(CommandError::SlowLane)
            }
            other => Ok(other),
        }
    }

    /// Adds a cell whose key is absent (the caller has just looked). Tells who waits for the key; owes the `new`
    /// notification, not the command's own.
    pub fn insert(&mut self, cell: Cell) {
        let hash = self.env.keyspace.hash(cell.key());
        init_access(&cell, self.now, self.lfu);
        let db = self.locked.db_mut(self.db, hash);
        if db.has_waiters(cell.key()) {
            self.effects.ready.push((self.db, cell.key().into()));
        }
        if self.notify_flags & notify::NEW != 0 {
            self.effects.events.push(Event {
                class: notify::NEW,
                name: "new",
                key: cell.key().into(),
                db: self.db,
            });
        }
        db.insert(hash, cell);
    }

    /// Puts a cell in the place of whatever the key held, TTL included: the new cell's expiry is the key's.
    pub fn put(&mut self, cell: Cell) {
        let hash = self.env.keyspace.hash(cell.key());
        if let Some(old) = self.locked.db_mut(self.db, hash).remove(hash, cell.key()) {
            self.discard(old);
        }
        self.insert(cell);
    }

    /// Takes the key out. Breaks watches; the caller owes notification and `dirty`.
    pub fn remove(&mut self, key: &[u8]) -> Option<Cell> {
        let (hash, seat) = self.seat(key);
        self.expire_if_due(hash, seat, key);
        let db = self.locked.db_mut_at(seat, self.db);
        let cell = db.remove(hash, key)?;
        db.touch(key);
        if db.has_waiters(key) {
            self.effects.ready.push((self.db, key.into()));
        }
        Some(cell)
    }

    /// Removes the key and frees its value, in the background if that takes long. `false` when it was absent.
    /// Counts as a change and breaks watches; the caller owes the notification.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let Some(cell) = self.remove(key) else { return false };
        self.discard(cell);
        self.effects.dirty += 1;
        true
    }

    /// `delete` with the `del` notification: for a collection that has become empty.
    pub fn delete_emptied(&mut self, key: &[u8]) {
        if let Some(cell) = self.remove(key) {
            self.discard(cell);
            self.notify(notify::GENERIC, "del", key);
        }
    }

    /// Frees a value that was taken out.
    pub fn discard(&self, cell: Cell) {
        if cell.free_effort() > FREE_EFFORT_MAX {
            self.env.reclaimer.send(Box::new(cell), 1);
        }
    }

    /// The key's TTL is now this (Unix ms), or none. `false` when the key is absent. Owes `signal`.
    pub fn set_expire_ms(&mut self, key: &[u8], at: Option<u64>) -> bool {
        let hash = self.hash(key);
        match self.locked.db_mut(self.db, hash).get_mut(hash, key) {
            Some(mut cell) => {
                cell.set_expire_ms(at);
                true
            }
            None => false,
        }
    }

    /// The key was changed: counts it, breaks watches, notifies, all in one.
    pub fn signal(&mut self, class: u32, name: &'static str, key: &[u8]) {
        self.changed(key);
        self.notify(class, name, key);
    }

    /// The key was changed: counts it and breaks watches.
    pub fn changed(&mut self, key: &[u8]) {
        self.effects.dirty += 1;
        let (_, seat) = self.seat(key);
        if let Some(db) = self.locked.db_at(seat, self.db) {
            db.touch(key);
        }
    }

    /// The changes so far are as good as saved.
    pub fn saved(&mut self) {
        self.effects.dirty = 0;
    }

    /// Adds to the count of changes without touching a key.
    pub fn add_dirty(&mut self, n: u64) {
        self.effects.dirty += n;
    }

    /// Owes a keyspace notification, if anyone wants its class.
    pub fn notify(&mut self, class: u32, name: &'static str, key: &[u8]) {
        if self.notify_flags & class != 0 {
            self.effects.events.push(Event { class, name, key: key.into(), db: self.db });
        }
    }

    /// The key was extended: serves who waits for it. Creation does this by itself.
    pub fn ready(&mut self, key: &[u8]) {
        let (_, seat) = self.seat(key);
        if self.locked.db_at(seat, self.db).is_some_and(|db| db.has_waiters(key)) {
            self.effects.ready.push((self.db, key.into()));
        }
    }

    /// States the command's effect for the journal in its own words (SPOP as SREM, a relative TTL as PXAT). May be
    /// called several times; the closure runs only while someone reads the journal.
    pub fn effect(&mut self, words: impl FnOnce() -> OwnedArgs) {
        if self.env.journal.is_on() {
            self.batch.push(self.db, words().as_args().iter());
        }
        self.effects.stated = true;
    }

    /// The journal learns of a key that went by itself.
    fn went(&mut self, key: &[u8]) {
        if self.env.journal.is_on() {
            self.batch.push(self.db, [&b"DEL"[..], key].into_iter());
        }
    }

    /// The journal gets the command as it is, unless it has stated its effects or changed nothing.
    #[inline]
    pub(super) fn journal_command(&mut self, command: &Command, args: Args<'_>, dirty_before: u64) {
        if std::mem::take(&mut self.effects.stated) || self.effects.dirty == dirty_before {
            return;
        }
        if self.env.journal.is_on() && command.flags.has(Flags::WRITE.with(Flags::MAY_REPLICATE)) {
            self.batch.push(self.db, args.iter());
        }
    }

    /// Hands what was gathered for the journal over; the shards are still held. Gives the offset after it.
    #[inline]
    pub(super) fn commit(&mut self) -> Option<u64> {
        if self.batch.is_empty() {
            return None;
        }
        self.batch.seal();
        Some(self.env.journal.append(self.batch))
    }

    /// The journal gets what `effect` was told and not the command itself, be it nothing.
    pub fn effects_only(&mut self) {
        self.effects.stated = true;
    }

    /// Runs `f` in another database.
    pub fn in_db<R>(&mut self, db: usize, f: impl FnOnce(&mut Self) -> R) -> R {
        let own = std::mem::replace(&mut self.db, db);
        let result = f(self);
        self.db = own;
        result
    }

    /// Runs `f` with one more shard, locked for the visit unless it is held already; what `f` owes is paid before the
    /// shard goes. For commands with `Locks::Walk`. Fails with `SlowLane` when a worker finds the shard held for long.
    pub fn visit<R>(&mut self, shard: u32, f: impl FnOnce(&mut Self) -> R) -> Result<R, CommandError> {
        if self.locked.holds_shard(shard) {
            return Ok(f(self));
        }
        let locked = if self.lane == Lane::Worker {
            self.env.keyspace.try_lock_shard(shard).ok_or(CommandError::SlowLane)?
        } else {
            self.env.keyspace.lock_shard(shard)
        };
        let own = std::mem::replace(&mut self.locked, locked);
        let result = f(self);
        super::call::settle(self);
        self.commit();
        self.locked = own;
        Ok(result)
    }

    /// As `visit`, for reading the selected database's part of the shard; `None` while that was never written.
    pub fn walk<R>(&mut self, shard: u32, f: impl FnOnce(&Db) -> R) -> Result<Option<R>, CommandError> {
        self.visit(shard, |view| view.locked.part_of(view.db, shard).map(f))
    }

    /// About how many keys the selected database has, from a sample of the shards.
    pub fn estimate_len(&mut self) -> Result<usize, CommandError> {
        let shards = self.env.keyspace.shards();
        let sample = shards.min(LEN_SAMPLE);
        let start = self.rng.below(shards as u64) as usize;
        let mut keys = 0;
        for i in 0..sample {
            let shard = (start + i * (shards / sample)) % shards;
            keys += self.walk(shard as u32, Db::len)?.unwrap_or(0);
        }
        Ok(keys * (shards / sample))
    }

    /// The selected database's part in a shard that is held.
    pub fn part(&self, shard: u32) -> Option<&Db> {
        self.locked.part_of(self.db, shard)
    }

    /// The key's cell, without side effects, be it expired or not.
    pub fn peek_expired(&self, key: &[u8]) -> Option<&Cell> {
        let hash = self.env.keyspace.hash(key);
        self.locked.db(self.db, hash)?.get(hash, key)
    }

    /// As `walk`, over all databases: calls back with each one's number and its part in the shard.
    pub fn walk_databases(&mut self, shard: u32, mut f: impl FnMut(usize, &Db)) -> Result<(), CommandError> {
        let held = self.locked.holds_shard(shard);
        let own;
        let locked = if held {
            &self.locked
        } else {
            own = if self.lane == Lane::Worker {
                self.env.keyspace.try_lock_shard(shard).ok_or(CommandError::SlowLane)?
            } else {
                self.env.keyspace.lock_shard(shard)
            };
            &own
        };
        for db in 0..self.env.keyspace.databases() {
            if let Some(part) = locked.part_of(db, shard) {
                f(db, part);
            }
        }
        Ok(())
    }

    /// The database's parts in every shard held; for commands with `Locks::All`.
    pub fn parts(&self) -> impl Iterator<Item = &Db> {
        self.locked.parts(self.db)
    }

    /// The bare locked shards, for what needs more than the selected database.
    pub fn locked(&mut self) -> &mut Locked<'a> {
        &mut self.locked
    }

    /// Breaks the watches on all keys that the database holds: it is about to be emptied or exchanged. Every shard is
    /// locked.
    pub fn database_goes(&mut self, db: usize) {
        let keyspace = &self.env.keyspace;
        for part in self.locked.parts(db) {
            let held = part.watched_keys().filter(|(key, _)| part.get(keyspace.hash(key), key).is_some());
            held.for_each(|(_, watches)| watches.iter().for_each(|w| w.break_it()));
            self.effects.ready.extend(part.awaited_keys().into_iter().map(|key| (db, key)));
        }
    }

    /// Breaks the watches and serves the waiters on the keys that the database holds now: its contents have just been
    /// exchanged. An expired key where there was none is no change: it goes before EXEC can take it for one.
    pub fn database_came(&mut self, db: usize) {
        let (keyspace, now) = (&self.env.keyspace, self.now);
        let mut stale = Vec::new();
        for part in self.locked.parts(db) {
            for (key, watches) in part.watched_keys() {
                match part.get(keyspace.hash(key), key) {
                    Some(cell) if cell.expire_ms().is_some_and(|at| at <= now) => stale.push(key.to_vec()),
                    Some(_) => watches.iter().for_each(|w| w.break_it()),
                    None => {}
                }
            }
            let awaited = part.awaited_keys().into_iter();
            let ready = awaited.filter(|key| part.get(keyspace.hash(key), key).is_some());
            self.effects.ready.extend(ready.map(|key| (db, key)));
        }
        self.in_db(db, |view| stale.iter().for_each(|key| view.expire_unwatched(key)));
    }

    /// Removes an expired key without breaking the watches on it, which saw no key either.
    fn expire_unwatched(&mut self, key: &[u8]) {
        let hash = self.hash(key);
        if let Some(cell) = self.locked.db_mut(self.db, hash).remove(hash, key) {
            self.discard(cell);
            self.stats.expired.add(1);
            self.notify(notify::EXPIRED, "expired", key);
            self.went(key);
        }
    }
}

/// Notes an access: LRU seconds, or LFU minutes and logarithmic counter.
fn touch_access(cell: &Cell, env: &Env, now: u64, lfu: bool, rng: &mut Rng) {
    if lfu {
        let counter = lfu_decayed(cell, env, now);
        cell.set_access(lfu_minutes(now) << 8 | lfu_increment(counter, env, rng));
    } else {
        let clock = lru_clock(now);
        if cell.access() != clock {
            cell.set_access(clock);
        }
    }
}

/// Counter that a new key starts with, so that it is not evicted at once.
const LFU_INIT: u32 = 5;

fn init_access(cell: &Cell, now: u64, lfu: bool) {
    cell.set_access(if lfu { lfu_minutes(now) << 8 | LFU_INIT } else { lru_clock(now) });
}

/// Seconds, 24 bits.
pub fn lru_clock(now_ms: u64) -> u32 {
    (now_ms / 1000) as u32 & 0xff_ffff
}

pub fn lfu_minutes(now_ms: u64) -> u32 {
    (now_ms / 60_000) as u32 & 0xffff
}

/// The counter as it stands now: it loses one every `lfu-decay-time` minutes.
pub fn lfu_decayed(cell: &Cell, env: &Env, now_ms: u64) -> u32 {
    let (then, counter) = (cell.access() >> 8, cell.access() & 0xff);
    let decay = env.limits.lfu_decay_time.load(Ordering::Relaxed) as u32;
    if decay == 0 {
        return counter;
    }
    let minutes = lfu_minutes(now_ms).wrapping_sub(then) & 0xffff;
    counter.saturating_sub(minutes / decay)
}

fn lfu_increment(counter: u32, env: &Env, rng: &mut Rng) -> u32 {
    if counter >= 255 {
        return 255;
    }
    let factor = env.limits.lfu_log_factor.load(Ordering::Relaxed) as f64;
    let above = f64::from(counter.saturating_sub(LFU_INIT));
    if rng.f64() < 1.0 / (above * factor + 1.0) { counter + 1 } else { counter }
}
