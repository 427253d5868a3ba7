//! What COMMAND DOCS tells of a command's arguments and history, read from `syntax.txt`, which says how it is written.
//!
//! Nothing is read before the first question. What is kept then is where each command's text begins; the text itself is
//! part of the program, and is parsed anew for each answer.
use std::borrow::Cow;
use std::sync::OnceLock;

const TEXT: &str = include_str!("syntax.txt");

/// What an argument is, as COMMAND DOCS names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    /// As COMMAND DOCS prints it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    fn of_mark(mark: &str) -> Option<Kind> {
        Some(match mark {
            "int" => Kind::Integer,
            "double" => Kind::Double,
            "pattern" => Kind::Pattern,
            "time" => Kind::UnixTime,
            "token" => Kind::PureToken,
            _ => return None,
        })
    }
}

/// One argument, or a group of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    pub name: Cow<'static, str>,
    pub kind: Kind,
    /// Which of the command's key specifications finds it.
    pub key_spec: Option<usize>,
    /// The word itself, or the one that stands before the value.
    pub token: Option<&'static str>,
    pub since: Option<&'static str>,
    pub deprecated: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
    /// Each time with its token.
    pub multiple_token: bool,
    /// What a group holds.
    pub parts: Vec<Argument>,
}

/// All that is told of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Syntax {
    /// Versions, and what each brought.
    pub history: Vec<(&'static str, &'static str)>,
    pub arguments: Vec<Argument>,
}

impl Syntax {
    /// By the command's own name (`get`, `config|set`), whatever it has been renamed to. Empty where there is nothing to
    /// tell.
    pub fn of(name: &str) -> Syntax {
        static INDEX: OnceLock<Vec<Entry>> = OnceLock::new();
        let index = INDEX.get_or_init(|| {
            let mut entries: Vec<Entry> = entries(TEXT).collect();
            entries.sort_unstable_by_key(|e| e.name);
            entries
        });
        let found = index.binary_search_by(|e| e.name.cmp(name)).ok().map(|at| &index[at]);
        // A test has parsed every entry.
        found.and_then(|entry| entry.parse().ok()).unwrap_or_default()
    }
}

/// A command's part of the text.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    arguments: &'static str,
    history: &'static str,
}

fn entries(text: &'static str) -> impl Iterator<Item = Entry> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (line, after) = rest.split_once('\n')?;
            if !line.is_empty() && !line.starts_with('#') {
                break;
            }
            rest = after;
        }
        let end = starts_of_lines(rest).find(|&at| !rest[at..].starts_with(' ')).unwrap_or(rest.len());
        let (entry, after) = rest.split_at(end);
        rest = after;
        let version = |at: &usize| entry[*at..].trim_start().starts_with(|c: char| c.is_ascii_digit());
        let (head, history) = entry.split_at(starts_of_lines(entry).find(version).unwrap_or(end));
        let (name, arguments) = head.split_at(head.find(char::is_whitespace).unwrap_or(head.len()));
        Some(Entry { name, arguments, history })
    })
}

/// Where lines start, but for the first.
fn starts_of_lines(text: &str) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)
}

impl Entry {
    fn parse(&self) -> Result<Syntax, String> {
        let mut parser = Parser { rest: self.arguments };
        let arguments = parser.row(&[]);
        let at = parser.rest.split_whitespace().next();
        let arguments =
            arguments.map_err(|what| format!("{}: {what} at `{}`", self.name, at.unwrap_or("the end")))?;
        let mut history = Vec::new();
        for line in self.history.lines() {
            let (version, text) = line.trim_start().split_once(' ').unwrap_or_default();
            if !is_version(version) || text.is_empty() {
                return Err(format!("{}: `{line}` is no version and text", self.name));
            }
            history.push((version, text));
        }
        Ok(Syntax { history, arguments })
    }
}

fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split('.').count() == 3 && text.split('.').all(number)
}

struct Parser {
    rest: &'static str,
}

type Parsed<T> = Result<T, &'static str>;

impl Parser {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, mark: &str) -> bool {
        let after = self.rest.strip_prefix(mark);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'static str {
        let (taken, rest) = self.rest.split_at(self.rest.find(|c| !is(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn expect(&mut self, mark: &str) -> Parsed<()> {
        if self.take(mark) { Ok(()) } else { Err("not the mark that belongs here") }
    }

    /// Arguments in turn, up to one of these marks or the end.
    fn row(&mut self, ends: &[char]) -> Parsed<Vec<Argument>> {
        let mut row = Vec::new();
        loop {
            self.space();
            if self.rest.is_empty() || self.rest.starts_with(ends) {
                return Ok(row);
            }
            row.push(self.item()?);
            if !self.rest.is_empty() && !self.rest.starts_with(ends) && !self.rest.starts_with([' ', '\n']) {
                return Err("arguments without a space between them");
            }
        }
    }

    fn item(&mut self) -> Parsed<Argument> {
        if !self.take("[") {
            return self.argument();
        }
        let mut argument = self.argument()?;
        argument.optional = true;
        self.expect("]")?;
        Ok(argument)
    }

    /// A word of letters, or a quoted one; whether it is quoted.
    fn word(&mut self) -> Parsed<(&'static str, bool)> {
        if self.take("\"") {
            let word = self.take_while(|c| c != '"' && c != '\n');
            self.expect("\"")?;
            return Ok((word, true));
        }
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) { Ok((word, false)) } else { Err("no word") }
    }

    fn argument(&mut self) -> Parsed<Argument> {
        let (word, quoted) = self.word()?;
        let capitals = !quoted && word.starts_with(|c: char| c.is_ascii_uppercase());
        if !quoted
            && word.bytes().any(|b| if capitals { b.is_ascii_lowercase() } else { b.is_ascii_uppercase() })
        {
            return Err("a word partly in capitals, before this");
        }
        let mut argument = if self.take("=") {
            let (name, quoted) = self.word()?;
            if !quoted && name.bytes().any(|b| b.is_ascii_uppercase()) {
                return Err("a token for a token");
            }
            self.named(name, Some(word))?
        } else if capitals {
            let mut argument = Argument::new(word.to_ascii_lowercase(), Kind::PureToken);
            argument.token = Some(word);
            argument
        } else {
            self.named(word, None)?
        };
        if self.take("@") {
            argument.since = Some(self.version()?);
        }
        if self.take("!") {
            argument.deprecated = Some(self.version()?);
        }
        argument.multiple_token = self.take("*...");
        argument.multiple = argument.multiple_token || self.take("...");
        if argument.multiple_token && argument.token.is_none() {
            return Err("no token to repeat, before this");
        }
        Ok(argument)
    }

    /// An argument from its type on.
    fn named(&mut self, name: &'static str, token: Option<&'static str>) -> Parsed<Argument> {
        let mut argument = Argument::new(name, Kind::String);
        argument.token = token;
        if self.take(":") {
            let mark = self.take_while(|c| c.is_ascii_lowercase());
            argument.kind = Kind::of_mark(mark).ok_or("not a type, before this")?;
            if argument.kind == Kind::PureToken && token.is_none() {
                return Err("a token without its word, before this");
            }
        }
        if self.take("#") {
            let number = self.take_while(|c| c.is_ascii_digit());
            argument.key_spec = Some(number.parse().map_err(|_| "no number of a key specification")?);
            argument.kind = match argument.kind {
                Kind::String => Kind::Key,
                Kind::Pattern => Kind::Pattern,
                _ => return Err("neither a key nor a pattern of keys, before this"),
            };
        } else if argument.kind == Kind::String && self.take("<") {
            argument.kind = Kind::OneOf;
            loop {
                self.space();
                argument.parts.push(self.item()?);
                self.space();
                if !self.take("|") {
                    break;
                }
            }
            self.expect(">")?;
        } else if argument.kind == Kind::String && self.take("(") {
            argument.kind = Kind::Block;
            argument.parts = self.row(&[')'])?;
            self.expect(")")?;
            if argument.parts.is_empty() {
                return Err("an empty group, before this");
            }
        }
        Ok(argument)
    }

    fn version(&mut self) -> Parsed<&'static str> {
        // Dots that repeat the argument may follow.
        let end = self.rest.find("...").unwrap_or(self.rest.len());
        let end = self.rest[..end].find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(end);
        let (version, rest) = self.rest.split_at(end);
        if !is_version(version) {
            return Err("no version");
        }
        self.rest = rest;
        Ok(version)
    }
}

impl Argument {
    fn new(name: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Argument {
            name: name.into(),
            kind,
            key_spec: None,
            token: None,
            since: None,
            deprecated: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            parts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::command::table::CommandTable;
    use std::collections::BTreeSet;

    fn parse(line: &'static str) -> Result<Vec<Argument>, String> {
        let entry = Entry { name: "x", arguments: line, history: "" };
        entry.parse().map(|syntax| syntax.arguments)
    }

    #[test]
    fn the_notation_says_all_there_is_to_say() {
        let found = parse(
            " key#0 [LIMIT=offset_count(offset:int\n      count:int)@2.8.0!6.2.0] [GET=by:pattern#1*...]",
        );
        let part = |name| Argument::new(name, Kind::Integer);
        let expected = [
            Argument { key_spec: Some(0), ..Argument::new("key", Kind::Key) },
            Argument {
                token: Some("LIMIT"),
                since: Some("2.8.0"),
                deprecated: Some("6.2.0"),
                optional: true,
                parts: vec![part("offset"), part("count")],
                ..Argument::new("offset_count", Kind::Block)
            },
            Argument {
                token: Some("GET"),
                key_spec: Some(1),
                optional: true,
                multiple: true,
                multiple_token: true,
                ..Argument::new("by", Kind::Pattern)
            },
        ];
        assert_eq!(found.as_deref(), Ok(&expected[..]));

        let found = parse(r#"how<NX|"~"=nearly:token | "ip:port">@3.0.6..."#);
        let token = |name, token| Argument { token: Some(token), ..Argument::new(name, Kind::PureToken) };
        let expected = [Argument {
            since: Some("3.0.6"),
            multiple: true,
            parts: vec![token("nx", "NX"), token("nearly", "~"), Argument::new("ip:port", Kind::String)],
            ..Argument::new("how", Kind::OneOf)
        }];
        assert_eq!(found.as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn a_slip_is_found() {
        let slips = [
            "[key#0",
            "key#0]",
            "key#",
            "key#0:int",
            "n:integer",
            "n:int#0",
            "a(",
            "a()",
            "a<>",
            "a<b|>",
            "a<b|c",
            "a(b c>",
            "a|b",
            "a@7",
            "a@7.0.0.",
            "a@",
            "a...b",
            "Nx",
            "nX",
            "NX=XX",
            "a*...",
            "a:token",
            "[a b]",
            "\"a",
            "7",
            "[[a]]",
        ];
        for slip in slips {
            assert!(parse(slip).is_err(), "`{slip}` is taken for {:?}", parse(slip));
        }
        for history in ["  7.0 more", "  7.0.0", "  7.0.0 ", "  seven more"] {
            let entry = Entry { name: "x", arguments: "", history };
            assert!(entry.parse().is_err(), "`{history}` is taken");
        }
    }

    fn table() -> CommandTable {
        #[cfg(feature = "kafka")]
        let more = crate::kafka::commands::commands();
        #[cfg(not(feature = "kafka"))]
        let more = Vec::new();
        CommandTable::new([crate::server::all_commands(), more].concat(), &[])
    }

    #[test]
    fn every_line_parses_and_names_a_command() {
        let table = table();
        let mut seen = BTreeSet::new();
        for entry in entries(TEXT) {
            let syntax = entry.parse().unwrap_or_else(|why| panic!("{why}"));
            assert!(seen.insert(entry.name), "{} stands there twice", entry.name);
            assert_eq!(Syntax::of(entry.name), syntax, "{} is not found again", entry.name);
            let Some(row) = table.rows().iter().find(|c| c.full_name == entry.name) else {
                let absent = !cfg!(feature = "kafka") && entry.name.starts_with("kafka|");
                assert!(absent, "{} is no command", entry.name);
                continue;
            };
            let mut specs = BTreeSet::new();
            key_specs(&syntax.arguments, &mut specs);
            let known = specs.iter().all(|&spec| spec < row.specs.len());
            assert!(known, "{}: key specifications {specs:?} of {}", entry.name, row.specs.len());
            assert!(!syntax.arguments.is_empty() || !syntax.history.is_empty(), "{}: nothing", entry.name);
            let versions: Vec<Vec<u32>> = syntax.history.iter().map(|(v, _)| numbers(v)).collect();
            assert!(versions.is_sorted(), "{}: history out of order", entry.name);
        }
        assert!(seen.len() > 200, "the text is read as {} commands", seen.len());
        assert_eq!(Syntax::of("no such command"), Syntax::default());
    }

    fn numbers(version: &str) -> Vec<u32> {
        version.split('.').map(|part| part.parse().expect("a number")).collect()
    }

    fn key_specs(arguments: &[Argument], found: &mut BTreeSet<usize>) {
        for argument in arguments {
            found.extend(argument.key_spec);
            key_specs(&argument.parts, found);
        }
    }

    /// Commands whose rows take arguments of which there is nothing to tell.
    const UNTOLD: &[(&str, &str)] = &[
        ("quit", "what follows it is ignored"),
        ("debug", "each of its words has a grammar of its own; DEBUG HELP tells them"),
    ];

    #[test]
    fn every_command_that_takes_arguments_has_a_line() {
        let table = table();
        let takes = |c: &Command| c.arity.0 != if c.parent.is_some() { 2 } else { 1 };
        for row in table.rows().iter().filter(|c| !table.is_container(c)) {
            let name = row.full_name.as_str();
            let told = !Syntax::of(name).arguments.is_empty();
            let untold = UNTOLD.iter().any(|(command, _)| *command == name);
            assert_eq!(told, takes(row) && !untold, "{name}, which takes {:?}", row.arity);
        }
    }
}
