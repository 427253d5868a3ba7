//! Persistence: when data goes to disk and how it comes back. The formats are `rdb`'s and `aof`'s, the files `base::disk`'s;
//! here is who does what when.
//!
//! - `snapshot` writes one consistent state as RDB while everybody goes on; `file` is where it goes.
//! - `save` is what uses it: SAVE, BGSAVE, save points, the rewrite of the append-only file, the end.
//! - `append` carries the journal into the append-only file.
//! - `load` reads a dump on all cores; `start` is what a server does with what it finds.
mod append;
mod file;
mod load;
mod save;
mod snapshot;
mod start;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Condvar, Mutex};

pub use append::Aof;
pub use load::Loading;
pub use save::{Kind, SaveError, started};
pub use start::LoadError;

use crate::aof::Layout;
use crate::base::disk::{Disk, OsDisk};
use crate::command::Env;
use crate::config::Config;
use crate::server::Engine;

/// Everything about a server's data on disk.
pub struct Persistence {
    disk: Arc<dyn Disk>,
    engine: OnceLock<Weak<Engine>>,
    jobs: Mutex<save::Jobs>,
    /// Whether anything is written without being asked for: not by an embedded server that was given no directory.
    automatic: AtomicBool,
    /// A job has ended.
    job_ended: Condvar,
    pub aof: Aof,
    /// Libraries of functions that a dump held: kept, and written back, until there is someone to run them.
    functions: Mutex<Vec<Vec<u8>>>,
    pub loading: Loading,
    pub figures: Figures,
}

/// What INFO tells.
pub struct Figures {
    pub last_save_s: AtomicU64,
    pub last_save_ok: AtomicBool,
    /// Of the last that ended, and -1 before.
    pub save_seconds: AtomicI64,
    /// Jobs ever begun in the background, where Redis counts its forks.
    pub jobs: AtomicU64,
    pub saves: AtomicU64,
    pub save_bytes: AtomicU64,
    /// The most that commands had handed over to a snapshot and that waited for it.
    pub waiting_peak: AtomicU64,
    pub rewrite_ok: AtomicBool,
    pub rewrite_seconds: AtomicI64,
    pub rewrites: AtomicU64,
    pub rewrite_failures: AtomicU64,
    pub loaded_keys: AtomicU64,
    pub loaded_expired: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            last_save_s: AtomicU64::new(0),
            last_save_ok: AtomicBool::new(true),
            save_seconds: AtomicI64::new(-1),
            jobs: AtomicU64::new(0),
            saves: AtomicU64::new(0),
            save_bytes: AtomicU64::new(0),
            waiting_peak: AtomicU64::new(0),
            rewrite_ok: AtomicBool::new(true),
            rewrite_seconds: AtomicI64::new(-1),
            rewrites: AtomicU64::new(0),
            rewrite_failures: AtomicU64::new(0),
            loaded_keys: AtomicU64::new(0),
            loaded_expired: AtomicU64::new(0),
        }
    }
}

impl Default for Persistence {
    fn default() -> Self {
        Self::new(Arc::new(OsDisk))
    }
}

impl Persistence {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            engine: OnceLock::new(),
            jobs: Mutex::default(),
            automatic: AtomicBool::new(false),
            job_ended: Condvar::new(),
            aof: Aof::default(),
            functions: Mutex::default(),
            loading: Loading::default(),
            figures: Figures::default(),
        }
    }

    /// Tells whose data this is about.
    pub fn attach(&self, engine: &Arc<Engine>) {
        let _ = self.engine.set(Arc::downgrade(engine));
        self.figures.last_save_s.store(engine.env().clock.now_ms() / 1000, Relaxed);
    }

    pub fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.get()?.upgrade()
    }
}

/// What the configuration says, read when a job begins.
struct Settings {
    dir: PathBuf,
    dump: PathBuf,
    append: Layout,
    compress: bool,
    checksum: bool,
    incremental: bool,
    /// Whether the base of an append-only file is an RDB file.
    preamble: bool,
    timestamps: bool,
    skip_modules: bool,
    load_delay_us: i64,
    /// Whether `rdb-key-save-delay` was set at the cut. Only then does the snapshot look at it again and again: one that is
    /// about to be done must not be caught by a delay meant for the next.
    save_delayed: bool,
}

impl Settings {
    /// `None`: a core without configuration, as tests have, has no files.
    fn read(env: &Env) -> Option<Self> {
        let config = env.services.find::<Config>()?;
        let dir = PathBuf::from(config.str("dir"));
        let append = Layout::new(&dir, config.str("appenddirname"), config.str("appendfilename"));
        Some(Self {
            append,
            dump: dir.join(config.str("dbfilename")),
            dir,
            compress: config.bool("rdbcompression"),
            checksum: config.bool("rdbchecksum"),
            incremental: config.bool("rdb-save-incremental-fsync"),
            preamble: config.bool("aof-use-rdb-preamble"),
            timestamps: config.bool("aof-timestamp-enabled"),
            skip_modules: config.bool("rdb-skip-module-values"),
            load_delay_us: config.int("key-load-delay"),
            save_delayed: config.int("rdb-key-save-delay") != 0,
        })
    }

    /// Where a job writes before it is done.
    fn temporary(&self, word: &str) -> PathBuf {
        self.dir.join(format!("temp-{word}-{}.rdb", std::process::id()))
    }
}
