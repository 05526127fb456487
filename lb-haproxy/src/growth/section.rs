//! The sections of a configuration, as far as an edit needs to know them.

/// One section: its lines, and its first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// `global`, `backend` and so on; empty for what stands before the first section.
    pub(super) keyword: String,
    /// The name after the keyword, where there is one.
    pub(super) name: String,
    /// Its lines, with the one that begins it.
    pub(super) lines: Vec<String>,
}

/// The words that begin a section. The name of a section that is not here would be read as a setting of the one before,
/// which no edit looks at.
const KEYWORDS: [&str; 19] = [
    "acme",
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];

impl Section {
    /// The words of a setting's line; `None` for another setting, a comment or an empty line.
    fn words_of<'l>(line: &'l str, setting: &str) -> Option<Vec<&'l str>> {
        let words: Vec<&str> = words(line).collect();
        (words.first() == Some(&setting)).then_some(words)
    }

    /// The words of every line of a setting, with the line's place.
    pub(super) fn settings<'s>(
        &'s self,
        setting: &'s str,
    ) -> impl Iterator<Item = (usize, Vec<&'s str>)> {
        self.lines
            .iter()
            .enumerate()
            .skip(1)
            .filter_map(move |(at, line)| Some((at, Self::words_of(line, setting)?)))
    }

    /// The `defaults` section that it names, where it names one.
    pub(super) fn from(&self) -> Option<&str> {
        let mut header = words(self.lines.first()?).skip(2);
        header.find(|word| *word == "from")?;
        header.next()
    }

    /// A section like this one, under another name and without what may be there once only. It starts from the same
    /// `defaults` where this one names them.
    pub(super) fn copy(&self, name: &str) -> Self {
        let header = match self.from() {
            Some(from) => format!("{} {name} from {from}", self.keyword),
            None => format!("{} {name}", self.keyword),
        };
        let mut lines = vec![String::new(), header];
        lines.extend(
            self.lines
                .iter()
                .skip(1)
                .filter(|line| !matches!(words(line).next(), None | Some("id" | "guid")))
                .cloned(),
        );
        Self {
            keyword: self.keyword.clone(),
            name: name.to_owned(),
            lines,
        }
    }

    /// Returns `true` if it takes requests to servers.
    pub(super) fn is_backend(&self) -> bool {
        matches!(self.keyword.as_str(), "backend" | "listen")
    }
}

/// The words of a line, without its comment.
pub(super) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace()
        .take_while(|word| !word.starts_with('#'))
}

/// Cuts a configuration into its sections. All their lines together are the text.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut all = vec![Section {
        keyword: String::new(),
        name: String::new(),
        lines: Vec::new(),
    }];
    // A carriage return stays with its line.
    for line in text.split_terminator('\n') {
        let mut start = words(line);
        let keyword = start.next().filter(|word| KEYWORDS.contains(word));
        // Indented or not: HAProxy takes the first word of every line for a section if it is the name of one.
        if let Some(keyword) = keyword {
            all.push(Section {
                keyword: keyword.to_owned(),
                name: start.next().unwrap_or_default().to_owned(),
                lines: vec![line.to_owned()],
            });
        } else if let Some(last) = all.last_mut() {
            last.lines.push(line.to_owned());
        }
    }
    all
}

/// The text of sections.
pub(super) fn text(sections: &[Section]) -> String {
    let mut text = String::new();
    for line in sections.iter().flat_map(|section| &section.lines) {
        text.push_str(line);
        text.push('\n');
    }
    text
}
