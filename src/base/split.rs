//! Text lines to arguments and back: inline commands and configuration lines, and the quoted form that Redis prints.
use std::fmt;

/// A line that `split_args` takes apart into these arguments again; quotes stand only where they are needed.
pub fn join<T: AsRef<[u8]>>(args: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut line = Vec::new();
    for arg in args {
        let arg = arg.as_ref();
        if !line.is_empty() {
            line.push(b' ');
        }
        let plain = |b: &u8| b.is_ascii_graphic() && !b"\"'\\#".contains(b);
        if !arg.is_empty() && arg.iter().all(plain) {
            line.extend_from_slice(arg);
        } else {
            quote(&mut line, arg);
        }
    }
    line
}

/// A quote was left open, or its closing one was not followed by a blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnbalancedQuotes;

impl fmt::Display for UnbalancedQuotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unbalanced quotes")
    }
}

impl std::error::Error for UnbalancedQuotes {}

/// The arguments of a line. Double quotes know `\n \r \t \b \a`, `\xHH` and a backslash before anything else for
/// itself; single quotes know `\'` only. As in Redis, a quote may open in the middle of an argument, a closing one
/// must be followed by a blank or the end, and a zero byte ends the line.
pub fn split_args(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let line = line.split(|&b| b == 0).next().unwrap_or_default();
    let mut args = Vec::new();
    let mut rest = line;
    loop {
        rest = &rest[rest.iter().take_while(|&&b| is_space(b)).count()..];
        if rest.is_empty() {
            return Ok(args);
        }
        let mut arg = Vec::new();
        rest = take_arg(rest, &mut arg)?;
        args.push(arg);
    }
}

/// Reads one argument; returns what follows it.
fn take_arg<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    while let Some((&b, tail)) = rest.split_first() {
        match b {
            b' ' | b'\n' | b'\r' | b'\t' => return Ok(tail),
            b'"' => return after_quote(take_double(tail, arg)?),
            b'\'' => return after_quote(take_single(tail, arg)?),
            _ => arg.push(b),
        }
        rest = tail;
    }
    Ok(rest)
}

fn after_quote(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(&b) if !is_space(b) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn take_double<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', h, l, tail @ ..] if h.is_ascii_hexdigit() && l.is_ascii_hexdigit() => {
                arg.push(hex_value(*h) << 4 | hex_value(*l));
                tail
            }
            [b'\\', b, tail @ ..] => {
                arg.push(match b {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [b, tail @ ..] => {
                arg.push(*b);
                tail
            }
        };
    }
}

fn take_single<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                arg.push(b'\'');
                tail
            }
            [b, tail @ ..] => {
                arg.push(*b);
                tail
            }
        };
    }
}

/// Appends `bytes` in double quotes, escaped so that `split_args` reads them back and a terminal shows them safely.
pub fn quote(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &b in bytes {
        let escape = match b {
            b'\\' | b'"' => b,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            7 => b'a',
            8 => b'b',
            b' '..=b'~' => {
                out.push(b);
                continue;
            }
            _ => {
                out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escape]);
    }
    out.push(b'"');
}

/// C's `isspace`, which knows vertical tabs where Rust's does not.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t'..=b'\r')
}

fn hex_value(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        _ => (b | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t\r\n\x0b\x0c ", &[]),
            (b"set key value\r\n", &[b"set", b"key", b"value"]),
            (br#"set "a b" 'c d'"#, &[b"set", b"a b", b"c d"]),
            (br#""\x41\x0aB\xzz\n\r\t\b\a\"\\\q""#, &[b"A\nBxzz\n\r\t\x08\x07\"\\q"]),
            (br#"'it\'s \n'"#, &[br"it's \n"]),
            (br#"foo"bar baz" x"#, &[b"foobar baz", b"x"]),
            (br#""" ''"#, &[b"", b""]),
            (br"a\n", &[br"a\n"]),
            (b"a\x0bb", &[b"a\x0bb"]),
            (b"a\x00b c", &[b"a"]),
            (b"\"\"\x0bx", &[b"", b"x"]),
            (br#""\x4""#, &[b"x4"]),
        ];
        for (line, want) in cases {
            let want: Vec<Vec<u8>> = want.iter().map(|a| a.to_vec()).collect();
            assert_eq!(split_args(line), Ok(want), "{}", line.escape_ascii());
        }
        for line in [&br#""abc"#[..], b"'abc", br#""a"b"#, b"'a'b", br#""a\"#, br#"x ""y"#, b"\"", br#""a\""#]
        {
            assert_eq!(split_args(line), Err(UnbalancedQuotes), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quoted_form() {
        let mut out = Vec::new();
        quote(&mut out, b"a\"\\\n\r\t\x07\x08\x00\x7f\xffz");
        assert_eq!(out, br#""a\"\\\n\r\t\a\b\x00\x7f\xffz""#);
    }

    proptest! {
        #[test]
        fn quoted_arguments_read_back(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..5)) {
            let mut line = Vec::new();
            for a in &args {
                quote(&mut line, a);
                line.push(b' ');
            }
            prop_assert_eq!(split_args(&line), Ok(args));
        }

        #[test]
        fn any_line_is_safe(line in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\''), Just(b'\\'), Just(b' '), Just(b'x'), any::<u8>()], 0..40)) {
            if let Ok(args) = split_args(&line) {
                prop_assert!(args.iter().map(Vec::len).sum::<usize>() <= line.len());
            }
        }
    }
}
