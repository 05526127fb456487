//! Names of services that compose's projects and services give: `shop-api` and `web` make the same one as `shop` and
//! `api-web`. Only one of them has it; the other is left out and reported.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Diagnostic, Name, Record};
use lb_schemes::Diagnostics;

/// A compose project and its service.
pub(crate) type Origin = (String, String);

/// The objects that make each name, and their containers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_name: BTreeMap<Name, Made>,
    by_object: BTreeMap<String, Name>,
}

#[derive(Debug)]
struct Made {
    /// The first that made it, for as long as one of its containers is there.
    owner: Origin,
    makers: BTreeMap<Origin, BTreeSet<String>>,
}

impl Names {
    /// Takes in what makes the name of a container's services now. Answers with the containers for which the owner of
    /// a name changed.
    pub(crate) fn set(&mut self, object: &str, origin: Option<(&str, &str)>) -> BTreeSet<String> {
        let origin = origin.map(|(project, service)| (project.to_owned(), service.to_owned()));
        let name = origin.as_ref().map(made);
        let mut changed = BTreeSet::new();
        if let Some(before) = self
            .by_object
            .get(object)
            .filter(|before| name.as_ref() != Some(*before))
            .cloned()
        {
            self.by_object.remove(object);
            changed = self.forget(object, &before);
        }
        if let (Some(origin), Some(name)) = (origin, name) {
            self.by_object.insert(object.to_owned(), name.clone());
            let made = self.by_name.entry(name).or_insert_with(|| Made {
                owner: origin.clone(),
                makers: BTreeMap::new(),
            });
            made.makers
                .entry(origin)
                .or_default()
                .insert(object.to_owned());
        }
        changed
    }

    fn forget(&mut self, object: &str, name: &Name) -> BTreeSet<String> {
        let Some(made) = self.by_name.get_mut(name) else {
            return BTreeSet::new();
        };
        for objects in made.makers.values_mut() {
            objects.remove(object);
        }
        made.makers.retain(|_, objects| !objects.is_empty());
        if made.makers.contains_key(&made.owner) {
            return BTreeSet::new();
        }
        match made.makers.first_key_value() {
            Some((next, objects)) => {
                let objects = objects.clone();
                made.owner = next.clone();
                objects
            }
            None => {
                self.by_name.remove(name);
                BTreeSet::new()
            }
        }
    }

    /// Why a record of a container is left out: its service's name is made by another project and service too.
    pub(crate) fn lost(
        &self,
        object: &str,
        origin: Option<(&str, &str)>,
        record: &Record,
    ) -> Option<Diagnostic> {
        let (project, service) = origin?;
        let made = self.by_name.get(&record.key.service)?;
        let (owner, other) = (&made.owner.0, &made.owner.1);
        if (project, service) == (owner.as_str(), other.as_str())
            || !made
                .makers
                .contains_key(&(project.to_owned(), service.to_owned()))
        {
            return None;
        }
        let mut taken = Diagnostics::new(object);
        // The other's names may be long, and long messages are cut.
        let message = format!(
            "service {} is another compose service's: it is left out; give it a name with lb.service; the other is \
             service {other} of project {owner}",
            record.key.service
        );
        taken.refuse("com.docker.compose.project", project, message);
        taken.into_inner().pop()
    }
}

fn made((project, service): &Origin) -> Name {
    Name::from_text(&format!("{project}-{service}"))
}
