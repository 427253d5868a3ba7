//! The list family.
