//! The snapshot: one consistent state of the keyspace written, as RDB or as commands, while everybody goes on.
//!
//! The cut (`keyspace::Capture`) decides what belongs to it. Small values are serialised where they are found, by the
//! walker or by the command that is about to change them; large ones are pinned there and serialised by the walker,
//! outside of every lock. What commands hand over goes out before the walker goes on, so that little of it waits in
//! memory: the snapshot's own memory is what is on its way, not a second copy of the data.
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::file::FileSink;
use crate::aof;
use crate::aof::BaseFormat;
use crate::command::Env;
use crate::command::view::lru_clock;
use crate::journal::{Behind, Journal};
use crate::keyspace::{Capture, Keyspace, Locked};
use crate::rdb;
use crate::rdb::encode::{self, Access, Options};
use crate::value::cell::{Cell, Kind};
use crate::value::table::Table;

/// Buffers that commands write into, so that workers do not wait for each other.
const STRIPES: usize = 16;
/// A stripe's buffer goes to the walker when it has so much.
const STRIPE_BYTES: usize = 16 << 10;
/// Strings from this size on are pinned, not serialised on the spot.
const PIN_BYTES: usize = 4096;
/// Cells that the walker looks at with a shard locked: a few microseconds.
const WALK_CELLS: usize = 32;
/// The walker's own buffer goes to the file when it has so much.
const WALK_BYTES: usize = 64 << 10;
/// Leaves of a large value that are settled with its shard locked.
const SETTLE_LEAVES: usize = 4;

/// Something of the cut that has yet to go to the file.
enum Piece {
    Encoded(usize, Vec<u8>),
    Pinned(usize, Cell),
    /// A part of a database that was emptied; the cells whose era is not this one belong to the cut.
    Emptied(usize, u8, Table<Cell>),
}

/// How far a snapshot is.
#[derive(Default, Debug)]
pub struct Progress {
    pub keys: AtomicU64,
    pub keys_total: AtomicU64,
    /// Bytes that commands handed over and that wait for the walker; and the most there ever were.
    waiting: AtomicUsize,
    pub waiting_peak: AtomicUsize,
    aborted: AtomicBool,
}

impl Progress {
    /// Ends the snapshot as soon as may be; its file is void.
    pub fn abort(&self) {
        self.aborted.store(true, Relaxed);
    }

    pub fn is_aborted(&self) -> bool {
        self.aborted.load(Relaxed)
    }
}

/// What the file tells of the use of a key.
enum Tells {
    Nothing,
    /// The LRU clock at the cut.
    Idle(u32),
    Freq,
}

/// What receives the cells of a cut.
pub struct Snapshot {
    options: Options,
    pub format: BaseFormat,
    tells: Tells,
    stripes: [Mutex<(usize, Vec<u8>)>; STRIPES],
    pieces: Mutex<VecDeque<Piece>>,
    journal: Arc<Journal>,
    pub progress: Arc<Progress>,
    /// Keys and keys with a TTL by database, at the cut.
    sizes: Vec<(u64, u64)>,
    /// The lowest RDB version that can hold what was cut.
    pub version: u32,
}

impl Capture for Snapshot {
    fn take(&self, db: usize, cell: &Cell) {
        if self.progress.is_aborted() {
            return;
        }
        if is_pinned(cell) {
            let pin = pin(cell);
            let kept = kept_bytes(&pin);
            self.hand_over(Piece::Pinned(db, pin), kept);
            return;
        }
        let mut stripe = self.stripes[stripe_of_thread()].lock();
        if stripe.0 != db && !stripe.1.is_empty() {
            self.empty_stripe(&mut stripe);
        }
        stripe.0 = db;
        if stripe.1.capacity() == 0 {
            // Grown by doubling it would take up to twice as much while it waits.
            stripe.1.reserve_exact(STRIPE_BYTES + STRIPE_BYTES / 4);
        }
        let before = stripe.1.len();
        self.encode(&mut stripe.1, cell);
        self.progress.keys.fetch_add(1, Relaxed);
        self.note_waiting(stripe.1.len() - before);
        if stripe.1.len() >= STRIPE_BYTES {
            self.empty_stripe(&mut stripe);
        }
    }

    fn adopt(&self, db: usize, era: u8, table: Table<Cell>) {
        // An aborted snapshot drops it all the same, on the walker's thread.
        self.hand_over(Piece::Emptied(db, era, table), 0);
    }
}

impl Snapshot {
    /// Makes the cut; every shard is held.
    pub fn begin(
        env: &Env,
        locked: &mut Locked<'_>,
        options: Options,
        format: BaseFormat,
        progress: Arc<Progress>,
    ) -> Arc<Snapshot> {
        let databases = locked.keyspace().databases();
        let size = |db| {
            locked.parts(db).fold((0, 0), |(keys, volatile), part| {
                (keys + part.len() as u64, volatile + part.volatile_len() as u64)
            })
        };
        let sizes: Vec<_> = (0..databases).map(size).collect();
        let fields_expire =
            (0..databases).any(|db| locked.parts(db).any(|part| part.field_volatile_len() > 0));
        progress.keys_total.store(sizes.iter().map(|s| s.0).sum(), Relaxed);
        let (evicts, policy) = (env.limits.maxmemory.get() > 0, env.limits.policy());
        let snapshot = Arc::new(Snapshot {
            tells: if !evicts {
                Tells::Nothing
            } else if policy.is_lfu() {
                Tells::Freq
            } else if policy.is_lru() {
                Tells::Idle(lru_clock(env.clock.now_ms()))
            } else {
                Tells::Nothing
            },
            options,
            format,
            stripes: Default::default(),
            pieces: Mutex::default(),
            journal: env.journal.clone(),
            progress,
            sizes,
            version: if fields_expire { rdb::VERSION_FIELD_TTL } else { rdb::VERSION },
        });
        let capture: Arc<dyn Capture> = snapshot.clone();
        locked.begin_cut(&capture);
        snapshot
    }

    fn encode(&self, sink: &mut impl encode::Sink, cell: &Cell) {
        if self.format == BaseFormat::Aof {
            return aof::encode::entry(&mut |bytes| sink.put(bytes), cell);
        }
        let access = match self.tells {
            Tells::Nothing => Access::Untold,
            Tells::Idle(clock) => Access::Idle(u64::from(clock.wrapping_sub(cell.access()) & 0xff_ffff)),
            Tells::Freq => Access::Freq((cell.access() & 0xff) as u8),
        };
        encode::entry(sink, cell, access, &self.options);
    }

    fn note_waiting(&self, bytes: usize) {
        let waiting = self.progress.waiting.fetch_add(bytes, Relaxed) + bytes;
        self.progress.waiting_peak.fetch_max(waiting, Relaxed);
        // Writers that outrun the walker would have the whole data set twice in memory.
        if waiting > WAITING_BYTES {
            self.journal.hold(Behind::Snapshot, true);
        }
    }

    fn hand_over(&self, piece: Piece, bytes: usize) {
        self.pieces.lock().push_back(piece);
        if bytes > 0 {
            self.note_waiting(bytes);
        }
    }

    fn empty_stripe(&self, stripe: &mut (usize, Vec<u8>)) {
        let bytes = std::mem::take(&mut stripe.1);
        self.pieces.lock().push_back(Piece::Encoded(stripe.0, bytes));
    }

    /// Walks the keyspace and writes everything that belongs to the cut: the databases, without header and end. After
    /// an error or an abort it goes on without writing, so that the next cut finds all cells of one era.
    ///
    /// `key_delay` is waited after each key, for tests, which also change it meanwhile.
    pub fn write(
        &self,
        env: &Env,
        sink: &mut FileSink,
        key_delay: Option<&dyn Fn() -> Duration>,
    ) -> io::Result<()> {
        let mut walk = Walk {
            snapshot: self,
            keyspace: &env.keyspace,
            sink,
            db: None,
            selected: vec![false; self.sizes.len()],
            failed: None,
        };
        let mut local = Local::default();
        let most = if key_delay.is_some() { 1 } else { WALK_CELLS };
        let mut said = Instant::now();
        for shard in 0..env.keyspace.shards() as u32 {
            loop {
                let (quiet, mut found) = (walk.is_over(), false);
                let done = env.keyspace.walk_cut(shard, most, |db, cell| {
                    found = true;
                    if !quiet {
                        local.add(self, db, cell);
                    }
                });
                walk.put_local(&mut local, WALK_BYTES);
                walk.put_pieces();
                crate::base::priority::pass();
                if let Some(key_delay) = key_delay.filter(|_| found) {
                    let began = Instant::now();
                    while !walk.is_over() {
                        let left = key_delay().saturating_sub(began.elapsed());
                        if left.is_zero() {
                            break;
                        }
                        std::thread::sleep(left.min(NAP));
                    }
                }
                if done {
                    break;
                }
            }
            if said.elapsed() >= REPORT_EVERY && !walk.is_over() {
                said = Instant::now();
                self.report(walk.sink.written(), walk.sink.elapsed());
            }
        }
        walk.put_local(&mut local, 0);
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            if !stripe.1.is_empty() {
                self.empty_stripe(&mut stripe);
            }
        }
        walk.put_pieces();
        match walk.failed {
            Some(e) => Err(e),
            None if self.progress.is_aborted() => Err(io::Error::new(io::ErrorKind::Interrupted, "aborted")),
            None => Ok(()),
        }
    }

    fn report(&self, written: u64, elapsed: Duration) {
        let (keys, total) = (self.progress.keys.load(Relaxed), self.progress.keys_total.load(Relaxed));
        let seconds = elapsed.as_secs_f64().max(0.001);
        let rate = keys as f64 / seconds;
        let left = if rate > 0.0 { total.saturating_sub(keys) as f64 / rate } else { 0.0 };
        tracing::info!(
            "Snapshot: {keys} of {total} keys, {} MB, {:.0} MB/s, about {left:.0} s left",
            written >> 20,
            written as f64 / seconds / f64::from(1 << 20),
        );
    }
}

/// A delayed snapshot looks up so often, in case it is to stop.
const NAP: Duration = Duration::from_millis(5);

/// From so much on that commands have handed over and that is not written, clients hold their writes back.
const WAITING_BYTES: usize = 4 << 20;

/// How often a long snapshot says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What the walker found itself in the shard that it has just left.
#[derive(Default)]
struct Local {
    db: usize,
    bytes: Vec<u8>,
    /// In order, those of other databases than `db` and those that are pinned.
    pieces: Vec<Piece>,
    keys: u64,
}

impl Local {
    fn add(&mut self, snapshot: &Snapshot, db: usize, cell: &Cell) {
        if is_pinned(cell) {
            self.pieces.push(Piece::Pinned(db, pin(cell)));
            return;
        }
        if self.db != db && !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            self.pieces.push(Piece::Encoded(self.db, bytes));
        }
        self.db = db;
        snapshot.encode(&mut self.bytes, cell);
        self.keys += 1;
    }
}

/// The part that writes.
struct Walk<'a> {
    snapshot: &'a Snapshot,
    keyspace: &'a Keyspace,
    sink: &'a mut FileSink,
    /// The database that the file has selected.
    db: Option<usize>,
    /// Databases whose size the file has told.
    selected: Vec<bool>,
    failed: Option<io::Error>,
}

impl Walk<'_> {
    fn is_over(&self) -> bool {
        self.failed.is_some() || self.snapshot.progress.is_aborted()
    }

    /// Runs a step unless it is over, and notes a failure.
    fn step(&mut self, f: impl FnOnce(&mut Self)) {
        if self.is_over() {
            return;
        }
        f(self);
        if let Err(e) = self.sink.check() {
            self.failed = Some(e);
        }
    }

    fn select(&mut self, db: usize) {
        if self.db == Some(db) {
            return;
        }
        self.db = Some(db);
        if self.snapshot.format == BaseFormat::Aof {
            return aof::encode::select(&mut |bytes| encode::Sink::put(self.sink, bytes), db);
        }
        encode::select_db(self.sink, db as u64);
        if let (Some(told), Some((keys, volatile))) = (self.selected.get_mut(db), self.snapshot.sizes.get(db))
            && !std::mem::replace(told, true)
        {
            encode::resize_db(self.sink, *keys, *volatile);
        }
    }

    /// Writes what the walker found, once it is more than `beyond`.
    fn put_local(&mut self, local: &mut Local, beyond: usize) {
        let keys = std::mem::take(&mut local.keys);
        self.snapshot.progress.keys.fetch_add(keys, Relaxed);
        for piece in local.pieces.drain(..) {
            self.put(piece);
        }
        if local.bytes.len() > beyond {
            self.step(|walk| {
                walk.select(local.db);
                encode::Sink::put(walk.sink, &local.bytes);
            });
            local.bytes.clear();
        }
    }

    /// Writes what commands handed over.
    fn put_pieces(&mut self) {
        loop {
            let piece = self.snapshot.pieces.lock().pop_front();
            let bytes = match &piece {
                Some(Piece::Encoded(_, bytes)) => bytes.len(),
                Some(Piece::Pinned(_, cell)) => kept_bytes(cell),
                _ => 0,
            };
            let over = piece.is_none();
            piece.into_iter().for_each(|piece| self.put(piece));
            let waiting = self.snapshot.progress.waiting.fetch_sub(bytes, Relaxed) - bytes;
            // Not only after a piece: whoever handed the last one over may set it later than this cleared it.
            if waiting < WAITING_BYTES / 2 {
                self.snapshot.journal.hold(Behind::Snapshot, false);
            }
            if over {
                return;
            }
        }
    }

    fn put(&mut self, piece: Piece) {
        self.step(|walk| match &piece {
            Piece::Encoded(db, bytes) => {
                walk.select(*db);
                encode::Sink::put(walk.sink, bytes);
            }
            Piece::Pinned(db, cell) => walk.entry(*db, cell),
            Piece::Emptied(db, era, table) => {
                for cell in table.iter().filter(|cell| cell.era() != *era) {
                    walk.entry(*db, cell);
                }
            }
        });
        // Dropped here, on a thread that owns its time.
        match piece {
            Piece::Pinned(db, cell) if cell.kind().is_large() => {
                let key = cell.key().to_vec();
                drop(cell);
                self.settle(db, &key);
            }
            piece => drop(piece),
        }
    }

    /// What writers borrowed from a pin that is gone becomes theirs, and what they replaced is freed: a few leaves at a
    /// time, as it holds them up.
    fn settle(&self, db: usize, key: &[u8]) {
        let hash = self.keyspace.hash(key);
        let shard = self.keyspace.shard_of(hash);
        loop {
            let mut locked = self.keyspace.lock_shard(shard);
            if locked.db(db, hash).is_none() {
                return;
            }
            let mut cell = locked.db_mut(db, hash).get_mut(hash, key);
            let large = cell.as_mut().and_then(|cell| cell.as_large_mut());
            if large.is_none_or(|large| large.settle(SETTLE_LEAVES)) {
                return;
            }
            drop(cell);
            drop(locked);
            crate::base::priority::pass();
        }
    }

    fn entry(&mut self, db: usize, cell: &Cell) {
        self.select(db);
        self.snapshot.encode(self.sink, cell);
        self.snapshot.progress.keys.fetch_add(1, Relaxed);
    }
}

fn is_pinned(cell: &Cell) -> bool {
    cell.kind().is_large()
        || (cell.kind() == Kind::StrBig && cell.big().is_some_and(|b| b.len() >= PIN_BYTES))
}

/// What a pin keeps in memory when its key is overwritten. A collection's is shared with the key, which mostly stays; of
/// a long string some is counted, so that one alone does not hold everybody back.
fn kept_bytes(pin: &Cell) -> usize {
    match pin.kind() {
        Kind::StrBig => pin.big().map_or(0, |b| b.len().min(1 << 20)),
        _ => 0,
    }
}

/// The cell as it is now, isolated from later writes.
fn pin(cell: &Cell) -> Cell {
    let mut pin = cell.copied(cell.key());
    pin.set_expiry(cell.expire_ms().map(|ms| (ms, 0)));
    pin.set_access(cell.access());
    pin
}

/// A stripe for each thread, as far as they go.
fn stripe_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Relaxed) % STRIPES;
    }
    MINE.with(|mine| *mine)
}
