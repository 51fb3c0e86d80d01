//! Stored content: kept once under its SHA-256, shared by every resource version that has it.

pub mod garbage;
pub mod ingest;
pub mod sniff;
