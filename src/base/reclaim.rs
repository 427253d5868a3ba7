//! Frees large values on a thread of its own, so that no client waits for `free`.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

/// Something to be dropped later.
pub type Garbage = Box<dyn Send>;

/// Nobody waits for memory to be freed, but it must keep up.
const RECLAIM_NICE: i32 = 10;

/// A long buffer gives about so much back to the system at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A long buffer that is freed piece by piece: for all of it at once the kernel would hold the core for milliseconds.
pub struct Long(pub Vec<u8>);

impl Drop for Long {
    fn drop(&mut self) {
        self.0.clear();
        while self.0.capacity() > PIECE_BYTES {
            // Allocators shrink large blocks in place, by steps of their own.
            self.0.shrink_to(self.0.capacity() - (self.0.capacity() / 4).max(PIECE_BYTES));
            super::priority::pass();
        }
    }
}

#[derive(Default)]
struct Counters {
    pending: AtomicUsize,
    freed: AtomicUsize,
}

/// Hands values over to be dropped in the background. The thread starts with the first one and ends with the last
/// `Reclaimer`.
pub struct Reclaimer {
    sender: Mutex<Option<Sender<(Garbage, usize)>>>,
    counters: Arc<Counters>,
    on_start: OnceLock<Arc<Start>>,
}

/// Runs first on the thread.
pub type Start = dyn Fn() + Send + Sync;

impl Default for Reclaimer {
    fn default() -> Self {
        Self { sender: Mutex::new(None), counters: Arc::default(), on_start: OnceLock::new() }
    }
}

impl Reclaimer {
    /// What the thread does first; the first call counts.
    pub fn on_start(&self, start: Box<Start>) {
        let _ = self.on_start.set(start.into());
    }

    /// Drops `garbage`, which counts as `objects` in the statistics, in the background.
    pub fn send(&self, garbage: Garbage, objects: usize) {
        self.counters.pending.fetch_add(objects, Ordering::Relaxed);
        let mut sender = self.sender.lock();
        let tx = sender.get_or_insert_with(|| {
            let (tx, rx) = channel::<(Garbage, usize)>();
            let (counters, start) = (self.counters.clone(), self.on_start.get().cloned());
            let run = move || {
                if let Some(start) = start {
                    start();
                }
                super::priority::lower(RECLAIM_NICE);
                for (garbage, objects) in rx {
                    drop(garbage);
                    counters.pending.fetch_sub(objects, Ordering::Relaxed);
                    counters.freed.fetch_add(objects, Ordering::Relaxed);
                }
            };
            // Without a thread the channel is closed, and `send` below drops in place.
            let _ = std::thread::Builder::new().name("reclaim".into()).spawn(run);
            tx
        });
        if let Err(back) = tx.send((garbage, objects)) {
            drop(back);
            self.counters.pending.fetch_sub(objects, Ordering::Relaxed);
            self.counters.freed.fetch_add(objects, Ordering::Relaxed);
        }
    }

    /// Objects handed over and not yet freed.
    pub fn pending(&self) -> usize {
        self.counters.pending.load(Ordering::Relaxed)
    }

    /// Objects freed so far.
    pub fn freed(&self) -> usize {
        self.counters.freed.load(Ordering::Relaxed)
    }

    pub fn reset_freed(&self) {
        self.counters.freed.store(0, Ordering::Relaxed);
    }
}
