//! The bitmap family.
use crate::support::Local;

const SYNTAX: &str = "(error) ERR syntax error";
const WRONG_TYPE: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
const BAD_OFFSET: &str = "(error) ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "(error) ERR bit is not an integer or out of range";
const BAD_WIDTH: &str = "(error) ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

fn check(t: &mut Local, script: &[(&str, &str)]) {
    for (line, want) in script {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

#[test]
fn single_bits() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("SETBIT k 1 1", "0"),
            ("GET k", r#""@""#),
            ("SETBIT k 2 1", "0"),
            ("SETBIT k 1 0", "1"),
            ("GET k", r#"" ""#),
            ("GETBIT k 2", "1"),
            ("GETBIT k 100", "0"),
            ("GETBIT none 100", "0"),
            ("SET n 1", "OK"),
            ("SETBIT n 6 1", "0"),
            ("GET n", r#""3""#),
            ("SETBIT k 4294967296 1", BAD_OFFSET),
            ("SETBIT k -1 1", BAD_OFFSET),
            ("SETBIT k x 1", BAD_OFFSET),
            ("SETBIT k #1 1", BAD_OFFSET),
            ("SETBIT k 0 2", BAD_BIT),
            ("SETBIT k 0 x", BAD_BIT),
            ("GETBIT k -1", BAD_OFFSET),
            ("HSET h f v", "1"),
            ("SETBIT h 0 1", WRONG_TYPE),
            ("GETBIT h 0", WRONG_TYPE),
            ("BITCOUNT h", WRONG_TYPE),
            ("BITPOS h 1", WRONG_TYPE),
            ("BITOP NOT d h", WRONG_TYPE),
            ("BITFIELD h GET u8 0", WRONG_TYPE),
            ("SETBIT far 100000 1", "0"),
            ("STRLEN far", "12501"),
            ("BITPOS far 1", "100000"),
        ],
    );
}

#[test]
fn counting() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("SET k foobar", "OK"),
            ("BITCOUNT k", "26"),
            ("BITCOUNT k 0 0", "4"),
            ("BITCOUNT k 1 1", "6"),
            ("BITCOUNT k 0 -1 BYTE", "26"),
            ("BITCOUNT k 5 30 BIT", "17"),
            ("BITCOUNT k -8 -1 bit", "4"),
            ("BITCOUNT k -1 -2", "0"),
            ("BITCOUNT k 10 20", "0"),
            ("BITCOUNT none", "0"),
            ("BITCOUNT none 0 -1", "0"),
            ("BITCOUNT none 0 a", "(error) ERR value is not an integer or out of range"),
            ("BITCOUNT none 0", SYNTAX),
            ("BITCOUNT k 0", SYNTAX),
            ("BITCOUNT k 0 1 HELLO", SYNTAX),
            ("BITCOUNT k 0 1 BIT x", SYNTAX),
        ],
    );
}

#[test]
fn positions() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("BITPOS none 0", "0"),
            ("BITPOS none 1", "-1"),
            ("BITPOS none 0 5 7", "0"),
            ("BITPOS none 2", "(error) ERR The bit argument must be 1 or 0."),
            ("BITPOS none 1 a", "(error) ERR value is not an integer or out of range"),
            ("BITPOS none 1 0 1 HELLO", SYNTAX),
            ("BITPOS none 1 0 1 BIT x", SYNTAX),
            ("SET e \"\"", "OK"),
            ("BITPOS e 0", "-1"),
            ("SET k \"\\xff\\xf0\\x00\"", "OK"),
            ("BITPOS k 0", "12"),
            ("BITPOS k 0 0 0", "-1"),
            ("BITPOS k 1 2", "-1"),
            ("BITPOS k 1 1 1", "8"),
            ("BITPOS k 1 7 8 BIT", "7"),
            ("BITPOS k 0 7 11 BIT", "-1"),
            ("BITPOS k 0 -3 -1 BIT", "21"),
            ("SET ones \"\\xff\\xff\\xff\"", "OK"),
            ("BITPOS ones 0", "24"),
            ("BITPOS ones 0 1", "24"),
            ("BITPOS ones 0 -1", "24"),
            ("BITPOS ones 0 0 -1", "-1"),
            ("BITPOS ones 0 5", "-1"),
        ],
    );
}

#[test]
fn combining() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("BITOP AND d none", "0"),
            ("SET d x", "OK"),
            ("BITOP OR d none other", "0"),
            ("GET d", "nil"),
            ("MSET a abc b abcdef", "OK"),
            ("BITOP AND d a b", "6"),
            ("GET d", r#""abc\0\0\0""#),
            ("BITOP OR d a b none", "6"),
            ("GET d", r#""abcdef""#),
            ("BITOP XOR d a b", "6"),
            ("GET d", r#""\0\0\0def""#),
            ("BITOP AND d a none", "3"),
            ("GET d", r#""\0\0\0""#),
            ("SET z \"\\x9e\"", "OK"),
            ("BITOP not d z", "1"),
            ("GET d", r#""a""#),
            ("SET n 12", "OK"),
            ("BITOP OR n n a", "3"),
            ("BITOP NOT d a b", "(error) ERR BITOP NOT must be called with a single source key."),
            ("BITOP NAND d a b", SYNTAX),
        ],
    );
    t.run_args(&["SET", "big", &"a".repeat(10_000)]);
    assert_eq!(t.run("BITOP XOR big big big"), "10000");
    assert_eq!(t.run("BITCOUNT big"), "0");
}

#[test]
fn fields() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("BITFIELD k", "[]"),
            ("BITFIELD none GET u8 0", "[0]"),
            ("BITFIELD k SET i8 0 -100 SET i8 0 101 GET i8 0", "[0, -100, 101]"),
            ("BITFIELD k INCRBY u8 0 10", "[111]"),
            ("BITFIELD k SET u8 #1 65 GET u8 8", "[0, 65]"),
            ("BITFIELD k INCRBY i8 0 100", "[-45]"),
            ("BITFIELD k OVERFLOW SAT INCRBY i8 0 -100", "[-128]"),
            ("BITFIELD k OVERFLOW FAIL INCRBY i8 0 -1 OVERFLOW WRAP INCRBY i8 0 -1", "[nil, 127]"),
            ("BITFIELD k SET u8 0 -1", "[127]"),
            ("BITFIELD k OVERFLOW FAIL SET u8 0 -1", "[nil]"),
            ("BITFIELD k OVERFLOW SAT SET u8 0 -1", "[255]"),
            ("BITFIELD k SET i64 100 -9223372036854775808 GET i64 100", "[0, -9223372036854775808]"),
            ("BITFIELD k GET u63 100", "[4611686018427387904]"),
            ("BITFIELD k GET u64 0", BAD_WIDTH),
            ("BITFIELD k GET i65 0", BAD_WIDTH),
            ("BITFIELD k GET i0 0", BAD_WIDTH),
            ("BITFIELD k GET x8 0", BAD_WIDTH),
            ("BITFIELD k GET u8", SYNTAX),
            ("BITFIELD k SET u8 0", SYNTAX),
            ("BITFIELD k OVERFLOW", SYNTAX),
            ("BITFIELD k OVERFLOW x", "(error) ERR Invalid OVERFLOW type specified"),
            ("BITFIELD k GET u8 -1", BAD_OFFSET),
            ("BITFIELD k GET u8 #9223372036854775807", BAD_OFFSET),
            ("BITFIELD k SET u8 0 x", "(error) ERR value is not an integer or out of range"),
            ("BITFIELD_RO k GET u8 #1", "[65]"),
            ("BITFIELD_RO k SET u8 0 1", "(error) ERR BITFIELD_RO only supports the GET subcommand"),
            ("SET n 1", "OK"),
            ("BITFIELD n GET u8 0", "[49]"),
            ("BITFIELD n INCRBY u8 0 1", "[50]"),
            ("GET n", r#""2""#),
        ],
    );
}
