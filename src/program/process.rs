//! What a server process owes the system that started it: signals, descriptors, its pid file, its supervisor.
#![allow(unsafe_code)]
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::config::Config;
use crate::server::shutdown::{Control, Request};

/// Descriptors that are no clients: files, listeners, runtimes.
const DESCRIPTORS_RESERVED: u64 = 64;

/// The service manager that started this process.
pub(super) enum Supervisor {
    Systemd,
    Upstart,
}

impl Supervisor {
    pub(super) fn find(config: &Config) -> Option<Self> {
        let upstart = || std::env::var_os("UPSTART_JOB").map(|_| Supervisor::Upstart);
        let systemd = || std::env::var_os("NOTIFY_SOCKET").map(|_| Supervisor::Systemd);
        match config.str("supervised").as_str() {
            "auto" => upstart().or_else(systemd),
            "upstart" => upstart(),
            "systemd" => systemd(),
            _ => None,
        }
    }

    pub(super) fn ready(&self) {
        match self {
            Supervisor::Systemd => notify("STATUS=Ready to accept connections\nREADY=1\n"),
            // Upstart waits for the job to stop itself once, and continues it.
            Supervisor::Upstart => {
                // SAFETY: raise has no memory to misuse; SIGSTOP stops the process until it is continued.
                unsafe { libc::raise(libc::SIGSTOP) };
            }
        }
    }

    pub(super) fn stopping(&self) {
        if let Supervisor::Systemd = self {
            notify("STOPPING=1\n");
        }
    }
}

/// Tells systemd, as sd_notify(3) describes: a datagram to the socket that it named.
fn notify(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        let addr = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
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
    use std::os::fd::AsRawFd;
    let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") else { return };
    for fd in 0..=2 {
        // SAFETY: both are descriptors of this process; dup2 replaces the second as a whole.
        unsafe { libc::dup2(null.as_raw_fd(), fd) };
    }
}

/// Makes room for `maxclients` connections, or lowers it to what the system allows.
pub(super) fn raise_file_limit(config: &Config) {
    let maxclients = config.int("maxclients");
    let allowed = raise_descriptors(wanted(maxclients));
    if allowed < wanted(maxclients) {
        let lowered = allowed.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        tracing::warn!(
            "The system allows {allowed} open files: maxclients is lowered from {maxclients} to {lowered}. Raise the \
             limit with 'ulimit -n'."
        );
        let _ = config.set_many(&[("maxclients", lowered.to_string())]);
    }
}

/// Makes room for `maxclients` connections or refuses to.
pub(super) fn make_room(maxclients: i64) -> Result<(), String> {
    let allowed = raise_descriptors(wanted(maxclients));
    if allowed >= wanted(maxclients) {
        return Ok(());
    }
    let most = allowed.saturating_sub(DESCRIPTORS_RESERVED);
    Err(format!(
        "The operating system is not able to handle the specified number of clients, try with {most}"
    ))
}

fn wanted(maxclients: i64) -> u64 {
    u64::try_from(maxclients).unwrap_or(0).saturating_add(DESCRIPTORS_RESERVED)
}

/// Allows this process `wanted` descriptors, or as many as it can; tells how many it has.
fn raise_descriptors(wanted: u64) -> u64 {
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

/// Tells the kernel how ready it should be to end this process when memory is short.
pub(super) fn adjust_oom_score(config: &Config) -> Result<(), String> {
    const PATH: &str = "/proc/self/oom_score_adj";
    /// What it was before we touched it.
    static BASE: OnceLock<i64> = OnceLock::new();
    let base = *BASE.get_or_init(|| {
        std::fs::read_to_string(PATH).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    });
    // The first value is a primary's, which every server is for now.
    let values = config.str("oom-score-adj-values");
    let value: i64 = values.split_whitespace().next().and_then(|v| v.parse().ok()).unwrap_or(0);
    let score = match config.str("oom-score-adj").as_str() {
        "no" => base,
        "absolute" => value,
        _ => base + value,
    };
    std::fs::write(PATH, score.clamp(-1000, 1000).to_string()).map_err(|e| {
        tracing::warn!("Unable to write oom_score_adj: {e}");
        "Failed to apply new oom_score_adj configuration, check server logs.".to_owned()
    })
}

pub(super) fn write_pidfile(path: &Path) -> bool {
    match std::fs::write(path, format!("{}\n", std::process::id())) {
        Ok(()) => true,
        Err(e) => {
            tracing::debug!("Can't write the pid file {}: {e}", path.display());
            false
        }
    }
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
            let (name, directive) = match signal {
                libc::SIGINT => ("SIGINT", "shutdown-on-sigint"),
                _ => ("SIGTERM", "shutdown-on-sigterm"),
            };
            if control.is_ending() && signal == libc::SIGINT {
                tracing::warn!("You insist... exiting now.");
                std::process::exit(1);
            }
            if control.is_ending() {
                continue;
            }
            tracing::warn!("Received {name} scheduling shutdown...");
            control.request(Request::from_bits(config.int(directive)));
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(|_| ())
}
