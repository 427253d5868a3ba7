//! The set family.
use crate::support::Local;

const WRONG: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn members_come_and_go() {
    let mut t = Local::new();
    assert_eq!(t.run("SADD s 3 1 2 1"), "3");
    assert_eq!(t.run("SMEMBERS s"), r#"["1", "2", "3"]"#);
    assert_eq!(t.run("SADD s a 1"), "1");
    assert_eq!(t.run("SCARD s"), "4");
    assert_eq!(t.run("SISMEMBER s a"), "1");
    assert_eq!(t.run("SMISMEMBER s a b 1"), "[1, 0, 1]");
    assert_eq!(t.run("SREM s a b 1"), "2");
    assert_eq!(t.run("SREM s 2 3 4"), "2");
    assert_eq!(t.run("SCARD s"), "0");
    assert_eq!(t.run("SMEMBERS s"), "[]");
    t.run("SET k v");
    for line in [
        "SADD k a",
        "SREM k a",
        "SCARD k",
        "SISMEMBER k a",
        "SMISMEMBER k a",
        "SMEMBERS k",
        "SPOP k",
        "SINTER k s",
    ] {
        assert_eq!(t.run(line), WRONG, "{line}");
    }
}

#[test]
fn a_member_moves_between_sets() {
    let mut t = Local::new();
    t.run("SADD a x 1");
    assert_eq!(t.run("SMOVE a b 1"), "1");
    assert_eq!(t.run("SMOVE a b 1"), "0");
    assert_eq!(t.run("SMOVE a a x"), "1");
    assert_eq!(t.run("SMOVE a b x"), "1");
    assert_eq!(t.run("SCARD a"), "0");
    assert_eq!(t.run("SMOVE a b x"), "0");
    t.run("SET k v");
    assert_eq!(t.run("SMOVE b k x"), WRONG);
    assert_eq!(t.run("SMOVE none k x"), "0");
}

#[test]
fn algebra() {
    let mut t = Local::new();
    t.run("SADD a 1 2 3 4");
    t.run("SADD b 3 4 5");
    t.run("SADD c 4 x");
    assert_eq!(t.run("SINTER a b"), r#"["3", "4"]"#);
    assert_eq!(t.run("SINTER a b c"), r#"["4"]"#);
    assert_eq!(t.run("SINTER a none"), "[]");
    assert_eq!(t.run("SUNION a b"), r#"["1", "2", "3", "4", "5"]"#);
    assert_eq!(t.run("SUNION c none c"), r#"["4", "x"]"#);
    assert_eq!(t.run("SDIFF a b c"), r#"["1", "2"]"#);
    assert_eq!(t.run("SDIFF none a"), "[]");
    assert_eq!(t.run("SINTERCARD 2 a b LIMIT 1"), "1");
    assert_eq!(t.run("SINTERCARD 2 a b"), "2");
    assert_eq!(t.run("SINTERCARD 0 a"), "(error) ERR numkeys should be greater than 0");
    assert_eq!(t.run("SINTERCARD 3 a b"), "(error) ERR Number of keys can't be greater than number of args");
    assert_eq!(t.run("SINTERCARD 2 a b LIMIT -1"), "(error) ERR LIMIT can't be negative");
    assert_eq!(t.run("SUNIONSTORE a a b"), "5");
    assert_eq!(t.run("SDIFFSTORE a a b"), "2");
    assert_eq!(t.run("SMEMBERS a"), r#"["1", "2"]"#);
    assert_eq!(t.run("SINTERSTORE a a b"), "0");
    assert_eq!(t.run("SCARD a"), "0");
    assert_eq!(t.run("SUNION a b c d e f b"), r#"["3", "4", "5", "x"]"#);
}

#[test]
fn large_sets_answer_like_small_ones() {
    let mut t = Local::new();
    let words = |from: usize, to: usize| {
        let mut words = vec!["SADD".to_owned(), format!("s{from}")];
        words.extend((from..to).map(|i| format!("member-{i}")));
        words
    };
    assert_eq!(t.run_args(&words(0, 5000)), "5000");
    assert_eq!(t.run_args(&words(4000, 9000)), "5000");
    assert_eq!(t.run("SINTERSTORE i s0 s4000"), "1000");
    assert_eq!(t.run("SINTERCARD 2 s0 s4000"), "1000");
    assert_eq!(t.run("SUNIONSTORE u s0 s4000"), "9000");
    assert_eq!(t.run("SDIFFSTORE d s0 s4000"), "4000");
    assert_eq!(t.run("SINTERCARD 2 d s4000"), "0");
    assert_eq!(t.run("SMEMBERS u").matches("member-").count(), 9000);
    assert_eq!(t.run("SRANDMEMBER u 8000").matches("member-").count(), 8000);
    assert_eq!(t.run("SRANDMEMBER u -8000").matches("member-").count(), 8000);
    assert_eq!(t.run("SPOP u 8999").matches("member-").count(), 8999);
    assert_eq!(t.run("SCARD u"), "1");
}

#[test]
fn random_members_are_members() {
    let mut t = Local::new();
    t.run("SADD s a b c d e");
    for _ in 0..20 {
        let one = t.run("SRANDMEMBER s");
        assert!(["\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"e\""].contains(&one.as_str()), "{one}");
    }
    assert_eq!(t.run("SRANDMEMBER s 9"), r#"["a", "b", "c", "d", "e"]"#);
    assert_eq!(t.run("SRANDMEMBER s 0"), "[]");
    assert_eq!(t.run("SRANDMEMBER s -7").matches(',').count(), 6);
    assert_eq!(t.run("SRANDMEMBER none 3"), "[]");
    assert_eq!(t.run("SRANDMEMBER none"), "nil");
    assert_eq!(t.run("SRANDMEMBER s -9223372036854775807"), "(error) ERR value is out of range");
    assert_eq!(t.run("SPOP s -1"), "(error) ERR value is out of range, must be positive");
    assert_eq!(t.run("SPOP s 0"), "[]");
    assert_eq!(t.run("SPOP s 4").matches(',').count(), 3);
    t.run("SPOP s");
    assert_eq!(t.run("SPOP s"), "nil");
    assert_eq!(t.run("SPOP s 2"), "[]");
    assert_eq!(t.run("SCARD s"), "0");
}
