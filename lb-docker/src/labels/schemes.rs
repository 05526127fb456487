//! Which scheme an object uses.

use std::collections::BTreeMap;

use super::{
    Complaints, Subject, Wish, Wishes, docker_flow, easy_haproxy, own, traefik, virtual_host,
};
use crate::config::LabelScheme;

/// What `subject` asks for in the first of `schemes` that it uses.
pub(crate) fn wishes(schemes: &[LabelScheme], subject: &Subject<'_>) -> Wishes {
    let mut all = schemes.iter().map(|scheme| match scheme {
        LabelScheme::Lb => own::wishes(subject),
        LabelScheme::DockerFlow => docker_flow::wishes(subject),
        LabelScheme::Traefik => traefik::wishes(subject),
        LabelScheme::EasyHaproxy => easy_haproxy::wishes(subject),
        LabelScheme::VirtualHost => virtual_host::wishes(subject),
    });
    let mut complaints = Vec::new();
    let found = all.find_map(|mut wishes| {
        complaints.append(&mut wishes.complaints);
        (!wishes.wishes.is_empty()).then_some(wishes.wishes)
    });
    let mut wishes = found.unwrap_or_default();
    drop_repeated(&mut wishes, subject, &mut complaints);
    wishes.iter_mut().for_each(Wish::drop_repeated_routes);
    Wishes { wishes, complaints }
}

/// Whether one of `schemes` may have something to say about an object with these labels.
pub(crate) fn claims<'a>(
    schemes: &[LabelScheme],
    labels: impl Iterator<Item = &'a str> + Clone,
) -> bool {
    schemes.iter().any(|scheme| match scheme.prefix() {
        Some(prefix) => labels.clone().any(|key| key.starts_with(prefix)),
        // Its variables are in the environment, which only an inspection tells.
        None => true,
    })
}

impl LabelScheme {
    /// What its labels begin with; none for the one that uses variables.
    fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Lb => Some(own::PREFIX),
            Self::DockerFlow => Some(docker_flow::PREFIX),
            Self::Traefik => Some(traefik::PREFIX),
            Self::EasyHaproxy => Some(easy_haproxy::PREFIX),
            Self::VirtualHost => None,
        }
    }
}

/// Two wishes for one service of one object would be one endpoint twice; the later is left out.
fn drop_repeated(
    wishes: &mut Vec<Wish>,
    subject: &Subject<'_>,
    complaints: &mut Vec<lb_core::Diagnostic>,
) {
    let mut ports = BTreeMap::new();
    wishes.retain(|wish| match ports.get(&wish.service) {
        None => {
            ports.insert(wish.service.clone(), wish.port);
            true
        }
        Some(_) => {
            let mut repeated = Complaints::new(subject.object);
            repeated.refuse(
                "service",
                wish.service.as_str(),
                "asked for twice by one object, expected another service name",
            );
            complaints.extend(repeated.into_inner());
            false
        }
    });
}
