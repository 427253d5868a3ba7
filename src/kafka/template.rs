//! Templates: command lines with places for what a record has.
//!
//! | written | renders |
//! |---|---|
//! | `{key}` `{value}` `{topic}` `{partition}` `{offset}` `{timestamp}` `{header:name}` | that part of the record, its bytes whatever the format |
//! | `{.a.b[0]["odd name"]}`, `{[0]}` | a place in the value's document |
//! | `{key.a}` | a place in the key's document |
//! | `{?...}` | any of these, empty when missing |
//! | `{*}` | the value, an object: its names and values, an argument each |
//! | `{.a[*]}`, `{[*]}`, `{key[*]}` | an array's elements, or an object's names and values, an argument each |
//! | `{{`, `}}` | a brace |
//!
//! Strings render without quotes and escapes, numbers with their digits, nested values as their JSON text. Null is as good
//! as missing: an error, or in a spread left out. A spread is a whole argument; where an optional one leaves its command
//! too short, the command is not run. What is rendered never becomes more arguments than were written, but by a spread.
use super::definition::{Definition, GrammarError, Line, Where};
use super::filter::Filter;
use super::format::{Container, Format, FormatName, Found, Kind, Paths};
use super::path::{Cursor, Fault, Part, Path};
use super::record::{Buffer, Record, RecordError, Rendered, Verdict};
use crate::base::num::fmt_i64;
use crate::base::split::split_args;
use crate::command::row::{Arity, Group};
use crate::command::table::CommandTable;
use crate::command::{Command, Flags};

/// Templates and paths of a pipeline, at most.
pub const TEMPLATES_MAX: usize = 1024;

/// A definition, compiled against a server's commands.
pub struct Pipeline {
    filter: Option<Filter>,
    commands: Vec<CommandTemplate>,
    tombstone: Option<CommandTemplate>,
    key: Input,
    value: Input,
}

/// How a part of the record is read, and what for.
struct Input {
    part: Part,
    name: FormatName,
    format: Box<dyn Format>,
    paths: Paths,
}

/// What all templates and WHERE want of the record's documents.
#[derive(Default)]
pub(super) struct Wants {
    key: Paths,
    value: Paths,
    count: usize,
}

impl Wants {
    fn count(&mut self, at: usize) -> Result<(), Fault> {
        self.count += 1;
        let message = || format!("more than {TEMPLATES_MAX} templates and paths");
        if self.count > TEMPLATES_MAX { Err(Fault { at, message: message() }) } else { Ok(()) }
    }

    fn paths(&mut self, part: Part) -> &mut Paths {
        match part {
            Part::Key => &mut self.key,
            Part::Value => &mut self.value,
        }
    }

    pub fn want(&mut self, part: Part, path: &Path, at: usize) -> Result<usize, Fault> {
        self.count(at)?;
        Ok(self.paths(part).want(path))
    }

    fn want_all(&mut self, part: Part, path: &Path, at: usize) -> Result<usize, Fault> {
        self.count(at)?;
        Ok(self.paths(part).want_all(path))
    }
}

/// What a line may use.
pub(super) struct Context {
    /// The formats that the definition names.
    key: Option<FormatName>,
    value: Option<FormatName>,
    tombstone: bool,
}

impl Context {
    pub fn check_path(&self, part: Part, at: usize) -> Result<(), Fault> {
        let (format, word) = match part {
            Part::Key => (self.key, "KEY"),
            Part::Value => (self.value, "VALUE"),
        };
        if part == Part::Value {
            self.check_value(at)?;
        }
        match format.filter(|f| !f.has_paths()) {
            Some(f) => {
                Err(Fault { at, message: format!("a path, but the definition says {word} {}", f.name()) })
            }
            None => Ok(()),
        }
    }

    fn check_value(&self, at: usize) -> Result<(), Fault> {
        let message = || "a tombstone has no value".to_owned();
        if self.tombstone { Err(Fault { at, message: message() }) } else { Ok(()) }
    }
}

/// A record, and what was found in its documents.
pub(super) struct Seen<'a, R> {
    pub record: &'a R,
    key: &'a Found,
    value: &'a Found,
}

impl<'a, R: Record> Seen<'a, R> {
    fn document(&self, part: Part) -> (&'a Found, &'a [u8]) {
        match part {
            Part::Key => (self.key, self.record.key().unwrap_or_default()),
            Part::Value => (self.value, self.record.value().unwrap_or_default()),
        }
    }

    #[inline]
    pub fn piece(&self, part: Part, slot: usize) -> (Kind, &'a [u8]) {
        let (found, document) = self.document(part);
        let piece = found.piece(slot);
        (piece.kind, found.bytes(piece.place, document))
    }
}

/// A command with templates in its arguments.
struct CommandTemplate {
    /// In the command table.
    id: usize,
    name: Box<str>,
    arity: Arity,
    args: Vec<Arg>,
    spreads: bool,
    /// Has an optional spread.
    may_vanish: bool,
}

#[derive(Debug)]
enum Arg {
    Literal(Box<[u8]>),
    Pieces(Vec<Piece>),
    Spread(Spread),
}

#[derive(Debug)]
enum Piece {
    Literal(Box<[u8]>),
    Place(Place),
}

/// One template.
#[derive(Debug)]
struct Place {
    what: What,
    optional: bool,
    /// As written, for errors.
    text: Box<str>,
}

#[derive(Debug)]
enum What {
    Key,
    Value,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Header(Box<str>),
    Path(Part, usize),
}

#[derive(Debug)]
struct Spread {
    part: Part,
    spread: usize,
    /// `{*}`: no arrays.
    object: bool,
    optional: bool,
    text: Box<str>,
}

impl Pipeline {
    /// Checks everything that can be checked without a record.
    pub fn compile(definition: &Definition, table: &CommandTable) -> Result<Pipeline, GrammarError> {
        let mut wants = Wants::default();
        let mut context = Context { key: definition.key, value: definition.value, tombstone: false };
        let filter = match &definition.where_ {
            Some(text) => Some(
                Filter::parse(text.as_bytes(), &context, &mut wants)
                    .map_err(|fault| GrammarError::new(Where::Where, fault))?,
            ),
            None => None,
        };
        let mut commands = Vec::with_capacity(definition.dos.len());
        for (i, line) in definition.dos.iter().enumerate() {
            commands.push(CommandTemplate::parse(line, Line::Do(i + 1), table, &context, &mut wants)?);
        }
        context.tombstone = true;
        let tombstone = match &definition.tombstone {
            Some(line) => Some(CommandTemplate::parse(line, Line::Tombstone, table, &context, &mut wants)?),
            None => None,
        };
        Ok(Pipeline {
            filter,
            commands,
            tombstone,
            key: Input::new(Part::Key, definition.key, wants.key),
            value: Input::new(Part::Value, definition.value, wants.value),
        })
    }

    /// The formats of key and value: as the definition says, or as its templates need them.
    pub fn formats(&self) -> (FormatName, FormatName) {
        (self.key.name, self.value.name)
    }

    /// Appends the commands of a record to `out`. With any verdict but `Apply`, and with an error, nothing is appended.
    pub fn render(&self, record: &impl Record, out: &mut Rendered) -> Result<Verdict, RecordError> {
        out.out.begin_record();
        let rendered = self.render_record(record, out);
        if rendered.is_err() {
            out.out.drop_record();
        }
        rendered
    }

    fn render_record<R: Record>(&self, record: &R, out: &mut Rendered) -> Result<Verdict, RecordError> {
        let Rendered { out, key, value } = out;
        let tombstone = record.value().is_none();
        let commands = match (&self.tombstone, tombstone) {
            (Some(tombstone), true) => std::slice::from_ref(tombstone),
            (None, true) => return Ok(Verdict::Ignored),
            (_, false) => &self.commands,
        };
        // A tombstone has nothing that a filter on the value could look at. It must not stop what takes keys away again.
        let filter = self.filter.as_ref().filter(|f| !(tombstone && f.needs.value));
        if let Some(filter) = filter.filter(|f| !f.needs.document)
            && !filter.wants(&Seen { record, key, value })
        {
            return Ok(Verdict::Filtered);
        }
        self.key.read(record.key(), key)?;
        self.value.read(record.value(), value)?;
        let seen = Seen { record, key, value };
        if let Some(filter) = filter.filter(|f| f.needs.document)
            && !filter.wants(&seen)
        {
            return Ok(Verdict::Filtered);
        }
        commands.iter().try_for_each(|command| command.render(&seen, out))?;
        Ok(Verdict::Apply)
    }
}

impl Input {
    fn new(part: Part, named: Option<FormatName>, paths: Paths) -> Self {
        let implied = if paths.is_empty() { FormatName::Raw } else { FormatName::Json };
        let name = named.unwrap_or(implied);
        Input { part, name, format: name.open(), paths }
    }

    fn read(&self, document: Option<&[u8]>, found: &mut Found) -> Result<(), RecordError> {
        found.begin(&self.paths);
        let Some(document) = document else { return Ok(()) };
        self.format.read(document, &self.paths, found).map_err(|fault| RecordError::Document {
            part: self.part,
            format: self.name.name(),
            at: fault.at,
            why: fault.message,
        })
    }
}

impl CommandTemplate {
    fn parse(
        line: &str,
        place: Line,
        table: &CommandTable,
        context: &Context,
        wants: &mut Wants,
    ) -> Result<Self, GrammarError> {
        let at = |argument| move |fault| GrammarError::new(Where::Line { line: place, argument }, fault);
        let refuse = |argument, message: String| at(argument)(Fault { at: 0, message });
        let words = split_args(line.as_bytes()).map_err(|e| refuse(0, e.to_string()))?;
        let mut args = Vec::with_capacity(words.len());
        for (i, word) in words.iter().enumerate() {
            args.push(Arg::parse(word, context, wants).map_err(at(i))?);
        }
        let literal = |i: usize, what: &str| match args.get(i) {
            Some(Arg::Literal(word)) => Ok(&**word),
            Some(_) => Err(refuse(i, format!("{what} cannot be a template"))),
            None => Err(refuse(i, format!("expected {what}, found the end"))),
        };
        let name = literal(0, "the command's name")?;
        let unknown = |i, name: &[u8]| refuse(i, format!("unknown command `{}`", name.escape_ascii()));
        let mut command = table.find(name).ok_or_else(|| unknown(0, name))?;
        if table.is_container(command) {
            let word = literal(1, "the subcommand's name")?;
            command = table.find_sub(command, word).ok_or_else(|| unknown(1, word))?;
        }
        if let Some(why) = refusal(command) {
            return Err(refuse(0, format!("`{}` {why}", command.full_name)));
        }
        let spreads = args.iter().any(|arg| matches!(arg, Arg::Spread(_)));
        let fixed = args.iter().filter(|arg| !matches!(arg, Arg::Spread(_))).count();
        let Arity(arity) = command.arity;
        let too_many = arity >= 0 && fixed > arity.unsigned_abs() as usize;
        if too_many || (!spreads && !command.arity.accepts(fixed)) {
            let message = format!("wrong number of arguments ({fixed}) for `{}`", command.full_name);
            return Err(refuse(0, message));
        }
        let may_vanish = args.iter().any(|arg| matches!(arg, Arg::Spread(s) if s.optional));
        let name = command.full_name.to_ascii_uppercase().replace('|', " ").into_boxed_str();
        Ok(CommandTemplate { id: command.id, name, arity: command.arity, args, spreads, may_vanish })
    }

    fn render<R: Record>(&self, seen: &Seen<'_, R>, out: &mut Buffer) -> Result<(), RecordError> {
        for arg in &self.args {
            match arg {
                Arg::Literal(bytes) => out.arg(bytes)?,
                Arg::Pieces(pieces) => {
                    out.begin_arg();
                    pieces.iter().try_for_each(|piece| self.render_piece(piece, seen, out))?;
                    out.end_arg()?;
                }
                Arg::Spread(spread) => self.render_spread(spread, seen, out)?,
            }
        }
        if self.spreads && !self.arity.accepts(out.argc()) {
            if self.may_vanish {
                out.drop_command();
                return Ok(());
            }
            return Err(RecordError::Arity { command: self.name.clone(), count: out.argc() });
        }
        out.end_command(self.id);
        Ok(())
    }

    fn render_piece<R: Record>(
        &self,
        piece: &Piece,
        seen: &Seen<'_, R>,
        out: &mut Buffer,
    ) -> Result<(), RecordError> {
        let place = match piece {
            Piece::Literal(bytes) => return out.write(bytes),
            Piece::Place(place) => place,
        };
        let mut digits = [0; 20];
        let record = seen.record;
        let bytes = match &place.what {
            What::Key => record.key(),
            What::Value => record.value(),
            What::Topic => Some(record.topic().as_bytes()),
            What::Partition => Some(fmt_i64(&mut digits, record.partition().into())),
            What::Offset => Some(fmt_i64(&mut digits, record.offset())),
            What::Timestamp => record.timestamp().map(|ms| fmt_i64(&mut digits, ms)),
            What::Header(name) => record.header(name),
            What::Path(part, slot) => match seen.piece(*part, *slot) {
                (Kind::Missing | Kind::Null, _) => None,
                (_, bytes) => Some(bytes),
            },
        };
        match bytes {
            Some(bytes) => out.write(bytes),
            None if place.optional => Ok(()),
            None => Err(RecordError::Missing { command: self.name.clone(), what: place.text.clone() }),
        }
    }

    fn render_spread<R: Record>(
        &self,
        spread: &Spread,
        seen: &Seen<'_, R>,
        out: &mut Buffer,
    ) -> Result<(), RecordError> {
        let (found, document) = seen.document(spread.part);
        let (container, entries) = found.entries(spread.spread);
        let error =
            |wanted| RecordError::Spread { command: self.name.clone(), what: spread.text.clone(), wanted };
        match container {
            Container::Missing if spread.optional => return Ok(()),
            Container::Missing => {
                return Err(RecordError::Missing { command: self.name.clone(), what: spread.text.clone() });
            }
            Container::Array if spread.object => return Err(error("an object")),
            Container::Other if spread.object => return Err(error("an object")),
            Container::Other => return Err(error("an array or an object")),
            Container::Array | Container::Object => {}
        }
        for entry in entries.iter().filter(|entry| entry.value.kind != Kind::Null) {
            if let Some(name) = entry.name {
                out.arg(found.bytes(name, document))?;
            }
            out.arg(found.bytes(entry.value.place, document))?;
        }
        Ok(())
    }
}

/// Why a command cannot be in a pipeline. It must change data, keys that its row can tell, and nothing else, wherever it
/// runs; or send a message.
fn refusal(command: &Command) -> Option<&'static str> {
    const MESSAGES: [&str; 2] = ["publish", "spublish"];
    let flags = command.flags;
    if MESSAGES.contains(&command.name) && command.parent.is_none() {
        None
    } else if command.group == Group::Scripting {
        Some("is a script, which a pipeline cannot run")
    } else if command.group == Group::Transactions {
        Some("is about transactions; each record is one anyway")
    } else if command.group == Group::Connection {
        Some("is about a connection, and a pipeline has none")
    } else if flags.has(Flags::BLOCKING) {
        Some("may wait, which a pipeline cannot")
    } else if flags.has(Flags::ADMIN) {
        Some("is an administrator's command")
    } else if flags.has(Flags::PUBSUB) {
        Some("is about a connection's subscriptions, and a pipeline has none")
    } else if !flags.has(Flags::WRITE) {
        Some("is not a write command")
    } else if command.specs.is_empty() {
        Some("does not tell its keys")
    } else if !command.is_plain() {
        Some("may touch keys that its arguments do not tell")
    } else if command.name == "move" {
        Some("writes to another database")
    } else {
        None
    }
}

impl Arg {
    fn parse(word: &[u8], context: &Context, wants: &mut Wants) -> Result<Arg, Fault> {
        let mut cursor = Cursor::new(word, 0);
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        while let Some(b) = cursor.peek() {
            let start = cursor.at;
            if cursor.eat("{{") || cursor.eat("}}") {
                literal.push(b);
            } else if cursor.eat("{") {
                let (place, spread) = template(&mut cursor, context, wants)?;
                if let Some(spread) = spread {
                    if start > 0 || cursor.peek().is_some() {
                        return Err(Fault {
                            at: start,
                            message: "a spread must be a whole argument".to_owned(),
                        });
                    }
                    return Ok(Arg::Spread(spread));
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal).into_boxed_slice()));
                }
                pieces.extend(place.map(Piece::Place));
            } else if cursor.eat("}") {
                let message = "`}` closes nothing; a brace is written `}}`".to_owned();
                return Err(Fault { at: start, message });
            } else {
                literal.extend_from_slice(cursor.take_while(|b| b != b'{' && b != b'}'));
            }
        }
        if pieces.is_empty() {
            return Ok(Arg::Literal(literal.into_boxed_slice()));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into_boxed_slice()));
        }
        Ok(Arg::Pieces(pieces))
    }
}

/// What stands after an opening brace: a place or a spread.
fn template(
    cursor: &mut Cursor<'_>,
    context: &Context,
    wants: &mut Wants,
) -> Result<(Option<Place>, Option<Spread>), Fault> {
    let start = cursor.at;
    let optional = cursor.eat("?");
    let at = cursor.at;
    let mut spread = None;
    let mut what = None;
    if cursor.eat("*") {
        context.check_path(Part::Value, at)?;
        spread = Some((Part::Value, wants.want_all(Part::Value, &Path::default(), at)?, true));
    } else {
        let word = cursor.bare_name()?;
        let part = match word {
            "" if cursor.at_path() => Some(Part::Value),
            "key" if cursor.at_path() => Some(Part::Key),
            _ => None,
        };
        if let Some(part) = part {
            let path = cursor.path()?;
            context.check_path(part, at)?;
            if path.all {
                spread = Some((part, wants.want_all(part, &path, at)?, false));
            } else {
                what = Some(What::Path(part, wants.want(part, &path, at)?));
            }
        } else {
            wants.count(at)?;
            what = Some(place(word, cursor, context, at)?);
        }
    }
    let close = cursor.clone();
    if !cursor.eat("}") {
        return Err(close.expected("`}`"));
    }
    let text: Box<str> = String::from_utf8_lossy(close.since(start)).into();
    let place = what.map(|what| Place { what, optional, text: text.clone() });
    let spread = spread.map(|(part, spread, object)| Spread { part, spread, object, optional, text });
    Ok((place, spread))
}

fn place(word: &str, cursor: &mut Cursor<'_>, context: &Context, at: usize) -> Result<What, Fault> {
    Ok(match word {
        "key" => What::Key,
        "value" => {
            context.check_value(at)?;
            What::Value
        }
        "topic" => What::Topic,
        "partition" => What::Partition,
        "offset" => What::Offset,
        "timestamp" => What::Timestamp,
        "header" => {
            cursor.expect(":")?;
            What::Header(cursor.header_name()?)
        }
        "" => return Err(cursor.expected("a template")),
        _ => {
            let known =
                "`key`, `value`, `topic`, `partition`, `offset`, `timestamp`, `header:name`, a path or `*`";
            return Err(Fault { at, message: format!("expected {known}, found `{word}`") });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::record::tests::Parts;
    use crate::server::all_commands;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(all_commands(), &[]));

    fn define(args: &[&str]) -> Definition {
        let args = ["p", "TOPIC", "t"].iter().chain(args).map(|a| a.as_bytes());
        Definition::parse(args).unwrap()
    }

    fn compile(args: &[&str]) -> Result<Pipeline, String> {
        Pipeline::compile(&define(args), &TABLE).map_err(|e| e.to_string())
    }

    /// The commands of a record, arguments joined by `|`.
    fn render(args: &[&str], record: &Parts<'_>) -> Result<Vec<String>, String> {
        let pipeline = compile(args).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        let mut out = Rendered::new(10_000);
        match pipeline.render(record, &mut out).map_err(|e| e.to_string())? {
            Verdict::Apply => {}
            verdict => return Err(format!("{verdict:?}")),
        }
        Ok(out.iter().map(|(id, args)| shown(id, args)).collect())
    }

    fn shown(id: usize, args: crate::resp::args::Args<'_>) -> String {
        let name = std::str::from_utf8(args.name()).unwrap();
        assert!(TABLE.get(id).full_name.starts_with(&name.to_lowercase()));
        args.iter().map(|a| a.escape_ascii().to_string()).collect::<Vec<_>>().join("|")
    }

    fn one(line: &str, record: &Parts<'_>) -> Result<String, String> {
        render(&["DO", line], record).map(|all| all.concat())
    }

    const ORDER: &str = r#"{"id":7,"total":1.50,"city":"Bad \"X\"","ok":true,"none":null,"tags":["a","b c",1],"geo":{"x":1,"y":[2]}}"#;

    #[test]
    fn places() {
        let record = Parts::new("k1", ORDER);
        let cases = [
            ("SET order:{key} v", "SET|order:k1|v"),
            (
                "SET {topic}/{partition}/{offset}/{timestamp} {header:tenant}",
                "SET|orders/3/42/1700000000000|t1",
            ),
            ("ZADD board:{.city} {.total} {.id}", r#"ZADD|board:Bad \"X\"|1.50|7"#),
            ("set a '{.geo}{{}}x'", r#"set|a|{\"x\":1,\"y\":[2]}{}x"#),
            ("SET '{?.none}-{?.gone}' {?header:none}", "SET|-|"),
            (r#"SET "{header:'odd name'}" '{["geo"].y[0]}'"#, "SET|x|2"),
            (r#"SET "\xff\x00" {.ok}"#, r"SET|\xff\x00|true"),
            ("XGROUP CREATE s:{key} g $", "XGROUP|CREATE|s:k1|g|$"),
            ("PUBLISH feed {value}", &format!("PUBLISH|feed|{}", ORDER.as_bytes().escape_ascii())),
            ("EXPIRE a {.id} NX", "EXPIRE|a|7|NX"),
        ];
        for (line, want) in cases {
            assert_eq!(one(line, &record).as_deref(), Ok(want), "{line}");
        }
        let json_key = Parts::new(r#"{"id":"u1","all":[1,2]}"#, "plain");
        assert_eq!(
            one("RPUSH l:{key.id} {key.all[*]} {value}", &json_key).as_deref(),
            Ok("RPUSH|l:u1|1|2|plain")
        );
    }

    #[test]
    fn spreads() {
        let record = Parts::new("k1", ORDER);
        let whole = "id|7|total|1.50|city|Bad \\\"X\\\"|ok|true|tags|[\\\"a\\\",\\\"b c\\\",1]|geo|{\\\"x\\\":1,\\\"y\\\":[2]}";
        let cases = [
            ("HSET order:{key} {*}", Ok(format!("HSET|order:k1|{whole}"))),
            ("SADD tags {.tags[*]}", Ok("SADD|tags|a|b c|1".to_owned())),
            ("SADD tags z {.tags[*]} {.tags[0]}", Ok("SADD|tags|z|a|b c|1|a".to_owned())),
            ("HSET g {.geo[*]}", Ok("HSET|g|x|1|y|[2]".to_owned())),
            ("XADD s * {*}", Ok(format!("XADD|s|*|{whole}"))),
            ("SADD tags {?.gone[*]}", Ok(String::new())),
            ("SADD tags x {?.gone[*]}", Ok("SADD|tags|x".to_owned())),
            ("SADD tags {.gone[*]}", Err("SADD: the record has no `{.gone[*]}`")),
            ("SADD tags {.none[*]}", Err("SADD: the record has no `{.none[*]}`")),
            ("SADD tags {.id[*]}", Err("SADD: `{.id[*]}` is not an array or an object")),
            ("SET a {.tags[*]}", Ok("SET|a|a|b c|1".to_owned())),
            ("GETSET a {.tags[*]}", Err("GETSET: wrong number of arguments (5) after the spread")),
            ("SET a {.gone}", Err("SET: the record has no `{.gone}`")),
            ("SET a {.none}", Err("SET: the record has no `{.none}`")),
        ];
        for (line, want) in cases {
            assert_eq!(one(line, &record), want.map_err(str::to_owned), "{line}");
        }
        let array = Parts::new("k", "[1,null,\"x\"]");
        assert_eq!(one("SADD s {[*]}", &array).as_deref(), Ok("SADD|s|1|x"));
        assert_eq!(one("HSET h {*}", &array), Err("HSET: `{*}` is not an object".to_owned()));
        assert_eq!(
            one("SADD s {[*]}", &Parts::new("k", "[]")).unwrap_err(),
            "SADD: wrong number of arguments (2) after the spread"
        );
    }

    #[test]
    fn tombstones() {
        let tombstone = Parts { value: None, ..Parts::new("k1", "") };
        assert_eq!(one("SET {key} {value}", &tombstone), Err("Ignored".to_owned()));
        let args = ["DO", "SET {key} {.a}", "TOMBSTONE", "DEL {key} {?header:none}"];
        assert_eq!(render(&args, &tombstone), Ok(vec!["DEL|k1|".to_owned()]));
        let keyless = Parts { key: None, ..tombstone.clone() };
        assert_eq!(render(&args, &keyless), Err("DEL: the record has no `{key}`".to_owned()));
    }

    #[test]
    fn documents_are_checked_where_they_are_said_to_be_json() {
        let broken = Parts::new("k", r#"{"a":1,}"#);
        for args in [&["DO", "SET k {?.a}"][..], &["VALUE", "json", "DO", "SET k {value}"]] {
            let error = render(args, &broken).unwrap_err();
            let (start, end) = ("the value cannot be read as json: ", ", at byte 7");
            assert!(error.starts_with(start) && error.ends_with(end), "{error}");
        }
        assert!(one("SET k {value}", &broken).is_ok());
        let formats = |args: &[&str]| compile(args).unwrap().formats();
        assert_eq!(formats(&["DO", "SET k {value}"]), (FormatName::Raw, FormatName::Raw));
        assert_eq!(
            formats(&["WHERE", "key.a == 1", "DO", "HSET k {*}"]),
            (FormatName::Json, FormatName::Json)
        );
    }

    #[test]
    fn records_follow_each_other_in_one_buffer() {
        let pipeline = compile(&["DO", "SET {key} {.a}", "DO", "INCR n"]).unwrap();
        let mut out = Rendered::new(200);
        assert_eq!(pipeline.render(&Parts::new("a", r#"{"a":1}"#), &mut out), Ok(Verdict::Apply));
        assert!(pipeline.render(&Parts::new("b", r#"{"b":1}"#), &mut out).is_err());
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(200));
        let too_large = RecordError::TooLarge { limit: 200 };
        assert_eq!(pipeline.render(&Parts::new("b", &large), &mut out), Err(too_large));
        assert_eq!(pipeline.render(&Parts::new("c", r#"{"a":"\u0041"}"#), &mut out), Ok(Verdict::Apply));
        let all: Vec<String> = out.iter().map(|(id, args)| shown(id, args)).collect();
        assert_eq!(all, ["SET|a|1", "INCR|n", "SET|c|A", "INCR|n"]);
        out.trim(0);
        assert!(out.is_empty() && out.size() == 0);
    }

    #[test]
    fn faults_tell_the_place() {
        let cases: [(&[&str], &str); 24] = [
            (&["DO", "INCR n", "DO", "NOSUCH k"], "DO 2, argument 0, byte 0: unknown command `NOSUCH`"),
            (&["DO", "GET {key}"], "DO 1, argument 0, byte 0: `get` is not a write command"),
            (&["DO", "SET {key}"], "DO 1, argument 0, byte 0: wrong number of arguments (2) for `set`"),
            (&["DO", "GETSET a b c {*}"], "wrong number of arguments (4) for `getset`"),
            (&["DO", "SET a 'x{.b'"], "DO 1, argument 2, byte 4: expected `}`, found the end"),
            (&["DO", "SET a x}"], "DO 1, argument 2, byte 1: `}` closes nothing"),
            (&["DO", "SET a {nope}"], "DO 1, argument 2, byte 1: expected `key`"),
            (&["DO", "SET a {}"], "DO 1, argument 2, byte 1: expected a template, found `}`"),
            (&["DO", "SET a {header}"], "DO 1, argument 2, byte 7: expected `:`, found `}`"),
            (&["DO", "SET a {value.x}"], "DO 1, argument 2, byte 6: expected `}`, found `.`"),
            (&["DO", "HSET a x{*}"], "DO 1, argument 2, byte 1: a spread must be a whole argument"),
            (&["DO", "HSET a {*}x"], "DO 1, argument 2, byte 0: a spread must be a whole argument"),
            (&["DO", "{key} a"], "the command's name cannot be a template"),
            (
                &["DO", "XGROUP {key} a"],
                "DO 1, argument 1, byte 0: the subcommand's name cannot be a template",
            ),
            (&["DO", "XGROUP"], "expected the subcommand's name, found the end"),
            (&["DO", "XGROUP NOPE a"], "DO 1, argument 1, byte 0: unknown command `NOPE`"),
            (&["DO", "XGROUP HELP"], "`xgroup|help` is not a write command"),
            (&["DO", "SET a 'b"], "DO 1, argument 0, byte 0: unbalanced quotes"),
            (
                &["VALUE", "raw", "DO", "SET a {.b}"],
                "DO 1, argument 2, byte 1: a path, but the definition says VALUE raw",
            ),
            (&["VALUE", "raw", "DO", "HSET a {*}"], "a path, but the definition says VALUE raw"),
            (&["KEY", "raw", "DO", "SET a {key.b}"], "a path, but the definition says KEY raw"),
            (&["VALUE", "raw", "WHERE", ".a", "DO", "INCR n"], "WHERE, byte 0: a path, but"),
            (
                &["DO", "INCR n", "TOMBSTONE", "DEL {value}"],
                "TOMBSTONE, argument 1, byte 1: a tombstone has no value",
            ),
            (
                &["DO", "INCR n", "TOMBSTONE", "DEL {?.id}"],
                "TOMBSTONE, argument 1, byte 2: a tombstone has no value",
            ),
        ];
        for (args, message) in cases {
            let error = compile(args).err().unwrap_or_default();
            assert!(error.contains(message), "{args:?}: {error}");
        }
        let many = format!("DEL {}", "{key} ".repeat(TEMPLATES_MAX + 1));
        assert!(compile(&["DO", &many]).err().unwrap_or_default().contains("more than 1024"));
    }

    /// Of the commands that write, those that a pipeline cannot run.
    #[test]
    fn refused_commands() {
        let refused: Vec<&str> = TABLE
            .rows()
            .iter()
            .filter(|c| c.flags.has(Flags::WRITE) && refusal(c).is_some())
            .map(|c| c.full_name.as_str())
            .collect();
        for name in
            ["blpop", "brpoplpush", "xreadgroup", "bzpopmin", "flushall", "flushdb", "swapdb", "move", "sort"]
        {
            assert!(refused.contains(&name), "{name}: {refused:?}");
        }
        assert!(refused.len() < 20, "{refused:?}");
        for name in
            ["select", "multi", "exec", "subscribe", "config|set", "debug", "auth", "get", "wait", "shutdown"]
        {
            let row = TABLE.rows().iter().find(|c| c.full_name == name).unwrap_or_else(|| panic!("{name}"));
            assert!(refusal(row).is_some(), "{name}");
        }
        for name in
            ["publish", "spublish", "set", "copy", "restore", "zunionstore", "xadd", "pfmerge", "geoadd"]
        {
            assert_eq!(TABLE.find(name.as_bytes()).map(refusal), Some(None), "{name}");
        }
    }

    proptest! {
        /// What a record has goes into one argument as it is, whatever it is.
        #[test]
        fn rendered_text_is_never_read_again(key: Vec<u8>, value: Vec<u8>) {
            let parts = Parts { key: Some(&key), value: Some(&value), ..Parts::new("", "") };
            let pipeline = compile(&["DO", "SET a{key}b {value}"]).unwrap();
            let mut out = Rendered::new(10_000);
            pipeline.render(&parts, &mut out).unwrap();
            let (_, args) = out.get(0).unwrap();
            let want = [&b"SET"[..], &[b"a", &key[..], b"b"].concat(), &value];
            prop_assert_eq!(args.iter().collect::<Vec<_>>(), want);
        }

        #[test]
        fn an_object_spreads_as_it_is(members in proptest::collection::btree_map("\\PC{0,4}", "\\PC{0,4}|[\"\\\\\\n]{0,3}", 1..8)) {
            let document = serde_json::to_string(&members).unwrap();
            let pipeline = compile(&["DO", "HSET h {*}"]).unwrap();
            let mut out = Rendered::new(10_000);
            pipeline.render(&Parts::new("", &document), &mut out).unwrap();
            let (_, args) = out.get(0).unwrap();
            let want = members.iter().flat_map(|(k, v)| [k.as_bytes(), v.as_bytes()]);
            prop_assert!(args.from(2).iter().eq(want));
        }

        #[test]
        fn any_line_and_condition_is_safe(
            line in proptest::collection::vec(prop_oneof![
                Just("{"), Just("}"), Just("{*}"), Just("{.a"), Just("[*]"), Just("[0]"), Just("['x']"), Just("?"), Just(" "),
                Just("SET"), Just("HSET"), Just("XGROUP"), Just("key"), Just("header:"), Just("."), Just("\""), Just("'"), Just("é"),
            ], 0..12),
            condition in proptest::collection::vec(prop_oneof![
                Just("("), Just(")"), Just("!"), Just("=="), Just("<="), Just("&&"), Just("||"), Just(".a"), Just("[0]"), Just("1"),
                Just("-"), Just("'x'"), Just("exists"), Just("key"), Just("header:"), Just("null"), Just(" "), Just("\""), Just("é"),
            ], 0..12),
            value in "[{}\\[\\]a:,\"0-9]{0,12}|\\{\"a\":\\[[0-9]\\]\\}",
        ) {
            for args in [["WHERE", "", "DO", &line.concat()], ["WHERE", &condition.concat(), "DO", "INCR {?.a}"]] {
                let args = ["p", "TOPIC", "t"].iter().chain(&args).map(|a| a.as_bytes());
                let Ok(definition) = Definition::parse(args) else { continue };
                if let Ok(pipeline) = Pipeline::compile(&definition, &TABLE) {
                    let _ = pipeline.render(&Parts::new("k", &value), &mut Rendered::new(100));
                }
            }
        }
    }
}
