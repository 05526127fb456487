//! The bytes of an input, taken one by one.

/// The rest of an input.
pub struct Bytes<'d>(pub &'d [u8]);

impl Bytes<'_> {
    /// The next byte; 0 when there is none left.
    pub fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// One of these, as the next byte says.
    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        let at = usize::from(self.next()) % all.len();
        all[at].clone()
    }
}
