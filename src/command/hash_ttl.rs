//! TTLs of hash fields: HEXPIRE and its kin (Redis 7.4), HGETDEL, HGETEX, HSETEX (Redis 8.0).
use crate::base::num::{fmt_u64, parse_i64};
use crate::command::hash::{read, write, write_elem};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::value::cell::Type;
use crate::value::hash::{self, FieldTtl, HashRef};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler, since: &'static str| {
        Command::new(name, Arity::at_least(arity), handler)
            .group(Group::Hash)
            .fast()
            .since(since)
            .complexity("O(N) with N the number of fields")
    };
    let set = |name, handler| c(name, 6, handler, "7.4.0").write().denyoom().key(1, "rw|update");
    let get = |name, handler| c(name, 5, handler, "7.4.0").readonly().key(1, "ro|access");
    vec![
        set("hexpire", hexpire).doc("Sets the time to live of fields of a hash, in seconds."),
        set("hpexpire", hpexpire).doc("Sets the time to live of fields of a hash, in milliseconds."),
        set("hexpireat", hexpireat)
            .doc("Sets the instant at which fields of a hash expire, in Unix seconds."),
        set("hpexpireat", hpexpireat)
            .doc("Sets the instant at which fields of a hash expire, in Unix milliseconds."),
        get("httl", httl).doc("Returns the time to live of fields of a hash, in seconds."),
        get("hpttl", hpttl).doc("Returns the time to live of fields of a hash, in milliseconds."),
        get("hexpiretime", hexpiretime)
            .doc("Returns the instant at which fields of a hash expire, in Unix seconds."),
        get("hpexpiretime", hpexpiretime)
            .doc("Returns the instant at which fields of a hash expire, in Unix milliseconds."),
        c("hpersist", 5, hpersist, "7.4.0")
            .write()
            .key(1, "rw|update")
            .doc("Takes the time to live off fields of a hash."),
        c("hgetdel", 5, hgetdel, "8.0.0").write().key(1, "rw|access|delete").doc(
            "Returns the values of fields of a hash and removes them, and the key with the last of them.",
        ),
        c("hgetex", 5, hgetex, "8.0.0")
            .write()
            .key(1, "rw|access|update")
            .doc("Returns the values of fields of a hash and sets when they expire."),
        c("hsetex", 6, hsetex, "8.0.0")
            .write()
            .denyoom()
            .key(1, "rw|update")
            .doc("Sets fields of a hash and when they expire; creates it if absent."),
    ]
}

const NO_FIELDS: &str = "ERR Mandatory argument FIELDS is missing or not at the right position";
const FIELDS_MISMATCH: &str = "ERR The `numfields` parameter must match the number of arguments";
const FIELDS_NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";
const FIELDS_ZERO: &str = "ERR Parameter `numFields` should be greater than 0";
const EXPIRE_NEGATIVE: &str = "ERR invalid expire time, must be >= 0";
const ONE_EXPIRY: &str = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
const ONE_CONDITION: &str = "ERR Only one of FXX or FNX arguments can be specified";
const NO_TIME: &str = "ERR missing expire time";
const BAD_COUNT: &str = "ERR invalid number of fields";

/// The last instant that a command may name. Files may go four times as far.
const EXPIRE_MS_MAX: i64 = (1 << 46) - 1;

/// What a field answers to HEXPIRE, HTTL and HPERSIST.
mod code {
    pub const NO_FIELD: i64 = -2;
    pub const NO_TTL: i64 = -1;
    pub const NOT_MET: i64 = 0;
    pub const DONE: i64 = 1;
    pub const REMOVED: i64 = 2;
}

/// How a time is given: what one of it is in milliseconds, and whether it counts from now.
#[derive(Clone, Copy)]
struct Unit {
    ms: i64,
    relative: bool,
}

const SECONDS: Unit = Unit { ms: 1000, relative: true };
const MILLISECONDS: Unit = Unit { ms: 1, relative: true };
const UNIX_SECONDS: Unit = Unit { ms: 1000, relative: false };
const UNIX_MILLISECONDS: Unit = Unit { ms: 1, relative: false };

impl Unit {
    /// By the word that stands before the time.
    fn of(word: &[u8]) -> Option<Unit> {
        match () {
            () if eq_nocase(word, "ex") => Some(SECONDS),
            () if eq_nocase(word, "px") => Some(MILLISECONDS),
            () if eq_nocase(word, "exat") => Some(UNIX_SECONDS),
            () if eq_nocase(word, "pxat") => Some(UNIX_MILLISECONDS),
            () => None,
        }
    }

    /// The instant, in Unix milliseconds.
    fn instant(self, given: &[u8], now: u64, command: &Command) -> Result<u64, CommandError> {
        let given = parse_i64(given).ok_or(CommandError::NOT_INTEGER)?;
        if given < 0 {
            return Err(CommandError::new(EXPIRE_NEGATIVE));
        }
        let base = if self.relative { i64::try_from(now).unwrap_or(i64::MAX) } else { 0 };
        let at = given.checked_mul(self.ms).and_then(|ms| ms.checked_add(base));
        let at = at.filter(|at| *at <= EXPIRE_MS_MAX).and_then(|at| u64::try_from(at).ok());
        at.ok_or_else(|| CommandError::invalid_expire(&command.full_name))
    }
}

/// The fields after `FIELDS n`, where the word stands at `at`; `bad_count` is said of an `n` that is no positive number.
fn fields<'a>(args: Args<'a>, at: usize, bad_count: &'static str) -> Result<Args<'a>, CommandError> {
    if !args.get(at).is_some_and(|word| eq_nocase(word, "fields")) {
        return Err(CommandError::new(NO_FIELDS));
    }
    let n = args.get(at + 1).and_then(parse_i64).filter(|n| *n > 0);
    let n = n.ok_or(CommandError::new(bad_count))?;
    let fields = args.from(at + 2);
    if n != fields.len() as i64 {
        return Err(CommandError::new(FIELDS_MISMATCH));
    }
    Ok(fields)
}

/// `words`, then the number of fields, then the fields themselves.
fn effect(ctx: &mut Context<'_>, words: &[&[u8]], fields: &[&[u8]]) {
    ctx.keys.effect(|| {
        let mut n = [0; 20];
        let n = fmt_u64(&mut n, fields.len() as u64);
        OwnedArgs::from_iter(words.iter().copied().chain([&b"FIELDS"[..], n]).chain(fields.iter().copied()))
    });
}

fn effect_hdel(ctx: &mut Context<'_>, key: &[u8], fields: &[&[u8]]) {
    ctx.keys.effect(|| OwnedArgs::from_iter([&b"HDEL"[..], key].into_iter().chain(fields.iter().copied())));
}

/// What was done to fields that were there.
#[derive(Default)]
struct Changes<'a> {
    updated: Vec<&'a [u8]>,
    removed: Vec<&'a [u8]>,
    emptied: bool,
}

impl Changes<'_> {
    /// The fields expire then, or no longer; those that had to go at once were removed.
    fn tell(self, ctx: &mut Context<'_>, key: &[u8], at: Option<u64>) {
        let n = self.updated.len() + self.removed.len();
        if n == 0 {
            return;
        }
        let event = match (self.removed.is_empty(), at) {
            (false, _) => "hdel",
            (true, Some(_)) => "hexpire",
            (true, None) => "hpersist",
        };
        ctx.keys.signal(notify::HASH, event, key);
        ctx.keys.add_dirty(n as u64 - 1);
        if !self.removed.is_empty() {
            effect_hdel(ctx, key, &self.removed);
        }
        match at {
            _ if self.updated.is_empty() => {}
            Some(at) => effect(ctx, &[b"HPEXPIREAT", key, fmt_u64(&mut [0; 20], at)], &self.updated),
            None => effect(ctx, &[b"HPERSIST", key], &self.updated),
        }
        if self.emptied {
            ctx.keys.delete_emptied(key);
        }
    }
}

fn hexpire(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(ctx, args, SECONDS)
}

fn hpexpire(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(ctx, args, MILLISECONDS)
}

fn hexpireat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(ctx, args, UNIX_SECONDS)
}

fn hpexpireat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(ctx, args, UNIX_MILLISECONDS)
}

/// When a new TTL is taken.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    None,
    Some,
    Later,
    Sooner,
}

impl Condition {
    fn of(word: &[u8]) -> Condition {
        match () {
            () if eq_nocase(word, "nx") => Condition::None,
            () if eq_nocase(word, "xx") => Condition::Some,
            () if eq_nocase(word, "gt") => Condition::Later,
            () if eq_nocase(word, "lt") => Condition::Sooner,
            () => Condition::Always,
        }
    }

    /// No TTL counts as an endless one.
    fn allows(self, was: Option<u64>, at: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::None => was.is_none(),
            Condition::Some => was.is_some(),
            Condition::Later => was.is_some_and(|was| at > was),
            Condition::Sooner => was.is_none_or(|was| at < was),
        }
    }
}

fn expire(ctx: &mut Context<'_>, args: Args<'_>, unit: Unit) -> Outcome {
    ctx.slow_lane(args.len())?;
    let key = &args[1];
    let (now, horizon, seed) = (ctx.now(), ctx.keys.horizon, ctx.env.keyspace.seed());
    let mut cell = ctx.keys.get_mut_type(key, Type::Hash)?;
    let at = unit.instant(&args[2], now, ctx.command)?;
    let condition = Condition::of(&args[3]);
    let from = if matches!(condition, Condition::Always) { 3 } else { 4 };
    let fields = fields(args, from, FIELDS_ZERO)?;
    ctx.reply.array(fields.len());
    let mut changes = Changes::default();
    for i in 0..fields.len() {
        let field = fields.at(i);
        let found = cell.as_ref().and_then(|cell| HashRef::at(cell, horizon).get_with_ttl(field));
        let code = match (found.map(|(_, was)| was), &mut cell) {
            (Some(was), Some(_)) if !condition.allows(was, at) => code::NOT_MET,
            (Some(_), Some(cell)) if at <= horizon => {
                hash::remove(cell, field);
                changes.removed.push(field);
                code::REMOVED
            }
            (Some(_), Some(cell)) => {
                hash::set_expire(cell, field, Some(at), seed);
                changes.updated.push(field);
                code::DONE
            }
            _ => code::NO_FIELD,
        };
        ctx.reply.int(code);
    }
    changes.emptied = cell.as_ref().is_some_and(|cell| HashRef::of(cell).is_empty());
    drop(cell);
    changes.tell(ctx, key, Some(at));
    Ok(())
}

fn httl(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    expiry(ctx, args, |at| at.saturating_sub(now).div_ceil(1000))
}

fn hpttl(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    expiry(ctx, args, |at| at.saturating_sub(now))
}

fn hexpiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expiry(ctx, args, |at| at.div_ceil(1000))
}

fn hpexpiretime(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expiry(ctx, args, |at| at)
}

/// Answers with what `show` makes of each field's instant of expiry.
fn expiry(ctx: &mut Context<'_>, args: Args<'_>, show: impl Fn(u64) -> u64) -> Outcome {
    ctx.slow_lane(args.len())?;
    let hash = read(&mut ctx.keys, &args[1])?;
    let fields = fields(args, 2, FIELDS_NOT_POSITIVE)?;
    ctx.reply.array(fields.len());
    for field in fields.iter() {
        ctx.reply.int(match hash.and_then(|hash| hash.get_with_ttl(field)) {
            None => code::NO_FIELD,
            Some((_, None)) => code::NO_TTL,
            Some((_, Some(at))) => show(at) as i64,
        });
    }
    Ok(())
}

fn hpersist(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    let key = &args[1];
    let (horizon, seed) = (ctx.keys.horizon, ctx.env.keyspace.seed());
    let mut cell = ctx.keys.get_mut_type(key, Type::Hash)?;
    let fields = fields(args, 2, FIELDS_NOT_POSITIVE)?;
    ctx.reply.array(fields.len());
    let mut done = false;
    for field in fields.iter() {
        let found = cell.as_ref().and_then(|cell| HashRef::at(cell, horizon).get_with_ttl(field));
        let code = match (found.map(|(_, at)| at), &mut cell) {
            (Some(Some(_)), Some(cell)) => {
                hash::set_expire(cell, field, None, seed);
                done = true;
                code::DONE
            }
            (Some(_), _) => code::NO_TTL,
            (None, _) => code::NO_FIELD,
        };
        ctx.reply.int(code);
    }
    drop(cell);
    if done {
        ctx.keys.signal(notify::HASH, "hpersist", key);
    }
    Ok(())
}

fn hgetdel(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    let key = &args[1];
    let horizon = ctx.keys.horizon;
    let mut cell = ctx.keys.get_mut_type(key, Type::Hash)?;
    let fields = fields(args, 2, FIELDS_NOT_POSITIVE)?;
    ctx.reply.array(fields.len());
    let mut changes = Changes::default();
    for i in 0..fields.len() {
        let field = fields.at(i);
        let Some(value) = cell.as_ref().and_then(|cell| HashRef::at(cell, horizon).get(field)) else {
            ctx.reply.null();
            continue;
        };
        write_elem(ctx.reply, value);
        if let Some(cell) = &mut cell {
            hash::remove(cell, field);
            changes.removed.push(field);
        }
    }
    changes.emptied = cell.as_ref().is_some_and(|cell| HashRef::of(cell).is_empty());
    drop(cell);
    changes.tell(ctx, key, None);
    Ok(())
}

fn hgetex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    let key = &args[1];
    let (now, horizon, seed) = (ctx.now(), ctx.keys.horizon, ctx.env.keyspace.seed());
    let mut cell = ctx.keys.get_mut_type(key, Type::Hash)?;
    let (mut at, mut from) = (None, 2);
    let persist = eq_nocase(&args[2], "persist");
    if let Some(unit) = Unit::of(&args[2]) {
        at = Some(unit.instant(&args[3], now, ctx.command)?);
        from = 4;
    } else if persist {
        from = 3;
    }
    let fields = fields(args, from, FIELDS_NOT_POSITIVE)?;
    ctx.reply.array(fields.len());
    let mut changes = Changes::default();
    for i in 0..fields.len() {
        let field = fields.at(i);
        let found = cell.as_ref().and_then(|cell| HashRef::at(cell, horizon).get_with_ttl(field));
        let Some((value, was)) = found else {
            ctx.reply.null();
            continue;
        };
        write_elem(ctx.reply, value);
        let Some(cell) = &mut cell else { continue };
        match at {
            Some(at) if at <= horizon => {
                hash::remove(cell, field);
                changes.removed.push(field);
            }
            // As Redis: a TTL that was set again is a change, one that was taken off where there was none is not.
            _ if at.is_some() || (persist && was.is_some()) => {
                hash::set_expire(cell, field, at, seed);
                changes.updated.push(field);
            }
            _ => {}
        }
    }
    changes.emptied = cell.as_ref().is_some_and(|cell| HashRef::of(cell).is_empty());
    drop(cell);
    changes.tell(ctx, key, at);
    Ok(())
}

/// What HSETEX is asked for beside the pairs.
struct SetOptions {
    /// `true`: only if all the fields are there; `false`: only if none is.
    there: Option<bool>,
    ttl: FieldTtl,
    /// Where the pairs start.
    pairs_from: usize,
}

impl SetOptions {
    fn parse(args: Args<'_>, now: u64, command: &Command) -> Result<Self, CommandError> {
        let (mut there, mut ttl) = (None, None);
        let mut i = 2;
        while let Some(word) = args.get(i) {
            if eq_nocase(word, "fields") {
                let arity = || CommandError::wrong_arity(&command.full_name);
                let pairs = args.from(i + 2);
                if pairs.len() < 2 {
                    return Err(arity());
                }
                let n = parse_i64(&args[i + 1]).filter(|n| (1..=i64::from(i32::MAX)).contains(n));
                let n = n.ok_or(CommandError::new(BAD_COUNT))?;
                if !pairs.len().is_multiple_of(2) || n != pairs.len() as i64 / 2 {
                    return Err(arity());
                }
                return Ok(SetOptions { there, ttl: ttl.unwrap_or(FieldTtl::None), pairs_from: i + 2 });
            }
            let (unit, keep) = (Unit::of(word), eq_nocase(word, "keepttl"));
            let (fxx, fnx) = (eq_nocase(word, "fxx"), eq_nocase(word, "fnx"));
            if (unit.is_some() || keep) && ttl.is_some() {
                return Err(CommandError::new(ONE_EXPIRY));
            }
            if let Some(unit) = unit {
                i += 1;
                let given = args.get(i).ok_or(CommandError::new(NO_TIME))?;
                ttl = Some(FieldTtl::At(unit.instant(given, now, command)?));
            } else if keep {
                ttl = Some(FieldTtl::Keep);
            } else if fxx || fnx {
                if there.replace(fxx).is_some() {
                    return Err(CommandError::new(ONE_CONDITION));
                }
            } else {
                return Err(CommandError::quoting("ERR unknown argument: ", word, ""));
            }
            i += 1;
        }
        Err(CommandError::wrong_arity(&command.full_name))
    }
}

fn hsetex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = SetOptions::parse(args, ctx.now(), ctx.command)?;
    ctx.slow_lane(args.len() / 2)?;
    let (key, pairs, horizon) = (&args[1], args.from(options.pairs_from), ctx.keys.horizon);
    let fields: Vec<&[u8]> = (0..pairs.len()).step_by(2).map(|i| pairs.at(i)).collect();
    let cell = ctx.keys.get_mut_type(key, Type::Hash)?;
    let there = |field: &&[u8]| cell.as_ref().is_some_and(|cell| HashRef::at(cell, horizon).contains(field));
    let met = match options.there {
        Some(true) => fields.iter().all(there),
        Some(false) => !fields.iter().any(there),
        None => true,
    };
    drop(cell);
    if !met {
        ctx.reply.int(0);
        return Ok(());
    }
    ctx.reply.int(1);
    match options.ttl {
        FieldTtl::At(at) if at <= horizon => set_and_remove(ctx, key, &fields)?,
        ttl => {
            write(ctx, key, |cell, limits, seed| {
                if fields.len() > 1 {
                    hash::prepare(cell, pairs.iter(), limits, seed);
                }
                for i in (0..pairs.len()).step_by(2) {
                    hash::put(cell, &pairs[i], &pairs[i + 1], ttl, limits, seed);
                }
            })?;
            ctx.keys.signal(notify::HASH, "hset", key);
            ctx.keys.add_dirty(fields.len() as u64 - 1);
            if let FieldTtl::At(at) = ttl {
                ctx.keys.notify(notify::HASH, "hexpire", key);
                ctx.keys.effect(|| {
                    let (mut ms, mut n) = ([0; 20], [0; 20]);
                    let (ms, n) = (fmt_u64(&mut ms, at), fmt_u64(&mut n, fields.len() as u64));
                    OwnedArgs::from_iter(
                        [b"HSETEX", key, b"PXAT", ms, b"FIELDS", n].into_iter().chain(pairs.iter()),
                    )
                });
            }
        }
    }
    Ok(())
}

/// The fields are set to expire in the past: what is left is that they are gone.
fn set_and_remove(ctx: &mut Context<'_>, key: &[u8], fields: &[&[u8]]) -> Outcome {
    let (mut was_there, mut emptied) = (false, false);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Hash)? {
        for field in fields {
            hash::remove(&mut cell, field);
        }
        (was_there, emptied) = (true, HashRef::of(&cell).is_empty());
    }
    ctx.keys.signal(notify::HASH, "hset", key);
    ctx.keys.notify(notify::HASH, "hdel", key);
    ctx.keys.add_dirty(fields.len() as u64 - 1);
    effect_hdel(ctx, key, fields);
    if emptied {
        ctx.keys.delete_emptied(key);
    } else if !was_there {
        ctx.keys.notify(notify::GENERIC, "del", key);
    }
    Ok(())
}
