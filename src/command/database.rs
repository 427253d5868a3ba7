//! Commands on a whole database: KEYS, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.
use crate::base::glob::glob_match;
use crate::base::num::parse_i64;
use crate::command::row::Locks;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::keyspace::Db;
use crate::resp::args::{Args, OwnedArgs, eq_nocase};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler);
    vec![
        c("keys", Arity::exactly(2), keys)
            .readonly()
            .locks(Locks::Walk)
            .categories(&["keyspace", "dangerous"])
            .doc("Lists the keys that match a pattern.")
            .complexity("O(N) with N the number of keys in the database"),
        c("randomkey", Arity::exactly(1), random_key)
            .readonly()
            .touches_arbitrary_keys()
            .locks(Locks::Walk)
            .categories(&["keyspace"])
            .doc("Returns one of the database's keys at random.")
            .complexity("O(1)"),
        c("dbsize", Arity::exactly(1), dbsize)
            .group(Group::Server)
            .readonly()
            .fast()
            .locks(Locks::Walk)
            .categories(&["keyspace"])
            .doc("Counts the database's keys.")
            .complexity("O(1)"),
        c("flushdb", Arity::at_least(1), flushdb)
            .group(Group::Server)
            .write()
            .locks(Locks::All)
            .categories(&["keyspace", "dangerous"])
            .doc("Removes all keys of the database.")
            .complexity("O(N) with N the number of keys; freed in the background when there are many"),
        c("flushall", Arity::at_least(1), flushall)
            .group(Group::Server)
            .write()
            .locks(Locks::All)
            .categories(&["keyspace", "dangerous"])
            .doc("Removes all keys of all databases.")
            .complexity("O(N) with N the number of keys; freed in the background when there are many"),
        c("swapdb", Arity::exactly(3), swapdb)
            .group(Group::Server)
            .write()
            .fast()
            .locks(Locks::All)
            .since("4.0.0")
            .categories(&["keyspace", "dangerous"])
            .doc("Exchanges two databases: clients of one see the other's keys at once.")
            .complexity("O(N) with N the number of clients that watch or wait for keys of the two"),
    ]
}

fn keys(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let estimate = ctx.keys.estimate_len()?;
    ctx.slow_lane(estimate)?;
    let pattern = &args[1];
    let (all, now) = (pattern == b"*", ctx.keys.horizon);
    let at = ctx.reply.defer();
    let mut n = 0;
    for shard in 0..ctx.env.keyspace.shards() as u32 {
        ctx.keys.walk(shard, |db| {
            let alive = db.table().iter().filter(|cell| cell.expire_ms().is_none_or(|at| at > now));
            for cell in alive.filter(|cell| all || glob_match(pattern, cell.key(), false)) {
                ctx.reply.bulk(cell.key());
                n += 1;
            }
        })?;
    }
    ctx.reply.finish_array(at, n);
    Ok(())
}

/// With so many keys in a shard, the others have about as many, and any shard will do.
const RANDOM_SHARD_MIN: usize = 16;

/// Expired keys that RANDOMKEY removes before it gives up.
const RANDOM_EXPIRED_MAX: usize = 1_000;

fn random_key(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    for _ in 0..RANDOM_EXPIRED_MAX {
        let Some(shard) = random_shard(ctx)? else { break };
        let found = ctx.keys.visit(shard, |keys| {
            let (db, now) = (keys.db, keys.horizon);
            let part = keys.locked.part_of(db, shard)?;
            let cell = part.table().random(&mut |n| keys.rng.below(n))?;
            let key = cell.key().to_vec();
            let expired = cell.expire_ms().is_some_and(|at| at <= now);
            if expired {
                keys.expire(&key);
            }
            (!expired).then_some(key)
        })?;
        if let Some(key) = found {
            ctx.reply.bulk(&key);
            return Ok(());
        }
    }
    ctx.reply.null();
    Ok(())
}

/// A shard that has keys. With many keys a shard, as good as any; with few, drawn by its number of keys.
fn random_shard(ctx: &mut Context<'_>) -> Result<Option<u32>, CommandError> {
    let shards = ctx.env.keyspace.shards();
    let shard = ctx.keys.rng.below(shards as u64) as u32;
    if ctx.keys.walk(shard, Db::len)?.unwrap_or(0) >= RANDOM_SHARD_MIN {
        return Ok(Some(shard));
    }
    let (mut total, mut chosen) = (0, None);
    for shard in 0..shards as u32 {
        let len = ctx.keys.walk(shard, Db::len)?.unwrap_or(0) as u64;
        total += len;
        if len > 0 && ctx.keys.rng.below(total) < len {
            chosen = Some(shard);
        }
    }
    Ok(chosen)
}

fn dbsize(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let mut n = 0;
    for shard in 0..ctx.env.keyspace.shards() as u32 {
        n += ctx.keys.walk(shard, Db::len)?.unwrap_or(0);
    }
    ctx.reply.int(n as i64);
    Ok(())
}

fn flushdb(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let db = ctx.keys.db;
    flush(ctx, args, db..db + 1)
}

fn flushall(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let all = 0..ctx.env.keyspace.databases();
    flush(ctx, args, all)?;
    let env = ctx.env;
    if env.flushed.get().is_some_and(|flushed| flushed(env, ctx.keys.locked())) {
        ctx.keys.saved();
    }
    Ok(())
}

/// Up to this many keys a synchronous flush frees them itself; every client would wait for more.
const FLUSH_IN_PLACE_MAX: usize = 10_000;

fn flush(ctx: &mut Context<'_>, args: Args<'_>, databases: std::ops::Range<usize>) -> Outcome {
    let background = match args.get(1) {
        None => ctx.limits().lazyfree_lazy_user_flush.get(),
        Some(word) if args.len() == 2 && eq_nocase(word, "async") => true,
        Some(word) if args.len() == 2 && eq_nocase(word, "sync") => false,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let (mut tables, mut n) = (Vec::new(), 0);
    for db in databases {
        if ctx.keys.locked().parts(db).all(Db::is_empty) {
            continue;
        }
        ctx.keys.database_goes(db);
        for part in ctx.keys.locked().parts_mut(db).filter(|part| !part.is_empty()) {
            n += part.len();
            tables.push(part.take_all());
        }
    }
    if background {
        ctx.env.reclaimer.send(Box::new(tables), n);
    } else if n > FLUSH_IN_PLACE_MAX {
        // Nobody asked for the background: it does not count as lazily freed.
        ctx.env.reclaimer.send(Box::new(tables), 0);
    }
    ctx.keys.add_dirty(n as u64);
    // Also when nothing was there: whoever replays it may have something.
    ctx.keys.effect(|| OwnedArgs::from_args(args));
    ctx.reply.ok();
    Ok(())
}

fn swapdb(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let number = |i: usize, text: &'static str| {
        let n = parse_i64(&args[i]).and_then(|n| i32::try_from(n).ok());
        n.ok_or_else(|| CommandError::new(text))
    };
    let first = number(1, "ERR invalid first DB index")?;
    let second = number(2, "ERR invalid second DB index")?;
    let databases = ctx.env.keyspace.databases();
    let database =
        |n: i32| usize::try_from(n).ok().filter(|n| *n < databases).ok_or(CommandError::DB_OUT_OF_RANGE);
    let (a, b) = (database(first)?, database(second)?);
    if a != b {
        [a, b].iter().for_each(|db| ctx.keys.database_goes(*db));
        ctx.keys.locked().swap_dbs(a, b);
        [a, b].iter().for_each(|db| ctx.keys.database_came(*db));
    }
    ctx.keys.add_dirty(1);
    ctx.reply.ok();
    Ok(())
}
