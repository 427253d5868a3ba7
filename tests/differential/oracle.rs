//! A real redis-server, started for the test and ended with it.
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What both servers are told: small thresholds, so that few commands cross them.
pub const SETTINGS: &[(&str, &str)] = &[
    ("hash-max-listpack-entries", "12"),
    ("hash-max-listpack-value", "40"),
    ("zset-max-listpack-entries", "12"),
    ("zset-max-listpack-value", "40"),
    ("set-max-intset-entries", "12"),
    ("list-max-listpack-size", "12"),
];

pub struct Oracle {
    child: Child,
    pub port: u16,
}

impl Oracle {
    /// The server that `REDIS_SERVER` names, or else the path's; `None` when there is none.
    pub fn find() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("REDIS_SERVER").filter(|n| !n.is_empty()) {
            let path = PathBuf::from(named);
            assert!(path.is_file(), "REDIS_SERVER names {path:?}, which is not there");
            return Some(path);
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join("redis-server")).find(|p| p.is_file())
    }

    pub fn start(program: PathBuf) -> Self {
        // A folder of its own: no dump of somebody else's is found there.
        let dir = std::env::temp_dir().join(format!("tidewater-oracle-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary folder");
        Self::start_in(program, &dir)
    }

    /// With its working directory, where it finds and leaves its files.
    pub fn start_in(program: PathBuf, dir: &Path) -> Self {
        Self::start_with(program, dir, &[])
    }

    /// With more options.
    pub fn start_with(program: PathBuf, dir: &Path, options: &[&str]) -> Self {
        // Another process may take a free port before the server does.
        for _ in 0..5 {
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
            let mut command = Command::new(&program);
            command.args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ]);
            for (name, value) in SETTINGS {
                command.args([&format!("--{name}"), *value]);
            }
            command.args(options);
            command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
            let mut oracle = Oracle { child: command.spawn().expect("redis-server runs"), port };
            let end = Instant::now() + Duration::from_secs(10);
            while Instant::now() < end && matches!(oracle.child.try_wait(), Ok(None)) {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return oracle;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("{program:?} does not start");
    }

    /// Whether it has ended by itself, given a moment to: its connections close before it does.
    pub fn has_ended(&mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Oracle {
    /// Waits for its end, which was asked for.
    pub fn wait(mut self) {
        let status = self.child.wait().expect("it was started");
        assert!(status.success(), "redis-server: {status}");
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
