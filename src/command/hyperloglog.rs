//! HyperLogLog: PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST.
use std::borrow::Cow;

use crate::command::notify;
use crate::command::row::{Begin, Find};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::{Args, eq_nocase};
use crate::value::cell::{Cell, Type};
use crate::value::hll::{self, REGISTERS};

const NOT_ONE: CommandError =
    CommandError::Text(Cow::Borrowed("WRONGTYPE Key is not a valid HyperLogLog string value."));
const CORRUPT: CommandError = CommandError::Text(Cow::Borrowed("INVALIDOBJ Corrupted HLL object detected"));

impl From<hll::Corrupt> for CommandError {
    fn from(_: hll::Corrupt) -> Self {
        CORRUPT
    }
}

pub fn commands() -> Vec<Command> {
    let c =
        |name, arity, handler| Command::new(name, arity, handler).group(Group::HyperLogLog).since("2.8.9");
    vec![
        c("pfadd", Arity::at_least(2), pfadd)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|insert")
            .doc("Adds elements to a HyperLogLog, which is created when there is none.")
            .complexity("O(1) an element"),
        c("pfcount", Arity::at_least(2), pfcount)
            .readonly()
            .may_replicate()
            .range(1, -1, 1, "rw|access")
            .doc("Answers about how many distinct elements were added to one or several HyperLogLogs.")
            .complexity("O(1) for one key, with a small constant; O(N) for N keys, with a large one"),
        c("pfmerge", Arity::at_least(2), pfmerge)
            .write()
            .denyoom()
            .key(1, "rw|access|insert")
            .spec(Begin::Index(2), Find::Range { last: -1, step: 1, limit: 0 }, "ro|access")
            .doc("Merges HyperLogLogs into one.")
            .complexity("O(N) with N the number of keys, and a large constant"),
        c("pfdebug", Arity::exactly(3), pfdebug)
            .write()
            .denyoom()
            .admin()
            .key(2, "rw|access")
            .doc("Shows how a HyperLogLog is kept.")
            .complexity("O(N) with N the number of registers"),
        c("pfselftest", Arity::exactly(1), pfselftest)
            .admin()
            .doc("Checks the HyperLogLogs' arithmetic.")
            .complexity("O(1)"),
    ]
}

/// The string's bytes; an integer in the cell is none, and no HyperLogLog either.
fn bytes_of(cell: &Cell) -> Result<&[u8], CommandError> {
    if cell.ty() != Type::String {
        return Err(CommandError::WRONG_TYPE);
    }
    let bytes = match cell.big() {
        Some(bytes) => bytes.as_slice(),
        None if cell.as_int().is_some() => b"",
        None => cell.body(),
    };
    if hll::is_valid(bytes) { Ok(bytes) } else { Err(NOT_ONE) }
}

/// A cell that OBJECT ENCODING calls `raw` however short it is.
fn raw(key: &[u8], bytes: &[u8]) -> Cell {
    let mut cell = Cell::raw_string(key, bytes);
    cell.set_mutated();
    cell
}

fn replace(cell: &mut Cell, bytes: &[u8]) {
    cell.set_raw_string(bytes);
    cell.set_mutated();
}

fn pfadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let elements = args.from(2);
    let sparse_max = ctx.limits().hll_sparse_max_bytes.get();
    let mut updated = 0;
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        let bytes = bytes_of(&cell)?;
        if hll::is_dense(bytes) {
            if let Some(bytes) = cell.big_mut() {
                updated += elements.iter().filter(|e| hll::dense_add(bytes, e)).count();
            }
        } else {
            // Most elements change nothing: what does is done on a copy, as the length changes with it.
            let mut copy: Option<Vec<u8>> = None;
            let mut result = Ok(());
            for element in elements.iter() {
                let now = copy.as_deref().unwrap_or(bytes);
                result = hll::would_change(now, element).and_then(|changes| {
                    if changes {
                        let copy = copy.get_or_insert_with(|| bytes.to_vec());
                        updated += usize::from(hll::add(copy, element, sparse_max)?);
                    }
                    Ok(())
                });
                if result.is_err() {
                    break;
                }
            }
            result?;
            if let Some(copy) = copy {
                replace(&mut cell, &copy);
            }
        }
    } else {
        let mut bytes = hll::empty();
        for element in elements.iter() {
            hll::add(&mut bytes, element, sparse_max)?;
        }
        // Making it is a change too.
        hll::forget_cached(&mut bytes);
        updated = 1;
        ctx.keys.insert(raw(key, &bytes));
    }
    if updated > 0 {
        ctx.keys.signal(notify::STRING, "pfadd", key);
    }
    ctx.reply.int(i64::from(updated > 0));
    Ok(())
}

/// Merging a key costs as much as so many elements of another command.
const MERGE_COST: usize = 4;

fn pfcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        ctx.slow_lane((args.len() - 1) * MERGE_COST)?;
        let mut max = [0; REGISTERS];
        for key in args.iter().skip(1) {
            if let Some(cell) = ctx.keys.get(key) {
                hll::merge(&mut max, bytes_of(cell)?)?;
            }
        }
        ctx.reply.int(hll::count_registers(&max) as i64);
        return Ok(());
    }
    let key = &args[1];
    let Some(cell) = ctx.keys.get(key) else {
        ctx.reply.int(0);
        return Ok(());
    };
    let bytes = bytes_of(cell)?;
    if let Some(count) = hll::cached(bytes) {
        ctx.reply.int(count as i64);
        return Ok(());
    }
    let count = hll::count(bytes)?;
    // The figure is kept in the value. That is a change, which replicas and files learn of.
    let mut kept = bytes.to_vec();
    hll::set_cached(&mut kept, count);
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        match cell.big_mut() {
            Some(bytes) => hll::set_cached(bytes, count),
            None => replace(&mut cell, &kept),
        }
    }
    ctx.keys.changed(key);
    ctx.reply.int(count as i64);
    Ok(())
}

fn pfmerge(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane((args.len() - 1) * MERGE_COST)?;
    let target = &args[1];
    let mut max = [0; REGISTERS];
    let mut dense = false;
    for key in args.iter().skip(1) {
        if let Some(cell) = ctx.keys.get(key) {
            let bytes = bytes_of(cell)?;
            dense |= hll::is_dense(bytes);
            hll::merge(&mut max, bytes)?;
        }
    }
    let mut merged = match ctx.keys.peek(target) {
        Some(cell) => bytes_of(cell)?.to_vec(),
        None => hll::empty(),
    };
    if dense {
        hll::to_dense(&mut merged)?;
    }
    let sparse_max = ctx.limits().hll_sparse_max_bytes.get();
    let raised = max.iter().enumerate().filter(|(_, value)| **value > 0);
    for (index, value) in raised {
        hll::set_register(&mut merged, index, *value, sparse_max)?;
    }
    // Also where no register changed, as Redis leaves it.
    hll::forget_cached(&mut merged);
    if let Some(mut cell) = ctx.keys.get_mut(target) {
        replace(&mut cell, &merged);
    } else {
        ctx.keys.insert(raw(target, &merged));
    }
    ctx.keys.signal(notify::STRING, "pfadd", target);
    ctx.reply.ok();
    Ok(())
}

fn pfdebug(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (word, key) = (&args[1], &args[2]);
    let Some(cell) = ctx.keys.get_mut(key) else {
        return Err(CommandError::new("ERR The specified key does not exist"));
    };
    let bytes = bytes_of(&cell)?;
    if eq_nocase(word, "encoding") {
        let name = if hll::is_dense(bytes) { "dense" } else { "sparse" };
        drop(cell);
        ctx.reply.simple(name);
        return Ok(());
    }
    if eq_nocase(word, "decode") {
        if hll::is_dense(bytes) {
            return Err(CommandError::new("ERR HLL encoding is not sparse"));
        }
        let text = hll::decode(bytes)?;
        drop(cell);
        ctx.reply.bulk(text.as_bytes());
        return Ok(());
    }
    let registers = eq_nocase(word, "getreg");
    if !registers && !eq_nocase(word, "todense") {
        return Err(CommandError::quoting("ERR Unknown PFDEBUG subcommand '", word, "'"));
    }
    let mut dense = bytes.to_vec();
    drop(cell);
    let converted = hll::to_dense(&mut dense)?;
    if converted {
        if let Some(mut cell) = ctx.keys.get_mut(key) {
            replace(&mut cell, &dense);
        }
        ctx.keys.changed(key);
    }
    if registers {
        let all = hll::registers(&dense)?;
        ctx.reply.array(REGISTERS);
        all.iter().for_each(|value| ctx.reply.int(i64::from(*value)));
    } else {
        ctx.reply.int(i64::from(converted));
    }
    Ok(())
}

/// Elements that the self-test adds, and the share by which the estimate may be off: six standard errors.
const SELF_TEST_ELEMENTS: u64 = 1_000_000;
const SELF_TEST_ERROR: f64 = 6.0 * 1.04 / 128.0;

fn pfselftest(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.slow_lane(usize::MAX)?;
    let failed = |what: String| Err(CommandError::new(format!("TESTFAILED {what}")));
    let (mut sparse, mut dense) = (hll::empty(), hll::empty());
    hll::to_dense(&mut dense)?;
    let salt = ctx.keys.rng.next_u64();
    let mut checkpoint = 1;
    for i in 1..=SELF_TEST_ELEMENTS {
        let element = (i ^ salt).to_le_bytes();
        hll::add(&mut sparse, &element, 3000)?;
        hll::dense_add(&mut dense, &element);
        if i == checkpoint {
            let (a, b) = (hll::count(&sparse)?, hll::count(&dense)?);
            if a != b {
                return failed(format!("dense/sparse disagree: {b} and {a} of {i}"));
            }
            if (a as f64 - i as f64).abs() > (SELF_TEST_ERROR * i as f64).ceil() {
                return failed(format!("too big error: {a} of {i}"));
            }
            checkpoint *= 10;
        }
    }
    ctx.reply.ok();
    Ok(())
}
