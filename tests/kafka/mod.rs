//! Pipelines against librdkafka's own cluster in this process: no network but loopback, no Java.
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use tidewater::embed::{ExecuteError, Server, Value};

/// A cluster with a topic "t", and a producer.
struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Kafka {
    fn new(partitions: i32) -> Self {
        Kafka::of(1, partitions)
    }

    fn of(brokers: i32, partitions: i32) -> Self {
        let cluster = MockCluster::new(brokers).expect("a cluster");
        cluster.create_topic("t", partitions, brokers).expect("a topic");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "1")
            .create()
            .expect("a producer");
        Kafka { cluster, producer }
    }

    fn send(&self, partition: i32, key: &str, value: Option<&str>) {
        let mut record = BaseRecord::to("t").partition(partition).key(key);
        record.payload = value;
        self.producer.send(record).expect("room in the queue");
    }

    fn flush(&self) {
        self.producer.flush(Duration::from_secs(20)).expect("everything is delivered");
    }

    fn server(&self) -> Server {
        self.builder().start().expect("a server")
    }

    fn builder(&self) -> tidewater::embed::Builder {
        let connection = format!("main bootstrap.servers {}", self.cluster.bootstrap_servers());
        Server::builder().config("kafka-connection", &connection)
    }
}

fn run(server: &Server, line: &str) -> Result<Value, ExecuteError> {
    server.execute(tidewater::base::split::split_args(line.as_bytes()).expect("a line"))
}

fn ask(server: &Server, line: &str) -> Value {
    run(server, line).unwrap_or_else(|e| panic!("{line}: {e}"))
}

fn text(server: &Server, line: &str) -> String {
    match ask(server, line) {
        Value::Int(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::Null => "nil".into(),
        value => value.as_str().unwrap_or_else(|| panic!("{line}: {value:?}")).to_owned(),
    }
}

/// All of a reply's words.
fn show(value: &Value) -> String {
    match value {
        Value::Int(n) => format!("{n} "),
        Value::Array(items) | Value::Set(items) => items.iter().map(show).collect(),
        other => format!("{} ", other.as_str().unwrap_or("?")),
    }
}

/// A field of KAFKA INFO.
fn info(server: &Server, name: &str, field: &str) -> String {
    match run(server, &format!("KAFKA INFO {name}")) {
        Ok(Value::Map(pairs)) => pairs
            .iter()
            .find(|(key, _)| key.as_str() == Some(field))
            .map(|(_, value)| match value {
                Value::Int(n) => n.to_string(),
                value => value.as_str().unwrap_or_default().to_owned(),
            })
            .unwrap_or_default(),
        Ok(other) => panic!("{other:?}"),
        Err(_) => String::new(),
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn until_state(server: &Server, name: &str, state: &str) {
    let mut last = String::new();
    until(&format!("{name} to be {state}"), || {
        last = format!("{} {}", info(server, name, "state"), info(server, name, "reason"));
        last.starts_with(state)
    });
}

fn wait(server: &Server, name: &str, partition: i32, offset: i64) {
    let line = format!("KAFKA WAIT {name} {partition} {offset} 20000");
    assert_eq!(text(server, &line), "1", "{} {}", info(server, name, "state"), info(server, name, "reason"));
}

#[test]
fn the_latest_value_by_key() {
    let kafka = Kafka::new(3);
    for i in 0..300 {
        kafka.send(i % 3, &format!("k{i}"), Some(&format!("v{i}")));
    }
    kafka.flush();
    let server = kafka.server();
    ask(&server, r#"KAFKA CREATE p TOPIC t DO "SET {key} {value}""#);
    (0..3).for_each(|p| wait(&server, "p", p, 99));
    assert_eq!(text(&server, "GET k299"), "v299");
    assert_eq!(text(&server, "DBSIZE"), "302");
    kafka.send(0, "k0", Some("again"));
    kafka.flush();
    wait(&server, "p", 0, 100);
    assert_eq!(text(&server, "GET k0"), "again");
    assert_eq!(info(&server, "p", "state"), "running");
    until("the count", || info(&server, "p", "records") == "301");
    assert_eq!(text(&server, "HGET tidewater:kafka:p t:0"), "101");
    // A record that is not there yet.
    assert_eq!(text(&server, "KAFKA WAIT p 0 101 20"), "0");
}

#[test]
fn documents_become_hashes_and_tombstones_delete() {
    let kafka = Kafka::new(1);
    kafka.send(
        0,
        "1",
        Some(r#"{"id": 1, "total": 12.50, "region": "eu", "status": "paid", "at": {"x": [1, 2]}}"#),
    );
    kafka.send(0, "2", Some(r#"{"id": 2, "total": 7, "region": "us", "status": "open"}"#));
    kafka.send(0, "3", Some(r#"{"id": 3, "total": 3, "region": "eu", "status": "paid"}"#));
    kafka.send(0, "3", None);
    kafka.flush();
    let server = kafka.server();
    let line = r#"KAFKA CREATE orders TOPIC t WHERE ".status == 'paid'" DO "HSET order:{key} {*}" DO "ZADD board:{.region} {.total} {.id}" TOMBSTONE "DEL order:{key}""#;
    ask(&server, line);
    wait(&server, "orders", 0, 3);
    assert_eq!(text(&server, "HGET order:1 total"), "12.50");
    assert_eq!(text(&server, "HGET order:1 at"), r#"{"x": [1, 2]}"#);
    assert_eq!(text(&server, "EXISTS order:2 order:3"), "0");
    assert_eq!(text(&server, "ZSCORE board:eu 1"), "12.5");
    until("the figures", || {
        info(&server, "orders", "tombstones") == "0" && info(&server, "orders", "filtered") == "1"
    });
}

#[test]
fn a_record_that_fails_stops_the_pipeline_where_it_is() {
    let kafka = Kafka::new(1);
    let server = kafka.server();
    ask(&server, "SET h text");
    ask(&server, r#"KAFKA CREATE p TOPIC t DO "INCR n" DO "HSET h {key} {value}" DO "INCR m""#);
    for i in 0..3 {
        kafka.send(0, &format!("k{i}"), Some("v"));
    }
    kafka.flush();
    until_state(&server, "p", "paused");
    assert!(
        info(&server, "p", "reason").contains("t/0 at offset 0: WRONGTYPE"),
        "{}",
        info(&server, "p", "reason")
    );
    assert_eq!(text(&server, "GET n"), "1");
    ask(&server, "DEL h");
    ask(&server, "KAFKA RESUME p");
    wait(&server, "p", 0, 2);
    // What had been run before it failed is not run again.
    assert_eq!((text(&server, "GET n"), text(&server, "GET m")), ("3".into(), "3".into()));
    assert_eq!(text(&server, "HLEN h"), "3");
    assert_eq!(text(&server, "HEXISTS tidewater:kafka:p t:0:done"), "0");
}

#[test]
fn a_record_that_fails_is_skipped_or_kept_aside() {
    let kafka = Kafka::new(1);
    let server = kafka.server();
    ask(&server, r#"KAFKA CREATE skip TOPIC t DO "SET {.id} {.v}" ON ERROR SKIP"#);
    ask(&server, r#"KAFKA CREATE keep TOPIC t DO "SET {.id} {.v}" ON ERROR STREAM dead"#);
    kafka.send(0, "a", Some(r#"{"id": "x", "v": 1}"#));
    kafka.send(0, "b", Some("no document"));
    kafka.send(0, "c", Some(r#"{"id": "y"}"#));
    kafka.send(0, "d", Some(r#"{"id": "z", "v": 2}"#));
    kafka.flush();
    wait(&server, "skip", 0, 3);
    wait(&server, "keep", 0, 3);
    assert_eq!(text(&server, "GET z"), "2");
    assert_eq!(text(&server, "XLEN dead"), "2");
    until("the figures", || {
        info(&server, "skip", "skipped") == "2" && info(&server, "keep", "dead-letters") == "2"
    });
    let shown = show(&ask(&server, "XRANGE dead - +"));
    assert!(shown.contains("value no document") && shown.contains("offset 1 "), "{shown}");
    let Value::Array(errors) = ask(&server, "KAFKA ERRORS skip COUNT 5") else { panic!("no errors") };
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn dead_letters_are_tried_again() {
    let kafka = Kafka::new(1);
    kafka.cluster.create_topic("dead", 2, 1).expect("a topic");
    let server = kafka.server();
    for i in 0..3 {
        kafka.send(0, &format!("k{i}"), Some("v"));
    }
    kafka.flush();
    for (name, on_error) in [("s", "STREAM dead"), ("d", "DLQ dead")] {
        ask(&server, &format!("SET h:{name} text"));
        ask(
            &server,
            &format!(
                r#"KAFKA CREATE {name} TOPIC t DO "INCR n:{name}" DO "HSET h:{name} {{key}} {{value}}" DO "INCR m:{name}" ON ERROR {on_error}"#
            ),
        );
        wait(&server, name, 0, 2);
        until("the figure", || info(&server, name, "dead-letters") == "3");
        let retry = |line: &str| match ask(&server, line) {
            Value::Map(pairs) => {
                pairs.iter().map(|(k, v)| format!("{} {}", show(k), show(v))).collect::<String>()
            }
            other => panic!("{other:?}"),
        };
        let all = format!("KAFKA RETRY {name}");
        assert_eq!(retry(&all).split_whitespace().collect::<Vec<_>>(), ["applied", "0", "failed", "3"]);
        ask(&server, &format!("DEL h:{name}"));
        // Of a pipeline that stands still, too.
        ask(&server, &format!("KAFKA PAUSE {name}"));
        // By the definition as it is now, though another thread has to begin first.
        ask(
            &server,
            &format!(
                r#"KAFKA ALTER {name} DO "INCR none" DO "HSET h:{name} {{key}} {{value}}" DO "INCR m:{name}" DO "INCR more:{name}""#
            ),
        );
        let one = retry(&format!("{all} COUNT 1"));
        assert_eq!(one.split_whitespace().collect::<Vec<_>>(), ["applied", "1", "failed", "0"]);
        assert_eq!(retry(&all).split_whitespace().collect::<Vec<_>>(), ["applied", "2", "failed", "0"]);
        assert_eq!(retry(&all).split_whitespace().collect::<Vec<_>>(), ["applied", "0", "failed", "0"]);
        // No command of theirs was run twice, and none left out.
        for key in ["n", "m", "more"] {
            assert_eq!(text(&server, &format!("GET {key}:{name}")), "3");
        }
        assert_eq!(text(&server, &format!("HLEN h:{name}")), "3");
        assert_eq!(info(&server, name, "retried"), "3");
    }
    assert_eq!(text(&server, "XLEN dead"), "0");
    ask(&server, r#"KAFKA CREATE plain TOPIC t DO "INCR n""#);
    let Err(ExecuteError::Reply(error)) = run(&server, "KAFKA RETRY plain") else { panic!("it keeps none") };
    assert!(error.contains("keeps no dead letters"), "{error}");
}

#[test]
fn leaders_change_under_a_pipeline() {
    let kafka = Kafka::of(3, 2);
    let server = kafka.server();
    ask(&server, r#"KAFKA CREATE p TOPIC t DO "INCR n" DO "RPUSH l:{partition} {value}""#);
    let mut sent = [0; 2];
    for round in 0..6 {
        for p in 0..2 {
            kafka.cluster.partition_leader("t", p, Some(1 + (round + p) % 3)).expect("a leader");
            for _ in 0..50 {
                kafka.send(p, "k", Some(&sent[p as usize].to_string()));
                sent[p as usize] += 1;
            }
        }
        kafka.flush();
        (0..2).for_each(|p| wait(&server, "p", p, sent[p as usize] - 1));
    }
    assert_eq!(text(&server, "GET n"), "600");
    for p in 0..2 {
        let want: String = (0..300).map(|i| format!("{i} ")).collect();
        assert_eq!(show(&ask(&server, &format!("LRANGE l:{p} 0 -1"))), want);
    }
}

#[test]
fn positions_outlive_a_restart_with_the_data() {
    let kafka = Kafka::new(2);
    let folder = std::env::temp_dir().join(format!("tidewater-kafka-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let builder = || {
        kafka
            .builder()
            .config("dir", folder.to_str().expect("a path"))
            .config("appendonly", "yes")
            .config("appendfsync", "always")
    };
    for round in 1..=3 {
        let server = builder().start().expect("a server");
        if round == 1 {
            ask(&server, r#"KAFKA CREATE p TOPIC t DO "INCR n" DO "RPUSH l {value}""#);
        }
        for i in 0..100 {
            kafka.send(i % 2, "k", Some(&i.to_string()));
        }
        kafka.flush();
        wait(&server, "p", 0, round * 50 - 1);
        wait(&server, "p", 1, round * 50 - 1);
        assert_eq!(text(&server, "GET n"), (round * 100).to_string());
        assert_eq!(text(&server, "LLEN l"), (round * 100).to_string());
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn pipelines_are_paused_moved_altered_and_dropped() {
    let kafka = Kafka::new(1);
    let server = kafka.server();
    ask(&server, r#"KAFKA CREATE p TOPIC t DO "INCR n""#);
    kafka.send(0, "k", Some("1"));
    kafka.send(0, "k", Some("2"));
    kafka.flush();
    wait(&server, "p", 0, 1);
    ask(&server, "KAFKA PAUSE p");
    until_state(&server, "p", "paused");
    kafka.send(0, "k", Some("3"));
    kafka.flush();
    assert_eq!(text(&server, "KAFKA WAIT p 0 2 50"), "0");
    ask(&server, "KAFKA RESUME p FROM earliest");
    wait(&server, "p", 0, 2);
    assert_eq!(text(&server, "GET n"), "5");
    ask(&server, "KAFKA RESUME p FROM 0:2");
    until("the record again", || text(&server, "GET n") == "6");
    ask(&server, r#"KAFKA ALTER p DO "INCRBY n 10""#);
    kafka.send(0, "k", Some("4"));
    kafka.flush();
    wait(&server, "p", 0, 3);
    assert_eq!(text(&server, "GET n"), "16");
    ask(&server, "KAFKA DROP p KEEPOFFSETS");
    until("the end of it", || matches!(ask(&server, "KAFKA LIST"), Value::Array(names) if names.is_empty()));
    kafka.send(0, "k", Some("5"));
    kafka.flush();
    ask(&server, r#"KAFKA CREATE p TOPIC t DO "INCR n""#);
    wait(&server, "p", 0, 4);
    assert_eq!(text(&server, "GET n"), "17");
    ask(&server, "KAFKA DROP p");
    assert_eq!(text(&server, "EXISTS tidewater:kafka tidewater:kafka:p"), "0");
}

#[test]
fn what_cannot_work_is_refused_when_it_is_made() {
    let kafka = Kafka::new(1);
    let server = kafka.server();
    for (line, why) in [
        (r#"KAFKA CREATE p TOPIC t DO "NOSUCH {key}""#, "DO 1"),
        (r#"KAFKA CREATE p TOPIC t DO "GET {key}""#, "DO 1"),
        (r#"KAFKA CREATE p TOPIC t DO "SET {key}""#, "DO 1"),
        (r#"KAFKA CREATE p TOPIC t DO "SET {key} {oops""#, "byte"),
        (
            r#"KAFKA CREATE p FROM elsewhere TOPIC t DO "SET {key} 1""#,
            "no kafka-connection named 'elsewhere'",
        ),
        (r#"KAFKA CREATE p TOPIC t"#, "wrong number of arguments"),
        ("KAFKA PAUSE p", "no pipeline 'p'"),
    ] {
        let Err(ExecuteError::Reply(error)) = run(&server, line) else { panic!("{line} is taken") };
        assert!(error.contains(why), "{line}: {error}");
    }
    kafka.send(0, "k", Some(r#"{"a": 1}"#));
    kafka.flush();
    let shown = show(&ask(&server, r#"KAFKA TEST x TOPIC t DO "SET {key} {.a}" COUNT 5"#));
    assert_eq!(shown.trim(), "0 0 apply SET k 1");
    assert_eq!(text(&server, "DBSIZE"), "0");
}

#[test]
fn a_server_ends_at_once_though_the_brokers_are_dead() {
    let server = Server::builder()
        .config("kafka-connection", "main bootstrap.servers 127.0.0.1:1")
        .start()
        .expect("a server");
    ask(&server, r#"KAFKA CREATE p TOPIC t DO "SET {key} {value}""#);
    until_state(&server, "p", "retrying");
    assert!(!info(&server, "p", "reason").is_empty());
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

/// Rights are given by subcommand: who may look at pipelines need not be able to change them, and any client may wait.
#[test]
fn each_subcommand_has_its_acl_categories() {
    let server = Server::builder().start().unwrap();
    let changes = "@write @admin @slow @dangerous";
    let looks = "@admin @slow @dangerous";
    let of = |command: &str| {
        let row = show(&ask(&server, &format!("COMMAND INFO {command}")));
        row.split_whitespace().filter(|word| word.starts_with('@')).collect::<Vec<_>>().join(" ")
    };
    for (subcommands, categories) in [
        (&["create", "alter", "drop", "pause", "resume", "retry"][..], changes),
        (&["list", "info", "lag", "errors", "test"][..], looks),
        (&["wait"][..], "@slow @blocking"),
        (&["help"][..], "@slow"),
    ] {
        for subcommand in subcommands {
            assert_eq!(of(&format!("kafka|{subcommand}")), categories, "{subcommand}");
        }
    }
}
