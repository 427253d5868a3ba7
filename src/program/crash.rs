//! What is said when the process cannot go on: panics and fatal signals, in the log, with the way there.
use std::backtrace::Backtrace;

#[cfg(unix)]
pub(super) use super::fatal::log_fatal_signals;

/// Windows has none; its own error reporting tells of a fault.
#[cfg(windows)]
pub(super) fn log_fatal_signals() {}

/// Logs panics. A panic in a handler costs its connection, not the server, so this does not end the process.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        tracing::error!("A bug: {info}\n------ STACK TRACE ------\n{}", Backtrace::force_capture());
    }));
}
