//! Holds the pure parts of a crate pure: no runtime, no clock, no file, no socket, no task.
//!
//! ```
//! use lb_core::testkit::Purity;
//!
//! let found = Purity::default().check_text("use std::{fmt, fs};\nfn f() { std::time::Instant::now(); }");
//! let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
//! assert_eq!(texts, ["line 1: std::fs", "line 2: std::time::Instant::now"]);
//! ```

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// The names that must not be in pure code.
const FORBIDDEN: &[&str] = &[
    "async_std",
    "bollard::Docker",
    "chrono::Local",
    "chrono::Utc",
    "etcd_client",
    "inotify",
    "mio",
    "notify",
    "rand",
    "reqwest",
    "rustix",
    "socket2",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::*",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "tokio",
];

/// Calls that read a clock or start a task, whatever they are called on.
const FORBIDDEN_CALLS: &[&str] = &[
    "elapsed",
    "now",
    "sleep",
    "spawn",
    "spawn_blocking",
    "spawn_local",
];

/// The rules of purity: what pure code must not name. Tests inside the files are left out.
#[derive(Debug, Clone)]
pub struct Purity {
    forbidden: Vec<Vec<String>>,
}

/// Something in pure code that must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impurity {
    /// The file; `None` for a text.
    pub file: Option<PathBuf>,
    /// The line, from 1.
    pub line: usize,
    /// The path or call.
    pub found: String,
}

impl fmt::Display for Impurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        write!(f, "line {}: {}", self.line, self.found)
    }
}

impl Default for Purity {
    fn default() -> Self {
        let rules = Self {
            forbidden: Vec::new(),
        };
        FORBIDDEN
            .iter()
            .fold(rules, |rules, path| rules.forbid(path))
    }
}

impl Purity {
    /// The same rules, with one more path that must not be named, such as `crate::client`.
    #[must_use]
    pub fn forbid(mut self, path: &str) -> Self {
        self.forbidden
            .push(path.split("::").map(str::to_owned).collect());
        self
    }

    /// Checks files, and folders with everything in them, all below `root`.
    ///
    /// # Errors
    /// Fails if one of them cannot be read, or a folder has no Rust file: a check of nothing would always pass.
    pub fn check(&self, root: &Path, places: &[&str]) -> io::Result<Vec<Impurity>> {
        let mut found = Vec::new();
        for place in places {
            let mut files = Vec::new();
            collect(&root.join(place), &mut files)?;
            if files.is_empty() {
                let what = format!("no Rust file in {place}");
                return Err(io::Error::new(io::ErrorKind::NotFound, what));
            }
            files.sort();
            for file in files {
                let text = fs::read_to_string(&file)?;
                found.extend(self.check_text(&text).into_iter().map(|impurity| Impurity {
                    file: Some(file.clone()),
                    ..impurity
                }));
            }
        }
        Ok(found)
    }

    /// Checks the text of one file.
    #[must_use]
    pub fn check_text(&self, text: &str) -> Vec<Impurity> {
        let tokens = without_tests(tokens(text));
        let mut found = Vec::new();
        let mut rest = tokens.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            if first.text == "use" {
                rest = use_tree(&mut Vec::new(), after, &mut |path, line| {
                    if self.is_forbidden(path) {
                        found.push(Impurity::new(line, path));
                    }
                });
            } else if first.is_name() {
                let mut path = vec![first.text.clone()];
                while let [separator, next, after @ ..] = rest
                    && separator.text == "::"
                    && next.is_name()
                {
                    path.push(next.text.clone());
                    rest = after;
                }
                let is_call = rest.first().is_some_and(|next| next.text == "(");
                // A function of one's own may be called `now`; only what is called on something else counts.
                let is_defined = path.len() == 1 && !is_method(&tokens, rest, path.len());
                let calls = is_call
                    && !is_defined
                    && path
                        .last()
                        .is_some_and(|last| FORBIDDEN_CALLS.contains(&last.as_str()));
                if calls || self.is_forbidden(&path) {
                    found.push(Impurity::new(first.line, &path));
                }
            }
        }
        found
    }

    fn is_forbidden(&self, path: &[String]) -> bool {
        // Everything of a crate at once, or under another name, hides what is used.
        let hides =
            matches!(path, [root, star] if root == "std" && (star == "*" || star == "self"));
        hides
            || self
                .forbidden
                .iter()
                .any(|forbidden| path.starts_with(forbidden))
    }
}

impl Impurity {
    fn new(line: usize, path: &[String]) -> Self {
        Self {
            file: None,
            line,
            found: path.join("::"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Returns `true` if the name just before `rest` follows a dot.
fn is_method(tokens: &[Token], rest: &[Token], names: usize) -> bool {
    let end = tokens.len() - rest.len();
    end.checked_sub(names + 1)
        .and_then(|before| tokens.get(before))
        .is_some_and(|before| before.text == ".")
}

/// Walks one `use` tree after `prefix`, telling every path in it; returns what follows it.
fn use_tree<'a>(
    prefix: &mut Vec<String>,
    mut rest: &'a [Token],
    tell: &mut dyn FnMut(&[String], usize),
) -> &'a [Token] {
    let depth = prefix.len();
    let mut line = 0;
    let mut group = false;
    while let [first, after @ ..] = rest {
        match first.text.as_str() {
            "::" => rest = after,
            "as" => rest = after.get(1..).unwrap_or_default(),
            "{" => {
                group = true;
                rest = after;
                while let [next, after @ ..] = rest {
                    if next.text == "}" {
                        rest = after;
                        break;
                    }
                    rest = if next.text == "," {
                        after
                    } else {
                        let inner = use_tree(prefix, rest, tell);
                        // Something that is no use tree must not hold the walk up.
                        if inner.len() == rest.len() {
                            after
                        } else {
                            inner
                        }
                    };
                }
            }
            text if first.is_name() || text == "*" => {
                line = first.line;
                prefix.push(first.text.clone());
                rest = after;
            }
            _ => break,
        }
    }
    if !group && prefix.len() > depth {
        // `std` on its own is the whole crate.
        if let [root] = prefix.as_slice() {
            let whole = [root.clone(), "self".to_owned()];
            tell(&whole, line);
        } else {
            tell(prefix, line);
        }
    }
    prefix.truncate(depth);
    rest
}

/// Leaves out items marked `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut rest = tokens.as_slice();
    while let [first, after @ ..] = rest {
        let marked = rest.len() >= MARK.len()
            && MARK
                .iter()
                .zip(rest)
                .all(|(mark, token)| token.text == *mark);
        if !marked {
            kept.push(first.clone());
            rest = after;
            continue;
        }
        rest = rest.get(MARK.len()..).unwrap_or_default();
        let mut depth = 0_usize;
        while let [token, after @ ..] = rest {
            rest = after;
            match token.text.as_str() {
                "{" => depth += 1,
                "}" if depth <= 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// The tokens of a Rust file without comments and literals: names, `::`, and single characters.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = literal_length(rest) {
            length
        } else if c.is_alphabetic() || c == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        let is_code = c.is_alphabetic() && literal_length(rest).is_none()
            || c == '_'
            || (!c.is_whitespace() && length <= 2 && !matches!(c, '/' | '"' | '\''));
        if is_code {
            tokens.push(Token {
                line,
                text: token.to_owned(),
            });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of a block comment, which may hold others.
fn comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a string or character literal at the beginning of `text`. A lifetime is none.
fn literal_length(text: &str) -> Option<usize> {
    let prefix = text.len() - text.trim_start_matches(['b', 'c', 'r']).len();
    let body = text.get(prefix..)?;
    let raw = prefix > 0 && text.get(..prefix)?.contains('r');
    let hashes = body.len() - body.trim_start_matches('#').len();
    if prefix <= 2 && raw && body.get(hashes..)?.starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = body.get(hashes + 1..)?;
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(prefix + hashes + 1 + length);
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if prefix > 1 {
        return None;
    }
    let mut chars = body.char_indices().skip(1);
    let mut inside = 0;
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some(prefix + at + 1);
        }
        inside += 1;
        if c == '\\' {
            chars.next();
        } else if quote == '\'' && inside > 1 {
            // `'a` without an end is a lifetime.
            return None;
        }
    }
    Some(text.len())
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !place.is_dir() {
        files.push(place.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            collect(&path, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let all = Purity::default().forbid("crate::client").check_text(text);
        all.iter().map(|impurity| impurity.found.clone()).collect()
    }

    #[test]
    fn whatever_is_impure_is_found_however_it_is_written() {
        for (text, expected) in [
            ("use tokio::sync::mpsc;", "tokio::sync::mpsc"),
            ("pub use ::tokio::time;", "tokio::time"),
            (
                "use std::{collections::{BTreeMap, HashMap}, fs::File, fmt};",
                "std::fs::File",
            ),
            (
                "use std::net::{IpAddr, TcpStream as T};",
                "std::net::TcpStream",
            ),
            ("use std::net::*;", "std::net::*"),
            (
                "use std::os::unix::net::UnixStream;",
                "std::os::unix::net::UnixStream",
            ),
            ("use std as s;", "std::self"),
            ("use std::*;", "std::*"),
            ("use std::{self, fmt};", "std::self"),
            ("fn f() { let t = Instant::now(); }", "Instant::now"),
            ("fn f() -> T { T::now () }", "T::now"),
            ("fn f() { std::thread::sleep(d) }", "std::thread::sleep"),
            ("fn f(t: I) { t.elapsed(); }", "elapsed"),
            ("fn f(s: JoinSet) { s\n  .spawn(async {}); }", "spawn"),
            ("fn f() { let x: std::fs::File; }", "std::fs::File"),
            (
                "use crate::{client::Client, model};",
                "crate::client::Client",
            ),
            (
                "const A: char = '\"'; use std::process; const B: char = '\"';",
                "std::process",
            ),
            ("fn f<'a>(x: &'a str) { std::env::var(x) }", "std::env::var"),
            (
                "const A: &str = r#\"\"\"#; use rand::random;",
                "rand::random",
            ),
            (
                "#[cfg(test)]\nmod tests { mod a {} }\nuse std::fs;",
                "std::fs",
            ),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
    }

    #[test]
    fn what_is_pure_is_not_found() {
        for text in [
            "use std::{fmt, net::{IpAddr, SocketAddr}, sync::Arc, time::Duration};",
            "// tokio::spawn\n/* std::fs /* std::fs */ */ \"std::fs\" b\"std::fs\" r\"tokio\"",
            "fn f(now: Time) -> Time { self.now + now }",
            "fn now(&self) -> Time { self.0 }",
            "use super::tokio_like; fn spawned() {}",
            "#[cfg(test)]\nmod tests { use std::fs; fn f() { tokio::spawn(x) } }",
            "#[cfg(test)]\nuse std::fs;",
            "let tokio_free = my::tokio::x;",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
