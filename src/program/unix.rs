//! What of a server process is Unix's way: signals, descriptors, daemons, service managers.
#![allow(unsafe_code)]
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use super::process;
use crate::config::Config;
use crate::server::shutdown::Control;

/// Stops the process until it is continued.
pub(super) fn stop_until_continued() {
    // SAFETY: raise has no memory to misuse; SIGSTOP stops the process until it is continued.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Tells systemd, as sd_notify(3) describes: a datagram to the socket that it named.
pub(super) fn notify(state: &str) {
    let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        let addr = match name.strip_prefix('@') {
            #[cfg(target_os = "linux")]
            Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&name)?,
        };
        socket.send_to_addr(state.as_bytes(), &addr)
    });
    if let Err(e) = sent {
        tracing::warn!("Can't notify systemd at {name}: {e}");
    }
}

/// Goes on in a child of its own session; the parent ends. Output stays until `detach_output`, so that a wrong start
/// is heard of. Must come before any thread.
pub(super) fn daemonize() -> io::Result<()> {
    // SAFETY: no other thread exists yet, so the child has all of this process that matters.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        // SAFETY: ends the process; nothing of it needs cleaning up, which the child would do again.
        _ => unsafe { libc::_exit(0) },
    }
    // SAFETY: takes no memory. It fails only for a group's leader, which a fresh child is not.
    unsafe { libc::setsid() };
    Ok(())
}

/// Turns standard input and output into /dev/null.
pub(super) fn detach_output() {
    let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") else { return };
    for fd in 0..=2 {
        // SAFETY: both are descriptors of this process; dup2 replaces the second as a whole.
        unsafe { libc::dup2(null.as_raw_fd(), fd) };
    }
}

/// Allows this process `wanted` descriptors, or as many as it can; tells how many it has.
pub(super) fn raise_descriptors(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= wanted {
        return limit.rlim_cur.max(wanted);
    }
    let (had, allowed) = (limit.rlim_cur, limit.rlim_max);
    // More than the hard limit is for the superuser; then, all that is allowed.
    for rlim_cur in [wanted, allowed.min(wanted)] {
        let limit = libc::rlimit { rlim_cur, rlim_max: allowed.max(rlim_cur) };
        // SAFETY: `limit` is a live rlimit that the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0 {
            tracing::info!(
                "Increased maximum number of open files to {rlim_cur} (it was originally set to {had})."
            );
            return rlim_cur;
        }
    }
    had
}

fn watched_signals() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data that sigemptyset initializes before use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        set
    }
}

/// Keeps signals from every thread that is started later: one thread takes them in order. Must come before threads.
pub(super) fn block_signals() {
    let set = watched_signals();
    // SAFETY: `set` is initialized and lives through the call; ignoring a signal has no handler that could misbehave.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Turns SIGTERM and SIGINT into shutdown requests.
pub(super) fn watch_signals(control: Arc<Control>, config: Arc<Config>) -> io::Result<()> {
    let watch = move || {
        let set = watched_signals();
        loop {
            let mut signal = 0;
            // SAFETY: both point to live, initialized values of their types.
            if unsafe { libc::sigwait(&set, &mut signal) } != 0 {
                continue;
            }
            process::end(&control, &config, signal == libc::SIGINT);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(|_| ())
}
