//! The append-only file's driver: a thread that carries the journal into the file, and says what is durable.
//!
//! With `appendfsync always` it syncs after every chunk it takes, and a chunk is all that has gathered meanwhile: one fsync
//! serves everyone who waits. Otherwise it lets a few milliseconds gather, and syncs every second or never.
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Kind, Persistence};
use crate::aof::{Names, Writer};
use crate::base::disk::Disk;
use crate::command::Env;
use crate::command::env::bar;
use crate::config::Config;
use crate::journal::{Chunk, Patience, Reader};

/// When the file is synced: `appendfsync`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    Always,
    EverySecond,
    Never,
}

/// While replies do not wait for the file, so much may gather before it is written.
const GATHER: Duration = Duration::from_millis(5);
const GATHER_BYTES: usize = 256 << 10;
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How soon a failed write is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What is asked of the driver, in the order in which it is to happen.
enum Order {
    /// What comes from this offset on goes into a new file: a rewrite's cut.
    Rotate(u64),
    /// A rewrite's base is written under this name.
    Adopt(PathBuf, SyncSender<io::Result<()>>),
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
    /// Syncs that took longer than a second.
    pub delayed_syncs: AtomicU64,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<VecDeque<Order>>,
    state: Arc<AofState>,
}

struct Driver {
    shared: Arc<Shared>,
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

    /// Starts the driver with a reader that begins where the file ends.
    pub(super) fn start(&self, env: &Arc<Env>, writer: Writer, reader: Reader) -> io::Result<()> {
        let shared = Arc::new(Shared { orders: Mutex::default(), state: self.state.clone() });
        let run = Run {
            env: env.clone(),
            shared: shared.clone(),
            writer,
            reader,
            pending: None,
            unsynced: false,
            synced_at: Instant::now(),
            poisoned: false,
            rotated: false,
            stamp_s: 0,
            failed_at: None,
            stop: false,
        };
        let thread = std::thread::Builder::new().name("aof".into()).spawn(move || run.run())?;
        *self.driver.lock() = Some(Driver { shared, thread });
        self.state.enabled.store(true, Relaxed);
        env.journal.gate.hold_replies(policy(env) == Policy::Always);
        Ok(())
    }

    /// Writes and syncs everything, and ends the driver.
    pub fn stop(&self, env: &Env) {
        let Some(driver) = self.driver.lock().take() else { return };
        driver.shared.orders.lock().push_back(Order::Stop);
        env.journal.nudge();
        let _ = driver.thread.join();
        self.state.enabled.store(false, Relaxed);
        env.journal.gate.hold_replies(false);
    }

    /// A rewrite's cut: every shard is held. What is appended from here on belongs to the new file.
    pub(super) fn cut(&self, env: &Env) {
        if let Some(driver) = &*self.driver.lock() {
            let at = env.journal.cut();
            driver.shared.orders.lock().push_back(Order::Rotate(at));
            env.journal.nudge();
        }
    }

    /// Puts a rewrite's base in its place; the driver does it between two chunks.
    pub(super) fn adopt(&self, env: &Env, base: &Path, disk: &Arc<dyn Disk>, names: Names) -> io::Result<()> {
        let (done, answer) = sync_channel(1);
        match &*self.driver.lock() {
            Some(driver) => {
                driver.shared.orders.lock().push_back(Order::Adopt(base.to_owned(), done));
                env.journal.nudge();
            }
            // The file is off: a base alone, as Redis leaves one.
            None => return Writer::open(disk.clone(), names)?.adopt_base(base),
        }
        answer.recv().unwrap_or_else(|_| Err(io::Error::other("the append-only file was turned off")))
    }

    pub(super) fn give_up_rewrite(&self, env: &Env) {
        if let Some(driver) = &*self.driver.lock() {
            driver.shared.orders.lock().push_back(Order::GiveUp);
            env.journal.nudge();
        }
    }

    /// Whether the file has grown so much since its last rewrite that it should be rewritten.
    pub(super) fn has_grown(&self, config: &Config) -> bool {
        let (size, base) = (self.state.size.load(Relaxed), self.state.base_size.load(Relaxed).max(1));
        let percentage = config.int("auto-aof-rewrite-percentage") as u64;
        percentage > 0
            && self.state.enabled.load(Relaxed)
            && size > config.mem("auto-aof-rewrite-min-size")
            && size.saturating_sub(base).saturating_mul(100) / base >= percentage
    }

    /// Follows the configuration; a file that cannot be trusted any more is rewritten.
    pub(super) fn tick(&self, env: &Env, _: &Persistence) {
        if self.state.enabled.load(Relaxed) {
            env.journal.gate.hold_replies(policy(env) == Policy::Always);
        }
    }
}

fn policy(env: &Env) -> Policy {
    match env.services.find::<Config>().map(|config| config.str("appendfsync")).as_deref() {
        Some("always") => Policy::Always,
        Some("no") => Policy::Never,
        _ => Policy::EverySecond,
    }
}

/// The driver's thread.
struct Run {
    env: Arc<Env>,
    shared: Arc<Shared>,
    writer: Writer,
    reader: Reader,
    /// Taken from the journal, but not in the file.
    pending: Option<Chunk>,
    unsynced: bool,
    synced_at: Instant,
    /// An fsync has failed: what the file holds since the last good one is unknown, until a rewrite replaces it.
    poisoned: bool,
    /// A rewrite's new file is in use, its base not yet there.
    rotated: bool,
    /// Of the last timestamp annotation.
    stamp_s: u64,
    failed_at: Option<Instant>,
    stop: bool,
}

impl Run {
    fn run(mut self) {
        loop {
            let policy = policy(&self.env);
            self.obey();
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
            if self.unsynced && !self.poisoned && (due || self.stop) {
                self.sync();
            }
            self.shared.state.size.store(self.writer.size(), Relaxed);
            if self.stop && (self.pending.is_none() || self.failed_at.is_some()) && self.caught_up() {
                if self.unsynced && !self.poisoned {
                    self.sync();
                }
                return;
            }
        }
    }

    fn caught_up(&self) -> bool {
        self.failed_at.is_some() || self.reader.offset() == self.env.journal.end()
    }

    /// `no-appendfsync-on-rewrite`.
    fn spares_syncs(&self) -> bool {
        let config = self.env.services.find::<Config>();
        config.is_some_and(|c| c.bool("no-appendfsync-on-rewrite"))
            && self.env.services.find::<Persistence>().is_some_and(|p| p.running().is_some())
    }

    fn patience(&self, policy: Policy) -> Patience {
        if self.stop {
            return Patience { bytes: 1, linger: Duration::ZERO, idle: Duration::ZERO };
        }
        let idle = if self.unsynced { SYNC_EVERY.saturating_sub(self.synced_at.elapsed()) } else { SYNC_EVERY };
        match policy {
            Policy::Always => Patience { bytes: 1, linger: Duration::ZERO, idle },
            _ => Patience { bytes: GATHER_BYTES, linger: GATHER, idle },
        }
    }

    /// Does what is asked, as far as it is its turn.
    fn obey(&mut self) {
        loop {
            let mut orders = self.shared.orders.lock();
            let at = self.pending.as_ref().map_or(self.reader.offset(), |chunk| chunk.start);
            match orders.front() {
                None => return,
                Some(Order::Rotate(cut)) if at < *cut => return,
                Some(_) => {}
            }
            let Some(order) = orders.pop_front() else { return };
            drop(orders);
            match order {
                Order::Rotate(_) => self.rotate(),
                Order::Adopt(path, done) => {
                    let result = self.adopt(&path);
                    let _ = done.send(result);
                }
                Order::GiveUp => self.rotated = false,
                Order::Stop => self.stop = true,
            }
        }
    }

    fn rotate(&mut self) {
        // The old file ends here: what it holds must be as durable as the policy says.
        if self.unsynced && !self.poisoned {
            self.sync();
        }
        match self.writer.rotate() {
            Ok(()) => self.rotated = true,
            Err(e) => self.fail("Error opening a new append-only file", &e),
        }
    }

    fn adopt(&mut self, base: &Path) -> io::Result<()> {
        if !std::mem::take(&mut self.rotated) {
            return Err(io::Error::other("the new append-only file could not be opened"));
        }
        // Before the old files go, what stands in the new one is as durable as they were.
        self.writer.sync()?;
        self.writer.adopt_base(base)?;
        self.poisoned = false;
        self.unsynced = false;
        self.synced_at = Instant::now();
        let size = self.writer.size();
        self.shared.state.size.store(size, Relaxed);
        self.shared.state.base_size.store(size, Relaxed);
        if self.failed_at.is_none() || self.pending.is_none() {
            self.recover();
        }
        let written = self.pending.as_ref().map_or(self.reader.offset(), |chunk| chunk.start);
        self.env.journal.gate.advance(written);
        Ok(())
    }

    fn write(&mut self) {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY_EVERY) {
            std::thread::sleep(Duration::from_millis(20));
            return;
        }
        let Some(chunk) = self.pending.take() else { return };
        match self.put(&chunk) {
            Ok(()) => {
                self.unsynced = true;
                if self.failed_at.is_some() && !self.poisoned {
                    tracing::warn!("AOF write error looks solved. The server can write again.");
                    self.recover();
                }
            }
            Err(e) => {
                self.pending = Some(chunk);
                self.fail("Error writing to the AOF file", &e);
            }
        }
    }

    fn put(&mut self, chunk: &Chunk) -> io::Result<()> {
        let stamps = self.env.services.find::<Config>().is_some_and(|c| c.bool("aof-timestamp-enabled"));
        let now_s = self.env.clock.now_ms() / 1000;
        if stamps && now_s != self.stamp_s {
            self.writer.append(format!("#TS:{now_s}\r\n").as_bytes())?;
            self.stamp_s = now_s;
        }
        self.writer.append(&chunk.bytes)
    }

    fn sync(&mut self) {
        let began = Instant::now();
        let result = self.writer.sync();
        if began.elapsed() > SYNC_EVERY {
            self.shared.state.delayed_syncs.fetch_add(1, Relaxed);
        }
        self.synced_at = Instant::now();
        match result {
            Ok(()) => {
                self.unsynced = false;
                if !self.poisoned {
                    let at = self.pending.as_ref().map_or(self.reader.offset(), |chunk| chunk.start);
                    self.env.journal.gate.advance(at);
                }
            }
            Err(e) => {
                self.poisoned = true;
                self.fail("Error syncing the AOF file: it is not written to any more until it is rewritten", &e);
                if let Some(persistence) = self.env.services.find::<Persistence>() {
                    persistence.schedule(Kind::Rewrite);
                }
            }
        }
    }

    /// From here on writes are refused, and who waits for durability learns that nobody can tell.
    fn fail(&mut self, what: &str, e: &io::Error) {
        if self.failed_at.is_none() {
            tracing::warn!("{what}: {e}. Writes are refused until this is mended.");
        }
        self.failed_at = Some(Instant::now());
        *self.env.aof_error.lock() = e.to_string();
        self.shared.state.write_failed.store(true, Relaxed);
        self.env.set_bar(bar::AOF_FAILED, true);
        self.env.journal.gate.fail();
    }

    fn recover(&mut self) {
        self.failed_at = None;
        self.shared.state.write_failed.store(false, Relaxed);
        self.env.set_bar(bar::AOF_FAILED, false);
    }
}
