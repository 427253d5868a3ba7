//! Fatal signals, in the log, with the way there.
//!
//! The signal handlers do more than a handler safely may. The process is lost anyway; an alarm ends it should the report
//! hang, and a second fault ends it at once.
#![allow(unsafe_code)]
use std::backtrace::Backtrace;

/// Seconds that a report may take.
const REPORT_S_MAX: u32 = 5;

const FATAL: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
];

/// Logs a report when a fatal signal comes, before it ends the process.
pub(super) fn log_fatal_signals() {
    for (signal, _) in FATAL {
        // SAFETY: `action` is plain data, zero but for what is set; the handler has the type that the flags demand.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = report as extern "C" fn(libc::c_int) as usize;
            // The default action is back when the handler runs, so a fault in it ends the process.
            action.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

extern "C" fn report(signal: libc::c_int) {
    // SAFETY: takes no memory; without a handler the alarm ends the process.
    unsafe { libc::alarm(REPORT_S_MAX) };
    let name = FATAL.iter().find(|(s, _)| *s == signal).map_or("a signal", |(_, name)| name);
    tracing::error!(
        "=== REDIS BUG REPORT START: Cut & paste starting from here ===\n\
         Tidewater {} crashed by signal: {signal} ({name})\n\
         \n------ STACK TRACE ------\n{}\n\
         === REDIS BUG REPORT END. Please report this with the lines above. ===",
        env!("CARGO_PKG_VERSION"),
        Backtrace::force_capture()
    );
    // SAFETY: the default action is in place again (SA_RESETHAND), so this ends the process with the same signal.
    unsafe { libc::raise(signal) };
}
