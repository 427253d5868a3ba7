//! Pages that were freed, and how soon the system gets them back. With another allocator than jemalloc nothing happens:
//! resident memory is all that this is about.
#![allow(unsafe_code)]
use parking_lot::Mutex;

/// How many want it, in this process: the allocator is all servers'.
static WANTED: Mutex<usize> = Mutex::new(0);

/// While one lives, freed pages go back at once, or nearly. What a snapshot of a server adds to its memory would
/// otherwise come on top of a second's worth of freed pages.
pub struct Tight(());

impl Tight {
    pub fn begin() -> Tight {
        let mut wanted = WANTED.lock();
        *wanted += 1;
        if *wanted == 1 {
            allocator::tighten();
        }
        Tight(())
    }
}

impl Drop for Tight {
    fn drop(&mut self) {
        let mut wanted = WANTED.lock();
        *wanted -= 1;
        if *wanted == 0 {
            allocator::relax();
        }
    }
}

/// Gives all freed pages back now.
pub fn give_back() {
    allocator::give_back();
}

#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
mod allocator {
    use std::ffi::CString;
    use std::ptr;

    /// jemalloc's name for all arenas, where it takes one.
    const ALL: usize = 4096;
    /// How long a freed page is kept while memory is to stay low.
    const TIGHT_MS: isize = 50;
    /// How long it is kept otherwise, in milliseconds: what the program or its environment asked for, as arenas begin.
    const USUAL: &str = "arenas.dirty_decay_ms";

    /// Reads a value of jemalloc's.
    fn read<T: Default>(name: &str) -> Option<T> {
        let name = CString::new(name).ok()?;
        let (mut value, mut size) = (T::default(), size_of::<T>());
        let (out, none) = ((&raw mut value).cast(), ptr::null_mut());
        // SAFETY: a NUL-terminated name; the value is written only where its size is the one stated.
        let failed = unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), out, &raw mut size, none, 0) };
        (failed == 0).then_some(value)
    }

    /// Sets a value of jemalloc's; `None` just asks for what the name stands for. One that it does not know is none here.
    fn order(name: &str, value: Option<isize>) {
        let (Ok(name), mut value) = (CString::new(name), value) else { return };
        let none = ptr::null_mut();
        let (new, size) =
            value.as_mut().map_or((none, 0), |value| ((&raw mut *value).cast(), size_of::<isize>()));
        // SAFETY: a NUL-terminated name, and a value that is only read, whose size jemalloc compares with what it expects.
        unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), none, ptr::null_mut(), new, size) };
    }

    fn keep_for(ms: isize) {
        for arena in 0..read::<u32>("arenas.narenas").unwrap_or(0) {
            let name = format!("arena.{arena}.dirty_decay_ms");
            // The arena of huge blocks gives back at once, and one that is not in use has no value.
            if read::<isize>(&name).is_some_and(|now| now > 0) {
                order(&name, Some(ms));
            }
        }
    }

    /// What is asked for otherwise, if pages are kept for a time at all.
    fn usual() -> Option<isize> {
        let installed = crate::base::alloc::installed();
        installed.then(|| read::<isize>(USUAL)).flatten().filter(|ms| *ms > 0)
    }

    pub fn tighten() {
        if let Some(ms) = usual() {
            keep_for(ms.min(TIGHT_MS));
        }
    }

    pub fn relax() {
        if let Some(ms) = usual() {
            keep_for(ms);
        }
    }

    pub fn give_back() {
        if crate::base::alloc::installed() {
            order(&format!("arena.{ALL}.purge"), None);
        }
    }
}

#[cfg(not(all(feature = "jemalloc", not(target_env = "msvc"))))]
mod allocator {
    pub fn tighten() {}

    pub fn relax() {}

    pub fn give_back() {}
}
