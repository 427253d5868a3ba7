//! What a server process owes the system that started it: signals, descriptors, its pid file, its supervisor.
//!
//! This file has what every system has; what each does its own way is in `unix.rs` and `windows.rs`.
use std::path::Path;
use std::sync::OnceLock;

pub(super) use os::{block_signals, daemonize, detach_output, watch_signals};

#[cfg(unix)]
use super::unix as os;
#[cfg(windows)]
use super::windows as os;
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
            Supervisor::Systemd => os::notify("STATUS=Ready to accept connections\nREADY=1\n"),
            // Upstart waits for the job to stop itself once, and continues it.
            Supervisor::Upstart => os::stop_until_continued(),
        }
    }

    pub(super) fn stopping(&self) {
        if let Supervisor::Systemd = self {
            os::notify("STOPPING=1\n");
        }
    }
}

/// Makes room for `maxclients` connections, or lowers it to what the system allows.
pub(super) fn raise_file_limit(config: &Config) {
    let maxclients = config.int("maxclients");
    let allowed = os::raise_descriptors(wanted(maxclients));
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
    let allowed = os::raise_descriptors(wanted(maxclients));
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

/// Asks the server to end, as by SIGINT or else SIGTERM. A second SIGINT ends the process at once.
pub(super) fn end(control: &Control, config: &Config, is_interrupt: bool) {
    let (name, directive) = match is_interrupt {
        true => ("SIGINT", "shutdown-on-sigint"),
        false => ("SIGTERM", "shutdown-on-sigterm"),
    };
    if control.is_ending() && is_interrupt {
        tracing::warn!("You insist... exiting now.");
        std::process::exit(1);
    }
    if control.is_ending() {
        return;
    }
    tracing::warn!("Received {name} scheduling shutdown...");
    control.request(Request::from_bits(config.int(directive)));
}
