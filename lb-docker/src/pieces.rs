//! Cuts an engine's answer into its objects while it comes in, so that no more than one of them is in memory.
//!
//! Pure, linear in the bytes, and bounded for each object: one that is larger than the bound is passed over.

/// The most bytes of one object that are read: of a container, a service, an event.
pub(crate) const MAX_OBJECT: usize = 8 << 20;

/// An object of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It is larger than the bound: its beginning.
    TooLarge(&'a [u8]),
}

/// The part that is kept of an object, up to a bound.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    most: usize,
    too_large: bool,
}

/// The elements of one JSON array.
#[derive(Debug)]
pub(crate) struct Elements {
    kept: Kept,
    depth: u32,
    text: Text,
    at: Place,
}

/// The lines of a stream.
#[derive(Debug)]
pub(crate) struct Lines {
    kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    After,
}

/// The part of a JSON string in which a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    Escaped,
}

/// The answer is no JSON array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSON array")]
pub(crate) struct NoArray;

impl Kept {
    fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            most,
            too_large: false,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.bytes.len());
        if self.too_large {
            return;
        }
        self.too_large = bytes.len() > room;
        self.bytes
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Passes on what was kept, if there is something, and begins anew.
    fn pass_on(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        match (self.too_large, self.bytes.trim_ascii()) {
            (true, bytes) => take(Piece::TooLarge(bytes)),
            (false, []) => {}
            (false, bytes) => take(Piece::Whole(bytes)),
        }
        self.bytes.clear();
        if self.too_large {
            // One that was large is no reason to keep so much room.
            self.bytes.shrink_to(0);
        }
        self.too_large = false;
    }
}

impl Elements {
    /// Of an array whose elements have at most this many bytes each.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            kept: Kept::new(most),
            depth: 0,
            text: Text::Outside,
            at: Place::Before,
        }
    }

    /// Takes in the next bytes of the answer, and passes on each element that ends in them.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Piece<'_>),
    ) -> Result<(), NoArray> {
        let mut begin = 0;
        for (at, byte) in bytes.iter().enumerate() {
            match (self.at, byte) {
                (Place::Inside, _) => {}
                (_, b' ' | b'\t' | b'\r' | b'\n') => continue,
                (Place::Before, b'[') => {
                    self.at = Place::Inside;
                    begin = at + 1;
                    continue;
                }
                _ => return Err(NoArray),
            }
            match (self.text, byte) {
                (Text::Escaped, _) => self.text = Text::Inside,
                (Text::Inside, b'\\') => self.text = Text::Escaped,
                (Text::Inside, b'"') => self.text = Text::Outside,
                (Text::Inside, _) => {}
                (Text::Outside, b'"') => self.text = Text::Inside,
                (Text::Outside, b'{' | b'[') => self.depth += 1,
                (Text::Outside, b',' | b']') if self.depth == 0 => {
                    self.kept.push(bytes.get(begin..at).unwrap_or_default());
                    begin = at + 1;
                    self.kept.pass_on(&mut take);
                    if *byte == b']' {
                        self.at = Place::After;
                    }
                }
                (Text::Outside, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                (Text::Outside, _) => {}
            }
        }
        if self.at == Place::Inside {
            self.kept.push(bytes.get(begin..).unwrap_or_default());
        }
        Ok(())
    }

    /// Returns `true` if the whole array was fed.
    pub(crate) fn is_whole(&self) -> bool {
        self.at == Place::After
    }
}

impl Lines {
    /// Of a stream whose lines have at most this many bytes each.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            kept: Kept::new(most),
        }
    }

    /// Takes in the next bytes of the stream, and passes on each line that ends in them.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Piece<'_>)) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.kept.push(part);
            if parts.peek().is_some() {
                self.kept.pass_on(&mut take);
            }
        }
    }
}

/// The id of an object of which only the beginning is there.
pub(crate) fn id_in(beginning: &[u8]) -> String {
    let text = String::from_utf8_lossy(beginning.get(..1024).unwrap_or(beginning));
    let id = [r#""Id":""#, r#""ID":""#].iter().find_map(|field| {
        let (_, rest) = text.split_once(field)?;
        let (id, _) = rest.split_once('"')?;
        Some(id.to_owned())
    });
    id.unwrap_or_else(|| NO_ID.to_owned())
}

/// Stands for the id of an object that shows none.
pub(crate) const NO_ID: &str = "without id";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The elements of a text that comes in chunks of this size.
    fn elements(text: &str, chunk: usize, most: usize) -> Option<Vec<String>> {
        let mut all = Vec::new();
        let mut elements = Elements::new(most);
        for part in text.as_bytes().chunks(chunk) {
            let take = |piece: Piece<'_>| {
                all.push(match piece {
                    Piece::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Piece::TooLarge(bytes) => format!("{} is too large", id_in(bytes)),
                });
            };
            elements.feed(part, take).ok()?;
        }
        elements.is_whole().then_some(all)
    }

    #[test]
    fn case_h04_one_object_of_any_size_costs_a_bounded_amount_and_hides_no_other() {
        let huge = "x".repeat(10_000);
        let text = json!([{ "Id": "a" }, { "Id": "b", "Labels": { "x": huge } }, { "Id": "c" }]);
        let text = text.to_string();
        for chunk in [1, 7, 4096, 100_000] {
            let expected = [r#"{"Id":"a"}"#, "b is too large", r#"{"Id":"c"}"#];
            assert_eq!(elements(&text, chunk, 100).unwrap(), expected, "{chunk}");
        }
        let mut kept = Elements::new(100);
        for part in text.as_bytes().chunks(1000) {
            kept.feed(part, |_| ()).unwrap();
            assert!(kept.kept.bytes.capacity() < 10_000);
        }
    }

    #[test]
    fn what_is_no_array_or_not_whole_is_refused() {
        for text in [
            "", "{}", "null", "[", "[1", "[{]", "[\"]", "[1] 2", "[1]]", "<p>",
        ] {
            assert_eq!(elements(text, 1, 100), None, "{text}");
        }
        assert_eq!(elements(" [ ] \n", 1, 100).unwrap(), Vec::<String>::new());
        assert_eq!(
            elements("[1, \"]\" ,[2]]", 1, 100).unwrap(),
            ["1", "\"]\"", "[2]"]
        );
    }

    #[test]
    fn lines_are_cut_wherever_chunks_end() {
        for chunk in [1, 3, 100] {
            let mut lines = Lines::new(4);
            let mut all = Vec::new();
            for part in b"one\ntwo\r\n\nlarger\nlast\nrest".chunks(chunk) {
                lines.feed(part, |piece| {
                    all.push(match piece {
                        Piece::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                        Piece::TooLarge(_) => "too large".to_owned(),
                    });
                });
            }
            assert_eq!(all, ["one", "two", "too large", "last"], "{chunk}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\[\\]{},\"\\\\]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 30, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever an array holds and however it comes in, its elements are those that a JSON parser finds.
        #[test]
        fn elements_are_those_of_a_parser(
            values in prop::collection::vec(value(), 0..6),
            chunk in 1_usize..64,
            pretty in any::<bool>(),
        ) {
            let array = Value::from(values.clone());
            let text = match pretty {
                true => format!("{array:#}"),
                false => array.to_string(),
            };
            let found: Vec<Value> = elements(&text, chunk, usize::MAX)
                .unwrap()
                .iter()
                .map(|element| serde_json::from_str(element).unwrap())
                .collect();
            prop_assert_eq!(found, values);
        }
    }
}
