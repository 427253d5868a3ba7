//! The list family. LPUSH, RPUSH, LPOP and RPOP are hot: no allocation but what the list grows by.
//!
//! A blocking command that finds nothing asks to wait; whoever brings one of its keys into being runs its handler again,
//! so that being served and being called are one code path.
use smallvec::SmallVec;

use crate::base::num::{fmt_i64, parse_i64};
use crate::command::context::{Block, SLOW_LANE_COST};
use crate::command::hash::write_elem;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Type};
use crate::value::list::{self, ListPin, ListRef};
use crate::value::listpack::Elem;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::List);
    let push = |name, handler, doc| {
        c(name, Arity::at_least(3), handler)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|insert")
            .doc(doc)
            .complexity("O(N) with N the number of elements added")
    };
    let pop = |name, handler, doc| {
        c(name, Arity::at_least(2), handler)
            .write()
            .fast()
            .key(1, "rw|access|delete")
            .doc(doc)
            .complexity("O(N) with N the number of elements returned")
    };
    let wait = |name, handler, doc| {
        c(name, Arity::at_least(3), handler)
            .write()
            .blocking()
            .range(1, -2, 1, "rw|access|delete")
            .since("2.0.0")
            .doc(doc)
            .complexity("O(N) with N the number of keys")
    };
    let transfer = |name, arity, handler, doc| {
        c(name, Arity::exactly(arity), handler)
            .write()
            .denyoom()
            .key(1, "rw|access|delete")
            .key(2, "rw|insert")
            .doc(doc)
            .complexity("O(1)")
    };
    let pop_many = "O(N+M) with N the number of keys and M the number of elements returned";
    vec![
        push("lpush", lpush, "Adds elements at the head of a list; creates it if absent."),
        push("rpush", rpush, "Adds elements at the tail of a list; creates it if absent."),
        push("lpushx", lpushx, "Adds elements at the head of a list that exists.").since("2.2.0"),
        push("rpushx", rpushx, "Adds elements at the tail of a list that exists.").since("2.2.0"),
        pop("lpop", lpop, "Removes and returns the first elements of a list."),
        pop("rpop", rpop, "Removes and returns the last elements of a list."),
        c("llen", Arity::exactly(2), llen)
            .readonly()
            .fast()
            .key(1, "ro")
            .doc("Returns the length of a list.")
            .complexity("O(1)"),
        c("lindex", Arity::exactly(3), lindex)
            .readonly()
            .key(1, "ro|access")
            .doc("Returns the element at an index of a list.")
            .complexity("O(log N) with N the length of the list"),
        c("lset", Arity::exactly(4), lset)
            .write()
            .denyoom()
            .key(1, "rw|update")
            .doc("Replaces the element at an index of a list.")
            .complexity("O(log N) with N the length of the list"),
        c("linsert", Arity::exactly(5), linsert)
            .write()
            .denyoom()
            .key(1, "rw|insert")
            .since("2.2.0")
            .doc("Inserts an element before or after another one of a list.")
            .complexity("O(N) with N the elements up to that one"),
        c("lrange", Arity::exactly(4), lrange)
            .readonly()
            .key(1, "ro|access")
            .doc("Returns the elements between two indexes of a list.")
            .complexity("O(log N + M) with N the length of the list and M the number of elements returned"),
        c("ltrim", Arity::exactly(4), ltrim)
            .write()
            .key(1, "rw|delete")
            .doc("Removes all elements of a list but those between two indexes.")
            .complexity("O(N) with N the number of elements removed"),
        c("lrem", Arity::exactly(4), lrem)
            .write()
            .key(1, "rw|delete")
            .doc("Removes elements equal to a value from a list, from its head or from its tail.")
            .complexity("O(N) with N the length of the list"),
        c("lpos", Arity::at_least(3), lpos)
            .readonly()
            .key(1, "ro|access")
            .since("6.0.6")
            .doc("Returns the indexes of elements equal to a value.")
            .complexity("O(N) with N the elements looked at"),
        transfer(
            "lmove",
            5,
            lmove,
            "Moves an element from one end of a list to an end of the same or another one.",
        )
        .since("6.2.0"),
        transfer("rpoplpush", 3, rpoplpush, "Moves the last element of a list to the head of another one.")
            .since("1.2.0")
            .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
        c("lmpop", Arity::at_least(4), lmpop)
            .write()
            .keynum(1, "rw|access|delete")
            .since("7.0.0")
            .doc("Removes and returns elements of the first list among several that has any.")
            .complexity(pop_many),
        wait("blpop", blpop, "Removes and returns the first element of a list; waits while there is none."),
        wait("brpop", brpop, "Removes and returns the last element of a list; waits while there is none."),
        transfer(
            "blmove",
            6,
            blmove,
            "Moves an element from one end of a list to an end of another one; waits while there is none.",
        )
        .blocking()
        .since("6.2.0"),
        transfer(
            "brpoplpush",
            4,
            brpoplpush,
            "Moves the last element of a list to the head of another one; waits while there is none.",
        )
        .blocking()
        .since("2.2.0")
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
        c("blmpop", Arity::at_least(5), blmpop)
            .write()
            .blocking()
            .keynum(2, "rw|access|delete")
            .since("7.0.0")
            .doc("Removes and returns elements of the first list among several that has any; waits while none has.")
            .complexity(pop_many),
    ]
}

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Left,
    Right,
}

impl End {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        if eq_nocase(arg, "left") {
            Ok(End::Left)
        } else if eq_nocase(arg, "right") {
            Ok(End::Right)
        } else {
            Err(CommandError::SYNTAX)
        }
    }

    fn is_left(self) -> bool {
        self == End::Left
    }

    fn push_event(self) -> &'static str {
        if self.is_left() { "lpush" } else { "rpush" }
    }

    fn pop_event(self) -> &'static str {
        if self.is_left() { "lpop" } else { "rpop" }
    }

    fn pop_name(self) -> &'static [u8] {
        if self.is_left() { b"LPOP" } else { b"RPOP" }
    }

    fn name(self) -> &'static [u8] {
        if self.is_left() { b"LEFT" } else { b"RIGHT" }
    }
}

/// An element on its way from one list to another.
type Taken = SmallVec<[u8; 128]>;

/// How many elements this command may visit where it runs. For handlers that learn the number while they hold the value;
/// beyond it they fail with `SlowLane`.
fn budget(ctx: &Context<'_>) -> usize {
    let bounded = !ctx.is_resumed() && ctx.slow_lane(usize::MAX).is_err();
    if bounded { SLOW_LANE_COST } else { usize::MAX }
}

/// `start..end` of a list of `len` elements for two inclusive indexes, negative ones counted from the tail.
fn resolve(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let from_head = |i: i64| if i < 0 { i.saturating_add(len as i64) } else { i };
    let start = usize::try_from(from_head(start)).unwrap_or(0);
    let end = usize::try_from(from_head(end)).map_or(0, |end| end.saturating_add(1).min(len));
    if start >= end { 0..0 } else { start..end }
}

fn parse_range(args: Args<'_>) -> Result<(i64, i64), CommandError> {
    let int = |i: usize| parse_i64(&args[i]).ok_or(CommandError::NOT_INTEGER);
    Ok((int(2)?, int(3)?))
}

/// A number that is not the least one, whose sign could not be turned.
fn parse_signed(arg: &[u8]) -> Result<i64, CommandError> {
    match parse_i64(arg).ok_or(CommandError::NOT_INTEGER)? {
        i64::MIN => Err(CommandError::new(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        ))),
        n => Ok(n),
    }
}

/// A number within `min..`, or an error with this text whatever is wrong with it.
fn parse_at_least(arg: &[u8], min: i64, text: &'static str) -> Result<usize, CommandError> {
    parse_i64(arg)
        .filter(|n| *n >= min)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| CommandError::new(text))
}

/// Writes `count` elements from `start` on, without a header.
fn write_elements(reply: &mut Reply, list: ListRef<'_>, start: usize, count: usize, backward: bool) {
    let mut left = count;
    if left > 0 {
        list.walk(start, backward, |elem| {
            write_elem(reply, elem);
            left -= 1;
            left > 0
        });
    }
}

fn taken(elem: Elem<'_>) -> Taken {
    match elem {
        Elem::Int(n) => Taken::from_slice(fmt_i64(&mut [0; 20], n)),
        Elem::Str(text) => Taken::from_slice(text),
    }
}

/// Breaks the watches on a changed key, without counting another change.
fn touch(ctx: &Context<'_>, key: &[u8]) {
    let hash = ctx.env.keyspace.hash(key);
    if let Some(db) = ctx.keys.locked.db(ctx.keys.db, hash) {
        db.touch(key);
    }
}

/// What follows after `count` elements were taken off an end: notifications, the end of an empty list.
#[inline]
fn removed(ctx: &mut Context<'_>, key: &[u8], from: End, count: usize, emptied: bool) {
    ctx.keys.notify(notify::LIST, from.pop_event(), key);
    if emptied {
        ctx.keys.delete_emptied(key);
    }
    ctx.keys.changed(key);
    ctx.keys.add_dirty(count as u64 - 1);
}

fn lpush(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Left, false)
}

fn rpush(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Right, false)
}

fn lpushx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Left, true)
}

fn rpushx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(ctx, args, End::Right, true)
}

fn push(ctx: &mut Context<'_>, args: Args<'_>, end: End, must_exist: bool) -> Outcome {
    let key = args.at(1);
    ctx.slow_lane(args.len())?;
    let limits = ctx.limits();
    let add = |cell: &mut Cell| {
        list::prepare(cell, args.iter().skip(2), limits);
        args.iter().skip(2).for_each(|value| list::push(cell, end.is_left(), value));
        ListRef::of(cell).len()
    };
    let len;
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::List)? {
        len = add(&mut cell);
    } else if must_exist {
        ctx.reply.int(0);
        return Ok(());
    } else {
        let mut cell = list::new_cell(key);
        len = add(&mut cell);
        ctx.keys.insert(cell);
    }
    ctx.keys.signal(notify::LIST, end.push_event(), key);
    ctx.keys.add_dirty(args.len() as u64 - 3);
    ctx.reply.int(len as i64);
    Ok(())
}

fn lpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, End::Left)
}

fn rpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop(ctx, args, End::Right)
}

fn pop(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let key = args.at(1);
    let Some(count) = args.get(2) else {
        let Some(emptied) = pop_one(ctx, key, end, write_elem)? else {
            ctx.reply.null();
            return Ok(());
        };
        removed(ctx, key, end, 1, emptied);
        return Ok(());
    };
    if args.len() > 3 {
        return Err(CommandError::wrong_arity(&ctx.command.full_name));
    }
    let count = parse_i64(count).and_then(|n| usize::try_from(n).ok()).ok_or(CommandError::OUT_OF_RANGE)?;
    if !pop_many(ctx, key, end, count, |_| {})?.found {
        ctx.reply.null_array();
    }
    Ok(())
}

/// Takes one element, for `visit` to write into the reply; tells whether the list is empty now, `None` if it was absent.
#[inline]
fn pop_one(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    visit: impl FnOnce(&mut Reply, Elem<'_>),
) -> Result<Option<bool>, CommandError> {
    let limits = ctx.limits();
    let Some(mut cell) = ctx.keys.get_mut_type(key, Type::List)? else { return Ok(None) };
    list::pop(&mut cell, end.is_left(), |elem| visit(ctx.reply, elem));
    let emptied = ListRef::of(&cell).is_empty();
    if !emptied {
        list::shrink(&mut cell, limits);
    }
    Ok(Some(emptied))
}

struct Popped {
    found: bool,
    count: usize,
}

/// Takes up to `wanted` elements and writes them as an array, after what `head` writes; all that is owed is paid.
fn pop_many(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    wanted: usize,
    head: impl FnOnce(&mut Reply),
) -> Result<Popped, CommandError> {
    let (limits, budget) = (ctx.limits(), budget(ctx));
    let (count, emptied);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::List)? {
        let list = ListRef::of(&cell);
        let len = list.len();
        count = wanted.min(len);
        within(count, budget)?;
        head(ctx.reply);
        ctx.reply.array(count);
        write_elements(ctx.reply, list, if end.is_left() { 0 } else { len - 1 }, count, !end.is_left());
        list::remove_range(&mut cell, if end.is_left() { 0 } else { len - count }, count);
        emptied = count == len;
        if !emptied {
            list::shrink(&mut cell, limits);
        }
    } else {
        return Ok(Popped { found: false, count: 0 });
    }
    if count > 0 {
        removed(ctx, key, end, count, emptied);
    }
    Ok(Popped { found: true, count })
}

fn llen(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = ctx.keys.get_type(&args[1], Type::List)?.map_or(0, |cell| ListRef::of(cell).len());
    ctx.reply.int(len as i64);
    Ok(())
}

fn lindex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Some(cell) = ctx.keys.get_type(&args[1], Type::List)? else {
        ctx.reply.null();
        return Ok(());
    };
    let index = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    match ListRef::of(cell).get(index) {
        Some(elem) => write_elem(ctx.reply, elem),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn lset(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, value) = (args.at(1), args.at(3));
    let limits = ctx.limits();
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::List)? {
        let index = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
        list::prepare(&mut cell, std::iter::once(value), limits);
        if !list::set(&mut cell, index, value) {
            return Err(CommandError::INDEX_OUT_OF_RANGE);
        }
        list::shrink(&mut cell, limits);
    } else {
        return Err(CommandError::NO_SUCH_KEY);
    }
    ctx.keys.signal(notify::LIST, "lset", key);
    ctx.reply.ok();
    Ok(())
}

fn linsert(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, value) = (args.at(1), args.at(4));
    let after = if eq_nocase(&args[2], "after") {
        1
    } else if eq_nocase(&args[2], "before") {
        0
    } else {
        return Err(CommandError::SYNTAX);
    };
    let (limits, budget) = (ctx.limits(), budget(ctx));
    let len = if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::List)? {
        within(ListRef::of(&cell).len(), budget)?;
        list::prepare(&mut cell, std::iter::once(value), limits);
        ListRef::of(&cell).find(&args[3]).map(|index| {
            list::insert(&mut cell, index + after, value);
            ListRef::of(&cell).len() as i64
        })
    } else {
        ctx.reply.int(0);
        return Ok(());
    };
    if len.is_some() {
        ctx.keys.signal(notify::LIST, "linsert", key);
    }
    ctx.reply.int(len.unwrap_or(-1));
    Ok(())
}

fn lrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = parse_range(args)?;
    let budget = budget(ctx);
    let Some(cell) = ctx.keys.get_type(&args[1], Type::List)? else {
        ctx.reply.empty_array();
        return Ok(());
    };
    let list = ListRef::of(cell);
    let range = resolve(start, end, list.len());
    within(range.len(), budget)?;
    if range.len() <= SLOW_LANE_COST {
        ctx.reply.array(range.len());
        write_elements(ctx.reply, list, range.start, range.len(), false);
        return Ok(());
    }
    let pin = ListPin::of(cell);
    ctx.release_keys();
    ctx.reply.array(range.len());
    write_elements(ctx.reply, pin.get(), range.start, range.len(), false);
    Ok(())
}

fn ltrim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let (start, end) = parse_range(args)?;
    let (limits, budget) = (ctx.limits(), budget(ctx));
    let (gone, emptied);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::List)? {
        let len = ListRef::of(&cell).len();
        let keep = resolve(start, end, len);
        gone = len - keep.len();
        emptied = keep.is_empty();
        if !emptied {
            // Whole chunks go at once: an element costs little.
            within(gone / 16, budget)?;
            list::remove_range(&mut cell, keep.end, len - keep.end);
            list::remove_range(&mut cell, 0, keep.start);
            list::shrink(&mut cell, limits);
        }
    } else {
        ctx.reply.ok();
        return Ok(());
    }
    ctx.keys.notify(notify::LIST, "ltrim", key);
    if emptied {
        ctx.keys.delete_emptied(key);
    }
    touch(ctx, key);
    ctx.keys.add_dirty(gone as u64);
    ctx.reply.ok();
    Ok(())
}

fn lrem(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let count = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    let max = match count.unsigned_abs() {
        0 => usize::MAX,
        n => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let (limits, budget) = (ctx.limits(), budget(ctx));
    let (gone, emptied);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::List)? {
        within(ListRef::of(&cell).len(), budget)?;
        gone = list::remove_value(&mut cell, &args[3], max, count < 0);
        emptied = ListRef::of(&cell).is_empty();
        if gone > 0 && !emptied {
            list::shrink(&mut cell, limits);
        }
    } else {
        ctx.reply.int(0);
        return Ok(());
    }
    if gone > 0 {
        ctx.keys.signal(notify::LIST, "lrem", key);
        ctx.keys.add_dirty(gone as u64 - 1);
        if emptied {
            ctx.keys.delete_emptied(key);
        }
    }
    ctx.reply.int(gone as i64);
    Ok(())
}

/// The options of LPOS.
struct Search {
    /// The first match that counts, from 1.
    rank: usize,
    backward: bool,
    /// How many matches to answer, 0 for all; `None` for one, not in an array.
    count: Option<usize>,
    /// How many elements to look at, 0 for all.
    max_len: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut search = Search { rank: 1, backward: false, count: None, max_len: 0 };
        let mut i = 3;
        while let Some(word) = args.get(i) {
            let value = args.get(i + 1).ok_or(CommandError::SYNTAX)?;
            if eq_nocase(word, "rank") {
                let rank = parse_signed(value)?;
                if rank == 0 {
                    return Err(CommandError::new(RANK_ZERO));
                }
                search.backward = rank < 0;
                search.rank = usize::try_from(rank.unsigned_abs()).unwrap_or(usize::MAX);
            } else if eq_nocase(word, "count") {
                search.count = Some(parse_at_least(value, 0, "ERR COUNT can't be negative")?);
            } else if eq_nocase(word, "maxlen") {
                search.max_len = parse_at_least(value, 0, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 2;
        }
        Ok(search)
    }

    /// Calls back with the index of every match that counts.
    fn run(&self, list: ListRef<'_>, value: &[u8], mut found: impl FnMut(usize)) {
        let len = list.len();
        let mut left = if self.max_len == 0 { len } else { self.max_len.min(len) };
        if left == 0 {
            return;
        }
        let number = parse_i64(value);
        let (mut index, mut seen, mut wanted) =
            (if self.backward { len - 1 } else { 0 }, 0usize, self.count.unwrap_or(1));
        if wanted == 0 {
            wanted = usize::MAX;
        }
        list.walk(index, self.backward, |elem| {
            let same = match elem {
                Elem::Int(n) => number == Some(n),
                Elem::Str(text) => text == value,
            };
            if same {
                seen += 1;
                if seen >= self.rank {
                    found(index);
                    wanted -= 1;
                }
            }
            index = if self.backward { index.wrapping_sub(1) } else { index + 1 };
            left -= 1;
            left > 0 && wanted > 0
        });
    }
}

const RANK_ZERO: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list";

fn lpos(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let value = args.at(2);
    let search = Search::parse(args)?;
    let budget = budget(ctx);
    let Some(cell) = ctx.keys.get_type(&args[1], Type::List)? else {
        match search.count {
            Some(_) => ctx.reply.empty_array(),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let list = ListRef::of(cell);
    let cost = if search.max_len == 0 { list.len() } else { search.max_len.min(list.len()) };
    within(cost, budget)?;
    let pin;
    let list = if cost > SLOW_LANE_COST {
        pin = ListPin::of(cell);
        ctx.release_keys();
        pin.get()
    } else {
        list
    };
    let at = ctx.reply.defer();
    let mut matches = 0;
    search.run(list, value, |index| {
        ctx.reply.int(index as i64);
        matches += 1;
    });
    if search.count.is_some() {
        ctx.reply.finish_array(at, matches);
    } else if matches == 0 {
        ctx.reply.null();
    }
    Ok(())
}

fn lmove(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (End::parse(&args[3])?, End::parse(&args[4])?);
    transfer_or_null(ctx, args, from, to)
}

fn rpoplpush(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    transfer_or_null(ctx, args, End::Right, End::Left)
}

fn transfer_or_null(ctx: &mut Context<'_>, args: Args<'_>, from: End, to: End) -> Outcome {
    if !transfer(ctx, args.at(1), args.at(2), from, to)? {
        ctx.reply.null();
    }
    Ok(())
}

/// Moves an element and answers it; false, with nothing done, when there is none.
fn transfer(
    ctx: &mut Context<'_>,
    source: &[u8],
    target: &[u8],
    from: End,
    to: End,
) -> Result<bool, CommandError> {
    let limits = ctx.limits();
    if ctx.keys.get_mut_type(source, Type::List)?.is_none() {
        return Ok(false);
    }
    // A wrong target must be found out before anything is taken.
    let target_exists = ctx.keys.get_mut_type(target, Type::List)?.is_some();
    let Some(mut cell) = ctx.keys.get_mut_type(source, Type::List)? else { return Ok(false) };
    let value = list::pop(&mut cell, from.is_left(), taken).unwrap_or_default();
    let add = |cell: &mut Cell| {
        list::prepare(cell, std::iter::once(&value[..]), limits);
        list::push(cell, to.is_left(), &value);
    };
    let mut emptied = false;
    if source == target {
        add(&mut cell);
        list::shrink(&mut cell, limits);
        drop(cell);
    } else {
        emptied = ListRef::of(&cell).is_empty();
        if !emptied {
            list::shrink(&mut cell, limits);
        }
        drop(cell);
        if target_exists {
            if let Some(mut cell) = ctx.keys.get_mut(target) {
                add(&mut cell);
            }
        } else {
            let mut cell = list::new_cell(target);
            add(&mut cell);
            ctx.keys.insert(cell);
        }
        touch(ctx, target);
    }
    ctx.keys.notify(notify::LIST, to.push_event(), target);
    removed(ctx, source, from, 1, emptied);
    ctx.reply.bulk(&value);
    Ok(true)
}

fn blmove(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (End::parse(&args[3])?, End::parse(&args[4])?);
    let deadline_ms = ctx.deadline(&args[5])?;
    transfer_or_block(ctx, args, from, to, deadline_ms, |source, target, from, to| {
        OwnedArgs::from_iter([b"LMOVE", source, target, from.name(), to.name()])
    })
}

fn brpoplpush(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let deadline_ms = ctx.deadline(&args[3])?;
    transfer_or_block(ctx, args, End::Right, End::Left, deadline_ms, |source, target, _, _| {
        OwnedArgs::from_iter([&b"RPOPLPUSH"[..], source, target])
    })
}

fn transfer_or_block(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    from: End,
    to: End,
    deadline_ms: Option<u64>,
    effect: fn(&[u8], &[u8], End, End) -> OwnedArgs,
) -> Outcome {
    let (source, target) = (args.at(1), args.at(2));
    if transfer(ctx, source, target, from, to)? {
        ctx.keys.effect(|| effect(source, target, from, to));
        return Ok(());
    }
    // An element is missing, where a wait that ends for nothing lacks an array, as with all who wait for lists.
    let on_timeout = if ctx.is_nested() { Reply::null } else { Reply::null_array };
    ctx.block(Block { keys: vec![source.into()], wants: Some(Type::List), deadline_ms, on_timeout })
}

/// LMPOP's arguments, from the number of keys on.
struct PopMany<'a> {
    keys: Args<'a>,
    end: End,
    count: usize,
}

impl<'a> PopMany<'a> {
    fn parse(args: Args<'a>, at: usize) -> Result<Self, CommandError> {
        let keys = parse_at_least(&args[at], 1, "ERR numkeys should be greater than 0")?;
        let end_at = keys.checked_add(at + 1).ok_or(CommandError::SYNTAX)?;
        let end = End::parse(args.get(end_at).ok_or(CommandError::SYNTAX)?)?;
        let mut count = None;
        let mut i = end_at + 1;
        while let Some(word) = args.get(i) {
            let value = args.get(i + 1);
            match value {
                Some(value) if count.is_none() && eq_nocase(word, "count") => {
                    count = Some(parse_at_least(value, 1, "ERR count should be greater than 0")?);
                }
                _ => return Err(CommandError::SYNTAX),
            }
            i += 2;
        }
        Ok(PopMany { keys: args.slice(at + 1..end_at), end, count: count.unwrap_or(1) })
    }

    /// Answers from the first list that there is; false when there is none.
    fn run(&self, ctx: &mut Context<'_>) -> Result<bool, CommandError> {
        for key in self.keys.iter() {
            let popped = pop_many(ctx, key, self.end, self.count, |reply| {
                reply.array(2);
                reply.bulk(key);
            })?;
            if popped.found {
                ctx.keys.effect(|| {
                    let count = popped.count.to_string();
                    OwnedArgs::from_iter([self.end.pop_name(), key, count.as_bytes()])
                });
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn lmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if !PopMany::parse(args, 1)?.run(ctx)? {
        ctx.reply.null_array();
    }
    Ok(())
}

fn blmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let pop = PopMany::parse(args, 2)?;
    let deadline_ms = ctx.deadline(&args[1])?;
    if pop.run(ctx)? {
        return Ok(());
    }
    block_on(ctx, pop.keys, deadline_ms)
}

fn blpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_block(ctx, args, End::Left)
}

fn brpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_block(ctx, args, End::Right)
}

fn pop_or_block(ctx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let last = args.len() - 1;
    let deadline_ms = ctx.deadline(&args[last])?;
    let keys = args.slice(1..last);
    for key in keys.iter() {
        let popped = pop_one(ctx, key, end, |reply, elem| {
            reply.array(2);
            reply.bulk(key);
            write_elem(reply, elem);
        })?;
        if let Some(emptied) = popped {
            removed(ctx, key, end, 1, emptied);
            ctx.keys.effect(|| OwnedArgs::from_iter([end.pop_name(), key]));
            return Ok(());
        }
    }
    block_on(ctx, keys, deadline_ms)
}

fn block_on(ctx: &mut Context<'_>, keys: Args<'_>, deadline_ms: Option<u64>) -> Outcome {
    let keys = keys.iter().map(Into::into).collect();
    ctx.block(Block { keys, wants: Some(Type::List), deadline_ms, on_timeout: Reply::null_array })
}

/// Fails with `SlowLane` when the work is beyond the budget.
fn within(cost: usize, budget: usize) -> Outcome {
    if cost > budget { Err(CommandError::SlowLane) } else { Ok(()) }
}
