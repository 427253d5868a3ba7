//! The string family.
use std::time::Duration;

use crate::support::Local;

const NOT_INTEGER: &str = "(error) ERR value is not an integer or out of range";
const SYNTAX: &str = "(error) ERR syntax error";
const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
const TOO_LONG: &str = "(error) ERR string exceeds maximum allowed size (proto-max-bulk-len)";

/// Runs lines and compares each reply.
fn check(t: &mut Local, script: &[(&str, &str)]) {
    for (line, want) in script {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

#[test]
fn a_value_is_read_back_as_it_was_set() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("SET k v", "OK"),
            ("GET k", r#""v""#),
            ("INCR k", NOT_INTEGER),
            ("MSET a 1 b 2", "OK"),
            ("INCR a", "2"),
            ("MGET a b c", r#"["2", "2", nil]"#),
            ("HSET h f v", "1"),
            ("GET h", WRONG_TYPE),
            ("MGET a h", r#"["2", nil]"#),
            ("SET h v", "OK"),
            ("GET h", r#""v""#),
        ],
    );
    for len in [0, 1, 19, 20, 21, 44, 45, 4096, 4097, 100_000] {
        let value = "7".repeat(len);
        assert_eq!(t.run_args(&["SET", "big", &value]), "OK");
        assert_eq!(t.run("GET big"), format!("{value:?}"));
        assert_eq!(t.run("STRLEN big"), len.to_string());
    }
}

#[test]
fn set_takes_its_options_in_any_order_but_no_contradiction() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("SET k v XX", "nil"),
            ("SET k v NX", "OK"),
            ("SET k w nx", "nil"),
            ("SET k w NX GET", r#""v""#),
            ("SET k w GET XX", r#""v""#),
            ("SET new v GET", "nil"),
            ("SET other v XX GET", "nil"),
            ("GET other", "nil"),
            ("SET k v NX XX", SYNTAX),
            ("SET k v XX NX", SYNTAX),
            ("SET k v EX", SYNTAX),
            ("SET k v EX 1 PX 1", SYNTAX),
            ("SET k v EX 1 KEEPTTL", SYNTAX),
            ("SET k v KEEPTTL PXAT 1", SYNTAX),
            ("SET k v PERSIST", SYNTAX),
            ("SET k v BOGUS", SYNTAX),
            ("SET k v EX x", NOT_INTEGER),
            ("SET k v EX 0", "(error) ERR invalid expire time in 'set' command"),
            ("SET k v PX -1", "(error) ERR invalid expire time in 'set' command"),
            ("SET k v EX 9223372036854775807", "(error) ERR invalid expire time in 'set' command"),
            ("SET k v PX 9223372036854775807", "(error) ERR invalid expire time in 'set' command"),
            ("SETEX k 0 v", "(error) ERR invalid expire time in 'setex' command"),
            ("PSETEX k -5 v", "(error) ERR invalid expire time in 'psetex' command"),
            ("GET k", r#""w""#),
            ("HSET h f v", "1"),
            ("SET h v GET", WRONG_TYPE),
            ("SET h v GET NX", WRONG_TYPE),
            ("HGET h f", r#""v""#),
            ("SETNX k x", "0"),
            ("SETNX fresh x", "1"),
            ("SETNX h x", "0"),
        ],
    );
}

#[test]
fn times_to_live() {
    let mut t = Local::new();
    let now = 1_700_000_000_000u64;
    for line in [
        "SET k v EX 10".to_owned(),
        "SET k v PX 10000".into(),
        format!("SET k v EXAT {}", now / 1000 + 10),
        format!("SET k v PXAT {}", now + 10_000),
        "SETEX k 10 v".into(),
        "PSETEX k 10000 v".into(),
    ] {
        let mut t = Local::new();
        assert_eq!(t.run(&line), "OK");
        t.advance(Duration::from_millis(9_999));
        assert_eq!(t.run("GET k"), r#""v""#, "{line}");
        t.advance(Duration::from_millis(1));
        assert_eq!(t.run("GET k"), "nil", "{line}");
    }
    check(
        &mut t,
        &[
            ("SET k v EX 10", "OK"),
            ("SET k w KEEPTTL", "OK"),
            ("APPEND k x", "2"),
            ("SET plain v EX 10", "OK"),
            ("SET plain v", "OK"),
            ("SET n 5 EX 10", "OK"),
            ("INCR n", "6"),
            ("INCRBYFLOAT n 0.5", r#""6.5""#),
            ("SET swapped v EX 10", "OK"),
            ("GETSET swapped w", r#""v""#),
            ("SET kept v EX 10", "OK"),
            ("GETEX kept PERSIST", r#""v""#),
            ("SET extended v EX 10", "OK"),
            ("GETEX extended EX 20", r#""v""#),
            ("SET read v EX 10", "OK"),
            ("GETEX read", r#""v""#),
        ],
    );
    t.advance(Duration::from_secs(10));
    check(
        &mut t,
        &[
            ("GET k", "nil"),
            ("GET n", "nil"),
            ("GET read", "nil"),
            ("GET plain", r#""v""#),
            ("GET swapped", r#""w""#),
            ("GET kept", r#""v""#),
            ("GET extended", r#""v""#),
        ],
    );
    t.advance(Duration::from_secs(10));
    assert_eq!(t.run("GET extended"), "nil");
}

#[test]
fn getex_and_getdel() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("GETEX none EX 10", "nil"),
            ("GETEX none EX 0", "nil"),
            ("SET k v", "OK"),
            ("GETEX k EX 0", "(error) ERR invalid expire time in 'getex' command"),
            ("GETEX k EX", SYNTAX),
            ("GETEX k NX", SYNTAX),
            ("GETEX k KEEPTTL", SYNTAX),
            ("GETEX k PERSIST EX 1", SYNTAX),
            ("GETEX k EX 1 PERSIST", SYNTAX),
            ("GETEX k PXAT 1000", r#""v""#),
            ("GET k", "nil"),
            ("SET k v", "OK"),
            ("GETDEL k", r#""v""#),
            ("GETDEL k", "nil"),
            ("HSET h f v", "1"),
            ("GETDEL h", WRONG_TYPE),
            ("GETEX h", WRONG_TYPE),
            ("GETSET h v", WRONG_TYPE),
            ("HLEN h", "1"),
        ],
    );
}

#[test]
fn strings_grow_through_all_their_encodings() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("APPEND n 12", "2"),
            ("APPEND n 3", "3"),
            ("INCR n", "124"),
            ("SETRANGE n 1 x", "3"),
            ("GET n", r#""1x4""#),
            ("SETRANGE none 0 \"\"", "0"),
            ("GET none", "nil"),
            ("SETRANGE n 10 \"\"", "3"),
            ("SETRANGE n -1 x", "(error) ERR offset is out of range"),
            ("SETRANGE n x x", NOT_INTEGER),
            ("SETRANGE n 536870912 x", TOO_LONG),
            ("SETRANGE n 9223372036854775807 x", TOO_LONG),
            ("SETRANGE far 5000 end", "5003"),
            ("GETRANGE far 4998 -1", r#""\0\0end""#),
            ("SETRANGE pad 3 x", "4"),
            ("GET pad", r#""\0\0\0x""#),
            ("HSET h f v", "1"),
            ("APPEND h x", WRONG_TYPE),
            ("SETRANGE h 0 x", WRONG_TYPE),
            ("STRLEN h", WRONG_TYPE),
            ("STRLEN none", "0"),
        ],
    );
    let mut model = String::new();
    for i in 0..300 {
        let piece = "abcdefg".repeat(i % 50);
        model.push_str(&piece);
        assert_eq!(t.run_args(&["APPEND", "grown", &piece]), model.len().to_string());
    }
    assert_eq!(t.run("GET grown"), format!("{model:?}"));
}

#[test]
fn ranges() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("SET k \"Hello World\"", "OK"),
            ("GETRANGE k 0 3", r#""Hell""#),
            ("GETRANGE k 0 -1", r#""Hello World""#),
            ("GETRANGE k -4 -1", r#""orld""#),
            ("GETRANGE k 5 3", r#""""#),
            ("GETRANGE k -1 -5", r#""""#),
            ("GETRANGE k -5000 10000", r#""Hello World""#),
            ("SUBSTR k 0 1", r#""He""#),
            ("GETRANGE none 0 -1", r#""""#),
            ("GETRANGE none a -1", NOT_INTEGER),
            ("SET n 12345", "OK"),
            ("GETRANGE n 1 2", r#""23""#),
        ],
    );
}

#[test]
fn counters() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("INCRBY n 5", "5"),
            ("DECR n", "4"),
            ("DECRBY n 10", "-6"),
            ("SET n 9223372036854775807", "OK"),
            ("INCR n", "(error) ERR increment or decrement would overflow"),
            ("SET n -9223372036854775808", "OK"),
            ("DECR n", "(error) ERR increment or decrement would overflow"),
            ("DECRBY n -9223372036854775808", "(error) ERR decrement would overflow"),
            ("INCRBY n 1.5", NOT_INTEGER),
            ("SET n \" 11\"", "OK"),
            ("INCR n", NOT_INTEGER),
            ("SET n \"11 \"", "OK"),
            ("INCR n", NOT_INTEGER),
            ("HSET h f v", "1"),
            ("INCR h", WRONG_TYPE),
            ("INCRBYFLOAT h 1", WRONG_TYPE),
            ("INCRBYFLOAT f 1", r#""1""#),
            ("INCRBYFLOAT f 0.25", r#""1.25""#),
            ("INCRBYFLOAT f -1.1e3", r#""-1098.75""#),
            ("INCRBYFLOAT f x", "(error) ERR value is not a valid float"),
            ("INCRBYFLOAT f +inf", "(error) ERR increment would produce NaN or Infinity"),
            ("SET f 17179869184", "OK"),
            ("INCRBYFLOAT f 1.5", r#""17179869185.5""#),
            ("SET f \" 1\"", "OK"),
            ("INCRBYFLOAT f 1", "(error) ERR value is not a valid float"),
        ],
    );
}

#[test]
fn several_keys_at_once() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("MSET a 1 b", "(error) ERR wrong number of arguments for 'mset' command"),
            ("MSETNX a 1 b", "(error) ERR wrong number of arguments for 'msetnx' command"),
            ("MSETNX a 1 b 2", "1"),
            ("MSETNX c 3 b 4", "0"),
            ("MGET a b c", r#"["1", "2", nil]"#),
            ("MSET a x a y", "OK"),
            ("GET a", r#""y""#),
            ("MSETNX new 1 new 2", "1"),
            ("GET new", r#""2""#),
        ],
    );
}

#[test]
fn longest_common_subsequence() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("MSET a ohmytext b mynewtext n 12345", "OK"),
            ("LCS a b", r#""mytext""#),
            ("LCS a b LEN", "6"),
            ("LCS a b IDX", r#"["matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len", 6]"#),
            ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", r#"["matches", [[[4, 7], [5, 8], 4]], "len", 6]"#),
            (
                "LCS a b IDX MINMATCHLEN -4 WITHMATCHLEN IDX",
                r#"["matches", [[[4, 7], [5, 8], 4], [[2, 3], [0, 1], 2]], "len", 6]"#,
            ),
            ("LCS a none", r#""""#),
            ("LCS a none IDX", r#"["matches", [], "len", 0]"#),
            ("LCS n n LEN", "5"),
            ("LCS a b IDX LEN", "(error) ERR If you want both the length and indexes, please just use IDX."),
            ("LCS a b MINMATCHLEN", SYNTAX),
            ("LCS a b MINMATCHLEN x", NOT_INTEGER),
            ("HSET h f v", "1"),
            ("LCS a h", "(error) ERR The specified keys must contain string values"),
        ],
    );
    let long = "x".repeat(20_000);
    t.run_args(&["MSET", "a", &long, "b", &long]);
    assert_eq!(
        t.run("LCS a b LEN"),
        "(error) ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    );
}

#[test]
fn a_change_breaks_watches_and_no_change_does_not() {
    let mut t = Local::new();
    let mut other = t.another();
    for (line, breaks) in [
        ("SET k v", true),
        ("SET k v NX", false),
        ("GETEX k", false),
        ("GETEX k PERSIST", false),
        ("GETEX k EX 100", true),
        ("APPEND k v", true),
        ("SETRANGE k 0 \"\"", false),
        ("SETNX k v", false),
        ("GETDEL k", true),
        ("GETDEL k", false),
        ("INCR k", true),
        ("SETBIT k 2 1", false),
        ("SETBIT k 2 0", true),
        ("HSETNX h f v", true),
        ("HSETNX h f v", false),
        ("HDEL h g", false),
        ("HDEL h f", true),
    ] {
        t.run("WATCH k h");
        other.run(line);
        t.run("MULTI");
        t.run("GET k");
        assert_eq!(t.run("EXEC") == "nil-array", breaks, "{line}");
    }
}
