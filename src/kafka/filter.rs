//! WHERE: which records a pipeline wants.
//!
//! ```text
//! or         = and ("||" and)*                  and  = unary ("&&" unary)*
//! unary      = "!" unary | "(" or ")" | "exists" "(" place ")" | operand [("==" "!=" "<" "<=" ">" ">=") operand]
//! operand    = place | number | 'text' | "text" | true | false | null
//! place      = .path | key | key.path | value | topic | partition | offset | timestamp | header:name
//! ```
//!
//! Numbers compare as numbers, exactly where both are 64-bit integers; texts byte by byte. Values of different types are
//! unequal and in no order, and so is everything with a nested value. What is missing is null. An operand that stands alone
//! is a condition that holds if it is `true`. A tombstone passes any condition that looks at the value.
use std::cmp::Ordering;

use super::format::Kind;
use super::path::{Cursor, Fault, Part};
use super::template::{Context, Seen, Wants};
use crate::kafka::Record;

/// Parentheses and `!` within each other, at most.
const NESTING_MAX: usize = 32;

#[derive(Debug)]
pub struct Filter {
    condition: Condition,
    pub(super) needs: Needs,
}

/// What must have been read of a record before a filter can tell.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Needs {
    /// The value, as bytes or by paths.
    pub value: bool,
    /// A document, of the value or the key.
    pub document: bool,
}

#[derive(Debug)]
enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Exists(Operand),
    Holds(Operand),
    Compare(Operand, Operator, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

#[derive(Debug)]
enum Operand {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    Key,
    Value,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Header(Box<str>),
    Path(Part, usize),
}

#[derive(Debug, Clone, Copy)]
enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    fn parse(text: &[u8]) -> Option<Number> {
        let text = std::str::from_utf8(text).ok()?;
        text.parse().map(Number::Integer).or_else(|_| text.parse().map(Number::Float)).ok()
    }

    fn order(self, other: Number) -> Option<Ordering> {
        let float = |n| match n {
            Number::Integer(n) => n as f64,
            Number::Float(n) => n,
        };
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => Some(a.cmp(&b)),
            (a, b) => float(a).partial_cmp(&float(b)),
        }
    }
}

/// What an operand is for one record.
enum Data<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a [u8]),
    Nested,
}

impl Data<'_> {
    fn order(&self, other: &Data<'_>) -> Option<Ordering> {
        match (self, other) {
            (Data::Number(a), Data::Number(b)) => a.order(*b),
            (Data::Text(a), Data::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn equals(&self, other: &Data<'_>) -> bool {
        match (self, other) {
            (Data::Null, Data::Null) => true,
            (Data::Bool(a), Data::Bool(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }
}

impl Filter {
    pub(super) fn parse(text: &[u8], context: &Context, wants: &mut Wants) -> Result<Filter, Fault> {
        let mut parser =
            Parser { cursor: Cursor::new(text, 0), context, wants, needs: Needs::default(), depth: 0 };
        let condition = parser.any()?;
        parser.cursor.skip_blanks();
        if parser.cursor.peek().is_some() {
            return Err(parser.cursor.expected("`&&`, `||` or the end"));
        }
        Ok(Filter { condition, needs: parser.needs })
    }

    pub(super) fn wants<R: Record>(&self, seen: &Seen<'_, R>) -> bool {
        self.condition.holds(seen)
    }
}

impl Condition {
    fn holds<R: Record>(&self, seen: &Seen<'_, R>) -> bool {
        match self {
            Condition::Any(all) => all.iter().any(|c| c.holds(seen)),
            Condition::All(all) => all.iter().all(|c| c.holds(seen)),
            Condition::Not(c) => !c.holds(seen),
            Condition::Exists(place) => !matches!(place.data(seen), Data::Null),
            Condition::Holds(operand) => matches!(operand.data(seen), Data::Bool(true)),
            Condition::Compare(left, operator, right) => {
                let (left, right) = (left.data(seen), right.data(seen));
                let is = |wanted: fn(Ordering) -> bool| left.order(&right).is_some_and(wanted);
                match operator {
                    Operator::Equal => left.equals(&right),
                    Operator::Unequal => !left.equals(&right),
                    Operator::Less => is(Ordering::is_lt),
                    Operator::LessOrEqual => is(Ordering::is_le),
                    Operator::More => is(Ordering::is_gt),
                    Operator::MoreOrEqual => is(Ordering::is_ge),
                }
            }
        }
    }
}

impl Operand {
    fn data<'a, R: Record>(&'a self, seen: &Seen<'a, R>) -> Data<'a> {
        let text = |bytes: Option<&'a [u8]>| bytes.map_or(Data::Null, Data::Text);
        let integer = |n| Data::Number(Number::Integer(n));
        let record = seen.record;
        match self {
            Operand::Null => Data::Null,
            Operand::Bool(b) => Data::Bool(*b),
            Operand::Number(n) => Data::Number(*n),
            Operand::Text(t) => Data::Text(t.as_bytes()),
            Operand::Key => text(record.key()),
            Operand::Value => text(record.value()),
            Operand::Topic => Data::Text(record.topic().as_bytes()),
            Operand::Partition => integer(record.partition().into()),
            Operand::Offset => integer(record.offset()),
            Operand::Timestamp => record.timestamp().map_or(Data::Null, integer),
            Operand::Header(name) => text(record.header(name)),
            Operand::Path(part, slot) => {
                let (kind, bytes) = seen.piece(*part, *slot);
                match kind {
                    Kind::Missing | Kind::Null => Data::Null,
                    Kind::Bool => Data::Bool(bytes == b"true"),
                    Kind::Number => Number::parse(bytes).map_or(Data::Null, Data::Number),
                    Kind::Text => Data::Text(bytes),
                    Kind::Nested => Data::Nested,
                }
            }
        }
    }

    fn is_place(&self) -> bool {
        !matches!(self, Operand::Null | Operand::Bool(_) | Operand::Number(_) | Operand::Text(_))
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    context: &'a Context,
    wants: &'a mut Wants,
    needs: Needs,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Condition, Fault> {
        self.chain("||", Self::all, Condition::Any)
    }

    fn all(&mut self) -> Result<Condition, Fault> {
        self.chain("&&", Self::unary, Condition::All)
    }

    fn chain(
        &mut self,
        between: &str,
        part: fn(&mut Self) -> Result<Condition, Fault>,
        join: fn(Vec<Condition>) -> Condition,
    ) -> Result<Condition, Fault> {
        let first = part(self)?;
        let mut all = vec![first];
        loop {
            self.cursor.skip_blanks();
            if !self.cursor.eat(between) {
                return Ok(if all.len() == 1 { all.remove(0) } else { join(all) });
            }
            all.push(part(self)?);
        }
    }

    fn deeper(&mut self, inner: fn(&mut Self) -> Result<Condition, Fault>) -> Result<Condition, Fault> {
        if self.depth == NESTING_MAX {
            let message = format!("more than {NESTING_MAX} parentheses and `!` within each other");
            return Err(Fault { at: self.cursor.at, message });
        }
        self.depth += 1;
        let condition = inner(self);
        self.depth -= 1;
        condition
    }

    fn unary(&mut self) -> Result<Condition, Fault> {
        self.cursor.skip_blanks();
        if self.cursor.eat("!") {
            return Ok(Condition::Not(Box::new(self.deeper(Self::unary)?)));
        }
        if self.cursor.eat("(") {
            let inner = self.deeper(Self::any)?;
            self.close()?;
            return Ok(inner);
        }
        let mut ahead = self.cursor.clone();
        if ahead.bare_name()? == "exists" {
            ahead.skip_blanks();
            if ahead.eat("(") {
                self.cursor = ahead;
                return self.exists();
            }
        }
        self.comparison()
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.cursor.skip_blanks();
        self.cursor.expect(")")
    }

    fn exists(&mut self) -> Result<Condition, Fault> {
        self.cursor.skip_blanks();
        let before = self.cursor.clone();
        let place = self.operand()?;
        if !place.is_place() {
            return Err(before.expected("a path, `key`, `header:name` or another place"));
        }
        self.close()?;
        Ok(Condition::Exists(place))
    }

    fn comparison(&mut self) -> Result<Condition, Fault> {
        const OPERATORS: [(&str, Operator); 6] = [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::MoreOrEqual),
            ("<", Operator::Less),
            (">", Operator::More),
        ];
        let left = self.operand()?;
        self.cursor.skip_blanks();
        let cursor = &mut self.cursor;
        match OPERATORS.iter().find(|(text, _)| cursor.eat(text)) {
            Some(&(_, operator)) => Ok(Condition::Compare(left, operator, self.operand()?)),
            None if matches!(left, Operand::Path(..) | Operand::Bool(_)) => Ok(Condition::Holds(left)),
            None => Err(self.cursor.expected("`==`, `!=`, `<`, `<=`, `>` or `>=`")),
        }
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        self.cursor.skip_blanks();
        if self.cursor.at_path() {
            return self.path(Part::Value, self.cursor.at);
        }
        if let Some(text) = self.cursor.quoted()? {
            return Ok(Operand::Text(text));
        }
        if self.cursor.peek().is_some_and(|b| b.is_ascii_digit() || b == b'-') {
            return self.number();
        }
        let before = self.cursor.clone();
        let name = self.cursor.bare_name()?;
        Ok(match name {
            "true" => Operand::Bool(true),
            "false" => Operand::Bool(false),
            "null" => Operand::Null,
            "key" if self.cursor.at_path() => return self.path(Part::Key, before.at),
            "key" => Operand::Key,
            "value" => {
                self.needs.value = true;
                Operand::Value
            }
            "topic" => Operand::Topic,
            "partition" => Operand::Partition,
            "offset" => Operand::Offset,
            "timestamp" => Operand::Timestamp,
            "header" => {
                self.cursor.expect(":")?;
                Operand::Header(self.cursor.header_name()?)
            }
            _ => {
                let what = "a path, `key`, `value`, `topic`, `partition`, `offset`, `timestamp`, `header:name`, \
                            a number, a quoted text, `true`, `false` or `null`";
                return Err(before.expected(what));
            }
        })
    }

    fn path(&mut self, part: Part, at: usize) -> Result<Operand, Fault> {
        let path = self.cursor.path()?;
        if path.all {
            return Err(Fault {
                at,
                message: "`[*]` is for templates: WHERE compares single values".to_owned(),
            });
        }
        self.context.check_path(part, at)?;
        self.needs.document = true;
        self.needs.value |= part == Part::Value;
        Ok(Operand::Path(part, self.wants.want(part, &path, at)?))
    }

    fn number(&mut self) -> Result<Operand, Fault> {
        let at = self.cursor.at;
        let text = self.cursor.take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        let number = Number::parse(text);
        let message = || format!("`{}` is not a number", text.escape_ascii());
        number.map(Operand::Number).ok_or_else(|| Fault { at, message: message() })
    }
}

#[cfg(test)]
mod tests {
    use crate::kafka::record::tests::Parts;
    use crate::kafka::{Definition, Pipeline, Rendered, Verdict};

    fn compile(condition: &str) -> Result<Pipeline, String> {
        let args = ["p", "TOPIC", "t", "WHERE", condition, "DO", "INCR n", "TOMBSTONE", "DECR n"];
        let definition = Definition::parse(args.iter().map(|a| a.as_bytes())).map_err(|e| e.to_string())?;
        let table = crate::command::table::CommandTable::new(crate::server::all_commands(), &[]);
        Pipeline::compile(&definition, &table).map_err(|e| e.to_string())
    }

    fn wants(condition: &str, record: &Parts<'_>) -> bool {
        let pipeline = compile(condition).unwrap_or_else(|e| panic!("{condition}: {e}"));
        pipeline.render(record, &mut Rendered::new(1 << 20)).unwrap() == Verdict::Apply
    }

    const ORDER: &str = r#"{"status":"paid","total":10,"price":9.5,"big":9007199254740993,"deleted":false,"new":true,
        "a":{"b":null,"c":[1]},"text":"10","it's":"x"}"#;

    #[test]
    fn conditions() {
        let hold = [
            ".status == 'paid' && (.total >= 10 || header:x != 'a') && !.deleted && !exists(.a.b)",
            ".status=='paid'&&.new",
            ".total == 10.0 && .total == 1e1 && .total <= 10 && .total < 10.5 && -1 < .total",
            ".big > 9007199254740992 && .big < 9007199254740994 && .big != 9007199254740992",
            ".total != '10' && .text == \"10\" && !(.text == 10) && !(.text < 11) && !(.text >= 1)",
            ".gone == null && .a.b == null && .gone == .a.b && !(.gone <= null)",
            ".a != null && exists(.a) && .a != .a && .a.c[0] == 1 && .a.c[1] == null",
            "!.gone && !.status && !.total && !!.new",
            "key == 'k1' && topic == 'orders' && partition == 3 && offset >= 42 && timestamp > 1600000000000",
            "header:tenant == 't1' && header:\"odd name\" == 'x' && !exists(header:none) && header:none == null",
            ".status < 'paie' && .status > 'paic' && 'b' > 'a'",
            r#"["it's"] == 'x' && .['it\'s'] == 'x'"#,
            "false || .new == true",
            "true || false && false",
            " ( true ) ",
            "exists(key) && exists ( .price ) && .price == 9.5",
        ];
        for condition in hold {
            assert!(wants(condition, &Parts::new("k1", ORDER)), "{condition}");
            assert!(!wants(&format!("!({condition})"), &Parts::new("k1", ORDER)), "{condition}");
        }
        assert!(wants("key.id == 7 && value != ''", &Parts::new(r#"{"id":7}"#, "x")));
    }

    #[test]
    fn tombstones_pass_what_looks_at_values() {
        let tombstone = Parts { value: None, ..Parts::new("k1", "") };
        assert!(wants(".status == 'paid'", &tombstone));
        assert!(wants("value == 'x' && key == 'k2'", &tombstone));
        assert!(wants("key == 'k1'", &tombstone));
        assert!(!wants("key == 'k2'", &tombstone));
    }

    /// A filter that looks at no document does not care whether it can be read.
    #[test]
    fn what_is_not_wanted_is_not_read() {
        let args = ["p", "TOPIC", "t", "WHERE", "header:tenant == 'other'", "DO", "SET k {.a}"];
        let definition = Definition::parse(args.iter().map(|a| a.as_bytes())).unwrap();
        let table = crate::command::table::CommandTable::new(crate::server::all_commands(), &[]);
        let pipeline = Pipeline::compile(&definition, &table).unwrap();
        let rendered = pipeline.render(&Parts::new("k", "no JSON"), &mut Rendered::new(100));
        assert_eq!(rendered, Ok(Verdict::Filtered));
    }

    #[test]
    fn faults_tell_the_place() {
        let deep = format!("{}true{}", "(".repeat(33), ")".repeat(33));
        let cases = [
            (".a ==", "WHERE, byte 5: expected a path"),
            (".a == 1 .b", "WHERE, byte 8: expected `&&`, `||` or the end, found `.`"),
            (".a = 1", "WHERE, byte 3: expected `&&`, `||` or the end, found `=`"),
            ("key", "WHERE, byte 3: expected `==`"),
            ("(.a == 1", "WHERE, byte 8: expected `)`, found the end"),
            ("status == 1", "WHERE, byte 0: expected a path"),
            (".a == 1x", "WHERE, byte 7"),
            (".a == 1-2", "WHERE, byte 6: `1-2` is not a number"),
            (".a == 'x", "WHERE, byte 6: a quote that does not close"),
            (".a[*] == 1", "WHERE, byte 0: `[*]` is for templates"),
            ("exists('a')", "WHERE, byte 7: expected a path"),
            ("header == 'a'", "WHERE, byte 6: expected `:`"),
            (&deep, "WHERE, byte 33: more than 32"),
        ];
        for (condition, message) in cases {
            let error = compile(condition).err().unwrap_or_default();
            assert!(error.contains(message), "{condition}: {error}");
        }
        let chain = vec![".a == 1"; 500].join(" && ");
        assert!(wants(&chain, &Parts::new("k", r#"{"a":1}"#)));
    }
}
