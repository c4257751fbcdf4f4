//! The one state machine behind every front door: a command that was begun, the form that is shown, and what has been
//! answered so far. Sessions are bounded in number and in time; whoever begins more loses their oldest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portway_bridges::api::{Condition, Sentence, Timestamp, UserId};
use rand::Rng as _;

use super::form::{Answers, Form};
use super::house::House;
use super::table::{self, Call, Command, Step};

/// How long a session waits for its next answer.
pub const EXPIRES: Duration = Duration::from_secs(600);

/// How many sessions one user may have at a time.
const OF_ONE: usize = 4;

/// How many sessions there may be in all.
const OF_ALL: usize = 5_000;

/// What a user does with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Answer the form.
    Next,
    /// Go back to the form before.
    Prev,
    /// Give it up.
    Cancel,
}

/// What a front door shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A form to be answered.
    Ask {
        /// The session.
        session: String,
        /// The form.
        form: Form,
        /// Whether there is no form before it.
        first: bool,
        /// What was wrong with the last answer.
        fault: Option<Sentence>,
    },
    /// The command is done.
    Done {
        /// The session, where there was one.
        session: String,
        /// What came of it.
        notes: Vec<Sentence>,
    },
    /// The command was given up.
    Cancelled {
        /// The session.
        session: String,
    },
    /// There is no such session any more, or never was one.
    Expired,
    /// It cannot be done.
    Refused(Condition, Sentence),
}

struct Session {
    id: String,
    command: &'static Command,
    form: Form,
    answered: Vec<Answers>,
    expires: Timestamp,
}

/// The commands of one network and the sessions in which they are under way.
pub struct Commander {
    /// What commands work on.
    pub house: Arc<House>,
    sessions: Mutex<HashMap<UserId, Vec<Session>>>,
}

impl Commander {
    /// No sessions yet.
    #[must_use]
    pub fn new(house: Arc<House>) -> Self {
        Self { house, sessions: Mutex::default() }
    }

    /// The commands that a user may give.
    pub fn offered(&self, user: &UserId) -> impl Iterator<Item = &'static Command> {
        let (admin, open) = (self.house.is_admin(user), self.house.registration.is_open());
        table::COMMANDS.iter().filter(move |command| (admin || !command.admin) && (open || command.name != "register"))
    }

    /// Begins a command, with answers to its first forms where there are some already.
    pub async fn start(&self, user: &UserId, name: &str, answers: Vec<Answers>, lang: Option<&str>) -> Reply {
        let Some(command) = table::find(name) else {
            return Reply::Refused(Condition::ItemNotFound, Sentence::new("command.unknown").with("name", name));
        };
        if command.admin && !self.house.is_admin(user) {
            return Reply::Refused(Condition::Forbidden, Sentence::new("command.admins-only"));
        }
        let mut answered = Vec::new();
        let mut given = answers.into_iter();
        loop {
            match self.run(command, user, &answered, lang).await {
                Step::Ask(form) => {
                    let Some(answers) = given.next() else {
                        return self.keep(user, command, form, answered, None);
                    };
                    match form.check(&answers) {
                        Ok(answers) => answered.push(answers),
                        Err((field, why)) => {
                            let fault = fault(self, &field, &why, lang);
                            return self.keep(user, command, form.filled(&answers), answered, Some(fault));
                        }
                    }
                }
                Step::Again(fault) => match answered.pop() {
                    Some(last) => match self.run(command, user, &answered, lang).await {
                        Step::Ask(form) => {
                            return self.keep(user, command, form.filled(&last), answered, Some(fault));
                        }
                        _ => return Reply::Refused(Condition::NotAcceptable, fault),
                    },
                    None => return Reply::Refused(Condition::NotAcceptable, fault),
                },
                Step::Done(notes) => return Reply::Done { session: new_id(), notes },
                Step::Refuse(condition, sentence) => return Reply::Refused(condition, sentence),
            }
        }
    }

    /// Goes on with a session of this user.
    pub async fn act(
        &self,
        user: &UserId,
        session: &str,
        action: Action,
        given: &Answers,
        lang: Option<&str>,
    ) -> Reply {
        // Taken out while it is worked on: of two answers at once, the second finds nothing.
        let Some(mut session) = self.take(user, session) else { return Reply::Expired };
        match action {
            Action::Cancel => return Reply::Cancelled { session: session.id },
            Action::Prev => {
                let Some(last) = session.answered.pop() else {
                    return self.put(user, session, Some(Sentence::new("command.no-prev")));
                };
                return match self.run(session.command, user, &session.answered, lang).await {
                    Step::Ask(form) => {
                        session.form = form.filled(&last);
                        self.put(user, session, None)
                    }
                    other => self.end(session.id, other),
                };
            }
            Action::Next => {}
        }
        match session.form.check(given) {
            Ok(answers) => session.answered.push(answers),
            Err((field, why)) => {
                session.form = session.form.filled(given);
                let fault = fault(self, &field, &why, lang);
                return self.put(user, session, Some(fault));
            }
        }
        match self.run(session.command, user, &session.answered, lang).await {
            Step::Ask(form) => {
                session.form = form;
                self.put(user, session, None)
            }
            Step::Again(fault) => {
                if let Some(last) = session.answered.pop() {
                    session.form = session.form.filled(&last);
                }
                self.put(user, session, Some(fault))
            }
            other => self.end(session.id, other),
        }
    }

    async fn run(&self, command: &Command, user: &UserId, answered: &[Answers], lang: Option<&str>) -> Step {
        if command.admin && !self.house.is_admin(user) {
            return Step::Refuse(Condition::Forbidden, Sentence::new("command.admins-only"));
        }
        self.call(command, user, answered, lang).await
    }

    /// The next step of a command, whoever may give it.
    pub(super) async fn call(
        &self,
        command: &Command,
        user: &UserId,
        answered: &[Answers],
        lang: Option<&str>,
    ) -> Step {
        let call = Call {
            house: self.house.clone(),
            user: user.clone(),
            answered: answered.to_vec(),
            lang: lang.map(str::to_owned),
        };
        match (command.run)(call).await {
            Ok(step) => step,
            Err(error) => {
                tracing::error!(network = %self.house.network, %error, command = command.name, "a command failed");
                Step::Refuse(Condition::InternalServerError, Sentence::new("core.store-failed"))
            }
        }
    }

    fn end(&self, session: String, step: Step) -> Reply {
        match step {
            Step::Done(notes) => Reply::Done { session, notes },
            Step::Refuse(condition, sentence) => Reply::Refused(condition, sentence),
            Step::Again(sentence) => Reply::Refused(Condition::NotAcceptable, sentence),
            Step::Ask(_) => Reply::Expired,
        }
    }

    fn keep(
        &self,
        user: &UserId,
        command: &'static Command,
        form: Form,
        answered: Vec<Answers>,
        fault: Option<Sentence>,
    ) -> Reply {
        let session = Session { id: new_id(), command, form, answered, expires: Timestamp(0) };
        self.put(user, session, fault)
    }

    fn put(&self, user: &UserId, mut session: Session, fault: Option<Sentence>) -> Reply {
        let now = self.house.clock.now();
        session.expires = now.after(EXPIRES);
        let reply = Reply::Ask {
            session: session.id.clone(),
            form: session.form.clone(),
            first: session.answered.is_empty(),
            fault,
        };
        let mut sessions = self.sessions();
        if !sessions.contains_key(user) && sessions.len() >= OF_ALL / OF_ONE {
            sessions.retain(|_, sessions| sessions.iter().any(|session| session.expires > now));
            if sessions.len() >= OF_ALL / OF_ONE {
                return Reply::Refused(Condition::ResourceConstraint, Sentence::new("command.busy"));
            }
        }
        let own = sessions.entry(user.clone()).or_default();
        own.retain(|session| session.expires > now);
        if own.len() >= OF_ONE {
            own.remove(0);
        }
        own.push(session);
        reply
    }

    fn take(&self, user: &UserId, id: &str) -> Option<Session> {
        let now = self.house.clock.now();
        let mut sessions = self.sessions();
        let own = sessions.get_mut(user)?;
        own.retain(|session| session.expires > now);
        let at = own.iter().position(|session| session.id == id);
        let found = at.map(|at| own.remove(at));
        if own.is_empty() {
            sessions.remove(user);
        }
        found
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault(commander: &Commander, field: &Sentence, why: &Sentence, lang: Option<&str>) -> Sentence {
    let texts = &commander.house.texts;
    Sentence::new("command.field-wrong").with("field", texts.text(field, lang)).with("why", texts.text(why, lang))
}

fn new_id() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}
