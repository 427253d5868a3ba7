//! How long an embedded server takes to start and stop, and a hundred tests that each want a fresh one, against a
//! redis-server process for each: `cargo bench --bench embed`.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidewater::Server;

const TESTS: usize = 100;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// What a test does with its server.
fn use_it(mut client: TcpStream) {
    for (request, reply) in [("SET k v\r\n", &b"+OK\r\n"[..]), ("GET k\r\n", b"$1\r\nv\r\n")] {
        client.write_all(request.as_bytes()).expect("it takes it");
        let mut answer = vec![0; reply.len()];
        client.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer, reply);
    }
}

fn main() {
    let start_and_stop = |listens: bool| {
        let once = || {
            let began = Instant::now();
            let builder = Server::builder();
            drop(if listens { builder.port(0) } else { builder }.start().expect("it starts"));
            began.elapsed()
        };
        // The first one in a process calibrates the clock.
        once();
        median((0..TESTS).map(|_| once()).collect())
    };
    println!(
        "start and stop, ms (median of {TESTS}): {:.2} with a port, {:.2} without",
        start_and_stop(true),
        start_and_stop(false)
    );

    let began = Instant::now();
    for _ in 0..TESTS {
        let server = Server::builder().port(0).start().expect("it starts");
        use_it(TcpStream::connect(server.addr().expect("it listens")).expect("it accepts"));
    }
    let embedded = began.elapsed();
    println!("{TESTS} tests with a server each: {:.3} s embedded", embedded.as_secs_f64());

    let began = Instant::now();
    for _ in 0..TESTS {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let spawned = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn();
        let Ok(mut server) = spawned else {
            println!("no redis-server here to compare with");
            return;
        };
        let client = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(client) => break client,
                Err(_) => std::thread::sleep(Duration::from_micros(200)),
            }
        };
        use_it(client);
        server.kill().expect("it is killed");
        server.wait().expect("it ends");
    }
    let process = began.elapsed();
    println!(
        "{TESTS} tests with a server each: {:.3} s with redis-server as a process, {:.1} times as long",
        process.as_secs_f64(),
        process.as_secs_f64() / embedded.as_secs_f64(),
    );
}
