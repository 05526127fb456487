//! What an event of serf means for keys, and writing it.

use std::collections::BTreeMap;

/// The most members of one event.
const MAX_MEMBERS: usize = 1000;

/// Handles the events of a serf agent: a member that joins is written, one that leaves or fails is removed.
///
/// It replaces a script given as `-event-handler`: the event comes in `SERF_EVENT`, its members on the standard input.
/// Handling an event again changes nothing, so every agent of a cluster may do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerfHandler {
    entries: Vec<(String, String)>,
}

/// An event of serf that concerns membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SerfEvent {
    /// Members joined.
    Join,
    /// Members left on purpose.
    Leave,
    /// Members are gone without a word.
    Failed,
    /// Members that failed are forgotten.
    Reap,
    /// Members changed their tags.
    Update,
    /// Something else, which does not concern us.
    Other,
}

/// A member as serf describes it: name, address, role and tags, between tabs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its address, without a port.
    pub address: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A problem of an event that cannot be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSerf {
    /// A line does not describe a member.
    #[error("line {line} is {text:?}, expected name, address, role and tags between tabs")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A name has what no key may have in this place.
    #[error("member has the name {name:?}, expected letters, digits, and . _ : -")]
    Name {
        /// The name.
        name: String,
    },
    /// A template inserts what the member does not have.
    #[error(
        "template {template:?} inserts {insert:?}, which member {member:?} lacks; expected name, address or tag.<tag>"
    )]
    Template {
        /// The template.
        template: String,
        /// The text it inserts.
        insert: String,
        /// The member.
        member: String,
    },
    /// More members than one event may have.
    #[error("event has more than 1000 members")]
    TooMany,
}

impl SerfEvent {
    /// The event of this name, as `SERF_EVENT` has it.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "member-join" => Self::Join,
            "member-leave" => Self::Leave,
            "member-failed" => Self::Failed,
            "member-reap" => Self::Reap,
            "member-update" => Self::Update,
            _ => Self::Other,
        }
    }
}

impl SerfHandler {
    /// Writes these keys with these values for a member. Both may insert `{name}`, `{address}` and `{tag.<tag>}`.
    #[must_use]
    pub fn new(entries: impl Into<Vec<(String, String)>>) -> Self {
        Self {
            entries: entries.into(),
        }
    }

    /// The keys that an event sets and deletes.
    ///
    /// ```
    /// use lb_etcd::registration::{SerfEvent, SerfHandler};
    ///
    /// let handler = SerfHandler::new([("/proxy/frontend/{name}".into(), "{address}:{tag.port}".into())]);
    /// let input = "web1\t192.0.2.7\tweb\tport=9001\n";
    /// let (puts, _) = handler.plan(SerfEvent::Join, input)?;
    /// assert_eq!(puts, [("/proxy/frontend/web1".into(), "192.0.2.7:9001".into())]);
    /// let (_, deletes) = handler.plan(SerfEvent::Failed, input)?;
    /// assert_eq!(deletes, ["/proxy/frontend/web1"]);
    /// # Ok::<(), lb_etcd::registration::InvalidSerf>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidSerf`] names the line or the template.
    #[expect(
        clippy::type_complexity,
        reason = "two lists, said in the name of the function"
    )]
    pub fn plan(
        &self,
        event: SerfEvent,
        input: &str,
    ) -> Result<(Vec<(String, String)>, Vec<String>), InvalidSerf> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        if event == SerfEvent::Other {
            return Ok((puts, deletes));
        }
        for member in members(input)? {
            for (key, value) in &self.entries {
                let key = fill(key, &member)?;
                match event {
                    SerfEvent::Join | SerfEvent::Update => puts.push((key, fill(value, &member)?)),
                    SerfEvent::Leave | SerfEvent::Failed | SerfEvent::Reap => deletes.push(key),
                    SerfEvent::Other => {}
                }
            }
        }
        Ok((puts, deletes))
    }
}

fn members(input: &str) -> Result<Vec<Member>, InvalidSerf> {
    let mut found = Vec::new();
    for (index, text) in input.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        if found.len() == MAX_MEMBERS {
            return Err(InvalidSerf::TooMany);
        }
        let mut fields = text.split('\t');
        let (Some(name), Some(address)) = (fields.next(), fields.next()) else {
            return Err(InvalidSerf::Line {
                line: index + 1,
                text: text.chars().take(200).collect(),
            });
        };
        if name.parse::<lb_core::Name>().is_err() {
            return Err(InvalidSerf::Name {
                name: name.chars().take(200).collect(),
            });
        }
        let tags = fields.nth(1).unwrap_or_default();
        let tags = tags
            .split(',')
            .filter_map(|tag| tag.split_once('='))
            .map(|(tag, value)| (tag.to_owned(), value.to_owned()))
            .collect();
        found.push(Member {
            name: name.to_owned(),
            address: address.to_owned(),
            tags,
        });
    }
    Ok(found)
}

fn fill(template: &str, member: &Member) -> Result<String, InvalidSerf> {
    let mut out = String::new();
    let mut left = template;
    while let Some((literal, from)) = left.split_once('{') {
        out.push_str(literal);
        let (insert, after) = from.split_once('}').unwrap_or((from, ""));
        let text = match insert {
            "name" => Some(&member.name),
            "address" => Some(&member.address),
            other => other
                .strip_prefix("tag.")
                .and_then(|tag| member.tags.get(tag)),
        };
        out.push_str(text.ok_or_else(|| InvalidSerf::Template {
            template: template.to_owned(),
            insert: insert.to_owned(),
            member: member.name.clone(),
        })?);
        left = after;
    }
    out.push_str(left);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler() -> SerfHandler {
        SerfHandler::new([
            (
                "/proxy/frontend/{name}".to_owned(),
                "{address}:{tag.port}".to_owned(),
            ),
            ("/proxy/serf/{name}".to_owned(), "{address}".to_owned()),
        ])
    }

    #[test]
    fn members_are_written_and_removed() {
        let input = "web1\t192.0.2.7\tweb\tport=80,zone=a\nweb2\t192.0.2.8\t\tport=81\n";
        let (puts, deletes) = handler().plan(SerfEvent::Join, input).unwrap();
        assert_eq!(puts.len(), 4);
        assert_eq!(
            puts[2],
            ("/proxy/frontend/web2".to_owned(), "192.0.2.8:81".to_owned())
        );
        assert_eq!(deletes, Vec::<String>::new());
        for event in ["member-leave", "member-failed", "member-reap"] {
            let (puts, deletes) = handler().plan(SerfEvent::from_name(event), input).unwrap();
            assert_eq!((puts.len(), deletes.len()), (0, 4));
        }
        let (puts, deletes) = handler()
            .plan(SerfEvent::from_name("user:deploy"), "payload")
            .unwrap();
        assert_eq!((puts.len(), deletes.len()), (0, 0));
    }

    #[test]
    fn what_cannot_be_handled_is_named() {
        let error = |input: &str| {
            handler()
                .plan(SerfEvent::Join, input)
                .unwrap_err()
                .to_string()
        };
        assert!(error("web1").contains("line 1 is \"web1\""));
        assert!(error("a/../b\t192.0.2.7\t\t").contains("\"a/../b\""));
        assert!(error("web1\t192.0.2.7\t\t").contains("inserts \"tag.port\""));
    }
}
