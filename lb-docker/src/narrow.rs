//! Which objects a source takes, among those with labels that it reads.

use lb_schemes::Constraint;

use crate::{address::Networks, container::Attached};

/// The options `projects`, `constraints` and `networks`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Narrow {
    pub(crate) projects: Vec<String>,
    pub(crate) constraints: Option<Constraint>,
    pub(crate) networks: Vec<String>,
}

impl Narrow {
    /// Returns `true` if an object with these labels is taken, as far as labels tell. `project` is the label that names its
    /// project or stack.
    pub(crate) fn takes<'a>(&self, label: impl Fn(&str) -> Option<&'a str>, project: &str) -> bool {
        let of_project = self.projects.is_empty()
            || label(project)
                .is_some_and(|found| self.projects.iter().any(|wanted| wanted == found));
        let constraints = self.constraints.as_ref();
        of_project && constraints.is_none_or(|constraint| constraint.holds(&label))
    }

    /// Returns `true` if an object on these networks is taken.
    pub(crate) fn takes_networks(
        &self,
        attachments: &[Attached],
        project: Option<&str>,
        networks: &Networks,
    ) -> bool {
        self.networks.is_empty()
            || attachments.iter().any(|attached| {
                let names = [attached.network.as_str(), attached.network_id.as_str()];
                let known = networks
                    .get(&attached.network_id)
                    .map(|network| network.name.as_str());
                names
                    .into_iter()
                    .chain(known)
                    .any(|name| self.names(name, project))
            })
    }

    fn names(&self, name: &str, project: Option<&str>) -> bool {
        self.networks.iter().any(|wanted| {
            wanted == name
                || project.is_some_and(|project| {
                    name.strip_prefix(project)
                        .and_then(|rest| rest.strip_prefix('_'))
                        == Some(wanted.as_str())
                })
        })
    }
}
