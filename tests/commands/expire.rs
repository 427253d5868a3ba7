//! The expire family.
