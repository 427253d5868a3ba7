//! Starts and stops the real binary.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn tidewater() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewater"));
    command.stdin(Stdio::null()).env_remove("NOTIFY_SOCKET").env_remove("UPSTART_JOB");
    // Where it may leave a dump when it ends, and finds none of another test.
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let n = STARTED.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cwd-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder under target/tmp");
    command.current_dir(dir);
    command
}

/// A directory that goes with its test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("tidewater-program-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn str(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server; it dies with its test.
struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        Self::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn of(child: Child) -> Self {
        let mut server = Running { child, port: 0 };
        let mut first = String::new();
        BufReader::new(server.child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        server.port = first.trim().parse().unwrap_or_else(|_| panic!("no port but {first:?}"));
        server
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Exit code and log.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(socket: &mut TcpStream, line: &str) -> String {
    socket.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut reply = [0; 512];
    let n = socket.read(&mut reply).unwrap();
    String::from_utf8_lossy(&reply[..n]).into_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), text(&stdout) + &text(&stderr))
}

#[test]
fn serves_and_ends_on_sigterm_with_the_lines_of_redis() {
    let dir = Dir::new();
    let pidfile = dir.path("tidewater.pid");
    let args = [
        "--port",
        "0",
        "--print-port",
        "--bind",
        "127.0.0.1",
        "--dir",
        dir.str(),
        "--pidfile",
        "tidewater.pid",
    ];
    let server = Running::start(tidewater().args(args));
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "PING"), "+PONG\r\n");
    assert!(ask(&mut client, "CONFIG GET port").contains(&server.port.to_string()));
    let pid = server.child.id().to_string();
    assert_eq!(std::fs::read_to_string(&pidfile).unwrap().trim(), pid);
    server.signal("-TERM");
    let (code, log) = server.end();
    assert_eq!(code, Some(0));
    for part in [
        &format!(" PID: {pid}"),
        "Configuration loaded",
        "* Running mode=standalone, port=",
        "* Ready to accept connections tcp",
        "# Received SIGTERM scheduling shutdown...",
        "* User requested shutdown...",
        "* Removing the pid file.",
        "bye bye...",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert!(log.lines().all(|l| l.starts_with(&format!("{pid}:M "))), "{log}");
    assert!(!pidfile.exists());
}

#[test]
fn shutdown_ends_the_process() {
    let server = Running::start(tidewater().args(["--port", "0", "--print-port", "--bind", "127.0.0.1"]));
    let mut client = server.connect();
    client.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    let (code, log) = server.end();
    assert_eq!(code, Some(0));
    assert!(!log.contains("Nothing is saved"), "{log}");
}

#[test]
fn a_wrong_configuration_stops_the_start_with_its_line() {
    let dir = Dir::new();
    let file = dir.file("bad.conf", "port 0\n\nmaxmemory 1x\n");
    let (code, out) = run(tidewater().arg(&file));
    assert_eq!(code, Some(1));
    let block = "*** FATAL CONFIG FILE ERROR (Redis 7.2) ***\nReading the configuration file, at line 3\n>>> 'maxmemory 1x'\n\
                 argument must be a memory value\n";
    assert!(out.contains(block), "{out}");
    let (code, out) = run(tidewater().arg(dir.path("none.conf")));
    assert_eq!(code, Some(1));
    assert!(out.contains("can't open config file"), "{out}");
    let (code, out) = run(tidewater().args(["--port", "6379", "6380"]));
    assert_eq!(code, Some(1));
    assert!(out.contains(">>> 'port \"6379\" \"6380\"'\nwrong number of arguments"), "{out}");
}

#[test]
fn reads_configuration_from_standard_input() {
    let mut command = tidewater();
    command.args(["--print-port", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"port 0\nbind 127.0.0.1\nmaxmemory 123mb\n").unwrap();
    let server = Running::of(child);
    assert!(ask(&mut server.connect(), "CONFIG GET maxmemory").contains("128974848"));
}

#[test]
fn says_what_it_is() {
    let (code, out) = run(tidewater().arg("--version"));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("Tidewater ") && out.contains(" v=7.2."), "{out}");
    let (code, out) = run(tidewater().arg("--help"));
    assert_eq!(code, Some(0));
    assert!(out.contains("--print-port"), "{out}");
}

#[test]
fn names_of_redis_programs() {
    let dir = Dir::new();
    let link = |name: &str| {
        let path = dir.path(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tidewater"), &path).unwrap();
        path
    };
    let (code, out) = run(Command::new(link("redis-server")).arg("-v"));
    assert_eq!(code, Some(0));
    assert!(out.contains("v=7.2."), "{out}");
    for name in ["redis-check-rdb", "redis-check-aof"] {
        let (code, out) = run(Command::new(link(name)).arg(dir.path("none")));
        assert_eq!(code, Some(1));
        assert!(out.contains("Cannot open file "), "{name}: {out}");
    }
}

#[test]
fn a_daemon_logs_to_its_file_and_rewrites_its_configuration() {
    let dir = Dir::new();
    let conf = format!(
        "# mine\nport 0\nbind 127.0.0.1\ndaemonize yes\ndir {}\nlogfile log.txt\npidfile pid\n",
        dir.str()
    );
    let file = dir.file("t.conf", &conf);
    let (code, out) = run(tidewater().arg(&file).arg("--print-port"));
    assert_eq!(code, Some(0));
    let port: u16 = out.trim().parse().unwrap_or_else(|_| panic!("{out:?}"));
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = || std::fs::read_to_string(dir.path("log.txt")).unwrap_or_default();
    let pid = std::fs::read_to_string(dir.path("pid")).unwrap();
    assert!(log().contains(&format!("{}:M ", pid.trim())));
    assert_eq!(ask(&mut client, "CONFIG SET loglevel warning hz 50"), "+OK\r\n");
    assert_eq!(ask(&mut client, "CONFIG REWRITE"), "+OK\r\n");
    assert!(!log().contains("CONFIG REWRITE"), "notices are off");
    assert_eq!(ask(&mut client, "CONFIG SET loglevel notice"), "+OK\r\n");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# mine\n") && text.contains("\nhz 50\n"), "{text}");
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    until("the end", || log().contains("bye bye"));
    until("the pid file to go", || !dir.path("pid").exists());
}

#[test]
fn a_crash_leaves_a_report() {
    use std::os::unix::process::ExitStatusExt;
    let mut server = Running::start(tidewater().args(["--port", "0", "--print-port", "--bind", "127.0.0.1"]));
    server.signal("-ABRT");
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("crashed by signal: 6") && log.contains("STACK TRACE"), "{log}");
    assert_eq!(server.child.wait().unwrap().signal(), Some(6));
}

#[test]
fn the_process_follows_the_configuration() {
    let server = Running::start(tidewater().args(["--port", "0", "--print-port", "--bind", "127.0.0.1"]));
    let mut client = server.connect();
    let score = || std::fs::read_to_string(format!("/proc/{}/oom_score_adj", server.child.id())).unwrap();
    let before = score();
    assert_eq!(
        ask(&mut client, "CONFIG SET oom-score-adj absolute oom-score-adj-values \"900 1 1\""),
        "+OK\r\n"
    );
    assert_eq!(score().trim(), "900");
    assert_eq!(ask(&mut client, "CONFIG SET oom-score-adj no"), "+OK\r\n");
    assert_eq!(score(), before);
    let refused = ask(&mut client, "CONFIG SET maxclients 4000000000");
    assert!(refused.contains("not able to handle the specified number of clients"), "{refused}");
}

/// The processors that each thread of a name may use, as /proc writes them.
#[cfg(target_os = "linux")]
fn processors(pid: u32, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        // A thread may end meanwhile.
        let Ok(status) = std::fs::read_to_string(thread.unwrap().path().join("status")) else { continue };
        let line =
            |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("").trim().to_owned();
        if line("Name:").starts_with(name) {
            found.push(line("Cpus_allowed_list:"));
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[test]
fn threads_run_on_the_processors_of_their_lists() {
    let all = processors(std::process::id(), "").remove(0);
    let first = all.split([',', '-']).next().unwrap().to_owned();
    let mut command = tidewater();
    command.args(["--port", "0", "--print-port", "--workers", "2", "--server-cpulist", &first]);
    command.args(["--bgsave_cpulist", "none", "--rdb-key-save-delay", "1000000"]);
    let mut server = Running::start(&mut command);
    let pid = server.child.id();
    until("the workers' processors", || processors(pid, "worker-") == [first.clone(), first.clone()]);
    let mut socket = server.connect();
    for key in 0..100 {
        assert_eq!(ask(&mut socket, &format!("SET {key} x")), "+OK\r\n");
    }
    // A worker starts it, and still it is not bound as the workers are.
    assert_eq!(ask(&mut socket, "BGSAVE"), "+Background saving started\r\n");
    until("the snapshot's thread", || processors(pid, "snapshot") == [all.clone()]);
    // They follow the list, and without one they are where they were.
    assert_eq!(ask(&mut socket, "CONFIG SET server-cpulist \"\""), "+OK\r\n");
    assert_eq!(processors(pid, "worker-"), [all.clone(), all.clone()]);
    assert_eq!(ask(&mut socket, &format!("CONFIG SET bgsave-cpulist {first}")), "+OK\r\n");
    assert_eq!(processors(pid, "snapshot"), [first]);
    assert!(writeln!(socket, "SHUTDOWN NOSAVE").is_ok());
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("bgsave-cpulist is no list of processors and is ignored: 'none'"), "{log}");
}

/// The allocator would keep it for an hour.
#[test]
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
fn memory_purge_gives_freed_memory_back() {
    let mut command = tidewater();
    command.args(["--port", "0", "--print-port", "--save", "", "--enable-debug-command", "yes"]);
    let server = Running::start(command.env("_RJEM_MALLOC_CONF", "dirty_decay_ms:3600000"));
    let pid = server.child.id();
    let resident_mb = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() / 1024
    };
    let mut socket = server.connect();
    assert_eq!(ask(&mut socket, "DEBUG POPULATE 200000 key 200"), "+OK\r\n");
    assert_eq!(ask(&mut socket, "FLUSHALL"), "+OK\r\n");
    until("the keys to be freed", || {
        let info = ask(&mut socket, "MEMORY MALLOC-STATS");
        let used = info.lines().find_map(|line| line.strip_prefix("in use: ")).unwrap();
        used.parse::<u64>().unwrap() < 10 << 20
    });
    assert!(resident_mb() > 40, "{} MB", resident_mb());
    until("memory to go back at last", || {
        assert_eq!(ask(&mut socket, "MEMORY PURGE"), "+OK\r\n");
        resident_mb() < 30
    });
    assert!(writeln!(socket, "SHUTDOWN NOSAVE").is_ok());
}

#[test]
fn a_port_in_use_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, out) = run(tidewater().args(["--port", &port, "--bind", "127.0.0.1"]));
    assert_eq!(code, Some(1));
    assert!(out.contains("Address already in use") && out.contains("# Failed listening on port"), "{out}");
}

#[test]
fn serves_a_unix_socket_alone() {
    let dir = Dir::new();
    let path = dir.path("s");
    let mut command = tidewater();
    command.args(["--port", "0", "--unixsocket", path.to_str().unwrap(), "--unixsocketperm", "700"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Guard(child);
    // It listens before it has loaded, and says so.
    until("PONG", || {
        let Ok(mut socket) = std::os::unix::net::UnixStream::connect(&path) else { return false };
        let mut reply = [0; 7];
        let asked = socket.write_all(b"PING\r\n").and_then(|()| socket.read_exact(&mut reply));
        asked.is_ok() && &reply == b"+PONG\r\n"
    });
    assert_eq!(mode(&path), 0o700);
    assert!(Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap().success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn tells_systemd_when_it_is_ready() {
    let dir = Dir::new();
    let path = dir.path("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let args = ["--port", "0", "--print-port", "--bind", "127.0.0.1", "--supervised", "systemd"];
    let server = Running::start(tidewater().args(args).env("NOTIFY_SOCKET", &path));
    let mut message = [0; 256];
    let n = manager.recv(&mut message).unwrap();
    assert!(text(&message[..n]).contains("READY=1\n"));
    server.signal("-TERM");
    let n = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..n], b"STOPPING=1\n");
    assert_eq!(server.end().0, Some(0));
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
