//! The name that stands for no service, in routes whose requests must not be served.

use super::Name;

/// The name that a route has in place of a service's where its requests must be refused rather than go to a wider
/// route: a route that asks for a password that cannot be asked for, for instance.
///
/// No target has a backend for it, whatever its own are called: such requests are answered as those of a service without
/// endpoints (HTTP: 503; TCP: the connection is closed). Of two services that ask for one route, the first by name gets
/// it; this name goes before those that people give.
///
/// ```
/// use lb_core::{PathMatch, Route, model::withheld};
///
/// let admin = Route::new("shop.example".parse().unwrap(), "/admin".parse().unwrap(), withheld());
/// assert_eq!(admin.service.as_str(), "-withheld");
/// ```
#[must_use]
pub fn withheld() -> Name {
    Name::from_text("-withheld")
}
