//! Commands about oneself.

use portway_bridges::api::{Condition, Sentence, UserId};
use serde_json::json;

use super::contact;
use super::form::{Field, FieldKind, Form};
use super::house::{Choices, House, Policy, Registration};
use super::pointers;
use super::strangers;
use super::table::{Call, Step};
use crate::route::{consent, key};
use crate::store::{Direction, LinkRow, Reason, StoreError, UserRow};

/// How many rows are read at a time.
const PAGE: usize = 500;

/// How many rows an export holds at most of each kind.
const EXPORT: usize = 20_000;

/// What stands in a form for no language in particular: some programs cannot take an option without a value.
const ANY: &str = "any";

type Outcome = Result<Step, StoreError>;

/// The fields that registering and preferences have in common.
fn choices_form(house: &House, title: &str, choices: &Choices) -> Form {
    let mut languages = vec![(ANY.to_owned(), Sentence::new("command.any-language"))];
    languages.extend(house.texts.languages().into_iter().map(|tag| {
        let name = house.texts.text(&Sentence::new("core.language"), Some(&tag));
        (tag, Sentence::new("command.line").with("text", name))
    }));
    let mut language = Field::choice("language", Sentence::new("command.field-language"), languages).optional();
    if matches!(&language.kind, FieldKind::Choice(values) if values.iter().any(|(tag, _)| *tag == choices.language)) {
        language.value.clone_from(&choices.language);
    }
    Form::new(title)
        .field(Field::text("name", Sentence::new("command.field-name")).with(choices.name.clone()).optional())
        .field(language)
        .field(Field::bool("announcements", Sentence::new("command.field-announcements"), choices.announcements))
}

/// The fields that preferences have beside: there is nothing to choose where the admin refuses strangers.
fn with_strangers(form: Form, house: &House, choices: &Choices) -> Form {
    if house.strangers == Policy::Refuse {
        return form;
    }
    let of = |policy: Policy| Sentence::new(&format!("stranger.policy-{}", policy.name()));
    let usual = house.texts.text(&of(house.strangers), None);
    let mut values = vec![(String::new(), Sentence::new("stranger.policy-usual").with("usual", usual))];
    values.extend(Policy::ALL.map(|policy| (policy.name().to_owned(), of(policy))));
    let field = Field::choice("strangers", Sentence::new("stranger.field-policy"), values).optional();
    form.field(field.with(choices.strangers.clone()))
}

async fn choose(call: &Call, before: &Choices) -> Result<bool, StoreError> {
    // Registration does not ask for it.
    let asked = call.answered.iter().any(|answers| answers.contains_key("strangers"));
    let choices = Choices {
        strangers: if asked { call.answer("strangers").to_owned() } else { before.strangers.clone() },
        name: call.answer("name").chars().filter(|c| !c.is_control()).take(100).collect(),
        language: Some(call.answer("language")).filter(|tag| *tag != ANY).unwrap_or_default().to_owned(),
        announcements: call.yes("announcements"),
    };
    let row = UserRow {
        user: call.user.to_string(),
        since: call.house.clock.now(),
        choices: serde_json::to_string(&choices).unwrap_or_else(|_| "{}".to_owned()),
    };
    let new = call.house.store.register(&call.house.network, row).await?;
    call.house.forget(&call.user);
    consent::review(&call.house, &key::of_user(&call.user)).await?;
    Ok(new)
}

/// Registers, or changes what a registered user has chosen.
pub async fn register(call: Call) -> Outcome {
    let house = &call.house;
    let known = house.choices(&call.user).await?;
    if known.is_none() && !house.registration.is_open() {
        return Ok(Step::Refuse(Condition::NotAllowed, Sentence::new("register.closed")));
    }
    if call.answered.is_empty() {
        let form = choices_form(house, "command.title-register", &known.clone().unwrap_or_default());
        let note = match (known.is_some(), house.registration) {
            (true, _) => Sentence::new("register.already"),
            (false, Registration::Required) => Sentence::new("register.required"),
            (false, _) => Sentence::new("register.optional"),
        };
        return Ok(Step::Ask(form.note(note.with("network", house.descriptor.name))));
    }
    if known.is_none() && !house.registrations.allows(&call.user, house.clock.now()) {
        return Ok(Step::Refuse(Condition::ResourceConstraint, Sentence::new("register.too-often")));
    }
    if choose(&call, &known.unwrap_or_default()).await? {
        house.outside(|outside| outside.subscribe(None, &call.user));
        contact::offer(&call).await?;
        return Ok(Step::Done(vec![
            Sentence::new("register.done").with("network", house.descriptor.name),
            Sentence::new("register.next"),
        ]));
    }
    Step::done(Sentence::new("command.saved"))
}

/// Changes what a registered user has chosen.
pub async fn preferences(call: Call) -> Outcome {
    let Some(choices) = call.house.choices(&call.user).await? else {
        return Ok(Step::Refuse(Condition::RegistrationRequired, Sentence::new("command.register-first")));
    };
    if call.answered.is_empty() {
        let form = choices_form(&call.house, "command.title-preferences", &choices);
        return Ok(Step::Ask(with_strangers(form, &call.house, &choices)));
    }
    choose(&call, &choices).await?;
    Step::done(Sentence::new("command.saved"))
}

/// Says what will be deleted, and deletes it on a yes.
pub async fn unregister(call: Call) -> Outcome {
    let (house, user) = (&call.house, call.user.to_string());
    if call.answered.is_empty() {
        if house.choices(&call.user).await?.is_none() {
            return Ok(Step::Refuse(Condition::RegistrationRequired, Sentence::new("register.not")));
        }
        let subscriptions = house.store.subscriptions(&house.network, &user, None, EXPORT).await?.len();
        let rules = house.store.rules(&house.network, &user).await?.len();
        let links = house.store.links(&house.network, Some(&user), None, EXPORT).await?.len();
        let held: u64 = strangers::waiting(&call).await?.iter().map(|(_, count, _)| count).sum();
        let note = Sentence::new("register.leaving")
            .with("held", held.to_string())
            .with("contacts", subscriptions.to_string())
            .with("rules", rules.to_string())
            .with("links", links.to_string());
        let sure = Field::bool("sure", Sentence::new("command.field-sure"), false);
        return Ok(Step::Ask(Form::new("command.title-unregister").note(note).field(sure)));
    }
    if !call.yes("sure") {
        return Step::done(Sentence::new("command.nothing-done"));
    }
    remove(house, &call.user).await?;
    Step::done(Sentence::new("register.gone"))
}

/// Removes a user, all that is theirs, and the gateway from their contacts.
///
/// # Errors
/// [`StoreError`].
pub async fn remove(house: &House, user: &UserId) -> Result<bool, StoreError> {
    house.router.turn_away(user, None, Reason::Refused).await?;
    pointers::mark(&house.store, &house.network, &user.to_string()).await?;
    let forgotten = house.store.forget_user(&house.network, &user.to_string()).await?;
    house.relinked.notify_one();
    house.forget(user);
    if let Some(outside) = house.outside.get() {
        outside.disconnect(user).await;
        outside.leave(user);
    }
    Ok(forgotten.registered)
}

/// How many events wait in the chats of a user, one way.
async fn waiting(call: &Call, direction: Direction) -> Result<u64, StoreError> {
    let (house, prefix) = (&call.house, key::of_user(&call.user));
    let mut after = Some(prefix.clone());
    let mut count = 0;
    loop {
        let lanes = house.store.pending_lanes(&house.network, direction, after.as_deref(), PAGE).await?;
        count += lanes.iter().take_while(|lane| lane.chat.starts_with(&prefix)).map(|lane| lane.count).sum::<u64>();
        match lanes.last() {
            Some(last) if lanes.len() == PAGE && last.chat.starts_with(&prefix) => after = Some(last.chat.clone()),
            _ => return Ok(count),
        }
    }
}

/// What the gateway knows about whoever asks.
pub async fn status(call: Call) -> Outcome {
    let house = &call.house;
    let mut notes = vec![match house.choices(&call.user).await? {
        Some(_) => Sentence::new("command.status-registered").with("network", house.descriptor.name),
        None => Sentence::new("command.status-unregistered").with("network", house.descriptor.name),
    }];
    if let Some(shown) = house.adapter.print_user(&call.user) {
        notes.push(Sentence::new("command.status-shown").with("id", shown));
    }
    for link in links_of(&call).await? {
        notes.push(Sentence::new("command.status-linked").with("id", link.remote));
    }
    let out = waiting(&call, Direction::ToNetwork).await?;
    let back = waiting(&call, Direction::ToXmpp).await?;
    notes.push(Sentence::new("command.status-queue").with("out", out.to_string()).with("back", back.to_string()));
    let held = strangers::waiting(&call).await?.len();
    if held > 0 {
        notes.push(Sentence::new("stranger.status").with("count", held.to_string()));
    }
    Ok(Step::Done(notes))
}

/// The links of whoever asks.
///
/// # Errors
/// [`StoreError`].
pub async fn links_of(call: &Call) -> Result<Vec<LinkRow>, StoreError> {
    call.house.store.links(&call.house.network, Some(&call.user.to_string()), None, PAGE).await
}

/// All that is kept about whoever asks, as JSON.
pub async fn export(call: Call) -> Outcome {
    let (house, user) = (&call.house, call.user.to_string());
    let store = &house.store;
    let row = store.user(&house.network, &user).await?;
    let choices = house.choices(&call.user).await?;
    let mut chats: Vec<String> = Vec::new();
    let prefix = key::of_user(&call.user);
    while chats.len() < EXPORT {
        let page = store.chats(&house.network, &prefix, chats.last().map(String::as_str), PAGE).await?;
        let full = page.len() == PAGE;
        chats.extend(page);
        if !full {
            break;
        }
    }
    let people = chats.iter().filter_map(|chat| match key::read_direct(chat) {
        Some(portway_bridges::api::Chat::Direct { person, .. }) => Some(house.adapter.print_person(&person)),
        _ => None,
    });
    let people: Vec<String> = people.collect();
    let subscriptions = store.subscriptions(&house.network, &user, None, EXPORT).await?;
    let rules = store.rules(&house.network, &user).await?;
    let links = store.links(&house.network, Some(&user), None, EXPORT).await?;
    let out = waiting(&call, Direction::ToNetwork).await?;
    let back = waiting(&call, Direction::ToXmpp).await?;
    let held = strangers::waiting(&call).await?;
    let text = serde_json::to_string_pretty(&json!({
        "user": user,
        "network": &*house.network,
        "registered": row.map(|row| row.since.0),
        "choices": choices,
        "chats": people,
        "subscriptions": subscriptions.iter().map(|(contact, _)| contact).collect::<Vec<_>>(),
        "rules": rules.iter().map(|rule| json!({ "pattern": rule.pattern, "allow": rule.allow })).collect::<Vec<_>>(),
        "links": links.iter().map(|link| &link.remote).collect::<Vec<_>>(),
        "strangers": held.iter()
            .map(|(who, count, first)| json!({ "who": who, "held": count, "first": first })).collect::<Vec<_>>(),
        "waiting": { "to_network": out, "to_user": back },
    }));
    let text = text.unwrap_or_default();
    Ok(Step::Done(vec![Sentence::new("command.exported"), Sentence::new("command.line").with("text", text)]))
}
