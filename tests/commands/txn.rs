//! MULTI, EXEC, WATCH.
use std::time::Duration;

use crate::support::Local;

#[test]
fn a_transaction_runs_whole_or_not_at_all() {
    let mut t = Local::new();
    assert_eq!(t.run("MULTI"), "OK");
    assert_eq!(t.run("SET k 1"), "QUEUED");
    assert_eq!(t.run("INCR k"), "QUEUED");
    assert_eq!(t.run("EXEC"), "[OK, 2]");
    assert_eq!(t.run("WATCH k"), "OK");
    t.another().run("SET k 9");
    t.run("MULTI");
    t.run("INCR k");
    assert_eq!(t.run("EXEC"), "nil-array");
    assert_eq!(t.run("GET k"), r#""9""#);
}

#[test]
fn mistakes() {
    let mut t = Local::new();
    assert_eq!(t.run("EXEC"), "(error) ERR EXEC without MULTI");
    assert_eq!(t.run("DISCARD"), "(error) ERR DISCARD without MULTI");
    t.run("MULTI");
    assert_eq!(t.run("MULTI"), "(error) ERR MULTI calls can not be nested");
    assert_eq!(t.run("WATCH k"), "(error) ERR WATCH inside MULTI is not allowed");
    assert_eq!(t.run("PING"), "QUEUED");
    assert_eq!(t.run("EXEC"), "[PONG]");
    for wrong in ["NOSUCH", "GET", "CLIENT NOSUCH"] {
        t.run("MULTI");
        t.run("SET k 1");
        assert!(t.run(wrong).starts_with("(error)"));
        assert_eq!(t.run("EXEC"), "(error) EXECABORT Transaction discarded because of previous errors.");
    }
    assert_eq!(t.run("EXISTS k"), "0");
    // What fails in EXEC is an answer like others.
    t.run("MULTI");
    t.run("SET k a");
    t.run("INCR k");
    t.run("SET k b");
    assert_eq!(t.run("EXEC"), "[OK, (error) ERR value is not an integer or out of range, OK]");
    assert_eq!(t.run("GET k"), r#""b""#);
}

#[test]
fn watches_end_with_exec_discard_and_unwatch() {
    let mut t = Local::new();
    let mut other = t.another();
    for end in ["EXEC", "DISCARD", "UNWATCH"] {
        t.run("WATCH k");
        if end != "UNWATCH" {
            t.run("MULTI");
        }
        t.run(end);
        other.run("SET k 1");
        t.run("MULTI");
        assert_eq!(t.run("EXEC"), "[]", "{end}");
    }
    // UNWATCH in a transaction is queued, so too late.
    t.run("WATCH k");
    other.run("DEL k");
    t.run("MULTI");
    assert_eq!(t.run("UNWATCH"), "QUEUED");
    assert_eq!(t.run("EXEC"), "nil-array");
}

#[test]
fn a_watched_key_that_expires_counts_as_changed() {
    let mut t = Local::new();
    t.run("SET k v PX 100");
    t.run("SET dead v PX 1");
    t.clock.advance(Duration::from_millis(10));
    t.run("WATCH dead");
    t.run("MULTI");
    assert_eq!(t.run("EXEC"), "[]", "it was gone before");
    t.run("WATCH k");
    t.clock.advance(Duration::from_millis(200));
    t.run("MULTI");
    assert_eq!(t.run("EXEC"), "nil-array");
}

#[test]
fn a_watch_is_on_one_database() {
    let mut t = Local::new();
    let mut other = t.another();
    t.run("WATCH k");
    other.run("SELECT 1");
    other.run("SET k 1");
    t.run("MULTI");
    assert_eq!(t.run("EXEC"), "[]");
    t.run("SELECT 1");
    t.run("WATCH k");
    t.run("SELECT 0");
    other.run("SET k 2");
    t.run("MULTI");
    assert_eq!(t.run("EXEC"), "nil-array");
    // SELECT inside takes effect inside, and stays.
    t.run("MULTI");
    t.run("SELECT 1");
    t.run("GET k");
    assert_eq!(t.run("EXEC"), r#"[OK, "2"]"#);
    assert_eq!(t.run("GET k"), r#""2""#);
}

#[test]
fn flushing_breaks_watches_of_keys_that_were_there() {
    let mut t = Local::new();
    let mut other = t.another();
    t.run("SET k 1");
    for (flush, broken) in [("FLUSHALL", true), ("FLUSHDB", false)] {
        t.run("WATCH k");
        other.run(flush);
        t.run("MULTI");
        assert_eq!(t.run("EXEC") == "nil-array", broken, "{flush}");
    }
}

#[test]
fn resp3_says_null() {
    let mut t = Local::new();
    t.run("HELLO 3");
    t.run("WATCH k");
    t.another().run("SET k 1");
    t.run("MULTI");
    assert_eq!(t.run("EXEC"), "nil");
}
