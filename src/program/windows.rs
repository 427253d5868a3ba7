//! What of a server process is Windows's way, or cannot be had there.
use std::io;
use std::sync::Arc;

use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};

use super::process;
use crate::config::Config;
use crate::server::shutdown::Control;

/// There is no Upstart.
pub(super) fn stop_until_continued() {}

/// There is no systemd.
pub(super) fn notify(_state: &str) {}

pub(super) fn daemonize() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "Windows has no daemons; take 'daemonize yes' out"))
}

/// Only daemons do.
pub(super) fn detach_output() {}

/// Sockets are not limited in number.
pub(super) fn raise_descriptors(wanted: u64) -> u64 {
    wanted
}

/// There are none.
pub(super) fn block_signals() {}

/// Turns Ctrl-C into a shutdown request as by SIGINT, and what else asks a console's program to end as by SIGTERM.
pub(super) fn watch_signals(control: Arc<Control>, config: Arc<Config>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut interrupt = ctrl_c()?;
    let (mut breaks, mut close, mut shutdown) = (ctrl_break()?, ctrl_close()?, ctrl_shutdown()?);
    drop(entered);
    let watch = move || {
        runtime.block_on(async {
            loop {
                let is_interrupt = tokio::select! {
                    _ = interrupt.recv() => true,
                    _ = breaks.recv() => false,
                    _ = close.recv() => false,
                    _ = shutdown.recv() => false,
                };
                process::end(&control, &config, is_interrupt);
            }
        })
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(|_| ())
}
