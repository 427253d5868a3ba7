//! One connection: reads requests, calls the engine, writes replies.
//!
//! Hot path: a batch of pipelined requests costs one read and one write; no allocation once buffers are warm.
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arrayvec::ArrayVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::bell::Bell;
use super::worker::{INPUT_BYTES, Local};
use crate::base::reclaim::Long;
use crate::command::client::{Client, flag};
use crate::command::session::ReplyMode;
use crate::command::{self, Lane, Session};
use crate::keyspace::{Waiter, WaiterState};
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::reply::Reply;
use crate::resp::request::{ParseLimits, Parser, ProtocolError, Status};
use crate::server::Called;
use crate::server::engine::GROUP_MAX;

/// A socket that the acceptor hands to a worker.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) addr: String,
    pub(super) laddr: String,
    pub(super) fd: i64,
    pub(super) id: u64,
    pub(super) authenticated: bool,
}

pub(super) enum Socket {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(s) => Stream::Tcp(TcpStream::from_std(s)?),
            #[cfg(unix)]
            Socket::Unix(s) => Stream::Unix(UnixStream::from_std(s)?),
        })
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            #[cfg(unix)]
            Stream::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, reply: &Reply, sent: usize) -> Poll<io::Result<usize>> {
        if !reply.has_shared() {
            let rest = reply.buf.get(sent..).unwrap_or_default();
            let rest = &rest[..rest.len().min(SEND_BYTES)];
            return match self {
                Stream::Tcp(s) => Pin::new(s).poll_write(cx, rest),
                #[cfg(unix)]
                Stream::Unix(s) => Pin::new(s).poll_write(cx, rest),
            };
        }
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        reply.io_slices(&mut slices, sent);
        slices.truncate(64);
        match self {
            Stream::Tcp(s) => Pin::new(s).poll_write_vectored(cx, &slices),
            #[cfg(unix)]
            Stream::Unix(s) => Pin::new(s).poll_write_vectored(cx, &slices),
        }
    }
}

/// Replies above this many bytes are sent before more of the batch is run, if the socket takes them.
const FLUSH_BYTES: usize = 64 * 1024;
/// A long reply goes out in pieces of this size, between which the worker's other connections have their turn.
const SEND_BYTES: usize = 256 * 1024;
/// From this size on a reply buffer is freed in the background: giving its pages back takes the kernel a while.
const RECLAIM_BYTES: usize = 1 << 20;
/// Output that may wait for a client that has not logged in.
const UNAUTHENTICATED_BYTES: usize = 17 * 1024;
/// Buffers that have become larger than this are given back once they are empty.
const KEEP_BYTES: usize = 64 * 1024;
/// After this much input the worker's other connections have their turn.
const TURN_BYTES: usize = 256 * 1024;
/// From this much missing input on a connection reads straight into its own buffer, to copy it once less.
const DIRECT_BYTES: usize = 32 * 1024;
/// How long writes are held back at a time while the journal's readers lag.
const FULL_PAUSE: Duration = Duration::from_millis(1);

struct Connection {
    local: Rc<Local>,
    stream: Stream,
    client: Arc<Client>,
    bell: Arc<Bell>,
    /// Whom the bell wakes at present.
    waker: Option<Waker>,
    /// Taken while a slow-lane thread runs a command of this client.
    session: Option<Box<Session>>,
    parser: Parser,
    /// Input not yet consumed, from `start` on: a request is incomplete or the batch had to stop.
    input: Vec<u8>,
    start: usize,
    /// Bytes that the request at `start` lacks at least.
    need: usize,
    /// The last read filled its buffer: there may be more at once.
    greedy: bool,
    reply: Reply,
    /// Bytes of `reply` already sent.
    sent: usize,
    /// The journal's offset that the replies vouch for.
    vouched: u64,
    eof: bool,
}

/// Why a batch stopped.
enum Stop {
    /// The input is used up, or ends within a request.
    Drained,
    /// Enough output to be sent first.
    Flush,
    /// Enough done in one turn.
    Yield,
    Blocked(Arc<Waiter>),
    Slow(OwnedArgs),
    Paused(u64),
    /// Close, after sending what is written.
    Close,
    /// Close at once.
    Abort,
}

/// Serves a connection to its end. A panic while it runs costs this connection alone.
pub(super) async fn serve(local: Rc<Local>, accepted: Accepted) {
    let Ok(stream) = Stream::new(accepted.socket) else { return };
    let engine = local.engine.clone();
    let env = engine.env();
    let bell = Arc::new(Bell::default());
    let ring = {
        let bell = bell.clone();
        Box::new(move || bell.ring())
    };
    let now = env.clock.now_ms();
    let client = Client::new(accepted.id, accepted.addr, accepted.laddr, accepted.fd, now, ring);
    #[cfg(unix)]
    client.set_flag(flag::UNIX, matches!(stream, Stream::Unix(_)));
    client.worker.store(local.index, Ordering::Relaxed);
    let client = Arc::new(client);
    env.clients.add(client.clone());
    let reply = local.replies.borrow_mut().pop().unwrap_or_else(|| Reply::new(false));
    let mut connection = Connection {
        stream,
        session: Some(Box::new(Session::new(client.clone(), accepted.authenticated))),
        client,
        bell,
        waker: None,
        parser: Parser::new(),
        input: Vec::new(),
        start: 0,
        need: 0,
        greedy: false,
        reply,
        sent: 0,
        vouched: 0,
        eof: false,
        local,
    };
    let panicked = {
        let mut run = std::pin::pin!(connection.run());
        poll_fn(|cx| {
            let poll = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
            poll.map_or(Poll::Ready(true), |poll| poll.map(|_| false))
        })
        .await
    };
    if panicked {
        // Whatever it was parsing is nobody's.
        connection.local.parsers.borrow_mut().iter_mut().for_each(Parser::reset);
        tracing::error!(client = connection.client.id, "a command panicked; its connection is closed");
    }
}

impl Connection {
    /// Runs until the client goes, or must go; an error is nobody's to hear.
    async fn run(&mut self) -> io::Result<()> {
        let mut stop = Stop::Drained;
        loop {
            match stop {
                Stop::Drained => {
                    stop = self.wait().await?;
                    continue;
                }
                Stop::Flush => self.flush_some().await?,
                Stop::Yield => {
                    self.flush_some().await?;
                    tokio::task::yield_now().await;
                }
                Stop::Close => return self.flush_all().await,
                Stop::Abort => return Ok(()),
                Stop::Blocked(waiter) => self.wait_blocked(waiter).await?,
                Stop::Slow(args) => self.run_slow(args).await?,
                Stop::Paused(until) => self.wait_paused(until).await?,
            }
            while self.local.engine.env().journal.is_full() && !self.client.closing() {
                tokio::time::sleep(FULL_PAUSE).await;
            }
            stop = if self.client.closing() { Stop::Close } else { self.batch() };
        }
    }

    fn pending(&self) -> usize {
        self.reply.total_len() - self.sent
    }

    /// Runs the requests that the connection's own buffer holds.
    fn batch(&mut self) -> Stop {
        if self.input.is_empty() {
            return Stop::Drained;
        }
        let input = std::mem::take(&mut self.input);
        let (used, stop) = self.run_batch(&input[self.start..]);
        self.input = input;
        self.start += used;
        if self.start == self.input.len() {
            self.forget_input();
        } else if self.start > self.input.len() / 2 {
            // What moves is less than what has gone, so that all moving together stays linear.
            self.input.drain(..self.start);
            self.start = 0;
        }
        self.note_input();
        stop
    }

    fn forget_input(&mut self) {
        self.start = 0;
        self.input.clear();
        if self.input.capacity() > KEEP_BYTES {
            self.input = Vec::new();
            // A giant request takes a giant parser, whose own or one of its group.
            self.local.parsers.borrow_mut().iter_mut().for_each(Parser::shrink);
        }
        if self.parser.memory_bytes() > KEEP_BYTES {
            self.parser.shrink();
        }
    }

    fn note_input(&self) {
        let waiting = (self.input.len() - self.start).saturating_sub(self.parser.settled());
        self.client.query_bytes.store(waiting, Ordering::Relaxed);
        self.client.query_capacity.store(self.input.capacity(), Ordering::Relaxed);
        self.note_memory();
    }

    fn note_memory(&self) {
        self.local.engine.env().note_client_memory(&self.client);
    }

    /// Runs the requests in `input`; tells how many bytes are used up and why it stopped.
    fn run_batch(&mut self, input: &[u8]) -> (usize, Stop) {
        let local = self.local.clone();
        let engine = &local.engine;
        let env = engine.env();
        let mut worker = local.worker.borrow_mut();
        worker.begin(env);
        self.client.last_seen_ms.store(worker.now(), Ordering::Relaxed);
        let session = self.session.as_mut().expect("no slow command is running");
        // A client with a hard limit gets nothing of a batch that passes it, as little of it is sent early.
        let hard = env.output_limits[self.client.output_class() as usize].hard();
        let check_at = hard.unwrap_or(FLUSH_BYTES).min(FLUSH_BYTES);
        let flush_at = self.reply.total_len() + hard.unwrap_or(0).max(FLUSH_BYTES);
        let mut parsers = local.parsers.borrow_mut();
        // The first parser of a group is the connection's own, which may have begun a request before.
        std::mem::swap(&mut self.parser, &mut parsers[0]);
        let mut used = 0;
        let stop = loop {
            let limits = parse_limits(env, session);
            // One at a time before a client has proved itself, as its requests are bounded more tightly, and where a
            // request's output may be the last straw.
            let most = if session.authenticated && hard.is_none() { parsers.len() } else { 1 };
            let (ends, parsed) = parse_group(&mut parsers[..most], &input[used..], &limits);
            let mut requests: ArrayVec<Args<'_>, GROUP_MAX> = ArrayVec::new();
            let mut start = used;
            for (parser, end) in parsers.iter().zip(&ends) {
                requests.push(parser.args(&input[start..used + end]));
                start = used + end;
            }
            self.client.query_bytes.store(input.len() - used, Ordering::Relaxed);
            let (done, called) = engine.call_many(&mut worker, session, &mut self.reply, &requests);
            let next = requests.get(done).map(|&args| OwnedArgs::from_args(args));
            drop(requests);
            let end_of = |n: usize| n.checked_sub(1).map_or(used, |last| used + ends[last]);
            let stop = match called {
                Called::Done if done < ends.len() => Some(Stop::Close),
                Called::Done => None,
                Called::Blocked(waiter) => Some(Stop::Blocked(waiter)),
                Called::SlowLane => Some(Stop::Slow(next.expect("it stands after those that ran"))),
                Called::Paused(until) => Some(Stop::Paused(until)),
            };
            if let Some(stop) = stop {
                used = end_of(if matches!(stop, Stop::Slow(_)) { done + 1 } else { done });
                // What was parsed beyond this point will be parsed anew.
                parsers.iter_mut().for_each(Parser::reset);
                break stop;
            }
            used = end_of(done);
            let pending = self.reply.total_len() - self.sent;
            if pending > check_at && env.enforce_output_limit(&self.client, pending) {
                break Stop::Abort;
            }
            if pending > UNAUTHENTICATED_BYTES && !limits.authenticated {
                env.stats.obuf_disconnects.fetch_add(1, Ordering::Relaxed);
                break Stop::Abort;
            }
            if session.quit || self.client.closing() {
                break Stop::Close;
            }
            match parsed {
                Parsed::Full => {}
                Parsed::All => {
                    break if std::mem::take(&mut self.greedy) { Stop::Yield } else { Stop::Drained };
                }
                Parsed::Partial { need } => {
                    self.need = need;
                    // It goes on from where it stands when more has come.
                    parsers.swap(0, ends.len());
                    if input.len() - used > env.limits.client_query_buffer_limit.get() {
                        env.stats.qbuf_disconnects.fetch_add(1, Ordering::Relaxed);
                        break Stop::Abort;
                    }
                    break if std::mem::take(&mut self.greedy) { Stop::Yield } else { Stop::Drained };
                }
                Parsed::Corrupt(error) => {
                    let mut text = b"ERR ".to_vec();
                    text.extend_from_slice(&error.text());
                    self.reply.error_bytes(&text);
                    worker.stats.error_replies.add(1);
                    env.stats.count_error("ERR");
                    break Stop::Close;
                }
            }
            if self.reply.total_len() > flush_at {
                break Stop::Flush;
            }
            if used > TURN_BYTES {
                break Stop::Yield;
            }
        };
        std::mem::swap(&mut self.parser, &mut parsers[0]);
        self.vouched = session.journaled;
        if matches!(stop, Stop::Close | Stop::Abort) {
            used = input.len();
        }
        (used, stop)
    }

    /// Waits until there is something to run, and runs it; meanwhile sends what is written and picks up messages from
    /// others.
    async fn wait(&mut self) -> io::Result<Stop> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(e)) = self.poll_deliver(cx) {
                return Poll::Ready(Err(e));
            }
            if self.client.closing() || (self.eof && self.pending() == 0) {
                return Poll::Ready(Ok(Stop::Close));
            }
            if self.eof {
                return Poll::Pending;
            }
            self.poll_batch(cx)
        })
        .await
    }

    /// Messages from other clients (pub/sub, MONITOR) go into the reply buffer, and that to the socket.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bell.poll(cx, &mut self.waker);
        if self.client.has_mail() {
            self.client.take_mail(&mut self.reply);
            self.note_output();
        }
        if self.pending() == 0 { Poll::Ready(Ok(())) } else { self.poll_send(cx) }
    }

    /// With `appendfsync always`, what vouches for a write is held until the write is durable. If nobody can tell whether
    /// it is, the client learns just that: its connection ends without an answer.
    #[inline]
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<()>>> {
        let gate = &self.local.engine.env().journal.gate;
        if !gate.holds_replies() || self.pending() == 0 {
            return None;
        }
        match gate.poll(self.vouched, cx) {
            Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(e)) => Some(Poll::Ready(Err(io::Error::other(e)))),
            Poll::Pending => {
                self.note_output();
                Some(Poll::Pending)
            }
        }
    }

    /// Sends until all is out or the socket is full.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(result) = self.poll_gate(cx) {
            return result;
        }
        let backlog = self.client.output_bytes.load(Ordering::Relaxed) > 0;
        let turn = self.sent + SEND_BYTES;
        while self.pending() > 0 {
            if self.sent >= turn {
                self.note_output();
                // Not by waking itself: the runtime would not look at other sockets for many more turns.
                return std::pin::pin!(tokio::task::yield_now()).poll(cx).map(Ok);
            }
            match self.stream.poll_write(cx, &self.reply, self.sent) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.sent += n;
                    let local = self.local.worker.borrow();
                    local.stats.net_out.add(n as u64);
                    local.stats.writes.add(1);
                    add(&self.client.total_net_out, n);
                    if backlog {
                        // A client that takes a long reply slowly is not idle.
                        let now = self.local.engine.env().clock.now_ms();
                        self.client.last_seen_ms.store(now, Ordering::Relaxed);
                    }
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {
                    // What moves is little, or little against what has gone.
                    let pending = self.pending();
                    let little = pending <= RECLAIM_BYTES || self.sent / 8 > pending;
                    if self.sent > FLUSH_BYTES && self.sent > pending && little {
                        self.sent = self.reply.drop_front(self.sent);
                    }
                    self.note_output();
                    return Poll::Pending;
                }
            }
        }
        if self.reply.memory_bytes() > RECLAIM_BYTES {
            let empty = Reply::new(self.reply.resp3());
            let mut sent = std::mem::replace(&mut self.reply, empty);
            let buffer = Long(std::mem::take(&mut sent.buf));
            self.local.engine.env().reclaimer.send(Box::new((buffer, sent)), 0);
        }
        self.reply.clear();
        self.sent = 0;
        if self.reply.memory_bytes() > 2 * KEEP_BYTES {
            self.reply.shrink(KEEP_BYTES);
        }
        self.note_output();
        Poll::Ready(Ok(()))
    }

    fn note_output(&self) {
        let (client, capacity) = (&self.client, self.reply.memory_bytes());
        client.output_bytes.store(self.pending(), Ordering::Relaxed);
        client.output_capacity.store(capacity, Ordering::Relaxed);
        if capacity > client.output_peak.load(Ordering::Relaxed) {
            client.output_peak.store(capacity, Ordering::Relaxed);
        }
        self.note_memory();
    }

    /// Reads and runs what has come, straight from the worker's buffer if the connection's own holds nothing.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stop>> {
        if !self.input.is_empty() {
            return self.poll_fill(cx).map_ok(|()| self.batch());
        }
        let local = self.local.clone();
        let mut input = local.input.borrow_mut();
        let n = match poll_read(&mut self.stream, cx, &mut input) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(n) => n?,
        };
        self.received(n);
        let (used, stop) = self.run_batch(&input[..n]);
        if used < n {
            self.input.extend_from_slice(&input[used..n]);
            self.note_input();
        } else if self.input.capacity() > 0 || self.parser.memory_bytes() > KEEP_BYTES {
            self.forget_input();
            self.note_input();
        } else {
            self.client.query_bytes.store(0, Ordering::Relaxed);
            self.note_memory();
        }
        Poll::Ready(Ok(stop))
    }

    /// Reads into the connection's own buffer. Ready when something came, or the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let n = if self.need >= DIRECT_BYTES && !self.input.is_empty() {
            // A large request: in larger and larger pieces, but no further than it goes. The client names its size,
            // so it gets room for no more than what it has already sent again.
            let held = self.input.len() - self.start;
            // A rest too small for this way comes with it, lest the buffer double for its sake.
            let room = if self.need <= held + DIRECT_BYTES { self.need } else { held.max(INPUT_BYTES) };
            self.input.reserve_exact(room);
            let mut buf = ReadBuf::uninit(self.input.spare_capacity_mut());
            match self.stream.poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => result?,
            }
            let n = buf.filled().len();
            extend_filled(&mut self.input, n);
            self.need = self.need.saturating_sub(n);
            n
        } else {
            let mut input = self.local.input.borrow_mut();
            let n = match poll_read(&mut self.stream, cx, &mut input) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(n) => n?,
            };
            self.input.extend_from_slice(&input[..n]);
            n
        };
        self.received(n);
        self.note_input();
        Poll::Ready(Ok(()))
    }

    fn received(&mut self, n: usize) {
        self.eof = n == 0;
        self.greedy = n >= INPUT_BYTES;
        let worker = self.local.worker.borrow();
        worker.stats.net_in.add(n as u64);
        worker.stats.reads.add(1);
        add(&self.client.total_net_in, n);
    }

    /// Sends what the socket takes now, without waiting for the rest.
    async fn flush_some(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.poll_send(cx) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            _ => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Sends everything, or fails when the client goes or is closed.
    async fn flush_all(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            self.bell.poll(cx, &mut self.waker);
            if self.client.has_flag(flag::CLOSE_NOW) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.poll_send(cx)
        })
        .await
    }

    /// While the client's command waits: sends, delivers messages, and keeps what comes for later. Ready only with the
    /// client's end.
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Poll::Ready(Err(e)) = self.poll_deliver(cx) {
            return Poll::Ready(e);
        }
        if self.client.closing() {
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        let env = self.local.engine.env().clone();
        loop {
            match self.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(e),
                Poll::Ready(Ok(())) if self.eof => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Ok(())) => {}
            }
            if self.input.len() - self.start > env.limits.client_query_buffer_limit.get() {
                env.stats.qbuf_disconnects.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }

    /// Waits for a blocked command's reply, its deadline, or the client's end.
    async fn wait_blocked(&mut self, waiter: Arc<Waiter>) -> io::Result<()> {
        let engine = self.local.engine.clone();
        let env = engine.env();
        loop {
            let left = waiter
                .deadline_ms
                .filter(|_| !env.clock.is_manual())
                .map(|at| Duration::from_millis(at.saturating_sub(env.clock.now_ms())));
            let timer = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                biased;
                end = self.wait_waiter(&waiter) => { end?; true }
                () = timer => false,
            };
            match waiter.state() {
                WaiterState::Done => break,
                WaiterState::Retry if waiter.claim_by_owner() => self.retry_blocked(&waiter).await,
                _ if !woken => {
                    let due = waiter.deadline_ms.is_some_and(|at| at <= env.clock.now_ms());
                    if due && waiter.claim() {
                        let mut reply = Reply::new(waiter.resp3);
                        (waiter.on_timeout)(&mut reply);
                        command::count_unblocked(env, &self.local.worker.borrow().stats, &waiter, None);
                        command::end_wait(env, &waiter, reply);
                        break;
                    }
                }
                _ => {}
            }
        }
        command::forget_waiter(env, &waiter);
        if let Some(reply) = waiter.take_reply() {
            self.answer(reply);
        }
        Ok(())
    }

    /// Takes a reply that was written elsewhere, unless CLIENT REPLY wants none.
    fn answer(&mut self, reply: Reply) {
        // Whoever served it has appended the effect before it told us.
        self.vouched = self.local.engine.env().journal.end();
        let session = self.session.as_mut().expect("no slow command is running");
        match session.reply_mode {
            ReplyMode::On => self.reply.append(reply),
            ReplyMode::Skip => session.reply_mode = ReplyMode::On,
            ReplyMode::Off | ReplyMode::SkipNext => {}
        }
    }

    /// Runs a blocked command again that a pusher could not serve for lack of a lock; the waiter is claimed. In the
    /// slow lane, as it waits for its locks.
    async fn retry_blocked(&mut self, waiter: &Arc<Waiter>) {
        let engine = self.local.engine.clone();
        let (tx, rx) = tokio::sync::oneshot::channel::<()>();
        let (lane, waiter) = (engine.clone(), waiter.clone());
        engine.slow().submit(Box::new(move |worker| {
            worker.begin(lane.env());
            lane.retry(worker, &waiter);
            drop(tx);
        }));
        let _ = rx.await;
    }

    /// Waits until the waiter's state has changed; fails when the client goes.
    async fn wait_waiter(&mut self, waiter: &Waiter) -> io::Result<()> {
        poll_fn(|cx| {
            if let Poll::Ready(e) = self.poll_meanwhile(cx) {
                return Poll::Ready(Err(e));
            }
            match waiter.state() {
                WaiterState::Done | WaiterState::Retry => Poll::Ready(Ok(())),
                WaiterState::Waiting | WaiterState::Claimed => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for the end of a CLIENT PAUSE.
    async fn wait_paused(&mut self, until: u64) -> io::Result<()> {
        let engine = self.local.engine.clone();
        let env = engine.env();
        env.gauges.blocked.fetch_add(1, Ordering::Relaxed);
        self.client.set_flag(flag::BLOCKED, true);
        let client = self.client.clone();
        let left = Duration::from_millis(until.saturating_sub(env.clock.now_ms()));
        let delayed = self.session.as_ref().is_some_and(|s| s.delayed_until.is_some());
        let timer = tokio::time::sleep(left);
        let end = tokio::select! {
            e = poll_fn(|cx| match self.poll_meanwhile(cx) {
                Poll::Ready(e) => Poll::Ready(Err(e)),
                Poll::Pending if !delayed && !env.is_paused_until(until) => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }) => e,
            () = timer => Ok(()),
        };
        client.set_flag(flag::BLOCKED, false);
        env.gauges.blocked.fetch_sub(1, Ordering::Relaxed);
        end
    }

    /// Runs a command in the slow lane while this worker serves its other connections.
    async fn run_slow(&mut self, mut args: OwnedArgs) -> io::Result<()> {
        let engine = self.local.engine.clone();
        let hard = engine.env().output_limits[self.client.output_class() as usize].hard();
        loop {
            // As in `run_batch`: a batch that passes a hard limit is not sent in part.
            if hard.is_none() {
                self.flush_some().await?;
            }
            let mut session = self.session.take().expect("one command at a time");
            let resp3 = session.resp3;
            let (tx, rx) = tokio::sync::oneshot::channel();
            let lane = engine.clone();
            engine.slow().submit(Box::new(move |worker| {
                debug_assert!(worker.lane == Lane::Slow);
                worker.begin(lane.env());
                let mut reply = Reply::new(resp3);
                let run = || lane.call(worker, &mut session, &mut reply, args.as_args());
                let Ok(called) = catch_unwind(AssertUnwindSafe(run)) else {
                    // The connection hears of it by the channel's end.
                    lane.close_session(&mut session);
                    return;
                };
                // The connection may be gone; then its session ends with it.
                if let Err((mut session, ..)) = tx.send((session, reply, called, args)) {
                    lane.close_session(&mut session);
                }
            }));
            let Ok((session, reply, called, same)) = rx.await else {
                // The command panicked; its session is lost, and with it the connection.
                engine.abandon(&self.client);
                return Err(io::ErrorKind::ConnectionAborted.into());
            };
            self.reply.set_resp3(session.resp3);
            let quit = session.quit;
            self.vouched = session.journaled.max(self.vouched);
            self.session = Some(session);
            self.reply.append(reply);
            match called {
                Called::Done | Called::SlowLane => {}
                Called::Blocked(waiter) => self.wait_blocked(waiter).await?,
                Called::Paused(until) => {
                    self.wait_paused(until).await?;
                    args = same;
                    continue;
                }
            }
            if quit {
                self.client.set_flag(flag::CLOSE_AFTER_REPLY, true);
            }
            if engine.env().enforce_output_limit(&self.client, self.pending()) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            return Ok(());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(mut session) = self.session.take() {
            self.local.engine.close_session(&mut session);
        }
        // Spare buffers are kept for the next connection, up to a few and while they are small.
        let mut spare = self.local.replies.borrow_mut();
        if spare.len() < 64 && self.reply.memory_bytes() <= FLUSH_BYTES {
            self.reply.clear();
            self.reply.set_resp3(false);
            spare.push(std::mem::replace(&mut self.reply, Reply::new(false)));
        }
    }
}

/// How far a group of requests was parsed.
enum Parsed {
    /// Every parser has a request; there may be more.
    Full,
    /// The input is used up.
    All,
    /// The parser after the last whole request holds the beginning of another, of which so many bytes are missing.
    Partial { need: usize },
    /// The client does not speak RESP.
    Corrupt(ProtocolError),
}

/// Parses up to a request a parser; gives the end of each.
fn parse_group(
    parsers: &mut [Parser],
    input: &[u8],
    limits: &ParseLimits,
) -> (ArrayVec<usize, GROUP_MAX>, Parsed) {
    let mut ends = ArrayVec::new();
    let mut at = 0;
    for parser in parsers {
        let rest = &input[at..];
        if rest.is_empty() {
            return (ends, Parsed::All);
        }
        match parser.next(rest, limits) {
            Ok(Status::Complete { consumed }) => {
                at += consumed;
                ends.push(at);
            }
            Ok(Status::Incomplete { need }) => return (ends, Parsed::Partial { need }),
            Err(error) => return (ends, Parsed::Corrupt(error)),
        }
    }
    (ends, Parsed::Full)
}

fn parse_limits(env: &command::Env, session: &Session) -> ParseLimits {
    ParseLimits {
        max_bulk: env.limits.proto_max_bulk_len.get(),
        authenticated: session.authenticated || env.requirepass.read().is_empty(),
        ..ParseLimits::default()
    }
}

/// Adds to a figure that only this thread writes.
fn add(figure: &AtomicU64, n: usize) {
    figure.store(figure.load(Ordering::Relaxed) + n as u64, Ordering::Relaxed);
}

fn poll_read(stream: &mut Stream, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(into);
    stream.poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
}

#[allow(unsafe_code)]
fn extend_filled(input: &mut Vec<u8>, n: usize) {
    let len = input.len() + n;
    assert!(len <= input.capacity());
    // SAFETY: the read has filled `n` bytes of the spare capacity.
    unsafe { input.set_len(len) };
}
