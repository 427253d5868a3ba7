//! SORT and SORT_RO.
//!
//! The elements are copied into one arena and sorted there. Without GET patterns and STORE nothing more is looked up
//! then, and the shards are given back before the sort. BY and GET patterns name keys that no row can declare: with
//! them, every shard is locked.
use std::cmp::Ordering;
use std::ops::Range;

use crate::base::num::{parse_f64, parse_i64};
use crate::command::row::{Begin, Find, Locks};
use crate::command::string::{with_bytes, write_string};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, View, notify};
use crate::resp::args::{Args, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Type};
use crate::value::hash::HashRef;
use crate::value::list::{self, ListRef};
use crate::value::set::SetRef;
use crate::value::zset::ZSetRef;

pub fn commands() -> Vec<Command> {
    let c = |name, handler| {
        Command::new(name, Arity::at_least(2), handler)
            .group(Group::Generic)
            .categories(&["set", "sortedset", "list", "dangerous"])
            .key(1, "ro|access")
            // BY and GET: keys that only the elements tell.
            .spec(Begin::Keyword("", 0), Find::Unknown, "ro|access")
            .complexity("O(N+M*log(M)) with N the elements and M those returned")
    };
    vec![
        c("sort", sort)
            .write()
            .denyoom()
            .spec(Begin::Keyword("", 0), Find::Unknown, "ow|update")
            .finder(|args, found| {
                found(1, "ro|access");
                if let Some(at) = destination(args) {
                    found(at, "ow|update");
                }
            })
            .locks_for(|args| locks(args, true))
            .doc("Sorts the elements of a list, set or sorted set; returns or stores them."),
        c("sort_ro", sort_ro)
            .readonly()
            .finder(|_, found| found(1, "ro|access"))
            .locks_for(|args| locks(args, false))
            .since("7.0.0")
            .doc("Returns the sorted elements of a list, set or sorted set."),
    ]
}

/// Which argument the last STORE names, whatever else the arguments are: COMMAND GETKEYS asks about any.
fn destination(args: Args<'_>) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while let Some(word) = args.get(at) {
        at += match word {
            _ if eq_nocase(word, "limit") => 2,
            _ if eq_nocase(word, "by") || eq_nocase(word, "get") => 1,
            _ if eq_nocase(word, "store") && at + 1 < args.len() => {
                found = Some(at + 1);
                0
            }
            _ => 0,
        } + 1;
    }
    found
}

fn locks(args: Args<'_>, may_store: bool) -> Locks {
    let looks_up = Options::parse(args, may_store)
        .is_ok_and(|o| o.by.is_some_and(Pattern::looks_up) || o.gets.iter().any(|get| get.looks_up()));
    if looks_up { Locks::All } else { Locks::Keys }
}

/// A BY or GET pattern: a key with a `*` for the element, `->field` behind it for a field of a hash.
#[derive(Clone, Copy)]
struct Pattern<'a>(&'a [u8]);

impl<'a> Pattern<'a> {
    fn star(self) -> Option<usize> {
        memchr::memchr(b'*', self.0)
    }

    fn is_element(self) -> bool {
        self.0 == b"#"
    }

    fn looks_up(self) -> bool {
        self.star().is_some()
    }

    /// The key for an element, in `key`, and the field. `None` without a `*`: a fixed key is no key of an element.
    fn resolve(self, element: &[u8], key: &mut Vec<u8>) -> Option<Option<&'a [u8]>> {
        let star = self.star()?;
        let (prefix, rest) = (&self.0[..star], &self.0[star + 1..]);
        let arrow = memchr::memmem::find(rest, b"->").filter(|at| at + 2 < rest.len());
        let (postfix, field) = match arrow {
            Some(at) => (&rest[..at], Some(&rest[at + 2..])),
            None => (rest, None),
        };
        key.clear();
        [prefix, element, postfix].iter().for_each(|part| key.extend_from_slice(part));
        Some(field)
    }

    /// Calls back with the cell that the pattern leads to, and the field wanted of it.
    fn cell<'v>(
        self,
        keys: &'v View<'_>,
        element: &[u8],
        key: &mut Vec<u8>,
    ) -> Option<(&'v Cell, Option<&'a [u8]>)> {
        let field = self.resolve(element, key)?;
        let cell = keys.peek(key)?;
        let wanted = if field.is_some() { Type::Hash } else { Type::String };
        (cell.ty() == wanted).then_some((cell, field))
    }

    /// Calls `f` with the value that the pattern leads to.
    fn with<R>(
        self,
        keys: &View<'_>,
        element: &[u8],
        key: &mut Vec<u8>,
        f: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        if self.is_element() {
            return Some(f(element));
        }
        let (cell, field) = self.cell(keys, element, key)?;
        match field {
            Some(field) => {
                HashRef::at(cell, keys.horizon).get(field).map(|value| f(value.to_cow(&mut [0; _])))
            }
            None => Some(with_bytes(cell, f)),
        }
    }

    fn write(self, keys: &View<'_>, element: &[u8], key: &mut Vec<u8>, reply: &mut Reply) {
        let cell = if self.is_element() { None } else { self.cell(keys, element, key) };
        match cell {
            // A long string is not copied.
            Some((cell, None)) => write_string(reply, cell),
            _ => {
                if self.with(keys, element, key, |value| reply.bulk(value)).is_none() {
                    reply.null();
                }
            }
        }
    }
}

#[derive(Default)]
struct Options<'a> {
    by: Option<Pattern<'a>>,
    gets: Vec<Pattern<'a>>,
    /// (start, count) of LIMIT.
    limit: Option<(i64, i64)>,
    /// Which argument STORE names.
    store: Option<usize>,
    alpha: bool,
    desc: bool,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut o = Options::default();
        let mut i = 2;
        while let Some(word) = args.get(i) {
            let (one, two) = (args.get(i + 1), args.get(i + 2));
            i += 1;
            if eq_nocase(word, "asc") {
                o.desc = false;
            } else if eq_nocase(word, "desc") {
                o.desc = true;
            } else if eq_nocase(word, "alpha") {
                o.alpha = true;
            } else if eq_nocase(word, "limit")
                && let (Some(start), Some(count)) = (one, two)
            {
                let number = |arg| parse_i64(arg).ok_or(CommandError::NOT_INTEGER);
                o.limit = Some((number(start)?, number(count)?));
                i += 2;
            } else if may_store && eq_nocase(word, "store") && one.is_some() {
                o.store = Some(i);
                i += 1;
            } else if eq_nocase(word, "by")
                && let Some(pattern) = one
            {
                o.by = Some(Pattern(pattern));
                i += 1;
            } else if eq_nocase(word, "get")
                && let Some(pattern) = one
            {
                o.gets.push(Pattern(pattern));
                i += 1;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(o)
    }

    /// The elements wanted of `len`.
    fn range(&self, len: usize) -> Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start).unwrap_or(0).min(len);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

/// A stretch of the arena.
type Text = Range<usize>;

/// An element and what it is compared by.
struct Item {
    text: Text,
    score: f64,
    /// The value of a BY pattern, with ALPHA.
    by: Option<Text>,
}

/// The elements' texts, and those of their weights.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

impl Elements {
    fn add(&mut self, text: &[u8]) -> Text {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        start..self.bytes.len()
    }

    fn push(&mut self, text: &[u8]) {
        let text = self.add(text);
        self.items.push(Item { text, score: 0.0, by: None });
    }

    fn text(&self, i: usize) -> &[u8] {
        &self.bytes[self.items[i].text.clone()]
    }
}

fn sort(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    run(ctx, args, true)
}

fn sort_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    run(ctx, args, false)
}

fn run(ctx: &mut Context<'_>, args: Args<'_>, may_store: bool) -> Outcome {
    let o = Options::parse(args, may_store)?;
    let store = o.store.map(|i| &args[i]);
    let (ty, len) = match ctx.keys.get(&args[1]) {
        None => (Type::List, 0),
        Some(cell) => (cell.ty(), len(cell)?),
    };
    ctx.slow_lane(len)?;
    // A set has no order of its own: what is stored must have one all the same.
    let constant = o.by.is_some_and(|by| !by.looks_up());
    let in_order = constant && ty == Type::Set && store.is_some();
    let sorted = !constant || in_order;
    let alpha = o.alpha || in_order;
    let by = o.by.filter(|by| by.looks_up());

    let mut wanted = o.range(len);
    let mut elements = Elements::default();
    if let Some(cell) = ctx.keys.peek(&args[1]) {
        let part = if sorted || ty == Type::Set { 0..len } else { wanted.clone() };
        elements.items.reserve_exact(part.len());
        load(cell, part, !sorted && o.desc, &mut elements);
        if !sorted && ty != Type::Set {
            wanted = 0..wanted.len();
        }
    }
    // Should the loaded be fewer than counted, nothing is out of bounds.
    wanted = wanted.start.min(elements.items.len())..wanted.end.min(elements.items.len());
    if sorted {
        weigh(&ctx.keys, &mut elements, by, alpha)?;
    }
    if o.gets.is_empty() && store.is_none() {
        ctx.release_keys();
    }
    if sorted {
        let order = By { weight: by.is_some(), alpha, collate: store.is_none(), desc: o.desc };
        arrange(&mut elements, wanted.clone(), order);
    }
    match store {
        Some(key) => store_result(ctx, key, &o, &elements, wanted),
        None => {
            answer(ctx, &o, &elements, wanted);
            Ok(())
        }
    }
}

/// How many elements the value has.
fn len(cell: &Cell) -> Result<usize, CommandError> {
    Ok(match cell.ty() {
        Type::List => ListRef::of(cell).len(),
        Type::Set => SetRef::of(cell).len(),
        Type::ZSet => ZSetRef::of(cell).len(),
        _ => return Err(CommandError::WRONG_TYPE),
    })
}

/// Copies the elements of `part` in the value's own order, or in the reverse of it for a sorted set.
fn load(cell: &Cell, part: Range<usize>, reverse: bool, elements: &mut Elements) {
    let (start, len) = (part.start, part.len());
    match cell.ty() {
        Type::List if part.is_empty() => {}
        Type::List => ListRef::of(cell).walk(start, false, |e| {
            elements.push(e.to_cow(&mut [0; _]));
            elements.items.len() < len
        }),
        Type::Set => {
            SetRef::of(cell).iter().skip(start).take(len).for_each(|e| elements.push(e.to_cow(&mut [0; _])));
        }
        Type::ZSet => {
            let zset = ZSetRef::of(cell);
            let ranks = if reverse { zset.len() - part.end..zset.len() - part.start } else { part };
            zset.range(ranks).for_each(|(e, _)| elements.push(e.to_cow(&mut [0; _])));
            if reverse {
                elements.items.reverse();
            }
        }
        _ => {}
    }
}

/// Finds what each element is compared by.
fn weigh(
    keys: &View<'_>,
    elements: &mut Elements,
    by: Option<Pattern<'_>>,
    alpha: bool,
) -> Result<(), CommandError> {
    if alpha && by.is_none() {
        return Ok(());
    }
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut wrong = false;
    for i in 0..elements.items.len() {
        let Some(by) = by else {
            match number(elements.text(i)) {
                Some(n) => elements.items[i].score = n,
                None => wrong = true,
            }
            continue;
        };
        value.clear();
        if by.with(keys, elements.text(i), &mut key, |text| value.extend_from_slice(text)).is_none() {
            continue;
        }
        if alpha {
            elements.items[i].by = Some(elements.add(&value));
        } else {
            match number(&value) {
                Some(n) => elements.items[i].score = n,
                None => wrong = true,
            }
        }
    }
    if wrong {
        return Err(CommandError::new("ERR One or more scores can't be converted into double"));
    }
    Ok(())
}

/// As `strtod` reads it: blanks before it do not matter, and nothing at all is 0.
fn number(text: &[u8]) -> Option<f64> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    match text.iter().position(|b| !blank(b)) {
        None if text.is_empty() => Some(0.0),
        None => None,
        Some(start) => parse_f64(&text[start..]),
    }
}

/// What elements are ordered by.
#[derive(Clone, Copy)]
struct By {
    /// Weights found elsewhere.
    weight: bool,
    /// Texts, not numbers.
    alpha: bool,
    /// Texts end at their first NUL: Redis leaves the order of what it does not store to C's `strcoll`.
    collate: bool,
    desc: bool,
}

/// Puts the wanted elements into their places. Equal ones stay as they came.
fn arrange(elements: &mut Elements, wanted: Range<usize>, by: By) {
    let Elements { bytes, items } = elements;
    let text = |range: &Text| &bytes[range.clone()];
    // Nearly always there is no NUL at all: looked for once, not in each comparison.
    let collate = by.alpha && by.collate && memchr::memchr(0, bytes).is_some();
    let collated = |range: &Text| {
        let text = text(range);
        let end = if collate { memchr::memchr(0, text) } else { None };
        &text[..end.unwrap_or(text.len())]
    };
    let compare = |a: &Item, b: &Item| {
        let order = if !by.alpha {
            let scores = a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
            scores.then_with(|| text(&a.text).cmp(text(&b.text)))
        } else if by.weight {
            a.by.as_ref().map(collated).cmp(&b.by.as_ref().map(collated))
        } else {
            collated(&a.text).cmp(collated(&b.text))
        };
        let order = if by.desc { order.reverse() } else { order };
        // Their texts lie in the order in which they came.
        order.then_with(|| (a.text.start, a.text.end).cmp(&(b.text.start, b.text.end)))
    };
    if wanted.is_empty() {
        return;
    }
    // A small part of a large whole is cut out first.
    if wanted.len() < items.len() / 4 {
        if wanted.end < items.len() {
            items.select_nth_unstable_by(wanted.end, compare);
        }
        if wanted.start > 0 {
            items[..wanted.end].select_nth_unstable_by(wanted.start, compare);
        }
        items[wanted].sort_unstable_by(compare);
    } else {
        items.sort_unstable_by(compare);
    }
}

fn answer(ctx: &mut Context<'_>, o: &Options<'_>, elements: &Elements, wanted: Range<usize>) {
    ctx.reply.array(wanted.len() * o.gets.len().max(1));
    let mut key = Vec::new();
    for i in wanted {
        let element = elements.text(i);
        if o.gets.is_empty() {
            ctx.reply.bulk(element);
        }
        o.gets.iter().for_each(|get| get.write(&ctx.keys, element, &mut key, ctx.reply));
    }
}

fn store_result(
    ctx: &mut Context<'_>,
    key: &[u8],
    o: &Options<'_>,
    elements: &Elements,
    wanted: Range<usize>,
) -> Outcome {
    let n = wanted.len() * o.gets.len().max(1);
    if n == 0 {
        if ctx.keys.delete(key) {
            ctx.keys.notify(notify::GENERIC, "del", key);
        }
        ctx.reply.int(0);
        return Ok(());
    }
    let mut result = Elements::default();
    let mut name = Vec::new();
    for i in wanted {
        let element = elements.text(i);
        if o.gets.is_empty() {
            result.push(element);
        }
        for get in &o.gets {
            let mut value = Vec::new();
            get.with(&ctx.keys, element, &mut name, |text| value.extend_from_slice(text));
            result.push(&value);
        }
    }
    let texts = (0..n).map(|i| result.text(i));
    let cell = list_cell(ctx, key, texts);
    ctx.keys.put(cell);
    ctx.keys.signal(notify::LIST, "sortstore", key);
    ctx.keys.add_dirty(n as u64 - 1);
    ctx.reply.int(n as i64);
    Ok(())
}

/// A list of these texts.
fn list_cell<'t>(ctx: &Context<'_>, key: &[u8], texts: impl Iterator<Item = &'t [u8]> + Clone) -> Cell {
    let mut cell = list::new_cell(key);
    list::prepare(&mut cell, texts.clone(), ctx.limits());
    texts.for_each(|text| list::push(&mut cell, false, text));
    cell
}
