//! The command about people whom a user does not know yet: what they said is held until the user says what is to become of
//! it.

use portway_bridges::api::{Address, Chat, Condition, PersonId, Sentence, UserId};

use super::contact::{SHOWN, resolve};
use super::form::{Field, Form};
use super::house::House;
use super::table::{Call, Step};
use crate::identity::rules::MOST;
use crate::route::{consent, key, stored};
use crate::store::{HeldChat, Reason, Rule, StoreError};

/// Answers that may be given in a chat without the command's name.
pub const ANSWERS: [&str; 2] = ["accept", "refuse"];

type Outcome = Result<Step, StoreError>;

/// Somebody of whom something is held.
struct Stranger {
    person: PersonId,
    held: HeldChat,
}

async fn strangers(house: &House, user: &UserId, limit: usize) -> Result<Vec<Stranger>, StoreError> {
    let held = house.store.held(&house.network, &key::of_user(user), None, limit).await?;
    let known = |held: HeldChat| match key::read_direct(&held.chat) {
        Some(Chat::Direct { person, .. }) => Some(Stranger { person, held }),
        _ => None,
    };
    Ok(held.into_iter().filter_map(known).collect())
}

/// What was said first, in the words of the question.
fn said(house: &House, held: &HeldChat, lang: Option<&str>) -> String {
    let item = stored::read(&held.body).ok();
    let line = item.and_then(|item| consent::line_of(house, &item.kind));
    line.map(|line| house.texts.text(&line, lang)).unwrap_or_default()
}

async fn lines(call: &Call, strangers: &[Stranger]) -> Vec<Sentence> {
    let house = &call.house;
    let mut lines = Vec::with_capacity(strangers.len());
    for Stranger { person, held } in strangers {
        let id = house.adapter.print_person(person);
        let name = house.directory.name(person).await.unwrap_or_else(|| person.local().to_owned());
        let line = Sentence::new("stranger.waits").with("name", name).with("id", id);
        let line = line.with("count", held.count.to_string());
        lines.push(line.with("what", said(house, held, call.lang.as_deref())));
    }
    lines
}

/// Lists strangers of whom something is held, lets one in, sends what one said back, or blocks one.
pub async fn strangers_command(call: Call) -> Outcome {
    let house = &call.house;
    let waiting = strangers(house, &call.user, SHOWN).await?;
    if waiting.is_empty() {
        return Step::done(Sentence::new("stranger.none"));
    }
    if call.answered.is_empty() {
        let actions = ["list", "accept", "refuse", "block"];
        let actions = actions.map(|name| (name.to_owned(), Sentence::new(&format!("stranger.action-{name}")))).to_vec();
        let mut form = Form::new("command.title-strangers");
        for line in lines(&call, &waiting).await {
            form = form.note(line);
        }
        return Ok(Step::Ask(
            form.field(Field::choice("action", Sentence::new("command.field-action"), actions))
                .field(Field::text("who", Sentence::new("stranger.field-who")).optional()),
        ));
    }
    if call.answer("action") == "list" {
        return Ok(Step::Done(lines(&call, &waiting).await));
    }
    let person = match (call.answer("who"), waiting.as_slice()) {
        // There is nobody else who could be meant.
        ("", [only]) => only.person.clone(),
        ("", _) => return Step::again(Sentence::new("command.which-person")),
        (typed, _) => match resolve(house, typed) {
            Ok(Address::Person(person)) => person,
            Ok(Address::Room(_)) => return Step::again(Sentence::new("link.a-room")),
            Err(refusal) => return Step::again(refusal.sentence),
        },
    };
    let chat = Chat::Direct { user: call.user.clone(), person: person.clone() };
    let id = house.adapter.print_person(&person);
    let count = match call.answer("action") {
        "accept" => house.router.welcome(&chat).await?,
        "block" => {
            let user = call.user.to_string();
            if house.store.rules(&house.network, &user).await?.len() >= MOST {
                return Ok(Step::Refuse(Condition::PolicyViolation, Sentence::new("command.too-many-rules")));
            }
            house.rules.put(Rule { user, pattern: id.clone(), allow: false, at: house.clock.now() }).await?;
            let count = house.router.turn_away(&call.user, Some(&chat), Reason::Refused).await?;
            house.adapter.blocked(&call.user, &person).await;
            count
        }
        _ => house.router.turn_away(&call.user, Some(&chat), Reason::Refused).await?,
    };
    let done = match call.answer("action") {
        "accept" => "stranger.accepted",
        "block" => "stranger.blocked",
        _ => "stranger.sent-back",
    };
    Step::done(Sentence::new(done).with("who", id).with("count", count.to_string()))
}

/// Sends back what is held of everybody whom a user keeps out by now.
///
/// # Errors
/// [`StoreError`].
pub async fn send_back_blocked(house: &House, user: &UserId) -> Result<(), StoreError> {
    for Stranger { person, .. } in strangers(house, user, usize::try_from(consent::OF_ALL).unwrap_or(SHOWN)).await? {
        if house.rules.between(user, &person).await?.is_some() {
            let chat = Chat::Direct { user: user.clone(), person };
            house.router.turn_away(user, Some(&chat), Reason::Refused).await?;
        }
    }
    Ok(())
}

/// Who waits for a user's answer, for their export and their status: as the network writes them, how much of each is held,
/// and what was said first.
///
/// # Errors
/// [`StoreError`].
pub async fn waiting(call: &Call) -> Result<Vec<(String, u64, String)>, StoreError> {
    let house = &call.house;
    let all = strangers(house, &call.user, usize::try_from(consent::OF_ALL).unwrap_or(SHOWN)).await?;
    let one = |Stranger { person, held }: &Stranger| {
        (house.adapter.print_person(person), held.count, said(house, held, call.lang.as_deref()))
    };
    Ok(all.iter().map(one).collect())
}
