//! Commands out of one file.
//!
//! A file is a sequence of commands as clients send them (arrays of bulk strings, nothing else) and of annotations, lines
//! that begin with `#`; it may begin with a whole RDB file. It is read in large pieces, and handed out as [`Chunk`]s that own
//! their bytes, so that other threads can work on one while the next is read. A chunk never ends inside MULTI ... EXEC: a
//! transaction that the file ends in is never seen.
//!
//! Stricter than Redis's loader, as strict as redis-check-aof: each line ends in `\r\n`, transactions are not nested. No
//! length that a file states reserves memory: more than a piece is held only of bytes that were really there.
use crate::base::disk::{Disk, DiskRead};
use crate::resp::args::{Args, Span};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes in an annotation, and in a line that announces a count or a length.
const LINE_BYTES_MAX: usize = 1024;
/// What RDB files begin with, Redis's and Valkey's.
const RDB_MAGICS: [&[u8]; 2] = [b"REDIS", b"VALKEY"];

pub struct Reader {
    source: Box<dyn DiskRead>,
    /// The file's size when it was opened; what is appended later is not read.
    size: u64,
    piece_bytes: usize,
    /// What was read and not handed out, and where in the file it begins.
    carry: Vec<u8>,
    offset: u64,
    timestamp: Option<i64>,
    limit: Option<i64>,
    /// Lines handed out or passed over, as redis-check-aof counts them.
    lines: u64,
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ends inside a command, an annotation or a transaction; cut to `whole` bytes it would not.
    #[error("the file ends at offset {at}, {inside}")]
    Truncated { whole: u64, at: u64, inside: &'static str, line: u64 },
    /// An annotation of a later time than [`Reader::stop_after`] said; before it are `whole` bytes.
    #[error("a later time than {limit} at offset {whole}")]
    Later { whole: u64, limit: i64 },
    #[error("at offset {at}: {what}")]
    Format { whole: u64, at: u64, what: String, line: u64 },
}

/// Whole commands, and whole transactions, of one file.
#[derive(Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    commands: Vec<Found>,
    /// Where in the file `bytes` begins.
    offset: u64,
    /// The last `#TS:` before the chunk's end.
    timestamp: Option<i64>,
}

#[derive(Clone, Copy)]
struct Found {
    /// In `bytes`.
    start: usize,
    first_span: usize,
    spans: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Multi,
    Exec,
}

#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    pub args: Args<'a>,
    /// Where in the file it begins.
    pub offset: u64,
}

/// A command by itself, or those of a transaction, without its MULTI and EXEC.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    chunk: &'a Chunk,
    commands: &'a [Found],
    pub is_transaction: bool,
}

impl Chunk {
    /// Commands, those of transactions and MULTI and EXEC included.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// All commands in order, MULTI and EXEC included.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = Command<'_>> {
        self.commands.iter().map(|found| self.command(found))
    }

    /// What is to be done, in order: each step as a whole.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let mut rest = self.commands.as_slice();
        std::iter::from_fn(move || {
            let (first, tail) = rest.split_first()?;
            if first.kind != Kind::Multi {
                rest = tail;
                return Some(Step {
                    chunk: self,
                    commands: std::slice::from_ref(first),
                    is_transaction: false,
                });
            }
            let len = tail.iter().position(|found| found.kind == Kind::Exec).unwrap_or(tail.len());
            let (commands, after) = tail.split_at(len);
            rest = after.get(1..).unwrap_or_default();
            Some(Step { chunk: self, commands, is_transaction: true })
        })
    }

    /// Where in the file it begins, and the first byte behind it.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Seconds since 1970 of the last `#TS:` annotation before the chunk's end.
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    fn command(&self, found: &Found) -> Command<'_> {
        let spans = self.spans.get(found.first_span..found.first_span + found.spans).unwrap_or_default();
        Command { args: Args::new(&self.bytes, spans), offset: self.offset + found.start as u64 }
    }

    /// Gives back what a giant command took, but not what most need.
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4 * PIECE_BYTES);
        self.spans.clear();
        self.spans.shrink_to(PIECE_BYTES / 4);
        self.commands.clear();
        self.commands.shrink_to(PIECE_BYTES / 16);
    }
}

impl<'a> Step<'a> {
    pub fn commands(&self) -> impl ExactSizeIterator<Item = Command<'a>> {
        let chunk = self.chunk;
        self.commands.iter().map(|found| chunk.command(found))
    }
}

impl Reader {
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<Reader> {
        Reader::new(disk.open_read(path)?)
    }

    /// Reads from the source's beginning to what is its end now.
    pub fn new(source: Box<dyn DiskRead>) -> io::Result<Reader> {
        Reader::with_pieces(source, PIECE_BYTES)
    }

    pub(super) fn with_pieces(mut source: Box<dyn DiskRead>, piece_bytes: usize) -> io::Result<Reader> {
        let size = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(0))?;
        Ok(Reader {
            source,
            size,
            piece_bytes,
            carry: Vec::new(),
            offset: 0,
            timestamp: None,
            limit: None,
            lines: 0,
        })
    }

    /// Bytes in the file when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How far whole commands and transactions have been handed out.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Lines up to [`Reader::offset`], those of a preamble not counted.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Ends with [`ReadError::Later`] before what came after this time, in seconds since 1970, by the annotations.
    pub fn stop_after(&mut self, limit: Option<i64>) {
        self.limit = limit;
    }

    /// Whether the file begins with an RDB file. To be asked before anything else is read.
    pub fn has_preamble(&mut self) -> io::Result<bool> {
        let mut start = Vec::new();
        self.source.by_ref().take(8).read_to_end(&mut start)?;
        self.source.seek(SeekFrom::Start(0))?;
        Ok(RDB_MAGICS.iter().any(|magic| start.starts_with(magic)))
    }

    /// Lets `load` read the RDB file that this one begins with. It gets the file, at its beginning, and the size, may read
    /// further than it needs, and returns where the RDB file ends; what follows are commands.
    pub fn preamble<E: From<io::Error>>(
        &mut self,
        load: impl FnOnce(&mut dyn DiskRead, u64) -> Result<u64, E>,
    ) -> Result<(), E> {
        let end = load(&mut *self.source, self.size)?;
        self.source.seek(SeekFrom::Start(end))?;
        self.carry.clear();
        self.offset = end.min(self.size);
        Ok(())
    }

    /// Fills `chunk` with what comes next; false at the end of the file. What stands before an error comes first.
    pub fn next_chunk(&mut self, chunk: &mut Chunk) -> Result<bool, ReadError> {
        chunk.clear();
        std::mem::swap(&mut chunk.bytes, &mut self.carry);
        chunk.offset = self.offset;
        let mut parsed = Parsed::default();
        let want = self.piece_bytes.saturating_sub(chunk.bytes.len());
        self.read_more(&mut chunk.bytes, want)?;
        loop {
            match parsed.advance(chunk, self.limit) {
                Next::Again => {}
                _ if parsed.whole > 0 => break,
                Next::End => {
                    chunk.timestamp = self.timestamp;
                    return Ok(false);
                }
                Next::Need(need) => {
                    let have = chunk.bytes.len();
                    if need as u64 > self.size.saturating_sub(chunk.end()) {
                        return Err(self.truncated(chunk, &parsed));
                    }
                    // Doubled, so that what is parsed anew each time adds up to no more than the whole.
                    self.read_more(&mut chunk.bytes, need.max(have).max(self.piece_bytes))?;
                    if chunk.bytes.len() - have < need {
                        return Err(self.truncated(chunk, &parsed));
                    }
                }
                Next::Later(limit) => return Err(ReadError::Later { whole: self.offset, limit }),
                Next::Bad { at, what, lines } => {
                    let at = chunk.offset + at as u64;
                    let line = self.lines + parsed.lines + lines + 1;
                    return Err(ReadError::Format { whole: self.offset, at, what, line });
                }
            }
        }
        self.carry.clear();
        self.carry.extend_from_slice(chunk.bytes.get(parsed.whole..).unwrap_or_default());
        chunk.bytes.truncate(parsed.whole);
        chunk.commands.truncate(parsed.whole_commands);
        let spans = chunk.commands.last().map_or(0, |found| found.first_span + found.spans);
        chunk.spans.truncate(spans);
        self.offset += parsed.whole as u64;
        self.lines += parsed.whole_lines;
        self.timestamp = parsed.whole_timestamp.or(self.timestamp);
        chunk.timestamp = self.timestamp;
        Ok(true)
    }

    fn truncated(&self, chunk: &Chunk, parsed: &Parsed) -> ReadError {
        let inside = match chunk.bytes.get(parsed.at) {
            Some(b'#') => "inside an annotation",
            Some(_) => "inside a command",
            None => "before the EXEC of a MULTI",
        };
        let line = self.lines + parsed.lines + 1;
        ReadError::Truncated { whole: self.offset, at: self.size, inside, line }
    }

    /// Appends `want` bytes, or what the file still has.
    fn read_more(&mut self, bytes: &mut Vec<u8>, want: usize) -> io::Result<()> {
        let left = self.size.saturating_sub(self.offset + bytes.len() as u64);
        let want = left.min(want as u64);
        bytes.reserve(usize::try_from(want).unwrap_or(0));
        self.source.by_ref().take(want).read_to_end(bytes)?;
        Ok(())
    }
}

/// How far a chunk has been taken apart. The `whole_` ones are what ends outside of any transaction.
#[derive(Default)]
struct Parsed {
    at: usize,
    lines: u64,
    timestamp: Option<i64>,
    is_in_multi: bool,
    whole: usize,
    whole_commands: usize,
    whole_lines: u64,
    whole_timestamp: Option<i64>,
}

enum Next {
    Again,
    /// The bytes end here.
    End,
    /// At least so many bytes more.
    Need(usize),
    Later(i64),
    /// `lines` are those between the beginning of the command and what is wrong in it.
    Bad {
        at: usize,
        what: String,
        lines: u64,
    },
}

impl Parsed {
    /// Takes the next command or annotation.
    #[inline]
    fn advance(&mut self, chunk: &mut Chunk, limit: Option<i64>) -> Next {
        let start = self.at;
        match chunk.bytes.get(start) {
            None => return if self.is_in_multi { Next::Need(1) } else { Next::End },
            Some(b'*') => {}
            Some(b'#') => return self.annotation(&chunk.bytes, limit),
            Some(_) => return bad(&chunk.bytes, start, 0, "a command or an annotation ('*' or '#')"),
        }
        let first_span = chunk.spans.len();
        let (end, next) = command(&chunk.bytes, start, &mut chunk.spans);
        if !matches!(next, Next::Again) {
            chunk.spans.truncate(first_span);
            return next;
        }
        let spans = chunk.spans.len() - first_span;
        let found = Found { start, first_span, spans, kind: Kind::Plain };
        let name = chunk.command(&found).args.name();
        let kind = match name.len() {
            5 if name.eq_ignore_ascii_case(b"multi") => Kind::Multi,
            4 if name.eq_ignore_ascii_case(b"exec") => Kind::Exec,
            _ => Kind::Plain,
        };
        if kind == if self.is_in_multi { Kind::Multi } else { Kind::Exec } {
            chunk.spans.truncate(first_span);
            let what = if self.is_in_multi { "MULTI inside a MULTI" } else { "EXEC without a MULTI" };
            return Next::Bad { at: start, what: what.into(), lines: 0 };
        }
        chunk.commands.push(Found { kind, ..found });
        match kind {
            Kind::Multi => self.is_in_multi = true,
            Kind::Exec => self.is_in_multi = false,
            Kind::Plain => {}
        }
        self.pass(end, 1 + 2 * spans as u64);
        if !self.is_in_multi {
            self.whole_commands = chunk.commands.len();
        }
        Next::Again
    }

    #[inline]
    fn pass(&mut self, end: usize, lines: u64) {
        self.at = end;
        self.lines += lines;
        if !self.is_in_multi {
            (self.whole, self.whole_lines, self.whole_timestamp) = (end, self.lines, self.timestamp);
        }
    }

    fn annotation(&mut self, bytes: &[u8], limit: Option<i64>) -> Next {
        let line = bytes.get(self.at..).unwrap_or_default();
        let line = line.get(..LINE_BYTES_MAX).unwrap_or(line);
        let Some(len) = memchr::memchr(b'\n', line) else {
            return match line.len() < LINE_BYTES_MAX {
                true => Next::Need(1),
                false => bad(bytes, self.at, 0, "an annotation of no more than 1024 bytes"),
            };
        };
        if let Some(ts) = timestamp(line.get(..len).unwrap_or_default()) {
            if let Some(limit) = limit.filter(|&limit| ts > limit) {
                return Next::Later(limit);
            }
            self.timestamp = Some(ts);
        }
        self.pass(self.at + len + 1, 1);
        Next::Again
    }
}

/// The seconds of a `#TS:` annotation.
fn timestamp(line: &[u8]) -> Option<i64> {
    let digits = line.trim_ascii_end().strip_prefix(b"#TS:")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Takes the command at `at` apart. Not `Again`: nothing is known but what is missing or wrong.
#[inline]
fn command(bytes: &[u8], at: usize, spans: &mut Vec<Span>) -> (usize, Next) {
    let first = spans.len();
    let (count, mut pos) = match header(bytes, at, b'*', "the number of arguments") {
        Header::Is(count, pos) if count > 0 => (count, pos),
        Header::Is(..) => return (at, bad(bytes, at, 0, "at least one argument")),
        Header::Not(next) => return (at, next),
    };
    for _ in 0..count {
        let (len, start) = match header(bytes, pos, b'$', "an argument's length") {
            Header::Is(len, start) => (len, start),
            Header::Not(Next::Bad { at, what, .. }) => {
                let lines = 1 + 2 * (spans.len() - first) as u64;
                return (at, Next::Bad { at, what, lines });
            }
            Header::Not(next) => return (at, next),
        };
        let end = start.saturating_add(len);
        match bytes.get(end..end.saturating_add(2)) {
            Some(b"\r\n") => {}
            Some(_) => {
                let lines = 2 + 2 * (spans.len() - first) as u64;
                return (at, bad(bytes, end, lines, "the argument's end (\\r\\n)"));
            }
            None => return (at, Next::Need(end.saturating_add(2) - bytes.len())),
        }
        spans.push(Span::new(start, len));
        pos = end + 2;
    }
    (pos, Next::Again)
}

enum Header {
    Is(usize, usize),
    Not(Next),
}

/// The number in the line at `at`, which begins with `kind`, and where the next line begins.
#[inline]
fn header(bytes: &[u8], at: usize, kind: u8, what: &str) -> Header {
    let line = bytes.get(at..).unwrap_or_default();
    match line.first() {
        None => return Header::Not(Next::Need(1)),
        Some(&b) if b != kind => return Header::Not(bad(bytes, at, 0, what)),
        Some(_) => {}
    }
    let mut value = 0usize;
    for (i, &b) in line.iter().enumerate().skip(1) {
        match b {
            // No number that needs more digits can be meant.
            b'0'..=b'9' if i < 18 => value = value.wrapping_mul(10).wrapping_add(usize::from(b - b'0')),
            b'\r' if i > 1 => {
                return match line.get(i + 1) {
                    Some(b'\n') => Header::Is(value, at + i + 2),
                    Some(_) => Header::Not(bad(bytes, at, 0, what)),
                    None => Header::Not(Next::Need(1)),
                };
            }
            _ => return Header::Not(bad(bytes, at, 0, what)),
        }
    }
    Header::Not(Next::Need(1))
}

/// How much of what was found is shown.
const SHOWN_BYTES: usize = 24;

#[cold]
fn bad(bytes: &[u8], at: usize, lines: u64, expected: &str) -> Next {
    let found = bytes.get(at..).unwrap_or_default();
    let shown = found.get(..SHOWN_BYTES).unwrap_or(found).escape_ascii();
    Next::Bad { at, what: format!("expected {expected}, found \"{shown}\""), lines }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz;
    use super::*;
    use crate::resp::args::OwnedArgs;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Box::new(Cursor::new(bytes.to_vec()))).unwrap()
    }

    /// The commands, and the error that it ended in.
    fn read(bytes: &[u8]) -> (Vec<OwnedArgs>, Option<ReadError>) {
        let (mut reader, mut chunk, mut all) = (reader(bytes), Chunk::default(), Vec::new());
        loop {
            match reader.next_chunk(&mut chunk) {
                Ok(true) => all.extend(chunk.commands().map(|c| OwnedArgs::from_args(c.args))),
                Ok(false) => return (all, None),
                Err(e) => return (all, Some(e)),
            }
        }
    }

    fn encode(args: &[&[u8]]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn file(lines: &[&str]) -> Vec<u8> {
        let encoded = |line: &&str| match line.starts_with('#') {
            true => format!("{line}\r\n").into_bytes(),
            false => encode(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()),
        };
        lines.iter().flat_map(encoded).collect()
    }

    #[test]
    fn commands_come_in_steps() {
        let bytes = file(&[
            "set a 1", "#TS:5", "MULTI", "incr b", "#TS:6", "incr c", "exec", "#TS:7", "get a", "# x",
        ]);
        let (mut reader, mut chunk) = (reader(&bytes), Chunk::default());
        assert!(reader.next_chunk(&mut chunk).unwrap());
        let steps: Vec<(bool, Vec<String>)> = chunk
            .steps()
            .map(|s| (s.is_transaction, s.commands().map(|c| format!("{:?}", c.args)).collect()))
            .collect();
        let plain = |text: &str| (false, vec![text.to_owned()]);
        let both = vec![r#"["incr", "b"]"#.to_owned(), r#"["incr", "c"]"#.to_owned()];
        assert_eq!(steps, [plain(r#"["set", "a", "1"]"#), (true, both), plain(r#"["get", "a"]"#)]);
        assert_eq!((chunk.timestamp(), chunk.len(), chunk.is_empty()), (Some(7), 6, false));
        assert_eq!(chunk.commands().nth(1).unwrap().offset, 27 + 7);
        assert_eq!(
            (chunk.offset(), chunk.end(), reader.lines()),
            (0, bytes.len() as u64, 7 + 1 + 3 + 5 + 1 + 5 + 3 + 1 + 5 + 1)
        );
        assert!(!reader.next_chunk(&mut chunk).unwrap() && chunk.is_empty());
    }

    #[test]
    fn a_file_that_ends_early_says_where_it_is_whole() {
        let whole = file(&["set a 1", "#TS:5"]);
        for tail in [file(&["set b 2"]), file(&["multi", "set b 2", "exec"]), b"#TS:6\r\n".to_vec()] {
            for cut in 1..tail.len() {
                let bytes = [&whole, &tail[..cut]].concat();
                let (commands, ended) = read(&bytes);
                let Some(ReadError::Truncated { whole: at, .. }) = ended else { panic!("{cut}: {ended:?}") };
                assert_eq!((commands.len(), at), (1, whole.len() as u64), "{cut}");
            }
        }
        let (_, ended) = read(&file(&["multi", "set a b"]));
        assert_eq!(ended.unwrap().to_string(), "the file ends at offset 42, before the EXEC of a MULTI");
    }

    #[test]
    fn what_is_no_command_is_named_with_its_offset() {
        for (bytes, what) in [
            (&b"!!!"[..], "at offset 0: expected a command or an annotation ('*' or '#'), found \"!!!\""),
            (
                b"*1\r\n$4\r\nPING\r\n\0",
                "at offset 14: expected a command or an annotation ('*' or '#'), found \"\\x00\"",
            ),
            (b"*x\r\n", "at offset 0: expected the number of arguments, found \"*x\\r\\n\""),
            (b"*-1\r\n", "at offset 0: expected the number of arguments, found \"*-1\\r\\n\""),
            (b"*\r\n", "at offset 0: expected the number of arguments, found \"*\\r\\n\""),
            (
                b"*1234567890123456789\r\n",
                "at offset 0: expected the number of arguments, found \"*1234567890123456789\\r\\n\"",
            ),
            (b"*0\r\n", "at offset 0: expected at least one argument, found \"*0\\r\\n\""),
            (
                b"*1\r\n:4\r\nPING\r\n",
                "at offset 4: expected an argument's length, found \":4\\r\\nPING\\r\\n\"",
            ),
            (
                b"*1\r\n$3\r\nPING\r\n",
                "at offset 11: expected the argument's end (\\r\\n), found \"G\\r\\n\"",
            ),
            (
                b"*1\n$4\r\nPING\r\n",
                "at offset 0: expected the number of arguments, found \"*1\\n$4\\r\\nPING\\r\\n\"",
            ),
        ] {
            assert_eq!(read(bytes).1.unwrap().to_string(), what);
        }
        assert_eq!(read(&file(&["exec"])).1.unwrap().to_string(), "at offset 0: EXEC without a MULTI");
        assert_eq!(
            read(&file(&["multi", "multi"])).1.unwrap().to_string(),
            "at offset 15: MULTI inside a MULTI"
        );
        let long = [b"#".as_slice(), &[b'x'; 2000]].concat();
        assert!(matches!(read(&long).1, Some(ReadError::Format { at: 0, .. })));
    }

    #[test]
    fn lengths_reserve_nothing() {
        for bytes in [&b"*99999999999999999\r\n$1\r\na\r\n"[..], b"*1\r\n$99999999999999999\r\na"] {
            assert!(matches!(read(bytes).1, Some(ReadError::Truncated { whole: 0, .. })));
        }
        let (mut reader, mut chunk) = (reader(b"*1\r\n$99999999999999999\r\na"), Chunk::default());
        assert!(reader.next_chunk(&mut chunk).is_err());
        assert!(chunk.bytes.capacity() < 4096 && chunk.spans.capacity() < 64);
    }

    #[test]
    fn a_giant_command_is_one_chunk_and_leaves_no_giant_behind() {
        let big = vec![b'x'; 9 << 20];
        let bytes = [file(&["set a 1"]), encode(&[b"set", b"b", &big]), file(&["set c 3"])].concat();
        let (mut reader, mut chunk) = (reader(&bytes), Chunk::default());
        let mut seen = Vec::new();
        while reader.next_chunk(&mut chunk).unwrap() {
            seen.extend(chunk.commands().map(|c| c.args.at(2).len()));
        }
        assert_eq!(seen, [1, big.len(), 1]);
        assert!(chunk.bytes.capacity() <= 4 * PIECE_BYTES);
    }

    #[test]
    fn a_preamble_is_somebody_elses() {
        let bytes = [b"REDIS0010...".to_vec(), file(&["set a 1"])].concat();
        let (mut reader, mut chunk) = (reader(&bytes), Chunk::default());
        assert!(reader.has_preamble().unwrap());
        let load = |source: &mut dyn DiskRead, size: u64| {
            let mut start = Vec::new();
            source.read_to_end(&mut start)?;
            assert_eq!(start.len() as u64, size);
            io::Result::Ok(12)
        };
        reader.preamble(load).unwrap();
        assert!(reader.next_chunk(&mut chunk).unwrap());
        assert_eq!((chunk.offset(), chunk.end(), chunk.len()), (12, bytes.len() as u64, 1));
        assert!(!reader.next_chunk(&mut chunk).unwrap());
        assert!(!Reader::new(Box::new(Cursor::new(b"RED".to_vec()))).unwrap().has_preamble().unwrap());
    }

    #[test]
    fn it_stops_before_a_later_time() {
        let bytes = file(&["#TS:5", "set a 1", "#TS:6", "multi", "#TS:7", "set b 2", "exec"]);
        for (limit, want) in [(7, None), (6, Some(41)), (5, Some(34)), (4, Some(0))] {
            let (mut reader, mut chunk) = (reader(&bytes), Chunk::default());
            reader.stop_after(Some(limit));
            let ended = loop {
                match reader.next_chunk(&mut chunk) {
                    Ok(true) => {}
                    Ok(false) => break None,
                    Err(ReadError::Later { whole, .. }) => break Some(whole),
                    Err(e) => panic!("{e}"),
                }
            };
            assert_eq!(ended, want, "{limit}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_safe(parts in proptest::collection::vec(proptest::sample::select(vec![
            "*1\r\n", "*2\r\n", "$4\r\n", "$0\r\n\r\n", "exec\r\n", "$5\r\nmulti\r\n", "#TS:7\r\n", "#\n", "\r\n", "*", "$", "9",
            "file a seq 1 type b\n", "*1\r\n$5\r\nMULTI\r\n", "*1\r\n$4\r\nEXEC\r\n",
            "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nbb\r\n",
        ]), 0..30)) {
            fuzz::check(parts.concat().as_bytes());
        }

        #[test]
        fn any_commands_read_back(commands in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..5), 0..40,
        )) {
            let commands: Vec<_> = commands.into_iter().map(|mut c| { c.insert(0, b"set".to_vec()); c }).collect();
            let bytes: Vec<u8> =
                commands.iter().flat_map(|c| encode(&c.iter().map(Vec::as_slice).collect::<Vec<_>>())).collect();
            fuzz::check(&bytes);
            let (found, ended) = read(&bytes);
            prop_assert!(ended.is_none());
            prop_assert_eq!(found.len(), commands.len());
            for (found, command) in found.iter().zip(&commands) {
                prop_assert!(found.as_args().iter().eq(command.iter().map(Vec::as_slice)));
            }
        }
    }
}
