//! Running other programs.

use std::path::PathBuf;
use std::process::Command;

/// Says what is being done.
pub fn say(what: &str) {
    println!("==> {what}");
}

/// Where everything of ours that outlives a checkout is kept.
pub fn cache_dir() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("portway")
}

/// Where cargo builds: one place for all checkouts, so that a clean clone does not rebuild the world.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache_dir().join("target"), PathBuf::from)
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Cargo with the shared target directory.
pub fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env("CARGO_TARGET_DIR", target_dir()).current_dir(root());
    command
}

/// Runs cargo.
pub fn cargo(args: &[&str]) -> Result<(), String> {
    command(cargo_command().args(args))
}

/// Runs a program to its end; an error names it.
pub fn command(command: &mut Command) -> Result<(), String> {
    command.env("PORTWAY_CACHE", cache_dir()).env("PORTWAY_BIN", target_dir().join("debug").join("portway"));
    let status = command.status().map_err(|error| format!("{:?} cannot be started: {error}", command.get_program()))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

/// Whether a program runs and is content.
pub fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}
