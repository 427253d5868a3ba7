//! TTLs of hash fields: HEXPIRE and its kin, HGETDEL, HGETEX, HSETEX.
use super::Command;

pub fn commands() -> Vec<Command> {
    Vec::new()
}
