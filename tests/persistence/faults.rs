//! A file system that crashes, fails and fills up under a server in the same process.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidewater::base::disk::fault::{Fault, FaultDisk, Op};
use tidewater::base::disk::{Disk, DiskFile};
use tidewater::server::persist::Persistence;
use tidewater::{ExecuteError, Server, Value};

use super::{seed, until};
use crate::support::long;

fn start(disk: &FaultDisk, lines: &[(&str, &str)]) -> Result<Server, String> {
    let mut builder = Server::builder().disk(Arc::new(disk.clone())).config("dir", "/");
    for (name, arguments) in lines {
        builder = builder.config(name, arguments);
    }
    builder.start().map_err(|e| e.to_string())
}

const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always")];
/// Without the sync log.
const ALWAYS_FILE: &[(&str, &str)] =
    &[("appendonly", "yes"), ("appendfsync", "always"), ("aof-sync-log", "no")];
/// The same with a base of commands.
const COMMANDS: &[(&str, &str)] = &[
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("aof-use-rdb-preamble", "no"),
    ("aof-sync-log", "no"),
];

fn run(server: &Server, line: &str) -> Result<Value, ExecuteError> {
    server.execute(line.split(' '))
}

fn is_ok(server: &Server, line: &str) -> bool {
    run(server, line).is_ok()
}

/// The error that a command gets.
fn refusal(server: &Server, line: &str) -> String {
    run(server, line).expect_err(line).to_string()
}

fn number(server: &Server, key: &str) -> i64 {
    match run(server, &format!("GET {key}")).expect("it can be read") {
        Value::Null => 0,
        value => value.as_str().and_then(|text| text.parse().ok()).unwrap_or(-1),
    }
}

fn info(server: &Server, field: &str) -> String {
    let value = run(server, "INFO everything").expect("it tells");
    let text = value.as_str().expect("it is text");
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

fn names(disk: &FaultDisk) -> Vec<String> {
    let mut names = Vec::new();
    for dir in ["/", "/appendonlydir"] {
        if let Ok(inside) = disk.list(Path::new(dir)) {
            names.extend(inside.into_iter().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    names
}

/// What the script of the crash test was told.
#[derive(Default, Debug)]
struct Told {
    /// The last numbers sent and acknowledged: of a key, of a group, and of a counter.
    plain: (i64, i64),
    group: (i64, i64),
    counter: (i64, i64),
}

impl Told {
    /// Writes of every kind, some of each; goes on whatever they are answered.
    fn write(&mut self, server: &Server, times: usize) {
        for _ in 0..times {
            self.plain.0 += 1;
            if is_ok(server, &format!("SET plain {}", self.plain.0)) {
                self.plain.1 = self.plain.0;
            }
            let n = self.group.0 + 1;
            self.group.0 = n;
            if is_ok(server, &format!("MSET g:1 {n} g:2 {n} g:3 {n}")) {
                self.group.1 = n;
            }
            let mut client = server.client();
            self.counter.0 += 1;
            for line in ["MULTI", "INCR counter", "INCRBY from -1", "INCRBY to 1"] {
                let _ = client.execute(line.split(' '));
            }
            if let Ok(Value::Array(_)) = client.execute(["EXEC"]) {
                self.counter.1 += 1;
            }
        }
    }

    /// What is wrong with what is there.
    fn check(&self, server: &Server) -> Vec<String> {
        let mut wrong = Vec::new();
        let group = ["g:1", "g:2", "g:3"].map(|key| number(server, key));
        if group.iter().any(|n| *n != group[0]) {
            wrong.push(format!("half of an MSET: {group:?}"));
        }
        let counter = number(server, "counter");
        let (from, to) = (number(server, "from"), number(server, "to"));
        if from + to != 0 || to != counter {
            wrong.push(format!("half of a transaction: {counter} {from} {to}"));
        }
        let told = [
            ("plain", number(server, "plain"), self.plain),
            ("group", group[0], self.group),
            ("counter", counter, self.counter),
        ];
        for (name, got, (sent, acked)) in told {
            if got < acked || got > sent {
                wrong.push(format!("{name} is {got}, not from {acked} to {sent}"));
            }
        }
        wrong
    }
}

/// The whole script; whatever fails, fails.
fn script(disk: &FaultDisk, lines: &[(&str, &str)], told: &mut Told) -> Result<(), String> {
    let server = start(disk, lines)?;
    let wait = || server.engine().env().service::<Persistence>().wait_for_job();
    told.write(&server, 2);
    let _ = run(&server, "BGREWRITEAOF");
    told.write(&server, 2);
    wait();
    told.write(&server, 1);
    let _ = run(&server, "BGSAVE");
    told.write(&server, 1);
    wait();
    let _ = run(&server, "BGREWRITEAOF");
    wait();
    told.write(&server, 1);
    drop(server);
    Ok(())
}

/// The power fails during every operation of the script in turn, and during that of the start that follows.
#[test]
fn after_a_crash_at_any_operation_all_that_was_acknowledged_is_there() {
    let seed = seed();
    let disk = FaultDisk::new(seed);
    let mut told = Told::default();
    script(&disk, ALWAYS, &mut told).expect("nothing fails");
    assert_eq!((told.plain, told.group, told.counter), ((7, 7), (7, 7), (7, 7)));
    let operations = disk.ops();
    assert!(operations > 40, "{operations}");
    for pass in 0..if long() { 40 } else { 2 } {
        let lines = if pass % 2 == 0 { ALWAYS } else { COMMANDS };
        for at in 0..operations + 4 {
            let disk = FaultDisk::new(seed ^ (pass << 32 | at));
            let mut told = Told::default();
            disk.crash_at(at);
            let started = script(&disk, lines, &mut told);
            assert!(started.is_ok() || disk.is_off(), "operation {at}: {started:?}");
            let lose_all = (pass + at) % 3 == 0;
            match lose_all {
                true => disk.crash_losing_all(),
                false => disk.crash(),
            }
            let before = disk.log();
            // Again while it starts, at one operation or another.
            disk.crash_at(disk.ops() + (at * 7 + pass) % 12);
            if let Ok(server) = start(&disk, lines) {
                told.write(&server, 1);
                drop(server);
            }
            disk.crash();
            let fail = |what: &str| -> ! {
                panic!(
                    "seed {seed}, pass {pass}, operation {at} ({lose_all}): {what}\n{told:?}\nbefore:\n{}\nall:\n{}",
                    before.join("\n"),
                    disk.log()[before.len()..].join("\n")
                )
            };
            let server = start(&disk, lines).unwrap_or_else(|e| fail(&e));
            let wrong = told.check(&server);
            if !wrong.is_empty() {
                fail(&wrong.join("\n"));
            }
            assert!(is_ok(&server, "SET again 1"), "operation {at}");
            let left: Vec<String> = names(&disk).into_iter().filter(|n| n.contains("temp")).collect();
            if !left.is_empty() && left.iter().any(|n| n.contains("aof") || n.contains("rewrite")) {
                fail(&format!("left behind: {left:?}"));
            }
            drop(server);
        }
    }
}

#[test]
fn a_failed_fsync_is_no_acknowledgement_and_a_rewrite_mends_it() {
    for lines in [ALWAYS, ALWAYS_FILE] {
        a_failed_fsync_is_no_acknowledgement(lines);
    }
}

fn a_failed_fsync_is_no_acknowledgement(lines: &[(&str, &str)]) {
    let disk = FaultDisk::new(seed());
    let server = start(&disk, lines).unwrap();
    run(&server, "SET a 1").unwrap();
    run(&server, "MSET x 1 y 1").unwrap();
    assert_eq!(info(&server, "aof_last_write_status"), "ok");
    disk.fail(Op::Overwrite, Fault::Io, u64::MAX);
    disk.fail(Op::Sync, Fault::Io, u64::MAX);
    assert_eq!(run(&server, "SET a 2"), Err(ExecuteError::Unsure));
    until("the status", || info(&server, "aof_last_write_status") == "err");
    let refused = refusal(&server, "SET a 3");
    assert!(refused.starts_with("MISCONF Errors writing to the AOF file"), "{refused}");
    // Reads are served, and a transaction that writes is refused.
    assert_eq!(number(&server, "a"), 2);
    let mut client = server.client();
    client.execute(["MULTI"]).unwrap();
    let queued = client.execute(["SET", "b", "1"]);
    assert!(queued.is_err_and(|e| e.to_string().starts_with("MISCONF")));
    assert!(client.execute(["EXEC"]).is_err());
    // While the disk fails, so does a rewrite.
    until("a rewrite that fails", || info(&server, "aof_last_bgrewrite_status") == "err");
    assert_eq!(info(&server, "aof_last_write_status"), "err");
    assert!(refusal(&server, "SET a 4").starts_with("MISCONF"));
    disk.fail(Op::Overwrite, Fault::Io, 0);
    disk.fail(Op::Sync, Fault::Io, 0);
    until("recovery", || info(&server, "aof_last_write_status") == "ok");
    assert_eq!(info(&server, "aof_last_bgrewrite_status"), "ok");
    run(&server, "SET c 1").unwrap();
    run(&server, "INCR x").unwrap();
    disk.crash_losing_all();
    drop(server);
    let server = start(&disk, lines).unwrap();
    assert_eq!(["a", "x", "y", "b", "c"].map(|key| number(&server, key)), [2, 2, 1, 0, 1]);
    drop(server);
}

/// Each second the file itself is synced. If that fails, what the sync log has vouched for is there all the same.
#[test]
fn a_file_whose_sync_fails_is_made_whole_from_the_sync_log() {
    let disk = FaultDisk::new(seed());
    let server = start(&disk, ALWAYS).unwrap();
    run(&server, "SET a 1").unwrap();
    disk.fail(Op::Sync, Fault::Io, u64::MAX);
    run(&server, "MSET a 2 b 2").expect("the log has it");
    until("the file's sync", || info(&server, "aof_last_write_status") == "err");
    assert!(refusal(&server, "SET a 3").starts_with("MISCONF"));
    disk.crash_losing_all();
    drop(server);
    let server = start(&disk, ALWAYS).unwrap();
    assert_eq!(["a", "b"].map(|key| number(&server, key)), [2, 2]);
    // A log that fails costs nothing but time, and the next file has a new one.
    disk.fail(Op::Overwrite, Fault::Io, 1);
    run(&server, "INCR b").unwrap();
    assert_eq!(info(&server, "aof_last_write_status"), "ok");
    let has_log = || names(&disk).iter().any(|name| name.ends_with(".sync"));
    assert!(!has_log());
    run(&server, "BGREWRITEAOF").unwrap();
    until("the rewrite", || {
        let is_over = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"];
        is_over.into_iter().all(|field| info(&server, field) == "0") && info(&server, "aof_rewrites") == "1"
    });
    run(&server, "INCR b").unwrap();
    until("a new log", has_log);
    run(&server, "CONFIG SET appendfsync everysec").unwrap();
    until("the log's end", || !has_log());
    drop(server);
    disk.crash_losing_all();
    let server = start(&disk, ALWAYS).unwrap();
    assert_eq!(number(&server, "b"), 4);
    drop(server);
    assert!(!has_log(), "a server that stops leaves none");
}

/// What the clients of a failed fsync see over a socket: never an OK.
#[test]
fn whoever_waits_for_a_failed_fsync_gets_no_ok() {
    let disk = FaultDisk::new(seed());
    let builder = Server::builder().port(0).workers(2).disk(Arc::new(disk.clone())).config("dir", "/");
    let server = builder.config("appendonly", "yes").config("appendfsync", "always").start().unwrap();
    let mut links: Vec<_> =
        (0..4).map(|_| super::Link::open(server.port().expect("it listens")).unwrap()).collect();
    for link in &mut links {
        assert_eq!(link.call(&["SET", "k", "1"]).unwrap(), b"+OK\r\n");
    }
    disk.fail(Op::Overwrite, Fault::Io, u64::MAX);
    disk.fail(Op::Sync, Fault::Io, u64::MAX);
    for link in &mut links {
        let mut out = Vec::new();
        super::push(&mut out, &["SET", "k", "2"]);
        link.send(&out).unwrap();
    }
    for link in &mut links {
        // The connection ends, or an error comes: it depends on who was first.
        match link.reply() {
            Ok(reply) => assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii()),
            Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    disk.fail(Op::Overwrite, Fault::Io, 0);
    disk.fail(Op::Sync, Fault::Io, 0);
    until("recovery", || info(&server, "aof_last_write_status") == "ok");
    let mut link = super::Link::open(server.port().expect("it listens")).unwrap();
    assert_eq!(link.call(&["SET", "k", "3"]).unwrap(), b"+OK\r\n");
    drop(server);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    for policy in ["always", "everysec"] {
        let disk = FaultDisk::new(seed());
        let lines = [("appendonly", "yes"), ("appendfsync", policy)];
        let server = start(&disk, &lines).unwrap();
        run(&server, "MSET a 1 b 1").unwrap();
        until("the file", || info(&server, "aof_buffer_length") == "0");
        let rewrites = info(&server, "aof_rewrites");
        disk.set_capacity(Some(disk.used() + 20));
        let filled = run(&server, "MSET a 2 b 2");
        assert_eq!(
            filled,
            if policy == "always" { Err(ExecuteError::Unsure) } else { Ok(Value::Simple("OK".into())) }
        );
        until("the status", || info(&server, "aof_last_write_status") == "err");
        let refused = refusal(&server, "SET a 3");
        assert!(refused.starts_with("MISCONF") && refused.contains("space"), "{refused}");
        disk.set_capacity(None);
        until("recovery", || info(&server, "aof_last_write_status") == "ok");
        assert_eq!(info(&server, "aof_rewrites"), rewrites, "there was no need for one");
        run(&server, "INCR c").unwrap();
        run(&server, "INCR c").unwrap();
        until("the file", || info(&server, "aof_buffer_length") == "0");
        if policy == "everysec" {
            // What is promised, also on a busy machine.
            std::thread::sleep(Duration::from_secs(2));
        }
        disk.crash_losing_all();
        drop(server);
        let server = start(&disk, &lines).unwrap();
        assert_eq!(["a", "b", "c"].map(|key| number(&server, key)), [2, 2, 2], "{policy}");
        drop(server);
    }
}

#[test]
fn a_failed_save_refuses_writes_until_one_works() {
    let disk = FaultDisk::new(seed());
    let server = start(&disk, &[("save", "3600 1000000")]).unwrap();
    run(&server, "SET a 1").unwrap();
    run(&server, "SAVE").unwrap();
    let old = disk.read(Path::new("/dump.rdb"), 1 << 20).unwrap();
    let wait = || server.engine().env().service::<Persistence>().wait_for_job();
    for (op, fault) in
        [(Op::Create, Fault::Full), (Op::Write, Fault::Full), (Op::Sync, Fault::Io), (Op::Rename, Fault::Io)]
    {
        run(&server, "SET a 2").unwrap();
        disk.fail(op, fault, 1);
        run(&server, "BGSAVE").unwrap();
        wait();
        assert_eq!(info(&server, "rdb_last_bgsave_status"), "err", "{op:?}");
        let refused = refusal(&server, "SET a 3");
        assert!(
            refused.starts_with("MISCONF Redis is configured to save RDB snapshots"),
            "{op:?}: {refused}"
        );
        assert_eq!(number(&server, "a"), 2);
        assert_eq!(names(&disk), ["dump.rdb"], "{op:?}");
        assert_eq!(disk.read(Path::new("/dump.rdb"), 1 << 20).unwrap(), old, "{op:?}");
        run(&server, "CONFIG SET stop-writes-on-bgsave-error no").unwrap();
        run(&server, "SET b 1").unwrap();
        run(&server, "CONFIG SET stop-writes-on-bgsave-error yes").unwrap();
        assert!(refusal(&server, "SET a 3").starts_with("MISCONF"));
        // One that works ends it; the next round begins from the same dump.
        run(&server, "BGSAVE").unwrap();
        wait();
        assert_eq!(info(&server, "rdb_last_bgsave_status"), "ok");
        run(&server, "SET a 2").unwrap();
        let mut file = disk.create(Path::new("/dump.rdb")).unwrap();
        std::io::Write::write_all(&mut file, &old).unwrap();
        DiskFile::sync_all(&mut *file).unwrap();
    }
    run(&server, "SAVE").unwrap();
    disk.crash_losing_all();
    drop(server);
    let server = start(&disk, &[("dbfilename", "dump.rdb")]).unwrap();
    assert_eq!(["a", "b"].map(|key| number(&server, key)), [2, 1]);
}

/// The append-only files, by a part of their name.
fn file(disk: &FaultDisk, part: &str) -> std::path::PathBuf {
    let inside = disk.list(Path::new("/appendonlydir")).unwrap();
    let name = inside.iter().find(|name| name.to_string_lossy().contains(part)).expect("it is there");
    Path::new("/appendonlydir").join(name)
}

#[test]
fn a_torn_tail_is_cut_or_refused_as_configured() {
    let disk = FaultDisk::new(seed());
    let server = start(&disk, ALWAYS).unwrap();
    run(&server, "SET a 1").unwrap();
    let whole = disk.size(&file(&disk, "incr")).unwrap();
    run(&server, "MSET a 2 b 2").unwrap();
    drop(server);
    disk.kill();
    let path = file(&disk, "incr");
    let bytes = disk.read(&path, 1 << 20).unwrap();
    for cut in whole + 1..bytes.len() as u64 {
        let mut file = disk.create(&path).unwrap();
        std::io::Write::write_all(&mut file, &bytes[..cut as usize]).unwrap();
        drop(file);
        let no = [ALWAYS, &[("aof-load-truncated", "no")]].concat();
        let refused = start(&disk, &no).err().unwrap_or_else(|| panic!("{cut}"));
        assert!(refused.contains("Unexpected end of file"), "{refused}");
        assert!(refused.contains("at offset "), "{cut}: {refused}");
        assert_eq!(disk.size(&path).unwrap(), cut, "nothing was changed");
        let server = start(&disk, ALWAYS).unwrap();
        assert_eq!((number(&server, "a"), number(&server, "b")), (1, 0), "{cut}");
        assert_eq!(disk.size(&path).unwrap(), whole, "it goes on after what is whole");
        run(&server, "SET c 1").unwrap();
        drop(server);
        disk.kill();
        let server = start(&disk, ALWAYS).unwrap();
        assert_eq!(["a", "b", "c"].map(|key| number(&server, key)), [1, 0, 1], "{cut}");
        drop(server);
        disk.kill();
    }
}

/// Writers that outrun a snapshot have what they overwrite written first, not kept.
#[test]
fn a_snapshot_on_a_slow_disk_keeps_little_in_memory() {
    const KEYS: usize = 10_000;
    let disk = FaultDisk::new(seed());
    let server = start(&disk, &[]).expect("it starts");
    let mut client = server.client();
    let mut write = |value: &str| {
        for i in 0..KEYS {
            client.execute(["SET", &format!("key:{i}"), &value.repeat(2000)]).expect("it is written");
        }
    };
    write("a");
    disk.slow(Op::Write, Duration::from_millis(2));
    // A little compression would leave a little to write.
    run(&server, "CONFIG SET rdbcompression no").expect("it is set");
    run(&server, "BGSAVE").expect("it begins");
    write("b");
    until("the save's end", || info(&server, "rdb_bgsave_in_progress") == "0");
    let peak: usize = info(&server, "rdb_last_cow_size").parse().expect("a number");
    assert!((1 << 20..8 << 20).contains(&peak), "{peak} bytes of 20 MB waited");
    drop(server);
    let server = start(&disk, &[]).expect("it starts");
    for i in [0, KEYS / 2, KEYS - 1] {
        let value = run(&server, &format!("GET key:{i}")).expect("it is there");
        assert_eq!(value.as_str().map(|v| &v[..2]), Some("aa"), "the dump is as of the cut");
    }
}
