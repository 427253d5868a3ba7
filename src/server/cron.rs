//! The cron: what happens by itself, `hz` times a second.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::command::client::flag;
use crate::server::{Engine, Worker};

/// Keys removed a shard and visit, so that no lock is held for long.
const EXPIRE_BATCH: usize = 32;

/// Stops the cron thread.
#[derive(Default)]
pub struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}

/// Runs the cron until told to stop.
pub fn start(engine: Arc<Engine>, stop: Arc<Stop>) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("cron".into()).spawn(move || {
        let mut worker = engine.slow_worker();
        let mut stopped = stop.stopped.lock();
        while !*stopped {
            let hz = engine.env().limits.hz.get().clamp(1, 500) as u64;
            stop.changed.wait_for(&mut stopped, Duration::from_millis(1000 / hz));
            if *stopped {
                return;
            }
            drop(stopped);
            tick(&engine, &mut worker);
            stopped = stop.stopped.lock();
        }
    })
}

/// One round.
pub fn tick(engine: &Engine, worker: &mut Worker) {
    crate::base::alloc::note_peak();
    let env = engine.env();
    if env.active_expire.load(Ordering::Relaxed) && !env.expiry_paused() {
        expire_cycle(engine, worker);
    }
    close_idle(engine);
    enforce_output_limits(engine);
}

/// Removes what has expired, a few keys a shard at a time. The heaps give the due keys directly, so a round costs
/// what it removes and a look at each shard.
pub fn expire_cycle(engine: &Engine, worker: &mut Worker) {
    let env = engine.env();
    for shard in 0..env.keyspace.shards() as u32 {
        while engine.expire_shard(worker, shard, EXPIRE_BATCH) == EXPIRE_BATCH {}
    }
    env.stats.expire_cycles.fetch_add(1, Ordering::Relaxed);
}

/// Ends clients that have let too much output wait for too long; the hard limit is enforced where output is written.
fn enforce_output_limits(engine: &Engine) {
    let env = engine.env();
    if env.output_limits.iter().any(|limit| limit.soft().is_some()) {
        env.clients.for_each(|client| {
            env.enforce_output_limit(client, client.pending_bytes());
        });
    }
}

/// Ends connections that have said nothing for `timeout` seconds.
fn close_idle(engine: &Engine) {
    let env = engine.env();
    let timeout_s = env.limits.timeout_s.get();
    if timeout_s == 0 {
        return;
    }
    let now = env.clock.now_ms();
    for client in env.clients.list() {
        let idle_ms = now.saturating_sub(client.last_seen_ms.load(Ordering::Relaxed));
        let exempt = flag::BLOCKED | flag::PUBSUB | flag::MONITOR | flag::LOCAL;
        if idle_ms > timeout_s * 1000 && !client.has_flag(exempt) {
            client.close(false);
        }
    }
}
