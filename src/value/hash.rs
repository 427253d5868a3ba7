//! The hash type: packed while small, a large structure beyond.
