//! Consumer groups.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidewater::command::notify::{KEYSPACE, STREAM};
use tidewater::keyspace::Waiter;

use crate::support::{Local, show};

#[track_caller]
fn check(t: &mut Local, lines: &[(&str, &str)]) {
    for (line, want) in lines {
        assert_eq!(t.run(line), *want, "{line}");
    }
}

/// A client whose command waits.
struct Waiting {
    wait: Arc<Waiter>,
    client: Local,
}

impl Waiting {
    #[track_caller]
    fn new(t: &Local, line: &str) -> Self {
        let mut client = t.another();
        assert_eq!(client.run(line), "", "{line} waits");
        let wait = client.session().client.waiter.lock().clone().expect("it waits");
        Waiting { wait, client }
    }

    fn answer(&mut self) -> Option<String> {
        let reply = self.wait.take_reply()?;
        assert!(self.client.session().client.waiter.lock().is_none());
        Some(show(&reply.to_vec()))
    }
}

#[track_caller]
fn answers(w: &mut Waiting, want: &str) {
    assert_eq!(w.answer().as_deref(), Some(want));
}

const NO_KEY: &str = "(error) ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
                      use the MKSTREAM option to create an empty stream automatically.";

fn with_three(t: &mut Local) {
    check(
        t,
        &[("XADD s 1-0 a 1", r#""1-0""#), ("XADD s 2-0 b 2", r#""2-0""#), ("XADD s 3-0 c 3", r#""3-0""#)],
    );
    check(t, &[("XGROUP CREATE s g 0", "OK")]);
}

#[test]
fn groups_come_and_go() {
    let mut t = Local::new();
    check(
        &mut t,
        &[
            ("XGROUP CREATE s g $", NO_KEY),
            ("XGROUP DESTROY s g", NO_KEY),
            (
                "XGROUP CREATE s g x MKSTREAM",
                "(error) ERR Invalid stream ID specified as stream command argument",
            ),
            ("EXISTS s", "0"),
            ("XGROUP CREATE s g $ MKSTREAM", "OK"),
            ("XGROUP CREATE s g $ MKSTREAM", "(error) BUSYGROUP Consumer Group name already exists"),
            ("XGROUP CREATE s h 5 ENTRIESREAD 3", "OK"),
            (
                "XGROUP CREATE s i 5 ENTRIESREAD -2",
                "(error) ERR value for ENTRIESREAD must be positive or -1",
            ),
            ("XGROUP CREATE s i 5 ENTRIESREAD x", "(error) ERR value is not an integer or out of range"),
            (
                "XGROUP CREATE s i 5 NONSENSE",
                "(error) ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
            ),
            ("XGROUP CREATE s i -", "(error) ERR Invalid stream ID specified as stream command argument"),
            ("XGROUP SETID s none 0", "(error) NOGROUP No such consumer group 'none' for key name 's'"),
            ("XGROUP SETID s h + ENTRIESREAD 7", "OK"),
            (
                "XINFO GROUPS s",
                concat!(
                    r#"[["name", "g", "consumers", 0, "pending", 0, "last-delivered-id", "0-0", "#,
                    r#""entries-read", nil, "lag", 0], "#,
                    r#"["name", "h", "consumers", 0, "pending", 0, "last-delivered-id", "#,
                    r#""18446744073709551615-18446744073709551615", "entries-read", 7, "lag", 0]]"#
                ),
            ),
            ("XGROUP CREATECONSUMER s g c", "1"),
            ("XGROUP CREATECONSUMER s g c", "0"),
            ("XGROUP CREATECONSUMER s x c", "(error) NOGROUP No such consumer group 'x' for key name 's'"),
            ("XGROUP DELCONSUMER s g c", "0"),
            ("XGROUP DESTROY s g", "1"),
            ("XGROUP DESTROY s g", "0"),
            ("SET k v", "OK"),
            (
                "XGROUP CREATE k g 0",
                "(error) WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("XINFO GROUPS none", "(error) ERR no such key"),
        ],
    );
}

#[test]
fn entries_are_delivered_and_acknowledged() {
    let mut t = Local::new();
    with_three(&mut t);
    check(
        &mut t,
        &[
            (
                "XREADGROUP GROUP g a COUNT 2 STREAMS s >",
                r#"[["s", [["1-0", ["a", "1"]], ["2-0", ["b", "2"]]]]]"#,
            ),
            ("XREADGROUP GROUP g b STREAMS s >", r#"[["s", [["3-0", ["c", "3"]]]]]"#),
            ("XREADGROUP GROUP g b STREAMS s >", "nil-array"),
            ("XREADGROUP GROUP g b STREAMS s 0", r#"[["s", [["3-0", ["c", "3"]]]]]"#),
            ("XREADGROUP GROUP g b STREAMS s 3", r#"[["s", []]]"#),
            ("XPENDING s g", r#"[3, "1-0", "3-0", [["a", "2"], ["b", "1"]]]"#),
            ("XPENDING s g - + 10 b", r#"[["3-0", "b", 0, 2]]"#),
            ("XPENDING s g (1 + 1", r#"[["2-0", "a", 0, 1]]"#),
            ("XPENDING s g IDLE 1 - + 10", "[]"),
            ("XPENDING s g - + 10 nobody", "[]"),
            ("XPENDING s g - +", "(error) ERR syntax error"),
            ("XPENDING s g IDLE 1 - +", "(error) ERR syntax error"),
            ("XPENDING s none", "(error) NOGROUP No such key 's' or consumer group 'none'"),
            ("XACK s g 1-0 bad", "(error) ERR Invalid stream ID specified as stream command argument"),
            ("XACK s g 1-0 1-0 9-0", "1"),
            ("XACK s none 2-0", "0"),
            ("XACK none g 2-0", "0"),
            ("XDEL s 2-0", "1"),
            ("XREADGROUP GROUP g a STREAMS s 0", r#"[["s", [["2-0", nil-array]]]]"#),
            ("XGROUP DELCONSUMER s g a", "1"),
            ("XPENDING s g", r#"[1, "3-0", "3-0", [["b", "1"]]]"#),
            ("XGROUP DELCONSUMER s g b", "1"),
            ("XPENDING s g", "[0, nil, nil, nil-array]"),
        ],
    );
    t.run("HELLO 3");
    check(
        &mut t,
        &[
            ("XGROUP SETID s g 0", "OK"),
            (
                "XREADGROUP GROUP g c NOACK STREAMS s >",
                r#"{"s": [["1-0", ["a", "1"]], ["3-0", ["c", "3"]]]}"#,
            ),
            ("XPENDING s g", "[0, nil, nil, nil]"),
            ("XINFO CONSUMERS s g", r#"[{"name": "c", "pending": 0, "idle": 0, "inactive": -1}]"#),
        ],
    );
}

#[test]
fn what_xreadgroup_refuses() {
    let mut t = Local::new();
    with_three(&mut t);
    check(
        &mut t,
        &[
            ("XREADGROUP GROUP g a STREAMS s t >", unbalanced()),
            (
                "XREADGROUP NOACK COUNT 1 COUNT 1 STREAMS s >",
                "(error) ERR Missing GROUP option for XREADGROUP",
            ),
            ("XREADGROUP GROUP g a COUNT 1 BLOCK 1 NOACK", "(error) ERR syntax error"),
            (
                "XREADGROUP GROUP g a STREAMS t >",
                "(error) NOGROUP No such key 't' or consumer group 'g' in XREADGROUP with GROUP option",
            ),
            (
                "XREADGROUP GROUP g a COUNT x STREAMS s >",
                "(error) ERR value is not an integer or out of range",
            ),
            ("XREADGROUP GROUP g a BLOCK -1 STREAMS s >", "(error) ERR timeout is negative"),
            (
                "XREADGROUP GROUP g a STREAMS s bad",
                "(error) ERR Invalid stream ID specified as stream command argument",
            ),
        ],
    );
    assert!(t.run("XREADGROUP GROUP g a STREAMS s $").starts_with("(error) ERR The $ ID is meaningless"));
    // Nothing is delivered of the first stream when the second is refused.
    assert!(t.run("XREADGROUP GROUP g a STREAMS s t > >").starts_with("(error) NOGROUP"));
    check(&mut t, &[("XPENDING s g", "[0, nil, nil, nil-array]"), ("XINFO CONSUMERS s g", "[]")]);
}

fn unbalanced() -> &'static str {
    "(error) ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
}

#[test]
fn pending_entries_are_claimed() {
    let mut t = Local::new();
    with_three(&mut t);
    t.run("XREADGROUP GROUP g a STREAMS s >");
    t.advance(Duration::from_millis(100));
    check(
        &mut t,
        &[
            ("XCLAIM s g b 200 1-0", "[]"),
            ("XCLAIM s g b 50 1-0 9-0", r#"[["1-0", ["a", "1"]]]"#),
            ("XCLAIM s g b 50 1-0", "[]"),
            ("XCLAIM s g b 0 2-0 3-0 JUSTID RETRYCOUNT 9", r#"["2-0", "3-0"]"#),
            ("XPENDING s g - + 10", r#"[["1-0", "b", 0, 2], ["2-0", "b", 0, 9], ["3-0", "b", 0, 9]]"#),
            ("XCLAIM s g c 0 1-0 IDLE 30 JUSTID", r#"["1-0"]"#),
            ("XPENDING s g - + 10 c", r#"[["1-0", "c", 30, 2]]"#),
            ("XCLAIM s g c 0 1-0 TIME 99999999999999 JUSTID", r#"["1-0"]"#),
            ("XPENDING s g - + 10 c", r#"[["1-0", "c", 0, 2]]"#),
            ("XACK s g 1-0", "1"),
            ("XCLAIM s g c 0 1-0", "[]"),
            ("XCLAIM s g c 0 1-0 FORCE JUSTID", r#"["1-0"]"#),
            ("XDEL s 1-0", "1"),
            ("XCLAIM s g d 0 1-0", "[]"),
            ("XPENDING s g - + 10 c", "[]"),
            ("XCLAIM s g d 0 1-0 NONSENSE", "(error) ERR Unrecognized XCLAIM option 'NONSENSE'"),
            ("XCLAIM s g d x 1-0", "(error) ERR Invalid min-idle-time argument for XCLAIM"),
            ("XCLAIM s g d 0 1-0 IDLE x", "(error) ERR Invalid IDLE option argument for XCLAIM"),
            ("XCLAIM s none d 0 1-0", "(error) NOGROUP No such key 's' or consumer group 'none'"),
            ("XCLAIM none g d 0 1-0", "(error) NOGROUP No such key 'none' or consumer group 'g'"),
        ],
    );
}

#[test]
fn xautoclaim_goes_through_the_pending_entries() {
    let mut t = Local::new();
    with_three(&mut t);
    t.run("XREADGROUP GROUP g a STREAMS s >");
    t.advance(Duration::from_millis(100));
    check(
        &mut t,
        &[
            ("XAUTOCLAIM s g b 500 0", r#"["0-0", [], []]"#),
            ("XAUTOCLAIM s g b 50 0 COUNT 1", r#"["2-0", [["1-0", ["a", "1"]]], []]"#),
            ("XDEL s 2-0", "1"),
            ("XAUTOCLAIM s g b 50 2-0 COUNT 1", r#"["3-0", [], ["2-0"]]"#),
            ("XAUTOCLAIM s g b 50 - JUSTID", r#"["0-0", ["3-0"], []]"#),
            ("XPENDING s g - + 10", r#"[["1-0", "b", 0, 2], ["3-0", "b", 0, 1]]"#),
            ("XAUTOCLAIM s g b 50 0 COUNT 0", "(error) ERR COUNT must be > 0"),
            ("XAUTOCLAIM s g b 50 0 COUNT 9223372036854775807", "(error) ERR COUNT must be > 0"),
            (
                "XAUTOCLAIM s g b 0 (0 COUNT 576460752303423487",
                r#"["0-0", [["1-0", ["a", "1"]], ["3-0", ["c", "3"]]], []]"#,
            ),
            ("XAUTOCLAIM s g b x 0", "(error) ERR Invalid min-idle-time argument for XAUTOCLAIM"),
            ("XAUTOCLAIM s none b 0 0", "(error) NOGROUP No such key 's' or consumer group 'none'"),
        ],
    );
}

#[test]
fn info_tells_all() {
    let mut t = Local::new();
    with_three(&mut t);
    t.run("XREADGROUP GROUP g a COUNT 2 STREAMS s >");
    t.advance(Duration::from_millis(5));
    t.run("XREADGROUP GROUP g a STREAMS s 0");
    t.run("XDEL s 1-0");
    check(
        &mut t,
        &[
            (
                "XINFO STREAM s",
                concat!(
                    r#"["length", 2, "radix-tree-keys", 1, "radix-tree-nodes", 2, "last-generated-id", "3-0", "#,
                    r#""max-deleted-entry-id", "1-0", "entries-added", 3, "recorded-first-entry-id", "2-0", "#,
                    r#""groups", 1, "first-entry", ["2-0", ["b", "2"]], "last-entry", ["3-0", ["c", "3"]]]"#
                ),
            ),
            (
                "XINFO STREAM s FULL COUNT 1",
                concat!(
                    r#"["length", 2, "radix-tree-keys", 1, "radix-tree-nodes", 2, "last-generated-id", "3-0", "#,
                    r#""max-deleted-entry-id", "1-0", "entries-added", 3, "recorded-first-entry-id", "2-0", "#,
                    r#""entries", [["2-0", ["b", "2"]]], "groups", [["name", "g", "last-delivered-id", "2-0", "#,
                    r#""entries-read", 2, "lag", 1, "pel-count", 2, "pending", "#,
                    r#"[["1-0", "a", 1700000000005, 2]], "consumers", [["name", "a", "seen-time", 1700000000005, "#,
                    r#""active-time", 1700000000000, "pel-count", 2, "pending", [["1-0", 1700000000005, 2]]]]]]]"#
                ),
            ),
            ("XINFO CONSUMERS s g", r#"[["name", "a", "pending", 2, "idle", 0, "inactive", 5]]"#),
            ("XINFO CONSUMERS s x", "(error) NOGROUP No such consumer group 'x' for key name 's'"),
            (
                "XINFO STREAM s FULL COUNT",
                "(error) ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
            ),
        ],
    );
    assert!(t.run("XINFO HELP").contains("CONSUMERS <key> <groupname>"));
    assert!(t.run("XGROUP HELP").contains("MKSTREAM"));
}

/// Of each group of the stream: entries read, and the lag.
fn lags(t: &mut Local) -> String {
    let text = t.run("XINFO GROUPS s");
    let field = |part: &str, name: &str| {
        let at = part.find(name).expect("the field") + name.len() + 3;
        part[at..].split([',', ']']).next().unwrap_or_default().to_owned()
    };
    let parts = text.split("\"name\"").skip(1);
    parts.map(|p| format!("{}/{}", field(p, "entries-read"), field(p, "lag"))).collect::<Vec<_>>().join(" ")
}

#[test]
fn lag_is_counted_while_it_can_be() {
    let mut t = Local::new();
    t.run("XGROUP CREATE s g1 0 MKSTREAM");
    t.run("XGROUP CREATE s g2 $");
    assert_eq!(lags(&mut t), "nil/0 nil/0");
    for i in 1..=5 {
        t.run(&format!("XADD s {i}-0 n {i}"));
    }
    assert_eq!(lags(&mut t), "nil/5 nil/5");
    t.run("XREADGROUP GROUP g1 c COUNT 1 STREAMS s >");
    t.run("XREADGROUP GROUP g1 c COUNT 1 STREAMS s >");
    t.run("XREADGROUP GROUP g2 c NOACK STREAMS s >");
    assert_eq!(lags(&mut t), "2/3 5/0");
    // A hole ahead: the lag is unknown until the group is past it.
    t.run("XDEL s 4-0");
    assert_eq!(lags(&mut t), "2/nil 5/0");
    t.run("XREADGROUP GROUP g1 c COUNT 1 STREAMS s >");
    assert_eq!(lags(&mut t), "nil/nil 5/0");
    t.run("XREADGROUP GROUP g1 c COUNT 1 STREAMS s >");
    assert_eq!(lags(&mut t), "5/0 5/0");
    t.run("XTRIM s MAXLEN 0");
    t.run("XADD s 6-0 n 6");
    assert_eq!(lags(&mut t), "5/1 5/1");
}

#[test]
fn readers_wait_in_the_order_of_arrival() {
    let mut t = Local::new();
    t.run("XGROUP CREATE s g $ MKSTREAM");
    t.run("XGROUP CREATE t g $ MKSTREAM");
    let line = |c: &str| format!("XREADGROUP GROUP g {c} COUNT 1 BLOCK 0 STREAMS s t > >");
    let mut a = Waiting::new(&t, &line("a"));
    let mut b = Waiting::new(&t, &line("b"));
    let mut late = Waiting::new(&t, "XREADGROUP GROUP g c BLOCK 10 STREAMS s >");
    // Waiting makes the consumer.
    assert_eq!(t.run("XGROUP CREATECONSUMER t g b"), "0");
    t.run("XADD t 1-0 x 1");
    answers(&mut a, r#"[["t", [["1-0", ["x", "1"]]]]]"#);
    assert_eq!(b.answer(), None);
    t.run("XADD s 1-0 x 2");
    answers(&mut b, r#"[["s", [["1-0", ["x", "2"]]]]]"#);
    assert_eq!(late.answer(), None);
    t.run("XGROUP SETID s g 0");
    answers(&mut late, r#"[["s", [["1-0", ["x", "2"]]]]]"#);
    check(
        &mut t,
        &[("MULTI", "OK"), ("XREADGROUP GROUP g a BLOCK 0 STREAMS s >", "QUEUED"), ("EXEC", "[nil-array]")],
    );
}

#[test]
fn waiting_readers_are_told_when_there_is_nothing_to_wait_for() {
    let gone = "(error) NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    let wrong = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
    let ends = [
        ("DEL s", gone),
        ("XGROUP DESTROY s g", gone),
        ("SET s x", wrong),
        ("FLUSHALL", gone),
        ("SWAPDB 0 1", gone),
        ("RENAME s other", gone),
        ("MSET s x", wrong),
    ];
    for (line, want) in ends {
        let mut t = Local::new();
        t.run("XGROUP CREATE s g $ MKSTREAM");
        let mut w = Waiting::new(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        t.run(line);
        assert_eq!(w.answer().as_deref(), Some(want), "{line}");
    }
    let mut t = Local::new();
    t.run("XGROUP CREATE s g $ MKSTREAM");
    let mut w = Waiting::new(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    check(&mut t, &[("MULTI", "OK"), ("DEL s", "QUEUED"), ("SADD s e", "QUEUED"), ("EXEC", "[1, 1]")]);
    answers(&mut w, wrong);
}

#[test]
fn notifications_are_as_in_redis() {
    let mut t = Local::new();
    t.engine.env().limits.notify_flags.set(KEYSPACE | STREAM);
    let mut listener = t.another();
    listener.run("PSUBSCRIBE __keyspace*");
    for line in [
        "XGROUP CREATE s g $ MKSTREAM",
        "XGROUP SETID s g 0",
        "XGROUP CREATECONSUMER s g a",
        "XREADGROUP GROUP g b STREAMS s >",
        "XCLAIM s g c 0 1-1",
        "XGROUP DELCONSUMER s g a",
        "XGROUP DESTROY s g",
    ] {
        t.run(line);
    }
    let mail = listener.mail();
    let events: Vec<_> = mail.split('"').filter(|part| part.starts_with("xgroup")).collect();
    let want =
        ["create", "setid", "createconsumer", "createconsumer", "createconsumer", "delconsumer", "destroy"];
    assert_eq!(events, want.map(|e| format!("xgroup-{e}")));
}

/// A stream with one group, as plainly as can be.
#[derive(Default)]
struct Model {
    entries: BTreeSet<u64>,
    last: u64,
    delivered: u64,
    /// Entry to owner, time and count.
    pending: BTreeMap<u64, (u8, u64, u64)>,
    consumers: BTreeSet<u8>,
    now: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Add(u64),
    Delete(u64),
    Trim(usize),
    Read { who: u8, count: usize, noack: bool },
    History { who: u8, after: u64 },
    Ack(Vec<u64>),
    Claim { who: u8, idle: u64, ids: Vec<u64>, force: bool, just_id: bool },
    AutoClaim { who: u8, idle: u64, start: u64, count: usize },
    SetId(u64),
    Drop(u8),
    Tick(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ids = || proptest::collection::vec(0u64..80, 1..6);
    let op = prop_oneof![
        6 => (1u64..4).prop_map(Op::Add),
        2 => (0u64..80).prop_map(Op::Delete),
        1 => (0usize..30).prop_map(Op::Trim),
        5 => (0u8..4, 1usize..6, prop::bool::weighted(0.2))
            .prop_map(|(who, count, noack)| Op::Read { who, count, noack }),
        2 => (0u8..4, 0u64..80).prop_map(|(who, after)| Op::History { who, after }),
        3 => ids().prop_map(Op::Ack),
        3 => (0u8..4, 0u64..30, ids(), any::<bool>(), any::<bool>())
            .prop_map(|(who, idle, ids, force, just_id)| Op::Claim { who, idle, ids, force, just_id }),
        2 => (0u8..4, 0u64..30, 0u64..80, 1usize..5)
            .prop_map(|(who, idle, start, count)| Op::AutoClaim { who, idle, start, count }),
        1 => (0u64..80).prop_map(Op::SetId),
        1 => (0u8..4).prop_map(Op::Drop),
        2 => (1u64..20).prop_map(Op::Tick),
    ];
    proptest::collection::vec(op, 1..120)
}

fn id(n: u64) -> String {
    format!("{n}-0")
}

fn entry(n: u64) -> String {
    format!(r#"["{n}-0", ["n", "{n}"]]"#)
}

impl Model {
    /// The command for this, and what it answers.
    fn apply(&mut self, op: &Op) -> (String, String) {
        match op {
            Op::Add(step) => {
                self.last += step;
                self.entries.insert(self.last);
                (format!("XADD s {} n {}", id(self.last), self.last), format!("{:?}", id(self.last)))
            }
            Op::Delete(n) => (format!("XDEL s {}", id(*n)), u8::from(self.entries.remove(n)).to_string()),
            Op::Trim(keep) => {
                let gone = self.entries.len().saturating_sub(*keep);
                (0..gone).for_each(|_| assert!(self.entries.pop_first().is_some()));
                (format!("XTRIM s MAXLEN {keep}"), gone.to_string())
            }
            Op::Read { who, count, noack } => {
                self.consumers.insert(*who);
                let fresh: Vec<u64> =
                    self.entries.range(self.delivered + 1..).take(*count).copied().collect();
                for n in &fresh {
                    self.delivered = *n;
                    if !noack {
                        self.pending.insert(*n, (*who, self.now, 1));
                    }
                }
                let list: Vec<_> = fresh.iter().map(|n| entry(*n)).collect();
                let want = if list.is_empty() {
                    "nil-array".to_owned()
                } else {
                    format!(r#"[["s", [{}]]]"#, list.join(", "))
                };
                let noack = if *noack { " NOACK" } else { "" };
                (format!("XREADGROUP GROUP g c{who} COUNT {count}{noack} STREAMS s >"), want)
            }
            Op::History { who, after } => {
                self.consumers.insert(*who);
                let mut list = Vec::new();
                for (n, (owner, time, count)) in self.pending.range_mut(after + 1..) {
                    if owner != who {
                        continue;
                    }
                    if self.entries.contains(n) {
                        (*time, *count) = (self.now, *count + 1);
                        list.push(entry(*n));
                    } else {
                        list.push(format!(r#"["{n}-0", nil-array]"#));
                    }
                }
                (
                    format!("XREADGROUP GROUP g c{who} STREAMS s {}", id(*after)),
                    format!(r#"[["s", [{}]]]"#, list.join(", ")),
                )
            }
            Op::Ack(ids) => {
                let gone = ids.iter().filter(|n| self.pending.remove(n).is_some()).count();
                (format!("XACK s g {}", words(ids)), gone.to_string())
            }
            Op::Claim { who, idle, ids, force, just_id } => {
                self.consumers.insert(*who);
                let mut list = Vec::new();
                for n in ids {
                    if !self.entries.contains(n) {
                        self.pending.remove(n);
                        continue;
                    }
                    let count = match self.pending.get(n) {
                        Some((_, time, _)) if self.now - time < *idle => continue,
                        Some((_, _, count)) => *count,
                        None if *force => 1,
                        None => continue,
                    };
                    let count = count + u64::from(!just_id);
                    self.pending.insert(*n, (*who, self.now, count));
                    list.push(if *just_id { format!("{:?}", id(*n)) } else { entry(*n) });
                }
                let options = [(*force, " FORCE"), (*just_id, " JUSTID")];
                let options: String = options.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
                (
                    format!("XCLAIM s g c{who} {idle} {}{options}", words(ids)),
                    format!("[{}]", list.join(", ")),
                )
            }
            Op::AutoClaim { who, idle, start, count } => {
                self.consumers.insert(*who);
                let (mut list, mut deleted) = (Vec::new(), Vec::new());
                let all: Vec<u64> = self.pending.range(*start..).map(|(n, _)| *n).collect();
                let mut all = all.into_iter();
                for n in all.by_ref().take(count * 10) {
                    if !self.entries.contains(&n) {
                        self.pending.remove(&n);
                        deleted.push(format!("{:?}", id(n)));
                    } else if let Some((owner, time, times)) = self.pending.get_mut(&n) {
                        if self.now - *time < *idle {
                            continue;
                        }
                        (*owner, *time, *times) = (*who, self.now, *times + 1);
                        list.push(entry(n));
                    }
                    if list.len() + deleted.len() == *count {
                        break;
                    }
                }
                let next = all.next().unwrap_or(0);
                (
                    format!("XAUTOCLAIM s g c{who} {idle} {} COUNT {count}", id(*start)),
                    format!(r#"["{next}-0", [{}], [{}]]"#, list.join(", "), deleted.join(", ")),
                )
            }
            Op::SetId(n) => {
                self.delivered = *n;
                (format!("XGROUP SETID s g {}", id(*n)), "OK".into())
            }
            Op::Drop(who) => {
                self.consumers.remove(who);
                let before = self.pending.len();
                self.pending.retain(|_, (owner, ..)| owner != who);
                (format!("XGROUP DELCONSUMER s g c{who}"), (before - self.pending.len()).to_string())
            }
            Op::Tick(ms) => {
                self.now += ms;
                ("PING".into(), "PONG".into())
            }
        }
    }

    fn pending(&self) -> String {
        let one = |(n, (who, time, count)): (&u64, &(u8, u64, u64))| {
            format!(r#"["{n}-0", "c{who}", {}, {count}]"#, self.now - time)
        };
        format!("[{}]", self.pending.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

fn words(ids: &[u64]) -> String {
    ids.iter().map(|n| id(*n)).collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if crate::support::long() { 2000 } else { 40 }))]
    #[test]
    fn a_stream_with_a_group_is_what_it_seems(ops in ops()) {
        let mut t = Local::new();
        t.engine.env().limits.stream_node_max_entries.set(4);
        t.run("XGROUP CREATE s g 0 MKSTREAM");
        let mut model = Model::default();
        for op in &ops {
            let (line, want) = model.apply(op);
            if let Op::Tick(ms) = op {
                t.clock.advance(Duration::from_millis(*ms));
            }
            prop_assert_eq!(t.run(&line), want, "{}", line);
            prop_assert_eq!(t.run("XPENDING s g - + 1000"), model.pending(), "after {}", line);
            let consumers = t.run("XINFO CONSUMERS s g").matches("\"name\"").count();
            prop_assert_eq!(consumers, model.consumers.len());
        }
        let summary = t.run("XPENDING s g");
        let want = format!("[{}, ", model.pending.len());
        prop_assert!(summary.starts_with(&want), "{}", summary);
    }
}
