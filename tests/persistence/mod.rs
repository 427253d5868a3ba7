//! What is on disk: after kill -9, after failures of the file system, and in the hands of a real redis-server.
//!
//! Everything random comes from a seed, which is printed; `TIDEWATER_SEED` sets it.
mod crash;
mod faults;
mod real;
mod rewrite;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATIENCE: Duration = Duration::from_secs(60);

fn seed() -> u64 {
    let seed = match std::env::var("TIDEWATER_SEED") {
        Ok(text) => text.parse().expect("TIDEWATER_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64,
    };
    println!("TIDEWATER_SEED={seed}");
    seed
}

/// A directory that goes with its test, unless the test fails.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidewater-{name}-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        match std::thread::panicking() {
            true => println!("the files are kept: {}", self.0.display()),
            false => drop(std::fs::remove_dir_all(&self.0)),
        }
    }
}

/// The program as a process, in a folder; its log is there too.
struct Running {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Running {
    /// Returns when the data is loaded.
    fn start(folder: &Folder, options: &[&str]) -> Self {
        let log = folder.path().join("log.txt");
        let file = std::fs::File::create(&log).expect("a log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidewater"))
            .args(["--port", "0", "--print-port", "--bind", "127.0.0.1", "--dir"])
            .arg(folder.path())
            .args(options)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("it runs");
        let mut first = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut first).expect("it says something");
        let server = Running { child, port: first.trim().parse().unwrap_or(0), log };
        assert!(server.port != 0, "no port; the log:\n{}", server.log());
        until("loading", || {
            server.link().call(&["PING"]).unwrap_or_else(|e| panic!("{e}; the log:\n{}", server.log()))
                == b"+PONG\r\n"
        });
        server
    }

    fn link(&self) -> Link {
        Link::open(self.port).expect("it listens")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL, and gone.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its end, which was asked for.
    fn wait(mut self) {
        let status = self.child.wait().expect("it was started");
        assert!(status.success(), "{status}; the log:\n{}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A connection that may end at any moment.
struct Link {
    input: BufReader<TcpStream>,
}

impl Link {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Link { input: BufReader::with_capacity(1 << 16, stream) })
    }

    fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        push(&mut out, args);
        self.send(&out)?;
        self.reply()
    }

    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.input.get_mut().write_all(requests)
    }

    /// The bytes of the next reply, whole.
    fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        let mut left = 1;
        while left > 0 {
            let start = reply.len();
            if self.input.read_until(b'\n', &mut reply)? == 0 || !reply.ends_with(b"\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&reply[start + 1..]);
            let n: i64 = text.trim_end().parse().unwrap_or(-1);
            left -= 1;
            match reply[start] {
                b'*' => left += n.max(0),
                b'$' if n >= 0 => {
                    let from = reply.len();
                    reply.resize(from + n as usize + 2, 0);
                    self.input.read_exact(&mut reply[from..])?;
                }
                _ => {}
            }
        }
        Ok(reply)
    }

    /// The number that a reply is or holds; 0 for nil.
    fn number(&mut self, args: &[&str]) -> i64 {
        let reply = self.call(args).expect("it answers");
        let text = String::from_utf8_lossy(&reply).into_owned();
        if text == "$-1\r\n" {
            return 0;
        }
        let number = text.lines().last().and_then(|line| line.trim_start_matches(':').parse().ok());
        number.unwrap_or_else(|| panic!("no number: {text}"))
    }

    /// A field of INFO.
    fn info(&mut self, field: &str) -> String {
        let reply = self.call(&["INFO", "everything"]).expect("it answers");
        let text = String::from_utf8_lossy(&reply).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }
}

/// A request, behind others.
fn push<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
