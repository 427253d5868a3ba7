//! Thread priorities: background work gives way to the threads that clients wait for.
#![allow(unsafe_code)]

/// Lowers the calling thread's priority to `nice` (0 is normal, 19 the lowest). Where that is not possible nothing
/// happens: it is a matter of latency, not of correctness.
#[cfg(target_os = "linux")]
pub fn lower(nice: i32) {
    // SAFETY: a plain system call; on Linux a priority of "who 0" is the calling thread's own.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

#[cfg(not(target_os = "linux"))]
pub fn lower(_nice: i32) {}
