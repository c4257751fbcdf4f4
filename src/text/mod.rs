//! The catalogue of sentences that users read, keyed by language (`xml:lang`).

pub mod de;
pub mod en;

use std::collections::HashMap;

use portway_bridges::api::{Sentence, SentenceDef};

/// All sentences: the core's own and those of the networks.
#[derive(Debug, Default)]
pub struct Catalogue(HashMap<(&'static str, &'static str), &'static str>);

/// The language that every sentence exists in.
const FALLBACK: &str = "en";

impl Catalogue {
    /// The core's sentences and those of all networks that are compiled in.
    #[must_use]
    pub fn complete() -> Self {
        let networks = portway_bridges::NETWORKS.iter().flat_map(|network| network.describe().sentences);
        Self::new(en::SENTENCES.iter().chain(de::SENTENCES).chain(networks))
    }

    /// These sentences.
    pub fn new<'a>(sentences: impl IntoIterator<Item = &'a SentenceDef>) -> Self {
        Self(sentences.into_iter().map(|sentence| ((sentence.key, sentence.lang), sentence.text)).collect())
    }

    /// A sentence in a language: `de-AT`, else `de`, else English, else its key and arguments, so that nothing is
    /// silent.
    #[must_use]
    pub fn text(&self, sentence: &Sentence, lang: Option<&str>) -> String {
        match self.row(&sentence.key, lang) {
            Some((text, _)) => fill(text, &sentence.args),
            None => {
                tracing::error!(key = sentence.key.as_str(), "a sentence is missing; this is a bug");
                let args: Vec<&str> = sentence.args.iter().map(|(_, value)| value.as_str()).collect();
                format!("{} {}", sentence.key, args.join(" ")).trim_end().to_owned()
            }
        }
    }

    /// The language in which [`Catalogue::text`] says a sentence to somebody who reads `lang`: what `xml:lang` must say
    /// of it.
    #[must_use]
    pub fn language<'a>(&self, sentence: &Sentence, lang: Option<&'a str>) -> &'a str {
        self.row(&sentence.key, lang).map_or(FALLBACK, |(_, lang)| lang)
    }

    /// The languages that there are sentences in, as BCP 47 tags.
    #[must_use]
    pub fn languages(&self) -> Vec<String> {
        let tags: std::collections::BTreeSet<&str> = self.0.keys().map(|(_, lang)| *lang).collect();
        tags.into_iter().map(str::to_owned).collect()
    }

    /// The text of a key and its language, as near to `lang` as there is one.
    fn row<'a>(&self, key: &str, lang: Option<&'a str>) -> Option<(&'static str, &'a str)> {
        let mut wanted = lang.unwrap_or(FALLBACK);
        loop {
            if let Some(text) = self.find(key, wanted) {
                return Some((text, wanted));
            }
            match wanted.rsplit_once('-') {
                Some((shorter, _)) => wanted = shorter,
                None => return self.find(key, FALLBACK).map(|text| (text, FALLBACK)),
            }
        }
    }

    fn find(&self, key: &str, lang: &str) -> Option<&'static str> {
        let lang = lang.to_ascii_lowercase();
        // Few languages, so the tuple of borrowed text is looked up without allocating a key.
        self.0.get(&(key, lang.as_str()) as &(&str, &str)).copied()
    }
}

/// Fills `{placeholders}` in one pass: a value that looks like a placeholder stays as it is.
fn fill(text: &str, args: &[(String, String)]) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            filled.push('{');
            rest = behind;
            continue;
        };
        match args.iter().find(|(arg, _)| arg == name) {
            Some((_, value)) => filled.push_str(value),
            None => filled.push_str(&format!("{{{name}}}")),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_languages_fall_back() {
        let rows = [
            SentenceDef { key: "a", lang: "en", text: "hello {name}" },
            SentenceDef { key: "a", lang: "de", text: "hallo {name}" },
            SentenceDef { key: "b", lang: "en", text: "bye" },
        ];
        let catalogue = Catalogue::new(&rows);
        let a = Sentence::new("a").with("name", "{name}");
        assert_eq!(catalogue.text(&a, Some("de-AT")), "hallo {name}");
        assert_eq!(catalogue.text(&a, Some("fr")), "hello {name}");
        // What is said is labelled with the language in which it is said.
        assert_eq!(catalogue.language(&a, Some("de-AT")), "de");
        assert_eq!(catalogue.language(&a, Some("fr-CA")), "en");
        assert_eq!(catalogue.language(&a, None), "en");
        assert_eq!(catalogue.text(&Sentence::new("b"), Some("de")), "bye");
        assert_eq!(catalogue.text(&Sentence::new("c").with("x", "y"), None), "c y");
    }

    /// The placeholders of a text, each once.
    fn placeholders(text: &str) -> std::collections::BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
    }

    /// Every sentence is there in every language, and says the same in each.
    #[test]
    fn s10_every_sentence_is_in_english_and_in_german() {
        let networks = portway_bridges::NETWORKS.iter().flat_map(|network| network.describe().sentences);
        let all: Vec<&SentenceDef> = en::SENTENCES.iter().chain(de::SENTENCES).chain(networks).collect();
        let mut faults = Vec::new();
        for (n, row) in all.iter().enumerate() {
            if all[..n].iter().any(|other| (other.key, other.lang) == (row.key, row.lang)) {
                faults.push(format!("{} is there twice in {}", row.key, row.lang));
            }
            if row.text.trim().is_empty() {
                faults.push(format!("{} says nothing in {}", row.key, row.lang));
            }
            for lang in ["en", "de"] {
                match all.iter().find(|other| other.key == row.key && other.lang == lang) {
                    None => faults.push(format!("{} is missing in {lang}: {}", row.key, row.text)),
                    Some(other) if placeholders(other.text) != placeholders(row.text) => {
                        faults.push(format!("{} has other placeholders in {lang} than in {}", row.key, row.lang));
                    }
                    Some(_) => {}
                }
            }
        }
        assert!(all.len() > 100 && faults.is_empty(), "\n{}", faults.join("\n"));
    }

    #[test]
    fn s10_a_german_reader_is_told_in_german() {
        let catalogue = Catalogue::complete();
        let sentence = Sentence::new("core.prompt").with("network", "Matrix");
        assert_eq!(catalogue.text(&sentence, Some("de-AT")), "Eine Adresse auf Matrix eingeben");
        assert_eq!(
            (catalogue.language(&sentence, Some("de-AT")), catalogue.language(&sentence, Some("fr"))),
            ("de", "en")
        );
    }

    /// Every key that the source names has an English row.
    #[test]
    fn no_sentence_is_missing() {
        let catalogue = Catalogue::complete();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders = vec![root.join("src"), root.join("bridges")];
        let mut keys = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let source = std::fs::read_to_string(&path).unwrap();
                    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
                    for part in source.split("Sentence::new(\"").skip(1) {
                        keys.push(part.split('"').next().unwrap().to_owned());
                    }
                }
            }
        }
        assert!(keys.len() > 10);
        let missing: Vec<_> = keys.iter().filter(|key| catalogue.find(key, "en").is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
