//! HyperLogLog: PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST.
use super::Command;

pub fn commands() -> Vec<Command> {
    Vec::new()
}
