//! The zset family.
