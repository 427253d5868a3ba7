//! Where RDB bytes come from, and the small parts that everything in the format is made of: lengths and strings.
use super::error::RdbError;
use super::lzf;
use crate::value::listpack::Elem;

/// A length, or the mark that a string is encoded otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    Plain(u64),
    Encoded(u8),
}

/// How a string starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StringHead {
    Int(i64),
    /// So many bytes follow.
    Raw(u64),
    /// `packed` bytes follow that make `len`.
    Lzf {
        packed: u64,
        len: u64,
    },
}

/// Bytes to decode, front to back. A length that is more than there can be allocates nothing.
pub trait Input {
    /// Bytes from the start of the file or payload to here.
    fn offset(&self) -> u64;

    /// How many bytes may still come, at most.
    fn left(&self) -> u64;

    /// The next `n` bytes in one piece, until the next call.
    fn take(&mut self, n: u64) -> Result<&[u8], RdbError>;

    /// Appends the next `n` bytes.
    fn append(&mut self, n: u64, out: &mut Vec<u8>) -> Result<(), RdbError>;

    fn skip(&mut self, n: u64) -> Result<(), RdbError>;

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let offset = self.offset();
        let bytes = self.take(N as u64)?;
        bytes.try_into().map_err(|_| RdbError::truncated(offset))
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, RdbError> {
        Ok(self.array::<1>()?[0])
    }

    fn u64_le(&mut self) -> Result<u64, RdbError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn f64_le(&mut self) -> Result<f64, RdbError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    #[inline]
    fn length(&mut self) -> Result<Length, RdbError> {
        let offset = self.offset();
        let head = self.byte()?;
        Ok(match head >> 6 {
            0 => Length::Plain(head.into()),
            1 => Length::Plain(u64::from(head & 0x3f) << 8 | u64::from(self.byte()?)),
            3 => Length::Encoded(head & 0x3f),
            _ => match head {
                0x80 => Length::Plain(u32::from_be_bytes(self.array()?).into()),
                0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
                _ => return Err(RdbError::corrupt(offset, format!("unknown length encoding {head:#04x}"))),
            },
        })
    }

    /// A length where nothing else may stand.
    #[inline]
    fn number(&mut self) -> Result<u64, RdbError> {
        let offset = self.offset();
        match self.length()? {
            Length::Plain(n) => Ok(n),
            Length::Encoded(_) => {
                Err(RdbError::corrupt(offset, "an encoded string where a length should be"))
            }
        }
    }

    fn string_head(&mut self) -> Result<StringHead, RdbError> {
        let offset = self.offset();
        Ok(match self.length()? {
            Length::Plain(n) => StringHead::Raw(n),
            Length::Encoded(0) => StringHead::Int(i8::from_le_bytes(self.array()?).into()),
            Length::Encoded(1) => StringHead::Int(i16::from_le_bytes(self.array()?).into()),
            Length::Encoded(2) => StringHead::Int(i32::from_le_bytes(self.array()?).into()),
            Length::Encoded(3) => StringHead::Lzf { packed: self.number()?, len: self.number()? },
            Length::Encoded(other) => {
                return Err(RdbError::corrupt(offset, format!("unknown string encoding {other}")));
            }
        })
    }

    /// A string: from the input's own bytes where possible, else from `scratch`.
    fn string<'s>(&'s mut self, scratch: &'s mut Vec<u8>) -> Result<Elem<'s>, RdbError> {
        match self.string_head()? {
            StringHead::Int(v) => Ok(Elem::Int(v)),
            StringHead::Raw(n) => Ok(Elem::Str(self.take(n)?)),
            StringHead::Lzf { packed, len } => {
                self.unpack(packed, len, scratch)?;
                Ok(Elem::Str(scratch))
            }
        }
    }

    /// The text of a string, in the place of what `out` held.
    fn text(&mut self, out: &mut Vec<u8>) -> Result<(), RdbError> {
        out.clear();
        match self.string_head()? {
            StringHead::Int(v) => Elem::Int(v).write_to(out),
            StringHead::Raw(n) => self.append(n, out)?,
            StringHead::Lzf { packed, len } => self.unpack(packed, len, out)?,
        }
        Ok(())
    }

    /// The `len` bytes that the next `packed` ones stand for, in the place of what `out` held.
    fn unpack(&mut self, packed: u64, len: u64, out: &mut Vec<u8>) -> Result<(), RdbError> {
        let offset = self.offset();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        match lzf::decompress(self.take(packed)?, len, out) {
            true => Ok(()),
            false => Err(RdbError::corrupt(offset, "bad LZF data")),
        }
    }

    /// A string that holds a packed encoding, which no integer can be.
    fn blob<'s>(&'s mut self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], RdbError> {
        let offset = self.offset();
        match self.string(scratch)? {
            Elem::Str(bytes) => Ok(bytes),
            Elem::Int(_) => Err(RdbError::corrupt(offset, "an integer where a packed encoding should be")),
        }
    }

    fn skip_string(&mut self) -> Result<(), RdbError> {
        match self.string_head()? {
            StringHead::Int(_) => Ok(()),
            StringHead::Raw(n) => self.skip(n),
            StringHead::Lzf { packed, .. } => self.skip(packed),
        }
    }

    /// How many of `count` things of `each` bytes or more there is reason to make room for.
    fn plausible(&self, count: u64, each: u64) -> usize {
        usize::try_from(count.min(self.left() / each.max(1))).unwrap_or(usize::MAX)
    }
}

/// Bytes that are all there.
#[derive(Clone, Debug)]
pub struct Slice<'a> {
    rest: &'a [u8],
    offset: u64,
}

impl<'a> Slice<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// A piece that starts at `offset` of a whole.
    pub fn at(bytes: &'a [u8], offset: u64) -> Self {
        Slice { rest: bytes, offset }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn next(&mut self, n: u64) -> Result<&'a [u8], RdbError> {
        let cut = usize::try_from(n).ok().and_then(|n| self.rest.split_at_checked(n));
        let Some((head, rest)) = cut else {
            return Err(RdbError::truncated(self.offset + self.rest.len() as u64));
        };
        self.rest = rest;
        self.offset += n;
        Ok(head)
    }
}

impl Input for Slice<'_> {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn left(&self) -> u64 {
        self.rest.len() as u64
    }

    #[inline]
    fn take(&mut self, n: u64) -> Result<&[u8], RdbError> {
        self.next(n)
    }

    fn append(&mut self, n: u64, out: &mut Vec<u8>) -> Result<(), RdbError> {
        out.extend_from_slice(self.next(n)?);
        Ok(())
    }

    fn skip(&mut self, n: u64) -> Result<(), RdbError> {
        self.next(n).map(drop)
    }
}
