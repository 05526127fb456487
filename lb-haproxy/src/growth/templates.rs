//! The slots that a configuration declares.

use std::collections::BTreeMap;

use lb_core::Name;

use super::section::sections;

/// The servers of one `server-template PREFIX FIRST-LAST` line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotTemplate {
    /// The name prefix of its servers.
    pub prefix: String,
    /// The first number.
    pub first: u32,
    /// The last number.
    pub last: u32,
}

impl SlotTemplate {
    /// Returns `true` if the template makes a server of this name.
    #[must_use]
    pub fn makes(&self, server: &Name) -> bool {
        let number = server.as_str().strip_prefix(self.prefix.as_str());
        number
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
            .and_then(|digits| digits.parse().ok())
            .is_some_and(|number: u32| (self.first..=self.last).contains(&number))
    }
}

/// The `server-template` lines of each backend of a configuration, by the backend's name.
///
/// A line that HAProxy would read otherwise, such as one with quotes or variables, is left out.
#[must_use]
pub fn slot_templates(text: &str) -> BTreeMap<Name, Vec<SlotTemplate>> {
    let mut all: BTreeMap<Name, Vec<SlotTemplate>> = BTreeMap::new();
    for section in sections(text).iter().filter(|section| section.is_backend()) {
        let Ok(backend) = section.name.parse::<Name>() else {
            continue;
        };
        let templates = section
            .settings("server-template")
            // HAProxy itself fills these, by DNS.
            .filter(|(_, words)| {
                let by_dns = words.get(3).is_some_and(|address| address.starts_with('_'));
                !by_dns && !words.contains(&"resolvers")
            })
            .filter_map(|(_, words)| {
                let prefix: Name = words.get(1)?.parse().ok()?;
                let range = words.get(2)?;
                let (first, last) = range.split_once('-').unwrap_or(("1", range));
                Some(SlotTemplate {
                    prefix: prefix.into(),
                    first: first.parse().ok()?,
                    last: last.parse().ok()?,
                })
            });
        all.entry(backend).or_default().extend(templates);
    }
    all.retain(|_, templates| !templates.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_makes_the_servers_of_its_range() {
        let text = "backend web\n  server-template app 2-4 127.0.0.1:1 disabled\n  server-template v1 3 x:1\n\
                    backend dns\n  server-template s 5 _http._tcp.x resolvers dns\n  server-template t 1-5 x:1 resolvers dns disabled\n\
                    listen tcp\n  server-template \"q\" 1-2 x:1\n";
        let all = slot_templates(text);
        let name: Name = "web".parse().unwrap();
        let web = &all[&name];
        let made = |name: &str| {
            let name = name.parse().unwrap();
            web.iter().any(|template| template.makes(&name))
        };
        assert!(made("app2") && made("app4") && made("v11") && made("v13"));
        assert!(!made("app1") && !made("app5") && !made("app02") && !made("app") && !made("v14"));
        assert_eq!(
            all.len(),
            1,
            "neither one in quotes nor one of DNS is taken for one"
        );
    }
}
