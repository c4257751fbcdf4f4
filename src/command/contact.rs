//! Commands about people: finding them, writing to them, and keeping them away.

use portway_bridges::api::{Address, Chat, Condition, PersonId, Refusal, Sentence};

use super::form::{Field, Form};
use super::house::House;
use super::table::{Call, Step};
use crate::identity::Meant;
use crate::identity::rules::{LONGEST, MOST};
use crate::route::key;
use crate::store::{Rule, StoreError};
use crate::xmpp::address;
use crate::xmpp::roster::offer::{self, Offered};
use crate::xmpp::xml;

/// How many people one answer lists.
pub const SHOWN: usize = 50;

/// How many chats a search looks through.
const LOOKED_AT: usize = 5_000;

type Outcome = Result<Step, StoreError>;

/// A person who was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The localpart of their JID.
    pub localpart: String,
    /// As their network writes them.
    pub remote: String,
    /// What they call themselves.
    pub name: Option<String>,
}

fn found(house: &House, person: &PersonId, name: Option<String>) -> Option<Found> {
    let localpart = address::of_person(person).ok()?;
    Some(Found { localpart, remote: house.adapter.print_person(person), name })
}

/// What somebody means by what they paste: one of our own addresses as it stands in a roster, or anything that the network
/// reads. People are in the canonical spelling.
///
/// # Errors
/// [`Refusal`] with what to write instead.
pub fn resolve(house: &House, typed: &str) -> Result<Address, Refusal> {
    let typed = typed.trim();
    let own = typed.strip_prefix("xmpp:").unwrap_or(typed).split('?').next().unwrap_or_default();
    if let Some(localpart) = own.strip_suffix(&format!("@{}", house.component)) {
        return house.directory.resolve(localpart).map(|meant| match meant {
            Meant::Person(person) => Address::Person(person),
            Meant::Room(room) => Address::Room(room),
        });
    }
    house.adapter.resolve(typed).map(|address| match address {
        Address::Person(person) => Address::Person(house.adapter.canonical(&person)),
        room => room,
    })
}

/// From anything that people paste to a JID.
pub async fn start_chat(call: Call) -> Outcome {
    let house = &call.house;
    if call.answered.is_empty() {
        let note = Sentence::new("core.prompt").with("network", house.descriptor.name);
        let who = Field::text("address", Sentence::new("command.field-address"));
        let subscribe = Field::bool("subscribe", Sentence::new("command.field-subscribe"), false);
        return Ok(Step::Ask(Form::new("command.title-start-chat").note(note).field(who).field(subscribe)));
    }
    let (localpart, room) = match resolve(house, call.answer("address")) {
        Ok(Address::Person(person)) => (address::of_person(&person), false),
        Ok(Address::Room(room)) => (address::of_room(&room), true),
        Err(refusal) => return Step::again(refusal.sentence),
    };
    let localpart = match localpart {
        Ok(localpart) => localpart,
        Err(error) => {
            let bad = Sentence::new("core.bad-address").with("why", error.to_string());
            return Step::again(bad.with("component", house.component.clone()));
        }
    };
    let jid = format!("{localpart}@{}", house.component);
    if room {
        return Step::done(Sentence::new("command.join").with("link", xml::link(&jid, "join")).with("jid", jid));
    }
    if call.yes("subscribe") {
        house.outside(|outside| outside.subscribe(Some(&localpart), &call.user));
    }
    Step::done(Sentence::new("command.write").with("link", xml::link(&jid, "message")).with("jid", jid))
}

/// The people whom a user has written with, behind a key of a chat, at most `limit` looked at; and the key to go on from.
async fn met(call: &Call, limit: usize) -> Result<Vec<PersonId>, StoreError> {
    let (house, prefix) = (&call.house, key::of_user(&call.user));
    let keys = house.store.chats(&house.network, &prefix, None, limit).await?;
    Ok(keys
        .iter()
        .filter_map(|key| match key::read_direct(key) {
            Some(Chat::Direct { person, .. }) => Some(person),
            _ => None,
        })
        .collect())
}

/// People who go by something like this: those whom the user has met, and those whom the network finds.
///
/// # Errors
/// [`StoreError`].
pub async fn look_for(call: &Call, query: &str, limit: usize) -> Result<Vec<Found>, StoreError> {
    let (house, wanted) = (&call.house, query.to_lowercase());
    let mut people: Vec<Found> = Vec::new();
    for person in met(call, LOOKED_AT).await? {
        let remote = house.adapter.print_person(&person).to_lowercase();
        // Names are looked up for few: whoever is meant by an address needs none.
        let name = house.directory.name(&person).await;
        let named = name.as_deref().is_some_and(|name| name.to_lowercase().contains(&wanted));
        if named || remote.contains(&wanted) {
            people.extend(found(house, &person, name));
        }
        if people.len() >= limit {
            return Ok(people);
        }
    }
    for (person, name) in house.adapter.search(query, limit).await {
        let one = found(house, &person, name);
        people.extend(one.filter(|one| people.iter().all(|other| other.localpart != one.localpart)));
    }
    people.truncate(limit);
    Ok(people)
}

fn listed(call: &Call, people: &[Found]) -> Vec<Sentence> {
    let line = |found: &Found| {
        let jid = format!("{}@{}", found.localpart, call.house.component);
        let name = found.name.clone().unwrap_or_else(|| found.remote.clone());
        Sentence::new("command.person").with("name", name).with("link", xml::link(&jid, "message")).with("jid", jid)
    };
    people.iter().map(line).collect()
}

/// Looks for people.
pub async fn search(call: Call) -> Outcome {
    if call.answered.is_empty() {
        let query = Field::text("query", Sentence::new("command.field-query"));
        return Ok(Step::Ask(Form::new("command.title-search").field(query)));
    }
    let people = look_for(&call, call.answer("query"), SHOWN).await?;
    if people.is_empty() {
        return Step::done(Sentence::new("command.nobody-found"));
    }
    Ok(Step::Done(listed(&call, &people)))
}

/// The people whom the user has written with, at most `limit`.
async fn correspondents(call: &Call, limit: usize) -> Result<Vec<Found>, StoreError> {
    let mut people = Vec::new();
    for person in met(call, limit).await? {
        let name = call.house.directory.name(&person).await;
        people.extend(found(&call.house, &person, name));
    }
    Ok(people)
}

/// Offers the user the people whom they have written with for their roster, where the XMPP side sees a way.
///
/// # Errors
/// [`StoreError`].
pub async fn offer(call: &Call) -> Result<(), StoreError> {
    let people = correspondents(call, offer::MOST).await?;
    let offered = |found: Found| Offered { name: found.name.unwrap_or(found.remote), localpart: found.localpart };
    let people = people.into_iter().map(offered).collect();
    call.house.outside(|outside| outside.offer(&call.user, people));
    Ok(())
}

/// The people whom the user has written with; who is not in their roster is offered for it.
pub async fn contacts(call: Call) -> Outcome {
    let mut people = correspondents(&call, SHOWN + 1).await?;
    offer(&call).await?;
    if people.is_empty() {
        return Step::done(Sentence::new("command.no-contacts"));
    }
    let more = people.len() > SHOWN;
    people.truncate(SHOWN);
    let mut notes = listed(&call, &people);
    if more {
        notes.push(Sentence::new("command.more").with("count", SHOWN.to_string()));
    }
    Ok(Step::Done(notes))
}

/// The pattern that a user means: what names a person is spelled as the network spells them, anything else is a glob.
pub(super) fn pattern(house: &House, typed: &str) -> Result<(String, Option<PersonId>), Sentence> {
    let typed = typed.trim();
    if typed.is_empty() || typed.len() > LONGEST {
        return Err(Sentence::new("command.bad-pattern").with("longest", LONGEST.to_string()));
    }
    if !typed.contains(['*', '?'])
        && let Ok(Address::Person(person)) = resolve(house, typed)
    {
        return Ok((house.adapter.print_person(&person), Some(person)));
    }
    Ok((typed.to_owned(), None))
}

/// Keeps somebody away: what they say reaches the user no more, and the network is told where it can be.
pub async fn block(call: Call) -> Outcome {
    let house = &call.house;
    if call.answered.is_empty() {
        let who = Field::text("who", Sentence::new("command.field-block"));
        return Ok(Step::Ask(Form::new("command.title-block").note(Sentence::new("command.block-about")).field(who)));
    }
    let (pattern, person) = match pattern(house, call.answer("who")) {
        Ok(pattern) => pattern,
        Err(fault) => return Step::again(fault),
    };
    let user = call.user.to_string();
    if house.store.rules(&house.network, &user).await?.len() >= MOST {
        return Ok(Step::Refuse(Condition::PolicyViolation, Sentence::new("command.too-many-rules")));
    }
    house.rules.put(Rule { user, pattern: pattern.clone(), allow: false, at: house.clock.now() }).await?;
    super::strangers::send_back_blocked(house, &call.user).await?;
    if let Some(person) = person {
        house.adapter.blocked(&call.user, &person).await;
    }
    Step::done(Sentence::new("command.blocked").with("who", pattern))
}

/// Lets somebody through again.
pub async fn unblock(call: Call) -> Outcome {
    let (house, user) = (&call.house, call.user.to_string());
    let rules = house.store.rules(&house.network, &user).await?;
    if rules.is_empty() {
        return Step::done(Sentence::new("command.no-blocks"));
    }
    if call.answered.is_empty() {
        let line =
            |rule: &Rule| (rule.pattern.clone(), Sentence::new("command.line").with("text", rule.pattern.clone()));
        let who = Field::choice("who", Sentence::new("command.field-unblock"), rules.iter().map(line).collect());
        return Ok(Step::Ask(Form::new("command.title-unblock").field(who)));
    }
    let who = call.answer("who");
    house.rules.remove(&user, who).await?;
    Step::done(Sentence::new("command.unblocked").with("who", who))
}
