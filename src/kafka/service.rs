//! The pipelines of a server: a thread for each one that the keyspace defines, and one that sees to it.
//!
//! The keyspace is what counts: CREATE, a configuration file, a dump, RESTORE or a replication stream put definitions
//! there, and the supervisor starts, stops and restarts threads until they agree with it.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::config::ClientConfig;

use super::definition::Definition;
use super::retry::Retried;
use super::runner::{Control, Runner, Work};
use super::status::{Figures, Status};
use super::store;
use super::template::Pipeline;
use crate::command::client::{Client, flag};
use crate::command::{Env, Session};
use crate::config::Config;
use crate::resp::reply::Reply;
use crate::server::{Engine, Worker};
use crate::value::cell::Type;
use crate::value::set::SetRef;

/// How often the keyspace is compared with what runs, unless something is known to have changed.
const EVERY: Duration = Duration::from_secs(1);
/// How long the end of a server waits for its pipelines' threads, which may be talking to dead brokers. They write
/// nothing any more in any case.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The service. `Drop` of a server calls `stop`.
#[derive(Default)]
pub struct Kafka {
    engine: OnceLock<Weak<Engine>>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    running: BTreeMap<String, Running>,
    supervised: bool,
    poked: bool,
    stopping: bool,
    /// Hears of each thread that ends, the supervisor's included.
    ended: Option<(Sender<()>, Receiver<()>)>,
    threads: usize,
}

struct Running {
    line: Vec<u8>,
    /// It has a thread, or cannot have one.
    begun: bool,
    status: Arc<Status>,
    control: Arc<Control>,
}

/// What a client of ours is called in CLIENT LIST and MONITOR.
fn session(env: &Env, name: &str) -> Session {
    let id = env.clients.next_id();
    let wake = Box::new(|| {});
    let client = Client::new(id, "kafka:0".into(), name.to_owned(), -1, env.clock.now_ms(), wake);
    client.set_flag(flag::LOCAL, true);
    let client = Arc::new(client);
    env.clients.add(client.clone());
    let mut session = Session::new(client, true);
    session.resp3 = true;
    session
}

impl Kafka {
    /// Once, when the server is put together.
    pub fn attach(self: &Arc<Self>, engine: &Arc<Engine>) {
        let _ = self.engine.set(Arc::downgrade(engine));
        let kafka = Arc::downgrade(self);
        let info = move || kafka.upgrade().map(|kafka| kafka.info()).unwrap_or_default();
        let _ = engine.env().more_info.set(("kafka", Box::new(info)));
    }

    /// Begins with what the data set and the configuration define. After loading.
    pub fn start(self: &Arc<Self>) -> Result<(), String> {
        let Some(engine) = self.engine.get().and_then(Weak::upgrade) else { return Ok(()) };
        let env = engine.env();
        let lines =
            env.services.find::<Config>().map(|config| config.words("kafka-pipeline")).unwrap_or_default();
        let mut worker = engine.slow_worker();
        let mut session = session(env, "kafka");
        for line in &lines {
            let definition =
                Definition::parse_line(line.as_bytes()).map_err(|e| format!("kafka-pipeline: {e}"))?;
            let name = definition.name.clone();
            self.compiled(env, &definition).map_err(|e| format!("kafka-pipeline {name}: {e}"))?;
            let mut reply = Reply::new(true);
            let key = store::key_of(&name);
            engine
                .step(
                    &mut worker,
                    &mut session,
                    &mut reply,
                    &[store::REGISTRY, &key],
                    std::iter::empty(),
                    |ctx| define(ctx, &definition),
                )
                .map_err(|e| format!("kafka-pipeline {name}: {}", String::from_utf8_lossy(e.as_bytes())))?;
        }
        let defined = !names(&engine, &mut worker, &mut session).is_empty();
        engine.close_session(&mut session);
        if defined {
            self.poke();
        }
        Ok(())
    }

    /// A pipeline was just defined: it is to be seen before the supervisor gets to it, which takes this for one that has
    /// to be replaced.
    pub fn announce(&self, definition: &Definition) {
        let line = definition.to_line().into_bytes();
        let running = || Running { line, begun: false, status: Arc::default(), control: Arc::default() };
        self.inner.lock().running.entry(definition.name.clone()).or_insert_with(running);
    }

    /// The keyspace's definitions may have changed.
    pub fn poke(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        inner.poked = true;
        if inner.stopping {
            return;
        }
        if !inner.supervised {
            let Some(engine) = self.engine.get().and_then(Weak::upgrade) else { return };
            let kafka = self.clone();
            let ended = inner.ended.get_or_insert_with(channel).0.clone();
            let supervise = move || {
                kafka.supervise(&engine);
                drop(engine);
                let _ = ended.send(());
            };
            if std::thread::Builder::new().name("kafka".into()).spawn(supervise).is_ok() {
                inner.supervised = true;
                inner.threads += 1;
            }
        }
        for running in inner.running.values() {
            running.control.poke();
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Ends every pipeline. None of them writes any more when this returns.
    pub fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stopping = true;
        inner.running.values().for_each(|running| running.control.stop());
        self.changed.notify_all();
        let (threads, ended) = (std::mem::take(&mut inner.threads), inner.ended.take());
        drop(inner);
        let until = Instant::now() + PATIENCE;
        if let Some((_, ended)) = ended {
            for _ in 0..threads {
                if ended.recv_timeout(until.saturating_duration_since(Instant::now())).is_err() {
                    return;
                }
            }
        }
    }

    fn supervise(self: &Arc<Self>, engine: &Arc<Engine>) {
        let mut worker = engine.slow_worker();
        let mut session = session(engine.env(), "kafka");
        loop {
            {
                let mut inner = self.inner.lock();
                if !inner.poked && !inner.stopping {
                    self.changed.wait_for(&mut inner, EVERY);
                }
                inner.poked = false;
                if inner.stopping {
                    break;
                }
            }
            // While the data set is loaded there is nothing to go by.
            if engine.held().is_none() {
                self.reconcile(engine, &mut worker, &mut session);
            }
        }
        engine.close_session(&mut session);
    }

    /// Starts what is defined and does not run, and stops what runs and is not defined, or otherwise.
    fn reconcile(self: &Arc<Self>, engine: &Arc<Engine>, worker: &mut Worker, session: &mut Session) {
        let mut defined = BTreeMap::new();
        for name in names(engine, worker, session) {
            let key = store::key_of(&name);
            let mut reply = Reply::new(true);
            let stored = engine
                .step(worker, session, &mut reply, &[&key], std::iter::empty(), |ctx| store::read(ctx, &key));
            if let Ok(Some(stored)) = stored {
                defined.insert(name, stored.definition);
            }
        }
        let mut inner = self.inner.lock();
        inner.running.retain(|name, running| {
            let keep = running.begun && defined.get(name) == Some(&running.line);
            if !keep {
                running.control.stop();
            }
            keep
        });
        for (name, line) in defined {
            if inner.stopping || inner.running.contains_key(&name) {
                continue;
            }
            let status = Arc::new(Status::default());
            let control = Arc::new(Control::default());
            let ended = inner.ended.get_or_insert_with(channel).0.clone();
            let runner = self.runner(engine, &name, &line, &status, &control);
            inner
                .running
                .insert(name.clone(), Running { line, begun: true, status: status.clone(), control });
            let runner = match runner {
                Ok(runner) => runner,
                Err(e) => {
                    status.enter(&name, super::status::State::Paused, &e, engine.env().clock.now_ms());
                    continue;
                }
            };
            let run = move || {
                runner.run();
                let _ = ended.send(());
            };
            match std::thread::Builder::new().name(format!("kafka:{name}")).spawn(run) {
                Ok(_) => inner.threads += 1,
                Err(e) => tracing::warn!("kafka: pipeline {name}: cannot start a thread: {e}"),
            }
        }
    }

    fn runner(
        &self,
        engine: &Arc<Engine>,
        name: &str,
        line: &[u8],
        status: &Arc<Status>,
        control: &Arc<Control>,
    ) -> Result<Runner, String> {
        let definition = Definition::parse_line(line).map_err(|e| e.to_string())?;
        let (pipeline, connection) = self.compiled(engine.env(), &definition)?;
        let work = Work::new(engine, session(engine.env(), &format!("kafka:{name}")), name, line);
        Ok(Runner {
            engine: engine.clone(),
            name: name.to_owned(),
            definition,
            pipeline: Arc::new(pipeline),
            connection,
            status: status.clone(),
            control: control.clone(),
            work,
            dead: None,
        })
    }

    /// The compiled pipeline and the properties of its consumer.
    pub fn compiled(&self, env: &Env, definition: &Definition) -> Result<(Pipeline, ClientConfig), String> {
        let pipeline = Pipeline::compile(definition, &env.commands).map_err(|e| e.to_string())?;
        Ok((pipeline, consumer_config(env, definition)?))
    }

    /// The figures of a pipeline, and its definition.
    pub fn figures(&self, name: &str) -> Option<(Vec<u8>, Figures)> {
        let inner = self.inner.lock();
        let running = inner.running.get(name)?;
        Some((running.line.clone(), running.status.figures()))
    }

    /// Has a pipeline's thread retry dead letters; the receiver fails when that thread ends.
    pub fn retry(&self, name: &str, most: u64) -> Option<Receiver<Result<Retried, String>>> {
        let control = self.inner.lock().running.get(name)?.control.clone();
        let answer = control.asks.ask(most)?;
        control.poke();
        Some(answer)
    }

    pub fn names(&self) -> Vec<String> {
        self.inner.lock().running.keys().cloned().collect()
    }

    /// INFO's section: one line a pipeline.
    fn info(&self) -> String {
        let mut text = String::new();
        let inner = self.inner.lock();
        let _ = write!(text, "kafka_pipelines:{}\r\n", inner.running.len());
        for (name, running) in &inner.running {
            let f = running.status.figures();
            let lag: i64 = f.partitions.values().map(|p| p.lag()).sum();
            let errors: u64 = f.errors.values().sum();
            let reason = f.reason.replace([',', '\r', '\n'], ";");
            let _ = write!(
                text,
                "kafka_pipeline_{name}:state={},reason={reason},partitions={},records={},commands={},lag={lag},rate={},\
                 errors={errors},buffer_bytes={}\r\n",
                f.state.name(),
                f.partitions.len(),
                f.records,
                f.commands,
                f.rate,
                f.buffered,
            );
        }
        text
    }
}

/// Puts a definition where the supervisor finds it; offsets that are there stay. The shards of both keys are locked.
pub(super) fn define(
    ctx: &mut crate::command::Context<'_>,
    definition: &Definition,
) -> Result<(), crate::command::CommandError> {
    let key = store::key_of(&definition.name);
    let line = definition.to_line();
    store::nested(ctx, [b"hset".as_slice(), &key, b"definition", line.as_bytes()])?;
    store::nested(ctx, [b"sadd".as_slice(), store::REGISTRY, definition.name.as_bytes()])
}

/// The names that the keyspace knows.
fn names(engine: &Engine, worker: &mut Worker, session: &mut Session) -> Vec<String> {
    let mut reply = Reply::new(true);
    engine.step(worker, session, &mut reply, &[store::REGISTRY], std::iter::empty(), |ctx| {
        let Ok(Some(cell)) = ctx.keys.get_type(store::REGISTRY, Type::Set) else { return Vec::new() };
        SetRef::of(cell).iter().map(|name| String::from_utf8_lossy(&name.to_vec()).into_owned()).collect()
    })
}

/// Connections as the configuration has them; what exactly-once needs is not up to it.
fn consumer_config(env: &Env, definition: &Definition) -> Result<ClientConfig, String> {
    let words =
        env.services.find::<Config>().map(|config| config.words("kafka-connection")).unwrap_or_default();
    let connection = &definition.connection;
    let mut config = ClientConfig::new();
    config
        .set("group.id", format!("tidewater-{}", definition.name))
        .set("client.id", format!("tidewater-{}", definition.name))
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("reconnect.backoff.max.ms", "1000")
        // How long fetching rests when the buffer is full: by default a second, in which the buffer would run dry.
        .set("fetch.queue.backoff.ms", "5")
        .set("statistics.interval.ms", "1000")
        .set("fetch.wait.max.ms", "100");
    let mut known = false;
    for [name, property, value] in words.as_chunks::<3>().0 {
        if name != connection {
            continue;
        }
        known = true;
        match property.strip_suffix(".file") {
            Some(property) => {
                let secret = std::fs::read_to_string(value)
                    .map_err(|e| format!("kafka-connection {connection}: {property}: {value}: {e}"))?;
                config.set(property, secret.trim_end_matches(['\r', '\n']));
            }
            None => {
                config.set(property, value);
            }
        }
    }
    if !known {
        return Err(format!("there is no kafka-connection named '{connection}'"));
    }
    let buffer_kb = (env.limits.kafka_buffer_bytes.get() / 1024).max(1);
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("allow.auto.create.topics", "false")
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", buffer_kb.to_string());
    Ok(config)
}
