//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::client::flag;
use crate::command::row::Locks;
use crate::command::session::{Multi, Queued};
use crate::command::{Arity, Command, CommandError, Context, Flags, Group, Outcome};
use crate::resp::args::Args;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| {
        Command::new(name, arity, handler)
            .group(Group::Transactions)
            .noscript()
            .loading()
            .stale()
            .fast()
            .unqueued()
    };
    vec![
        c("multi", Arity::exactly(1), multi)
            .no_multi()
            .allow_busy()
            .since("1.2.0")
            .doc("Starts a transaction: the commands that follow are queued.")
            .complexity("O(1)"),
        Command::new("exec", Arity::exactly(1), exec)
            .group(Group::Transactions)
            .noscript()
            .loading()
            .stale()
            .skip_slowlog()
            .unqueued()
            .locks(Locks::Queue)
            .since("1.2.0")
            .doc("Runs the queued commands of a transaction as one atomic step.")
            .complexity("Depends on the queued commands"),
        c("discard", Arity::exactly(1), discard)
            .allow_busy()
            .locks(Locks::Queue)
            .since("2.0.0")
            .doc("Drops the queued commands of a transaction.")
            .complexity("O(N) with N the number of queued commands"),
        c("watch", Arity::at_least(2), watch)
            .no_multi()
            .allow_busy()
            .range(1, -1, 1, "ro")
            .since("2.2.0")
            .doc("Makes the next EXEC run only if none of these keys has changed by then.")
            .complexity("O(1) a key"),
        Command::new("unwatch", Arity::exactly(1), unwatch)
            .group(Group::Transactions)
            .noscript()
            .loading()
            .stale()
            .allow_busy()
            .fast()
            .locks(Locks::Queue)
            .since("2.2.0")
            .doc("Forgets the watched keys.")
            .complexity("O(1)"),
    ]
}

fn multi(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if ctx.session.in_multi() {
        return Err(CommandError::new("ERR MULTI calls can not be nested"));
    }
    ctx.session.multi = Some(Multi::default());
    ctx.client().queued.store(0, Ordering::Relaxed);
    ctx.client().set_flag(flag::MULTI, true);
    ctx.reply.ok();
    Ok(())
}

/// Leaves the transaction; gives back what was queued.
fn leave(ctx: &mut Context<'_>) -> Option<Multi> {
    ctx.client().queued.store(-1, Ordering::Relaxed);
    ctx.client().queued_bytes.store(0, Ordering::Relaxed);
    ctx.client().set_flag(flag::MULTI | flag::DIRTY_CAS, false);
    ctx.session.multi.take()
}

fn exec(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let waits = |q: &Queued| ctx.env.commands.get(q.command).flags.has(Flags::WAITS_OUTSIDE);
    if ctx.session.multi.as_ref().is_some_and(|multi| multi.queue.iter().any(waits)) {
        ctx.slow_lane(usize::MAX)?;
    }
    let Some(multi) = leave(ctx) else {
        return Err(CommandError::new("ERR EXEC without MULTI"));
    };
    let broken = ctx.session.watch.as_ref().is_some_and(|w| w.broken()) || watched_expired(ctx);
    drop_watches(ctx);
    if multi.aborted {
        return Err(CommandError::new("EXECABORT Transaction discarded because of previous errors."));
    }
    if broken {
        ctx.reply.null_array();
        return Ok(());
    }
    ctx.reply.array(multi.queue.len());
    let env = ctx.env;
    for queued in &multi.queue {
        // An error is the reply of its own command; the others run all the same.
        let _ = ctx.run_nested(env.commands.get(queued.command), queued.args.as_args());
    }
    Ok(())
}

/// A watched key that was alive when it was watched and whose time has come since counts as changed.
fn watched_expired(ctx: &mut Context<'_>) -> bool {
    let watched = &ctx.session.watched;
    let keys = &mut ctx.keys;
    watched.iter().any(|(db, key)| {
        keys.in_db(*db, |keys| {
            let hash = keys.env().keyspace.hash(key);
            let now = keys.now;
            let part = keys.locked().db(*db, hash);
            part.and_then(|d| d.get(hash, key)).and_then(|c| c.expire_ms()).is_some_and(|at| at <= now)
        })
    })
}

fn drop_watches(ctx: &mut Context<'_>) {
    if let Some(watch) = ctx.session.watch.take() {
        for (db, key) in ctx.session.watched.drain(..) {
            let hash = ctx.env.keyspace.hash(&key);
            ctx.keys.locked().db_mut(db, hash).unwatch(&key, &watch);
        }
    }
    ctx.client().watching.store(0, Ordering::Relaxed);
}

fn discard(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    if leave(ctx).is_none() {
        return Err(CommandError::new("ERR DISCARD without MULTI"));
    }
    drop_watches(ctx);
    ctx.reply.ok();
    Ok(())
}

fn watch(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if ctx.session.in_multi() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    let watch = ctx.session.watch.get_or_insert_with(Arc::default).clone();
    for key in args.iter().skip(1) {
        let db = ctx.session.db;
        if ctx.session.watched.iter().any(|(d, k)| *d == db && **k == *key) {
            continue;
        }
        // A key that is already due counts as absent from the start.
        if !ctx.keys.exists(key) {
            let _ = ctx.keys.get_mut(key);
        }
        ctx.session.watched.push((db, key.into()));
        let hash = ctx.env.keyspace.hash(key);
        ctx.keys.locked().db_mut(db, hash).watch(key, &watch);
    }
    ctx.client().watching.store(ctx.session.watched.len(), Ordering::Relaxed);
    ctx.reply.ok();
    Ok(())
}

/// Ends an open transaction and forgets the watched keys, which are locked: RESET.
pub fn reset(ctx: &mut Context<'_>) {
    leave(ctx);
    drop_watches(ctx);
}

fn unwatch(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    drop_watches(ctx);
    ctx.reply.ok();
    Ok(())
}
