//! Where pipelines live: in ordinary keys, so that they are saved, replicated and restored with the data.
//!
//! `tidewater:kafka` is a set of the pipelines' names; `tidewater:kafka:NAME` is a hash:
//!
//! | field | value |
//! |---|---|
//! | `definition` | the arguments of KAFKA CREATE, as a line |
//! | `paused` | why it stands still; absent while it runs |
//! | `TOPIC:PARTITION` | the offset of the next record to apply |
//! | `TOPIC:PARTITION:done` | commands of that record that have been applied, when one of them failed |
//! | `DLQ:PARTITION:retried` | the next offset of a dead-letter topic that KAFKA RETRY looks at |
//! | `DLQ:PARTITION:retried-done` | an offset there, and commands of that letter that have been applied when one failed again |
//! | `from` | where RESUME FROM wants partitions without an offset to begin |
//! | `TOPIC:id` | the id of the topic that the offsets belong to |
use crate::command::{CommandError, Context};
use crate::resp::args::OwnedArgs;
use crate::value::cell::Type;
use crate::value::hash::HashRef;

/// Set of the names of all pipelines.
pub const REGISTRY: &[u8] = b"tidewater:kafka";

/// Field: see the module.
pub const FROM: &str = "from";

/// The hash of a pipeline.
pub fn key_of(name: &str) -> Vec<u8> {
    [REGISTRY, b":", name.as_bytes()].concat()
}

pub fn offset_field(topic: &str, partition: i32) -> String {
    format!("{topic}:{partition}")
}

pub fn done_field(topic: &str, partition: i32) -> String {
    format!("{topic}:{partition}:done")
}

pub fn retried_field(topic: &str, partition: i32) -> String {
    format!("{topic}:{partition}:retried")
}

pub fn retried_done_field(topic: &str, partition: i32) -> String {
    format!("{topic}:{partition}:retried-done")
}

pub fn id_field(topic: &str) -> String {
    format!("{topic}:id")
}

/// What a pipeline's hash says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    pub definition: Vec<u8>,
    pub paused: Option<String>,
    /// Any other field: offsets, done counts, the topic's id.
    pub fields: Vec<(String, String)>,
}

impl Stored {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.field(name)?.parse().ok()
    }
}

/// Reads a pipeline's hash, whose shard is locked. `None` when there is no such pipeline.
pub fn read(ctx: &mut Context<'_>, key: &[u8]) -> Result<Option<Stored>, CommandError> {
    let Some(cell) = ctx.keys.get_type(key, Type::Hash)? else { return Ok(None) };
    let mut stored = Stored::default();
    let mut defined = false;
    for (field, value) in HashRef::of(cell).iter() {
        let (field, value) = (field.to_vec(), value.to_vec());
        match &*field {
            b"definition" => {
                defined = true;
                stored.definition = value;
            }
            b"paused" => stored.paused = Some(String::from_utf8_lossy(&value).into_owned()),
            _ => {
                let [field, value] = [field, value].map(|b| String::from_utf8_lossy(&b).into_owned());
                stored.fields.push((field, value));
            }
        }
    }
    Ok(defined.then_some(stored))
}

/// Runs a command by its name inside a step or another command.
pub fn nested<T: AsRef<[u8]>>(
    ctx: &mut Context<'_>,
    args: impl IntoIterator<Item = T>,
) -> Result<(), CommandError> {
    let mut owned = OwnedArgs::new();
    args.into_iter().for_each(|arg| owned.push(arg.as_ref()));
    let env = ctx.shared_env();
    let Some(command) = env.commands.original(owned.as_args().name()) else {
        return Err(CommandError::new("ERR a command that pipelines need is not there"));
    };
    let mark = ctx.reply.mark();
    let result = ctx.run_nested(command, owned.as_args());
    ctx.reply.truncate(mark);
    result
}
