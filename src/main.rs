//! The `tidewater` program.
use std::process::ExitCode;

#[cfg(not(all(feature = "jemalloc", not(target_env = "msvc"))))]
#[global_allocator]
static ALLOCATOR: tidewater::base::alloc::Counting<std::alloc::System> =
    tidewater::base::alloc::Counting::new(std::alloc::System);

#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tidewater::base::alloc::Counting<tikv_jemallocator::Jemalloc> =
    tidewater::base::alloc::Counting::new(tikv_jemallocator::Jemalloc);

/// Freed pages go back to the system after a second, so that the resident set follows what is stored.
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[allow(unsafe_code)]
// SAFETY: jemalloc reads this symbol as a NUL-terminated string; no one else defines it.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    tidewater::program::run(&args)
}
