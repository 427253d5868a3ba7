//! The arguments of a request: borrowed spans of a buffer ([`Args`]) or one owned allocation of bytes ([`OwnedArgs`]).
//!
//! Argument 0 is the command's name. A request may have no arguments at all (`*0`, a blank inline line).
use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Index, Range};

/// Where one argument lies in its buffer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Span {
    #[inline]
    pub fn new(start: usize, len: usize) -> Self {
        Span { start, len }
    }

    #[inline(always)]
    fn of(self, buf: &[u8]) -> Option<&[u8]> {
        buf.get(self.start..)?.get(..self.len)
    }
}

/// A borrowed request: a buffer and the spans of its arguments.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Spans that lie outside of the buffer are absent arguments.
    #[inline]
    pub fn new(buf: &'a [u8], spans: &'a [Span]) -> Self {
        Args { buf, spans }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.spans.get(i)?.of(self.buf)
    }

    /// Like indexing, but the argument lives as long as the buffer. Panics past the end, so only for positions that the
    /// command's arity vouches for.
    #[inline]
    #[track_caller]
    pub fn at(&self, i: usize) -> &'a [u8] {
        match self.get(i) {
            Some(arg) => arg,
            None => panic!("argument {i} of {}", self.spans.len()),
        }
    }

    /// The buffer that the arguments lie in.
    #[inline]
    pub fn buffer(&self) -> &'a [u8] {
        self.buf
    }

    /// The command's name as the client wrote it; empty for an empty request.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.get(0).unwrap_or_default()
    }

    /// The arguments from `i` on; empty past the end.
    #[inline]
    pub fn from(self, i: usize) -> Args<'a> {
        Args { buf: self.buf, spans: self.spans.get(i..).unwrap_or_default() }
    }

    /// The arguments of `range`, cut at the end of the request.
    #[inline]
    pub fn slice(self, range: Range<usize>) -> Args<'a> {
        let end = range.end.min(self.spans.len());
        Args { buf: self.buf, spans: self.spans.get(range.start..end).unwrap_or_default() }
    }

    #[inline]
    pub fn iter(&self) -> ArgsIter<'a> {
        ArgsIter { buf: self.buf, spans: self.spans.iter() }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// Panics past the end: see [`Args::at`].
    #[inline]
    #[track_caller]
    fn index(&self, i: usize) -> &[u8] {
        self.at(i)
    }
}

impl<'a> IntoIterator for Args<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgsIter<'a>;

    #[inline]
    fn into_iter(self) -> ArgsIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

#[derive(Clone)]
pub struct ArgsIter<'a> {
    buf: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for ArgsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.spans.next().map(|span| span.of(self.buf).unwrap_or_default())
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        self.spans.nth(n).map(|span| span.of(self.buf).unwrap_or_default())
    }
}

impl DoubleEndedIterator for ArgsIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.spans.next_back().map(|span| span.of(self.buf).unwrap_or_default())
    }
}

impl ExactSizeIterator for ArgsIter<'_> {}
impl FusedIterator for ArgsIter<'_> {}

/// A request that outlives its read buffer: all bytes in one allocation, all spans in another.
#[derive(Clone, Default)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies the arguments only, not what lies between them in the read buffer.
    pub fn from_args(args: Args<'_>) -> Self {
        let mut owned = OwnedArgs {
            bytes: Vec::with_capacity(args.spans.iter().map(|span| span.len).sum()),
            spans: Vec::with_capacity(args.len()),
        };
        owned.extend(args);
        owned
    }

    pub fn as_args(&self) -> Args<'_> {
        Args { buf: &self.bytes, spans: &self.spans }
    }

    pub fn push(&mut self, arg: &[u8]) {
        self.spans.push(Span { start: self.bytes.len(), len: arg.len() });
        self.bytes.extend_from_slice(arg);
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Heap bytes held, for MEMORY USAGE of clients and the MULTI queue's limit.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<T: AsRef<[u8]>> Extend<T> for OwnedArgs {
    fn extend<I: IntoIterator<Item = T>>(&mut self, iter: I) {
        for arg in iter {
            self.push(arg.as_ref());
        }
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut owned = OwnedArgs::new();
        owned.extend(iter);
        owned
    }
}

impl fmt::Debug for OwnedArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_args().fmt(f)
    }
}

/// Is this argument the option `word`, in any ASCII case?
#[inline]
pub fn eq_nocase(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_views() {
        let owned = OwnedArgs::from_iter(["SET", "k", "", "EX"]);
        let args = owned.as_args();
        assert_eq!((args.len(), args.name(), &args[1], args.get(4)), (4, &b"SET"[..], &b"k"[..], None));
        assert_eq!(args.iter().rev().collect::<Vec<_>>(), [&b"EX"[..], b"", b"k", b"SET"]);
        assert_eq!(args.iter().len(), 4);
        assert_eq!(args.iter().nth(1), Some(&b"k"[..]));
        assert_eq!(args.from(3).iter().collect::<Vec<_>>(), [b"EX"]);
        assert!(args.from(4).is_empty() && args.from(9).is_empty());
        assert_eq!(args.slice(1..3).iter().collect::<Vec<_>>(), [&b"k"[..], b""]);
        assert_eq!(args.slice(1..99).len(), 3);
        assert!(args.slice(7..9).is_empty() && args.slice(2..2).is_empty());
        assert_eq!(OwnedArgs::new().as_args().name(), b"");
    }

    #[test]
    fn owning_copies_no_more_than_the_arguments() {
        let buf = b"....abc....de...";
        let spans = [Span { start: 4, len: 3 }, Span { start: 11, len: 2 }];
        let owned = OwnedArgs::from_args(Args::new(buf, &spans));
        assert_eq!(owned.as_args().iter().collect::<Vec<_>>(), [&b"abc"[..], b"de"]);
        assert_eq!(owned.memory_bytes(), 5 + 2 * size_of::<Span>());
    }

    #[test]
    fn a_span_outside_the_buffer_is_absent() {
        let spans = [Span { start: 2, len: 9 }, Span { start: usize::MAX, len: usize::MAX }];
        let args = Args::new(b"abc", &spans);
        assert_eq!((args.get(0), args.get(1), args.iter().next()), (None, None, Some(&b""[..])));
    }

    #[test]
    fn words_ignore_case() {
        assert!(eq_nocase(b"wItHsCoReS", "WITHSCORES") && !eq_nocase(b"WITHSCORE", "WITHSCORES"));
    }
}
