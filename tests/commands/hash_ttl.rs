//! TTLs of hash fields.
use std::time::Duration;

use tidewater::command::notify;
use tidewater::journal::{Patience, Reader};

use crate::support::Local;

const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_FIELDS: &str = "(error) ERR Mandatory argument FIELDS is missing or not at the right position";
const MISMATCH: &str = "(error) ERR The `numfields` parameter must match the number of arguments";
const NOT_POSITIVE: &str = "(error) ERR Number of fields must be a positive integer";
const NOT_INTEGER: &str = "(error) ERR value is not an integer or out of range";

fn check(t: &mut Local, script: &[(&str, &str)]) {
    for (line, want) in script {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

/// A server whose hashes are packed, and one whose hashes are tables.
fn both(test: impl Fn(&mut Local)) {
    test(&mut Local::new());
    let mut t = Local::new();
    t.engine.env().limits.hash_max_listpack_entries.set(0);
    test(&mut t);
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The clock of `Local` starts there.
const START: u64 = 1_700_000_000_000;

#[test]
fn ttls_are_set_and_read() {
    both(|t| {
        check(
            t,
            &[
                ("HSET h a 1 b 2 c 3", "3"),
                ("HEXPIRE h 10 FIELDS 3 a b x", "[1, 1, -2]"),
                ("HTTL h FIELDS 4 a b c x", "[10, 10, -1, -2]"),
                ("HPTTL h FIELDS 4 a b c x", "[10000, 10000, -1, -2]"),
                ("HEXPIRETIME h FIELDS 2 a c", "[1700000010, -1]"),
                ("HPEXPIRETIME h FIELDS 2 a c", "[1700000010000, -1]"),
                ("HPEXPIRE h 1500 FIELDS 1 a", "[1]"),
                ("HTTL h FIELDS 1 a", "[2]"),
                ("HEXPIRETIME h FIELDS 1 a", "[1700000002]"),
                ("HEXPIREAT h 1700000100 FIELDS 1 a", "[1]"),
                ("HPTTL h FIELDS 1 a", "[100000]"),
                ("HPEXPIREAT h 1700000100001 fields 2 a a", "[1, 1]"),
                ("HPTTL h FIELDS 1 a", "[100001]"),
                ("HPERSIST h FIELDS 3 a c x", "[1, -1, -2]"),
                ("HTTL h FIELDS 2 a b", "[-1, 10]"),
                ("HEXPIRE none 10 FIELDS 2 a b", "[-2, -2]"),
                ("HTTL none FIELDS 2 a b", "[-2, -2]"),
                ("HPEXPIRETIME none FIELDS 1 a", "[-2]"),
                ("HPERSIST none FIELDS 1 a", "[-2]"),
                ("EXISTS none", "0"),
                ("TTL h", "-1"),
                ("HLEN h", "3"),
            ],
        );
    });
}

#[test]
fn conditions() {
    both(|t| {
        check(
            t,
            &[
                ("HSET h a 1 b 2", "2"),
                ("HEXPIRE h 10 XX FIELDS 1 a", "[0]"),
                ("HEXPIRE h 10 GT FIELDS 1 a", "[0]"),
                ("HEXPIRE h 10 NX FIELDS 1 a", "[1]"),
                ("HEXPIRE h 11 nx FIELDS 2 a b", "[0, 1]"),
                ("HEXPIRE h 10 GT FIELDS 2 a b", "[0, 0]"),
                ("HEXPIRE h 12 GT FIELDS 2 a b", "[1, 1]"),
                ("HEXPIRE h 12 LT FIELDS 2 a b", "[0, 0]"),
                ("HEXPIRE h 9 lt FIELDS 2 a x", "[1, -2]"),
                ("HEXPIRE h 20 xx FIELDS 2 a b", "[1, 1]"),
                ("HTTL h FIELDS 2 a b", "[20, 20]"),
                ("HPERSIST h FIELDS 1 a", "[1]"),
                ("HEXPIRE h 5 LT FIELDS 1 a", "[1]"),
                ("HEXPIRE h 0 GT FIELDS 1 a", "[0]"),
                ("HEXPIRE h 0 LT FIELDS 1 a", "[2]"),
                ("HGETALL h", r#"["b", "2"]"#),
            ],
        );
    });
}

#[test]
fn errors() {
    let mut t = Local::new();
    t.run("SET s x");
    t.run("HSET h a 1");
    for name in ["HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT"] {
        let low = name.to_lowercase();
        let too_far = format!("(error) ERR invalid expire time in '{low}' command");
        let arity = format!("(error) ERR wrong number of arguments for '{low}' command");
        for (rest, want) in [
            ("s 1 FIELDS 1 a", WRONG_TYPE),
            ("s x y z 1 a", WRONG_TYPE),
            ("h x FIELDS 1 a", NOT_INTEGER),
            ("h -1 FIELDS 1 a", "(error) ERR invalid expire time, must be >= 0"),
            ("h 9223372036854775807 FIELDS 1 a", &too_far),
            ("h 70368744177664 FIELDS 1 a", &too_far),
            ("h 1 XX 1 a b", NO_FIELDS),
            ("h 1 1 FIELDS a", NO_FIELDS),
            ("h 1 NX GT FIELDS 1 a", NO_FIELDS),
            ("h 1 FIELDS 0 a", "(error) ERR Parameter `numFields` should be greater than 0"),
            ("h 1 FIELDS x a", "(error) ERR Parameter `numFields` should be greater than 0"),
            ("h 1 FIELDS 2 a", MISMATCH),
            ("h 1 FIELDS 1 a b", MISMATCH),
            ("h 1 NX FIELDS 1", MISMATCH),
            ("none 1 FIELDS 2 a", MISMATCH),
            ("h 1 FIELDS 1", &arity),
        ] {
            assert_eq!(t.run(&format!("{name} {rest}")), want, "{name} {rest}");
        }
    }
    for name in ["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST", "HGETDEL"] {
        let arity = format!("(error) ERR wrong number of arguments for '{}' command", name.to_lowercase());
        for (rest, want) in [
            ("s FIELDS 1 a", WRONG_TYPE),
            ("s x 1 a", WRONG_TYPE),
            ("h x 1 a", NO_FIELDS),
            ("h FIELDS 0 a", NOT_POSITIVE),
            ("h FIELDS -1 a", NOT_POSITIVE),
            ("h FIELDS x a", NOT_POSITIVE),
            ("h FIELDS 2 a", MISMATCH),
            ("h FIELDS 1 a b", MISMATCH),
            ("h FIELDS 1", &arity),
        ] {
            assert_eq!(t.run(&format!("{name} {rest}")), want, "{name} {rest}");
        }
    }
    for (rest, want) in [
        ("s FIELDS 1 a", WRONG_TYPE),
        ("h KEEPTTL FIELDS 1 a", NO_FIELDS),
        ("h EX 1 PX 1 FIELDS 1 a", NO_FIELDS),
        ("h EX x FIELDS 1 a", NOT_INTEGER),
        ("h EX -1 FIELDS 1 a", "(error) ERR invalid expire time, must be >= 0"),
        ("h PXAT 70368744177664 FIELDS 1 a", "(error) ERR invalid expire time in 'hgetex' command"),
        ("h PERSIST FIELDS 0 a", NOT_POSITIVE),
        ("h PERSIST FIELDS 2 a", MISMATCH),
        ("h EX 10 FIELDS", NOT_POSITIVE),
        ("h FIELDS 1", "(error) ERR wrong number of arguments for 'hgetex' command"),
    ] {
        assert_eq!(t.run(&format!("HGETEX {rest}")), want, "{rest}");
    }
    let arity = "(error) ERR wrong number of arguments for 'hsetex' command";
    let one = "(error) ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
    for (rest, want) in [
        ("s FIELDS 1 a 1", WRONG_TYPE),
        ("s EX x FIELDS 1 a 1", NOT_INTEGER),
        ("h FIELDS 1 a", arity),
        ("h EX 1 FIELDS 1 a", arity),
        ("h FIELDS 2 a 1", arity),
        ("h FIELDS 1 a 1 b", arity),
        ("h FIELDS x a 1", "(error) ERR invalid number of fields"),
        ("h FIELDS 0 a 1", "(error) ERR invalid number of fields"),
        ("h FIELDS 2147483648 a 1", "(error) ERR invalid number of fields"),
        ("h EX 1 KEEPTTL FIELDS 1 a 1", one),
        ("h KEEPTTL PX 1 FIELDS 1 a 1", one),
        ("h FXX FNX FIELDS 1 a 1", "(error) ERR Only one of FXX or FNX arguments can be specified"),
        ("h FNX FNX FIELDS 1 a 1", "(error) ERR Only one of FXX or FNX arguments can be specified"),
        ("h NX FIELDS 1 a 1", "(error) ERR unknown argument: NX"),
        ("h FXX FNY KEEPTTL EX", "(error) ERR unknown argument: FNY"),
        ("h FXX FIELD KEEPTTL EX", "(error) ERR unknown argument: FIELD"),
        ("h EX -1 FIELDS 1 a 1", "(error) ERR invalid expire time, must be >= 0"),
        ("h EX 70368744177 FIELDS 1 a 1", "(error) ERR invalid expire time in 'hsetex' command"),
    ] {
        assert_eq!(t.run(&format!("HSETEX {rest}")), want, "{rest}");
    }
    assert_eq!(t.run("HGETALL h"), r#"["a", "1"]"#);
    assert_eq!(t.run("HTTL h FIELDS 1 a"), "[-1]");
}

#[test]
fn a_time_in_the_past_removes_at_once() {
    both(|t| {
        let mut reader = watch(t);
        check(
            t,
            &[
                ("HSET h a 1 b 2 c 3", "3"),
                ("HEXPIREAT h 0 FIELDS 2 a x", "[2, -2]"),
                ("HPEXPIREAT h 1699999999999 FIELDS 1 b", "[2]"),
                ("HLEN h", "1"),
                ("HPEXPIRE h 0 FIELDS 1 c", "[2]"),
                ("EXISTS h", "0"),
                ("HSET h a 1", "1"),
                ("HGETEX h PXAT 1 FIELDS 2 a b", r#"["1", nil]"#),
                ("EXISTS h", "0"),
                ("HSET h a 1 b 2", "2"),
                ("HSETEX h EXAT 1 FIELDS 1 a 2", "1"),
                ("HGETALL h", r#"["b", "2"]"#),
                ("HSETEX h EXAT 1 FIELDS 1 b 2", "1"),
                ("EXISTS h", "0"),
                ("HSETEX h EXAT 1 FIELDS 1 b 2", "1"),
                ("EXISTS h", "0"),
            ],
        );
        assert_eq!(
            journal(&mut reader),
            [
                "HSET h a 1 b 2 c 3",
                "HDEL h a",
                "HDEL h b",
                "HDEL h c",
                "HSET h a 1",
                "HDEL h a",
                "HSET h a 1 b 2",
                "HDEL h a",
                "HDEL h b",
                "HDEL h b"
            ]
        );
    });
}

#[test]
fn due_fields_are_gone_for_everyone() {
    for paused in [false, true] {
        both(|t| {
            t.run("HSET h a 1 b 2 c 3 d 4");
            t.run("HPEXPIRE h 100 FIELDS 2 a b");
            t.run("HPEXPIRE h 200 FIELDS 1 c");
            if paused {
                t.another().run("CLIENT PAUSE 100000 WRITE");
            }
            t.clock.advance(ms(99));
            assert_eq!(t.run("HLEN h"), "4");
            t.clock.advance(ms(1));
            check(
                t,
                &[
                    ("HLEN h", "2"),
                    ("HGET h a", "nil"),
                    ("HMGET h a b c d", r#"[nil, nil, "3", "4"]"#),
                    ("HEXISTS h a", "0"),
                    ("HSTRLEN h b", "0"),
                    ("HTTL h FIELDS 4 a b c d", "[-2, -2, 1, -1]"),
                    ("HPEXPIRETIME h FIELDS 1 a", "[-2]"),
                ],
            );
            let sorted = |line: &str, t: &mut Local| {
                let reply = t.run(line);
                let mut all: Vec<_> = reply.trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
                all.sort();
                all.join(" ")
            };
            assert_eq!(sorted("HGETALL h", t), r#""3" "4" "c" "d""#);
            assert_eq!(sorted("HKEYS h", t), r#""c" "d""#);
            assert_eq!(sorted("HVALS h", t), r#""3" "4""#);
            assert_eq!(sorted("HRANDFIELD h 10", t), r#""c" "d""#);
            assert!(t.run("HSCAN h 0").starts_with(r#"["0", ["#) && !t.run("HSCAN h 0").contains(r#""a""#));
            for _ in 0..20 {
                assert!([r#""c""#, r#""d""#].contains(&&*t.run("HRANDFIELD h")));
                assert!(!t.run("HRANDFIELD h -5").contains(r#""a""#));
            }
            t.clock.advance(ms(1000));
            assert_eq!(t.run("HGETALL h"), r#"["d", "4"]"#);
        });
    }
}

#[test]
fn sort_does_not_get_what_is_due() {
    let mut t = Local::new();
    t.run("RPUSH l 1 2");
    t.run("HSET h1 f x");
    t.run("HSET h2 f y");
    t.run("HPEXPIRE h1 10 FIELDS 1 f");
    assert_eq!(t.run("SORT l GET h*->f"), r#"["x", "y"]"#);
    t.clock.advance(ms(10));
    assert_eq!(t.run("SORT l GET h*->f"), r#"[nil, "y"]"#);
}

#[test]
fn the_last_field_takes_the_key_along() {
    both(|t| {
        t.run("HSET h a 1");
        t.run("HPEXPIRE h 10 FIELDS 1 a");
        t.clock.advance(ms(10));
        check(
            t,
            &[
                ("EXISTS h", "0"),
                ("HLEN h", "0"),
                ("DBSIZE", "0"),
                ("HSET h b 1", "1"),
                ("HGETALL h", r#"["b", "1"]"#),
            ],
        );
    });
}

#[test]
fn writers_find_no_due_fields() {
    both(|t| {
        t.run("HSET h keep 0 a 1 b 2 c 3 d 4");
        t.run("HPEXPIRE h 10 FIELDS 4 a b c d");
        t.clock.advance(ms(10));
        check(
            t,
            &[
                ("HSET h a 9", "1"),
                ("HDEL h b", "0"),
                ("HINCRBY h c 1", "1"),
                ("HINCRBYFLOAT h d 1.5", r#""1.5""#),
                ("HTTL h FIELDS 4 a b c d", "[-1, -2, -1, -1]"),
                ("HPEXPIRE h 10 FIELDS 1 a", "[1]"),
            ],
        );
        t.clock.advance(ms(10));
        check(
            t,
            &[
                ("HSETNX h a 1", "1"),
                ("HPEXPIRE h 10 FIELDS 1 a", "[1]"),
                ("HGETDEL h FIELDS 1 b", "[nil]"),
                ("HPERSIST h FIELDS 1 a", "[1]"),
            ],
        );
    });
}

#[test]
fn who_clears_a_ttl_and_who_keeps_it() {
    both(|t| {
        t.run("HSET h a 1 b 2 c 3 d 4 e 5");
        t.run("HEXPIRE h 100 FIELDS 5 a b c d e");
        check(
            t,
            &[
                ("HSET h a 1", "0"),
                ("HMSET h b 2", "OK"),
                ("HINCRBY h c 1", "4"),
                ("HINCRBYFLOAT h d 0.5", r#""4.5""#),
                ("HSETNX h e 1", "0"),
                ("HTTL h FIELDS 5 a b c d e", "[-1, -1, 100, 100, 100]"),
                ("HDEL h c", "1"),
                ("HSET h c 1", "1"),
                ("HTTL h FIELDS 1 c", "[-1]"),
                ("COPY h copy", "1"),
                ("RENAME h moved", "OK"),
                ("MOVE moved 1", "1"),
                ("HTTL copy FIELDS 2 d e", "[100, 100]"),
                ("HPERSIST copy FIELDS 1 d", "[1]"),
                ("SELECT 1", "OK"),
                ("HTTL moved FIELDS 3 a d e", "[-1, 100, 100]"),
                ("PERSIST moved", "0"),
                ("EXPIRE moved 50", "1"),
                ("HTTL moved FIELDS 1 e", "[100]"),
            ],
        );
        t.advance(ms(100_000));
        assert_eq!(t.run("DBSIZE"), "0");
        t.run("SELECT 0");
        assert_eq!(t.run("HEXISTS copy e"), "0");
        assert_eq!(t.run("HLEN copy"), "4");
        t.run("HEXPIRE copy 1 FIELDS 1 a");
        t.run("SET copy string");
        t.advance(ms(10_000));
        assert_eq!(t.run("GET copy"), r#""string""#);
    });
}

#[test]
fn the_cron_removes_what_is_due_in_its_order() {
    both(|t| {
        let mut reader = watch(t);
        let mut listener = t.another();
        t.engine.env().limits.notify_flags.set(notify::KEYSPACE | notify::HASH | notify::GENERIC);
        listener.run("PSUBSCRIBE *");
        listener.mail();
        t.run("HSET h a 1 b 2 c 3");
        t.run("HSET other x 1");
        t.run("HPEXPIRE h 100 FIELDS 1 a");
        t.run("HPEXPIRE h 50 FIELDS 1 b");
        t.run("HPEXPIRE other 70 FIELDS 1 x");
        assert!(listener.mail().contains("hexpire"));
        journal(&mut reader);
        t.advance(ms(49));
        assert_eq!(listener.mail(), "");
        t.advance(ms(1));
        assert_eq!(
            listener.mail(),
            r#">["pmessage", "*", "__keyspace@0__:h", "hexpired"]"#.trim_start_matches('>')
        );
        t.advance(ms(50));
        let mail = listener.mail();
        assert!(
            mail.contains(
                r#""__keyspace@0__:other", "hexpired"] | ["pmessage", "*", "__keyspace@0__:other", "del"]"#
            ),
            "{mail}"
        );
        assert!(mail.contains(r#""__keyspace@0__:h", "hexpired"]"#), "{mail}");
        let mut said = journal(&mut reader);
        said.sort();
        assert_eq!(said, ["DEL other", "HDEL h a", "HDEL h b"]);
        assert_eq!(t.run("HGETALL h"), r#"["c", "3"]"#);
    });
}

#[test]
fn events() {
    let mut t = Local::new();
    let mut listener = t.another();
    t.engine.env().limits.notify_flags.set(notify::KEYSPACE | notify::HASH | notify::GENERIC);
    listener.run("PSUBSCRIBE *");
    listener.mail();
    let mut said = |t: &mut Local, line: &str| {
        t.run(line);
        let mail = listener.mail();
        let events =
            mail.split(" | ").filter_map(|m| m.rsplit_once(", \"")).map(|(_, e)| e.trim_matches(['"', ']']));
        events.collect::<Vec<_>>().join(" ")
    };
    for (line, want) in [
        ("HSETEX h EX 10 FIELDS 2 a 1 b 2", "hset hexpire"),
        ("HSETEX h KEEPTTL FIELDS 1 a 1", "hset"),
        ("HSETEX h FNX FIELDS 1 a 1", ""),
        ("HEXPIRE h 10 FIELDS 1 a", "hexpire"),
        ("HEXPIRE h 10 FIELDS 1 x", ""),
        ("HEXPIRE h 10 NX FIELDS 1 a", ""),
        ("HPERSIST h FIELDS 1 a", "hpersist"),
        ("HPERSIST h FIELDS 1 a", ""),
        ("HGETEX h FIELDS 1 a", ""),
        ("HGETEX h EX 5 FIELDS 1 a", "hexpire"),
        ("HGETEX h PERSIST FIELDS 1 a", "hpersist"),
        ("HGETEX h PERSIST FIELDS 1 a", ""),
        ("HEXPIRE h 0 FIELDS 1 a", "hdel"),
        ("HGETDEL h FIELDS 1 x", ""),
        ("HGETDEL h FIELDS 1 b", "hdel del"),
        ("HSETEX h EXAT 1 FIELDS 1 b 1", "hset hdel del"),
        ("HTTL h FIELDS 1 a", ""),
    ] {
        assert_eq!(said(&mut t, line), want, "{line}");
    }
}

#[test]
fn values_are_got_and_removed() {
    both(|t| {
        check(
            t,
            &[
                ("HGETDEL none FIELDS 2 a b", "[nil, nil]"),
                ("HSET h a 1 b 2 c 3", "3"),
                ("HGETDEL h FIELDS 3 a x a", r#"["1", nil, nil]"#),
                ("HLEN h", "2"),
                ("HGETDEL h FIELDS 2 b c", r#"["2", "3"]"#),
                ("EXISTS h", "0"),
                ("HGETEX none EX 10 FIELDS 1 a", "[nil]"),
                ("HSET h a 1 b 2", "2"),
                ("HGETEX h EX 10 FIELDS 2 a x", r#"["1", nil]"#),
                ("HGETEX h PX 20000 FIELDS 1 b", r#"["2"]"#),
                ("HPTTL h FIELDS 2 a b", "[10000, 20000]"),
                ("HGETEX h FIELDS 1 a", r#"["1"]"#),
                ("HGETEX h EXAT 1700000030 FIELDS 1 a", r#"["1"]"#),
                ("HGETEX h PXAT 1700000040000 FIELDS 1 b", r#"["2"]"#),
                ("HPTTL h FIELDS 2 a b", "[30000, 40000]"),
                ("HGETEX h PERSIST FIELDS 2 a b", r#"["1", "2"]"#),
                ("HPTTL h FIELDS 2 a b", "[-1, -1]"),
            ],
        );
    });
}

#[test]
fn fields_are_set_with_ttls() {
    both(|t| {
        check(
            t,
            &[
                ("HSETEX h FXX FIELDS 1 a 1", "0"),
                ("EXISTS h", "0"),
                ("HSETEX h FNX EX 10 FIELDS 2 a 1 b 2", "1"),
                ("HTTL h FIELDS 2 a b", "[10, 10]"),
                ("HSETEX h FNX FIELDS 2 c 1 b 3", "0"),
                ("HSETEX h FXX FIELDS 2 c 1 b 3", "0"),
                ("HSETEX h FXX KEEPTTL FIELDS 2 a 5 b 6", "1"),
                ("HTTL h FIELDS 2 a b", "[10, 10]"),
                ("HSETEX h FIELDS 1 a 7", "1"),
                ("HTTL h FIELDS 2 a b", "[-1, 10]"),
                ("HSETEX h PX 5000 FIELDS 1 a 8", "1"),
                ("HSETEX h FIELDS 1 b 8 px 9", "(error) ERR wrong number of arguments for 'hsetex' command"),
                ("HSETEX h EXAT 1700000030 FIELDS 1 b 9", "1"),
                ("HPTTL h FIELDS 2 a b", "[5000, 30000]"),
                ("HSETEX h PXAT 1700000031000 FIELDS 3 b 9 b 10 c 11", "1"),
                ("HPTTL h FIELDS 2 b c", "[31000, 31000]"),
                ("HMGET h a b c", r#"["8", "10", "11"]"#),
            ],
        );
    });
}

#[test]
fn encodings() {
    let mut t = Local::new();
    t.engine.env().limits.hash_max_listpack_entries.set(4);
    check(
        &mut t,
        &[
            ("HSET h a 1", "1"),
            ("OBJECT ENCODING h", r#""listpack""#),
            ("HTTL h FIELDS 1 a", "[-1]"),
            ("OBJECT ENCODING h", r#""listpack""#),
            ("HEXPIRE h 10 FIELDS 1 a", "[1]"),
            ("OBJECT ENCODING h", r#""listpackex""#),
            ("HPERSIST h FIELDS 1 a", "[1]"),
            ("OBJECT ENCODING h", r#""listpackex""#),
            ("HSET h b 1 c 1 d 1", "3"),
            ("OBJECT ENCODING h", r#""listpackex""#),
            ("HSET h e 1", "1"),
            ("OBJECT ENCODING h", r#""hashtable""#),
        ],
    );
}

#[test]
fn info_and_dumps_know_of_them() {
    both(|t| {
        t.run("HSET h a 1 b 2");
        let keyspace = |t: &mut Local| t.run("INFO keyspace").replace("\\r\\n", "\n");
        assert!(keyspace(t).contains("db0:keys=1,expires=0,avg_ttl=0\n"), "{}", keyspace(t));
        let plain: usize = t.run("MEMORY USAGE h").parse().unwrap();
        let digest = t.run("DEBUG DIGEST-VALUE h");
        t.run("HEXPIRE h 10 FIELDS 1 a");
        assert!(keyspace(t).contains("db0:keys=1,expires=0,avg_ttl=0,subexpiry=1\n"), "{}", keyspace(t));
        assert!(t.run("MEMORY USAGE h").parse::<usize>().unwrap() > plain);
        assert_ne!(t.run("DEBUG DIGEST-VALUE h"), digest);
        // As it came from DUMP; the reply's text would lose bytes.
        let raw = t.raw(&["DUMP", "h"]);
        let start = raw.iter().position(|b| *b == b'\n').expect("a head") + 1;
        let payload = &raw[start..raw.len() - 2];
        assert_eq!(t.run_args(&[b"RESTORE".as_slice(), b"again", b"0", payload]), "OK");
        assert_eq!(t.run("HPEXPIRETIME again FIELDS 2 a b"), "[1700000010000, -1]");
        assert_eq!(t.run("OBJECT ENCODING again"), t.run("OBJECT ENCODING h"));
        t.advance(ms(10_000));
        assert_eq!(t.run("HGETALL again"), r#"["b", "2"]"#);
        t.run("HSETEX h EX 10 FIELDS 1 a 1");
        t.run("SWAPDB 0 1");
        t.run("HSETEX h EX 20 FIELDS 1 a 1");
        t.advance(ms(10_000));
        t.run("SELECT 1");
        assert_eq!(t.run("HKEYS h"), r#"["b"]"#);
        t.run("FLUSHALL");
        t.advance(ms(10_000));
        t.run("SELECT 0");
    });
}

#[test]
fn effects_are_absolute() {
    both(|t| {
        let mut reader = watch(t);
        for line in [
            "HSET h a 1 b 2 c 3",
            "HEXPIRE h 10 FIELDS 2 a x",
            "HPEXPIRE h 10000 NX FIELDS 2 a b",
            "HEXPIREAT h 1700000020 XX FIELDS 3 a b c",
            "HPERSIST h FIELDS 1 a",
            "HGETEX h EX 30 FIELDS 2 a x",
            "HGETEX h PERSIST FIELDS 2 a c",
            "HGETEX h FIELDS 1 a",
            "HSETEX h FNX EX 5 FIELDS 1 d 4",
            "HSETEX h KEEPTTL FIELDS 1 d 5",
            "HINCRBYFLOAT h d 1.5",
            "HINCRBYFLOAT h a 1.5",
            "HGETDEL h FIELDS 2 a x",
        ] {
            let reply = t.run(line);
            assert!(!reply.starts_with("(error)"), "{line}: {reply}");
        }
        assert_eq!(
            journal(&mut reader),
            [
                "HSET h a 1 b 2 c 3",
                "HPEXPIREAT h 1700000010000 FIELDS 1 a",
                "HPEXPIREAT h 1700000010000 FIELDS 1 b",
                "HPEXPIREAT h 1700000020000 FIELDS 2 a b",
                "HPERSIST h FIELDS 1 a",
                "HPEXPIREAT h 1700000030000 FIELDS 1 a",
                "HPERSIST h FIELDS 1 a",
                "HSETEX h PXAT 1700000005000 FIELDS 1 d 4",
                "HSETEX h KEEPTTL FIELDS 1 d 5",
                "HSETEX h KEEPTTL FIELDS 1 d 6.5",
                "HSET h a 2.5",
                "HDEL h a",
            ]
        );
    });
}

/// Random commands on a few hashes against a map; then the journal replayed elsewhere gives the same.
#[test]
fn a_model_of_fields_and_ttls() {
    use std::collections::BTreeMap;
    use tidewater::base::rng::Rng;

    type Fields = BTreeMap<u64, (i64, Option<u64>)>;
    let mut t = Local::new();
    t.engine.env().limits.hash_max_listpack_entries.set(8);
    let mut reader = watch(&mut t);
    let mut rng = Rng::from_seed(11);
    let mut model: [Fields; 4] = Default::default();
    for step in 0..4000 {
        let (key, field) = (rng.below(4) as usize, rng.below(14));
        let now = t.clock.now_ms();
        let hash = &mut model[key];
        hash.retain(|_, (_, at)| at.is_none_or(|at| at > now));
        let after = rng.below(300);
        let found = hash.get(&field).copied();
        let (line, want) = match rng.below(12) {
            0 | 1 => {
                let created = hash.insert(field, (step, None)).is_none();
                (format!("HSET h{key} {field} {step}"), i64::from(created).to_string())
            }
            2 | 3 => {
                let code = match found {
                    None => -2,
                    Some(_) if after == 0 => {
                        hash.remove(&field);
                        2
                    }
                    Some((value, _)) => {
                        hash.insert(field, (value, Some(now + after)));
                        1
                    }
                };
                (format!("HPEXPIRE h{key} {after} FIELDS 1 {field}"), format!("[{code}]"))
            }
            4 => {
                let code = match found {
                    None => -2,
                    Some((_, None)) => -1,
                    Some((_, Some(at))) => (at - now) as i64,
                };
                (format!("HPTTL h{key} FIELDS 1 {field}"), format!("[{code}]"))
            }
            5 => {
                let code = match found {
                    None => -2,
                    Some((_, None)) => -1,
                    Some((value, Some(_))) => {
                        hash.insert(field, (value, None));
                        1
                    }
                };
                (format!("HPERSIST h{key} FIELDS 1 {field}"), format!("[{code}]"))
            }
            6 => {
                let (value, at) = found.unwrap_or((0, None));
                hash.insert(field, (value + 7, at));
                (format!("HINCRBY h{key} {field} 7"), (value + 7).to_string())
            }
            7 => {
                hash.remove(&field);
                let value = found.map_or("nil".into(), |(value, _)| format!("\"{value}\""));
                (format!("HGETDEL h{key} FIELDS 1 {field}"), format!("[{value}]"))
            }
            8 => {
                hash.insert(field, (step, Some(now + after + 1)));
                (format!("HSETEX h{key} PX {} FIELDS 1 {field} {step}", after + 1), "1".into())
            }
            9 => {
                let copy = hash.clone();
                let (to, done) = ((key + 1) % 4, i64::from(!copy.is_empty()));
                if done == 1 {
                    model[to] = copy;
                }
                (format!("COPY h{key} h{to} REPLACE"), done.to_string())
            }
            10 => {
                let n = hash.len();
                (format!("HLEN h{key}"), n.to_string())
            }
            _ => {
                let exists = i64::from(!hash.is_empty());
                (format!("EXISTS h{key}"), exists.to_string())
            }
        };
        assert_eq!(t.run(&line), want, "{line} (step {step})");
        match rng.below(20) {
            0 => t.clock.advance(ms(rng.below(100))),
            1 => t.advance(ms(rng.below(100))),
            _ => {}
        }
    }
    t.advance(ms(0));
    let digest = t.run("DEBUG DIGEST");
    let second = Local::new();
    second.clock.advance(Duration::from_secs(1_000_000));
    let mut loader = second.loader();
    for line in journal(&mut reader) {
        let reply = loader.run(&line);
        assert!(!reply.starts_with("(error)"), "{line}: {reply}");
    }
    assert_eq!(loader.run("DEBUG DIGEST"), digest);
}

#[test]
fn many_due_fields_do_not_stop_a_command() {
    let mut t = Local::new();
    for chunk in 0..50 {
        let fields: Vec<String> = (0..100).map(|i| format!("f{} v", chunk * 100 + i)).collect();
        t.run(&format!("HSETEX h PX 1000 FIELDS 100 {}", fields.join(" ")));
    }
    t.run("HSET h stays 1");
    let memory: usize = t.run("MEMORY USAGE h").parse().unwrap();
    t.clock.advance(ms(1000));
    assert_eq!(t.run("HSET h x 1"), "1");
    assert_eq!(t.run("HLEN h"), "2");
    assert!(t.run("MEMORY USAGE h").parse::<usize>().unwrap() < memory / 20);
    // A reader of many fields, who gives the lock back, has told before what expired under its eyes.
    let mut reader = t.engine.env().journal.subscribe();
    for i in 0..3000 {
        t.run(&format!("HSET h stays{i} 1"));
    }
    t.run("HSETEX h PX 1 FIELDS 1 short 1");
    journal(&mut reader);
    t.clock.advance(ms(1));
    assert_eq!(t.run("HKEYS h").split(',').count(), 3002);
    assert_eq!(journal(&mut reader), ["HDEL h short"]);
}

fn watch(t: &mut Local) -> Reader {
    assert_eq!(t.clock.now_ms(), START);
    t.engine.env().journal.subscribe()
}

/// The effects since the last time, a line each, without SELECT, MULTI and EXEC.
fn journal(reader: &mut Reader) -> Vec<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next(Patience::NONE) {
        bytes.extend_from_slice(&chunk.bytes);
    }
    let text = String::from_utf8(bytes).expect("the tests write text only");
    let mut lines = Vec::new();
    let mut rest = text.split("\r\n").filter(|part| !part.starts_with('$') && !part.is_empty()).peekable();
    while let Some(head) = rest.next() {
        let n = head.strip_prefix('*').and_then(|n| n.parse().ok()).expect("an array");
        lines.push(rest.by_ref().take(n).collect::<Vec<_>>().join(" "));
    }
    lines.retain(|line| !line.starts_with("SELECT") && line != "MULTI" && line != "EXEC");
    lines
}
