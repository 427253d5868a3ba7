//! Numbers to text and back, byte for byte as Redis reads and prints them. Parsers take untrusted bytes: they never
//! panic, allocate nothing, and answer `None` for anything but a whole, well-formed number.
use std::io::Write;

static PAIRS: [u8; 200] = {
    let mut t = [0; 200];
    let mut i = 0;
    while i < 100 {
        t[i * 2] = b'0' + (i / 10) as u8;
        t[i * 2 + 1] = b'0' + (i % 10) as u8;
        i += 1;
    }
    t
};

/// A signed integer in its one canonical spelling: no sign but '-', no leading zeros, no "-0", no blanks.
#[inline]
pub fn parse_i64(s: &[u8]) -> Option<i64> {
    let (neg, digits) = match s {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, s),
    };
    let v = parse_u64(digits)?;
    if neg {
        // "-0" is not canonical.
        if v == 0 || v > 1 << 63 { None } else { Some((v as i64).wrapping_neg()) }
    } else {
        i64::try_from(v).ok()
    }
}

/// An unsigned integer in its one canonical spelling.
#[inline]
pub fn parse_u64(s: &[u8]) -> Option<u64> {
    let (&first, rest) = s.split_first()?;
    let mut v = u64::from(first.wrapping_sub(b'0'));
    if v > 9 || s.len() > 20 || (v == 0 && !rest.is_empty()) {
        return None;
    }
    if rest.len() < 19 {
        // At most 19 digits: they fit.
        for &b in rest {
            let d = b.wrapping_sub(b'0');
            if d > 9 {
                return None;
            }
            v = v * 10 + u64::from(d);
        }
        return Some(v);
    }
    for &b in rest {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v.checked_mul(10)?.checked_add(u64::from(d))?;
    }
    Some(v)
}

/// A double as `strtod` reads it, when it reads all of `s`: decimal, hexadecimal or "inf"/"infinity" in any case. NaN,
/// a value too large, and a nonzero one that rounds to zero are refused; subnormals are not.
pub fn parse_f64(s: &[u8]) -> Option<f64> {
    let (neg, body) = split_sign(s);
    if let Some(v) = short_digits(body) {
        return Some(if neg { -(v as f64) } else { v as f64 });
    }
    let magnitude = if is_infinity(body) {
        f64::INFINITY
    } else if let Some(hex) = hex_body(body) {
        let h = parse_hex(hex)?;
        let v = f64_from_parts(&h);
        if v.is_infinite() || (v == 0.0 && h.mant != 0) {
            return None;
        }
        v
    } else {
        // Rust's own parser also knows "nan" and "inf"; only digits may reach it.
        if !body.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
            || matches!(body.first(), None | Some(b'+' | b'-'))
        {
            return None;
        }
        let v: f64 = std::str::from_utf8(body).ok()?.parse().ok()?;
        if v.is_infinite() {
            return None;
        }
        let digits = body.split(|b| matches!(b, b'e' | b'E')).next().unwrap_or_default();
        if v == 0.0 && digits.iter().any(|b| matches!(b, b'1'..=b'9')) {
            return None;
        }
        v
    };
    Some(if neg { -magnitude } else { magnitude })
}

/// A configuration's memory size in bytes: digits and an optional unit in any case ("b", powers of 1000 "k" "m" "g",
/// powers of 1024 "kb" "mb" "gb"). As in Redis no digits are 0; what does not fit is refused, not wrapped around.
pub fn parse_memory(s: &[u8]) -> Option<i64> {
    let digits = s.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = s.split_at_checked(digits)?;
    let scale: i64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let mut v = 0i64;
    for b in number {
        v = v.checked_mul(10)?.checked_add(i64::from(b - b'0'))?;
    }
    v.checked_mul(scale)
}

/// Room for any 64-bit integer's text.
pub struct IntBuf([u8; 20]);

impl IntBuf {
    pub const fn new() -> Self {
        IntBuf([0; 20])
    }

    #[inline]
    pub fn i64(&mut self, v: i64) -> &[u8] {
        fmt_i64(&mut self.0, v)
    }

    #[inline]
    pub fn u64(&mut self, v: u64) -> &[u8] {
        fmt_u64(&mut self.0, v)
    }
}

impl Default for IntBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// The text of `v`, at the end of `buf`.
#[inline]
pub fn fmt_i64(buf: &mut [u8; 20], v: i64) -> &[u8] {
    let mut at = digits_at_end(buf, v.unsigned_abs());
    if v < 0 {
        // 19 digits at most for an i64, so one byte is left.
        at -= 1;
        buf[at] = b'-';
    }
    &buf[at..]
}

/// The text of `v`, at the end of `buf`.
#[inline]
pub fn fmt_u64(buf: &mut [u8; 20], v: u64) -> &[u8] {
    let at = digits_at_end(buf, v);
    &buf[at..]
}

#[inline]
pub fn write_i64(out: &mut Vec<u8>, v: i64) {
    if (0..10).contains(&v) {
        out.push(b'0' + v as u8);
    } else {
        out.extend_from_slice(fmt_i64(&mut [0; 20], v));
    }
}

#[inline]
pub fn write_u64(out: &mut Vec<u8>, v: u64) {
    if v < 10 {
        out.push(b'0' + v as u8);
    } else {
        out.extend_from_slice(fmt_u64(&mut [0; 20], v));
    }
}

#[inline]
fn digits_at_end(buf: &mut [u8; 20], mut v: u64) -> usize {
    let mut at = 20;
    while v >= 100 {
        let pair = (v % 100) as usize * 2;
        v /= 100;
        at -= 2;
        buf[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if v >= 10 {
        let pair = v as usize * 2;
        at -= 2;
        buf[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buf[at] = b'0' + v as u8;
    }
    at
}

/// A double as Redis 7.2 replies it: an integer where it is one below 2^52, else the fewest digits that read back as
/// the same value, plain or scientific by fpconv's rules.
pub fn write_f64(out: &mut Vec<u8>, v: f64) {
    if v.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if v.is_infinite() {
        return out.extend_from_slice(if v < 0.0 { b"-inf" } else { b"inf" });
    }
    if v == 0.0 {
        return out.extend_from_slice(if v.is_sign_negative() { b"-0" } else { b"0" });
    }
    if v.abs() < (1u64 << 52) as f64 && v as i64 as f64 == v {
        return write_i64(out, v as i64);
    }
    if v < 0.0 {
        out.push(b'-');
    }
    let mut text = zmij::Buffer::new();
    let (buf, n, k) = shortest_digits(text.format_finite(v.abs()).as_bytes());
    let digits = &buf[..n];
    let lead = k + n as i32 - 1;
    let exp = lead.unsigned_abs() as usize;
    if k >= 0 && exp < n + 7 {
        out.extend_from_slice(digits);
        out.resize(out.len() + k as usize, b'0');
    } else if k < 0 && (k > -7 || exp < 4) {
        let before = n as i32 + k;
        if before <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + before.unsigned_abs() as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let (int, frac) = digits.split_at(before as usize);
            out.extend_from_slice(int);
            out.push(b'.');
            out.extend_from_slice(frac);
        }
    } else {
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(if lead < 0 { b"e-" } else { b"e+" });
        write_u64(out, exp as u64);
    }
}

/// The significant digits (no zeros at either end), their count, and the power of ten of the last one, from a positive
/// number's text as zmij lays it out ("0.001", "12.5", "1e300").
fn shortest_digits(text: &[u8]) -> ([u8; 24], usize, i32) {
    let (mut digits, mut n, mut k) = ([0u8; 24], 0usize, 0i32);
    let (mut point, mut rest) = (false, &[][..]);
    for (i, &b) in text.iter().enumerate() {
        match b {
            b'.' => point = true,
            b'e' | b'E' => {
                rest = &text[i + 1..];
                break;
            }
            _ => {
                // Leading zeros are not significant, but move the point.
                if n > 0 || b != b'0' {
                    digits[n] = b;
                    n += 1;
                }
                k -= i32::from(point);
            }
        }
    }
    let (neg, rest) = split_sign(rest);
    let exp = rest.iter().fold(0i32, |e, b| e * 10 + i32::from(b - b'0'));
    k += if neg { -exp } else { exp };
    while n > 1 && digits[n - 1] == b'0' {
        n -= 1;
        k += 1;
    }
    (digits, n, k)
}

/// C's `"%.17g"`.
pub fn fmt_g17(out: &mut Vec<u8>, v: f64) {
    if v.is_sign_negative() {
        out.push(b'-');
    }
    if v.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if v.is_infinite() {
        return out.extend_from_slice(b"inf");
    }
    // "d.dddddddddddddddde-324": 17 digits, exactly rounded.
    let mut buf = [0u8; 32];
    let mut left = &mut buf[..];
    let fits = write!(left, "{:.16e}", v.abs());
    debug_assert!(fits.is_ok());
    let unused = left.len();
    let text = &buf[..32 - unused];
    let e = text.iter().position(|&b| b == b'e').unwrap_or(text.len());
    let (neg, exp_digits) = split_sign(text.get(e + 1..).unwrap_or_default());
    let exp = exp_digits.iter().fold(0usize, |x, b| x * 10 + usize::from(b - b'0'));
    let mut digits = [0u8; 17];
    digits[0] = text[0];
    digits[1..].copy_from_slice(&text[2..18]);
    let n = digits.iter().rposition(|&b| b != b'0').map_or(1, |i| i + 1);
    if neg && exp > 4 || exp >= 17 {
        out.push(digits[0]);
        if n > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..n]);
        }
        out.extend_from_slice(if neg { b"e-" } else { b"e+" });
        if exp < 10 {
            out.push(b'0');
        }
        write_u64(out, exp as u64);
    } else if neg {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + exp - 1, b'0');
        out.extend_from_slice(&digits[..n]);
    } else {
        let int = exp + 1;
        out.extend_from_slice(&digits[..int]);
        if n > int {
            out.push(b'.');
            out.extend_from_slice(&digits[int..n]);
        }
    }
}

/// `mant * 2^exp`, plus something less than one unit of `mant` when `sticky`.
pub(super) struct Parts {
    pub mant: u128,
    pub exp: i64,
    pub sticky: bool,
}

impl Parts {
    /// Rounds to nearest, ties to even: at most `prec` bits and an exponent no smaller than `exp_min`. The result has
    /// exactly `prec` bits unless its exponent is `exp_min` or it is zero.
    pub(super) fn round(&self, prec: u32, exp_min: i64) -> (u64, i64) {
        if self.mant == 0 {
            return (0, exp_min);
        }
        let bits = 128 - self.mant.leading_zeros();
        let mut exp = (self.exp + i64::from(bits) - i64::from(prec)).max(exp_min);
        let shift = exp - self.exp;
        if shift <= 0 {
            // Fewer bits than asked for, so nothing was lost from `mant`.
            return ((self.mant << -shift) as u64, exp);
        }
        if shift > 128 {
            return (0, exp_min);
        }
        let (kept, lost) =
            if shift == 128 { (0, self.mant) } else { (self.mant >> shift, self.mant & ((1 << shift) - 1)) };
        let half = 1u128 << (shift - 1);
        let up = lost > half || (lost == half && (self.sticky || kept & 1 == 1));
        let mut mant = kept + u128::from(up);
        if mant >> prec != 0 {
            mant >>= 1;
            exp += 1;
        }
        (mant as u64, exp)
    }
}

pub(super) fn split_sign(s: &[u8]) -> (bool, &[u8]) {
    match s {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, s),
    }
}

pub(super) fn is_infinity(body: &[u8]) -> bool {
    body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity")
}

/// What follows "0x", if it starts so.
pub(super) fn hex_body(body: &[u8]) -> Option<&[u8]> {
    match body {
        [b'0', b'x' | b'X', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Hexadecimal digits with an optional point and an optional binary exponent.
pub(super) fn parse_hex(s: &[u8]) -> Option<Parts> {
    let mut p = Parts { mant: 0, exp: 0, sticky: false };
    let (mut any, mut point) = (false, false);
    for (i, &b) in s.iter().enumerate() {
        let digit = match b {
            b'.' if !point => {
                point = true;
                continue;
            }
            b'p' | b'P' => {
                p.exp = p.exp.saturating_add(parse_exponent(&s[i + 1..])?);
                break;
            }
            _ => (b as char).to_digit(16)?,
        };
        any = true;
        if p.mant >> 120 == 0 {
            p.mant = p.mant << 4 | u128::from(digit);
            p.exp -= if point { 4 } else { 0 };
        } else {
            p.sticky |= digit != 0;
            p.exp += if point { 0 } else { 4 };
        }
    }
    any.then_some(p)
}

/// Digits with an optional sign, at most ±2^40: far past any format's range, and safe to add to a text's length.
pub(super) fn parse_exponent(s: &[u8]) -> Option<i64> {
    let (neg, digits) = split_sign(s);
    if digits.is_empty() {
        return None;
    }
    let mut e = 0i64;
    for b in digits {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        e = (e * 10 + i64::from(d)).min(1 << 40);
    }
    Some(if neg { -e } else { e })
}

/// Up to 15 digits and nothing else: exact in a double.
fn short_digits(s: &[u8]) -> Option<u64> {
    if s.is_empty() || s.len() > 15 {
        return None;
    }
    let mut v = 0;
    for b in s {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v * 10 + u64::from(d);
    }
    Some(v)
}

fn f64_from_parts(p: &Parts) -> f64 {
    let (mant, exp) = p.round(53, -1074);
    if mant >> 52 == 0 {
        return f64::from_bits(mant);
    }
    let biased = exp + 1075;
    if biased >= 2047 {
        return f64::INFINITY;
    }
    f64::from_bits((biased as u64) << 52 | (mant & ((1 << 52) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn f(v: f64) -> String {
        let mut out = Vec::new();
        write_f64(&mut out, v);
        String::from_utf8(out).unwrap()
    }

    fn g(v: f64) -> String {
        let mut out = Vec::new();
        fmt_g17(&mut out, v);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_only_in_canonical_spelling() {
        for (text, want) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
            ("99999999999999999999", None),
            ("123456789012345678901", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("00", None),
            ("-01", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("--1", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), want, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn doubles_as_strtod_reads_them() {
        for (text, want) in [
            ("1", 1.0),
            ("-0", -0.0),
            ("+5", 5.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("5.e1", 50.0),
            ("007", 7.0),
            ("1e5", 1e5),
            ("1E+5", 1e5),
            ("-1e-5", -1e-5),
            ("0e-999", 0.0),
            ("4.9e-324", 5e-324),
            ("1.7976931348623157e308", f64::MAX),
            ("inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
            ("Infinity", f64::INFINITY),
            ("0x10", 16.0),
            ("-0X1.8p1", -3.0),
            ("0x.8", 0.5),
            ("0x1.", 1.0),
            ("0x0p99999999999999999999", 0.0),
            ("0x1p-1074", 5e-324),
            ("0x1.fffffffffffff7p0", 2.0 - f64::EPSILON),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000000000000000000000000001p0", 1.0 + f64::EPSILON),
            ("0x1000000000000000000000000000000000000p-144", 1.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(want.to_bits()), "{text:?}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "nan",
            "-nan",
            "nan(1)",
            "infi",
            "1.2.3",
            "--1",
            "+-1",
            "1e400",
            "-1e400",
            "1e-400",
            "2e-324",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "0x1p+",
            "0x1p1024",
            "0x1p-1075",
            "1_0",
            "1\0",
            "\u{e9}",
            "0x1p99999999999999999999999",
            "1e99999999999999999999",
            ".e1",
            "1d",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn memory_sizes() {
        for (text, want) in [
            ("0", Some(0)),
            ("512b", Some(512)),
            ("100k", Some(100_000)),
            ("1Kb", Some(1024)),
            ("2m", Some(2_000_000)),
            ("10MB", Some(10 << 20)),
            ("1g", Some(1_000_000_000)),
            ("1gb", Some(1 << 30)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("99999999999gb", None),
            ("-1", None),
            ("1tb", None),
            ("1.5gb", None),
            ("", Some(0)),
            ("k", Some(0)),
            ("1 k", None),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn doubles_as_replies() {
        for (v, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (3.25, "3.25"),
            (-1.5, "-1.5"),
            (0.00123, "0.00123"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (0.00012345678, "1.2345678e-4"),
            (1.23456789e-3, "0.00123456789"),
            (4503599627370495.0, "4503599627370495"),
            (4503599627370497.0, "4503599627370497"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1e17, "1e+17"),
            (1e20, "1e+20"),
            (123456789012345680.0, "123456789012345680"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1.0000000000000002, "1.0000000000000002"),
            (123456.789, "123456.789"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(f(v), want);
        }
    }

    #[test]
    fn seventeen_digits() {
        for (v, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.10000000000000001"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (100000.0, "100000"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e17, "1.5e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (3.0e100, "2.9999999999999999e+100"),
            (99999999999999999.0, "1e+17"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(g(v), want);
        }
    }

    proptest! {
        #[test]
        fn printed_integers_read_back(v: i64, u: u64, shift in 0u32..64) {
            let (v, u) = (v >> shift, u >> shift);
            let (mut a, mut b) = (Vec::new(), Vec::new());
            write_i64(&mut a, v);
            write_u64(&mut b, u);
            prop_assert!(a == v.to_string().as_bytes());
            prop_assert!(b == u.to_string().as_bytes());
            prop_assert!(IntBuf::new().i64(v) == a);
            prop_assert!(IntBuf::new().u64(u) == b);
            prop_assert_eq!(parse_i64(&a), Some(v));
            prop_assert_eq!(parse_u64(&b), Some(u));
        }

        #[test]
        fn printed_doubles_read_back(bits: u64, small in -1e6f64..1e6) {
            for v in [f64::from_bits(bits), small, (small * 100.0).round() / 100.0] {
                if !v.is_nan() {
                    prop_assert_eq!(parse_f64(f(v).as_bytes()).map(f64::to_bits), Some(v.to_bits()));
                    prop_assert_eq!(parse_f64(g(v).as_bytes()).map(f64::to_bits), Some(v.to_bits()));
                }
            }
        }

        #[test]
        fn parsers_survive_anything(s in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(v) = parse_i64(&s) {
                prop_assert!(v.to_string().as_bytes() == s);
            }
            prop_assert!(parse_f64(&s).is_none_or(|v| !v.is_nan()));
            prop_assert!(parse_memory(&s).is_none_or(|v| v >= 0));
        }
    }
}
