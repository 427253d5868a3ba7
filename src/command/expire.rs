//! Times to live: EXPIRE and its like, TTL and its like, PERSIST.
use crate::base::num::{fmt_u64, parse_i64};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler, since: &'static str| {
        Command::new(name, arity, handler)
            .group(Group::Generic)
            .fast()
            .since(since)
            .categories(&["keyspace"])
            .complexity("O(1)")
    };
    let set = |name, handler, since| c(name, Arity::at_least(3), handler, since).write().key(1, "rw|update");
    let get =
        |name, handler, since| c(name, Arity::exactly(2), handler, since).readonly().key(1, "ro|access");
    vec![
        set("expire", expire, "1.0.0").doc("Sets the time to live of a key, in seconds."),
        set("pexpire", pexpire, "2.6.0").doc("Sets the time to live of a key, in milliseconds."),
        set("expireat", expireat, "1.2.0").doc("Sets the instant at which a key expires, in Unix seconds."),
        set("pexpireat", pexpireat, "2.6.0")
            .doc("Sets the instant at which a key expires, in Unix milliseconds."),
        get("ttl", ttl, "1.0.0").doc("Returns the time to live of a key, in seconds."),
        get("pttl", pttl, "2.6.0").doc("Returns the time to live of a key, in milliseconds."),
        get("expiretime", expiretime, "7.0.0")
            .doc("Returns the instant at which a key expires, in Unix seconds."),
        get("pexpiretime", pexpiretime, "7.0.0")
            .doc("Returns the instant at which a key expires, in Unix milliseconds."),
        c("persist", Arity::exactly(2), persist, "2.2.0")
            .write()
            .key(1, "rw|update")
            .doc("Takes the time to live off a key."),
    ]
}

fn expire(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    expire_generic(ctx, args, now, 1000)
}

fn pexpire(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    expire_generic(ctx, args, now, 1)
}

fn expireat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire_generic(ctx, args, 0, 1000)
}

fn pexpireat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire_generic(ctx, args, 0, 1)
}

/// When a new time to live is taken.
#[derive(Default, Clone, Copy)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut c = Self::default();
        for word in args {
            let flag = match () {
                () if eq_nocase(word, "nx") => &mut c.nx,
                () if eq_nocase(word, "xx") => &mut c.xx,
                () if eq_nocase(word, "gt") => &mut c.gt,
                () if eq_nocase(word, "lt") => &mut c.lt,
                () => {
                    return Err(CommandError::quoting("ERR Unsupported option ", word, ""));
                }
            };
            *flag = true;
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(CommandError::new(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if c.gt && c.lt {
            return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(c)
    }

    /// No time to live counts as an endless one.
    fn allow(self, current: Option<u64>, at: i64) -> bool {
        let current = current.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        !(self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|current| at <= current)
            || self.lt && current.is_some_and(|current| at >= current))
    }
}

/// `base` and the time are in milliseconds; `unit` is how many of them the argument counts.
fn expire_generic(ctx: &mut Context<'_>, args: Args<'_>, base: u64, unit: i64) -> Outcome {
    let key = &args[1];
    let conditions = Conditions::parse(args.from(3))?;
    let given = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    let base = i64::try_from(base).unwrap_or(i64::MAX);
    let at = given.checked_mul(unit).and_then(|ms| ms.checked_add(base));
    let Some(at) = at else {
        return Err(CommandError::invalid_expire(&ctx.command.full_name));
    };
    let horizon = ctx.keys.horizon;
    let Some(mut cell) = ctx.keys.get_mut(key) else {
        ctx.reply.int(0);
        return Ok(());
    };
    if !conditions.allow(cell.expire_ms(), at) {
        drop(cell);
        ctx.reply.int(0);
        return Ok(());
    }
    match u64::try_from(at).ok().filter(|at| *at > horizon) {
        Some(at) => {
            cell.set_expire_ms(Some(at));
            drop(cell);
            ctx.keys.signal(notify::GENERIC, "expire", key);
            ctx.keys.effect(|| OwnedArgs::from_iter([b"PEXPIREAT", key, fmt_u64(&mut [0; 20], at)]));
        }
        None => {
            drop(cell);
            ctx.keys.delete(key);
            ctx.keys.notify(notify::GENERIC, "del", key);
            let word: &[u8] = if ctx.limits().lazyfree_lazy_expire.get() { b"UNLINK" } else { b"DEL" };
            ctx.keys.effect(|| OwnedArgs::from_iter([word, key]));
        }
    }
    ctx.reply.int(1);
    Ok(())
}

fn ttl(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    expiry(ctx, args, |at| (at.saturating_sub(now) + 500) / 1000)
}

fn pttl(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    expiry(ctx, args, |at| at.saturating_sub(now))
}

fn expiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expiry(ctx, args, |at| (at + 500) / 1000)
}

fn pexpiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expiry(ctx, args, |at| at)
}

/// Answers with what `show` makes of the instant of expiry; -1 without one, -2 without the key.
fn expiry(ctx: &mut Context<'_>, args: Args<'_>, show: impl FnOnce(u64) -> u64) -> Outcome {
    let n = match ctx.keys.get_untouched(&args[1]).map(|cell| cell.expire_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(show(at)).unwrap_or(i64::MAX),
    };
    ctx.reply.int(n);
    Ok(())
}

fn persist(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let mut done = false;
    if let Some(mut cell) = ctx.keys.get_mut(key)
        && cell.expire_ms().is_some()
    {
        cell.set_expire_ms(None);
        done = true;
    }
    if done {
        ctx.keys.signal(notify::GENERIC, "persist", key);
    }
    ctx.reply.int(done.into());
    Ok(())
}
