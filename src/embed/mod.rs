//! Level 8: a server as a value, for programs that embed one and for the `tidewater` program itself.
//!
//! `Server::builder()` takes directives in redis.conf's grammar; `start` wires everything and listens. Dropping the
//! server closes its sockets, ends its connections and joins its threads.
#![deny(missing_docs)]
mod client;
mod faults;
mod keep;
mod value;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use client::{ExecuteError, LocalClient};
pub use faults::Faults;
pub use keep::Snapshot;
pub use value::Value;

use crate::base::clock::Clock;
use crate::base::disk::Disk;
use crate::base::limits::Limits;
use crate::base::rng::Rng;
use crate::command::Command;
use crate::command::env::{Services, bar};
use crate::config::{Config, LoadError};
use crate::net::{GuardedDoor, Listeners, Net, NetConfig};
use crate::server::engine::Setup;
use crate::server::persist::{LoadError as DataError, Persistence};
use crate::server::rehearsal::Rehearsal;
use crate::server::shutdown::Control;
use crate::server::{Engine, Worker, all_commands, assemble, cron};

/// Shards of a server that has a machine to itself.
const SHARDS_SERVER: usize = 4096;
/// Shards of an embedded one: quick to make and small.
const SHARDS_EMBEDDED: usize = 16;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directive is unknown, or its arguments are wrong.
    #[error("{0}")]
    Config(#[from] LoadError),
    /// An address or path to listen on was refused.
    #[error("{0}")]
    Listen(String),
    /// The data could not be loaded; the files are as they were.
    #[error("{0}")]
    Load(#[from] DataError),
    /// A pipeline of the configuration is wrong.
    #[error("{0}")]
    Kafka(String),
    /// The system has no thread for it.
    #[error("cannot start a thread: {0}")]
    Io(#[from] std::io::Error),
}

/// What a server will be.
pub struct Builder {
    config: Option<Arc<Config>>,
    lines: String,
    clock: Option<Clock>,
    seed: Option<u64>,
    shards: usize,
    network: bool,
    free_port: bool,
    /// Whether files are looked for: an embedded server touches none unless it is given a directory or told to append.
    files: bool,
    disk: Option<Arc<dyn Disk>>,
    record: usize,
}

impl Builder {
    fn new() -> Self {
        Builder {
            config: None,
            lines: "bind 127.0.0.1\nsave \"\"\n".into(),
            clock: None,
            seed: None,
            shards: SHARDS_EMBEDDED,
            network: false,
            free_port: false,
            files: false,
            disk: None,
            record: 0,
        }
    }

    /// A server as its configuration says. `free_port`: port 0 means any free one, not none.
    pub(crate) fn from_config(config: Arc<Config>, free_port: bool) -> Self {
        Builder {
            config: Some(config),
            lines: String::new(),
            clock: None,
            seed: None,
            shards: SHARDS_SERVER,
            network: true,
            free_port,
            files: true,
            disk: None,
            record: 0,
        }
    }

    /// Listens on TCP, on 127.0.0.1 unless `bind` says otherwise; 0 takes a free port. Without this (or a Unix
    /// socket) the server has no sockets, and only `execute` reaches it.
    pub fn port(mut self, port: u16) -> Self {
        self.network = true;
        self.free_port = port == 0;
        self.config("port", &port.to_string())
    }

    /// Listens on a Unix socket.
    pub fn unix_socket(mut self, path: &str) -> Self {
        self.network = true;
        self.config("unixsocket", &format!("{path:?}"))
    }

    /// The time: the system's, or a manual clock that `Server::advance` moves.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes everything random repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Threads that serve connections; 0 is one a core.
    pub fn workers(self, n: usize) -> Self {
        self.config("workers", &n.to_string())
    }

    /// Parts of the keyspace that lock independently, a power of two.
    pub fn shards(mut self, n: usize) -> Self {
        self.shards = n;
        self
    }

    /// Keeps its files in this directory, and loads what is there. Without this (or a directive that names files) a server
    /// touches none.
    pub fn dir(self, path: impl AsRef<std::path::Path>) -> Self {
        let path = path.as_ref().to_string_lossy();
        let quoted: String =
            path.chars().flat_map(|c| if "\"\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
        self.config("dir", &format!("\"{quoted}\""))
    }

    /// Keeps so many of the latest commands that clients on sockets send, for [`Server::commands`].
    pub fn record_commands(mut self, most: usize) -> Self {
        self.record = most;
        self
    }

    /// Keeps the data on this file system, not the real one: for tests of what happens when it fails.
    #[doc(hidden)]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// A line of redis.conf: a directive and its arguments, quoted where they have blanks.
    pub fn config(mut self, name: &str, arguments: &str) -> Self {
        self.files |= ["dir", "appendonly", "dbfilename"].contains(&name);
        self.lines.push_str(name);
        self.lines.push(' ');
        self.lines.push_str(if arguments.is_empty() { "\"\"" } else { arguments });
        self.lines.push('\n');
        self
    }

    /// Wires everything, loads the data if there is any to look for, and listens.
    pub fn start(self) -> Result<Server, StartError> {
        let (files, record) = (self.files, self.record);
        let server = self.prepare()?;
        if record > 0 {
            let env = server.engine.env();
            env.service::<Rehearsal>().record_commands(env, record);
        }
        if files {
            server.load()?;
        }
        server.open()?;
        Ok(server)
    }

    /// `start` up to where the data is to be loaded: who connects is told to wait.
    pub(crate) fn prepare(self) -> Result<Server, StartError> {
        let embedded = self.config.is_none();
        let config = match self.config {
            Some(config) => config,
            None => Arc::new(Config::defaults(Arc::new(Limits::new()))),
        };
        config.load_lines("builder", self.lines.as_bytes())?;
        let shards = match usize::try_from(config.int("shards")) {
            Ok(n) if n > 0 => n,
            _ => self.shards.max(1).next_power_of_two(),
        };
        let control = Arc::new(Control::default());
        let mut services = Services::default();
        services.add(config.clone());
        services.add(control.clone());
        if let Some(disk) = self.disk {
            services.add(Arc::new(Persistence::new(disk)));
        }
        let clock = self.clock.unwrap_or_else(Clock::real);
        let commands = all_commands();
        #[cfg(feature = "kafka")]
        let commands = [commands, crate::kafka::commands::commands()].concat();
        #[cfg(feature = "kafka")]
        let kafka = Arc::new(crate::kafka::Kafka::default());
        #[cfg(feature = "kafka")]
        services.add(Arc::new(kafka.clone()));
        let renames = renames(&config, &commands)?;
        let engine = assemble(Setup {
            clock: clock.clone(),
            limits: config.limits().clone(),
            rng: self.seed.map_or_else(Rng::from_os, Rng::from_seed),
            shards,
            databases: usize::try_from(config.int("databases")).unwrap_or(16),
            services,
            commands,
            renames,
        });
        #[cfg(feature = "kafka")]
        kafka.attach(&engine);
        let mut server = Server {
            engine,
            config,
            control,
            clock,
            addr: None,
            net: Arc::default(),
            cron: None,
            cron_worker: Mutex::new(None),
            spare: Mutex::default(),
        };
        if embedded {
            server.obey_shutdown();
        }
        let env = server.engine.env().clone();
        // Who connects while the data is loaded is told so.
        env.set_bar(bar::LOADING, true);
        if self.network {
            server.listen(self.free_port)?;
        }
        for name in ["workers", "shards"] {
            let fixed = |_: &Config| Err("it is fixed when the server starts".to_owned());
            server.config.on_change(name, Box::new(fixed));
        }
        if !server.clock.is_manual() {
            let stop = Arc::new(cron::Stop::default());
            server.cron = Some((stop.clone(), cron::start(server.engine.clone(), stop)?));
        }
        Ok(server)
    }
}

/// What `rename-command` asks for, line after line: commands and their last names. An empty one removes.
fn renames(config: &Config, commands: &[Command]) -> Result<Vec<(String, String)>, LoadError> {
    let mut names: HashMap<String, &str> = commands.iter().map(|c| (c.name.to_owned(), c.name)).collect();
    let mut renamed = Vec::new();
    for (from, to) in config.extras().renamed_commands {
        let [from, to] = [from, to].map(|name| String::from_utf8_lossy(&name).into_owned());
        let fail =
            |reason: &str| LoadError::Whole { reason: format!(">>> 'rename-command {from} {to}'\n{reason}") };
        let command = names.remove(&from.to_ascii_lowercase());
        let command = command.ok_or_else(|| fail("No such command in rename-command"))?;
        if to.is_empty() {
            renamed.push((command.to_owned(), to));
        } else if names.insert(to.to_ascii_lowercase(), command).is_some() {
            return Err(fail("Target command name already exists"));
        }
    }
    let moved = names.into_iter().filter(|(name, command)| name != command);
    renamed.extend(moved.map(|(name, command)| (command.to_owned(), name)));
    Ok(renamed)
}

/// A running server.
pub struct Server {
    engine: Arc<Engine>,
    config: Arc<Config>,
    control: Arc<Control>,
    clock: Clock,
    addr: Option<SocketAddr>,
    net: Arc<Mutex<Option<Net>>>,
    cron: Option<(Arc<cron::Stop>, std::thread::JoinHandle<()>)>,
    /// For the cron's work when the clock is advanced by hand.
    cron_worker: Mutex<Option<Worker>>,
    /// Clients of `execute` that are free.
    spare: Mutex<Vec<LocalClient>>,
}

impl Server {
    /// The beginning of every embedded server: in memory, without sockets, on the system's clock.
    ///
    /// ```
    /// let server = tidewater::Server::builder().port(0).config("maxmemory", "10mb").start()?;
    /// println!("{}", server.url().unwrap());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Loads what the directory holds.
    pub(crate) fn load(&self) -> Result<(), StartError> {
        Ok(self.engine.env().service::<Persistence>().start(&self.engine)?)
    }

    /// From here on everyone is served, and pipelines run.
    pub(crate) fn open(&self) -> Result<(), StartError> {
        self.engine.env().set_bar(bar::LOADING, false);
        #[cfg(feature = "kafka")]
        self.kafka().start().map_err(StartError::Kafka)?;
        Ok(())
    }

    #[cfg(feature = "kafka")]
    fn kafka(&self) -> &Arc<crate::kafka::Kafka> {
        self.engine.env().service::<Arc<crate::kafka::Kafka>>()
    }

    /// What runs the commands, for code inside the crate's own layers.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The configuration as it is now.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What asks for the end and waits for it.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The first TCP address that it listens on.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// The port of [`Server::addr`].
    pub fn port(&self) -> Option<u16> {
        self.addr.map(|a| a.port())
    }

    /// `redis://host:port`, as clients take it.
    pub fn url(&self) -> Option<String> {
        self.addr.map(|a| format!("redis://{a}"))
    }

    /// Moves the server's clock on: keys and fields expire, blocked commands time out, TIME and stream ids follow. The
    /// real clock is that much ahead from now on, and what is due in the background follows within 100 ms.
    ///
    /// ```
    /// use std::time::Duration;
    /// let server = tidewater::Server::builder().clock(tidewater::Clock::manual()).start()?;
    /// server.execute(["SET", "session", "x", "EX", "60"])?;
    /// server.advance(Duration::from_secs(61));
    /// assert!(server.execute(["GET", "session"])?.is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        if !self.clock.is_manual() {
            return cron::end_due_waits(&self.engine);
        }
        let mut cron = self.cron_worker.lock();
        let worker = cron.get_or_insert_with(|| self.engine.slow_worker());
        cron::tick(&self.engine, worker);
        cron::end_due_waits(&self.engine);
    }

    /// Runs a command as a client of its own, whose state does not outlive the call; a blocking command blocks this
    /// thread. Replies are RESP3's.
    ///
    /// ```
    /// let server = tidewater::Server::builder().start()?;
    /// server.execute(["SET", "k", "v"])?;
    /// assert_eq!(server.execute(["GET", "k"])?.as_str(), Some("v"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn execute<I>(&self, args: I) -> Result<Value, ExecuteError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        if self.control.is_ending() {
            return Err(ExecuteError::Closed);
        }
        let spare = self.spare.lock().pop();
        let mut client = spare.unwrap_or_else(|| self.client());
        let result = client.execute(args);
        if client.is_fresh() {
            self.spare.lock().push(client);
        }
        result
    }

    /// A client that keeps its state from call to call: SELECT, MULTI, SUBSCRIBE.
    pub fn client(&self) -> LocalClient {
        LocalClient::new(self.engine.clone())
    }

    /// Closes the sockets and ends every connection.
    pub fn close_network(&self) {
        // Not under the lock: a worker that ends may be waiting for it, in CONFIG SET port.
        let net = self.net.lock().take();
        drop(net);
    }

    fn listen(&mut self, free_port: bool) -> Result<(), StartError> {
        let config = net_config(&self.config, free_port);
        let listeners = Listeners::bind(&config).map_err(StartError::Listen)?;
        if listeners.is_empty() {
            return Err(StartError::Listen("Configured to not listen anywhere, exiting.".into()));
        }
        self.addr = listeners.addr();
        if let (0, Some(addr)) = (config.port, self.addr) {
            self.config.set_listening_port("port", addr.port());
        }
        let door = Arc::new(GuardedDoor::new(self.engine.env().clone()));
        *self.net.lock() = Some(Net::start(self.engine.clone(), listeners, &config, door)?);
        self.follow("port", "Unable to listen on this port. Check server logs.");
        self.follow("bind", "Failed to bind to specified addresses.");
        Ok(())
    }

    /// SHUTDOWN closes the sockets; the program that embeds the server goes on.
    fn obey_shutdown(&self) {
        let net = Arc::downgrade(&self.net);
        let end = move |_| {
            let Some(net) = net.upgrade() else { return };
            // Not on the thread that asks, which is one of those that have to end first.
            let _ = std::thread::Builder::new().name("shutdown".into()).spawn(move || {
                let net = net.lock().take();
                drop(net);
            });
        };
        self.control.on_request(Box::new(end));
    }

    /// Listens elsewhere when `name` changes.
    fn follow(&self, name: &str, refusal: &'static str) {
        let net = Arc::downgrade(&self.net);
        let hook = move |config: &Config| {
            let Some(net) = net.upgrade() else { return Ok(()) };
            let rebound = match &*net.lock() {
                Some(net) => net.rebind(&net_config(config, false)),
                None => Ok(()),
            };
            rebound.map_err(|e| {
                tracing::warn!("{e}");
                refusal.to_owned()
            })
        };
        self.config.on_change(name, Box::new(hook));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close_network();
        #[cfg(feature = "kafka")]
        self.kafka().stop();
        // SHUTDOWN's thread may still be closing it.
        while Arc::strong_count(&self.net) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let persistence = self.engine.env().service::<Persistence>();
        persistence.stop_job();
        persistence.aof.stop(self.engine.env());
        // Threads that wait in a blocking command of their own client.
        self.engine.env().clients.list().iter().for_each(|client| client.close(false));
        if let Some((stop, thread)) = self.cron.take() {
            stop.stop();
            let _ = thread.join();
        }
        // Nothing of this server touches its directory from here on.
        let env = self.engine.env();
        let persistence = env.service::<Persistence>();
        persistence.stop_job();
        persistence.aof.stop(env);
    }
}

/// What the configuration says on listening.
fn net_config(config: &Config, free_port: bool) -> NetConfig {
    let port = u16::try_from(config.int("port")).unwrap_or(0);
    let workers = match usize::try_from(config.int("workers")) {
        Ok(n) if n > 0 => n,
        _ => std::thread::available_parallelism().map_or(1, |n| n.get()),
    };
    let permissions = u32::try_from(config.int("unixsocketperm")).unwrap_or(0);
    NetConfig {
        bind: config.bind(),
        port,
        tcp: port != 0 || free_port,
        backlog: i32::try_from(config.int("tcp-backlog")).unwrap_or(511),
        unix_socket: config.opt_str("unixsocket"),
        unix_permissions: (permissions != 0).then_some(permissions),
        workers,
    }
}
