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

    /// Those that the calling thread may use.
    #[cfg(target_os = "linux")]
    pub fn of_thread() -> io::Result<Cpus> {
        let mut cpus = Cpus::EMPTY;
        // SAFETY: the kernel writes at most as many bytes as it is told; thread 0 is the caller's own.
        let done = unsafe { libc::sched_getaffinity(0, size_of_val(&cpus.0), cpus.0.as_mut_ptr().cast()) };
        if done == 0 { Ok(cpus) } else { Err(io::Error::last_os_error()) }
    }

    /// Has the calling thread, and threads that it starts, run on these only.
    #[cfg(target_os = "linux")]
    pub fn bind(&self) -> io::Result<()> {
        // SAFETY: the kernel only reads, as many bytes as it is told; thread 0 is the caller's own.
        let done = unsafe { libc::sched_setaffinity(0, size_of_val(&self.0), self.0.as_ptr().cast()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn of_thread() -> io::Result<Cpus> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(target_os = "linux"))]
    pub fn bind(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
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
            let all = Cpus::of_thread().unwrap();
            let first = (0..CPUS_MAX).find(|at| all.0[at / 64] >> (at % 64) & 1 == 1).unwrap();
            let one = Cpus::parse(&first.to_string()).unwrap();
            one.bind().unwrap();
            assert_eq!(Cpus::of_thread().unwrap(), one);
        })
        .join()
        .unwrap();
    }
}
