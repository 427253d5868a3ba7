//! Real sockets, a server a test.
mod migrate;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidewater::base::clock::Clock;
use tidewater::base::rng::Rng;
use tidewater::command::{Arity, Command, Outcome};
use tidewater::net::{GuardedDoor, Listeners, Net, NetConfig};
use tidewater::server::engine::Setup;
use tidewater::server::{Engine, all_commands, assemble};

struct Server {
    engine: Arc<Engine>,
    net: Net,
    port: u16,
}

fn panics(_: &mut tidewater::command::Context<'_>, _: tidewater::resp::args::Args<'_>) -> Outcome {
    panic!("as the test wants it");
}

/// Sleeps on the worker first, then is run again in the slow lane.
fn slow(ctx: &mut tidewater::command::Context<'_>, _: tidewater::resp::args::Args<'_>) -> Outcome {
    ctx.slow_lane(usize::MAX)?;
    std::thread::sleep(Duration::from_millis(50));
    ctx.reply.simple("SLOW");
    Ok(())
}

/// A reply of as many bytes as asked for.
fn big(ctx: &mut tidewater::command::Context<'_>, args: tidewater::resp::args::Args<'_>) -> Outcome {
    let n = std::str::from_utf8(&args[1]).unwrap().parse().unwrap();
    ctx.reply.bulk(&vec![b'x'; n]);
    Ok(())
}

impl Server {
    fn start() -> Self {
        let mut commands = all_commands();
        commands.push(Command::new("testpanic", Arity::exactly(1), panics));
        commands.push(Command::new("testslow", Arity::exactly(1), slow));
        commands.push(Command::new("testbig", Arity::exactly(2), big));
        let engine = assemble(Setup {
            clock: Clock::real(),
            limits: Arc::default(),
            rng: Rng::from_seed(1),
            shards: 16,
            databases: 16,
            services: Default::default(),
            commands,
            renames: Vec::new(),
        });
        let config = NetConfig {
            bind: vec!["127.0.0.1".into()],
            port: 0,
            tcp: true,
            backlog: 128,
            unix_socket: None,
            unix_permissions: None,
            workers: 2,
        };
        let listeners = Listeners::bind(&config).unwrap();
        let port = listeners.addr().unwrap().port();
        let door = Arc::new(GuardedDoor::new(engine.env().clone()));
        let net = Net::start(engine.clone(), listeners, &config, door).unwrap();
        Self { engine, net, port }
    }

    fn connect(&self) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { stream, buffered: Vec::new() }
    }
}

struct Wire {
    stream: TcpStream,
    buffered: Vec<u8>,
}

impl Wire {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffered.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            let mut chunk = [0; 65536];
            let n = self.stream.read(&mut chunk).unwrap();
            assert!(n > 0, "the connection ended with {:?}", String::from_utf8_lossy(&self.buffered));
            self.buffered.extend_from_slice(&chunk[..n]);
        }
    }

    /// Sends an inline command, gives back the first line of its reply.
    fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.line()
    }

    /// A reply's bulk string.
    fn bulk(&mut self, command: &str) -> String {
        let head = self.ask(command);
        let n: usize = head.strip_prefix('$').unwrap_or_else(|| panic!("{head}")).parse().unwrap();
        while self.buffered.len() < n + 2 {
            let mut chunk = [0; 65536];
            let got = self.stream.read(&mut chunk).unwrap();
            assert!(got > 0);
            self.buffered.extend_from_slice(&chunk[..got]);
        }
        let text = self.buffered.drain(..n + 2).take(n).collect();
        String::from_utf8(text).unwrap()
    }

    /// Everything up to the connection's end.
    fn rest(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffered);
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return all,
                Err(e) => panic!("{e}"),
            }
        }
    }
}

/// Waits until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn requests_may_come_byte_by_byte() {
    let server = Server::start();
    let mut c = server.connect();
    for b in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\nGET k\r\n" {
        c.send([*b]);
    }
    assert_eq!(c.line(), "+OK");
    assert_eq!((c.line(), c.line()), ("$5".into(), "hello".into()));
}

#[test]
fn a_pipeline_is_answered_though_nobody_reads_meanwhile() {
    let server = Server::start();
    let mut c = server.connect();
    assert_eq!(c.ask("SET k 0"), "+OK");
    // More input and more output than sockets hold, a slow command and a wait in between.
    let value = "v".repeat(1000);
    let mut sent = 0;
    let mut batch = String::new();
    for i in 0..20_000 {
        batch.push_str(&format!("ECHO {value}\r\n"));
        sent += 1;
        if i == 10_000 {
            batch.push_str("TESTSLOW\r\n");
        }
    }
    c.send(batch);
    let mut slow = 0;
    for _ in 0..=sent {
        let head = c.line();
        if head == "+SLOW" {
            slow += 1;
        } else {
            assert_eq!(head, "$1000");
            assert_eq!(c.line().len(), 1000);
        }
    }
    assert_eq!(slow, 1);
    assert_eq!(c.ask("PING"), "+PONG");
}

#[test]
fn a_half_closed_client_gets_its_replies() {
    let server = Server::start();
    let mut c = server.connect();
    c.send("TESTBIG 8000000\r\nTESTSLOW\r\nPING\r\nPI");
    c.stream.shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let all = c.rest();
    assert_eq!(all.len(), "$8000000\r\n".len() + 8_000_002 + "+SLOW\r\n+PONG\r\n".len());
    assert!(all.ends_with(b"+SLOW\r\n+PONG\r\n"));
    eventually("it is forgotten", || server.engine.env().clients.is_empty());
}

#[test]
fn a_panic_costs_one_connection() {
    let server = Server::start();
    let mut other = server.connect();
    for _ in 0..3 {
        let mut c = server.connect();
        c.send("SET k v\r\nTESTPANIC\r\nPING\r\n");
        assert!(c.rest().len() <= 5);
        assert_eq!(other.ask("SET k v"), "+OK");
    }
    eventually("they are forgotten", || server.engine.env().clients.len() == 1);
}

#[test]
fn quit_ends_the_connection_after_its_reply() {
    let server = Server::start();
    let mut c = server.connect();
    c.send("SET a 1\r\nQUIT\r\nSET a 2\r\n");
    assert_eq!(c.rest(), b"+OK\r\n+OK\r\n");
    assert_eq!(server.connect().bulk("GET a"), "1");
}

#[test]
fn a_protocol_error_is_told_then_the_connection_ends() {
    let server = Server::start();
    for (bytes, want) in [
        ("*1\r\nfoo\r\n", "-ERR Protocol error: expected '$', got 'f'\r\n"),
        ("PING\r\n*3\r\n$-10\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"),
        ("SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut c = server.connect();
        c.send(bytes);
        assert_eq!(String::from_utf8(c.rest()).unwrap(), want);
    }
}

#[test]
fn a_large_value_goes_through() {
    let server = Server::start();
    let mut c = server.connect();
    let n = 24 << 20;
    let value = vec![b'y'; n];
    c.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${n}\r\n"));
    c.send(&value);
    c.send("\r\nPING\r\n");
    assert_eq!(c.line(), "+OK");
    assert_eq!(c.line(), "+PONG");
    assert_eq!(c.bulk("GET k").len(), n);
    let info = c.bulk("CLIENT INFO");
    let capacity =
        info.split(' ').find_map(|f| f.strip_prefix("qbuf-free=")).unwrap().parse::<usize>().unwrap();
    assert!(capacity < 1 << 20, "the buffer is given back: {info}");
}

#[test]
fn a_request_without_end_is_cut_off() {
    let server = Server::start();
    server.engine.env().limits.client_query_buffer_limit.set(1 << 20);
    let mut c = server.connect();
    c.send("*2\r\n$3\r\nGET\r\n$100000000\r\n");
    let junk = vec![0; 1 << 16];
    while c.stream.write_all(&junk).is_ok() {}
    assert_eq!(server.engine.env().stats.qbuf_disconnects.load(Ordering::Relaxed), 1);
}

#[test]
fn a_client_over_its_hard_limit_gets_nothing() {
    let server = Server::start();
    server.engine.env().output_limits[0].set(100_000, 0, 0);
    let mut c = server.connect();
    c.send("PING\r\n");
    assert_eq!(c.line(), "+PONG");
    c.send("ECHO a\r\nTESTBIG 60000\r\nTESTBIG 60000\r\nSET never 1\r\n");
    assert_eq!(c.rest().len(), 0);
    assert_eq!(server.engine.env().stats.obuf_disconnects.load(Ordering::Relaxed), 1);
    assert_eq!(server.connect().ask("GET never"), "$-1");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off() {
    let server = Server::start();
    let env = server.engine.env();
    env.output_limits[2].set(1 << 20, 0, 0);
    let mut deaf = server.connect();
    assert_eq!(deaf.ask("SUBSCRIBE news"), "*3");
    let mut c = server.connect();
    let news = "n".repeat(10_000);
    let mut sent = 0;
    while c.ask(&format!("PUBLISH news {news}")) == ":1" {
        sent += 1;
        assert!(sent < 10_000);
    }
    assert_eq!(env.stats.obuf_disconnects.load(Ordering::Relaxed), 1);
}

#[test]
fn a_soft_limit_has_its_time() {
    let server = Server::start();
    let env = server.engine.env();
    env.output_limits[2].set(0, 100_000, 0);
    let mut deaf = server.connect();
    assert_eq!(deaf.ask("SUBSCRIBE news"), "*3");
    let mut c = server.connect();
    for _ in 0..1000 {
        assert_eq!(c.ask(&format!("PUBLISH news {}", "n".repeat(10_000))), ":1");
        if env.stats.obuf_disconnects.load(Ordering::Relaxed) > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut worker = server.engine.slow_worker();
    eventually("it is cut off", || {
        tidewater::server::cron::tick(&server.engine, &mut worker);
        env.clients.len() == 1
    });
}

#[test]
fn messages_reach_other_workers_and_their_own_sender() {
    let server = Server::start();
    let mut listeners: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for l in &mut listeners {
        assert_eq!(l.ask("SUBSCRIBE a"), "*3");
        (0..5).for_each(|_| drop(l.line()));
    }
    let mut c = server.connect();
    assert_eq!(c.ask("HELLO 3"), "%7");
    eventually("hello is read", || c.line() == "*0");
    c.send("SUBSCRIBE a\r\n");
    assert_eq!((c.line(), c.line(), c.line()), (">3".into(), "$9".into(), "subscribe".into()));
    (0..3).for_each(|_| drop(c.line()));
    assert_eq!(c.ask("PUBLISH a hi"), ":5");
    let message: Vec<_> = (0..7).map(|_| c.line()).collect();
    assert_eq!(message.join(" "), ">3 $7 message $1 a $2 hi");
    for l in &mut listeners {
        let message: Vec<_> = (0..7).map(|_| l.line()).collect();
        assert_eq!(message.join(" "), "*3 $7 message $1 a $2 hi");
    }
    drop(listeners);
    eventually("who is gone counts no more", || c.ask("PUBLISH a x") == ":1" || c.line().is_empty());
}

#[test]
fn no_more_clients_than_allowed() {
    let server = Server::start();
    server.engine.env().limits.maxclients.set(2);
    let mut a = server.connect();
    assert_eq!(a.ask("PING"), "+PONG");
    let mut b = server.connect();
    assert_eq!(b.ask("PING"), "+PONG");
    assert_eq!(server.connect().rest(), b"-ERR max number of clients reached\r\n");
    drop(a);
    eventually("there is room again", || {
        let mut c = server.connect();
        c.stream.write_all(b"PING\r\n").is_ok() && c.rest_starts_with(b"+PONG")
    });
}

impl Wire {
    fn rest_starts_with(&mut self, want: &[u8]) -> bool {
        let mut got = vec![0; want.len()];
        self.stream.read_exact(&mut got).is_ok() && got == want
    }
}

#[test]
fn kill_pause_and_unblock_across_connections() {
    let server = Server::start();
    let mut admin = server.connect();
    let mut c = server.connect();
    let id = c.ask("CLIENT ID").trim_start_matches(':').to_owned();
    assert_eq!(admin.ask(&format!("CLIENT KILL ID {id}")), ":1");
    assert_eq!(c.rest(), b"");
    assert_eq!(admin.ask(&format!("CLIENT KILL ID {id}")), ":0");

    let mut c = server.connect();
    assert_eq!(c.ask("PING"), "+PONG");
    assert_eq!(admin.ask("CLIENT PAUSE 100000 WRITE"), "+OK");
    assert_eq!(c.ask("GET k"), "$-1");
    c.send("SET k 1\r\nGET k\r\n");
    let env = server.engine.env();
    eventually("it waits", || env.gauges.blocked.load(Ordering::Relaxed) == 1);
    assert_eq!(admin.ask("GET k"), "$-1");
    // One that goes meanwhile is noticed.
    let mut gone = server.connect();
    gone.send("SET k 2\r\n");
    eventually("both wait", || env.gauges.blocked.load(Ordering::Relaxed) == 2);
    drop(gone);
    eventually("one is left", || env.gauges.blocked.load(Ordering::Relaxed) == 1);
    assert_eq!(admin.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!((c.line(), c.line(), c.line()), ("+OK".into(), "$1".into(), "1".into()));
    assert_eq!(admin.ask("CLIENT KILL SKIPME no"), ":2");
    assert_eq!((admin.rest(), c.rest()), (vec![], vec![]));
}

#[test]
fn a_sleep_holds_all_back_and_leaves_pauses_as_they_were() {
    let server = Server::start();
    let env = server.engine.env();
    let waiting = |n| eventually("they wait", || env.gauges.blocked.load(Ordering::Relaxed) == n);
    let (mut admin, mut writer, mut reader) = (server.connect(), server.connect(), server.connect());
    assert_eq!((writer.ask("PING"), reader.ask("PING")), ("+PONG".into(), "+PONG".into()));
    assert_eq!(admin.ask("CLIENT PAUSE 100000 WRITE"), "+OK");
    admin.send("DEBUG SLEEP 1\r\n");
    eventually("it sleeps", || env.paused_until(env.clock.now_ms(), false).is_some());
    writer.send("SET k 1\r\n");
    reader.send("GET k\r\n");
    waiting(2);
    assert_eq!((admin.line(), reader.line()), ("+OK".into(), "$-1".into()));
    // The writer has looked anew, and waits for the end of the pause.
    waiting(1);
    let now = env.clock.now_ms();
    assert!(env.paused_until(now, false).is_none());
    assert!(env.paused_until(now, true).is_some_and(|until| until > now + 10_000));
    assert_eq!(admin.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!(writer.line(), "+OK");
}

#[test]
fn monitor_shows_what_others_run() {
    let server = Server::start();
    let mut m = server.connect();
    assert_eq!(m.ask("MONITOR"), "+OK");
    let mut c = server.connect();
    assert_eq!(c.ask("SET k \"a\\nb\""), "+OK");
    assert_eq!(c.ask("AUTH user secret").get(..9), Some("-WRONGPAS"));
    let line = m.line();
    let (head, tail) = line.split_once(" [").unwrap();
    assert!(head.starts_with('+') && head.len() == "+1339518083.107412".len(), "{line}");
    assert!(tail.starts_with("0 127.0.0.1:") && tail.ends_with(r#"] "SET" "k" "a\nb""#), "{line}");
    assert!(m.line().ends_with(r#"] "AUTH" "(redacted)" "(redacted)""#));
    // It may not touch keys itself.
    assert!(m.ask("GET k").starts_with("-ERR Replica can't interact"));
}

#[test]
fn a_password_is_asked_for() {
    let server = Server::start();
    *server.engine.env().requirepass.write() = b"foobar".to_vec();
    let mut c = server.connect();
    assert_eq!(c.ask("GET k"), "-NOAUTH Authentication required.");
    assert_eq!(c.ask("AUTH wrong"), "-WRONGPASS invalid username-password pair or user is disabled.");
    c.send("*1000\r\n");
    assert_eq!(c.rest(), b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    let mut c = server.connect();
    c.send("GET k\r\n".repeat(2000));
    assert!(c.rest().len() <= 34 * 2000 / 2, "who has not logged in gets little output");
    let mut c = server.connect();
    assert_eq!(c.ask("HELLO 3 AUTH default foobar"), "%7");
}

#[test]
fn a_stopping_server_sends_what_is_written() {
    let mut server = Server::start();
    let mut c = server.connect();
    assert_eq!(c.ask("PING"), "+PONG");
    let mut idle = server.connect();
    assert_eq!(idle.ask("PING"), "+PONG");
    c.send("PING\r\n");
    std::thread::sleep(Duration::from_millis(20));
    server.net.shut_down();
    assert_eq!(c.rest(), b"+PONG\r\n");
    assert_eq!(idle.rest(), b"");
}

#[test]
fn a_read_that_moves_to_the_slow_lane_counts_once() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.ask("SADD s a b c"), ":3");
    client.send("SRANDMEMBER s -5000\r\n");
    assert_eq!(client.line(), "*5000");
    for _ in 0..10_000 {
        client.line();
    }
    let stats = &server.engine.env().stats;
    assert_eq!((stats.sum(|w| &w.hits), stats.sum(|w| &w.misses)), (1, 0));
}
