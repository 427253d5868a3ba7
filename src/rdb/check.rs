//! `tidewater check-rdb FILE`, also as `redis-check-rdb`: reads a file as a server would and says what it found.
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use super::decode::{Decoded, Options};
use super::error::RdbError;
use super::read::{Checksum, Item, Reader};
use super::types;
use crate::base::clock::Clock;
use crate::base::limits::Limits;

/// What is in a file.
#[derive(Default, Debug, PartialEq, Eq, Clone)]
pub struct Report {
    pub keys: u64,
    pub expires: u64,
    pub already_expired: u64,
    /// Collections without elements, and values of modules.
    pub passed_over: u64,
}

/// What was being read when an error came up.
#[derive(Default)]
struct Doing {
    what: &'static str,
    key: Option<Vec<u8>>,
    ty: Option<(u8, u32)>,
}

/// Checks the files that the program was given, with `args` as they come after its name.
pub fn run(name: &str, args: &[String]) -> ExitCode {
    let [path] = args else {
        eprintln!("Usage: {name} <rdb-file-name>");
        return ExitCode::FAILURE;
    };
    let file = match File::open(Path::new(path)) {
        Ok(file) => file,
        Err(e) => {
            eprintln!("Cannot open file {path}: {e}");
            return ExitCode::FAILURE;
        }
    };
    println!("[offset 0] Checking RDB file {path}");
    let size = file.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
    let (mut report, mut doing) = (Report::default(), Doing::default());
    let result = walk(file, size, Clock::real().now_ms(), &mut report, &mut doing, &mut |offset, line| {
        println!("[offset {offset}] {line}");
    });
    if let Err(e) = &result {
        println!("--- RDB ERROR DETECTED ---\n[offset {}] {}", e.offset, e.what);
        println!("[additional info] While doing: {}", doing.what);
        if let Some(key) = &doing.key {
            println!("[additional info] Reading key '{}'", key.escape_ascii());
        }
        if let Some((ty, version)) = doing.ty {
            println!("[additional info] Reading type {ty} ({})", types::name(ty, version));
        }
    }
    println!("[info] {} keys read", report.keys);
    println!("[info] {} expires", report.expires);
    println!("[info] {} already expired", report.already_expired);
    if report.passed_over > 0 {
        println!("[info] {} values passed over: empty, or of a module", report.passed_over);
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn walk(
    source: impl std::io::Read,
    size: Option<u64>,
    now_ms: u64,
    report: &mut Report,
    doing: &mut Doing,
    say: &mut dyn FnMut(u64, String),
) -> Result<(), RdbError> {
    let limits = Limits::new();
    doing.what = "start";
    let mut reader = Reader::new(source, size, true)?;
    let options = Options { limits: &limits, seed: 0, version: reader.version(), skip_modules: true };
    loop {
        *doing = Doing { what: "read-type", ..Doing::default() };
        let item = reader.next_item()?;
        let offset = reader.offset();
        match item {
            Item::Aux { key, value } => {
                say(offset, format!("AUX FIELD {} = '{}'", key.escape_ascii(), value.escape_ascii()));
            }
            Item::Database(db) => say(offset, format!("Selecting DB ID {db}")),
            Item::ModuleAux { module } => say(offset, format!("MODULE AUX for: {module}")),
            Item::Function(code) => {
                let first = code.split(|&b| b == b'\n').next().unwrap_or_default();
                say(offset, format!("FUNCTION library: {}", first.escape_ascii()));
            }
            Item::Size { .. } | Item::Slot { .. } => {}
            Item::Entry(entry) => {
                *doing = Doing {
                    what: "read-object-value",
                    key: Some(reader.key().to_vec()),
                    ty: Some((entry.ty, reader.version())),
                };
                report.keys += 1;
                match reader.take_value(&options)? {
                    Some(Decoded::Cell(_)) | None => {}
                    Some(Decoded::Empty | Decoded::Skipped(_)) => report.passed_over += 1,
                }
                if let Some(at) = entry.expire_ms {
                    report.expires += 1;
                    report.already_expired += u64::from(i128::from(at) < i128::from(now_ms));
                }
            }
            Item::End(checksum) => {
                doing.what = "check-sum";
                let line = match checksum {
                    Checksum::Good => "Checksum OK",
                    Checksum::Disabled => "RDB file was saved with checksum disabled: no check performed.",
                    Checksum::Absent | Checksum::Unchecked => "The file has no checksum.",
                };
                say(offset, line.into());
                if let Some(rest) = size.and_then(|size| size.checked_sub(reader.offset())).filter(|&n| n > 0)
                {
                    say(reader.offset(), format!("{rest} bytes follow, perhaps commands: not checked"));
                }
                say(reader.offset(), "\\o/ RDB looks OK! \\o/".into());
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> (Result<(), RdbError>, Report, Doing, Vec<String>) {
        let (mut report, mut doing, mut said) = (Report::default(), Doing::default(), Vec::new());
        let size = Some(bytes.len() as u64);
        let result = walk(bytes, size, 1000, &mut report, &mut doing, &mut |at, line| {
            said.push(format!("{at} {line}"));
        });
        (result, report, doing, said)
    }

    #[test]
    fn a_good_file_is_counted() {
        let file = b"REDIS0009\xfa\x01a\x01b\xfe\x03\0\x01k\x01v\xfc\x05\0\0\0\0\0\0\0\0\x01l\x01v\x02\x01e\0\xff\0\0\0\0\0\0\0\0";
        let (result, report, _, said) = check(file);
        assert_eq!(result, Ok(()));
        assert_eq!(report, Report { keys: 3, expires: 1, already_expired: 1, passed_over: 1 });
        assert_eq!(said[..2], ["14 AUX FIELD a = 'b'", "16 Selecting DB ID 3"]);
        assert!(said.last().is_some_and(|line| line.ends_with("RDB looks OK! \\o/")), "{said:?}");
    }

    #[test]
    fn an_error_is_placed() {
        let (result, report, doing, _) = check(b"REDIS0009\0\x01k\x01v\x02\x03set\x02\x01a\x01a\xff");
        assert_eq!(result.map_err(|e| e.offset), Err(22));
        assert_eq!((report.keys, doing.what), (2, "read-object-value"));
        assert_eq!((doing.key.as_deref(), doing.ty), (Some(&b"set"[..]), Some((types::SET, 9))));
        assert!(check(b"REDIS0099").0.is_err());
        assert!(check(b"").0.is_err());
    }
}
