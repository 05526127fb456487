//! The place of a route among the routes of one scheme.

use std::{cmp::Reverse, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Name;

/// The place that a program with rules of its own gives a route among its routes, such as the length of a rule of Traefik.
///
/// A rank decides between routes of one scheme and nothing else: a request that the [order](super::Route) of all routes
/// gives to a route with a rank goes to the first by rank of all routes of the same scheme that match it. So the numbers of
/// a scheme take no request from another scheme's routes.
///
/// ```
/// use lb_core::model::Rank;
///
/// let scheme: lb_core::Name = "traefik".parse().unwrap();
/// assert!(Rank::new(scheme.clone(), 42) < Rank::new(scheme, 20), "the greater goes first");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rank {
    /// The scheme. Ranks of two schemes are not compared.
    pub scheme: Name,
    number: Reverse<i32>,
    /// The text by which the scheme orders routes of one number: the smaller goes first.
    pub order: Arc<str>,
}

impl Rank {
    /// A rank among the routes of a scheme: the greater number goes first.
    #[must_use]
    pub fn new(scheme: Name, number: i32) -> Self {
        Self {
            scheme,
            number: Reverse(number),
            order: Arc::default(),
        }
    }

    /// The same rank, ordered among those of its number by a text, the smaller first.
    #[must_use]
    pub fn with_order(mut self, order: impl Into<Arc<str>>) -> Self {
        self.order = order.into();
        self
    }

    /// The same rank among the routes of another scheme.
    #[must_use]
    pub fn with_scheme(mut self, scheme: Name) -> Self {
        self.scheme = scheme;
        self
    }

    /// The number: the greater goes first.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.number.0
    }
}
