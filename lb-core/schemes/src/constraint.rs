//! Expressions over labels that say which objects a source takes: Traefik's constraints.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An expression over the labels of an object: ``Label(`com.example.tier`, `public`) && !Label(`com.example.draft`)``.
///
/// ``Label(`key`, `value`)`` holds if the label has that value, ``Label(`key`)`` if there is such a label; `&&`, `||`, `!` and
/// parentheses join them.
///
/// ```
/// use lb_schemes::Constraint;
///
/// let public: Constraint = "Label(`tier`, `public`) && !Label(`draft`)".parse().unwrap();
/// assert!(public.holds(|key| (key == "tier").then_some("public")));
/// assert!(!public.holds(|_| None));
/// assert!("tier = public".parse::<Constraint>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Constraint {
    text: String,
    expression: Expression,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    All(Vec<Self>),
    Any(Vec<Self>),
    Label { key: String, value: Option<String> },
    Not(Box<Self>),
}

/// A text that is no [`Constraint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("constraint is {text:?}: {problem}")]
pub struct InvalidConstraint {
    text: String,
    problem: String,
}

impl Constraint {
    /// Returns `true` if it holds for labels whose values `label` looks up.
    pub fn holds<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.expression.holds(&label)
    }
}

impl Expression {
    fn holds<'a>(&self, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(label)),
            Self::Any(all) => all.iter().any(|one| one.holds(label)),
            Self::Label { key, value } => label(key)
                .is_some_and(|found| value.as_deref().is_none_or(|wanted| wanted == found)),
            Self::Not(one) => !one.holds(label),
        }
    }
}

impl FromStr for Constraint {
    type Err = InvalidConstraint;

    fn from_str(text: &str) -> Result<Self, InvalidConstraint> {
        let invalid = |problem: String| InvalidConstraint {
            text: text.chars().take(256).collect(),
            problem,
        };
        let mut parser = Parser {
            rest: text,
            depth: 0,
        };
        let expression = parser.any().map_err(invalid)?;
        if !parser.rest.trim_start().is_empty() {
            return Err(invalid("expected && or || or the end".to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            expression,
        })
    }
}

impl TryFrom<String> for Constraint {
    type Error = InvalidConstraint;

    fn try_from(text: String) -> Result<Self, InvalidConstraint> {
        text.parse()
    }
}

impl From<Constraint> for String {
    fn from(constraint: Constraint) -> Self {
        constraint.text
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut all = vec![self.all()?];
        while self.eat("||") {
            all.push(self.all()?);
        }
        Ok(Expression::Any(all))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut all = vec![self.one()?];
        while self.eat("&&") {
            all.push(self.one()?);
        }
        Ok(Expression::All(all))
    }

    fn one(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("expected at most {MAX_DEPTH} nested parentheses"));
        }
        let found = if self.eat("!") {
            Expression::Not(Box::new(self.one()?))
        } else if self.eat("(") {
            let inner = self.any()?;
            if !self.eat(")") {
                return Err("expected )".to_owned());
            }
            inner
        } else if self.eat("Label(") {
            let key = self.quoted()?;
            let value = match self.eat(",") {
                true => Some(self.quoted()?),
                false => None,
            };
            if !self.eat(")") {
                return Err("expected ) after a label".to_owned());
            }
            Expression::Label { key, value }
        } else {
            return Err("expected Label(`key`), Label(`key`, `value`), ! or (".to_owned());
        };
        self.depth -= 1;
        Ok(found)
    }

    fn quoted(&mut self) -> Result<String, String> {
        self.rest = self.rest.trim_start();
        for quote in ['`', '"'] {
            if let Some((inner, after)) = self
                .rest
                .strip_prefix(quote)
                .and_then(|inner| inner.split_once(quote))
            {
                self.rest = after;
                return Ok(inner.to_owned());
            }
        }
        Err("expected a text in backticks".to_owned())
    }
}

const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_hold_as_written() {
        let labels = |key: &str| match key {
            "a" => Some("1"),
            "b" => Some("2"),
            _ => None,
        };
        for (text, expected) in [
            ("Label(`a`)", true),
            ("Label(`a`, `1`)", true),
            ("Label(`a`,\"2\")", false),
            ("!Label(`c`) && (Label(`a`, `9`) || Label(`b`, `2`))", true),
            ("Label(`c`) || !Label(`a`)", false),
        ] {
            let constraint: Constraint = text.parse().unwrap();
            assert_eq!(constraint.holds(labels), expected, "{text}");
            assert_eq!(constraint.to_string(), text);
        }
        for text in [
            "",
            "Label()",
            "Label(`a`",
            "Label(`a`) Label(`b`)",
            "a=1",
            "LabelRegex(`a`, `.*`)",
        ] {
            assert!(text.parse::<Constraint>().is_err(), "{text}");
        }
        assert!("!".repeat(99_999).parse::<Constraint>().is_err());
    }
}
