//! The test suite, in the order in which it fails soonest.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::{cache_dir, cargo, cargo_command, command, root, say, target_dir, works};
use crate::{demo, install};

/// Format, lints, licences, and all tests, those against real servers included.
pub fn test() -> Result<(), String> {
    let mut total = Total::default();
    checks(&mut total)?;
    suites(&mut total)?;
    total.print()
}

/// What CI runs.
pub fn ci() -> Result<(), String> {
    let mut total = Total::default();
    checks(&mut total)?;
    suites(&mut total)?;
    for server in ["prosody", "ejabberd"] {
        say(&format!("demo on {server}"));
        demo(&["--server".to_owned(), server.to_owned()])?;
        total.passed += 1;
    }
    total.print()
}

fn checks(total: &mut Total) -> Result<(), String> {
    say("format");
    cargo(&["fmt", "--all", "--check"])?;
    // `cargo fmt` does not enter modules that a macro declares.
    let mut files = Vec::new();
    sources(&root().join("bridges"), &mut files);
    command(Command::new("rustfmt").args(["--check", "--edition", "2024"]).args(&files).current_dir(root()))?;
    say("lints");
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    if licences()? {
        total.passed += 1;
    } else {
        total.skipped += 1;
    }
    Ok(())
}

fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `cargo deny`, installed for this project alone where it is missing. False where that needs a network that is not there:
/// the code is as good as before, but nobody has looked at the licences of what it depends on.
fn licences() -> Result<bool, String> {
    let tools = cache_dir().join("tools");
    let own = tools.join("bin").join("cargo-deny");
    let program = if works("cargo-deny", &["--version"]) {
        "cargo-deny".to_owned()
    } else {
        if !own.exists() {
            say("installing cargo-deny");
            let root = tools.to_string_lossy();
            let install = ["install", "cargo-deny", "--version", "0.20.2", "--locked", "--debug", "--root", &root];
            if let Err(error) = cargo(&install) {
                say(&format!("{error}; licences, sources and bans are NOT CHECKED"));
                return Ok(false);
            }
        }
        own.to_string_lossy().into_owned()
    };
    say("licences, sources, bans");
    // It reads the sources of all dependencies, those of other platforms too, which a build leaves out.
    if let Err(error) = cargo(&["fetch", "--locked"]) {
        say(&format!("{error}; licences, sources and bans are NOT CHECKED"));
        return Ok(false);
    }
    // Advisories need a database from the network and are left to the admin of the release.
    let mut check = Command::new(program);
    check.args(["--offline", "check", "licenses", "sources", "bans"]).current_dir(root());
    command(check.env("CARGO_TARGET_DIR", target_dir()))?;
    Ok(true)
}

fn suites(total: &mut Total) -> Result<(), String> {
    say("unit, golden, component, store and scenario tests");
    // Tests against real servers come below: here they would do nothing, and count as passed.
    total.run(cargo_command().args(["test", "--workspace", "--exclude", "portway-testbed", "--no-fail-fast"]))?;
    total.run(cargo_command().args(["test", "--package", "portway-testbed", "--lib", "--bins"]))?;
    install::servers()?;
    say("end-to-end tests against real servers");
    cargo(&["build", "--bin", "portway"])?;
    for suite in ["e2e", "privileges", "loss", "media", "rich", "formats", "mail_rich", "doctor"] {
        let mut tests = cargo_command();
        tests.args(["test", "--package", "portway-testbed", "--test", suite, "--", "--test-threads=1", "--nocapture"]);
        total.run(tests.env("PORTWAY_E2E", "1"))?;
    }
    Ok(())
}

/// What the test runners have said.
#[derive(Default)]
struct Total {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Total {
    /// Runs tests and adds what their summaries say.
    fn run(&mut self, tests: &mut Command) -> Result<(), String> {
        tests.env("PORTWAY_CACHE", cache_dir()).env("PORTWAY_BIN", target_dir().join("debug").join("portway"));
        let mut child = tests.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let output = child.stdout.take().ok_or("no output")?;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("{line}");
            if let Some(summary) = line.trim().strip_prefix("test result:") {
                let count = |word: &str| -> u64 {
                    let parts = summary.split([';', '.']).map(str::trim);
                    parts.filter_map(|part| part.strip_suffix(word)?.trim().parse::<u64>().ok()).sum()
                };
                self.passed += count("passed");
                self.failed += count("failed");
                self.skipped += count("ignored");
            }
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("tests failed: {} passed, {} failed", self.passed, self.failed))
        }
    }

    fn print(&self) -> Result<(), String> {
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        if self.failed == 0 && self.passed > 0 { Ok(()) } else { Err("no test passed".to_owned()) }
    }
}
