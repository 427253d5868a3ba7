//! Values and the parts around them as RDB bytes.
//!
//! Everything goes to a [`Sink`] in small pieces, so that a collection of millions never exists twice. Where the
//! encoding is one that Redis 7.0 has, the bytes are those that it would write.
use super::{container, lzf, opcode, types};
use crate::base::num::parse_i64;
use crate::value::cell::{Cell, Kind};
use crate::value::deque::{ChunkView, Deque};
use crate::value::hash::HashRef;
use crate::value::listpack::{Elem, INT_TEXT_MAX};
use crate::value::set::SetRef;
use crate::value::zset::ZSetRef;

/// Where the bytes go. A sink that can fail remembers that it did and ignores the rest.
pub trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Strings of more than 20 bytes are compressed where that spares four or more (`rdbcompression`).
    pub compress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { compress: true }
    }
}

/// What an entry tells of its use, for eviction to go on where it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Nothing: without `maxmemory`.
    Untold,
    /// Seconds since the last access, under an LRU policy.
    Idle(u64),
    /// The logarithmic counter, under an LFU policy.
    Freq(u8),
}

/// Strings from this length on may be compressed.
const COMPRESS_MIN: usize = 21;
/// What compression must spare.
const SPARED_MIN: usize = 4;
/// Longer texts are no 32-bit integers.
const INT32_TEXT_MAX: usize = 11;

/// The lowest version that can hold this value.
pub fn version_needed(cell: &Cell) -> u32 {
    let _ = cell;
    super::VERSION
}

/// The number that tells how `value` writes this cell.
pub fn type_of(cell: &Cell) -> u8 {
    match cell.kind() {
        Kind::StrRaw | Kind::StrInt | Kind::StrBig => types::STRING,
        Kind::ListPacked | Kind::ListDeque => types::LIST_QUICKLIST_2,
        Kind::SetInts => types::SET_INTSET,
        // A type for packed sets came with version 11 only.
        Kind::SetPacked | Kind::SetTable => types::SET,
        Kind::HashPacked => types::HASH_LISTPACK,
        Kind::HashPackedTtl if cell.field_expire_ms().is_some() => types::HASH_LISTPACK_TTL,
        Kind::HashTable if cell.field_expire_ms().is_some() => types::HASH_TTL,
        Kind::HashPackedTtl | Kind::HashTable => types::HASH,
        Kind::ZSetPacked => types::ZSET_LISTPACK,
        Kind::ZSetTree => types::ZSET_2,
        Kind::Stream => types::STREAM_2,
    }
}

/// The nine bytes that a file starts with.
pub fn header(sink: &mut impl Sink, version: u32) {
    sink.put(format!("REDIS{version:04}").as_bytes());
}

/// A field about the file as a whole.
pub fn aux(sink: &mut impl Sink, key: &[u8], value: &[u8]) {
    let plain = Options { compress: false };
    sink.put(&[opcode::AUX]);
    string(sink, key, &plain);
    string(sink, value, &plain);
}

/// What follows belongs to this database.
pub fn select_db(sink: &mut impl Sink, db: u64) {
    sink.put(&[opcode::SELECT_DB]);
    length(sink, db);
}

/// How many entries are to come in this database, and how many of them with a time to live.
pub fn resize_db(sink: &mut impl Sink, keys: u64, expires: u64) {
    sink.put(&[opcode::RESIZE_DB]);
    length(sink, keys);
    length(sink, expires);
}

/// The source of a library of functions.
pub fn function(sink: &mut impl Sink, code: &[u8], options: &Options) {
    sink.put(&[opcode::FUNCTION]);
    string(sink, code, options);
}

/// The mark after the last entry. The CRC-64 of all bytes up to and with it follows; 0 where it was not computed.
pub fn end(sink: &mut impl Sink) {
    sink.put(&[opcode::EOF]);
}

pub fn checksum(sink: &mut impl Sink, crc: u64) {
    sink.put(&crc.to_le_bytes());
}

/// A key with its value and what belongs to them.
pub fn entry(sink: &mut impl Sink, cell: &Cell, access: Access, options: &Options) {
    if let Some(ms) = cell.expire_ms() {
        sink.put(&[opcode::EXPIRE_MS]);
        sink.put(&ms.to_le_bytes());
    }
    match access {
        Access::Untold => {}
        Access::Idle(seconds) => {
            sink.put(&[opcode::IDLE]);
            length(sink, seconds);
        }
        Access::Freq(counter) => sink.put(&[opcode::FREQ, counter]),
    }
    sink.put(&[type_of(cell)]);
    string(sink, cell.key(), options);
    value(sink, cell, options);
}

/// A hash some of whose fields expire: the first instant, then the listpack of triples as it is, or fields whose instants
/// count from there, with 0 for none.
fn hash_ttl(sink: &mut impl Sink, cell: &Cell, options: &Options) {
    let first = cell.field_expire_ms().unwrap_or_default();
    sink.put(&first.to_le_bytes());
    if cell.kind() == Kind::HashPackedTtl {
        return string(sink, cell.body(), options);
    }
    let hash = HashRef::of(cell);
    length(sink, hash.len() as u64);
    hash.iter_with_ttl().for_each(|(field, value, at)| {
        length(sink, at.map_or(0, |at| at - first + 1));
        elem(sink, field, options);
        elem(sink, value, options);
    });
}

/// The value alone; `type_of` says as what.
pub fn value(sink: &mut impl Sink, cell: &Cell, options: &Options) {
    match cell.kind() {
        Kind::StrInt => int(sink, cell.as_int().unwrap_or_default()),
        Kind::StrRaw => string(sink, cell.body(), options),
        Kind::StrBig => string(sink, cell.big().map_or(&[], Vec::as_slice), options),
        Kind::SetInts | Kind::HashPacked | Kind::ZSetPacked => string(sink, cell.body(), options),
        Kind::ListPacked => {
            length(sink, 1);
            node(sink, ChunkView::Packed(cell.body()), options);
        }
        Kind::ListDeque => {
            let deque = cell.large::<Deque>();
            length(sink, deque.chunks().count() as u64);
            deque.chunks().for_each(|chunk| node(sink, chunk, options));
        }
        Kind::SetPacked | Kind::SetTable => {
            let set = SetRef::of(cell);
            length(sink, set.len() as u64);
            set.iter().for_each(|member| elem(sink, member, options));
        }
        Kind::HashPackedTtl | Kind::HashTable if cell.field_expire_ms().is_some() => {
            hash_ttl(sink, cell, options)
        }
        Kind::HashPackedTtl | Kind::HashTable => {
            let hash = HashRef::of(cell);
            length(sink, hash.len() as u64);
            hash.iter().for_each(|(field, value)| {
                elem(sink, field, options);
                elem(sink, value, options);
            });
        }
        Kind::ZSetTree => {
            let zset = ZSetRef::of(cell);
            length(sink, zset.len() as u64);
            // From the highest score down, as Redis: its skiplist is built fastest from there.
            zset.iter().rev().for_each(|(member, score)| {
                elem(sink, member, options);
                sink.put(&score.to_le_bytes());
            });
        }
        Kind::Stream => super::stream::encode(sink, cell, options),
    }
}

fn node(sink: &mut impl Sink, chunk: ChunkView<'_>, options: &Options) {
    let (kind, bytes) = match chunk {
        ChunkView::Plain(bytes) => (container::PLAIN, bytes),
        ChunkView::Packed(bytes) => (container::PACKED, bytes),
    };
    length(sink, kind);
    string(sink, bytes, options);
}

pub(super) fn elem(sink: &mut impl Sink, elem: Elem<'_>, options: &Options) {
    match elem {
        Elem::Int(v) => int(sink, v),
        Elem::Str(text) => string(sink, text, options),
    }
}

/// A length in its shortest form.
pub fn length(sink: &mut impl Sink, n: u64) {
    let mut buf = [0; 9];
    let size = if n < 1 << 6 {
        buf[0] = n as u8;
        1
    } else if n < 1 << 14 {
        buf[..2].copy_from_slice(&(n as u16 | 1 << 14).to_be_bytes());
        2
    } else if let Ok(short) = u32::try_from(n) {
        buf[0] = 0x80;
        buf[1..5].copy_from_slice(&short.to_be_bytes());
        5
    } else {
        buf[0] = 0x81;
        buf[1..].copy_from_slice(&n.to_be_bytes());
        9
    };
    sink.put(&buf[..size]);
}

/// A string in its best form: an integer's, compressed, or as it is.
pub fn string(sink: &mut impl Sink, bytes: &[u8], options: &Options) {
    if bytes.len() <= INT32_TEXT_MAX
        && let Some(v) = parse_i64(bytes)
        && i32::try_from(v).is_ok()
    {
        return int(sink, v);
    }
    if options.compress && bytes.len() >= COMPRESS_MIN {
        let done = lzf::compressed(bytes, bytes.len() - SPARED_MIN, |packed| {
            packed.is_some_and(|packed| {
                sink.put(&[0xc3]);
                length(sink, packed.len() as u64);
                length(sink, bytes.len() as u64);
                sink.put(packed);
                true
            })
        });
        if done {
            return;
        }
    }
    length(sink, bytes.len() as u64);
    sink.put(bytes);
}

/// An integer as a string.
pub(super) fn int(sink: &mut impl Sink, v: i64) {
    if let Ok(v) = i8::try_from(v) {
        sink.put(&[0xc0, v as u8]);
    } else if let Ok(v) = i16::try_from(v) {
        let [a, b] = v.to_le_bytes();
        sink.put(&[0xc1, a, b]);
    } else if let Ok(v) = i32::try_from(v) {
        let [a, b, c, d] = v.to_le_bytes();
        sink.put(&[0xc2, a, b, c, d]);
    } else {
        let mut buf = [0; INT_TEXT_MAX];
        let text = Elem::Int(v).to_cow(&mut buf).to_vec();
        length(sink, text.len() as u64);
        sink.put(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        f(&mut out);
        out
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        let len = |n| bytes(|out| length(out, n));
        assert_eq!(len(63), [63]);
        assert_eq!(len(64), [0x40, 64]);
        assert_eq!(len(16383), [0x7f, 0xff]);
        assert_eq!(len(16384), [0x80, 0, 0, 0x40, 0]);
        assert_eq!(len(1 << 32), [0x81, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn strings_take_their_best_form() {
        let text = |t: &[u8]| bytes(|out| string(out, t, &Options::default()));
        assert_eq!(text(b"-5"), [0xc0, 0xfb]);
        assert_eq!(text(b"300"), [0xc1, 44, 1]);
        assert_eq!(text(b"70000"), [0xc2, 0x70, 0x11, 1, 0]);
        assert_eq!(text(b"05"), b"\x0205");
        assert_eq!(text(b"4294967296"), b"\x0a4294967296");
        assert_eq!(text(&[b'a'; 100]), [0xc3, 9, 0x40, 100, 1, b'a', b'a', 0xe0, 87, 0, 1, b'a', b'a']);
        let plain = bytes(|out| string(out, &[b'a'; 30], &Options { compress: false }));
        assert_eq!(plain[..2], [30, b'a']);
    }

    #[test]
    fn entries_carry_expiry_and_access() {
        let mut cell = Cell::string(b"k", b"v");
        cell.set_expiry(Some((0x0102, 0)));
        let out = bytes(|out| entry(out, &cell, Access::Idle(7), &Options::default()));
        assert_eq!(out, [252, 2, 1, 0, 0, 0, 0, 0, 0, 248, 7, 0, 1, b'k', 1, b'v']);
        let out = bytes(|out| entry(out, &Cell::int(b"k", 1), Access::Freq(9), &Options::default()));
        assert_eq!(out, [249, 9, 0, 1, b'k', 0xc0, 1]);
    }
}
