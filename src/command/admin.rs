//! Commands of admins: users, links, rules for everybody, and what is said to all.

use portway_bridges::api::{Address, Condition, Level, Sentence, UserId};

use super::contact::{self, SHOWN};
use super::form::{Field, Form};
use super::house::House;
use super::pointers;
use super::table::{Call, Step};
use super::user;
use crate::identity::rules::MOST;
use crate::store::{LinkRow, Linked, Rule, StoreError};

/// How many users are read at a time.
const PAGE: usize = 500;

type Outcome = Result<Step, StoreError>;

fn actions(names: &[(&str, Sentence)]) -> Field {
    let values = names.iter().map(|(name, sentence)| ((*name).to_owned(), sentence.clone())).collect();
    Field::choice("action", Sentence::new("command.field-action"), values)
}

fn line(text: impl Into<String>) -> Sentence {
    Sentence::new("command.line").with("text", text)
}

fn user_of(call: &Call) -> Option<UserId> {
    UserId::parse(call.answer("user")).ok()
}

/// Lists registered users, or removes one with all that is theirs.
pub async fn users(call: Call) -> Outcome {
    let house = &call.house;
    if call.answered.is_empty() {
        let form = Form::new("command.title-users")
            .field(actions(&[
                ("list", Sentence::new("command.action-list")),
                ("remove", Sentence::new("command.action-remove")),
            ]))
            .field(Field::jid("user", Sentence::new("command.field-user-after")).optional());
        return Ok(Step::Ask(form));
    }
    if call.answer("action") == "remove" {
        let Some(user) = user_of(&call) else { return Step::again(Sentence::new("command.which-user")) };
        let removed = user::remove(house, &user).await?;
        let who = user.to_string();
        return Step::done(match removed {
            true => Sentence::new("command.user-removed").with("user", who),
            false => Sentence::new("command.user-unknown").with("user", who),
        });
    }
    let after = Some(call.answer("user")).filter(|user| !user.is_empty());
    let users = house.store.users(&house.network, after, SHOWN).await?;
    if users.is_empty() {
        return Step::done(Sentence::new("command.no-users"));
    }
    Ok(Step::Done(users.into_iter().map(|row| line(row.user)).collect()))
}

/// Lists links, makes one without a proof, or removes one.
pub async fn links(call: Call) -> Outcome {
    let house = &call.house;
    if call.answered.is_empty() {
        let form = Form::new("command.title-links")
            .field(actions(&[
                ("list", Sentence::new("command.action-list")),
                ("add", Sentence::new("command.action-add")),
                ("remove", Sentence::new("command.action-remove")),
            ]))
            .field(Field::text("who", Sentence::new("command.field-person")).optional())
            .field(Field::jid("user", Sentence::new("command.field-user")).optional());
        return Ok(Step::Ask(form));
    }
    let remote = match contact::resolve(house, call.answer("who")) {
        Ok(Address::Person(person)) => Some(house.adapter.print_person(&person)),
        _ => None,
    };
    match (call.answer("action"), remote) {
        ("add", Some(remote)) => {
            let Some(user) = user_of(&call) else { return Step::again(Sentence::new("command.which-user")) };
            pointers::mark(&house.store, &house.network, &user.to_string()).await?;
            let link = LinkRow { remote: remote.clone(), user: user.to_string(), since: house.clock.now() };
            match house.store.link(&house.network, link).await? {
                Linked::New | Linked::Known => {
                    house.relinked.notify_one();
                    Step::done(Sentence::new("link.done").with("who", remote))
                }
                Linked::Taken(_) => {
                    Ok(Step::Refuse(Condition::Conflict, Sentence::new("link.taken").with("who", remote)))
                }
            }
        }
        ("remove", Some(remote)) => match pointers::unlink(&house.store, &house.network, &remote).await? {
            true => {
                house.relinked.notify_one();
                Step::done(Sentence::new("link.removed").with("who", remote))
            }
            false => Step::done(Sentence::new("link.no-links")),
        },
        ("add" | "remove", None) => Step::again(Sentence::new("command.which-person")),
        _ => {
            let of = Some(call.answer("user")).filter(|user| !user.is_empty());
            let links = house.store.links(&house.network, of, None, SHOWN).await?;
            if links.is_empty() {
                return Step::done(Sentence::new("link.no-links"));
            }
            Ok(Step::Done(links.into_iter().map(|link| line(format!("{}  {}", link.user, link.remote))).collect()))
        }
    }
}

/// Ends a user's sessions in rooms.
pub async fn disconnect(call: Call) -> Outcome {
    if call.answered.is_empty() {
        let user = Field::jid("user", Sentence::new("command.field-user"));
        return Ok(Step::Ask(Form::new("command.title-disconnect").field(user)));
    }
    let Some(user) = user_of(&call) else { return Step::again(Sentence::new("command.which-user")) };
    let count = match call.house.outside.get() {
        Some(outside) => outside.disconnect(&user).await,
        None => 0,
    };
    let done = Sentence::new("command.disconnected").with("user", user.to_string());
    Step::done(done.with("count", count.to_string()))
}

/// Lists the rules for everybody, makes one, or removes one.
pub async fn rules(call: Call) -> Outcome {
    let house = &call.house;
    if call.answered.is_empty() {
        let form = Form::new("command.title-rules")
            .note(Sentence::new("command.rules-about"))
            .field(actions(&[
                ("list", Sentence::new("command.action-list")),
                ("deny", Sentence::new("command.action-deny")),
                ("allow", Sentence::new("command.action-allow")),
                ("remove", Sentence::new("command.action-remove")),
            ]))
            .field(Field::text("pattern", Sentence::new("command.field-pattern")).optional());
        return Ok(Step::Ask(form));
    }
    let rules = house.store.rules(&house.network, "").await?;
    let typed = call.answer("pattern");
    let action = call.answer("action");
    if action == "list" {
        if rules.is_empty() {
            return Step::done(Sentence::new("command.no-rules"));
        }
        return Ok(Step::Done(rules.iter().map(shown).collect()));
    }
    if typed.is_empty() || typed.len() > crate::identity::rules::LONGEST {
        let longest = crate::identity::rules::LONGEST.to_string();
        return Step::again(Sentence::new("command.bad-pattern").with("longest", longest));
    }
    if action == "remove" {
        return Step::done(match house.rules.remove("", typed).await? {
            true => Sentence::new("command.rule-removed").with("pattern", typed),
            false => Sentence::new("command.no-rules"),
        });
    }
    if rules.len() >= MOST {
        return Ok(Step::Refuse(Condition::PolicyViolation, Sentence::new("command.too-many-rules")));
    }
    let rule = Rule { user: String::new(), pattern: typed.to_owned(), allow: action == "allow", at: house.clock.now() };
    let done = shown(&rule);
    house.rules.put(rule).await?;
    Step::done(done)
}

fn shown(rule: &Rule) -> Sentence {
    match rule.allow {
        true => Sentence::new("command.rule-allow").with("pattern", rule.pattern.clone()),
        false => Sentence::new("command.rule-deny").with("pattern", rule.pattern.clone()),
    }
}

/// Says something to all registered users who want announcements.
pub async fn announce(call: Call) -> Outcome {
    let house = &call.house;
    if call.answered.is_empty() {
        let text = Field::text("text", Sentence::new("command.field-text"));
        return Ok(Step::Ask(Form::new("command.title-announce").field(text)));
    }
    let mut count = 0_u64;
    let mut after: Option<String> = None;
    loop {
        let page = house.store.users(&house.network, after.as_deref(), PAGE).await?;
        for row in &page {
            let Ok(user) = UserId::parse(&row.user) else { continue };
            if told(house, &user, call.answer("text")).await? {
                count += 1;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.user.clone()),
            _ => break,
        }
    }
    Step::done(Sentence::new("command.announced").with("count", count.to_string()))
}

async fn told(house: &House, user: &UserId, text: &str) -> Result<bool, StoreError> {
    let Some(choices) = house.choices(user).await? else { return Ok(false) };
    if !choices.announcements {
        return Ok(false);
    }
    let lang = Some(choices.language.as_str()).filter(|lang| !lang.is_empty());
    let sentence = Sentence::new("command.announcement").with("text", text);
    let said = house.texts.text(&sentence, lang);
    house.router.say(user, said).await?;
    Ok(true)
}

/// Looks at what the gateway depends on, and says of each fault what mends it.
pub async fn doctor(call: Call) -> Outcome {
    let Some(doctor) = call.house.doctor.get() else {
        return Ok(Step::Refuse(Condition::ResourceConstraint, Sentence::new("command.busy")));
    };
    let findings = doctor.examine().await;
    let ill = findings.iter().filter(|finding| finding.level != Level::Ok).count();
    let mut notes = vec![match ill {
        0 => Sentence::new("command.doctor-well"),
        _ => Sentence::new("command.doctor-ill").with("count", ill.to_string()),
    }];
    notes.extend(findings.iter().map(|finding| line(crate::doctor::text(std::slice::from_ref(finding)).trim_end())));
    Ok(Step::Done(notes))
}

/// Changes what is logged, until the gateway ends.
pub async fn log_level(call: Call) -> Outcome {
    if call.answered.is_empty() {
        let level = |name: &str| (name.to_owned(), line(name));
        let levels = ["error", "warn", "info", "debug"].map(level).to_vec();
        let field = Field::choice("level", Sentence::new("command.field-level"), levels).with("info");
        return Ok(Step::Ask(Form::new("command.title-log-level").field(field)));
    }
    let level = call.answer("level");
    match crate::observe::log::set(level) {
        Ok(()) => Step::done(Sentence::new("command.level-set").with("level", level)),
        Err(why) => {
            Ok(Step::Refuse(Condition::InternalServerError, Sentence::new("command.level-failed").with("why", why)))
        }
    }
}
