//! The scan family.
