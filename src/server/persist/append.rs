//! The append-only file's driver: a thread that carries the journal into the file, and says what is durable.
//!
//! With `appendfsync always` it syncs after every chunk it takes, and a chunk is all that has gathered meanwhile: one sync
//! serves everyone who waits. That one goes to the sync log, and the file's own follows each second. Otherwise it lets a few
//! milliseconds gather, and syncs every second or never.
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Kind, Persistence};
use crate::aof::sync_log::LOG_BYTES;
use crate::aof::writer::{Cut, Health, WriteError, push_timestamp};
use crate::aof::{BaseFormat, Writer};
use crate::command::Env;
use crate::command::env::bar;
use crate::config::Config;
use crate::journal::{Chunk, Patience, Reader};
use crate::server::places::{Place, Places};

/// When the file is synced: `appendfsync`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    Always,
    EverySecond,
    Never,
}

impl Policy {
    fn of(env: &Env) -> Self {
        match env.services.find::<Config>().map(|config| config.str("appendfsync")).as_deref() {
            Some("always") => Policy::Always,
            Some("no") => Policy::Never,
            _ => Policy::EverySecond,
        }
    }
}

/// While replies do not wait for the file, two writes are this far apart, unless so much gathers earlier.
const GATHER: Duration = Duration::from_millis(5);
const GATHER_BYTES: usize = 256 << 10;
/// From so many who waited for one sync on, the next one waits until as many have come as for the best of so many syncs
/// before it: they are the clients that write. But no longer than so many times as long as a sync takes, and than this.
const CROWD_MIN: usize = 4;
const CROWD_SYNCS: usize = 8;
const CROWD_LINGER: u32 = 3;
const CROWD_LINGER_MAX: Duration = Duration::from_micros(800);
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How soon a failed write is tried again, and how long the driver naps meanwhile.
const RETRY_EVERY: Duration = Duration::from_secs(1);
const RETRY_NAP: Duration = Duration::from_millis(20);

/// What is asked of the driver, in the order in which it is to happen.
enum Order {
    /// What comes from this offset on goes into a new file: a rewrite's cut.
    Rotate(u64),
    /// The rewrite's base is written and durable.
    Adopt(BaseFormat, SyncSender<io::Result<()>>),
    /// The rewrite failed: its cut means nothing.
    GiveUp,
    /// Write and sync all there is, and end.
    Stop,
}

/// What INFO tells of the file.
#[derive(Default, Debug)]
pub struct AofState {
    pub enabled: AtomicBool,
    pub size: AtomicU64,
    /// After the last rewrite, or at the start.
    pub base_size: AtomicU64,
    pub write_failed: AtomicBool,
    needs_base: AtomicBool,
    /// DEBUG AOF-FLUSH-SLEEP: waited before each write.
    pub flush_sleep_us: AtomicU64,
    /// Syncs that took longer than a second.
    pub delayed_syncs: AtomicU64,
}

struct Driver {
    orders: Arc<Mutex<VecDeque<Order>>>,
    thread: JoinHandle<()>,
}

/// The append-only file, on or off.
#[derive(Default)]
pub struct Aof {
    driver: Mutex<Option<Driver>>,
    pub state: Arc<AofState>,
}

impl Aof {
    pub fn is_on(&self) -> bool {
        self.driver.lock().is_some()
    }

    /// Starts the driver with a reader that begins where the file ends. `cut`: the file is a rewrite's, which is under way.
    pub(super) fn start(
        &self,
        env: &Arc<Env>,
        writer: Writer,
        reader: Reader,
        cut: Option<Cut>,
    ) -> io::Result<()> {
        let orders = Arc::new(Mutex::new(VecDeque::new()));
        self.state.size.store(writer.total_bytes(), Relaxed);
        self.state.base_size.store(writer.total_bytes(), Relaxed);
        self.state.needs_base.store(writer.is_pending(), Relaxed);
        let run = Run {
            env: env.clone(),
            orders: orders.clone(),
            state: self.state.clone(),
            writer,
            reader,
            cut,
            pending: None,
            synced_at: Instant::now(),
            file_synced_at: Instant::now(),
            written_at: Instant::now(),
            vouched: 0,
            enough_bytes: 0,
            crowds: [0; CROWD_SYNCS],
            sync_took: Duration::ZERO,
            stamp_s: 0,
            failed_at: None,
            stop: false,
        };
        // At once, not when the thread gets to run: the next write is acknowledged by these rules.
        run.hold_replies(Policy::of(env));
        let body = move || {
            // It does little at a time, and with `always` clients wait for it.
            crate::base::priority::short_turns();
            let env = run.env.clone();
            let _place = env.service::<Places>().take(Place::Background);
            run.run();
        };
        let thread = std::thread::Builder::new().name("aof".into()).spawn(body)?;
        *self.driver.lock() = Some(Driver { orders, thread });
        self.state.enabled.store(true, Relaxed);
        Ok(())
    }

    /// Writes and syncs everything, and ends the driver.
    pub fn stop(&self, env: &Env) {
        let Some(driver) = self.driver.lock().take() else { return };
        driver.orders.lock().push_back(Order::Stop);
        env.journal.nudge();
        let _ = driver.thread.join();
        self.state.enabled.store(false, Relaxed);
        env.journal.gate.hold_replies(false);
        env.set_bar(bar::AOF_FAILED, false);
    }

    /// A rewrite's cut: every shard is held. What is appended from here on belongs to the new file.
    pub(super) fn cut(&self, env: &Env) {
        if let Some(driver) = &*self.driver.lock() {
            let at = env.journal.cut();
            driver.orders.lock().push_back(Order::Rotate(at));
            env.journal.nudge();
        }
    }

    /// Has the driver put a rewrite's base in its place, between two chunks. `None`: there is no driver.
    pub(super) fn adopt(&self, env: &Env, format: BaseFormat) -> Option<io::Result<()>> {
        let (done, answer) = sync_channel(1);
        self.driver.lock().as_ref()?.orders.lock().push_back(Order::Adopt(format, done));
        env.journal.nudge();
        Some(answer.recv().unwrap_or_else(|_| Err(io::Error::other("the append-only file was turned off"))))
    }

    pub(super) fn give_up_rewrite(&self, env: &Env) {
        if let Some(driver) = &*self.driver.lock() {
            driver.orders.lock().push_back(Order::GiveUp);
            env.journal.nudge();
        }
    }

    /// `appendfsync` has changed: the next write is acknowledged by the new rule.
    pub(crate) fn follow_policy(&self, env: &Env) {
        if self.is_on() && !self.state.needs_base.load(Relaxed) {
            env.journal.gate.hold_replies(Policy::of(env) == Policy::Always);
            env.journal.nudge();
        }
    }

    /// Whether what is written counts only once a rewrite is done.
    pub(super) fn needs_base(&self) -> bool {
        self.is_on() && self.state.needs_base.load(Relaxed)
    }

    /// Whether the file has grown so much since its last rewrite that it should be rewritten.
    pub(super) fn has_grown(&self, config: &Config) -> bool {
        let (size, base) = (self.state.size.load(Relaxed), self.state.base_size.load(Relaxed).max(1));
        let percentage = u64::try_from(config.int("auto-aof-rewrite-percentage")).unwrap_or(0);
        percentage > 0
            && self.state.enabled.load(Relaxed)
            && size > config.mem("auto-aof-rewrite-min-size")
            && size.saturating_sub(base).saturating_mul(100) / base >= percentage
    }
}

/// The driver's thread.
struct Run {
    env: Arc<Env>,
    orders: Arc<Mutex<VecDeque<Order>>>,
    state: Arc<AofState>,
    writer: Writer,
    reader: Reader,
    /// Of the rewrite that is under way.
    cut: Option<Cut>,
    /// Taken from the journal, but not in the file.
    pending: Option<Chunk>,
    synced_at: Instant,
    /// Of the last sync of the file itself that the sync log did not call for.
    file_synced_at: Instant,
    written_at: Instant,
    /// The journal's offset up to which everything is known to be durable.
    vouched: u64,
    /// With so much to write the next sync need not wait for more; 0: it waits for nothing.
    enough_bytes: usize,
    /// How many waited for each of the last syncs.
    crowds: [usize; CROWD_SYNCS],
    /// The last sync.
    sync_took: Duration,
    /// Of the last timestamp annotation.
    stamp_s: u64,
    failed_at: Option<Instant>,
    stop: bool,
}

impl Run {
    fn run(mut self) {
        loop {
            let policy = Policy::of(&self.env);
            self.hold_replies(policy);
            self.obey();
            self.keep_sync_log(policy);
            if self.pending.is_none() {
                self.pending = self.reader.next(self.patience(policy));
            }
            // A chunk behind a cut waits for the new file.
            self.obey();
            if self.pending.is_some() {
                self.write();
            }
            let due = match policy {
                Policy::Always => true,
                Policy::EverySecond => self.synced_at.elapsed() >= SYNC_EVERY && !self.spares_syncs(),
                Policy::Never => false,
            };
            if due || self.stop {
                self.sync();
            }
            let lags = policy == Policy::Always && self.writer.file_lag_bytes() > 0;
            if lags && self.file_synced_at.elapsed() >= SYNC_EVERY {
                self.sync_file();
            }
            self.state.size.store(self.writer.total_bytes(), Relaxed);
            let needs_base = self.writer.is_pending() || matches!(self.writer.health(), Health::Failed(_));
            self.state.needs_base.store(needs_base, Relaxed);
            let caught_up = self.pending.is_none() && self.reader.offset() == self.env.journal.end();
            if self.stop && (caught_up || self.failed_at.is_some()) {
                let (_, closed) = self.writer.close();
                if let Err(e) = closed {
                    tracing::warn!("{e}");
                }
                return;
            }
        }
    }

    /// Until its first base is there a file vouches for nothing, and nobody waits for it.
    fn hold_replies(&self, policy: Policy) {
        let holds = policy == Policy::Always && !self.writer.is_pending();
        if holds != self.env.journal.gate.holds_replies() {
            self.env.journal.gate.hold_replies(holds);
        }
    }

    /// `no-appendfsync-on-rewrite`.
    fn spares_syncs(&self) -> bool {
        let config = self.env.services.find::<Config>();
        config.is_some_and(|c| c.bool("no-appendfsync-on-rewrite"))
            && self.env.services.find::<Persistence>().is_some_and(|p| p.running().is_some())
    }

    fn patience(&self, policy: Policy) -> Patience {
        if self.stop {
            return Patience::NONE;
        }
        let rest = |since: Instant| SYNC_EVERY.saturating_sub(since.elapsed());
        let idle = match self.writer.unsynced_bytes() > 0 {
            true => rest(self.synced_at),
            false if policy == Policy::Always && self.writer.file_lag_bytes() > 0 => {
                rest(self.file_synced_at)
            }
            false => SYNC_EVERY,
        };
        let (bytes, since, linger) = match policy {
            Policy::Always => {
                (self.enough_bytes, self.synced_at, (self.sync_took * CROWD_LINGER).min(CROWD_LINGER_MAX))
            }
            _ => (GATHER_BYTES, self.written_at, GATHER),
        };
        Patience { bytes, until: (bytes > 0).then(|| since + linger), idle }
    }

    /// The journal's offset up to which the file holds it.
    fn written(&self) -> u64 {
        self.pending.as_ref().map_or(self.reader.offset(), |chunk| chunk.start)
    }

    /// Does what is asked, as far as it is its turn.
    fn obey(&mut self) {
        loop {
            let mut orders = self.orders.lock();
            if let Some(Order::Rotate(cut)) = orders.front()
                && self.written() < *cut
            {
                // What a file in trouble lacks is in the base that is being written: it would only stand in the way.
                if self.failed_at.is_some() {
                    self.pending = None;
                }
                return;
            }
            let Some(order) = orders.pop_front() else { return };
            drop(orders);
            match order {
                Order::Rotate(_) => self.rotate(),
                Order::Adopt(format, done) => {
                    let adopted = self.adopt(format);
                    let _ = done.send(adopted);
                }
                Order::GiveUp => {
                    self.cut = None;
                    self.writer.abandon_base();
                }
                Order::Stop => self.stop = true,
            }
        }
    }

    fn rotate(&mut self) {
        match self.writer.rotate() {
            Ok(cut) => self.cut = Some(cut),
            Err(e) => self.note(&e),
        }
        self.stamp_s = 0;
    }

    fn adopt(&mut self, format: BaseFormat) -> io::Result<()> {
        let Some(cut) = self.cut.take() else {
            return Err(io::Error::other("the new append-only file could not be opened"));
        };
        // The old files go: what stands in the new one is to be as durable as they are.
        self.writer.sync().and_then(|()| self.writer.adopt_base(cut, format)).map_err(|e| {
            self.note(&e);
            io::Error::other(e)
        })?;
        let keep = self.env.services.find::<Config>().is_some_and(|c| c.bool("aof-disable-auto-gc"));
        if !keep && let Err(e) = self.writer.remove_history() {
            tracing::warn!("{e}");
        }
        let size = self.writer.total_bytes();
        self.state.size.store(size, Relaxed);
        self.state.base_size.store(size, Relaxed);
        self.look();
        self.vouch();
        // Before anyone hears that the file counts.
        self.hold_replies(Policy::of(&self.env));
        Ok(())
    }

    fn write(&mut self) {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY_EVERY) {
            std::thread::sleep(RETRY_NAP);
            return;
        }
        let Some(chunk) = self.pending.take() else { return };
        if let Err(e) = self.put(&chunk) {
            self.pending = Some(chunk);
            self.note(&e);
        } else {
            self.look();
        }
    }

    fn put(&mut self, chunk: &Chunk) -> Result<(), WriteError> {
        let stamps = self.env.services.find::<Config>().is_some_and(|c| c.bool("aof-timestamp-enabled"));
        let now_s = self.env.clock.now_ms() / 1000;
        if stamps && now_s != self.stamp_s {
            let mut stamp = Vec::new();
            push_timestamp(&mut stamp, now_s);
            self.writer.append(&stamp)?;
            self.stamp_s = now_s;
        }
        let sleep_us = self.state.flush_sleep_us.load(Relaxed);
        if sleep_us > 0 {
            std::thread::sleep(Duration::from_micros(sleep_us));
        }
        self.written_at = Instant::now();
        self.writer.append(&chunk.bytes)
    }

    fn sync(&mut self) {
        if matches!(self.writer.health(), Health::Failed(_)) {
            return;
        }
        let began = Instant::now();
        let synced = self.writer.sync();
        if began.elapsed() > SYNC_EVERY {
            self.state.delayed_syncs.fetch_add(1, Relaxed);
        }
        self.synced_at = Instant::now();
        self.sync_took = began.elapsed();
        match synced {
            Ok(()) => {
                self.look();
                self.vouch();
            }
            Err(e) => self.note(&e),
        }
    }

    /// With `always`, the sync log; else none.
    fn keep_sync_log(&mut self, policy: Policy) {
        let wanted = policy == Policy::Always
            && self.env.services.find::<Config>().is_some_and(|c| c.bool("aof-sync-log"));
        if let Err(e) = self.writer.use_sync_log(wanted.then_some(LOG_BYTES)) {
            self.note(&e);
        }
    }

    /// Once a second, that the file itself is never far behind what was promised of it.
    fn sync_file(&mut self) {
        if matches!(self.writer.health(), Health::Failed(_)) {
            return;
        }
        let began = Instant::now();
        if let Err(e) = self.writer.sync_file() {
            self.note(&e);
        }
        self.file_synced_at = Instant::now();
        if began.elapsed() > SYNC_EVERY {
            self.state.delayed_syncs.fetch_add(1, Relaxed);
        }
    }

    /// Tells up to where everything is durable, if that can be told.
    fn vouch(&mut self) {
        let synced = self.writer.unsynced_bytes() == 0 && !self.writer.is_pending();
        if synced && self.writer.health() == Health::Good {
            let offset = self.written();
            let woken = self.env.journal.gate.advance(offset);
            self.crowds.rotate_right(1);
            self.crowds[0] = woken;
            let many = self.crowds.into_iter().max().unwrap_or(0);
            let bytes = usize::try_from(offset - self.vouched).unwrap_or(0) / woken.max(1);
            self.enough_bytes = match woken >= CROWD_MIN {
                true => many.saturating_mul(bytes).clamp(1, GATHER_BYTES),
                false => 0,
            };
            self.vouched = offset;
        }
    }

    /// Something failed: from here on writes are refused, and who waits for durability learns that nobody can tell. A file
    /// that only a rewrite mends gets one.
    fn note(&mut self, e: &WriteError) {
        if self.failed_at.is_none() {
            tracing::warn!("{e}. Writes are refused until this is mended.");
        }
        self.failed_at = Some(Instant::now());
        *self.env.aof_error.lock() = match self.writer.health() {
            Health::Good => e.to_string(),
            Health::Failing(why) | Health::Failed(why) | Health::Recovering(why) => why.to_owned(),
        };
        self.state.write_failed.store(true, Relaxed);
        self.env.set_bar(bar::AOF_FAILED, true);
        self.env.journal.gate.fail();
        if matches!(self.writer.health(), Health::Failed(_))
            && let Some(persistence) = self.env.services.find::<Persistence>()
        {
            persistence.schedule(Kind::Rewrite);
        }
    }

    /// Something worked: if all is well again, so says the log.
    fn look(&mut self) {
        if self.failed_at.is_some() && self.writer.health() == Health::Good {
            self.failed_at = None;
            tracing::warn!("AOF write error looks solved. The server can write again.");
            self.state.write_failed.store(false, Relaxed);
            self.env.set_bar(bar::AOF_FAILED, false);
        }
    }
}
