//! A client that keeps the bytes of what it is answered.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub type Args = Vec<Vec<u8>>;

/// One reply: its bytes, and those of its parts if it is an aggregate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Node {
    pub raw: Vec<u8>,
    pub parts: Vec<Node>,
}

impl Node {
    pub fn kind(&self) -> u8 {
        self.raw[0]
    }

    /// The content of a bulk string; nothing for anything else, nil included.
    pub fn bulk(&self) -> Option<&[u8]> {
        if self.kind() != b'$' || self.raw.starts_with(b"$-1") {
            return None;
        }
        let start = self.raw.iter().position(|&b| b == b'\n')? + 1;
        self.raw.get(start..self.raw.len() - 2)
    }

    pub fn int(&self) -> Option<i64> {
        std::str::from_utf8(self.raw.strip_prefix(b":")?).ok()?.trim_end().parse().ok()
    }

    /// The number that an integer reply is, or a bulk string holds.
    pub fn number(&self) -> i64 {
        let text = self.bulk().and_then(|b| std::str::from_utf8(b).ok());
        let number = self.int().or_else(|| text?.parse().ok());
        number.unwrap_or_else(|| panic!("no number: {}", self.show()))
    }

    pub fn is_nil(&self) -> bool {
        matches!(self.raw.as_slice(), b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
    }

    pub fn is_error(&self) -> bool {
        self.kind() == b'-'
    }

    pub fn show(&self) -> String {
        shorten(&self.raw)
    }
}

pub fn shorten(bytes: &[u8]) -> String {
    let head = bytes.escape_ascii().to_string();
    if bytes.len() <= 300 {
        return head;
    }
    format!("{}... ({} bytes)", bytes[..300].escape_ascii(), bytes.len())
}

/// A command as a line of text.
pub fn show(args: &Args) -> String {
    let word = |a: &Vec<u8>| if a.is_empty() { "\"\"".into() } else { shorten(a) };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

pub struct Wire {
    port: u16,
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
    /// What the reply that is awaited answers.
    asked: Args,
}

impl Wire {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        Wire { port, stream, input: Vec::new(), at: 0, asked: Args::new() }
    }

    pub fn send<'a>(&mut self, commands: impl IntoIterator<Item = &'a Args>) {
        let mut out = Vec::new();
        for args in commands {
            out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
            for arg in args {
                out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                out.extend_from_slice(arg);
                out.extend_from_slice(b"\r\n");
            }
        }
        self.stream.write_all(&out).expect("the server reads");
    }

    /// Sends one command, words divided by spaces, and takes its reply.
    pub fn ask(&mut self, line: &str) -> Node {
        let args: Args = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        self.call(&args)
    }

    pub fn call(&mut self, args: &Args) -> Node {
        self.send([args]);
        self.reply(args)
    }

    /// Sends command lines at once, and takes all their replies.
    pub fn pipeline<S: AsRef<str>>(&mut self, lines: &[S]) -> Vec<Node> {
        let words = |line: &S| line.as_ref().split(' ').map(|w| w.as_bytes().to_vec()).collect();
        let commands: Vec<Args> = lines.iter().map(words).collect();
        self.send(&commands);
        commands.iter().map(|args| self.reply(args)).collect()
    }

    /// The next reply, to these arguments. Panics when the connection ends or nothing comes.
    pub fn reply(&mut self, asked: &Args) -> Node {
        self.asked.clone_from(asked);
        if self.at > 1 << 20 || self.at == self.input.len() {
            self.input.drain(..self.at);
            self.at = 0;
        }
        self.node()
    }

    fn node(&mut self) -> Node {
        let start = self.at;
        let head = self.line();
        let kind = head[0];
        let text = std::str::from_utf8(&head[1..]).unwrap_or_default().trim_end();
        let n: i64 = text.parse().unwrap_or(-1);
        let mut parts = Vec::new();
        match kind {
            b'$' | b'=' | b'!' if n >= 0 => {
                self.want(n as usize + 2);
                self.at += n as usize + 2;
            }
            b'*' | b'~' | b'>' => (0..n).for_each(|_| parts.push(self.node())),
            b'%' | b'|' => (0..2 * n).for_each(|_| parts.push(self.node())),
            b'+' | b'-' | b':' | b'$' | b',' | b'#' | b'_' | b'(' => {}
            _ => panic!("not RESP: {}", shorten(&self.input[start..])),
        }
        Node { raw: self.input[start..self.at].to_vec(), parts }
    }

    fn line(&mut self) -> Vec<u8> {
        let mut from = self.at;
        loop {
            if let Some(n) = self.input[from..].iter().position(|&b| b == b'\n') {
                let line = self.input[self.at..=from + n].to_vec();
                assert!(line.len() > 2 && line.ends_with(b"\r\n"), "not RESP: {}", shorten(&line));
                self.at = from + n + 1;
                return line;
            }
            from = self.input.len();
            self.fill();
        }
    }

    fn want(&mut self, n: usize) {
        while self.input.len() - self.at < n {
            self.fill();
        }
    }

    fn fill(&mut self) {
        let mut chunk = [0; 65536];
        let n = self.stream.read(&mut chunk).unwrap_or_else(|e| {
            panic!("port {}: {e}, awaiting the reply to {}", self.port, show(&self.asked));
        });
        assert!(n > 0, "port {} closed the connection at {}", self.port, show(&self.asked));
        self.input.extend_from_slice(&chunk[..n]);
    }
}
