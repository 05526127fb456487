//! One line of a configuration, cut into words as HAProxy cuts it.

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// The word, quotes and escapes taken away.
    pub(super) text: String,
    /// If `true`, it holds an environment variable, so that its text is not known here.
    pub(super) open: bool,
}

/// The way characters are read at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Double,
    None,
    Single,
}

/// Cuts a line into words, without its comment. What is broken, such as a quote that does not end, is read as far as
/// it goes: HAProxy itself says what is wrong with it.
pub(super) fn words(line: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = Quote::None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Quote::None, '#') => break,
            (Quote::None, ' ' | '\t' | '\r' | '\n') => found.extend(word.take()),
            (Quote::None, '\'') => {
                begun(&mut word);
                quote = Quote::Single;
            }
            (Quote::None, '"') => {
                begun(&mut word);
                quote = Quote::Double;
            }
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::None, '\\') => {
                let next = chars.next();
                escaped(&mut begun(&mut word).text, next);
            }
            (Quote::Double, '\\') => match chars.next_if(|c| matches!(c, '"' | '\\' | '$')) {
                Some(next) => begun(&mut word).text.push(next),
                None => begun(&mut word).text.push('\\'),
            },
            (Quote::Double, '$') => {
                let word = begun(&mut word);
                word.open = true;
                word.text.push('$');
            }
            (_, c) => begun(&mut word).text.push(c),
        }
    }
    found.extend(word);
    found
}

fn begun(word: &mut Option<Word>) -> &mut Word {
    word.get_or_insert_with(|| Word {
        text: String::new(),
        open: false,
    })
}

/// Takes the character after a backslash outside quotes.
fn escaped(text: &mut String, next: Option<char>) {
    match next {
        Some('n') => text.push('\n'),
        Some('r') => text.push('\r'),
        Some('t') => text.push('\t'),
        Some(c @ (' ' | '#' | '"' | '\'' | '\\')) => text.push(c),
        Some(c) => {
            text.push('\\');
            text.push(c);
        }
        None => text.push('\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_cut_as_haproxy_cuts_them() {
        for (line, expected) in [
            ("", vec![]),
            ("  # only a comment", vec![]),
            ("\tbind :80 # comment", vec!["bind", ":80"]),
            (r"a\ b c\#d e\\f", vec!["a b", "c#d", r"e\f"]),
            (r#"a "b c" 'd "e' f"g"h"#, vec!["a", "b c", "d \"e", "fgh"]),
            (r#""a\"b" 'c\d' "\e""#, vec!["a\"b", r"c\d", r"\e"]),
            ("a '' b", vec!["a", "", "b"]),
            ("a 'no end", vec!["a", "no end"]),
            (r"end\", vec![r"end\"]),
            (r"regex ^a\.b$", vec!["regex", r"^a\.b$"]),
        ] {
            assert_eq!(texts(line), expected, "{line:?}");
        }
    }

    #[test]
    fn variables_are_only_read_within_double_quotes() {
        let open = |line| {
            words(line)
                .iter()
                .map(|word| word.open)
                .collect::<Vec<bool>>()
        };
        assert_eq!(
            open(r#"a "${B}" '$C' $D "\$E""#),
            [false, true, false, false, false]
        );
    }
}
