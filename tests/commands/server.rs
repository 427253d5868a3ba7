//! INFO, COMMAND, SLOWLOG, LATENCY, MEMORY, DEBUG and the rest of the server's own commands.
use std::collections::BTreeMap;
use std::time::Duration;

use tidewater::command::row::{Begin, Find, KeySpec};
use tidewater::command::table::CommandTable;
use tidewater::command::{Command, Flags};
use tidewater::server::all_commands;
use tidewater::server::commands::command::{categories, flag_names, legacy_range};

use crate::support::Local;

/// The text of INFO's reply.
fn info(t: &mut Local, sections: &str) -> String {
    let raw = String::from_utf8(t.raw(&["INFO", sections])).unwrap();
    raw.split_once("\r\n").unwrap().1.to_owned()
}

/// One of INFO's values.
fn field(t: &mut Local, name: &str) -> String {
    let text = info(t, "everything");
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

#[test]
fn info_has_its_sections() {
    let mut t = Local::new();
    let default = info(&mut t, "default");
    let mut last = 0;
    let titles = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Errorstats",
    ];
    for title in titles.iter().chain(&["Cluster", "Keyspace"]) {
        let at = default.find(&format!("# {title}\r\n")).unwrap_or_else(|| panic!("no {title}"));
        assert!(at >= last);
        last = at;
    }
    assert!(!default.contains("rejected_calls") && !default.contains("Latencystats"));
    for all in ["all", "everything"] {
        let text = info(&mut t, all);
        assert!(text.contains("# Latencystats") && text.contains("cmdstat_info:calls="), "{all}");
    }
    assert_eq!(info(&mut t, "sentinel").trim(), "");
    assert!(info(&mut t, "commandSTATS").starts_with("# Commandstats\r\n"));
    let both = String::from_utf8(t.raw(&["INFO", "cpu", "default"])).unwrap();
    assert_eq!(both.matches("used_cpu_user_children").count(), 1);
    for line in default.lines() {
        assert!(line.is_empty() || line.starts_with("# ") || line.contains(':'), "{line}");
    }
    t.session().resp3 = true;
    let raw = t.raw(&["INFO", "cpu"]);
    assert!(raw.starts_with(b"=") && raw.windows(5).any(|w| w == b"txt:#"));
}

#[test]
fn info_counts() {
    let mut t = Local::new();
    t.run("SET a 1");
    t.run("SET b 1");
    t.run("GET a");
    t.run("GET none");
    t.run("INCR a b");
    t.run("SET a 1 EX");
    t.run("NONSENSE");
    assert_eq!(field(&mut t, "keyspace_hits"), "1");
    assert_eq!(field(&mut t, "keyspace_misses"), "1");
    assert_eq!(field(&mut t, "rdb_changes_since_last_save"), "2");
    assert_eq!(field(&mut t, "total_error_replies"), "3");
    assert_eq!(field(&mut t, "errorstat_ERR"), "count=3");
    assert!(field(&mut t, "cmdstat_set").starts_with("calls=3,"));
    assert!(field(&mut t, "cmdstat_set").ends_with(",rejected_calls=0,failed_calls=1"));
    assert!(field(&mut t, "cmdstat_incr").starts_with("calls=0,usec=0,usec_per_call=0.00,rejected_calls=1"));
    assert!(field(&mut t, "latency_percentiles_usec_set").starts_with("p50="));
    assert_eq!(field(&mut t, "db0"), "keys=2,expires=0,avg_ttl=0");
    assert_eq!(field(&mut t, "role"), "master");
    assert_eq!(field(&mut t, "process_id"), std::process::id().to_string());
    assert_eq!(field(&mut t, "tidewater_version"), env!("CARGO_PKG_VERSION"));
    assert!(field(&mut t, "redis_version").starts_with("7.2."));
    t.advance(Duration::from_secs(90_000));
    assert_eq!(field(&mut t, "uptime_in_seconds"), "90000");
    assert_eq!(field(&mut t, "uptime_in_days"), "1");
}

#[test]
fn info_inside_a_transaction() {
    let mut t = Local::new();
    t.run("MULTI");
    t.run("SET k v");
    t.run("INFO keyspace");
    assert!(t.run("EXEC").contains("db0:keys=1,"));
}

#[test]
fn rates_follow_the_counters() {
    let mut t = Local::new();
    t.advance(Duration::from_millis(100));
    for _ in 0..16 {
        for _ in 0..10 {
            t.run("PING");
        }
        t.advance(Duration::from_millis(100));
    }
    assert_eq!(field(&mut t, "instantaneous_ops_per_sec"), "100");
}

#[test]
fn the_slow_log() {
    let mut t = Local::new();
    let limits = t.engine.env().limits.clone();
    limits.slowlog_log_slower_than.set(100_000);
    t.run("PING");
    assert_eq!(t.run("SLOWLOG LEN"), "0");
    t.run("DEBUG SLEEP 0.2");
    assert_eq!(t.run("SLOWLOG LEN"), "1");
    let entry = t.run("SLOWLOG GET");
    assert!(
        entry.starts_with("[[0, 1700000000, 200000, [\"DEBUG\", \"SLEEP\", \"0.2\"], \"127.0.0.1:1\""),
        "{entry}"
    );
    // EXEC is not logged, what it runs is.
    t.run("SLOWLOG RESET");
    t.run("MULTI");
    t.run("DEBUG SLEEP 0.2");
    t.run("EXEC");
    assert_eq!(t.run("SLOWLOG LEN"), "1");
    limits.slowlog_log_slower_than.set(0);
    limits.slowlog_max_len.set(10);
    (0..100).for_each(|_| drop(t.run("PING")));
    assert_eq!(t.run("SLOWLOG LEN"), "10");
    assert_eq!(t.run("SLOWLOG GET 5").matches("\"PING\"").count(), 4);
    assert_eq!(t.run("SLOWLOG GET 0"), "[]");
    assert_eq!(t.run("SLOWLOG GET -1").matches("127.0.0.1").count(), 10);
    let error = "(error) ERR count should be greater than or equal to -1";
    assert_eq!(t.run("SLOWLOG GET -2"), error);
    assert_eq!(t.run("SLOWLOG GET x"), error);
    limits.slowlog_log_slower_than.set(-1);
    t.run("SLOWLOG RESET");
    t.run("DEBUG SLEEP 1");
    assert_eq!(t.run("SLOWLOG LEN"), "0");
}

#[test]
fn the_latency_monitor() {
    let mut t = Local::new();
    assert!(t.run("LATENCY DOCTOR").contains("is off"));
    t.engine.env().limits.latency_monitor_threshold.set(200);
    for _ in 0..3 {
        t.run("DEBUG SLEEP 0.3");
        t.advance(Duration::from_millis(1_100));
    }
    t.run("DEBUG SLEEP 0.1");
    assert_eq!(t.run("LATENCY HISTORY command"), "[[1700000000, 300], [1700000001, 300], [1700000003, 300]]");
    assert_eq!(t.run("LATENCY LATEST"), r#"[["command", 1700000003, 300, 300]]"#);
    assert!(t.run("LATENCY GRAPH command").contains("high 300 ms"));
    assert_eq!(t.run("LATENCY GRAPH fork"), "(error) ERR No samples available for event 'fork'");
    assert!(t.run("LATENCY DOCTOR").contains("command: 3 samples"));
    assert_eq!(t.run("LATENCY HISTORY blabla"), "[]");
    assert_eq!(t.run("LATENCY RESET blabla"), "0");
    assert_eq!(t.run("LATENCY RESET"), "1");
    assert_eq!(t.run("LATENCY LATEST"), "[]");
    let arity = "(error) ERR wrong number of arguments for 'latency|help' command";
    assert_eq!(t.run("LATENCY HELP x"), arity);
}

#[test]
fn latency_histograms() {
    let mut t = Local::new();
    t.run("SET a b");
    t.run("SET a b");
    t.run("DEBUG SLEEP 0.001");
    assert_eq!(t.run("LATENCY HISTOGRAM set"), r#"["set", ["calls", 2, "histogram_usec", [1, 2]]]"#);
    assert_eq!(
        t.run("LATENCY HISTOGRAM none debug"),
        r#"["debug", ["calls", 1, "histogram_usec", [1056, 1]]]"#
    );
    t.run("SLOWLOG LEN");
    t.run("SLOWLOG RESET");
    assert_eq!(t.run("LATENCY HISTOGRAM slowlog").matches("calls").count(), 2);
    assert_eq!(t.run("LATENCY HISTOGRAM slowlog|len").matches("calls").count(), 1);
    assert_eq!(t.run("LATENCY HISTOGRAM none"), "[]");
    t.session().resp3 = true;
    assert_eq!(t.run("LATENCY HISTOGRAM set"), r#"{"set": {"calls": 2, "histogram_usec": {1: 2}}}"#);
}

#[test]
fn memory() {
    let mut t = Local::new();
    t.run("SET k 0123456789");
    let n: i64 = t.run("MEMORY USAGE k").parse().unwrap();
    assert!((16 + 1 + 10..80).contains(&n), "{n}");
    assert_eq!(t.run("MEMORY USAGE k SAMPLES 5"), n.to_string());
    assert_eq!(t.run("MEMORY USAGE none"), "nil");
    assert_eq!(t.run("MEMORY USAGE k SAMPLES"), "(error) ERR syntax error");
    assert_eq!(t.run("MEMORY USAGE k SAMPLES x"), "(error) ERR value is not an integer or out of range");
    let stats = t.run("MEMORY STATS");
    assert!(
        stats.contains(r#""keys.count", 1,"#) && stats.contains(r#""db.0", ["overhead.hashtable.main","#)
    );
    t.session().resp3 = true;
    assert!(t.run("MEMORY STATS").starts_with("{"));
    assert!(t.run("MEMORY DOCTOR").len() > 10 && t.run("MEMORY MALLOC-STATS").len() > 10);
    assert_eq!(t.run("MEMORY PURGE"), "OK");
}

#[test]
fn small_commands() {
    let mut t = Local::new();
    assert_eq!(t.run("TIME"), r#"["1700000000", "0"]"#);
    assert_eq!(t.run("ROLE"), r#"["master", 0, []]"#);
    assert_eq!(t.run("REPLICAOF NO ONE"), "OK");
    assert_eq!(t.run("SLAVEOF no one"), "OK");
    assert_eq!(t.run("REPLICAOF h x"), "(error) ERR Invalid master port");
    assert!(t.run("REPLICAOF h 1").starts_with("(error) ERR"));
    assert_eq!(t.run("MODULE LIST"), "[]");
    assert!(t.run("MODULE LOAD /x").starts_with("(error) ERR"));
    assert_eq!(t.run("ACL WHOAMI"), r#""default""#);
    assert!(t.run("LOLWUT").contains("Redis ver. 7.2"));
    assert!(t.run("LOLWUT VERSION 5 10 3").contains("Redis ver."));
    assert_eq!(t.run("LOLWUT VERSION x"), "(error) ERR value is not an integer or out of range");
}

#[test]
fn debug() {
    let mut t = Local::new();
    let zeros = "0".repeat(40);
    assert_eq!(t.run("DEBUG DIGEST"), zeros);
    t.run("SET a 1");
    t.run("SET b 1");
    let one = t.run("DEBUG DIGEST");
    let values = t.run("DEBUG DIGEST-VALUE a b none");
    let values: Vec<_> = values.trim_matches(['[', ']']).split(", ").collect();
    assert!(values[0] == values[1] && values[2] == zeros && values[0] != zeros, "{values:?}");
    t.run("SET a 2");
    assert_ne!(t.run("DEBUG DIGEST"), one);
    t.run("SET a 1");
    assert_eq!(t.run("DEBUG DIGEST"), one);
    assert_eq!(t.run("DEBUG POPULATE 100 x 20"), "OK");
    assert_eq!(t.run("GET x:99"), r#""value:99\0\0\0\0\0\0\0\0\0\0\0\0""#);
    assert_eq!(t.run("DEBUG POPULATE 2"), "OK");
    assert_eq!(t.run("GET key:1"), r#""value:1""#);
    let object = t.run("DEBUG OBJECT a");
    assert!(
        object.starts_with("Value at:0x") && object.contains(" refcount:1 encoding:int serializedlength:")
    );
    t.run("INCR a");
    assert_eq!(t.run("DEBUG OBJECT a").split(' ').nth(1), object.split(' ').nth(1));
    assert_eq!(t.run("DEBUG OBJECT none"), "(error) ERR no such key");
    assert_eq!(t.run("DEBUG ERROR \"MY oops\""), "(error) MY oops");
    assert_eq!(t.run("DEBUG STRINGMATCH-LEN a* abc"), "1");
    assert_eq!(t.run("DEBUG QUICKLIST-PACKED-THRESHOLD 100b"), "OK");
    assert_eq!(t.engine.env().limits.quicklist_packed_threshold.get(), 100);
    assert_eq!(t.run("DEBUG RELOAD"), "(error) ERR this server keeps no files");
    let unknown = "(error) ERR unknown subcommand or wrong number of arguments for 'what'. Try DEBUG HELP.";
    assert_eq!(t.run("DEBUG what"), unknown);
    let id = field(&mut t, "master_replid");
    assert_eq!((id.len(), t.run("DEBUG CHANGE-REPL-ID").as_str()), (40, "OK"));
    assert_ne!(field(&mut t, "master_replid"), id);
    assert_eq!(t.run("DEBUG PROTOCOL attrib"), r#""Some real reply following the attribute""#);
    t.session().resp3 = true;
    assert_eq!(t.run("DEBUG PROTOCOL map"), "{0: false, 1: true, 2: false}");
    assert_eq!(t.run("DEBUG PROTOCOL bignum"), "(1234567999999999999999999999999999999");
}

#[test]
fn digests_do_not_depend_on_the_encoding() {
    let digest = |large: bool| {
        let mut t = Local::new();
        let limits = &t.engine.env().limits;
        if large {
            limits.hash_max_listpack_entries.set(1);
            limits.zset_max_listpack_entries.set(1);
        }
        t.run("HSET h a 1 b 2 c x");
        t.run("ZADD z 1.5 a -0 b inf c");
        let encoding = if large { "encoding:skiplist" } else { "encoding:listpack" };
        assert!(t.run("DEBUG OBJECT z").contains(encoding));
        let one = t.run("DEBUG DIGEST");
        t.run("HSET h a 2");
        t.run("ZADD z 2.5 a");
        assert_ne!(t.run("DEBUG DIGEST"), one);
        t.run("HSET h a 1");
        t.run("ZADD z 1.5 a");
        assert_eq!(t.run("DEBUG DIGEST"), one);
        one
    };
    assert_eq!(digest(false), digest(true));
}

#[test]
fn command_list_and_keys() {
    let mut t = Local::new();
    assert_eq!(t.run("COMMAND LIST FILTERBY PATTERN set"), r#"["set"]"#);
    assert_eq!(t.run("COMMAND LIST FILTERBY PATTERN SLOW*he*"), r#"["slowlog|help"]"#);
    assert_eq!(t.run("COMMAND LIST FILTERBY MODULE x"), "[]");
    assert_eq!(t.run("COMMAND LIST FILTERBY ACLCAT none"), "[]");
    assert!(t.run("COMMAND LIST FILTERBY ACLCAT string").contains(r#""mset""#));
    for bad in ["bad", "filterby bad", "filterby bad x"] {
        assert_eq!(t.run(&format!("COMMAND LIST {bad}")), "(error) ERR syntax error");
    }
    assert_eq!(t.run("COMMAND INFO get|key slowlog|get|key none"), "[nil-array, nil-array, nil-array]");
    assert_eq!(t.run("COMMAND GETKEYS get key"), r#"["key"]"#);
    assert_eq!(t.run("COMMAND GETKEYS memory usage key"), r#"["key"]"#);
    assert_eq!(t.run("COMMAND GETKEYS sort k STORE d junk BY store STORE e"), r#"["k", "e"]"#);
    assert_eq!(t.run("COMMAND GETKEYS sort k STORE"), r#"["k"]"#);
    assert_eq!(t.run("COMMAND GETKEYSANDFLAGS set k v"), r#"[["k", [OW, update]]]"#);
    assert_eq!(t.run("COMMAND GETKEYSANDFLAGS set k v get"), r#"[["k", [RW, access, update]]]"#);
    assert_eq!(
        t.run("COMMAND GETKEYSANDFLAGS mset a 1 b 2"),
        r#"[["a", [OW, update]], ["b", [OW, update]]]"#
    );
    assert_eq!(t.run("COMMAND GETKEYS none k"), "(error) ERR Invalid command specified");
    assert_eq!(t.run("COMMAND GETKEYS ping k"), "(error) ERR The command has no key arguments");
    let arity = "(error) ERR Invalid number of arguments specified for command";
    assert_eq!(t.run("COMMAND GETKEYS get k k"), arity);
    let count: usize = t.run("COMMAND COUNT").parse().unwrap();
    assert_eq!(count, all_commands().len());
    assert!(t.run("COMMAND DOCS slowlog").contains(r#""subcommands", ["slowlog|get", ["summary","#));
    assert!(t.run("COMMAND").len() > 1000);
    t.session().resp3 = true;
    assert_eq!(
        t.run("COMMAND INFO get"),
        r#"[["get", 2, ~[readonly, fast], 1, 1, 1, ~[@read, @string, @fast], ~[], ~[{"flags": ~[RO, access], "begin_search": {"type": "index", "spec": {"index": 1}}, "find_keys": {"type": "range", "spec": {"lastkey": 0, "keystep": 1, "limit": 0}}}], ~[]]]"#
    );
}

/// A line of `commands.tsv`.
struct Fact {
    name: String,
    group: String,
    since: String,
    arity: i32,
    flags: Vec<String>,
    categories: Vec<String>,
    specs: Vec<String>,
    deprecated: String,
    origin: String,
}

fn facts() -> Vec<Fact> {
    let words = |s: &str| s.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let text = include_str!("../data/commands.tsv");
    let rows = text.lines().skip(2).map(|line| {
        let c: Vec<&str> = line.split('\t').collect();
        Fact {
            name: c[0].to_ascii_lowercase().replace(' ', "|"),
            group: c[1].replace('_', "-"),
            since: c[2].into(),
            arity: c[3].parse().unwrap(),
            flags: words(c[4]),
            categories: words(c[5]),
            specs: c[6].split(" ; ").filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            deprecated: c[7].into(),
            origin: c[8].into(),
        }
    });
    rows.collect()
}

fn spec_text(spec: &KeySpec) -> String {
    let begin = match spec.begin {
        Begin::Index(i) => format!("@{i}"),
        Begin::Keyword("", _) => "?".into(),
        Begin::Keyword(word, from) => format!("kw:{}@{from}", word.to_ascii_lowercase()),
    };
    let find = match spec.find {
        Find::Range { last, step, limit } => format!("range({last},{step},{limit})"),
        Find::KeyNum { index, first, step } => format!("keynum({index},{first},{step})"),
        Find::Unknown => "?".into(),
    };
    format!("{begin}{find}[{}]", spec.flags)
}

/// What a row says differently from the facts.
fn differences(table: &CommandTable, command: &Command, fact: &Fact) -> Vec<String> {
    let mut out = Vec::new();
    let mut same = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            out.push(format!("{}: {what} is {ours}, should be {theirs}", fact.name));
        }
    };
    same("arity", command.arity.0.to_string(), fact.arity.to_string());
    same("group", command.group.name().into(), fact.group.clone());
    same("since", command.since.into(), fact.since.clone());
    same("deprecated", command.deprecated.map_or("", |d| d.0).into(), fact.deprecated.clone());
    // `movablekeys` follows from the key specifications; the others have no meaning for us.
    let skipped = ["movablekeys", "protected", "touches_arbitrary_keys", "experimental"];
    let named = Flags::NAMES.iter().filter(|(f, n)| command.flags.has(*f) && !skipped.contains(n));
    let mut ours: Vec<&str> = named.map(|(_, n)| *n).collect();
    let mut theirs: Vec<&str> =
        fact.flags.iter().map(String::as_str).filter(|n| !skipped.contains(n)).collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    same("flags", ours.join(","), theirs.join(","));
    let mut expected: Vec<&str> = fact.categories.iter().map(String::as_str).collect();
    let has = |f| fact.flags.iter().any(|n| n == f);
    let implied = [
        ("write", has("write")),
        ("read", has("readonly") && !fact.categories.iter().any(|c| c == "scripting")),
        ("admin", has("admin")),
        ("dangerous", has("admin")),
        ("pubsub", has("pubsub")),
        ("fast", has("fast")),
        ("slow", !has("fast")),
        ("blocking", has("blocking")),
    ];
    expected.extend(implied.iter().filter(|(_, implied)| *implied).map(|(name, _)| *name));
    expected.sort_unstable();
    expected.dedup();
    let mut categories = categories(table, command);
    categories.sort_unstable();
    same("categories", categories.join(","), expected.join(","));
    let specs: Vec<_> = command.specs.iter().map(spec_text).collect();
    same("key specs", specs.join(" ; "), fact.specs.join(" ; "));
    out
}

/// The subcommands of CLIENT that come with client-side caching.
const CACHING: &[&str] = &["client|caching", "client|getredir", "client|tracking", "client|trackinginfo"];

/// What is not there yet, by the part of the server that it waits for.
fn waits_for(fact: &Fact) -> Option<&'static str> {
    let first = fact.name.split('|').next().unwrap();
    let part = match (fact.group.as_str(), first) {
        _ if fact.origin != "both" => "not of Redis 7.2",
        _ if fact.flags.iter().any(|f| f == "only_sentinel") || fact.group == "sentinel" => "Sentinel: never",
        ("cluster", _) => "cluster",
        ("stream" | "scripting", _) => "streams and scripts",
        (_, "acl") => "access control lists",
        (_, "dump" | "restore" | "restore-asking" | "migrate") => "persistence",
        (_, "sync" | "psync" | "replconf" | "wait" | "waitaof" | "failover") => "replication",
        _ if CACHING.contains(&fact.name.as_str()) => "client-side caching",
        _ => return None,
    };
    Some(part)
}

#[test]
fn the_table_agrees_with_the_facts() {
    let table = CommandTable::new(all_commands(), &[]);
    let facts = facts();
    assert!(facts.len() > 380);
    let mut wrong = Vec::new();
    let mut absent: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for fact in &facts {
        match tidewater::server::commands::command::find(&table, fact.name.as_bytes()) {
            Some(command) => wrong.extend(differences(&table, command, fact)),
            None => absent.entry(waits_for(fact).unwrap_or("NOW")).or_default().push(&fact.name),
        }
    }
    for (part, names) in &absent {
        println!("{part}: {}", names.join(" "));
    }
    let unknown: Vec<_> = table
        .rows()
        .iter()
        .filter(|c| !facts.iter().any(|f| f.name == c.full_name) && !OWN.contains(&c.full_name.as_str()))
        .map(|c| c.full_name.as_str())
        .collect();
    wrong.retain(|w| !ACCEPTED.iter().any(|name| w.starts_with(name)));
    println!("{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unknown.is_empty(), "not in the facts: {unknown:?}");
    assert!(wrong.is_empty());
}

/// Differences that are meant: MULTI and WATCH carry `no_multi` only from Redis 7.4 on, where it changes the text of
/// their error.
const ACCEPTED: &[&str] = &["multi: flags", "watch: flags", "ping: flags"];

#[test]
fn nothing_of_this_milestone_is_missing() {
    let table = CommandTable::new(all_commands(), &[]);
    let find = |f: &Fact| tidewater::server::commands::command::find(&table, f.name.as_bytes()).is_some();
    let facts = facts();
    let missing: Vec<_> =
        facts.iter().filter(|f| waits_for(f).is_none() && !find(f)).map(|f| &f.name).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Commands that the facts are too old for.
const OWN: &[&str] = &["hgetdel", "hgetex", "hsetex"];

#[test]
fn old_style_key_ranges() {
    let table = CommandTable::new(all_commands(), &[]);
    let range = |name: &str| {
        let r = legacy_range(table.find(name.as_bytes()).unwrap());
        (r.first, r.last, r.step, r.movable)
    };
    assert_eq!(range("get"), (1, 1, 1, false));
    assert_eq!(range("mset"), (1, -1, 2, false));
    assert_eq!(range("watch"), (1, -1, 1, false));
    assert_eq!(range("ping"), (0, 0, 0, false));
    assert!(flag_names(table.find(b"set").unwrap()).contains(&"denyoom"));
}

#[test]
fn every_command_is_described() {
    for command in all_commands() {
        let all = std::iter::once(&command).chain(&command.subcommands);
        for c in all.filter(|c| c.group == tidewater::command::Group::Server) {
            assert!(!c.summary.is_empty() && c.arity.0 != 0, "{}", c.name);
        }
    }
}
