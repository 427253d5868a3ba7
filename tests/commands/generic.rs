//! Keys whatever they hold, whole databases, OBJECT, WAIT, eviction.
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tidewater::base::limits::MaxmemoryPolicy as Policy;

use crate::support::Local;

#[test]
fn keys_are_deleted_counted_and_typed() {
    let mut t = Local::new();
    t.run("MSET a 1 b 2 c 3");
    assert_eq!(t.run("EXISTS a a b nokey"), "3");
    assert_eq!(t.run("TOUCH a b nokey"), "2");
    assert_eq!(t.run("TYPE a"), "string");
    assert_eq!(t.run("TYPE nokey"), "none");
    assert_eq!(t.run("DBSIZE"), "3");
    assert_eq!(t.run("DEL a nokey a"), "1");
    assert_eq!(t.run("UNLINK b c"), "2");
    assert_eq!(t.run("DBSIZE"), "0");
    t.run("HSET h f v");
    assert_eq!(t.run("TYPE h"), "hash");
}

#[test]
fn an_expired_key_is_not_deleted() {
    let mut t = Local::new();
    t.engine.env().active_expire.store(false, Relaxed);
    t.run("SET k v PX 10");
    t.advance(Duration::from_millis(11));
    assert_eq!(t.run("DBSIZE"), "1");
    assert_eq!(t.run("DEL k"), "0");
    assert_eq!(t.run("DBSIZE"), "0");
}

#[test]
fn rename_takes_value_and_ttl_along() {
    let mut t = Local::new();
    assert_eq!(t.run("RENAME a b"), "(error) ERR no such key");
    t.run("SET a 1 EX 100");
    t.run("SET b 2");
    assert_eq!(t.run("RENAMENX a b"), "0");
    assert_eq!(t.run("RENAME a b"), "OK");
    assert_eq!(t.run("GET b"), r#""1""#);
    assert_eq!((t.run("TTL b"), t.run("EXISTS a")), ("100".into(), "0".into()));
    t.run("SET c 3");
    t.run("RENAME c b");
    assert_eq!(t.run("TTL b"), "-1");
    assert_eq!((t.run("RENAME b b"), t.run("RENAMENX b b")), ("OK".into(), "0".into()));
    assert_eq!(t.run("RENAMENX b d"), "1");
    assert_eq!(t.run("GET d"), r#""3""#);
    assert_eq!(t.run("DBSIZE"), "1");
    for i in 0..500 {
        t.run(&format!("HSET big field{i} {i}"));
    }
    t.run("RENAME big moved");
    assert_eq!(t.run("HGET moved field499"), r#""499""#);
}

#[test]
fn copy_is_independent_of_the_original() {
    let mut t = Local::new();
    t.run("SET a 1 EX 50");
    assert_eq!(t.run("COPY a b"), "1");
    assert_eq!(t.run("COPY a b"), "0");
    t.run("INCR b");
    assert_eq!(t.run("MGET a b"), r#"["1", "2"]"#);
    assert_eq!(t.run("TTL b"), "50");
    assert_eq!(t.run("COPY a b DB 3 REPLACE"), "1");
    assert_eq!(t.run("COPY a a"), "(error) ERR source and destination objects are the same");
    assert_eq!(t.run("COPY a a DB 16"), "(error) ERR DB index is out of range");
    assert_eq!(t.run("COPY a b DB x"), "(error) ERR value is not an integer or out of range");
    assert_eq!(t.run("COPY a b DB"), "(error) ERR syntax error");
    assert_eq!(t.run("COPY nokey b"), "0");
    for i in 0..500 {
        t.run(&format!("HSET big field{i} {i}"));
    }
    t.run("COPY big twin");
    t.run("HSET big field7 changed");
    t.run("HDEL twin field8");
    assert_eq!(t.run("HMGET twin field7 field8"), r#"["7", nil]"#);
    assert_eq!(t.run("HMGET big field7 field8"), r#"["changed", "8"]"#);
}

#[test]
fn move_goes_to_another_database_only_where_there_is_room() {
    let mut t = Local::new();
    t.run("SET k v EX 9");
    assert_eq!(t.run("MOVE k 0"), "(error) ERR source and destination objects are the same");
    assert_eq!(t.run("MOVE k 99"), "(error) ERR DB index is out of range");
    assert_eq!(t.run("MOVE k notanumber"), "(error) ERR value is not an integer or out of range");
    assert_eq!(t.run("MOVE k 1"), "1");
    assert_eq!(t.run("MOVE k 1"), "0");
    t.run("SET k w");
    assert_eq!(t.run("MOVE k 1"), "0");
    t.session().db = 1;
    assert_eq!((t.run("GET k"), t.run("TTL k")), (r#""v""#.into(), "9".into()));
}

#[test]
fn keys_match_patterns() {
    let mut t = Local::new();
    t.run("MSET foo_a 1 foo_b 2 key_x 3");
    t.run_args(&["SET", "", "empty"]);
    let sorted = |t: &mut Local, pattern: &str| {
        let reply = t.run(&format!("KEYS {pattern}"));
        let mut keys: Vec<_> = reply[1..reply.len() - 1].split(", ").map(str::to_owned).collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(sorted(&mut t, "foo*"), r#""foo_a" "foo_b""#);
    assert_eq!(sorted(&mut t, "*"), r#""" "foo_a" "foo_b" "key_x""#);
    assert_eq!(sorted(&mut t, "key_x"), r#""key_x""#);
    t.session().db = 5;
    assert_eq!(t.run("KEYS *"), "[]");
}

#[test]
fn random_key_finds_every_key_and_drops_expired_ones() {
    let mut t = Local::new();
    assert_eq!(t.run("RANDOMKEY"), "nil");
    t.run("MSET foo x bar y");
    let seen: std::collections::HashSet<_> = (0..100).map(|_| t.run("RANDOMKEY")).collect();
    assert_eq!(seen.len(), 2);
    t.run("FLUSHALL");
    t.engine.env().active_expire.store(false, Relaxed);
    t.run("SET a 1 PX 1");
    t.run("SET b 1 PX 1");
    t.advance(Duration::from_millis(2));
    assert_eq!(t.run("RANDOMKEY"), "nil");
    assert_eq!(t.run("DBSIZE"), "0");
}

#[test]
fn flushing_empties_one_database_or_all() {
    let mut t = Local::new();
    t.run("MSET a 1 b 2");
    t.run("COPY a c DB 2");
    assert_eq!(t.run("FLUSHDB SYNC now"), "(error) ERR syntax error");
    assert_eq!(t.run("FLUSHDB later"), "(error) ERR syntax error");
    assert_eq!(t.run("FLUSHDB ASYNC"), "OK");
    assert_eq!(t.run("DBSIZE"), "0");
    t.session().db = 2;
    assert_eq!(t.run("DBSIZE"), "1");
    assert_eq!(t.run("FLUSHALL"), "OK");
    assert_eq!(t.run("DBSIZE"), "0");
}

#[test]
fn swapdb_exchanges_contents() {
    let mut t = Local::new();
    t.run("SET a 0");
    t.run("COPY a b DB 1");
    assert_eq!(t.run("SWAPDB 0 1"), "OK");
    assert_eq!(t.run("KEYS *"), r#"["b"]"#);
    assert_eq!(t.run("SWAPDB x 1"), "(error) ERR invalid first DB index");
    assert_eq!(t.run("SWAPDB 0 x"), "(error) ERR invalid second DB index");
    assert_eq!(t.run("SWAPDB 0 16"), "(error) ERR DB index is out of range");
}

/// Whether EXEC runs after `change`, with a WATCH on x in database 0.
fn survives(prepare: &[&str], change: &str) -> bool {
    let mut t = Local::new();
    t.engine.env().active_expire.store(false, Relaxed);
    let mut other = t.another();
    prepare.iter().for_each(|line| assert!(!other.run(line).starts_with("(error)"), "{line}"));
    t.advance(Duration::from_millis(5));
    t.run("WATCH x");
    assert_eq!(other.run(change), "OK");
    t.run("MULTI");
    t.run("SET y 1");
    t.run("EXEC") != "nil-array"
}

#[test]
fn a_watch_sees_whole_databases_change() {
    assert!(!survives(&["SET x 1"], "SWAPDB 0 1"));
    assert!(!survives(&["SET x 1", "MOVE x 1"], "SWAPDB 0 1"));
    assert!(survives(&["SET y 1"], "SWAPDB 0 1"));
    assert!(survives(&["SET x 1 PX 1"], "SWAPDB 0 1"));
    assert!(survives(&["SET x 1 PX 1", "MOVE x 1"], "SWAPDB 0 1"));
    assert!(survives(&["SET x 1 PX 1", "COPY x x DB 1"], "SWAPDB 0 1"));
    assert!(!survives(&["SET x 1"], "FLUSHDB"));
    assert!(survives(&["SET y 1"], "FLUSHALL"));
    assert!(survives(&["SET x 1 PX 1"], "FLUSHALL"));
}

#[test]
fn object_tells_encodings_and_clocks() {
    let mut t = Local::new();
    let long = "x".repeat(45);
    t.run("MSET i 12 big 123456 s abc");
    t.run_args(&["SET", "l", &long]);
    assert_eq!(t.run("OBJECT ENCODING i"), r#""int""#);
    assert_eq!(t.run("OBJECT ENCODING s"), r#""embstr""#);
    assert_eq!(t.run("OBJECT ENCODING l"), r#""raw""#);
    assert_eq!(t.run("OBJECT ENCODING nokey"), "nil");
    assert_eq!(t.run("OBJECT REFCOUNT i"), "2147483647");
    assert_eq!(t.run("OBJECT REFCOUNT big"), "1");
    t.advance(Duration::from_secs(7));
    assert_eq!(t.run("OBJECT IDLETIME s"), "7");
    t.run("EXISTS s");
    t.run("TTL s");
    t.run("TYPE s");
    assert_eq!(t.run("OBJECT IDLETIME s"), "7");
    t.run("TOUCH s");
    assert_eq!(t.run("OBJECT IDLETIME s"), "0");
    assert!(
        t.run("OBJECT FREQ s").starts_with("(error) ERR An LFU maxmemory policy is not selected, access")
    );
    assert_eq!(t.run("OBJECT FREQ nokey"), "nil");
    t.engine.env().limits.set_policy(Policy::AllkeysLfu);
    t.run("SET f 1");
    assert_eq!(t.run("OBJECT FREQ f"), "5");
    assert!(t.run("OBJECT IDLETIME f").starts_with("(error) ERR An LFU maxmemory policy is selected, idle"));
    assert!(
        t.run("OBJECT nosuch f").starts_with("(error) ERR unknown subcommand 'nosuch'. Try OBJECT HELP.")
    );
    assert!(t.run("OBJECT HELP").starts_with("[OBJECT <subcommand>"));
}

#[test]
fn wait_returns_when_nothing_is_asked_for() {
    let mut t = Local::new();
    assert_eq!(t.run("WAIT 0 0"), "0");
    assert_eq!(t.run("WAIT x 0"), "(error) ERR value is not an integer or out of range");
    assert_eq!(t.run("WAIT 1 x"), "(error) ERR timeout is not an integer or out of range");
    assert_eq!(t.run("WAIT 1 -1"), "(error) ERR timeout is negative");
    assert_eq!(t.run("WAIT 1 100"), "");
    let mut t = t.another();
    t.run("MULTI");
    t.run("WAIT 1 0");
    assert_eq!(t.run("EXEC"), "[0]");
    assert_eq!(t.run("WAITAOF 0 0 0"), "[0, 0]");
    assert!(t.run("WAITAOF 1 0 0").starts_with("(error) ERR WAITAOF cannot be used when numlocal is set"));
    assert!(t.run("WAITAOF 2 0 0").starts_with("(error) ERR value is out of range"));
}

/// A server whose memory is always above the limit.
fn full(policy: Policy) -> Local {
    let t = Local::new();
    t.engine.env().limits.set_policy(policy);
    t
}

fn squeeze(t: &Local, on: bool) {
    t.engine.env().limits.maxmemory.set(on.into());
}

const OOM: &str = "(error) OOM command not allowed when used memory > 'maxmemory'.";

#[test]
fn without_eviction_only_reads_and_deletions_go_on() {
    let mut t = full(Policy::NoEviction);
    t.run("SET k v");
    squeeze(&t, true);
    assert_eq!(t.run("SET a 1"), OOM);
    assert_eq!(t.run("GET k"), r#""v""#);
    assert_eq!(t.run("DEL k"), "1");
    assert_eq!(t.run("MULTI"), "OK");
    assert_eq!(t.run("GET k"), OOM);
    assert_eq!(t.run("DISCARD"), "OK");
}

#[test]
fn a_transaction_that_takes_memory_is_refused_whole() {
    let mut t = full(Policy::NoEviction);
    t.run("MULTI");
    t.run("SET a 1");
    squeeze(&t, true);
    let text = "(error) EXECABORT Transaction discarded because of: OOM command not allowed when used memory > \
                'maxmemory'.";
    assert_eq!(t.run("EXEC"), text);
    assert_eq!(t.run("EXEC"), "(error) ERR EXEC without MULTI");
    squeeze(&t, false);
    t.run("MULTI");
    t.run("GET a");
    squeeze(&t, true);
    assert_eq!(t.run("EXEC"), "[nil]");
}

#[test]
fn every_policy_evicts_what_it_may() {
    for policy in Policy::ALL.into_iter().filter(|p| *p != Policy::NoEviction) {
        let mut t = full(policy);
        for i in 0..50 {
            t.run(&format!("SET stays{i} v"));
            t.run(&format!("SET goes{i} v EX {}", 1000 - i));
        }
        squeeze(&t, true);
        let ok = if policy.is_allkeys() { "OK" } else { OOM };
        // The first calls may run out of patience, not of keys.
        (0..200).for_each(|_| drop(t.run("PING")));
        assert_eq!(t.run("SET new 1"), OOM, "nothing is left that may go");
        squeeze(&t, false);
        assert_eq!(t.run("DBSIZE"), if ok == "OK" { "0" } else { "50" }, "{policy:?}");
        assert_eq!(t.engine.env().stats.sum(|w| &w.evicted), if ok == "OK" { 100 } else { 50 });
    }
}
