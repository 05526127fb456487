//! Middlewares that several objects of one source define: Traefik has one namespace for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

/// The middlewares whose values are read; of others, whose values may be passwords, only a hash is kept.
const READ: [&str; 5] = [
    "buffering",
    "chain",
    "headers",
    "redirectscheme",
    "stripprefix",
];

/// A middleware of HTTP that an object defines.
#[derive(Clone, PartialEq, Eq)]
pub struct MiddlewareDefinition {
    /// Its name, in lower case.
    pub(crate) name: String,
    /// Its keys in lower case, with their values.
    pub(crate) keys: Vec<(String, String)>,
}

/// The middlewares of HTTP that the objects of one source define.
#[derive(Debug, Clone, Default)]
pub struct SharedMiddlewares {
    by_name: BTreeMap<String, BTreeMap<String, MiddlewareDefinition>>,
    by_object: BTreeMap<String, BTreeSet<String>>,
}

/// The meaning of a name among all objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// No object defines it.
    Nowhere,
    /// Objects define it differently: Traefik uses none of these.
    Contested,
    /// All that define it do it so.
    One(&'a MiddlewareDefinition),
}

impl MiddlewareDefinition {
    pub(crate) fn new(name: &str, keys: &[(String, &str)]) -> Self {
        let kept = |(key, value): &(String, &str)| {
            let kind = key.split(['.', '[']).next().unwrap_or(key);
            let value = match READ.contains(&kind) {
                true => (*value).to_owned(),
                false => {
                    let mut hasher = DefaultHasher::new();
                    value.hash(&mut hasher);
                    format!("{:016x}", hasher.finish())
                }
            };
            (key.clone(), value)
        };
        Self {
            name: name.to_owned(),
            keys: keys.iter().map(kept).collect(),
        }
    }
}

impl fmt::Debug for MiddlewareDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiddlewareDefinition")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl SharedMiddlewares {
    /// Takes in all middlewares that one object defines now. Answers with the names that mean something else by that.
    pub fn set(&mut self, object: &str, defined: &[MiddlewareDefinition]) -> BTreeSet<String> {
        let mut names = self.by_object.remove(object).unwrap_or_default();
        names.extend(defined.iter().map(|one| one.name.clone()));
        let mut changed = BTreeSet::new();
        for name in names {
            let owned = |found: Found<'_>| match found {
                Found::Nowhere => None,
                Found::Contested => Some(None),
                Found::One(definition) => Some(Some(definition.clone())),
            };
            let before = owned(self.find(&name));
            let objects = self.by_name.entry(name.clone()).or_default();
            match defined.iter().find(|one| one.name == name) {
                Some(definition) => objects.insert(object.to_owned(), definition.clone()),
                None => objects.remove(object),
            };
            if objects.is_empty() {
                self.by_name.remove(&name);
            }
            if before != owned(self.find(&name)) {
                changed.insert(name);
            }
        }
        if !defined.is_empty() {
            let names = defined.iter().map(|one| one.name.clone()).collect();
            self.by_object.insert(object.to_owned(), names);
        }
        changed
    }

    /// The meaning of a name in lower case.
    pub(crate) fn find(&self, name: &str) -> Found<'_> {
        let Some(objects) = self.by_name.get(name) else {
            return Found::Nowhere;
        };
        let mut all = objects.values();
        match all.next() {
            None => Found::Nowhere,
            Some(first) if all.all(|other| other == first) => Found::One(first),
            Some(_) => Found::Contested,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_that_agree_are_one_and_secrets_are_not_kept() {
        let definition = |value: &str| {
            let keys = [("basicauth.users".to_owned(), value)];
            MiddlewareDefinition::new("lock", &keys)
        };
        let mut shared = SharedMiddlewares::default();
        let lock: BTreeSet<String> = ["lock".to_owned()].into();
        assert_eq!(shared.set("a", &[definition("joe:s3cret")]), lock);
        assert!(!format!("{shared:?}").contains("s3cret"));
        assert!(shared.set("b", &[definition("joe:s3cret")]).is_empty());
        assert!(matches!(shared.find("lock"), Found::One(_)));
        assert_eq!(shared.set("b", &[definition("joe:other")]), lock);
        assert_eq!(shared.find("lock"), Found::Contested);
        assert_eq!(shared.set("a", &[]), lock);
        assert!(matches!(shared.find("lock"), Found::One(_)));
        assert_eq!(shared.set("b", &[]), lock);
        assert_eq!(shared.find("lock"), Found::Nowhere);
    }
}
