//! Paths into a document, `.customer["first name"].phones[0]`, as templates and WHERE write them; and the cursor that
//! both grammars are read with.
//!
//! A bare name has letters, digits, bytes beyond ASCII and the marks that mean nothing to either grammar (`_ - $ @ # / ~ + ^ %`
//! ...); any other name is quoted in brackets.
use std::fmt;

/// Steps of one path at most: below the depth to which a document is read recursively.
pub const STEPS_MAX: usize = 64;

/// What is wrong, and at which byte of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub at: usize,
    pub message: String,
}

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Name(Box<str>),
    Index(usize),
}

/// A path as written; `all` when it ends in `[*]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path {
    pub steps: Vec<Step>,
    pub all: bool,
}

/// Which document a path leads into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Key,
    Value,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Key => "key",
            Part::Value => "value",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A position in a text of either grammar.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8], at: usize) -> Self {
        Cursor { text, at }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Goes past `what`, if it is next.
    pub fn eat(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what.as_bytes());
        if found {
            self.at += what.len();
        }
        found
    }

    pub fn expect(&mut self, what: &str) -> Result<(), Fault> {
        if self.eat(what) { Ok(()) } else { Err(self.expected(format_args!("`{what}`"))) }
    }

    pub fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let len = rest.iter().take_while(|&&b| wanted(b)).count();
        self.at += len;
        &rest[..len]
    }

    pub fn skip_blanks(&mut self) {
        self.take_while(|b| b.is_ascii_whitespace());
    }

    /// The complaint that something else was expected here.
    pub fn expected(&self, what: impl fmt::Display) -> Fault {
        let found = match self.rest() {
            [] => "the end".to_owned(),
            [b, ..] if b.is_ascii_graphic() => format!("`{}`", char::from(*b)),
            [b, ..] => format!("byte 0x{b:02x}"),
        };
        Fault { at: self.at, message: format!("expected {what}, found {found}") }
    }

    /// A bare name; empty when none is here.
    pub fn bare_name(&mut self) -> Result<&'a str, Fault> {
        self.text_while(is_name_byte)
    }

    fn text_while(&mut self, wanted: impl Fn(u8) -> bool) -> Result<&'a str, Fault> {
        let start = self.at;
        std::str::from_utf8(self.take_while(wanted)).map_err(|e| Fault {
            at: start + e.valid_up_to(),
            message: "a name that is not UTF-8".to_owned(),
        })
    }

    /// A header's name: bare, with dots and colons, or quoted.
    pub fn header_name(&mut self) -> Result<Box<str>, Fault> {
        if let Some(quoted) = self.quoted()? {
            return Ok(quoted);
        }
        let name = self.text_while(|b| is_name_byte(b) || b == b'.' || b == b':')?;
        if name.is_empty() { Err(self.expected("a header's name")) } else { Ok(name.into()) }
    }

    /// A text in double or single quotes, in which a backslash stands before quotes and backslashes.
    pub fn quoted(&mut self) -> Result<Option<Box<str>>, Fault> {
        let Some(quote @ (b'"' | b'\'')) = self.peek() else { return Ok(None) };
        let start = self.at;
        let mut text = Vec::new();
        self.at += 1;
        loop {
            text.extend_from_slice(self.take_while(|b| b != quote && b != b'\\'));
            match self.rest() {
                [b'\\', b @ (b'\\' | b'"' | b'\''), ..] => {
                    text.push(*b);
                    self.at += 2;
                }
                [b'\\', ..] => {
                    self.at += 1;
                    return Err(self.expected("a quote or a backslash after a backslash"));
                }
                [] => return Err(Fault { at: start, message: "a quote that does not close".to_owned() }),
                _ => break,
            }
        }
        self.at += 1;
        match String::from_utf8(text) {
            Ok(text) => Ok(Some(text.into_boxed_str())),
            Err(_) => Err(Fault { at: start, message: "a text that is not UTF-8".to_owned() }),
        }
    }

    /// Whether a path begins here.
    pub fn at_path(&self) -> bool {
        matches!(self.peek(), Some(b'.' | b'['))
    }

    /// A path of at least one step or `[*]`.
    pub fn path(&mut self) -> Result<Path, Fault> {
        let mut path = Path::default();
        while self.at_path() && !path.all {
            if path.steps.len() == STEPS_MAX {
                return Err(Fault { at: self.at, message: format!("a path of more than {STEPS_MAX} steps") });
            }
            let dot = self.eat(".");
            if self.eat("[") {
                match self.bracket()? {
                    Some(step) => path.steps.push(step),
                    None => path.all = true,
                }
                self.expect("]")?;
            } else if dot {
                let name = self.bare_name()?;
                if name.is_empty() {
                    return Err(self.expected("a name; others than plain ones are written [\"so\"]"));
                }
                path.steps.push(Step::Name(name.into()));
            }
        }
        Ok(path)
    }

    /// What stands in brackets; none for a star.
    fn bracket(&mut self) -> Result<Option<Step>, Fault> {
        if self.eat("*") {
            return Ok(None);
        }
        if let Some(name) = self.quoted()? {
            return Ok(Some(Step::Name(name)));
        }
        let mut digits = self.clone();
        let index = digits.take_while(|b| b.is_ascii_digit());
        let index = std::str::from_utf8(index).ok().and_then(|i| i.parse::<u32>().ok());
        let Some(index) = index else { return Err(self.expected("an index, a quoted name or `*`")) };
        self.at = digits.at;
        Ok(Some(Step::Index(index as usize)))
    }
}

fn is_name_byte(b: u8) -> bool {
    b > b' ' && b != 0x7f && !b".[]{}()<>=!&|,;:\"'`*?\\".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<(Path, usize), Fault> {
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        cursor.path().map(|p| (p, cursor.at))
    }

    fn steps(steps: &[&str]) -> Vec<Step> {
        let step = |s: &&str| s.parse().map_or_else(|_| Step::Name((*s).into()), Step::Index);
        steps.iter().map(step).collect()
    }

    #[test]
    fn paths() {
        let cases: [(&str, &[&str], bool, usize); 9] = [
            (".a", &["a"], false, 2),
            (".a.b-c[0].d", &["a", "b-c", "0", "d"], false, 11),
            (r#".a["odd name"]"#, &["a", "odd name"], false, 14),
            (r#"['it\'s \"so\"']x"#, &[r#"it's "so""#], false, 16),
            (".[3]", &["3"], false, 4),
            (".items[*]", &["items"], true, 9),
            ("[*]", &[], true, 3),
            (".größe <", &["größe"], false, 8),
            (".a<1", &["a"], false, 2),
        ];
        for (text, want, all, end) in cases {
            assert_eq!(path(text), Ok((Path { steps: steps(want), all }, end)), "{text}");
        }
    }

    #[test]
    fn faults_tell_the_place() {
        let cases = [
            (".", 1, "found the end"),
            (".a..b", 3, "expected a name"),
            (".a[-1]", 3, "expected an index"),
            (".a[99999999999]", 3, "expected an index"),
            (".a[1", 4, "expected `]`, found the end"),
            (".a[\"b]", 3, "does not close"),
            (r#"["\x"]"#, 3, "after a backslash, found `x`"),
            (".a[*x", 4, "expected `]`, found `x`"),
        ];
        for (text, at, message) in cases {
            let fault = path(text).unwrap_err();
            assert_eq!(fault.at, at, "{text}: {fault:?}");
            assert!(fault.message.contains(message), "{text}: {fault:?}");
        }
        assert_eq!(path(&".a".repeat(STEPS_MAX + 1)).unwrap_err().at, 2 * STEPS_MAX);
    }
}
