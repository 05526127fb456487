//! What the keys API answers, turned into changes of keys. Pure.

use serde::Deserialize;

use crate::layout::Change;

/// The deepest directory that is looked into.
const MAX_DEPTH: usize = 64;

/// The code of an answer that there is no such key.
const NOT_FOUND: u32 = 100;

/// The code of an answer that the history asked for is gone.
const CLEARED: u32 = 401;

/// The meaning of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The history asked for is gone.
    Cleared,
    /// One change; `below` is a directory that is gone with all in it.
    Changed {
        index: u64,
        change: Option<Change>,
        below: Option<String>,
    },
    /// All keys of a directory.
    Listing(Vec<Change>),
    /// An error of another kind.
    Refused(String),
}

#[derive(Debug, Deserialize)]
struct Answer {
    action: Option<String>,
    node: Option<Node>,
    #[serde(rename = "errorCode")]
    error_code: Option<u32>,
    message: Option<String>,
    cause: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Node {
    #[serde(default)]
    key: String,
    #[serde(default)]
    dir: bool,
    value: Option<String>,
    #[serde(default)]
    nodes: Vec<Self>,
    #[serde(rename = "modifiedIndex", default)]
    modified_index: u64,
}

/// Reads the body of an answer.
pub(crate) fn read(body: &[u8]) -> Said {
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(error) => {
            return Said::Refused(format!("the answer is no JSON of the keys API: {error}"));
        }
    };
    match answer.error_code {
        Some(NOT_FOUND) => return Said::Listing(Vec::new()),
        Some(CLEARED) => return Said::Cleared,
        Some(code) => {
            let message = answer.message.unwrap_or_default();
            let cause = answer.cause.unwrap_or_default();
            return Said::Refused(format!("{message} ({code}): {cause}"));
        }
        None => {}
    }
    let (Some(action), Some(node)) = (answer.action, answer.node) else {
        return Said::Refused("the answer has no action or no node".to_owned());
    };
    if action == "get" {
        let mut changes = Vec::new();
        collect(node, 0, &mut changes);
        return Said::Listing(changes);
    }
    let index = node.modified_index;
    let gone = matches!(action.as_str(), "delete" | "expire" | "compareAndDelete");
    let below = (gone && node.dir).then(|| format!("{}/", node.key));
    let change = if gone || node.dir {
        // A directory that takes the place of a key ends the key.
        Some(Change::delete(node.key))
    } else {
        node.value.map(|value| Change::put(node.key, value))
    };
    Said::Changed {
        index,
        change,
        below,
    }
}

fn collect(node: Node, depth: usize, changes: &mut Vec<Change>) {
    if node.dir {
        if depth < MAX_DEPTH {
            for child in node.nodes {
                collect(child, depth + 1, changes);
            }
        }
    } else if let Some(value) = node.value {
        changes.push(Change::put(node.key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_flat() {
        let body = br#"{"action":"get","node":{"key":"/proxy","dir":true,"nodes":[
            {"key":"/proxy/frontend","dir":true,"nodes":[
                {"key":"/proxy/frontend/web1","value":"192.0.2.7:9001","modifiedIndex":7,"createdIndex":7}]},
            {"key":"/proxy/empty","dir":true}]}}"#;
        let expected = [Change::put("/proxy/frontend/web1", "192.0.2.7:9001")];
        assert_eq!(read(body), Said::Listing(expected.into()));
    }

    #[test]
    fn changes_and_errors_are_told() {
        let expire = br#"{"action":"expire","node":{"key":"/a","modifiedIndex":9},"prevNode":{"key":"/a","value":"x"}}"#;
        let gone = Change::delete("/a");
        assert_eq!(
            read(expire),
            Said::Changed {
                index: 9,
                change: Some(gone),
                below: None
            }
        );
        let directory = br#"{"action":"delete","node":{"key":"/a","dir":true,"modifiedIndex":9}}"#;
        let Said::Changed { below, .. } = read(directory) else {
            panic!("a change");
        };
        assert_eq!(below.as_deref(), Some("/a/"));
        let cleared = br#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","index":2000}"#;
        assert_eq!(read(cleared), Said::Cleared);
        assert_eq!(
            read(br#"{"errorCode":100,"index":2}"#),
            Said::Listing(Vec::new())
        );
        assert!(matches!(read(b"<html>"), Said::Refused(_)));
        assert!(matches!(read(b"{}"), Said::Refused(_)));
    }
}
