//! Thread priorities: background work gives way to the threads that clients wait for. Where the system does not take
//! them nothing happens: they are a matter of latency, not of correctness.
#![allow(unsafe_code)]
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The turn that a thread asks for, nanoseconds; the least that Linux grants. A thread that wakes often for little then
/// does not wait out the turn of one that computes (EEVDF's custom slices, Linux 6.12; earlier kernels take no notice).
#[cfg(target_os = "linux")]
const TURN_NS: u64 = 100_000;

/// How long a background thread works before whoever waits for its core gets it. The kernel looks only at its tick, each
/// 4 ms with CONFIG_HZ=250, whether a thread's turn is over, and a worker that has just sent a long reply is owed none: it
/// would wait for that.
const PASS_AFTER: Duration = Duration::from_micros(200);

thread_local! {
    /// When the running turn of a background thread began; the others have none.
    static TURN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lowers the calling thread's priority to `nice` (0 is normal, 19 the lowest) and asks for short turns. From here on
/// [`pass`] passes the core on.
pub fn lower(nice: i32) {
    set(nice);
    TURN.set(Some(Instant::now()));
}

/// For long loops, between two pieces of work of some microseconds: a background thread whose turn is over passes its core
/// on; others go on at once.
#[inline]
pub fn pass() {
    if let Some(began) = TURN.get()
        && began.elapsed() >= PASS_AFTER
    {
        std::thread::yield_now();
        TURN.set(Some(Instant::now()));
    }
}

/// Asks for short turns at normal priority.
pub fn short_turns() {
    set(0);
}

#[cfg(target_os = "linux")]
fn set(nice: i32) {
    /// `struct sched_attr` of sched_setattr(2), first version.
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        /// For SCHED_OTHER: the slice, nanoseconds.
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice,
        priority: 0,
        runtime: TURN_NS,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the structure has the size that it states, and the kernel only reads it; thread 0 is the caller's own.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done != 0 {
        // SAFETY: a plain system call; on Linux a priority of "who 0" is the calling thread's own.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    }
}

#[cfg(not(target_os = "linux"))]
fn set(_nice: i32) {}
