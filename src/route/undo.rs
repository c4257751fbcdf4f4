//! Pure: corrections and retractions of lines that still wait in a batch (XEP-0308, XEP-0424). What has not left is changed
//! before it leaves, and nobody on the network ever sees what it was.

use std::collections::{HashMap, HashSet};

use portway_bridges::api::{EventId, Kind, Text};

use super::item::{Correction, Item, Speaker};
use super::{event, stored};
use crate::store::Queued;

/// How many corrections of one line are remembered, the latest ones: whoever sent them hears what became of the line.
const CORRECTIONS: usize = 8;

/// What a batch is when its window closes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// The lines that go out, as they are now.
    pub lines: Vec<Queued>,
    /// Those of all the lines that say something else than before.
    pub bodies: Vec<(EventId, Vec<u8>)>,
    /// What is done: lines that were taken back, and what changed or took back a line.
    pub gone: Vec<EventId>,
    /// The retractions among it.
    pub retractions: Vec<Item>,
}

/// Works what was said of the lines of a batch into them. `later` is everything else that waits in the chat, in order;
/// the lines may be among it. What speaks of other messages is left alone.
#[must_use]
pub fn close(lines: Vec<Queued>, later: &[Queued]) -> Closed {
    let mut closed = Closed::default();
    let mut items: Vec<Option<Item>> = lines.iter().map(|row| stored::read(&row.body).ok()).collect();
    let mut changed = vec![false; lines.len()];
    let mut taken_back = vec![false; lines.len()];
    let place: HashMap<EventId, usize> = lines.iter().enumerate().map(|(n, row)| (row.id, n)).collect();
    // Which line an id means: the last message that bears it, as clients count from 1 and start over. An id of a correction
    // means what was corrected.
    let mut named: HashMap<String, Option<usize>> = HashMap::new();
    let mut all: Vec<&Queued> = lines.iter().chain(later.iter().filter(|row| !place.contains_key(&row.id))).collect();
    all.sort_by_key(|row| row.id);
    for row in all {
        if let Some(n) = place.get(&row.id) {
            named.extend(names(items[*n].as_ref()).map(|id| (id, Some(*n))));
            continue;
        }
        let Ok(item) = stored::read(&row.body) else { continue };
        let meant = target(&item).and_then(|id| named.get(id).copied().flatten());
        let line = meant.and_then(|n| items[n].as_mut().map(|line| (n, line)));
        let mut changes = None;
        if let Some((n, line)) = line
            && line.speaker_is(&item)
            && change(line, &item)
        {
            if let Kind::Retract { .. } = item.kind {
                taken_back[n] = true;
                closed.retractions.push(item.clone());
            } else {
                changed[n] = true;
            }
            closed.gone.push(row.id);
            changes = Some(n);
        }
        named.extend(names(Some(&item)).map(|id| (id, changes)));
    }
    // Of the reactions to one message the last one says all.
    let mut seen = HashSet::new();
    for n in (0..items.len()).rev() {
        if let Some(Item { kind: Kind::Reaction { target, keys }, speaker: Speaker::User { id, .. }, .. }) = &items[n] {
            let last = seen.insert((id.to_string(), target.id.clone()));
            taken_back[n] |= !last || keys.is_empty();
        }
    }
    for (n, mut row) in lines.into_iter().enumerate() {
        if taken_back[n] {
            closed.gone.push(row.id);
            continue;
        }
        if let Some(item) = items[n].as_ref().filter(|_| changed[n]) {
            row.body = stored::write(item);
            closed.bodies.push((row.id, row.body.clone()));
        }
        closed.lines.push(row);
    }
    closed
}

/// Whether a row speaks of one of these waiting rows (lines and what was said of them), so that it belongs to them.
#[must_use]
pub fn belongs(row: &Item, waiting: &[Queued]) -> bool {
    let Some(id) = target(row) else { return false };
    let known: HashSet<String> = waiting
        .iter()
        .filter_map(|row| stored::read(&row.body).ok())
        .flat_map(|item| names(Some(&item)).collect::<Vec<_>>())
        .collect();
    known.contains(id)
}

/// Whether an item changes another one.
#[must_use]
pub fn is_change(item: &Item) -> bool {
    matches!(item.kind, Kind::Edit { .. } | Kind::Retract { .. })
}

/// The id of what an item changes.
fn target(item: &Item) -> Option<&str> {
    match &item.kind {
        Kind::Edit { target, .. } | Kind::Retract { target } => Some(target.id.as_ref()?.as_str()),
        _ => None,
    }
}

/// The ids by which others speak of an item.
fn names(item: Option<&Item>) -> impl Iterator<Item = String> + '_ {
    item.into_iter().flat_map(|item| {
        let origin = item.meta.origin_id.clone().filter(|_| item.meta.part == 0);
        event::own_id(&item.meta).into_iter().chain(origin)
    })
}

/// Changes a line; false where it is nothing that can be changed so.
fn change(line: &mut Item, by: &Item) -> bool {
    match (&mut line.kind, &by.kind) {
        (_, Kind::Retract { .. }) => true,
        (Kind::Text(old), Kind::Edit { new, .. }) => {
            *old = Text {
                subject: new.subject.clone().or(old.subject.take()),
                reply: new.reply.clone().or(old.reply.take()),
                thread: new.thread.clone().or(old.thread.take()),
                ..new.clone()
            };
            if let Some(id) = &by.meta.id {
                let corrections = &mut line.meta.corrections;
                corrections.push(Correction { id: id.clone(), from: by.meta.from.clone(), receipt: by.meta.receipt });
                let over = corrections.len().saturating_sub(CORRECTIONS);
                corrections.drain(..over);
            }
            true
        }
        _ => false,
    }
}

impl Item {
    /// Whether the same user speaks.
    fn speaker_is(&self, other: &Self) -> bool {
        match (&self.speaker, &other.speaker) {
            (Speaker::User { id, .. }, Speaker::User { id: other, .. }) => id == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::{Chat, ItemId, PersonId, Target, Timestamp, UserId};

    use super::*;
    use crate::route::item::Meta;

    fn item(id: &str, kind: Kind) -> Item {
        let user = UserId::parse("juliet@capulet.lit").unwrap();
        Item {
            chat: Chat::Direct { user: user.clone(), person: PersonId::new("bob", "x").unwrap() },
            speaker: Speaker::User { id: user, name: None },
            at: Timestamp(1),
            kind,
            meta: Meta { id: Some(id.into()), from: Some("juliet@capulet.lit/b".into()), ..Meta::default() },
        }
    }

    fn row(number: i64, item: &Item) -> Queued {
        Queued {
            id: EventId(number),
            chat: "c".into(),
            body: stored::write(item),
            at: Timestamp(1),
            committed: Timestamp(1),
            attempts: 0,
            next_try: Timestamp(0),
            batch: None,
            notices: 0,
        }
    }

    fn line(number: i64, id: &str, text: &str) -> Queued {
        row(number, &item(id, Kind::Text(Text::plain(text))))
    }

    fn edit(number: i64, id: &str, of: &str, text: &str) -> Queued {
        row(number, &item(id, Kind::Edit { target: Target::by_id(of), new: Text::plain(text) }))
    }

    fn retract(number: i64, of: &str) -> Queued {
        row(number, &item(&format!("r{number}"), Kind::Retract { target: Target::by_id(of) }))
    }

    fn said(closed: &Closed) -> Vec<String> {
        let text = |row: &Queued| match stored::read(&row.body).unwrap().kind {
            Kind::Text(text) => text.body,
            other => panic!("{other:?}"),
        };
        closed.lines.iter().map(text).collect()
    }

    fn gone(closed: &Closed) -> Vec<i64> {
        let mut gone: Vec<i64> = closed.gone.iter().map(|id| id.0).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn lines_are_changed_and_taken_out() {
        let lines = vec![line(1, "a", "one"), line(2, "b", "tow"), line(3, "c", "three")];
        let later = [edit(4, "d", "b", "two"), retract(5, "a"), edit(6, "e", "other", "x"), retract(7, "other")];
        let closed = close(lines, &later);
        assert_eq!((said(&closed), gone(&closed)), (vec!["two".to_owned(), "three".to_owned()], vec![1, 4, 5]));
        assert_eq!(closed.bodies.len(), 1);
        assert_eq!(closed.retractions.len(), 1);
        let corrections = stored::read(&closed.lines[0].body).unwrap().meta.corrections;
        assert_eq!(corrections.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["d"]);
    }

    #[test]
    fn a_correction_of_a_correction_and_one_of_what_is_gone() {
        let later = [edit(2, "b", "a", "x"), edit(3, "c", "b", "y"), edit(4, "d", "a", "z")];
        let closed = close(vec![line(1, "a", "w")], &later);
        assert_eq!((said(&closed), gone(&closed)), (vec!["z".to_owned()], vec![2, 3, 4]));
        let later = [retract(2, "a"), edit(3, "c", "a", "y")];
        let closed = close(vec![line(1, "a", "w")], &later);
        assert_eq!((said(&closed), gone(&closed)), (vec![], vec![1, 2, 3]));
    }

    #[test]
    fn an_id_means_the_last_message_that_bears_it() {
        let later = [line(2, "1", "another"), retract(3, "1")];
        let closed = close(vec![line(1, "1", "first")], &later);
        assert_eq!((said(&closed), gone(&closed)), (vec!["first".to_owned()], vec![]));
        let closed = close(vec![line(1, "1", "first"), line(2, "1", "another")], &later[1..]);
        assert_eq!((said(&closed), gone(&closed)), (vec!["first".to_owned()], vec![2, 3]));
    }

    #[test]
    fn of_the_reactions_to_one_message_the_last_one_counts() {
        let reaction = |number: i64, of: &str, keys: &[&str]| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            row(number, &item(&number.to_string(), Kind::Reaction { target: Target::by_id(of), keys }))
        };
        let lines = vec![
            reaction(1, "a", &["+"]),
            reaction(2, "b", &["+"]),
            reaction(3, "a", &["+", "-"]),
            reaction(4, "b", &[]),
        ];
        let closed = close(lines, &[]);
        assert_eq!(closed.lines.iter().map(|row| row.id.0).collect::<Vec<_>>(), [3]);
        assert_eq!(gone(&closed), [1, 2, 4]);
    }

    #[test]
    fn what_a_line_answers_stays() {
        let reply = Some(Target::by_id("r"));
        let text = Text { subject: Some("S".into()), reply, thread: Some(ItemId::new("t")), ..Text::plain("x") };
        let closed = close(vec![row(1, &item("a", Kind::Text(text.clone())))], &[edit(2, "b", "a", "y")]);
        let now = stored::read(&closed.lines[0].body).unwrap();
        assert_eq!(now.kind, Kind::Text(Text { body: "y".into(), ..text }));
    }

    #[test]
    fn nobody_changes_what_another_has_said() {
        let mut other = item("b", Kind::Retract { target: Target::by_id("a") });
        other.speaker = Speaker::User { id: UserId::parse("tybalt@capulet.lit").unwrap(), name: None };
        let closed = close(vec![line(1, "a", "x")], &[row(2, &other)]);
        assert_eq!((said(&closed), gone(&closed)), (vec!["x".to_owned()], vec![]));
    }
}
