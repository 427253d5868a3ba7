//! Publish and subscribe, keyspace notifications.
use crate::support::Local;

#[test]
fn messages_reach_channels_and_patterns() {
    let mut t = Local::new();
    let (mut a, mut b) = (t.another(), t.another());
    assert_eq!(
        a.run("SUBSCRIBE x y x"),
        r#"["subscribe", "x", 1] | ["subscribe", "y", 2] | ["subscribe", "x", 2]"#
    );
    assert_eq!(b.run("PSUBSCRIBE x* ?"), r#"["psubscribe", "x*", 1] | ["psubscribe", "?", 2]"#);
    assert_eq!(t.run("PUBLISH x hi"), "3");
    assert_eq!(a.mail(), r#"["message", "x", "hi"]"#);
    assert_eq!(b.mail(), r#"["pmessage", "?", "x", "hi"] | ["pmessage", "x*", "x", "hi"]"#);
    assert_eq!(t.run("PUBSUB CHANNELS"), r#"["x", "y"]"#.replace("x\", \"y", &order(&mut t)));
    assert_eq!(t.run("PUBSUB CHANNELS y*"), r#"["y"]"#);
    assert_eq!(t.run("PUBSUB NUMSUB x z"), r#"["x", 1, "z", 0]"#);
    assert_eq!(t.run("PUBSUB NUMPAT"), "2");
    assert_eq!(a.run("UNSUBSCRIBE nothing"), r#"["unsubscribe", "nothing", 2]"#);
    assert_eq!(a.run("UNSUBSCRIBE"), r#"["unsubscribe", "x", 1] | ["unsubscribe", "y", 0]"#);
    assert_eq!(a.run("UNSUBSCRIBE"), r#"["unsubscribe", nil, 0]"#);
    assert_eq!(b.run("PUNSUBSCRIBE x*"), r#"["punsubscribe", "x*", 1]"#);
    assert_eq!(t.run("PUBLISH x hi"), "1");
    assert_eq!(t.run("PUBSUB CHANNELS"), "[]");
}

/// A map has no order.
fn order(t: &mut Local) -> String {
    let all = t.run("PUBSUB CHANNELS");
    if all.starts_with("[\"y") { "y\", \"x".into() } else { "x\", \"y".into() }
}

#[test]
fn shard_channels_are_apart() {
    let mut t = Local::new();
    let mut a = t.another();
    assert_eq!(a.run("SUBSCRIBE c"), r#"["subscribe", "c", 1]"#);
    assert_eq!(a.run("SSUBSCRIBE c d"), r#"["ssubscribe", "c", 1] | ["ssubscribe", "d", 2]"#);
    assert_eq!(t.run("SPUBLISH c hi"), "1");
    assert_eq!(t.run("PUBLISH c ho"), "1");
    assert_eq!(a.mail(), r#"["smessage", "c", "hi"] | ["message", "c", "ho"]"#);
    assert_eq!(t.run("PUBSUB SHARDNUMSUB c x"), r#"["c", 1, "x", 0]"#);
    assert_eq!(t.run("PUBSUB SHARDCHANNELS d"), r#"["d"]"#);
    assert_eq!(a.run("SUNSUBSCRIBE c"), r#"["sunsubscribe", "c", 1]"#);
    assert_eq!(a.run("SUNSUBSCRIBE"), r#"["sunsubscribe", "d", 0]"#);
    t.run("MULTI");
    t.run("SSUBSCRIBE c");
    assert!(t.run("EXEC").contains("SSUBSCRIBE isn't allowed"));
}

#[test]
fn a_subscriber_in_resp2_may_do_little_else() {
    let mut t = Local::new();
    t.run("SUBSCRIBE a");
    assert_eq!(t.run("PING"), r#"["pong", ""]"#);
    assert_eq!(t.run("PING hi"), r#"["pong", "hi"]"#);
    assert_eq!(
        t.run("GET k"),
        "(error) ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context"
    );
    t.run("UNSUBSCRIBE");
    assert_eq!(t.run("GET k"), "nil");
}

#[test]
fn publishing_to_oneself_comes_after_the_reply() {
    let mut t = Local::new();
    t.run("HELLO 3");
    assert_eq!(t.run("SUBSCRIBE a"), r#">["subscribe", "a", 1]"#);
    assert_eq!(t.run("PUBLISH a hi"), r#"1 | >["message", "a", "hi"]"#);
    t.run("MULTI");
    t.run("PING abc");
    t.run("PUBLISH a x");
    t.run("PING");
    assert_eq!(t.run("EXEC"), r#"["abc", 1, PONG] | >["message", "a", "x"]"#);
}

#[test]
fn a_long_message_is_the_same_for_all() {
    let mut t = Local::new();
    let (mut a, mut b) = (t.another(), t.another());
    a.run("SUBSCRIBE x");
    b.run("HELLO 3");
    b.run("SUBSCRIBE x");
    let text = "m".repeat(50_000);
    assert_eq!(t.run(&format!("PUBLISH x {text}")), "2");
    assert_eq!(a.mail(), format!(r#"["message", "x", "{text}"]"#));
    assert_eq!(b.mail(), format!(r#">["message", "x", "{text}"]"#));
}

#[test]
fn keyspace_notifications() {
    use tidewater::command::notify::{GENERIC, KEYEVENT, KEYSPACE, STRING};
    let mut t = Local::new();
    let mut a = t.another();
    a.run("PSUBSCRIBE __key*");
    t.engine.env().limits.notify_flags.set(KEYSPACE | KEYEVENT | STRING | GENERIC);
    t.run("SELECT 4");
    t.run("SET k v");
    let message = |channel: &str, text: &str| format!(r#"["pmessage", "__key*", "{channel}", "{text}"]"#);
    let want = [message("__keyspace@4__:k", "set"), message("__keyevent@4__:set", "k")];
    assert_eq!(a.mail(), want.join(" | "));
    t.engine.env().limits.notify_flags.set(KEYEVENT | GENERIC);
    t.run("SET k w");
    t.run("DEL k");
    assert_eq!(a.mail(), message("__keyevent@4__:del", "k"));
}
