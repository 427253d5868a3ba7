//! What a command can fail with. The texts that clients match are Redis's, byte for byte, and stand here alone.
use std::borrow::Cow;
use std::fmt;

/// A command's error reply, or a request to run it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// A fixed or formatted text, with its code word.
    Text(Cow<'static, str>),
    /// As `Text`, with what the client sent in it, which need not be UTF-8.
    Bytes(Box<[u8]>),
    /// Nothing was done: run it again on a thread that owns its time.
    SlowLane,
}

impl CommandError {
    pub const WRONG_TYPE: CommandError = CommandError::Text(Cow::Borrowed(
        "WRONGTYPE Operation against a key holding the wrong kind of value",
    ));
    pub const SYNTAX: CommandError = CommandError::Text(Cow::Borrowed("ERR syntax error"));
    pub const NOT_INTEGER: CommandError =
        CommandError::Text(Cow::Borrowed("ERR value is not an integer or out of range"));
    pub const NOT_FLOAT: CommandError = CommandError::Text(Cow::Borrowed("ERR value is not a valid float"));
    pub const NAN_OR_INFINITY: CommandError =
        CommandError::Text(Cow::Borrowed("ERR increment would produce NaN or Infinity"));
    pub const OVERFLOW: CommandError =
        CommandError::Text(Cow::Borrowed("ERR increment or decrement would overflow"));
    pub const NO_SUCH_KEY: CommandError = CommandError::Text(Cow::Borrowed("ERR no such key"));
    pub const INDEX_OUT_OF_RANGE: CommandError = CommandError::Text(Cow::Borrowed("ERR index out of range"));
    pub const OUT_OF_RANGE: CommandError =
        CommandError::Text(Cow::Borrowed("ERR value is out of range, must be positive"));
    pub const STRING_TOO_LONG: CommandError =
        CommandError::Text(Cow::Borrowed("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    pub const OFFSET_OUT_OF_RANGE: CommandError =
        CommandError::Text(Cow::Borrowed("ERR offset is out of range"));
    pub const DB_OUT_OF_RANGE: CommandError =
        CommandError::Text(Cow::Borrowed("ERR DB index is out of range"));
    /// A number that Redis keeps in 32 bits.
    pub const INT_OUT_OF_RANGE: CommandError = CommandError::Text(Cow::Borrowed(
        "ERR value is out of range, value must between -2147483648 and 2147483647",
    ));
    pub const INVALID_CURSOR: CommandError = CommandError::Text(Cow::Borrowed("ERR invalid cursor"));
    pub const OOM: CommandError =
        CommandError::Text(Cow::Borrowed("OOM command not allowed when used memory > 'maxmemory'."));
    pub const LOADING: CommandError =
        CommandError::Text(Cow::Borrowed("LOADING Redis is loading the dataset in memory"));
    pub const SAVE_FAILED: CommandError = CommandError::Text(Cow::Borrowed(
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that \
         may modify the data set are disabled, because this instance is configured to report errors during writes if \
         RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the \
         RDB error.",
    ));
    pub const NO_AUTH: CommandError = CommandError::Text(Cow::Borrowed("NOAUTH Authentication required."));
    pub const MIN_OR_MAX_NOT_FLOAT: CommandError =
        CommandError::Text(Cow::Borrowed("ERR min or max is not a float"));
    pub const MIN_OR_MAX_NOT_STRING_RANGE: CommandError =
        CommandError::Text(Cow::Borrowed("ERR min or max not valid string range item"));
    pub const TIMEOUT_NOT_FLOAT: CommandError =
        CommandError::Text(Cow::Borrowed("ERR timeout is not a float or out of range"));
    pub const TIMEOUT_NEGATIVE: CommandError = CommandError::Text(Cow::Borrowed("ERR timeout is negative"));
    pub const TIMEOUT_OUT_OF_RANGE: CommandError =
        CommandError::Text(Cow::Borrowed("ERR timeout is out of range"));

    /// An error whose text is made up on the spot; `text` starts with the code word (`ERR ...`).
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        CommandError::Text(text.into())
    }

    /// As `new`, with what the client sent in the middle: up to a NUL, where Redis ends it too.
    pub fn quoting(before: &str, sent: &[u8], after: &str) -> Self {
        let sent = sent.split(|&b| b == 0).next().unwrap_or_default();
        let text = [before.as_bytes(), sent, after.as_bytes()].concat();
        // Line ends within become blanks; those at the end go.
        let end = text.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |last| last + 1);
        CommandError::Bytes(text[..end].into())
    }

    /// The text as it goes to the client.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            CommandError::Text(t) => t.as_bytes(),
            CommandError::Bytes(b) => b,
            CommandError::SlowLane => b"ERR the command needs the slow lane",
        }
    }

    /// `name` as the client knows the command: `get`, `config|set`.
    pub fn wrong_arity(name: &str) -> Self {
        Self::new(format!("ERR wrong number of arguments for '{name}' command"))
    }

    pub fn invalid_expire(name: &str) -> Self {
        Self::new(format!("ERR invalid expire time in '{name}' command"))
    }

    /// The first word: what INFO errorstats counts under.
    pub fn code(&self) -> &str {
        let word = self.as_bytes().split(|&b| b == b' ').next();
        word.and_then(|w| std::str::from_utf8(w).ok()).unwrap_or("ERR")
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl std::error::Error for CommandError {}
