//! Time, injected: the real clock, or a manual one that tests advance. Everything that expires, blocks or measures asks
//! its engine's `Clock`; nothing else in the crate reads the time.
//!
//! The real clock's `ticks` reads the processor's time stamp counter where that is invariant (one instruction, scaled
//! once against `Instant`), else `Instant`. Unix time follows the system's clock, and may step with it.
#![allow(unsafe_code)]
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

type OnAdvance = Arc<dyn Fn(u64) + Send + Sync>;

/// A source of time; clones tell the same.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    /// And how far it was moved on, in milliseconds.
    Real(Ticker, Arc<AtomicU64>),
    Manual(Arc<Manual>),
}

/// When the system's clock was asked last, and what it said; see [`Clock::recent_ms`].
#[derive(Clone, Copy, Default)]
pub struct Recent {
    ticks: u64,
    unix_ms: u64,
}

const RECENT_NS: u64 = 100_000;

struct Manual {
    start_ms: u64,
    elapsed_ns: AtomicU64,
    callbacks: Mutex<Vec<OnAdvance>>,
}

impl Clock {
    /// The system's time. The first call in a process takes a few milliseconds to calibrate.
    pub fn real() -> Self {
        Clock(Source::Real(*TICKER.get_or_init(Ticker::calibrate), Arc::default()))
    }

    /// A clock that stands at the first moment of 2024 (UTC) until advanced.
    pub fn manual() -> Self {
        Clock::manual_at(1_704_067_200_000)
    }

    /// A clock that stands at `start_unix_ms` until advanced.
    pub fn manual_at(start_unix_ms: u64) -> Self {
        Clock(Source::Manual(Arc::new(Manual {
            start_ms: start_unix_ms,
            elapsed_ns: AtomicU64::new(0),
            callbacks: Mutex::new(Vec::new()),
        })))
    }

    /// Unix time in milliseconds.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::Real(_, ahead) => unix().as_millis() as u64 + ahead.load(Ordering::Relaxed),
            Source::Manual(m) => m.start_ms + m.elapsed_ns.load(Ordering::Acquire) / 1_000_000,
        }
    }

    /// Unix time in milliseconds as of a tenth of one ago at most: for what asks so often that asking counts. `ticks` are
    /// those of now, `recent` what the asker keeps from one time to the next.
    #[inline]
    pub fn recent_ms(&self, ticks: u64, recent: &mut Recent) -> u64 {
        match &self.0 {
            Source::Real(_, ahead) => {
                if recent.unix_ms == 0 || ticks.wrapping_sub(recent.ticks) >= RECENT_NS {
                    *recent = Recent { ticks, unix_ms: unix().as_millis() as u64 };
                }
                recent.unix_ms + ahead.load(Ordering::Relaxed)
            }
            Source::Manual(_) => self.now_ms(),
        }
    }

    /// Unix time in microseconds.
    #[inline]
    pub fn now_us(&self) -> u64 {
        match &self.0 {
            Source::Real(_, ahead) => unix().as_micros() as u64 + ahead.load(Ordering::Relaxed) * 1000,
            Source::Manual(m) => {
                m.start_ms.saturating_mul(1000) + m.elapsed_ns.load(Ordering::Acquire) / 1000
            }
        }
    }

    /// Nanoseconds since some fixed moment, for measuring latency. On one thread it never goes back.
    #[inline]
    pub fn ticks(&self) -> u64 {
        match &self.0 {
            Source::Real(t, _) => t.read(),
            Source::Manual(m) => m.elapsed_ns.load(Ordering::Acquire),
        }
    }

    pub fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual(_))
    }

    /// Moves a manual clock on and tells its listeners, on this thread. The real clock goes on by itself, and from now on
    /// is so many whole milliseconds ahead of the system's; `ticks` is not.
    pub fn advance(&self, by: Duration) {
        let m = match &self.0 {
            Source::Manual(m) => m,
            Source::Real(_, ahead) => {
                ahead.fetch_add(u64::try_from(by.as_millis()).unwrap_or(0), Ordering::Relaxed);
                return;
            }
        };
        m.elapsed_ns.fetch_add(by.as_nanos() as u64, Ordering::AcqRel);
        // Called without the lock: a listener may register another.
        let callbacks = m.callbacks.lock().clone();
        let now = self.now_ms();
        for f in callbacks {
            f(now);
        }
    }

    /// Calls `f` with the Unix milliseconds after every `advance`. The real clock never calls.
    pub fn on_advance(&self, f: Box<dyn Fn(u64) + Send + Sync>) {
        if let Source::Manual(m) = &self.0 {
            m.callbacks.lock().push(f.into());
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_manual() { "Clock::manual" } else { "Clock::real" })
    }
}

fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

static TICKER: OnceLock<Ticker> = OnceLock::new();

#[derive(Clone, Copy)]
enum Ticker {
    #[cfg(target_arch = "x86_64")]
    Tsc {
        start: u64,
        /// Nanoseconds a tick, times 2^32.
        scale: u64,
    },
    Instant(Instant),
}

impl Ticker {
    #[cfg(target_arch = "x86_64")]
    fn calibrate() -> Self {
        if !tsc::invariant() {
            return Ticker::Instant(Instant::now());
        }
        let (t0, start) = tsc::pair();
        std::thread::sleep(Duration::from_millis(4));
        let (t1, end) = tsc::pair();
        let (ns, ticks) = ((t1 - t0).as_nanos() as u64, end.saturating_sub(start));
        // A counter under 100 MHz or over 100 GHz is no counter we know.
        if ticks < ns / 10 || ticks / 100 > ns {
            return Ticker::Instant(Instant::now());
        }
        Ticker::Tsc { start, scale: ((u128::from(ns) << 32) / u128::from(ticks)) as u64 }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn calibrate() -> Self {
        Ticker::Instant(Instant::now())
    }

    #[inline]
    fn read(&self) -> u64 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Ticker::Tsc { start, scale } => {
                // Another core's counter may be a few ticks behind.
                let ticks = tsc::read().saturating_sub(*start);
                ((u128::from(ticks) * u128::from(*scale)) >> 32) as u64
            }
            Ticker::Instant(start) => start.elapsed().as_nanos() as u64,
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod tsc {
    use std::arch::x86_64::{__cpuid, _rdtsc};
    use std::time::Instant;

    #[inline]
    pub fn read() -> u64 {
        // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
        unsafe { _rdtsc() }
    }

    /// Whether the counter runs at one rate through frequency changes and sleep.
    #[allow(unused_unsafe)] // Safe to call in newer toolchains than the oldest one we support.
    pub fn invariant() -> bool {
        // SAFETY: every x86-64 processor has the instruction; the leaf is asked for only where it exists.
        unsafe { __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0 }
    }

    /// Both clocks at one moment: of a few tries the one that the scheduler disturbed least.
    pub fn pair() -> (Instant, u64) {
        let mut best = (u64::MAX, Instant::now(), 0);
        for _ in 0..8 {
            let before = read();
            let now = Instant::now();
            let took = read().saturating_sub(before);
            if took < best.0 {
                best = (took, now, before + took / 2);
            }
        }
        (best.1, best.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_advanced() {
        let c = Clock::manual_at(1_700_000_000_000);
        let twin = c.clone();
        assert!(c.is_manual());
        assert_eq!((c.now_ms(), c.now_us(), c.ticks()), (1_700_000_000_000, 1_700_000_000_000_000, 0));
        c.advance(Duration::from_micros(1500));
        assert_eq!(twin.now_ms(), 1_700_000_000_001);
        assert_eq!(twin.now_us(), 1_700_000_000_001_500);
        assert_eq!(twin.ticks(), 1_500_000);
        // What one step leaves over is not lost.
        c.advance(Duration::from_micros(500));
        assert_eq!(c.now_ms(), 1_700_000_000_002);
    }

    #[test]
    fn listeners_hear_the_new_time() {
        let c = Clock::manual_at(5);
        let heard = Arc::new(AtomicU64::new(0));
        // Given up when it has served: the clock keeps its listeners.
        let (h, inner) = (heard.clone(), Mutex::new(Some(c.clone())));
        c.on_advance(Box::new(move |ms| {
            h.store(ms, Ordering::Relaxed);
            let inner = inner.lock().take().unwrap();
            inner.on_advance(Box::new(|_| ()));
        }));
        c.advance(Duration::from_secs(1));
        assert_eq!(heard.load(Ordering::Relaxed), 1005);
    }

    #[test]
    fn the_real_clock_keeps_pace() {
        let c = Clock::real();
        assert!(!c.is_manual());
        assert!(c.now_ms() > 1_600_000_000_000 && c.now_us() / 1000 >= c.now_ms() - 1000);
        let (i, t) = (Instant::now(), c.ticks());
        std::thread::sleep(Duration::from_millis(20));
        let (ticks, real) = (c.ticks() - t, i.elapsed().as_nanos() as u64);
        assert!(ticks >= 19_000_000 && ticks <= real + real / 100, "{ticks} ticks in {real} ns");
        let mut last = c.ticks();
        for _ in 0..1000 {
            let now = c.ticks();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_real_clock_that_was_moved_on_stays_ahead() {
        let (moved, other) = (Clock::real(), Clock::real());
        let twin = moved.clone();
        moved.advance(Duration::from_secs(1000));
        for clock in [&moved, &twin] {
            let ahead = clock.now_ms() - other.now_ms();
            assert!((999_000..1_010_000).contains(&ahead), "{ahead}");
            assert!(clock.now_us() / 1000 - other.now_ms() >= 999_000);
        }
    }
}
