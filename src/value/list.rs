//! The list type: packed while small, a large structure beyond.
