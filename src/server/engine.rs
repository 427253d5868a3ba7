//! `Engine`: the one way in for every command. Admission, locking, running, and what follows.
//!
//! Hot path: no allocation a command, no logging, no global lock.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;

use crate::base::clock::{Clock, Recent};
use crate::base::limits::Limits;
use crate::base::rng::Rng;
use crate::command::client::{Client, flag};
use crate::command::env::{Env, Services, bar};
use crate::command::row::Locks;
use crate::command::session::{Queued, ReplyMode};
use crate::command::stats::WorkerStats;
use crate::command::table::CommandTable;
use crate::command::{self, Command, CommandError, Flags, Known, Lane, Ran, Request, Runner, Session};
use crate::journal::Batch;
use crate::keyspace::{KEYS_MAX, KeyPlace, Keyspace, ShardSet, Waiter};
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::reply::Reply;
use crate::server::evict::{Evictor, Room};
use crate::server::rehearsal::{Fault, Rehearsal};
use crate::server::slow::SlowLane;

/// How a call ended.
pub enum Called {
    /// The reply is written.
    Done,
    /// The command waits; its reply will come through the waiter.
    Blocked(Arc<Waiter>),
    /// Nothing was done: call again on a slow-lane thread.
    SlowLane,
    /// Nothing was done: CLIENT PAUSE holds the command back until then (Unix ms), or until it is lifted.
    Paused(u64),
}

impl From<Ran> for Called {
    fn from(ran: Ran) -> Self {
        match ran {
            Ran::Done => Called::Done,
            Ran::Blocked(waiter) => Called::Blocked(waiter),
            Ran::SlowLane => Called::SlowLane,
        }
    }
}

/// Requests that are looked at together, at most: enough to overlap their cache misses.
pub const GROUP_MAX: usize = 16;

/// What a thread that calls the engine has of its own.
pub struct Worker {
    pub stats: Arc<WorkerStats>,
    pub rng: Rng,
    pub lane: Lane,
    batch: Batch,
    now: u64,
    ticks: u64,
    recent: Recent,
    /// The `maxmemory` of which much was free when this batch began.
    roomy: Option<usize>,
    /// The shard that the expire cycle goes on from.
    pub(super) expire_from: usize,
}

impl Worker {
    /// Reads the clock: before a batch of calls.
    pub fn begin(&mut self, env: &Env) {
        self.ticks = env.clock.ticks();
        self.now = env.clock.recent_ms(self.ticks, &mut self.recent);
        self.roomy = None;
    }

    /// The instant of the present batch, Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn runner(&mut self) -> Runner<'_> {
        Runner {
            stats: &self.stats,
            rng: &mut self.rng,
            batch: &mut self.batch,
            lane: self.lane,
            now: self.now,
            ticks: &mut self.ticks,
        }
    }
}

/// How to build an engine.
pub struct Setup {
    pub clock: Clock,
    pub limits: Arc<Limits>,
    pub rng: Rng,
    pub shards: usize,
    pub databases: usize,
    pub services: Services,
    pub commands: Vec<Command>,
    pub renames: Vec<(String, String)>,
}

/// One server, without its network.
pub struct Engine {
    env: Arc<Env>,
    slow: SlowLane,
    evictor: Evictor,
}

impl Engine {
    pub fn new(mut setup: Setup) -> Arc<Self> {
        let table = CommandTable::new(setup.commands, &setup.renames);
        let keyspace = Keyspace::new(setup.shards, setup.databases, setup.rng.next_u64());
        let env = Arc::new(Env::new(setup.clock, setup.limits, keyspace, table, setup.services, setup.rng));
        let slow = {
            let env = env.clone();
            SlowLane::new(Box::new(move || worker(&env, Lane::Slow)))
        };
        Arc::new(Engine { env, slow, evictor: Evictor::default() })
    }

    pub fn env(&self) -> &Arc<Env> {
        &self.env
    }

    pub fn slow(&self) -> &SlowLane {
        &self.slow
    }

    pub fn evictor(&self) -> &Evictor {
        &self.evictor
    }

    /// State for a thread that must not be held up.
    pub fn worker(&self) -> Worker {
        worker(&self.env, Lane::Worker)
    }

    /// State for a thread that owns its time.
    pub fn slow_worker(&self) -> Worker {
        worker(&self.env, Lane::Slow)
    }

    /// Runs one request; `worker.begin` comes before a batch of them. The reply is appended to `reply`.
    pub fn call(
        &self,
        worker: &mut Worker,
        session: &mut Session,
        reply: &mut Reply,
        args: Args<'_>,
    ) -> Called {
        let env = &*self.env;
        if args.is_empty() {
            return Called::Done;
        }
        let mark = reply.mark();
        let rehearsed = env.barred.load(Ordering::Relaxed) & bar::REHEARSAL != 0
            && !session.admitted
            && !session.client.has_flag(flag::LOCAL);
        let admitted = self.admit(worker, session, args);
        if rehearsed && !matches!(admitted, Ok(Admitted::Paused(_))) {
            env.service::<Rehearsal>().note(args);
        }
        let called = match admitted {
            Ok(Admitted::Dropped) => {
                session.client.close(false);
                return Called::Done;
            }
            Ok(Admitted::Run(command)) => self.run(worker, session, reply, command, args),
            Ok(Admitted::Queued) => {
                reply.simple("QUEUED");
                Called::Done
            }
            Ok(Admitted::Paused(until)) => return Called::Paused(until),
            Err(Refused { mut error, command }) => {
                let is_exec = command.is_some_and(|id| env.commands.get(id).name == "exec");
                if is_exec {
                    crate::txn::abandon(env, session);
                    let why = error.as_bytes();
                    let why = why.strip_prefix(b"ERR ").unwrap_or(why);
                    let text = [b"EXECABORT Transaction discarded because of: ".as_slice(), why].concat();
                    error = CommandError::Bytes(text.into());
                } else if let Some(multi) = &mut session.multi {
                    multi.aborted = true;
                }
                if let Some(command) = command {
                    worker.stats.commands[command].rejected.add(1);
                }
                worker.stats.error_replies.add(1);
                env.stats.count_error(error.code());
                reply.error_bytes(error.as_bytes());
                Called::Done
            }
        };
        if matches!(called, Called::SlowLane) {
            session.admitted = true;
            return called;
        }
        worker.stats.processed.add(1);
        // A blocked command's reply is yet to come: whoever takes it minds the mode.
        if session.reply_mode != ReplyMode::On && !matches!(called, Called::Blocked(_)) {
            self.suppress(session, reply, mark);
        }
        // What the command sent to its own client comes right behind its reply.
        if session.client.has_mail() && !matches!(called, Called::Blocked(_)) {
            session.client.take_mail(reply);
        }
        called
    }

    /// CLIENT REPLY OFF and SKIP.
    fn suppress(&self, session: &mut Session, reply: &mut Reply, mark: usize) {
        match session.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => reply.truncate(mark),
            // The command that asked for it; the next one's reply goes.
            ReplyMode::SkipNext => {
                reply.truncate(mark);
                session.reply_mode = ReplyMode::Skip;
            }
            ReplyMode::Skip => {
                reply.truncate(mark);
                session.reply_mode = ReplyMode::On;
            }
        }
    }

    /// Whether the request may run, in the order in which Redis checks.
    fn admit(
        &self,
        worker: &mut Worker,
        session: &mut Session,
        args: Args<'_>,
    ) -> Result<Admitted<'_>, Refused> {
        let env = &*self.env;
        let command = self.resolve(args)?;
        let refuse = |error| Refused { error, command: Some(command.id) };
        session.client.last_command.store(command.id, Ordering::Relaxed);
        if !session.authenticated && !command.flags.has(Flags::NO_AUTH) && !env.requirepass.read().is_empty()
        {
            return Err(refuse(CommandError::NO_AUTH));
        }
        if env.barred.load(Ordering::Relaxed) & bar::REHEARSAL != 0
            && let Some(instead) = rehearse(env, session, command).map_err(refuse)?
        {
            return Ok(instead);
        }
        // Those that run inside MULTI (MULTI itself, WATCH) say by themselves what is wrong.
        if session.in_multi() && command.flags.has(Flags::NO_MULTI) && !command.flags.has(Flags::UNQUEUED) {
            return Err(refuse(CommandError::new("ERR Command not allowed inside a transaction")));
        }
        if env.limits.maxmemory.get() > 0 {
            self.admit_memory(worker, session, command).map_err(refuse)?;
        }
        let barred = env.barred.load(Ordering::Relaxed);
        if barred != 0 {
            refused_by_bar(env, session, command, barred).map_err(refuse)?;
        }
        if !session.resp3 && session.subscriptions() > 0 && !command.flags.has(Flags::IN_SUBSCRIBE) {
            return Err(refuse(CommandError::new(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                command.full_name
            ))));
        }
        if env.clients.monitors().load(Ordering::Relaxed) > 0
            && session.client.has_flag(flag::MONITOR)
            && command.flags.has(Flags::WRITE.with(Flags::READONLY).with(Flags::MAY_REPLICATE))
        {
            return Err(refuse(CommandError::new("ERR Replica can't interact with the keyspace")));
        }
        let again = std::mem::take(&mut session.admitted);
        let held = env.paused.load(Ordering::Relaxed) && !session.client.has_flag(flag::LOADER);
        let now = held.then(|| env.clock.now_ms());
        if let Some(now) = now {
            let writes = command.flags.has(Flags::WRITE.with(Flags::MAY_REPLICATE))
                || (command.locks == Locks::Queue && queue_writes(env, session));
            // A write waits even where it was let in before: what is saved now must hold all there is.
            if let Some(until) = env.paused_until(now, writes).filter(|_| writes || !again) {
                return Ok(Admitted::Paused(until));
            }
        }
        if let Some(multi) = &mut session.multi
            && !command.flags.has(Flags::UNQUEUED)
        {
            let args = OwnedArgs::from_args(args);
            multi.bytes += args.memory_bytes() + size_of::<Queued>();
            multi.queue.push(Queued { command: command.id, args });
            session.client.queued.store(multi.queue.len() as i64, Ordering::Relaxed);
            session.client.queued_bytes.store(multi.bytes, Ordering::Relaxed);
            return Ok(Admitted::Queued);
        }
        Ok(Admitted::Run(command))
    }

    /// The command or subcommand of a request, with its number of arguments checked.
    fn resolve(&self, args: Args<'_>) -> Result<&Command, Refused> {
        let table = &self.env.commands;
        let Some(mut command) = table.find(args.name()) else {
            return Err(Refused { error: unknown_command(args), command: None });
        };
        if args.len() > 1 && table.is_container(command) {
            command = table.find_sub(command, &args[1]).ok_or_else(|| Refused {
                error: CommandError::quoting(
                    "ERR unknown subcommand '",
                    &args[1][..args[1].len().min(128)],
                    &format!("'. Try {} HELP.", command.full_name.to_ascii_uppercase()),
                ),
                command: Some(command.id),
            })?;
        }
        if !command.arity.accepts(args.len()) {
            let error = CommandError::wrong_arity(&command.full_name);
            return Err(Refused { error, command: Some(command.id) });
        }
        Ok(command)
    }

    /// Makes room if `maxmemory` is exceeded; refuses what would take more when that fails.
    fn admit_memory(
        &self,
        worker: &mut Worker,
        session: &Session,
        command: &Command,
    ) -> Result<(), CommandError> {
        let limit = self.env.limits.maxmemory.get();
        if worker.roomy == Some(limit) {
            return Ok(());
        }
        match self.evictor.make_room(&self.env, worker) {
            Room::Enough => {
                let roomy = self.evictor.used().saturating_add(ROOMY_BYTES) <= limit;
                worker.roomy = roomy.then_some(limit);
                Ok(())
            }
            Room::Soon => Ok(()),
            Room::None if takes_memory(&self.env, session, command) => Err(CommandError::OOM),
            Room::None => Ok(()),
        }
    }

    /// Goes on evicting where commands left off for lack of time.
    pub fn relieve_memory(&self, worker: &mut Worker) {
        if self.env.limits.maxmemory.get() > 0 {
            worker.begin(&self.env);
            self.evictor.make_room(&self.env, worker);
        }
    }

    fn run(
        &self,
        worker: &mut Worker,
        session: &mut Session,
        reply: &mut Reply,
        command: &Command,
        args: Args<'_>,
    ) -> Called {
        let env = &*self.env;
        let (keyspace, slow) = (&env.keyspace, worker.lane == Lane::Slow);
        // Of a command with one key, as most are, the hash is needed once.
        let known = command.only_key.map(|arg| Known { arg, key: 0 });
        let key = command.only_key.map(|i| KeyPlace::new(keyspace.hash(&args[i])));
        let locked = match key.map(|key| keyspace.shard_of(key.hash)) {
            Some(shard) if slow => Some(keyspace.lock_shard(shard)),
            Some(shard) => keyspace.try_lock_shard(shard),
            None if slow => Some(keyspace.lock(&self.shards(session, command, args))),
            None => keyspace.try_lock(&self.shards(session, command, args)),
        };
        let Some(locked) = locked else { return Called::SlowLane };
        if slow {
            // The wait may have been long: it is no part of the command's time, and keys may have expired meanwhile.
            worker.begin(env);
        }
        let request = [Request { command, args, known }];
        command::run(env, worker.runner(), locked, session, reply, &request, key.as_slice()).1.into()
    }

    /// Runs pipelined requests; tells how many ran, and how the last one ended. Stops after one that did not simply
    /// end.
    ///
    /// Runs of plain commands on keys are looked at together: their cache misses overlap, and their shards are locked
    /// at once. That makes such a run atomic, which nobody asked for and nobody can tell.
    pub fn call_many(
        &self,
        worker: &mut Worker,
        session: &mut Session,
        reply: &mut Reply,
        requests: &[Args<'_>],
    ) -> (usize, Called) {
        let mut done = 0;
        while done < requests.len() {
            let (ran, called) = self.call_group(worker, session, reply, &requests[done..]);
            done += ran;
            match called {
                Called::Done if ran > 0 => {}
                Called::Done => {
                    let called = self.call(worker, session, reply, requests[done]);
                    match called {
                        Called::Done => done += 1,
                        Called::Blocked(_) => return (done + 1, called),
                        Called::SlowLane | Called::Paused(_) => return (done, called),
                    }
                    if session.quit || session.client.closing() {
                        return (done, Called::Done);
                    }
                }
                other => return (done, other),
            }
        }
        (done, Called::Done)
    }

    /// Runs the plain commands on keys that the requests begin with, if there are at least two.
    fn call_group(
        &self,
        worker: &mut Worker,
        session: &mut Session,
        reply: &mut Reply,
        requests: &[Args<'_>],
    ) -> (usize, Called) {
        let env = &*self.env;
        let plain = session.authenticated
            && session.multi.is_none()
            && session.reply_mode == ReplyMode::On
            && (session.resp3 || session.subscriptions() == 0)
            && !env.paused.load(Ordering::Relaxed)
            && env.barred.load(Ordering::Relaxed) == 0
            && env.clients.monitors().load(Ordering::Relaxed) == 0
            && env.limits.maxmemory.get() == 0;
        if !plain || requests.len() < 2 {
            return (0, Called::Done);
        }
        let mut group: ArrayVec<Request<'_, '_>, GROUP_MAX> = ArrayVec::new();
        let mut keys: ArrayVec<KeyPlace, KEYS_MAX> = ArrayVec::new();
        for &args in requests.iter().take(GROUP_MAX) {
            // Most often the one before, again.
            let command = match group.last() {
                Some(before) if before.args.name() == args.name() => before.command,
                _ => match env.commands.find(args.name()) {
                    Some(command) if command.is_plain() => command,
                    _ => break,
                },
            };
            if !command.arity.accepts(args.len()) {
                break;
            }
            let (before, write) = (keys.len(), command.flags.has(Flags::WRITE));
            let (fits, first) = match command.only_key {
                Some(i) => (add_key(&env.keyspace, &mut keys, &args[i], write), Some(i)),
                None => {
                    let (mut fits, mut first) = (true, None);
                    let valid = command.each_key(args, &mut |i, _| {
                        first.get_or_insert(i);
                        fits &= add_key(&env.keyspace, &mut keys, &args[i], write);
                    });
                    (valid && fits, first)
                }
            };
            if !fits {
                keys.truncate(before);
                break;
            }
            group.push(Request { command, args, known: first.map(|arg| Known { arg, key: before }) });
        }
        let Some(Request { command: last, .. }) = group.last().filter(|_| group.len() > 1) else {
            return (0, Called::Done);
        };
        session.client.last_command.store(last.id, Ordering::Relaxed);
        let Some(locked) = env.keyspace.try_lock_keys(session.db, &mut keys) else {
            return (0, Called::Done);
        };
        let (ran, how) = command::run(env, worker.runner(), locked, session, reply, &group, &keys);
        worker.stats.processed.add(ran as u64);
        (ran, how.into())
    }

    /// The shards to lock for a request.
    fn shards(&self, session: &Session, command: &Command, args: Args<'_>) -> ShardSet {
        let mut set = ShardSet::None;
        match command.locks_of(args) {
            Locks::Keys => self.add_key_shards(&mut set, command, args),
            Locks::All => return ShardSet::All,
            Locks::Walk => return ShardSet::None,
            Locks::Queue => {
                let queue = session.multi.iter().flat_map(|m| &m.queue);
                for queued in queue {
                    let command = self.env.commands.get(queued.command);
                    let args = queued.args.as_args();
                    match command.locks_of(args) {
                        Locks::Keys => self.add_key_shards(&mut set, command, args),
                        Locks::All | Locks::Walk | Locks::Queue => return ShardSet::All,
                    }
                }
                for (_, key) in &session.watched {
                    set.add(self.env.keyspace.shard_of(self.env.keyspace.hash(key)));
                }
            }
        }
        set.seal();
        set
    }

    fn add_key_shards(&self, set: &mut ShardSet, command: &Command, args: Args<'_>) {
        let keyspace = &self.env.keyspace;
        let valid = command.each_key(args, &mut |i, _| set.add(keyspace.shard_of(keyspace.hash(&args[i]))));
        if !valid && !command.specs.is_empty() {
            // The handler will say what is wrong with the arguments; until then it may look at any key.
            *set = ShardSet::All;
        }
    }

    /// Removes up to `max` expired keys and fields of hashes of a shard; tells how many went. `None` when the shard is held for long.
    pub fn expire_shard(&self, worker: &mut Worker, shard: u32, max: usize) -> Option<usize> {
        if !self.env.keyspace.is_due(shard, worker.now)? {
            return Some(0);
        }
        let databases = self.env.keyspace.databases();
        let n = command::with_shard(&self.env, worker.runner(), shard, |view| {
            let (mut n, mut fields) = (0, 0);
            for db in 0..databases {
                view.db = db;
                if !view.part(shard).is_some_and(|part| part.is_due(view.now)) {
                    continue;
                }
                while n < max {
                    let soonest = view.part(shard).and_then(|part| part.soonest());
                    let Some((_, key)) = soonest.filter(|(at, _)| *at <= view.now) else { break };
                    let key = key.to_vec();
                    view.expire(&key);
                    n += 1;
                }
                while n + fields < max {
                    let soonest = view.part(shard).and_then(|part| part.soonest_fields());
                    let Some((_, key)) = soonest.filter(|(at, _)| *at <= view.now) else { break };
                    let key = key.to_vec();
                    fields += view.expire_fields(&key, max - n - fields).max(1);
                }
            }
            (n, fields)
        })?;
        self.env.stats.active_expired.fetch_add(n.0 as u64, Ordering::Relaxed);
        Some(n.0 + n.1)
    }

    /// Runs `f` as one atomic step, for parts of the server that write by themselves: the shards of `keys` and of the
    /// commands, which `f` is to run by `Context::run_nested`, are locked meanwhile. The caller has seen to `maxmemory`
    /// (`room`) and to what else keeps writes out (`held`).
    pub fn step<'a, R>(
        &'a self,
        worker: &'a mut Worker,
        session: &'a mut Session,
        reply: &'a mut Reply,
        keys: &[&[u8]],
        commands: impl Iterator<Item = (&'a Command, Args<'a>)>,
        f: impl FnOnce(&mut command::Context<'a>) -> R,
    ) -> R {
        let env = &*self.env;
        let mut shards = ShardSet::None;
        for key in keys {
            shards.add(env.keyspace.shard_of(env.keyspace.hash(key)));
        }
        for (command, args) in commands {
            match command.locks_of(args) {
                Locks::Keys => self.add_key_shards(&mut shards, command, args),
                Locks::All | Locks::Walk | Locks::Queue => shards = ShardSet::All,
            }
        }
        shards.seal();
        let locked = env.keyspace.lock(&shards);
        worker.begin(env);
        command::run_step(env, worker.runner(), locked, session, reply, f)
    }

    /// Whether memory allows writes that take more of it; evicts if need be. The caller holds no shard.
    pub fn room(&self, worker: &mut Worker) -> Room {
        match self.env.limits.maxmemory.get() {
            0 => Room::Enough,
            _ => self.evictor.make_room(&self.env, worker),
        }
    }

    /// What keeps every write out at present, in words.
    pub fn held(&self) -> Option<String> {
        let env = &*self.env;
        let barred = env.barred.load(Ordering::Relaxed);
        if barred & bar::LOADING != 0 {
            return Some("the data set is being loaded".into());
        }
        if barred & bar::SAVE_FAILED != 0 {
            return Some("the last background save failed (stop-writes-on-bgsave-error)".into());
        }
        if barred & bar::AOF_FAILED != 0 {
            return Some(format!("the append-only file cannot be written: {}", env.aof_error.lock()));
        }
        let paused = env.paused.load(Ordering::Relaxed);
        if paused && env.paused_until(env.clock.now_ms(), true).is_some() {
            return Some("writes are paused (CLIENT PAUSE)".into());
        }
        None
    }

    /// Runs the command of a claimed waiter again, on its owner's thread, with all its shards.
    pub fn retry(&self, worker: &mut Worker, waiter: &Arc<Waiter>) {
        let command = self.env.commands.get(waiter.command);
        let mut shards = ShardSet::None;
        self.add_key_shards(&mut shards, command, waiter.args.as_args());
        shards.seal();
        let locked = self.env.keyspace.lock(&shards);
        command::run_waiter(&self.env, worker.runner(), locked, waiter);
    }

    /// Forgets a client whose session was lost to a panic.
    pub fn abandon(&self, client: &Client) {
        self.env.clients.remove(client.id);
    }

    /// Ends a session: its watches, its waiter, its registrations.
    pub fn close_session(&self, session: &mut Session) {
        let env = &*self.env;
        let client = session.client.clone();
        let waiter = client.waiter.lock().take();
        if let Some(waiter) = waiter {
            if waiter.claim_by_owner() {
                command::end_wait(env, &waiter, Reply::new(false));
            }
            command::forget_waiter(env, &waiter);
        }
        crate::txn::forget_watches(env, session);
        if client.has_flag(flag::MONITOR) {
            env.clients.monitors().fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(hooks) = env.session_end.get() {
            hooks.iter().for_each(|h| h(env, session));
        }
        env.clients.remove(client.id);
    }
}

enum Admitted<'e> {
    Run(&'e Command),
    Queued,
    Paused(u64),
    /// Its connection is to end, without a reply.
    Dropped,
}

struct Refused {
    error: CommandError,
    command: Option<usize>,
}

fn worker(env: &Env, lane: Lane) -> Worker {
    let stats = Arc::new(WorkerStats::new(env.commands.rows().len()));
    env.stats.add_worker(stats.clone());
    Worker {
        stats,
        rng: env.fork_rng(),
        lane,
        batch: Batch::default(),
        now: env.clock.now_ms(),
        ticks: env.clock.ticks(),
        recent: Recent::default(),
        roomy: None,
        expire_from: 0,
    }
}

/// What is said to a command that a bar keeps out.
/// What a fault has happen to a command; `None` lets it go on.
fn rehearse<'a>(
    env: &Env,
    session: &mut Session,
    command: &Command,
) -> Result<Option<Admitted<'a>>, CommandError> {
    if session.admitted || session.client.has_flag(flag::LOCAL) {
        return Ok(None);
    }
    let now = env.clock.now_ms();
    if let Some(until) = session.delayed_until {
        if now < until {
            return Ok(Some(Admitted::Paused(until)));
        }
        session.delayed_until = None;
        return Ok(None);
    }
    match env.service::<Rehearsal>().meet(command) {
        Fault::None => Ok(None),
        Fault::Error(error) => Err(error),
        Fault::Drop => Ok(Some(Admitted::Dropped)),
        Fault::Delay(by) => {
            let until = now.saturating_add(by.as_millis() as u64);
            session.delayed_until = Some(until);
            Ok(Some(Admitted::Paused(until)))
        }
    }
}

fn refused_by_bar(env: &Env, session: &Session, command: &Command, barred: u32) -> Result<(), CommandError> {
    let writes = command.flags.has(Flags::WRITE)
        || command.name == "ping"
        || (command.locks == Locks::Queue && queue_writes(env, session));
    if writes && barred & bar::SAVE_FAILED != 0 {
        return Err(CommandError::SAVE_FAILED);
    }
    if writes && barred & bar::AOF_FAILED != 0 {
        let why = env.aof_error.lock().clone();
        return Err(CommandError::new(format!("MISCONF Errors writing to the AOF file: {why}")));
    }
    if barred & bar::LOADING != 0
        && !command.flags.has(Flags::LOADING)
        && !session.client.has_flag(flag::LOADER)
    {
        return Err(CommandError::LOADING);
    }
    Ok(())
}

/// With so many bytes free, a batch of commands is not measured one by one.
const ROOMY_BYTES: usize = 16 << 20;

/// Whether a command must not run without room: it asks for memory itself, runs queued commands that do, or would be
/// queued, which takes memory too.
fn takes_memory(env: &Env, session: &Session, command: &Command) -> bool {
    let Some(multi) = &session.multi else { return command.flags.has(Flags::DENYOOM) };
    match command.name {
        "exec" => multi.queue.iter().any(|q| env.commands.get(q.command).flags.has(Flags::DENYOOM)),
        "discard" | "quit" | "reset" => false,
        _ => true,
    }
}

fn queue_writes(env: &Env, session: &Session) -> bool {
    let may = Flags::WRITE.with(Flags::MAY_REPLICATE);
    session.multi.iter().flat_map(|m| &m.queue).any(|q| env.commands.get(q.command).flags.has(may))
}

/// Notes a key of a group and asks for its shard's memory; false when there is no room for more.
#[inline(always)]
fn add_key(keyspace: &Keyspace, keys: &mut ArrayVec<KeyPlace, KEYS_MAX>, key: &[u8], write: bool) -> bool {
    let hash = keyspace.hash(key);
    keyspace.prefetch(hash, write);
    keys.try_push(KeyPlace::new(hash)).is_ok()
}

fn unknown_command(args: Args<'_>) -> CommandError {
    let shown = |bytes: &[u8], most: usize| {
        let bytes = &bytes[..bytes.len().min(most)];
        bytes.split(|&b| b == 0).next().unwrap_or_default().to_vec()
    };
    let mut text = b"ERR unknown command '".to_vec();
    text.extend(shown(args.name(), 128));
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for arg in args.iter().skip(1) {
        let used = text.len() - start;
        if used >= 128 {
            break;
        }
        text.push(b'\'');
        text.extend(shown(arg, 128 - used));
        text.extend_from_slice(b"' ");
    }
    CommandError::Bytes(text.into())
}
