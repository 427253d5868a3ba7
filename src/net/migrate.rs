//! MIGRATE: moves keys to another server.
//!
//! No shard is held while the network is: keys are serialised, sent, and deleted only if they are still what was sent. One
//! that has changed meanwhile is sent again, a few times; if it keeps changing it stays, and the caller is told. Inside a
//! transaction the shards stay locked, as nothing may come between its commands.
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::base::num::parse_i64;
use crate::command::row::{Begin, Find, Locks};
use crate::command::{Arity, Command, CommandError, Context, Env, Group, Outcome, View, notify};
use crate::rdb::commands::payload;
use crate::resp::args::{Args, OwnedArgs, eq_nocase};

/// Connections kept for the next MIGRATE, at most.
const LINKS_MAX: usize = 64;
/// How long an unused one is kept.
const LINK_TTL: Duration = Duration::from_secs(10);
/// How often a key that changes while it is sent is sent again.
const ROUNDS_MAX: usize = 8;
/// The longest line of a reply that is read.
const LINE_MAX: usize = 64 << 10;

pub fn commands() -> Vec<Command> {
    vec![
        Command::new("migrate", Arity::at_least(6), migrate)
            .group(Group::Generic)
            .write()
            .categories(&["keyspace", "dangerous"])
            .locks(Locks::Walk)
            .spec(Begin::Index(3), Find::Range { last: 0, step: 1, limit: 0 }, "rw|access|delete")
            .spec(
                Begin::Keyword("keys", -2),
                Find::Range { last: -1, step: 1, limit: 0 },
                "rw|access|delete|incomplete",
            )
            .finder(each_key)
            .since("2.6.0")
            .doc("Moves keys to another server, atomically for whoever looks at one of them.")
            .complexity(
                "As `DUMP` and `DEL` here and `RESTORE` there, and the network between for as many bytes",
            ),
    ]
}

/// Where the keys are that follow KEYS, if that option is there.
fn keys_at(args: Args<'_>) -> Option<usize> {
    let mut i = 6;
    while let Some(word) = args.get(i) {
        i += match () {
            () if eq_nocase(word, "keys") => return Some(i + 1),
            () if eq_nocase(word, "auth") => 2,
            () if eq_nocase(word, "auth2") => 3,
            () => 1,
        };
    }
    None
}

fn each_key(args: Args<'_>, each: &mut dyn FnMut(usize, &'static str)) {
    let several = args.get(3).is_some_and(<[u8]>::is_empty).then(|| keys_at(args)).flatten();
    match several {
        Some(first) => (first..args.len()).for_each(|i| each(i, "rw|access|delete")),
        None => each(3, "rw|access|delete"),
    }
}

/// What was asked for.
struct Job<'a> {
    host: &'a [u8],
    port: &'a [u8],
    db: &'a [u8],
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// The arguments of AUTH.
    auth: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
}

impl<'a> Job<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let timeout = parse_i64(args.at(5)).ok_or(CommandError::NOT_INTEGER)?;
        let timeout = u64::try_from(timeout).ok().filter(|&ms| ms > 0).unwrap_or(1000);
        let mut job = Job {
            host: args.at(1),
            port: args.at(2),
            db: args.at(4),
            timeout: Duration::from_millis(timeout),
            copy: false,
            replace: false,
            auth: Vec::new(),
            keys: vec![args.at(3)],
        };
        let mut i = 6;
        while let Some(word) = args.get(i) {
            if eq_nocase(word, "copy") {
                job.copy = true;
            } else if eq_nocase(word, "replace") {
                job.replace = true;
            } else if eq_nocase(word, "auth")
                && let Some(password) = args.get(i + 1)
            {
                job.auth = vec![password];
                i += 1;
            } else if eq_nocase(word, "auth2")
                && let (Some(user), Some(password)) = (args.get(i + 1), args.get(i + 2))
            {
                job.auth = vec![user, password];
                i += 2;
            } else if eq_nocase(word, "keys") {
                if !args.at(3).is_empty() {
                    return Err(CommandError::new(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                job.keys = args.from(i + 1).iter().collect();
                break;
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        parse_i64(job.db).ok_or(CommandError::NOT_INTEGER)?;
        Ok(job)
    }

    fn target(&self) -> String {
        format!("{}:{}", String::from_utf8_lossy(self.host), String::from_utf8_lossy(self.port))
    }
}

/// A key as it was when it was looked at.
struct Parcel<'a> {
    key: &'a [u8],
    payload: Vec<u8>,
    expire_ms: Option<u64>,
}

/// Why the other side did not take everything.
enum Fault {
    /// The connection, while doing this.
    Link(&'static str, ErrorKind),
    /// What it said, without the dash.
    Refused(Vec<u8>),
}

fn migrate(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let job = Job::parse(args)?;
    ctx.slow_lane(usize::MAX)?;
    let mut rest = job.keys.clone();
    let mut parcels = pack(ctx, &mut rest)?;
    if parcels.is_empty() {
        ctx.reply.simple("NOKEY");
        return Ok(());
    }
    let links = &ctx.service::<Migration>().0;
    let mut refused = None;
    for round in 0.. {
        let now = ctx.env.clock.now_ms();
        // What is sent again replaces what was sent before.
        let sent = links.send(&job, &parcels, job.replace || round > 0, now, ctx.env);
        let mut changed = Vec::new();
        for parcel in sent.taken.into_iter().filter(|_| !job.copy).map(|i| &parcels[i]) {
            if !hand_over(ctx, parcel)? {
                changed.push(parcel.key);
            }
        }
        match sent.fault {
            Some(Fault::Link(doing, _)) => {
                return Err(CommandError::new(if doing == "connecting" {
                    "IOERR error or timeout connecting to the client".to_owned()
                } else {
                    format!("IOERR error or timeout {doing} to target instance")
                }));
            }
            Some(Fault::Refused(why)) => drop(refused.get_or_insert(why)),
            None => {}
        }
        if changed.is_empty() {
            break;
        }
        if round + 1 == ROUNDS_MAX {
            let text =
                "ERR some keys kept changing while they were moved: they are here, and a former state there";
            return Err(CommandError::new(text));
        }
        // One that is gone by now is gone on the other side's account only: there it stays.
        parcels = pack(ctx, &mut changed)?;
    }
    if let Some(why) = refused {
        return Err(CommandError::Bytes(
            [b"ERR Target instance replied with error: ".as_slice(), &why].concat().into(),
        ));
    }
    ctx.reply.ok();
    Ok(())
}

/// Serialises those keys that exist.
fn pack<'a>(ctx: &mut Context<'_>, keys: &mut Vec<&'a [u8]>) -> Result<Vec<Parcel<'a>>, CommandError> {
    let compress = ctx.limits().rdb_compression.get();
    let mut parcels = Vec::new();
    for key in keys.drain(..) {
        let packed = visit(ctx, key, |view| {
            view.get(key).map(|cell| Parcel {
                key,
                payload: payload(cell, compress),
                expire_ms: cell.expire_ms(),
            })
        })?;
        parcels.extend(packed);
    }
    Ok(parcels)
}

fn visit<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    f: impl FnOnce(&mut View<'_>) -> R,
) -> Result<R, CommandError> {
    let keyspace = &ctx.env.keyspace;
    let shard = keyspace.shard_of(keyspace.hash(key));
    ctx.keys.visit(shard, f)
}

/// Deletes a key that the other side has taken; `false` if it is another one by now.
fn hand_over(ctx: &mut Context<'_>, parcel: &Parcel<'_>) -> Result<bool, CommandError> {
    let compress = ctx.limits().rdb_compression.get();
    visit(ctx, parcel.key, |view| {
        // Gone by itself, or by somebody's hand: as good as moved.
        let Some(cell) = view.get_untouched(parcel.key) else { return true };
        if cell.expire_ms() != parcel.expire_ms || payload(cell, compress) != parcel.payload {
            return false;
        }
        view.delete(parcel.key);
        view.notify(notify::GENERIC, "del", parcel.key);
        view.effect(|| OwnedArgs::from_iter([b"DEL".as_slice(), parcel.key]));
        true
    })
}

/// The connections that MIGRATE keeps.
#[derive(Default)]
pub struct Migration(Arc<Links>);

impl Drop for Migration {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }
}

#[derive(Default)]
struct Links {
    state: Mutex<State>,
    changed: Condvar,
    gauge: OnceLock<Arc<AtomicUsize>>,
}

#[derive(Default)]
struct State {
    idle: Vec<Link>,
    /// Whether a thread sees to those that are not used any more.
    watched: bool,
    closed: bool,
}

struct Link {
    target: String,
    stream: BufReader<TcpStream>,
    /// The database that it has selected.
    db: Option<Vec<u8>>,
    used: Instant,
}

/// What became of the parcels.
struct Sent {
    /// Those that the other side has.
    taken: Vec<usize>,
    fault: Option<Fault>,
}

impl Links {
    fn send(
        self: &Arc<Self>,
        job: &Job<'_>,
        parcels: &[Parcel<'_>],
        replace: bool,
        now: u64,
        env: &Env,
    ) -> Sent {
        let _ = self.gauge.set(env.gauges.migrate_links.clone());
        let target = job.target();
        let kept = {
            let mut state = self.state.lock();
            let at = state.idle.iter().position(|link| link.target == target);
            at.map(|i| state.idle.swap_remove(i))
        };
        self.tell();
        let mut reused = kept.is_some();
        let mut link = kept;
        loop {
            let mut now_open = match link.take().map_or_else(|| Link::open(job, target.clone()), Ok) {
                Ok(link) => link,
                Err(kind) => return Sent { taken: Vec::new(), fault: Some(Fault::Link("connecting", kind)) },
            };
            let sent = now_open.talk(job, parcels, replace, now);
            match sent.fault {
                // The other side may have closed a connection that lay idle.
                Some(Fault::Link(_, kind)) if reused && sent.taken.is_empty() && !is_timeout(kind) => {
                    reused = false
                }
                Some(Fault::Link(..)) => return sent,
                _ => {
                    if matches!(sent.fault, Some(Fault::Refused(_))) {
                        now_open.db = None;
                    }
                    self.keep(now_open);
                    self.tell();
                    return sent;
                }
            }
        }
    }

    fn keep(self: &Arc<Self>, mut link: Link) {
        let mut state = self.state.lock();
        link.used = Instant::now();
        if state.idle.len() == LINKS_MAX {
            state.idle.remove(0);
        }
        state.idle.push(link);
        if !state.watched {
            let links = self.clone();
            let watch = move || links.watch();
            state.watched = std::thread::Builder::new().name("migrate".into()).spawn(watch).is_ok();
        }
    }

    /// Closes what has not been used for long; ends with the last one.
    fn watch(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            let now = Instant::now();
            state.idle.retain(|link| now.duration_since(link.used) < LINK_TTL);
            let next = state.idle.iter().map(|link| link.used + LINK_TTL).min();
            self.gauge.get().inspect(|gauge| gauge.store(state.idle.len(), Ordering::Relaxed));
            let Some(next) = next else { break };
            self.changed.wait_until(&mut state, next);
        }
        state.idle.clear();
        state.watched = false;
    }

    /// For INFO.
    fn tell(&self) {
        let n = self.state.lock().idle.len();
        self.gauge.get().inspect(|gauge| gauge.store(n, Ordering::Relaxed));
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

impl Link {
    fn open(job: &Job<'_>, target: String) -> Result<Self, ErrorKind> {
        let host = std::str::from_utf8(job.host).map_err(|_| ErrorKind::InvalidInput)?;
        let port = std::str::from_utf8(job.port).ok().and_then(|p| p.parse::<u16>().ok());
        let port = port.ok_or(ErrorKind::InvalidInput)?;
        let mut last = ErrorKind::NotFound;
        for addr in (host, port).to_socket_addrs().map_err(|e| e.kind())? {
            match TcpStream::connect_timeout(&addr, job.timeout) {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(Link {
                        target,
                        stream: BufReader::new(stream),
                        db: None,
                        used: Instant::now(),
                    });
                }
                Err(e) => last = e.kind(),
            }
        }
        Err(last)
    }

    /// Sends the parcels and reads what the other side says to each.
    fn talk(&mut self, job: &Job<'_>, parcels: &[Parcel<'_>], replace: bool, now: u64) -> Sent {
        let mut sent = Sent { taken: Vec::new(), fault: None };
        let fail = |doing| move |e: std::io::Error| Fault::Link(doing, e.kind());
        let written = self.write(job, parcels, replace, now).map_err(fail("writing"));
        let preludes = match written {
            Ok(preludes) => preludes,
            Err(fault) => {
                sent.fault = Some(fault);
                return sent;
            }
        };
        // What AUTH and SELECT answer counts for every key.
        let mut refused = None;
        for _ in 0..preludes {
            match self.line().map_err(fail("reading")) {
                Ok(Some(why)) => drop(refused.get_or_insert(why)),
                Ok(None) => {}
                Err(fault) => {
                    sent.fault = Some(fault);
                    return sent;
                }
            }
        }
        for i in 0..parcels.len() {
            match self.line().map_err(fail("reading")) {
                Ok(None) if refused.is_none() => sent.taken.push(i),
                Ok(None) => {}
                Ok(Some(why)) => {
                    let why = refused.clone().unwrap_or(why);
                    sent.fault.get_or_insert(Fault::Refused(why));
                }
                Err(fault) => {
                    sent.fault = Some(fault);
                    return sent;
                }
            }
        }
        if let (None, Some(why)) = (&sent.fault, refused) {
            sent.fault = Some(Fault::Refused(why));
        }
        sent
    }

    /// Tells how many replies come before those to the keys.
    fn write(
        &mut self,
        job: &Job<'_>,
        parcels: &[Parcel<'_>],
        replace: bool,
        now: u64,
    ) -> std::io::Result<usize> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(job.timeout))?;
        stream.set_write_timeout(Some(job.timeout))?;
        let mut out = Vec::new();
        let mut preludes = 0;
        if !job.auth.is_empty() {
            command(&mut out, [b"AUTH".as_slice()].iter().chain(&job.auth));
            preludes += 1;
        }
        if self.db.as_deref() != Some(job.db) {
            command(&mut out, [b"SELECT", job.db].iter());
            preludes += 1;
            self.db = Some(job.db.to_vec());
        }
        for parcel in parcels {
            let ttl = parcel.expire_ms.map_or(0, |at| at.saturating_sub(now).max(1)).to_string();
            let mut words = vec![b"RESTORE".as_slice(), parcel.key, ttl.as_bytes(), &parcel.payload];
            if replace {
                words.push(b"REPLACE");
            }
            command(&mut out, words.iter());
            self.stream.get_mut().write_all(&out)?;
            out.clear();
        }
        Ok(preludes)
    }

    /// One reply: `None` for a good one, else what was wrong.
    fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let (part, over) = {
                let there = self.stream.fill_buf()?;
                if there.is_empty() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                match there.iter().position(|&b| b == b'\n') {
                    Some(end) => (&there[..=end], true),
                    None => (there, false),
                }
            };
            line.extend_from_slice(part);
            let n = part.len();
            self.stream.consume(n);
            if line.len() > LINE_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            if over {
                break;
            }
        }
        let text = line.trim_ascii_end();
        Ok(text.strip_prefix(b"-").map(<[u8]>::to_vec))
    }
}

/// A request as clients send it.
fn command<'a>(out: &mut Vec<u8>, words: impl Iterator<Item = &'a &'a [u8]> + Clone) {
    out.extend_from_slice(format!("*{}\r\n", words.clone().count()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}
