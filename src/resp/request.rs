//! The incremental request parser, the hottest code of the server: no allocation once warm, no logging, no state per byte.
//!
//! The caller hands over its read buffer, which begins at the request being parsed, and after `Complete` drops that many
//! bytes. After `Incomplete` it comes back with the same bytes and more behind them; the parser goes on where it
//! stopped, so a request that arrives in pieces costs time linear in its size.
//!
//! What is accepted is exactly what Redis accepts. It looks at no byte after a `\r` (that should be `\n`), nor at the two
//! bytes behind a bulk; a NUL hides the end of a line; numbers have no sign `+` and no leading zeros. How the bytes
//! were cut into pieces never changes the outcome.
#![allow(unexpected_cfgs, reason = "cargo-fuzz sets `fuzzing`")]
use super::args::{Args, Span};

/// Parsers hold on to at most this much after [`Parser::shrink`].
const KEPT_SPANS: usize = 64;
const KEPT_INLINE_BYTES: usize = 1024;

/// Redis reads an argument from this size on into a buffer of its own.
const LONG_BULK_BYTES: usize = 32 * 1024;
const UNAUTHENTICATED_MULTIBULK_MAX: i64 = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: u64 = 16 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct ParseLimits {
    /// Bytes in one argument (`proto-max-bulk-len`). A replica reading from its master sets `usize::MAX`.
    pub max_bulk: usize,
    /// Arguments in one request.
    pub max_multibulk: i64,
    /// Bytes in an inline request, and in the line that announces a count or a length.
    pub max_inline: usize,
    /// Clients that have not logged in get 10 arguments of 16 KiB at most.
    pub authenticated: bool,
}

impl Default for ParseLimits {
    fn default() -> Self {
        ParseLimits {
            max_bulk: 512 * 1024 * 1024,
            max_multibulk: i32::MAX as i64,
            max_inline: 64 * 1024,
            authenticated: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// At least `need` more bytes are missing. The number comes from the client: reserve no more than a bounded part.
    Incomplete { need: usize },
    /// The request's arguments are known, and it takes up this many bytes of the buffer.
    Complete { consumed: usize },
}

/// The client does not speak RESP: tell it why (after `-ERR `) and close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("Protocol error: too big mbulk count string")]
    TooBigCountLine,
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulk,
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulk,
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkLine,
    /// The byte found instead; [`ProtocolError::text`] keeps it as it is where it is not ASCII.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    #[error("Protocol error: invalid bulk length")]
    InvalidBulk,
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulk,
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text as bytes, equal to Redis's even where the offending byte is no ASCII.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::ExpectedBulk(byte) => [b"Protocol error: expected '$', got '", &[*byte][..], b"'"].concat(),
            other => other.to_string().into_bytes(),
        }
    }
}

/// One connection's parser, used for all its requests.
#[derive(Debug, Default)]
pub struct Parser {
    spans: Vec<Span>,
    /// The unquoted arguments of an inline request, which the spans then refer to.
    inline: Vec<u8>,
    is_inline: bool,
    /// Arguments of the current multibulk that are still to come; 0 between requests.
    missing: usize,
    /// Where the next of them begins.
    pos: usize,
    /// How far the search for the current line's end came; meaningful behind the line's start only.
    searched: usize,
    /// Where the long argument begins of which a part is missing; 0 when there is none.
    payload: usize,
}

impl Parser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the request that `buf` begins with. See the module for what `buf` must be.
    #[inline]
    pub fn next(&mut self, buf: &[u8], limits: &ParseLimits) -> Result<Status, ProtocolError> {
        let mut pos = self.pos;
        if self.missing == 0 {
            self.spans.clear();
            match short_header(buf, 0, b'*') {
                Some((count, start)) if (1..=10).contains(&count) && count as i64 <= limits.max_multibulk => {
                    self.is_inline = false;
                    self.missing = count;
                    pos = start;
                }
                _ => match self.begin(buf, limits)? {
                    None => pos = self.pos,
                    Some(status) => return Ok(status),
                },
            }
        }
        // The stores to `self` happen once at the end: this loop runs in registers.
        let mut missing = self.missing;
        while missing != 0 {
            let Some((len, start)) = short_header(buf, pos, b'$').filter(|&(len, _)| len <= limits.max_bulk)
            else {
                (self.pos, self.missing) = (pos, missing);
                match self.long_bulk(buf, limits)? {
                    None => {
                        (pos, missing) = (self.pos, self.missing);
                        continue;
                    }
                    Some(status) => return Ok(status),
                }
            };
            // No overflow: a short header's length is below 1000.
            let end = start + len + 2;
            if end > buf.len() {
                (self.pos, self.missing) = (pos, missing);
                return Ok(Status::Incomplete { need: end - buf.len() });
            }
            self.spans.push(Span { start, len });
            pos = end;
            missing -= 1;
        }
        (self.pos, self.missing, self.searched, self.payload) = (0, 0, 0, 0);
        Ok(Status::Complete { consumed: pos })
    }

    /// The arguments of the request that was just completed; `buf` is what [`Parser::next`] was given.
    #[inline]
    pub fn args<'b>(&'b self, buf: &'b [u8]) -> Args<'b> {
        Args::new(if self.is_inline { &self.inline } else { buf }, &self.spans)
    }

    /// Forgets a request of which only a part has come.
    pub fn reset(&mut self) {
        self.spans.clear();
        self.inline.clear();
        (self.missing, self.pos, self.searched, self.payload) = (0, 0, 0, 0);
    }

    /// Gives back what a giant request took. Only between requests: the last one's arguments are forgotten.
    pub fn shrink(&mut self) {
        if self.missing == 0 {
            self.spans.clear();
            self.spans.shrink_to(KEPT_SPANS);
            self.inline.clear();
            self.inline.shrink_to(KEPT_INLINE_BYTES);
        }
    }

    /// Bytes of the begun request before a long argument that is still coming: no part of what clients see as the query
    /// buffer, as Redis has parsed them away by then.
    pub fn settled(&self) -> usize {
        self.payload
    }

    /// Heap bytes held, for the accounting of clients' memory.
    pub fn memory_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.inline.capacity()
    }

    /// The start of a request that is no short multibulk. None: `missing` and `pos` are set, go on with the arguments.
    #[cold]
    fn begin(&mut self, buf: &[u8], limits: &ParseLimits) -> Result<Option<Status>, ProtocolError> {
        match buf.first() {
            None => return Ok(Some(Status::Incomplete { need: 1 })),
            Some(b'*') => self.is_inline = false,
            Some(_) => return self.inline_request(buf, limits).map(Some),
        }
        let end = match self.line(buf, 0, limits) {
            Line::End(end) => end,
            Line::Incomplete => return Ok(Some(Status::Incomplete { need: 1 })),
            Line::TooLong => return Err(self.fail(ProtocolError::TooBigCountLine)),
        };
        let count = match integer(buf.get(1..end).unwrap_or_default()) {
            Some(count) if count <= limits.max_multibulk => count,
            _ => return Err(self.fail(ProtocolError::InvalidMultibulk)),
        };
        if count > UNAUTHENTICATED_MULTIBULK_MAX && !limits.authenticated {
            return Err(self.fail(ProtocolError::UnauthenticatedMultibulk));
        }
        if count <= 0 {
            self.searched = 0;
            return Ok(Some(Status::Complete { consumed: end + 2 }));
        }
        self.missing = count as usize;
        self.pos = end + 2;
        Ok(None)
    }

    /// An argument whose header the short path does not take: long, broken or not here yet. None: it has been stored.
    fn long_bulk(&mut self, buf: &[u8], limits: &ParseLimits) -> Result<Option<Status>, ProtocolError> {
        let at = self.pos;
        let end = match self.line(buf, at, limits) {
            Line::End(end) => end,
            Line::Incomplete => return Ok(Some(Status::Incomplete { need: 3 })),
            Line::TooLong => return Err(self.fail(ProtocolError::TooBigBulkLine)),
        };
        let header = buf.get(at..end).unwrap_or_default();
        let len = match header.split_first() {
            Some((b'$', digits)) => integer(digits).and_then(|len| u64::try_from(len).ok()),
            other => {
                let got = other.map_or(b'\r', |(byte, _)| *byte);
                return Err(self.fail(ProtocolError::ExpectedBulk(got)));
            }
        };
        let Some(len) = len.filter(|&len| len <= limits.max_bulk as u64) else {
            return Err(self.fail(ProtocolError::InvalidBulk));
        };
        if len > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
            return Err(self.fail(ProtocolError::UnauthenticatedBulk));
        }
        let (start, len) = (end + 2, len as usize);
        let have = buf.len() - start;
        let need = len.saturating_add(2);
        if have < need {
            self.payload = if len >= LONG_BULK_BYTES { start } else { 0 };
            return Ok(Some(Status::Incomplete { need: need - have }));
        }
        self.spans.push(Span { start, len });
        self.pos = start + need;
        self.missing -= 1;
        Ok(None)
    }

    /// The `\r` that ends the header line at `at`, once the byte behind it has come too.
    #[inline]
    fn line(&mut self, buf: &[u8], at: usize, limits: &ParseLimits) -> Line {
        // The lengths of ordinary long arguments: a loop over at most 20 digits beats a call into memchr.
        let digits = buf.get(at + 1..).unwrap_or_default().iter().take(20);
        let end = at + 1 + digits.take_while(|byte| byte.is_ascii_digit()).count();
        let hidden = buf.get(at) == Some(&0);
        if !hidden && buf.get(end) == Some(&b'\r') && end + 1 < buf.len() && end - at <= limits.max_inline {
            return Line::End(end);
        }
        match self.search(b'\r', buf, at, limits) {
            Line::End(end) if end + 2 > buf.len() => {
                self.searched = end;
                Line::Incomplete
            }
            found => found,
        }
    }

    /// The first `byte` of the line at `at`, unless a NUL comes before it: Redis's search stops at one and waits for more.
    fn search(&mut self, byte: u8, buf: &[u8], at: usize, limits: &ParseLimits) -> Line {
        let window = buf.len().min(at.saturating_add(limits.max_inline).saturating_add(1));
        let from = self.searched.max(at);
        let found = buf.get(from..window).and_then(|part| memchr::memchr2(byte, 0, part)).map(|i| from + i);
        match found {
            Some(end) if buf.get(end) == Some(&byte) => Line::End(end),
            _ if buf.len().saturating_sub(at) > limits.max_inline => Line::TooLong,
            hidden => {
                self.searched = hidden.unwrap_or(window);
                Line::Incomplete
            }
        }
    }

    fn inline_request(&mut self, buf: &[u8], limits: &ParseLimits) -> Result<Status, ProtocolError> {
        self.is_inline = true;
        let end = match self.search(b'\n', buf, 0, limits) {
            Line::End(end) => end,
            Line::Incomplete => return Ok(Status::Incomplete { need: 1 }),
            Line::TooLong => return Err(self.fail(ProtocolError::TooBigInline)),
        };
        let line = buf.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.searched = 0;
        self.inline.clear();
        match split_words(line, &mut self.inline, &mut self.spans) {
            Some(()) => Ok(Status::Complete { consumed: end + 1 }),
            None => Err(self.fail(ProtocolError::UnbalancedQuotes)),
        }
    }

    #[cold]
    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.reset();
        error
    }
}

enum Line {
    End(usize),
    Incomplete,
    TooLong,
}

/// The header at `at` if it is all there and has one to three digits, as nearly all have: the number, and where the
/// header ends. Anything else is None, for the exact code to judge; the smallest argument, `$0\r\n\r\n`, has six bytes.
#[inline(always)]
fn short_header(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let &[first, a, b, c, d, _] = buf.get(at..)?.first_chunk::<6>()?;
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    let a = digit(a);
    if first != kind || a > 9 {
        return None;
    }
    if b == b'\r' {
        return Some((a, at + 4));
    }
    let b = digit(b);
    if a == 0 || b > 9 {
        return None;
    }
    if c == b'\r' {
        return Some((a * 10 + b, at + 5));
    }
    let c = digit(c);
    (c <= 9 && d == b'\r').then_some((a * 100 + b * 10 + c, at + 6))
}

/// A decimal as Redis reads it: an optional `-`, no `+`, no leading zeros, no `-0`, within i64.
fn integer(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-").unwrap_or(text) {
        [b'1'..=b'9', ..] => std::str::from_utf8(text).ok()?.parse().ok(),
        b"0" if text.len() == 1 => Some(0),
        _ => None,
    }
}

/// Splits an inline request into words, after the quoting rules of redis-cli: "..." knows \n \r \t \b \a \xHH and takes any
/// other escaped byte as it is, '...' knows only \', and what follows a closing quote must be white space. A word may
/// switch into quotes midway. None: unbalanced quotes.
fn split_words(line: &[u8], bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<()> {
    // C's isspace() separates words and must follow a quote; a bare word ends only at the four of `ends_word`.
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let ends_word = |byte: u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let mut rest = line;
    loop {
        while let Some((byte, tail)) = rest.split_first() {
            if !is_space(byte) {
                break;
            }
            rest = tail;
        }
        if rest.is_empty() {
            return Some(());
        }
        let start = bytes.len();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                _ if ends_word(byte) => break,
                b'"' | b'\'' => {
                    rest =
                        if byte == b'"' { double_quoted(tail, bytes)? } else { single_quoted(tail, bytes)? };
                    if !rest.first().is_none_or(is_space) {
                        return None;
                    }
                    break;
                }
                _ => bytes.push(byte),
            }
        }
        spans.push(Span { start, len: bytes.len() - start });
    }
}

/// What follows the closing quote. The same for the two below: None when there is no such quote.
fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, tail) = match rest {
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                };
                (byte, tail)
            }
            [byte, tail @ ..] => (*byte, tail),
            [] => return None,
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, tail) = match rest {
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
            [] => return None,
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// What must hold for any bytes, checked by panicking. The fuzz target calls it, and so does a test.
///
/// 1. The pieces in which the bytes arrive change nothing, and `need` never asks for too much.
/// 2. A request in the one form that clients write is read alike by the `redis-protocol` crate, and one that it reads as an
///    array of bulk strings in that form is accepted.
#[cfg(any(test, fuzzing))]
pub fn check(data: &[u8]) {
    use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

    let limits = ParseLimits { max_bulk: 1 << 20, ..Default::default() };
    let outcome = |parser: &mut Parser, buf: &[u8]| {
        let status = parser.next(buf, &limits);
        let args: Vec<Vec<u8>> = match status {
            Ok(Status::Complete { .. }) => parser.args(buf).iter().map(<[u8]>::to_vec).collect(),
            _ => Vec::new(),
        };
        (status, args)
    };
    let (status, args) = outcome(&mut Parser::new(), data);

    // The first byte, as the size of the pieces, also makes the fuzzer try many sizes.
    for piece in [1, usize::from(data.first().copied().unwrap_or(0)) % 29 + 2] {
        let mut parser = Parser::new();
        let mut least = 0;
        for end in (0..data.len()).step_by(piece).chain([data.len()]) {
            let part = data.get(..end).unwrap_or_default();
            match outcome(&mut parser, part) {
                (Ok(Status::Incomplete { need }), _) => {
                    assert!(need > 0, "needs nothing at {end}");
                    assert!(end < data.len() || status == Ok(Status::Incomplete { need }), "{status:?}");
                    least = end + need;
                }
                early => {
                    assert_eq!(early, (status, args.clone()), "pieces of {piece}");
                    assert!(early.0.is_err() || least <= end, "asked for {least}, done at {end}");
                    break;
                }
            }
        }
    }

    let canonical = |args: &[Vec<u8>]| {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        request
    };
    let oracle = match decode(data) {
        Ok(Some((OwnedFrame::Array(frames), consumed))) => frames
            .into_iter()
            .map(|frame| if let OwnedFrame::BulkString(bytes) = frame { Some(bytes) } else { None })
            .collect::<Option<Vec<_>>>()
            .map(|args| (args, consumed)),
        _ => None,
    };
    if let Ok(Status::Complete { consumed }) = status
        && data.get(..consumed) == Some(&canonical(&args))
    {
        assert_eq!(oracle, Some((args, consumed)), "read here only, or otherwise");
    } else if let Some((theirs, consumed)) = oracle
        && data.get(..consumed) == Some(&canonical(&theirs))
    {
        panic!("only the oracle reads {theirs:?}: {status:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INCOMPLETE: &str = "incomplete";

    /// The arguments and the bytes consumed, or the error's text.
    fn parse_with(buf: &[u8], limits: &ParseLimits) -> Result<(Vec<Vec<u8>>, usize), String> {
        let mut parser = Parser::new();
        match parser.next(buf, limits) {
            Ok(Status::Complete { consumed }) => {
                Ok((parser.args(buf).iter().map(<[u8]>::to_vec).collect(), consumed))
            }
            Ok(Status::Incomplete { .. }) => Err(INCOMPLETE.into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn parse(buf: &[u8]) -> Result<(Vec<Vec<u8>>, usize), String> {
        parse_with(buf, &ParseLimits::default())
    }

    fn words(buf: &[u8]) -> Vec<Vec<u8>> {
        let (args, consumed) = parse(buf).unwrap();
        assert_eq!(consumed, buf.len());
        args
    }

    fn error(buf: &[u8]) -> String {
        parse(buf).unwrap_err()
    }

    fn corpus() -> Vec<Vec<u8>> {
        let mut corpus: Vec<Vec<u8>> = [
            &b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"[..],
            b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nhello\r\n\0orld\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"\n",
            b"\r\n",
            b"  SET \"a\\x00\\n\" 'b\\'c' d\r\n",
            b"ECHO \"a\r\n",
            b"*1\rX$4\rXPINGzz",
            b"*1\r\n$04\r\nPING\r\n",
            b"*1\r\n:4\r\n",
            b"*1\r\n$-1\r\n",
            b"*99999999999999999999\r\n",
            b"*\r\n",
            b"*1\r\n$\r\n",
            b"*1\r\n\r\n",
            b"*2\0\r\n$1\r\na\r\n",
        ]
        .iter()
        .map(|bytes| bytes.to_vec())
        .collect();
        for len in [9, 10, 99, 100, 999, 1000, 1234, 20_000] {
            corpus.push(
                [format!("*2\r\n$3\r\nGET\r\n${len}\r\n").as_bytes(), &vec![b'x'; len], b"\r\n"].concat(),
            );
        }
        corpus.push([&b"*150\r\n"[..], &b"$2\r\nab\r\n".repeat(150)].concat());
        corpus
    }

    #[test]
    fn requests() {
        assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), [&b"GET"[..], b"k"]);
        assert_eq!(words(b"*1\r\n$0\r\n\r\n"), [b""]);
        assert_eq!(words(b"*1\rX$4\rYPINGzz"), [b"PING"], "terminators are not looked at");
        assert_eq!(parse(b"*0\r\nPING\r\n"), Ok((vec![], 4)));
        assert_eq!(parse(b"*-7\r\nPING\r\n"), Ok((vec![], 5)));
        for len in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 70_000] {
            let value = vec![b'v'; len];
            let request = [format!("*1\r\n${len}\r\n").as_bytes(), &value, b"\r\n"].concat();
            assert_eq!(words(&request), [value]);
        }
    }

    #[test]
    fn inline_requests() {
        assert_eq!(words(b"\r\n"), [b""; 0]);
        assert_eq!(words(b" \t\x0b\n"), [b""; 0]);
        assert_eq!(parse(b"PING\nPING\n"), Ok((vec![b"PING".to_vec()], 5)));
        assert_eq!(words(b"  set  k\tv \r\n"), [&b"set"[..], b"k", b"v"]);
        assert_eq!(words(b"ECHO \"a\\x41\\n\\r\\t\\b\\a\"\r\n"), [&b"ECHO"[..], b"aA\n\r\t\x08\x07"]);
        assert_eq!(words(b"ECHO \"\\x4\\xg1\\q\\\\\\\"\"\r\n"), [&b"ECHO"[..], b"x4xg1q\\\""]);
        assert_eq!(words(b"ECHO 'a\\'b\\n\"'\r\n"), [&b"ECHO"[..], b"a'b\\n\""]);
        assert_eq!(words(b"ECHO a\"b c\"\r\n"), [&b"ECHO"[..], b"ab c"]);
        assert_eq!(words(b"\"\" '' x\r\n"), [&b""[..], b"", b"x"]);
        assert_eq!(words(b"a\x0bb \"a\"\x0bb\r\n"), [&b"a\x0bb"[..], b"a", b"b"]);
        assert_eq!(words(b"a\rb\n"), [b"a", b"b"]);
        for unbalanced in
            [&b"\"a\r\n"[..], b"'a\r\n", b"\"a\"b\r\n", b"a''b\r\n", b"'a\\'\r\n", b"\"a\\\"\n", b"\"\\\n"]
        {
            assert_eq!(error(unbalanced), "Protocol error: unbalanced quotes in request");
        }
    }

    #[test]
    fn errors_have_the_texts_of_redis() {
        for count in
            [&b"*+1\r\n"[..], b"*01\r\n", b"*-0\r\n", b"*\r\n", b"*1a\r\n", b"*2147483648\r\n", b"*-\r\n"]
        {
            assert_eq!(error(count), "Protocol error: invalid multibulk length");
        }
        assert_eq!(error(b"*2147483647\r\n"), INCOMPLETE);
        for len in [&b"-1"[..], b"+1", b"01", b"", b"1a", b"536870913", b"99999999999999999999999"] {
            let request = [b"*1\r\n$", len, b"\r\n"].concat();
            assert_eq!(error(&request), "Protocol error: invalid bulk length");
        }
        assert_eq!(error(b"*1\r\n$536870912\r\n"), INCOMPLETE);
        for hidden in
            [&b"*\x001\r\n"[..], b"*1\r\n\x004\r\nPING\r\n", b"*1\r\n$\x004\r\nPING\r\n", b"PI\0NG\r\n"]
        {
            assert_eq!(error(hidden), INCOMPLETE, "a NUL hides the line's end");
        }
        assert_eq!(error(b"*1\r\n:1\r\n"), "Protocol error: expected '$', got ':'");
        assert_eq!(error(b"*1\r\n\r\n"), "Protocol error: expected '$', got '\r'");
        assert_eq!(ProtocolError::ExpectedBulk(0xff).text(), b"Protocol error: expected '$', got '\xff'");
        assert_eq!(ProtocolError::InvalidBulk.text(), b"Protocol error: invalid bulk length");
    }

    #[test]
    fn lines_are_bounded() {
        let max = ParseLimits::default().max_inline;
        for (start, text) in [
            (&b"*"[..], "Protocol error: too big mbulk count string"),
            (b"A", "Protocol error: too big inline request"),
            (b"\0", "Protocol error: too big inline request"),
            (b"*\0", "Protocol error: too big mbulk count string"),
        ] {
            let mut line = start.to_vec();
            line.resize(max, b'1');
            assert_eq!(error(&line), INCOMPLETE);
            line.resize(max + 1, b'1');
            assert_eq!(error(&line), text);
        }
        let mut line = b"*1\r\n$".to_vec();
        line.resize(4 + max + 1, b'1');
        assert_eq!(error(&line), "Protocol error: too big bulk count string");
        // The largest inline request is taken, whether or not it comes at once.
        let mut line = vec![b'a'; max];
        line.push(b'\n');
        assert_eq!(words(&line)[0].len(), max);
        line.insert(0, b'a');
        assert_eq!(error(&line), "Protocol error: too big inline request");
    }

    #[test]
    fn who_has_not_logged_in_gets_little() {
        let limits = ParseLimits { authenticated: false, ..Default::default() };
        let request = |count: usize, len: usize| {
            let arg = [format!("${len}\r\n").as_bytes(), &vec![b'x'; len], b"\r\n"].concat();
            [format!("*{count}\r\n").into_bytes(), arg.repeat(count)].concat()
        };
        assert!(parse_with(&request(10, 16384), &limits).is_ok());
        let text = |count, len| parse_with(&request(count, len), &limits).unwrap_err();
        assert_eq!(text(11, 1), "Protocol error: unauthenticated multibulk length");
        assert_eq!(text(100, 1), "Protocol error: unauthenticated multibulk length");
        assert_eq!(text(1, 16385), "Protocol error: unauthenticated bulk length");
    }

    #[test]
    fn small_limits_hold_on_the_short_path_too() {
        let limits = ParseLimits { max_bulk: 3, max_multibulk: 2, ..Default::default() };
        assert!(parse_with(b"*2\r\n$3\r\nabc\r\n$1\r\na\r\n", &limits).is_ok());
        let text = |buf| parse_with(buf, &limits).unwrap_err();
        assert_eq!(text(b"*1\r\n$4\r\nabcd\r\n"), "Protocol error: invalid bulk length");
        assert_eq!(text(b"*3\r\n$1\r\na\r\n"), "Protocol error: invalid multibulk length");
    }

    #[test]
    fn pieces_change_nothing() {
        for bytes in corpus() {
            check(&bytes);
            let limits = ParseLimits::default();
            let whole = parse(&bytes);
            for cut in 0..bytes.len() {
                let mut parser = Parser::new();
                if let Ok(Status::Incomplete { .. }) = parser.next(&bytes[..cut], &limits) {
                    let again = match parser.next(&bytes, &limits) {
                        Ok(Status::Complete { consumed }) => {
                            Ok((parser.args(&bytes).iter().map(<[u8]>::to_vec).collect(), consumed))
                        }
                        Ok(_) => Err(INCOMPLETE.to_string()),
                        Err(error) => Err(error.to_string()),
                    };
                    assert_eq!(again, whole, "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn one_parser_reads_a_whole_pipeline() {
        let good: Vec<_> = corpus().into_iter().filter(|bytes| parse(bytes).is_ok()).collect();
        let stream = good.concat();
        let (mut parser, mut at, mut count) = (Parser::new(), 0, 0);
        let mut expected: Vec<Vec<Vec<u8>>> = Vec::new();
        for bytes in &good {
            let mut rest = &bytes[..];
            while let Ok((args, consumed)) = parse(rest) {
                expected.push(args);
                rest = &rest[consumed..];
            }
        }
        while let Ok(Status::Complete { consumed }) = parser.next(&stream[at..], &ParseLimits::default()) {
            let args = parser.args(&stream[at..]);
            assert_eq!(args.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), expected[count]);
            at += consumed;
            count += 1;
        }
        assert_eq!((at, count), (stream.len(), expected.len()));
    }

    #[test]
    fn claims_cost_no_memory_and_giants_are_given_back() {
        let mut parser = Parser::new();
        let limits = ParseLimits::default();
        assert_eq!(
            parser.next(b"*2147483647\r\n$500000000\r\nx", &limits),
            Ok(Status::Incomplete { need: 500_000_001 })
        );
        assert!(parser.memory_bytes() < 1024);
        parser.reset();
        let giant = [&b"*20000\r\n"[..], &b"$1\r\na\r\n".repeat(20_000)].concat();
        assert_eq!(parser.next(&giant, &limits), Ok(Status::Complete { consumed: giant.len() }));
        parser.shrink();
        assert!(parser.memory_bytes() <= KEPT_SPANS * size_of::<Span>() + KEPT_INLINE_BYTES);
        assert!(parser.args(&giant).is_empty());
    }

    #[test]
    fn a_buffer_that_shrank_is_no_panic() {
        let mut parser = Parser::new();
        let limits = ParseLimits::default();
        for bytes in corpus() {
            for cut in 0..bytes.len().min(100) {
                parser.reset();
                let _ = parser.next(&bytes[..cut], &limits);
                let _ = parser.next(&bytes[..cut / 2], &limits);
                let _ = parser.next(b"", &limits);
            }
        }
    }

    /// What the fuzz target does, over the same mutations every time.
    #[test]
    fn mutated_requests() {
        let seeds: Vec<_> = corpus().into_iter().filter(|bytes| bytes.len() < 200).collect();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below
        };
        const BYTES: &[u8] = b"*$\r\n\0 0123456789-+:\"'\\xa";
        for _ in 0..20_000 {
            let mut bytes = seeds[random(seeds.len())].clone();
            for _ in 0..random(4) {
                let at = random(bytes.len() + 1);
                match random(4) {
                    0 => bytes.insert(at, BYTES[random(BYTES.len())]),
                    1 if at < bytes.len() => bytes[at] = BYTES[random(BYTES.len())],
                    2 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.truncate(at),
                }
            }
            check(&bytes);
        }
    }

    proptest! {
        #[test]
        fn valid_requests_as_the_oracle_encodes_them(
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1200), 1..20),
        ) {
            use redis_protocol::resp2::{encode::encode, types::{OwnedFrame, Resp2Frame}};
            let frame = OwnedFrame::Array(args.iter().cloned().map(OwnedFrame::BulkString).collect());
            let mut bytes = vec![0; frame.encode_len(false)];
            encode(&mut bytes, &frame, false).unwrap();
            prop_assert_eq!(words(&bytes), args);
        }
    }
}
