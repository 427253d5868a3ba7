//! The list family.
use std::sync::Arc;
use std::time::Duration;

use tidewater::keyspace::Waiter;
use tidewater::resp::reply::Reply;

use crate::support::{Local, show};

const SYNTAX: &str = "(error) ERR syntax error";
const NOT_INTEGER: &str = "(error) ERR value is not an integer or out of range";
const MUST_BE_POSITIVE: &str = "(error) ERR value is out of range, must be positive";
const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";

/// Runs lines and compares each reply.
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

    /// The answer, once there is one.
    fn answer(&mut self) -> Option<String> {
        let reply = self.wait.take_reply()?;
        assert!(self.client.session().client.waiter.lock().is_none());
        Some(show(&reply.to_vec()))
    }
}

#[track_caller]
fn answers(w: &mut Waiting, want: &str) {
    assert_eq!(w.answer().as_deref(), Some(want));
}

#[test]
fn both_ends_push_and_pop() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("LPUSHX l a", "0"),
            ("RPUSHX l a", "0"),
            ("EXISTS l", "0"),
            ("LPUSH l a b c", "3"),
            ("RPUSH l x", "4"),
            ("LPUSHX l 1 2", "6"),
            ("RPUSHX l 3", "7"),
            ("LRANGE l 0 -1", r#"["2", "1", "c", "b", "a", "x", "3"]"#),
            ("LLEN l", "7"),
            ("LPOP l", r#""2""#),
            ("RPOP l", r#""3""#),
            ("LPOP l 2", r#"["1", "c"]"#),
            ("RPOP l 2", r#"["x", "a"]"#),
            ("LPOP l 0", "[]"),
            ("RPOP l -1", MUST_BE_POSITIVE),
            ("RPOP l x", MUST_BE_POSITIVE),
            ("RPOP l 1 2", "(error) ERR wrong number of arguments for 'rpop' command"),
            ("RPOP l 9223372036854775807", r#"["b"]"#),
            ("EXISTS l", "0"),
            ("LPOP l", "nil"),
            ("LPOP l 0", "nil-array"),
            ("LPOP l 1", "nil-array"),
            ("LLEN l", "0"),
            ("SET s v", "OK"),
            ("LPUSH s a", WRONG_TYPE),
            ("RPUSHX s a", WRONG_TYPE),
            ("LPOP s", WRONG_TYPE),
            ("LPOP s 0", WRONG_TYPE),
            ("LLEN s", WRONG_TYPE),
        ],
    );
}

#[test]
fn elements_are_found_and_replaced_by_index() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("LINDEX l x", "nil"),
            ("LSET l x y", "(error) ERR no such key"),
            ("RPUSH l a b c d", "4"),
            ("LINDEX l 0", r#""a""#),
            ("LINDEX l -1", r#""d""#),
            ("LINDEX l 4", "nil"),
            ("LINDEX l -5", "nil"),
            ("LINDEX l 9223372036854775807", "nil"),
            ("LINDEX l -9223372036854775808", "nil"),
            ("LINDEX l 1.0", NOT_INTEGER),
            ("LSET l 1 100", "OK"),
            ("LSET l -1 z", "OK"),
            ("LSET l 4 z", "(error) ERR index out of range"),
            ("LSET l -5 z", "(error) ERR index out of range"),
            ("LSET l x z", NOT_INTEGER),
            ("LINSERT l BEFORE 100 0", "5"),
            ("linsert l after z end", "6"),
            ("LINSERT l AFTER none x", "-1"),
            ("LINSERT l BESIDE none x", SYNTAX),
            ("LINSERT none BEFORE a b", "0"),
            ("LRANGE l 0 -1", r#"["a", "0", "100", "c", "z", "end"]"#),
            ("LRANGE l -2 100", r#"["z", "end"]"#),
            ("LRANGE l 3 1", "[]"),
            ("LRANGE l 6 7", "[]"),
            ("LRANGE l -100 0", r#"["a"]"#),
            ("LRANGE l 0 -7", "[]"),
            ("LRANGE l -9223372036854775808 9223372036854775807", r#"["a", "0", "100", "c", "z", "end"]"#),
            ("LRANGE none x 0", NOT_INTEGER),
            ("LRANGE none 0 0", "[]"),
            ("LTRIM l 1 -2", "OK"),
            ("LRANGE l 0 -1", r#"["0", "100", "c", "z"]"#),
            ("LTRIM l 0 -1", "OK"),
            ("LLEN l", "4"),
            ("LTRIM l 2 1", "OK"),
            ("EXISTS l", "0"),
            ("LTRIM l 0 0", "OK"),
        ],
    );
}

#[test]
fn values_are_removed_and_searched_from_either_side() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("RPUSH l a b 1 a 2 a 1", "7"),
            ("LPOS l a", "0"),
            ("LPOS l 1", "2"),
            ("LPOS l 01", "nil"),
            ("LPOS l a RANK 2", "3"),
            ("LPOS l a RANK -1", "5"),
            ("LPOS l a RANK 4", "nil"),
            ("LPOS l a COUNT 0", "[0, 3, 5]"),
            ("LPOS l a COUNT 2 RANK -2", "[3, 0]"),
            ("LPOS l a COUNT 0 MAXLEN 4", "[0, 3]"),
            ("LPOS l a MAXLEN 3 RANK 2", "nil"),
            ("LPOS l a COUNT 0 RANK -1 MAXLEN 3", "[5]"),
            ("LPOS l none COUNT 0", "[]"),
            ("LPOS none a", "nil"),
            ("LPOS none a COUNT 1", "[]"),
            (
                "LPOS l a RANK 0",
                "(error) ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                 negative to start from the end of the list",
            ),
            (
                "LPOS l a RANK -9223372036854775808",
                "(error) ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("LPOS l a COUNT -1", "(error) ERR COUNT can't be negative"),
            ("LPOS l a MAXLEN x", "(error) ERR MAXLEN can't be negative"),
            ("LPOS l a RANK", SYNTAX),
            ("LPOS l a SOME 1", SYNTAX),
            ("LREM l 1 a", "1"),
            ("LREM l -1 1", "1"),
            ("LRANGE l 0 -1", r#"["b", "1", "a", "2", "a"]"#),
            ("LREM l 0 a", "2"),
            ("LREM l 5 a", "0"),
            ("LREM l x a", NOT_INTEGER),
            ("LREM l -9223372036854775808 1", "1"),
            ("LREM none 0 a", "0"),
            ("LREM l 0 b", "1"),
            ("LREM l 0 2", "1"),
            ("EXISTS l", "0"),
        ],
    );
}

#[test]
fn elements_move_between_lists() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("LMOVE a b LEFT RIGHT", "nil"),
            ("LMOVE a b LEFT UP", SYNTAX),
            ("RPOPLPUSH a b", "nil"),
            ("RPUSH a 1 2 3", "3"),
            ("LMOVE a b LEFT RIGHT", r#""1""#),
            ("LMOVE a b right left", r#""3""#),
            ("RPOPLPUSH a b", r#""2""#),
            ("EXISTS a", "0"),
            ("LRANGE b 0 -1", r#"["2", "3", "1"]"#),
            ("LMOVE b b LEFT RIGHT", r#""2""#),
            ("RPOPLPUSH b b", r#""2""#),
            ("LRANGE b 0 -1", r#"["2", "3", "1"]"#),
            ("SET s v", "OK"),
            ("LMOVE b s LEFT LEFT", WRONG_TYPE),
            ("LMOVE s b LEFT LEFT", WRONG_TYPE),
            ("LMOVE none s LEFT LEFT", "nil"),
            ("LLEN b", "3"),
            ("LTRIM b 0 0", "OK"),
            ("LMOVE b b LEFT LEFT", r#""2""#),
            ("LMPOP 2 none b LEFT COUNT 5", r#"["b", ["2"]]"#),
            ("LMPOP 2 none b LEFT", "nil-array"),
            ("RPUSH b 1 2 3 4", "4"),
            ("LMPOP 2 none b RIGHT COUNT 2", r#"["b", ["4", "3"]]"#),
            ("LMPOP 1 b LEFT", r#"["b", ["1"]]"#),
            ("LMPOP 2 s b LEFT", WRONG_TYPE),
            ("LMPOP 0 b LEFT", "(error) ERR numkeys should be greater than 0"),
            ("LMPOP x b LEFT", "(error) ERR numkeys should be greater than 0"),
            ("LMPOP 9223372036854775807 b LEFT", SYNTAX),
            ("LMPOP 1 b LEFT COUNT 0", "(error) ERR count should be greater than 0"),
            ("LMPOP 1 b LEFT COUNT 1 COUNT 1", SYNTAX),
            ("LMPOP 1 b LEFT COUNT", SYNTAX),
            ("LMPOP 1 b UP", SYNTAX),
        ],
    );
}

#[test]
fn a_list_is_packed_while_small_and_again_at_half_the_limit() {
    let mut t = Local::new();
    let packed = r#""listpack""#;
    let large = r#""quicklist""#;
    t.engine.env().limits.list_max_listpack_size.set(8);
    check(&mut t, &[("RPUSH l 1 2 3 4 5 6 7 8", "8"), ("OBJECT ENCODING l", packed)]);
    check(&mut t, &[("RPUSH l 9", "9"), ("OBJECT ENCODING l", large), ("RPUSH l 10", "10")]);
    // Down to one chunk of 4.
    check(&mut t, &[("LTRIM l 0 4", "OK"), ("OBJECT ENCODING l", large)]);
    check(&mut t, &[("LPOP l", r#""1""#), ("OBJECT ENCODING l", packed)]);
    check(&mut t, &[("LRANGE l 0 -1", r#"["2", "3", "4", "5"]"#)]);
    t.engine.env().limits.list_max_listpack_size.set(-2);
    let big = "x".repeat(8190);
    check(&mut t, &[("RPUSH m a", "1"), ("OBJECT ENCODING m", packed)]);
    assert_eq!(t.run_args(&["LSET", "m", "0", &big]), "OK");
    check(&mut t, &[("OBJECT ENCODING m", large), ("LSET m 0 a", "OK"), ("OBJECT ENCODING m", packed)]);
    assert_eq!(t.run_args(&["LINSERT", "m", "BEFORE", "a", &big]), "2");
    check(&mut t, &[("OBJECT ENCODING m", large), ("LPOP m 1", &format!("[{big:?}]"))]);
    check(&mut t, &[("OBJECT ENCODING m", packed), ("LRANGE m 0 -1", r#"["a"]"#)]);
}

#[test]
fn long_lists_behave_as_short_ones() {
    let mut t = Local::new();
    let numbers: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    let mut push = vec!["RPUSH".to_owned(), "l".into()];
    push.extend(numbers.iter().cloned());
    assert_eq!(t.run_args(&push), "5000");
    let shown = |range: std::ops::Range<usize>| {
        format!("[{}]", numbers[range].iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", "))
    };
    assert_eq!(t.run("LRANGE l 0 -1"), shown(0..5_000));
    assert_eq!(t.run("LRANGE l 1000 1099"), shown(1_000..1_100));
    assert_eq!(t.run("LPOP l 3000"), shown(0..3_000));
    check(&mut t, &[("LPOS l 4999", "1999"), ("LPOS l 3000 RANK -1", "0"), ("LINDEX l 1000", r#""4000""#)]);
    check(
        &mut t,
        &[("LREM l 0 4000", "1"), ("LINSERT l AFTER 3999 mid", "2000"), ("LINDEX l 1000", r#""mid""#)],
    );
    assert_eq!(t.run("MULTI"), "OK");
    assert_eq!(t.run("LRANGE l 0 -1"), "QUEUED");
    assert!(t.run("EXEC").starts_with(r#"[["3000", "3001""#));
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came() {
    let mut t = Local::new();
    let mut first = Waiting::new(&t, "BLPOP l other 0");
    let mut second = Waiting::new(&t, "BRPOP other l l 0");
    let mut third = Waiting::new(&t, "BLPOP l 0");
    assert_eq!(t.run("RPUSH l a b"), "2");
    answers(&mut first, r#"["l", "a"]"#);
    answers(&mut second, r#"["l", "b"]"#);
    assert_eq!(third.answer(), None);
    assert_eq!(t.run("LPUSH l a b c"), "3");
    answers(&mut third, r#"["l", "c"]"#);
    assert_eq!(t.run("LRANGE l 0 -1"), r#"["b", "a"]"#);
    assert_eq!(t.run("BLPOP other l 0"), r#"["l", "b"]"#);
    assert_eq!(t.run("BRPOP l other 0"), r#"["l", "a"]"#);
    let mut many = Waiting::new(&t, "BLMPOP 0 2 other l RIGHT COUNT 2");
    let mut one = Waiting::new(&t, "BLMPOP 0 1 l LEFT");
    assert_eq!(t.run("RPUSH l a b c d"), "4");
    answers(&mut many, r#"["l", ["d", "c"]]"#);
    answers(&mut one, r#"["l", ["a"]]"#);
    assert_eq!(t.run("DEL l"), "1");
}

#[test]
fn waits_end_by_lists_alone() {
    let mut t = Local::new();
    let mut w = Waiting::new(&t, "BLPOP l 0");
    check(&mut t, &[("SET l v", "OK"), ("DEL l", "1"), ("SADD l v", "1"), ("DEL l", "1")]);
    check(&mut t, &[("MULTI", "OK"), ("LPUSH l a", "QUEUED"), ("DEL l", "QUEUED"), ("EXEC", "[1, 1]")]);
    assert_eq!(w.answer(), None);
    check(&mut t, &[("MULTI", "OK"), ("LPUSH l a", "QUEUED"), ("LPUSH l b", "QUEUED")]);
    check(&mut t, &[("LPOP l", "QUEUED"), ("RPUSH l c", "QUEUED"), ("EXEC", r#"[1, 2, "b", 2]"#)]);
    answers(&mut w, r#"["l", "a"]"#);
    check(&mut t, &[("LRANGE l 0 -1", r#"["c"]"#), ("SET s v", "OK"), ("BLPOP s l 1", WRONG_TYPE)]);
    check(&mut t, &[("BLPOP none s 1", WRONG_TYPE), ("BLMPOP 1 2 none s LEFT", WRONG_TYPE)]);
}

#[test]
fn moves_that_wait_follow_each_other() {
    let mut t = Local::new();
    let mut a = Waiting::new(&t, "BLMOVE a b LEFT RIGHT 0");
    let mut b = Waiting::new(&t, "BRPOPLPUSH b c 0");
    let mut c = Waiting::new(&t, "BLPOP c 0");
    assert_eq!(t.run("RPUSH a x y"), "2");
    answers(&mut a, r#""x""#);
    answers(&mut b, r#""x""#);
    answers(&mut c, r#"["c", "x"]"#);
    check(&mut t, &[("LRANGE a 0 -1", r#"["y"]"#), ("EXISTS b c", "0"), ("DEL a", "1")]);

    // A ring ends once everyone was served.
    let mut there = Waiting::new(&t, "BRPOPLPUSH a b 0");
    let mut back = Waiting::new(&t, "BRPOPLPUSH b a 0");
    assert_eq!(t.run("RPUSH a z"), "1");
    answers(&mut there, r#""z""#);
    answers(&mut back, r#""z""#);
    assert_eq!(t.run("LRANGE a 0 -1"), r#"["z"]"#);

    // Onto itself.
    let mut own = Waiting::new(&t, "BRPOPLPUSH own own 0");
    assert_eq!(t.run("RPUSH own q"), "1");
    answers(&mut own, r#""q""#);
    assert_eq!(t.run("LRANGE own 0 -1"), r#"["q"]"#);

    // A wrong target fails its waiter only; the element stays for the next one.
    t.run("SET s v");
    let mut wrong = Waiting::new(&t, "BLMOVE l s LEFT LEFT 0");
    let mut right = Waiting::new(&t, "BLMOVE l m LEFT LEFT 0");
    assert_eq!(t.run("RPUSH l e"), "1");
    answers(&mut wrong, WRONG_TYPE);
    answers(&mut right, r#""e""#);
    check(
        &mut t,
        &[("EXISTS l", "0"), ("LRANGE m 0 -1", r#"["e"]"#), ("BLMOVE s m LEFT LEFT 0", WRONG_TYPE)],
    );
}

#[test]
fn timeouts() {
    let mut t = Local::new();
    let not_float = "(error) ERR timeout is not a float or out of range";
    let out_of_range = "(error) ERR timeout is out of range";
    let negative = "(error) ERR timeout is negative";
    for (timeout, want) in [
        ("x", not_float),
        ("", not_float),
        ("nan", not_float),
        ("-1", negative),
        ("-0.001", negative),
        ("inf", out_of_range),
        ("0x7FFFFFFFFFFFFFFF", out_of_range),
        ("9223372036854775", out_of_range),
        ("1e400", out_of_range),
        ("-1e400", negative),
        ("1e5000", not_float),
    ] {
        assert_eq!(t.run_args(&["BLPOP", "l", timeout]), want, "{timeout}");
        assert_eq!(t.run_args(&["BLMOVE", "l", "m", "LEFT", "LEFT", timeout]), want);
        assert_eq!(t.run_args(&["BRPOPLPUSH", "l", "m", timeout]), want);
        assert_eq!(t.run_args(&["BLMPOP", timeout, "1", "l", "LEFT"]), want);
        assert_eq!(t.run_args(&["BZPOPMIN", "z", timeout]), want);
    }
    let now = t.clock.now_ms();
    for (timeout, want) in [
        ("0", None),
        ("0.0", None),
        ("0.001", Some(1)),
        ("0.0001", Some(1)),
        ("1.5", Some(1500)),
        ("1e2", Some(100_000)),
    ] {
        let w = Waiting::new(&t, &format!("BLPOP l {timeout}"));
        assert_eq!(w.wait.deadline_ms, want.map(|ms: u64| now + ms), "{timeout}");
        let mut reply = Reply::new(false);
        (w.wait.on_timeout)(&mut reply);
        assert_eq!(show(&reply.to_vec()), "nil-array");
    }
    t.advance(Duration::from_secs(1));
    assert_eq!(t.run("BLMPOP 1 0 l LEFT"), "(error) ERR numkeys should be greater than 0");
}

#[test]
fn inside_a_transaction_nothing_waits() {
    let mut t = Local::new();
    t.run("MULTI");
    for line in ["BLPOP l 0", "BLMPOP 0 1 l LEFT", "BLMOVE l m LEFT LEFT 0", "BRPOPLPUSH l m 0"] {
        assert_eq!(t.run(line), "QUEUED");
    }
    assert_eq!(t.run("EXEC"), "[nil-array, nil-array, nil, nil]");
}

#[test]
fn changes_break_watches() {
    let mut t = Local::new();
    t.run("RPUSH l a b c");
    for line in [
        "LPUSH l x",
        "RPOP l",
        "LSET l 0 y",
        "LINSERT l BEFORE y z",
        "LREM l 1 z",
        "LTRIM l 0 -1",
        "LMOVE l m LEFT LEFT",
    ] {
        t.run("WATCH l");
        t.another().run(line);
        t.run("MULTI");
        assert_eq!(t.run("EXEC"), "nil-array", "{line}");
    }
    for line in ["LPUSHX none x", "LREM l 1 none", "LINSERT l BEFORE none x", "LRANGE l 0 -1", "LPOP l 0"] {
        t.run("WATCH l none");
        t.another().run(line);
        t.run("MULTI");
        assert_eq!(t.run("EXEC"), "[]", "{line}");
    }
}
