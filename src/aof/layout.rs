//! Where a server's append-only files are, and their names.
//!
//! A layout is made once, when the AOF is switched on, from absolute paths: `CONFIG SET dir` leaves the AOF where it is
//! until it is switched on anew, so that base and increments never end up in two places. Temporary files have one name
//! each, in the same directory (a rename never crosses file systems), made from `appendfilename`, because several servers
//! may share a directory.
use crate::base::platform;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    server_dir: PathBuf,
    dir: PathBuf,
    name: OsString,
}

/// What a base file is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseFormat {
    Rdb,
    /// Commands (`aof-use-rdb-preamble no`).
    Aof,
}

/// What a file's name says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    Base(u64),
    Incr(u64),
}

impl Layout {
    /// `server_dir` is `dir` as an absolute path; `dirname` and `filename` are `appenddirname` and `appendfilename`.
    pub fn new(server_dir: &Path, dirname: impl AsRef<OsStr>, filename: impl Into<OsString>) -> Self {
        Layout {
            server_dir: server_dir.into(),
            dir: server_dir.join(Path::new(&dirname)),
            name: filename.into(),
        }
    }

    /// `dir`.
    pub fn server_dir(&self) -> &Path {
        &self.server_dir
    }

    /// The directory of the files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `appendfilename`.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// A file of the directory.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.join(Path::new(&name))
    }

    pub fn manifest(&self) -> PathBuf {
        self.path(self.named("", ".manifest"))
    }

    /// See [`super::sync_log`].
    pub fn sync_log(&self) -> PathBuf {
        self.path(self.named("", ".sync"))
    }

    /// The one file that everything was in before Redis 7.
    pub fn old_style(&self) -> PathBuf {
        self.server_dir.join(&self.name)
    }

    pub fn base_name(&self, seq: u64, format: BaseFormat) -> OsString {
        let suffix = match format {
            BaseFormat::Rdb => "rdb",
            BaseFormat::Aof => "aof",
        };
        self.named("", &format!(".{seq}.base.{suffix}"))
    }

    pub fn incr_name(&self, seq: u64) -> OsString {
        self.named("", &format!(".{seq}.incr.aof"))
    }

    /// A name as [`Layout::base_name`] and [`Layout::incr_name`] make them.
    pub fn numbered(&self, name: &OsStr) -> Option<Numbered> {
        let rest = platform::bytes(name).strip_prefix(platform::bytes(&self.name))?.strip_prefix(b".")?;
        let (seq, rest) = std::str::from_utf8(rest).ok()?.split_once('.')?;
        let seq = seq.parse().ok()?;
        match rest {
            "base.rdb" | "base.aof" => Some(Numbered::Base(seq)),
            "incr.aof" => Some(Numbered::Incr(seq)),
            _ => None,
        }
    }

    pub fn temp_manifest(&self) -> PathBuf {
        self.path(self.named("temp-", ".manifest"))
    }

    /// Where a rewrite writes.
    pub fn temp_base(&self) -> PathBuf {
        self.path(self.named("temp-", ".base"))
    }

    pub fn temp_incr_name(&self) -> OsString {
        self.named("temp-", ".incr")
    }

    /// What gathers what happens while there is no base for it yet.
    pub fn temp_incr(&self) -> PathBuf {
        self.path(self.temp_incr_name())
    }

    fn named(&self, before: &str, after: &str) -> OsString {
        let mut name = OsString::from(before);
        name.push(&self.name);
        name.push(after);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_redis_has_them() {
        let at = Layout::new(Path::new("/data"), "appendonlydir", "appendonly.aof");
        assert_eq!(at.manifest(), Path::new("/data/appendonlydir/appendonly.aof.manifest"));
        assert_eq!(at.old_style(), Path::new("/data/appendonly.aof"));
        assert_eq!(at.base_name(7, BaseFormat::Rdb), "appendonly.aof.7.base.rdb");
        assert_eq!(at.base_name(7, BaseFormat::Aof), "appendonly.aof.7.base.aof");
        assert_eq!(at.path(at.incr_name(2)), Path::new("/data/appendonlydir/appendonly.aof.2.incr.aof"));
        assert_eq!(at.numbered(&at.base_name(7, BaseFormat::Aof)), Some(Numbered::Base(7)));
        assert_eq!(at.numbered(&at.incr_name(9)), Some(Numbered::Incr(9)));
        for other in [
            "appendonly.aof",
            "appendonly.aof.x.incr.aof",
            "appendonly.aof.1.incr.rdb",
            "temp-appendonly.aof.incr",
        ] {
            assert_eq!(at.numbered(OsStr::new(other)), None, "{other}");
        }
        assert_eq!(at.temp_incr(), Path::new("/data/appendonlydir/temp-appendonly.aof.incr"));
    }
}
