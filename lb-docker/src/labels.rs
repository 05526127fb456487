//! The labels of an object in one piece of memory.

use std::{collections::BTreeMap, fmt};

/// The labels of an object, sorted by key.
///
/// A tenant decides how many there are. A map of texts takes three times as much memory, in twice as many pieces as there
/// are labels.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Labels {
    /// Each key, followed by its value.
    text: Box<str>,
    /// The ends of each key and its value.
    ends: Box<[(usize, usize)]>,
}

impl Labels {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let key_at = |at: usize| self.at(at).map(|(key, _)| key);
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match key_at(middle)?.cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(self.at(middle)?.1),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        (0..self.ends.len()).filter_map(|at| self.at(at))
    }

    /// Keeps those of which `keeps` says so.
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&str, &str) -> bool) {
        let all = std::mem::take(self);
        *self = all
            .iter()
            .filter(|(key, value)| keeps(key, value))
            .collect();
    }

    /// The same as a map, for those who read them.
    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        self.iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn at(&self, at: usize) -> Option<(&str, &str)> {
        let begin = match at.checked_sub(1) {
            Some(before) => self.ends.get(before)?.1,
            None => 0,
        };
        let (key, value) = *self.ends.get(at)?;
        Some((self.text.get(begin..key)?, self.text.get(key..value)?))
    }
}

/// Of labels that are sorted.
impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(labels: I) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for (key, value) in labels {
            text.push_str(key);
            let key = text.len();
            text.push_str(value);
            ends.push((key, text.len()));
        }
        Self {
            text: text.into(),
            ends: ends.into(),
        }
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn labels_are_those_of_the_map(
            map in prop::collection::btree_map("\\PC{0,3}", "\\PC{0,5}", 0..20),
            other in "\\PC{0,3}",
        ) {
            let mut labels = Labels::from(&map);
            prop_assert_eq!(labels.to_map(), map.clone());
            for key in map.keys().chain([&other]) {
                prop_assert_eq!(labels.get(key), map.get(key).map(String::as_str));
            }
            let keeps = |key: &str, value: &str| key.len() <= value.len();
            labels.retain(keeps);
            let mut kept = map;
            kept.retain(|key, value| keeps(key, value));
            prop_assert_eq!(labels.to_map(), kept);
        }
    }
}
