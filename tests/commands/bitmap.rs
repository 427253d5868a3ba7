//! The bitmap family.
