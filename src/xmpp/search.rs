//! Search for people (XEP-0055 with a data form), its result in pages (XEP-0059).

use minidom::Element;
use portway_bridges::api::{Condition, Sentence, UserId};

use super::error;
use super::form::{self, Words};
use super::iq::result;
use super::stanza::{OurJid, OutStanza, Stanza};
use super::xml;
use crate::command::contact::{Found, look_for};
use crate::command::table::Call;
use crate::command::{Commander, Field, Form};

/// The namespace of search.
pub const NS: &str = "jabber:iq:search";

const RSM: &str = "http://jabber.org/protocol/rsm";

/// How many people a search finds at most.
const MOST: usize = 200;

/// How many are on a page where nothing is asked for, and at most.
const PAGE: usize = 50;

/// Answers `<query/>` of search.
pub async fn answer(
    query: &Stanza,
    us: &OurJid,
    payload: &Element,
    user: &UserId,
    commander: &Commander,
) -> Option<OutStanza> {
    let lang = query.lang.as_deref();
    let words = Words { texts: &commander.house.texts, lang };
    let refuse =
        |condition: Condition, sentence: &Sentence| error::refusal(query, us, condition, sentence, words.texts);
    let form = Form::new("command.title-search")
        .note(Sentence::new("search.instructions"))
        .field(Field::text("query", Sentence::new("command.field-query")));
    if query.type_.as_deref() == Some("get") {
        let mut answer = Element::bare("query", NS);
        answer.append_child(xml::text("instructions", NS, &words.say(&Sentence::new("search.instructions"))));
        answer.append_child(Element::bare("nick", NS));
        answer.append_child(form::element(&form, None, Some(NS), words));
        return result(query, us, Some(answer));
    }
    let typed = match payload.get_child("x", form::NS) {
        Some(x) => form::answers(x).unwrap_or_default(),
        None => payload.get_child("nick", NS).map(|nick| ("query".to_owned(), nick.text())).into_iter().collect(),
    };
    let wanted = match form.check(&typed) {
        Ok(answers) => answers.get("query").cloned().unwrap_or_default(),
        Err((_, why)) => return refuse(Condition::NotAcceptable, &why),
    };
    let call = Call {
        house: commander.house.clone(),
        user: user.clone(),
        answered: Vec::new(),
        lang: lang.map(str::to_owned),
    };
    let Ok(found) = look_for(&call, &wanted, MOST).await else {
        return refuse(Condition::InternalServerError, &Sentence::new("core.store-failed"));
    };
    let set = payload.get_child("set", RSM);
    let (start, page) = match page(&found, set) {
        Some(page) => page,
        None => return refuse(Condition::ItemNotFound, &Sentence::new("command.nobody-found")),
    };
    let mut x = xml::element("x", form::NS, &[("type", "result")]);
    x.append_child(form::hidden(NS));
    let mut reported = Element::bare("reported", form::NS);
    let columns = [
        ("jid", Sentence::new("search.field-jid"), "jid-single"),
        ("name", Sentence::new("search.field-name"), "text-single"),
        ("remote", Sentence::new("search.field-remote"), "text-single"),
    ];
    for (name, label, type_) in &columns {
        let label = words.say(label);
        reported.append_child(xml::element("field", form::NS, &[("var", name), ("label", &label), ("type", type_)]));
    }
    x.append_child(reported);
    for one in page {
        let mut item = Element::bare("item", form::NS);
        let jid = format!("{}@{}", one.localpart, us.jid().domain());
        for (name, value) in
            [("jid", jid.as_str()), ("name", one.name.as_deref().unwrap_or("")), ("remote", &one.remote)]
        {
            let mut field = xml::element("field", form::NS, &[("var", name)]);
            field.append_child(xml::text("value", form::NS, value));
            item.append_child(field);
        }
        x.append_child(item);
    }
    let mut answer = Element::bare("query", NS);
    answer.append_child(x);
    let mut rsm = Element::bare("set", RSM);
    if let (Some(first), Some(last)) = (page.first(), page.last()) {
        let mut element = xml::element("first", RSM, &[("index", &start.to_string())]);
        element.append_text(first.localpart.as_str());
        rsm.append_child(element);
        rsm.append_child(xml::text("last", RSM, &last.localpart));
    }
    rsm.append_child(xml::text("count", RSM, &found.len().to_string()));
    answer.append_child(rsm);
    result(query, us, Some(answer))
}

/// The part of a result that was asked for, and where it begins. `None` where the item to go on from is not there.
fn page<'a>(found: &'a [Found], set: Option<&Element>) -> Option<(usize, &'a [Found])> {
    let text = |name: &str| set.and_then(|set| set.get_child(name, RSM)).map(Element::text);
    let max = text("max").and_then(|max| max.trim().parse().ok()).unwrap_or(PAGE).min(PAGE);
    let at = |id: &str| found.iter().position(|one| one.localpart == id);
    let (start, end) = match (text("after"), text("before"), text("index")) {
        (Some(after), _, _) => {
            let start = at(&after)? + 1;
            (start, (start + max).min(found.len()))
        }
        (None, Some(before), _) => {
            let end = if before.is_empty() { found.len() } else { at(&before)? };
            (end.saturating_sub(max), end)
        }
        (None, None, Some(index)) => {
            let start: usize = index.trim().parse().ok().filter(|index| *index <= found.len())?;
            (start, (start.saturating_add(max)).min(found.len()))
        }
        (None, None, None) => (0, max.min(found.len())),
    };
    Some((start, &found[start..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d14_pages() {
        let found: Vec<Found> =
            (0..120).map(|n| Found { localpart: format!("p{n:03}%x"), remote: String::new(), name: None }).collect();
        let ask = |inner: &str| -> Option<(usize, usize)> {
            let set: Element = format!("<set xmlns='{RSM}'>{inner}</set>").parse().unwrap();
            page(&found, Some(&set)).map(|(start, page)| (start, page.len()))
        };
        assert_eq!(page(&found, None).map(|(start, page)| (start, page.len())), Some((0, 50)));
        assert_eq!(ask("<max>10</max>"), Some((0, 10)));
        assert_eq!(ask("<max>1000</max>"), Some((0, 50)));
        assert_eq!(ask("<max>0</max>"), Some((0, 0)));
        assert_eq!(ask("<max>50</max><after>p099%x</after>"), Some((100, 20)));
        assert_eq!(ask("<max>10</max><before/>"), Some((110, 10)));
        assert_eq!(ask("<max>10</max><before>p005%x</before>"), Some((0, 5)));
        assert_eq!(ask("<max>10</max><index>115</index>"), Some((115, 5)));
        assert_eq!(ask("<after>nobody</after>"), None);
        assert_eq!(ask("<index>121</index>"), None);
    }
}
