//! `check-aof`: the tool with the real disk, standard input and output, and the RDB format for the beginning of a base.
use std::io::{self, Write};
use std::process::ExitCode;

use crate::aof::check::Tool;
use crate::base::disk::{DiskRead, OsDisk};
use crate::base::limits::Limits;
use crate::rdb::RdbError;
use crate::rdb::decode::Options;
use crate::rdb::read::{Item, Reader};

pub(super) fn check_aof(name: &str, args: &[String]) -> ExitCode {
    let tool = Tool {
        disk: &OsDisk,
        out: &mut io::stdout().lock(),
        answers: &mut io::stdin().lock(),
        check_rdb: &mut check_preamble,
    };
    if tool.run(name, args) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads every value, and says where the RDB file ends.
fn check_preamble(file: &mut dyn DiskRead, size: u64, out: &mut dyn Write) -> Option<u64> {
    let limits = Limits::new();
    let mut keys = 0u64;
    let walk = || -> Result<u64, RdbError> {
        let mut reader = Reader::new(file, Some(size), true)?;
        let options = Options { limits: &limits, seed: 0, version: reader.version(), skip_modules: true };
        loop {
            match reader.next_item()? {
                Item::Entry(_) => {
                    reader.take_value(&options)?;
                    keys += 1;
                }
                Item::End(_) => return Ok(reader.offset()),
                _ => {}
            }
        }
    };
    let end = walk();
    let _ = match &end {
        Ok(end) => writeln!(out, "[offset {end}] \\o/ RDB looks OK! \\o/\n[info] {keys} keys read"),
        Err(e) => writeln!(out, "--- RDB ERROR DETECTED ---\n[offset {}] {}", e.offset, e.what),
    };
    end.ok()
}
