//! The program: parse the command line, run, map the error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    portway::cli::main(std::env::args_os()).into()
}
