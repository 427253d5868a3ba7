//! Times to live.
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::support::Local;

#[test]
fn a_ttl_is_set_read_and_taken_off() {
    let mut t = Local::new();
    assert_eq!(t.run("EXPIRE x 5"), "0");
    t.run("SET x v");
    assert_eq!(t.run("TTL x"), "-1");
    assert_eq!(t.run("EXPIRE x 5"), "1");
    assert_eq!((t.run("TTL x"), t.run("PTTL x")), ("5".into(), "5000".into()));
    assert_eq!(
        (t.run("EXPIRETIME x"), t.run("PEXPIRETIME x")),
        ("1700000005".into(), "1700000005000".into())
    );
    t.advance(Duration::from_millis(600));
    assert_eq!((t.run("TTL x"), t.run("PTTL x")), ("4".into(), "4400".into()));
    assert_eq!(
        (t.run("PERSIST x"), t.run("PERSIST x"), t.run("PERSIST no")),
        ("1".into(), "0".into(), "0".into())
    );
    assert_eq!(t.run("PEXPIREAT x 1700000001000"), "1");
    t.advance(Duration::from_millis(500));
    assert_eq!(
        (t.run("GET x"), t.run("TTL x"), t.run("PEXPIRETIME x")),
        ("nil".into(), "-2".into(), "-2".into())
    );
}

#[test]
fn a_time_in_the_past_deletes() {
    let mut t = Local::new();
    for command in
        ["EXPIRE k -10", "EXPIRE k 0", "EXPIREAT k 1", "PEXPIREAT k -9223372036854770000", "EXPIRE k -1 LT"]
    {
        t.run("SET k v");
        assert_eq!(t.run(command), "1");
        assert_eq!(t.run("EXISTS k"), "0", "{command}");
    }
}

#[test]
fn times_that_do_not_fit_are_refused() {
    let mut t = Local::new();
    t.run("SET k v");
    for (command, name) in [
        ("EXPIRE k 9223370399119966", "expire"),
        ("EXPIRE k 9223372036854776", "expire"),
        ("EXPIRE k -9999999999999999", "expire"),
        ("PEXPIRE k 9223372036854770000", "pexpire"),
        ("EXPIREAT k 9223372036854776", "expireat"),
    ] {
        assert_eq!(t.run(command), format!("(error) ERR invalid expire time in '{name}' command"));
    }
    assert_eq!(t.run("PEXPIREAT k 9223372036854770000"), "1");
    assert_eq!(t.run("PEXPIRETIME k"), "9223372036854770000");
    assert_eq!(t.run("EXPIRE k x"), "(error) ERR value is not an integer or out of range");
    assert_eq!(t.run_args(&["EXPIRE", "k", ""]), "(error) ERR value is not an integer or out of range");
}

#[test]
fn conditions_decide() {
    let mut t = Local::new();
    let mut check = |set: &str, command: &str, taken: &str, ttl: &str| {
        t.run(set);
        assert_eq!(t.run(command), taken, "{set}; {command}");
        assert_eq!(t.run("TTL k"), ttl, "{set}; {command}");
    };
    check("SET k v EX 100", "EXPIRE k 200 NX", "0", "100");
    check("SET k v", "EXPIRE k 200 NX", "1", "200");
    check("SET k v EX 100", "EXPIRE k 200 xx", "1", "200");
    check("SET k v", "EXPIRE k 200 XX", "0", "-1");
    check("SET k v EX 100", "EXPIRE k 200 GT", "1", "200");
    check("SET k v EX 200", "EXPIRE k 200 GT", "0", "200");
    check("SET k v", "EXPIRE k 200 GT", "0", "-1");
    check("SET k v EX 100", "EXPIRE k 200 LT", "0", "100");
    check("SET k v EX 200", "EXPIRE k 100 LT", "1", "100");
    check("SET k v", "EXPIRE k 100 LT", "1", "100");
    check("SET k v", "EXPIRE k 100 LT XX", "0", "-1");
    let both = "(error) ERR NX and XX, GT or LT options at the same time are not compatible";
    assert_eq!(t.run("EXPIRE k 200 NX XX"), both);
    assert_eq!(t.run("EXPIRE k 200 NX GT"), both);
    assert_eq!(
        t.run("EXPIRE k 9 LT GT"),
        "(error) ERR GT and LT options at the same time are not compatible"
    );
    assert_eq!(t.run("EXPIRE k x XX AB"), "(error) ERR Unsupported option AB");
    assert_eq!(t.run("EXPIRE none 100 LT"), "0");
}

#[test]
fn the_cycle_removes_every_due_key_in_every_database() {
    let mut t = Local::new();
    for i in 0..300 {
        t.session().db = i % 3;
        t.run(&format!("SET k{i} v PX {}", 100 + i));
        t.run(&format!("SET stays{i} v EX 1000"));
    }
    t.advance(Duration::from_millis(1000));
    for db in 0..3 {
        t.session().db = db;
        assert_eq!(t.run("DBSIZE"), "100");
    }
    let stats = &t.engine.env().stats;
    assert_eq!((stats.active_expired.load(Relaxed), stats.sum(|w| &w.expired)), (300, 300));
}
