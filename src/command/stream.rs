//! Streams: XADD, XRANGE, XREAD and what else needs no group.
//!
//! Hot path: no allocation an entry, neither when one is added nor when one is read.
use crate::base::num::{fmt_i64, parse_i64};
use crate::command::context::{Block, Resume, SLOW_LANE_COST};
use crate::command::hash::write_elem;
use crate::command::row::{Begin, Find};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, OwnedArgs, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::{Cell, Type};
use crate::value::stream::block::Fields;
use crate::value::stream::id::{ID_TEXT_MAX, StreamId};
use crate::value::stream::{ENTRY_BYTES_MAX, Keep, NodeLimits, Range, Stream};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Stream).since("5.0.0");
    vec![
        c("xadd", Arity::at_least(5), xadd)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|update")
            .doc("Appends an entry to a stream, which is created if need be, and may trim it.")
            .complexity("O(1), and O(N) with N the number of entries that a trim removes."),
        c("xdel", Arity::at_least(3), xdel)
            .write()
            .fast()
            .key(1, "rw|delete")
            .doc("Removes entries from a stream and tells how many there were.")
            .complexity("O(N) with N the number of ids, whatever the stream's length."),
        c("xlen", Arity::exactly(2), xlen)
            .readonly()
            .fast()
            .key(1, "ro")
            .doc("Tells the number of entries in a stream.")
            .complexity("O(1)"),
        c("xrange", Arity::at_least(4), xrange)
            .readonly()
            .key(1, "ro|access")
            .doc("Answers the entries of a stream between two ids.")
            .complexity("O(N) with N the number of entries answered; O(log(M)) to find the first of M."),
        c("xread", Arity::at_least(4), xread)
            .readonly()
            .blocking()
            .movablekeys()
            .spec(Begin::Keyword("streams", 1), Find::Range { last: -1, step: 1, limit: 2 }, "ro|access")
            .doc("Answers the entries behind given ids from one or more streams, and may wait for some.")
            .complexity("O(N) with N the number of entries answered."),
        c("xrevrange", Arity::at_least(4), xrevrange)
            .readonly()
            .key(1, "ro|access")
            .doc("Answers the entries of a stream between two ids, the last one first.")
            .complexity("O(N) with N the number of entries answered; O(log(M)) to find the first of M."),
        c("xsetid", Arity::at_least(3), xsetid)
            .write()
            .denyoom()
            .fast()
            .key(1, "rw|update")
            .doc("Sets the last id of a stream, above which the next entry's will be.")
            .complexity("O(1)"),
        c("xtrim", Arity::at_least(4), xtrim)
            .write()
            .key(1, "rw|delete")
            .doc("Removes the oldest entries of a stream down to a length or an id.")
            .complexity("O(N) with N the number of entries removed, by whole blocks."),
    ]
}

pub(super) const INVALID_ID: CommandError = CommandError::Text(std::borrow::Cow::Borrowed(
    "ERR Invalid stream ID specified as stream command argument",
));

/// An id, where neither `-` nor `+` will do.
pub(super) fn parse_id(arg: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    StreamId::parse(arg, missing_seq).ok_or(INVALID_ID)
}

/// The bounds of a range, both made inclusive.
pub(super) fn parse_range(start: &[u8], end: &[u8]) -> Result<(StreamId, StreamId), CommandError> {
    let (mut first, open) = StreamId::parse_bound(start, 0).ok_or(INVALID_ID)?;
    if open {
        first = first.next().ok_or(CommandError::new("ERR invalid start ID for the interval"))?;
    }
    let (mut last, open) = StreamId::parse_bound(end, u64::MAX).ok_or(INVALID_ID)?;
    if open {
        last = last.prev().ok_or(CommandError::new("ERR invalid end ID for the interval"))?;
    }
    Ok((first, last))
}

pub(super) fn parse_int(arg: &[u8]) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::NOT_INTEGER)
}

/// A deadline from BLOCK's milliseconds; `None` for 0, which waits forever.
pub(super) fn parse_block(ctx: &Context<'_>, arg: &[u8]) -> Result<Option<u64>, CommandError> {
    let ms =
        parse_i64(arg).ok_or_else(|| CommandError::new("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::TIMEOUT_NEGATIVE)?;
    if ms == 0 {
        return Ok(None);
    }
    let at = ctx.now().checked_add(ms).filter(|at| i64::try_from(*at).is_ok());
    at.map(Some).ok_or(CommandError::TIMEOUT_OUT_OF_RANGE)
}

pub(super) fn write_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(id.text(&mut [0; ID_TEXT_MAX]));
}

/// An id and the fields with their values.
#[inline]
pub(super) fn write_entry(reply: &mut Reply, id: StreamId, fields: Fields<'_>) {
    reply.array(2);
    write_id(reply, id);
    reply.array(2 * fields.len());
    for (field, value) in fields {
        write_elem(reply, field);
        write_elem(reply, value);
    }
}

/// The stream of a cell that is known to hold one.
pub(super) fn stream_of(cell: &Cell) -> &Stream {
    cell.large()
}

pub(super) fn node_limits(ctx: &Context<'_>) -> NodeLimits {
    let limits = ctx.limits();
    NodeLimits {
        max_bytes: limits.stream_node_max_bytes.get(),
        max_entries: limits.stream_node_max_entries.get(),
    }
}

/// What XADD and XTRIM say about trimming.
#[derive(Default)]
struct Trim {
    keep: Option<Keep>,
    approximate: bool,
    /// The most entries to remove; 0 is no limit.
    limit: u64,
    /// Where the threshold stands among the arguments.
    at: usize,
    /// Where LIMIT stands, and its number behind it.
    limit_at: Option<usize>,
}

impl Trim {
    fn run(&self, stream: &mut Stream) -> u64 {
        self.keep.map_or(0, |keep| stream.trim(keep, self.approximate, self.limit))
    }

    /// The arguments in other words, which remove the same wherever they are run again: an exact threshold for `~`, and
    /// `id` in its place.
    fn exact(&self, args: Args<'_>, stream: &Stream, id: Option<(usize, StreamId)>) -> OwnedArgs {
        let mut words = OwnedArgs::new();
        for (i, arg) in args.iter().enumerate() {
            let (mut id_text, mut digits) = ([0; ID_TEXT_MAX], [0; 20]);
            match id {
                Some((at, id)) if at == i => words.push(id.text(&mut id_text)),
                _ if !self.approximate => words.push(arg),
                _ if self.limit_at.is_some_and(|at| i == at || i == at + 1) => {}
                _ if i + 1 == self.at => words.push(b"="),
                _ if i == self.at => match self.keep {
                    Some(Keep::From(_)) => words.push(stream.first_id_or_tombstone().text(&mut id_text)),
                    _ => words.push(fmt_i64(&mut digits, stream.len() as i64)),
                },
                _ => words.push(arg),
            }
        }
        words
    }
}

/// An id to add, as far as the client said it.
struct NewId {
    id: StreamId,
    /// Not to be made up: milliseconds, and sequence number.
    given: bool,
    seq_given: bool,
}

impl NewId {
    /// The id after `last` that this stands for.
    fn resolve(&self, last: StreamId, now: u64) -> Result<StreamId, CommandError> {
        let small = || {
            CommandError::new(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            )
        };
        let id = if !self.given {
            if now > last.ms { Some(StreamId::new(now, 0)) } else { last.next() }
        } else if !self.seq_given && last.ms == self.id.ms {
            last.seq.checked_add(1).map(|seq| StreamId { seq, ..last })
        } else {
            Some(self.id)
        };
        id.filter(|id| *id > last).ok_or_else(small)
    }
}

/// The options of XADD, up to its id, or of XTRIM.
struct Options {
    trim: Trim,
    no_mkstream: bool,
    id: NewId,
    /// Where the id stands.
    id_at: usize,
}

impl Options {
    fn parse(ctx: &Context<'_>, args: Args<'_>, is_add: bool) -> Result<Self, CommandError> {
        let mut trim = Trim::default();
        let mut no_mkstream = false;
        let mut id = NewId { id: StreamId::MIN, given: false, seq_given: false };
        let mut limit = None;
        let mut i = 2;
        while let Some(word) = args.get(i) {
            if is_add && word == b"*" {
                break;
            }
            let more = args.len() - 1 - i;
            let by_len = eq_nocase(word, "maxlen");
            if more > 0 && (by_len || eq_nocase(word, "minid")) {
                if trim.keep.is_some() {
                    return Err(CommandError::new(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                    ));
                }
                i += 1;
                if more >= 2 && matches!(args.at(i), b"~" | b"=") {
                    trim.approximate = args.at(i) == b"~";
                    i += 1;
                }
                trim.keep = Some(if by_len {
                    let len = u64::try_from(parse_int(args.at(i))?);
                    Keep::Len(len.map_err(|_| CommandError::new("ERR The MAXLEN argument must be >= 0."))?)
                } else {
                    Keep::From(parse_id(args.at(i), 0)?)
                });
                trim.at = i;
            } else if more > 0 && eq_nocase(word, "limit") {
                let n = u64::try_from(parse_int(args.at(i + 1))?);
                limit = Some(n.map_err(|_| CommandError::new("ERR The LIMIT argument must be >= 0."))?);
                trim.limit_at = Some(i);
                i += 1;
            } else if is_add && eq_nocase(word, "nomkstream") {
                no_mkstream = true;
            } else if is_add {
                let (given, seq_given) = StreamId::parse_partial(word).ok_or(INVALID_ID)?;
                id = NewId { id: given, given: true, seq_given };
                break;
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        if limit.is_some_and(|n| n > 0) && trim.keep.is_none() {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if !is_add && trim.keep.is_none() {
            return Err(CommandError::new("ERR syntax error, XTRIM must be called with a trimming strategy"));
        }
        trim.limit = match limit {
            Some(_) if !trim.approximate => {
                return Err(CommandError::new(
                    "ERR syntax error, LIMIT cannot be used without the special ~ option",
                ));
            }
            Some(limit) => limit,
            None if trim.approximate => match ctx.limits().stream_node_max_entries.get() as u64 {
                0 => TRIM_LIMIT_DEFAULT,
                entries => entries.saturating_mul(100).min(TRIM_LIMIT_MAX),
            },
            None => 0,
        };
        Ok(Options { trim, no_mkstream, id, id_at: i })
    }
}

/// What an approximate trim removes at most when nobody says: a hundred blocks, between these.
const TRIM_LIMIT_DEFAULT: u64 = 10_000;
const TRIM_LIMIT_MAX: u64 = 1_000_000;

fn xadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(ctx, args, true)?;
    let parts = args.from(options.id_at + 1);
    if parts.len() < 2 || parts.len() % 2 == 1 {
        return Err(CommandError::wrong_arity(&ctx.command.full_name));
    }
    let given = &options.id;
    if given.given && given.seq_given && given.id.is_zero() {
        return Err(CommandError::new("ERR The ID specified in XADD must be greater than 0-0"));
    }
    ctx.slow_lane(parts.len())?;
    let key = args.at(1);
    let (now, limits) = (ctx.now(), node_limits(ctx));
    let check = |last: StreamId| -> Result<StreamId, CommandError> {
        if last == StreamId::MAX {
            return Err(CommandError::new(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        let id = given.resolve(last, now)?;
        if parts.iter().map(<[u8]>::len).sum::<usize>() > ENTRY_BYTES_MAX {
            return Err(CommandError::new("ERR Elements are too large to be stored"));
        }
        Ok(id)
    };
    let replaced = options.trim.approximate || !given.given || !given.seq_given;
    let journalled = replaced && ctx.env.journal.is_on();
    let add = |stream: &mut Stream, id: StreamId| {
        stream.append(id, parts.iter(), limits);
        let trimmed = options.trim.run(stream);
        let words = journalled.then(|| options.trim.exact(args, stream, Some((options.id_at, id))));
        (trimmed, words)
    };
    let (id, trimmed, words);
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Stream)? {
        let stream: &mut Stream = cell.large_mut();
        id = check(stream.last_id)?;
        (trimmed, words) = add(stream, id);
    } else if options.no_mkstream {
        ctx.reply.null();
        return Ok(());
    } else {
        id = check(StreamId::MIN)?;
        let mut stream = Stream::new();
        (trimmed, words) = add(&mut stream, id);
        ctx.keys.insert(stream.into_cell(key));
    }
    ctx.keys.signal(notify::STREAM, "xadd", key);
    if trimmed > 0 {
        ctx.keys.notify(notify::STREAM, "xtrim", key);
    }
    if replaced {
        ctx.keys.effect(|| words.unwrap_or_else(|| OwnedArgs::from_args(args)));
    }
    ctx.keys.ready(key);
    write_id(ctx.reply, id);
    Ok(())
}

fn xlen(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let cell = ctx.keys.get_type(&args[1], Type::Stream)?;
    ctx.reply.int(cell.map_or(0, |cell| stream_of(cell).len() as i64));
    Ok(())
}

fn xrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, args, false)
}

fn xrevrange(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(ctx, args, true)
}

fn range(ctx: &mut Context<'_>, args: Args<'_>, reverse: bool) -> Outcome {
    let (first, last) = if reverse { (3, 2) } else { (2, 3) };
    let (start, end) = parse_range(args.at(first), args.at(last))?;
    let mut count = None;
    let mut i = 4;
    while let Some(word) = args.get(i) {
        match args.get(i + 1) {
            Some(n) if eq_nocase(word, "count") => count = Some(parse_int(n)?.max(0) as u64),
            _ => return Err(CommandError::SYNTAX),
        }
        i += 2;
    }
    let Some(cell) = ctx.keys.get_type(args.at(1), Type::Stream)? else {
        ctx.reply.empty_array();
        return Ok(());
    };
    if count == Some(0) {
        ctx.reply.null_array();
        return Ok(());
    }
    let stream = stream_of(cell);
    let count = count.unwrap_or(u64::MAX);
    let entries = |stream: &Stream, reply: &mut Reply, limit: Option<usize>| {
        let range = if reverse { stream.range_rev(start, end) } else { stream.range(start, end) };
        write_entries(reply, range, count, limit)
    };
    if stream.count_at_most(start, end, count) <= SLOW_LANE_COST as u64 {
        return entries(stream, ctx.reply, None);
    }
    let pin = stream.clone();
    ctx.slow_lane(usize::MAX)?;
    ctx.release_keys();
    let limit = ctx.output_limit();
    entries(&pin, ctx.reply, limit)
}

/// Writes up to `count` entries. Stops when the reply is over the most output that may wait for the client.
pub(super) fn write_entries(
    reply: &mut Reply,
    range: Range<'_>,
    count: u64,
    limit: Option<usize>,
) -> Outcome {
    let at = reply.defer();
    let mut n = 0;
    if count > 0 {
        for (id, fields) in range {
            write_entry(reply, id, fields);
            n += 1;
            if n as u64 == count {
                break;
            }
            if limit.is_some_and(|limit| reply.total_len() > limit) {
                return Err(CommandError::new("ERR the reply exceeds what may wait for the client"));
            }
        }
    }
    reply.finish_array(at, n);
    Ok(())
}

fn xdel(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    ctx.slow_lane(args.len() * 4)?;
    let mut deleted = 0;
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Stream)? {
        // All of them first, so that nothing is done in part.
        for arg in args.from(2) {
            parse_id(arg, 0)?;
        }
        let stream: &mut Stream = cell.large_mut();
        let mut highest = StreamId::MIN;
        for id in args.from(2).iter().filter_map(|arg| StreamId::parse(arg, 0)) {
            if stream.delete(id) {
                deleted += 1;
                highest = highest.max(id);
            }
        }
        if deleted > 0 {
            stream.note_deleted(highest);
        }
    }
    if deleted > 0 {
        ctx.keys.signal(notify::STREAM, "xdel", key);
        ctx.keys.add_dirty(deleted - 1);
    }
    ctx.reply.int(deleted as i64);
    Ok(())
}

fn xtrim(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = Options::parse(ctx, args, false)?;
    let key = args.at(1);
    let trim = &options.trim;
    // A block goes in one step, whatever it holds.
    let blocks = ctx.keys.get_type(key, Type::Stream)?.map_or(0, |cell| stream_of(cell).blocks_len());
    if trim.limit == 0 {
        ctx.slow_lane(blocks)?;
    }
    let journalled = trim.approximate && ctx.env.journal.is_on();
    let (mut removed, mut words) = (0, None);
    if let Some(mut cell) = ctx.keys.get_mut(key) {
        let stream: &mut Stream = cell.large_mut();
        removed = trim.run(stream);
        words = journalled.then(|| trim.exact(args, stream, None));
    }
    if removed > 0 {
        ctx.keys.signal(notify::STREAM, "xtrim", key);
        ctx.keys.add_dirty(removed - 1);
        if trim.approximate {
            ctx.keys.effect(|| words.unwrap_or_else(|| OwnedArgs::from_args(args)));
        }
    }
    ctx.reply.int(removed as i64);
    Ok(())
}

fn xsetid(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let id = parse_id(args.at(2), 0)?;
    let (mut added, mut deleted) = (None, StreamId::MIN);
    let mut i = 3;
    while let Some(word) = args.get(i) {
        let value = args.get(i + 1).ok_or(CommandError::SYNTAX)?;
        if eq_nocase(word, "entriesadded") {
            let n = u64::try_from(parse_int(value)?);
            added = Some(n.map_err(|_| CommandError::new("ERR entries_added must be positive"))?);
        } else if eq_nocase(word, "maxdeletedid") {
            deleted = parse_id(value, 0)?;
            if id < deleted {
                return Err(CommandError::new(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CommandError::SYNTAX);
        }
        i += 2;
    }
    if let Some(mut cell) = ctx.keys.get_mut_type(key, Type::Stream)? {
        let stream: &mut Stream = cell.large_mut();
        if id < stream.max_deleted_id {
            return Err(CommandError::new(
                "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
            ));
        }
        if stream.last_live_id().is_some_and(|last| id < last) {
            return Err(CommandError::new(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if !stream.is_empty() && added.is_some_and(|added| added < stream.len()) {
            return Err(CommandError::new(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
        stream.last_id = id;
        stream.entries_added = added.unwrap_or(stream.entries_added);
        if !deleted.is_zero() {
            stream.max_deleted_id = deleted;
        }
    } else {
        return Err(CommandError::NO_SUCH_KEY);
    }
    ctx.keys.signal(notify::STREAM, "xsetid", key);
    ctx.reply.ok();
    Ok(())
}

/// XREAD's arguments.
struct Read<'a> {
    count: u64,
    /// The deadline, if it may wait at all.
    block: Option<Option<u64>>,
    keys: Args<'a>,
    ids: Args<'a>,
    /// Where the first id stands.
    ids_at: usize,
}

impl<'a> Read<'a> {
    fn parse(ctx: &Context<'_>, args: Args<'a>) -> Result<Self, CommandError> {
        let (mut count, mut block) = (0, None);
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
                let n = args.len() - i - 1;
                if n % 2 == 1 {
                    return Err(CommandError::new(
                        "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
                    ));
                }
                let ids_at = i + 1 + n / 2;
                let count = if count == 0 { u64::MAX } else { count };
                return Ok(Read {
                    count,
                    block,
                    keys: args.slice(i + 1..ids_at),
                    ids: args.from(ids_at),
                    ids_at,
                });
            } else if more >= 2 && eq_nocase(word, "group") {
                return Err(CommandError::new(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            } else if eq_nocase(word, "noack") {
                return Err(CommandError::new(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            } else {
                return Err(CommandError::SYNTAX);
            }
            i += 1;
        }
        Err(CommandError::SYNTAX)
    }
}

fn xread(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let read = Read::parse(ctx, args)?;
    // The ids to answer from; none where nothing can follow.
    let mut after = smallvec::SmallVec::<[StreamId; 8]>::new();
    for (key, id) in read.keys.iter().zip(read.ids) {
        let cell = ctx.keys.get_type(key, Type::Stream)?;
        after.push(match id {
            b"$" => cell.map_or(StreamId::MIN, |cell| stream_of(cell).last_id),
            b">" => {
                return Err(CommandError::new(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            id => parse_id(id, 0)?,
        });
    }
    let keys = &ctx.keys;
    let found = || {
        let asked = read.keys.iter().zip(&after);
        asked.filter_map(|(key, id)| {
            let stream = stream_of(keys.peek(key)?);
            let start = id.next()?;
            stream.range(start, StreamId::MAX).next()?;
            Some((key, stream, start))
        })
    };
    let cost = found().map(|(_, stream, start)| stream.count_at_most(start, StreamId::MAX, read.count));
    let (streams, cost) = cost.fold((0, 0u64), |(n, sum), cost| (n + 1, sum.saturating_add(cost)));
    if streams > 0 {
        let reply = &mut *ctx.reply;
        if cost <= SLOW_LANE_COST as u64 {
            begin_streams(reply, streams);
            return found().try_for_each(|(key, stream, start)| {
                write_stream(reply, key, stream.range(start, StreamId::MAX), read.count, None)
            });
        }
        let pins: Vec<_> = found().map(|(key, stream, start)| (key, stream.clone(), start)).collect();
        ctx.slow_lane(usize::MAX)?;
        ctx.release_keys();
        let limit = ctx.output_limit();
        begin_streams(ctx.reply, streams);
        return pins.iter().try_for_each(|(key, stream, start)| {
            write_stream(ctx.reply, key, stream.range(*start, StreamId::MAX), read.count, limit)
        });
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
    ctx.block_and_resume(block, || {
        // `$` is the last id as of now, not as of when it goes on.
        let mut words = OwnedArgs::new();
        args.slice(0..read.ids_at).iter().for_each(|arg| words.push(arg));
        after.iter().for_each(|id| words.push(id.text(&mut [0; ID_TEXT_MAX])));
        Resume { args: Some(words), when_gone: false, when_durable: None }
    })
}

/// One stream of XREAD's answer: its key and its entries.
fn write_stream(
    reply: &mut Reply,
    key: &[u8],
    range: Range<'_>,
    count: u64,
    limit: Option<usize>,
) -> Outcome {
    begin_stream(reply, key);
    write_entries(reply, range, count, limit)
}

/// Begins the answer of XREAD and XREADGROUP: a map in RESP3, else an array of pairs.
pub(super) fn begin_streams(reply: &mut Reply, n: usize) {
    if reply.resp3() { reply.map(n) } else { reply.array(n) }
}

/// Begins one stream's part of it.
pub(super) fn begin_stream(reply: &mut Reply, key: &[u8]) {
    if !reply.resp3() {
        reply.array(2);
    }
    reply.bulk(key);
}
