//! Tongke 同课: live lessons across schools. The map of the server:
//!
//! - `cli` `config` `app` `http` `error`: parse, load, start, stop; every URL; error → answer
//! - `identity` `schools` `timetable`: who, where, when
//! - `live`: a lesson while it is on. `recording`: a subscriber like any other
//! - `db` `storage` `bus` `jobs`: the only modules that know which engine is behind them
//!
//! Dependencies point one way: main → http → features → {jobs storage db bus} → {config error}. Features speak through ids, jobs and
//! events, never by reaching into each other's tables.

mod app;
mod bus;
mod config;
mod db;
mod error;
mod http;
mod identity;
mod jobs;
mod schools;
mod storage;
mod timetable;
mod types;

fn main() {}
