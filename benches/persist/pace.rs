//! A paced load for `benches/persist.py`: requests leave at fixed times over many connections whether or not replies
//! have come, and a latency counts from the time at which its request was due, so that a stall shows in every request
//! that it held up. Python is too slow for this at 70 % of what a server can do. Built by `rustc -O`, no crates.
//!
//!     pace PORT CONNECTIONS RATE KEYS getset|hset SECONDS FILE
//!
//! RATE 0: a closed loop instead, one request a connection at a time, to find the highest rate.
//! Each byte read on standard input is a mark: the number of the request then due is noted; its end ends the load.
//! FILE gets a latency for each request, in order, as native u32 in tenths of a µs. A line of JSON says the rest.

use std::collections::VecDeque;
use std::ffi::{c_int, c_long, c_void};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const VALUE: usize = 64;
const FIELD_VALUE: usize = 16;
/// Requests leave at most this much after they were due, several at once where several are: that costs the load less.
const TICK: Duration = Duration::from_micros(50);
const END_TICK: Duration = Duration::from_millis(10);
/// After the end, late replies are waited for this long.
const GRACE: Duration = Duration::from_secs(60);
/// What is never answered counts as this.
const NEVER: u32 = u32::MAX;

struct Link {
    stream: TcpStream,
    waiting: VecDeque<u32>,
    out: Vec<u8>,
    input: Vec<u8>,
}

struct Load {
    hash: bool,
    keys: u64,
    random: u64,
}

impl Load {
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn request(&mut self, index: u32, out: &mut Vec<u8>) {
        let key = self.random() % self.keys;
        let size = if self.hash { FIELD_VALUE } else { VALUE };
        let mut value = [0; VALUE];
        for byte in &mut value[..size] {
            *byte = b'a' + (self.random() % 26) as u8;
        }
        let value = &value[..size];
        if self.hash {
            let _ =
                write!(out, "*4\r\n$4\r\nHSET\r\n$8\r\npacehash\r\n$16\r\nmember:{key:09}\r\n${size}\r\n");
        } else if index % 2 == 0 {
            let _ = write!(out, "*2\r\n$3\r\nGET\r\n$13\r\ns64:{key:09}\r\n");
            return;
        } else {
            let _ = write!(out, "*3\r\n$3\r\nSET\r\n$13\r\ns64:{key:09}\r\n${size}\r\n");
        }
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// The length of the first reply in `data`, and whether it is good (an error and a missing key are not); None: not whole.
fn reply(data: &[u8]) -> Option<(usize, bool)> {
    let line = data.iter().position(|&b| b == b'\n')? + 1;
    match data[0] {
        b'$' => {
            let text = std::str::from_utf8(&data[1..line]).ok()?.trim();
            let Ok(size) = text.parse::<usize>() else { return Some((line, false)) };
            (data.len() >= line + size + 2).then_some((line + size + 2, true))
        }
        first => Some((line, first != b'-')),
    }
}

#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
struct Event {
    events: u32,
    link: u64,
}

#[repr(C)]
struct Timespec {
    seconds: c_long,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, action: c_int, fd: c_int, event: *mut Event) -> c_int;
    fn epoll_pwait2(
        epoll: c_int,
        events: *mut Event,
        count: c_int,
        timeout: *const Timespec,
        mask: *const c_void,
    ) -> c_int;
}

const ADD: c_int = 1;
const READABLE: u32 = 1;

/// epoll, as a poll() of all the connections for each reply would cost more than the replies.
struct Ready {
    epoll: c_int,
    events: [Event; 64],
}

impl Ready {
    fn new() -> Ready {
        // SAFETY: it takes a number and gives a descriptor.
        let epoll = unsafe { epoll_create1(0) };
        assert!(epoll >= 0, "epoll");
        Ready { epoll, events: [Event { events: 0, link: 0 }; 64] }
    }

    fn add(&mut self, fd: c_int, link: usize) {
        let mut event = Event { events: READABLE, link: link as u64 };
        // SAFETY: both descriptors are open, and the event is read during the call only.
        assert!(unsafe { epoll_ctl(self.epoll, ADD, fd, &mut event) } == 0, "epoll");
    }

    fn wait(&mut self, timeout: Duration) -> &[Event] {
        let timeout =
            Timespec { seconds: timeout.as_secs() as c_long, nanoseconds: timeout.subsec_nanos() as c_long };
        let room = self.events.len() as c_int;
        // SAFETY: the kernel writes at most `room` events; the timeout outlives the call. A null mask is allowed.
        let n =
            unsafe { epoll_pwait2(self.epoll, self.events.as_mut_ptr(), room, &timeout, std::ptr::null()) };
        &self.events[..usize::try_from(n).unwrap_or(0)]
    }
}

fn flush(link: &mut Link) {
    while !link.out.is_empty() {
        match link.stream.write(&link.out) {
            Ok(n) => drop(link.out.drain(..n)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            Err(e) => panic!("the server closed a connection: {e}"),
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, port, connections, rate, keys, kind, seconds, file] = &args[..] else {
        panic!("pace PORT CONNECTIONS RATE KEYS getset|hset SECONDS FILE")
    };
    let rate: f64 = rate.parse().expect("a rate");
    let limit = Duration::from_secs_f64(seconds.parse().expect("seconds"));
    let mut load =
        Load { hash: kind == "hset", keys: keys.parse().expect("keys"), random: 0x9E37_79B9_7F4A_7C15 };
    let mut links: Vec<Link> = (0..connections.parse().expect("connections"))
        .map(|_| {
            let stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("a connection");
            stream.set_nodelay(true).expect("nodelay");
            stream.set_nonblocking(true).expect("non-blocking");
            Link { stream, waiting: VecDeque::new(), out: Vec::new(), input: Vec::new() }
        })
        .collect();
    let mut ready = Ready::new();
    for (at, link) in links.iter().enumerate() {
        ready.add(link.stream.as_raw_fd(), at);
    }
    ready.add(0, links.len());

    let period = if rate > 0.0 { 1.0 / rate } else { 0.0 };
    let start = Instant::now();
    let due = |index: u32| start + Duration::from_secs_f64(f64::from(index) * period);
    let mut latencies: Vec<u32> = Vec::new();
    let mut sent_at: Vec<Instant> = Vec::new(); // of the closed loop
    let mut ended = false;
    let (mut next, mut answered, mut bad, mut late, mut late_max) = (0u32, 0u64, 0u64, 0u64, 0.0f64);
    let mut marks = Vec::new();
    let mut end = start + limit;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let now = Instant::now();
        if now >= end && (links.iter().all(|l| l.waiting.is_empty()) || now >= end + GRACE) {
            break;
        }
        if now < end && rate > 0.0 {
            while due(next) <= now {
                let behind = (now - due(next)).as_secs_f64();
                late += u64::from(behind > 0.001);
                late_max = late_max.max(behind);
                let at = next as usize % links.len();
                load.request(next, &mut links[at].out);
                links[at].waiting.push_back(next);
                latencies.push(NEVER);
                flush(&mut links[at]);
                next += 1;
            }
        } else if now < end {
            for link in links.iter_mut().filter(|l| l.waiting.is_empty()) {
                load.request(next, &mut link.out);
                link.waiting.push_back(next);
                latencies.push(NEVER);
                sent_at.push(now);
                flush(link);
                next += 1;
            }
        }
        let mut until =
            if now < end && rate > 0.0 { due(next).max(now + TICK).min(end) } else { now + END_TICK };
        for link in links.iter_mut().filter(|l| !l.out.is_empty()) {
            flush(link); // the socket was full: at each turn again, as this is rare
            until = now + TICK;
        }
        let stdin = links.len() as u64;
        for &Event { link, .. } in ready.wait(until.saturating_duration_since(Instant::now())) {
            if link == stdin {
                match std::io::stdin().read(&mut chunk[..64]) {
                    Ok(n) if n > 0 => marks.extend(std::iter::repeat_n(next, n)),
                    _ if ended => std::thread::sleep(TICK), // it stays readable
                    _ => {
                        ended = true;
                        end = end.min(Instant::now());
                    }
                }
                continue;
            }
            let link = &mut links[link as usize];
            match link.stream.read(&mut chunk) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(n) => link.input.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => panic!("the server closed a connection: {e}"),
            }
            let (got, mut used) = (Instant::now(), 0);
            while let Some((size, good)) = link.input.get(used..).filter(|d| !d.is_empty()).and_then(reply) {
                used += size;
                let index = link.waiting.pop_front().expect("a reply to a request");
                let from = if rate > 0.0 { due(index) } else { sent_at[index as usize] };
                latencies[index as usize] = ((got - from).as_nanos() / 100).min(u128::from(NEVER - 1)) as u32;
                answered += 1;
                bad += u64::from(!good);
            }
            link.input.drain(..used);
        }
    }
    let took = (end - start).as_secs_f64();
    let mut out = BufWriter::new(std::fs::File::create(file).expect("the file"));
    for latency in &latencies {
        out.write_all(&latency.to_ne_bytes()).expect("the file");
    }
    out.flush().expect("the file");
    println!(
        "{{\"sent\": {next}, \"answered\": {answered}, \"bad\": {bad}, \"seconds\": {took:.6}, \"late\": {late}, \
         \"late_max_ms\": {:.3}, \"marks\": {marks:?}}}",
        late_max * 1000.0
    );
}
