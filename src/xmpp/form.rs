//! Data forms (XEP-0004), from and to the forms of commands.

use minidom::Element;
use portway_bridges::api::Sentence;

use super::xml;
use crate::command::{Answers, FieldKind, Form};
use crate::text::Catalogue;

/// The namespace of data forms.
pub const NS: &str = "jabber:x:data";

/// How many fields are read.
const FIELDS: usize = 50;

/// How a form is said: in which words.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    /// The sentences.
    pub texts: &'a Catalogue,
    /// The language of whoever reads it.
    pub lang: Option<&'a str>,
}

impl Words<'_> {
    /// A sentence.
    #[must_use]
    pub fn say(&self, sentence: &Sentence) -> String {
        self.texts.text(sentence, self.lang)
    }
}

/// The element of a form; `form_type` is its hidden `FORM_TYPE` (XEP-0068), where it has one.
#[must_use]
pub fn element(form: &Form, fault: Option<&Sentence>, form_type: Option<&str>, words: Words<'_>) -> Element {
    let mut x = xml::element("x", NS, &[("type", "form")]);
    x.append_child(xml::text("title", NS, &words.say(&form.title)));
    for note in fault.into_iter().chain(&form.notes) {
        x.append_child(xml::text("instructions", NS, &words.say(note)));
    }
    if let Some(form_type) = form_type {
        x.append_child(hidden(form_type));
    }
    for field in &form.fields {
        let type_ = match &field.kind {
            FieldKind::Text => "text-single",
            FieldKind::Jid => "jid-single",
            FieldKind::Bool => "boolean",
            FieldKind::Choice(_) => "list-single",
        };
        let label = words.say(&field.label);
        let mut element = xml::element("field", NS, &[("type", type_), ("var", field.name), ("label", &label)]);
        if field.required {
            element.append_child(Element::bare("required", NS));
        }
        if !field.value.is_empty() || matches!(field.kind, FieldKind::Choice(_)) {
            element.append_child(xml::text("value", NS, &field.value));
        }
        if let FieldKind::Choice(values) = &field.kind {
            for (value, meaning) in values {
                let mut option = xml::element("option", NS, &[("label", &words.say(meaning))]);
                option.append_child(xml::text("value", NS, value));
                element.append_child(option);
            }
        }
        x.append_child(element);
    }
    x
}

/// What came of a command, where it is more than words: a form with each address in a field of its own, so that clients can
/// offer to open or to copy it, and the other lines as notes. Lines with a `%` are never notes, because Profanity (0.13 to
/// 0.18) takes those for a format, and ends.
#[must_use]
pub fn outcome(title: &Sentence, notes: &[Sentence], words: Words<'_>) -> (Option<Element>, Vec<String>) {
    let (mut fields, mut lines) = (Vec::new(), Vec::new());
    for note in notes {
        let arg = |name: &str| note.args.iter().find(|(arg, _)| arg == name).map(|(_, value)| value.as_str());
        let text = words.say(note);
        if let Some(jid) = arg("jid") {
            let label = match note.key.as_str() {
                "command.join" => words.say(&Sentence::new("command.label-join")),
                _ => arg("name").map_or_else(|| words.say(&Sentence::new("command.label-write")), str::to_owned),
            };
            fields.push(found("jid-single", &format!("jid{}", fields.len()), &label, [jid]));
        } else if !text.contains('%') {
            lines.push(text);
        } else if text.contains('\n') {
            fields.push(found("text-multi", &format!("text{}", fields.len()), &words.say(title), text.lines()));
        } else {
            fields.push(found("fixed", "", "", [text.as_str()]));
        }
    }
    // Words come before addresses: Converse.js 14 leaves in a first field of the same kind what the user has typed there.
    if fields.first().is_some_and(|field| field.attr("type") == Some("jid-single")) {
        fields.insert(0, found("fixed", "", "", [words.say(&Sentence::new("command.found")).as_str()]));
    }
    let x = (!fields.is_empty()).then(|| {
        let mut x = xml::element("x", NS, &[("type", "result")]);
        x.append_child(xml::text("title", NS, &words.say(title)));
        fields.into_iter().for_each(|field| {
            x.append_child(field);
        });
        x
    });
    (x, lines)
}

fn found<'a>(type_: &str, var: &str, label: &str, values: impl IntoIterator<Item = &'a str>) -> Element {
    let mut field = xml::element("field", NS, &[("type", type_)]);
    for (name, value) in [("var", var), ("label", label)].into_iter().filter(|(_, value)| !value.is_empty()) {
        xml::set(&mut field, name, value);
    }
    for value in values {
        field.append_child(xml::text("value", NS, value));
    }
    field
}

/// The hidden field that says what sort of form it is.
#[must_use]
pub fn hidden(form_type: &str) -> Element {
    let mut field = xml::element("field", NS, &[("type", "hidden"), ("var", "FORM_TYPE")]);
    field.append_child(xml::text("value", NS, form_type));
    field
}

/// What was answered in a form; `None` where it was cancelled.
#[must_use]
pub fn answers(x: &Element) -> Option<Answers> {
    if x.attr("type") == Some("cancel") {
        return None;
    }
    let fields = x.children().filter(|child| child.is("field", NS)).take(FIELDS);
    let pair = |field: &Element| {
        let value = field.get_child("value", NS).map(Element::text).unwrap_or_default();
        Some((field.attr("var")?.to_owned(), value))
    };
    Some(fields.filter_map(pair).collect())
}
