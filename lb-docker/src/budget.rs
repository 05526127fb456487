//! What the labels of all objects of one source may take together, in memory.
//!
//! Pure. Where they take more than the bound, the labels of the largest objects are not kept. Which these are depends on
//! the objects alone, not on which was there first: an object with few labels is never displaced by larger ones,
//! however many there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::container::{Container, Excess};

/// The size of a source's objects, and those of which the labels are kept.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    used: usize,
    sizes: BTreeMap<String, Size>,
    kept: BTreeSet<(usize, String)>,
    refused: BTreeSet<(usize, String)>,
}

#[derive(Debug, Clone, Copy)]
struct Size {
    bytes: usize,
    kept: bool,
}

impl Budget {
    /// Of at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            used: 0,
            sizes: BTreeMap::new(),
            kept: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Takes in how many bytes an object takes now. Returns the objects whose labels are not kept any more, which it may
    /// be itself.
    pub(crate) fn set(&mut self, id: &str, bytes: usize) -> Vec<String> {
        self.forget(id);
        self.insert(id, Size { bytes, kept: true });
        let mut refused = Vec::new();
        while self.used > self.most {
            let Some((bytes, largest)) = self.kept.last().cloned() else {
                break;
            };
            self.forget(&largest);
            self.insert(&largest, Size { bytes, kept: false });
            refused.push(largest);
        }
        refused
    }

    /// Takes in that the labels of an object, which would take so many bytes, were not kept.
    pub(crate) fn set_refused(&mut self, id: &str, bytes: usize) {
        self.forget(id);
        self.insert(id, Size { bytes, kept: false });
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&mut self, id: &str) {
        if let Some(Size { bytes, kept }) = self.sizes.remove(id) {
            let of = (bytes, id.to_owned());
            if kept {
                self.used = self.used.saturating_sub(bytes);
                self.kept.remove(&of);
            } else {
                self.refused.remove(&of);
            }
        }
    }

    /// Returns some of the objects whose labels were not kept and for which there is room again, beside those that are
    /// smaller: they are to be read once more.
    pub(crate) fn returning(&mut self) -> Vec<String> {
        let mut used = self.used;
        let mut fit = Vec::new();
        while fit.len() < AT_ONCE
            && let Some(smallest) = self.refused.first().cloned()
        {
            let larger = self.kept.iter().rev().take_while(|of| **of > smallest);
            let larger: usize = larger.map(|(bytes, _)| bytes).sum();
            let (bytes, id) = smallest;
            if used.saturating_sub(larger).saturating_add(bytes) > self.most {
                break;
            }
            used = used.saturating_add(bytes);
            self.forget(&id);
            fit.push(id);
        }
        fit
    }

    fn insert(&mut self, id: &str, size: Size) {
        let of = (size.bytes, id.to_owned());
        if size.kept {
            self.used = self.used.saturating_add(size.bytes);
            self.kept.insert(of);
        } else {
            self.refused.insert(of);
        }
        self.sizes.insert(id.to_owned(), size);
    }
}

/// The number of bytes that these texts take, with what holding them takes, about.
pub(crate) fn size<'a>(texts: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    texts.fold(0, |sum: usize, (key, value)| {
        sum.saturating_add(key.len() + value.len() + EACH)
    })
}

/// Objects that are gathered, with no more labels than are kept of all together.
#[derive(Debug)]
pub(crate) struct Gathered<T> {
    budget: Budget,
    objects: BTreeMap<String, T>,
}

/// An object with labels.
pub(crate) trait Labelled {
    /// Returns how many bytes its labels take.
    fn label_size(&self) -> usize;

    /// Drops its labels, for which there is no room.
    fn drop_labels(&mut self);
}

impl<T: Labelled> Gathered<T> {
    /// None yet, of which the labels of all may take so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            budget: Budget::new(most),
            objects: BTreeMap::new(),
        }
    }

    /// Adds an object, in the place of one with the same id.
    pub(crate) fn push(&mut self, id: String, object: T) {
        let size = object.label_size();
        self.objects.insert(id.clone(), object);
        for refused in self.budget.set(&id, size) {
            if let Some(object) = self.objects.get_mut(&refused) {
                object.drop_labels();
            }
        }
    }

    /// All of them, by their ids.
    pub(crate) fn into_objects(self) -> impl Iterator<Item = T> {
        self.objects.into_values()
    }
}

impl Labelled for Container {
    fn label_size(&self) -> usize {
        let variables = self.env.iter().flatten();
        let variables = variables.map(|(key, value)| (key.as_str(), value.as_str()));
        size(self.labels.iter().chain(variables))
    }

    fn drop_labels(&mut self) {
        let bytes = self.label_size();
        self.keep_little();
        self.excess = Some(Excess::OfAll { bytes });
    }
}

impl<O> Labelled for (Container, O) {
    fn label_size(&self) -> usize {
        self.0.label_size()
    }

    fn drop_labels(&mut self) {
        self.0.drop_labels();
    }
}

/// The number of objects for which there is room again that are read at once.
const AT_ONCE: usize = 4;
/// The size of holding one label, about.
const EACH: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Those of the smallest that fit together.
    fn smallest(sizes: &BTreeMap<String, usize>, most: usize) -> BTreeSet<String> {
        let mut all: Vec<(usize, &String)> = sizes.iter().map(|(id, bytes)| (*bytes, id)).collect();
        all.sort();
        let mut used = 0;
        all.into_iter()
            .take_while(|(bytes, _)| {
                used += bytes;
                used <= most
            })
            .map(|(_, id)| id.clone())
            .collect()
    }

    proptest! {
        /// Whatever came and went before, the labels that are kept are those of the smallest objects that fit together.
        #[test]
        fn case_h04_whose_labels_are_kept_depends_on_the_objects_alone(
            story in prop::collection::vec((0_u8..8, prop::option::of(0_usize..60)), 0..40),
        ) {
            const MOST: usize = 100;
            let mut budget = Budget::new(MOST);
            let mut there = BTreeMap::new();
            for (id, bytes) in story {
                let id = id.to_string();
                match bytes {
                    Some(bytes) => {
                        there.insert(id.clone(), bytes);
                        budget.set(&id, bytes);
                    }
                    None => {
                        there.remove(&id);
                        budget.forget(&id);
                    }
                }
                loop {
                    let returning = budget.returning();
                    if returning.is_empty() {
                        break;
                    }
                    for id in returning {
                        budget.set(&id, there[&id]);
                    }
                }
                let kept: BTreeSet<String> = budget.kept.iter().map(|(_, id)| id.clone()).collect();
                prop_assert_eq!(kept, smallest(&there, MOST));
                prop_assert_eq!(budget.used, budget.kept.iter().map(|(bytes, _)| bytes).sum::<usize>());
                prop_assert!(budget.used <= MOST);
                prop_assert_eq!(budget.sizes.len(), there.len());
            }
        }
    }

    #[test]
    fn case_h04_what_is_gathered_is_within_the_bound_at_every_moment() {
        struct Object(usize);
        impl Labelled for Object {
            fn label_size(&self) -> usize {
                self.0
            }
            fn drop_labels(&mut self) {
                self.0 = 0;
            }
        }
        let mut gathered = Gathered::new(10);
        for (id, bytes) in [("a", 9), ("b", 4), ("c", 7), ("d", 3), ("e", 3)] {
            gathered.push(id.to_owned(), Object(bytes));
            let all: usize = gathered.objects.values().map(|object| object.0).sum();
            assert!(all <= 10, "{id}: {all}");
        }
        let kept: Vec<usize> = gathered.into_objects().map(|object| object.0).collect();
        assert_eq!(kept, [0, 4, 0, 3, 3]);
    }
}
