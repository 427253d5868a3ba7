//! Connection commands, CLIENT, MONITOR.
use std::time::Duration;

use crate::support::Local;

#[test]
fn ping_echo_select() {
    let mut t = Local::new();
    assert_eq!(t.run("PING"), "PONG");
    assert_eq!(t.run("PING hi"), r#""hi""#);
    assert_eq!(t.run("PING a b"), "(error) ERR wrong number of arguments for 'ping' command");
    assert_eq!(t.run("ECHO hi"), r#""hi""#);
    assert_eq!(t.run("SELECT 16"), "(error) ERR DB index is out of range");
    assert_eq!(t.run("SELECT a"), "(error) ERR value is not an integer or out of range");
    assert_eq!(t.run("SELECT 3"), "OK");
    assert!(t.run("CLIENT INFO").contains(" db=3 "));
}

#[test]
fn hello_chooses_the_protocol() {
    let mut t = Local::new();
    assert!(t.run("HELLO").starts_with(r#"["server", "redis", "version", "7.2."#));
    assert_eq!(t.run("HELLO 4"), "(error) NOPROTO unsupported protocol version");
    assert_eq!(t.run("HELLO x"), "(error) ERR Protocol version is not an integer or out of range");
    assert_eq!(t.run("HELLO 3 FOO"), "(error) ERR Syntax error in HELLO option 'FOO'");
    assert_eq!(
        t.run("HELLO 3 SETNAME \"a b\""),
        "(error) ERR Client names cannot contain spaces, newlines or special characters."
    );
    let reply = t.run("HELLO 3 SETNAME me");
    assert!(reply.contains(r#""proto": 3"#) && reply.contains(r#""modules": []"#), "{reply}");
    assert_eq!(t.run("CLIENT GETNAME"), r#""me""#);
    assert_eq!(t.run("GET nothing"), "nil");
    assert!(t.run("HELLO 2").starts_with('['));
}

#[test]
fn passwords() {
    let mut t = Local::new();
    assert_eq!(
        t.run("AUTH x"),
        "(error) ERR AUTH <password> called without any password configured for the default user. Are you sure your \
         configuration is correct?"
    );
    assert_eq!(t.run("AUTH default anything"), "OK");
    *t.engine.env().requirepass.write() = b"secret".to_vec();
    assert_eq!(t.run("GET k"), "nil", "who is in stays in");
    assert_eq!(t.run("RESET"), "RESET");
    assert_eq!(t.run("GET k"), "(error) NOAUTH Authentication required.");
    assert!(t.run("HELLO 3").starts_with("(error) NOAUTH HELLO must be called with the client already auth"));
    let wrong = "(error) WRONGPASS invalid username-password pair or user is disabled.";
    for password in ["secre", "secret1", "Secret", "\"\""] {
        assert_eq!(t.run(&format!("AUTH {password}")), wrong);
    }
    assert_eq!(t.run("AUTH nobody secret"), wrong);
    assert_eq!(t.run("AUTH a b c"), "(error) ERR syntax error");
    assert_eq!(t.run("AUTH default secret"), "OK");
    assert_eq!(t.run("GET k"), "nil");
}

#[test]
fn reset_leaves_nothing_behind() {
    let mut t = Local::new();
    t.run("SELECT 2");
    t.run("CLIENT SETNAME me");
    t.run("WATCH k");
    t.run("MULTI");
    assert_eq!(t.run("RESET"), "RESET");
    t.run("SUBSCRIBE a");
    t.run("PSUBSCRIBE b*");
    assert_eq!(t.run("RESET"), "RESET");
    assert_eq!(t.another().run("PUBLISH a x"), "0");
    t.run("MONITOR");
    assert_eq!(t.run("RESET"), "RESET");
    t.run("CLIENT REPLY OFF");
    assert_eq!(t.run("RESET"), "RESET");
    let info = t.run("CLIENT INFO");
    assert!(info.contains(" name= ") && info.contains(" flags=N db=0 sub=0 psub=0 "), "{info}");
}

#[test]
fn client_list_shows_everyone() {
    let mut t = Local::new();
    let mut other = t.another();
    assert_eq!(other.run("CLIENT SETNAME \"a b\"").split(' ').next(), Some("(error)"));
    other.run("CLIENT SETNAME bob");
    other.run("CLIENT SETINFO LIB-NAME mylib");
    other.run("CLIENT SETINFO lib-ver 1.2");
    assert_eq!(other.run("CLIENT SETINFO foo 1"), "(error) ERR Unrecognized option 'foo'");
    assert_eq!(
        other.run("CLIENT SETINFO lib-ver \"1 2\""),
        "(error) ERR lib-ver cannot contain spaces, newlines or special characters."
    );
    other.run("SUBSCRIBE a b");
    t.clock.advance(Duration::from_secs(3));
    let list = t.run("CLIENT LIST");
    assert_eq!(list.matches("id=").count(), 2);
    let want = "id=2 addr=127.0.0.1:2 laddr=127.0.0.1:6379 fd=8 name=bob age=3 idle=3 flags=P db=0 sub=2 psub=0 ssub=0 \
                multi=-1 ";
    assert!(list.contains(want), "{list}");
    assert!(
        list.contains(" cmd=subscribe user=default redir=-1 resp=2 lib-name=mylib lib-ver=1.2"),
        "{list}"
    );
    assert!(t.run("CLIENT LIST TYPE pubsub").starts_with("\"id=2 "));
    assert!(t.run("CLIENT LIST ID 1 99").starts_with("\"id=1 "));
    assert_eq!(t.run("CLIENT LIST ID x"), "(error) ERR Invalid client ID");
    assert_eq!(t.run("CLIENT LIST TYPE x"), "(error) ERR Unknown client type 'x'");
    assert_eq!(t.run("CLIENT LIST x"), "(error) ERR syntax error");
    assert_eq!(t.run("CLIENT ID"), "1");
}

#[test]
fn client_kill_takes_filters() {
    let mut t = Local::new();
    let other = t.another();
    assert_eq!(t.run("CLIENT KILL 127.0.0.1:77"), "(error) ERR No such client");
    assert_eq!(t.run("CLIENT KILL ID 0"), "(error) ERR client-id should be greater than 0");
    assert_eq!(t.run("CLIENT KILL ID 1 x"), "(error) ERR syntax error");
    assert_eq!(t.run("CLIENT KILL USER x"), "(error) ERR No such user 'x'");
    assert_eq!(t.run("CLIENT KILL SKIPME maybe"), "(error) ERR syntax error");
    assert_eq!(t.run("CLIENT KILL ADDR 127.0.0.1:1"), "0", "oneself is spared");
    assert_eq!(t.run("CLIENT KILL TYPE pubsub"), "0");
    assert_eq!(t.run("CLIENT KILL 127.0.0.1:2"), "OK");
    drop(other);
    assert_eq!(t.run("CLIENT KILL ID 1 SKIPME no"), "1");
    assert!(t.session().quit);
}

#[test]
fn client_reply_silences() {
    let mut t = Local::new();
    assert_eq!(t.run("CLIENT REPLY SKIP"), "");
    assert_eq!(t.run("PING"), "");
    assert_eq!(t.run("PING"), "PONG");
    assert_eq!(t.run("CLIENT REPLY OFF"), "");
    assert_eq!(t.run("PING"), "");
    assert_eq!(t.run("NOSUCH"), "");
    assert_eq!(t.run("CLIENT REPLY SKIP"), "");
    assert_eq!(t.run("SUBSCRIBE a"), r#"["subscribe", "a", 1]"#, "messages are no replies");
    assert_eq!(t.run("UNSUBSCRIBE"), r#"["unsubscribe", "a", 0]"#);
    assert_eq!(t.run("CLIENT REPLY ON"), "OK");
    assert_eq!(t.run("PING"), "PONG");
}

#[test]
fn client_pause_counts_the_longest_and_strictest() {
    let mut t = Local::new();
    assert_eq!(t.run("CLIENT PAUSE x"), "(error) ERR timeout is not an integer or out of range");
    assert_eq!(t.run("CLIENT PAUSE -1"), "(error) ERR timeout is negative");
    assert_eq!(t.run("CLIENT PAUSE 1 never"), "(error) ERR CLIENT PAUSE mode must be WRITE or ALL");
    t.run("SET k v PX 50");
    assert_eq!(t.run("CLIENT PAUSE 1000 WRITE"), "OK");
    assert_eq!(t.run("CLIENT PAUSE 10 WRITE"), "OK");
    t.advance(Duration::from_millis(100));
    let env = t.engine.env().clone();
    assert_eq!(t.run("GET k"), "nil");
    assert_eq!(t.run("DBSIZE"), "1", "nothing is removed while it lasts");
    assert!(env.paused_until(env.clock.now_ms(), true).is_some());
    assert!(env.paused_until(env.clock.now_ms(), false).is_none());
    t.advance(Duration::from_secs(1));
    assert_eq!(t.run("DBSIZE"), "0");
    assert_eq!(t.run("SET k v"), "OK");
}

#[test]
fn monitor_is_no_reader() {
    let mut t = Local::new();
    assert_eq!(t.run("MONITOR"), "OK");
    let mut other = t.another();
    other.run("SET k \"a b\"");
    other.run("CLIENT LIST");
    other.run("MULTI");
    other.run("GET k");
    other.run("EXEC");
    let seen = t.mail();
    let at = "1700000000.000000 [0 127.0.0.1:2]";
    let want = [r#""SET" "k" "a b""#, r#""MULTI""#, r#""GET" "k""#, r#""EXEC""#].map(|c| format!("{at} {c}"));
    assert_eq!(seen, want.join(" | "));
    assert_eq!(
        t.run("GET k").split(" | ").next(),
        Some("(error) ERR Replica can't interact with the keyspace")
    );
}
