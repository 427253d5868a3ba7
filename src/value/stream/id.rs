//! Stream ids, and their text forms as clients write them.
use crate::base::num::{fmt_u64, parse_i64};

/// The id of a stream's entry: milliseconds and a sequence number within them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct StreamId {
    /// Unix milliseconds, or whatever number the writer chose.
    pub ms: u64,
    pub seq: u64,
}

/// The longest text of an id: two numbers of 20 digits and a dash.
pub const ID_TEXT_MAX: usize = 41;

/// Redis looks at no more of an id than this.
const ARG_BYTES_MAX: usize = 127;

impl StreamId {
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    pub fn is_zero(self) -> bool {
        self == Self::MIN
    }

    /// The id right after this one; `None` after the last one.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The id right before this one; `None` before 0-0.
    pub fn prev(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// The 128-bit big-endian form, which sorts as the ids do: what RDB files hold.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let n = u128::from_be_bytes(bytes);
        Self::new((n >> 64) as u64, n as u64)
    }

    /// `ms-seq`.
    pub fn text(self, buf: &mut [u8; ID_TEXT_MAX]) -> &[u8] {
        let mut digits = [0; 20];
        let ms = fmt_u64(&mut digits, self.ms);
        let at = ms.len();
        buf[..at].copy_from_slice(ms);
        buf[at] = b'-';
        let seq = fmt_u64(&mut digits, self.seq);
        let end = at + 1 + seq.len();
        buf[at + 1..end].copy_from_slice(seq);
        &buf[..end]
    }

    /// `ms-seq`, or `ms` alone, which gets `missing_seq`. Neither `-` nor `+`.
    pub fn parse(arg: &[u8], missing_seq: u64) -> Option<Self> {
        match split(arg)? {
            (ms, None) => Some(Self::new(number(ms)?, missing_seq)),
            (ms, Some(seq)) => Some(Self::new(number(ms)?, number(seq)?)),
        }
    }

    /// As `parse`, and `ms-*`: the second is false where the sequence number is to be made up (it is 0 then).
    pub fn parse_partial(arg: &[u8]) -> Option<(Self, bool)> {
        match split(arg)? {
            (ms, Some(b"*")) => Some((Self::new(number(ms)?, 0), false)),
            _ => Some((Self::parse(arg, 0)?, true)),
        }
    }

    /// A bound of a range: as `parse`, or `-`, or `+`, or an id behind a `(`: then the second is true, and the id itself
    /// is out.
    pub fn parse_bound(arg: &[u8], missing_seq: u64) -> Option<(Self, bool)> {
        match arg {
            [b'(', id @ ..] if !id.is_empty() => Some((Self::parse(id, missing_seq)?, true)),
            b"-" => Some((Self::MIN, false)),
            b"+" => Some((Self::MAX, false)),
            _ => Some((Self::parse(arg, missing_seq)?, false)),
        }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What stands before and behind the first dash. A NUL ends the id, as it does for Redis.
fn split(arg: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if arg.len() > ARG_BYTES_MAX {
        return None;
    }
    let text = arg.split(|&b| b == 0).next()?;
    Some(match text.iter().position(|&b| b == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

/// A number as C's strtoull reads it, which is how Redis reads what is no canonical integer: blanks and a sign in front,
/// leading zeros, and a minus that wraps around.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(n) = parse_i64(text) {
        return u64::try_from(n).ok();
    }
    let text = &text[text.iter().position(|b| !matches!(b, b' ' | 9..=13))?..];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let n = digits.iter().try_fold(0u64, |n, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { n.checked_mul(10)?.checked_add(digit.into()) }
    })?;
    Some(if negative { n.wrapping_neg() } else { n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = |text: &str| StreamId::parse(text.as_bytes(), 7).map(|id| (id.ms, id.seq));
        assert_eq!((id("5"), id("5-6"), id("05-006")), (Some((5, 7)), Some((5, 6)), Some((5, 6))));
        assert_eq!((id("18446744073709551615-1"), id("18446744073709551616-1")), (Some((u64::MAX, 1)), None));
        assert_eq!(
            (id("5-"), id("-"), id("+"), id(""), id("-5"), id("5-*"), id("x-1")),
            (None, None, None, None, None, None, None)
        );
        assert_eq!(
            (id("5--3"), id("5- 3"), id("5-3 "), id("5-3\0x")),
            (None, Some((5, 3)), None, Some((5, 3)))
        );
        assert_eq!(StreamId::parse_partial(b"5-*"), Some((StreamId::new(5, 0), false)));
        assert_eq!(StreamId::parse_partial(b"5"), Some((StreamId::new(5, 0), true)));
        assert_eq!(StreamId::parse_bound(b"(5", 9), Some((StreamId::new(5, 9), true)));
        assert_eq!(StreamId::parse_bound(b"+", 9), Some((StreamId::MAX, false)));
        assert_eq!((StreamId::parse_bound(b"(", 9), StreamId::parse_bound(b"(+", 9)), (None, None));
        assert_eq!(StreamId::parse(&[b'1'; 200], 0), None);
    }

    #[test]
    fn neighbours_and_texts() {
        let id = StreamId::new(5, u64::MAX);
        assert_eq!((id.next(), StreamId::MAX.next()), (Some(StreamId::new(6, 0)), None));
        assert_eq!((StreamId::new(6, 0).prev(), StreamId::MIN.prev()), (Some(id), None));
        assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        let mut buf = [0; ID_TEXT_MAX];
        assert_eq!(StreamId::MAX.text(&mut buf), format!("{}", StreamId::MAX).as_bytes());
        assert_eq!(StreamId::MAX.text(&mut buf).len(), ID_TEXT_MAX);
    }
}
