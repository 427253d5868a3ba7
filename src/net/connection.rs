//! One connection: reads requests, calls the engine, writes replies.
//!
//! Hot path: a batch of pipelined requests costs one read and one write; no allocation once buffers are warm.
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::bell::Bell;
use super::worker::{INPUT_BYTES, Local};
use crate::command::client::{Client, flag};
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
/// A connection's own input buffer is given back when it is empty and larger than this.
const KEEP_BYTES: usize = 16 * 1024;

struct Connection {
    local: Rc<Local>,
    stream: Stream,
    client: Arc<Client>,
    bell: Arc<Bell>,
    /// Taken while a slow-lane thread runs a command of this client.
    session: Option<Box<Session>>,
    parser: Parser,
    /// Input not yet consumed, when a request is incomplete or the batch had to stop.
    input: Vec<u8>,
    reply: Reply,
    /// Bytes of `reply` already sent.
    sent: usize,
    eof: bool,
}

/// Why a batch stopped.
enum Stop {
    /// The input is used up, or ends within a request.
    Drained,
    /// Enough output to be sent first.
    Flush,
    Blocked(Arc<Waiter>),
    Slow(OwnedArgs),
    Paused(u64),
    /// Close, after sending what is written.
    Close,
    /// The client does not speak RESP: say so, and close.
    Corrupt(ProtocolError),
}

/// Serves a connection to its end.
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
        parser: Parser::new(),
        input: Vec::new(),
        reply,
        sent: 0,
        eof: false,
        local,
    };
    connection.run().await;
    if let Some(mut session) = connection.session.take() {
        engine.close_session(&mut session);
    }
}

impl Connection {
    async fn run(&mut self) {
        loop {
            match self.batch() {
                Stop::Drained => {
                    if self.eof && self.pending() == 0 {
                        return;
                    }
                    if self.wait(self.eof).await.is_err() {
                        return;
                    }
                }
                Stop::Flush => {
                    if self.flush_some().await.is_err() {
                        return;
                    }
                }
                Stop::Close | Stop::Corrupt(_) => {
                    let _ = self.flush_all().await;
                    return;
                }
                Stop::Blocked(waiter) => {
                    if self.flush_all().await.is_err() || self.wait_blocked(waiter).await.is_err() {
                        return;
                    }
                }
                Stop::Slow(args) => {
                    if self.flush_all().await.is_err() || self.run_slow(args).await.is_err() {
                        return;
                    }
                }
                Stop::Paused(until) => {
                    if self.flush_all().await.is_err() || self.wait_paused(until).await.is_err() {
                        return;
                    }
                }
            }
            if self.should_close() {
                let _ = self.flush_all().await;
                return;
            }
        }
    }

    fn pending(&self) -> usize {
        self.reply.total_len() - self.sent
    }

    fn should_close(&self) -> bool {
        self.client.closing()
    }

    /// Runs the requests that the connection's own buffer holds.
    fn batch(&mut self) -> Stop {
        if self.input.is_empty() {
            return Stop::Drained;
        }
        let input = std::mem::take(&mut self.input);
        let (used, stop) = self.run_batch(&input);
        self.input = input;
        self.consume(used);
        stop
    }

    fn consume(&mut self, used: usize) {
        if used == self.input.len() {
            self.input.clear();
            if self.input.capacity() > KEEP_BYTES {
                self.input = Vec::new();
            }
        } else if used > 0 {
            self.input.drain(..used);
        }
        self.client.query_bytes.store(self.input.len(), Ordering::Relaxed);
        self.client.query_capacity.store(self.input.capacity(), Ordering::Relaxed);
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
        let mut parsers = local.parsers.borrow_mut();
        let mut used = 0;
        loop {
            let limits = parse_limits(env, session);
            // Before a client has proved itself its requests are bounded more tightly: one at a time.
            let most = if session.authenticated { parsers.len() } else { 1 };
            std::mem::swap(&mut self.parser, &mut parsers[0]);
            let mut ends: SmallVec<[usize; GROUP_MAX]> = SmallVec::new();
            let mut stop = None;
            let mut at = used;
            while ends.len() < most {
                let rest = &input[at..];
                if rest.is_empty() {
                    stop = Some(Stop::Drained);
                    break;
                }
                match parsers[ends.len()].next(rest, &limits) {
                    Ok(Status::Complete { consumed }) => {
                        at += consumed;
                        ends.push(at);
                    }
                    Ok(Status::Incomplete { .. }) => {
                        // It goes on from where it stands when more has come.
                        std::mem::swap(&mut self.parser, &mut parsers[ends.len()]);
                        stop = Some(Stop::Drained);
                        if rest.len() > env.limits.client_query_buffer_limit.get() {
                            env.stats.qbuf_disconnects.fetch_add(1, Ordering::Relaxed);
                            stop = Some(Stop::Close);
                        }
                        break;
                    }
                    Err(error) => {
                        stop = Some(Stop::Corrupt(error));
                        break;
                    }
                }
            }
            let mut requests: SmallVec<[Args<'_>; GROUP_MAX]> = SmallVec::new();
            let mut start = used;
            for (parser, &end) in parsers.iter().zip(&ends) {
                requests.push(parser.args(&input[start..end]));
                start = end;
            }
            self.client.query_bytes.store(input.len() - used, Ordering::Relaxed);
            let (done, called) = engine.call_many(&mut worker, session, &mut self.reply, &requests);
            let next = requests.get(done).map(|args| OwnedArgs::from_args(*args));
            drop(requests);
            used = if done > 0 { ends[done - 1] } else { used };
            match called {
                Called::Done => {}
                Called::Blocked(waiter) => return (used, self.keep(&mut parsers, Stop::Blocked(waiter))),
                Called::SlowLane => {
                    let used = ends[done];
                    let args = next.expect("the request that did not run");
                    return (used, self.keep(&mut parsers, Stop::Slow(args)));
                }
                Called::Paused(until) => return (used, self.keep(&mut parsers, Stop::Paused(until))),
            }
            if session.quit || self.client.closing() {
                return (input.len(), Stop::Close);
            }
            match stop {
                Some(Stop::Corrupt(error)) => {
                    let mut text = b"ERR ".to_vec();
                    text.extend_from_slice(&error.text());
                    self.reply.error_bytes(&text);
                    worker.stats.error_replies.add(1);
                    env.stats.count_error("ERR");
                    return (input.len(), Stop::Close);
                }
                Some(stop) => return (used, stop),
                None => {}
            }
            if self.reply.total_len() - self.sent > FLUSH_BYTES {
                if over_output_limit(env, &self.client, self.reply.total_len() - self.sent) {
                    return (input.len(), Stop::Close);
                }
                return (used, Stop::Flush);
            }
        }
    }

    /// The batch stops before the end of what was parsed: the rest will be parsed anew.
    fn keep(&mut self, parsers: &mut [Parser], stop: Stop) -> Stop {
        self.parser.reset();
        parsers.iter_mut().for_each(Parser::reset);
        stop
    }

    /// Waits until there is something to do, and does it: sends, receives, picks up messages from others. Received
    /// requests are run at once from the worker's buffer; what remains of them goes to the connection's own.
    async fn wait(&mut self, no_read: bool) -> io::Result<()> {
        poll_fn(|cx| {
            self.pick_up_mail(cx);
            if self.pending() > 0 {
                match self.poll_send(cx) {
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            if self.client.closing() || (no_read && self.pending() == 0) {
                return Poll::Ready(Ok(()));
            }
            if no_read {
                return Poll::Pending;
            }
            self.poll_receive(cx)
        })
        .await
    }

    /// Messages from other clients (pub/sub, MONITOR) go into the reply buffer.
    fn pick_up_mail(&mut self, cx: &mut Context<'_>) {
        self.bell.poll(cx);
        if self.client.has_mail() {
            self.client.take_mail(&mut self.reply);
        }
    }

    /// Sends until all is out or the socket is full.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.pending() > 0 {
            match self.stream.poll_write(cx, &self.reply, self.sent) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.sent += n;
                    self.local.worker.borrow().stats.net_out.add(n as u64);
                    self.client.total_net_out.fetch_add(n as u64, Ordering::Relaxed);
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {
                    self.note_output();
                    return Poll::Pending;
                }
            }
        }
        self.reply.clear();
        self.sent = 0;
        self.note_output();
        Poll::Ready(Ok(()))
    }

    fn note_output(&self) {
        self.client.output_bytes.store(self.pending(), Ordering::Relaxed);
        self.client.output_capacity.store(self.reply.memory_bytes(), Ordering::Relaxed);
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.input.is_empty() {
            // A request is incomplete: go on where it stands, in larger and larger pieces for a large one.
            let old = self.input.len();
            self.input.reserve(INPUT_BYTES.max(old.min(16 << 20)));
            let spare = self.input.spare_capacity_mut();
            let mut buf = ReadBuf::uninit(spare);
            match self.stream.poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(())) => {}
            }
            let n = buf.filled().len();
            extend_filled(&mut self.input, n);
            self.received(n);
            return Poll::Ready(Ok(()));
        }
        let local = self.local.clone();
        let mut input = local.input.borrow_mut();
        let mut buf = ReadBuf::new(&mut input);
        match self.stream.poll_read(cx, &mut buf) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Ready(Ok(())) => {}
        }
        let n = buf.filled().len();
        self.received(n);
        self.input.extend_from_slice(&input[..n]);
        Poll::Ready(Ok(()))
    }

    fn received(&mut self, n: usize) {
        if n == 0 {
            self.eof = true;
        }
        self.local.worker.borrow().stats.net_in.add(n as u64);
        self.client.total_net_in.fetch_add(n as u64, Ordering::Relaxed);
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
            self.bell.poll(cx);
            if self.client.has_flag(flag::CLOSE_NOW) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.poll_send(cx)
        })
        .await
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
                WaiterState::Retry if waiter.claim_by_owner() => {
                    self.retry_blocked(&waiter);
                    if waiter.state() == WaiterState::Done {
                        break;
                    }
                }
                _ if !woken => {
                    let due = waiter.deadline_ms.is_some_and(|at| at <= env.clock.now_ms());
                    if due && waiter.claim() {
                        let mut reply = Reply::new(waiter.resp3);
                        (waiter.on_timeout)(&mut reply);
                        command::end_wait(env, &waiter, reply);
                        break;
                    }
                }
                _ => {}
            }
        }
        command::forget_waiter(env, &waiter);
        if let Some(reply) = waiter.take_reply() {
            self.reply.append(reply);
        }
        Ok(())
    }

    /// Runs a blocked command again that a pusher could not serve for lack of a lock; the waiter is claimed.
    fn retry_blocked(&mut self, waiter: &Arc<Waiter>) {
        let local = self.local.clone();
        let mut worker = local.worker.borrow_mut();
        worker.begin(local.engine.env());
        local.engine.retry(&mut worker, waiter);
    }

    /// Waits until the waiter's state has changed or messages are to be sent; fails when the client goes.
    async fn wait_waiter(&mut self, waiter: &Waiter) -> io::Result<()> {
        poll_fn(|cx| {
            self.pick_up_mail(cx);
            if self.pending() > 0
                && let Poll::Ready(Err(e)) = self.poll_send(cx)
            {
                return Poll::Ready(Err(e));
            }
            if matches!(waiter.state(), WaiterState::Done | WaiterState::Retry) {
                return Poll::Ready(Ok(()));
            }
            if self.client.closing() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            // What the client sends meanwhile waits its turn; its end is noticed.
            loop {
                if self.eof || self.input.len() >= INPUT_BYTES {
                    break;
                }
                let before = self.input.len();
                match self.poll_receive_raw(cx) {
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Ready(Ok(())) if self.eof => {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    Poll::Ready(Ok(())) => debug_assert!(self.input.len() > before),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }

    fn poll_receive_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_receive(cx)
    }

    /// Waits for the end of a CLIENT PAUSE.
    async fn wait_paused(&mut self, until: u64) -> io::Result<()> {
        let engine = self.local.engine.clone();
        let env = engine.env();
        env.gauges.blocked.fetch_add(1, Ordering::Relaxed);
        self.client.set_flag(flag::BLOCKED, true);
        let left = Duration::from_millis(until.saturating_sub(env.clock.now_ms()));
        let end = tokio::select! {
            end = poll_fn(|cx| {
                let rung = self.bell.poll(cx);
                if self.client.closing() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                if rung { Poll::Ready(Ok(())) } else { Poll::Pending }
            }) => end,
            () = tokio::time::sleep(left) => Ok(()),
        };
        self.client.set_flag(flag::BLOCKED, false);
        env.gauges.blocked.fetch_sub(1, Ordering::Relaxed);
        end
    }

    /// Runs a command in the slow lane while this worker serves its other connections.
    async fn run_slow(&mut self, args: OwnedArgs) -> io::Result<()> {
        let engine = self.local.engine.clone();
        let mut session = self.session.take().expect("one command at a time");
        let resp3 = session.resp3;
        let (tx, rx) = tokio::sync::oneshot::channel();
        let lane = engine.clone();
        engine.slow().submit(Box::new(move |worker| {
            debug_assert!(worker.lane == Lane::Slow);
            worker.begin(lane.env());
            let mut reply = Reply::new(resp3);
            let called = lane.call(worker, &mut session, &mut reply, args.as_args());
            // The connection may be gone; then its session ends with it.
            if let Err((mut session, ..)) = tx.send((session, reply, called)) {
                lane.close_session(&mut session);
            }
        }));
        let Ok((session, reply, called)) = rx.await else {
            // The command panicked; its session is lost, and with it the connection.
            self.local.engine.abandon(&self.client);
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        self.session = Some(session);
        self.reply.append(reply);
        match called {
            Called::Done | Called::SlowLane | Called::Paused(_) => {}
            Called::Blocked(waiter) => {
                self.flush_all().await?;
                Box::pin(self.wait_blocked(waiter)).await?;
            }
        }
        if self.session.as_ref().is_some_and(|s| s.quit) {
            self.client.set_flag(flag::CLOSE_AFTER_REPLY, true);
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Spare buffers are kept for the next connection, up to a few and while they are small.
        let mut spare = self.local.replies.borrow_mut();
        if spare.len() < 64 && self.reply.memory_bytes() <= FLUSH_BYTES {
            self.reply.clear();
            self.reply.set_resp3(false);
            spare.push(std::mem::replace(&mut self.reply, Reply::new(false)));
        }
    }
}

fn parse_limits(env: &command::Env, session: &Session) -> ParseLimits {
    ParseLimits {
        max_bulk: env.limits.proto_max_bulk_len.get(),
        authenticated: session.authenticated,
        ..ParseLimits::default()
    }
}

/// Whether a client's pending output passes its hard limit.
fn over_output_limit(env: &command::Env, client: &Client, pending: usize) -> bool {
    let _ = (env, client, pending);
    false
}

#[allow(unsafe_code)]
fn extend_filled(input: &mut Vec<u8>, n: usize) {
    let len = input.len() + n;
    assert!(len <= input.capacity());
    // SAFETY: the read has filled `n` bytes of the spare capacity.
    unsafe { input.set_len(len) };
}
