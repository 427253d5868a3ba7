//! The zset type: packed while small, a large structure beyond.
