//! SORT and SORT_RO.
use crate::support::Local;

fn scores() -> Local {
    let mut t = Local::new();
    t.run("ZADD zset 1 a 5 b 2 c 10 d 3 e");
    t
}

#[test]
fn a_sorted_set_keeps_its_order_without_sorting() {
    let mut t = scores();
    assert_eq!(t.run("SORT zset ALPHA DESC"), r#"["e", "d", "c", "b", "a"]"#);
    assert_eq!(t.run("SORT zset BY nosort"), r#"["a", "c", "e", "b", "d"]"#);
    assert_eq!(t.run("SORT zset BY nosort DESC"), r#"["d", "b", "e", "c", "a"]"#);
    assert_eq!(t.run("SORT zset BY nosort DESC LIMIT 1 2"), r#"["b", "e"]"#);
    assert_eq!(t.run("SORT zset BY nosort LIMIT 5 10"), "[]");
    assert_eq!(t.run("SORT zset BY nosort LIMIT -10 100"), r#"["a", "c", "e", "b", "d"]"#);
    assert_eq!(t.run("SORT zset BY nosort LIMIT 2 9223372036854775807"), r#"["e", "b", "d"]"#);
}

#[test]
fn numbers_sort_as_numbers_and_words_must_be_asked_for() {
    let mut t = Local::new();
    t.run("SADD s 10 9 2.5 -1 1e1 inf");
    assert_eq!(t.run("SORT s"), r#"["-1", "2.5", "9", "10", "1e1", "inf"]"#);
    assert_eq!(t.run("SORT s DESC LIMIT 1 2"), r#"["1e1", "10"]"#);
    assert_eq!(t.run("SORT s ALPHA LIMIT 0 3"), r#"["-1", "10", "1e1"]"#);
    t.run("SADD s word");
    let error = "(error) ERR One or more scores can't be converted into double";
    assert_eq!(t.run("SORT s"), error);
    assert_eq!(t.run("SORT nokey"), "[]");
    t.run("SET str v");
    assert!(t.run("SORT str").starts_with("(error) WRONGTYPE"));
}

#[test]
fn weights_and_values_come_from_other_keys() {
    let mut t = Local::new();
    t.run("SADD s 1 2 3");
    t.run("MSET w_1 30 w_2 20 w_3 10 v_1 one v_3 three");
    t.run("HSET h_1 f 2 g x");
    t.run("HSET h_2 f 1");
    t.run("HSET h_3 f 3");
    assert_eq!(t.run("SORT s BY w_*"), r#"["3", "2", "1"]"#);
    assert_eq!(t.run("SORT s BY h_*->f"), r#"["2", "1", "3"]"#);
    assert_eq!(
        t.run("SORT s BY w_* GET # GET v_* GET h_*->g"),
        r#"["3", "three", nil, "2", nil, nil, "1", "one", "x"]"#
    );
    assert_eq!(t.run("SORT s GET v_1"), "[nil, nil, nil]");
    // Equal weights: by the elements themselves.
    assert_eq!(t.run("SORT s BY none_*"), r#"["1", "2", "3"]"#);
    assert_eq!(t.run("SORT s ALPHA BY v_*"), r#"["2", "1", "3"]"#);
    t.run("SET w_1 x");
    assert!(t.run("SORT s BY w_*").starts_with("(error) ERR One or more scores"));
    t.run_args(&["SET", "x:1->", "100"]);
    assert_eq!(t.run("SORT s LIMIT 0 1 GET x:*->"), r#"["100"]"#);
    t.run("MULTI");
    t.run("SORT s BY v_* ALPHA");
    assert_eq!(t.run("EXEC"), r#"[["2", "1", "3"]]"#);
}

#[test]
fn texts_end_at_a_nul_unless_the_result_is_stored() {
    let mut t = Local::new();
    t.run_args(&["RPUSH", "l", "a\0b", "a", "a\0a", "", "\0z", "b"]);
    // As `strcoll` has it; what is equal to it stays as it came.
    let ascending = "*6\r\n$0\r\n\r\n$2\r\n\0z\r\n$3\r\na\0b\r\n$1\r\na\r\n$3\r\na\0a\r\n$1\r\nb\r\n";
    assert_eq!(t.raw(&["SORT", "l", "ALPHA"]), ascending.as_bytes());
    let descending = "*6\r\n$1\r\nb\r\n$3\r\na\0b\r\n$1\r\na\r\n$3\r\na\0a\r\n$0\r\n\r\n$2\r\n\0z\r\n";
    assert_eq!(t.raw(&["SORT", "l", "ALPHA", "DESC"]), descending.as_bytes());
    assert_eq!(t.raw(&["SORT", "l", "ALPHA", "LIMIT", "2", "1"]), b"*1\r\n$3\r\na\0b\r\n");
    t.run("SORT l ALPHA STORE d");
    let binary = "*6\r\n$0\r\n\r\n$2\r\n\0z\r\n$1\r\na\r\n$3\r\na\0a\r\n$3\r\na\0b\r\n$1\r\nb\r\n";
    assert_eq!(t.raw(&["LRANGE", "d", "0", "-1"]), binary.as_bytes());
    t.run_args(&["MSET", "w_1", "x\0b", "w_2", "x\0a", "w_3", "x"]);
    t.run("RPUSH k 3 1 2");
    assert_eq!(t.run("SORT k ALPHA BY w_*"), r#"["3", "1", "2"]"#);
    t.run("SORT k ALPHA BY w_* STORE d");
    assert_eq!(t.run("LRANGE d 0 -1"), r#"["3", "2", "1"]"#);
}

#[test]
fn a_result_is_stored_as_a_list() {
    let mut t = Local::new();
    t.run("SADD s b c a");
    assert_eq!(t.run("SORT s BY nosort STORE r"), "3");
    assert_eq!(t.run("TYPE r"), "list");
    assert_eq!(t.run("SORT r BY nosort"), r#"["a", "b", "c"]"#);
    assert_eq!(t.run("SORT s ALPHA DESC LIMIT 0 2 STORE r"), "2");
    assert_eq!(t.run("SORT r BY nosort"), r#"["c", "b"]"#);
    assert_eq!(t.run("SORT s ALPHA LIMIT 10 10 STORE r"), "0");
    assert_eq!(t.run("EXISTS r"), "0");
    assert_eq!(t.run("SORT_RO s STORE r"), "(error) ERR syntax error");
    assert_eq!(t.run("SORT_RO s ALPHA"), r#"["a", "b", "c"]"#);
}

#[test]
fn a_small_part_of_many_is_what_a_full_sort_gives() {
    let mut t = Local::new();
    for i in 0..500 {
        t.run(&format!("SADD s {}", i * 7919 % 1000));
    }
    let all = t.run("SORT s");
    let all: Vec<_> = all[1..all.len() - 1].split(", ").collect();
    for start in [0, 3, 490] {
        let part = t.run(&format!("SORT s LIMIT {start} 10"));
        assert_eq!(part, format!("[{}]", all[start..start + 10].join(", ")));
    }
}

#[test]
fn lists_of_every_size_are_sorted_and_stored() {
    let mut t = Local::new();
    for i in 0..3000 {
        t.run(&format!("RPUSH l {}", i * 7919 % 3001));
    }
    assert_eq!(
        t.run("SORT l BY nosort LIMIT 1 2"),
        format!("[\"{}\", \"{}\"]", 7919 % 3001, 2 * 7919 % 3001)
    );
    assert_eq!(t.run("SORT l STORE r"), "3000");
    assert_eq!(t.run("OBJECT ENCODING r"), r#""quicklist""#);
    assert_eq!(t.run("LLEN r"), "3000");
    assert_eq!(t.run("SORT l LIMIT 5 3"), t.run("LRANGE r 5 7"));
    assert_eq!(t.run("SORT l BY nosort LIMIT 0 3 STORE few"), "3");
    assert_eq!(t.run("OBJECT ENCODING few"), r#""listpack""#);
    assert_eq!(t.run("LRANGE few 0 -1"), t.run("LRANGE l 0 2"));
}
