//! Files, behind a trait that tests replace by one that crashes, tears and fills up. Must not know what is stored.
//!
//! All paths are whole paths: `dir` can change while a server runs, and the process's working directory is one for all
//! servers in it, so whoever opens something says where it is and remembers it.
//!
//! What is durable when: a file's bytes after [`DiskFile::sync_data`] or [`DiskOverwrite::write_at`], a file's being there under its name (after creation,
//! renaming or removal) after [`Disk::sync_dir`] of its directory. Nothing else is, whatever a file system may do beyond.
pub mod fault;
mod os;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;

pub use os::OsDisk;

/// A file system.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file to write at its end; creates it when it is missing.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskRead>>;

    /// Opens a file, all of which has been written, to replace bytes in it.
    fn open_overwrite(&self, path: &Path) -> io::Result<Box<dyn DiskOverwrite>>;

    /// Replaces what `to` was, if it was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// Makes the directory's entries durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates one directory; fine if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether something is there; an error when that cannot be told.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.stat(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The size of a file in bytes.
    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(self.stat(path)?.len)
    }

    /// The whole of a file, if it has no more than `max` bytes.
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(self.open_read(path)?, max.saturating_add(1)), &mut bytes)?;
        match bytes.len() as u64 > max {
            true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {max} bytes"))),
            false => Ok(bytes),
        }
    }
}

/// A file open for writing. `flush` does nothing: there is no buffer here.
pub trait DiskFile: io::Write + Send {
    /// Makes the bytes durable, and the length with them (fdatasync). After an error nobody knows which of the bytes
    /// written since the last success are on disk, and a later success says nothing about them.
    fn sync_data(&mut self) -> io::Result<()>;

    /// As [`DiskFile::sync_data`], with all metadata (fsync).
    fn sync_all(&mut self) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A file whose bytes are replaced in place, its length staying.
pub trait DiskOverwrite: Send {
    /// Replaces bytes, durably when it returns. `at`, the length and the place in memory are multiples of 4 KiB. After an
    /// error or a crash each 512 bytes of it may be old or new.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A file open for reading.
pub trait DiskRead: io::Read + io::Seek + Send {}
impl<T: io::Read + io::Seek + Send> DiskRead for T {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub len: u64,
    pub is_dir: bool,
}

/// Why a file did not get its name.
#[derive(Debug, thiserror::Error)]
#[error("{doing} failed: {source}")]
pub struct InstallError {
    /// What was done, as in "sync of the temporary file".
    pub doing: &'static str,
    /// The rename was tried: after a crash there may be the old file or the new one. Else it is the old one.
    pub unsettled: bool,
    pub source: io::Error,
}

impl From<InstallError> for io::Error {
    fn from(e: InstallError) -> Self {
        io::Error::new(e.source.kind(), e.to_string())
    }
}

/// Puts a new file in the place of `path` such that after a crash at any moment the old one or the new one is there,
/// whole: a temporary file, fsync, rename, fsync of the directory. `temp` is in the same file system.
pub fn install(
    disk: &dyn Disk,
    temp: &Path,
    path: &Path,
    write: impl FnOnce(&mut dyn DiskFile) -> io::Result<()>,
) -> Result<(), InstallError> {
    let fail = |doing, unsettled| move |source| InstallError { doing, unsettled, source };
    let written = (|| {
        let mut file = disk.create(temp).map_err(fail("creation of the temporary file", false))?;
        write(&mut *file).map_err(fail("write to the temporary file", false))?;
        file.sync_all().map_err(fail("sync of the temporary file", false))?;
        Ok(())
    })();
    let renamed = written.and_then(|()| put_in_place(disk, temp, path));
    if renamed.as_ref().is_err_and(|e| !e.unsettled) {
        let _ = disk.remove(temp);
    }
    renamed
}

/// Gives a file that is durable its name, durably.
pub fn put_in_place(disk: &dyn Disk, temp: &Path, path: &Path) -> Result<(), InstallError> {
    let fail = |doing, unsettled| move |source| InstallError { doing, unsettled, source };
    disk.rename(temp, path).map_err(fail("rename of the temporary file", true))?;
    if let Some(from) = temp.parent().filter(|from| Some(*from) != path.parent()) {
        disk.sync_dir(from).map_err(fail("sync of the temporary file's directory", true))?;
    }
    disk.sync_dir(parent(path)).map_err(fail("sync of the directory", true))
}

/// The directory that a path is in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::fault::{Fault, FaultDisk, Op};
    use super::*;

    fn replace(disk: &FaultDisk, text: &[u8]) -> Result<(), InstallError> {
        install(disk, Path::new("/d/temp"), Path::new("/d/file"), |file| file.write_all(text))
    }

    /// Whatever the moment, one of the two is there, whole; once `install` has said so, the new one.
    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        for seed in 0..8 {
            for at in 0..8 {
                let disk = FaultDisk::new(seed);
                disk.create_dir(Path::new("/d")).unwrap();
                disk.sync_dir(Path::new("/")).unwrap();
                replace(&disk, b"the old text").unwrap();
                disk.crash_at(disk.ops() + at);
                let done = replace(&disk, b"new").is_ok();
                disk.crash();
                let text = disk.read(Path::new("/d/file"), 100).unwrap();
                match done {
                    true => assert_eq!(text, b"new"),
                    false => assert!(text == b"new" || text == b"the old text", "{}", text.escape_ascii()),
                }
                assert_eq!(done, at >= 5, "{at}");
            }
        }
    }

    #[test]
    fn a_failed_install_leaves_no_temporary_file() {
        let disk = FaultDisk::new(1);
        disk.create_dir(Path::new("/d")).unwrap();
        for (op, unsettled) in
            [(Op::Write, false), (Op::Sync, false), (Op::Rename, true), (Op::SyncDir, true)]
        {
            replace(&disk, b"old").unwrap();
            disk.fail(op, Fault::Io, 1);
            let e = replace(&disk, b"new").unwrap_err();
            assert_eq!(e.unsettled, unsettled, "{e}");
            assert_eq!(disk.exists(Path::new("/d/temp")).unwrap(), op == Op::Rename);
        }
    }

    #[test]
    fn no_more_is_read_than_allowed() {
        let disk = FaultDisk::new(1);
        disk.create(Path::new("/f")).unwrap().write_all(b"abcd").unwrap();
        assert_eq!(disk.read(Path::new("/f"), 4).unwrap(), b"abcd");
        assert_eq!(disk.read(Path::new("/f"), 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!((parent(Path::new("a")), parent(Path::new("/b/a"))), (Path::new("."), Path::new("/b")));
    }
}
