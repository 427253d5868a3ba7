//! CLIENT.
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::num::parse_i64;
use crate::command::client::{Client, OutputClass, flag};
use crate::command::env::PauseMode;
use crate::command::session::ReplyMode;
use crate::command::{self, Arity, Command, CommandError, Context, Group, Outcome};
use crate::resp::args::Args;
use crate::resp::reply::Reply;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, since, handler| {
        Command::new(name, arity, handler).loading().stale().sentinel().since(since)
    };
    let sub = |name, arity, since, handler| c(name, arity, since, handler).noscript();
    let admin = |name, arity, since, handler| sub(name, arity, since, handler).admin();
    let exactly = Arity::exactly;
    let at_least = Arity::at_least;
    let container = Command::container(
        "client",
        vec![
            sub("id", exactly(2), "5.0.0", id).doc("The connection's number.").complexity("O(1)"),
            sub("info", exactly(2), "6.2.0", info)
                .doc("What is known about the connection.")
                .complexity("O(1)"),
            admin("list", at_least(2), "2.4.0", list)
                .doc("What is known about all connections.")
                .complexity("O(N) with N the number of connections"),
            sub("setname", exactly(3), "2.6.9", set_name).doc("Names the connection.").complexity("O(1)"),
            sub("getname", exactly(2), "2.6.9", get_name).doc("The connection's name.").complexity("O(1)"),
            Command::new("setinfo", exactly(4), set_info)
                .loading()
                .stale()
                .sentinel()
                .noscript()
                .since("7.2.0")
                .doc("Tells the client library's name or version.")
                .complexity("O(1)"),
            admin("kill", at_least(3), "2.4.0", kill)
                .doc("Closes connections.")
                .complexity("O(N) with N the number of connections"),
            admin("pause", at_least(3), "3.0.0", pause)
                .doc("Holds back commands for a time, all or those that write.")
                .complexity("O(1)"),
            admin("unpause", exactly(2), "6.2.0", unpause)
                .doc("Ends CLIENT PAUSE.")
                .complexity("O(N) with N the number of paused connections"),
            sub("reply", exactly(3), "3.2.0", reply)
                .doc("Turns the connection's replies off or on, or skips one.")
                .complexity("O(1)"),
            admin("unblock", at_least(3), "5.0.0", unblock)
                .doc("Ends the wait of a blocked connection.")
                .complexity("O(log N) with N the number of connections"),
            admin("no-evict", exactly(3), "7.0.0", no_evict)
                .doc("Exempts the connection from being closed for its memory use, or no longer.")
                .complexity("O(1)"),
            Command::new("no-touch", exactly(3), no_touch)
                .loading()
                .stale()
                .noscript()
                .since("7.2.0")
                .doc("Whether the connection's reads leave keys' access times alone.")
                .complexity("O(1)"),
            c("help", exactly(2), "5.0.0", help).doc("Explains the subcommands.").complexity("O(1)"),
        ],
    );
    let container = container.sentinel().since("2.4.0").doc("Commands on connections.");
    vec![container.complexity("Depends on subcommand").group(Group::Connection)]
}

fn id(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = ctx.client().id;
    ctx.reply.int(id as i64);
    Ok(())
}

fn info(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut text = String::new();
    describe(&mut text, ctx, ctx.client(), args);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn list(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let word = |i: usize, w: &str| args.get(i).is_some_and(|a| a.eq_ignore_ascii_case(w.as_bytes()));
    let env = ctx.env;
    let clients: Vec<Arc<Client>> = if args.len() == 4 && word(2, "type") {
        let ty = ClientType::parse(&args[3])?;
        env.clients.list().into_iter().filter(|c| ty.is(c)).collect()
    } else if args.len() > 3 && word(2, "id") {
        let ids = args.iter().skip(3).map(parse_i64).collect::<Option<Vec<_>>>();
        let ids = ids.ok_or(CommandError::new("ERR Invalid client ID"))?;
        ids.into_iter().filter_map(|id| env.clients.get(u64::try_from(id).ok()?)).collect()
    } else if args.len() == 2 {
        ctx.slow_lane(env.clients.len())?;
        env.clients.list()
    } else {
        return Err(CommandError::SYNTAX);
    };
    let mut text = String::new();
    for client in &clients {
        describe(&mut text, ctx, client, args);
    }
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Appends the client's line of CLIENT LIST.
fn describe(text: &mut String, ctx: &Context<'_>, client: &Client, args: Args<'_>) {
    let now = ctx.now();
    let own = client.id == ctx.session.client.id;
    let labels = client.labels.lock().clone();
    let seconds = |since: u64| now.saturating_sub(since) / 1000;
    let idle = if own { 0 } else { seconds(client.last_seen_ms.load(Relaxed)) };
    let query = client.query_bytes.load(Relaxed);
    let arg_bytes = if own { args.iter().map(<[u8]>::len).sum() } else { client.args_bytes.load(Relaxed) };
    let pending = if own { client.mail_bytes() } else { client.pending_bytes() };
    // Redis has a buffer of 16 KiB and a list behind it; what goes beyond the first would be in the second.
    let (short, long) = if pending <= CHUNK_BYTES { (pending, 0) } else { (0, pending) };
    let command = client.last_command.load(Relaxed);
    let command = if command == usize::MAX { "NULL" } else { &ctx.env.commands.get(command).full_name };
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} \
         qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={} rbp={} obl={} oll={} omem={} tot-mem={} events={} \
         cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.addr,
        client.laddr,
        client.fd,
        String::from_utf8_lossy(&labels.name),
        seconds(client.created_ms),
        idle,
        flags(client),
        client.db.load(Relaxed),
        client.subscriptions.load(Relaxed),
        client.patterns.load(Relaxed),
        client.shard_subscriptions.load(Relaxed),
        client.queued.load(Relaxed),
        query,
        client.query_capacity.load(Relaxed).saturating_sub(query),
        arg_bytes,
        client.queued_bytes.load(Relaxed),
        client.output_capacity.load(Relaxed),
        client.output_peak.load(Relaxed),
        short,
        long.div_ceil(CHUNK_BYTES),
        long,
        client.memory(),
        if pending > 0 { "rw" } else { "r" },
        command,
        labels.user,
        client.resp.load(Relaxed),
        String::from_utf8_lossy(&labels.lib_name),
        String::from_utf8_lossy(&labels.lib_ver),
    );
}

const CHUNK_BYTES: usize = 16 * 1024;

fn flags(client: &Client) -> String {
    const LETTERS: [(u32, char); 10] = [
        (flag::MONITOR, 'O'),
        (flag::PUBSUB, 'P'),
        (flag::MULTI, 'x'),
        (flag::BLOCKED, 'b'),
        (flag::DIRTY_CAS, 'd'),
        (flag::CLOSE_AFTER_REPLY, 'c'),
        (flag::CLOSE_NOW, 'A'),
        (flag::UNIX, 'U'),
        (flag::READONLY, 'r'),
        (flag::NO_EVICT, 'e'),
    ];
    let mut text: String = LETTERS.iter().filter(|(bit, _)| client.has_flag(*bit)).map(|(_, c)| c).collect();
    if client.has_flag(flag::NO_TOUCH) {
        text.push('T');
    }
    if text.is_empty() {
        text.push('N');
    }
    text
}

/// The types that LIST and KILL know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Replica,
    PubSub,
    Master,
}

impl ClientType {
    fn parse(name: &[u8]) -> Result<Self, CommandError> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"slave" | b"replica" => Ok(Self::Replica),
            b"pubsub" => Ok(Self::PubSub),
            b"master" => Ok(Self::Master),
            _ => {
                Err(CommandError::new(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name))))
            }
        }
    }

    fn is(self, client: &Client) -> bool {
        match client.output_class() {
            OutputClass::Normal => self == Self::Normal,
            OutputClass::Replica => self == Self::Replica,
            OutputClass::PubSub => self == Self::PubSub,
        }
    }
}

/// Names and library labels must not break CLIENT LIST's lines.
fn is_label(text: &[u8]) -> bool {
    text.iter().all(|b| (b'!'..=b'~').contains(b))
}

pub(super) fn check_name(name: &[u8]) -> Outcome {
    if is_label(name) {
        return Ok(());
    }
    Err(CommandError::new("ERR Client names cannot contain spaces, newlines or special characters."))
}

fn set_name(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    check_name(&args[2])?;
    ctx.client().labels.lock().name = args[2].to_vec();
    ctx.reply.ok();
    Ok(())
}

fn get_name(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let name = ctx.client().labels.lock().name.clone();
    if name.is_empty() {
        ctx.reply.null()
    } else {
        ctx.reply.bulk(&name)
    }
    Ok(())
}

fn set_info(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let is_name = args[2].eq_ignore_ascii_case(b"lib-name");
    let option = String::from_utf8_lossy(&args[2]);
    if !is_name && !args[2].eq_ignore_ascii_case(b"lib-ver") {
        return Err(CommandError::new(format!("ERR Unrecognized option '{option}'")));
    }
    if !is_label(&args[3]) {
        return Err(CommandError::new(format!(
            "ERR {option} cannot contain spaces, newlines or special characters."
        )));
    }
    let mut labels = ctx.client().labels.lock();
    *(if is_name { &mut labels.lib_name } else { &mut labels.lib_ver }) = args[3].to_vec();
    drop(labels);
    ctx.reply.ok();
    Ok(())
}

/// What CLIENT KILL closes: all conditions must hold.
#[derive(Default)]
struct Filter<'a> {
    id: Option<u64>,
    ty: Option<ClientType>,
    user: Option<&'a [u8]>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        if args.len() == 3 {
            return Ok(Filter { addr: Some(args.at(2)), ..Filter::default() });
        }
        let mut filter = Filter { skip_me: true, ..Filter::default() };
        for i in (2..args.len()).step_by(2) {
            let Some(value) = args.get(i + 1) else { return Err(CommandError::SYNTAX) };
            match args[i].to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_i64(value).filter(|&id| id > 0);
                    let id = id.ok_or(CommandError::new("ERR client-id should be greater than 0"))?;
                    filter.id = Some(id as u64);
                }
                b"type" => filter.ty = Some(ClientType::parse(value)?),
                b"addr" => filter.addr = Some(value),
                b"laddr" => filter.laddr = Some(value),
                b"user" => {
                    if value != b"default" {
                        let name = String::from_utf8_lossy(value);
                        return Err(CommandError::new(format!("ERR No such user '{name}'")));
                    }
                    filter.user = Some(value);
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = false,
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(filter)
    }

    fn fits(&self, client: &Client) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.addr.is_none_or(|addr| addr == client.addr.as_bytes())
            && self.laddr.is_none_or(|laddr| laddr == client.laddr.as_bytes())
            && self.ty.is_none_or(|ty| ty.is(client))
            && self.user.is_none_or(|user| user == client.labels.lock().user.as_bytes())
    }
}

fn kill(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let filter = Filter::parse(args)?;
    let own = ctx.client().id;
    let mut killed = 0;
    for client in ctx.env.clients.list() {
        let is_self = client.id == own;
        if client.closing() || (is_self && filter.skip_me) || !filter.fits(&client) {
            continue;
        }
        killed += 1;
        if is_self {
            ctx.session.quit = true;
            client.set_flag(flag::CLOSE_AFTER_REPLY, true);
        } else {
            client.close(false);
            // Gone from CLIENT LIST at once, however busy its worker is.
            ctx.env.clients.remove(client.id);
        }
    }
    if args.len() > 3 {
        ctx.reply.int(killed);
    } else if killed > 0 {
        ctx.reply.ok();
    } else {
        return Err(CommandError::new("ERR No such client"));
    }
    Ok(())
}

fn pause(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mode = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        _ if args.len() > 4 => return Err(CommandError::SYNTAX),
        None | Some(b"all") => PauseMode::All,
        Some(b"write") => PauseMode::Write,
        Some(_) => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let ms = parse_i64(&args[2])
        .ok_or(CommandError::new("ERR timeout is not an integer or out of range"))
        .and_then(|ms| u64::try_from(ms).map_err(|_| CommandError::TIMEOUT_NEGATIVE))?;
    let until = ctx.now().checked_add(ms).filter(|&until| until <= i64::MAX as u64);
    ctx.env.pause(mode, until.ok_or(CommandError::TIMEOUT_OUT_OF_RANGE)?, ctx.now());
    ctx.reply.ok();
    Ok(())
}

fn unpause(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.env.unpause();
    ctx.reply.ok();
    Ok(())
}

fn reply(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mode = match args[2].to_ascii_lowercase().as_slice() {
        b"on" => ReplyMode::On,
        b"off" => ReplyMode::Off,
        // Where nothing is answered, there is nothing to skip.
        b"skip" if ctx.session.reply_mode == ReplyMode::Off => ReplyMode::Off,
        b"skip" => ReplyMode::SkipNext,
        _ => return Err(CommandError::SYNTAX),
    };
    ctx.session.reply_mode = mode;
    ctx.reply.ok();
    Ok(())
}

fn unblock(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let as_error = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        _ if args.len() > 4 => return Err(CommandError::SYNTAX),
        None | Some(b"timeout") => false,
        Some(b"error") => true,
        Some(_) => {
            return Err(CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = parse_i64(&args[2]).ok_or(CommandError::NOT_INTEGER)?;
    let client = u64::try_from(id).ok().and_then(|id| ctx.env.clients.get(id));
    let waiter = client.and_then(|c| c.waiter.lock().clone());
    let mut done = false;
    if let Some(waiter) = waiter
        && waiter.claim()
    {
        let mut reply = Reply::new(waiter.resp3);
        let error = as_error.then(|| CommandError::new("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
        match &error {
            Some(error) => reply.error(&error.to_string()),
            None => (waiter.on_timeout)(&mut reply),
        }
        command::count_unblocked(ctx.env, ctx.keys.stats(), &waiter, error.as_ref());
        command::end_wait(ctx.env, &waiter, reply);
        done = true;
    }
    ctx.reply.int(i64::from(done));
    Ok(())
}

fn on_or_off(arg: &[u8]) -> Result<bool, CommandError> {
    match arg.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

fn no_evict(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let on = on_or_off(&args[2])?;
    ctx.client().set_flag(flag::NO_EVICT, on);
    ctx.reply.ok();
    Ok(())
}

fn no_touch(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let on = on_or_off(&args[2])?;
    ctx.client().set_flag(flag::NO_TOUCH, on);
    ctx.session.no_touch = on;
    ctx.reply.ok();
    Ok(())
}

fn help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.help(&[
        "GETNAME",
        "    This connection's name.",
        "ID",
        "    This connection's number.",
        "INFO",
        "    This connection's line of CLIENT LIST.",
        "KILL <ip:port>",
        "    Close the connection from this address.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Close connections that fit every option. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "    * USER <username>",
        "    * SKIPME (YES|NO): spare this connection (default: yes).",
        "    * ID <client-id>",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|ID <client-id> ...]",
        "    A line about each connection.",
        "NO-EVICT (ON|OFF)",
        "    Spare this connection when memory for connections runs out.",
        "NO-TOUCH (ON|OFF)",
        "    Do not let this connection's reads change access times.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Hold back all commands, or those that write, for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Turn replies to this connection on or off, or skip the next one.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Tell the client library's name or version.",
        "SETNAME <name>",
        "    Name this connection.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    End the wait of a blocked connection.",
        "UNPAUSE",
        "    End CLIENT PAUSE.",
    ]);
    Ok(())
}
