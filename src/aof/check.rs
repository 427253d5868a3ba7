//! `tidewater check-aof`, also as `redis-check-aof`: examines append-only files and, only when asked, cuts off the damaged end.
//!
//! What it prints is what redis-check-aof prints where scripts look for it. The file given may be a manifest, an old single
//! file, or a base with an RDB file at its beginning. Of several files only the last is ever cut.
use super::manifest::{MANIFEST_BYTES_MAX, Manifest};
use super::reader::{Chunk, ReadError, Reader};
use super::sync_log::{self, RecoverError};
use crate::base::disk::{self, Disk, DiskRead};
use std::ffi::OsStr;
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
        if let Some(entry) = manifest.incr().last() {
            self.check_sync_log(path, &entry.name, &dir.join(&entry.name), mode)?;
        }
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

    /// What a Tidewater whose machine died promised, but did not get into the file; see [`sync_log`]. Nothing is said where
    /// there is none: it is nothing that redis-check-aof knows.
    fn check_sync_log(
        &mut self,
        manifest: &Path,
        name: &OsStr,
        file: &Path,
        mode: Mode,
    ) -> Result<(), Abort> {
        let log = manifest.with_extension("sync");
        // That the file itself is missing is said later.
        if !self.disk.exists(&log)? || !self.disk.exists(file)? {
            return Ok(());
        }
        let (log_name, name_text) = (log.display(), name.display());
        let missing = match sync_log::recover(self.disk, &log, name, file, mode.fix) {
            Ok(missing) => missing,
            Err(e @ RecoverError::Gap { .. }) => {
                writeln!(self.out, "The sync log {log_name} is of no use: {e}")?;
                return Ok(());
            }
            Err(e) => {
                return Err(Abort(format!("The sync log {log_name} does not fit the AOF {name_text}: {e}")));
            }
        };
        match mode.fix {
            _ if missing == 0 => {}
            true => writeln!(self.out, "Added {missing} bytes to AOF {name_text} from its sync log")?,
            false => writeln!(
                self.out,
                "The sync log has {missing} bytes that AOF {name_text} lacks: --fix adds them, and so does Tidewater when it starts"
            )?,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::fault::FaultDisk;

    const BASE: &str = "/d/x.aof.1.base.aof";
    const INCR: &str = "/d/x.aof.1.incr.aof";
    const MANIFEST: &str = "/d/x.aof.manifest";
    const SET: &[u8] = b"*3\r\n$3\r\nset\r\n$3\r\nfoo\r\n$5\r\nhello\r\n";

    fn put(disk: &FaultDisk, path: &str, parts: &[&[u8]]) {
        disk.create(Path::new(path)).unwrap().write_all(&parts.concat()).unwrap();
    }

    fn disk() -> FaultDisk {
        let disk = FaultDisk::new(1);
        disk.create_dir(Path::new("/d")).unwrap();
        put(&disk, MANIFEST, &[b"file x.aof.1.base.aof seq 1 type b\nfile x.aof.1.incr.aof seq 1 type i\n"]);
        put(&disk, BASE, &[SET]);
        put(&disk, INCR, &[SET, SET]);
        disk
    }

    #[test]
    fn what_only_the_sync_log_has_is_told_and_added() {
        let disk = disk();
        let log = Path::new("/d/x.aof.sync");
        let name = OsStr::new("x.aof.1.incr.aof");
        let mut writer = sync_log::SyncLog::create(&disk, log, 1 << 16, name).unwrap();
        writer.push(SET);
        assert!(writer.commit(SET.len() as u64 * 2).unwrap());
        let (ok, text) = run(&disk, &[MANIFEST], "");
        assert!(ok && text.contains("The sync log has 33 bytes that AOF x.aof.1.incr.aof lacks"), "{text}");
        assert_eq!(disk.size(Path::new(INCR)).unwrap(), 66, "nothing is changed unless asked");
        let (ok, text) = run(&disk, &["--fix", MANIFEST], "");
        assert!(ok && text.contains("Added 33 bytes to AOF x.aof.1.incr.aof from its sync log"), "{text}");
        assert_eq!(disk.size(Path::new(INCR)).unwrap(), 99);
        assert!(!run(&disk, &[MANIFEST], "").1.contains("sync log"));
        put(&disk, INCR, &[SET]);
        let (ok, text) = run(&disk, &["--fix", MANIFEST], "");
        assert!(ok && text.contains("goes on at byte 66, but the file has only 33"), "{text}");
        put(&disk, INCR, &[SET, SET, b"*"]);
        disk.open_append(Path::new(INCR)).unwrap().write_all(b"x").unwrap();
        let (ok, text) = run(&disk, &["--fix", MANIFEST], "");
        assert!(!ok && text.contains("byte 67 of the file is another one"), "{text}");
    }

    fn run(disk: &FaultDisk, args: &[&str], answers: &str) -> (bool, String) {
        let mut out = Vec::new();
        let tool = Tool {
            disk,
            out: &mut out,
            answers: &mut answers.as_bytes(),
            check_rdb: &mut |_, _, out| {
                let _ = writeln!(out, "looked at");
                Some(9)
            },
        };
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let good = tool.run("check", &args);
        (good, String::from_utf8(out).unwrap())
    }

    fn len(disk: &FaultDisk, path: &str) -> u64 {
        disk.size(Path::new(path)).unwrap()
    }

    #[test]
    fn all_files_of_a_manifest_are_looked_at() {
        let disk = disk();
        let (good, out) = run(&disk, &[MANIFEST], "");
        assert!(good);
        assert_eq!(
            out,
            "Start checking Multi Part AOF\nStart to check BASE AOF (RESP format).\n\
             AOF analyzed: filename=x.aof.1.base.aof, size=33, ok_up_to=33, ok_up_to_line=8, diff=0\n\
             BASE AOF x.aof.1.base.aof is valid\nStart to check INCR files.\n\
             AOF analyzed: filename=x.aof.1.incr.aof, size=66, ok_up_to=66, ok_up_to_line=15, diff=0\n\
             INCR AOF x.aof.1.incr.aof is valid\nAll AOF files and manifest are valid\n"
        );
        put(&disk, BASE, &[b"REDIS0011", SET]);
        put(&disk, INCR, &[]);
        let (good, out) = run(&disk, &[MANIFEST], "");
        assert!(
            good && out.contains(
                "BASE AOF (RDB format).\nlooked at\nRDB preamble is OK, proceeding with AOF tail...\n"
            )
        );
        assert!(out.contains("INCR AOF x.aof.1.incr.aof is empty"), "{out}");
    }

    #[test]
    fn damage_is_shown_and_mended_only_when_asked_and_confirmed() {
        let disk = disk();
        put(&disk, INCR, &[SET, b"!!!"]);
        let (good, out) = run(&disk, &[MANIFEST], "y\n");
        assert!(!good && out.contains("AOF x.aof.1.incr.aof format error\n"), "{out}");
        assert!(out.contains("size=36, ok_up_to=33, ok_up_to_line=8, diff=3\n"), "{out}");
        assert!(
            out.ends_with("AOF x.aof.1.incr.aof is not valid. Use the --fix option to try fixing it.\n"),
            "{out}"
        );
        let (good, out) = run(&disk, &["--fix", MANIFEST], "n\n");
        assert!(!good && out.ends_with("Continue? [y/N]: Aborting...\n"), "{out}");
        assert!(!run(&disk, &["--fix", MANIFEST], "").0);
        assert_eq!(len(&disk, INCR), 36);
        let (good, out) = run(&disk, &["--fix", MANIFEST], "y\n");
        assert!(
            good && out.contains(
                "This will shrink the AOF x.aof.1.incr.aof from 36 bytes, with 3 bytes, to 33 bytes\n"
            )
        );
        assert!(out.contains("Successfully truncated AOF x.aof.1.incr.aof\n"), "{out}");
        assert_eq!(len(&disk, INCR), 33);
        disk.crash_losing_all();
    }

    #[test]
    fn only_the_last_file_is_cut() {
        let disk = disk();
        put(&disk, BASE, &[SET, b"*1\r\n$5\r\nmulti\r\n", SET]);
        let (good, out) = run(&disk, &[MANIFEST], "");
        assert!(
            !good && out.contains("Reached EOF before the EXEC of a MULTI\n") && out.contains("is not valid"),
            "{out}"
        );
        let (good, out) = run(&disk, &["--fix", MANIFEST], "y\n");
        assert!(
            !good
                && out.ends_with("Failed to truncate AOF x.aof.1.base.aof because it is not the last file\n"),
            "{out}"
        );
        put(&disk, BASE, &[b"#TS:5\r\n", SET, b"#TS:6\r\n", SET]);
        let (good, out) = run(&disk, &["--truncate-to-timestamp", "5", MANIFEST], "");
        assert!(
            !good
                && out.contains(
                    "Failed to truncate AOF /d/x.aof.1.base.aof to timestamp 5 to offset 40 because"
                ),
            "{out}"
        );
        assert_eq!(len(&disk, BASE), 80);
    }

    #[test]
    fn a_file_is_cut_to_a_time() {
        let disk = disk();
        put(&disk, BASE, &[b"#TS:5\r\n", SET, b"#TS:6\r\n#TS:7\r\n", SET]);
        for (limit, text, size) in [
            (
                "7",
                "Truncate nothing in AOF /d/x.aof.1.base.aof to timestamp 7\nAOF /d/x.aof.1.base.aof is valid\n",
                87,
            ),
            ("6", "Successfully truncated AOF /d/x.aof.1.base.aof to timestamp 6\n", 47),
            ("5", "Successfully truncated AOF /d/x.aof.1.base.aof to timestamp 5\n", 40),
            ("4", "AOF /d/x.aof.1.base.aof has nothing before timestamp 4, aborting...\n", 40),
            ("x", "Invalid timestamp, aborting...\n", 40),
        ] {
            let (good, out) = run(&disk, &["--truncate-to-timestamp", limit, BASE], "");
            assert_eq!(good, size != 40 || limit == "5", "{limit}");
            assert!(out.ends_with(text), "{out}");
            assert_eq!(len(&disk, BASE), size);
        }
    }

    #[test]
    fn what_cannot_be_checked_says_why() {
        let disk = disk();
        for (args, text) in [
            (&["/d/none"][..], "Cannot open file /d/none: "),
            (&[], "Usage: check [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>"),
            (&["--fix"], "Usage: "),
            (&["--mend", BASE], "Usage: "),
        ] {
            let (good, out) = run(&disk, args, "");
            assert!(!good && out.starts_with(text), "{out}");
        }
        put(&disk, MANIFEST, &[b"file x.aof.9.base.aof seq 9 type b\n"]);
        let (good, out) = run(&disk, &[MANIFEST], "");
        assert!(!good && out.contains("Cannot open file /d/x.aof.9.base.aof: "), "{out}");
        put(&disk, MANIFEST, &[b"file x seq 1 type q\n"]);
        assert!(run(&disk, &[MANIFEST], "").1.contains("Unknown AOF file type"));
    }
}
