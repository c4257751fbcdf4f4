//! The conformance suite that every adapter runs.
