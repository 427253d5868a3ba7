//! Commands on keys whatever they hold: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and their like.
use crate::base::num::parse_i64;
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, eq_nocase};
use crate::value::cell::Cell;

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| {
        Command::new(name, arity, handler).group(Group::Generic).categories(&["keyspace"])
    };
    vec![
        c("del", Arity::at_least(2), del)
            .write()
            .range(1, -1, 1, "rm|delete")
            .doc("Removes keys with their values.")
            .complexity("O(N) with N the number of keys; large values are freed in the background"),
        c("unlink", Arity::at_least(2), del)
            .write()
            .fast()
            .range(1, -1, 1, "rm|delete")
            .since("4.0.0")
            .doc("Removes keys; their values are freed in the background.")
            .complexity("O(1) a key"),
        c("exists", Arity::at_least(2), exists)
            .readonly()
            .fast()
            .range(1, -1, 1, "ro")
            .doc("Counts how many of the keys exist; one named twice counts twice.")
            .complexity("O(N) with N the number of keys"),
        c("touch", Arity::at_least(2), touch)
            .readonly()
            .fast()
            .range(1, -1, 1, "ro")
            .since("3.2.1")
            .doc("Marks keys as just accessed; counts those that exist.")
            .complexity("O(N) with N the number of keys"),
        c("type", Arity::exactly(2), type_of)
            .readonly()
            .fast()
            .key(1, "ro")
            .doc("Names the type of the value that a key holds.")
            .complexity("O(1)"),
        c("rename", Arity::exactly(3), rename)
            .write()
            .key(1, "rw|access|delete")
            .key(2, "ow|update")
            .doc("Gives a key another name, in the place of whatever had that name.")
            .complexity("O(1)"),
        c("renamenx", Arity::exactly(3), renamenx)
            .write()
            .fast()
            .key(1, "rw|access|delete")
            .key(2, "ow|insert")
            .doc("Gives a key another name, if no key has that name yet.")
            .complexity("O(1)"),
        c("copy", Arity::at_least(3), copy)
            .write()
            .denyoom()
            .key(1, "ro|access")
            .key(2, "ow|update")
            .since("6.2.0")
            .doc("Copies the value of a key to another key, or to another database.")
            .complexity(
                "O(1) for large collections, which share their contents until written to; O(N) otherwise",
            ),
        c("move", Arity::exactly(3), move_key)
            .write()
            .fast()
            .key(1, "rw|access|update")
            .doc("Moves a key to another database, if it has no such key.")
            .complexity("O(1)"),
    ]
}

fn del(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    let mut n = 0;
    for key in args.iter().skip(1) {
        if ctx.keys.delete(key) {
            ctx.keys.notify(notify::GENERIC, "del", key);
            n += 1;
        }
    }
    ctx.reply.int(n);
    Ok(())
}

fn exists(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    let n = args.iter().skip(1).filter(|key| ctx.keys.get_untouched(key).is_some()).count();
    ctx.reply.int(n as i64);
    Ok(())
}

fn touch(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.slow_lane(args.len())?;
    // TOUCH is what a client that leaves clocks alone uses to move them.
    let was = std::mem::replace(&mut ctx.keys.no_touch, false);
    let n = args.iter().skip(1).filter(|key| ctx.keys.get(key).is_some()).count();
    ctx.keys.no_touch = was;
    ctx.reply.int(n as i64);
    Ok(())
}

fn type_of(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    ctx.reply.simple(ctx.keys.get_untouched(&args[1]).map_or("none", |cell| cell.ty().name()));
    Ok(())
}

fn rename(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    rename_key(ctx, args, true)?;
    ctx.reply.ok();
    Ok(())
}

fn renamenx(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let done = rename_key(ctx, args, false)?;
    ctx.reply.int(done.into());
    Ok(())
}

/// Whether the key has got its new name.
fn rename_key(ctx: &mut Context<'_>, args: Args<'_>, replace: bool) -> Result<bool, CommandError> {
    let (from, to) = (&args[1], &args[2]);
    let keys = &mut ctx.keys;
    if !keys.present(from) {
        return Err(CommandError::NO_SUCH_KEY);
    }
    if from == to || (keys.present(to) && !replace) {
        return Ok(false);
    }
    let Some(cell) = keys.remove(from) else { return Ok(false) };
    let expire = cell.expire_ms();
    keys.put(with_expire(cell.renamed(to), expire));
    keys.changed(to);
    keys.notify(notify::GENERIC, "rename_from", from);
    keys.notify(notify::GENERIC, "rename_to", to);
    Ok(true)
}

fn with_expire(mut cell: Cell, at: Option<u64>) -> Cell {
    cell.set_expiry(at.map(|ms| (ms, 0)));
    cell
}

const SAME_OBJECT: CommandError =
    CommandError::Text(std::borrow::Cow::Borrowed("ERR source and destination objects are the same"));

/// A database's number, as an argument.
fn database(ctx: &Context<'_>, arg: &[u8]) -> Result<usize, CommandError> {
    let n = parse_i64(arg).ok_or(CommandError::NOT_INTEGER)?;
    let n = i32::try_from(n).map_err(|_| CommandError::INT_OUT_OF_RANGE)?;
    let db = usize::try_from(n).ok().filter(|n| *n < ctx.env.keyspace.databases());
    db.ok_or(CommandError::DB_OUT_OF_RANGE)
}

fn copy(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (&args[1], &args[2]);
    let (mut db, mut replace) = (ctx.keys.db, false);
    let mut i = 3;
    while let Some(word) = args.get(i) {
        if eq_nocase(word, "replace") {
            replace = true;
        } else if eq_nocase(word, "db")
            && let Some(number) = args.get(i + 1)
        {
            db = database(ctx, number)?;
            i += 1;
        } else {
            return Err(CommandError::SYNTAX);
        }
        i += 1;
    }
    if from == to && db == ctx.keys.db {
        return Err(SAME_OBJECT);
    }
    let Some(cell) = ctx.keys.get(from) else {
        ctx.reply.int(0);
        return Ok(());
    };
    let copied = with_expire(cell.copied(to), cell.expire_ms());
    let done = ctx.keys.in_db(db, |keys| {
        let free = replace || !keys.present(to);
        if free {
            keys.put(copied);
            keys.signal(notify::GENERIC, "copy_to", to);
        }
        free
    });
    ctx.reply.int(done.into());
    Ok(())
}

fn move_key(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = &args[1];
    let db = database(ctx, &args[2])?;
    if db == ctx.keys.db {
        return Err(SAME_OBJECT);
    }
    if !ctx.keys.present(key) || ctx.keys.in_db(db, |keys| keys.present(key)) {
        ctx.reply.int(0);
        return Ok(());
    }
    if let Some(cell) = ctx.keys.remove(key) {
        ctx.keys.in_db(db, |keys| {
            keys.insert(cell);
            keys.changed(key);
        });
        ctx.keys.notify(notify::GENERIC, "move_from", key);
        ctx.keys.in_db(db, |keys| keys.notify(notify::GENERIC, "move_to", key));
    }
    ctx.reply.int(1);
    Ok(())
}
