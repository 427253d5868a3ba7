//! Streams: XADD, XRANGE, XREAD and what else needs no group.
use super::Command;

pub fn commands() -> Vec<Command> {
    Vec::new()
}
