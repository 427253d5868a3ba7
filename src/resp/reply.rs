//! Replies: RESP2 or RESP3, written once, into the connection's output buffer. Hot: no allocation once the buffer has grown.
//!
//! Bytes leave in the order of `buf`, except that each shared string goes out at its offset, between what stands before
//! and behind that offset in `buf`. Offsets ascend. Marks and deferred positions are offsets into `buf`; no shared
//! string ever lies exactly at one, since its header and its `\r\n` surround it.
use std::io::IoSlice;
use std::sync::Arc;

use crate::base::num::write_f64;

/// Strings of this size are referred to rather than copied: below it, copying costs less than a cache line that cores share
/// and one more slice for the kernel.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// Linux takes at most this many slices in one call (IOV_MAX).
const IO_SLICES_MAX: usize = 1024;

#[derive(Debug, Default)]
pub struct Reply {
    /// Everything but the shared strings.
    pub buf: Vec<u8>,
    /// Offset in `buf` at which each goes out, ascending.
    shared: Vec<(usize, Arc<Vec<u8>>)>,
    shared_bytes: usize,
    resp3: bool,
}

impl Reply {
    pub fn new(resp3: bool) -> Self {
        Reply { resp3, ..Default::default() }
    }

    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    #[inline]
    pub fn resp3(&self) -> bool {
        self.resp3
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A status; line breaks in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error with its code word, as in `ERR no such key`; line breaks in it become spaces.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// The same where the text quotes what a client sent, which need not be UTF-8.
    #[cold]
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.line(b'-', text);
    }

    #[inline]
    pub fn int(&mut self, n: i64) {
        if let Ok(small @ 0..100) = usize::try_from(n) {
            return self.header(b':', small);
        }
        self.buf.push(b':');
        push_int(&mut self.buf, n);
        self.crlf();
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() + 24);
        self.header(b'$', bytes.len());
        self.buf.extend_from_slice(bytes);
        self.crlf();
    }

    #[inline]
    pub fn bulk_str(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// The decimal of `n`, as a bulk string.
    pub fn bulk_int(&mut self, n: i64) {
        let mut digits = [0; INT_BYTES_MAX];
        let at = format_int(&mut digits, n);
        self.bulk(&digits[at..]);
    }

    /// The shortest decimal of `n`, as a bulk string in both protocols.
    pub fn bulk_f64(&mut self, n: f64) {
        // The length stands first, so the number is written behind a header that has room for any length: two digits.
        let at = self.buf.len();
        self.buf.extend_from_slice(b"$00\r\n");
        write_f64(&mut self.buf, n);
        let len = self.buf.len() - at - 5;
        self.crlf();
        if len < 10 {
            self.buf[at + 1] = b'0' + len as u8;
            self.buf.remove(at + 2);
        } else {
            debug_assert!(len < 100, "no double takes 100 bytes");
            self.buf[at + 1] = b'0' + (len / 10 % 10) as u8;
            self.buf[at + 2] = b'0' + (len % 10) as u8;
        }
    }

    /// A score or another double: RESP3 `,`, RESP2 bulk string.
    pub fn double(&mut self, n: f64) {
        if !self.resp3 {
            return self.bulk_f64(n);
        }
        self.buf.push(b',');
        write_f64(&mut self.buf, n);
        self.crlf();
    }

    /// An already formatted number (INCRBYFLOAT's 17 digits): RESP3 `,`, RESP2 bulk string.
    pub fn human_longdouble(&mut self, text: &[u8]) {
        if self.resp3 { self.line(b',', text) } else { self.bulk(text) }
    }

    /// What is not there: RESP3 `_`, RESP2 the null bulk string.
    #[inline]
    pub fn null(&mut self) {
        self.buf.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// The same where an array would have stood: RESP3 `_`, RESP2 the null array.
    #[inline]
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// RESP3 `#t` or `#f`, RESP2 1 or 0.
    pub fn bool(&mut self, value: bool) {
        let text: &[u8; 4] = match (self.resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        };
        self.buf.extend_from_slice(text);
    }

    /// `n` replies follow. The same for the next five; a map's are `2 * n`.
    #[inline]
    pub fn array(&mut self, n: usize) {
        self.header(b'*', n);
    }

    #[inline]
    pub fn empty_array(&mut self) {
        self.buf.extend_from_slice(b"*0\r\n");
    }

    pub fn map(&mut self, pairs: usize) {
        let (kind, n) = self.aggregate(Aggregate::Map, pairs);
        self.header(kind, n);
    }

    pub fn set(&mut self, n: usize) {
        let (kind, n) = self.aggregate(Aggregate::Set, n);
        self.header(kind, n);
    }

    /// An out-of-band message (pub/sub, invalidation).
    pub fn push(&mut self, n: usize) {
        let (kind, n) = self.aggregate(Aggregate::Push, n);
        self.header(kind, n);
    }

    /// RESP3 only. False: RESP2 has no such thing, nothing was written, leave the pairs out too.
    #[must_use]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        if self.resp3 {
            self.header(b'|', pairs);
        }
        self.resp3
    }

    /// Text for a human; `format` is three letters, "txt" or "mkd" (cut or filled up to three). RESP2: a bulk string.
    pub fn verbatim(&mut self, format: &str, bytes: &[u8]) {
        if !self.resp3 {
            return self.bulk(bytes);
        }
        let mut kind = [b' '; 3];
        for (to, from) in kind.iter_mut().zip(format.bytes()) {
            *to = from;
        }
        self.header(b'=', bytes.len() + 4);
        self.buf.extend_from_slice(&[kind[0], kind[1], kind[2], b':']);
        self.buf.extend_from_slice(bytes);
        self.crlf();
    }

    /// An integer past 64 bits, in decimal. RESP2: a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        if self.resp3 { self.line(b'(', digits.as_bytes()) } else { self.bulk_str(digits) }
    }

    /// Begins an aggregate whose length is not known yet; ended by one of the four `finish_` below, inner ones first.
    ///
    /// The header is put in afterwards, which moves what was written since: cheaper than a reserved gap as long as such replies
    /// stay below some hundred KiB. Where the length is known, say it.
    #[inline]
    pub fn defer(&self) -> usize {
        self.buf.len()
    }

    pub fn finish_array(&mut self, at: usize, n: usize) {
        self.insert_header(at, b'*', n);
    }

    pub fn finish_map(&mut self, at: usize, pairs: usize) {
        let (kind, n) = self.aggregate(Aggregate::Map, pairs);
        self.insert_header(at, kind, n);
    }

    pub fn finish_set(&mut self, at: usize, n: usize) {
        let (kind, n) = self.aggregate(Aggregate::Set, n);
        self.insert_header(at, kind, n);
    }

    pub fn finish_push(&mut self, at: usize, n: usize) {
        let (kind, n) = self.aggregate(Aggregate::Push, n);
        self.insert_header(at, kind, n);
    }

    /// Bytes that are RESP already.
    #[inline]
    pub fn raw(&mut self, resp: &[u8]) {
        self.buf.extend_from_slice(resp);
    }

    /// A bulk string that, when large, is not copied but kept alive until it has been sent.
    #[inline]
    pub fn bulk_shared(&mut self, bytes: &Arc<Vec<u8>>) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.bulk(bytes);
        }
        self.header(b'$', bytes.len());
        self.shared.push((self.buf.len(), Arc::clone(bytes)));
        self.shared_bytes += bytes.len();
        self.crlf();
    }

    /// Bytes in `buf`: the position that [`Reply::mark`] gives. What goes out is [`Reply::total_len`].
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// All bytes to send, shared strings included.
    #[inline]
    pub fn total_len(&self) -> usize {
        self.buf.len() + self.shared_bytes
    }

    /// Heap bytes that this reply keeps alive, for the limits on clients' output buffers.
    pub fn memory_bytes(&self) -> usize {
        self.buf.capacity() + self.shared.capacity() * size_of::<(usize, Arc<Vec<u8>>)>() + self.shared_bytes
    }

    /// Are there shared strings, so that `buf` alone is not the whole reply?
    #[inline]
    pub fn has_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    /// A place to come back to with [`Reply::truncate`].
    #[inline]
    pub fn mark(&self) -> usize {
        self.buf.len()
    }

    /// Takes back what was written since the mark.
    pub fn truncate(&mut self, mark: usize) {
        self.buf.truncate(mark);
        while let Some((_, bytes)) = self.shared.pop_if(|(at, _)| *at >= mark) {
            self.shared_bytes -= bytes.len();
        }
    }

    /// Forgets the first bytes of those that went out, as many as it can without touching a shared string that is still
    /// needed; tells how many of `sent` are left in here.
    pub fn drop_front(&mut self, sent: usize) -> usize {
        let mut left = sent;
        let (mut gone, mut done) = (0, 0);
        for (at, bytes) in &self.shared {
            if left < (at - gone) + bytes.len() {
                break;
            }
            left -= (at - gone) + bytes.len();
            (gone, done) = (*at, done + 1);
        }
        let end = self.shared.get(done).map_or(self.buf.len(), |(at, _)| *at);
        let more = left.min(end - gone);
        gone += more;
        self.shared_bytes -= self.shared.drain(..done).map(|(_, bytes)| bytes.len()).sum::<usize>();
        self.shared.iter_mut().for_each(|(at, _)| *at -= gone);
        self.buf.drain(..gone);
        left - more
    }

    /// Keeps the allocation for the next batch: see [`Reply::shrink`].
    pub fn clear(&mut self) {
        self.buf.clear();
        self.shared.clear();
        self.shared_bytes = 0;
    }

    /// Gives back capacity past `keep` bytes that is not in use.
    pub fn shrink(&mut self, keep: usize) {
        self.buf.shrink_to(keep);
        self.shared.shrink_to(0);
    }

    /// Puts all of `other` behind; it must be in the same protocol version to make sense to the client.
    pub fn append(&mut self, other: Reply) {
        if self.buf.is_empty() && other.buf.len() > self.buf.capacity() {
            *self = Reply { resp3: self.resp3, ..other };
            return;
        }
        let at = self.buf.len();
        self.buf.extend_from_slice(&other.buf);
        self.shared.extend(other.shared.into_iter().map(|(offset, bytes)| (at + offset, bytes)));
        self.shared_bytes += other.shared_bytes;
    }

    /// All bytes to send, piece by piece.
    pub fn for_each_slice<'a>(&'a self, mut each: impl FnMut(&'a [u8])) {
        let mut from = 0;
        for (at, bytes) in &self.shared {
            each(&self.buf[from..*at]);
            each(bytes);
            from = *at;
        }
        if from < self.buf.len() {
            each(&self.buf[from..]);
        }
    }

    /// Appends to `out` what is left to send after `skip` bytes have gone, as much of it as one writev takes.
    pub fn io_slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>, skip: usize) {
        let (mut skip, mut room) = (skip, IO_SLICES_MAX);
        let mut add = |part: &'a [u8]| {
            match part.get(skip..) {
                Some([]) | None => skip -= part.len(),
                Some(rest) => {
                    out.push(IoSlice::new(rest));
                    skip = 0;
                    room -= 1;
                }
            }
            room > 0
        };
        let mut from = 0;
        for (at, bytes) in &self.shared {
            if !add(&self.buf[from..*at]) || !add(bytes) {
                return;
            }
            from = *at;
        }
        add(&self.buf[from..]);
    }

    /// The whole reply in one piece, for those who decode it (scripts, the gateway).
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.total_len());
        self.for_each_slice(|part| all.extend_from_slice(part));
        all
    }

    #[inline(always)]
    fn crlf(&mut self) {
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Constant sizes on the two short paths become plain stores.
    #[inline(always)]
    fn header(&mut self, kind: u8, n: usize) {
        if n < 10 {
            self.buf.extend_from_slice(&[kind, b'0' + n as u8, b'\r', b'\n']);
        } else if n < 100 {
            let [tens, ones] = PAIRS[n];
            self.buf.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        } else {
            self.long_header(kind, n);
        }
    }

    fn long_header(&mut self, kind: u8, n: usize) {
        self.buf.push(kind);
        push_int(&mut self.buf, n as i64);
        self.crlf();
    }

    fn aggregate(&self, aggregate: Aggregate, n: usize) -> (u8, usize) {
        match (aggregate, self.resp3) {
            (Aggregate::Map, true) => (b'%', n),
            (Aggregate::Map, false) => (b'*', 2 * n),
            (Aggregate::Set, true) => (b'~', n),
            (Aggregate::Push, true) => (b'>', n),
            (Aggregate::Set | Aggregate::Push, false) => (b'*', n),
        }
    }

    fn insert_header(&mut self, at: usize, kind: u8, n: usize) {
        let end = self.buf.len();
        debug_assert!(at <= end, "deferred at {at}, but only {end} bytes are left");
        self.header(kind, n);
        let width = self.buf.len() - end;
        if let Some(since) = self.buf.get_mut(at..) {
            since.rotate_right(width);
            for (offset, _) in self.shared.iter_mut().rev().take_while(|(offset, _)| *offset >= at) {
                *offset += width;
            }
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.buf.push(kind);
        let at = self.buf.len();
        self.buf.extend_from_slice(text);
        for byte in &mut self.buf[at..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.crlf();
    }
}

#[derive(Clone, Copy)]
enum Aggregate {
    Map,
    Set,
    Push,
}

const INT_BYTES_MAX: usize = 20;

/// The two digits of 0 to 99.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Writes the decimal of `n` to the end of `to`; where it begins.
fn format_int(to: &mut [u8; INT_BYTES_MAX], n: i64) -> usize {
    let mut rest = n.unsigned_abs();
    let mut at = to.len();
    while rest >= 10 {
        at -= 2;
        to[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest > 0 || at == to.len() {
        at -= 1;
        to[at] = b'0' + rest as u8;
    }
    if n < 0 {
        at -= 1;
        to[at] = b'-';
    }
    at
}

fn push_int(to: &mut Vec<u8>, n: i64) {
    let mut digits = [0; INT_BYTES_MAX];
    let at = format_int(&mut digits, n);
    to.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redis_protocol::{resp2, resp3};

    /// What `write` makes of each protocol: RESP2, RESP3.
    fn both(write: impl Fn(&mut Reply)) -> [String; 2] {
        [false, true].map(|resp3| {
            let mut reply = Reply::new(resp3);
            write(&mut reply);
            assert_eq!(reply.total_len(), reply.to_vec().len());
            String::from_utf8(reply.to_vec()).unwrap()
        })
    }

    #[track_caller]
    fn same(text: &str, write: impl Fn(&mut Reply)) {
        assert_eq!(both(write), [text, text]);
    }

    #[test]
    fn alike_in_both_protocols() {
        same("+OK\r\n", Reply::ok);
        same("+PONG\r\n", |r| r.simple("PONG"));
        same("+a  b\r\n", |r| r.simple("a\r\nb"));
        same("-ERR a b  \r\n", |r| r.error("ERR a\nb\r\n"));
        same("$3\r\nabc\r\n", |r| r.bulk(b"abc"));
        same("$0\r\n\r\n", |r| r.bulk_str(""));
        same("$2\r\n-7\r\n", |r| r.bulk_int(-7));
        same("$20\r\n-9223372036854775808\r\n", |r| r.bulk_int(i64::MIN));
        same("$3\r\n1.5\r\n", |r| r.bulk_f64(1.5));
        same("$18\r\n0.1000000000000001\r\n", |r| r.bulk_f64(0.1000000000000001));
        same("*3\r\n", |r| r.array(3));
        same("*0\r\n", Reply::empty_array);
        same("*1000000\r\n", |r| r.array(1_000_000));
        same(":1\r\nxyz", |r| {
            r.int(1);
            r.raw(b"xyz");
        });
    }

    #[test]
    fn different_in_each_protocol() {
        assert_eq!(both(Reply::null), ["$-1\r\n", "_\r\n"]);
        assert_eq!(both(Reply::null_array), ["*-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.bool(true)), [":1\r\n", "#t\r\n"]);
        assert_eq!(both(|r| r.bool(false)), [":0\r\n", "#f\r\n"]);
        assert_eq!(both(|r| r.double(-2.5)), ["$4\r\n-2.5\r\n", ",-2.5\r\n"]);
        assert_eq!(both(|r| r.double(3.0)), ["$1\r\n3\r\n", ",3\r\n"]);
        assert_eq!(both(|r| r.double(f64::INFINITY)), ["$3\r\ninf\r\n", ",inf\r\n"]);
        assert_eq!(both(|r| r.double(f64::NEG_INFINITY)), ["$4\r\n-inf\r\n", ",-inf\r\n"]);
        assert_eq!(both(|r| r.double(f64::NAN)), ["$3\r\nnan\r\n", ",nan\r\n"]);
        assert_eq!(both(|r| r.human_longdouble(b"10.6")), ["$4\r\n10.6\r\n", ",10.6\r\n"]);
        assert_eq!(both(|r| r.map(51)), ["*102\r\n", "%51\r\n"]);
        assert_eq!(both(|r| r.set(4)), ["*4\r\n", "~4\r\n"]);
        assert_eq!(both(|r| r.push(4)), ["*4\r\n", ">4\r\n"]);
        assert_eq!(both(|r| assert_eq!(r.attribute(1), r.resp3())), ["", "|1\r\n"]);
        assert_eq!(both(|r| r.verbatim("txt", b"hi")), ["$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"]);
        assert_eq!(both(|r| r.verbatim("x", b"")), ["$0\r\n\r\n", "=4\r\nx  :\r\n"]);
        assert_eq!(both(|r| r.big_number("-123")), ["$4\r\n-123\r\n", "(-123\r\n"]);
    }

    #[test]
    fn integers_of_every_length() {
        let mut edges: Vec<i64> = vec![0, i64::MIN, i64::MAX];
        for power in 0..19 {
            let ten = 10_i64.pow(power);
            edges.extend([ten, ten - 1, ten + 1, -ten, 1 - ten, -ten - 1]);
        }
        for n in edges.into_iter().chain(-1000..1000) {
            same(&format!(":{n}\r\n"), |r| r.int(n));
            same(&format!("${}\r\n{n}\r\n", n.to_string().len()), |r| r.bulk_int(n));
        }
    }

    #[test]
    fn deferred_aggregates_nest() {
        let write = |r: &mut Reply| {
            r.int(0);
            let outer = r.defer();
            let map = r.defer();
            r.bulk(b"k");
            let set = r.defer();
            r.finish_set(set, 0);
            r.finish_map(map, 1);
            let array = r.defer();
            for n in 0..12 {
                r.int(n);
            }
            r.finish_array(array, 12);
            r.finish_push(outer, 2);
        };
        let numbers: String = (0..12).map(|n| format!(":{n}\r\n")).collect();
        assert_eq!(
            both(write),
            [
                format!(":0\r\n*2\r\n*2\r\n$1\r\nk\r\n*0\r\n*12\r\n{numbers}"),
                format!(":0\r\n>2\r\n%1\r\n$1\r\nk\r\n~0\r\n*12\r\n{numbers}"),
            ]
        );
    }

    fn big(byte: u8) -> Arc<Vec<u8>> {
        Arc::new(vec![byte; SHARED_BYTES_MIN])
    }

    fn big_text(byte: u8) -> String {
        format!("${SHARED_BYTES_MIN}\r\n{}\r\n", char::from(byte).to_string().repeat(SHARED_BYTES_MIN))
    }

    #[test]
    fn large_strings_are_shared() {
        let (a, b, small) = (big(b'a'), big(b'b'), Arc::new(vec![b'c'; SHARED_BYTES_MIN - 1]));
        let mut reply = Reply::new(false);
        let at = reply.defer();
        reply.bulk_shared(&a);
        reply.bulk_shared(&small);
        assert_eq!((Arc::strong_count(&a), Arc::strong_count(&small)), (2, 1));
        let mark = reply.mark();
        reply.bulk_shared(&b);
        reply.truncate(mark);
        assert_eq!((Arc::strong_count(&a), Arc::strong_count(&b)), (2, 1));
        reply.bulk_shared(&b);
        let inner = reply.defer();
        reply.int(7);
        reply.finish_array(inner, 1);
        reply.finish_array(at, 4);
        let small = format!("${}\r\n{}\r\n", small.len(), "c".repeat(small.len()));
        let text = format!("*4\r\n{}{small}{}*1\r\n:7\r\n", big_text(b'a'), big_text(b'b'));
        assert_eq!(String::from_utf8(reply.to_vec()).unwrap(), text);
        assert_eq!(reply.total_len(), text.len());
        assert!(reply.has_shared() && reply.memory_bytes() >= text.len());

        let mut all = Reply::new(true);
        all.append(Reply::new(true));
        all.ok();
        all.append(reply);
        assert_eq!(String::from_utf8(all.to_vec()).unwrap(), format!("+OK\r\n{text}"));
        assert!(all.resp3());
        all.clear();
        all.shrink(0);
        assert_eq!((all.total_len(), all.memory_bytes(), Arc::strong_count(&a)), (0, 0, 1));
    }

    #[test]
    fn appending_to_nothing_moves() {
        let mut other = Reply::new(false);
        other.bulk_shared(&big(b'x'));
        let mut reply = Reply::new(true);
        reply.append(other);
        assert_eq!(String::from_utf8(reply.to_vec()).unwrap(), big_text(b'x'));
        assert!(reply.resp3());
    }

    #[test]
    fn sending_resumes_anywhere() {
        let mut reply = Reply::new(false);
        reply.ok();
        reply.bulk_shared(&big(b'a'));
        reply.bulk_shared(&big(b'b'));
        let all = reply.to_vec();
        for skip in (0..all.len()).step_by(97).chain(all.len() - 3..=all.len() + 1).chain(0..20) {
            let mut slices = Vec::new();
            reply.io_slices(&mut slices, skip);
            let rest: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            assert_eq!(rest, all.get(skip..).unwrap_or_default(), "after {skip}");
            assert!(slices.iter().all(|slice| !slice.is_empty()));
        }
        let a = big(b'a');
        let mut many = Reply::new(false);
        (0..1000).for_each(|_| many.bulk_shared(&a));
        let mut slices = Vec::new();
        many.io_slices(&mut slices, 0);
        assert_eq!(slices.len(), IO_SLICES_MAX);
    }

    /// A reply as a tree, written by us and read by the oracle.
    #[derive(Clone, Debug)]
    enum Node {
        Ok,
        Simple(String),
        Error(String),
        Int(i64),
        Bulk(Vec<u8>),
        Double(f64),
        Null,
        Bool(bool),
        Verbatim(Vec<u8>),
        BigNumber(u128),
        Array(Vec<Node>),
        Push(Vec<Node>),
        /// Numbers only, without doubles: the oracle keeps sets and maps hashed.
        Set(Vec<i64>),
        Map(Vec<(i64, Node)>),
    }

    /// Aggregates are written with their lengths first, or deferred.
    fn write(reply: &mut Reply, node: &Node, deferred: bool) {
        let at = reply.defer();
        match node {
            Node::Ok => reply.ok(),
            Node::Simple(text) => reply.simple(text),
            Node::Error(text) => reply.error(text),
            Node::Int(n) => reply.int(*n),
            Node::Bulk(bytes) => reply.bulk(bytes),
            Node::Double(n) => reply.double(*n),
            Node::Null => reply.null(),
            Node::Bool(value) => reply.bool(*value),
            Node::Verbatim(bytes) => reply.verbatim("txt", bytes),
            Node::BigNumber(n) => reply.big_number(&n.to_string()),
            Node::Array(nodes) | Node::Push(nodes) => {
                let array = matches!(node, Node::Array(_));
                match (deferred, array) {
                    (false, true) => reply.array(nodes.len()),
                    (false, false) => reply.push(nodes.len()),
                    (true, _) => {}
                }
                nodes.iter().for_each(|node| write(reply, node, deferred));
                match (deferred, array) {
                    (true, true) => reply.finish_array(at, nodes.len()),
                    (true, false) => reply.finish_push(at, nodes.len()),
                    (false, _) => {}
                }
            }
            Node::Set(numbers) => {
                if !deferred {
                    reply.set(numbers.len());
                }
                numbers.iter().for_each(|n| reply.int(*n));
                if deferred {
                    reply.finish_set(at, numbers.len());
                }
            }
            Node::Map(pairs) => {
                if !deferred {
                    reply.map(pairs.len());
                }
                for (key, value) in pairs {
                    reply.int(*key);
                    write(reply, value, deferred);
                }
                if deferred {
                    reply.finish_map(at, pairs.len());
                }
            }
        }
    }

    fn frame2(node: &Node) -> resp2::types::OwnedFrame {
        use resp2::types::OwnedFrame as Frame;
        match node {
            Node::Ok => Frame::SimpleString(b"OK".to_vec()),
            Node::Simple(text) => Frame::SimpleString(text.clone().into_bytes()),
            Node::Error(text) => Frame::Error(text.clone()),
            Node::Int(n) => Frame::Integer(*n),
            Node::Bulk(bytes) | Node::Verbatim(bytes) => Frame::BulkString(bytes.clone()),
            Node::Double(n) => {
                let mut text = Vec::new();
                write_f64(&mut text, *n);
                Frame::BulkString(text)
            }
            Node::Null => Frame::Null,
            Node::Bool(value) => Frame::Integer(i64::from(*value)),
            Node::BigNumber(n) => Frame::BulkString(n.to_string().into_bytes()),
            Node::Array(nodes) | Node::Push(nodes) => Frame::Array(nodes.iter().map(frame2).collect()),
            Node::Set(numbers) => Frame::Array(numbers.iter().map(|n| Frame::Integer(*n)).collect()),
            Node::Map(pairs) => Frame::Array(
                pairs.iter().flat_map(|(key, value)| [Frame::Integer(*key), frame2(value)]).collect(),
            ),
        }
    }

    fn frame3(node: &Node) -> resp3::types::OwnedFrame {
        use resp3::types::{OwnedFrame as Frame, VerbatimStringFormat};
        let attributes = None;
        let number = |n: &i64| Frame::Number { data: *n, attributes: None };
        match node {
            Node::Ok => Frame::SimpleString { data: b"OK".to_vec(), attributes },
            Node::Simple(text) => Frame::SimpleString { data: text.clone().into_bytes(), attributes },
            Node::Error(text) => Frame::SimpleError { data: text.clone(), attributes },
            Node::Int(n) => number(n),
            Node::Bulk(bytes) => Frame::BlobString { data: bytes.clone(), attributes },
            Node::Double(n) => Frame::Double { data: *n, attributes },
            Node::Null => Frame::Null,
            Node::Bool(value) => Frame::Boolean { data: *value, attributes },
            Node::Verbatim(bytes) => {
                Frame::VerbatimString { data: bytes.clone(), format: VerbatimStringFormat::Text, attributes }
            }
            Node::BigNumber(n) => Frame::BigNumber { data: n.to_string().into_bytes(), attributes },
            Node::Array(nodes) => Frame::Array { data: nodes.iter().map(frame3).collect(), attributes },
            Node::Push(nodes) => Frame::Push { data: nodes.iter().map(frame3).collect(), attributes },
            Node::Set(numbers) => Frame::Set { data: numbers.iter().map(number).collect(), attributes },
            Node::Map(pairs) => Frame::Map {
                data: pairs.iter().map(|(key, value)| (number(key), frame3(value))).collect(),
                attributes,
            },
        }
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            Just(Node::Ok),
            "[a-zA-Z ]{0,20}".prop_map(Node::Simple),
            "ERR [a-zA-Z ]{0,20}".prop_map(Node::Error),
            any::<i64>().prop_map(Node::Int),
            (0..200_i64).prop_map(Node::Int),
            prop::collection::vec(any::<u8>(), 0..150).prop_map(Node::Bulk),
            (-1e30..1e30).prop_map(Node::Double),
            Just(Node::Null),
            any::<bool>().prop_map(Node::Bool),
            prop::collection::vec(any::<u8>(), 0..150).prop_map(Node::Verbatim),
            any::<u128>().prop_map(Node::BigNumber),
            prop::collection::hash_set(any::<i64>(), 0..12)
                .prop_map(|set| Node::Set(set.into_iter().collect())),
        ];
        leaf.prop_recursive(3, 40, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Node::Array),
                prop::collection::hash_map(any::<i64>(), inner, 0..6)
                    .prop_map(|map| Node::Map(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_oracle_reads_what_was_written(
            top in prop_oneof![node(), prop::collection::vec(node(), 1..6).prop_map(Node::Push)],
            deferred: bool,
        ) {
            let mut reply = Reply::new(false);
            write(&mut reply, &top, deferred);
            let read = resp2::decode::decode(&reply.buf).unwrap().unwrap();
            prop_assert_eq!(read, (frame2(&top), reply.len()));

            let mut reply = Reply::new(true);
            write(&mut reply, &top, deferred);
            let read = resp3::decode::complete::decode(&reply.buf).unwrap().unwrap();
            prop_assert_eq!(read, (frame3(&top), reply.len()));
        }
    }
}
