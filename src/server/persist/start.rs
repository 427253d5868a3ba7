//! What a server does with the files that it finds: at its start, and when DEBUG RELOAD or LOADAOF ask for it.
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::load::{self, Loaded, Rules};
use super::{Persistence, Settings};
use crate::command::Env;
use crate::command::env::bar;
use crate::config::Config;
use crate::keyspace::ShardSet;
use crate::rdb::RdbError;
use crate::server::Engine;

/// Why the data could not be loaded. The files are as they were.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{path}: {error}")]
    Dump { path: String, error: RdbError },
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
        let settings = Settings::read(env);
        let _ = config;
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
            replace,
        };
        let began = Instant::now();
        self.loading.bytes_total.store(size, Relaxed);
        let (loaded, ..) = load::load(env, source, Some(size), rules, &self.loading)
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
            tracing::warn!("Done loading RDB, skipped {} empty collections", loaded.empty);
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
        let settings = Settings::read(env);
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
}
