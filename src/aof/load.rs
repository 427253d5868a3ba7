//! All files of a manifest, in order, to whoever makes data of them.
//!
//! The texts of errors and of the log are Redis's where its users look for them. Only the last file may end in the middle of
//! something, and it is cut only with `aof-load-truncated yes`; nothing else is ever changed here.
use super::reader::{Chunk, ReadError, Reader};
use super::store::{Sizes, Store, StoreError};
use crate::base::disk::DiskRead;
use std::io;
use std::path::Path;
use std::time::Instant;

/// Makes data of what is read. For more threads than one, a sink keeps the chunks that it was given and hands back others.
pub trait Sink {
    /// The RDB file that a base begins with: it gets the file and its size, and returns where the RDB file ends.
    /// Commands may follow it.
    fn rdb(&mut self, file: &mut dyn DiskRead, size: u64) -> Result<u64, Refused>;

    /// Commands, in order. Returns a chunk to be filled again, any one.
    fn commands(&mut self, chunk: Chunk) -> Result<Chunk, Refused>;

    /// A file is done, and all of its commands must be before this returns.
    fn end_of_file(&mut self) -> Result<(), Refused> {
        Ok(())
    }

    /// So many bytes of all have been read.
    fn progress(&mut self, loaded: u64) {
        let _ = loaded;
    }
}

/// A sink's no.
#[derive(Debug)]
pub struct Refused {
    /// Where in the file.
    pub offset: Option<u64>,
    /// As in "Unknown command 'bla'".
    pub reason: String,
}

impl From<io::Error> for Refused {
    fn from(e: io::Error) -> Self {
        Refused { offset: None, reason: e.to_string() }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `aof-load-truncated`.
    pub load_truncated: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub sizes: Sizes,
    /// There was no file at all, or nothing in any.
    pub is_empty: bool,
    /// The last file was cut.
    pub is_truncated: bool,
}

/// Why the server cannot start. A line for the log.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("The append log file {file} doesn't exist: {source}")]
    Missing { file: String, source: io::Error },
    #[error("Fatal error: can't open the append log file {file} for reading: {source}")]
    Open { file: String, source: io::Error },
    #[error("Unrecoverable error reading the append only file {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error(
        "Unexpected end of file reading the append only file {file}: {found}. You can: 1) Make a backup of your AOF file, \
         then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' \
         configuration option to yes and restart the server."
    )]
    Truncated { file: String, found: ReadError },
    #[error("Fatal error: the truncated file is not the last file: {file}: {found}")]
    NotLast { file: String, found: ReadError },
    #[error("Error truncating the AOF file {file}: {source}")]
    Cut { file: String, source: io::Error },
    #[error(
        "Bad file format reading the append only file {file}: {found}: make a backup of your AOF file, then use \
         ./redis-check-aof --fix <filename.manifest>"
    )]
    Format { file: String, found: ReadError },
    #[error("{reason} reading the append only file {file}{}", at(.offset))]
    Refused { file: String, offset: Option<u64>, reason: String },
}

fn at(offset: &Option<u64>) -> String {
    offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default()
}

/// Loads everything. [`Store::take_over_old_style`] comes before it. `start` is called with the bytes that there are, unless
/// there are none.
pub fn load(
    store: &Store,
    options: Options,
    sink: &mut dyn Sink,
    start: impl FnOnce(Sizes),
) -> Result<Loaded, LoadError> {
    let sizes = store.sizes()?;
    let mut loaded = Loaded { sizes, is_empty: sizes.total == 0, is_truncated: false };
    if loaded.is_empty {
        return Ok(loaded);
    }
    start(sizes);
    let files = store.manifest().files();
    let last = files.len() - 1;
    let mut before = 0;
    for (i, entry) in files.enumerate() {
        let is_base = i == 0 && store.manifest().base().is_some();
        let name = entry.name.display().to_string();
        let begun = Instant::now();
        let one = One { store, path: &store.layout().path(&entry.name), name: &name, before };
        let (size, is_truncated) = one.load(is_base, i == last, options, sink)?;
        before += size;
        loaded.is_truncated |= is_truncated;
        let kind = if is_base { "base" } else { "incr" };
        tracing::info!("DB loaded from {kind} file {name}: {:.3} seconds", begun.elapsed().as_secs_f64());
    }
    if loaded.is_truncated {
        loaded.sizes = store.sizes()?;
    }
    Ok(loaded)
}

struct One<'a> {
    store: &'a Store,
    path: &'a Path,
    name: &'a str,
    /// Bytes of the files before it.
    before: u64,
}

impl One<'_> {
    /// How large the file is, and whether it was cut.
    fn load(
        &self,
        is_base: bool,
        is_last: bool,
        options: Options,
        sink: &mut dyn Sink,
    ) -> Result<(u64, bool), LoadError> {
        let file = || self.name.to_owned();
        let refused =
            |Refused { offset, reason }: Refused| LoadError::Refused { file: file(), offset, reason };
        let reader = Reader::open(&**self.store.disk(), self.path);
        let mut reader = reader.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LoadError::Missing { file: file(), source },
            _ => LoadError::Open { file: file(), source },
        })?;
        // An incremental file is commands only, whatever it begins with.
        if is_base && reader.has_preamble().map_err(|source| LoadError::Read { file: file(), source })? {
            let is_old_style = *self.name == *self.store.layout().name();
            match is_old_style {
                true => tracing::info!("Reading RDB preamble from AOF file..."),
                false => tracing::info!("Reading RDB base file on AOF loading..."),
            }
            reader.preamble(|source, size| sink.rdb(source, size)).map_err(|e| {
                let what = if is_old_style { "RDB preamble of the AOF file" } else { "RDB base file" };
                tracing::warn!("Error reading the {what} {}, AOF loading aborted", self.name);
                refused(e)
            })?;
            sink.progress(self.before + reader.offset());
            if is_old_style {
                tracing::info!("Reading the remaining AOF tail...");
            }
        }
        let mut chunk = Chunk::default();
        let mut is_truncated = false;
        loop {
            match reader.next_chunk(&mut chunk) {
                Ok(true) => chunk = sink.commands(chunk).map_err(refused)?,
                Ok(false) => break,
                Err(ReadError::Io(source)) => return Err(LoadError::Read { file: file(), source }),
                Err(found @ (ReadError::Format { .. } | ReadError::Later { .. })) => {
                    return Err(LoadError::Format { file: file(), found });
                }
                Err(found @ ReadError::Truncated { .. }) if !options.load_truncated => {
                    return Err(LoadError::Truncated { file: file(), found });
                }
                Err(found @ ReadError::Truncated { .. }) if !is_last => {
                    return Err(LoadError::NotLast { file: file(), found });
                }
                Err(ReadError::Truncated { whole, inside, .. }) => {
                    self.cut(whole, inside)?;
                    is_truncated = true;
                    break;
                }
            }
            sink.progress(self.before + reader.offset());
        }
        sink.end_of_file().map_err(refused)?;
        Ok((reader.size(), is_truncated))
    }

    fn cut(&self, whole: u64, inside: &str) -> Result<(), LoadError> {
        tracing::warn!(
            "!!! Warning: short read while loading the AOF file {}!!! It ends {inside}.",
            self.name
        );
        tracing::warn!("!!! Truncating the AOF {} at offset {whole} !!!", self.name);
        let cut = self.store.disk().open_append(self.path).and_then(|mut file| {
            file.set_len(whole)?;
            file.sync_all()
        });
        cut.map_err(|source| LoadError::Cut { file: self.name.to_owned(), source })?;
        tracing::warn!("AOF {} loaded anyway because aof-load-truncated is enabled", self.name);
        Ok(())
    }
}
