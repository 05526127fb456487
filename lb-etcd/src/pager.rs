//! Decides how many keys to ask for at once. No I/O, no clock.

/// Pages grow while they are smaller than this, in bytes: for each page, etcd walks over all keys of the range.
const GROW_BELOW: usize = 1024 * 1024;

/// Pages shrink when they are larger than this, in bytes: they are in memory whole, and a slow link carries less.
const SHRINK_ABOVE: usize = 4 * 1024 * 1024;

/// The number of first pages that one page may become.
const GROWTH: i64 = 32;

/// The size of pages in keys. It follows what the keys hold.
#[derive(Debug, Clone)]
pub(crate) struct Pager {
    first: i64,
    limit: i64,
    /// The least size that was too much since a page came through.
    too_much: Option<i64>,
}

impl Pager {
    pub(crate) fn new(page_keys: u32) -> Self {
        let first = i64::from(page_keys).max(1);
        Self {
            first,
            limit: first,
            too_much: None,
        }
    }

    /// The number of keys to ask for.
    pub(crate) fn limit(&self) -> i64 {
        self.limit
    }

    /// A page of this many bytes came.
    pub(crate) fn came(&mut self, bytes: usize) {
        if bytes > SHRINK_ABOVE {
            self.limit = (self.limit / 2).max(1);
        } else if bytes < GROW_BELOW {
            // Where a little more was too much just now, the next page is not asked for as much again.
            let most = self.too_much.take().unwrap_or(i64::MAX) / 2;
            let grown = self.limit.saturating_mul(2).min(most.max(self.limit));
            self.limit = grown.clamp(1, self.first.saturating_mul(GROWTH));
        }
    }

    /// The page was larger than the limit of messages, or took too long. Returns `false` if it had one key only.
    pub(crate) fn too_much(&mut self) -> bool {
        let smaller = self.limit > 1;
        self.too_much = Some(self.limit);
        self.limit = (self.limit / 8).max(1);
        smaller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists keys of these sizes; returns the number of questions and the most bytes of an answer that was taken.
    fn list(sizes: &[usize], page_keys: u32, max: usize) -> (usize, usize) {
        let mut pager = Pager::new(page_keys);
        let (mut at, mut questions, mut most) = (0, 0, 0);
        while at < sizes.len() {
            questions += 1;
            let end = (at + usize::try_from(pager.limit()).unwrap()).min(sizes.len());
            let bytes: usize = sizes[at..end].iter().sum();
            if bytes <= max {
                most = most.max(bytes);
                pager.came(bytes);
                at = end;
            } else if !pager.too_much() {
                // One key alone: it is left out.
                questions += 1;
                at += 1;
            }
        }
        (questions, most)
    }

    #[test]
    fn case_h03_pages_follow_what_the_keys_hold() {
        const MAX: usize = 16 << 20;
        let small = vec![100; 100_000];
        assert!(list(&small, 1000, MAX).0 < 20, "few pages of small keys");

        let (questions, most) = list(&vec![1_200_000; 60], 1000, MAX);
        assert!(questions < 80 && most <= MAX, "{questions} {most}");

        let huge = vec![MAX + 1; 50];
        assert!(list(&huge, 1000, MAX).0 <= 2 * 50 + 5, "each is left out");

        // Junk between what is honest, in every mixture, costs in proportion to what there is.
        for every in [2, 10, 100, 1000, 7000] {
            let mixed: Vec<usize> = (0..20_000)
                .map(|n| if n % every == 0 { 1_200_000 } else { 100 })
                .collect();
            let total: usize = mixed.iter().sum();
            let (questions, most) = list(&mixed, 1000, MAX);
            let expected = 40 + 4 * total / (1 << 20) + 20_000 / 1000;
            assert!(questions < expected && most <= MAX, "{every}: {questions}");
        }
    }

    /// A batch that could be taken as one message is more than a page should have: it is in memory whole.
    #[test]
    fn case_h03_pages_of_large_values_shrink_before_they_are_refused() {
        let mut pager = Pager::new(100);
        let mut large = 0;
        for _ in 0..50 {
            let bytes = usize::try_from(pager.limit()).unwrap() * 100_000;
            large += usize::from(bytes > SHRINK_ABOVE);
            pager.came(bytes);
        }
        assert!(
            large <= 2,
            "{large} pages of more than {SHRINK_ABOVE} bytes"
        );
    }
}
