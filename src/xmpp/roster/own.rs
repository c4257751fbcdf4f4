//! Pure: what a user has said on the other network themselves, as their XMPP devices see it.

use portway_bridges::api::{EventId, Kind, Sentence, Text};

use super::privilege::{Grants, in_the_user_s_name};
use crate::route::degrade::{file_as_text, within};
use crate::route::item::Item;
use crate::xmpp::file;
use crate::xmpp::stanza::OutStanza;
use crate::xmpp::to_stanza::{self, Context};

/// The stanzas of an item in a chat of two whose speaker is the user.
///
/// With the privilege of messages they are the user's own (XEP-0356), so that carbons and the archive have them. Without,
/// the contact says what was said and by whom; what would then be taken for the contact's doing (reactions, receipts,
/// typing) is left out.
#[must_use]
pub fn render(item: &Item, id: EventId, context: &Context<'_>, grants: Option<&Grants>) -> Vec<OutStanza> {
    if let Some(grants) = grants.filter(|grants| grants.message) {
        let said = matches!(
            item.kind,
            Kind::Text(_)
                | Kind::Edit { .. }
                | Kind::Reaction { .. }
                | Kind::Retract { .. }
                | Kind::File(_)
                | Kind::Location { .. }
                | Kind::Displayed { .. }
        );
        let stanzas = if said { to_stanza::direct(item, id, context) } else { Vec::new() };
        return stanzas.iter().filter_map(|stanza| in_the_user_s_name(stanza, context.domain, grants)).collect();
    }
    let lang = item.meta.lang.as_deref();
    let say = |sentence: &Sentence| context.texts.text(sentence, lang);
    let by_them = |text: Text| Text { reply: None, ..within("roster.you", text, &say) };
    let kind = match item.kind.clone() {
        Kind::Text(text) => Kind::Text(by_them(text)),
        Kind::Edit { target, new } => Kind::Edit { target, new: by_them(new) },
        Kind::File(mut file) => {
            let shown = file::shown(&file, id, item.at, context.now, context.linking);
            file.url = shown.map(|shown| shown.url);
            Kind::Text(by_them(file_as_text(*file, &say)))
        }
        Kind::Location { uri, text } => {
            let body = text.map_or_else(|| uri.clone(), |text| format!("{text}\n{uri}"));
            Kind::Text(by_them(Text::plain(body)))
        }
        retract @ Kind::Retract { .. } => retract,
        _ => return Vec::new(),
    };
    to_stanza::direct(&Item { kind, ..item.clone() }, id, context)
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::{Chat, PersonId, Target, Timestamp, UserId};

    use super::*;
    use crate::route::item::{Meta, Speaker};
    use crate::text::{Catalogue, en};
    use crate::xmpp::rich::Features;
    use crate::xmpp::stanza::Domain;
    use crate::xmpp::stream::write;

    fn rendered(kind: Kind, grants: Option<&Grants>) -> Vec<String> {
        let user = UserId::parse("juliet@capulet.lit").unwrap();
        let item = Item {
            chat: Chat::Direct { user: user.clone(), person: PersonId::new("alice", "hs").unwrap() },
            speaker: Speaker::User { id: user, name: None },
            at: Timestamp(0),
            kind,
            meta: Meta { remote_id: Some("$e".into()), ..Meta::default() },
        };
        let (domain, texts) = (Domain::new("m.capulet.lit").unwrap(), Catalogue::new(en::SENTENCES));
        let (linking, features) = (file::write::tests::linking(), Features::default());
        let context = Context { domain: &domain, texts: &texts, linking: &linking, now: Timestamp(0), features };
        let text = |stanza: &OutStanza| {
            let mut bytes = Vec::new();
            write::stanza(&mut bytes, stanza.element());
            String::from_utf8(bytes).unwrap()
        };
        render(&item, EventId(1), &context, grants).iter().map(text).collect()
    }

    fn hello() -> Kind {
        Kind::Text(Text::plain("hello"))
    }

    #[test]
    fn p4_with_the_privilege_they_are_the_user_s_own_words() {
        let ns = "urn:xmpp:privilege:2";
        let grants = Grants { message: true, ..Grants::none(ns) };
        let said = rendered(hello(), Some(&grants));
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("<message from='m.capulet.lit' id='$e' to='capulet.lit'>"), "{}", said[0]);
        assert!(said[0].contains("<body>hello</body>") && said[0].contains("from='juliet@capulet.lit'"), "{}", said[0]);
        assert!(rendered(Kind::Typing { active: true }, Some(&grants)).is_empty());
        let without = Grants { message: false, ..grants };
        assert!(rendered(hello(), Some(&without))[0].contains("<body>(you) hello</body>"));
    }

    #[test]
    fn p5_without_it_the_contact_says_who_said_it() {
        let said = rendered(hello(), None);
        assert!(said[0].contains("<body>(you) hello</body>"), "{}", said[0]);
        assert!(
            said[0].starts_with("<message from='alice%hs@m.capulet.lit/portway' id='$e' to='juliet@capulet.lit'"),
            "{said:?}"
        );
        let place = Kind::Location { uri: "geo:1,2".into(), text: None };
        assert!(rendered(place, None)[0].contains("<body>(you) geo:1,2</body>"));
        let target = || Target::by_id("$t");
        assert!(rendered(Kind::Reaction { target: target(), keys: vec!["+".into()] }, None).is_empty());
        assert!(rendered(Kind::Displayed { target: target() }, None).is_empty());
        assert!(rendered(Kind::Typing { active: true }, None).is_empty());
    }
}
