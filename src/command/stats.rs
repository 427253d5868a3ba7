//! Counters. Each worker writes its own, without atomic read-modify-write; readers add them up.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

/// A counter with one writer.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For the writer: takes back what it has added since it read `was`.
    pub fn back_to(&self, was: u64) {
        self.0.store(was, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Buckets of a latency histogram: powers of two of nanoseconds from 1024 ns, each split in four.
pub const LATENCY_BUCKETS: usize = 25 * 4;

/// One command's figures on one worker.
pub struct CommandStats {
    pub calls: Counter,
    pub nanos: Counter,
    pub rejected: Counter,
    pub failed: Counter,
    pub latency: [Counter; LATENCY_BUCKETS],
}

impl Default for CommandStats {
    fn default() -> Self {
        Self {
            calls: Counter::default(),
            nanos: Counter::default(),
            rejected: Counter::default(),
            failed: Counter::default(),
            latency: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// The bucket of a duration.
pub fn latency_bucket(nanos: u64) -> usize {
    let n = nanos.max(1024);
    let log = 63 - n.leading_zeros() as usize;
    let quarter = ((n >> (log - 2)) & 3) as usize;
    ((log - 10) * 4 + quarter).min(LATENCY_BUCKETS - 1)
}

/// The upper end of a bucket, nanoseconds.
pub fn latency_bucket_end(bucket: usize) -> u64 {
    let (log, quarter) = (bucket / 4 + 10, (bucket % 4) as u64);
    (1u64 << log) + (quarter + 1) * (1u64 << (log - 2))
}

/// What one worker (or slow-lane thread) counts.
pub struct WorkerStats {
    pub commands: Box<[CommandStats]>,
    pub processed: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub expired: Counter,
    pub evicted: Counter,
    pub net_in: Counter,
    pub net_out: Counter,
    pub error_replies: Counter,
    pub reads: Counter,
    pub writes: Counter,
}

impl WorkerStats {
    pub fn new(commands: usize) -> Self {
        let c = Counter::default;
        Self {
            commands: (0..commands).map(|_| CommandStats::default()).collect(),
            processed: c(),
            hits: c(),
            misses: c(),
            expired: c(),
            evicted: c(),
            net_in: c(),
            net_out: c(),
            error_replies: c(),
            reads: c(),
            writes: c(),
        }
    }
}

/// All figures of a server.
#[derive(Default)]
pub struct Stats {
    workers: Mutex<Vec<Arc<WorkerStats>>>,
    /// Error replies by code word; bounded, see `count_error`.
    pub errors: Mutex<HashMap<String, u64>>,
    pub connections: AtomicU64,
    pub rejected_connections: AtomicU64,
    pub blocked_clients: AtomicI64,
    pub obuf_disconnects: AtomicU64,
    pub qbuf_disconnects: AtomicU64,
    pub evicted_clients: AtomicU64,
    pub unexpected_errors: AtomicU64,
    pub expire_cycles: AtomicU64,
    pub active_expired: AtomicU64,
    /// Expire cycles that ran out of time.
    pub expire_time_caps: AtomicU64,
    /// Share of shards that expire cycles left with expired keys, a running average in millionths.
    pub expire_stale_ppm: AtomicU64,
    pub time_expired_us: AtomicU64,
    pub acl_denied_auth: AtomicU64,
    /// Time above `maxmemory`, but for the present stretch of it.
    pub eviction_exceeded_us: AtomicU64,
    /// Clock ticks (ns) since when memory has been above `maxmemory`; 0: it is not.
    pub eviction_exceeded_since: AtomicU64,
    pub pubsub_messages: AtomicU64,
}

/// Code words beyond this many are counted as one, so that odd errors cannot grow memory.
const ERROR_CODES_MAX: usize = 128;

impl Stats {
    pub fn add_worker(&self, worker: Arc<WorkerStats>) {
        self.workers.lock().push(worker);
    }

    pub fn sum(&self, f: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.workers.lock().iter().map(|w| f(w).get()).sum()
    }

    /// Calls back with every worker's figures.
    pub fn each(&self, mut f: impl FnMut(&WorkerStats)) {
        self.workers.lock().iter().for_each(|w| f(w));
    }

    /// One expire cycle: whether it ran out of time, and what share of the shards it left with expired keys.
    pub fn note_expire_cycle(&self, out_of_time: bool, left: f64) {
        self.expire_time_caps.fetch_add(out_of_time.into(), Ordering::Relaxed);
        let was = self.expire_stale_ppm.load(Ordering::Relaxed) as f64;
        let now = was * 0.95 + left * 1e6 * 0.05;
        self.expire_stale_ppm.store(now as u64, Ordering::Relaxed);
    }

    pub fn count_error(&self, code: &str) {
        let mut errors = self.errors.lock();
        if let Some(n) = errors.get_mut(code) {
            *n += 1;
        } else if errors.len() < ERROR_CODES_MAX {
            errors.insert(code.to_owned(), 1);
        } else {
            *errors.entry("ERRORSTATS_OVERFLOW".to_owned()).or_default() += 1;
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for w in self.workers.lock().iter() {
            for c in &w.commands {
                [&c.calls, &c.nanos, &c.rejected, &c.failed].iter().for_each(|c| c.reset());
                c.latency.iter().for_each(Counter::reset);
            }
            let all = [
                &w.processed,
                &w.hits,
                &w.misses,
                &w.expired,
                &w.evicted,
                &w.net_in,
                &w.net_out,
                &w.error_replies,
                &w.reads,
                &w.writes,
            ];
            all.iter().for_each(|c| c.reset());
        }
        self.errors.lock().clear();
        let all = [
            &self.connections,
            &self.rejected_connections,
            &self.obuf_disconnects,
            &self.qbuf_disconnects,
            &self.evicted_clients,
            &self.unexpected_errors,
            &self.expire_cycles,
            &self.active_expired,
            &self.expire_time_caps,
            &self.time_expired_us,
            &self.acl_denied_auth,
            &self.eviction_exceeded_us,
        ];
        all.iter().for_each(|c| c.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_above_what_falls_into_it() {
        for n in [0, 1, 1023, 1024, 1279, 1280, 5000, 1_000_000, 10_000_000_000] {
            let b = latency_bucket(n);
            assert!(latency_bucket_end(b) > n, "{n}");
            assert!(b == 0 || latency_bucket_end(b - 1) <= n, "{n}");
        }
    }
}
