//! Files where systems differ: names as bytes, access modes, whether a directory can be synced.
//!
//! What only some systems have stands in a few files: here, in `src/base/priority.rs`, `src/base/cpus.rs`,
//! `src/server/process.rs`, `src/net/` and `src/program/`.
pub use system::{
    bytes, create_dir, from_bytes, names_a_drive, open_append, resolve, set_len, sync_dir, with_mode,
};

#[cfg(unix)]
mod system {
    use std::ffi::{OsStr, OsString};
    use std::fs::{DirBuilder, File, OpenOptions};
    use std::io;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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

    pub fn create_dir(dir: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(dir)
    }

    pub fn sync_dir(dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

#[cfg(not(unix))]
mod system {
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
