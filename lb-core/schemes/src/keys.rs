//! Tables of the keys of a scheme, and what becomes of each: the code and the documentation read the same ones.

use std::borrow::Cow;

/// The effect of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It means what it means there.
    Honoured,
    /// It has no effect; a diagnostic names it.
    Reported,
    /// It restricts who may reach a route, or what the service is sent, and cannot be honoured: the routes it applies to
    /// are withheld, and a diagnostic names it.
    Withheld,
}

/// One key of a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key below the scheme's prefix; `*` stands for a name, `**` for the rest.
    pub key: &'static str,
    /// The effect of the key.
    pub effect: Effect,
    /// The note on what it does here, or why it does nothing, as a lower-case fragment.
    pub note: &'static str,
}

/// One row of the documentation's table of a scheme: the whole key, what becomes of it, and why.
pub type Row<'a> = (Cow<'a, str>, Effect, Cow<'a, str>);

impl Effect {
    /// The word that the documentation has for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Reported => "reported",
            Self::Withheld => "withheld",
        }
    }
}

/// The documentation's table of these rows in Markdown: the honoured ones first, the reported ones last.
#[must_use]
pub fn markdown(rows: &[Row<'_>]) -> String {
    let mut text = "| key | | |\n|---|---|---|\n".to_owned();
    for wanted in [Effect::Honoured, Effect::Withheld, Effect::Reported] {
        for (key, effect, note) in rows.iter().filter(|(_, effect, _)| *effect == wanted) {
            let (word, note) = (effect.word(), note.replace('|', "\\|"));
            text.push_str(&format!("| `{key}` | {word} | {note} |\n"));
        }
    }
    text
}

impl Key {
    /// A key that means what it means there.
    #[must_use]
    pub const fn honoured(key: &'static str, note: &'static str) -> Self {
        Self {
            key,
            effect: Effect::Honoured,
            note,
        }
    }

    /// A key without effect, which a diagnostic names.
    #[must_use]
    pub const fn reported(key: &'static str, note: &'static str) -> Self {
        Self {
            key,
            effect: Effect::Reported,
            note,
        }
    }

    /// A key that restricts and that cannot be honoured.
    #[must_use]
    pub const fn withheld(key: &'static str, note: &'static str) -> Self {
        Self {
            key,
            effect: Effect::Withheld,
            note,
        }
    }

    /// Its row in the documentation, below a prefix.
    #[must_use]
    pub fn row(&self, prefix: &str) -> Row<'static> {
        let key = Cow::Owned(format!("{prefix}{}", self.key));
        (key, self.effect, Cow::Borrowed(self.note))
    }

    /// Returns `true` if `key` is this one, whatever its letter case.
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        let mut parts = key.split('.');
        for wanted in self.key.split('.') {
            match (wanted, parts.next()) {
                ("**", _) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(part)) if wanted.eq_ignore_ascii_case(part) => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

/// The first entry of `table` for `key`.
pub(crate) fn find<'a>(table: &'a [Key], key: &str) -> Option<&'a Key> {
    table.iter().find(|entry| entry.is(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names_and_for_the_rest() {
        let key = Key::reported("http.routers.*.tls.**", "");
        assert!(key.is("http.routers.a.tls"));
        assert!(key.is("HTTP.routers.a.tls.options"));
        assert!(!key.is("http.routers.a"));
        assert!(!key.is("http.routers.a.tlsx"));
        assert!(Key::reported("port", "").is("port"));
        assert!(!Key::reported("port", "").is("port.1"));
    }
}
