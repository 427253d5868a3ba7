//! What can be wrong with bytes in RDB format.
use std::borrow::Cow;

/// An error at a place: `offset` counts from the start of the file or payload.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} (at byte {offset})")]
pub struct RdbError {
    pub offset: u64,
    pub kind: ErrorKind,
    pub what: Cow<'static, str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The bytes end too early.
    Truncated,
    /// They contradict the format.
    Corrupt,
    /// They are in order, but of a version or a module that is not known here.
    Unsupported,
    /// They could not be read.
    Io(std::io::ErrorKind),
}

impl RdbError {
    pub fn truncated(offset: u64) -> Self {
        RdbError { offset, kind: ErrorKind::Truncated, what: "unexpected end".into() }
    }

    pub fn corrupt(offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        RdbError { offset, kind: ErrorKind::Corrupt, what: what.into() }
    }

    pub fn unsupported(offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        RdbError { offset, kind: ErrorKind::Unsupported, what: what.into() }
    }

    pub fn io(offset: u64, error: &std::io::Error) -> Self {
        RdbError { offset, kind: ErrorKind::Io(error.kind()), what: error.to_string().into() }
    }
}
