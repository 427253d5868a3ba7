//! The set family.
