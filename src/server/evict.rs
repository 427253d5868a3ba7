//! Eviction: makes room when `maxmemory` is exceeded. As Redis does it: a few keys are sampled, the best candidates
//! seen are kept in a small pool across calls, and the best of the pool goes.
//!
//! One thread evicts at a time, and locks one shard at a time; the others go on meanwhile.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::base::alloc;
use crate::base::limits::MaxmemoryPolicy as Policy;
use crate::command::env::Env;
use crate::command::view::{lfu_decayed, lru_clock};
use crate::command::{View, with_shard};
use crate::server::Worker;
use crate::value::cell::Cell;

/// Whether there is room for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Memory in use is within the limit.
    Enough,
    /// It is not, but keys are being evicted.
    Soon,
    /// It is not, and nothing may be evicted.
    None,
}

/// What the server keeps of its own in the keyspace, which is never evicted.
pub const KEPT_PREFIX: &[u8] = b"tidewater:";

/// Candidates kept, as in Redis.
const POOL_MAX: usize = 16;

/// Values with more allocations than this are freed in the background.
const FREE_EFFORT_MAX: usize = 64;

/// Attempts for one eviction: a candidate may have been used or deleted since it was seen.
const ATTEMPTS_MAX: usize = 64;

struct Candidate {
    /// The higher, the better to evict.
    score: u64,
    db: usize,
    key: Box<[u8]>,
}

#[derive(Default)]
struct Pool {
    policy: Policy,
    /// Ascending by score.
    candidates: Vec<Candidate>,
}

#[derive(Default)]
pub struct Evictor {
    pool: Mutex<Pool>,
    /// Bytes of evicted values that the background has yet to free.
    pending: Arc<AtomicUsize>,
    /// The count of changes, plus one, at which a search of the whole keyspace found nothing to evict.
    barren: AtomicU64,
}

/// A value on its way to be freed.
struct Evicted {
    // Fields are dropped in order: the value before the count of it.
    _value: Cell,
    _count: Pending,
}

struct Pending(Arc<AtomicUsize>, usize);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

impl Evictor {
    /// Bytes in use, without those that are already on their way out.
    pub fn used(&self) -> usize {
        alloc::used().saturating_sub(self.pending.load(Relaxed))
    }

    /// Evicts until memory is within the limit, for at most the time that `maxmemory-eviction-tenacity` allows. The
    /// caller holds no shard.
    pub fn make_room(&self, env: &Env, worker: &mut Worker) -> Room {
        let limit = env.limits.maxmemory.get();
        let used = self.used();
        // Without a counting allocator nobody knows what is in use.
        if limit == 0 || used <= limit || !alloc::installed() {
            self.note_exceeded(env, false);
            return Room::Enough;
        }
        self.note_exceeded(env, true);
        let policy = env.limits.policy();
        let change = env.gauges.changes() + 1;
        if policy == Policy::NoEviction || self.barren.load(Relaxed) == change {
            return Room::None;
        }
        let Some(mut pool) = self.pool.try_lock() else { return Room::Soon };
        if pool.policy != policy {
            *pool = Pool { policy, candidates: Vec::new() };
        }
        let patience_us = patience_us(env.limits.maxmemory_eviction_tenacity.get());
        let start = env.clock.ticks();
        let (mut freed, mut keys) = (0, 0);
        while freed < used - limit {
            match self.evict_one(env, worker, &mut pool) {
                Found::Freed(bytes) => freed += bytes,
                Found::Busy => return Room::Soon,
                Found::Nothing if self.pending.load(Relaxed) > 0 => return Room::Soon,
                Found::Nothing => {
                    self.barren.store(change, Relaxed);
                    return Room::None;
                }
            }
            keys += 1;
            if keys % 16 == 0 {
                if self.used() <= limit {
                    break;
                }
                let spent_us = env.clock.ticks().saturating_sub(start) / 1000;
                if patience_us.is_some_and(|most| spent_us > most) {
                    return Room::Soon;
                }
            }
        }
        Room::Enough
    }

    /// Keeps the statistic of the time above the limit.
    fn note_exceeded(&self, env: &Env, exceeded: bool) {
        let stats = &env.stats;
        let since = stats.eviction_exceeded_since.load(Relaxed);
        if exceeded == (since != 0) {
            return;
        }
        let now = env.clock.ticks().max(1);
        if exceeded {
            stats.eviction_exceeded_since.store(now, Relaxed);
        } else if stats.eviction_exceeded_since.swap(0, Relaxed) == since {
            stats.eviction_exceeded_us.fetch_add(now.saturating_sub(since) / 1000, Relaxed);
        }
    }

    fn evict_one(&self, env: &Env, worker: &mut Worker, pool: &mut Pool) -> Found {
        for _ in 0..ATTEMPTS_MAX {
            match fill(env, worker, pool) {
                Sampled::Some => {}
                Sampled::Nothing if pool.candidates.is_empty() => return Found::Nothing,
                Sampled::Busy if pool.candidates.is_empty() => return Found::Busy,
                Sampled::Nothing | Sampled::Busy => {}
            }
            let Some(victim) = pool.candidates.pop() else { continue };
            let shard = env.keyspace.shard_of(env.keyspace.hash(&victim.key));
            let policy = pool.policy;
            let cell = with_shard(env, worker.runner(), shard, |view| {
                view.db = victim.db;
                let cell = view.peek(&victim.key)?;
                // Used or renewed since it was seen: no longer the best.
                if score(view, cell, policy)? < victim.score {
                    return None;
                }
                view.evict(&victim.key)
            });
            if let Some(cell) = cell.flatten() {
                return Found::Freed(self.free(env, cell));
            }
        }
        Found::Busy
    }

    /// Frees a value; gives its bytes.
    fn free(&self, env: &Env, cell: Cell) -> usize {
        let bytes = cell.mem_bytes();
        if cell.free_effort() > FREE_EFFORT_MAX {
            self.pending.fetch_add(bytes, Relaxed);
            let count = Pending(self.pending.clone(), bytes);
            env.reclaimer.send(Box::new(Evicted { _value: cell, _count: count }), 1);
        }
        bytes
    }
}

/// How long one call may evict, in microseconds; `None` without end. Redis's curve: 50 us a step up to 10, then 15 %
/// more a step, up to minutes.
fn patience_us(tenacity: usize) -> Option<u64> {
    match tenacity {
        0..=10 => Some(50 * tenacity as u64),
        11..100 => Some((500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64),
        _ => None,
    }
}

enum Found {
    Freed(usize),
    /// There are keys, but their shards are held, or they are used all the time.
    Busy,
    Nothing,
}

enum Sampled {
    Some,
    Busy,
    Nothing,
}

/// Samples `maxmemory-samples` keys, from a random shard on, into the pool.
fn fill(env: &Env, worker: &mut Worker, pool: &mut Pool) -> Sampled {
    let wanted = env.limits.maxmemory_samples.get().clamp(1, 64);
    let shards = env.keyspace.shards() as u64;
    let start = worker.rng.below(shards);
    let (mut seen, mut busy) = (0, false);
    for i in 0..shards {
        let shard = ((start + i) % shards) as u32;
        let visit = with_shard(env, worker.runner(), shard, |view| {
            for db in 0..env.keyspace.databases() {
                view.db = db;
                seen += sample(view, shard, wanted, pool);
            }
        });
        busy |= visit.is_none();
        if seen >= wanted {
            break;
        }
    }
    match (seen, busy) {
        (0, true) => Sampled::Busy,
        (0, false) => Sampled::Nothing,
        _ => Sampled::Some,
    }
}

/// Samples up to `n` keys of one database in one shard; tells how many.
fn sample(view: &mut View<'_>, shard: u32, n: usize, pool: &mut Pool) -> usize {
    let (policy, db) = (pool.policy, view.db);
    let Some(part) = view.part(shard) else { return 0 };
    let (all, volatile) = (part.len(), part.volatile_len());
    let available = if policy.is_allkeys() { all } else { volatile };
    // The heap knows the soonest: looking at others as well would be no gain.
    let tries = if policy == Policy::VolatileTtl { 1 } else { n };
    let tries = tries.min(available);
    for _ in 0..tries {
        let draw = view.rng.next_u64();
        let Some(part) = view.part(shard) else { break };
        let cell = match policy {
            Policy::VolatileTtl => part.soonest().and_then(|(_, key)| view.peek_expired(key)),
            _ if policy.is_allkeys() => {
                let mut rng = crate::base::rng::Rng::from_seed(draw);
                part.table().random(&mut |n| rng.below(n))
            }
            _ => part.volatile_key((draw % volatile as u64) as usize).and_then(|key| view.peek_expired(key)),
        };
        if let Some(cell) = cell
            && let Some(score) = score(view, cell, policy)
        {
            pool.offer(score, db, cell.key(), draw);
        }
    }
    tries
}

/// How good the cell is to evict; `None` if it must stay.
fn score(view: &View<'_>, cell: &Cell, policy: Policy) -> Option<u64> {
    if !policy.is_allkeys() {
        cell.expire_ms()?;
    }
    Some(match policy {
        Policy::AllkeysLru | Policy::VolatileLru => {
            u64::from(lru_clock(view.now).wrapping_sub(cell.access()) & 0xff_ffff)
        }
        Policy::AllkeysLfu | Policy::VolatileLfu => {
            u64::from(255 - lfu_decayed(cell, view.env(), view.now).min(255))
        }
        Policy::VolatileTtl => u64::MAX - cell.expire_ms()?,
        // The draw decides.
        Policy::AllkeysRandom | Policy::VolatileRandom => 0,
        Policy::NoEviction => return None,
    })
}

impl Pool {
    /// Keeps the candidate if it is among the best. `draw` places it at random among equals.
    fn offer(&mut self, score: u64, db: usize, key: &[u8], draw: u64) {
        if key.starts_with(KEPT_PREFIX) {
            return;
        }
        let below = self.candidates.partition_point(|c| c.score < score);
        let equal = self.candidates[below..].partition_point(|c| c.score == score);
        let full = self.candidates.len() >= POOL_MAX;
        if (full && below + equal == 0) || self.candidates.iter().any(|c| c.db == db && *c.key == *key) {
            return;
        }
        let at = below + (draw % (equal as u64 + 1)) as usize;
        self.candidates.insert(at, Candidate { score, db, key: key.into() });
        if full {
            self.candidates.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_the_best() {
        let mut pool = Pool::default();
        for i in 0..40u64 {
            pool.offer(i * 7 % 40, 0, &i.to_le_bytes(), i);
        }
        let scores: Vec<_> = pool.candidates.iter().map(|c| c.score).collect();
        assert_eq!(scores, (24..40).collect::<Vec<_>>());
        pool.offer(3, 0, b"low", 0);
        pool.offer(39, 0, &pool.candidates[15].key.clone(), 0);
        assert_eq!(pool.candidates.len(), POOL_MAX);
    }

    #[test]
    fn patience_follows_the_tenacity() {
        assert_eq!([0, 10, 100].map(patience_us), [Some(0), Some(500), None]);
        assert!(patience_us(99) > Some(100_000_000) && patience_us(11) == Some(575));
    }
}
