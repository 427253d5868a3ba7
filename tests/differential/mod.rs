//! The same random commands to Tidewater and to a real redis-server: the replies are the same bytes.
//!
//! A stream comes from a seed, which is printed; `TIDEWATER_SEED` sets it, in a long run that of the first. What differs
//! is made as small as possible before it is shown. Where Redis promises no order or no value, the comparison is as strict as that allows (`generate::Compare`);
//! where versions differ, `known` says so by name.
mod docs;
pub mod dump;
mod generate;
mod journal;
pub mod known;
pub mod oracle;
mod stream_groups;
mod streams;
mod templates;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidewater::Server;

use crate::support::wire::{Args, Node, Wire, shorten, show};
use generate::{Compare, Generator, Step};
use oracle::{Oracle, SETTINGS};

/// Commands a stream; there is one for each protocol version, and many in a long run.
const STEPS: usize = 10_000;
const LONG_STREAMS: u64 = 40;
/// redis-server 7.0.15 spoils a stream now and then (XADD with MAXLEN among XDELs): an assertion ends it when it reads that
/// next (`lpValidateNext`), or XRANGE tells of fields that were never added. So many streams of a long run may end with it.
const CRASHES_MAX: u32 = 4;
/// Differences after which a stream has shown enough.
const SHOWN_MAX: usize = 12;
const DATABASES: usize = 2;

/// One server under test, with two clients.
struct Side {
    clients: [Wire; 2],
}

impl Side {
    fn new(port: u16, protocol: u32) -> Self {
        let mut clients = [Wire::connect(port), Wire::connect(port)];
        for client in &mut clients {
            let hello = client.ask(&format!("HELLO {protocol}"));
            assert!(!hello.is_error(), "{}", hello.show());
        }
        Side { clients }
    }

    fn reset(&mut self) {
        for client in &mut self.clients {
            // DISCARD fails outside of a transaction, which is fine.
            for line in ["DISCARD", "UNWATCH", "SELECT 0"] {
                client.ask(line);
            }
        }
        assert_eq!(self.clients[0].ask("FLUSHALL").raw, b"+OK\r\n");
    }
}

/// Both servers, and what is needed to compare a reply inside EXEC.
struct Pair {
    oracle: Side,
    ours: Side,
    queued: [Vec<(Args, Compare)>; 2],
}

impl Pair {
    fn reset(&mut self) {
        self.oracle.reset();
        self.ours.reset();
        self.queued = Default::default();
    }

    /// Sends the steps as one pipeline, all on one connection; the first whose replies differ.
    fn batch(&mut self, steps: &[Step]) -> Option<(usize, Node, Node)> {
        let first = steps.first()?;
        let c = first.connection;
        for side in [&mut self.oracle, &mut self.ours] {
            side.clients[c].send(steps.iter().map(|s| &s.args));
        }
        let mut found = None;
        for (i, step) in steps.iter().enumerate() {
            let theirs = self.oracle.clients[c].reply(&step.args);
            let ours = self.ours.clients[c].reply(&step.args);
            if !self.same(step, &theirs, &ours) && found.is_none() {
                found = Some((i, theirs, ours));
            }
        }
        if let Some(key) = steps.last().and_then(|s| s.settle.as_ref()) {
            std::thread::sleep(Duration::from_millis(4));
            // Both must have seen that the key is gone before anything counts it.
            let exists = vec![b"EXISTS".to_vec(), key.clone()];
            for side in [&mut self.oracle, &mut self.ours] {
                side.clients[c].call(&exists);
            }
        }
        found
    }

    fn same(&mut self, step: &Step, theirs: &Node, ours: &Node) -> bool {
        let queue = &mut self.queued[step.connection];
        match step.args[0].to_ascii_uppercase().as_slice() {
            b"EXEC" if theirs.kind() == b'*' && theirs.parts.len() == queue.len() => {
                let queue = std::mem::take(queue);
                let parts = theirs.parts.iter().zip(&ours.parts);
                return ours.kind() == b'*'
                    && ours.parts.len() == queue.len()
                    && queue.iter().zip(parts).all(|((args, how), (a, b))| same(*how, args, a, b));
            }
            b"EXEC" | b"DISCARD" => queue.clear(),
            _ if theirs.raw == b"+QUEUED\r\n" => queue.push((step.args.clone(), step.compare)),
            _ => {}
        }
        let how = if theirs.raw == b"+QUEUED\r\n" { Compare::Bytes } else { step.compare };
        same(how, &step.args, theirs, ours)
    }

    /// Whether a stream, from nothing, still ends in a difference.
    fn fails(&mut self, steps: &[Step]) -> Option<(Node, Node)> {
        self.reset();
        let mut at = 0;
        while at < steps.len() {
            let end = batch_end(steps, at, 256);
            if let Some((i, theirs, ours)) = self.batch(&steps[at..end]) {
                let shown = at + i == steps.len() - 1 && known::parts_ways(&theirs, &ours).is_none();
                return shown.then_some((theirs, ours));
            }
            at = end;
        }
        None
    }

    /// Leaves out of the stream what the difference at its end does not need.
    fn minimise(&mut self, mut steps: Vec<Step>) -> Vec<Step> {
        let mut tries = 0;
        let mut chunk = (steps.len() / 2).max(1);
        loop {
            let mut at = 0;
            let mut shrunk = false;
            while at < steps.len() - 1 && tries < 400 {
                let end = (at + chunk).min(steps.len() - 1);
                let mut fewer = steps.clone();
                fewer.drain(at..end);
                tries += 1;
                if self.fails(&fewer).is_some() {
                    steps = fewer;
                    shrunk = true;
                } else {
                    at = end;
                }
            }
            if (chunk == 1 && !shrunk) || tries >= 400 {
                return steps;
            }
            chunk = (chunk / 2).max(1);
        }
    }

    /// What differs between the two keyspaces.
    fn compare_keyspaces(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for db in 0..DATABASES {
            let select = vec![b"SELECT".to_vec(), db.to_string().into_bytes()];
            let mut keys = Vec::new();
            for side in [&mut self.oracle, &mut self.ours] {
                side.clients[0].call(&select);
                let mut names: Vec<Vec<u8>> = side.clients[0]
                    .ask("KEYS *")
                    .parts
                    .iter()
                    .filter_map(|k| k.bulk().map(<[u8]>::to_vec))
                    .collect();
                names.sort();
                keys.push(names);
            }
            if keys[0] != keys[1] {
                let show = |names: &[Vec<u8>]| names.iter().map(|k| shorten(k)).collect::<Vec<_>>().join(" ");
                wrong.push(format!("keys of database {db}: {} here: {}", show(&keys[0]), show(&keys[1])));
            }
            if scan_all(&mut self.ours.clients[0]) != keys[1] {
                wrong.push(format!("SCAN and KEYS of database {db} differ"));
            }
            for key in &keys[0] {
                self.compare_key(key, &mut wrong);
            }
        }
        wrong
    }

    fn compare_key(&mut self, key: &[u8], wrong: &mut Vec<String>) {
        let ty = self.oracle.clients[0].call(&vec![b"TYPE".to_vec(), key.to_vec()]);
        let (content, how): (&[&str], _) = match ty.raw.as_slice() {
            b"+string\r\n" => (&["GET", "K"], Compare::Bytes),
            b"+list\r\n" => (&["LRANGE", "K", "0", "-1"], Compare::Bytes),
            b"+set\r\n" => (&["SMEMBERS", "K"], Compare::Unordered),
            b"+zset\r\n" => (&["ZRANGE", "K", "0", "-1", "WITHSCORES"], Compare::Bytes),
            b"+stream\r\n" => (&["XRANGE", "K", "-", "+"], Compare::Bytes),
            b"+hash\r\n" => (&["HGETALL", "K"], Compare::Pairs),
            _ => return,
        };
        let questions = [
            (content, how),
            (&["TYPE", "K"], Compare::Bytes),
            (&["PTTL", "K"], Compare::Millis),
            (&["OBJECT", "ENCODING", "K"], Compare::Encoding),
        ];
        for (words, how) in questions {
            let fill = |w: &&str| if *w == "K" { key.to_vec() } else { w.as_bytes().to_vec() };
            let args: Args = words.iter().map(fill).collect();
            let theirs = self.oracle.clients[0].call(&args);
            let ours = self.ours.clients[0].call(&args);
            if !same(how, &args, &theirs, &ours) {
                wrong.push(format!(
                    "{}\n    oracle {}\n    ours   {}",
                    show(&args),
                    theirs.show(),
                    ours.show()
                ));
            }
        }
    }
}

fn scan_all(client: &mut Wire) -> Vec<Vec<u8>> {
    let mut cursor = b"0".to_vec();
    let mut keys = Vec::new();
    for _ in 0..10_000 {
        let reply = client.call(&vec![b"SCAN".to_vec(), cursor, b"COUNT".to_vec(), b"3".to_vec()]);
        cursor = reply.parts[0].bulk().expect("a cursor").to_vec();
        keys.extend(reply.parts[1].parts.iter().filter_map(|k| k.bulk().map(<[u8]>::to_vec)));
        if cursor == b"0" {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

fn same(how: Compare, args: &Args, theirs: &Node, ours: &Node) -> bool {
    if theirs.raw == ours.raw {
        return true;
    }
    let sorted = |node: &Node, by: usize| {
        let mut parts: Vec<Vec<Node>> = node.parts.chunks(by).map(<[Node]>::to_vec).collect();
        parts.sort();
        (node.kind(), parts)
    };
    let within = |most: i64| match (theirs.int(), ours.int()) {
        // What is negative is a statement, not a time.
        (Some(a), Some(b)) => a >= 0 && b >= 0 && a.abs_diff(b) <= most as u64,
        _ => false,
    };
    let alike = match how {
        Compare::Bytes => false,
        Compare::Unordered | Compare::Pairs => {
            let by = if theirs.kind() == b'%' || (how == Compare::Pairs && !nested(theirs)) { 2 } else { 1 };
            theirs.kind() == ours.kind() && !theirs.parts.is_empty() && sorted(theirs, by) == sorted(ours, by)
        }
        Compare::Shape => {
            !theirs.is_error()
                && theirs.kind() == ours.kind()
                && theirs.parts.len() == ours.parts.len()
                && (theirs.bulk().is_some() == ours.bulk().is_some())
        }
        Compare::Seconds => within(2),
        Compare::Millis => within(5_000),
        Compare::Encoding => known::same_encoding(theirs, ours),
    };
    alike || known::reason(args, theirs, ours).is_some()
}

/// Pairs as arrays of two, as RESP3 has them.
fn nested(node: &Node) -> bool {
    node.parts.first().is_some_and(|p| p.kind() == b'*')
}

/// Where the pipeline that begins at `at` ends: at another connection, at a step to settle, or when it is long enough.
fn batch_end(steps: &[Step], at: usize, most: usize) -> usize {
    let mut end = at + 1;
    while end < steps.len()
        && end - at < most
        && steps[end].connection == steps[at].connection
        && steps[end - 1].settle.is_none()
    {
        end += 1;
    }
    end
}

/// A difference's kind: the command, and what the two answers begin with.
fn kind_of(step: &Step, theirs: &Node, ours: &Node) -> String {
    let head = |node: &Node| node.raw.iter().take(12).map(|&b| b as char).collect::<String>();
    let pick = |node: &Node| if node.is_error() { head(node) } else { (node.kind() as char).to_string() };
    format!("{} {} {}", step.args[0].escape_ascii(), pick(theirs), pick(ours)).to_ascii_uppercase()
}

fn run(pair: &mut Pair, seed: u64, steps: usize) -> Vec<String> {
    pair.reset();
    let mut generator = Generator::new(seed);
    let mut history: Vec<Step> = Vec::new();
    let mut kinds = Vec::new();
    let mut wrong = Vec::new();
    let mut done = 0;
    while done < steps && wrong.len() < SHOWN_MAX {
        let connection = usize::from(generator.rng.below(5) == 0);
        let n = 1 + generator.rng.below(48) as usize;
        let mut batch: Vec<Step> = Vec::new();
        while batch.len() < n && batch.last().is_none_or(|s| s.settle.is_none()) {
            batch.push(generator.step(connection));
        }
        done += batch.len();
        let found = pair.batch(&batch);
        let Some((i, theirs, ours)) = found else {
            history.extend(batch);
            continue;
        };
        history.extend(batch.into_iter().take(i + 1));
        let last = history.last().expect("it has just been added");
        let kind = kind_of(last, &theirs, &ours);
        if known::parts_ways(&theirs, &ours).is_none() && !kinds.contains(&kind) {
            kinds.push(kind);
            wrong.push(report(pair, std::mem::take(&mut history), &theirs, &ours));
        }
        // What follows would stand on unlike ground.
        history.clear();
        pair.reset();
        generator = Generator::new(generator.rng.next_u64());
    }
    for connection in 0..2 {
        // A transaction may be open.
        for side in [&mut pair.oracle, &mut pair.ours] {
            side.clients[connection].ask("DISCARD");
        }
    }
    wrong.extend(pair.compare_keyspaces());
    wrong
}

fn report(pair: &mut Pair, history: Vec<Step>, theirs: &Node, ours: &Node) -> String {
    let few = if pair.fails(&history).is_some() { pair.minimise(history) } else { history };
    let skipped = few.len().saturating_sub(12);
    let lines: Vec<String> = few
        .iter()
        .skip(skipped)
        .map(|s| format!("  {}{}", if s.connection == 1 { "(second client) " } else { "" }, show(&s.args)))
        .collect();
    let (theirs, ours) = pair.fails(&few).unwrap_or((theirs.clone(), ours.clone()));
    let before = if skipped > 0 { format!("  ... {skipped} before\n") } else { String::new() };
    format!("{before}{}\n    oracle {}\n    ours   {}", lines.join("\n"), theirs.show(), ours.show())
}

fn seed() -> u64 {
    match std::env::var("TIDEWATER_SEED") {
        Ok(text) => text.parse().expect("TIDEWATER_SEED is a number"),
        // The same stream every time, but for the long run, which is there to find new ones.
        Err(_) if !crate::support::long() => 20_261_121,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64,
    }
}

fn compare(protocol: u32) {
    let Some(program) = Oracle::find() else {
        println!("skipped: no redis-server");
        assert!(std::env::var_os("CI").is_none(), "CI must have a redis-server to compare with");
        return;
    };
    let first = seed();
    let streams = if crate::support::long() { LONG_STREAMS } else { 1 };
    let mut crashes = 0;
    for seed in (0..streams).map(|i| first.wrapping_add(i)) {
        println!("TIDEWATER_SEED={seed}");
        match compare_stream(&program, protocol, seed) {
            Ok(wrong) => assert!(wrong.is_empty(), "seed {seed}, RESP{protocol}:\n{}", wrong.join("\n\n")),
            Err(OracleCrashed) => {
                println!("redis-server crashed: the rest of this stream is not compared");
                crashes += 1;
            }
        }
    }
    assert!(crashes <= if streams > 1 { CRASHES_MAX } else { 0 }, "redis-server crashed {crashes} times");
}

/// The real server ended by itself.
struct OracleCrashed;

/// Sends one stream to two new servers; what differs, in words.
fn compare_stream(program: &Path, protocol: u32, seed: u64) -> Result<Vec<String>, OracleCrashed> {
    let mut oracle = Oracle::start(program.to_owned());
    let mut builder = Server::builder().port(0).workers(2).seed(seed);
    for (name, value) in SETTINGS.iter().chain(&[("set-max-listpack-entries", "12")]) {
        builder = builder.config(name, value);
    }
    let server = builder.start().expect("it starts");
    let mut pair = Pair {
        oracle: Side::new(oracle.port, protocol),
        ours: Side::new(server.port().expect("it listens"), protocol),
        queued: Default::default(),
    };
    let ran = catch_unwind(AssertUnwindSafe(|| run(&mut pair, seed, STEPS)));
    ran.or_else(|panic| if oracle.has_ended() { Err(OracleCrashed) } else { resume_unwind(panic) })
}

#[test]
fn resp2_answers_as_a_real_server() {
    compare(2);
}

#[test]
fn resp3_answers_as_a_real_server() {
    compare(3);
}
