//! The server family.
