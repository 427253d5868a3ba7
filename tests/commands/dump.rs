//! DUMP and RESTORE.
use std::time::Duration;

use crate::support::Local;
use tidewater::base::crc::crc64;

/// The payload that DUMP answers.
fn dump(t: &mut Local, key: &str) -> Vec<u8> {
    let raw = t.raw(&["DUMP", key]);
    let head = raw.iter().position(|&b| b == b'\n').expect("a bulk string") + 1;
    raw[head..raw.len() - 2].to_vec()
}

fn restore(t: &mut Local, key: &str, ttl: &str, payload: &[u8], more: &[&str]) -> String {
    let mut args = vec![b"RESTORE".to_vec(), key.into(), ttl.into(), payload.to_vec()];
    args.extend(more.iter().map(|m| m.as_bytes().to_vec()));
    t.run_args(&args)
}

/// With version and checksum.
fn sealed(body: &[u8], version: u16) -> Vec<u8> {
    let mut out = [body, &version.to_le_bytes()].concat();
    let crc = crc64(0, &out);
    out.extend(crc.to_le_bytes());
    out
}

#[test]
fn payloads_are_those_of_redis() {
    let mut t = Local::new();
    // As redis-server 7.0 writes them.
    t.run("SET s bar");
    assert_eq!(dump(&mut t, "s"), sealed(b"\x00\x03bar", 10));
    t.run("SET i 300");
    assert_eq!(dump(&mut t, "i"), sealed(b"\x00\xc1\x2c\x01", 10));
    t.run("RPUSH l a");
    assert_eq!(dump(&mut t, "l"), sealed(b"\x12\x01\x02\x0a\x0a\0\0\0\x01\0\x81a\x02\xff", 10));
    t.run("SADD n 1 2");
    assert_eq!(dump(&mut t, "n"), sealed(b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x01\0\x02\0", 10));
    t.run("SADD w a");
    assert_eq!(dump(&mut t, "w"), sealed(b"\x02\x01\x01a", 10));
    assert_eq!(t.run("DUMP absent"), "nil");
}

#[test]
fn every_type_goes_round() {
    let mut t = Local::new();
    t.run("SET string hello");
    t.run("SET int -12345");
    let long = "x".repeat(100_000);
    t.run_args(&["SET", "long", &long]);
    t.run("RPUSH list a 1 b");
    t.run_args(&["RPUSH", "deque", &long, "a", &long]);
    t.run("SADD ints 1 2 3");
    t.run("SADD words a b 3");
    t.run_args(&["SADD", "table", &long, "b"]);
    t.run("HSET hash f v g 1");
    t.run_args(&["HSET", "hashtable", "f", &long]);
    t.run("ZADD zset 1 a 2.5 b -inf c");
    t.run_args(&["ZADD", "tree", "1", &long, "2", "b"]);
    for key in [
        "string",
        "int",
        "long",
        "list",
        "deque",
        "ints",
        "words",
        "table",
        "hash",
        "hashtable",
        "zset",
        "tree",
    ] {
        let payload = dump(&mut t, key);
        assert_eq!(restore(&mut t, "copy", "0", &payload, &["REPLACE"]), "OK", "{key}");
        for line in ["TYPE", "OBJECT ENCODING", "DEBUG DIGEST-VALUE"] {
            assert_eq!(t.run(&format!("{line} copy")), t.run(&format!("{line} {key}")), "{line} {key}");
        }
        t.run("DEL copy");
    }
}

#[test]
fn times_to_live() {
    let mut t = Local::new();
    t.run("SET k v");
    let payload = dump(&mut t, "k");
    assert_eq!(restore(&mut t, "a", "5000", &payload, &[]), "OK");
    assert_eq!(t.run("PTTL a"), "5000");
    let at = (t.clock.now_ms() + 3000).to_string();
    assert_eq!(restore(&mut t, "b", &at, &payload, &["absttl"]), "OK");
    assert_eq!(t.run("PTTL b"), "3000");
    assert_eq!(restore(&mut t, "c", "0", &payload, &["ABSTTL"]), "OK");
    assert_eq!(t.run("PTTL c"), "-1");
    t.advance(Duration::from_millis(3001));
    assert_eq!(t.run("EXISTS a b c"), "2");
    // What has expired already takes the key's place, which is gone then.
    let at = (t.clock.now_ms() - 1).to_string();
    assert_eq!(restore(&mut t, "c", &at, &payload, &["ABSTTL", "REPLACE"]), "OK");
    assert_eq!(restore(&mut t, "d", &at, &payload, &["ABSTTL"]), "OK");
    assert_eq!(t.run("EXISTS c d"), "0");
    assert_eq!(restore(&mut t, "e", "-1", &payload, &[]), "(error) ERR Invalid TTL value, must be >= 0");
    assert_eq!(
        restore(&mut t, "e", "x", &payload, &[]),
        "(error) ERR value is not an integer or out of range"
    );
    // An instant beyond all clocks is one.
    assert_eq!(restore(&mut t, "e", "9223372036854775807", &payload, &[]), "OK");
    assert_eq!(t.run("EXISTS e"), "1");
}

#[test]
fn options_and_their_errors() {
    let mut t = Local::new();
    t.run("SET k v");
    let payload = dump(&mut t, "k");
    assert_eq!(restore(&mut t, "k", "0", b"...", &[]), "(error) BUSYKEY Target key name already exists.");
    assert_eq!(restore(&mut t, "k", "0", b"...", &["invalid"]), "(error) ERR syntax error");
    assert_eq!(restore(&mut t, "n", "0", &payload, &["IDLETIME"]), "(error) ERR syntax error");
    assert_eq!(
        restore(&mut t, "n", "0", &payload, &["IDLETIME", "1", "FREQ", "1"]),
        "(error) ERR syntax error"
    );
    assert_eq!(
        restore(&mut t, "n", "0", &payload, &["IDLETIME", "-1"]),
        "(error) ERR Invalid IDLETIME value, must be >= 0"
    );
    assert_eq!(
        restore(&mut t, "n", "0", &payload, &["FREQ", "256"]),
        "(error) ERR Invalid FREQ value, must be >= 0 and <= 255"
    );
    assert_eq!(restore(&mut t, "n", "0", &payload, &["IDLETIME", "1000"]), "OK");
    assert_eq!(t.run("OBJECT IDLETIME n"), "1000");
    t.engine.env().limits.set_policy(tidewater::base::limits::MaxmemoryPolicy::AllkeysLfu);
    assert_eq!(restore(&mut t, "n", "0", &payload, &["FREQ", "100", "REPLACE"]), "OK");
    assert_eq!(t.run("OBJECT FREQ n"), "100");
}

#[test]
fn bad_payloads() {
    let mut t = Local::new();
    let wrong = "(error) ERR DUMP payload version or checksum are wrong";
    let bad = "(error) ERR Bad data format";
    let mut payload = sealed(b"\0\x01v", 10);
    assert_eq!(restore(&mut t, "k", "0", b"...", &[]), wrong);
    assert_eq!(restore(&mut t, "k", "0", &sealed(b"\0\x01v", 13), &[]), wrong);
    assert_eq!(restore(&mut t, "k", "0", &sealed(b"\0\x01v", 12), &["REPLACE"]), "OK");
    assert_eq!(restore(&mut t, "k", "0", &sealed(b"\0\x01v", 80), &["REPLACE"]), "OK");
    payload[2] ^= 1;
    assert_eq!(restore(&mut t, "x", "0", &payload, &[]), wrong);
    t.engine.env().limits.skip_checksum_validation.set(true);
    assert_eq!(restore(&mut t, "x", "0", &payload, &[]), "OK");
    for body in [
        &b""[..],
        b"\0",
        b"\x08\x01v",
        b"\x63\x01v",
        b"\x02\0",
        b"\x12\0",
        b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xf7",
        b"\x02\x02\x01a\x01a",
        b"\x0d\x10\x00\x00",
    ] {
        assert_eq!(restore(&mut t, "y", "0", &sealed(body, 10), &[]), bad, "{body:?}");
    }
    assert_eq!(t.run("EXISTS y"), "0");
}

#[test]
fn it_is_a_change_that_is_told() {
    let mut t = Local::new();
    t.run("SET k v");
    let payload = dump(&mut t, "k");
    t.engine.env().limits.notify_flags.set(u32::MAX);
    let mut other = t.another();
    other.run("SUBSCRIBE __keyevent@0__:restore __keyevent@0__:del");
    let mut watcher = t.another();
    watcher.run("WATCH new");
    watcher.run("MULTI");
    assert_eq!(restore(&mut t, "new", "0", &payload, &[]), "OK");
    assert_eq!(watcher.run("EXEC"), "nil-array");
    assert!(other.mail().contains("__keyevent@0__:restore"));
    assert_eq!(restore(&mut t, "new", "1", &payload, &["REPLACE", "ABSTTL"]), "OK");
    assert!(other.mail().contains("__keyevent@0__:del"));
}
