//! The HyperLogLog family.
use crate::support::Local;

const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_ONE: &str = "(error) WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPT: &str = "(error) INVALIDOBJ Corrupted HLL object detected";

fn check(t: &mut Local, script: &[(&str, &str)]) {
    for (line, want) in script {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

fn bytes(t: &mut Local, key: &str) -> Vec<u8> {
    let reply = t.raw(&["GET", key]);
    let start = reply.iter().position(|&b| b == b'\n').expect("a bulk string") + 1;
    reply[start..reply.len() - 2].to_vec()
}

fn add_numbers(t: &mut Local, key: &str, range: std::ops::Range<u32>) {
    let mut args = vec!["PFADD".to_owned(), key.to_owned()];
    args.extend(range.map(|n| n.to_string()));
    t.run_args(&args);
}

#[test]
fn counting() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("PFADD h", "1"),
            ("PFADD h", "0"),
            ("PFCOUNT h", "0"),
            ("PFADD h a b c", "1"),
            ("PFADD h a b c", "0"),
            ("PFCOUNT h", "3"),
            ("GETRANGE h 8 15", r#""\u{3}\0\0\0\0\0\0\0""#),
            ("PFADD h a b c", "0"),
            ("GETRANGE h 15 15", r#""\0""#),
            ("PFADD h \"\"", "1"),
            ("PFCOUNT h", "4"),
            ("OBJECT ENCODING h", r#""raw""#),
            ("PFADD g c d", "1"),
            ("PFCOUNT h g none", "5"),
            ("PFCOUNT none", "0"),
            ("PFMERGE m h g none", "OK"),
            ("PFCOUNT m", "5"),
            ("PFDEBUG ENCODING m", "sparse"),
            ("PFDEBUG TODENSE m", "1"),
            ("PFDEBUG TODENSE m", "0"),
            ("PFDEBUG ENCODING m", "dense"),
            ("STRLEN m", "12304"),
            ("PFCOUNT m", "5"),
            ("PFMERGE h m", "OK"),
            ("PFDEBUG ENCODING h", "dense"),
            ("PFCOUNT h", "5"),
            ("PFMERGE fresh", "OK"),
            ("PFDEBUG DECODE fresh", r#""Z:16384""#),
            ("PFDEBUG DECODE h", "(error) ERR HLL encoding is not sparse"),
            ("PFDEBUG ENCODING none", "(error) ERR The specified key does not exist"),
            ("PFDEBUG NONSENSE h", "(error) ERR Unknown PFDEBUG subcommand 'NONSENSE'"),
        ],
    );
    let registers = t.run("PFDEBUG GETREG fresh");
    assert_eq!(registers.split(", ").count(), 16384);
}

#[test]
fn bytes_are_those_of_redis() {
    let mut t = Local::new();
    t.run("PFADD h a b c");
    // What redis-server 7.0 answers to GET after the same.
    let expected = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    assert_eq!(bytes(&mut t, "h")[..16], *expected);
    assert_eq!(t.run("PFDEBUG DECODE h"), r#""Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603""#);
}

#[test]
fn sparse_becomes_dense() {
    let mut t = Local::new();
    for n in 0..100 {
        add_numbers(&mut t, "h", n * 10..n * 10 + 10);
        add_numbers(&mut t, "all", n * 10..n * 10 + 10);
    }
    assert_eq!(t.run("PFDEBUG ENCODING h"), "sparse");
    t.run("PFDEBUG TODENSE all");
    assert_eq!(t.run("PFCOUNT h"), t.run("PFCOUNT all"));
    add_numbers(&mut t, "h", 1000..5000);
    add_numbers(&mut t, "all", 1000..5000);
    assert_eq!(t.run("PFDEBUG ENCODING h"), "dense");
    assert_eq!(t.run("PFCOUNT h"), t.run("PFCOUNT all"));
    assert_eq!(bytes(&mut t, "h"), bytes(&mut t, "all"));
    let n: f64 = t.run("PFCOUNT h").parse().expect("a number");
    assert!((4800.0..5200.0).contains(&n), "{n}");
    t.engine.env().limits.hll_sparse_max_bytes.set(20);
    check(&mut t, &[("PFADD small a", "1"), ("PFDEBUG ENCODING small", "dense"), ("PFCOUNT small", "1")]);
}

#[test]
fn a_value_in_a_reply_is_not_changed() {
    let mut t = Local::new();
    add_numbers(&mut t, "h", 0..5000);
    t.run("COPY h other");
    let before = bytes(&mut t, "other");
    add_numbers(&mut t, "h", 5000..6000);
    assert_eq!(bytes(&mut t, "other"), before);
    assert_ne!(bytes(&mut t, "h"), before);
}

#[test]
fn hostile_strings_get_an_error() {
    let mut t = Local::new();
    t.run("RPUSH l x");
    t.run("SET n 12");
    t.run("SET s 0123456789abcdefghij");
    t.run("PFADD good a");
    for key in ["l", "n", "s"] {
        let error = if key == "l" { WRONG_TYPE } else { NOT_ONE };
        for line in [
            "PFADD K x",
            "PFCOUNT K",
            "PFCOUNT good K",
            "PFMERGE good K",
            "PFMERGE K good",
            "PFDEBUG GETREG K",
        ] {
            assert_eq!(t.run(&line.replace('K', key)), error, "{line} {key}");
        }
    }
    let head = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    let long_zeros = [0x7f, 0xff].repeat(140_000);
    let many_zeros = [0x3f].repeat(1 << 20);
    let tails: [&[u8]; 8] =
        [b"", b"\x7f", b"\x7f\xff\x00", b"\x7f\xfe", &[0xff; 5000], &long_zeros, &many_zeros, &[0x80; 16385]];
    for tail in tails {
        let value = [&head[..], tail].concat();
        t.run_args(&[&b"SET"[..], b"bad", &value]);
        for line in [
            "PFCOUNT bad",
            "PFCOUNT bad good",
            "PFMERGE new bad",
            "PFMERGE bad good",
            "PFDEBUG GETREG bad",
            "PFDEBUG TODENSE bad",
        ] {
            assert_eq!(t.run(line), CORRUPT, "{line} {}", tail.len());
        }
        t.run("PFDEBUG DECODE bad");
        for n in 0..50 {
            let reply = t.run(&format!("PFADD bad {n}"));
            assert!(["0", "1", CORRUPT].contains(&reply.as_str()), "{reply}");
        }
    }
    assert_eq!((t.run("PFCOUNT good"), t.run("EXISTS new")), ("1".to_owned(), "0".to_owned()));
    // Registers that no hash leads to.
    let dense = [&b"HYLL\0\0\0\0\0\0\0\0\0\0\0\x80"[..], &[0xff; 12288]].concat();
    t.run_args(&[&b"SET"[..], b"full", &dense]);
    assert_eq!(t.run("PFCOUNT full"), "-9223372036854775808");
    assert_eq!(t.run("PFADD full a b c"), "0");
    t.run_args(&[&b"SET"[..], b"short", &dense[..12303]]);
    assert_eq!(t.run("PFCOUNT short"), NOT_ONE);
}

#[test]
fn a_count_is_a_change_when_it_is_stored() {
    let mut t = Local::new();
    let dirty = |t: &mut Local| {
        let info = t.run("INFO persistence");
        let at = info.find("rdb_changes_since_last_save:").map(|at| at + 28);
        at.map(|at| info[at..].chars().take_while(char::is_ascii_digit).collect::<String>())
    };
    t.run("PFADD h a b");
    let before = dirty(&mut t);
    t.run("PFCOUNT h");
    let after = dirty(&mut t);
    t.run("PFCOUNT h");
    assert_eq!(after, dirty(&mut t));
    if before.is_some() {
        assert_ne!(before, after);
    }
}

#[test]
fn self_test() {
    assert_eq!(Local::new().run("PFSELFTEST"), "OK");
}
