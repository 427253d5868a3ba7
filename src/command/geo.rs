//! Geo: positions as 52-bit interleaved scores of a sorted set.
use super::Command;

pub fn commands() -> Vec<Command> {
    Vec::new()
}
