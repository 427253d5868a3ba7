//! What the operating system knows of this process.
#![allow(unsafe_code)]
use std::fs;

/// Processor time used, microseconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    pub user_us: u64,
    pub system_us: u64,
}

/// Of whom to ask for processor time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    Process,
    Children,
    Thread,
}

/// Processor time used so far; zero where the system does not tell.
#[cfg(unix)]
pub fn cpu(whose: Whose) -> Cpu {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
        #[cfg(target_os = "linux")]
        Whose::Thread => libc::RUSAGE_THREAD,
        #[cfg(not(target_os = "linux"))]
        Whose::Thread => return Cpu::default(),
    };
    // SAFETY: the structure is plain numbers, for which zeros are valid; the call fills it in and keeps no pointer.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(who, &mut usage) != 0 {
            return Cpu::default();
        }
        usage
    };
    let micros = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    Cpu { user_us: micros(usage.ru_utime), system_us: micros(usage.ru_stime) }
}

#[cfg(not(unix))]
pub fn cpu(_whose: Whose) -> Cpu {
    Cpu::default()
}

/// Resident bytes; 0 where the system does not tell.
pub fn resident_bytes() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split_ascii_whitespace().nth(1).and_then(|w| w.parse().ok()).unwrap_or(0);
    pages * page_bytes()
}

#[cfg(unix)]
fn page_bytes() -> usize {
    // SAFETY: asks for a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).unwrap_or(4096)
}

#[cfg(not(unix))]
fn page_bytes() -> usize {
    4096
}

/// The machine's memory, bytes; 0 where the system does not tell.
pub fn total_memory_bytes() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.split_ascii_whitespace().next()).and_then(|w| w.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// Writes where the calling thread is to the log, in a form that people and tools look for.
pub fn log_stack(why: &str) {
    let stack = std::backtrace::Backtrace::force_capture();
    tracing::error!("=== TIDEWATER CRASH REPORT: {why} ===\n------ STACK TRACE ------\n{stack}");
}

/// Ends the process as an access to bad memory would.
pub fn crash() -> ! {
    log_stack("DEBUG SEGFAULT");
    // SAFETY: sends this process a signal, whose handlers are made for any moment.
    unsafe {
        libc::raise(libc::SIGSEGV);
    }
    std::process::abort()
}

/// Name of the system, its release where that is easily told, and the processor: `Linux 6.1.0 x86_64`.
pub fn system() -> String {
    let read = |what: &str| fs::read_to_string(format!("/proc/sys/kernel/{what}")).unwrap_or_default();
    let (name, release) = (read("ostype"), read("osrelease"));
    let name = if name.is_empty() { std::env::consts::OS } else { name.trim() };
    let parts = [name, release.trim(), std::env::consts::ARCH];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells() {
        assert!(resident_bytes() > 100_000 && total_memory_bytes() > resident_bytes());
        let start = cpu(Whose::Process);
        let mut x = 1u64;
        while cpu(Whose::Process).user_us + cpu(Whose::Process).system_us == start.user_us + start.system_us {
            x = x.wrapping_mul(31);
        }
        assert!(x != 0 && system().split(' ').count() == 3);
    }
}
