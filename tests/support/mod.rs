//! What tests share.
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use tidewater::base::clock::Clock;
use tidewater::base::rng::Rng;
use tidewater::command::Session;
use tidewater::command::client::Client;
use tidewater::resp::args::OwnedArgs;
use tidewater::resp::reply::Reply;
use tidewater::server::engine::Setup;
use tidewater::server::{Called, Engine, Worker, all_commands, assemble, cron};

/// A server without a network, with a clock set by hand and a fixed seed, and one client.
pub struct Local {
    pub engine: Arc<Engine>,
    pub clock: Clock,
    worker: Worker,
    session: Session,
}

impl Local {
    pub fn new() -> Self {
        let clock = Clock::manual_at(1_700_000_000_000);
        let engine = assemble(Setup {
            clock: clock.clone(),
            limits: Arc::default(),
            rng: Rng::from_seed(1),
            shards: 16,
            databases: 16,
            services: Default::default(),
            commands: all_commands(),
            renames: Vec::new(),
        });
        let worker = engine.slow_worker();
        let session = session(&engine);
        Self { engine, clock, worker, session }
    }

    /// Another client of the same server.
    pub fn another(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            clock: self.clock.clone(),
            worker: self.engine.slow_worker(),
            session: session(&self.engine),
        }
    }

    /// Runs a command line, split at spaces (`"a b"` keeps quotes' content together); the reply as `show` prints it.
    pub fn run(&mut self, line: &str) -> String {
        let args = tidewater::base::split::split_args(line.as_bytes()).expect("quotes are balanced");
        self.run_args(&args)
    }

    pub fn run_args<A: AsRef<[u8]>>(&mut self, args: &[A]) -> String {
        show(&self.raw(args))
    }

    /// The reply's bytes; empty when the command blocks.
    pub fn raw<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        let args = OwnedArgs::from_iter(args.iter().map(AsRef::as_ref));
        let mut reply = Reply::new(self.session.resp3);
        self.worker.begin(self.engine.env());
        match self.engine.call(&mut self.worker, &mut self.session, &mut reply, args.as_args()) {
            Called::Done => reply.to_vec(),
            Called::Blocked(_) => Vec::new(),
            Called::SlowLane => panic!("this worker owns its time"),
            Called::Paused(_) => panic!("paused"),
        }
    }

    /// As whoever loads the data set: nothing has expired, whatever the clock says.
    pub fn loader(&self) -> Self {
        let loader = self.another();
        loader.session.client.set_flag(tidewater::command::client::flag::LOADER, true);
        loader
    }

    /// Messages pushed to this client.
    pub fn mail(&mut self) -> String {
        let mut mail = Reply::new(false);
        self.session.client.take_mail(&mut mail);
        show(&mail.to_vec())
    }

    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Moves the clock on and lets the cron run.
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        cron::tick(&self.engine, &mut self.worker);
    }
}

fn session(engine: &Engine) -> Session {
    let env = engine.env();
    let id = env.clients.next_id();
    let client = Arc::new(Client::new(
        id,
        format!("127.0.0.1:{id}"),
        "127.0.0.1:6379".into(),
        8,
        env.clock.now_ms(),
        Box::new(|| {}),
    ));
    env.clients.add(client.clone());
    Session::new(client, true)
}

/// RESP as one line of text: `1`, `"bulk"`, `nil`, `[a, b]`, `{k: v}`, `~[set]`, `(error) ERR ...`, `OK`.
pub fn show(resp: &[u8]) -> String {
    let mut at = 0;
    let mut out = Vec::new();
    while at < resp.len() {
        out.push(show_one(resp, &mut at));
    }
    out.join(" | ")
}

fn line<'a>(resp: &'a [u8], at: &mut usize) -> &'a str {
    let rest = &resp[*at..];
    let end = rest.windows(2).position(|w| w == b"\r\n").expect("a whole reply");
    *at += end + 2;
    std::str::from_utf8(&rest[..end]).expect("headers are text")
}

fn show_one(resp: &[u8], at: &mut usize) -> String {
    let kind = resp[*at];
    *at += 1;
    let head = line(resp, at).to_owned();
    let mut items = |n: usize| (0..n).map(|_| show_one(resp, at)).collect::<Vec<_>>();
    match kind {
        b'+' => head,
        b':' => head,
        b'-' => format!("(error) {head}"),
        b',' => format!(",{head}"),
        b'#' => {
            if head == "t" {
                "true".into()
            } else {
                "false".into()
            }
        }
        b'_' => "nil".into(),
        b'(' => format!("({head}"),
        b'$' | b'=' if head == "-1" => "nil".into(),
        b'*' if head == "-1" => "nil-array".into(),
        b'$' | b'=' => {
            let n: usize = head.parse().expect("a length");
            let text = String::from_utf8_lossy(&resp[*at..*at + n]).into_owned();
            *at += n + 2;
            format!("{text:?}")
        }
        b'*' | b'~' | b'>' => {
            let n = head.parse().expect("a length");
            let prefix = match kind {
                b'~' => "~",
                b'>' => ">",
                _ => "",
            };
            format!("{prefix}[{}]", items(n).join(", "))
        }
        b'%' | b'|' => {
            let n: usize = head.parse().expect("a length");
            let all = items(2 * n);
            let pairs: Vec<_> = all.chunks(2).map(|p| format!("{}: {}", p[0], p[1])).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => panic!("unknown reply type {:?}", other as char),
    }
}

/// Whether tests take their time: `tests/nightly` says so.
pub fn long() -> bool {
    std::env::var_os("TIDEWATER_LONG").is_some_and(|v| v != "0")
}
