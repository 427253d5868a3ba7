//! Taking a file apart, from anything that can be read: part by part, with a buffer of it in memory at a time.
//!
//! ```text
//! "REDIS" version | (aux | functions | module data)... | per database: its number, its size, entries | EOF | CRC-64
//! ```
//! The value of an entry is left to the caller, who takes it raw (to be decoded elsewhere) or decoded, or leaves it.
use std::io::Read;
use std::ops::Range;

use super::decode::{self, Decoded, Options};
use super::error::RdbError;
use super::input::Input;
use super::{VERSION_VALKEY, can_read, module, opcode, skim, types};
use crate::base::crc::crc64;

/// What is read at once.
const CHUNK: usize = 256 << 10;
/// A buffer that grew for a large piece goes back to this.
const KEEP_MAX: usize = 4 << 20;

/// A part of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A field about the file as a whole.
    Aux { key: Vec<u8>, value: Vec<u8> },
    /// What follows belongs to this database.
    Database(u64),
    /// How many entries are to come in this database, and how many of them expire; hints.
    Size { keys: u64, expires: u64 },
    /// The source of a library of functions.
    Function(Vec<u8>),
    /// What a module had to say of itself; it was passed over.
    ModuleAux { module: String },
    /// How many keys a cluster's slot has; a hint.
    Slot { slot: u64, keys: u64, expires: u64 },
    /// An entry. Its key is `Reader::key`; its value is to be taken now, or it is passed over.
    Entry(Entry),
    /// The end, with the checksum looked at.
    End(Checksum),
}

/// An entry but for its key and value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// How the value is laid out: `rdb::types`.
    pub ty: u8,
    /// Unix milliseconds; may have passed, and may be what no clock shows.
    pub expire_ms: Option<i64>,
    /// Seconds since it was used.
    pub idle: Option<u64>,
    /// The counter of an LFU policy.
    pub freq: Option<u8>,
    /// Where the value starts in the file.
    pub offset: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// Versions up to 4 have none.
    Absent,
    /// It was not computed when the file was written.
    Disabled,
    Good,
    /// Not looked at, as was asked.
    Unchecked,
}

/// See the module.
pub struct Reader<R> {
    stream: Stream<R>,
    version: u32,
    check: bool,
    key: Vec<u8>,
    /// The entry whose value has not been taken yet.
    pending: Option<Entry>,
}

impl<R: Read> Reader<R> {
    /// Reads the header. `size` is the file's, where known: lengths beyond it are refused at once. `check` is whether
    /// the checksum is computed (`rdbchecksum`).
    pub fn new(source: R, size: Option<u64>, check: bool) -> Result<Self, RdbError> {
        let mut stream = Stream::new(source, size, check);
        let magic: [u8; 9] = stream.array()?;
        let digits = match &magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => &digits[..],
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => &digits[..],
            _ => {
                let shown = magic.escape_ascii();
                return Err(RdbError::corrupt(0, format!("this is no RDB file: it starts with \"{shown}\"")));
            }
        };
        let version =
            digits.iter().try_fold(0, |v: u32, &d| d.is_ascii_digit().then(|| v * 10 + u32::from(d - b'0')));
        let Some(version) = version.filter(|&v| can_read(v)) else {
            let shown = digits.escape_ascii();
            return Err(RdbError::unsupported(5, format!("Can't handle RDB format version {shown}")));
        };
        Ok(Reader { stream, version, check, key: Vec::new(), pending: None })
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes of the file that have been taken apart.
    pub fn offset(&self) -> u64 {
        self.stream.offset()
    }

    /// The key of the entry that came last.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The next part. After `Item::End` there is none: the caller stops.
    pub fn next_item(&mut self) -> Result<Item, RdbError> {
        self.skip_value()?;
        let (mut expire_ms, mut idle, mut freq) = (None, None, None);
        let input = &mut self.stream;
        loop {
            let offset = input.offset();
            let ty = input.byte()?;
            match ty {
                opcode::EXPIRE_S => {
                    expire_ms = Some(i64::from(i32::from_le_bytes(input.array()?)).saturating_mul(1000));
                }
                opcode::EXPIRE_MS => expire_ms = Some(i64::from_le_bytes(input.array()?)),
                opcode::IDLE => idle = Some(input.number()?),
                opcode::FREQ => freq = Some(input.byte()?),
                opcode::AUX => {
                    let (mut key, mut value) = (Vec::new(), Vec::new());
                    input.text(&mut key)?;
                    input.text(&mut value)?;
                    return Ok(Item::Aux { key, value });
                }
                opcode::SELECT_DB => return Ok(Item::Database(input.number()?)),
                opcode::RESIZE_DB => {
                    return Ok(Item::Size { keys: input.number()?, expires: input.number()? });
                }
                opcode::SLOT_INFO => {
                    let (slot, keys, expires) = (input.number()?, input.number()?, input.number()?);
                    return Ok(Item::Slot { slot, keys, expires });
                }
                opcode::SLOT_IMPORT if self.version >= VERSION_VALKEY => {
                    // A migration's name and its ranges of slots: of a cluster that is gone.
                    input.skip_string()?;
                    for _ in 0..input.number()? {
                        input.number()?;
                        input.number()?;
                    }
                }
                opcode::FUNCTION => {
                    let mut code = Vec::new();
                    input.text(&mut code)?;
                    return Ok(Item::Function(code));
                }
                opcode::FUNCTION_PRE_GA => {
                    let what = "a library of functions in a format of before Redis 7.0";
                    return Err(RdbError::unsupported(offset, what));
                }
                opcode::MODULE_AUX => {
                    let module = module::name(input.number()?);
                    let at = input.offset();
                    if input.number()? != module::UINT {
                        return Err(RdbError::corrupt(at, "bad module data"));
                    }
                    input.number()?;
                    skim::module_parts(input)?;
                    return Ok(Item::ModuleAux { module });
                }
                opcode::EOF => return self.end().map(Item::End),
                ty if types::is_known(ty, self.version) => {
                    input.text(&mut self.key)?;
                    let entry = Entry { ty, expire_ms, idle, freq, offset: input.offset() };
                    self.pending = Some(entry);
                    return Ok(Item::Entry(entry));
                }
                _ => return Err(RdbError::corrupt(offset, format!("unknown type or opcode {ty}"))),
            }
        }
    }

    fn end(&mut self) -> Result<Checksum, RdbError> {
        if self.version < 5 {
            return Ok(Checksum::Absent);
        }
        let computed = self.stream.crc();
        let offset = self.stream.offset();
        let written = self.stream.u64_le()?;
        if written == 0 {
            return Ok(Checksum::Disabled);
        }
        if !self.check {
            return Ok(Checksum::Unchecked);
        }
        if written != computed {
            let what = format!(
                "Wrong RDB checksum: RDB CRC error, {written:016x} is written, the bytes have {computed:016x}"
            );
            return Err(RdbError::corrupt(offset, what));
        }
        Ok(Checksum::Good)
    }

    /// What follows a file's end, if it is but the start of a longer one (an AOF's preamble): the bytes that were read
    /// already, and the source.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        (self.stream.buffered().to_vec(), self.stream.source)
    }

    /// The first length in the value that comes, 0 if there is none: elements, nodes, or bytes where it is one string.
    /// Tells a large value before it is taken.
    pub fn peek_length(&mut self) -> Result<u64, RdbError> {
        let Some(entry) = self.pending else { return Ok(0) };
        let skip = if matches!(entry.ty, types::HASH_TTL | types::HASH_LISTPACK_TTL) { 8 } else { 0 };
        self.stream.fill(skip + 9)?;
        let ahead = self.stream.buffered().get(skip..).unwrap_or_default();
        let mut head = super::input::Slice::new(ahead);
        use super::input::Length;
        Ok(match head.length() {
            Ok(Length::Plain(n)) => n,
            _ => 0,
        })
    }

    /// Appends the value's bytes, to be decoded by `decode::whole_value`.
    pub fn take_raw(&mut self, out: &mut Vec<u8>) -> Result<(), RdbError> {
        let Some(entry) = self.pending.take() else { return Ok(()) };
        self.stream.record(std::mem::take(out));
        let result = skim::value(entry.ty, self.version, &mut self.stream);
        *out = self.stream.recorded();
        result
    }

    /// Decodes the value here. `None` if it was taken already.
    pub fn take_value(&mut self, options: &Options<'_>) -> Result<Option<Decoded>, RdbError> {
        let Some(entry) = self.pending.take() else { return Ok(None) };
        let options = Options { version: self.version, ..*options };
        decode::value(entry.ty, &self.key, &mut self.stream, &options).map(Some)
    }

    fn skip_value(&mut self) -> Result<(), RdbError> {
        match self.pending.take() {
            Some(entry) => skim::value(entry.ty, self.version, &mut self.stream),
            None => Ok(()),
        }
    }

    /// Adds the entry that came last, its value raw, to a batch.
    pub fn take_into(&mut self, batch: &mut Batch, db: u64) -> Result<(), RdbError> {
        let Some(entry) = self.pending else { return Ok(()) };
        let key = batch.bytes.len()..batch.bytes.len() + self.key.len();
        batch.bytes.extend_from_slice(&self.key);
        if let Err(e) = self.take_raw(&mut batch.bytes) {
            batch.bytes.truncate(key.start);
            return Err(e);
        }
        let value = key.end..batch.bytes.len();
        batch.entries.push(RawEntry { entry, db, key, value });
        Ok(())
    }
}

/// Entries that were cut out of a file but not decoded: a piece of work for another thread.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<RawEntry>,
}

struct RawEntry {
    entry: Entry,
    db: u64,
    key: Range<usize>,
    value: Range<usize>,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Every entry: its database, itself, its key, its value.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Entry, &[u8], &[u8])> {
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.entries.iter().map(move |raw| (raw.db, &raw.entry, part(&raw.key), part(&raw.value)))
    }
}

/// A source with the part of it that is in memory.
struct Stream<R> {
    source: R,
    buf: Vec<u8>,
    /// What of `buf` has been read is `..end`, what of it has been taken `..at`.
    at: usize,
    end: usize,
    /// Where `buf` starts.
    base: u64,
    size: Option<u64>,
    check: bool,
    /// Over all bytes up to `summed`.
    crc: u64,
    summed: usize,
    /// Everything taken from `recorded_to` on goes there, too.
    record: Option<Vec<u8>>,
    recorded_to: usize,
}

impl<R: Read> Stream<R> {
    fn new(source: R, size: Option<u64>, check: bool) -> Self {
        let buf = vec![0; CHUNK];
        Stream {
            source,
            buf,
            at: 0,
            end: 0,
            base: 0,
            size,
            check,
            crc: 0,
            summed: 0,
            record: None,
            recorded_to: 0,
        }
    }

    fn buffered(&self) -> &[u8] {
        &self.buf[self.at..self.end]
    }

    fn record(&mut self, out: Vec<u8>) {
        self.record = Some(out);
        self.recorded_to = self.at;
    }

    fn recorded(&mut self) -> Vec<u8> {
        let mut out = self.record.take().unwrap_or_default();
        out.extend_from_slice(&self.buf[self.recorded_to..self.at]);
        out
    }

    /// The CRC-64 of everything taken so far.
    fn crc(&mut self) -> u64 {
        if self.check {
            self.crc = crc64(self.crc, &self.buf[self.summed..self.at]);
        }
        self.summed = self.at;
        self.crc
    }

    /// Makes room for more behind what is buffered.
    fn compact(&mut self) {
        self.crc();
        if let Some(out) = &mut self.record {
            out.extend_from_slice(&self.buf[self.recorded_to..self.at]);
        }
        self.buf.copy_within(self.at..self.end, 0);
        self.base += self.at as u64;
        self.end -= self.at;
        (self.at, self.summed, self.recorded_to) = (0, 0, 0);
        if self.buf.len() > KEEP_MAX && self.end <= CHUNK {
            self.buf = self.buf[..CHUNK].to_vec();
        }
    }

    /// Reads until `n` bytes are buffered or the source ends. The buffer grows as bytes really come.
    fn fill(&mut self, n: usize) -> Result<(), RdbError> {
        while self.end - self.at < n {
            if self.at > 0 {
                self.compact();
            }
            if self.end == self.buf.len() {
                let more = n.min(self.end.saturating_mul(2)).max(CHUNK);
                self.buf.resize(more, 0);
            }
            match self.source.read(&mut self.buf[self.end..]) {
                Ok(0) => return Ok(()),
                Ok(got) => self.end += got,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(RdbError::io(self.base + self.end as u64, &e)),
            }
        }
        Ok(())
    }

    fn require(&mut self, n: u64) -> Result<usize, RdbError> {
        let short = |s: &Self| RdbError::truncated(s.size.unwrap_or(s.base + s.end as u64));
        if n > self.left() {
            return Err(short(self));
        }
        let n = usize::try_from(n).map_err(|_| short(self))?;
        self.fill(n)?;
        if self.end - self.at < n { Err(short(self)) } else { Ok(n) }
    }

    /// Takes `n` bytes and hands them over in pieces.
    fn pass(&mut self, mut n: u64, mut f: impl FnMut(&[u8])) -> Result<(), RdbError> {
        if n > self.left() {
            return Err(RdbError::truncated(self.size.unwrap_or(self.base + self.end as u64)));
        }
        while n > 0 {
            self.require(1)?;
            let step = (self.end - self.at).min(usize::try_from(n).unwrap_or(usize::MAX));
            f(&self.buf[self.at..self.at + step]);
            self.at += step;
            n -= step as u64;
        }
        Ok(())
    }
}

impl<R: Read> Input for Stream<R> {
    #[inline]
    fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    fn left(&self) -> u64 {
        self.size.map_or(u64::MAX, |size| size.saturating_sub(self.offset()))
    }

    #[inline]
    fn take(&mut self, n: u64) -> Result<&[u8], RdbError> {
        let n = match usize::try_from(n) {
            Ok(n) if n <= self.end - self.at => n,
            _ => self.require(n)?,
        };
        let from = self.at;
        self.at += n;
        Ok(&self.buf[from..self.at])
    }

    fn append(&mut self, n: u64, out: &mut Vec<u8>) -> Result<(), RdbError> {
        self.pass(n, |piece| out.extend_from_slice(piece))
    }

    fn skip(&mut self, n: u64) -> Result<(), RdbError> {
        self.pass(n, |_| {})
    }

    fn plausible(&self, count: u64, each: u64) -> usize {
        // Without a size there is no telling: enough to spare the first steps of growth.
        let bytes = if self.size.is_some() { self.left() } else { CHUNK as u64 };
        usize::try_from(count.min(bytes / each.max(1))).unwrap_or(usize::MAX)
    }
}
