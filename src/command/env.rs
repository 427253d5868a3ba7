//! What every command can reach: the keyspace, the clock, the limits, the statistics, and the services of the layers
//! above by their type.
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::base::clock::Clock;
use crate::base::limits::Limits;
use crate::base::reclaim::Reclaimer;
use crate::base::rng::Rng;
use crate::command::client::{Client, Clients, OutputLimit, flag};
use crate::command::notify::Notifier;
use crate::command::stats::Stats;
use crate::command::table::CommandTable;
use crate::command::{Command, Session};
use crate::journal::Journal;
use crate::keyspace::{Keyspace, Locked};
use crate::resp::args::Args;
use crate::resp::reply::Reply;

/// Services of upper layers (pub/sub, configuration, ...), found by type. Not for hot paths.
#[derive(Default)]
pub struct Services(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Services {
    pub fn add<T: Any + Send + Sync>(&mut self, service: Arc<T>) {
        self.0.insert(TypeId::of::<T>(), service);
    }

    /// The service. Panics when it was not wired: a fault of the server's assembly, not of a request.
    pub fn get<T: Any + Send + Sync>(&self) -> &T {
        self.find().expect("the server wires every service")
    }

    /// The service, if it was wired.
    pub fn find<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>()).and_then(|s| s.downcast_ref())
    }
}

/// The Redis version whose behaviour this is, as INFO and HELLO tell it.
pub const REDIS_VERSION: &str = "7.2.4";

/// Which commands CLIENT PAUSE holds back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PauseMode {
    #[default]
    Off,
    Write,
    All,
}

/// What holds commands back, with Unix milliseconds at which it ends.
#[derive(Default)]
struct Pause {
    /// CLIENT PAUSE, and the end of the server.
    mode: PauseMode,
    until: u64,
    /// Somebody needs the server for itself and tells when it is done; 0 when nobody does.
    held_until: u64,
}

/// Why commands are refused, as bits.
pub mod bar {
    /// The data set is being loaded: only commands with the `loading` flag run.
    pub const LOADING: u32 = 1;
    /// The last background save failed, and `stop-writes-on-bgsave-error` is set.
    pub const SAVE_FAILED: u32 = 2;
    /// The append-only file could not be written.
    pub const AOF_FAILED: u32 = 4;
    /// Nothing is kept out, but faults or a record are asked for.
    pub const REHEARSAL: u32 = 8;
}

/// Counters that commands read.
#[derive(Default)]
pub struct Gauges {
    /// Changes since the last save, as INFO counts them.
    pub dirty: AtomicU64,
    /// Changes that have been saved and left the count.
    saved: AtomicU64,
    /// Clients blocked in a command.
    pub blocked: AtomicUsize,
    pub ever_written: AtomicBool,
}

impl Gauges {
    /// So many of the changes are saved.
    pub fn note_saved(&self, changes: u64) {
        self.dirty.fetch_sub(changes, Ordering::Relaxed);
        self.saved.fetch_add(changes, Ordering::Relaxed);
    }

    /// Changes ever.
    pub fn changes(&self) -> u64 {
        self.dirty.load(Ordering::Relaxed).wrapping_add(self.saved.load(Ordering::Relaxed))
    }
}

/// Is told of commands that MONITOR, the slow log or the latency monitor want; the server implements it.
pub trait Observer: Send + Sync {
    fn ran(&self, env: &Env, session: &Session, command: &Command, args: Args<'_>, nanos: u64);
}

/// Called when FLUSHALL has emptied everything, with every shard held. Tells whether the changes are taken care of: a
/// save of the empty keyspace is under way.
pub type Flushed = Box<dyn Fn(&Env, &mut Locked<'_>) -> bool + Send + Sync>;

/// Writes `name:value` lines.
pub type MoreInfo = Box<dyn Fn() -> String + Send + Sync>;

/// Called when a session ends, with no shard held.
pub type SessionEnd = Box<dyn Fn(&Env, &mut Session) + Send + Sync>;

/// One server's core, below the network.
pub struct Env {
    pub clock: Clock,
    pub limits: Arc<Limits>,
    pub keyspace: Keyspace,
    pub commands: CommandTable,
    pub clients: Clients,
    pub stats: Stats,
    pub services: Services,
    pub reclaimer: Reclaimer,
    pub gauges: Gauges,
    pub run_id: String,
    pub started_ms: u64,
    pause: Mutex<Pause>,
    /// Why writes, or everything, are refused at present: bits of `bar`.
    pub barred: AtomicU32,
    /// What the last failed write of the append-only file said.
    pub aof_error: Mutex<String>,
    /// Fast check of `pause`: set while one may be in force.
    pub paused: AtomicBool,
    pub notifier: OnceLock<Arc<dyn Notifier>>,
    pub observer: OnceLock<Arc<dyn Observer>>,
    pub session_end: OnceLock<Vec<SessionEnd>>,
    pub flushed: OnceLock<Flushed>,
    /// A section of INFO that an upper layer adds: its name and its lines.
    pub more_info: OnceLock<(&'static str, MoreInfo)>,
    /// The default user's password; empty is none.
    pub requirepass: RwLock<Vec<u8>>,
    /// Whether clients from other machines are turned away while there is no password.
    pub protected_mode: AtomicBool,
    /// By `OutputClass`.
    pub output_limits: [OutputLimit; 3],
    /// Whether expired keys are removed by the background cycle (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: AtomicBool,
    /// The stream of effects; while someone reads it, handlers state theirs.
    pub journal: Arc<Journal>,
    rng: Mutex<Rng>,
}

impl Env {
    pub fn new(
        clock: Clock,
        limits: Arc<Limits>,
        keyspace: Keyspace,
        commands: CommandTable,
        services: Services,
        mut rng: Rng,
    ) -> Self {
        let run_id = String::from_utf8_lossy(&rng.hex_id()).into_owned();
        Self {
            started_ms: clock.now_ms(),
            clock,
            limits,
            keyspace,
            commands,
            clients: Clients::default(),
            stats: Stats::default(),
            services,
            reclaimer: Reclaimer::default(),
            gauges: Gauges::default(),
            run_id,
            barred: AtomicU32::new(0),
            aof_error: Mutex::default(),
            pause: Mutex::default(),
            paused: AtomicBool::new(false),
            notifier: OnceLock::new(),
            observer: OnceLock::new(),
            session_end: OnceLock::new(),
            flushed: OnceLock::new(),
            more_info: OnceLock::new(),
            requirepass: RwLock::default(),
            protected_mode: AtomicBool::new(false),
            output_limits: [
                OutputLimit::default(),
                OutputLimit::new(256 << 20, 64 << 20, 60),
                OutputLimit::new(32 << 20, 8 << 20, 60),
            ],
            active_expire: AtomicBool::new(true),
            journal: Arc::default(),
            rng: Mutex::new(rng),
        }
    }

    pub fn service<T: Any + Send + Sync>(&self) -> &T {
        self.services.get()
    }

    /// A generator of its own for a worker or a long computation.
    pub fn fork_rng(&self) -> Rng {
        self.rng.lock().fork()
    }

    /// From how many nanoseconds on `observe` has something to tell at present.
    #[inline]
    pub(super) fn observed_from_nanos(&self) -> u64 {
        if self.clients.monitors().load(Ordering::Relaxed) > 0 {
            return 0;
        }
        let slow = self.limits.slowlog_log_slower_than.load(Ordering::Relaxed);
        let latency_ms = self.limits.latency_monitor_threshold.load(Ordering::Relaxed) as i64;
        let slow = u64::try_from(slow).map_or(u64::MAX, |micros| micros.saturating_mul(1000));
        let latency = if latency_ms > 0 { (latency_ms as u64).saturating_mul(1_000_000) } else { u64::MAX };
        slow.min(latency)
    }

    /// Tells the observer of a command that took long enough, or of any while someone monitors.
    #[inline]
    pub(super) fn observe(&self, session: &Session, command: &Command, args: Args<'_>, nanos: u64) {
        if nanos >= self.observed_from_nanos() {
            self.tell_observer(session, command, args, nanos);
        }
    }

    /// As `observe`, of a command that is known to be wanted.
    pub(super) fn tell_observer(&self, session: &Session, command: &Command, args: Args<'_>, nanos: u64) {
        if let Some(observer) = self.observer.get() {
            observer.ran(self, session, command, args, nanos);
        }
    }

    /// Leaves a message for a client, and ends it when that is more than its output limit allows.
    pub fn push(&self, client: &Client, write: impl FnOnce(&mut Reply)) {
        if client.has_flag(flag::CLOSE_NOW) {
            return;
        }
        client.push(write);
        if !self.enforce_output_limit(client, client.pending_bytes()) {
            self.note_client_memory(client);
        }
    }

    /// Ends a client at once when `pending` bytes of output are more than its class may leave waiting. Tells whether
    /// it did.
    pub fn enforce_output_limit(&self, client: &Client, pending: usize) -> bool {
        let limit = &self.output_limits[client.output_class() as usize];
        if !client.is_over(limit, pending, || self.clock.now_ms()) {
            return false;
        }
        if !client.has_flag(flag::CLOSE_NOW) {
            self.stats.obuf_disconnects.fetch_add(1, Ordering::Relaxed);
            client.close(false);
        }
        true
    }

    /// Where a client's memory may have changed: enforces `maxmemory-clients`.
    #[inline]
    pub fn note_client_memory(&self, client: &Client) {
        if let Some(limit) = self.limits.client_memory()
            && self.clients.note_memory(client, limit)
        {
            self.evict_clients();
        }
    }

    /// Closes the largest clients when all together occupy more than `maxmemory-clients` allows.
    pub fn evict_clients(&self) {
        if let Some(limit) = self.limits.client_memory() {
            let n = self.clients.evict(limit);
            self.stats.evicted_clients.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Whether keys may expire now: not while clients are paused, so that replicas see nothing change.
    pub fn expiry_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed) && self.paused_until(self.clock.now_ms(), true).is_some()
    }

    /// Raises or lowers a bar.
    pub fn set_bar(&self, bit: u32, up: bool) {
        if up {
            self.barred.fetch_or(bit, Ordering::AcqRel);
        } else {
            self.barred.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// Holds commands back. Of two pauses, the longer time and the stricter mode count.
    pub fn pause(&self, mode: PauseMode, until_ms: u64, now_ms: u64) {
        let mut pause = self.pause.lock();
        let (was, until) = if pause.until > now_ms { (pause.mode, pause.until) } else { (PauseMode::Off, 0) };
        pause.mode = if was == PauseMode::All { was } else { mode };
        pause.until = until_ms.max(until);
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Lets everyone go on.
    pub fn unpause(&self) {
        self.end_pause(|pause| (pause.mode, pause.until) = (PauseMode::Off, 0));
    }

    /// Holds all commands back until `let_go`, at the latest until then (Unix ms). Leaves pauses as they are.
    pub fn hold(&self, until_ms: u64) {
        let mut pause = self.pause.lock();
        pause.held_until = until_ms.max(pause.held_until);
        self.paused.store(true, Ordering::Relaxed);
    }

    pub fn let_go(&self) {
        self.end_pause(|pause| pause.held_until = 0);
    }

    /// Those who wait look anew.
    fn end_pause(&self, end: impl FnOnce(&mut Pause)) {
        {
            let mut pause = self.pause.lock();
            end(&mut pause);
            self.paused.store(pause.held_until > 0 || pause.mode != PauseMode::Off, Ordering::Relaxed);
        }
        self.clients.list().iter().filter(|c| c.has_flag(flag::BLOCKED)).for_each(|c| c.wake());
    }

    /// Whether something still ends at `until`, which `paused_until` gave.
    pub fn is_paused_until(&self, until: u64) -> bool {
        self.paused.load(Ordering::Relaxed) && {
            let pause = self.pause.lock();
            pause.until == until || pause.held_until == until
        }
    }

    /// Until when (Unix ms) commands of this kind are held back, if they are.
    pub fn paused_until(&self, now_ms: u64, is_write: bool) -> Option<u64> {
        if !self.paused.load(Ordering::Relaxed) {
            return None;
        }
        let mut pause = self.pause.lock();
        if pause.until <= now_ms {
            (pause.mode, pause.until) = (PauseMode::Off, 0);
        }
        if pause.held_until <= now_ms {
            pause.held_until = 0;
        }
        let held = (pause.held_until > 0).then_some(pause.held_until);
        let paused = match pause.mode {
            PauseMode::Off => None,
            PauseMode::Write => is_write.then_some(pause.until),
            PauseMode::All => Some(pause.until),
        };
        if pause.mode == PauseMode::Off && held.is_none() {
            self.paused.store(false, Ordering::Relaxed);
        }
        paused.max(held)
    }
}
