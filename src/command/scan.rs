//! SCAN, HSCAN, SSCAN, ZSCAN.
//!
//! A cursor is a place in the space of hashes: for SCAN the shard's number above 48 bits of position in the shard's
//! table. So it depends on nothing but the keys' hashes, and what is there from begin to end is returned exactly once,
//! whatever grows, shrinks or is deleted in between.
use crate::base::glob::glob_match;
use crate::base::num::{fmt_g17, parse_u64, write_f64};
use crate::command::hash::write_elem;
use crate::command::row::Locks;
use crate::command::{Arity, Command, CommandError, Context, Group, Handler, Outcome};
use crate::resp::args::{Args, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Type};
use crate::value::hash::HashRef;
use crate::value::listpack::Elem;
use crate::value::set::SetRef;
use crate::value::table::POSITION_BITS;
use crate::value::zset::ZSetRef;

pub fn commands() -> Vec<Command> {
    vec![
        Command::new("scan", Arity::at_least(2), scan)
            .group(Group::Generic)
            .readonly()
            .touches_arbitrary_keys()
            .locks(Locks::Walk)
            .since("2.8.0")
            .categories(&["keyspace"])
            .doc("Walks through the keys of the database, some at a time.")
            .complexity("O(1) a call; O(N) for a whole walk, with N the number of keys"),
        of_value("hscan", hscan).group(Group::Hash).doc("Walks through the fields and values of a hash."),
        of_value("sscan", sscan).group(Group::Set).doc("Walks through the members of a set."),
        of_value("zscan", zscan)
            .group(Group::SortedSet)
            .doc("Walks through the members and scores of a sorted set."),
    ]
}

fn of_value(name: &'static str, handler: Handler) -> Command {
    Command::new(name, Arity::at_least(3), handler)
        .readonly()
        .key(1, "ro|access")
        .since("2.8.0")
        .complexity("O(1) a call; O(N) for a whole walk, with N the number of elements")
}

/// What a step of a scan is asked for.
struct Options<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
    /// Without NOVALUES.
    values: bool,
}

impl<'a> Options<'a> {
    /// `own` is the option that only this kind of scan has, or none: `type` or `novalues`.
    fn parse(args: Args<'a>, own: &str) -> Result<Self, CommandError> {
        let mut options = Options { count: 10, pattern: None, type_name: None, values: true };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            if own == "novalues" && eq_nocase(word, own) {
                options.values = false;
                continue;
            }
            let value = words.next().ok_or(CommandError::SYNTAX)?;
            if eq_nocase(word, "count") {
                let n = crate::base::num::parse_i64(value).ok_or(CommandError::NOT_INTEGER)?;
                options.count = usize::try_from(n).ok().filter(|n| *n > 0).ok_or(CommandError::SYNTAX)?;
            } else if eq_nocase(word, "match") {
                options.pattern = Some(value).filter(|p| *p != b"*");
            } else if own == "type" && eq_nocase(word, own) {
                options.type_name = Some(value);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(options)
    }

    fn matches(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob_match(pattern, text, false))
    }

    fn wants(&self, cell: &Cell) -> bool {
        self.type_name.is_none_or(|name| eq_nocase(name, cell.ty().name())) && self.matches(cell.key())
    }
}

/// Digits; leading zeros do not matter.
fn parse_cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let zeros = arg.iter().take_while(|b| **b == b'0').count();
    let digits = if zeros > 0 && zeros == arg.len() { b"0" } else { &arg[zeros..] };
    parse_u64(digits).ok_or(CommandError::INVALID_CURSOR)
}

/// The reply of every kind of scan.
fn answer(ctx: &mut Context<'_>, cursor: u64, n: usize, items: Reply) {
    ctx.reply.array(2);
    ctx.reply.bulk(crate::base::num::fmt_u64(&mut [0; 20], cursor));
    ctx.reply.array(n);
    ctx.reply.append(items);
}

fn scan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(&args[1])?;
    let options = Options::parse(args.from(2), "type")?;
    if options.count > crate::command::SLOW_LANE_COST {
        let estimate = ctx.keys.estimate_len()?;
        ctx.slow_lane(options.count.min(estimate))?;
    }
    let shards = ctx.env.keyspace.shards() as u64;
    let (mut shard, mut position) = (cursor >> POSITION_BITS, cursor & ((1 << POSITION_BITS) - 1));
    let mut items = Reply::new(ctx.reply.resp3());
    let (mut visited, mut n) = (0, 0);
    while shard < shards && visited < options.count {
        position = ctx.keys.visit(shard as u32, |keys| {
            let (db, now, mut expired) = (keys.db, keys.horizon, Vec::new());
            let Some(part) = keys.locked.part_of(db, shard as u32) else { return 0 };
            let next = part.table().scan(position, options.count - visited, &mut |cell| {
                visited += 1;
                if !options.wants(cell) {
                    return;
                }
                if cell.expire_ms().is_some_and(|at| at <= now) {
                    expired.push(cell.key().to_vec());
                } else {
                    items.bulk(cell.key());
                    n += 1;
                }
            });
            expired.iter().for_each(|key| keys.expire(key));
            next
        })?;
        // A table's end is the next shard's start.
        shard += u64::from(position == 0);
    }
    let next = if shard < shards { shard << POSITION_BITS | position } else { 0 };
    answer(ctx, next, n, items);
    Ok(())
}

/// One step through a collection: what is asked for, and what has been found.
struct Step<'a> {
    cursor: u64,
    options: Options<'a>,
    items: Reply,
    n: usize,
}

impl Step<'_> {
    /// One or two texts of an element; the first is what a pattern is about.
    fn emit(&mut self, element: Elem<'_>, value: Option<Elem<'_>>) {
        if !self.options.matches(element.to_cow(&mut [0; _])) {
            return;
        }
        for elem in [Some(element), value].into_iter().flatten() {
            write_elem(&mut self.items, elem);
            self.n += 1;
        }
    }
}

/// Runs `walk` on the collection that the key holds; it returns the cursor to go on from.
fn scan_value(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    ty: Type,
    walk: impl FnOnce(&Cell, &mut Step<'_>) -> u64,
) -> Outcome {
    let cursor = parse_cursor(&args[2])?;
    let items = Reply::new(ctx.reply.resp3());
    let Some(cell) = ctx.keys.get_type(&args[1], ty)? else {
        answer(ctx, 0, 0, items);
        return Ok(());
    };
    let (packed, large) = (!cell.kind().is_large(), cell.free_effort());
    let options = Options::parse(args.from(3), if ty == Type::Hash { "novalues" } else { "" })?;
    if !packed {
        ctx.slow_lane(options.count.min(large))?;
    }
    let mut step = Step { cursor, options, items, n: 0 };
    let next = ctx.keys.peek(&args[1]).map_or(0, |cell| walk(cell, &mut step));
    answer(ctx, next, step.n, step.items);
    Ok(())
}

fn hscan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let horizon = ctx.keys.horizon;
    scan_value(ctx, args, Type::Hash, |cell, step| {
        let (cursor, count, values) = (step.cursor, step.options.count, step.options.values);
        let hash = HashRef::at(cell, horizon);
        hash.scan(cursor, count, &mut |field, value| step.emit(field, values.then_some(value)))
    })
}

fn sscan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    scan_value(ctx, args, Type::Set, |cell, step| {
        let (cursor, count) = (step.cursor, step.options.count);
        SetRef::of(cell).scan(cursor, count, &mut |member| step.emit(member, None))
    })
}

fn zscan(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    scan_value(ctx, args, Type::ZSet, |cell, step| {
        let (cursor, count) = (step.cursor, step.options.count);
        // Redis shows a packed score as it is stored, another one with all of its 17 digits.
        let write = if cell.kind().is_large() { fmt_g17 } else { write_f64 };
        let mut text = Vec::new();
        ZSetRef::of(cell).scan(cursor, count, &mut |member, score| {
            text.clear();
            write(&mut text, score);
            step.emit(member, Some(Elem::Str(&text)));
        })
    })
}
