//! HyperLogLog: estimates of how many different elements there were, in 12 KiB at most. The arithmetic is in
//! `crate::value::hll`.
use std::borrow::Cow;
use std::sync::Arc;

use crate::command::string::{edit_bytes, with_bytes};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, eq_nocase};
use crate::value::cell::{Cell, Type};
use crate::value::hll::{self, Corrupt, Encoding, REGISTERS, Registers, SPARSE_LEN_MAX, Set};

pub fn commands() -> Vec<Command> {
    let c =
        |name, arity, handler| Command::new(name, arity, handler).group(Group::HyperLogLog).since("2.8.9");
    vec![
        c("pfadd", Arity::at_least(2), pfadd)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|insert")
            .doc("Adds elements to a HyperLogLog; creates it if absent.")
            .complexity("O(1) for each element"),
        c("pfcount", Arity::at_least(2), pfcount)
            .readonly()
            .may_replicate()
            .range(1, -1, 1, "rw|access")
            .doc("Estimates how many different elements one or several HyperLogLogs have seen.")
            .complexity("O(1) for one key, O(N) for N of them"),
        c("pfmerge", Arity::at_least(2), pfmerge)
            .write()
            .denyoom()
            .key(1, "rw|access|insert")
            .range(2, -1, 1, "ro|access")
            .doc("Makes one HyperLogLog of several.")
            .complexity("O(N) for N keys"),
        c("pfdebug", Arity::exactly(3), pfdebug)
            .write()
            .denyoom()
            .admin()
            .key(2, "rw|access")
            .doc("Shows how a HyperLogLog is kept.")
            .complexity("O(1)"),
        c("pfselftest", Arity::exactly(1), pfselftest)
            .admin()
            .doc("Checks the arithmetic of HyperLogLogs.")
            .complexity("O(1)"),
    ]
}

const NOT_ONE: CommandError =
    CommandError::Text(Cow::Borrowed("WRONGTYPE Key is not a valid HyperLogLog string value."));
const CORRUPT: CommandError = CommandError::Text(Cow::Borrowed("INVALIDOBJ Corrupted HLL object detected"));

/// Elements that are merged in the time that a key takes.
const KEY_COST: usize = 4;

impl From<Corrupt> for CommandError {
    fn from(_: Corrupt) -> Self {
        CORRUPT
    }
}

/// The form of what a string cell holds.
fn encoding_of(cell: &Cell) -> Result<Encoding, CommandError> {
    with_bytes(cell, hll::encoding).ok_or(NOT_ONE)
}

/// A cell without elements.
fn create(key: &[u8]) -> Cell {
    let mut cell = Cell::raw_string(key, &hll::empty());
    // Never an embedded string.
    cell.set_mutated();
    cell
}

/// Raises a register; tells whether it was lower. If so, the cached cardinality is out of date.
#[inline]
fn raise(cell: &mut Cell, index: usize, value: u8, sparse_max: usize) -> Result<bool, Corrupt> {
    let set = match cell.big() {
        Some(bytes) if hll::encoding(bytes) == Some(Encoding::Dense) => {
            if hll::dense_get(bytes, index) >= value {
                return Ok(false);
            }
            let bytes = cell.big_mut().ok_or(Corrupt)?;
            hll::dense_set(bytes, index, value);
            hll::invalidate(bytes);
            return Ok(true);
        }
        // Before it is copied from whoever shares it.
        Some(bytes) if bytes.len() > SPARSE_LEN_MAX => return Err(Corrupt),
        Some(_) => hll::sparse_set(cell.big_mut().ok_or(Corrupt)?, index, value, sparse_max)?,
        None => hll::sparse_set(&mut cell.blob(), index, value, sparse_max)?,
    };
    match set {
        Set::Same => Ok(false),
        Set::Changed => Ok(true),
        Set::TooMuch => {
            let mut dense = with_bytes(cell, hll::to_dense)?;
            hll::dense_set(&mut dense, index, value);
            hll::invalidate(&mut dense);
            cell.set_big(Arc::new(dense));
            Ok(true)
        }
    }
}

fn pfadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, elements) = (&args[1], args.from(2));
    ctx.slow_lane(elements.len())?;
    let sparse_max = ctx.limits().hll_sparse_max_bytes.get();
    let mut raised = 0;
    let mut fill = |cell: &mut Cell| -> Result<(), Corrupt> {
        let mut result = Ok(());
        for element in elements {
            let (index, value) = hll::place(element);
            match raise(cell, index, value, sparse_max) {
                Ok(more) => raised += u64::from(more),
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        cell.set_mutated();
        result
    };
    let mut result = Ok(());
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::String)? {
        encoding_of(&cell)?;
        result = fill(&mut cell);
    } else {
        let mut cell = create(key);
        fill(&mut cell)?;
        edit_bytes(&mut cell, 0, hll::invalidate);
        raised += 1;
        ctx.keys.insert(cell);
    }
    // Also when a later element found it corrupt.
    if raised > 0 {
        ctx.keys.signal(notify::STRING, "pfadd", key);
        ctx.keys.add_dirty(raised - 1);
    }
    result?;
    ctx.reply.int(i64::from(raised > 0));
    Ok(())
}

fn pfcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let keys = args.from(1);
    ctx.slow_lane(keys.len() * KEY_COST)?;
    if keys.len() > 1 {
        let (registers, _) = merged(ctx, keys)?;
        ctx.reply.int(hll::count_registers(&registers) as i64);
        return Ok(());
    }
    let key = &args[1];
    let Some(cell) = ctx.keys.get_type(key, Type::String)? else {
        ctx.reply.int(0);
        return Ok(());
    };
    encoding_of(cell)?;
    let card = match with_bytes(cell, hll::cached) {
        Some(card) => card,
        None => {
            let card = with_bytes(cell, hll::count)?;
            // A command that only reads, and yet the string changes.
            if let Some(mut cell) = ctx.keys.get_mut(key) {
                edit_bytes(&mut cell, 0, |bytes| hll::set_cached(bytes, card));
            }
            ctx.keys.changed(key);
            card
        }
    };
    ctx.reply.int(card as i64);
    Ok(())
}

/// The union of what these keys hold, and whether one of them is dense.
fn merged(ctx: &mut Context<'_>, keys: Args<'_>) -> Result<(Registers, bool), CommandError> {
    let mut registers = [0; REGISTERS];
    let mut dense = false;
    for key in keys {
        if let Some(cell) = ctx.keys.get_type(key, Type::String)? {
            dense |= encoding_of(cell)? == Encoding::Dense;
            with_bytes(cell, |bytes| hll::merge(&mut registers, bytes))?;
        }
    }
    Ok((registers, dense))
}

fn pfmerge(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, keys) = (&args[1], args.from(1));
    ctx.slow_lane(keys.len() * KEY_COST)?;
    let sparse_max = ctx.limits().hll_sparse_max_bytes.get();
    let (registers, dense) = merged(ctx, keys)?;
    let raised = registers.iter().filter(|r| **r > 0).count();
    if !dense {
        // Each looks for its place.
        ctx.slow_lane(raised * sparse_max.min(SPARSE_LEN_MAX) / 4096)?;
    }
    let fill = |cell: &mut Cell| -> Result<(), Corrupt> {
        if dense {
            // The destination's registers are among those merged.
            if with_bytes(cell, hll::encoding) == Some(Encoding::Sparse) {
                let bytes = with_bytes(cell, hll::to_dense)?;
                cell.set_big(Arc::new(bytes));
            }
            edit_bytes(cell, 0, |bytes| hll::pack(&registers, bytes));
        } else {
            for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
                raise(cell, index, *value, sparse_max)?;
            }
        }
        edit_bytes(cell, 0, hll::invalidate);
        Ok(())
    };
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        fill(&mut cell)?;
    } else {
        let mut cell = create(key);
        fill(&mut cell)?;
        ctx.keys.insert(cell);
    }
    ctx.keys.signal(notify::STRING, "pfadd", key);
    ctx.reply.ok();
    Ok(())
}

fn pfdebug(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (word, key) = (&args[1], &args[2]);
    let Some(mut cell) = ctx.keys.get_mut_type(key, Type::String)? else {
        return Err(CommandError::new("ERR The specified key does not exist"));
    };
    let encoding = encoding_of(&cell)?;
    cell.set_mutated();
    let mut to_dense = || -> Result<bool, Corrupt> {
        if encoding == Encoding::Sparse {
            let dense = with_bytes(&cell, hll::to_dense)?;
            cell.set_big(Arc::new(dense));
        }
        Ok(encoding == Encoding::Sparse)
    };
    let mut changed = false;
    if eq_nocase(word, "getreg") {
        changed = to_dense()?;
        let mut registers = [0; REGISTERS];
        with_bytes(&cell, |bytes| hll::merge(&mut registers, bytes))?;
        ctx.reply.array(REGISTERS);
        registers.iter().for_each(|r| ctx.reply.int(i64::from(*r)));
    } else if eq_nocase(word, "decode") {
        if encoding == Encoding::Dense {
            return Err(CommandError::new("ERR HLL encoding is not sparse"));
        }
        let text = with_bytes(&cell, hll::describe)?;
        ctx.reply.bulk_str(&text);
    } else if eq_nocase(word, "encoding") {
        ctx.reply.simple(if encoding == Encoding::Dense { "dense" } else { "sparse" });
    } else if eq_nocase(word, "todense") {
        changed = to_dense()?;
        ctx.reply.int(i64::from(changed));
    } else {
        return Err(CommandError::quoting("ERR Unknown PFDEBUG subcommand '", word, "'"));
    }
    drop(cell);
    if changed {
        ctx.keys.add_dirty(1);
    }
    Ok(())
}

fn pfselftest(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    const ROUNDS: usize = 20;
    const ELEMENTS: u64 = 1_000_000;
    ctx.slow_lane(usize::MAX)?;
    let failed = |text: String| Err(CommandError::new(format!("TESTFAILED {text}")));
    // Registers keep what they are given and leave their neighbours alone.
    let mut dense = create(b"");
    let empty = with_bytes(&dense, hll::to_dense)?;
    let mut bytes = empty.clone();
    let mut registers = [0; REGISTERS];
    for _ in 0..ROUNDS {
        for (i, r) in registers.iter_mut().enumerate() {
            *r = (ctx.keys.rng.next_u64() & 63) as u8;
            hll::dense_set(&mut bytes, i, *r);
        }
        for (i, r) in registers.iter().enumerate() {
            let is = hll::dense_get(&bytes, i);
            if is != *r {
                return failed(format!("Register {i} should be {r} but is {is}"));
            }
        }
    }
    // Both forms count alike, and not far off.
    dense.set_big(Arc::new(empty));
    let mut sparse = create(b"");
    let sparse_max = ctx.limits().hll_sparse_max_bytes.get();
    let seed = ctx.keys.rng.next_u64();
    let mut checkpoint = 1;
    for n in 1..=ELEMENTS {
        let (index, value) = hll::place(&(n ^ seed).to_le_bytes());
        raise(&mut dense, index, value, 0)?;
        raise(&mut sparse, index, value, sparse_max)?;
        if n != checkpoint {
            continue;
        }
        if n < sparse_max as u64 / 2 && encoding_of(&sparse)? != Encoding::Sparse {
            return failed("sparse encoding not used".to_owned());
        }
        let card = with_bytes(&dense, hll::count)?;
        if card != with_bytes(&sparse, hll::count)? {
            return failed("dense/sparse disagree".to_owned());
        }
        let error = card.abs_diff(n);
        let allowed = if n == 10 { 1.0 } else { (6.0 * 1.04 / (REGISTERS as f64).sqrt() * n as f64).ceil() };
        if error as f64 > allowed {
            return failed(format!("Too big error. card:{n} abserr:{error}"));
        }
        checkpoint *= 10;
    }
    ctx.reply.ok();
    Ok(())
}
