//! The generic family.
