//! Listpack: a sequence of short strings and integers in one run of bytes, byte for byte what Redis writes, so that
//! RDB and DUMP move it as one copy.
//!
//! ```text
//! total bytes: u32 le | elements: u16 le (65535: unknown, count them) | element ... | 0xFF
//! element: encoding byte(s) | body | backlen: size of the two before it, read from its last byte leftwards
//! ```
//!
//! Invariants: a text that is a canonical i64 is stored as an integer in the smallest form that holds it, so equal
//! texts written here have equal bytes; readers do not rely on it, because a dump made elsewhere may be sloppier.
//! Readers trust their bytes: on anything that [`Listpack::validate`] (deep) has not accepted they may panic, never
//! more. A [`Pos`] is good until the bytes before or at it change.
//!
//! Hot path: no allocation in a reader, none in a writer for elements up to about a hundred bytes.
use super::blob::Blob;
use smallvec::SmallVec;
use std::borrow::Borrow;
use std::cmp::Ordering;

const HEADER: usize = 6;
const END: u8 = 0xFF;
const COUNT_UNKNOWN: u16 = u16::MAX;

const STR32: u8 = 0xF0;
const INT16: u8 = 0xF1;
const INT24: u8 = 0xF2;
const INT32: u8 = 0xF3;
const INT64: u8 = 0xF4;

/// The most bytes that a listpack may reach (1 GiB): far below what its 32-bit total could hold, as in Redis.
pub const BYTES_MAX: usize = 1 << 30;

/// The longest text of an integer, `i64::MIN`.
pub const INT_TEXT_MAX: usize = 20;

/// One encoded element, or two, on its way in.
type Scratch = SmallVec<[u8; 128]>;

/// Where an element starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos(u32);

impl Pos {
    #[inline]
    fn new(at: usize) -> Pos {
        Pos(at as u32)
    }

    #[inline]
    fn at(self) -> usize {
        self.0 as usize
    }
}

/// An element. Two elements are the same value when their text forms are, whichever variant holds them.
#[derive(Clone, Copy, Debug)]
pub enum Elem<'a> {
    Int(i64),
    Str(&'a [u8]),
}

impl<'a> Elem<'a> {
    /// Bytes of the text form.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Elem::Int(v) => int_text_len(v),
            Elem::Str(s) => s.len(),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, Elem::Str([]))
    }

    /// Whether the text form is `text`.
    #[inline]
    pub fn eq_bytes(&self, text: &[u8]) -> bool {
        match *self {
            Elem::Int(v) => parse_int(text) == Some(v),
            Elem::Str(s) => s == text,
        }
    }

    /// Compares the text forms as bytes, which is not the order of the integers.
    pub fn cmp_bytes(&self, text: &[u8]) -> Ordering {
        self.to_cow(&mut [0; INT_TEXT_MAX]).cmp(text)
    }

    /// Appends the text form.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_cow(&mut [0; INT_TEXT_MAX]));
    }

    /// The text form: the element's own bytes, or `buf` for an integer.
    #[inline]
    pub fn to_cow<'b>(&self, buf: &'b mut [u8; INT_TEXT_MAX]) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Elem::Int(v) => int_text(v, buf),
            Elem::Str(s) => s,
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.to_cow(&mut [0; INT_TEXT_MAX]).to_vec()
    }

    /// The integer that the text form is the canonical text of.
    #[inline]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Elem::Int(v) => Some(v),
            Elem::Str(s) => parse_int(s),
        }
    }
}

/// A listpack to read.
#[derive(Clone, Copy, Debug)]
pub struct Listpack<'a>(&'a [u8]);

impl<'a> Listpack<'a> {
    /// Views bytes that were built here or that `validate(.., true)` accepted.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::validate(bytes, false));
        Listpack(bytes)
    }

    /// Whether `bytes` are a listpack: only its frame, or (`deep`) every element too. Only the deep check makes
    /// bytes from outside safe to read; an empty listpack passes, and whether it may be a value is the caller's.
    pub fn validate(bytes: &[u8], deep: bool) -> bool {
        let (Some(total), Some(&[low, high])) = (read_u32(bytes, 0), bytes.get(4..HEADER)) else {
            return false;
        };
        if total as usize != bytes.len() || bytes.len() <= HEADER || bytes.last() != Some(&END) {
            return false;
        }
        if !deep {
            return true;
        }
        let (end, mut at, mut seen) = (bytes.len() - 1, HEADER, 0usize);
        while at < end {
            let Some(next) = checked_next(bytes, at, end) else { return false };
            at = next;
            seen += 1;
        }
        let count = u16::from_le_bytes([low, high]);
        count == COUNT_UNKNOWN || usize::from(count) == seen
    }

    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    #[inline]
    pub fn bytes_len(&self) -> usize {
        self.0.len()
    }

    /// Elements. Walks them all where the header no longer knows (65535 or more, once).
    #[inline]
    pub fn len(&self) -> usize {
        match count(self.0) {
            COUNT_UNKNOWN => self.count_from(HEADER),
            known => known.into(),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0[HEADER] == END
    }

    #[inline]
    pub fn first(&self) -> Option<Pos> {
        self.pos(HEADER)
    }

    #[inline]
    pub fn last(&self) -> Option<Pos> {
        self.before(self.end())
    }

    #[inline]
    pub fn next(&self, pos: Pos) -> Option<Pos> {
        self.pos(after(self.0, pos.at()))
    }

    #[inline]
    pub fn prev(&self, pos: Pos) -> Option<Pos> {
        self.before(pos.at())
    }

    #[inline]
    pub fn get(&self, pos: Pos) -> Elem<'a> {
        decode(self.0, pos.at())
    }

    /// The element at `index`, counted from the tail where negative (-1 is the last). Walks from the nearer end.
    pub fn seek(&self, index: i64) -> Option<Pos> {
        let mut index = index;
        let known = count(self.0);
        if known != COUNT_UNKNOWN {
            let len = i64::from(known);
            if index >= len || index < -len {
                return None;
            }
            let from_head = if index < 0 { index + len } else { index };
            index = if from_head <= len / 2 { from_head } else { from_head - len };
        }
        if index >= 0 {
            let mut pos = self.first()?;
            for _ in 0..index {
                pos = self.next(pos)?;
            }
            Some(pos)
        } else {
            let mut pos = self.last()?;
            for _ in 0..-(index + 1) {
                pos = self.prev(pos)?;
            }
            Some(pos)
        }
    }

    #[inline]
    pub fn iter(&self) -> Iter<'a> {
        Iter { bytes: self.0, front: HEADER, back: self.end() }
    }

    /// From `start` on, or nothing for `None`.
    #[inline]
    pub fn iter_from(&self, start: Option<Pos>) -> Iter<'a> {
        Iter { bytes: self.0, front: start.map_or(self.end(), Pos::at), back: self.end() }
    }

    /// Elements two by two, as small hashes (field, value) and sorted sets (member, score) lay them out.
    #[inline]
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs(self.iter())
    }

    /// The first element that is `needle`, looking at `start` (the first where `None`) and from there at every
    /// `skip + 1`th.
    pub fn find(&self, needle: &[u8], skip: usize, start: Option<Pos>) -> Option<Pos> {
        let bytes = self.0;
        let needle = Needle::new(needle);
        let mut at = start.map_or(HEADER, Pos::at);
        loop {
            let found = at;
            let (same, next) = match bytes[at] {
                head @ 0..=0x7F => (needle.int == Some(head.into()), at + 2),
                // Up to 63 bytes: their backlen is one byte.
                head @ 0x80..=0xBF => {
                    let end = at + 1 + usize::from(head & 0x3F);
                    (needle.is_at(bytes, at + 1, end), end + 1)
                }
                END => return None,
                // An integer, and the needle is none.
                0xC0..=0xDF | INT16..=INT64 if needle.int.is_none() => (false, after(bytes, at)),
                _ => {
                    let (elem, next) = entry(bytes, at);
                    (needle.is(elem), next)
                }
            };
            if same {
                return Some(Pos::new(found));
            }
            at = next;
            for _ in 0..skip {
                if bytes[at] == END {
                    return None;
                }
                at = after(bytes, at);
            }
        }
    }

    /// The pair whose first element is `key`: where both its elements are.
    #[inline]
    pub fn find_pair(&self, key: &[u8]) -> Option<(Pos, Pos)> {
        let pos = self.find(key, 1, None)?;
        Some((pos, self.next(pos)?))
    }

    fn end(&self) -> usize {
        self.0.len() - 1
    }

    #[inline]
    fn pos(&self, at: usize) -> Option<Pos> {
        (self.0[at] != END).then(|| Pos::new(at))
    }

    #[inline]
    fn before(&self, at: usize) -> Option<Pos> {
        (at > HEADER).then(|| Pos::new(before(self.0, at)))
    }

    fn count_from(&self, mut at: usize) -> usize {
        let mut seen = 0;
        while self.0[at] != END {
            at = after(self.0, at);
            seen += 1;
        }
        seen
    }
}

impl<'a> IntoIterator for Listpack<'a> {
    type Item = Elem<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// See [`Listpack::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    #[inline]
    fn next(&mut self) -> Option<Elem<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (elem, next) = entry(self.bytes, self.front);
        self.front = next;
        Some(elem)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = before(self.bytes, self.back);
        Some(decode(self.bytes, self.back))
    }
}

/// See [`Listpack::pairs`].
#[derive(Clone, Debug)]
pub struct Pairs<'a>(Iter<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (Elem<'a>, Elem<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let second = self.0.next_back()?;
        Some((self.0.next_back()?, second))
    }
}

/// An empty listpack, to start a blob from.
pub fn empty() -> &'static [u8; 7] {
    &[7, 0, 0, 0, 0, 0, END]
}

/// Bytes that `text` takes as an element.
pub fn entry_size(text: &[u8]) -> usize {
    match parse_int(text) {
        Some(v) => int_entry_size(v),
        None => {
            let size = text.len()
                + if text.len() < 1 << 6 {
                    1
                } else if text.len() < 1 << 12 {
                    2
                } else {
                    5
                };
            size + backlen_size(size)
        }
    }
}

/// Bytes that `value` takes as an element.
pub fn int_entry_size(value: i64) -> usize {
    let size = match value {
        0..=0x7F => 1,
        -0x1000..=0xFFF => 2,
        -0x8000..=0x7FFF => 3,
        -0x80_0000..=0x7F_FFFF => 4,
        -0x8000_0000..=0x7FFF_FFFF => 5,
        _ => 9,
    };
    size + 1
}

/// Whether a listpack of `bytes_len` stays within [`BYTES_MAX`] with `more` bytes. Writers do not ask by themselves.
#[inline]
pub fn has_room(bytes_len: usize, more: usize) -> bool {
    bytes_len.saturating_add(more) <= BYTES_MAX
}

pub fn push_back<B: Blob + ?Sized>(blob: &mut B, text: &[u8]) {
    let end = blob.len() - 1;
    put(blob, end, 0, &encoded(text), 1);
}

pub fn push_back_int<B: Blob + ?Sized>(blob: &mut B, value: i64) {
    let end = blob.len() - 1;
    put(blob, end, 0, &encoded_int(value), 1);
}

pub fn push_front<B: Blob + ?Sized>(blob: &mut B, text: &[u8]) {
    put(blob, HEADER, 0, &encoded(text), 1);
}

pub fn push_front_int<B: Blob + ?Sized>(blob: &mut B, value: i64) {
    put(blob, HEADER, 0, &encoded_int(value), 1);
}

/// Inserts before `before` and returns the new element's place, which is that same one.
pub fn insert<B: Blob + ?Sized>(blob: &mut B, before: Pos, text: &[u8]) -> Pos {
    put(blob, before.at(), 0, &encoded(text), 1);
    before
}

pub fn insert_int<B: Blob + ?Sized>(blob: &mut B, before: Pos, value: i64) -> Pos {
    put(blob, before.at(), 0, &encoded_int(value), 1);
    before
}

/// Inserts two elements in one move, before `before` or at the tail; returns the first one's place.
pub fn insert_pair<B: Blob + ?Sized>(blob: &mut B, before: Option<Pos>, key: &[u8], value: &[u8]) -> Pos {
    let at = before.map_or(blob.len() - 1, Pos::at);
    let mut both = encoded(key);
    encode(&mut both, value);
    put(blob, at, 0, &both, 2);
    Pos::new(at)
}

/// Puts `text` in the place of the element at `pos`; `pos` stays good.
pub fn replace<B: Blob + ?Sized>(blob: &mut B, pos: Pos, text: &[u8]) {
    let old = after(blob, pos.at()) - pos.at();
    put(blob, pos.at(), old, &encoded(text), 0);
}

pub fn replace_int<B: Blob + ?Sized>(blob: &mut B, pos: Pos, value: i64) {
    let old = after(blob, pos.at()) - pos.at();
    put(blob, pos.at(), old, &encoded_int(value), 0);
}

/// Overwrites an integer of one byte (0 to 127) with another; false, with nothing done, where either is none.
#[inline]
pub fn set_small(bytes: &mut [u8], pos: Pos, value: i64) -> bool {
    match (bytes.get_mut(pos.at()), value) {
        (Some(byte @ 0..=0x7F), 0..=0x7F) => {
            *byte = value as u8;
            true
        }
        _ => false,
    }
}

/// Removes the element at `pos`; returns where the one after it now is.
pub fn remove<B: Blob + ?Sized>(blob: &mut B, pos: Pos) -> Option<Pos> {
    remove_range(blob, pos, 1)
}

/// Removes up to `count` elements from `from` on; returns where the one after them now is.
pub fn remove_range<B: Blob + ?Sized>(blob: &mut B, from: Pos, count: usize) -> Option<Pos> {
    let bytes: &[u8] = blob;
    let (mut to, mut removed) = (from.at(), 0usize);
    while removed < count && bytes[to] != END {
        to = after(bytes, to);
        removed += 1;
    }
    put(blob, from.at(), to - from.at(), &[], -(removed as i64));
    Listpack(blob).pos(from.at())
}

/// Appends every text in one move.
pub fn extend<B: Blob + ?Sized>(blob: &mut B, texts: impl IntoIterator<Item = impl Borrow<[u8]>>) {
    let (mut all, mut added) = (Scratch::new(), 0);
    for text in texts {
        encode(&mut all, text.borrow());
        added += 1;
    }
    let end = blob.len() - 1;
    put(blob, end, 0, &all, added);
}

/// Elements on their way in, encoded: a record of mixed texts and integers goes in with one move.
#[derive(Default)]
pub struct Batch {
    bytes: Scratch,
    count: i64,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        encode(&mut self.bytes, text);
        self.count += 1;
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        encode_int(&mut self.bytes, value);
        self.count += 1;
    }

    /// Appends all of them to a listpack.
    pub fn append_to(&self, pack: &mut Vec<u8>) {
        pack.pop();
        pack.reserve(self.bytes.len() + 1);
        pack.extend_from_slice(&self.bytes);
        pack.push(END);
        settle(pack, self.count);
    }
}

/// Appends the elements of `other`.
pub fn append<B: Blob + ?Sized>(blob: &mut B, other: Listpack) {
    let end = blob.len() - 1;
    put(blob, end, 0, &other.0[HEADER..other.end()], other.len() as i64);
}

/// Puts the elements of `other` in front.
pub fn prepend<B: Blob + ?Sized>(blob: &mut B, other: Listpack) {
    put(blob, HEADER, 0, &other.0[HEADER..other.end()], other.len() as i64);
}

/// Moves the elements from `at` on into a listpack of their own.
pub fn split_off<B: Blob + ?Sized>(blob: &mut B, at: Pos) -> Vec<u8> {
    let view = Listpack(blob);
    let (moved, count, len) = (&view.0[at.at()..view.end()], view.count_from(at.at()), view.end() - at.at());
    let mut tail = Vec::with_capacity(len + empty().len());
    tail.extend_from_slice(&empty()[..HEADER]);
    tail.extend_from_slice(moved);
    tail.push(END);
    settle(&mut tail, count as i64);
    put(blob, at.at(), len, &[], -(count as i64));
    tail
}

/// The integer that `text` is the canonical text of: no sign but a `-`, no leading zero, no `-0`.
#[inline]
fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if text.len() <= INT_TEXT_MAX => {}
        _ => return None,
    }
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

fn int_text(value: i64, buf: &mut [u8; INT_TEXT_MAX]) -> &[u8] {
    let (mut at, mut rest) = (INT_TEXT_MAX, value.unsigned_abs());
    loop {
        at -= 1;
        buf[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buf[at] = b'-';
    }
    &buf[at..]
}

fn int_text_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
    digits + usize::from(value < 0)
}

/// What `find` compares with, prepared once. An element's last eight bytes are compared as one word: the bytes
/// before a short one are the header's or its neighbour's, and masked out.
struct Needle<'n> {
    text: &'n [u8],
    int: Option<i64>,
    word: u64,
    mask: u64,
}

impl<'n> Needle<'n> {
    fn new(text: &'n [u8]) -> Self {
        let mut last = [0; 8];
        let taken = text.len().min(8);
        last[8 - taken..].copy_from_slice(&text[text.len() - taken..]);
        let mask = if taken == 0 { 0 } else { u64::MAX << (64 - 8 * taken) };
        Needle { text, int: parse_int(text), word: u64::from_le_bytes(last), mask }
    }

    /// Whether `bytes[from..end]`, the body of a string, is the needle. At least seven bytes lie before `from`.
    #[inline]
    fn is_at(&self, bytes: &[u8], from: usize, end: usize) -> bool {
        let len = end - from;
        if len != self.text.len() {
            return false;
        }
        if len == 0 {
            return true;
        }
        let Some(last) = bytes[..end].last_chunk::<8>() else { return false };
        u64::from_le_bytes(*last) & self.mask == self.word
            && (len <= 8 || bytes[from..end - 8] == self.text[..len - 8])
    }

    fn is(&self, elem: Elem) -> bool {
        match elem {
            Elem::Int(v) => self.int == Some(v),
            Elem::Str(s) => s == self.text,
        }
    }
}

#[inline]
fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

#[inline]
fn count(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[4], bytes[5]])
}

/// Size of encoding and body of the element at `at`; `None` where that byte starts none or the bytes stop short.
#[inline]
fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(match *bytes.get(at)? {
        0..=0x7F => 1,
        head @ 0x80..=0xBF => 1 + usize::from(head & 0x3F),
        0xC0..=0xDF => 2,
        head @ 0xE0..=0xEF => 2 + usize::from(u16::from_be_bytes([head & 0x0F, *bytes.get(at + 1)?])),
        STR32 => (read_u32(bytes, at + 1)? as usize).checked_add(5)?,
        INT16 => 3,
        INT24 => 4,
        INT32 => 5,
        INT64 => 9,
        _ => return None,
    })
}

/// Where the element at `at` ends and the next one (or the terminator) is.
#[inline]
fn after(bytes: &[u8], at: usize) -> usize {
    match STEP[usize::from(bytes[at])] {
        0 => {
            let size = size_at(bytes, at).expect("an element is here");
            at + size + backlen_size(size)
        }
        step => at + usize::from(step),
    }
}

/// Bytes of a whole element by its first byte, 0 where that does not tell: one load beats a jump by kind when kinds
/// alternate, as in hashes.
static STEP: [u8; 256] = {
    let mut step = [0; 256];
    let mut head = 0;
    while head < 256 {
        step[head] = match head as u8 {
            0..=0x7F => 2,
            short @ 0x80..=0xBF => 2 + (short & 0x3F),
            0xC0..=0xDF => 3,
            INT16 => 4,
            INT24 => 5,
            INT32 => 6,
            INT64 => 10,
            _ => 0,
        };
        head += 1;
    }
    step
};

/// `after` for bytes that nobody checked yet: `None` unless the element ends by `end` with the right backlen.
fn checked_next(bytes: &[u8], at: usize, end: usize) -> Option<usize> {
    let size = size_at(bytes, at)?;
    let body_end = at.checked_add(size)?;
    let next = body_end.checked_add(backlen_size(size))?;
    if next > end {
        return None;
    }
    let groups = next - body_end;
    let backlen = bytes.get(body_end..next)?;
    let same = backlen.iter().enumerate().all(|(i, byte)| *byte == backlen_byte(size, groups, i));
    same.then_some(next)
}

/// Where the element that ends at `at` starts.
#[inline]
fn before(bytes: &[u8], at: usize) -> usize {
    let (mut size, mut shift, mut from) = (0usize, 0, at);
    loop {
        from -= 1;
        let byte = bytes[from];
        size |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return from - size;
        }
        shift += 7;
    }
}

#[inline]
fn decode(bytes: &[u8], at: usize) -> Elem<'_> {
    entry(bytes, at).0
}

/// The element at `at` and where the next one is.
#[inline]
fn entry(bytes: &[u8], at: usize) -> (Elem<'_>, usize) {
    let body = &bytes[at + 1..];
    let (elem, size) = match bytes[at] {
        head @ 0..=0x7F => (Elem::Int(head.into()), 1),
        head @ 0x80..=0xBF => {
            let len = usize::from(head & 0x3F);
            return (Elem::Str(&body[..len]), at + len + 2);
        }
        // Thirteen bits, moved to the top so that the shift back extends their sign.
        head @ 0xC0..=0xDF => {
            (Elem::Int((i16::from_be_bytes([head << 3 | body[0] >> 5, body[0] << 3]) >> 3).into()), 2)
        }
        head @ 0xE0..=0xEF => {
            let len = usize::from(u16::from_be_bytes([head & 0x0F, body[0]]));
            (Elem::Str(&body[1..1 + len]), 2 + len)
        }
        STR32 => {
            let len = u32::from_le_bytes([body[0], body[1], body[2], body[3]]) as usize;
            (Elem::Str(&body[4..4 + len]), 5 + len)
        }
        // One path for the four widths, as no branch can foresee which comes: eight bytes of which the upper ones
        // are not the element's, shifted out and the sign back in.
        head @ INT16..=INT64 => {
            let step = usize::from(STEP[usize::from(head)]);
            let raw = body.first_chunk().copied().unwrap_or_else(|| {
                let mut raw = [0; 8];
                raw[..step - 2].copy_from_slice(&body[..step - 2]);
                raw
            });
            let unused = 64 - 8 * (step - 2);
            return (Elem::Int((i64::from_le_bytes(raw) << unused) >> unused), at + step);
        }
        head => panic!("no element starts with {head:#x}"),
    };
    (elem, at + size + backlen_size(size))
}

/// Bytes of the backlen of an element of `size`. The bounds of the two- and three-byte forms are one short of what
/// seven-bit groups could hold; Redis writes them so.
#[inline]
fn backlen_size(size: usize) -> usize {
    match size {
        0..=0x7F => 1,
        0x80..=0x3FFE => 2,
        0x3FFF..=0x1F_FFFE => 3,
        0x1F_FFFF..=0xFFF_FFFE => 4,
        _ => 5,
    }
}

fn put_backlen(out: &mut Scratch, size: usize) {
    let groups = backlen_size(size);
    out.extend((0..groups).map(|i| backlen_byte(size, groups, i)));
}

/// Byte `i` of a backlen: seven bits each, most significant first. Every byte but the first is marked, so that a
/// reader coming from the right knows where to stop.
#[inline]
fn backlen_byte(size: usize, groups: usize, i: usize) -> u8 {
    let mark = if i == 0 { 0 } else { 0x80 };
    (size >> (7 * (groups - 1 - i))) as u8 & 0x7F | mark
}

fn encoded(text: &[u8]) -> Scratch {
    let mut out = Scratch::new();
    encode(&mut out, text);
    out
}

fn encoded_int(value: i64) -> Scratch {
    let mut out = Scratch::new();
    encode_int(&mut out, value);
    out
}

fn encode(out: &mut Scratch, text: &[u8]) {
    if let Some(value) = parse_int(text) {
        return encode_int(out, value);
    }
    let start = out.len();
    out.reserve(text.len() + 10);
    match text.len() {
        len @ 0..=0x3F => out.push(0x80 | len as u8),
        len @ 0x40..=0xFFF => out.extend_from_slice(&(0xE000 | len as u16).to_be_bytes()),
        len => {
            let len = u32::try_from(len).expect("an element is below 4 GiB");
            out.push(STR32);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(text);
    put_backlen(out, out.len() - start);
}

fn encode_int(out: &mut Scratch, value: i64) {
    let le = value.to_le_bytes();
    let size = int_entry_size(value) - 1;
    match size {
        1 => out.push(le[0]),
        2 => out.extend_from_slice(&[0xC0 | le[1] & 0x1F, le[0]]),
        _ => {
            out.push(match size {
                3 => INT16,
                4 => INT24,
                5 => INT32,
                _ => INT64,
            });
            out.extend_from_slice(&le[..size - 1]);
        }
    }
    out.push(size as u8);
}

/// Every edit: `insert` in the place of `remove` bytes at `at`, and the header to match.
fn put<B: Blob + ?Sized>(blob: &mut B, at: usize, remove: usize, insert: &[u8], added: i64) {
    blob.splice(at, remove, insert);
    settle(blob.bytes_mut(), added);
}

/// Writes the header after an edit. An unknown count stays unknown, as in Redis.
fn settle(bytes: &mut [u8], added: i64) {
    let total = u32::try_from(bytes.len()).expect("a listpack is below 4 GiB");
    bytes[..4].copy_from_slice(&total.to_le_bytes());
    let old = count(bytes);
    if old != COUNT_UNKNOWN {
        let new = u16::try_from(i64::from(old) + added).unwrap_or(COUNT_UNKNOWN);
        bytes[4..HEADER].copy_from_slice(&new.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(texts: &[&[u8]]) -> Vec<u8> {
        let mut lp = empty().to_vec();
        extend(&mut lp, texts.iter().copied());
        lp
    }

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    fn texts(lp: &[u8]) -> Vec<Vec<u8>> {
        Listpack::new(lp).iter().map(|e| e.to_vec()).collect()
    }

    /// What Redis 7.0 dumps for a list of one element.
    #[test]
    fn one_element_has_redis_bytes() {
        for (text, hex) in [
            ("0", "0900000001000001ff"),
            ("1", "0900000001000101ff"),
            ("127", "0900000001007f01ff"),
            ("128", "0a0000000100c08002ff"),
            ("-1", "0a0000000100dfff02ff"),
            ("4095", "0a0000000100cfff02ff"),
            ("4096", "0b0000000100f1001003ff"),
            ("-4096", "0a0000000100d00002ff"),
            ("-4097", "0b0000000100f1ffef03ff"),
            ("32767", "0b0000000100f1ff7f03ff"),
            ("32768", "0c0000000100f200800004ff"),
            ("-32768", "0b0000000100f1008003ff"),
            ("-32769", "0c0000000100f2ff7fff04ff"),
            ("8388607", "0c0000000100f2ffff7f04ff"),
            ("8388608", "0d0000000100f30000800005ff"),
            ("-8388608", "0c0000000100f200008004ff"),
            ("-8388609", "0d0000000100f3ffff7fff05ff"),
            ("2147483647", "0d0000000100f3ffffff7f05ff"),
            ("2147483648", "110000000100f4000000800000000009ff"),
            ("-2147483648", "0d0000000100f30000008005ff"),
            ("-2147483649", "110000000100f4ffffff7fffffffff09ff"),
            ("9223372036854775807", "110000000100f4ffffffffffffff7f09ff"),
            ("9223372036854775808", "1c0000000100933932323333373230333638353437373538303814ff"),
            ("-9223372036854775808", "110000000100f4000000000000008009ff"),
            ("-9223372036854775809", "1d0000000100942d3932323333373230333638353437373538303915ff"),
            ("-0", "0b0000000100822d3003ff"),
            ("00", "0b000000010082303003ff"),
            ("01", "0b000000010082303103ff"),
            ("+1", "0b0000000100822b3103ff"),
            ("-", "0a0000000100812d02ff"),
            ("1.5", "0c000000010083312e3504ff"),
            ("a", "0a0000000100816102ff"),
            ("", "0900000001008001ff"),
            (" 1", "0b000000010082203103ff"),
        ] {
            let lp = pack(&[text.as_bytes()]);
            assert_eq!(lp, unhex(hex), "{text:?}");
            assert_eq!(lp.len() - 7, entry_size(text.as_bytes()), "{text:?}");
            assert_eq!(texts(&lp), [text.as_bytes()]);
            assert!(Listpack::validate(&lp, true));
        }
    }

    /// Header, encoding and backlen that Redis 7.0 dumps around a string of `len` x.
    #[test]
    fn strings_at_the_size_edges_have_redis_bytes() {
        for (len, header, encoding, backlen) in [
            (63, "480000000100", "bf", "40"),
            (64, "4a0000000100", "e040", "42"),
            (125, "870000000100", "e07d", "7f"),
            (126, "890000000100", "e07e", "0180"),
            (4095, "0a1000000100", "efff", "2081"),
            (4096, "0e1000000100", "f000100000", "2085"),
            (16377, "074000000100", "f0f93f0000", "7ffe"),
            (16378, "094000000100", "f0fa3f0000", "00ffff"),
            (16379, "0a4000000100", "f0fb3f0000", "018080"),
            (60000, "6fea00000100", "f060ea0000", "03d4e5"),
        ] {
            let text = vec![b'x'; len];
            let expected = [&unhex(header)[..], &unhex(encoding), &text, &unhex(backlen), &[END]].concat();
            let lp = pack(&[&text]);
            assert!(lp == expected, "{len}");
            assert!(Listpack::validate(&lp, true), "{len}");
            assert_eq!(entry_size(&text), lp.len() - 7, "{len}");
            assert_eq!(Listpack::new(&lp).last(), Listpack::new(&lp).first(), "{len}");
            assert!(Listpack::new(&lp).find(&text, 0, None).is_some());
        }
    }

    /// The payloads of a hash and of a list after a few edits, from Redis 7.0.
    #[test]
    fn small_values_have_redis_bytes() {
        let mut hash = empty().to_vec();
        for (field, value) in [("name", "ada"), ("age", "36"), ("score", "-1.5"), ("big", "123456789012")] {
            insert_pair(&mut hash, None, field.as_bytes(), value.as_bytes());
        }
        let dumped = b"5\x00\x00\x00\x08\x00\x84name\x05\x83ada\x04\x83age\x04$\x01\x85score\x06\x84-1.5\x05\x83big\x04\xf4\x14\x1a\x99\xbe\x1c\x00\x00\x00\t\xff";
        assert_eq!(hash, dumped);

        let mut list = pack(&[b"a", b"b", b"c"]);
        push_front(&mut list, b"z");
        let b = Listpack::new(&list).find(b"b", 0, None).unwrap();
        let c = remove(&mut list, b).unwrap();
        insert(&mut list, c, b"77");
        let first = Listpack::new(&list).first().unwrap();
        replace(&mut list, first, b"4096");
        assert_eq!(list, b"\x13\x00\x00\x00\x04\x00\xf1\x00\x10\x03\x81a\x02M\x01\x81c\x02\xff");
    }

    #[test]
    fn integers_at_every_edge_survive() {
        let edges = [0, 127, 4095, 4096, 32767, 8_388_607, i64::from(i32::MAX), i64::MAX];
        for edge in edges.into_iter().flat_map(|e| [e, -e, !e]) {
            for v in [edge.saturating_sub(1), edge, edge.saturating_add(1)] {
                let text = v.to_string();
                let (mut lp, mut by_int) = (pack(&[b"k", text.as_bytes()]), pack(&[b"k"]));
                push_back_int(&mut by_int, v);
                assert_eq!(lp, by_int);
                let view = Listpack::new(&lp);
                let (_, pos) = view.find_pair(b"k").unwrap();
                let elem = view.get(pos);
                assert!(matches!(elem, Elem::Int(got) if got == v), "{v}: {elem:?}");
                assert_eq!((elem.len(), elem.as_i64()), (text.len(), Some(v)));
                assert!(elem.eq_bytes(text.as_bytes()) && elem.cmp_bytes(text.as_bytes()).is_eq());
                assert_eq!(view.find(text.as_bytes(), 0, None), Some(pos));
                assert_eq!((view.last(), view.prev(pos)), (Some(pos), view.first()));
                replace_int(&mut lp, pos, 5);
                assert_eq!(texts(&lp), [b"k", b"5"]);
            }
        }
    }

    #[test]
    fn elements_compare_as_text() {
        assert_eq!(Elem::Int(10).cmp_bytes(b"9"), Ordering::Less);
        assert_eq!(Elem::Str(b"b").cmp_bytes(b"a"), Ordering::Greater);
        assert!(!Elem::Int(1).eq_bytes(b"01") && Elem::Str(b"01").eq_bytes(b"01"));
        assert_eq!((Elem::Str(b"01").as_i64(), Elem::Str(b"").is_empty()), (None, true));
    }

    #[test]
    fn find_pair_looks_at_keys_only() {
        let lp = pack(&[b"a", b"b", b"b", b"12", b"12", b"", b"", b"a long one that exceeds eight bytes"]);
        let view = Listpack::new(&lp);
        let value = |key: &[u8]| view.find_pair(key).map(|(_, v)| view.get(v).to_vec());
        assert_eq!(value(b"b"), Some(b"12".to_vec()));
        assert_eq!(value(b"12"), Some(vec![]));
        assert_eq!(value(b""), Some(b"a long one that exceeds eight bytes".to_vec()));
        assert_eq!(value(b"a long one that exceeds eight bytes"), None);
        assert_eq!(view.find(b"a long one that exceeds eight bytes", 0, None), view.last());
        assert_eq!(view.find(b"b long one that exceeds eight bytes", 0, None), None);
        assert_eq!(view.find(b"b", 0, view.seek(2)), view.seek(2));
        assert_eq!(
            view.pairs().rev().map(|(k, _)| k.to_vec()).collect::<Vec<_>>(),
            [&b""[..], b"12", b"b", b"a"]
        );
    }

    #[test]
    fn a_sloppy_encoding_is_still_found() {
        // "5" as a string, 5 as 16 bits, "ab" with a twelve-bit length.
        let lp = unhex("130000000300813502f1050003e002616204ff");
        assert!(Listpack::validate(&lp, true));
        let view = Listpack::new(&lp);
        assert_eq!(view.find(b"5", 0, None), view.first());
        assert_eq!(view.find(b"5", 0, view.seek(1)), view.seek(1));
        assert_eq!(view.find(b"ab", 0, None), view.last());
    }

    #[test]
    fn count_is_unknown_from_65535_on() {
        let mut lp = pack(&vec![&b"x"[..]; 65534]);
        assert_eq!(count(&lp), 65534);
        push_back(&mut lp, b"y");
        assert_eq!((count(&lp), Listpack::new(&lp).len()), (COUNT_UNKNOWN, 65535));
        let view = Listpack::new(&lp);
        assert_eq!((view.seek(-65536), view.seek(65535), view.seek(65534)), (None, None, view.last()));
        assert_eq!((view.seek(-65535), view.seek(-1)), (view.first(), view.last()));
        let at = view.seek(10).unwrap();
        assert_eq!(remove_range(&mut lp, at, usize::MAX), None);
        assert_eq!((count(&lp), Listpack::new(&lp).len()), (COUNT_UNKNOWN, 10));
        assert!(Listpack::validate(&lp, true));
        lp[4..6].copy_from_slice(&9u16.to_le_bytes());
        assert!(!Listpack::validate(&lp, true));
    }

    #[test]
    fn validate_refuses_every_truncation_and_header_lie() {
        let lp = pack(&[b"hello", b"300", &[b'x'; 200], b"-9000000", &[b'y'; 5000]]);
        for cut in 0..lp.len() {
            assert!(!Listpack::validate(&lp[..cut], false));
            // The same cut with a header that agrees and a terminator.
            let mut short = lp[..cut].to_vec();
            if cut > HEADER {
                short[cut - 1] = END;
                short[..4].copy_from_slice(&(cut as u32).to_le_bytes());
                assert!(Listpack::validate(&short, false));
            }
            assert!(!Listpack::validate(&short, true));
        }
        let mut wrong = lp.clone();
        wrong[12] ^= 1;
        assert!(!Listpack::validate(&wrong, true), "backlen of the first element");
        let huge = unhex("0d0000000100f0ffffffff05ff");
        assert!(!Listpack::validate(&huge, true));
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (any::<i64>(), 0..64u32).prop_map(|(v, s)| (v >> s).to_string().into_bytes()),
            4 => prop::collection::vec(prop::sample::select(b"ab01-".to_vec()), 0..12),
            2 => prop::collection::vec(any::<u8>(), 0..130),
            1 => (prop::sample::select(vec![62, 63, 64, 65, 124, 125, 126, 127, 4094, 4095, 4096, 4097]), any::<u8>())
                .prop_map(|(n, b)| vec![b; n]),
        ]
    }

    #[derive(Clone, Debug)]
    enum Op {
        Back(Vec<u8>),
        Front(Vec<u8>),
        Insert(usize, Vec<u8>),
        Pair(usize, Vec<u8>, Vec<u8>),
        Replace(usize, Vec<u8>),
        ReplaceInt(usize, i64),
        Remove(usize, usize),
        Extend(Vec<Vec<u8>>),
        Split(usize, bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        let i = any::<usize>;
        prop_oneof![
            3 => text().prop_map(Op::Back),
            2 => text().prop_map(Op::Front),
            3 => (i(), text()).prop_map(|(i, t)| Op::Insert(i, t)),
            1 => (i(), text(), text()).prop_map(|(i, k, v)| Op::Pair(i, k, v)),
            3 => (i(), text()).prop_map(|(i, t)| Op::Replace(i, t)),
            1 => (i(), any::<i64>()).prop_map(|(i, v)| Op::ReplaceInt(i, v)),
            3 => (i(), 0..4usize).prop_map(|(i, n)| Op::Remove(i, n)),
            1 => prop::collection::vec(text(), 0..6).prop_map(Op::Extend),
            1 => (i(), any::<bool>()).prop_map(|(i, b)| Op::Split(i, b)),
        ]
    }

    fn apply(lp: &mut Vec<u8>, model: &mut Vec<Vec<u8>>, op: Op) {
        let len = model.len();
        let place = |i: usize| if len == 0 { 0 } else { i % len };
        let seek = |lp: &Vec<u8>, i: usize| Listpack::new(lp).seek(i as i64);
        match op {
            Op::Back(t) => {
                push_back(lp, &t);
                model.push(t);
            }
            Op::Front(t) => {
                push_front(lp, &t);
                model.insert(0, t);
            }
            Op::Pair(i, k, v) => {
                let i = i % (len + 1);
                let before = seek(lp, i);
                insert_pair(lp, before, &k, &v);
                model.splice(i..i, [k, v]);
            }
            Op::Extend(ts) => {
                extend(lp, ts.iter().map(Vec::as_slice));
                model.extend(ts);
            }
            _ if len == 0 => {}
            Op::Insert(i, t) => {
                let pos = seek(lp, place(i)).unwrap();
                assert_eq!(insert(lp, pos, &t), pos);
                model.insert(place(i), t);
            }
            Op::Replace(i, t) => {
                let pos = seek(lp, place(i)).unwrap();
                replace(lp, pos, &t);
                model[place(i)] = t;
            }
            Op::ReplaceInt(i, v) => {
                let pos = seek(lp, place(i)).unwrap();
                replace_int(lp, pos, v);
                model[place(i)] = v.to_string().into_bytes();
            }
            Op::Remove(i, n) => {
                let pos = seek(lp, place(i)).unwrap();
                let next = remove_range(lp, pos, n);
                let end = len.min(place(i) + n);
                model.drain(place(i)..end);
                assert_eq!(next, seek(lp, place(i)));
            }
            Op::Split(i, swap) => {
                let pos = seek(lp, place(i)).unwrap();
                let mut tail = split_off(lp, pos);
                assert!(Listpack::validate(lp, true) && Listpack::validate(&tail, true));
                assert_eq!(
                    (texts(lp), texts(&tail)),
                    (model[..place(i)].to_vec(), model[place(i)..].to_vec())
                );
                if swap {
                    append(&mut tail, Listpack::new(lp));
                    *lp = tail;
                    model.rotate_left(place(i));
                } else {
                    prepend(&mut tail, Listpack::new(lp));
                    *lp = tail;
                }
            }
        }
    }

    fn check(lp: &[u8], model: &[Vec<u8>]) {
        assert!(Listpack::validate(lp, true));
        let view = Listpack::new(lp);
        assert_eq!(
            (view.len(), view.is_empty(), view.bytes_len()),
            (model.len(), model.is_empty(), lp.len())
        );
        assert_eq!(texts(lp), model);
        assert!(view.iter().rev().map(|e| e.to_vec()).eq(model.iter().rev().cloned()));
        let (mut forward, mut at) = (vec![], view.first());
        while let Some(pos) = at {
            forward.push(pos);
            at = view.next(pos);
        }
        let (mut backward, mut at) = (vec![], view.last());
        while let Some(pos) = at {
            backward.push(pos);
            at = view.prev(pos);
        }
        backward.reverse();
        assert_eq!(forward, backward);
        let n = model.len() as i64;
        for i in -n - 1..=n {
            let expected = if (-n..n).contains(&i) { Some(forward[i.rem_euclid(n) as usize]) } else { None };
            assert_eq!(view.seek(i), expected);
        }
        for (i, text) in model.iter().enumerate() {
            let elem = view.get(forward[i]);
            assert!(elem.len() == text.len() && elem.eq_bytes(text));
            assert_eq!(elem.cmp_bytes(&model[0]), text.as_slice().cmp(&model[0]));
            for skip in 0..3 {
                let expected = (0..model.len()).step_by(skip + 1).find(|&j| model[j] == *text);
                assert_eq!(view.find(text, skip, None), expected.map(|j| forward[j]));
            }
        }
        assert_eq!(view.iter_from(view.seek(1)).count(), model.len().saturating_sub(1));
        // Bytes do not depend on the way there.
        let mut fresh = empty().to_vec();
        model.iter().for_each(|t| push_back(&mut fresh, t));
        assert!(fresh == lp);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn edits_match_a_vec(ops in prop::collection::vec(op(), 1..40)) {
            let (mut lp, mut model) = (empty().to_vec(), vec![]);
            for op in ops {
                apply(&mut lp, &mut model, op);
            }
            check(&lp, &model);
        }

        #[test]
        fn integers_parse_as_the_standard_library_prints(v in any::<i64>(), shift in 0..64u32, junk in "[-+0-9a ]{0,21}") {
            let text = (v >> shift).to_string();
            prop_assert_eq!(parse_int(text.as_bytes()), Some(v >> shift));
            let canonical = junk.parse::<i64>().ok().filter(|v| v.to_string() == junk);
            prop_assert_eq!(parse_int(junk.as_bytes()), canonical);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Damaged bytes are refused or read to their end, in both directions, without a panic.
        #[test]
        fn damaged_bytes_never_panic(
            texts in prop::collection::vec(text(), 0..5),
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
            body in prop::collection::vec(any::<u8>(), 0..24),
        ) {
            let mut lp = empty().to_vec();
            extend(&mut lp, texts.iter().map(Vec::as_slice));
            lp.splice(HEADER..HEADER, body);
            settle(&mut lp, 0);
            lp[4..HEADER].fill(0xFF);
            let len = lp.len();
            for (at, byte) in flips {
                lp[at % len] = byte;
            }
            Listpack::validate(&lp, false);
            if Listpack::validate(&lp, true) {
                let view = Listpack::new(&lp);
                let forward: Vec<_> = view.iter().map(|e| e.to_vec()).collect();
                let mut backward: Vec<_> = view.iter().rev().map(|e| e.to_vec()).collect();
                backward.reverse();
                prop_assert_eq!(forward, backward);
                view.find(b"none", 1, None);
            }
        }
    }
}
