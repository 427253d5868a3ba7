//! What memory costs: the size classes of the allocators that we run on, and a counter of the bytes in use that tells
//! the same whichever of them is installed.
//!
//! The counter is on every allocation's path: no lock, no allocation of its own, no thread-local destructor. The first
//! threads (the workers are among them) each own a counter, which one writer updates without a locked instruction;
//! later ones share a few. A block freed by another thread leaves its owner's counter high and the other's low: only the
//! sum means something.
#![allow(unsafe_code)]
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The bytes that jemalloc and mimalloc hand out for a request of `n` on 64-bit systems: sixteens up to 128, then four
/// classes a doubling, whole pages above 1 MiB.
#[inline]
pub const fn size_class(n: usize) -> usize {
    if n <= 8 {
        8
    } else if n <= 128 {
        (n + 15) & !15
    } else if n <= 1 << 20 {
        let step = 1 << ((n - 1).ilog2() - 2);
        (n + step - 1) & !(step - 1)
    } else {
        n.saturating_add(4095) & !4095
    }
}

const OWNED: usize = 64;
const SHARED: usize = 16;
const UNASSIGNED: usize = usize::MAX;

/// Two cache lines, as processors fetch them in pairs.
#[repr(align(128))]
struct Shard(AtomicUsize);

/// Wrapping: one thread's frees may exceed its allocations.
static SHARDS: [Shard; OWNED + SHARED] = [const { Shard(AtomicUsize::new(0)) }; OWNED + SHARED];
static NEXT: AtomicUsize = AtomicUsize::new(0);
static INSTALLED: AtomicBool = AtomicBool::new(false);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Sum of all [`External`].
static EXTERNAL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(UNASSIGNED) };
}

/// Bytes in use, by size class; 0 when no `Counting` is installed.
pub fn used() -> usize {
    if !installed() {
        return 0;
    }
    let sum = SHARDS.iter().fold(EXTERNAL.load(Relaxed), |sum, s| sum.wrapping_add(s.0.load(Relaxed)));
    // Seen in the middle of a hand-over between threads, a small sum may be below zero.
    (sum as isize).max(0) as usize
}

/// The allocator below, as INFO and `--version` name it.
pub fn name() -> &'static str {
    if installed() && cfg!(all(feature = "jemalloc", not(target_env = "msvc"))) {
        "jemalloc-5.3.0"
    } else {
        "libc"
    }
}

/// Whether a `Counting` has served an allocation.
pub fn installed() -> bool {
    INSTALLED.load(Relaxed)
}

/// Memory of a library that allocates by itself and tells how much it holds. Counted until it is dropped.
#[derive(Debug, Default)]
pub struct External(usize);

impl External {
    pub fn set(&mut self, bytes: usize) {
        EXTERNAL.fetch_add(bytes.wrapping_sub(self.0), Relaxed);
        self.0 = bytes;
    }
}

impl Drop for External {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Records a new peak; called periodically, so that allocations need not look.
pub fn note_peak() {
    PEAK.fetch_max(used(), Relaxed);
}

/// The highest `used` that was noted.
pub fn peak() -> usize {
    PEAK.load(Relaxed).max(used())
}

/// Counts what `A` hands out.
pub struct Counting<A>(pub A);

impl<A> Counting<A> {
    pub const fn new(inner: A) -> Self {
        Counting(inner)
    }
}

// SAFETY: every call goes to `A` with the caller's own arguments and returns what `A` returned; counting neither
// allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract.
        let p = unsafe { self.0.alloc(layout) };
        if !p.is_null() {
            add(footprint(layout.size(), layout.align()));
        }
        p
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        let p = unsafe { self.0.alloc_zeroed(layout) };
        if !p.is_null() {
            add(footprint(layout.size(), layout.align()));
        }
        p
    }

    #[inline]
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { self.0.dealloc(p, layout) };
        add(footprint(layout.size(), layout.align()).wrapping_neg());
    }

    #[inline]
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `realloc`'s contract.
        let q = unsafe { self.0.realloc(p, layout, new_size) };
        if !q.is_null() {
            let (old, new) = (footprint(layout.size(), layout.align()), footprint(new_size, layout.align()));
            add(new.wrapping_sub(old));
        }
        q
    }
}

/// Both allocators round the size up to the alignment.
#[inline]
fn footprint(size: usize, align: usize) -> usize {
    size_class((size + (align - 1)) & !(align - 1))
}

#[inline]
fn add(delta: usize) {
    let i = SHARD.get();
    if i < OWNED {
        // This thread is the shard's only writer.
        let counter = &SHARDS[i].0;
        counter.store(counter.load(Relaxed).wrapping_add(delta), Relaxed);
    } else {
        add_slow(delta, i);
    }
}

#[cold]
fn add_slow(delta: usize, mut i: usize) {
    if i == UNASSIGNED {
        INSTALLED.store(true, Relaxed);
        i = NEXT.fetch_add(1, Relaxed);
        if i >= OWNED {
            i = OWNED + i % SHARED;
        }
        SHARD.set(i);
    }
    if let Some(shard) = SHARDS.get(i) {
        shard.0.fetch_add(delta, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn what_others_hold_counts_until_they_end() {
        let before = EXTERNAL.load(Relaxed);
        let mut one = External::default();
        let mut two = External::default();
        one.set(1000);
        two.set(500);
        one.set(10);
        assert_eq!(EXTERNAL.load(Relaxed), before + 510);
        drop(one);
        two.set(0);
        assert_eq!(EXTERNAL.load(Relaxed), before);
    }

    #[test]
    fn classes() {
        for (n, want) in [
            (0, 8),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (33, 48),
            (100, 112),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (255, 256),
            (257, 320),
            (1000, 1024),
            (1025, 1280),
            (5000, 5120),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, (1 << 20) + 4096),
        ] {
            assert_eq!(size_class(n), want, "{n}");
        }
        let mut last = 0;
        for n in 0..1_100_000 {
            let c = size_class(n);
            assert!(c >= n && c >= last && (!(128..=1 << 20).contains(&n) || c - n <= n / 4));
            last = c;
        }
        assert!(size_class(usize::MAX) > 1 << 60);
    }

    /// The only test that counts: the counters are the process's.
    #[test]
    fn the_sum_is_right_across_threads_and_reallocs() {
        let a = Counting::new(System);
        let start = used();
        std::thread::scope(|s| {
            for t in 0..100usize {
                let a = &a;
                s.spawn(move || {
                    let layout = Layout::from_size_align(40 + t, 8).unwrap();
                    for _ in 0..100 {
                        // SAFETY: the size is not zero; what is allocated is freed once, with its layout.
                        unsafe {
                            let p = a.alloc(layout);
                            let q = a.realloc(p, layout, 1000);
                            a.dealloc(q, Layout::from_size_align(1000, 8).unwrap());
                        }
                    }
                });
            }
        });
        assert!(installed());
        assert_eq!(used(), start);
        let layout = Layout::from_size_align(100, 64).unwrap();
        // SAFETY: as above; a block may be freed by another thread.
        unsafe {
            let p = a.alloc_zeroed(layout);
            assert_eq!(*p, 0);
            assert_eq!(used(), start + 128);
            let q = a.realloc(p, layout, 300);
            assert_eq!(used(), start + 320);
            note_peak();
            let addr = q as usize;
            std::thread::scope(|s| {
                s.spawn(|| a.dealloc(addr as *mut u8, Layout::from_size_align(300, 64).unwrap()));
            });
        }
        assert_eq!(used(), start);
        assert!(peak() >= start + 320);
    }
}
