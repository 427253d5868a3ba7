//! What a row of the directive table can say, and how its kind reads, prints and rewrites a value.
use super::special::{Buffers, SavePoint};
use crate::base::limits::Limits;
use crate::base::num::{parse_i64, parse_memory};
use crate::base::split;

/// The value of a directive, in the one form that its kind allows.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    /// A number, an enum's value or a set of flags; a negative one is a percentage where percentages are allowed.
    Int(i64),
    Text(Vec<u8>),
    /// The arguments of a directive that takes several, each in its canonical spelling.
    Words(Vec<Vec<u8>>),
    Save(Vec<SavePoint>),
    Buffers(Buffers),
}

/// How a number is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    Octal,
    Memory,
    MemoryOrPercent,
}

/// Names and what they stand for; the first name of a value is the one printed.
pub type Names = &'static [(&'static str, i64)];

/// A new value from the arguments and the present value.
pub type Parse = fn(&[&[u8]], &Value, Source) -> Result<Value, String>;
/// Refuses a value that its kind alone would allow.
pub type Check = fn(&Value) -> Result<(), &'static str>;
/// Lines of a file; `true` where the line is needed even if the file had none.
pub type Lines = Vec<(Vec<u8>, bool)>;

/// A kind that only one or two directives have.
#[derive(Clone, Copy)]
pub struct Special {
    pub parse: Parse,
    /// As CONFIG GET prints it.
    pub format: fn(&Value) -> Vec<u8>,
    /// From the directive's name, its value and its default.
    pub lines: fn(&str, &Value, &Value) -> Lines,
}

/// Where a value comes from, which matters to directives that accumulate over a file's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// CONFIG SET, or a directive's first line in what is being loaded.
    Fresh,
    /// A further line of the same directive.
    Again,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
        form: Form,
    },
    Enum(Names),
    /// Several names at once; only one of 0 stands alone.
    EnumSet(Names),
    /// Text; when `nullable`, empty means unset and is never written to a file.
    Text {
        nullable: bool,
    },
    Special(Special),
}

/// Whether a directive does anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Live,
    /// Accepted for compatibility; what it tunes does not exist here.
    None,
}

/// A row of the table: all that is to be known about one directive.
pub struct Directive {
    pub name: &'static str,
    pub alias: Option<&'static str>,
    pub kind: Kind,
    pub default: &'static str,
    /// Only files and the command line may set it.
    pub immutable: bool,
    /// CONFIG GET shows it by its exact name only.
    pub hidden: bool,
    /// Its value must not appear in logs.
    pub sensitive: bool,
    pub multi_arg: bool,
    pub deny_loading: bool,
    /// CONFIG SET needs `enable-protected-configs`.
    pub protected: bool,
    pub effect: Effect,
    pub check: Option<Check>,
    /// Values outside are taken as the nearest one inside.
    pub clamp: Option<(i64, i64)>,
    /// Copies the value to where hot paths read it.
    pub bind: Option<fn(&Limits, i64)>,
}

impl Directive {
    pub const fn new(name: &'static str) -> Self {
        Directive {
            name,
            alias: None,
            kind: Kind::Text { nullable: false },
            default: "",
            immutable: false,
            hidden: false,
            sensitive: false,
            multi_arg: false,
            deny_loading: false,
            protected: false,
            effect: Effect::Live,
            check: None,
            clamp: None,
            bind: None,
        }
    }

    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    pub const fn yes_no(mut self, default: &'static str) -> Self {
        self.kind = Kind::Bool;
        self.default = default;
        self
    }

    const fn number(mut self, min: i64, max: i64, form: Form, default: &'static str) -> Self {
        self.kind = Kind::Int { min, max, form };
        self.default = default;
        self
    }

    pub const fn int(self, min: i64, max: i64, default: &'static str) -> Self {
        self.number(min, max, Form::Plain, default)
    }

    pub const fn octal(self, min: i64, max: i64, default: &'static str) -> Self {
        self.number(min, max, Form::Octal, default)
    }

    pub const fn memory(self, min: i64, max: i64, default: &'static str) -> Self {
        self.number(min, max, Form::Memory, default)
    }

    pub const fn memory_or_percent(self, default: &'static str) -> Self {
        self.number(-100, i64::MAX, Form::MemoryOrPercent, default)
    }

    pub const fn one_of(mut self, names: Names, default: &'static str) -> Self {
        self.kind = Kind::Enum(names);
        self.default = default;
        self
    }

    pub const fn any_of(mut self, names: Names, default: &'static str) -> Self {
        self.kind = Kind::EnumSet(names);
        self.default = default;
        self.multi_arg = true;
        self
    }

    pub const fn text(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub const fn nullable(mut self) -> Self {
        self.kind = Kind::Text { nullable: true };
        self
    }

    pub const fn special(mut self, special: Special, default: &'static str) -> Self {
        self.kind = Kind::Special(special);
        self.default = default;
        self
    }

    pub const fn multi_arg(mut self) -> Self {
        self.multi_arg = true;
        self
    }

    pub const fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    pub const fn deny_loading(mut self) -> Self {
        self.deny_loading = true;
        self
    }

    pub const fn protected(mut self) -> Self {
        self.protected = true;
        self
    }

    pub const fn no_effect(mut self) -> Self {
        self.effect = Effect::None;
        self
    }

    /// For what this system cannot do.
    pub const fn no_effect_unless(self, here: bool) -> Self {
        if here { self } else { self.no_effect() }
    }

    pub const fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    pub const fn clamp(mut self, low: i64, high: i64) -> Self {
        self.clamp = Some((low, high));
        self
    }

    pub const fn bind(mut self, bind: fn(&Limits, i64)) -> Self {
        self.bind = Some(bind);
        self
    }

    /// The value that these arguments mean, or Redis's words for why they mean none.
    pub fn parse(&self, args: &[&[u8]], present: &Value, source: Source) -> Result<Value, String> {
        let first = args.first().copied().unwrap_or_default();
        let mut value = match self.kind {
            Kind::Bool if first.eq_ignore_ascii_case(b"yes") => Value::Bool(true),
            Kind::Bool if first.eq_ignore_ascii_case(b"no") => Value::Bool(false),
            Kind::Bool => return Err("argument must be 'yes' or 'no'".into()),
            Kind::Int { min, max, form } => Value::Int(parse_number(first, min, max, form)?),
            Kind::Enum(names) => Value::Int(parse_names(names, &[first])?),
            Kind::EnumSet(names) => Value::Int(parse_names(names, args)?),
            Kind::Text { .. } => Value::Text(first.to_vec()),
            Kind::Special(special) => (special.parse)(args, present, source)?,
        };
        if let Some(check) = self.check {
            check(&value)?;
        }
        if let (Some((low, high)), Value::Int(v)) = (self.clamp, &mut value) {
            *v = (*v).clamp(low, high);
        }
        Ok(value)
    }

    /// The same from CONFIG SET's one string.
    pub fn parse_set(&self, value: &[u8], present: &Value) -> Result<Value, String> {
        if self.multi_arg {
            let args: Vec<&[u8]> = value.split(|&b| b == b' ').collect();
            self.parse(&args, present, Source::Fresh)
        } else {
            self.parse(&[value], present, Source::Fresh)
        }
    }

    pub fn default_value(&self) -> Value {
        let nothing = match self.kind {
            Kind::Special(_) => Value::Words(Vec::new()),
            _ => Value::Int(0),
        };
        self.parse_set(self.default.as_bytes(), &nothing).expect("a row's default is valid")
    }

    /// As CONFIG GET prints it.
    pub fn format(&self, value: &Value) -> Vec<u8> {
        match (self.kind, value) {
            (Kind::Special(special), value) => (special.format)(value),
            (_, Value::Bool(v)) => if *v { "yes" } else { "no" }.into(),
            (Kind::Int { form: Form::Octal, .. }, Value::Int(v)) => format!("{v:o}").into(),
            (Kind::Int { form: Form::MemoryOrPercent, .. }, Value::Int(v)) if *v < 0 => {
                format!("{}%", v.unsigned_abs()).into()
            }
            (Kind::Enum(names), Value::Int(v)) => name_of(names, *v).into(),
            (Kind::EnumSet(names), Value::Int(v)) => match names.iter().find(|(_, n)| n == v) {
                Some((name, _)) => (*name).into(),
                None => {
                    let set: Vec<&str> =
                        names.iter().filter(|(_, n)| *n != 0 && v & n == *n).map(|(name, _)| *name).collect();
                    set.join(" ").into()
                }
            },
            (_, Value::Int(v)) => v.to_string().into(),
            (_, Value::Text(v)) => v.clone(),
            (_, Value::Words(v)) => v.join(&b' '),
            (_, Value::Save(_) | Value::Buffers(_)) => Vec::new(),
        }
    }

    /// The lines that set `value` in a file; `true` where the line is needed even if the file had none.
    pub fn lines(&self, value: &Value, default: &Value) -> Lines {
        let needed = value != default;
        let mut line = format!("{} ", self.name).into_bytes();
        match (self.kind, value) {
            (Kind::Special(special), _) => return (special.lines)(self.name, value, default),
            (Kind::Text { nullable: true }, Value::Text(v)) if v.is_empty() => return Vec::new(),
            (Kind::Text { .. }, Value::Text(v)) => split::quote(&mut line, v),
            (Kind::Int { form: Form::Memory | Form::MemoryOrPercent, .. }, Value::Int(v)) if *v >= 0 => {
                line.extend(format_memory(*v).bytes());
            }
            _ => line.extend(self.format(value)),
        }
        vec![(line, needed)]
    }
}

/// The name that a value has in an enum.
pub fn name_of(names: Names, value: i64) -> &'static str {
    names.iter().find(|(_, v)| *v == value).map_or("unknown", |(name, _)| name)
}

/// Bytes with the largest binary unit that divides them.
pub fn format_memory(bytes: i64) -> String {
    match bytes {
        0 => "0".into(),
        b if b % (1 << 30) == 0 => format!("{}gb", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}mb", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}kb", b >> 10),
        b => b.to_string(),
    }
}

fn parse_number(text: &[u8], min: i64, max: i64, form: Form) -> Result<i64, String> {
    let (parsed, complaint) = match form {
        Form::Plain => (parse_i64(text), "argument couldn't be parsed into an integer"),
        Form::Octal => (parse_octal(text), "argument couldn't be parsed as an octal number"),
        Form::Memory => (parse_memory(text), "argument must be a memory value"),
        Form::MemoryOrPercent => {
            (parse_memory(text).or_else(|| parse_percent(text)), "argument must be a memory or percent value")
        }
    };
    let v = parsed.ok_or(complaint)?;
    if form == Form::MemoryOrPercent && v < min {
        return Err(format!("percentage argument must be less or equal to {}", min.unsigned_abs()));
    }
    if (min..=max).contains(&v) {
        Ok(v)
    } else if form == Form::Octal {
        Err(format!("argument must be between {min:o} and {max:o} inclusive"))
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

fn parse_octal(text: &[u8]) -> Option<i64> {
    i64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// A percentage is kept as its negative.
fn parse_percent(text: &[u8]) -> Option<i64> {
    parse_i64(text.strip_suffix(b"%")?).filter(|v| *v >= 0).map(|v| -v)
}

fn parse_names(names: Names, args: &[&[u8]]) -> Result<i64, String> {
    let mut set = None;
    for arg in args {
        match names.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(arg)) {
            Some((_, v)) => set = Some(set.unwrap_or(0) | v),
            None => {
                set = None;
                break;
            }
        }
    }
    set.ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("argument(s) must be one of the following: {}", all.join(", "))
    })
}
