//! What goes into a template, a record, and what comes out, commands.
use std::ops::Range;

use thiserror::Error;

use super::format::Found;
use super::path::Part;
use crate::resp::args::{Args, Span};

/// What a template can see of one record.
pub trait Record {
    fn key(&self) -> Option<&[u8]>;
    /// None for a tombstone.
    fn value(&self) -> Option<&[u8]>;
    fn topic(&self) -> &str;
    fn partition(&self) -> i32;
    fn offset(&self) -> i64;
    /// Unix milliseconds.
    fn timestamp(&self) -> Option<i64>;
    /// The last header of that name; none also for one without a value.
    fn header(&self, name: &str) -> Option<&[u8]>;
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its commands are to be run; there may be none.
    Apply,
    /// WHERE does not want it.
    Filtered,
    /// A tombstone, and the pipeline has no TOMBSTONE.
    Ignored,
}

/// Why a record cannot become commands. The record is at fault, so trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("the {part} cannot be read as {format}: {why}, at byte {at}")]
    Document { part: Part, format: &'static str, at: usize, why: String },
    #[error("{command}: the record has no `{{{what}}}`")]
    Missing { command: Box<str>, what: Box<str> },
    #[error("{command}: `{{{what}}}` is not {wanted}")]
    Spread { command: Box<str>, what: Box<str>, wanted: &'static str },
    #[error("{command}: wrong number of arguments ({count}) after the spread")]
    Arity { command: Box<str>, count: usize },
    #[error("the record's commands are larger than {limit} bytes")]
    TooLarge { limit: usize },
}

impl RecordError {
    /// One word, to count errors by.
    pub fn class(&self) -> &'static str {
        match self {
            RecordError::Document { .. } => "format",
            RecordError::Missing { .. } => "missing",
            RecordError::Spread { .. } => "spread",
            RecordError::Arity { .. } => "arity",
            RecordError::TooLarge { .. } => "too-large",
        }
    }
}

/// Commands of one record after the other, in one buffer that is used again and again. A record whose rendering fails
/// leaves nothing here.
pub struct Rendered {
    pub(super) out: Buffer,
    pub(super) key: Found,
    pub(super) value: Found,
}

/// The bytes of all arguments, where each lies, and which of them belong to which command.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    commands: Vec<(usize, Range<usize>)>,
    record_bytes_max: usize,
    /// Where the present record, and its present argument, begin.
    record: Mark,
    arg: usize,
}

#[derive(Clone, Copy, Default)]
struct Mark {
    bytes: usize,
    spans: usize,
    commands: usize,
}

impl Rendered {
    /// No record may become more than `record_bytes_max` bytes of arguments, the room to keep track of them included.
    pub fn new(record_bytes_max: usize) -> Self {
        let (bytes, spans, commands) = (Vec::new(), Vec::new(), Vec::new());
        let out = Buffer { bytes, spans, commands, record_bytes_max, record: Mark::default(), arg: 0 };
        Rendered { out, key: Found::default(), value: Found::default() }
    }

    pub fn clear(&mut self) {
        self.out.bytes.clear();
        self.out.spans.clear();
        self.out.commands.clear();
    }

    /// Like `clear`, and gives memory back beyond about `keep` bytes.
    pub fn trim(&mut self, keep: usize) {
        self.clear();
        self.out.bytes.shrink_to(keep);
        self.out.spans.shrink_to(keep / size_of::<Span>());
        self.out.commands.shrink_to(keep / size_of::<(usize, Range<usize>)>());
    }

    /// The number of commands.
    pub fn len(&self) -> usize {
        self.out.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A command: its number in the command table, a subcommand's own, and its arguments.
    pub fn get(&self, i: usize) -> Option<(usize, Args<'_>)> {
        let (id, spans) = self.out.commands.get(i)?;
        Some((*id, Args::new(&self.out.bytes, self.out.spans.get(spans.clone()).unwrap_or_default())))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, Args<'_>)> {
        let args = |spans: &Range<usize>| self.out.spans.get(spans.clone()).unwrap_or_default();
        self.out.commands.iter().map(move |(id, spans)| (*id, Args::new(&self.out.bytes, args(spans))))
    }

    /// Bytes of all arguments, and of keeping track of them.
    pub fn size(&self) -> usize {
        self.out.bytes.len() + self.out.spans.len() * size_of::<Span>()
    }
}

impl Buffer {
    fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), spans: self.spans.len(), commands: self.commands.len() }
    }

    pub fn begin_record(&mut self) {
        self.record = self.mark();
    }

    fn back_to(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.spans.truncate(mark.spans);
        self.commands.truncate(mark.commands);
    }

    pub fn drop_record(&mut self) {
        self.back_to(self.record);
    }

    fn room(&self, more: usize) -> Result<(), RecordError> {
        let spans = (self.spans.len() - self.record.spans) * size_of::<Span>();
        let used = (self.bytes.len() - self.record.bytes).saturating_add(spans).saturating_add(more);
        let limit = self.record_bytes_max;
        if used > limit { Err(RecordError::TooLarge { limit }) } else { Ok(()) }
    }

    pub fn begin_arg(&mut self) {
        self.arg = self.bytes.len();
    }

    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.room(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    pub fn end_arg(&mut self) -> Result<(), RecordError> {
        self.room(size_of::<Span>())?;
        self.spans.push(Span::new(self.arg, self.bytes.len() - self.arg));
        Ok(())
    }

    #[inline]
    pub fn arg(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.begin_arg();
        self.write(bytes)?;
        self.end_arg()
    }

    /// How many arguments the present command has.
    pub fn argc(&self) -> usize {
        self.spans.len() - self.first_span()
    }

    fn first_span(&self) -> usize {
        let last = self.commands.get(self.record.commands..).and_then(<[_]>::last);
        last.map_or(self.record.spans, |(_, spans)| spans.end)
    }

    pub fn end_command(&mut self, id: usize) {
        self.commands.push((id, self.first_span()..self.spans.len()));
    }

    /// Takes the present command's arguments back.
    pub fn drop_command(&mut self) {
        let spans = self.first_span();
        let bytes = self.bytes.len();
        self.back_to(Mark { bytes, spans, commands: self.commands.len() });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of parts at hand.
    #[derive(Debug, Clone)]
    pub struct Parts<'a> {
        pub key: Option<&'a [u8]>,
        pub value: Option<&'a [u8]>,
        pub timestamp: Option<i64>,
        pub headers: &'a [(&'a str, &'a [u8])],
    }

    impl<'a> Parts<'a> {
        pub fn new(key: &'a str, value: &'a str) -> Self {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            Parts {
                key,
                value,
                timestamp: Some(1_700_000_000_000),
                headers: &[("tenant", b"t1"), ("odd name", b"x")],
            }
        }
    }

    impl Record for Parts<'_> {
        fn key(&self) -> Option<&[u8]> {
            self.key
        }

        fn value(&self) -> Option<&[u8]> {
            self.value
        }

        fn topic(&self) -> &str {
            "orders"
        }

        fn partition(&self) -> i32 {
            3
        }

        fn offset(&self) -> i64 {
            42
        }

        fn timestamp(&self) -> Option<i64> {
            self.timestamp
        }

        fn header(&self, name: &str) -> Option<&[u8]> {
            self.headers.iter().rev().find(|(n, _)| *n == name).map(|&(_, value)| value)
        }
    }

    #[test]
    fn a_failed_record_leaves_nothing() {
        let mut out = Rendered::new(64);
        out.out.begin_record();
        out.out.arg(b"PING").unwrap();
        out.out.end_command(7);
        out.out.begin_record();
        out.out.arg(b"SET").unwrap();
        assert_eq!(out.out.arg(&[b'x'; 64]), Err(RecordError::TooLarge { limit: 64 }));
        out.out.drop_record();
        assert_eq!((out.len(), out.size()), (1, 4 + size_of::<Span>()));
        let (id, args) = out.get(0).unwrap();
        assert_eq!((id, args.iter().collect::<Vec<_>>()), (7, vec![&b"PING"[..]]));
        assert!(out.get(1).is_none());
    }
}
