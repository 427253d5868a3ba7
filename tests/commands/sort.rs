//! The sort family.
