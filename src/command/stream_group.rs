//! Consumer groups: XGROUP, XREADGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM, XINFO.
//!
//! As in Redis, nothing here breaks watches but the creation of a stream: entries and their order stay as they are.
//!
//! What is done to a group depends on the clock and on what others have read, so the journal gets it entry by entry, as
//! XCLAIM with all that is known; see [`Journal`].
//!
//! Hot path (XREADGROUP, XACK): no allocation an entry but what the pending lists grow by.
use smallvec::SmallVec;

use crate::base::num::parse_i64;
use crate::command::context::{Block, Resume, SLOW_LANE_COST};
use crate::command::row::{Begin, Find};
use crate::command::stream::{
    begin_stream, begin_streams, parse_block, parse_id, parse_int, parse_range, stream_of, write_entries,
    write_entry, write_id,
};
use crate::command::{Arity, Command, CommandError, Context, Group as CommandGroup, Outcome, View, notify};
use crate::keyspace::CellMut;
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Type};
use crate::value::stream::Stream;
use crate::value::stream::group::{ConsumerId, Group, Groups, Nack};
use crate::value::stream::id::{ID_TEXT_MAX, StreamId};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| {
        Command::new(name, arity, handler).group(CommandGroup::Stream).since("5.0.0").complexity("O(1)")
    };
    let help =
        |handler| c("help", Arity::exactly(2), handler).loading().stale().doc("Lists the subcommands.");
    let groups = vec![
        c("create", Arity::at_least(5), xgroup_create)
            .write()
            .denyoom()
            .key(2, "rw|insert")
            .doc("Creates a consumer group."),
        c("createconsumer", Arity::exactly(5), xgroup_createconsumer)
            .write()
            .denyoom()
            .key(2, "rw|insert")
            .since("6.2.0")
            .doc("Creates a consumer in a consumer group."),
        c("delconsumer", Arity::exactly(5), xgroup_delconsumer)
            .write()
            .key(2, "rw|delete")
            .doc("Removes a consumer and all that is pending with it."),
        c("destroy", Arity::exactly(4), xgroup_destroy)
            .write()
            .key(2, "rw|delete")
            .doc("Removes a consumer group.")
            .complexity("O(N) with N the number of pending entries"),
        help(xgroup_help),
        c("setid", Arity::at_least(5), xgroup_setid)
            .write()
            .key(2, "rw|update")
            .doc("Sets the last id that a consumer group was given."),
    ];
    let infos = vec![
        c("consumers", Arity::exactly(4), xinfo_consumers)
            .readonly()
            .key(2, "ro|access")
            .doc("Lists the consumers of a consumer group."),
        c("groups", Arity::exactly(3), xinfo_groups)
            .readonly()
            .key(2, "ro|access")
            .doc("Lists the consumer groups of a stream."),
        help(xinfo_help),
        c("stream", Arity::at_least(3), xinfo_stream)
            .readonly()
            .key(2, "ro|access")
            .doc("Describes a stream."),
    ];
    vec![
        c("xack", Arity::at_least(4), xack)
            .write()
            .fast()
            .key(1, "rw|update")
            .doc("Ends the pending of entries that a consumer has dealt with.")
            .complexity("O(log N) for each id, with N the number of pending entries"),
        c("xautoclaim", Arity::at_least(6), xautoclaim)
            .write()
            .fast()
            .key(1, "rw|delete")
            .since("6.2.0")
            .doc("Hands pending entries that have long been idle to a consumer, from an id on.")
            .complexity("O(1) if COUNT is small"),
        c("xclaim", Arity::at_least(6), xclaim)
            .write()
            .fast()
            .key(1, "rw|update")
            .doc("Hands pending entries to a consumer, as if they had been delivered to it.")
            .complexity("O(log N) for each id, with N the number of pending entries"),
        Command::container("xgroup", groups)
            .group(CommandGroup::Stream)
            .since("5.0.0")
            .doc("Groups the commands that manage consumer groups.")
            .complexity("Depends on the subcommand"),
        Command::container("xinfo", infos)
            .group(CommandGroup::Stream)
            .since("5.0.0")
            .doc("Groups the commands that describe streams.")
            .complexity("Depends on the subcommand"),
        c("xpending", Arity::at_least(3), xpending)
            .readonly()
            .key(1, "ro|access")
            .doc("Tells what is pending in a consumer group.")
            .complexity("O(N) with N the number of entries looked at"),
        c("xreadgroup", Arity::at_least(7), xreadgroup)
            .write()
            .blocking()
            .movablekeys()
            .spec(Begin::Keyword("streams", 4), Find::Range { last: -1, step: 1, limit: 2 }, "ro|access")
            .doc("Answers the entries that a consumer group has yet to be given, and may wait for some.")
            .complexity("O(M log N) with M the number of entries answered and N that of pending ones"),
    ]
}

/// An error that quotes what the client sent, each piece up to a NUL as Redis does.
fn quoting(parts: &[&[u8]]) -> CommandError {
    let until_nul = |part: &&[u8]| part.split(|&b| b == 0).next().unwrap_or_default().to_vec();
    CommandError::quoting("", &parts.iter().flat_map(until_nul).collect::<Vec<_>>(), "")
}

fn no_key_or_group(key: &[u8], group: &[u8], end: &[u8]) -> CommandError {
    quoting(&[b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", end])
}

fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    quoting(&[b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"])
}

/// What a container's command answers to arguments that are none of its forms.
fn wrong_form(args: Args<'_>) -> CommandError {
    let name = args[0].to_ascii_uppercase();
    let sent = &args[1][..args[1].len().min(128)];
    quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        sent,
        b"'. Try ",
        &name,
        b" HELP.",
    ])
}

/// The cell of a stream for a command that reads and writes it; counts as a read. Of a key that is absent the caller tells
/// with `missed`.
fn open<'v>(keys: &'v mut View<'_>, key: &[u8]) -> Result<Option<CellMut<'v>>, CommandError> {
    let stats = keys.stats();
    let found = keys.get_mut_type(key, Type::Stream);
    stats.hits.add(u64::from(!matches!(found, Ok(None))));
    found
}

/// Counts the look-up of a key that is absent.
fn missed(keys: &mut View<'_>, key: &[u8]) {
    keys.get(key);
}

/// Runs `f` with the stream to read and its groups to write; they are apart in the meantime.
fn with_groups<R>(cell: &mut Cell, f: impl FnOnce(&Stream, &mut Groups) -> R) -> R {
    let stream: &mut Stream = cell.large_mut();
    let mut groups = std::mem::take(&mut stream.groups);
    let result = f(stream, &mut groups);
    stream.groups = groups;
    result
}

/// What a command did to one group, for the journal: gathered while the group is borrowed, and only while someone reads
/// the journal.
struct Journal {
    on: bool,
    created: bool,
    /// Entries with what is now known of them, or was when they were dropped.
    entries: Vec<(StreamId, Box<[u8]>, Nack)>,
    last_id: StreamId,
    /// Set when the group went on.
    read: Option<Option<u64>>,
}

impl Journal {
    fn new(ctx: &Context<'_>) -> Self {
        let on = ctx.env.journal.is_on();
        Self { on, created: false, entries: Vec::new(), last_id: StreamId::MIN, read: None }
    }

    #[inline]
    fn entry(&mut self, group: &Group, id: StreamId, nack: Nack) {
        if self.on {
            let owner = group.consumer(nack.consumer).map_or(&b""[..], |c| c.name());
            self.entries.push((id, owner.into(), nack));
        }
    }

    /// Notes where the group stands, if it `moved`.
    fn group(&mut self, group: &Group, moved: bool) {
        self.last_id = group.last_id;
        if moved {
            self.read = Some(group.entries_read);
        }
    }

    /// Owes the effects: the consumer's creation, an XCLAIM an entry, and the group's place.
    fn write(self, keys: &mut View<'_>, key: &[u8], group: &[u8], consumer: &[u8]) {
        keys.effects_only();
        if !self.on {
            return;
        }
        if self.created {
            keys.effect(|| OwnedArgs::from_iter([&b"XGROUP"[..], b"CREATECONSUMER", key, group, consumer]));
        }
        let (mut last, mut text) = ([0; ID_TEXT_MAX], [0; ID_TEXT_MAX]);
        let last = self.last_id.text(&mut last);
        for (id, owner, nack) in &self.entries {
            keys.effect(|| {
                let (time, count) = (nack.time_ms.to_string(), nack.count.to_string());
                OwnedArgs::from_iter([
                    &b"XCLAIM"[..],
                    key,
                    group,
                    owner,
                    b"0",
                    id.text(&mut text),
                    b"TIME",
                    time.as_bytes(),
                    b"RETRYCOUNT",
                    count.as_bytes(),
                    b"FORCE",
                    b"JUSTID",
                    b"LASTID",
                    last,
                ])
            });
        }
        if let Some(read) = self.read {
            keys.effect(|| {
                let read = read.map_or("-1".to_owned(), |n| n.to_string());
                let words = [&b"XGROUP"[..], b"SETID", key, group, last, b"ENTRIESREAD", read.as_bytes()];
                OwnedArgs::from_iter(words)
            });
        }
    }
}

/// The consumer of this name, created if need be; it is seen now. The flag tells whether it is new.
fn consumer_of(group: &mut Group, name: &[u8], now: u64) -> (ConsumerId, bool) {
    if let Some(id) = group.consumer_id(name) {
        return (id, false);
    }
    let id = group.create_consumer(name, now).expect("there is none of that name");
    (id, true)
}

/// Owes what the creation of a consumer owes.
fn created(keys: &mut View<'_>, key: &[u8]) {
    keys.add_dirty(1);
    keys.notify(notify::STREAM, "xgroup-createconsumer", key);
}

// XGROUP

/// What XGROUP's commands answer when the key is absent.
const NO_KEY: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                      MKSTREAM option to create an empty stream automatically.";

/// CREATE's and SETID's options.
struct GroupOptions {
    mkstream: bool,
    entries_read: Option<u64>,
}

impl GroupOptions {
    fn parse(args: Args<'_>, is_create: bool) -> Result<Self, CommandError> {
        let mut options = GroupOptions { mkstream: false, entries_read: None };
        let mut i = 5;
        while let Some(word) = args.get(i) {
            if is_create && eq_nocase(word, "mkstream") {
                options.mkstream = true;
                i += 1;
                continue;
            }
            match args.get(i + 1) {
                Some(value) if eq_nocase(word, "entriesread") => {
                    let n = parse_int(value)?;
                    if n < -1 {
                        return Err(CommandError::new("ERR value for ENTRIESREAD must be positive or -1"));
                    }
                    options.entries_read = u64::try_from(n).ok();
                }
                _ => return Err(wrong_form(args)),
            }
            i += 2;
        }
        Ok(options)
    }
}

fn xgroup_create(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(2), args.at(3));
    let options = GroupOptions::parse(args, true)?;
    let id_of = |last_id| match &args[4] {
        b"$" => Ok(last_id),
        id => parse_id(id, 0),
    };
    let is_new = if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Stream)? {
        if args.len() > 8 {
            return Err(wrong_form(args));
        }
        let stream: &mut Stream = cell.large_mut();
        let group = Group::new(id_of(stream.last_id)?, options.entries_read);
        if !stream.groups.create(name, group) {
            return Err(CommandError::new("BUSYGROUP Consumer Group name already exists"));
        }
        false
    } else {
        if !options.mkstream {
            return Err(CommandError::new(NO_KEY));
        }
        if args.len() > 8 {
            return Err(wrong_form(args));
        }
        let mut stream = Stream::new();
        stream.groups.create(name, Group::new(id_of(StreamId::MIN)?, options.entries_read));
        ctx.keys.insert(stream.into_cell(key));
        true
    };
    if is_new {
        ctx.keys.changed(key);
    } else {
        ctx.keys.add_dirty(1);
    }
    ctx.keys.notify(notify::STREAM, "xgroup-create", key);
    ctx.reply.ok();
    Ok(())
}

/// Runs `f` on a stream and a group that must both be there.
fn change_group<R>(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    f: impl FnOnce(&mut Group, StreamId) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    let (key, name) = (args.at(2), args.at(3));
    let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Stream)? else {
        return Err(CommandError::new(NO_KEY));
    };
    let stream: &mut Stream = cell.large_mut();
    let last_id = stream.last_id;
    let mut group = stream.groups.get_mut(name).ok_or_else(|| no_group(key, name))?;
    f(&mut group, last_id)
}

fn xgroup_setid(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(2);
    let options = GroupOptions::parse(args, false)?;
    change_group(ctx, args, |group, last_id| {
        if args.len() != 5 && args.len() != 7 {
            return Err(wrong_form(args));
        }
        group.last_id = match &args[4] {
            b"$" => last_id,
            b"-" => StreamId::MIN,
            b"+" => StreamId::MAX,
            id => parse_id(id, 0)?,
        };
        group.entries_read = options.entries_read;
        Ok(())
    })?;
    ctx.keys.add_dirty(1);
    ctx.keys.notify(notify::STREAM, "xgroup-setid", key);
    // Entries that the group had may be new to it again.
    ctx.keys.ready(key);
    ctx.reply.ok();
    Ok(())
}

fn xgroup_destroy(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(2), args.at(3));
    let gone = if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Stream)? {
        cell.large_mut::<Stream>().groups.remove(name)
    } else {
        return Err(CommandError::new(NO_KEY));
    };
    ctx.reply.int(gone.is_some().into());
    let Some(group) = gone else { return Ok(()) };
    ctx.keys.add_dirty(1);
    ctx.keys.notify(notify::STREAM, "xgroup-destroy", key);
    // Who waits for this group is told that it is gone.
    ctx.keys.ready(key);
    if group.free_effort() > SLOW_LANE_COST {
        ctx.env.reclaimer.send(Box::new(group), 1);
    }
    Ok(())
}

fn xgroup_createconsumer(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    let is_new = change_group(ctx, args, |group, _| Ok(group.create_consumer(&args[4], now).is_some()))?;
    if is_new {
        created(&mut ctx.keys, args.at(2));
    }
    ctx.reply.int(is_new.into());
    Ok(())
}

fn xgroup_delconsumer(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let budget = budget(ctx);
    let gone = change_group(ctx, args, |group, _| {
        let consumer = group.consumer_id(&args[4]).and_then(|id| group.consumer(id));
        within(consumer.map_or(0, |c| c.pending_len()) as u64, budget)?;
        Ok(group.delete_consumer(&args[4]))
    })?;
    if gone.is_some() {
        ctx.keys.add_dirty(1);
        ctx.keys.notify(notify::STREAM, "xgroup-delconsumer", args.at(2));
    }
    ctx.reply.int(gone.unwrap_or(0) as i64);
    Ok(())
}

fn xgroup_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.help(&[
        "CREATE <key> <groupname> <id|$> [option]",
        "    Makes a group that reads on after <id>, or after the last entry ($). Options:",
        "    * MKSTREAM",
        "      Makes an empty stream first if the key is absent.",
        "    * ENTRIESREAD entries_read",
        "      The number of entries up to <id>; servers use it among themselves.",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Adds a consumer to a group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Removes a consumer, with all that is pending with it.",
        "DESTROY <key> <groupname>",
        "    Removes a group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Has a group read on after <id>.",
    ]);
    Ok(())
}

// XREADGROUP

/// What a command may spend here, in entries.
fn budget(ctx: &Context<'_>) -> u64 {
    if ctx.slow_lane(usize::MAX).is_err() { SLOW_LANE_COST as u64 } else { u64::MAX }
}

fn within(cost: u64, budget: u64) -> Outcome {
    if cost > budget { Err(CommandError::SlowLane) } else { Ok(()) }
}

/// XREADGROUP's arguments.
struct Read<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    noack: bool,
    count: u64,
    /// The deadline, if it may wait at all.
    block: Option<Option<u64>>,
    keys: Args<'a>,
    ids: Args<'a>,
}

/// What is asked of one stream.
#[derive(Clone, Copy)]
enum From {
    /// What the group has not been given yet.
    New,
    /// What is pending with the consumer, above this id.
    History(StreamId),
}

impl<'a> Read<'a> {
    fn parse(ctx: &Context<'_>, args: Args<'a>) -> Result<Self, CommandError> {
        let (mut group, mut noack, mut count, mut block) = (None, false, 0, None);
        let mut i = 1;
        while let Some(word) = args.get(i) {
            let more = args.len() - 1 - i;
            if more > 0 && eq_nocase(word, "block") {
                i += 1;
                block = Some(parse_block(ctx, args.at(i))?);
            } else if more > 0 && eq_nocase(word, "count") {
                i += 1;
                count = parse_int(args.at(i))?.max(0) as u64;
            } else if more > 0 && eq_nocase(word, "streams") {
                if more % 2 == 1 {
                    return Err(CommandError::new(
                        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be \
                         specified.",
                    ));
                }
                let Some((group, consumer)) = group else {
                    return Err(CommandError::new("ERR Missing GROUP option for XREADGROUP"));
                };
                let ids_at = i + 1 + more / 2;
                let count = if count == 0 { u64::MAX } else { count };
                let (keys, ids) = (args.slice(i + 1..ids_at), args.from(ids_at));
                return Ok(Read { group, consumer, noack, count, block, keys, ids });
            } else if more >= 2 && eq_nocase(word, "group") {
                group = Some((args.at(i + 1), args.at(i + 2)));
                i += 2;
            } else if eq_nocase(word, "noack") {
                noack = true;
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        Err(CommandError::SYNTAX)
    }

    /// Checks what can fail of one stream; tells what is asked of it and about how many entries that can be.
    fn check(&self, stream: Option<&Stream>, key: &[u8], id: &[u8]) -> Result<(From, u64), CommandError> {
        let found = stream.and_then(|stream| Some((stream, stream.groups.get(self.group)?)));
        let Some((stream, group)) = found else {
            return Err(no_key_or_group(key, self.group, b" in XREADGROUP with GROUP option"));
        };
        let from = match id {
            b"$" => {
                return Err(CommandError::new(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                     consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
                     return an empty result set.",
                ));
            }
            b">" => From::New,
            id => match parse_id(id, 0)? {
                StreamId::MAX => From::New,
                id => From::History(id),
            },
        };
        let cost = match from {
            _ if self.count <= SLOW_LANE_COST as u64 => self.count,
            From::New => stream.count_at_most(group.last_id, StreamId::MAX, self.count),
            From::History(_) => self.count.min(group.pending_len() as u64),
        };
        Ok((from, cost))
    }

    /// Answers from one stream, whose share of the answer `begin` begins; false where there is nothing to answer.
    fn serve(
        &self,
        ctx: &mut Context<'_>,
        key: &[u8],
        id: &[u8],
        budget: u64,
        begin: impl FnOnce(&mut Reply),
    ) -> Result<bool, CommandError> {
        let now = ctx.now();
        let mut journal = Journal::new(ctx);
        let Some(mut cell) = open(&mut ctx.keys, key)? else {
            missed(&mut ctx.keys, key);
            return self.check(None, key, id).map(|_| false);
        };
        let (from, cost) = self.check(Some(stream_of(&cell)), key, id)?;
        within(cost, budget)?;
        let reply = &mut *ctx.reply;
        let served = with_groups(&mut cell, |stream, groups| {
            let Some(mut group) = groups.get_mut(self.group) else { return false };
            let (who, is_new) = consumer_of(&mut group, self.consumer, now);
            journal.created = is_new;
            match from {
                From::History(after) => {
                    begin(reply);
                    self.history(reply, stream, &mut group, who, after, now);
                    group.saw(who, now, false);
                    true
                }
                From::New => self.fresh(reply, stream, &mut group, who, now, &mut journal, begin),
            }
        });
        drop(cell);
        if journal.created {
            created(&mut ctx.keys, key);
        }
        if served {
            ctx.keys.add_dirty(1);
        }
        journal.write(&mut ctx.keys, key, self.group, self.consumer);
        Ok(served)
    }

    /// Delivers what the group has not been given yet.
    #[expect(clippy::too_many_arguments, reason = "one place calls it, which has all of these in hand")]
    fn fresh(
        &self,
        reply: &mut Reply,
        stream: &Stream,
        group: &mut Group,
        who: ConsumerId,
        now: u64,
        journal: &mut Journal,
        begin: impl FnOnce(&mut Reply),
    ) -> bool {
        let start = group.last_id.next();
        let mut entries = start.map(|start| stream.range(start, StreamId::MAX)).into_iter().flatten();
        let Some(first) = entries.next() else {
            group.saw(who, now, false);
            return false;
        };
        begin(reply);
        let at = reply.defer();
        let mut n = 0;
        for (id, fields) in std::iter::once(first).chain(entries) {
            group.entries_read = stream.count_read(group.entries_read, id);
            group.last_id = id;
            write_entry(reply, id, fields);
            if !self.noack {
                let nack = Nack { consumer: who, time_ms: now, count: 1 };
                group.assign(id, nack);
                journal.entry(group, id, nack);
            }
            n += 1;
            if n as u64 == self.count {
                break;
            }
        }
        reply.finish_array(at, n);
        group.saw(who, now, !self.noack);
        journal.group(group, true);
        true
    }

    /// Answers what is pending with the consumer; what was deleted since has no fields.
    fn history(
        &self,
        reply: &mut Reply,
        stream: &Stream,
        group: &mut Group,
        who: ConsumerId,
        after: StreamId,
        now: u64,
    ) {
        // A pin, as what is known of each entry changes on the way.
        let consumer = group.consumer(who).cloned();
        let start = after.next().unwrap_or(StreamId::MAX);
        let pending = consumer.iter().flat_map(|c| c.pending_from(start));
        let at = reply.defer();
        let mut n = 0;
        for id in pending {
            match stream.get(id) {
                Some(fields) => {
                    write_entry(reply, id, fields);
                    group.deliver_again(id, now);
                }
                None => {
                    reply.array(2);
                    write_id(reply, id);
                    reply.null_array();
                }
            }
            n += 1;
            if n as u64 == self.count {
                break;
            }
        }
        reply.finish_array(at, n);
    }
}

fn xreadgroup(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let read = Read::parse(ctx, args)?;
    let budget = budget(ctx);
    let served = match read_all(ctx, &read, budget) {
        Err(e) if ctx.is_resumed() && ctx.limits().report_as_7_0.get() => return Err(as_7_0(ctx, &read, e)),
        result => result?,
    };
    if served {
        return Ok(());
    }
    let Some(deadline_ms) = read.block else {
        ctx.reply.null_array();
        return Ok(());
    };
    let block = Block {
        keys: read.keys.iter().map(Into::into).collect(),
        wants: Some(Type::Stream),
        deadline_ms,
        on_timeout: Reply::null_array,
    };
    ctx.block_and_resume(block, || Resume { args: None, when_gone: true, when_durable: None })
}

/// Answers from all streams that have something; false when none has.
fn read_all(ctx: &mut Context<'_>, read: &Read<'_>, budget: u64) -> Result<bool, CommandError> {
    if read.keys.len() == 1 {
        let key = read.keys.at(0);
        return read.serve(ctx, key, read.ids.at(0), budget, |reply| {
            begin_streams(reply, 1);
            begin_stream(reply, key);
        });
    }
    // All is checked before anything is done.
    let mut cost = 0u64;
    for (key, id) in read.keys.iter().zip(read.ids) {
        let stream = ctx.keys.get_type(key, Type::Stream)?.map(stream_of);
        cost = cost.saturating_add(read.check(stream, key, id)?.1);
    }
    within(cost, budget)?;
    let at = ctx.reply.defer();
    let mut n = 0;
    for (key, id) in read.keys.iter().zip(read.ids) {
        n += usize::from(read.serve(ctx, key, id, u64::MAX, |reply| begin_stream(reply, key))?);
    }
    if n > 0 {
        if ctx.reply.resp3() { ctx.reply.finish_map(at, n) } else { ctx.reply.finish_array(at, n) }
    }
    Ok(n > 0)
}

/// How 7.0 ends a wait for a key that is gone or of another type.
fn as_7_0(ctx: &Context<'_>, read: &Read<'_>, error: CommandError) -> CommandError {
    let is_stream = |key| ctx.keys.peek(key).is_some_and(|cell| cell.ty() == Type::Stream);
    if read.keys.iter().all(is_stream) {
        return error;
    }
    CommandError::new("UNBLOCKED the stream key no longer exists")
}

// XACK, XCLAIM, XAUTOCLAIM

fn xack(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Some(mut cell) = open(&mut ctx.keys, args.at(1))? else {
        missed(&mut ctx.keys, args.at(1));
        ctx.reply.int(0);
        return Ok(());
    };
    let Some(mut group) = cell.large_mut::<Stream>().groups.get_mut(&args[2]) else {
        ctx.reply.int(0);
        return Ok(());
    };
    let ids = args.from(3);
    let ids = ids.iter().map(|arg| parse_id(arg, 0)).collect::<Result<SmallVec<[StreamId; 16]>, _>>()?;
    let acknowledged = ids.iter().filter(|id| group.acknowledge(**id).is_some()).count();
    drop(group);
    drop(cell);
    ctx.keys.add_dirty(acknowledged as u64);
    ctx.reply.int(acknowledged as i64);
    Ok(())
}

fn parse_or(arg: &[u8], error: &'static str) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::new(error))
}

/// XCLAIM's arguments behind the consumer.
struct Claim {
    min_idle: u64,
    ids: SmallVec<[StreamId; 16]>,
    time_ms: u64,
    retry_count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl Claim {
    fn parse(args: Args<'_>, now: u64) -> Result<Self, CommandError> {
        let min_idle = parse_or(&args[4], "ERR Invalid min-idle-time argument for XCLAIM")?.max(0) as u64;
        let ids: SmallVec<_> = args.from(5).iter().map_while(|arg| StreamId::parse(arg, 0)).collect();
        let mut i = 5 + ids.len();
        let mut claim = Claim {
            min_idle,
            ids,
            time_ms: now,
            retry_count: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
        };
        let mut time = None;
        while let Some(word) = args.get(i) {
            let value = args.get(i + 1);
            i += 2;
            match value {
                _ if eq_nocase(word, "force") => {
                    claim.force = true;
                    i -= 1;
                }
                _ if eq_nocase(word, "justid") => {
                    claim.just_id = true;
                    i -= 1;
                }
                Some(value) if eq_nocase(word, "idle") => {
                    let idle = parse_or(value, "ERR Invalid IDLE option argument for XCLAIM")?;
                    time = Some((now as i64).wrapping_sub(idle));
                }
                Some(value) if eq_nocase(word, "time") => {
                    time = Some(parse_or(value, "ERR Invalid TIME option argument for XCLAIM")?);
                }
                Some(value) if eq_nocase(word, "retrycount") => {
                    let n = parse_or(value, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                    claim.retry_count = u64::try_from(n).ok();
                }
                Some(value) if eq_nocase(word, "lastid") => claim.last_id = parse_id(value, 0)?,
                _ => return Err(quoting(&[b"ERR Unrecognized XCLAIM option '", word, b"'"])),
            }
        }
        // A time in the future, or one before 1970, is a client's mistake in reckoning, which Redis takes for now.
        claim.time_ms = time.and_then(|t| u64::try_from(t).ok()).filter(|t| *t <= now).unwrap_or(now);
        Ok(claim)
    }
}

/// For how long nothing was heard of a delivery.
fn idle_ms(nack: &Nack, now: u64) -> i64 {
    (now as i64).wrapping_sub(nack.time_ms as i64)
}

fn xclaim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name, consumer) = (args.at(1), args.at(2), args.at(3));
    let now = ctx.now();
    let budget = budget(ctx);
    let mut journal = Journal::new(ctx);
    let Some(mut cell) = open(&mut ctx.keys, key)? else {
        missed(&mut ctx.keys, key);
        return Err(no_key_or_group(key, name, b""));
    };
    if stream_of(&cell).groups.get(name).is_none() {
        return Err(no_key_or_group(key, name, b""));
    }
    let claim = Claim::parse(args, now)?;
    within(claim.ids.len() as u64, budget)?;
    let reply = &mut *ctx.reply;
    let mut dirty = 0;
    with_groups(&mut cell, |stream, groups| {
        let Some(mut group) = groups.get_mut(name) else { return };
        let moved = claim.last_id > group.last_id;
        group.last_id = group.last_id.max(claim.last_id);
        let (who, is_new) = consumer_of(&mut group, consumer, now);
        journal.created = is_new;
        let at = reply.defer();
        let mut claimed = 0;
        for &id in &claim.ids {
            let known = group.nack(id).copied();
            let Some(fields) = stream.get(id) else {
                if let Some(nack) = known {
                    journal.entry(&group, id, nack);
                    group.acknowledge(id);
                    dirty += 1;
                }
                continue;
            };
            let count = match known {
                Some(nack) if claim.min_idle > 0 && idle_ms(&nack, now) < claim.min_idle as i64 => continue,
                Some(nack) => nack.count,
                None if claim.force => 1,
                None => continue,
            };
            let count = claim.retry_count.unwrap_or(count.wrapping_add(u64::from(!claim.just_id)));
            let nack = Nack { consumer: who, time_ms: claim.time_ms, count };
            group.assign(id, nack);
            journal.entry(&group, id, nack);
            if claim.just_id {
                write_id(reply, id)
            } else {
                write_entry(reply, id, fields)
            }
            claimed += 1;
            dirty += 1;
        }
        reply.finish_array(at, claimed);
        group.saw(who, now, claimed > 0);
        if moved && dirty == 0 {
            dirty = 1;
        }
        journal.group(&group, moved);
    });
    drop(cell);
    if journal.created {
        created(&mut ctx.keys, key);
    }
    ctx.keys.add_dirty(dirty);
    journal.write(&mut ctx.keys, key, name, consumer);
    Ok(())
}

/// Deliveries that XAUTOCLAIM looks at for each that it may hand over.
const AUTOCLAIM_ATTEMPTS: u64 = 10;
/// What XAUTOCLAIM's COUNT may be at most.
const AUTOCLAIM_COUNT_MAX: i64 = i64::MAX / 16;

fn xautoclaim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name, consumer) = (args.at(1), args.at(2), args.at(3));
    let now = ctx.now();
    let budget = budget(ctx);
    let mut journal = Journal::new(ctx);
    let min_idle = parse_or(&args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let (start, _) = parse_range(&args[5], b"+")?;
    let (mut count, mut just_id) = (100, false);
    let mut i = 6;
    while let Some(word) = args.get(i) {
        match args.get(i + 1) {
            Some(value) if eq_nocase(word, "count") => {
                let n = parse_i64(value).filter(|n| (1..=AUTOCLAIM_COUNT_MAX).contains(n));
                count = n.ok_or(CommandError::new("ERR COUNT must be > 0"))? as u64;
                i += 1;
            }
            _ if eq_nocase(word, "justid") => just_id = true,
            _ => return Err(CommandError::SYNTAX),
        }
        i += 1;
    }
    let Some(mut cell) = open(&mut ctx.keys, key)? else {
        missed(&mut ctx.keys, key);
        return Err(no_key_or_group(key, name, b""));
    };
    let Some(group) = stream_of(&cell).groups.get(name) else {
        return Err(no_key_or_group(key, name, b""));
    };
    let attempts = count.saturating_mul(AUTOCLAIM_ATTEMPTS);
    within(count.min(group.pending_len() as u64), budget)?;
    let mut entries = Reply::new(ctx.reply.resp3());
    let (mut claimed, mut deleted) = (0, Vec::new());
    let next = with_groups(&mut cell, |stream, groups| {
        let mut group = groups.get_mut(name)?;
        let (who, is_new) = consumer_of(&mut group, consumer, now);
        journal.created = is_new;
        // A pin, as the list changes on the way.
        let before = group.clone();
        let mut pending = before.pending_from(start);
        for (id, nack) in pending.by_ref().take(usize::try_from(attempts).unwrap_or(usize::MAX)) {
            if let Some(fields) = stream.get(id) {
                if min_idle > 0 && idle_ms(nack, now) < min_idle {
                    continue;
                }
                let count = nack.count.wrapping_add(u64::from(!just_id));
                let nack = Nack { consumer: who, time_ms: now, count };
                group.assign(id, nack);
                journal.entry(&group, id, nack);
                if just_id {
                    write_id(&mut entries, id)
                } else {
                    write_entry(&mut entries, id, fields)
                }
                claimed += 1;
            } else {
                journal.entry(&group, id, *nack);
                group.acknowledge(id);
                deleted.push(id);
            }
            count -= 1;
            if count == 0 {
                break;
            }
        }
        let next = pending.next().map(|(id, _)| id);
        group.saw(who, now, claimed > 0);
        journal.group(&group, false);
        next
    });
    drop(cell);
    if journal.created {
        created(&mut ctx.keys, key);
    }
    ctx.keys.add_dirty((claimed + deleted.len()) as u64);
    journal.write(&mut ctx.keys, key, name, consumer);
    ctx.reply.array(3);
    write_id(ctx.reply, next.unwrap_or(StreamId::MIN));
    ctx.reply.array(claimed);
    ctx.reply.append(entries);
    ctx.reply.array(deleted.len());
    deleted.iter().for_each(|id| write_id(ctx.reply, *id));
    Ok(())
}

// XPENDING

fn xpending(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(1), args.at(2));
    let list = if args.len() == 3 { None } else { Some(PendingList::parse(args)?) };
    let now = ctx.now();
    let stream = ctx.keys.get_type(key, Type::Stream)?.map(stream_of);
    let Some(group) = stream.and_then(|stream| stream.groups.get(name)) else {
        return Err(no_key_or_group(key, name, b""));
    };
    let Some(list) = list else {
        let cost = group.consumers_len();
        if cost > SLOW_LANE_COST {
            let pin = group.clone();
            ctx.slow_lane(cost)?;
            ctx.release_keys();
            summary(ctx.reply, &pin);
        } else {
            summary(ctx.reply, group);
        }
        return Ok(());
    };
    let among = if list.min_idle > 0 { u64::MAX } else { list.count };
    let cost = among.min(group.pending_len() as u64);
    if cost > SLOW_LANE_COST as u64 {
        let pin = group.clone();
        ctx.slow_lane(usize::MAX)?;
        ctx.release_keys();
        list.write(ctx.reply, &pin, now);
    } else {
        list.write(ctx.reply, group, now);
    }
    Ok(())
}

/// How much is pending, from where to where, and with whom.
fn summary(reply: &mut Reply, group: &Group) {
    reply.array(4);
    reply.int(group.pending_len() as i64);
    let (Some(first), Some(last)) = (group.first_pending(), group.last_pending()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    write_id(reply, first);
    write_id(reply, last);
    let busy = || group.consumers().filter(|(_, c)| c.pending_len() > 0);
    reply.array(busy().count());
    for (_, consumer) in busy() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending_len() as i64);
    }
}

/// XPENDING's arguments for a list.
struct PendingList<'a> {
    min_idle: i64,
    start: StreamId,
    end: StreamId,
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> PendingList<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        if !(6..=9).contains(&args.len()) {
            return Err(CommandError::SYNTAX);
        }
        let (mut min_idle, mut at) = (0, 3);
        if eq_nocase(&args[3], "idle") {
            min_idle = parse_int(&args[4])?;
            if args.len() < 8 {
                return Err(CommandError::SYNTAX);
            }
            at = 5;
        }
        let count = parse_int(&args[at + 2])?.max(0) as u64;
        let (start, end) = parse_range(&args[at], &args[at + 1])?;
        let consumer = (args.len() > at + 3).then(|| args.at(at + 3));
        Ok(Self { min_idle, start, end, count, consumer })
    }

    fn write(&self, reply: &mut Reply, group: &Group, now: u64) {
        let Some(name) = self.consumer else {
            return self.write_each(
                reply,
                group,
                now,
                group.pending_from(self.start).map(|(id, n)| (id, *n)),
            );
        };
        let Some(consumer) = group.consumer_id(name).and_then(|id| group.consumer(id)) else {
            reply.empty_array();
            return;
        };
        let own = consumer.pending_from(self.start).filter_map(|id| Some((id, *group.nack(id)?)));
        self.write_each(reply, group, now, own);
    }

    fn write_each(
        &self,
        reply: &mut Reply,
        group: &Group,
        now: u64,
        pending: impl Iterator<Item = (StreamId, Nack)>,
    ) {
        let at = reply.defer();
        let mut n = 0;
        if self.count > 0 {
            for (id, nack) in pending.take_while(|(id, _)| *id <= self.end) {
                let idle = idle_ms(&nack, now);
                if self.min_idle != 0 && idle < self.min_idle {
                    continue;
                }
                reply.array(4);
                write_id(reply, id);
                reply.bulk(group.consumer(nack.consumer).map_or(b"", |c| c.name()));
                reply.int(idle.max(0));
                reply.int(nack.count as i64);
                n += 1;
                if n as u64 == self.count {
                    break;
                }
            }
        }
        reply.finish_array(at, n);
    }
}

// XINFO

/// The stream of a command that needs one.
fn stream_at<'v>(keys: &'v mut View<'_>, key: &[u8]) -> Result<&'v Stream, CommandError> {
    keys.get_type(key, Type::Stream)?.map(stream_of).ok_or(CommandError::NO_SUCH_KEY)
}

fn xinfo_consumers(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args.at(2), args.at(3));
    let now = ctx.now();
    let group = stream_at(&mut ctx.keys, key)?.groups.get(name).ok_or_else(|| no_group(key, name))?;
    let cost = group.consumers_len();
    if cost > SLOW_LANE_COST {
        let pin = group.clone();
        ctx.slow_lane(cost)?;
        ctx.release_keys();
        write_consumers(ctx.reply, &pin, now);
    } else {
        write_consumers(ctx.reply, group, now);
    }
    Ok(())
}

fn write_consumers(reply: &mut Reply, group: &Group, now: u64) {
    reply.array(group.consumers_len());
    let since = |then: u64| (now as i64).wrapping_sub(then as i64);
    for (_, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk_str("name");
        reply.bulk(consumer.name());
        reply.bulk_str("pending");
        reply.int(consumer.pending_len() as i64);
        reply.bulk_str("idle");
        reply.int(since(consumer.seen_ms).max(0));
        reply.bulk_str("inactive");
        reply.int(consumer.active_ms.map_or(-1, since));
    }
}

fn xinfo_groups(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let stream = stream_at(&mut ctx.keys, args.at(2))?;
    let cost = stream.groups.len();
    if cost > SLOW_LANE_COST {
        let pin = stream.clone();
        ctx.slow_lane(cost)?;
        ctx.release_keys();
        write_groups(ctx.reply, &pin);
    } else {
        write_groups(ctx.reply, stream);
    }
    Ok(())
}

fn write_groups(reply: &mut Reply, stream: &Stream) {
    reply.array(stream.groups.len());
    for (name, group) in stream.groups.iter() {
        reply.map(6);
        reply.bulk_str("name");
        reply.bulk(name);
        reply.bulk_str("consumers");
        reply.int(group.consumers_len() as i64);
        reply.bulk_str("pending");
        reply.int(group.pending_len() as i64);
        write_place(reply, stream, group);
    }
}

/// Where a group stands: three pairs.
fn write_place(reply: &mut Reply, stream: &Stream, group: &Group) {
    let int_or_null = |reply: &mut Reply, n: Option<i64>| match n {
        Some(n) => reply.int(n),
        None => reply.null(),
    };
    reply.bulk_str("last-delivered-id");
    write_id(reply, group.last_id);
    reply.bulk_str("entries-read");
    int_or_null(reply, group.entries_read.map(|n| n as i64));
    reply.bulk_str("lag");
    int_or_null(reply, stream.lag(group));
}

fn xinfo_stream(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let stream = stream_at(&mut ctx.keys, args.at(2))?;
    if args.len() == 3 {
        // So that the nodes of the largest streams are guessed, not counted.
        write_stream_info(ctx.reply, stream, 10);
        write_ends(ctx.reply, stream);
        return Ok(());
    }
    let form = args.from(3);
    let count = match form.len() {
        1 if eq_nocase(&form[0], "full") => 10,
        3 if eq_nocase(&form[0], "full") && eq_nocase(&form[1], "count") => match parse_int(&form[2])? {
            n if n < 0 => 10,
            n => n as u64,
        },
        _ => return Err(wrong_form(args)),
    };
    let count = if count == 0 { u64::MAX } else { count };
    // Each group and each consumer lists up to `count`.
    let mut cost = count.min(stream.len());
    for (_, group) in stream.groups.iter().take(SLOW_LANE_COST) {
        let listed = count.min(group.pending_len() as u64);
        cost = cost.saturating_add(2 * listed + group.consumers_len() as u64);
    }
    if cost.max(stream.groups.len() as u64) > SLOW_LANE_COST as u64 {
        let pin = stream.clone();
        ctx.slow_lane(usize::MAX)?;
        ctx.release_keys();
        let limit = ctx.output_limit();
        return write_full(ctx.reply, &pin, count, limit);
    }
    write_full(ctx.reply, stream, count, None)
}

/// The pairs that both forms begin with, and the map's header, for so many pairs in all.
fn write_stream_info(reply: &mut Reply, stream: &Stream, pairs: usize) {
    reply.map(pairs);
    reply.bulk_str("length");
    reply.int(stream.len() as i64);
    reply.bulk_str("radix-tree-keys");
    reply.int(stream.blocks_len() as i64);
    reply.bulk_str("radix-tree-nodes");
    reply.int(radix_nodes(stream) as i64);
    reply.bulk_str("last-generated-id");
    write_id(reply, stream.last_id);
    reply.bulk_str("max-deleted-entry-id");
    write_id(reply, stream.max_deleted_id);
    reply.bulk_str("entries-added");
    reply.int(stream.entries_added as i64);
    reply.bulk_str("recorded-first-entry-id");
    write_id(reply, stream.first_id);
}

fn write_ends(reply: &mut Reply, stream: &Stream) {
    reply.bulk_str("groups");
    reply.int(stream.groups.len() as i64);
    let (first, last) = (StreamId::MIN, StreamId::MAX);
    let ends = [("first-entry", stream.range(first, last)), ("last-entry", stream.range_rev(first, last))];
    for (name, mut range) in ends {
        reply.bulk_str(name);
        match range.next() {
            Some((id, fields)) => write_entry(reply, id, fields),
            None => reply.null(),
        }
    }
}

fn write_full(reply: &mut Reply, stream: &Stream, count: u64, limit: Option<usize>) -> Outcome {
    write_stream_info(reply, stream, 9);
    reply.bulk_str("entries");
    write_entries(reply, stream.range(StreamId::MIN, StreamId::MAX), count, limit)?;
    reply.bulk_str("groups");
    reply.array(stream.groups.len());
    let listed = |len: usize| len.min(usize::try_from(count).unwrap_or(usize::MAX));
    for (name, group) in stream.groups.iter() {
        reply.map(7);
        reply.bulk_str("name");
        reply.bulk(name);
        write_place(reply, stream, group);
        reply.bulk_str("pel-count");
        reply.int(group.pending_len() as i64);
        reply.bulk_str("pending");
        let n = listed(group.pending_len());
        reply.array(n);
        for (id, nack) in group.pending_from(StreamId::MIN).take(n) {
            reply.array(4);
            write_id(reply, id);
            reply.bulk(group.consumer(nack.consumer).map_or(b"", |c| c.name()));
            write_delivery(reply, nack);
        }
        reply.bulk_str("consumers");
        reply.array(group.consumers_len());
        for (_, consumer) in group.consumers() {
            reply.map(5);
            reply.bulk_str("name");
            reply.bulk(consumer.name());
            reply.bulk_str("seen-time");
            reply.int(consumer.seen_ms as i64);
            reply.bulk_str("active-time");
            reply.int(consumer.active_ms.map_or(-1, |ms| ms as i64));
            reply.bulk_str("pel-count");
            reply.int(consumer.pending_len() as i64);
            reply.bulk_str("pending");
            let n = listed(consumer.pending_len());
            reply.array(n);
            for (id, nack) in
                consumer.pending_from(StreamId::MIN).take(n).filter_map(|id| Some((id, group.nack(id)?)))
            {
                reply.array(3);
                write_id(reply, id);
                write_delivery(reply, nack);
            }
        }
    }
    Ok(())
}

fn write_delivery(reply: &mut Reply, nack: &Nack) {
    reply.int(nack.time_ms as i64);
    reply.int(nack.count as i64);
}

/// Blocks whose ids are looked at; beyond, the number of nodes is scaled up.
const RADIX_BLOCKS_MAX: usize = 1024;

/// The nodes that Redis's radix tree would have for these blocks' ids: one for each branching, each leaf, and each run of
/// bytes between them that no node above holds.
fn radix_nodes(stream: &Stream) -> usize {
    let ids = stream.blocks().map(|(id, _)| id.to_bytes()).take(RADIX_BLOCKS_MAX);
    let nodes = radix_nodes_of(ids);
    let blocks = stream.blocks_len();
    if blocks > RADIX_BLOCKS_MAX { nodes * blocks / RADIX_BLOCKS_MAX } else { nodes }
}

fn radix_nodes_of(ids: impl Iterator<Item = [u8; 16]>) -> usize {
    const LEN: usize = 16;
    // Depths of the branchings on the path to the last id, outermost first.
    let mut path: SmallVec<[usize; LEN]> = SmallVec::new();
    let mut nodes = 0;
    let mut last: Option<[u8; 16]> = None;
    // A leaf or branching at `depth` below a branching at `above`: itself, and what lies between.
    let below = |depth: usize, above: Option<usize>| match above {
        Some(above) => 1 + usize::from(depth - above > 1),
        None => 1 + usize::from(depth > 0),
    };
    for id in ids {
        if let Some(last) = last {
            let common = last.iter().zip(&id).take_while(|(a, b)| a == b).count();
            let mut depth = LEN;
            while let Some(&above) = path.last() {
                if above < common {
                    break;
                }
                nodes += below(depth, Some(above));
                depth = above;
                path.pop();
            }
            if depth != common {
                nodes += below(depth, Some(common));
            }
            path.push(common);
        }
        last = Some(id);
    }
    if last.is_none() {
        return 1;
    }
    let mut depth = LEN;
    while let Some(above) = path.pop() {
        nodes += below(depth, Some(above));
        depth = above;
    }
    nodes + below(depth, None)
}

fn xinfo_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.help(&[
        "CONSUMERS <key> <groupname>",
        "    Lists the consumers of a group.",
        "GROUPS <key>",
        "    Lists the groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    Describes a stream; with FULL also its first entries and its groups.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radix_nodes_are_counted_as_redis_has_them() {
        let id = |ms: u64, seq: u64| StreamId::new(ms, seq).to_bytes();
        assert_eq!(radix_nodes_of([].into_iter()), 1);
        assert_eq!(radix_nodes_of([id(1, 0)].into_iter()), 2);
        // A run, a branching at the last byte, two leaves.
        assert_eq!(radix_nodes_of([id(1, 0), id(1, 1)].into_iter()), 4);
        assert_eq!(radix_nodes_of((0..5).map(|i| id(1, i))), 7);
    }
}
