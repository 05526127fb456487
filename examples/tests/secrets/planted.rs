//! Secrets that are known again wherever they come out, with the place where each was planted.

use std::cell::RefCell;

/// The beginning of every secret. Long enough to be found cut, too.
const MARK: &str = "pl4nted";

/// The places of all secrets; each secret has the number of its place.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    places: RefCell<Vec<String>>,
}

impl Planted {
    /// A text with a secret wherever it has `§`.
    pub(crate) fn plant(&self, place: impl Into<String>, text: &str) -> String {
        let mut places = self.places.borrow_mut();
        let secret = format!("{MARK}{:04}", places.len());
        places.push(place.into());
        text.replace('§', &secret)
    }

    /// Each secret in `told`, once, with its place and what is around it.
    pub(crate) fn leaks(&self, what: &str, told: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for (at, _) in told.match_indices(MARK) {
            let number = told.get(at + MARK.len()..at + MARK.len() + 4);
            let places = self.places.borrow();
            let place = number
                .and_then(|number| number.parse::<usize>().ok())
                .and_then(|number| places.get(number))
                .map_or("(cut)", String::as_str);
            let head = format!("{what}: {place}:");
            if found.iter().all(|known| !known.starts_with(&head)) {
                found.push(format!("{head} …{}…", around(told, at)));
            }
        }
        found
    }
}

/// The text around a place.
fn around(told: &str, at: usize) -> String {
    let from = told.floor_char_boundary(at.saturating_sub(160));
    let until = told.floor_char_boundary(at + 80);
    let text = told.get(from..until).unwrap_or_default();
    text.replace('\n', "⏎")
}
