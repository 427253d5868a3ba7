//! MIGRATE between servers, and to targets that misbehave.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::{Server, Wire, eventually};

/// A target played by the test: it sees each request and answers when told.
struct Fake {
    stream: BufReader<TcpStream>,
}

impl Fake {
    fn accept(listener: &TcpListener) -> Self {
        Fake { stream: BufReader::new(listener.accept().unwrap().0) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The words of the next request.
    fn request(&mut self) -> Vec<String> {
        let n: usize = self.line().strip_prefix('*').expect("a request").parse().unwrap();
        let word = |_| {
            let len: usize = self.line().strip_prefix('$').unwrap().parse().unwrap();
            let mut bytes = vec![0; len + 2];
            self.stream.read_exact(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..len]).into_owned()
        };
        (0..n).map(word).collect()
    }

    fn answer(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The next request but its payload, answered with OK.
    fn serve(&mut self) -> String {
        let mut words = self.request();
        self.answer("+OK");
        if words[0] == "RESTORE" {
            words.remove(3);
        }
        words.join(" ")
    }
}

fn fake() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn pair() -> (Server, Server, Wire, Wire) {
    let (a, b) = (Server::start(), Server::start());
    let (from, to) = (a.connect(), b.connect());
    (a, b, from, to)
}

#[test]
fn every_type_moves_with_its_ttl() {
    let (_a, b, mut from, mut to) = pair();
    from.ask("SETRANGE s 199999 x");
    from.ask("SET i 5");
    from.ask("RPUSH l a b 3");
    from.ask("SADD set 1 2 a");
    from.ask("ZADD z 1 a 2 b");
    from.ask("HSET h f v");
    from.bulk("XADD x 1-1 f v");
    from.ask("XGROUP CREATE x g 0");
    from.ask("PEXPIRE h 100000");
    let digest = from.ask("DEBUG DIGEST");
    let keys = "s i l set z h x";
    assert_eq!(from.ask(&format!("MIGRATE 127.0.0.1 {} \"\" 0 5000 COPY KEYS {keys} none", b.port)), "+OK");
    assert_eq!(from.ask("DBSIZE"), ":7");
    assert_eq!(to.ask("DBSIZE"), ":7");
    assert_eq!(from.ask("DEBUG DIGEST"), digest);
    to.ask("FLUSHALL");
    assert_eq!(from.ask(&format!("MIGRATE 127.0.0.1 {} \"\" 0 5000 KEYS {keys}", b.port)), "+OK");
    assert_eq!(from.ask("DBSIZE"), ":0");
    to.ask("PERSIST h");
    from.ask(&format!("MIGRATE 127.0.0.1 {} none 0 5000", b.port));
    for (question, answer) in
        [("STRLEN s", ":200000"), ("LLEN l", ":3"), ("SCARD set", ":3"), ("ZCARD z", ":2")]
    {
        assert_eq!(to.ask(question), answer);
    }
    assert_eq!(to.ask("XPENDING x g"), "*4");
}

#[test]
fn options_and_their_errors() {
    let (_a, b, mut from, mut to) = pair();
    let port = b.port;
    let mut ask = |rest: &str| from.ask(&rest.replace("TO", &format!("MIGRATE 127.0.0.1 {port}")));
    assert_eq!(ask("TO none 0 1000"), "+NOKEY");
    assert_eq!(ask("TO \"\" 0 1000 KEYS"), "+NOKEY");
    assert_eq!(ask("TO k 0 1000 nonsense"), "-ERR syntax error");
    assert_eq!(ask("TO k 0 1000 AUTH2 a"), "-ERR syntax error");
    assert_eq!(ask("TO k x 1000"), "-ERR value is not an integer or out of range");
    assert!(ask("TO k 0 1000 KEYS a").contains("empty string"));
    ask("SET k new");
    to.ask("SET k old");
    assert_eq!(
        ask("TO k 0 1000"),
        "-ERR Target instance replied with error: BUSYKEY Target key name already exists."
    );
    assert_eq!(ask("TO k 99 1000"), "-ERR Target instance replied with error: ERR DB index is out of range");
    assert_eq!(ask("EXISTS k"), ":1");
    assert_eq!(ask("TO k 0 1000 REPLACE"), "+OK");
    assert_eq!(ask("EXISTS k"), ":0");
    assert_eq!(to.bulk("GET k"), "new");
    // Only what has arrived goes.
    ask("MSET k 1 m 2");
    assert!(ask("TO \"\" 0 1000 KEYS k m").contains("BUSYKEY"));
    assert_eq!((ask("EXISTS k"), ask("EXISTS m")), (":1".into(), ":0".into()));
    assert!(ask("TO k 0 1000 AUTH wrong").starts_with("-ERR Target instance replied with error: "));
    // As one of a transaction's commands.
    assert_eq!(ask("MULTI"), "+OK");
    assert_eq!(ask("TO k 3 1000"), "+QUEUED");
    assert_eq!(ask("EXISTS k"), "+QUEUED");
    assert_eq!(ask("EXEC"), "*2");
    assert_eq!((from.line(), from.line()), ("+OK".into(), ":0".into()));
    assert!(from.bulk("INFO stats").contains("migrate_cached_sockets:1"));
}

#[test]
fn targets_that_do_not_answer() {
    let server = Server::start();
    let mut c = server.connect();
    c.ask("SET k v");
    let (listener, port) = fake();
    assert_eq!(
        c.ask(&format!("MIGRATE 127.0.0.1 {port} k 0 50")),
        "-IOERR error or timeout reading to target instance"
    );
    drop(listener);
    assert_eq!(
        c.ask(&format!("MIGRATE 127.0.0.1 {port} k 0 50")),
        "-IOERR error or timeout connecting to the client"
    );
    assert_eq!(c.ask("EXISTS k"), ":1");
    // A connection that was kept and that the target has closed is made anew.
    let (listener, port) = fake();
    c.send(format!("MIGRATE 127.0.0.1 {port} k 2 5000 COPY\r\nMIGRATE 127.0.0.1 {port} k 2 5000\r\n"));
    let mut first = Fake::accept(&listener);
    assert_eq!((first.serve(), first.serve()), ("SELECT 2".into(), "RESTORE k 0".into()));
    drop(first);
    let mut second = Fake::accept(&listener);
    assert_eq!((second.serve(), second.serve()), ("SELECT 2".into(), "RESTORE k 0".into()));
    assert_eq!((c.line(), c.line()), ("+OK".into(), "+OK".into()));
    assert_eq!(c.ask("EXISTS k"), ":0");
}

#[test]
fn nobody_waits_and_no_write_is_lost() {
    let server = Server::start();
    let (mut mover, mut writer) = (server.connect(), server.connect());
    writer.ask("MSET k 1 gone 1 calm 1");
    let (listener, port) = fake();
    mover.send(format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 KEYS k gone calm\r\n"));
    let mut target = Fake::accept(&listener);
    assert_eq!(target.serve(), "SELECT 0");
    let requests: Vec<_> = (0..3).map(|_| target.request()).collect();
    // The keys are on their way, and here all the same.
    assert_eq!(writer.ask("INCR k"), ":2");
    assert_eq!(writer.ask("DEL gone"), ":1");
    requests.iter().for_each(|_| target.answer("+OK"));
    assert_eq!((target.serve(), target.serve()), ("RESTORE k 0 REPLACE".into(), "DEL gone".into()));
    assert_eq!(mover.line(), "+OK");
    assert_eq!(writer.ask("DBSIZE"), ":0");
    // What never rests stays.
    writer.ask("SET k 1");
    mover.send(format!("MIGRATE 127.0.0.1 {port} k 0 5000\r\n"));
    for round in 0..9 {
        assert_eq!(target.request()[0], "RESTORE", "{round}");
        writer.ask("INCR k");
        target.answer("+OK");
    }
    assert!(mover.line().starts_with("-ERR some keys changed"));
    assert_eq!(writer.ask("INCR k"), ":11");
}

#[test]
fn many_that_hang_leave_the_slow_lane_to_others() {
    let server = Server::start();
    let (_listener, port) = fake();
    let mut c = server.connect();
    c.ask("SET k v");
    let mut hanging: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for h in &mut hanging {
        h.send(format!("MIGRATE 127.0.0.1 {port} k 0 3000\r\n"));
    }
    let began = std::time::Instant::now();
    eventually("all are under way", || c.ask("TESTSLOW") == "+SLOW");
    assert!(began.elapsed().as_millis() < 2000);
    assert_eq!(c.ask("INCR other"), ":1");
}

#[test]
fn every_increment_is_counted_once_wherever_it_ends() {
    let (a, b, mut from, mut to) = pair();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sum = |answer: String| answer.parse::<u64>().unwrap_or(0);
    let (made, moved) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|i| {
                let (mut c, stop) = (a.connect(), &stop);
                scope.spawn(move || {
                    let mut n = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        assert!(c.ask("INCR k").starts_with(':'));
                        n += 1;
                        // Now and then it rests for longer than a move takes, and goes at times.
                        if n % (50 + i) == 0 {
                            std::thread::sleep(std::time::Duration::from_millis(8));
                        }
                    }
                    n
                })
            })
            .collect();
        let (mut moved, mut moves) = (0, 0);
        let end = std::time::Instant::now() + std::time::Duration::from_millis(600);
        while std::time::Instant::now() < end {
            match from.ask(&format!("MIGRATE 127.0.0.1 {} k 0 5000", b.port)).as_str() {
                "+OK" => {
                    moves += 1;
                    moved += sum(to.bulk("GETDEL k"));
                }
                // The copy there is out of date.
                error if error.starts_with("-ERR some keys") => assert_eq!(to.ask("DEL k"), ":1"),
                other => assert_eq!(other, "+NOKEY"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(moves > 10, "{moves}");
        (writers.into_iter().map(|w| w.join().unwrap()).sum::<u64>(), moved)
    });
    let left = if from.ask("EXISTS k") == ":1" { sum(from.bulk("GET k")) } else { 0 };
    assert_eq!(made, moved + left);
}
