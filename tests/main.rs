//! All integration tests, one target: it links once.
mod commands;
mod concurrency;
mod differential;
#[cfg(feature = "kafka")]
mod kafka;
mod net;
mod persistence;
mod program;
mod support;
mod tidy;

/// Counts what is in use, as the program does: `maxmemory` means nothing otherwise.
#[global_allocator]
static ALLOCATOR: tidewater::base::alloc::Counting<std::alloc::System> =
    tidewater::base::alloc::Counting::new(std::alloc::System);
