//! The operating system's files.
use super::{Disk, DiskFile, DiskOverwrite, DiskRead, Stat};
use crate::base::platform::{self, Overwrite};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

/// As the umask allows: everyone may read, as with Redis.
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;

impl Disk for OsDisk {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile(platform::open_append(path, FILE_MODE)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let options = platform::with_mode(options.write(true).create(true).truncate(true), FILE_MODE);
        let file = options.open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        Ok(Box::new(File::open(path)?))
    }

    fn open_overwrite(&self, path: &Path) -> io::Result<Box<dyn DiskOverwrite>> {
        let (file, how) = platform::open_overwrite(path, true)?;
        Ok(Box::new(OsOverwrite { file, how, path: path.into() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let found = fs::metadata(path)?;
        Ok(Stat { len: found.len(), is_dir: found.is_dir() })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match platform::sync_dir(dir) {
            // Some file systems know no such thing, and there is nothing to be done about it.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => Ok(()),
            synced => synced,
        }
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match platform::create_dir(dir, DIR_MODE) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            created => created,
        }
    }
}

struct OsFile(File);

impl Write for OsFile {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for OsFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        platform::set_len(&mut self.0, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

struct OsOverwrite {
    file: File,
    how: Overwrite,
    path: PathBuf,
}

impl DiskOverwrite for OsOverwrite {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let written = platform::write_all_at(&mut self.file, bytes, at);
        match written {
            // Some file systems take a file opened for direct I/O, but no such write, or one of larger blocks.
            Err(e) if self.how == Overwrite::Direct && e.kind() == io::ErrorKind::InvalidInput => {
                (self.file, self.how) = platform::open_overwrite(&self.path, false)?;
                self.write_at(at, bytes)
            }
            Ok(()) if self.how == Overwrite::Buffered => self.file.sync_data(),
            written => written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::install;
    use super::*;

    #[test]
    fn files_on_the_real_disk() {
        let dir = std::env::temp_dir().join(format!("tidewater-disk-{}", std::process::id()));
        let (disk, a, b) = (OsDisk, dir.join("a"), dir.join("b"));
        let _ = fs::remove_dir_all(&dir);
        assert!(!disk.exists(&dir).unwrap());
        disk.create_dir(&dir).unwrap();
        disk.create_dir(&dir).unwrap();
        let mut file = disk.open_append(&a).unwrap();
        file.write_all(b"one").unwrap();
        file.sync_data().unwrap();
        file.set_len(2).unwrap();
        file.write_all(b"X").unwrap();
        assert_eq!((file.len().unwrap(), file.is_empty().unwrap()), (3, false));
        assert_eq!(disk.read(&a, 9).unwrap(), b"onX");
        install(&disk, &b, &a, |file| file.write_all(b"new")).unwrap();
        assert_eq!(disk.read(&a, 9).unwrap(), b"new");
        assert_eq!(disk.list(&dir).unwrap(), ["a"]);
        assert_eq!(disk.stat(&a).unwrap(), Stat { len: 3, is_dir: false });
        let block = vec![b'x'; 3 * 4096];
        let first = block.as_ptr().align_offset(4096);
        fs::write(&b, vec![b'-'; 3 * 4096]).unwrap();
        disk.open_overwrite(&b).unwrap().write_at(4096, &block[first..][..4096]).unwrap();
        let (file, how) = platform::open_overwrite(&b, false).unwrap();
        assert_ne!(how, Overwrite::Direct);
        OsOverwrite { file, how, path: b.clone() }.write_at(8192, &block[first..][..4096]).unwrap();
        let text = disk.read(&b, 1 << 20).unwrap();
        assert_eq!((text.len(), text.iter().filter(|&&c| c == b'-').count()), (3 * 4096, 4096));
        assert!(text[..4096].iter().all(|&c| c == b'-'));
        disk.remove(&b).unwrap();
        disk.sync_dir(&dir).unwrap();
        disk.remove(&a).unwrap();
        assert!(!disk.exists(&a).unwrap() && disk.stat(&dir).unwrap().is_dir);
        fs::remove_dir(&dir).unwrap();
    }
}
