//! Routes as maps: which keys and values make HAProxy choose the backend that the route model means. Pure.
//!
//! One map holds all routes of a group of frontends. The keys are such that one lookup of the longest prefix
//! finds the most specific route of a host, and that file texts, run-time changes and the frontend's lines all
//! follow from the same entries:
//!
//! | route | key in the map |
//! |---|---|
//! | `shop.example`, prefix `/` | `shop.example/` |
//! | `shop.example`, prefix `/api` | `shop.example/api/` |
//! | `shop.example`, exact `/api` | `shop.example/api/?` |
//! | `*.example`, prefix `/` | `.example/` |
//! | any host, prefix `/api` | `*/api/` |
//!
//! HAProxy looks for the request's host, its path and `/?`. So a prefix ends on a segment border (`/apiary` has no
//! prefix `/api/`), and an exact path, being longer, goes before every prefix of the same host; `?` is in no path.
//!
//! The value is the backend; with options of the route, it is `BACKEND|https|N` or `BACKEND|-|N`: whether requests without
//! TLS are redirected, and how many segments of the path are taken off.
//!
//! A route of greater priority goes before all others, whatever their hosts: where one of a wider host takes requests of a
//! narrower one, its entries are copied to the narrower host. So a lookup never compares priorities. Routes of a scheme with
//! an order of its own ([`lb_core::model::Rank`]) are settled in the same way, within what their scheme has.
//!
//! A path is looked up as it was sent. Where other programs may read it in another way, it is looked up as they read it too:
//! with characters decoded, with `//`, `/./` and `/../` resolved, without what follows a `;`. If one of these leads elsewhere,
//! the request is refused with 400; so `//admin`, `/%61dmin`, `/x/../admin` and `/admin;x` reach `/` only where `/admin` does
//! too. What is served is passed on as it was sent; only a prefix is taken off the normal form. A request without a path
//! (`OPTIONS *`) is looked up as `/`.
//!
//! Hosts are compared in lower case, without port and without one trailing dot. Where the request's target is a whole URL,
//! its host counts. A host that begins with a dot is none: only routes of any host match.

mod change;
mod compile;
mod frontend;
mod key;
mod map;
mod ranked;
mod reading;
mod services;
mod table;
mod value;

pub use change::{MapChange, MapStage, PAUSE, Transaction, TransactionError};
pub use compile::{Compiled, MAX_ENTRIES, RouteFault, RouteIssue, compile_http, compile_sni};
pub use frontend::{
    NOT_FOUND, UNAVAILABLE, UNAVAILABLE_TCP, UnquotableMap, fallback_backends, http_host_lines,
    http_route_lines, http_route_lines_but, sni_route_lines,
};
pub use key::MAX_WILDCARD_LABELS;
pub use map::{Answer, InvalidMapFile, RouteMap};
pub use reading::http_path_lines;
pub(crate) use reading::{REFUSE, Reading, agreement_lines};
pub use services::{InvalidAssignment, ServiceMap};
pub use value::{MAX_STRIP, backend_of_value};
