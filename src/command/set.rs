//! The set family, but for SSCAN.
use std::collections::HashSet;

use smallvec::SmallVec;

use crate::base::num::parse_i64;
use crate::base::rng::Rng;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, SLOW_LANE_COST, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Kind, Type};
use crate::value::listpack::{Elem, INT_TEXT_MAX};
use crate::value::set::{self, SetPin, SetRef, SetTable};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Set);
    vec![
        c("sadd", Arity::at_least(3), sadd)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|insert")
            .doc("Adds members to a set; creates it if absent.")
            .complexity("O(1) for each member"),
        c("srem", Arity::at_least(3), srem)
            .write()
            .fast()
            .key(1, "rw|delete")
            .doc("Removes members from a set; the last one takes the key along.")
            .complexity("O(1) for each member"),
        c("sismember", Arity::exactly(3), sismember)
            .readonly()
            .fast()
            .key(1, "ro")
            .doc("Tells whether a set has a member.")
            .complexity("O(1)"),
        c("smismember", Arity::at_least(3), smismember)
            .readonly()
            .fast()
            .since("6.2.0")
            .key(1, "ro|access")
            .doc("Tells for each of several members whether a set has it.")
            .complexity("O(1) for each member"),
        c("scard", Arity::exactly(2), scard)
            .readonly()
            .fast()
            .key(1, "ro")
            .doc("Counts the members of a set.")
            .complexity("O(1)"),
        c("smembers", Arity::exactly(2), smembers)
            .readonly()
            .key(1, "ro|access")
            .doc("Lists all members of a set.")
            .complexity("O(N) for N members"),
        c("spop", Arity::at_least(2), spop)
            .write()
            .fast()
            .key(1, "rw|access|delete")
            .doc("Removes random members from a set and returns them.")
            .complexity("O(1) for each member returned"),
        c("srandmember", Arity::at_least(2), srandmember)
            .readonly()
            .key(1, "ro|access")
            .doc("Returns random members of a set.")
            .complexity(
                "O(1) for each member returned, at most O(N) for N members when they must be distinct",
            ),
        c("smove", Arity::exactly(4), smove)
            .write()
            .fast()
            .key(1, "rw|access|delete")
            .key(2, "rw|insert")
            .doc("Moves a member from one set to another.")
            .complexity("O(1)"),
        c("sinter", Arity::at_least(2), sinter)
            .readonly()
            .range(1, -1, 1, "ro|access")
            .doc("Lists the members that all sets have in common.")
            .complexity("O(N*M) for M sets, the smallest of which has N members"),
        c("sinterstore", Arity::at_least(3), sinterstore)
            .write()
            .denyoom()
            .key(1, "ow|update")
            .range(2, -1, 1, "ro|access")
            .doc("Stores the members that all sets have in common.")
            .complexity("O(N*M) for M sets, the smallest of which has N members"),
        c("sintercard", Arity::at_least(3), sintercard)
            .readonly()
            .since("7.0.0")
            .keynum(1, "ro|access")
            .doc("Counts the members that all sets have in common.")
            .complexity("O(N*M) for M sets, the smallest of which has N members"),
        c("sunion", Arity::at_least(2), sunion)
            .readonly()
            .range(1, -1, 1, "ro|access")
            .doc("Lists the members that any of the sets has.")
            .complexity("O(N) for N members in all sets together"),
        c("sunionstore", Arity::at_least(3), sunionstore)
            .write()
            .denyoom()
            .key(1, "ow|update")
            .range(2, -1, 1, "ro|access")
            .doc("Stores the members that any of the sets has.")
            .complexity("O(N) for N members in all sets together"),
        c("sdiff", Arity::at_least(2), sdiff)
            .readonly()
            .range(1, -1, 1, "ro|access")
            .doc("Lists the members of the first set that none of the others has.")
            .complexity("O(N*M) for M sets, the first of which has N members"),
        c("sdiffstore", Arity::at_least(3), sdiffstore)
            .write()
            .denyoom()
            .key(1, "ow|update")
            .range(2, -1, 1, "ro|access")
            .doc("Stores the members of the first set that none of the others has.")
            .complexity("O(N*M) for M sets, the first of which has N members"),
    ]
}

/// Writes a member as a bulk string.
fn bulk(reply: &mut Reply, member: Elem<'_>) {
    match member {
        Elem::Int(v) => reply.bulk_int(v),
        Elem::Str(s) => reply.bulk(s),
    }
}

fn sadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, members) = (&args[1], args.from(2));
    ctx.slow_lane(members.len())?;
    let (limits, seed) = (ctx.limits(), ctx.env.keyspace.seed());
    let fill = |cell: &mut Cell| members.iter().filter(|m| set::add(cell, m, limits, seed)).count();
    let added = if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Set)? {
        set::expect(&mut cell, members.len(), limits, seed);
        fill(&mut cell)
    } else {
        let mut cell = set::create(key, &args[2], members.len(), limits, seed);
        let added = fill(&mut cell);
        ctx.keys.insert(cell);
        added
    };
    if added > 0 {
        ctx.keys.signal(notify::SET, "sadd", key);
        ctx.keys.add_dirty(added as u64 - 1);
    }
    ctx.reply.int(added as i64);
    Ok(())
}

fn srem(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, members) = (&args[1], args.from(2));
    ctx.slow_lane(members.len())?;
    let (mut removed, mut emptied) = (0, false);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Set)? {
        for member in members {
            if set::remove(&mut cell, member) {
                removed += 1;
                emptied = SetRef::of(&cell).is_empty();
                if emptied {
                    break;
                }
            }
        }
    }
    if removed > 0 {
        ctx.keys.signal(notify::SET, "srem", key);
        ctx.keys.add_dirty(removed - 1);
        if emptied {
            ctx.keys.delete_emptied(key);
        }
    }
    ctx.reply.int(removed as i64);
    Ok(())
}

fn smove(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (from, to, member) = (&args[1], &args[2], &args[3]);
    let Some(source) = ctx.keys.get_mut(from) else {
        ctx.reply.int(0);
        return Ok(());
    };
    let source_ty = source.ty();
    drop(source);
    let target = ctx.keys.get_mut(to).map(|cell| cell.ty());
    if source_ty != Type::Set || target.is_some_and(|ty| ty != Type::Set) {
        return Err(CommandError::WRONG_TYPE);
    }
    if from == to {
        let there = ctx.keys.peek(from).is_some_and(|cell| SetRef::of(cell).contains(member));
        ctx.reply.int(there.into());
        return Ok(());
    }
    let (mut removed, mut emptied) = (false, false);
    if let Some(mut cell) = ctx.keys.get_mut(from) {
        removed = set::remove(&mut cell, member);
        emptied = SetRef::of(&cell).is_empty();
    }
    if !removed {
        ctx.reply.int(0);
        return Ok(());
    }
    ctx.keys.signal(notify::SET, "srem", from);
    if emptied {
        ctx.keys.delete_emptied(from);
    }
    let (limits, seed) = (ctx.limits(), ctx.env.keyspace.seed());
    let added = if let Some(mut cell) = ctx.keys.get_mut(to) {
        set::add(&mut cell, member, limits, seed)
    } else {
        let mut cell = set::create(to, member, 1, limits, seed);
        set::add(&mut cell, member, limits, seed);
        ctx.keys.insert(cell);
        true
    };
    if added {
        ctx.keys.signal(notify::SET, "sadd", to);
    }
    ctx.reply.int(1);
    Ok(())
}

fn sismember(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cell = ctx.keys.get_type(&args[1], Type::Set)?;
    ctx.reply.int(cell.is_some_and(|cell| SetRef::of(cell).contains(&args[2])).into());
    Ok(())
}

fn smismember(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let members = args.from(2);
    ctx.slow_lane(members.len())?;
    let set = ctx.keys.get_type(&args[1], Type::Set)?.map(SetRef::of);
    ctx.reply.array(members.len());
    for member in members {
        ctx.reply.int(set.is_some_and(|set| set.contains(member)).into());
    }
    Ok(())
}

fn scard(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = ctx.keys.get_type(&args[1], Type::Set)?.map_or(0, |cell| SetRef::of(cell).len());
    ctx.reply.int(len as i64);
    Ok(())
}

fn smembers(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_sets(ctx, args.from(1), |sets, reply| match sets {
        [Some(set)] => {
            reply.set(set.len());
            set.iter().for_each(|member| bulk(reply, member));
        }
        _ => reply.set(0),
    })
}

fn spop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    match args.get(2) {
        Some(count) => spop_count(ctx, args, count),
        None => spop_one(ctx, &args[1]),
    }
}

/// A member that was taken out of its set.
enum Popped {
    Entry(set::Bytes),
    Copy(SmallVec<[u8; 64]>),
}

impl Popped {
    fn get(&self) -> &[u8] {
        match self {
            Popped::Entry(bytes) => bytes.get(),
            Popped::Copy(bytes) => bytes,
        }
    }
}

fn pop(cell: &mut Cell, rng: &mut Rng) -> Option<Popped> {
    if cell.kind() == Kind::SetTable {
        return cell.large_mut::<SetTable>().pop(rng).map(Popped::Entry);
    }
    let chosen = SetRef::of(cell).random(rng)?;
    let member = SmallVec::from_slice(chosen.to_cow(&mut [0; INT_TEXT_MAX]));
    set::remove(cell, &member);
    Some(Popped::Copy(member))
}

fn spop_one(ctx: &mut Context<'_>, key: &[u8]) -> Outcome {
    // Taken out meanwhile, as the cell borrows the view that owns it.
    let mut rng = ctx.keys.rng.clone();
    let (mut popped, mut emptied) = (None, false);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Set)? {
        popped = pop(&mut cell, &mut rng);
        emptied = SetRef::of(&cell).is_empty();
    }
    *ctx.keys.rng = rng;
    let Some(member) = popped else {
        ctx.reply.null();
        return Ok(());
    };
    ctx.keys.signal(notify::SET, "spop", key);
    ctx.keys.effect(|| OwnedArgs::from_iter([b"SREM", key, member.get()]));
    if emptied {
        ctx.keys.delete_emptied(key);
    }
    ctx.reply.bulk(member.get());
    Ok(())
}

/// Members of one SREM in the journal.
const JOURNAL_BATCH: usize = 1024;

fn spop_count(ctx: &mut Context<'_>, args: Args<'_>, count: &[u8]) -> Outcome {
    let key = &args[1];
    let count = parse_i64(count).ok_or(CommandError::OUT_OF_RANGE)?;
    let count = usize::try_from(count).map_err(|_| CommandError::OUT_OF_RANGE)?;
    let len = ctx.keys.get_mut_type(key, Type::Set)?.map_or(0, |cell| SetRef::of(&cell).len());
    if len == 0 || count == 0 {
        ctx.reply.set(0);
        return Ok(());
    }
    ctx.slow_lane(count.min(len))?;
    if count >= len {
        ctx.reply.set(len);
        if let Some(cell) = ctx.keys.peek(key) {
            SetRef::of(cell).iter().for_each(|member| bulk(ctx.reply, member));
        }
        ctx.keys.signal(notify::SET, "spop", key);
        ctx.keys.add_dirty(len as u64 - 1);
        ctx.keys.delete_emptied(key);
        ctx.keys.effect(|| OwnedArgs::from_iter([b"DEL", key]));
        return Ok(());
    }
    let journal_on = ctx.env.journal.is_on();
    let mut gone = Vec::new();
    let mut rng = ctx.keys.rng.clone();
    ctx.reply.set(count);
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        for member in std::iter::from_fn(|| pop(&mut cell, &mut rng)).take(count) {
            ctx.reply.bulk(member.get());
            if journal_on {
                gone.push(member);
            }
        }
    }
    *ctx.keys.rng = rng;
    ctx.keys.signal(notify::SET, "spop", key);
    ctx.keys.add_dirty(count as u64 - 1);
    for members in gone.chunks(JOURNAL_BATCH) {
        ctx.keys.effect(|| {
            let mut words = OwnedArgs::from_iter([b"SREM", key]);
            words.extend(members.iter().map(Popped::get));
            words
        });
    }
    Ok(())
}

/// The least bytes of a member in a reply.
const REPLY_BYTES_MIN: usize = 6;

/// A count of random members: how many, and whether they must be distinct. What no reply could hold is refused.
pub(super) fn parse_random_count(ctx: &Context<'_>, count: &[u8]) -> Result<(usize, bool), CommandError> {
    let n = parse_i64(count).ok_or(CommandError::NOT_INTEGER)?;
    let size = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    if n == i64::MIN {
        return Err(CommandError::new(format!(
            "ERR value is out of range, value must between -{0} and {0}",
            i64::MAX
        )));
    }
    let most = ctx.limits().proto_max_bulk_len.get().saturating_mul(8);
    // Where output is limited, that ends a reply that becomes too long.
    if n < 0 && size.saturating_mul(REPLY_BYTES_MIN) > most && ctx.output_limit().is_none() {
        return Err(CommandError::new("ERR value is out of range"));
    }
    Ok((size, n >= 0))
}

fn srandmember(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let key = &args[1];
    let Some(count) = args.get(2) else {
        let mut rng = ctx.keys.rng.clone();
        match ctx.keys.get_type(key, Type::Set)?.and_then(|cell| SetRef::of(cell).random(&mut rng)) {
            Some(member) => bulk(ctx.reply, member),
            None => ctx.reply.null(),
        }
        *ctx.keys.rng = rng;
        return Ok(());
    };
    let (count, distinct) = parse_random_count(ctx, count)?;
    let Some(cell) = ctx.keys.get_type(key, Type::Set)? else {
        ctx.reply.empty_array();
        return Ok(());
    };
    let len = SetRef::of(cell).len();
    let cost = match (distinct, cell.kind()) {
        (true, Kind::SetTable) if count < len / 3 => count,
        (true, _) => len,
        (false, _) => count,
    };
    ctx.slow_lane(if count == 0 { 0 } else { cost })?;
    let mut rng = ctx.keys.rng.fork();
    let room = ctx.output_limit().unwrap_or(usize::MAX);
    let mut emit = |set: SetRef<'_>, reply: &mut Reply| {
        if distinct {
            reply.array(count.min(len));
            set.sample(count, &mut rng, &mut |member| bulk(reply, member));
        } else {
            reply.array(count);
            for _ in 0..count {
                let Some(member) = set.random(&mut rng).filter(|_| reply.total_len() <= room) else { break };
                bulk(reply, member);
            }
        }
    };
    read_sets_of(ctx, args.slice(1..2), cost, |sets, reply| {
        if let [Some(set)] = sets {
            emit(*set, reply);
        }
    });
    Ok(())
}

/// The sets of `keys`, absent ones as `None`, for `f` to read: in the slow lane from pins, with the keys released.
fn read_sets(
    ctx: &mut Context<'_>,
    keys: Args<'_>,
    f: impl FnOnce(&[Option<SetRef<'_>>], &mut Reply),
) -> Outcome {
    let cost = cost(ctx, keys)?;
    ctx.slow_lane(cost)?;
    read_sets_of(ctx, keys, cost, f);
    Ok(())
}

/// Looks the sets up; how many members they have in all.
fn cost(ctx: &mut Context<'_>, keys: Args<'_>) -> Result<usize, CommandError> {
    let mut cost = 0;
    for key in keys {
        cost += ctx.keys.get_type(key, Type::Set)?.map_or(0, |cell| SetRef::of(cell).len());
    }
    Ok(cost)
}

fn read_sets_of(
    ctx: &mut Context<'_>,
    keys: Args<'_>,
    cost: usize,
    f: impl FnOnce(&[Option<SetRef<'_>>], &mut Reply),
) {
    if cost > SLOW_LANE_COST && !ctx.is_nested() {
        let pins: Vec<_> = keys.iter().map(|key| ctx.keys.peek(key).map(SetPin::of)).collect();
        ctx.release_keys();
        let sets: Vec<_> = pins.iter().map(|pin| pin.as_ref().map(SetPin::get)).collect();
        f(&sets, ctx.reply);
    } else {
        let sets: SmallVec<[_; 4]> = keys.iter().map(|key| ctx.keys.peek(key).map(SetRef::of)).collect();
        f(&sets, ctx.reply);
    }
}

/// Makes a new set of the sets of `keys` and puts it in the place of `key`; notifies as `event`.
fn store(
    ctx: &mut Context<'_>,
    key: &[u8],
    keys: Args<'_>,
    event: &'static str,
    f: impl FnOnce(&[Option<SetRef<'_>>], &mut dyn FnMut(Elem<'_>)),
) -> Outcome {
    let cost = cost(ctx, keys)?;
    ctx.slow_lane(cost)?;
    let (limits, seed) = (ctx.limits(), ctx.env.keyspace.seed());
    let mut result = set::create_empty(key);
    {
        let sets: SmallVec<[_; 4]> = keys.iter().map(|key| ctx.keys.peek(key).map(SetRef::of)).collect();
        let mut text = [0; INT_TEXT_MAX];
        f(&sets, &mut |member| {
            set::add(&mut result, member.to_cow(&mut text), limits, seed);
        });
    }
    let len = SetRef::of(&result).len();
    if len > 0 {
        ctx.keys.put(result);
        ctx.keys.signal(notify::SET, event, key);
    } else if ctx.keys.delete(key) {
        ctx.keys.notify(notify::GENERIC, "del", key);
    }
    ctx.reply.int(len as i64);
    Ok(())
}

/// The members that all sets have.
fn intersect(sets: &[Option<SetRef<'_>>], emit: &mut dyn FnMut(Elem<'_>) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<SmallVec<[SetRef<'_>; 4]>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    for member in smallest.iter() {
        if others.iter().all(|set| set.contains_elem(member)) && !emit(member) {
            return;
        }
    }
}

/// The members that any set has: each is left to the first set that has it; among many sets, noted as seen.
fn unite(sets: &[Option<SetRef<'_>>], emit: &mut dyn FnMut(Elem<'_>)) {
    if sets.len() > 4 {
        let mut seen = HashSet::new();
        for member in sets.iter().flatten().flat_map(|set| set.iter()) {
            if seen.insert(member.to_vec()) {
                emit(member);
            }
        }
        return;
    }
    for (i, set) in sets.iter().enumerate() {
        let earlier = &sets[..i];
        for member in set.iter().flat_map(|set| set.iter()) {
            if !earlier.iter().flatten().any(|set| set.contains_elem(member)) {
                emit(member);
            }
        }
    }
}

/// The members of the first set that no other has.
fn subtract(sets: &[Option<SetRef<'_>>], emit: &mut dyn FnMut(Elem<'_>)) {
    let Some((Some(first), others)) = sets.split_first() else { return };
    let mut others: SmallVec<[SetRef<'_>; 4]> = others.iter().flatten().copied().collect();
    // Where the most members are, one is the most likely to be found.
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    for member in first.iter() {
        if !others.iter().any(|set| set.contains_elem(member)) {
            emit(member);
        }
    }
}

/// Writes a set of members whose number comes out at the end.
fn reply_set(reply: &mut Reply, f: impl FnOnce(&mut dyn FnMut(Elem<'_>))) {
    let at = reply.defer();
    let mut n = 0;
    f(&mut |member| {
        n += 1;
        bulk(reply, member);
    });
    reply.finish_set(at, n);
}

fn sinter(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_sets(ctx, args.from(1), |sets, reply| {
        reply_set(reply, |emit| {
            intersect(sets, &mut |member| {
                emit(member);
                true
            })
        });
    })
}

fn sinterstore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    store(ctx, &args[1], args.from(2), "sinterstore", |sets, emit| {
        intersect(sets, &mut |member| {
            emit(member);
            true
        })
    })
}

fn sintercard(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (keys, rest) = numkeys(args, 1)?;
    let mut limit = 0;
    let mut i = 0;
    while let Some(word) = rest.get(i) {
        limit = match rest.get(i + 1) {
            Some(n) if eq_nocase(word, "limit") => parse_limit(n)?,
            _ => return Err(CommandError::SYNTAX),
        };
        i += 2;
    }
    read_sets(ctx, keys, |sets, reply| {
        let mut n = 0;
        intersect(sets, &mut |_| {
            n += 1;
            n != limit
        });
        reply.int(n as i64);
    })
}

/// The keys whose number stands at `at`, and what follows them.
fn numkeys(args: Args<'_>, at: usize) -> Result<(Args<'_>, Args<'_>), CommandError> {
    let n = args.get(at).and_then(parse_i64).filter(|n| *n > 0);
    let n = n.ok_or(CommandError::new("ERR numkeys should be greater than 0"))?;
    match usize::try_from(n) {
        Ok(n) if n < args.len() - at => Ok((args.slice(at + 1..at + 1 + n), args.from(at + 1 + n))),
        _ => Err(CommandError::new("ERR Number of keys can't be greater than number of args")),
    }
}

/// LIMIT of a counting command; 0 is none.
pub(super) fn parse_limit(n: &[u8]) -> Result<usize, CommandError> {
    parse_i64(n).and_then(|n| usize::try_from(n).ok()).ok_or(CommandError::new("ERR LIMIT can't be negative"))
}

fn sunion(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_sets(ctx, args.from(1), |sets, reply| reply_set(reply, |emit| unite(sets, emit)))
}

fn sunionstore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    store(ctx, &args[1], args.from(2), "sunionstore", |sets, emit| {
        sets.iter().flatten().flat_map(|set| set.iter()).for_each(emit);
    })
}

fn sdiff(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    read_sets(ctx, args.from(1), |sets, reply| reply_set(reply, |emit| subtract(sets, emit)))
}

fn sdiffstore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    store(ctx, &args[1], args.from(2), "sdiffstore", |sets, emit| subtract(sets, emit))
}
