//! The value of a route's map entry: the backend, and what the frontend does before it sends a request there.

/// The most segments of a path prefix that a frontend takes off.
pub const MAX_STRIP: usize = 8;

/// The sign between the parts of a value. No name has it.
pub(super) const PART: char = '|';

/// The part that stands for a redirect to https.
pub(super) const HTTPS: &str = "https";

/// The value of an entry: `shop`, or `shop|https|2` with options.
///
/// Without options it is the backend alone. A frontend whose lines know no options finds no backend of such a name, so
/// that a request is never served without them: it answers 503.
pub(super) fn value_text(backend: &str, redirect_https: bool, strip: usize) -> String {
    if !redirect_https && strip == 0 {
        return backend.to_owned();
    }
    let redirect = if redirect_https { HTTPS } else { "-" };
    format!("{backend}{PART}{redirect}{PART}{strip}")
}

/// Returns the backend that a value of a route map leads to.
///
/// ```
/// assert_eq!(lb_haproxy::routes::backend_of_value("shop"), "shop");
/// assert_eq!(lb_haproxy::routes::backend_of_value("shop|https|2"), "shop");
/// ```
#[must_use]
pub fn backend_of_value(value: &str) -> &str {
    value.split(PART).next().unwrap_or(value)
}

/// The options of a value: whether it asks for a redirect to https, and how many segments it takes off; `None` for a
/// backend alone.
pub(super) fn options_of_value(value: &str) -> Option<(bool, usize)> {
    let mut parts = value.split(PART).skip(1);
    Some((parts.next()? == HTTPS, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back() {
        assert_eq!(value_text("shop", false, 0), "shop");
        assert_eq!(options_of_value("shop"), None);
        for (https, strip) in [(true, 0), (false, 2), (true, 8)] {
            let text = value_text("shop", https, strip);
            assert_eq!(backend_of_value(&text), "shop");
            assert_eq!(options_of_value(&text), Some((https, strip)));
        }
    }
}
