//! Puts a server together: the services that every engine has, and who is told of what.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::env::{Env, Services};
use crate::server::commands::server::ReplicationId;
use crate::server::latency::LatencyMonitor;
use crate::server::meter::Meter;
use crate::server::observer::Watcher;
use crate::server::slowlog::SlowLog;

/// Adds the services that the server layer itself brings.
pub fn add_services(services: &mut Services) {
    services.add(Arc::new(SlowLog::default()));
    services.add(Arc::new(LatencyMonitor::default()));
    services.add(Arc::new(Meter::default()));
    services.add(Arc::new(ReplicationId::default()));
}

/// Connects what needs a finished environment.
pub fn wire(env: &Env) {
    env.service::<ReplicationId>().renew(&mut env.fork_rng());
    let _ = env.observer.set(Arc::new(Watcher));
    env.service::<Meter>().startup_bytes.store(crate::base::alloc::used(), Ordering::Relaxed);
}
