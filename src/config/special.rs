//! The directives whose values have a shape of their own: save points, buffer limits, keyspace events, addresses.
use super::directive::{Lines, Source, Special, Value, format_memory};
use crate::base::num::{parse_f64, parse_memory};
use crate::base::platform;
use crate::base::split;

/// Snapshot once so many changes have gathered and so many seconds have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: i64,
    pub changes: i64,
}

/// The output buffer limits of a class of clients; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// Of normal clients, replicas and subscribers.
pub type Buffers = [Limit; 3];

/// The classes of keyspace events, as bits, in the order in which they print.
pub const EVENT_CLASSES: &[(u8, u32)] = &[
    (b'g', 1 << 2),
    (b'$', 1 << 3),
    (b'l', 1 << 4),
    (b's', 1 << 5),
    (b'h', 1 << 6),
    (b'z', 1 << 7),
    (b'x', 1 << 8),
    (b'e', 1 << 9),
    (b't', 1 << 10),
    (b'd', 1 << 13),
    (b'n', NOTIFY_NEW),
];
pub const NOTIFY_KEYSPACE: u32 = 1;
pub const NOTIFY_KEYEVENT: u32 = 1 << 1;
/// Misses and new keys are not part of `A`: they would flood whoever asked for all.
pub const NOTIFY_KEY_MISS: u32 = 1 << 11;
pub const NOTIFY_NEW: u32 = 1 << 14;
/// What `A` stands for.
pub const NOTIFY_ALL: u32 = 0b10_0111_1111_1100;

/// The most addresses that `bind` takes.
const BIND_MAX: usize = 16;
const BUFFER_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];
const WRONG_NUMBER: &str = "wrong number of arguments";

pub const SAVE: Special = Special { parse: parse_save, format: format_save, lines: save_lines };
pub const BUFFERS: Special = Special { parse: parse_buffers, format: format_buffers, lines: buffer_lines };
pub const NOTIFY: Special =
    Special { parse: parse_notify, format: |v| events_to_text(flags(v)), lines: notify_lines };
pub const OOM_VALUES: Special = Special { parse: parse_oom_values, format: join, lines: one_line };
pub const PERCENTILES: Special = Special { parse: parse_percentiles, format: join, lines: one_line };
pub const BIND: Special = Special { parse: parse_bind, format: join, lines: bind_lines };
pub const REPLICAOF: Special = Special { parse: parse_replicaof, format: join, lines: replicaof_lines };
pub const CONNECTIONS: Special =
    Special { parse: parse_connections, format: format_connections, lines: connection_lines };
pub const PIPELINES: Special = Special { parse: parse_pipelines, format: join_lines, lines: pipeline_lines };
pub const DIR: Special = Special { parse: parse_dir, format: text, lines: dir_lines };

/// A single empty argument means none.
fn or_none<'a>(args: &'a [&'a [u8]]) -> &'a [&'a [u8]] {
    if args.len() == 1 && args.first().is_some_and(|a| a.is_empty()) { &[] } else { args }
}

fn join(value: &Value) -> Vec<u8> {
    if let Value::Words(words) = value { words.join(&b' ') } else { Vec::new() }
}

fn text(value: &Value) -> Vec<u8> {
    if let Value::Text(text) = value { text.clone() } else { Vec::new() }
}

/// A decimal number as C's strtoll reads one that takes up the whole argument.
fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim_start().parse().ok()
}

fn named(name: &str, rest: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b" ", if rest.is_empty() { b"\"\"" } else { rest }].concat()
}

fn one_line(name: &str, value: &Value, default: &Value) -> Lines {
    vec![(named(name, &join(value)), value != default)]
}

/// Words that parts of a property's name are compared with: its value is not for everyone's eyes.
const SECRETS: [&str; 4] = ["password", "secret", "ssl.key.pem", "oauthbearer.config"];

/// A connection to Kafka: its name, then properties and their values. Kept flat, three words a property.
fn parse_connections(args: &[&[u8]], present: &Value, _: Source) -> Result<Value, String> {
    let Some((name, properties)) = or_none(args).split_first() else { return Ok(Value::Words(Vec::new())) };
    let (pairs, rest) = properties.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err("a connection is a name, then properties and their values".into());
    }
    let mut words = if let Value::Words(words) = present { words.clone() } else { Vec::new() };
    for [property, value] in pairs {
        let old = words.as_chunks::<3>().0.iter().position(|[n, p, _]| n == name && p == property);
        match old {
            Some(i) => words[i * 3 + 2] = value.to_vec(),
            None => words.extend([name.to_vec(), property.to_vec(), value.to_vec()]),
        }
    }
    Ok(Value::Words(words))
}

fn triples(value: &Value) -> &[[Vec<u8>; 3]] {
    if let Value::Words(words) = value { words.as_chunks().0 } else { &[] }
}

/// Secrets are masked.
fn format_connections(value: &Value) -> Vec<u8> {
    let shown = triples(value).iter().map(|[name, property, value]| {
        let secret = SECRETS.iter().any(|s| String::from_utf8_lossy(property).contains(s));
        let value: &[u8] = if secret && !property.ends_with(b".file") { b"***" } else { value };
        split::join([name, property, value])
    });
    shown.collect::<Vec<_>>().join(&b' ')
}

fn connection_lines(name: &str, value: &Value, _: &Value) -> Lines {
    let line = |[connection, property, value]: &[Vec<u8>; 3]| {
        (named(name, &split::join([connection, property, value])), true)
    };
    triples(value).iter().map(line).collect()
}

/// Each pipeline is one line: its name and the arguments of KAFKA CREATE.
fn parse_pipelines(args: &[&[u8]], present: &Value, _: Source) -> Result<Value, String> {
    if or_none(args).is_empty() {
        return Ok(Value::Words(Vec::new()));
    }
    let mut words = if let Value::Words(words) = present { words.clone() } else { Vec::new() };
    words.push(split::join(args.iter().copied()));
    Ok(Value::Words(words))
}

fn join_lines(value: &Value) -> Vec<u8> {
    if let Value::Words(words) = value { words.join(&b'\n') } else { Vec::new() }
}

fn pipeline_lines(name: &str, value: &Value, _: &Value) -> Lines {
    let Value::Words(words) = value else { return Vec::new() };
    words.iter().map(|line| (named(name, line), true)).collect()
}

fn parse_save(args: &[&[u8]], present: &Value, source: Source) -> Result<Value, String> {
    const INVALID: &str = "Invalid save parameters";
    let clears = args.len() == 1 && or_none(args).is_empty();
    let (pairs, rest) = or_none(args).as_chunks::<2>();
    if !rest.is_empty() {
        return Err(INVALID.into());
    }
    let mut points = match present {
        Value::Save(points) if source == Source::Again && !clears => points.clone(),
        _ => Vec::new(),
    };
    for [seconds, changes] in pairs {
        let seconds = decimal(seconds).filter(|v| *v >= 1).ok_or(INVALID)?;
        let changes = decimal(changes).filter(|v| *v >= 0).ok_or(INVALID)?;
        points.push(SavePoint { seconds, changes });
    }
    Ok(Value::Save(points))
}

fn format_save(value: &Value) -> Vec<u8> {
    let Value::Save(points) = value else { return Vec::new() };
    let points: Vec<String> = points.iter().map(|p| format!("{} {}", p.seconds, p.changes)).collect();
    points.join(" ").into()
}

/// Always all of them: a file's first `save` replaces every default, so one that stays alone would drop the others.
fn save_lines(name: &str, value: &Value, _: &Value) -> Lines {
    match value {
        Value::Save(points) if !points.is_empty() => {
            points.iter().map(|p| (format!("{name} {} {}", p.seconds, p.changes).into(), true)).collect()
        }
        _ => vec![(named(name, b""), true)],
    }
}

fn parse_buffers(args: &[&[u8]], present: &Value, _: Source) -> Result<Value, String> {
    let (fours, rest) = args.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = if let Value::Buffers(limits) = present { *limits } else { Buffers::default() };
    for [class, hard, soft, seconds] in fours {
        let class = match class.to_ascii_lowercase().as_slice() {
            b"normal" => 0,
            b"slave" | b"replica" => 1,
            b"pubsub" => 2,
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        let bytes = |text: &[u8]| parse_memory(text).and_then(|v| u64::try_from(v).ok());
        let seconds = decimal(seconds).and_then(|v| u64::try_from(v).ok());
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) = (bytes(hard), bytes(soft), seconds)
        else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        limits[class] = Limit { hard_bytes, soft_bytes, soft_seconds };
    }
    Ok(Value::Buffers(limits))
}

fn format_buffers(value: &Value) -> Vec<u8> {
    let Value::Buffers(limits) = value else { return Vec::new() };
    let classes: Vec<String> = BUFFER_CLASSES
        .iter()
        .zip(limits)
        .map(|(class, l)| format!("{class} {} {} {}", l.hard_bytes, l.soft_bytes, l.soft_seconds))
        .collect();
    classes.join(" ").into()
}

fn buffer_lines(name: &str, value: &Value, default: &Value) -> Lines {
    let (Value::Buffers(limits), Value::Buffers(defaults)) = (value, default) else { return Vec::new() };
    let memory = |bytes: u64| format_memory(i64::try_from(bytes).unwrap_or(i64::MAX));
    ["normal", "replica", "pubsub"]
        .iter()
        .zip(limits.iter().zip(defaults))
        .map(|(class, (l, d))| {
            let (hard, soft) = (memory(l.hard_bytes), memory(l.soft_bytes));
            (format!("{name} {class} {hard} {soft} {}", l.soft_seconds).into(), l != d)
        })
        .collect()
}

fn flags(value: &Value) -> u32 {
    if let Value::Int(v) = value { u32::try_from(*v).unwrap_or(0) } else { 0 }
}

fn parse_notify(args: &[&[u8]], _: &Value, _: Source) -> Result<Value, String> {
    let [text] = args else { return Err(WRONG_NUMBER.into()) };
    let flags = events_from_text(text).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
    Ok(Value::Int(i64::from(flags)))
}

/// Keyspace event classes from their letters.
pub fn events_from_text(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |flags, letter| {
        let bits = match letter {
            b'A' => NOTIFY_ALL,
            b'K' => NOTIFY_KEYSPACE,
            b'E' => NOTIFY_KEYEVENT,
            b'm' => NOTIFY_KEY_MISS,
            _ => EVENT_CLASSES.iter().find(|(l, _)| l == letter)?.1,
        };
        Some(flags | bits)
    })
}

/// The letters of keyspace event classes. As in Redis, `n` is not shown beside `A`.
pub fn events_to_text(flags: u32) -> Vec<u8> {
    let mut text = Vec::new();
    if flags & NOTIFY_ALL == NOTIFY_ALL {
        text.push(b'A');
    } else {
        text.extend(EVENT_CLASSES.iter().filter(|(_, bit)| flags & bit != 0).map(|(letter, _)| letter));
    }
    for (letter, bit) in [(b'K', NOTIFY_KEYSPACE), (b'E', NOTIFY_KEYEVENT), (b'm', NOTIFY_KEY_MISS)] {
        if flags & bit != 0 {
            text.push(letter);
        }
    }
    text
}

fn notify_lines(name: &str, value: &Value, default: &Value) -> Lines {
    let mut line = format!("{name} ").into_bytes();
    let mut letters = events_to_text(flags(value));
    // What CONFIG GET hides must still survive a restart.
    if flags(value) & NOTIFY_NEW != 0 && !letters.contains(&b'n') {
        letters.push(b'n');
    }
    split::quote(&mut line, &letters);
    vec![(line, value != default)]
}

fn parse_oom_values(args: &[&[u8]], _: &Value, _: Source) -> Result<Value, String> {
    if args.len() != 3 {
        return Err(WRONG_NUMBER.into());
    }
    let words = args.iter().map(|a| decimal(a).filter(|v| (-2000..=2000).contains(v)));
    let words: Option<Vec<_>> = words.map(|v| v.map(|v| v.to_string().into_bytes())).collect();
    let words = words.ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
    Ok(Value::Words(words))
}

fn parse_percentiles(args: &[&[u8]], _: &Value, _: Source) -> Result<Value, String> {
    let mut words = Vec::new();
    for arg in or_none(args) {
        let v = parse_f64(arg).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&v) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
        }
        let text = format!("{v:.6}");
        words.push(text.trim_end_matches('0').trim_end_matches('.').into());
    }
    Ok(Value::Words(words))
}

fn parse_bind(args: &[&[u8]], _: &Value, _: Source) -> Result<Value, String> {
    if args.len() > BIND_MAX {
        return Err("Too many bind addresses specified.".into());
    }
    Ok(Value::Words(or_none(args).iter().map(|a| a.to_vec()).collect()))
}

fn bind_lines(name: &str, value: &Value, default: &Value) -> Lines {
    if value == default { Vec::new() } else { one_line(name, value, default) }
}

/// The default is no arguments at all, which only a row can give.
fn parse_replicaof(args: &[&[u8]], _: &Value, _: Source) -> Result<Value, String> {
    match args {
        [b""] => Ok(Value::Words(Vec::new())),
        [no, one] if no.eq_ignore_ascii_case(b"no") && one.eq_ignore_ascii_case(b"one") => {
            Ok(Value::Words(Vec::new()))
        }
        [host, port] => {
            let port = decimal(port).filter(|v| (0..=65535).contains(v)).ok_or("Invalid master port")?;
            Ok(Value::Words(vec![host.to_vec(), port.to_string().into()]))
        }
        _ => Err(WRONG_NUMBER.into()),
    }
}

fn replicaof_lines(name: &str, value: &Value, default: &Value) -> Lines {
    bind_lines(name, value, default)
}

/// Always an absolute path that exists. The process keeps its own working directory: two servers may share it.
fn parse_dir(args: &[&[u8]], present: &Value, _: Source) -> Result<Value, String> {
    let [path] = args else { return Err(WRONG_NUMBER.into()) };
    let base = text(present);
    let is_default = base.is_empty();
    let path = std::path::Path::new(&platform::from_bytes(base)).join(platform::from_bytes(path.to_vec()));
    let path = match platform::resolve(&path) {
        // The default, where the working directory is gone: a server must still be able to say so later.
        Err(_) if is_default => std::path::PathBuf::from("/"),
        found => found.map_err(|e| os_error(&e))?,
    };
    if !path.is_dir() {
        return Err("Not a directory".into());
    }
    Ok(Value::Text(platform::bytes(path.as_os_str()).to_vec()))
}

fn dir_lines(name: &str, value: &Value, _: &Value) -> Lines {
    let mut line = format!("{name} ").into_bytes();
    split::quote(&mut line, &text(value));
    vec![(line, true)]
}

/// An I/O error in the system's words, without Rust's suffix.
pub fn os_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Only the last component of a path.
fn is_base_name(name: &[u8]) -> bool {
    !name.contains(&b'/') && !name.contains(&b'\\') && !platform::names_a_drive(name)
}

pub fn check_db_filename(value: &Value) -> Result<(), &'static str> {
    if is_base_name(&text(value)) { Ok(()) } else { Err("dbfilename can't be a path, just a filename") }
}

pub fn check_append_filename(value: &Value) -> Result<(), &'static str> {
    match text(value) {
        name if name.is_empty() => Err("appendfilename can't be empty"),
        name if !is_base_name(&name) => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

pub fn check_append_dirname(value: &Value) -> Result<(), &'static str> {
    match text(value) {
        name if name.is_empty() => Err("appenddirname can't be empty"),
        name if !is_base_name(&name) => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

pub fn check_hostname(value: &Value) -> Result<(), &'static str> {
    let name = text(value);
    if name.len() >= 256 {
        Err("Hostnames must be less than 256 characters")
    } else if name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
        Ok(())
    } else {
        Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
    }
}

pub fn check_shutdown(value: &Value) -> Result<(), &'static str> {
    if matches!(value, Value::Int(v) if v & 3 == 3) {
        Err("shutdown options SAVE and NOSAVE can't be used simultaneously")
    } else {
        Ok(())
    }
}

pub fn check_title(value: &Value) -> Result<(), &'static str> {
    const KNOWN: [&[u8]; 7] =
        [b"title", b"listen-addr", b"server-mode", b"port", b"tls-port", b"unixsocket", b"config-file"];
    let template = text(value);
    let ok = template
        .split(|&b| b == b'{')
        .skip(1)
        .all(|part| part.iter().position(|&b| b == b'}').is_some_and(|end| KNOWN.contains(&&part[..end])));
    if ok { Ok(()) } else { Err("template format is invalid or contains unknown variables") }
}

pub fn check_shards(value: &Value) -> Result<(), &'static str> {
    match value {
        Value::Int(v) if *v == 0 || v.count_ones() == 1 => Ok(()),
        _ => Err("argument must be 0 or a power of two"),
    }
}
