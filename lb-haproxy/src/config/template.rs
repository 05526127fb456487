//! A configuration whose owner writes some of it by hand.

use super::{Config, ConfigError};
use crate::proto::Version;

/// A part of a configuration that is written by [`Config`]. In a template the line `# lb: PART` stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// `global`.
    Global,
    /// `defaults`.
    Defaults,
    /// All `frontend` sections.
    Frontends,
    /// All `backend` sections.
    Backends,
}

impl Part {
    pub(super) const ALL: [Self; 4] = [
        Self::Global,
        Self::Defaults,
        Self::Frontends,
        Self::Backends,
    ];

    /// The word for it in a template.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Defaults => "defaults",
            Self::Frontends => "frontends",
            Self::Backends => "backends",
        }
    }

    /// The part that a line of a template stands for: that, nothing, or a word that is none.
    fn of(line: &str) -> Option<Result<Self, &str>> {
        let word = line.trim().strip_prefix("# lb:")?.trim();
        let part = Self::ALL.into_iter().find(|part| part.word() == word);
        Some(part.ok_or(word))
    }
}

impl Config {
    /// A template with each line `# lb: global`, `# lb: defaults`, `# lb: frontends` and `# lb: backends` replaced by
    /// that part, and everything else as its owner wrote it.
    ///
    /// ```
    /// use lb_haproxy::config::Config;
    ///
    /// let config = Config::new("/run/haproxy/admin.sock".parse().unwrap());
    /// let template = "# lb: global\n  log /dev/log local0\n\n# lb: defaults\n  log global\n# lb: frontends\n\
    ///                 frontend mine\n  bind :8080\n# lb: backends\n";
    /// let text = config.render_into(template, &"3.2.26".parse().unwrap()).unwrap();
    /// assert!(text.contains("expose-fd listeners"));
    /// assert!(text.contains("  log /dev/log local0\n"));
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::Template`] where a part is missing, there twice or unknown, and as for
    /// [`render`](Self::render).
    pub fn render_into(&self, template: &str, version: &Version) -> Result<String, ConfigError> {
        let mut text = String::new();
        let mut done: Vec<Part> = Vec::new();
        for (number, line) in template.lines().enumerate() {
            let wrong = |what: &'static str, word: &str| ConfigError::Template {
                line: number + 1,
                what,
                word: word.to_owned(),
            };
            match Part::of(line) {
                None => {
                    text.push_str(line);
                    text.push('\n');
                }
                Some(Err(word)) => return Err(wrong("is no part", word)),
                Some(Ok(part)) if done.contains(&part) => {
                    return Err(wrong("is there twice", part.word()));
                }
                Some(Ok(part)) => {
                    done.push(part);
                    text.push_str(&self.render_part(part, version)?);
                }
            }
        }
        for part in Part::ALL {
            if !done.contains(&part) && !self.render_part(part, version)?.is_empty() {
                return Err(ConfigError::Template {
                    line: template.lines().count(),
                    what: "is missing",
                    word: part.word().to_owned(),
                });
            }
        }
        Ok(text)
    }
}
