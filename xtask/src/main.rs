//! The project's own commands: `cargo xtask demo | test | ci | bench`. No dependencies, so that it starts at once.

mod install;
mod run;
mod suite;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  demo [--server prosody|ejabberd] [--stay]
        install what is missing, start real servers on loopback, and carry a real conversation
  test  format, lints, licences, unit, golden, component, store and end-to-end tests
  ci    what CI runs: test, and the demo on both XMPP servers
  bench the benchmarks, with ratios";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.first().map(String::as_str) {
        Some("demo") => demo(&args[1..]),
        Some("test") => suite::test(),
        Some("ci") => suite::ci(),
        Some("bench") => run::cargo(&["bench", "--bench", "pipeline"]),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Installs what is missing, builds, and runs the demo.
pub fn demo(args: &[String]) -> Result<(), String> {
    install::servers()?;
    run::say("building");
    run::cargo(&["build", "--bin", "portway"])?;
    run::cargo(&["build", "--package", "portway-testbed", "--bin", "portway-demo"])?;
    run::say("starting");
    let program = run::target_dir().join("debug").join("portway-demo");
    run::command(std::process::Command::new(program).args(args))
}
