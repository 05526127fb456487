//! The middlewares of Traefik that objects define and that routers of other objects name.

use std::collections::{BTreeMap, BTreeSet};

use lb_schemes::traefik::{MiddlewareDefinition, SharedMiddlewares};

/// The middlewares of all objects, and who needs which.
#[derive(Debug, Default)]
pub(crate) struct NamedMiddlewares {
    shared: SharedMiddlewares,
    users: BTreeMap<String, BTreeSet<String>>,
    by_user: BTreeMap<String, BTreeSet<String>>,
}

impl NamedMiddlewares {
    /// The present meaning of names.
    pub(crate) fn shared(&self) -> &SharedMiddlewares {
        &self.shared
    }

    /// Takes in all that one object defines now. Answers with the objects whose routers name what changed by that, maybe
    /// itself among them.
    pub(crate) fn define(
        &mut self,
        object: &str,
        defined: &[MiddlewareDefinition],
    ) -> BTreeSet<String> {
        let changed = self.shared.set(object, defined);
        let users = changed.iter().filter_map(|name| self.users.get(name));
        users.flatten().cloned().collect()
    }

    /// Takes in the names that the routers of one object need now.
    pub(crate) fn ask(&mut self, object: &str, names: BTreeSet<String>) {
        let before = self.by_user.remove(object).unwrap_or_default();
        for name in before.difference(&names) {
            if let Some(users) = self.users.get_mut(name) {
                users.remove(object);
                if users.is_empty() {
                    self.users.remove(name);
                }
            }
        }
        for name in &names {
            let users = self.users.entry(name.clone()).or_default();
            users.insert(object.to_owned());
        }
        if !names.is_empty() {
            self.by_user.insert(object.to_owned(), names);
        }
    }
}
