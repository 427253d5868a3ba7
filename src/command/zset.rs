//! The sorted set family, but for ZSCAN.
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use smallvec::SmallVec;

use super::set::{parse_limit, parse_random_count};
use crate::base::num::{parse_f64, parse_i64};
use crate::command::{Arity, Block, Command, CommandError, Context, Group, Outcome, SLOW_LANE_COST, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Kind, Type};
use crate::value::listpack::{Elem, INT_TEXT_MAX};
use crate::value::set::{SetPin, SetRef};
use crate::value::zset::{self, LexEnd, LexRange, ScoreRange, Update, Updated, ZSetPin, ZSetRef};

pub fn commands() -> Vec<Command> {
    let mut all = changing();
    all.extend(reading());
    all.extend(combining());
    all
}

fn row(name: &'static str, arity: Arity, handler: crate::command::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::SortedSet)
}

fn changing() -> Vec<Command> {
    let c = row;
    vec![
        c("zadd", Arity::at_least(4), zadd)
            .write()
            .denyoom()
            .fast()
            .since("1.2.0")
            .key(1, "rw|update")
            .doc("Adds members with scores to a sorted set, or changes their scores; creates it if absent.")
            .complexity("O(log(N)) for each member, N being the size of the sorted set"),
        c("zincrby", Arity::exactly(4), zincrby)
            .write()
            .denyoom()
            .fast()
            .since("1.2.0")
            .key(1, "rw|access|update")
            .doc("Adds to the score of a member; an absent one has 0.")
            .complexity("O(log(N)), N being the size of the sorted set"),
        c("zrem", Arity::at_least(3), zrem)
            .write()
            .fast()
            .since("1.2.0")
            .key(1, "rw|delete")
            .doc("Removes members from a sorted set; the last one takes the key along.")
            .complexity("O(log(N)) for each member, N being the size of the sorted set"),
        c("zremrangebyrank", Arity::exactly(4), zremrangebyrank)
            .write()
            .since("2.0.0")
            .key(1, "rw|delete")
            .doc("Removes the members of a range of ranks.")
            .complexity("O(log(N)+M) for a sorted set of N members, of which M are removed"),
        c("zremrangebyscore", Arity::exactly(4), zremrangebyscore)
            .write()
            .since("1.2.0")
            .key(1, "rw|delete")
            .doc("Removes the members of a range of scores.")
            .complexity("O(log(N)+M) for a sorted set of N members, of which M are removed"),
        c("zremrangebylex", Arity::exactly(4), zremrangebylex)
            .write()
            .since("2.8.9")
            .key(1, "rw|delete")
            .doc("Removes the members of a lexicographic range, all scores being equal.")
            .complexity("O(log(N)+M) for a sorted set of N members, of which M are removed"),
        c("zpopmin", Arity::at_least(2), zpopmin)
            .write()
            .fast()
            .since("5.0.0")
            .key(1, "rw|access|delete")
            .doc("Removes the members with the lowest scores and returns them.")
            .complexity("O(log(N)*M) for a sorted set of N members, of which M are taken"),
        c("zpopmax", Arity::at_least(2), zpopmax)
            .write()
            .fast()
            .since("5.0.0")
            .key(1, "rw|access|delete")
            .doc("Removes the members with the highest scores and returns them.")
            .complexity("O(log(N)*M) for a sorted set of N members, of which M are taken"),
        c("bzpopmin", Arity::at_least(3), bzpopmin)
            .write()
            .fast()
            .blocking()
            .since("5.0.0")
            .range(1, -2, 1, "rw|access|delete")
            .doc("As ZPOPMIN on the first sorted set that has members; waits while none has.")
            .complexity("O(log(N)), N being the size of the sorted set"),
        c("bzpopmax", Arity::at_least(3), bzpopmax)
            .write()
            .fast()
            .blocking()
            .since("5.0.0")
            .range(1, -2, 1, "rw|access|delete")
            .doc("As ZPOPMAX on the first sorted set that has members; waits while none has.")
            .complexity("O(log(N)), N being the size of the sorted set"),
        c("zmpop", Arity::at_least(4), zmpop)
            .write()
            .since("7.0.0")
            .keynum(1, "rw|access|delete")
            .doc("Takes the lowest or highest members of the first sorted set that has any.")
            .complexity("O(K)+O(M*log(N)) for K keys and a sorted set of N members, of which M are taken"),
        c("bzmpop", Arity::at_least(5), bzmpop)
            .write()
            .blocking()
            .since("7.0.0")
            .keynum(2, "rw|access|delete")
            .doc("As ZMPOP; waits while no sorted set has members.")
            .complexity("O(K)+O(M*log(N)) for K keys and a sorted set of N members, of which M are taken"),
        c("zrangestore", Arity::at_least(5), zrangestore)
            .write()
            .denyoom()
            .since("6.2.0")
            .key(1, "ow|update")
            .key(2, "ro|access")
            .doc("Stores a range of a sorted set as one of its own.")
            .complexity("O(log(N)+M) for a sorted set of N members, of which M are stored"),
    ]
}

fn reading() -> Vec<Command> {
    let c = row;
    let range = "O(log(N)+M) for a sorted set of N members, of which M are returned";
    vec![
        c("zscore", Arity::exactly(3), zscore)
            .readonly()
            .fast()
            .since("1.2.0")
            .key(1, "ro|access")
            .doc("Returns the score of a member.")
            .complexity("O(1)"),
        c("zmscore", Arity::at_least(3), zmscore)
            .readonly()
            .fast()
            .since("6.2.0")
            .key(1, "ro|access")
            .doc("Returns the scores of several members.")
            .complexity("O(1) for each member"),
        c("zcard", Arity::exactly(2), zcard)
            .readonly()
            .fast()
            .since("1.2.0")
            .key(1, "ro")
            .doc("Counts the members of a sorted set.")
            .complexity("O(1)"),
        c("zcount", Arity::exactly(4), zcount)
            .readonly()
            .fast()
            .since("2.0.0")
            .key(1, "ro|access")
            .doc("Counts the members of a range of scores.")
            .complexity("O(log(N)), N being the size of the sorted set"),
        c("zlexcount", Arity::exactly(4), zlexcount)
            .readonly()
            .fast()
            .since("2.8.9")
            .key(1, "ro|access")
            .doc("Counts the members of a lexicographic range, all scores being equal.")
            .complexity("O(log(N)), N being the size of the sorted set"),
        c("zrank", Arity::at_least(3), zrank)
            .readonly()
            .fast()
            .since("2.0.0")
            .key(1, "ro|access")
            .doc("Returns how many members come before a member.")
            .complexity("O(log(N)), N being the size of the sorted set"),
        c("zrevrank", Arity::at_least(3), zrevrank)
            .readonly()
            .fast()
            .since("2.0.0")
            .key(1, "ro|access")
            .doc("Returns how many members come after a member.")
            .complexity("O(log(N)), N being the size of the sorted set"),
        c("zrange", Arity::at_least(4), zrange)
            .readonly()
            .since("1.2.0")
            .key(1, "ro|access")
            .doc("Lists a range of ranks, scores or members of a sorted set.")
            .complexity(range),
        c("zrevrange", Arity::at_least(4), zrevrange)
            .readonly()
            .since("1.2.0")
            .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
            .key(1, "ro|access")
            .doc("Lists a range of ranks of a sorted set, counted from the highest score.")
            .complexity(range),
        c("zrangebyscore", Arity::at_least(4), zrangebyscore)
            .readonly()
            .since("1.0.5")
            .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
            .key(1, "ro|access")
            .doc("Lists the members of a range of scores.")
            .complexity(range),
        c("zrevrangebyscore", Arity::at_least(4), zrevrangebyscore)
            .readonly()
            .since("2.2.0")
            .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
            .key(1, "ro|access")
            .doc("Lists the members of a range of scores from the highest down.")
            .complexity(range),
        c("zrangebylex", Arity::at_least(4), zrangebylex)
            .readonly()
            .since("2.8.9")
            .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
            .key(1, "ro|access")
            .doc("Lists a lexicographic range of members, all scores being equal.")
            .complexity(range),
        c("zrevrangebylex", Arity::at_least(4), zrevrangebylex)
            .readonly()
            .since("2.8.9")
            .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
            .key(1, "ro|access")
            .doc("Lists a lexicographic range of members from the last to the first, all scores being equal.")
            .complexity(range),
        c("zrandmember", Arity::at_least(2), zrandmember)
            .readonly()
            .since("6.2.0")
            .key(1, "ro|access")
            .doc("Returns random members of a sorted set.")
            .complexity(
                "O(1) for each member returned, at most O(N) for N members when they must be distinct",
            ),
    ]
}

fn combining() -> Vec<Command> {
    let c = row;
    let union = "O(N)+O(M*log(M)) for N members in all inputs together and M in the result";
    let inter = "O(N*K)+O(M*log(M)) for K inputs, the smallest of N members, and M in the result";
    let diff = "O(N*K)+O(M*log(M)) for K inputs, the first of N members, and M in the result";
    vec![
        c("zunion", Arity::at_least(3), zunion)
            .readonly()
            .since("6.2.0")
            .keynum(1, "ro|access")
            .doc("Lists the members that any of the sorted sets has, with combined scores.")
            .complexity(union),
        c("zunionstore", Arity::at_least(4), zunionstore)
            .write()
            .denyoom()
            .since("2.0.0")
            .key(1, "ow|update")
            .keynum(2, "ro|access")
            .doc("Stores the members that any of the sorted sets has, with combined scores.")
            .complexity(union),
        c("zinter", Arity::at_least(3), zinter)
            .readonly()
            .since("6.2.0")
            .keynum(1, "ro|access")
            .doc("Lists the members that all sorted sets have, with combined scores.")
            .complexity(inter),
        c("zinterstore", Arity::at_least(4), zinterstore)
            .write()
            .denyoom()
            .since("2.0.0")
            .key(1, "ow|update")
            .keynum(2, "ro|access")
            .doc("Stores the members that all sorted sets have, with combined scores.")
            .complexity(inter),
        c("zintercard", Arity::at_least(3), zintercard)
            .readonly()
            .since("7.0.0")
            .keynum(1, "ro|access")
            .doc("Counts the members that all sorted sets have.")
            .complexity("O(N*K) for K inputs, the smallest of N members"),
        c("zdiff", Arity::at_least(3), zdiff)
            .readonly()
            .since("6.2.0")
            .keynum(1, "ro|access")
            .doc("Lists the members of the first sorted set that none of the others has.")
            .complexity(diff),
        c("zdiffstore", Arity::at_least(4), zdiffstore)
            .write()
            .denyoom()
            .since("6.2.0")
            .key(1, "ow|update")
            .keynum(2, "ro|access")
            .doc("Stores the members of the first sorted set that none of the others has.")
            .complexity(diff),
    ]
}

/// Writes a member as a bulk string.
pub(super) fn bulk(reply: &mut Reply, member: Elem<'_>) {
    match member {
        Elem::Int(v) => reply.bulk_int(v),
        Elem::Str(s) => reply.bulk(s),
    }
}

/// Announces `n` members, or `n` members with scores: in RESP3 each of those is an array of two.
fn header(reply: &mut Reply, n: usize, scores: bool) {
    reply.array(if scores && !reply.resp3() { 2 * n } else { n });
}

fn pair(reply: &mut Reply, member: Elem<'_>, score: f64, scores: bool) {
    if scores && reply.resp3() {
        reply.array(2);
    }
    bulk(reply, member);
    if scores {
        reply.double(score);
    }
}

fn parse_score(text: &[u8]) -> Result<f64, CommandError> {
    parse_f64(text).ok_or(CommandError::NOT_FLOAT)
}

fn zadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut how = Update::default();
    let mut count_changed = false;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let option = match word.len() {
            2 if eq_nocase(word, "nx") => &mut how.nx,
            2 if eq_nocase(word, "xx") => &mut how.xx,
            2 if eq_nocase(word, "gt") => &mut how.gt,
            2 if eq_nocase(word, "lt") => &mut how.lt,
            2 if eq_nocase(word, "ch") => &mut count_changed,
            4 if eq_nocase(word, "incr") => &mut how.incr,
            _ => break,
        };
        *option = true;
        at += 1;
    }
    let pairs = args.from(at);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    if how.nx && how.xx {
        return Err(CommandError::new("ERR XX and NX options at the same time are not compatible"));
    }
    if (how.nx && (how.gt || how.lt)) || (how.gt && how.lt) {
        return Err(CommandError::new("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if how.incr && pairs.len() > 2 {
        return Err(CommandError::new("ERR INCR option supports a single increment-element pair"));
    }
    add(ctx, &args[1], pairs, how, count_changed)
}

fn zincrby(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    add(ctx, &args[1], args.from(2), Update { incr: true, ..Update::default() }, false)
}

/// Of ZADD and ZINCRBY: score and member by turns.
fn add(ctx: &mut Context<'_>, key: &[u8], pairs: Args<'_>, how: Update, count_changed: bool) -> Outcome {
    ctx.slow_lane(pairs.len() / 2)?;
    let scores: SmallVec<[f64; 8]> =
        pairs.iter().step_by(2).map(parse_score).collect::<Result<_, CommandError>>()?;
    add_scored(ctx, key, &scores, pairs.iter().skip(1).step_by(2), how, count_changed)
}

/// Adds members with these scores, of which there is at least one.
pub(super) fn add_scored<'m>(
    ctx: &mut Context<'_>,
    key: &[u8],
    scores: &[f64],
    members: impl Iterator<Item = &'m [u8]> + Clone,
    how: Update,
    count_changed: bool,
) -> Outcome {
    let (limits, seed) = (ctx.limits(), ctx.env.keyspace.seed());
    let (mut added, mut changed, mut last) = (0, 0, None);
    let first = members.clone().next().unwrap_or_default();
    let mut fill = |cell: &mut Cell| {
        for (score, member) in scores.iter().zip(members.clone()) {
            last = match zset::update(cell, member, *score, how, limits, seed) {
                Updated::Nothing => None,
                Updated::Same(score) => Some(score),
                Updated::Added(score) => {
                    added += 1;
                    Some(score)
                }
                Updated::Changed(score) => {
                    changed += 1;
                    Some(score)
                }
                Updated::NotANumber => {
                    return Err(CommandError::new("ERR resulting score is not a number (NaN)"));
                }
            };
        }
        Ok(())
    };
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::ZSet)? {
        zset::expect(&mut cell, scores.len(), limits, seed);
        fill(&mut cell)?;
    } else if !how.xx {
        let mut cell = zset::create(key, first, scores.len(), limits, seed);
        fill(&mut cell)?;
        ctx.keys.insert(cell);
    }
    if added + changed > 0 {
        ctx.keys.signal(notify::ZSET, if how.incr { "zincr" } else { "zadd" }, key);
        ctx.keys.add_dirty(added + changed - 1);
    }
    match last {
        Some(score) if how.incr => ctx.reply.double(score),
        None if how.incr => ctx.reply.null(),
        _ => ctx.reply.int(if count_changed { added + changed } else { added } as i64),
    }
    Ok(())
}

fn zrem(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, members) = (&args[1], args.from(2));
    ctx.slow_lane(members.len())?;
    let (mut removed, mut emptied) = (0, false);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::ZSet)? {
        for member in members {
            if zset::remove(&mut cell, member) {
                removed += 1;
                emptied = ZSetRef::of(&cell).is_empty();
                if emptied {
                    break;
                }
            }
        }
    }
    removed_some(ctx, key, "zrem", removed, emptied);
    ctx.reply.int(removed as i64);
    Ok(())
}

/// Pays what a removal of members owes.
fn removed_some(ctx: &mut Context<'_>, key: &[u8], event: &'static str, removed: usize, emptied: bool) {
    if removed > 0 {
        ctx.keys.signal(notify::ZSET, event, key);
        ctx.keys.add_dirty(removed as u64 - 1);
        if emptied {
            ctx.keys.delete_emptied(key);
        }
    }
}

/// Which members a range names.
#[derive(Clone, Copy)]
enum Span<'a> {
    /// First and last rank, negative from the end.
    Rank(i64, i64),
    Score(ScoreRange),
    Lex(LexRange<'a>),
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Rank,
    Score,
    Lex,
}

impl<'a> Span<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        match by {
            By::Rank => {
                let rank = |text| parse_i64(text).ok_or(CommandError::NOT_INTEGER);
                Ok(Span::Rank(rank(min)?, rank(max)?))
            }
            By::Score => {
                let end = |text: &'a [u8]| {
                    let (text, excluded) = match text {
                        [b'(', rest @ ..] => (rest, true),
                        _ => (text, false),
                    };
                    parse_bound(text).map(|score| (score, excluded)).ok_or(CommandError::MIN_OR_MAX_NOT_FLOAT)
                };
                let ((min, min_excluded), (max, max_excluded)) = (end(min)?, end(max)?);
                Ok(Span::Score(ScoreRange { min, max, min_excluded, max_excluded }))
            }
            By::Lex => {
                let end = |text: &'a [u8]| match text {
                    b"-" => Ok(LexEnd::Min),
                    b"+" => Ok(LexEnd::Max),
                    [b'[', member @ ..] => Ok(LexEnd::Included(member)),
                    [b'(', member @ ..] => Ok(LexEnd::Excluded(member)),
                    _ => Err(CommandError::MIN_OR_MAX_NOT_STRING_RANGE),
                };
                Ok(Span::Lex(LexRange { min: end(min)?, max: end(max)? }))
            }
        }
    }

    /// The ranks, counted from the lowest score; for ranks in reverse, those of the span are counted from the highest.
    fn ranks(&self, set: ZSetRef<'_>, reverse: bool) -> Range<usize> {
        match self {
            Span::Score(range) => set.ranks_by_score(range),
            Span::Lex(range) => set.ranks_by_lex(range),
            Span::Rank(first, last) => {
                let len = set.len() as i64;
                let from_start = |rank: i64| if rank < 0 { rank.saturating_add(len) } else { rank };
                let first = from_start(*first).max(0);
                let last = from_start(*last).min(len - 1);
                if first > last {
                    return 0..0;
                }
                let (first, end) = (first as usize, last as usize + 1);
                if reverse { set.len() - end..set.len() - first } else { first..end }
            }
        }
    }
}

/// As C's strtod reads the end of a range: leading blanks are skipped, an empty text is 0, what is too large is
/// infinite.
fn parse_bound(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Some(0.0);
    }
    parse_f64(text).or_else(|| {
        let decimal = text.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        std::str::from_utf8(text).ok().filter(|_| decimal)?.parse().ok()
    })
}

fn zremrangebyrank(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    remove_range(ctx, args, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    remove_range(ctx, args, By::Score, "zremrangebyscore")
}

fn zremrangebylex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    remove_range(ctx, args, By::Lex, "zremrangebylex")
}

fn remove_range(ctx: &mut Context<'_>, args: Args<'_>, by: By, event: &'static str) -> Outcome {
    let key = &args[1];
    let span = Span::parse(by, args.at(2), args.at(3))?;
    let ranks = match ctx.keys.get_mut_type(key, Type::ZSet)? {
        Some(cell) => span.ranks(ZSetRef::of(&cell), false),
        None => 0..0,
    };
    let removed = ranks.len();
    ctx.slow_lane(removed)?;
    let mut emptied = false;
    if removed > 0
        && let Some(mut cell) = ctx.keys.get_mut(key)
    {
        // All of them go with the key, which is freed in the background.
        emptied = removed == ZSetRef::of(&cell).len();
        if !emptied {
            zset::remove_ranks(&mut cell, ranks, &mut |_, _| {});
        }
    }
    removed_some(ctx, key, event, removed, emptied);
    ctx.reply.int(removed as i64);
    Ok(())
}

/// How popped members are answered.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// ZPOPMIN: member, score, member, score; in RESP3 with a count, pairs.
    Flat,
    Pairs,
    /// BZPOPMIN: key, member, score.
    KeyFirst,
    /// ZMPOP: key, and an array of pairs.
    KeyAndPairs,
}

/// Takes up to `count` members off one end of a sorted set that is there and not empty.
fn pop(ctx: &mut Context<'_>, key: &[u8], max: bool, count: usize, shape: Shape) -> Outcome {
    let len = ctx.keys.peek(key).map_or(0, |cell| ZSetRef::of(cell).len());
    let n = count.min(len);
    ctx.slow_lane(n)?;
    let reply = &mut *ctx.reply;
    match shape {
        Shape::Flat => reply.array(2 * n),
        Shape::Pairs => reply.array(n),
        Shape::KeyFirst => {
            reply.array(2 * n + 1);
            reply.bulk(key);
        }
        Shape::KeyAndPairs => {
            reply.array(2);
            reply.bulk(key);
            reply.array(n);
        }
    }
    let nested = matches!(shape, Shape::Pairs | Shape::KeyAndPairs);
    let mut write = |member: Elem<'_>, score: f64| {
        if nested {
            reply.array(2);
        }
        bulk(reply, member);
        reply.double(score);
    };
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        if n == len || max {
            let set = ZSetRef::of(&cell);
            let ranks = if max { len - n..len } else { 0..n };
            let items = set.range(ranks);
            if max {
                items.rev().for_each(|(member, score)| write(member, score));
            } else {
                items.for_each(|(member, score)| write(member, score));
            }
        }
        if n < len {
            if max {
                zset::remove_ranks(&mut cell, len - n..len, &mut |_, _| {});
            } else {
                zset::remove_ranks(&mut cell, 0..n, &mut write);
            }
        }
    }
    removed_some(ctx, key, if max { "zpopmax" } else { "zpopmin" }, n, n == len);
    Ok(())
}

fn zpopmin(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one_key(ctx, args, false)
}

fn zpopmax(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one_key(ctx, args, true)
}

fn pop_one_key(ctx: &mut Context<'_>, args: Args<'_>, max: bool) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let count = match args.get(2) {
        Some(text) => {
            let count = parse_i64(text).and_then(|n| usize::try_from(n).ok());
            Some(count.ok_or(CommandError::OUT_OF_RANGE)?)
        }
        None => None,
    };
    let there = ctx.keys.get_mut_type(&args[1], Type::ZSet)?.is_some();
    if !there || count == Some(0) {
        ctx.reply.empty_array();
        return Ok(());
    }
    let shape = if count.is_some() && ctx.reply.resp3() { Shape::Pairs } else { Shape::Flat };
    pop(ctx, &args[1], max, count.unwrap_or(1), shape)
}

/// The first of the keys that holds a sorted set; another type before it is an error.
fn first_with_members<'k>(ctx: &mut Context<'_>, keys: Args<'k>) -> Result<Option<&'k [u8]>, CommandError> {
    for key in keys {
        if ctx.keys.get_mut_type(key, Type::ZSet)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn bzpopmin(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    blocking_pop(ctx, args, false)
}

fn bzpopmax(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    blocking_pop(ctx, args, true)
}

fn blocking_pop(ctx: &mut Context<'_>, args: Args<'_>, max: bool) -> Outcome {
    let deadline = ctx.deadline(args.at(args.len() - 1))?;
    let keys = args.slice(1..args.len() - 1);
    match first_with_members(ctx, keys)? {
        Some(key) => {
            pop(ctx, key, max, 1, Shape::KeyFirst)?;
            ctx.keys.effect(|| OwnedArgs::from_iter([if max { &b"ZPOPMAX"[..] } else { b"ZPOPMIN" }, key]));
            Ok(())
        }
        None => wait(ctx, keys, deadline),
    }
}

fn wait(ctx: &mut Context<'_>, keys: Args<'_>, deadline_ms: Option<u64>) -> Outcome {
    ctx.block(Block {
        keys: keys.iter().map(Into::into).collect(),
        wants: Some(Type::ZSet),
        deadline_ms,
        on_timeout: Reply::null_array,
    })
}

/// Of ZMPOP, from its number of keys on: the keys, which end, how many.
fn parse_mpop(args: Args<'_>, at: usize) -> Result<(Args<'_>, bool, usize), CommandError> {
    let n = args.get(at).and_then(parse_i64).filter(|n| *n > 0);
    let n = n.ok_or(CommandError::new("ERR numkeys should be greater than 0"))?;
    let end = usize::try_from(n).ok().and_then(|n| n.checked_add(at + 1)).filter(|end| *end < args.len());
    let end = end.ok_or(CommandError::SYNTAX)?;
    let max = match &args[end] {
        word if eq_nocase(word, "min") => false,
        word if eq_nocase(word, "max") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    let rest = args.from(end + 1);
    let count = match (rest.get(0), rest.get(1), rest.len()) {
        (None, ..) => 1,
        (Some(word), Some(n), len) if eq_nocase(word, "count") => {
            let n = parse_i64(n).filter(|n| *n > 0);
            let n = n.ok_or(CommandError::new("ERR count should be greater than 0"))?;
            if len > 2 {
                return Err(CommandError::SYNTAX);
            }
            usize::try_from(n).unwrap_or(usize::MAX)
        }
        _ => return Err(CommandError::SYNTAX),
    };
    Ok((args.slice(at + 1..end), max, count))
}

fn zmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (keys, max, count) = parse_mpop(args, 1)?;
    match first_with_members(ctx, keys)? {
        Some(key) => mpop(ctx, key, max, count),
        None => {
            ctx.reply.null_array();
            Ok(())
        }
    }
}

fn bzmpop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (keys, max, count) = parse_mpop(args, 2)?;
    let deadline = ctx.deadline(args.at(1))?;
    match first_with_members(ctx, keys)? {
        Some(key) => mpop(ctx, key, max, count),
        None => wait(ctx, keys, deadline),
    }
}

fn mpop(ctx: &mut Context<'_>, key: &[u8], max: bool, count: usize) -> Outcome {
    let len = ctx.keys.peek(key).map_or(0, |cell| ZSetRef::of(cell).len());
    pop(ctx, key, max, count, Shape::KeyAndPairs)?;
    ctx.keys.effect(|| {
        let name = if max { &b"ZPOPMAX"[..] } else { b"ZPOPMIN" };
        OwnedArgs::from_iter([name, key, count.min(len).to_string().as_bytes()])
    });
    Ok(())
}

fn zscore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    match ctx.keys.get_type(&args[1], Type::ZSet)?.and_then(|cell| ZSetRef::of(cell).score(&args[2])) {
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn zmscore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let members = args.from(2);
    ctx.slow_lane(members.len())?;
    let set = ctx.keys.get_type(&args[1], Type::ZSet)?.map(ZSetRef::of);
    ctx.reply.array(members.len());
    for member in members {
        match set.and_then(|set| set.score(member)) {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

fn zcard(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let len = ctx.keys.get_type(&args[1], Type::ZSet)?.map_or(0, |cell| ZSetRef::of(cell).len());
    ctx.reply.int(len as i64);
    Ok(())
}

fn zcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    count(ctx, args, By::Score)
}

fn zlexcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    count(ctx, args, By::Lex)
}

fn count(ctx: &mut Context<'_>, args: Args<'_>, by: By) -> Outcome {
    let span = Span::parse(by, args.at(2), args.at(3))?;
    let cell = ctx.keys.get_type(&args[1], Type::ZSet)?;
    let n = cell.map_or(0, |cell| span.ranks(ZSetRef::of(cell), false).len());
    ctx.reply.int(n as i64);
    Ok(())
}

fn zrank(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    rank(ctx, args, false)
}

fn zrevrank(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    rank(ctx, args, true)
}

fn rank(ctx: &mut Context<'_>, args: Args<'_>, reverse: bool) -> Outcome {
    if args.len() > 4 {
        return Err(CommandError::wrong_arity(&ctx.command.full_name));
    }
    let with_score = match args.get(3) {
        Some(word) if eq_nocase(word, "withscore") => true,
        Some(_) => return Err(CommandError::SYNTAX),
        None => false,
    };
    let set = ctx.keys.get_type(&args[1], Type::ZSet)?.map(ZSetRef::of);
    match set.and_then(|set| Some((set.len(), set.rank(&args[2])?))) {
        Some((len, (rank, score))) => {
            if with_score {
                ctx.reply.array(2);
            }
            ctx.reply.int(if reverse { len - 1 - rank } else { rank } as i64);
            if with_score {
                ctx.reply.double(score);
            }
        }
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn zrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, Ranged::parse(args, 1, false, None, None)?)
}

fn zrevrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, Ranged::parse(args, 1, false, Some(By::Rank), Some(true))?)
}

fn zrangebyscore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, Ranged::parse(args, 1, false, Some(By::Score), Some(false))?)
}

fn zrevrangebyscore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, Ranged::parse(args, 1, false, Some(By::Score), Some(true))?)
}

fn zrangebylex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, Ranged::parse(args, 1, false, Some(By::Lex), Some(false))?)
}

fn zrevrangebylex(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, Ranged::parse(args, 1, false, Some(By::Lex), Some(true))?)
}

/// A range with its options.
struct Ranged<'a> {
    key: &'a [u8],
    span: Span<'a>,
    reverse: bool,
    scores: bool,
    /// Offset and count, negative for no limit.
    limit: Option<(i64, i64)>,
}

impl<'a> Ranged<'a> {
    /// The source's key stands at `at`; `by` and `reverse` are `None` where options choose them.
    fn parse(
        args: Args<'a>,
        at: usize,
        store: bool,
        by: Option<By>,
        reverse: Option<bool>,
    ) -> Result<Self, CommandError> {
        let (mut chosen_by, mut chosen_reverse) = (by, reverse);
        let (mut scores, mut limit) = (false, None);
        let rest = args.from(at + 3);
        let mut i = 0;
        while let Some(word) = rest.get(i) {
            if !store && eq_nocase(word, "withscores") {
                scores = true;
            } else if let (true, Some(offset), Some(count)) =
                (eq_nocase(word, "limit"), rest.get(i + 1), rest.get(i + 2))
            {
                let number = |text| parse_i64(text).ok_or(CommandError::NOT_INTEGER);
                limit = Some((number(offset)?, number(count)?));
                i += 2;
            } else if reverse.is_none() && eq_nocase(word, "rev") {
                chosen_reverse = Some(true);
            } else if chosen_by.is_none() && eq_nocase(word, "bylex") {
                chosen_by = Some(By::Lex);
            } else if chosen_by.is_none() && eq_nocase(word, "byscore") {
                chosen_by = Some(By::Score);
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        let (by, reverse) = (chosen_by.unwrap_or(By::Rank), chosen_reverse.unwrap_or(false));
        if by == By::Rank && limit.is_some_and(|(_, count)| count != -1) {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if by == By::Lex && scores {
            return Err(CommandError::new(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (args.at(at + 1), args.at(at + 2));
        if reverse && by != By::Rank {
            std::mem::swap(&mut min, &mut max);
        }
        if by == By::Rank {
            limit = None;
        }
        Ok(Ranged { key: args.at(at), span: Span::parse(by, min, max)?, reverse, scores, limit })
    }

    /// The ranks that are in it, limit applied.
    fn ranks(&self, set: ZSetRef<'_>) -> Range<usize> {
        let ranks = self.span.ranks(set, self.reverse);
        let Some((offset, count)) = self.limit else { return ranks };
        let Ok(offset) = usize::try_from(offset) else { return 0..0 };
        if offset >= ranks.len() {
            return 0..0;
        }
        let left = ranks.len() - offset;
        let n = usize::try_from(count).map_or(left, |count| count.min(left));
        if self.reverse {
            ranks.end - offset - n..ranks.end - offset
        } else {
            ranks.start + offset..ranks.start + offset + n
        }
    }
}

fn range(ctx: &mut Context<'_>, range: Ranged<'_>) -> Outcome {
    let Some(set) = ctx.keys.get_type(range.key, Type::ZSet)?.map(ZSetRef::of) else {
        ctx.reply.empty_array();
        return Ok(());
    };
    let ranks = range.ranks(set);
    if ranks.len() <= SLOW_LANE_COST {
        write_range(ctx.reply, set, ranks, &range);
        return Ok(());
    }
    ctx.slow_lane(ranks.len())?;
    let Some(pin) = ctx.keys.peek(range.key).map(ZSetPin::of) else { return Ok(()) };
    ctx.release_keys();
    write_range(ctx.reply, pin.get(), ranks, &range);
    Ok(())
}

fn write_range(reply: &mut Reply, set: ZSetRef<'_>, ranks: Range<usize>, range: &Ranged<'_>) {
    header(reply, ranks.len(), range.scores);
    let items = set.range(ranks);
    if range.reverse {
        items.rev().for_each(|(member, score)| pair(reply, member, score, range.scores));
    } else {
        items.for_each(|(member, score)| pair(reply, member, score, range.scores));
    }
}

fn zrangestore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let range = Ranged::parse(args, 2, true, None, None)?;
    let set = ctx.keys.get_type(range.key, Type::ZSet)?.map(ZSetRef::of);
    let ranks = set.map_or(0..0, |set| range.ranks(set));
    ctx.slow_lane(ranks.len())?;
    let mut items = Vec::with_capacity(ranks.len());
    if let Some(cell) = ctx.keys.peek(range.key) {
        items.extend(ZSetRef::of(cell).range(ranks).map(|(member, score)| (score, member.to_vec())));
    }
    store(ctx, &args[1], &items, "zrangestore");
    Ok(())
}

/// Puts a sorted set of `items`, which are in order, in the place of `key`; answers their number.
fn store<M: AsRef<[u8]>>(ctx: &mut Context<'_>, key: &[u8], items: &[(f64, M)], event: &'static str) {
    if items.is_empty() {
        if ctx.keys.delete(key) {
            ctx.keys.notify(notify::GENERIC, "del", key);
        }
    } else {
        let cell = zset::from_sorted(key, items, ctx.limits(), ctx.env.keyspace.seed());
        ctx.keys.put(cell);
        ctx.keys.signal(notify::ZSET, event, key);
    }
    ctx.reply.int(items.len() as i64);
}

fn zrandmember(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let Some(count) = args.get(2) else {
        let mut rng = ctx.keys.rng.clone();
        match ctx.keys.get_type(key, Type::ZSet)?.and_then(|cell| ZSetRef::of(cell).random(&mut rng)) {
            Some((member, _)) => bulk(ctx.reply, member),
            None => ctx.reply.null(),
        }
        *ctx.keys.rng = rng;
        return Ok(());
    };
    let parsed = parse_random_count(ctx, count);
    // A number too large to be answered is told apart from a wrong one only after the options.
    if parse_i64(count).is_none() {
        return Err(CommandError::NOT_INTEGER);
    }
    let scores = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && eq_nocase(word, "withscores") => true,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let (count, distinct) = parsed?;
    if scores && count > i64::MAX as usize / 2 {
        return Err(CommandError::new("ERR value is out of range"));
    }
    let Some(cell) = ctx.keys.get_type(key, Type::ZSet)? else {
        ctx.reply.empty_array();
        return Ok(());
    };
    let len = ZSetRef::of(cell).len();
    let cost = match (distinct, cell.kind()) {
        _ if count == 0 => 0,
        (true, Kind::ZSetTree) if count < len / 3 => count,
        (true, _) => len,
        (false, _) => count,
    };
    ctx.slow_lane(cost)?;
    let mut rng = ctx.keys.rng.fork();
    let room = ctx.output_limit().unwrap_or(usize::MAX);
    let mut write = |set: ZSetRef<'_>, reply: &mut Reply| {
        if distinct {
            header(reply, count.min(len), scores);
            set.sample(count, &mut rng, &mut |member, score| pair(reply, member, score, scores));
        } else {
            header(reply, count, scores);
            for _ in 0..count {
                let drawn = set.random(&mut rng).filter(|_| reply.total_len() <= room);
                let Some((member, score)) = drawn else { break };
                pair(reply, member, score, scores);
            }
        }
    };
    if cost > SLOW_LANE_COST && !ctx.is_nested() {
        let Some(pin) = ctx.keys.peek(key).map(ZSetPin::of) else { return Ok(()) };
        ctx.release_keys();
        write(pin.get(), ctx.reply);
    } else if let Some(cell) = ctx.keys.peek(key) {
        write(ZSetRef::of(cell), ctx.reply);
    }
    Ok(())
}

/// What a combination takes in: a sorted set, or a set, whose members all have the score 1.
#[derive(Clone, Copy)]
enum Input<'a> {
    Set(SetRef<'a>),
    ZSet(ZSetRef<'a>),
}

enum InputPin {
    Set(SetPin),
    ZSet(ZSetPin),
}

impl InputPin {
    fn of(cell: &Cell) -> Self {
        if cell.ty() == Type::Set {
            InputPin::Set(SetPin::of(cell))
        } else {
            InputPin::ZSet(ZSetPin::of(cell))
        }
    }

    fn get(&self) -> Input<'_> {
        match self {
            InputPin::Set(pin) => Input::Set(pin.get()),
            InputPin::ZSet(pin) => Input::ZSet(pin.get()),
        }
    }
}

impl<'a> Input<'a> {
    fn of(cell: &'a Cell) -> Self {
        if cell.ty() == Type::Set { Input::Set(SetRef::of(cell)) } else { Input::ZSet(ZSetRef::of(cell)) }
    }

    fn len(self) -> usize {
        match self {
            Input::Set(set) => set.len(),
            Input::ZSet(set) => set.len(),
        }
    }

    fn score(self, member: Elem<'_>) -> Option<f64> {
        match self {
            Input::Set(set) => set.contains_elem(member).then_some(1.0),
            Input::ZSet(set) => set.score(member.to_cow(&mut [0; INT_TEXT_MAX])),
        }
    }

    /// Ends early when `f` says so.
    fn for_each(self, f: &mut dyn FnMut(Elem<'a>, f64) -> bool) {
        match self {
            Input::Set(set) => {
                let _ = set.iter().all(|member| f(member, 1.0));
            }
            Input::ZSet(set) => {
                let _ = set.iter().all(|(member, score)| f(member, score));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Combine {
    Union,
    Inter,
    Diff,
}

#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => not_nan(a + b),
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// Infinity less infinity, and infinity times 0, are 0 here.
fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A combination as it was asked for.
struct Combination<'a> {
    what: Combine,
    keys: Args<'a>,
    /// One for each key.
    weights: SmallVec<[f64; 4]>,
    aggregate: Aggregate,
    scores: bool,
}

type Pairs<'a> = Vec<(f64, Cow<'a, [u8]>)>;

/// Integers' texts are made, others are borrowed.
fn text(member: Elem<'_>) -> Cow<'_, [u8]> {
    match member {
        Elem::Str(s) => Cow::Borrowed(s),
        Elem::Int(_) => Cow::Owned(member.to_vec()),
    }
}

/// The keys whose number stands at `at`, checked for types, and how many members they have in all.
fn inputs<'a>(ctx: &mut Context<'_>, args: Args<'a>, at: usize) -> Result<(Args<'a>, usize), CommandError> {
    let n = args.get(at).and_then(parse_i64).ok_or(CommandError::NOT_INTEGER)?;
    if n < 1 {
        let name = &ctx.command.full_name;
        return Err(CommandError::new(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    let n = usize::try_from(n).ok().filter(|n| *n < args.len() - at).ok_or(CommandError::SYNTAX)?;
    let keys = args.slice(at + 1..at + 1 + n);
    let mut cost = 0;
    for key in keys {
        if let Some(cell) = ctx.keys.get(key) {
            if !matches!(cell.ty(), Type::Set | Type::ZSet) {
                return Err(CommandError::WRONG_TYPE);
            }
            cost += Input::of(cell).len();
        }
    }
    Ok((keys, cost))
}

impl<'a> Combination<'a> {
    /// Also looks the keys up; returns how many members they have in all.
    fn parse(
        ctx: &mut Context<'_>,
        args: Args<'a>,
        at: usize,
        what: Combine,
        store: bool,
    ) -> Result<(Self, usize), CommandError> {
        let (keys, cost) = inputs(ctx, args, at)?;
        let mut weights = SmallVec::from_elem(1.0, keys.len());
        let (mut aggregate, mut scores) = (Aggregate::Sum, false);
        let rest = args.from(at + 1 + keys.len());
        let mut i = 0;
        while let Some(word) = rest.get(i) {
            let left = rest.len() - i;
            if what != Combine::Diff && left > keys.len() && eq_nocase(word, "weights") {
                for (weight, text) in weights.iter_mut().zip(rest.from(i + 1)) {
                    *weight = parse_f64(text).ok_or(CommandError::new("ERR weight value is not a float"))?;
                }
                i += 1 + keys.len();
            } else if what != Combine::Diff && left >= 2 && eq_nocase(word, "aggregate") {
                aggregate = match &rest[i + 1] {
                    how if eq_nocase(how, "sum") => Aggregate::Sum,
                    how if eq_nocase(how, "min") => Aggregate::Min,
                    how if eq_nocase(how, "max") => Aggregate::Max,
                    _ => return Err(CommandError::SYNTAX),
                };
                i += 2;
            } else if !store && eq_nocase(word, "withscores") {
                scores = true;
                i += 1;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok((Combination { what, keys, weights, aggregate, scores }, cost))
    }

    /// The result in order. `inputs` stand as the keys do.
    fn compute<'i>(&self, inputs: &[Option<Input<'i>>]) -> Pairs<'i> {
        let mut result = match self.what {
            Combine::Union => self.union(inputs),
            Combine::Inter => self.inter(inputs),
            Combine::Diff => diff(inputs),
        };
        result.sort_unstable_by(|a, b| zset::compare((a.0, &a.1), (b.0, &b.1)));
        result
    }

    /// The inputs that are there with their weights, the smallest first: the order in which scores are summed up.
    fn by_size<'i>(&self, inputs: &[Option<Input<'i>>]) -> Vec<(Input<'i>, f64)> {
        let all = inputs.iter().zip(&self.weights);
        let mut there: Vec<_> = all.filter_map(|(input, weight)| Some(((*input)?, *weight))).collect();
        there.sort_by_key(|(input, _)| input.len());
        there
    }

    fn union<'i>(&self, inputs: &[Option<Input<'i>>]) -> Pairs<'i> {
        let inputs = self.by_size(inputs);
        let largest = inputs.last().map_or(0, |(input, _)| input.len());
        let mut scores: HashMap<Cow<'i, [u8]>, f64> = HashMap::with_capacity(largest);
        for (input, weight) in inputs {
            input.for_each(&mut |member, score| {
                let score = not_nan(weight * score);
                match scores.entry(text(member)) {
                    Entry::Occupied(mut old) => *old.get_mut() = self.aggregate.of(*old.get(), score),
                    Entry::Vacant(new) => {
                        new.insert(score);
                    }
                }
                true
            });
        }
        scores.into_iter().map(|(member, score)| (score, member)).collect()
    }

    fn inter<'i>(&self, inputs: &[Option<Input<'i>>]) -> Pairs<'i> {
        let mut result = Vec::new();
        if inputs.iter().any(Option::is_none) {
            return result;
        }
        let inputs = self.by_size(inputs);
        let Some(((smallest, weight), others)) = inputs.split_first() else { return result };
        smallest.for_each(&mut |member, score| {
            let mut total = not_nan(weight * score);
            let everywhere = others.iter().all(|(input, weight)| match input.score(member) {
                Some(score) => {
                    total = self.aggregate.of(total, not_nan(weight * score));
                    true
                }
                None => false,
            });
            if everywhere {
                result.push((total, text(member)));
            }
            true
        });
        result
    }
}

fn diff<'i>(inputs: &[Option<Input<'i>>]) -> Pairs<'i> {
    let mut result = Vec::new();
    let Some((Some(first), others)) = inputs.split_first() else { return result };
    first.for_each(&mut |member, score| {
        if !others.iter().flatten().any(|input| input.score(member).is_some()) {
            result.push((score, text(member)));
        }
        true
    });
    result
}

/// Calls `f` with the inputs, in the slow lane from pins and with the keys released.
fn read_inputs(
    ctx: &mut Context<'_>,
    keys: Args<'_>,
    cost: usize,
    f: impl FnOnce(&[Option<Input<'_>>], &mut Reply),
) {
    if cost > SLOW_LANE_COST && !ctx.is_nested() {
        let pins: Vec<_> = keys.iter().map(|key| ctx.keys.peek(key).map(InputPin::of)).collect();
        ctx.release_keys();
        let inputs: Vec<_> = pins.iter().map(|pin| pin.as_ref().map(InputPin::get)).collect();
        f(&inputs, ctx.reply);
    } else {
        let inputs: SmallVec<[_; 4]> = keys.iter().map(|key| ctx.keys.peek(key).map(Input::of)).collect();
        f(&inputs, ctx.reply);
    }
}

fn combine(ctx: &mut Context<'_>, args: Args<'_>, what: Combine) -> Outcome {
    let (combination, cost) = Combination::parse(ctx, args, 1, what, false)?;
    ctx.slow_lane(cost)?;
    read_inputs(ctx, combination.keys, cost, |inputs, reply| {
        let result = combination.compute(inputs);
        header(reply, result.len(), combination.scores);
        for (score, member) in &result {
            pair(reply, Elem::Str(member), *score, combination.scores);
        }
    });
    Ok(())
}

fn combine_store(ctx: &mut Context<'_>, args: Args<'_>, what: Combine, event: &'static str) -> Outcome {
    let (combination, cost) = Combination::parse(ctx, args, 2, what, true)?;
    ctx.slow_lane(cost)?;
    // Pins, because the target may be an input.
    let pins: SmallVec<[_; 4]> =
        combination.keys.iter().map(|key| ctx.keys.peek(key).map(InputPin::of)).collect();
    let inputs: SmallVec<[_; 4]> = pins.iter().map(|pin| pin.as_ref().map(InputPin::get)).collect();
    let result = combination.compute(&inputs);
    store(ctx, &args[1], &result, event);
    Ok(())
}

fn zunion(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    combine(ctx, args, Combine::Union)
}

fn zunionstore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    combine_store(ctx, args, Combine::Union, "zunionstore")
}

fn zinter(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    combine(ctx, args, Combine::Inter)
}

fn zinterstore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    combine_store(ctx, args, Combine::Inter, "zinterstore")
}

fn zdiff(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    combine(ctx, args, Combine::Diff)
}

fn zdiffstore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    combine_store(ctx, args, Combine::Diff, "zdiffstore")
}

fn zintercard(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (keys, cost) = inputs(ctx, args, 1)?;
    let rest = args.from(2 + keys.len());
    let mut limit = 0;
    let mut i = 0;
    while let Some(word) = rest.get(i) {
        limit = match rest.get(i + 1) {
            Some(n) if eq_nocase(word, "limit") => parse_limit(n)?,
            _ => return Err(CommandError::SYNTAX),
        };
        i += 2;
    }
    ctx.slow_lane(cost)?;
    read_inputs(ctx, keys, cost, |inputs, reply| {
        let mut n = 0;
        let mut inputs: SmallVec<[Input<'_>; 4]> = match inputs.iter().copied().collect::<Option<_>>() {
            Some(inputs) => inputs,
            None => return reply.int(0),
        };
        inputs.sort_by_key(|input| input.len());
        if let Some((smallest, others)) = inputs.split_first() {
            smallest.for_each(&mut |member, _| {
                n += usize::from(others.iter().all(|input| input.score(member).is_some()));
                limit == 0 || n < limit
            });
        }
        reply.int(n as i64);
    });
    Ok(())
}
