//! Forms as every front door shows them: typed fields and notes, in sentences of the catalogue.

use std::collections::BTreeMap;

use portway_bridges::api::Sentence;

/// What was answered: the values by the names of the fields.
pub type Answers = BTreeMap<String, String>;

/// The longest answer in bytes.
const LONGEST: usize = 2048;

/// What a field takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// A line of text.
    Text,
    /// A bare JID.
    Jid,
    /// Yes or no, as `1` and `0`.
    Bool,
    /// One of these values, each with what it means.
    Choice(Vec<(String, Sentence)>),
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in answers.
    pub name: &'static str,
    /// What is asked.
    pub label: Sentence,
    /// What it takes.
    pub kind: FieldKind,
    /// What it holds before anything is answered.
    pub value: String,
    /// Whether it must be answered.
    pub required: bool,
}

impl Field {
    /// A line of text that must be there.
    #[must_use]
    pub fn text(name: &'static str, label: Sentence) -> Self {
        Self { name, label, kind: FieldKind::Text, value: String::new(), required: true }
    }

    /// The bare JID of a user.
    #[must_use]
    pub fn jid(name: &'static str, label: Sentence) -> Self {
        Self { kind: FieldKind::Jid, ..Self::text(name, label) }
    }

    /// Yes or no.
    #[must_use]
    pub fn bool(name: &'static str, label: Sentence, value: bool) -> Self {
        Self { kind: FieldKind::Bool, value: u8::from(value).to_string(), ..Self::text(name, label) }
    }

    /// One of several values, the first of which is chosen before anything is answered.
    #[must_use]
    pub fn choice(name: &'static str, label: Sentence, values: Vec<(String, Sentence)>) -> Self {
        let value = values.first().map(|(value, _)| value.clone()).unwrap_or_default();
        Self { kind: FieldKind::Choice(values), value, ..Self::text(name, label) }
    }

    /// The same field, which holds this already.
    #[must_use]
    pub fn with(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    /// The same field, which may stay empty.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// The value of an answer.
    ///
    /// # Errors
    /// What is wrong with it, for whoever answered.
    pub fn check(&self, given: &str) -> Result<String, Sentence> {
        let given = given.trim();
        if given.is_empty() {
            return match self.required {
                true => Err(Sentence::new("command.field-missing")),
                false => Ok(String::new()),
            };
        }
        if given.len() > LONGEST {
            return Err(Sentence::new("command.field-long"));
        }
        match &self.kind {
            FieldKind::Text => Ok(given.to_owned()),
            FieldKind::Jid => match crate::xmpp::jid::Jid::parse(given) {
                Ok(jid) if jid.node().is_some() => Ok(jid.bare_str().to_owned()),
                _ => Err(Sentence::new("command.field-jid")),
            },
            FieldKind::Bool => match given {
                "1" | "true" => Ok("1".to_owned()),
                "0" | "false" => Ok("0".to_owned()),
                _ => Err(Sentence::new("command.field-bool")),
            },
            FieldKind::Choice(values) => match values.iter().any(|(value, _)| value == given) {
                true => Ok(given.to_owned()),
                false => Err(Sentence::new("command.field-choice")),
            },
        }
    }
}

/// A form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// What it is about.
    pub title: Sentence,
    /// What to know before it is answered.
    pub notes: Vec<Sentence>,
    /// The fields.
    pub fields: Vec<Field>,
    /// Whether something happens when it is answered; otherwise another form follows.
    pub last: bool,
}

impl Form {
    /// The last form of a command.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: Sentence::new(title), notes: Vec::new(), fields: Vec::new(), last: true }
    }

    /// With one more note.
    #[must_use]
    pub fn note(mut self, note: Sentence) -> Self {
        self.notes.push(note);
        self
    }

    /// With one more field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// The same form, which another one follows.
    #[must_use]
    pub fn more(mut self) -> Self {
        self.last = false;
        self
    }

    /// Takes what was answered: fields that were left out keep what they hold, unknown ones are passed over.
    ///
    /// # Errors
    /// The first field that is wrong, by its label, and why.
    pub fn check(&self, given: &Answers) -> Result<Answers, (Sentence, Sentence)> {
        let mut answers = Answers::new();
        for field in &self.fields {
            let value = given.get(field.name).unwrap_or(&field.value);
            let value = field.check(value).map_err(|why| (field.label.clone(), why))?;
            answers.insert(field.name.to_owned(), value);
        }
        Ok(answers)
    }

    /// The same form, filled in with these answers.
    #[must_use]
    pub fn filled(mut self, answers: &Answers) -> Self {
        for field in &mut self.fields {
            if let Some(value) = answers.get(field.name) {
                field.value.clone_from(value);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked_field_by_field() {
        let label = || Sentence::new("x");
        let choice = vec![("a".to_owned(), label()), ("b".to_owned(), label())];
        let form = Form::new("t")
            .field(Field::text("text", label()))
            .field(Field::jid("jid", label()).optional())
            .field(Field::bool("bool", label(), true))
            .field(Field::choice("choice", label(), choice));
        let answers = |pairs: &[(&str, &str)]| -> Answers {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let taken = form.check(&answers(&[("text", " hi "), ("jid", "A@b/c"), ("other", "x")])).unwrap();
        assert_eq!(taken, answers(&[("text", "hi"), ("jid", "a@b"), ("bool", "1"), ("choice", "a")]));
        for (bad, why) in [
            (answers(&[]), "command.field-missing"),
            (answers(&[("text", &"x".repeat(LONGEST + 1))]), "command.field-long"),
            (answers(&[("text", "x"), ("jid", "b")]), "command.field-jid"),
            (answers(&[("text", "x"), ("bool", "maybe")]), "command.field-bool"),
            (answers(&[("text", "x"), ("choice", "c")]), "command.field-choice"),
        ] {
            assert_eq!(form.check(&bad).unwrap_err().1.key, why);
        }
    }
}
