//! The stream itself: its newest part, which grows, and the chunks behind it that some reader has yet to take.
//!
//! Hot path: appending is one copy under one lock, and wakes a reader at most once for each time that it slept.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::batch::{self, Batch};
use super::gate::Gate;

/// A piece of the stream.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The offset of its first byte.
    pub start: u64,
    pub bytes: Arc<Vec<u8>>,
}

impl Chunk {
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The growing part becomes a chunk at this size, so that memory goes back as readers pass.
const CHUNK_BYTES: usize = 1 << 20;

/// With this much waiting for a reader, whoever writes should wait: a disk that is slower than the writers must not
/// fill the memory.
const FULL_BYTES: u64 = 256 << 20;

#[derive(Default)]
struct Tail {
    growing: Vec<u8>,
    /// The offset of the growing part's first byte.
    start: u64,
    /// The database that a reader of the stream has selected by now.
    db: Option<usize>,
    chunks: VecDeque<Chunk>,
    /// What each reader has taken, by its number.
    readers: Vec<(u64, u64)>,
    next_reader: u64,
    /// A reader sleeps until this much has grown.
    sleeping: Option<usize>,
    stopped: bool,
}

impl Tail {
    fn seal(&mut self) {
        if !self.growing.is_empty() {
            // The next part will grow about as large.
            let next = Vec::with_capacity(self.growing.len().min(CHUNK_BYTES));
            let bytes = std::mem::replace(&mut self.growing, next);
            let chunk = Chunk { start: self.start, bytes: Arc::new(bytes) };
            self.start = chunk.end();
            self.chunks.push_back(chunk);
        }
    }

    /// Bytes that some reader has yet to take.
    fn waiting(&self) -> u64 {
        let passed = self.readers.iter().map(|(_, at)| *at).min();
        passed.map_or(0, |at| self.end() - at)
    }

    fn end(&self) -> u64 {
        self.start + self.growing.len() as u64
    }

    /// Drops what every reader has passed.
    fn trim(&mut self) {
        let passed = self.readers.iter().map(|(_, at)| *at).min().unwrap_or(u64::MAX);
        while self.chunks.front().is_some_and(|c| c.end() <= passed) {
            self.chunks.pop_front();
        }
        if self.readers.is_empty() {
            self.start = self.end();
            self.growing = Vec::new();
        }
    }
}

/// How long a reader waits for more.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// It sleeps on until this much is there.
    pub bytes: usize,
    /// From this instant on anything at all will do; `None`: at once.
    pub until: Option<Instant>,
    /// With nothing there at all it comes back after this.
    pub idle: Duration,
}

impl Patience {
    /// What is there is taken.
    pub const NONE: Patience = Patience { bytes: 1, until: None, idle: Duration::ZERO };
}

/// Who has so much waiting that clients should hold their writes back for a moment.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Behind {
    /// A reader of the journal.
    Reader = 1,
    /// A snapshot, with entries that writers handed over.
    Snapshot = 2,
}

/// The ordered stream of effects.
#[derive(Default)]
pub struct Journal {
    on: AtomicBool,
    /// Bits of [`Behind`].
    held: AtomicU8,
    tail: Mutex<Tail>,
    end: AtomicU64,
    arrived: Condvar,
    pub gate: Gate,
}

impl Journal {
    /// Whether anyone reads: effects are then to be stated.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether clients should hold their writes back for a moment.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) != 0
    }

    /// Has writes held back, or no longer, on account of one of those who follow them.
    pub fn hold(&self, who: Behind, on: bool) {
        let bit = who as u8;
        // It changes seldom, and is set often.
        match (self.held.load(Ordering::Relaxed) & bit != 0, on) {
            (false, true) => drop(self.held.fetch_or(bit, Ordering::Relaxed)),
            (true, false) => drop(self.held.fetch_and(!bit, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// The offset after the last byte.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Appends a batch, whose units are closed, and empties it; gives the offset after it. The caller holds the shards
    /// that the effects changed.
    pub fn append(&self, batch: &mut Batch) -> u64 {
        let (first_db, last_db) = batch.dbs();
        let mut tail = self.tail.lock();
        if !tail.readers.is_empty() {
            if tail.db != Some(first_db) {
                batch::put_select(&mut tail.growing, first_db);
            }
            tail.db = Some(last_db);
            tail.growing.extend_from_slice(batch.bytes());
            if tail.growing.len() >= CHUNK_BYTES {
                tail.seal();
                self.hold(Behind::Reader, tail.waiting() > FULL_BYTES);
            }
        }
        let end = tail.end();
        self.end.store(end, Ordering::Release);
        if tail.sleeping.is_some_and(|wanted| tail.growing.len() >= wanted || !tail.chunks.is_empty()) {
            tail.sleeping = None;
            self.arrived.notify_all();
        }
        drop(tail);
        batch.clear();
        end
    }

    /// A new reader, from the end of the stream on. Whoever needs a consistent start holds every shard.
    pub fn subscribe(self: &Arc<Self>) -> Reader {
        let mut tail = self.tail.lock();
        tail.seal();
        // It knows of no SELECT that came before.
        tail.db = None;
        let id = tail.next_reader;
        tail.next_reader += 1;
        let at = tail.end();
        tail.readers.push((id, at));
        self.on.store(true, Ordering::Release);
        Reader { journal: self.clone(), id, at }
    }

    /// Ends the current chunk, so that no chunk goes across this point, and forgets the selected database, so that what
    /// follows can be replayed by itself. Gives the offset. With every shard held this is a consistent cut.
    pub fn cut(&self) -> u64 {
        let mut tail = self.tail.lock();
        tail.seal();
        tail.db = None;
        tail.end()
    }

    /// Wakes the readers, whose `next` gives up.
    pub fn nudge(&self) {
        let mut tail = self.tail.lock();
        tail.stopped = true;
        tail.sleeping = None;
        self.arrived.notify_all();
    }

    /// Bytes that wait for a reader.
    pub fn waiting_bytes(&self) -> u64 {
        self.tail.lock().waiting()
    }
}

/// Someone who reads the stream.
pub struct Reader {
    journal: Arc<Journal>,
    id: u64,
    at: u64,
}

impl Reader {
    /// The offset up to which this reader has taken.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The next chunk, when there is enough or patience ends; `None` when there is nothing, or after a nudge. What was
    /// taken before is given up.
    pub fn next(&mut self, patience: Patience) -> Option<Chunk> {
        let journal = self.journal.clone();
        let mut tail = journal.tail.lock();
        let idle_until = Instant::now() + patience.idle;
        loop {
            let gathers_until = patience.until.filter(|until| Instant::now() < *until);
            let wanted = if gathers_until.is_some() { patience.bytes.max(1) } else { 1 };
            let old = tail.chunks.iter().any(|c| c.start >= self.at);
            if old || tail.growing.len() >= wanted || tail.stopped {
                break;
            }
            tail.sleeping = Some(wanted);
            let until = gathers_until.unwrap_or(idle_until);
            if journal.arrived.wait_until(&mut tail, until).timed_out() && gathers_until.is_none() {
                break;
            }
        }
        tail.sleeping = None;
        tail.stopped = false;
        if tail.chunks.iter().all(|c| c.start < self.at) {
            tail.seal();
        }
        let chunk = tail.chunks.iter().find(|c| c.start >= self.at).cloned()?;
        self.at = chunk.end();
        let (id, at) = (self.id, self.at);
        if let Some(reader) = tail.readers.iter_mut().find(|(i, _)| *i == id) {
            reader.1 = at;
        }
        tail.trim();
        journal.hold(Behind::Reader, tail.waiting() > FULL_BYTES);
        Some(chunk)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut tail = self.journal.tail.lock();
        tail.readers.retain(|(id, _)| *id != self.id);
        if tail.readers.is_empty() {
            self.journal.on.store(false, Ordering::Release);
        }
        self.journal.hold(Behind::Reader, false);
        tail.trim();
        let end = tail.end();
        self.journal.end.store(end, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(journal: &Journal, db: usize, words: &[&str]) -> u64 {
        let mut batch = Batch::default();
        batch.push(db, words.iter().map(|w| w.as_bytes()));
        batch.seal();
        journal.append(&mut batch)
    }

    fn text(chunk: &Chunk) -> String {
        let text = String::from_utf8(chunk.bytes.to_vec()).unwrap();
        let words = text.split("\r\n").filter(|w| !w.starts_with(['*', '$']) && !w.is_empty());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn readers_get_everything_in_order_from_where_they_came_in() {
        let journal = Arc::new(Journal::default());
        assert!(!journal.is_on());
        append(&journal, 0, &["SET", "unread", "1"]);
        assert_eq!(journal.end(), 0, "nobody reading: nothing is written");
        let mut first = journal.subscribe();
        append(&journal, 0, &["SET", "a", "1"]);
        let mut second = journal.subscribe();
        append(&journal, 2, &["SET", "b", "2"]);
        append(&journal, 2, &["SET", "c", "3"]);
        let a = first.next(Patience::NONE).unwrap();
        assert_eq!(text(&a), "SELECT 0 SET a 1");
        let b = first.next(Patience::NONE).unwrap();
        assert_eq!(text(&b), "SELECT 2 SET b 2 SET c 3");
        assert_eq!(b.start, a.end());
        assert!(first.next(Patience::NONE).is_none());
        assert_eq!(journal.waiting_bytes(), b.bytes.len() as u64, "the other one has not come by");
        assert_eq!(text(&second.next(Patience::NONE).unwrap()), "SELECT 2 SET b 2 SET c 3");
        assert_eq!(journal.waiting_bytes(), 0);
        assert_eq!(journal.end(), first.offset());
        drop((first, second));
        assert!(!journal.is_on());
    }

    #[test]
    fn no_chunk_goes_across_a_cut_and_what_follows_selects_its_database_anew() {
        let journal = Arc::new(Journal::default());
        let mut reader = journal.subscribe();
        append(&journal, 1, &["SET", "a", "1"]);
        let cut = journal.cut();
        append(&journal, 1, &["SET", "b", "1"]);
        let before = reader.next(Patience::NONE).unwrap();
        assert_eq!(before.end(), cut);
        let after = reader.next(Patience::NONE).unwrap();
        assert_eq!((after.start, text(&after).as_str()), (cut, "SELECT 1 SET b 1"));
    }

    #[test]
    fn a_sleeping_reader_is_woken_and_large_streams_come_in_chunks() {
        let journal = Arc::new(Journal::default());
        let mut reader = journal.subscribe();
        let long = Patience { idle: Duration::from_secs(60), ..Patience::NONE };
        let (n, value) = (400, "v".repeat(10_000));
        let taker = std::thread::spawn(move || {
            let mut total = 0;
            let mut at = 0;
            while total < n {
                let chunk = reader.next(long).expect("it is woken for more");
                assert_eq!(chunk.start, at, "no gap");
                at = chunk.end();
                total += text(&chunk).matches("SET").count();
            }
            at
        });
        for _ in 0..n {
            append(&journal, 0, &["SET", "k", &value]);
        }
        assert_eq!(taker.join().unwrap(), journal.end());
        assert_eq!(journal.waiting_bytes(), 0);
    }
}
