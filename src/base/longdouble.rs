//! The x87 80-bit `long double` (64-bit mantissa), in exact integer arithmetic: INCRBYFLOAT and HINCRBYFLOAT compute
//! in it, so their replies differ from an `f64`'s in the last digits ("10.5" + "0.1" is "10.6"). Only what those
//! commands need: read, add, print.
//!
//! Short numbers never leave `u128`; longer ones use a small bignum whose size the text's own bound limits.
use super::num::{Parts, fmt_u64, hex_body, is_infinity, parse_exponent, parse_hex, split_sign};

/// Redis reads a number into a buffer of this size, with a terminator.
const TEXT_MAX: usize = 5 * 1024;
const PRECISION: u32 = 64;
/// Exponent of a subnormal's last bit.
const EXP_MIN: i64 = -16445;
/// Exponent of the largest number's last bit.
const EXP_MAX: i64 = 16320;
const POW10_17: u128 = 100_000_000_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `mant * 2^exp`, normalised: 64 bits unless `exp` is `EXP_MIN`, which zero has too.
    Finite {
        mant: u64,
        exp: i64,
    },
    Infinite,
    Nan,
}

/// An 80-bit float.
#[derive(Debug, Clone, Copy)]
pub struct LongDouble {
    neg: bool,
    kind: Kind,
}

impl LongDouble {
    /// What a missing key counts as.
    pub const ZERO: Self = LongDouble { neg: false, kind: Kind::Finite { mant: 0, exp: EXP_MIN } };

    /// Reads all of `s` as `strtold` would, correctly rounded. Refuses NaN, numbers out of range, nonzero ones that
    /// round to zero, and texts of 5 KiB and more.
    pub fn parse(s: &[u8]) -> Option<Self> {
        if s.len() >= TEXT_MAX {
            return None;
        }
        let (neg, body) = split_sign(s);
        if is_infinity(body) {
            return Some(LongDouble { neg, kind: Kind::Infinite });
        }
        let parts = match hex_body(body) {
            Some(hex) => parse_hex(hex)?,
            None => parse_decimal(body)?,
        };
        let v = Self::rounded(neg, &parts);
        match v.kind {
            Kind::Finite { mant, .. } if mant != 0 || (parts.mant == 0 && !parts.sticky) => Some(v),
            _ => None,
        }
    }

    /// The sum, rounded to nearest, ties to even.
    #[allow(clippy::should_implement_trait)] // A named method reads better beside the commands' error checks.
    pub fn add(self, other: Self) -> Self {
        let (Kind::Finite { mant: am, exp: ae }, Kind::Finite { mant: bm, exp: be }) =
            (self.kind, other.kind)
        else {
            return match (self.kind, other.kind) {
                (Kind::Nan, _) | (_, Kind::Nan) => LongDouble { neg: false, kind: Kind::Nan },
                (Kind::Infinite, Kind::Infinite) if self.neg != other.neg => {
                    LongDouble { neg: false, kind: Kind::Nan }
                }
                (Kind::Infinite, _) => self,
                _ => other,
            };
        };
        // `a` has the larger magnitude: its exponent leads, as both are normalised.
        let ((an, am, ae), (bn, bm, be)) = if (ae, am) >= (be, bm) {
            ((self.neg, am, ae), (other.neg, bm, be))
        } else {
            ((other.neg, bm, be), (self.neg, am, ae))
        };
        // 62 guard bits; what falls off below them can only decide a tie, or borrow one unit.
        let a = u128::from(am) << 62;
        let wide = u128::from(bm) << 62;
        let gap = (ae - be) as u32;
        let b = wide.checked_shr(gap).unwrap_or(0);
        let sticky = b.checked_shl(gap).unwrap_or(0) != wide;
        let exp = ae - 62;
        let mant = if an == bn { a + b } else { a - b - u128::from(sticky) };
        if mant == 0 && !sticky {
            return LongDouble { neg: an && bn, ..Self::ZERO };
        }
        Self::rounded(an, &Parts { mant, exp, sticky })
    }

    pub fn is_nan(&self) -> bool {
        self.kind == Kind::Nan
    }

    pub fn is_infinite(&self) -> bool {
        self.kind == Kind::Infinite
    }

    /// Appends 17 decimals without their trailing zeros; never "-0".
    pub fn write_human(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.neg && self.kind != Kind::Nan {
            out.push(b'-');
        }
        let (mant, exp) = match self.kind {
            Kind::Nan => return out.extend_from_slice(b"nan"),
            Kind::Infinite => return out.extend_from_slice(b"inf"),
            Kind::Finite { mant, exp } => (mant, exp),
        };
        if exp >= 0 {
            return write_integer(out, mant, exp as usize);
        }
        // In units of 10^-17; below 2^121.
        let (scaled, shift) = (u128::from(mant) * POW10_17, -exp);
        let units = if shift > 127 {
            0
        } else {
            let (kept, lost, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1u128 << (shift - 1));
            kept + u128::from(lost > half || (lost == half && kept & 1 == 1))
        };
        if units == 0 {
            out.truncate(start);
            return out.push(b'0');
        }
        // A negative exponent leaves less than 2^63 before the point, and one more by rounding.
        let (int, mut frac) = ((units / POW10_17) as u64, (units % POW10_17) as u64);
        out.extend_from_slice(fmt_u64(&mut [0; 20], int));
        if frac == 0 {
            return;
        }
        let mut digits = 17;
        while frac % 10 == 0 {
            frac /= 10;
            digits -= 1;
        }
        let mut buf = [0; 20];
        let text = fmt_u64(&mut buf, frac);
        out.push(b'.');
        out.resize(out.len() + digits - text.len(), b'0');
        out.extend_from_slice(text);
    }

    fn rounded(neg: bool, parts: &Parts) -> Self {
        let (mant, exp) = parts.round(PRECISION, EXP_MIN);
        if exp > EXP_MAX {
            return LongDouble { neg, kind: Kind::Infinite };
        }
        LongDouble { neg, kind: Kind::Finite { mant, exp } }
    }
}

/// Digits with an optional point and an optional exponent; `None` also for what is surely out of range.
fn parse_decimal(s: &[u8]) -> Option<Parts> {
    let (mantissa, exponent) = match s.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(i) => (s.get(..i)?, parse_exponent(s.get(i + 1..)?)?),
        None => (s, 0),
    };
    let (int, frac) = match mantissa.iter().position(|&b| b == b'.') {
        Some(i) => (mantissa.get(..i)?, mantissa.get(i + 1..)?),
        None => (mantissa, &[][..]),
    };
    if int.is_empty() && frac.is_empty() || !int.iter().chain(frac).all(u8::is_ascii_digit) {
        return None;
    }
    let zero = Parts { mant: 0, exp: 0, sticky: false };
    // Zeros at the outer ends only move the point.
    let frac_len = frac.iter().rposition(|&b| b != b'0').map_or(0, |i| i + 1);
    let frac = frac.get(..frac_len)?;
    let mut k = exponent - frac_len as i64;
    let int_zeros = if frac.is_empty() { int.iter().rev().take_while(|&&b| b == b'0').count() } else { 0 };
    let int = int.get(..int.len() - int_zeros)?;
    k += int_zeros as i64;
    let digits = || int.iter().chain(frac).skip_while(|&&b| b == b'0').map(|b| b - b'0');
    let n = digits().count();
    if n == 0 {
        return Some(zero);
    }
    // The value lies in 10^(magnitude-1) .. 10^magnitude.
    let magnitude = n as i64 + k;
    if !(-4950..=4933).contains(&magnitude) {
        return None;
    }
    if n <= 19 && (-27..=19).contains(&k) {
        let d = digits().fold(0u64, |d, b| d * 10 + u64::from(b));
        if k >= 0 {
            return Some(Parts { mant: u128::from(d) * 10u128.pow(k as u32), exp: 0, sticky: false });
        }
        // 5^27 has 63 bits: the quotient keeps 65 or more.
        let (lead, five) = (d.leading_zeros(), 5u128.pow(-k as u32));
        let top = u128::from(d << lead) << 64;
        return Some(Parts { mant: top / five, exp: k - 64 - i64::from(lead), sticky: top % five != 0 });
    }
    let mut big = Big(Vec::new());
    let (mut chunk, mut scale) = (0u32, 1u32);
    for d in digits() {
        chunk = chunk * 10 + u32::from(d);
        scale *= 10;
        if scale == 1_000_000_000 {
            big.mul_add(scale, chunk);
            (chunk, scale) = (0, 1);
        }
    }
    big.mul_add(scale, chunk);
    if k >= 0 {
        big.each_power_of_5(k as u32, |b, m| b.mul_add(m, 0));
        return Some(big.top(k, false));
    }
    // Shift so far that the quotient by 5^-k, of fewer than 7/3 bits a factor, keeps more than 64 bits.
    let want = (-k) as usize * 7 / 3 + 72;
    let shift = want.saturating_sub(big.bits());
    big.shl(shift);
    let mut sticky = false;
    big.each_power_of_5((-k) as u32, |b, m| sticky |= b.div(m) != 0);
    Some(big.top(k - shift as i64, sticky))
}

/// Appends `mant * 2^exp`.
fn write_integer(out: &mut Vec<u8>, mant: u64, exp: usize) {
    let mut big = Big(vec![mant as u32, (mant >> 32) as u32]);
    big.shl(exp);
    // Nine digits a chunk, the last chunk first.
    let mut chunks = Vec::new();
    while !big.0.is_empty() {
        chunks.push(big.div(1_000_000_000));
    }
    let mut buf = [0; 20];
    let mut lead = true;
    for &c in chunks.iter().rev() {
        let text = fmt_u64(&mut buf, u64::from(c));
        if !lead {
            out.resize(out.len() + 9 - text.len(), b'0');
        }
        lead = false;
        out.extend_from_slice(text);
    }
}

/// An unsigned integer, least significant limb first, no zero limb on top.
struct Big(Vec<u32>);

impl Big {
    fn mul_add(&mut self, by: u32, add: u32) {
        let mut carry = u64::from(add);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(by);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides; returns the remainder.
    fn div(&mut self, by: u32) -> u32 {
        let mut rem = 0u64;
        for limb in self.0.iter_mut().rev() {
            let v = rem << 32 | u64::from(*limb);
            *limb = (v / u64::from(by)) as u32;
            rem = v % u64::from(by);
        }
        self.trim();
        rem as u32
    }

    fn shl(&mut self, bits: usize) {
        let (limbs, rest) = (bits / 32, bits % 32);
        self.mul_add(1 << rest, 0);
        self.0.splice(0..0, std::iter::repeat_n(0, limbs));
        self.trim();
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    /// Calls `f` with factors that multiply to 5^n, each within a limb.
    fn each_power_of_5(&mut self, n: u32, mut f: impl FnMut(&mut Self, u32)) {
        for _ in 0..n / 13 {
            f(self, 5u32.pow(13));
        }
        f(self, 5u32.pow(n % 13));
    }

    /// The leading four limbs, with what is below them as `sticky`; `exp` is the exponent of the whole.
    fn top(&self, exp: i64, sticky: bool) -> Parts {
        let below = self.0.len().saturating_sub(4);
        let (low, high) = self.0.split_at(below);
        let mant = high.iter().rev().fold(0u128, |m, &limb| m << 32 | u128::from(limb));
        Parts { mant, exp: exp + below as i64 * 32, sticky: sticky || low.iter().any(|&l| l != 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn human(v: LongDouble) -> String {
        let mut out = Vec::new();
        v.write_human(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn sum(a: &str, b: &str) -> String {
        let read = |s: &str| LongDouble::parse(s.as_bytes()).unwrap_or_else(|| panic!("{s:?}"));
        human(read(a).add(read(b)))
    }

    /// Sums as C's `long double` computes and prints them on x86-64.
    #[test]
    fn sums_as_c_prints_them() {
        for (a, b, want) in [
            ("10.50", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("3.0e3", "200", "3200"),
            ("1", "1", "2"),
            ("-1", "1", "0"),
            ("-0.1", "0.1", "0"),
            ("1e-17", "0", "0.00000000000000001"),
            ("5e-18", "0", "0"),
            ("6e-18", "0", "0.00000000000000001"),
            ("-1e-18", "0", "0"),
            ("1.5e-17", "0", "0.00000000000000002"),
            ("17179869184.1", "1e-9", "17179869184.10000000149011612"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551615", "0.5", "18446744073709551616"),
            ("18446744073709551614", "0.5", "18446744073709551614"),
            ("1e20", "0.5", "100000000000000000000"),
            ("1e30", "1e-30", "1000000000000000000024696061952"),
            ("1e37", "-1e36", "9000000000000000000168718341295308800"),
            ("123456789012345678901234567890", "1", "123456789012345678899921813504"),
            ("0.12345678901234567890123", "0", "0.12345678901234568"),
            ("99999999999999999.99999", "0", "100000000000000000"),
            ("3.14159265358979323846", "2.71828182845904523536", "5.85987448204883847"),
            ("1e-4940", "1e-4940", "0"),
            ("0x1p-3", "0x1.8p4", "24.125"),
            ("0xfffffffffffffffffp0", "0", "295147905179352825856"),
            ("0x1.00000000000000018p0", "0", "1"),
            ("0x1.00000000000000010p0", "0", "1"),
            ("0x1.0000000000000001000000000000000000000000000000000001p0", "0", "1"),
            (".5", "5.", "5.5"),
            ("+1e2", "-1E+2", "0"),
            ("1.1e100", "-1.1e100", "0"),
            ("1.1e60", "1", "1100000000000000000042866908735274508840655633934641780490240"),
            ("5", "-0.000000000000000001", "5"),
            ("100000000000000000000000000", "-1", "100000000000000000000000000"),
        ] {
            assert_eq!(sum(a, b), want, "{a} + {b}");
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in [
            "",
            " 1",
            "1 ",
            "+",
            "-",
            ".",
            "e1",
            "1e",
            "1e+",
            "nan",
            "0x",
            "0x.",
            "0x1p",
            "1.2.3",
            "--1",
            "1e5000",
            "-1e4933",
            "1e-5000",
            "1e-4951",
            "0x1p16384",
            "0x1p-16446",
            "1\0",
            "infin",
        ] {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(LongDouble::parse("1".repeat(5120).as_bytes()).is_none());
        assert!(LongDouble::parse(("0.".to_owned() + &"1".repeat(5117)).as_bytes()).is_some());
        let tiny = "0.".to_owned() + &"0".repeat(4940) + &"1".repeat(177);
        assert_eq!(human(LongDouble::parse(tiny.as_bytes()).unwrap()), "0");
    }

    #[test]
    fn infinities() {
        let inf = LongDouble::parse(b"inf").unwrap();
        let minus = LongDouble::parse(b"-Infinity").unwrap();
        let one = LongDouble::parse(b"1").unwrap();
        assert!(inf.is_infinite() && one.add(inf).is_infinite() && minus.add(one).is_infinite());
        assert!(inf.add(minus).is_nan() && inf.add(minus).add(one).is_nan());
        assert_eq!((human(inf), human(minus)), ("inf".into(), "-inf".into()));
        let max = LongDouble::parse(b"1.18973149535723176502e4932").unwrap();
        assert!(!max.is_infinite() && max.add(max).is_infinite());
    }

    proptest! {
        #[test]
        fn integers_are_exact(a in -(1i64 << 62)..1 << 62, b in -(1i64 << 62)..1 << 62) {
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), (a + b).to_string());
        }

        #[test]
        fn the_bignum_agrees_with_the_short_path(d in 1u64..10_000_000_000_000_000_000, k in 0usize..12) {
            // Digits that cannot matter send the second text down the long path.
            let long = format!("{d}.{}1e-{k}", "0".repeat(60));
            let short = format!("{d}e-{k}");
            let (a, b) = (LongDouble::parse(short.as_bytes()).unwrap(), LongDouble::parse(long.as_bytes()).unwrap());
            prop_assert_eq!(a.kind, b.kind);
        }

        #[test]
        fn any_text_is_safe(s in "[-+0-9.eExXpPa-f]{0,30}") {
            if let Some(v) = LongDouble::parse(s.as_bytes()) {
                prop_assert!(LongDouble::parse(human(v).as_bytes()).is_some());
            }
        }
    }
}
