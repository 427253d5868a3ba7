//! The sorted set family.
use crate::support::{Local, show};

const WRONG: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";

/// Runs a test with small encodings and with large ones.
fn both(test: impl Fn(&mut Local)) {
    test(&mut Local::new());
    let mut t = Local::new();
    t.engine.env().limits.zset_max_listpack_entries.set(0);
    test(&mut t);
}

#[test]
fn scores_are_set_under_conditions() {
    both(|t| {
        assert_eq!(t.run("ZADD z 1 a 2 b"), "2");
        assert_eq!(t.run("ZADD z NX 5 a 3 c"), "1");
        assert_eq!(t.run("ZADD z XX CH 5 a 3 d"), "1");
        assert_eq!(t.run("ZADD z GT CH 4 a 9 b"), "1");
        assert_eq!(t.run("ZADD z LT CH 4 a 9 b"), "1");
        assert_eq!(t.run("ZRANGE z 0 -1 WITHSCORES"), r#"["c", "3", "a", "4", "b", "9"]"#);
        assert_eq!(t.run("ZADD z INCR 2.5 a"), r#""6.5""#);
        assert_eq!(t.run("ZADD z NX INCR 1 a"), "nil");
        assert_eq!(t.run("ZINCRBY z inf a"), r#""inf""#);
        assert_eq!(t.run("ZINCRBY z -inf a"), "(error) ERR resulting score is not a number (NaN)");
        assert_eq!(
            t.run("ZADD z XX NX 1 a"),
            "(error) ERR XX and NX options at the same time are not compatible"
        );
        assert_eq!(
            t.run("ZADD z GT LT 1 a"),
            "(error) ERR GT, LT, and/or NX options at the same time are not compatible"
        );
        assert_eq!(
            t.run("ZADD z INCR 1 a 2 b"),
            "(error) ERR INCR option supports a single increment-element pair"
        );
        assert_eq!(t.run("ZADD z 1 a x b"), "(error) ERR value is not a valid float");
        assert_eq!(t.run("ZADD z 1 a 2"), "(error) ERR syntax error");
        assert_eq!(t.run("ZADD new XX 1 a"), "0");
        assert_eq!(t.run("ZMSCORE z a b none"), r#"["inf", "9", nil]"#);
        assert_eq!(t.run("ZSCORE z b"), r#""9""#);
        assert_eq!(t.run("ZREM z a b c none"), "3");
        assert_eq!(t.run("ZCARD z"), "0");
        t.run("SET k v");
        for line in
            ["ZADD k 1 a", "ZREM k a", "ZCARD k", "ZRANGE k 0 1", "ZPOPMIN k", "ZRANK k a", "ZUNION 1 k"]
        {
            assert_eq!(t.run(line), WRONG, "{line}");
        }
    });
}

#[test]
fn ranges() {
    both(|t| {
        t.run("ZADD z 1 a 2 b 2 c 3 d 4 e");
        assert_eq!(t.run("ZRANK z c"), "2");
        assert_eq!(t.run("ZREVRANK z c"), "2");
        assert_eq!(t.run("ZREVRANK z a WITHSCORE"), r#"[4, "1"]"#);
        assert_eq!(t.run("ZRANK z none"), "nil");
        assert_eq!(t.run("ZRANK z none WITHSCORE"), "nil-array");
        assert_eq!(t.run("ZRANGE z -2 -1"), r#"["d", "e"]"#);
        assert_eq!(t.run("ZRANGE z 0 1 REV"), r#"["e", "d"]"#);
        assert_eq!(t.run("ZREVRANGE z 4 9 WITHSCORES"), r#"["a", "1"]"#);
        assert_eq!(t.run("ZRANGE z 5 9"), "[]");
        assert_eq!(t.run("ZRANGE z (1 3 BYSCORE"), r#"["b", "c", "d"]"#);
        assert_eq!(t.run("ZRANGE z 3 (1 BYSCORE REV LIMIT 1 1"), r#"["c"]"#);
        assert_eq!(t.run("ZRANGEBYSCORE z -inf +inf LIMIT 1 -1"), r#"["b", "c", "d", "e"]"#);
        assert_eq!(t.run("ZRANGEBYSCORE z -inf +inf LIMIT -1 2"), "[]");
        assert_eq!(t.run("ZREVRANGEBYSCORE z (4 2 WITHSCORES"), r#"["d", "3", "c", "2", "b", "2"]"#);
        assert_eq!(t.run("ZCOUNT z (1 (3"), "2");
        assert_eq!(t.run("ZCOUNT z 5 1"), "0");
        assert_eq!(t.run("ZCOUNT z x 1"), "(error) ERR min or max is not a float");
        assert_eq!(
            t.run("ZRANGE z 0 1 LIMIT 0 1"),
            "(error) ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        );
        assert_eq!(
            t.run("ZRANGE z - + BYLEX WITHSCORES"),
            "(error) ERR syntax error, WITHSCORES not supported in combination with BYLEX"
        );
        assert_eq!(t.run("ZREVRANGE z 0 1 REV"), "(error) ERR syntax error");
        assert_eq!(t.run("ZRANGESTORE y z 2 3 BYSCORE"), "3");
        assert_eq!(t.run("ZRANGE y 0 -1 WITHSCORES"), r#"["b", "2", "c", "2", "d", "3"]"#);
        assert_eq!(t.run("ZRANGESTORE y none 0 -1"), "0");
        assert_eq!(t.run("ZCARD y"), "0");
        t.run("ZADD l 0 a 0 b 0 c 0 d");
        assert_eq!(t.run("ZRANGEBYLEX l [b (d"), r#"["b", "c"]"#);
        assert_eq!(t.run("ZREVRANGEBYLEX l + (a LIMIT 0 2"), r#"["d", "c"]"#);
        assert_eq!(t.run("ZLEXCOUNT l - +"), "4");
        assert_eq!(t.run("ZLEXCOUNT l + -"), "0");
        assert_eq!(t.run("ZLEXCOUNT l x +"), "(error) ERR min or max not valid string range item");
        assert_eq!(t.run("ZREMRANGEBYLEX l [b [c"), "2");
        assert_eq!(t.run("ZREMRANGEBYSCORE z (1 2"), "2");
        assert_eq!(t.run("ZREMRANGEBYRANK z 0 0"), "1");
        assert_eq!(t.run("ZREMRANGEBYRANK z 0 -1"), "2");
        assert_eq!(t.run("ZCARD z"), "0");
    });
}

#[test]
fn members_are_popped_from_either_end() {
    both(|t| {
        t.run("ZADD z 1 a 2 b 3 c 4 d 5 e");
        assert_eq!(t.run("ZPOPMIN z"), r#"["a", "1"]"#);
        assert_eq!(t.run("ZPOPMAX z 2"), r#"["e", "5", "d", "4"]"#);
        assert_eq!(t.run("ZPOPMIN z 0"), "[]");
        assert_eq!(t.run("ZPOPMIN z -1"), "(error) ERR value is out of range, must be positive");
        assert_eq!(t.run("ZMPOP 2 none z MAX"), r#"["z", [["c", "3"]]]"#);
        assert_eq!(t.run("BZPOPMIN none z 0"), r#"["z", "b", "2"]"#);
        assert_eq!(t.run("ZPOPMIN z"), "[]");
        assert_eq!(t.run("ZMPOP 1 z MIN"), "nil-array");
        assert_eq!(t.run("ZMPOP 1 z MIN COUNT 0"), "(error) ERR count should be greater than 0");
        assert_eq!(t.run("ZMPOP 0 z MIN"), "(error) ERR numkeys should be greater than 0");
        assert_eq!(t.run("ZMPOP 2 z MIN"), "(error) ERR syntax error");
        assert_eq!(t.run("BZPOPMIN z x"), "(error) ERR timeout is not a float or out of range");
        assert_eq!(t.run("BZPOPMIN z -1"), "(error) ERR timeout is negative");
    });
}

#[test]
fn a_blocked_client_gets_the_first_member() {
    let mut t = Local::new();
    let block = |line: &str| {
        let mut client = t.another();
        assert_eq!(client.run(line), "");
        let waiter = client.session().client.waiter.lock().clone().expect("it blocks");
        (client, waiter)
    };
    let (_first, first) = block("BZPOPMIN a b 0");
    let (_second, second) = block("BZMPOP 0 1 b MAX COUNT 5");
    assert_eq!(t.run("SADD a x"), "1");
    assert_eq!(t.run("SREM a x"), "1");
    assert_eq!(t.run("ZADD b 2 x 1 y 3 z"), "3");
    let answer = |waiter: &tidewater::keyspace::Waiter| show(&waiter.take_reply().expect("a reply").to_vec());
    assert_eq!(answer(&first), r#"["b", "y", "1"]"#);
    assert_eq!(answer(&second), r#"["b", [["z", "3"], ["x", "2"]]]"#);
    assert_eq!(t.run("ZCARD b"), "0");
}

#[test]
fn combinations() {
    both(|t| {
        t.run("ZADD a 1 x 2 y 3 z");
        t.run("ZADD b 10 y 20 z 30 w");
        t.run("SADD s y w");
        assert_eq!(t.run("ZUNION 2 a b WITHSCORES"), r#"["x", "1", "y", "12", "z", "23", "w", "30"]"#);
        assert_eq!(t.run("ZINTER 3 a b s WITHSCORES"), r#"["y", "13"]"#);
        assert_eq!(t.run("ZINTERSTORE c 2 a b WEIGHTS 2 1 AGGREGATE MAX"), "2");
        assert_eq!(t.run("ZRANGE c 0 -1 WITHSCORES"), r#"["y", "10", "z", "20"]"#);
        assert_eq!(t.run("ZUNIONSTORE a 2 a s AGGREGATE MIN"), "4");
        assert_eq!(t.run("ZRANGE a 0 -1 WITHSCORES"), r#"["w", "1", "x", "1", "y", "1", "z", "3"]"#);
        assert_eq!(t.run("ZDIFF 2 a b WITHSCORES"), r#"["x", "1"]"#);
        assert_eq!(t.run("ZDIFFSTORE d 2 a none"), "4");
        assert_eq!(t.run("ZDIFFSTORE d 2 a a"), "0");
        assert_eq!(t.run("ZINTERCARD 2 a b"), "3");
        assert_eq!(t.run("ZINTERCARD 2 a b LIMIT 2"), "2");
        assert_eq!(t.run("ZUNION 0 a"), "(error) ERR at least 1 input key is needed for 'zunion' command");
        assert_eq!(t.run("ZUNION 3 a b"), "(error) ERR syntax error");
        assert_eq!(t.run("ZUNION 1 a WEIGHTS x"), "(error) ERR weight value is not a float");
        assert_eq!(t.run("ZDIFF 1 a WEIGHTS 1"), "(error) ERR syntax error");
        t.run("ZADD i inf x");
        t.run("ZADD j -inf x");
        assert_eq!(t.run("ZUNION 2 i j WITHSCORES"), r#"["x", "0"]"#);
        assert_eq!(t.run("ZUNION 1 i WEIGHTS 0 WITHSCORES"), r#"["x", "0"]"#);
    });
}

#[test]
fn random_members() {
    both(|t| {
        t.run("ZADD z 1 a 2 b 3 c");
        assert_eq!(t.run("ZRANDMEMBER z 0"), "[]");
        assert_eq!(t.run("ZRANDMEMBER none"), "nil");
        assert_eq!(t.run("ZRANDMEMBER none 4"), "[]");
        assert_eq!(t.run("ZRANDMEMBER z 9 WITHSCORES").matches(',').count(), 5);
        assert_eq!(t.run("ZRANDMEMBER z -9").matches(',').count(), 8);
        assert_eq!(t.run("ZRANDMEMBER z 2 x"), "(error) ERR syntax error");
    });
}

#[test]
fn scores_are_doubles_in_resp3() {
    let mut t = Local::new();
    t.session().resp3 = true;
    t.run("ZADD z 1 a 2.5 b");
    assert_eq!(t.run("ZRANGE z 0 -1 WITHSCORES"), r#"[["a", ,1], ["b", ,2.5]]"#);
    assert_eq!(t.run("ZSCORE z b"), ",2.5");
    assert_eq!(t.run("ZUNION 1 z WITHSCORES"), r#"[["a", ,1], ["b", ,2.5]]"#);
    assert_eq!(t.run("ZPOPMIN z"), r#"["a", ,1]"#);
    assert_eq!(t.run("ZPOPMAX z 1"), r#"[["b", ,2.5]]"#);
    assert_eq!(t.run("BZPOPMIN z 0.1"), "");
    t.run("SADD s a");
    assert_eq!(t.run("SMEMBERS s"), r#"~["a"]"#);
    assert_eq!(t.run("SRANDMEMBER s 1"), r#"["a"]"#);
    assert_eq!(t.run("SPOP s 1"), r#"~["a"]"#);
}

#[test]
fn a_large_sorted_set_is_read_and_trimmed() {
    let mut t = Local::new();
    for chunk in 0..10 {
        let mut words = vec!["ZADD".to_owned(), "z".to_owned()];
        for i in 0..1000 {
            words.extend([(chunk * 1000 + i).to_string(), format!("m{i}-{chunk}")]);
        }
        assert_eq!(t.run_args(&words), "1000");
    }
    assert_eq!(t.run("ZRANGE z 0 -1").matches("\"m").count(), 10_000);
    assert_eq!(t.run("ZUNIONSTORE y 2 z z"), "10000");
    assert_eq!(t.run("ZSCORE y m5-3"), r#""6010""#);
    assert_eq!(t.run("ZREMRANGEBYSCORE z 100 (9900"), "9800");
    assert_eq!(t.run("ZPOPMIN z 150").matches("\"m").count(), 150);
    assert_eq!(t.run("ZRANGE z 0 0 WITHSCORES"), r#"["m950-9", "9950"]"#);
}
