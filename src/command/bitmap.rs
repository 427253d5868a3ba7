//! The bitmap family: strings as arrays of bits, the first bit being the highest of the first byte.
use smallvec::SmallVec;

use crate::base::num::parse_i64;
use crate::command::string::{BYTES_AN_ELEMENT, edit_or_create, string_len, with_bytes};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, eq_nocase};
use crate::value::cell::{Cell, STRING_INLINE_BYTES_MAX, Type};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Bitmap);
    vec![
        c("setbit", Arity::exactly(4), setbit)
            .write()
            .denyoom()
            .key(1, "rw|access|update")
            .since("2.2.0")
            .doc("Sets or clears a bit of a string and returns what it was; creates the key if absent.")
            .complexity("O(1)"),
        c("getbit", Arity::exactly(3), getbit)
            .readonly()
            .fast()
            .key(1, "ro|access")
            .since("2.2.0")
            .doc("Returns a bit of a string.")
            .complexity("O(1)"),
        c("bitcount", Arity::at_least(2), bitcount)
            .readonly()
            .key(1, "ro|access")
            .since("2.6.0")
            .doc("Counts the bits that are set in a string or a part of it.")
            .complexity("O(N) with N the bytes looked at"),
        c("bitpos", Arity::at_least(3), bitpos)
            .readonly()
            .key(1, "ro|access")
            .since("2.8.7")
            .doc("Finds the first set or clear bit in a string or a part of it.")
            .complexity("O(N) with N the bytes looked at"),
        c("bitop", Arity::at_least(4), bitop)
            .write()
            .denyoom()
            .key(2, "ow|update")
            .range(3, -1, 1, "ro|access")
            .since("2.6.0")
            .doc("Combines strings bit by bit and stores the result.")
            .complexity("O(N) with N the bytes of the strings"),
        c("bitfield", Arity::at_least(2), bitfield)
            .write()
            .denyoom()
            .key(1, "rw|update|access|variable_flags")
            .since("3.2.0")
            .doc("Reads, sets and increments integers of any width inside a string.")
            .complexity("O(N) with N the number of operations"),
        c("bitfield_ro", Arity::at_least(2), bitfield_ro)
            .readonly()
            .fast()
            .key(1, "ro|access")
            .since("6.0.0")
            .doc("Reads integers of any width inside a string.")
            .complexity("O(N) with N the number of operations"),
    ]
}

const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "ERR bit is not an integer or out of range";

/// A bit's offset within what a string may hold; `#n` counts in steps of `width`, where there is one.
fn bit_offset(ctx: &Context<'_>, text: &[u8], width: Option<u32>) -> Result<usize, CommandError> {
    let bytes_max = ctx.limits().proto_max_bulk_len.get();
    let (digits, step) = match (text, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, i64::from(width)),
        _ => (text, 1),
    };
    parse_i64(digits)
        .and_then(|n| n.checked_mul(step))
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| n / 8 < bytes_max)
        .ok_or(CommandError::new(BAD_OFFSET))
}

fn setbit(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let offset = bit_offset(ctx, &args[2], None)?;
    let on = parse_i64(&args[3]).filter(|bit| matches!(bit, 0 | 1)).ok_or(CommandError::new(BAD_BIT))? == 1;
    let len = ctx.keys.get_mut_type(key, Type::String)?.map(|cell| string_len(&cell));
    let (at, mask) = (offset / 8, 0x80 >> (offset % 8));
    let was = edit_or_create(ctx, key, at + 1, |bytes| {
        let was = bytes[at] & mask != 0;
        if was != on {
            bytes[at] ^= mask;
        }
        was
    });
    if was != on || len.is_none_or(|len| len <= at) {
        ctx.keys.signal(notify::STRING, "setbit", key);
    }
    ctx.reply.int(i64::from(was));
    Ok(())
}

fn getbit(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let offset = bit_offset(ctx, &args[2], None)?;
    let bit = ctx.keys.get_type(&args[1], Type::String)?.is_some_and(|cell| {
        with_bytes(cell, |bytes| bytes.get(offset / 8).is_some_and(|byte| byte & (0x80 >> (offset % 8)) != 0))
    });
    ctx.reply.int(i64::from(bit));
    Ok(())
}

/// The part of a string that BITCOUNT and BITPOS look at, as the client gave it.
struct Part {
    start: i64,
    end: i64,
    in_bits: bool,
}

impl Part {
    fn parse_unit(word: &[u8]) -> Result<bool, CommandError> {
        match () {
            () if eq_nocase(word, "bit") => Ok(true),
            () if eq_nocase(word, "byte") => Ok(false),
            () => Err(CommandError::SYNTAX),
        }
    }

    /// The bits meant, in a string of `len` bytes: the first, and the one past the last. Empty where there are none.
    fn bits(&self, len: usize) -> std::ops::Range<usize> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = (len * 8 / unit) as i64;
        let from_front = |i: i64| if i < 0 { (total + i).max(0) } else { i };
        let (start, end) = (from_front(self.start), from_front(self.end).min(total - 1));
        if start > end { 0..0 } else { start as usize * unit..(end as usize + 1) * unit }
    }
}

/// Calls `f` with the bytes of a key's string, `None` where it is absent. A large one is read in the slow lane, with
/// its shard given back.
fn read<R>(ctx: &mut Context<'_>, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, CommandError> {
    let cost = ctx.keys.peek(key).and_then(Cell::big).map_or(0, |bytes| bytes.len() / BYTES_AN_ELEMENT);
    ctx.slow_lane(cost)?;
    let Some(cell) = ctx.keys.get_type(key, Type::String)? else { return Ok(f(None)) };
    if cost > crate::command::SLOW_LANE_COST
        && let Some(bytes) = cell.big_shared()
    {
        ctx.release_keys();
        return Ok(f(Some(&bytes)));
    }
    Ok(with_bytes(cell, |bytes| f(Some(bytes))))
}

fn bitcount(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let part = match args.len() {
        2 => Part { start: 0, end: -1, in_bits: false },
        4 | 5 => Part {
            start: parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?,
            end: parse_i64(&args[3]).ok_or(CommandError::NOT_INTEGER)?,
            in_bits: args.get(4).map_or(Ok(false), Part::parse_unit)?,
        },
        _ => return Err(CommandError::SYNTAX),
    };
    let count = read(ctx, &args[1], |bytes| {
        let bytes = bytes.unwrap_or_default();
        if part.start < 0 && part.end < 0 && part.start > part.end {
            return 0;
        }
        count_bits(bytes, part.bits(bytes.len()))
    })?;
    ctx.reply.int(count as i64);
    Ok(())
}

fn bitpos(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let bit = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    if !matches!(bit, 0 | 1) {
        return Err(CommandError::new("ERR The bit argument must be 1 or 0."));
    }
    if args.len() > 6 {
        return Err(CommandError::SYNTAX);
    }
    let start = args.get(3).map_or(Some(0), parse_i64).ok_or(CommandError::NOT_INTEGER)?;
    let in_bits = args.get(5).map_or(Ok(false), Part::parse_unit)?;
    let end = args.get(4).map_or(Some(-1), parse_i64).ok_or(CommandError::NOT_INTEGER)?;
    let part = Part { start, end, in_bits };
    let position = read(ctx, &args[1], |bytes| {
        // An absent string is endless zeros; one that is there ends, and zeros follow unless the client gave an end.
        let Some(bytes) = bytes else { return (bit == 0).then_some(0) };
        let bits = part.bits(bytes.len());
        if bits.is_empty() {
            return None;
        }
        find_bit(bytes, bits, bit == 1).or((bit == 0 && args.len() < 5).then_some(bytes.len() * 8))
    })?;
    ctx.reply.int(position.map_or(-1, |p| p as i64));
    Ok(())
}

/// Splits a range of bits into the bytes that it touches, the mask of its bits in the first of them, and that in the last.
fn masks(bits: &std::ops::Range<usize>) -> (std::ops::Range<usize>, u8, u8) {
    let bytes = bits.start / 8..bits.end.div_ceil(8);
    let last = match bits.end % 8 {
        0 => 0xff,
        n => !(0xff >> n),
    };
    (bytes, 0xff >> (bits.start % 8), last)
}

/// Set bits among `bits`, which lie within `bytes`.
fn count_bits(bytes: &[u8], bits: std::ops::Range<usize>) -> usize {
    if bits.is_empty() {
        return 0;
    }
    let (range, first, last) = masks(&bits);
    match &bytes[range] {
        [] => 0,
        [only] => (only & first & last).count_ones() as usize,
        [a, middle @ .., z] => {
            ((a & first).count_ones() + (z & last).count_ones()) as usize + count_ones(middle)
        }
    }
}

/// Set bits of all bytes: words of 64 bits, four sums side by side.
fn count_ones(bytes: &[u8]) -> usize {
    let blocks = bytes.chunks_exact(32);
    let rest = blocks.remainder().iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    let mut sums = [0u64; 4];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block.chunks_exact(8)) {
            *sum += u64::from(u64_of(word).count_ones());
        }
    }
    sums.iter().sum::<u64>() as usize + rest
}

fn u64_of(word: &[u8]) -> u64 {
    u64::from_ne_bytes(word.try_into().expect("chunks of eight"))
}

/// The first of `bits`, which lie within `bytes`, that is set (or clear).
fn find_bit(bytes: &[u8], bits: std::ops::Range<usize>, set: bool) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    let (range, first, last) = masks(&bits);
    let flip = if set { 0 } else { 0xff };
    let in_byte = |at: usize, mask: u8| {
        let byte = (bytes[at] ^ flip) & mask;
        (byte != 0).then(|| at * 8 + byte.leading_zeros() as usize)
    };
    if range.len() == 1 {
        return in_byte(range.start, first & last);
    }
    in_byte(range.start, first)
        .or_else(|| {
            let start = range.start + 1;
            let at = first_unlike(&bytes[start..range.end - 1], flip)?;
            in_byte(start + at, 0xff)
        })
        .or_else(|| in_byte(range.end - 1, last))
}

/// The first byte that is not `byte`.
fn first_unlike(bytes: &[u8], byte: u8) -> Option<usize> {
    let word = u64::from_ne_bytes([byte; 8]);
    let mut at = 0;
    for block in bytes.chunks_exact(64) {
        if block.chunks_exact(8).fold(0, |all, w| all | (u64_of(w) ^ word)) != 0 {
            break;
        }
        at += 64;
    }
    bytes[at..].iter().position(|b| *b != byte).map(|i| at + i)
}

fn bitop(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let combine: fn(&mut [u8], &[u8]) = match &args[1] {
        op if eq_nocase(op, "and") => |to, from| to.iter_mut().zip(from).for_each(|(a, b)| *a &= b),
        op if eq_nocase(op, "or") => |to, from| to.iter_mut().zip(from).for_each(|(a, b)| *a |= b),
        op if eq_nocase(op, "xor") => |to, from| to.iter_mut().zip(from).for_each(|(a, b)| *a ^= b),
        op if eq_nocase(op, "not") => |to, _| to.iter_mut().for_each(|a| *a = !*a),
        _ => return Err(CommandError::SYNTAX),
    };
    let (is_and, is_not) = (eq_nocase(&args[1], "and"), eq_nocase(&args[1], "not"));
    if is_not && args.len() != 4 {
        return Err(CommandError::new("ERR BITOP NOT must be called with a single source key."));
    }
    let (target, sources) = (&args[2], args.from(3));
    let sizes = |key| ctx.keys.peek(key).and_then(Cell::big).map_or(STRING_INLINE_BYTES_MAX / 8, Vec::len);
    ctx.slow_lane(sources.iter().map(sizes).sum::<usize>() / BYTES_AN_ELEMENT)?;
    let (mut longest, mut shortest) = (0, usize::MAX);
    for key in sources.iter() {
        let len = ctx.keys.get_type(key, Type::String)?.map_or(0, string_len);
        (longest, shortest) = (longest.max(len), shortest.min(len));
    }
    if longest == 0 {
        if ctx.keys.delete(target) {
            ctx.keys.notify(notify::GENERIC, "del", target);
        }
        ctx.reply.int(0);
        return Ok(());
    }
    let mut result = vec![0; longest];
    for (i, key) in sources.iter().enumerate() {
        let Some(cell) = ctx.keys.peek(key) else { continue };
        with_bytes(cell, |bytes| match i {
            0 => result[..bytes.len()].copy_from_slice(bytes),
            _ => combine(&mut result, bytes),
        });
    }
    if is_not {
        combine(&mut result, &[]);
    }
    if is_and {
        // Beyond its end a string has zeros.
        result[shortest..].fill(0);
    }
    let mut cell = if longest > STRING_INLINE_BYTES_MAX {
        Cell::big_string(target, std::sync::Arc::new(result))
    } else {
        Cell::raw_string(target, &result)
    };
    cell.set_mutated();
    ctx.keys.put(cell);
    ctx.keys.signal(notify::STRING, "set", target);
    ctx.reply.int(longest as i64);
    Ok(())
}

/// An integer's width and sign.
#[derive(Clone, Copy, Debug)]
struct Width {
    bits: u32,
    signed: bool,
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    Set(i64),
    Add(i64),
}

/// One operation of BITFIELD.
#[derive(Clone, Copy, Debug)]
struct FieldOp {
    width: Width,
    offset: usize,
    change: Change,
    overflow: Overflow,
}

impl Width {
    fn parse(text: &[u8]) -> Result<Self, CommandError> {
        let parsed = match text {
            [sign @ (b'i' | b'u'), digits @ ..] => parse_i64(digits).map(|bits| (*sign == b'i', bits)),
            _ => None,
        };
        match parsed {
            Some((signed, bits @ 1..)) if bits <= if signed { 64 } else { 63 } => {
                Ok(Width { bits: bits as u32, signed })
            }
            _ => Err(CommandError::new(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            )),
        }
    }

    fn range(self) -> std::ops::RangeInclusive<i128> {
        if self.signed {
            -(1 << (self.bits - 1))..=(1 << (self.bits - 1)) - 1
        } else {
            0..=(1 << self.bits) - 1
        }
    }

    /// The number as it fits, `None` when it must not be stored.
    fn fit(self, n: i128, overflow: Overflow) -> Option<i64> {
        let range = self.range();
        if range.contains(&n) {
            return Some(n as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.number_of(n as u64)),
            Overflow::Saturate if n > *range.end() => Some(*range.end() as i64),
            Overflow::Saturate => Some(*range.start() as i64),
            Overflow::Fail => None,
        }
    }

    /// The number whose lowest bits are those of `raw`.
    fn number_of(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { (raw << unused) as i64 >> unused } else { (raw << unused >> unused) as i64 }
    }
}

/// Up to 64 bits lie within nine bytes: those from the offset's own byte on, as one number, zeros past the end.
fn window(bytes: &[u8], offset: usize) -> u128 {
    let from = bytes.get(offset / 8..).unwrap_or_default();
    let mut nine = [0; 16];
    let n = from.len().min(9);
    nine[7..7 + n].copy_from_slice(&from[..n]);
    u128::from_be_bytes(nine)
}

const WINDOW_BITS: u32 = 72;

fn read_field(bytes: &[u8], width: Width, offset: usize) -> i64 {
    let shift = WINDOW_BITS - (offset % 8) as u32 - width.bits;
    width.number_of((window(bytes, offset) >> shift) as u64)
}

/// Writes a field that lies within `bytes`.
fn write_field(bytes: &mut [u8], width: Width, offset: usize, value: i64) {
    let shift = WINDOW_BITS - (offset % 8) as u32 - width.bits;
    let mask = ((1u128 << width.bits) - 1) << shift;
    let window = window(bytes, offset) & !mask | u128::from(value as u64) << shift & mask;
    let n = ((offset % 8) as u32 + width.bits).div_ceil(8) as usize;
    bytes[offset / 8..offset / 8 + n].copy_from_slice(&window.to_be_bytes()[7..7 + n]);
}

impl FieldOp {
    fn is_write(&self) -> bool {
        !matches!(self.change, Change::None)
    }

    fn end(&self) -> usize {
        self.offset + self.width.bits as usize
    }

    /// The answer, and whether the field has another value now.
    fn run(&self, bytes: &mut [u8]) -> (Option<i64>, bool) {
        let old = read_field(bytes, self.width, self.offset);
        let (wanted, answers_old) = match self.change {
            Change::None => return (Some(old), false),
            // Of an unsigned field, the client's number counts as its 64 bits.
            Change::Set(n) if self.width.signed => (i128::from(n), true),
            Change::Set(n) => (i128::from(n as u64), true),
            Change::Add(n) => (i128::from(old) + i128::from(n), false),
        };
        let Some(new) = self.width.fit(wanted, self.overflow) else { return (None, false) };
        write_field(bytes, self.width, self.offset, new);
        (Some(if answers_old { old } else { new }), new != old)
    }
}

fn parse_ops(ctx: &Context<'_>, args: Args<'_>) -> Result<SmallVec<[FieldOp; 4]>, CommandError> {
    let mut ops = SmallVec::new();
    let mut overflow = Overflow::Wrap;
    let mut i = 2;
    while let Some(word) = args.get(i) {
        let left = args.len() - i - 1;
        if eq_nocase(word, "overflow") && left >= 1 {
            overflow = match &args[i + 1] {
                o if eq_nocase(o, "wrap") => Overflow::Wrap,
                o if eq_nocase(o, "sat") => Overflow::Saturate,
                o if eq_nocase(o, "fail") => Overflow::Fail,
                _ => return Err(CommandError::new("ERR Invalid OVERFLOW type specified")),
            };
            i += 2;
            continue;
        }
        let operands = match () {
            () if eq_nocase(word, "get") => 2,
            () if eq_nocase(word, "set") || eq_nocase(word, "incrby") => 3,
            () => return Err(CommandError::SYNTAX),
        };
        if left < operands {
            return Err(CommandError::SYNTAX);
        }
        let width = Width::parse(&args[i + 1])?;
        let offset = bit_offset(ctx, &args[i + 2], Some(width.bits))?;
        let change = if operands == 2 {
            Change::None
        } else {
            let n = parse_i64(&args[i + 3]).ok_or(CommandError::NOT_INTEGER)?;
            if eq_nocase(word, "set") { Change::Set(n) } else { Change::Add(n) }
        };
        ops.push(FieldOp { width, offset, change, overflow });
        i += operands + 1;
    }
    Ok(ops)
}

fn bitfield(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let ops = parse_ops(ctx, args)?;
    let Some(end) = ops.iter().filter(|op| op.is_write()).map(FieldOp::end).max() else {
        return read_fields(ctx, key, &ops);
    };
    let needed = end.div_ceil(8);
    let grows = ctx.keys.get_mut_type(key, Type::String)?.is_none_or(|cell| string_len(&cell) < needed);
    let mut answers: SmallVec<[Option<i64>; 4]> = SmallVec::new();
    let changes = edit_or_create(ctx, key, needed, |bytes| {
        let mut changes = 0;
        for op in &ops {
            let (answer, changed) = op.run(bytes);
            answers.push(answer);
            changes += u64::from(op.is_write() && answer.is_some() && (changed || grows));
        }
        changes
    });
    if changes > 0 {
        ctx.keys.signal(notify::STRING, "setbit", key);
        ctx.keys.add_dirty(changes - 1);
    }
    ctx.reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(n) => ctx.reply.int(n),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

fn bitfield_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let ops = parse_ops(ctx, args)?;
    if ops.iter().any(FieldOp::is_write) {
        return Err(CommandError::new("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_fields(ctx, &args[1], &ops)
}

fn read_fields(ctx: &mut Context<'_>, key: &[u8], ops: &[FieldOp]) -> Outcome {
    let cell = ctx.keys.get_type(key, Type::String)?;
    let mut put = |bytes: &[u8]| {
        ctx.reply.array(ops.len());
        ops.iter().for_each(|op| ctx.reply.int(read_field(bytes, op.width, op.offset)));
    };
    match cell {
        Some(cell) => with_bytes(cell, put),
        None => put(b""),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(bytes: &[u8], i: usize) -> bool {
        bytes[i / 8] & (0x80 >> (i % 8)) != 0
    }

    proptest! {
        #[test]
        fn counting_and_finding_agree_with_single_bits(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 1..200),
                prop::collection::vec(prop_oneof![200 => Just(0u8), 1 => any::<u8>()], 1..300),
                prop::collection::vec(prop_oneof![200 => Just(0xffu8), 1 => any::<u8>()], 1..300),
            ],
            a in any::<prop::sample::Index>(),
            b in any::<prop::sample::Index>(),
        ) {
            let total = bytes.len() * 8;
            let (a, b) = (a.index(total + 1), b.index(total + 1));
            let range = a.min(b)..a.max(b);
            let ones = range.clone().filter(|i| bit(&bytes, *i)).count();
            prop_assert_eq!(count_bits(&bytes, range.clone()), ones);
            for set in [false, true] {
                let first = range.clone().find(|i| bit(&bytes, *i) == set);
                prop_assert_eq!(find_bit(&bytes, range.clone(), set), first);
            }
        }

        #[test]
        fn fields_agree_with_single_bits(
            mut bytes in prop::collection::vec(any::<u8>(), 9..30),
            at in any::<prop::sample::Index>(),
            bits in 1..=64u32,
            value in any::<i64>(),
        ) {
            let offset = at.index(bytes.len() * 8 - 63);
            for width in [Width { bits, signed: true }, Width { bits: bits.min(63), signed: false }] {
                let before = bytes.clone();
                write_field(&mut bytes, width, offset, value);
                let field = offset..offset + width.bits as usize;
                for i in 0..bytes.len() * 8 {
                    let want = if field.contains(&i) {
                        value as u64 >> (field.end - 1 - i) & 1 == 1
                    } else {
                        bit(&before, i)
                    };
                    prop_assert_eq!(bit(&bytes, i), want);
                }
                prop_assert_eq!(read_field(&bytes, width, offset), width.number_of(value as u64));
            }
        }
    }

    #[test]
    fn fields_past_the_end_are_zero() {
        let w = |bits| Width { bits, signed: false };
        assert_eq!(read_field(b"\xff", w(16), 0), 0xff00);
        assert_eq!(read_field(b"\xff", w(63), 4), 0xf << 59);
        assert_eq!(read_field(b"\xff", w(8), 1 << 40), 0);
        assert_eq!(read_field(b"", w(8), 0), 0);
    }

    #[test]
    fn overflow() {
        let (i8, u8, i64) = (
            Width { bits: 8, signed: true },
            Width { bits: 8, signed: false },
            Width { bits: 64, signed: true },
        );
        let fits = |w: Width, n| [Overflow::Wrap, Overflow::Saturate, Overflow::Fail].map(|o| w.fit(n, o));
        assert_eq!(fits(i8, 128), [Some(-128), Some(127), None]);
        assert_eq!(fits(i8, -129), [Some(127), Some(-128), None]);
        assert_eq!(fits(u8, 256), [Some(0), Some(255), None]);
        assert_eq!(fits(u8, -1), [Some(255), Some(0), None]);
        assert_eq!(fits(u8, 255), [Some(255); 3]);
        assert_eq!(fits(i64, i128::from(i64::MAX) + 1), [Some(i64::MIN), Some(i64::MAX), None]);
    }
}
