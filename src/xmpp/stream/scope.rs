//! Which namespace a name is in (Namespaces in XML 1.0), for the few levels that a stanza may have.

use std::collections::BTreeSet;

use rxml::{AttrMap, Namespace, NcName};

/// A name as it is written: prefix and local part.
type QName = (Option<NcName>, NcName);

/// The namespace declarations in force, outermost level (the stream) first.
///
/// One value per level and per declaration of the stanza that is being read, nothing of earlier ones: what a stranger
/// declares is forgotten with his stanza.
#[derive(Default)]
pub struct Scopes {
    levels: Vec<Level>,
    /// Prefixes in force, the innermost last.
    prefixes: Vec<(NcName, Namespace<'static>)>,
}

struct Level {
    /// The default namespace in this level, declared here or inherited.
    default: Namespace<'static>,
    /// How many prefixes are in force outside.
    outside: usize,
}

impl Scopes {
    /// Enters an element: reads its declarations and resolves its name and its attributes.
    ///
    /// `None` where a prefix is not declared or an attribute comes twice; no level is entered then.
    pub fn open(
        &mut self,
        (prefix, name): QName,
        attributes: Vec<(QName, String)>,
    ) -> Option<(Namespace<'static>, NcName, AttrMap)> {
        let outside = self.prefixes.len();
        let result = self.resolve(prefix.as_ref(), attributes);
        match result {
            Some((default, ns, attributes)) => {
                self.levels.push(Level { default, outside });
                Some((ns, name, attributes))
            }
            None => {
                self.prefixes.truncate(outside);
                None
            }
        }
    }

    /// Leaves the innermost element.
    pub fn close(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.prefixes.truncate(level.outside);
        }
    }

    /// Leaves all elements but the stream.
    pub fn close_to_stream(&mut self) {
        if let Some(level) = self.levels.get(1) {
            self.prefixes.truncate(level.outside);
            self.levels.truncate(1);
        }
    }

    /// How many prefixes are in force: each costs a comparison for each prefixed name.
    pub fn declared(&self) -> usize {
        self.prefixes.len()
    }

    fn resolve(
        &mut self,
        prefix: Option<&NcName>,
        attributes: Vec<(QName, String)>,
    ) -> Option<(Namespace<'static>, Namespace<'static>, AttrMap)> {
        let mut default = self.levels.last().map_or(Namespace::NONE, |level| level.default.clone());
        let mut declared = BTreeSet::new();
        let mut plain = Vec::with_capacity(attributes.len());
        let mut own_default = false;
        // Declarations hold for the whole tag, also for what stands before them.
        for ((prefix, name), value) in attributes {
            match prefix.as_ref().map(NcName::as_str) {
                Some("xmlns") => {
                    if !declared.insert(name.clone()) {
                        return None;
                    }
                    self.prefixes.push((name, Namespace::from(value)));
                }
                None if name.as_str() == "xmlns" => {
                    if std::mem::replace(&mut own_default, true) {
                        return None;
                    }
                    default = Namespace::from(value);
                }
                _ => plain.push((prefix, name, value)),
            }
        }
        let mut resolved = AttrMap::new();
        for (prefix, name, value) in plain {
            let ns = match &prefix {
                None => Namespace::NONE,
                Some(prefix) => self.lookup(prefix)?,
            };
            if resolved.insert(ns, name, value).is_some() {
                return None;
            }
        }
        let ns = match prefix {
            None => default.clone(),
            Some(prefix) => self.lookup(prefix)?,
        };
        Some((default, ns, resolved))
    }

    fn lookup(&self, prefix: &NcName) -> Option<Namespace<'static>> {
        if prefix.as_str() == "xml" {
            return Some(Namespace::XML);
        }
        self.prefixes.iter().rev().find(|(known, _)| known == prefix).map(|(_, ns)| ns.clone())
    }
}
