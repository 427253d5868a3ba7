//! A file that a snapshot goes into: buffered, checksummed, and told to the disk a part at a time, so that the final fsync
//! is short.
use std::io;
use std::time::{Duration, Instant};

use crate::base::crc::crc64;
use crate::base::disk::DiskFile;
use crate::base::priority;
use crate::rdb::encode::{self, Sink};

const BUFFER_BYTES: usize = 64 << 10;
/// With `rdb-save-incremental-fsync`: how much is written between two fsyncs.
const SYNC_BYTES: u64 = 4 << 20;

pub struct FileSink {
    file: Option<Box<dyn DiskFile>>,
    buffer: Vec<u8>,
    /// `None`: no checksum is wanted (`rdbchecksum no`).
    crc: Option<u64>,
    incremental: bool,
    written: u64,
    synced: u64,
    began: Instant,
    failed: Option<io::Error>,
}

impl FileSink {
    /// A file that could not be made is a sink that has failed.
    pub fn new(file: io::Result<Box<dyn DiskFile>>, checksum: bool, incremental: bool) -> Self {
        let (file, failed) = match file {
            Ok(file) => (Some(file), None),
            Err(e) => (None, Some(e)),
        };
        Self {
            file,
            // It grows as needed: an empty keyspace, saved after FLUSHALL, takes next to nothing.
            buffer: Vec::new(),
            crc: checksum.then_some(0),
            incremental,
            written: 0,
            synced: 0,
            began: Instant::now(),
            failed,
        }
    }

    /// Bytes that have gone to the file.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The error that the file gave, once.
    pub fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn flush(&mut self) {
        if self.failed.is_none()
            && let Err(e) = self.put_out()
        {
            self.failed = Some(e);
        }
        self.buffer.clear();
        priority::pass();
    }

    fn put_out(&mut self) -> io::Result<()> {
        if let Some(crc) = &mut self.crc {
            *crc = crc64(*crc, &self.buffer);
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        io::Write::write_all(file, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        if self.incremental && self.written - self.synced >= SYNC_BYTES {
            self.synced = self.written;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Writes the end mark and the checksum, and makes the file durable. Gives its size.
    pub fn finish(mut self) -> io::Result<u64> {
        encode::end(&mut self);
        self.flush();
        self.check()?;
        let crc = self.crc.take().unwrap_or(0);
        encode::checksum(&mut self, crc);
        self.sync()
    }

    /// As `finish`, for a file of commands, which ends as it is.
    pub fn finish_commands(self) -> io::Result<u64> {
        self.sync()
    }

    fn sync(mut self) -> io::Result<u64> {
        self.flush();
        self.check()?;
        match &mut self.file {
            Some(file) => file.sync_all()?,
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(self.written)
    }
}

impl Sink for FileSink {
    fn put(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }
}
