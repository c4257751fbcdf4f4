//! Commands in plain words: a chat with the gateway's own address, for clients that show neither forms nor commands.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use portway_bridges::api::{Sentence, Timestamp, UserId};

use super::form::Words;
use crate::command::link::code_in;
use crate::command::session::EXPIRES;
use crate::command::{Action, Answers, Commander, Field, FieldKind, Form, Reply, contact, strangers, table};

/// How many chats are remembered in which a form is open.
const TALKS: usize = 2_000;

/// Chats in which a form is being answered, one question at a time.
#[derive(Default)]
pub struct Talks(Mutex<HashMap<UserId, Talk>>);

struct Talk {
    session: String,
    form: Form,
    /// Which field is asked for.
    at: usize,
    answers: Answers,
    expires: Timestamp,
}

impl Talks {
    /// What the gateway answers to a line of a user.
    pub async fn line(&self, commander: &Commander, user: &UserId, text: &str, words: Words<'_>) -> String {
        let (text, now) = (text.trim(), commander.house.clock.now());
        let command = text.to_lowercase();
        let talk = self.talks().remove(user);
        let Some(talk) = talk else {
            return self.idle(commander, user, text, &command, words).await;
        };
        if talk.expires <= now {
            return words.say(&Sentence::new("command.expired"));
        }
        match command.as_str() {
            "cancel" | "stop" | "quit" => {
                let reply = commander.act(user, &talk.session, Action::Cancel, &Answers::new(), words.lang).await;
                self.show(commander, user, reply, words)
            }
            "prev" | "back" if talk.at > 0 => {
                let talk = Talk { at: talk.at - 1, ..talk };
                self.ask(commander, user, talk, None, words)
            }
            "prev" | "back" => {
                let reply = commander.act(user, &talk.session, Action::Prev, &Answers::new(), words.lang).await;
                self.show(commander, user, reply, words)
            }
            _ => self.answer(commander, user, talk, text, words).await,
        }
    }

    /// A line that answers no question.
    async fn idle(&self, commander: &Commander, user: &UserId, text: &str, command: &str, words: Words<'_>) -> String {
        if matches!(command, "help" | "?" | "menu") {
            return help(commander, user, words);
        }
        if matches!(command, "cancel" | "stop" | "quit" | "prev" | "back") {
            return words.say(&Sentence::new("command.nothing-to-cancel"));
        }
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if strangers::ANSWERS.contains(&first.to_lowercase().as_str()) {
            let answers = [("action".to_owned(), first.to_lowercase()), ("who".to_owned(), rest.trim().to_owned())];
            let reply = commander.start(user, "strangers", vec![Answers::from(answers)], words.lang).await;
            return self.show(commander, user, reply, words);
        }
        let offered = |name: &str| commander.offered(user).find(|found| found.name == name);
        let numbered = first.parse().ok().and_then(|n: usize| commander.offered(user).nth(n.checked_sub(1)?));
        let found = offered(&first.to_lowercase()).or_else(|| offered(&command.replace(' ', "-"))).or(numbered);
        if let Some(found) = found {
            // What stands behind the name answers the first question; the rest keeps what it holds.
            let rest = if command.replace(' ', "-") == found.name { "" } else { rest.trim() };
            let reply = commander.start(user, found.name, Vec::new(), words.lang).await;
            if let (false, Reply::Ask { session, form, .. }) = (rest.is_empty(), &reply)
                && let Some(answers) = answers_in(form, rest)
            {
                let reply = commander.act(user, session, Action::Next, &answers, words.lang).await;
                return self.show(commander, user, reply, words);
            }
            return self.show(commander, user, reply, words);
        }
        // A command that is there and not for them says so.
        if table::find(command).is_some() {
            let reply = commander.start(user, command, Vec::new(), words.lang).await;
            return self.show(commander, user, reply, words);
        }
        if code_in(text).is_some() {
            let answers = Answers::from([("who".to_owned(), text.to_owned())]);
            let reply = commander.start(user, "link", vec![answers], words.lang).await;
            return self.show(commander, user, reply, words);
        }
        if contact::resolve(&commander.house, text).is_ok() {
            let answers = Answers::from([("address".to_owned(), text.to_owned())]);
            let reply = commander.start(user, "start-chat", vec![answers], words.lang).await;
            return self.show(commander, user, reply, words);
        }
        welcome(commander, words)
    }

    async fn answer(
        &self,
        commander: &Commander,
        user: &UserId,
        mut talk: Talk,
        text: &str,
        words: Words<'_>,
    ) -> String {
        if let Some(field) = talk.form.fields.get(talk.at) {
            let value = match (text, field.required) {
                ("-", false) => Some(String::new()),
                (".", _) if !field.value.is_empty() => Some(field.value.clone()),
                _ => value_of(field, text),
            };
            let wrong = match (&field.kind, value) {
                (FieldKind::Bool, None) => Some(Sentence::new("command.yes-or-no")),
                (_, None) => Some(Sentence::new("command.choose")),
                (_, Some(value)) => match field.check(&value) {
                    Ok(value) => {
                        talk.answers.insert(field.name.to_owned(), value);
                        None
                    }
                    Err(why) => Some(why),
                },
            };
            if wrong.is_some() {
                return self.ask(commander, user, talk, wrong, words);
            }
            talk.at += 1;
        }
        if talk.at < talk.form.fields.len() {
            return self.ask(commander, user, talk, None, words);
        }
        let reply = commander.act(user, &talk.session, Action::Next, &talk.answers, words.lang).await;
        self.show(commander, user, reply, words)
    }

    fn show(&self, commander: &Commander, user: &UserId, reply: Reply, words: Words<'_>) -> String {
        match reply {
            Reply::Ask { session, form, fault, .. } => {
                let lines: Vec<String> = fault.iter().chain(&form.notes).map(|line| words.say(line)).collect();
                let talk = Talk { session, form, at: 0, answers: Answers::new(), expires: Timestamp(0) };
                let question = self.ask(commander, user, talk, None, words);
                lines.into_iter().chain([question]).collect::<Vec<_>>().join("\n")
            }
            Reply::Done { notes, .. } => notes.iter().map(|note| words.say(note)).collect::<Vec<_>>().join("\n"),
            Reply::Cancelled { .. } => words.say(&Sentence::new("command.cancelled")),
            Reply::Expired => words.say(&Sentence::new("command.expired")),
            Reply::Refused(_, sentence) => words.say(&sentence),
        }
    }

    /// Asks for the field at which a form is, and remembers it.
    fn ask(
        &self,
        commander: &Commander,
        user: &UserId,
        mut talk: Talk,
        fault: Option<Sentence>,
        words: Words<'_>,
    ) -> String {
        let mut lines: Vec<String> = fault.iter().map(|fault| words.say(fault)).collect();
        if let Some(field) = talk.form.fields.get(talk.at) {
            lines.extend(question(field, words));
        }
        let now = commander.house.clock.now();
        talk.expires = now.after(EXPIRES);
        let mut talks = self.talks();
        if talks.len() >= TALKS {
            talks.retain(|_, talk| talk.expires > now);
        }
        if talks.len() >= TALKS {
            return words.say(&Sentence::new("command.busy"));
        }
        talks.insert(user.clone(), talk);
        lines.join("\n")
    }

    fn talks(&self) -> MutexGuard<'_, HashMap<UserId, Talk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line says to a field: a number is a choice, yes and no are words.
fn value_of(field: &Field, text: &str) -> Option<String> {
    let lower = text.trim().to_lowercase();
    match &field.kind {
        FieldKind::Text | FieldKind::Jid => Some(text.trim().to_owned()),
        FieldKind::Bool => match lower.as_str() {
            "yes" | "y" | "1" | "true" | "ja" | "j" => Some("1".to_owned()),
            "no" | "n" | "0" | "false" | "nein" => Some("0".to_owned()),
            _ => None,
        },
        FieldKind::Choice(values) => {
            let number = lower.parse().ok().and_then(|n: usize| values.get(n.checked_sub(1)?));
            number
                .or_else(|| values.iter().find(|(value, _)| value.to_lowercase() == lower))
                .map(|(value, _)| value.clone())
        }
    }
}

/// What stands behind a command's name: the answer to its first question, and where that is a choice, the answer to the
/// second one behind it.
fn answers_in(form: &Form, rest: &str) -> Option<Answers> {
    let first = form.fields.first()?;
    let (text, more) = match (&first.kind, form.fields.get(1)) {
        (FieldKind::Choice(_), Some(second)) => match rest.split_once(char::is_whitespace) {
            Some((text, more)) => (text, Some((second, more.trim()))),
            None => (rest, None),
        },
        _ => (rest, None),
    };
    let mut answers = Answers::from([(first.name.to_owned(), value_of(first, text)?)]);
    if let Some((second, more)) = more {
        answers.insert(second.name.to_owned(), value_of(second, more)?);
    }
    Some(answers)
}

fn question(field: &Field, words: Words<'_>) -> Vec<String> {
    let mut lines = vec![words.say(&field.label)];
    match &field.kind {
        FieldKind::Choice(values) => {
            lines.extend(
                values.iter().enumerate().map(|(n, (_, meaning))| format!("{}. {}", n + 1, words.say(meaning))),
            );
            lines.push(words.say(&Sentence::new("command.choose")));
        }
        FieldKind::Bool => lines.push(words.say(&Sentence::new("command.yes-or-no"))),
        FieldKind::Text | FieldKind::Jid => {
            if !field.value.is_empty() {
                lines.push(words.say(&Sentence::new("command.keep-value").with("value", field.value.clone())));
            }
            if !field.required {
                lines.push(words.say(&Sentence::new("command.keep")));
            }
        }
    }
    lines
}

/// The list of commands.
fn help(commander: &Commander, user: &UserId, words: Words<'_>) -> String {
    let mut lines = vec![words.say(&Sentence::new("command.help"))];
    for (n, command) in commander.offered(user).enumerate() {
        let line = Sentence::new("command.help-line")
            .with("number", (n + 1).to_string())
            .with("name", command.name)
            .with("title", words.say(&Sentence::new(command.title)));
        lines.push(words.say(&line));
    }
    lines.push(words.say(&Sentence::new("command.help-end")));
    lines.join("\n")
}

/// Two lines: what this is, and what to write.
fn welcome(commander: &Commander, words: Words<'_>) -> String {
    let house = &commander.house;
    let example = format!("name%server@{}", house.component);
    let what = Sentence::new("core.welcome").with("network", house.descriptor.name).with("example", example);
    format!("{}\n{}", words.say(&what), words.say(&Sentence::new("command.welcome-help")))
}
