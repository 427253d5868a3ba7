//! `tidewater check-aof`, also as `redis-check-aof`: examines append-only files and, only when asked, cuts off the damaged end.
//!
//! What it prints is what redis-check-aof prints where scripts look for it. The file given may be a manifest, an old single
//! file, or a base with an RDB file at its beginning. Of several files only the last is ever cut.
use super::manifest::{MANIFEST_BYTES_MAX, Manifest};
use super::reader::{Chunk, ReadError, Reader};
use crate::base::disk::{self, Disk, DiskRead};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};

/// Checks the RDB file that `file` begins with, printing what it finds; returns where it ends. None: it is not sane.
pub type CheckRdb<'a> = &'a mut dyn FnMut(&mut dyn DiskRead, u64, &mut dyn Write) -> Option<u64>;

/// What the tool works with; tests put their own in.
pub struct Tool<'a> {
    pub disk: &'a dyn Disk,
    pub out: &'a mut dyn Write,
    /// Where the answer to "Continue?" comes from.
    pub answers: &'a mut dyn BufRead,
    pub check_rdb: CheckRdb<'a>,
}

#[derive(Clone, Copy, Default)]
struct Mode {
    fix: bool,
    to_timestamp: Option<i64>,
}

enum Outcome {
    Valid,
    Empty,
    Truncated,
    TruncatedToTimestamp(i64),
}

/// What is said at the end by who gives up; an output that is closed ends it quietly.
struct Abort(String);

impl From<io::Error> for Abort {
    fn from(e: io::Error) -> Self {
        Abort(e.to_string())
    }
}

impl Tool<'_> {
    /// Runs with the arguments that come after the program's name; true when all is well, or well again.
    pub fn run(mut self, name: &str, args: &[String]) -> bool {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let done = match args.as_slice() {
            ["--fix", path] => self.check(path, Mode { fix: true, to_timestamp: None }),
            ["--truncate-to-timestamp", ts, path] => match ts.parse() {
                // Zero is no limit to Redis.
                Ok(ts) => self.check(path, Mode { fix: false, to_timestamp: Some(ts).filter(|&ts| ts != 0) }),
                Err(_) => Err(Abort("Invalid timestamp, aborting...".into())),
            },
            [path] if !path.starts_with("--") => self.check(path, Mode::default()),
            _ => Err(Abort(format!(
                "Usage: {name} [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>"
            ))),
        };
        if let Err(Abort(why)) = &done {
            let _ = writeln!(self.out, "{why}");
        }
        let _ = self.out.flush();
        done.is_ok()
    }

    fn check(&mut self, path: &str, mode: Mode) -> Result<(), Abort> {
        let path = Path::new(path);
        match self.is_manifest(path)? {
            true => self.check_multi_part(path, mode),
            false => self.check_old_style(path, mode),
        }
    }

    /// As in Redis, a file with a line that begins with `file`. A manifest is small; of others a line is enough.
    fn is_manifest(&mut self, path: &Path) -> Result<bool, Abort> {
        let read = || {
            let mut start = Vec::new();
            self.disk.open_read(path)?.take(MANIFEST_BYTES_MAX).read_to_end(&mut start)?;
            io::Result::Ok(start)
        };
        let start = read().map_err(|e| Abort(format!("Cannot open file {}: {e}", path.display())))?;
        if matches!(start.first(), Some(b'*' | b'R' | b'V')) {
            return Ok(false);
        }
        Ok(start.split(|&b| b == b'\n').any(|line| line.starts_with(b"file")))
    }

    fn check_multi_part(&mut self, path: &Path, mode: Mode) -> Result<(), Abort> {
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let text = self.disk.read(path, MANIFEST_BYTES_MAX)?;
        let manifest = Manifest::parse(&text).map_err(|e| Abort(e.to_string()))?;
        let dir = disk::parent(path);
        let last = manifest.files().len().saturating_sub(1);
        let has_base = manifest.base().is_some();
        for (i, entry) in manifest.files().enumerate() {
            let file = File {
                name: entry.name.display().to_string(),
                path: dir.join(&entry.name),
                is_last: i == last,
                mode,
            };
            let is_base = i == 0 && has_base;
            let has_rdb = is_base && self.open(&file.path)?.has_preamble()?;
            if is_base {
                let format = if has_rdb { "RDB" } else { "RESP" };
                writeln!(self.out, "Start to check BASE AOF ({format} format).")?;
            } else if i == usize::from(has_base) {
                writeln!(self.out, "Start to check INCR files.")?;
            }
            let outcome = self.check_file(&file, has_rdb)?;
            self.say(if is_base { "BASE AOF" } else { "INCR AOF" }, &file.name, outcome)?;
        }
        writeln!(self.out, "All AOF files and manifest are valid")?;
        Ok(())
    }

    fn check_old_style(&mut self, path: &Path, mode: Mode) -> Result<(), Abort> {
        writeln!(self.out, "Start checking Old-Style AOF")?;
        let has_rdb = self.open(path)?.has_preamble()?;
        let file = File { name: path.display().to_string(), path: path.into(), is_last: true, mode };
        let outcome = self.check_file(&file, has_rdb)?;
        self.say("AOF", &file.name, outcome)
    }

    fn open(&self, path: &Path) -> Result<Reader, Abort> {
        Reader::open(self.disk, path)
            .map_err(|e| Abort(format!("Cannot open file {}: {e}, aborting...", path.display())))
    }

    fn say(&mut self, kind: &str, name: &str, outcome: Outcome) -> Result<(), Abort> {
        match outcome {
            Outcome::Valid => writeln!(self.out, "{kind} {name} is valid")?,
            Outcome::Empty => writeln!(self.out, "{kind} {name} is empty")?,
            Outcome::Truncated => writeln!(self.out, "Successfully truncated AOF {name}")?,
            Outcome::TruncatedToTimestamp(ts) => {
                writeln!(self.out, "Successfully truncated AOF {name} to timestamp {ts}")?;
            }
        }
        Ok(())
    }

    fn check_file(&mut self, file: &File, has_rdb: bool) -> Result<Outcome, Abort> {
        let mut reader = self.open(&file.path)?;
        let size = reader.size();
        if size == 0 {
            return Ok(Outcome::Empty);
        }
        if has_rdb {
            let checked = reader.preamble(|source, size| {
                let end = (self.check_rdb)(source, size, self.out);
                end.ok_or_else(|| io::Error::other("not sane"))
            });
            if checked.is_err() {
                return Err(Abort("RDB preamble of AOF file is not sane, aborting.".into()));
            }
            writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
        }
        reader.stop_after(file.mode.to_timestamp);
        let mut chunk = Chunk::default();
        let found = loop {
            match reader.next_chunk(&mut chunk) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(found) => break Err(found),
            }
        };
        let (whole, line) = match found {
            Ok(()) => (size, reader.lines() + 1),
            Err(ReadError::Truncated { whole, at, inside, line }) => {
                writeln!(self.out, "0x{at:16x}: Reached EOF {inside}")?;
                (whole, line)
            }
            Err(ReadError::Format { whole, at, what, line }) => {
                if whole == at {
                    writeln!(self.out, "AOF {} format error", file.name)?;
                }
                writeln!(self.out, "0x{at:16x}: {what}")?;
                (whole, line)
            }
            Err(ReadError::Later { whole, limit }) => return self.truncate_to_timestamp(file, whole, limit),
            Err(ReadError::Io(e)) => {
                return Err(Abort(format!("Failed to read from AOF {}, aborting... ({e})", file.name)));
            }
        };
        let diff = size - whole.min(size);
        if let (0, Some(ts)) = (diff, file.mode.to_timestamp) {
            writeln!(self.out, "Truncate nothing in AOF {} to timestamp {ts}", file.name)?;
            return Ok(Outcome::Valid);
        }
        let name = &file.name;
        writeln!(
            self.out,
            "AOF analyzed: filename={name}, size={size}, ok_up_to={whole}, ok_up_to_line={line}, diff={diff}"
        )?;
        match diff {
            0 => Ok(Outcome::Valid),
            _ if file.mode.fix => self.fix(file, size, whole),
            _ => Err(Abort(format!("AOF {name} is not valid. Use the --fix option to try fixing it."))),
        }
    }

    fn fix(&mut self, file: &File, size: u64, whole: u64) -> Result<Outcome, Abort> {
        let File { name, is_last, path, .. } = file;
        if !is_last {
            return Err(Abort(format!("Failed to truncate AOF {name} because it is not the last file")));
        }
        let diff = size - whole;
        writeln!(
            self.out,
            "This will shrink the AOF {name} from {size} bytes, with {diff} bytes, to {whole} bytes"
        )?;
        write!(self.out, "Continue? [y/N]: ")?;
        self.out.flush()?;
        let mut answer = String::new();
        self.answers.take(1024).read_line(&mut answer)?;
        if !answer.starts_with(['y', 'Y']) {
            return Err(Abort("Aborting...".into()));
        }
        self.cut(path, whole).map_err(|e| Abort(format!("Failed to truncate AOF {name}: {e}")))?;
        Ok(Outcome::Truncated)
    }

    fn truncate_to_timestamp(&mut self, file: &File, at: u64, limit: i64) -> Result<Outcome, Abort> {
        let name = file.path.display();
        if at == 0 {
            return Err(Abort(format!("AOF {name} has nothing before timestamp {limit}, aborting...")));
        }
        if !file.is_last {
            return Err(Abort(format!(
                "Failed to truncate AOF {name} to timestamp {limit} to offset {at} because it is not the last file.\n\
                 If you insist, please delete all files after this file according to the manifest file and delete the \
                 corresponding records in manifest file manually. Then re-run redis-check-aof."
            )));
        }
        self.cut(&file.path, at)
            .map_err(|e| Abort(format!("Failed to truncate AOF {name} to timestamp {limit}: {e}")))?;
        Ok(Outcome::TruncatedToTimestamp(limit))
    }

    fn cut(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut file = self.disk.open_append(path)?;
        file.set_len(len)?;
        file.sync_all()
    }
}

struct File {
    name: String,
    path: PathBuf,
    is_last: bool,
    mode: Mode,
}
