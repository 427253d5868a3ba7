//! The cron: what happens by itself, `hz` times a second.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::command;
use crate::command::client::flag;
use crate::resp::reply::Reply;
use crate::server::meter::Meter;
use crate::server::migrate::Links;
use crate::server::persist::Persistence;
use crate::server::{Engine, Worker, latency};

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
    let env = engine.env();
    crate::base::alloc::note_peak();
    if let Some(meter) = env.services.find::<Meter>() {
        if meter.cron_paused.load(Ordering::Relaxed) {
            return;
        }
        meter.tick(env);
    }
    if env.active_expire.load(Ordering::Relaxed) && !env.expiry_paused() {
        let start = env.clock.ticks();
        expire_cycle(engine, worker);
        latency::note(env, "expire-cycle", env.clock.ticks().saturating_sub(start));
    }
    engine.relieve_memory(worker);
    if let Some(persistence) = env.services.find::<Persistence>() {
        persistence.tick(engine);
    }
    close_idle(engine);
    if let Some(links) = env.services.find::<Links>() {
        links.close_idle();
    }
    enforce_output_limits(engine);
    env.evict_clients();
}

/// Rounds over all shards a second, at most: a finer `hz` takes them in parts.
const EXPIRE_ROUNDS_HZ: usize = 10;

/// Removes what has expired. The heaps give the due keys, and the hashes with due fields, directly, so a cycle costs what
/// it removes and a look at each shard. A shard is left after a batch and visited again after the others, so that nobody waits long for it; a cycle
/// that takes more than its share of the time leaves the rest to the next one. `active-expire-effort` raises both.
pub fn expire_cycle(engine: &Engine, worker: &mut Worker) {
    let env = engine.env();
    let limits = &env.limits;
    let effort = limits.active_expire_effort.get().clamp(1, 10) - 1;
    let hz = limits.hz.get().clamp(1, 500);
    let batch = 20 + 5 * effort;
    let time_max_ns = (25 + 2 * effort as u64) * 10_000_000 / hz as u64;
    worker.begin(env);
    let start = env.clock.ticks();
    let shards = env.keyspace.shards();
    let part = shards.div_ceil(hz.div_ceil(EXPIRE_ROUNDS_HZ));
    let from = worker.expire_from;
    let (mut more, mut late) = (Vec::new(), false);
    // Tells whether the shard may have more. The clock is read when there was something to do; a look alone costs less.
    let mut visit = |shard: u32, late: &mut bool| {
        let n = engine.expire_shard(worker, shard, batch).unwrap_or(0);
        *late = n > 0 && env.clock.ticks().saturating_sub(start) > time_max_ns;
        n >= batch
    };
    let mut done = 0;
    while done < part && !late {
        let shard = ((from + done) % shards) as u32;
        if visit(shard, &mut late) {
            more.push(shard);
        }
        done += 1;
    }
    while !more.is_empty() && !late {
        more.retain(|&shard| late || visit(shard, &mut late));
    }
    worker.expire_from = (from + done) % shards;
    let left = (part - done + more.len()) as f64 / part as f64;
    let spent_us = env.clock.ticks().saturating_sub(start) / 1000;
    env.stats.time_expired_us.fetch_add(spent_us, Ordering::Relaxed);
    env.stats.expire_cycles.fetch_add(1, Ordering::Relaxed);
    env.stats.note_expire_cycle(late, left);
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

/// Ends the waits whose deadline has passed. With the real clock each connection has a timer of its own; a manual clock
/// has none, so whoever advances it calls this.
pub fn end_due_waits(engine: &Engine) {
    let env = engine.env();
    let now = env.clock.now_ms();
    for client in env.clients.list() {
        let waiter = client.waiter.lock().clone();
        let due = waiter.filter(|w| w.deadline_ms.is_some_and(|at| at <= now));
        if let Some(waiter) = due
            && waiter.claim()
        {
            let mut reply = Reply::new(waiter.resp3);
            (waiter.on_timeout)(&mut reply);
            command::end_wait(env, &waiter, reply);
        }
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
