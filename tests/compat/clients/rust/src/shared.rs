//! What the two programs share: counted checks in named groups, where the server is, and a server of one's own to restart.

use std::fmt::{Debug, Display};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

static HELD: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);

pub fn ok(holds: bool, said: impl Display) {
    assert!(holds, "{said}");
    HELD.fetch_add(1, Ordering::Relaxed);
}

pub fn equal<T: PartialEq + Debug>(got: T, wanted: T) {
    ok(got == wanted, format!("got {got:.300?}, wanted {wanted:.300?}"));
}

pub fn fails<T: Debug, E: Display>(got: Result<T, E>, text: &str) {
    match got {
        Ok(value) => panic!("got {value:?}, wanted {text}"),
        Err(error) => ok(error.to_string().contains(text), format!("{error}, wanted {text}")),
    }
}

pub fn url(query: &str) -> String {
    let of = |name| std::env::var(name).unwrap();
    format!("redis://:{}@{}:{}/0{query}", of("TIDEWATER_PASSWORD"), of("TIDEWATER_HOST"), of("TIDEWATER_PORT"))
}

/// A server that can be restarted on its port, with what it held; it ends with this value.
pub struct Own {
    child: Child,
    folder: PathBuf,
    pub port: u16,
}

impl Own {
    pub fn start() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // The working directory is the test's own and goes with it.
        let folder = std::env::current_dir().unwrap().join(format!("own-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&folder).unwrap();
        let (child, port) = Self::spawn(&folder, 0);
        Self { child, folder, port }
    }

    fn spawn(folder: &PathBuf, port: u16) -> (Child, u16) {
        let mut child = Command::new(std::env::var("TIDEWATER_BIN").unwrap())
            .args(["--port", &port.to_string(), "--print-port", "--save", "", "--requirepass", "secret", "--logfile", "log", "--dir"])
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().expect("the server's port"))
    }

    pub fn url(&self, query: &str) -> String {
        format!("redis://:secret@127.0.0.1:{}/0{query}", self.port)
    }

    pub fn stop(&mut self) {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.write_all(b"AUTH secret\r\nSHUTDOWN SAVE\r\n").unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    pub fn start_again(&mut self) {
        (self.child, self.port) = Self::spawn(&self.folder, self.port);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 20 MB with every byte in it.
pub fn big() -> Vec<u8> {
    (0..20_000_000usize).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// A stream's next item, for which neither client has a call of its own.
pub async fn next<S: futures_core::Stream>(mut stream: std::pin::Pin<&mut S>) -> Option<S::Item> {
    std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await
}

pub fn group(name: &str, run: impl FnOnce() + std::panic::UnwindSafe) {
    let before = HELD.load(Ordering::Relaxed);
    let held = std::panic::catch_unwind(run).is_ok();
    let count = HELD.load(Ordering::Relaxed) - before;
    if !held || count == 0 {
        FAILED.fetch_add(1, Ordering::Relaxed);
    }
    println!("{name}: {count}{}", if held { "" } else { ", FAILED" });
}

pub fn end() -> ! {
    println!("{} checks", HELD.load(Ordering::Relaxed));
    std::process::exit((FAILED.load(Ordering::Relaxed) > 0) as i32)
}
