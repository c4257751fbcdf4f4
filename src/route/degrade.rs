//! What a side cannot carry becomes what it can, once, and never silence.

use portway_bridges::api::rich::Node;
use portway_bridges::api::{Capabilities, File, Kind, Rich, Sentence, Style, Text};

/// What was put into words because the other side has no form for it; the name is a label of the loss metric.
pub type Loss = &'static str;

/// What is to be delivered, if anything, and what was lost on the way.
///
/// `say` renders a sentence of the catalogue in the language of the one who will read it. `None` means that the event
/// carries no content of its own (a receipt, a marker) and the network has no form for it.
pub fn degrade(kind: Kind, can: &Capabilities, say: &dyn Fn(&Sentence) -> String) -> (Option<Kind>, Option<Loss>) {
    match kind {
        Kind::Edit { target, new } if can.edit && target.id.is_some() => {
            (Some(Kind::Edit { target, new: formatted(new, can) }), None)
        }
        Kind::Edit { target, new } => {
            // Letters say it in words; in chat a star does.
            let key = if can.subject { "core.corrected" } else { "core.edited" };
            let body = say(&Sentence::new(key).with("text", new.body.clone()));
            // It belongs to what it corrects.
            let reply = new.reply.clone().or(Some(target)).filter(|target| can.reply && target.id.is_some());
            (Some(Kind::Text(Text { body, rich: None, reply, ..new })), Some("edit"))
        }
        Kind::Reaction { target, keys } if can.reaction && target.id.is_some() => {
            (Some(Kind::Reaction { target, keys }), None)
        }
        Kind::Reaction { keys, .. } if keys.is_empty() => (None, Some("reaction")),
        Kind::Reaction { keys, target } => {
            let body = say(&Sentence::new("core.reacted").with("keys", keys.join(" ")));
            let reply = Some(target).filter(|target| can.reply && target.id.is_some());
            (Some(Kind::Text(Text { body, style: Style::Notice, reply, ..Text::default() })), Some("reaction"))
        }
        Kind::Retract { target } if can.retract && target.id.is_some() => (Some(Kind::Retract { target }), None),
        Kind::Moderate { target, reason } if can.retract && target.id.is_some() => {
            (Some(Kind::Moderate { target, reason }), None)
        }
        Kind::Retract { .. } | Kind::Moderate { .. } => {
            (Some(notice(say(&Sentence::new("core.retracted")))), Some("retraction"))
        }
        Kind::File(mut file) if can.file => {
            file.caption = file.caption.map(|caption| formatted(caption, can));
            (Some(Kind::File(file)), None)
        }
        Kind::File(file) => (Some(Kind::Text(file_as_text(*file, say))), Some("file")),
        Kind::Location { uri, text } if can.location => (Some(Kind::Location { uri, text }), None),
        Kind::Location { uri, text } => {
            let body = text.map_or_else(|| uri.clone(), |text| format!("{text}\n{uri}"));
            (Some(Kind::Text(Text::plain(body))), None)
        }
        Kind::Text(mut text) => {
            let lost = text.reply.take_if(|_| !can.reply).map(|_| "reply");
            (Some(Kind::Text(formatted(text, can))), lost)
        }
        Kind::Encrypted { scheme } => {
            (Some(notice(say(&Sentence::new("core.encrypted").with("scheme", scheme)))), Some("encrypted"))
        }
        Kind::Displayed { target } if can.displayed && target.id.is_some() => (Some(Kind::Displayed { target }), None),
        Kind::Delivered { .. } | Kind::Displayed { .. } | Kind::Typing { .. } | Kind::Presence { .. } => (None, None),
        other @ (Kind::Membership(_)
        | Kind::Role { .. }
        | Kind::Topic(_)
        | Kind::Name(_)
        | Kind::Avatar(_)
        | Kind::Profile { .. }
        | Kind::RoomGone { .. }
        | Kind::Failed(_)) => (Some(other), None),
    }
}

/// A text with what is formatted in it, where that can be carried. The body says the same with signs.
fn formatted(text: Text, can: &Capabilities) -> Text {
    Text { rich: text.rich.filter(|_| can.rich), ..text }
}

/// A sentence of the catalogue around a text, of which nothing is lost that is formatted. The sentence holds it as `{text}`.
pub fn within(key: &'static str, text: Text, say: &dyn Fn(&Sentence) -> String) -> Text {
    let Some(rich) = text.rich else {
        let body = say(&Sentence::new(key).with("text", text.body));
        return Text { body, rich: None, ..text };
    };
    // A character that no text can hold in its place.
    const HERE: &str = "\0";
    let words = say(&Sentence::new(key).with("text", HERE));
    let (before, after) = words.split_once(HERE).unwrap_or((&words, ""));
    let mut nodes = vec![Node::Text(before.to_owned())];
    nodes.extend(rich.into_nodes());
    nodes.push(Node::Text(after.to_owned()));
    let rich = Rich::new(nodes);
    Text { body: rich.as_ref().map(Rich::text).unwrap_or_default(), rich, ..text }
}

/// A file as text that names it, with its link where there is one.
pub fn file_as_text(file: File, say: &dyn Fn(&Sentence) -> String) -> Text {
    let about = file.about();
    let key = if about.is_empty() { "core.file" } else { "core.file-about" };
    let mut body = say(&Sentence::new(key).with("name", file.name).with("about", about));
    if let Some(url) = file.url {
        body.push('\n');
        body.push_str(&url);
    }
    match file.caption {
        Some(caption) => Text { body: format!("{body}\n{}", caption.body), rich: None, ..caption },
        None => Text::plain(body),
    }
}

fn notice(body: String) -> Kind {
    Kind::Text(Text { body, style: Style::Notice, ..Text::default() })
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::Target;
    use portway_bridges::api::rich::Mark;

    use super::*;

    fn say(sentence: &Sentence) -> String {
        let args: Vec<String> = sentence.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("<{} {}>", sentence.key, args.join(" "))
    }

    #[test]
    fn plain_networks_get_words_for_each_kind_with_content() {
        let target = Target::by_id("x");
        let plain = Capabilities::default();
        for (kind, body, loss) in [
            (Kind::Edit { target: target.clone(), new: Text::plain("new") }, "<core.edited text=new>", Some("edit")),
            (
                Kind::Reaction { target: target.clone(), keys: vec!["+".into()] },
                "<core.reacted keys=+>",
                Some("reaction"),
            ),
            (Kind::Retract { target }, "<core.retracted >", Some("retraction")),
            (
                Kind::File(Box::new(File {
                    name: "a.png".into(),
                    media_type: Some("image/png".into()),
                    size: Some(3_500_000),
                    url: Some("https://x/a".into()),
                    caption: Some(Text::plain("look")),
                    ..File::default()
                })),
                "<core.file-about name=a.png about=image/png, 3.3 MiB>\nhttps://x/a\nlook",
                Some("file"),
            ),
            (Kind::Location { uri: "geo:1,2".into(), text: None }, "geo:1,2", None),
            (Kind::Encrypted { scheme: "OMEMO".into() }, "<core.encrypted scheme=OMEMO>", Some("encrypted")),
        ] {
            let (Some(Kind::Text(text)), lost) = degrade(kind, &plain, &say) else { panic!("no text") };
            assert_eq!((text.body.as_str(), lost), (body, loss));
        }
    }

    #[test]
    fn what_can_be_carried_stays() {
        let can = Capabilities {
            edit: true,
            reply: true,
            reaction: true,
            retract: true,
            file: true,
            ..Capabilities::default()
        };
        let kind = Kind::Edit { target: Target::by_id("x"), new: Text::plain("new") };
        assert_eq!(degrade(kind.clone(), &can, &say), (Some(kind), None));
    }

    #[test]
    fn formats_are_dropped_where_there_are_none_and_their_signs_stay() {
        let rich = || Rich::new(vec![Node::Part(Mark::Strong, vec![Node::Text("a".into())])]);
        let text = |rich| Text { rich, ..Text::plain("*a*") };
        let kinds = |rich: &dyn Fn() -> Option<Rich>| {
            let caption = Some(text(rich()));
            [
                Kind::Text(text(rich())),
                Kind::Edit { target: Target::by_id("x"), new: text(rich()) },
                Kind::File(Box::new(File { caption, ..File::default() })),
            ]
        };
        let can = |rich| Capabilities { edit: true, file: true, rich, ..Capabilities::default() };
        for (kind, plain) in kinds(&rich).into_iter().zip(kinds(&|| None)) {
            assert_eq!(degrade(kind.clone(), &can(true), &say), (Some(kind.clone()), None));
            assert_eq!(degrade(kind, &can(false), &say), (Some(plain), None));
        }
    }

    #[test]
    fn words_around_a_text_leave_it_as_it_is() {
        let rich = Rich::new(vec![Node::Part(Mark::Strong, vec![Node::Text("a".into())])]);
        let around = within("core.edited", Text { rich, ..Text::plain("*a*") }, &say);
        assert_eq!(around.body, "<core.edited text=*a*>");
        assert_eq!(around.rich.map(|rich| rich.nodes().len()), Some(3));
        assert_eq!(within("core.edited", Text::plain("a"), &say), Text::plain("<core.edited text=a>"));
    }

    #[test]
    fn an_edit_of_a_message_that_is_not_known_there_is_said_anew() {
        let can = Capabilities { edit: true, ..Capabilities::default() };
        let kind = Kind::Edit { target: Target::default(), new: Text::plain("new") };
        assert!(matches!(degrade(kind, &can, &say), (Some(Kind::Text(_)), Some("edit"))));
    }

    /// What becomes of an event: `carried`, `words` (with the name of what was lost), or `nothing`.
    fn fate(kind: &Kind, can: &Capabilities) -> String {
        let (out, loss) = degrade(kind.clone(), can, &say);
        let how = match &out {
            None => "nothing",
            Some(out) if std::mem::discriminant(out) == std::mem::discriminant(kind) => "carried",
            Some(Kind::Text(text)) if !text.body.is_empty() => "words",
            Some(other) => panic!("{kind:?} became {other:?}"),
        };
        loss.map_or_else(|| how.to_owned(), |loss| format!("{how}: {loss}"))
    }

    /// Every sort of event, with a message of the other side that is known there, and with one that is not.
    fn kinds() -> Vec<(&'static str, Kind)> {
        let (known, unknown) = (Target::by_id("x"), Target::default());
        let keys = || vec!["+".to_owned()];
        let answer = Kind::Text(Text { reply: Some(known.clone()), ..Text::plain("yes") });
        let file = File { name: "a.png".into(), url: Some("https://x/a".into()), ..File::default() };
        vec![
            ("text", Kind::Text(Text::plain("hi"))),
            ("answer", answer),
            ("edit", Kind::Edit { target: known.clone(), new: Text::plain("new") }),
            ("edit of the unknown", Kind::Edit { target: unknown.clone(), new: Text::plain("new") }),
            ("reaction", Kind::Reaction { target: known.clone(), keys: keys() }),
            ("reaction to the unknown", Kind::Reaction { target: unknown.clone(), keys: keys() }),
            ("reactions taken back", Kind::Reaction { target: known.clone(), keys: Vec::new() }),
            ("retraction", Kind::Retract { target: known.clone() }),
            ("retraction of the unknown", Kind::Retract { target: unknown.clone() }),
            ("moderation", Kind::Moderate { target: known.clone(), reason: None }),
            ("file", Kind::File(Box::new(file))),
            ("place", Kind::Location { uri: "geo:1,2".into(), text: None }),
            ("encrypted", Kind::Encrypted { scheme: "OMEMO".into() }),
            ("mark of reading", Kind::Displayed { target: known.clone() }),
            ("mark on the unknown", Kind::Displayed { target: unknown }),
            ("receipt", Kind::Delivered { target: known }),
            ("writing", Kind::Typing { active: true }),
            ("presence", Kind::Presence { available: true, status: None }),
        ]
    }

    /// What each network makes of each sort of event. A mark, a receipt and writing say nothing by themselves; everything else
    /// is carried or becomes words.
    #[test]
    fn the_fate_of_every_kind_on_every_network() {
        // Writing travels beside the queue, not through it. By mail reactions go to those who have sent one, and a retraction
        // is refused before it comes here.
        let table = [
            ("text", ["carried", "carried", "carried"]),
            ("answer", ["carried", "carried", "carried"]),
            ("edit", ["words: edit", "carried", "carried"]),
            ("edit of the unknown", ["words: edit", "words: edit", "words: edit"]),
            ("reaction", ["words: reaction", "carried", "carried"]),
            ("reaction to the unknown", ["words: reaction", "words: reaction", "words: reaction"]),
            ("reactions taken back", ["nothing: reaction", "carried", "carried"]),
            ("retraction", ["words: retraction", "carried", "carried"]),
            ("retraction of the unknown", ["words: retraction", "words: retraction", "words: retraction"]),
            ("moderation", ["words: retraction", "carried", "carried"]),
            ("file", ["carried", "words: file", "carried"]),
            ("place", ["words", "words", "carried"]),
            ("encrypted", ["words: encrypted", "words: encrypted", "words: encrypted"]),
            ("mark of reading", ["nothing", "carried", "carried"]),
            ("mark on the unknown", ["nothing", "nothing", "nothing"]),
            ("receipt", ["nothing", "nothing", "nothing"]),
            ("writing", ["nothing", "nothing", "nothing"]),
            ("presence", ["nothing", "nothing", "nothing"]),
        ];
        let networks = ["email", "loopback", "matrix"].map(|id| {
            let network = portway_bridges::NETWORKS.iter().find(|network| network.describe().id == id).unwrap();
            let raw = toml::from_str(network.describe().config_example).unwrap();
            network.configure(raw).unwrap().capabilities(None)
        });
        assert_eq!(networks.len(), portway_bridges::NETWORKS.len(), "a network is missing in the table");
        let kinds = kinds();
        assert_eq!(kinds.len(), table.len());
        for ((name, kind), (row, expected)) in kinds.iter().zip(table) {
            let fates = networks.each_ref().map(|can| fate(kind, can));
            assert_eq!((*name, fates.each_ref().map(String::as_str)), (row, expected));
        }
        // And one that can do nothing but text.
        let plain = Capabilities::default();
        for (name, kind) in &kinds {
            let says_nothing = matches!(
                kind,
                Kind::Displayed { .. } | Kind::Delivered { .. } | Kind::Typing { .. } | Kind::Presence { .. }
            );
            let fate = fate(kind, &plain);
            assert_eq!(fate == "nothing", says_nothing, "{name}: {fate}");
        }
        assert_eq!(fate(&kinds[1].1, &plain), "carried: reply");
    }
}
