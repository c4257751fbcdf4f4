//! The table of commands: one row each, for all front doors.

use std::sync::Arc;

use futures::future::BoxFuture;
use portway_bridges::api::{Condition, Sentence, UserId};

use super::form::{Answers, Form};
use super::house::House;
use super::{admin, contact, letters, link, strangers, user};
use crate::store::StoreError;

/// A command.
#[derive(Debug)]
pub struct Command {
    /// What users type, and the node of its ad-hoc command.
    pub name: &'static str,
    /// What it does, as a key of the catalogue.
    pub title: &'static str,
    /// Whether it is for admins only.
    pub admin: bool,
    /// From what was answered to what comes next.
    pub run: fn(Call) -> BoxFuture<'static, Result<Step, StoreError>>,
}

/// One call of a command.
pub struct Call {
    /// What it works on.
    pub house: Arc<House>,
    /// Who gives it.
    pub user: UserId,
    /// What was answered: one set for each form so far.
    pub answered: Vec<Answers>,
    /// The language of whoever gives it.
    pub lang: Option<String>,
}

impl Call {
    /// An answer; empty where there is none.
    #[must_use]
    pub fn answer(&self, name: &str) -> &str {
        self.answered.iter().rev().find_map(|answers| answers.get(name)).map(String::as_str).unwrap_or_default()
    }

    /// Whether yes was answered.
    #[must_use]
    pub fn yes(&self, name: &str) -> bool {
        self.answer(name) == "1"
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// A form.
    Ask(Form),
    /// The end.
    Done(Vec<Sentence>),
    /// The last form again: this is wrong with its answers.
    Again(Sentence),
    /// It cannot be done.
    Refuse(Condition, Sentence),
}

impl Step {
    /// The end, with one thing to say.
    ///
    /// # Errors
    /// None.
    pub fn done(sentence: Sentence) -> Result<Self, StoreError> {
        Ok(Self::Done(vec![sentence]))
    }

    /// The last form again.
    ///
    /// # Errors
    /// None.
    pub fn again(sentence: Sentence) -> Result<Self, StoreError> {
        Ok(Self::Again(sentence))
    }
}

macro_rules! commands {
    ($($admin:literal $name:literal $run:path,)*) => {
        &[$(Command {
            name: $name,
            title: concat!("command.title-", $name),
            admin: $admin,
            run: |call| Box::pin($run(call)),
        },)*]
    };
}

/// The commands in the order in which they are shown.
pub const COMMANDS: &[Command] = commands![
    false "register" user::register,
    false "status" user::status,
    false "start-chat" contact::start_chat,
    false "search" contact::search,
    false "contacts" contact::contacts,
    false "block" contact::block,
    false "unblock" contact::unblock,
    false "strangers" strangers::strangers_command,
    false "link" link::link,
    false "unlink" link::unlink,
    false "preferences" user::preferences,
    false "export" user::export,
    false "unregister" user::unregister,
    true "doctor" admin::doctor,
    true "users" admin::users,
    true "queue" letters::queue,
    true "dead-letters" letters::dead_letters,
    true "links" admin::links,
    true "disconnect" admin::disconnect,
    true "rules" admin::rules,
    true "announce" admin::announce,
    true "log-level" admin::log_level,
];

/// The command of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_title_and_a_name_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for command in COMMANDS {
            assert!(names.insert(command.name), "{}", command.name);
            let titled = crate::text::en::SENTENCES.iter().any(|sentence| sentence.key == command.title);
            assert!(titled, "{} has no sentence", command.title);
        }
    }
}
