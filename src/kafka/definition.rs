//! What KAFKA CREATE says: the grammar of a pipeline, to a [`Definition`] and back.
//!
//! ```text
//! name [FROM connection] TOPIC topic [PARTITIONS 0-7,9] [START earliest|latest|<unix ms>] [KEY raw|json] [VALUE raw|json]
//!      [WHERE condition] DO line [DO line ...] [TOMBSTONE line]
//!      [ON ERROR FAIL|SKIP|DLQ topic|STREAM key] [MAXRATE n]
//! ```
//!
//! Clauses come in any order, each once but DO. An empty WHERE or TOMBSTONE, and MAXRATE 0, are none. Lines and the
//! condition are compiled elsewhere.
use std::fmt;
use std::ops::RangeInclusive;

use super::format::FormatName;
use super::path::Fault;
use crate::base::split::{quote, split_args};

/// A DO line or a condition, bytes.
pub const LINE_MAX: usize = 64 << 10;
pub const COMMANDS_MAX: usize = 64;
const NAME_MAX: usize = 128;
/// Kafka's own limit.
const TOPIC_MAX: usize = 249;
const PARTITION_MAX: i32 = 99_999;
const RANGES_MAX: usize = 1024;
pub const DEFAULT_CONNECTION: &str = "main";

/// A pipeline, as its user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    pub connection: String,
    pub topic: String,
    /// Ascending and apart; none for all of them.
    pub partitions: Option<Vec<RangeInclusive<i32>>>,
    /// For partitions whose offset is not known yet.
    pub start: Start,
    /// None where the templates tell: a path implies JSON.
    pub key: Option<FormatName>,
    pub value: Option<FormatName>,
    pub where_: Option<String>,
    /// At least one.
    pub dos: Vec<String>,
    pub tombstone: Option<String>,
    pub on_error: OnError,
    /// Records a second.
    pub max_rate: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
    /// The first record at or after this instant, Unix milliseconds.
    At(i64),
}

/// What happens to a record that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnError {
    /// The partition stops there.
    #[default]
    Fail,
    Skip,
    /// It goes to this topic.
    Dlq(String),
    /// It goes to the stream at this key.
    Stream(String),
}

/// Why a definition is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrammarError {
    pub place: Where,
    /// In the text that `place` names.
    pub byte: Option<usize>,
    pub message: String,
}

/// A part of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Definition,
    /// The clause that this word begins.
    Clause(&'static str),
    Where,
    /// An argument of a command line; 0 is the command's name.
    Line {
        line: Line,
        argument: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Counted from 1.
    Do(usize),
    Tombstone,
}

impl GrammarError {
    pub(super) fn new(place: Where, fault: Fault) -> Self {
        GrammarError { place, byte: Some(fault.at), message: fault.message }
    }

    fn clause(word: &'static str, message: impl Into<String>) -> Self {
        GrammarError { place: Where::Clause(word), byte: None, message: message.into() }
    }

    fn whole(message: impl Into<String>) -> Self {
        GrammarError { place: Where::Definition, byte: None, message: message.into() }
    }
}

impl fmt::Display for GrammarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Where::Definition => {}
            Where::Clause(word) => f.write_str(word)?,
            Where::Where => f.write_str("WHERE")?,
            Where::Line { line, argument } => {
                match line {
                    Line::Do(n) => write!(f, "DO {n}")?,
                    Line::Tombstone => f.write_str("TOMBSTONE")?,
                }
                write!(f, ", argument {argument}")?;
            }
        }
        if let Some(byte) = self.byte {
            write!(f, ", byte {byte}")?;
        }
        if self.place != Where::Definition {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for GrammarError {}

impl Definition {
    /// What follows KAFKA CREATE, or `kafka-pipeline` in the configuration.
    pub fn parse<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, GrammarError> {
        let mut args = args.into_iter();
        let name = text("the pipeline's name", args.next())?;
        if !is_name(&name) {
            return Err(GrammarError::whole(
                "a pipeline's name is of up to 128 letters, digits and the marks `_`, `-`, `.`",
            ));
        }
        let mut definition = Definition {
            name,
            connection: DEFAULT_CONNECTION.to_owned(),
            topic: String::new(),
            partitions: None,
            start: Start::default(),
            key: None,
            value: None,
            where_: None,
            dos: Vec::new(),
            tombstone: None,
            on_error: OnError::default(),
            max_rate: None,
        };
        definition.alter(args)?;
        if definition.topic.is_empty() {
            return Err(GrammarError::whole("a pipeline needs a TOPIC"));
        }
        if definition.dos.is_empty() {
            return Err(GrammarError::whole("a pipeline needs a DO"));
        }
        Ok(definition)
    }

    /// Sets what the clauses say, and leaves the rest; any DO replaces all that there were. Unchanged after an error.
    pub fn alter<'a>(&mut self, args: impl IntoIterator<Item = &'a [u8]>) -> Result<(), GrammarError> {
        let mut changed = self.clone();
        let mut clauses = Clauses { args: args.into_iter(), seen: Vec::new() };
        let mut dos = Vec::new();
        while let Some(word) = clauses.word()? {
            changed.set(word, &mut clauses, &mut dos)?;
        }
        if !dos.is_empty() {
            changed.dos = dos;
        }
        *self = changed;
        Ok(())
    }

    fn set<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        word: &'static str,
        clauses: &mut Clauses<I>,
        dos: &mut Vec<String>,
    ) -> Result<(), GrammarError> {
        let refuse = |message: &str| Err(GrammarError::clause(word, message));
        let given = clauses.text(word)?;
        match word {
            "FROM" if is_name(&given) => self.connection = given,
            "FROM" => return refuse("not a connection's name"),
            "TOPIC" => self.topic = topic(word, given)?,
            "PARTITIONS" => self.partitions = Some(partitions(&given)?),
            "START" => self.start = start(&given)?,
            "KEY" => self.key = Some(format(word, &given)?),
            "VALUE" => self.value = Some(format(word, &given)?),
            "WHERE" => self.where_ = line(word, given)?,
            "TOMBSTONE" => self.tombstone = line(word, given)?,
            "DO" if dos.len() == COMMANDS_MAX => return refuse("more than 64 commands"),
            "DO" => match line(word, given)? {
                Some(line) => dos.push(line),
                None => return refuse("an empty line"),
            },
            "ON" if !given.eq_ignore_ascii_case("error") => return refuse("expected ON ERROR"),
            "ON" => self.on_error = clauses.on_error()?,
            _ => match given.parse::<u64>() {
                Ok(rate) => self.max_rate = Some(rate).filter(|&r| r > 0),
                Err(_) => return refuse("not a number of records a second"),
            },
        }
        Ok(())
    }

    /// The arguments that `parse` reads back, in one order, without what goes without saying.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = vec![self.name.clone()];
        let mut clause = |word: &str, text: String| args.extend([word.to_owned(), text]);
        clause("FROM", self.connection.clone());
        clause("TOPIC", self.topic.clone());
        if let Some(ranges) = &self.partitions {
            clause("PARTITIONS", print_ranges(ranges));
        }
        match self.start {
            Start::Earliest => {}
            Start::Latest => clause("START", "latest".to_owned()),
            Start::At(ms) => clause("START", ms.to_string()),
        }
        for (word, format) in [("KEY", self.key), ("VALUE", self.value)] {
            if let Some(format) = format {
                clause(word, format.name().to_owned());
            }
        }
        if let Some(condition) = &self.where_ {
            clause("WHERE", condition.clone());
        }
        for line in &self.dos {
            clause("DO", line.clone());
        }
        if let Some(line) = &self.tombstone {
            clause("TOMBSTONE", line.clone());
        }
        let on_error: &[&str] = match &self.on_error {
            OnError::Fail => &[],
            OnError::Skip => &["ON", "ERROR", "SKIP"],
            OnError::Dlq(topic) => &["ON", "ERROR", "DLQ", topic],
            OnError::Stream(key) => &["ON", "ERROR", "STREAM", key],
        };
        args.extend(on_error.iter().map(|word| (*word).to_owned()));
        if let Some(rate) = self.max_rate {
            args.extend(["MAXRATE".to_owned(), rate.to_string()]);
        }
        args
    }

    /// `to_args` as one printable line, quoted where needed.
    pub fn to_line(&self) -> String {
        let mut out = Vec::new();
        for arg in self.to_args() {
            if !out.is_empty() {
                out.push(b' ');
            }
            let plain = |b: u8| b.is_ascii_graphic() && !b"\"'\\#".contains(&b);
            if !arg.is_empty() && arg.bytes().all(plain) {
                out.extend_from_slice(arg.as_bytes());
            } else {
                quote(&mut out, arg.as_bytes());
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Reads what `to_line` wrote.
    pub fn parse_line(line: &[u8]) -> Result<Self, GrammarError> {
        let args = split_args(line).map_err(|e| GrammarError::whole(e.to_string()))?;
        Self::parse(args.iter().map(Vec::as_slice))
    }

    /// Whether the pipeline reads this partition.
    pub fn reads(&self, partition: i32) -> bool {
        self.partitions.as_ref().is_none_or(|ranges| ranges.iter().any(|r| r.contains(&partition)))
    }
}

const WORDS: [&str; 11] =
    ["FROM", "TOPIC", "PARTITIONS", "START", "KEY", "VALUE", "WHERE", "DO", "TOMBSTONE", "ON", "MAXRATE"];

struct Clauses<I> {
    args: I,
    seen: Vec<&'static str>,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Clauses<I> {
    /// The word that begins the next clause.
    fn word(&mut self) -> Result<Option<&'static str>, GrammarError> {
        let Some(given) = self.args.next() else { return Ok(None) };
        let known = WORDS.into_iter().find(|w| w.as_bytes().eq_ignore_ascii_case(given));
        let Some(word) = known else {
            let given = given.get(..64).unwrap_or(given).escape_ascii();
            let expected = WORDS.join(", ").replace("ON,", "ON ERROR,");
            return Err(GrammarError::whole(format!("expected one of {expected}; found `{given}`")));
        };
        if word != "DO" && self.seen.contains(&word) {
            return Err(GrammarError::clause(word, "given twice"));
        }
        self.seen.push(word);
        Ok(Some(word))
    }

    fn text(&mut self, word: &'static str) -> Result<String, GrammarError> {
        text("what follows", self.args.next()).map_err(|e| GrammarError::clause(word, e.message))
    }

    fn on_error(&mut self) -> Result<OnError, GrammarError> {
        const ON: &str = "ON ERROR";
        let what = self.text(ON)?;
        match what.to_ascii_uppercase().as_str() {
            "FAIL" => Ok(OnError::Fail),
            "SKIP" => Ok(OnError::Skip),
            "DLQ" => Ok(OnError::Dlq(topic(ON, self.text(ON)?)?)),
            "STREAM" => match self.text(ON)? {
                key if key.is_empty() || key.len() > LINE_MAX => Err(GrammarError::clause(ON, "not a key")),
                key => Ok(OnError::Stream(key)),
            },
            _ => Err(GrammarError::clause(ON, "expected FAIL, SKIP, DLQ topic or STREAM key")),
        }
    }
}

fn text(what: &str, arg: Option<&[u8]>) -> Result<String, GrammarError> {
    let arg = arg.ok_or_else(|| GrammarError::whole(format!("expected {what}, found the end")))?;
    match std::str::from_utf8(arg) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => {
            Err(GrammarError::whole("not UTF-8; other bytes can be written \\xHH in a line's double quotes"))
        }
    }
}

fn is_plain(text: &str, max: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    !text.is_empty() && text.len() <= max && text.bytes().all(plain)
}

fn is_name(text: &str) -> bool {
    is_plain(text, NAME_MAX)
}

fn topic(word: &'static str, text: String) -> Result<String, GrammarError> {
    if is_plain(&text, TOPIC_MAX) && text != "." && text != ".." {
        return Ok(text);
    }
    Err(GrammarError::clause(word, "not a topic's name"))
}

fn format(word: &'static str, text: &str) -> Result<FormatName, GrammarError> {
    FormatName::find(text).ok_or_else(|| {
        let known = FormatName::ALL.map(FormatName::name).join(" or ");
        GrammarError::clause(word, format!("expected {known}"))
    })
}

fn line(word: &'static str, text: String) -> Result<Option<String>, GrammarError> {
    if text.len() > LINE_MAX {
        return Err(GrammarError::clause(word, format!("longer than {LINE_MAX} bytes")));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

fn start(text: &str) -> Result<Start, GrammarError> {
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        text => match text.parse() {
            Ok(ms) if ms >= 0 => Ok(Start::At(ms)),
            _ => {
                Err(GrammarError::clause("START", "expected earliest, latest or a Unix time in milliseconds"))
            }
        },
    }
}

/// `0-7,9` to ascending ranges that do not touch.
fn partitions(text: &str) -> Result<Vec<RangeInclusive<i32>>, GrammarError> {
    let refuse = |message: String| GrammarError::clause("PARTITIONS", message);
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|&n| digits && n <= PARTITION_MAX)
    };
    let mut ranges: Vec<RangeInclusive<i32>> = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => ranges.push(first..=last),
            _ => return Err(refuse("expected numbers and ranges such as 0-7,9".to_owned())),
        }
        if ranges.len() > RANGES_MAX {
            return Err(refuse(format!("more than {RANGES_MAX} ranges")));
        }
    }
    ranges.sort_by_key(|r| *r.start());
    let mut joined: Vec<RangeInclusive<i32>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if *range.start() <= *last.end() + 1 => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => joined.push(range),
        }
    }
    Ok(joined)
}

fn print_ranges(ranges: &[RangeInclusive<i32>]) -> String {
    let print = |range: &RangeInclusive<i32>| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    ranges.iter().map(print).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &str) -> Result<Definition, String> {
        Definition::parse_line(line.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_whole_grammar() {
        let line = r#"orders from other topic orders.v1 PARTITIONS 9,0-3,2-5,6 start 1700000000000 key raw VALUE JSON
            where ".status == 'paid'" do "HSET order:{key} {*}" Do "INCRBY n 1" tombstone "DEL order:{key}"
            on error dlq orders.dead maxrate 500"#;
        let definition = parse(line).unwrap();
        let want = Definition {
            name: "orders".into(),
            connection: "other".into(),
            topic: "orders.v1".into(),
            partitions: Some(vec![0..=6, 9..=9]),
            start: Start::At(1_700_000_000_000),
            key: Some(FormatName::Raw),
            value: Some(FormatName::Json),
            where_: Some(".status == 'paid'".into()),
            dos: vec!["HSET order:{key} {*}".into(), "INCRBY n 1".into()],
            tombstone: Some("DEL order:{key}".into()),
            on_error: OnError::Dlq("orders.dead".into()),
            max_rate: Some(500),
        };
        assert_eq!(definition, want);
        assert!(definition.reads(6) && definition.reads(9) && !definition.reads(7));
        let small = parse("o TOPIC t DO \"INCR n\"").unwrap();
        assert_eq!(small.to_line(), "o FROM main TOPIC t DO \"INCR n\"");
        assert!(small.reads(12345));
        assert_eq!((small.start, small.on_error), (Start::Earliest, OnError::Fail));
    }

    #[test]
    fn alterations() {
        let mut definition = parse("o TOPIC t DO \"INCR n\" DO \"INCR m\" WHERE .a MAXRATE 5").unwrap();
        let before = definition.clone();
        let mut alter = |args: &[&str]| {
            let altered = definition.alter(args.iter().map(|a| a.as_bytes()));
            altered.map(|()| definition.clone()).map_err(|e| e.to_string())
        };
        assert_eq!(alter(&["MAXRATE", "7", "DO"]), Err("DO: expected what follows, found the end".into()));
        assert_eq!(alter(&[]), Ok(before.clone()));
        let after = alter(&["WHERE", "", "DO", "INCR x", "MAXRATE", "0"]);
        assert_eq!(
            after,
            Ok(Definition { where_: None, dos: vec!["INCR x".into()], max_rate: None, ..before })
        );
    }

    #[test]
    fn refusals() {
        let cases = [
            ("", "expected the pipeline's name, found the end"),
            ("a:b TOPIC t DO x", "a pipeline's name is"),
            ("o DO x", "a pipeline needs a TOPIC"),
            ("o TOPIC t", "a pipeline needs a DO"),
            ("o TOPIC", "TOPIC: expected what follows, found the end"),
            ("o TOPIC t/x DO x", "TOPIC: not a topic's name"),
            ("o TOPIC t TOPIC u DO x", "TOPIC: given twice"),
            ("o TOPIC t NOSUCH u", "expected one of FROM, TOPIC"),
            ("o TOPIC t PARTITIONS 3-1 DO x", "PARTITIONS: expected numbers and ranges"),
            ("o TOPIC t PARTITIONS 0-99999999 DO x", "PARTITIONS: expected"),
            ("o TOPIC t PARTITIONS +1 DO x", "PARTITIONS: expected"),
            ("o TOPIC t START -5 DO x", "START: expected earliest"),
            ("o TOPIC t VALUE avro DO x", "VALUE: expected raw or json"),
            ("o TOPIC t DO ' '", "DO: an empty line"),
            ("o TOPIC t DO x ON FIRE", "ON: expected ON ERROR"),
            ("o TOPIC t DO x ON ERROR PANIC", "ON ERROR: expected FAIL, SKIP"),
            ("o TOPIC t DO x ON ERROR STREAM ''", "ON ERROR: not a key"),
            ("o TOPIC t DO x MAXRATE fast", "MAXRATE: not a number"),
            ("o TOPIC t DO \"\\xff\"", "DO: not UTF-8"),
            ("o 'x", "unbalanced quotes"),
        ];
        for (line, message) in cases {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with(message), "{line}: {error}");
        }
        let many = format!("o TOPIC t{}", " DO x".repeat(COMMANDS_MAX + 1));
        assert_eq!(parse(&many), Err("DO: more than 64 commands".into()));
        let long = format!("o TOPIC t DO {}", "x".repeat(LINE_MAX + 1));
        assert_eq!(parse(&long), Err("DO: longer than 65536 bytes".into()));
    }

    fn definitions() -> impl Strategy<Value = Definition> {
        let line = || "[ -~]{0,20}x|\\PC{0,8}y|\\n\"'\\{x";
        let format = || proptest::option::of(prop_oneof![Just(FormatName::Raw), Just(FormatName::Json)]);
        let start =
            prop_oneof![Just(Start::Earliest), Just(Start::Latest), (0..i64::MAX).prop_map(Start::At)];
        let partitions = proptest::collection::btree_set(0..30i32, 1..9).prop_map(|set| {
            let text: Vec<String> = set.iter().map(i32::to_string).collect();
            partitions(&text.join(",")).expect("numbers")
        });
        let on_error = prop_oneof![
            Just(OnError::Fail),
            Just(OnError::Skip),
            "[a-z]{1,5}".prop_map(OnError::Dlq),
            "\\PC{0,4}k".prop_map(OnError::Stream),
        ];
        let names = ("[a-zA-Z0-9_.-]{1,9}", "[a-z]{1,5}", "[a-zA-Z0-9_-]{1,9}");
        let optional = || proptest::option::of(line());
        let rest = (optional(), proptest::collection::vec(line(), 1..4), optional(), on_error);
        let all = (names, proptest::option::of(partitions), start, format(), format(), rest, 0..9u64);
        all.prop_map(|((name, connection, topic), partitions, start, key, value, rest, rate)| {
            let (where_, dos, tombstone, on_error) = rest;
            let max_rate = Some(rate).filter(|&r| r > 0);
            Definition {
                name,
                connection,
                topic,
                partitions,
                start,
                key,
                value,
                where_,
                dos,
                tombstone,
                on_error,
                max_rate,
            }
        })
    }

    proptest! {
        #[test]
        fn definitions_read_back(definition in definitions()) {
            let args = definition.to_args();
            let parsed = Definition::parse(args.iter().map(|a| a.as_bytes()));
            prop_assert_eq!(parsed.as_ref(), Ok(&definition));
            let line = definition.to_line();
            prop_assert!(line.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            prop_assert_eq!(Definition::parse_line(line.as_bytes()), Ok(definition));
        }

        #[test]
        fn any_arguments_are_safe(args in proptest::collection::vec(prop_oneof![
            proptest::sample::select(&WORDS[..]).prop_map(|w| w.as_bytes().to_vec()),
            Just(b"error".to_vec()), Just(b"stream".to_vec()), Just(b"0-1".to_vec()), any::<Vec<u8>>(),
        ], 0..12)) {
            let parsed = Definition::parse(args.iter().map(Vec::as_slice));
            if let Ok(definition) = parsed {
                prop_assert_eq!(Definition::parse_line(definition.to_line().as_bytes()), Ok(definition));
            }
        }
    }
}
