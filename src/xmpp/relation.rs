//! Pure: what messages say of other messages, both ways, in chats of two and in rooms alike.
//!
//! By which id a message is known is not decided here ([`crate::route::targets`]): a [`Target`] on its way out has the
//! right one.

use std::ops::Range;

use minidom::Element;
use portway_bridges::api::{ItemId, Kind, Target, Text};

use super::file::CAPTION;
use super::from_stanza::ns;
use super::stanza::{NS_CLIENT, Stanza};
use super::to_stanza::hint;
use super::xml;

/// How many reactions of one sender to one message are carried.
pub const MOST_REACTIONS: usize = 32;

/// The longest reaction in bytes.
pub const LONGEST_REACTION: usize = 256;

/// The payloads by which an event speaks of another one, if it does and the other one is known. `to`: who said the other
/// one, for an answer.
#[must_use]
pub fn payloads(kind: &Kind, to: Option<&str>) -> Vec<Element> {
    match kind {
        Kind::Text(Text { reply: Some(target), .. }) => reply(target, to).into_iter().collect(),
        Kind::File(file) => file.reply.iter().filter_map(|target| reply(target, to)).collect(),
        // The words that go with a file change; the file stays.
        Kind::Edit { target: target @ Target { caption: true, .. }, .. } => match caption(target) {
            Some(caption) => vec![replace(caption)],
            None => reply(target, to).into_iter().collect(),
        },
        Kind::Edit { target: Target { id: Some(id), .. }, .. } => vec![replace(id.as_str())],
        Kind::Reaction { target: Target { id: Some(id), .. }, keys } => {
            let mut reactions = xml::element("reactions", ns::REACTIONS, &[("id", id.as_str())]);
            for key in keys {
                reactions.append_child(xml::text("reaction", ns::REACTIONS, key));
            }
            vec![reactions, hint("store")]
        }
        Kind::Retract { target: Target { id: Some(id), .. } } => retract(id.as_str()),
        Kind::Displayed { target: Target { id: Some(id), .. } } => {
            vec![xml::element("displayed", ns::MARKERS, &[("id", id.as_str())]), hint("store")]
        }
        _ => Vec::new(),
    }
}

/// The id of the message that holds the caption of a file, where there is one.
#[must_use]
pub fn caption(target: &Target) -> Option<&str> {
    let caption = format!("{}{CAPTION}", target.id.as_ref()?);
    target.parts.iter().map(ItemId::as_str).find(|part| *part == caption)
}

/// That a message replaces another one (XEP-0308).
#[must_use]
pub fn replace(id: &str) -> Element {
    xml::element("replace", ns::CORRECT, &[("id", id)])
}

/// That a message takes another one back (XEP-0424); its body is for whoever does not know that.
#[must_use]
pub fn retract(id: &str) -> Vec<Element> {
    vec![
        xml::element("retract", ns::RETRACT_1, &[("id", id)]),
        xml::element("fallback", ns::FALLBACK, &[("for", ns::RETRACT_1)]),
        hint("store"),
    ]
}

/// That a message answers another one (XEP-0461); `to` is who said that one.
#[must_use]
pub fn reply(target: &Target, to: Option<&str>) -> Option<Element> {
    let mut reply = xml::element("reply", ns::REPLY, &[("id", target.id.as_ref()?.as_str())]);
    if let Some(to) = to {
        xml::set(&mut reply, "to", to);
    }
    Some(reply)
}

/// What stands in front of an answer for whoever does not know answers: the quoted lines, and the element that says which
/// code points they are (XEP-0461, section 3.1; XEP-0428). Where the message is not known nobody could show it, and the
/// quote is text like any other. Whatever counts code points of the body counts these too.
#[must_use]
pub fn quote(target: &Target) -> Option<(String, Option<Element>)> {
    let mut quoted = String::new();
    for line in target.quote.as_deref()?.lines() {
        quoted.push_str("> ");
        quoted.push_str(line);
        quoted.push('\n');
    }
    let end = quoted.chars().count().to_string();
    let mut fallback = xml::element("fallback", ns::FALLBACK, &[("for", ns::REPLY)]);
    fallback.append_child(xml::element("body", ns::FALLBACK, &[("start", "0"), ("end", &end)]));
    (!quoted.is_empty()).then_some((quoted, target.id.is_some().then_some(fallback)))
}

/// What of the body of an answer is a quote for clients without XEP-0461, in code points.
#[must_use]
pub fn quoted(stanza: &Stanza, body: &str) -> Vec<Range<usize>> {
    let ranges = fallbacks(stanza, &[ns::REPLY]);
    let mut chars = body.chars().enumerate();
    let said = chars.any(|(n, c)| !c.is_whitespace() && !ranges.iter().any(|range| range.contains(&n)));
    // A fallback that covers everything would leave silence.
    if said { ranges } else { Vec::new() }
}

/// The body without what is there for clients that lack one of these features.
#[must_use]
pub fn without_fallback(stanza: &Stanza, body: &str, features: &[&str]) -> String {
    let ranges = fallbacks(stanza, features);
    body.chars().enumerate().filter(|(n, _)| !ranges.iter().any(|range| range.contains(n))).map(|(_, c)| c).collect()
}

/// What of the body is there for clients that lack one of these features. Offsets are counted in code points (XEP-0428);
/// without offsets it is the whole body, but for an answer, which would say nothing then.
fn fallbacks(stanza: &Stanza, features: &[&str]) -> Vec<Range<usize>> {
    let fallbacks = stanza.element.children().filter(|child| {
        child.is("fallback", ns::FALLBACK) && child.attr("for").is_some_and(|feature| features.contains(&feature))
    });
    let mut ranges = Vec::new();
    for fallback in fallbacks.take(20) {
        let Some(range) = fallback.get_child("body", ns::FALLBACK) else {
            if fallback.attr("for") != Some(ns::REPLY) {
                ranges.push(0..usize::MAX);
            }
            continue;
        };
        let number = |name: &str| range.attr(name).and_then(|text| text.parse::<usize>().ok());
        match (number("start"), number("end")) {
            (Some(start), Some(end)) => ranges.push(start..end),
            (None, None) if fallback.attr("for") != Some(ns::REPLY) => ranges.push(0..usize::MAX),
            _ => {}
        }
    }
    ranges
}

/// Reads a target.
#[must_use]
pub fn target(id: Option<&str>) -> Option<Target> {
    id.filter(|id| !id.is_empty()).map(Target::by_id)
}

/// What a message says of another one, where that is all it says. An error says that there is more of it than is carried.
///
/// # Errors
/// Too many reactions, or too long ones.
pub fn read(stanza: &Stanza) -> Result<Option<Kind>, TooMuch> {
    if let Some(reactions) = stanza.child("reactions", ns::REACTIONS) {
        let Some(target) = target(reactions.attr("id")) else { return Ok(None) };
        let mut keys: Vec<String> = Vec::new();
        for key in reactions.children().filter(|child| child.is("reaction", ns::REACTIONS)).map(Element::text) {
            let key = key.trim();
            if key.len() > LONGEST_REACTION || keys.len() >= MOST_REACTIONS {
                return Err(TooMuch);
            }
            if !key.is_empty() && !keys.iter().any(|known| known == key) {
                keys.push(key.to_owned());
            }
        }
        return Ok(Some(Kind::Reaction { target, keys }));
    }
    if let Some(retract) = stanza.child("retract", ns::RETRACT_1) {
        return Ok(target(retract.attr("id")).map(|target| Kind::Retract { target }));
    }
    if let Some(apply) = stanza.child("apply-to", ns::FASTEN)
        && apply.has_child("retract", ns::RETRACT_0)
    {
        return Ok(target(apply.attr("id")).map(|target| Kind::Retract { target }));
    }
    if let Some(displayed) = stanza.child("displayed", ns::MARKERS)
        && stanza.child("body", NS_CLIENT).is_none()
    {
        return Ok(target(displayed.attr("id")).map(|target| Kind::Displayed { target }));
    }
    Ok(None)
}

/// More than is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(children: Vec<Element>) -> Stanza {
        let mut element = Element::bare("message", NS_CLIENT);
        for child in children {
            element.append_child(child);
        }
        Stanza::from_element(element).unwrap()
    }

    /// The body without its quote.
    fn without_quote(stanza: &Stanza, body: &str) -> String {
        let cut = quoted(stanza, body);
        let kept = body.chars().enumerate().filter(|(n, _)| !cut.iter().any(|range| range.contains(n)));
        kept.map(|(_, c)| c).collect()
    }

    fn elements(kind: &Kind) -> Vec<String> {
        payloads(kind, Some("a@b")).iter().map(String::from).collect()
    }

    #[test]
    fn what_each_relation_looks_like() {
        let target = || Target::by_id("x");
        let keys = vec!["👍".to_owned(), "🎉".to_owned()];
        for (kind, expected) in [
            (
                Kind::Text(Text { reply: Some(target()), ..Text::plain("yes") }),
                vec!["<reply xmlns='urn:xmpp:reply:0' id='x' to='a@b'/>"],
            ),
            (
                Kind::Edit { target: target(), new: Text::plain("new") },
                vec!["<replace xmlns='urn:xmpp:message-correct:0' id='x'/>"],
            ),
            (
                Kind::Edit { target: Target { caption: true, ..target() }, new: Text::plain("new") },
                vec!["<reply xmlns='urn:xmpp:reply:0' id='x' to='a@b'/>"],
            ),
            (
                Kind::Edit {
                    target: Target { caption: true, parts: vec![ItemId::new("x-caption")], ..target() },
                    new: Text::plain("new"),
                },
                vec!["<replace xmlns='urn:xmpp:message-correct:0' id='x-caption'/>"],
            ),
            (
                Kind::Reaction { target: target(), keys },
                vec![
                    "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>👍</reaction><reaction>🎉</reaction></reactions>",
                    "<store xmlns='urn:xmpp:hints'/>",
                ],
            ),
            (
                Kind::Retract { target: target() },
                vec![
                    "<retract xmlns='urn:xmpp:message-retract:1' id='x'/>",
                    "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>",
                    "<store xmlns='urn:xmpp:hints'/>",
                ],
            ),
            (
                Kind::Displayed { target: target() },
                vec!["<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>", "<store xmlns='urn:xmpp:hints'/>"],
            ),
            (Kind::Text(Text::plain("hi")), vec![]),
            (Kind::Retract { target: Target::default() }, vec![]),
        ] {
            assert_eq!(elements(&kind), expected);
        }
    }

    /// What is written is read as what it was.
    #[test]
    fn what_is_nothing_but_a_relation_comes_back() {
        let target = || Target::by_id("x");
        for kind in [
            Kind::Reaction { target: target(), keys: vec!["👍".to_owned()] },
            Kind::Reaction { target: target(), keys: Vec::new() },
            Kind::Retract { target: target() },
            Kind::Displayed { target: target() },
        ] {
            assert_eq!(read(&message(payloads(&kind, None))), Ok(Some(kind)));
        }
        // A mark with a message is no mark; one without an id is nothing.
        let mark = xml::element("displayed", ns::MARKERS, &[("id", "x")]);
        assert_eq!(read(&message(vec![mark, xml::text("body", NS_CLIENT, "hi")])), Ok(None));
        assert_eq!(read(&message(vec![Element::bare("displayed", ns::MARKERS)])), Ok(None));
    }

    #[test]
    fn ranges_that_cannot_be_take_nothing_that_is_there() {
        let range = |start: &str, end: &str| {
            let mut fallback = xml::element("fallback", ns::FALLBACK, &[("for", ns::REPLY)]);
            fallback.append_child(xml::element("body", ns::FALLBACK, &[("start", start), ("end", end)]));
            fallback
        };
        for (start, end, expected) in [
            ("0", "2", "xt"),
            ("4", "2", "text"),
            ("2", "99999999999999999999", "text"),
            ("2", "4000000000", "te"),
            ("-1", "2", "text"),
            ("", "", "text"),
            ("0", "4", "text"),
        ] {
            assert_eq!(without_quote(&message(vec![range(start, end)]), "text"), expected, "{start} {end}");
        }
        let other = xml::element("fallback", ns::FALLBACK, &[("for", "urn:other")]);
        assert_eq!(without_quote(&message(vec![other]), "text"), "text");
    }

    proptest! {
        /// Whatever is quoted, and whatever is answered, a reader of XEP-0428 is left with the answer alone.
        #[test]
        fn a_quote_is_taken_off_exactly_once(said in "(\\PC|\n){0,80}", answer in "(\\PC|\n|> ){1,40}") {
            let target = Target { quote: Target::quote(&said), ..Target::by_id("x") };
            prop_assume!(!answer.trim().is_empty());
            let Some((quoted, fallback)) = quote(&target) else { return Ok(()) };
            prop_assert!(quoted.lines().all(|line| line.starts_with("> ")));
            prop_assert!(quoted.lines().count() <= Target::QUOTED_LINES);
            let body = format!("{quoted}{answer}");
            prop_assert_eq!(without_quote(&message(fallback.into_iter().collect()), &body), answer);
        }
    }
}
