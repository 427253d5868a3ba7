//! Puts a server's core together: the services of the upper layers, and what they hook into the layers below.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::Env;
use crate::command::client::OutputClass;
use crate::config::Config;
use crate::keyspace::Locked;
use crate::pubsub::PubSub;
use crate::server::Engine;
use crate::server::commands::server::ReplicationId;
use crate::server::engine::Setup;
use crate::server::latency::LatencyMonitor;
use crate::server::meter::Meter;
use crate::server::migrate::Links;
use crate::server::observer::Observers;
use crate::server::persist::Persistence;
use crate::server::places::{self, Place, Places};
use crate::server::rehearsal::Rehearsal;
use crate::server::slowlog::SlowLog;

/// An engine with every service wired. `setup.services` holds what the caller brings: a `Config`, if there is one,
/// rules the password, protected mode and the clients' output limits from here on.
pub fn assemble(mut setup: Setup) -> Arc<Engine> {
    let pubsub = Arc::new(PubSub::default());
    let observers = Arc::new(Observers::default());
    setup.services.add(pubsub.clone());
    setup.services.add(observers.clone());
    setup.services.add(Arc::new(SlowLog::default()));
    setup.services.add(Arc::new(LatencyMonitor::default()));
    setup.services.add(Arc::new(Meter::default()));
    setup.services.add(Arc::new(ReplicationId::default()));
    setup.services.add(Arc::new(Links::default()));
    setup.services.add(Arc::new(Rehearsal::default()));
    let places = Arc::new(Places::default());
    setup.services.add(places.clone());
    if setup.services.find::<Persistence>().is_none() {
        setup.services.add(Arc::new(Persistence::default()));
    }
    let engine = Engine::new(setup);
    let env = engine.env();
    env.service::<ReplicationId>().renew(&mut env.fork_rng());
    env.service::<Meter>().startup_bytes.store(crate::base::alloc::used(), Ordering::Relaxed);
    pubsub.attach(env);
    env.service::<Persistence>().attach(&engine);
    // It lives as long as the server.
    env.reclaimer.on_start(Box::new(move || std::mem::forget(places.take(Place::Background))));
    let _ = env.notifier.set(pubsub);
    let _ = env.observer.set(observers);
    let flushed = |env: &Env, locked: &mut Locked<'_>| env.service::<Persistence>().flushed(env, locked);
    let _ = env.flushed.set(Box::new(flushed));
    let _ = env.session_end.set(vec![Box::new(crate::pubsub::end_session)]);
    if let Some(config) = env.services.find::<Config>() {
        follow_config(config, env);
    }
    engine
}

/// Copies to `Env` what it takes from the configuration, now and after every change.
fn follow_config(config: &Config, env: &Arc<Env>) {
    let follow = |names: &[&str], apply: fn(&Config, &Env)| {
        apply(config, env);
        // The configuration is one of the environment's services: a strong reference would keep both for ever.
        let env = Arc::downgrade(env);
        let hook = move |config: &Config| {
            if let Some(env) = env.upgrade() {
                apply(config, &env);
            }
            Ok(())
        };
        config.on_change_of(names, Box::new(hook));
    };
    follow(&["requirepass"], |config, env| *env.requirepass.write() = config.bytes("requirepass"));
    follow(&["protected-mode"], |config, env| {
        env.protected_mode.store(config.bool("protected-mode"), Ordering::Relaxed);
    });
    let persistent = Arc::downgrade(env);
    config.on_change(
        "appendonly",
        Box::new(move |config: &Config| match persistent.upgrade() {
            Some(env) => env.service::<Persistence>().set_append(&env, config.bool("appendonly")),
            None => Ok(()),
        }),
    );
    follow(&["appendfsync"], |_, env| {
        if let Some(persistence) = env.services.find::<Persistence>() {
            persistence.aof.follow_policy(env);
        }
    });
    follow(&places::directives(), |config, env| env.service::<Places>().follow(config));
    follow(&["save", "stop-writes-on-bgsave-error"], |_, env| {
        if let Some(persistence) = env.services.find::<Persistence>() {
            persistence.raise_bar(env);
        }
    });
    follow(&["client-output-buffer-limit"], |config, env| {
        let classes = [OutputClass::Normal, OutputClass::Replica, OutputClass::PubSub];
        for (class, limit) in classes.into_iter().zip(config.client_output_buffer_limits()) {
            env.output_limits[class as usize].set(limit.hard_bytes, limit.soft_bytes, limit.soft_seconds);
        }
    });
}
