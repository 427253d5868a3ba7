//! What COMMAND DOCS tells of arguments and history, next to a real redis-server's answer.
use std::collections::{BTreeMap, BTreeSet};

use tidewater::Server;

use super::oracle::Oracle;
use crate::support::wire::{Node, Wire};

/// Where the arguments are others than 7.0's.
const ARGUMENTS: &[(&str, &str)] = &[
    ("zrank", "7.2 has WITHSCORE"),
    ("zrevrank", "7.2 has WITHSCORE"),
    ("hscan", "7.4 has NOVALUES, which is here, too"),
    ("command|getkeys", "7.2 tells the arguments, which 7.0 has and does not tell"),
    ("command|getkeysandflags", "7.2 tells the arguments, which 7.0 has and does not tell"),
];

/// Where there is more to tell of than 7.0 knows: these versions, after its own.
const LATER: &[(&str, &str, &str)] = &[
    ("zrank", "7.2.0", "WITHSCORE"),
    ("zrevrank", "7.2.0", "WITHSCORE"),
    ("hscan", "7.4.0", "NOVALUES"),
    ("xinfo|consumers", "7.2.0", "the field inactive"),
    ("xinfo|stream", "7.2.0", "the field active-time"),
];

/// Where the fields of the answer are others: (command, fields, reason).
const FIELDS: &[(&str, &[&str], &str)] = &[
    ("psetex", DEPRECATED, "7.2 calls it deprecated"),
    ("quit", DEPRECATED, "7.2 calls it deprecated"),
    ("setex", DEPRECATED, "7.2 calls it deprecated"),
    ("setnx", DEPRECATED, "7.2 calls it deprecated"),
];
const DEPRECATED: &[&str] = &["doc_flags", "deprecated_since", "replaced_by"];

/// Where a field says another thing: (command, field, reason).
const VALUES: &[(&str, &str, &str)] =
    &[("client|pause", "since", "7.2 names a release, not the 2.9.50 before it")];

/// What is told of each command and subcommand.
type Docs = BTreeMap<String, Vec<(String, Node)>>;

fn text(node: &Node) -> String {
    let text =
        node.bulk().or_else(|| node.raw.strip_prefix(b"+")).unwrap_or_else(|| panic!("{}", node.show()));
    String::from_utf8_lossy(text).trim_end().to_owned()
}

/// A map's fields, whichever protocol's.
fn fields(node: &Node) -> Vec<(String, Node)> {
    assert!(matches!(node.kind(), b'%' | b'*') && node.parts.len().is_multiple_of(2), "{}", node.show());
    node.parts.chunks(2).map(|pair| (text(&pair[0]), pair[1].clone())).collect()
}

fn docs_of(port: u16, protocol: u32) -> Docs {
    fn add(commands: &Node, docs: &mut Docs) {
        for (name, node) in fields(commands) {
            let told = fields(&node);
            if let Some((_, subcommands)) = told.iter().find(|(field, _)| field == "subcommands") {
                add(subcommands, docs);
            }
            docs.insert(name, told);
        }
    }
    let mut client = Wire::connect(port);
    client.ask(&format!("HELLO {protocol}"));
    let mut docs = Docs::new();
    add(&client.ask("COMMAND DOCS"), &mut docs);
    assert!(docs.len() > 200, "{} commands", docs.len());
    docs
}

fn field<'a>(told: &'a [(String, Node)], name: &str) -> Option<&'a Node> {
    told.iter().find(|(field, _)| field == name).map(|(_, node)| node)
}

/// Arguments with their fields in their order and with what each is in the protocol, but for `display_text`, which 7.0
/// does not have.
fn arguments(node: Option<&Node>) -> String {
    let Some(node) = node else { return "none".into() };
    let argument = |node: &Node| {
        let field = |(name, value): (String, Node)| match name.as_str() {
            "display_text" => String::new(),
            "arguments" => format!(" arguments={}", arguments(Some(&value))),
            _ => format!(" {name}={}", value.raw.escape_ascii()),
        };
        format!("{}{{{} }}", node.kind() as char, fields(node).into_iter().map(field).collect::<String>())
    };
    format!("{}[{}]", node.kind() as char, node.parts.iter().map(argument).collect::<String>())
}

/// The versions in a history; what is told of them is our own.
fn versions(told: &[(String, Node)]) -> (Option<u8>, Vec<String>) {
    let Some(history) = field(told, "history") else { return (None, Vec::new()) };
    let version = |entry: &Node| {
        let [version, change] = entry.parts.as_slice() else { panic!("{}", entry.show()) };
        assert!(entry.kind() == b'*' && !text(change).is_empty(), "{}", entry.show());
        text(version)
    };
    (Some(history.kind()), history.parts.iter().map(version).collect())
}

/// A redis-server whose arguments have the names that ours have; 7.2 gave many others.
fn oracle() -> Option<Oracle> {
    let Some(program) = Oracle::find() else {
        println!("skipped: no redis-server");
        assert!(std::env::var_os("CI").is_none(), "CI must have a redis-server to compare with");
        return None;
    };
    let oracle = Oracle::start(program);
    let info = Wire::connect(oracle.port).ask("INFO server");
    let info = text(&info);
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).expect("INFO tells it");
    if !version.starts_with("7.0.") {
        println!("skipped: redis-server is {version}, not 7.0");
        return None;
    }
    Some(oracle)
}

fn compare(protocol: u32) {
    let Some(oracle) = oracle() else { return };
    let server = Server::builder().port(0).workers(1).start().expect("it starts");
    let theirs = docs_of(oracle.port, protocol);
    let ours = docs_of(server.port().expect("it listens"), protocol);
    let (mut wrong, mut both, mut excused) = (Vec::new(), 0, BTreeSet::new());
    for (name, ours) in &ours {
        let Some(theirs) = theirs.get(name) else { continue };
        both += 1;
        let (a, b) = (arguments(field(theirs, "arguments")), arguments(field(ours, "arguments")));
        let known = ARGUMENTS.iter().any(|(command, _)| command == name);
        if known && a != b {
            excused.insert(name.as_str());
        } else if a != b {
            wrong.push(format!("{name}\n    oracle {a}\n    ours   {b}"));
        }

        let (a, b) = (versions(theirs), versions(ours));
        let later = LATER.iter().filter(|(command, ..)| command == name).map(|(_, version, _)| *version);
        let expected: Vec<_> = a.1.iter().map(String::as_str).chain(later).collect();
        if expected != b.1 || (a.0.is_some() && a.0 != b.0) {
            wrong.push(format!("{name}: history of {expected:?} is told as {:?}", b.1));
        }

        for what in ["since", "group", "deprecated_since"] {
            let [a, b] = [theirs, ours].map(|told| field(told, what).map(text));
            let known = VALUES.iter().any(|(command, field, _)| command == name && *field == what);
            if a.is_some() && known == (a == b) {
                wrong.push(format!(
                    "{name}: {what} {a:?} is {b:?} here{}",
                    if known { ", though excused" } else { "" }
                ));
            }
        }

        let names = |told: &[(String, Node)]| -> Vec<String> {
            let own = |field: &String| {
                let told_later = field == "history" && LATER.iter().any(|(command, ..)| command == name)
                    || field == "arguments" && known;
                !told_later
                    && !FIELDS.iter().any(|(command, f, _)| command == name && f.contains(&field.as_str()))
            };
            told.iter().map(|(field, _)| field.clone()).filter(own).collect()
        };
        if names(theirs) != names(ours) {
            wrong.push(format!(
                "{name}: fields\n    oracle {:?}\n    ours   {:?}",
                names(theirs),
                names(ours)
            ));
        }
    }
    assert!(both > 200, "only {both} commands are known to both");
    for (name, reason) in ARGUMENTS {
        if !excused.contains(name) {
            wrong.push(format!("{name} is excused ({reason}) and does not differ"));
        }
    }
    assert!(wrong.is_empty(), "RESP{protocol}:\n{}", wrong.join("\n"));
}

#[test]
fn resp2_tells_arguments_and_history_as_a_real_server() {
    compare(2);
}

#[test]
fn resp3_tells_arguments_and_history_as_a_real_server() {
    compare(3);
}

#[test]
fn every_argument_tells_how_it_is_shown() {
    fn check(command: &str, node: &Node, shown: &mut usize) {
        for argument in &node.parts {
            let told = fields(argument);
            let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
            let parts = field(&told, "arguments");
            if let Some(parts) = parts {
                check(command, parts, shown);
            }
            let third = names.get(2) == Some(&"display_text");
            assert_eq!(third, parts.is_none(), "{command}: {names:?}");
            if third {
                assert_eq!(told[0].1, told[2].1, "{command}: shown otherwise than named");
                *shown += 1;
            }
        }
    }
    let server = Server::builder().port(0).workers(1).start().expect("it starts");
    let mut shown = 0;
    for (name, told) in docs_of(server.port().expect("it listens"), 3) {
        if let Some(node) = field(&told, "arguments") {
            check(&name, node, &mut shown);
        }
    }
    assert!(shown > 500, "{shown} arguments");
}

#[test]
fn a_renamed_command_tells_the_same() {
    let told = |renames: &[&str], name: &str| {
        let mut builder = Server::builder().port(0).workers(1);
        for rename in renames {
            builder = builder.config("rename-command", rename);
        }
        let server = builder.start().expect("it starts");
        let docs = docs_of(server.port().expect("it listens"), 2);
        let told = docs.get(name).unwrap_or_else(|| panic!("{name} is not told of"));
        (arguments(field(told, "arguments")), versions(told))
    };
    assert_ne!(told(&[], "set").0, "none");
    assert_eq!(told(&["set put"], "put"), told(&[], "set"));
    assert_eq!(told(&["config knobs"], "config|set"), told(&[], "config|set"));
}
