//! Loading a dump: one thread cuts the file into batches of entries, the others decode and insert them.
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

use crate::command::Env;
use crate::command::view::{lfu_minutes, lru_clock};
use crate::keyspace::ShardSet;
use crate::rdb::decode::{self, Decoded, Options};
use crate::rdb::read::{Batch, Checksum, Entry, Item, Reader};
use crate::rdb::{ErrorKind, RdbError, types};
use crate::value::cell::Cell;

/// A batch goes to the decoders at this size.
const BATCH_BYTES: usize = 256 << 10;
/// Batches on their way, for each decoder.
const BATCHES_WAITING: usize = 4;
/// A value with more elements, or bytes, is decoded straight from the file rather than copied first.
const LARGE_MIN: u64 = 1 << 20;
/// Entries that a decoder inserts together.
const GROUP: usize = 16;
/// No entry takes less in a file.
const KEY_BYTES_MIN: u64 = 4;
/// Empty collections that are named in the log; the others are counted.
const EMPTY_TOLD_MAX: u64 = 10;
/// Decoders at most: more would wait for the one who reads.
const DECODERS_MAX: usize = 12;

/// How to load.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Compare the checksum (`rdbchecksum`).
    pub checksum: bool,
    /// Keys that have expired are kept, as they were when an append-only file's preamble was written.
    pub keep_expired: bool,
    /// Pass over values of modules rather than fail.
    pub skip_modules: bool,
    /// `key-load-delay`, microseconds; tests slow loading down by it.
    pub key_delay_us: i64,
    /// A key that is there already is replaced, not a fault (DEBUG RELOAD MERGE).
    pub replace: bool,
}

/// How far loading is, for INFO and the log.
#[derive(Default, Debug)]
pub struct Loading {
    pub active: AtomicBool,
    pub started_ms: AtomicU64,
    pub bytes: AtomicU64,
    pub bytes_total: AtomicU64,
    pub keys: AtomicU64,
    pub keys_total: AtomicU64,
    pub expired: AtomicU64,
    pub used_at_start: AtomicU64,
}

/// What a file held besides its entries.
#[derive(Default, Debug)]
pub struct Loaded {
    pub keys: u64,
    pub expired: u64,
    /// Collections without elements, which were passed over.
    pub empty: u64,
    /// Values of modules that were passed over.
    pub skipped: u64,
    pub functions: Vec<Vec<u8>>,
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Job<'a> {
    env: &'a Env,
    rules: Rules,
    version: u32,
    now: u64,
    loading: &'a Loading,
    size: Option<u64>,
    failed: Mutex<Option<RdbError>>,
    stop: AtomicBool,
    empty: AtomicU64,
    skipped: AtomicU64,
    keys: AtomicU64,
    expired: AtomicU64,
}

/// Loads a whole dump into the keyspace. Gives what came with it, and where it ends in the source.
pub fn load<R: Read>(
    env: &Env,
    source: R,
    size: Option<u64>,
    rules: Rules,
    loading: &Loading,
) -> Result<(Loaded, u64), RdbError> {
    let mut reader = Reader::new(source, size, rules.checksum)?;
    let job = Job {
        env,
        rules,
        version: reader.version(),
        now: env.clock.now_ms(),
        loading,
        size,
        failed: Mutex::new(None),
        stop: AtomicBool::new(false),
        empty: AtomicU64::new(0),
        skipped: AtomicU64::new(0),
        keys: AtomicU64::new(0),
        expired: AtomicU64::new(0),
    };
    let decoders = std::thread::available_parallelism().map_or(1, |n| n.get()).min(DECODERS_MAX);
    let (full, waiting) = sync_channel::<Batch>(decoders * BATCHES_WAITING);
    let waiting = Mutex::new(waiting);
    let mut loaded = std::thread::scope(|scope| {
        for _ in 0..decoders {
            let (job, waiting) = (&job, &waiting);
            let work = move || job.decode_batches(waiting);
            if let Err(e) = std::thread::Builder::new().name("loader".into()).spawn_scoped(scope, work) {
                job.fail(RdbError::io(0, &e));
            }
        }
        // Owned by the closure: its end ends the decoders.
        let full = full;
        job.read(&mut reader, &full)
    })
    .map_err(|e| {
        job.failed.lock().take().filter(|_| e.is_none()).or(e).unwrap_or_else(|| RdbError::truncated(0))
    })?;
    if let Some(e) = job.failed.lock().take() {
        return Err(e);
    }
    loaded.keys = job.keys.load(Relaxed);
    loaded.expired = job.expired.load(Relaxed);
    loaded.empty = job.empty.load(Relaxed);
    loaded.skipped = job.skipped.load(Relaxed);
    Ok((loaded, reader.offset()))
}

impl Job<'_> {
    fn fail(&self, error: RdbError) {
        self.failed.lock().get_or_insert(error);
        self.stop.store(true, Relaxed);
    }

    /// Cuts the file up. `Err(None)`: a decoder has failed and says why.
    fn read<R: Read>(
        &self,
        reader: &mut Reader<R>,
        full: &SyncSender<Batch>,
    ) -> Result<Loaded, Option<RdbError>> {
        let mut loaded = Loaded::default();
        let mut db = 0;
        let mut batch = Batch::default();
        let send = |batch: &mut Batch, offset| {
            self.loading.bytes.store(offset, Relaxed);
            if !batch.is_empty() {
                // Nobody takes it only when all decoders have failed.
                let _ = full.send(std::mem::take(batch));
            }
        };
        loop {
            if self.stop.load(Relaxed) {
                return Err(None);
            }
            match reader.next_item()? {
                Item::Aux { key, value } => loaded.aux.push((key, value)),
                Item::Database(n) => {
                    db = self.database(n, reader.offset())?;
                }
                Item::Size { keys, .. } => {
                    self.loading.keys_total.fetch_add(keys, Relaxed);
                    // A hint, and no more than the file can hold.
                    let plausible = keys.min(self.size.unwrap_or(0) / KEY_BYTES_MIN);
                    self.env.keyspace.reserve(db, plausible as usize);
                }
                Item::Slot { .. } => {}
                Item::Function(code) => loaded.functions.push(code),
                Item::ModuleAux { module } if self.rules.skip_modules => {
                    tracing::warn!("Skipped what the module type '{module}' had in the file");
                }
                Item::ModuleAux { module } => {
                    let what = format!("data of the module type '{module}', which is not known here");
                    return Err(Some(RdbError::unsupported(reader.offset(), what)));
                }
                Item::Entry(entry) => {
                    if reader.peek_length()? >= LARGE_MIN {
                        let key = reader.key().to_vec();
                        if self.has_expired(&entry) {
                            self.count_expired();
                        } else if let Some(decoded) = reader
                            .take_value(&self.options())
                            .inspect_err(|e| self.tell_of(&entry, &key, e))?
                            && let Some(cell) = self.finished(&entry, &key, decoded)
                        {
                            let hash = self.env.keyspace.hash(&key);
                            self.insert(&mut vec![(db, hash, entry.offset, cell)])?;
                        }
                        continue;
                    }
                    reader.take_into(&mut batch, db as u64)?;
                    // Slowed down, progress should be seen.
                    if batch.bytes_len() >= BATCH_BYTES || self.rules.key_delay_us > 0 {
                        send(&mut batch, reader.offset());
                    }
                }
                Item::End(checksum) => {
                    if checksum == Checksum::Disabled {
                        tracing::info!("RDB file was saved with checksum disabled: no check performed.");
                    }
                    send(&mut batch, reader.offset());
                    return Ok(loaded);
                }
            }
        }
    }

    fn database(&self, n: u64, offset: u64) -> Result<usize, RdbError> {
        let databases = self.env.keyspace.databases();
        match usize::try_from(n) {
            Ok(db) if db < databases => {
                self.env.keyspace.open(db);
                Ok(db)
            }
            _ => {
                let what = format!("database {n}, but this server is configured to have {databases}");
                Err(RdbError::corrupt(offset, what))
            }
        }
    }

    fn options(&self) -> Options<'_> {
        Options {
            limits: &self.env.limits,
            seed: self.env.keyspace.seed(),
            version: self.version,
            skip_modules: self.rules.skip_modules,
        }
    }

    fn decode_batches(&self, waiting: &Mutex<Receiver<Batch>>) {
        loop {
            // The lock is held while waiting for a batch: the others wait for the lock instead.
            let batch = waiting.lock().recv();
            let Ok(batch) = batch else { return };
            // After a failure batches are only taken out of the way.
            if self.stop.load(Relaxed) {
                continue;
            }
            if let Err(e) = self.decode(&batch) {
                self.fail(e);
            }
        }
    }

    fn decode(&self, batch: &Batch) -> Result<(), RdbError> {
        let mut group = Vec::with_capacity(GROUP);
        for (db, entry, key, value) in batch.iter() {
            if self.has_expired(entry) {
                self.count_expired();
                continue;
            }
            let decoded = decode::whole_value(entry.ty, key, value, entry.offset, &self.options())
                .inspect_err(|e| self.tell_of(entry, key, e))?;
            let Some(cell) = self.finished(entry, key, decoded) else { continue };
            let hash = self.env.keyspace.hash(key);
            self.env.keyspace.prefetch(hash, true);
            group.push((db as usize, hash, entry.offset, cell));
            if group.len() == GROUP {
                self.insert(&mut group)?;
            }
        }
        self.insert(&mut group)
    }

    /// Whose value could not be read: the error itself knows the place only.
    fn tell_of(&self, entry: &Entry, key: &[u8], error: &RdbError) {
        let (key, ty) = (key.escape_ascii(), types::name(entry.ty, self.version));
        tracing::warn!("Error reading the value of the key '{key}' ({ty}): {error}");
    }

    fn has_expired(&self, entry: &Entry) -> bool {
        !self.rules.keep_expired && entry.expire_ms.is_some_and(|at| at <= self.now as i64)
    }

    fn count_expired(&self) {
        self.expired.fetch_add(1, Relaxed);
        self.loading.expired.fetch_add(1, Relaxed);
    }

    /// The cell with what belongs to it besides its value; `None` for what is passed over.
    fn finished(&self, entry: &Entry, key: &[u8], decoded: Decoded) -> Option<Cell> {
        let mut cell = match decoded {
            Decoded::Cell(cell) => cell,
            Decoded::Empty => {
                if self.empty.fetch_add(1, Relaxed) < EMPTY_TOLD_MAX {
                    tracing::info!("rdbLoadObject skipping empty key: {}", key.escape_ascii());
                }
                return None;
            }
            Decoded::Skipped(module) => {
                tracing::warn!("Skipped key '{}' of the module type '{module}'", key.escape_ascii());
                self.skipped.fetch_add(1, Relaxed);
                return None;
            }
        };
        if let Some(at) = entry.expire_ms {
            cell.set_expiry(Some((at.max(0) as u64, 0)));
        }
        self.set_access(&cell, entry);
        if self.rules.key_delay_us > 0 {
            std::thread::sleep(Duration::from_micros(self.rules.key_delay_us as u64));
        }
        Some(cell)
    }

    /// Inserts cells whose shards are locked together, so that the cache misses of their tables overlap.
    fn insert(&self, group: &mut Vec<(usize, u64, u64, Cell)>) -> Result<(), RdbError> {
        let keyspace = &self.env.keyspace;
        let mut shards = ShardSet::None;
        group.iter().for_each(|(_, hash, ..)| shards.add(keyspace.shard_of(*hash)));
        shards.seal();
        let mut locked = keyspace.lock(&shards);
        group.iter().for_each(|(db, hash, ..)| locked.prefetch(*db, *hash));
        group.iter().for_each(|(db, hash, ..)| locked.prefetch_entry(*db, *hash));
        let n = group.len() as u64;
        for (db, hash, offset, cell) in group.drain(..) {
            let part = locked.db_mut(db, hash);
            if part.get(hash, cell.key()).is_some() {
                if !self.rules.replace {
                    let what = format!("the key '{}' a second time", cell.key().escape_ascii());
                    return Err(RdbError { kind: ErrorKind::Corrupt, offset, what: what.into() });
                }
                drop(part.remove(hash, cell.key()));
            }
            part.insert(hash, cell);
        }
        self.keys.fetch_add(n, Relaxed);
        self.loading.keys.fetch_add(n, Relaxed);
        Ok(())
    }

    fn set_access(&self, cell: &Cell, entry: &Entry) {
        let lfu = self.env.limits.policy().is_lfu();
        cell.set_access(match (lfu, entry.freq, entry.idle) {
            (true, freq, _) => lfu_minutes(self.now) << 8 | u32::from(freq.unwrap_or(LFU_INIT)),
            (false, _, idle) => lru_clock(self.now.saturating_sub(idle.unwrap_or(0).saturating_mul(1000))),
        });
    }
}

/// The counter of a key whose use the file does not tell.
const LFU_INIT: u8 = 5;
