//! Many clients at once over real sockets, on several workers: what is atomic is seen whole, nothing is lost, nothing
//! waits for ever (a reply that does not come within 20 seconds fails the test).
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidewater::Server;
use tidewater::base::rng::Rng;

use crate::support::long;
use crate::support::wire::{Node, Wire};

fn server() -> Server {
    Server::builder().port(0).workers(4).shards(64).start().expect("it starts")
}

fn connect(server: &Server) -> Wire {
    Wire::connect(server.port().expect("it listens"))
}

/// When a test that goes on as long as it may is to end.
fn end() -> Instant {
    Instant::now() + if long() { Duration::from_secs(30) } else { Duration::from_millis(1200) }
}

fn scale(n: usize) -> usize {
    if long() { 20 * n } else { n }
}

/// Tells the others to end when a thread does, be it by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a client does again and again.
type Job<'a> = &'a (dyn Fn(&mut Wire, &mut Rng) + Sync);

/// Runs every job again and again, each with its own client and its own randomness, until the time is over or one fails.
/// Tells how often each ran: every one must have come to its turn.
fn repeat<'a>(server: &Server, jobs: &[Job<'a>]) -> Vec<usize> {
    let (end, over) = (end(), AtomicBool::new(false));
    thread::scope(|scope| {
        let start = |(i, job): (usize, Job<'a>)| {
            let (over, mut client) = (&over, connect(server));
            scope.spawn(move || {
                let mut rng = Rng::from_seed(i as u64);
                let mut times = 0;
                let _ends = Ends(over);
                while times == 0 || (Instant::now() < end && !over.load(Ordering::Relaxed)) {
                    job(&mut client, &mut rng);
                    times += 1;
                }
                times
            })
        };
        let threads: Vec<_> = jobs.iter().copied().enumerate().map(start).collect();
        threads.into_iter().map(|t| t.join().expect("no thread panics")).collect()
    })
}

const ACCOUNTS: u64 = 12;
const TOTAL: i64 = ACCOUNTS as i64 * 1000;

fn accounts() -> String {
    (0..ACCOUNTS).map(|i| format!(" account:{i}")).collect()
}

fn sum(values: &[Node]) -> i64 {
    assert_eq!(values.len(), ACCOUNTS as usize);
    values.iter().map(Node::number).sum()
}

/// Two accounts, and an amount.
fn transfer(rng: &mut Rng) -> (u64, u64, i64) {
    let from = rng.below(ACCOUNTS);
    let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
    (from, to, rng.below(50) as i64)
}

#[test]
fn transfers_are_seen_whole() {
    let server = server();
    let mut client = connect(&server);
    // The same total in both databases: whichever is in the place of the first has it.
    for db in 0..2 {
        let set: String = (0..ACCOUNTS).map(|i| format!(" account:{i} 1000")).collect();
        client.pipeline(&[format!("SELECT {db}"), format!("MSET{set}")]);
    }
    let by_transaction = |c: &mut Wire, rng: &mut Rng| {
        let (from, to, n) = transfer(rng);
        let debit = format!("DECRBY account:{from} {n}");
        let replies = c.pipeline(&["MULTI", &debit, &format!("INCRBY account:{to} {n}"), "EXEC"]);
        assert_eq!(replies[3].parts.len(), 2, "{}", replies[3].show());
    };
    let by_mset = |c: &mut Wire, rng: &mut Rng| {
        let (from, to, n) = transfer(rng);
        let read = c.pipeline(&[
            format!("WATCH account:{from} account:{to}"),
            format!("MGET account:{from} account:{to}"),
        ]);
        let (a, b) = (read[1].parts[0].number(), read[1].parts[1].number());
        let set = format!("MSET account:{from} {} account:{to} {}", a - n, b + n);
        let replies = c.pipeline(&["MULTI", &set, "EXEC"]);
        assert!(replies[2].is_nil() || replies[2].parts.len() == 1, "{}", replies[2].show());
    };
    let mget = |c: &mut Wire, _: &mut Rng| {
        let line = format!("MGET{}", accounts());
        let read = c.pipeline(&[&line, "PING", &line, &line]);
        for reply in [&read[0], &read[2], &read[3]] {
            assert_eq!(sum(&reply.parts), TOTAL);
        }
    };
    let exec = |c: &mut Wire, _: &mut Rng| {
        let mut lines = vec!["MULTI".to_owned()];
        lines.extend((0..ACCOUNTS).map(|i| format!("GET account:{i}")));
        lines.push("EXEC".into());
        let replies = c.pipeline(&lines);
        assert_eq!(sum(&replies.last().expect("of EXEC").parts), TOTAL);
    };
    let swap = |c: &mut Wire, _: &mut Rng| {
        assert_eq!(c.ask("SWAPDB 0 1").raw, b"+OK\r\n");
        thread::sleep(Duration::from_millis(2));
    };
    repeat(&server, &[&by_transaction, &by_transaction, &by_mset, &by_mset, &mget, &exec, &swap]);
    for db in 0..2 {
        let replies = client.pipeline(&[format!("SELECT {db}"), format!("MGET{}", accounts())]);
        assert_eq!(sum(&replies[1].parts), TOTAL);
    }
}

#[test]
fn mset_is_seen_whole() {
    let server = server();
    let keys: Vec<String> = (0..10).map(|i| format!("key:{i}")).collect();
    let write = |c: &mut Wire, rng: &mut Rng| {
        let n = rng.next_u32();
        let pairs: String = keys.iter().map(|k| format!(" {k} {n}")).collect();
        c.pipeline(&[format!("MSET{pairs}"), format!("GET {}", keys[3]), format!("MSET{pairs}")]);
    };
    let read = |c: &mut Wire, _: &mut Rng| {
        let reply = c.ask(&format!("MGET {}", keys.join(" ")));
        assert!(reply.parts.iter().all(|v| v.raw == reply.parts[0].raw), "{}", reply.show());
    };
    let delete = |c: &mut Wire, _: &mut Rng| {
        let n = c.ask(&format!("DEL {}", keys.join(" "))).number();
        assert!(n == 0 || n == 10, "{n} of 10 were there");
        thread::sleep(Duration::from_millis(1));
    };
    repeat(&server, &[&write, &write, &read, &read, &delete]);
}

#[test]
fn no_increment_is_lost() {
    let server = server();
    let (threads, batches) = (6, scale(30));
    thread::scope(|scope| {
        for _ in 0..threads {
            let mut c = connect(&server);
            scope.spawn(move || {
                for _ in 0..batches {
                    // In and out of groups and transactions.
                    let mut lines: Vec<String> = (0..40).map(|i| format!("INCR count:{}", i % 4)).collect();
                    lines.extend(
                        ["MULTI", "INCR count:0", "HINCRBY hash field 1", "EXEC", "PING"].map(String::from),
                    );
                    assert!(c.pipeline(&lines).iter().all(|r| !r.is_error()));
                }
            });
        }
    });
    let n = (threads * batches) as i64;
    let counts = connect(&server).ask("MGET count:0 count:1 count:2 count:3");
    let counts: Vec<i64> = counts.parts.iter().map(Node::number).collect();
    assert_eq!(counts, [11 * n, 10 * n, 10 * n, 10 * n]);
    assert_eq!(connect(&server).ask("HGET hash field").number(), n);
}

#[test]
fn optimistic_locking_loses_no_increment() {
    let server = server();
    let (threads, each) = (4, scale(60));
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (mut c, refused) = (connect(&server), &refused);
            scope.spawn(move || {
                let mut done = 0;
                while done < each {
                    let read = c.pipeline(&["WATCH n", "GET n"]);
                    let n = if read[1].is_nil() { 0 } else { read[1].number() };
                    // A moment in which others come between.
                    thread::yield_now();
                    let replies = c.pipeline(&["MULTI", &format!("SET n {}", n + 1), "EXEC"]);
                    if replies[2].is_nil() {
                        refused.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_eq!(replies[2].parts[0].raw, b"+OK\r\n");
                        done += 1;
                    }
                }
            });
        }
    });
    assert_eq!(connect(&server).ask("GET n").number(), (threads * each) as i64);
    assert!(refused.load(Ordering::Relaxed) > 0, "nobody ever came between: the test tests nothing");
}

/// Waits until so many clients are blocked.
fn await_blocked(client: &mut Wire, n: usize) {
    let wanted = format!("blocked_clients:{n}\r");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let info = client.ask("INFO clients");
        let info = String::from_utf8_lossy(info.bulk().expect("text")).into_owned();
        if info.contains(&wanted) {
            return;
        }
        assert!(Instant::now() < end, "{info}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn queues_neither_lose_nor_duplicate() {
    let server = server();
    let (producers, consumers, each) = (3, 6, scale(200));
    let lists = ["queue:0", "queue:1", "queue:2"];
    let mut taken: Vec<String> = thread::scope(|scope| {
        let consumer = |i: usize| {
            let mut c = connect(&server);
            scope.spawn(move || {
                let mut taken = Vec::new();
                loop {
                    let reply = match i % 3 {
                        0 => c.ask("BRPOP queue:0 queue:1 queue:2 20").parts.pop(),
                        1 => {
                            let mut reply = c.ask("BLMPOP 20 3 queue:0 queue:1 queue:2 RIGHT");
                            reply.parts.pop().and_then(|mut popped| popped.parts.pop())
                        }
                        // A list of its own, that a fourth producer's elements go through.
                        _ => Some(c.ask(&format!("BLMOVE queue:0 done:{i} RIGHT LEFT 0.05"))),
                    };
                    let reply = reply.expect("an element in time");
                    match reply.bulk() {
                        // Its time was over: there is nothing more once the others have ended.
                        None => {
                            if c.ask("EXISTS over").number() == 1 {
                                return taken;
                            }
                        }
                        Some(b"end") => return taken,
                        Some(text) => taken.push(String::from_utf8_lossy(text).into_owned()),
                    }
                }
            })
        };
        let consumers_running: Vec<_> = (0..consumers).map(consumer).collect();
        let mut c = connect(&server);
        await_blocked(&mut c, consumers);
        let producer = |p: usize| {
            let mut c = connect(&server);
            scope.spawn(move || {
                for i in 0..each {
                    let list = lists[(p + i) % 3];
                    match i % 4 {
                        0 => drop(c.pipeline(&["MULTI", &format!("LPUSH {list} {p}:{i}"), "EXEC"])),
                        1 => drop(c.pipeline(&[format!("LPUSH {list} {p}:{i}"), "PING".into()])),
                        _ => drop(c.ask(&format!("LPUSH {list} {p}:{i}"))),
                    }
                }
            })
        };
        let running: Vec<_> = (0..producers).map(producer).collect();
        running.into_iter().for_each(|t| t.join().expect("no producer panics"));
        // The marks come last in the list that is looked at last.
        let marks: String = (0..consumers).filter(|i| i % 3 != 2).map(|_| " end").collect();
        c.ask(&format!("LPUSH queue:2{marks}"));
        c.ask("SET over 1");
        consumers_running.into_iter().flat_map(|t| t.join().expect("no consumer panics")).collect()
    });
    let mut all: Vec<String> =
        (0..producers).flat_map(|p| (0..each).map(move |i| format!("{p}:{i}"))).collect();
    all.sort();
    taken.sort();
    assert_eq!(taken.len(), all.len());
    assert!(taken == all, "something was lost and something came twice");
    let mut c = connect(&server);
    assert_eq!(c.ask("EXISTS queue:0 queue:1 queue:2").number(), 0);
    await_blocked(&mut c, 0);
}

#[test]
fn messages_come_all_and_in_order() {
    let server = server();
    let (publishers, each) = (3, scale(300));
    thread::scope(|scope| {
        let mut subscribers = Vec::new();
        for i in 0..5 {
            let mut c = connect(&server);
            let command = if i % 2 == 0 { "SUBSCRIBE c:0 c:1 c:2" } else { "PSUBSCRIBE c:*" };
            let confirmations = if i % 2 == 0 { 3 } else { 1 };
            c.ask(command);
            (1..confirmations).for_each(|_| drop(c.reply(&vec![])));
            subscribers.push(scope.spawn(move || {
                let mut next = BTreeMap::new();
                for _ in 0..publishers * each {
                    let message = c.reply(&vec![b"a message".to_vec()]);
                    let mut parts = message.parts.iter().rev();
                    let n = parts.next().expect("a payload").number();
                    let channel = parts.next().expect("a channel").raw.clone();
                    let expected = next.entry(channel).or_insert(0);
                    assert_eq!(n, *expected, "{}", message.show());
                    *expected += 1;
                }
            }));
        }
        for p in 0..publishers {
            let mut c = connect(&server);
            scope.spawn(move || {
                for start in (0..each).step_by(20) {
                    let n = 20.min(each - start);
                    let lines: Vec<String> = (0..n).map(|i| format!("PUBLISH c:{p} {}", start + i)).collect();
                    for reply in c.pipeline(&lines) {
                        assert_eq!(reply.number(), 5);
                    }
                }
            });
        }
        subscribers.into_iter().for_each(|t| t.join().expect("no subscriber panics"));
    });
}

#[test]
fn commands_on_everything_and_on_some_keys_end() {
    let server = server();
    let key = |rng: &mut Rng| format!("k:{}", rng.below(40));
    let write = |c: &mut Wire, rng: &mut Rng| {
        let pairs: String = (0..8).map(|_| format!(" {} v", key(rng))).collect();
        let lines = [
            format!("MSET{pairs}"),
            format!("RENAME {} {}", key(rng), key(rng)),
            format!("COPY {} {} REPLACE", key(rng), key(rng)),
            "MULTI".into(),
            format!("DEL {} {}", key(rng), key(rng)),
            format!("MOVE {} 1", key(rng)),
            format!("MGET {} {} {}", key(rng), key(rng), key(rng)),
            "EXEC".into(),
            format!("BITOP OR {} {} {}", key(rng), key(rng), key(rng)),
            format!("PEXPIRE {} {}", key(rng), rng.below(20)),
        ];
        let replies = c.pipeline(&lines);
        assert_eq!(replies[7].parts.len(), 3, "{}", replies[7].show());
    };
    let flush = |c: &mut Wire, rng: &mut Rng| {
        let line = if rng.below(2) == 0 { "FLUSHALL" } else { "FLUSHDB ASYNC" };
        assert_eq!(c.ask(line).raw, b"+OK\r\n");
        thread::sleep(Duration::from_millis(1));
    };
    let swap = |c: &mut Wire, _: &mut Rng| {
        let replies = c.pipeline(&["MULTI", "SWAPDB 0 1", "FLUSHDB", "SWAPDB 0 1", "EXEC"]);
        assert_eq!(replies[4].parts.len(), 3, "{}", replies[4].show());
        thread::sleep(Duration::from_millis(1));
    };
    let look = |c: &mut Wire, _: &mut Rng| {
        let replies =
            c.pipeline(&["KEYS *", "DBSIZE", "RANDOMKEY", "SCAN 0 COUNT 100", "DBSIZE", "KEYS k:1*"]);
        assert!(replies.iter().all(|r| !r.is_error()));
        assert!(replies[0].parts.len() <= 40 && replies[1].number() <= 40);
    };
    let everything = |c: &mut Wire, _: &mut Rng| {
        c.pipeline(&[
            "DEL list",
            "RPUSH list 3 1 2",
            "SORT list BY k:* GET k:* GET #",
            "SORT list STORE sorted",
        ]);
    };
    repeat(&server, &[&write, &write, &write, &flush, &swap, &look, &look, &everything]);
    let mut c = connect(&server);
    // What has expired counts until the cron has removed it; that is a matter of a tenth of a second.
    let deadline = Instant::now() + Duration::from_secs(5);
    while c.ask("KEYS *").parts.len() as i64 != c.ask("DBSIZE").number() {
        assert!(Instant::now() < deadline, "keys and count do not meet");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn long_commands_see_transactions_whole() {
    const MEMBERS: usize = 50_000;
    let server = server();
    let mut client = connect(&server);
    for start in (0..MEMBERS).step_by(1000) {
        let part = start..start + 1000;
        let a: String = part.clone().map(|i| format!(" {i}")).collect();
        let b: String = part.map(|i| format!(" {}", i + MEMBERS / 2)).collect();
        client.pipeline(&[format!("SADD a{a}"), format!("SADD b{b}"), format!("RPUSH list{a}")]);
    }
    client.ask("SADD a token");
    let union = MEMBERS + MEMBERS / 2 + 1;
    let (from, to) = (AtomicUsize::new(0), MEMBERS);
    let transact = |c: &mut Wire, _: &mut Rng| {
        // The token is always in one of the two sets; set `a` and the list keep their sizes.
        let i = from.fetch_add(1, Ordering::Relaxed) % to;
        let lines = [
            "MULTI".into(),
            format!("SREM a {i}"),
            format!("SADD a {i}"),
            "SMOVE a b token".into(),
            "SMOVE b a token".into(),
            "LPOP list".into(),
            format!("RPUSH list {i}"),
            "EXEC".into(),
        ];
        let replies = c.pipeline(&lines);
        assert_eq!(replies[7].parts.len(), 6, "{}", replies[7].show());
    };
    let store = |c: &mut Wire, _: &mut Rng| {
        assert_eq!(c.ask("SUNIONSTORE union a b").number() as usize, union);
        let replies = c.pipeline(&["SISMEMBER union token", "SCARD union"]);
        assert_eq!((replies[0].number(), replies[1].number() as usize), (1, union));
    };
    let sort = |c: &mut Wire, _: &mut Rng| {
        assert_eq!(c.ask("SORT list STORE sorted").number() as usize, MEMBERS);
    };
    let read = |c: &mut Wire, _: &mut Rng| {
        let replies = c.pipeline(&["SMEMBERS a", "LRANGE list 0 -1", "SCARD a"]);
        let sizes = (replies[0].parts.len(), replies[1].parts.len(), replies[2].number() as usize);
        assert_eq!(sizes, (MEMBERS + 1, MEMBERS, MEMBERS + 1));
    };
    let others = |c: &mut Wire, _: &mut Rng| {
        c.pipeline(&["SET other 1", "GET other"]);
    };
    let times = repeat(&server, &[&transact, &store, &sort, &read, &others]);
    println!("transactions, unions, sorts, reads, others: {times:?}");
    assert_eq!(client.ask("SCARD a").number() as usize, MEMBERS + 1);
}
