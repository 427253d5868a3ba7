//! The string family.
use crate::support::Local;

#[test]
fn a_value_is_read_back_as_it_was_set() {
    let mut t = Local::new();
    assert_eq!(t.run("SET k v"), "OK");
    assert_eq!(t.run("GET k"), r#""v""#);
    assert_eq!(t.run("INCR k"), "(error) ERR value is not an integer or out of range");
    assert_eq!(t.run("MSET a 1 b 2"), "OK");
    assert_eq!(t.run("INCR a"), "2");
    assert_eq!(t.run("MGET a b c"), r#"["2", "2", nil]"#);
}
