//! Sets of processors, and threads bound to them. Where the system has no such thing a set can be read but not bound to.
#![allow(unsafe_code)]
use std::io;

/// The most that Linux's own type of a fixed size holds.
const CPUS_MAX: usize = 1024;

/// A set of processors, by their numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cpus([u64; CPUS_MAX / 64]);

impl Cpus {
    const EMPTY: Cpus = Cpus([0; CPUS_MAX / 64]);

    /// Reads what `taskset` and Redis take: numbers, ranges and ranges with a stride: `0,2-5,8-14:2`.
    pub fn parse(text: &str) -> Option<Cpus> {
        let mut cpus = Cpus::EMPTY;
        for part in text.split(',') {
            let (range, stride) =
                part.split_once(':').map_or((part, Some(1)), |(r, s)| (r, s.trim().parse().ok()));
            let stride = stride.filter(|&s: &usize| s > 0)?;
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            if first > last || last >= CPUS_MAX {
                return None;
            }
            (first..=last).step_by(stride).for_each(|at| cpus.0[at / 64] |= 1 << (at % 64));
        }
        Some(cpus)
    }

    /// Those that the process's first thread may use.
    #[cfg(target_os = "linux")]
    pub fn of_process() -> io::Result<Cpus> {
        Self::of(ThreadId(std::process::id() as libc::pid_t))
    }

    #[cfg(target_os = "linux")]
    fn of(thread: ThreadId) -> io::Result<Cpus> {
        let mut cpus = Cpus::EMPTY;
        // SAFETY: the kernel writes at most as many bytes as it is told.
        let done =
            unsafe { libc::sched_getaffinity(thread.0, size_of_val(&cpus.0), cpus.0.as_mut_ptr().cast()) };
        if done == 0 { Ok(cpus) } else { Err(io::Error::last_os_error()) }
    }

    /// Has a thread, and threads that it starts from then on, run on these only.
    #[cfg(target_os = "linux")]
    pub fn bind(&self, thread: ThreadId) -> io::Result<()> {
        // SAFETY: the kernel only reads, as many bytes as it is told.
        let done = unsafe { libc::sched_setaffinity(thread.0, size_of_val(&self.0), self.0.as_ptr().cast()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn of_process() -> io::Result<Cpus> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(target_os = "linux"))]
    pub fn bind(&self, _: ThreadId) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A thread, as the system numbers it while it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg(target_os = "linux")]
pub struct ThreadId(libc::pid_t);

/// A thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg(not(target_os = "linux"))]
pub struct ThreadId(std::thread::ThreadId);

impl ThreadId {
    #[cfg(target_os = "linux")]
    pub fn current() -> ThreadId {
        // SAFETY: it takes nothing and cannot fail.
        ThreadId(unsafe { libc::gettid() })
    }

    #[cfg(not(target_os = "linux"))]
    pub fn current() -> ThreadId {
        ThreadId(std::thread::current().id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Option<Vec<usize>> {
        let cpus = Cpus::parse(text)?;
        Some((0..CPUS_MAX).filter(|at| cpus.0[at / 64] >> (at % 64) & 1 == 1).collect())
    }

    #[test]
    fn lists() {
        assert_eq!(numbers("3"), Some(vec![3]));
        assert_eq!(numbers("0,2-5, 8-14:2"), Some(vec![0, 2, 3, 4, 5, 8, 10, 12, 14]));
        assert_eq!(numbers("63-64,1023"), Some(vec![63, 64, 1023]));
        for bad in ["", "x", "1-", "-1", "5-2", "1024", "0-9:0", "0-9:x", "1,,2", "18446744073709551616"] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_runs_where_it_is_bound() {
        std::thread::spawn(|| {
            let all = Cpus::of(ThreadId::current()).unwrap();
            let first = (0..CPUS_MAX).find(|at| all.0[at / 64] >> (at % 64) & 1 == 1).unwrap();
            let one = Cpus::parse(&first.to_string()).unwrap();
            one.bind(ThreadId::current()).unwrap();
            assert_eq!(Cpus::of(ThreadId::current()).unwrap(), one);
        })
        .join()
        .unwrap();
    }
}
