//! `Server::builder()`.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tidewater::base::clock::Clock;
use tidewater::{ExecuteError, Server, Value};

fn manual() -> Server {
    Server::builder().clock(Clock::manual(1_700_000_000_000)).seed(7).start().unwrap()
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
