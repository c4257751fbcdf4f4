//! The real binary between a scripted component server and a scripted peer of the loopback network: for scenario tests
//! and benchmarks.
#![allow(dead_code, reason = "each user of this module needs another part of it")]

pub mod binary;
pub mod fake_server;
pub mod gateway;
pub mod peer;
pub mod server;
pub mod web;
