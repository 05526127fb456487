//! The names that stand for no service, in routes whose requests are answered by none.

use super::{Mode, Name};

/// The name that a route has in place of a service's where its requests must be refused rather than go to a wider
/// route: a route that asks for a password that cannot be asked for, for instance.
///
/// No target has a backend for it, whatever its own are called: such requests are answered as those of a service without
/// endpoints (HTTP: 503; TCP: the connection is closed). Of two services that ask for one route, the first by name gets
/// it; this name goes before those that people give.
///
/// In a record it stands for either mode. A [merge](crate::merge::Merge) gives what a record of a TCP service withholds the
/// name [`withheld_tcp`], so that it takes the connections of its server name and no HTTP request.
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

/// The name that a route of TCP connections has in a snapshot where they must be closed rather than go to a wider route.
///
/// As [`withheld`] otherwise.
#[must_use]
pub fn withheld_tcp() -> Name {
    Name::from_text("-withheld-tcp")
}

/// The name that a route has in place of a service's where its requests are answered as those that no route matches
/// (HTTP: 404): a host of which a program serves some paths and answers no other, for instance.
#[must_use]
pub fn nowhere() -> Name {
    Name::from_text("-nowhere")
}

/// Returns `true` if a route with this name leads to no service: it is [`withheld`] or leads [`nowhere`].
#[must_use]
pub fn leads_to_none(service: &Name) -> bool {
    mode_of_none(service).is_some()
}

/// Returns the mode of the routes that lead to no service by this name; `None` if it is the name of a service.
///
/// ```
/// use lb_core::{Mode, model::{mode_of_none, withheld, withheld_tcp}};
///
/// assert_eq!(mode_of_none(&withheld()), Some(Mode::Http));
/// assert_eq!(mode_of_none(&withheld_tcp()), Some(Mode::Tcp));
/// assert_eq!(mode_of_none(&"shop".parse().unwrap()), None);
/// ```
#[must_use]
pub fn mode_of_none(service: &Name) -> Option<Mode> {
    match service.as_str() {
        "-withheld" | "-nowhere" => Some(Mode::Http),
        "-withheld-tcp" => Some(Mode::Tcp),
        _ => None,
    }
}

/// Returns `true` if a route with this name is withheld, whatever its mode.
#[must_use]
pub fn is_withheld(service: &Name) -> bool {
    ["-withheld", "-withheld-tcp"].contains(&service.as_str())
}
