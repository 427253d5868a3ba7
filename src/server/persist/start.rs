//! What a server does with the files that it finds: at its start, and when DEBUG RELOAD or LOADAOF ask for it.
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::load::{self, Loaded, Rules};
use super::{Persistence, SaveError, Settings};
use crate::aof::load::{self as aof, Refused};
use crate::aof::reader::Chunk;
use crate::aof::store::Sizes;
use crate::aof::{Store, Writer};
use crate::base::disk::DiskRead;
use crate::command::client::{Client, flag};
use crate::command::env::bar;
use crate::command::{Env, Session};
use crate::config::Config;
use crate::keyspace::ShardSet;
use crate::rdb::RdbError;
use crate::resp::args::Args;
use crate::resp::reply::Reply;
use crate::server::{Called, Engine};

/// Why the data could not be loaded. The files are as they were.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{path}: {error}")]
    Dump { path: String, error: RdbError },
    #[error("{0}")]
    Append(#[from] aof::LoadError),
    /// The append-only file could not be opened for writing.
    #[error("{0}")]
    Open(String),
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
}

impl LoadError {
    fn io(path: &Path, error: io::Error) -> Self {
        LoadError::Io { path: path.display().to_string(), error }
    }
}

impl Persistence {
    /// Loads what the directory holds, and opens the append-only file if there is to be one.
    pub fn start(&self, engine: &Arc<Engine>) -> Result<(), LoadError> {
        let env = engine.env();
        let config = env.services.find::<Config>();
        let Some(settings) = Settings::read(env) else { return Ok(()) };
        self.automatic.store(true, Relaxed);
        if config.is_some_and(|c| c.bool("appendonly")) {
            return self.start_appending(engine, &settings);
        }
        self.loading(env, || self.load_dump(env, &settings, false))
    }

    /// Runs `f` with everybody kept out but whoever loads.
    fn loading<T>(&self, env: &Env, f: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
        let loading = &self.loading;
        loading.started_ms.store(env.clock.now_ms(), Relaxed);
        loading.used_at_start.store(crate::base::alloc::used() as u64, Relaxed);
        for figure in
            [&loading.bytes, &loading.bytes_total, &loading.keys, &loading.keys_total, &loading.expired]
        {
            figure.store(0, Relaxed);
        }
        loading.active.store(true, Relaxed);
        env.set_bar(bar::LOADING, true);
        let result = f();
        env.set_bar(bar::LOADING, false);
        loading.active.store(false, Relaxed);
        self.figures.loaded_keys.store(loading.keys.load(Relaxed), Relaxed);
        self.figures.loaded_expired.store(loading.expired.load(Relaxed), Relaxed);
        result
    }

    /// Reads the dump, if there is one.
    pub(super) fn load_dump(&self, env: &Env, settings: &Settings, replace: bool) -> Result<(), LoadError> {
        let path = &settings.dump;
        let source = match self.disk.open_read(path) {
            Ok(source) => source,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(LoadError::io(path, e)),
        };
        let size = self.disk.size(path).map_err(|e| LoadError::io(path, e))?;
        if size == 0 {
            return Ok(());
        }
        let rules = Rules {
            checksum: settings.checksum,
            keep_expired: false,
            skip_modules: settings.skip_modules,
            key_delay_us: settings.load_delay_us,
            replace,
        };
        let began = Instant::now();
        self.loading.bytes_total.store(size, Relaxed);
        let (loaded, _) = load::load(env, source, Some(size), rules, &self.loading)
            .map_err(|error| LoadError::Dump { path: path.display().to_string(), error })?;
        self.take(loaded, began.elapsed());
        Ok(())
    }

    fn take(&self, loaded: Loaded, took: Duration) {
        for (key, value) in &loaded.aux {
            let (key, value) = (key.escape_ascii(), value.escape_ascii());
            match key.to_string().as_str() {
                "redis-ver" | "valkey-ver" => tracing::info!("Loading RDB produced by version {value}"),
                _ => tracing::debug!("RDB {key}: {value}"),
            }
        }
        if loaded.empty > 0 {
            tracing::info!("Done loading RDB, empty keys skipped: {}", loaded.empty);
        }
        tracing::info!(
            "Done loading RDB, keys loaded: {}, keys expired: {}, {:.3} seconds.",
            loaded.keys,
            loaded.expired,
            took.as_secs_f64()
        );
        *self.functions.lock() = loaded.functions;
    }

    /// DEBUG RELOAD: out to the dump and in again.
    pub fn reload(&self, env: &Env, save: bool, flush: bool, merge: bool) -> Result<(), String> {
        if save {
            self.stop_job();
            let begun = self.begin(env, super::Kind::Save, None).map_err(|e| e.to_string())?;
            self.finish(env, begun)
                .map_err(|_| "ERR Error trying to load the RDB dump, check server logs.")?;
        }
        if flush {
            self.empty(env);
        }
        let settings = Settings::read(env).ok_or_else(|| SaveError::NoFiles.to_string())?;
        self.loading(env, || self.load_dump(env, &settings, merge)).map_err(|e| {
            tracing::warn!("{e}");
            "ERR Error trying to load the RDB dump, check server logs.".to_owned()
        })
    }

    /// Empties every database, as FLUSHALL does, without telling anyone.
    fn empty(&self, env: &Env) {
        let mut locked = env.keyspace.lock(&ShardSet::All);
        for db in 0..env.keyspace.databases() {
            for part in locked.parts_mut(db) {
                let table = part.take_all();
                if !table.is_empty() {
                    env.reclaimer.send(Box::new(table), 1);
                }
            }
        }
    }

    fn start_appending(&self, engine: &Arc<Engine>, settings: &Settings) -> Result<(), LoadError> {
        let env = engine.env();
        let mut store = self.find_append_files(settings)?;
        if store.manifest().is_empty() {
            if self.disk.size(&settings.dump).is_ok_and(|size| size > 0) {
                // Redis would start empty here and write over the dump later. These are the only data there are.
                tracing::warn!("There is no append-only file yet: starting from the dump");
                self.loading(env, || self.load_dump(env, settings, false))?;
            }
            drop(store);
            let reserved = self.reserve_opening(env).map_err(|e| LoadError::Open(e.to_string()))?;
            let begun = self.cut(env, reserved, None);
            return self.finish(env, begun).map_err(|e| LoadError::Open(e.to_string()));
        }
        store = self.loading(env, || self.load_append_files(engine, store))?;
        store.remove_temporary_files();
        let writer = Writer::open(store).map_err(|e| LoadError::Open(e.to_string()))?;
        let reader = env.journal.subscribe();
        self.aof.start(env, writer, reader, None).map_err(|e| LoadError::Open(e.to_string()))
    }

    fn find_append_files(&self, settings: &Settings) -> Result<Store, LoadError> {
        let mut store =
            Store::load(self.disk.clone(), settings.append.clone()).map_err(aof::LoadError::from)?;
        store.take_over_old_style().map_err(aof::LoadError::from)?;
        store.recover_from_sync_log().map_err(aof::LoadError::from)?;
        Ok(store)
    }

    fn load_append_files(&self, engine: &Arc<Engine>, store: Store) -> Result<Store, LoadError> {
        let env = engine.env();
        let config = env.services.find::<Config>();
        let options = aof::Options { load_truncated: config.is_none_or(|c| c.bool("aof-load-truncated")) };
        let began = Instant::now();
        let mut loader = Loader::new(self, engine.clone());
        let total = |sizes: Sizes| self.loading.bytes_total.store(sizes.total, Relaxed);
        aof::load(&store, options, &mut loader, total)?;
        if loader.refused > 0 {
            tracing::warn!("{} commands of the append-only file were refused", loader.refused);
        }
        tracing::info!("DB loaded from append only file: {:.3} seconds", began.elapsed().as_secs_f64());
        Ok(store)
    }

    /// DEBUG LOADAOF: what is written to the append-only file, in again.
    pub fn load_append_only(&self, env: &Env) -> Result<(), String> {
        let failed = |e: &dyn std::fmt::Display| {
            tracing::warn!("{e}");
            "ERR Error trying to load the AOF files, check server logs.".to_owned()
        };
        let (Some(engine), Some(settings)) = (self.engine(), Settings::read(env)) else {
            return Err(SaveError::NoFiles.to_string());
        };
        self.wait_for_job();
        let was_on = self.aof.is_on();
        // Everything is in the file when the driver has ended.
        self.aof.stop(env);
        self.empty(env);
        let loaded = self
            .find_append_files(&settings)
            .and_then(|store| self.loading(env, || self.load_append_files(&engine, store)));
        let store = loaded.map_err(|e| failed(&e))?;
        if was_on {
            let writer = Writer::open(store).map_err(|e| failed(&e))?;
            let reader = env.journal.subscribe();
            self.aof.start(engine.env(), writer, reader, None).map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}

/// The client that replays an append-only file.
struct Loader<'a> {
    persistence: &'a Persistence,
    engine: Arc<Engine>,
    worker: crate::server::Worker,
    session: Session,
    reply: Reply,
    /// Commands that gave an error; Redis lets them be, and so do we, but says so.
    refused: u64,
}

impl<'a> Loader<'a> {
    fn new(persistence: &'a Persistence, engine: Arc<Engine>) -> Self {
        let env = engine.env();
        let id = env.clients.next_id();
        let client = Client::new(id, "loader".into(), String::new(), -1, env.clock.now_ms(), Box::new(|| {}));
        client.set_flag(flag::LOCAL | flag::LOADER, true);
        let session = Session::new(Arc::new(client), true);
        Self {
            persistence,
            worker: engine.slow_worker(),
            session,
            reply: Reply::new(false),
            refused: 0,
            engine,
        }
    }

    fn run(&mut self, args: Args<'_>, offset: u64) -> Result<(), Refused> {
        self.reply.clear();
        loop {
            match self.engine.call(&mut self.worker, &mut self.session, &mut self.reply, args) {
                Called::Done => break,
                Called::Blocked(_) => {
                    let reason = format!("Blocking command '{}'", args.name().escape_ascii());
                    return Err(Refused { offset: Some(offset), reason });
                }
                // Held for a moment by someone who only reads.
                Called::SlowLane | Called::Paused(_) => std::thread::yield_now(),
            }
        }
        if self.reply.buf.first() == Some(&b'-') {
            let text = self.reply.to_vec();
            if text.starts_with(b"-ERR unknown command") {
                let reason = format!("Unknown command '{}'", args.name().escape_ascii());
                return Err(Refused { offset: Some(offset), reason });
            }
            self.refused += 1;
            tracing::debug!("at byte {offset}: {}", text.escape_ascii());
        }
        Ok(())
    }
}

impl aof::Sink for Loader<'_> {
    fn rdb(&mut self, file: &mut dyn DiskRead, size: u64) -> Result<u64, Refused> {
        let env = self.engine.env().clone();
        let settings = Settings::read(&env);
        let rules = Rules {
            checksum: settings.as_ref().is_none_or(|s| s.checksum),
            // What has gone since is told by the commands that follow.
            keep_expired: true,
            skip_modules: settings.as_ref().is_some_and(|s| s.skip_modules),
            key_delay_us: settings.map_or(0, |s| s.load_delay_us),
            replace: false,
        };
        let began = Instant::now();
        let (loaded, end) = load::load(&env, file, Some(size), rules, &self.persistence.loading)
            .map_err(|e| Refused { offset: Some(e.offset), reason: e.what.into_owned() })?;
        self.persistence.take(loaded, began.elapsed());
        Ok(end)
    }

    fn commands(&mut self, chunk: Chunk) -> Result<Chunk, Refused> {
        self.worker.begin(self.engine.env());
        // A transaction's commands one by one: nobody else is there to see it half done.
        for step in chunk.steps() {
            for command in step.commands() {
                self.run(command.args, command.offset)?;
            }
        }
        Ok(chunk)
    }

    fn progress(&mut self, loaded: u64) {
        self.persistence.loading.bytes.store(loaded, Relaxed);
    }
}

impl Drop for Loader<'_> {
    fn drop(&mut self) {
        self.engine.close_session(&mut self.session);
    }
}
