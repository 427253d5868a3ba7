//! Values out of RDB bytes: every layout that versions 1 to 12 and Valkey's 80 have had.
//!
//! Encodings that live on in memory are validated and copied as they are; what is too large for the limits, or laid
//! out in a way of the past, is built anew.
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::error::RdbError;
use super::input::{Input, Slice, StringHead};
use super::{VERSION_VALKEY, container, old, skim, stream, types};
use crate::base::limits::Limits;
use crate::base::num::parse_f64;
use crate::value::cell::{Cell, Kind, STRING_INLINE_BYTES_MAX};
use crate::value::deque::Deque;
use crate::value::hash::{self, FieldTtl, HashRef, HashTable};
use crate::value::intset::Intset;
use crate::value::listpack::{self, Elem, INT_TEXT_MAX, Listpack};
use crate::value::set::{self, SetTable};
use crate::value::{list, zset};

/// What decoding depends on besides the bytes.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Which encodings values get.
    pub limits: &'a Limits,
    /// The keyspace's, for the tables of large collections.
    pub seed: u64,
    /// Of the file or payload: the meaning of some type numbers depends on it.
    pub version: u32,
    /// Pass over modules' values rather than fail.
    pub skip_modules: bool,
}

/// What stood there.
pub enum Decoded {
    Cell(Cell),
    /// A collection without elements, which must not exist. Redis passes over it in files and refuses it in payloads.
    Empty,
    /// The value of this module, which was passed over.
    Skipped(String),
}

/// Decodes a value of type `ty`, all of it but no more, for `key`.
pub fn value<I: Input>(
    ty: u8,
    key: &[u8],
    input: &mut I,
    options: &Options<'_>,
) -> Result<Decoded, RdbError> {
    use types::*;
    let offset = input.offset();
    if key.len() > KEY_BYTES_MAX {
        return Err(RdbError::corrupt(offset, "a key of more than 2 GiB"));
    }
    if !is_known(ty, options.version) {
        return Err(RdbError::corrupt(offset, format!("unknown value type {ty}")));
    }
    let build = Build { key, offset, options };
    match ty {
        STRING => string(key, input).map(Decoded::Cell),
        LIST => build.list(input),
        SET => build.set(input),
        ZSET | ZSET_2 => build.zset(ty, input),
        HASH => build.hash(input),
        HASH_ZIPMAP | LIST_ZIPLIST | SET_INTSET | ZSET_ZIPLIST | HASH_ZIPLIST | HASH_LISTPACK
        | ZSET_LISTPACK | SET_LISTPACK => build.packed(ty, input.blob(&mut Vec::new())?),
        LIST_QUICKLIST | LIST_QUICKLIST_2 => build.quicklist(ty, input),
        STREAM | STREAM_2 | STREAM_3 => stream::decode(ty, key, input),
        HASH_TTL_PRE_GA | HASH_TTL | HASH_LISTPACK_TTL_PRE_GA | HASH_LISTPACK_TTL => {
            build.hash_ttl(ty, input)
        }
        MODULE_2 => {
            let name = skim::module_value(input)?;
            if options.skip_modules {
                return Ok(Decoded::Skipped(name));
            }
            let what = format!("a value of the module type '{name}', which is not known here");
            Err(RdbError::unsupported(offset, what))
        }
        _ => Err(RdbError::unsupported(offset, "a module's value in a format of before Redis 4.0")),
    }
}

/// Decodes a value that is all there is: nothing may follow.
pub fn whole_value(
    ty: u8,
    key: &[u8],
    bytes: &[u8],
    offset: u64,
    options: &Options<'_>,
) -> Result<Decoded, RdbError> {
    let mut input = Slice::at(bytes, offset);
    let decoded = value(ty, key, &mut input, options)?;
    match input.left() {
        0 => Ok(decoded),
        n => Err(RdbError::corrupt(input.offset(), format!("{n} bytes after the value's end"))),
    }
}

/// Cells keep a key's length in 32 bits.
const KEY_BYTES_MAX: usize = i32::MAX as usize;

fn string<I: Input>(key: &[u8], input: &mut I) -> Result<Cell, RdbError> {
    let mut scratch = Vec::new();
    // Before the head is consumed: `text` reads it itself.
    let inline = |bytes: &[u8]| Cell::string(key, bytes);
    match input.string_head()? {
        StringHead::Int(v) => Ok(Cell::int(key, v)),
        StringHead::Raw(n) if n <= STRING_INLINE_BYTES_MAX as u64 => Ok(inline(input.take(n)?)),
        StringHead::Raw(n) => {
            input.append(n, &mut scratch)?;
            Ok(big(key, scratch))
        }
        StringHead::Lzf { packed, len } => {
            input.unpack(packed, len, &mut scratch)?;
            Ok(if scratch.len() > STRING_INLINE_BYTES_MAX { big(key, scratch) } else { inline(&scratch) })
        }
    }
}

fn big(key: &[u8], mut bytes: Vec<u8>) -> Cell {
    bytes.shrink_to_fit();
    Cell::big_string(key, Arc::new(bytes))
}

/// A value in the making.
struct Build<'a> {
    key: &'a [u8],
    /// Where the value starts, for errors about it as a whole.
    offset: u64,
    options: &'a Options<'a>,
}

impl Build<'_> {
    fn corrupt<T>(&self, what: &'static str) -> Result<T, RdbError> {
        Err(RdbError::corrupt(self.offset, what))
    }

    /// A packed encoding whose bytes contradict it.
    fn broken<T>(&self, ty: u8, how: &'static str) -> Result<T, RdbError> {
        let what = match ty {
            types::HASH_ZIPMAP => "Zipmap",
            types::LIST_ZIPLIST => "List ziplist",
            types::SET_INTSET => "Intset",
            types::ZSET_ZIPLIST => "Zset ziplist",
            types::HASH_ZIPLIST => "Hash ziplist",
            types::ZSET_LISTPACK => "Zset listpack",
            types::SET_LISTPACK => "Set listpack",
            _ => "Hash listpack",
        };
        // The words that Redis logs, for whoever looks for them.
        Err(RdbError::corrupt(self.offset, format!("{what} integrity check failed: {how}")))
    }

    fn list<I: Input>(&self, input: &mut I) -> Result<Decoded, RdbError> {
        let mut deque = Deque::new(list::fill(self.options.limits));
        let mut scratch = Vec::new();
        for _ in 0..input.number()? {
            let element = input.string(&mut scratch)?;
            deque.push_back(element.to_cow(&mut [0; INT_TEXT_MAX]));
        }
        Ok(self.finish_list(deque))
    }

    fn quicklist<I: Input>(&self, ty: u8, input: &mut I) -> Result<Decoded, RdbError> {
        let fill = list::fill(self.options.limits);
        let mut deque = Deque::new(fill);
        let mut scratch = Vec::new();
        for _ in 0..input.number()? {
            let offset = input.offset();
            let kind = if ty == types::LIST_QUICKLIST { container::PACKED } else { input.number()? };
            match kind {
                container::PACKED => {
                    let blob = input.blob(&mut scratch)?;
                    let converted;
                    let pack = if ty == types::LIST_QUICKLIST {
                        converted = old::listpack_of_ziplist(blob).ok_or_else(|| {
                            RdbError::corrupt(offset, "Quicklist integrity check failed: bad ziplist")
                        })?;
                        &converted
                    } else if Listpack::validate(blob, true) {
                        blob
                    } else {
                        return Err(RdbError::corrupt(
                            offset,
                            "Quicklist integrity check failed: bad listpack",
                        ));
                    };
                    let elements = Listpack::new(pack);
                    let count = elements.len();
                    // As it is, or by element where the limits are others than those of its writer.
                    if count <= 1 || fill.allows(pack.len(), count) {
                        deque.append_packed(pack);
                    } else {
                        let mut buf = [0; INT_TEXT_MAX];
                        elements.iter().for_each(|e| deque.push_back(e.to_cow(&mut buf)));
                    }
                }
                container::PLAIN => {
                    let element = input.string(&mut scratch)?;
                    let mut buf = [0; INT_TEXT_MAX];
                    let text = element.to_cow(&mut buf);
                    if text.is_empty() {
                        let what = "Quicklist integrity check failed: an empty plain node";
                        return Err(RdbError::corrupt(offset, what));
                    }
                    // Plain where it would be so here, too, or is too long for a chunk anyway.
                    if text.len() >= fill.max_bytes.min(fill.plain_threshold) {
                        deque.append_plain(text);
                    } else {
                        deque.push_back(text);
                    }
                }
                other => {
                    return Err(RdbError::corrupt(offset, format!("unknown quicklist container {other}")));
                }
            }
        }
        Ok(self.finish_list(deque))
    }

    fn finish_list(&self, deque: Deque) -> Decoded {
        match deque.is_empty() {
            true => Decoded::Empty,
            false => Decoded::Cell(list::from_deque(self.key, deque)),
        }
    }

    fn set<I: Input>(&self, input: &mut I) -> Result<Decoded, RdbError> {
        let (limits, seed) = (self.options.limits, self.options.seed);
        let members = input.number()?;
        if members == 0 {
            return Ok(Decoded::Empty);
        }
        let small = limits.set_max_intset_entries.get().max(limits.set_max_listpack_entries.get());
        let (mut scratch, mut buf) = (Vec::new(), [0; INT_TEXT_MAX]);
        let mut cell = set::create_empty(self.key);
        if members > small as u64 {
            let mut table = SetTable::new(seed);
            table.reserve(input.plausible(members, 1));
            for _ in 0..members {
                let offset = input.offset();
                let member = input.string(&mut scratch)?;
                if !table.add(member.to_cow(&mut buf)) {
                    return Err(RdbError::corrupt(offset, "Duplicate set members detected"));
                }
            }
            cell.set_large(Kind::SetTable, Box::new(table));
        } else {
            for _ in 0..members {
                let offset = input.offset();
                let member = input.string(&mut scratch)?;
                if !set::add(&mut cell, member.to_cow(&mut buf), limits, seed) {
                    return Err(RdbError::corrupt(offset, "Duplicate set members detected"));
                }
            }
        }
        Ok(Decoded::Cell(cell))
    }

    fn hash<I: Input>(&self, input: &mut I) -> Result<Decoded, RdbError> {
        let (limits, seed) = (self.options.limits, self.options.seed);
        let pairs = input.number()?;
        if pairs == 0 {
            return Ok(Decoded::Empty);
        }
        let value_max = limits.hash_max_listpack_value.get();
        let mut pack = listpack::empty().to_vec();
        let mut table = None;
        if pairs > limits.hash_max_listpack_entries.get() as u64 {
            let mut large = HashTable::new(seed);
            large.reserve(input.plausible(pairs, 2));
            table = Some(large);
        }
        let (mut field, mut scratch, mut buf) = (Vec::new(), Vec::new(), [0; INT_TEXT_MAX]);
        for _ in 0..pairs {
            let offset = input.offset();
            input.text(&mut field)?;
            let value = input.string(&mut scratch)?;
            let value = value.to_cow(&mut buf);
            if table.is_none() {
                let room = listpack::has_room(pack.len(), field.len() + value.len() + 20);
                if room && field.len() <= value_max && value.len() <= value_max {
                    listpack::insert_pair(&mut pack, None, &field, value);
                    continue;
                }
                table = Some(table_of(&pack, seed).ok_or_else(|| self.twice())?);
            }
            if table.as_mut().is_some_and(|table| !table.set(&field, value)) {
                return Err(RdbError::corrupt(offset, "Duplicate hash fields detected"));
            }
        }
        let Some(table) = table else {
            if has_twice(&pack, 2) {
                return Err(self.twice());
            }
            return Ok(Decoded::Cell(Cell::packed(self.key, Kind::HashPacked, &pack)));
        };
        Ok(Decoded::Cell(Cell::new_large(self.key, Kind::HashTable, Box::new(table))))
    }

    fn twice(&self) -> RdbError {
        RdbError::corrupt(self.offset, "Duplicate hash fields detected")
    }

    fn hash_ttl<I: Input>(&self, ty: u8, input: &mut I) -> Result<Decoded, RdbError> {
        let (limits, seed) = (self.options.limits, self.options.seed);
        let mut cell = hash::new_cell(self.key);
        self.fields_with_ttl(ty, input, |field, value, at| {
            let ttl = at.map_or(FieldTtl::None, |at| FieldTtl::At(at.max(1)));
            hash::put(&mut cell, field, value, ttl, limits, seed)
        })?;
        Ok(if HashRef::of(&cell).is_empty() { Decoded::Empty } else { Decoded::Cell(cell) })
    }

    /// Every field with its value and when it expires (Unix ms); `add` tells whether the field is new.
    fn fields_with_ttl<I: Input>(
        &self,
        ty: u8,
        input: &mut I,
        mut add: impl FnMut(&[u8], &[u8], Option<u64>) -> bool,
    ) -> Result<(), RdbError> {
        use types::*;
        let valkey = self.options.version >= VERSION_VALKEY;
        // The soonest expiry; of the released layouts one counts from it.
        let soonest = if matches!(ty, HASH_TTL | HASH_LISTPACK_TTL) { input.u64_le()? } else { 0 };
        if matches!(ty, HASH_LISTPACK_TTL | HASH_LISTPACK_TTL_PRE_GA) {
            let mut scratch = Vec::new();
            let blob = input.blob(&mut scratch)?;
            if !Listpack::validate(blob, true) {
                return self.broken(ty, "bad bytes");
            }
            let mut elements = Listpack::new(blob).iter();
            let (mut field_buf, mut value_buf) = ([0; INT_TEXT_MAX], [0; INT_TEXT_MAX]);
            while let Some(field) = elements.next() {
                let (Some(value), Some(Some(at))) = (
                    elements.next(),
                    elements.next().map(|at| at.as_i64().and_then(|at| u64::try_from(at).ok())),
                ) else {
                    return self.broken(ty, "a field without its value or time");
                };
                let at = Some(at).filter(|&at| at > 0);
                if at.is_some_and(|at| at > hash::EXPIRE_MS_MAX) {
                    return self.broken(ty, "a time that no clock shows");
                }
                if !add(field.to_cow(&mut field_buf), value.to_cow(&mut value_buf), at) {
                    return self.broken(ty, "listpack with dup elements");
                }
            }
            return Ok(());
        }
        let (mut field, mut value) = (Vec::new(), Vec::new());
        for _ in 0..input.number()? {
            let offset = input.offset();
            let ttl = if valkey { 0 } else { input.number()? };
            input.text(&mut field)?;
            input.text(&mut value)?;
            let at = if valkey {
                u64::try_from(i64::from_le_bytes(input.array()?)).ok()
            } else if ty == HASH_TTL && ttl > 0 {
                soonest.checked_add(ttl - 1)
            } else {
                Some(ttl).filter(|&at| at > 0)
            };
            if at.is_some_and(|at| at > hash::EXPIRE_MS_MAX) || (ttl > 0 && at.is_none()) {
                return Err(RdbError::corrupt(offset, "a field expires at an instant that no clock shows"));
            }
            if !add(&field, &value, at) {
                return Err(RdbError::corrupt(offset, "Duplicate hash fields detected"));
            }
        }
        Ok(())
    }

    fn zset<I: Input>(&self, ty: u8, input: &mut I) -> Result<Decoded, RdbError> {
        let members = input.number()?;
        if members == 0 {
            return Ok(Decoded::Empty);
        }
        let room = input.plausible(members, 2);
        let (mut texts, mut spans, mut scratch) =
            (Vec::new(), Vec::with_capacity(room.min(1 << 16)), Vec::new());
        for _ in 0..members {
            let start = texts.len();
            input.string(&mut scratch)?.write_to(&mut texts);
            let offset = input.offset();
            let score = if ty == types::ZSET { old_score(input)? } else { input.f64_le()? };
            if score.is_nan() {
                return Err(RdbError::corrupt(offset, "Zset with NAN score detected"));
            }
            spans.push((score, start..texts.len()));
        }
        let mut items: Vec<(f64, &[u8])> =
            spans.into_iter().map(|(score, span)| (score, texts.get(span).unwrap_or_default())).collect();
        self.finish_zset(&mut items)
    }

    fn finish_zset(&self, items: &mut [(f64, &[u8])]) -> Result<Decoded, RdbError> {
        match zset::from_unsorted(self.key, items, self.options.limits, self.options.seed) {
            Some(cell) => Ok(Decoded::Cell(cell)),
            None => self.corrupt("Duplicate zset members detected"),
        }
    }

    /// One blob that is the whole value.
    fn packed(&self, ty: u8, blob: &[u8]) -> Result<Decoded, RdbError> {
        use types::*;
        let (limits, seed) = (self.options.limits, self.options.seed);
        if ty == SET_INTSET {
            if !Intset::validate(blob) {
                return self.broken(ty, "bad bytes");
            }
            let ints = Intset::new(blob);
            if ints.is_empty() {
                return Ok(Decoded::Empty);
            }
            let mut cell = Cell::packed(self.key, Kind::SetInts, blob);
            if ints.len() > limits.set_max_intset_entries.get() {
                set::to_table(&mut cell, 0, seed);
            }
            return Ok(Decoded::Cell(cell));
        }
        let converted = match ty {
            HASH_ZIPMAP => old::listpack_of_zipmap(blob),
            LIST_ZIPLIST | ZSET_ZIPLIST | HASH_ZIPLIST => old::listpack_of_ziplist(blob),
            _ => Listpack::validate(blob, true).then(Vec::new),
        };
        let Some(converted) = converted else { return self.broken(ty, "bad bytes") };
        let bytes = if converted.is_empty() { blob } else { &converted };
        let pack = Listpack::new(bytes);
        let len = pack.len();
        if len == 0 {
            return Ok(Decoded::Empty);
        }
        let step = if matches!(ty, LIST_ZIPLIST | SET_LISTPACK) { 1 } else { 2 };
        if !len.is_multiple_of(step) {
            return self.broken(ty, "a field or member without its other half");
        }
        if ty != LIST_ZIPLIST && has_twice(bytes, step) {
            return self.broken(ty, "listpack with dup elements");
        }
        let packable = listpack::has_room(bytes.len(), 0);
        Ok(match ty {
            LIST_ZIPLIST => self.finish_list(Deque::from_listpack(list::fill(limits), bytes)),
            SET_LISTPACK => {
                let mut cell = Cell::packed(self.key, Kind::SetPacked, bytes);
                if len > limits.set_max_listpack_entries.get() || !packable {
                    set::to_table(&mut cell, 0, seed);
                }
                Decoded::Cell(cell)
            }
            ZSET_ZIPLIST | ZSET_LISTPACK => return self.packed_zset(ty, pack, packable),
            _ => {
                let mut cell = Cell::packed(self.key, Kind::HashPacked, bytes);
                // Of the packed forms Redis measures the elements of a zipmap only.
                let longest = limits.hash_max_listpack_value.get();
                let long = ty == HASH_ZIPMAP
                    && pack.iter().any(|e| e.to_cow(&mut [0; INT_TEXT_MAX]).len() > longest);
                if len / 2 > limits.hash_max_listpack_entries.get() || long || !packable {
                    hash::to_table(&mut cell, seed);
                }
                Decoded::Cell(cell)
            }
        })
    }

    fn packed_zset(&self, ty: u8, pack: Listpack<'_>, packable: bool) -> Result<Decoded, RdbError> {
        let (limits, seed) = (self.options.limits, self.options.seed);
        let mut in_order = true;
        let mut before: Option<(f64, Elem<'_>)> = None;
        for (member, score) in pack.pairs() {
            let score = match score {
                Elem::Int(v) => Some(v as f64),
                Elem::Str(text) => parse_f64(text).filter(|s| !s.is_nan()),
            };
            let Some(score) = score else {
                return self.broken(ty, "a score that is not a number");
            };
            in_order &= before.is_none_or(|(s, m)| {
                s < score || s == score && m.cmp_bytes(member.to_cow(&mut [0; INT_TEXT_MAX])).is_lt()
            });
            before = Some((score, member));
        }
        let mut cell = Cell::packed(self.key, Kind::ZSetPacked, pack.bytes());
        if pack.len() / 2 > limits.zset_max_listpack_entries.get() || !packable {
            zset::to_tree(&mut cell, 0, seed);
        } else if !in_order {
            let members: Vec<(f64, Vec<u8>)> =
                zset::ZSetRef::of(&cell).iter().map(|(m, s)| (s, m.to_vec())).collect();
            let mut items: Vec<(f64, &[u8])> = members.iter().map(|(s, m)| (*s, m.as_slice())).collect();
            return self.finish_zset(&mut items);
        }
        Ok(Decoded::Cell(cell))
    }
}

fn table_of(pack: &[u8], seed: u64) -> Option<HashTable> {
    let mut table = HashTable::new(seed);
    let (mut field_buf, mut value_buf) = ([0; INT_TEXT_MAX], [0; INT_TEXT_MAX]);
    Listpack::new(pack)
        .pairs()
        .all(|(field, value)| table.set(field.to_cow(&mut field_buf), value.to_cow(&mut value_buf)))
        .then_some(table)
}

/// A score as version 1 to 7 wrote it: a length and a text, or one of three marks.
fn old_score<I: Input>(input: &mut I) -> Result<f64, RdbError> {
    let offset = input.offset();
    match input.byte()? {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        n => parse_f64(input.take(n.into())?).ok_or_else(|| RdbError::corrupt(offset, "bad score")),
    }
}

/// Elements up to this many are compared each with each.
const COMPARED_MAX: usize = 32;

/// Whether among every `step`th element one comes twice.
fn has_twice(pack: &[u8], step: usize) -> bool {
    let elements = Listpack::new(pack).iter().step_by(step);
    let mut seen = Vec::with_capacity(COMPARED_MAX);
    let mut many: Option<HashSet<Text<'_>>> = None;
    for element in elements {
        let element = Text(element);
        if let Some(many) = &mut many {
            if !many.insert(element) {
                return true;
            }
            continue;
        }
        if seen.contains(&element) {
            return true;
        }
        seen.push(element);
        if seen.len() == COMPARED_MAX {
            many = Some(seen.drain(..).collect());
        }
    }
    false
}

/// An element as its text: a listpack from elsewhere may hold an integer as a string.
struct Text<'a>(Elem<'a>);

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Elem::Int(a), Elem::Int(b)) => a == b,
            (Elem::Str(a), Elem::Str(b)) => a == b,
            (Elem::Int(_), Elem::Str(text)) => self.0.eq_bytes(text),
            (Elem::Str(text), Elem::Int(_)) => other.0.eq_bytes(text),
        }
    }
}

impl Eq for Text<'_> {}

impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_cow(&mut [0; INT_TEXT_MAX]).hash(state);
    }
}
