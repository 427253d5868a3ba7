//! The thread of one pipeline: takes records from its partitions and applies them, in order, each exactly once.
//!
//! What makes it exactly once is `apply`: the commands of a record and the new offset are one step through the engine,
//! and the offset that a step begins at is compared with the stored one under the same locks. Whoever changes the
//! stored position (RESUME FROM, a restored data set) thereby voids whatever was fetched for another one.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::dead::{DeadLetters, Letter};
use super::definition::{Definition, OnError, Start};
use super::fetch::{FetchError, Fetched, Message, Source};
use super::record::{Record, Rendered, Verdict};
use super::retry::Asks;
use super::status::{Class, Failure, Partition, State, Status};
use super::store::{self, Stored};
use super::template::Pipeline;
use crate::base::alloc::External;
use crate::command::{Command, CommandError, Context, Session};
use crate::resp::args::Args;
use crate::resp::reply::Reply;
use crate::server::evict::Room;
use crate::server::places::{Place, Places};
use crate::server::{Engine, Worker};
use crate::value::cell::Type;
use crate::value::hash::HashRef;

/// For questions to the brokers; a shutdown waits for one of them at most.
pub(super) const ASK: Duration = Duration::from_millis(1000);
const ASK_ID: Duration = Duration::from_millis(300);
/// How often the topic is looked at: whether it is still the same one, and has new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the pipeline's hash is looked at when nothing comes.
const IDLE: Duration = Duration::from_millis(500);
const RUNNER_NICE: i32 = 10;
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Records taken from librdkafka at once.
const FETCH_MAX: usize = 1024;

/// What the commands of one record may take in memory.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// How others reach a pipeline's thread.
#[derive(Default)]
pub struct Control {
    stop: AtomicBool,
    poked: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
    waker: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    /// Requests for KAFKA RETRY.
    pub asks: Asks,
}

impl Control {
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poke();
    }

    /// Has the thread look at the pipeline's hash.
    pub fn poke(&self) {
        self.poked.store(true, Ordering::Release);
        drop(self.lock.lock());
        self.changed.notify_all();
        if let Some(wake) = &*self.waker.lock() {
            wake();
        }
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until poked, at most so long.
    fn wait(&self, at_most: Duration) {
        let mut guard = self.lock.lock();
        if !self.poked.swap(false, Ordering::AcqRel) {
            self.changed.wait_for(&mut guard, at_most);
            self.poked.store(false, Ordering::Release);
        }
    }
}

/// Why ingestion leaves off.
enum End {
    Stop,
    /// The stored state is another than the one that was read: begin anew.
    Moved,
    /// Something is wrong: it is to stand still for this reason until somebody resumes it.
    Pause(String),
    /// The stored state says that it stands still, and why.
    Paused(String),
    /// The brokers' fault, or something that passes: again after a while.
    Retry(String),
}

impl From<KafkaError> for End {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(code) => blame(code, &error.to_string()),
            None => End::Retry(error.to_string()),
        }
    }
}

/// What an error of the brokers means for the pipeline.
fn blame(code: RDKafkaErrorCode, text: &str) -> End {
    use RDKafkaErrorCode as E;
    match code {
        E::UnknownTopicOrPartition | E::UnknownTopic | E::UnknownPartition | E::UnknownTopicId => {
            End::Pause("the topic or partition does not exist (deleted?)".into())
        }
        E::InvalidTopic => End::Pause("the topic's name is not valid".into()),
        _ => End::Retry(text.to_owned()),
    }
}

/// One record in a step: where it stands, and what is to be run for it.
struct Unit {
    /// Place in the fetch.
    at: usize,
    partition: i32,
    offset: i64,
    timestamp: i64,
    /// Commands of it that an earlier step has run already.
    done: usize,
    /// What became of its rendering.
    verdict: Result<Verdict, String>,
}

/// How a step ended.
#[derive(Default)]
pub(super) struct Stepped {
    /// The stored state was another one: nothing was done.
    moved: bool,
    /// Units that are over.
    over: usize,
    pub commands: u64,
    /// Records that failed: partition, offset, and why.
    failed: Vec<(i32, i64, Class, String)>,
    /// The last one of them stops the step: its record is not over, so many of its commands are.
    stopped: Option<usize>,
}

pub struct Runner {
    pub engine: Arc<Engine>,
    pub name: String,
    pub definition: Definition,
    pub pipeline: Arc<Pipeline>,
    pub connection: ClientConfig,
    pub status: Arc<Status>,
    pub control: Arc<Control>,
    pub(super) work: Work,
    /// Opened by the first letter; what fails to send is closed.
    pub(super) dead: Option<DeadLetters>,
}

/// What the thread uses over and over.
pub struct Work {
    pub worker: Worker,
    pub session: Session,
    pub reply: Reply,
    /// One for each unit of a step.
    rendered: Vec<Rendered>,
    units: Vec<Unit>,
    key: Vec<u8>,
    /// The definition as stored.
    pub line: Vec<u8>,
}

impl Work {
    pub fn new(engine: &Engine, session: Session, name: &str, line: &[u8]) -> Self {
        Work {
            worker: engine.slow_worker(),
            session,
            reply: Reply::new(true),
            rendered: Vec::new(),
            units: Vec::new(),
            key: store::key_of(name),
            line: line.to_vec(),
        }
    }
}

/// What ingestion holds between two fetches.
struct Run {
    source: Source,
    /// Next offsets.
    positions: BTreeMap<i32, i64>,
    /// Commands of the next record that are done already.
    done: BTreeMap<i32, usize>,
    /// Journal offsets with the positions that they make durable.
    undurable: VecDeque<(u64, Vec<(i32, i64)>)>,
    looked: Instant,
    /// The brokers complained, and nothing has come since.
    troubled: bool,
    tokens: f64,
    filled: Instant,
    /// Records a step, from how long the last ones took.
    pace: usize,
    counted: (Instant, u64),
    /// What librdkafka holds for us.
    memory: External,
}

impl Runner {
    /// Runs until it is told to stop, or the pipeline is gone.
    pub fn run(mut self) {
        // Clients come first when cores are short.
        crate::base::priority::lower(RUNNER_NICE);
        let env = self.engine.env().clone();
        let _place = env.service::<Places>().take(Place::Background);
        let mut backoff = BACKOFF_MIN;
        self.control.asks.open();
        while !self.control.stopping() {
            self.retry_asked();
            let began = Instant::now();
            match self.ingest() {
                End::Stop => break,
                End::Moved => backoff = BACKOFF_MIN,
                End::Pause(reason) => {
                    self.store_pause(&reason);
                    self.stand_still(&reason);
                }
                End::Paused(reason) => self.stand_still(&reason),
                End::Retry(reason) => {
                    if began.elapsed() > BACKOFF_MAX {
                        backoff = BACKOFF_MIN;
                    }
                    self.enter(State::Retrying, &reason);
                    self.control.wait(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
            *self.control.waker.lock() = None;
        }
        self.control.asks.close();
        self.enter(State::Stopped, "");
        self.engine.close_session(&mut self.work.session);
    }

    pub(super) fn enter(&self, state: State, reason: &str) {
        self.status.enter(&self.name, state, reason, self.engine.env().clock.now_ms());
    }

    /// Runs `f` as a step with the pipeline's hash locked.
    fn locked<R>(&mut self, f: impl FnOnce(&mut Context<'_>, &[u8]) -> R) -> R {
        let key = std::mem::take(&mut self.work.key);
        let result = self.step_on(&[&key], |ctx| f(ctx, &key));
        self.work.key = key;
        result
    }

    /// Runs `f` as a step with these keys locked.
    pub(super) fn step_on<R>(&mut self, keys: &[&[u8]], f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let Work { worker, session, reply, .. } = &mut self.work;
        let result = self.engine.step(worker, session, reply, keys, std::iter::empty(), |ctx| f(ctx));
        reply.clear();
        result
    }

    /// The stored state, for a request that fails without it.
    pub(super) fn stored_now(&mut self) -> Result<Stored, String> {
        match self.locked(store::read) {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => Err("the pipeline is gone".into()),
            Err(e) => Err(String::from_utf8_lossy(e.as_bytes()).into_owned()),
        }
    }

    /// Has the brokers keep a letter in a dead-letter topic.
    pub(super) fn send_letter(&mut self, topic: &str, letter: &Letter) -> Result<(), KafkaError> {
        let dead = match self.dead.take() {
            Some(dead) => dead,
            None => DeadLetters::open(&self.connection)?,
        };
        dead.send(topic, letter, &|| self.control.stopping())?;
        self.dead = Some(dead);
        Ok(())
    }

    fn stored(&mut self) -> Result<Stored, End> {
        match self.locked(store::read) {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => Err(End::Stop),
            Err(e) => Err(End::Retry(String::from_utf8_lossy(e.as_bytes()).into_owned())),
        }
    }

    /// Stores why the pipeline stands still; whoever resumes it takes that away.
    fn store_pause(&mut self, reason: &str) {
        let stored = self.locked(|ctx, key| match store::read(ctx, key) {
            Ok(Some(stored)) if stored.paused.is_none() => {
                store::nested(ctx, [b"hset".as_slice(), key, b"paused", reason.as_bytes()])
            }
            _ => Ok(()),
        });
        if let Err(e) = stored {
            tracing::warn!("kafka: pipeline {}: {}", self.name, String::from_utf8_lossy(e.as_bytes()));
        }
    }

    fn stand_still(&mut self, reason: &str) {
        self.enter(State::Paused, reason);
        if !self.control.stopping() {
            self.control.wait(IDLE);
        }
    }

    /// Finds the topic and the positions, then applies what comes until something is the matter.
    fn ingest(&mut self) -> End {
        match self.begin().and_then(|mut run| {
            loop {
                self.turn(&mut run)?;
            }
        }) {
            Ok(never) => never,
            Err(end) => end,
        }
    }

    fn begin(&mut self) -> Result<Run, End> {
        self.control.poked.store(false, Ordering::Release);
        let stored = self.stored()?;
        if let Some(reason) = stored.paused {
            return Err(End::Paused(reason));
        }
        if let Some(reason) = self.engine.held() {
            self.enter(State::Waiting, &reason);
            self.control.wait(Duration::from_millis(20));
            return Err(End::Moved);
        }
        self.enter(State::Starting, "");
        let source = Source::open(&self.connection, &self.definition.topic)?;
        *self.control.waker.lock() = Some(Box::new(source.waker()));
        let troubled = |source: &Source, error: KafkaError| match End::from(error) {
            End::Retry(text) => End::Retry(source.ear().take().unwrap_or(text)),
            other => other,
        };
        let partitions = source.partitions(ASK).map_err(|e| troubled(&source, e))?;
        let wanted = self.wanted(&partitions)?;
        let id = source.topic_id(ASK_ID).map_err(|e| troubled(&source, e))?;
        let positions = self.positions(&source, &stored, &wanted, id.as_deref())?;
        let done = |&p: &i32| Some((p, stored.number(&store::done_field(&self.definition.topic, p))?));
        let done =
            wanted.iter().filter_map(done).map(|(p, n)| (p, usize::try_from(n).unwrap_or(0))).collect();
        source.assign(positions.iter().map(|(&p, &offset)| (p, offset)))?;
        let now = Instant::now();
        self.status.with(|f| {
            f.partitions = positions.iter().map(|(&p, &offset)| (p, Partition::at(offset))).collect();
            for (&p, partition) in &mut f.partitions {
                partition.end = source.end(p).unwrap_or(-1);
            }
        });
        let records = self.status.with(|f| f.records);
        let run = Run {
            source,
            positions,
            done,
            undurable: VecDeque::new(),
            looked: now,
            troubled: false,
            tokens: 0.0,
            filled: now,
            pace: 16,
            counted: (now, records),
            memory: External::default(),
        };
        self.enter(State::Running, "");
        Ok(run)
    }

    /// The partitions to read, out of those that there are.
    fn wanted(&self, there: &[i32]) -> Result<Vec<i32>, End> {
        let Some(ranges) = &self.definition.partitions else { return Ok(there.to_vec()) };
        let missing = ranges.iter().flat_map(|r| r.clone()).find(|p| !there.contains(p));
        if let Some(p) = missing {
            return Err(End::Pause(format!("the topic has no partition {p}")));
        }
        Ok(there.iter().copied().filter(|p| ranges.iter().any(|r| r.contains(p))).collect())
    }

    /// Where each partition goes on: as stored, or where START says, which is stored before anything is read.
    fn positions(
        &mut self,
        source: &Source,
        stored: &Stored,
        wanted: &[i32],
        id: Option<&str>,
    ) -> Result<BTreeMap<i32, i64>, End> {
        let topic = self.definition.topic.clone();
        let known = stored.field(&store::id_field(&topic));
        let has_offsets = wanted.iter().any(|&p| stored.number(&store::offset_field(&topic, p)).is_some());
        if let (Some(known), Some(id)) = (known, id)
            && known != id
            && has_offsets
        {
            return Err(End::Pause(
                "the topic was deleted and made anew: the offsets belong to the old one (KAFKA RESUME name FROM ...)"
                    .into(),
            ));
        }
        let mut positions = BTreeMap::new();
        let mut fresh = Vec::new();
        let from = stored.field(store::FROM).map(|word| match word {
            "earliest" => Start::Earliest,
            "latest" => Start::Latest,
            ms => Start::At(ms.parse().unwrap_or(0)),
        });
        for &p in wanted {
            match stored.number(&store::offset_field(&topic, p)) {
                Some(offset) => drop(positions.insert(p, offset)),
                None => fresh.push(p),
            }
        }
        if !fresh.is_empty() {
            // A partition that appears later begins at its beginning: whatever it holds came after the start.
            let first = if positions.is_empty() { self.definition.start } else { Start::Earliest };
            let start = from.unwrap_or(first);
            let at = match start {
                Start::At(ms) => source.offsets_at(ms, &fresh, ASK)?,
                _ => vec![None; fresh.len()],
            };
            for (&p, at) in fresh.iter().zip(at) {
                let (low, high) = source.bounds(p, ASK)?;
                let offset = match start {
                    Start::Earliest => low,
                    Start::Latest => high,
                    Start::At(_) => at.unwrap_or(high),
                };
                positions.insert(p, offset);
            }
        }
        for (&p, &offset) in &positions {
            let (low, high) = source.bounds(p, ASK)?;
            if offset < low || offset > high {
                return Err(End::Pause(gap(&topic, p, offset, low, high)));
            }
        }
        let expected = stored.clone();
        let (id, positions_ref) = (id.map(str::to_owned), &positions);
        let fresh = &fresh;
        let result = self.locked(|ctx, key| {
            if store::read(ctx, key)?.as_ref() != Some(&expected) {
                return Ok(false);
            }
            let mut args: Vec<Vec<u8>> = vec![b"hset".to_vec(), key.to_vec()];
            for p in fresh {
                args.push(store::offset_field(&topic, *p).into());
                args.push(positions_ref[p].to_string().into());
            }
            if let Some(id) = id.filter(|id| expected.field(&store::id_field(&topic)) != Some(id)) {
                args.push(store::id_field(&topic).into());
                args.push(id.into());
            }
            if args.len() > 2 {
                store::nested(ctx, &args)?;
            }
            if expected.field(store::FROM).is_some() {
                store::nested(ctx, [b"hdel", key, store::FROM.as_bytes()])?;
            }
            Ok::<bool, CommandError>(true)
        });
        match result {
            Ok(true) => Ok(positions),
            Ok(false) => Err(End::Moved),
            Err(e) => Err(End::Retry(String::from_utf8_lossy(e.as_bytes()).into_owned())),
        }
    }

    /// One fetch, applied.
    fn turn(&mut self, run: &mut Run) -> Result<(), End> {
        if self.control.stopping() {
            return Err(End::Stop);
        }
        if self.control.poked.swap(false, Ordering::AcqRel) {
            self.retry_asked();
            self.check_stored(run)?;
        }
        if run.looked.elapsed() >= LOOK_EVERY {
            run.looked = Instant::now();
            self.look(run)?;
            self.check_stored(run)?;
        }
        let most = self.allowance(run);
        if most == 0 {
            self.control.wait(Duration::from_millis(5));
            return Ok(());
        }
        let mut fetched = Fetched::default();
        run.source.fetch(most, IDLE, &mut fetched);
        run.source.listen().map_err(|_| End::Moved)?;
        if let Some(complaint) = run.source.ear().take() {
            run.troubled = true;
            self.fail(Class::Broker, -1, -1, &complaint);
            self.enter(State::Retrying, &complaint);
        }
        if run.troubled && !fetched.is_empty() && matches!(fetched.get(0), Some(Ok(_))) {
            run.troubled = false;
            self.enter(State::Running, "");
        }
        let result = self.consume(run, &fetched);
        run.tokens -= fetched.len() as f64;
        self.publish(run);
        result
    }

    /// How many records may be taken now: all that fit, or what MAXRATE allows.
    fn allowance(&self, run: &mut Run) -> usize {
        let Some(rate) = self.definition.max_rate else { return FETCH_MAX };
        let rate = rate as f64;
        let now = Instant::now();
        run.tokens =
            (run.tokens + now.duration_since(run.filled).as_secs_f64() * rate).min((rate / 10.0).max(1.0));
        run.filled = now;
        (run.tokens.max(0.0) as usize).min(FETCH_MAX)
    }

    /// Leaves off when the stored state is not the one that this run goes by.
    fn check_stored(&mut self, run: &Run) -> Result<(), End> {
        let stored = self.stored()?;
        if let Some(reason) = stored.paused {
            return Err(End::Paused(reason));
        }
        let topic = &self.definition.topic;
        let same =
            run.positions.iter().all(|(&p, &at)| stored.number(&store::offset_field(topic, p)) == Some(at));
        if same { Ok(()) } else { Err(End::Moved) }
    }

    /// Whether the topic is still the same one, and has no new partitions.
    fn look(&mut self, run: &mut Run) -> Result<(), End> {
        let seen = run.source.partitions(ASK).and_then(|there| Ok((there, run.source.topic_id(ASK_ID)?)));
        let (there, id) = match seen {
            Ok(seen) => seen,
            Err(error) => {
                return match End::from(error) {
                    // librdkafka reconnects by itself.
                    End::Retry(text) => {
                        run.troubled = true;
                        let text = run.source.ear().take().unwrap_or(text);
                        self.enter(State::Retrying, &text);
                        Ok(())
                    }
                    end => Err(end),
                };
            }
        };
        if run.troubled {
            run.troubled = false;
            self.enter(State::Running, "");
        }
        let known = self.stored()?.field(&store::id_field(&self.definition.topic)).map(str::to_owned);
        if id.is_some() && known.is_some() && id != known {
            return Err(End::Moved);
        }
        if self.wanted(&there)?.len() != run.positions.len() {
            return Err(End::Moved);
        }
        Ok(())
    }

    /// Applies what was fetched, step by step.
    fn consume(&mut self, run: &mut Run, fetched: &Fetched) -> Result<(), End> {
        let mut at = 0;
        while at < fetched.len() {
            self.wait_for_room()?;
            at = self.gather(run, fetched, at)?;
            while !self.work.units.is_empty() {
                let began = Instant::now();
                let n = self.work.units.len();
                let stepped = self.apply(run, fetched)?;
                self.adapt(run, n, began.elapsed());
                if stepped.moved {
                    return Err(End::Moved);
                }
                self.settle(run, fetched, stepped)?;
            }
        }
        Ok(())
    }

    /// Renders the records from `from` on, as many as make a step; tells where it left off. Errors that stand between
    /// records end a step before them.
    fn gather(&mut self, run: &mut Run, fetched: &Fetched, from: usize) -> Result<usize, End> {
        let most = self.engine.env().limits.kafka_batch_records.get().min(run.pace.max(1));
        self.work.units.clear();
        let mut ahead: BTreeMap<i32, i64> = BTreeMap::new();
        let mut at = from;
        while at < fetched.len() && self.work.units.len() < most {
            let message = match fetched.get(at) {
                None => break,
                Some(Err(error)) if self.work.units.is_empty() => {
                    self.heed(run, &error)?;
                    at += 1;
                    continue;
                }
                Some(Err(_)) => break,
                Some(Ok(message)) => message,
            };
            let partition = message.partition();
            let next = ahead.get(&partition).or_else(|| run.positions.get(&partition));
            let Some(&next) = next else {
                at += 1;
                continue;
            };
            // Of an earlier assignment.
            if message.offset() < next {
                at += 1;
                continue;
            }
            ahead.insert(partition, message.offset() + 1);
            self.push_unit(run, at, &message);
            at += 1;
        }
        Ok(at)
    }

    fn push_unit(&mut self, run: &Run, at: usize, message: &Message<'_>) {
        let Work { rendered, units, .. } = &mut self.work;
        if rendered.len() == units.len() {
            rendered.push(Rendered::new(RECORD_BYTES_MAX));
        }
        rendered[units.len()].clear();
        let (partition, offset) = (message.partition(), message.offset());
        let verdict = self.pipeline.render(message, &mut rendered[units.len()]).map_err(|e| e.to_string());
        // Only of the record at which it stopped.
        let first = run.positions.get(&partition).is_some_and(|&next| offset >= next)
            && !units.iter().any(|u| u.partition == partition);
        let done = if first { run.done.get(&partition).copied().unwrap_or(0) } else { 0 };
        let timestamp = message.timestamp().unwrap_or(-1);
        units.push(Unit { at, partition, offset, timestamp, done, verdict });
    }

    /// What came in a record's place.
    fn heed(&mut self, run: &mut Run, error: &FetchError) -> Result<(), End> {
        use RDKafkaErrorCode as E;
        let topic = &self.definition.topic;
        match error.code {
            E::AutoOffsetReset | E::OffsetOutOfRange => {
                let at = run.positions.get(&error.partition).copied().unwrap_or(-1);
                let (low, high) = run.source.bounds(error.partition, ASK)?;
                Err(End::Pause(gap(topic, error.partition, at, low, high)))
            }
            E::PartitionEOF => Ok(()),
            code => match blame(code, &error.text) {
                // Brokers come back; librdkafka sees to it.
                End::Retry(text) => {
                    run.troubled = true;
                    self.fail(Class::Broker, error.partition, -1, &text);
                    self.enter(State::Retrying, &text);
                    Ok(())
                }
                end => Err(end),
            },
        }
    }

    /// Waits while writes are held up on this side.
    fn wait_for_room(&mut self) -> Result<(), End> {
        let mut waited = false;
        loop {
            if self.control.stopping() {
                return Err(End::Stop);
            }
            let why = self.engine.held().or_else(|| {
                let full = self.engine.room(&mut self.work.worker) == Room::None;
                full.then(|| "OOM: used memory is over 'maxmemory'".to_owned())
            });
            let Some(why) = why else { break };
            waited = true;
            self.enter(State::Waiting, &why);
            self.control.wait(Duration::from_millis(20));
        }
        while self.engine.env().journal.is_full() && !self.control.stopping() {
            self.control.wait(Duration::from_millis(1));
        }
        if waited {
            self.enter(State::Running, "");
        }
        Ok(())
    }

    /// Runs the gathered units and stores where they lead, as one atomic step.
    fn apply(&mut self, run: &Run, fetched: &Fetched) -> Result<Stepped, End> {
        let engine = self.engine.clone();
        let env = engine.env();
        let Some(hset) = env.commands.original(b"hset") else {
            return Err(End::Retry("no HSET".into()));
        };
        let (name, topic) = (self.name.as_str(), self.definition.topic.as_str());
        let letters = match &self.definition.on_error {
            OnError::Stream(key) => Some(key.as_bytes()),
            _ => None,
        };
        let policy = &self.definition.on_error;
        let Work { worker, session, reply, rendered, units, key, line } = &mut self.work;
        let (key, line) = (&*key, &*line);
        let units = &*units;
        let commands =
            units.iter().zip(rendered.iter()).filter(|(u, _)| matches!(u.verdict, Ok(Verdict::Apply)));
        let commands = commands.flat_map(|(_, r)| r.iter()).map(|(id, args)| (env.commands.get(id), args));
        let mut keys: Vec<&[u8]> = vec![key];
        keys.extend(letters);
        let rendered = &*rendered;
        let stepped = engine.step(worker, session, reply, &keys, commands, |ctx| {
            let mut stepped = Stepped::default();
            if !is_as_expected(ctx, key, line, topic, run, units) {
                stepped.moved = true;
                return stepped;
            }
            let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
            for (i, (unit, rendered)) in units.iter().zip(rendered).enumerate() {
                let failed = match &unit.verdict {
                    Err(text) => Some((Class::Record, text.clone(), 0)),
                    Ok(Verdict::Apply) => {
                        run_commands(ctx, env.commands.rows(), rendered, unit.done, &mut stepped)
                    }
                    Ok(_) => None,
                };
                if let Some((class, why, done)) = failed {
                    stepped.failed.push((unit.partition, unit.offset, class, why.clone()));
                    let stops = match policy {
                        OnError::Skip => false,
                        OnError::Stream(stream) => {
                            let Some(Ok(message)) = fetched.get(unit.at) else { break };
                            let letter = Letter::new(name, &message, class, &why, done);
                            store::nested(ctx, letter.xadd(stream.as_bytes())).is_err()
                        }
                        OnError::Fail | OnError::Dlq(_) => true,
                    };
                    if stops {
                        stepped.stopped = Some(done);
                        break;
                    }
                }
                ends.insert(unit.partition, unit.offset + 1);
                stepped.over = i + 1;
            }
            store_ends(ctx, hset, key, topic, &ends);
            if let Some(done) = stepped.stopped.filter(|&done| done > 0) {
                let field = store::done_field(topic, units[stepped.over].partition);
                let _ = store::nested(
                    ctx,
                    [b"hset", key.as_slice(), field.as_bytes(), done.to_string().as_bytes()],
                );
            }
            let finished = units[..stepped.over].iter().filter(|u| u.done > 0);
            for unit in finished {
                let field = store::done_field(topic, unit.partition);
                let _ = store::nested(ctx, [b"hdel", key.as_slice(), field.as_bytes()]);
            }
            ctx.keys.ready(key);
            stepped
        });
        reply.clear();
        Ok(stepped)
    }

    /// Takes note of what a step did, and sees to the record that stopped it.
    fn settle(&mut self, run: &mut Run, fetched: &Fetched, stepped: Stepped) -> Result<(), End> {
        let topic = self.definition.topic.clone();
        let mut over = self.work.units.drain(..stepped.over).collect::<Vec<_>>();
        // Their buffers go to the end, to be used again.
        self.work.rendered.rotate_left(stepped.over);
        let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
        let mut sums = [0u64; 4];
        for unit in &over {
            ends.insert(unit.partition, unit.offset + 1);
            run.done.remove(&unit.partition);
            let which = match unit.verdict {
                Ok(Verdict::Apply) => 0,
                Ok(Verdict::Filtered) => 1,
                Ok(Verdict::Ignored) => 2,
                Err(_) => 3,
            };
            sums[which] += 1;
        }
        run.positions.extend(ends.iter().map(|(&p, &at)| (p, at)));
        if self.engine.env().journal.is_on() {
            let until = self.work.session.journaled;
            if run.undurable.len() >= UNDURABLE_MAX {
                run.undurable.pop_front();
            }
            run.undurable.push_back((until, ends.into_iter().collect()));
        }
        let failed = stepped.failed.len() as u64 - u64::from(stepped.stopped.is_some());
        let kept = matches!(self.definition.on_error, OnError::Stream(_));
        self.status.with(|f| {
            f.records += over.len() as u64;
            f.filtered += sums[1];
            f.tombstones += sums[2];
            f.commands += stepped.commands;
            f.steps += 1;
            if kept {
                f.dead += failed;
            } else {
                f.skipped += failed;
            }
            for unit in over.drain(..) {
                if let Some(partition) = f.partitions.get_mut(&unit.partition) {
                    partition.applied = unit.offset + 1;
                    partition.timestamp = unit.timestamp;
                }
            }
        });
        for (partition, offset, class, why) in &stepped.failed {
            self.fail(*class, *partition, *offset, why);
        }
        let Some(done) = stepped.stopped else { return Ok(()) };
        let Some((_, _, class, why)) = stepped.failed.last() else { return Ok(()) };
        let unit = &self.work.units[0];
        let (partition, offset, at) = (unit.partition, unit.offset, unit.at);
        if done > 0 {
            run.done.insert(partition, done);
        }
        let OnError::Dlq(dead_topic) = self.definition.on_error.clone() else {
            return Err(End::Pause(format!("{topic}/{partition} at offset {offset}: {why}")));
        };
        let Some(Ok(message)) = fetched.get(at) else { return Err(End::Moved) };
        let letter = Letter::new(&self.name, &message, *class, why, done);
        self.send_letter(&dead_topic, &letter)?;
        self.status.with(|f| f.dead += 1);
        // It has arrived: the next step goes past it.
        let unit = &mut self.work.units[0];
        unit.verdict = Ok(Verdict::Ignored);
        unit.done = done;
        Ok(())
    }

    pub(super) fn fail(&self, class: Class, partition: i32, offset: i64, text: &str) {
        let at_ms = self.engine.env().clock.now_ms();
        self.status.fail(Failure { at_ms, class, partition, offset, text: text.to_owned() });
    }

    /// Fits the number of records in a step to the time that it may take.
    fn adapt(&self, run: &mut Run, units: usize, took: Duration) {
        let limits = &self.engine.env().limits;
        let aim = u128::from(limits.kafka_batch_us.get());
        if took.as_micros() > aim * 3 / 2 {
            run.pace = (units / 2).max(1);
        } else if units >= run.pace && took.as_micros() < aim {
            run.pace = (run.pace + run.pace / 4 + 1).min(limits.kafka_batch_records.get());
        }
    }

    /// What INFO shows of the brokers' side and of durability.
    fn publish(&self, run: &mut Run) {
        let env = self.engine.env();
        let gate = env.journal.gate.durable();
        let mut durable = None;
        while run.undurable.front().is_some_and(|(at, _)| *at <= gate) {
            let (_, positions) = run.undurable.pop_front().unwrap_or_default();
            durable.get_or_insert_with(BTreeMap::new).extend(positions);
        }
        let buffered = run.source.ear().buffered();
        run.memory.set(buffered as usize);
        let elapsed = run.counted.0.elapsed();
        self.status.with(|f| {
            f.buffered = buffered;
            for (&p, partition) in &mut f.partitions {
                if let Some(end) = run.source.end(p) {
                    partition.end = end;
                }
                if let Some(&at) = durable.as_ref().and_then(|d| d.get(&p)) {
                    partition.durable = at;
                }
            }
            if elapsed >= Duration::from_secs(1) {
                f.rate = ((f.records - run.counted.1) as f64 / elapsed.as_secs_f64()) as u64;
                run.counted = (Instant::now(), f.records);
            }
        });
    }
}

/// Steps whose durability is yet to be known, at most: with more, the figure lags.
const UNDURABLE_MAX: usize = 4096;

/// Whether the stored state is the one that the units go on from.
fn is_as_expected(
    ctx: &mut Context<'_>,
    key: &[u8],
    line: &[u8],
    topic: &str,
    run: &Run,
    units: &[Unit],
) -> bool {
    let Ok(Some(cell)) = ctx.keys.get_type(key, Type::Hash) else { return false };
    let hash = HashRef::of(cell);
    let is = |field: &str, value: &[u8]| hash.get(field.as_bytes()).is_some_and(|v| *v.to_vec() == *value);
    let mut last = None;
    is("definition", line)
        && !hash.contains(b"paused")
        && units.iter().all(|unit| {
            // Records of a partition mostly come together.
            let again = last.replace(unit.partition) == Some(unit.partition);
            again
                || run.positions.get(&unit.partition).is_some_and(|at| {
                    is(&store::offset_field(topic, unit.partition), at.to_string().as_bytes())
                })
        })
}

/// Runs a record's commands; what failed, and how many were run before that.
pub(super) fn run_commands<'a>(
    ctx: &mut Context<'a>,
    rows: &'a [Command],
    rendered: &Rendered,
    done: usize,
    stepped: &mut Stepped,
) -> Option<(Class, String, usize)> {
    for (i, (id, args)) in rendered.iter().enumerate().skip(done) {
        if args.iter().any(|arg| arg.starts_with(store::REGISTRY)) && is_reserved(&rows[id], args) {
            return Some((Class::Command, "keys of pipelines are not for templates".into(), i));
        }
        let mark = ctx.reply.mark();
        let result = ctx.run_nested(&rows[id], args);
        ctx.reply.truncate(mark);
        if let Err(e) = result {
            return Some((Class::Command, String::from_utf8_lossy(e.as_bytes()).into_owned(), i));
        }
        stepped.commands += 1;
    }
    None
}

/// Whether a command would touch what pipelines keep of themselves.
fn is_reserved(command: &Command, args: Args<'_>) -> bool {
    let mut reserved = false;
    command.each_key(args, &mut |i, _| {
        reserved |= args.get(i).is_some_and(|key| key.starts_with(store::REGISTRY))
    });
    reserved
}

/// Stores the next offsets.
fn store_ends<'a>(
    ctx: &mut Context<'a>,
    hset: &'a Command,
    key: &[u8],
    topic: &str,
    ends: &BTreeMap<i32, i64>,
) {
    if ends.is_empty() {
        return;
    }
    let mut args = crate::resp::args::OwnedArgs::new();
    args.push(b"hset");
    args.push(key);
    for (&p, at) in ends {
        args.push(store::offset_field(topic, p).as_bytes());
        args.push(at.to_string().as_bytes());
    }
    let mark = ctx.reply.mark();
    let _ = ctx.run_nested(hset, args.as_args());
    ctx.reply.truncate(mark);
}

fn gap(topic: &str, partition: i32, at: i64, low: i64, high: i64) -> String {
    format!(
        "{topic}/{partition}: offset {at} is not there, the partition holds {low} to {high}; records were deleted \
         before they were read, or the topic is another one (KAFKA RESUME name FROM ...)"
    )
}
