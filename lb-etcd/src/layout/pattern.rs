//! What a key looks like, and names made out of its parts.

use std::fmt;

use lb_core::Name;

/// The longest pattern or template, in bytes.
const MAX_LEN: usize = 512;

/// The form of keys of one kind: segments between slashes, with captures.
///
/// - `{name}` captures at least one character, never a slash, up to the first place where the text after it fits;
/// - `{name...}`, alone between slashes, captures one or more whole segments; at most one per pattern;
/// - `*` is a capture without a name;
/// - everything else stands for itself.
///
/// A pattern either matches a key whole or not at all, and always captures the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    /// Segments before the capture of several segments, or all of them.
    head: Vec<Segment>,
    /// The name of the capture of several segments and the segments after it.
    rest: Option<(String, Vec<Segment>)>,
}

/// One segment: pieces that are literal and pieces that capture, alternating.
type Segment = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Capture(String),
}

/// The captures of a pattern from a key, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Captures<'k> {
    found: Vec<(String, &'k str)>,
}

/// A name made out of what a pattern captured: `{name}` inserts a capture, `{name:reverse}` inserts it with its
/// segments (or, within one segment, its labels between dots) in reverse order. Segments are joined by dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Insert { capture: String, reverse: bool },
}

/// Why a text is no pattern or template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// Two captures follow each other, so nothing says where the first one ends.
    #[error("pattern {text:?} has captures side by side, expected text between them")]
    Adjacent {
        /// The whole text.
        text: String,
    },
    /// A brace is not closed, or closes nothing, or encloses no name.
    #[error(
        "pattern {text:?} has a brace that is no {{name}} or {{name...}}, expected letters, digits, - and _ in it"
    )]
    Brace {
        /// The whole text.
        text: String,
    },
    /// A name is captured twice.
    #[error("pattern {text:?} captures {name:?} twice, expected each name once")]
    Duplicate {
        /// The whole text.
        text: String,
        /// The name.
        name: String,
    },
    /// No text at all, or too much.
    #[error("pattern has {len} bytes, expected 1 to 512")]
    Length {
        /// The number of bytes it has.
        len: usize,
    },
    /// More than one capture of several segments, or one that shares its segment.
    #[error(
        "pattern {text:?} has {{name...}} that shares its segment or is not the only one, expected one alone"
    )]
    Rest {
        /// The whole text.
        text: String,
    },
    /// A template inserts what its pattern does not capture.
    #[error("template {text:?} inserts {name:?}, expected a name that its pattern captures")]
    Unknown {
        /// The whole text of the template.
        text: String,
        /// The name.
        name: String,
    },
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        check_length(text)?;
        let mut head = Vec::new();
        let mut rest: Option<(String, Vec<Segment>)> = None;
        for raw in text.split('/') {
            let name = raw
                .strip_prefix('{')
                .and_then(|inner| inner.strip_suffix("...}"));
            if let Some(name) = name {
                if rest.is_some() {
                    return Err(InvalidPattern::Rest { text: text.into() });
                }
                rest = Some((capture_name(name, text)?, Vec::new()));
                continue;
            }
            let segment = parse_segment(raw, text)?;
            match &mut rest {
                Some((_, tail)) => tail.push(segment),
                None => head.push(segment),
            }
        }
        let pattern = Self {
            text: text.to_owned(),
            head,
            rest,
        };
        let mut names: Vec<&str> = pattern.names().collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [a, b] = pair
                && a == b
            {
                return Err(InvalidPattern::Duplicate {
                    text: text.to_owned(),
                    name: (*a).to_owned(),
                });
            }
        }
        Ok(pattern)
    }

    /// Returns `true` if it captures this name.
    pub(crate) fn captures(&self, name: &str) -> bool {
        self.names().any(|found| found == name)
    }

    /// The text that every matching key begins with.
    pub(crate) fn literal_prefix(&self) -> &str {
        let end = self.text.find(['{', '*']).unwrap_or(self.text.len());
        self.text.get(..end).unwrap_or_default()
    }

    pub(crate) fn matches<'k>(&self, key: &'k str) -> Option<Captures<'k>> {
        let mut captures = Captures::default();
        let Some((name, tail)) = &self.rest else {
            let mut segments = key.split('/');
            for own in &self.head {
                match_segment(own, segments.next()?, &mut captures)?;
            }
            return segments.next().is_none().then_some(captures);
        };

        let mut from = 0;
        for own in &self.head {
            let left = key.get(from..)?;
            let end = left.find('/')?;
            match_segment(own, left.get(..end)?, &mut captures)?;
            from += end + 1;
        }
        let mut until = key.len();
        for own in tail.iter().rev() {
            let left = key.get(from..until)?;
            let begin = left.rfind('/')?;
            match_segment(own, left.get(begin + 1..)?, &mut captures)?;
            until = from + begin;
        }
        let middle = key.get(from..until)?;
        if middle.split('/').any(str::is_empty) {
            return None;
        }
        captures.found.push((name.clone(), middle));
        Some(captures)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let tail = self.rest.iter().flat_map(|(_, tail)| tail);
        let pieces = self.head.iter().chain(tail).flatten();
        let captured = pieces.filter_map(|piece| match piece {
            Piece::Capture(name) if !name.is_empty() => Some(name.as_str()),
            Piece::Capture(_) | Piece::Literal(_) => None,
        });
        captured.chain(self.rest.iter().map(|(name, _)| name.as_str()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'k> Captures<'k> {
    pub(crate) fn get(&self, name: &str) -> Option<&'k str> {
        self.found
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, text)| *text)
    }
}

impl Template {
    /// The template, which may insert only what `pattern` captures.
    pub(crate) fn parse(text: &str, pattern: &Pattern) -> Result<Self, InvalidPattern> {
        check_length(text)?;
        let mut parts = Vec::new();
        let mut left = text;
        while let Some(begin) = left.find(['{', '}']) {
            let (literal, from) = left.split_at(begin);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (inner, after) = from
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'))
                .ok_or_else(|| InvalidPattern::Brace { text: text.into() })?;
            let (name, reverse) = match inner.strip_suffix(":reverse") {
                Some(name) => (name, true),
                None => (inner, false),
            };
            if !pattern.captures(name) {
                return Err(InvalidPattern::Unknown {
                    text: text.to_owned(),
                    name: name.to_owned(),
                });
            }
            parts.push(Part::Insert {
                capture: name.to_owned(),
                reverse,
            });
            left = after;
        }
        if !left.is_empty() {
            parts.push(Part::Literal(left.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The text for these captures, segments joined by dots.
    pub(crate) fn fill(&self, captures: &Captures<'_>) -> String {
        self.fill_with(captures, ".")
    }

    /// The text for these captures, segments joined by slashes.
    pub(crate) fn fill_path(&self, captures: &Captures<'_>) -> String {
        self.fill_with(captures, "/")
    }

    fn fill_with(&self, captures: &Captures<'_>, between: &str) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Insert { capture, reverse } => {
                    let text = captures.get(capture).unwrap_or_default();
                    if *reverse {
                        let labels: Vec<&str> = text.rsplit(['/', '.']).collect();
                        out.push_str(&labels.join(between));
                    } else {
                        out.push_str(&text.replace('/', between));
                    }
                }
            }
        }
        out
    }

    /// The name for these captures; where the text is no valid name, one that stands for it.
    pub(crate) fn name(&self, captures: &Captures<'_>) -> Name {
        Name::from_text(&self.fill(captures))
    }
}

fn check_length(text: &str) -> Result<(), InvalidPattern> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(InvalidPattern::Length { len: text.len() });
    }
    Ok(())
}

fn parse_segment(raw: &str, text: &str) -> Result<Segment, InvalidPattern> {
    let brace = || InvalidPattern::Brace { text: text.into() };
    let mut pieces: Segment = Vec::new();
    let mut left = raw;
    while let Some(begin) = left.find(['{', '}', '*']) {
        let (literal, from) = left.split_at(begin);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        if matches!(pieces.last(), Some(Piece::Capture(_))) {
            return Err(InvalidPattern::Adjacent { text: text.into() });
        }
        if let Some(after) = from.strip_prefix('*') {
            pieces.push(Piece::Capture(String::new()));
            left = after;
            continue;
        }
        let (name, after) = from
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
            .ok_or_else(brace)?;
        if name.ends_with("...") {
            return Err(InvalidPattern::Rest { text: text.into() });
        }
        pieces.push(Piece::Capture(capture_name(name, text)?));
        left = after;
    }
    if !left.is_empty() {
        pieces.push(Piece::Literal(left.to_owned()));
    }
    Ok(pieces)
}

fn capture_name(name: &str, text: &str) -> Result<String, InvalidPattern> {
    let fits = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !fits {
        return Err(InvalidPattern::Brace { text: text.into() });
    }
    Ok(name.to_owned())
}

fn match_segment<'k>(
    pieces: &[Piece],
    segment: &'k str,
    captures: &mut Captures<'k>,
) -> Option<()> {
    let mut left = segment;
    let mut pieces = pieces.iter().peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Literal(own) => left = left.strip_prefix(own.as_str())?,
            Piece::Capture(name) => {
                let end = match pieces.peek() {
                    // At least one character is captured, so the search begins after it.
                    Some(Piece::Literal(next)) => {
                        let first = left.chars().next()?.len_utf8();
                        let last = pieces.len() == 1;
                        let found = if last {
                            left.strip_suffix(next.as_str())?.len()
                        } else {
                            left.get(first..)?.find(next.as_str())? + first
                        };
                        (found >= first).then_some(found)?
                    }
                    _ => left.len(),
                };
                let (text, after) = left.split_at_checked(end)?;
                if text.is_empty() {
                    return None;
                }
                if !name.is_empty() {
                    captures.found.push((name.clone(), text));
                }
                left = after;
            }
        }
    }
    left.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matched(pattern: &str, key: &str) -> Option<Vec<(String, String)>> {
        let pattern = Pattern::parse(pattern).unwrap();
        let captures = pattern.matches(key)?;
        let mut found: Vec<_> = captures
            .found
            .into_iter()
            .map(|(name, text)| (name, text.to_owned()))
            .collect();
        found.sort();
        Some(found)
    }

    fn pairs(list: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        let pair = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        Some(list.iter().map(pair).collect())
    }

    #[test]
    fn patterns_match_whole_keys() {
        for (pattern, key, expected) in [
            (
                "/proxy/{s}/{e}",
                "/proxy/frontend/web1",
                pairs(&[("e", "web1"), ("s", "frontend")]),
            ),
            ("/proxy/{s}/{e}", "/proxy/frontend", None),
            ("/proxy/{s}/{e}", "/proxy/frontend/a/b", None),
            ("/proxy/{s}/{e}", "/proxy//b", None),
            (
                "/r/{s}/{h}:{c}:{p}",
                "/r/web/host:web-1:80",
                pairs(&[("c", "web-1"), ("h", "host"), ("p", "80"), ("s", "web")]),
            ),
            ("/r/{s}/{h}:{c}:{p}:udp", "/r/web/host:web-1:80", None),
            (
                "/r/{s}/{h}:{c}:{p}:udp",
                "/r/dns/host:d:53:udp",
                pairs(&[("c", "d"), ("h", "host"), ("p", "53"), ("s", "dns")]),
            ),
            (
                "/skydns/{d...}/{e}",
                "/skydns/local/cluster/x1",
                pairs(&[("d", "local/cluster"), ("e", "x1")]),
            ),
            ("/skydns/{d...}/{e}", "/skydns/x1", None),
            ("/skydns/{d...}/{e}", "/skydns//x1", None),
            ("a/*/c", "a/b/c", pairs(&[])),
            ("a/*/c", "a//c", None),
            ("x-{n}.json", "x-a.json", pairs(&[("n", "a")])),
            ("x-{n}.json", "x-.json", None),
            ("x-{n}.json", "x-a.json.json", pairs(&[("n", "a.json")])),
        ] {
            assert_eq!(matched(pattern, key), expected, "{pattern} on {key}");
        }
    }

    #[test]
    fn refusals_say_what_was_expected() {
        for text in [
            "",
            "/{a}{b}",
            "/{a",
            "/a}",
            "/{}",
            "/{a b}",
            "/{a}/{a}",
            "/x{a...}",
            "/{a...}/{b...}",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        let pattern = Pattern::parse("/{a}").unwrap();
        let error = Template::parse("{b}", &pattern).unwrap_err();
        assert_eq!(
            error.to_string(),
            "template \"{b}\" inserts \"b\", expected a name that its pattern captures"
        );
    }

    #[test]
    fn templates_insert_what_was_captured() {
        let pattern = Pattern::parse("/skydns/{domain...}/{id}").unwrap();
        let captures = pattern.matches("/skydns/local/cluster/x1").unwrap();
        for (template, expected) in [
            ("{domain}", "local.cluster"),
            ("{domain:reverse}", "cluster.local"),
            ("{id}-of-{domain:reverse}!", "x1-of-cluster.local!"),
        ] {
            let template = Template::parse(template, &pattern).unwrap();
            assert_eq!(template.fill(&captures), expected);
        }
    }

    proptest! {
        #[test]
        fn a_key_made_from_a_pattern_matches_it(a in "[a-z0-9.]{1,9}", b in "[a-z0-9:]{1,9}", c in "[a-z/]{0,9}") {
            let pattern = Pattern::parse("/p/{a}/x-{b}").unwrap();
            let key = format!("/p/{a}/x-{b}");
            let captures = pattern.matches(&key).unwrap();
            prop_assert_eq!(captures.get("a"), Some(a.as_str()));
            prop_assert_eq!(captures.get("b"), Some(b.as_str()));
            prop_assert!(key.starts_with(pattern.literal_prefix()));
            let other = format!("{key}/{c}");
            prop_assert!(pattern.matches(&other).is_none());
        }

        #[test]
        fn no_text_makes_parsing_or_matching_fail_otherwise(pattern in ".{0,40}", key in ".{0,40}") {
            if let Ok(pattern) = Pattern::parse(&pattern)
                && pattern.matches(&key).is_some()
            {
                prop_assert!(key.starts_with(pattern.literal_prefix()));
            }
        }
    }
}
