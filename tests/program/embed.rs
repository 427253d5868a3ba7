//! `Server::builder()`.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tidewater::base::clock::Clock;
use tidewater::{ExecuteError, Server, Value};

fn manual() -> Server {
    Server::builder().clock(Clock::manual_at(1_700_000_000_000)).seed(7).start().unwrap()
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

#[test]
fn runs_commands_without_a_socket() {
    let server = manual();
    assert_eq!((server.addr(), server.url()), (None, None));
    assert_eq!(server.execute(["SET", "k", "v"]), Ok(ok()));
    assert_eq!(server.execute(["GET", "k"]), Ok("v".into()));
    assert_eq!(server.execute([b"GET".as_slice(), b"\xff"]), Ok(Value::Null));
    let refused = server.execute(["INCR", "k"]).unwrap_err();
    assert_eq!(refused, ExecuteError::Reply("ERR value is not an integer or out of range".into()));
    // Nobody else's database changes.
    assert_eq!(server.execute(["SELECT", "3"]), Ok(ok()));
    assert_eq!(server.execute(["EXISTS", "k"]), Ok(1.into()));
    let mut client = server.client();
    client.execute(["SELECT", "3"]).unwrap();
    assert_eq!(client.execute(["EXISTS", "k"]), Ok(0.into()));
    client.execute(["MULTI"]).unwrap();
    assert_eq!(client.execute(["SET", "x", "1"]), Ok(Value::Simple("QUEUED".into())));
    assert_eq!(client.execute(["EXEC"]), Ok(Value::Array(vec![ok()])));
}

#[test]
fn the_manual_clock_moves_expiry() {
    let server = manual();
    server.execute(["SET", "k", "v", "EX", "10"]).unwrap();
    server.advance(Duration::from_secs(9));
    assert_eq!(server.execute(["EXISTS", "k"]), Ok(1.into()));
    server.advance(Duration::from_secs(2));
    assert_eq!(server.execute(["DBSIZE"]), Ok(0.into()), "removed, not only hidden");
}

#[test]
fn blocking_commands_block_their_thread_until_served_or_due() {
    let server = manual();
    std::thread::scope(|scope| {
        let waits = |args: [&'static str; 3]| {
            let before = blocked(&server);
            let server = &server;
            let thread = scope.spawn(move || server.execute(args));
            while blocked(server) == before {
                std::thread::sleep(Duration::from_millis(1));
            }
            thread
        };
        let served = waits(["BLPOP", "a", "0"]);
        server.execute(["RPUSH", "a", "x"]).unwrap();
        assert_eq!(served.join().unwrap(), Ok(Value::from(["a".into(), "x".into()])));
        let due = waits(["BLPOP", "b", "10"]);
        server.advance(Duration::from_secs(9));
        assert_eq!(blocked(&server), 1);
        server.advance(Duration::from_secs(1));
        assert_eq!(due.join().unwrap(), Ok(Value::Null));
    });
    assert_eq!(blocked(&server), 0);
}

fn blocked(server: &Server) -> usize {
    server.engine().env().gauges.blocked.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn configuration_is_redis_conf() {
    let server = Server::builder().config("maxmemory", "10mb").config("save", "").workers(3).start().unwrap();
    let got = server.execute(["CONFIG", "GET", "maxmemory"]).unwrap();
    assert_eq!(got, Value::Map(vec![("maxmemory".into(), "10485760".into())]));
    let set = |pair: [&str; 2]| server.execute(["CONFIG", "SET", pair[0], pair[1]]);
    assert_eq!(set(["hz", "50"]), Ok(ok()));
    assert_eq!(set(["workers", "3"]), Ok(ok()));
    assert!(matches!(set(["workers", "4"]), Err(ExecuteError::Reply(e)) if e.contains("'workers'")));
    assert!(matches!(server.execute(["CONFIG", "REWRITE"]), Err(ExecuteError::Reply(_))));
    let odd = server.execute(["CONFIG", "SET", "hz", "1", "timeout"]).unwrap_err().to_string();
    assert_eq!(odd, "ERR wrong number of arguments for 'config|set' command");
    assert_eq!(server.execute(["CONFIG", "RESETSTAT"]), Ok(ok()));
    assert!(server.execute(["CONFIG", "HELP"]).unwrap().items().len() > 5);
    let wrong = Server::builder().config("maxmemory", "1x").start().err().unwrap().to_string();
    assert!(wrong.contains("argument must be a memory value"), "{wrong}");
}

#[test]
fn who_changes_the_slow_logs_threshold_is_judged_by_the_new_one() {
    let server = manual();
    for micros in ["0", "1000"] {
        assert_eq!(server.execute(["CONFIG", "SET", "slowlog-log-slower-than", micros]), Ok(ok()));
    }
    let entries = server.execute(["SLOWLOG", "GET"]).unwrap();
    let words = |entry: &Value| entry.items()[3].clone();
    let logged: Vec<Value> = entries.items().iter().map(words).collect();
    let first = ["CONFIG", "SET", "slowlog-log-slower-than", "0"].map(Value::from);
    assert_eq!(logged, [Value::Array(first.into())]);
}

#[test]
fn commands_are_renamed_as_the_configuration_says() {
    let server = Server::builder()
        .config("rename-command", "FLUSHALL \"\"")
        .config("rename-command", "SET assign")
        .start()
        .unwrap();
    assert!(
        matches!(server.execute(["FLUSHALL"]), Err(ExecuteError::Reply(e)) if e.contains("unknown command"))
    );
    assert_eq!(server.execute(["assign", "k", "v"]), Ok(ok()));
    // Line after line, as in a file.
    let swapped = ["GET other", "SET get", "other set"];
    let swapped =
        swapped.iter().fold(Server::builder(), |builder, line| builder.config("rename-command", line));
    let server = swapped.start().unwrap();
    assert_eq!(server.execute(["get", "k", "v"]), Ok(ok()));
    assert_eq!(server.execute(["set", "k"]), Ok("v".into()));
    for (line, why) in [("NOSUCH x", "No such command"), ("GET set", "already exists")] {
        let Err(refused) = Server::builder().config("rename-command", line).start() else { panic!("{line}") };
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

fn ask(addr: std::net::SocketAddr, line: &str) -> String {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(line.as_bytes()).unwrap();
    let mut reply = [0; 256];
    let n = socket.read(&mut reply).unwrap();
    String::from_utf8_lossy(&reply[..n]).into_owned()
}

/// That nobody listens there. Another test that starts a process holds copies of all descriptors for an instant.
fn assert_closed(addr: std::net::SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect(addr).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5), "{addr} still accepts");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn dropping_the_server_closes_its_port() {
    let server = Server::builder().port(0).workers(1).start().unwrap();
    let addr = server.addr().unwrap();
    assert_eq!(server.url(), Some(format!("redis://127.0.0.1:{}", addr.port())));
    assert_eq!(ask(addr, "PING\r\n"), "+PONG\r\n");
    let idle = TcpStream::connect(addr).unwrap();
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_closed(addr);
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!((&idle).read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn the_port_moves_while_clients_stay() {
    let server = Server::builder().port(0).workers(1).start().unwrap();
    let old = server.addr().unwrap();
    let other = Server::builder().port(0).workers(1).start().unwrap();
    let taken = other.port().unwrap().to_string();
    let refused = server.execute(["CONFIG", "SET", "port", &taken]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs."
    );
    assert_eq!(ask(old, "PING\r\n"), "+PONG\r\n");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut stays = TcpStream::connect(old).unwrap();
    stays.write_all(b"PING\r\n").unwrap();
    stays.read_exact(&mut [0; 7]).unwrap();
    server.execute(["CONFIG", "SET", "port", &free.port().to_string()]).unwrap();
    assert_eq!(ask(free, "PING\r\n"), "+PONG\r\n");
    assert_closed(old);
    stays.write_all(b"PING\r\n").unwrap();
    stays.read_exact(&mut [0; 7]).unwrap();
    // Overlapping addresses, which cannot be bound at the same time.
    server.execute(["CONFIG", "SET", "bind", "*"]).unwrap();
    assert_eq!(ask(free, "PING\r\n"), "+PONG\r\n");
    assert!(server.execute(["CONFIG", "SET", "bind", "999.1.1.1"]).is_err());
    assert_eq!(ask(free, "PING\r\n"), "+PONG\r\n");
    server.execute(["CONFIG", "SET", "bind", ""]).unwrap();
    assert_closed(free);
}

#[test]
fn shutdown_closes_the_sockets_of_an_embedded_server() {
    let server = Server::builder().port(0).workers(1).start().unwrap();
    let addr = server.addr().unwrap();
    assert_eq!(
        server.execute(["SHUTDOWN", "ABORT"]),
        Err(ExecuteError::Reply("ERR No shutdown in progress.".into()))
    );
    assert_eq!(
        server.execute(["SHUTDOWN", "SAVE", "NOSAVE"]),
        Err(ExecuteError::Reply("ERR syntax error".into()))
    );
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(server.execute(["PING"]), Err(ExecuteError::Closed));
    drop(server);
    assert_closed(addr);
}

/// A connection that speaks in lines.
struct Line(TcpStream);

impl Line {
    fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Line(stream)
    }

    /// The first bytes of what comes back; none when the server hangs up.
    fn ask(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut reply = [0; 256];
        let n = self.0.read(&mut reply).unwrap_or(0);
        String::from_utf8_lossy(&reply[..n]).into_owned()
    }
}

#[test]
fn faults_reach_clients_on_sockets_and_what_they_sent_is_kept() {
    let server = Server::builder().port(0).record_commands(5).start().unwrap();
    let (mut one, mut two) = (Line::to(&server), Line::to(&server));
    assert_eq!(one.ask("SET k v"), "+OK\r\n");
    server.faults().error("set", "OOM no more");
    server.faults().error("CONFIG|GET", "ERR not today");
    assert_eq!(one.ask("SET k w"), "-OOM no more\r\n");
    assert_eq!(one.ask("CONFIG GET port"), "-ERR not today\r\n");
    assert_eq!(one.ask("CONFIG RESETSTAT"), "+OK\r\n");
    assert_eq!(server.execute(["GET", "k"]), Ok("v".into()), "the test's own hand is free");
    server.faults().clear();
    assert_eq!(one.ask("SET k w"), "+OK\r\n");
    let sent: Vec<String> =
        server.commands().iter().map(|c| String::from_utf8_lossy(&c.join(&b' ')).into_owned()).collect();
    assert_eq!(sent, ["SET k v", "SET k w", "CONFIG GET port", "CONFIG RESETSTAT", "SET k w"]);
    // One waits, the other does not.
    server.faults().delay("GET", Duration::from_millis(150));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let late = scope.spawn(|| (one.ask("GET k"), began.elapsed()));
        assert_eq!(two.ask("PING"), "+PONG\r\n");
        assert!(began.elapsed() < Duration::from_millis(150));
        let (reply, took) = late.join().unwrap();
        assert_eq!(reply, "$1\r\nw\r\n");
        assert!(took >= Duration::from_millis(149), "{took:?}");
    });
    server.faults().clear();
    server.faults().drop_connection_after(2);
    assert_eq!(one.ask("PING"), "+PONG\r\n");
    assert_eq!(two.ask("PING"), "+PONG\r\n");
    assert_eq!(one.ask("INCR n"), "", "it hung up");
    assert_eq!(two.ask("EXISTS n"), ":0\r\n");
}

#[test]
fn any_language_has_the_clock_and_the_faults() {
    let server = Server::builder().port(0).config("enable-debug-command", "yes").start().unwrap();
    let mut client = Line::to(&server);
    assert_eq!(client.ask("SET k v EX 100"), "+OK\r\n");
    std::thread::scope(|scope| {
        let mut waiter = Line::to(&server);
        let waits = scope.spawn(move || waiter.ask("BLPOP none 99"));
        while blocked(&server) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(client.ask("DEBUG CLOCK ADVANCE 100000"), "+OK\r\n");
        assert_eq!(waits.join().unwrap(), "*-1\r\n");
    });
    assert_eq!(client.ask("GET k"), "$-1\r\n");
    assert_eq!(client.ask("DEBUG FAULT ERROR get \"ERR as ordered\""), "+OK\r\n");
    assert_eq!(client.ask("GET k"), "-ERR as ordered\r\n");
    assert_eq!(client.ask("DEBUG FAULT CLEAR"), "+OK\r\n");
    assert_eq!(client.ask("GET k"), "$-1\r\n");
    assert_eq!(client.ask("DEBUG FAULT DROP 0"), "+OK\r\n");
    assert_eq!(client.ask("GET k"), "");
    assert!(Line::to(&server).ask("DEBUG CLOCK ADVANCE -1").starts_with("-ERR"));
    assert!(Line::to(&server).ask("DEBUG FAULT").starts_with("-ERR"));
    for known in ["*", "GET", "config|set", "CONFIG"] {
        assert_eq!(Line::to(&server).ask(&format!("DEBUG FAULT DELAY {known} 0")), "+OK\r\n");
    }
    for unknown in ["nosuch", "config|nosuch", "get|x", "\"\""] {
        let said = Line::to(&server).ask(&format!("DEBUG FAULT DELAY {unknown} 0"));
        assert!(said.starts_with("-ERR there is no command '"), "{said}");
    }
    // A server that does not allow it.
    let closed = Server::builder().port(0).config("enable-debug-command", "no").start().unwrap();
    assert!(Line::to(&closed).ask("DEBUG CLOCK ADVANCE 1").starts_with("-ERR DEBUG command not allowed"));
}

#[test]
fn a_snapshot_brings_everything_back() {
    let manual = || {
        let clock = Clock::manual_at(1_700_000_000_000);
        Server::builder().clock(clock).config("enable-debug-command", "yes").start().unwrap()
    };
    let server = manual();
    for line in [
        "SET text v",
        "SET soon v PX 5000",
        "RPUSH list a b c",
        "HSET hash f 1",
        "HPEXPIRE hash 5000 FIELDS 1 f",
        "ZADD zset 1.5 m",
        "SADD set 1 2 3",
        "XADD stream 1-1 f v",
    ] {
        server.execute(line.split(' ')).unwrap();
    }
    let mut third = server.client();
    third.execute(["SELECT", "3"]).unwrap();
    third.execute(["SET", "there", "too"]).unwrap();
    let digest = |server: &Server| server.execute(["DEBUG", "DIGEST"]).unwrap();
    let before = digest(&server);
    let kept = server.snapshot().unwrap();
    assert_eq!(kept.len(), 8);
    server.flush();
    assert_eq!(server.execute(["DBSIZE"]), Ok(0.into()));
    server.execute(["SET", "other", "x"]).unwrap();
    server.restore(&kept).unwrap();
    assert_eq!(digest(&server), before);
    assert_eq!(server.execute(["PTTL", "soon"]), Ok(5000.into()));
    server.advance(Duration::from_secs(6));
    // In another server, whose clock stands where that one's began.
    let other = manual();
    other.restore(&kept).unwrap();
    assert_eq!(digest(&other), before);
    server.restore(&kept).unwrap();
    assert_eq!(server.execute(["EXISTS", "soon", "text", "hash"]), Ok(1.into()), "what was due is gone");
}

#[test]
fn a_thousand_servers_in_one_process() {
    let each = |_| {
        for _ in 0..125 {
            let server = Server::builder().port(0).start().unwrap();
            assert_eq!(Line::to(&server).ask("INCR n"), ":1\r\n");
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|i| drop(scope.spawn(move || each(i)))));
    // And many at once.
    let servers: Vec<Server> = (0..200).map(|_| Server::builder().port(0).start().unwrap()).collect();
    for server in &servers {
        assert_eq!(Line::to(server).ask("INCR n"), ":1\r\n");
    }
}
