//! The `tidewater` program.
use std::sync::Arc;

use tidewater::net::{Listeners, Net, NetConfig, OpenDoor};

#[global_allocator]
static ALLOCATOR: tidewater::base::alloc::Counting<mimalloc::MiMalloc> =
    tidewater::base::alloc::Counting::new(mimalloc::MiMalloc);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let workers = value("--workers").and_then(|w| w.parse().ok()).unwrap_or(2);
    let port = value("--port").and_then(|w| w.parse().ok()).unwrap_or(6379);
    let commands = tidewater::server::all_commands();
    let engine = tidewater::server::Engine::new(tidewater::server::engine::Setup {
        clock: tidewater::base::clock::Clock::real(),
        limits: Arc::default(),
        rng: tidewater::base::rng::Rng::from_os(),
        shards: 4096,
        databases: 16,
        services: Default::default(),
        commands,
        renames: Vec::new(),
    });
    let config = NetConfig {
        bind: vec!["127.0.0.1".into()],
        port,
        tcp: true,
        backlog: 511,
        unix_socket: None,
        unix_permissions: None,
        workers,
    };
    let listeners = Listeners::bind(&config).unwrap();
    println!("Ready to accept connections on {:?}", listeners.addr());
    let _net = Net::start(engine, listeners, &config, Arc::new(OpenDoor)).unwrap();
    std::thread::park();
}
