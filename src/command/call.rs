//! The core of running a command: handler, statistics, effects. Admission and locking are the engine's; EXEC and
//! scripts come in through `Context::run_nested`.
//!
//! Hot path: no allocation, no logging.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::rng::Rng;
use crate::command::client::flag;
use crate::command::context::{Block, Resume};
use crate::command::env::Env;
use crate::command::notify;
use crate::command::stats::{WorkerStats, latency_bucket};
use crate::command::{Command, CommandError, Context, Lane, Outcome, Session, View};
use crate::journal::Batch;
use crate::keyspace::{KeyPlace, Locked, Waiter, WaiterState};
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::reply::Reply;
use crate::value::cell::Cell;

/// How a command ended.
#[derive(Debug)]
pub enum Ran {
    /// The reply is written.
    Done,
    /// It waits for keys; nothing is written.
    Blocked(Arc<Waiter>),
    /// Nothing was done: to be run again in the slow lane.
    SlowLane,
}

/// A command with its arguments.
#[derive(Clone, Copy)]
pub struct Request<'a, 'b> {
    pub command: &'a Command,
    pub args: Args<'b>,
    pub known: Option<Known>,
}

/// An argument that is a key, and its number among the keys of all requests.
#[derive(Clone, Copy)]
pub struct Known {
    pub arg: usize,
    pub key: usize,
}

/// What a thread that runs commands has of its own.
pub struct Runner<'a> {
    pub stats: &'a WorkerStats,
    pub rng: &'a mut Rng,
    pub batch: &'a mut Batch,
    pub lane: Lane,
    /// Unix milliseconds: the instant at which the command runs. Read once a batch, as reading it costs as much as a
    /// small command.
    pub now: u64,
    /// Clock ticks at the command's start; set to those at its end, where the next one of the batch starts.
    pub ticks: &'a mut u64,
}

/// Runs commands one after the other with the keys of all of them locked, each to the end of its effects; tells how
/// many ran, and how the last one ended. `keys` are those that the requests' `known` refer to. Stops at one that did not
/// simply end. A command that blocks is registered with its keys before the locks go, so that no element can slip past it.
pub fn run<'a>(
    env: &'a Env,
    runner: Runner<'a>,
    locked: Locked<'a>,
    session: &'a mut Session,
    reply: &'a mut Reply,
    requests: &[Request<'a, '_>],
    keys: &[KeyPlace],
) -> (usize, Ran) {
    let Runner { stats, rng, batch, lane, now, ticks } = runner;
    let Some(first) = requests.first().map(|r| r.command) else { return (0, Ran::Done) };
    let mut view = View::new(locked, env, (stats, rng, batch), lane, session.db, now);
    view.no_touch = session.no_touch;
    if session.client.has_flag(flag::LOADER) {
        view.horizon = 0;
    }
    view.grouped = requests.len() > 1;
    let mut ctx = Context { keys: view, reply, session, env, command: first, block: None, resumed: false };
    let ran = run_each(&mut ctx, ticks, requests, keys);
    if let Some(offset) = ctx.keys.commit() {
        ctx.session.journaled = offset;
    }
    ran
}

/// Runs `f` as one step with the keys of what it will run locked: to the journal, what it runs by
/// `Context::run_nested` is one transaction. For parts of the server that write by themselves.
pub fn run_step<'a, R>(
    env: &'a Env,
    runner: Runner<'a>,
    locked: Locked<'a>,
    session: &'a mut Session,
    reply: &'a mut Reply,
    f: impl FnOnce(&mut Context<'a>) -> R,
) -> R {
    let Runner { stats, rng, batch, lane, now, .. } = runner;
    let view = View::new(locked, env, (stats, rng, batch), lane, session.db, now);
    let command = env.commands.get(0);
    let mut ctx = Context { keys: view, reply, session, env, command, block: None, resumed: false };
    let result = f(&mut ctx);
    finish(&mut ctx);
    if let Some(offset) = ctx.keys.commit() {
        ctx.session.journaled = offset;
    }
    result
}

fn run_each<'a>(
    ctx: &mut Context<'a>,
    ticks: &mut u64,
    requests: &[Request<'a, '_>],
    keys: &[KeyPlace],
) -> (usize, Ran) {
    let (env, stats) = (ctx.env, ctx.keys.stats);
    let mut observed_from = None;
    for (i, &Request { command, args, known }) in requests.iter().enumerate() {
        let mark = ctx.reply.mark();
        ctx.command = command;
        ctx.keys.set_request(args, known.map(|known| (known.arg, keys[known.key])));
        let counted = (stats.hits.get(), stats.misses.get());
        let failed = match (command.handler)(ctx, args) {
            Ok(()) => false,
            Err(CommandError::SlowLane) => {
                // It will look at its keys once more: what it counted and noticed so far is void, what expired is not.
                stats.hits.back_to(counted.0);
                stats.misses.back_to(counted.1);
                ctx.keys.effects.events.retain(|e| e.class != notify::KEY_MISS);
                ctx.reply.truncate(mark);
                ctx.keys.effects.stated = false;
                finish(ctx);
                return (i, Ran::SlowLane);
            }
            Err(e) => {
                write_error(ctx, &e);
                true
            }
        };
        ctx.keys.journal_command(command, args, 0);
        // It is large, and nearly never there.
        let block = if ctx.block.is_some() { ctx.block.take() } else { None };
        // Of a command that blocks too: it may have found a key expired.
        finish(ctx);
        if let Some(block) = block {
            let (block, resume) = block;
            return (i, Ran::Blocked(register(ctx, block, resume, args)));
        }
        let end = env.clock.ticks();
        let nanos = end.saturating_sub(*ticks);
        *ticks = end;
        count(stats, command, nanos, failed);
        // Asked after the first command: if that was one that changes the answer (CONFIG SET), it was alone.
        if nanos >= *observed_from.get_or_insert_with(|| env.observed_from_nanos()) {
            env.tell_observer(ctx.session, command, args, nanos);
        }
    }
    (requests.len(), Ran::Done)
}

/// Queues the client for the keys that its command waits for.
fn register(ctx: &mut Context<'_>, block: Block, resume: Resume, args: Args<'_>) -> Arc<Waiter> {
    let client = ctx.session.client.clone();
    let wake = {
        // The client has the waiter, too.
        let client = Arc::downgrade(&client);
        Box::new(move || client.upgrade().iter().for_each(|client| client.wake()))
    };
    let waiter = Arc::new(Waiter::new(
        client.id,
        ctx.keys.db,
        ctx.command.id,
        resume.args.unwrap_or_else(|| OwnedArgs::from_args(args)),
        ctx.session.resp3,
        block.wants,
        resume.when_gone,
        block.keys,
        block.deadline_ms,
        block.on_timeout,
        wake,
    ));
    for key in &waiter.keys {
        let hash = ctx.env.keyspace.hash(key);
        ctx.keys.locked.db_mut(waiter.db, hash).add_waiter(key, &waiter);
    }
    ctx.env.gauges.blocked.fetch_add(1, Ordering::Relaxed);
    client.set_flag(flag::BLOCKED, true);
    *client.waiter.lock() = Some(waiter.clone());
    if let Some(offset) = resume.when_durable {
        let waiter = waiter.clone();
        ctx.env.journal.gate.when_durable(offset, move |_| {
            if waiter.claim() {
                waiter.retry();
            }
        });
    }
    waiter
}

/// Ends a wait whose right was claimed: the reply goes to its client.
pub fn end_wait(env: &Env, waiter: &Waiter, reply: Reply) {
    env.gauges.blocked.fetch_sub(1, Ordering::Relaxed);
    if let Some(client) = env.clients.get(waiter.client) {
        client.set_flag(flag::BLOCKED, false);
        *client.waiter.lock() = None;
    }
    waiter.finish(reply);
}

/// Counts a blocked command that ends without having been served: by its timeout, or with an error.
pub fn count_unblocked(env: &Env, stats: &WorkerStats, waiter: &Waiter, error: Option<&CommandError>) {
    if let Some(error) = error {
        stats.error_replies.add(1);
        env.stats.count_error(error.code());
    }
    count(stats, env.commands.get(waiter.command), 0, error.is_some());
}

/// Takes a waiter that is over out of its keys' queues.
pub fn forget_waiter(env: &Env, waiter: &Arc<Waiter>) {
    for key in &waiter.keys {
        let hash = env.keyspace.hash(key);
        env.keyspace
            .lock_shard(env.keyspace.shard_of(hash))
            .db_mut(waiter.db, hash)
            .remove_waiter(key, waiter);
    }
}

/// Pays what was owed and serves who was waiting for it, until nothing is left.
#[inline]
fn finish(ctx: &mut Context<'_>) {
    let owed = &ctx.keys.effects;
    if owed.dirty == 0 && owed.events.is_empty() && owed.ready.is_empty() && ctx.keys.batch.is_empty() {
        return;
    }
    settle(&mut ctx.keys);
    let mut rounds = 0;
    while !ctx.keys.effects.ready.is_empty() && rounds < WAITER_ROUNDS_MAX {
        serve(ctx);
        settle(&mut ctx.keys);
        rounds += 1;
    }
}

/// Runs `f` with one shard, outside of any command: for what the server does by itself. `None`, with nothing done, when
/// the shard is held for long.
pub fn with_shard<R>(
    env: &Env,
    runner: Runner<'_>,
    shard: u32,
    f: impl FnOnce(&mut View<'_>) -> R,
) -> Option<R> {
    let locked = env.keyspace.try_lock_shard(shard)?;
    let mut view =
        View::new(locked, env, (runner.stats, runner.rng, runner.batch), runner.lane, 0, runner.now);
    let result = f(&mut view);
    settle(&mut view);
    view.commit();
    tell_of_gone(&mut view);
    Some(result)
}

/// Has those who wait for keys that went by themselves call again, if they want to know.
fn tell_of_gone(view: &mut View<'_>) {
    for (db, key) in std::mem::take(&mut view.effects.ready) {
        let hash = view.env.keyspace.hash(&key);
        let Some(part) = view.locked.db(db, hash) else { continue };
        let waiters = (0..).map_while(|i| part.waiter(&key, i));
        waiters.filter(|w| w.when_gone && w.claim()).for_each(|w| w.retry());
    }
}

/// Runs the command of a claimed waiter on its owner's thread.
pub fn run_waiter(env: &Env, runner: Runner<'_>, locked: Locked<'_>, waiter: &Arc<Waiter>) {
    let Some(client) = env.clients.get(waiter.client) else { return };
    let mut session = Session::new(client, true);
    let mut reply = Reply::new(waiter.resp3);
    let (stats, rng, batch) = (runner.stats, runner.rng, runner.batch);
    let keys = View::new(locked, env, (stats, rng, batch), runner.lane, waiter.db, runner.now);
    let command = env.commands.get(waiter.command);
    let (session, reply) = (&mut session, &mut reply);
    let mut ctx = Context { keys, reply, session, env, command, block: None, resumed: false };
    serve_one(&mut ctx, waiter);
    finish(&mut ctx);
    ctx.keys.commit();
}

/// A served waiter can make further keys ready (BLMOVE to a list that someone waits for); a cycle of them ends here
/// at the latest, with every waiter either served or still in place.
const WAITER_ROUNDS_MAX: usize = 10_000;

/// Runs a nested command's handler; counts it by itself.
pub(super) fn invoke(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let start = ctx.env.clock.ticks();
    ctx.keys.set_request(args, None);
    let dirty = ctx.keys.effects.dirty;
    let result = (ctx.command.handler)(ctx, args);
    ctx.keys.journal_command(ctx.command, args, dirty);
    let failed = match &result {
        Ok(()) => false,
        Err(e) => {
            write_error(ctx, e);
            true
        }
    };
    ctx.keys.forget_request();
    let nanos = ctx.env.clock.ticks().saturating_sub(start);
    count(ctx.keys.stats, ctx.command, nanos, failed);
    ctx.env.observe(ctx.session, ctx.command, args, nanos);
    result
}

fn write_error(ctx: &mut Context<'_>, e: &CommandError) {
    ctx.reply.error_bytes(e.as_bytes());
    ctx.keys.stats.error_replies.add(1);
    ctx.env.stats.count_error(e.code());
}

fn count(stats: &WorkerStats, command: &Command, nanos: u64, failed: bool) {
    let s = &stats.commands[command.id];
    s.calls.add(1);
    s.nanos.add(nanos);
    s.latency[latency_bucket(nanos)].add(1);
    if failed {
        s.failed.add(1);
    }
}

/// Pays what the command owes, under its locks: the count of changes, the notifications.
pub(super) fn settle(view: &mut View<'_>) {
    // What the command did is one unit of the journal.
    view.batch.seal();
    let effects = &mut view.effects;
    if effects.dirty > 0 {
        view.env.gauges.dirty.fetch_add(effects.dirty, Ordering::Relaxed);
        effects.dirty = 0;
    }
    if !effects.events.is_empty() {
        let flags = view.env.limits.notify_flags.load(Ordering::Relaxed);
        if let Some(notifier) = view.env.notifier.get() {
            effects.events.iter().for_each(|e| notifier.publish(e, flags));
        }
        effects.events.clear();
    }
}

/// Serves the waiters of the keys that became ready, in the order in which they came.
fn serve(ctx: &mut Context<'_>) {
    let env = ctx.env;
    for (db, key) in std::mem::take(&mut ctx.keys.effects.ready) {
        let hash = env.keyspace.hash(&key);
        if !ctx.keys.locked.try_extend(hash) {
            continue;
        }
        // Those before `next` wait for another type, or could not be served at once.
        let mut next = 0;
        loop {
            let part = ctx.keys.locked.db(db, hash);
            let ty = part.and_then(|d| d.get(hash, &key)).map(Cell::ty);
            let Some(waiter) = part.and_then(|d| d.waiter(&key, next)).cloned() else { break };
            let wanted = ty.is_some_and(|ty| waiter.wants.is_none_or(|t| t == ty));
            if (wanted || waiter.when_gone) && waiter.claim() {
                serve_one(ctx, &waiter);
            }
            if waiter.state() == WaiterState::Done {
                ctx.keys.locked.db_mut(db, hash).remove_waiter(&key, &waiter);
            } else {
                next += 1;
            }
        }
    }
}

/// Runs a claimed waiter's command on its behalf, in this context with the client exchanged.
fn serve_one(ctx: &mut Context<'_>, waiter: &Arc<Waiter>) {
    let env = ctx.env;
    let command = env.commands.get(waiter.command);
    let args = waiter.args.as_args();
    let mut have_all = true;
    command.each_key(args, &mut |i, _| {
        have_all &= ctx.keys.locked.try_extend(env.keyspace.hash(&args[i]));
    });
    // A client that is gone ends its wait by itself; the element stays for the next in line.
    let Some(client) = env.clients.get(waiter.client) else {
        waiter.release();
        return;
    };
    if !have_all {
        waiter.retry();
        return;
    }
    let mut session = Session::new(client, true);
    session.db = waiter.db;
    session.resp3 = waiter.resp3;
    let session = std::mem::replace(ctx.session, session);
    let reply = std::mem::replace(ctx.reply, Reply::new(waiter.resp3));
    let was = (ctx.command, ctx.keys.db, ctx.keys.nested);
    (ctx.command, ctx.keys.db, ctx.keys.nested, ctx.resumed) = (command, waiter.db, false, true);
    let start = env.clock.ticks();
    ctx.keys.set_request(args, None);
    let dirty = ctx.keys.effects.dirty;
    let result = (command.handler)(ctx, args);
    ctx.keys.journal_command(command, args, dirty);
    ctx.keys.forget_request();
    let failed = result.is_err();
    if let Err(e) = &result {
        write_error(ctx, e);
    }
    let nanos = env.clock.ticks().saturating_sub(start);
    (ctx.command, ctx.keys.db, ctx.keys.nested) = was;
    ctx.resumed = false;
    let served = std::mem::replace(ctx.session, session);
    let answer = std::mem::replace(ctx.reply, reply);
    if ctx.block.take().is_some() {
        waiter.release();
        return;
    }
    for key in &waiter.keys {
        let hash = env.keyspace.hash(key);
        if ctx.keys.locked.holds(hash) {
            ctx.keys.locked.db_mut(waiter.db, hash).remove_waiter(key, waiter);
        }
    }
    count(ctx.keys.stats, command, nanos, failed);
    env.observe(&served, command, args, nanos);
    // Its client may answer as soon as it is told: by then the journal has it.
    ctx.keys.commit();
    end_wait(env, waiter, answer);
}
