//! kill -9 under concurrent writers: what was acknowledged is there, and nothing is there by half.
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tidewater::base::rng::Rng;

use super::{Folder, Link, Running, push, seed};
use crate::support::long;

/// Keys of each writer of plain keys, and of each writer of groups.
const KEYS: usize = 40;
const GROUPS: usize = 10;
const ACCOUNTS: usize = 12;
const EACH: i64 = 1000;
const QUEUE: usize = 20;
/// Keys that nobody writes: they make a snapshot take its time.
const FILLER: usize = 4000;
/// What `everysec` may lose.
const LOSS: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    /// SET of ascending numbers, several in a pipeline.
    Plain,
    /// MSET of one number to two to four keys.
    Groups,
    /// From one account to another and a counter beside, in MULTI.
    Transfers,
    /// INCR.
    Counter,
    /// LMOVE between lists.
    Moves,
}

const WRITERS: [Work; 7] =
    [Work::Plain, Work::Plain, Work::Groups, Work::Groups, Work::Transfers, Work::Counter, Work::Moves];

/// What a writer sent, and what it was told.
struct Story {
    work: Work,
    id: usize,
    /// By key: the last number sent.
    sent: Vec<i64>,
    /// When which key was said to have which number.
    acked: Vec<(Instant, usize, i64)>,
}

struct Writer {
    story: Story,
    link: Link,
    round: usize,
    rng: Rng,
    next: i64,
}

/// The keys of a group.
fn group(round: usize, id: usize, g: usize) -> Vec<String> {
    (0..2 + g % 3).map(|i| format!("m:{round}:{id}:{g}:{i}")).collect()
}

impl Writer {
    /// Until the connection ends.
    fn run(mut self, stop: &AtomicBool) -> Story {
        while !stop.load(SeqCst) && self.step().is_ok() {}
        self.story
    }

    fn step(&mut self) -> io::Result<()> {
        let (round, id) = (self.round, self.story.id);
        let mut out = Vec::new();
        match self.story.work {
            Work::Plain => {
                let n = 1 + self.rng.below(12) as usize;
                let mut batch = Vec::new();
                for _ in 0..n {
                    self.next += 1;
                    let key = self.rng.below(KEYS as u64) as usize;
                    push(&mut out, &["SET", &format!("p:{round}:{id}:{key}"), &self.next.to_string()]);
                    self.story.sent[key] = self.next;
                    batch.push((key, self.next));
                }
                self.link.send(&out)?;
                for (key, number) in batch {
                    self.expect(b"+OK\r\n")?;
                    self.story.acked.push((Instant::now(), key, number));
                }
                return Ok(());
            }
            Work::Groups => {
                self.next += 1;
                let g = self.rng.below(GROUPS as u64) as usize;
                let mut args = vec!["MSET".to_owned()];
                for key in group(round, id, g) {
                    args.extend([key, self.next.to_string()]);
                }
                push(&mut out, &args);
                self.story.sent[g] = self.next;
                self.link.send(&out)?;
                self.expect(b"+OK\r\n")?;
                self.story.acked.push((Instant::now(), g, self.next));
                return Ok(());
            }
            Work::Transfers => {
                let (from, to) = (self.rng.below(ACCOUNTS as u64), self.rng.below(ACCOUNTS as u64));
                let amount = self.rng.below(50).to_string();
                push(&mut out, &["MULTI"]);
                push(&mut out, &["DECRBY", &format!("account:{from}"), &amount]);
                push(&mut out, &["INCRBY", &format!("account:{to}"), &amount]);
                push(&mut out, &["INCR", &format!("c:{round}:{id}")]);
                push(&mut out, &["EXEC"]);
            }
            Work::Counter => push(&mut out, &["INCR", &format!("c:{round}:{id}")]),
            Work::Moves => {
                let (from, to) = (self.rng.below(4), self.rng.below(4));
                push(&mut out, &["LMOVE", &format!("queue:{from}"), &format!("queue:{to}"), "LEFT", "RIGHT"]);
            }
        }
        self.next += 1;
        self.story.sent[0] = self.next;
        self.link.send(&out)?;
        if self.story.work == Work::Transfers {
            self.expect(b"+OK\r\n")?;
            for _ in 0..3 {
                self.expect(b"+QUEUED\r\n")?;
            }
        }
        let reply = self.link.reply()?;
        assert_ne!(reply[0], b'-', "{}", reply.escape_ascii());
        self.story.acked.push((Instant::now(), 0, self.next));
        Ok(())
    }

    fn expect(&mut self, reply: &[u8]) -> io::Result<()> {
        let got = self.link.reply()?;
        assert_eq!(got, reply, "{}", got.escape_ascii());
        Ok(())
    }
}

/// What runs beside the writers.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    Rewrites,
    Saves,
    Both,
}

struct Trial {
    folder: Folder,
    policy: &'static str,
    rng: Rng,
    round: usize,
    /// Rounds whose kill met a job that was running.
    met: usize,
}

impl Trial {
    fn new(policy: &'static str, seed: u64) -> Self {
        Trial { folder: Folder::new(policy), policy, rng: Rng::from_seed(seed), round: 0, met: 0 }
    }

    fn start(&self) -> Running {
        let options = [
            "--appendonly",
            "yes",
            "--appendfsync",
            self.policy,
            "--save",
            "",
            "--rdb-key-save-delay",
            "100",
            // The file must not grow without end over many rounds, nor be rewritten all the time.
            "--auto-aof-rewrite-min-size",
            "64mb",
        ];
        Running::start(&self.folder, &options)
    }

    /// What is conserved. `everysec` may have lost it, all of it.
    fn prepare(&self, link: &mut Link) {
        if link.number(&["EXISTS", "account:0"]) == 0 {
            let mut args = vec!["MSET".to_owned()];
            (0..ACCOUNTS).for_each(|i| args.extend([format!("account:{i}"), EACH.to_string()]));
            assert_eq!(link.call(&args).expect("it answers"), b"+OK\r\n");
        }
        if (0..4).all(|i| link.number(&["LLEN", &format!("queue:{i}")]) == 0) {
            let mut args = vec!["RPUSH".to_owned(), "queue:0".to_owned()];
            args.extend((0..QUEUE).map(|i| i.to_string()));
            link.call(&args).expect("it answers");
        }
        let mut out = Vec::new();
        (0..FILLER).for_each(|i| push(&mut out, &["SET", &format!("filler:{i}"), "x"]));
        link.send(&out).expect("it listens");
        (0..FILLER).for_each(|_| drop(link.reply().expect("it answers")));
    }

    fn round(&mut self, beside: Beside, live: Duration) {
        let (round, mut server) = (self.round, self.start());
        self.round += 1;
        self.prepare(&mut server.link());
        let stop = AtomicBool::new(false);
        let (stories, killed_at) = std::thread::scope(|scope| {
            let writers: Vec<_> = WRITERS
                .iter()
                .enumerate()
                .map(|(id, &work)| {
                    let keys = match work {
                        Work::Plain => KEYS,
                        Work::Groups => GROUPS,
                        _ => 1,
                    };
                    let story = Story { work, id, sent: vec![0; keys], acked: Vec::new() };
                    let writer = Writer { story, link: server.link(), round, rng: self.rng.fork(), next: 0 };
                    scope.spawn(|| writer.run(&stop))
                })
                .collect();
            let end = Instant::now() + live;
            let mut link = server.link();
            let mut turn = 0;
            let mut running = false;
            while Instant::now() < end {
                turn += 1;
                let command = match beside {
                    Beside::Nothing => "PING",
                    Beside::Rewrites => "BGREWRITEAOF",
                    Beside::Saves => "BGSAVE",
                    Beside::Both => ["BGREWRITEAOF", "BGSAVE"][turn % 2],
                };
                let reply = link.call(&[command]).expect("it is alive");
                running = reply.starts_with(b"+Background") || reply.starts_with(b"-ERR Background");
                let left = end.saturating_duration_since(Instant::now());
                std::thread::sleep(left.min(Duration::from_millis(40)));
            }
            self.met += usize::from(running);
            // What is acknowledged after this moment was not lost by age.
            let killed_at = Instant::now();
            server.kill();
            stop.store(true, SeqCst);
            let stories: Vec<Story> = writers.into_iter().map(|w| w.join().expect("a writer")).collect();
            (stories, killed_at)
        });
        let server = self.start();
        let acked: usize = stories.iter().map(|s| s.acked.len()).sum();
        let wrong = self.check(&mut server.link(), round, &stories, killed_at);
        assert!(
            wrong.is_empty(),
            "{} round {round} ({beside:?}, {live:?}, {acked} acknowledged):\n{}\nthe log:\n{}",
            self.policy,
            wrong.join("\n"),
            server.log()
        );
        assert!(acked > 0, "nobody got anywhere");
    }

    fn check(&self, link: &mut Link, round: usize, stories: &[Story], killed_at: Instant) -> Vec<String> {
        let mut wrong = Vec::new();
        let always = self.policy == "always";
        for story in stories {
            let mut least = vec![0; story.sent.len()];
            for (at, key, number) in &story.acked {
                if always || killed_at.saturating_duration_since(*at) > LOSS {
                    least[*key] = *number;
                }
            }
            let id = story.id;
            for (key, (least, most)) in least.into_iter().zip(&story.sent).enumerate() {
                let (name, got) = match story.work {
                    Work::Plain => {
                        let name = format!("p:{round}:{id}:{key}");
                        let got = link.number(&["GET", &name]);
                        (name, got)
                    }
                    Work::Groups => {
                        let names = group(round, id, key);
                        let got: Vec<i64> = names.iter().map(|name| link.number(&["GET", name])).collect();
                        if got.iter().any(|n| *n != got[0]) {
                            wrong.push(format!("half of an MSET: {names:?} {got:?}"));
                        }
                        (names[0].clone(), got[0])
                    }
                    Work::Transfers | Work::Counter => {
                        let name = format!("c:{round}:{id}");
                        let got = link.number(&["GET", &name]);
                        (name, got)
                    }
                    Work::Moves => continue,
                };
                if got < least || got > *most {
                    wrong.push(format!("{name} is {got}, not from {least} to {most}"));
                }
            }
        }
        let sum: i64 = (0..ACCOUNTS).map(|i| link.number(&["GET", &format!("account:{i}")])).sum();
        let there = link.number(&["EXISTS", "account:0"]) == 1;
        if sum != EACH * ACCOUNTS as i64 && (always || there || sum != 0) {
            wrong.push(format!("accounts: {sum}"));
        }
        let moved: i64 = (0..4).map(|i| link.number(&["LLEN", &format!("queue:{i}")])).sum();
        if moved != QUEUE as i64 && (always || moved != 0) {
            wrong.push(format!("queues: {moved}"));
        }
        wrong
    }
}

const BESIDE: [Beside; 4] = [Beside::Both, Beside::Rewrites, Beside::Saves, Beside::Nothing];

#[test]
fn always_keeps_all_that_was_acknowledged() {
    let mut trial = Trial::new("always", seed());
    let rounds = if long() { 140 } else { 4 };
    for i in 0..rounds {
        let live = Duration::from_millis(50 + trial.rng.below(if long() { 1500 } else { 600 }));
        trial.round(BESIDE[i % 4], live);
    }
    assert!(trial.met > rounds / 4, "only {} of {rounds} kills met a snapshot", trial.met);
}

#[test]
fn everysec_loses_no_more_than_two_seconds_and_no_halves() {
    let mut trial = Trial::new("everysec", seed());
    let rounds = if long() { 60 } else { 2 };
    for i in 0..rounds {
        let longest = if long() { 4000 } else { 1000 };
        let live = Duration::from_millis(if i % 2 == 0 { 2300 } else { 50 } + trial.rng.below(longest));
        trial.round(BESIDE[i % 4], live);
    }
    assert!(trial.met > rounds / 4, "only {} of {rounds} kills met a snapshot", trial.met);
}

/// A dump that was written under transfers shows every one of them whole.
#[test]
fn a_dump_written_under_load_is_one_moment() {
    let seed = seed();
    let folder = Folder::new("moment");
    let mut server = Running::start(&folder, &["--save", "", "--rdb-key-save-delay", "50"]);
    let mut trial = Trial::new("no", seed);
    trial.prepare(&mut server.link());
    let rounds = if long() { 30 } else { 3 };
    for round in 0..rounds {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (id, work) in
                [(0, Work::Transfers), (1, Work::Transfers), (2, Work::Moves), (3, Work::Groups)]
            {
                let story = Story { work, id, sent: vec![0; GROUPS], acked: Vec::new() };
                let writer = Writer { story, link: server.link(), round, rng: trial.rng.fork(), next: 0 };
                scope.spawn(|| writer.run(&stop));
            }
            let mut link = server.link();
            let before = link.info("rdb_saves");
            super::until("writers", || link.number(&["GET", &format!("c:{round}:0")]) > 20);
            let reply = link.call(&["BGSAVE"]).expect("it answers");
            assert_eq!(reply, b"+Background saving started\r\n");
            super::until("the save", || link.info("rdb_bgsave_in_progress") == "0");
            assert_ne!(link.info("rdb_saves"), before, "{}", server.log());
            stop.store(true, SeqCst);
        });
        server.kill();
        server = Running::start(&folder, &["--save", "", "--rdb-key-save-delay", "50"]);
        let mut link = server.link();
        let sum: i64 = (0..ACCOUNTS).map(|i| link.number(&["GET", &format!("account:{i}")])).sum();
        assert_eq!(sum, EACH * ACCOUNTS as i64, "round {round}");
        let moved: i64 = (0..4).map(|i| link.number(&["LLEN", &format!("queue:{i}")])).sum();
        assert_eq!(moved, QUEUE as i64, "round {round}");
        assert!(link.number(&["GET", &format!("c:{round}:0")]) >= 20);
        for g in 0..GROUPS {
            let got: Vec<i64> = group(round, 3, g).iter().map(|name| link.number(&["GET", name])).collect();
            assert!(got.iter().all(|n| *n == got[0]), "half of an MSET: {got:?}");
        }
    }
}
