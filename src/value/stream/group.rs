//! Consumer groups: consumers and the entries that are pending.
