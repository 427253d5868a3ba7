//! The string family.
use crate::base::num::{fmt_i64, parse_i64};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::Args;
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Kind, Type};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::String);
    vec![
        c("get", Arity::exactly(2), get)
            .readonly()
            .fast()
            .key(1, "ro|access")
            .doc("Returns the string value of a key.")
            .complexity("O(1)"),
        c("set", Arity::at_least(3), set)
            .write()
            .denyoom()
            .key(1, "rw|access|update|variable_flags")
            .doc("Sets the string value of a key, whatever it held; creates it if absent.")
            .complexity("O(1)"),
        c("incr", Arity::exactly(2), incr)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|access|update")
            .doc("Adds one to the integer value of a key; an absent key counts as 0.")
            .complexity("O(1)"),
        c("mget", Arity::at_least(2), mget)
            .readonly()
            .fast()
            .range(1, -1, 1, "ro|access")
            .doc("Returns the string values of several keys, all as of one instant.")
            .complexity("O(N) with N the number of keys"),
        c("mset", Arity::at_least(3), mset)
            .write()
            .denyoom()
            .range(1, -1, 2, "ow|update")
            .since("1.0.1")
            .doc("Sets several keys to string values, all at one instant.")
            .complexity("O(N) with N the number of keys"),
    ]
}

/// Writes a string cell's value as a bulk string.
pub fn write_string(reply: &mut Reply, cell: &Cell) {
    match cell.kind() {
        Kind::StrInt => reply.bulk_int(cell.as_int().expect("the kind says so")),
        Kind::StrBig => reply.bulk_shared(&cell.big_shared().expect("the kind says so")),
        _ => reply.bulk(cell.body()),
    }
}

/// Calls `f` with a string cell's bytes.
pub fn with_bytes<R>(cell: &Cell, f: impl FnOnce(&[u8]) -> R) -> R {
    match cell.kind() {
        Kind::StrInt => f(fmt_i64(&mut [0; 20], cell.as_int().expect("the kind says so"))),
        Kind::StrBig => f(cell.big().expect("the kind says so")),
        _ => f(cell.body()),
    }
}

/// A new string cell, or the old one given a new value; the TTL goes unless `keep_ttl`.
pub fn store(ctx: &mut Context<'_>, key: &[u8], value: &[u8], keep_ttl: bool) {
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        if let Some(collection) = cell.take_large() {
            ctx.env.reclaimer.send(Box::new(collection), 1);
        }
        if !keep_ttl && cell.expire_ms().is_some() {
            cell.set_expire_ms(None);
        }
        cell.set_string(value);
    } else {
        ctx.keys.insert(Cell::string(key, value));
    }
}

fn get(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match ctx.keys.get_type(&args[1], Type::String)? {
        Some(cell) => write_string(ctx.reply, cell),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn set(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let (key, value) = (&args[1], &args[2]);
    store(ctx, key, value, false);
    ctx.keys.signal(notify::STRING, "set", key);
    ctx.reply.ok();
    Ok(())
}

fn incr(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    increment(ctx, &args[1], 1)
}

fn increment(ctx: &mut Context<'_>, key: &[u8], by: i64) -> Outcome {
    let n = if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::String)? {
        let old = match cell.as_int() {
            Some(n) => n,
            None => with_bytes(&cell, parse_i64).ok_or(CommandError::NOT_INTEGER)?,
        };
        let n = old.checked_add(by).ok_or(CommandError::OVERFLOW)?;
        cell.set_int(n);
        n
    } else {
        ctx.keys.insert(Cell::int(key, by));
        by
    };
    ctx.keys.signal(notify::STRING, "incrby", key);
    ctx.reply.int(n);
    Ok(())
}

fn mget(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.reply.array(args.len() - 1);
    for key in args.iter().skip(1) {
        match ctx.keys.get(key) {
            Some(cell) if cell.ty() == Type::String => write_string(ctx.reply, cell),
            _ => ctx.reply.null(),
        }
    }
    Ok(())
}

fn mset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() % 2 == 0 {
        return Err(CommandError::wrong_arity("mset"));
    }
    for i in (1..args.len()).step_by(2) {
        store(ctx, &args[i], &args[i + 1], false);
        ctx.keys.signal(notify::STRING, "set", &args[i]);
    }
    ctx.reply.ok();
    Ok(())
}
