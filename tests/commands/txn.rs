//! MULTI, EXEC, WATCH.
use crate::support::Local;

#[test]
fn a_transaction_runs_whole_or_not_at_all() {
    let mut t = Local::new();
    assert_eq!(t.run("MULTI"), "OK");
    assert_eq!(t.run("SET k 1"), "QUEUED");
    assert_eq!(t.run("INCR k"), "QUEUED");
    assert_eq!(t.run("EXEC"), "[OK, 2]");
    assert_eq!(t.run("WATCH k"), "OK");
    t.another().run("SET k 9");
    t.run("MULTI");
    t.run("INCR k");
    assert_eq!(t.run("EXEC"), "nil-array");
    assert_eq!(t.run("GET k"), r#""9""#);
}
