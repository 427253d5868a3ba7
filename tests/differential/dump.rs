//! Payloads and dump files, between a real redis-server and Tidewater, both ways.
use std::collections::BTreeMap;
use std::fs::File;

use tidewater::Server;
use tidewater::base::crc::crc64;
use tidewater::base::limits::Limits;
use tidewater::rdb::decode::{Decoded, Options};
use tidewater::rdb::encode::{self, Access};
use tidewater::rdb::read::{Checksum, Item, Reader};
use tidewater::value::cell::Cell;

use super::generate::Generator;
use super::oracle::{Oracle, SETTINGS};
use super::{DATABASES, Pair, Side, seed};
use crate::support::wire::{Args, Node, Wire};

/// Both servers, or `None` (with a word why) where there is no redis-server.
fn servers(dir: &std::path::Path) -> Option<(Oracle, Server, Pair)> {
    let Some(program) = Oracle::find() else {
        println!("skipped: no redis-server");
        return None;
    };
    let oracle = Oracle::start_in(program, dir);
    let mut builder = Server::builder().port(0).workers(2);
    for (name, value) in SETTINGS.iter().chain(&[("set-max-listpack-entries", "12")]) {
        builder = builder.config(name, value);
    }
    let server = builder.start().expect("it starts");
    let pair = Pair {
        oracle: Side::new(oracle.port, 2),
        ours: Side::new(server.port().expect("it listens"), 2),
        queued: Default::default(),
    };
    Some((oracle, server, pair))
}

/// A folder of its own, gone at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidewater-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Random keys of every type, and some that reach what random ones do not.
pub fn fill(client: &mut Wire) {
    let mut generator = Generator::new(seed());
    for _ in 0..4000 {
        let step = generator.step(0);
        let word = step.args[0].to_ascii_uppercase();
        if !matches!(word.as_slice(), b"MULTI" | b"EXEC" | b"DISCARD" | b"FLUSHALL" | b"FLUSHDB" | b"WATCH") {
            client.call(&step.args);
        }
    }
    client.ask("SELECT 0");
    // They may be there from a call before.
    client.ask("DEL x:stream x:emptied");
    let call = |client: &mut Wire, words: &[&str]| {
        let reply = client.call(&words.iter().map(|w| w.as_bytes().to_vec()).collect());
        assert!(!reply.is_error(), "{}", reply.show());
    };
    let long = "long text ".repeat(3000);
    let noise: String = (0..5000u32).map(|i| char::from(33 + (i.wrapping_mul(i) >> 3) as u8 % 90)).collect();
    for (i, v) in
        ["0", "-1", "127", "128", "-32769", "2147483647", "2147483648", "-9223372036854775808", "", "01"]
            .iter()
            .enumerate()
    {
        call(client, &["SET", &format!("x:s:{i}"), v]);
    }
    call(client, &["SET", "x:s:long", &long]);
    call(client, &["SET", "x:s:noise", &noise]);
    call(client, &["SET", "x:s:ttl", "v", "PX", "100000000"]);
    for i in 0..600 {
        let text = &noise[i..i + i % 70];
        call(client, &["RPUSH", "x:l:many", text]);
        call(client, &["SADD", "x:t:many", text]);
        call(client, &["HSET", "x:h:many", text, &i.to_string()]);
        call(client, &["ZADD", "x:z:many", &format!("{}", (i as f64).sin()), text]);
        call(client, &["SADD", "x:i:many", &(i * i * i * 1000).to_string()]);
    }
    call(client, &["RPUSH", "x:l:long", &long, "a", &noise, "1", &long]);
    call(client, &["RPUSH", "x:l:small", "a", "1", "-70000", "b"]);
    call(client, &["SADD", "x:t:small", "a", "1", "b"]);
    call(client, &["SADD", "x:i:small", "1", "2", "70000", "-5000000000"]);
    call(client, &["HSET", "x:h:small", "a", "1", "b", "text"]);
    call(client, &["ZADD", "x:z:small", "1", "a", "2.5", "b", "-inf", "c", "inf", "d", "1e300", "e"]);
    for i in 0..250u32 {
        let id = format!("{}-{}", 5 + i / 10, i + 1);
        let field = format!("field{}", i % 90 / 30);
        call(client, &["XADD", "x:stream", &id, &field, &noise[..i as usize % 60], "n", &i.to_string()]);
    }
    call(client, &["XDEL", "x:stream", "5-3", "7-21"]);
    call(client, &["XGROUP", "CREATE", "x:stream", "readers", "0"]);
    call(client, &["XGROUP", "CREATE", "x:stream", "late", "$"]);
    for (consumer, count) in [("alice", "5"), ("bob", "70"), ("alice", "3")] {
        let words = ["XREADGROUP", "GROUP", "readers", consumer, "COUNT", count, "STREAMS", "x:stream", ">"];
        call(client, &words);
    }
    call(client, &["XACK", "x:stream", "readers", "5-1", "5-8"]);
    call(client, &["XGROUP", "CREATECONSUMER", "x:stream", "late", "nobody"]);
    call(client, &["XADD", "x:emptied", "9-9", "a", "b"]);
    call(client, &["XTRIM", "x:emptied", "MAXLEN", "0"]);
    call(client, &["HSET", "x:h:long", "f", &long]);
    call(client, &["ZADD", "x:z:long", "1", &long]);
}

fn keys(client: &mut Wire) -> Vec<Vec<u8>> {
    client.ask("KEYS *").parts.iter().filter_map(|k| k.bulk().map(<[u8]>::to_vec)).collect()
}

fn ask(client: &mut Wire, words: &[&[u8]]) -> Node {
    let args: Args = words.iter().map(|w| w.to_vec()).collect();
    client.call(&args)
}

/// Restores every key over itself: strings that were changed in place are `raw` until they are stored anew.
pub fn settle(client: &mut Wire) {
    for db in 0..DATABASES {
        client.ask(&format!("SELECT {db}"));
        for key in keys(client) {
            let Some(payload) = ask(client, &[b"DUMP", &key]).bulk().map(<[u8]>::to_vec) else { continue };
            let ttl = ask(client, &[b"PTTL", &key]).number().max(0).to_string();
            ask(client, &[b"RESTORE", &key, ttl.as_bytes(), &payload, b"REPLACE"]);
        }
    }
}

/// Copies every key by DUMP and RESTORE; the payloads, by database and key.
fn copy(from: &mut Wire, to: &mut Wire) -> BTreeMap<(usize, Vec<u8>), Vec<u8>> {
    let mut payloads = BTreeMap::new();
    for db in 0..DATABASES {
        let select = format!("SELECT {db}");
        from.ask(&select);
        to.ask(&select);
        for key in keys(from) {
            let payload = ask(from, &[b"DUMP", &key]).bulk().map(<[u8]>::to_vec);
            // It may have expired.
            let Some(payload) = payload else { continue };
            let ttl = ask(from, &[b"PTTL", &key]).number().max(0).to_string();
            let reply = ask(to, &[b"RESTORE", &key, ttl.as_bytes(), &payload, b"REPLACE"]);
            assert_eq!(reply.raw, b"+OK\r\n", "{} {}", key.escape_ascii(), reply.show());
            payloads.insert((db, key), payload);
        }
    }
    payloads
}

#[test]
fn payloads_go_both_ways() {
    let folder = Folder::new("payloads");
    let Some((_oracle, _server, mut pair)) = servers(&folder.0) else { return };
    pair.reset();
    fill(&mut pair.oracle.clients[0]);
    settle(&mut pair.oracle.clients[0]);
    let theirs = copy(&mut pair.oracle.clients[0], &mut pair.ours.clients[0]);
    assert!(theirs.len() > 20, "{}", theirs.len());
    let wrong = pair.compare_keyspaces();
    assert!(wrong.is_empty(), "there to here:\n{}", wrong.join("\n"));
    assert_eq!(pair.oracle.clients[0].ask("FLUSHALL").raw, b"+OK\r\n");
    let ours = copy(&mut pair.ours.clients[0], &mut pair.oracle.clients[0]);
    let wrong = pair.compare_keyspaces();
    assert!(wrong.is_empty(), "here to there:\n{}", wrong.join("\n"));
    // The same bytes, where the order of elements is the value's and not the table's.
    let mut same = 0;
    for (key, payload) in &theirs {
        let Some(own) = ours.get(key) else { continue };
        if own == payload {
            same += 1;
        } else {
            assert!(matches!(payload[0], 2 | 4 | 18), "type {}: {}", payload[0], key.1.escape_ascii());
        }
    }
    assert!(same * 2 > theirs.len(), "{same} of {}", theirs.len());
}

#[test]
fn dump_files_go_both_ways() {
    let folder = Folder::new("dump-files");
    let Some((oracle, _server, mut pair)) = servers(&folder.0) else { return };
    pair.reset();
    fill(&mut pair.oracle.clients[0]);
    settle(&mut pair.oracle.clients[0]);
    assert_eq!(pair.oracle.clients[0].ask("SAVE").raw, b"+OK\r\n");
    let path = folder.0.join("dump.rdb");
    let entries = read(&path);
    // What was read, over RESTORE, compared key by key.
    for (db, cell) in &entries {
        let client = &mut pair.ours.clients[0];
        client.ask(&format!("SELECT {db}"));
        let payload = tidewater::rdb::commands::payload(cell, true);
        let at = cell.expire_ms().unwrap_or(0).to_string();
        let reply = ask(client, &[b"RESTORE", cell.key(), at.as_bytes(), &payload, b"ABSTTL"]);
        assert_eq!(reply.raw, b"+OK\r\n", "{}", reply.show());
    }
    let wrong = pair.compare_keyspaces();
    assert!(wrong.is_empty(), "there to here:\n{}", wrong.join("\n"));
    drop(oracle);
    // Written back, for a real server to start with.
    let mut out = Vec::new();
    encode::header(&mut out, tidewater::rdb::VERSION);
    encode::aux(&mut out, b"redis-ver", b"7.0.15");
    let mut selected = None;
    for (db, cell) in &entries {
        if selected != Some(*db) {
            encode::select_db(&mut out, *db);
            selected = Some(*db);
        }
        encode::entry(&mut out, cell, Access::Idle(3), &encode::Options::default());
    }
    encode::end(&mut out);
    let crc = crc64(0, &out);
    encode::checksum(&mut out, crc);
    std::fs::write(&path, out).expect("it is written");
    let oracle = Oracle::start_in(Oracle::find().expect("it was there"), &folder.0);
    pair.oracle = Side::new(oracle.port, 2);
    // It may still be loading.
    while pair.oracle.clients[0].ask("DBSIZE").is_error() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let wrong = pair.compare_keyspaces();
    assert!(wrong.is_empty(), "here to there:\n{}", wrong.join("\n"));
}

/// Everything in a file, with its database.
fn read(path: &std::path::Path) -> Vec<(u64, Cell)> {
    let file = File::open(path).expect("it was saved");
    let size = file.metadata().expect("a file").len();
    let limits = Limits::new();
    for (limit, value) in [(&limits.hash_max_listpack_entries, 12), (&limits.hash_max_listpack_value, 40)] {
        limit.set(value);
    }
    limits.zset_max_listpack_entries.set(12);
    limits.zset_max_listpack_value.set(40);
    limits.set_max_intset_entries.set(12);
    limits.list_max_listpack_size.set(12);
    let mut reader = Reader::new(file, Some(size), true).expect("a header");
    let options = Options { limits: &limits, seed: 1, version: reader.version(), skip_modules: false };
    let (mut db, mut entries) = (0, Vec::new());
    loop {
        match reader.next_item().expect("a good file") {
            Item::Database(n) => db = n,
            Item::Entry(entry) => {
                let Ok(Some(Decoded::Cell(mut cell))) = reader.take_value(&options) else {
                    panic!("{} is good", reader.key().escape_ascii());
                };
                cell.set_expiry(entry.expire_ms.map(|ms| (ms as u64, 0)));
                entries.push((db, cell));
            }
            Item::End(checksum) => {
                assert_eq!(checksum, Checksum::Good);
                assert_eq!(reader.offset(), size);
                return entries;
            }
            _ => {}
        }
    }
}
