//! SCAN and its like.
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::support::Local;

/// One step: the next cursor and the elements.
fn step(t: &mut Local, line: &str) -> (String, Vec<String>) {
    let reply = t.run(line);
    let (cursor, items) = reply.split_once(", ").expect("a cursor and elements");
    let items = items.trim_start_matches('[').trim_end_matches(']');
    let items = items.split(", ").filter(|s| !s.is_empty()).map(|s| s.trim_matches('"').to_owned()).collect();
    (cursor.trim_matches(['[', '"']).to_owned(), items)
}

/// All elements with how often they came; `between` runs before each further step.
fn walk(
    t: &mut Local,
    command: &str,
    options: &str,
    mut between: impl FnMut(&mut Local),
) -> BTreeMap<String, usize> {
    let (mut cursor, mut seen) = ("0".to_owned(), BTreeMap::new());
    loop {
        let (next, items) = step(t, &format!("{command} {cursor} {options}"));
        items.into_iter().for_each(|item| *seen.entry(item).or_default() += 1);
        if next == "0" {
            return seen;
        }
        cursor = next;
        between(t);
    }
}

fn populate(t: &mut Local, n: usize) {
    (0..n).for_each(|i| drop(t.run(&format!("SET key:{i} v"))));
}

#[test]
fn scan_returns_every_key_once() {
    let mut t = Local::new();
    assert_eq!(t.run("SCAN 0"), r#"["0", []]"#);
    populate(&mut t, 1000);
    for options in ["", "COUNT 5", "COUNT 100000", "TYPE STRING COUNT 3", "MATCH *"] {
        let seen = walk(&mut t, "SCAN", options, |_| {});
        assert!(seen.len() == 1000 && seen.values().all(|n| *n == 1), "{options}");
    }
    assert_eq!(walk(&mut t, "SCAN", "MATCH key:1??", |_| {}).len(), 100);
    assert_eq!(walk(&mut t, "SCAN", "TYPE list", |_| {}).len(), 0);
    t.session().db = 9;
    assert_eq!(t.run("SCAN 0"), r#"["0", []]"#);
}

#[test]
fn scan_keeps_its_word_under_writes() {
    let mut t = Local::new();
    populate(&mut t, 200);
    let mut n = 0;
    let seen = walk(&mut t, "SCAN", "COUNT 7", |t| {
        for _ in 0..40 {
            t.run(&format!("SET added:{n} v"));
            t.run(&format!("DEL added:{}", n / 2));
            n += 1;
        }
    });
    let kept = seen.iter().filter(|(key, _)| key.starts_with("key:"));
    assert_eq!(kept.clone().count(), 200);
    assert!(kept.into_iter().all(|(_, times)| *times == 1));
}

#[test]
fn scan_passes_over_expired_keys_and_removes_them() {
    let mut t = Local::new();
    t.engine.env().active_expire.store(false, Relaxed);
    t.run("SET a 1 PX 1");
    t.run("SET b 1 PX 1");
    t.run("SET c 1");
    t.advance(Duration::from_millis(2));
    assert_eq!(t.run("DBSIZE"), "3");
    assert_eq!(walk(&mut t, "SCAN", "", |_| {}).into_keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(t.run("DBSIZE"), "1");
}

#[test]
fn bad_cursors_and_options_are_refused() {
    let mut t = Local::new();
    t.run("HSET h f v");
    for cursor in ["x", "-1", "1x", "18446744073709551616"] {
        assert_eq!(t.run(&format!("SCAN {cursor}")), "(error) ERR invalid cursor");
        assert_eq!(t.run(&format!("HSCAN h {cursor}")), "(error) ERR invalid cursor");
    }
    assert_eq!(t.run("SCAN 18446744073709551615"), r#"["0", []]"#);
    assert_eq!(t.run("SCAN 0 COUNT 0"), "(error) ERR syntax error");
    assert_eq!(t.run("SCAN 0 COUNT x"), "(error) ERR value is not an integer or out of range");
    assert_eq!(t.run("SCAN 0 MATCH"), "(error) ERR syntax error");
    assert_eq!(t.run("HSCAN h 0 TYPE hash"), "(error) ERR syntax error");
    t.run("HSET pairs a 1");
    assert_eq!(t.run("HSCAN pairs 0 NOVALUES COUNT 5"), r#"["0", ["a"]]"#);
    assert_eq!(t.run("HSCAN pairs 0 COUNT 5 MATCH a"), r#"["0", ["a", "1"]]"#);
    assert_eq!(t.run("ZSCAN nokey 0 NOVALUES"), r#"["0", []]"#);
    assert_eq!(t.run("HSCAN nokey 0 TYPE hash"), r#"["0", []]"#);
    t.run("SET s v");
    assert!(t.run("HSCAN s 0").starts_with("(error) WRONGTYPE"));
}

#[test]
fn hscan_walks_both_encodings() {
    let mut t = Local::new();
    for i in 0..30 {
        t.run(&format!("HSET small f{i} v{i}"));
    }
    assert_eq!(step(&mut t, "HSCAN small 0 COUNT 1").1.len(), 60);
    assert_eq!(step(&mut t, "HSCAN small 0 MATCH f1?").1.len(), 20);
    for i in 0..1000 {
        t.run(&format!("HSET large f{i} v{i}"));
    }
    let seen = walk(&mut t, "HSCAN large", "", |_| {});
    assert!(seen.len() == 2000 && seen.values().all(|n| *n == 1));
}

#[test]
fn sscan_and_zscan_walk_every_encoding() {
    let mut t = Local::new();
    for i in 0..600 {
        t.run(&format!("SADD ints {i}"));
        t.run(&format!("SADD words w{i}"));
        t.run(&format!("ZADD zset {i} m{i}"));
    }
    t.run("SADD few 1 2 3");
    assert_eq!(step(&mut t, "SSCAN few 0 COUNT 1").1.len(), 3);
    for (command, n) in [("SSCAN ints", 600), ("SSCAN words", 600), ("ZSCAN zset", 1200)] {
        let seen = walk(&mut t, command, "COUNT 20", |_| {});
        assert!(seen.len() == n && seen.values().all(|n| *n == 1), "{command}");
    }
    assert_eq!(walk(&mut t, "SSCAN words", "MATCH w5?", |_| {}).len(), 10);
    t.run("ZADD small 0.1 a 3 b");
    assert_eq!(t.run("ZSCAN small 0"), r#"["0", ["a", "0.1", "b", "3"]]"#);
}
