//! Saving: SAVE, BGSAVE, save points, the rewrite of the append-only file. One snapshot at a time.
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::file::FileSink;
use super::snapshot::{Progress, Snapshot};
use super::{Persistence, Settings};
use crate::aof::writer::{Cut, WriteError, push_timestamp};
use crate::aof::{BaseFormat, Store, Writer};
use crate::base::disk;
use crate::base::pages::Tight;
use crate::command::env::{PauseMode, REDIS_VERSION, bar};
use crate::command::{CommandError, Env};
use crate::config::Config;
use crate::keyspace::{Locked, ShardSet};
use crate::rdb::encode::{self, Options};
use crate::server::Engine;
use crate::server::places::{Place, Placed, Places};
use crate::server::shutdown::Request;

/// What a snapshot is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The dump file.
    Save,
    /// The base of the append-only file.
    Rewrite,
}

/// A snapshot that is being written.
struct Job {
    kind: Kind,
    progress: Arc<Progress>,
    began_ms: u64,
    /// Of an empty keyspace, after FLUSHALL: whoever wants to save next waits for it.
    brief: bool,
}

#[derive(Default)]
pub(super) struct Jobs {
    running: Option<Job>,
    save_scheduled: bool,
    rewrite_scheduled: bool,
    /// When the last save began, and the last rewrite that failed (Unix ms).
    save_tried_ms: u64,
    rewrite_failed_ms: u64,
    /// SHUTDOWN is at work: nothing new begins.
    ending: bool,
}

/// Why a save did not begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SaveError {
    #[error("ERR Background save already in progress")]
    Saving,
    #[error("ERR Background append only file rewriting already in progress")]
    Rewriting,
    #[error("ERR this server keeps no files")]
    NoFiles,
    #[error("ERR the server is shutting down")]
    Ending,
}

/// Why a file to append to was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Busy(#[from] SaveError),
    #[error(transparent)]
    File(#[from] WriteError),
}

impl From<SaveError> for CommandError {
    fn from(e: SaveError) -> Self {
        CommandError::new(e.to_string())
    }
}

/// How INFO and others see the job that is running.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub kind: Kind,
    pub began_ms: u64,
    pub keys: u64,
    pub keys_total: u64,
}

/// Writes are held back for as long as an end may take.
const END_PAUSE_MS: u64 = 3_600_000;

/// After a failed save the save points wait this long before they try again.
const RETRY_MS: u64 = 5_000;

/// The right to make the next cut.
#[must_use]
pub(super) struct Reserved {
    kind: Kind,
    pub(super) settings: Settings,
    progress: Arc<Progress>,
    /// A file to append to that begins with this rewrite.
    opening: Option<(Writer, Cut)>,
}

/// A snapshot that has been cut: it must be written, whatever comes.
#[must_use]
pub struct Begun {
    kind: Kind,
    snapshot: Arc<Snapshot>,
    settings: Settings,
    /// The count of changes at the cut.
    dirty: u64,
}

impl Persistence {
    pub fn running(&self) -> Option<Running> {
        self.jobs.lock().running.as_ref().map(|job| Running {
            kind: job.kind,
            began_ms: job.began_ms,
            keys: job.progress.keys.load(Relaxed),
            keys_total: job.progress.keys_total.load(Relaxed),
        })
    }

    pub fn scheduled(&self) -> (bool, bool) {
        let jobs = self.jobs.lock();
        (jobs.save_scheduled, jobs.rewrite_scheduled)
    }

    /// Makes the cut for a job, if none is running. `locked` holds every shard; without it they are all locked for an
    /// instant. The caller holds no shard then.
    pub fn begin(&self, env: &Env, kind: Kind, locked: Option<&mut Locked<'_>>) -> Result<Begun, SaveError> {
        if locked.is_none() {
            let mut jobs = self.jobs.lock();
            while jobs.running.as_ref().is_some_and(|job| job.brief) {
                self.job_ended.wait(&mut jobs);
            }
        }
        Ok(self.cut(env, self.reserve(env, kind)?, locked))
    }

    /// Makes a job the one that is running; its cut must follow.
    pub(super) fn reserve(&self, env: &Env, kind: Kind) -> Result<Reserved, SaveError> {
        let settings = Settings::read(env).ok_or(SaveError::NoFiles)?;
        let mut jobs = self.jobs.lock();
        match &jobs.running {
            _ if jobs.ending => return Err(SaveError::Ending),
            Some(Job { kind: Kind::Save, .. }) => return Err(SaveError::Saving),
            Some(Job { kind: Kind::Rewrite, .. }) => return Err(SaveError::Rewriting),
            None => {}
        }
        let now = env.clock.now_ms();
        match kind {
            Kind::Save => {
                jobs.save_scheduled = false;
                jobs.save_tried_ms = now;
            }
            Kind::Rewrite => jobs.rewrite_scheduled = false,
        }
        // Registered before the cut, with no lock of ours held while waiting for shards: who holds shards may come here.
        let progress = Arc::new(Progress::default());
        self.figures.jobs.fetch_add(1, Relaxed);
        jobs.running = Some(Job { kind, progress: progress.clone(), began_ms: now, brief: false });
        Ok(Reserved { kind, settings, progress, opening: None })
    }

    pub(super) fn cut(&self, env: &Env, reserved: Reserved, locked: Option<&mut Locked<'_>>) -> Begun {
        let Reserved { kind, settings, progress, mut opening } = reserved;
        let options = Options { compress: settings.compress };
        let format = match kind {
            Kind::Rewrite if !settings.preamble => self.commands_if_they_do(),
            _ => BaseFormat::Rdb,
        };
        let mut cut = |locked: &mut Locked<'_>| {
            let dirty = env.gauges.dirty.load(Relaxed);
            let snapshot = Snapshot::begin(env, locked, options, format, progress.clone());
            match (opening.take(), self.engine()) {
                (Some((writer, cut)), Some(engine)) => {
                    let reader = env.journal.subscribe();
                    if let Err(e) = self.aof.start(engine.env(), writer, reader, Some(cut)) {
                        tracing::warn!("Can't start appending: {e}");
                    }
                }
                _ if kind == Kind::Rewrite => self.aof.cut(env),
                _ => {}
            }
            (snapshot, dirty)
        };
        let (snapshot, dirty) = match locked {
            Some(locked) => cut(locked),
            None => cut(&mut env.keyspace.lock(&ShardSet::All)),
        };
        Begun { kind, snapshot, settings, dirty }
    }

    /// Writes what was begun, to its end, and notes how it went.
    pub fn finish(&self, env: &Env, begun: Begun) -> io::Result<()> {
        let Begun { kind, snapshot, settings, dirty } = begun;
        let began = std::time::Instant::now();
        let result = match kind {
            Kind::Save => self.write_dump(env, &snapshot, &settings),
            Kind::Rewrite => self.write_base(env, &snapshot, &settings),
        };
        let seconds = began.elapsed().as_secs() as i64;
        self.figures.waiting_peak.store(snapshot.progress.waiting_peak.load(Relaxed) as u64, Relaxed);
        let aborted = snapshot.progress.is_aborted();
        match kind {
            Kind::Save => self.note_save(env, &result, aborted, seconds, dirty),
            Kind::Rewrite => self.note_rewrite(env, &result, aborted, seconds),
        }
        self.jobs.lock().running = None;
        self.job_ended.notify_all();
        result.map(drop)
    }

    /// Finishes on a thread of its own.
    pub fn finish_in_background(&self, env: &Env, begun: Begun) -> io::Result<()> {
        let Some(engine) = self.engine() else { return self.finish(env, begun) };
        let kind = begun.kind;
        let slot = Arc::new(parking_lot::Mutex::new(Some(begun)));
        let theirs = slot.clone();
        let work = move || {
            let env = engine.env();
            let _place = prepare_thread(env, kind);
            if let Some(begun) = theirs.lock().take() {
                // It is noted and logged there.
                let _ = env.service::<Persistence>().finish(env, begun);
            }
        };
        if let Err(e) = std::thread::Builder::new().name("snapshot".into()).spawn(work) {
            // The cut is made: its cells must be walked all the same.
            tracing::warn!("Can't save in background: {e}");
            let begun = slot.lock().take();
            if let Some(begun) = begun {
                begun.snapshot.progress.abort();
                let _ = self.finish(env, begun);
            }
            return Err(e);
        }
        Ok(())
    }

    /// The dump, under a temporary name until it is whole and durable.
    fn write_dump(&self, env: &Env, snapshot: &Snapshot, settings: &Settings) -> io::Result<u64> {
        let temporary = settings.temporary("save");
        let written = self.write_rdb(env, snapshot, settings, &temporary, false);
        let result = written.and_then(|size| {
            disk::put_in_place(&*self.disk, &temporary, &settings.dump)?;
            Ok(size)
        });
        if result.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        result
    }

    fn write_base(&self, env: &Env, snapshot: &Snapshot, settings: &Settings) -> io::Result<u64> {
        let layout = &settings.append;
        // Without a file to append to there may be no directory yet.
        let made = self.disk.create_dir(layout.dir());
        let written = match snapshot.format {
            BaseFormat::Rdb => self.write_rdb(env, snapshot, settings, &layout.temp_base(), true),
            BaseFormat::Aof => self.write_commands(env, snapshot, settings, &layout.temp_base()),
        };
        if let Err(e) =
            made.and(written.as_ref().map(drop).map_err(|e| io::Error::new(e.kind(), e.to_string())))
        {
            self.aof.give_up_rewrite(env);
            let _ = self.disk.remove(&layout.temp_base());
            return Err(e);
        }
        let adopted = self.aof.adopt(env, snapshot.format).unwrap_or_else(|| {
            // The file is off: a base by itself, as Redis leaves one.
            let mut store = Store::load(self.disk.clone(), layout.clone()).map_err(io::Error::other)?;
            store.adopt_base(snapshot.format).map_err(io::Error::other)?;
            store.remove_history().map_err(io::Error::other)
        });
        adopted.and(written)
    }

    fn write_rdb(
        &self,
        env: &Env,
        snapshot: &Snapshot,
        settings: &Settings,
        path: &Path,
        base: bool,
    ) -> io::Result<u64> {
        let mut sink = FileSink::new(self.disk.create(path), settings.checksum, settings.incremental);
        encode::header(&mut sink, snapshot.version);
        let mut aux = |key: &str, value: &str| encode::aux(&mut sink, key.as_bytes(), value.as_bytes());
        aux("redis-ver", REDIS_VERSION);
        aux("redis-bits", &usize::BITS.to_string());
        aux("ctime", &(env.clock.now_ms() / 1000).to_string());
        aux("used-mem", &crate::base::alloc::used().to_string());
        aux("aof-base", if base { "1" } else { "0" });
        for code in &*self.functions.lock() {
            encode::function(&mut sink, code, &Options { compress: settings.compress });
        }
        snapshot.write(env, &mut sink, settings.save_delayed.then_some(&|| key_delay(env)))?;
        sink.finish()
    }

    /// A base without RDB, unless there is something that only RDB can hold.
    fn commands_if_they_do(&self) -> BaseFormat {
        if self.functions.lock().is_empty() {
            return BaseFormat::Aof;
        }
        tracing::warn!("There are functions, which commands cannot keep here: the base will be an RDB file");
        BaseFormat::Rdb
    }

    fn write_commands(
        &self,
        env: &Env,
        snapshot: &Snapshot,
        settings: &Settings,
        path: &Path,
    ) -> io::Result<u64> {
        let mut sink = FileSink::new(self.disk.create(path), false, settings.incremental);
        if settings.timestamps {
            let mut stamp = Vec::new();
            push_timestamp(&mut stamp, env.clock.now_ms() / 1000);
            encode::Sink::put(&mut sink, &stamp);
        }
        snapshot.write(env, &mut sink, settings.save_delayed.then_some(&|| key_delay(env)))?;
        sink.finish_commands()
    }

    fn note_save(&self, env: &Env, result: &io::Result<u64>, aborted: bool, seconds: i64, dirty: u64) {
        let figures = &self.figures;
        figures.save_seconds.store(seconds, Relaxed);
        match result {
            Ok(size) => {
                env.gauges.note_saved(dirty);
                figures.last_save_s.store(env.clock.now_ms() / 1000, Relaxed);
                figures.last_save_ok.store(true, Relaxed);
                figures.saves.fetch_add(1, Relaxed);
                figures.save_bytes.store(*size, Relaxed);
                tracing::info!("DB saved on disk");
            }
            // Somebody wanted it so: no failure.
            Err(_) if aborted => tracing::info!("The save was stopped"),
            Err(e) => {
                figures.last_save_ok.store(false, Relaxed);
                tracing::warn!("Error saving DB on disk: {e}");
            }
        }
        self.raise_bar(env);
    }

    fn note_rewrite(&self, env: &Env, result: &io::Result<u64>, aborted: bool, seconds: i64) {
        let figures = &self.figures;
        figures.rewrite_seconds.store(seconds, Relaxed);
        match result {
            Ok(_) => {
                figures.rewrite_ok.store(true, Relaxed);
                figures.rewrites.fetch_add(1, Relaxed);
                figures.rewrite_failures.store(0, Relaxed);
                self.jobs.lock().rewrite_failed_ms = 0;
                tracing::info!("Background AOF rewrite finished successfully");
            }
            Err(_) if aborted => tracing::info!("The AOF rewrite was stopped"),
            Err(e) => {
                figures.rewrite_ok.store(false, Relaxed);
                figures.rewrite_failures.fetch_add(1, Relaxed);
                let mut jobs = self.jobs.lock();
                jobs.rewrite_failed_ms = env.clock.now_ms();
                // A file without its first base, or one that only a rewrite mends, needs one.
                jobs.rewrite_scheduled |= self.aof.needs_base();
                drop(jobs);
                tracing::warn!("Background AOF rewrite terminated with error: {e}");
            }
        }
    }

    /// Refuses writes after a failed save, if that is configured.
    pub fn raise_bar(&self, env: &Env) {
        let refuse = env.services.find::<Config>().is_some_and(|config| {
            config.bool("stop-writes-on-bgsave-error") && !config.save_points().is_empty()
        });
        env.set_bar(bar::SAVE_FAILED, refuse && !self.figures.last_save_ok.load(Relaxed));
    }

    /// A rewrite that begins an append-only file.
    pub(super) fn reserve_opening(&self, env: &Env) -> Result<Reserved, OpenError> {
        let mut reserved = self.reserve(env, Kind::Rewrite)?;
        let opened = Store::load(self.disk.clone(), reserved.settings.append.clone())
            .map_err(WriteError::from)
            .and_then(Writer::open_pending);
        match opened {
            Ok(opening) => reserved.opening = Some(opening),
            Err(e) => {
                self.release();
                return Err(e.into());
            }
        }
        Ok(reserved)
    }

    /// Gives back the right to a cut that will not be made.
    fn release(&self) {
        self.jobs.lock().running = None;
        self.job_ended.notify_all();
    }

    /// Turns the append-only file on or off: CONFIG SET appendonly.
    pub fn set_append(&self, env: &Env, on: bool) -> Result<(), String> {
        if on == self.aof.is_on() {
            return Ok(());
        }
        if !on {
            self.jobs.lock().rewrite_scheduled = false;
            let jobs = self.jobs.lock();
            if let Some(Job { kind: Kind::Rewrite, progress, .. }) = &jobs.running {
                tracing::info!("Killing AOF child: there is none, but its rewrite stops here");
                progress.abort();
            }
            drop(jobs);
            self.aof.stop(env);
            return Ok(());
        }
        let Some(engine) = self.engine() else { return Ok(()) };
        let reserved = match self.reserve_opening(env) {
            Ok(reserved) => reserved,
            Err(OpenError::Busy(_)) => {
                tracing::warn!(
                    "AOF was enabled but there is already another background operation. An AOF background was scheduled to \
                     start when possible."
                );
                self.schedule(Kind::Rewrite);
                return Ok(());
            }
            Err(OpenError::File(e)) => {
                tracing::warn!("{e}");
                return Err("Unable to turn on AOF. Check server logs.".into());
            }
        };
        // The cut waits for shards, which whoever sets this may hold (EXEC).
        let work = move || {
            let env = engine.env();
            let persistence = env.service::<Persistence>();
            let begun = persistence.cut(env, reserved, None);
            let _place = prepare_thread(env, Kind::Rewrite);
            let _ = persistence.finish(env, begun);
        };
        std::thread::Builder::new().name("snapshot".into()).spawn(work).map(drop).map_err(|e| {
            self.release();
            e.to_string()
        })
    }

    /// FLUSHALL has emptied everything: a save of what was there is void, and an empty dump takes its place where save
    /// points are set. Tells whether that is under way.
    pub fn flushed(&self, env: &Env, locked: &mut Locked<'_>) -> bool {
        if let Some(Job { kind: Kind::Save, progress, .. }) = &self.jobs.lock().running {
            progress.abort();
        }
        let points = env.services.find::<Config>().is_some_and(|config| !config.save_points().is_empty());
        if !points || !self.automatic.load(Relaxed) {
            return false;
        }
        match self.begin(env, Kind::Save, Some(locked)) {
            Ok(mut begun) => {
                // Told at once: whoever looks next sees nothing left to save.
                env.gauges.note_saved(begun.dirty);
                begun.dirty = 0;
                if let Some(job) = &mut self.jobs.lock().running {
                    job.brief = true;
                }
                self.finish_in_background(env, begun).is_ok()
            }
            Err(_) => {
                self.schedule(Kind::Save);
                false
            }
        }
    }

    /// Begins a save or a rewrite as soon as the one that is running has ended.
    pub fn schedule(&self, kind: Kind) {
        let mut jobs = self.jobs.lock();
        match kind {
            Kind::Save => jobs.save_scheduled = true,
            Kind::Rewrite => jobs.rewrite_scheduled = true,
        }
    }

    /// Stops the job that is running, and waits until it has let go.
    pub fn stop_job(&self) {
        let mut jobs = self.jobs.lock();
        while let Some(job) = &jobs.running {
            job.progress.abort();
            self.job_ended.wait(&mut jobs);
        }
    }

    /// Waits for the job that is running, if any.
    pub fn wait_for_job(&self) {
        let mut jobs = self.jobs.lock();
        while jobs.running.is_some() {
            self.job_ended.wait(&mut jobs);
        }
    }

    /// Saves what must be saved before the server ends. Writes are held back from here on; if it fails, and the end is
    /// not forced, everything goes on.
    pub fn prepare_end(&self, env: &Env, request: Request) -> io::Result<()> {
        let now = env.clock.now_ms();
        env.pause(PauseMode::Write, now.saturating_add(END_PAUSE_MS), now);
        self.stop_job();
        let points = env.services.find::<Config>().is_some_and(|config| !config.save_points().is_empty());
        if request.save.unwrap_or(points) {
            tracing::info!("Saving the final RDB snapshot before exiting.");
            let saved = self.begin(env, Kind::Save, None).map_err(io::Error::other);
            if let Err(e) = saved.and_then(|begun| self.finish(env, begun)) {
                tracing::warn!("Error trying to save the DB, can't exit: {e}");
                if !request.force {
                    env.unpause();
                    return Err(e);
                }
            }
        }
        if self.aof.is_on() {
            tracing::info!("Calling fsync() on the AOF file.");
            self.aof.stop(env);
        }
        self.jobs.lock().ending = true;
        Ok(())
    }

    /// What is due by itself: scheduled jobs, save points, a file that has grown.
    pub fn tick(&self, engine: &Engine) {
        let env = engine.env();
        if env.barred.load(Relaxed) & bar::LOADING != 0 {
            return;
        }
        let Some(kind) = self.due(env) else { return };
        let wants_file = env.services.find::<Config>().is_some_and(|config| config.bool("appendonly"));
        if kind == Kind::Rewrite && wants_file && !self.aof.is_on() {
            self.jobs.lock().rewrite_scheduled = false;
            let _ = self.set_append(env, true);
            return;
        }
        match self.begin(env, kind, None) {
            Ok(begun) => {
                tracing::info!("{}", started(kind));
                let _ = self.finish_in_background(env, begun);
            }
            Err(e) => tracing::debug!("{e}"),
        }
    }

    fn due(&self, env: &Env) -> Option<Kind> {
        let now = env.clock.now_ms();
        let jobs = self.jobs.lock();
        if jobs.running.is_some() || jobs.ending {
            return None;
        }
        let failed = jobs.rewrite_failed_ms;
        if jobs.rewrite_scheduled && (failed == 0 || now >= failed + RETRY_MS) {
            return Some(Kind::Rewrite);
        }
        if jobs.save_scheduled {
            return Some(Kind::Save);
        }
        if !self.automatic.load(Relaxed) {
            return None;
        }
        let config = env.services.find::<Config>()?;
        let changes = env.gauges.dirty.load(Relaxed);
        let since_s = (now / 1000).saturating_sub(self.figures.last_save_s.load(Relaxed));
        let may_try = self.figures.last_save_ok.load(Relaxed) || now >= jobs.save_tried_ms + RETRY_MS;
        let point = config
            .save_points()
            .into_iter()
            .find(|p| changes >= p.changes as u64 && since_s > p.seconds as u64);
        if let Some(point) = point.filter(|_| may_try) {
            tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
            return Some(Kind::Save);
        }
        (self.aof.has_grown(config) && (failed == 0 || now >= failed + RETRY_MS)).then_some(Kind::Rewrite)
    }
}

/// What the log says of a job that has begun.
pub fn started(kind: Kind) -> &'static str {
    match kind {
        Kind::Save => "Background saving started",
        Kind::Rewrite => "Background append only file rewriting started",
    }
}

/// A snapshot leaves the cores to the workers, but gets on all the same.
const SNAPSHOT_NICE: i32 = 5;

/// For the calling thread, which keeps the result as long as it works.
fn prepare_thread(env: &Env, kind: Kind) -> (Placed<'_>, Tight) {
    crate::base::priority::lower(SNAPSHOT_NICE);
    let place = env.service::<Places>().take(match kind {
        Kind::Save => Place::Save,
        Kind::Rewrite => Place::Rewrite,
    });
    (place, Tight::begin())
}

/// `rdb-key-save-delay`: microseconds a key; a negative one is that fraction of one.
fn key_delay(env: &Env) -> Duration {
    let us = env.services.find::<Config>().map_or(0, |config| config.int("rdb-key-save-delay"));
    match u64::try_from(us) {
        Ok(us) => Duration::from_micros(us),
        Err(_) => Duration::from_nanos(1000 / us.unsigned_abs()),
    }
}
