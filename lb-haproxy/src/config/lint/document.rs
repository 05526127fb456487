//! A configuration as sections of lines, read with patience: what it does not know, it leaves alone.

use super::words::{Word, words};

/// One configuration file: a name for what is found in it, and its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigFile<'a> {
    /// Its name, as findings give it.
    pub name: &'a str,
    /// The text in it.
    pub text: &'a str,
}

/// A place in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    /// The number of the file, from 0.
    pub(super) file: usize,
    /// The number of the line, from 1.
    pub(super) line: usize,
}

/// The kind of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Backend,
    Defaults,
    Frontend,
    Global,
    Listen,
    /// One that has nothing to do with slots, such as `resolvers`.
    Other,
}

/// One line: its keyword and what follows.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: At,
    pub(super) words: Vec<Word>,
}

#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) at: At,
    pub(super) lines: Vec<Line>,
    /// The `defaults` section that it starts from, by its index among the sections.
    pub(super) defaults: Option<usize>,
    /// If `true`, it names a `defaults` section that is not in these files.
    pub(super) astray: bool,
}

/// All sections of all files, in their order.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) sections: Vec<Section>,
}

impl Line {
    /// The text of a word; empty where there is none.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word.text.as_str())
    }

    /// Returns `true` if some word of it is only known when HAProxy reads it.
    pub(super) fn is_open(&self) -> bool {
        self.words.iter().any(|word| word.open)
    }

    /// Returns `true` if it begins with these words.
    pub(super) fn begins(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(index, word)| self.word(index) == *word)
    }

    /// The word after this one.
    pub(super) fn after(&self, word: &str) -> Option<&str> {
        let at = self.words.iter().position(|known| known.text == word)?;
        Some(self.words.get(at + 1)?.text.as_str())
    }

    /// Returns `true` if this word is in it, not as its keyword.
    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().skip(1).any(|known| known.text == word)
    }
}

impl Kind {
    /// The kind of section that this word begins, if it begins one.
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "backend" => Self::Backend,
            "defaults" => Self::Defaults,
            "frontend" => Self::Frontend,
            "global" => Self::Global,
            "listen" => Self::Listen,
            "acme" | "cache" | "crt-store" | "fcgi-app" | "http-errors" | "log-forward"
            | "log-profile" | "mailers" | "peers" | "program" | "resolvers" | "ring" | "traces"
            | "userlist" => Self::Other,
            _ => return None,
        })
    }
}

impl Document {
    pub(super) fn parse(files: &[ConfigFile<'_>]) -> Self {
        let mut document = Self {
            sections: Vec::new(),
        };
        for (file, config) in files.iter().enumerate() {
            // A section ends with its file; what `defaults` say goes on.
            let mut inside = false;
            for (number, text) in config.text.lines().enumerate() {
                let at = At {
                    file,
                    line: number + 1,
                };
                let line = Line {
                    at,
                    words: words(text),
                };
                // Both branches of a condition count: which one HAProxy takes depends on where it runs.
                if line.words.is_empty() || line.word(0).starts_with('.') {
                    continue;
                }
                if let Some(kind) = Kind::of(line.word(0)) {
                    document.begin(kind, &line);
                    inside = true;
                } else if let Some(section) = document.sections.last_mut().filter(|_| inside) {
                    section.lines.push(line);
                }
            }
        }
        document
    }

    fn begin(&mut self, kind: Kind, line: &Line) {
        let named = !matches!(line.word(1), "from") || kind != Kind::Defaults;
        let name = if named { line.word(1) } else { "" };
        // `from` stands after the name, and a section may be named `from`.
        let from = line
            .words
            .iter()
            .skip(if named { 2 } else { 1 })
            .position(|word| word.text == "from")
            .map(|at| line.word(at + if named { 3 } else { 2 }));
        let defaults = match (from, kind) {
            (_, Kind::Global | Kind::Other) => None,
            (Some(from), _) => self
                .sections
                .iter()
                .rposition(|known| known.kind == Kind::Defaults && known.name == from),
            (None, Kind::Defaults) => None,
            (None, _) => self
                .sections
                .iter()
                .rposition(|known| known.kind == Kind::Defaults),
        };
        self.sections.push(Section {
            kind,
            name: name.to_owned(),
            at: line.at,
            lines: Vec::new(),
            defaults,
            astray: from.is_some() && defaults.is_none() && kind != Kind::Other,
        });
    }

    /// A section, then the `defaults` that it starts from, then those that these start from.
    pub(super) fn chain<'d>(&'d self, section: &'d Section) -> Vec<&'d Section> {
        let mut chain = vec![section];
        let mut at = section.defaults;
        while let Some(defaults) = at.and_then(|index| self.sections.get(index)) {
            chain.push(defaults);
            // `from` names something before it, so this ends.
            at = defaults.defaults;
        }
        chain
    }

    /// The lines that hold in a section: those of its `defaults` first, so that the last one counts.
    pub(super) fn lines<'d>(&'d self, section: &'d Section) -> Vec<&'d Line> {
        self.chain(section)
            .iter()
            .rev()
            .flat_map(|section| &section.lines)
            .collect()
    }

    /// All lines of `global`, of which there may be several.
    pub(super) fn global(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.sections
            .iter()
            .filter(|section| section.kind == Kind::Global)
            .flat_map(|section| &section.lines)
    }

    /// The beginning of `global`, or else of the configuration.
    pub(super) fn global_at(&self) -> At {
        let mut sections = self.sections.iter();
        let global = sections.find(|section| section.kind == Kind::Global);
        global.map_or(At { file: 0, line: 1 }, |section| section.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Document {
        let files: Vec<ConfigFile<'_>> = texts
            .iter()
            .map(|text| ConfigFile { name: "f", text })
            .collect();
        Document::parse(&files)
    }

    #[test]
    fn sections_start_from_the_defaults_before_them_or_the_ones_they_name() {
        let document = parse(&[
            "defaults one\n  mode tcp\ndefaults two from one\n  retries 1\nbackend a\n  mode http\n",
            "  stray line\nbackend b from one\nfrontend c # from one\n.if defined(X)\n  bind :80\n.endif\n",
        ]);
        let mode = |index: usize| {
            let section = &document.sections[index];
            let lines = document.lines(section);
            let words: Vec<String> = lines.iter().map(|line| line.word(1).to_owned()).collect();
            (section.name.clone(), words.join(" "))
        };
        assert_eq!(mode(2), ("a".into(), "tcp 1 http".into()));
        assert_eq!(mode(3), ("b".into(), "tcp".into()));
        assert_eq!(mode(4), ("c".into(), "tcp 1 :80".into()));
        assert_eq!(document.sections[4].at, At { file: 1, line: 3 });
        assert_eq!(document.sections[4].lines[0].at, At { file: 1, line: 5 });
    }

    #[test]
    fn nothing_is_too_strange_to_be_read() {
        for text in [
            "\0",
            "global global",
            "defaults from",
            "backend",
            "\"",
            "from x\nbackend \\",
        ] {
            let _ = parse(&[text, text]);
        }
    }
}
