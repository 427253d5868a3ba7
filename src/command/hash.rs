//! The hash family.
use crate::base::longdouble::LongDouble;
use crate::base::num::{fmt_i64, parse_i64};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, View, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Type};
use crate::value::hash::{self, FieldTtl, HashPin, HashRef};
use crate::value::listpack::Elem;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Hash);
    let all = "O(N) with N the number of fields";
    vec![
        c("hset", Arity::at_least(4), hset)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|update")
            .since("2.0.0")
            .doc("Sets fields of a hash; creates it if absent.")
            .complexity("O(N) with N the number of field-value pairs"),
        c("hsetnx", Arity::exactly(4), hsetnx)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|insert")
            .since("2.0.0")
            .doc("Sets a field of a hash unless it exists.")
            .complexity("O(1)"),
        c("hmset", Arity::at_least(4), hset)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|update")
            .since("2.0.0")
            .deprecated("4.0.0", "`HSET` with several field-value pairs")
            .doc("Sets fields of a hash.")
            .complexity("O(N) with N the number of field-value pairs"),
        c("hget", Arity::exactly(3), hget)
            .readonly()
            .fast()
            .key(1, "ro|access")
            .since("2.0.0")
            .doc("Returns the value of a field of a hash.")
            .complexity("O(1)"),
        c("hmget", Arity::at_least(3), hmget)
            .readonly()
            .fast()
            .key(1, "ro|access")
            .since("2.0.0")
            .doc("Returns the values of several fields of a hash.")
            .complexity("O(N) with N the number of fields asked for"),
        c("hgetall", Arity::exactly(2), hgetall)
            .readonly()
            .key(1, "ro|access")
            .since("2.0.0")
            .doc("Returns all fields and values of a hash.")
            .complexity(all),
        c("hkeys", Arity::exactly(2), hkeys)
            .readonly()
            .key(1, "ro|access")
            .since("2.0.0")
            .doc("Returns all fields of a hash.")
            .complexity(all),
        c("hvals", Arity::exactly(2), hvals)
            .readonly()
            .key(1, "ro|access")
            .since("2.0.0")
            .doc("Returns all values of a hash.")
            .complexity(all),
        c("hdel", Arity::at_least(3), hdel)
            .write()
            .fast()
            .key(1, "rw|delete")
            .since("2.0.0")
            .doc("Removes fields of a hash, and the key with the last of them.")
            .complexity("O(N) with N the number of fields to remove"),
        c("hlen", Arity::exactly(2), hlen)
            .readonly()
            .fast()
            .key(1, "ro")
            .since("2.0.0")
            .doc("Returns how many fields a hash has.")
            .complexity("O(1)"),
        c("hexists", Arity::exactly(3), hexists)
            .readonly()
            .fast()
            .key(1, "ro")
            .since("2.0.0")
            .doc("Tells whether a hash has a field.")
            .complexity("O(1)"),
        c("hstrlen", Arity::exactly(3), hstrlen)
            .readonly()
            .fast()
            .key(1, "ro")
            .since("3.2.0")
            .doc("Returns the length of a field's value.")
            .complexity("O(1)"),
        c("hincrby", Arity::exactly(4), hincrby)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|access|update")
            .since("2.0.0")
            .doc("Adds to the integer value of a field; an absent one counts as 0.")
            .complexity("O(1)"),
        c("hincrbyfloat", Arity::exactly(4), hincrbyfloat)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|access|update")
            .since("2.6.0")
            .doc("Adds to the floating-point value of a field; an absent one counts as 0.")
            .complexity("O(1)"),
        c("hrandfield", Arity::at_least(2), hrandfield)
            .readonly()
            .key(1, "ro|access")
            .since("6.2.0")
            .doc("Returns one or several random fields of a hash.")
            .complexity("O(N) with N the number of fields returned"),
    ]
}

const NOT_INTEGER: &str = "ERR hash value is not an integer";
const NOT_FLOAT: &str = "ERR hash value is not a float";
const NAN_OR_INFINITY: &str = "ERR value is NaN or Infinity";

/// Writes a listpack element or a table's text as a bulk string.
pub fn write_elem(reply: &mut Reply, elem: Elem<'_>) {
    match elem {
        Elem::Int(n) => reply.bulk_int(n),
        Elem::Str(text) => reply.bulk(text),
    }
}

fn hset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let name = &ctx.command.full_name;
    if args.len() % 2 == 1 {
        return Err(CommandError::wrong_arity(name));
    }
    ctx.slow_lane(args.len() / 2)?;
    let is_hmset = name == "hmset";
    let pairs = args.len() / 2 - 1;
    let created = write(ctx, &args[1], |cell, limits, seed| {
        if pairs > 1 {
            hash::prepare(cell, args.iter().skip(2), limits, seed);
        }
        let mut created = 0;
        for i in 1..=pairs {
            created += i64::from(hash::set(cell, &args[2 * i], &args[2 * i + 1], limits, seed));
        }
        created
    })?;
    ctx.keys.signal(notify::HASH, "hset", &args[1]);
    ctx.keys.add_dirty(pairs as u64 - 1);
    if is_hmset {
        ctx.reply.ok();
    } else {
        ctx.reply.int(created);
    }
    Ok(())
}

/// Lets `f` change the hash, a new one where the key is absent. `f` leaves at least one field.
pub(super) fn write<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    f: impl FnOnce(&mut Cell, &crate::base::limits::Limits, u64) -> R,
) -> Result<R, CommandError> {
    let (limits, seed) = (ctx.limits(), ctx.env.keyspace.seed());
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Hash)? {
        return Ok(f(&mut cell, limits, seed));
    }
    let mut cell = hash::new_cell(key);
    let result = f(&mut cell, limits, seed);
    ctx.keys.insert(cell);
    Ok(result)
}

fn hsetnx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let horizon = ctx.keys.horizon;
    let exists = match ctx.keys.get_mut_type(&args[1], Type::Hash)? {
        Some(cell) => HashRef::at(&cell, horizon).contains(&args[2]),
        None => false,
    };
    if !exists {
        write(ctx, &args[1], |cell, limits, seed| hash::set(cell, &args[2], &args[3], limits, seed))?;
        ctx.keys.signal(notify::HASH, "hset", &args[1]);
    }
    ctx.reply.int(i64::from(!exists));
    Ok(())
}

/// The hash as it is now, without fields whose time has come.
pub(super) fn read<'v>(keys: &'v mut View<'_>, key: &[u8]) -> Result<Option<HashRef<'v>>, CommandError> {
    let horizon = keys.horizon;
    Ok(keys.get_type(key, Type::Hash)?.map(|cell| HashRef::at(cell, horizon)))
}

fn hget(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let found = read(&mut ctx.keys, &args[1])?.and_then(|hash| hash.get(&args[2]));
    match found {
        Some(value) => write_elem(ctx.reply, value),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn hmget(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    let hash = read(&mut ctx.keys, &args[1])?;
    ctx.reply.array(args.len() - 2);
    for field in args.iter().skip(2) {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => write_elem(ctx.reply, value),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

/// Visits the pairs of a hash, which may be absent, after `start` was told how many there are. A large one is read from
/// a pin with its shard given back.
fn visit(
    ctx: &mut Context<'_>,
    key: &[u8],
    start: impl FnOnce(&mut Reply, usize),
    mut each: impl FnMut(&mut Reply, Elem<'_>, Elem<'_>),
) -> Outcome {
    // Looked at before the access is counted: in the slow lane it will be counted again.
    let len = ctx
        .keys
        .peek(key)
        .filter(|c| c.kind().is_large() && c.ty() == Type::Hash)
        .map(|c| HashRef::of(c).len());
    ctx.slow_lane(len.unwrap_or(0))?;
    let horizon = ctx.keys.horizon;
    let Some(cell) = ctx.keys.get_type(key, Type::Hash)? else {
        start(ctx.reply, 0);
        return Ok(());
    };
    if len.is_some_and(|len| len > crate::command::SLOW_LANE_COST)
        && let Some(pin) = HashPin::of(cell, horizon)
    {
        ctx.release_keys();
        start(ctx.reply, pin.get().len());
        pin.get().iter().for_each(|(field, value)| each(ctx.reply, field, value));
        return Ok(());
    }
    let hash = HashRef::at(cell, horizon);
    start(ctx.reply, hash.len());
    hash.iter().for_each(|(field, value)| each(ctx.reply, field, value));
    Ok(())
}

fn hgetall(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    visit(ctx, &args[1], Reply::map, |reply, field, value| {
        write_elem(reply, field);
        write_elem(reply, value);
    })
}

fn hkeys(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    visit(ctx, &args[1], Reply::array, |reply, field, _| write_elem(reply, field))
}

fn hvals(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    visit(ctx, &args[1], Reply::array, |reply, _, value| write_elem(reply, value))
}

fn hdel(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    let key = &args[1];
    let (mut deleted, mut emptied) = (0, false);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Hash)? {
        for field in args.iter().skip(2) {
            if hash::remove(&mut cell, field) {
                deleted += 1;
                emptied = HashRef::of(&cell).is_empty();
                if emptied {
                    break;
                }
            }
        }
    }
    if deleted > 0 {
        ctx.keys.signal(notify::HASH, "hdel", key);
        ctx.keys.add_dirty(deleted - 1);
        if emptied {
            ctx.keys.delete_emptied(key);
        }
    }
    ctx.reply.int(deleted as i64);
    Ok(())
}

fn hlen(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = read(&mut ctx.keys, &args[1])?.map_or(0, HashRef::len);
    ctx.reply.int(len as i64);
    Ok(())
}

fn hexists(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let found = read(&mut ctx.keys, &args[1])?.is_some_and(|hash| hash.contains(&args[2]));
    ctx.reply.int(i64::from(found));
    Ok(())
}

fn hstrlen(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let found = read(&mut ctx.keys, &args[1])?.and_then(|hash| hash.get(&args[2]));
    ctx.reply.int(found.map_or(0, |value| value.len() as i64));
    Ok(())
}

fn hincrby(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, field) = (&args[1], &args[2]);
    let by = parse_i64(&args[3]).ok_or(CommandError::NOT_INTEGER)?;
    let horizon = ctx.keys.horizon;
    let old = match ctx.keys.get_mut_type(key, Type::Hash)? {
        Some(cell) => match HashRef::at(&cell, horizon).get(field) {
            Some(Elem::Int(n)) => n,
            Some(Elem::Str(text)) => parse_i64(text).ok_or(CommandError::new(NOT_INTEGER))?,
            None => 0,
        },
        None => 0,
    };
    let n = old.checked_add(by).ok_or(CommandError::OVERFLOW)?;
    let mut text = [0; 20];
    let text = fmt_i64(&mut text, n);
    write(ctx, key, |cell, limits, seed| hash::put(cell, field, text, FieldTtl::Keep, limits, seed))?;
    ctx.keys.signal(notify::HASH, "hincrby", key);
    ctx.reply.int(n);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, field) = (&args[1], &args[2]);
    let by = LongDouble::parse(&args[3]).ok_or(CommandError::NOT_FLOAT)?;
    if by.is_nan() || by.is_infinite() {
        return Err(CommandError::new(NAN_OR_INFINITY));
    }
    let horizon = ctx.keys.horizon;
    let (old, expires) = match ctx.keys.get_mut_type(key, Type::Hash)? {
        Some(cell) => match HashRef::at(&cell, horizon).get_with_ttl(field) {
            Some((value, at)) => {
                let mut text = [0; 20];
                let old = LongDouble::parse(value.to_cow(&mut text)).ok_or(CommandError::new(NOT_FLOAT))?;
                (old, at.is_some())
            }
            None => (LongDouble::ZERO, false),
        },
        None => (LongDouble::ZERO, false),
    };
    let sum = old.add(by);
    if sum.is_nan() || sum.is_infinite() {
        return Err(CommandError::NAN_OR_INFINITY);
    }
    let mut text = Vec::new();
    sum.write_human(&mut text);
    write(ctx, key, |cell, limits, seed| hash::put(cell, field, &text, FieldTtl::Keep, limits, seed))?;
    ctx.keys.signal(notify::HASH, "hincrbyfloat", key);
    // The sum as it came out here: arithmetic elsewhere may round otherwise.
    ctx.keys.effect(|| {
        if expires {
            OwnedArgs::from_iter([b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, &text[..]])
        } else {
            OwnedArgs::from_iter([b"HSET", key, field, &text[..]])
        }
    });
    ctx.reply.bulk(&text);
    Ok(())
}

fn hrandfield(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let Some(count) = args.get(2) else {
        // The generator lies beside the keys, which the cell borrows.
        let mut rng = ctx.keys.rng.fork();
        match read(&mut ctx.keys, key)?.and_then(|hash| hash.random(&mut rng)) {
            Some((field, _)) => write_elem(ctx.reply, field),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let count = parse_i64(count).ok_or(CommandError::NOT_INTEGER)?;
    if count == i64::MIN {
        return Err(CommandError::new(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_values = match args.len() {
        3 => false,
        4 if eq_nocase(&args[3], "withvalues") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    // With repeats, the reply's size is the client's choice alone: bounded by what a value may have, unless the output
    // limit ends what becomes too long.
    let most =
        if ctx.output_limit().is_some() { u64::MAX } else { ctx.limits().proto_max_bulk_len.get() as u64 };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 || count < 0 && count.unsigned_abs() > most {
        return Err(CommandError::new("ERR value is out of range"));
    }
    random_fields(ctx, key, count, with_values)
}

fn random_fields(ctx: &mut Context<'_>, key: &[u8], count: i64, with_values: bool) -> Outcome {
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let len = ctx.keys.peek(key).filter(|c| c.ty() == Type::Hash).map_or(0, |c| HashRef::of(c).len());
    if len > 0 {
        ctx.slow_lane(if count < 0 { wanted } else { wanted.min(len) })?;
    }
    let room = ctx.output_limit().unwrap_or(usize::MAX);
    let mut rng = ctx.keys.rng.fork();
    let hash = read(&mut ctx.keys, key)?.filter(|hash| !hash.is_empty());
    let Some(hash) = hash else {
        ctx.reply.empty_array();
        return Ok(());
    };
    let n = if count < 0 { wanted } else { wanted.min(hash.len()) };
    let reply = &mut *ctx.reply;
    let nested = with_values && reply.resp3();
    reply.array(if with_values && !nested { 2 * n } else { n });
    // Tells whether the reply may go on.
    let mut put = |field: Elem<'_>, value: Elem<'_>| {
        if nested {
            reply.array(2);
        }
        write_elem(reply, field);
        if with_values {
            write_elem(reply, value);
        }
        reply.total_len() <= room
    };
    if count < 0 {
        hash.draw(n, &mut rng, put);
    } else {
        hash.sample(n, &mut rng, |field, value| {
            put(field, value);
        });
    }
    Ok(())
}
