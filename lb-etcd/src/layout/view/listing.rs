//! Listings: what was known before, and the most keys that are taken.

use std::collections::BTreeSet;

use lb_core::Diagnostic;

use super::{
    super::{fact::Complaint, rules::Subject},
    Change, View,
};

impl View {
    /// Takes a part of a listing. Where a value cannot be used, its key keeps the meaning it had in `before`.
    pub(crate) fn load(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
        before: Option<&Self>,
    ) {
        self.step(changes, before);
    }

    /// Takes a key of a listing whose value has more bytes than are taken.
    pub(crate) fn leave_out(&mut self, key: &[u8], limit: usize, before: Option<&Self>) {
        let mut touched = BTreeSet::new();
        let subject = before.and_then(|view| Some(view.keys.get(key)?.subject.clone()));
        let kept = self.adopt(key, subject.as_ref(), before, &mut touched);
        let complaint = Complaint::value(format!("expected at most {limit} bytes")).secret();
        self.ledger.set(key, &[], vec![complaint.kept(kept)]);
        self.refresh_all(touched);
    }

    /// All diagnostics that hold now.
    pub(crate) fn diagnostics(&mut self) -> Vec<Diagnostic> {
        let mut all = self.ledger.all();
        all.extend(self.too_many());
        all
    }

    /// Returns `true` if keys were left out and a tenth of all is free again.
    pub(crate) fn has_room_again(&self) -> bool {
        self.left_out > 0 && self.keys.len() < self.max_keys - self.max_keys / 10
    }

    pub(super) fn too_many(&self) -> Option<Diagnostic> {
        (self.left_out > 0).then(|| Diagnostic {
            object: "keys".to_owned(),
            field: Some("max_keys".to_owned()),
            value: Some(self.max_keys.to_string()),
            message: format!(
                "there are more keys below {:?}, those beyond are left out; expected fewer keys or a greater max_keys",
                self.layout.prefix()
            ),
            severity: lb_core::Severity::Error,
        })
    }

    /// Keys that are known stay; in a listing, the room of those that were known `before` is theirs.
    pub(super) fn has_room_for(&self, key: &[u8], before: Option<&Self>) -> bool {
        if self.keys.contains_key(key) {
            return true;
        }
        let known = before.is_some_and(|view| view.keys.contains_key(key));
        let taken = match before {
            Some(before) if !known => before.keys.len() + self.fresh,
            _ => self.keys.len(),
        };
        taken < self.max_keys
    }

    /// Takes over what a key meant in an earlier view, if it meant something there.
    pub(super) fn adopt(
        &mut self,
        key: &[u8],
        subject: Option<&Subject>,
        before: Option<&Self>,
        touched: &mut BTreeSet<Subject>,
    ) -> bool {
        let Some(meaning) = before.and_then(|view| view.keys.get(key)) else {
            return false;
        };
        if subject != Some(&meaning.subject) {
            return false;
        }
        touched.insert(meaning.subject.clone());
        self.mean(key, meaning.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, LayoutConfig};

    fn view(max_keys: usize) -> View {
        View::limited(Layout::new(&[LayoutConfig::default()]).unwrap(), max_keys)
    }

    fn put(name: &str) -> Change {
        Change::put(format!("/lb/endpoints/s/{name}"), "192.0.2.1:80")
    }

    fn names(view: &View) -> Vec<String> {
        let records = view.records();
        records
            .iter()
            .map(|record| record.key.id.to_string())
            .collect()
    }

    #[test]
    fn case_h03_keys_that_were_known_stay_whatever_comes_before_them() {
        let mut before = view(3);
        before.apply(["x", "y"].map(put));
        let mut listed = view(3);
        listed.load(["a", "b", "c"].map(put), Some(&before));
        listed.load(["x", "y"].map(put), Some(&before));
        assert_eq!(names(&listed), ["a", "x", "y"]);
        let told = listed.diagnostics();
        assert!(
            told.iter()
                .any(|told| told.field.as_deref() == Some("max_keys")),
            "{told:?}"
        );

        // A change of a key that is known is taken, a new key is not, until there is room.
        let step = listed.apply([Change::put("/lb/endpoints/s/y", "192.0.2.9:80"), put("d")]);
        assert_eq!((step.set.len(), step.diagnostics.len()), (1, 0));
        assert!(!listed.has_room_again());
        listed.apply([Change::delete("/lb/endpoints/s/a")]);
        assert!(listed.has_room_again(), "one of three is free");
    }

    #[test]
    fn case_h03_a_value_that_is_left_out_keeps_what_its_key_meant() {
        let mut before = view(9);
        before.apply(["x"].map(put));
        let mut listed = view(9);
        listed.leave_out(b"/lb/endpoints/s/x", 100, Some(&before));
        listed.leave_out(b"/lb/endpoints/s/new", 100, Some(&before));
        assert_eq!(names(&listed), ["x"]);
        let told = listed.diagnostics();
        assert_eq!(told.len(), 2, "{told:?}");
        let step = listed.apply([put("new")]);
        assert_eq!(step.resolved, ["/lb/endpoints/s/new"]);
    }
}
