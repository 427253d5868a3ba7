//! SUBSCRIBE and its kin.
use crate::command::Command;

pub fn commands() -> Vec<Command> {
    Vec::new()
}
