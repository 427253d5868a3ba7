//! The string family. GET, SET and INCR are the hottest commands there are: no allocation but the stored cell.
use std::cmp::Ordering;

use crate::base::longdouble::LongDouble;
use crate::base::num::{fmt_i64, parse_i64};
use crate::command::{Arity, Command, CommandError, Context, Env, Group, Outcome, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::blob::Blob;
use crate::value::cell::{Cell, Kind, STRING_INLINE_BYTES_MAX, Type};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::String);
    let keys = "O(N) with N the number of keys";
    let counter = |name, arity, handler, doc| {
        c(name, arity, handler)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|access|update")
            .doc(doc)
            .complexity("O(1)")
    };
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
        c("setnx", Arity::exactly(3), setnx)
            .write()
            .denyoom()
            .fast()
            .key(1, "ow|insert")
            .deprecated("2.6.12", "`SET` with the `NX` option")
            .doc("Sets the string value of a key unless it exists.")
            .complexity("O(1)"),
        c("setex", Arity::exactly(4), setex)
            .write()
            .denyoom()
            .key(1, "ow|update")
            .since("2.0.0")
            .deprecated("2.6.12", "`SET` with the `EX` option")
            .doc("Sets the string value of a key and its time to live in seconds.")
            .complexity("O(1)"),
        c("psetex", Arity::exactly(4), psetex)
            .write()
            .denyoom()
            .key(1, "ow|update")
            .since("2.6.0")
            .deprecated("2.6.12", "`SET` with the `PX` option")
            .doc("Sets the string value of a key and its time to live in milliseconds.")
            .complexity("O(1)"),
        c("getset", Arity::exactly(3), getset)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|access|update")
            .deprecated("6.2.0", "`SET` with the `GET` option")
            .doc("Sets the string value of a key and returns the previous one.")
            .complexity("O(1)"),
        c("getdel", Arity::exactly(2), getdel)
            .write()
            .fast()
            .key(1, "rw|access|delete")
            .since("6.2.0")
            .doc("Returns the string value of a key and deletes it.")
            .complexity("O(1)"),
        c("getex", Arity::at_least(2), getex)
            .write()
            .fast()
            .key(1, "rw|access|update")
            .since("6.2.0")
            .doc("Returns the string value of a key and changes when it expires.")
            .complexity("O(1)"),
        c("append", Arity::exactly(3), append)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|insert")
            .since("2.0.0")
            .doc("Adds to the end of a string; creates the key if absent.")
            .complexity("O(1), amortised over appends"),
        c("strlen", Arity::exactly(2), strlen)
            .readonly()
            .fast()
            .key(1, "ro")
            .since("2.2.0")
            .doc("Returns the length of a string in bytes.")
            .complexity("O(1)"),
        c("setrange", Arity::exactly(4), setrange)
            .write()
            .denyoom()
            .key(1, "rw|update")
            .since("2.2.0")
            .doc("Overwrites part of a string, from an offset on; creates the key if absent.")
            .complexity("O(N) with N the bytes written"),
        c("getrange", Arity::exactly(4), getrange)
            .readonly()
            .key(1, "ro|access")
            .since("2.4.0")
            .doc("Returns part of a string.")
            .complexity("O(N) with N the bytes returned"),
        c("substr", Arity::exactly(4), getrange)
            .readonly()
            .key(1, "ro|access")
            .deprecated("2.0.0", "`GETRANGE`")
            .doc("Returns part of a string.")
            .complexity("O(N) with N the bytes returned"),
        counter(
            "incr",
            Arity::exactly(2),
            incr,
            "Adds one to the integer value of a key; an absent key counts as 0.",
        ),
        counter(
            "decr",
            Arity::exactly(2),
            decr,
            "Subtracts one from the integer value of a key; an absent key counts as 0.",
        ),
        counter(
            "incrby",
            Arity::exactly(3),
            incrby,
            "Adds a number to the integer value of a key; an absent key counts as 0.",
        ),
        counter(
            "decrby",
            Arity::exactly(3),
            decrby,
            "Subtracts a number from the integer value of a key; an absent key counts as 0.",
        ),
        counter(
            "incrbyfloat",
            Arity::exactly(3),
            incrbyfloat,
            "Adds a number to the floating-point value of a key; an absent key counts as 0.",
        )
        .since("2.6.0"),
        c("mget", Arity::at_least(2), mget)
            .readonly()
            .fast()
            .range(1, -1, 1, "ro|access")
            .doc("Returns the string values of several keys, all as of one instant.")
            .complexity(keys),
        c("mset", Arity::at_least(3), mset)
            .write()
            .denyoom()
            .range(1, -1, 2, "ow|update")
            .since("1.0.1")
            .doc("Sets several keys to string values, all at one instant.")
            .complexity(keys),
        c("msetnx", Arity::at_least(3), msetnx)
            .write()
            .denyoom()
            .range(1, -1, 2, "ow|insert")
            .since("1.0.1")
            .doc("Sets several keys to string values, unless one of them exists.")
            .complexity(keys),
        c("lcs", Arity::at_least(3), lcs)
            .readonly()
            .range(1, 1, 1, "ro|access")
            .since("7.0.0")
            .doc("Finds the longest common subsequence of two strings.")
            .complexity("O(N*M) with N and M the lengths of the strings"),
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

/// Bytes of a string cell's value.
pub fn string_len(cell: &Cell) -> usize {
    with_bytes(cell, <[u8]>::len)
}

/// Calls `f` with a string cell's bytes to be changed, filled up with zeros to `len` where they were fewer. The cell
/// counts as mutated.
pub fn edit_bytes<R>(cell: &mut Cell, len: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
    let missing = len.saturating_sub(string_len(cell));
    extend_string(cell, missing, b"");
    if cell.kind() == Kind::StrBig {
        f(cell.big_mut().expect("the kind says so"))
    } else {
        f(cell.blob().bytes_mut())
    }
}

/// Adds zeros and then `tail` to the end of a string cell's bytes, which costs no more than what is added, amortised.
/// The cell counts as mutated.
pub fn extend_string(cell: &mut Cell, zeros: usize, tail: &[u8]) {
    static ZEROS: [u8; STRING_INLINE_BYTES_MAX] = [0; STRING_INLINE_BYTES_MAX];
    if let Some(n) = cell.as_int() {
        cell.set_raw_string(fmt_i64(&mut [0; 20], n));
    }
    let old = string_len(cell);
    let len = old + zeros + tail.len();
    if len == old {
        // Nothing to add; a write in place follows.
    } else if len <= STRING_INLINE_BYTES_MAX && cell.kind() != Kind::StrBig {
        let mut blob = cell.blob();
        if zeros > 0 {
            blob.splice(old, 0, &ZEROS[..zeros]);
        }
        blob.splice(old + zeros, 0, tail);
    } else if cell.kind() == Kind::StrBig && zeros <= old {
        let bytes = cell.big_mut().expect("the kind says so");
        if bytes.capacity() < len {
            // Doubling would waste too much of large strings.
            let spare = if len < 1 << 20 { len } else { len / 8 };
            bytes.reserve_exact(len + spare - old);
        }
        bytes.resize(old + zeros, 0);
        bytes.extend_from_slice(tail);
    } else {
        // Fresh zeros come from the system untouched, so that a far offset costs nothing.
        let mut bytes = vec![0; len];
        with_bytes(cell, |was| bytes[..old].copy_from_slice(was));
        bytes[old + zeros..].copy_from_slice(tail);
        cell.set_big(std::sync::Arc::new(bytes));
    }
    cell.set_mutated();
}

/// Refuses to make a string longer than `proto-max-bulk-len`.
pub fn check_len(ctx: &Context<'_>, len: usize, more: usize) -> Outcome {
    match len.checked_add(more) {
        Some(sum) if sum <= ctx.limits().proto_max_bulk_len.get() => Ok(()),
        _ => Err(CommandError::STRING_TOO_LONG),
    }
}

/// What becomes of a key's time to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    Clear,
    Keep,
    /// Unix milliseconds.
    At(u64),
}

/// Gives the key a string value, in its best encoding. The caller signals.
#[inline]
pub fn store(ctx: &mut Context<'_>, key: &[u8], value: &[u8], ttl: Ttl) {
    let mut other_type = false;
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        if !matches!(cell.kind(), Kind::StrRaw | Kind::StrInt) {
            other_type = cell.ty() != Type::String;
            discard_value(ctx.env, &mut cell);
        }
        match ttl {
            Ttl::Keep => {}
            Ttl::Clear if cell.expire_ms().is_none() => {}
            Ttl::Clear => cell.set_expire_ms(None),
            Ttl::At(ms) => cell.set_expire_ms(Some(ms)),
        }
        cell.set_string(value);
    } else {
        let mut cell = Cell::string(key, value);
        if let Ttl::At(ms) = ttl {
            cell.set_expiry(Some((ms, 0)));
        }
        ctx.keys.insert(cell);
    }
    if other_type {
        // Who waits for a stream's group there is to know.
        ctx.keys.ready(key);
    }
}

/// What takes long to free is freed in the background before its place is taken.
#[cold]
fn discard_value(env: &Env, cell: &mut Cell) {
    const EFFORT_MAX: usize = 64;
    const BYTES_MAX: usize = 1 << 20;
    if let Some(bytes) = cell.big_shared().filter(|bytes| bytes.capacity() > BYTES_MAX) {
        cell.set_raw_string(b"");
        env.reclaimer.send(Box::new(bytes), 1);
    } else if let Some(collection) = cell.take_large().filter(|c| c.free_effort() > EFFORT_MAX) {
        env.reclaimer.send(Box::new(collection), 1);
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
        return set_with_options(ctx, args);
    }
    let key = &args[1];
    store(ctx, key, &args[2], Ttl::Clear);
    ctx.keys.signal(notify::STRING, "set", key);
    ctx.reply.ok();
    Ok(())
}

/// The options of SET and GETEX.
#[derive(Default)]
struct Options<'a> {
    if_absent: bool,
    if_present: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    expiry: Option<(Expiry, &'a [u8])>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, from: usize, getex: bool) -> Result<Self, CommandError> {
        let mut o = Options::default();
        let mut i = from;
        while let Some(word) = args.get(i) {
            let is = |w| eq_nocase(word, w);
            if !getex && is("nx") && !o.if_present {
                o.if_absent = true;
            } else if !getex && is("xx") && !o.if_absent {
                o.if_present = true;
            } else if !getex && is("get") {
                o.get = true;
            } else if !getex && is("keepttl") && o.expiry.is_none() {
                o.keep_ttl = true;
            } else if getex && is("persist") && o.expiry.is_none() {
                o.persist = true;
            } else {
                let expiry = match () {
                    () if is("ex") => Expiry::Ex,
                    () if is("px") => Expiry::Px,
                    () if is("exat") => Expiry::ExAt,
                    () if is("pxat") => Expiry::PxAt,
                    () => return Err(CommandError::SYNTAX),
                };
                let another = o.expiry.is_some_and(|(e, _)| e != expiry);
                let Some(time) = args.get(i + 1).filter(|_| !another && !o.keep_ttl && !o.persist) else {
                    return Err(CommandError::SYNTAX);
                };
                o.expiry = Some((expiry, time));
                i += 1;
            }
            i += 1;
        }
        Ok(o)
    }

    /// When the key is to expire, Unix milliseconds.
    fn deadline(&self, ctx: &Context<'_>) -> Result<Option<u64>, CommandError> {
        self.expiry.map(|(expiry, time)| deadline(ctx, expiry, time)).transpose()
    }
}

fn deadline(ctx: &Context<'_>, expiry: Expiry, time: &[u8]) -> Result<u64, CommandError> {
    let n = parse_i64(time).ok_or(CommandError::NOT_INTEGER)?;
    let unit = if matches!(expiry, Expiry::Ex | Expiry::ExAt) { 1000 } else { 1 };
    let base = if matches!(expiry, Expiry::Ex | Expiry::Px) { ctx.now() as i64 } else { 0 };
    n.checked_mul(unit)
        .and_then(|ms| ms.checked_add(base))
        .filter(|_| n > 0)
        .map(|ms| ms as u64)
        .ok_or_else(|| CommandError::invalid_expire(&ctx.command.full_name))
}

fn set_with_options(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, value) = (&args[1], &args[2]);
    let o = Options::parse(args, 3, false)?;
    let deadline = o.deadline(ctx)?;
    if o.get {
        get(ctx, args)?;
    }
    if o.if_absent || o.if_present {
        let exists = ctx.keys.get_mut(key).is_some();
        if exists && o.if_absent || !exists && o.if_present {
            if !o.get {
                ctx.reply.null();
            }
            return Ok(());
        }
    }
    let ttl = match deadline {
        Some(ms) => Ttl::At(ms),
        None if o.keep_ttl => Ttl::Keep,
        None => Ttl::Clear,
    };
    store_and_signal(ctx, key, value, ttl);
    if o.get && deadline.is_none() {
        ctx.keys.effect(|| {
            let words = args.iter().enumerate().filter(|(i, word)| *i < 3 || !eq_nocase(word, "get"));
            OwnedArgs::from_iter(words.map(|(_, word)| word))
        });
    }
    if !o.get {
        ctx.reply.ok();
    }
    Ok(())
}

/// `store`, with the change counted, told, and stated with an absolute time.
fn store_and_signal(ctx: &mut Context<'_>, key: &[u8], value: &[u8], ttl: Ttl) {
    store(ctx, key, value, ttl);
    ctx.keys.signal(notify::STRING, "set", key);
    if let Ttl::At(ms) = ttl {
        ctx.keys.notify(notify::GENERIC, "expire", key);
        ctx.keys
            .effect(|| OwnedArgs::from_iter([b"SET", key, value, b"PXAT", fmt_i64(&mut [0; 20], ms as i64)]));
    }
}

fn setnx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let absent = ctx.keys.get_mut(key).is_none();
    if absent {
        store_and_signal(ctx, key, &args[2], Ttl::Clear);
    }
    ctx.reply.int(i64::from(absent));
    Ok(())
}

fn setex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let at = deadline(ctx, Expiry::Ex, &args[2])?;
    store_and_signal(ctx, &args[1], &args[3], Ttl::At(at));
    ctx.reply.ok();
    Ok(())
}

fn psetex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let at = deadline(ctx, Expiry::Px, &args[2])?;
    store_and_signal(ctx, &args[1], &args[3], Ttl::At(at));
    ctx.reply.ok();
    Ok(())
}

fn getset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    get(ctx, args)?;
    store_and_signal(ctx, &args[1], &args[2], Ttl::Clear);
    ctx.keys.effect(|| OwnedArgs::from_iter([b"SET", &args[1], &args[2]]));
    Ok(())
}

fn getdel(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    get(ctx, args)?;
    if ctx.keys.delete(key) {
        ctx.keys.notify(notify::GENERIC, "del", key);
        ctx.keys.effect(|| OwnedArgs::from_iter([b"DEL", key]));
    }
    Ok(())
}

fn getex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let o = Options::parse(args, 2, true)?;
    let Some(cell) = ctx.keys.get_type(key, Type::String)? else {
        ctx.reply.null();
        return Ok(());
    };
    let has_ttl = cell.expire_ms().is_some();
    let deadline = o.deadline(ctx)?;
    get_quietly(ctx, key);
    if let Some(at) = deadline {
        if at <= ctx.keys.horizon {
            ctx.keys.delete(key);
            ctx.keys.notify(notify::GENERIC, "del", key);
            ctx.keys.effect(|| OwnedArgs::from_iter([b"DEL", key]));
            return Ok(());
        }
        ctx.keys.set_expire_ms(key, Some(at));
        ctx.keys.signal(notify::GENERIC, "expire", key);
        ctx.keys.effect(|| OwnedArgs::from_iter([b"PEXPIREAT", key, fmt_i64(&mut [0; 20], at as i64)]));
    } else if o.persist && has_ttl {
        ctx.keys.set_expire_ms(key, None);
        ctx.keys.signal(notify::GENERIC, "persist", key);
        ctx.keys.effect(|| OwnedArgs::from_iter([b"PERSIST", key]));
    }
    Ok(())
}

/// Writes the value of a key that was just looked up.
fn get_quietly(ctx: &mut Context<'_>, key: &[u8]) {
    match ctx.keys.peek(key) {
        Some(cell) => write_string(ctx.reply, cell),
        None => ctx.reply.null(),
    }
}

fn append(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, tail) = (&args[1], &args[2]);
    let len = ctx.keys.get_mut_type(key, Type::String)?.map(|cell| string_len(&cell));
    let len = if let Some(len) = len {
        check_len(ctx, len, tail.len())?;
        if let Some(mut cell) = ctx.keys.get_mut(key) {
            extend_string(&mut cell, 0, tail);
        }
        len + tail.len()
    } else {
        ctx.keys.insert(Cell::string(key, tail));
        tail.len()
    };
    ctx.keys.signal(notify::STRING, "append", key);
    ctx.reply.int(len as i64);
    Ok(())
}

fn strlen(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = ctx.keys.get_type(&args[1], Type::String)?.map_or(0, string_len);
    ctx.reply.int(len as i64);
    Ok(())
}

fn setrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, value) = (&args[1], &args[3]);
    let offset = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::OFFSET_OUT_OF_RANGE)?;
    let len = ctx.keys.get_mut_type(key, Type::String)?.map(|cell| string_len(&cell));
    if value.is_empty() {
        ctx.reply.int(len.unwrap_or(0) as i64);
        return Ok(());
    }
    check_len(ctx, offset, value.len())?;
    let end = offset + value.len();
    edit_or_create(ctx, key, end, |bytes| bytes[offset..end].copy_from_slice(value));
    ctx.keys.signal(notify::STRING, "setrange", key);
    ctx.reply.int(end.max(len.unwrap_or(0)) as i64);
    Ok(())
}

/// `edit_bytes` on the key's string, an empty one where it is absent. The caller knows that it holds no other type.
pub fn edit_or_create<R>(ctx: &mut Context<'_>, key: &[u8], len: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        return edit_bytes(&mut cell, len, f);
    }
    let mut cell = Cell::raw_string(key, b"");
    let result = edit_bytes(&mut cell, len, f);
    ctx.keys.insert(cell);
    result
}

/// Bytes that take a worker as long as one element of a collection does.
pub const BYTES_AN_ELEMENT: usize = 4096;

fn getrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let start = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    let end = parse_i64(&args[3]).ok_or(CommandError::NOT_INTEGER)?;
    let Some(cell) = ctx.keys.get_type(key, Type::String)? else {
        ctx.reply.bulk(b"");
        return Ok(());
    };
    let range = byte_range(start, end, string_len(cell));
    if let Some(bytes) = cell.big_shared()
        && range.len() / BYTES_AN_ELEMENT > crate::command::SLOW_LANE_COST
    {
        ctx.slow_lane(range.len() / BYTES_AN_ELEMENT)?;
        ctx.release_keys();
        ctx.reply.bulk(&bytes[range]);
        return Ok(());
    }
    with_bytes(cell, |bytes| ctx.reply.bulk(&bytes[range]));
    Ok(())
}

/// The bytes from `start` to `end` inclusive, each counted from the end where negative; empty where there are none.
fn byte_range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_front = |i: i64| if i < 0 { (len + i).max(0) } else { i };
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

fn incr(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    increment(ctx, &args[1], 1)
}

fn decr(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    increment(ctx, &args[1], -1)
}

fn incrby(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    increment(ctx, &args[1], parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?)
}

fn decrby(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let by = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    increment(ctx, &args[1], by.checked_neg().ok_or(CommandError::new("ERR decrement would overflow"))?)
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

fn incrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let old = match ctx.keys.get_mut_type(key, Type::String)? {
        Some(cell) => with_bytes(&cell, LongDouble::parse).ok_or(CommandError::NOT_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let sum = old.add(LongDouble::parse(&args[2]).ok_or(CommandError::NOT_FLOAT)?);
    if sum.is_nan() || sum.is_infinite() {
        return Err(CommandError::NAN_OR_INFINITY);
    }
    let mut text = Vec::new();
    sum.write_human(&mut text);
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        cell.set_raw_string(&text);
    } else {
        ctx.keys.insert(Cell::raw_string(key, &text));
    }
    ctx.keys.signal(notify::STRING, "incrbyfloat", key);
    // The sum as it came out here: arithmetic elsewhere may round otherwise.
    ctx.keys.effect(|| OwnedArgs::from_iter([b"SET", key, &text[..], b"KEEPTTL"]));
    ctx.reply.bulk(&text);
    Ok(())
}

fn mget(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
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
    store_all(ctx, args)?;
    ctx.reply.ok();
    Ok(())
}

fn store_all(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(&ctx.command.full_name));
    }
    ctx.slow_lane(args.len() / 2)?;
    let mut words = args.from(1).iter();
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        store(ctx, key, value, Ttl::Clear);
        ctx.keys.signal(notify::STRING, "set", key);
    }
    Ok(())
}

fn msetnx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let none_exists = args.len().is_multiple_of(2)
        || !args.iter().skip(1).step_by(2).any(|key| ctx.keys.get_mut(key).is_some());
    if none_exists {
        store_all(ctx, args)?;
    }
    ctx.reply.int(i64::from(none_exists));
    Ok(())
}

/// LCS's options.
#[derive(Default)]
struct LcsOptions {
    idx: bool,
    len: bool,
    with_match_len: bool,
    match_len_min: usize,
}

impl LcsOptions {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut o = LcsOptions::default();
        let mut i = 3;
        while let Some(word) = args.get(i) {
            if eq_nocase(word, "idx") {
                o.idx = true;
            } else if eq_nocase(word, "len") {
                o.len = true;
            } else if eq_nocase(word, "withmatchlen") {
                o.with_match_len = true;
            } else if eq_nocase(word, "minmatchlen")
                && let Some(n) = args.get(i + 1)
            {
                let n = parse_i64(n).ok_or(CommandError::NOT_INTEGER)?;
                o.match_len_min = usize::try_from(n).unwrap_or(0);
                i += 1;
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        if o.idx && o.len {
            return Err(CommandError::new(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(o)
    }
}

fn lcs(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cells = [1, 2].map(|i| ctx.keys.peek(&args[i]));
    if cells.iter().flatten().any(|cell| cell.ty() != Type::String) {
        return Err(CommandError::new("ERR The specified keys must contain string values"));
    }
    let o = LcsOptions::parse(args)?;
    let [a, b] = cells.map(|cell| cell.map_or(0, string_len));
    if a.max(b) >= u32::MAX as usize - 1 {
        return Err(CommandError::new("ERR String too long for LCS"));
    }
    let table = (a + 1).saturating_mul(b + 1);
    if table.saturating_mul(size_of::<u32>()) > ctx.limits().proto_max_bulk_len.get() {
        return Err(CommandError::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    ctx.slow_lane(table / 1024)?;
    let [a, b] =
        [1, 2].map(|i| ctx.keys.get(&args[i]).map_or(Vec::new(), |cell| with_bytes(cell, <[u8]>::to_vec)));
    ctx.release_keys();
    let lengths = common_lengths(&a, &b)
        .ok_or(CommandError::new("ERR Insufficient memory, failed allocating transient memory for LCS"))?;
    let len = lengths[table - 1];
    if o.len {
        ctx.reply.int(i64::from(len));
        return Ok(());
    }
    let matches = common_ranges(&a, &b, &lengths);
    if !o.idx {
        let common = matches.iter().rev().flat_map(|m| &a[m.a..m.a + m.len]);
        ctx.reply.bulk(&common.copied().collect::<Vec<_>>());
        return Ok(());
    }
    let wanted = || matches.iter().filter(|m| m.len >= o.match_len_min);
    ctx.reply.map(2);
    ctx.reply.bulk(b"matches");
    ctx.reply.array(wanted().count());
    for m in wanted() {
        ctx.reply.array(2 + usize::from(o.with_match_len));
        for start in [m.a, m.b] {
            ctx.reply.array(2);
            ctx.reply.int(start as i64);
            ctx.reply.int((start + m.len - 1) as i64);
        }
        if o.with_match_len {
            ctx.reply.int(m.len as i64);
        }
    }
    ctx.reply.bulk(b"len");
    ctx.reply.int(i64::from(len));
    Ok(())
}

/// The length of the longest common subsequence of every prefix of `a` with every prefix of `b`, row by row of `a`;
/// `None` when there is no memory for it.
fn common_lengths(a: &[u8], b: &[u8]) -> Option<Vec<u32>> {
    let width = b.len() + 1;
    let mut lengths = Vec::new();
    lengths.try_reserve_exact((a.len() + 1) * width).ok()?;
    lengths.resize((a.len() + 1) * width, 0u32);
    for (x, rows) in a.iter().zip(0..) {
        let (above, row) = lengths[rows * width..].split_at_mut(width);
        let mut left = 0;
        for (j, y) in b.iter().enumerate() {
            left = if x == y { above[j] + 1 } else { left.max(above[j + 1]) };
            row[j + 1] = left;
        }
    }
    Some(lengths)
}

/// A run that both strings have, `len` bytes from where it starts in each.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The runs that make up one longest common subsequence, the last one first. Of several, the choice is Redis's: from the
/// ends backwards, shorten `b` unless only shortening `a` keeps the length.
fn common_ranges(a: &[u8], b: &[u8], lengths: &[u32]) -> Vec<Match> {
    let width = b.len() + 1;
    let (mut i, mut j) = (a.len(), b.len());
    let mut matches: Vec<Match> = Vec::new();
    let mut open = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            match matches.last_mut() {
                Some(m) if open => *m = Match { a: i, b: j, len: m.len + 1 },
                _ => matches.push(Match { a: i, b: j, len: 1 }),
            }
            open = true;
        } else {
            open = false;
            match lengths[(i - 1) * width + j].cmp(&lengths[i * width + j - 1]) {
                Ordering::Greater => i -= 1,
                _ => j -= 1,
            }
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        for (start, end, len, want) in [
            (0, -1, 5, 0..5),
            (-3, -1, 5, 2..5),
            (-1, -3, 5, 0..0),
            (0, 100, 5, 0..5),
            (5, 10, 5, 0..0),
            (-100, 1, 5, 0..2),
            (0, 0, 0, 0..0),
            (i64::MIN, i64::MAX, 5, 0..5),
            (i64::MAX, i64::MIN, 5, 0..0),
        ] {
            assert_eq!(byte_range(start, end, len), want, "{start} {end} {len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn strings_grow_as_vectors_do(
            start in prop_oneof![Just(b"12345".to_vec()), Just(Vec::new()), Just(vec![b'x'; 4090]), Just(vec![b'y'; 5000])],
            steps in prop::collection::vec((0..3u8, 0..3000usize, 0..2000usize), 1..12),
        ) {
            let mut cell = Cell::string(b"k", &start);
            let mut model = start;
            let mut readers = Vec::new();
            for (what, at, len) in steps {
                let text = vec![at as u8 | 1; len];
                match what {
                    0 => {
                        extend_string(&mut cell, 0, &text);
                        model.extend(&text);
                    }
                    1 => {
                        edit_bytes(&mut cell, at + len, |b| b[at..at + len].copy_from_slice(&text));
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].copy_from_slice(&text);
                    }
                    _ => {
                        extend_string(&mut cell, at, &text);
                        model.resize(model.len() + at, 0);
                        model.extend(&text);
                        readers.extend(cell.big_shared().map(|b| (b, model.clone())));
                    }
                }
                prop_assert!(cell.is_mutated());
                prop_assert!(with_bytes(&cell, |b| b == model));
            }
            for (bytes, then) in readers {
                prop_assert_eq!(&*bytes, &then);
            }
        }
    }
}
