//! The pubsub family.
