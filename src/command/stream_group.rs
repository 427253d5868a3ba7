//! Consumer groups: XGROUP, XREADGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM.
use super::Command;

pub fn commands() -> Vec<Command> {
    Vec::new()
}
