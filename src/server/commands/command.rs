//! COMMAND: the command table as clients see it. Everything here is derived from the rows.
use super::help::help;
use crate::base::glob::glob_match;
use crate::command::row::{Begin, Find, KeySpec};
use crate::command::syntax::{Argument, Kind, Syntax};
use crate::command::table::CommandTable;
use crate::command::{Arity, Command, CommandError, Context, Flags, Group, Outcome};
use crate::resp::args::{Args, eq_nocase};
use crate::resp::reply::Reply;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| {
        Command::new(name, arity, handler).loading().stale().sentinel().categories(&["connection"])
    };
    let sub = |name, arity, handler| c(name, arity, handler).since("2.8.13");
    let mut command = Command::container(
        "command",
        vec![
            sub("count", Arity::exactly(2), count).doc("Counts the commands.").complexity("O(1)"),
            sub("docs", Arity::at_least(2), docs)
                .since("7.0.0")
                .doc("Describes commands for people.")
                .complexity("O(N) with N the number of commands asked for"),
            sub("getkeys", Arity::at_least(3), getkeys)
                .doc("Finds the keys in a whole command.")
                .complexity("O(N) with N the number of its arguments"),
            sub("getkeysandflags", Arity::at_least(3), getkeysandflags)
                .since("7.0.0")
                .doc("Finds the keys in a whole command, and what it does to each.")
                .complexity("O(N) with N the number of its arguments"),
            sub("help", Arity::exactly(2), show_help)
                .since("5.0.0")
                .doc("Explains the subcommands.")
                .complexity("O(1)"),
            sub("info", Arity::at_least(2), info)
                .doc("Describes commands for programs.")
                .complexity("O(N) with N the number of commands asked for"),
            sub("list", Arity::at_least(2), list)
                .since("7.0.0")
                .doc("Names the commands, all of them or by a filter.")
                .complexity("O(N) with N the number of commands"),
        ],
    )
    .group(Group::Server)
    .loading()
    .stale()
    .sentinel()
    .categories(&["connection"])
    .since("2.8.13")
    .doc("Describes all commands for programs.")
    .complexity("O(N) with N the number of commands");
    command.arity = Arity::at_least(1);
    command.handler = all;
    vec![command]
}

/// The command or subcommand that `name` (`get`, `config|set`) means.
pub fn find<'t>(table: &'t CommandTable, name: &[u8]) -> Option<&'t Command> {
    match memchr::memchr(b'|', name) {
        None => table.find(name),
        Some(at) => table.find_sub(table.find(&name[..at])?, &name[at + 1..]),
    }
}

fn all(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let table = &ctx.env.commands;
    ctx.reply.array(table.iter().count());
    table.iter().for_each(|c| write_info(ctx.reply, table, c));
    Ok(())
}

fn count(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    ctx.reply.int(ctx.env.commands.iter().count() as i64);
    Ok(())
}

fn info(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 2 {
        return all(ctx, args);
    }
    let table = &ctx.env.commands;
    ctx.reply.array(args.len() - 2);
    for name in args.from(2).iter() {
        match find(table, name) {
            Some(c) => write_info(ctx.reply, table, c),
            None => ctx.reply.null_array(),
        }
    }
    Ok(())
}

/// Flags that COMMAND INFO prints, in its order.
const PRINTED: &[Flags] = &[
    Flags::WRITE,
    Flags::READONLY,
    Flags::DENYOOM,
    Flags::MODULE,
    Flags::ADMIN,
    Flags::PUBSUB,
    Flags::NOSCRIPT,
    Flags::BLOCKING,
    Flags::LOADING,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::SKIP_SLOWLOG,
    Flags::ASKING,
    Flags::FAST,
    Flags::NO_AUTH,
    Flags::NO_MANDATORY_KEYS,
    Flags::NO_ASYNC_LOADING,
    Flags::NO_MULTI,
    Flags::MOVABLEKEYS,
    Flags::ALLOW_BUSY,
];

/// The flags as COMMAND INFO prints them.
pub fn flag_names(command: &Command) -> Vec<&'static str> {
    let movable = legacy_range(command).movable;
    let printed =
        PRINTED.iter().filter(|&&f| if f == Flags::MOVABLEKEYS { movable } else { command.flags.has(f) });
    let name = |f: &Flags| Flags::NAMES.iter().find(|(flag, _)| flag == f).map(|(_, name)| *name);
    printed.filter_map(name).collect()
}

/// Every ACL category, in the order in which they are printed.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The ACL categories of a command: from its flags, its group, and what its row adds.
pub fn categories(table: &CommandTable, command: &Command) -> Vec<&'static str> {
    let has = |f| command.flags.has(f);
    let grouped = command.parent.is_some() || !table.is_container(command);
    let typed = command.categories.iter().any(|c| !matches!(*c, "admin" | "dangerous" | "blocking"));
    let of_group = match command.group {
        _ if !grouped => "",
        Group::Generic if typed => "",
        Group::Generic => "keyspace",
        Group::String => "string",
        Group::List => "list",
        Group::Set => "set",
        Group::SortedSet => "sortedset",
        Group::Hash => "hash",
        Group::Bitmap => "bitmap",
        Group::HyperLogLog => "hyperloglog",
        Group::Geo => "geo",
        Group::Stream => "stream",
        Group::Scripting => "scripting",
        Group::Transactions => "transaction",
        Group::Connection => "connection",
        Group::PubSub | Group::Server | Group::Cluster => "",
    };
    let belongs = |category: &&&str| match **category {
        "write" => has(Flags::WRITE),
        "read" => has(Flags::READONLY) && of_group != "scripting",
        "pubsub" => has(Flags::PUBSUB),
        "blocking" => has(Flags::BLOCKING),
        "fast" => has(Flags::FAST),
        "slow" => !has(Flags::FAST),
        "admin" | "dangerous" => has(Flags::ADMIN) || command.categories.contains(*category),
        category => category == of_group || command.categories.contains(&category),
    };
    CATEGORIES.iter().filter(belongs).copied().collect()
}

/// Where the keys are, as clients knew it before key specifications: what those can say without loss, and whether they
/// say more (`movable`).
#[derive(Debug, PartialEq, Eq, Default, Clone, Copy)]
pub struct LegacyRange {
    pub first: i64,
    pub last: i64,
    pub step: i64,
    pub movable: bool,
}

/// See `LegacyRange`.
pub fn legacy_range(command: &Command) -> LegacyRange {
    let plain = |spec: &KeySpec| match (spec.begin, spec.find) {
        (Begin::Index(first), Find::Range { last, step, .. }) => {
            Some((first as i64, last as i64, step as i64))
        }
        _ => None,
    };
    let incomplete = |spec: &KeySpec| spec.flags.split('|').any(|f| f == "incomplete");
    let absolute = |first: i64, last: i64| if last >= 0 { first + last } else { last };
    let mut range = LegacyRange::default();
    if let [spec] = command.specs.as_slice()
        && let Some((first, last, step)) = plain(spec)
    {
        return LegacyRange { first, last: absolute(first, last), step, movable: incomplete(spec) };
    }
    for spec in &command.specs {
        let Some((first, last, step)) = plain(spec) else {
            range.movable = true;
            continue;
        };
        if step != 1 || (range.last != 0 && range.last != first - 1) {
            range.movable = true;
            continue;
        }
        range.movable |= incomplete(spec);
        range.first = if range.first == 0 { first } else { range.first.min(first) };
        // A negative place is counted from the end and so beyond any other.
        let last = absolute(first, last);
        range.last = if range.last < 0 || last < 0 { range.last.min(last) } else { range.last.max(last) };
        range.step = 1;
    }
    range
}

/// Hints for cluster clients and proxies: (hint, commands). Not derivable from a row, and nobody but such clients needs
/// them.
const TIPS: &[(&str, &[&str])] = &[
    (
        "nondeterministic_output",
        &[
            "client|info",
            "client|list",
            "cluster|bumpepoch",
            "cluster|count-failure-reports",
            "cluster|getkeysinslot",
            "cluster|info",
            "cluster|links",
            "cluster|nodes",
            "cluster|replicas",
            "cluster|shards",
            "cluster|slaves",
            "cluster|slots",
            "dump",
            "function|stats",
            "hrandfield",
            "hscan",
            "info",
            "lastsave",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
            "migrate",
            "object|encoding",
            "object|freq",
            "object|idletime",
            "object|refcount",
            "pttl",
            "randomkey",
            "scan",
            "slowlog|get",
            "slowlog|len",
            "spop",
            "srandmember",
            "sscan",
            "time",
            "ttl",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xinfo|consumers",
            "xpending",
            "xtrim",
            "zrandmember",
            "zscan",
        ],
    ),
    (
        "nondeterministic_output_order",
        &[
            "command",
            "command|docs",
            "command|info",
            "command|list",
            "function|list",
            "hgetall",
            "hkeys",
            "hvals",
            "keys",
            "module|list",
            "sdiff",
            "sinter",
            "smembers",
            "sunion",
        ],
    ),
    (
        "request_policy:all_nodes",
        &[
            "config|set",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "latency|reset",
            "script|flush",
            "script|load",
            "slowlog|get",
            "slowlog|len",
            "slowlog|reset",
        ],
    ),
    (
        "request_policy:all_shards",
        &[
            "dbsize",
            "flushall",
            "flushdb",
            "function|delete",
            "function|flush",
            "function|kill",
            "function|load",
            "function|restore",
            "function|stats",
            "info",
            "keys",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|purge",
            "memory|stats",
            "ping",
            "randomkey",
            "script|exists",
            "script|kill",
            "wait",
            "waitaof",
        ],
    ),
    ("request_policy:multi_shard", &["del", "exists", "mget", "mset", "msetnx", "touch", "unlink"]),
    ("request_policy:special", &["scan"]),
    ("response_policy:agg_logical_and", &["script|exists"]),
    ("response_policy:agg_min", &["msetnx", "wait", "waitaof"]),
    ("response_policy:agg_sum", &["dbsize", "del", "exists", "slowlog|len", "touch", "unlink"]),
    (
        "response_policy:all_succeeded",
        &[
            "config|set",
            "flushall",
            "flushdb",
            "function|delete",
            "function|flush",
            "function|load",
            "function|restore",
            "latency|reset",
            "memory|purge",
            "mset",
            "ping",
            "script|flush",
            "script|load",
            "slowlog|reset",
        ],
    ),
    ("response_policy:one_succeeded", &["function|kill", "script|kill"]),
    (
        "response_policy:special",
        &[
            "function|stats",
            "info",
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
            "randomkey",
            "scan",
        ],
    ),
];

fn tips(command: &Command) -> impl Iterator<Item = &'static str> {
    let name = command.full_name.as_str();
    TIPS.iter().filter(move |(_, commands)| commands.contains(&name)).map(|(tip, _)| *tip)
}

fn write_info(reply: &mut Reply, table: &CommandTable, command: &Command) {
    reply.array(10);
    reply.bulk_str(&command.full_name);
    reply.int(i64::from(command.arity.0));
    simple_set(reply, &flag_names(command), "");
    let range = legacy_range(command);
    reply.int(range.first);
    reply.int(range.last);
    reply.int(range.step);
    simple_set(reply, &categories(table, command), "@");
    let tips: Vec<_> = tips(command).collect();
    reply.set(tips.len());
    tips.iter().for_each(|t| reply.bulk_str(t));
    reply.set(command.specs.len());
    command.specs.iter().for_each(|s| write_spec(reply, s));
    let subs: Vec<_> = table.subcommands(command).collect();
    if subs.is_empty() {
        reply.set(0);
    } else {
        reply.array(subs.len());
        subs.iter().for_each(|s| write_info(reply, table, s));
    }
}

fn simple_set(reply: &mut Reply, words: &[&str], prefix: &str) {
    reply.set(words.len());
    words.iter().for_each(|w| reply.simple(&format!("{prefix}{w}")));
}

fn write_spec(reply: &mut Reply, spec: &KeySpec) {
    reply.map(3);
    reply.bulk_str("flags");
    simple_set(reply, &key_flags(spec.flags), "");
    reply.bulk_str("begin_search");
    reply.map(2);
    match spec.begin {
        Begin::Index(i) => {
            kind(reply, "index", 1);
            field(reply, "index", i as i64);
        }
        Begin::Keyword("", _) => kind(reply, "unknown", 0),
        Begin::Keyword(word, from) => {
            kind(reply, "keyword", 2);
            reply.bulk_str("keyword");
            reply.bulk_str(&word.to_ascii_uppercase());
            field(reply, "startfrom", from as i64);
        }
    }
    reply.bulk_str("find_keys");
    reply.map(2);
    match spec.find {
        Find::Range { last, step, limit } => {
            kind(reply, "range", 3);
            field(reply, "lastkey", last as i64);
            field(reply, "keystep", step as i64);
            field(reply, "limit", limit as i64);
        }
        Find::KeyNum { index, first, step } => {
            kind(reply, "keynum", 3);
            field(reply, "keynumidx", index as i64);
            field(reply, "firstkey", first as i64);
            field(reply, "keystep", step as i64);
        }
        Find::Unknown => kind(reply, "unknown", 0),
    }
}

fn kind(reply: &mut Reply, kind: &str, fields: usize) {
    reply.bulk_str("type");
    reply.bulk_str(kind);
    reply.bulk_str("spec");
    reply.map(fields);
}

fn field(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk_str(name);
    reply.int(value);
}

/// A specification's flags as printed: the kind of access in capitals first.
fn key_flags(flags: &'static str) -> Vec<&'static str> {
    let print = |flag| match flag {
        "ro" => "RO",
        "rw" => "RW",
        "ow" => "OW",
        "rm" => "RM",
        other => other,
    };
    flags.split('|').filter(|f| !f.is_empty()).map(print).collect()
}

fn list(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let table = &ctx.env.commands;
    let keep: Box<dyn Fn(&Command) -> bool> = if args.len() == 2 {
        Box::new(|_| true)
    } else if args.len() == 5 && eq_nocase(&args[2], "filterby") {
        let what = args.at(4);
        if eq_nocase(&args[3], "module") {
            Box::new(|_| false)
        } else if eq_nocase(&args[3], "aclcat") {
            Box::new(move |c| categories(table, c).iter().any(|name| eq_nocase(what, name)))
        } else if eq_nocase(&args[3], "pattern") {
            Box::new(move |c| glob_match(what, c.full_name.as_bytes(), true))
        } else {
            return Err(CommandError::SYNTAX);
        }
    } else {
        return Err(CommandError::SYNTAX);
    };
    let names: Vec<_> = table.rows().iter().filter(|c| keep(c)).map(|c| c.full_name.as_str()).collect();
    if args.len() == 2 {
        ctx.reply.array(names.len());
    } else {
        ctx.reply.set(names.len());
    }
    names.iter().for_each(|n| ctx.reply.bulk_str(n));
    Ok(())
}

fn docs(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let table = &ctx.env.commands;
    let found: Vec<&Command> = if args.len() == 2 {
        table.iter().collect()
    } else {
        args.from(2).iter().filter_map(|name| find(table, name)).collect()
    };
    ctx.reply.map(found.len());
    found.iter().for_each(|c| write_docs(ctx.reply, table, c));
    Ok(())
}

/// Commands that servers and their developers use, and others do not.
const SYSTEM: &[&str] = &["debug", "pfdebug", "pfselftest", "restore-asking"];

fn write_docs(reply: &mut Reply, table: &CommandTable, command: &Command) {
    reply.bulk_str(&command.full_name);
    let at = reply.defer();
    let mut fields = 0;
    let said = |text: &'static str| Some(text).filter(|t| !t.is_empty());
    fields += text_if_any(reply, "summary", said(command.summary));
    fields += text_if_any(reply, "since", said(command.since));
    fields += text_if_any(reply, "group", Some(command.group.name()));
    fields += text_if_any(reply, "complexity", said(command.complexity));
    let system = command.parent.is_none() && SYSTEM.contains(&command.name);
    fields +=
        flags_if_any(reply, "doc_flags", &[(command.deprecated.is_some(), "deprecated"), (system, "syscmd")]);
    if let Some((since, instead)) = command.deprecated {
        fields += text_if_any(reply, "deprecated_since", Some(since));
        fields += text_if_any(reply, "replaced_by", Some(instead));
    }
    // A renamed command is the same command.
    let syntax = Syntax::of(if command.parent.is_some() { &command.full_name } else { command.name });
    if !syntax.history.is_empty() {
        reply.bulk_str("history");
        reply.set(syntax.history.len());
        for (version, change) in syntax.history {
            reply.array(2);
            reply.bulk_str(version);
            reply.bulk_str(change);
        }
        fields += 1;
    }
    if !syntax.arguments.is_empty() {
        reply.bulk_str("arguments");
        write_arguments(reply, &syntax.arguments);
        fields += 1;
    }
    let subs: Vec<_> = table.subcommands(command).collect();
    if !subs.is_empty() {
        reply.bulk_str("subcommands");
        reply.map(subs.len());
        subs.iter().for_each(|s| write_docs(reply, table, s));
        fields += 1;
    }
    reply.finish_map(at, fields);
}

/// Writes a field if it has a value. How many fields it wrote.
fn text_if_any(reply: &mut Reply, name: &str, value: Option<&str>) -> usize {
    let Some(value) = value else { return 0 };
    reply.bulk_str(name);
    reply.bulk_str(value);
    1
}

/// Writes those of these flags that are set, if any is. How many fields it wrote.
fn flags_if_any(reply: &mut Reply, name: &str, flags: &[(bool, &str)]) -> usize {
    let set: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    if set.is_empty() {
        return 0;
    }
    reply.bulk_str(name);
    simple_set(reply, &set, "");
    1
}

fn write_arguments(reply: &mut Reply, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        let at = reply.defer();
        let mut fields = 0;
        fields += text_if_any(reply, "name", Some(&argument.name));
        fields += text_if_any(reply, "type", Some(argument.kind.name()));
        // A group shows what it holds.
        let shown = !matches!(argument.kind, Kind::OneOf | Kind::Block);
        fields += text_if_any(reply, "display_text", shown.then_some(argument.name.as_ref()));
        if let Some(spec) = argument.key_spec {
            field(reply, "key_spec_index", spec as i64);
            fields += 1;
        }
        fields += text_if_any(reply, "token", argument.token);
        fields += text_if_any(reply, "since", argument.since);
        fields += text_if_any(reply, "deprecated_since", argument.deprecated);
        let flags = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.multiple_token, "multiple_token"),
        ];
        fields += flags_if_any(reply, "flags", &flags);
        if !argument.parts.is_empty() {
            reply.bulk_str("arguments");
            write_arguments(reply, &argument.parts);
            fields += 1;
        }
        reply.finish_map(at, fields);
    }
}

/// The keys of the command that `args` names, with what is done to each.
fn keys_of<'a>(table: &CommandTable, args: Args<'a>) -> Result<Vec<(&'a [u8], &'static str)>, CommandError> {
    let command = table.find(args.name());
    let command = match (command, args.get(1)) {
        (Some(c), Some(word)) if table.is_container(c) => table.find_sub(c, word),
        _ => command,
    };
    let command = command.ok_or(CommandError::new("ERR Invalid command specified"))?;
    if command.specs.is_empty() && command.finder.is_none() {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    if !command.arity.accepts(args.len()) {
        return Err(CommandError::new("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    let valid = command.each_key(args, &mut |i, flags| {
        if i < args.len() {
            keys.push((args.at(i), exact_flags(command, args, flags)));
        }
    });
    if !valid || (keys.is_empty() && !command.flags.has(Flags::NO_MANDATORY_KEYS)) {
        return Err(CommandError::new("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

/// What commands with `variable_flags` do with these arguments.
fn exact_flags(command: &Command, args: Args<'_>, flags: &'static str) -> &'static str {
    if !flags.contains("variable_flags") {
        return flags;
    }
    let has = |word| args.from(2).iter().any(|a| eq_nocase(a, word));
    match command.name {
        "set" if args.from(3).iter().any(|a| eq_nocase(a, "get")) => "rw|access|update",
        "set" => "ow|update",
        "bitfield" if has("set") || has("incrby") => "rw|access|update",
        "bitfield" => "ro|access",
        _ => flags,
    }
}

fn getkeys(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let keys = keys_of(&ctx.env.commands, args.from(2))?;
    ctx.reply.array(keys.len());
    keys.iter().for_each(|(key, _)| ctx.reply.bulk(key));
    Ok(())
}

fn getkeysandflags(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let keys = keys_of(&ctx.env.commands, args.from(2))?;
    ctx.reply.array(keys.len());
    for (key, flags) in keys {
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        simple_set(ctx.reply, &key_flags(flags), "");
    }
    Ok(())
}

fn show_help(ctx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    help(
        ctx.reply,
        "COMMAND",
        &[
            "(no subcommand)",
            "    Describe all commands for programs.",
            "COUNT",
            "    Count the commands.",
            "LIST [FILTERBY MODULE <name> | ACLCAT <category> | PATTERN <glob>]",
            "    Name the commands.",
            "INFO [<command> ...]",
            "    Describe these commands, or all, for programs.",
            "DOCS [<command> ...]",
            "    Describe these commands, or all, for people.",
            "GETKEYS <whole command>",
            "    Find its keys.",
            "GETKEYSANDFLAGS <whole command>",
            "    Find its keys and what it does to each.",
        ],
    );
    Ok(())
}
