//! Listening sockets and the acceptor.
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::sync::watch;

use super::connection::{Accepted, Socket};
use super::worker::{self, Handle};
use crate::command::Env;
use crate::server::Engine;

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
    tcp: Vec<std::net::TcpListener>,
    #[cfg(unix)]
    unix: Option<std::os::unix::net::UnixListener>,
}

impl Listeners {
    /// Binds all addresses. The error names the one that failed.
    pub fn bind(config: &NetConfig) -> Result<Self, String> {
        let mut tcp = Vec::new();
        let mut port = config.port;
        if config.tcp {
            for bind in &config.bind {
                let (optional, host) = match bind.strip_prefix('-') {
                    Some(host) => (true, host),
                    None => (false, bind.as_str()),
                };
                match listen_tcp(host, port, config.backlog) {
                    Ok(listener) => {
                        // With port 0 all addresses share the port that the first was given.
                        port = listener.local_addr().map_err(|e| e.to_string())?.port();
                        tcp.push(listener);
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
            if tcp.is_empty() {
                return Err(format!("Failed listening on port {port} (tcp), aborting."));
            }
        }
        Ok(Self {
            tcp,
            #[cfg(unix)]
            unix: listen_unix(config)?,
        })
    }

    /// The first TCP address.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.tcp.first().and_then(|l| l.local_addr().ok())
    }
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
fn listen_unix(config: &NetConfig) -> Result<Option<std::os::unix::net::UnixListener>, String> {
    let Some(path) = &config.unix_socket else { return Ok(None) };
    let failed = |e: io::Error| format!("Failed opening Unix socket: bind: {}", plain(&e));
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    if let Some(mode) = config.unix_permissions {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(Some(listener))
}

/// The running network: workers and acceptor.
pub struct Net {
    stop: watch::Sender<bool>,
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
        let thread = std::thread::Builder::new().name("acceptor".into()).spawn(move || {
            runtime.block_on(accept_all(acceptor, listeners, stopped));
        })?;
        threads.push(thread);
        Ok(Self { stop, threads, unix_socket: config.unix_socket.clone() })
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

async fn accept_all(acceptor: Arc<Acceptor>, listeners: Listeners, mut stopped: watch::Receiver<bool>) {
    let tasks = tokio::task::LocalSet::new();
    for listener in listeners.tcp {
        let acceptor = acceptor.clone();
        tasks.spawn_local(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => acceptor.tcp(stream, peer),
                    Err(_) => backoff().await,
                }
            }
        });
    }
    #[cfg(unix)]
    if let Some(listener) = listeners.unix {
        let acceptor = acceptor.clone();
        tasks.spawn_local(async move {
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
        });
    }
    drop(acceptor);
    tasks
        .run_until(async {
            let _ = stopped.wait_for(|s| *s).await;
        })
        .await;
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
