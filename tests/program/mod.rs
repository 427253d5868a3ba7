//! The program as a process, and the server as a value.
mod embed;
mod process;
