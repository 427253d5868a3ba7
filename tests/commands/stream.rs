//! The stream family, without groups.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidewater::keyspace::Waiter;

use crate::support::{Local, show};

const SYNTAX: &str = "(error) ERR syntax error";
const NOT_INTEGER: &str = "(error) ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
const INVALID_ID: &str = "(error) ERR Invalid stream ID specified as stream command argument";
const SMALL: &str =
    "(error) ERR The ID specified in XADD is equal or smaller than the target stream top item";

fn check(t: &mut Local, script: &[(&str, &str)]) {
    for (line, want) in script {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

/// A client whose command waits.
struct Waiting {
    wait: Arc<Waiter>,
    client: Local,
}

impl Waiting {
    fn new(t: &Local, line: &str) -> Self {
        let mut client = t.another();
        assert_eq!(client.run(line), "", "{line} waits");
        let wait = client.session().client.waiter.lock().clone().expect("it waits");
        Waiting { wait, client }
    }

    fn answer(&mut self) -> Option<String> {
        let reply = self.wait.take_reply()?;
        assert!(self.client.session().client.waiter.lock().is_none());
        Some(show(&reply.to_vec()))
    }
}

#[test]
fn ids_are_given_or_made_up() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("XADD s * f v", "\"1700000000000-0\""),
            ("XADD s * f v", "\"1700000000000-1\""),
            ("XADD s 5-5 f v", SMALL),
            ("XADD s 1700000000000-* f v", "\"1700000000000-2\""),
            ("XADD s 1700000000001-* f v", "\"1700000000001-0\""),
            // The clock is behind: the last id's successor.
            ("XADD s * f v", "\"1700000000001-1\""),
            ("XADD s 1800000000000 f v", "\"1800000000000-0\""),
            (
                "XADD s 18446744073709551615-18446744073709551614 f v",
                "\"18446744073709551615-18446744073709551614\"",
            ),
            ("XADD s * f v", "\"18446744073709551615-18446744073709551615\""),
            (
                "XADD s * f v",
                "(error) ERR The stream has exhausted the last possible ID, unable to add more items",
            ),
            ("XADD z 0-0 f v", "(error) ERR The ID specified in XADD must be greater than 0-0"),
            ("XADD z 0-* f v", "\"0-1\""),
            ("XADD y 5-18446744073709551615 f v", "\"5-18446744073709551615\""),
            ("XADD y 5-* f v", SMALL),
            ("XADD y 4-* f v", SMALL),
            ("XADD y - f v", INVALID_ID),
            ("XADD none NOMKSTREAM * f v", "nil"),
            ("EXISTS none", "0"),
            ("TYPE y", "stream"),
            ("OBJECT ENCODING y", "\"stream\""),
            ("SET str v", "OK"),
            ("XADD str * f v", WRONG_TYPE),
            ("XADD s * f", "(error) ERR wrong number of arguments for 'xadd' command"),
            ("XADD s * f v g", "(error) ERR wrong number of arguments for 'xadd' command"),
        ],
    );
}

#[test]
fn ranges_are_open_or_closed() {
    let mut t = Local::new();
    for id in ["1-1", "1-2", "2-1", "3-0"] {
        t.run(&format!("XADD s {id} f {id}"));
    }
    t.run("XADD s 4-0 g x h 12");
    check(
        &mut t,
        &[
            ("XLEN s", "5"),
            ("XRANGE s 1 1", "[[\"1-1\", [\"f\", \"1-1\"]], [\"1-2\", [\"f\", \"1-2\"]]]"),
            (
                "XRANGE s (1-1 (3",
                "[[\"1-2\", [\"f\", \"1-2\"]], [\"2-1\", [\"f\", \"2-1\"]], [\"3-0\", [\"f\", \"3-0\"]]]",
            ),
            ("XRANGE s 4 + COUNT 5", "[[\"4-0\", [\"g\", \"x\", \"h\", \"12\"]]]"),
            ("XREVRANGE s + - COUNT 1", "[[\"4-0\", [\"g\", \"x\", \"h\", \"12\"]]]"),
            ("XREVRANGE s (1-2 -", "[[\"1-1\", [\"f\", \"1-1\"]]]"),
            ("XRANGE s + -", "[]"),
            ("XRANGE s - + COUNT 0", "nil-array"),
            ("XRANGE s - + COUNT -1", "nil-array"),
            ("XRANGE s - + COUNT x", NOT_INTEGER),
            ("XRANGE s - + COUNT", SYNTAX),
            ("XRANGE s (- +", INVALID_ID),
            ("XRANGE s - (0-0", "(error) ERR invalid end ID for the interval"),
            (
                "XRANGE s (18446744073709551615-18446744073709551615 +",
                "(error) ERR invalid start ID for the interval",
            ),
            ("XRANGE none - +", "[]"),
            ("SET str v", "OK"),
            ("XRANGE str - +", WRONG_TYPE),
            ("XLEN str", WRONG_TYPE),
            ("XDEL s 1-2 9-9 1-2", "1"),
            ("XDEL s 1-1 x", INVALID_ID),
            ("XDEL none x", "0"),
            ("XLEN s", "4"),
            ("COPY s t", "1"),
            ("XDEL s 1-1 2-1 3-0 4-0", "4"),
            ("EXISTS s", "1"),
            ("XRANGE s - +", "[]"),
            ("XLEN t", "4"),
            ("XADD s 4-0 f v", SMALL),
        ],
    );
}

#[test]
fn trims_keep_what_they_say() {
    let mut t = Local::new();
    t.engine.env().limits.stream_node_max_entries.set(10);
    (1..=55).for_each(|i| assert_eq!(t.run(&format!("XADD s {i} f v")), format!("\"{i}-0\"")));
    let mut exact = t.another();
    check(
        &mut t,
        &[
            ("XTRIM s MAXLEN ~ 32", "20"),
            ("XTRIM s MAXLEN ~ 32 LIMIT 5", "0"),
            ("XTRIM s MAXLEN 32", "3"),
            ("XTRIM s MINID ~ 31", "7"),
            ("XTRIM s MINID = 33", "2"),
            ("XADD s MAXLEN 5 56 f v", "\"56-0\""),
            ("XLEN s", "5"),
            ("XADD s NOMKSTREAM MINID 56 57 f v", "\"57-0\""),
            ("XLEN s", "2"),
            ("XADD new MAXLEN 0 1 f v", "\"1-0\""),
            ("XLEN new", "0"),
            ("EXISTS new", "1"),
            ("XTRIM none MAXLEN 0", "0"),
            ("XTRIM s MAXLEN", "(error) ERR wrong number of arguments for 'xtrim' command"),
            ("XTRIM s MAXLEN ~", NOT_INTEGER),
            ("XTRIM s MAXLEN x", NOT_INTEGER),
            ("XTRIM s MAXLEN -1", "(error) ERR The MAXLEN argument must be >= 0."),
            ("XTRIM s MINID x", INVALID_ID),
            ("XTRIM s LIMIT 0", "(error) ERR syntax error, XTRIM must be called with a trimming strategy"),
            (
                "XTRIM s LIMIT 5",
                "(error) ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ),
            (
                "XTRIM s MAXLEN 5 LIMIT 5",
                "(error) ERR syntax error, LIMIT cannot be used without the special ~ option",
            ),
            ("XTRIM s MAXLEN ~ 5 LIMIT -5", "(error) ERR The LIMIT argument must be >= 0."),
            (
                "XTRIM s MAXLEN 5 MINID 5",
                "(error) ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ),
        ],
    );
    assert_eq!(exact.run("XLEN s"), "2");
}

#[test]
fn last_ids_are_set() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("XSETID s 1-1", "(error) ERR no such key"),
            ("XADD s 5-0 f v", "\"5-0\""),
            ("XADD s 6-0 f v", "\"6-0\""),
            (
                "XSETID s 5-9",
                "(error) ERR The ID specified in XSETID is smaller than the target stream top item",
            ),
            (
                "XSETID s 9-0 ENTRIESADDED 1",
                "(error) ERR The entries_added specified in XSETID is smaller than the target stream length",
            ),
            ("XSETID s 9-0 ENTRIESADDED -1", "(error) ERR entries_added must be positive"),
            ("XSETID s 9-0 ENTRIESADDED", SYNTAX),
            (
                "XSETID s 9-0 MAXDELETEDID 10-0",
                "(error) ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
            ),
            ("XSETID s 9-0 ENTRIESADDED 7 MAXDELETEDID 8-0", "OK"),
            ("XADD s 9-0 f v", SMALL),
            (
                "XSETID s 7-0",
                "(error) ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
            ),
            ("XSETID s -", INVALID_ID),
        ],
    );
}

#[test]
fn reads_from_many_streams() {
    let mut t = Local::new();
    t.run("XADD a 1-0 f v");
    t.run("XADD a 2-0 f w");
    t.run("XADD b 1-0 g x");
    check(
        &mut t,
        &[
            (
                "XREAD STREAMS a b 1 0",
                "[[\"a\", [[\"2-0\", [\"f\", \"w\"]]]], [\"b\", [[\"1-0\", [\"g\", \"x\"]]]]]",
            ),
            ("XREAD COUNT 1 STREAMS a 0", "[[\"a\", [[\"1-0\", [\"f\", \"v\"]]]]]"),
            ("XREAD STREAMS a none $ 0", "nil-array"),
            ("XREAD STREAMS a 18446744073709551615-18446744073709551615", "nil-array"),
            (
                "XREAD STREAMS a b 0",
                "(error) ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
            ),
            ("XREAD COUNT 1 BLOCK 0", SYNTAX),
            (
                "XREAD STREAMS a >",
                "(error) ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            ),
            (
                "XREAD GROUP g c STREAMS a 0",
                "(error) ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
            ),
            (
                "XREAD NOACK STREAMS a 0",
                "(error) ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
            ),
            ("XREAD BLOCK -1 STREAMS a 0", "(error) ERR timeout is negative"),
            ("XREAD BLOCK x STREAMS a 0", "(error) ERR timeout is not an integer or out of range"),
            ("SET str v", "OK"),
            ("XREAD STREAMS a str 0 0", WRONG_TYPE),
        ],
    );
    t.run("HELLO 3");
    assert_eq!(t.run("XREAD STREAMS a b 1 1"), "{\"a\": [[\"2-0\", [\"f\", \"w\"]]]}");
}

#[test]
fn readers_wait_for_what_comes_after_their_call() {
    let mut t = Local::new();
    t.run("XADD a 1-0 f v");
    let mut last = Waiting::new(&t, "XREAD BLOCK 0 STREAMS a b $ $");
    let mut high = Waiting::new(&t, "XREAD BLOCK 0 STREAMS a 2-0");
    let mut many = Waiting::new(&t, "XREAD BLOCK 0 COUNT 1 STREAMS b 0");
    t.run("XADD a 2-0 f w");
    assert_eq!(last.answer().as_deref(), Some("[[\"a\", [[\"2-0\", [\"f\", \"w\"]]]]]"));
    assert_eq!((high.answer(), many.answer()), (None, None));
    // Neither a deletion nor another type ends the wait.
    t.run("DEL a");
    t.run("SET a v");
    t.run("DEL a");
    assert_eq!(high.answer(), None);
    check(
        &mut t,
        &[
            ("MULTI", "OK"),
            ("XADD a 3-0 f x", "QUEUED"),
            ("XADD a 4-0 f y", "QUEUED"),
            ("XADD b 1-0 f z", "QUEUED"),
        ],
    );
    t.run("EXEC");
    assert_eq!(
        high.answer().as_deref(),
        Some("[[\"a\", [[\"3-0\", [\"f\", \"x\"]], [\"4-0\", [\"f\", \"y\"]]]]]")
    );
    assert_eq!(many.answer().as_deref(), Some("[[\"b\", [[\"1-0\", [\"f\", \"z\"]]]]]"));
    let late = Waiting::new(&t, "XREAD BLOCK 100 STREAMS a $");
    assert_eq!(late.wait.deadline_ms, Some(t.clock.now_ms() + 100));
    check(&mut t, &[("MULTI", "OK"), ("XREAD BLOCK 0 STREAMS a $", "QUEUED"), ("EXEC", "[nil-array]")]);
}

#[test]
fn long_streams_are_read_from_a_pin() {
    let mut t = Local::new();
    (1..=5000).for_each(|i| assert!(t.run(&format!("XADD s {i} f {i}")).starts_with('"')));
    let all = t.run("XRANGE s - +");
    assert!(
        all.starts_with("[[\"1-0\", [\"f\", \"1\"]]") && all.ends_with("[\"5000-0\", [\"f\", \"5000\"]]]")
    );
    assert_eq!(t.run("XREVRANGE s 2 1"), "[[\"2-0\", [\"f\", \"2\"]], [\"1-0\", [\"f\", \"1\"]]]");
    assert_eq!(t.run("XREAD STREAMS s 0"), format!("[[\"s\", {all}]]"));
    let digest = t.run("DEBUG DIGEST-VALUE s");
    assert_eq!((t.run("COPY s u"), t.run("DEBUG DIGEST-VALUE u")), ("1".to_owned(), digest.clone()));
    t.run("XDEL u 7");
    assert_ne!(t.run("DEBUG DIGEST-VALUE u"), digest);
}

#[test]
fn changes_are_counted() {
    let mut t = Local::new();
    let dirty = |t: &Local| t.engine.env().gauges.dirty.load(Ordering::Relaxed);
    let steps = [
        ("XADD s 1 f v", 1),
        ("XADD s MAXLEN 5 2 f v", 1),
        ("XADD s 3 f v", 1),
        ("XADD s 3 f v", 0),
        ("XDEL s 1 2 9", 2),
        ("XTRIM s MAXLEN 5", 0),
        ("XTRIM s MAXLEN 0", 1),
        ("XSETID s 9-0", 1),
        ("XADD none NOMKSTREAM 9 f v", 0),
    ];
    for (line, more) in steps {
        let before = dirty(&t);
        t.run(line);
        assert_eq!(dirty(&t) - before, more, "{line}");
    }
}
