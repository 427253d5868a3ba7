//! The set type: packed while small, a large structure beyond.
