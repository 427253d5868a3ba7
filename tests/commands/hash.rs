//! The hash family.
use std::collections::BTreeSet;

use crate::support::Local;

const NOT_INTEGER: &str = "(error) ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";

fn check(t: &mut Local, script: &[(&str, &str)]) {
    for (line, want) in script {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

#[test]
fn fields_are_set_read_and_removed() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("HSET h a 1 b 2 a 3", "2"),
            ("HGET h a", r#""3""#),
            ("HSET h a 4 c 5", "1"),
            ("HMGET h a b c d", r#"["4", "2", "5", nil]"#),
            ("HMGET none a b", "[nil, nil]"),
            ("HMSET h d 6", "OK"),
            ("HLEN h", "4"),
            ("HGETALL h", r#"["a", "4", "b", "2", "c", "5", "d", "6"]"#),
            ("HKEYS h", r#"["a", "b", "c", "d"]"#),
            ("HVALS h", r#"["4", "2", "5", "6"]"#),
            ("HEXISTS h a", "1"),
            ("HEXISTS h z", "0"),
            ("HSTRLEN h a", "1"),
            ("HSTRLEN h z", "0"),
            ("HSET h n -12345", "1"),
            ("HSTRLEN h n", "6"),
            ("HSETNX h a 9", "0"),
            ("HSETNX h y 9", "1"),
            ("HDEL h a a z n y", "3"),
            ("HDEL h b c d extra", "3"),
            ("GET h", "nil"),
            ("HGETALL h", "[]"),
            ("HKEYS h", "[]"),
            ("HLEN h", "0"),
            ("HDEL h a", "0"),
            ("HGET h a", "nil"),
            ("HSET h a", "(error) ERR wrong number of arguments for 'hset' command"),
            ("HSET h a 1 b", "(error) ERR wrong number of arguments for 'hset' command"),
            ("HMSET h a 1 b", "(error) ERR wrong number of arguments for 'hmset' command"),
            ("HGET h \"\"", "nil"),
            ("HSET h \"\" \"\"", "1"),
            ("HGETALL h", r#"["", ""]"#),
        ],
    );
}

#[test]
fn other_types_are_refused() {
    let mut t = Local::new();
    t.run("SET s x");
    for line in [
        "HSET s a 1",
        "HSETNX s a 1",
        "HMSET s a 1",
        "HGET s a",
        "HMGET s a",
        "HGETALL s",
        "HKEYS s",
        "HVALS s",
        "HDEL s a",
        "HLEN s",
        "HEXISTS s a",
        "HSTRLEN s a",
        "HINCRBY s a 1",
        "HINCRBYFLOAT s a 1",
        "HRANDFIELD s",
        "HRANDFIELD s 1",
    ] {
        assert_eq!(t.run(line), WRONG_TYPE, "{line}");
    }
}

#[test]
fn numbers_in_fields() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("HINCRBY h n 2", "2"),
            ("HINCRBY h n -3", "-1"),
            ("HINCRBY h n x", NOT_INTEGER),
            ("HSET h s text pad \" 1\" max 9223372036854775807", "3"),
            ("HINCRBY h s 1", "(error) ERR hash value is not an integer"),
            ("HINCRBY h pad 1", "(error) ERR hash value is not an integer"),
            ("HINCRBY h max 1", "(error) ERR increment or decrement would overflow"),
            ("HINCRBYFLOAT h n 0.5", r#""-0.5""#),
            ("HINCRBYFLOAT h f 10.25", r#""10.25""#),
            ("HINCRBYFLOAT h s 1", "(error) ERR hash value is not a float"),
            ("HINCRBYFLOAT h f x", "(error) ERR value is not a valid float"),
            ("HINCRBYFLOAT h f inf", "(error) ERR value is NaN or Infinity"),
            ("HGET h f", r#""10.25""#),
            ("HINCRBYFLOAT new f 1.50", r#""1.5""#),
            ("HGETALL new", r#"["f", "1.5"]"#),
        ],
    );
}

#[test]
fn a_large_hash_answers_like_a_small_one() {
    let mut t = Local::new();
    for i in 0..5000 {
        assert_eq!(t.run(&format!("HSET h field:{i} {i}")), "1");
    }
    check(&mut t, &[("HLEN h", "5000"), ("HGET h field:77", r#""77""#), ("HINCRBY h field:77 3", "80")]);
    let keys: BTreeSet<String> = t.run("HKEYS h").split(", ").map(str::to_owned).collect();
    assert_eq!(keys.len(), 5000);
    assert_eq!(t.run("HGETALL h").split(", ").count(), 10_000);
    assert_eq!(t.run("HVALS h").split(", ").count(), 5000);
    for i in 0..5000 {
        assert_eq!(t.run(&format!("HDEL h field:{i}")), "1");
    }
    assert_eq!(t.run("HLEN h"), "0");
    let long = "v".repeat(70_000);
    assert_eq!(t.run_args(&["HSET", "long", "f", &long, &long, "v"]), "2");
    assert_eq!(t.run("HGET long f"), format!("{long:?}"));
    assert_eq!(t.run_args(&["HGET", "long", &long]), r#""v""#);
    assert_eq!(t.run("HSTRLEN long f"), "70000");
}

#[test]
fn random_fields() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("HRANDFIELD none", "nil"),
            ("HRANDFIELD none 3", "[]"),
            ("HRANDFIELD none -3 WITHVALUES", "[]"),
            ("HSET h a 1", "1"),
            ("HRANDFIELD h", r#""a""#),
            ("HRANDFIELD h 0", "[]"),
            ("HRANDFIELD h 5", r#"["a"]"#),
            ("HRANDFIELD h -3 WITHVALUES", r#"["a", "1", "a", "1", "a", "1"]"#),
            ("HRANDFIELD h 1 BOGUS", "(error) ERR syntax error"),
            ("HRANDFIELD h 1 WITHVALUES x", "(error) ERR syntax error"),
            ("HRANDFIELD h x", NOT_INTEGER),
            ("HRANDFIELD h -9223372036854770000 WITHVALUES", "(error) ERR value is out of range"),
        ],
    );
    for (key, n) in [("small", 20), ("large", 1000)] {
        for i in 0..n {
            t.run(&format!("HSET {key} f{i} {i}"));
        }
        for count in [1, 3, n / 2, n - 1, n, 2 * n] {
            let reply = t.run(&format!("HRANDFIELD {key} {count}"));
            let different: BTreeSet<&str> = reply.trim_matches(['[', ']']).split(", ").collect();
            assert_eq!(different.len(), count.min(n), "{reply}");
            let reply = t.run(&format!("HRANDFIELD {key} -{count}"));
            assert_eq!(reply.split(", ").count(), count);
        }
    }
}

#[test]
fn replies_in_resp3() {
    let mut t = Local::new();
    t.session().resp3 = true;
    check(
        &mut t,
        &[
            ("HGETALL none", "{}"),
            ("HSET h a 1", "1"),
            ("HGETALL h", r#"{"a": "1"}"#),
            ("HRANDFIELD h 2 WITHVALUES", r#"[["a", "1"]]"#),
            ("HRANDFIELD h -2 WITHVALUES", r#"[["a", "1"], ["a", "1"]]"#),
            ("HRANDFIELD none", "nil"),
            ("MSET x abc y abd", "OK"),
            ("LCS x y IDX", r#"{"matches": [[[0, 1], [0, 1]]], "len": 2}"#),
            ("INCRBYFLOAT n 1.5", r#""1.5""#),
            ("HINCRBYFLOAT h n 1.5", r#""1.5""#),
            ("GET none", "nil"),
        ],
    );
}
