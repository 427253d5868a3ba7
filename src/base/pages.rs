//! Pages that were freed, and how soon the system gets them back. With another allocator than jemalloc nothing happens:
//! resident memory is all that this is about.
#![allow(unsafe_code)]
use parking_lot::Mutex;

/// Milliseconds; the program begins with that (`MALLOC_CONF` in `src/main.rs`): pages are mostly wanted again soon.
const USUAL: isize = 1000;
/// While memory is to stay low.
const TIGHT: isize = 50;

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
            allocator::give_back_after(TIGHT);
        }
        Tight(())
    }
}

impl Drop for Tight {
    fn drop(&mut self) {
        let mut wanted = WANTED.lock();
        *wanted -= 1;
        if *wanted == 0 {
            allocator::give_back_after(USUAL);
        }
    }
}

/// Gives all freed pages back now; false when the allocator does not take orders.
pub fn give_back() -> bool {
    allocator::give_back()
}

#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
mod allocator {
    use std::ffi::CString;
    use std::ptr;

    /// jemalloc's name for all arenas, where it takes one.
    const ALL: usize = 4096;

    /// Reads a value of jemalloc's.
    fn read<T: Default>(name: &str) -> Option<T> {
        let name = CString::new(name).ok()?;
        let (mut value, mut size) = (T::default(), size_of::<T>());
        // SAFETY: a NUL-terminated name; the value is written only where its size is the one stated.
        let failed = unsafe {
            tikv_jemalloc_sys::mallctl(
                name.as_ptr(),
                (&raw mut value).cast(),
                &raw mut size,
                ptr::null_mut(),
                0,
            )
        };
        (failed == 0).then_some(value)
    }

    pub fn give_back_after(ms: isize) {
        if !crate::base::alloc::installed() {
            return;
        }
        for arena in 0..read::<u32>("arenas.narenas").unwrap_or(0) {
            let name = format!("arena.{arena}.dirty_decay_ms");
            // The arena of huge blocks gives back at once, and one that is not in use has no value.
            if read::<isize>(&name).is_none_or(|now| now <= 0) {
                continue;
            }
            let (Ok(name), mut ms) = (CString::new(name), ms) else { continue };
            // SAFETY: a NUL-terminated name, and a value of the type that it has, which is only read.
            unsafe {
                tikv_jemalloc_sys::mallctl(
                    name.as_ptr(),
                    ptr::null_mut(),
                    ptr::null_mut(),
                    (&raw mut ms).cast(),
                    size_of::<isize>(),
                );
            }
        }
    }

    pub fn give_back() -> bool {
        if !crate::base::alloc::installed() {
            return false;
        }
        let Ok(name) = CString::new(format!("arena.{ALL}.purge")) else { return false };
        // SAFETY: a NUL-terminated name; purging takes and gives no value.
        unsafe {
            tikv_jemalloc_sys::mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0)
                == 0
        }
    }
}

#[cfg(not(all(feature = "jemalloc", not(target_env = "msvc"))))]
mod allocator {
    pub fn give_back_after(_ms: isize) {}

    pub fn give_back() -> bool {
        false
    }
}
