//! Listening sockets and the acceptor.
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::connection::{Accepted, Socket};
use super::worker::{self, Handle};
use crate::command::Env;
use crate::server::Engine;

/// There is none.
#[cfg(not(unix))]
enum UnixListener {}

/// Where to listen.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Addresses as in `bind`: a leading `-` makes a missing one no error; `*` and `::*` are any.
    pub bind: Vec<String>,
    /// 0 picks a free port.
    pub port: u16,
    /// Whether to listen on TCP at all.
    pub tcp: bool,
    pub backlog: i32,
    pub unix_socket: Option<String>,
    pub unix_permissions: Option<u32>,
    pub workers: usize,
}

/// Bound sockets.
pub struct Listeners {
    tcp: Vec<Tcp>,
    unix: Option<UnixListener>,
}

/// A TCP listener and what `bind` and `port` called it.
struct Tcp {
    host: String,
    port: u16,
    socket: std::net::TcpListener,
}

impl Listeners {
    /// Binds all addresses. The error names the one that failed.
    pub fn bind(config: &NetConfig) -> Result<Self, String> {
        Ok(Self { tcp: bind_tcp(config, &[])?, unix: listen_unix(config)? })
    }

    /// The first TCP address.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.tcp.first().and_then(|l| l.socket.local_addr().ok())
    }

    /// Whether there is nothing to listen on.
    pub fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.unix.is_none()
    }
}

/// Binds the TCP addresses that `have` does not name already.
fn bind_tcp(config: &NetConfig, have: &[(String, u16)]) -> Result<Vec<Tcp>, String> {
    let mut tcp = Vec::new();
    let mut port = config.port;
    if !config.tcp {
        return Ok(tcp);
    }
    for bind in &config.bind {
        let (optional, host) = match bind.strip_prefix('-') {
            Some(host) => (true, host),
            None => (false, bind.as_str()),
        };
        if have.iter().any(|(h, p)| h == host && *p == port) {
            continue;
        }
        match listen_tcp(host, port, config.backlog) {
            Ok(socket) => {
                // With port 0 all addresses share the port that the first was given.
                port = socket.local_addr().map_err(|e| e.to_string())?.port();
                tcp.push(Tcp { host: host.to_owned(), port, socket });
            }
            Err(e) if optional && e.kind() != io::ErrorKind::AddrInUse => {}
            Err(e) => {
                return Err(format!(
                    "Could not create server TCP listening socket {host}:{port}: bind: {}",
                    plain(&e)
                ));
            }
        }
    }
    Ok(tcp)
}

/// An I/O error in the words of `strerror`, as Redis logs it.
fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn listen_tcp(host: &str, port: u16, backlog: i32) -> io::Result<std::net::TcpListener> {
    let addr: SocketAddr = match host {
        "*" => SocketAddr::from(([0, 0, 0, 0], port)),
        "::*" => SocketAddr::from(([0u16; 8], port)),
        host => (host, port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?,
    };
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(unix)]
fn listen_unix(config: &NetConfig) -> Result<Option<UnixListener>, String> {
    let Some(path) = &config.unix_socket else { return Ok(None) };
    let failed = |e: io::Error| format!("Failed opening Unix socket: bind: {}", plain(&e));
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    if let Some(mode) = config.unix_permissions {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(Some(listener))
}

#[cfg(not(unix))]
fn listen_unix(config: &NetConfig) -> Result<Option<UnixListener>, String> {
    match config.unix_socket {
        Some(_) => Err("Failed opening Unix socket: this system has none; take 'unixsocket' out".into()),
        None => Ok(None),
    }
}

/// What the acceptor is told to change.
enum Change {
    Add(Vec<Tcp>),
    /// Stop listening on these hosts and ports.
    Remove(Vec<(String, u16)>, std::sync::mpsc::Sender<()>),
}

/// The running network: workers and acceptor.
pub struct Net {
    stop: watch::Sender<bool>,
    changes: UnboundedSender<Change>,
    /// Hosts and ports that the acceptor listens on, optional ones that could not be bound left out.
    bound: Mutex<Vec<(String, u16)>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    unix_socket: Option<String>,
}

/// What the acceptor asks before it lets a client in.
pub trait Doorman: Send + Sync {
    /// The refusal to send, or whether the client needs no password.
    fn admit(&self, peer: Option<SocketAddr>) -> Result<bool, &'static str>;
}

/// Lets everyone in.
pub struct OpenDoor;

impl Doorman for OpenDoor {
    fn admit(&self, _: Option<SocketAddr>) -> Result<bool, &'static str> {
        Ok(true)
    }
}

/// Asks for the password, and turns clients from other machines away while protected mode is on and there is none.
pub struct GuardedDoor {
    env: Arc<Env>,
}

impl GuardedDoor {
    pub fn new(env: Arc<Env>) -> Self {
        Self { env }
    }
}

const DENIED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is \
    set for the default user. In this mode connections are only accepted from the loopback interface. To accept \
    others, do one of these: 1) set a password for the default user; 2) send CONFIG SET protected-mode no from the \
    server's own machine, and CONFIG REWRITE to keep it so, once you are sure that nobody on the internet can reach \
    the server; 3) set protected-mode to no in the configuration file, or start the server with --protected-mode no.\r\n";

impl Doorman for GuardedDoor {
    fn admit(&self, peer: Option<SocketAddr>) -> Result<bool, &'static str> {
        let open = self.env.requirepass.read().is_empty();
        let local = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        if open && !local && self.env.protected_mode.load(Ordering::Relaxed) {
            return Err(DENIED);
        }
        Ok(open)
    }
}

impl Net {
    /// Starts the workers and the acceptor.
    pub fn start(
        engine: Arc<Engine>,
        listeners: Listeners,
        config: &NetConfig,
        doorman: Arc<dyn Doorman>,
    ) -> io::Result<Self> {
        let mut handles = Vec::new();
        let mut threads = Vec::new();
        for i in 0..config.workers.max(1) {
            let (handle, thread) = worker::start(engine.clone(), i)?;
            handles.push(handle);
            threads.push(thread);
        }
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let acceptor = Arc::new(Acceptor { engine, handles, doorman });
        let (changes, changed) = unbounded_channel();
        let bound = Mutex::new(names(&listeners.tcp));
        let thread = std::thread::Builder::new().name("acceptor".into()).spawn(move || {
            runtime.block_on(accept_all(acceptor, listeners, stopped, changed));
        })?;
        threads.push(thread);
        Ok(Self { stop, changes, bound, threads, unix_socket: config.unix_socket.clone() })
    }

    /// Listens on the TCP addresses of `config` and no others; connections stay. On an error everything is as it was.
    pub fn rebind(&self, config: &NetConfig) -> Result<(), String> {
        let mut bound = self.bound.lock();
        let wanted = |(host, port): &(String, u16)| {
            config.tcp
                && *port == config.port
                && config.bind.iter().any(|b| b.strip_prefix('-').unwrap_or(b) == host)
        };
        let (keep, leave): (Vec<_>, Vec<_>) = bound.iter().cloned().partition(wanted);
        match bind_tcp(config, &keep) {
            Ok(added) => {
                let names = names(&added);
                let _ = self.changes.send(Change::Add(added));
                self.remove(leave);
                *bound = keep.into_iter().chain(names).collect();
                return Ok(());
            }
            Err(e) if leave.iter().all(|(_, port)| *port != config.port) => return Err(e),
            // What is to be left may overlap what is new: once more without it.
            Err(_) => self.remove(leave.clone()),
        }
        let result = bind_tcp(config, &keep);
        let (added, result) = match result {
            Ok(added) => (added, Ok(())),
            Err(e) => (leave.iter().filter_map(|name| listen_again(name, config.backlog)).collect(), Err(e)),
        };
        *bound = keep.into_iter().chain(names(&added)).collect();
        let _ = self.changes.send(Change::Add(added));
        result
    }

    /// Returns when the sockets are closed.
    fn remove(&self, hosts: Vec<(String, u16)>) {
        let (done, closed) = std::sync::mpsc::channel();
        if !hosts.is_empty() && self.changes.send(Change::Remove(hosts, done)).is_ok() {
            let _ = closed.recv();
        }
    }

    /// Stops accepting, closes every connection and waits for the threads.
    pub fn shut_down(&mut self) {
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some(path) = self.unix_socket.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.shut_down();
    }
}

struct Acceptor {
    engine: Arc<Engine>,
    handles: Vec<Handle>,
    doorman: Arc<dyn Doorman>,
}

fn names(tcp: &[Tcp]) -> Vec<(String, u16)> {
    tcp.iter().map(|l| (l.host.clone(), l.port)).collect()
}

fn listen_again((host, port): &(String, u16), backlog: i32) -> Option<Tcp> {
    let socket = listen_tcp(host, *port, backlog).ok()?;
    Some(Tcp { host: host.clone(), port: *port, socket })
}

async fn accept_all(
    acceptor: Arc<Acceptor>,
    listeners: Listeners,
    mut stopped: watch::Receiver<bool>,
    mut changes: UnboundedReceiver<Change>,
) {
    let tasks = tokio::task::LocalSet::new();
    let mut tcp = Vec::new();
    if let Some(listener) = listeners.unix {
        tasks.spawn_local(accept_unix(acceptor.clone(), listener));
    }
    let add = |listener: Tcp| {
        let name = (listener.host, listener.port);
        (name, tasks.spawn_local(accept_tcp(acceptor.clone(), listener.socket)))
    };
    tcp.extend(listeners.tcp.into_iter().map(add));
    tasks
        .run_until(async {
            loop {
                let change = tokio::select! {
                    _ = stopped.wait_for(|s| *s) => return,
                    change = changes.recv() => change,
                };
                match change {
                    None => return,
                    Some(Change::Add(more)) => tcp.extend(more.into_iter().map(add)),
                    Some(Change::Remove(names, done)) => {
                        for (_, task) in tcp.extract_if(.., |(name, _)| names.contains(name)) {
                            task.abort();
                            // The socket is closed when the task is gone.
                            let _ = task.await;
                        }
                        let _ = done.send(());
                    }
                }
            }
        })
        .await;
}

async fn accept_tcp(acceptor: Arc<Acceptor>, listener: std::net::TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => acceptor.tcp(stream, peer),
            Err(_) => backoff().await,
        }
    }
}

#[cfg(unix)]
async fn accept_unix(acceptor: Arc<Acceptor>, listener: UnixListener) {
    let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
    let path = listener
        .local_addr()
        .ok()
        .and_then(|a| a.as_pathname().map(|p| p.display().to_string()))
        .unwrap_or_default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => acceptor.unix(stream, &path),
            Err(_) => backoff().await,
        }
    }
}

#[cfg(not(unix))]
async fn accept_unix(_: Arc<Acceptor>, listener: UnixListener) {
    match listener {}
}

/// Accepting fails when descriptors run out: try again when some may have been closed.
async fn backoff() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

impl Acceptor {
    fn tcp(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let Ok(stream) = stream.into_std() else { return };
        let _ = stream.set_nodelay(true);
        let keepalive_s = self.engine.env().limits.tcp_keepalive_s.get();
        if keepalive_s > 0 {
            let every = Duration::from_secs((keepalive_s / 3).max(1));
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(keepalive_s))
                .with_interval(every)
                .with_retries(3);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        }
        let laddr = stream.local_addr().map(|a| a.to_string()).unwrap_or_default();
        let fd = descriptor(&stream);
        self.hand_over(Socket::Tcp(stream), Some(peer), peer.to_string(), laddr, fd);
    }

    #[cfg(unix)]
    fn unix(&self, stream: tokio::net::UnixStream, path: &str) {
        let Ok(stream) = stream.into_std() else { return };
        let fd = descriptor(&stream);
        self.hand_over(Socket::Unix(stream), None, format!("{path}:0"), format!("{path}:0"), fd);
    }

    fn hand_over(&self, socket: Socket, peer: Option<SocketAddr>, addr: String, laddr: String, fd: i64) {
        let env = self.engine.env();
        env.stats.connections.fetch_add(1, Ordering::Relaxed);
        let open: usize = self.handles.iter().map(|h| h.load.load(Ordering::Relaxed)).sum();
        let full = open >= env.limits.maxclients.get();
        let admitted =
            if full { Err("-ERR max number of clients reached\r\n") } else { self.doorman.admit(peer) };
        let authenticated = match admitted {
            Ok(authenticated) => authenticated,
            Err(refusal) => {
                env.stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
                refuse(socket, refusal);
                return;
            }
        };
        let Some(least) = self.handles.iter().min_by_key(|h| h.load.load(Ordering::Relaxed)) else { return };
        let id = env.clients.next_id();
        least.give(Accepted { socket, addr, laddr, fd, id, authenticated });
    }
}

/// Tells the reason as far as the socket takes it, and closes.
fn refuse(socket: Socket, refusal: &str) {
    use std::io::Write;
    match socket {
        Socket::Tcp(mut s) => {
            let _ = s.write(refusal.as_bytes());
        }
        #[cfg(unix)]
        Socket::Unix(mut s) => {
            let _ = s.write(refusal.as_bytes());
        }
    }
}

#[cfg(unix)]
fn descriptor(socket: &impl std::os::fd::AsRawFd) -> i64 {
    i64::from(socket.as_raw_fd())
}

#[cfg(not(unix))]
fn descriptor<T>(_: &T) -> i64 {
    -1
}
