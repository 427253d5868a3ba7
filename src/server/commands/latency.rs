//! The latency commands.
use crate::command::Command;

pub fn commands() -> Vec<Command> {
    Vec::new()
}
