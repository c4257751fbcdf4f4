//! What `portway admin` gives to the gateway that runs.

use super::{Cli, CliError, Exit, load, print, runtime};
use crate::command::order::{self, Order, Outcome};

/// Gives a command of admins to the gateway that runs, and says what came of it.
pub fn run(network: &str, command: &str, fields: &[String], cli: &Cli) -> Result<Exit, CliError> {
    let config = load(cli)?;
    let mut order = Order { network: network.to_owned(), command: command.to_owned(), answers: Default::default() };
    for field in fields {
        let Some((name, value)) = field.split_once('=') else {
            eprintln!("portway: {field} is no field; write NAME=VALUE");
            return Ok(Exit::Usage);
        };
        order.answers.insert(name.to_owned(), value.to_owned());
    }
    let folder = &config.data_dir;
    let outcome = runtime()?.block_on(order::give(folder, &order)).map_err(|error| {
        CliError::Runtime(format!(
            "{}: {error}; no gateway runs there, or as another user than you. Start it with portway run",
            folder.join(order::SOCKET).display()
        ))
    })?;
    match outcome {
        Outcome::Done(notes) => {
            print(&notes.iter().map(|note| format!("{note}\n")).collect::<String>())?;
            Ok(Exit::Ok)
        }
        Outcome::Refused(why) => Err(CliError::Runtime(why)),
        Outcome::Wrong { fault, fields } => {
            eprintln!("portway: {fault}");
            for field in fields {
                eprintln!("  {field}");
            }
            Ok(Exit::Usage)
        }
    }
}
