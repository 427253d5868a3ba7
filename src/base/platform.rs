//! Files where systems differ: names as bytes, access modes, whether a directory can be synced.
//!
//! What only some systems have stands in a few files: here, in `src/base/priority.rs`, `src/base/cpus.rs`,
//! `src/server/process.rs`, `src/net/` and `src/program/`.
pub use system::{
    bytes, create_dir, from_bytes, names_a_drive, open_append, open_overwrite, resolve, set_len, sync_dir,
    with_mode, write_all_at,
};

/// How a file was opened to replace bytes in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    /// Past the system's cache: whole aligned blocks, durable when written.
    Direct,
    /// Durable when written.
    Synced,
    /// A sync must follow.
    Buffered,
}

#[cfg(unix)]
mod system {
    use super::Overwrite;
    use std::ffi::{OsStr, OsString};
    use std::fs::{DirBuilder, File, OpenOptions};
    use std::io;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
    use std::path::{Path, PathBuf};

    /// A file name as clients and files write it.
    pub fn bytes(name: &OsStr) -> &[u8] {
        name.as_bytes()
    }

    /// A file name that a client or a file wrote.
    pub fn from_bytes(name: Vec<u8>) -> OsString {
        OsString::from_vec(name)
    }

    /// Whether a name without slashes may still lead elsewhere.
    pub fn names_a_drive(_name: &[u8]) -> bool {
        false
    }

    /// The absolute path of what is there, without links.
    pub fn resolve(path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    /// Who may do what with a file that is created, as the umask allows.
    pub fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
        options.mode(mode)
    }

    /// A file for one writer at its end, who may also cut it.
    pub fn open_append(path: &Path, mode: u32) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(mode).open(path)
    }

    /// Cuts or extends a file; an appending writer goes on at its end.
    pub fn set_len(file: &mut File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// A file to replace bytes in, past the system's cache if `direct` and it can be had.
    #[cfg(target_os = "linux")]
    pub fn open_overwrite(path: &Path, direct: bool) -> io::Result<(File, Overwrite)> {
        if direct {
            let flags = libc::O_DIRECT | libc::O_DSYNC;
            match OpenOptions::new().write(true).custom_flags(flags).open(path) {
                // The file system knows no direct I/O.
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
                opened => return Ok((opened?, Overwrite::Direct)),
            }
        }
        let file = OpenOptions::new().write(true).custom_flags(libc::O_DSYNC).open(path)?;
        Ok((file, Overwrite::Synced))
    }

    /// A file to replace bytes in: `O_DSYNC` does not reach through the disk's own cache here, or is not known to.
    #[cfg(not(target_os = "linux"))]
    pub fn open_overwrite(path: &Path, _direct: bool) -> io::Result<(File, Overwrite)> {
        Ok((OpenOptions::new().write(true).open(path)?, Overwrite::Buffered))
    }

    /// Writes at a place; where the file's own position is afterwards is not said.
    pub fn write_all_at(file: &mut File, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(file, bytes, at)
    }

    pub fn create_dir(dir: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(dir)
    }

    pub fn sync_dir(dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

#[cfg(not(unix))]
mod system {
    use super::Overwrite;
    use std::ffi::{OsStr, OsString};
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Seek, SeekFrom};
    use std::path::{Path, PathBuf};

    /// A file name as clients and files write it: UTF-8, unless it is not Unicode.
    pub fn bytes(name: &OsStr) -> &[u8] {
        name.as_encoded_bytes()
    }

    /// A file name that a client or a file wrote. What is not UTF-8 names no file here, and is not found.
    pub fn from_bytes(name: Vec<u8>) -> OsString {
        String::from_utf8_lossy(&name).into_owned().into()
    }

    /// Whether a name without slashes may still lead elsewhere: `D:file`, or a file's other streams.
    pub fn names_a_drive(name: &[u8]) -> bool {
        name.contains(&b':')
    }

    /// The absolute path of what is there. Windows's canonical paths (`\\?\C:\`) are for no user to read.
    pub fn resolve(path: &Path) -> io::Result<PathBuf> {
        fs::metadata(path)?;
        std::path::absolute(path)
    }

    /// Files inherit their folder's permissions.
    pub fn with_mode(options: &mut OpenOptions, _mode: u32) -> &mut OpenOptions {
        options
    }

    /// A file for one writer at its end, who may also cut it: Windows lets nobody cut what is open to append.
    pub fn open_append(path: &Path, _mode: u32) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }

    /// Cuts or extends a file; its writer goes on at its end.
    pub fn set_len(file: &mut File, len: u64) -> io::Result<()> {
        file.set_len(len)?;
        file.seek(SeekFrom::End(0)).map(|_| ())
    }

    /// A file to replace bytes in.
    pub fn open_overwrite(path: &Path, _direct: bool) -> io::Result<(File, Overwrite)> {
        Ok((OpenOptions::new().write(true).open(path)?, Overwrite::Buffered))
    }

    /// Writes at a place; where the file's own position is afterwards is not said.
    pub fn write_all_at(file: &mut File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        io::Write::write_all(file, bytes)
    }

    pub fn create_dir(dir: &Path, _mode: u32) -> io::Result<()> {
        fs::create_dir(dir)
    }

    /// Directories cannot be synced here; NTFS logs their changes.
    pub fn sync_dir(_dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bytes_and_back() {
        let name = from_bytes("appendonly ä.aof".into());
        assert_eq!(bytes(&name), "appendonly ä.aof".as_bytes());
        assert_eq!(resolve(std::path::Path::new(".")).unwrap(), std::env::current_dir().unwrap());
        assert!(resolve(std::path::Path::new("nothing here")).is_err());
    }
}
