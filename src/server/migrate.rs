//! Connections to other servers, over which MIGRATE sends keys. Those not in use are kept for a while, as reshards move
//! keys by the thousand to the same few servers.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Connections kept, and for how long.
const IDLE_MAX: usize = 64;
const IDLE_FOR: Duration = Duration::from_secs(10);
/// Requests gather up to so many bytes before they are sent.
const SEND_BYTES: usize = 64 << 10;
/// The longest line that a target may answer.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// Where keys go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
}

/// A connection to a target.
pub struct Link {
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
    /// The database that is selected there, when that is known.
    pub db: Option<i64>,
    /// It has served before, so its target may have closed it meanwhile.
    pub reused: bool,
}

struct Idle {
    target: Target,
    link: Link,
    since: Instant,
}

/// The connections that are not in use.
#[derive(Default)]
pub struct Links {
    idle: Mutex<Vec<Idle>>,
}

impl Links {
    /// A connection kept for the target, or a new one.
    pub fn take(&self, target: &Target, timeout: Duration) -> io::Result<Link> {
        let kept = {
            let mut idle = self.idle.lock();
            let at = idle.iter().rposition(|i| i.target == *target);
            at.map(|at| idle.remove(at).link)
        };
        let mut link = match kept {
            Some(link) => link,
            None => Link::connect(target, timeout)?,
        };
        let stream = link.stream.get_mut();
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(link)
    }

    /// Keeps a connection on which nothing is outstanding.
    pub fn keep(&self, target: Target, mut link: Link) {
        link.reused = true;
        let mut idle = self.idle.lock();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(Idle { target, link, since: Instant::now() });
    }

    /// Forgets the connections to a target: one of them turned out to be closed.
    pub fn forget(&self, target: &Target) {
        self.idle.lock().retain(|i| i.target != *target);
    }

    /// Closes what has not been used for long.
    pub fn close_idle(&self) {
        self.idle.lock().retain(|i| i.since.elapsed() < IDLE_FOR);
    }

    pub fn len(&self) -> usize {
        self.idle.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Link {
    fn connect(target: &Target, timeout: Duration) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for addr in (target.host.as_str(), target.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Link {
                        stream: BufReader::new(stream),
                        out: Vec::new(),
                        db: None,
                        reused: false,
                    });
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Adds a request to what goes out.
    pub fn put(&mut self, words: &[&[u8]]) -> io::Result<()> {
        self.out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            if word.len() >= SEND_BYTES {
                self.flush()?;
                self.stream.get_mut().write_all(word)?;
            } else {
                self.out.extend_from_slice(word);
            }
            self.out.extend_from_slice(b"\r\n");
        }
        if self.out.len() >= SEND_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends what has gathered.
    pub fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.get_mut().write_all(&self.out);
        self.out.clear();
        sent
    }

    /// The next reply, which is one line: a status, an integer, or the text of an error.
    pub fn reply(&mut self) -> io::Result<Result<(), Vec<u8>>> {
        let mut line = Vec::new();
        self.stream.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\r\n") else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        match text.split_first() {
            Some((b'-', why)) => Ok(Err(why.to_vec())),
            Some((b'+' | b':', _)) => Ok(Ok(())),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Sends one request and waits for its reply.
    pub fn ask(&mut self, words: &[&[u8]]) -> io::Result<Result<(), Vec<u8>>> {
        self.put(words)?;
        self.flush()?;
        self.reply()
    }
}

/// Whether an operation ended because its time was over.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
