//! A directory goes from a real redis-server to Tidewater and back: both see the same keys in it.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Folder, Running, until};
use crate::differential::dump::{fill, settle};
use crate::differential::known::same_encoding;
use crate::differential::oracle::{Oracle, SETTINGS};
use crate::support::long;
use crate::support::wire::{Args, Node, Wire};

const DATABASES: usize = 6;
/// What expires sooner might do so between two looks.
const SOON_MS: i64 = 3_600_000;

fn program() -> Option<PathBuf> {
    let program = Oracle::find();
    if program.is_none() {
        println!("skipped: no redis-server");
        assert!(std::env::var_os("CI").is_none(), "CI must have a redis-server to compare with");
    }
    program
}

fn ours(folder: &Folder, options: &[&str]) -> Running {
    let settings: Vec<String> = SETTINGS
        .iter()
        .chain(&[("set-max-listpack-entries", "12"), ("save", "")])
        .flat_map(|(name, value)| [format!("--{name}"), value.to_string()])
        .collect();
    let all: Vec<&str> = settings.iter().map(String::as_str).chain(options.iter().copied()).collect();
    Running::start(folder, &all)
}

fn theirs(program: &Path, folder: &Folder, options: &[&str]) -> (Oracle, Wire) {
    let oracle = Oracle::start_with(program.to_path_buf(), folder.path(), options);
    let mut client = Wire::connect(oracle.port);
    until("redis-server to load", || !client.ask("DBSIZE").is_error());
    (oracle, client)
}

/// What there is to see of a key.
struct Seen {
    kind: Node,
    encoding: Node,
    expires: Node,
    /// Sorted where it has no order.
    content: Vec<Vec<u8>>,
}

type Picture = BTreeMap<(usize, Vec<u8>), Seen>;

fn words(words: &[&[u8]]) -> Args {
    words.iter().map(|w| w.to_vec()).collect()
}

fn ask_all(client: &mut Wire, questions: &[Args]) -> Vec<Node> {
    let mut replies = Vec::with_capacity(questions.len());
    for some in questions.chunks(500) {
        client.send(some);
        replies.extend(some.iter().map(|args| client.reply(args)));
    }
    replies
}

/// What is told of a value, by the type: the first is its content.
fn questions(kind: &[u8], key: &[u8]) -> Vec<Args> {
    match kind {
        b"+string\r\n" => vec![words(&[b"GET", key])],
        b"+list\r\n" => vec![words(&[b"LRANGE", key, b"0", b"-1"])],
        b"+set\r\n" => vec![words(&[b"SMEMBERS", key])],
        b"+zset\r\n" => vec![words(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"])],
        b"+hash\r\n" => vec![words(&[b"HGETALL", key])],
        b"+stream\r\n" => vec![
            words(&[b"XRANGE", key, b"-", b"+"]),
            words(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]),
        ],
        other => panic!("{}", other.escape_ascii()),
    }
}

/// What is to be equal in the reply.
fn content(kind: &[u8], replies: &[Node]) -> Vec<Vec<u8>> {
    let parts = &replies[0].parts;
    let raw = |nodes: &[Node]| nodes.iter().map(|n| n.raw.clone()).collect::<Vec<_>>();
    let mut content = match kind {
        b"+zset\r\n" => parts
            .iter()
            .enumerate()
            .map(|(i, n)| {
                // 7.2 prints scores with fewer digits.
                let text = String::from_utf8_lossy(n.bulk().unwrap_or_default()).into_owned();
                match text.parse::<f64>() {
                    Ok(score) if i % 2 == 1 => score.to_bits().to_be_bytes().to_vec(),
                    _ => n.raw.clone(),
                }
            })
            .collect(),
        b"+hash\r\n" => parts.chunks(2).map(|pair| raw(pair).concat()).collect(),
        b"+set\r\n" => raw(parts),
        _ => vec![replies[0].raw.clone()],
    };
    if matches!(kind, b"+set\r\n" | b"+hash\r\n") {
        content.sort();
    }
    if let Some(info) = replies.get(1) {
        content.extend(stream_facts(info));
    }
    content
}

/// A stream's own figures and its groups, without times of delivery and of consumers, and the shape of the tree.
fn stream_facts(info: &Node) -> Vec<Vec<u8>> {
    let mut facts = Vec::new();
    for pair in info.parts.chunks(2) {
        let name = pair[0].bulk().unwrap_or_default();
        match name {
            b"length"
            | b"last-generated-id"
            | b"max-deleted-entry-id"
            | b"entries-added"
            | b"recorded-first-entry-id" => facts.push([name, &pair[1].raw].concat()),
            b"groups" => {
                for group in &pair[1].parts {
                    for field in group.parts.chunks(2) {
                        let name = field[0].bulk().unwrap_or_default();
                        match name {
                            // Of an entry that waits: id, consumer, time of delivery, count.
                            b"pending" => field[1].parts.iter().for_each(|entry| {
                                facts.push(entry.parts.iter().flat_map(|n| n.raw.clone()).collect());
                            }),
                            b"consumers" => field[1]
                                .parts
                                .iter()
                                .for_each(|c| facts.push([b"consumer ", c.parts[1].raw.as_slice()].concat())),
                            _ => facts.push([name, &field[1].raw].concat()),
                        }
                    }
                }
            }
            _ => {}
        }
    }
    facts
}

fn picture(client: &mut Wire) -> Picture {
    let mut picture = Picture::new();
    for db in 0..DATABASES {
        client.ask(&format!("SELECT {db}"));
        let keys: Vec<Vec<u8>> =
            client.ask("KEYS *").parts.iter().filter_map(|k| k.bulk().map(<[u8]>::to_vec)).collect();
        let each = |question: &[&[u8]]| -> Vec<Args> {
            keys.iter().map(|key| words(&[question, &[key.as_slice()]].concat())).collect()
        };
        let kinds = ask_all(client, &each(&[b"TYPE"]));
        let mut encodings = ask_all(client, &each(&[b"OBJECT", b"ENCODING"])).into_iter();
        let mut expires = ask_all(client, &each(&[b"PEXPIRETIME"])).into_iter();
        let asked: Vec<Vec<Args>> =
            keys.iter().zip(&kinds).map(|(key, kind)| questions(&kind.raw, key)).collect();
        let mut told = ask_all(client, &asked.concat()).into_iter();
        for ((key, kind), asked) in keys.iter().zip(kinds).zip(asked) {
            let replies: Vec<Node> = told.by_ref().take(asked.len()).collect();
            let content = content(&kind.raw, &replies);
            let (encoding, expires) = (encodings.next().expect("one"), expires.next().expect("one"));
            picture.insert((db, key.clone()), Seen { kind, encoding, expires, content });
        }
    }
    picture
}

/// What differs; the first is a redis-server's.
fn compare(theirs: &Picture, ours: &Picture) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = |key: &(usize, Vec<u8>)| format!("{} {}", key.0, key.1.escape_ascii());
    wrong.extend(
        ours.keys().filter(|key| !theirs.contains_key(key)).map(|key| format!("only here: {}", name(key))),
    );
    for (key, a) in theirs {
        let Some(b) = ours.get(key) else {
            wrong.push(format!("only there: {}", name(key)));
            continue;
        };
        for (what, same) in [
            ("type", a.kind == b.kind),
            ("encoding", same_encoding(&a.encoding, &b.encoding)),
            ("expiry", a.expires == b.expires),
        ] {
            if !same {
                wrong.push(format!(
                    "{what} of {}: {} {} {} here {} {} {}",
                    name(key),
                    a.kind.show(),
                    a.encoding.show(),
                    a.expires.show(),
                    b.kind.show(),
                    b.encoding.show(),
                    b.expires.show()
                ));
            }
        }
        if a.content != b.content {
            let at = a.content.iter().zip(&b.content).position(|(a, b)| a != b);
            let at = at.unwrap_or(a.content.len().min(b.content.len()));
            let show = |c: &[Vec<u8>]| c.get(at).map(|c| crate::support::wire::shorten(c));
            wrong.push(format!(
                "{}: part {at} {:?} here {:?}",
                name(key),
                show(&a.content),
                show(&b.content)
            ));
        }
    }
    wrong.truncate(30);
    wrong
}

fn assert_same(what: &str, theirs: &Picture, ours: &Picture) {
    let wrong = compare(theirs, ours);
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    assert!(ours.len() > 100, "{what}: {} keys", ours.len());
}

/// Nothing expires while the servers are compared.
fn calm(client: &mut Wire) {
    for db in 0..DATABASES {
        client.ask(&format!("SELECT {db}"));
        let keys = client.ask("KEYS *");
        let keys: Vec<&[u8]> = keys.parts.iter().filter_map(Node::bulk).collect();
        let asked: Vec<Args> = keys.iter().map(|key| words(&[b"PTTL", key])).collect();
        let ttls = ask_all(client, &asked);
        let later: Vec<Args> = keys
            .iter()
            .zip(ttls)
            .filter(|(_, ttl)| (0..SOON_MS).contains(&ttl.number()))
            .map(|(key, _)| words(&[b"PEXPIRE", key, b"7200123"]))
            .collect();
        ask_all(client, &later);
    }
    client.ask("SELECT 0");
}

/// Many keys of all types, here and there with a TTL, in several databases.
fn many(client: &mut Wire, keys: usize) {
    for db in [0, 1, 5] {
        client.ask(&format!("SELECT {db}"));
        let mut lines: Vec<Args> = Vec::new();
        for i in 0..keys / 3 {
            let (key, i_text) = (format!("many:{i}"), i.to_string());
            let (key, n) = (key.as_bytes(), i_text.as_bytes());
            lines.push(match i % 8 {
                0 => words(&[b"SET", key, n]),
                1 => words(&[b"SET", key, &b"some text, ".repeat(i % 50)]),
                2 => words(&[b"RPUSH", key, n, b"b", &b"c".repeat(i % 90)]),
                3 => words(&[b"SADD", key, n, b"7", b"-100000"]),
                4 => words(&[b"SADD", key, n, b"member"]),
                5 => words(&[b"ZADD", key, n, b"a", b"1.25", n]),
                6 => words(&[b"HSET", key, b"f", n, n, &b"v".repeat(i % 60)]),
                _ => words(&[b"XADD", key, b"1-1", b"f", n]),
            });
            if i % 5 == 0 {
                lines.push(words(&[
                    b"PEXPIREAT",
                    key,
                    (4_000_000_000_000 + i as u64).to_string().as_bytes(),
                ]));
            }
        }
        for reply in ask_all(client, &lines) {
            assert!(!reply.is_error(), "{}", reply.show());
        }
    }
    client.ask("SELECT 0");
}

/// Changes of every kind.
fn change(client: &mut Wire) {
    let lines = [
        "SET many:0 changed",
        "DEL many:8",
        "APPEND many:9 more",
        "RPUSH many:2 x y z",
        "SADD many:3 5 text",
        "ZADD many:5 7.5 another",
        "HSET many:6 another 1",
        "XADD many:7 9-9 a b",
        "XGROUP CREATE many:7 readers 0",
        "XREADGROUP GROUP readers me COUNT 1 STREAMS many:7 >",
        "PEXPIREAT many:16 4100000000000",
        "PERSIST many:40",
        "SELECT 3",
        "SADD new 1 2 3",
        "RPUSH newlist a b c",
        "MSET a 1 b 2",
        "SELECT 0",
    ];
    for (line, reply) in lines.iter().zip(client.pipeline(&lines)) {
        assert!(!reply.is_error(), "{line}: {}", reply.show());
    }
}

/// Values that were changed in place have encodings that only their history explains.
fn settle_all(client: &mut Wire) {
    settle(client);
    client.ask("SELECT 0");
}

fn end_ours(server: Running, client: &mut Wire, how: &str) {
    client.send([&words(&[b"SHUTDOWN", how.as_bytes()])]);
    server.wait();
}

fn end_theirs(oracle: Oracle, client: &mut Wire) {
    client.send([&words(&[b"SHUTDOWN", b"NOSAVE"])]);
    oracle.wait();
}

fn keys() -> usize {
    if long() { 100_000 } else { 6000 }
}

#[test]
fn a_dump_goes_there_and_back() {
    let Some(program) = program() else { return };
    let folder = Folder::new("real-dump");
    let (oracle, mut client) = theirs(&program, &folder, &[]);
    fill(&mut client);
    settle_all(&mut client);
    many(&mut client, keys());
    calm(&mut client);
    let before = picture(&mut client);
    assert_eq!(client.ask("SAVE").raw, b"+OK\r\n");
    end_theirs(oracle, &mut client);

    let server = ours(&folder, &[]);
    let mut client = Wire::connect(server.port);
    assert_same("there to here", &before, &picture(&mut client));
    change(&mut client);
    let changed = picture(&mut client);
    end_ours(server, &mut client, "SAVE");

    let (oracle, mut client) = theirs(&program, &folder, &[]);
    assert_same("here to there", &picture(&mut client), &changed);
    end_theirs(oracle, &mut client);
}

#[test]
fn an_append_only_directory_goes_there_and_back() {
    let Some(program) = program() else { return };
    let folder = Folder::new("real-aof");
    let (oracle, mut client) = theirs(&program, &folder, &["--appendonly", "yes"]);
    fill(&mut client);
    many(&mut client, keys());
    assert!(!client.ask("BGREWRITEAOF").is_error());
    until("the rewrite", || {
        let info = client.ask("INFO persistence");
        let text = String::from_utf8_lossy(&info.raw).into_owned();
        text.contains("aof_rewrite_in_progress:0") && text.contains("aof_rewrite_scheduled:0")
    });
    // What comes now is in the incremental file.
    fill(&mut client);
    change(&mut client);
    settle_all(&mut client);
    calm(&mut client);
    let before = picture(&mut client);
    end_theirs(oracle, &mut client);

    let server = ours(&folder, &["--appendonly", "yes"]);
    let mut client = Wire::connect(server.port);
    assert_same("there to here", &before, &picture(&mut client));
    // Appended to what is there, without a rewrite.
    for line in
        ["SET many:0 again", "RPUSH many:2 w", "SPOP many:3", "INCRBYFLOAT float 0.1", "SET soon 1 EX 100000"]
    {
        assert!(!client.ask(line).is_error(), "{line}");
    }
    let changed = picture(&mut client);
    end_ours(server, &mut client, "NOSAVE");
    let (oracle, mut client) = theirs(&program, &folder, &["--appendonly", "yes"]);
    assert_same("appended here, to there", &picture(&mut client), &changed);
    end_theirs(oracle, &mut client);

    // Rewritten here.
    let server = ours(&folder, &["--appendonly", "yes"]);
    let mut client = Wire::connect(server.port);
    assert!(!client.ask("BGREWRITEAOF").is_error());
    until("the rewrite", || server.link().info("aof_rewrite_in_progress") == "0");
    assert_eq!(server.link().info("aof_rewrites"), "1", "{}", server.log());
    client.ask("SET after 1");
    let changed = picture(&mut client);
    end_ours(server, &mut client, "NOSAVE");
    let (oracle, mut client) = theirs(&program, &folder, &["--appendonly", "yes"]);
    assert_same("rewritten here, to there", &picture(&mut client), &changed);
    end_theirs(oracle, &mut client);
}

/// Tidewater's own data, out of random commands, in its dump and its append-only files.
#[test]
fn what_was_made_here_is_read_there() {
    let Some(program) = program() else { return };
    for options in [&[][..], &["--appendonly", "yes"]] {
        let folder = Folder::new("real-own");
        let server = ours(&folder, options);
        let mut client = Wire::connect(server.port);
        fill(&mut client);
        settle_all(&mut client);
        many(&mut client, 1000);
        calm(&mut client);
        let made = picture(&mut client);
        end_ours(server, &mut client, if options.is_empty() { "SAVE" } else { "NOSAVE" });
        let (oracle, mut client) = theirs(&program, &folder, options);
        assert_same("here to there", &picture(&mut client), &made);
        end_theirs(oracle, &mut client);
    }
}

/// Without RDB: `aof-use-rdb-preamble no`.
#[test]
fn a_base_of_commands_is_read_here_and_there() {
    let Some(program) = program() else { return };
    let options = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--enable-debug-command", "yes"];
    let folder = Folder::new("real-commands");
    let server = ours(&folder, &options);
    let mut client = Wire::connect(server.port);
    fill(&mut client);
    many(&mut client, keys());
    calm(&mut client);
    let rewrite = |client: &mut Wire, n: &str| {
        assert!(!client.ask("BGREWRITEAOF").is_error());
        until("the rewrite", || server.link().info("aof_rewrite_in_progress") == "0");
        assert_eq!(server.link().info("aof_rewrites"), n, "{}", server.log());
        assert_eq!(client.ask("DEBUG LOADAOF").raw, b"+OK\r\n", "{}", server.log());
    };
    // What only commands can tell is left after the first time: encodings follow from the values.
    rewrite(&mut client, "2");
    let before = picture(&mut client);
    rewrite(&mut client, "3");
    assert_same("out and in again", &before, &picture(&mut client));
    let log = server.log();
    end_ours(server, &mut client, "NOSAVE");
    let files = std::fs::read_dir(folder.path().join("appendonlydir")).expect("the files");
    let names: Vec<_> =
        files.map(|f| f.expect("a file").file_name().into_string().expect("a name")).collect();
    assert!(names.iter().any(|name| name.ends_with(".3.base.aof")), "{names:?}");
    assert!(!log.contains("were refused"), "{log}");
    let (oracle, mut client) = theirs(&program, &folder, &options);
    assert_same("here to there", &picture(&mut client), &before);
    end_theirs(oracle, &mut client);
}
